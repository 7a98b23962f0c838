"""Sites, radio load and requests of one's own, and what is said of what is wrong with them."""

import json
from pathlib import Path

import numpy as np
import pytest

from aigrid.app.scenarios import check, template
from aigrid.core.errors import ConfigurationError, ConflictError, NotFoundError
from aigrid.twin.country.files import load_country, shared_tokens
from aigrid.twin.country.network import FACTORY, TOWER
from aigrid.twin.country.traces import read_trace
from aigrid.twin.fluid import rehearse

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens"
TRACES = Path(__file__).parents[4] / "shared" / "data" / "llm-trace"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    template(tmp_path)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def said(path: Path) -> list[str]:
    found = check(path).problems
    return [f"{p.message}; {p.next_step}" for p in (*found.errors, *found.warnings)]


def test_the_template_is_good_and_is_what_its_tables_say(folder: Path) -> None:
    found = check(folder / "example.yaml")
    assert found.good
    assert found.counts == {"sites": 14, "customers": 3300, "services": 4}
    country = load_country(folder / "example.yaml", 0)
    network = country.network
    assert list(network.names[:2]) == ["plant", "hub-1"]
    assert (network.kind[0], network.kind[-1]) == (FACTORY, TOWER)
    assert list(network.parent) == [-1, 0] + [1] * 12
    assert "main-street" in country.radio_shapes
    assert country.radio_curves["main-street"].max() == 1.0
    assert network.peak_load[network.shape == 4] == pytest.approx(0.45, abs=0.01)
    lengths = country.services[0].prompt_tokens
    assert lengths.quantiles[0] == 200.0


def test_it_rehearses_and_its_contents_are_its_identity(folder: Path) -> None:
    def trace() -> str:
        from dataclasses import replace

        country = replace(load_country(folder / "example.yaml", 0), minutes=3)
        return rehearse(country, ("aigrid",), 0).trace_sha256

    first = trace()
    assert trace() == first
    change(folder / "sites.csv", "275", "276")
    assert trace() != first


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kind,", "kindd,", "sites.csv:1: kindd: unknown column; did you mean kind"),
        ("hub-1,hub", "hub-1,hbu", "sites.csv:3: kind: 'hbu'; one of factory, hub, tower"),
        (
            "35.44",
            "95.44",
            "sites.csv:3: latitude_deg: 95.44 is out of range; give a number",
        ),
        ("tower-2,", "tower-1,", "sites.csv:5: name: 'tower-1' stands in line 4 already"),
        ("JP-14,hub-1,,3,office,275", "JP-14,hub-9,,3,office,275", "sites.csv:4: parent: 'hub-9'"),
        ("3,office,275", "3,offic,275", "sites.csv:4: shape: 'offic'; one of office"),
        ("plant,factory", "plant,hub", "sites.csv: kind: no factory"),
        ("2,,,\nhub-1", "2,,,9\nhub-1", "sites.csv:2: customers: a factory has customers"),
        (
            "tower-1,tower,35.400",
            "tower-1,tower,",
            "sites.csv:4: latitude_deg: no value",
        ),
    ],
)
def test_what_is_wrong_with_sites_is_said_with_its_place(
    folder: Path, old: str, new: str, expected: str
) -> None:
    change(folder / "sites.csv", old, new)
    assert any(expected in line for line in said(folder / "example.yaml")), said(
        folder / "example.yaml"
    )
    with pytest.raises(ConfigurationError):
        load_country(folder / "example.yaml", 0)


def test_all_problems_are_listed_not_only_the_first(folder: Path) -> None:
    text = (folder / "sites.csv").read_text().replace("275", "many")
    (folder / "sites.csv").write_text(text)
    assert len(said(folder / "sites.csv")) >= 12


def test_odd_but_usable_is_a_warning(folder: Path) -> None:
    (folder / "radio_load.csv").write_text("time,cell,load\n60,main-street,0.01\n")
    found = check(folder / "example.yaml")
    assert found.good
    assert len(found.problems.warnings) == 2
    change(folder / "sites.csv", "35.400,139.550,JP-14,hub-1", "43.0,141.3,JP-01,")
    assert any("km away" in line for line in said(folder / "example.yaml"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("25:00,main-street,0.1", "radio_load.csv:2: time: '25:00'"),
        (
            "0,main-street,50",
            "radio_load.csv:2: load: 50 is out of range; give a number",
        ),
        ("0,main-street", "radio_load.csv:2"),
        ("0,main-street,nan", "radio_load.csv:2: load"),
    ],
)
def test_what_is_wrong_with_radio_load(folder: Path, line: str, expected: str) -> None:
    (folder / "radio_load.csv").write_text(f"time,cell,load\n{line}\n")
    assert any(expected in found for found in said(folder / "radio_load.csv"))


