"""What people are told of a package, from the store or from a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aigrid.core.errors import AigridError
from aigrid.core.package import RUN_ARTIFACT, ServiceSpec
from aigrid.store.catalogue import PackageRecord
from aigrid.store.digests import decode_object
from aigrid.store.layout import Layout
from aigrid.store.manifest import PackageManifest
from aigrid.store.pack import MAX_SERVICE_BYTES
from aigrid.store.references import RegistryReference
from aigrid.store.registry import Registry
from aigrid.store.signing import signatures, signer_of

MAX_EVALUATION_BYTES = 4 << 20
MAX_LISTED_TAGS = 200


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of a list of packages, from the store or a registry.

    Attributes:
        ref: `name:version`, or `oci://...:tag`.
        digest: of the manifest.
        kind: what the service does; empty for artifacts that are no package.
        size_bytes: manifest, configuration and files.
        publisher: who published it here; empty in a registry.
        published_at_s: Unix time in seconds; None in a registry.
    """

    ref: str
    digest: str
    kind: str
    size_bytes: int
    publisher: str = ""
    published_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """All that is known of one package.

    Attributes:
        ref: as it was found.
        digest: of the manifest.
        manifest: the OCI manifest.
        spec: the service specification.
        evaluation: the evaluation card; empty where there is none.
        signature: `verified` (local; every byte checked), `trusted key` (registry; `verify` proves
            it), `unknown key`, `unsigned`, or `broken: ...`.
        signers: key ids that the signatures claim.
        runs: records of the runs that made it, oldest first.
        record: the catalogue's entry; None in a registry.
    """

    ref: str
    digest: str
    manifest: dict[str, Any]
    spec: ServiceSpec
    evaluation: dict[str, Any]
    signature: str
    signers: tuple[str, ...]
    runs: tuple[dict[str, Any], ...]
    record: PackageRecord | None = None


def shown(
    layout: Layout,
    package: PackageManifest,
    ref: str,
    signature: str,
    record: PackageRecord | None = None,
) -> Shown:
    """Put together what a layout holds of a package."""
    return Shown(
        ref,
        package.digest,
        layout.manifest(package.digest),
        spec_of(layout, package),
        evaluation_of(layout, package),
        signature,
        tuple(signer_of(b) for _, b in signatures(layout, package.digest)),
        runs_of(layout, package.digest),
        record,
    )


def registry_listing(registry: Registry) -> list[Listing]:
    """The tags of a repository, at most `MAX_LISTED_TAGS`; what is no package has no kind.

    Raises:
        NotFoundError: no such repository.
        UnavailableError: the registry fails.
    """
    return [_listed(registry, tag) for tag in registry.tags()[:MAX_LISTED_TAGS]]


def _listed(registry: Registry, tag: str) -> Listing:
    reference = RegistryReference(registry.reference.host, registry.reference.repository, tag)
    try:
        package = registry.package(tag)
        content = registry.blob(package.service.blob, MAX_SERVICE_BYTES)
        spec = ServiceSpec.from_dict(decode_object(content, str(reference)), str(reference))
    except AigridError as error:
        if error.http_status >= 500:
            raise
        return Listing(str(reference), "", "", 0)
    return Listing(str(reference), package.digest, spec.kind, package.size_bytes)


def fetch_small(registry: Registry, layout: Layout) -> PackageManifest:
    """Bring a package without its weights into a layout."""
    package = registry.package()
    layout.add_manifest(package.content)
    layout.write_blob(registry.blob(package.service.blob, MAX_SERVICE_BYTES))
    if package.evaluation:
        layout.write_blob(registry.blob(package.evaluation.blob, MAX_EVALUATION_BYTES))
    registry.pull_referrers(layout, package.digest)
    return package


def spec_of(layout: Layout, package: PackageManifest) -> ServiceSpec:
    """The service specification inside a package."""
    content = layout.read_blob(package.service.blob.digest, MAX_SERVICE_BYTES, "service layer")
    origin = f"service layer of {package.digest}"
    return ServiceSpec.from_dict(decode_object(content, origin), origin)


def evaluation_of(layout: Layout, package: PackageManifest) -> dict[str, Any]:
    """The evaluation card inside a package; empty where there is none."""
    if package.evaluation is None:
        return {}
    content = layout.read_blob(
        package.evaluation.blob.digest, MAX_EVALUATION_BYTES, "evaluation card"
    )
    return decode_object(content, f"evaluation card of {package.digest}")


def runs_of(layout: Layout, digest: str) -> tuple[dict[str, Any], ...]:
    """Records of the runs that made a package, oldest first."""
    found = []
    for entry in layout.referrers(digest, RUN_ARTIFACT):
        blob = layout.manifest(entry["digest"])["layers"][0]["digest"]
        found.append(decode_object(layout.read_blob(blob, what="run record"), "run record"))
    return tuple(found)
