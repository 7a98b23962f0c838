"""What a site serves: fetch, verify, load, swap; the old version serves until the new one can."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from aigrid.core.errors import AigridError, NotFoundError
from aigrid.core.events import ReplicaReport
from aigrid.core.package import ServiceSpec
from aigrid.engines.egress import Egress
from aigrid.engines.engine import Engine, EngineLoad
from aigrid.engines.load import load_engine
from aigrid.radio.protection import yield_to_radio

DRAIN_S = 60.0
# What is no longer wanted stays so long behind its last job: other sites' answers may need it.
LINGER_S = 30.0
RATE_WINDOW_S = 1.0
logger = logging.getLogger(__name__)


class PackageSource(Protocol):
    """Where packages come from; answers with files that are verified."""

    def fetch(self, digest: str) -> tuple[ServiceSpec, Path]:
        """The service layer and the unpacked files of a package.

        Raises:
            IntegrityError: bytes or signature are not what they must be.
            UnavailableError: it cannot be reached.
        """
        ...


@dataclass(slots=True)
class Replica:
    """A package that serves."""

    spec: ServiceSpec
    digest: str
    engine: Engine
    before: tuple[float, EngineLoad] = field(init=False)
    rates: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self.before = (time.monotonic(), self.engine.load())

    def measure(self) -> tuple[EngineLoad, float, float]:
        """The load now, and tokens and requests a second over the last window."""
        now_s, load = time.monotonic(), self.engine.load()
        then_s, then = self.before
        if now_s - then_s >= RATE_WINDOW_S:
            span_s = now_s - then_s
            tokens, jobs = load.tokens_total - then.tokens_total, load.jobs_total - then.jobs_total
            self.rates, self.before = (tokens / span_s, jobs / span_s), (now_s, load)
        return load, *self.rates


def _unwatched(service: str, engine: Engine) -> Engine:
    return engine


@dataclass(slots=True)
class _Pending:
    digest: str
    asked: int
    error: str = ""


@dataclass(slots=True)
class ReplicaSet:
    """Brings what is served in line with what is wanted.

    Attributes:
        source: of packages.
        gate: asked by engines before each step.
        yields: whether engines yield to the radio (off only where that is being measured).
        watch: wraps the engine of a service; for recorded runs.
    """

    source: PackageSource
    gate: Callable[[], bool]
    yields: bool = True
    watch: Callable[[str, Engine], Engine] = field(default=_unwatched)
    egress: Egress = field(default_factory=Egress)
    share: float = 0.0
    serving: dict[str, Replica] = field(default_factory=dict)
    draining: list[Replica] = field(default_factory=list)
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def get(self, service: str, digest: str = "") -> Replica:
        """The replica of a service; with a digest, also its other version, beside or ending.

        Raises:
            NotFoundError: this site does not serve it.
        """
        replica = self.serving.get(service)
        if digest and (replica is None or replica.digest != digest):
            held = (*self.serving.values(), *self.draining)
            replica = next((r for r in held if (r.digest, r.spec.name) == (digest, service)), None)
        if replica is not None:
            return replica
        raise NotFoundError(
            f"model {service!r} {digest}".rstrip() + " is not served by this site",
            next_step=f"served here: {', '.join(sorted(self.serving)) or 'none'}",
        )

    def set_share(self, share: float) -> None:
        """Pass the share on to every engine."""
        self.share = share
        for replica in (*self.serving.values(), *self.draining):
            replica.engine.set_share(share)

    def reconcile(self, wanted: dict[str, tuple[str, int]]) -> None:
        """Start, swap or stop so that exactly `wanted` (digest, times asked) is served.

        What is loaded already, for another service or to its end, is not loaded again.
        """
        before = [*self.serving.values(), *self.draining]
        loaded = {replica.digest: replica for replica in reversed(before)}
        for service in list(self.serving):
            if service not in wanted:
                del self.serving[service]
        for service in list(self._pending):
            if service not in wanted:
                del self._pending[service]
        for service, (digest, asked) in wanted.items():
            if digest in loaded:
                self._serve(service, loaded[digest])
            else:
                self._want(service, digest, asked)
        for replica in before:
            self._let_go(replica)

    def _serve(self, service: str, replica: Replica) -> None:
        """From now on a service is served by a replica that is loaded."""
        self._pending.pop(service, None)
        if self.serving.get(service) is replica:
            return
        replica.engine.set_share(self.share)
        self.serving[service] = replica
        self.draining = [one for one in self.draining if one is not replica]
        logger.info("service %s serves %s", service, replica.digest)

    def _let_go(self, replica: Replica) -> None:
        """Let one end, unless something is served by it, or it is ending already."""
        if not any(one is replica for one in (*self.serving.values(), *self.draining)):
            self.draining.append(replica)
            self._spawn(self._drain(replica))

    def _want(self, service: str, digest: str, asked: int) -> None:
        pending = self._pending.get(service)
        if pending is not None and (pending.digest, pending.asked) == (digest, asked):
            return
        self._pending[service] = _Pending(digest, asked)
        self._spawn(self._start(service, self._pending[service]))

    async def _start(self, service: str, pending: _Pending) -> None:
        try:
            replica = await _in_thread(lambda: self._load(pending.digest))
        except AigridError as error:
            pending.error = str(error)
            logger.error("service %s: %s", service, error)
            return
        except Exception as error:
            pending.error = f"internal error: {error!r}"
            logger.exception("service %s", service)
            return
        if self._pending.get(service) is not pending:
            await replica.engine.close()
            return
        old = self.serving.get(service)
        self._serve(service, replica)
        if old is not None:
            self._let_go(old)

    def _load(self, digest: str) -> Replica:
        spec, folder = self.source.fetch(digest)
        if self.yields:
            yield_to_radio()  # threads that the engine starts from here inherit it
        rules = {"egress": self.egress} if spec.upstream is not None else {}
        engine = self.watch(spec.name, load_engine(spec, folder, **rules))
        engine.set_gate(self.gate)
        return Replica(spec, digest, engine)

    def ending(self) -> int:
        """Answers under way of what is wanted no longer."""
        loads = [replica.engine.load() for replica in self.draining]
        return sum(load.running + load.waiting for load in loads)

    def reports(self) -> tuple[ReplicaReport, ...]:
        """One report a service, for the heartbeat."""
        return tuple(self._report(name) for name in sorted({*self.serving, *self._pending}))

    def _report(self, service: str) -> ReplicaReport:
        replica, pending = self.serving.get(service), self._pending.get(service)
        state = "ready" if pending is None else "failed" if pending.error else "starting"
        load, tokens_per_s, requests_per_s = (
            replica.measure() if replica else (EngineLoad(0, 0, 0, 0, 0), 0.0, 0.0)
        )
        return ReplicaReport(
            service=service,
            digest=replica.digest if replica else "",
            pending=pending.digest if pending else "",
            state=state,
            error=pending.error if pending else "",
            running=load.running,
            waiting=load.waiting,
            tokens_per_s=tokens_per_s,
            requests_per_s=requests_per_s,
        )

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, replica: Replica) -> None:
        """Let jobs in flight end, for at most `DRAIN_S`, then close; who is cut goes elsewhere.

        It stays for `LINGER_S` behind the last: what breaks off at another site is continued by
        the version that began it. Nothing lingers where something is to be loaded; one that is
        wanted again meanwhile stays.
        """
        began_s = busy_s = now_s = time.monotonic()
        while now_s < began_s + DRAIN_S:
            load = replica.engine.load()
            if load.running or load.waiting:
                busy_s = now_s
            elif now_s >= busy_s + LINGER_S or self._needs_room():
                break
            await asyncio.sleep(0.05)
            now_s = time.monotonic()
            if not any(one is replica for one in self.draining):
                return
        held = len(self.draining)
        self.draining = [one for one in self.draining if one is not replica]
        if len(self.draining) < held:
            await replica.engine.close()

    def _needs_room(self) -> bool:
        return any(not pending.error for pending in self._pending.values())

    async def close(self) -> None:
        """Stop every engine."""
        for replica in [*self.serving.values(), *self.draining]:
            await replica.engine.close()


async def _in_thread(work: Callable[[], Replica]) -> Replica:
    """Run in a thread of its own, whose priority may be changed without touching a pool."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Replica] = loop.create_future()

    def settle(value: Replica | None, error: BaseException | None) -> None:
        if result.cancelled():
            return
        if error is not None:
            result.set_exception(error)
        elif value is not None:
            result.set_result(value)

    def run() -> None:
        try:
            value = work()
        except Exception as error:
            loop.call_soon_threadsafe(settle, None, error)
        else:
            loop.call_soon_threadsafe(settle, value, None)

    threading.Thread(target=run, name="load", daemon=True).start()
    return await result
