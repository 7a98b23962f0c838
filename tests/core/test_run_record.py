"""Rows of a recorded run go to JSON and back, and what is odd is refused."""

import json

import pytest

from aigrid.core import run_record
from aigrid.core.errors import ConfigurationError
from aigrid.core.run_record import DropRow, EngineRow, HostRow, JobRow, MachineRow, RequestRow, Row

ROWS: list[Row] = [
    RequestRow("k", 1.0, "*", "chat", True, 200, "hub-1", 1, 0.1, 0.5),
    JobRow("k", "chat", 12, 30, 1.0, 1.1, 1.5),
    EngineRow(1.0, "chat", 0.5, 1, 0, 8, 0.1, 0.2, 0.3, 4, 5, 6, 7, 8),
    HostRow(1.0, 0.5),
    MachineRow(1.0, 9.0, 4.0, 1.0, 2, 6e-5, 1e-4),
    DropRow(1.0, 3),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_rows_come_back_as_they_were(row: Row) -> None:
    assert run_record.decode(json.loads(json.dumps(run_record.encode(row))), "x:1") == row


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {"row": "song"},
        {"row": "host", "at_s": 1.0},
        {"row": "host", "at_s": "soon", "load_average": 0.5},
        {"row": "host", "at_s": float("nan"), "load_average": 0.5},
        {"row": "host", "at_s": 1.0, "load_average": 0.5, "prompt": "x"},
    ],
)
def test_what_is_odd_is_refused_with_its_place(raw: object) -> None:
    with pytest.raises(ConfigurationError, match="x:1"):
        run_record.decode(raw, "x:1")


def test_an_engine_row_of_an_old_recording_says_nothing_of_its_processor() -> None:
    raw = run_record.encode(EngineRow(1.0, "chat", 0.5, 1, 0, 8, 0.1, 0.2, 0.3, 4, 5, 6, 7, 8))
    del raw["cpu_s"]
    row = run_record.decode(raw, "x:1")
    assert isinstance(row, EngineRow) and row.cpu_s == run_record.UNKNOWN_S
