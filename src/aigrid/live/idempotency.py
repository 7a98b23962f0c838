"""Requests with an `Idempotency-Key`: executed once, answered as often as they are sent.

The key is the client's; it counts within its API key. Answers are kept for a day in a file of the
gateway, so that they outlive it. A request that was under way when the gateway died is executed
again under its old request id, by which usage is counted once (IETF draft
"The Idempotency-Key HTTP Header Field", draft-ietf-httpapi-idempotency-key-header-07).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from aigrid.core.errors import InvalidRequestError, OverloadedError
from aigrid.live.attempt import StreamedAnswer
from aigrid.live.limits import Limits
from aigrid.live.passing import Passing, Pieces

HEADER = "idempotency-key"
REPLAYED_HEADER = "idempotent-replayed"
KEY_LENGTH = 255
SWEEP_S = 60.0
SWEEP_ROWS = 64
_SCHEMA = """
create table if not exists answer (
    scope blob primary key,
    owner text not null,
    body_digest blob not null,
    request_id text not null,
    created_s real not null,
    media_type text,
    site text,
    content blob,
    bytes integer not null
) strict, without rowid;
create index if not exists answer_age on answer (created_s);
create index if not exists answer_owner on answer (owner, bytes);
"""
T = TypeVar("T")
logger = logging.getLogger(__name__)


class KeyReusedError(InvalidRequestError):
    """An idempotency key came with another request."""

    http_status = 422
    code = "idempotency_key_reused"
    param = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was given."""

    media_type: str
    site: str
    content: bytes


