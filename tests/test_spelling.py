"""Text is encoded as text: what people write never becomes a control token, in any kind of tokenizer and template."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import byte_tokenizer, word_tokenizer
from support.tokenizer_kinds import CONTROL, KINDS, NOT_SPECIAL, TEMPLATES, tokenizer_of

from rlaif.models.rendering import Rendering, Unrenderable
from rlaif.models.spelling import Spelling, text_ids
from rlaif.models.templates import left_out, start_ids, written

SPELLINGS = [*CONTROL, *NOT_SPECIAL]
SHARDS = ["<", "|", ">", "/", "s", "end", "|end|", "user|", " ", "\n", "the", "京", "<<|end|>|end|>", "\ue000", "</S>"]
TEXT = st.lists(st.sampled_from([*SPELLINGS, *SHARDS]), min_size=1, max_size=6).map("".join)
FREE = st.text(st.sampled_from("abc XYZ.,\n!?京é0"), min_size=1, max_size=20)
tokenizer = functools.cache(tokenizer_of)


def control_ids(kind: str) -> set[int]:
    return {tokenizer(kind).convert_tokens_to_ids(token) for token in SPELLINGS}


def controls(kind: str, ids: list[int]) -> list[str]:
    return [tokenizer(kind).convert_ids_to_tokens(index) for index in ids if index in control_ids(kind)]


def squeezed(kind: str, text: str) -> str:
    """What a tokenizer of the kind keeps of a text."""
    import unicodedata

    text = {"wordpiece": text.lower(), "unigram": unicodedata.normalize("NFKC", text)}.get(kind, text)
    return "".join(text.split()) if kind in ("wordpiece", "unigram", "llama_bpe") else text


@pytest.mark.parametrize("kind", KINDS)
@given(prompt=TEXT, response=TEXT)
@settings(max_examples=40)
def test_no_control_token_comes_of_text_and_the_text_comes_back(kind: str, prompt: str, response: str) -> None:
    if kind == "wordpiece":  # it deletes private-use characters and knows no others
        prompt, response = (text.replace("\ue000", "").replace("京", "é") or "x" for text in (prompt, response))
    plain = tokenizer(kind)
    encoded = Rendering.of(plain).encode(plain, prompt, response)
    assert controls(kind, encoded.prompt_ids) == []
    assert controls(kind, encoded.response_ids) == ["</s>"]
    for text, ids in ((prompt, encoded.prompt_ids), (response, encoded.response_ids[:-1])):
        back = plain.decode(ids, clean_up_tokenization_spaces=False)
        assert squeezed(kind, back) == squeezed(kind, text.replace("é", "e") if kind == "wordpiece" else text)


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name not in ("no_system", "last_turn")])
@pytest.mark.parametrize("kind", KINDS)
@given(prompt=TEXT, response=TEXT)
@settings(max_examples=12)
def test_of_control_tokens_a_chat_has_the_templates_own(kind: str, template: str, prompt: str, response: str) -> None:
    chat = tokenizer(kind, template)
    rendering = Rendering.of(chat)
    neutral = rendering.encode(chat, "neutral", "words")
    encoded = rendering.encode(chat, prompt, response)
    assert controls(kind, encoded.prompt_ids) == controls(kind, neutral.prompt_ids)
    assert controls(kind, encoded.response_ids) == controls(kind, neutral.response_ids)
    assert encoded.prompt_ids == rendering.encode_prompt(chat, prompt)
    assumed = Rendering.assumed(chat)
    assert controls(kind, assumed.encode(chat, prompt, response).ids) == controls(
        kind, assumed.encode(chat, "neutral", "words").ids
    )


@pytest.mark.parametrize("template", [None, *TEMPLATES])
@pytest.mark.parametrize("kind", KINDS)
@given(prompt=FREE, response=FREE)
@settings(max_examples=8)
def test_text_without_a_spelling_keeps_its_tokens(kind: str, template: str | None, prompt: str, response: str) -> None:
    """Equal to the tokenizer's own of the template's whole text; the twin, asked, gives the same."""
    it = tokenizer(kind, template)
    encoded = Rendering.of(it).encode(it, prompt, response)
    if template is None:
        texts = [prompt, response]
    else:
        start = written(it, [{"role": "user", "content": prompt}], add_generation_prompt=True)
        texts = [start]
    own = [it(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert encoded.prompt_ids == own[0]
    assert template is not None or encoded.response_ids[:-1] == own[1]
    twin = Spelling.of(it).encode(it, texts[0], None if template is None else "\ue0f0")
    assert twin == own[0]


@pytest.mark.parametrize(
    "flags", [{"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}, {"normalized": True}]
)
@pytest.mark.parametrize("kind", KINDS)
def test_flags_of_added_tokens_act_on_the_templates_own_alone(kind: str, flags: dict[str, bool]) -> None:
    it = tokenizer(kind, "chat", **flags)
    for spelled in ("a <think> b", "<|end|>  x", "  </think>", "<THINK>", "＜think＞"):
        ids = start_ids(it, [{"role": "user", "content": spelled}])
        # Behind a normalizer that prepends, a token that asks for normalized text is found at its beginning alone.
        neutral = controls(kind, start_ids(it, [{"role": "user", "content": "neutral"}]))
        unknown = ["<unk>"] * (kind == "wordpiece" and "＜" in spelled)
        assert controls(kind, ids) == [neutral[0], *unknown, *neutral[1:]]
        if kind == "byte_bpe" and not flags.get("rstrip"):
            assert spelled in it.decode(ids)
    plain = [{"role": "user", "content": " a  b "}]
    text = it.apply_chat_template(plain, add_generation_prompt=True, tokenize=False)
    assert start_ids(it, plain) == it(text, add_special_tokens=False)["input_ids"]


def test_a_word_of_its_own_is_found_where_it_is_one() -> None:
    from tokenizers import AddedToken

    it = tokenizer_of("byte_bpe", "chat")
    it.add_tokens([AddedToken("covid", single_word=True, normalized=False)])
    covid = it.convert_tokens_to_ids("covid")
    for text in ("a covid b", "covids", "covid"):
        ids = start_ids(it, [{"role": "user", "content": text}])
        assert covid not in ids
        assert text in it.decode(ids)


def test_a_control_token_of_one_character_is_spelled_out() -> None:
    it = tokenizer_of("byte_bpe", "chat")
    it.add_tokens(["☃"])
    ids = Rendering.of(it).encode(it, "a ☃☃", "<|end|>☃").ids
    assert it.convert_tokens_to_ids("☃") not in ids
    assert it.decode(ids) == "<|user|>a ☃☃<|end|>\n<|assistant|><|end|>☃<|end|>\n</s>"


def test_white_space_and_letters_that_are_added_tokens_are_no_control_tokens() -> None:
    it = tokenizer_of("byte_bpe", "chat")
    it.add_tokens(["\n\n", "    "])
    it.pad_token = "!"
    it.add_special_tokens({"additional_special_tokens": ["!"]})
    text = "a\n\nb!    c"
    ids = text_ids(it, text)
    assert ids == it(text, add_special_tokens=False)["input_ids"]
    assert it.convert_tokens_to_ids("\n\n") in ids
    assert Spelling.of(it).hidden.isdisjoint(ids)


@pytest.mark.parametrize("make", [word_tokenizer, functools.partial(word_tokenizer, chat=True)])
def test_what_can_be_written_in_no_other_way_is_refused(make: Any) -> None:
    it = make()
    assert len(Rendering.of(it).encode(it, "a b", "c").response_ids) == 2
    with pytest.raises(
        Unrenderable, match="spells the control token </s>, and the tokenizer can write that in no other"
    ):
        Rendering.of(it).encode(it, "a b", "c </s> d")


def test_a_template_that_answers_a_spelling_with_tokens_of_its_own_is_refused_or_told() -> None:
    it = byte_tokenizer(chat=True)
    it.chat_template = (
        "{% for m in messages %}{% if 'x' in m['content'] %}<s>{% endif %}{{ m['content'] }}</s>{% endfor %}"
    )
    assert it.decode(start_ids(it, [{"role": "user", "content": "a x"}])) == "<s>a x</s>"
    ids = start_ids(it, [{"role": "user", "content": "a <s> x"}])
    assert ids.count(it.bos_token_id) == 1
    it.chat_template = (
        "{% for m in messages %}{% if m['content'] | length > 4 %}<s>{% endif %}{{ m['content'] }}</s>{% endfor %}"
    )
    with pytest.raises(Unrenderable, match="writes other tokens around it"):
        start_ids(it, [{"role": "user", "content": "<s>"}])


def test_an_encoder_takes_a_spelled_separator_for_text() -> None:
    from tokenizers import processors

    it = tokenizer_of("wordpiece")
    it.add_special_tokens({"cls_token": "[CLS]", "sep_token": "[SEP]"})
    it.eos_token = None
    ids = {name: it.convert_tokens_to_ids(name) for name in ("[CLS]", "[SEP]")}
    it.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=list(ids.items())
    )
    rendering = Rendering.of(it)
    assert rendering.kind == "pair"
    plain, spelled = rendering.encode(it, "a b", "c d"), rendering.encode(it, "a [SEP] b", "c [CLS][SEP]")
    for encoded in (plain, spelled):
        assert [encoded.ids.count(ids[name]) for name in ("[CLS]", "[SEP]")] == [1, 2]
        assert encoded.prompt_ids[-1] == encoded.response_ids[-1] == ids["[SEP]"]
        assert encoded.segments is not None
        assert len(encoded.segments) == len(encoded.ids)
    assert plain.ids == it("a b", "c d")["input_ids"]


@pytest.mark.parametrize(
    ("template", "roles", "missing"),
    [
        ("chat", ["system", "user"], []),
        ("no_system", ["system", "user"], [0]),
        ("last_turn", ["user", "assistant", "user"], [0, 1]),
        ("parts", ["system", "user"], []),
        ("shout", ["system", "user", "assistant", "user"], []),
        ("gemma", ["system", "user"], []),  # refused: the row's own error says so
    ],
)
def test_a_turn_that_is_left_out_is_known(template: str, roles: list[str], missing: list[int]) -> None:
    assert left_out(tokenizer("byte_bpe", template), roles) == missing


def test_templates_of_parts_and_of_dates_are_written() -> None:
    for template in ("parts", "phi_dated"):
        it = tokenizer("byte_bpe", template)
        assert "<|user|>" in written(it, [{"role": "user", "content": "Hi <|end|>"}])
        assert "Hi" in it.decode(start_ids(it, [{"role": "user", "content": "Hi <|end|>"}], after="<think>"))


@pytest.mark.parametrize("role", ["<|end|>", "x<s>", "user|><|end|>"])
def test_a_role_that_writes_a_control_token_is_refused(role: str) -> None:
    it = tokenizer("byte_bpe", "chat")
    with pytest.raises(Unrenderable, match=r"role .* spells a control token"):
        start_ids(it, [{"role": role, "content": "Hi"}])
    assert start_ids(it, [{"role": "end", "content": "Hi"}])
