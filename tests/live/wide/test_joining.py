"""Sites join from other machines: one-time tokens, certificates, and what these open."""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from aigrid.core.errors import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    UnavailableError,
)
from aigrid.core.site import Site
from aigrid.live import server
from aigrid.live.control_plane import ControlPlane, Tokens
from aigrid.live.fabric.authority import FabricAuthority
from aigrid.live.fabric.claims import read
from aigrid.live.fabric.nkeys import KeyPair
from aigrid.live.paths import GridPaths
from aigrid.live.wide import membership
from aigrid.live.wide.certificates import Authority, Identity, request_for
from aigrid.live.wide.door import Door
from aigrid.live.wide.invitations import Invitation
from aigrid.live.wide.peers import tls_server

HOST = "127.0.0.1"
SITE = Site("tower-9", "tower", "kanto")


@dataclass
class Grid:
    door: Door
    plane: ControlPlane
    folder: Path

    def invite(self, site: str = SITE.name) -> str:
        return self.door.invite(site, 60.0)

    def joined(self, name: str = "one") -> membership.Membership:
        return membership.join(self.invite(), self.folder / name, SITE, HOST, 1)

    def report(self, joined: membership.Membership, kind: str, body: object) -> dict:
        context = joined.identity.client()
        return membership.call(self.door.url, f"/grid/v1/{kind}", body, context)  # type: ignore[arg-type]


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    paths = GridPaths(tmp_path / "data")
    paths.make()
    plane = ControlPlane(paths, Tokens("op", "grid"))
    authority = Authority(paths.authority)
    identity = authority.identity(paths.identity("control"), "control", "control", [HOST])
    bound = server.listen(HOST, 0)
    url = f"https://{HOST}:{bound.getsockname()[1]}"
    door = Door(plane, authority, plane.kept.invitations, plane.store.trusted_keys, "", url)
    web = tls_server(door.app(), identity.server(everybody_shows=False))
    web.config.loop = "asyncio"
    ready = threading.Event()

    async def main() -> None:
        async with plane.running():
            ready.set()
            await web.serve(sockets=[bound])

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    ready.wait(10)
    while not web.started:
        time.sleep(0.01)
    yield Grid(door, plane, tmp_path)
    web.should_exit = web.force_exit = True
    thread.join(10)


def introduction(name: str = SITE.name) -> dict:
    site = {"name": name, "kind": "tower", "region": "kanto"}
    return {"site": site, "url": "https://x:1", "pid": 1, "incarnation": "a"}


def test_a_site_joins_once_and_reports_for_itself(grid: Grid):
    joined = grid.joined()
    assert grid.report(joined, "join", introduction())["join"] is False
    assert grid.plane.records[SITE.name].url == "https://x:1"
    assert joined.trusted_keys
    assert membership.Membership.load(joined.folder) == joined
    assert joined.identity.key.stat().st_mode & 0o077 == 0


def test_reports_of_an_older_start_are_refused(grid: Grid):
    joined = grid.joined()
    grid.report(joined, "join", introduction())
    beat = {"site": SITE.name, "radio_load": 0.5, "radio_need_cores": 0.5}
    beat |= {"slots_on_time": 7, "slots_missed": 0, "replicas": []}
    assert not grid.report(joined, "heartbeat", {"incarnation": "a", "beat": beat})["join"]
    state = grid.plane.orchestrator.state
    row = state.site_row[SITE.name]
    replayed = {"incarnation": "before", "beat": beat | {"slots_on_time": 9999}}
    assert grid.report(joined, "heartbeat", replayed)["join"]
    assert state.sites.slots_on_time[row] == 7