@dataclass(slots=True)
class Turn:
    """Whoever executes a request now; others with its key wait until it is over."""

    body_digest: bytes
    over: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right, or the want of need, to execute a request.

    Attributes:
        scope: digest of the key within its API key.
        request_id: under which it is executed, also the next time.
        kept: the answer where it was given already.
        turn: ends with `release`.
    """

    scope: bytes
    request_id: str
    kept: Kept | None = None
    turn: Turn | None = None


@dataclass(slots=True)
class Idempotency:
    """Keys and answers of one gateway.

    Attributes:
        path: of the file; None remembers only what is under way.
        limits: how much is kept, and for how long.
        clock_s: seconds since 1970.
    """

    path: Path | None = None
    limits: Limits = field(default_factory=Limits)
    clock_s: Callable[[], float] = time.time
    _turns: dict[bytes, Turn] = field(default_factory=dict)
    _waiters: int = 0
    _database: sqlite3.Connection | None = None
    _swept_s: float = 0.0
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "idempotency")
    )

    async def claim(self, owner: str, key: str, request: bytes, request_id: str) -> Claim:
        """Claim a key; waits while the same request is under way.

        Args:
            owner: digest of the API key.
            key: of the client.
            request: path and body.
            request_id: for the case that it is new.

        Raises:
            KeyReusedError: the key came with another request.
            InvalidRequestError: not a key.
            OverloadedError: too many wait.
        """
        if not (0 < len(key) <= KEY_LENGTH and key.isascii() and key.isprintable()):
            raise InvalidRequestError(
                f"Idempotency-Key of {len(key)} characters",
                next_step=f"give 1 to {KEY_LENGTH} printable ASCII characters",
            )
        scope = hashlib.sha256(f"{owner}\n{key}".encode()).digest()
        digest = hashlib.sha256(request).digest()
        while (other := self._turns.get(scope)) is not None:
            _check(other.body_digest, digest)
            await self._wait(other.over)
        turn = Turn(digest, asyncio.get_running_loop().create_future())
        self._turns[scope] = turn
        mine = Claim(scope, request_id, None, turn)
        try:
            known = await self._run(lambda: self._begin(scope, owner, digest, request_id))
        except BaseException:
            self.release(mine)
            raise
        claim = mine if known is None else replace(known, turn=turn)
        if claim.kept is not None:
            self.release(claim)
        return claim

    async def keep(self, claim: Claim, kept: Kept) -> None:
        """Keep an answer; one over its limit is not kept, a retry executes anew."""
        if len(kept.content) <= self.limits.kept_answer_bytes:
            await self._run(lambda: self._finish(claim.scope, kept))
        self.release(claim)

    def release(self, claim: Claim) -> None:
        """Let the next in line have the key: the request was answered, or came to nothing."""
        turn = claim.turn
        if turn is not None and self._turns.get(claim.scope) is turn:
            del self._turns[claim.scope]
            turn.over.set_result(None)

    def watched(self, claim: Claim, answer: StreamedAnswer) -> Pieces:
        """A stream, kept when it has come to its end; before its client has the last piece."""
        pieces: list[bytes] = []
        size = 0

        async def see(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size <= self.limits.kept_answer_bytes:
                pieces.append(piece)
            else:
                pieces.clear()
            relay = answer.relay
            if relay.ended and not relay.refused and size <= self.limits.kept_answer_bytes:
                kept = Kept("text/event-stream", answer.site, b"".join(pieces))
                await self.keep(claim, kept)

        return Passing(answer.chunks, see, lambda _: self.release(claim))

    async def close(self) -> None:
        """Close the file."""
        await self._run(self._close)
        self._thread.shutdown()

    async def _wait(self, over: asyncio.Future[None]) -> None:
        if self._waiters >= self.limits.kept_waiters:
            raise OverloadedError(
                f"{self._waiters} requests wait for others with the same Idempotency-Key",
                next_step="wait for the answers",
            )
        self._waiters += 1
        try:
            await asyncio.shield(over)
        finally:
            self._waiters -= 1

    # -- in the thread that owns the file --------------------------------------------------------

    async def _run(self, work: Callable[[], T]) -> T | None:
        """The file's answer; None where there is none, or it cannot be used: requests go on."""
        if self.path is None:
            return None
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError) as error:
            logger.warning("idempotency keys are not kept: %s: %s", self.path, error)
            return None

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            assert self.path is not None
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds answers
            database = sqlite3.connect(self.path, timeout=5.0)
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = normal")
            database.executescript(_SCHEMA)
            self._database = database
        return self._database

    def _begin(self, scope: bytes, owner: str, digest: bytes, request_id: str) -> Claim:
        with self._connection() as database:
            self._sweep(database)
            row = database.execute(
                "select body_digest, request_id, media_type, site, content from answer"
                " where scope = ?",
                (scope,),
            ).fetchone()
            if row is None:
                database.execute(
                    "insert into answer values (?, ?, ?, ?, ?, null, null, null, 0)",
                    (scope, owner, digest, request_id, self.clock_s()),
                )
                return Claim(scope, request_id)
        _check(row[0], digest)
        return Claim(scope, row[1], Kept(*row[2:]) if row[4] is not None else None)

    def _finish(self, scope: bytes, kept: Kept) -> None:
        with self._connection() as database:
            database.execute(
                "update answer set media_type = ?, site = ?, content = ?, bytes = ?"
                " where scope = ?",
                (kept.media_type, kept.site, kept.content, len(kept.content), scope),
            )
            self._shrink(database)

    def _sweep(self, database: sqlite3.Connection) -> None:
        now_s = self.clock_s()
        if 0.0 <= now_s - self._swept_s < SWEEP_S:
            return
        self._swept_s = now_s
        oldest_s = now_s - self.limits.kept_s
        database.execute("delete from answer where created_s < ?", (oldest_s,))

    def _shrink(self, database: sqlite3.Connection) -> None:
        """Over a limit, the oldest of whoever keeps most go; nobody pushes out the others."""
        limits = self.limits
        while True:
            count, size = database.execute(
                "select count(*), coalesce(sum(bytes), 0) from answer"
            ).fetchone()
            if count <= limits.kept_answers and size <= limits.kept_bytes:
                return
            measure = "count(*)" if count > limits.kept_answers else "sum(bytes)"
            database.execute(
                "delete from answer where scope in (select scope from answer where owner ="
                f" (select owner from answer group by owner order by {measure} desc limit 1)"
                " order by created_s limit ?)",
                (SWEEP_ROWS if count > 4 * SWEEP_ROWS else 1,),
            )

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _check(known: bytes, digest: bytes) -> None:
    if known != digest:
        raise KeyReusedError(
            "this Idempotency-Key came before with another request",
            next_step="use a new key for a new request",
        )
