"""Reads a country's scenario: YAML, and the tables of one's own that it names beside it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.build import Plan, build
from aigrid.twin.country.clock import seconds_of
from aigrid.twin.country.document import Document, Place
from aigrid.twin.country.japan import REGIONS
from aigrid.twin.country.loads import Loads, read_loads
from aigrid.twin.country.network import Network
from aigrid.twin.country.problems import OnRead, Problems, instead, shown
from aigrid.twin.country.scenario import Country, Money, NetworkPath, RadioModel
from aigrid.twin.country.services import service_of
from aigrid.twin.country.sites import Setting, Usual, read_sites
from aigrid.twin.country.tables import Source, sha256_of
from aigrid.twin.country.together import NO_LOAD, put_loads
from aigrid.twin.country.traces import Trace, trace_of
from aigrid.twin.models.device import Device
from aigrid.twin.models.devices import SHEET, known, radio_only
from aigrid.twin.models.service import Service
from aigrid.twin.models.shapes import RADIO_SHAPES
from aigrid.twin.policies import PLANS

TOWERS_LIMIT = 5_000_000
_NUMBERS = ("minutes", "route_period_min", "place_period_min", "demand_spread", "bursts")
_MORE = ("burst_factor", "burst_min", "queue_limit")
KEYS = {"name", "sites", "devices", "services", "radio_shapes", "radio", "path", "money"}
OPTIONAL = {*_NUMBERS, *_MORE, "policies", "dials", "sources", "radio_load"}
_WHOLE = ("minutes", "route_period_min", "place_period_min", "burst_min")
_DEVICE_TEXTS = ("name", "source")
_FILE_KEYS = {"columns", "ignore"}


def load_country(path: Path, seed: int, on_read: OnRead | None = None) -> Country:
    """A country's scenario.

    Args:
        path: of its YAML.
        seed: of the chance that places built-in sites.
        on_read: see `Problems`.

    Raises:
        ConfigurationError: the file, or one that it names, cannot be read, or holds something
            unknown or impossible; names the first problem and how many more there are.
    """
    problems = Problems(on_read=on_read)
    country = read_country(path, seed, problems)
    problems.raise_first(str(path))
    assert country is not None, "a country that is not there has a problem"
    return country


def read_country(path: Path, seed: int, problems: Problems) -> Country | None:
    """`load_country` that adds all that is wrong to `problems`; None where that is an error."""
    document = Document(path, problems)
    raw = document.read()
    if problems.errors and raw is None:
        return None
    if isinstance(raw, dict) and isinstance(raw.get("sites"), list):
        step = "give it to `aigrid up --topology`; docs/SCENARIOS.md shows a country"
        document.error(("sites",), "a list: this is a topology of a live grid", step)
        return None
    document.keys(raw, (), KEYS, OPTIONAL)
    if not isinstance(raw, dict):
        return None
    return _Reading(document, raw, seed).country()


@dataclass(slots=True)
class _Reading:
    """One scenario while it is read.

    Attributes:
        document: its YAML.
        raw: values of that.
        seed: of the built-in sites.
        curves: daily curves of services whose trace is a day or more.
        tables: own files that were read, to what they are for.
        given: name of a parameter that a table gave, to the table.
    """

    document: Document
    raw: dict[str, Any]
    seed: int
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    given: dict[str, Path] = field(default_factory=dict)

    def country(self) -> Country | None:
        """All of it; None where something is wrong."""
        document, raw = self.document, self.raw
        radio = self._record(RadioModel, "radio")
        path, money = self._record(NetworkPath, "path"), self._record(Money, "money")
        shapes = self._shapes()
        devices = self._devices()
        policies = self._policies()
        rest = self._numbers()
        dials = document.numbers(raw["dials"], ("dials",)) if "dials" in raw else {}
        self._check_dials(dials)
        sites = None
        if radio and devices and "sites" in raw:
            sites = self._sites(radio, devices, shapes)
        customers = float(sites[0].customers.sum()) if sites else math.nan
        services = self._services(customers)
        name = document.text(raw["name"], ("name",)) if "name" in raw else ""
        if document.problems.errors or sites is None or not (radio and path and money):
            return None
        network, devices, own_load = sites
        return Country(
            name=name,
            network=network,
            devices=devices,
            services=services,
            radio_shapes=shapes,
            radio=radio,
            path=path,
            money=money,
            policies=policies,
            dials=dials,
            sources=self._sources(),
            own_load=own_load,
            demand_curves=self.curves,
            files_sha256=self._identity(),
            **rest,
        )

    def _record(self, kind: Any, key: str) -> Any:
        return self.document.record(kind, self.raw[key], (key,)) if key in self.raw else None

    def _numbers(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in (*_NUMBERS, *_MORE):
            if key in self.raw:
                found[key] = self.document.number(self.raw[key], (key,))
                if key in _WHOLE and not (isinstance(self.raw[key], int) and found[key] >= 1):
                    what = f"{shown(self.raw[key])} is no whole number of 1 or more"
                    self.document.error((key,), what, "give minutes")
        return found

    def _shapes(self) -> tuple[str, ...]:
        if "radio_shapes" not in self.raw:
            return ()
        shapes = self.document.texts(self.raw["radio_shapes"], ("radio_shapes",))
        for at, name in enumerate(shapes):
            if name and name not in RADIO_SHAPES:
                step = instead(name, RADIO_SHAPES)
                self.document.error(("radio_shapes", at), f"unknown shape {shown(name)}", step)
        return shapes

    def _policies(self) -> tuple[str, ...]:
        if "policies" not in self.raw:
            return ("aigrid",)
        every = [plan.name for plan in PLANS]
        policies = self.document.texts(self.raw["policies"], ("policies",))
        for at, name in enumerate(policies):
            if name and name not in every:
                step = instead(name, every)
                self.document.error(("policies", at), f"unknown policy {shown(name)}", step)
        return policies

    def _check_dials(self, dials: dict[str, float]) -> None:
        from aigrid.control.policy import Policy

        every = Policy().to_dict()
        for name in dials:
            if name not in every:
                step = instead(name, every)
                self.document.error(("dials", name), "unknown dial", step)

    def _devices(self) -> tuple[Device, ...]:
        """Of towers, hubs and factories; names of the sheet, or objects with their figures."""
        if "devices" not in self.raw:
            return ()
        found: list[Device] = []
        items = self.document.items(self.raw["devices"], ("devices",))
        for at, item in enumerate(items):
            place: Place = ("devices", at)
            if isinstance(item, dict):
                own = self.document.record(Device, item, place, _DEVICE_TEXTS, ("preemption_ms",))
                found += [own] if own else []
            elif str(item) in SHEET:
                found.append(known(str(item)))
            else:
                step = f"{instead(str(item), SHEET)}; or write its figures, see docs/SCENARIOS.md"
                self.document.error(place, f"device {shown(item)} is not on the sheet", step)
        return tuple(found)

    def _sites(
        self, radio: RadioModel, devices: tuple[Device, ...], shapes: tuple[str, ...]
    ) -> tuple[Network, tuple[Device, ...], NDArray[np.float32]] | None:
        """Network, devices and own loads: one's own, or the built-in country's."""
        raw, document = self.raw["sites"], self.document
        if not isinstance(raw, dict) or "file" not in raw:
            if "radio_load" in self.raw:
                step = "give `sites: {file: sites.csv}` too, or leave it out"
                document.error(("radio_load",), "load of one's own, but built-in sites", step)
            plan = self._plan(raw)
            if plan is None or document.problems.errors:
                return None
            return build(plan, radio, shapes, self.seed), devices, NO_LOAD
        usual = self._usual(raw)
        loads, load_source = self._loads()
        source = self._source(raw, ("sites",), {f.name for f in fields(Usual)})
        if source is None or usual is None:
            return None
        extra = frozenset(loads.names) if loads and loads.by == "cell" else frozenset()
        names = tuple(device.name for device in devices)
        setting = Setting(names, (*shapes, *sorted(extra - set(shapes))), radio, usual)
        sites = read_sites(source, setting, document.problems)
        if sites is None or (load_source is not None and loads is None):
            return None
        network, own_load = put_loads(sites, len(shapes), loads, setting.shapes, document.problems)
        more = tuple(
            SHEET[name] if name in SHEET else self._bare(devices[0], network, row)
            for row, name in enumerate(sites.devices[len(devices) :], start=len(devices))
        )
        return network, (*devices, *more), own_load

    def _bare(self, tower: Device, network: Network, row: int) -> Device:
        """What towers have that do the radio alone, at the scenario's price of one."""
        money = self.raw.get("money")
        usd = money.get("radio_only_tower_usd") if isinstance(money, dict) else None
        mean = float(network.devices[network.device == row].mean())
        price = usd if isinstance(usd, int | float) else 0.0
        return radio_only(tower, price / max(mean, 1e-9))

    def _usual(self, raw: dict[str, Any]) -> Usual | None:
        own = {f.name for f in fields(Usual)}
        values = {key: value for key, value in raw.items() if key in own}
        return self.document.record(Usual, values, ("sites",), ("shape", "region"))

    def _loads(self) -> tuple[Loads | None, Source | None]:
        if "radio_load" not in self.raw:
            return None, None
        source = self._source(self.raw["radio_load"], ("radio_load",), set())
        if source is None:
            return None, None
        return read_loads(source, self.document.problems), source

    def _services(self, customers: float) -> tuple[Service, ...]:
        if "services" not in self.raw:
            return ()
        found: list[Service] = []
        for at, item in enumerate(self.document.items(self.raw["services"], ("services",))):
            trace, starts_s = None, math.nan
            place: Place = ("services", at)
            if isinstance(item, dict) and "trace" in item:
                trace, starts_s = self._trace(item["trace"], (*place, "trace"))
                if trace is None:
                    continue
            made = service_of(self.document, item, place, trace, starts_s, customers)
            if made is None:
                continue
            if made.service.name in [service.name for service in found]:
                what = f"a service {shown(made.service.name)} is there already"
                self.document.error((*place, "name"), what, "give each a name of its own")
            if made.curve is not None:
                self.curves[made.service.name] = made.curve
            if trace is not None:
                name = f"service {made.service.name}"
                self.given |= {f"{name}.{key}": Path(trace.origin) for key in made.from_trace}
            found.append(made.service)
        return tuple(found)

    def _trace(self, raw: Any, place: Place) -> tuple[Trace | None, float]:
        """A trace, and the time of day it starts at; NaN where neither says."""
        source = self._source(raw, place, {"starts"})
        trace = trace_of(source, self.document.problems) if source else None
        if trace is None or not isinstance(raw, dict) or "starts" not in raw:
            return trace, math.nan if trace is None else trace.start_s
        starts = raw["starts"]
        # YAML reads 09:30 as the number 570: sixty times 9 and 30.
        text = f"{starts // 60:02d}:{starts % 60:02d}" if isinstance(starts, int) else str(starts)
        seconds, wrong = seconds_of((text,))
        if wrong:
            self.document.error((*place, "starts"), f"{shown(starts)} is no time", "write '09:30'")
        return trace, float(seconds[0])

    def _source(self, raw: Any, place: Place, more: set[str]) -> Source | None:
        """A table beside the scenario: its name, or an object with that and names of columns."""
        given = raw if isinstance(raw, dict) else {"file": raw}
        if not self.document.keys(given, place, {"file"}, more | _FILE_KEYS):
            return None
        name = self.document.text(given["file"], (*place, "file"))
        if not name:
            return None
        path = self.document.path.parent / name
        if not path.is_file():
            what = f"no file {shown(name)} beside {self.document.path.name}"
            self.document.error(place, what, "give a path from the scenario's folder")
            return None
        columns = given.get("columns", {})
        if not isinstance(columns, dict):
            self.document.error((*place, "columns"), "no object", "write `ours: theirs` below it")
            columns = {}
        ignored = given.get("ignore", [])
        ignore = self.document.texts(ignored, (*place, "ignore")) if ignored else ()
        self.tables[str(path)] = ".".join(str(part) for part in place)
        return Source(path, {str(k): str(v) for k, v in columns.items()}, ignore)

    def _identity(self) -> str:
        """Digest of the contents of all tables; empty where there are none."""
        if not self.tables:
            return ""
        whole = hashlib.sha256()
        for path, use in self.tables.items():
            whole.update(f"{use} {sha256_of(Path(path))}\n".encode())
        return whole.hexdigest()

    def _sources(self) -> dict[str, str]:
        """Where numbers come from: as the scenario says, and the tables of one's own."""
        raw = self.raw.get("sources", {})
        said = {str(key): str(text) for key, text in raw.items()} if isinstance(raw, dict) else {}
        tables = {use: Path(path) for path, use in self.tables.items() if "." not in use}
        for key, path in (tables | self.given).items():
            said.setdefault(key, f"{path.name}, sha256 {sha256_of(path)[:12]}")
        return said

    def _plan(self, raw: Any) -> Plan | None:
        document, place = self.document, ("sites",)
        if isinstance(raw, dict) and "builtin" not in raw:
            step = "give `file: sites.csv`, or `builtin: japan`"
            document.error(place, "neither file nor builtin", step)
            return None
        keys = {f.name for f in fields(Plan)}
        if not document.keys(raw, place, {"builtin"}, keys):
            return None
        if raw["builtin"] != "japan":
            step = "the built-in country is japan; give `file` for your own"
            document.error((*place, "builtin"), f"unknown country {shown(raw['builtin'])}", step)
        numbers = {
            key: document.number(value, (*place, key))
            for key, value in raw.items()
            if key in keys and key != "regions"
        }
        regions = document.texts(raw["regions"], (*place, "regions")) if "regions" in raw else ()
        for at, region in enumerate(regions):
            if region and region not in REGIONS:
                step = "give JP-01 to JP-47"
                document.error((*place, "regions", at), f"unknown region {shown(region)}", step)
        if document.problems.errors:
            return None
        plan = replace(Plan(**numbers), regions=regions)  # type: ignore[arg-type]
        if not (len(REGIONS) <= plan.towers <= TOWERS_LIMIT and plan.towers_per_hub >= 1):
            what = f"{plan.towers} towers, {plan.towers_per_hub} a hub"
            step = f"give {len(REGIONS)} to {TOWERS_LIMIT} towers and 1 or more a hub"
            document.error(place, what, step)
            return None
        return plan
