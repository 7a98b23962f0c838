"""Why something is not carried, and the nearest promise that could be kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.core.site import SITE_KINDS
from aigrid.twin.models.device import Device
from aigrid.twin.models.devices import SHEET
from aigrid.twin.models.roofline import fits, prefill_s, step_s
from aigrid.twin.models.service import Service
from aigrid.twin.planning.model import Model
from aigrid.twin.planning.options import GROUPS


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A service that is not carried in full.

    Attributes:
        service: its name.
        share: of its requests that are not carried.
        reason: what is in the way, and what could be done: one sentence.
    """

    service: str
    share: float
    reason: str


def obstacles(model: Model, missing: NDArray[np.float64], all_demand: bool) -> tuple[Obstacle, ...]:
    """One for each service of which something is missing."""
    found = []
    for s, service in enumerate(model.country.services):
        year = (model.demand[:, s] * model.year[s]).sum()
        lost = (missing[:, s] * model.year[s]).sum()
        if year > 0.0 and lost / year > 1e-6:
            reason = _reason(model, s, all_demand)
            found.append(Obstacle(service.name, float(lost / year), reason))
    return tuple(found)


def _reason(model: Model, s: int, all_demand: bool) -> str:
    service, terms = model.country.services[s], model.terms
    able = model.options.keeps[:, s].any()
    if able and not all_demand:
        return "the budget, for which other requests earn more, or which buys nothing for it"
    kinds = {SITE_KINDS[int(k)] for k in model.kind} & set(terms.kinds)
    if service.kinds and not kinds & set(service.kinds):
        return f"it stands on {', '.join(service.kinds)} only, where nothing may be bought"
    if service.regions and not model.lawful[:, s].any():
        return f"it may run in {', '.join(service.regions)} only, where there is no hub or factory"
    fitting = [d for d in terms.devices if fits(service, d, GROUPS[-1])]
    if not fitting:
        need = service.weight_bytes / 1e9
        return f"its {need:,.0f} GB of weights fit no {GROUPS[-1]} devices that may be bought"
    tpot, device = min((_tpot_ms(service, d), d.name) for d in fitting)
    if tpot > service.tpot_slo_ms:
        return _nearest("TPOT", service.tpot_slo_ms, tpot, device, _others(service, terms.devices))
    g, c = np.nonzero(model.near >= 0)
    path = 2.0 * float(model.farthest_ms[g, c].min(initial=np.inf))
    ttft, device = min((_ttft_ms(model, service, d, path), d.name) for d in fitting)
    if ttft > service.ttft_slo_ms:
        return _nearest("TTFT", service.ttft_slo_ms, ttft, device, "")
    if able:
        return "no hub or factory near enough, or none in its regions, for some of its towers"
    return (
        f"TTFT {service.ttft_slo_ms:g} ms and TPOT {service.tpot_slo_ms:g} ms together for "
        f"{terms.slo_share:.1%} of requests; alone, without queues, {device} takes {ttft:.3g} ms"
        f" and {tpot:.3g} ms"
    )


def _nearest(what: str, promised: float, reached: float, device: str, others: str) -> str:
    return (
        f"{what} {promised:g} ms is faster than any device that may be bought; the nearest is "
        f"{reached:.3g} ms ({GROUPS[-1]} x {device}){others}"
    )


def _others(service: Service, allowed: tuple[Device, ...]) -> str:
    names = {d.name for d in allowed}
    able = [
        d.name
        for d in SHEET.values()
        if d.name not in names
        and fits(service, d, GROUPS[-1])
        and _tpot_ms(service, d) <= service.tpot_slo_ms
    ]
    return f"; {', '.join(able)} could" if able else ""


def _together(service: Service, device: Device) -> int:
    """Devices that share the weights: the fewest that hold them, as the rehearsal has it."""
    return next(g for g in GROUPS if fits(service, device, g))


def _tpot_ms(service: Service, device: Device) -> float:
    group = _together(service, device)
    return step_s(service, device, 1, group) * group / GROUPS[-1] * 1e3


def _ttft_ms(model: Model, service: Service, device: Device, path_ms: float) -> float:
    group = _together(service, device)
    prompt = float(service.prompt_tokens.at(np.array([model.terms.slo_share]))[0])
    first = prefill_s(service, device, max(prompt, 1.0), group) * group / GROUPS[-1] * 1e3
    return model.country.path.radio_ms + path_ms + first + _tpot_ms(service, device)
