"""The whole way from a recipe to a model folder, in one place."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aigrid.core.errors import ConfigurationError
from aigrid.core.package import Footprint, Objectives, Price, Provenance, Residency, ServiceSpec
from aigrid.factory.documents import Corpus, Document, check_enough, split
from aigrid.factory.files import read_files
from aigrid.factory.machine import (
    describe_machine,
    repeatable,
    resolve_precision,
    wait_without_spinning,
)
from aigrid.factory.progress import Progress
from aigrid.factory.pydocs import python_docs
from aigrid.factory.recipe import Recipe
from aigrid.factory.staging import check_room, check_target, staged_folder, write_file
from aigrid.factory.tokenizer import Encoder, train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from aigrid.factory.decoder import Decoder
    from aigrid.factory.training import TrainingRun

BYTES_PER_MB = 1_000_000
RUNTIME_MB = 150  # interpreter, onnxruntime and tokenizer of a site process
STREAMS = 8


@dataclass(frozen=True, slots=True)
class MadeModel:
    """A model folder, whole and in its place.

    Attributes:
        path: the folder.
        service: how it runs and on what terms; `service.json` holds the same.
        evaluation: the evaluation card; `evaluation.json` holds the same.
        seconds: wall-clock time of the whole run.
    """

    path: Path
    service: ServiceSpec
    evaluation: dict[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Trained:
    """What training gave, still in memory."""

    decoder: Decoder
    tokenizer: Tokenizer
    encoder: Encoder
    run: TrainingRun
    precision: str


def make_model(
    recipe: Recipe, out_dir: Path, data: Path | None, progress: Progress, commit: str = ""
) -> MadeModel:
    """Read text, train a tokenizer and a decoder, measure it, and write the model folder.

    The folder holds a Hugging Face checkpoint, `onnx/model.onnx`, `evaluation.json`,
    `service.json` and `run.json`. All but `run.json` (time, machine, speed) repeat byte for byte
    on the same kind of processor with the same recipe, text and commit.

    Args:
        recipe: what to make.
        out_dir: becomes the folder; a model that is there already is replaced in one rename.
        data: a file or folder of text; None for the source that the recipe names.
        progress: hears stages `reading`, `tokenizer`, `encoding`, `training`, `measuring`,
            `packaging`. An exception from it stops the run, and nothing is left behind.
        commit: version of the code, for the provenance.

    Raises:
        ConfigurationError: the recipe needs `data`, or a precision that this machine lacks.
        NotFoundError: `data` does not exist.
        DataError: no usable text, too little of it, or the training diverged.
        ConflictError: `out_dir` holds something that is not a model.
        StorageError: not enough room, or a file cannot be written.
    """
    started = time.perf_counter()
    wait_without_spinning()
    check_target(out_dir)
    precision = resolve_precision(recipe.training.precision)
    corpus = read_corpus(recipe, data, progress)
    check_room(out_dir, _room_needed(recipe))
    train_part, held_part = split(corpus.documents, recipe.source.validation_fraction, recipe.seed)
    with staged_folder(out_dir) as folder, repeatable(recipe.seed, recipe.training.threads):
        trained = _train(recipe, corpus.system, train_part, precision, progress)
        service = _service(recipe, corpus, trained, commit)
        card = _write(folder, recipe, corpus, trained, (train_part, held_part), progress)
        write_file(folder / "service.json", service.to_json())
        seconds = time.perf_counter() - started
        _write_run_record(folder, trained, seconds)
    return MadeModel(out_dir, service, card, seconds)


def read_corpus(recipe: Recipe, data: Path | None, progress: Progress) -> Corpus:
    """The text that the recipe, or `data` in its place, asks for.

    Raises:
        ConfigurationError: the recipe reads files and none are given.
        NotFoundError: `data` does not exist.
        DataError: no usable text, or too little of it.
    """
    limit = recipe.source.max_mb * BYTES_PER_MB
    if data is not None:
        return check_enough(read_files(data, progress, limit))
    if recipe.source.kind == "files":
        raise ConfigurationError(
            f"recipe {recipe.name}: source.kind is 'files' and no text was given",
            next_step="add --data FILE_OR_DIR",
        )
    return check_enough(python_docs(progress, limit))


def _room_needed(recipe: Recipe) -> int:
    """Checkpoint and graph (4 bytes a weight each at most), tokenizer and small files."""
    dials, vocab = recipe.model, recipe.tokenizer.vocab_size
    attention = 2 * dials.width * (dials.width + dials.kv_heads * dials.head_size)
    layer = attention + 3 * dials.width * dials.hidden_size
    return 8 * (2 * vocab * dials.width + dials.layers * layer) + 200 * vocab + 100_000


def _train(
    recipe: Recipe, system: str, documents: list[Document], precision: str, progress: Progress
) -> _Trained:
    from aigrid.factory.batches import batches, sequences
    from aigrid.factory.decoder import Decoder
    from aigrid.factory.training import train

    rng = np.random.default_rng(recipe.seed)
    progress.stage("tokenizer", 1)
    tokenizer = train_tokenizer(documents, recipe.tokenizer.vocab_size)
    progress.advance(1, tokens=tokenizer.get_vocab_size())
    progress.stage("encoding", 1)
    encoder = Encoder(tokenizer)
    pieces = sequences(documents, system, encoder, rng)
    progress.advance(1, tokens=sum(map(len, pieces)))
    decoder = Decoder(recipe.model, encoder.vocab_size)
    source = batches(pieces, recipe.training.batch, recipe.model.context, rng)
    run = train(decoder, recipe.training, source, precision, progress)
    return _Trained(decoder, tokenizer, encoder, run, precision)


def _write(
    folder: Path,
    recipe: Recipe,
    corpus: Corpus,
    trained: _Trained,
    parts: tuple[list[Document], list[Document]],
    progress: Progress,
) -> dict[str, Any]:
    from aigrid.factory import card
    from aigrid.factory.checkpoint import pretty_json, write_checkpoint
    from aigrid.factory.quantise import export
    from aigrid.factory.scoring import torch_scorer

    progress.stage("packaging", 2)
    write_checkpoint(folder, trained.decoder, trained.tokenizer)
    progress.advance(1)
    graph = export(folder, recipe.package.form)
    progress.advance(1)
    progress.stage("measuring", 3)
    held = card.HeldOut.of(parts[1], trained.encoder, recipe)
    figures = {"model": held.measure(torch_scorer(trained.decoder))}
    progress.advance(1, bits_per_byte=round(figures["model"].value, 3))
    threads = recipe.training.threads
    figures[recipe.package.form] = held.measure(card.onnx_scorer(graph, threads))
    progress.advance(1)
    baselines = card.rivals(parts[0], held)
    progress.advance(1)
    evaluation = card.evaluation_card(
        recipe, corpus, held, trained.run, figures, baselines, trained.decoder.parameter_count()
    )
    write_file(folder / "evaluation.json", pretty_json(evaluation))
    return evaluation


def _service(recipe: Recipe, corpus: Corpus, trained: _Trained, commit: str) -> ServiceSpec:
    terms = recipe.package
    return ServiceSpec(
        name=recipe.name,
        version=recipe.version,
        context_tokens=recipe.model.context,
        footprint=Footprint(memory_mb=_memory_mb(recipe, trained.decoder.parameter_count())),
        slo=Objectives(**terms.slo.model_dump()),
        price=Price(**terms.price.model_dump()),
        licence=terms.licence,
        residency=Residency(terms.residency),
        provenance=Provenance(
            recipe_digest=recipe.digest(),
            data_digest=corpus.digest(),
            seed=recipe.seed,
            commit=commit,
            precision=trained.precision,
            threads=recipe.training.threads,
        ),
    )


def _memory_mb(recipe: Recipe, parameters: int) -> int:
    """Runtime, weights twice (the file and the packed form), and keys and values in fp32."""
    dials = recipe.model
    cache = 2 * dials.layers * dials.kv_heads * dials.head_size * dials.context * 4 * STREAMS
    return RUNTIME_MB + -(-(8 * parameters + cache) // BYTES_PER_MB)


def _write_run_record(folder: Path, trained: _Trained, seconds: float) -> None:
    import torch

    from aigrid.factory.checkpoint import pretty_json

    record = {
        "seconds": round(seconds, 3),
        "training_seconds": round(trained.run.seconds, 3),
        "training_tokens_per_s": round(trained.run.tokens_per_s, 1),
        "threads": torch.get_num_threads(),
        "precision": trained.precision,
        "torch": torch.__version__,
        "machine": describe_machine(),
    }
    write_file(folder / "run.json", pretty_json(record))
