"""The store: one directory with packages, catalogue and keys, and the same verbs for registries."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from aigrid.core.errors import AigridError, InvalidRequestError
from aigrid.store.catalogue import Catalogue, PackageRecord
from aigrid.store.durable import storing, temporary_beside, write_durably
from aigrid.store.keys import KeyPair, ensure_key, key_id
from aigrid.store.layout import Layout
from aigrid.store.manifest import PackageManifest
from aigrid.store.pack import open_package, pack, unpack
from aigrid.store.references import (
    LocalReference,
    RegistryReference,
    is_digest,
    parse_reference,
    parse_registry_reference,
)
from aigrid.store.registry import Registry
from aigrid.store.shown import (
    Listing,
    Shown,
    evaluation_of,
    fetch_small,
    registry_listing,
    shown,
    spec_of,
)
from aigrid.store.signing import Verified, sign, signatures, signer_of, verify
from aigrid.store.transport import Credentials, Limits


class Store:
    """A store in a directory: `oci/`, `catalogue.sqlite`, `keys/`, `trusted/`.

    Args:
        root: made when absent.
        credentials: for registries.
        limits: bounds of each transfer.

    Raises:
        StorageError, ConfigurationError, IntegrityError: the directory cannot be used.
    """

    def __init__(
        self,
        root: Path,
        *,
        credentials: Credentials = Credentials(),  # noqa: B008 - frozen
        limits: Limits = Limits(),  # noqa: B008
    ) -> None:
        self.root = root
        self.layout = Layout(root / "oci")
        self.layout.sweep()
        self.catalogue = Catalogue(root / "catalogue.sqlite")
        self._credentials = credentials
        self._limits = limits

    @cached_property
    def key(self) -> KeyPair:
        """This store's signing key, made on first use."""
        return ensure_key(self.root / "keys")

    @property
    def trusted_keys(self) -> list[Path]:
        """Public keys that this store believes: its own and those of `trusted/`."""
        return [self.key.public, *sorted((self.root / "trusted").glob("*.pem"))]

    def trust(self, public_key: Path) -> str:
        """Believe packages signed by this key from now on; returns its key id.

        Raises:
            ConfigurationError: not an EC public key.
        """
        identity = key_id(public_key)
        trusted = self.root / "trusted"
        with storing("a trusted key", trusted):
            trusted.mkdir(parents=True, exist_ok=True)
            write_durably(trusted / f"{identity[:16]}.pem", public_key.read_bytes())
        return identity

    def publish(
        self, source: Path | str, publisher: str, now_s: float, to: str = ""
    ) -> PackageRecord:
        """Pack, sign and list a model directory (or a package that is here, by digest).

        The catalogue's entry is the one moment at which it becomes visible. The same content again
        changes nothing.

        Args:
            source: a model directory, or `sha256:<hex>`.
            publisher: who publishes it.
            now_s: Unix time in seconds.
            to: also push it to this `oci://host:port/name[:tag]`; the version is the default tag.

        Raises:
            ConflictError: the version exists with another digest.
            DataError, ConfigurationError: the directory is not a model.
            StorageError: the disk is full; nothing half-written stays.
        """
        if isinstance(source, str) and is_digest(source):
            digest = source
        else:
            digest = pack(Path(source), self.layout).digest
        record = self._record(open_package(self.layout, digest), publisher, now_s)
        self.catalogue.check_free(record.ref, digest)
        sign(self.layout, digest, self.key)
        self._enter(record)
        if to:
            self.push(record.ref, to)
        return self.catalogue.get(record.name, record.version)

    def list(self, where: str = "") -> list[Listing]:
        """Packages of the store, of one name, or the tags of `oci://host:port/name`.

        Raises:
            NotFoundError: a registry without that repository.
        """
        reference = parse_reference(where) if where else None
        if isinstance(reference, RegistryReference):
            return registry_listing(self._registry(reference))
        records = self.catalogue.versions(reference.name) if reference else self.catalogue.list()
        return [
            Listing(r.ref, r.digest, r.kind, r.size_bytes, r.publisher, r.published_at_s)
            for r in records
        ]

    def show(self, ref: str) -> Shown:
        """All that is known of a package here or in a registry.

        Raises:
            NotFoundError, IntegrityError: it is not there, or its manifest is not what it must be.
        """
        reference = parse_reference(ref)
        if isinstance(reference, LocalReference):
            return self._show_local(reference)
        with self._fetched_small(reference) as (layout, package):
            return shown(layout, package, str(reference), self._claim(layout, package.digest), None)

    def verify(self, ref: str, keys: Sequence[Path] = ()) -> Verified:
        """Check every byte and the signature of a package here or in a registry.

        Args:
            ref: any reference.
            keys: public keys to believe; the store's trusted keys where none are named.

        Raises:
            IntegrityError: naming the file and the digests; or unsigned, or by an unknown key.
        """
        reference = parse_reference(ref)
        trusted = list(keys) or self.trusted_keys
        if isinstance(reference, LocalReference):
            return verify(self.layout, self._digest(reference), trusted)
        with self._scratch() as layout:
            package = self._registry(reference).pull(layout)
            return verify(layout, package.digest, trusted)

    def pull(self, ref: str, now_s: float, publisher: str = "") -> PackageRecord:
        """Fetch a package from a registry and list it here, when its signature is trusted.

        Raises:
            IntegrityError: wrong bytes, unsigned or signed by an unknown key; it is not listed.
            ConflictError: the version exists here with another digest.
        """
        reference = parse_registry_reference(ref)
        package = self._registry(reference).pull(self.layout)
        verify(self.layout, package.digest, self.trusted_keys)
        record = self._record(package, publisher or reference.host, now_s)
        self._enter(record)
        return self.catalogue.get(record.name, record.version)

    def push(self, ref: str, to: str) -> RegistryReference:
        """Send a package of the store to `oci://host:port/name[:tag]`; returns it there by digest.

        Raises:
            NotFoundError: it is not here.
            UnavailableError, AuthenticationError: the registry does not take it.
        """
        digest = self.resolve(ref)
        target = parse_registry_reference(to)
        if target.digest:
            raise InvalidRequestError(f"{to!r} names a digest", next_step="push to a tag")
        version = self._record(open_package(self.layout, digest), "", 0.0).version
        self._registry(target).push(self.layout, digest, target.tag or version)
        return RegistryReference(target.host, target.repository, "", digest)

    def resolve(self, ref: str) -> str:
        """The digest that a reference means, here or in a registry.

        Raises:
            NotFoundError: nothing of that name.
        """
        reference = parse_reference(ref)
        if isinstance(reference, LocalReference):
            return self._digest(reference)
        return reference.digest or self._registry(reference).package().digest

    def unpack(self, ref: str, dest: Path) -> PackageManifest:
        """Verify a package of the store and write its files into a new directory.

        Raises:
            IntegrityError, ConflictError, StorageError: as `verify` and `pack.unpack`.
        """
        digest = self.verify(ref).digest
        return unpack(self.layout, digest, dest)

    def _digest(self, reference: LocalReference) -> str:
        if reference.digest:
            open_package(self.layout, reference.digest)
            return reference.digest
        return self.catalogue.get(reference.name, reference.version).digest

    def _enter(self, record: PackageRecord) -> None:
        """List it: catalogue first (it decides a race), then the tag that other OCI tools read."""
        self.catalogue.publish(record)
        self.layout.tag(record.digest, record.ref)

    def _record(self, package: PackageManifest, publisher: str, now_s: float) -> PackageRecord:
        spec = spec_of(self.layout, package)
        return PackageRecord(
            spec.name,
            spec.version,
            package.digest,
            spec.kind,
            package.size_bytes,
            spec,
            publisher,
            now_s,
            evaluation_of(self.layout, package),
        )

    def _show_local(self, reference: LocalReference) -> Shown:
        digest = self._digest(reference)
        try:
            verify(self.layout, digest, self.trusted_keys)
            status = "verified"
        except AigridError as error:
            claim = self._claim(self.layout, digest)
            status = f"broken: {error.message}" if claim == "trusted key" else claim
        package = open_package(self.layout, digest)
        record = self.catalogue.by_digest(digest)
        return shown(self.layout, package, record.ref if record else str(reference), status, record)

    def _claim(self, layout: Layout, digest: str) -> str:
        signers = {signer_of(bundle) for _, bundle in signatures(layout, digest)}
        if not signers:
            return "unsigned"
        trusted = {key_id(path) for path in self.trusted_keys}
        return "trusted key" if signers & trusted else "unknown key"

    def _registry(self, reference: RegistryReference) -> Registry:
        return Registry(reference, self._credentials, self._limits)

    @contextmanager
    def _scratch(self) -> Iterator[Layout]:
        """A layout that is gone afterwards."""
        with storing("a copy to look at", self.root):
            aside = temporary_beside(self.layout.root / "scratch")
        try:
            yield Layout(aside)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    @contextmanager
    def _fetched_small(
        self, reference: RegistryReference
    ) -> Iterator[tuple[Layout, PackageManifest]]:
        """A package without its weights, as a layout."""
        with self._scratch() as layout:
            yield layout, fetch_small(self._registry(reference), layout)
