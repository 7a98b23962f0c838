# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""Rules that no minute of any run may break; they are checked in all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.core.errors import AigridError
from aigrid.twin.fluid.ground import Ground

Floats = NDArray[np.float64]
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Of rounding, relative.
TOLERANCE = 1e-7
MINUTE_S = 60.0
# Rows that are looked at together.
BLOCK = 1024


class RuleBrokenError(AigridError):
    """The twin did what the grid must never do: a fault of aigrid, not of its user."""

    exit_code = 70
    code = "rule_broken"


@dataclass(frozen=True, slots=True)
class Where:
    """What a broken rule is told with.

    Attributes:
        policy: that ran.
        minute: of the run.
        ground: with the sites' names.
    """

    policy: str
    minute: int
    ground: Ground

    def broken(self, rule: str, row: int, value: str) -> RuleBrokenError:
        """The error to raise; row -1 for the whole country."""
        site = "all sites" if row < 0 else f"site {self.ground.network.names[row]}"
        return RuleBrokenError(
            f"policy {self.policy}, minute {self.minute}, {site}: {rule}: {value}",
            next_step="report it with the scenario and the seed, and do not trust the rehearsal",
        )


def conserved(
    where: Where, came: Floats, served: Floats, refused: Floats, before: Floats, after: Floats
) -> None:
    """Requests in = served + refused + change of those in flight, for each service.

    Args:
        where: it happened.
        came: (S,) requests of the minute.
        served: (S,).
        refused: (S,).
        before: (S,) in flight at its start.
        after: (S,) at its end.
    """
    rest = before + came - served - refused - after
    scale = np.maximum(before + came, 1.0)
    worst = int(np.argmax(np.abs(rest) / scale))
    if not abs(rest[worst]) <= TOLERANCE * scale[worst]:
        name = where.ground.country.services[worst].name
        raise where.broken("requests are not conserved", -1, f"{rest[worst]:g} {name} left over")


def in_memory(where: Where, resident: NDArray[np.bool_]) -> None:
    """No site holds more than its memory: resident is (N, S)."""
    ground = where.ground
    limit = np.array([kind.memory_gb for kind in ground.types])
    worst, held = _fullest(resident, ground.memory_need_gb, limit, ground.type_of)
    most = limit[ground.type_of[worst]]
    if held > most * (1.0 + TOLERANCE):
        raise where.broken("memory", worst, f"{held:.3g} of {most:.3g} GB")


@njit(**_OPTIONS)
def _fullest(resident, need_gb, limit_gb, type_of):
    """The site that holds most above its memory, or least below it, and what it holds."""
    worst, most, most_over = 0, 0.0, -np.inf
    for row in range(len(resident)):
        held, kind = 0.0, type_of[row]
        for s in range(resident.shape[1]):
            held += need_gb[s, kind] if resident[row, s] else 0.0
        if held - limit_gb[kind] > most_over:
            worst, most, most_over = row, held, held - limit_gb[kind]
    return worst, most


def allowed(where: Where, placed: NDArray[np.bool_]) -> None:
    """No service stands where it may not: placed is (S, N)."""
    s, row = _misplaced(placed, where.ground.allowed)
    if row >= 0:
        name = where.ground.country.services[s].name
        raise where.broken("a service outside its regions or kinds", row, name)


@njit(**_OPTIONS)
def _misplaced(placed, allowed):
    """The first service and site where it stands and may not; -1 for none."""
    for s in range(len(placed)):
        for row in range(placed.shape[1]):
            if placed[s, row] and not allowed[s, row]:
                return s, row
    return -1, -1


def within_compute(where: Where, share: Floats, served: Floats, rows: slice) -> None:
    """No site works more than its share, and none serves what it may not.

    Args:
        where: it happened.
        share: (N,) of compute for AI.
        served: (S, N) requests of the minute.
        rows: to look at.
    """
    ground = where.ground
    row = _over_compute(
        rows.start,
        rows.stop,
        share,
        ground.compute,
        served,
        ground.work_s,
        ground.type_of,
        ground.allowed,
        TOLERANCE,
    )
    if row >= 0:
        work = float((served[:, row] * ground.work_s[:, ground.type_of[row]]).sum()) / MINUTE_S
        limit = share[row] * ground.compute[row]
        bad = [
            s.name
            for s, some, may in zip(
                ground.country.services, served[:, row], ground.allowed[:, row], strict=True
            )
            if some > 0.0 and not may
        ]
        if bad:
            raise where.broken("a request outside its allowed regions", row, ", ".join(bad))
        raise where.broken("compute", row, f"{work:.4g} of {limit:.4g} devices used by AI")


