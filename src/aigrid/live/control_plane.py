"""The control plane: the orchestrator behind an HTTP API, with the store beside it."""

from __future__ import annotations

import asyncio
import hmac
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigrid.control.orchestrator import Orchestrator
from aigrid.control.policy import Policy
from aigrid.control.world import drive
from aigrid.core.errors import AuthenticationError, ConflictError, NotFoundError, UnavailableError
from aigrid.core.events import Event, Heartbeat, ServiceDeployed, ServiceUndeployed, SiteHeld
from aigrid.core.package import ServiceSpec
from aigrid.core.state import NO_VERSION, UP
from aigrid.live.billing_desk import BillingDesk
from aigrid.live.board import Board
from aigrid.live.fabric import Fabric
from aigrid.live.ledger import Deployment, Ledger
from aigrid.live.paths import GridPaths
from aigrid.live.recorder import Recorder
from aigrid.live.records import Records, wait_for_records
from aigrid.live.rollouts import RolloutDesk
from aigrid.live.server import every
from aigrid.live.site_record import SiteDoor, SiteRecord
from aigrid.live.tenancy import Tenancy
from aigrid.live.world import LiveWorld
from aigrid.store.store import Store

DECIDE_TIMEOUT_S = 5.0
GATEWAY_ASKS_S = 15.0  # a gateway that lives asks at least so often
SPREAD_S = 1.0
RECHECK_S = 1.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """Who may do what: the operator changes the grid, its own processes report to it."""

    operator: str
    grid: str

    def check(self, given: str, *, operator: bool) -> None:
        """Let the holder of the right token pass; the grid's own token opens its own paths only.

        Raises:
            AuthenticationError: any other token.
        """
        if not hmac.compare_digest(given, self.operator if operator else self.grid):
            raise AuthenticationError(
                "the token is missing or not this grid's",
                next_step="run the command with the --data directory of the grid",
            )


