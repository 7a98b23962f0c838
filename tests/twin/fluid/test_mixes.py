"""A site is read in a table of what is asked of it, not of what a whole country asks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.twin.fluid import small

from aigrid.control.policy import Policy
from aigrid.twin.fluid import mixes
from aigrid.twin.fluid.ground import Ground, ground_of
from aigrid.twin.fluid.mixes import WHOLE, Mixes
from aigrid.twin.fluid.responses import (
    EDGES_S,
    FULL_STEPS,
    SPEED_LOOKUP,
    SPEED_STEPS,
    SPEEDS,
    WARM,
    Responses,
)
from aigrid.twin.fluid.tabulate import responses_of
from aigrid.twin.fluid.threads import Threads
from aigrid.twin.models.lengths import fixed
from aigrid.twin.policies import plan_of

CHAT, VISION = 0, 1


@pytest.fixture(scope="module")
def ground() -> Ground:
    """Prompts of a chat that take a tower sixty times as long as a frame."""
    services = (small.service(prompt_tokens=fixed(8000.0)), small.vision())
    country = replace(small.country(), services=services)
    return ground_of(country, plan_of("aigrid"), Policy())


@pytest.fixture(scope="module")
def responses(ground: Ground) -> Responses:
    return responses_of(ground)


def followed(ground: Ground, responses: Responses, *asked: float) -> Mixes:
    """Every tower is asked so many requests a second."""
    arrive = np.zeros((len(asked), len(ground.network)))
    arrive[:, ground.has_radio] = np.array(asked)[:, np.newaxis]
    found = Mixes(ground, responses)
    with Threads(1) as threads:
        found.follow(arrive, threads)
    return found


def tail_s(found: Responses, s: int, table: int, full: float) -> float:
    """p99 of a site so full, on one device."""
    at = found.place[table, int(full * FULL_STEPS)]
    return float(np.interp(0.99, found.ttft[s, table, WARM, at], EDGES_S))


def test_a_site_without_long_prompts_is_not_charged_for_them(
    ground: Ground, responses: Responses
) -> None:
    tower = int(np.flatnonzero(ground.has_radio)[0])
    chat = ground.types[ground.type_of[tower]].costs[CHAT]
    assert chat is not None
    prefill_s = chat.prefill_fixed_s + 8000.0 * chat.prefill_s_per_token
    frames, both = (followed(ground, responses, rate, 5.0) for rate in (0.0, 0.5))
    alone, beside = (
        tail_s(found.responses, VISION, found.table_of[tower], 0.2) for found in (frames, both)
    )
    assert alone < 0.2 * prefill_s < 0.5 * prefill_s < beside
    # By what a whole country asks it would be charged for them.
    assert tail_s(responses, VISION, ground.type_of[tower], 0.2) > 0.5 * prefill_s


def test_the_countrys_mix_is_read_as_it_was(ground: Ground, responses: Responses) -> None:
    asked = [s.requests_per_customer_day for s in ground.country.services]
    found = followed(ground, responses, *(rate / 1e3 for rate in asked))
    tower = int(np.flatnonzero(ground.has_radio)[0])
    for s in (CHAT, VISION):
        own = tail_s(found.responses, s, found.table_of[tower], 0.3)
        assert own == pytest.approx(tail_s(responses, s, ground.type_of[tower], 0.3), rel=0.1)
    assert (found.table_of[~ground.has_radio] == ground.type_of[~ground.has_radio]).all()


def test_tables_are_made_once_and_the_nearest_is_read_beyond_the_last(
    ground: Ground, responses: Responses, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = len(responses.made)
    first = followed(ground, responses, 0.01, 5.0)
    again = followed(ground, responses, 0.01, 5.0)
    assert (first.table_of == again.table_of).all() and len(responses.made) <= made + 1
    monkeypatch.setattr(mixes, "MOST", 0)
    full = followed(ground, responses, 0.01, 5.0)
    assert (full.table_of == ground.type_of).all()
    assert full.responses.points == responses.points


def encoded(arrive: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Numbers of the mixes of sites of one type, of which (S, N) is asked; who came and left."""
    services, sites = arrive.shape
    code, fresh = np.zeros(sites, np.int32), np.zeros(sites, np.bool_)
    moved = np.zeros((2, 1, 1 + mixes.number_of(services)), np.int64)
    before, weight = mixes.places_before(services), np.ones((1, services))
    kinds, columns = np.zeros(sites, np.int16), (0,) * services
    mixes.encode(0, sites, kinds, arrive, weight, before, code, fresh, moved, columns)
    assert (fresh == (code > 0)).all()
    return code, moved


def mix_of(share: tuple[float, ...]) -> NDArray[np.int64]:
    """Whole parts of one site's mix; zeros where nothing is asked."""
    (code,), _ = encoded(np.array(share)[:, np.newaxis])
    before = mixes.places_before(len(share))
    return mixes.parts_of(int(code), before) if code else np.zeros(len(share), np.int64)


@pytest.mark.parametrize("share", [(1.0, 1.0, 1.0), (0.0, 3.0, 1e-9), (5.0, 0.0, 1.0)])
def test_parts_are_whole_and_sum_to_all(share: tuple[float, ...]) -> None:
    found = mix_of(share)
    assert found.sum() == WHOLE
    assert np.abs(found - np.array(share) / sum(share) * WHOLE).max() < 1.0
    assert not mix_of((0.0,) * len(share)).any()


@pytest.mark.parametrize("devices", [0.125, 0.5, 1.0, 2.0, 4.0, 8.0])
def test_whole_devices_are_read_at_their_own_speed(devices: float) -> None:
    fine = 0 if devices < SPEED_STEPS[2] else 1
    at = min(int(devices * SPEED_STEPS[fine]), SPEED_LOOKUP.shape[1] - 1)
    assert SPEEDS[SPEED_LOOKUP[fine, at]] == pytest.approx(devices)


@pytest.mark.parametrize("services", [1, 2, 4])
def test_mixes_are_numbered_in_the_order_of_their_parts(services: int) -> None:
    before = mixes.places_before(services)
    codes = range(1, 1 + mixes.number_of(services))
    parts = [tuple(mixes.parts_of(code, before)) for code in codes]
    assert parts == sorted(set(parts)) and {sum(mix) for mix in parts} == {WHOLE}
    code, moved = encoded(np.ascontiguousarray(np.array(parts, np.float64).T))
    assert list(code) == list(codes)
    assert moved[0, 0, 1:].tolist() == [1] * len(parts) and moved[1, 0, 0] == len(parts)
