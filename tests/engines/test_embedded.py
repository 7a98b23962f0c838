"""The embedded engine as a site uses it."""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import asynccontextmanager

import numpy as np
import pytest

from aigrid.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
)
from aigrid.engines.embedded import EmbeddedEngine
from aigrid.engines.engine import Job, Message, Sampling

GREEDY = Sampling(max_tokens=24, temperature=0)
PROMPTS = ["the grid carries", "a radio slot", "naïve café", "x", "bytes that are no ASCII " * 2]


@asynccontextmanager
async def opened(model_dir, **options):
    engine = EmbeddedEngine.open(model_dir, **options)
    engine._intake._eos = frozenset()  # a random model would end at random
    try:
        yield engine
    finally:
        await engine.close()


async def collect(engine, prompt, sampling=GREEDY):
    return [c async for c in engine.generate(Job("j", sampling, prompt=prompt))]


async def answer(engine, prompt, sampling=GREEDY):
    return "".join(c.text for c in await collect(engine, prompt, sampling))


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  gauges have no event to wait for
            await asyncio.sleep(0.002)


def test_greedy_equals_transformers(model_dir):
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(model_dir).eval()
    prompt = [5, 9, 100, 42]
    wanted = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, 4),
        max_new_tokens=20,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )[0, 4:].tolist()
    sampling = Sampling(max_tokens=20, temperature=0, logprobs=True)

    async def run():
        async with opened(model_dir) as engine:
            return await collect(engine, tuple(prompt), sampling)

    chunks = asyncio.run(run())
    assert [entry.token_id for c in chunks for entry in c.logprobs] == wanted
    assert chunks[-1].finish_reason == "length"
    assert (chunks[-1].prompt_tokens, chunks[-1].completion_tokens) == (4, 20)
    assert all(c.finish_reason is None for c in chunks[:-1])


def test_together_equals_alone(model_dir):
    async def run():
        async with opened(model_dir, max_batch=3) as engine:
            alone = [await answer(engine, p) for p in PROMPTS]
            together = await asyncio.gather(*(answer(engine, p) for p in PROMPTS))
            return alone, list(together), engine.load()

    alone, together, load = asyncio.run(run())
    assert alone == together
    assert (load.running, load.waiting, load.jobs_total) == (0, 0, 2 * len(PROMPTS))
    assert load.tokens_total == 2 * len(PROMPTS) * GREEDY.max_tokens


def test_a_seed_repeats_whatever_the_company(model_dir):
    seeded = Sampling(max_tokens=24, temperature=0.9, top_p=0.95, seed=11)

    async def run():
        async with opened(model_dir) as engine:
            alone = await answer(engine, "the grid", seeded)
            noise = [answer(engine, p, Sampling(max_tokens=30)) for p in PROMPTS]
            among, *_ = await asyncio.gather(answer(engine, "the grid", seeded), *noise)
            other = await answer(engine, "the grid", Sampling(max_tokens=24, seed=12))
            return alone, among, other

    alone, among, other = asyncio.run(run())
    assert alone == among
    assert alone != other


def test_logprobs_come_with_ranked_alternatives_that_sum_to_less_than_one(model_dir):
    sampling = Sampling(max_tokens=8, temperature=0, logprobs=True, top_logprobs=5)

    async def run():
        async with opened(model_dir) as engine:
            chunks = await collect(engine, "the grid", sampling)
            ids = engine._intake._vocabulary.encode("the grid", special=True)
            entries = [entry for c in chunks for entry in c.logprobs]
            scored = engine.score(ids + [entry.token_id for entry in entries])
            return entries, scored[len(ids) - 1 :]

    entries, scored = asyncio.run(run())
    assert len(entries) == 8
    for entry, logprob in zip(entries, scored, strict=True):
        assert entry.logprob == pytest.approx(logprob, abs=1e-3)
        assert entry.top[0] == (entry.token, entry.logprob)
        assert math.fsum(math.exp(p) for _, p in entry.top) <= 1 + 1e-9


def test_a_stop_string_ends_the_answer_before_it(model_dir):
    async def run():
        async with opened(model_dir) as engine:
            whole = await answer(engine, "a radio")
            stop = whole[7:12]
            stopped = await collect(
                engine, "a radio", Sampling(max_tokens=24, temperature=0, stop=(stop,))
            )
            return whole, stop, stopped

    whole, stop, stopped = asyncio.run(run())
    assert "".join(c.text for c in stopped) == whole[: whole.find(stop)]
    assert stopped[-1].finish_reason == "stop"
    assert stopped[-1].completion_tokens < 24


def test_an_end_token_stops_the_answer(model_dir):
    async def run():
        async with opened(model_dir) as engine:
            sampling = Sampling(max_tokens=10, temperature=0, logprobs=True)
            chunks = await collect(engine, "the grid", sampling)
            third = [entry.token_id for c in chunks for entry in c.logprobs][2]
            engine._intake._eos = frozenset([third])
            return await collect(engine, "the grid", sampling)

    chunks = asyncio.run(run())
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].completion_tokens <= 3


