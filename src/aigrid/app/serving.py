"""Waiting until a service is served: loaded by a site, routed to, and known to the gateway."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from aigrid.core.errors import UnavailableError
from aigrid.live.client import ControlClient

TIMEOUT_S = 120.0
PERIOD_S = 0.1
GATEWAY_TIMEOUT_S = 2.0


def wait_until_served(
    client: ControlClient,
    services: Sequence[str],
    *,
    between: Callable[[], None] = lambda: None,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Wait until one of the services answers.

    Args:
        client: of a running grid.
        services: names of deployed services.
        between: called at every look, e.g. to watch over processes.
        timeout_s: patience.

    Returns:
        The first of them that is served.

    Raises:
        UnavailableError: none is in time; the message tells what the sites say.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        between()
        status = client.status()
        for name in services:
            if is_served(client, status, name):
                return name
        if time.monotonic() > deadline_s or all(has_failed(status, name) for name in services):
            raise _not_served(status, services, timeout_s)
        time.sleep(PERIOD_S)


def is_served(client: ControlClient, status: dict[str, Any], name: str) -> bool:
    """Whether a request for the service would be answered with its deployed version."""
    service = _service(status, name)
    if service is None or not service["ready_sites"]:
        return False
    routes = client.routes()
    is_routed = any(row["service"] == name and row["candidates"] for row in routes["routes"])
    return is_routed and gateway_routes(client.base_url) >= routes["version"]


def gateway_routes(base_url: str) -> int:
    """The version of the routing table that the gateway holds; -1 while it has none."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=GATEWAY_TIMEOUT_S)
    try:
        connection.request("GET", "/v1/health/ready")
        answer = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return -1
    finally:
        connection.close()
    return int(answer.get("routes_version", -1))


def has_failed(status: dict[str, Any], name: str) -> bool:
    """Whether every site that shall serve it has given up."""
    service = _service(status, name)
    return service is not None and 0 < service["wanted_sites"] <= len(failures(status, name))


def failures(status: dict[str, Any], name: str) -> list[str]:
    """What sites say of a service that they could not load, one line each."""
    return [
        f"{site['name']}: {replica['error']}"
        for site in status["sites"]
        for replica in site["replicas"]
        if replica["service"] == name and replica["state"] == "failed"
    ]


def _service(status: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((s for s in status["services"] if s["name"] == name), None)


def _not_served(
    status: dict[str, Any], services: Sequence[str], timeout_s: float
) -> UnavailableError:
    told = [line for name in services for line in failures(status, name)]
    reason = told[0] if told else f"still loading after {timeout_s:.0f} s"
    return UnavailableError(
        f"{', '.join(services)} is served by no site: {reason}",
        next_step="see `aigrid status` and the logs in the data directory",
    )
