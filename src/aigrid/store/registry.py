"""A client of the OCI distribution API: push, pull, tags, manifests, referrers.

Standard: OCI distribution specification 1.1. Where a registry lacks the referrers API (such as
docker-registry 2.8), the tag `sha256-<hex>` holds an index of them, as the specification's
"Referrers Tag Schema" says.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from aigrid.core.errors import (
    AigridError,
    InvalidRequestError,
    NotFoundError,
    StorageError,
    TooLargeError,
    UnavailableError,
)
from aigrid.core.package import (
    OCI_INDEX,
    OCI_MANIFEST,
    RUN_ARTIFACT,
    SIGNATURE_ARTIFACT,
    Descriptor,
    canonical_json,
    sha256_digest,
)
from aigrid.store.digests import checked, decode_object
from aigrid.store.layout import MAX_MANIFEST_BYTES, Layout
from aigrid.store.manifest import PackageManifest, read_descriptor, read_manifest
from aigrid.store.references import RegistryReference
from aigrid.store.transport import Answer, Credentials, Limits, Transport

MAX_REFERRERS = 64
MAX_TAGS = 10_000
_ACCEPT = {"Accept": f"{OCI_MANIFEST}, {OCI_INDEX}"}
_CARRIED = (SIGNATURE_ARTIFACT, RUN_ARTIFACT)
_PAGE = 1000


class Registry:
    """One repository in one registry.

    Args:
        reference: host and repository; its tag or digest is not looked at here.
        credentials: for the registry's challenges.
        limits: bounds of each transfer.
    """

    def __init__(
        self,
        reference: RegistryReference,
        credentials: Credentials = Credentials(),  # noqa: B008 - frozen, so one default for all is safe
        limits: Limits = Limits(),  # noqa: B008
    ) -> None:
        self.reference = reference
        self._transport = Transport(reference.host, credentials, limits)
        self._path = f"/v2/{reference.repository}"

    # Reading

    def tags(self) -> list[str]:
        """Every tag, but for those that hold referrers.

        Raises:
            NotFoundError: no such repository.
            UnavailableError, AuthenticationError: as for all calls here.
        """
        found: list[str] = []
        url = f"{self._path}/tags/list?n={_PAGE}"
        while url and len(found) < MAX_TAGS:
            answer = self._get(url, "tags")
            listed = decode_object(answer.body, f"tags of {self.reference}").get("tags") or []
            found += [str(t) for t in listed]
            url = _next_page(answer, self._path) if listed else ""
        return [t for t in found if not t.startswith("sha256-")]

    def manifest(self, reference: str) -> tuple[str, bytes]:
        """Digest and bytes of a manifest named by tag or digest.

        Raises:
            NotFoundError: nothing of that name.
            IntegrityError: the registry sent other bytes than the digest promises.
        """
        answer = self._get(
            f"{self._path}/manifests/{quote(reference, safe=':')}", reference, _ACCEPT
        )
        actual = sha256_digest(answer.body)
        promised = (
            reference
            if reference.startswith("sha256:")
            else answer.headers.get("docker-content-digest", actual)
        )
        what = f"manifest {reference} from {self.reference.host}"
        content = b"".join(checked((answer.body,), promised, len(answer.body), what))
        return actual, content

    def package(self, reference: str = "") -> PackageManifest:
        """A package's manifest, by the reference's own tag or digest unless another is named."""
        named = reference or self.reference.digest or self.reference.tag or "latest"
        return read_manifest(*self.manifest(named))

    def blob(self, blob: Descriptor, limit_bytes: int = MAX_MANIFEST_BYTES) -> bytes:
        """A small blob, checked.

        Raises:
            TooLargeError: it is over `limit_bytes`.
            NotFoundError, IntegrityError: it is missing or has other bytes.
        """
        if blob.size > limit_bytes:
            raise TooLargeError(
                f"blob {blob.digest} has {blob.size} bytes, the limit is {limit_bytes}"
            )
        with self._transport.download(self._blob_url(blob.digest)) as (status, chunks):
            self._check(status, blob.digest)
            return b"".join(checked(chunks, blob.digest, blob.size))

    def referrers(self, digest: str, artifact_type: str = "") -> list[Descriptor]:
        """Signatures and run records of a manifest, or one type; at most `MAX_REFERRERS`."""
        index, _ = self._referrers_index(digest)
        wanted = (artifact_type,) if artifact_type else _CARRIED
        entries = [e for e in index if e.get("artifactType") in wanted]
        return [read_descriptor(e, f"referrers of {digest}") for e in entries[:MAX_REFERRERS]]

    def pull(self, layout: Layout, reference: str = "") -> PackageManifest:
        """Fetch a package with its signatures and run record into a layout.

        Blobs that are there already and intact are not fetched again. The manifest is written last,
        so that a package that is listed is whole.

        Raises:
            NotFoundError, IntegrityError, StorageError, TooLargeError: nothing half-written stays.
        """
        package = self.package(reference)
        for blob in package.blobs:
            self._fetch(layout, blob)
        layout.add_manifest(package.content)
        self.pull_referrers(layout, package.digest)
        return package

    def pull_referrers(self, layout: Layout, digest: str) -> None:
        """Fetch a package's signatures and run records into a layout."""
        for referrer in self.referrers(digest):
            self._pull_referrer(layout, referrer)

    # Writing

    def push(self, layout: Layout, digest: str, tag: str = "") -> None:
        """Send a package with its signatures and run record.

        Raises:
            NotFoundError, IntegrityError: a blob is missing here or has other bytes.
            UnavailableError, AuthenticationError: the registry does not take it.
        """
        self._push_manifest(layout, digest, tag or digest)
        for artifact_type in _CARRIED:
            for entry in layout.referrers(digest, artifact_type)[:MAX_REFERRERS]:
                answer = self._push_manifest(layout, entry["digest"], entry["digest"])
                if "oci-subject" not in answer.headers:
                    self._list_referrer(digest, entry)

    def _push_manifest(self, layout: Layout, digest: str, reference: str) -> Answer:
        manifest = layout.manifest(digest)
        for raw in (manifest["config"], *manifest["layers"]):
            self._push_blob(layout, read_descriptor(raw, f"manifest {digest}"))
        return self._put_manifest(reference, layout.read_blob(digest), OCI_MANIFEST)

    def _put_manifest(self, reference: str, content: bytes, media_type: str) -> Answer:
        answer = self._transport.request(
            "PUT", f"{self._path}/manifests/{reference}", {"Content-Type": media_type}, content
        )
        self._check(answer.status, reference, answer)
        return answer

    def _push_blob(self, layout: Layout, blob: Descriptor) -> None:
        url = self._blob_url(blob.digest)
        if self._transport.request("HEAD", url).status == 200:
            return
        # Damage on our side must not be blamed on the registry.
        for _ in layout.stream(blob.digest, blob.size):
            pass
        started = self._transport.request("POST", f"{self._path}/blobs/uploads/")
        self._check(started.status, blob.digest, started)
        location = urljoin(self._transport.base + self._path, started.headers.get("location", ""))
        target = f"{location}{'&' if urlsplit(location).query else '?'}digest={quote(blob.digest)}"
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._transport.request("PUT", target, headers, layout.blob_path(blob.digest))
        self._check(answer.status, blob.digest, answer)

    def _list_referrer(self, digest: str, entry: dict[str, Any]) -> None:
        index, native = self._referrers_index(digest)
        if native or any(e.get("digest") == entry["digest"] for e in index):
            return
        kept = {k: entry[k] for k in ("mediaType", "digest", "size", "artifactType")}
        content = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*index, kept]}
        self._put_manifest(_referrers_tag(digest), canonical_json(content), OCI_INDEX)

    # Shared

    def _referrers_index(self, digest: str) -> tuple[list[dict[str, Any]], bool]:
        """The referrers, and whether the registry has the API for them."""
        answer = self._transport.request(
            "GET", f"{self._path}/referrers/{digest}", {"Accept": OCI_INDEX}
        )
        native = answer.status == 200
        if native:
            content = answer.body
        else:
            try:
                _, content = self.manifest(_referrers_tag(digest))
            except NotFoundError:
                return [], False
        entries = decode_object(content, f"referrers of {digest}").get("manifests") or []
        return [e for e in entries if isinstance(e, dict)], native

    def _pull_referrer(self, layout: Layout, referrer: Descriptor) -> None:
        _, content = self.manifest(referrer.digest)
        manifest = decode_object(content, f"referrer {referrer.digest}")
        for raw in (manifest.get("config"), *(manifest.get("layers") or ())):
            self._fetch(
                layout, read_descriptor(raw, f"referrer {referrer.digest}"), MAX_MANIFEST_BYTES
            )
        layout.add_manifest(content)

    def _fetch(self, layout: Layout, blob: Descriptor, limit_bytes: int | None = None) -> None:
        if limit_bytes is not None and blob.size > limit_bytes:
            raise TooLargeError(
                f"blob {blob.digest} has {blob.size} bytes, the limit is {limit_bytes}"
            )
        if layout.intact(blob.digest):
            return
        with self._transport.download(self._blob_url(blob.digest)) as (status, chunks):
            self._check(status, blob.digest)
            layout.ingest(chunks, blob.digest, blob.size)

    def _blob_url(self, digest: str) -> str:
        return f"{self._path}/blobs/{digest}"

    def _get(self, url: str, what: str, headers: dict[str, str] | None = None) -> Answer:
        answer = self._transport.request("GET", url, headers)
        self._check(answer.status, what, answer)
        return answer

    def _check(self, status: int, what: str, answer: Answer | None = None) -> None:
        if 200 <= status < 300:
            return
        where = f"{self.reference.host}/{self.reference.repository}"
        if status == 404:
            raise NotFoundError(
                f"{what} is not in registry {where}",
                next_step=f"see its tags: aigrid store list oci://{where}",
            )
        raise _unwelcome(status, where, what, answer)


def _unwelcome(status: int, where: str, what: str, answer: Answer | None) -> AigridError:
    said = _message(answer)
    kind: type[AigridError] = UnavailableError
    if status in (413, 507):
        kind = StorageError
    elif 400 <= status < 500:
        kind = InvalidRequestError
    return kind(
        f"registry {where} refuses {what}: HTTP {status}{said}",
        next_step="check the registry's log",
    )


def _message(answer: Answer | None) -> str:
    """What the registry said, where it speaks as the specification asks."""
    try:
        first = json.loads(answer.body)["errors"][0] if answer else {}
        return f" {first['code']}: {first.get('message', '')}"[:200]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return ""


def _referrers_tag(digest: str) -> str:
    return digest.replace(":", "-")


def _next_page(answer: Answer, path: str) -> str:
    """The next URL of a `Link: <...>; rel="next"` header, on the same repository only."""
    link = answer.headers.get("link", "")
    if 'rel="next"' not in link:
        return ""
    url = link.partition("<")[2].partition(">")[0]
    parts = urlsplit(url)
    if parts.path != f"{path}/tags/list":
        return ""
    return f"{parts.path}?{parts.query}"
