"""A package's manifest, read strictly: a path that leaves the package directory is refused here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from aigrid.core.errors import ConfigurationError, IntegrityError
from aigrid.core.package import (
    EVALUATION_LAYER,
    MODEL_CONFIG,
    MODEL_MANIFEST,
    OCI_EMPTY,
    OCI_MANIFEST,
    SERVICE_LAYER,
    Descriptor,
    canonical_json,
)
from aigrid.store.digests import decode_object
from aigrid.store.modelpack import FILEPATH
from aigrid.store.references import is_digest

MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "model.sig"
RESERVED = (MANIFEST_FILE, SIGNATURE_FILE)
MAX_LAYERS = 1000
_MAX_PATH = 512
_TITLE = "org.opencontainers.image.title"
EMPTY_CONTENT = b"{}"


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of a package: its path within the package directory and its blob."""

    path: str
    blob: Descriptor


@dataclass(frozen=True, slots=True)
class PackageManifest:
    """What a package is made of.

    Attributes:
        digest: of the manifest's own bytes.
        content: those bytes.
        config: the ModelPack configuration blob.
        layers: the files, each path once.
    """

    digest: str
    content: bytes
    config: Descriptor
    layers: tuple[Layer, ...]

    @property
    def size_bytes(self) -> int:
        """Manifest, configuration and every file."""
        return len(self.content) + self.config.size + sum(x.blob.size for x in self.layers)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob the manifest needs, each once."""
        return tuple({d.digest: d for d in (self.config, *(x.blob for x in self.layers))}.values())

    def layer_of(self, media_type: str) -> Layer | None:
        """The first file of a media type, such as the service layer."""
        return next((x for x in self.layers if x.blob.media_type == media_type), None)

    @property
    def service(self) -> Layer:
        """The layer with the service specification."""
        found = self.layer_of(SERVICE_LAYER)
        if found is None:
            raise IntegrityError(
                f"package {self.digest} has no service layer",
                next_step="publish it from a directory with a service.json",
            )
        return found

    @property
    def evaluation(self) -> Layer | None:
        """The layer with the evaluation card, where there is one."""
        return self.layer_of(EVALUATION_LAYER)


def file_layer(path: PurePosixPath, media_type: str, digest: str, size: int) -> dict[str, Any]:
    """A layer as the manifest spells it; the title lets plain OCI tools write the file too."""
    annotations = ((FILEPATH, str(path)), (_TITLE, str(path)))
    return Descriptor(media_type, digest, size, annotations).to_dict()


def package_manifest(
    config: Descriptor, layers: list[dict[str, Any]], name: str, version: str
) -> bytes:
    """Canonical bytes of a package's manifest: same content, same digest."""
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": MODEL_MANIFEST,
            "config": config.to_dict(),
            "layers": layers,
            "annotations": {_TITLE: name, "org.opencontainers.image.version": version},
        }
    )


def referrer_manifest(subject: Descriptor, artifact_type: str, content: Descriptor) -> bytes:
    """Canonical bytes of a manifest that attaches one blob to a package (OCI image spec 1.1)."""
    empty = Descriptor.of(OCI_EMPTY, EMPTY_CONTENT)
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": empty.to_dict(),
            "layers": [content.to_dict()],
            "subject": subject.to_dict(),
        }
    )


def read_manifest(digest: str, content: bytes) -> PackageManifest:
    """Read a package's manifest, refusing all that a package cannot be.

    Raises:
        IntegrityError: another kind of artifact, a malformed descriptor, a path that is absolute,
            climbs, repeats or is reserved, or too many files.
    """
    origin = f"manifest {digest}"
    raw = decode_object(content, origin)
    if raw.get("artifactType") != MODEL_MANIFEST:
        raise IntegrityError(
            f"{origin} has artifactType {raw.get('artifactType')!r}, not {MODEL_MANIFEST}",
            next_step="name a ModelPack package",
        )
    layers = raw.get("layers")
    if not isinstance(layers, list) or not 0 < len(layers) <= MAX_LAYERS:
        raise IntegrityError(f"{origin} needs 1 to {MAX_LAYERS} layers")
    config = read_descriptor(raw.get("config"), origin)
    if config.media_type != MODEL_CONFIG:
        raise IntegrityError(f"{origin} has config {config.media_type!r}, not {MODEL_CONFIG}")
    read = tuple(_layer(x, origin) for x in layers)
    _check_paths([x.path for x in read], origin)
    return PackageManifest(digest, content, config, read)


def read_descriptor(raw: Any, origin: str) -> Descriptor:
    """A descriptor with a sha256 digest and a size that can be.

    Raises:
        IntegrityError: it is not one.
    """
    try:
        found = Descriptor.from_dict(raw)
    except (ConfigurationError, AttributeError) as error:
        raise IntegrityError(f"{origin}: {error}") from error
    if not is_digest(found.digest) or isinstance(found.size, bool) or found.size < 0:
        raise IntegrityError(f"{origin}: descriptor {found.digest!r} with size {found.size!r}")
    return found


def check_path(path: str, origin: str) -> None:
    """Refuse a path that is not plainly inside the package directory.

    Raises:
        IntegrityError: absolute, climbing, empty, over-long, reserved or with odd characters.
    """
    parts = path.split("/")
    plain = path.isprintable() and "\\" not in path and len(path) <= _MAX_PATH
    if not plain or any(part in ("", ".", "..") for part in parts):
        raise IntegrityError(
            f"{origin}: file path {path!r} is refused",
            next_step="use relative paths below the package",
        )
    if path in RESERVED:
        raise IntegrityError(
            f"{origin}: file name {path!r} is reserved", next_step="rename the file"
        )


def _layer(raw: Any, origin: str) -> Layer:
    blob = read_descriptor(raw, origin)
    path = dict(blob.annotations).get(FILEPATH)
    if not isinstance(path, str):
        raise IntegrityError(f"{origin}: layer {blob.digest} has no {FILEPATH} annotation")
    if blob.media_type.endswith((".tar", ".tar+gzip", ".tar+zstd")):
        raise IntegrityError(
            f"{origin}: {path} is an archive ({blob.media_type})",
            next_step="pack the model with raw layers",
        )
    check_path(path, origin)
    return Layer(path, blob)


def _check_paths(paths: list[str], origin: str) -> None:
    seen: set[str] = set()
    for path in sorted(paths):
        parents = {"/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 1)}
        if path in seen or parents & seen:
            raise IntegrityError(f"{origin}: file path {path!r} comes twice")
        seen.add(path)
