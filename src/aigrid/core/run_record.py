"""Rows of a recorded run: what a grid notes so that its twin can predict it. No content, no keys.

Times are seconds on the host's monotonic clock, which all processes of a local grid share, and the
control plane's events with them. Every file is JSON lines: `{"row": "request", ...}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aigrid.core import codec
from aigrid.core.errors import ConfigurationError

FORMAT = 1
RUN_FILE = "run.json"
EVENTS, REQUESTS, SITE, MACHINE = (
    "events",
    "requests",
    "site",
    "machine",
)  # files are named NAME-*.jsonl
UNKNOWN_S = -1.0


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request as the gateway saw it, noted when it ended.

    Attributes:
        key: joins it with the job at the site; a digest of its id.
        at_s: when it had arrived, body included.
        origin: site it came from; `*` for none, or one that is not known.
        service: that was asked for.
        stream: whether tokens went out as they were made.
        status: 200 for a whole answer, 499 where the client left, 502 for a stream that broke off,
            else what was answered.
        site: that answered; empty for none.
        retries: sites tried in vain.
        ttft_s: until the first piece was here; `UNKNOWN_S` for whole answers.
        duration_s: until the end.
    """

    key: str
    at_s: float
    origin: str
    service: str
    stream: bool
    status: int
    site: str
    retries: int
    ttft_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class JobRow:
    """One request as a site's engine saw it, noted when it ended.

    Attributes:
        key: see `RequestRow`.
        service: that served it.
        prompt_tokens: of the prompt; 0 where no chunk came.
        tokens: made.
        began_s: when the engine was asked.
        first_s: when the first chunk was here; `UNKNOWN_S` for none.
        ended_s: when the last one was, or the job was given up.
    """

    key: str
    service: str
    prompt_tokens: int
    tokens: int
    began_s: float
    first_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class EngineRow:
    """Counters of a service's engine at a site, since its start, four times a second.

    Attributes:
        at_s: when they were read.
        service: whose engine it is.
        share: compute that AI may use now.
        running: jobs that take steps.
        waiting: jobs in line.
        places: jobs that can take steps at once; 0 where the engine does not say.
        fill_s: spent on rounds' prompts.
        decode_s: spent on rounds' decode steps.
        paused_s: between rounds while there was work: rests for the share, waits for the radio.
        rounds: of prompts and a step.
        pieces: of prompts fed.
        prompt_tokens: fed.
        steps: decode steps.
        sequences: summed over decode steps: tokens made by them.
        cpu_s: processor time of its worker; `UNKNOWN_S` where it does not say, or did not yet.
    """

    at_s: float
    service: str
    share: float
    running: int
    waiting: int
    places: int
    fill_s: float
    decode_s: float
    paused_s: float
    rounds: int
    pieces: int
    prompt_tokens: int
    steps: int
    sequences: int
    cpu_s: float = UNKNOWN_S


@dataclass(frozen=True, slots=True)
class HostRow:
    """The machine: what else runs on it disturbs the measurement.

    Attributes:
        at_s: when it was read.
        load_average: processes that run or wait to, over a minute.
    """

    at_s: float
    load_average: float


@dataclass(frozen=True, slots=True)
class MachineRow:
    """What the machine did beside the grid, five times a second: the weather in which it runs.

    Counters are seconds of processor time since some beginning, all cores together.

    Attributes:
        at_s: when they were read.
        busy_s: of all that ran, and what the hypervisor took.
        grid_s: of the grid's processes, radios included.
        radio_s: of its radio front-ends.
        others: threads that run or wait to, and are not the grid's, at this moment; one that yields
            to the grid's by its priority (nice) counts for as much less as it gets.
        compute_s: processor time of a fixed computation within a core's caches, just now.
        memory_s: likewise, of a fixed pass over more memory than a core's own caches hold.
        yielding_s: of others that yield by their priority, the part that the grid would get of it.
    """

    at_s: float
    busy_s: float
    grid_s: float
    radio_s: float
    others: float
    compute_s: float
    memory_s: float
    yielding_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DropRow:
    """Rows that were not noted, because the line to the disk was full.

    Attributes:
        at_s: when it was found.
        rows: how many, since the last such row.
    """

    at_s: float
    rows: int


Row = RequestRow | JobRow | EngineRow | HostRow | MachineRow | DropRow
_NAMES: dict[str, type[Any]] = {
    "request": RequestRow,
    "job": JobRow,
    "engine": EngineRow,
    "host": HostRow,
    "machine": MachineRow,
    "drop": DropRow,
}
_NAME_OF = {noun: name for name, noun in _NAMES.items()}


def encode(row: Row) -> dict[str, Any]:
    """A row as a JSON object."""
    plain: dict[str, Any] = codec.to_plain(row)
    return {"row": _NAME_OF[type(row)], **plain}


def decode(raw: Any, origin: str) -> Row:
    """The row that `encode` wrote.

    Args:
        raw: decoded JSON.
        origin: file and line, for the error's message.

    Raises:
        ConfigurationError: an unknown row or key, a missing key, or a value of the wrong type.
    """
    name = raw.get("row") if isinstance(raw, dict) else None
    if name not in _NAMES:
        raise ConfigurationError(
            f"{origin}: {str(name)[:40]!r} is no row of a recorded run",
            next_step=f"rows: {', '.join(_NAMES)}",
        )
    fields = {key: value for key, value in raw.items() if key != "row"}
    row: Row = codec.from_plain(_NAMES[name], fields, origin)
    return row
