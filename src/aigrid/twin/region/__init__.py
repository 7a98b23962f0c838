"""A region request by request: every arrival, prefill, first and last token an event."""
