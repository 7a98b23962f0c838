"""An OCI image layout on disk: blobs named by their digest, and an index of manifests.

Format: OCI image specification 1.1, "Image Layout". Blobs are written aside and renamed, the index
is replaced as a whole under a lock, and every read checks the digest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigrid.core.errors import IntegrityError, NotFoundError, TooLargeError
from aigrid.core.package import (
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    canonical_json,
    sha256_digest,
)
from aigrid.store.digests import REPAIR, checked, decode_object, file_digest
from aigrid.store.durable import (
    locked,
    read_chunks,
    remove,
    stale_temporaries,
    storing,
    write_all,
    write_durably,
    written_aside,
)
from aigrid.store.references import is_digest

REF_NAME = "org.opencontainers.image.ref.name"
MAX_BLOB_BYTES = 64 << 30
MAX_MANIFEST_BYTES = 4 << 20
MAX_INDEX_BYTES = 64 << 20
_LAYOUT_VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing `fsck` found: the file and what is wrong with it."""

    path: Path
    trouble: str


class Layout:
    """A directory of blobs and manifests that many processes may write at once.

    Args:
        root: the directory; made when absent.
        max_blob_bytes: larger blobs are refused before they fill the disk.

    Raises:
        IntegrityError: the directory holds something other than an OCI image layout.
        StorageError: it cannot be made.
    """

    def __init__(self, root: Path, *, max_blob_bytes: int = MAX_BLOB_BYTES) -> None:
        self.root = root
        self.max_blob_bytes = max_blob_bytes
        self._blobs = root / "blobs" / "sha256"
        self._index_file = root / "index.json"
        self._open()

    def _open(self) -> None:
        marker = self.root / "oci-layout"
        if not marker.exists():
            with storing("an OCI layout", self.root):
                self._blobs.mkdir(parents=True, exist_ok=True)
                with locked(self.root / ".lock"):
                    if not self._index_file.exists():
                        write_durably(self._index_file, _index_bytes([]))
                    write_durably(marker, canonical_json({"imageLayoutVersion": _LAYOUT_VERSION}))
        found = _read_json(marker, 1024)
        if not isinstance(found, dict) or found.get("imageLayoutVersion") != _LAYOUT_VERSION:
            raise IntegrityError(
                f"{marker} is not an OCI layout marker", next_step="name another directory"
            )

    # Blobs

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies; nothing but a digest can become a path.

        Raises:
            IntegrityError: not a `sha256:<64 hex digits>` digest.
        """
        if not is_digest(digest):
            raise IntegrityError(f"{digest!r} is not a sha256 digest")
        return self._blobs / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        """Whether a blob of this name is here; its bytes are checked when read."""
        return self.blob_path(digest).is_file()

    def intact(self, digest: str) -> bool:
        """Whether the blob is here with the right bytes (reads all of it)."""
        return self.has(digest) and file_digest(self.blob_path(digest))[0] == digest

    def write_blob(self, content: bytes) -> str:
        """Keep bytes and return their digest.

        Raises:
            StorageError, TooLargeError: as `ingest`.
        """
        digest = sha256_digest(content)
        if not self.intact(digest):
            self.ingest((content,), digest, len(content))
        return digest

    def write_file(self, source: Path) -> tuple[str, int]:
        """Copy a file in; returns its digest and its size in bytes.

        Raises:
            IntegrityError: the file changed while it was copied.
            StorageError, TooLargeError: as `ingest`.
        """
        with storing(f"a copy of {source}", self.root):
            digest, size = file_digest(source)
            if not self.intact(digest):
                self.ingest(read_chunks(source), digest, size)
        return digest, size

    def ingest(self, chunks: Iterable[bytes], digest: str, size: int) -> None:
        """Keep a stream that must have this digest and this many bytes.

        Raises:
            IntegrityError: other bytes came; nothing is kept of them.
            TooLargeError: the size is over the limit.
            StorageError: the disk is full; nothing half-written stays.
        """
        target = self.blob_path(digest)
        if not 0 <= size <= self.max_blob_bytes:
            raise TooLargeError(
                f"blob {digest} has {size} bytes, the limit here is {self.max_blob_bytes}",
                next_step="raise the store's blob limit or split the file",
            )
        with storing(f"blob {digest}", self.root), written_aside(target, 0o444) as descriptor:
            write_all(descriptor, checked(chunks, digest, size))

    def stream(self, digest: str, size: int, what: str = "") -> Iterator[bytes]:
        """A blob's bytes; the last step raises where they are not what the digest promises.

        Raises:
            NotFoundError: no such blob.
            IntegrityError: wrong bytes; the message names `what`.
        """
        path = self.blob_path(digest)
        if not path.is_file():
            raise NotFoundError(
                f"{what or 'blob'}: {digest} is missing in {self.root}", next_step=REPAIR
            )
        with storing(digest, self.root):
            yield from checked(read_chunks(path), digest, size, what)

    def read_blob(
        self, digest: str, limit_bytes: int = MAX_MANIFEST_BYTES, what: str = ""
    ) -> bytes:
        """A small blob as a whole, checked.

        Raises:
            NotFoundError, IntegrityError: as `stream`.
            TooLargeError: the blob is over `limit_bytes`.
        """
        path = self.blob_path(digest)
        size = path.stat().st_size if path.is_file() else 0
        if size > limit_bytes:
            raise TooLargeError(
                f"{what or 'blob'} {digest} has {size} bytes, the limit is {limit_bytes}"
            )
        return b"".join(self.stream(digest, size, what))

    # Manifests

    def entries(self) -> list[dict[str, Any]]:
        """Descriptors of `index.json`, in the order they were added."""
        raw = _read_json(self._index_file, MAX_INDEX_BYTES)
        entries = raw.get("manifests") if isinstance(raw, dict) else None
        if not isinstance(entries, list):
            raise IntegrityError(f"{self._index_file} is not an OCI index", next_step=REPAIR)
        for entry in entries:
            Descriptor.from_dict(entry)
        return entries

    def add_manifest(self, content: bytes, ref: str = "") -> str:
        """Keep a manifest and list it, under a tag where one is given; returns its digest.

        Raises:
            StorageError: the disk is full; the index is as it was.
        """
        digest = self.write_blob(content)
        manifest = json.loads(content)
        entry = Descriptor(OCI_MANIFEST, digest, len(content)).to_dict()
        if "artifactType" in manifest:
            entry["artifactType"] = manifest["artifactType"]
        if ref:
            entry["annotations"] = {REF_NAME: ref}
        with storing("the index", self.root), locked(self.root / ".lock"):
            old = self.entries()
            new = _with_entry(old, entry, ref)
            if new != old:
                write_durably(self._index_file, _index_bytes(new))
        return digest

    def tag(self, digest: str, ref: str) -> None:
        """Let `ref` (`name:version`) mean this manifest; it leaves whatever it meant before.

        Raises:
            NotFoundError: no such manifest.
        """
        self.add_manifest(self.read_blob(digest, what="manifest"), ref)

    def resolve(self, ref: str) -> str:
        """The digest that a tag means.

        Raises:
            NotFoundError: no such tag.
        """
        for entry in self.entries():
            if (entry.get("annotations") or {}).get(REF_NAME) == ref:
                return str(entry["digest"])
        raise NotFoundError(
            f"{ref!r} is not in {self.root}", next_step="see what is: aigrid store list"
        )

    def manifest(self, digest: str) -> dict[str, Any]:
        """A manifest, checked and decoded.

        Raises:
            NotFoundError, IntegrityError, TooLargeError: as `read_blob`; also when it is not JSON.
        """
        return decode_object(self.read_blob(digest, what="manifest"), f"manifest {digest}")

    def referrers(self, digest: str, artifact_type: str = "") -> list[dict[str, Any]]:
        """Descriptors of the manifests whose `subject` is this digest, oldest first."""
        found = []
        for entry in self.entries():
            if artifact_type and entry.get("artifactType") != artifact_type:
                continue
            # Damage to one referrer must not hide the others; `fsck` reports it.
            with suppress(IntegrityError, NotFoundError):
                subject = self.manifest(entry["digest"]).get("subject")
                if isinstance(subject, dict) and subject.get("digest") == digest:
                    found.append(entry)
        return found

    def fsck(self) -> list[Problem]:
        """Read everything: wrong bytes, missing blobs, and what dead writers left behind."""
        present = [p for p in sorted(self._blobs.iterdir()) if not p.name.startswith(".")]
        problems = [_blob_problem(path) for path in present]
        problems += [Problem(p, "left by a writer that died") for p in self.stale()]
        return [p for p in problems if p] + list(self._dangling())

    def stale(self) -> list[Path]:
        """Temporary files whose writer is no longer alive."""
        return stale_temporaries(self._blobs) + stale_temporaries(self.root)

    def sweep(self) -> None:
        """Remove what dead writers left behind."""
        with storing("less", self.root):
            for path in self.stale():
                remove(path)

    def _dangling(self) -> Iterator[Problem]:
        for entry in self.entries():
            needed = [entry["digest"]]
            if self.intact(entry["digest"]):
                manifest = self.manifest(entry["digest"])
                needed += [d["digest"] for d in [manifest["config"], *manifest["layers"]]]
            for digest in needed:
                if not self.has(digest):
                    yield Problem(self.blob_path(digest), f"missing, needed by {entry['digest']}")


def _with_entry(
    entries: list[dict[str, Any]], entry: dict[str, Any], ref: str
) -> list[dict[str, Any]]:
    """The index with `entry` in it, once for each tag, and `ref` meaning nothing else."""
    kept = [e for e in entries if not ref or (e.get("annotations") or {}).get(REF_NAME) != ref]
    if not ref and any(e["digest"] == entry["digest"] for e in kept):
        return kept
    same_untagged = {"digest": entry["digest"], "annotations": None}
    kept = [e for e in kept if {k: e.get(k) for k in same_untagged} != same_untagged]
    return [*kept, entry]


def _index_bytes(entries: list[dict[str, Any]]) -> bytes:
    return canonical_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


def _read_json(path: Path, limit_bytes: int) -> Any:
    with storing("what is there", path.parent):
        if path.stat().st_size > limit_bytes:
            raise TooLargeError(f"{path} is over {limit_bytes} bytes")
        content = path.read_bytes()
    return decode_object(content, str(path))


def _blob_problem(path: Path) -> Problem | None:
    digest, _ = file_digest(path)
    if digest == f"sha256:{path.name}":
        return None
    return Problem(path, f"its bytes have digest {digest}")
