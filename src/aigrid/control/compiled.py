"""Lets compiled code call `admit.admit` and `admit.order`; import it before compiling a caller."""

from __future__ import annotations

from numba.extending import register_jitable

from aigrid.control import admit

register_jitable(admit.admit)
register_jitable(admit.order)
