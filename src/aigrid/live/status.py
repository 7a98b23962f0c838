"""The grid as a person sees it: the orchestrator's columns and what the live side knows."""

from __future__ import annotations

import time
from typing import Any

from aigrid.core.state import HOLD_NAMES, NO_VERSION, STATUS_NAMES, GridState
from aigrid.live.control_plane import ControlPlane
from aigrid.live.paths import restarts


def grid_status(plane: ControlPlane) -> dict[str, Any]:
    """What runs where, how the radio does, and what it yields."""
    sites = site_rows(plane)
    return {
        "uptime_s": round(time.monotonic() - plane.started_s, 1),
        "routes_version": plane.board.routes_version,
        "recording": str(plane.recorder.path),
        "sites": sites,
        "services": service_rows(plane, sites),
        "rollouts": [row for row in plane.rollouts.rows() if not row["retired"]],
        "gateway": _gateway(plane),
    }


def site_rows(plane: ControlPlane) -> list[dict[str, Any]]:
    """One object a site: factories, hubs, towers, each by name."""
    counts = restarts(plane.paths)
    state = plane.orchestrator.state
    rows = [_site(plane, state, row, counts) for row in range(state.site_count)]
    return sorted(rows, key=lambda site: (site["kind"], site["name"]))


def _site(
    plane: ControlPlane, state: GridState, row: int, counts: dict[str, int]
) -> dict[str, Any]:
    name, columns = state.site_names[row], state.sites
    record = plane.records.get(name)
    replicas = [_replica(plane, state, row, c) for c in range(state.service_count)]
    shown = [replica for replica in replicas if replica is not None]
    return {
        "name": name,
        "kind": record.kind if record else "",
        "region": record.region if record else "",
        "parent": record.parent if record else "",
        "status": STATUS_NAMES[columns.status[row]],
        "hold": HOLD_NAMES[columns.hold[row]],
        "pid": record.pid if record else 0,
        "restarts": counts.get(name, 0),
        "url": record.url if record else "",
        "aigrid_version": record.version if record else "",
        "share": round(float(columns.share[row]), 4),
        "radio": _radio(state, row) if columns.has_radio[row] else None,
        "replicas": shown,
        "ending": record.ending if record else 0,
        "tokens_per_s": round(sum(r["tokens_per_s"] for r in shown), 2),
        "requests_per_s": round(sum(r["requests_per_s"] for r in shown), 2),
    }


def _radio(state: GridState, row: int) -> dict[str, Any]:
    columns = state.sites
    on_time, missed = int(columns.slots_on_time[row]), int(columns.slots_missed[row])
    return {
        "load": round(float(columns.radio_load[row]), 4),
        "need_cores": round(float(columns.radio_need_cores[row]), 4),
        "slots_on_time": on_time,
        "slots_missed": missed,
        "miss_rate": missed / max(1, on_time + missed),
    }


def _replica(plane: ControlPlane, state: GridState, row: int, column: int) -> dict[str, Any] | None:
    replicas = state.replicas
    wanted = bool(replicas.wanted[row, column])
    serving, started = int(replicas.serving[row, column]), int(replicas.started[row, column])
    if not wanted and serving == NO_VERSION:
        return None
    digests = state.services.digests[column]
    failed = int(replicas.failed[row, column])
    has_failed = failed == state.services.version[column] and serving != failed
    site, service = state.site_names[row], state.service_names[column]
    pending = "failed" if has_failed else "starting"
    return {
        "service": service,
        "digest": digests[serving] if serving != NO_VERSION else "",
        "version": plane.version_of(digests[serving]) if serving != NO_VERSION else "",
        "state": "ready" if serving != NO_VERSION and started in (serving, NO_VERSION) else pending,
        "error": plane.errors.get((site, service), "") if has_failed else "",
        "running": int(replicas.running[row, column]),
        "waiting": int(replicas.waiting[row, column]),
        "tokens_per_s": round(float(replicas.tokens_per_s[row, column]), 2),
        "requests_per_s": round(float(replicas.requests_per_s[row, column]), 2),
    }


def service_rows(plane: ControlPlane, sites: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One object a deployed service."""
    state = plane.orchestrator.state
    return [
        plane.describe_service(d) | _totals(d.name, d.digest, sites, state)
        for d in plane.ledger.all()
    ]


def _totals(
    name: str, digest: str, sites: list[dict[str, Any]], state: GridState
) -> dict[str, Any]:
    rows = [r for s in sites if s["status"] == "up" for r in s["replicas"] if r["service"] == name]
    column = state.service_row.get(name)
    wanted = int(state.replicas.wanted[:, column].sum()) if column is not None else 0
    return {
        "ready_sites": sum(1 for r in rows if r["digest"] == digest),
        "wanted_sites": wanted,
        "tokens_per_s": round(sum(r["tokens_per_s"] for r in rows), 2),
        "requests_per_s": round(sum(r["requests_per_s"] for r in rows), 2),
    }


def _gateway(plane: ControlPlane) -> dict[str, Any]:
    known = {k: v for k, v in plane.gateway.items() if k != "seen_s"}
    seen_s = plane.gateway.get("seen_s")
    status = "up" if seen_s and time.monotonic() - seen_s < 5 else "lost"
    zero = dict.fromkeys(("requests_total", "errors_total", "retries_total", "in_flight"), 0)
    return zero | {"requests_per_s": 0.0} | known | {"status": status}


def route_rows(plane: ControlPlane) -> list[dict[str, Any]]:
    """The routing table, one object an (origin, service)."""
    table = plane.board.routes
    return [
        {
            "origin": origin,
            "service": service,
            "candidates": [
                {"site": site, "weight": round(weight, 4)}
                for site, weight in table.candidates(origin, service)
            ],
        }
        for origin in table.origins
        for service in table.services
    ]
