"""What the engine found broken, as the error that ends the run."""

from __future__ import annotations

from aigrid.twin.fluid.checks import Where
from aigrid.twin.region.columns import (
    BROKEN,
    BROKEN_AT,
    CAME,
    COMPUTE,
    CONSERVED,
    FREE,
    GONE,
    LINE,
    PLACES,
    REGION,
    World,
)

RULES = {
    CONSERVED: "requests are not conserved",
    PLACES: "more sequences than places",
    LINE: "a line longer than its limit",
    COMPUTE: "AI worked longer than its share",
    REGION: "a request outside its allowed regions",
}


def raise_broken(where: Where, world: World) -> None:
    """Raise where the engine has found a rule broken.

    Raises:
        RuleBrokenError: with the rule, the site and its state.
    """
    rule, at = int(world.counts[BROKEN]), int(world.counts[BROKEN_AT])
    if rule == 0:
        return
    if at < 0:
        came, gone = int(world.counts[CAME]), int(world.counts[GONE])
        open_ = len(world.requests) - int(world.counts[FREE])
        told = f"{came} came, {gone} ended, {open_} have a row"
        raise where.broken(RULES[rule], -1, told)
    cells, server = world.cells[at], world.servers[at]
    told = (
        f"held {cells['held'].tolist()} of {cells['places'].tolist()} places, "
        f"in line {cells['waiting'].tolist()} of {cells['limit'].tolist()}, "
        f"worked {server['busy_s']:.6g} of {server['given_s']:.6g} device seconds"
    )
    raise where.broken(RULES[rule], int(server["site"]), told)
