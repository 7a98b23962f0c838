"""Tables from Parquet, through pyarrow where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aigrid.twin.country.problems import Problems
from aigrid.twin.country.tables import (
    Column,
    Source,
    Table,
    Texts,
    check_texts,
    each,
    match_columns,
)


def names_of(path: Path, problems: Problems) -> list[str]:
    """Names of a Parquet file's columns; none where it cannot be read, which is said."""
    file = _opened(path, problems)
    return [] if file is None else list(file.schema_arrow.names)


def read_parquet(source: Source, columns: Sequence[Column], problems: Problems) -> Table | None:
    """The columns of a Parquet file, as `tables.read_table` says; rows count as lines."""
    file = _opened(source.path, problems)
    if file is None:
        return None
    origin, rows = str(source.path), int(file.metadata.num_rows)
    if rows > source.rows_limit:
        what = f"has {rows:,} rows, over the limit of {source.rows_limit:,}"
        problems.error(origin, 0, "", what, "split the file, or give fewer rows")
        return None
    places = match_columns(source, file.schema_arrow.names, columns, problems, line=0)
    table = Table(origin, rows, {}, {}, head=0)
    for column in columns:
        if column.name in places:
            name = file.schema_arrow.names[places[column.name]]
            _put(table, column, name, file, problems)
    return table


def _opened(path: Path, problems: Problems) -> Any:
    """A `pyarrow.parquet.ParquetFile`; None where there is none, which is said."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        step = "pip install 'aigrid[parquet]', or save it as CSV"
        problems.error(str(path), 0, "", "Parquet is read by pyarrow, which is not here", step)
        return None
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        what = f"cannot be read: {str(error).splitlines()[0]}"
        problems.error(str(path), 0, "", what, "write it again as Parquet")
        return None


def _put(table: Table, column: Column, name: str, file: Any, problems: Problems) -> None:
    """One column into the table."""
    import pyarrow

    try:
        raw = file.read([name]).column(0)
        if column.kind == "text":
            table.texts[column.name] = _texts(raw)
            check_texts(table, column, name, problems)
            return
        if not _is_number(raw.type):
            what = f"holds {raw.type}, not numbers"
            problems.error(table.origin, 0, name, what, "write it as numbers")
            return
        numbers = raw.cast(pyarrow.float64(), safe=False)
    except (OSError, pyarrow.ArrowException) as error:
        what = f"cannot be read: {str(error).splitlines()[0]}"
        problems.error(table.origin, 0, name, what, "write it again as Parquet")
        return
    values = np.array(numbers.to_numpy(), np.float64)
    infinite = np.flatnonzero(np.isinf(values) | (np.isnan(values) & ~_nulls(numbers)))
    each(table, infinite, name, "is no finite number", "give a number in each row", problems)
    values[infinite] = np.nan
    table.numbers[column.name] = values
    if column.required:
        none = np.flatnonzero(_nulls(numbers))
        each(table, none, name, "no value", "give a number in each row", problems)


def _nulls(column: Any) -> Any:
    return np.asarray(column.is_null().to_numpy(), np.bool_)


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    tests = (types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    return any(test(kind) for test in tests)


def _texts(raw: Any) -> Texts:
    import pyarrow

    coded = raw
    if not isinstance(raw.type, pyarrow.DictionaryType):
        coded = raw.cast(pyarrow.string()).dictionary_encode()
    coded = coded.unify_dictionaries().combine_chunks()
    words = coded.dictionary.cast(pyarrow.string()).to_pylist()
    values = ["" if word is None else word.strip() for word in words]
    # A row without a value has the code of the empty text.
    code = coded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    different = tuple(dict.fromkeys(values))
    if coded.null_count and "" not in different:
        different = (*different, "")
    place = {value: at for at, value in enumerate(different)}
    at = np.array([place[value] for value in values] + [place.get("", 0)], np.int32)
    return Texts(at[code], different)
