"""The embedding engine: texts of many jobs, sorted by length, in batches over ONNX Runtime.

One worker thread. Jobs take turns: each step runs the longest text that is left of the job whose
turn it is, and texts of about its length beside it, whosever they are. So little is padded, and a
job of one text does not wait for another's two thousand. The gate is asked before each step.
"""

from __future__ import annotations

import asyncio
import threading
import time
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aigrid.core.errors import AigridError, ConfigurationError, OverloadedError, UnavailableError
from aigrid.engines.embedding import EmbeddingJob, Embeddings, check_total, no_text
from aigrid.engines.encoder import Encoder
from aigrid.engines.engine import Chunk, EngineLoad, Job
from aigrid.engines.meter import Meter
from aigrid.engines.pace import Pace

STEP_TOKENS = 256  # of a step, padding included, unless one text is longer
JOBS = 32  # that take turns; the others wait in line
CLOSE_LENGTH = 0.75  # of the longest in a batch; shorter ones would be padding for the most part
READ_BYTES = 64 * 1024  # of text that are cut into tokens between two steps
IDLE_WAIT_S = 1.0
CLOSE_WAIT_S = 5.0


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


class EmbeddingEngine:
    """Runs an encoder's package on the CPU. Make one with `open`; see `embedding.Embedder`."""

    def __init__(self, encoder: Encoder, max_batch: int, queue_limit: int) -> None:
        self.context_tokens = encoder.context_tokens
        self._encoder = encoder
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._pace = Pace()
        self._meter = Meter(places=JOBS)
        self._wake = threading.Condition()
        self._waiting: deque[_Work] = deque()
        self._reading: _Work | None = None
        self._turns: deque[_Work] = deque()
        self._line: list[_Text] = []
        self._serial = self._jobs_total = self._prompt_tokens_total = 0
        self._ended: UnavailableError | None = None
        self._thread = threading.Thread(target=self._work, name="embedder", daemon=True)
        self._thread.start()

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
            with self._wake:
                if work in self._waiting:
                    self._waiting.remove(work)

    def generate(self, job: Job) -> AsyncGenerator[Chunk, None]:
        """Refuse: an encoder makes no text."""
        return no_text()

    def set_share(self, share: float) -> None:
        """See `Engine.set_share`."""
        self._pace.set_share(share)

    def set_gate(self, may_step: Callable[[], bool]) -> None:
        """See `Engine.set_gate`."""
        self._pace.set_gate(may_step)

    def load(self) -> EngineLoad:
        """Gauges and counters, read from any thread; an encoder makes no tokens."""
        running = len(self._turns) + (self._reading is not None)
        self._meter.look(self._thread)
        prompts, jobs = self._prompt_tokens_total, self._jobs_total
        return EngineLoad(running, len(self._waiting), 0, prompts, jobs, self._meter)

    async def close(self) -> None:
        """Stop; jobs in flight end with UnavailableError."""
        with self._wake:
            self._ended = self._ended or UnavailableError("the engine is closed")
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_WAIT_S)

    def _enqueue(self, work: _Work) -> None:
        with self._wake:
            if self._ended is not None:
                raise UnavailableError(self._ended.message, next_step=self._ended.next_step)
            load = self.load()
            if load.waiting + load.running >= self._queue_limit + JOBS:
                raise OverloadedError(
                    f"{load.waiting} jobs are waiting, the limit", next_step="try again later"
                )
            self._waiting.append(work)
            self._jobs_total += 1
            self._wake.notify()

    # on the worker's thread

    def _work(self) -> None:
        try:
            while self._ended is None:
                self._drop_abandoned()
                if not self._busy():
                    self._meter.idle()
                    continue
                self._meter.present()
                pause_s = self._pace.pause_s()
                if pause_s:
                    self._pace.sleep(pause_s)
                    continue
                began_s = self._meter.begin()
                self._read()
                self._step()
                self._pace.worked(self._meter.end(began_s, time.perf_counter()))
        except Exception as error:  # whatever the runtime raises must end every job, not hang it
            self._ended = UnavailableError(
                f"the engine stopped: {type(error).__name__}: {error}",
                next_step="restart the site",
            )
        self._fail_all()

    def _busy(self) -> bool:
        """Whether there is something to do; waits a while where there is not."""
        if self._turns or self._reading is not None or self._waiting:
            return True
        with self._wake:
            if not self._waiting and self._ended is None:
                self._wake.wait(IDLE_WAIT_S)
        return False

    def _read(self) -> None:
        """Cut texts of joining jobs into tokens, some at a time."""
        left = READ_BYTES
        while left > 0 and (work := self._joining()) is not None:
            try:
                left = self._tokenise(work, left)
                if len(work.ids) == len(work.job.inputs):
                    check_total(work.tokens)
                    self._line_up(work)
                    self._reading = None
            except AigridError as error:
                work.settle(error)
                self._reading = None

    def _joining(self) -> _Work | None:
        """The job that is read, the next in line where there is none and a turn is free."""
        if self._reading is None and self._waiting and len(self._turns) < JOBS:
            with self._wake:
                self._reading = self._waiting.popleft() if self._waiting else None
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

    def _step(self) -> None:
        """One batch."""
        if not self._turns:
            return
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

    def _fail_all(self) -> None:
        with self._wake:
            ended = self._ended or UnavailableError("the engine is closed")
            left = [*self._turns, *self._waiting]
            left += [self._reading] if self._reading is not None else []
            self._turns, self._reading, self._line = deque(), None, []
            self._waiting.clear()
        for work in left:
            work.settle(UnavailableError(ended.message, next_step=ended.next_step))
