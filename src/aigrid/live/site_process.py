"""A site as a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aigrid.core.codec import from_plain
from aigrid.core.site import Site
from aigrid.engines.egress import Egress
from aigrid.live import fabric, server
from aigrid.live.limits import Limits
from aigrid.live.paths import GridPaths, read_secret
from aigrid.live.site_agent import SiteAgent
from aigrid.live.site_api import SiteApi
from aigrid.live.site_log import SiteLog
from aigrid.live.tracing import Telemetry
from aigrid.live.tracing.web import tracer_of


def main(raw: dict[str, Any]) -> None:
    """Run a site; `raw` comes from the supervisor."""
    paths = GridPaths(Path(raw["data"]))
    site: Site = from_plain(Site, raw["site"], "site configuration")
    token = read_secret(paths.grid_token)
    limits = from_plain(Limits, raw.get("limits", {}), "limits")
    way = fabric.Fabric.read(raw["fabric"])
    bound = server.listen(raw["host"], 0)
    agent = SiteAgent(
        site=site,
        url=f"http://{raw['host']}:{bound.getsockname()[1]}",
        control_url=raw["control_url"],
        grid_token=token,
        source=fabric.source_of(
            way,
            raw["control_url"],
            token,
            paths.site(site.name),
            tuple(Path(key) for key in raw["trusted_keys"]),
        ),
        link=fabric.link_of(way, site.name, raw["control_url"], token),
        counters=tuple(paths.counters(site.name, cell.name) for cell in site.cells),
        yields=raw["yields"],
    )
    agent.replicas.egress = Egress(paths.upstreams)
    log = SiteLog(Path(raw["record"]), agent.replicas, site.name) if raw.get("record") else None
    try:
        telemetry = from_plain(Telemetry, raw.get("telemetry", {}), "telemetry")
        tracer = tracer_of(telemetry, "site", site.name, at_the_door=False)
        app = SiteApi(agent, token, limits, tracer=tracer).app()
        server.run(server.serve(app, bound, agent.leave, limits))
    finally:
        if log is not None:
            log.close()
