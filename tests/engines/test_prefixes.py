"""The shelf of prompt prefixes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aigrid.engines.prefixes import PrefixShelf

PIECE = 2


class Slots:
    """What each slot holds, as `Decoder.move` would leave it."""

    def __init__(self, count):
        self.held = [()] * count

    def move(self, source, target, length):
        assert len(self.held[source]) >= length
        self.held[target] = self.held[source][:length]


@given(
    st.integers(0, 3),
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=9).map(tuple), max_size=12),
)
def test_what_is_taken_is_always_the_prompts_own_beginning(places, prompts):
    slots = Slots(1 + places)
    shelf = PrefixShelf(1, places, PIECE, slots.move)
    for prompt in prompts:
        slots.held[0] = ()
        spared = shelf.take(prompt, 0)
        assert spared < len(prompt)
        assert spared % PIECE == 0
        assert slots.held[0] == prompt[:spared]
        slots.held[0] = prompt
        shelf.keep(prompt, 0)
    if places and prompts and len(prompts[-1]) > PIECE:
        # what came last is there for the same prompt again
        assert shelf.take(prompts[-1], 0) >= (len(prompts[-1]) - 1) // PIECE * PIECE


def test_the_least_recently_used_prefix_goes_first():
    slots = Slots(3)
    shelf = PrefixShelf(1, 2, PIECE, slots.move)
    for prompt in [(1, 1, 9), (2, 2, 9)]:
        slots.held[0] = prompt
        shelf.keep(prompt, 0)
    assert shelf.take((1, 1, 5), 0) == 2
    slots.held[0] = (3, 3, 9)
    shelf.keep((3, 3, 9), 0)
    assert shelf.take((2, 2, 5), 0) == 0
    assert shelf.take((1, 1, 5), 0) == 2
