"""When a site hands its answers over."""

import math

from hypothesis import given
from hypothesis import strategies as st

from aigrid.control.handover import PAUSED_PATIENCE_S, Handover

times = st.floats(0.0, 1e6)


def test_a_share_that_comes_back_soon_moves_nothing():
    site = Handover(paused_since_s=10.0)
    assert not site.why(share=0.0, now_s=10.4)
    assert not site.why(share=0.1, now_s=11.0)
    assert "took" in site.why(share=0.0, now_s=10.5)


def test_a_radio_that_keeps_ai_from_its_step_counts_like_no_share():
    assert not Handover().why(share=0.5, now_s=99.0, held_s=0.4)
    assert "took" in Handover().why(share=0.5, now_s=99.0, held_s=0.5)


@given(notice_s=st.floats(0.0, 100.0), told=st.lists(st.floats(0.0, 5.0), min_size=1))
def test_half_of_the_first_notice_counts_however_often_it_is_repeated(notice_s, told):
    site, now_s = Handover(), 0.0
    for later_s in told:
        site.heed_notice(0.0, notice_s, now_s)
        now_s += later_s
    assert site.drained_by_s == notice_s / 2
    assert not site.why(1.0, math.nextafter(notice_s / 2, -1.0))
    assert "will need" in site.why(1.0, notice_s / 2)


@given(now_s=times, share=st.floats(0.01, 1.0), notice_s=times)
def test_a_notice_that_is_taken_back_moves_nothing(now_s, share, notice_s):
    site = Handover()
    site.heed_notice(0.0, notice_s, now_s)
    site.heed_notice(share, 0.0, now_s)
    assert not site.why(share, now_s + 1e9) and site.next_share == share


@given(share=st.floats(0.0, 1.0), since_s=times, later_s=times)
def test_who_is_to_go_stays_to_go_until_something_changes(share, since_s, later_s):
    site = Handover(paused_since_s=since_s)
    if site.why(share, since_s + PAUSED_PATIENCE_S):
        assert site.why(share, since_s + PAUSED_PATIENCE_S + later_s)
