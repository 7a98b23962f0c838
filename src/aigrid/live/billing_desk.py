"""The control plane's side of billing: takes usage in, once; says what is left; proves what ran."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aigrid.core.codec import from_plain, to_plain
from aigrid.core.errors import (
    AigridError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    UnavailableError,
)
from aigrid.core.package import canonical_json
from aigrid.core.tenancy import Grant, Tenant, Usage
from aigrid.live.audit import AuditError, Head, checked
from aigrid.live.tenancy import Tenancy, new_id
from aigrid.live.usage_log import EVENT_TYPE
from aigrid.store.billing import money
from aigrid.store.billing.book import Entry, Sum, Terms, UsageBook
from aigrid.store.billing.invoice import Invoice, headroom_micro, invoice
from aigrid.store.billing.months import bounds_ms, month_of
from aigrid.store.catalogue import PackageRecord

EVENTS_LIMIT = 1000
GATEWAY_SEEN_S = 10.0
GATEWAYS_LIMIT = 1024
HEADROOM_S = 30.0
CLOCK_AHEAD_S = 3600.0
TERMS_KEPT = 10_000
TOKENS_LIMIT = 10**12
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Headroom:
    """What is left of a tenant's money, reckoned anew now and then, counted down in between."""

    left_micro: int | None
    until_s: float
    revision: int
    month: str


