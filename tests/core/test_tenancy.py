"""Terms of tenants: what can be, and where a rule lets a request go."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigrid.core.codec import from_plain, to_plain
from aigrid.core.errors import ConfigurationError
from aigrid.core.tenancy import (
    ROLES,
    ApiKey,
    Grant,
    Place,
    Quota,
    Sovereignty,
    Tenant,
    Usage,
    permits,
    permits_own,
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Acme"},
        {"name": "a" * 64},
        {"name": "a", "priority": "vip"},
        {"name": "a", "weight": 0},
        {"name": "a", "currency": "yen"},
        {"name": "a", "share_bp": 10_001},
    ],
)
def test_odd_terms_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Tenant(**wrong)


def test_odd_quotas_rules_and_grants_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="streams is -2"):
        Quota(streams=-2)
    with pytest.raises(ConfigurationError, match="regions"):
        Sovereignty(regions=("a b",))
    with pytest.raises(ConfigurationError, match="purpose"):
        Grant("g", "a", "fun", 1, "USD", 0.0, 1.0)
    with pytest.raises(ConfigurationError, match="ends before"):
        Grant("g", "a", "student", 1, "USD", 1.0, 1.0)
    with pytest.raises(ConfigurationError, match="role"):
        ApiKey("k", "a", "root", "", "")


def test_terms_survive_plain_values() -> None:
    tenant = Tenant("acme", quota=Quota(5, 6, 7, 8), sovereignty=Sovereignty(("jp",), ("own",)))
    assert from_plain(Tenant, to_plain(tenant), "test") == tenant


def test_usage_as_plain_values_is_what_the_codec_says() -> None:
    used = Usage("r", "a", "k", "m", "sha256:0", (Place("s", "jp"), Place("t", "us", "x")))
    assert used.to_dict() == to_plain(used)
    assert from_plain(Usage, used.to_dict(), "test") == used


def test_rule_is_named_by_what_it_allows() -> None:
    assert Sovereignty().name == "anywhere"
    assert Sovereignty(("jp-13", "jp-27"), ("own",)).name == "regions=jp-13,jp-27;operators=own"


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("xyz")))
def test_rule_allows_only_what_it_lists(regions: list[str], operators: list[str]) -> None:
    rule = Sovereignty(tuple(regions), tuple(operators))
    for region in "abc":
        for operator in "xyz":
            inside = (not regions or region in regions) and (not operators or operator in operators)
            assert rule.allows(region, operator) == inside


def test_key_stands_until_its_end_or_its_revocation() -> None:
    key = ApiKey("k", "a", "consumer", "", "", expires_at_s=10.0)
    assert key.stands(9.9) and not key.stands(10.0)
    assert not ApiKey("k", "a", "consumer", "", "", revoked_at_s=5.0).stands(9.0)


def test_roles_may_do_their_own_and_no_more() -> None:
    assert permits("operator", "anything")
    assert not permits("", "status") and not permits("root", "infer")
    for role in ("publisher", "consumer"):
        assert permits(role, "infer") and permits_own(role, "usage")
        for action in ("tenants", "keys", "audit", "grants", "usage", "sites"):
            assert not permits(role, action)
    assert permits("publisher", "services") and not permits("consumer", "services")
    assert all(permits(role, "infer") for role in ROLES)
