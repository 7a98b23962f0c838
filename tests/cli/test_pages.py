"""What people see, without a grid behind it."""

import io

import pytest
from rich.console import Console

from aigrid.cli.chat import printable
from aigrid.cli.status_view import bar, duration, status_view
from aigrid.cli.store import size

REPLICA = {
    "service": "first-light",
    "version": "1.0.0",
    "state": "ready",
    "error": "",
    "running": 0,
    "waiting": 0,
}
RADIO = {"load": 0.5, "slots_on_time": 12_000, "slots_missed": 45}
TOWER = {
    "name": "tower-1",
    "kind": "tower",
    "status": "up",
    "restarts": 0,
    "share": 0.53,
    "radio": RADIO,
    "replicas": [REPLICA],
    "tokens_per_s": 1234.0,
    "requests_per_s": 12.5,
}
FACTORY = TOWER | {"name": "factory-1", "kind": "factory", "radio": None}
STATUS = {
    "endpoint": "http://127.0.0.1:8080/v1",
    "uptime_s": 65.0,
    "routes_version": 3,
    "sites": [TOWER, FACTORY],
    "services": [],
    "gateway": {
        "requests_per_s": 2.0,
        "in_flight": 1,
        "requests_total": 10,
        "retries_total": 0,
        "errors_total": 0,
    },
}


def drawn(status: dict[str, object], width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, no_color=True).print(status_view(status, width))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_status_page_fits_the_terminal(width: int) -> None:
    page = drawn(STATUS, width)
    assert max(map(len, page.splitlines())) <= width
    assert "…" not in page, "nothing is cut off"
    for words in ("factory-1", "53%", "50%", "45", "first-light:1.0.0", "12.5", "1,234"):
        assert words in page
    assert page.index("factory-1") < page.index("tower-1")
    assert "aigrid deploy" in page, "nothing is deployed, and the page says what to do"


def test_a_replica_that_failed_is_explained() -> None:
    failed = REPLICA | {"state": "failed", "error": "wrong digest", "version": ""}
    page = drawn(STATUS | {"sites": [TOWER | {"replicas": [failed]}]}, 100)
    assert "tower-1 cannot serve first-light: wrong digest" in page


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(-1, "░░░░   0%"), (0.53, "██▏░  53%"), (1.0, "████ 100%"), (9, "████ 100%")],
)
def test_bars(fraction: float, shown: str) -> None:
    assert bar(fraction, "", 4).plain == shown


def test_durations_and_sizes() -> None:
    assert [duration(s) for s in (5.7, 65, 7620)] == ["5 s", "1 min 5 s", "2 h 7 min"]
    assert [size(n) for n in (950, 250_000, 12_300_000)] == ["0.9 kB", "0.2 MB", "12.3 MB"]


def test_a_model_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\n\tç") == "a�[2Jb�\n\tç"
