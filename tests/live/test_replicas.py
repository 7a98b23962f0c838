"""A site brings what it serves in line with what is wanted, and never drops what works."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from aigrid.core.errors import IntegrityError
from aigrid.core.package import ServiceSpec
from aigrid.engines.engine import Job, Sampling
from aigrid.engines.scripted import Script, ScriptedEngine
from aigrid.live import replicas
from aigrid.live.replicas import ReplicaSet


class Source:
    """Hands out packages whose digest does not say `bad`."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def fetch(self, digest: str) -> tuple[ServiceSpec, Path]:
        self.fetched.append(digest)
        if "bad" in digest:
            raise IntegrityError("layer model.onnx has digest sha256:1, expected sha256:2")
        return ServiceSpec("m", digest), Path()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> ReplicaSet:
    monkeypatch.setattr(replicas, "load_engine", lambda spec, folder: ScriptedEngine())
    made = ReplicaSet(Source(), lambda: True, yields=False)
    made.set_share(0.5)
    return made


async def settle(done: Callable[[], bool]) -> None:
    for _ in range(300):
        if done():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not settle in 3 s")


def test_wanted_package_is_served_with_the_share_in_force(kept: ReplicaSet) -> None:
    async def scenario() -> None:
        kept.reconcile({"m": ("v1", 1)})
        assert [r.state for r in kept.reports()] == ["starting"]
        await settle(lambda: "m" in kept.serving)
        assert kept.reports()[0].digest == "v1"
        assert kept.serving["m"].engine.share == 0.5  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_wrong_byte_leaves_the_old_version_serving_and_says_why(kept: ReplicaSet) -> None:
    async def scenario() -> None:
        kept.reconcile({"m": ("v1", 1)})
        await settle(lambda: "m" in kept.serving)
        kept.reconcile({"m": ("bad", 2)})
        await settle(lambda: kept.reports()[0].state == "failed")
        report = kept.reports()[0]
        assert (report.digest, report.pending) == ("v1", "bad")
        assert "expected sha256:2" in report.error
        kept.get("m")

    asyncio.run(scenario())


def test_failed_package_is_tried_again_only_when_asked_again(kept: ReplicaSet) -> None:
    async def scenario() -> None:
        source = kept.source
        assert isinstance(source, Source)
        kept.reconcile({"m": ("bad", 1)})
        await settle(lambda: kept.reports()[0].state == "failed")
        for _ in range(3):
            kept.reconcile({"m": ("bad", 1)})
        assert source.fetched == ["bad"]
        kept.reconcile({"m": ("bad", 2)})
        await settle(lambda: len(source.fetched) == 2)

    asyncio.run(scenario())


