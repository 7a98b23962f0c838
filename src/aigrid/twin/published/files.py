"""Reads `scenarios/published/*.yaml` and sets our results beside the published ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aigrid.core.errors import ConfigurationError, NotFoundError
from aigrid.twin.published import doubters, economics, four_sites, radio_only, reclaim
from aigrid.twin.published.inputs import Inputs
from aigrid.twin.report.setting import Published
from aigrid.twin.scenario import read_yaml

KEYS = {"kind", "source", "inputs", "results"}
_RESULT_KEYS = {"key", "name", "published", "unit", "why"}
FILES_LIMIT = 100
# Name of a kind to what computes its results, by key.
COMPUTE: dict[str, Callable[[Inputs], dict[str, float]]] = {
    "four-sites": four_sites.compute,
    "economics": economics.compute,
    "reclaim": reclaim.compute,
    "radio-only": radio_only.compute,
    "doubters": doubters.compute,
}


def results(folder: Path) -> list[Published]:
    """Every published result of a folder beside ours, files in order of their names.

    Args:
        folder: of YAML files, 100 at most.

    Raises:
        NotFoundError: there is no such folder, or no file in it.
        ConfigurationError: a file holds something unknown or impossible.
    """
    found = sorted(folder.glob("*.yaml"))
    if not found:
        raise NotFoundError(f"no published results in {folder}", next_step="give another folder")
    if len(found) > FILES_LIMIT:
        raise ConfigurationError(f"{folder} has {len(found)} files, more than {FILES_LIMIT}")
    return [row for path in found for row in _rows(path)]


def _rows(path: Path) -> list[Published]:
    raw, where = read_yaml(path), str(path)
    if not isinstance(raw, Mapping) or set(raw) != KEYS:
        raise ConfigurationError(f"{where}: expected {', '.join(sorted(KEYS))} at the top")
    if raw["kind"] not in COMPUTE:
        raise ConfigurationError(
            f"{where}: kind is {raw['kind']!r}", next_step=f"use one of {', '.join(COMPUTE)}"
        )
    if not isinstance(raw["results"], list) or not raw["results"]:
        raise ConfigurationError(f"{where}: results must be a list of one or more")
    inputs = Inputs(raw["inputs"], where)
    ours = COMPUTE[raw["kind"]](inputs)
    inputs.refuse_unused()
    return [_row(item, ours, f"{where}: results[{i}]") for i, item in enumerate(raw["results"])]


def _row(item: Any, ours: Mapping[str, float], where: str) -> Published:
    if not isinstance(item, Mapping) or set(item) != _RESULT_KEYS:
        raise ConfigurationError(f"{where}: expected {', '.join(sorted(_RESULT_KEYS))}")
    if item["key"] not in ours:
        raise ConfigurationError(
            f"{where}: key is {item['key']!r}", next_step=f"use one of {', '.join(ours)}"
        )
    # Some only say `small` or `large`: then there is nothing to differ from.
    stated = item["published"]
    if stated is not None and (isinstance(stated, bool) or not isinstance(stated, int | float)):
        raise ConfigurationError(f"{where}: published is {stated!r}, neither a number nor null")
    value = math.nan if stated is None else float(stated)
    mine = float(ours[item["key"]])
    apart = (mine - value) / abs(value) if math.isfinite(value) and value else math.nan
    return Published(
        str(item["name"]), value, mine, str(item["unit"]), apart, " ".join(str(item["why"]).split())
    )
