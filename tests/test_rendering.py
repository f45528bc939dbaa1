"""One rendering: what generation is given is a prefix of what training sees, which always ends in EOS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import byte_tokenizer, tiny_llama
from support.tokenizer_kinds import tokenizer_of
from support.tokenizers import bert_tokenizer

from rlaif.files.conversations import conversation
from rlaif.models.rendering import Rendering, Unrenderable, padding_token, stop_ids
from rlaif.records import Prompt

CHAT, PLAIN = byte_tokenizer(chat=True), byte_tokenizer(chat=False)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
PROMPTS = st.one_of(
    TEXT,
    st.lists(
        st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXT}),
        min_size=1,
        max_size=3,
    ),
)


@pytest.mark.parametrize("tokenizer", [CHAT, PLAIN], ids=["chat", "plain"])
@given(prompt=PROMPTS, response=TEXT)
def test_a_decoder_goes_on_from_the_prompt_and_ends_in_eos(tokenizer: Any, prompt: Prompt, response: str) -> None:
    rendering = Rendering.of(tokenizer)
    encoded = rendering.encode(tokenizer, prompt, response)
    assert encoded.prompt_ids == rendering.encode_prompt(tokenizer, prompt)
    assert encoded.ids == encoded.prompt_ids + encoded.response_ids
    assert len(encoded) == len(encoded.ids)
    assert encoded.ids[-1] == tokenizer.eos_token_id
    assert encoded.segments is None
    assert encoded.response_ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(encoded.response_ids[:-1]) == response


def test_the_tokens_of_a_chat_are_the_templates_own() -> None:
    """Against `apply_chat_template` on the whole conversation; only what follows the end of the turn is cut."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is up?"}]
    encoded = Rendering.of(CHAT).encode(CHAT, messages, "The sky.")
    whole = CHAT.apply_chat_template([*messages, {"role": "assistant", "content": "The sky."}], tokenize=False)
    assert CHAT.decode(encoded.ids) == whole.removesuffix("\n")
    assert CHAT.decode(encoded.prompt_ids).endswith("<|assistant|>\n")
    string = Rendering.of(CHAT).encode(CHAT, "What is up?", "x")
    assert string == Rendering.of(CHAT).encode(CHAT, conversation("What is up?"), "x")


def test_a_template_that_rewrites_the_finished_turn_still_goes_on_from_the_prompt() -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
        "{% if add_generation_prompt %}<think></think>{% endif %}"
    )
    encoded = Rendering.of(tokenizer).encode(tokenizer, "Hi", "Hello")
    assert tokenizer.decode(encoded.ids) == "[Hi]<think></think>Hello</s>"


def test_a_template_without_an_end_of_turn_gets_one() -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}" + (
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    encoded = Rendering.of(tokenizer).encode(tokenizer, "Hi", "Hello")
    assert tokenizer.decode(encoded.ids) == "user: Hi\nassistant: Hello\n</s>"


def test_plain_text_joins_messages_by_newlines() -> None:
    prompt = [{"role": "user", "content": "What"}, {"role": "user", "content": "is up?"}]
    assert PLAIN.decode(Rendering.of(PLAIN).encode(PLAIN, prompt, " The sky.").ids) == "What\nis up? The sky.</s>"


def test_an_encoder_reads_a_pair_with_segments(tmp_path: Path) -> None:
    tokenizer = bert_tokenizer(tmp_path)
    rendering = Rendering.of(tokenizer)
    assert (rendering.kind, rendering.eos_token) == ("pair", None)
    encoded = rendering.encode(tokenizer, "what is up ?", "the skys")
    assert tokenizer.convert_ids_to_tokens(encoded.ids) == [
        *["[CLS]", "what", "is", "up", "?", "[SEP]"],
        *["the", "sky", "##s", "[SEP]"],
    ]
    assert encoded.segments == [0] * 6 + [1] * 4
    assert len(encoded.prompt_ids) == 6
    assert encoded.ids == tokenizer("what is up ?", "the skys")["input_ids"]
    assert padding_token(tokenizer) == "[PAD]"


