import numpy as np
import pytest

from aigrid.core.errors import ConfigurationError
from aigrid.radio.config import parse_config
from aigrid.radio.profile import (
    ConstantLoad,
    DailyLoad,
    StepLoad,
    next_busy,
    schedule,
    scheduled_prbs,
)


def _draw(load, burstiness, correlation, total=52, slots=60_000, seed=0):
    process = schedule(burstiness, correlation, total, np.random.default_rng(seed))
    next(process)
    return np.array([process.send(load) for _ in range(slots)])


@pytest.mark.parametrize("load", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("burstiness", [0.0, 0.8, 1.0])
def test_scheduled_blocks_have_the_asked_mean(load, burstiness):
    assert _draw(load, burstiness, 0.5).mean() / 52 == pytest.approx(load, abs=0.012)


def test_burstiness_leaves_slots_empty_or_full():
    drawn = _draw(0.3, 1.0, 0.5)
    assert set(np.unique(drawn)) == {0, 52}
    assert set(np.unique(_draw(0.3, 0.0, 0.5))) <= {15, 16}


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_consecutive_slots_correlate_as_asked(correlation):
    drawn = _draw(0.4, 1.0, correlation).astype(float)
    assert np.corrcoef(drawn[1:], drawn[:-1])[0, 1] == pytest.approx(correlation, abs=0.03)


def test_the_same_seed_gives_the_same_load():
    np.testing.assert_array_equal(
        _draw(0.3, 0.8, 0.5, slots=3000), _draw(0.3, 0.8, 0.5, slots=3000)
    )


def test_chance_decides_only_within_the_states_probability():
    assert next_busy(False, 0.3, 0.5, 0.149)
    assert not next_busy(False, 0.3, 0.5, 0.151)
    assert next_busy(True, 0.3, 0.5, 0.649)
    assert scheduled_prbs(True, 1.0, 0.0, 10, 0.999) == 10


def test_steps_hold_until_the_next_one():
    profile = StepLoad(steps=((5.0, 0.1), (10.0, 0.9)))
    assert [profile.utilisation_at(t) for t in (0, 5, 9.99, 10, 1e6)] == [0.1, 0.1, 0.1, 0.9, 0.9]


def test_a_day_is_compressed_and_wraps():
    day = DailyLoad(kind="daily", shape="home", day_s=240.0, peak=0.8)
    assert day.utilisation_at(215.0) == pytest.approx(0.8)
    assert day.utilisation_at(50.0) < 0.2
    assert day.utilisation_at(24.0) == pytest.approx(day.utilisation_at(264.0))


@pytest.mark.parametrize(("shape", "hour"), [("home", 21.5), ("office", 10.5), ("transport", 8.0)])
def test_every_shape_peaks_at_its_hour(shape, hour):
    day = DailyLoad(kind="daily", shape=shape, day_s=86_400, peak=1.0)
    times = np.arange(0, 86_400, 300)
    loads = [day.utilisation_at(t) for t in times]
    assert times[int(np.argmax(loads))] / 3600 == hour
    assert max(loads) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("profile", "named"),
    [
        ('{"kind": "constant", "load": 1.2}', "1.2"),
        ('{"kind": "constant", "laod": 0.2}', "laod"),
        ('{"kind": "wave"}', "wave"),
        ('{"kind": "steps", "steps": []}', "steps"),
        ('{"kind": "steps", "steps": [[5, 0.1], [5, 0.2]]}', "order"),
        ('{"kind": "daily", "day_s": 0}', "day_s"),
        ('{"kind": "constant", "burstiness": -1}', "burstiness"),
        ('{"kind": "constant", "correlation": 1.0}', "correlation"),
    ],
)
def test_a_wrong_profile_is_refused_by_name(profile, named):
    text = f'{{"site": "s", "cell": {{"name": "c"}}, "counters": "x", "profile": {profile}}}'
    with pytest.raises(ConfigurationError, match=rf"file\.json.*{named}") as caught:
        parse_config(text, "file.json")
    assert caught.value.next_step
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ('"cell": {"name": "c", "antenas": 2}', "antenas"),
        ('"cell": {"name": "c", "resource_blocks": 999}', "999"),
        ('"cell": {}', "name"),
        ('"cell": {"name": "c"}, "speed": 1', "speed"),
        ('"cell": {"name": "c"}, "protection": "yes"', "yes"),
        ('"cell": {"name": "c"}, "seed": -1', "seed"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(change, named):
    with pytest.raises(ConfigurationError, match=named):
        parse_config(f'{{"site": "s", "counters": "x", {change}}}', "file.json")


def test_broken_json_is_refused():
    with pytest.raises(ConfigurationError, match=r"file\.json"):
        parse_config("{", "file.json")


def test_defaults_fill_the_rest():
    config = parse_config('{"site": "s", "cell": {"name": "c"}, "counters": "x"}', "file.json")
    assert config.profile == ConstantLoad()
    assert config.cell.resource_blocks == 52
