"""The embedded engine: continuous batching over ONNX Runtime in one worker thread.

Streams share decode steps. A new job's prompt is fed in pieces between those steps, so that a long
prompt delays the others by one piece at most. Chunks leave in flushes: a first token and an end at
once, everything else every 20 ms, because waking the event loop once a token costs throughput.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError, InvalidRequestError, UnavailableError
from aigrid.engines.chat import ChatTemplate
from aigrid.engines.constraint import Grammars
from aigrid.engines.decoder import Decoder
from aigrid.engines.engine import Chunk, EngineLoad, Job
from aigrid.engines.intake import Intake
from aigrid.engines.mailbox import Outbox
from aigrid.engines.prefixes import PrefixShelf
from aigrid.engines.sampling import log_softmax
from aigrid.engines.sequence import Sequence
from aigrid.engines.text import Vocabulary, end_tokens
from aigrid.engines.worker import Worker

PREFILL_PIECE = 64
FLUSH_S = 0.020


class EmbeddedEngine(Worker[Sequence]):
    """Runs a package made by the factory on the CPU. Make one with `open`."""

    def __init__(
        self,
        decoder: Decoder,
        intake: Intake,
        grammars: Grammars,
        queue_limit: int,
        shelf: int = 0,
    ) -> None:
        super().__init__("engine", decoder.slots, queue_limit)
        self.context_tokens = decoder.context_tokens
        self._decoder = decoder
        self._intake, self._grammars = intake, grammars
        self._prefixes = PrefixShelf(decoder.slots, shelf, PREFILL_PIECE, decoder.move)
        self._outbox = Outbox()
        self._flushed_s = 0.0
        self._filling: Sequence | None = None  # in slot len(self._decoding)
        self._decoding: list[Sequence] = []  # the one at place k is in slot k
        self._tokens_total = self._prompt_tokens_total = 0
        self._start()

    @classmethod
    def open(
        cls,
        model_dir: Path,
        *,
        threads: int = 1,
        max_batch: int = 8,
        queue_limit: int = 256,
        prefixes: int = 8,
    ) -> EmbeddedEngine:
        """Open a package's files.

        Args:
            model_dir: holds `config.json`, `tokenizer.json` and `onnx/model.onnx`.
            threads: threads inside one operator.
            max_batch: streams that run at once.
            queue_limit: jobs that wait at most; one more is refused.
            prefixes: prompt prefixes kept for later jobs; each takes a stream's cache at most.

        Raises:
            IntegrityError: a file is missing or broken.
            ConfigurationError: a file is of a kind that this engine does not run, or an option is
                out of range.
        """
        for name, value in (("threads", threads), ("max_batch", max_batch)):
            if value < 1:
                raise ConfigurationError(f"{name} is {value}", next_step="give at least 1")
        vocabulary = Vocabulary(model_dir / "tokenizer.json")
        template = ChatTemplate(model_dir)
        graph = model_dir / "onnx" / "model.onnx"
        decoder = Decoder(graph, threads=threads, slots=max_batch, shelf=max(prefixes, 0))
        if vocabulary.size > decoder.vocab_size:
            raise ConfigurationError(
                f"{model_dir}: tokenizer.json has ids up to {vocabulary.size - 1} and the model "
                f"knows {decoder.vocab_size} tokens",
                next_step="make the package again: its files do not belong together",
            )
        ends, context, ids = end_tokens(model_dir), decoder.context_tokens, decoder.vocab_size
        grammars = Grammars(vocabulary.source, ids, ends)
        intake = Intake(vocabulary, template, grammars, ends, context, ids)
        return cls(decoder, intake, grammars, queue_limit, max(prefixes, 0))

    async def generate(self, job: Job) -> AsyncGenerator[Chunk, None]:
        """Stream an answer; see `Engine.generate`."""
        sequence = await self._intake.sequence(job)
        self._enqueue(sequence)
        try:
            while True:
                chunk = await sequence.box.get()
                yield chunk
                if chunk.finish_reason is not None:
                    return
        finally:
            sequence.box.closed = True
            self._abandon(sequence)

    def load(self) -> EngineLoad:
        """Gauges and counters, read from any thread."""
        self._meter.look(self._thread)
        return EngineLoad(
            self._running(),
            len(self._waiting),
            self._tokens_total,
            self._prompt_tokens_total,
            self._jobs_total,
            self._meter,
        )

    def score(self, token_ids: list[int]) -> NDArray[np.float64]:
        """Natural log-probability of each token but the first, given those before it.

        Args:
            token_ids: 2 to `context_tokens` ids.

        Returns:
            float64 [len(token_ids) - 1].

        Raises:
            InvalidRequestError: too few, too many, or an id outside the vocabulary.
        """
        if not 2 <= len(token_ids) <= self.context_tokens:
            raise InvalidRequestError(
                f"{len(token_ids)} tokens to score", next_step=f"give 2 to {self.context_tokens}"
            )
        self._intake.check_ids(token_ids)
        logprobs = log_softmax(self._decoder.score(token_ids)[:-1])
        chosen: NDArray[np.float64] = logprobs[np.arange(len(logprobs)), token_ids[1:]]
        return chosen

    async def close(self) -> None:
        """Stop; jobs in flight end with UnavailableError."""
        self._grammars.close()
        await super().close()

    # on the worker's thread

    def _running(self) -> int:
        return len(self._decoding) + (self._filling is not None)

    def _pausing(self) -> None:
        self._join()
        self._flush()

    def _step(self) -> float:
        self._fill()
        filled_s = time.perf_counter()
        self._decode()
        self._post()
        return filled_s

    def _fill(self) -> None:
        """Feed prompts of joining jobs, one piece at least and `PREFILL_PIECE` tokens at most.

        Where a prompt is cut depends on itself alone, so that its numbers do not depend on company.
        """
        budget = PREFILL_PIECE
        while (sequence := self._join()) is not None:
            piece = sequence.prompt[sequence.held : sequence.held + PREFILL_PIECE]
            budget -= len(piece)
            if budget < 0:
                return
            logits = self._decoder.prefill(len(self._decoding), piece, sequence.held)
            sequence.held += len(piece)
            self._prompt_tokens_total += len(piece)
            self._meter.pieces += 1
            if sequence.held == len(sequence.prompt):
                self._begin(sequence, logits)

    def _join(self) -> Sequence | None:
        """The joining job, the next in line where there is none and a slot is free."""
        if self._filling is None and self._waiting and len(self._decoding) < self._decoder.slots:
            self._filling = self._next()
            if self._filling is not None:
                spared = self._prefixes.take(self._filling.prompt, len(self._decoding))
                self._filling.held = spared
                if self._filling.times is not None:
                    self._filling.times.fill_ns = time.time_ns()
        return self._filling

    def _begin(self, sequence: Sequence, logits: NDArray[np.float32]) -> None:
        """Its first token, at once."""
        self._prefixes.keep(sequence.prompt, len(self._decoding))
        sequence.advance(logits)
        if sequence.times is not None:
            sequence.times.first_ns = time.time_ns()
        self._tokens_total += 1
        self._filling = None
        self._decoding.append(sequence)
        self._flush()

    def _decode(self) -> None:
        """One token for every stream."""
        live = self._decoding
        if not live:
            return
        logits = self._decoder.decode([s.last for s in live], [s.held for s in live])
        likeliest: list[int] = logits.argmax(1).tolist()
        for sequence, row, best in zip(live, logits, likeliest, strict=True):
            sequence.held += 1
            sequence.advance(row, best)
        self._tokens_total += len(live)
        self._meter.steps += 1
        self._meter.sequences += len(live)

    def _post(self) -> None:
        """Send what is due, the slots of the finished being free by the time their end is read."""
        due = time.perf_counter() - self._flushed_s >= FLUSH_S
        if due or any(s.unsent and s.urgent for s in self._decoding):
            self._flush()

    def _flush(self) -> None:
        for sequence in self._decoding:
            if sequence.unsent:
                self._outbox.add(sequence.box, sequence.fault or sequence.take_chunk())
        for slot in reversed(range(len(self._decoding))):
            if self._decoding[slot].finish_reason is not None:
                self._free(slot)
        self._outbox.send()
        self._flushed_s = time.perf_counter()

    def _drop_abandoned(self) -> None:
        if self._filling is not None and self._filling.box.closed:
            self._filling = None
        for slot in reversed(range(len(self._decoding))):
            if self._decoding[slot].box.closed:
                self._free(slot)

    def _free(self, slot: int) -> None:
        """Close the gap: the last stream moves into it, and a joining one follows down."""
        last = len(self._decoding) - 1
        moved = self._decoding.pop()
        if slot != last:
            self._decoding[slot] = moved
            self._decoder.move(last, slot, moved.held)
        if self._filling is not None and self._filling.held:
            self._decoder.move(last + 1, last, self._filling.held)

    def _leave(self) -> list[Sequence]:
        left = [*self._decoding, *([self._filling] if self._filling is not None else [])]
        self._decoding, self._filling = [], None
        return left

    def _fail(self, left: list[Sequence], ended: UnavailableError) -> None:
        for sequence in left:
            error = UnavailableError(ended.message, next_step=ended.next_step)
            self._outbox.add(sequence.box, error)
        self._outbox.send()
