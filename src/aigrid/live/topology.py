"""The sites of a live grid: from a count, or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from aigrid.core.errors import ConfigurationError
from aigrid.core.site import SITE_KINDS, Cell, Site
from aigrid.radio.profile import DailyLoad
from aigrid.radio.topology import PlannedSite, sites_from_file

FILE_LIMIT_BYTES = 4 * 1024 * 1024
SITES_LIMIT = 64
SHAPES = ("home", "office", "transport")
# Nominal sizes of a site on one machine: what the orchestrator reckons with, not what is reserved.
_SIZES = {"factory": (2.0, 4096), "hub": (1.5, 2048), "tower": (1.0, 1024)}


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
    """Sites from a YAML file, see `radio.topology`.

    Raises:
        ConfigurationError: it cannot be read, is not YAML, or holds what is unknown or impossible.
    """
    planned = sites_from_file(_read(path), str(path))
    if len(planned) > SITES_LIMIT:
        raise ConfigurationError(
            f"{path}: {len(planned)} sites", next_step=f"one machine runs {SITES_LIMIT} at most"
        )
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
