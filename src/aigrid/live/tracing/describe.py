"""What spans say of requests, answers and engines, by OpenTelemetry's conventions for GenAI."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import replace

from aigrid.core.errors import AigridError
from aigrid.engines.embedding import EmbeddingJob
from aigrid.engines.engine import Chunk, Job, JobTimes
from aigrid.live.attempt import Attempt
from aigrid.live.tracing import Span

NAME_LIMIT = 128
_OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/v1/responses": "chat",
}


def request(span: Span, attempt: Attempt, tenant: str) -> None:
    """Who asks for what; never with which words."""
    span.set(
        {
            "gen_ai.operation.name": _OPERATIONS.get(attempt.path, "chat"),
            "gen_ai.request.model": attempt.service[:NAME_LIMIT],
            "aigrid.request_id": attempt.request_id,
            "aigrid.stream": attempt.stream,
            "aigrid.tenant": tenant,
        }
    )


def usage(span: Span, prompt_tokens: int, completion_tokens: int, ended: str) -> None:
    """What it came to."""
    span.set(
        {
            "gen_ai.usage.input_tokens": prompt_tokens,
            "gen_ai.usage.output_tokens": completion_tokens,
            "aigrid.ended": ended,
        }
    )


def watched(span: Span, job: Job, *, chat: bool, model: str) -> tuple[Job, Span]:
    """A job whose engine notes its times, and the span of its generation."""
    operation = "chat" if chat else "text_completion"
    told: dict[str, str | int | float | bool] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "aigrid",
        "gen_ai.request.model": model[:NAME_LIMIT],
        "gen_ai.request.temperature": job.sampling.temperature,
        "gen_ai.request.top_p": job.sampling.top_p,
        "aigrid.delivered_tokens": len(job.delivered),
    }
    if job.sampling.max_tokens is not None:
        told["gen_ai.request.max_tokens"] = job.sampling.max_tokens
    generating = span.begin(f"{operation} {model[:NAME_LIMIT]}", told)
    return replace(job, times=JobTimes(), traceparent=generating.traceparent), generating


def embedding(span: Span, job: EmbeddingJob, model: str) -> tuple[EmbeddingJob, Span]:
    """A job whose engine notes its times, and the span of its work."""
    told: dict[str, str | int | float | bool] = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "aigrid",
        "gen_ai.request.model": model[:NAME_LIMIT],
        "aigrid.inputs": len(job.inputs),
    }
    if job.dimensions is not None:
        told["gen_ai.embeddings.dimension.count"] = job.dimensions
    working = span.begin(f"embeddings {model[:NAME_LIMIT]}", told)
    return replace(job, times=JobTimes(), traceparent=working.traceparent), working


def embedded(span: Span, job: EmbeddingJob, begun_ns: int, prompt_tokens: int, fault: str) -> None:
    """End the span of an embedding: how long it queued, and how long it was read."""
    times, now_ns = job.times or JobTimes(), time.time_ns()
    span.begin("queue", at_ns=begun_ns).end(max(begun_ns, times.fill_ns or now_ns))
    if times.fill_ns:
        span.begin("prefill", at_ns=times.fill_ns).end(now_ns)
    span.set({"gen_ai.usage.input_tokens": prompt_tokens})
    if fault:
        span.fail(fault)
    span.end()


async def generation(
    span: Span, job: Job, chunks: AsyncGenerator[Chunk, None]
) -> AsyncGenerator[Chunk, None]:
    """Pass an engine's chunks on; at the end tell how long it queued, filled and decoded."""
    begun_ns, first_ns, last = time.time_ns(), 0, Chunk("", 0, 0)
    fault = "left"
    try:
        async for chunk in chunks:
            first_ns = first_ns or time.time_ns()
            last = chunk
            yield chunk
    except AigridError as error:
        fault = error.code
        raise
    finally:
        await chunks.aclose()
        _phases(span, job.times or JobTimes(), begun_ns, first_ns)
        _told(span, last, first_ns, begun_ns)
        if last.finish_reason is None:
            span.fail(fault)
        span.end()


def _phases(span: Span, times: JobTimes, begun_ns: int, first_ns: int) -> None:
    """Each begins where the one before ends; what was never reached has no span."""
    now_ns = time.time_ns()
    fill_ns, first_ns = times.fill_ns, times.first_ns or first_ns
    marks = [("queue", begun_ns), ("prefill", fill_ns), ("decode", first_ns)]
    reached = [(name, at_ns) for name, at_ns in marks if at_ns]
    ends = [at_ns for _, at_ns in reached[1:]] + [now_ns]
    for (name, at_ns), end_ns in zip(reached, ends, strict=True):
        span.begin(name, at_ns=at_ns).end(max(at_ns, end_ns))


def _told(span: Span, last: Chunk, first_ns: int, begun_ns: int) -> None:
    span.set(
        {
            "gen_ai.usage.input_tokens": last.prompt_tokens,
            "gen_ai.usage.output_tokens": last.completion_tokens,
        }
    )
    if first_ns:
        span.set({"gen_ai.response.time_to_first_chunk": (first_ns - begun_ns) / 1e9})
    if last.finish_reason is not None:
        span.set({"gen_ai.response.finish_reasons": [last.finish_reason]})