@njit(**_OPTIONS)
def _over_compute(first, last, share, compute, served, work_s, type_of, allowed, tolerance):
    """The first row that is over, -1 for none; one by one only where a block has one."""
    work = np.empty(BLOCK)
    most = MINUTE_S * (1.0 + tolerance)
    for begin in range(first, last, BLOCK):
        rows = slice(begin, min(begin + BLOCK, last))
        kinds, sums = type_of[rows], work[: rows.stop - begin]
        is_mixed, bad = _differ(kinds), 0
        sums[:] = 0.0
        for s in range(len(served)):
            some = served[s, rows]
            if is_mixed:
                _add_mixed(some, work_s[s], kinds, sums)
            else:
                _add_alike(some, work_s[s, kinds[0]], sums)
            bad |= _forbidden(some, allowed[s, rows])
        if bad | _beyond(share[rows], compute[rows], sums, most):
            for row in range(begin, rows.stop):
                one, at = slice(row, row + 1), row - begin
                wrong = _beyond(share[one], compute[one], sums[at : at + 1], most)
                for s in range(len(served)):
                    wrong |= _forbidden(served[s, one], allowed[s, one])
                if wrong:
                    return row
    return -1


@njit(**_OPTIONS)
def _differ(kinds):
    """Whether rows are of several kinds; most blocks have one."""
    found = 0
    for at in range(len(kinds)):
        found |= kinds[at] ^ kinds[0]
    return found != 0


@njit(**_OPTIONS)
def _add_alike(served, each_s, work):
    """Device seconds of a service's requests at sites of one kind."""
    for at in range(len(served)):
        work[at] += served[at] * each_s


@njit(**_OPTIONS)
def _add_mixed(served, each_s, kinds, work):
    """Device seconds of a service's requests, by what they take at each kind."""
    for at in range(len(served)):
        work[at] += served[at] * each_s[kinds[at]]


@njit(**_OPTIONS)
def _forbidden(served, allowed):
    """1 where a service serves at a site at which it may not be."""
    found = np.int64(0)
    for at in range(len(served)):
        found |= np.int64(served[at] > 0.0) & np.int64(not allowed[at])
    return found


@njit(**_OPTIONS)
def _beyond(share, compute, work, most):
    """1 where a share is none, or where its sites work more than it."""
    found = np.int64(0)
    for at in range(len(share)):
        part = share[at]
        is_right = (part >= 0.0) & (part <= 1.0) & (work[at] <= part * compute[at] * most)
        found |= np.int64(not is_right)
    return found


def radio_first(
    where: Where, share: Floats, need: Floats, blocked: NDArray[np.bool_], rows: slice
) -> None:
    """AI is never given what the radio is known to need.

    Args:
        where: it happened.
        share: (N,) given to AI.
        need: (N,) devices that the policy reckons the radio needs.
        blocked: (N,) where AI must be off.
        rows: to look at.
    """
    ground = where.ground
    row = _short(
        rows.start,
        rows.stop,
        share,
        need,
        blocked,
        ground.compute,
        ground.has_radio,
        TOLERANCE,
    )
    if row >= 0:
        told = f"share {share[row]:.4g} of {ground.compute[row]:.4g} devices, need {need[row]:.4g}"
        raise where.broken("radio short by choice", row, told)


@njit(**_OPTIONS)
def _short(first, last, share, need, off, compute, has_radio, tolerance):
    """The first row that is short, -1 for none; one by one only where some row is."""
    here = slice(first, last)
    columns = share[here], need[here], off[here], compute[here], has_radio[here]
    if _count_short(*columns, tolerance) > 0:
        for row in range(first, last):
            one = slice(row, row + 1)
            few = share[one], need[one], off[one], compute[one], has_radio[one]
            if _count_short(*few, tolerance) > 0:
                return row
    return -1


@njit(**_OPTIONS)
def _count_short(share, need, off, compute, has_radio, tolerance):
    bad = 0
    for at in range(len(share)):
        given = share[at] * compute[at]
        most = compute[at] - need[at] + tolerance * compute[at]
        bad += int(has_radio[at] & (share[at] > 0.0) & (off[at] | (not given <= most)))
    return bad
