"""Embeddings of an upstream server: asked for, read in both forms, and never believed blindly."""

import asyncio
import base64
import json
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from aigrid.core.errors import InvalidRequestError, OverloadedError, TooLargeError, UnavailableError
from aigrid.core.package import ServiceSpec, UpstreamTarget
from aigrid.engines import upstream as module
from aigrid.engines.egress import Egress
from aigrid.engines.embedding import Embedder, EmbeddingJob, Embeddings
from aigrid.engines.load import load_engine

JOB = EmbeddingJob("j", ("one text", (4, 5, 6)))


class Allowed(Egress):
    """Loopback."""

    def check(self, target: UpstreamTarget) -> None:
        pass

    def socket(self, info: Any) -> Any:
        import socket

        return socket.socket(info[0], info[1], info[2])


def run_against(answer: Any, job: EmbeddingJob = JOB, status: int = 200) -> tuple[Embeddings, Any]:
    """What the engine makes of an answer, and what it had asked."""
    asked: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(await request.json())
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return web.Response(body=body, status=status, content_type="application/json")

    async def run() -> Embeddings:
        app = web.Application()
        app.router.add_post("/v1/embeddings", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        target = UpstreamTarget(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", "theirs")
        spec = ServiceSpec("e", "1", kind="embed", engine="upstream", upstream=target)
        engine = load_engine(spec, None, egress=Allowed())  # type: ignore[arg-type]
        assert isinstance(engine, Embedder)
        try:
            made = await asyncio.wait_for(engine.embed(job), 10)
            assert engine.load().prompt_tokens_total == made.prompt_tokens
            return made
        finally:
            await engine.close()
            await runner.cleanup()

    return asyncio.run(run()), asked[0]


def answered(*rows: Any, prompt_tokens: int = 5) -> dict[str, Any]:
    data = [{"object": "embedding", "index": at, "embedding": row} for at, row in rows]
    return {"object": "list", "data": data, "usage": {"prompt_tokens": prompt_tokens}}


def test_vectors_come_in_the_order_of_the_inputs_and_the_job_is_passed_on() -> None:
    job = EmbeddingJob("j", JOB.inputs, dimensions=2)
    made, asked = run_against(answered((1, [0.5, 0.25]), (0, [1, -2.5])), job)
    np.testing.assert_array_equal(made.vectors, np.float32([[1.0, -2.5], [0.5, 0.25]]))
    assert made.prompt_tokens == 5 and job.progress.inputs == 2
    assert asked == {
        "model": "theirs",
        "input": ["one text", [4, 5, 6]],
        "encoding_format": "float",
        "dimensions": 2,
    }


def test_a_server_that_sends_base64_whatever_it_is_asked_is_read_too() -> None:
    packed = base64.b64encode(np.float32([1.5, -2.0]).tobytes()).decode()
    made, asked = run_against(answered((0, packed), (1, packed)))
    np.testing.assert_array_equal(made.vectors, np.float32([[1.5, -2.0]] * 2))
    assert "dimensions" not in asked


@pytest.mark.parametrize(
    "answer",
    [
        b"{",
        {"data": []},
        answered((0, [1.0])),
        answered((0, [1.0]), (0, [1.0])),
        answered((0, [1.0]), (1, [1.0, 2.0])),
        answered((0, [1.0]), (1, ["x"])),
        answered((0, "AAA"), (1, "AAA")),
        answered((0, []), (1, [])),
        answered((0, [1e300]), (1, [1.0])),
    ],
)
def test_what_is_no_answer_to_the_job_is_unavailable(answer: Any) -> None:
    with pytest.raises(UnavailableError, match="embeddings that cannot be read"):
        run_against(answer)


def test_other_dimensions_than_were_asked_for_are_not_passed_off() -> None:
    with pytest.raises(UnavailableError, match="2 dimensions, 7 were asked for"):
        rows = answered((0, [1.0, 2.0]), (1, [1.0, 2.0]))
        run_against(rows, EmbeddingJob("j", JOB.inputs, dimensions=7))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidRequestError), (429, OverloadedError), (500, UnavailableError)],
)
def test_refusals_keep_their_meaning(status: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="too many inputs"):
        run_against({"error": {"message": "too many inputs"}}, status=status)


def test_an_answer_over_the_limit_is_not_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_LIMIT_BYTES", 1000)
    with pytest.raises(TooLargeError, match="over 1000 bytes"):
        run_against(answered((0, [0.5] * 500), (1, [0.5] * 500)))
