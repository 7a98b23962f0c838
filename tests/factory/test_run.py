import errno
import json
import os
from collections import namedtuple
from pathlib import Path

import pytest
from tests.tiny_model import make_tiny_model, tiny_recipe, write_tiny_text

from aigrid.core.errors import ConfigurationError, ConflictError, StorageError
from aigrid.core.package import ServiceSpec, sha256_digest
from aigrid.factory import run, staging
from aigrid.factory.progress import SilentProgress
from aigrid.factory.run import MadeModel, make_model

FILES = {
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "generation_config.json", "evaluation.json", "service.json", "run.json", "onnx",
}  # fmt: skip


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_folder_holds_checkpoint_graph_card_terms_and_record(made: MadeModel) -> None:
    assert {p.name for p in made.path.iterdir()} == FILES
    spec = ServiceSpec.from_dict(json.loads((made.path / "service.json").read_text()), "service")
    assert spec == made.service
    assert spec.name == "tiny"
    assert spec.provenance.recipe_digest == tiny_recipe().digest()
    assert spec.provenance.precision == "fp32"
    assert len(spec.provenance.data_digest) == len(sha256_digest(b""))


def test_the_card_repeats_and_the_record_has_time_and_machine(made: MadeModel) -> None:
    card = json.loads((made.path / "evaluation.json").read_text())
    assert card == made.evaluation
    low, high = card["held_out"]["interval_95"]
    assert low <= card["held_out"]["bits_per_byte"] <= high
    assert card["quantised"]["form"] == "int8"
    assert abs(card["quantised"]["lost_bits_per_byte"]) < 0.05
    assert card["tokens_seen"] == 12 * 4 * 128
    assert {"byte_trigram", "xz"} == card["baselines"].keys()
    record = json.loads((made.path / "run.json").read_text())
    assert record["training_tokens_per_s"] > 0
    assert record["machine"]["cores"] >= 1


def test_progress_hears_every_stage_to_its_end(tmp_path: Path, heard) -> None:  # type: ignore[no-untyped-def]
    text = write_tiny_text(tmp_path / "text")
    make_model(tiny_recipe(), tmp_path / "m", text, heard)
    names = [name for name, _ in heard.stages]
    assert names == ["reading", "tokenizer", "encoding", "training", "packaging", "measuring"]
    assert heard.done == dict(heard.stages)


def test_cancelling_leaves_nothing_behind_and_the_old_model_in_place(tmp_path: Path) -> None:
    make_tiny_model(tmp_path / "m")
    before = (tmp_path / "m" / "service.json").stat()

    class Cancelled(SilentProgress):
        def advance(self, n: int = 1, **facts: object) -> None:
            if "loss" in facts:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_model(tiny_recipe(), tmp_path / "m", tmp_path / "m-text", Cancelled())
    assert leftovers(tmp_path) == ["m", "m-text"]
    assert (tmp_path / "m" / "service.json").stat() == before


def test_a_full_disk_names_path_and_bytes_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(staging.os, "fsync", full)
    text = write_tiny_text(tmp_path / "text")
    with pytest.raises(StorageError) as caught:
        make_model(tiny_recipe(), tmp_path / "m", text, SilentProgress())
    assert "model.safetensors: the disk is full;" in str(caught.value)
    assert any(int(w) > 100_000 for w in caught.value.message.split() if w.isdigit())
    assert leftovers(tmp_path) == ["text"]


def test_too_little_room_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard
) -> None:  # type: ignore[no-untyped-def]
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: usage(1000, 990, 10))
    text = write_tiny_text(tmp_path / "text")
    with pytest.raises(StorageError, match="bytes are needed and 10 are free"):
        make_model(tiny_recipe(), tmp_path / "m", text, heard)
    assert [name for name, _ in heard.stages] == ["reading"]


def test_a_folder_that_is_no_model_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "photos"
    target.mkdir()
    (target / "cat.jpg").write_bytes(b"x")
    with pytest.raises(ConflictError, match="not a model folder"):
        make_model(tiny_recipe(), target, tmp_path, SilentProgress())
    assert leftovers(target) == ["cat.jpg"]


def test_a_recipe_of_files_asks_for_the_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no text was given; add --data"):
        make_model(tiny_recipe(), tmp_path / "m", None, SilentProgress())


def test_what_killed_runs_left_is_cleared(tmp_path: Path) -> None:
    dead = tmp_path / ".m.making.999999999"
    dead.mkdir()
    (dead / "half").write_text("x")
    old = tmp_path / ".m.making.999999998.old"
    old.mkdir()
    (old / "service.json").write_text("{}")
    with pytest.raises(ZeroDivisionError), staging.staged_folder(tmp_path / "m"):
        raise ZeroDivisionError
    assert leftovers(tmp_path) == ["m"]  # the model that the killed run had moved aside
    assert (tmp_path / "m" / "service.json").is_file()


def test_importing_the_way_in_needs_no_torch() -> None:
    assert "torch" not in vars(run)
