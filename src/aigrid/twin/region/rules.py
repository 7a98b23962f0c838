"""What the engine found broken, as the error that ends the run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.fluid.checks import Where
from aigrid.twin.region.columns import (
    BROKEN,
    BROKEN_AT,
    COMPUTE,
    CONSERVED,
    LINE,
    PLACES,
    REGION,
    Servers,
)

RULES = {
    CONSERVED: "requests are not conserved",
    PLACES: "more sequences than places",
    LINE: "a line longer than its limit",
    COMPUTE: "AI worked longer than its share",
    REGION: "a request outside its allowed regions",
}


def raise_broken(where: Where, servers: Servers, counts: NDArray[np.int64]) -> None:
    """Raise where the engine has found a rule broken.

    Raises:
        RuleBrokenError: with the rule, the site and its state.
    """
    rule = int(counts[BROKEN])
    if rule == 0:
        return
    server = int(counts[BROKEN_AT])
    if server < 0:
        told = f"came, ended, free rows: {counts.tolist()}"
        raise where.broken(RULES[rule], -1, told)
    told = (
        f"held {servers.held[server].tolist()} of {servers.places[server].tolist()} places, "
        f"in line {servers.waiting[server].tolist()} of {servers.limit[server].tolist()}, "
        f"worked {servers.busy[server]:.6g} of {servers.given_s[server]:.6g} device seconds"
    )
    raise where.broken(RULES[rule], int(servers.site[server]), told)
