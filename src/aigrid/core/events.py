"""What happens (events) and what is to be done about it (commands).

Both are frozen values without behaviour: `control.orchestrator.handle(now_s, event)` turns the
first into the second, in the twin and live alike, and a recording of events replays to the same
commands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aigrid.core.rollout import RolloutPlan, VersionCounts
from aigrid.core.routing import RoutingTable
from aigrid.core.site import Site

# Rows of one `DemandSeen`; what a gateway counts beyond it in one period, it does not tell.
DEMAND_ROWS_LIMIT = 1024
REPLICA_STATES = ("starting", "ready", "failed")


@dataclass(frozen=True, slots=True)
class SiteJoined:
    """A site started (again) and holds no replica yet."""

    site: Site


@dataclass(frozen=True, slots=True)
class SiteLeft:
    """A site was taken out on purpose."""

    site: str


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """One service on one site, as the site sees it.

    Attributes:
        service: the service's name.
        digest: package that serves now; empty when none does yet.
        pending: package being fetched, or that failed; empty when there is none.
        state: `starting`, `ready` or `failed`; `failed` speaks of `pending`.
        error: one line, where `failed`.
        running: jobs that take steps now.
        waiting: jobs in line.
        tokens_per_s: tokens made a second, over the last second or so.
        requests_per_s: jobs ended a second, likewise.
    """

    service: str
    digest: str
    pending: str
    state: str
    error: str = ""
    running: int = 0
    waiting: int = 0
    tokens_per_s: float = 0.0
    requests_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A site is alive, and this is how it does.

    Attributes:
        site: the site's name.
        radio_load: scheduled share of the resource blocks, 0 to 1.
        radio_need_cores: compute the radio needs, a high quantile, in cores.
        slots_on_time: radio slots processed before their deadline, since the front-end started.
        slots_missed: radio slots late or dropped, likewise.
        replicas: every service that the site holds or tried to hold.
    """

    site: str
    radio_load: float = 0.0
    radio_need_cores: float = 0.0
    slots_on_time: int = 0
    slots_missed: int = 0
    replicas: tuple[ReplicaReport, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteUnreachable:
    """A gateway could not connect to a site that the routing table names."""

    site: str


@dataclass(frozen=True, slots=True)
class SiteHeld:
    """An operator holds a site back, or lets it go.

    Attributes:
        site: the site's name; it need not have joined yet.
        hold: one of `core.state.HOLD_NAMES`: `free`, `cordoned` (nothing new comes to it) or
            `draining` (what it serves is served elsewhere).
    """

    site: str
    hold: str


@dataclass(frozen=True, slots=True)
class ServiceDeployed:
    """A service is wanted, or wanted in another version.

    Attributes:
        service: name, also the OpenAI `model`.
        digest: the package's manifest digest.
        memory_mb: what one replica needs.
        compute_cores: cores one replica keeps busy flat out.
        regions: regions it may run in; empty for all.
        ttft_ms: time to first token promised.
    """

    service: str
    digest: str
    memory_mb: int
    compute_cores: float = 1.0
    regions: tuple[str, ...] = ()
    ttft_ms: float = 500.0


@dataclass(frozen=True, slots=True)
class DemandRow:
    """Requests of one origin for one service.

    Attributes:
        origin: site they came from; `*` for none.
        service: that they asked for.
        requests: how many, since the gateway last told.
    """

    origin: str
    service: str
    requests: int


@dataclass(frozen=True, slots=True)
class DemandSeen:
    """What a gateway was asked for since it last told; told only while there is any.

    Attributes:
        rows: at most `DEMAND_ROWS_LIMIT`, zeros left out.
    """

    rows: tuple[DemandRow, ...]


@dataclass(frozen=True, slots=True)
class ServiceUndeployed:
    """A service is no longer wanted."""

    service: str


@dataclass(frozen=True, slots=True)
class RolloutStarted:
    """A new version of a deployed service is to be tried on a part of its requests.

    Attributes:
        service: that is deployed.
        rollout: names this rollout; no other has that name.
        digest: package of the new version.
        memory_mb: see `ServiceDeployed`, likewise the next three.
        compute_cores: likewise.
        regions: likewise.
        ttft_ms: likewise.
        plan: its dials.
        new_card: measure on the new version's card, lower is better; negative for none.
        old_card: likewise, of the deployed version.
        age_s: since it began, for one that goes on after a restart.
    """

    service: str
    rollout: str
    digest: str
    memory_mb: int
    compute_cores: float = 1.0
    regions: tuple[str, ...] = ()
    ttft_ms: float = 500.0
    plan: RolloutPlan = field(default_factory=RolloutPlan)
    new_card: float = -1.0
    old_card: float = -1.0
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RolloutSteered:
    """A person ends a rollout; `verdict` is one of `core.rollout.VERDICTS`."""

    service: str
    verdict: str


@dataclass(frozen=True, slots=True)
class VersionsSeen:
    """What a gateway saw of both versions since the rollout began; the newest replaces older ones.

    Attributes:
        service: whose new version is on trial.
        rollout: see `RolloutStarted`; counts of another one are left aside.
        gateway: names a gateway's process.
        new: of requests that were sent to the new version.
        old: of those that could have been and were not.
    """

    service: str
    rollout: str
    gateway: str
    new: VersionCounts
    old: VersionCounts


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: look for silent sites, retry what failed, refresh the routes."""


Event = (
    SiteJoined
    | SiteLeft
    | Heartbeat
    | SiteUnreachable
    | SiteHeld
    | ServiceDeployed
    | ServiceUndeployed
    | DemandSeen
    | RolloutStarted
    | RolloutSteered
    | VersionsSeen
    | Tick
)


@dataclass(frozen=True, slots=True)
class AskToJoin:
    """The orchestrator does not know this site: it shall join (again)."""

    site: str


@dataclass(frozen=True, slots=True)
class StartReplica:
    """Fetch, verify and serve a package on a site; an older version serves until it is ready."""

    site: str
    service: str
    digest: str


@dataclass(frozen=True, slots=True)
class StopReplica:
    """Serve a service on a site no longer."""

    site: str
    service: str


@dataclass(frozen=True, slots=True)
class SetShare:
    """AI on a site may use this fraction (0 to 1) of the site's compute.

    Attributes:
        site: the site's name.
        share: from now on.
        next_share: what the share is forecast to fall to, `notice_s` from now; 1 for no notice. A
            site may stop taking jobs that would outlive it.
        notice_s: see `next_share`; 0 for no notice.
    """

    site: str
    share: float
    next_share: float = 1.0
    notice_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SiteStatusChanged:
    """A site is now `up`, `lost` (silent or unreachable) or `left`; for people and logs."""

    site: str
    status: str


@dataclass(frozen=True, slots=True)
class PublishRoutes:
    """Gateways shall use this routing table from now on."""

    version: int
    table: RoutingTable = field(hash=False)


@dataclass(frozen=True, slots=True)
class RolloutMoved:
    """A rollout is in another phase; for people, logs and the record of it.

    Attributes:
        service: whose version it is about.
        rollout: see `RolloutStarted`.
        phase: one of `core.rollout.PHASES`.
        reason: one line.
        retired: the losing version stands nowhere any more.
    """

    service: str
    rollout: str
    phase: str
    reason: str
    retired: bool = False


Command = (
    AskToJoin
    | StartReplica
    | StopReplica
    | SetShare
    | SiteStatusChanged
    | PublishRoutes
    | RolloutMoved
)

EVENT_TYPES: tuple[Any, ...] = (
    SiteJoined,
    SiteLeft,
    Heartbeat,
    SiteUnreachable,
    SiteHeld,
    ServiceDeployed,
    ServiceUndeployed,
    DemandSeen,
    RolloutStarted,
    RolloutSteered,
    VersionsSeen,
    Tick,
)
COMMAND_TYPES: tuple[Any, ...] = (
    AskToJoin,
    StartReplica,
    StopReplica,
    SetShare,
    SiteStatusChanged,
    PublishRoutes,
    RolloutMoved,
)
