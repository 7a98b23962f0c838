"""Sites, radio load and requests of one's own, as the country that they become."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aigrid.app.scenarios import check, template
from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.files import load_country
from aigrid.twin.country.network import FACTORY, HUB, TOWER
from aigrid.twin.fluid import radio, rehearse
from aigrid.twin.models.slots import site_compute_for_radio

MINUTE = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    template(tmp_path)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new, 1))


def load(folder: Path):
    return load_country(folder / "example.yaml", 0)


def errors(path: Path) -> list[str]:
    return [f"{p.message}; {p.next_step}" for p in check(path).problems.errors]


def warnings(path: Path) -> list[str]:
    return [f"{p.message}; {p.next_step}" for p in check(path).problems.warnings]


def test_the_template_is_good_and_is_what_its_tables_say(folder: Path) -> None:
    found = check(folder / "example.yaml")
    assert found.good
    assert not found.problems.warnings
    country = load(folder)
    network = country.network
    assert list(network.names[:3]) == ["factory-1", "hub-1", "hub-2"]
    assert list(network.kind[:4]) == [FACTORY, HUB, HUB, TOWER]
    assert found.counts["sites"] == len(network) == 27
    assert network.customers.sum() == found.counts["customers"]
    towers = network.kind == TOWER
    assert (network.cells[towers] > 0).all()
    sized = site_compute_for_radio(country.radio, network.cells[towers])
    assert network.devices[towers] == pytest.approx(sized)


def test_it_rehearses_and_the_contents_of_its_tables_are_its_identity(folder: Path) -> None:
    def trace() -> str:
        country = replace(load(folder), minutes=2)
        return rehearse(country, ("aigrid",), 0).trace_sha256

    first = trace()
    assert trace() == first
    change(folder / "chat.csv", ".0,", ".1,")  # a tenth of a second: lengths stay as they are
    assert trace() != first


def test_a_tower_has_the_load_of_its_rows(folder: Path) -> None:
    rows = (folder / "radio_load.csv").read_text().splitlines()
    said = {row.split(",")[0]: float(row.split(",")[2]) for row in rows if ",tower-7," in row}
    country = load(folder)
    row = list(country.network.names).index("tower-7")
    tables = radio.tables_of(country, 2000)
    peak = country.network.peak_load[row]
    hours = np.array(list(said.values())).reshape(24, 4)
    assert peak >= hours.mean(axis=1).max() - 1e-9
    for clock in ("03:00", "10:30", "21:15"):
        minute = int(clock[:2]) * 60 + int(clock[3:]) + 7  # the middle of a quarter of an hour
        part = np.exp(radio.levels_at(tables, minute)[country.network.shape[row]])
        assert part * peak == pytest.approx(said[clock], rel=0.03)


def test_days_are_averaged_and_cells_of_a_site_too(folder: Path) -> None:
    lines = ["time,site,cell,load"]
    for number in range(1, 25):
        for day, loads in ((1, (0.1, 0.3)), (2, (0.5, 0.7))):
            for hour in range(24):
                at = f"2026-11-{day:02d} {hour:02d}:00"
                lines += [f"{at},tower-{number},{c},{v}" for c, v in zip("ab", loads, strict=True)]
    (folder / "radio_load.csv").write_text("\n".join(lines) + "\n")
    country = load(folder)
    towers = country.network.kind == TOWER
    assert country.network.peak_load[towers] == pytest.approx(0.4)
    assert country.own_load.shape == (24, 24)
    facts = " ".join(check(folder / "radio_load.csv").problems.facts)
    assert "2 days" in facts
    assert "standard deviation" in facts


def test_cells_belong_to_the_sites_that_name_them(folder: Path) -> None:
    lines = ["time,cell,load"]
    lines += [f"{h:02d}:00,{c},{v}" for h in range(24) for c, v in (("c1", 0.2), ("c2", 0.4))]
    lines += [f"{h:02d}:00,main-street,{0.1 if h < 12 else 0.5}" for h in range(24)]
    (folder / "radio_load.csv").write_text("\n".join(lines) + "\n")
    (folder / "sites.csv").write_text(
        "name,kind,latitude_deg,longitude_deg,cell_names,shape,customers\n"
        "f,factory,35.0,139.0,,,\nh,hub,35.1,139.1,,,\n"
        "a,tower,35.1,139.1,c1 c2,,10\nb,tower,35.1,139.2,,main-street,10\n"
        "c,tower,35.1,139.3,,office,10\n"
    )
    country = load(folder)
    network = country.network
    assert list(network.cells) == [0, 0, 2, 3, 3]
    assert network.peak_load == pytest.approx([0, 0, 0.3, 0.5, 0.4])
    assert [country.shape_name(row) for row in (2, 3, 4)] == ["", "", "office"]
    assert any("1 of 3 towers have no load" in line for line in warnings(folder / "example.yaml"))


def test_sites_that_say_little_get_what_is_usual(folder: Path) -> None:
    (folder / "sites.csv").write_text(
        "name,kind,latitude_deg,longitude_deg\n"
        "east,tower,35.0,140.0\nwest,tower,35.0,139.0\nf,factory,35.0,139.5\n"
        "hub-west,hub,35.0,139.1\nhub-east,hub,35.0,139.9\n"
    )
    change(folder / "example.yaml", "radio_load: radio_load.csv", "")
    change(folder / "example.yaml", "  hub_devices: 2", "  customers: 500\n  hub_devices: 4")
    network = load(folder).network
    assert list(network.names) == ["f", "hub-west", "hub-east", "west", "east"]
    assert list(network.parent) == [-1, 0, 0, 1, 2]
    assert list(network.devices[:3]) == [8.0, 4.0, 4.0]
    assert list(network.customers) == [0, 0, 0, 250, 250]
    assert list(network.cells[3:]) == [3, 3]
    assert network.regions == ("own",)


def test_columns_may_have_other_names_and_some_are_ignored(folder: Path) -> None:
    before = load(folder).network
    change(folder / "sites.csv", "latitude_deg,longitude_deg", "LAT,LON")
    change(folder / "sites.csv", "customers\n", "customers,vendor\n")
    text = (folder / "sites.csv").read_text().splitlines()
    rows = [text[0], *(f"{row},ours" for row in text[1:])]
    (folder / "sites.csv").write_text("\n".join(rows))
    change(folder / "example.yaml", "  # columns: {lat", "  columns: {lat")
    change(folder / "example.yaml", "  # ignore", "  ignore")
    assert np.array_equal(load(folder).network.latitude_deg, before.latitude_deg)


def test_devices_of_rows_and_of_ones_own(folder: Path) -> None:
    change(folder / "sites.csv", "JP-14,,,,", "JP-14,,4,,")
    change(folder / "sites.csv", "devices,cells,customers", "devices,cells,customers,device")
    text = (folder / "sites.csv").read_text().splitlines()
    rows = [text[0], f"{text[1]},b200", *(f"{row}," for row in text[2:])]
    (folder / "sites.csv").write_text("\n".join(rows))
    own = (
        "{name: box, flop_per_s: 1.0e+14, memory_bytes_per_s: 5.0e+11, memory_gb: 32, "
        "load_bytes_per_s: 4.0e+9, prefill_efficiency: 0.5, decode_efficiency: 0.5, "
        "step_overhead_ms: 1, preemption_ms: null, idle_w: 10, peak_w: 90, capital_usd: 900}"
    )
    change(folder / "example.yaml", "devices: [l4, ", f"devices: [{own}, ")
    country = load(folder)
    used = [country.devices[d] for d in country.network.device]
    assert [used[0].name, used[1].name, used[3].name] == ["b200", "h100", "box"]
    assert used[3].preemption_ms is None
    assert country.network.devices[0] == 4.0


def test_what_plan_writes_is_read(folder: Path, tmp_path: Path) -> None:
    """Towers without AI, hubs without computers, shapes left empty where the load is one's own."""
    from aigrid.twin.fluid.ground import ground_of
    from aigrid.twin.fluid.rehearsal import policy_of
    from aigrid.twin.policies import plan_of

    rows = ["name,kind,latitude_deg,longitude_deg,device,devices,cells,shape,peak_load,customers"]
    rows += ["f,factory,35.4,139.6,l40s,1,0,home,0,0", "h,hub,35.5,139.6,h100,0,0,home,0,0"]
    rows += [f"t{i},tower,35.5,139.{i},radio-only,0.9,3,home,0.3,100" for i in range(4)]
    rows += ["t4,tower,35.5,139.5,l4,2,3,home,0.3,100"]
    (folder / "sites.csv").write_text("\n".join(rows))
    change(folder / "example.yaml", "radio_load: radio_load.csv", "")
    country = load(folder)
    bare = country.devices[country.network.device[2]]
    assert bare.capital_usd * 0.9 == pytest.approx(country.money.radio_only_tower_usd)
    allowed = ground_of(country, plan_of("aigrid"), policy_of(country)).allowed
    assert not allowed[:, 1:6].any()
    assert allowed[:, [0, 6]].all()


