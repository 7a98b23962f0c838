"""The gateway's door: who may come in, how much, how often, and where to.

Everything it knows came with the routing table; it asks no database, and a control plane that is
away changes nothing. Several gateways share a quota by each taking its part of it, see
`Door.gateways`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Counter, Gauge

from aigrid.control import quota
from aigrid.control.fair import Item
from aigrid.core.codec import from_plain
from aigrid.core.errors import (
    AuthenticationError,
    InsufficientQuotaError,
    PermissionDeniedError,
    RateLimitError,
)
from aigrid.core.tenancy import DEFAULT_TENANT, MICRO, Tenant, permits
from aigrid.live import quotas
from aigrid.live.limits import Limits
from aigrid.live.metrics import OPEN_STREAMS
from aigrid.live.quotas import Account, Ask, Holder, Price
from aigrid.live.turnstile import Turnstile

REFUSED = Counter("aigrid_gateway_refused_total", "Requests refused at the door", ("code",))
WAITING = Gauge("aigrid_gateway_waiting", "Requests that wait for their turn", ("service",))
WINDOW = Gauge("aigrid_gateway_window", "Requests at the sites of a service at most", ("service",))


@dataclass(slots=True)
class Pass:
    """One request that came in; to be ended once, by `settle` or `refund`.

    Attributes:
        holder: of the key.
        account: of its tenant.
        ask: what it asks for.
    """

    holder: Holder
    account: Account
    ask: Ask
    _door: Door
    _reserved_micro: int
    _item: Item | None = None
    _over: bool = False

    @property
    def tenant(self) -> Tenant:
        """Its terms."""
        return self.account.tenant

    async def turn(self) -> None:
        """Wait for a turn at the service's sites.

        Raises:
            OverloadedError: see `live.turnstile`.
        """
        self._item = await self._door.turnstile(self.ask.service).enter(
            self.tenant, float(self.ask.tokens)
        )

    async def again(self, pause_s: float, within_s: float) -> None:
        """The turn was in vain, since every line was full: wait for another.

        Raises:
            OverloadedError: see `live.turnstile`.
        """
        item, self._item = self._item, None
        if item is None:
            await asyncio.sleep(pause_s)
            return
        await self._door.turnstile(self.ask.service).again(item, pause_s, within_s)
        self._item = item

    def settle(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The request has ended, having used so much.

        Returns:
            what it costs, in millionths, rounded up.
        """
        door, account = self._door, self.account
        cost_micro = door.cost_micro(self.ask.service, prompt_tokens, completion_tokens)
        if self._over:
            return cost_micro
        self._end(prompt_tokens + completion_tokens)
        account.unacked_micro += cost_micro
        return cost_micro

    def refund(self) -> None:
        """The request has ended without an answer."""
        if not self._over:
            self._end(0)

    def _end(self, used: int) -> None:
        self._over = True
        account, door = self.account, self._door
        account.open -= 1
        account.streams -= self.ask.stream
        account.reserved_micro -= self._reserved_micro
        limit = account.tenant.quota.tokens_per_min
        if limit >= 0:
            quota.correct(account.tokens, door.part(limit), float(self.ask.tokens), float(used))
        if self._item is not None:
            door.turnstile(self.ask.service).leave(self._item, float(used))


