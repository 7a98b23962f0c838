"""A scenario: sites, packages, demand and faults as data. Unknown keys are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    model_validator,
)

from aigrid.core.codec import from_plain
from aigrid.core.errors import ConfigurationError
from aigrid.core.package import canonical_json, sha256_digest
from aigrid.core.rollout import RolloutPlan
from aigrid.radio.topology import PlannedSite, read_sites, sites_from_file

FILE_LIMIT_BYTES = 4 * 1024 * 1024
Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=128)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineRounds(_Strict):
    """How long the rounds of an engine take, see `twin.rounds`; all in seconds.

    Attributes:
        piece_s: for each piece of a prompt.
        prompt_token_s: and for each of its tokens.
        step_s: for a decode step.
        sequence_s: and for each sequence in it.
        gap_s: between two rounds, beside the rest that the share asks for.
        fed_fraction: of prompt tokens; the rest is resident.
    """

    piece_s: Seconds = 0.0
    prompt_token_s: Positive = 0.0001
    step_s: Positive = 0.001
    sequence_s: Seconds = 0.0
    gap_s: Seconds = 0.0
    fed_fraction: Fraction = 1.0


class Physics(_Strict):
    """How fast simulated things go. Defaults are near one core of a small machine.

    Attributes:
        heartbeat_s: between two heartbeats of a site.
        tick_s: between two ticks of the control plane.
        link_mb_per_s: at which a site pulls a package.
        load_mb_per_s: at which a pulled package is verified and loaded.
        tokens_per_core_s: made by one core, all jobs together.
        stream_tokens_per_s: made for one job at most.
        prefill_factor: a prompt token costs this fraction of a made one.
        places: jobs that take steps at once on a site.
        queue_limit: jobs in line on a site, at most.
        hop_s: from the gateway to a site, one way; also until a refused connection is known.
        timeout_s: until a gateway gives up on a site that does not answer.
        retry_s: between two rounds of a gateway over all candidates.
        give_up_s: a gateway gives up on a request after this.
        answer_s: and on a site that took a request, after this without an answer or a token more.
        suspect_s: a gateway tries an unreachable site last for this long.
        slot_cores: compute a cell needs in an empty slot, in cores.
        prb_cores: and for every scheduled resource block, antenna and layer, at numerology 0.
        engines: by site: rounds of its engines. Other sites share out `tokens_per_core_s`.
    """

    heartbeat_s: Positive = 0.25
    tick_s: Positive = 0.25
    link_mb_per_s: Positive = 100.0
    load_mb_per_s: Positive = 200.0
    tokens_per_core_s: Positive = 1000.0
    stream_tokens_per_s: Positive = 400.0
    prefill_factor: Fraction = 0.1
    places: Annotated[int, Field(ge=1, le=4096)] = 8
    queue_limit: Annotated[int, Field(ge=0, le=100_000)] = 64
    hop_s: Seconds = 0.001
    timeout_s: Positive = 2.0
    retry_s: Positive = 0.1
    give_up_s: Positive = 30.0
    answer_s: Positive = 120.0
    suspect_s: Seconds = 1.0
    slot_cores: Seconds = 0.05
    prb_cores: Seconds = 0.003
    engines: dict[Name, EngineRounds] = Field(default_factory=dict)


class SimulatedPackage(_Strict):
    """A package of the simulated store.

    Attributes:
        name: of the service.
        version: of the package.
        size_mb: what a site pulls.
        memory_mb: what a replica holds.
        compute_cores: what a replica keeps busy flat out.
        regions: where it may run; empty for everywhere.
        ttft_ms: time to first token promised.
        corrupt: its bytes do not have its digest, so that every site refuses it.
        fails: fraction of requests at which its engine fails.
        slowness: its answers cost so many times the work.
        card: the measure on its evaluation card, lower is better; negative for none.
    """

    name: Name
    version: Name
    size_mb: Positive = 20.0
    memory_mb: Annotated[int, Field(ge=0)] = 256
    compute_cores: Positive = 1.0
    regions: tuple[str, ...] = ()
    ttft_ms: Positive = 500.0
    corrupt: bool = False
    fails: Fraction = 0.0
    slowness: Annotated[float, Field(ge=0.01, le=100.0, allow_inf_nan=False)] = 1.0
    card: Annotated[float, Field(ge=-1.0, allow_inf_nan=False)] = -1.0

    @property
    def reference(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"

    @property
    def digest(self) -> str:
        """Of its description; corruption is damage done later, so that it does not count."""
        told = self.model_dump(mode="json", exclude={"corrupt"})
        usual = {"fails": 0.0, "slowness": 1.0, "card": -1.0}
        return sha256_digest(canonical_json({k: v for k, v in told.items() if usual.get(k) != v}))


def _plan(raw: Any) -> Any:
    return from_plain(RolloutPlan, raw, "canary") if isinstance(raw, dict) else raw


class Deployment(_Strict):
    """At `at_s`, deploy `deploy` (a reference) or undeploy `undeploy` (a service).

    With `canary`, dials of `core.rollout.RolloutPlan`, the version is tried on a part of the
    requests first.
    """

    at_s: Seconds = 0.0
    deploy: str = ""
    undeploy: str = ""
    canary: Annotated[InstanceOf[RolloutPlan] | None, BeforeValidator(_plan)] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Deployment:
        if bool(self.deploy) == bool(self.undeploy):
            raise ValueError("give either deploy or undeploy")
        if self.undeploy and self.canary is not None:
            raise ValueError("canary is for deploy")
        return self


class Demand(_Strict):
    """Requests for one service: a Poisson process.

    Attributes:
        service: that is asked for.
        origin: site that requests come from, `*` for none.
        requests_per_s: mean rate.
        prompt_tokens: of each request.
        tokens: made for each.
        stream: whether tokens go out one by one, so that a broken answer cannot be made anew.
        from_s: first second.
        until_s: last second.
    """

    service: Name
    origin: str = "*"
    requests_per_s: Positive
    prompt_tokens: Annotated[int, Field(ge=1)] = 64
    tokens: Annotated[int, Field(ge=1)] = 32
    stream: bool = False
    from_s: Seconds = 0.0
    until_s: Seconds = 3600.0


class Crash(_Strict):
    """A site's process dies at once, and starts again `back_after_s` later (never, if None)."""

    kind: Literal["crash"]
    site: Name
    at_s: Seconds
    back_after_s: Seconds | None = None


