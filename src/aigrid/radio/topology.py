"""The sites of a grid and the load that their cells see, as topology files say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aigrid.core.errors import ConfigurationError
from aigrid.core.site import Site
from aigrid.core.topology import check_sites, site_from_dict
from aigrid.radio.profile import ConstantLoad, DailyLoad, LoadProfile, StepLoad

Profile = ConstantLoad | StepLoad | DailyLoad
_PROFILE: TypeAdapter[Profile] = TypeAdapter(LoadProfile)


@dataclass(frozen=True, slots=True)
class PlannedSite:
    """A site, and the load that its cells see; None where it has no radio."""

    site: Site
    profile: Profile | None = None


def sites_from_file(raw: Any, origin: str) -> tuple[PlannedSite, ...]:
    """The sites of a topology file: `sites:`, and maybe `name:`.

    Raises:
        ConfigurationError: it holds something unknown or impossible.
    """
    if not isinstance(raw, dict) or set(raw) - {"name", "sites"} or "sites" not in raw:
        raise ConfigurationError(
            f"{origin}: expected `sites:` (and maybe `name:`) at the top",
            next_step="see scenarios/local.yaml",
        )
    return read_sites(raw["sites"], origin)


def read_sites(raw: Any, origin: str) -> tuple[PlannedSite, ...]:
    """Sites, each with the fields of `core.site.Site` and, for towers, `profile:`.

    Raises:
        ConfigurationError: see `sites_from_file`.
    """
    if not isinstance(raw, list) or not raw:
        raise ConfigurationError(f"{origin}: sites must be a list of one or more")
    planned = tuple(_read_site(item, f"{origin}: sites[{i}]") for i, item in enumerate(raw))
    check_sites([p.site for p in planned], origin)
    return planned


def _read_site(raw: Any, origin: str) -> PlannedSite:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{origin}: expected an object, got {raw!r}")
    site = site_from_dict({k: v for k, v in raw.items() if k != "profile"}, origin)
    return PlannedSite(site, _read_profile(raw.get("profile"), site, origin))


def _read_profile(raw: Any, site: Site, origin: str) -> Profile | None:
    if raw is None:
        return DailyLoad(kind="daily") if site.cells else None
    if not site.cells:
        raise ConfigurationError(
            f"{origin}: profile without cells", next_step="add cells or leave it out"
        )
    try:
        return _PROFILE.validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{origin}: profile {where}: {first['msg']}") from error
