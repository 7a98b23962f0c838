import pytest
from tests.twin.cities import city

from aigrid.control import recording
from aigrid.control.orchestrator import Orchestrator
from aigrid.core.errors import ConfigurationError
from aigrid.twin.grid import TwinGrid, run
from aigrid.twin.replay import replay

BUSY = city(
    duration_s=15.0,
    demand=[{"service": "chat", "requests_per_s": 10.0}],
    faults=[{"kind": "crash", "site": "t1", "at_s": 8.0, "back_after_s": 2.0}],
)


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "events.jsonl"
    with path.open("w") as file:
        result = run(BUSY, seed=1, write=file.write, commit="abc")
    return path, result


def test_a_recording_replays_to_the_same_decisions(recorded):
    path, result = recorded
    replayed = replay(path)
    assert replayed.identical
    assert (replayed.events, replayed.commands) == (result.events, result.commands)
    assert replayed.commit == "abc"
    assert replay(path) == replayed


def test_a_later_file_replays_alone(tmp_path):
    """A recording that begins in mid-run carries the state so far."""
    grid = TwinGrid(BUSY, seed=1)
    grid.advance(9.0)
    path = tmp_path / "later.jsonl"
    with path.open("w") as file:
        file.write(recording.head(grid.orchestrator, ""))
        first = grid.events
        grid._write = lambda line: file.write(line.replace(*_renumbered(line, first)))
        grid.advance(6.0)
    replayed = replay(path)
    assert replayed.identical, replayed.first_difference
    assert replayed.events == grid.events - first


def _renumbered(line, first):
    old = line[: line.index(",")]
    return old, f'{{"seq":{int(old.split(":")[1]) - first}'


def test_another_decision_is_found_and_named(recorded):
    path, _ = recorded
    lines = path.read_text().splitlines(keepends=True)
    number = next(i for i, line in enumerate(lines) if '"SetShare"' in line and i > 50)
    at = lines[number].index('"share":')
    lines[number] = lines[number][:at] + '"share":0.123}]}\n'
    path.write_text("".join(lines))
    replayed = replay(path)
    assert not replayed.identical
    assert f"{path}:{number + 1}" in replayed.first_difference
    assert "0.123" in replayed.first_difference


def test_other_dials_decide_otherwise(recorded):
    path, _ = recorded
    text = path.read_text()
    path.write_text(text.replace('"guard_rise_per_s":0.2', '"guard_rise_per_s":0.3', 1))
    assert not replay(path).identical


def test_a_file_cut_short_replays_up_to_there(recorded):
    path, result = recorded
    path.write_bytes(path.read_bytes()[:-30])
    replayed = replay(path)
    assert replayed.identical
    assert replayed.events == result.events - 1
    assert replayed.cut_short == result.events + 1


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b"{}\n"])
def test_a_file_that_is_no_recording_is_refused(tmp_path, content):
    path = tmp_path / "odd.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"odd\.jsonl"):
        replay(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="absent"):
        replay(tmp_path / "absent.jsonl")


def test_an_empty_recording_replays(tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_text(recording.head(Orchestrator(), ""))
    assert replay(path).identical
