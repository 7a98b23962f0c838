"""Tables from CSV, in blocks of rows, so that their text never lies in memory as a whole."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.problems import Problems, shown
from aigrid.twin.country.tables import (
    SEPARATORS,
    Column,
    Source,
    Table,
    Texts,
    check_texts,
    match_columns,
)

BLOCK_ROWS = 65_536
LINE_LIMIT = 65_536
Floats = NDArray[np.float64]


def _lines(file: TextIO) -> Iterator[str]:
    number = 0
    while line := file.readline(LINE_LIMIT):
        number += 1
        if len(line) == LINE_LIMIT and not line.endswith("\n"):
            raise csv.Error(f"line {number} has more than {LINE_LIMIT:,} characters")
        if '"' in line and line.count('"') % 2:
            raise csv.Error(f"line {number} has a quote that does not close")
        yield line


def read_csv(source: Source, columns: Sequence[Column], problems: Problems) -> Table | None:
    """The columns of a CSV file, as `tables.read_table` says.

    Raises:
        csv.Error: it is no CSV.
        OSError: it cannot be read.
        UnicodeDecodeError: it is not UTF-8.
    """
    origin = str(source.path)
    with (
        source.path.open("rb") as raw,
        io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file,
    ):
        lines = _lines(file)
        first = next(lines, "")
        separator = max(SEPARATORS, key=first.count)
        header = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
        if not any(header):
            problems.error(origin, 1, "", "holds no names of columns", "see docs/SCENARIOS.md")
            return None
        places = match_columns(source, header, columns, problems)
        blocks = [_Cells(column) for column in columns if column.name in places]
        rows, skipped, kept, width = 0, [], [], len(header)
        for number, row in enumerate(csv.reader(lines, delimiter=separator), start=2):
            if len(row) == width:
                kept.append(row)
                if len(kept) == BLOCK_ROWS:
                    rows += _take(kept, blocks, places)
                    kept = []
                    if problems.on_read:
                        problems.on_read(origin, raw.tell(), source.path.stat().st_size)
            else:
                skipped.append(rows + len(kept))
                if any(cell.strip() for cell in row):
                    what = f"{len(row)} values, but {width} columns"
                    problems.error(origin, number, "", what, "give one value for each column")
            if number > source.rows_limit + 1:
                what = f"over the limit of {source.rows_limit:,} rows"
                problems.error(origin, number, "", what, "split the file, or give fewer rows")
                return None
        rows += _take(kept, blocks, places)
    table = Table(
        origin,
        rows,
        {cells.column.name: cells.numbers() for cells in blocks if cells.column.kind != "text"},
        {cells.column.name: cells.texts() for cells in blocks if cells.column.kind == "text"},
        1,
        np.array(skipped, np.int64),
    )
    for cells in blocks:
        cells.tell(table, source, problems)
    return table


def _take(rows: list[list[str]], blocks: list[_Cells], places: dict[str, int]) -> int:
    if rows:
        across = list(zip(*rows, strict=True))
        for cells in blocks:
            cells.take(across[places[cells.column.name]])
    return len(rows)


class _Cells:
    """One column while its file is read."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self._parts: list[NDArray[Any]] = []
        self._index: dict[str, int] = {}
        self._rows = 0
        self._wrong: list[tuple[int, str]] = []
        self._more = 0

    def take(self, cells: Sequence[str]) -> None:
        """A block of rows."""
        if self.column.kind == "text":
            index = self._index
            codes = [index.setdefault(cell.strip(), len(index)) for cell in cells]
            self._parts.append(np.array(codes, np.int32))
        else:
            self._parts.append(self._parsed(cells))
        self._rows += len(cells)

    def _parsed(self, cells: Sequence[str]) -> Floats:
        try:
            values = np.array(cells, np.float64)
        except ValueError:
            return np.array([self._number(row, cell) for row, cell in enumerate(cells)])
        if not np.isfinite(values).all():
            return np.array([self._number(row, cell) for row, cell in enumerate(cells)])
        return values

    def _number(self, row: int, cell: str) -> float:
        if not cell.strip() and not self.column.required:
            return math.nan
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self._note(self._rows + row, cell.strip())
            return math.nan
        return value

    def _note(self, row: int, cell: str) -> None:
        if len(self._wrong) < 1000:
            self._wrong.append((row, cell))
        else:
            self._more += 1

    def numbers(self) -> Floats:
        """All rows."""
        return np.concatenate(self._parts) if self._parts else np.zeros(0)

    def texts(self) -> Texts:
        """All rows."""
        code = np.concatenate(self._parts) if self._parts else np.zeros(0, np.int32)
        return Texts(code, tuple(self._index))

    def tell(self, table: Table, source: Source, problems: Problems) -> None:
        """Say what is wrong with the values."""
        name = source.columns.get(self.column.name, self.column.name)
        if self.column.kind == "text":
            check_texts(table, self.column, name, problems)
            return
        for at, (row, cell) in enumerate(self._wrong):
            what = f"{shown(cell)} is not a number" if cell else "no value"
            step = "write 12.5 with a point, no unit" if cell else "give a number in each row"
            more = self._more if at == 0 else 0
            problems.error(table.origin, table.line(row), name, what, step, 1 + more)
