"""Who uses the grid, on what terms, and what they used: tenants, keys, grants, usage."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Any

from aigrid.core.errors import ConfigurationError

ROLES = ("operator", "publisher", "consumer")
PRIORITIES = ("high", "standard", "batch")
PURPOSES = ("research", "student", "startup")
DEFAULT_TENANT = "default"
OWN_OPERATOR = "own"
NO_LIMIT = -1
MICRO = 1_000_000
WEIGHT_LIMIT = 1000
NAMES_LIMIT = 64
AMOUNT_LIMIT_MICRO = 10**15
NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PLACE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
CURRENCY_PATTERN = re.compile(r"[A-Z]{3}")

# Share of a service's capacity that a class has against the others while all of them want more.
CLASS_WEIGHT = {"high": 16, "standard": 4, "batch": 1}

# What a role may do. `own` actions are about the caller's own tenant alone.
_PERMITTED: dict[str, tuple[str, ...]] = {
    "operator": ("*",),
    "publisher": ("status", "infer", "services", "keys.own", "usage.own", "proof.own"),
    "consumer": ("infer", "keys.own", "usage.own", "proof.own"),
}


def permits(role: str, action: str) -> bool:
    """Whether a role may do something in the grid as a whole."""
    return role in _PERMITTED and ("*" in _PERMITTED[role] or action in _PERMITTED[role])


def permits_own(role: str, action: str) -> bool:
    """Whether a role may do something that concerns its own tenant."""
    return permits(role, action) or permits(role, f"{action}.own")


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a tenant may ask for; `NO_LIMIT` (-1) everywhere means what it says.

    Attributes:
        requests_per_min: requests.
        tokens_per_min: tokens of prompts and answers.
        streams: streamed answers open at once.
        budget_micro: of a month (UTC), in millionths of the tenant's currency; free credits
            come on top.

    Raises:
        ConfigurationError: a number below -1, or too large.
    """

    requests_per_min: int = NO_LIMIT
    tokens_per_min: int = NO_LIMIT
    streams: int = NO_LIMIT
    budget_micro: int = NO_LIMIT

    def __post_init__(self) -> None:
        for name in ("requests_per_min", "tokens_per_min", "streams", "budget_micro"):
            value = getattr(self, name)
            if not NO_LIMIT <= value <= AMOUNT_LIMIT_MICRO:
                raise ConfigurationError(
                    f"{name} is {value}", next_step=f"give 0 to {AMOUNT_LIMIT_MICRO}, -1: no limit"
                )


