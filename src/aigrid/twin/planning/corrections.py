"""From where a rehearsal fell short to what has to be planned differently: pure decisions.

The orchestrator fills the nearest sites first and lets every service stand wherever it fits, so
that a site gets more, and other, requests than the plan meant for it. Each site's day is looked at
as pairs of load and promises kept. A site that would keep its promises at lower loads gets as many
devices more as bring its day there; one that would not at any load must have another device, or
none. A service is mended where most of its shortfall is, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.models.money import DAYS_A_YEAR
from aigrid.twin.models.shapes import MINUTES
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.options import able_of
from aigrid.twin.planning.seen import Seen
from aigrid.twin.planning.solution import Solution, loads
from aigrid.twin.planning.towers import Towers

Floats = NDArray[np.float64]
# Part of a service's shortfall that is mended, where it is largest: the rest is small change.
MENDED = 0.9
# Devices for one, that a round may ask for at most; and at least, so that rounds get somewhere.
MOST_MORE, LEAST_MORE = 4.0, 1.05
# A site that was sent less than this part of what it was planned to serve is counted on for less.
TAKEN = 0.8
_STEPS = np.geomspace(LEAST_MORE, MOST_MORE, 41)
MORE, OTHER, TOWERS, NONE = "more devices", "another device", "fewer towers", "nothing helps"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A place that keeps too few promises of a service.

    Attributes:
        site: row of `Model.site`; -1 for towers.
        service: row.
        asked: requests of the day.
        kept: part of them that kept what was promised.
        load: mean of the minutes in which promises were broken, weighted by those.
        first_min: first minute of the day's part that most of them are in ...
        last_min: ... and its last one.
        mend: `MORE`, `OTHER`, `TOWERS` or `NONE`.
        factor: devices for one, where more are needed.
    """

    site: int
    service: int
    asked: float
    kept: float
    load: float
    first_min: int
    last_min: int
    mend: str
    factor: float


def shortfalls(model: Model, found: Solution, seen: Seen, share: float) -> tuple[Shortfall, ...]:
    """Where services that kept less than `share` of their promises fell short, worst first."""
    told = []
    asked = seen.asked.sum(axis=2, dtype=np.float64)
    kept = seen.kept.sum(axis=2, dtype=np.float64)
    lacks = np.maximum(share * asked - kept, 0.0)
    for s in np.flatnonzero(seen.attained < share):
        order = np.argsort(-lacks[:, s], kind="stable")
        reached = np.cumsum(lacks[order, s])
        most = int(np.searchsorted(reached, MENDED * reached[-1])) + 1 if reached[-1] > 0.0 else 0
        told += [_shortfall(model, found, seen, share, int(row), int(s)) for row in order[:most]]
    return tuple(sorted(told, key=lambda short: -short.asked * (share - short.kept)))


def _shortfall(
    model: Model, found: Solution, seen: Seen, share: float, row: int, s: int
) -> Shortfall:
    load, asked = seen.load[row].astype(np.float64), seen.asked[row, s].astype(np.float64)
    kept = seen.kept[row, s].astype(np.float64)
    sure = _sure_load(model, found, seen, share, row, s)
    factor = more_needed(load, asked, kept, share, sure)
    broken = asked - kept
    first, last = _when(broken)
    if row == len(model.site):
        mend, factor = TOWERS, factor or MOST_MORE
    elif factor is not None:
        mend = MORE
    else:
        keeps = model.options.keeps[:, s, _path(seen, share, row, s)]
        mend, factor = (OTHER if (keeps & model.allowed[row]).any() else NONE), 1.0
    return Shortfall(
        site=row if row < len(model.site) else -1,
        service=s,
        asked=float(asked.sum()),
        kept=float(kept.sum() / asked.sum()),
        load=float(np.average(load, weights=broken)) if broken.sum() > 0.0 else float(load.mean()),
        first_min=first,
        last_min=last,
        mend=mend,
        factor=float(factor),
    )


def more_needed(
    load: Floats, asked: Floats, kept: Floats, share: float, sure: float
) -> float | None:
    """Devices for one so that a day's requests keep `share` of their promises; None if none do.

    With f devices for one, a minute's load is 1/f of what it was. What is kept at that load is
    read off the other minutes: at higher loads less was kept, never more.

    Args:
        load: (M,) of each minute.
        asked: (M,) requests.
        kept: (M,) of them, as promised.
        share: wanted.
        sure: load up to which `share` is kept for certain; 0 for none.
    """
    order = np.argsort(load, kind="stable")
    at, n, good = load[order], asked[order], kept[order]
    if n.sum() <= 0.0:
        return None
    curve = _falling(n, good)
    for factor in _STEPS:
        there = np.searchsorted(at, at / factor, side="right") - 1
        part = np.where(there >= 0, curve[np.maximum(there, 0)], curve[0])
        part = np.where(at / factor <= sure, np.maximum(part, share), part)
        if (n * part).sum() >= share * n.sum() * (1.0 - 1e-9):
            return float(factor)
    # Load that a whole day has, and more, is brought down round by round.
    return MOST_MORE if sure > 0.0 else None


def _falling(n: Floats, good: Floats) -> Floats:
    """Part kept by rising load, as the falling curve that is nearest (pool adjacent violators)."""
    from scipy.optimize import isotonic_regression

    weight = np.maximum(n, 1e-9)
    fitted = isotonic_regression(
        np.where(n > 0.0, good / weight, 1.0), weights=weight, increasing=False
    )
    return np.asarray(fitted.x, np.float64)


def _path(seen: Seen, share: float, row: int, s: int) -> int:
    """Path bin by which `share` of the requests of a service came to a site, or by a nearer one."""
    mass = np.cumsum(seen.paths[row, s])
    return int(np.searchsorted(mass, share * mass[-1])) if mass[-1] > 0.0 else 0


