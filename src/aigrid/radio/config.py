"""The front-end's configuration file: JSON, every key checked."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from aigrid.core.errors import ConfigurationError
from aigrid.core.site import Cell
from aigrid.radio.numerology import numerology_of
from aigrid.radio.profile import ConstantLoad, LoadProfile

_MAX_BYTES = 1 << 20


def _known_cell_keys(raw: Any) -> Any:
    known = {f.name for f in fields(Cell)}
    if isinstance(raw, dict):
        for key in raw:
            if key not in known:
                raise ValueError(f"unknown key {key!r}; known keys: {', '.join(sorted(known))}")
    return raw


class FrontendConfig(BaseModel):
    """What one front-end process is told.

    Attributes:
        site: name of its site, for messages.
        cell: the cell it receives.
        counters: path of the counters file.
        profile: load by time since start.
        cache_dir: where compiled kernels are kept; None lets numba choose (beside the source, or
            the user's cache where that cannot be written).
        cell_id: N_ID of the pilots.
        seed: of signals and load.
        snr_db: signal to noise of the test signals, per antenna.
        protection: `realtime` asks for SCHED_FIFO, `nice` for negative nice, `off` for nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: Annotated[str, Field(min_length=1, max_length=253)]
    cell: Annotated[Cell, BeforeValidator(_known_cell_keys)]
    counters: Path
    profile: LoadProfile = ConstantLoad()
    cache_dir: Path | None = None
    cell_id: Annotated[int, Field(ge=0, le=65_535)] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    snr_db: Annotated[float, Field(ge=-30.0, le=100.0)] = 25.0
    protection: Literal["realtime", "nice", "off"] = "realtime"


def parse_config(text: str | bytes, origin: str) -> FrontendConfig:
    """Read a configuration.

    Args:
        text: JSON.
        origin: where it came from, for the error's message.

    Raises:
        ConfigurationError: not JSON, an unknown key, or a value that cannot be.
    """
    try:
        config = FrontendConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ConfigurationError(
            f"{origin}: {where} is {str(first['input'])[:80]!r}: {first['msg']}",
            next_step="correct it and start the front-end again",
        ) from error
    numerology_of(config.cell)
    return config


def load_config(path: Path) -> FrontendConfig:
    """Read a configuration file.

    Raises:
        ConfigurationError: it cannot be read, is too large, or holds what `parse_config` refuses.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}", next_step="give a file that can be read"
        ) from error
    if len(text) > _MAX_BYTES:
        raise ConfigurationError(f"{path}: larger than {_MAX_BYTES} bytes")
    return parse_config(text, str(path))
