"""Invoices: each request once, credits where they are valid, the publisher's share."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigrid.core.tenancy import MICRO, Grant, Quota, Tenant, Usage
from aigrid.store.accounts import Accounts
from aigrid.store.billing import credits, render
from aigrid.store.billing.book import Entry, Terms, UsageBook
from aigrid.store.billing.invoice import headroom_micro, invoice
from aigrid.store.billing.months import bounds_ms
from aigrid.store.database import Database

BEGIN_S = bounds_ms("2026-11")[0] / 1000
DAY_S = 86400.0
ACME = Tenant("acme")
PRICED = Terms("1", "USD", 150_000, 600_000, "maker", 7000)


@pytest.fixture
def book(database_url: str) -> Iterator[UsageBook]:
    accounts = Accounts(Database(database_url))
    yield UsageBook(accounts.database)
    accounts.close()


def used(name: str, tokens: int = 1_000_000, day: float = 1.0, **more: object) -> Usage:
    record = Usage(name, "acme", "k", "m", prompt_tokens=tokens, completion_tokens=tokens)
    return replace(record, at_s=BEGIN_S + day * DAY_S, **more)  # type: ignore[arg-type]


def put(book: UsageBook, *records: Usage, terms: Terms = PRICED) -> None:
    book.put([Entry(record, terms, 1) for record in book.news(records)], 1, "")


def test_a_record_counts_once_however_often_it_comes(book: UsageBook) -> None:
    for _ in range(3):
        put(book, used("a"), used("a"), used("b"))
    (line,) = invoice(book, ACME, [], "2026-11", BEGIN_S).statements[0].lines
    assert (line.requests, line.prompt_tokens, line.amount_micro) == (2, 2_000_000, 1_500_000)


def test_of_two_records_of_one_request_that_with_more_tokens_counts(book: UsageBook) -> None:
    put(book, used("a", 10, ended="died"))
    put(book, used("a", 500))
    put(book, used("a", 20))
    (line,) = invoice(book, ACME, [], "2026-11", BEGIN_S).statements[0].lines
    assert (line.requests, line.prompt_tokens) == (1, 500)
    assert json.loads(book.row("a")["record"])["ended"] == "whole"


def test_a_month_ends_where_the_next_begins(book: UsageBook) -> None:
    put(book, used("first", day=0.0), used("last", day=29.999999), used("next", day=30.0))
    assert invoice(book, ACME, [], "2026-11", BEGIN_S).statements[0].lines[0].requests == 2
    assert invoice(book, ACME, [], "2026-12", BEGIN_S).statements[0].lines[0].requests == 1


def test_draft_until_the_month_has_ended(book: UsageBook) -> None:
    assert invoice(book, ACME, [], "2026-11", BEGIN_S + 29 * DAY_S).draft
    assert not invoice(book, ACME, [], "2026-11", BEGIN_S + 30 * DAY_S).draft


def test_each_price_and_currency_has_its_line(book: UsageBook) -> None:
    put(book, used("a"))
    put(book, used("b"), terms=replace(PRICED, input_micro=300_000))
    put(book, used("c"), terms=replace(PRICED, currency="JPY", input_micro=10_500_000))
    found = invoice(book, ACME, [], "2026-11", BEGIN_S)
    assert [(s.currency, s.total_micro, s.due) for s in found.statements] == [
        ("USD", 1_650_000, "1.65"),
        ("JPY", 11_100_000, "11"),
    ]


def test_requests_that_used_nothing_are_on_no_invoice(book: UsageBook) -> None:
    put(book, used("refused", 0, status=403, ended="refused"))
    assert invoice(book, ACME, [], "2026-11", BEGIN_S).statements[0].lines == ()
    assert book.row("refused")["tenant"] == "acme"


def test_publisher_earns_its_share_of_everybody_credits_or_not(book: UsageBook) -> None:
    put(book, used("a"), replace(used("b"), tenant="other"))
    (statement,) = invoice(book, Tenant("maker"), [], "2026-11", BEGIN_S).statements
    (earning,) = statement.earnings
    assert (earning.requests, earning.gross_micro, earning.amount_micro) == (
        2,
        1_500_000,
        1_050_000,
    )
    assert (statement.lines, statement.due, statement.earned) == ((), "0.00", "1.05")


def grant(name: str, amount: float, first_day: float, last_day: float) -> Grant:
    start, end = BEGIN_S + first_day * DAY_S, BEGIN_S + last_day * DAY_S
    return Grant(name, "acme", "student", int(amount * MICRO), "USD", start, end)


def test_credits_cover_what_is_used_while_they_are_valid(book: UsageBook) -> None:
    put(book, used("before", day=1), used("within", day=5), used("after", day=9))
    given = [grant("g", 100.0, 4, 8)]
    (statement,) = invoice(book, ACME, given, "2026-11", BEGIN_S).statements
    assert (statement.total_micro, statement.credit_micro) == (2_250_000, 750_000)
    assert statement.due == "1.50"


def test_what_ends_first_is_used_first_and_earlier_months_count(book: UsageBook) -> None:
    put(book, used("a", day=5), used("b", day=35))
    given = [grant("long", 1.0, 0, 90), grant("short", 0.5, 0, 20)]
    november = invoice(book, ACME, given, "2026-11", BEGIN_S).statements[0]
    assert [(c.grant, c.amount_micro) for c in november.credits] == [
        ("short", 500_000),
        ("long", 250_000),
    ]
    december = invoice(book, ACME, given, "2026-12", BEGIN_S).statements[0]
    assert [(c.grant, c.amount_micro) for c in december.credits] == [("long", 750_000)]
    assert december.due == "0.00"


SPANS = st.tuples(st.integers(0, 30), st.integers(1, 30), st.integers(1, 10**6))
CHARGES = st.lists(st.tuples(st.integers(0, 59), st.integers(0, 10**12)), max_size=20)


@given(st.lists(SPANS, max_size=4), CHARGES)
def test_credits_never_give_more_than_they_are_or_than_was_used(
    spans: list[tuple[int, int, int]], charges: list[tuple[int, int]]
) -> None:
    grants = [
        Grant(f"g{n}", "a", "research", micro, "USD", float(start), float(start + days))
        for n, (start, days, micro) in enumerate(spans)
    ]

    def charged(begin_ms: int, end_ms: int) -> int:
        return sum(pico for at, pico in charges if begin_ms <= at * 1000 < end_ms)

    first = credits.apply(grants, 0, 30_000, charged)
    second = credits.apply(grants, 30_000, 60_000, charged)
    for a, b in zip(first, second, strict=True):
        assert 0 <= a.used_pico + b.used_pico <= a.grant.amount_micro * MICRO
    assert sum(use.used_pico for use in first) <= charged(0, 30_000)
    assert sum(use.used_pico for use in second) <= charged(30_000, 60_000)


def test_headroom_is_budget_and_credits_less_what_was_used(book: UsageBook) -> None:
    put(book, used("a", day=5))
    now_s = BEGIN_S + 6 * DAY_S
    poor = replace(ACME, quota=Quota(budget_micro=1_000_000))
    assert headroom_micro(book, ACME, [], "2026-11", now_s) is None
    assert headroom_micro(book, poor, [], "2026-11", now_s) == 250_000
    given = [grant("g", 2.0, 4, 20)]
    assert headroom_micro(book, poor, given, "2026-11", now_s) == 1_000_000 + 1_250_000
    ended = BEGIN_S + 21 * DAY_S
    assert headroom_micro(book, poor, given, "2026-11", ended) == 1_000_000
    assert headroom_micro(book, poor, given, "2026-12", BEGIN_S + 31 * DAY_S) == 1_000_000


def test_csv_and_json_say_the_same_amounts(book: UsageBook) -> None:
    put(book, used("a", 333_333))
    found = invoice(book, ACME, [grant("g", 0.1, 0, 20)], "2026-11", BEGIN_S).to_dict()
    rows = list(csv.DictReader(io.StringIO(render.as_csv(found))))
    assert [(row["kind"], row["amount"]) for row in rows] == [
        ("usage", "0.25"),
        ("credit", "-0.10"),
        ("due", "0.15"),
    ]
    plain = json.loads(render.as_json(found))
    assert plain["statements"][0]["lines"][0]["amount_micro"] == 250_000
    assert "acme-2026-11" in render.as_text(found)


def test_pdf_is_the_same_each_time_and_takes_japanese(book: UsageBook) -> None:
    from aigrid.store.billing.pdf import pdf

    put(book, replace(used("a"), service="日本語モデル"))
    found = invoice(book, ACME, [], "2026-11", BEGIN_S).to_dict()
    content = pdf(found)
    assert content.startswith(b"%PDF-") and content == pdf(found)
    assert b"HeiseiKakuGo-W5" in content
