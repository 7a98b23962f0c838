"""Which replicas a gateway trusts: judged from traffic, and by probes of those it gave up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from aigrid.control import breaker
from aigrid.control.breaker import Breaker, BreakerPolicy
from aigrid.live.attempt import TryNextError
from aigrid.live.metrics import BREAKERS

PROBE_LOOK_S = 0.1
PROBE_TIMEOUT_S = 1.0
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Health:
    """Breakers of all replicas that ever failed, and probes of the open ones.

    Attributes:
        policy: when breakers open.
        on_gone: called with the name of a site that has become unreachable.
    """

    policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    on_gone: Callable[[str], None] = lambda site: None
    _breakers: dict[tuple[str, str], Breaker] = field(default_factory=dict)
    _probing: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def admitted(self, sites: list[str], service: str) -> list[str]:
        """Those of the sites that may have a request; all, where none may: better than nothing."""
        if not self._breakers:
            return sites
        may = [site for site in sites if self._admits(site, service)]
        return may or sites

    def _admits(self, site: str, service: str) -> bool:
        found = self._breakers.get((site, service))
        return found is None or breaker.admits(found)

    def begin(self, site: str, service: str) -> None:
        """A request goes there."""
        if (found := self._breakers.get((site, service))) is not None:
            breaker.begin(found)

    def succeed(self, site: str, service: str) -> None:
        """It was answered."""
        if self._breakers.pop((site, service), None) is not None:
            self._count()

    def let_go(self, site: str, service: str) -> None:
        """It ended and says nothing of the replica."""
        if (found := self._breakers.get((site, service))) is not None:
            breaker.let_go(found)

    def note(self, site: str, service: str, reason: TryNextError) -> None:
        """It failed."""
        if not (reason.unreachable or reason.faulty):
            self.let_go(site, service)
            return
        found = self._breakers.setdefault((site, service), Breaker())
        if breaker.fail(self.policy, found, time.monotonic(), gone=reason.unreachable):
            self._count()
            logger.warning("site %s, %s: left alone: %s", site, service, reason)
            if reason.unreachable:
                self.on_gone(site)

    def forget(self, site: str) -> None:
        """A site answers elsewhere now: what was known of it is old."""
        for key in [key for key in self._breakers if key[0] == site]:
            del self._breakers[key]
        self._count()

    def forget_versions(self, known: set[str]) -> None:
        """Of second versions (`SERVICE@DIGEST`) only these may still be asked for."""
        for key in [key for key in self._breakers if "@" in key[1] and key[1] not in known]:
            del self._breakers[key]
        self._count()

    async def probe(
        self, session: aiohttp.ClientSession, urls: Callable[[], dict[str, str]]
    ) -> None:
        """Ask open ones whether they live, each when its time has come, until cancelled."""
        while True:
            now_s = time.monotonic()
            due = {s for (s, _), b in self._breakers.items() if breaker.wants_probe(b, now_s)}
            for site in due - self._probing.keys():
                url = urls().get(site)
                if url is None:
                    self.forget(site)
                    continue
                self._probing[site] = asyncio.create_task(self._ask(session, site, url))
            await asyncio.sleep(PROBE_LOOK_S)

    async def _ask(self, session: aiohttp.ClientSession, site: str, url: str) -> None:
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        try:
            async with session.get(f"{url}/v1/health/live", timeout=timeout) as response:
                lives = response.status == 200
        except (TimeoutError, aiohttp.ClientError):
            lives = False
        finally:
            self._probing.pop(site, None)
        now_s = time.monotonic()
        for (name, _), found in self._breakers.items():
            if name == site and breaker.wants_probe(found, now_s):
                breaker.probed(self.policy, found, now_s, lives=lives)
        self._count()

    def _count(self) -> None:
        states = [found.state for found in self._breakers.values()]
        for state in ("closed", "open", "half-open"):
            BREAKERS.labels(state).set(states.count(state))
