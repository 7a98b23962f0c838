"""Scenarios of one's own: what is wrong with their files, and a small set to begin with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aigrid.core.errors import AigridError, ConflictError, NotFoundError
from aigrid.twin.country.problems import Problems

TEMPLATE = "example.yaml"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        file: that was checked.
        what: it is.
        problems: errors and warnings.
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
            "counts": self.counts,
        }


def check(path: Path) -> Checked:
    """Look at a scenario, or at one of the tables that it may name.

    Raises:
        NotFoundError: no such file.
    """
    if not path.is_file():
        raise NotFoundError(f"{path} is no file", next_step="aigrid scenario template DIR")
    problems, counts = Problems(), dict[str, int]()
    what = "scenario" if path.suffix in (".yaml", ".yml") else _kind(path)
    try:
        counts = _LOOKS[what](path, problems)
    except AigridError as error:
        problems.error(str(path), 0, "", error.message, error.next_step)
    return Checked(str(path), what, problems, counts)


def _kind(path: Path) -> str:
    """By the first line: `trace`, `radio_load` or `sites`."""
    if path.suffix == ".jsonl":
        return "trace"
    if path.suffix == ".parquet":
        return "radio_load" if "load" in path.stem else "sites"
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = file.readline(4096).strip().split(",")
    if "TIMESTAMP" in head or "ContextTokens" in head:
        return "trace"
    return "radio_load" if {"time", "cell"} & set(head) else "sites"


def _scenario(path: Path, problems: Problems) -> dict[str, int]:
    from aigrid.twin.country.files import read_country

    country = read_country(path, 0, problems)
    if country is None:
        return {}
    customers = round(float(country.network.customers.sum()))
    services = len(country.services)
    return {"sites": len(country.network), "customers": customers, "services": services}


def _trace(path: Path, problems: Problems) -> dict[str, int]:
    from aigrid.twin.country.tables import Source
    from aigrid.twin.country.traces import trace_of

    trace = trace_of(Source(path), problems)
    if trace is None:
        return {}
    if trace.span_s < 3600.0:
        said = f"{trace.span_s / 60.0:.0f} minutes long"
        step = "an hour shows lengths, a day its shape too"
        problems.warn(str(path), 0, "", said, step)
    return {"requests": len(trace), "seconds": round(trace.span_s)}


def _radio_load(path: Path, problems: Problems) -> dict[str, int]:
    from aigrid.twin.country.own import read_radio_load

    return {"cells": len(read_radio_load(path, problems))}


def _sites(path: Path, problems: Problems) -> dict[str, int]:
    """Sites alone: devices are those of the sheet; what shapes there are, only scenarios say."""
    from aigrid.twin.country.own import read_sites
    from aigrid.twin.country.scenario import RadioModel
    from aigrid.twin.models.devices import SHEET

    radio = RadioModel(0.5, 0.5, 0.03, 0.25, 0.8, 0.87, 0.965, 0.1)
    found = read_sites(path, tuple(SHEET), (), {}, radio, problems)
    return {} if found is None else {"sites": len(found)}


_LOOKS = {"scenario": _scenario, "trace": _trace, "radio_load": _radio_load, "sites": _sites}


def template(folder: Path) -> Path:
    """Write a small scenario with a table of each kind; it rehearses in seconds.

    Raises:
        ConflictError: one of the files is there already.
        StorageError: the folder cannot be written.
    """
    from aigrid.app.bundled import bundled_folder
    from aigrid.store.durable import storing, write_durably

    base = (bundled_folder("scenarios") / "region.yaml").read_text(encoding="utf-8")
    files = {
        TEMPLATE: _yaml(base),
        "sites.csv": _example_sites(),
        "radio_load.csv": _example_load(),
        "requests.csv": _example_trace(),
    }
    for name in files:
        if (folder / name).exists():
            raise ConflictError(
                f"{folder / name} is there already", next_step="name another folder"
            )
    with storing("the template", folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_durably(folder / name, text.encode())
    return folder / TEMPLATE


def _yaml(base: str) -> str:
    """`region.yaml` with sites, load and lengths from tables."""
    _, _, rest = base.partition("sites:\n")
    _, _, rest = rest.partition("\ndevices:")
    head = "# A day of a few sites: a scenario to begin with.\nname: example\n"
    text = f"{head}sites:\n  file: sites.csv\nradio_load: radio_load.csv\ndevices:{rest}"
    first = "    prompt_tokens: azure-conversation-prompt\n"
    second = "    generated_tokens: azure-conversation-generated\n"
    text = text.replace(first + second, "    trace: requests.csv\n", 1)
    return text.replace(
        "# A day of one prefecture (Kanagawa), small enough to try things", "# An example"
    )


def _example_sites() -> str:
    lines = ["name,kind,latitude_deg,longitude_deg,region,parent,devices,cells,shape,customers"]
    lines += ["plant,factory,35.45,139.64,JP-14,,2,,,", "hub-1,hub,35.44,139.63,JP-14,plant,2,,,"]
    for number in range(12):
        latitude, longitude = 35.40 + 0.01 * number, 139.55 + 0.013 * (number * 5 % 12)
        shape = ("office", "home", "main-street")[number % 3]
        lines.append(
            f"tower-{number + 1},tower,{latitude:.3f},{longitude:.3f},JP-14,hub-1,,3,{shape},275"
        )
    return "\n".join(lines) + "\n"


def _example_load() -> str:
    import math

    lines = ["time,cell,load"]
    for minute in range(0, 1440, 15):
        load = 0.25 + 0.2 * math.sin(2.0 * math.pi * (minute - 540) / 1440)
        lines.append(f"2026-11-24T{minute // 60:02d}:{minute % 60:02d},main-street,{load:.3f}")
    return "\n".join(lines) + "\n"


def _example_trace() -> str:
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for number in range(240):
        minute, second = divmod(number * 15, 60)
        tokens = f"{200 + 37 * (number * 7 % 50)},{20 + 11 * (number * 13 % 30)}"
        hour, minute = divmod(minute, 60)
        lines.append(f"2026-11-24 {9 + hour:02d}:{minute:02d}:{second:02d}.0000000,{tokens}")
    return "\n".join(lines) + "\n"
