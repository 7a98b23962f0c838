"""Lets compiled code call what is in `admit`; import it before compiling a caller."""

from __future__ import annotations

from numba.extending import register_jitable

from aigrid.control import admit

register_jitable(admit.admit)
register_jitable(admit.price)
register_jitable(admit.order)
