from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from aigrid.core.errors import (
    AigridError,
    ConfigurationError,
    ConflictError,
    DataError,
    IntegrityError,
    InvalidRequestError,
)
from aigrid.core.package import RUN_ARTIFACT, canonical_json
from aigrid.store.layout import Layout
from aigrid.store.modelpack import spell_parameters
from aigrid.store.pack import pack, unpack


def test_a_package_follows_the_modelpack_specification(model_dir: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    packed = pack(model_dir, layout)
    manifest = layout.manifest(packed.digest)
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    types = {
        x["annotations"]["org.cncf.model.filepath"]: x["mediaType"] for x in manifest["layers"]
    }
    assert types["model.safetensors"] == "application/vnd.cncf.model.weight.v1.raw"
    assert types["onnx/model.onnx"] == "application/vnd.cncf.model.weight.v1.raw"
    assert types["tokenizer.json"] == "application/vnd.cncf.model.weight.config.v1.raw"
    assert types["README.md"] == "application/vnd.cncf.model.doc.v1.raw"
    assert types["service.json"] == "application/vnd.aigrid.service.v1+json"
    assert "run.json" not in types
    config = json.loads(layout.read_blob(manifest["config"]["digest"]))
    assert config == {
        "descriptor": {"name": "demo", "version": "1.0.0", "family": "llama", "licenses": ["MIT"]},
        "config": {
            "architecture": "transformer",
            "format": "onnx",
            "paramSize": "0.3k",
            "capabilities": {"inputTypes": ["text"], "outputTypes": ["text"]},
        },
        "modelfs": {"type": "layers", "diffIds": [x["digest"] for x in manifest["layers"]]},
    }


def test_same_files_same_digest_whenever_and_wherever(model_dir: Path, tmp_path: Path) -> None:
    first = pack(model_dir, Layout(tmp_path / "a"))
    for path in model_dir.rglob("*"):
        os.utime(path, (1, 1))
    (model_dir / "run.json").write_text('{"machine": "another"}')
    assert pack(model_dir, Layout(tmp_path / "b")).digest == first.digest
    (model_dir / "README.md").write_text("# changed")
    assert pack(model_dir, Layout(tmp_path / "a")).digest != first.digest


def test_the_run_record_is_attached_not_included(model_dir: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    packed = pack(model_dir, layout)
    (entry,) = layout.referrers(packed.digest, RUN_ARTIFACT)
    assert layout.manifest(entry["digest"])["subject"]["digest"] == packed.digest


def test_unpack_gives_the_files_back(model_dir: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    packed = pack(model_dir, layout)
    unpack(layout, packed.digest, tmp_path / "out")
    written = {p.relative_to(tmp_path / "out"): p.read_bytes() for p in _files(tmp_path / "out")}
    expected = {p.relative_to(model_dir): p.read_bytes() for p in _files(model_dir)}
    del expected[Path("run.json")]
    expected[Path("manifest.json")] = layout.read_blob(packed.digest)
    assert written == expected
    with pytest.raises(ConflictError, match="out exists; name a new directory"):
        unpack(layout, packed.digest, tmp_path / "out")


def test_an_upstream_package_needs_no_weights(upstream_dir: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    packed = pack(upstream_dir, layout)
    assert len(layout.manifest(packed.digest)["layers"]) == 1
    assert packed.spec.upstream is not None
    unpack(layout, packed.digest, tmp_path / "out")


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (lambda d: (d / "service.json").unlink(), DataError, "service.json is missing"),
        (lambda d: (d / "service.json").write_text("{"), DataError, "service.json is not JSON"),
        (
            lambda d: (d / "service.json").write_text('{"nam": 1}'),
            ConfigurationError,
            "unknown key 'nam'",
        ),
        (
            lambda d: (d / "service.json").write_text('{"name": "Demo", "version": "1"}'),
            InvalidRequestError,
            "'Demo' is not a package name",
        ),
        (lambda d: (d / "link.json").symlink_to("/etc/passwd"), DataError, "is not a plain file"),
        (lambda d: (d / "model.pt").write_bytes(b"x"), DataError, "model.pt is not a kind of file"),
        (lambda d: (d / "manifest.json").write_text("{}"), IntegrityError, "is reserved"),
        (lambda d: (d / "config.json").write_text("["), DataError, "config.json is not JSON"),
        (lambda d: (d / "model.safetensors").write_bytes(b"\xff" * 9), DataError, "safetensors"),
    ],
)
def test_a_directory_that_is_no_model_is_refused(
    model_dir: Path, tmp_path: Path, spoil: Any, kind: type[AigridError], message: str
) -> None:
    spoil(model_dir)
    with pytest.raises(kind, match=message):
        pack(model_dir, Layout(tmp_path / "oci"))


def test_weights_must_be_there_for_the_embedded_engine(model_dir: Path, tmp_path: Path) -> None:
    (model_dir / "model.safetensors").unlink()
    (model_dir / "onnx/model.onnx").unlink()
    with pytest.raises(DataError, match="has no weights, and demo runs on the embedded engine"):
        pack(model_dir, Layout(tmp_path / "oci"))


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/x", "a/../b", "a//b", ".", "", "a\\b", "a\nb", "manifest.json", "é" * 600],
)
def test_a_hostile_path_never_leaves_the_directory(
    path: str, model_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(IntegrityError, match=r"is refused|is reserved"):
        _unpack_changed(model_dir, tmp_path, path)
    assert not (tmp_path / "out").exists()


def test_a_path_may_come_once_and_not_below_a_file(model_dir: Path, tmp_path: Path) -> None:
    for path in ("README.md", "README.md/x"):
        with pytest.raises(IntegrityError, match=f"file path '{path}' comes twice"):
            _unpack_changed(model_dir, tmp_path, path)


def test_archives_and_other_artifacts_are_refused(model_dir: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "oci")
    manifest = layout.manifest(pack(model_dir, layout).digest)
    manifest["layers"][0]["mediaType"] = "application/vnd.cncf.model.weight.v1.tar"
    with pytest.raises(IntegrityError, match=r"README.md is an archive"):
        unpack(layout, layout.add_manifest(canonical_json(manifest)), tmp_path / "out")
    manifest["artifactType"] = "application/other"
    with pytest.raises(IntegrityError, match="has artifactType 'application/other'"):
        unpack(layout, layout.add_manifest(canonical_json(manifest)), tmp_path / "out")


def test_parameter_counts_are_spelled_as_the_specification_says() -> None:
    counts = (256, 10_234_000, 7_000_000_000, 1_500_000_000_000)
    assert [spell_parameters(n) for n in counts] == ["0.3k", "10.2m", "7b", "1.5t"]


def _unpack_changed(model_dir: Path, tmp_path: Path, path: str) -> None:
    layout = Layout(tmp_path / "oci")
    manifest = layout.manifest(pack(model_dir, layout).digest)
    manifest["layers"][-1]["annotations"]["org.cncf.model.filepath"] = path
    unpack(layout, layout.add_manifest(canonical_json(manifest)), tmp_path / "out")


def _files(directory: Path) -> list[Path]:
    return [p for p in directory.rglob("*") if p.is_file()]
