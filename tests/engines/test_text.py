"""Text, stop strings, sampling and chat templates."""

from __future__ import annotations

import numpy as np
import pytest

from aigrid.core.errors import ConfigurationError, IntegrityError, InvalidRequestError
from aigrid.engines.chat import ChatTemplate
from aigrid.engines.engine import Message, Sampling
from aigrid.engines.sampling import choose, generator, log_softmax, top_tokens
from aigrid.engines.text import AnswerText, Vocabulary

MIXED = "naïve 日本語 🙂 plain"


@pytest.fixture(scope="module")
def vocabulary(checkpoint):
    return Vocabulary(checkpoint / "tokenizer.json")


def say(vocabulary, text, stop=()):
    """Push a text token by token; the pieces shown, and the rest."""
    answer = AnswerText(vocabulary, stop)
    pieces = []
    for token in vocabulary.encode(text, special=False):
        pieces.append(answer.push(token))
        if answer.stopped:
            break
    return pieces, answer.finish(), answer


def test_characters_never_come_in_halves(vocabulary):
    pieces, rest, _ = say(vocabulary, MIXED)
    assert "".join(pieces) == MIXED
    assert rest == ""
    assert all("�" not in piece for piece in pieces)


def test_a_broken_character_at_the_end_is_shown_as_such(vocabulary):
    answer = AnswerText(vocabulary, ())
    pieces = [answer.push(token) for token in vocabulary.encode("a🙂", special=False)[:-1]]
    assert "".join(pieces) == "a"
    assert answer.finish() == "�"


@pytest.mark.parametrize(
    ("stop", "shown", "stopped"),
    [
        (("to the",), "the grid carries the package ", True),
        (("nowhere",), "the grid carries the package to the site", False),
        (("site", "grid"), "the ", True),
        (("siteX",), "the grid carries the package to the site", False),
        (("t",), "", True),
    ],
)
def test_stop_strings_across_tokens(vocabulary, stop, shown, stopped):
    pieces, rest, answer = say(vocabulary, "the grid carries the package to the site", stop)
    assert "".join(pieces) + rest == shown
    assert answer.stopped is stopped


def test_special_tokens_add_no_text_but_have_a_name(vocabulary):
    end = vocabulary.token_id("<|end|>")
    assert vocabulary.bytes_of(end) == b""
    assert vocabulary.spelling(end) == "<|end|>"


def test_a_tokenizer_that_is_none_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match=r"tokenizer\.json"):
        Vocabulary(tmp_path / "tokenizer.json")


def test_a_tokenizer_of_another_kind_is_refused(tmp_path):
    from tokenizers import Tokenizer, decoders, models

    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigurationError, match="Metaspace"):
        Vocabulary(tmp_path / "tokenizer.json")


def test_draws_follow_the_softmax():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    chance = generator(3)
    drawn = [choose(logits, Sampling(), chance) for _ in range(8000)]
    np.testing.assert_allclose(np.bincount(drawn) / 8000, np.exp(logits), atol=0.02)


def test_the_nucleus_keeps_the_fewest_tokens_that_reach_top_p():
    logits = np.log(np.array([0.15, 0.5, 0.3, 0.05], np.float32))
    chance = generator(3)
    drawn = {choose(logits, Sampling(top_p=0.79), chance) for _ in range(500)}
    assert drawn == {1, 2}
    assert {choose(logits, Sampling(top_p=0.01), chance) for _ in range(50)} == {1}


def test_temperature_zero_is_greedy_and_low_is_nearly():
    logits = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    best = int(logits.argmax())
    assert choose(logits, Sampling(temperature=0), generator(0)) == best
    assert choose(logits, Sampling(temperature=1e-9), generator(0)) == best


def test_logprobs_are_a_distribution_and_tops_are_ranked():
    logits = np.random.default_rng(0).standard_normal(300).astype(np.float32) * 5
    logprobs = log_softmax(logits)
    assert np.exp(logprobs).sum() == pytest.approx(1, abs=1e-9)
    tops = top_tokens(logprobs, 5)
    assert [t for t, _ in tops] == np.argsort(-logits)[:5].tolist()
    assert len(top_tokens(logprobs[:3], 20)) == 3


TURNS = [
    [("user", "hello")],
    [("system", "be brief"), ("user", '<b>&"quotes"</b> 日本'), ("assistant", "x"), ("user", "y")],
]
TEMPLATES = [
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "{{ bos_token }}{%- for m in messages %}\n  {%- if loop.index > 9 %}{% break %}{% endif %}\n"
    "{{ m | tojson }}{{ eos_token }}\n{%- endfor %}\n",
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("turns", TURNS)
def test_chat_is_rendered_as_transformers_renders_it(checkpoint_copy, template, turns):
    from transformers import PreTrainedTokenizerFast

    (checkpoint_copy / "chat_template.jinja").write_text(template)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(checkpoint_copy)
    wanted = tokenizer.apply_chat_template(
        [{"role": r, "content": c} for r, c in turns], tokenize=False, add_generation_prompt=True
    )
    got = ChatTemplate(checkpoint_copy).render(tuple(Message(r, c) for r, c in turns))
    assert got == wanted


def test_a_template_may_refuse_turns(checkpoint_copy):
    (checkpoint_copy / "chat_template.jinja").write_text("{{ raise_exception('roles alternate') }}")
    with pytest.raises(InvalidRequestError, match="roles alternate"):
        ChatTemplate(checkpoint_copy).render((Message("user", "x"),))


def test_a_template_cannot_reach_python(checkpoint_copy):
    (checkpoint_copy / "chat_template.jinja").write_text("{{ messages.__class__.__mro__ }}")
    with pytest.raises(InvalidRequestError, match="unsafe"):
        ChatTemplate(checkpoint_copy).render((Message("user", "x"),))


def test_without_a_template_chat_is_refused_kindly(tmp_path):
    with pytest.raises(InvalidRequestError, match=r"no chat template; use /v1/completions"):
        ChatTemplate(tmp_path).render((Message("user", "x"),))


def test_a_broken_template_is_named_at_load(checkpoint_copy):
    (checkpoint_copy / "chat_template.jinja").write_text("{% for %}")
    with pytest.raises(ConfigurationError, match="chat_template does not parse"):
        ChatTemplate(checkpoint_copy)
