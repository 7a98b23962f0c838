"""Where an engine's time goes."""

import pytest

from aigrid.engines import meter
from aigrid.engines.meter import Meter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands at its last value."""
    now = [1.0]
    monkeypatch.setattr(meter.time, "perf_counter", lambda: now[-1])
    return now


def test_work_pauses_and_idling_are_told_apart(clock: list[float]) -> None:
    counted = Meter()
    counted.present()
    clock.append(1.5)  # half a second from the first job to the first round
    began_s = counted.begin()
    counted.pieces += 1
    clock.append(1.8)
    filled_s = clock[-1]
    clock.append(2.0)
    assert counted.end(began_s, filled_s) == pytest.approx(0.5)
    counted.idle()
    clock.append(9.0)  # nothing to do for 7 s
    counted.present()
    clock.append(9.25)
    began_s = counted.begin()
    clock.append(9.5)
    counted.end(began_s, 9.3)
    assert counted.fill_s == pytest.approx(0.3)
    assert counted.decode_s == pytest.approx(0.2 + 0.25), "a round without prompts only decodes"
    assert counted.paused_s == pytest.approx(0.5 + 0.25)
    assert counted.rounds == 2
