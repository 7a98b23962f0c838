"""Tables from CSV or Parquet as columns: known columns only, every value checked, limits on size.

Names and times repeat, so that a text column is kept as its different texts and a number a row.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.problems import Problems, instead, shown

TEXT_LIMIT = 200
# Warnings of one kind that are told one by one.
FEW = 5
SEPARATORS = ",;\t"
PARQUET = (".parquet", ".pq")
Floats = NDArray[np.float64]
_NO_ROWS = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a table may have.

    Attributes:
        name: in the first line of the file.
        kind: `text`, `number`, or `count` for whole numbers.
        required: whether the column must be there, with a value in each row.
        low: smallest number.
        high: largest number.
    """

    name: str
    kind: Literal["text", "number", "count"]
    required: bool = True
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, slots=True)
class Source:
    """A table's file, and how its columns are called there.

    Attributes:
        path: of the file.
        columns: our name to the file's, where they differ.
        ignore: columns of the file to leave alone.
        rows_limit: most rows.
        bytes_limit: most bytes.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    rows_limit: int = 20_000_000
    bytes_limit: int = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts.

    Attributes:
        code: (rows,) int32, index into `values`.
        values: the different texts, in the order of their first row; "" where there is none.
    """

    code: NDArray[np.int32]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of a file.

    Attributes:
        origin: the file.
        rows: how many.
        numbers: name to (rows,) float64; NaN where there is none.
        texts: name to texts.
        head: lines before the first row.
        skipped: (n,) rows before which a line was skipped, in order.
    """

    origin: str
    rows: int
    numbers: dict[str, Floats]
    texts: dict[str, Texts]
    head: int = 1
    skipped: NDArray[np.int64] = field(default_factory=lambda: _NO_ROWS)

    def line(self, row: int) -> int:
        """Line of a row in the file, from 1."""
        return row + 1 + self.head + int(np.searchsorted(self.skipped, row, side="right"))

    def text(self, name: str, row: int) -> str:
        """The text of a row; "" where there is none."""
        column = self.texts.get(name)
        return "" if column is None else column.values[column.code[row]]


def read_table(source: Source, columns: Sequence[Column], problems: Problems) -> Table | None:
    """Read the columns of a file; what is wrong with it goes to `problems`.

    Args:
        source: file and names.
        columns: that may be there.
        problems: to add to.

    Returns:
        the table (rows with errors hold NaN or ""), or None where it could not be read at all.
    """
    origin = str(source.path)
    if not is_readable(source.path, source.bytes_limit, problems):
        return None
    try:
        if source.path.suffix.lower() in PARQUET:
            from aigrid.twin.country.parquet import read_parquet

            table = read_parquet(source, columns, problems)
        else:
            from aigrid.twin.country.csv_tables import read_csv

            table = read_csv(source, columns, problems)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        problems.error(origin, 0, "", f"byte {byte:#04x} is not UTF-8", "save it as CSV UTF-8")
        return None
    except (OSError, csv.Error) as error:
        problems.error(origin, 0, "", f"cannot be read: {error}", "give a CSV or Parquet file")
        return None
    if table is not None:
        _check_numbers(table, columns, problems)
        if not table.rows and not problems.errors:
            problems.error(origin, 0, "", "holds no rows", "add some below the line of names")
    return table


def is_readable(path: Path, bytes_limit: int, problems: Problems) -> bool:
    """Whether there is a file of a size within the limit; says so where not."""
    if not path.is_file():
        problems.error(str(path), 0, "", "no such file", "give the path of a file")
        return False
    size = path.stat().st_size
    if size > bytes_limit:
        what = f"has {size:,} bytes, over the limit of {bytes_limit:,}"
        problems.error(str(path), 0, "", what, "split it, or give fewer rows")
        return False
    return True


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def match_columns(
    source: Source,
    header: Sequence[str],
    columns: Sequence[Column],
    problems: Problems,
    line: int = 1,
) -> dict[str, int]:
    """Our name of each column that is there, to its place in the file.

    Args:
        source: how columns are called, and which to ignore.
        header: names in the file, which stand in `line`.
        columns: that are known.
        problems: hears what is wrong.
        line: of the file; 0 for none.
    """
    origin, known = str(source.path), [column.name for column in columns]
    ours = {theirs: name for name, theirs in source.columns.items()}
    found: dict[str, int] = {}
    for place, theirs in enumerate(header):
        name = ours.get(theirs, theirs)
        if theirs in source.ignore:
            continue
        if name in found:
            problems.error(origin, line, theirs, "the column is there twice", "keep one of them")
        elif name in known:
            found[name] = place
        else:
            step = f"{instead(theirs, known)}; rename or remove it, or `ignore` it in the scenario"
            problems.error(origin, line, theirs, "unknown column", step)
    for column in columns:
        if column.required and column.name not in found:
            theirs = source.columns.get(column.name, column.name)
            problems.error(origin, line, theirs, "the column is missing", "add it")
    return found


def check_texts(table: Table, column: Column, name: str, problems: Problems) -> None:
    """Say which rows lack a text that they must have, or have one that is too long."""
    texts = table.texts[column.name]
    for value in [v for v in texts.values if len(v) > TEXT_LIMIT or (not v and column.required)]:
        rows = np.flatnonzero(texts.code == texts.values.index(value))
        what = f"over {TEXT_LIMIT} characters: {shown(value)}" if value else "no value"
        each(table, rows, name, what, "give a short text in each row", problems)


def each(
    table: Table, rows: NDArray[np.integer], name: str, what: str, step: str, problems: Problems
) -> None:
    """The same error for rows; beyond the limit they are counted."""
    for at, row in enumerate(rows[: problems.limit]):
        more = max(len(rows) - problems.limit, 0) if at == 0 else 0
        problems.error(table.origin, table.line(int(row)), name, what, step, 1 + more)


def warn_each(
    table: Table,
    rows: NDArray[np.integer],
    name: str,
    what: Callable[[int], str],
    step: str,
    problems: Problems,
) -> None:
    """A warning for each of the first few rows, and one for the rest together.

    Args:
        table: that the rows are of.
        rows: in order.
        name: of the column.
        what: looks odd about a row.
        step: what to do about it.
        problems: hears it.
    """
    for row in rows[:FEW].tolist():
        problems.warn(table.origin, table.line(row), name, what(row), step)
    if len(rows) > FEW:
        line = table.line(int(rows[FEW]))
        more = f"{len(rows) - FEW:,} more rows like this, from here on"
        problems.warn(table.origin, line, name, more, step)


def _check_numbers(table: Table, columns: Sequence[Column], problems: Problems) -> None:
    for column in columns:
        values = table.numbers.get(column.name)
        if values is None:
            continue
        whole = np.isnan(values) | (values == np.floor(values)) | (column.kind != "count")
        wrong = (values < column.low) | (values > column.high) | ~whole
        rows = np.flatnonzero(wrong)
        for at, row in enumerate(rows[: problems.limit]):
            more = max(len(rows) - problems.limit, 0) if at == 0 else 0
            what = f"{values[row]:g} is {'' if whole[row] else 'no whole number, or '}out of range"
            step = f"give {limits_of(column)}"
            problems.error(table.origin, table.line(int(row)), column.name, what, step, 1 + more)


def limits_of(column: Column) -> str:
    """What a column may hold, in words."""
    noun = "a whole number" if column.kind == "count" else "a number"
    if column.high < math.inf:
        return f"{noun} from {column.low:,g} to {column.high:,g}"
    return noun if column.low == -math.inf else f"{noun} of {column.low:g} or more"
