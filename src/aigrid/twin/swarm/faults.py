"""What goes wrong in a trial: one to eight faults, of any kind, that may overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aigrid.radio.topology import PlannedSite
from aigrid.twin.scenario import (
    BeatLoss,
    Burst,
    Corruption,
    Crash,
    CutOff,
    Demand,
    Fault,
    Silence,
    SimulatedPackage,
    Skew,
    Slow,
    Surge,
)

if TYPE_CHECKING:
    from aigrid.twin.swarm.draw import Chance

MOST_FAULTS = 8
MOST_BURST_PER_S = 25.0
Span = tuple[float, float]
# Kinds of faults and what each is, for people.
KINDS = {
    "crash": "a site's process dies at once, and starts again, or never",
    "cut_off": "a hub and all below it have no network: messages and requests are lost both ways",
    "silence": "one site has no network",
    "surge": "the radio of a tower is suddenly busy",
    "beat_loss": "heartbeats and their answers are lost, late, doubled or overtaken",
    "skew": "a site's clock runs 2 times slower to 2 times faster",
    "slow": "a site computes and loads 10 times slower",
    "corrupt": "the stored bytes of a package are damaged",
    "burst": "many more requests than usual",
}


def draw_faults(
    chance: Chance,
    sites: Sequence[PlannedSite],
    packages: Sequence[SimulatedPackage],
    demand: Sequence[Demand],
    window: Span,
) -> tuple[Fault, ...]:
    """Faults within a window of time, the earliest first."""
    names = [planned.site.name for planned in sites]
    hubs = [planned.site.name for planned in sites if planned.site.kind != "tower"]
    towers = [planned.site.name for planned in sites if planned.site.cells]
    makers: dict[str, Callable[[float, float], Fault]] = {
        "crash": lambda at_s, for_s: _crash(chance, names, at_s, for_s),
        "cut_off": lambda at_s, for_s: CutOff(
            kind="cut_off", site=chance.one(hubs or names), at_s=at_s, for_s=for_s
        ),
        "silence": lambda at_s, for_s: Silence(
            kind="silence", site=chance.one(names), at_s=at_s, for_s=for_s
        ),
        "beat_loss": lambda at_s, for_s: _beat_loss(chance, names, at_s, for_s),
        "skew": lambda at_s, for_s: Skew(
            kind="skew",
            site=chance.one(names),
            at_s=at_s,
            for_s=for_s,
            rate=chance.scale(0.5, 2.0),
        ),
        "slow": lambda at_s, for_s: Slow(
            kind="slow", site=chance.one(names), at_s=at_s, for_s=for_s
        ),
        "corrupt": lambda at_s, for_s: Corruption(
            kind="corrupt", package=chance.one(packages).reference, at_s=at_s, for_s=for_s
        ),
        "burst": lambda at_s, for_s: _burst(chance, demand, at_s, for_s),
    }
    if towers:
        makers["surge"] = lambda at_s, for_s: Surge(
            kind="surge",
            site=chance.one(towers),
            at_s=at_s,
            for_s=for_s,
            load=chance.between(0.7, 1.0),
        )
    kinds = sorted(makers)
    found = [_one(chance, makers[chance.one(kinds)], window) for _ in range(_count(chance))]
    return tuple(sorted(found, key=lambda fault: fault.at_s))


def _count(chance: Chance) -> int:
    return 0 if chance.hits(0.04) else chance.whole(1, MOST_FAULTS)


def _one(chance: Chance, make: Callable[[float, float], Fault], window: Span) -> Fault:
    """At any time in the window, for any part of what is left of it; seconds or the whole."""
    at_s = chance.between(*window)
    left_s = max(window[1] - at_s, 0.1)
    return make(at_s, chance.scale(0.1, left_s) if left_s > 0.1 else left_s)


def _crash(chance: Chance, names: Sequence[str], at_s: float, for_s: float) -> Crash:
    never = len(names) > 2 and chance.hits(0.1)
    back_after_s = None if never else for_s
    return Crash(kind="crash", site=chance.one(names), at_s=at_s, back_after_s=back_after_s)


def _beat_loss(chance: Chance, names: Sequence[str], at_s: float, for_s: float) -> BeatLoss:
    return BeatLoss(
        kind="beat_loss",
        site=chance.one(names),
        at_s=at_s,
        for_s=for_s,
        lost=chance.one((0.0, 0.3, 1.0)),
        doubled=chance.one((0.0, 0.5)),
        delay_s=chance.one((0.0, 1.0, 5.0)),
    )


def _burst(chance: Chance, demand: Sequence[Demand], at_s: float, for_s: float) -> Burst:
    """Ten times what was asked for; short, since every request costs time here."""
    one = chance.one(demand)
    return Burst(
        kind="burst",
        service=one.service,
        origin=one.origin,
        at_s=at_s,
        for_s=min(for_s, 10.0),
        requests_per_s=min(10.0 * one.requests_per_s, MOST_BURST_PER_S),
        prompt_tokens=one.prompt_tokens,
        tokens=one.tokens,
    )
