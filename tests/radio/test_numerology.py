import pytest

from aigrid.core.errors import ConfigurationError
from aigrid.core.site import Cell
from aigrid.radio.numerology import cp_lengths, numerology_of


@pytest.mark.parametrize(
    ("mu", "blocks", "fft_size", "rate_mhz", "slot_ns"),
    [
        (0, 25, 512, 7.68, 1_000_000),
        (0, 52, 1024, 15.36, 1_000_000),
        (0, 106, 2048, 30.72, 1_000_000),
        (1, 273, 4096, 122.88, 500_000),
        (3, 66, 1024, 122.88, 125_000),
    ],
)
def test_known_carriers_have_the_usual_raster(mu, blocks, fft_size, rate_mhz, slot_ns):
    raster = numerology_of(Cell("c", numerology=mu, resource_blocks=blocks))
    assert (raster.fft_size, raster.sample_rate_hz / 1e6) == (fft_size, rate_mhz)
    assert (raster.slot_ns, raster.subcarriers) == (slot_ns, 12 * blocks)


@pytest.mark.parametrize("mu", range(5))
def test_the_slots_of_a_subframe_fill_exactly_one_millisecond(mu):
    size = 1024
    samples = sum(14 * size + sum(cp_lengths(mu, size, slot)) for slot in range(1 << mu))
    assert samples == size * 15_000 * (1 << mu) // 1000


def test_prefixes_are_those_of_lte_at_30_72_mhz():
    assert cp_lengths(0, 2048)[:8] == (160, 144, 144, 144, 144, 144, 144, 160)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("numerology", 5),
        ("resource_blocks", 0),
        ("resource_blocks", 276),
        ("antennas", 0),
        ("layers", 2),
        ("modulation_bits", 3),
        ("deadline_ms", 0.0),
        ("deadline_ms", float("nan")),
    ],
)
def test_a_cell_that_cannot_be_received_is_refused_by_name_and_value(field, value):
    with pytest.raises(ConfigurationError, match=f"'c'.*{field}") as caught:
        numerology_of(Cell("c", **{field: value}))
    assert caught.value.next_step
