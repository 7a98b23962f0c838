"""Test signals: bits to a received slot, through QAM, pilots, OFDM, a fading channel and noise.

Everything is drawn from a given generator, so that a slot is known by its seed. Powers are kept so
that one resource element has power 1 and the noise on it has the variance of a noise sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.core.site import Cell
from aigrid.radio.numerology import (
    SUBCARRIERS_PER_PRB,
    SYMBOLS_PER_SLOT,
    Numerology,
    numerology_of,
)
from aigrid.radio.pilots import DATA_SYMBOLS, PILOT_SPACING, PILOT_SYMBOLS, frame_pilots

Complex = NDArray[np.complex64]


@dataclass(frozen=True, slots=True)
class ReceivedSlot:
    """What the antennas hear in one slot, and the truth behind it.

    Attributes:
        samples: [antenna, sample].
        bits: the sent bits, one byte each.
        slot_in_frame: selects the pilots.
        first_prb: first resource block of the allocation.
        prb_count: resource blocks of the allocation.
        channel: true frequency response, [antenna, sub-carrier of the cell].
        noise_variance: per sample and per resource element.
    """

    samples: Complex
    bits: NDArray[np.uint8]
    slot_in_frame: int
    first_prb: int
    prb_count: int
    channel: Complex
    noise_variance: float


def amplitude_scale(bits_per_symbol: int) -> float:
    """Distance from 0 to the innermost level of an axis at unit power: sqrt(3 / 2 / (M - 1))."""
    return float(np.sqrt(1.5 / ((1 << bits_per_symbol) - 1)))


def modulate(bits: NDArray[np.uint8], bits_per_symbol: int) -> Complex:
    """QPSK, 16QAM, 64QAM or 256QAM of TS 38.211 sections 5.1.3 to 5.1.6.

    Args:
        bits: one byte per bit, a multiple of `bits_per_symbol` long.
        bits_per_symbol: 2, 4, 6 or 8.
    """
    signs = 1 - 2 * bits.reshape(-1, bits_per_symbol).astype(np.int32)
    axes = [_amplitude(signs[:, axis::2]) for axis in (0, 1)]
    return ((axes[0] + 1j * axes[1]) * amplitude_scale(bits_per_symbol)).astype(np.complex64)


def _amplitude(signs: NDArray[np.int32]) -> NDArray[np.int32]:
    # The standard's nesting, from inside out: s0 * (4 - s1 * (2 - s2)) for 64QAM.
    level = signs[:, -1]
    for depth in range(1, signs.shape[1]):
        level = signs[:, -1 - depth] * ((1 << depth) - level)
    return level


def map_slot(
    symbols: Complex, pilots: Complex, subcarriers: int, first_prb: int, prb_count: int
) -> Complex:
    """Resource grid [symbol, sub-carrier]: frequency first, then time (TS 38.211 section 6.3.1.6).

    Args:
        symbols: data, 12 symbols * 12 sub-carriers * prb_count of them.
        pilots: [pilot symbol, pilot] over the whole cell, scaled as sent.
        subcarriers: of the cell.
        first_prb: first scheduled resource block.
        prb_count: scheduled resource blocks.
    """
    grid = np.zeros((SYMBOLS_PER_SLOT, subcarriers), np.complex64)
    low = first_prb * SUBCARRIERS_PER_PRB
    high = low + prb_count * SUBCARRIERS_PER_PRB
    grid[DATA_SYMBOLS, low:high] = symbols.reshape(len(DATA_SYMBOLS), high - low)
    for row, symbol in enumerate(PILOT_SYMBOLS):
        sent = pilots[row, low // PILOT_SPACING : high // PILOT_SPACING]
        grid[symbol, low:high:PILOT_SPACING] = sent
    return grid


def ofdm_modulate(grid: Complex, numerology: Numerology) -> Complex:
    """Time samples of one slot with cyclic prefixes, TS 38.211 section 5.3.1 (unitary scaling)."""
    size = numerology.fft_size
    bins = (numerology.first_bin + np.arange(numerology.subcarriers)) % size
    spectrum = np.zeros((SYMBOLS_PER_SLOT, size), np.complex64)
    spectrum[:, bins] = grid
    useful = np.fft.ifft(spectrum, norm="ortho")
    parts = [
        np.concatenate((row[size - prefix :], row))
        for row, prefix in zip(useful, numerology.cp_lengths, strict=True)
    ]
    return np.concatenate(parts).astype(np.complex64)


def rayleigh_taps(
    rng: np.random.Generator, antennas: int, delay_spread_samples: float, taps: int = 12
) -> Complex:
    """Independent Rayleigh taps with an exponential power delay profile, total mean power 1.

    The profile's shape is that of TR 38.901 section 7.7.2's tapped delay lines, which decay about
    exponentially; their exact delays do not matter to what a slot costs. The channel stands still
    during the slot.

    Args:
        rng: source of chance.
        antennas: receive antennas, fading independently.
        delay_spread_samples: decay constant in samples; 0 gives a flat channel.
        taps: length in samples.

    Returns:
        [antenna, tap].
    """
    power = np.exp(-np.arange(taps) / max(delay_spread_samples, 1e-9))
    scale = np.sqrt(power / power.sum() / 2)
    draw = rng.standard_normal((2, antennas, taps))
    taps_drawn: Complex = ((draw[0] + 1j * draw[1]) * scale).astype(np.complex64)
    return taps_drawn


def through_channel(
    samples: Complex, taps: Complex, noise_variance: float, rng: np.random.Generator
) -> Complex:
    """What each antenna hears: [antenna, sample], convolved with its taps, noise added."""
    heard = np.stack([np.convolve(samples, row)[: samples.size] for row in taps])
    if noise_variance > 0:
        draw = rng.standard_normal((2, *heard.shape))
        heard = heard + np.sqrt(noise_variance / 2) * (draw[0] + 1j * draw[1])
    return heard.astype(np.complex64)


def frequency_response(taps: Complex, numerology: Numerology) -> Complex:
    """Response of taps on the cell's sub-carriers, [antenna, sub-carrier]."""
    size = numerology.fft_size
    bins = (numerology.first_bin + np.arange(numerology.subcarriers)) % size
    return np.fft.fft(taps, size)[:, bins].astype(np.complex64)


