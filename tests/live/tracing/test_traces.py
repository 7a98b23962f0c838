"""One trace a request, from its client over gateway and site to the engine, whatever dies."""

import json
import socket
import time
from collections.abc import Callable, Iterator

import openai
import pytest
from prometheus_client import REGISTRY
from tests.live.conftest import KEY, Middle, Rig, ask, client, post, until
from tests.live.embeddings import ScriptedEmbedder, serve
from tests.live.tracing.receiver import Receiver, Seen

from aigrid.engines.scripted import Script
from aigrid.live.limits import Limits
from aigrid.live.tracing import OFF, Telemetry

RigMaker = Callable[..., Rig]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
SECRET = "what nobody may read"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aigrid.live.tracing.tracer.PERIOD_S", 0.02)
    monkeypatch.setattr("aigrid.live.tracing.tracer.TIMEOUT_S", 0.5)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver().start()
    yield running
    running.stop()


def ended(process: str, number: int = 1) -> Callable[[list[Seen]], bool]:
    """Whether so many requests have ended at a process: its own span comes last."""

    def look(spans: list[Seen]) -> bool:
        return sum(s.process == process and s.kind == 2 for s in spans) >= number

    return look


def both(spans: list[Seen]) -> bool:
    return ended("aigrid-gateway")(spans) and ended("aigrid-site")(spans)


def tree(spans: list[Seen]) -> dict[str, str]:
    """Each span by name, with its parent's name; the client's is `client`."""
    names = {s.span_id: s.name for s in spans} | {PARENT: "client"}
    assert all(s.parent_id in names for s in spans), "a span has a parent that nobody saw"
    return {f"{s.process[7:]} {s.name}": names[s.parent_id] for s in spans}


def test_one_trace_spans_client_gateway_site_and_engine(rig: RigMaker, receiver: Receiver) -> None:
    running = rig(telemetry=Telemetry(receiver.url), one=Script(first_token_s=0.02))
    with client(running, default_headers={"traceparent": SAMPLED}) as api:
        api.chat.completions.create(
            model="m", messages=[{"role": "user", "content": SECRET}], max_tokens=3
        )
    spans = receiver.until(both)
    assert {s.trace_id for s in spans} == {TRACE}
    assert tree(spans) == {
        "gateway POST /v1/chat/completions": "client",
        "gateway door": "POST /v1/chat/completions",
        "gateway turn": "POST /v1/chat/completions",
        "gateway choose": "POST /v1/chat/completions",
        "site POST /v1/chat/completions": "POST /v1/chat/completions",
        "site admit": "POST /v1/chat/completions",
        "site chat m": "POST /v1/chat/completions",
        "site queue": "chat m",
        "site prefill": "chat m",
        "site decode": "chat m",
    }
    assert receiver.paths == {"/v1/traces"}


def test_an_embedding_is_one_trace_that_says_what_was_read(
    rig: RigMaker, receiver: Receiver
) -> None:
    running = rig(telemetry=Telemetry(receiver.url), one=Script())
    serve(running, one=ScriptedEmbedder())
    with client(running, default_headers={"traceparent": SAMPLED}) as api:
        api.embeddings.create(model="e", input=[SECRET, "two words"])
    spans = receiver.until(both)
    path = "POST /v1/embeddings"
    told = tree(spans)
    assert told[f"gateway {path}"] == "client" and told[f"site {path}"] == path
    assert told["site embeddings e"] == path
    assert told["site queue"] == told["site prefill"] == "embeddings e"
    assert "site decode" not in told
    engine = next(s for s in spans if s.name == "embeddings e").attributes
    assert engine["gen_ai.operation.name"] == "embeddings" and engine["aigrid.inputs"] == 2
    assert engine["gen_ai.usage.input_tokens"] == len(SECRET.split()) + 2
    assert SECRET not in repr(spans)


