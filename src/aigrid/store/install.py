"""How a site gets a package: pull by digest, check every byte and the signature, then show it.

The directory appears only when all of that has passed, so that whatever served before goes on.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from aigrid.core.errors import IntegrityError, InvalidRequestError, NotFoundError
from aigrid.store.durable import (
    remove,
    storing,
    sync_directory,
    temporary_beside,
    write_durably,
)
from aigrid.store.keys import key_id
from aigrid.store.layout import Layout
from aigrid.store.pack import open_package, write_files
from aigrid.store.references import RegistryReference
from aigrid.store.registry import Registry
from aigrid.store.signing import Verified, check_bytes, signatures, verify_in_subprocess
from aigrid.store.transport import Credentials, Limits


def install(
    reference: RegistryReference,
    layout: Layout,
    dest: Path,
    trusted_keys: Sequence[Path],
    credentials: Credentials = Credentials(),  # noqa: B008 - frozen
    limits: Limits = Limits(),  # noqa: B008
) -> Verified:
    """Have the package `reference` names by digest, verified, in directory `dest`.

    A directory that is there already is verified again and kept; one with a wrong byte is replaced.
    What the layout holds intact is not fetched again, so that a site restarts without its registry.

    Args:
        reference: must name a digest: a tag could change between placement and load.
        layout: the site's own.
        dest: appears complete and verified, or not at all.
        trusted_keys: public key files.
        credentials: for the registry; `Credentials(token=...)` for the control plane.
        limits: bounds of each transfer.

    Raises:
        IntegrityError: wrong bytes, no signature, or none by a trusted key.
        NotFoundError, UnavailableError, AuthenticationError: from the registry.
        StorageError: the disk is full.
    """
    digest = reference.digest
    if not digest:
        raise InvalidRequestError(f"{reference} names no digest", next_step="add @sha256:<hex>")

    def pull() -> None:
        Registry(reference, credentials, limits).pull(layout, digest)

    return install_from(pull, digest, layout, dest, trusted_keys)


def install_from(
    pull: Callable[[], object],
    digest: str,
    layout: Layout,
    dest: Path,
    trusted_keys: Sequence[Path],
) -> Verified:
    """`install`, with any way of getting a package into the layout.

    Args:
        pull: has the package and its signatures in the layout when it returns; called only where
            they are not there intact.
        digest: of the package.
        layout: the site's own.
        dest: appears complete and verified, or not at all.
        trusted_keys: public key files.

    Raises:
        IntegrityError: wrong bytes, no signature, or none by a trusted key.
        AigridError: whatever `pull` raises.
        StorageError: the disk is full.
    """
    with contextlib.suppress(IntegrityError, NotFoundError):
        return _verified(layout, dest, digest, trusted_keys)
    with contextlib.suppress(IntegrityError, NotFoundError):
        return _place(layout, dest, digest, trusted_keys)
    pull()
    return _place(layout, dest, digest, trusted_keys)


def _verified(layout: Layout, dest: Path, digest: str, trusted_keys: Sequence[Path]) -> Verified:
    if not dest.is_dir():
        raise NotFoundError(f"{dest} is not there")
    remembered = _remembered(dest, digest, trusted_keys)
    if remembered is not None:
        check_bytes(dest, digest)
        return remembered
    bundles = [bundle for _, bundle in signatures(layout, digest)]
    return verify_in_subprocess(dest, digest, bundles, trusted_keys)


def _note_of(dest: Path) -> Path:
    return dest.with_name(f"{dest.name}.verified")


def _remembered(dest: Path, digest: str, trusted_keys: Sequence[Path]) -> Verified | None:
    """The key that signed this digest, where that was proved here and the key is trusted still.

    The digest comes from the control plane, and every byte is hashed against it again: what is
    spared is only the proof that a trusted key had signed that digest (1.5 s of a core a site).
    """
    try:
        digest_then, _, key_then = _note_of(dest).read_text().strip().partition(" ")
    except OSError:
        return None
    trusted = {key_id(path): path for path in trusted_keys}
    if digest_then != digest or key_then not in trusted:
        return None
    return Verified(digest, key_then, trusted[key_then])


def _place(layout: Layout, dest: Path, digest: str, trusted_keys: Sequence[Path]) -> Verified:
    package = open_package(layout, digest)
    with storing(f"package {digest}", dest.parent):
        dest.parent.mkdir(parents=True, exist_ok=True)
        aside = temporary_beside(dest)
        try:
            write_files(layout, package, aside)
            verified = _verified(layout, aside, digest, trusted_keys)
            remove(dest)
            aside.rename(dest)
            write_durably(_note_of(dest), f"{digest} {verified.key_id}\n".encode())
            sync_directory(dest.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return verified