def test_an_answer_fills_the_context_and_no_more(model_dir):
    async def run():
        async with opened(model_dir) as engine:
            chunks = await collect(engine, tuple(range(5, 85)), Sampling(temperature=0))
            return engine.context_tokens, chunks[-1]

    context, last = asyncio.run(run())
    assert last.prompt_tokens + last.completion_tokens == context
    assert last.finish_reason == "length"


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (tuple(range(5, 101)), "the prompt has 96 tokens and the context holds 96"),
        ("x" * 100_000, "100000 characters"),
        ("", "empty"),
        ((), "empty"),
        ((1, 10_000), "token ids run from 1 to 10000"),
        ((-1, 5), "token ids run from -1 to 5"),
    ],
)
def test_prompts_that_cannot_be_are_refused(model_dir, prompt, message):
    async def run():
        async with opened(model_dir) as engine:
            await collect(engine, prompt)

    with pytest.raises(InvalidRequestError, match=message):
        asyncio.run(run())


def test_chat_messages_go_through_the_template(model_dir):
    async def run():
        async with opened(model_dir) as engine:
            job = Job("j", GREEDY, messages=(Message("user", "hello"),))
            chat = "".join([c.text async for c in engine.generate(job)])
            ids = engine._intake._vocabulary.encode("<|user|>hello\n<|assistant|>", special=False)
            return chat, await answer(engine, tuple(ids))

    chat, plain = asyncio.run(run())
    assert chat == plain


def test_closing_the_iterator_frees_its_place(model_dir):
    async def run():
        async with opened(model_dir, max_batch=1) as engine:
            stream = engine.generate(Job("j", Sampling(temperature=0), prompt="x"))
            await anext(stream)
            waiting = asyncio.create_task(answer(engine, "a radio"))
            await stream.aclose()
            text = await asyncio.wait_for(waiting, 10)
            await until(lambda: engine.load().running == 0)
            return text, await answer(engine, "a radio")

    after_cancel, alone = asyncio.run(run())
    assert after_cancel == alone


def test_cancelled_neighbours_do_not_disturb(model_dir):
    async def run():
        async with opened(model_dir, max_batch=4) as engine:
            alone = [await answer(engine, p) for p in PROMPTS]
            for turn in range(6):
                doomed = [
                    engine.generate(Job("d", Sampling(temperature=0), prompt=p))
                    for p in PROMPTS[:3]
                ]
                await anext(doomed[turn % 3])
                kept = asyncio.gather(*(answer(engine, p) for p in PROMPTS))
                for stream in doomed:
                    await asyncio.sleep(0.001)
                    await stream.aclose()
                assert list(await kept) == alone

    asyncio.run(run())


def test_share_zero_pauses_and_resumes(model_dir):
    async def run():
        async with opened(model_dir) as engine:
            alone = await answer(engine, "the grid")
            engine.set_share(0)
            await asyncio.sleep(0.03)
            before = engine.load().tokens_total
            task = asyncio.create_task(answer(engine, "the grid"))
            await asyncio.sleep(0.1)
            assert engine.load().tokens_total == before
            assert not task.done()
            engine.set_share(0.5)
            return alone, await asyncio.wait_for(task, 10)

    alone, resumed = asyncio.run(run())
    assert alone == resumed


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_shares_that_cannot_be_are_refused(model_dir, share):
    async def run():
        async with opened(model_dir) as engine:
            engine.set_share(share)

    with pytest.raises(ConfigurationError, match="share is"):
        asyncio.run(run())


def test_the_gate_holds_the_engine(model_dir):
    async def run():
        async with opened(model_dir) as engine:
            gate = threading.Event()
            engine.set_gate(gate.is_set)
            task = asyncio.create_task(answer(engine, "the grid"))
            await asyncio.sleep(0.05)
            assert engine.load().tokens_total == 0
            gate.set()
            await asyncio.wait_for(task, 10)
            return engine.load().tokens_total

    assert asyncio.run(run()) == GREEDY.max_tokens


def test_a_full_line_refuses(model_dir):
    async def run():
        async with opened(model_dir, max_batch=1, queue_limit=2) as engine:
            engine.set_share(0)
            tasks = [asyncio.create_task(answer(engine, "x")) for _ in range(3)]
            await until(lambda: engine.load().running == 1 and engine.load().waiting == 2)
            with pytest.raises(OverloadedError, match="2 jobs are waiting"):
                await answer(engine, "x")
            tasks[2].cancel()
            await until(lambda: engine.load().waiting == 1)
            engine.set_share(1)
            await asyncio.gather(*tasks[:2])

    asyncio.run(run())


def test_close_ends_jobs_in_flight_and_refuses_new_ones(model_dir):
    async def run():
        async with opened(model_dir, max_batch=1) as engine:
            engine.set_share(0)
            tasks = [asyncio.create_task(answer(engine, "x")) for _ in range(3)]
            await until(lambda: engine.load().waiting == 2)
            await engine.close()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(e) for e in ended] == [UnavailableError] * 3
            with pytest.raises(UnavailableError, match="closed"):
                await answer(engine, "x")

    asyncio.run(run())