def test_spans_lie_within_their_parents_and_say_what_the_conventions_ask(
    rig: RigMaker, receiver: Receiver
) -> None:
    running = rig(telemetry=Telemetry(receiver.url), one=Script(first_token_s=0.02))
    status, headers, _ = post(running, ask(SECRET, max_tokens=3))
    assert status == 200
    spans = receiver.until(both)
    by_id = {s.span_id: s for s in spans}
    for span in spans:
        over = by_id.get(span.parent_id)
        assert over is None or over.begun_ns <= span.begun_ns <= span.ended_ns
    served = next(s for s in spans if s.process == "aigrid-gateway" and s.kind == 2)
    told = served.attributes
    assert told["http.response.status_code"] == 200
    assert told["http.route"] == "/v1/chat/completions"
    assert told["gen_ai.request.model"] == "m"
    assert told["gen_ai.usage.output_tokens"] == 3
    assert told["aigrid.request_id"] == headers["x-request-id"]
    engine = next(s for s in spans if s.name == "chat m").attributes
    assert engine["gen_ai.operation.name"] == "chat"
    assert engine["gen_ai.response.finish_reasons"] == ["length"]
    prefill = next(s for s in spans if s.name == "prefill")
    assert prefill.ended_ns - prefill.begun_ns >= 15_000_000
    assert SECRET not in repr(spans) and KEY not in repr(spans)


def test_a_stream_whose_site_dies_is_one_trace_with_its_tries_linked(
    rig: RigMaker, receiver: Receiver, middle: Callable[..., Middle]
) -> None:
    slow = Script(answer=lambda job: "a b c d e f g h", token_s=0.02)
    running = rig(telemetry=Telemetry(receiver.url), one=slow, two=slow)
    between = {name: middle(site.url) for name, site in running.sites.items()}
    running.control.publish({name: m.url for name, m in between.items()}, [0.5, 0.5])
    until(lambda: running.gateway_state.mirror.urls.get("one") == between["one"].url)
    for one in between.values():
        one.cut_at = 1100
    with client(running, default_headers={"traceparent": SAMPLED}) as api:
        stream = api.completions.create(model="m", prompt="x", stream=True)
        text = ""
        for event in stream:
            text += event.choices[0].text
            if len(text) == 3:
                for one in between.values():
                    if one.passed == 0:
                        one.cut_at = float("inf")
    assert text == "a b c d e f g h"
    enough = lambda spans: ended("aigrid-gateway")(spans) and ended("aigrid-site", 2)(spans)  # noqa: E731
    spans = receiver.until(enough)
    assert {s.trace_id for s in spans} == {TRACE}
    tree(spans)
    tries = sorted((s for s in spans if s.kind == 3), key=lambda s: s.begun_ns)
    assert [s.name for s in tries] == ["POST /v1/completions", "POST /site/v1/resume"]
    broken, last = tries
    assert broken.failed and broken.attributes["error.type"] == "unreachable"
    assert not last.failed and last.links == [broken.span_id]
    assert last.attributes["aigrid.continues"] is True
    sites = {s.parent_id: s.instance for s in spans if s.process == "aigrid-site" and s.kind == 2}
    assert sites[broken.span_id] == broken.attributes["aigrid.site"]
    assert sites[last.span_id] == last.attributes["aigrid.site"] != sites[broken.span_id]
    left = next(s for s in spans if s.name == "text_completion m" and s.failed)
    assert left.instance == broken.attributes["aigrid.site"]


def test_a_client_decides_what_is_not_sampled_and_the_ratio_the_rest(
    rig: RigMaker, receiver: Receiver
) -> None:
    running = rig(telemetry=Telemetry(receiver.url, ratio=0.0), one=Script())
    with client(running) as api:
        api.completions.create(model="m", prompt="x")
        quiet = {"traceparent": SAMPLED[:-1] + "0"}
        api.completions.create(model="m", prompt="x", extra_headers=quiet)
        api.completions.create(model="m", prompt="x", extra_headers={"traceparent": SAMPLED})
    spans = receiver.until(both)
    assert {s.trace_id for s in spans} == {TRACE}
    assert sum(s.kind == 2 and s.process == "aigrid-gateway" for s in spans) == 1