def _sure_load(model: Model, found: Solution, seen: Seen, share: float, row: int, s: int) -> float:
    """The highest planned load at which the device that stands there keeps a service's promises."""
    if row == len(model.site) or found.option[row] < 0:
        return 0.0
    o, options = found.option[row], model.options
    same = (options.kind == options.kind[o]) & (options.device == options.device[o])
    same &= (options.least == options.least[o]) & options.keeps[:, s, _path(seen, share, row, s)]
    return float(options.load[same].max(initial=0.0))


def _when(broken: Floats) -> tuple[int, int]:
    """The shortest run of hours that has half of the broken promises: first and last minute."""
    hours = np.add.reduceat(broken, np.arange(0, len(broken), 60))
    whole, best = hours.sum(), (0, len(hours))
    sums = np.concatenate(([0.0], np.cumsum(hours)))
    for first in range(len(hours)):
        last = int(np.searchsorted(sums, sums[first] + 0.5 * whole))
        if last <= len(hours) and last - first < best[1] - best[0]:
            best = (first, last)
    return best[0] * 60, min(best[1] * 60, len(broken)) - 1


def corrected(
    model: Model,
    found: Solution,
    shorts: tuple[Shortfall, ...],
    seen: Seen,
    *,
    wider: bool = False,
) -> Model:
    """The problem with what the shortfalls ask for; the same where nothing helps.

    Sites alike that have no device yet are held to the same, lest the plan only moves. Where it
    does all the same (`wider`), sites that were sent less than they were planned to serve are
    counted on for less too: what they could have kept beyond that, the orchestrator did not use.
    """
    allowed, room = model.allowed.copy(), model.room.copy()
    needed = _needed(model, found)
    share, towers = model.terms.slo_share, 1.0
    for short in shorts:
        k = short.site
        if k < 0:
            towers = max(towers, short.factor)
            continue
        here = _alike(model, found, k)
        if short.mend == MORE:
            asked = max(short.factor * found.count[k] / max(needed[k], 1e-9), model.room[k])
            room[k] = max(room[k], min(asked, room[k] * MOST_MORE))
            room[here] = np.maximum(room[here], room[k])
        else:
            keeps = model.options.keeps[:, short.service, _path(seen, share, k, short.service)]
            tried = allowed.copy()
            tried[here] &= keeps[None, :]
            if _all_served(model, tried):
                allowed = tried
            else:
                nearer = (found.option >= 0) & (np.arange(len(room)) != k)
                nearer &= keeps[np.maximum(found.option, 0)]
                room[nearer] *= 1.5
    for s in sorted({short.service for short in shorts}) if wider else ():
        unused = _unused(model, found, seen, s)
        room *= np.where(unused > 1.0 / TAKEN, np.minimum(unused, MOST_MORE), 1.0)
    return replace(model, allowed=allowed, room=room, towers=_smaller(model, towers))


def _unused(model: Model, found: Solution, seen: Seen, s: int) -> Floats:
    """(K,) requests of a service that a site was planned to serve, for one that it was sent."""
    planned = (loads(model, found)[:, s] * model.year[None, s]).sum(axis=1) / DAYS_A_YEAR
    sent = seen.asked[:-1, s].sum(axis=1, dtype=np.float64) * MINUTES / seen.asked.shape[2]
    return np.where(planned > 0.0, planned / np.maximum(sent, 1e-9), 1.0)


def between(failed: Model, holding: Model) -> Model:
    """Half of the way back from a problem whose plan holds to one whose plan did not.

    Devices are halved as ratios. Where an option was ruled out it stays so.
    """
    spare = np.sqrt(failed.towers.spare * holding.towers.spare)
    room = np.sqrt(failed.room * holding.room)
    close = bool(np.all(holding.room <= failed.room * 1.1))
    return replace(
        holding,
        room=holding.room if close else room,
        towers=holding.towers if close else replace(holding.towers, spare=spare),
    )


def _needed(model: Model, found: Solution) -> Floats:
    """(K,) devices that the plan's own flows need, before any room."""
    used = np.flatnonzero(found.option >= 0)
    o = found.option[used]
    work = np.where(model.options.work_s[o] < 1e8, model.options.work_s[o], 0.0)
    busy = (loads(model, found)[used] * work[:, :, None]).sum(axis=1).max(axis=1)
    needed = np.zeros(len(found.option))
    needed[used] = busy / model.options.load[o]
    return needed


def _alike(model: Model, found: Solution, k: int) -> NDArray[np.bool_]:
    """(K,) the site, and those without devices of its kind and as near to their groups."""
    nearest = np.full(len(model.site), 10**6)
    here = model.near >= 0
    np.minimum.at(nearest, model.near[here], model.path[here])
    alike: NDArray[np.bool_] = (model.kind == model.kind[k]) & (nearest == nearest[k])
    alike &= found.option < 0
    alike[k] = True
    return alike


def _all_served(model: Model, allowed: NDArray[np.bool_]) -> bool:
    """Whether every group can still have served what it could have before."""
    g, c = np.nonzero(model.near >= 0)
    site = model.near[g, c]

    def reached(which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        keeps = able_of(which, model.options.keeps)[site, :, model.path[g, c]] & model.lawful[site]
        found = np.zeros((len(model.near), len(model.rate)), np.bool_)
        np.logical_or.at(found, g, keeps)
        return found

    return bool(np.all(reached(allowed) >= reached(model.allowed)))


def _smaller(model: Model, factor: float) -> Towers:
    """Towers whose computers are reckoned to do less."""
    return replace(model.towers, spare=model.towers.spare / factor)
