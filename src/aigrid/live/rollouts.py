"""Rollouts as people start, watch and steer them; what was decided is written down."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from aigrid.control import rollout
from aigrid.control.rollouts import Rollout
from aigrid.core.errors import ConflictError, NotFoundError, UnavailableError
from aigrid.core.events import RolloutMoved, RolloutStarted, RolloutSteered
from aigrid.core.rollout import RolloutPlan, VersionCounts
from aigrid.live.ledger import Deployment
from aigrid.live.outage import Outage
from aigrid.live.rollout_book import RolloutBook, RolloutRecord

if TYPE_CHECKING:
    from aigrid.live.control_plane import ControlPlane
    from aigrid.store.catalogue import PackageRecord

AGAIN_S = 0.5
WRITTEN_S = 5.0
MOVES_LIMIT = 4096  # a rollout moves four times, and a service has one at once
NO_CARD = -1.0
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RolloutDesk:
    """Rollouts of one grid.

    Attributes:
        plane: whose orchestrator decides.
        book: that remembers them.
    """

    plane: ControlPlane
    book: RolloutBook
    _moves: asyncio.Queue[RolloutMoved] = field(default_factory=lambda: asyncio.Queue(MOVES_LIMIT))
    _written: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on with those that were under way when the process ended."""

        def heard(moved: RolloutMoved) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._moves.put_nowait, moved)

        self.plane.board.on_rollout = heard
        deployed = {deployment.digest for deployment in self.plane.ledger.all()}
        for record in self.book.all():
            if record.ended:
                self._write(_moved(record, record.phase, "the control plane began anew"))
            elif record.digest in deployed:  # the process ended between two lines of the record
                self._write(_moved(record, "promoted", "decided before the control plane ended"))
            else:
                self.plane.world.post(self._started(record))

    def digests(self) -> set[str]:
        """Packages that sites may ask for on behalf of rollouts."""
        under_way = [record for record in self.book.all() if not record.retired]
        return {digest for r in under_way for digest in (r.digest, r.old_digest)}

    def refuse_while_one_runs(self, service: str) -> None:
        """A service's version is changed by one hand at a time.

        Raises:
            ConflictError: a rollout of it is under way.
        """
        record = self.book.get(service)
        if record is not None and not record.ended:
            raise ConflictError(
                f"a rollout of {service}:{record.version} is under way",
                next_step=f"wait, or end it: aigrid rollout promote|abort {service}",
            )

    async def start(self, reference: str, plan: RolloutPlan) -> dict[str, Any]:
        """Try a version of a deployed service on a part of its requests.

        Returns:
            as `row` does.

        Raises:
            NotFoundError: the store has no such package, or the service is not deployed.
            ConflictError: a rollout of it is under way, or this version is deployed.
            IntegrityError: the package is not signed by a trusted key, or is damaged.
        """
        spec, digest = await asyncio.to_thread(self.plane.resolve, reference)
        old = next((d for d in self.plane.ledger.all() if d.name == spec.name), None)
        if old is None:
            raise NotFoundError(
                f"service {spec.name!r} is not deployed: there is nothing to compare with",
                next_step=f"aigrid deploy {spec.name}:{spec.version}",
            )
        self.refuse_while_one_runs(spec.name)
        if old.digest == digest:
            raise ConflictError(
                f"{spec.name}:{spec.version} is deployed already", next_step="name another version"
            )
        record = RolloutRecord(
            spec.name,
            uuid4().hex,
            spec.version,
            digest,
            old.version,
            old.digest,
            plan,
            began_at_s=time.time(),
        )
        await asyncio.to_thread(self.book.put, record)
        await self.plane.handle(self._started(record))
        return self.row(spec.name)

    async def steer(self, service: str, verdict: str) -> dict[str, Any]:
        """End a rollout by hand.

        Raises:
            NotFoundError: none is under way.
        """
        record = self.book.get(service)
        if record is None or record.ended:
            raise NotFoundError(
                f"no rollout of {service!r} is under way", next_step="see `aigrid rollout`"
            )
        await self.plane.handle(RolloutSteered(service, verdict))
        with suppress(TimeoutError):
            async with asyncio.timeout(WRITTEN_S):
                while not self._is_written(record):
                    await self._written.wait()
        return self.row(service)

    def _is_written(self, record: RolloutRecord) -> bool:
        now = self.book.get(record.service)
        return now is None or now.rollout != record.rollout or now.ended

    def rows(self) -> list[dict[str, Any]]:
        """The last rollout of each service."""
        return [self._row(record) for record in self.book.all()]

    def row(self, service: str) -> dict[str, Any]:
        """One of `rows`.

        Raises:
            NotFoundError: there was none.
        """
        record = self.book.get(service)
        if record is None:
            raise NotFoundError(
                f"there was no rollout of {service!r}",
                next_step="start one: aigrid deploy NAME:VERSION --canary 10%",
            )
        return self._row(record)

    async def follow(self) -> None:
        """Write down what is decided, in order; while the database is away, wait for it."""
        away = Outage("database (rollouts)", logger)
        while True:
            moved = await self._moves.get()
            while True:
                try:
                    await asyncio.to_thread(self._write, moved)
                    away.over()
                    self._written.set()
                    self._written = asyncio.Event()
                    break
                except UnavailableError as error:
                    away.note(error)
                    await asyncio.sleep(AGAIN_S)

    # -- parts ---------------------------------------------------------------------------------

    def _write(self, moved: RolloutMoved) -> None:
        record = self.book.get(moved.service)
        if record is None or record.rollout != moved.rollout or record.retired:
            return
        plane, now_s = self.plane, time.time()
        if moved.phase == "promoted" and not record.ended:
            plane.ledger.put(Deployment(record.service, record.version, record.digest, now_s))
        told = {
            "service": record.service,
            "version": record.version,
            "from": record.old_version,
            "phase": "retired" if moved.retired and record.ended else moved.phase,
            "reason": moved.reason,
        }
        plane.tenancy.audit.append("rollout", [told], plane.tenancy.clock_s())
        logger.info("rollout of %s:%s: %s", record.service, record.version, told["phase"])
        if not record.ended:
            ended = moved.phase in ("promoted", "rolled_back")
            record = replace(
                record,
                phase=moved.phase,
                reason=self._why(record, moved.reason),
                ended_at_s=now_s if ended else 0.0,
                seen=self._figures(self._running(record)),
            )
        self.book.put(replace(record, retired=record.retired or moved.retired))

    def _why(self, record: RolloutRecord, reason: str) -> str:
        """A reason with the error that its sites gave, where it did not load."""
        errors = {
            error
            for (_, service), error in list(self.plane.errors.items())
            if service == f"{record.service}@beside" and error
        }
        loading = "load" in reason or "serves it" in reason
        return f"{reason} ({min(errors)})" if loading and errors else reason

    def _running(self, record: RolloutRecord) -> Rollout | None:
        one = self.plane.orchestrator.rollouts.get(record.service)
        return one if one is not None and one.rollout == record.rollout else None

    def _row(self, record: RolloutRecord) -> dict[str, Any]:
        one, orchestrator = self._running(record), self.plane.orchestrator
        reason = record.reason
        if one is not None and not record.ended and not one.ended:
            now_s = self.plane.world.now_s()
            seen = orchestrator.rollouts.seen(orchestrator.state, one, now_s)
            reason = self._why(record, rollout.decide(one.plan, seen).reason)
        return {
            "service": record.service,
            "version": record.version,
            "old_version": record.old_version,
            "phase": record.phase,
            "reason": reason,
            "retired": record.retired,
            "began_at_s": record.began_at_s,
            "ended_at_s": record.ended_at_s,
            "plan": asdict(record.plan),
            **(self._figures(one) if one is not None else record.seen),
        }

    def _figures(self, one: Rollout | None) -> dict[str, Any]:
        if one is None:
            return {}
        new, old = one.counts()
        return {"new": _figures(new, one.new_card), "old": _figures(old, one.old_card)}

    def _started(self, record: RolloutRecord) -> RolloutStarted:
        catalogue = self.plane.store.catalogue
        new, old = catalogue.by_digest(record.digest), catalogue.by_digest(record.old_digest)
        if new is None:
            raise NotFoundError(
                f"package {record.digest} is not in the store", next_step="see `aigrid store list`"
            )
        new_card, old_card = cards(new, old)
        spec = new.spec
        return RolloutStarted(
            service=record.service,
            rollout=record.rollout,
            digest=record.digest,
            memory_mb=spec.footprint.memory_mb,
            compute_cores=spec.footprint.compute_cores,
            regions=spec.residency.regions,
            ttft_ms=spec.slo.ttft_ms,
            plan=record.plan,
            new_card=new_card,
            old_card=old_card,
            age_s=max(0.0, time.time() - record.began_at_s),
        )


