"""From usage records to invoices: exact, in integers. The rules stand in docs/BILLING.md."""
