"""What is said of what is wrong with files of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.twin.country.test_own import change, errors, warnings

from aigrid.app.bundled import find_bundled
from aigrid.app.scenarios import check, template
from aigrid.core.errors import ConfigurationError, ConflictError, NotFoundError
from aigrid.twin.country.files import load_country


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    template(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kind,", "kindd,", "sites.csv:1: kindd: unknown column; did you mean kind?"),
        ("kind,", "bandwidth,", "or `ignore` it in the scenario"),
        ("hub-1,hub,", "hub-1,hbu,", "sites.csv:3: kind: unknown kind 'hbu'; did you mean hub?"),
        ("35.466", "95.466", "sites.csv:3: latitude_deg: 95.466 is out of range; give a number"),
        ("35.466", "35,466", "sites.csv:3: 10 values, but 9 columns"),
        ("35.466", "", "sites.csv:3: latitude_deg: no value"),
        ("35.466", "north", "sites.csv:3: latitude_deg: 'north' is not a number"),
        ("35.466", "nan", "sites.csv:3: latitude_deg: 'nan' is not a number"),
        ("tower-2,", "tower-1,", "sites.csv:6: name: 'tower-1' stands in line 5 already"),
        ("JP-14,hub-1", "JP-14,hub-9", "sites.csv:5: parent: there is no site 'hub-9'; did you"),
        ("JP-14,hub-1", "JP-14,tower-2", "sites.csv:5: parent: a tower below a tower"),
        ("factory-1,factory", "factory-1,hub", "sites.csv: kind: there is no factory"),
        ("JP-14,factory-1,,,", "JP-14,factory-1,,,9", "customers: only towers have customers"),
        ("JP-14,factory-1,,,", "JP-14,factory-1,,2,", "cells: only towers have cells"),
        ("JP-14,hub-1,,", "JP-14,hub-1,,2.", "no whole number"),
        ("name,kind", "name,kind,kind", "kind: the column is there twice"),
    ],
)
def test_what_is_wrong_with_sites_is_said_with_its_place(
    folder: Path, old: str, new: str, expected: str
) -> None:
    change(folder / "sites.csv", old, new)
    said = errors(folder / "sites.csv")
    assert any(expected in line for line in said), said
    assert any(expected in line for line in errors(folder / "example.yaml"))
    with pytest.raises(ConfigurationError):
        load_country(folder / "example.yaml", 0)


def test_parents_in_a_circle(folder: Path) -> None:
    change(folder / "sites.csv", "JP-14,factory-1", "JP-14,hub-2")
    change(folder / "sites.csv", "JP-14,factory-1", "JP-14,hub-1")
    assert any("circle" in line for line in errors(folder / "sites.csv"))


def test_all_problems_are_listed_up_to_a_limit_and_the_rest_counted(folder: Path) -> None:
    rows = ["name,kind,latitude_deg,longitude_deg"]
    rows += [f"t{i},twoer,{'x' if i % 2 else 91},139" for i in range(100)]
    (folder / "sites.csv").write_text("\n".join(rows))
    found = check(folder / "sites.csv").problems
    assert len(found.errors) == 50
    assert found.count >= 200
    with pytest.raises(ConfigurationError, match=r"\d+ more: aigrid scenario check"):
        load_country(folder / "example.yaml", 0)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("00:15,tower-1,", "25:00,tower-1,", "radio_load.csv:3: time: '25:00' is not a time"),
        ("00:15,tower-1,", "00:15,tower-1,5", "radio_load.csv:3: load: "),
        ("00:15,tower-1,", "00:16,tower-1,", "minutes from the first time"),
        ("00:15,tower-1,", "00:00,tower-1,", "radio_load.csv:3: time: the same site has this time"),
        ("00:15,tower-1,", "00:15,tower-x,", "radio_load.csv:2: time: 'tower-1' has no load at 00"),
        ("time,site,load", "time,sites,load", "sites: unknown column; did you mean site?"),
        ("time,site,load", "time,load,load", "load: the column is there twice"),
    ],
)
def test_what_is_wrong_with_radio_load(folder: Path, old: str, new: str, expected: str) -> None:
    change(folder / "radio_load.csv", old, new)
    said = errors(folder / "radio_load.csv")
    assert any(expected in line for line in said), said


def test_less_than_a_day_of_load_is_refused(folder: Path) -> None:
    rows = (folder / "radio_load.csv").read_text().splitlines()
    (folder / "radio_load.csv").write_text("\n".join(r for r in rows if r[:1] != "2"))
    (said,) = errors(folder / "radio_load.csv")
    assert "16 of 96 times of day have no rows, the first 20:00; give a day" in said


def test_load_of_sites_that_are_not_there(folder: Path) -> None:
    text = (folder / "radio_load.csv").read_text()
    (folder / "radio_load.csv").write_text(text.replace("tower-24,", "tower-42,"))
    (said,) = errors(folder / "example.yaml")
    assert "there is no site 'tower-42'; did you mean tower-" in said


@pytest.mark.parametrize(
    ("old", "new", "where", "expected"),
    [
        ("  slot_ms: 0.5", "  slot_mz: 0.5", "radio.slot_mz", "did you mean slot_ms?"),
        ("  burstiness: 0.8", "  burstiness: high", "radio.burstiness", "'high' is no number"),
        ("policies: [aigrid", "policies: [agrid", "policies[0]", "did you mean aigrid?"),
        ("radio_shapes: [home", "radio_shapes: [hom", "radio_shapes[0]", "did you mean home?"),
        ("devices: [l4,", "devices: [l5,", "devices[0]", "device 'l5' is not on the sheet"),
        ("trace: chat.csv", "trace: chap.csv", "services[0].trace", "no file 'chap.csv' beside"),
        ("parameters: 8.0e+9", "parameters: 8e9", "services[0].parameters", "8.0e+9"),
        ("shape: conversation", "shape: talk", "services[1].shape", "unknown shape 'talk'"),
        ("file: sites.csv", "fil: sites.csv", "", "neither file nor builtin"),
        ("name: voice", "name: chat", "services[1].name", "a service 'chat' is there already"),
        ("  life_years: 5.0", "  pue: 2.0", "money.pue", "the key is there twice"),
        ("money:\n", "dials: {candidate: 2}\nmoney:\n", "dials.candidate", "unknown dial"),
        ("name: example", "name: [example", "", "is no YAML"),
    ],
)
def test_what_is_wrong_with_a_scenario_is_said_with_its_line(
    folder: Path, old: str, new: str, where: str, expected: str
) -> None:
    path = folder / "example.yaml"
    before = path.read_text().splitlines()
    change(path, old, new)
    after = path.read_text().splitlines()
    number = 1 + next(at for at, line in enumerate(after) if line != before[at])
    said = [text for text in errors(path) if expected in text]
    assert said, errors(path)
    if where:
        assert f"example.yaml:{number}: {where}" in said[0]


def test_problems_of_scenario_and_tables_are_said_at_once(folder: Path) -> None:
    change(folder / "example.yaml", "  pue: 1.3", "  pue: much")
    change(folder / "sites.csv", "hub-1,hub,", "hub-1,hbu,")
    change(folder / "chat.csv", "ContextTokens", "PromptTokens")
    said = " ".join(errors(folder / "example.yaml"))
    assert all(word in said for word in ("money.pue", "'hbu'", "PromptTokens"))


def test_odd_but_usable_is_a_warning(folder: Path) -> None:
    change(folder / "sites.csv", "tower-1,tower,35", "tower-1,tower,43")
    rows = (folder / "radio_load.csv").read_text().splitlines()
    idle = [f"{r.rsplit(',', 1)[0]},0.01" if ",tower-2," in r else r for r in rows]
    (folder / "radio_load.csv").write_text("\n".join(idle))
    lines = (folder / "voice.jsonl").read_text().splitlines()
    (folder / "voice.jsonl").write_text("\n".join(lines[:50]))
    change(folder / "example.yaml", "memory_parameters: 8.0e+9", "memory_parameters: 8.0e+12")
    assert check(folder / "example.yaml").good
    said = " ".join(warnings(folder / "example.yaml"))
    assert "its hub, hub-1, is 8" in said
    assert "km away" in said
    assert "'tower-2' is never above 0.010" in said
    assert "7 minutes long" in said
    assert "chat fits no site where it may run" in said


def test_a_topology_of_a_live_grid_is_told_from_a_country() -> None:
    (said,) = errors(find_bundled("scenarios", "local"))
    assert "aigrid up --topology" in said


def test_files_that_are_not_there_or_no_tables(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        check(folder / "nothing.yaml")
    with pytest.raises(ConflictError):
        template(folder)
    (folder / "x.csv").write_text("a,b\n1,2\n")
    assert "no columns of sites, radio load or a trace" in errors(folder / "x.csv")[0]
    (folder / "x.csv").write_bytes("name,kind\n東京,塔\n".encode("cp932"))
    assert any("is not UTF-8" in line for line in errors(folder / "x.csv"))
    (folder / "x.csv").write_text("name,kind,latitude_deg,longitude_deg\n")
    assert any("holds no rows" in line for line in errors(folder / "x.csv"))


def test_tables_of_a_spreadsheet_are_read(folder: Path) -> None:
    text = (folder / "sites.csv").read_text().replace(",", ";").replace("\n", "\r\n")
    (folder / "sites.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert check(folder / "example.yaml").good
