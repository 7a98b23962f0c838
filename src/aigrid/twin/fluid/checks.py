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
    held = (resident * ground.by_site(ground.memory_need_gb)).sum(axis=1)
    limit = np.array([kind.memory_gb for kind in ground.types])[ground.type_of]
    worst = int(np.argmax(held - limit))
    if held[worst] > limit[worst] * (1.0 + TOLERANCE):
        raise where.broken("memory", worst, f"{held[worst]:.3g} of {limit[worst]:.3g} GB")


def allowed(where: Where, placed: NDArray[np.bool_]) -> None:
    """No service stands where it may not: placed is (S, N)."""
    bad = np.argwhere(placed & ~where.ground.allowed)
    if len(bad):
        s, row = bad[0]
        name = where.ground.country.services[s].name
        raise where.broken("a service outside its regions or kinds", int(row), name)


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
    work, each_s = np.empty((2, BLOCK))
    most = MINUTE_S * (1.0 + tolerance)
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        kinds, each = type_of[begin:end], each_s[: end - begin]
        work[:], bad = 0.0, 0
        for s in range(len(served)):
            _of_kinds(work_s[s], kinds, each)
            bad += _add_work(served[s, begin:end], allowed[s, begin:end], each, work)
        bad += _beyond(share[begin:end], compute[begin:end], work, most)
        if bad > 0:
            for row in range(begin, end):
                one, at = slice(row, row + 1), row - begin
                wrong = _beyond(share[one], compute[one], work[at : at + 1], most)
                for s in range(len(served)):
                    wrong += int(served[s, row] > 0.0 and not allowed[s, row])
                if wrong > 0:
                    return row
    return -1


@njit(**_OPTIONS)
def _of_kinds(values, kinds, each):
    """A value of each row's kind; most blocks have one kind."""
    others = 0
    for at in range(len(kinds)):
        others += int(kinds[at] != kinds[0])
    each[:] = values[kinds[0]]
    if others > 0:
        for at in range(len(kinds)):
            each[at] = values[kinds[at]]


@njit(**_OPTIONS)
def _add_work(served, allowed, each_s, work):
    """Device seconds of a service's requests; at how many sites it may not be."""
    bad = 0
    for at in range(len(served)):
        work[at] += served[at] * each_s[at]
        bad += int((served[at] > 0.0) & (not allowed[at]))
    return bad


@njit(**_OPTIONS)
def _beyond(share, compute, work, most):
    bad = 0
    for at in range(len(share)):
        part = share[at]
        bad += int(not ((part >= 0.0) & (part <= 1.0) & (work[at] <= part * compute[at] * most)))
    return bad


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
