"""Which services are asked of each site, in which parts: the table that its latencies are read in.

How long a request waits depends on what else is asked of its site: a tower that gets no long
prompts answers sooner than one, as full, that does. So a site is read in a table made for its mix:
parts of it are rounded to eighths, and a table is made when a mix first occurs.

A part is of rate x the mean of the logarithms of what a service does to others: its work (it is in
turns with them), and the root mean square of its prefill (they wait for it, for that by the
square).
"""

from __future__ import annotations

from dataclasses import replace
from math import comb
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
Counts = NDArray[np.int64]
# A type and a mix's number.
Key = tuple[int, int]
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Parts that a mix has, over all services.
WHOLE = 8
# Mixes at most, and the part of a type's sites that must have one before a table is made for it;
# others are read in the nearest one.
MOST, RARE = 96, 5e-4
# Sites that are looked at together, within the reach of a processor's cache.
BLOCK = 512


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
        self._before = places_before(len(ground.country.services))
        self._parts_of: dict[int, Counts] = {}
        self._code = np.zeros(len(ground.type_of), np.int32)
        self._fresh = np.zeros(len(ground.type_of), np.bool_)
        shape = len(ground.types), 1 + number_of(len(ground.country.services))
        self._sites, self._seen = np.zeros(shape, np.int64), np.full(shape, -1)
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
        code, fresh = self._code, self._fresh
        rows = parts(slice(0, len(code)))

        def take(part: slice) -> Counts:
            moved = np.zeros((2, *self._sites.shape), np.int64)
            encode(
                part.start,
                part.stop,
                type_of,
                arrive,
                self._weight,
                self._before,
                code,
                fresh,
                moved,
                columns,
            )
            return moved

        came, left = np.array(threads.each(take, rows)).sum(axis=0)
        self._sites -= left
        table, is_new = self._tables(came, threads)
        threads.each(
            lambda part: read(
                part.start, part.stop, type_of, code, fresh, table, is_new, self.table_of
            ),
            rows,
        )

    def _tables(self, came: Counts, threads: Threads) -> tuple[Counts, NDArray[np.bool_]]:
        """The table of each type and mix that sites came to, and whether it is made just now."""
        self._sites += came
        new = self._new(came)
        threads.each(self._make, [key for key in new if key not in self._base.made])
        is_new = np.zeros(came.shape, np.bool_)
        for key in new:
            self._seen[key] = self._add(key)
            is_new[key] = True
        table = self._seen.copy()
        for kind in range(len(came)):
            others = np.flatnonzero((came[kind] > 0) & (self._seen[kind] < 0))
            table[kind, others] = self._nearest(kind, others)
        return table, is_new

    def _new(self, came: Counts) -> list[Key]:
        """Types and mixes that sites came to, and that so many have by now that a table is made."""
        is_common = self._sites > RARE * self._all[:, np.newaxis]
        kinds, codes = np.nonzero((came > 0) & (self._seen < 0) & is_common)
        found = list(zip(kinds.tolist(), codes.tolist(), strict=True))
        return found[: len(self._kind) - self._used]

    def _make(self, key: Key) -> None:
        kind, weight = key[0], self._weight[key[0]]
        asked = np.divide(
            self._parts(key[1]), weight, out=np.zeros_like(weight), where=weight > 0.0
        )
        rates = load_of_one(self._ground.types[kind], asked)
        turns, path_ms = self._base.turns, self._base.path_ms
        self._base.made[key] = tabulated(self._ground, turns, path_ms, kind, rates)

    def _add(self, key: Key) -> int:
        table, at, each = self._base.made[key], self._used, self._base.each
        self._ttft[:, at], self._tpot[:, at] = table.ttft, table.tpot
        self.place[at] = table.place
        self.kept[:, at * each : (at + 1) * each] = table.kept
        self._mix[at], self._kind[at] = self._parts(key[1]), key[0]
        self._used += 1
        return at

    def _parts(self, code: int) -> Counts:
        """(S,) of a mix; found once."""
        if code not in self._parts_of:
            self._parts_of[code] = parts_of(code, self._before)
        return self._parts_of[code]

    def _nearest(self, kind: int, codes: Counts) -> Counts:
        """The table of each mix whose parts are the least apart; the country's, if none is near."""
        used = slice(0, self._used)
        mix = np.array([self._parts(int(code)) for code in codes]).reshape(-1, self._mix.shape[1])
        apart = np.abs(self._mix[np.newaxis, used] - mix[:, np.newaxis]).sum(axis=2)
        apart[:, (self._kind[used] != kind) | (self._mix[used].sum(axis=1) == 0)] = 2 * WHOLE
        nearest = np.argmin(apart, axis=1)
        return np.where(apart.min(axis=1) < 2 * WHOLE, nearest, kind)


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


