"""Grids and events to decide about: builders for tests, strategies for Hypothesis."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from aigrid.control.orchestrator import Orchestrator
from aigrid.core.events import (
    Command,
    DemandRow,
    DemandSeen,
    Event,
    Heartbeat,
    ReplicaReport,
    RolloutStarted,
    RolloutSteered,
    ServiceDeployed,
    ServiceUndeployed,
    SiteHeld,
    SiteJoined,
    SiteLeft,
    SiteUnreachable,
    Tick,
    VersionsSeen,
)
from aigrid.core.rollout import VERDICTS, RolloutPlan, VersionCounts
from aigrid.core.site import Cell, Site
from aigrid.core.state import HOLD_NAMES

SITES = ("f", "h", "t1", "t2", "t3")
SERVICES = ("chat", "embed")
DIGESTS = ("sha256:1", "sha256:2", "sha256:3")
REGIONS = ("north", "south")


def site(name: str, *, region: str = "north", cores: float = 2.0, memory_mb: int = 1024) -> Site:
    """f is the factory, h the hub below it, everything else a tower below the hub."""
    kind = {"f": "factory", "h": "hub"}.get(name, "tower")
    parent = {"f": "", "h": "f"}.get(name, "h")
    cells = (Cell("c"),) if kind == "tower" else ()
    return Site(
        name,
        kind,
        region,
        compute_cores=cores,
        memory_mb=memory_mb,
        parent=parent,
        cells=cells,
    )


def ready(service: str = "chat", digest: str = "sha256:1", **gauges: int) -> ReplicaReport:
    return ReplicaReport(service, digest, "", "ready", **gauges)


def grid(names: Sequence[str] = ("f", "h", "t1"), service: str = "chat") -> Orchestrator:
    """Sites that joined at 0 s and serve `service` at 1 s."""
    orchestrator = Orchestrator()
    for name in names:
        orchestrator.handle(0.0, SiteJoined(site(name)))
    orchestrator.handle(0.0, ServiceDeployed(service, "sha256:1", 100))
    for name in names:
        orchestrator.handle(1.0, Heartbeat(name, replicas=(ready(service),)))
    return orchestrator


def of_kind(commands: Sequence[Command], kind: type) -> list[Command]:
    return [command for command in commands if isinstance(command, kind)]


small = st.integers(0, 100)
cores = st.floats(0.0, 8.0, allow_nan=False)
sites = st.builds(
    site,
    st.sampled_from(SITES),
    region=st.sampled_from(REGIONS),
    cores=st.floats(0.25, 8.0),
    memory_mb=st.integers(0, 2048),
)
reports = st.builds(
    ReplicaReport,
    service=st.sampled_from((*SERVICES, "chat@beside", "unheard-of")),
    digest=st.sampled_from((*DIGESTS, "")),
    pending=st.sampled_from((*DIGESTS, "")),
    state=st.sampled_from(("starting", "ready", "failed")),
    error=st.text(max_size=5),
    running=small,
    waiting=small,
    tokens_per_s=cores,
    requests_per_s=cores,
)
beats = st.builds(
    Heartbeat,
    site=st.sampled_from((*SITES, "stranger")),
    radio_load=st.floats(0.0, 1.0),
    radio_need_cores=cores,
    slots_on_time=small,
    slots_missed=small,
    replicas=st.lists(reports, max_size=3).map(tuple),
)
deployments = st.builds(
    ServiceDeployed,
    service=st.sampled_from(SERVICES),
    digest=st.sampled_from(DIGESTS),
    memory_mb=st.integers(0, 1500),
    compute_cores=st.floats(0.1, 4.0),
    regions=st.lists(st.sampled_from((*REGIONS, "nowhere")), max_size=2).map(tuple),
)
demands = st.builds(
    DemandRow,
    origin=st.sampled_from((*SITES, "*", "stranger")),
    service=st.sampled_from((*SERVICES, "unheard-of")),
    requests=st.integers(-1, 1000),
)
rollouts = st.builds(
    RolloutStarted,
    service=st.sampled_from(SERVICES),
    rollout=st.sampled_from(("one", "two")),
    digest=st.sampled_from(DIGESTS),
    memory_mb=st.integers(0, 1500),
    plan=st.sampled_from(
        (
            RolloutPlan(share=0.5, min_requests=1, min_s=0.0, limit_s=4.0, keep_s=3.0),
            RolloutPlan(min_requests=50, min_s=1.0, limit_s=60.0),
        )
    ),
    new_card=st.sampled_from((-1.0, 1.0, 2.0)),
    old_card=st.sampled_from((-1.0, 1.0)),
)
counted = st.builds(
    lambda good, errors: VersionCounts(good + errors, errors), st.integers(0, 99), st.integers(0, 9)
)
versions_seen = st.builds(
    VersionsSeen,
    service=st.sampled_from(SERVICES),
    rollout=st.sampled_from(("one", "two")),
    gateway=st.sampled_from(("g1", "g2")),
    new=counted,
    old=counted,
)
names = st.sampled_from((*SITES, "stranger"))
events: st.SearchStrategy[Event] = st.one_of(
    sites.map(SiteJoined),
    names.map(SiteLeft),
    beats,
    beats,
    names.map(SiteUnreachable),
    st.builds(SiteHeld, names, st.sampled_from(HOLD_NAMES)),
    deployments,
    st.sampled_from((*SERVICES, "unheard-of")).map(ServiceUndeployed),
    st.lists(demands, max_size=4).map(tuple).map(DemandSeen),
    rollouts,
    versions_seen,
    st.builds(RolloutSteered, st.sampled_from(SERVICES), st.sampled_from(VERDICTS)),
    st.just(Tick()),
)
# Time mostly moves on, sometimes stands still, and now and then (a late message) goes back.
histories = st.lists(
    st.tuples(st.sampled_from((0.0, 0.1, 0.3, 1.0, 5.0, -0.2)), events), max_size=40
)


def play(orchestrator: Orchestrator, history: Sequence[tuple[float, Event]]) -> list[list[Command]]:
    now_s, decided = 0.0, []
    for step_s, event in history:
        now_s += step_s
        decided.append(orchestrator.handle(now_s, event))
    return decided
