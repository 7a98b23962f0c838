"""Sites and gateways hear from the control plane over a real NATS server."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from tests.store.conftest import fill_model_dir

from aigrid.core.errors import NotFoundError, UnavailableError
from aigrid.live.fabric.by_nats import NatsLink
from aigrid.live.fabric.nats_control import NatsControl, make_places
from aigrid.live.fabric.nats_names import PACKAGES, REPORTS, orders_key, token
from aigrid.live.fabric.nats_server import NatsServer
from aigrid.live.fabric.objects import read_object
from aigrid.live.fabric.packages import NatsSource
from aigrid.store.layout import Layout
from aigrid.store.store import Store


class Desk:
    """A control plane that knows a site once it has joined."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.joined: set[str] = set()
        self.version, self.table = 1, {"rows": []}

    async def take(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        self.taken.append((kind, body))
        if kind == "join":
            self.joined.add(body["site"]["name"])
            return {"join": False, "share": 0.5}
        if kind == "heartbeat":
            return {"join": body["beat"]["site"] not in self.joined, "share": body["beat"]["load"]}
        return {}

    async def routes_after(self, version: int, wait_s: float) -> dict[str, Any]:
        if self.version == version:
            await asyncio.sleep(0.02)
            return {"version": version}
        return {"version": self.version, "table": self.table}


@asynccontextmanager
async def grid(url: str, desk: Desk, layout: Layout, wanted: Callable[[], set[str]] = set):
    control = asyncio.create_task(NatsControl(NatsServer(url), desk, layout, wanted).run())
    link = NatsLink(NatsServer(url), "test")
    try:
        yield link
    finally:
        control.cancel()
        with suppress(asyncio.CancelledError):
            await control
        await link.close()


async def eventually(ask: Callable[[], Any]) -> Any:
    for _ in range(200):
        with suppress(UnavailableError):
            found = await ask()
            if found:
                return found
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come")


def beat(site: str, load: float = 0.25) -> dict[str, Any]:
    return {"incarnation": "a", "beat": {"site": site, "load": load}}


def test_a_site_joins_and_hears_its_orders(nats_server, tmp_path):
    async def run() -> None:
        desk = Desk()
        async with grid(nats_server.url, desk, Layout(tmp_path / "oci")) as link:
            joined = await eventually(lambda: link.tell("join", "s 1", {"site": {"name": "s 1"}}))
            assert joined == {"join": False, "share": 0.5}

            async def obeyed() -> bool:
                return (await link.tell("heartbeat", "s 1", beat("s 1")))["share"] == 0.25

            await eventually(obeyed)

    asyncio.run(run())


def test_an_unknown_site_is_asked_to_join(nats_server, tmp_path):
    async def run() -> None:
        async with grid(nats_server.url, Desk(), Layout(tmp_path / "oci")) as link:

            async def asked() -> bool:
                return bool((await link.tell("heartbeat", "t", beat("t")))["join"])

            await eventually(asked)

    asyncio.run(run())


def test_a_new_routing_table_reaches_gateways_however_large(nats_server, tmp_path):
    async def run() -> None:
        desk = Desk()
        async with grid(nats_server.url, desk, Layout(tmp_path / "oci")) as link:

            async def heard() -> dict[str, Any]:
                told = await link.routes(-1, 1.0)
                return told if told["version"] == desk.version else {}

            assert (await eventually(heard))["table"] == {"rows": []}
            desk.table = {"rows": ["x" * 1000] * 1500}
            desk.version = 2
            assert (await eventually(heard))["table"] == desk.table
            assert await link.routes(2, 0.1) == {"version": 2}

    asyncio.run(run())


def test_last_orders_stand_while_control_plane_and_server_die(nats_server, tmp_path):
    async def run() -> None:
        desk = Desk()
        async with grid(nats_server.url, desk, Layout(tmp_path / "oci")) as link:
            await eventually(lambda: link.tell("join", "s", {"site": {"name": "s"}}))
        link = NatsLink(NatsServer(nats_server.url), "alone")
        assert (await link.tell("heartbeat", "s", beat("s")))["share"] == 0.5
        nats_server.kill()
        with pytest.raises(UnavailableError):
            await link.tell("heartbeat", "s", beat("s"))
        nats_server.start()

        async def orders() -> bool:
            return (await link.tell("heartbeat", "s", beat("s")))["share"] == 0.5

        await eventually(orders)
        async with grid(nats_server.url, desk, Layout(tmp_path / "oci")):

            async def obeyed() -> bool:
                return (await link.tell("heartbeat", "s", beat("s", 0.75)))["share"] == 0.75

            await eventually(obeyed)
        await link.close()

    asyncio.run(run())


def test_a_control_plane_outlives_the_server(nats_server, tmp_path):
    async def run() -> None:
        desk = Desk()
        async with grid(nats_server.url, desk, Layout(tmp_path / "oci")) as link:
            await eventually(lambda: link.tell("join", "s", {"site": {"name": "s"}}))
            nats_server.kill()
            await asyncio.sleep(0.3)
            nats_server.start()

            async def obeyed() -> bool:
                return (await link.tell("heartbeat", "s", beat("s", 0.125)))["share"] == 0.125

            await eventually(obeyed)

    asyncio.run(run())


def test_a_control_plane_that_the_server_forgot_comes_back(nats_server, tmp_path):
    async def run() -> None:
        desk = Desk()
        async with grid(nats_server.url, desk, Layout(tmp_path / "oci")) as link:
            await eventually(lambda: link.tell("join", "s", {"site": {"name": "s"}}))
            client = await NatsServer(nats_server.url).connect("test")
            stream = client.jetstream()
            for consumer in await stream.consumers_info(REPORTS):
                await stream.delete_consumer(REPORTS, consumer.name)
            await client.close()

            async def obeyed() -> bool:
                return (await link.tell("heartbeat", "s", beat("s", 0.125)))["share"] == 0.125

            await eventually(obeyed)

    asyncio.run(run())


def test_a_refused_report_does_not_stop_the_others(nats_server, tmp_path):
    async def run() -> None:
        desk = Desk()
        async with grid(nats_server.url, desk, Layout(tmp_path / "oci")) as link:
            await eventually(lambda: link.tell("join", "s", {"site": {"name": "s"}}))
            await link.tell("heartbeat", "s", {"beat": "nonsense"})

            async def obeyed() -> bool:
                return (await link.tell("heartbeat", "s", beat("s", 0.5)))["share"] == 0.5

            await eventually(obeyed)

    asyncio.run(run())


def test_names_become_one_token():
    assert token("tower-1") == "tower-1"
    assert token("a.b *") == "a=2Eb=20=2A"
    assert orders_key("東") == "site.=E6=9D=B1"


def test_nobody_there_is_said_plainly():
    async def run() -> None:
        with pytest.raises(UnavailableError, match="does not answer"):
            await NatsLink(NatsServer("nats://127.0.0.1:9"), "x").tell("gateway", "g", {})

    asyncio.run(run())


def test_a_package_that_is_not_there_is_not_found(nats_server, tmp_path):
    async def run() -> None:
        async with grid(nats_server.url, Desk(), Layout(tmp_path / "oci")) as link:
            await eventually(lambda: link.tell("join", "s", {"site": {"name": "s"}}))

    asyncio.run(run())
    source = NatsSource(NatsServer(nats_server.url), tmp_path / "site", ())
    with pytest.raises(NotFoundError):
        source.fetch("sha256:" + "0" * 64)


def test_an_object_that_never_comes_is_given_up(nats_server):
    async def run() -> None:
        client = await NatsServer(nats_server.url).connect("test")
        await make_places(client.jetstream())
        nats_server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await read_object(client.jetstream(timeout=0.2), PACKAGES, "package/x")
        nats_server.process.send_signal(signal.SIGCONT)
        await client.close()

    asyncio.run(run())


def test_a_package_comes_whole_and_proved(nats_server, tmp_path):
    model = fill_model_dir(tmp_path / "model")
    store = Store(tmp_path / "store")
    digest = store.publish(model, "maker", 1.0).digest

    async def run() -> None:
        desk = Desk()
        async with grid(nats_server.url, desk, store.layout, lambda: {digest}):
            source = NatsSource(
                NatsServer(nats_server.url), tmp_path / "site", tuple(store.trusted_keys)
            )

            async def fetched() -> Any:
                with suppress(NotFoundError):
                    return await asyncio.to_thread(source.fetch, digest)

            spec, files = await eventually(fetched)
            assert spec.name == "demo"
            assert (files / "model.safetensors").read_bytes() == (
                model / "model.safetensors"
            ).read_bytes()

    asyncio.run(run())