@pytest.mark.parametrize(
    ("pad", "unk", "bos"), [("</s>", "<unk>", "<s>"), (None, None, "<s>"), (None, None, None), ("<pad>", None, None)]
)
def test_padding_is_never_the_eos(pad: str | None, unk: str | None, bos: str | None) -> None:
    tokenizer = byte_tokenizer(chat=False)
    if unk:
        tokenizer.add_special_tokens({"unk_token": unk})
    tokenizer.pad_token, tokenizer.bos_token = pad, bos
    token = padding_token(tokenizer)
    assert token != tokenizer.eos_token
    assert tokenizer.convert_tokens_to_ids(token) != tokenizer.eos_token_id
    assert tokenizer.convert_ids_to_tokens(tokenizer.convert_tokens_to_ids(token)) == token


def test_a_tokenizer_that_cannot_end_a_response_is_refused() -> None:
    for chat in (True, False):
        with pytest.raises(ValueError, match="no EOS"):
            Rendering.of(byte_tokenizer(chat=chat, eos=None))
    tokenizer = byte_tokenizer(chat=False, eos=None)
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="neither a padding nor an EOS token"):
        padding_token(tokenizer)


def test_another_rendering_than_the_saved_one_is_refused() -> None:
    saved = Rendering.of(CHAT).row()
    Rendering.of(byte_tokenizer(chat=True)).check(saved, "runs/rm")
    with pytest.raises(ValueError, match=r"^runs/rm was trained with rendering kind = 'chat', but .* gives 'plain'"):
        Rendering.of(PLAIN).check(saved, "runs/rm")
    changed = byte_tokenizer(chat=True)
    changed.chat_template += " "
    with pytest.raises(ValueError, match="rendering template_hash"):
        Rendering.of(changed).check(saved, "runs/rm")
    grown = byte_tokenizer(chat=True)
    grown.add_special_tokens({"additional_special_tokens": ["<|tool|>"]})
    with pytest.raises(ValueError, match=r"rendering tokenizer_hash .* Restore the tokenizer files"):
        Rendering.of(grown).check(saved, "runs/rm")


def test_an_assumed_rendering_is_the_templates_own_text_and_no_more() -> None:
    rendering = Rendering.assumed(CHAT)
    encoded = rendering.encode(CHAT, "What is up?", "The sky.")
    whole = [{"role": "user", "content": "What is up?"}, {"role": "assistant", "content": "The sky."}]
    assert encoded.ids == CHAT(CHAT.apply_chat_template(whole, tokenize=False), add_special_tokens=False)["input_ids"]
    assert CHAT.decode(encoded.prompt_ids).endswith("<|assistant|>\n")
    assert rendering.row()["kind"] == "template"
    with pytest.raises(ValueError, match="no chat template"):
        Rendering.assumed(PLAIN)


def test_what_a_template_refuses_has_its_words() -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = "{{ raise_exception('System role\n not supported') }}"
    with pytest.raises(Unrenderable, match="refuses the conversation: System role not supported"):
        Rendering.of(tokenizer).encode(tokenizer, "Hi", "Hello")
    tokenizer.chat_template = "{{ messages[0]['content'].nothing() }}"
    with pytest.raises(Unrenderable, match="nothing"):
        Rendering.of(tokenizer).encode_prompt(tokenizer, "Hi")


@pytest.mark.parametrize(("known", "want"), [(None, []), (7, [7]), ([7, 9], [7, 9]), ([7, "eos", 9], [7, 9])])
def test_generation_stops_at_the_eos_and_at_all_of_the_models_own(known: Any, want: list[int]) -> None:
    model, eos = tiny_llama(), CHAT.eos_token_id
    model.generation_config.eos_token_id = [eos if t == "eos" else t for t in known] if type(known) is list else known
    assert stop_ids(model, CHAT) == [eos, *want]


def several_stops(template: str) -> tuple[Any, int, int]:
    """A tokenizer whose turns end in <|end|> and whose documents end in </s>, and the two ids."""
    tokenizer = tokenizer_of("byte_bpe", template)
    return tokenizer, tokenizer.convert_tokens_to_ids("<|end|>"), tokenizer.eos_token_id


