"""The site above each site: as its row states, else the nearest one of a higher kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.control.neighbours import DEPTH_LIMIT, EARTH_RADIUS_KM
from aigrid.core.site import SITE_KINDS
from aigrid.twin.country.network import FACTORY, HUB, TOWER
from aigrid.twin.country.problems import Problems, instead, shown
from aigrid.twin.country.tables import Table, Texts, each, warn_each

# Of a tower to its hub; fibre to a place further off is no longer the hub's own ring.
FAR_KM = 100.0
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def parents_of(
    table: Table, kind: Ints, stated: Texts, place: Floats, problems: Problems
) -> Ints | None:
    """(N,) row of the site above each, -1 for factories; None where something is wrong.

    A tower's is a hub or a factory, a hub's a factory or another hub.

    Args:
        table: of the sites, with `name`.
        kind: (N,) index into `SITE_KINDS`; -1 where it is unknown.
        stated: names of the sites above.
        place: (N, 2) latitude and longitude, degrees.
        problems: hears what is wrong.
    """
    before = problems.count
    parent = _named(table, kind, stated, problems)
    if problems.count > before or np.any(kind < 0) or not np.all(np.isfinite(place)):
        return None
    vectors, far = _vectors(place), np.full(len(kind), -1.0)
    for lower in (HUB, TOWER):
        open_ = np.flatnonzero((kind == lower) & (parent < 0))
        upper = np.flatnonzero(kind == (HUB if lower == TOWER and np.any(kind == HUB) else FACTORY))
        if len(open_) and len(upper):
            parent[open_], far[open_] = _nearest(vectors[upper], vectors[open_], upper)
    _check_circles(table, parent, problems)
    if problems.count > before:
        return None
    _warn_far(table, kind, parent, vectors, far >= 0.0, problems)
    _warn_idle(table, kind, parent, problems)
    return parent


def _named(table: Table, kind: Ints, stated: Texts, problems: Problems) -> Ints:
    names = table.texts["name"]
    wanted = {value for value in stated.values if value}
    codes = {value: code for code, value in enumerate(names.values) if value in wanted}
    row_of = np.full(len(names.values), -1, np.int64)
    row_of[names.code[::-1]] = np.arange(len(names.code))[::-1]
    above = np.full(len(stated.values), -1, np.int64)
    upper = [names.values[c] for c in names.code[np.flatnonzero((kind == HUB) | (kind == FACTORY))]]
    for at, value in enumerate(stated.values):
        if value in codes:
            above[at] = row_of[codes[value]]
        elif value:
            rows = np.flatnonzero(stated.code == at)
            step = instead(value, upper) if len(upper) < 1000 else "name a site of this file"
            each(table, rows, "parent", f"there is no site {shown(value)}", step, problems)
    parent: Ints = above[stated.code].copy()
    up = np.where(parent >= 0, kind[parent], -1)
    allowed = (up < kind) | ((up == HUB) & (kind == HUB))
    for row in np.flatnonzero((parent >= 0) & (kind >= 0) & (up >= 0) & ~allowed):
        what = f"a {SITE_KINDS[kind[row]]} below a {SITE_KINDS[up[row]]}"
        step = "towers stand below hubs or factories, hubs below factories or hubs"
        each(table, np.array([row]), "parent", what, step, problems)
    return parent


def _check_circles(table: Table, parent: Ints, problems: Problems) -> None:
    above = parent.copy()
    for _ in range(DEPTH_LIMIT - 2):
        above = np.where(above >= 0, parent[above], -1)
        if np.all(above < 0):
            return
    what = f"its way up is a circle, or over {DEPTH_LIMIT - 2} sites long"
    each(table, np.flatnonzero(above >= 0), "parent", what, "name another parent", problems)


def _vectors(place: Floats) -> Floats:
    """Points on a sphere of radius 1: (N, 3)."""
    lat, lon = np.radians(place).T
    return np.stack((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)), axis=1)


def _nearest(upper: Floats, lower: Floats, rows: Ints) -> tuple[Ints, Floats]:
    from scipy.spatial import cKDTree

    chord, at = cKDTree(upper).query(lower)
    return rows[at], np.asarray(chord, np.float64)


def _warn_far(
    table: Table,
    kind: Ints,
    parent: Ints,
    vectors: Floats,
    found: NDArray[np.bool_],
    problems: Problems,
) -> None:
    chord = np.linalg.norm(vectors - vectors[np.maximum(parent, 0)], axis=1)
    km = 2.0 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2.0, 1.0))

    def what(row: int) -> str:
        above = SITE_KINDS[kind[parent[row]]]
        which = f"the nearest {above}" if found[row] else f"its {above}"
        return f"{which}, {table.text('name', int(parent[row]))}, is {km[row]:,.0f} km away"

    rows = np.flatnonzero((kind == TOWER) & (parent >= 0) & (km > FAR_KM))
    step = "see its position, or add a hub nearby"
    warn_each(table, rows, "parent", what, step, problems)


def _warn_idle(table: Table, kind: Ints, parent: Ints, problems: Problems) -> None:
    has = np.bincount(parent[parent >= 0], minlength=len(kind)) > 0
    rows = np.flatnonzero((kind == HUB) & ~has)
    step = "name it as `parent` of its towers, or leave it out"
    warn_each(table, rows, "name", lambda _: "a hub without towers", step, problems)
