"""Who may say and hear what on NATS.

The control plane, with its streams, is in one account; gateways and sites are in another, and
reach of the first only what it exports: reports, and reading single messages of three streams. So
an answer that a member lets be sent to another subject ends in the members' account, where nothing
keeps it. NATS documentation, "Multi Tenancy using Accounts" and "Authorization".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aigrid.core.errors import InvalidRequestError
from aigrid.live.fabric.nats_names import (
    DESIRED,
    KV_SUBJECT,
    PACKAGES,
    ROUTES,
    ROUTES_KEY,
    kv_stream,
    object_stream,
    orders_key,
    report_subject,
)

READ = "$JS.API.DIRECT.GET"
SITE_KINDS = ("join", "heartbeat", "leave")
GATEWAY_KINDS = ("unreachable", "gateway", "demand")
EXPORTS = (
    "aigrid.report.*.*",
    f"{READ}.{kv_stream(DESIRED)}.>",
    f"{READ}.{object_stream(PACKAGES)}",
    f"{READ}.{object_stream(PACKAGES)}.>",
    f"{READ}.{object_stream(ROUTES)}",
    f"{READ}.{object_stream(ROUTES)}.>",
)


@dataclass(frozen=True, slots=True)
class Rights:
    """Subjects of one user.

    Attributes:
        publish: that it may send to.
        subscribe: that it may listen to.
    """

    publish: Sequence[str]
    subscribe: Sequence[str]


def inbox(public: str) -> str:
    """Where answers to a user come: to no other user's."""
    return f"_INBOX.{public}"


def rights_of(role: str, name: str, public: str) -> Rights:
    """What a user may.

    Args:
        role: `control`, `gateway` or `site`.
        name: of the site or gateway.
        public: its key.
    """
    if role == "control":
        return Rights((">",), (">",))
    heard = (f"{inbox(public)}.>",)
    if role == "gateway":
        return Rights(_reports(GATEWAY_KINDS, name) + _key(ROUTES_KEY) + _objects(ROUTES), heard)
    return Rights(_reports(SITE_KINDS, name) + _key(orders_key(name)) + _objects(PACKAGES), heard)


def _reports(kinds: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(report_subject(kind, name) for kind in kinds)


def _key(key: str) -> tuple[str, ...]:
    return (f"{READ}.{kv_stream(DESIRED)}.{KV_SUBJECT.format(bucket=DESIRED, key=key)}",)


def _objects(bucket: str) -> tuple[str, ...]:
    return (f"{READ}.{object_stream(bucket)}", f"{READ}.{object_stream(bucket)}.>")


def subject_of(kind: str, body: Any) -> str:
    """The site that a site's report is about.

    Args:
        kind: one of `SITE_KINDS`.
        body: of the report.

    Raises:
        InvalidRequestError: it names none.
    """
    try:
        if kind == "join":
            return str(body["site"]["name"])
        return str(body["beat"]["site"] if kind == "heartbeat" else body["site"])
    except (KeyError, TypeError) as error:
        raise InvalidRequestError(f"report {kind}: {error!r} is missing") from error
