"""A gateway sends a share of the requests to a new version, and loses none of them."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.live.conftest import Rig, ask, client, post, until

from aigrid.core.errors import AigridError, UnavailableError
from aigrid.core.package import ServiceSpec
from aigrid.core.routing import RoutingTable, Track
from aigrid.engines.engine import Job
from aigrid.engines.scripted import Script, ScriptedEngine
from aigrid.live.limits import Limits
from aigrid.live.replicas import Replica

RigMaker = Callable[..., Rig]
OLD, NEW = "sha256:0", "sha256:1"
WORDS = 40


def say(word: str) -> Callable[[Job], str]:
    return lambda job: " ".join(f"{word}{n}" for n in range(WORDS))


OLD_TEXT, NEW_TEXT = (say(word)(Job("", None)) for word in ("old", "new"))  # type: ignore[arg-type]
OLD_SCRIPT = Script(answer=say("old"), token_s=0.001)
NEW_SCRIPT = Script(answer=say("new"), token_s=0.001)
BROKEN = Script(answer=say("new"), fail_with=UnavailableError("bad weights"))
DIES = Script(
    answer=say("new"), token_s=0.001, fail_with=UnavailableError("bad weights"), fail_at=20
)


def put_beside(
    running: Rig, scripts: dict[str, Script], share: float, digest: str = NEW, main: str = OLD
) -> None:
    """Have sites hold a second version, and say so in the routing table."""
    names = tuple(running.sites)
    for name, script in scripts.items():
        replica = Replica(ServiceSpec("m", "2"), digest, ScriptedEngine(script))
        running.apis[name].agent.replicas.serving["m@beside"] = replica
    candidate = np.arange(len(names), dtype=np.int32).reshape(1, 1, -1).repeat(2, axis=1)
    weight = np.zeros((1, 2, len(names)), np.float32)
    weight[0, 0] = 1.0 / len(names)
    weight[0, 1] = [1.0 / len(scripts) if name in scripts else 0.0 for name in names]
    track = Track("m", "m@beside", "r1", digest, share)
    table = RoutingTable(("*",), ("m", "m@beside"), names, candidate, weight, (track,))
    answer, mirror = running.control.answer, running.gateway_state.mirror
    running.control.answer = answer | {"version": answer["version"] + 1, "table": table.to_dict()}
    until(lambda: mirror.table.track("m") == track)


def texts(running: Rig, times: int, **more: Any) -> list[str]:
    found = []
    for _ in range(times):
        status, _, answer = post(running, ask(**more))
        assert status == 200
        found.append(answer["choices"][0]["message"]["content"])
    return found


def streamed(running: Rig) -> str:
    with client(running) as api:
        events = api.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "tell"}], stream=True
        )
        return "".join(e.choices[0].delta.content or "" for e in events if e.choices)


def told(running: Rig) -> Any:
    state = running.gateway_state
    return state.forwarder.trials.reports(state.mirror)[0]


def test_both_versions_answer_by_lot_and_are_counted(rig: RigMaker) -> None:
    running = rig(one=OLD_SCRIPT, two=OLD_SCRIPT)
    put_beside(running, {"one": NEW_SCRIPT}, share=0.5)
    found = [streamed(running) for _ in range(40)]
    assert set(found) == {OLD_TEXT, NEW_TEXT}
    # The last one is counted when its connection has ended, a moment after its client has it all.
    until(lambda: sum(told(running)[which]["requests"] for which in ("new", "old")) == len(found))
    seen = told(running)
    assert (seen["service"], seen["rollout"]) == ("m", "r1")
    for which, text in (("new", NEW_TEXT), ("old", OLD_TEXT)):
        assert seen[which]["requests"] == found.count(text) == sum(seen[which]["ttft"])
        assert seen[which]["errors"] == 0
    until(lambda: any(body["trials"] for kind, body in running.control.told if kind == "gateway"))


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_bad_version_cannot_answer_the_old_one_does_and_it_counts_as_its_error(
    rig: RigMaker, stream: bool
) -> None:
    running = rig(one=OLD_SCRIPT, two=OLD_SCRIPT)
    put_beside(running, {"one": BROKEN, "two": BROKEN}, share=0.5)
    found = [streamed(running) for _ in range(20)] if stream else texts(running, 20)
    assert set(found) == {OLD_TEXT}
    until(lambda: sum(told(running)[which]["requests"] for which in ("new", "old")) == 20)
    seen = told(running)
    assert seen["new"]["errors"] == seen["new"]["requests"] > 0
    assert seen["old"]["errors"] == 0


def test_a_stream_goes_on_with_the_version_that_began_it(rig: RigMaker) -> None:
    running = rig(one=OLD_SCRIPT, two=OLD_SCRIPT, three=OLD_SCRIPT)
    put_beside(running, {"one": DIES, "two": NEW_SCRIPT}, share=0.5)
    found = [streamed(running) for _ in range(30)]
    assert set(found) == {OLD_TEXT, NEW_TEXT}
    assert running.gateway_state.forwarder.resumed >= 1
    assert told(running)["new"]["errors"] >= 1
    assert told(running)["old"]["errors"] == 0


def test_a_version_that_stands_nowhere_any_more_ends_its_streams_with_an_error(
    rig: RigMaker,
) -> None:
    running = rig(limits=Limits(resume_s=0.5), one=OLD_SCRIPT, two=OLD_SCRIPT)
    put_beside(running, {"one": DIES}, share=0.999)
    with client(running) as api, pytest.raises(Exception, match="broke off"):
        for _ in range(20):
            list(
                api.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "tell"}], stream=True
                )
            )


def test_after_promotion_a_stream_of_the_old_version_is_continued_where_that_still_stands(
    rig: RigMaker,
) -> None:
    slow = Script(answer=say("old"), token_s=0.02)
    running = rig(one=slow)
    texts_seen: list[str] = []
    thread = threading.Thread(target=lambda: texts_seen.append(streamed(running)))
    thread.start()
    replicas = running.apis["one"].agent.replicas
    until(lambda: running.gateway_state.forwarder.open_requests == 1)
    until(lambda: bool(replicas.serving["m"].engine.load().running))
    old = replicas.serving["m"]
    replicas.serving["m"] = Replica(ServiceSpec("m", "2"), NEW, ScriptedEngine(NEW_SCRIPT))
    replicas.serving["m@beside"] = old
    thread.join(60)
    assert texts_seen == [OLD_TEXT]


def test_a_failing_version_trips_no_breaker_of_the_other_and_is_forgotten(
    rig: RigMaker,
) -> None:
    running = rig(one=OLD_SCRIPT)
    silent = Script(answer=say("new"), fail_with=AigridError("bug"))
    put_beside(running, {"one": silent}, share=0.9)
    assert set(texts(running, 12)) == {OLD_TEXT}
    state = running.gateway_state
    assert {service for _, service in state.mirror.health._breakers} <= {f"m@{NEW}"}
    running.control.publish(dict(state.mirror.urls), [1.0])
    until(lambda: not state.mirror.health._breakers)


def test_a_request_without_a_lot_for_the_new_version_is_not_counted(rig: RigMaker) -> None:
    running = rig(one=OLD_SCRIPT)
    put_beside(running, {"one": NEW_SCRIPT}, share=0.0)
    assert set(texts(running, 5)) == {OLD_TEXT}
    state = running.gateway_state
    assert state.forwarder.trials.reports(state.mirror) == []


def test_counts_of_a_rollout_that_is_over_are_dropped(rig: RigMaker) -> None:
    running = rig(one=OLD_SCRIPT)
    put_beside(running, {"one": NEW_SCRIPT}, share=0.5)
    texts(running, 2)
    state = running.gateway_state
    assert len(state.forwarder.trials.reports(state.mirror)) == 1
    running.control.publish(dict(state.mirror.urls), [1.0])
    until(lambda: not state.mirror.table.tracks)
    assert state.forwarder.trials.reports(state.mirror) == []
