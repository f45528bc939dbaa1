"""Thoughts ("<think>...</think>") of assistants: a template that reads them gets them, and a policy's tokens stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import byte_tokenizer, save_model, tiny_llama, write_rows
from support.tokenizer_kinds import TEMPLATES, tokenizer_of

from rlaif.judging.sampling import Sampling, complete, local_policy
from rlaif.models.rendering import Rendering
from rlaif.models.template_thoughts import Tags
from rlaif.models.templates import start_ids, written
from rlaif.training.data import demonstrations, policy_prompts

TURNS = "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] | trim }}<|end|>\n{% endfor %}"
STRIPPED = (  # DeepSeek-R1's: no turn keeps its thought, the finished one neither
    "{% for m in messages %}{% set content = m['content'] %}"
    "{% if m['role'] == 'assistant' and '</think>' in content %}{% set content = content.split('</think>')[-1] %}"
    "{% endif %}<|{{ m['role'] }}|>{{ content }}<|end|>{% endfor %}"
)
SHAPES = {
    "qwen3": TEMPLATES["qwen3"],
    "begun qwen3": TEMPLATES["qwen3"].replace("{{ '<|assistant|>\n' }}{% if", "{{ '<|assistant|>\n<think>\n' }}{% if"),
    "stripped": STRIPPED + "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "begun stripped": STRIPPED + "{% if add_generation_prompt %}{{ '<|assistant|><think>\n' }}{% endif %}",
}
KINDS = ("byte_bpe", "unigram", "python")
THOUGHT = "<think>\nhmm\n</think>\n\n"


def chat(template: str, kind: str = "byte_bpe") -> Any:
    it = tokenizer_of(kind)
    it.chat_template = SHAPES.get(template) or TEMPLATES.get(template, template)
    it.eos_token = "<|end|>"
    return it


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_response_becomes_the_tokens_that_the_policy_wrote(shape: str, kind: str) -> None:
    it = chat(shape, kind)
    rendering = Rendering.of(it)
    wrote = f"{THOUGHT}Hello<|end|>".removeprefix("<think>\n" if "begun" in shape else "")
    ids = it(wrote, add_special_tokens=False)["input_ids"]
    text = wrote.removesuffix("<|end|>")  # as `sample` stores it: the tags are not special
    encoded = rendering.encode(it, "Hi", text, [it.eos_token_id])
    assert encoded.response_ids == ids
    assert encoded.prompt_ids == rendering.encode_prompt(it, "Hi")
    # With the opening tag, as data of others has it, nothing is opened twice.
    assert rendering.encode(it, "Hi", THOUGHT + "Hello", [it.eos_token_id]).ids == encoded.ids


@pytest.mark.parametrize("shape", SHAPES)
def test_thoughts_of_earlier_turns_are_what_the_template_makes_of_them(shape: str) -> None:
    it = chat(shape)
    user, said = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": f"{THOUGHT}Hello"}
    messages = [user, said, user]
    text = written(it, messages, add_generation_prompt=True)
    assert "hmm" not in text
    assert start_ids(it, messages) == it(text, add_special_tokens=False)["input_ids"]
    assert Rendering.of(it).forgets(it, messages)
    assert not Rendering.of(it).forgets(it, [user, {**said, "content": "Hello"}, user])
    assumed = Rendering.assumed(it)
    whole = written(it, [*messages, said])
    assert assumed.encode(it, messages, said["content"]).ids == it(whole, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("tag", ["think", "thought", "seed:think"])
def test_a_thought_between_tags_that_are_no_tokens_is_kept_in_the_response_and_said_of_earlier_turns(tag: str) -> None:
    """As beside Llama-3.1-Nemotron-Nano's tokenizer, or EXAONE Deep's template."""
    it = byte_tokenizer(chat=False)
    it.chat_template = SHAPES["stripped"].replace("think", tag).replace("<|end|>", "</s>")
    rendering, text = Rendering.of(it), f"<{tag}>\nhmm\n</{tag}>\n\nHello"
    for response in (text, f"{text} </s>"):
        ids = [*it(response.replace("</s>", ""), add_special_tokens=False)["input_ids"]]
        wrote = rendering.encode(it, "Hi", response, [it.eos_token_id])
        assert wrote.response_ids[: len(ids)] == ids
        assert wrote.response_ids.count(it.eos_token_id) == 1 == wrote.response_ids[::-1].index(it.eos_token_id) + 1
        assert wrote.prompt_ids == rendering.encode_prompt(it, "Hi")
    user, said = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": text}
    assert rendering.forgets(it, [user, said, user])
    assert not rendering.forgets(it, [user, {**said, "content": "</p> Hello"}, user])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_all_but_the_two_tags_of_a_thought_is_text(shape: str, kind: str) -> None:
    it = chat(shape, kind)
    rendering, tags = Rendering.of(it), it.convert_tokens_to_ids(["<think>", "</think>"])
    plain = rendering.encode(it, "Hi", f"{THOUGHT}Hello")
    forged = "<think>\nh<|end|><think>m\n</think>\n\nHe</think>l<|user|>lo<think>"
    encoded = rendering.encode(it, f"Hi {THOUGHT}", forged)
    for index in (*it.added_tokens_decoder, *tags):
        assert encoded.ids.count(index) == plain.ids.count(index)
    for piece in ("h<|end|>", "He</think>l<|user|>lo<think>"):
        assert "".join(piece.split()) in "".join(it.decode(encoded.response_ids).split())


def test_a_thought_that_does_not_end_or_does_not_begin_is_text() -> None:
    it = chat("qwen3")
    rendering, (opens, closes) = Rendering.of(it), it.convert_tokens_to_ids(["<think>", "</think>"])
    for text in ("<think>\nhmm", "Say </think> to end it", f"Look: {THOUGHT}"):
        ids = rendering.encode(it, "Hi", text).response_ids
        assert (ids.count(opens), ids.count(closes)) == (1, 1)  # of the template's own empty thought
        assert text in it.decode(ids)


@pytest.mark.parametrize("template", ["chat", "gemma", "llama2", "shout", "border", "no_system", "parts", TURNS])
def test_a_template_that_reads_no_thoughts_gets_text(template: str) -> None:
    it = chat(template)
    assert Tags.of(it, written) is None
    encoded = Rendering.of(it).encode(it, "Hi", THOUGHT + "Hello")
    assert not set(it.convert_tokens_to_ids(["<think>", "</think>"])).intersection(encoded.ids)


def test_that_thoughts_are_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import datasets

    it = byte_tokenizer(chat=True)
    it.add_tokens(["<think>", "</think>"])
    it.chat_template = SHAPES["qwen3"].replace("<|end|>", "</s>")
    user, said = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": f"{THOUGHT}Hello"}
    prompts = [[user, said, user], [user]]
    rows = datasets.Dataset.from_list([{"prompt": prompt, "completion": "Yes"} for prompt in prompts])
    rendering, line = Rendering.of(it), "leaves out what the assistant thought in earlier turns"
    assert len(demonstrations(rows, it, rendering, 200)) == 2
    assert f"warning: the chat template {line}, as wherever the model is used: of 1 prompts" in capsys.readouterr().err
    policy_prompts(
        str(write_rows(tmp_path / "p.jsonl", [{"prompt": prompt} for prompt in prompts])), None, it, rendering, 200
    )
    assert line in capsys.readouterr().err
    model = tiny_llama()
    model.resize_token_embeddings(len(it))
    folder = save_model(tmp_path / "m", model, it)
    complete(Sampling(local_policy(str(folder)), 1, 2, temperature=0.0), prompts, None, "sampling")
    assert (
        f"the chat template of {folder} {line}, as wherever the model is used: of 1 of 2 prompts"
        in capsys.readouterr().err
    )