@dataclass(slots=True)
class Door:
    """Keys, tenants and what they use, at one gateway.

    Attributes:
        bootstrap: digests of keys of the default tenant; they count until the control plane has
            said which keys there are.
        limits: of the data path.
        gateways: that share every quota; each takes its part.
        clock_s: monotonic.
        now_s: Unix time.
    """

    bootstrap: Iterable[str] = ()
    limits: Limits = field(default_factory=Limits)
    gateways: int = 1
    clock_s: Callable[[], float] = time.monotonic
    now_s: Callable[[], float] = time.time
    revision: int = -1
    refused: dict[str, int] = field(default_factory=dict)
    _holders: dict[str, Holder] = field(default_factory=dict)
    _accounts: dict[str, Account] = field(default_factory=dict)
    _prices: dict[str, Price] = field(default_factory=dict)
    _turnstiles: dict[str, Turnstile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for digest in self.bootstrap:
            self._holders[digest] = Holder("bootstrap", DEFAULT_TENANT, "consumer", digest)
        self._accounts[DEFAULT_TENANT] = self._account(Tenant(DEFAULT_TENANT))

    # -- what the control plane says -------------------------------------------------------------

    def install(self, tenancy: dict[str, Any] | None, services: Iterable[dict[str, Any]]) -> None:
        """Take over keys, tenants and prices; what is counted goes on."""
        self._prices = {
            service["name"]: (
                str(service["price"]["currency"]),
                int(service["price"]["input_micro"]),
                int(service["price"]["output_micro"]),
            )
            for service in services
            if "price" in service
        }
        if tenancy is None or tenancy["revision"] == self.revision:
            return
        accounts = {}
        for raw in tenancy["tenants"]:
            tenant: Tenant = from_plain(Tenant, raw, "tenant")
            account = self._accounts.get(tenant.name)
            if account is None or account.tenant.quota != tenant.quota:
                account = self._renewed(tenant, account)
            account.tenant = tenant
            accounts[tenant.name] = account
        holders = (Holder(**raw) for raw in tenancy["keys"])
        self._holders = {holder.digest: holder for holder in holders}
        self._accounts = accounts
        self.revision = tenancy["revision"]
        self.hear(tenancy.get("headroom", {}))

    def hear(self, headroom: dict[str, int | None]) -> None:
        """What is left of budgets and credits."""
        for name, micro in headroom.items():
            if name in self._accounts:
                self._accounts[name].headroom_micro = micro

    def acknowledged(self, tenant: str, cost_micro: int) -> None:
        """What the control plane has counted need not be counted here."""
        account = self._accounts.get(tenant)
        if account is not None:
            account.unacked_micro = max(0, account.unacked_micro - cost_micro)

    def _account(self, tenant: Tenant) -> Account:
        now_s, terms = self.clock_s(), tenant.quota
        return Account(
            tenant,
            quota.full(self.part(max(0, terms.requests_per_min)), now_s),
            quota.full(self.part(max(0, terms.tokens_per_min)), now_s),
        )

    def _renewed(self, tenant: Tenant, old: Account | None) -> Account:
        """The same account under another quota: passes that are open point to it."""
        new = self._account(tenant)
        if old is None:
            return new
        old.requests, old.tokens = new.requests, new.tokens
        return old

    # -- requests ------------------------------------------------------------------------------

    def part(self, limit: int) -> float:
        """This gateway's part of a quota."""
        return limit / max(1, self.gateways)

    def know(self, key: str) -> Holder:
        """Who holds a key.

        Raises:
            AuthenticationError: nobody, or no longer.
            PermissionDeniedError: the tenant is suspended, or the role may not ask.
        """
        digest = hashlib.sha256(key.encode()).hexdigest()
        holder = self._holders.get(digest)
        if (
            holder is None
            or not hmac.compare_digest(holder.digest, digest)
            or (holder.expires_at_s and self.now_s() >= holder.expires_at_s)
            or holder.tenant not in self._accounts
        ):
            raise self._refuse(
                AuthenticationError(
                    "the API key is missing or not known to this grid",
                    next_step="send 'Authorization: Bearer KEY' with the key that `aigrid env`"
                    " prints, or one of `aigrid key create`",
                )
            )
        if self._accounts[holder.tenant].tenant.suspended:
            raise self._refuse(
                PermissionDeniedError(
                    f"tenant {holder.tenant!r} is suspended", next_step="ask the grid's operator"
                )
            )
        if not permits(holder.role, "infer"):
            raise self._refuse(PermissionDeniedError(f"role {holder.role!r} may not ask models"))
        return holder

    def enter(self, holder: Holder, ask: Ask) -> Pass:
        """Let a request in, against the tenant's quotas.

        Raises:
            RateLimitError: a quota a minute, or of streams, is used up.
            InsufficientQuotaError: budget and credits are used up.
        """
        account = self._accounts[holder.tenant]
        cost_micro = self.cost_micro(ask.service, ask.prompt_tokens, ask.answer_tokens)
        try:
            quotas.check_money(account, ask, self._prices.get(ask.service))
            quotas.check_streams(account, ask, self.part)
            quotas.take_rates(account, ask, self.part, self.clock_s())
        except (RateLimitError, InsufficientQuotaError) as error:
            raise self._refuse(error) from None
        account.open += 1
        account.streams += ask.stream
        account.reserved_micro += cost_micro
        return Pass(holder, account, ask, self, cost_micro)

    def turnstile(self, service: str) -> Turnstile:
        """Of a service; made on first use."""
        if service not in self._turnstiles:
            limits = self.limits
            largest = limits.open_requests + 1  # the forwarder refuses what is beyond
            self._turnstiles[service] = Turnstile(
                service, largest, limits.waiting, limits.try_for_s, self.clock_s
            )
        return self._turnstiles[service]

    def cost_micro(self, service: str, prompt_tokens: int, completion_tokens: int) -> int:
        """What so many tokens cost, rounded up: a bound, bills are reckoned elsewhere."""
        _, price_in, price_out = self._prices.get(service, ("", 0, 0))
        return -(-(prompt_tokens * price_in + completion_tokens * price_out) // MICRO)

    def quota_headers(self, account: Account) -> dict[str, str]:
        """What is left a minute, as OpenAI's API says it."""
        terms, said = account.tenant.quota, {}
        for what, limit, bucket in (
            ("requests", terms.requests_per_min, account.requests),
            ("tokens", terms.tokens_per_min, account.tokens),
        ):
            if limit >= 0:
                said[f"x-ratelimit-limit-{what}"] = str(limit)
                said[f"x-ratelimit-remaining-{what}"] = str(max(0, int(bucket.level)))
        return said

    def tell_metrics(self) -> None:
        """Who waits, for Prometheus."""
        for name, gate in self._turnstiles.items():
            WAITING.labels(name).set(gate.queue.waiting)
            WINDOW.labels(name).set(int(gate.window.size))
        OPEN_STREAMS.set(sum(account.streams for account in self._accounts.values()))

    def _refuse(self, error: Any) -> Any:
        REFUSED.labels(error.code).inc()
        self.refused[error.code] = self.refused.get(error.code, 0) + 1
        return error