@dataclass(slots=True)
class BillingDesk:
    """Books usage, and answers what was used.

    Attributes:
        tenancy: accounts and audit log.
        package: the store's record of a package, by digest.
        clock_s: monotonic.
    """

    tenancy: Tenancy
    package: Callable[[str], PackageRecord | None]
    clock_s: Callable[[], float] = time.monotonic
    book: UsageBook = field(init=False)
    _terms: dict[tuple[str, int], Terms] = field(default_factory=dict)
    _headrooms: dict[str, _Headroom] = field(default_factory=dict)
    _gateways: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.book = UsageBook(self.tenancy.accounts.database)
        self._catch_up()

    def _catch_up(self) -> None:
        """Book what the audit log has and the book has not: the process died in between."""
        seq, _ = self.book.audited()
        head = self.tenancy.audit.head
        if head.seq <= seq:
            return
        entries = []
        for line in checked(self.tenancy.audit.folder):
            if line["seq"] > seq and line["kind"] == "request":
                usage: Usage = from_plain(Usage, line["usage"], f"audit line {line['seq']}")
                entries.append(Entry(usage, self.terms(usage.package), line["seq"]))
        for start in range(0, len(entries), EVENTS_LIMIT):
            part = entries[start : start + EVENTS_LIMIT]
            self.book.put(part, part[-1].seq, "")
        self.book.put([], head.seq, head.hash)

    # -- usage ---------------------------------------------------------------------------------

    def take(self, gateway: str, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Book a gateway's records; when this returns they are on disk, and need not come again.

        A record that is none is written into the audit log as such: sending it again would not
        make it better.

        Returns:
            `acked`, the number of records; `gateways` that were heard of lately; `headroom` of
            tenants with a budget, in millionths.

        Raises:
            UnavailableError: the database is away; they are to be sent again.
            StorageError: they cannot be kept; they are to be sent again.
        """
        with self._lock:
            self.tenancy.accounts.recheck()
            records, odd = self._read(events)
            news = self.book.news(records) if records else []
            if odd:
                self.tenancy.audit.append("odd-usage", odd, self.tenancy.clock_s())
            self._book(gateway, news)
            return {
                "acked": len(events),
                "gateways": self._seen(gateway),
                "headroom": self.headroom(),
            }

    def _book(self, gateway: str, news: list[Usage]) -> None:
        if not news:
            return
        lines = [
            {"request_id": usage.request_id, "gateway": gateway, "usage": to_plain(usage)}
            for usage in news
        ]
        head = self.tenancy.audit.append("request", lines, self.tenancy.clock_s())
        first = head.seq - len(news) + 1
        revision = self.tenancy.accounts.revision()
        entries = [
            Entry(usage, self.terms(usage.package, revision), first + number)
            for number, usage in enumerate(news)
        ]
        self.book.put(entries, head.seq, head.hash)
        for entry in entries:
            self._count_down(entry)

    def _read(self, events: Sequence[dict[str, Any]]) -> tuple[list[Usage], list[dict[str, Any]]]:
        records, odd = [], []
        for event in events:
            try:
                records.append(_usage(event, self.tenancy.clock_s()))
            except AigridError as error:
                logger.warning("usage record is none: %s", error)
                odd.append({"error": str(error)[:500]})
        return records, odd

    def terms(self, digest: str, revision: int | None = None) -> Terms:
        """Price and publisher of a package; nothing is charged for one that is not known."""
        key = (digest, self.tenancy.accounts.revision() if revision is None else revision)
        if key not in self._terms:
            if len(self._terms) >= TERMS_KEPT:
                self._terms.clear()
            self._terms[key] = self._find_terms(digest)
        return self._terms[key]

    def _find_terms(self, digest: str) -> Terms:
        record = self.package(digest) if digest else None
        if record is None:
            return Terms()
        price = record.spec.price
        publisher = ("", 0)
        for tenant in self.tenancy.tenants():
            if record.name in tenant.publishes:
                publisher = (tenant.name, tenant.share_bp)
        return Terms(
            record.version,
            price.currency,
            money.price_micro(price.input_per_mtok),
            money.price_micro(price.output_per_mtok),
            *publisher,
        )

    def _seen(self, gateway: str) -> int:
        now_s = self.clock_s()
        self._gateways = {
            name: seen_s
            for name, seen_s in self._gateways.items()
            if now_s - seen_s < GATEWAY_SEEN_S
        }
        if len(self._gateways) < GATEWAYS_LIMIT:
            self._gateways[gateway] = now_s
        return len(self._gateways)

    # -- money ---------------------------------------------------------------------------------

    def headroom(self) -> dict[str, int | None]:
        """What is left of each tenant's budget and credits this month; None without a budget."""
        month = month_of(self.tenancy.clock_s())
        revision, now_s = self.tenancy.accounts.revision(), self.clock_s()
        found: dict[str, int | None] = {}
        for tenant in self.tenancy.tenants():
            kept = self._headrooms.get(tenant.name)
            if (
                kept is None
                or (kept.revision, kept.month) != (revision, month)
                or (kept.left_micro is not None and now_s > kept.until_s)
            ):
                kept = self._reckoned(tenant, kept, now_s, revision, month)
                self._headrooms[tenant.name] = kept
            if kept.left_micro is not None or tenant.quota.budget_micro >= 0:
                found[tenant.name] = kept.left_micro
        return found

    def _reckoned(
        self, tenant: Tenant, kept: _Headroom | None, now_s: float, revision: int, month: str
    ) -> _Headroom:
        """What is left, anew; while the database is away, as it was counted down."""
        try:
            return _Headroom(self._reckon(tenant, month), now_s + HEADROOM_S, revision, month)
        except UnavailableError:
            left_micro = kept.left_micro if kept is not None else None
            return _Headroom(left_micro, now_s, revision, month)

    def _reckon(self, tenant: Tenant, month: str) -> int | None:
        if tenant.quota.budget_micro < 0:
            return None
        grants = self.tenancy.accounts.grants(tenant.name)
        return headroom_micro(self.book, tenant, grants, month, self.tenancy.clock_s())

    def _count_down(self, entry: Entry) -> None:
        kept = self._headrooms.get(entry.usage.tenant)
        if kept is not None and kept.left_micro is not None:
            terms, usage = entry.terms, entry.usage
            pico = money.pico(
                usage.prompt_tokens, usage.completion_tokens, terms.input_micro, terms.output_micro
            )
            kept.left_micro -= -(-pico // 1_000_000)

    def give(self, grant: Grant) -> Grant:
        """Give credits from now on, or later.

        Raises:
            ConflictError: they would begin in the past, where invoices are written already.
        """
        if grant.starts_at_s < self.tenancy.clock_s() - 60.0:
            raise ConflictError("a grant cannot begin in the past", next_step="leave --from out")
        self.tenancy.accounts.add_grant(grant)
        self.tenancy.changed()
        return grant

    def sums(self, month: str, tenant: str = "") -> list[Sum]:
        """What was used in a month."""
        return self.book.sums(*bounds_ms(month), tenant=tenant)

    def invoice(self, tenant: str, month: str) -> Invoice:
        """A tenant's invoice; see `store.billing.invoice`.

        Raises:
            NotFoundError: no such tenant.
        """
        accounts = self.tenancy.accounts
        return invoice(
            self.book,
            accounts.tenant(tenant),
            accounts.grants(tenant),
            month,
            self.tenancy.clock_s(),
        )

    # -- proof ---------------------------------------------------------------------------------

    def verify(self) -> tuple[int, Head]:
        """Check the audit log to its end, and that it holds all that the book knows of.

        Returns:
            number of lines, and the head.

        Raises:
            AuditError: see `live.audit.checked`.
        """
        head = self.tenancy.audit.head
        count = sum(1 for _ in checked(self.tenancy.audit.folder, self._kept_head()))
        return count, head

    def _kept_head(self) -> Head:
        """The head that the database keeps; the log may have gone on since."""
        seq, said = self.book.audited()
        return Head(seq, said) if said else Head()

    def owner(self, request_id: str) -> str:
        """Whose request it was.

        Raises:
            NotFoundError: nothing is known of it.
        """
        row = self.book.row(request_id)
        if not row:
            raise NotFoundError(
                f"no record of request {request_id!r}",
                next_step="take the id from x-request-id; gateways report within seconds",
            )
        return str(row["tenant"])

    def prove(self, request_id: str) -> dict[str, Any]:
        """Where a request ran and under which rule, and that this stands in an unbroken log.

        Raises:
            NotFoundError: nothing is known of it.
            AuditError: the log is broken, or says something else than the book.
        """
        self.owner(request_id)
        row, found, amended = self.book.row(request_id), dict[str, Any](), []
        last = Head()
        for line in checked(self.tenancy.audit.folder, self._kept_head()):
            last = Head(line["seq"], line["hash"])
            if line["kind"] == "request" and line["request_id"] == request_id:
                if line["seq"] == row["audit_seq"]:
                    found = line
                else:
                    amended.append(line["seq"])
        if not found or canonical_json(found["usage"]).decode() != row["record"]:
            raise AuditError(
                f"line {row['audit_seq']} does not say what is booked for request {request_id!r}",
                next_step="compare the database and the log with a backup",
            )
        return {
            "request_id": request_id,
            "record": found["usage"],
            "line": {name: found[name] for name in ("seq", "at_s", "prev", "hash")},
            "earlier_lines": amended,
            "chain": {"lines": last.seq, "head": last.hash, "verified": True},
        }


def _usage(event: Any, now_s: float) -> Usage:
    if not isinstance(event, dict) or event.get("specversion") != "1.0":
        raise InvalidRequestError(f"no CloudEvent 1.0: {str(event)[:80]!r}")
    if event.get("type") != EVENT_TYPE:
        raise InvalidRequestError(f"event type {event.get('type')!r}")
    usage: Usage = from_plain(Usage, event.get("data"), "usage record")
    if usage.request_id != event.get("id") or not 0 < len(usage.request_id) <= 128:
        raise InvalidRequestError(f"event {str(event.get('id'))[:80]!r} is about another request")
    used = usage.prompt_tokens, usage.completion_tokens
    if not 0 <= min(used) <= max(used) <= TOKENS_LIMIT:
        raise InvalidRequestError(f"event {usage.request_id!r}: an odd number of tokens")
    if not 0.0 <= usage.at_s < 1e11:
        raise InvalidRequestError(f"event {usage.request_id!r}: time {usage.at_s}")
    if usage.at_s > now_s + CLOCK_AHEAD_S:  # a clock that is wrong makes no request free
        return replace(usage, at_s=now_s)
    return usage


def new_grant(
    tenant: str, purpose: str, amount_micro: int, currency: str, start_s: float, end_s: float
) -> Grant:
    """A grant with a name of its own."""
    return Grant(new_id("grant"), tenant, purpose, amount_micro, currency, start_s, end_s)
