"""`aigrid invoice`: what a tenant owes for a month."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click

from aigrid.cli.months import Month
from aigrid.cli.options import Setup, grid_options
from aigrid.cli.output import note, show
from aigrid.core.errors import ConfigurationError, StorageError


@click.command()
@click.argument("tenant")
@click.argument("month", type=Month())
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "json", "pdf"]),
    default="text",
    show_default=True,
)
@click.option("--out", type=click.Path(path_type=Path), help="Write it to a file (PDF: needed).")
@grid_options
def invoice(setup: Setup, tenant: str, month: str, form: str, out: Path | None) -> None:
    """Show what a tenant owes for a month.

    MONTH is YYYY-MM (UTC). What the tenant's packages earned it stands below.
    """
    from aigrid.live.client import ControlClient
    from aigrid.store.billing import render

    if form == "pdf" and out is None:
        raise ConfigurationError("a PDF is not text", next_step="name a file with --out FILE")
    path = f"/control/v1/invoices/{quote(tenant, safe='')}/{month}"
    found = ControlClient(setup.data).call("GET", path)
    if form == "pdf":
        from aigrid.store.billing.pdf import pdf

        content = pdf(found)
    else:
        renderers = {"csv": render.as_csv, "json": render.as_json, "text": render.as_text}
        if setup.as_json:
            form = "json"
        content = renderers[form](found).encode()
    if out is None:
        show(setup, found, content.decode().rstrip("\n"))
        return
    try:
        out.write_bytes(content)
    except OSError as error:
        raise StorageError(f"{out}: {error.strerror}", next_step="name another --out") from error
    note(f"wrote {out}")
