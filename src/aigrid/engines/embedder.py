"""The embedding engine: texts of many jobs, sorted by length, in batches over ONNX Runtime.

One worker thread. Jobs take turns: each step runs the longest text that is left of the job whose
turn it is, and texts of about its length beside it, whosever they are. So little is padded, and a
job of one text does not wait for another's two thousand. The gate is asked before each step.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aigrid.core.errors import AigridError, ConfigurationError, UnavailableError
from aigrid.engines.embedding import EmbeddingJob, Embeddings, check_total, no_text
from aigrid.engines.encoder import Encoder
from aigrid.engines.engine import Chunk, EngineLoad, Job
from aigrid.engines.worker import Worker

STEP_TOKENS = 256  # of a step, padding included, unless one text is longer
JOBS = 32  # that take turns; the others wait in line
CLOSE_LENGTH = 0.75  # of the longest in a batch; shorter ones would be padding for the most part
READ_BYTES = 64 * 1024  # of text that are cut into tokens between two steps


class _Text(NamedTuple):
    """One input in line; sorted by length, then by when it came."""

    length: int
    serial: int
    work: _Work
    place: int


class _Work:
    """One job on its way."""

    def __init__(self, job: EmbeddingJob, width: int) -> None:
        self.job = job
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Embeddings] = self.loop.create_future()
        self.closed = False  # its reader has gone
        self.ids: list[array[int]] = []
        self.vectors = np.zeros((len(job.inputs), width), np.float32)
        self.texts: list[_Text] = []  # not all of them are still to be done
        self.done = [False] * len(job.inputs)

    @property
    def tokens(self) -> int:
        """Read so far."""
        return sum(map(len, self.ids))

    def longest(self) -> _Text:
        """Of what is left."""
        while self.done[self.texts[-1].place]:
            self.texts.pop()
        return self.texts[-1]

    def settle(self, outcome: Embeddings | AigridError) -> None:
        """Tell who waits, from the worker's thread; there may be nobody any more."""
        try:
            self.loop.call_soon_threadsafe(self._settle, outcome)
        except RuntimeError:  # the loop is closed
            self.closed = True

    def _settle(self, outcome: Embeddings | AigridError) -> None:
        if self.ended.done():
            return
        if isinstance(outcome, AigridError):
            self.ended.set_exception(outcome)
        else:
            self.ended.set_result(outcome)


