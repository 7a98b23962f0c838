"""The recipe: everything that decides what a model becomes, as one frozen typed file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aigrid.core.errors import ConfigurationError
from aigrid.core.package import canonical_json, sha256_digest

MAX_RECIPE_BYTES = 64 * 1024
NAME_PATTERN = r"^[a-z0-9]+([._-][a-z0-9]+)*$"
VERSION_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Source(_Section):
    """Which text the model learns from.

    Attributes:
        kind: `python-docs` reads the docstrings of the running Python's standard library; `files`
            reads the file or folder given beside the recipe.
        max_mb: text read at most, in MB (10**6 bytes); the rest is left out and counted.
        validation_fraction: share of the documents that is held out to measure the model.
    """

    kind: Literal["python-docs", "files"] = "python-docs"
    max_mb: Annotated[int, Field(ge=1, le=1024)] = 32
    validation_fraction: Annotated[float, Field(gt=0.0, le=0.5)] = 0.05


class TokenizerDials(_Section):
    """Byte-level byte-pair encoding; the 256 bytes and the special tokens are always in it."""

    vocab_size: Annotated[int, Field(ge=300, le=65536)] = 2048


class ModelDials(_Section):
    """The few dials of the decoder; the rest follows from them.

    Attributes:
        layers: decoder layers.
        width: hidden size; a multiple of 32 and of `heads`.
        heads: query heads; `width / heads` is the head size, a multiple of 16.
        kv_heads: key-value heads shared by the query heads (grouped-query attention).
        context: longest sequence in tokens.
    """

    layers: Annotated[int, Field(ge=1, le=64)] = 4
    width: Annotated[int, Field(ge=32, le=4096)] = 256
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    kv_heads: Annotated[int, Field(ge=1, le=64)] = 2
    context: Annotated[int, Field(ge=32, le=8192)] = 256

    @model_validator(mode="after")
    def _divides(self) -> ModelDials:
        if self.width % 32:
            raise ValueError(f"width {self.width} is not a multiple of 32")
        if self.width % self.heads or (self.width // self.heads) % 16:
            raise ValueError(f"width {self.width} over {self.heads} heads is no multiple of 16")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {self.kv_heads} kv_heads")
        return self

    @property
    def head_size(self) -> int:
        """Length of one head's query, key and value."""
        return self.width // self.heads

    @property
    def hidden_size(self) -> int:
        """Inner width of SwiGLU: 8/3 of the width (arXiv:2002.05202), up to a multiple of 32."""
        return -(-8 * self.width // 3 // 32) * 32


class TrainingDials(_Section):
    """How long and how fast the model learns.

    Attributes:
        steps: optimiser steps; a count, never a time, so that the same inputs give the same bytes.
        batch: sequences a step, each `context` tokens long.
        learning_rate: peak, reached after `warmup_steps`, then a cosine down to a tenth of it.
        clip_norm: the gradient's norm is cut to this.
        precision: `auto` takes bf16 where the processor has it in hardware, else fp32.
        threads: processor threads; part of the result, because sums are split over them.
    """

    steps: Annotated[int, Field(ge=1, le=10_000_000)]
    batch: Annotated[int, Field(ge=1, le=4096)] = 8
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 3e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 0.1
    clip_norm: Annotated[float, Field(gt=0.0)] = 1.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Annotated[int, Field(ge=1, le=256)] = 2

    @model_validator(mode="after")
    def _warms_up(self) -> TrainingDials:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} is not below steps {self.steps}")
        return self


class PriceTerms(_Section):
    """What a customer pays, per million tokens."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    input_per_mtok: Annotated[float, Field(ge=0.0)] = 0.0
    output_per_mtok: Annotated[float, Field(ge=0.0)] = 0.0


class ObjectiveTerms(_Section):
    """Service-level objectives, as 95th percentiles in milliseconds."""

    ttft_ms: Annotated[float, Field(gt=0.0)] = 500.0
    tpot_ms: Annotated[float, Field(gt=0.0)] = 50.0


class PackageTerms(_Section):
    """On what terms the package is sold, and the form that the embedded engine runs.

    Attributes:
        residency: regions the package may run in; empty allows all.
        form: weights of the engine's graph: `int8`, `int4` or `fp32`.
    """

    licence: Annotated[str, Field(max_length=128)] = "Apache-2.0"
    price: PriceTerms = PriceTerms()
    slo: ObjectiveTerms = ObjectiveTerms()
    residency: tuple[str, ...] = Field(default=(), strict=False)
    form: Literal["int8", "int4", "fp32"] = "int8"


class Recipe(_Section):
    """One recipe; `digest()` names it."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]
    version: Annotated[str, Field(pattern=VERSION_PATTERN)] = "1.0.0"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    source: Source = Source()
    tokenizer: TokenizerDials = TokenizerDials()
    model: ModelDials = ModelDials()
    training: TrainingDials
    package: PackageTerms = PackageTerms()

    def digest(self) -> str:
        """SHA-256 over the content; comments, order and defaults spelt out do not count."""
        return sha256_digest(canonical_json(self.model_dump(mode="json")))


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe file.

    Raises:
        ConfigurationError: unreadable, not YAML, an unknown key, or a value that cannot be; one
            line that names the file, the key's path, the value and the next step.
    """
    return parse_recipe(_read_text(path), str(path))


def parse_recipe(text: str, origin: str) -> Recipe:
    """Check a recipe's text.

    Args:
        text: YAML.
        origin: where it came from, for the error's message.

    Raises:
        ConfigurationError: as in `load_recipe`.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"{origin}: not YAML{_yaml_place(error)}", next_step="check the file's indentation"
        ) from error
    if not isinstance(raw, dict):
        raise ConfigurationError(
            f"{origin}: expected keys and values, got {type(raw).__name__}",
            next_step="start from recipes/first-light.yaml",
        )
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise _explained(error, origin) from error


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_RECIPE_BYTES + 1)
        if len(content) > MAX_RECIPE_BYTES:
            raise ConfigurationError(
                f"{path}: a recipe has at most {MAX_RECIPE_BYTES} bytes",
                next_step="give the recipe, not the data",
            )
        return content.decode()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}", next_step="give the path of a recipe file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text", next_step="give a YAML file") from error


def _yaml_place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "unreadable character"
    place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{place}: {problem}"


def _explained(error: ValidationError, origin: str) -> ConfigurationError:
    first: Any = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "the recipe"
    value = re.sub(r"\s+", " ", repr(first.get("input")))[:80]
    if first["type"] == "extra_forbidden":
        known = ", ".join(_known_keys(first["loc"][:-1]))
        return ConfigurationError(f"{origin}: unknown key {key}", next_step=f"known keys: {known}")
    if first["type"] == "missing":
        return ConfigurationError(f"{origin}: {key} is missing", next_step=f"add {key}")
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    if first["type"] == "value_error":
        return ConfigurationError(f"{origin}: {key}: {reason}", next_step=f"change {key}")
    return ConfigurationError(f"{origin}: {key} is {value}", next_step=reason)


def _known_keys(section: tuple[str | int, ...]) -> list[str]:
    noun: Any = Recipe
    for part in section:
        noun = noun.model_fields[part].annotation
    return sorted(noun.model_fields)
