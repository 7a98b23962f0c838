"""Each rule is broken on purpose, and its checker bites and says where."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.twin.fluid import small

from aigrid.control import place
from aigrid.control.policy import Policy
from aigrid.twin.fluid import checks, flows, guarded, rehearse
from aigrid.twin.fluid.checks import RuleBrokenError, Where
from aigrid.twin.fluid.ground import Ground, ground_of
from aigrid.twin.policies import plan_of


@pytest.fixture(scope="module")
def ground() -> Ground:
    plan = plan_of("aigrid")
    services = (small.service(kinds=("hub", "factory")), small.vision())
    return ground_of(small.country(services=services), plan, Policy())


@pytest.fixture
def where(ground: Ground) -> Where:
    return Where("aigrid", 7, ground)


def ran() -> None:
    rehearse(small.country(minutes=2), ["aigrid"], seed=1)


def spoilt(real: Callable[..., object], by: Callable[[object], object]) -> Callable[..., object]:
    return lambda *given: by(real(*given))


def test_requests_that_vanish_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(*given: object) -> object:
        found, arrive = real(*given), given[3]
        assert isinstance(arrive, np.ndarray)
        arrive[9] = 0.0
        return found

    real = flows.push
    monkeypatch.setattr(flows, "push", forgetful)
    with pytest.raises(RuleBrokenError, match=r"policy aigrid, minute 0, all sites: .*conserved"):
        ran()


def test_a_site_over_its_memory_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "choose", spoilt(place.choose, np.ones_like))
    heavy = [small.service(name, memory_parameters=1.2e10) for name in ("one", "two")]
    with pytest.raises(RuleBrokenError, match=r"minute 0, site site-\d+: memory"):
        rehearse(small.country(services=tuple(heavy), minutes=2), ["aigrid"], 1)


def test_a_share_that_the_radio_needs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "set_shares", small.generous(guarded.set_shares))
    with pytest.raises(RuleBrokenError, match=r"site site-\d+: radio short by choice: share 1"):
        ran()


def test_ai_where_it_must_be_off_is_noticed(where: Where, ground: Ground) -> None:
    share, need = np.zeros(len(ground.network)), np.zeros(len(ground.network))
    blocked = np.zeros(len(share), np.bool_)
    share[20], blocked[20], every = 0.1, True, slice(0, len(share))
    with pytest.raises(RuleBrokenError, match="site site-20: radio short by choice"):
        checks.radio_first(where, share, need, blocked, every)
    checks.radio_first(where, share, need, np.zeros_like(blocked), every)


def test_work_beyond_the_share_is_noticed(where: Where, ground: Ground) -> None:
    share, served = np.full(len(ground.network), 0.5), np.zeros((2, len(ground.network)))
    every = slice(0, len(share))
    served[1, 30] = 60.0 * 0.5 * ground.compute[30] / ground.work_s[1, ground.type_of[30]]
    checks.within_compute(where, share, served, every)
    served[1, 30] *= 1.01
    with pytest.raises(RuleBrokenError, match=r"minute 7, site site-30: compute: .* devices used"):
        checks.within_compute(where, share, served, every)


def test_the_first_site_that_works_too_much_is_named_wherever_it_is() -> None:
    country = small.country(network=small.network(towers=2500))
    ground = ground_of(country, plan_of("aigrid"), Policy())
    where, count = Where("aigrid", 7, ground), len(ground.network)
    share, served = np.full(count, 0.5), np.zeros((2, count))
    for row in (2400, 1500, 9):
        served[0, row] = 61.0 * 0.5 * ground.compute[row] / ground.work_s[0, ground.type_of[row]]
    # The first block has sites of several types, the others of one.
    for start, row in ((0, 9), (10, 1500), (1501, 2400)):
        with pytest.raises(RuleBrokenError, match=f"site site-{row}: compute"):
            checks.within_compute(where, share, served, slice(start, count))
    checks.within_compute(where, share, served, slice(1501, 2400))
    share[1700] = np.nan
    with pytest.raises(RuleBrokenError, match="site site-1700: compute"):
        checks.within_compute(where, share, served, slice(1501, count))


def test_a_request_outside_its_regions_is_noticed(where: Where, ground: Ground) -> None:
    share, served = np.ones(len(ground.network)), np.zeros((2, len(ground.network)))
    served[0, 40] = 1e-6
    with pytest.raises(RuleBrokenError, match=r"site site-40: .*outside its allowed regions: chat"):
        checks.within_compute(where, share, served, slice(0, len(share)))


def test_a_service_placed_outside_its_kinds_is_noticed(where: Where, ground: Ground) -> None:
    placed = np.zeros_like(ground.allowed)
    checks.allowed(where, placed)
    placed[0, 50] = True
    with pytest.raises(
        RuleBrokenError, match=r"site site-50: .*outside its regions or kinds: chat"
    ):
        checks.allowed(where, placed)
