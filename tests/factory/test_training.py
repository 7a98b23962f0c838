import hashlib
import json
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from aigrid.core.errors import ConfigurationError, DataError
from aigrid.factory.batches import batches
from aigrid.factory.checkpoint import read_checkpoint
from aigrid.factory.decoder import Decoder
from aigrid.factory.machine import cpu_flags, repeatable, resolve_precision
from aigrid.factory.progress import SilentProgress
from aigrid.factory.recipe import ModelDials, TrainingDials
from aigrid.factory.run import MadeModel
from aigrid.factory.scoring import torch_scorer
from aigrid.factory.training import learning_rate, train

ROOT = Path(__file__).parents[2]
DIALS = ModelDials(layers=2, width=32, heads=2, kv_heads=1, context=32)
TRAINING = TrainingDials(steps=60, batch=4, learning_rate=0.01, warmup_steps=5, threads=1)


def counting(rng: np.random.Generator):  # type: ignore[no-untyped-def]
    pieces = [np.arange(i, i + 40, dtype=np.int32) % 20 for i in range(20)]
    return batches(pieces, 4, 32, rng)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_loss_falls_on_a_sequence_that_can_be_learnt(precision: str) -> None:
    with repeatable(seed=0, threads=1):
        decoder = Decoder(DIALS, 20)
        source = counting(np.random.default_rng(0))
        run = train(decoder, TRAINING, source, precision, SilentProgress())
    assert run.losses[0] == pytest.approx(np.log(20), abs=0.5)
    assert run.losses[-1] < 0.5
    assert run.tokens == 60 * 4 * 32


def test_a_run_that_diverges_says_so() -> None:
    decoder = Decoder(DIALS, 20)
    with torch.no_grad():
        decoder.model.norm.weight.fill_(float("nan"))
    with pytest.raises(DataError, match="loss became nan at step 5") as caught:
        train(decoder, TRAINING, counting(np.random.default_rng(0)), "fp32", SilentProgress())
    assert "learning_rate" in caught.value.next_step


def test_the_rate_warms_up_peaks_and_ends_at_a_tenth() -> None:
    dials = TrainingDials(steps=100, learning_rate=1.0, warmup_steps=10)
    rates = [learning_rate(step, dials) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1.0
    assert rates[-1] == pytest.approx(0.1, abs=0.001)


def test_batches_hold_every_token_once_a_pass_and_targets_follow_inputs() -> None:
    pieces = [np.arange(i * 100, i * 100 + 64, dtype=np.int32) for i in range(5)]
    source = batches(pieces, batch=1, context=32, rng=np.random.default_rng(1))
    seen: list[int] = []
    for _ in range(9):
        inputs, targets = next(source)
        assert inputs.shape == targets.shape == (1, 32)
        assert (inputs[0, 1:] == targets[0, :-1]).all()
        seen += inputs[0].tolist()
    assert len(set(seen)) == 9 * 32


def test_documents_shorter_than_the_context_still_fill_batches() -> None:
    source = batches([np.arange(5, dtype=np.int32)], 2, 32, np.random.default_rng(0))
    assert next(source)[0].shape == (2, 32)


def test_the_checkpoint_gives_transformers_the_same_logits(made: MadeModel) -> None:
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(made.path, dtype=torch.float32).eval()
    ours = read_checkpoint(made.path).eval()
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, ours.vocab_size, (2, 128)))
    with torch.inference_mode():
        torch.testing.assert_close(theirs(tokens).logits, ours(tokens), atol=1e-4, rtol=0)
    assert theirs.num_parameters() == ours.parameter_count()


def test_the_quantised_form_scores_like_the_model(made: MadeModel) -> None:
    from aigrid.factory.card import onnx_scorer

    window = list(range(5, 105))
    ours = torch_scorer(read_checkpoint(made.path))([window, window[:3]])
    graph = onnx_scorer(made.path / "onnx" / "model.onnx", threads=1)([window, window[:3]])
    assert [len(s) for s in ours] == [99, 2]
    np.testing.assert_allclose(ours[0], graph[0], atol=0.05)
    np.testing.assert_allclose(ours[1], ours[0][:2], atol=1e-4)


def test_precision_follows_the_processor() -> None:
    assert resolve_precision("auto", frozenset({"avx2"})) == "fp32"
    assert resolve_precision("auto", frozenset({"avx512_bf16"})) == "bf16"
    assert resolve_precision("fp32", frozenset({"amx_bf16"})) == "fp32"
    with pytest.raises(ConfigurationError, match="no bf16 in hardware"):
        resolve_precision("bf16", frozenset())


def test_processor_features_are_read_from_the_system(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: X\nflags\t\t: fpu amx_bf16\n")
    assert cpu_flags(info) == {"fpu", "amx_bf16"}
    assert cpu_flags(tmp_path / "none") == frozenset()


def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.tiny_model import make_tiny_model;"
        "make_tiny_model(Path(sys.argv[1]) / 'tiny')"
    )
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        arguments = [sys.executable, "-c", program, str(tmp_path / name)]
        paths = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin"}
        subprocess.run(arguments, check=True, env=paths, cwd=ROOT, timeout=120)
        made.append(_digests(tmp_path / name / "tiny"))
    assert made[0] == made[1]
    assert {"model.safetensors", "onnx/model.onnx", "evaluation.json"} <= made[0].keys()


def _digests(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != "run.json")
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def test_the_end_of_an_answer_is_learnt(tmp_path: Path) -> None:
    """A model that has learnt a text by heart answers and then stops by itself."""
    from tests.tiny_model import tiny_recipe

    from aigrid.factory.run import make_model

    text = tmp_path / "text"
    text.mkdir()
    for name, answer in zip(
        ("Ann", "Bob", "Eve"), ("blue hats", "red shoes", "old maps"), strict=True
    ):
        for number in range(16):
            body = f"{name}\n\n{name} likes {answer} more than anything else in the world.\n"
            (text / f"{name}{number}.txt").write_text(body)
    training = {"steps": 300, "batch": 4, "learning_rate": 0.006, "threads": 1}
    made = make_model(tiny_recipe(training=training), tmp_path / "m", text, SilentProgress())
    ids, end = _answer(made.path, "Tell me about Bob.")
    assert end
    assert ids == "Bob likes red shoes more than anything else in the world."


def _answer(folder: Path, question: str) -> tuple[str, bool]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    decoder = read_checkpoint(folder).eval()
    prompt = f"<|bos|><|user|>{question}<|end|><|assistant|>"
    tokens = tokenizer.encode(prompt, add_special_tokens=False).ids
    start, stop = len(tokens), json.loads((folder / "config.json").read_text())["eos_token_id"]
    for _ in count():
        with torch.inference_mode():
            tokens.append(int(decoder(torch.tensor([tokens]))[0, -1].argmax()))
        if tokens[-1] == stop or len(tokens) == 120:
            break
    return tokenizer.decode(tokens[start:]), tokens[-1] == stop