def received_slot(
    cell: Cell,
    rng: np.random.Generator,
    *,
    prb_count: int,
    first_prb: int = 0,
    slot_in_frame: int = 0,
    cell_id: int = 0,
    noise_variance: float = 0.01,
    taps: Complex | None = None,
    pilots: Complex | None = None,
) -> ReceivedSlot:
    """Draw one slot: random bits over `prb_count` resource blocks through a fading channel.

    Args:
        cell: the receiving cell.
        rng: source of bits, fading and noise.
        prb_count: scheduled resource blocks.
        first_prb: the first of them.
        slot_in_frame: slot number within the frame.
        cell_id: N_ID of the pilots.
        noise_variance: per resource element, whose signal power is 1.
        taps: channel [antenna, tap]; drawn where None.
        pilots: result of `frame_pilots`; computed where None.
    """
    numerology = numerology_of(cell)
    if pilots is None:
        pilots = frame_pilots(numerology, cell_id)
    if taps is None:
        taps = rayleigh_taps(rng, cell.antennas, 3e-7 * numerology.sample_rate_hz)
    elements = len(DATA_SYMBOLS) * SUBCARRIERS_PER_PRB * prb_count
    bits = rng.integers(0, 2, elements * cell.modulation_bits, dtype=np.uint8)
    grid = map_slot(
        modulate(bits, cell.modulation_bits),
        pilots[slot_in_frame],
        numerology.subcarriers,
        first_prb,
        prb_count,
    )
    heard = through_channel(ofdm_modulate(grid, numerology), taps, noise_variance, rng)
    channel = frequency_response(taps, numerology)
    return ReceivedSlot(heard, bits, slot_in_frame, first_prb, prb_count, channel, noise_variance)


def slot_ring(
    cell: Cell, rng: np.random.Generator, *, cell_id: int, snr_db: float, levels: int = 8
) -> tuple[ReceivedSlot, ...]:
    """Slots made ahead, one per allocation size from 1/levels of the cell up to all of it.

    A slot that needs n resource blocks takes the first ring entry that has as many, so that making
    signals costs nothing while the clock runs.
    """
    numerology = numerology_of(cell)
    pilots = frame_pilots(numerology, cell_id)
    sizes = sorted({-(-cell.resource_blocks * step // levels) for step in range(1, levels + 1)})
    return tuple(
        received_slot(
            cell,
            rng,
            prb_count=size,
            slot_in_frame=index % numerology.slots_per_frame,
            noise_variance=10 ** (-snr_db / 10),
            pilots=pilots,
        )
        for index, size in enumerate(sizes)
    )
