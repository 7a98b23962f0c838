"""How a grid is started: one typed, frozen record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from aigrid.live.limits import Limits
from aigrid.live.logs import Level
from aigrid.live.paths import GridPaths
from aigrid.live.topology import from_counts, from_file
from aigrid.live.tracing import Telemetry
from aigrid.radio.topology import PlannedSite

FABRIC_PATTERN = r"^(|(nats|tls)://[^\s@,]+(,(nats|tls)://[^\s@,]+)*)$"


class GridSettings(BaseModel):
    """What `aigrid up` decides.

    Attributes:
        data: the data directory.
        port: where the gateway answers.
        host: the address it binds.
        sites: `FACTORIES,HUBS,TOWERS`, unless a topology file is given.
        topology: a file that lists the sites.
        commit: of the code, for recordings.
        protection: what the radio asks of the operating system: `realtime`, `nice` or `off`.
        fabric: `nats://HOST:PORT` for NATS JetStream; empty for the control plane's own HTTP.
        database: URL of PostgreSQL, with its password; empty for SQLite in the data directory.
        advertise: address under which other machines reach this one; empty: nobody else joins.
        door_port: where sites of other machines come in; 0 takes a free one.
        limits: of the data path: queues, times, retries.
        record: folder for a recording of the run, see `live.run_log`; None for none.
        log_level: of all processes.
        otlp: base URL of an OTLP/HTTP receiver of traces; empty for none.
        otlp_sample: share of requests that are traced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    host: str = "127.0.0.1"
    sites: str = "1,1,2"
    topology: Path | None = None
    commit: str = ""
    protection: str = "realtime"
    fabric: Annotated[str, Field(pattern=FABRIC_PATTERN)] = ""
    database: SecretStr = SecretStr("")
    advertise: Annotated[str, Field(max_length=253)] = ""
    door_port: Annotated[int, Field(ge=0, le=65535)] = 8443
    limits: Limits = Field(default_factory=Limits)
    record: Path | None = None
    log_level: Level = "info"
    otlp: Annotated[str, Field(pattern=r"^(|https?://[^\s@]+)$")] = ""
    otlp_sample: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0

    @property
    def telemetry(self) -> Telemetry:
        """Where traces go."""
        return Telemetry(self.otlp, self.otlp_sample)

    @property
    def paths(self) -> GridPaths:
        """The layout of the data directory."""
        return GridPaths(self.data)

    def planned_sites(self) -> tuple[PlannedSite, ...]:
        """The sites to run.

        Raises:
            ConfigurationError: see `live.topology`.
        """
        return from_file(self.topology) if self.topology else from_counts(self.sites)
