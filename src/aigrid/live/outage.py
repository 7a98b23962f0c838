"""Says once that something is away, and once that it is back."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass


@dataclass(slots=True)
class Outage:
    """A peer that may stop answering.

    Attributes:
        peer: its name in the log.
        logger: where to say it.
    """

    peer: str
    logger: logging.Logger
    since_s: float = 0.0

    def note(self, error: Exception) -> None:
        """It did not answer."""
        if not self.since_s:
            self.since_s = time.monotonic()
            self.logger.warning("%s does not answer: %s", self.peer, error or repr(error))

    def over(self) -> None:
        """It answered."""
        if self.since_s:
            away_s = time.monotonic() - self.since_s
            self.logger.info("%s answers again after %.1f s", self.peer, away_s)
            self.since_s = 0.0
