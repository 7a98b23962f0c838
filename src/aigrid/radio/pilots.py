"""Demodulation reference signals (DMRS) of the PUSCH: 3GPP TS 38.211 sections 5.2.1 and 6.4.1.1.

Type 1 (every second sub-carrier), mapping type A, one additional position, antenna port 0. No data
is sent on the pilots' symbols: of the two groups of ports, one carries the pilots with twice the
power (TS 38.214 table 6.2.2-1), the other stays empty and shows the receiver its noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aigrid.radio.numerology import SYMBOLS_PER_SLOT, Numerology

PILOT_SYMBOLS = (2, 11)
DATA_SYMBOLS = tuple(s for s in range(SYMBOLS_PER_SLOT) if s not in PILOT_SYMBOLS)
PILOT_SPACING = 2
PILOT_POWER = 2.0
_SKIP = 1600


def gold_sequence(c_init: int, length: int) -> NDArray[np.uint8]:
    """Length-31 Gold sequence c(0..length-1), TS 38.211 section 5.2.1."""
    total = _SKIP + length
    x1 = _shift_register(1, (3, 0), total)
    x2 = _shift_register(c_init, (3, 2, 1, 0), total)
    return x1[_SKIP:] ^ x2[_SKIP:]


def _shift_register(state: int, taps: tuple[int, ...], length: int) -> NDArray[np.uint8]:
    x = np.zeros(length + 31, np.uint8)
    x[:31] = (state >> np.arange(31)) & 1
    # x(n + 31) reaches back at most to x(n + 3): 28 bits can be made at once.
    for n in range(0, length, 28):
        width = min(28, length - n)
        x[n + 31 : n + 31 + width] = sum(x[n + t : n + t + width] for t in taps) & 1
    return x[:length]


def pilot_sequence(
    slot_in_frame: int, symbol: int, cell_id: int, count: int
) -> NDArray[np.complex64]:
    """r(0..count-1) of TS 38.211 section 6.4.1.1.1.1 with n_SCID = 0, unit power.

    Args:
        slot_in_frame: slot number within the frame.
        symbol: symbol within the slot.
        cell_id: N_ID, 0 to 65535.
        count: pilots wanted, six per resource block.
    """
    c_init = (
        (1 << 17) * (SYMBOLS_PER_SLOT * slot_in_frame + symbol + 1) * (2 * cell_id + 1)
        + 2 * cell_id
    ) % (1 << 31)
    signs = 1.0 - 2.0 * gold_sequence(c_init, 2 * count)
    pilots: NDArray[np.complex64] = ((signs[0::2] + 1j * signs[1::2]) / np.sqrt(2)).astype(
        np.complex64
    )
    return pilots


def frame_pilots(numerology: Numerology, cell_id: int) -> NDArray[np.complex64]:
    """Pilots as sent in every slot of a frame, [slot, pilot symbol, pilot], power `PILOT_POWER`."""
    count = numerology.subcarriers // PILOT_SPACING
    sent = [
        [pilot_sequence(slot, symbol, cell_id, count) for symbol in PILOT_SYMBOLS]
        for slot in range(numerology.slots_per_frame)
    ]
    return np.array(sent, np.complex64) * np.float32(np.sqrt(PILOT_POWER))
