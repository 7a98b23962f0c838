"""What a plan is asked for, and what may be bought."""

from __future__ import annotations

from dataclasses import dataclass

from aigrid.core.errors import ConfigurationError
from aigrid.core.site import SITE_KINDS
from aigrid.twin.country.scenario import Country
from aigrid.twin.models.device import Device

BUY, STAND, OFF = "buy", "stand", "off"
TOWERS = (BUY, STAND, OFF)
SERVICES_LIMIT = 8
PERIODS = 8


@dataclass(frozen=True, slots=True)
class Terms:
    """What is wanted.

    Attributes:
        slo_share: of requests that must keep TTFT and TPOT, at every site and time of day.
        budget_usd: of capital; infinite for no limit.
        devices: that may be bought for hubs and factories.
        towers: `buy`: a tower's computer that does AI too is bought instead of one for the radio
            alone; `stand`: it stands there already; `off`: no AI at towers.
        kinds: of sites where devices may be bought.
        usd_per_tb: carried from a tower to a hub or a factory; an assumption to vary.
    """

    devices: tuple[Device, ...]
    slo_share: float = 0.95
    budget_usd: float = float("inf")
    towers: str = BUY
    kinds: tuple[str, ...] = SITE_KINDS
    usd_per_tb: float = 10.0


def check(terms: Terms, country: Country) -> None:
    """Refuse what cannot be planned.

    Raises:
        ConfigurationError: a number or name out of range.
    """
    if len(country.services) > SERVICES_LIMIT:
        raise ConfigurationError(
            f"{country.name} has {len(country.services)} services",
            next_step=f"plan {SERVICES_LIMIT} at most at once",
        )
    if not 0.5 <= terms.slo_share < 1.0:
        raise ConfigurationError(
            f"share of requests that keep the SLO is {terms.slo_share!r}",
            next_step="give 0.5 to below 1, such as 0.95",
        )
    if not terms.budget_usd >= 0.0:
        raise ConfigurationError(f"budget is {terms.budget_usd!r}", next_step="give USD, 0 or more")
    if terms.towers not in TOWERS:
        raise ConfigurationError(
            f"towers {terms.towers!r}", next_step=f"use one of {', '.join(TOWERS)}"
        )
    if wrong := [kind for kind in terms.kinds if kind not in SITE_KINDS]:
        raise ConfigurationError(
            f"kind of site {wrong[0]!r}", next_step=f"use {', '.join(SITE_KINDS)}"
        )
    if not any(service.requests_per_customer_day > 0.0 for service in country.services):
        raise ConfigurationError("there is no demand to plan for", next_step="raise --demand")
    if not terms.devices:
        raise ConfigurationError("no device may be bought", next_step="name one by --device")
