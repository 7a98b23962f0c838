"""Reads a country's scenario from YAML: every key known, every number checked."""

from __future__ import annotations

import hashlib
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.build import Plan, build
from aigrid.twin.country.japan import REGIONS
from aigrid.twin.country.network import Network
from aigrid.twin.country.own import RadioCurve, known_shapes, read_radio_load, read_sites
from aigrid.twin.country.problems import Problems
from aigrid.twin.country.scenario import Country, Money, NetworkPath, RadioModel
from aigrid.twin.country.tables import Source
from aigrid.twin.country.traces import Trace, trace_of
from aigrid.twin.models.devices import known
from aigrid.twin.models.lengths import BY_NAME, fixed, from_counts
from aigrid.twin.models.service import Service, TokenLengths
from aigrid.twin.models.shapes import MINUTES
from aigrid.twin.scenario import read_yaml

TOWERS_LIMIT = 5_000_000
DAY_S = 86_400.0
_NUMBERS = ("minutes", "route_period_min", "place_period_min", "demand_spread", "bursts")
_MORE = ("burst_factor", "burst_min", "queue_limit")
KEYS = {"name", "sites", "devices", "services", "radio_shapes", "radio", "path", "money"}
OPTIONAL = {*_NUMBERS, *_MORE, "policies", "dials", "sources", "radio_load"}


def load_country(path: Path, seed: int) -> Country:
    """A country's scenario, its built-in sites placed by chance of `seed`.

    Raises:
        ConfigurationError: the file cannot be read, or holds something unknown or impossible.
    """
    problems = Problems()
    country = read_country(path, seed, problems)
    problems.raise_first(str(path))
    assert country is not None
    return country


def read_country(path: Path, seed: int, problems: Problems) -> Country | None:
    """`load_country`, that notes what is wrong with its tables; None where that is an error.

    Raises:
        ConfigurationError: the YAML itself cannot be used.
    """
    raw, origin = read_yaml(path), str(path)
    _keys(raw, KEYS, OPTIONAL, origin)
    radio = _record(RadioModel, raw["radio"], f"{origin}: radio")
    named = tuple(str(name) for name in raw["radio_shapes"])
    own = _Own(path, problems)
    curves = own.curves(raw)
    shapes = known_shapes(named, curves)
    network = own.network(raw["sites"], raw["devices"], shapes, curves, radio, seed)
    services = tuple(
        own.service(item, f"{origin}: services[{i}]") for i, item in enumerate(raw["services"])
    )
    if network is None or problems.errors:
        return None
    return Country(
        name=str(raw["name"]),
        network=network,
        devices=tuple(known(str(name)) for name in raw["devices"]),
        services=services,
        radio_curves={cell: curve.by_minute for cell, curve in curves.items()},
        demand_curves=own.demand,
        files_sha256=own.sha256(),
        radio_shapes=shapes,
        radio=radio,
        path=_record(NetworkPath, raw["path"], f"{origin}: path"),
        money=_record(Money, raw["money"], f"{origin}: money"),
        policies=tuple(str(name) for name in raw.get("policies", ("aigrid",))),
        dials={str(k): _number(v, f"{origin}: dials.{k}") for k, v in raw.get("dials", {}).items()},
        sources={str(key): str(text) for key, text in raw.get("sources", {}).items()},
        **{k: _number(raw[k], f"{origin}: {k}") for k in (*_NUMBERS, *_MORE) if k in raw},
    )


