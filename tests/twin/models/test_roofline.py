import math
from dataclasses import replace

import pytest

from aigrid.core.errors import NotFoundError
from aigrid.twin.models import calibration, roofline
from aigrid.twin.models.devices import SHEET, at_bits, known
from aigrid.twin.models.lengths import fixed

SERVICE = calibration.known_service("llama-3.1-8b", 8, 1000, 200, 64)


def test_a_70b_model_does_not_fit_on_a_small_card_but_on_several_large_ones() -> None:
    large = calibration.known_service("llama-3.3-70b", 8, 1000, 200, 64)
    assert not roofline.fits(large, known("l4"))
    assert roofline.fits(large, known("h100"), 2)
    cost = roofline.service_cost(large, known("l4"))
    assert cost.places == 0
    assert cost.work_s == math.inf


def test_a_promise_per_token_makes_the_batch_smaller() -> None:
    tight = replace(SERVICE, tpot_slo_ms=roofline.step_s(SERVICE, known("l40s"), 8) * 1e3)
    assert roofline.places(SERVICE, known("l40s")) == 64
    assert roofline.places(tight, known("l40s")) == 8
    hopeless = replace(SERVICE, tpot_slo_ms=0.001)
    assert roofline.places(hopeless, known("l40s")) == 1


def test_less_memory_gives_fewer_places() -> None:
    one = roofline.service_cost(SERVICE, known("l40s"), memory_gb=10.0)
    all_of_it = roofline.service_cost(SERVICE, known("l40s"))
    assert one.places < all_of_it.places
    assert one.memory_gb <= 10.0
    assert one.work_s > all_of_it.work_s


def test_the_lines_of_a_cost_go_through_the_roofline() -> None:
    device = known("h100")
    cost = roofline.service_cost(SERVICE, device)
    for batch in (1, cost.places):
        line = cost.step_fixed_s + batch * cost.step_sequence_s
        assert line == pytest.approx(roofline.step_s(SERVICE, device, batch))
    whole = cost.prefill_fixed_s + 1000 * cost.prefill_s_per_token
    assert whole == pytest.approx(roofline.prefill_s(SERVICE, device, 1000), rel=1e-6)


def test_two_devices_are_nearly_twice_as_fast_but_for_the_overhead_of_a_step() -> None:
    one = roofline.step_s(SERVICE, known("h100"), 1, 1)
    two = roofline.step_s(SERVICE, known("h100"), 1, 2)
    assert one / 2 < two < one


def test_few_tokens_of_a_mixture_of_experts_read_few_weights() -> None:
    experts = replace(SERVICE, parameters=3e9, memory_parameters=30e9)
    assert roofline.weights_read(experts, 1) == pytest.approx(3e9)
    assert roofline.weights_read(experts, 64) > 0.99 * experts.weight_bytes
    assert roofline.weights_read(SERVICE, 1) == SERVICE.weight_bytes


def test_a_resident_prefix_saves_work() -> None:
    warm = replace(SERVICE, shared_prefix_tokens=800.0, residency=0.5)
    cold_s = roofline.service_cost(SERVICE, known("l4")).work_s
    warm_s = roofline.service_cost(warm, known("l4")).work_s
    per_token = roofline.service_cost(SERVICE, known("l4")).prefill_s_per_token
    assert cold_s - warm_s == pytest.approx(400 * per_token)


def test_a_short_prompt_is_bound_by_reading_the_weights() -> None:
    short = replace(SERVICE, prompt_tokens=fixed(8))
    cost = roofline.service_cost(short, known("l4"))
    read_s = short.weight_bytes / (300e9 * SHEET["l4"].decode_efficiency)
    assert cost.prefill_fixed_s + 8 * cost.prefill_s_per_token == pytest.approx(
        read_s + SHEET["l4"].step_overhead_ms / 1e3
    )


def test_one_set_of_efficiencies_predicts_published_throughput_within_a_fifth() -> None:
    rows = calibration.comparisons()
    unseen = [row for row in rows if not row.fitted and row.measure == "tokens/s"]
    assert len(unseen) == 48
    found = calibration.summary(unseen)
    assert found["median"] < 0.15
    assert abs(found["bias"]) < 0.1
    # Batches of 4-bit weights on the newest part reach less of its peaks than on all others.
    older = calibration.summary([row for row in unseen if row.device != "b200"])
    assert older["p90"] < 0.2
    alone = calibration.summary([row for row in rows if row.measure != "tokens/s"])
    assert alone["p90"] < 0.4


def test_the_calibration_prints_as_a_table() -> None:
    text = calibration.table(calibration.comparisons()[:3])
    assert text.count("\n") == 3
    assert "h100" in text
    assert "fitted" in text


def test_a_part_that_is_not_on_the_sheet_is_refused_by_name() -> None:
    with pytest.raises(NotFoundError, match="'abacus'"):
        known("abacus")
    assert at_bits(known("h100"), 16).flop_per_s == known("h100").flop_per_s / 2
    assert all(device.source for device in SHEET.values())


def test_an_embedding_costs_its_prefill_and_no_decode() -> None:
    """No promise a token makes its batch smaller, and no step takes anything of the device."""
    embeds = replace(
        SERVICE, generated_tokens=fixed(0.0), kv_bytes_per_token=0.0, tpot_slo_ms=0.001
    )
    cost = roofline.service_cost(embeds, known("l40s"))
    prefill = cost.prefill_fixed_s + 1000 * cost.prefill_s_per_token
    assert cost.places == embeds.max_batch
    assert cost.work_s == pytest.approx(prefill, rel=1e-12)
    one_token = roofline.service_cost(replace(embeds, generated_tokens=fixed(1.0)), known("l40s"))
    assert one_token.work_s > cost.work_s + 1e-3
    assert cost.memory_gb == pytest.approx(embeds.weight_bytes / 1e9)