class EmbeddingEngine(Worker[_Work]):
    """Runs an encoder's package on the CPU. Make one with `open`; see `embedding.Embedder`."""

    def __init__(self, encoder: Encoder, max_batch: int, queue_limit: int) -> None:
        super().__init__("embedder", JOBS, queue_limit)
        self.context_tokens = encoder.context_tokens
        self._encoder = encoder
        self._max_batch = max_batch
        self._reading: _Work | None = None
        self._turns: deque[_Work] = deque()
        self._line: list[_Text] = []
        self._serial = self._prompt_tokens_total = 0
        self._start()

    @classmethod
    def open(
        cls, model_dir: Path, *, threads: int = 1, max_batch: int = 32, queue_limit: int = 256
    ) -> EmbeddingEngine:
        """Open a package's files.

        Args:
            model_dir: holds `tokenizer.json` and `onnx/model.onnx`.
            threads: threads inside one operator.
            max_batch: texts in one step.
            queue_limit: jobs that wait at most; one more is refused.

        Raises:
            IntegrityError: a file is missing or broken.
            ConfigurationError: a graph of another kind, or an option out of range.
        """
        for name, value in (("threads", threads), ("max_batch", max_batch)):
            if value < 1:
                raise ConfigurationError(f"{name} is {value}", next_step="give at least 1")
        return cls(Encoder(model_dir, threads=threads), max_batch, queue_limit)

    async def embed(self, job: EmbeddingJob) -> Embeddings:
        """See `embedding.Embedder.embed`."""
        self._encoder.check_dimensions(job.dimensions)
        work = _Work(job, self._encoder.width)
        self._enqueue(work)
        try:
            return await work.ended
        finally:
            work.closed = True
            self._abandon(work)

    def generate(self, job: Job) -> AsyncGenerator[Chunk, None]:
        """Refuse: an encoder makes no text."""
        return no_text()

    def load(self) -> EngineLoad:
        """Gauges and counters, read from any thread; an encoder makes no tokens."""
        self._meter.look(self._thread)
        prompts, jobs = self._prompt_tokens_total, self._jobs_total
        return EngineLoad(self._running(), len(self._waiting), 0, prompts, jobs, self._meter)

    # on the worker's thread

    def _running(self) -> int:
        return len(self._turns) + (self._reading is not None)

    def _read(self) -> None:
        """Cut texts of joining jobs into tokens, some at a time."""
        left = READ_BYTES
        while left > 0 and (work := self._join()) is not None:
            try:
                left = self._tokenise(work, left)
                if len(work.ids) == len(work.job.inputs):
                    check_total(work.tokens)
                    self._line_up(work)
                    self._reading = None
            except AigridError as error:
                work.settle(error)
                self._reading = None

    def _join(self) -> _Work | None:
        """The job that is read, the next in line where there is none and a turn is free."""
        if self._reading is None and self._waiting and len(self._turns) < JOBS:
            self._reading = self._next()
            if self._reading is not None and self._reading.job.times is not None:
                self._reading.job.times.fill_ns = time.time_ns()
        return self._reading

    def _tokenise(self, work: _Work, left: int) -> int:
        """Read inputs for about so many bytes; what is left of them."""
        while len(work.ids) < len(work.job.inputs) and left > 0:
            given = work.job.inputs[len(work.ids)]
            ids = self._encoder.tokens(given) if isinstance(given, str) else given
            self._encoder.check(len(work.ids), ids)
            work.ids.append(array("i", ids))
            left -= len(given)
        return left

    def _line_up(self, work: _Work) -> None:
        for place, ids in enumerate(work.ids):
            self._serial += 1
            work.texts.append(_Text(len(ids), self._serial, work, place))
        work.texts.sort()
        self._line = sorted([*self._line, *work.texts])  # two sorted runs: a merge
        self._turns.append(work)

    def _step(self) -> float:
        """Read on, and one batch."""
        self._read()
        if self._turns:
            self._encode()
        return time.perf_counter()

    def _encode(self) -> None:
        batch = self._choose(self._turns[0].longest())
        self._turns.rotate(-1)
        vectors = self._encoder.encode([text.work.ids[text.place] for text in batch])
        for text, vector in zip(batch, vectors, strict=True):
            work = text.work
            work.vectors[text.place] = vector
            work.done[text.place] = True
            work.job.progress.inputs += 1
            self._prompt_tokens_total += text.length
        self._meter.pieces += len(batch)
        for work in {id(text.work): text.work for text in batch}.values():
            if work.job.progress.inputs == len(work.done):
                self._finish(work)

    def _choose(self, longest: _Text) -> list[_Text]:
        """A text, and those in line that are hardly shorter; all leave the line."""
        end = bisect_left(self._line, longest) + 1
        count = max(1, min(self._max_batch, STEP_TOKENS // longest.length))
        shortest = bisect_left(self._line, longest.length * CLOSE_LENGTH, key=lambda t: t.length)
        first = max(shortest, end - count)
        batch = self._line[first:end]
        del self._line[first:end]
        return batch

    def _finish(self, work: _Work) -> None:
        if work.job.times is not None:
            work.job.times.first_ns = time.time_ns()
        vectors = self._encoder.finish(work.vectors, work.job.dimensions)
        self._turns.remove(work)
        work.settle(Embeddings(vectors, work.tokens))

    def _drop_abandoned(self) -> None:
        if self._reading is not None and self._reading.closed:
            self._reading = None
        if any(work.closed for work in self._turns):
            self._turns = deque(work for work in self._turns if not work.closed)
            self._line = [text for text in self._line if not text.work.closed]

    def _leave(self) -> list[_Work]:
        left = [*self._turns, *([self._reading] if self._reading is not None else [])]
        self._turns, self._reading, self._line = deque(), None, []
        return left

    def _fail(self, left: list[_Work], ended: UnavailableError) -> None:
        for work in left:
            work.settle(UnavailableError(ended.message, next_step=ended.next_step))
