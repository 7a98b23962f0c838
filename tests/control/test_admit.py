import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from aigrid.control import admit, compiled

candidates = st.lists(
    st.tuples(st.floats(0.001, 1.0), st.integers(0, 1000)), min_size=1, max_size=8
)


@given(candidates)
def test_every_candidate_is_tried_once_cheapest_first(pairs):
    weights, held = zip(*pairs, strict=True)
    order = admit.order(weights, held)
    assert sorted(order) == list(range(len(pairs)))
    prices = [(held[i] + 1) / weights[i] for i in order]
    assert prices == sorted(prices)


def test_ties_go_to_the_nearer_candidate():
    assert admit.order([0.5, 0.5, 0.5], [2, 1, 1]) == [1, 2, 0]


@given(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=8), st.integers(1, 200))
def test_requests_spread_by_weight(weights, requests):
    held = [0] * len(weights)
    for _ in range(requests):
        held[admit.order(weights, held)[0]] += 1
    total = sum(weights)
    for weight, count in zip(weights, held, strict=True):
        # As in D'Hondt's method of seats: nobody gets more than its quota by one seat a rival.
        assert count <= requests * weight / total + len(weights)
        assert count >= requests * weight / total - len(weights)


def test_a_job_is_taken_while_there_is_a_share_and_room():
    assert admit.admit(8, 3, 4, 0.5) == ""
    assert admit.admit(8, 4, 4, 0.5) == "full"
    assert admit.admit(0, 0, 4, 0.0) == "paused"


@njit
def compiled_order(weights, in_flight):
    return compiled.admit.order(weights, in_flight)


@given(candidates)
def test_compiled_code_orders_candidates_as_gateways_do(pairs):
    weights, held = (np.array(column) for column in zip(*pairs, strict=True))
    assert list(compiled_order(weights, held)) == admit.order(weights, held)
