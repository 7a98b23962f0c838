"""The uplink receive front-end: samples of a slot to log-likelihood ratios of its bits.

OFDM demodulation, least-squares channel estimation on the pilots, MMSE equalisation and soft
demapping, over the scheduled resource blocks only. The demodulator always runs: a base station has
to look for control channels in an empty slot too. Channel decoding (LDPC, TS 38.212) is not here
yet; it will be the largest part of a slot's cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from aigrid.core.errors import InvalidRequestError
from aigrid.core.site import Cell
from aigrid.radio import kernels
from aigrid.radio.numerology import SUBCARRIERS_PER_PRB, SYMBOLS_PER_SLOT, numerology_of
from aigrid.radio.pilots import DATA_SYMBOLS, PILOT_POWER, PILOT_SYMBOLS, frame_pilots
from aigrid.radio.transmitter import amplitude_scale


@dataclass(frozen=True, slots=True)
class Reception:
    """What one slot brought. The arrays are views that the next slot overwrites.

    Attributes:
        llr: float32 [bit], positive for 0, in the order the bits were sent.
        equalised: complex64 [data symbol, sub-carrier of the allocation].
        sinr: float32 of the same shape: signal to noise after combining, linear.
        channel: complex64 [pilot symbol, antenna, sub-carrier of the allocation].
        noise_variance: per resource element, as seen on the empty sub-carriers between the pilots.
    """

    llr: NDArray[np.float32]
    equalised: NDArray[np.complex64]
    sinr: NDArray[np.float32]
    channel: NDArray[np.complex64]
    noise_variance: float


class Receiver:
    """Receives the slots of one cell; all memory is taken when it is made.

    Args:
        cell: what to receive; one layer.
        cell_id: N_ID of the pilots.

    Raises:
        ConfigurationError: the cell has a value that cannot be received.
    """

    def __init__(self, cell: Cell, cell_id: int = 0) -> None:
        self.cell = cell
        self.numerology = numerology_of(cell)
        self._pilots = frame_pilots(self.numerology, cell_id)
        self._starts = np.array(self.numerology.symbol_starts)
        self._pilot_symbols = np.array(PILOT_SYMBOLS)
        self._data_symbols = np.array(DATA_SYMBOLS)
        self._weights = _time_weights()
        self._inner = amplitude_scale(cell.modulation_bits)
        self._reserve()

    def _reserve(self) -> None:
        antennas, width = self.cell.antennas, self.numerology.subcarriers
        rows = len(DATA_SYMBOLS)
        shape = (antennas, SYMBOLS_PER_SLOT, self.numerology.fft_size)
        self._spectrum = np.zeros(shape, np.complex64)
        self._grid = np.zeros((antennas, SYMBOLS_PER_SLOT, width), np.complex64)
        self._channel = np.zeros((len(PILOT_SYMBOLS), antennas, width), np.complex64)
        self._equalised = np.zeros((rows, width), np.complex64)
        self._sinr = np.zeros((rows, width), np.float32)
        self._llr = np.zeros(rows * width * self.cell.modulation_bits, np.float32)

    def receive(
        self, samples: NDArray[np.complex64], slot_in_frame: int, first_prb: int, prb_count: int
    ) -> Reception:
        """Process one slot.

        Args:
            samples: [antenna, sample] of one slot.
            slot_in_frame: slot number within the frame.
            first_prb: first scheduled resource block.
            prb_count: scheduled resource blocks; 0 for a slot without data.

        Raises:
            InvalidRequestError: samples of another shape, or resource blocks outside the cell.
        """
        self._check(samples, first_prb, prb_count)
        self.demodulate(samples)
        if prb_count == 0:
            return self._view(0, 0.0)
        low, count = first_prb * SUBCARRIERS_PER_PRB, prb_count * SUBCARRIERS_PER_PRB
        kernels.gather(self._spectrum, self.numerology.first_bin, low, count, self._grid)
        pilots = self._pilots[slot_in_frame % self.numerology.slots_per_frame]
        noise = kernels.estimate(
            self._grid, self._pilot_symbols, pilots, PILOT_POWER, low, count, self._channel
        )
        self._detect(noise, count)
        return self._view(count, float(noise))

    def demodulate(self, samples: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """OFDM demodulation: spectrum [antenna, symbol, FFT bin], unitary, reused next time."""
        kernels.strip_prefixes(samples, self._starts, self._spectrum)
        # In place: a fresh 230 kB result each slot would cost a page fault per 4 kB.
        self._spectrum = scipy.fft.fft(self._spectrum, norm="ortho", overwrite_x=True)
        return self._spectrum

    def _detect(self, noise: float, count: int) -> None:
        kernels.equalise(
            self._grid,
            self._channel,
            self._data_symbols,
            self._weights,
            np.float32(noise),
            count,
            self._equalised,
            self._sinr,
        )
        bits = self.cell.modulation_bits
        kernels.demap(self._equalised, self._sinr, bits, self._inner, count, self._llr)

    def _view(self, count: int, noise: float) -> Reception:
        return Reception(
            self._llr[: len(DATA_SYMBOLS) * count * self.cell.modulation_bits],
            self._equalised[:, :count],
            self._sinr[:, :count],
            self._channel[:, :, :count],
            noise,
        )

    def _check(self, samples: NDArray[np.complex64], first_prb: int, prb_count: int) -> None:
        expected = (self.cell.antennas, self.numerology.samples_per_slot)
        if samples.shape != expected:
            raise InvalidRequestError(
                f"cell {self.cell.name!r}: samples have shape {samples.shape}",
                next_step=f"give one slot of shape {expected}",
            )
        if first_prb < 0 or prb_count < 0 or first_prb + prb_count > self.cell.resource_blocks:
            raise InvalidRequestError(
                f"cell {self.cell.name!r}: resource blocks {first_prb}+{prb_count}",
                next_step=f"stay within the cell's {self.cell.resource_blocks}",
            )


def _time_weights() -> NDArray[np.float32]:
    first, second = PILOT_SYMBOLS
    between = (np.array(DATA_SYMBOLS) - first) / (second - first)
    # Outside the two pilot symbols the nearer one holds: extrapolation would multiply the noise.
    return np.clip(between, 0.0, 1.0).astype(np.float32)


def hard_bits(llr: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Decide each bit by the sign of its ratio."""
    return (llr < 0).astype(np.uint8)
