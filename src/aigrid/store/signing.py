"""Signatures over a package directory, with OpenSSF model-signing and a local EC P-256 key.

What is signed is the directory as a site unpacks it: every file and `manifest.json`, so that one
signature binds the manifest's digest and all files. The sigstore bundle is an OCI referrer.

`model_signing` brings 50 MB of imports, so it is loaded on first use, and a site verifies in a
short process of its own: `verify_in_subprocess`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigrid.core import errors
from aigrid.core.errors import AigridError, IntegrityError, UnavailableError
from aigrid.core.package import SIGNATURE_ARTIFACT
from aigrid.store.digests import decode_object, file_digest
from aigrid.store.durable import storing, temporary_beside
from aigrid.store.keys import KeyPair, key_id
from aigrid.store.layout import Layout
from aigrid.store.manifest import MANIFEST_FILE, SIGNATURE_FILE, PackageManifest, read_manifest
from aigrid.store.pack import attach, open_package

MAX_BUNDLE_BYTES = 4 << 20
MAX_SIGNATURES = 16
_HASH_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Verified:
    """A package whose every byte a trusted key has signed.

    Attributes:
        digest: of the package's manifest.
        key_id: SHA-256 of the signer's public PEM.
        key: the trusted key file that it is.
    """

    digest: str
    key_id: str
    key: Path


def sign(layout: Layout, digest: str, key: KeyPair) -> str:
    """Sign a package and attach the bundle; returns the digest of the signature's manifest.

    A package that this key has signed already is left as it is.

    Raises:
        NotFoundError, IntegrityError: a blob is missing or has other bytes.
        StorageError: the disk is full.
    """
    for signed, bundle in signatures(layout, digest):
        if signer_of(bundle) == key.key_id:
            return signed
    package = open_package(layout, digest)
    with _staged(layout, package) as directory, tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / SIGNATURE_FILE
        _explain_mismatch(directory, package)
        _signing_config(key).sign(directory, target)
        return attach(layout, digest, SIGNATURE_ARTIFACT, target.read_bytes())


def signatures(layout: Layout, digest: str) -> list[tuple[str, bytes]]:
    """The digest of each signature's manifest, and its bundle; oldest first."""
    found = []
    for entry in layout.referrers(digest, SIGNATURE_ARTIFACT)[:MAX_SIGNATURES]:
        blob = layout.manifest(entry["digest"])["layers"][0]["digest"]
        found.append((str(entry["digest"]), layout.read_blob(blob, MAX_BUNDLE_BYTES, "signature")))
    return found


def signer_of(bundle: bytes) -> str:
    """The key id that a bundle claims (a hint, proved only by verifying)."""
    try:
        return str(json.loads(bundle)["verificationMaterial"]["publicKey"]["hint"])
    except (ValueError, KeyError, TypeError):
        return ""


def verify(layout: Layout, digest: str, trusted_keys: Sequence[Path]) -> Verified:
    """Check every blob of a package and its signature.

    Raises:
        IntegrityError: a file with other bytes (named with both digests), no signature, or none
            by a trusted key.
        NotFoundError: the package or one of its blobs is missing.
    """
    package = open_package(layout, digest)
    bundles = [bundle for _, bundle in signatures(layout, digest)]
    layout.read_blob(package.config.digest, what="model configuration")
    with _staged(layout, package) as directory:
        return verify_directory(directory, digest, bundles, trusted_keys)


def verify_directory(
    directory: Path, digest: str, bundles: Sequence[bytes], trusted_keys: Sequence[Path]
) -> Verified:
    """Check an unpacked package: its manifest, its signature, and that nothing was added.

    Args:
        directory: what `unpack` wrote.
        digest: the package that it must be.
        bundles: sigstore bundles, any of which may prove it.
        trusted_keys: public key files.

    Raises:
        IntegrityError: as `verify`.
    """
    package = _manifest_of(directory, digest)
    candidates = _trusted_bundles(digest, bundles, trusted_keys)
    for position, (key, bundle) in enumerate(candidates, start=1):
        try:
            _check_bundle(directory, package, key, bundle)
        except IntegrityError:
            # Anyone may attach a bundle that claims a trusted key: a later one may still prove it.
            if position == len(candidates):
                raise
            continue
        break
    return Verified(digest, key_id(key), key)


def check_bytes(directory: Path, digest: str) -> None:
    """Check that an unpacked package is byte for byte the one of a digest; looks at no signature.

    Raises:
        IntegrityError: the first file that is missing, added or other, with both digests.
    """
    _explain_mismatch(directory, _manifest_of(directory, digest))


