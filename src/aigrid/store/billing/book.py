"""The book of usage: one row a request, however often its record came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select

from aigrid.core.codec import to_plain
from aigrid.core.package import canonical_json
from aigrid.core.tenancy import Usage
from aigrid.store.account_tables import USAGE
from aigrid.store.accounts import read_mark, set_mark
from aigrid.store.database import Database

AUDITED = "audit"
IDS_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Terms:
    """What a package costs, and who made it, when a record came in.

    Attributes:
        version: of the package.
        currency: of the prices.
        input_micro: a million tokens of prompts, in millionths.
        output_micro: a million tokens of answers.
        publisher: tenant who made the package; empty where nobody is known.
        share_bp: the publisher's part, in hundredths of a percent.
    """

    version: str = ""
    currency: str = "USD"
    input_micro: int = 0
    output_micro: int = 0
    publisher: str = ""
    share_bp: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A record that is to be booked.

    Attributes:
        usage: it.
        terms: of what answered.
        seq: its line in the audit log.
    """

    usage: Usage
    terms: Terms
    seq: int


@dataclass(frozen=True, slots=True)
class Sum:
    """What was used of one version at one price.

    Attributes:
        tenant: who used it.
        terms: prices and publisher.
        service: the model.
        requests: that used tokens.
        prompt_tokens: of all of them.
        completion_tokens: of all of them.
    """

    tenant: str
    service: str
    terms: Terms
    requests: int
    prompt_tokens: int
    completion_tokens: int


class UsageBook:
    """Rows of usage in a database.

    Args:
        database: of the accounts.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def news(self, records: Iterable[Usage]) -> list[Usage]:
        """Records that say more than the book: unknown requests, or more tokens of known ones.

        Of several records of one request that with most tokens stays.
        """
        best: dict[str, Usage] = {}
        for usage in records:
            if usage.request_id not in best or _tokens(usage) > _tokens(best[usage.request_id]):
                best[usage.request_id] = usage
        ids, known = list(best), dict[str, int]()
        with self._database.transaction() as connection:
            for start in range(0, len(ids), IDS_LIMIT):
                asked = select(
                    USAGE.c.request_id, USAGE.c.prompt_tokens + USAGE.c.completion_tokens
                ).where(USAGE.c.request_id.in_(ids[start : start + IDS_LIMIT]))
                known |= {row[0]: int(row[1]) for row in connection.execute(asked)}
        return [usage for name, usage in best.items() if _tokens(usage) > known.get(name, -1)]

    def put(self, entries: Sequence[Entry], seq: int, said: str) -> None:
        """Book records, each once, and how far the audit log has come."""
        with self._database.transaction() as connection:
            if entries:
                made = self._database.insert(USAGE)
                new = made.excluded
                more = new.prompt_tokens + new.completion_tokens > (
                    USAGE.c.prompt_tokens + USAGE.c.completion_tokens
                )
                changed = {
                    name: new[name]
                    for name in ("prompt_tokens", "completion_tokens", "audit_seq", "record")
                }
                made = made.on_conflict_do_update(
                    index_elements=["request_id"], set_=changed, where=more
                )
                connection.execute(made, [_row(entry) for entry in entries])
            set_mark(connection, self._database, AUDITED, seq, said)

    def audited(self) -> tuple[int, str]:
        """Number and hash of the last line of the audit log that this book knows."""
        with self._database.transaction() as connection:
            return read_mark(connection, AUDITED)

    def row(self, request_id: str) -> dict[str, Any]:
        """What is booked for a request; empty where nothing is."""
        asked = select(USAGE).where(USAGE.c.request_id == request_id)
        with self._database.transaction() as connection:
            found = connection.execute(asked).mappings().first()
        return dict(found) if found is not None else {}

    def sums(
        self, begin_ms: int, end_ms: int, *, tenant: str = "", publisher: str = ""
    ) -> list[Sum]:
        """What was used from `begin_ms` until before `end_ms`, in a fixed order."""
        by = [
            USAGE.c[name]
            for name in ("tenant", "service", "version", "currency", "input_micro",
                         "output_micro", "publisher", "share_bp")
        ]  # fmt: skip
        prompt, made = func.sum(USAGE.c.prompt_tokens), func.sum(USAGE.c.completion_tokens)
        asked = select(*by, func.count(), prompt, made).group_by(*by).order_by(*by)
        asked = asked.where(USAGE.c.at_ms >= begin_ms, USAGE.c.at_ms < end_ms)
        asked = asked.where(or_(USAGE.c.prompt_tokens > 0, USAGE.c.completion_tokens > 0))
        if tenant:
            asked = asked.where(USAGE.c.tenant == tenant)
        if publisher:
            asked = asked.where(USAGE.c.publisher == publisher)
        with self._database.transaction() as connection:
            rows = connection.execute(asked).all()
        return [
            Sum(row[0], row[1], Terms(*row[2:8]), int(row[8]), int(row[9]), int(row[10]))
            for row in rows
        ]


def _tokens(usage: Usage) -> int:
    return usage.prompt_tokens + usage.completion_tokens


def _row(entry: Entry) -> dict[str, Any]:
    usage, terms = entry.usage, entry.terms
    return {
        "request_id": usage.request_id,
        "tenant": usage.tenant,
        "at_ms": int(usage.at_s * 1000),
        "service": usage.service.replace("\0", "\ufffd"),  # PostgreSQL keeps none
        "version": terms.version,
        "currency": terms.currency,
        "input_micro": terms.input_micro,
        "output_micro": terms.output_micro,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "publisher": terms.publisher,
        "share_bp": terms.share_bp,
        "audit_seq": entry.seq,
        "record": canonical_json(to_plain(usage)).decode(),
    }
