from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from aigrid.core.errors import IntegrityError, NotFoundError, StorageError, TooLargeError
from aigrid.core.package import OCI_MANIFEST, canonical_json, sha256_digest
from aigrid.store.layout import Layout
from aigrid.store.store import Store

NOW_S = 1_700_000_000.0


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Let the kernel refuse larger files, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_other_tools_can_read_the_layout(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    digest = layout.add_manifest(_manifest(1), "demo:1")
    assert json.loads((tmp_path / "oci/oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((tmp_path / "oci/index.json").read_text())
    (entry,) = index["manifests"]
    assert entry["digest"] == digest
    assert entry["mediaType"] == OCI_MANIFEST
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "demo:1"}


def test_a_tag_means_one_manifest(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    layout.add_manifest(_manifest(1), "demo:1")
    second = layout.add_manifest(_manifest(2), "demo:1")
    layout.tag(second, "demo:2")
    assert layout.resolve("demo:1") == layout.resolve("demo:2") == second
    assert len(layout.entries()) == 2
    with pytest.raises(NotFoundError, match="'demo:3' is not in"):
        layout.resolve("demo:3")


def test_nothing_but_a_digest_becomes_a_path(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    for name in ("sha256:../../index.json", "sha256:" + "A" * 64, "md5:00", ""):
        with pytest.raises(IntegrityError, match="is not a sha256 digest"):
            layout.read_blob(name)


def test_wrong_bytes_are_not_kept(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    digest = sha256_digest(b"right")
    with pytest.raises(IntegrityError, match=f"its bytes have digest sha256:.*, not {digest}"):
        layout.ingest([b"wrong"], digest, 5)
    with pytest.raises(IntegrityError, match="more than the promised 5 bytes came"):
        layout.ingest([b"right", b"!"], digest, 5)
    with pytest.raises(TooLargeError, match="the limit here is 4"):
        Layout(tmp_path / "oci", max_blob_bytes=4).ingest([b"right"], digest, 5)
    assert list((tmp_path / "oci/blobs/sha256").iterdir()) == []


def test_damage_is_found_and_repaired_by_writing_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    digest = layout.write_blob(b"content")
    _damage(layout.blob_path(digest))
    with pytest.raises(IntegrityError, match=f"not {digest}; publish or pull the package again"):
        layout.read_blob(digest)
    (problem,) = layout.fsck()
    assert problem.path == layout.blob_path(digest)
    layout.write_blob(b"content")
    assert layout.fsck() == []


def test_fsck_names_missing_blobs_and_what_dead_writers_left(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    digest = layout.add_manifest(_manifest(1), "demo:1")
    layout.blob_path(digest).unlink()
    left = layout.root / "blobs/sha256/.tmp-999999999-aa"
    left.write_bytes(b"half")
    assert {p.trouble for p in layout.fsck()} == {
        f"missing, needed by {digest}",
        "left by a writer that died",
    }
    layout.sweep()
    assert not left.exists()


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "9"}')
    with pytest.raises(IntegrityError, match="oci-layout is not an OCI layout marker"):
        Layout(tmp_path)


def test_disk_full_leaves_nothing_half_written(store: Store, model_dir: Path) -> None:
    (model_dir / "model.safetensors").unlink()
    with files_of_at_most(2048), pytest.raises(StorageError) as caught:
        store.publish(model_dir, "maker", NOW_S)
    assert "cannot store" in str(caught.value)
    assert "File too large; free some space under" in str(caught.value)
    assert store.list() == []
    assert store.layout.fsck() == []
    assert store.layout.stale() == []
    assert not list(store.root.rglob(".tmp-*"))
    assert store.publish(model_dir, "maker", NOW_S).digest == store.resolve("demo")


def test_no_space_is_told_in_one_line(
    tmp_path: Path, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path / "oci")
    monkeypatch.setattr(os, "write", _no_space)
    with pytest.raises(StorageError) as caught:
        layout.write_file(model_dir / "README.md")
    digest = sha256_digest(b"# demo")
    assert str(caught.value) == (
        f"cannot store blob {digest} in {layout.root}: No space left on device; free some space "
        f"under {layout.root} and run it again; nothing was half-written"
    )
    assert list((layout.root / "blobs/sha256").iterdir()) == []


def test_many_writers_lose_no_entry(tmp_path: Path) -> None:
    Layout(tmp_path / "oci")
    program = (
        "import sys; from pathlib import Path; from aigrid.store.layout import Layout\n"
        "from aigrid.core.package import canonical_json\n"
        "for n in range(15):\n"
        " Layout(Path(sys.argv[1])).add_manifest(canonical_json({'config': {}, 'layers': [],"
        " 'n': [sys.argv[2], n]}), f'{sys.argv[2]}:{n}')\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "oci"), name])
        for name in ("a", "b")
    ]
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda n: Layout(tmp_path / "oci").add_manifest(_manifest(n), f"c:{n}"), range(15)
            )
        )
    assert [w.wait(60) for w in writers] == [0, 0]
    assert len(Layout(tmp_path / "oci").entries()) == 45


def _no_space(descriptor: int, content: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _manifest(number: int) -> bytes:
    return canonical_json({"schemaVersion": 2, "number": number, "config": {}, "layers": []})


def _damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])
