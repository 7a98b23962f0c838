# mypy: disable-error-code="no-untyped-def,untyped-decorator"
"""Delay between a user's device and a site: radio, routers, fibre, and congested hub links.

All are compiled, take plain numbers and answer in milliseconds.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from aigrid.control.neighbours import great_circle_km

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# A link is never taken as busier than this: beyond it the formulas have no meaning, and traffic
# would be shed instead.
BUSIEST = 0.98
# What a sender puts on the wire in one go (Linux's limit of generic segmentation offload).
BURST_BYTES = 65_536.0


@njit(**_OPTIONS)
def distance_km(latitude_a_deg, longitude_a_deg, latitude_b_deg, longitude_b_deg):
    """Great-circle distance, as `control` has it; positions may be numbers or arrays of them."""
    a, b = np.radians(latitude_a_deg), np.radians(latitude_b_deg)
    return great_circle_km(a, np.radians(longitude_a_deg), b, np.radians(longitude_b_deg))


@njit(**_OPTIONS)
def fibre_ms(km, fibre_us_per_km, detour):
    """One way through fibre, along a path `detour` times as long as the crow flies.

    Light takes 4.9 microseconds a km in glass of refractive index 1.468 (ITU-T G.652 fibre).
    """
    return km * detour * fibre_us_per_km / 1e3


@njit(**_OPTIONS)
def link_wait_ms(load, gbit_per_s):
    """Mean wait for a hub's link: M/G/1 of bursts of one size (Pollaczek and Khinchine).

    Small at every load that a planned link has: 0.05 ms at 90% of 10 Gbit/s. It is here so that
    an overloaded link is seen; traffic with longer bursts waits in proportion.

    Args:
        load: of the link, 0 to 1; taken as at most `BUSIEST`.
        gbit_per_s: of the link.
    """
    busy = min(max(load, 0.0), BUSIEST)
    burst_ms = BURST_BYTES * 8.0 / (gbit_per_s * 1e6)
    return burst_ms * busy / (2.0 * (1.0 - busy))


@njit(**_OPTIONS)
def transfer_ms(size_bytes, load, gbit_per_s):
    """Mean time to carry a request over a link that all share: M/G/1 processor sharing."""
    busy = min(max(load, 0.0), BUSIEST)
    return size_bytes * 8.0 / (gbit_per_s * 1e6) / (1.0 - busy)


@njit(**_OPTIONS)
def link_load(background, tokens_per_s, bytes_per_token, gbit_per_s):
    """Load of a hub's link: other traffic's share, and the tokens' bytes; may exceed 1."""
    return background + tokens_per_s * bytes_per_token * 8.0 / (gbit_per_s * 1e9)


@njit(**_OPTIONS)
def one_way_ms(km, hops, router_ms, fibre_us_per_km, detour):
    """From the tower that hears a user to a site: `hops` routers and the fibre between."""
    return hops * router_ms + fibre_ms(km, fibre_us_per_km, detour)


@njit(**_OPTIONS)
def round_trip_ms(radio_ms, hop_ms, link_ms):
    """From the user's device to a site and back; `radio_ms` counts both ways, the others one."""
    return radio_ms + 2.0 * (hop_ms + link_ms)