def test_going_back_to_the_serving_version_drops_the_failed_one(kept: ReplicaSet) -> None:
    async def scenario() -> None:
        kept.reconcile({"m": ("v1", 1)})
        await settle(lambda: "m" in kept.serving)
        kept.reconcile({"m": ("bad", 2)})
        await settle(lambda: kept.reports()[0].state == "failed")
        kept.reconcile({"m": ("v1", 3)})
        assert kept.reports()[0].state == "ready"

    asyncio.run(scenario())


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not wanted is closed soon."""
    monkeypatch.setattr(replicas, "LINGER_S", 0.1)


@pytest.mark.usefixtures("brief")
def test_new_version_replaces_the_old_one_which_is_closed(kept: ReplicaSet) -> None:
    async def scenario() -> None:
        kept.reconcile({"m": ("v1", 1)})
        await settle(lambda: "m" in kept.serving)
        old = kept.serving["m"].engine
        kept.reconcile({"m": ("v2", 2)})
        await settle(lambda: kept.serving["m"].digest == "v2" and old._closed)  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_answers_of_what_is_wanted_no_longer_are_counted(kept: ReplicaSet) -> None:
    async def scenario() -> None:
        kept.reconcile({"m": ("v1", 1)})
        await settle(lambda: "m" in kept.serving)
        engine = kept.serving["m"].engine
        engine.script = Script(token_s=0.02, answer=lambda job: "a " * 20)  # type: ignore[attr-defined]
        answer = engine.generate(Job("one", Sampling(max_tokens=50), prompt="go on"))
        await anext(answer)
        assert kept.ending() == 0
        kept.reconcile({})
        assert kept.ending() == 1
        async for _ in answer:
            pass
        await settle(lambda: kept.ending() == 0)

    asyncio.run(scenario())


def test_old_version_lingers_for_what_breaks_off_elsewhere(kept: ReplicaSet) -> None:
    async def scenario() -> None:
        kept.reconcile({"m": ("v1", 1)})
        await settle(lambda: "m" in kept.serving)
        old = kept.serving["m"]
        kept.reconcile({"m": ("v2", 2)})
        await settle(lambda: kept.serving["m"].digest == "v2")
        await asyncio.sleep(0.2)
        kept.set_share(0.25)
        assert kept.get("m", "v1") is old
        assert old.engine.share == 0.25  # type: ignore[attr-defined]
        # Back to it: nothing is loaded.
        kept.reconcile({"m": ("v1", 3)})
        assert kept.serving["m"] is old
        # What is to be loaded needs the room of what lingers.
        kept.reconcile({"m": ("v3", 4)})
        await settle(lambda: all(r.digest != "v2" for r in kept.draining))
        await settle(lambda: kept.serving["m"].digest == "v3")

    asyncio.run(scenario())


@pytest.mark.usefixtures("brief")
def test_what_is_not_wanted_any_more_stops(kept: ReplicaSet) -> None:
    async def scenario() -> None:
        kept.reconcile({"m": ("v1", 1)})
        await settle(lambda: "m" in kept.serving)
        engine = kept.serving["m"].engine
        kept.reconcile({})
        assert kept.reports() == ()
        await settle(lambda: engine._closed)  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_versions_that_change_places_are_not_loaded_again(kept: ReplicaSet) -> None:
    async def scenario() -> None:
        kept.reconcile({"m": ("v1", 1), "m@beside": ("v2", 2)})
        await settle(lambda: len(kept.serving) == 2)
        before = dict(kept.serving)
        kept.reconcile({"m": ("v2", 3), "m@beside": ("v1", 4)})
        assert kept.serving == {"m": before["m@beside"], "m@beside": before["m"]}
        assert kept.get("m", "v1") is before["m"]
        assert kept.draining == []
        assert kept.source.fetched == ["v1", "v2"]  # type: ignore[attr-defined]

    asyncio.run(scenario())


@pytest.mark.usefixtures("brief")
def test_the_old_version_serves_beside_the_new_one_while_that_loads(kept: ReplicaSet) -> None:
    async def scenario() -> None:
        kept.reconcile({"m": ("v1", 1)})
        await settle(lambda: "m" in kept.serving)
        old = kept.serving["m"]
        kept.reconcile({"m": ("v2", 2), "m@beside": ("v1", 3)})
        assert kept.serving == {"m": old, "m@beside": old}
        await settle(lambda: kept.serving["m"].digest == "v2")
        assert kept.serving["m@beside"] is old
        kept.reconcile({"m": ("v2", 2)})
        await settle(lambda: old.engine._closed)  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_what_is_wanted_again_before_it_has_ended_goes_on(kept: ReplicaSet) -> None:
    async def scenario() -> None:
        kept.reconcile({"m": ("v1", 1)})
        await settle(lambda: "m" in kept.serving)
        replica = kept.serving["m"]
        kept.reconcile({})
        assert kept.draining == [replica]
        kept.reconcile({"m@beside": ("v1", 2)})
        await asyncio.sleep(0.15)
        assert kept.get("m", "v1") is replica
        assert not replica.engine._closed  # type: ignore[attr-defined]

    asyncio.run(scenario())