def test_parquet_is_read_like_csv(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.csv
    import pyarrow.parquet

    before = load(folder)
    for name in ("sites", "radio_load", "chat"):
        table = pyarrow.csv.read_csv(folder / f"{name}.csv")
        pyarrow.parquet.write_table(table, folder / f"{name}.parquet")
        change(folder / "example.yaml", f"{name}.csv", f"{name}.parquet")
        text = (folder / "example.yaml").read_text()
        (folder / "example.yaml").write_text(text.replace(f"{name}.csv", f"{name}.parquet"))
        assert check(folder / f"{name}.parquet").good
    after = load(folder)
    assert list(after.network.names) == list(before.network.names)
    assert np.array_equal(after.network.devices, before.network.devices)
    assert np.array_equal(after.own_load, before.own_load)
    assert after.services[0].prompt_tokens == before.services[0].prompt_tokens


def test_without_pyarrow_parquet_is_refused_with_the_way_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (folder / "sites.parquet").write_bytes(b"PAR1")
    (said,) = errors(folder / "sites.parquet")
    assert "pip install 'aigrid[parquet]'" in said


def test_a_trace_of_a_day_gives_lengths_demand_and_the_shape_of_the_day(folder: Path) -> None:
    country = load(folder)
    chat, voice = country.services
    assert chat.requests_per_customer_day == 4
    assert chat.prompt_tokens.mean == pytest.approx(795, abs=1)
    curve = country.demand_curves["chat"]
    assert curve.mean() == pytest.approx(1.0)
    assert curve[21 * MINUTE : 22 * MINUTE].mean() > 3 * curve[4 * MINUTE : 5 * MINUTE].mean()
    assert list(country.demand_curves) == ["chat"]
    assert voice.shape == "conversation"
    # Blocks that earlier prompts had too.
    assert 0.8 < voice.shared_prefix_tokens / voice.prompt_tokens.mean < 0.9
    assert "chat.csv, sha256" in country.sources["service chat.prompt_tokens"]
    assert "service chat.requests_per_customer_day" not in country.sources
    lines = (folder / "example.yaml").read_text().splitlines()
    kept = [line for line in lines if "requests_per_customer_day: 4" not in line]
    (folder / "example.yaml").write_text("\n".join(kept))
    country = load(folder)
    wanted = country.services[0].requests_per_customer_day * country.network.customers.sum()
    assert wanted == pytest.approx(1200)


def test_a_short_trace_leaves_the_shape_of_the_day_to_the_scenario(folder: Path) -> None:
    change(folder / "example.yaml", "    shape: conversation\n", "")
    assert any("shape is missing" in line for line in errors(folder / "example.yaml"))
    with pytest.raises(ConfigurationError, match="shape is missing"):
        load(folder)


def test_ten_thousand_sites_with_loads_of_their_own(folder: Path) -> None:
    """More curves than a byte can number."""
    count = 300
    rows = ["name,kind,latitude_deg,longitude_deg,customers", "f,factory,35,139,"]
    rows += [f"t{i},tower,{35 + i * 1e-4},139,5" for i in range(count)]
    (folder / "sites.csv").write_text("\n".join(rows))
    loads = ["time,site,load"]
    loads += [f"{h:02d}:00,t{i},{0.001 * (i + 1)}" for h in range(24) for i in range(count)]
    (folder / "radio_load.csv").write_text("\n".join(loads))
    country = load(folder)
    towers = country.network.kind == TOWER
    assert country.network.peak_load[towers] == pytest.approx(0.001 * (1 + np.arange(count)))
    assert country.network.shape.max() == 4 + count - 1
