"""The time-frequency raster of a cell: 3GPP TS 38.211 sections 4.2, 4.3, 5.3.1, normal prefix."""

from __future__ import annotations

from dataclasses import dataclass

from aigrid.core.errors import ConfigurationError
from aigrid.core.site import Cell

SUBCARRIERS_PER_PRB = 12
SYMBOLS_PER_SLOT = 14
MAX_RESOURCE_BLOCKS = 275
MAX_ANTENNAS = 64
MODULATION_BITS = (2, 4, 6, 8)


@dataclass(frozen=True, slots=True)
class Numerology:
    """Everything about a cell's slot that does not change from slot to slot.

    Attributes:
        mu: index of TS 38.211 table 4.2-1.
        subcarrier_spacing_hz: 15 kHz * 2**mu.
        fft_size: smallest power of two that holds the sub-carriers, at least 128.
        subcarriers: 12 per resource block.
        sample_rate_hz: fft_size * subcarrier_spacing_hz.
        slot_ns: length of a slot (averaged over the half sub-frame where prefixes differ).
        slots_per_frame: slots in 10 ms.
        cp_lengths: samples of cyclic prefix of the 14 symbols of the sub-frame's first slot.
    """

    mu: int
    subcarrier_spacing_hz: int
    fft_size: int
    subcarriers: int
    sample_rate_hz: int
    slot_ns: int
    slots_per_frame: int
    cp_lengths: tuple[int, ...]

    @property
    def samples_per_slot(self) -> int:
        """Complex samples of one slot on one antenna."""
        return SYMBOLS_PER_SLOT * self.fft_size + sum(self.cp_lengths)

    @property
    def symbol_starts(self) -> tuple[int, ...]:
        """Sample at which the useful part of each symbol begins, its prefix skipped."""
        starts, at = [], 0
        for prefix in self.cp_lengths:
            starts.append(at + prefix)
            at += prefix + self.fft_size
        return tuple(starts)

    @property
    def first_bin(self) -> int:
        """FFT bin of sub-carrier 0: TS 38.211 5.3.1 centres the grid on 0 Hz."""
        return self.fft_size - self.subcarriers // 2


def cp_lengths(mu: int, fft_size: int, slot_in_subframe: int = 0) -> tuple[int, ...]:
    """Cyclic prefixes of one slot in samples, TS 38.211 section 5.3.1.

    In units of 1 / 30.72 MHz the prefix is 144 / 2**mu, and 16 more in the first symbol of every
    half millisecond.
    """
    normal = 144 * fft_size // 2048
    longer = 16 * fft_size * (1 << mu) // 2048
    first = slot_in_subframe * SYMBOLS_PER_SLOT
    long_symbols = (0, 7 << mu)
    return tuple(
        normal + longer if first + symbol in long_symbols else normal
        for symbol in range(SYMBOLS_PER_SLOT)
    )


def fft_size_for(resource_blocks: int) -> int:
    """Smallest power of two above the occupied sub-carriers, at least 128."""
    size = 128
    while size <= resource_blocks * SUBCARRIERS_PER_PRB:
        size *= 2
    return size


def numerology_of(cell: Cell) -> Numerology:
    """Derive the raster of a cell.

    Raises:
        ConfigurationError: the cell has a value that this front-end cannot receive.
    """
    _check(cell)
    mu, size = cell.numerology, fft_size_for(cell.resource_blocks)
    spacing = 15_000 << mu
    return Numerology(
        mu=mu,
        subcarrier_spacing_hz=spacing,
        fft_size=size,
        subcarriers=cell.resource_blocks * SUBCARRIERS_PER_PRB,
        sample_rate_hz=size * spacing,
        slot_ns=1_000_000 >> mu,
        slots_per_frame=10 << mu,
        cp_lengths=cp_lengths(mu, size),
    )


def _check(cell: Cell) -> None:
    _within(cell, "numerology", 0, 4)
    _within(cell, "resource_blocks", 1, MAX_RESOURCE_BLOCKS)
    _within(cell, "antennas", 1, MAX_ANTENNAS)
    _within(cell, "layers", 1, 1)
    if cell.modulation_bits not in MODULATION_BITS:
        raise ConfigurationError(
            f"cell {cell.name!r}: modulation_bits is {cell.modulation_bits!r}",
            next_step="use 2 (QPSK), 4 (16QAM), 6 (64QAM) or 8 (256QAM)",
        )
    if not 0 < cell.deadline_ms <= 1000:
        raise ConfigurationError(
            f"cell {cell.name!r}: deadline_ms is {cell.deadline_ms!r}",
            next_step="give a time above 0 and up to 1000 ms",
        )


def _within(cell: Cell, name: str, low: int, high: int) -> None:
    value = getattr(cell, name)
    if not isinstance(value, int) or not low <= value <= high:
        raise ConfigurationError(
            f"cell {cell.name!r}: {name} is {value!r}",
            next_step=f"give a whole number from {low} to {high}",
        )
