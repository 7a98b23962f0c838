from __future__ import annotations

import stat
from pathlib import Path

import pytest

from aigrid.core.errors import ConfigurationError, IntegrityError, NotFoundError
from aigrid.core.package import SIGNATURE_ARTIFACT
from aigrid.store.keys import KeyPair, ensure_key
from aigrid.store.layout import Layout
from aigrid.store.pack import attach, pack, unpack
from aigrid.store.signing import (
    sign,
    signatures,
    verify,
    verify_directory,
    verify_in_subprocess,
)


@pytest.fixture
def key(tmp_path: Path) -> KeyPair:
    return ensure_key(tmp_path / "keys")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "oci")


@pytest.fixture
def digest(model_dir: Path, layout: Layout, key: KeyPair) -> str:
    made = pack(model_dir, layout).digest
    sign(layout, made, key)
    return made


def test_a_signed_package_verifies(layout: Layout, digest: str, key: KeyPair) -> None:
    proved = verify(layout, digest, [key.public])
    assert (proved.digest, proved.key_id, proved.key) == (digest, key.key_id, key.public)


def test_signing_twice_adds_nothing(layout: Layout, digest: str, key: KeyPair) -> None:
    sign(layout, digest, key)
    assert len(signatures(layout, digest)) == 1


def test_the_private_key_is_its_owners_alone(tmp_path: Path, key: KeyPair) -> None:
    assert stat.S_IMODE(key.private.stat().st_mode) == 0o600
    assert ensure_key(tmp_path / "keys") == key
    key.private.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"can be read by others \(mode 0644\); chmod 600"):
        ensure_key(tmp_path / "keys")


def test_a_tampered_layer_is_named(layout: Layout, digest: str, key: KeyPair) -> None:
    blob = _blob_of(layout, digest, "onnx/model.onnx")
    _damage(layout.blob_path(blob))
    with pytest.raises(IntegrityError) as caught:
        verify(layout, digest, [key.public])
    message = str(caught.value)
    assert message.startswith(f"onnx/model.onnx of package {digest}: its bytes have digest sha256:")
    assert message.endswith(f", not {blob}; publish or pull the package again to repair it")


def test_a_missing_blob_is_named(layout: Layout, digest: str, key: KeyPair) -> None:
    blob = _blob_of(layout, digest, "config.json")
    layout.blob_path(blob).unlink()
    with pytest.raises(NotFoundError) as caught:
        verify(layout, digest, [key.public])
    assert str(caught.value) == (
        f"config.json of package {digest}: {blob} is missing in {layout.root}; "
        "publish or pull the package again to repair it"
    )


def test_an_unsigned_package_is_refused(model_dir: Path, layout: Layout, key: KeyPair) -> None:
    digest = pack(model_dir, layout).digest
    with pytest.raises(IntegrityError) as caught:
        verify(layout, digest, [key.public])
    assert str(caught.value) == (
        f"package {digest} is not signed; publish it again with a key that is trusted here"
    )


def test_an_unknown_key_is_refused(
    layout: Layout, digest: str, key: KeyPair, tmp_path: Path
) -> None:
    stranger = ensure_key(tmp_path / "stranger")
    with pytest.raises(IntegrityError) as caught:
        verify(layout, digest, [stranger.public])
    assert str(caught.value) == (
        f"package {digest} is signed by key {key.key_id[:16]}, which is not trusted here; "
        "add the publisher's public.pem to the trusted keys if you trust it"
    )


def test_a_forged_claim_to_a_trusted_key_is_refused(
    model_dir: Path, layout: Layout, digest: str, key: KeyPair, tmp_path: Path
) -> None:
    (_, genuine), *_ = signatures(layout, digest)
    (model_dir / "README.md").write_text("# other model")
    other = pack(model_dir, layout).digest
    attach(layout, other, SIGNATURE_ARTIFACT, genuine)
    with pytest.raises(IntegrityError, match=f"package {other}: the signature by .* is wrong"):
        verify(layout, other, [key.public])
    sign(layout, other, ensure_key(tmp_path / "second"))
    with pytest.raises(IntegrityError, match="is wrong"):
        verify(layout, other, [key.public])


def test_a_forged_bundle_beside_a_good_one_does_no_harm(
    model_dir: Path, layout: Layout, key: KeyPair, digest: str
) -> None:
    (_, genuine), *_ = signatures(layout, digest)
    (model_dir / "README.md").write_text("# other model")
    other = pack(model_dir, layout).digest
    forged = genuine.replace(b'"sig":"MEU', b'"sig":"MEX').replace(b'"sig": "MEU', b'"sig": "MEX')
    attach(layout, other, SIGNATURE_ARTIFACT, forged + b" ")
    attach(layout, other, SIGNATURE_ARTIFACT, b"not even JSON")
    second_key = ensure_key(key.private.parent.parent / "second")
    sign(layout, other, second_key)
    assert verify(layout, other, [key.public, second_key.public]).key_id == second_key.key_id


def test_an_unpacked_copy_is_checked_byte_by_byte(
    layout: Layout, digest: str, key: KeyPair, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    unpack(layout, digest, copy)
    bundles = [bundle for _, bundle in signatures(layout, digest)]
    assert verify_directory(copy, digest, bundles, [key.public]).digest == digest
    (copy / ".gitignore").write_text("extra")
    with pytest.raises(IntegrityError, match=r"\.gitignore is in .*copy but not in package"):
        verify_directory(copy, digest, bundles, [key.public])
    (copy / ".gitignore").unlink()
    (copy / "README.md").unlink()
    with pytest.raises(IntegrityError, match=r"README.md of package .* digest no bytes at all"):
        verify_directory(copy, digest, bundles, [key.public])
    (copy / "manifest.json").write_bytes(b"{}")
    with pytest.raises(IntegrityError, match=r"manifest.json has digest .*, the package is"):
        verify_directory(copy, digest, bundles, [key.public])


def test_another_process_says_the_same(
    layout: Layout, digest: str, key: KeyPair, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    unpack(layout, digest, copy)
    bundles = [bundle for _, bundle in signatures(layout, digest)]
    expected = verify_directory(copy, digest, bundles, [key.public])
    assert verify_in_subprocess(copy, digest, bundles, [key.public]) == expected
    (copy / "config.json").write_text("tampered")
    with pytest.raises(IntegrityError, match=r"config.json of package .*: its bytes have digest"):
        verify_in_subprocess(copy, digest, bundles, [key.public])


def _blob_of(layout: Layout, digest: str, path: str) -> str:
    for layer in layout.manifest(digest)["layers"]:
        if layer["annotations"]["org.cncf.model.filepath"] == path:
            return str(layer["digest"])
    raise KeyError(path)


def _damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])
