"""Usage comes in once, is priced, proved and kept within budgets, whatever dies in between."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.live.desk import NOW_S, PACKAGES, Api, api

from aigrid.core.errors import StorageError
from aigrid.core.tenancy import Place, Usage
from aigrid.live.billing_desk import BillingDesk
from aigrid.live.usage_log import event_of

__all__ = ["api"]
MONTH = "2026-11"


def used(name: str, tokens: int = 1_000_000, **more: Any) -> Usage:
    place = Place("tower-1", "jp-13", "own")
    record = Usage(name, "acme", "key-1", "m", "sha256:0", (place,), "regions=jp-13")
    return replace(record, prompt_tokens=tokens, completion_tokens=tokens, at_s=NOW_S, **more)


def total_micro(api: Api, tenant: str = "acme") -> int:
    status, found = api.call("GET", f"/invoices/{tenant}/{MONTH}")
    assert status == 200
    return int(found["statements"][0]["total_micro"])


def reopened(api: Api) -> BillingDesk:
    """The control plane after a kill."""
    return BillingDesk(api.reopen(), PACKAGES.get)


def test_record_that_comes_again_is_billed_once(api: Api) -> None:
    for _ in range(3):
        assert api.report(used("a"), used("b"))["acked"] == 2
    assert total_micro(api) == 1_500_000
    requests = [line for line in api.tenancy.audit.lines() if line["kind"] == "request"]
    assert [line["request_id"] for line in requests] == ["a", "b"]


def test_usage_is_listed_by_service_and_price(api: Api) -> None:
    api.report(used("a"), used("b"), used("c", tenant="other"))
    _, found = api.call("GET", f"/usage?month={MONTH}&tenant=acme")
    (row,) = found["rows"]
    assert (row["service"], row["version"], row["requests"]) == ("m", "1.0.0", 2)
    assert (row["prompt_tokens"], row["amount_micro"]) == (2_000_000, 1_500_000)
    assert len(api.call("GET", f"/usage?month={MONTH}")[1]["rows"]) == 2


def test_kill_between_log_and_database_loses_and_doubles_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.report(used("a"))

    def dies(*_: Any) -> None:
        raise StorageError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(type(api.desk.book), "put", dies)
        with pytest.raises(StorageError):
            api.desk.take("gw", [event_of(used("b"), "gw")])
    again = reopened(api)
    assert again.invoice("acme", MONTH).statements[0].total_micro == 1_500_000
    again.take("gw", [event_of(used("b"), "gw")])
    assert again.invoice("acme", MONTH).statements[0].total_micro == 1_500_000
    assert again.verify()[0] == again.tenancy.audit.head.seq
    assert again.prove("b")["record"]["request_id"] == "b"


def test_a_gateway_whose_clock_is_wrong_is_billed_all_the_same(api: Api) -> None:
    api.report(replace(used("a"), at_s=NOW_S + 5 * 3600), replace(used("b"), at_s=NOW_S - 5 * 3600))
    assert total_micro(api) == 1_500_000
    assert [api.desk.book.row(name)["at_ms"] for name in "ab"] == [
        NOW_S * 1000,
        (NOW_S - 5 * 3600) * 1000,
    ]


def test_odd_records_are_noted_and_do_not_stop_the_others(api: Api) -> None:
    good = event_of(used("a"), "gw")
    odd: list[Any] = [
        {},
        good | {"specversion": "0.3"},
        good | {"type": "other"},
        good | {"id": "somebody-else"},
        good | {"data": good["data"] | {"prompt_tokens": -5}},
        good | {"data": good["data"] | {"at_s": -1.0}},
        good | {"data": good["data"] | {"price": 0}},
    ]
    assert api.desk.take("gw", [*odd, good])["acked"] == len(odd) + 1
    assert total_micro(api) == 750_000
    noted = [line for line in api.tenancy.audit.lines() if line["kind"] == "odd-usage"]
    assert len(noted) == len(odd)


def test_proof_says_where_and_under_which_rule_and_that_the_log_is_whole(api: Api) -> None:
    api.report(used("a"), used("b"))
    status, proof = api.call("GET", "/audit/requests/b")
    assert status == 200
    assert proof["record"]["places"] == [{"site": "tower-1", "region": "jp-13", "operator": "own"}]
    assert proof["record"]["rule"] == "regions=jp-13"
    assert proof["chain"]["verified"] and proof["line"]["seq"] < proof["chain"]["lines"]
    assert api.call("GET", "/audit/requests/nobody")[0] == 404


def test_proof_of_an_answer_that_was_counted_twice_names_the_earlier_line(api: Api) -> None:
    api.report(used("a", 5, ended="died"))
    api.report(used("a", 50))
    _, proof = api.call("GET", "/audit/requests/a")
    assert proof["record"]["completion_tokens"] == 50 and len(proof["earlier_lines"]) == 1
    assert total_micro(api) == 38  # 50 tokens of each, 37.5 millionths


def tamper(api: Api, what: bytes, by: bytes) -> None:
    (segment,) = api.tenancy.audit.folder.glob("*.jsonl")
    content = segment.read_bytes()
    assert what in content
    segment.write_bytes(content.replace(what, by, 1))


def test_edited_record_is_found_by_verify_and_prove(api: Api) -> None:
    api.report(used("a"))
    tamper(api, b"jp-13", b"us-01")
    for path in ("/audit/verify", "/audit/requests/a"):
        status, answer = api.call("GET", path)
        assert status == 422 and "was edited" in answer["error"]["message"]


def test_cut_off_end_of_the_log_is_found(api: Api) -> None:
    api.report(used("a"))
    (segment,) = api.tenancy.audit.folder.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:-1]))
    status, answer = api.call("GET", "/audit/verify")  # it adds a line itself
    assert status == 422 and f"line {len(lines)} was removed" in answer["error"]["message"]


def test_edited_database_is_found_by_prove(api: Api) -> None:
    api.report(used("a"))
    row = api.desk.book.row("a")
    record = json.loads(row["record"]) | {"rule": "anywhere"}
    from sqlalchemy import update

    from aigrid.store.account_tables import USAGE

    with api.tenancy.accounts.database.transaction() as connection:
        connection.execute(update(USAGE).values(record=json.dumps(record)))
    assert api.call("GET", "/audit/requests/a")[0] == 422


def test_tenants_see_their_own_usage_invoices_and_proofs_alone(api: Api) -> None:
    api.report(used("mine"), used("theirs", tenant="other"))
    key = api.key_of("acme")["key"]
    for path, status in [
        (f"/usage?tenant=acme&month={MONTH}", 200),
        (f"/usage?tenant=other&month={MONTH}", 403),
        (f"/usage?month={MONTH}", 403),
        (f"/invoices/acme/{MONTH}", 200),
        (f"/invoices/other/{MONTH}", 403),
        ("/grants?tenant=acme", 200),
        ("/grants", 403),
        ("/audit/requests/mine", 200),
        ("/audit/requests/theirs", 403),
    ]:
        assert api.call("GET", path, key=key)[0] == status, path
    assert api.call("POST", "/grants", {}, key=key)[0] in (403, 422)


def give(api: Api, **more: Any) -> tuple[int, Any]:
    body = {"tenant": "acme", "purpose": "research", "amount_micro": 500_000} | more
    return api.call("POST", "/grants", {"ends_at_s": NOW_S + 86400} | body)


def test_grant_covers_from_now_on_and_never_the_past(api: Api) -> None:
    assert give(api)[0] == 200
    assert give(api, starts_at_s=NOW_S - 3600)[0] == 409
    assert give(api, ends_at_s=NOW_S - 1)[0] == 400
    assert give(api, purpose="fun")[0] == 422
    api.now_s += 10
    api.report(replace(used("a"), at_s=NOW_S + 5))
    statement = api.call("GET", f"/invoices/acme/{MONTH}")[1]["statements"][0]
    assert (statement["credit_micro"], statement["due"]) == (500_000, "0.25")


def test_headroom_counts_down_and_follows_the_terms(api: Api) -> None:
    assert "acme" not in api.report()["headroom"]
    api.call("PATCH", "/tenants/acme", {"budget_micro": 1_000_000})
    assert api.report()["headroom"] == {"acme": 1_000_000}
    assert api.report(used("a"))["headroom"] == {"acme": 250_000}
    assert api.report(used("a"))["headroom"] == {"acme": 250_000}
    api.call("PATCH", "/tenants/acme", {"budget_micro": 2_000_000})
    assert api.report()["headroom"] == {"acme": 1_250_000}
    api.now_s += 13 * 86400  # the next month
    assert api.report()["headroom"] == {"acme": 2_000_000}


def test_gateways_that_were_heard_of_share_the_quotas(api: Api) -> None:
    now_s = [0.0]
    api.desk.clock_s = lambda: now_s[0]
    assert [api.report(gateway=name)["gateways"] for name in ("a", "b", "a")] == [1, 2, 2]
    now_s[0] = 11.0
    assert api.report(gateway="b")["gateways"] == 1


def test_publisher_deploys_and_earns_by_its_own_packages_alone(api: Api) -> None:
    api.call("POST", "/tenants", {"name": "maker", "publishes": ["m"], "share_bp": 5000})
    status, answer = api.call("PATCH", "/tenants/other", {"publishes": ["m"]})
    assert status == 409 and "'maker'" in answer["error"]["message"]
    maker = api.tenancy.caller(api.key_of("maker", "publisher")["key"])
    api.tenancy.authorise_package(maker, "m:1.0.0")
    with pytest.raises(Exception, match="not published by tenant 'maker'"):
        api.tenancy.authorise_package(maker, "other:1.0.0")
    api.report(used("a"))
    statement = api.call("GET", f"/invoices/maker/{MONTH}")[1]["statements"][0]
    assert (statement["earned_micro"], statement["earned"]) == (375_000, "0.38")


def test_gateways_token_is_needed_to_report(api: Api, tmp_path: Path) -> None:
    answer = api.client.post("/grid/v1/usage", json={"gateway": "x", "events": []})
    assert answer.status_code == 401
    key = api.key_of("acme", "operator")["key"]
    headers = {"authorization": f"Bearer {key}"}
    answer = api.client.post("/grid/v1/usage", json={}, headers=headers)
    assert answer.status_code in (401, 422)
