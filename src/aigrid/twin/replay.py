"""Replay of a recording: the same events into a fresh orchestrator must give the same decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aigrid.control import recording, snapshot
from aigrid.control.world import Timed, drive
from aigrid.core.errors import ConfigurationError
from aigrid.core.events import Command
from aigrid.core.package import canonical_json


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay found.

    Attributes:
        events: handled.
        commands: decided now.
        decisions_sha256: of all that was decided now, hex.
        identical: whether it is what the recording says.
        first_difference: one line, where it is not.
        commit: of the code that recorded.
        cut_short: number of the line that a crash cut short and that was left out; 0 for none.
    """

    events: int
    commands: int
    decisions_sha256: str
    identical: bool
    first_difference: str
    commit: str
    cut_short: int


def replay(path: Path) -> ReplayResult:
    """Feed a recording to a fresh orchestrator and compare what it decides.

    Raises:
        ConfigurationError: the file cannot be read, or is damaged; file and line are named.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            return _replay(recording.Reader(lines, str(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"recording {path} cannot be read: {error}",
            next_step="give a file `events-*.jsonl` from the grid's data directory",
        ) from error


def replay_lines(lines: Iterable[str], origin: str) -> ReplayResult:
    """The same of a recording that is at hand, head first.

    Raises:
        ConfigurationError: a line is damaged; `origin` and line are named.
    """
    return _replay(recording.Reader(iter(lines), origin))


def _replay(reader: recording.Reader) -> ReplayResult:
    head = reader.head
    orchestrator = snapshot.restore(head.policy, head.snapshot, f"{reader.origin}:1")
    world = RecordedWorld(iter(reader), reader.origin)
    events = drive(orchestrator, world)
    return ReplayResult(
        events=events,
        commands=world.commands,
        decisions_sha256=world.digest.hexdigest(),
        identical=not world.first_difference,
        first_difference=world.first_difference,
        commit=head.commit,
        cut_short=reader.cut_short,
    )


@dataclass(slots=True)
class RecordedWorld:
    """A `control.world.World` whose events come from a file and whose hands only compare."""

    lines: Iterator[recording.Line]
    origin: str
    commands: int = 0
    first_difference: str = ""
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    _line: recording.Line | None = None

    def next_event(self) -> Timed | None:
        """The next event on file."""
        self._line = next(self.lines, None)
        return self._line.timed if self._line else None

    def carry_out(self, now_s: float, commands: Sequence[Command]) -> None:
        """Compare with what the file says was decided."""
        assert self._line is not None
        decided = [recording.written(command) for command in commands]
        self.commands += len(decided)
        self.digest.update(canonical_json(decided) + b"\n")
        if not self.first_difference and decided != self._line.commands:
            self.first_difference = self._describe(self._line, decided)

    def _describe(self, line: recording.Line, decided: Sequence[object]) -> str:
        """Name the line and the first command in which the two differ."""
        there, here = line.commands, list(decided)
        length = max(len(there), len(here))
        pad = [None] * length
        pairs = list(zip((there + pad)[:length], (here + pad)[:length], strict=True))
        index = next(i for i, (was, now) in enumerate(pairs) if was != now)
        was, now = pairs[index]
        event = type(line.timed.event).__name__
        return (
            f"{self.origin}:{line.seq + 2}: {event} at {line.timed.now_s} s, command {index}: "
            f"recorded {was}, now {now}"
        )
