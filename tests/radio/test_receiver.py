import math

import numpy as np
import pytest

from aigrid.core.errors import InvalidRequestError
from aigrid.core.site import Cell
from aigrid.radio import kernels
from aigrid.radio.pilots import PILOT_POWER
from aigrid.radio.receiver import Receiver, hard_bits
from aigrid.radio.transmitter import amplitude_scale, modulate, rayleigh_taps, received_slot


def _receive(cell, slot, cell_id=0):
    receiver = Receiver(cell, cell_id)
    return receiver.receive(slot.samples, slot.slot_in_frame, slot.first_prb, slot.prb_count)


def _flat(antennas=1):
    return np.ones((antennas, 1), np.complex64)


def _errors(reception, slot):
    return int(np.count_nonzero(hard_bits(reception.llr) != slot.bits))


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
@pytest.mark.parametrize(("blocks", "antennas", "mu"), [(25, 1, 0), (52, 2, 0), (24, 4, 1)])
def test_without_noise_every_bit_arrives(bits, blocks, antennas, mu):
    cell = Cell("c", mu, blocks, antennas, modulation_bits=bits)
    rng = np.random.default_rng(bits)
    taps = np.array([[1.0, 0.3j, 0.1]] * antennas, np.complex64)
    slot = received_slot(
        cell, rng, prb_count=blocks - 3, first_prb=2, slot_in_frame=7, noise_variance=0, taps=taps
    )
    assert _errors(_receive(cell, slot), slot) == 0


def test_a_part_of_the_scheduled_blocks_can_be_received_alone():
    cell = Cell("c", resource_blocks=25)
    slot = received_slot(cell, np.random.default_rng(0), prb_count=25, noise_variance=0)
    part = Receiver(cell).receive(slot.samples, 0, 0, 10)
    sent = slot.bits.reshape(12, 25 * 12 * 4)[:, : 10 * 12 * 4].ravel()
    np.testing.assert_array_equal(hard_bits(part.llr), sent)


def test_an_empty_slot_gives_no_bits():
    cell = Cell("c", resource_blocks=25)
    slot = received_slot(cell, np.random.default_rng(0), prb_count=0)
    assert _receive(cell, slot).llr.size == 0


def _q(x):
    return 0.5 * math.erfc(x / math.sqrt(2))