class Surge(_Strict):
    """The radio load of a tower is `load`, whatever the profile says, for `for_s`."""

    kind: Literal["surge"]
    site: Name
    at_s: Seconds
    load: Fraction
    for_s: Seconds


class Silence(_Strict):
    """For `for_s` nothing reaches a site nor arrives from it; it goes on running."""

    kind: Literal["silence"]
    site: Name
    at_s: Seconds
    for_s: Seconds


class CutOff(_Strict):
    """For `for_s` a site and all below it are cut off: nothing gets to them nor comes from them."""

    kind: Literal["cut_off"]
    site: Name
    at_s: Seconds
    for_s: Seconds


class BeatLoss(_Strict):
    """For `for_s` a site's messages to the control plane fare badly; requests are not touched.

    Attributes:
        lost: fraction of messages, and of answers, that never arrive.
        doubled: fraction of messages that arrive twice.
        delay_s: each message is late by a random time up to this, so that they overtake each other.
    """

    kind: Literal["beat_loss"]
    site: Name
    at_s: Seconds
    for_s: Seconds
    lost: Fraction = 1.0
    doubled: Fraction = 0.0
    delay_s: Seconds = 0.0


class Skew(_Strict):
    """For `for_s` a site's clock runs `rate` times as fast as time does."""

    kind: Literal["skew"]
    site: Name
    at_s: Seconds
    for_s: Seconds
    rate: Annotated[float, Field(ge=0.1, le=10.0, allow_inf_nan=False)]


class Slow(_Strict):
    """For `for_s` a site computes and loads `factor` times slower; its radio does not."""

    kind: Literal["slow"]
    site: Name
    at_s: Seconds
    for_s: Seconds
    factor: Annotated[float, Field(ge=1.0, le=1000.0, allow_inf_nan=False)] = 10.0


