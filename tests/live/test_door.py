"""What tenants may ask, how often and where to, as their clients see it; and what is billed."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import openai
import pytest
from tests.live.conftest import Rig, ask, client, post, until
from tests.live.test_streams import DIES, LIVES, TEXT, WORDS, leave, open_stream, story

from aigrid.core.codec import to_plain
from aigrid.core.errors import UnavailableError
from aigrid.core.tenancy import Quota, Sovereignty, Tenant
from aigrid.engines.scripted import Script
from aigrid.live.limits import Limits
from aigrid.live.tenancy import digest_of

RigMaker = Callable[..., Rig]
PRICE = {"currency": "USD", "input_micro": 1_000_000, "output_micro": 1_000_000}


def serve(
    rig: Rig,
    *tenants: Tenant,
    places: dict[str, list[str]] | None = None,
    headroom: dict[str, int] | None = None,
) -> None:
    """Publish tenants, each with a key `sk-NAME`, and wait until the gateway has them."""
    answer = rig.control.answer
    revision = answer["version"] + 1
    keys = [
        {
            "id": f"key-{tenant.name}",
            "tenant": tenant.name,
            "role": "consumer",
            "digest": digest_of(f"sk-{tenant.name}"),
            "expires_at_s": 0.0,
        }
        for tenant in tenants
    ]
    tenancy = {
        "revision": revision,
        "keys": keys,
        "tenants": [to_plain(tenant) for tenant in tenants],
        "headroom": headroom or {},
    }
    services = [service | {"price": PRICE} for service in answer["services"]]
    known = places or {name: ["local", "own"] for name in answer["urls"]}
    rig.control.answer = answer | {
        "version": revision, "tenancy": tenancy, "services": services, "places": known,
    }  # fmt: skip
    until(lambda: rig.gateway_state.door.revision == revision)


def billed(rig: Rig, count: int = 1) -> list[dict[str, Any]]:
    """The usage records of a gateway whose control plane takes them."""

    def taken() -> dict[str, Any]:
        bodies = [body for what, body in rig.control.told if what == "usage"]
        return {event["id"]: event["data"] for body in bodies for event in body["events"]}

    until(lambda: len(taken()) >= count)
    until(lambda: not rig.gateway_state.metering.log.batch()[0])
    return list(taken().values())


def told(rig: Rig, key: str, body: bytes) -> tuple[int, dict[str, str], str]:
    status, headers, answer = post(rig, body, key=key)
    return status, headers, answer.get("error", {}).get("code", "")


# -- keys ----------------------------------------------------------------------------------------


def test_keys_of_the_control_plane_replace_those_of_the_start(rig: RigMaker) -> None:
    running = rig(one=Script())
    assert post(running, ask())[0] == 200
    serve(running, Tenant("acme"), Tenant("idle", suspended=True))
    assert post(running, ask())[0] == 401
    assert post(running, ask(), key="sk-acme")[0] == 200
    status, _, code = told(running, "sk-idle", ask())
    assert (status, code) == (403, "permission_denied")


# -- quotas --------------------------------------------------------------------------------------


def test_requests_a_minute_are_counted_by_tenant(rig: RigMaker) -> None:
    running = rig(one=Script())
    serve(running, Tenant("acme", quota=Quota(requests_per_min=2)), Tenant("other"))
    for left in ("1", "0"):
        status, headers, _ = told(running, "sk-acme", ask())
        assert (status, headers["x-ratelimit-remaining-requests"]) == (200, left)
    status, headers, code = told(running, "sk-acme", ask())
    assert (status, code) == (429, "rate_limit_exceeded")
    assert 25 <= int(headers["retry-after"]) <= 30
    assert told(running, "sk-other", ask())[0] == 200


def test_tokens_a_minute_are_put_right_when_the_answer_has_ended(rig: RigMaker) -> None:
    running = rig(one=Script())
    serve(running, Tenant("acme", quota=Quota(tokens_per_min=1000)))
    for _ in range(5):  # each allows 900 tokens, and takes a handful
        assert told(running, "sk-acme", ask(max_tokens=900))[0] == 200
    account = running.gateway_state.door._accounts["acme"]
    assert 960 < account.tokens.level <= 1000


def test_tokens_a_minute_run_out(rig: RigMaker) -> None:
    running = rig(one=Script(answer=story))
    serve(running, Tenant("acme", quota=Quota(tokens_per_min=150)))
    statuses = [told(running, "sk-acme", ask(max_tokens=60)) for _ in range(4)]
    assert [status for status, _, _ in statuses[:2]] == [200, 200]
    assert statuses[3][0] == 429 and statuses[3][2] == "rate_limit_exceeded"


def test_streams_at_once(rig: RigMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    running = rig(one=Script(answer=story, token_s=0.05))
    monkeypatch.setattr("tests.live.test_streams.KEY", "sk-acme")
    serve(running, Tenant("acme", quota=Quota(streams=1)))
    connection, response = open_stream(running)
    status, _, code = told(running, "sk-acme", ask(stream=True))
    assert (status, code) == (429, "rate_limit_exceeded")
    leave(connection, response)
    until(lambda: told(running, "sk-acme", ask(stream=False, max_tokens=1))[0] == 200)
    account = running.gateway_state.door._accounts["acme"]
    until(lambda: account.streams == account.open == account.reserved_micro == 0)


def test_budget_that_is_used_up_is_told_so_that_clients_do_not_retry(rig: RigMaker) -> None:
    running = rig(one=Script())
    poor = Tenant("acme", quota=Quota(budget_micro=10))
    running.control.takes_usage = False
    serve(running, poor, headroom={"acme": 4})
    assert told(running, "sk-acme", ask(max_tokens=2))[0] == 200
    api = openai.OpenAI(base_url=running.base_url, api_key="sk-acme", max_retries=3)
    with api, pytest.raises(openai.RateLimitError) as refused:
        api.chat.completions.create(model="m", messages=[{"role": "user", "content": "a b c"}])
    assert refused.value.code == "insufficient_quota"
    assert running.gateway_state.door.refused["insufficient_quota"] == 1


def test_gateways_take_their_part_of_a_quota(rig: RigMaker) -> None:
    running = rig(one=Script())
    serve(running, Tenant("acme", quota=Quota(requests_per_min=4)))
    running.gateway_state.door.gateways = 2
    statuses = [told(running, "sk-acme", ask())[0] for _ in range(3)]
    assert statuses == [200, 200, 429]


# -- sovereignty ---------------------------------------------------------------------------------

PLACES = {"one": ["jp-13", "own"], "two": ["us-1", "other"]}


@pytest.mark.parametrize(
    ("rule", "site"),
    [
        (Sovereignty(regions=("jp-13",)), "one"),
        (Sovereignty(regions=("us-1",)), "two"),
        (Sovereignty(operators=("other",)), "two"),
    ],
)
def test_requests_stay_where_the_rule_says(rig: RigMaker, rule: Sovereignty, site: str) -> None:
    running = rig(one=Script(), two=Script())
    serve(running, Tenant("acme", sovereignty=rule), places=PLACES)
    sites = {told(running, "sk-acme", ask())[1]["x-aigrid-site"] for _ in range(6)}
    assert sites == {site}
    assert {record["rule"] for record in billed(running, 6)} == {rule.name}


def test_request_that_may_go_nowhere_is_refused_by_the_rules_name_and_recorded(
    rig: RigMaker,
) -> None:
    running = rig(one=Script(), two=Script())
    rule = Sovereignty(("jp-13",), ("other",))
    serve(running, Tenant("acme", sovereignty=rule), places=PLACES)
    status, _, answer = post(running, ask(), key="sk-acme")
    assert status == 403 and answer["error"]["code"] == "sovereignty_rule"
    assert "regions=jp-13;operators=other" in answer["error"]["message"]
    (record,) = billed(running)
    assert (record["ended"], record["places"], record["prompt_tokens"]) == ("refused", [], 0)


def test_broken_stream_is_not_continued_where_the_rule_forbids(
    rig: RigMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = rig(limits=Limits(resume_s=0.3), one=DIES, two=LIVES)
    monkeypatch.setattr("tests.live.test_streams.KEY", "sk-acme")
    serve(running, Tenant("acme", sovereignty=Sovereignty(("jp-13",))), places=PLACES)
    connection, response = open_stream(running)
    text = response.read().decode()
    connection.close()
    assert '"error"' in text and "word24" in text and "word25" not in text
    (record,) = billed(running)
    assert {place["site"] for place in record["places"]} == {"one"}
    assert (record["ended"], record["completion_tokens"]) == ("broken", 25)


def test_allowed_sites_that_do_not_serve_are_a_503_by_the_rules_name(rig: RigMaker) -> None:
    running = rig(one=Script())
    urls = running.control.answer["urls"]
    running.control.answer["urls"] = urls | {"two": urls["one"]}
    serve(running, Tenant("acme", sovereignty=Sovereignty(("us-1",))), places=PLACES)
    status, _, answer = post(running, ask(), key="sk-acme")
    assert status == 503 and "rule regions=us-1" in answer["error"]["message"]


# -- usage ---------------------------------------------------------------------------------------


def test_usage_is_what_the_client_received(rig: RigMaker) -> None:
    running = rig(one=LIVES)
    with client(running) as api:
        whole = api.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "a b"}]
        )
        stream = list(api.completions.create(model="m", prompt="a b c", stream=True, max_tokens=99))
    assert stream
    records = {record["prompt_tokens"]: record for record in billed(running, 2)}
    assert whole.usage is not None
    assert set(records) == {2, 3}
    assert all(record["completion_tokens"] == WORDS for record in records.values())
    assert all(record["ended"] == "whole" for record in records.values())
    assert records[2]["package"] == "sha256:0" and records[2]["places"][0]["site"] == "one"


def test_answer_over_several_sites_is_one_record_that_names_them(rig: RigMaker) -> None:
    running = rig(one=DIES, two=LIVES)
    count = 4
    with client(running) as api:
        for _ in range(count):
            text = api.completions.create(model="m", prompt="a", stream=True, max_tokens=99)
            assert "".join(event.choices[0].text for event in text if event.choices) == TEXT
    records = billed(running, count)
    assert [record["completion_tokens"] for record in records] == [WORDS] * count
    moved = [[place["site"] for place in record["places"]] for record in records]
    assert ["one", "two"] in moved and all(sites[-1] == "two" for sites in moved)


def test_client_that_leaves_pays_for_what_it_had(rig: RigMaker) -> None:
    running = rig(one=Script(answer=story, token_s=0.02))
    connection, response = open_stream(running)
    while b"word5" not in response.readline():
        pass
    leave(connection, response)
    (record,) = billed(running)
    assert record["ended"] == "left" and 6 <= record["completion_tokens"] < WORDS


def test_requests_that_were_not_answered_cost_nothing(rig: RigMaker) -> None:
    broken = Script(fail_with=UnavailableError("gone"))
    running = rig(limits=Limits(try_for_s=0.2), one=broken, two=Script())
    assert post(running, json.dumps({"model": "x"}).encode())[0] == 404
    running.apis["two"].agent.replicas.get("m").engine.script = broken
    assert post(running, ask())[0] == 503
    running.apis["two"].agent.replicas.get("m").engine.script = Script()
    assert post(running, ask())[0] == 200
    records = billed(running)
    assert len(records) == 1
    door = running.gateway_state.door
    assert all(account.open == 0 for account in door._accounts.values())


def test_replay_of_an_idempotency_key_is_not_billed_again(rig: RigMaker) -> None:
    running = rig(one=Script(), keep=True)
    with client(running) as api:
        for _ in range(3):
            api.completions.create(model="m", prompt="a", extra_headers={"Idempotency-Key": "k"})
        api.completions.create(model="m", prompt="b")
    assert len(billed(running, 2)) == 2
    until(lambda: running.gateway_state.door._accounts["default"].open == 0)


def test_usage_waits_for_a_control_plane_that_is_away(rig: RigMaker) -> None:
    running = rig(one=Script(), keep=True)
    running.control.takes_usage = False
    for _ in range(3):
        assert post(running, ask())[0] == 200
    assert len(running.gateway_state.metering.log.batch()[0]) == 3
    running.control.takes_usage = True
    assert len(billed(running, 3)) == 3


def test_usage_of_a_killed_gateway_is_what_it_had_delivered(rig: RigMaker, tmp_path: Path) -> None:
    from aigrid.live.metering import Metering

    running = rig(one=Script(answer=story, token_s=0.03), keep=True)
    connection, response = open_stream(running)
    while b"word9" not in response.readline():
        pass
    gateway = running.gateway_state
    usage = tmp_path / "usage"
    killed = usage.rename(tmp_path / "killed")  # its files as the kill leaves them
    again = Metering(gateway.door, gateway.mirror.place, lambda service: "", killed, 8192)
    events = [e["data"] for e in again.log.batch()[0] if e["data"]["ended"] == "died"]
    again.close()
    killed.rename(usage)
    leave(connection, response)
    (record,) = events
    assert 10 <= record["completion_tokens"] <= 14 and record["tenant"] == "default"
    assert record["places"][0]["site"] == "one"


# -- overload ------------------------------------------------------------------------------------


def hold(rig: Rig, share: float) -> None:
    """0: no site's engine makes a token; 1: all do."""
    for api in rig.apis.values():
        api.agent.replicas.serving["m"].engine.set_share(share)


