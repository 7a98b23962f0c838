"""A plan for people and programs: figures, and its sites as rows."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from aigrid.core.site import SITE_KINDS
from aigrid.twin.country.network import TOWER
from aigrid.twin.planning.corrections import MORE, OTHER, TOWERS, Shortfall
from aigrid.twin.planning.obstacles import Obstacle
from aigrid.twin.planning.rehearsed import Rehearsed, planned_country
from aigrid.twin.planning.rounds import Round
from aigrid.twin.planning.search import Found
from aigrid.twin.planning.solution import (
    Solution,
    account,
    extras,
    loads,
    site_capital_usd,
    tower_capital_usd,
    uses,
)

CSV_COLUMNS = (
    *("name", "kind", "latitude_deg", "longitude_deg", "region", "parent", "device", "devices"),
    *("cells", "shape", "peak_load", "customers"),
)


def figures(found: Found, solution: Solution) -> dict[str, Any]:
    """A plan's money and what was bought, for a table and `--json`."""
    money = account(found.model, solution)
    life = found.model.country.money.life_years
    capital = money.capital_usd
    gain = money.revenue_usd - money.energy_usd - money.network_usd
    gain -= capital * found.model.country.money.upkeep
    return {
        **asdict(money),
        "cost_usd": money.cost_usd,
        "profit_usd": money.profit_usd,
        "return_on_capital": money.profit_usd * life / capital if capital else math.nan,
        "payback_years": capital / gain if gain > 0.0 else math.inf,
        "seconds": solution.seconds,
        "bought": bought(found, solution),
    }


def bought(found: Found, solution: Solution) -> list[dict[str, Any]]:
    """Sites by kind and device: how many sites, devices, capital, load at the busiest time."""
    model, options = found.model, found.model.options
    rows: list[dict[str, Any]] = []
    at = loads(model, solution)
    capital = site_capital_usd(model, solution)
    for kind in sorted(set(model.kind.tolist())):
        for d, device in enumerate(options.devices):
            here = (solution.option >= 0) & (model.kind == kind)
            here[here] = options.device[solution.option[here]] == d
            if not here.any():
                continue
            chosen = solution.option[here]
            work = np.where(options.work_s[chosen] < 1e8, options.work_s[chosen], 0.0)
            busy = (at[here] * work[:, :, None]).sum(axis=1).sum(axis=0)
            count = int(solution.count[here].sum())
            rows.append(
                {
                    "kind": SITE_KINDS[kind],
                    "device": device.name,
                    "sites": int(here.sum()),
                    "devices": count,
                    "capital_usd": float(capital[here].sum()),
                    "peak_load": float(busy.max() / count),
                    "planned_load": float(
                        np.average(options.load[chosen], weights=solution.count[here])
                    ),
                }
            )
    towers, used = model.towers, solution.tower >= 0
    if used.any():
        rows.append(
            {
                "kind": SITE_KINDS[TOWER],
                "device": ", ".join(
                    sorted(
                        {
                            model.country.devices[d].name
                            for d in model.country.network.device[towers.row[used]]
                        }
                    )
                ),
                "sites": int(used.sum()),
                "devices": float(towers.compute[used].sum() + extras(solution)[used].sum()),
                "capital_usd": float(tower_capital_usd(model, solution).sum()),
                "peak_load": math.nan,
                "planned_load": math.nan,
            }
        )
    return rows


def told(
    found: Found, rehearsed: Rehearsed | None, seed: int, rounds: tuple[Round, ...] = ()
) -> dict[str, Any]:
    """The one object of `--json`."""
    model = found.model
    plans = {s.method: figures(found, s) for s in (found.exact, found.fast) if s is not None}
    return {
        "scenario": model.country.name,
        "seed": seed,
        "sites": len(model.country.network),
        "customers": float(model.country.network.customers.sum()),
        "slo_share": model.terms.slo_share,
        "budget_usd": model.terms.budget_usd,
        "capital_for_all_usd": found.full_capital_usd,
        "carries_all": not found.obstacles,
        "carried": carried_share(found),
        "method": found.best.method,
        "plan": figures(found, found.best),
        "plans": plans,
        "gap": found.gap,
        "gap_in_use": found.gap_in_use,
        "open_gap": found.open_gap,
        "bound_usd": found.bound_usd,
        "gap_to_bound": found.gap_to_bound,
        "not_carried": [asdict(o) for o in found.obstacles],
        "rehearsed": None if rehearsed is None else _rehearsed(rehearsed),
        "holds": None if rehearsed is None else holds(found, rehearsed),
        "rounds": [_round(one) for one in rounds],
    }


def _rehearsed(rehearsed: Rehearsed) -> dict[str, Any]:
    return asdict(rehearsed) | {"attained": dict(rehearsed.attained)}