@pytest.mark.parametrize("given", ["", "00-zz-1-01", "x" * 9000, f"00-{'0' * 32}-{PARENT}-01"])
def test_a_context_that_is_none_begins_a_trace_of_its_own(
    rig: RigMaker, receiver: Receiver, given: str
) -> None:
    running = rig(telemetry=Telemetry(receiver.url), one=Script())
    with client(running) as api:
        api.completions.create(model="m", prompt="x", extra_headers={"traceparent": given})
    spans = receiver.until(both)
    roots = [s for s in spans if not s.parent_id]
    assert [s.process for s in roots] == ["aigrid-gateway"]
    assert len({s.trace_id for s in spans}) == 1


def test_a_receiver_that_is_dead_or_silent_costs_no_answer_and_is_counted(rig: RigMaker) -> None:
    before = REGISTRY.get_sample_value("aigrid_trace_spans_total", {"outcome": "failed"}) or 0.0
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        running = rig(
            telemetry=Telemetry(f"http://127.0.0.1:{silent.getsockname()[1]}"), one=Script()
        )
        assert [post(running, ask())[0] for _ in range(20)] == [200] * 20
        failed = lambda: REGISTRY.get_sample_value(  # noqa: E731
            "aigrid_trace_spans_total", {"outcome": "failed"}
        )
        until(lambda: (failed() or 0.0) > before)


def test_a_full_queue_drops_and_counts() -> None:
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    from aigrid.live.tracing.tracer import Shipper

    class Never(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    shipper = Shipper(Never(), limit=3)
    before = REGISTRY.get_sample_value("aigrid_trace_spans_total", {"outcome": "dropped"}) or 0.0
    for _ in range(10):
        shipper.on_end(None)  # type: ignore[arg-type]
    dropped = REGISTRY.get_sample_value("aigrid_trace_spans_total", {"outcome": "dropped"})
    assert dropped == before + 7
    shipper.shutdown()


def test_traces_that_clients_ask_for_are_bounded(rig: RigMaker, receiver: Receiver) -> None:
    from aigrid.live.tracing.tracer import Asked

    running = rig(telemetry=Telemetry(receiver.url, ratio=0.0), one=Script())
    assert running.gateway_state.tracer is not None
    running.gateway_state.tracer._asked = Asked(per_min=3.0)
    with client(running, default_headers={"traceparent": SAMPLED}) as api:
        for _ in range(5):
            api.completions.create(model="m", prompt="x")
    receiver.until(ended("aigrid-site", 3))
    time.sleep(0.2)
    assert sum(s.kind == 2 and s.process == "aigrid-gateway" for s in receiver.spans) == 3


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (SAMPLED, 1),
        (SAMPLED[:-2] + "00", 0),
        (f"cc-{TRACE}-{PARENT}-09-what-comes", 9),
        (SAMPLED + "-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (SAMPLED.upper(), None),
        (SAMPLED + "\n", None),
        ("", None),
    ],
)
def test_contexts_are_read_as_w3c_says(given: str, flags: int | None) -> None:
    from aigrid.live.tracing.tracer import flags_of

    assert flags_of(given) == flags


def test_without_an_endpoint_nothing_of_it_is_loaded(rig: RigMaker) -> None:
    running = rig(one=Script())
    assert post(running, ask())[0] == 200
    assert running.gateway_state.tracer is None
    assert running.apis["one"].agent.replicas.get("m").engine.jobs[0].times is None
    assert not OFF.traceparent


def test_an_answer_that_no_site_gives_is_a_failed_trace(rig: RigMaker, receiver: Receiver) -> None:
    running = rig(
        telemetry=Telemetry(receiver.url), limits=Limits(try_for_s=0.1), gone="http://127.0.0.1:9"
    )
    status, _, answer = post(running, ask())
    assert (status, json.dumps(answer).count("unreachable")) == (503, 0)
    spans = receiver.until(ended("aigrid-gateway"))
    root = next(s for s in spans if s.kind == 2)
    assert root.failed and root.attributes["http.response.status_code"] == 503
    assert all(s.failed for s in spans if s.kind == 3)


def test_openai_client_still_works_without_a_trace(rig: RigMaker, receiver: Receiver) -> None:
    running = rig(telemetry=Telemetry(receiver.url), one=Script())
    with client(running) as api, pytest.raises(openai.NotFoundError):
        api.completions.create(model="none", prompt="x")
    root = receiver.until(ended("aigrid-gateway"))[-1]
    assert root.name == "POST" and not root.failed
