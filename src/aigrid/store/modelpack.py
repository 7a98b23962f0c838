"""The parts of the CNCF ModelPack specification that a package uses.

Source: https://github.com/modelpack/model-spec, `specs-go/v1/{mediatype,annotations,config}.go` and
`schema/config-schema.json`. Where `docs/` disagrees (older `cnai` names, `diff_ids`), the code and
the schema are followed, as other tools do.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

from aigrid.core.errors import DataError
from aigrid.core.package import (
    EVALUATION_LAYER,
    MODEL_DOC,
    MODEL_WEIGHT,
    MODEL_WEIGHT_CONFIG,
    SERVICE_LAYER,
    ServiceSpec,
)

MODEL_CODE = "application/vnd.cncf.model.code.v1.raw"
FILEPATH = "org.cncf.model.filepath"
_BY_NAME = {
    "service.json": SERVICE_LAYER,
    "evaluation.json": EVALUATION_LAYER,
    "LICENSE": MODEL_DOC,
    "LICENCE": MODEL_DOC,
    "NOTICE": MODEL_DOC,
}
_BY_SUFFIX = {
    ".safetensors": MODEL_WEIGHT,
    ".onnx": MODEL_WEIGHT,
    ".onnx_data": MODEL_WEIGHT,
    ".data": MODEL_WEIGHT,
    ".npz": MODEL_WEIGHT,
    ".json": MODEL_WEIGHT_CONFIG,
    ".jinja": MODEL_WEIGHT_CONFIG,
    ".txt": MODEL_WEIGHT_CONFIG,
    ".model": MODEL_WEIGHT_CONFIG,
    ".yaml": MODEL_WEIGHT_CONFIG,
    ".md": MODEL_DOC,
    ".py": MODEL_CODE,
}
# What a service takes and gives, in the specification's words for modalities.
_MODALITIES = {
    "chat": ("text", "text"),
    "embed": ("text", "embedding"),
    "vision": ("image", "text"),
    "speech": ("audio", "text"),
    "policy": ("other", "other"),
    "function": ("other", "other"),
}
_SCALES = ((10**12, "t"), (10**9, "b"), (10**6, "m"), (10**3, "k"))
_MAX_HEADER_BYTES = 100 << 20


def media_type_of(path: PurePosixPath) -> str:
    """The layer media type for a file of a model directory.

    Raises:
        DataError: a kind of file that does not belong into a package.
    """
    if len(path.parts) == 1 and path.name in _BY_NAME:
        return _BY_NAME[path.name]
    found = _BY_SUFFIX.get(path.suffix)
    if found is None:
        raise DataError(
            f"{path} is not a kind of file that a package holds",
            next_step=f"remove it; packages hold {' '.join(_BY_SUFFIX)} and LICENSE",
        )
    return found


def model_config(spec: ServiceSpec, model_dir: Path, diff_ids: Sequence[str]) -> dict[str, Any]:
    """The model configuration (`application/vnd.cncf.model.config.v1+json`), free of times.

    Args:
        spec: name, version, licence and kind come from here.
        model_dir: a Hugging Face style directory; its `config.json` and `model.safetensors` add
            family, architecture and parameter count where they are there.
        diff_ids: digests of the layers, in order; raw layers are their own uncompressed content.
    """
    hugging_face = _hugging_face_config(model_dir / "config.json")
    descriptor = {
        "name": spec.name,
        "version": spec.version,
        "family": str(hugging_face.get("model_type", "")),
        "licenses": [spec.licence] if spec.licence else [],
        "revision": spec.provenance.commit,
    }
    taken, given = _MODALITIES[spec.kind]
    config = {
        "architecture": "transformer" if "num_attention_heads" in hugging_face else "",
        "format": _format(model_dir),
        "paramSize": _parameter_size(model_dir / "model.safetensors"),
        "precision": spec.provenance.precision,
        "capabilities": {"inputTypes": [taken], "outputTypes": [given]},
    }
    return {
        "descriptor": {k: v for k, v in descriptor.items() if v},
        "config": {k: v for k, v in config.items() if v},
        "modelfs": {"type": "layers", "diffIds": list(diff_ids)},
    }


def spell_parameters(count: int) -> str:
    """A parameter count as `<count><scale>`, one digit after the point at most: `10.2m`."""
    for scale, letter in _SCALES:
        if count >= scale:
            return f"{count / scale:.1f}".removesuffix(".0") + letter
    return f"{count / 1000:.1f}k"


def _hugging_face_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}", next_step="make the model again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is not a JSON object", next_step="make the model again")
    return value


def _format(model_dir: Path) -> str:
    if any(model_dir.glob("**/*.onnx")):
        return "onnx"
    return "safetensors" if any(model_dir.glob("**/*.safetensors")) else ""


def _parameter_size(path: Path) -> str:
    """Count parameters from the header alone: https://huggingface.co/docs/safetensors#format."""
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(stream.read(length))
        shapes = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
        return spell_parameters(sum(prod(shape) for shape in shapes))
    except (ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not a safetensors file: {error}", next_step="make the model again"
        ) from error
