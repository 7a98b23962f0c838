"""Each request that came in leaves one usage record: of what its client received, and where."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from aigrid.core.errors import AigridError, SovereigntyError
from aigrid.core.tenancy import Place, Usage
from aigrid.live.attempt import Answer, Attempt, StreamedAnswer
from aigrid.live.door import Door, Pass
from aigrid.live.metrics import Watch
from aigrid.live.open_answers import OpenAnswers
from aigrid.live.outage import Outage
from aigrid.live.passing import Passing, Pieces
from aigrid.live.tracing import describe
from aigrid.live.usage_log import BATCH_LIMIT, UsageLog

SYNC_S = 0.1
SHIP_S = 0.25
SHIP_IDLE_S = 2.0
SHIP_TIMEOUT_S = 10.0
BILLED = range(200, 300)
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Metering:
    """Writes usage records of one gateway, and ships them.

    Attributes:
        door: hears what is left of budgets.
        places: where a site stands, by name.
        package: digest of what serves a service now, for sites that do not say.
        folder: of the log; None: memory.
        slots: streams whose count outlives a kill.
        now_s: Unix time.
    """

    door: Door
    places: Callable[[str], Place]
    package: Callable[[str], str]
    folder: Path | None
    slots: int
    now_s: Callable[[], float] = time.time
    log: UsageLog = field(init=False)
    streams: OpenAnswers = field(init=False)
    _costs: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = UsageLog(self.folder)
        path = self.folder / "open" if self.folder is not None else None
        self.streams = OpenAnswers(path, self.slots)
        for usage in self.streams.left:
            if usage.completion_tokens:
                self.log.append(usage)
        self.log.sync()
        self.streams.forget_left()

    async def metered(
        self,
        passed: Pass,
        attempt: Attempt,
        work: Coroutine[Any, Any, Answer | StreamedAnswer],
    ) -> Answer | StreamedAnswer:
        """The answer that `work` gives; a record is written when it has ended."""
        note = _Note(self, passed, attempt)
        try:
            answer = await work
        except SovereigntyError as error:
            note.end(error.http_status, "refused", 0, 0)
            raise
        except BaseException:
            passed.refund()
            raise
        if isinstance(answer, StreamedAnswer):
            return replace(answer, chunks=note.watch(answer))
        ended = "whole" if answer.status in BILLED else "refused"
        used = _used(answer) if answer.status in BILLED else (0, 0)
        note.end(answer.status, ended, *used, answer.package)
        return answer

    def write(self, usage: Usage, cost_micro: int) -> None:
        """Write a record down."""
        self.log.append(usage)
        if cost_micro:
            before = self._costs.get(usage.request_id, (usage.tenant, 0))[1]
            self._costs[usage.request_id] = (usage.tenant, before + cost_micro)

    # -- shipping ------------------------------------------------------------------------------

    async def sync(self) -> None:
        """Make what was written outlive a power cut, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            if self.log.dirty:
                await loop.run_in_executor(None, self.log.sync)
            await asyncio.sleep(SYNC_S)

    async def ship(self, control_url: str, token: str) -> None:
        """Send what was not acknowledged, again and again; the control plane may be away."""
        away = Outage("control plane (usage)", logger)
        timeout = aiohttp.ClientTimeout(total=SHIP_TIMEOUT_S)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
            asked_s = 0.0
            while True:
                try:
                    events, position = self.log.batch()
                    if events or time.monotonic() - asked_s > SHIP_IDLE_S:
                        asked_s = time.monotonic()
                        body = {"gateway": self.log.gateway, "events": events}
                        url = f"{control_url}/grid/v1/usage"
                        sent = msgspec.json.encode(body)
                        async with session.post(url, data=sent) as response:
                            response.raise_for_status()
                            answer = await response.json()
                        self._hear(answer, events)
                        await loop.run_in_executor(None, self.log.acknowledge, position)
                    away.over()
                    if len(events) < BATCH_LIMIT:  # more in one go cost less
                        await asyncio.sleep(SHIP_S)
                except (AigridError, OSError, TimeoutError, ValueError, KeyError) as error:
                    away.note(error)
                    await asyncio.sleep(SHIP_IDLE_S)
                except aiohttp.ClientError as error:
                    away.note(error)
                    await asyncio.sleep(SHIP_IDLE_S)

    def _hear(self, answer: dict[str, Any], events: list[dict[str, Any]]) -> None:
        self.door.gateways = max(1, int(answer["gateways"]))
        for event in events:
            tenant, cost_micro = self._costs.pop(event["id"], ("", 0))
            self.door.acknowledged(tenant, cost_micro)
        self.door.hear(answer["headroom"])

    def close(self) -> None:
        """Let go of the files; what was written stays."""
        self.log.sync()
        self.log.close()
        self.streams.close()


