"""The grid's state as columns: one row per site, per service, per (site, service).

200,000 sites are arrays, not objects. Rows are only appended; a site that leaves keeps its row, so
that indices stay valid. Growth doubles capacity, so appending costs amortised constant time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aigrid.core.site import SITE_KINDS, Site

ABSENT, UP, LOST, LEFT = 0, 1, 2, 3
STATUS_NAMES = ("absent", "up", "lost", "left")
FREE, CORDONED, DRAINING = 0, 1, 2
HOLD_NAMES = ("free", "cordoned", "draining")
NO_VERSION = -1

FloatColumn = NDArray[np.float64]
IntColumn = NDArray[np.int32]
SmallColumn = NDArray[np.int8]
BoolColumn = NDArray[np.bool_]


def _floats(*shape: int) -> FloatColumn:
    return np.zeros(shape, np.float64)


@dataclass(slots=True)
class SiteColumns:
    """One row per site."""

    kind: SmallColumn = field(default_factory=lambda: np.zeros(0, np.int8))
    region: IntColumn = field(default_factory=lambda: np.zeros(0, np.int32))
    latitude_deg: FloatColumn = field(default_factory=lambda: _floats(0))
    longitude_deg: FloatColumn = field(default_factory=lambda: _floats(0))
    compute_cores: FloatColumn = field(default_factory=lambda: _floats(0))
    memory_mb: FloatColumn = field(default_factory=lambda: _floats(0))
    parent: IntColumn = field(default_factory=lambda: np.zeros(0, np.int32))
    has_radio: BoolColumn = field(default_factory=lambda: np.zeros(0, np.bool_))
    status: SmallColumn = field(default_factory=lambda: np.zeros(0, np.int8))
    hold: SmallColumn = field(default_factory=lambda: np.zeros(0, np.int8))
    heartbeat_s: FloatColumn = field(default_factory=lambda: _floats(0))
    radio_load: FloatColumn = field(default_factory=lambda: _floats(0))
    radio_need_cores: FloatColumn = field(default_factory=lambda: _floats(0))
    slots_on_time: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    slots_missed: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    missed_lately: BoolColumn = field(default_factory=lambda: np.zeros(0, np.bool_))
    share: FloatColumn = field(default_factory=lambda: _floats(0))
    share_set_s: FloatColumn = field(default_factory=lambda: _floats(0))
    next_share: FloatColumn = field(default_factory=lambda: _floats(0))


@dataclass(slots=True)
class ReplicaColumns:
    """One row per (site, service): arrays of shape (sites, services).

    `demand_per_s` is what comes from a site's place; `expected_per_s` what may come to the site
    from there and below, as placement reckons. The rest is what the site holds.
    """

    wanted: BoolColumn = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    started: IntColumn = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    serving: IntColumn = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    failed: IntColumn = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    failures: IntColumn = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    retry_at_s: FloatColumn = field(default_factory=lambda: _floats(0, 0))
    running: FloatColumn = field(default_factory=lambda: _floats(0, 0))
    waiting: FloatColumn = field(default_factory=lambda: _floats(0, 0))
    tokens_per_s: FloatColumn = field(default_factory=lambda: _floats(0, 0))
    requests_per_s: FloatColumn = field(default_factory=lambda: _floats(0, 0))
    demand_per_s: FloatColumn = field(default_factory=lambda: _floats(0, 0))
    expected_per_s: FloatColumn = field(default_factory=lambda: _floats(0, 0))


_VERSION_COLUMNS = ("started", "serving", "failed")
_DEMAND_COLUMNS = ("demand_per_s", "expected_per_s")


@dataclass(slots=True)
class ServiceColumns:
    """One row per service; `version[s]` points into `digests[s]`, the versions ever wanted.

    `demand_per_s` is what comes from no known place; `residence_s` how long a request stays on a
    site, 0 while unknown.
    """

    wanted: BoolColumn = field(default_factory=lambda: np.zeros(0, np.bool_))
    version: IntColumn = field(default_factory=lambda: np.zeros(0, np.int32))
    memory_mb: FloatColumn = field(default_factory=lambda: _floats(0))
    compute_cores: FloatColumn = field(default_factory=lambda: _floats(0))
    ttft_ms: FloatColumn = field(default_factory=lambda: _floats(0))
    residence_s: FloatColumn = field(default_factory=lambda: _floats(0))
    demand_per_s: FloatColumn = field(default_factory=lambda: _floats(0))
    digests: list[list[str]] = field(default_factory=list)
    regions: list[tuple[int, ...]] = field(default_factory=list)


class Beside(NamedTuple):
    """A service's second version, a service of its own for placement and routes.

    Attributes:
        column: of the service that it stands beside.
        share: it may come to this fraction of that one's sites; 0 where it may stay, not come.
    """

    column: int
    share: float


@dataclass(slots=True)
class GridState:
    """Everything the orchestrator knows; `beside` tells which columns are second versions."""

    sites: SiteColumns = field(default_factory=SiteColumns)
    services: ServiceColumns = field(default_factory=ServiceColumns)
    replicas: ReplicaColumns = field(default_factory=ReplicaColumns)
    site_names: list[str] = field(default_factory=list)
    service_names: list[str] = field(default_factory=list)
    region_names: list[str] = field(default_factory=list)
    site_row: dict[str, int] = field(default_factory=dict)
    service_row: dict[str, int] = field(default_factory=dict)
    orphans: dict[str, list[int]] = field(default_factory=dict)
    demand_at_s: float = 0.0
    beside: dict[int, Beside] = field(default_factory=dict)

    @property
    def site_count(self) -> int:
        """Rows in use; arrays may be longer."""
        return len(self.site_names)

    @property
    def service_count(self) -> int:
        """Columns in use of the (site, service) arrays."""
        return len(self.service_names)

    def put_site(self, site: Site) -> int:
        """Write a site's row, appending it when the name is new; returns the row."""
        row = self.site_row.get(site.name)
        if row is None:
            row = self._append_site(site.name)
        columns = self.sites
        columns.kind[row] = SITE_KINDS.index(site.kind)
        columns.region[row] = self.region_index(site.region)
        columns.latitude_deg[row] = site.latitude_deg
        columns.longitude_deg[row] = site.longitude_deg
        columns.compute_cores[row] = site.compute_cores
        columns.memory_mb[row] = site.memory_mb
        columns.has_radio[row] = bool(site.cells)
        self._link_parent(row, site)
        return row

    def region_index(self, region: str) -> int:
        """The number of a region, given on first use."""
        if region not in self.region_names:
            self.region_names.append(region)
        return self.region_names.index(region)

    def put_service(self, name: str) -> int:
        """The column of a service, appending it when the name is new."""
        if name in self.service_row:
            return self.service_row[name]
        column = len(self.service_names)
        self.service_names.append(name)
        self.service_row[name] = column
        self.services.digests.append([])
        self.services.regions.append(())
        _grow_rows(self.services, column + 1)
        self._grow_replicas()
        return column

    def forget_replicas(self, row: int) -> None:
        """A site restarted: it holds nothing. What is asked for at its place does not change."""
        for name in self.replicas.__slots__:
            if name in _DEMAND_COLUMNS:
                continue
            getattr(self.replicas, name)[row] = NO_VERSION if name in _VERSION_COLUMNS else 0

    def _append_site(self, name: str) -> int:
        row = len(self.site_names)
        self.site_names.append(name)
        self.site_row[name] = row
        _grow_rows(self.sites, row + 1)
        self.sites.share[row] = self.sites.next_share[row] = 1.0
        self.sites.parent[row] = -1
        self._grow_replicas()
        return row

    def _link_parent(self, row: int, site: Site) -> None:
        """Point to the parent, now or when it joins; adopt the rows that waited for this one."""
        self.sites.parent[row] = self.site_row.get(site.parent, -1)
        if site.parent and site.parent not in self.site_row:
            self.orphans.setdefault(site.parent, []).append(row)
        for child in self.orphans.pop(site.name, ()):
            self.sites.parent[child] = row

    def _grow_replicas(self) -> None:
        rows = _capacity(self.replicas.wanted.shape[0], self.site_count)
        columns = _capacity(self.replicas.wanted.shape[1], self.service_count)
        if (rows, columns) == self.replicas.wanted.shape:
            return
        for name in self.replicas.__slots__:
            old = getattr(self.replicas, name)
            fill = NO_VERSION if name in _VERSION_COLUMNS else 0
            new = np.full((rows, columns), fill, old.dtype)
            new[: old.shape[0], : old.shape[1]] = old
            setattr(self.replicas, name, new)


def _capacity(have: int, need: int) -> int:
    return have if need <= have else max(need, 2 * have, 4)


def _grow_rows(columns: SiteColumns | ServiceColumns, need: int) -> None:
    for name in columns.__slots__:
        old = getattr(columns, name)
        if not isinstance(old, np.ndarray) or need <= len(old):
            continue
        new = np.zeros(_capacity(len(old), need), old.dtype)
        new[: len(old)] = old
        setattr(columns, name, new)
