"""Which services are asked of each site, in which parts: the table that its latencies are read in.

How long a request waits depends on what else is asked of its site: a tower that gets no long
prompts answers sooner than one, as full, that does. So a site is read in a table made for its mix:
parts of it are rounded to eighths, and a table is made when a mix first occurs.

A part is of rate x the mean of the logarithms of what a service does to others: its work (it is in
turns with them), and the root mean square of its prefill (they wait for it, for that by the
square).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.twin.fluid.ground import Ground, SiteType
from aigrid.twin.fluid.responses import Responses
from aigrid.twin.fluid.tabulate import load_of_one, tabulated
from aigrid.twin.fluid.threads import Threads, parts
from aigrid.twin.models.batches import prefill_samples_s

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Parts that a mix has, over all services.
WHOLE = 8
# Mixes at most, and the part of a type's sites that must have one before a table is made for it;
# others are read in the nearest one.
MOST, RARE = 96, 5e-4


class Mixes:
    """Tables by type and mix, as they occur.

    Args:
        ground: what stays.
        responses: with the country's mix; further tables are kept in its `made` for others.

    Attributes:
        table_of: (N,) int16 table of each site; that of the country's mix until something is asked.
        place: (most, F) of `Responses`, as the next.
        kept: (S, most * V * L, 2, P).
    """

    def __init__(self, ground: Ground, responses: Responses) -> None:
        self._ground, self._base = ground, responses
        self._used = len(ground.types)
        most = self._used + MOST
        self._weight = np.array([_weights(ground, kind) for kind in ground.types])
        self._code = np.zeros(len(ground.type_of), np.int64)
        self._seen: dict[tuple[int, int], int] = {}
        self._sites: Counter[tuple[int, int]] = Counter()
        self._all = np.bincount(ground.type_of, minlength=len(ground.types))
        self._mix = np.zeros((most, len(ground.country.services)), np.int64)
        self._kind = np.zeros(most, np.int64)
        self._ttft = _longer(responses.ttft, 1, most)
        self._tpot = _longer(responses.tpot, 1, most)
        self.place = _longer(responses.place, 0, most)
        self.kept = _longer(responses.kept, 1, most * responses.each)
        self.table_of = ground.type_of.astype(np.int16)

    @property
    def responses(self) -> Responses:
        """With a table for each mix so far."""
        used = self._used
        return replace(
            self._base,
            ttft=self._ttft[:, :used],
            tpot=self._tpot[:, :used],
            place=self.place[:used],
            kept=self.kept[:, : used * self._base.each],
        )

    @property
    def most_points(self) -> int:
        """Operating points of all tables that there may be."""
        return int(self.kept.shape[1])

    def follow(self, arrive: Floats, threads: Threads) -> None:
        """Read each site in the table of what is sent to it from now on.

        Args:
            arrive: (S, N) requests a second.
            threads: to share work.
        """
        type_of, columns = self._ground.type_of, (0,) * len(arrive)
        code = np.zeros_like(self._code)

        def one(rows: slice) -> None:
            encode(rows.start, rows.stop, type_of, arrive, self._weight, code, columns)

        threads.each(one, parts(slice(0, len(code))))
        changed = np.flatnonzero((code != self._code) & (code != 0))
        before = self._code.copy()
        self._code[changed] = code[changed]
        for kind in range(len(self._ground.types)):
            rows = changed[type_of[changed] == kind]
            for old, count in zip(*np.unique(before[rows], return_counts=True), strict=True):
                self._sites[kind, int(old)] -= int(count)
            self._read(kind, rows, code[rows], arrive)

    def _read(self, kind: int, rows: Rows, code: Rows, arrive: Floats) -> None:
        """Set the tables of sites of one type whose mix is another now."""
        codes, first, of, counts = np.unique(
            code, return_index=True, return_inverse=True, return_counts=True
        )
        mixes, tables = np.zeros((len(codes), len(arrive)), np.int64), np.zeros_like(codes)
        for at, one in enumerate(codes):
            rounded(arrive[:, rows[first[at]]] * self._weight[kind], mixes[at])
            key = (kind, int(one))
            self._sites[key] += int(counts[at])
            is_common = self._sites[key] > RARE * self._all[kind]
            if key not in self._seen and is_common and self._used < len(self._kind):
                self._seen[key] = self._add(key, mixes[at])
                here = (self._ground.type_of == kind) & (self._code == one)
                self.table_of[here] = self._seen[key]
        for at, one in enumerate(codes):
            table = self._seen.get((kind, int(one)))
            tables[at] = self._nearest(kind, mixes[at]) if table is None else table
        self.table_of[rows] = tables[of]

    def _add(self, key: tuple[int, int], mix: NDArray[np.int64]) -> int:
        made, kind, weight = self._base.made, key[0], self._weight[key[0]]
        if key not in made:
            asked = np.divide(mix, weight, out=np.zeros_like(weight), where=weight > 0.0)
            rates = load_of_one(self._ground.types[kind], asked)
            turns, path_ms = self._base.turns, self._base.path_ms
            made[key] = tabulated(self._ground, turns, path_ms, kind, rates)
        table, at, each = made[key], self._used, self._base.each
        self._ttft[:, at], self._tpot[:, at] = table.ttft, table.tpot
        self.place[at] = table.place
        self.kept[:, at * each : (at + 1) * each] = table.kept
        self._mix[at], self._kind[at] = mix, kind
        self._used += 1
        return at

    def _nearest(self, kind: int, mix: NDArray[np.int64]) -> int:
        apart = np.abs(self._mix - mix).sum(axis=1)
        apart[(self._kind != kind) | (self._mix.sum(axis=1) == 0)] = 2 * WHOLE
        return int(np.argmin(apart)) if apart.min() < 2 * WHOLE else kind


def _longer(values: NDArray[Any], axis: int, length: int) -> NDArray[Any]:
    """The same with zeros after them, along one axis."""
    shape = list(values.shape)
    shape[axis] = length
    found = np.zeros(shape, values.dtype)
    np.moveaxis(found, axis, 0)[: values.shape[axis]] = np.moveaxis(values, axis, 0)
    return found


def _weights(ground: Ground, kind: SiteType) -> Floats:
    """(S,) of a request: the geometric mean of its work and its prefill's root mean square."""
    found = np.zeros(len(kind.costs))
    for s, (cost, service) in enumerate(zip(kind.costs, ground.country.services, strict=True)):
        if cost is not None:
            prefill = prefill_samples_s(cost, service.prompt_tokens)
            found[s] = np.sqrt(cost.work_s * np.sqrt((prefill * prefill).mean()))
    return found


