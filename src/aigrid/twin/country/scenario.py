"""A country's scenario as plain frozen values; `files` reads it from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.network import Network
from aigrid.twin.models.device import Device
from aigrid.twin.models.service import Service


@dataclass(frozen=True, slots=True)
class RadioModel:
    """How radio load becomes need of compute; see `models.slots` for the formulas.

    Attributes:
        slot_ms: length of a slot.
        deadline_ms: from the end of a slot's reception to the end of its processing.
        fixed: need of a cell in an empty slot, in devices (synchronisation, control channels).
        per_load: further need of a cell whose slot is full, in devices.
        burstiness: 0 gives every slot the mean load, 1 full and empty slots only.
        spread: standard deviation of log load around the daily shape, of 2-minute means.
        memory: correlation of that deviation from one minute to the next.
        headroom: a site's radio is sized for its need with all cells full, times 1 + headroom.
    """

    slot_ms: float
    deadline_ms: float
    fixed: float
    per_load: float
    burstiness: float
    spread: float
    memory: float
    headroom: float


@dataclass(frozen=True, slots=True)
class NetworkPath:
    """Delays between a user's device and a site.

    Attributes:
        radio_ms: scheduling request, grant, HARQ, there and back.
        router_ms: of each hop (tower to hub, hub to hub or factory), one way.
        fibre_us_per_km: 4.9 is light in fibre.
        detour: path length over the crow's.
        hub_gbit_per_s: of a hub's uplink.
        background: share of that uplink taken by other traffic at the busiest hour.
        bytes_per_token: on the wire, with framing.
    """

    radio_ms: float
    router_ms: float
    fibre_us_per_km: float
    detour: float
    hub_gbit_per_s: float
    background: float
    bytes_per_token: float


@dataclass(frozen=True, slots=True)
class Money:
    """Prices.

    Attributes:
        usd_per_kwh: energy.
        pue: energy of a site over that of its computers.
        life_years: over which capital is written off.
        upkeep: yearly share of capital.
        radio_only_tower_usd: capital of a tower's computer that can do the radio and no AI.
        radio_usd_per_customer_year: what the radio earns, for readings that count it.
    """

    usd_per_kwh: float
    pue: float
    life_years: float
    upkeep: float
    radio_only_tower_usd: float
    radio_usd_per_customer_year: float


@dataclass(frozen=True, slots=True)
class Country:
    """A rehearsal but for its seed and policies.

    Attributes:
        name: for people.
        network: sites.
        devices: that `network.device` points into.
        services: S of them.
        radio_shapes: names that `network.shape` points into (`home`, `office`, ...); beyond them it
            points into `own_load`.
        radio: need of compute.
        path: delays.
        money: prices.
        minutes: simulated.
        route_period_min: minutes between two routing decisions.
        place_period_min: minutes between two placements.
        demand_spread: standard deviation of log demand around its daily shape, a minute's mean.
        bursts: a burst a site and day, on average ...
        burst_factor: ... multiplies its demand by this ...
        burst_min: ... for so many minutes.
        queue_limit: requests in line at a site and service, at most, as a multiple of its places.
        policies: names, in order.
        dials: of `control.policy.Policy`, that differ from its defaults.
        sources: name of a parameter to where it comes from.
        own_load: (C, bins) float32, typical days of one's own: mean load of each time of day, from
            midnight on, over that of the busiest hour.
        demand_curves: by service, where a trace gave it: (1440,) over a mean minute.
        files_sha256: of one's own files; empty where there are none.
    """

    name: str
    network: Network
    devices: tuple[Device, ...]
    services: tuple[Service, ...]
    radio_shapes: tuple[str, ...]
    radio: RadioModel
    path: NetworkPath
    money: Money
    minutes: int = 1440
    route_period_min: int = 5
    place_period_min: int = 60
    demand_spread: float = 0.2
    bursts: float = 0.5
    burst_factor: float = 3.0
    burst_min: int = 10
    queue_limit: float = 2.0
    policies: tuple[str, ...] = ("aigrid",)
    dials: dict[str, float] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    own_load: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 1440), np.float32))
    demand_curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    files_sha256: str = ""

    def shape_name(self, row: int) -> str:
        """Name of a site's radio shape; empty where its load is its own."""
        shape = int(self.network.shape[row])
        return self.radio_shapes[shape] if shape < len(self.radio_shapes) else ""
