"""Two counts beside each other: exact, and with a margin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact, nchypergeom_fisher

from aigrid.control.chance import MANY, more_often

counts = st.integers(0, 60)


@given(counts, counts, counts, counts)
def test_it_is_fishers_exact_test(new, good_new, old, good_old):
    found = more_often(new, new + good_new, old, old + good_old)
    if new + old == 0:
        assert found == 1.0
    else:
        table = [[new, good_new], [old, good_old]]
        assert found == pytest.approx(fisher_exact(table, alternative="greater")[1], rel=1e-6)


@given(st.integers(1, 40), counts, counts, st.integers(1, 40), st.floats(1.0, 3.0))
def test_a_margin_shifts_the_odds(new, good_new, old, good_old, odds):
    of_new, of_old = new + good_new, old + good_old
    theirs = nchypergeom_fisher.sf(new - 1, of_new + of_old, new + old, of_new, odds)
    assert more_often(new, of_new, old, of_old, odds) == pytest.approx(theirs, rel=1e-4, abs=1e-9)


def test_beyond_many_events_it_says_nothing():
    assert more_often(MANY, 10 * MANY, 1, 10 * MANY) == 1.0
    assert more_often(MANY, 10 * MANY, 0, 10 * MANY) < 1e-9
