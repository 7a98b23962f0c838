"""What the fields of OpenAI requests are made of, and how a wrong one is named."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from aigrid.core.errors import InvalidRequestError


class RequestFieldError(InvalidRequestError):
    """A field of a request is wrong; `param` names it as the OpenAI error body does."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str = "", next_step: str = ""
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.param = param
        self.code = code or InvalidRequestError.code


class Strict(BaseModel):
    """Refuses unknown keys, and values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def field_error(kind: type[BaseModel], error: ValidationError) -> RequestFieldError:
    """The first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(kind.model_fields)) if len(first["loc"]) == 1 else ""
        return RequestFieldError(
            f"unknown key {where!r}",
            param=where,
            code="unknown_parameter",
            next_step=f"known keys: {known}" if known else "leave it out",
        )
    if first["type"] == "missing":
        return RequestFieldError(f"{where} is missing", param=where, next_step="add it")
    reason = first["msg"].removeprefix("Value error, ")
    return RequestFieldError(f"{where} is {short(first['input'])}: {reason}", param=where)


def unsupported(name: str, value: Any) -> RequestFieldError:
    """A parameter that is known, and cannot be had."""
    return RequestFieldError(
        f"{name} is {short(value)}, which is not supported",
        param=name,
        code="unsupported_parameter",
        next_step=f"leave {name} out",
    )


def short(value: Any) -> str:
    """A value in a message."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
