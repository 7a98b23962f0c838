"""What a scenario as a whole makes one doubt, though each of its values is possible."""

from __future__ import annotations

import numpy as np

from aigrid.core.site import SITE_KINDS
from aigrid.twin.country.network import TOWER
from aigrid.twin.country.problems import Problems
from aigrid.twin.country.scenario import Country
from aigrid.twin.models.roofline import fits
from aigrid.twin.models.service import Service

# Devices of a site that work on one request together, at most.
TOGETHER = 8
MANY_REQUESTS = 1000.0
DAY_MIN = 1440


def doubts(country: Country, origin: str, problems: Problems) -> None:
    """Warn of services that fit nowhere or are hardly asked for, and of towers without people."""
    for service in country.services:
        _homeless(country, service, origin, problems)
    network = country.network
    towers = network.kind == TOWER
    empty = int(np.count_nonzero(towers & (network.customers <= 0.0)))
    if empty and network.customers[towers].any():
        what = f"{empty:,} of {int(towers.sum()):,} towers have no customers"
        problems.warn(origin, 0, "sites", what, "nobody asks for AI there; is that meant?")
    for service in country.services:
        wanted = service.requests_per_customer_day
        if wanted > MANY_REQUESTS:
            what = f"{service.name}: {wanted:,.0f} requests a customer and day"
            step = "give requests_per_customer_day, or more customers"
            problems.warn(origin, 0, "services", what, step)
    if country.minutes % DAY_MIN:
        what = f"{country.minutes:,} minutes are no whole days"
        step = "figures of money stand for a year of such hours; 1440 is a day"
        problems.warn(origin, 0, "minutes", what, step)


def _homeless(country: Country, service: Service, origin: str, problems: Problems) -> None:
    network = country.network
    lawful = np.ones(len(network), np.bool_)
    if service.regions:
        known = [i for i, name in enumerate(network.regions) if name in service.regions]
        lawful = np.isin(network.region, known)
        if unknown := [name for name in service.regions if name not in network.regions]:
            what = f"{service.name}: no site stands in region {unknown[0]!r}"
            problems.warn(origin, 0, "services", what, "see the column `region` of the sites")
    kinds = [i for i, name in enumerate(SITE_KINDS) if not service.kinds or name in service.kinds]
    lawful &= np.isin(network.kind, kinds) & (network.devices > 0.0)
    sizes = np.clip(network.devices[lawful], 1.0, TOGETHER).astype(np.int64)
    different = set(zip(network.device[lawful].tolist(), sizes.tolist(), strict=True))
    if not any(fits(service, country.devices[device], size) for device, size in different):
        what = f"{service.name} fits no site where it may run: it will be refused everywhere"
        step = f"it needs {service.weight_bytes / 1e9:,.0f} GB; give larger devices, or more kinds"
        problems.warn(origin, 0, "services", what, step)