def _round(one: Round) -> dict[str, Any]:
    money = account(one.found.model, one.found.best)
    return {
        "method": one.found.best.method,
        "cost_usd": money.cost_usd,
        "capital_usd": money.capital_usd,
        "profit_usd": money.profit_usd,
        "planned": planned_attainment(one.found),
        "attained": dict(one.rehearsed.attained),
        "energy_usd": {"planned": money.energy_usd, "rehearsed": one.rehearsed.energy_usd},
        "holds": one.holds,
        "shortfalls": [_shortfall(one, short) for short in one.shortfalls],
    }


def _shortfall(one: Round, short: Shortfall) -> dict[str, Any]:
    return asdict(short) | {
        "site": place(one.found, short),
        "service": one.found.model.country.services[short.service].name,
    }


def place(found: Found, short: Shortfall) -> str:
    """Name of the site that fell short; `towers` for all of them together."""
    model = found.model
    if short.site < 0:
        return "towers"
    return str(model.country.network.names[model.site[short.site]])


def mended(found: Found, short: Shortfall) -> str:
    """A shortfall as a line: where, what, when, and what the next round does about it."""
    service = found.model.country.services[short.service].name
    hours = f"{short.first_min // 60}-{short.last_min // 60 + 1} h"
    line = (
        f"{place(found, short)}: {short.kept:.1%} of {service} in time, most of the rest missed at "
        f"{hours}, load {short.load:.0%}; "
    )
    if short.mend == MORE:
        return line + f"planned with {short.factor:.2g} devices for one"
    if short.mend == OTHER:
        return line + f"planned with devices that keep {service} too"
    if short.mend == TOWERS:
        return line + f"planned for {1.0 / short.factor:.0%} of what towers have left"
    return line + "planned without"


def carried_share(found: Found) -> float:
    """Of all requests of a year."""
    year = (found.model.demand * found.model.year[None]).sum()
    return float(1.0 - (found.missing * found.model.year[None]).sum() / max(year, 1e-300))


def planned_attainment(found: Found) -> float:
    """The least that the plan promises: of the requests that it sells."""
    return found.model.terms.slo_share


def planned_utilisation(found: Found) -> float:
    """Part of the time that something runs at hubs and factories, mean over the day."""
    model, best = found.model, found.best
    used = best.option >= 0
    if not used.any():
        return math.nan
    run = uses(model, best)[used].mean(axis=1) * best.count[used]
    return float(run.sum() / best.count[used].sum())


def holds(found: Found, rehearsed: Rehearsed) -> bool:
    """Whether every service kept in the rehearsal what was planned."""
    return rehearsed.keeps(planned_attainment(found))


def binding(found: Found) -> list[str]:
    """What keeps the plan from being cheaper or carrying more, a line each."""
    lines = [_line(o) for o in found.obstacles]
    model, best = found.model, found.best
    used = best.option >= 0
    if used.any():
        least = np.minimum(model.options.load[best.option[used]].min(), 1.0)
        if least < 0.7:
            strict = _strictest(found)
            lines.append(
                f"promises: some sites are planned for a load of {least:g} at most, since {strict} "
                "would be late at a higher one"
            )
        alone = int((best.count[used] == model.options.least[best.option[used]]).sum())
        lines.append(
            f"whole devices: {alone} of {int(used.sum())} sites have the fewest they can have"
        )
    if math.isfinite(model.terms.budget_usd):
        spent = account(model, best).capital_usd
        words = f"budget: {spent:,.0f} of {model.terms.budget_usd:,.0f} USD are spent"
        if not found.all_demand:
            words += f"; to carry all would take about {found.full_capital_usd:,.0f}"
        lines.append(words)
    return lines


def _line(obstacle: Obstacle) -> str:
    return f"{obstacle.service}: {obstacle.share:.1%} is not carried: {obstacle.reason}"


def _strictest(found: Found) -> str:
    """The service that the fewest options keep."""
    keeps = found.model.options.keeps.any(axis=2).sum(axis=0)
    served = found.best.upward.sum(axis=(0, 1, 3)) > 0.0
    keeps = np.where(served, keeps, 10**9)
    return found.model.country.services[int(keeps.argmin())].name


def csv_rows(found: Found) -> list[list[str]]:
    """Every site of the planned network: `CSV_COLUMNS`."""
    country = planned_country(found.model, found.best)
    n = country.network
    rows = []
    for i in range(len(n)):
        parent = "" if n.parent[i] < 0 else str(n.names[n.parent[i]])
        row: list[object] = [n.names[i], SITE_KINDS[n.kind[i]]]
        row += [f"{n.latitude_deg[i]:.6f}", f"{n.longitude_deg[i]:.6f}", n.regions[n.region[i]]]
        row += [parent, country.devices[n.device[i]].name, f"{n.devices[i]:.6g}", int(n.cells[i])]
        row += [country.shape_name(i), f"{n.peak_load[i]:.6g}", f"{n.customers[i]:.6g}"]
        rows.append([str(item) for item in row])
    return rows