def test_flood_of_one_tenant_leaves_the_other_its_share_and_loses_nothing(rig: RigMaker) -> None:
    narrow = Script(token_s=0.03, queue_limit=2)
    running = rig(one=narrow, two=narrow)
    serve(running, Tenant("heavy"), Tenant("light"))
    gate = running.gateway_state.door.turnstile("m")
    ends: list[str] = []

    def one(name: str) -> int:
        status, _, _ = told(running, f"sk-{name}", ask())
        ends.append(name)
        return status

    hold(running, 0.0)
    with ThreadPoolExecutor(64) as pool:
        flood = [pool.submit(one, "heavy") for _ in range(56)]
        until(lambda: gate.open == 4 and gate.queue.waiting == 52)
        few = [pool.submit(one, "light") for _ in range(6)]
        until(lambda: gate.queue.waiting == 58)
        hold(running, 1.0)
        assert {job.result() for job in (*flood, *few)} == {200}
    places = [place for place, name in enumerate(ends) if name == "light"]
    assert median(places) < 31, ends  # 62 in all; behind the flood they would be the last six
    gate = running.gateway_state.door.turnstile("m")
    until(lambda: gate.open == gate.queue.waiting == 0)


def test_line_that_is_full_sheds_the_lowest_class(rig: RigMaker) -> None:
    running = rig(limits=Limits(waiting=4), one=Script(token_s=0.05, queue_limit=1))
    serve(running, Tenant("vip", "high"), Tenant("bulk", "batch"))
    gate = running.gateway_state.door.turnstile("m")
    gate.window.size = 1.0
    gate.window.largest = 1.0
    with ThreadPoolExecutor(16) as pool:
        bulk = [pool.submit(told, running, "sk-bulk", ask()) for _ in range(8)]
        until(lambda: gate.queue.waiting == 4)
        vip = [pool.submit(told, running, "sk-vip", ask()) for _ in range(3)]
        assert {job.result()[0] for job in vip} == {200}
        refused = [job.result() for job in bulk if job.result()[0] != 200]
    assert refused and {status for status, _, _ in refused} == {429}
    assert all(headers["retry-after"] == "1" for _, headers, _ in refused)
    until(lambda: gate.open == gate.queue.waiting == 0)
