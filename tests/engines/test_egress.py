"""Where a package may have a site connect to: server-side request forgery, and keys that leave."""

import asyncio
import ipaddress
import json
import os
import socket
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigrid.core.errors import ConfigurationError, PermissionDeniedError, UnavailableError
from aigrid.core.package import UpstreamTarget
from aigrid.engines.egress import Egress, is_public
from aigrid.engines.engine import Job, Sampling
from aigrid.engines.upstream import UpstreamEngine

INSIDE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # metadata of most clouds
    "100.100.100.200",  # of another
    "168.63.129.16",  # and of another, public by number
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:1:2:3:4:80ff:fffe",  # Teredo of 127.0.0.1
]


def grants(folder: Path, *networks: str, keys: tuple[tuple[str, str], ...] = ()) -> Egress:
    path = folder / "upstreams.json"
    path.write_text(json.dumps({"networks": networks, "keys": keys}))
    return Egress(path)


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_public_is_refused_unless_granted(address: str, tmp_path: Path) -> None:
    with pytest.raises(PermissionDeniedError, match="--allow-private"):
        Egress().check_address(address)
    grants(tmp_path, address.partition("%")[0]).check_address(address)
    with pytest.raises(PermissionDeniedError):
        grants(tmp_path, "10.255.0.0/16", "fd01::/16").check_address(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_what_is_public_is_allowed(address: str) -> None:
    Egress().check_address(address)


@given(st.ip_addresses(v=4))
def test_an_address_and_its_disguises_are_judged_alike(address: ipaddress.IPv4Address) -> None:
    def allowed(text: str) -> bool:
        try:
            Egress().check_address(text)
        except PermissionDeniedError:
            return False
        return True

    number = int(address)
    for disguise in (
        f"::ffff:{address}",
        str(ipaddress.IPv6Address((0x64FF9B << 96) | number)),
    ):
        assert allowed(disguise) == allowed(str(address)) == is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/v1",
        "http://localhost:9/v1",
        "http://2130706433:9/v1",  # 127.0.0.1 as one number
        "http://0x7f.1:9/v1",
        "http://[::1]:9/v1",
        "http://[::ffff:127.0.0.1]:9/v1",
        "https://user@127.0.0.1:9/v1",
    ],
)
def test_an_engine_for_an_inner_address_does_not_open(url: str) -> None:
    with pytest.raises(PermissionDeniedError, match="not public"):
        UpstreamEngine(UpstreamTarget(url, "m"))


def test_a_name_that_changes_its_address_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when the package is opened, loopback when the connection is made."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        answers = {"now": "93.184.216.34"}

        def resolve(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers["now"], port))]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        engine = UpstreamEngine(UpstreamTarget(f"http://rebinds.example:{port}/v1", "m"))
        answers["now"] = "127.0.0.1"

        async def run() -> None:
            try:
                async for _ in engine.generate(Job("j", Sampling(), prompt="x")):
                    pass
            finally:
                await engine.close()

        with pytest.raises(UnavailableError, match="not public"):
            asyncio.run(run())
        listening.settimeout(0.05)
        with pytest.raises(TimeoutError):
            listening.accept()


def test_the_check_sits_in_the_connector_of_the_real_client() -> None:
    async def run() -> None:
        connector = aiohttp.TCPConnector(socket_factory=Egress().socket)
        async with aiohttp.ClientSession(connector=connector) as session:
            await session.get("http://127.0.0.1:9/")

    with pytest.raises(aiohttp.ClientConnectorError, match="not public"):
        asyncio.run(run())


def test_a_key_goes_to_the_server_it_was_granted_for_alone(tmp_path: Path) -> None:
    secret = tmp_path / "operator_token"
    secret.write_text("op-secret")
    for url in ("http://127.0.0.1:9/v1", "http://1.1.1.1/v1"):
        with pytest.raises(PermissionDeniedError, match="--key-file"):
            Egress().check_key(UpstreamTarget(url, "m", str(secret)))
    rules = grants(tmp_path, keys=(("http://1.1.1.1/v1", str(secret)),))
    rules.check(UpstreamTarget("http://1.1.1.1/v1", "m", str(secret)))
    with pytest.raises(PermissionDeniedError):
        UpstreamEngine(UpstreamTarget("http://1.1.1.2/v1", "m", str(secret)), egress=rules)


def test_grants_are_read_again_and_what_is_none_is_an_error(tmp_path: Path) -> None:
    rules = grants(tmp_path, "127.0.0.0/8")
    rules.check_address("127.0.0.1")
    (tmp_path / "upstreams.json").write_text('{"networks": []}')
    os.utime(tmp_path / "upstreams.json", ns=(1, 1))
    with pytest.raises(PermissionDeniedError):
        rules.check_address("127.0.0.1")
    for text in ("[]", "{", '{"networks": ["nowhere"]}', '{"network": []}', '{"keys": [1]}'):
        (tmp_path / "upstreams.json").write_text(text)
        with pytest.raises(ConfigurationError, match=r"upstreams\.json"):
            rules.check_address("1.1.1.1")
    (tmp_path / "upstreams.json").unlink()
    with pytest.raises(PermissionDeniedError):
        rules.check_address("127.0.0.1")
