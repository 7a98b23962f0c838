"""The grid's status as a page for a terminal."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aigrid.cli.rollout import sentence
from aigrid.core.site import SITE_KINDS

BAR_CELLS = 10
NARROW_BAR_CELLS = 3
WIDE_COLUMNS = 112
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_STATUS_STYLE = {"up": "green", "suspect": "yellow", "lost": "bold red", "down": "bold red"}
_STATE_STYLE = {"ready": "green", "starting": "yellow", "failed": "bold red"}


def status_view(status: dict[str, Any], columns: int = WIDE_COLUMNS) -> RenderableType:
    """The whole page: a headline, the sites, the services, and what failed.

    Args:
        status: as the control plane tells it.
        columns: width of the terminal; under `WIDE_COLUMNS` the page says less, and fits in 80.
    """
    failed = [_failure(site, replica) for site, replica in _failed(status)]
    sites = _sites(status["sites"], is_wide=columns >= WIDE_COLUMNS)
    trials = [Text(sentence(row)) for row in status.get("rollouts", [])]
    return Group(_headline(status), "", sites, "", _services(status), *trials, *failed)


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without a frame."""
    gap = (0, 1, 0, 0)
    table = Table(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=gap, header_style="bold"
    )
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def bar(fraction: float, style: str, cells: int = BAR_CELLS) -> Text:
    """A fraction from 0 to 1 as a bar in eighths of a cell, with its percentage."""
    fraction = min(max(fraction, 0.0), 1.0)
    eighths = round(fraction * cells * 8)
    drawn = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
    return Text.assemble((drawn.ljust(cells, "░"), style), f" {fraction:4.0%}")


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s` or `2 h 7 min`."""
    minutes, rest = divmod(int(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _headline(status: dict[str, Any]) -> Text:
    gateway = status["gateway"]
    return Text.assemble(
        (status["endpoint"], "bold cyan"),
        f"  up {duration(status['uptime_s'])}  routes v{status['routes_version']}\n",
        f"gateway  {gateway['requests_per_s']:.1f} req/s  {gateway['in_flight']} in flight  ",
        f"{gateway['requests_total']:,} requests  {gateway['retries_total']:,} retries  ",
        (f"{gateway['errors_total']:,} errors", "red" if gateway["errors_total"] else ""),
    )


def _sites(sites: list[dict[str, Any]], is_wide: bool) -> Table:
    rows = [_site_row(site, is_wide) for site in sorted(sites, key=_order)]
    names = [
        "site",
        "kind",
        "status",
        "AI share",
        "radio",
        "missed",
        "serves",
        "req/s",
        "tok/s",
    ]
    if not is_wide:
        names.remove("kind")
    table = plain_table(*names, right=("missed", "req/s", "tok/s"))
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return table


def _site_row(site: dict[str, Any], is_wide: bool) -> dict[str, RenderableType]:
    cells = BAR_CELLS if is_wide else NARROW_BAR_CELLS
    return {
        "site": str(site["name"]),
        "kind": str(site["kind"]),
        "status": _status(site),
        "AI share": bar(site["share"], "cyan", cells),
        "radio": _radio_load(site["radio"], cells),
        "missed": _missed(site["radio"], is_wide),
        "serves": _replicas(site["replicas"], is_wide),
        "req/s": f"{site['requests_per_s']:.1f}",
        "tok/s": f"{site['tokens_per_s']:,.0f}",
    }


def _order(site: dict[str, Any]) -> tuple[int, str]:
    """From the factory out to the towers, and by name."""
    kind = site["kind"]
    return SITE_KINDS.index(kind) if kind in SITE_KINDS else len(SITE_KINDS), site["name"]


def status_word(site: dict[str, Any]) -> str:
    """What somebody holds a site for, else how it is."""
    held = site.get("hold", "free")
    return str(site["status"] if held == "free" else held)


def _status(site: dict[str, Any]) -> Text:
    word = status_word(site)
    text = Text(word, style=_STATUS_STYLE.get(word, "yellow"))
    if site["restarts"]:
        text.append(f" ↻{site['restarts']}", style="yellow")
    return text


def _radio_load(radio: dict[str, Any] | None, cells: int) -> Text:
    if radio is None:
        return Text("-", style="dim")
    load = float(radio["load"])
    return bar(load, "red" if load > 0.8 else "yellow" if load > 0.5 else "green", cells)


def _missed(radio: dict[str, Any] | None, is_wide: bool) -> Text:
    if radio is None:
        return Text("-", style="dim")
    missed, slots = radio["slots_missed"], radio["slots_on_time"] + radio["slots_missed"]
    of_all = f" of {slots:,} slots" if is_wide else ""
    return Text(f"{missed:,}{of_all}", style="red" if missed else "green")


def _replicas(replicas: list[dict[str, Any]], is_wide: bool) -> Text:
    parts = [_replica(replica, is_wide) for replica in replicas]
    return Text(", ").join(parts) if parts else Text("nothing", style="dim")


def _replica(replica: dict[str, Any], is_wide: bool) -> Text:
    """`name:version state jobs`; a narrow page takes `ready` for granted."""
    version = f":{replica['version']}" if replica["version"] else ""
    state, busy = str(replica["state"]), replica["running"] + replica["waiting"]
    text = Text(f"{replica['service']}{version}")
    if is_wide or state != "ready":
        text.append(f" {state}", style=_STATE_STYLE.get(state, "yellow"))
    return text.append(f" {busy} jobs" if busy else "")


def _services(status: dict[str, Any]) -> RenderableType:
    if not status["services"]:
        return Text("nothing is deployed; `aigrid deploy NAME` serves a package", style="yellow")
    table = plain_table(
        "service", "version", "kind", "engine", "sites", "req/s", "tok/s", "digest",
        right=("sites", "req/s", "tok/s"),
    )  # fmt: skip
    for service in status["services"]:
        table.add_row(
            service["name"],
            service["version"],
            service["kind"],
            service["engine"],
            f"{service['ready_sites']} of {service['wanted_sites']}",
            f"{service['requests_per_s']:.1f}",
            f"{service['tokens_per_s']:,.0f}",
            service["digest"].removeprefix("sha256:")[:12],
        )
    return table


def _failed(status: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(s, r) for s in status["sites"] for r in s["replicas"] if r["error"]]


def _failure(site: dict[str, Any], replica: dict[str, Any]) -> Text:
    return Text(
        f"{site['name']} cannot serve {replica['service']}: {replica['error']}", style="red"
    )
