"""Between a model directory and a package: `pack` and `unpack`.

The same files give the same digest: paths are sorted, JSON is canonical, and nothing records a time
or a machine. `run.json` holds both, so it is attached to the package instead of being part of it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from aigrid.core.errors import ConflictError, DataError
from aigrid.core.package import (
    MODEL_CONFIG,
    OCI_MANIFEST,
    RUN_ARTIFACT,
    Descriptor,
    ServiceSpec,
    canonical_json,
)
from aigrid.store.durable import storing, sync_directory, temporary_beside, write_all, written_aside
from aigrid.store.layout import Layout
from aigrid.store.manifest import (
    EMPTY_CONTENT,
    MANIFEST_FILE,
    MAX_LAYERS,
    PackageManifest,
    check_path,
    file_layer,
    package_manifest,
    read_manifest,
    referrer_manifest,
)
from aigrid.store.modelpack import media_type_of, model_config
from aigrid.store.references import check_name

RUN_FILE = "run.json"
SERVICE_FILE = "service.json"
MAX_SERVICE_BYTES = 1 << 20
_MAX_JSON_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Packed:
    """What `pack` made.

    Attributes:
        digest: of the manifest; the package's identity.
        ref: `name:version`.
        size_bytes: manifest, configuration and files.
        spec: the service specification inside.
    """

    digest: str
    ref: str
    size_bytes: int
    spec: ServiceSpec


def pack(model_dir: Path, layout: Layout) -> Packed:
    """Put a model directory into a layout as a package, not yet tagged.

    Every file of the directory becomes one raw layer, except `run.json`, which becomes a referrer.
    Packages for the `upstream` engine need nothing but `service.json`.

    Raises:
        NotFoundError, DataError: no directory, no `service.json`, or a file that does not belong.
        ConfigurationError: `service.json` has unknown keys or wrong values.
        StorageError: the disk is full; nothing half-written stays.
    """
    spec = read_service(model_dir / SERVICE_FILE)
    layers = [_store_file(model_dir, path, layout) for path in _package_files(model_dir)]
    _check_weights(spec, model_dir)
    config = canonical_json(model_config(spec, model_dir, [x["digest"] for x in layers]))
    described = Descriptor(MODEL_CONFIG, layout.write_blob(config), len(config))
    content = package_manifest(described, layers, spec.name, spec.version)
    digest = layout.add_manifest(content)
    if (model_dir / RUN_FILE).is_file():
        attach(layout, digest, RUN_ARTIFACT, _read_json_file(model_dir / RUN_FILE))
    size = read_manifest(digest, content).size_bytes
    return Packed(digest, f"{spec.name}:{spec.version}", size, spec)


def read_service(path: Path) -> ServiceSpec:
    """The service specification of a model directory.

    Raises:
        DataError: it is missing, too large or not JSON.
        ConfigurationError, InvalidRequestError: it says what cannot be.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is missing",
            next_step="a model directory needs a service.json; run the factory",
        )
    spec = ServiceSpec.from_dict(json.loads(_read_json_file(path, MAX_SERVICE_BYTES)), str(path))
    check_name(spec.name, spec.version, str(path))
    return spec


def attach(layout: Layout, digest: str, artifact_type: str, content: bytes) -> str:
    """Attach bytes to a package as an OCI referrer; returns the referrer's digest."""
    subject = Descriptor(OCI_MANIFEST, digest, layout.blob_path(digest).stat().st_size)
    layout.write_blob(EMPTY_CONTENT)
    blob = Descriptor(artifact_type, layout.write_blob(content), len(content))
    return layout.add_manifest(referrer_manifest(subject, artifact_type, blob))


def open_package(layout: Layout, digest: str) -> PackageManifest:
    """The package's manifest, checked.

    Raises:
        NotFoundError, IntegrityError, TooLargeError: it is not there, or not a package.
    """
    return read_manifest(digest, layout.read_blob(digest, what="manifest"))


def unpack(layout: Layout, digest: str, dest: Path) -> PackageManifest:
    """Write a package's files, and its manifest as `manifest.json`, into a new directory.

    The directory appears complete or not at all, and every byte was checked on the way.

    Raises:
        ConflictError: `dest` exists.
        IntegrityError: wrong bytes, or a path that would leave `dest`.
        StorageError: the disk is full.
    """
    package = open_package(layout, digest)
    if dest.is_symlink() or dest.exists():
        raise ConflictError(f"{dest} exists", next_step="name a new directory or remove this one")
    with storing(f"package {digest}", dest.parent):
        dest.parent.mkdir(parents=True, exist_ok=True)
        aside = temporary_beside(dest)
        try:
            write_files(layout, package, aside)
            aside.rename(dest)
            sync_directory(dest.parent)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    return package


def write_files(layout: Layout, package: PackageManifest, directory: Path) -> None:
    """Fill a new directory with a package's files and its manifest, checking every byte."""
    directory.mkdir()
    for layer in package.layers:
        target = directory / layer.path
        target.parent.mkdir(parents=True, exist_ok=True)
        what = f"{layer.path} of package {package.digest}"
        with written_aside(target) as descriptor:
            write_all(descriptor, layout.stream(layer.blob.digest, layer.blob.size, what))
    with written_aside(directory / MANIFEST_FILE) as descriptor:
        write_all(descriptor, (package.content,))


def _package_files(model_dir: Path) -> list[PurePosixPath]:
    found = []
    for path in sorted(model_dir.rglob("*")):
        relative = PurePosixPath(path.relative_to(model_dir).as_posix())
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DataError(f"{path} is not a plain file", next_step="replace the link by its file")
        if path.is_file() and str(relative) != RUN_FILE:
            check_path(str(relative), str(model_dir))
            found.append(relative)
    if len(found) > MAX_LAYERS:
        raise DataError(f"{model_dir} has {len(found)} files, a package holds {MAX_LAYERS}")
    return sorted(found, key=str)


def _store_file(model_dir: Path, path: PurePosixPath, layout: Layout) -> dict[str, Any]:
    media_type = media_type_of(path)
    digest, size = layout.write_file(model_dir / path)
    return file_layer(path, media_type, digest, size)


def _check_weights(spec: ServiceSpec, model_dir: Path) -> None:
    has_weights = any(p.suffix in (".onnx", ".safetensors", ".npz") for p in model_dir.rglob("*"))
    if spec.engine == "embedded" and not has_weights:
        raise DataError(
            f"{model_dir} has no weights, and {spec.name} runs on the embedded engine",
            next_step="add onnx/model.onnx or model.safetensors, or use the upstream engine",
        )


def _read_json_file(path: Path, limit_bytes: int = _MAX_JSON_BYTES) -> bytes:
    with storing("what is there", path.parent):
        content = path.read_bytes() if path.stat().st_size <= limit_bytes else b""
    try:
        json.loads(content)
    except ValueError as error:
        raise DataError(
            f"{path} is not JSON of at most {limit_bytes} bytes: {error}",
            next_step="write it again",
        ) from error
    return content
