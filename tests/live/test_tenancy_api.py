"""Tenants, keys and the audit log as callers of the control plane see them."""

import json
from pathlib import Path

import pytest
from tests.live.desk import Api, api

from aigrid.live.paths import GridPaths, read_secret
from aigrid.live.tenancy import digest_of

__all__ = ["api"]


def test_key_is_shown_once_and_kept_as_a_digest(api: Api, tmp_path: Path) -> None:
    made = api.key_of("acme")
    _, listed = api.call("GET", "/keys?tenant=acme")
    assert [key["id"] for key in listed] == [made["id"]]
    assert made["key"].startswith(listed[0]["shown"]) and len(listed[0]["shown"]) < 20
    assert "key" not in listed[0] and "digest" not in listed[0]
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "api_key":
            assert made["key"].encode() not in path.read_bytes(), path


def test_key_of_the_readme_belongs_to_the_default_tenant(api: Api, tmp_path: Path) -> None:
    key = read_secret(GridPaths(tmp_path).api_key)
    published = api.tenancy.published()
    assert [k["tenant"] for k in published["keys"] if k["digest"] == digest_of(key)] == ["default"]


def test_rotated_key_stands_for_the_overlap_beside_the_new_one(api: Api) -> None:
    old = api.key_of("acme")
    status, new = api.call("POST", f"/keys/{old['id']}/rotate", {"overlap_s": 60})
    assert status == 200 and new["key"] != old["key"] and new["tenant"] == "acme"
    for key in (old, new):
        assert api.call("GET", "/keys?tenant=acme", key=key["key"])[0] == 200
    api.now_s += 61
    assert api.call("GET", "/keys?tenant=acme", key=old["key"])[0] == 401
    assert api.call("GET", "/keys?tenant=acme", key=new["key"])[0] == 200


def test_rotating_the_default_key_changes_what_env_prints(api: Api, tmp_path: Path) -> None:
    _, new = api.call("POST", "/keys/key-default/rotate", {"overlap_s": 0})
    assert read_secret(GridPaths(tmp_path).api_key) == new["key"]
    api.reopen()  # the next start knows it
    assert len(api.call("GET", "/keys?tenant=default")[1]) == 2


def test_revoked_key_opens_nothing(api: Api) -> None:
    key = api.key_of("acme", "operator")
    assert api.call("GET", "/tenants", key=key["key"])[0] == 200
    api.call("DELETE", f"/keys/{key['id']}")
    assert api.call("GET", "/tenants", key=key["key"])[0] == 401
    assert key["id"] not in {one["id"] for one in api.tenancy.published()["keys"]}


@pytest.mark.parametrize("role", ["consumer", "publisher"])
def test_role_forbids_what_is_the_operators(api: Api, role: str) -> None:
    key = api.key_of("acme", role)["key"]
    for method, path in [
        ("GET", "/tenants"),
        ("POST", "/tenants"),
        ("POST", "/tenants/acme/resume"),
        ("POST", "/keys"),
        ("GET", "/audit"),
        ("GET", "/audit/verify"),
    ]:
        assert api.call(method, path, {}, key=key)[0] in (403, 422), path
    assert api.call("GET", "/audit", key=key)[0] == 403


def test_keys_of_another_tenant_are_out_of_reach(api: Api) -> None:
    mine, theirs = api.key_of("acme")["key"], api.key_of("other")
    assert api.call("GET", "/keys?tenant=other", key=mine)[0] == 403
    assert api.call("GET", "/keys", key=mine)[0] == 403
    assert api.call("DELETE", f"/keys/{theirs['id']}", key=mine)[0] == 403
    assert api.call("POST", f"/keys/{theirs['id']}/rotate", {}, key=mine)[0] == 403


def test_suspended_tenant_may_not_call(api: Api) -> None:
    key = api.key_of("acme")["key"]
    api.call("POST", "/tenants/acme/suspend")
    status, answer = api.call("GET", "/keys?tenant=acme", key=key)
    assert status == 403 and "suspended" in answer["error"]["message"]
    api.call("POST", "/tenants/acme/resume")
    assert api.call("GET", "/keys?tenant=acme", key=key)[0] == 200


def test_terms_change_and_the_rest_stays(api: Api) -> None:
    api.call("PATCH", "/tenants/acme", {"requests_per_min": 60, "regions": ["jp-13"]})
    _, changed = api.call("PATCH", "/tenants/acme", {"priority": "high", "budget_micro": 5})
    assert changed["quota"]["requests_per_min"] == 60
    assert changed["sovereignty"]["regions"] == ["jp-13"]
    assert (changed["priority"], changed["quota"]["budget_micro"]) == ("high", 5)


@pytest.mark.parametrize("name", ["", "A", "-a", "a" * 64, "a b", "../x", "ä"])
def test_odd_names_are_refused(api: Api, name: str) -> None:
    assert api.call("POST", "/tenants", {"name": name})[0] in (400, 422)


def test_every_call_is_written_down_with_who_and_what(api: Api) -> None:
    key = api.key_of("acme")
    api.call("GET", "/tenants", key=key["key"])
    api.call("GET", "/tenants", key="sk-guessed")
    api.call("POST", "/tenants", {"name": "acme"})
    lines = api.call("GET", "/audit?last=10")[1]
    calls = [(line["role"], line["path"], line["status"]) for line in lines if "path" in line]
    assert ("operator", "/control/v1/keys", 0) in calls
    assert ("consumer", "/control/v1/tenants", 403) in calls
    assert ("", "/control/v1/tenants", 401) in calls
    assert [line["status"] for line in lines if line["kind"] == "result"] == [409]
    made = next(line for line in lines if line.get("path") == "/control/v1/keys")
    assert {"tenant": "acme", "role": "consumer"}.items() <= made["body"].items()
    assert key["key"] not in json.dumps(lines)