def _moved(record: RolloutRecord, phase: str, reason: str) -> RolloutMoved:
    return RolloutMoved(record.service, record.rollout, phase, reason, retired=True)


def cards(new: PackageRecord, old: PackageRecord | None) -> tuple[float, float]:
    """Bits per byte of what the engine runs, by both cards.

    Returns:
        new and old, lower is better; both -1 where the cards do not measure the same text.
    """
    found = [_measured(record) for record in (new, old)]
    if found[0] is None or found[1] is None or found[0][1:] != found[1][1:]:
        return NO_CARD, NO_CARD
    return found[0][0], found[1][0]


def _measured(record: PackageRecord | None) -> tuple[float, str, Any, Any] | None:
    """The figure, and what tells whether another one is of the same text."""
    card = record.evaluation if record is not None else {}
    measured = card.get("quantised") or card.get("held_out") or {}
    figure = measured.get("bits_per_byte")
    if not isinstance(figure, int | float) or figure < 0:
        return None
    text = measured.get("documents"), measured.get("bytes")
    return float(figure), str(card.get("measure", "")), *text


def _figures(counts: VersionCounts, card: float) -> dict[str, Any]:
    streamed = sum(counts.ttft)
    return {
        "requests": counts.requests,
        "errors": counts.errors,
        "ttft_mean_ms": round(counts.ttft_sum_ms / streamed, 1) if streamed else None,
        "ttft_p50_ms": _quantile(counts, 0.5),
        "ttft_p95_ms": _quantile(counts, 0.95),
        "card_bits_per_byte": card if card >= 0.0 else None,
    }


def _quantile(counts: VersionCounts, level: float) -> float | None:
    found = rollout.quantile_ms(counts.ttft, level)
    return round(found, 1) if found >= 0.0 else None
