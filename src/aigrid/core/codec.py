"""Events and commands to JSON objects and back, driven by their type hints."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, get_args, get_origin, get_type_hints

from aigrid.core.errors import ConfigurationError
from aigrid.core.events import COMMAND_TYPES, EVENT_TYPES
from aigrid.core.routing import RoutingTable

# Counters live in int64 columns.
INT_LIMIT = 2**63

_TYPES: dict[str, Any] = {noun.__name__: noun for noun in (*EVENT_TYPES, *COMMAND_TYPES)}


def encode(value: Any) -> dict[str, Any]:
    """An event or command as a JSON object; its class name stands under `type`."""
    return {"type": type(value).__name__, **_plain_fields(value)}


def decode(raw: Any, origin: str) -> Any:
    """The event or command that `encode` wrote.

    Args:
        raw: decoded JSON.
        origin: where it came from, for the error's message.

    Raises:
        ConfigurationError: an unknown type or key, a missing key, or a value of the wrong type.
    """
    kind = raw.get("type") if isinstance(raw, dict) else None
    if kind not in _TYPES:
        raise ConfigurationError(
            f"{origin}: {kind!r} is neither an event nor a command",
            next_step=f"known types: {', '.join(sorted(_TYPES))}",
        )
    return from_plain(_TYPES[kind], {k: v for k, v in raw.items() if k != "type"}, origin)


def to_plain(value: Any) -> Any:
    """Nested dataclasses and tuples as dicts and lists."""
    if isinstance(value, RoutingTable):
        return value.to_dict()
    if is_dataclass(value):
        return _plain_fields(value)
    if isinstance(value, tuple | list):
        return [to_plain(v) for v in value]
    return value


def from_plain(noun: Any, raw: Any, origin: str) -> Any:
    """Build `noun` (a dataclass, tuple or scalar type) from plain values, refusing what is odd.

    Raises:
        ConfigurationError: see `decode`.
    """
    if noun is RoutingTable:
        return RoutingTable.from_dict(raw)
    if is_dataclass(noun):
        return _build(noun, raw, origin)
    if get_origin(noun) is tuple and isinstance(raw, list | tuple):
        return tuple(from_plain(get_args(noun)[0], item, origin) for item in raw)
    if noun is float and isinstance(raw, int | float) and not isinstance(raw, bool):
        return _finite(raw, origin)
    if isinstance(noun, type) and isinstance(raw, noun) and isinstance(raw, bool) == (noun is bool):
        return _bounded(raw, origin) if isinstance(raw, int) else raw
    raise ConfigurationError(
        f"{origin}: {str(raw)[:80]!r} is not of type {getattr(noun, '__name__', noun)}"
    )


def _finite(raw: float, origin: str) -> float:
    """JSON as Python reads it has NaN and Infinity; columns and kernels have not."""
    if abs(raw) < INT_LIMIT and math.isfinite(raw):
        return float(raw)
    raise ConfigurationError(f"{origin}: {str(raw)[:80]} is not a finite number")


def _bounded(raw: int, origin: str) -> int:
    if -INT_LIMIT <= raw < INT_LIMIT:
        return raw
    raise ConfigurationError(f"{origin}: {str(raw)[:80]} does not fit in 64 bits")


def _plain_fields(value: Any) -> dict[str, Any]:
    return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}


@lru_cache(maxsize=64)
def _hints(noun: Any) -> dict[str, Any]:
    return get_type_hints(noun)


def _build(noun: Any, raw: Any, origin: str) -> Any:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{origin}: expected an object for {noun.__name__}, got {raw!r}")
    hints = _hints(noun)
    for key in raw:
        if key not in hints:
            raise ConfigurationError(
                f"{origin}: unknown key {key!r} in {noun.__name__}",
                next_step=f"known keys: {', '.join(sorted(hints))}",
            )
    values = {k: from_plain(hints[k], v, f"{origin}.{k}") for k, v in raw.items()}
    try:
        return noun(**values)
    except TypeError as error:
        raise ConfigurationError(f"{origin}: {error}") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin}: {error.message}", next_step=error.next_step) from error
