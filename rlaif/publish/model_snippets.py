"""The Python of a model's card: how a stranger loads it, with what the lines print behind them. A test runs them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rlaif.models.reward_model import HEADS
from rlaif.pages.parts import count
from rlaif.publish.model_facts import Example, ModelFacts

__all__ = ["policy_snippets", "reward_snippets"]


def reward_snippets(facts: ModelFacts) -> list[str]:
    """Lines of Markdown on how a reward model's published folder scores, with the score that its example has."""
    example, digits = facts.example, _digits(facts)
    assert facts.reward is not None
    assert example.score is not None
    words = f"prompt, response = {_quoted(example.prompt)}, {_quoted(example.response)}"
    plain = [
        *_loading(facts, "AutoModelForSequenceClassification"),
        "",
        "",
        "def score(prompt, response):",
        f'    """`prompt`: a text or a list of messages. At most {facts.reward.max_length} tokens in all."""',
        *(f"    {line}" for line in _without_appended(facts, _SCORE[facts.rendering["kind"]])),
        "    with torch.no_grad():",
        "        return model(**inputs).logits.item()",
        "",
        "",
        words,
        f"print(round(score(prompt, response), {digits}))  # {round(example.score, digits)}",
    ]
    own = [
        "from rlaif.models.reward_model import RewardModel",
        "",
        f"reward_model = RewardModel.load({_quoted(facts.repo_id or '.')})",
        words,
        f"print(reward_model.score([prompt], [response])[0])  # {example.score!r}",
    ]
    return [
        _needs(facts),
        _python(plain),
        "With rlaif, which also checks that the tokenizer still renders as in training, takes a text that spells one "
        "of the tokenizer's own tokens (`</s>`, say) for text, scores in batches and leaves "
        f"what is longer than {count(facts.reward.max_length)} tokens unscored instead of cutting it:",
        _python(own),
        f"The numbers were computed on {example.computed}. On the same, rlaif gives them again bit for bit; "
        "transformers alone may differ in the last digits, because it leaves weights at unaligned addresses, where a "
        "CPU adds up in another order. Another device, version or number of threads rounds otherwise.",
    ]


def policy_snippets(facts: ModelFacts) -> list[str]:
    """Lines of Markdown on how a policy's published folder answers, with the answer that its example has."""
    example = facts.example
    lines = [
        *_loading(facts, "AutoModelForCausalLM"),
        "",
        f"prompt = {_quoted(example.prompt)}",
        *_without_appended(facts, _PROMPT[facts.rendering["kind"]]),
        "ids = torch.tensor([ids], device=model.device)",
        "out = model.generate(",
        "    input_ids=ids,",
        "    attention_mask=torch.ones_like(ids),",
        f"    max_new_tokens={example.max_new_tokens},",
        "    do_sample=False,  # it was trained to be sampled: do_sample=True, temperature=1.0, top_k=0, top_p=1.0",
        "    repetition_penalty=1.0,",
        f"    eos_token_id={_stops(example)},",
        "    pad_token_id=tokenizer.pad_token_id,",
        ")",
        *_decoded(example),
    ]
    written = "\n".join(f"    {line}" for line in example.response.splitlines()) or "    (nothing)"
    return [_needs(facts), _python(lines), f"It prints, on {example.computed}:", written]


def _needs(facts: ModelFacts) -> str:
    libraries = "transformers" + (", peft" if facts.adapter else "") + (", bitsandbytes" if facts.load_in_4bit else "")
    return f"With nothing but {libraries}{'' if facts.repo_id else ', in this folder'}:"


def _loading(facts: ModelFacts, auto: str) -> list[str]:
    """The lines that load tokenizer and model."""
    reward = facts.reward is not None
    dtype = f"torch.{facts.reward.dtype}" if facts.reward else '"auto"'
    names = [auto, "AutoTokenizer", *(["BitsAndBytesConfig"] if facts.load_in_4bit else [])]
    lines = ["import torch", *(["from peft import PeftModel"] if facts.adapter else [])]
    lines += [f"from transformers import {', '.join(names)}", "", f"name = {_quoted(facts.repo_id or '.')}"]
    lines += ["tokenizer = AutoTokenizer.from_pretrained(name)"]
    if not facts.adapter:
        return [*lines, f"model = {auto}.from_pretrained(name, dtype={dtype}).eval()"]
    assert facts.base is not None
    arguments = [_quoted(facts.base.hub_id or facts.base.name)]
    arguments += [f"revision={_quoted(facts.base.revision)}"] if facts.base.revision else []
    arguments += ["num_labels=1"] if reward else []
    arguments += [f"dtype={dtype}"]
    if facts.load_in_4bit:
        heads = f"    llm_int8_skip_modules={json.dumps(HEADS)},"
        lines += ["four_bit = BitsAndBytesConfig(", *_FOUR_BIT, *([heads] if reward else []), ")"]
        arguments += ["quantization_config=four_bit"]
    lines += [f"model = {auto}.from_pretrained(", *(f"    {argument}," for argument in arguments), ")"]
    pad = ["model.config.pad_token_id = tokenizer.pad_token_id  # a score is read at the last token that is none"]
    lines += [*(pad if reward else []), "model = PeftModel.from_pretrained(model, name).eval()"]
    return [*lines, *(_FOUR_BIT_ON_CPU if facts.load_in_4bit else [])]