def test_a_crash_in_the_worker_ends_every_job(model_dir):
    async def run():
        async with opened(model_dir) as engine:

            def crash(*_):
                raise RuntimeError("out of everything")

            engine._decoder.decode = crash
            jobs = [answer(engine, p) for p in PROMPTS]
            ended = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 10)
            assert all(isinstance(e, UnavailableError) for e in ended)
            with pytest.raises(UnavailableError, match="out of everything"):
                await answer(engine, "x")

    asyncio.run(run())


def test_score_is_the_log_probability_of_each_next_token(model_dir):
    async def run():
        async with opened(model_dir) as engine:
            scored = engine.score([5, 9, 100, 42])
            with pytest.raises(InvalidRequestError, match="1 tokens to score"):
                engine.score([5])
            return scored

    scored = asyncio.run(run())
    assert scored.shape == (3,)
    assert np.all(scored < 0)


@pytest.mark.parametrize("option", ["threads", "max_batch"])
def test_options_out_of_range_are_refused(model_dir, option):
    with pytest.raises(ConfigurationError, match=f"{option} is 0"):
        EmbeddedEngine.open(model_dir, **{option: 0})


def test_a_tokenizer_of_another_model_is_refused(model_dir, tmp_path):
    import shutil

    from tokenizers import Tokenizer

    other = shutil.copytree(model_dir, tmp_path / "other")
    tokenizer = Tokenizer.from_file(str(other / "tokenizer.json"))
    tokenizer.add_tokens(["extra"])
    tokenizer.save(str(other / "tokenizer.json"))
    with pytest.raises(ConfigurationError, match="do not belong together"):
        EmbeddedEngine.open(other)


@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        Sampling(max_tokens=24, temperature=1.0, seed=11),
        Sampling(max_tokens=24, temperature=0, stop=("zz never",)),
    ],
    ids=["greedy", "seeded", "stop"],
)
def test_an_answer_goes_on_behind_what_was_delivered(model_dir, sampling):
    async def run():
        async with opened(model_dir, max_batch=3) as engine:
            whole = await collect(engine, PROMPTS[2], sampling)
        ids = tuple(token for c in whole for token in c.tokens)
        texts = {}
        made, shown = 0, ""
        for c in whole[:-1]:
            made, shown = made + len(c.tokens), shown + c.text
            texts[made] = shown
        async with opened(model_dir, max_batch=3) as other:
            disturbance = asyncio.create_task(answer(other, PROMPTS[0]))
            for made, shown in texts.items():
                job = Job("r", sampling, prompt=PROMPTS[2], delivered=ids[:made])
                rest = [c async for c in other.generate(job)]
                assert shown + "".join(c.text for c in rest) == "".join(c.text for c in whole)
                assert tuple(t for c in rest for t in c.tokens) == ids[made:]
                assert rest[-1].completion_tokens == whole[-1].completion_tokens == len(ids)
                assert rest[-1].finish_reason == whole[-1].finish_reason
            await disturbance

    asyncio.run(run())


def test_all_was_delivered_but_the_end(model_dir):
    async def run():
        async with opened(model_dir) as engine:
            whole = await collect(engine, PROMPTS[0])
            ids = tuple(token for c in whole for token in c.tokens)
            job = Job("r", GREEDY, prompt=PROMPTS[0], delivered=ids)
            return [c async for c in engine.generate(job)], len(ids)

    (end,), made = asyncio.run(run())
    assert (end.text, end.finish_reason, end.completion_tokens) == ("", "length", made)


def test_delivered_tokens_must_fit_the_request(model_dir):
    async def run(delivered):
        async with opened(model_dir) as engine:
            job = Job("r", Sampling(max_tokens=2, temperature=0), prompt="x", delivered=delivered)
            return [c async for c in engine.generate(job)]

    with pytest.raises(InvalidRequestError, match="3 tokens were delivered and the limit is 2"):
        asyncio.run(run((1, 2, 3)))
    with pytest.raises(InvalidRequestError, match="token ids"):
        asyncio.run(run((1, 9_999_999)))


def test_a_kept_prefix_spares_its_prefill_and_changes_nothing(model_dir):
    shared = tuple(range(5, 5 + 70))  # one whole piece of 64 and a bit
    prompts = [(*shared, 100 + n) for n in range(4)]

    async def run(prefixes):
        async with opened(model_dir, prefixes=prefixes) as engine:
            answers = [
                await collect(engine, p, Sampling(max_tokens=8, temperature=0)) for p in prompts
            ]
            return [[c.tokens for c in a] for a in answers], engine.load().prompt_tokens_total

    with_shelf, fed = asyncio.run(run(2))
    without, fed_without = asyncio.run(run(0))
    flat = [[t for ids in a for t in ids] for a in with_shelf]
    assert flat == [[t for ids in a for t in ids] for a in without]
    assert fed_without == 4 * 71
    assert fed == 71 + 3 * 7