def test_parquet_is_read_like_csv(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.csv
    import pyarrow.parquet

    before = load_country(folder / "example.yaml", 0).network
    pyarrow.parquet.write_table(
        pyarrow.csv.read_csv(folder / "sites.csv"), folder / "sites.parquet"
    )
    change(folder / "example.yaml", "sites.csv", "sites.parquet")
    after = load_country(folder / "example.yaml", 0).network
    assert list(after.names) == list(before.names)
    assert np.array_equal(after.devices, before.devices)


def test_an_hour_of_an_azure_trace_gives_lengths_only(folder: Path) -> None:
    trace = read_trace(folder / "requests.csv")
    assert len(trace.at_s) == 240
    assert trace.span_s == 3585.0
    assert not load_country(folder / "example.yaml", 0).demand_curves


def mooncake(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_mooncake_hashes_say_what_prompts_share(tmp_path: Path) -> None:
    rows = [
        {"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [1, 2, 3]},
        {"timestamp": 3000, "input_length": 700, "output_length": 5, "hash_ids": [1, 2]},
        {"timestamp": 1000, "input_length": 1500, "output_length": 0, "hash_ids": [1, 9, 3]},
    ]
    trace = read_trace(mooncake(tmp_path / "t.jsonl", rows))
    assert list(trace.at_s) == [0.0, 1.0, 3.0]
    assert list(trace.output_tokens) == [5.0, 1.0, 5.0]
    assert list(shared_tokens(trace)) == [0.0, 512.0, 700.0]


def test_a_trace_of_a_day_gives_the_shape_of_the_day(folder: Path) -> None:
    rows = [
        {"timestamp": 1000 * s, "input_length": 10, "output_length": 1, "hash_ids": []}
        for s in range(0, 86_400 * 2 + 60, 60)
        if s % 86_400 < 43_200 or s % 600 == 0
    ]
    mooncake(folder / "day.jsonl", rows)
    change(folder / "example.yaml", "requests.csv", "day.jsonl")
    curve = load_country(folder / "example.yaml", 0).demand_curves["assistant"]
    assert curve.mean() == pytest.approx(1.0)
    assert curve[360] == pytest.approx(10 * curve[1080], rel=0.1)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("t.csv", "a,b\n", "t.csv:1: a: unknown column"),
        (
            "t.csv",
            "TIMESTAMP,ContextTokens,GeneratedTokens\nnow,1,1\n",
            "t.csv:2: TIMESTAMP: 'now'",
        ),
        (
            "t.csv",
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2026-11-24 08:00:00,-1,1\n",
            "t.csv:2: ContextTokens",
        ),
        ("t.jsonl", "[1]\n", "t.jsonl:1: [1] is not an object"),
        ("t.jsonl", '{"timestamp": 1, "inptu": 2}\n', "t.jsonl:1: inptu: unknown key"),
        ("t.jsonl", "{\n", "t.jsonl:1: is not JSON"),
        ("t.jsonl", "", "t.jsonl: holds no requests"),
    ],
)
def test_what_is_wrong_with_a_trace(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_trace(tmp_path / name)
    assert expected in str(caught.value)


def test_files_that_are_not_there(folder: Path) -> None:
    with pytest.raises(NotFoundError):
        check(folder / "nothing.yaml")
    change(folder / "example.yaml", "requests.csv", "nothing.csv")
    with pytest.raises(ConfigurationError, match="not beside"):
        load_country(folder / "example.yaml", 0)
    with pytest.raises(ConflictError):
        template(folder)


@pytest.mark.skipif(not TRACES.is_dir(), reason="the Azure traces are not beside this checkout")
@pytest.mark.parametrize(("name", "requests"), [("azure_conv", 19_366), ("azure_code", 8_819)])
def test_the_real_azure_traces_are_read_whole(name: str, requests: int) -> None:
    trace = read_trace(TRACES / f"{name}.csv")
    assert len(trace) == requests
    assert 3000.0 < trace.span_s < 4000.0
