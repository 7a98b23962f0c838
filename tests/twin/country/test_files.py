"""Reading a country's scenario."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aigrid.app.bundled import find_bundled
from aigrid.core.errors import AigridError
from aigrid.twin.country.files import load_country
from aigrid.twin.country.network import FACTORY, HUB, TOWER

REGION = find_bundled("scenarios", "region").read_text()


def loaded(tmp_path: Path, text: str, seed: int = 0):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return load_country(path, seed)


def test_built_in_country_has_its_towers_where_the_people_are(tmp_path):
    text = find_bundled("scenarios", "japan").read_text().replace("towers: 200000", "towers: 5000")
    country = loaded(tmp_path, text)
    network = country.network
    towers = network.kind == TOWER
    assert towers.sum() == 5000
    assert network.customers.sum() == pytest.approx(55e6)
    of = np.bincount(network.region[towers], minlength=47)
    assert of.min() >= 1
    assert of.argmax() == network.regions.index("JP-13")
    assert of[network.regions.index("JP-13")] / 5000 == pytest.approx(14048 / 126146, rel=0.05)


def test_rows_stand_in_the_order_that_a_network_promises(tmp_path):
    network = loaded(tmp_path, REGION).network
    assert (np.diff(np.array([FACTORY, HUB, TOWER]).searchsorted(network.kind)) >= 0).all()
    towers = network.kind == TOWER
    assert (network.kind[network.parent[towers]] == HUB).all()
    assert (network.kind[network.parent[network.kind == HUB]] == FACTORY).all()
    assert (np.diff(network.parent[towers]) >= 0).all()
    assert len(set(network.names.tolist())) == len(network)
    assert (network.cells[towers] >= 1).all()
    assert (network.cells[~towers] == 0).all()


def test_same_seed_same_country(tmp_path):
    one, same, other = (loaded(tmp_path, REGION, seed).network for seed in (1, 1, 2))
    assert np.array_equal(one.latitude_deg, same.latitude_deg)
    assert not np.array_equal(one.latitude_deg, other.latitude_deg)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("money:", "monney:", "monney: unknown key; did you mean money"),
        ("  slot_ms: 0.5\n", "", "radio: slot_ms is missing"),
        ("  headroom: 0.1", "  headroom: much", "radio.headroom: 'much' is no number"),
        ("  builtin: japan", "  builtin: mars", "sites.builtin: unknown country 'mars'"),
        ("  towers: 300", "  towers: 3", "3 towers"),
        ("regions: [JP-14]", "regions: [JP-99]", "unknown region 'JP-99'"),
        ("prompt_tokens: azure-code-prompt", "prompt_tokens: poems", "unknown lengths 'poems'"),
        ("    tpot_slo_ms: 80\n", "", r"services\[3\]: tpot_slo_ms is missing"),
        ("devices: [l4,", "devices: [abacus,", "abacus"),
    ],
)
def test_what_is_wrong_is_named_with_where(tmp_path, old, new, says):
    assert old in REGION
    with pytest.raises(AigridError, match=says):
        loaded(tmp_path, REGION.replace(old, new))
