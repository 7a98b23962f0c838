import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigrid.control import neighbours


@given(
    st.lists(st.tuples(st.integers(-1, 30), st.integers(0, 2)), min_size=1, max_size=30),
    st.integers(1, 10),
)
def test_any_network_even_one_with_parents_in_a_circle_gives_each_candidate_once(sites, width):
    parent = np.array([p if p < len(sites) else -1 for p, _ in sites], np.int32)
    kind = np.array([k for _, k in sites], np.int8)
    reach = neighbours.reach(parent, kind, width)
    assert reach.shape == (len(sites), width)
    for row, line in enumerate(reach):
        named = line[line >= 0].tolist()
        assert named[0] == row
        assert len(set(named)) == len(named)
        assert np.all(line[len(named) :] == -1)
    assert np.all(np.isfinite(neighbours.hop_ms(reach, kind * 1.0, kind * 2.0, parent, 0.1)))


def country(towers: int):
    """Two factories, a hub below each, towers below these by turns."""
    parent = np.array([-1, -1, 0, 1] + [2 + n % 2 for n in range(towers)], np.int32)
    kind = np.array([0, 0, 1, 1] + [2] * towers, np.int8)
    return parent, kind


def test_a_hub_of_thousands_of_towers_is_still_found_and_so_are_both_factories():
    reach = neighbours.reach(*country(4000), 8)
    for line in reach[4:]:
        named = line.tolist()
        assert {0, 1} < set(named)
        assert len({2, 3} & set(named)) >= 1
        assert len([site for site in named if site >= 4]) >= 4


def test_the_way_is_up_and_down_the_tree_with_routers_on_it():
    parent, kind = country(4)
    lat = np.array([0.0, 0.0, 1.0, -1.0, 1.5, -1.5, 1.5, -1.5])
    reach = neighbours.reach(parent, kind, 8)
    hop = neighbours.hop_ms(reach, lat, np.zeros(8), parent, router_ms=1.0, ms_per_km=0.01)
    degree_ms = 0.01 * np.pi / 180 * neighbours.EARTH_RADIUS_KM
    to = {int(site): float(ms) for site, ms in zip(reach[4], hop[4], strict=True)}
    assert to[4] == 0.0
    assert to[2] == pytest.approx(1.0 + 0.5 * degree_ms, rel=1e-5)
    # A neighbour at the same place is reached by way of the hub.
    assert to[6] == pytest.approx(2 * (1.0 + 0.5 * degree_ms), rel=1e-5)
    assert to[0] == pytest.approx(2.0 + 1.5 * degree_ms, rel=1e-5)


def test_demand_adds_up_on_the_way_to_the_root():
    above, own = np.array([-1, 0, 1, 1], np.int32), np.array([[0.0], [1.0], [2.0], [3.0]])
    assert neighbours.at_or_below(above, own)[:, 0].tolist() == [6.0, 6.0, 2.0, 3.0]
    # Rows may come in any order, and parents in a circle end.
    turned = neighbours.at_or_below(np.array([1, 2, -1], np.int32), np.ones((3, 2)))
    assert turned.tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    assert np.isfinite(neighbours.at_or_below(np.array([1, 0], np.int32), np.ones((2, 1)))).all()
