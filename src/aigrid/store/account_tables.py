"""The tables of accounts, usage and billing."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, Table, Text

SCHEMA_VERSION = 1
METADATA = MetaData()

TENANT = Table(
    "tenant",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("suspended", Boolean, nullable=False),
    Column("terms", Text, nullable=False),  # the other fields of core.tenancy.Tenant, as JSON
)

KEY = Table(
    "api_key",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("role", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("shown", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("created_at_s", Float, nullable=False),
    Column("expires_at_s", Float, nullable=False),
    Column("revoked_at_s", Float, nullable=False),
)

GRANT = Table(
    "credit_grant",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False, index=True),
    Column("purpose", Text, nullable=False),
    Column("amount_micro", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("starts_at_s", Float, nullable=False),
    Column("ends_at_s", Float, nullable=False),
)

# One row a request: what it used, and the price and share in force when it came in.
USAGE = Table(
    "usage",
    METADATA,
    Column("request_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("service", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("input_micro", BigInteger, nullable=False),  # price of a million tokens
    Column("output_micro", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("publisher", Text, nullable=False),
    Column("share_bp", Integer, nullable=False),
    Column("audit_seq", BigInteger, nullable=False),
    Column("record", Text, nullable=False),  # core.tenancy.Usage as canonical JSON
    Index("usage_of_tenant", "tenant", "at_ms"),
    Index("usage_of_publisher", "publisher", "at_ms"),
)

# Single numbers: the revision of what gateways hold, and how far the audit log has come.
MARK = Table(
    "mark",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("said", Text, nullable=False),
)