def number_of(services: int) -> int:
    """Mixes of so many services that there are: ways to give `WHOLE` parts out."""
    return comb(WHOLE + services - 1, services - 1)


def places_before(services: int) -> Counts:
    """(S, WHOLE + 1, WHOLE + 1) mixes that come before one, in the order of their parts.

    At [s, left, part]: with `left` parts for the services from `s` on, those that give `s` fewer
    than `part`. The sum over services is a mix's place among all.
    """
    found = np.zeros((services, WHOLE + 1, WHOLE + 1), np.int64)
    for s in range(services - 1):
        after = services - 2 - s
        for left in range(WHOLE + 1):
            ways = [comb(left - part + after, after) for part in range(left)]
            found[s, left, 1 : left + 1] = np.cumsum(ways)
    return found


def parts_of(code: int, before: Counts) -> Counts:
    """(S,) parts of the mix that `encode` calls `code`, 1 or more."""
    place, left = code - 1, WHOLE
    mix = np.zeros(len(before), np.int64)
    for s in range(len(before) - 1):
        mix[s] = np.searchsorted(before[s, left, : left + 1], place, side="right") - 1
        place -= before[s, left, mix[s]]
        left -= mix[s]
    mix[-1] = left
    return mix


@njit(**_OPTIONS)
def encode(  # type: ignore[no-untyped-def]
    first, last, type_of, arrive, weight, before, code, fresh, moved, columns
):
    """Number the mix of each site of the rows `first` to `last`; where nothing is asked, it stays.

    Args:
        first: row.
        last: row after the last.
        type_of: (N,).
        arrive: (S, N) requests a second.
        weight: (T, S) of a request.
        before: of `places_before`.
        code: (N,) one more than the mix's place among all, to change; 0 until something is asked.
        fresh: (N,) whether it is another now, to fill.
        moved: (2, T, 1 + M) sites by type and mix that came to it, and that left it; added to.
        columns: S values, any: a tuple's length is known when this is compiled.
    """
    share, mix = np.empty((len(columns), BLOCK)), np.empty((len(columns), BLOCK), np.int64)
    total = np.empty(BLOCK)
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        total[:] = 0.0
        for s in range(len(columns)):
            for at in range(end - begin):
                share[s, at] = arrive[s, begin + at] * weight[type_of[begin + at], s]
                total[at] += share[s, at]
        _rounded(share, total, end - begin, mix, columns)
        for at in range(end - begin):
            row, now, left = begin + at, 1, WHOLE
            for s in range(len(columns)):
                now += before[s, left, mix[s, at]]
                left -= mix[s, at]
            fresh[row] = total[at] > 0.0 and now != code[row]
            if fresh[row]:
                moved[0, type_of[row], now] += 1
                moved[1, type_of[row], code[row]] += 1
                code[row] = now


@njit(**_OPTIONS)
def read(first, last, type_of, code, fresh, table, is_new, found):  # type: ignore[no-untyped-def]
    """Set the tables of sites whose mix is another now, or has one of its own now.

    Args:
        first: row.
        last: row after the last.
        type_of: (N,).
        code: of `encode`.
        fresh: of it.
        table: (T, 1 + M) by type and mix.
        is_new: (T, 1 + M) whether that is made just now.
        found: (N,) to change.
    """
    for row in range(first, last):
        kind, mix = type_of[row], code[row]
        if fresh[row] or is_new[kind, mix]:
            found[row] = table[kind, mix]


@njit(**_OPTIONS)
def _rounded(share, total, mixes, mix, columns):  # type: ignore[no-untyped-def]
    """Fill `mix` with whole parts that sum to `WHOLE`, by largest remainder; zeros for nothing.

    Args:
        share: (S, M) parts, to change.
        total: (M,) their sums.
        mixes: how many of the M are looked at.
        mix: (S, M) to fill.
        columns: S values, any: a tuple's length is known when this is compiled.
    """
    left = np.empty(mixes, np.int64)
    for at in range(mixes):
        left[at] = WHOLE if total[at] > 0.0 else 0
    for s in range(len(columns)):
        for at in range(mixes):
            part = share[s, at] * (WHOLE / total[at]) if total[at] > 0.0 else 0.0
            mix[s, at] = int(part)
            share[s, at] = part - int(part)
            left[at] -= int(part)
    # One more for those whose remainder comes before that of enough others.
    for s in range(len(columns)):
        for at in range(mixes):
            ahead = 0
            for other in range(len(columns)):
                its, mine = share[other, at], share[s, at]
                ahead += (its > mine) | ((its == mine) & (other < s))
            mix[s, at] += ahead < left[at]
