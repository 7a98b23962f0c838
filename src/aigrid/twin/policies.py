"""The policies that are compared: one engine, only the decision differs."""

from __future__ import annotations

from dataclasses import dataclass

from aigrid.core.errors import ConfigurationError

GUARD, FIXED, NOTHING = "guard", "fixed", "nothing"
WATERFILL, NEAREST, LEAST_LOADED, ROUND_ROBIN = (
    "waterfill",
    "nearest",
    "least-loaded",
    "round-robin",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a policy decides by.

    Attributes:
        name: of the policy.
        shares: who sets the AI shares of sites with a radio: `control.guard` each minute, a
            partition fixed once, or nobody (no AI beside a radio).
        routing: `control`'s water-filling, or a baseline.
        sells_ai: False refuses every request.
        central: all AI capital stands in the factories, and towers do the radio alone.
    """

    name: str
    shares: str = GUARD
    routing: str = WATERFILL
    sells_ai: bool = True
    central: bool = False


PLANS = (
    Plan("aigrid"),
    Plan("radio-only", shares=NOTHING, sells_ai=False),
    Plan("static-split", shares=FIXED),
    Plan("central-only", shares=NOTHING, central=True),
    Plan("nearest", routing=NEAREST),
    Plan("least-loaded", routing=LEAST_LOADED),
    Plan("round-robin", routing=ROUND_ROBIN),
)
_BY_NAME = {plan.name: plan for plan in PLANS}


def plan_of(name: str) -> Plan:
    """The plan of a policy.

    Raises:
        ConfigurationError: no such policy.
    """
    if name not in _BY_NAME:
        raise ConfigurationError(
            f"policy {name!r} is not known", next_step=f"use one of {', '.join(_BY_NAME)}"
        )
    return _BY_NAME[name]
