"""What sites and gateways report to the control plane, however it comes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aigrid.control.trial import TOLD_LIMIT
from aigrid.core.codec import from_plain
from aigrid.core.errors import InvalidRequestError
from aigrid.core.events import (
    DEMAND_ROWS_LIMIT,
    DemandSeen,
    Heartbeat,
    SiteJoined,
    SiteLeft,
    SiteUnreachable,
    VersionsSeen,
)
from aigrid.core.site import Site
from aigrid.live.control_plane import ControlPlane
from aigrid.live.site_record import SiteRecord


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JoinRequest(_Report):
    """A site introduces itself."""

    site: dict[str, Any]
    url: str
    pid: int
    incarnation: str
    version: Annotated[str, Field(max_length=64)] = ""


class BeatRequest(_Report):
    """A site's heartbeat; `incarnation` tells a restarted site from the one that died.

    `ending` counts answers under way of replicas that it was told to stop.
    """

    incarnation: str
    beat: dict[str, Any]
    ending: Annotated[int, Field(ge=0)] = 0


class SiteRequest(_Report):
    """Names a site."""

    site: str


class DemandRequest(_Report):
    """What a gateway was asked for since it last told; see `core.events.DemandSeen`."""

    rows: Annotated[list[dict[str, Any]], Field(max_length=DEMAND_ROWS_LIMIT)]


class GatewayRequest(_Report):
    """A gateway's counters since its start."""

    requests_total: int
    errors_total: int
    retries_total: int
    resumed_total: int = 0
    in_flight: int
    trials: Annotated[list[dict[str, Any]], Field(max_length=TOLD_LIMIT)] = []


async def take(plane: ControlPlane, kind: str, body: object) -> dict[str, Any]:
    """Handle one report.

    Returns:
        a site's orders for `join` and `heartbeat`, see `live.board.Board.orders`.

    Raises:
        InvalidRequestError: no such kind, or a body that is not one.
        UnavailableError: the orchestrator does not answer.
    """
    if kind not in _TAKERS:
        raise InvalidRequestError(f"no such report: {kind!r}", next_step=", ".join(_TAKERS))
    model, taker = _TAKERS[kind]
    try:
        report = model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (kind, *first["loc"]))
        raise InvalidRequestError(f"{where}: {first['msg']}") from error
    answer: dict[str, Any] = await taker(plane, report)
    return answer


async def _join(plane: ControlPlane, report: JoinRequest) -> dict[str, Any]:
    site: Site = from_plain(Site, report.site, "join")
    plane.records[site.name] = SiteRecord(
        report.url,
        report.pid,
        report.incarnation,
        site.kind,
        site.region,
        site.parent,
        site.operator,
        report.version,
    )
    plane.board.clear(site.name)
    await plane.handle(SiteJoined(site))
    return plane.board.orders(site.name)


async def _heartbeat(plane: ControlPlane, report: BeatRequest) -> dict[str, Any]:
    beat: Heartbeat = from_plain(Heartbeat, report.beat, "heartbeat")
    record = plane.records.get(beat.site)
    if record is None or record.incarnation != report.incarnation:
        return plane.board.orders(beat.site) | {"join": True}
    plane.note_errors(beat)
    await plane.handle(beat)
    orders = plane.board.orders(beat.site)
    obeys = {replica.service for replica in beat.replicas} <= orders["replicas"].keys()
    record.ending = report.ending if obeys else None
    return orders


async def _leave(plane: ControlPlane, report: SiteRequest) -> dict[str, Any]:
    await plane.handle(SiteLeft(report.site))
    return {"left": report.site}


async def _unreachable(plane: ControlPlane, report: SiteRequest) -> dict[str, Any]:
    await plane.handle(SiteUnreachable(report.site))
    return {"noted": report.site}


async def _gateway(plane: ControlPlane, report: GatewayRequest) -> dict[str, Any]:
    plane.note_gateway(report.model_dump(exclude={"trials"}))
    for trial in report.trials:
        plane.world.post(from_plain(VersionsSeen, trial, "trials"))
    return {"noted": "gateway"}


async def _demand(plane: ControlPlane, report: DemandRequest) -> dict[str, Any]:
    plane.world.post(from_plain(DemandSeen, report.model_dump(), "demand"))
    return {"noted": "demand"}


_TAKERS: dict[str, tuple[type[_Report], Any]] = {
    "join": (JoinRequest, _join),
    "heartbeat": (BeatRequest, _heartbeat),
    "leave": (SiteRequest, _leave),
    "unreachable": (SiteRequest, _unreachable),
    "gateway": (GatewayRequest, _gateway),
    "demand": (DemandRequest, _demand),
}
