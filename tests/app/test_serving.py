from typing import Any

import pytest

from aigrid.app import serving
from aigrid.core.errors import UnavailableError


class Client:
    """A control plane's client that answers one status after the other, then the last again."""

    base_url = "http://127.0.0.1:1/v1"

    def __init__(self, *statuses: dict[str, Any]) -> None:
        self.statuses = list(statuses)

    def status(self) -> dict[str, Any]:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def routes(self) -> dict[str, Any]:
        row = {"origin": "*", "service": "a", "candidates": [{"site": "s", "weight": 1.0}]}
        return {"version": 3, "routes": [row]}


def seen(ready: int, *errors: str) -> dict[str, Any]:
    replicas = [{"service": "a", "state": "failed", "error": text} for text in errors]
    return {
        "services": [{"name": "a", "ready_sites": ready, "wanted_sites": 1}],
        "sites": [{"name": "tower-1", "replicas": replicas}],
    }


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PERIOD_S", 0.0)


def test_waits_for_a_site_and_for_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [2, 3]
    monkeypatch.setattr(serving, "gateway_routes", lambda _: versions.pop(0))
    client = Client(seen(0), seen(1), seen(1))
    assert serving.wait_until_served(client, ["a"]) == "a"
    assert versions == []


def test_gives_up_at_once_when_every_site_has() -> None:
    with pytest.raises(UnavailableError, match="tower-1: wrong digest"):
        serving.wait_until_served(Client(seen(0, "wrong digest")), ["a"])


def test_gives_up_after_a_while() -> None:
    with pytest.raises(UnavailableError, match="still loading after 0 s"):
        serving.wait_until_served(Client(seen(0)), ["a"], timeout_s=0.0)


def test_a_gateway_that_does_not_answer_has_no_routes() -> None:
    assert serving.gateway_routes("http://127.0.0.1:1/v1") == -1