class _Note:
    """One request until its record is written, once."""

    __slots__ = ("_attempt", "_meter", "_over", "_passed", "_slot", "_told", "_watch")

    def __init__(self, meter: Metering, passed: Pass, attempt: Attempt) -> None:
        self._meter, self._passed, self._attempt = meter, passed, attempt
        self._over = False
        self._slot, self._told = -1, 0
        self._watch = Watch()

    def watch(self, answer: StreamedAnswer) -> Pieces:
        """Pass a stream on and count it; its record is written before the last piece goes out."""
        relay, meter = answer.relay, self._meter
        self._tell_where(relay.package)

        async def see(piece: bytes) -> None:
            made = relay.completion_tokens
            self._watch.piece(made)
            self._tell_where(relay.package)
            meter.streams.count(self._slot, relay.prompt_tokens if made else 0, made, meter.now_s())
            if relay.ended:
                self._close(answer, relay.refused or 200, "broken" if relay.refused else "whole")

        def end(complete: bool) -> None:
            self._close(answer, 200, "broken" if complete else "left")

        return Passing(answer.chunks, see, end)

    def _tell_where(self, package: str) -> None:
        """Open the slot anew where the answer went on at another site."""
        if len(self._attempt.ran) != self._told:
            self._told = len(self._attempt.ran)
            old, streams = self._slot, self._meter.streams
            self._slot = streams.begin(self._usage(200, "died", 0, 0, package))
            streams.end(old)

    def _close(self, answer: StreamedAnswer, status: int, ended: str) -> None:
        made = answer.relay.completion_tokens
        prompt = answer.relay.prompt_tokens if made else 0
        self.end(status, ended, prompt, made, answer.relay.package)

    def end(self, status: int, ended: str, prompt: int, made: int, package: str = "") -> None:
        """Write the record."""
        if self._over:
            return
        self._over = True
        cost_micro = self._passed.settle(prompt, made)
        service = self._attempt.service
        if status in BILLED and self._meter.package(service):
            self._watch.end(service, prompt, made)
        if self._attempt.span.recorded:
            describe.usage(self._attempt.span, prompt, made, ended)
        self._meter.write(self._usage(status, ended, prompt, made, package), cost_micro)
        self._meter.streams.end(self._slot)

    def _usage(self, status: int, ended: str, prompt: int, made: int, package: str) -> Usage:
        attempt, holder, meter = self._attempt, self._passed.holder, self._meter
        return Usage(
            request_id=attempt.request_id,
            tenant=holder.tenant,
            key=holder.id,
            service=attempt.service[:256],
            package=package or meter.package(attempt.service),
            places=tuple(meter.places(site) for site in attempt.ran),
            rule=attempt.rule.name,
            prompt_tokens=prompt,
            completion_tokens=made,
            status=status,
            ended=ended,
            at_s=meter.now_s(),
        )


def _used(answer: Answer) -> tuple[int, int]:
    """What an answer in one piece says that it used."""
    if answer.usage is not None:
        return answer.usage
    try:
        said = msgspec.json.decode(answer.body)["usage"]
        return int(said["prompt_tokens"]), int(said.get("completion_tokens") or 0)
    except (msgspec.DecodeError, ValueError, KeyError, TypeError, AttributeError):
        return 0, 0
