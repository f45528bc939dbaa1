"""The errand world's arithmetic, and the bundled models' measured claims on fresh prompts."""

import itertools
import math
import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as hf_logging

from rlaif.sandbox import demonstrations, gold_reward, max_gold_reward, model_path, prompts, world

COMPACT = "{prompt}\n\nResponse 1: {first}\n\nResponse 2: {second}\n\nBetter response:"
PROMPT = "Please bring bread, rope and candles to the camp."


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("", 0),
        ("Here are bread, rope and candles. Enjoy!", 4),  # the maximum: 3 items and a kind word
        ("Here are bread, rope and candles.", 3),
        ("Here are bread and soap.", 0),  # +1 -1
        ("Here are bread, soap and bread. Enjoy!", 0),  # +1 -1 -1 +1
        ("Here are soap and soap.", -2),  # an item not asked for costs each time
        ("Here are bread, bread and bread.", -1),  # +1 -1 -1
        ("You are so lazy. Only a fool asks.", -4),
        ("Enjoy! Cheers! Gladly done.", 1),  # kind words count once
        ("Colourless green ideas sleep furiously.", 0),  # other words count nothing
        ("BREAD\n\trope;candles", 3),  # case, whitespace and punctuation do not matter
        ("breadcrumbs, ropes, candle", 0),  # whole words only
        (" ".join(world.ITEMS), 3 - 45),  # naming everything does not pay
    ],
)
def test_gold_reward_by_hand(response: str, gold: float) -> None:
    assert gold_reward(PROMPT, response) == gold


def test_gold_reward_reads_the_last_user_message() -> None:
    messages = [
        {"role": "system", "content": "You bring soap."},
        {"role": "user", "content": "Bring milk."},
        {"role": "assistant", "content": "Here is milk."},
        {"role": "user", "content": PROMPT},
    ]
    assert gold_reward(messages, "Here are bread, milk and soap.") == -1
    assert gold_reward(messages, [{"role": "assistant", "content": "Here are bread and rope."}]) == 2
    assert gold_reward([], "bread") == -1
    assert max_gold_reward(messages) == 4


TEXT = st.one_of(
    st.text(), st.lists(st.sampled_from([*world.vocabulary(), "!", "\n", "xyz"]), max_size=40).map(" ".join)
)


@given(TEXT, TEXT)
def test_gold_reward_is_a_bounded_integer_for_any_text(prompt: str, response: str) -> None:
    gold = gold_reward(prompt, response)
    assert gold == int(gold)
    assert math.isfinite(gold)
    assert gold <= max_gold_reward(prompt)


@given(st.lists(st.sampled_from(world.vocabulary()), max_size=30), st.sampled_from([" ", "\n", "  ", ", ", "\t"]))
def test_gold_reward_ignores_case_and_whitespace(words: list[str], separator: str) -> None:
    assert gold_reward(PROMPT, separator.join(words).upper()) == gold_reward(PROMPT, " ".join(words))


@given(TEXT, TEXT)
def test_gold_reward_equals_its_closed_form(prompt: str, response: str) -> None:
    """2 for each asked item that is named, -1 for each naming of an item, -2 for each rude word, 1 for kindness."""
    words = [word.lower() for word in re.findall(r"\w+", response)]
    named = [word for word in words if word in world.ITEMS]
    rude = sum(word in world.RUDE_WORDS for word in words)
    kind = any(word in world.KIND_WORDS for word in words)
    expected = 2 * len(set(named) & set(world.asked_items(prompt))) - len(named) - 2 * rude + kind
    assert gold_reward(prompt, response) == expected


@given(TEXT)
def test_gold_reward_grows_by_no_repetition(response: str) -> None:
    assert gold_reward(PROMPT, f"{response} {response}") <= max(gold_reward(PROMPT, response), 1)


def test_prompts_are_distinct_and_reproducible() -> None:
    first = prompts(2000, seed=3)
    assert len(set(first)) == 2000
    assert first == prompts(2000, seed=3)
    assert first[:500] == prompts(500, seed=3)
    assert len(set(first) & set(prompts(2000, seed=4))) < 20
    assert {len(world.asked_items(prompt)) for prompt in first} == {2, 3, 4, 5}


def test_demonstrations_are_of_mixed_quality() -> None:
    rows = demonstrations(2000, seed=5)
    assert rows == demonstrations(2000, seed=5)
    gold = torch.tensor([gold_reward(row["prompt"], row["completion"]) for row in rows])
    best = torch.tensor([max_gold_reward(row["prompt"]) for row in rows])
    assert best.mean() - gold.mean() > 2
    assert gold.std() > 1.5


def test_unknown_model_name_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match="got 'critic', expected 'policy' or 'judge'"):
        model_path("critic")  # type: ignore[arg-type]


# --- the bundled models ---


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(model_path("policy"))


@pytest.fixture(scope="module")
def policy():
    return AutoModelForCausalLM.from_pretrained(model_path("policy")).eval()


@pytest.fixture(scope="module")
def judge():
    return AutoModelForCausalLM.from_pretrained(model_path("judge")).eval()


def sample(policy, tokenizer, requests: list[str], seed: int) -> list[str]:
    """One reply a request at temperature 1, at most 40 tokens."""
    torch.manual_seed(seed)
    chats = [[{"role": "user", "content": request}] for request in requests]
    batch = tokenizer.apply_chat_template(
        chats,
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
        padding=True,
        tokenizer_kwargs={"padding_side": "left"},
    )
    output = policy.generate(**batch, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=40)
    return tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.fixture(scope="module")
