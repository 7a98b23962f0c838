"""The package: what the factory makes, the store sells and the grid carries.

A package is an OCI image manifest that follows the CNCF ModelPack specification
(https://github.com/modelpack/model-spec), plus one layer of our own: the `ServiceSpec`. Only the
nouns and their canonical bytes stand here; reading and writing files is the store's work.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from aigrid.core.errors import ConfigurationError

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
MODEL_MANIFEST = "application/vnd.cncf.model.manifest.v1+json"
MODEL_CONFIG = "application/vnd.cncf.model.config.v1+json"
MODEL_WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
MODEL_WEIGHT_CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
MODEL_DOC = "application/vnd.cncf.model.doc.v1.raw"
SERVICE_LAYER = "application/vnd.aigrid.service.v1+json"
EVALUATION_LAYER = "application/vnd.aigrid.evaluation.v1+json"
SIGNATURE_ARTIFACT = "application/vnd.dev.sigstore.bundle.v0.3+json"
RUN_ARTIFACT = "application/vnd.aigrid.run.v1+json"

SERVICE_KINDS = ("chat", "embed", "vision", "speech", "policy", "function")
ENGINES = ("embedded", "upstream")


def canonical_json(value: Any) -> bytes:
    """One spelling for one value: sorted keys, no spaces, UTF-8, so that digests repeat."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256_digest(content: bytes) -> str:
    """The OCI digest of bytes, `sha256:<64 hex digits>`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one replica needs of a site.

    Attributes:
        memory_mb: resident memory of weights and key-value cache.
        compute_cores: cores kept busy when it runs flat out.
    """

    memory_mb: int
    compute_cores: float = 1.0


@dataclass(frozen=True, slots=True)
class Objectives:
    """Service-level objectives (SLO), as 95th percentiles."""

    ttft_ms: float = 500.0
    tpot_ms: float = 50.0


@dataclass(frozen=True, slots=True)
class Price:
    """What a customer pays, per million tokens, in `currency` (ISO 4217)."""

    currency: str = "USD"
    input_per_mtok: float = 0.0
    output_per_mtok: float = 0.0


@dataclass(frozen=True, slots=True)
class Residency:
    """Regions the package may run in; an empty tuple allows every region."""

    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a package came from: the same values give the same digests."""

    recipe_digest: str = ""
    data_digest: str = ""
    seed: int = 0
    commit: str = ""
    precision: str = ""
    threads: int = 0


@dataclass(frozen=True, slots=True)
class UpstreamTarget:
    """An OpenAI-compatible server behind the `upstream` engine; its key is never in a package.

    Attributes:
        base_url: ends where `/chat/completions` would follow, e.g. `http://127.0.0.1:8000/v1`.
        model: the model's name over there.
        key_file: a file on the site that holds the bearer key; empty for none.
    """

    base_url: str
    model: str
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """Our layer: how a package runs and on what terms.

    Attributes:
        name: lower-case name, also the OpenAI `model` that clients ask for.
        version: any tag-like string, e.g. `1.0.0`.
        kind: one of `SERVICE_KINDS`.
        engine: one of `ENGINES`.
        context_tokens: longest prompt plus answer.
    """

    name: str
    version: str
    kind: str = "chat"
    engine: str = "embedded"
    context_tokens: int = 512
    footprint: Footprint = field(default_factory=lambda: Footprint(memory_mb=256))
    slo: Objectives = field(default_factory=Objectives)
    price: Price = field(default_factory=Price)
    licence: str = ""
    residency: Residency = field(default_factory=Residency)
    provenance: Provenance = field(default_factory=Provenance)
    upstream: UpstreamTarget | None = None

    def to_json(self) -> bytes:
        """Canonical bytes of this layer."""
        return canonical_json(asdict(self))

    @classmethod
    def from_dict(cls, raw: Any, origin: str) -> ServiceSpec:
        """Read a layer back, refusing unknown keys and values of the wrong type.

        Args:
            raw: the decoded JSON object.
            origin: where it came from, for the error's message.

        Raises:
            ConfigurationError: an unknown key, a missing key or a value that cannot be.
        """
        nested: dict[str, Any] = {
            "footprint": Footprint,
            "slo": Objectives,
            "price": Price,
            "residency": Residency,
            "provenance": Provenance,
            "upstream": UpstreamTarget,
        }
        values = dict(_known(cls, raw, origin))
        for key, noun in nested.items():
            if values.get(key) is not None:
                values[key] = _build(noun, values[key], f"{origin}: {key}")
        spec: ServiceSpec = _build(cls, values, origin)
        if spec.kind not in SERVICE_KINDS:
            raise ConfigurationError(
                f"{origin}: kind {spec.kind!r} is not a service kind",
                next_step=f"use one of {', '.join(SERVICE_KINDS)}",
            )
        if spec.engine not in ENGINES or (spec.engine == "upstream") != (spec.upstream is not None):
            raise ConfigurationError(
                f"{origin}: engine {spec.engine!r} does not fit the rest of the layer",
                next_step="use 'embedded', or 'upstream' with an upstream section",
            )
        return spec


def _known(noun: type, raw: Any, origin: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{origin}: expected an object, got {type(raw).__name__}")
    known = {f.name for f in fields(noun)}
    for key in raw:
        if key not in known:
            raise ConfigurationError(
                f"{origin}: unknown key {key!r}",
                next_step=f"known keys: {', '.join(sorted(known))}",
            )
    return raw


def _build(noun: type, raw: Any, origin: str) -> Any:
    values = {
        k: tuple(v) if isinstance(v, list) else v for k, v in _known(noun, raw, origin).items()
    }
    for f in fields(noun):
        expected = _SCALARS.get(str(f.type))
        if (
            expected
            and f.name in values
            and (not isinstance(values[f.name], expected) or isinstance(values[f.name], bool))
        ):
            raise ConfigurationError(
                f"{origin}: {f.name} is {values[f.name]!r}", next_step=f"give it as {f.type}"
            )
    try:
        return noun(**values)
    except TypeError as error:
        raise ConfigurationError(f"{origin}: {error}") from error


_SCALARS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "tuple[str, ...]": (tuple,),
}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An OCI content descriptor: what a blob is, its digest and its size in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, media_type: str, content: bytes, **annotations: str) -> Descriptor:
        """Describe bytes at hand."""
        return cls(media_type, sha256_digest(content), len(content), tuple(annotations.items()))

    def to_dict(self) -> dict[str, Any]:
        """The descriptor as OCI spells it."""
        described: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            described["annotations"] = dict(self.annotations)
        return described

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Descriptor:
        """Read OCI's spelling back.

        Raises:
            ConfigurationError: a field is missing or of the wrong type.
        """
        try:
            media_type, digest, size = raw["mediaType"], raw["digest"], raw["size"]
        except (KeyError, TypeError) as error:
            raise ConfigurationError(f"not an OCI descriptor: {raw!r}") from error
        if not (isinstance(media_type, str) and isinstance(digest, str) and isinstance(size, int)):
            raise ConfigurationError(f"not an OCI descriptor: {raw!r}")
        return cls(media_type, digest, size, tuple((raw.get("annotations") or {}).items()))
