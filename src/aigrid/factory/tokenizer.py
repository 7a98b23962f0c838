"""The tokenizer: byte-level byte-pair encoding, and the shape of a conversation in tokens.

A plain document is `<|bos|>text<|end|>`; a conversation is
`<|bos|><|user|>question<|end|><|assistant|>answer<|end|>`, with a `<|system|>` turn before it
where there is one. The chat template that travels with the model spells the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aigrid.core.errors import ConfigurationError
from aigrid.factory.documents import Document

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BOS, END = "<|bos|>", "<|end|>"
ROLES = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
SPECIAL_TOKENS = (BOS, END, *ROLES.values())
MAX_TRAINING_BYTES = 8_000_000

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<|assistant|>"
    "{% elif message['role'] in ['system', 'developer'] %}<|system|>"
    "{% else %}<|user|>{% endif %}"
    "{{ message['content'] | trim }}<|end|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train_tokenizer(documents: Iterable[Document], vocab_size: int) -> Tokenizer:
    """Learn merges from the documents' text and questions.

    Returns:
        A tokenizer of at most `vocab_size` tokens; ids 0 to 4 are the special tokens, every byte
        has a token, and decoding gives back exactly the bytes that were encoded.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_limited(documents), trainer)
    bos = token_id(tokenizer, BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, bos)]
    )
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a special token."""
    found: int | None = tokenizer.token_to_id(token)
    if found is None:
        raise ConfigurationError(f"the tokenizer has no token {token}")
    return found


def _limited(documents: Iterable[Document]) -> Iterator[str]:
    left = MAX_TRAINING_BYTES
    for document in documents:
        for text in (document.text, *(e.question for e in document.exchanges)):
            left -= len(text)
            if left < 0:
                return
            yield text


class Encoder:
    """Turns text and conversations into tokens the way training sees them.

    Content never becomes a special token, whatever it spells.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.encode_special_tokens = True
        self._special = {token: token_id(tokenizer, token) for token in SPECIAL_TOKENS}
        self.vocab_size: int = tokenizer.get_vocab_size()

    def text(self, text: str) -> list[int]:
        """`<|bos|>text<|end|>`."""
        return self.texts([text])[0]

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Several plain documents."""
        return [[self._special[BOS], *ids, self._special[END]] for ids in self._contents(texts)]

    def conversation(self, turns: Sequence[tuple[str, str]]) -> list[int]:
        """One conversation of (role, content), as the chat template renders it."""
        return self.conversations([turns])[0]

    def conversations(self, all_turns: Sequence[Sequence[tuple[str, str]]]) -> list[list[int]]:
        """Several conversations of (role, content)."""
        contents = iter(self._contents([text.strip() for turns in all_turns for _, text in turns]))
        return [self._joined([role for role, _ in turns], contents) for turns in all_turns]

    def _joined(self, roles: Sequence[str], contents: Iterator[list[int]]) -> list[int]:
        tokens = [self._special[BOS]]
        for role in roles:
            tokens += [self._special[ROLES[role]], *next(contents), self._special[END]]
        return tokens

    def _contents(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]


def tokenizer_config(context_tokens: int) -> dict[str, Any]:
    """What `tokenizer_config.json` holds."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": END,
        "pad_token": END,
        "additional_special_tokens": list(ROLES.values()),
        "clean_up_tokenization_spaces": False,
        "model_max_length": context_tokens,
        "chat_template": CHAT_TEMPLATE,
    }


def tokenizer_json(tokenizer: Tokenizer) -> bytes:
    """What `tokenizer.json` holds."""
    return json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, indent=1).encode()
