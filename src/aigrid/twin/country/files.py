"""Reads a country's scenario from YAML: every key known, every number checked."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.build import Plan, build
from aigrid.twin.country.japan import REGIONS
from aigrid.twin.country.scenario import Country, Money, NetworkPath, RadioModel
from aigrid.twin.models.devices import known
from aigrid.twin.models.lengths import BY_NAME, fixed
from aigrid.twin.models.service import Service, TokenLengths
from aigrid.twin.scenario import read_yaml

TOWERS_LIMIT = 5_000_000
_NUMBERS = ("minutes", "route_period_min", "place_period_min", "demand_spread", "bursts")
_MORE = ("burst_factor", "burst_min", "queue_limit")
KEYS = {"name", "sites", "devices", "services", "radio_shapes", "radio", "path", "money"}
OPTIONAL = {*_NUMBERS, *_MORE, "policies", "dials", "sources"}


def load_country(path: Path, seed: int) -> Country:
    """A country's scenario, its built-in sites placed by chance of `seed`.

    Raises:
        ConfigurationError: the file cannot be read, or holds something unknown or impossible.
    """
    raw, origin = read_yaml(path), str(path)
    _keys(raw, KEYS, OPTIONAL, origin)
    radio = _record(RadioModel, raw["radio"], f"{origin}: radio")
    shapes = tuple(str(name) for name in raw["radio_shapes"])
    plan = _plan(raw["sites"], f"{origin}: sites")
    return Country(
        name=str(raw["name"]),
        network=build(plan, radio, shapes, seed),
        devices=tuple(known(str(name)) for name in raw["devices"]),
        services=tuple(
            _service(item, f"{origin}: services[{i}]") for i, item in enumerate(raw["services"])
        ),
        radio_shapes=shapes,
        radio=radio,
        path=_record(NetworkPath, raw["path"], f"{origin}: path"),
        money=_record(Money, raw["money"], f"{origin}: money"),
        policies=tuple(str(name) for name in raw.get("policies", ("aigrid",))),
        dials={str(k): _number(v, f"{origin}: dials.{k}") for k, v in raw.get("dials", {}).items()},
        sources={str(key): str(text) for key, text in raw.get("sources", {}).items()},
        **{k: _number(raw[k], f"{origin}: {k}") for k in (*_NUMBERS, *_MORE) if k in raw},
    )


def _plan(raw: Any, origin: str) -> Plan:
    _keys(raw, {"builtin"}, {f.name for f in fields(Plan)}, origin)
    if raw["builtin"] != "japan":
        raise ConfigurationError(
            f"{origin}: builtin is {raw['builtin']!r}", next_step="the built-in country is japan"
        )
    values = {k: v for k, v in raw.items() if k not in ("builtin", "regions")}
    numbers = {k: _number(v, f"{origin}.{k}") for k, v in values.items()}
    regions = tuple(str(r) for r in raw.get("regions", ()))
    if wrong := [r for r in regions if r not in REGIONS]:
        raise ConfigurationError(f"{origin}: regions has {wrong[0]!r}", next_step="JP-01 to JP-47")
    plan = Plan(**numbers, regions=regions)
    if not (len(REGIONS) <= plan.towers <= TOWERS_LIMIT and plan.towers_per_hub >= 1):
        raise ConfigurationError(
            f"{origin}: {plan.towers} towers, {plan.towers_per_hub} a hub",
            next_step=f"give {len(REGIONS)} to {TOWERS_LIMIT} towers and 1 or more a hub",
        )
    return plan


def _service(raw: Any, origin: str) -> Service:
    _keys(
        raw, {f.name for f in fields(Service) if f.default is MISSING}, _optional(Service), origin
    )
    values = dict(raw)
    for name in ("prompt_tokens", "generated_tokens"):
        values[name] = _lengths(raw[name], f"{origin}.{name}")
    for name in ("regions", "kinds"):
        values[name] = tuple(str(item) for item in raw.get(name, ()))
    for name, value in values.items():
        if name not in ("name", "shape", "regions", "kinds", "prompt_tokens", "generated_tokens"):
            values[name] = _number(value, f"{origin}.{name}")
    return Service(**values)


def _lengths(raw: Any, origin: str) -> TokenLengths:
    """Quantiles, the name of a table, or one number for every request."""
    if isinstance(raw, str):
        if raw not in BY_NAME:
            raise ConfigurationError(
                f"{origin} is {raw!r}", next_step=f"name one of {', '.join(BY_NAME)}"
            )
        return BY_NAME[raw]
    if not isinstance(raw, list):
        return fixed(float(_number(raw, origin)))
    counts = tuple(float(_number(item, origin)) for item in raw)
    if len(counts) < 2 or list(counts) != sorted(counts):
        raise ConfigurationError(f"{origin}: quantiles must rise", next_step="give 2 or more")
    return TokenLengths(counts)


def _record(kind: Any, raw: Any, origin: str) -> Any:
    """A dataclass of numbers."""
    required = {f.name for f in fields(kind) if f.default is MISSING}
    _keys(raw, required, _optional(kind), origin)
    return kind(**{key: _number(value, f"{origin}.{key}") for key, value in raw.items()})


def _optional(kind: Any) -> set[str]:
    return {f.name for f in fields(kind) if f.default is not MISSING}


def _keys(raw: Any, required: set[str], optional: set[str], origin: str) -> None:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{origin}: expected an object, got {type(raw).__name__}")
    if unknown := sorted(str(key) for key in raw if key not in required | optional):
        raise ConfigurationError(
            f"{origin}: unknown key {unknown[0]!r}",
            next_step=f"known: {', '.join(sorted(required | optional))}",
        )
    if missing := sorted(required - set(raw)):
        raise ConfigurationError(f"{origin}: {missing[0]} is missing", next_step="add it")


def _number(raw: Any, origin: str) -> Any:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw < float("inf"):
        raise ConfigurationError(f"{origin} is {raw!r}", next_step="give a number of 0 or more")
    return raw