@njit(**_OPTIONS)
def encode(first, last, type_of, arrive, weight, code, columns):  # type: ignore[no-untyped-def]
    """A number for the mix of each site of the rows `first` to `last`; 0 where nothing is asked.

    Args:
        first: row.
        last: row after the last.
        type_of: (N,).
        arrive: (S, N) requests a second.
        weight: (T, S) of a request.
        code: (N,) int64 to fill.
        columns: S values, any: a tuple's length is known when this is compiled.
    """
    share, mix = np.zeros(len(columns)), np.zeros(len(columns), np.int64)
    for row in range(first, last):
        total = 0.0
        for s in range(len(columns)):
            share[s] = arrive[s, row] * weight[type_of[row], s]
            total += share[s]
        code[row] = 0
        if total <= 0.0:
            continue
        rounded(share, mix)
        for s in range(len(columns)):
            code[row] = code[row] * (WHOLE + 1) + mix[s]


@njit(**_OPTIONS)
def rounded(share, mix):  # type: ignore[no-untyped-def]
    """Fill `mix` with whole parts that sum to `WHOLE`, by largest remainder; zeros for nothing."""
    total, left = 0.0, WHOLE
    for s in range(len(share)):
        total += share[s]
        mix[s] = 0
    if total <= 0.0:
        return
    scale = WHOLE / total
    for s in range(len(share)):
        mix[s] = int(share[s] * scale)
        left -= mix[s]
    while left > 0:
        best, most = 0, -1.0
        for s in range(len(share)):
            over = share[s] * scale - mix[s]
            if over > most:
                best, most = s, over
        mix[best] += 1
        left -= 1
