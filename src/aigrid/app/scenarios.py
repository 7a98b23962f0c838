"""Scenarios of one's own: what is wrong with their files, and a small set to begin with."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigrid.core.errors import ConflictError, NotFoundError
from aigrid.twin.country.problems import Problem, Problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from aigrid.factory.progress import Progress

SCENARIO, SITES, LOAD, TRACE = "scenario", "sites", "radio load", "trace"
YAML = (".yaml", ".yml")
HEAD_LIMIT = 65_536


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        file: that was checked.
        what: it is.
        problems: errors, warnings and facts.
        counts: what is in it, by name.
    """

    file: str
    what: str
    problems: Problems
    counts: dict[str, int]

    @property
    def good(self) -> bool:
        """Whether it can be used."""
        return not self.problems.count

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        heard = self.problems
        return {
            "file": self.file,
            "what": self.what,
            "good": self.good,
            "errors": [asdict(problem) for problem in heard.errors],
            "warnings": [asdict(problem) for problem in heard.warnings],
            "more_errors": heard.more_errors,
            "more_warnings": heard.more_warnings,
            "facts": heard.facts,
            "counts": self.counts,
        }


def reading(progress: Progress) -> Callable[[str, int, int], None]:
    """Shows how far a large table has been read: what `Problems.on_read` wants."""
    file, read = "", 0

    def hear(name: str, done: int, total: int) -> None:
        """Bytes of a file."""
        nonlocal file, read
        if file != name:
            progress.stage(f"reading {Path(name).name}", total)
            file, read = name, 0
        progress.advance(done - read)
        read = done

    return hear


def check(path: Path, progress: Progress | None = None) -> Checked:
    """Look at a scenario, or at one of the tables that it may name.

    Raises:
        NotFoundError: no such file.
    """
    if not path.is_file():
        raise NotFoundError(f"{path} is no file", next_step="aigrid scenario template DIR")
    problems = Problems(on_read=reading(progress) if progress else None)
    what = _kind(path, problems)
    counts = _LOOKS[what](path, problems) if not problems.count else {}
    problems.errors = _in_order(problems.errors)
    problems.warnings = _in_order(problems.warnings)
    return Checked(str(path), what, problems, counts if not problems.count else {})


def _in_order(listed: list[Problem]) -> list[Problem]:
    """By file, as first met, and line."""
    files = list(dict.fromkeys(problem.origin for problem in listed))
    return sorted(listed, key=lambda problem: (files.index(problem.origin), problem.line))


def _kind(path: Path, problems: Problems) -> str:
    """What a file is: by its name's end, and by its columns."""
    suffix = path.suffix.lower()
    if suffix in YAML:
        return SCENARIO
    if suffix in (".jsonl", ".ndjson"):
        return TRACE
    head = {name.lower() for name in _head(path, problems)}
    if "contexttokens" in head or "generatedtokens" in head:
        return TRACE
    if "load" in head or {"time", "cell"} <= head or {"time", "site"} <= head:
        return LOAD
    if problems.count or {"name", "kind", "latitude_deg", "longitude_deg", "parent"} & head:
        return SITES
    problems.error(
        str(path),
        1,
        "",
        "no columns of sites, radio load or a trace",
        "docs/SCENARIOS.md shows the columns; `aigrid scenario template DIR` writes examples",
    )
    return SITES


def _head(path: Path, problems: Problems) -> list[str]:
    """Names of a table's columns."""
    from aigrid.twin.country.tables import PARQUET, SEPARATORS

    if path.suffix.lower() in PARQUET:
        from aigrid.twin.country.parquet import names_of

        return names_of(path, problems)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline(HEAD_LIMIT)
    separator = max(SEPARATORS, key=first.count)
    return [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]


def _scenario(path: Path, problems: Problems) -> dict[str, int]:
    from aigrid.twin.country.doubts import doubts
    from aigrid.twin.country.files import read_country

    country = read_country(path, 0, problems)
    if country is None:
        return {}
    doubts(country, str(path), problems)
    customers = round(float(country.network.customers.sum()))
    services = len(country.services)
    return {"sites": len(country.network), "customers": customers, "services": services}


def _trace(path: Path, problems: Problems) -> dict[str, int]:
    from aigrid.twin.country.services import odd_about
    from aigrid.twin.country.tables import Source
    from aigrid.twin.country.traces import trace_of
    from aigrid.twin.country.usage import told

    trace = trace_of(Source(path), problems)
    if trace is None:
        return {}
    for what, step in odd_about(trace):
        problems.warn(str(path), 0, "", what, step)
    problems.facts.append(told(trace))
    return {"requests": len(trace), "seconds": round(trace.span_s)}


def _radio_load(path: Path, problems: Problems) -> dict[str, int]:
    from aigrid.twin.country.loads import read_loads
    from aigrid.twin.country.tables import Source

    loads = read_loads(Source(path), problems)
    return {} if loads is None else {f"{loads.by}s": len(loads.names), "days": loads.days}


def _sites(path: Path, problems: Problems) -> dict[str, int]:
    """Sites alone: devices are those of the sheet; what shapes there are, only scenarios say."""
    from aigrid.twin.country.scenario import RadioModel
    from aigrid.twin.country.sites import Setting, Usual, read_sites
    from aigrid.twin.country.tables import Source

    radio = RadioModel(0.5, 0.5, 0.03, 0.25, 0.8, 0.87, 0.965, 0.1)
    # A scenario may say how many customers there are; alone, the table need not.
    setting = Setting(("l4", "h100", "h100"), (), radio, Usual(), alone=True)
    found = read_sites(Source(path), setting, problems)
    if found is None:
        return {}
    customers = round(float(found.network.customers.sum()))
    return {"sites": len(found.network), "customers": customers}


_LOOKS = {SCENARIO: _scenario, TRACE: _trace, LOAD: _radio_load, SITES: _sites}


def template(folder: Path) -> Path:
    """Write a small scenario with a table of each kind; it rehearses in seconds.

    Raises:
        ConflictError: one of the files is there already.
        StorageError: the folder cannot be written.
    """
    from aigrid.store.durable import storing, write_durably
    from aigrid.twin.country.example import EXAMPLE, example_files

    files = example_files()
    for name in files:
        if (folder / name).exists():
            raise ConflictError(
                f"{folder / name} is there already", next_step="name another folder"
            )
    with storing("the template", folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_durably(folder / name, text.encode())
    return folder / EXAMPLE
