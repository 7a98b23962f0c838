"""The tables of accounts, usage and billing."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, Table

from aigrid.store.database import TEXT
from aigrid.store.schema import Part

METADATA = MetaData()
ACCOUNTS = Part("accounts", METADATA, version=1)

TENANT = Table(
    "tenant",
    METADATA,
    Column("name", TEXT, primary_key=True),
    Column("suspended", Boolean, nullable=False),
    Column("terms", TEXT, nullable=False),  # the other fields of core.tenancy.Tenant, as JSON
)

KEY = Table(
    "api_key",
    METADATA,
    Column("id", TEXT, primary_key=True),
    Column("tenant", TEXT, nullable=False, index=True),
    Column("role", TEXT, nullable=False),
    Column("digest", TEXT, nullable=False, unique=True),
    Column("shown", TEXT, nullable=False),
    Column("label", TEXT, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("expires_at_s", Float, nullable=False),
    Column("revoked_at_s", Float, nullable=False),
)

GRANT = Table(
    "credit_grant",
    METADATA,
    Column("id", TEXT, primary_key=True),
    Column("tenant", TEXT, nullable=False, index=True),
    Column("purpose", TEXT, nullable=False),
    Column("amount_micro", BigInteger, nullable=False),
    Column("currency", TEXT, nullable=False),
    Column("starts_at_s", Float, nullable=False),
    Column("ends_at_s", Float, nullable=False),
)

# One row a request: what it used, and the price and share in force when it came in.
USAGE = Table(
    "usage",
    METADATA,
    Column("request_id", TEXT, primary_key=True),
    Column("tenant", TEXT, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("service", TEXT, nullable=False),
    Column("version", TEXT, nullable=False),
    Column("currency", TEXT, nullable=False),
    Column("input_micro", BigInteger, nullable=False),  # price of a million tokens
    Column("output_micro", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("publisher", TEXT, nullable=False),
    Column("share_bp", Integer, nullable=False),
    Column("audit_seq", BigInteger, nullable=False),
    Column("record", TEXT, nullable=False),  # core.tenancy.Usage as canonical JSON
    Index("usage_of_tenant", "tenant", "at_ms"),
    Index("usage_of_publisher", "publisher", "at_ms"),
)

# Single numbers: the revision of what gateways hold, and how far the audit log has come.
MARK = Table(
    "mark",
    METADATA,
    Column("name", TEXT, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("said", TEXT, nullable=False),
)
