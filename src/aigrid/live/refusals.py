"""How refusals look in our OpenAPI documents: one body for all, OpenAI's."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

STATUSES = {
    400: "not a request of this API",
    401: "no key, or one that nobody holds",
    403: "the key, its tenant or a rule forbids it",
    404: "nothing has this name",
    408: "not sent to its end in time",
    409: "in use, there already, or in a state that forbids it",
    413: "over a limit",
    422: "a package that is damaged or not signed, or data that cannot be used",
    429: "a quota is used up or every line is full; see Retry-After",
    431: "a head over its limit",
    503: "nobody can answer now; see Retry-After",
    507: "the disk is full",
}


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every refusal."""

    error: ErrorDetail


def responses() -> dict[int | str, dict[str, Any]]:
    """For FastAPI: every refusal of every operation."""
    return {s: {"model": ErrorBody, "description": said} for s, said in STATUSES.items()}