def _gray_qam_ber(bits, snr):
    # Cho and Yoon, "On the general BER expression of one- and two-dimensional amplitude
    # modulations", IEEE Trans. Communications 50(7), 2002, equations 14 to 16 (exact, Gray labels).
    levels = 1 << (bits // 2)
    total = 0.0
    for k in range(1, bits // 2 + 1):
        for i in range(int((1 - 2.0**-k) * levels)):
            weight = 2 ** (k - 1) - math.floor(i * 2 ** (k - 1) / levels + 0.5)
            sign = (-1) ** math.floor(i * 2 ** (k - 1) / levels)
            total += (
                sign
                * weight
                * 2
                / levels
                * _q((2 * i + 1) * amplitude_scale(bits) * math.sqrt(2 * snr))
            )
    return total / (bits // 2)


@pytest.mark.parametrize(("bits", "snr_db"), [(2, 7.0), (4, 13.0), (6, 18.0), (8, 23.0)])
def test_bit_errors_in_plain_noise_follow_the_closed_form(bits, snr_db):
    snr = 10 ** (snr_db / 10)
    rng = np.random.default_rng(bits)
    sent = rng.integers(0, 2, 600_000 // 24 * 24, dtype=np.uint8)
    symbols = modulate(sent, bits)
    draw = rng.standard_normal((2, symbols.size)) * math.sqrt(0.5 / snr)
    heard = (symbols + draw[0] + 1j * draw[1]).astype(np.complex64)[None, :]
    llr = np.zeros(sent.size, np.float32)
    sinr = np.full(heard.shape, snr, np.float32)
    kernels.demap(heard, sinr, bits, amplitude_scale(bits), heard.shape[1], llr)
    expected = _gray_qam_ber(bits, snr)
    errors = np.count_nonzero(hard_bits(llr) != sent)
    # Bits of one symbol err together now and then: 5 deviations leave room for that.
    assert abs(errors - expected * sent.size) < 5 * math.sqrt(expected * sent.size)
    assert errors > 100


def test_the_whole_chain_loses_only_what_channel_estimation_costs():
    # Estimation noise acts like extra noise of at most (1 + 1/PILOT_POWER) times the variance.
    cell = Cell("c", antennas=1, modulation_bits=2)
    rng = np.random.default_rng(3)
    variance = 10**-0.6
    errors = sent = 0
    for _ in range(12):
        slot = received_slot(cell, rng, prb_count=52, noise_variance=variance, taps=_flat())
        errors += _errors(_receive(cell, slot), slot)
        sent += slot.bits.size
    ideal = _gray_qam_ber(2, 1 / variance)
    worst = _gray_qam_ber(2, 1 / (variance * (1 + 1 / PILOT_POWER)))
    slack = 5 * math.sqrt(worst / sent)
    assert ideal - slack < errors / sent < worst + slack


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_soft_bits_are_the_exact_max_log_ratios(bits):
    rng = np.random.default_rng(bits)
    labels = np.arange(1 << bits)[:, None] >> np.arange(bits)[::-1] & 1
    points = modulate(labels.astype(np.uint8).ravel(), bits)
    heard = (1.5 * (rng.standard_normal(64) + 1j * rng.standard_normal(64))).astype(np.complex64)
    sinr = rng.uniform(1, 50, 64).astype(np.float32)
    llr = np.zeros(64 * bits, np.float32)
    kernels.demap(heard[None], sinr[None], bits, amplitude_scale(bits), 64, llr)
    distance = np.abs(heard[:, None] - points) ** 2 * sinr[:, None]
    expected = [
        np.where(labels[:, b], distance, np.inf).min(1)
        - np.where(labels[:, b], np.inf, distance).min(1)
        for b in range(bits)
    ]
    np.testing.assert_allclose(llr.reshape(64, bits), np.transpose(expected), rtol=1e-3, atol=1e-3)


def test_least_squares_error_has_the_variance_of_theory():
    cell = Cell("c", antennas=4)
    variance = 0.1
    slot = received_slot(
        cell, np.random.default_rng(4), prb_count=52, noise_variance=variance, taps=_flat(4)
    )
    error = _receive(cell, slot).channel - 1.0
    at_pilots = np.mean(np.abs(error[:, :, ::2]) ** 2)
    between = np.mean(np.abs(error[:, :, 1:-1:2]) ** 2)
    # At pilots: noise over pilot power. Between two of them: the mean of two independent errors.
    assert at_pilots == pytest.approx(variance / PILOT_POWER, rel=0.1)
    assert between == pytest.approx(variance / PILOT_POWER / 2, rel=0.1)


def test_noise_is_read_off_the_empty_subcarriers():
    cell = Cell("c", antennas=4)
    slot = received_slot(cell, np.random.default_rng(5), prb_count=52, noise_variance=0.03)
    assert _receive(cell, slot).noise_variance == pytest.approx(0.03, rel=0.08)


def test_equaliser_reaches_the_matched_filter_bound():
    # With one layer the SINR after MMSE is sum |h|^2 / noise; measured on the error of its symbols.
    rng = np.random.default_rng(6)
    antennas, count, variance = 3, 600, np.float32(0.05)
    h = np.array([1.0, 0.5j, -0.25], np.complex64)
    channel = np.broadcast_to(h[None, :, None], (2, antennas, count)).copy()
    sent = modulate(rng.integers(0, 2, 12 * count * 2, dtype=np.uint8), 2).reshape(12, count)
    draw = rng.standard_normal((2, antennas, 12, count)) * math.sqrt(variance / 2)
    grid = (h[:, None, None] * sent + draw[0] + 1j * draw[1]).astype(np.complex64)
    equalised = np.zeros((12, count), np.complex64)
    sinr = np.zeros((12, count), np.float32)
    kernels.equalise(
        grid, channel, np.arange(12), np.zeros(12, np.float32), variance, count, equalised, sinr
    )
    bound = np.sum(np.abs(h) ** 2) / variance
    np.testing.assert_allclose(sinr, bound, rtol=1e-4)
    assert 1 / np.mean(np.abs(equalised - sent) ** 2) == pytest.approx(bound, rel=0.05)


def test_more_antennas_make_fewer_errors():
    errors = []
    for antennas in (1, 2, 4):
        cell = Cell("c", resource_blocks=25, antennas=antennas)
        receiver, rng, wrong = Receiver(cell), np.random.default_rng(7), 0
        for _ in range(20):
            slot = received_slot(cell, rng, prb_count=25, noise_variance=0.1)
            wrong += _errors(receiver.receive(slot.samples, 0, 0, 25), slot)
        errors.append(wrong)
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_echoes_longer_than_the_prefix_disturb():
    cell = Cell("c", resource_blocks=25, antennas=1, modulation_bits=6)
    sinrs = []
    for delay in (30, 200):
        taps = np.zeros((1, delay + 1), np.complex64)
        taps[0, 0], taps[0, delay] = 1.0, 0.05
        slot = received_slot(
            cell, np.random.default_rng(8), prb_count=25, noise_variance=1e-6, taps=taps
        )
        reception = _receive(cell, slot)
        sent = modulate(slot.bits, 6).reshape(reception.equalised.shape)
        # Genie equaliser: only interference is left, no interpolation error.
        error = reception.equalised - sent
        sinrs.append(1 / np.mean(np.abs(error) ** 2))
        noise = reception.noise_variance
        assert (noise > 1e-4) == (delay == 200)
    assert sinrs[0] > sinrs[1]


def test_pilots_of_another_cell_are_not_understood():
    cell = Cell("c", resource_blocks=25)
    slot = received_slot(cell, np.random.default_rng(9), prb_count=25, noise_variance=1e-3)
    assert _errors(_receive(cell, slot), slot) == 0
    assert _errors(_receive(cell, slot, cell_id=5), slot) > 0.3 * slot.bits.size


def test_a_channel_that_turns_during_the_slot_is_followed():
    cell = Cell("c", resource_blocks=25, antennas=1)
    slot = received_slot(
        cell, np.random.default_rng(10), prb_count=25, noise_variance=0, taps=_flat()
    )
    turn = np.exp(1j * np.linspace(0, 0.9, slot.samples.shape[1])).astype(np.complex64)
    samples = np.ascontiguousarray(slot.samples * turn)
    assert (
        np.count_nonzero(hard_bits(Receiver(cell).receive(samples, 0, 0, 25).llr) != slot.bits) == 0
    )


@pytest.mark.parametrize(("first", "count"), [(0, 26), (20, 6), (-1, 3), (0, -1)])
def test_blocks_outside_the_cell_are_refused(first, count):
    cell = Cell("c", resource_blocks=25)
    slot = received_slot(cell, np.random.default_rng(0), prb_count=1)
    with pytest.raises(InvalidRequestError, match="resource blocks"):
        Receiver(cell).receive(slot.samples, 0, first, count)


def test_samples_of_another_length_are_refused():
    with pytest.raises(InvalidRequestError, match="shape"):
        Receiver(Cell("c")).receive(np.zeros((2, 100), np.complex64), 0, 0, 1)


def test_fading_taps_are_within_the_prefix():
    assert rayleigh_taps(np.random.default_rng(0), 1, 4.0).shape[1] < 36