def verify_in_subprocess(
    directory: Path,
    digest: str,
    bundles: Sequence[bytes],
    trusted_keys: Sequence[Path],
    timeout_s: float = 300.0,
) -> Verified:
    """`verify_directory` in a process of its own, so that its imports cost this one nothing.

    Raises:
        IntegrityError: as `verify_directory`.
        UnavailableError: the process died or took longer than `timeout_s`.
    """
    order = {
        "directory": str(directory),
        "digest": digest,
        "bundles": [b.decode("utf-8", "replace") for b in bundles],
        "trusted_keys": [str(k) for k in trusted_keys],
    }
    command = [sys.executable, "-m", "aigrid.store.verify_main"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(order).encode(),
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        result = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise UnavailableError(
            f"cannot verify package {digest}: {type(error).__name__}", next_step="try again"
        ) from error
    if "error" in result:
        raise _rebuilt(result)
    return Verified(result["digest"], result["key_id"], Path(result["key"]))


def _rebuilt(result: dict[str, Any]) -> AigridError:
    kind = getattr(errors, result["error"])
    rebuilt: AigridError = kind(result["message"], next_step=result["next_step"])
    return rebuilt


def _check_bundle(directory: Path, package: PackageManifest, key: Path, bundle: bytes) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        signature = Path(scratch) / SIGNATURE_FILE
        signature.write_bytes(bundle)
        try:
            _verifying_config(directory, key).verify(directory, signature)
        except Exception as error:
            # model_signing tells trouble by ValueError, KeyError and cryptography's own errors.
            _explain_mismatch(directory, package)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise IntegrityError(
                f"package {package.digest}: the signature by {key_id(key)[:16]} is wrong: {reason}",
                next_step="pull it again, or ask its publisher",
            ) from error


def _trusted_bundles(
    digest: str, bundles: Sequence[bytes], trusted_keys: Sequence[Path]
) -> list[tuple[Path, bytes]]:
    if not bundles:
        raise IntegrityError(
            f"package {digest} is not signed",
            next_step="publish it again with a key that is trusted here",
        )
    trusted = {key_id(path): path for path in trusted_keys}
    found = [(trusted[signer_of(b)], b) for b in bundles if signer_of(b) in trusted]
    if not found:
        signers = ", ".join(sorted({signer_of(b)[:16] or "unknown" for b in bundles}))
        raise IntegrityError(
            f"package {digest} is signed by key {signers}, which is not trusted here",
            next_step="add the publisher's public.pem to the trusted keys if you trust it",
        )
    return found


def _manifest_of(directory: Path, digest: str) -> PackageManifest:
    path = directory / MANIFEST_FILE
    with storing("what is there", directory):
        actual, _ = file_digest(path)
        content = path.read_bytes()
    if actual != digest:
        raise IntegrityError(
            f"{path} has digest {actual}, the package is {digest}", next_step="pull it again"
        )
    return read_manifest(digest, content)


def _explain_mismatch(directory: Path, package: PackageManifest) -> None:
    """Name the first file that is not what the manifest says, with both digests."""
    expected = {x.path: x.blob.digest for x in package.layers}
    present = {p.relative_to(directory).as_posix(): p for p in directory.rglob("*") if p.is_file()}
    for path, digest in expected.items():
        actual = file_digest(present[path])[0] if path in present else "no bytes at all"
        if actual != digest:
            raise IntegrityError(
                f"{path} of package {package.digest}: its bytes have digest {actual}, not {digest}",
                next_step="publish or pull the package again to repair it",
            )
    extra = sorted(present.keys() - expected.keys() - {MANIFEST_FILE, SIGNATURE_FILE})
    if extra:
        raise IntegrityError(
            f"{extra[0]} is in {directory} but not in package {package.digest}",
            next_step="remove the directory and pull the package again",
        )


@contextmanager
def _staged(layout: Layout, package: PackageManifest) -> Iterator[Path]:
    """The package as a directory for hashing: hard links where the file system has them."""
    with storing(f"package {package.digest}", layout.root):
        aside = temporary_beside(layout.root / "stage")
        directory = aside / "package"
        try:
            directory.mkdir(parents=True)
            for layer in package.layers:
                target = directory / layer.path
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(
                    layout, layer.blob.digest, f"{layer.path} of package {package.digest}", target
                )
            (directory / MANIFEST_FILE).write_bytes(package.content)
            yield directory
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _link(layout: Layout, digest: str, what: str, target: Path) -> None:
    source = layout.blob_path(digest)
    if not source.is_file():
        # An empty stream of a missing blob raises the error that names the file.
        next(layout.stream(digest, 0, what))
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _hashing_config() -> Any:
    from model_signing import hashing

    config = hashing.Config().use_file_serialization(max_workers=_HASH_WORKERS)
    # By default git's files are left out; a package has no file that may change unseen.
    return config.set_ignored_paths(paths=[], ignore_git_paths=False)


def _signing_config(key: KeyPair) -> Any:
    from model_signing import signing

    config = signing.Config().set_hashing_config(_hashing_config())
    return config.use_elliptic_key_signer(private_key=key.private)


def _verifying_config(directory: Path, key: Path) -> Any:
    from model_signing import verifying

    hashing_config = _hashing_config()
    hashing_config.add_ignored_paths(model_path=directory, paths=[SIGNATURE_FILE])
    config = verifying.Config().set_hashing_config(hashing_config)
    return config.use_elliptic_key_verifier(public_key=key)


def parse_order(content: bytes) -> tuple[Path, str, list[bytes], list[Path]]:
    """What `verify_in_subprocess` asks for, as the other process reads it.

    Raises:
        IntegrityError: it is malformed.
    """
    order = decode_object(content, "the order to verify")
    try:
        return (
            Path(order["directory"]),
            str(order["digest"]),
            [str(b).encode() for b in order["bundles"]],
            [Path(k) for k in order["trusted_keys"]],
        )
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"the order to verify lacks {error}") from error
