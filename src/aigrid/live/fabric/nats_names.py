"""Names that the grid uses in NATS JetStream.

Reports (heartbeats, demand, counters) are messages of one stream; what is wanted of a site and the
routing table are keys of a key-value bucket; packages and large routing tables are objects of
object stores. NATS documentation: JetStream streams, key-value store, object store (docs.nats.io).
"""

from __future__ import annotations

REPORTS = "AIGRID_REPORTS"
REPORT_SUBJECTS = "aigrid.report.>"
REPORT_AGE_S = 30.0
REPORTS_LIMIT_BYTES = 64 * 1024 * 1024
DESIRED = "aigrid_desired"
ROUTES_KEY = "routes"
KV_SUBJECT = "$KV.{bucket}.{key}"
PACKAGES = "aigrid_packages"
ROUTES = "aigrid_routes"
INLINE_LIMIT_BYTES = 512 * 1024  # below the server's default message limit of 1 MiB


def token(name: str) -> str:
    """A site's name as one token of a subject or key: other characters as `=XX`."""
    plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    return "".join(chr(b) if chr(b) in plain else f"={b:02X}" for b in name.encode())


def report_subject(kind: str, sender: str) -> str:
    """Subject of one sender's reports of a kind."""
    return f"aigrid.report.{kind}.{token(sender)}"


def orders_key(site: str) -> str:
    """Key of what is wanted of a site."""
    return f"site.{token(site)}"


def kv_stream(bucket: str) -> str:
    """The stream behind a key-value bucket (NATS ADR-8)."""
    return f"KV_{bucket}"


def object_stream(bucket: str) -> str:
    """The stream behind an object store (NATS ADR-20)."""
    return f"OBJ_{bucket}"
