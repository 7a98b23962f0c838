"""A random sentence-transformers checkpoint, small enough to be made in a test."""

import json
import string
from pathlib import Path

TEXT = (
    "the radio of a tower always comes before the model on it",
    "a vector of a text lies near the vectors of texts that mean the same",
    "packages are carried to the sites where their users are",
)
WIDTH, CONTEXT = 32, 40


def make_tiny_encoder(
    folder: Path, *, pooling: str = "mean", family: str = "bert", normalise: bool = True
) -> Path:
    """Write the checkpoint with the library that its readers use; answers its folder."""
    import torch
    from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

    folder.mkdir(parents=True, exist_ok=True)
    roberta = family != "bert"
    sizes = {
        "vocab_size": _tokenizer(folder),
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT + 8,
        "initializer_range": 0.3,
        "pad_token_id": 1 if roberta else 0,
    }
    torch.manual_seed(5)
    if roberta:
        model: torch.nn.Module = XLMRobertaModel(XLMRobertaConfig(**sizes))
    else:
        model = BertModel(BertConfig(**sizes))
    for name, value in model.named_parameters():
        if name.endswith(("bias", "LayerNorm.weight")):  # fresh ones are 0 and 1: they hide faults
            torch.nn.init.normal_(value, 1.0 if name.endswith("weight") else 0.0, 0.2)
    model.save_pretrained(folder)
    _describe(folder, pooling, normalise)
    return folder


def _tokenizer(folder: Path) -> int:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = sorted({word for text in TEXT for word in text.split()})
    letters = string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{x}" for x in letters), *words]
    vocabulary = {piece: at for at, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(8)  # as checkpoints have it: left from training
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    return int(tokenizer.get_vocab_size())


def _describe(folder: Path, pooling: str, normalise: bool) -> None:
    kinds = ["Transformer", "Pooling", "Normalize"][: 3 if normalise else 2]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (kind, path) in enumerate(zip(kinds, paths, strict=False))
    ]
    modes = {
        "word_embedding_dimension": WIDTH,
        "pooling_mode_cls_token": pooling == "cls",
        "pooling_mode_mean_tokens": pooling == "mean",
        "pooling_mode_max_tokens": pooling == "max",
    }
    (folder / "1_Pooling").mkdir(exist_ok=True)
    for path, content in (
        ("modules.json", modules),
        ("1_Pooling/config.json", modes),
        ("sentence_bert_config.json", {"max_seq_length": CONTEXT, "do_lower_case": False}),
    ):
        (folder / path).write_text(json.dumps(content))


def make_tiny_embedder(out: Path, form: str = "fp32", **terms: object) -> Path:
    """Make the model folder of an embedding service; answers it."""
    from aigrid.factory.documents import Document
    from aigrid.factory.embedder import ImportTerms, import_embedder
    from aigrid.factory.progress import SilentProgress

    checkpoint = make_tiny_encoder(out.with_name(f"{out.name}-checkpoint"))
    text = "\n\n".join(f"{part} number {at}" for at in range(4) for part in TEXT)
    asked = ImportTerms(name="tiny-embed", form=form, **terms)  # type: ignore[arg-type]
    made = import_embedder(checkpoint, out, asked, [Document("text", text)], SilentProgress())
    return made.path
