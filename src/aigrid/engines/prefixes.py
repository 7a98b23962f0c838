"""Prompt prefixes whose keys and values are kept: a shelf of slots, the oldest use goes first.

Only whole prefill pieces of prompts are kept. A prompt is always cut at the same places, so that
what is taken from the shelf is, to the last bit, what a prefill would have written.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

Tokens = tuple[int, ...]


class PrefixShelf:
    """Says which slot keeps which prefix; `move` copies between slots.

    Args:
        first_slot: the shelf's first slot.
        places: how many it has; 0 keeps nothing.
        piece: tokens of one prefill piece.
        move: `Decoder.move(source, target, length)`.
    """

    def __init__(
        self, first_slot: int, places: int, piece: int, move: Callable[[int, int, int], None]
    ) -> None:
        self._piece, self._move = piece, move
        self._free = list(range(first_slot, first_slot + places))
        self._kept: OrderedDict[Tokens, int] = OrderedDict()

    def take(self, prompt: Sequence[int], slot: int) -> int:
        """Copy the longest kept prefix of a prompt into its slot.

        Returns:
            Tokens that the slot holds then; less than the prompt, whose last piece must be fed for
            its logits.
        """
        best: Tokens = ()
        length = 0
        for prefix in self._kept:
            common = self._common(prefix, prompt)
            if common > length:
                best, length = prefix, common
        if length:
            self._kept.move_to_end(best)
            self._move(self._kept[best], slot, length)
        return length

    def keep(self, prompt: Sequence[int], slot: int) -> None:
        """Keep the whole pieces of a prompt that a slot holds."""
        prefix = tuple(prompt[: self._whole(len(prompt))])
        if not prefix or not (self._free or self._kept):
            return
        for kept in list(self._kept):
            if kept[: len(prefix)] == prefix:  # a longer one says it all
                self._kept.move_to_end(kept)
                return
            if prefix[: len(kept)] == kept:
                self._free.append(self._kept.pop(kept))
        kept_slot = self._free.pop() if self._free else self._kept.popitem(last=False)[1]
        self._move(slot, kept_slot, len(prefix))
        self._kept[prefix] = kept_slot

    def _common(self, prefix: Tokens, prompt: Sequence[int]) -> int:
        """Tokens of whole pieces that both begin with, short of the whole prompt."""
        longest = self._whole(min(len(prefix), len(prompt) - 1))
        while longest and tuple(prompt[:longest]) != prefix[:longest]:
            longest -= self._piece
        return longest

    def _whole(self, tokens: int) -> int:
        return tokens // self._piece * self._piece
