"""An orchestrator as plain values and back, exactly: what the head of a recording carries."""

from __future__ import annotations

from typing import Any

import numpy as np

from aigrid.control.history import History
from aigrid.control.orchestrator import Orchestrator
from aigrid.control.policy import Policy
from aigrid.control.rollouts import Rollout
from aigrid.core.codec import from_plain, to_plain
from aigrid.core.errors import ConfigurationError
from aigrid.core.routing import RoutingTable, tracks_from_plain, tracks_to_plain
from aigrid.core.state import Beside, GridState, ReplicaColumns, ServiceColumns, SiteColumns

_Columns = SiteColumns | ServiceColumns | ReplicaColumns


def take(orchestrator: Orchestrator) -> dict[str, Any]:
    """Everything that later decisions depend on, ready for JSON.

    Floats keep every bit: JSON spells a float64 so that it reads back the same, and every float32
    is a float64.
    """
    state = orchestrator.state
    sites, services = state.site_count, state.service_count
    return {
        "site_names": list(state.site_names),
        "service_names": list(state.service_names),
        "region_names": list(state.region_names),
        "orphans": {name: list(rows) for name, rows in state.orphans.items()},
        "digests": [list(digests) for digests in state.services.digests],
        "regions": [list(regions) for regions in state.services.regions],
        "sites": _columns(state.sites, (sites,)),
        "services": _columns(state.services, (services,)),
        "replicas": _columns(state.replicas, (sites, services)),
        "demand_at_s": state.demand_at_s,
        "history": orchestrator.history.to_plain(),
        "placed_s": orchestrator.placed_s,
        "holds": dict(orchestrator.holds),
        "routes": _routes(orchestrator.routes),
        "weighed": _routes(orchestrator.weighed),
        "routes_version": orchestrator.routes_version,
        "routes_at_s": orchestrator.routes_at_s,
        "routes_stale": orchestrator.routes_stale,
        "beside": [[column, *of] for column, of in state.beside.items()],
        "rollouts": [to_plain(one) for one in orchestrator.rollouts.all()],
    }


def restore(policy: Policy, raw: Any, origin: str) -> Orchestrator:
    """An orchestrator that goes on from where `take` was called.

    Args:
        policy: the dials it had.
        raw: what `take` returned, perhaps by way of JSON.
        origin: where it came from, for the error's message.

    Raises:
        ConfigurationError: something is missing, or does not fit the rest.
    """
    orchestrator = Orchestrator(policy)
    try:
        orchestrator.state = _state(raw)
        orchestrator.history = History.from_plain(raw["history"])
        orchestrator.placed_s = float(raw["placed_s"])
        orchestrator.holds = {str(site): int(hold) for site, hold in raw["holds"].items()}
        orchestrator.routes = _read_routes(raw["routes"])
        orchestrator.weighed = _read_routes(raw["weighed"])
        orchestrator.routes_version = int(raw["routes_version"])
        orchestrator.routes_at_s = float(raw["routes_at_s"])
        orchestrator.routes_stale = bool(raw["routes_stale"])
        for one in raw.get("rollouts", []):  # recordings of before there were any have none
            orchestrator.rollouts.take_up(from_plain(Rollout, one, origin))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{origin}: the snapshot is damaged: {type(error).__name__}: {error}",
            next_step="use another file of the same recording",
        ) from error
    return orchestrator


def _routes(table: RoutingTable) -> dict[str, Any]:
    """Unlike `RoutingTable.to_dict`: all digits, and the shape even where nothing is in it."""
    return {
        "origins": list(table.origins),
        "services": list(table.services),
        "sites": list(table.sites),
        "shape": list(table.candidate.shape),
        "candidate": table.candidate.ravel().tolist(),
        "weight": table.weight.ravel().tolist(),
        "tracks": tracks_to_plain(table.tracks),
    }


def _read_routes(raw: Any) -> RoutingTable:
    shape = tuple(int(length) for length in raw["shape"])
    return RoutingTable(
        origins=tuple(str(name) for name in raw["origins"]),
        services=tuple(str(name) for name in raw["services"]),
        sites=tuple(str(name) for name in raw["sites"]),
        candidate=np.asarray(raw["candidate"], np.int32).reshape(shape),
        weight=np.asarray(raw["weight"], np.float32).reshape(shape),
        tracks=tracks_from_plain(raw.get("tracks", [])),
    )


def _columns(columns: _Columns, shape: tuple[int, ...]) -> dict[str, Any]:
    rows = tuple(slice(0, length) for length in shape)
    arrays = ((name, getattr(columns, name)) for name in columns.__slots__)
    return {name: a[rows].tolist() for name, a in arrays if isinstance(a, np.ndarray)}


def _state(raw: Any) -> GridState:
    state = GridState(
        site_names=[str(n) for n in raw["site_names"]],
        service_names=[str(n) for n in raw["service_names"]],
        region_names=[str(n) for n in raw["region_names"]],
        demand_at_s=float(raw["demand_at_s"]),
        orphans={str(name): [int(r) for r in rows] for name, rows in raw["orphans"].items()},
        beside={int(b): Beside(int(c), float(share)) for b, c, share in raw.get("beside", [])},
    )
    state.site_row = {name: row for row, name in enumerate(state.site_names)}
    state.service_row = {name: column for column, name in enumerate(state.service_names)}
    sites, services = state.site_count, state.service_count
    _fill(state.sites, raw["sites"], (sites,))
    _fill(state.services, raw["services"], (services,))
    _fill(state.replicas, raw["replicas"], (sites, services))
    state.services.digests = [[str(d) for d in digests] for digests in raw["digests"]]
    state.services.regions = [tuple(int(r) for r in regions) for regions in raw["regions"]]
    if not len(state.services.digests) == len(state.services.regions) == services:
        raise ValueError(f"{services} services, but not as many lists of digests and regions")
    return state


def _fill(columns: _Columns, raw: Any, shape: tuple[int, ...]) -> None:
    for name in columns.__slots__:
        empty = getattr(columns, name)
        if not isinstance(empty, np.ndarray):
            continue
        filled = np.asarray(raw[name], empty.dtype)
        # A list of no rows has lost how wide the rows were.
        filled = filled.reshape(shape) if filled.size == 0 else filled
        if filled.shape != shape:
            raise ValueError(f"column {name!r} has shape {filled.shape}, not {shape}")
        setattr(columns, name, filled)