class Burst(_Strict):
    """For `for_s`, more requests of a kind: a Poisson process beside the ordinary demand."""

    kind: Literal["burst"]
    service: Name
    origin: str = "*"
    at_s: Seconds
    for_s: Seconds
    requests_per_s: Positive
    prompt_tokens: Annotated[int, Field(ge=1)] = 64
    tokens: Annotated[int, Field(ge=1)] = 32


class Corruption(_Strict):
    """From `at_s` on, for `for_s` (for good, if None), the stored bytes of a package are damaged.

    What was loaded before is sound; who pulls it meanwhile gets damaged bytes.
    """

    kind: Literal["corrupt"]
    package: Name
    at_s: Seconds
    for_s: Seconds | None = None


Fault = Annotated[
    Crash | Surge | Silence | CutOff | BeatLoss | Skew | Slow | Burst | Corruption,
    Field(discriminator="kind"),
]


class Scenario(_Strict):
    """A run but for its seed.

    Attributes:
        name: for people.
        sites: with the radio profiles of the towers.
        duration_s: simulated time.
        physics: how fast things go.
        packages: in the store.
        deployments: what is deployed when.
        demand: who asks for what.
        faults: what goes wrong.
    """

    name: Name
    sites: tuple[InstanceOf[PlannedSite], ...] = Field(min_length=1)
    duration_s: Positive = 60.0
    physics: Physics = Physics()
    packages: tuple[SimulatedPackage, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    demand: tuple[Demand, ...] = ()
    faults: tuple[Fault, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> Scenario:
        sites = {planned.site.name for planned in self.sites}
        references = {package.reference for package in self.packages}
        named = [(f.package, references) for f in self.faults if isinstance(f, Corruption)]
        named += [(f.origin, sites | {"*"}) for f in self.faults if isinstance(f, Burst)]
        named += [(f.site, sites) for f in self.faults if not isinstance(f, Corruption | Burst)]
        named += [(d.deploy, references) for d in self.deployments if d.deploy]
        named += [(d.origin, sites | {"*"}) for d in self.demand]
        for name, known in named:
            if name not in known:
                raise ValueError(f"{name!r} is not one of {', '.join(sorted(known)) or 'none'}")
        for fault in self.faults:
            if isinstance(fault, Slow) and fault.site in self.physics.engines:
                raise ValueError(f"slow: the rounds of {fault.site!r} have times of their own")
        return self


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file (YAML); `topology:` names a file of sites, relative to it.

    Raises:
        ConfigurationError: it cannot be read, or holds something unknown or impossible.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: expected an object", next_step="see scenarios/")
    return scenario_from_dict(raw, str(path), path.parent)


def scenario_from_dict(raw: dict[str, Any], origin: str, folder: Path) -> Scenario:
    """A scenario from plain values.

    Args:
        raw: as YAML gives them, with `topology` (a file in `folder`) or `sites`.
        origin: for messages.
        folder: that `topology` is relative to.

    Raises:
        ConfigurationError: see `load_scenario`.
    """
    values = dict(raw)
    topology = values.pop("topology", None)
    if (topology is None) == ("sites" not in values):
        raise ConfigurationError(
            f"{origin}: expected either `topology` or `sites`", next_step="name a topology file"
        )
    if topology is None:
        values["sites"] = read_sites(values["sites"], origin)
    else:
        values["sites"] = sites_from_file(read_yaml(folder / str(topology)), str(topology))
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ConfigurationError(f"{origin}: {where}: {first['msg']}") from error


def read_yaml(path: Path) -> Any:
    """The plain values of a YAML file.

    Raises:
        ConfigurationError: it cannot be read, is too large, or is not YAML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT_BYTES + 1)
        if len(content) > FILE_LIMIT_BYTES:
            raise ConfigurationError(f"{path} is over {FILE_LIMIT_BYTES} bytes")
        return yaml.safe_load(content.decode())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        line = str(error).splitlines()[0]
        raise ConfigurationError(
            f"{path} cannot be read: {line}", next_step="give a YAML file"
        ) from error
