"""`python -m benchmarks`: run every benchmark of this folder and print one table.

A benchmark is a module with `run() -> list[dict]`; each row has `benchmark`, `figure`, `value`,
`unit`, `limit`, `verdict` and `note`. One that cannot run is reported as failed, the others go on.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import click

COLUMNS = ("benchmark", "figure", "value", "unit", "limit", "verdict", "note")
BAD = ("lost", "fail", "failed", "proves nothing")
STYLES = {"won": "green", "pass": "green", "lost": "red", "fail": "red", "failed": "red"}
Row = dict[str, Any]


def names() -> list[str]:
    """The benchmarks of this folder."""
    found = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(name for name in found if not name.startswith("_"))


def run_one(name: str) -> list[Row]:
    """The rows of one benchmark; a row that says so where it cannot run."""
    began_s = time.monotonic()
    try:
        module = import_module(f"benchmarks.{name}")
        if not hasattr(module, "run"):
            return []
        return [dict.fromkeys(COLUMNS, "") | dict(row) for row in module.run()]
    except Exception as error:
        traceback.print_exc()
        why = f"{type(error).__name__}: {error}"
        return [_failed(name, why)]
    finally:
        click.echo(f"{name}: {time.monotonic() - began_s:.0f} s", err=True)


def _failed(name: str, why: str) -> Row:
    return dict.fromkeys(COLUMNS, "") | {"benchmark": name, "verdict": "failed", "note": why}


def _spelt(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1e4 else f"{value}"


def print_table(rows: list[Row]) -> None:
    """The table that people read."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, header_style="bold")
    for row in rows:
        style = STYLES.get(str(row["verdict"]).lower())
        table.add_row(*(_spelt(row[column]) for column in COLUMNS), style=style)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@click.command()
@click.option("--only", multiple=True, metavar="NAME", help="Run this one; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def main(only: tuple[str, ...], as_json: bool) -> None:
    """Run the benchmarks; the exit code is 1 where one failed or lost."""
    unknown = sorted(set(only) - set(names()))
    if unknown:
        raise click.BadParameter(f"{unknown[0]} is not one of {', '.join(names())}")
    rows = [row for name in only or names() for row in run_one(name)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        print_table(rows)
    raise SystemExit(any(str(row["verdict"]).lower() in BAD for row in rows))


if __name__ == "__main__":
    main()
