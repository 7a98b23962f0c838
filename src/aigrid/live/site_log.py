"""What a site notes in a recorded run: each job of its engines, and where their time goes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from aigrid.core import run_record
from aigrid.core.errors import InvalidRequestError
from aigrid.core.run_record import UNKNOWN_S, EngineRow, JobRow, Row
from aigrid.engines.embedding import Embedder, EmbeddingJob, Embeddings
from aigrid.engines.engine import Chunk, Engine, EngineLoad, Job
from aigrid.live.replicas import Replica, ReplicaSet
from aigrid.live.run_log import RunLog, key_of


class WatchedEngine:
    """An engine whose jobs are noted; see `engines.engine.Engine`.

    Args:
        service: that it runs.
        engine: that works.
        note: takes each job's row.
    """

    def __init__(self, service: str, engine: Engine, note: Callable[[Row], None]) -> None:
        self._service, self._engine, self._note = service, engine, note

    async def generate(self, job: Job) -> AsyncGenerator[Chunk, None]:
        """See `Engine.generate`."""
        began_s, first_s, last = time.monotonic(), UNKNOWN_S, Chunk("", 0, 0)
        chunks = self._engine.generate(job)
        try:
            async for chunk in chunks:
                if first_s == UNKNOWN_S:
                    first_s = time.monotonic()
                last = chunk
                yield chunk
        finally:
            await chunks.aclose()
            made = max(0, last.completion_tokens - len(job.delivered))
            ended_s = time.monotonic()
            key = key_of(job.job_id)
            row = JobRow(key, self._service, last.prompt_tokens, made, began_s, first_s, ended_s)
            self._note(row)

    async def embed(self, job: EmbeddingJob) -> Embeddings:
        """See `embedding.Embedder.embed`; its row has no first token but its end."""
        if not isinstance(self._engine, Embedder):
            raise InvalidRequestError(f"model {self._service!r} makes no embeddings")
        began_s, read = time.monotonic(), 0
        try:
            made = await self._engine.embed(job)
            read = made.prompt_tokens
            return made
        finally:
            ended_s, key = time.monotonic(), key_of(job.job_id)
            first_s = ended_s if read else UNKNOWN_S
            self._note(JobRow(key, self._service, read, 0, began_s, first_s, ended_s))

    def set_share(self, share: float) -> None:
        """See `Engine.set_share`."""
        self._engine.set_share(share)

    def set_gate(self, may_step: Callable[[], bool]) -> None:
        """See `Engine.set_gate`."""
        self._engine.set_gate(may_step)

    def load(self) -> EngineLoad:
        """See `Engine.load`."""
        return self._engine.load()

    async def close(self) -> None:
        """See `Engine.close`."""
        await self._engine.close()


class SiteLog:
    """Watches the engines of a site from now on.

    Args:
        folder: of the recording.
        replicas: of the site; engines that it loads from now on are watched.
        site: its name.
    """

    def __init__(self, folder: Path, replicas: ReplicaSet, site: str) -> None:
        self._replicas = replicas
        self._log = RunLog(folder, f"{run_record.SITE}-{site}", self._sample)
        replicas.watch = self._watched

    def close(self) -> None:
        """Write the rest."""
        self._log.close()

    def _watched(self, service: str, engine: Engine) -> Engine:
        return WatchedEngine(service, engine, self._log.note)

    def _sample(self) -> list[Row]:
        serving = tuple(self._replicas.serving.items())
        return [_row(name, replica, self._replicas.share) for name, replica in serving]


def _row(service: str, replica: Replica, share: float) -> EngineRow:
    load = replica.engine.load()
    times = load.times
    return EngineRow(
        at_s=time.monotonic(),
        service=service,
        share=share,
        running=load.running,
        waiting=load.waiting,
        places=times.places,
        fill_s=times.fill_s,
        decode_s=times.decode_s,
        paused_s=times.paused_s,
        rounds=times.rounds,
        pieces=times.pieces,
        prompt_tokens=load.prompt_tokens_total,
        steps=times.steps,
        sequences=times.sequences,
        cpu_s=times.cpu_s,
    )