@dataclass(slots=True)
class ControlPlane:
    """Wires world, orchestrator, board, ledger and store.

    Attributes:
        paths: the data directory.
        tokens: who may do what.
        commit: of the code, for recordings.
        record: folder of recordings; the data directory's own where None.
        fabric: how it reaches NATS; HTTP alone without.
        door: for sites of other machines; None where the grid is this machine's alone.
        tls: this process's certificate, for calls of such sites.
        database: URL of PostgreSQL; empty for SQLite in the data directory.
    """

    paths: GridPaths
    tokens: Tokens
    commit: str = ""
    record: Path | None = None
    fabric: Fabric = field(default_factory=Fabric)
    door: SiteDoor | None = None
    tls: ssl.SSLContext | None = None
    database: str = field(default="", repr=False)
    board: Board = field(default_factory=Board)
    records: dict[str, SiteRecord] = field(default_factory=dict)
    gateway: dict[str, Any] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)
    specs: dict[str, ServiceSpec] = field(default_factory=dict)
    kept: Records = field(init=False)
    ledger: Ledger = field(init=False)
    store: Store = field(init=False)
    orchestrator: Orchestrator = field(init=False)
    world: LiveWorld = field(init=False)
    recorder: Recorder = field(init=False)
    tenancy: Tenancy = field(init=False)
    billing: BillingDesk = field(init=False)
    rollouts: RolloutDesk = field(init=False)
    failure: BaseException | None = None
    errors: dict[tuple[str, str], str] = field(default_factory=dict)
    _stopping: bool = False
    _held: int = -1
    _asked_s: float = float("-inf")
    _heard: threading.Condition = field(default_factory=threading.Condition)
    _new_routes: asyncio.Event = field(default_factory=asyncio.Event)
    _gateway_before: tuple[float, int] = (0.0, 0)

    def __post_init__(self) -> None:
        self.kept = wait_for_records(self.paths, self.database)
        self.ledger = self.kept.ledger
        self.store = Store(self.paths.store)
        self.tenancy = Tenancy(self.paths, self.tokens.operator, self.kept.accounts)
        self.billing = BillingDesk(self.tenancy, self.store.catalogue.by_digest)
        self.rollouts = RolloutDesk(self, self.kept.rollouts)
        self.orchestrator = Orchestrator(Policy())
        self.world = LiveWorld(self.board, time.monotonic)
        self.recorder = Recorder(self.record or self.paths.records, self.orchestrator, self.commit)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Decide in a thread of its own while the API serves."""
        loop = asyncio.get_running_loop()
        self.board.on_routes = lambda: _call(loop, self._wake_gateways)
        self.tenancy.changed = lambda: self._spread(loop)
        self.recorder.begin()
        for site, hold in self.ledger.holds().items():
            self.world.post(SiteHeld(site, hold))
        for deployment in self.ledger.all():
            self.world.post(self._deployed(deployment))
        self.rollouts.begin(loop)
        thread = threading.Thread(target=self._decide, name="orchestrator", daemon=True)
        thread.start()
        serving = [
            *self._serve_fabric(),
            asyncio.create_task(every(RECHECK_S, self._recheck)),
            asyncio.create_task(self.rollouts.follow()),
        ]
        try:
            yield
        finally:
            for task in serving:
                task.cancel()
            self.world.end()
            self._wake_gateways()
            await loop.run_in_executor(None, thread.join, 2.0)
            self.recorder.close()

    async def _recheck(self) -> None:
        """A change that was not confirmed when the database went may stand: follow it."""
        before = self.ledger.all(), self.ledger.holds()
        await asyncio.to_thread(self.kept.recheck)
        now = self.ledger.all(), self.ledger.holds()
        if now != before:
            for gone in {d.name for d in before[0]} - {d.name for d in now[0]}:
                self.world.post(ServiceUndeployed(gone))
            for deployment in set(now[0]) - set(before[0]):
                self.world.post(self._deployed(deployment))
            for site, hold in (dict.fromkeys(before[1], "free") | now[1]).items():
                self.world.post(SiteHeld(site, hold))

    def _serve_fabric(self) -> list[asyncio.Task[None]]:
        if not self.fabric.url:
            return []
        from aigrid.live.fabric.authority import FabricAuthority
        from aigrid.live.fabric.nats_control import NatsControl
        from aigrid.live.fabric.revoking import Revoker

        def wanted() -> set[str]:
            return {d.digest for d in self.ledger.all()} | self.rollouts.digests()

        server, kept = self.fabric.server, self.kept.invitations
        control = NatsControl(server, self, self.store.layout, wanted, kept.is_dismissed)
        revoker = Revoker(server, FabricAuthority(self.paths.fabric_authority), kept.revoked)
        return [asyncio.create_task(part.run()) for part in (control, revoker)]

    async def take(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Handle a report that came over the fabric; see `live.reports.take`."""
        from aigrid.live import reports  # it needs this module's nouns

        return await reports.take(self, kind, body)

    def _decide(self) -> None:
        try:
            drive(self.orchestrator, self.world, self.recorder)
        except BaseException as error:
            self.failure = error
            raise

    async def handle(self, event: Event) -> None:
        """Hand in an event and wait until its commands are on the board.

        Raises:
            UnavailableError: the orchestrator does not answer.
        """
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        self.world.post(event, lambda: _call(loop, done.set))
        try:
            await asyncio.wait_for(done.wait(), DECIDE_TIMEOUT_S)
        except TimeoutError as error:
            raise UnavailableError(
                f"the orchestrator does not answer: {self.failure or 'busy'}",
                next_step="see the control plane's log",
            ) from error

    # -- services ------------------------------------------------------------------------------

    async def deploy(self, reference: str) -> Deployment:
        """Resolve a reference in the store, remember it, and tell the orchestrator.

        Raises:
            NotFoundError: the store has no such package.
            IntegrityError: the package is not signed by a trusted key, or is damaged.
            ConflictError: a rollout of the service is under way.
        """
        spec, digest = await asyncio.to_thread(self.resolve, reference)
        self.rollouts.refuse_while_one_runs(spec.name)
        deployment = Deployment(spec.name, spec.version, digest, time.time())
        await asyncio.to_thread(self.ledger.put, deployment)
        await self.handle(self._deployed(deployment))
        return deployment

    async def undeploy(self, name: str) -> None:
        """Forget a service and stop its replicas.

        Raises:
            NotFoundError: it is not deployed.
        """
        await asyncio.to_thread(self.ledger.remove, name)
        await self.handle(ServiceUndeployed(name))

    async def hold(self, site: str, hold: str, *, force: bool = False) -> None:
        """Hold a site back, or let it go; remembered beyond a restart.

        Raises:
            NotFoundError: no such site has joined.
            ConflictError: a service would be served nowhere, unless `force`.
        """
        state = self.orchestrator.state
        if site not in state.site_row:
            known = ", ".join(sorted(self.records)) or "none"
            raise NotFoundError(f"site {site!r} is not in this grid", next_step=f"sites: {known}")
        if hold == "draining" and not force and (only := self._only_at(site)):
            raise ConflictError(
                f"{', '.join(only)}: served by {site!r} alone",
                next_step="wait until another site serves it, or use --force",
            )
        await asyncio.to_thread(self.ledger.hold, site, hold)
        await self.handle(SiteHeld(site, hold))
        if hold == "draining" and site in self.records:
            self.records[site].ending = None  # until a beat shows that it has heard

    def _only_at(self, site: str) -> list[str]:
        """Services that nobody else serves now."""
        state = self.orchestrator.state
        sites, row = state.site_count, state.site_row[site]
        serving = state.replicas.serving[:sites, : state.service_count] != NO_VERSION
        serving[state.sites.status[:sites] != UP] = False
        alone = serving[row] & (serving.sum(axis=0) == 1)
        return [name for name, column in state.service_row.items() if alone[column]]

    def resolve(self, reference: str) -> tuple[ServiceSpec, str]:
        """The service layer and digest of a package of the store, verified.

        Raises:
            NotFoundError: the store has no such package.
            IntegrityError: it is not signed by a trusted key, or is damaged.
        """
        digest = self.store.verify(reference).digest
        return self._spec(digest), digest

    def _spec(self, digest: str) -> ServiceSpec:
        if digest not in self.specs:
            record = self.store.catalogue.by_digest(digest)
            if record is None:
                raise NotFoundError(
                    f"package {digest} is not in the store", next_step="see `aigrid store list`"
                )
            self.specs[digest] = record.spec
        return self.specs[digest]

    def _deployed(self, deployment: Deployment) -> ServiceDeployed:
        spec = self._spec(deployment.digest)
        return ServiceDeployed(
            service=deployment.name,
            digest=deployment.digest,
            memory_mb=spec.footprint.memory_mb,
            compute_cores=spec.footprint.compute_cores,
            regions=spec.residency.regions,
            ttft_ms=spec.slo.ttft_ms,
        )

    # -- gateways ------------------------------------------------------------------------------

    def _wake_gateways(self) -> None:
        self._new_routes.set()
        self._new_routes = asyncio.Event()

    def _spread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have gateways hear of changed accounts; from a worker's thread, which may wait.

        Whoever makes a key and uses it at once shall not be refused; where no gateway asks, the
        change counts all the same.
        """
        version = self._version()
        _call(loop, self._wake_gateways)
        with self._heard:
            if time.monotonic() - self._asked_s < GATEWAY_ASKS_S and not self._stopping:
                self._heard.wait_for(lambda: self._held >= version, SPREAD_S)

    def _note_held(self, version: int) -> None:
        """A gateway asks for what is newer than it has."""
        with self._heard:
            self._held, self._asked_s = version, time.monotonic()
            self._heard.notify_all()

    def stop_waiting(self) -> None:
        """The process ends: answer long polls at once."""
        self._stopping = True
        self._new_routes.set()

    async def routes_after(self, version: int, wait_s: float) -> dict[str, Any]:
        """The routing table, at once if it is newer than `version`, else as soon as it is."""
        self._note_held(version)
        changed = self._new_routes
        if self._version() == version and not self._stopping:
            try:
                await asyncio.wait_for(changed.wait(), wait_s)
            except TimeoutError:
                return {"version": version}
        if self._stopping:
            return {"version": version}
        return await asyncio.to_thread(self._published)

    def _version(self) -> int:
        """Of all that gateways hold: grows with every change of routes, or of accounts."""
        return self.board.routes_version + self.tenancy.accounts.revision()

    def _published(self) -> dict[str, Any]:
        return {
            "version": self._version(),
            "table": self.board.routes.to_dict(),
            "urls": {name: record.url for name, record in list(self.records.items())},
            "services": [self._with_price(d) for d in self.ledger.all()],
            "places": {
                name: [record.region, record.operator]
                for name, record in list(self.records.items())
            },
            "tenancy": self.tenancy.published() | {"headroom": self.billing.headroom()},
        }

    def _with_price(self, deployment: Deployment) -> dict[str, Any]:
        terms = self.billing.terms(deployment.digest)
        price = {
            "currency": terms.currency,
            "input_micro": terms.input_micro,
            "output_micro": terms.output_micro,
        }
        return self.describe_service(deployment) | {"price": price}

    def describe_service(self, deployment: Deployment) -> dict[str, Any]:
        """A service as gateways and people see it."""
        spec = self._spec(deployment.digest)
        return {
            "name": deployment.name,
            "version": deployment.version,
            "digest": deployment.digest,
            "kind": spec.kind,
            "engine": spec.engine,
            "deployed_at_s": deployment.deployed_at_s,
        }

    def version_of(self, digest: str) -> str:
        """The version that a package's service layer states."""
        return self._spec(digest).version

    def note_errors(self, beat: Heartbeat) -> None:
        """Keep why replicas failed, for people."""
        for report in beat.replicas:
            self.errors[beat.site, report.service] = report.error

    def note_gateway(self, stats: dict[str, Any]) -> None:
        """Keep what a gateway reported, and its request rate since the report before."""
        now_s, total = time.monotonic(), int(stats["requests_total"])
        before_s, before = self._gateway_before
        rate = max(0, total - before) / max(now_s - before_s, 1e-3) if before_s else 0.0
        self._gateway_before = (now_s, total)
        self.gateway = stats | {"requests_per_s": round(rate, 2), "seen_s": now_s}


def _call(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    """Run `action` on the loop; at shutdown the loop may be gone, and nobody waits any more."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(action)
