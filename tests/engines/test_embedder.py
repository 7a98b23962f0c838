"""The embedding engine on a tiny random encoder: right vectors, fair turns, and the radio first."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from tests.tiny_encoder import CONTEXT, TEXT, WIDTH, make_tiny_embedder

from aigrid.core.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
)
from aigrid.core.package import ServiceSpec
from aigrid.engines.embedder import EmbeddingEngine
from aigrid.engines.embedding import Embedder, EmbeddingJob, Embeddings, JobProgress
from aigrid.engines.encoder import Encoder
from aigrid.engines.engine import Job, Sampling
from aigrid.engines.load import load_engine

T = TypeVar("T")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_embedder(tmp_path_factory.mktemp("tiny") / "package", dimensions=(8, 16))


def with_engine(
    package: Path, work: Callable[[EmbeddingEngine], Coroutine[Any, Any, T]], **options: Any
) -> T:
    async def run() -> T:
        engine = EmbeddingEngine.open(package, **options)
        try:
            async with asyncio.timeout(30):
                return await work(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


def embedded(package: Path, *inputs: Any, dimensions: int | None = None) -> Embeddings:
    job = EmbeddingJob("j", inputs, dimensions)
    return with_engine(package, lambda engine: engine.embed(job))


def test_a_package_of_kind_embed_opens_as_an_embedder(package: Path) -> None:
    async def work() -> None:
        engine = load_engine(ServiceSpec("e", "1", kind="embed"), package)
        assert isinstance(engine, Embedder)
        await engine.close()

    asyncio.run(work())


def test_each_text_gets_the_vector_that_it_gets_alone(package: Path) -> None:
    texts = [" ".join(TEXT[at % 3].split()[: 1 + at % 9]) for at in range(70)]
    together = embedded(package, *texts).vectors
    encoder = Encoder(package, threads=1)
    alone = [encoder.finish(encoder.encode([encoder.tokens(t)]), None)[0] for t in texts]
    assert together.shape == (70, WIDTH)
    np.testing.assert_allclose(together, alone, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)


def test_token_ids_give_what_their_text_gives_and_all_tokens_count(package: Path) -> None:
    encoder = Encoder(package, threads=1)
    ids = tuple(encoder.tokens(TEXT[0]))
    made = embedded(package, TEXT[0], ids)
    assert len(ids) > 8  # the checkpoint's own truncation is off
    np.testing.assert_allclose(made.vectors[0], made.vectors[1], atol=1e-6)
    assert made.prompt_tokens == 2 * len(ids)


def test_fewer_dimensions_are_the_first_ones_at_length_one(package: Path) -> None:
    whole = embedded(package, TEXT[1]).vectors[0]
    cut = embedded(package, TEXT[1], dimensions=8).vectors[0]
    np.testing.assert_allclose(cut, whole[:8] / np.linalg.norm(whole[:8]), atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "dimensions", "said"),
    [
        (("a", "the radio " * 60), None, f"input 1 has .* the model reads 1 to {CONTEXT}"),
        (((3, 9999),), None, "input 0 has token ids from 3 to 9999"),
        (("a",), 12, "dimensions is 12, this model makes 8, 16, 32"),
        (("the radio",) * 5 + (tuple([3] * CONTEXT),) * 7500, None, "tokens together"),
    ],
)
def test_what_the_model_cannot_read_is_refused_with_its_place(
    package: Path, inputs: Any, dimensions: int | None, said: str
) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        embedded(package, *inputs, dimensions=dimensions)


def test_asked_for_text_it_says_what_it_is(package: Path) -> None:
    async def work(engine: EmbeddingEngine) -> None:
        await anext(engine.generate(Job("j", Sampling(), prompt="hi")))

    with pytest.raises(InvalidRequestError, match="makes no text"):
        with_engine(package, work)


def test_nothing_is_computed_while_the_gate_is_shut(package: Path) -> None:
    async def work(engine: EmbeddingEngine) -> None:
        open_gate, asked = threading.Event(), threading.Event()

        def may_step() -> bool:
            asked.set()
            return open_gate.is_set()

        engine.set_gate(may_step)
        job = EmbeddingJob("j", TEXT)
        task = asyncio.create_task(engine.embed(job))
        await asyncio.to_thread(asked.wait, 10)
        await asyncio.sleep(0.05)
        assert job.progress.inputs == 0 and engine.load().prompt_tokens_total == 0
        open_gate.set()
        made = await task
        assert job.progress.inputs == 3 and made.prompt_tokens == engine.load().prompt_tokens_total

    with_engine(package, work)


def test_a_share_of_nothing_pauses_and_any_other_goes_on(package: Path) -> None:
    async def work(engine: EmbeddingEngine) -> None:
        engine.set_share(0.0)
        task = asyncio.create_task(engine.embed(EmbeddingJob("j", TEXT)))
        await asyncio.sleep(0.1)
        assert not task.done()
        engine.set_share(0.5)
        assert (await task).vectors.shape == (3, WIDTH)
        with pytest.raises(ConfigurationError, match=r"share is 1\.5"):
            engine.set_share(1.5)

    with_engine(package, work)


async def until(done: Callable[[], bool]) -> None:
    """Wait for something that must come soon."""
    for _ in range(10_000):
        if done():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come")


class StepByStep:
    """A gate that lets through one step at a time."""

    def __init__(self, engine: EmbeddingEngine) -> None:
        self._left, self.engine = 0, engine
        engine.set_gate(self._may_step)

    def _may_step(self) -> bool:
        self._left -= 1
        return self._left >= 0

    async def step(self) -> None:
        before = self.engine.load().times.rounds
        self._left = 1
        await until(lambda: self.engine.load().times.rounds > before)


def test_a_job_of_one_text_does_not_wait_for_one_of_two_thousand(package: Path) -> None:
    async def work(engine: EmbeddingEngine) -> tuple[int, JobProgress]:
        gate = StepByStep(engine)
        long = EmbeddingJob("long", ("the radio of a tower comes before the model",) * 2048)
        first = asyncio.create_task(engine.embed(long))
        await asyncio.sleep(0)
        while not long.progress.inputs:  # its texts are read first, some at a time
            await gate.step()
        assert long.progress.inputs < 100
        second = asyncio.create_task(engine.embed(EmbeddingJob("short", ("a tower",))))
        await asyncio.sleep(0)
        steps = 0
        while not second.done():
            await gate.step()
            await asyncio.sleep(0.01)
            steps += 1
        first.cancel()
        await asyncio.wait((first,))
        return steps, long.progress

    steps, progress = with_engine(package, work)
    assert steps <= 3
    assert progress.inputs < 300


def test_a_cancelled_job_is_dropped_and_the_line_goes_on(package: Path) -> None:
    async def work(engine: EmbeddingEngine) -> None:
        gate = StepByStep(engine)
        left = EmbeddingJob("left", TEXT * 600)
        task = asyncio.create_task(engine.embed(left))
        await asyncio.sleep(0)
        await gate.step()
        task.cancel()
        await asyncio.sleep(0)
        engine.set_gate(lambda: True)
        await engine.embed(EmbeddingJob("other", TEXT))
        assert left.progress.inputs < 600
        assert engine.load().running == 0

    with_engine(package, work)


def test_a_full_line_refuses_and_a_closed_engine_ends_its_jobs(package: Path) -> None:
    async def work(engine: EmbeddingEngine) -> None:
        engine.set_gate(lambda: False)
        jobs = [asyncio.create_task(engine.embed(EmbeddingJob(str(n), ("a",)))) for n in range(34)]
        await asyncio.sleep(0.05)
        with pytest.raises(OverloadedError, match="34 jobs are waiting"):
            await engine.embed(EmbeddingJob("more", ("a",)))
        await engine.close()
        ends = await asyncio.gather(*jobs, return_exceptions=True)
        assert all(isinstance(end, UnavailableError) for end in ends)
        with pytest.raises(UnavailableError, match="closed"):
            await engine.embed(EmbeddingJob("late", ("a",)))

    with_engine(package, work, queue_limit=2)


def test_files_that_are_broken_or_of_another_kind_are_named(package: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        EmbeddingEngine.open(tmp_path)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes((package / "onnx" / "model.onnx").read_bytes())
    with pytest.raises(IntegrityError, match=r"tokenizer\.json"):
        EmbeddingEngine.open(tmp_path)
    with pytest.raises(ConfigurationError, match="max_batch is 0"):
        EmbeddingEngine.open(package, max_batch=0)
