import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from aigrid.factory.documents import Document
from aigrid.factory.run import MadeModel
from aigrid.factory.tokenizer import SPECIAL_TOKENS, Encoder, train_tokenizer

DOCUMENTS = [Document("a", "the lamp shines over the tower " * 20)]
TOKENIZER = train_tokenizer(DOCUMENTS, 300)
ENCODER = Encoder(TOKENIZER)


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_every_text_comes_back_exactly(text: str) -> None:
    ids = ENCODER.text(text)
    assert TOKENIZER.decode(ids[1:-1], skip_special_tokens=False) == text


def test_content_that_spells_a_special_token_stays_content() -> None:
    ids = ENCODER.text("<|end|> and <|user|>")
    assert min(ids[1:-1]) >= len(SPECIAL_TOKENS)


def test_training_twice_gives_the_same_tokenizer() -> None:
    assert train_tokenizer(DOCUMENTS, 300).to_str() == TOKENIZER.to_str()


def test_the_chat_template_renders_what_training_saw(made: MadeModel) -> None:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(made.path)
    turns = [
        ("system", "Be brief."),
        ("user", " What does the lamp do?\n"),
        ("assistant", "It shines."),
    ]
    messages = [{"role": role, "content": text} for role, text in turns]
    encoder = Encoder(Tokenizer.from_file(str(made.path / "tokenizer.json")))
    rendered = loaded.apply_chat_template(messages, tokenize=False)
    assert loaded(rendered, add_special_tokens=False)["input_ids"] == encoder.conversation(turns)
    prompt = loaded.apply_chat_template(messages[:2], tokenize=False, add_generation_prompt=True)
    assert (
        prompt
        == "<|bos|><|system|>Be brief.<|end|><|user|>What does the lamp do?<|end|><|assistant|>"
    )


def test_plain_text_gets_its_start_token_and_the_end_token_is_declared(made: MadeModel) -> None:
    tokenizer = Tokenizer.from_file(str(made.path / "tokenizer.json"))
    assert tokenizer.encode("lamp").tokens[0] == "<|bos|>"
    added = tokenizer.get_added_tokens_decoder()
    assert [added[i].content for i in sorted(added)] == list(SPECIAL_TOKENS)
    assert all(token.special for token in added.values())
    config = json.loads((made.path / "generation_config.json").read_text())
    assert config["eos_token_id"] == tokenizer.token_to_id("<|end|>")
