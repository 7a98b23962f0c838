"""How long work tells whoever waits for it; the command line draws bars from this."""

from __future__ import annotations

from typing import Protocol

Fact = str | int | float


class Progress(Protocol):
    """Hears how far the work is. An exception raised in here (Ctrl-C) stops the work cleanly."""

    def stage(self, name: str, total: int) -> None:
        """A new stage begins; the one before it is done.

        Args:
            name: short, for a person, e.g. `training`.
            total: units to come, 0 where that is not known.
        """
        ...

    def advance(self, n: int = 1, **facts: Fact) -> None:
        """Another `n` units are done; `facts` are worth showing, e.g. `loss=3.2`."""
        ...


class SilentProgress:
    """The double that shows nothing."""

    def stage(self, name: str, total: int) -> None:
        """Forget it."""

    def advance(self, n: int = 1, **facts: Fact) -> None:
        """Forget it."""
