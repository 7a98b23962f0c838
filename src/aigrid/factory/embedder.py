"""From a sentence-transformers checkpoint to the model folder of an embedding service."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigrid.core.errors import ConfigurationError, NotFoundError
from aigrid.core.package import Footprint, Price, Provenance, ServiceSpec, canonical_json
from aigrid.factory import agreement
from aigrid.factory.checkpoint import pretty_json
from aigrid.factory.documents import Document
from aigrid.factory.encoder import EncoderWeights
from aigrid.factory.encoder_graph import FORMS, export_encoder
from aigrid.factory.machine import describe_machine, repeatable, wait_without_spinning
from aigrid.factory.progress import Progress
from aigrid.factory.run import BYTES_PER_MB, RUNTIME_MB, MadeModel
from aigrid.factory.sentences import SentenceModel
from aigrid.factory.staging import check_room, check_target, staged_folder, write_file

WORK_MB = 32  # activations of a step
# Files that go along as they are: they say what the graph was made of.
_KEPT = ("tokenizer.json", "config.json")
_ALONG = ("LICENSE", "LICENSE.txt", "LICENCE", "NOTICE")


@dataclass(frozen=True, slots=True)
class ImportTerms:
    """What the person who imports decides.

    Attributes:
        name: of the service.
        version: of the package.
        form: one of `FORMS`.
        dimensions: to which vectors may be cut, where the checkpoint was trained for it.
        licence: of the checkpoint, an SPDX id.
        price: a million tokens that are read.
    """

    name: str
    version: str = "1.0.0"
    form: str = FORMS[0]
    dimensions: tuple[int, ...] = ()
    licence: str = ""
    price: Price = field(default_factory=Price)


def import_embedder(
    checkpoint: Path,
    out_dir: Path,
    terms: ImportTerms,
    documents: Sequence[Document],
    progress: Progress,
    commit: str = "",
) -> MadeModel:
    """Export a checkpoint, measure how well the export agrees with it, write the model folder.

    The folder holds `onnx/model.onnx`, the tokenizer, `evaluation.json`, `service.json` and
    `run.json`; all but the last repeat byte for byte. The checkpoint's weights stay where they are.

    Args:
        checkpoint: folder of sentence-transformers files.
        out_dir: becomes the model folder; a model that is there already is replaced in one rename.
        terms: see `ImportTerms`.
        documents: by whose text both are compared.
        progress: hears stages `exporting` and `measuring`.
        commit: version of the code, for the provenance.

    Raises:
        ConfigurationError: not such a checkpoint, one that is not built, or terms that cannot be.
        NotFoundError: a file of it is missing.
        DataError: its weights cannot be read, or there is too little text.
        ConflictError, StorageError: see `staging`.
    """
    started_s = time.perf_counter()
    wait_without_spinning()
    check_target(out_dir)
    model = SentenceModel.read(checkpoint)
    _check_terms(terms, model)
    weights_file = _existing(model.encoder / "model.safetensors")
    check_room(out_dir, 2 * weights_file.stat().st_size)
    texts = agreement.texts_of(documents)
    weights = EncoderWeights(weights_file, model.shape)
    with staged_folder(out_dir) as folder, repeatable(0, 1):
        progress.stage("exporting", 1)
        graph = export_encoder(folder, model, weights, terms.form, terms.dimensions)
        for path in _files(model):
            write_file(folder / path.name, path.read_bytes())
        progress.advance(1, megabytes=round(graph.stat().st_size / BYTES_PER_MB))
        figures = agreement.measure(model, weights, folder, texts, progress)
        card = _card(model, weights, terms, figures)
        service = _service(model, terms, graph, _digest(weights_file), commit)
        write_file(folder / "evaluation.json", pretty_json(card))
        write_file(folder / "service.json", service.to_json())
        seconds = time.perf_counter() - started_s
        record = {"seconds": round(seconds, 3), "machine": describe_machine()}
        write_file(folder / "run.json", pretty_json(record))
    return MadeModel(out_dir, service, card, seconds)


def _check_terms(terms: ImportTerms, model: SentenceModel) -> None:
    if terms.form not in FORMS:
        raise ConfigurationError(
            f"form {terms.form!r} is not known", next_step=f"use one of {', '.join(FORMS)}"
        )
    for wanted in terms.dimensions:
        if not 1 <= wanted <= model.shape.hidden_size:
            raise ConfigurationError(
                f"dimensions {wanted}, and the checkpoint's vectors have {model.shape.hidden_size}",
                next_step="give widths that it was trained for (Matryoshka), or none",
            )


def _files(model: SentenceModel) -> list[Path]:
    """What goes along as it is."""
    found = [_existing(model.encoder / name) for name in _KEPT]
    return found + [p for name in _ALONG if (p := model.folder / name).is_file()]


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise NotFoundError(
            f"{path}: no such file",
            next_step="save the checkpoint with sentence-transformers, as safetensors",
        )
    return path


def _service(
    model: SentenceModel, terms: ImportTerms, graph: Path, data_digest: str, commit: str
) -> ServiceSpec:
    megabytes = -(-2 * graph.stat().st_size // BYTES_PER_MB)  # the file and the packed form
    asked = {"form": terms.form, "dimensions": list(terms.dimensions), "pooling": model.pooling}
    return ServiceSpec(
        name=terms.name,
        version=terms.version,
        kind="embed",
        context_tokens=model.context_tokens,
        footprint=Footprint(memory_mb=RUNTIME_MB + WORK_MB + megabytes),
        price=terms.price,
        licence=terms.licence,
        provenance=Provenance(
            recipe_digest="sha256:" + hashlib.sha256(canonical_json(asked)).hexdigest(),
            data_digest=data_digest,
            commit=commit,
            precision=terms.form,
            threads=1,
        ),
    )


def _card(
    model: SentenceModel, weights: EncoderWeights, terms: ImportTerms, figures: dict[str, Any]
) -> dict[str, Any]:
    return {
        "model": terms.name,
        "version": terms.version,
        "measure": "cosine of the graph's vectors and the checkpoint's in torch, 1 is the same",
        "form": terms.form,
        **figures,
        "family": model.shape.model_type,
        "pooling": model.pooling,
        "normalised": model.normalise,
        "width": model.shape.hidden_size,
        "dimensions": sorted({*terms.dimensions, model.shape.hidden_size}),
        "parameters": weights.count,
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
