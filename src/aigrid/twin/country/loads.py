"""Radio load of one's own, from a table: the typical day of each site or cell.

Rows of several days become the mean of each time of day. What load does around it stays the
scenario's `radio.spread` and `radio.memory`; what the table shows of that is said, not used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.clock import of_day, seconds_of
from aigrid.twin.country.problems import Problems, shown
from aigrid.twin.country.tables import Column, Source, Table, Texts, each, read_table, warn_each

ROWS_LIMIT, BYTES_LIMIT = 100_000_000, 8 * 1024**3
# Curves times times of day.
VALUES_LIMIT = 300_000_000
COLUMNS = (
    Column("time", "text"),
    Column("site", "text", required=False),
    Column("cell", "text", required=False),
    Column("load", "number", low=0.0, high=1.0),
)
DAY_S, HOUR_S = 86_400, 3600
IDLE_LOAD = 0.05
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loads:
    """Typical days.

    Attributes:
        origin: the file.
        by: `site` or `cell`: what `names` are.
        names: C of them.
        line: (C,) of the first row of each.
        part: (C, bins) float32, mean load of each time of day over `peak`; bins are equally long,
            the first begins at midnight.
        peak: (C,) mean load of the busiest hour.
        days: of the table.
    """

    origin: str
    by: str
    names: tuple[str, ...]
    line: NDArray[np.int64]
    part: NDArray[np.float32]
    peak: Floats
    days: int


def read_loads(source: Source, problems: Problems) -> Loads | None:
    """Typical days of sites or cells; None where something is wrong.

    Args:
        source: `time`, `load` in 0 to 1, and `site`, `cell` or both; of the cells of a site the
            mean counts.
        problems: hears what is wrong.
    """
    source = replace(source, rows_limit=ROWS_LIMIT, bytes_limit=BYTES_LIMIT)
    before = problems.count
    table = read_table(source, COLUMNS, problems)
    if table is None or not table.rows:
        return None
    by = "site" if "site" in table.texts else "cell"
    if by not in table.texts:
        step = "add `site`, or `cell`, with the names of your sites"
        problems.error(table.origin, 1, by, "neither column is there", step)
    seconds = _seconds(table, problems) if "time" in table.texts else None
    if problems.count > before or seconds is None:
        return None
    who = _names(table, by, problems)
    period_s = _period(table, seconds, problems)
    if problems.count > before:
        return None
    _check_twice(table, by, seconds, problems)
    days = _days(table, who, seconds, period_s, problems) if problems.count == before else None
    if days is None:
        return None
    return _typical(table, by, who, days, seconds, problems)


def _seconds(table: Table, problems: Problems) -> Floats | None:
    times = table.texts["time"]
    seconds, wrong = seconds_of(times.values)
    for at in wrong[: problems.limit]:
        if times.values[at]:  # an empty one was named already
            rows = np.flatnonzero(times.code == at)
            what = f"{shown(times.values[at])} is not a time"
            step = "write 2026-11-24 08:15, or 08:15 for a typical day"
            each(table, rows, "time", what, step, problems)
    return None if wrong else seconds


def _names(table: Table, by: str, problems: Problems) -> Texts:
    texts = table.texts[by]
    if "" in texts.values:
        rows = np.flatnonzero(texts.code == texts.values.index(""))
        each(table, rows, by, "no value", f"name a {by} in each row", problems)
    return texts


def _period(table: Table, seconds: Floats, problems: Problems) -> int:
    """Seconds between two times of the table; says where they are not regular."""
    times = table.texts["time"]
    distinct = np.unique(np.rint(seconds).astype(np.int64))
    if len(distinct) < 2:
        step = "give a day or more, at equal steps"
        problems.error(table.origin, 0, "time", "all rows have one time", step)
        return 0
    steps, often = np.unique(np.diff(distinct), return_counts=True)
    period = int(steps[np.argmax(often)])
    if period < 60 or DAY_S % period:
        what = f"times are {period:,} s apart"
        step = "use steps of 1, 5, 10, 15, 30 or 60 minutes, or another part of a day"
        problems.error(table.origin, 0, "time", what, step)
        return 0
    off = (np.rint(seconds).astype(np.int64) - distinct[0]) % period != 0
    for at in np.flatnonzero(off)[: problems.limit]:
        rows = np.flatnonzero(times.code == at)[:1]
        what = f"{times.values[at]} is no step of {period // 60} minutes from the first time"
        each(table, rows, "time", what, "put rows at equal steps", problems)
    return period


def _check_twice(table: Table, by: str, seconds: Floats, problems: Problems) -> None:
    """The same site (and cell) at the same time."""
    times, cells = table.texts["time"], table.texts.get("cell")
    moment = np.unique(np.rint(seconds), return_inverse=True)[1]
    key = table.texts[by].code.astype(np.int64) * (int(moment.max()) + 1) + moment[times.code]
    if by == "site" and cells is not None:
        key = key * len(cells.values) + cells.code
    order = np.argsort(key, kind="stable")
    again = np.sort(order[1:][key[order][1:] == key[order][:-1]])
    step = "keep one of them, or tell cells apart in a column `cell`"
    each(table, again, "time", f"the same {by} has this time twice", step, problems)


def _days(
    table: Table, who: Texts, seconds: Floats, period_s: int, problems: Problems
) -> Floats | None:
    """(C, bins) mean load of each time of day; says which are missing."""
    bins, count = DAY_S // period_s, len(who.values)
    if bins * count > VALUES_LIMIT:
        what = f"{count:,} curves of {bins:,} values, over {VALUES_LIMIT:,} together"
        problems.error(table.origin, 0, "time", what, "use longer steps")
        return None
    times = table.texts["time"]
    bin_of = (np.rint(seconds).astype(np.int64) % DAY_S // period_s)[times.code]
    cell = who.code.astype(np.int64) * bins + bin_of
    rows = np.bincount(cell, minlength=count * bins).reshape(count, bins)
    sums = np.bincount(cell, table.numbers["load"], count * bins).reshape(count, bins)
    none = ~rows.any(axis=0)
    if none.any():
        first = of_day(float(np.flatnonzero(none)[0]) * period_s)
        what = f"{int(none.sum())} of {bins} times of day have no rows, the first {first}"
        problems.error(table.origin, 0, "time", what, "give a day or more, at equal steps")
        return None
    for at in np.flatnonzero(~rows.all(axis=1)):
        gaps = np.flatnonzero(rows[at] == 0)
        more = f" and at {len(gaps) - 1} further times" if len(gaps) > 1 else ""
        here = np.flatnonzero(who.code == at)[:1]
        what = f"{shown(who.values[at])} has no load at {of_day(gaps[0] * period_s)}{more}"
        each(table, here, "time", what, "add the missing rows", problems)
        if problems.more_errors > 1000:
            break
    return None if not rows.all() else sums / rows


def _typical(
    table: Table, by: str, who: Texts, mean: Floats, seconds: Floats, problems: Problems
) -> Loads:
    count, bins = mean.shape
    first = np.full(count, table.rows, np.int64)
    np.minimum.at(first, who.code, np.arange(table.rows))
    line = np.array([table.line(int(row)) for row in first])
    peak = busiest_hour(mean)

    def what(row: int) -> str:
        at = who.code[row]
        return f"{shown(who.values[at])} is never above {peak[at]:.3f}"

    step = "see whether it is a part of 1, and the right cell"
    warn_each(table, first[peak < IDLE_LOAD], "load", what, step, problems)
    days = int(np.ceil((np.ptp(seconds) + DAY_S / bins) / DAY_S - 1e-9))
    problems.facts.append(
        f"{table.origin}: {count:,} {by}s, a value every {1440 // bins} minutes, "
        f"{days} {'day' if days == 1 else 'days, of which the mean counts'}; mean load "
        f"{mean.mean():.2f}, in the busiest hour {peak.mean():.2f}"
    )
    if days > 1:
        _tell_spread(table, who, mean, seconds, problems)
    part = mean / np.maximum(peak, 1e-6)[:, None]
    return Loads(table.origin, by, who.values, line, part.astype(np.float32), peak, days)


def busiest_hour(mean: Floats) -> Floats:
    """(C,) largest mean over an hour (a bin, where bins are longer) of (C, bins) loads of a day."""
    count, bins = mean.shape
    hour = max(HOUR_S * bins // DAY_S, 1)
    wide = np.concatenate((mean, mean[:, : hour - 1]), axis=1)
    sums = np.cumsum(np.concatenate((np.zeros((count, 1)), wide), axis=1), axis=1)
    peak: Floats = ((sums[:, hour:] - sums[:, :-hour]) / hour).max(axis=1, initial=0.0)
    return peak


def _tell_spread(
    table: Table, who: Texts, mean: Floats, seconds: Floats, problems: Problems
) -> None:
    bins = mean.shape[1]
    bin_of = (np.rint(seconds).astype(np.int64) % DAY_S * bins // DAY_S)[table.texts["time"].code]
    load, usual = table.numbers["load"], mean[who.code, bin_of]
    both = (load > 0.0) & (usual > 0.0)
    if both.any():
        spread = float(np.std(np.log(load[both] / usual[both])))
        problems.facts.append(
            f"{table.origin}: around its typical day the logarithm of load has a standard "
            f"deviation of {spread:.2f}; compare `radio.spread`, which is of single minutes"
        )
