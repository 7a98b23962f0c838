"""Months on the command line."""

from __future__ import annotations

import re
from typing import Any

import click


class Month(click.ParamType[str]):
    """`YYYY-MM`."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The month as it was given."""
        if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", str(value)):
            self.fail(f"{value!r} is not a month; write YYYY-MM", param, ctx)
        return str(value)
