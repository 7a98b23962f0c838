"""The sites of a live grid: from a count, or from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from aigrid.core.codec import from_plain
from aigrid.core.errors import ConfigurationError
from aigrid.core.site import SITE_KINDS, Cell, Site
from aigrid.radio.profile import DailyLoad, LoadProfile

FILE_LIMIT_BYTES = 4 * 1024 * 1024
SITES_LIMIT = 64
SHAPES = ("home", "office", "transport")
# Nominal sizes of a site on one machine: what the orchestrator reckons with, not what is reserved.
_SIZES = {"factory": (2.0, 4096), "hub": (1.5, 2048), "tower": (1.0, 1024)}
_PROFILE: TypeAdapter[LoadProfile] = TypeAdapter(LoadProfile)


@dataclass(frozen=True, slots=True)
class PlannedSite:
    """A site to run, and the load that its cells' radio shall see."""

    site: Site
    profile: Any = field(default=None)


def from_counts(text: str) -> tuple[PlannedSite, ...]:
    """Sites from `factories,hubs,towers`, e.g. `1,1,2`; each under the first of the kind above.

    Raises:
        ConfigurationError: not three counts, or too many sites.
    """
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise ConfigurationError(
            f"--sites {text!r} is not three counts", next_step="give FACTORIES,HUBS,TOWERS: 1,1,2"
        )
    counts = [int(part) for part in parts]
    if not 1 <= sum(counts) <= SITES_LIMIT:
        raise ConfigurationError(
            f"--sites {text!r} makes {sum(counts)} sites", next_step=f"ask for 1 to {SITES_LIMIT}"
        )
    planned: list[PlannedSite] = []
    for kind, count in zip(SITE_KINDS, counts, strict=True):
        parents = [p.site.name for p in planned if p.site.kind == _above(kind, counts)]
        for number in range(1, count + 1):
            parent = parents[(number - 1) % len(parents)] if parents else ""
            planned.append(_plan(kind, number, parent))
    return tuple(planned)


def _above(kind: str, counts: list[int]) -> str:
    """The kind that stands above: a tower hangs under a hub where there is one."""
    if kind == "tower" and counts[1]:
        return "hub"
    return "factory" if kind != "factory" else ""


def _plan(kind: str, number: int, parent: str) -> PlannedSite:
    cores, memory_mb = _SIZES[kind]
    is_tower = kind == "tower"
    site = Site(
        name=f"{kind}-{number}",
        kind=kind,
        region="local",
        compute_cores=cores,
        memory_mb=memory_mb,
        parent=parent,
        cells=(Cell("cell-1"),) if is_tower else (),
    )
    shape = SHAPES[(number - 1) % len(SHAPES)]
    profile = DailyLoad(kind="daily", shape=shape, day_s=1200.0, start_h=9.0, peak=0.6)  # type: ignore[arg-type]
    return PlannedSite(site, profile if is_tower else None)


def from_file(path: Path) -> tuple[PlannedSite, ...]:
    """Sites from a YAML file.

    Under `sites:` stand objects with the fields of `core.site.Site` and, for towers, `profile:`
    (see `radio.profile`).

    Raises:
        ConfigurationError: it cannot be read, is not YAML, or holds what is unknown or impossible.
    """
    raw = _read(path)
    if not isinstance(raw, dict) or set(raw) - {"name", "sites"} or "sites" not in raw:
        raise ConfigurationError(
            f"{path}: expected `sites:` (and maybe `name:`) at the top",
            next_step="see scenarios/local.yaml",
        )
    if not isinstance(raw["sites"], list) or not 1 <= len(raw["sites"]) <= SITES_LIMIT:
        raise ConfigurationError(f"{path}: sites must be a list of 1 to {SITES_LIMIT}")
    planned = tuple(_read_site(s, f"{path}: sites[{i}]") for i, s in enumerate(raw["sites"]))
    _check_names([p.site for p in planned], path)
    return planned


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > FILE_LIMIT_BYTES:
            raise ConfigurationError(f"{path} is over {FILE_LIMIT_BYTES} bytes")
        return yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        line = str(error).splitlines()[0]
        raise ConfigurationError(
            f"topology {path} cannot be read: {line}", next_step="give a YAML file"
        ) from error


def _read_site(raw: Any, origin: str) -> PlannedSite:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{origin}: expected an object, got {raw!r}")
    values = {key: value for key, value in raw.items() if key != "profile"}
    site = from_plain(Site, values, origin)
    if site.kind not in SITE_KINDS:
        raise ConfigurationError(
            f"{origin}: kind {site.kind!r}", next_step=f"use one of {', '.join(SITE_KINDS)}"
        )
    return PlannedSite(site, _read_profile(raw.get("profile"), site, origin))


def _read_profile(raw: Any, site: Site, origin: str) -> Any:
    if raw is None:
        return DailyLoad(kind="daily") if site.cells else None
    if not site.cells:
        raise ConfigurationError(
            f"{origin}: profile without cells", next_step="add cells or drop it"
        )
    try:
        return _PROFILE.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{origin}: profile {where}: {first['msg']}") from error


def _check_names(sites: Sequence[Site], path: Path) -> None:
    names = [site.name for site in sites]
    for name in names:
        if not name or not name.replace("-", "").replace("_", "").isalnum() or len(name) > 63:
            raise ConfigurationError(
                f"{path}: site name {name!r}", next_step="use letters, digits, - and _, 63 at most"
            )
        if names.count(name) > 1:
            raise ConfigurationError(f"{path}: site {name!r} stands there twice")
    for site in sites:
        if site.parent and site.parent not in names:
            raise ConfigurationError(
                f"{path}: parent {site.parent!r} of {site.name!r} is not there",
                next_step=f"sites: {', '.join(names)}",
            )
