"""What the gateway notes of each request of a recorded run: times and sites, never content."""

from __future__ import annotations

import os
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from aigrid.core import run_record
from aigrid.core.errors import AigridError
from aigrid.core.run_record import UNKNOWN_S, HostRow, RequestRow, Row
from aigrid.live.attempt import Answer, Attempt, StreamedAnswer
from aigrid.live.passing import Passing, Pieces
from aigrid.live.run_log import RunLog, key_of

CLIENT_LEFT, BROKE_OFF = 499, 502
NAME_LIMIT = 128
HOST_PERIOD_S = 1.0
_DONE = b"data: [DONE]\n\n"


class RequestLog:
    """Notes requests; without a log it only passes answers on."""

    def __init__(self, log: RunLog | None = None) -> None:
        self._log = log

    @classmethod
    def to_folder(cls, folder: str) -> RequestLog:
        """A log that writes to a folder; one that notes nothing where it is empty."""
        if not folder:
            return cls()
        return cls(RunLog(Path(folder), run_record.REQUESTS, _HostSampler().sample))

    async def noted(
        self,
        attempt: Attempt,
        origin_known: bool,
        work: Coroutine[Any, Any, Answer | StreamedAnswer],
    ) -> Answer | StreamedAnswer:
        """The answer that `work` gives; a row is noted when it has ended.

        Args:
            attempt: the request.
            origin_known: whether its origin is a site of the grid; any other is noted as `*`.
            work: gives the answer, or its beginning.
        """
        if self._log is None:
            return await work
        note = _Note(self._log, attempt, attempt.origin if origin_known else "*")
        try:
            answer = await work
        except AigridError as error:
            note.end(error.http_status, "")
            raise
        except BaseException:
            note.end(CLIENT_LEFT, "")
            raise
        if isinstance(answer, Answer):
            note.end(answer.status, answer.site)
            return answer
        note.first_s = time.monotonic()
        return replace(answer, chunks=note.watch(answer))

    def close(self) -> None:
        """Write the rest."""
        if self._log is not None:
            self._log.close()


class _Note:
    """One request until its row is written, once."""

    __slots__ = ("_at_s", "_attempt", "_log", "_origin", "_whole", "first_s")

    def __init__(self, log: RunLog, attempt: Attempt, origin: str) -> None:
        self._log, self._attempt, self._origin = log, attempt, origin
        self._at_s, self.first_s = time.monotonic(), UNKNOWN_S
        self._whole = False

    def watch(self, answer: StreamedAnswer) -> Pieces:
        """Pass a stream on and note its end."""

        async def see(piece: bytes) -> None:
            self._whole = piece.endswith(_DONE)  # a client may leave as soon as it has the end

        def end(complete: bool) -> None:
            status = BROKE_OFF if complete else CLIENT_LEFT
            self.end(200 if self._whole else status, answer.site)

        return Passing(answer.chunks, see, end)

    def end(self, status: int, site: str) -> None:
        """Note the row."""
        now_s = time.monotonic()
        attempt = self._attempt
        ttft_s = UNKNOWN_S if self.first_s == UNKNOWN_S else self.first_s - self._at_s
        self._log.note(
            RequestRow(
                key=key_of(attempt.request_id),
                at_s=self._at_s,
                origin=self._origin,
                service=attempt.service[:NAME_LIMIT],
                stream=attempt.stream,
                status=status,
                site=site,
                retries=len(attempt.tried),
                ttft_s=ttft_s,
                duration_s=now_s - self._at_s,
            )
        )


class _HostSampler:
    def __init__(self) -> None:
        self._due_s = 0.0

    def sample(self) -> list[Row]:
        now_s = time.monotonic()
        if now_s < self._due_s:
            return []
        self._due_s = now_s + HOST_PERIOD_S
        return [HostRow(now_s, os.getloadavg()[0])]
