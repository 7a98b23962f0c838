"""The sites of a grid as plain values: what a topology file says under `sites:`.

Both worlds load such files; reading the file is theirs, what the values mean stands here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aigrid.core.codec import from_plain
from aigrid.core.errors import ConfigurationError
from aigrid.core.site import Site

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def site_from_dict(raw: Any, origin: str) -> Site:
    """A site from the fields of `core.site.Site`.

    Args:
        raw: plain values, as YAML or JSON gives them.
        origin: file and place in it, for the error's message.

    Raises:
        ConfigurationError: an unknown or missing key, a wrong type, or an impossible value.
    """
    site: Site = from_plain(Site, raw, origin)
    if not NAME_PATTERN.fullmatch(site.name):
        raise ConfigurationError(
            f"{origin}: site name {site.name!r}",
            next_step="use letters, digits, - and _, at most 63, a letter or digit first",
        )
    return site


def check_sites(sites: Sequence[Site], origin: str) -> None:
    """Refuse sites that cannot stand in one grid.

    Raises:
        ConfigurationError: a name twice, a parent that is not there, or parents in a circle.
    """
    parents: dict[str, str] = {}
    for site in sites:
        if site.name in parents:
            raise ConfigurationError(f"{origin}: site {site.name!r} stands there twice")
        parents[site.name] = site.parent
    for name, parent in parents.items():
        if parent and parent not in parents:
            raise ConfigurationError(
                f"{origin}: parent {parent!r} of {name!r} is not there",
                next_step=f"sites: {', '.join(list(parents)[:20])}",
            )
        _check_rooted(name, parents, origin)


def _check_rooted(name: str, parents: dict[str, str], origin: str) -> None:
    above, seen = parents[name], {name}
    while above:
        if above in seen:
            raise ConfigurationError(
                f"{origin}: the parents of {name!r} go round in a circle",
                next_step="leave `parent` out at the topmost site",
            )
        seen.add(above)
        above = parents.get(above, "")
