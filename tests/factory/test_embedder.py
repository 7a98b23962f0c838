"""A sentence-transformers checkpoint becomes a package that says what the checkpoint says."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.tiny_encoder import CONTEXT, TEXT, WIDTH, make_tiny_embedder, make_tiny_encoder

from aigrid.core.errors import AigridError, ConfigurationError, DataError, NotFoundError
from aigrid.engines.encoder import Encoder as Graph
from aigrid.factory.agreement import compare, texts_of
from aigrid.factory.documents import Document
from aigrid.factory.embedder import ImportTerms, import_embedder
from aigrid.factory.encoder import Encoder, EncoderWeights
from aigrid.factory.encoder_graph import export_encoder
from aigrid.factory.progress import SilentProgress
from aigrid.factory.sentences import SentenceModel
from aigrid.store.layout import Layout
from aigrid.store.pack import pack

IDS = [2, 9, 40, 41, 42, 17, 60, 3]


def theirs(folder: Path, ids: list[int]) -> np.ndarray:
    """Last hidden states by the library that the checkpoint was written with."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(torch.tensor([ids])).last_hidden_state[0].numpy()


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_torch_graph_and_library_agree(tmp_path: Path, family: str, pooling: str) -> None:
    folder = make_tiny_encoder(tmp_path / "checkpoint", pooling=pooling, family=family)
    model = SentenceModel.read(folder)
    weights = EncoderWeights(folder / "model.safetensors", model.shape)
    hidden = theirs(folder, IDS)
    np.testing.assert_allclose(Encoder(model.shape, weights).hidden(IDS), hidden, atol=2e-5)
    export_encoder(folder, model, weights, "fp32")
    padded = Graph(folder, threads=1).encode([[2, 5, 3], IDS, [2, 11, 12, 13, 3]])
    wanted = hidden.mean(0) if pooling == "mean" else hidden[0]
    np.testing.assert_allclose(padded[1], wanted, atol=2e-5)


@pytest.mark.parametrize(
    ("form", "least"), [("fp32", 0.999999), ("int8", 0.99), ("int8-dynamic", 0.9)]
)
def test_card_measures_how_well_the_package_agrees(tmp_path: Path, form: str, least: float) -> None:
    package = make_tiny_embedder(tmp_path / "package", form)
    card = json.loads((package / "evaluation.json").read_text())
    assert least <= card["cosine"]["least"] <= card["cosine"]["mean"] <= 1.000001
    assert card["texts"] == 12 and card["form"] == form and card["width"] == WIDTH
    if form != "fp32":
        assert card["cosine"]["mean"] < 0.9999999  # rounding shows


def test_package_is_whole_repeats_and_holds_no_torch_weights(tmp_path: Path) -> None:
    first = make_tiny_embedder(tmp_path / "one", dimensions=(8,), licence="Apache-2.0")
    second = make_tiny_embedder(tmp_path / "two", dimensions=(8,), licence="Apache-2.0")
    layout = Layout(tmp_path / "layout")
    packed = pack(first, layout)
    assert packed.digest == pack(second, layout).digest
    spec = packed.spec
    assert (spec.kind, spec.engine, spec.context_tokens) == ("embed", "embedded", CONTEXT)
    assert spec.provenance.data_digest.startswith("sha256:")
    names = {str(p.relative_to(first)) for p in first.rglob("*") if p.is_file()}
    assert names == {
        "config.json", "evaluation.json", "onnx/model.onnx", "run.json", "service.json",
        "tokenizer.json",
    }  # fmt: skip


def spoil(folder: Path, file: str, **changes: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def drop(folder: Path, file: str) -> None:
    (folder / file).unlink()


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("config.json", {"model_type": "mpnet"}, r"config\.json: model_type is 'mpnet'"),
        ("config.json", {"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ("config.json", {"hidden_size": 48}, "expected"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pooling is mean, pooling"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "pooling is none"),
        ("sentence_bert_config.json", {"max_seq_length": 5000}, "max_seq_length is 5000"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case is true"),
    ],
)
def test_a_checkpoint_that_is_not_built_is_refused_by_file_and_value(
    tmp_path: Path, file: str, changes: dict[str, object], said: str
) -> None:
    folder = make_tiny_encoder(tmp_path / "checkpoint")
    spoil(folder, file, **changes)
    refused(folder, tmp_path, said)


def refused(folder: Path, tmp_path: Path, said: str, **terms: object) -> None:
    asked = ImportTerms("e", **terms)  # type: ignore[arg-type]
    documents = [Document("d", "\n\n".join(f"{TEXT[0]} {n}" for n in range(9)))]
    with pytest.raises(AigridError, match=said):
        import_embedder(folder, tmp_path / "out", asked, documents, SilentProgress())
    assert not (tmp_path / "out").exists()


def test_other_modules_prompts_and_missing_files_are_refused(tmp_path: Path) -> None:
    folder = make_tiny_encoder(tmp_path / "checkpoint")
    modules = json.loads((folder / "modules.json").read_text())
    dense = [*modules, {"path": "3_Dense", "type": "sentence_transformers.models.Dense"}]
    (folder / "modules.json").write_text(json.dumps(dense))
    refused(folder, tmp_path, "modules are Transformer, Pooling, Normalize, Dense")
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "config_sentence_transformers.json").write_text('{"default_prompt_name": "query"}')
    refused(folder, tmp_path, "default_prompt_name is 'query'")
    drop(folder, "config_sentence_transformers.json")
    refused(
        folder, tmp_path, "dimensions 33, and the checkpoint's vectors have 32", dimensions=(33,)
    )
    refused(folder, tmp_path, "form 'int2' is not known", form="int2")
    drop(folder, "model.safetensors")
    with pytest.raises(NotFoundError, match=r"model\.safetensors: no such file"):
        import_embedder(folder, tmp_path / "out", ImportTerms("e"), [], SilentProgress())
    with pytest.raises(ConfigurationError, match=r"modules\.json: cannot be read"):
        SentenceModel.read(tmp_path)


def test_comparing_takes_enough_text_from_everywhere() -> None:
    documents = [Document(str(n), f"first of {n}\n\nsecond of {n}") for n in range(300)]
    chosen = texts_of(documents)
    assert len(chosen) == len(set(chosen)) == 120
    assert {text.split()[0] for text in chosen} == {"first", "second"}
    with pytest.raises(DataError, match="2 paragraphs to compare by"):
        texts_of(documents[:1])


def test_figures_see_what_a_search_would_notice() -> None:
    rng = np.random.default_rng(1)
    one = rng.normal(size=(20, 8))
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    same = compare(one, one)
    assert same["cosine"]["least"] == 1.0 and same["nearest_text_same"] == 1.0
    turned = compare(one, one[::-1])
    assert turned["cosine"]["least"] < 0.9 and turned["pair_cosine_moved"]["most"] > 0.1