@pytest.mark.parametrize("template", ["chat", "gemma", "qwen3", "phi_dated"])
def test_a_policys_response_ends_where_its_generation_stops(template: str) -> None:
    """And a reward model's at the EOS, as before: that is where its score is read."""
    tokenizer, end, eos = several_stops(template)
    rendering = Rendering.of(tokenizer)
    scored = rendering.encode(tokenizer, "Hi", "Hello <|end|>!")
    trained = rendering.encode(tokenizer, "Hi", "Hello <|end|>!", [eos, end])
    assert scored.response_ids[-1] == eos
    assert trained.response_ids[-1] == end
    assert trained.response_ids.count(end) == 1
    assert scored.ids[: len(trained)] == trained.ids
    assert rendering.encode(tokenizer, "Hi", "Hello", [eos]) == rendering.encode(tokenizer, "Hi", "Hello")


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("how", ["add_eos_token", "post_processor", "post_processor_pair"])
def test_a_prompt_never_ends_in_what_the_tokenizer_appends(chat: bool, how: str) -> None:
    from tokenizers import processors

    tokenizer, eos, bos = byte_tokenizer(chat=chat), CHAT.eos_token_id, CHAT.bos_token_id
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    if how == "add_eos_token":
        tokenizer.add_bos_token = tokenizer.add_eos_token = True
    else:
        pair = "<s> $A </s> <s> $B </s>" if how == "post_processor_pair" else "<s> $A $B </s> </s>"
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s> </s>", pair=pair, special_tokens=[("<s>", bos), ("</s>", eos)]
        )
    assert tokenizer("a")["input_ids"][-1] == eos
    rendering = Rendering.of(tokenizer)
    for prompt in ("Hi", "Hi </s>", "</s>", "<s>Hi"):
        prompt_ids = rendering.encode_prompt(tokenizer, prompt)
        assert eos not in prompt_ids
        encoded = rendering.encode(tokenizer, prompt, "a </s>")
        assert encoded.prompt_ids == prompt_ids
        assert encoded.ids.count(eos) == 1
        assert encoded.ids[-1] == eos
        assert encoded.ids.count(bos) == (0 if chat else 1)
    assert (rendering.appended is None) == chat


def test_a_model_that_was_trained_on_appended_tokens_says_so() -> None:
    tokenizer = byte_tokenizer(chat=False)
    tokenizer.add_eos_token = True
    rendering = Rendering.of(tokenizer)
    older = {name: value for name, value in rendering.row().items() if name not in ("spelled", "appended")}
    rendering.check(rendering.row(), "runs/rm")
    with pytest.raises(
        ValueError, match="runs/rm was trained on prompts that end in </s>, which its tokenizer appends"
    ):
        rendering.check(older, "runs/rm")
    with pytest.raises(ValueError, match="rendering spelled = 'tokens', but its tokenizer now gives 'text'"):
        rendering.check({**rendering.row(), "spelled": "tokens"}, "runs/rm")
    of_chat = {name: value for name, value in Rendering.of(CHAT).row().items() if name not in ("spelled", "appended")}
    Rendering.of(CHAT).check(of_chat, "runs/rm")


def test_a_response_that_holds_the_eos_or_the_prompt_is_not_cut() -> None:
    for tokenizer in (CHAT, PLAIN):
        rendering = Rendering.of(tokenizer)
        for response in ("a</s>b", "</s>", "x</s>", "Hi Hi", "<|user|>\nHi\n<|assistant|>\nHi"):
            encoded = rendering.encode(tokenizer, "Hi", response)
            assert tokenizer.decode(encoded.response_ids[:-1]) == response
            assert encoded.response_ids.count(tokenizer.eos_token_id) == 1


def test_named_templates_are_the_same_in_any_order(tmp_path: Path) -> None:
    """Command R's stand in another order than they are saved in: a reward model's reload must not be another one."""
    from rlaif.models.loading import load_tokenizer

    tokenizer = byte_tokenizer(chat=True)
    plain = tokenizer.chat_template
    tokenizer.chat_template = {"tool_use": plain + "{# tools #}", "rag": plain + "{# rag #}", "default": plain}
    before = Rendering.of(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert list(again.chat_template) != list(tokenizer.chat_template)
    assert Rendering.of(again) == before
    assert Rendering.assumed(again) == Rendering.assumed(tokenizer)
    again.chat_template = {**again.chat_template, "default": plain + " "}
    assert Rendering.of(again) != before