@dataclass(slots=True)
class _Own:
    """Reads the tables that a scenario names, beside it.

    Attributes:
        path: of the scenario.
        problems: hears what is wrong.
        demand: daily curves of services whose trace is a day or more.
        read: files that were read.
    """

    path: Path
    problems: Problems
    demand: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    read: list[Path] = field(default_factory=list)

    def file(self, name: Any, origin: str) -> Path:
        """A file beside the scenario."""
        found = self.path.parent / str(name)
        if not found.is_file():
            raise ConfigurationError(
                f"{origin} names {str(name)!r}, which is not beside {self.path.name}",
                next_step="give a path from the scenario's folder",
            )
        self.read.append(found)
        return found

    def sha256(self) -> str:
        """Of the contents of all of them, in the order they were read."""
        if not self.read:
            return ""
        whole = hashlib.sha256()
        for path in self.read:
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        return whole.hexdigest()

    def curves(self, raw: Any) -> dict[str, RadioCurve]:
        """Daily curves of cells of one's own."""
        if "radio_load" not in raw:
            return {}
        return read_radio_load(self.file(raw["radio_load"], "radio_load"), self.problems)

    def network(
        self,
        raw: Any,
        devices: Any,
        shapes: tuple[str, ...],
        curves: dict[str, RadioCurve],
        radio: RadioModel,
        seed: int,
    ) -> Network | None:
        """One's own sites, or the built-in country's."""
        if isinstance(raw, dict) and "file" in raw:
            _keys(raw, {"file"}, set(), f"{self.path}: sites")
            table, names = self.file(raw["file"], "sites"), tuple(str(n) for n in devices)
            return read_sites(table, names, shapes, curves, radio, self.problems)
        return build(_plan(raw, f"{self.path}: sites"), radio, shapes, seed)

    def service(self, raw: Any, origin: str) -> Service:
        """A service, its lengths and its day from a trace where it names one."""
        if not isinstance(raw, dict) or "trace" not in raw:
            return _service(raw, origin)
        rest = {key: value for key, value in raw.items() if key != "trace"}
        for given in ("prompt_tokens", "generated_tokens"):
            if given in rest:
                raise ConfigurationError(
                    f"{origin}: {given} beside a trace", next_step="leave one of the two out"
                )
        trace = trace_of(Source(self.file(raw["trace"], origin)), self.problems)
        if trace is None:
            return _service(rest | {"prompt_tokens": 1, "generated_tokens": 1}, origin)
        lengths: dict[str, Any] = {
            "prompt_tokens": _quantiles(trace.prompt_tokens),
            "generated_tokens": _quantiles(trace.output_tokens),
        }
        if len(trace.block_id) and "shared_prefix_tokens" not in rest:
            lengths["shared_prefix_tokens"] = float(shared_tokens(trace).mean())
        if trace.span_s >= DAY_S:
            self.demand[str(rest.get("name", ""))] = _by_minute(trace)
        return _service(rest | lengths, origin)


def _quantiles(counts: NDArray[np.int64]) -> list[float]:
    return list(from_counts(counts.astype(np.float64)).quantiles)


def shared_tokens(trace: Trace) -> NDArray[np.float64]:
    """(R,) leading tokens of each prompt that an earlier request of the trace had too."""
    seen: set[int] = set()
    shared = np.zeros(len(trace))
    for row in range(len(trace)):
        mine = trace.block_id[trace.block_start[row] : trace.block_start[row + 1]].tolist()
        kept = next((i for i, block in enumerate(mine) if block not in seen), len(mine))
        shared[row] = min(kept * trace.block_tokens, trace.prompt_tokens[row])
        seen.update(mine)
    return shared


def _by_minute(trace: Trace) -> NDArray[np.float64]:
    """Requests of each minute of the day over those of a mean one, from whole days, smoothed."""
    whole = trace.at_s[trace.at_s < trace.span_s // DAY_S * DAY_S]
    start_s = 0.0 if np.isnan(trace.start_s) else trace.start_s
    minute = ((whole + start_s) / 60.0).astype(np.int64) % MINUTES
    counts = np.bincount(minute, minlength=MINUTES).astype(np.float64)
    wide = np.concatenate((counts[-15:], counts, counts[:15]))
    smooth: NDArray[np.float64] = np.convolve(wide, np.full(31, 1.0 / 31.0), "valid")
    return smooth / max(float(smooth.mean()), 1e-12)


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
