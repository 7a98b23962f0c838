"""A recorded run is predicted; where the truth is known, the prediction meets it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.twin.mirror.recordings import TRUTH, Sky, busy_city, record

from aigrid.core.errors import ConfigurationError
from aigrid.twin.mirror.calibration import calibrate
from aigrid.twin.mirror.comparison import Mirror
from aigrid.twin.mirror.prediction import predict
from aigrid.twin.mirror.recorded import read_run
from aigrid.twin.mirror.weather import weather_of
from aigrid.twin.scenario import EngineRounds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "run"
    record(folder, busy_city())
    return folder


@pytest.fixture(scope="module")
def mirror(folder: Path) -> Mirror:
    return predict(folder)


def test_what_was_measured_is_predicted_from_its_first_third(mirror: Mirror) -> None:
    for name in ("ttft_ms_p50", "answer_ms_p50", "answer_ms_p95", "utilisation_mean"):
        error = mirror.row(name).error_pct
        assert error is not None and abs(error) < 6.0, mirror.row(name)
    assert mirror.within_target
    assert mirror.predicted_s == pytest.approx(2 * mirror.fitted_s)


def test_no_request_gets_lost_in_the_comparison(mirror: Mirror) -> None:
    answered = mirror.row("answered")
    assert mirror.requests == answered.measured == answered.predicted
    by_site = [row for row in mirror.rows if row.name.startswith("requests ")]
    assert sum(row.measured for row in by_site) == answered.measured
    assert sum(row.predicted for row in by_site) == answered.predicted
    assert mirror.unfinished == 0
    assert mirror.row("tokens_per_s").error_pct == pytest.approx(0.0)


def round_costs(costs: EngineRounds) -> tuple[float, float]:
    """Of a whole piece of a prompt, and of a step for four."""
    return costs.piece_s + 64 * costs.prompt_token_s, costs.step_s + 4 * costs.sequence_s


def test_the_engine_that_was_recorded_is_found_again(folder: Path) -> None:
    run = read_run(folder)
    found = calibrate(run, 0.0, 40.0)
    for site in ("factory-1", "hub-1"):
        assert round_costs(found.engines[site]) == pytest.approx(round_costs(TRUTH), rel=0.05)
    assert found.path_s == pytest.approx(0.004, rel=0.01)
    assert found.places == 8


def test_nothing_after_the_first_third_is_learnt_from(folder: Path) -> None:
    run = read_run(folder)
    until_s = 40.0
    before = calibrate(run, 0.0, until_s)
    for rows in run.engines.values():
        rows[:] = [
            row if row.at_s <= until_s else replace(row, decode_s=10 * row.decode_s) for row in rows
        ]
    after = calibrate(run, 0.0, until_s)
    assert after.engines == before.engines


def test_the_same_recording_and_seed_give_the_same_trace(folder: Path, mirror: Mirror) -> None:
    assert predict(folder).to_dict() == mirror.to_dict()


@pytest.fixture(scope="module")
def stormy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thirds into the run others come to the machine, and its work takes twice as long."""
    folder = tmp_path_factory.mktemp("recorded") / "stormy"
    record(folder, busy_city(), sky=Sky(calm=0.8, storm=3.0, storm_at_s=45.0))
    return folder


def test_weather_that_was_recorded_drives_the_prediction(stormy: Path) -> None:
    mirror = predict(stormy)
    assert mirror.within_target
    blind = {row.name: row.error_pct or 0.0 for row in mirror.blind}
    assert blind["ttft_ms_p50"] < -25.0 and blind["utilisation_mean"] < -25.0
    assert any("weather" in given for given in mirror.inputs)


def test_a_recording_without_weather_is_predicted_without(mirror: Mirror) -> None:
    assert not mirror.blind and not any("weather" in given for given in mirror.inputs)
    assert any("no weather" in note for note in mirror.notes)


def test_weather_with_a_gap_is_not_used(stormy: Path, tmp_path: Path) -> None:
    copy = copy_of(stormy, tmp_path / "run")
    lines = (copy / "machine-1.jsonl").read_text().splitlines(keepends=True)
    (copy / "machine-1.jsonl").write_text("".join(lines[:100] + lines[200:]))
    run = read_run(copy)
    assert weather_of(read_run(stormy), (3.0, 30.0)) is not None
    assert weather_of(run, (3.0, 30.0)) is None


def test_no_engine_and_no_latency_of_the_predicted_part_is_weather(stormy: Path) -> None:
    run = read_run(stormy)
    before = weather_of(run, (3.0, 30.0))
    for rows in run.engines.values():
        rows[:] = [
            row
            if row.at_s <= 31.0
            else replace(row, cpu_s=2 * row.cpu_s, fill_s=3 * row.fill_s, decode_s=0.0)
            for row in rows
        ]
    run.requests[:] = [
        row if row.at_s <= 31.0 else replace(row, ttft_s=9.0, duration_s=9.0)
        for row in run.requests
    ]
    after = weather_of(run, (3.0, 30.0))
    assert before is not None and after is not None
    assert before.crowd.tolist() == after.crowd.tolist()
    assert before.slower.tolist() == after.slower.tolist()


def test_a_mirror_is_plain_json(mirror: Mirror) -> None:
    plain = json.loads(json.dumps(mirror.to_dict(), allow_nan=False))
    assert plain["sites"] == 3 and plain["rows"][0]["name"] == "ttft_ms_p50"


def copy_of(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_text(path.read_text())
    return target


def test_a_last_line_cut_short_by_a_crash_is_left_out(folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path / "run")
    with (copy / "requests-1.jsonl").open("a") as file:
        file.write('{"row":"requ')
    run = read_run(copy)
    assert run.cut_short == ["requests-1.jsonl"]
    assert len(run.requests) == len(read_run(folder).requests)


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("requests-1.jsonl", '{"row":"guess"}\n', "'guess' is no row"),
        ("site-hub-1-1.jsonl", "hello\n", "not JSON"),
        ("requests-1.jsonl", '{"row":"host","at_s":1.0,"load_average":1.0,"x":1}\n', "key 'x'"),
    ],
)
def test_what_is_no_row_is_refused_with_its_place(
    folder: Path, tmp_path: Path, name: str, line: str, says: str
) -> None:
    copy = copy_of(folder, tmp_path / "run")
    text = (copy / name).read_text()
    (copy / name).write_text(line + text)
    with pytest.raises(ConfigurationError, match=says) as caught:
        read_run(copy)
    assert f"{name}:1" in str(caught.value)


def test_a_folder_without_a_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no recorded run") as caught:
        predict(tmp_path)
    assert "--record" in caught.value.next_step


def test_a_run_without_load_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path / "run")
    (copy / "requests-1.jsonl").write_text("")
    with pytest.raises(ConfigurationError, match="0 requests"):
        predict(copy)
