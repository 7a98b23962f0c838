"""An invoice as text, CSV and JSON; the input is `Invoice.to_dict`."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

MICRO = 1_000_000
COLUMNS = ("invoice", "kind", "service", "version", "detail", "requests", "prompt_tokens",
           "completion_tokens", "input_per_mtok", "output_per_mtok", "amount",
           "currency")  # fmt: skip


def as_json(invoice: dict[str, Any]) -> str:
    """As it is; amounts ending in `_micro` are millionths."""
    return json.dumps(invoice, indent=2, ensure_ascii=False) + "\n"


def as_csv(invoice: dict[str, Any]) -> str:
    """One row a line, a credit, an earning and a total; amounts as exact decimals."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for statement in invoice["statements"]:
        for row in _csv_rows(statement):
            writer.writerow({"invoice": invoice["number"], "currency": statement["currency"]} | row)
    return out.getvalue()


def _csv_rows(statement: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for line in statement["lines"]:
        row = {name: line[name] for name in COLUMNS if name in line}
        row |= {
            "kind": "usage",
            "input_per_mtok": decimal(line["input_micro"]),
            "output_per_mtok": decimal(line["output_micro"]),
            "amount": decimal(line["amount_micro"]),
        }
        rows.append(row)
    rows += [
        {
            "kind": "credit",
            "detail": f"{credit['purpose']} {credit['grant']}",
            "amount": decimal(-credit["amount_micro"]),
        }
        for credit in statement["credits"]
    ]
    rows.append({"kind": "due", "amount": statement["due"]})
    for earning in statement["earnings"]:
        rows.append(
            {
                "kind": "earning",
                "service": earning["service"],
                "version": earning["version"],
                "detail": f"{percent(earning['share_bp'])} of {decimal(earning['gross_micro'])}",
                "requests": earning["requests"],
                "amount": decimal(earning["amount_micro"]),
            }
        )
    if statement["earnings"]:
        rows.append({"kind": "earned", "amount": statement["earned"]})
    return rows


def as_text(invoice: dict[str, Any]) -> str:
    """For a terminal."""
    draft = "  (draft: the month has not ended)" if invoice["draft"] else ""
    lines = [f"invoice {invoice['number']}{draft}"]
    for statement in invoice["statements"]:
        lines += ["", *_text_lines(statement)]
    return "\n".join(lines) + "\n"


def _text_lines(statement: dict[str, Any]) -> list[str]:
    currency = statement["currency"]
    rows = []
    for line in statement["lines"]:
        tokens = f"{line['prompt_tokens']:,} in, {line['completion_tokens']:,} out"
        price = f"at {decimal(line['input_micro'])} and {decimal(line['output_micro'])} a million"
        what = f"{line['service']}:{line['version']}, {line['requests']:,} requests"
        rows.append((f"{what}: {tokens} tokens {price}", decimal(line["amount_micro"])))
    rows += [
        (f"free credits ({credit['purpose']}, {credit['grant']})",
         decimal(-credit["amount_micro"]))
        for credit in statement["credits"]
    ]  # fmt: skip
    rows.append((f"due in {currency}, taxes left out", statement["due"]))
    for earning in statement["earnings"]:
        share = f"{percent(earning['share_bp'])} of {decimal(earning['gross_micro'])}"
        what = f"earned by {earning['service']}:{earning['version']}"
        rows.append((f"{what}: {share}", decimal(earning["amount_micro"])))
    if statement["earnings"]:
        rows.append((f"earned in {currency}, paid apart", statement["earned"]))
    left = max(len(row[0]) for row in rows)
    right = max(len(row[1]) for row in rows)
    return [f"{what.ljust(left)}  {amount.rjust(right)}" for what, amount in rows]


def decimal(micro: int) -> str:
    """Millionths as an exact decimal, with at least 2 digits behind the point."""
    value = Decimal(micro) / MICRO
    return str(value.quantize(Decimal("0.01")) if value * 100 % 1 == 0 else value.normalize())


def percent(share_bp: int) -> str:
    """Hundredths of a percent."""
    return f"{Decimal(share_bp) / 100:f}%".replace(".00%", "%")