_FOUR_BIT = [
    "    load_in_4bit=True,",
    '    bnb_4bit_quant_type="nf4",',
    "    bnb_4bit_use_double_quant=True,",
    "    bnb_4bit_compute_dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,",
]
_FOUR_BIT_ON_CPU = [
    "for layer in model.modules():  # else bitsandbytes, on some CPUs, computes in bfloat16, and not at every width",
    "    layer.support_avx512bf16_for_cpu = False",
]

# What `Rendering.encode` and `encode_prompt` do, for one conversation, with nothing but the tokenizer.
_CHAT = [
    'messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]',
    "start = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)",
]
_TEXT = ['text = prompt if isinstance(prompt, str) else "\\n".join(m["content"] for m in prompt)']
_TENSORS = [
    "ids = torch.tensor([ids + end], device=model.device)",
    'inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}',
]
_SCORE = {
    "chat": [
        *_CHAT,
        'turn = [{"role": "assistant", "content": response}]',
        "whole = tokenizer.apply_chat_template(messages + turn, tokenize=False)",
        "tail = whole[len(start) :] if whole.startswith(start) else response + tokenizer.eos_token",
        'ids, end = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (start, tail))',
        "eos = tokenizer.eos_token_id  # the score is read at the EOS that ends the response",
        "end = end[: len(end) - end[::-1].index(eos)] if eos in end else end + [eos]",
        *_TENSORS,
    ],
    "plain": [
        *_TEXT,
        'ids = tokenizer(text)["input_ids"]',
        'end = tokenizer(response, add_special_tokens=False)["input_ids"]',
        "eos = tokenizer.eos_token_id  # the score is read at the EOS that ends the response",
        "end = end if end[-1:] == [eos] else end + [eos]",
        *_TENSORS,
    ],
    "pair": [*_TEXT, 'inputs = tokenizer(text, response, return_tensors="pt").to(model.device)'],
}
_PROMPT = {
    "chat": [*_CHAT, 'ids = tokenizer(start, add_special_tokens=False)["input_ids"]'],
    "plain": [*_TEXT, 'ids = tokenizer(text)["input_ids"]'],
}


def _without_appended(facts: ModelFacts, lines: Sequence[str]) -> list[str]:
    """The lines, for a tokenizer that appends tokens to a prompt: they are left off, for the prompt goes on."""
    appended = str(facts.rendering.get("appended") or "").split()
    if not appended:
        return list(lines)
    cut = f'ids = tokenizer(text)["input_ids"][:-{len(appended)}]  # without {" ".join(appended)}, which it appends'
    return [cut if line.startswith("ids = tokenizer(text)") else line for line in lines]


def _stops(example: Example) -> str:
    """What ends a response, as Python."""
    return str(example.stops) if example.stops else "tokenizer.eos_token_id"


def _decoded(example: Example) -> list[str]:
    """The lines that print a response."""
    new = "out[0, ids.shape[1] :]"
    if not example.letters:
        return [f"print(tokenizer.decode({new}, skip_special_tokens=True))"]
    return [
        f"hidden = set(tokenizer.all_special_ids) - {set(example.letters)}  # a letter that also pads is one",
        f"print(tokenizer.decode([token for token in {new}.tolist() if token not in hidden]))",
    ]


def _digits(facts: ModelFacts) -> int:
    """Decimals of a score that do not depend on the order of sums."""
    assert facts.reward is not None
    return 4 if facts.reward.dtype == "float32" else 1


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _python(lines: Sequence[str]) -> str:
    return "\n".join(["```python", *lines, "```"])
