"""An invoice as PDF.

The fonts are Adobe's Japanese CID fonts: every reader has them, none is embedded, and names in
Japanese are shown as they are. The same invoice gives the same bytes.
"""

from __future__ import annotations

import io
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from aigrid.store.billing.render import decimal, percent

FONT = "HeiseiKakuGo-W5"
_TEXT = ParagraphStyle("text", fontName=FONT, fontSize=9, leading=13)
_HEAD = ParagraphStyle("head", parent=_TEXT, fontSize=16, leading=22)
_RIGHT = ParagraphStyle("right", parent=_TEXT, alignment=2)
_WIDTHS = [64 * mm, 20 * mm, 26 * mm, 26 * mm, 34 * mm]


def pdf(invoice: dict[str, Any]) -> bytes:
    """The pages; the input is `store.billing.invoice.Invoice.to_dict`."""
    pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    out = io.BytesIO()
    title = f"Invoice {invoice['number']}"
    document = SimpleDocTemplate(
        out, pagesize=A4, title=title, author="aigrid", invariant=1,
        leftMargin=20 * mm, rightMargin=20 * mm, topMargin=20 * mm, bottomMargin=20 * mm,
    )  # fmt: skip
    story: list[Any] = [Paragraph(escape(title), _HEAD)]
    if invoice["draft"]:
        story.append(Paragraph("Draft: the month has not ended.", _TEXT))
    month = f"Tenant {invoice['tenant']}, {invoice['month']} (UTC)"
    story += [Paragraph(escape(month), _TEXT), Spacer(1, 6 * mm)]
    for statement in invoice["statements"]:
        story += [_table(_used(statement)), Spacer(1, 6 * mm)]
        if statement["earnings"]:
            story += [_table(_earned(statement)), Spacer(1, 6 * mm)]
    story.append(Paragraph("Taxes are left out. Rounding: docs/BILLING.md.", _TEXT))
    document.build(story)
    return out.getvalue()


def _used(statement: dict[str, Any]) -> list[list[str]]:
    currency = statement["currency"]
    rows = [["Service", "Requests", "Tokens in", "Tokens out", f"Amount ({currency})"]]
    rows += [
        [
            f"{line['service']}:{line['version']} "
            f"({decimal(line['input_micro'])} in, {decimal(line['output_micro'])} out a million)",
            f"{line['requests']:,}",
            f"{line['prompt_tokens']:,}",
            f"{line['completion_tokens']:,}",
            decimal(line["amount_micro"]),
        ]
        for line in statement["lines"]
    ]
    rows += [
        [f"Free credits: {credit['purpose']}", "", "", "", decimal(-credit["amount_micro"])]
        for credit in statement["credits"]
    ]
    return [*rows, ["Due", "", "", "", statement["due"]]]


def _earned(statement: dict[str, Any]) -> list[list[str]]:
    rows = [["Earned by", "Requests", "Gross", "Share", f"Amount ({statement['currency']})"]]
    rows += [
        [
            f"{earning['service']}:{earning['version']}",
            f"{earning['requests']:,}",
            decimal(earning["gross_micro"]),
            percent(earning["share_bp"]),
            decimal(earning["amount_micro"]),
        ]
        for earning in statement["earnings"]
    ]
    return [*rows, ["Earned, paid apart", "", "", "", statement["earned"]]]


def _table(rows: list[list[str]]) -> Table:
    cells = [
        [Paragraph(escape(cell), _RIGHT if column else _TEXT) for column, cell in enumerate(row)]
        for row in rows
    ]
    lines = TableStyle(
        [
            ("LINEBELOW", (0, 0), (-1, 0), 0.8, colors.black),
            ("LINEABOVE", (0, -1), (-1, -1), 0.8, colors.black),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ]
    )
    return Table(cells, colWidths=_WIDTHS, style=lines, repeatRows=1)
