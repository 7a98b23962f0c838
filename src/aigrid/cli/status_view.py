"""The grid's status as a page for a terminal."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aigrid.core.site import SITE_KINDS

BAR_CELLS = 10
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_STATUS_STYLE = {"up": "green", "suspect": "yellow", "lost": "bold red", "down": "bold red"}
_STATE_STYLE = {"ready": "green", "starting": "yellow", "failed": "bold red"}


def status_view(status: dict[str, Any]) -> RenderableType:
    """The whole page: a headline, the sites, the services, and what failed."""
    failed = [_failure(site, replica) for site, replica in _failed(status)]
    return Group(_headline(status), _sites(status["sites"]), _services(status), *failed)


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without a frame."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def bar(fraction: float, style: str, cells: int = BAR_CELLS) -> Text:
    """A fraction from 0 to 1 as a bar in eighths of a cell, with its percentage."""
    eighths = round(min(max(fraction, 0.0), 1.0) * cells * 8)
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


def _sites(sites: list[dict[str, Any]]) -> Table:
    table = plain_table(
        "site", "kind", "status", "AI share", "radio load", "missed slots", "serves",
        "req/s", "tok/s",
        right=("missed slots", "req/s", "tok/s"),
    )  # fmt: skip
    for site in sorted(sites, key=_order):
        table.add_row(
            site["name"],
            site["kind"],
            _status(site),
            bar(site["share"], "cyan"),
            _radio_load(site["radio"]),
            _missed(site["radio"]),
            _replicas(site["replicas"]),
            f"{site['requests_per_s']:.1f}",
            f"{site['tokens_per_s']:,.0f}",
        )
    return table


def _order(site: dict[str, Any]) -> tuple[int, str]:
    """From the factory out to the towers, and by name."""
    kind = site["kind"]
    return SITE_KINDS.index(kind) if kind in SITE_KINDS else len(SITE_KINDS), site["name"]


def _status(site: dict[str, Any]) -> Text:
    word = str(site["status"])
    text = Text(word, style=_STATUS_STYLE.get(word, "yellow"))
    if site["restarts"]:
        text.append(f" ({site['restarts']} restarts)", style="yellow")
    return text


def _radio_load(radio: dict[str, Any] | None) -> Text:
    if radio is None:
        return Text("-", style="dim")
    load = float(radio["load"])
    return bar(load, "red" if load > 0.8 else "yellow" if load > 0.5 else "green")


def _missed(radio: dict[str, Any] | None) -> Text:
    if radio is None:
        return Text("-", style="dim")
    slots = radio["slots_on_time"] + radio["slots_missed"]
    style = "red" if radio["slots_missed"] else "green"
    return Text(f"{radio['slots_missed']:,} of {slots:,}", style=style)


def _replicas(replicas: list[dict[str, Any]]) -> Text:
    parts: list[Text] = []
    for replica in replicas:
        version = f":{replica['version']}" if replica["version"] else ""
        state = str(replica["state"])
        text = Text(f"{replica['service']}{version} ")
        text.append(state, style=_STATE_STYLE.get(state, "yellow"))
        busy = replica["running"] + replica["waiting"]
        parts.append(text.append(f" {busy} jobs" if busy else ""))
    return Text(", ").join(parts) if parts else Text("nothing", style="dim")


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
