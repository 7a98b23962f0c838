"""The doubters' case: is the network's round trip not a small part of the time to first token?

Nobody else is on the device and nobody waits, in which case distance matters most. The near site
has its own, usually smaller, device; the far one a larger.
"""

from __future__ import annotations

import math

from aigrid.twin.models import roofline
from aigrid.twin.models.calibration import bare_service
from aigrid.twin.models.device import Device
from aigrid.twin.models.devices import known
from aigrid.twin.models.service import Service
from aigrid.twin.published.inputs import Inputs
from aigrid.twin.report.doubt import MODELS

_LONGEST = 65_536
_CACHED_WIDTH = 1024  # of keys, and of values: heads share them


def compute(inputs: Inputs) -> dict[str, float]:
    """Where the edge wins.

    Returns:
        `saved_ms`: round trip that the edge saves; `part_%:MODEL:PROMPT`: of the time to first
        token from afar that is the saved round trip, for `chat` and `long` prompts; and
        `wins_up_to:MODEL`: longest prompt, in tokens, with which the near device answers first:
        0 where it never does or the model does not fit, 65,536 where it always does.
    """
    near, far = known(inputs.text("near_device")), known(inputs.text("far_device"))
    saved = inputs.number("far_round_trip_ms") - inputs.number("near_round_trip_ms")
    radio = inputs.number("radio_ms")
    found = {"saved_ms": saved}
    for model in MODELS:
        name = model[0].replace(" ", "")
        for label in ("chat", "long"):
            prompt = int(inputs.number(f"{label}_prompt_tokens"))
            there = _first_token_ms(_service(model, prompt), far, prompt)
            whole = radio + inputs.number("far_round_trip_ms") + there
            found[f"part_%:{name}:{label}"] = 100.0 * saved / whole
        found[f"wins_up_to:{name}"] = float(_wins_up_to(model, near, far, saved))
    return found


def _wins_up_to(
    model: tuple[str, float, int, int], near: Device, far: Device, saved_ms: float
) -> int:
    def wins(prompt: int) -> bool:
        service = _service(model, prompt)
        here = _first_token_ms(service, near, prompt)
        return here < _first_token_ms(service, far, prompt) + saved_ms

    if not wins(1):
        return 0
    low, high = 1, _LONGEST
    if wins(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if wins(middle) else (low, middle)
    return low


def _first_token_ms(service: Service, device: Device, prompt: int) -> float:
    if not roofline.fits(service, device):
        return math.inf
    return 1e3 * (roofline.prefill_s(service, device, prompt) + roofline.step_s(service, device, 1))


def _service(model: tuple[str, float, int, int], prompt: int) -> Service:
    name, weights, layers, width = model
    cached = 2.0 * layers * min(width, _CACHED_WIDTH)
    return bare_service(name, weights, 1.0, cached, 4.0 * layers * width, prompt, 1)
