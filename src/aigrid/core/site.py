"""Sites and cells: the places of the grid that have computers, and their radio."""

from __future__ import annotations

from dataclasses import dataclass

from aigrid.core.errors import ConfigurationError

SITE_KINDS = ("factory", "hub", "tower")


@dataclass(frozen=True, slots=True)
class Cell:
    """A radio cell (5G NR).

    Attributes:
        name: unique within its site.
        numerology: mu of 3GPP TS 38.211 table 4.2-1; the slot lasts 1 ms / 2**mu.
        resource_blocks: width in resource blocks (PRB) of 12 sub-carriers.
        antennas: receive antennas at the site.
        layers: spatial layers scheduled at most.
        modulation_bits: bits per symbol of the scheduled modulation (2, 4, 6 or 8).
        deadline_ms: time from the end of a slot's reception to the end of its processing.
    """

    name: str
    numerology: int = 0
    resource_blocks: int = 52
    antennas: int = 2
    layers: int = 1
    modulation_bits: int = 4
    deadline_ms: float = 2.0

    @property
    def slot_ms(self) -> float:
        """Length of one slot, TS 38.211 section 4.3.2."""
        return 1.0 / (1 << self.numerology)


@dataclass(frozen=True, slots=True)
class Site:
    """A place with computers.

    Attributes:
        name: unique in the grid.
        kind: `factory` (central), `hub` (regional) or `tower` (radio).
        region: country or prefecture, the unit of residency rules.
        latitude_deg: WGS 84.
        longitude_deg: WGS 84.
        compute_cores: cores shared by radio and AI.
        memory_mb: memory for AI services.
        parent: the site above it in the transport network; empty for a root.
        cells: radio cells; empty where there is no radio.
        operator: who runs it, for rules on sovereignty; `own` is the grid's own operator.

    Raises:
        ConfigurationError: an unknown kind, or a number that no site can have.
    """

    name: str
    kind: str
    region: str
    latitude_deg: float = 0.0
    longitude_deg: float = 0.0
    compute_cores: float = 1.0
    memory_mb: int = 1024
    parent: str = ""
    cells: tuple[Cell, ...] = ()
    operator: str = "own"

    def __post_init__(self) -> None:
        if self.kind not in SITE_KINDS:
            raise ConfigurationError(
                f"kind {self.kind!r} of site {self.name!r}",
                next_step=f"use one of {', '.join(SITE_KINDS)}",
            )
        if not (abs(self.latitude_deg) <= 90.0 and abs(self.longitude_deg) <= 180.0):
            raise ConfigurationError(
                f"site {self.name!r} stands at {self.latitude_deg}, {self.longitude_deg}",
                next_step="latitude_deg is -90 to 90, longitude_deg -180 to 180",
            )
        if not (self.compute_cores > 0.0 and self.memory_mb >= 0):
            raise ConfigurationError(
                f"site {self.name!r} has {self.compute_cores} cores and {self.memory_mb} MB",
                next_step="give compute_cores above 0 and memory_mb of 0 or more",
            )
