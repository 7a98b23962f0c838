import math

import numpy as np
import pytest

from aigrid.factory.documents import Document
from aigrid.factory.evaluation import (
    bits_per_byte,
    byte_trigram_nats,
    compressor_bits_per_byte,
    document_nats,
    limited,
)


def uniform(windows):  # type: ignore[no-untyped-def]
    """One bit a token, and remembers how much each window held."""
    return [np.full(len(w) - 1, -math.log(2)) for w in windows]


def test_bits_per_byte_by_hand() -> None:
    figure = bits_per_byte([2 * math.log(2), 6 * math.log(2)], [4, 4], seed=0)
    assert figure.value == pytest.approx(1.0)  # 8 bits over 8 bytes
    assert figure.low == pytest.approx(0.5)  # both draws took the easy document
    assert figure.high == pytest.approx(1.5)
    assert (figure.documents, figure.bytes) == (2, 8)


def test_the_interval_repeats_and_narrows_with_more_documents() -> None:
    few = bits_per_byte([1.0, 2.0, 3.0] * 3, [2] * 9, seed=1)
    many = bits_per_byte([1.0, 2.0, 3.0] * 300, [2] * 900, seed=1)
    assert few == bits_per_byte([1.0, 2.0, 3.0] * 3, [2] * 9, seed=1)
    assert many.high - many.low < few.high - few.low


@pytest.mark.parametrize("length", [2, 7, 8, 9, 12, 13, 40])
def test_every_token_of_a_long_document_counts_once(length: int) -> None:
    bits = np.array(document_nats(uniform, [list(range(length))], context=8)) / math.log(2)
    assert bits == pytest.approx([length - 1])


def test_a_token_past_the_first_window_has_half_a_context_before_it() -> None:
    seen: list[tuple[int, ...]] = []

    def spy(windows):  # type: ignore[no-untyped-def]
        seen.extend(tuple(w) for w in windows)
        return uniform(windows)

    document_nats(spy, [list(range(14))], context=8)
    assert seen == [tuple(range(8)), tuple(range(4, 12)), tuple(range(6, 14))]


def test_the_trigram_learns_what_it_has_seen() -> None:
    learnt = b"the cat sat on the mat. " * 50
    known, noise = byte_trigram_nats(learnt, [b"the cat sat on", bytes(range(200, 214))])
    assert known / math.log(2) / 14 < 1.2
    assert noise / math.log(2) / 14 > 8.0


def test_the_compressor_needs_little_for_what_it_has_seen() -> None:
    rng = np.random.default_rng(0)
    text = rng.integers(32, 127, 4_000, dtype=np.uint8).tobytes()
    fresh = rng.integers(32, 127, 4_000, dtype=np.uint8).tobytes()
    assert compressor_bits_per_byte(text, [text]) < 0.5
    assert compressor_bits_per_byte(text, [fresh]) > 6.0


def test_what_is_measured_is_limited_and_cut_between_characters() -> None:
    documents = [Document(str(n), "é" * 5_000) for n in range(40)]
    chosen = limited(documents)
    assert len(chosen[0].text.encode()) == 6_000
    assert sum(len(d.text.encode()) for d in chosen) == 100_000
