import numpy as np
import pytest

from aigrid.core.site import Cell
from aigrid.radio.numerology import numerology_of
from aigrid.radio.pilots import PILOT_SYMBOLS, frame_pilots, gold_sequence, pilot_sequence
from aigrid.radio.transmitter import (
    amplitude_scale,
    map_slot,
    modulate,
    ofdm_modulate,
    rayleigh_taps,
    received_slot,
    slot_ring,
)

# TS 38.211 sections 5.1.3 to 5.1.6, written out as there.
FORMULAS = {
    2: lambda b: (1 - 2 * b[0]) + 1j * (1 - 2 * b[1]),
    4: lambda b: (1 - 2 * b[0]) * (2 - (1 - 2 * b[2])) + 1j * (1 - 2 * b[1]) * (2 - (1 - 2 * b[3])),
    6: lambda b: (
        (1 - 2 * b[0]) * (4 - (1 - 2 * b[2]) * (2 - (1 - 2 * b[4])))
        + 1j * (1 - 2 * b[1]) * (4 - (1 - 2 * b[3]) * (2 - (1 - 2 * b[5])))
    ),
    8: lambda b: (
        (1 - 2 * b[0]) * (8 - (1 - 2 * b[2]) * (4 - (1 - 2 * b[4]) * (2 - (1 - 2 * b[6]))))
        + 1j * (1 - 2 * b[1]) * (8 - (1 - 2 * b[3]) * (4 - (1 - 2 * b[5]) * (2 - (1 - 2 * b[7]))))
    ),
}
SCALES = {2: 2, 4: 10, 6: 42, 8: 170}


@pytest.mark.parametrize("bits_per_symbol", FORMULAS)
def test_every_constellation_point_is_the_standards(bits_per_symbol):
    labels = np.arange(1 << bits_per_symbol)[:, None] >> np.arange(bits_per_symbol)[::-1] & 1
    expected = [FORMULAS[bits_per_symbol](b) / np.sqrt(SCALES[bits_per_symbol]) for b in labels]
    points = modulate(labels.astype(np.uint8).ravel(), bits_per_symbol)
    np.testing.assert_allclose(points, expected, atol=1e-6)
    assert np.mean(np.abs(points) ** 2) == pytest.approx(1.0, abs=1e-6)
    assert amplitude_scale(bits_per_symbol) == pytest.approx(SCALES[bits_per_symbol] ** -0.5)


def _gold_bit_by_bit(c_init, length):
    x1 = [1] + [0] * 30
    x2 = [(c_init >> i) & 1 for i in range(31)]
    for n in range(1600 + length):
        x1.append((x1[n + 3] + x1[n]) % 2)
        x2.append((x2[n + 3] + x2[n + 2] + x2[n + 1] + x2[n]) % 2)
    return [(x1[n + 1600] + x2[n + 1600]) % 2 for n in range(length)]


@pytest.mark.parametrize("c_init", [0, 1, 0x1234567, (1 << 31) - 1])
def test_gold_sequence_follows_the_recurrence_of_the_standard(c_init):
    assert gold_sequence(c_init, 200).tolist() == _gold_bit_by_bit(c_init, 200)


def test_pilots_differ_between_cells_slots_and_symbols_but_repeat():
    base = pilot_sequence(3, 2, 7, 64)
    np.testing.assert_array_equal(base, pilot_sequence(3, 2, 7, 64))
    for other in ((4, 2, 7), (3, 11, 7), (3, 2, 8)):
        correlation = abs(np.vdot(base, pilot_sequence(*other, 64))) / 64
        assert correlation < 0.5
    np.testing.assert_allclose(np.abs(base), 1.0, rtol=1e-6)


def test_grid_holds_pilots_on_even_subcarriers_and_nothing_outside_the_allocation():
    raster = numerology_of(Cell("c", resource_blocks=25))
    pilots = frame_pilots(raster, 0)[0]
    grid = map_slot(np.ones(12 * 12 * 3, np.complex64), pilots, raster.subcarriers, 5, 3)
    assert not grid[:, :60].any()
    assert not grid[:, 96:].any()
    assert not grid[PILOT_SYMBOLS, 61:96:2].any()
    np.testing.assert_array_equal(grid[2, 60:96:2], pilots[0, 30:48])
    assert np.count_nonzero(grid) == 12 * 36 + 2 * 18


def test_each_symbol_begins_with_a_copy_of_its_end():
    raster = numerology_of(Cell("c", resource_blocks=25))
    rng = np.random.default_rng(1)
    grid = rng.standard_normal((14, raster.subcarriers)).astype(np.complex64)
    samples = ofdm_modulate(grid, raster)
    assert samples.size == raster.samples_per_slot
    for start, prefix in zip(raster.symbol_starts, raster.cp_lengths, strict=True):
        tail = samples[start + raster.fft_size - prefix : start + raster.fft_size]
        np.testing.assert_array_equal(samples[start - prefix : start], tail)
    assert np.sum(np.abs(grid) ** 2) == pytest.approx(
        sum(np.sum(np.abs(samples[s : s + raster.fft_size]) ** 2) for s in raster.symbol_starts),
        rel=1e-5,
    )


def test_taps_have_unit_mean_power_and_decay():
    rng = np.random.default_rng(2)
    power = np.mean([np.abs(rayleigh_taps(rng, 4, 3.0)) ** 2 for _ in range(2000)], axis=(0, 1))
    assert power.sum() == pytest.approx(1.0, rel=0.05)
    assert power[0] / power[3] == pytest.approx(np.e, rel=0.1)


def test_the_same_seed_gives_the_same_slot():
    cell = Cell("c", resource_blocks=6)
    one, two = (received_slot(cell, np.random.default_rng(5), prb_count=4) for _ in range(2))
    np.testing.assert_array_equal(one.samples, two.samples)
    np.testing.assert_array_equal(one.bits, two.bits)


def test_a_ring_offers_every_size_up_to_the_whole_cell():
    ring = slot_ring(Cell("c", resource_blocks=6), np.random.default_rng(0), cell_id=1, snr_db=20)
    assert [slot.prb_count for slot in ring] == [1, 2, 3, 4, 5, 6]
