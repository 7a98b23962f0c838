import json
from pathlib import Path

from tests.cli.conftest import Run
from tests.tiny_encoder import TEXT, make_tiny_encoder
from tests.tiny_model import write_tiny_recipe, write_tiny_text


def test_an_empty_store_says_how_to_fill_it(aigrid: Run) -> None:
    assert "factory run" in aigrid("store", "list").out
    assert json.loads(aigrid("store", "list", "--json").out) == []


def test_publish_list_show_verify_and_unpack(aigrid: Run, model: Path, tmp_path: Path) -> None:
    published = json.loads(aigrid("store", "publish", model, "--json").out)
    assert published["ref"] == "tiny:0.0.1"
    listed = json.loads(aigrid("store", "list", "--json").out)
    assert [(row["ref"], row["digest"]) for row in listed] == [("tiny:0.0.1", published["digest"])]
    assert "tiny:0.0.1" in aigrid("store", "list").out
    shown = aigrid("store", "show", "tiny").out
    assert "verified" in shown
    assert "bits per byte" in shown
    assert aigrid("store", "verify", "tiny:0.0.1").code == 0
    assert aigrid("store", "pull", "tiny", "--out", tmp_path / "copy").code == 0
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == (
        model / "model.safetensors"
    ).read_bytes()


def test_publish_refuses_what_is_no_folder(aigrid: Run) -> None:
    ran = aigrid("store", "publish", "nothing-here")
    assert ran.code == 1
    assert "nothing-here" in ran.err


def test_factory_run_makes_and_publishes(aigrid: Run, tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path)
    text = write_tiny_text(tmp_path / "text")
    made = aigrid("factory", "run", recipe, "--data", text, "--out", tmp_path / "m", "--publish")
    assert made.code == 0, made.err
    assert "training" in made.err, "progress is on stderr"
    assert "published  tiny:0.0.1" in made.out
    assert (tmp_path / "m" / "service.json").is_file()


def test_data_of_the_grid_and_text_do_not_collide(aigrid: Run, tmp_path: Path) -> None:
    recipe = write_tiny_recipe(tmp_path)
    text = write_tiny_text(tmp_path / "text")
    other = tmp_path / "other"
    made = aigrid("--data", other, "factory", "run", recipe, "--data", text, "--json")
    assert Path(json.loads(made.out)["path"]) == other / "models" / "tiny"


def test_factory_import_compares_and_publishes_an_embedding_model(
    aigrid: Run, tmp_path: Path
) -> None:
    checkpoint = make_tiny_encoder(tmp_path / "checkpoint")
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"{part} {at}" for at in range(4) for part in TEXT))
    words = ("factory", "import", checkpoint, "--name", "near:2", "--data", text, "--publish")
    told = ("--price", "0.02", "--dimensions", "8,16", "--licence", "Apache-2.0")
    made = aigrid(*words, *told, "--out", tmp_path / "near")
    assert made.code == 0, made.err
    assert "cosine 1.0000 in the mean" in made.out and "published  near:2 sha256:" in made.out
    shown = aigrid("store", "show", "near").out
    assert "embed, embedded engine, 40 tokens of context" in shown
    assert "0.02 in, 0 out, USD" in shown and "cosine 1.0000 to the checkpoint" in shown


def test_factory_import_says_in_one_line_what_it_cannot_read(aigrid: Run, tmp_path: Path) -> None:
    ran = aigrid("factory", "import", tmp_path, "--name", "x", "--dimensions", "8;9")
    assert ran.code == 2 and "--dimensions is '8;9'" in ran.err
    ran = aigrid("factory", "import", tmp_path, "--name", "x", "--out", tmp_path / "out")
    assert ran.code == 2 and "modules.json: cannot be read" in ran.err