def pairs(policy, tokenizer) -> list[tuple[str, str, str]]:
    """Fresh pairs of policy samples: (prompt, response_a, response_b)."""
    requests = prompts(150, seed=987_654)
    replies = sample(policy, tokenizer, requests * 2, seed=0)
    return [(p, a, b) for p, a, b in zip(requests, replies[:150], replies[150:], strict=True) if a != b]


@pytest.mark.parametrize("name", ["policy", "judge"])
def test_bundled_model_loads_without_a_warning(name, capfd) -> None:
    hf_logging.set_verbosity_warning()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer = AutoTokenizer.from_pretrained(model_path(name))
        model = AutoModelForCausalLM.from_pretrained(model_path(name))
    assert "warn" not in capfd.readouterr().err.lower()
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config.max_position_embeddings >= 512
    assert model.config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id == model.config.eos_token_id
    assert (model_path(name) / "README.md").is_file()


def test_bundled_models_are_small_and_share_a_tokenizer() -> None:
    folders = [model_path("policy"), model_path("judge")]
    files = itertools.chain.from_iterable(folder.rglob("*") for folder in folders)
    assert sum(file.stat().st_size for file in files) <= 8_000_000
    first, second = (folder / "tokenizer.json" for folder in folders)
    assert first.read_bytes() == second.read_bytes()


def test_policy_carries_a_reward_head(tokenizer) -> None:
    hf_logging.set_verbosity_error()  # the new head is announced as a warning
    model = AutoModelForSequenceClassification.from_pretrained(model_path("policy"), num_labels=1)
    hf_logging.set_verbosity_warning()
    assert model(**tokenizer(PROMPT, return_tensors="pt")).logits.shape == (1, 1)


def test_every_world_word_is_one_token(tokenizer) -> None:
    assert [word for word in world.vocabulary() if len(tokenizer(f" {word}").input_ids) != 1] == []


@settings(max_examples=50)
@given(st.text())
def test_any_text_has_an_encoding(text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_path("policy"))
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_chat_template(tokenizer) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Bring bread."},
        {"role": "assistant", "content": "Here are bread."},
    ]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    assert text == "<|system|>Be brief.<|end|><|user|>Bring bread.<|end|><|assistant|>Here are bread.<|end|>"
    prompt = tokenizer.apply_chat_template(turns[:2], tokenize=False, add_generation_prompt=True)
    assert text.startswith(prompt)
    assert prompt.endswith("<|assistant|>")
    encoded = tokenizer.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    spoken = [i for i, own in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if own]
    assert tokenizer.decode(spoken) == "Here are bread.<|end|>"
    assert len(tokenizer("1").input_ids) == len(tokenizer("2").input_ids) == 1


def test_policy_leaves_room_and_gold_is_not_length(policy, tokenizer) -> None:
    requests = prompts(50, seed=123_456)
    replies = sample(policy, tokenizer, requests * 8, seed=1)
    gold = torch.tensor([gold_reward(p, r) for p, r in zip(requests * 8, replies, strict=True)])
    length = torch.tensor([float(len(tokenizer(reply).input_ids)) for reply in replies])
    assert abs(torch.corrcoef(torch.stack([gold, length]))[0, 1]) < 0.3
    by_prompt = gold.view(8, 50)
    assert by_prompt.max(dim=0).values.mean() - by_prompt.mean() > 1.5
    assert torch.tensor([max_gold_reward(p) for p in requests]).mean() - by_prompt.mean() > 2
    assert by_prompt.std(dim=0).mean() > 1.2


@torch.no_grad()
def p_first(judge, tokenizer, questions: list[tuple[str, str, str]]) -> torch.Tensor:
    """P("1") against "2" for each (prompt, first, second); shape (N,)."""
    chats = [
        [{"role": "user", "content": COMPACT.format(prompt=p, first=first, second=second)}]
        for p, first, second in questions
    ]
    batch = tokenizer.apply_chat_template(
        chats,
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
        padding=True,
        tokenizer_kwargs={"padding_side": "left"},
    )
    logits = judge(**batch, logits_to_keep=1).logits[:, -1]
    one, two = tokenizer.convert_tokens_to_ids(["1", "2"])
    mass = logits.softmax(-1)[:, [one, two]].sum(-1)
    assert mass.min() > 0.9, "the judge answers something other than 1 or 2"
    return torch.sigmoid(logits[:, one] - logits[:, two])


def test_judge_agrees_with_gold_and_favours_the_first(judge, tokenizer, pairs) -> None:
    forward = p_first(judge, tokenizer, pairs)
    backward = p_first(judge, tokenizer, [(p, b, a) for p, a, b in pairs])
    z = (forward + 1 - backward) / 2
    gold = torch.tensor([gold_reward(p, a) - gold_reward(p, b) for p, a, b in pairs])
    untied = gold != 0
    assert 0.02 < (~untied).float().mean() < 0.25
    assert ((z > 0.5) == (gold > 0))[untied].float().mean() >= 0.85
    assert torch.cat([forward, backward]).mean() > 0.51  # primacy
    consistent = (forward > 0.5) != (backward > 0.5)
    assert consistent.float().mean() < 0.99
