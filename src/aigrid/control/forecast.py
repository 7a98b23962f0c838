"""What will be needed next. Today: the last value, corrected within a heartbeat."""

from __future__ import annotations

from aigrid.core.state import FloatColumn


def radio_need(need_cores: FloatColumn) -> FloatColumn:
    """Compute that the radio will need until the next heartbeat, in cores, one value a site.

    Args:
        need_cores: (N,) the high quantile that each site measured last.
    """
    return need_cores


def ai_demand(running: FloatColumn, waiting: FloatColumn) -> FloatColumn:
    """Jobs that will want a place next, of the shape of its arguments: those that do now."""
    return running + waiting
