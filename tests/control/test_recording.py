import pytest
from tests.control import grids

from aigrid.control import recording, snapshot
from aigrid.control.orchestrator import Orchestrator
from aigrid.control.policy import Policy
from aigrid.control.world import Timed
from aigrid.core.errors import ConfigurationError
from aigrid.core.events import Heartbeat, SiteJoined, Tick


def recorded(count=5):
    orchestrator = Orchestrator(Policy(candidates=3))
    lines = [recording.head(orchestrator, "abc123", "a label")]
    for seq in range(count):
        timed = Timed(0.1 * seq, SiteJoined(grids.site("h")) if seq == 0 else Tick())
        commands = orchestrator.handle(*timed)
        lines.append(recording.line(seq, timed, commands))
    return lines


def test_head_and_lines_read_back():
    reader = recording.Reader(recorded(), "file")
    assert reader.head.policy == Policy(candidates=3)
    assert (reader.head.commit, reader.head.started) == ("abc123", "a label")
    read = list(reader)
    assert [line.seq for line in read] == [0, 1, 2, 3, 4]
    assert read[3].timed == Timed(0.1 * 3, Tick())
    assert read[0].commands[0] == {"type": "SiteStatusChanged", "site": "h", "status": "up"}
    assert reader.cut_short == 0


def test_a_table_is_recorded_as_a_digest():
    published = recording.parse_line(recorded()[1], "file:2").commands[-1]
    assert published["type"] == "PublishRoutes"
    assert published["table"].startswith("sha256:")


def test_a_last_line_that_a_crash_cut_short_is_left_out_and_reported():
    lines = recorded()
    lines[-1] = lines[-1][:20]
    reader = recording.Reader(lines, "file")
    assert len(list(reader)) == 4
    assert reader.cut_short == 6


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda lines: lines.__setitem__(2, "garbage\n"), "file:3"),
        (lambda lines: lines.__setitem__(5, "garbage\n"), "file:6"),
        (lambda lines: lines.pop(2), "file:3"),
        (lambda lines: lines.__setitem__(3, lines[3].replace('"Tick"', '"Tock"')), "file:4"),
        (lambda lines: lines.__setitem__(3, lines[3].replace('"Tick"', '"SetShare"')), "file:4"),
        (lambda lines: lines.__setitem__(3, lines[3].replace('"seq"', '"sequel"')), "file:4"),
        (lambda lines: lines.__setitem__(0, lines[1]), "file:1"),
        (lambda lines: lines.clear(), "file:1"),
        (
            lambda lines: lines.__setitem__(0, lines[0].replace("candidates", "dates")),
            "file:1",
        ),
    ],
)
def test_damage_is_an_error_that_names_the_line(spoil, named):
    lines = recorded()
    spoil(lines)
    with pytest.raises(ConfigurationError, match=named):
        list(recording.Reader(lines, "file"))


def test_a_name_that_has_no_utf8_is_recorded_all_the_same():
    timed = Timed(0.0, Heartbeat("\ud800"))
    line = recording.line(0, timed, Orchestrator().handle(*timed))
    assert recording.parse_line(line, "file:2").timed == timed


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw.pop("routes"),
        lambda raw: raw["sites"].pop("share"),
        lambda raw: raw["sites"].update(share=[0.1]),
        lambda raw: raw["sites"].update(share=["x"] * 3),
        lambda raw: raw["routes"].update(shape=[1, 2]),
        lambda raw: raw.update(digests=[]),
    ],
)
def test_a_damaged_snapshot_is_refused(spoil):
    raw = snapshot.take(grids.grid())
    spoil(raw)
    with pytest.raises(ConfigurationError, match="file:1"):
        snapshot.restore(Policy(), raw, "file:1")
