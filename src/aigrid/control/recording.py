"""A recording: every event the orchestrator was given, and what it decided. Lines in, lines out.

The first line is the head: the dials, the commit, and the state that the orchestrator began from.
Every other line is one event with its time and commands. A routing table stands there as a digest
of its plain values (weights to 4 digits), so that files stay small.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aigrid.control import snapshot
from aigrid.control.orchestrator import Orchestrator
from aigrid.control.policy import Policy
from aigrid.control.world import Timed
from aigrid.core import codec
from aigrid.core.errors import ConfigurationError
from aigrid.core.events import EVENT_TYPES, Command, PublishRoutes
from aigrid.core.package import canonical_json, sha256_digest

FORMAT = 3
_HEAD_KEYS = frozenset({"aigrid_recording", "policy", "commit", "started", "snapshot"})
_LINE_KEYS = frozenset({"seq", "now_s", "event", "commands"})


@dataclass(frozen=True, slots=True)
class Head:
    """The first line.

    Attributes:
        policy: the dials.
        commit: of the code that recorded.
        started: a label for people, such as the date; decisions never read it.
        snapshot: the state before the first event, see `control.snapshot`.
    """

    policy: Policy
    commit: str
    started: str
    snapshot: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One event and what was decided, commands in their written form (see `written`)."""

    seq: int
    timed: Timed
    commands: list[Any]


def head(orchestrator: Orchestrator, commit: str, started: str = "") -> str:
    """The first line of a recording that begins with `orchestrator` as it is now."""
    return _spell(
        {
            "aigrid_recording": FORMAT,
            "policy": orchestrator.policy.to_dict(),
            "commit": commit,
            "started": started,
            "snapshot": snapshot.take(orchestrator),
        }
    )


def line(seq: int, timed: Timed, commands: Sequence[Command]) -> str:
    """One event and its commands; `seq` counts from 0 in every file."""
    return _spell(
        {
            "seq": seq,
            "now_s": timed.now_s,
            "event": codec.encode(timed.event),
            "commands": [written(command) for command in commands],
        }
    )


def written(command: Command) -> dict[str, Any]:
    """A command as it stands in a recording."""
    if isinstance(command, PublishRoutes):
        digest = sha256_digest(canonical_json(command.table.to_dict()))
        return {"type": "PublishRoutes", "version": command.version, "table": digest}
    return codec.encode(command)


def parse_head(text: str, origin: str) -> Head:
    """Read the first line back.

    Args:
        text: the line.
        origin: file and line number, for the error's message.

    Raises:
        ConfigurationError: not the head of a recording, or of a format this version does not read.
    """
    raw = _object(text, origin)
    if raw.get("aigrid_recording") != FORMAT:
        raise ConfigurationError(
            f"{origin}: not the head of an aigrid recording of format {FORMAT}",
            next_step="give a file `events-*.jsonl` from the grid's data directory",
        )
    _check_keys(raw, _HEAD_KEYS, origin)
    if not isinstance(raw["policy"], dict) or not isinstance(raw["snapshot"], dict):
        raise ConfigurationError(f"{origin}: policy and snapshot must be objects")
    policy = Policy.from_dict(raw["policy"], origin)
    return Head(policy, str(raw["commit"]), str(raw["started"]), raw["snapshot"])


def parse_line(text: str, origin: str) -> Line:
    """Read one event back.

    Raises:
        ConfigurationError: not an event's line; `origin` (file and line number) says which.
    """
    raw = _object(text, origin)
    _check_keys(raw, _LINE_KEYS, origin)
    seq, now_s, commands = raw["seq"], raw["now_s"], raw["commands"]
    if not isinstance(seq, int) or isinstance(now_s, bool) or not isinstance(now_s, int | float):
        raise ConfigurationError(f"{origin}: seq {seq!r} and now_s {now_s!r} must be numbers")
    if not isinstance(commands, list):
        raise ConfigurationError(f"{origin}: commands must be a list")
    event = codec.decode(raw["event"], origin)
    if not isinstance(event, EVENT_TYPES):
        raise ConfigurationError(f"{origin}: {type(event).__name__} is not an event")
    return Line(seq, Timed(float(now_s), event), commands)


@dataclass(slots=True)
class Reader:
    """Reads a recording line by line.

    A last line that a crash cut short is left out and reported; anything else odd is an error.

    Args:
        lines: of the file, line ends kept.
        origin: the file's name.

    Attributes:
        head: what the first line says, once constructed.
        cut_short: number of the line that a crash cut short; 0 for none (known at the end).
    """

    lines: Iterable[str]
    origin: str
    head: Head = field(init=False)
    cut_short: int = field(init=False, default=0)
    _rest: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self._rest = iter(self.lines)
        self.head = parse_head(next(self._rest, ""), f"{self.origin}:1")

    def __iter__(self) -> Iterator[Line]:
        """The events in order.

        Raises:
            ConfigurationError: a damaged or missing line, named by file and number.
        """
        for number, text in enumerate(self._rest, start=2):
            origin = f"{self.origin}:{number}"
            if not text.endswith("\n") and not _is_json(text):
                self.cut_short = number
                return
            parsed = parse_line(text, origin)
            if parsed.seq != number - 2:
                raise ConfigurationError(
                    f"{origin}: event {parsed.seq} stands where {number - 2} should",
                    next_step="lines are missing or doubled: use an unedited file",
                )
            yield parsed


def _spell(value: dict[str, Any]) -> str:
    # ASCII, because a lone surrogate in a name has no UTF-8 and must not stop the recording.
    return json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _object(text: str, origin: str) -> dict[str, Any]:
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{origin}: not JSON: {error}", next_step="use an unedited recording"
        ) from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{origin}: expected an object, got {str(raw)[:80]!r}")
    return raw


def _check_keys(raw: dict[str, Any], known: frozenset[str], origin: str) -> None:
    if odd := sorted(known ^ set(raw)):
        raise ConfigurationError(
            f"{origin}: unknown or missing keys: {', '.join(odd)}",
            next_step=f"a line has exactly: {', '.join(sorted(known))}",
        )
