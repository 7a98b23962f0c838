"""Tables from Parquet, through pyarrow where it is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.problems import Problems, shown
from aigrid.twin.country.tables import (
    Column,
    Source,
    Table,
    Texts,
    check_texts,
    each,
    limits_of,
    match_columns,
)


def read_parquet(source: Source, columns: Sequence[Column], problems: Problems) -> Table | None:
    """The columns of a Parquet file, as `tables.read_table` says.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError(
            f"{source.path}: Parquet needs pyarrow",
            next_step="pip install 'aigrid[parquet]', or use CSV",
        ) from error
    origin = str(source.path)
    try:
        file = pyarrow.parquet.ParquetFile(source.path)
        names, rows = list(file.schema_arrow.names), int(file.metadata.num_rows)
        if rows > source.rows_limit:
            what = f"has {rows:,} rows, over the limit of {source.rows_limit:,}"
            problems.error(origin, 0, "", what, "give fewer")
            return None
        places = match_columns(source, names, columns, problems)
        found = {n: file.read([names[p]]).column(0).to_pylist() for n, p in places.items()}
    except (OSError, pyarrow.ArrowException) as error:
        problems.error(origin, 0, "", f"cannot be read: {error}", "write it again as Parquet")
        return None
    table = Table(origin, rows, {}, {}, head=0)
    for column in columns:
        if column.name in found:
            theirs = source.columns.get(column.name, column.name)
            _put(table, column, theirs, found[column.name], problems)
    return table


def _put(table: Table, column: Column, name: str, raw: list[Any], problems: Problems) -> None:
    if column.kind == "text":
        texts = ["" if value is None else str(value) for value in raw]
        different = tuple(dict.fromkeys(texts))
        place = {value: code for code, value in enumerate(different)}
        code = np.array([place[text] for text in texts], np.int32)
        table.texts[column.name] = Texts(code, different)
        check_texts(table, column, name, problems)
        return
    values = np.full(len(raw), np.nan)
    for row, value in enumerate(raw):
        try:
            values[row] = np.nan if value is None or value == "" else float(value)
        except (TypeError, ValueError):
            what = f"{shown(value)} is no number"
            each(table, np.array([row]), name, what, f"give {limits_of(column)}", problems)
    table.numbers[column.name] = values
    if column.required:
        each(table, np.flatnonzero(np.isnan(values)), name, "no value", "fill it in", problems)
