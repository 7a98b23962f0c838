"""An invoice: what a tenant used in a month, what credits cover, what its packages earned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aigrid.core.tenancy import MICRO, Grant, Tenant
from aigrid.store.billing import credits, money
from aigrid.store.billing.book import Sum, UsageBook
from aigrid.store.billing.months import bounds_ms

FULL_BP = 10_000


@dataclass(frozen=True, slots=True)
class Line:
    """One version of a service at one price.

    Attributes:
        service: the model.
        version: of its package.
        requests: that used tokens.
        prompt_tokens: of all of them.
        completion_tokens: of all of them.
        input_micro: price of a million tokens of prompts, in millionths.
        output_micro: price of a million tokens of answers.
        amount_micro: quantity times price, rounded half up.
    """

    service: str
    version: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    input_micro: int
    output_micro: int
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Credit:
    """What a grant covers."""

    grant: str
    purpose: str
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Earning:
    """What a tenant's package earned it.

    Attributes:
        service: the model.
        version: of its package.
        requests: of all who used it.
        gross_micro: what they were charged, credits or not.
        share_bp: the publisher's part, in hundredths of a percent.
        amount_micro: of it, rounded half up.
    """

    service: str
    version: str
    requests: int
    gross_micro: int
    share_bp: int
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Statement:
    """An invoice's part in one currency.

    Attributes:
        currency: ISO 4217.
        lines: what was used.
        total_micro: of the lines.
        credits: what covers it.
        credit_micro: of the credits.
        due_micro: the rest.
        due: the rest in the currency's smallest unit, rounded half up; taxes are left out.
        earnings: of the tenant's packages.
        earned_micro: of the earnings; paid apart, never set off.
        earned: in the currency's smallest unit.
    """

    currency: str
    lines: tuple[Line, ...]
    total_micro: int
    credits: tuple[Credit, ...]
    credit_micro: int
    due_micro: int
    due: str
    earnings: tuple[Earning, ...]
    earned_micro: int
    earned: str


@dataclass(frozen=True, slots=True)
class Invoice:
    """What one tenant owes for one month.

    Attributes:
        number: names it.
        tenant: who owes.
        month: `YYYY-MM`, UTC.
        draft: the month has not ended.
        statements: a currency each; the tenant's own first, also where nothing was used.
    """

    number: str
    tenant: str
    month: str
    draft: bool
    statements: tuple[Statement, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def invoice(
    book: UsageBook, tenant: Tenant, grants: Sequence[Grant], month: str, now_s: float
) -> Invoice:
    """The invoice of a tenant for a month; the same rows give the same invoice.

    Raises:
        InvalidRequestError: not a month.
    """
    begin_ms, end_ms = bounds_ms(month)
    used = book.sums(begin_ms, end_ms, tenant=tenant.name)
    earned = book.sums(begin_ms, end_ms, publisher=tenant.name)
    others = sorted({one.terms.currency for one in (*used, *earned)} - {tenant.currency})
    statements = []
    for currency in (tenant.currency, *others):
        lines = [_line(one) for one in used if one.terms.currency == currency]
        given = _credits(book, tenant.name, grants, currency, begin_ms, end_ms)
        earnings = _earnings([one for one in earned if one.terms.currency == currency])
        statements.append(_statement(currency, lines, given, earnings))
    draft = now_s * 1000 < end_ms
    number = f"{tenant.name}-{month}"
    return Invoice(number, tenant.name, month, draft, tuple(statements))


def _statement(
    currency: str, lines: list[Line], given: list[Credit], earnings: list[Earning]
) -> Statement:
    total_micro = sum(line.amount_micro for line in lines)
    credit_micro = min(total_micro, sum(credit.amount_micro for credit in given))
    due_micro = total_micro - credit_micro
    earned_micro = sum(earning.amount_micro for earning in earnings)
    return Statement(
        currency,
        tuple(lines),
        total_micro,
        tuple(given),
        credit_micro,
        due_micro,
        money.payable(due_micro, currency),
        tuple(earnings),
        earned_micro,
        money.payable(earned_micro, currency),
    )


def charged_pico(book: UsageBook, tenant: str, currency: str, begin_ms: int, end_ms: int) -> int:
    """What a tenant used between two moments, exactly."""
    found = book.sums(begin_ms, end_ms, tenant=tenant)
    return sum(_pico(one) for one in found if one.terms.currency == currency)


def _credits(
    book: UsageBook,
    tenant: str,
    grants: Sequence[Grant],
    currency: str,
    begin_ms: int,
    end_ms: int,
) -> list[Credit]:
    fitting = [grant for grant in grants if grant.currency == currency]
    uses = credits.apply(
        fitting, begin_ms, end_ms, lambda a, b: charged_pico(book, tenant, currency, a, b)
    )
    return [
        Credit(use.grant.id, use.grant.purpose, money.micro(use.used_pico))
        for use in uses
        if use.used_pico
    ]


def headroom_micro(
    book: UsageBook, tenant: Tenant, grants: Sequence[Grant], month: str, now_s: float
) -> int | None:
    """What a tenant may yet use this month: budget and credits, less what it used.

    Returns:
        millionths, rounded down; None without a budget.
    """
    budget_micro = tenant.quota.budget_micro
    if budget_micro < 0:
        return None
    begin_ms, end_ms = bounds_ms(month)
    now_ms = max(begin_ms + 1, min(end_ms, int(now_s * 1000) + 1))
    currency = tenant.currency
    fitting = [grant for grant in grants if grant.currency == currency]
    uses = credits.apply(
        fitting, begin_ms, now_ms, lambda a, b: charged_pico(book, tenant.name, currency, a, b)
    )
    charged = charged_pico(book, tenant.name, currency, begin_ms, now_ms)
    covered = sum(use.used_pico for use in uses)
    left = sum(use.left_pico for use in uses if use.grant.starts_at_s <= now_s)
    return (budget_micro * MICRO - (charged - covered) + left) // MICRO


def _pico(one: Sum) -> int:
    terms = one.terms
    return money.pico(
        one.prompt_tokens, one.completion_tokens, terms.input_micro, terms.output_micro
    )


def _line(one: Sum) -> Line:
    return Line(
        one.service,
        one.terms.version,
        one.requests,
        one.prompt_tokens,
        one.completion_tokens,
        one.terms.input_micro,
        one.terms.output_micro,
        money.micro(_pico(one)),
    )


def _earnings(sums: list[Sum]) -> list[Earning]:
    """By version and share, whoever used it at whatever price."""
    gross: dict[tuple[str, str, int], tuple[int, int]] = {}
    for one in sums:
        key = (one.service, one.terms.version, one.terms.share_bp)
        requests, pico = gross.get(key, (0, 0))
        gross[key] = (requests + one.requests, pico + _pico(one))
    return [
        Earning(
            service,
            version,
            requests,
            money.micro(pico),
            share_bp,
            money.rounded(pico * share_bp, MICRO * FULL_BP),
        )
        for (service, version, share_bp), (requests, pico) in sorted(gross.items())
    ]
