"""What a check found, for a terminal: errors, warnings, what was understood, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from aigrid.app.scenarios import Checked
from aigrid.twin.country.problems import Problem


def checked_view(found: Checked) -> Iterator[Text]:
    """Lines: `file:line: column: what`, the next step below, errors first."""
    heard = found.problems
    for word, style, listed, more in (
        ("error", "bold red", heard.errors, heard.more_errors),
        ("warning", "yellow", heard.warnings, heard.more_warnings),
    ):
        for problem in listed:
            yield from _told(word, style, problem)
        if more:
            yield Text(f"and {more:,} more {word}s", style=style)
    for fact in heard.facts:
        yield Text(fact, style="dim")
    yield _verdict(found)


def _told(word: str, style: str, problem: Problem) -> Iterator[Text]:
    yield Text.assemble((f"{word}  ", style), problem.message)
    yield Text(f"{' ' * len(word)}  {problem.next_step}", style="dim")


def _verdict(found: Checked) -> Text:
    heard = found.problems
    counts = ", ".join(f"{value:,} {name}" for name, value in found.counts.items())
    warned = len(heard.warnings) + heard.more_warnings
    kept = [f"{_some(heard.count, 'error')}" if heard.count else "can be used"]
    kept += [_some(warned, "warning")] if warned else []
    style = "bold red" if heard.count else "bold green"
    text = Text.assemble((f"{found.what} {found.file}: {', '.join(kept)}", style))
    return text.append(f"  ({counts})") if counts else text


def _some(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