def test_a_join_token_is_in_no_log(grid: Grid, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    token = grid.invite()
    membership.join(token, grid.folder / "one", SITE, HOST, 1)
    with pytest.raises(AuthenticationError) as refused:
        membership.join(token, grid.folder / "two", SITE, HOST, 1)
    secret = Invitation.read(token).secret
    assert token not in caplog.text + str(refused.value)
    assert secret not in caplog.text + str(refused.value)


def test_a_token_is_good_for_one_use(grid: Grid):
    token = grid.invite()
    membership.join(token, grid.folder / "one", SITE, HOST, 1)
    with pytest.raises(AuthenticationError, match="does not stand"):
        membership.join(token, grid.folder / "two", SITE, HOST, 1)
    assert not (grid.folder / "two" / "site.json").exists()


def test_a_token_ends_and_a_newer_one_replaces_it(grid: Grid):
    late = grid.door.invite(SITE.name, 1e-6)
    with pytest.raises(AuthenticationError):
        membership.join(late, grid.folder / "one", SITE, HOST, 1)
    old, new = grid.invite(), grid.invite()
    with pytest.raises(AuthenticationError):
        membership.join(old, grid.folder / "one", SITE, HOST, 1)
    membership.join(new, grid.folder / "one", SITE, HOST, 1)


def test_a_token_is_for_its_site(grid: Grid):
    with pytest.raises(InvalidRequestError, match="is for site 'other'"):
        membership.join(grid.invite("other"), grid.folder / "one", SITE, HOST, 1)


def test_a_directory_joins_once(grid: Grid):
    grid.joined()
    with pytest.raises(ConflictError):
        grid.joined()


def test_no_site_speaks_for_another(grid: Grid):
    joined = grid.joined()
    with pytest.raises(AuthenticationError, match="reports for another"):
        grid.report(joined, "join", introduction("tower-1"))
    with pytest.raises(InvalidRequestError, match="do not report"):
        grid.report(joined, "gateway", {"site": SITE.name})
    assert "tower-1" not in grid.plane.records


def test_without_a_certificate_nothing_answers(grid: Grid):
    bare = ssl.create_default_context(cadata=grid.door.authority.der)
    for path in ("/grid/v1/join", "/grid/v1/renew", "/v2/", "/control/v1/status"):
        with pytest.raises(AuthenticationError):
            membership.call(grid.door.url, path, introduction(), bare)


def test_a_certificate_of_another_authority_is_refused(grid: Grid):
    other = Authority(grid.folder / "other")
    forged = other.identity(grid.folder / "forged", SITE.name, "site", [HOST])
    context = ssl.create_default_context(cadata=grid.door.authority.der)
    context.load_cert_chain(forged.certificate, forged.key)
    with pytest.raises(UnavailableError):
        membership.call(grid.door.url, "/grid/v1/join", introduction(), context)


def test_a_gateways_certificate_is_not_a_sites(grid: Grid):
    identity = grid.door.authority.identity(grid.folder / "g", "gateway", "gateway", [HOST])
    with pytest.raises(AuthenticationError):
        membership.call(grid.door.url, "/grid/v1/join", introduction(), identity.client())


def test_somebody_else_behind_the_address_is_refused(grid: Grid):
    token = Invitation.read(grid.invite())
    other = Authority(grid.folder / "other")
    forged = Invitation(token.url, other.der, token.site, token.secret).token()
    with pytest.raises(AuthenticationError, match="not the grid of this token"):
        membership.join(forged, grid.folder / "one", SITE, HOST, 1)


def test_a_site_gets_a_pass_for_the_fabric_and_keeps_its_key(grid: Grid) -> None:
    grid.door.fabric = "tls://10.0.0.1:4222"
    grid.door.passes = FabricAuthority(grid.folder / "fabric")
    joined = grid.joined()
    first = joined.way.own
    assert first is not None
    told = read(first.token)
    assert told["sub"] == KeyPair.read(first.seed).public
    assert "aigrid.report.heartbeat.tower-9" in told["nats"]["pub"]["allow"]
    assert told["exp"] - told["iat"] == 90 * 86400
    assert (joined.folder / membership.PASS).stat().st_mode & 0o777 == 0o600
    membership.renew(joined)
    again = joined.way.own
    assert again is not None and again.seed == first.seed
    grid.door.dismiss(SITE.name)
    assert grid.door.invitations.revoked() == {told["sub"]}


def test_a_pass_is_for_a_users_key_alone(grid: Grid) -> None:
    grid.door.passes = FabricAuthority(grid.folder / "fabric")
    joined = grid.joined()
    asked = {"csr": request_for(ec.generate_private_key(ec.SECP256R1()), SITE.name).decode()}
    for key in ("nonsense", KeyPair.new("account").public):
        body = asked | {"hosts": [HOST], "fabric_key": key}
        with pytest.raises(InvalidRequestError, match="no NATS key of a user"):
            grid.report(joined, "renew", body)


def test_a_dismissed_site_is_out_until_invited_again(grid: Grid):
    joined = grid.joined()
    grid.door.dismiss(SITE.name)
    with pytest.raises(AuthenticationError):
        grid.report(joined, "join", introduction())
    again = grid.joined("again")
    assert grid.report(again, "join", introduction())["join"] is False


def test_a_certificate_is_renewed_with_a_new_key(grid: Grid):
    joined = grid.joined()
    before = joined.identity.key.read_bytes()
    membership.renew(joined)
    assert joined.identity.key.read_bytes() != before
    assert grid.report(joined, "join", introduction())["join"] is False


@pytest.mark.parametrize("host", ["a b", "x\ny", "*.example", ""])
def test_hosts_that_no_certificate_may_carry(grid: Grid, host: str):
    with pytest.raises(InvalidRequestError, match="neither an address nor a name"):
        membership.join(grid.invite(), grid.folder / "one", SITE, host, 1)


@pytest.mark.parametrize("token", ["", "join-", "sk-abc", "join-" + "A" * 9000, "join-e30"])
def test_nonsense_is_no_token(token: str):
    with pytest.raises(InvalidRequestError, match="join token"):
        Invitation.read(token)


def test_an_identity_knows_how_long_it_lives(tmp_path: Path):
    import datetime

    authority = Authority(tmp_path / "ca")
    identity = authority.identity(tmp_path / "own", "x", "control", [HOST])
    now = datetime.datetime.now(datetime.UTC)
    assert 0.99 < identity.left(now) < 1.0
    assert identity.left(now + datetime.timedelta(days=4000)) < 0.0
    assert Authority(tmp_path / "ca").der == authority.der
    assert Identity.within(tmp_path / "own") == identity


def test_what_is_kept_is_not_secret_but_the_key(grid: Grid):
    joined = grid.joined()
    kept = json.loads((joined.folder / "site.json").read_text())
    assert set(kept) == {"site", "host", "port", "listen_port", "door", "fabric"}
