"""Inputs of a published result: each is as published or assumed, and each must be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aigrid.core.errors import ConfigurationError

ORIGINS = ("published", "assumed")


class Inputs:
    """Values by name, for one computation; remembers which were asked for.

    Args:
        raw: name to `value`, `origin` (`published` or `assumed`) and maybe `note`.
        where: the file, for messages.

    Raises:
        ConfigurationError: something else stands there.
    """

    def __init__(self, raw: Any, where: str) -> None:
        if not isinstance(raw, Mapping):
            raise ConfigurationError(f"{where}: inputs must be an object, got {raw!r}")
        self._where = where
        self._asked: set[str] = set()
        self._values = {str(name): self._checked(str(name), item) for name, item in raw.items()}

    def _checked(self, name: str, item: Any) -> Any:
        at = f"{self._where}: inputs.{name}"
        if not isinstance(item, Mapping) or set(item) - {"note"} != {"value", "origin"}:
            raise ConfigurationError(
                f"{at} is {item!r}", next_step="give it value, origin and maybe note"
            )
        if item["origin"] not in ORIGINS:
            raise ConfigurationError(
                f"{at}.origin is {item['origin']!r}", next_step=f"use one of {', '.join(ORIGINS)}"
            )
        return item["value"]

    def _asked_for(self, name: str) -> Any:
        if name not in self._values:
            raise ConfigurationError(f"{self._where}: inputs.{name} is missing")
        self._asked.add(name)
        return self._values[name]

    def number(self, name: str) -> float:
        """A number.

        Raises:
            ConfigurationError: it is missing, or none.
        """
        value = self._asked_for(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigurationError(f"{self._where}: inputs.{name} is {value!r}, not a number")
        return float(value)

    def text(self, name: str) -> str:
        """A name.

        Raises:
            ConfigurationError: it is missing, or no text.
        """
        value = self._asked_for(name)
        if not isinstance(value, str):
            raise ConfigurationError(f"{self._where}: inputs.{name} is {value!r}, not a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """One or more names.

        Raises:
            ConfigurationError: it is missing, or something else.
        """
        value = self._asked_for(name)
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise ConfigurationError(f"{self._where}: inputs.{name} is {value!r}, not names")
        return tuple(value)

    def refuse_unused(self) -> None:
        """Refuse what the computation did not ask for.

        Raises:
            ConfigurationError: there is such an input.
        """
        unknown = sorted(set(self._values) - self._asked)
        if unknown:
            raise ConfigurationError(
                f"{self._where}: inputs.{unknown[0]} is not known",
                next_step=f"use {', '.join(sorted(self._asked))}",
            )
