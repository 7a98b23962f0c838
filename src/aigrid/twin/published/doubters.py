"""The doubters' case: is the network's round trip not a small part of the time to first token?

Nobody else is on the device and nobody waits, in which case distance matters most. The near site
has its own, usually smaller, device; the far one a larger.
"""

from __future__ import annotations

import math

from aigrid.twin.models.device import Device
from aigrid.twin.models.devices import known
from aigrid.twin.published.inputs import Inputs
from aigrid.twin.report.doubt import MODELS, Model, first_token_ms

_LONGEST = 65_536


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
            there = _first_token_ms(model, prompt, far)
            whole = radio + inputs.number("far_round_trip_ms") + there
            found[f"part_%:{name}:{label}"] = 100.0 * saved / whole
        found[f"wins_up_to:{name}"] = float(_wins_up_to(model, near, far, saved))
    return found


def _wins_up_to(model: Model, near: Device, far: Device, saved_ms: float) -> int:
    def wins(prompt: int) -> bool:
        here = _first_token_ms(model, prompt, near)
        return here < _first_token_ms(model, prompt, far) + saved_ms

    if not wins(1):
        return 0
    low, high = 1, _LONGEST
    if wins(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if wins(middle) else (low, middle)
    return low


def _first_token_ms(model: Model, prompt: int, device: Device) -> float:
    found = first_token_ms(model, prompt, device)
    return math.inf if found is None else found
