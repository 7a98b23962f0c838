"""Puts one's own radio load on one's own sites, and says what does not fit together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.loads import Loads, busiest_hour
from aigrid.twin.country.network import TOWER, Network
from aigrid.twin.country.problems import Problems, instead, shown
from aigrid.twin.country.sites import Sites

SMALL_SHAPES = 127
NO_LOAD = np.zeros((0, 1440), np.float32)


def put_loads(
    sites: Sites,
    named: int,
    loads: Loads | None,
    shapes: tuple[str, ...],
    problems: Problems,
) -> tuple[Network, NDArray[np.float32]]:
    """The network with `shape` and `peak_load` from the loads, and the loads' curves.

    A tower's load is that of its own name; else the mean of its `cell_names`; else that of the
    cell that its `shape` names; else its `shape` and `peak_load` as stated.

    Args:
        sites: as read.
        named: how many of `shapes` are the scenario's.
        loads: typical days; None for none.
        shapes: the scenario's names, then those of cells.
        problems: hears what is wrong.
    """
    network = sites.network
    towers = network.kind == TOWER
    if loads is None:
        return network, NO_LOAD
    row_of = {str(name): row for row, name in enumerate(network.names)}
    of_site = np.full(len(network), -1, np.int64)
    used = np.zeros(len(loads.names), np.bool_)
    if loads.by == "site":
        part, peak = loads.part, loads.peak
        for at, name in enumerate(loads.names):
            row = row_of.get(name, -1)
            if row < 0 or not towers[row]:
                _unknown(loads, at, row, row_of, problems)
            else:
                of_site[row] = at
    else:
        part, peak = _of_cells(sites, loads, shapes, named, of_site, used)
        for curve in np.flatnonzero(~used):
            what = f"cell {shown(loads.names[curve])} belongs to no site"
            step = f"name it in `cell_names`, or as `shape`, of a tower in {sites.origin}"
            problems.error(loads.origin, int(loads.line[curve]), "cell", what, step)
    _tell(sites, loads, of_site >= 0, towers, problems)
    has = of_site >= 0
    shape = np.where(has, named + of_site, np.minimum(network.shape, max(named - 1, 0)))
    small = named + len(part) <= SMALL_SHAPES
    return replace(
        network,
        shape=shape.astype(np.int8) if small else shape.astype(np.int32),
        peak_load=np.where(has, np.clip(peak[of_site], 1e-6, 1.0), network.peak_load),
    ), np.ascontiguousarray(part)


def _unknown(
    loads: Loads, curve: int, row: int, row_of: dict[str, int], problems: Problems
) -> None:
    name = loads.names[curve]
    what = f"{shown(name)} is no tower" if row >= 0 else f"there is no site {shown(name)}"
    near = [known for known in row_of if known[:3] == name[:3]][:1000]
    step = instead(name, near) if near and row < 0 else "name towers of the table of sites"
    problems.error(loads.origin, int(loads.line[curve]), "site", what, step)


def _of_cells(
    sites: Sites,
    loads: Loads,
    shapes: tuple[str, ...],
    named: int,
    of_site: NDArray[np.int64],
    used: NDArray[np.bool_],
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Curves of sites: their cells' mean, or the cell that they name as shape."""
    at = {name: curve for curve, name in enumerate(loads.names)}
    owner = np.array([sites.cell_site.get(name, -1) for name in loads.names])
    owned = np.flatnonzero(owner >= 0)
    used[owned] = True
    rows, which = np.unique(owner[owned], return_inverse=True)
    load = loads.part * loads.peak[:, None].astype(np.float32)
    mean = np.zeros((len(rows), loads.part.shape[1]))
    np.add.at(mean, which, load[owned])
    mean /= np.maximum(np.bincount(which, minlength=len(rows)), 1)[:, None]
    of_site[rows] = np.arange(len(rows))
    lent = dict[int, int]()
    stated = sites.network.shape
    borrows = (sites.network.kind == TOWER) & (stated >= named) & (of_site < 0)
    for row in np.flatnonzero(borrows).tolist():
        curve = at[shapes[int(stated[row])]]
        used[curve] = True
        of_site[row] = lent.setdefault(curve, len(rows) + len(lent))
    every = np.concatenate((mean, load[list(lent)].astype(np.float64)))
    peak = busiest_hour(every)
    return (every / np.maximum(peak, 1e-6)[:, None]).astype(np.float32), peak


def _tell(
    sites: Sites,
    loads: Loads,
    has: NDArray[np.bool_],
    towers: NDArray[np.bool_],
    problems: Problems,
) -> None:
    without = np.flatnonzero(towers & ~has)
    if len(without):
        first = sites.network.names[without[0]]
        count = f"{len(without):,} of {int(towers.sum()):,} towers have no load in {loads.origin}"
        step = "give rows for them, or let it be: they have their `shape` and `peak_load`"
        line = int(sites.line[without[0]])
        problems.warn(sites.origin, line, "name", f"{count}, the first {first}", step)
    both = np.flatnonzero(has & sites.states_peak)
    if len(both):
        what = f"{len(both):,} towers state a peak_load and have rows in {loads.origin}"
        step = "the rows count; leave peak_load empty"
        problems.warn(sites.origin, int(sites.line[both[0]]), "peak_load", what, step)
