"""One line of a log: a JSON object that no value can break out of, and that has a limit."""

from __future__ import annotations

import json

MESSAGE_LIMIT = 2000
Field = str | int | float | bool | None | list[str]


def log_line(
    when: str, level: str, process: str, source: str, message: str, **fields: Field
) -> str:
    """The line, without its end.

    Control characters, line ends among them, stand as JSON escapes, so that what a client sent can
    neither begin a line of its own nor steer a terminal (CWE-117).

    Args:
        when: UTC, RFC 3339.
        level: `debug`, `info`, `warning`, `error` or `critical`.
        process: that writes, as `gateway` or `tower-1`.
        source: which part of it.
        message: for people; cut at `MESSAGE_LIMIT` characters.
        fields: as `request_id`; those that are empty are left out.
    """
    cut = message if len(message) <= MESSAGE_LIMIT else message[:MESSAGE_LIMIT] + "..."
    line = {"time": when, "level": level, "process": process, "source": source, "message": cut}
    told = {name: value for name, value in fields.items() if value not in (None, "", [])}
    return json.dumps(line | told, default=str)