@dataclass(frozen=True, slots=True)
class Sovereignty:
    """Where a tenant's requests may be answered; an empty tuple allows every one.

    Attributes:
        regions: of sites.
        operators: of sites; `own` is this grid's.

    Raises:
        ConfigurationError: a name that cannot be, or too many.
    """

    regions: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, names in (("regions", self.regions), ("operators", self.operators)):
            if len(names) > NAMES_LIMIT:
                raise ConfigurationError(f"{len(names)} {what}, the limit is {NAMES_LIMIT}")
            for name in names:
                if not PLACE_PATTERN.fullmatch(name):
                    raise ConfigurationError(
                        f"{what}: {name!r}", next_step="use letters, digits, '.', '-' and '_'"
                    )

    @property
    def name(self) -> str:
        """The rule in one word, as refusals and records show it."""
        said = [f"regions={','.join(self.regions)}"] if self.regions else []
        said += [f"operators={','.join(self.operators)}"] if self.operators else []
        return ";".join(said) or "anywhere"

    def allows(self, region: str, operator: str) -> bool:
        """Whether a site may answer."""
        return (not self.regions or region in self.regions) and (
            not self.operators or operator in self.operators
        )


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who pays, and publishes.

    Attributes:
        name: unique.
        priority: class, one of `PRIORITIES`: what is shed first and served last under overload.
        weight: share against other tenants of the same class under overload.
        quota: how much.
        sovereignty: where.
        currency: of budget, credits and invoices (ISO 4217).
        share_bp: of what its packages earn, in hundredths of a percent: the publisher's part.
        publishes: names of the packages that are its own: it may deploy them, and earns its share.
        suspended: every request and call is refused.
        created_at_s: Unix time.

    Raises:
        ConfigurationError: a value that cannot be.
    """

    name: str
    priority: str = "standard"
    weight: int = 1
    quota: Quota = field(default_factory=Quota)
    sovereignty: Sovereignty = field(default_factory=Sovereignty)
    currency: str = "USD"
    share_bp: int = 7000
    publishes: tuple[str, ...] = ()
    suspended: bool = False
    created_at_s: float = 0.0

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise ConfigurationError(
                f"tenant name {self.name!r}",
                next_step="use lower-case letters, digits and '-', at most 63",
            )
        if self.priority not in PRIORITIES:
            raise ConfigurationError(
                f"priority class {self.priority!r}", next_step=f"use {', '.join(PRIORITIES)}"
            )
        if not 1 <= self.weight <= WEIGHT_LIMIT:
            raise ConfigurationError(f"weight {self.weight}", next_step=f"1 to {WEIGHT_LIMIT}")
        if not CURRENCY_PATTERN.fullmatch(self.currency):
            raise ConfigurationError(f"currency {self.currency!r}", next_step="three letters: JPY")
        if not 0 <= self.share_bp <= 10_000:
            raise ConfigurationError(f"revenue share {self.share_bp}", next_step="0 to 10000")
        if len(self.publishes) > NAMES_LIMIT:
            raise ConfigurationError(f"{len(self.publishes)} packages, the limit is {NAMES_LIMIT}")

    @property
    def fair_weight(self) -> int:
        """Its share under overload: class and weight together."""
        return CLASS_WEIGHT[self.priority] * self.weight


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, without the key: it is shown once and kept as a digest.

    Attributes:
        id: names it.
        tenant: whose it is.
        role: one of `ROLES`.
        digest: SHA-256 (hex) of the key, which has 256 random bits.
        shown: its first characters, for people.
        label: what for.
        created_at_s: Unix time.
        expires_at_s: Unix time; 0: never.
        revoked_at_s: Unix time; 0: it stands.
    """

    id: str
    tenant: str
    role: str
    digest: str
    shown: str
    label: str = ""
    created_at_s: float = 0.0
    expires_at_s: float = 0.0
    revoked_at_s: float = 0.0

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ConfigurationError(f"role {self.role!r}", next_step=f"use {', '.join(ROLES)}")

    def stands(self, now_s: float) -> bool:
        """Whether it opens anything."""
        return not self.revoked_at_s and (not self.expires_at_s or now_s < self.expires_at_s)


@dataclass(frozen=True, slots=True)
class Grant:
    """Free credits.

    Attributes:
        id: names it.
        tenant: who may use them.
        purpose: one of `PURPOSES`.
        amount_micro: in millionths of `currency`.
        currency: ISO 4217.
        starts_at_s: Unix time; what was used before is not covered.
        ends_at_s: Unix time; what is used from then on is not covered.
    """

    id: str
    tenant: str
    purpose: str
    amount_micro: int
    currency: str
    starts_at_s: float
    ends_at_s: float

    def __post_init__(self) -> None:
        if self.purpose not in PURPOSES:
            raise ConfigurationError(
                f"purpose {self.purpose!r}", next_step=f"use {', '.join(PURPOSES)}"
            )
        if not 0 < self.amount_micro <= AMOUNT_LIMIT_MICRO:
            raise ConfigurationError(f"amount {self.amount_micro}", next_step="give more than 0")
        if not self.starts_at_s < self.ends_at_s:
            raise ConfigurationError("the grant ends before it starts", next_step="a later --until")


@dataclass(frozen=True, slots=True)
class Place:
    """A site as a rule sees it."""

    site: str
    region: str
    operator: str = OWN_OPERATOR


@dataclass(frozen=True, slots=True)
class Usage:
    """What one request used, where, and under which rule: what is billed, once.

    Attributes:
        request_id: names it; of several records of one id, that with most tokens counts.
        tenant: who pays.
        key: by which it came.
        service: the model.
        package: digest of what answered; empty where nothing did.
        places: where it ran, in order; more than one where an answer was continued.
        rule: the sovereignty rule in force, by name.
        prompt_tokens: read for what the client received; 0 where it received nothing.
        completion_tokens: that the client received.
        status: of HTTP.
        ended: `whole`, `left` (the client), `broken` (the grid), `died` (the gateway) or `refused`.
        at_s: Unix time of the end.
    """

    request_id: str
    tenant: str
    key: str
    service: str
    package: str = ""
    places: tuple[Place, ...] = ()
    rule: str = "anywhere"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    status: int = 200
    ended: str = "whole"
    at_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As `core.codec.to_plain` gives it, in a tenth of the time: once a request."""
        places = [
            {"site": place.site, "region": place.region, "operator": place.operator}
            for place in self.places
        ]
        return {name: getattr(self, name) for name in _USAGE_FIELDS} | {"places": places}


_USAGE_FIELDS = tuple(field.name for field in fields(Usage))
