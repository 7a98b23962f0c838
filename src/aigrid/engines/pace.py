"""When the worker may take its next step: a share of time, and a gate that the radio holds."""

from __future__ import annotations

import time
from collections.abc import Callable

from aigrid.core.errors import ConfigurationError

GATE_POLL_S = 0.0002
LONGEST_SLEEP_S = 0.02


class Pace:
    """A duty cycle: after a step of d seconds the worker rests d * (1 / share - 1).

    Set from any thread; asked by the worker only.
    """

    def __init__(self) -> None:
        self._share = 1.0
        self._may_step: Callable[[], bool] | None = None
        self._rest_s = 0.0

    def set_share(self, share: float) -> None:
        """See `Engine.set_share`.

        Raises:
            ConfigurationError: not within 0 to 1.
        """
        if not 0.0 <= share <= 1.0:
            raise ConfigurationError(f"share is {share!r}", next_step="give a number from 0 to 1")
        self._share = share

    def set_gate(self, may_step: Callable[[], bool]) -> None:
        """See `Engine.set_gate`."""
        self._may_step = may_step

    def worked(self, busy_s: float) -> None:
        """Note how long a step took."""
        share = self._share
        if 0.0 < share < 1.0:
            self._rest_s += busy_s * (1.0 / share - 1.0)

    def pause_s(self) -> float:
        """Seconds to sleep before asking again; 0 when the next step may be taken."""
        share = self._share
        if share == 0.0:
            return LONGEST_SLEEP_S
        if share == 1.0:
            self._rest_s = 0.0
        if self._rest_s > 0.0:
            return min(self._rest_s, LONGEST_SLEEP_S)
        if self._may_step is not None and not self._may_step():
            return GATE_POLL_S
        return 0.0

    def sleep(self, pause_s: float) -> None:
        """Sleep, and take what was slept off the rest that is owed."""
        began = time.perf_counter()
        time.sleep(pause_s)
        self._rest_s = max(0.0, self._rest_s - (time.perf_counter() - began))
