"""Keys that nobody holds, counted by where they come from: who guesses is told to wait."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from aigrid.control import quota
from aigrid.control.quota import Bucket
from aigrid.core.errors import AigridError, AuthenticationError, RateLimitError

PER_MIN = 120.0
ORIGINS_LIMIT = 4096
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Guesses:
    """Wrong keys of each origin: an IPv4 address, or the /64 of an IPv6 one.

    A right key always passes, so that a guesser locks nobody out who shares its address. That costs
    nothing: keys have 256 random bits, and what is bounded here is the work, the log and the noise.

    Attributes:
        per_min: wrong keys that an origin may show; over it: 429.
        clock_s: monotonic.
    """

    per_min: float = PER_MIN
    clock_s: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)
    _told: set[str] = field(default_factory=set)

    def judge(self, request: Request, error: AigridError) -> AigridError:
        """What a refused request is to hear: the error itself, or that it was one too many."""
        if not isinstance(error, AuthenticationError):
            return error
        origin = origin_of(request.client.host if request.client else "")
        wait_s = quota.take(self._bucket(origin), self.per_min, 1.0, self.clock_s())
        if not wait_s:
            self._told.discard(origin)
            return error
        if origin not in self._told:
            self._told.add(origin)
            logger.warning("over %d wrong keys a minute from %s", self.per_min, origin)
        return RateLimitError(
            "too many wrong keys from this address",
            next_step="wait, and send the right one",
            retry_after_s=max(1.0, wait_s),
        )

    def _bucket(self, origin: str) -> Bucket:
        bucket = self._buckets.get(origin)
        if bucket is None:
            bucket = self._buckets[origin] = quota.full(self.per_min, self.clock_s())
            if len(self._buckets) > ORIGINS_LIMIT:
                gone, _ = self._buckets.popitem(last=False)
                self._told.discard(gone)
        self._buckets.move_to_end(origin)
        return bucket


def origin_of(address: str) -> str:
    """Whom an address stands for: a network of IPv6 belongs to one customer."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
