"""A tenant's account at one gateway, and what its quotas let through."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from aigrid.control import quota
from aigrid.control.quota import Bucket
from aigrid.core.errors import InsufficientQuotaError, RateLimitError
from aigrid.core.tenancy import Tenant

ANSWER_TOKENS = 256
BYTES_PER_TOKEN = 4
STREAM_RETRY_S = 1.0
_CHOICES = re.compile(rb'"n"\s*:\s*(\d)')
_MAX_TOKENS = re.compile(rb'"max_(?:completion_)?tokens"\s*:\s*(\d{1,9})')
Part = Callable[[int], float]
Price = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Holder:
    """What a gateway knows of a key."""

    id: str
    tenant: str
    role: str
    digest: str
    expires_at_s: float = 0.0


@dataclass(slots=True)
class Account:
    """One tenant at this gateway.

    Attributes:
        tenant: its terms.
        requests: of its requests a minute.
        tokens: of its tokens a minute.
        open: requests under way.
        streams: of these, streamed ones.
        headroom_micro: of budget and credits, as the control plane last said; None: no limit.
        unacked_micro: used since then.
        reserved_micro: that requests under way may cost.
    """

    tenant: Tenant
    requests: Bucket
    tokens: Bucket
    open: int = 0
    streams: int = 0
    headroom_micro: int | None = None
    unacked_micro: int = 0
    reserved_micro: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """What is known of a request before it goes anywhere."""

    service: str
    stream: bool
    prompt_tokens: int
    answer_tokens: int

    @property
    def tokens(self) -> int:
        """Of both."""
        return self.prompt_tokens + self.answer_tokens

    @classmethod
    def of(cls, service: str, stream: bool, body: bytes) -> Ask:
        """An estimate of its tokens: a fourth of its bytes, and the answers that it allows."""
        found = _MAX_TOKENS.search(body)
        answer = int(found[1]) if found else ANSWER_TOKENS
        if found := _CHOICES.search(body):
            answer *= max(1, int(found[1]))
        return cls(service, stream, len(body) // BYTES_PER_TOKEN, answer)


def check_money(account: Account, ask: Ask, price: Price | None) -> None:
    """Refuse what budget and credits do not cover.

    Raises:
        InsufficientQuotaError: they are used up, or in another currency than the price.
    """
    left, tenant = account.headroom_micro, account.tenant
    if left is None and tenant.quota.budget_micro < 0:
        return
    currency, *prices = price or ("", 0, 0)
    if not any(prices):
        return
    if currency != tenant.currency:
        raise InsufficientQuotaError(
            f"model {ask.service!r} is priced in {currency}, tenant {tenant.name!r} has a"
            f" budget in {tenant.currency}",
            next_step="choose another model",
        )
    known = tenant.quota.budget_micro if left is None else left
    if known - account.unacked_micro - account.reserved_micro <= 0:
        raise InsufficientQuotaError(
            f"budget and credits of tenant {tenant.name!r} are used up for this month",
            next_step="raise the budget with `aigrid tenant set`, or wait for the next month",
        )


def check_streams(account: Account, ask: Ask, part: Part) -> None:
    """Refuse one stream too many.

    Raises:
        RateLimitError: the quota of streams is used up.
    """
    limit = account.tenant.quota.streams
    if ask.stream and limit >= 0 and account.streams >= math.ceil(part(limit)):
        raise RateLimitError(
            f"tenant {account.tenant.name!r} has {account.streams} streams open here,"
            f" its quota is {limit}",
            next_step="end one, or wait",
            retry_after_s=STREAM_RETRY_S,
        )


def take_rates(account: Account, ask: Ask, part: Part, now_s: float) -> None:
    """Take a request, and the tokens that it may need, out of a minute's quotas; both or none.

    Raises:
        RateLimitError: one of them is used up.
    """
    terms = account.tenant.quota
    rates = (
        ("requests", terms.requests_per_min, account.requests, 1.0),
        ("tokens", terms.tokens_per_min, account.tokens, float(ask.tokens)),
    )
    taken: list[tuple[Bucket, float, float]] = []
    for what, limit, bucket, amount in rates:
        if limit < 0:
            continue
        wait_s = quota.take(bucket, part(limit), amount, now_s)
        if wait_s > 0.0:
            for other, per_min, given in taken:
                quota.correct(other, per_min, given, 0.0)
            raise RateLimitError(
                f"tenant {account.tenant.name!r} has a quota of {limit:,} {what} a minute",
                next_step=f"wait {wait_s:.0f} s" if wait_s < 3600.0 else "ask the operator",
                retry_after_s=min(wait_s, 3600.0),
            )
        taken.append((bucket, part(limit), amount))
