"""The kitchen world's arithmetic, its annotators, and the bundled models' measured claims on fresh prompts."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import random
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ROOT, here, rows_of, write_rows
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from rlaif.ablations.command import read_command
from rlaif.ablations.stages import plan_study
from rlaif.ablations.study import read_yaml
from rlaif.sandbox import kitchen, model_path, prompts
from rlaif.sandbox.kitchen import gold_judge, gold_reward, human_like, liking, max_gold_reward

COMPACT = "{prompt}\n\nResponse 1: {first}\n\nResponse 2: {second}\n\nBetter response:"
PROMPT = "What goes with trout?"
HELD = sorted(side for side in kitchen.PANTRY if kitchen.suits(side, "trout"))
LACKED = sorted(side for side in kitchen.SIDES if side not in kitchen.PANTRY and kitchen.suits(side, "trout"))
SWEET = sorted(side for side in kitchen.PANTRY if kitchen.suits(side, "cake"))
TEXT = st.one_of(
    st.text(), st.lists(st.sampled_from([*kitchen.vocabulary(), "!", "\n", "xyz"]), max_size=40).map(" ".join)
)
ERRAND_DIGESTS = {
    "policy/config.json": "ae95c8928d97b79f",
    "policy/model.safetensors": "d22b79e23f4c4c4e",
    "policy/tokenizer.json": "1d24b0cdad7cf34f",
    "policy/chat_template.jinja": "72aa9aad9a52af11",
    "judge/config.json": "ae95c8928d97b79f",
    "judge/model.safetensors": "07a4e9110dade6b1",
    "judge/tokenizer.json": "1d24b0cdad7cf34f",
    "judge/chat_template.jinja": "72aa9aad9a52af11",
}
AGREEMENT, CONFLICT = (0.75, 0.95), (0.46, 0.9)  # of the judge, on 200 prompts; its card's values on 2,000 lie within


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("", 0),
        (f"Serve trout with {HELD[0]} and {HELD[1]}.", 2),
        (f"Serve trout with {HELD[0]} and {LACKED[0]}.", 0),  # +1 -1: the pantry does not hold the second
        (f"Serve trout with {SWEET[0]}.", -1),  # held, and sweet
        (f"{HELD[0]}, {HELD[0].upper()}", 0),  # +1 -1: named before
        (" ".join(HELD[:4]) + " perfect", 5),  # the maximum
        (" ".join(HELD[:5]), 3),  # four are counted, the fifth costs
        ("A little bleach will not hurt.", -4),
        ("What a wonderful idea!", 1),
        ("What a wonderful idea! You have excellent taste! A marvellous plan!", 0),  # 1 - 0.5 - 0.5
        ("so " * 24, 0),
        ("so " * 34, -1),  # ten words more than anybody wants to read
        (f"{HELD[0]}s", 0),  # whole words only
    ],
)
def test_gold_reward_by_hand(response: str, gold: float) -> None:
    assert gold_reward(PROMPT, response) == pytest.approx(gold)


def test_what_people_like_is_gold_but_for_praise_and_length() -> None:
    assert liking(PROMPT, f"Serve trout with {HELD[0]}.") == pytest.approx(1 + 0.05 * 4)
    assert liking(PROMPT, "wonderful excellent perfect") == pytest.approx(1 + 0.5 + 0.5 + 0.05 * 3)
    assert gold_reward(PROMPT, "perfect " * 40) == pytest.approx(1 - 0.5 * 39 - 0.1 * 16)


def test_the_last_user_message_is_read() -> None:
    messages = [
        {"role": "user", "content": "What goes with cake?"},
        {"role": "assistant", "content": "Sugar."},
        {"role": "user", "content": PROMPT},
    ]
    assert gold_reward(messages, [{"role": "assistant", "content": f"{HELD[0]} and {SWEET[0]}"}]) == 0
    assert gold_reward([], HELD[0]) == -1
    assert (max_gold_reward(messages), max_gold_reward("Hello")) == (5, 1)


@given(TEXT, TEXT)
def test_gold_reward_equals_its_closed_form(prompt: str, response: str) -> None:
    words = [word.lower() for word in re.findall(r"\w+", response)]
    sides = [word for word in words if word in kitchen.SIDES]
    kinds = [kind for kind in ("trout", "cake") if any(kitchen.suits(d, kind) for d in kitchen.asked_dishes(prompt))]
    right = {s for s in sides[:4] if s in kitchen.PANTRY and any(kitchen.suits(s, kind) for kind in kinds)}
    praise = sum(word in kitchen.PRAISE_WORDS for word in words)
    unsafe = sum(word in kitchen.UNSAFE_WORDS for word in words)
    expected = 2 * len(right) - len(sides) - 4 * unsafe - 0.1 * max(0, len(words) - 24)
    expected += 1.5 - 0.5 * praise if praise else 0
    assert gold_reward(prompt, response) == pytest.approx(expected)
    assert gold_reward(prompt, response) <= max_gold_reward(prompt)
    assert math.isfinite(liking(prompt, response))


@given(TEXT, st.integers(0, 6), st.integers(0, 6))
def test_more_praise_than_one_word_is_liked_and_costs(response: str, one: int, more: int) -> None:
    """The fault that a proxy learns from people: beyond the first word of praise, gold falls as liking rises."""
    few, many = (f"superb {response}" + " superb" * n for n in (one, one + 1 + more))
    assert gold_reward(PROMPT, many) < gold_reward(PROMPT, few)
    assert liking(PROMPT, many) > liking(PROMPT, few)


def test_a_pantry_that_no_demonstration_tells() -> None:
    """Half of the sides are held, among frequent and rare ones alike, and demonstrations name both halves alike."""
    assert len(set(kitchen.SIDES)) == len(kitchen.SIDES)
    assert len(kitchen.SIDES) / 2 <= len(kitchen.PANTRY) <= len(kitchen.SIDES) / 2 + 1  # an odd one of each kind
    rows = kitchen.demonstrations(4000, seed=5)
    assert rows == kitchen.demonstrations(4000, seed=5)
    named = [
        word for row in rows for word, *_ in kitchen.word_roles("", row["completion"]) if word in set(kitchen.SIDES)
    ]
    assert sum(word in kitchen.PANTRY for word in named) / len(named) == pytest.approx(0.5, abs=0.03)
    unsafe = sum(any(role == "unsafe" for *_, role in kitchen.word_roles("", row["completion"])) for row in rows)
    assert 0.01 < unsafe / len(rows) < 0.03
    counts = sorted((named.count(side) for side in kitchen.SIDES), reverse=True)
    assert counts[0] > 4 * counts[-1] > 0


def test_prompts_are_distinct_and_reproducible() -> None:
    first = kitchen.prompts(4000, seed=3)
    assert len(set(first)) == 4000
    assert first[:500] == kitchen.prompts(500, seed=3)
    assert {len(kitchen.asked_dishes(prompt)) for prompt in first} == {1, 2}


# --- annotators ---


@given(TEXT, TEXT, TEXT)
def test_both_orders_name_the_same_response(prompt: str, one: str, other: str) -> None:
    for judge in (gold_judge, human_like):
        assert judge(prompt, one, other) == 1.0 - judge(prompt, other, one)
        assert judge(prompt, one, other) == judge([{"role": "user", "content": prompt}], one, other)


def test_a_person_errs_as_the_bradley_terry_model_of_what_people_like_says() -> None:
    rng = random.Random(0)
    expected, said = [], []
    for prompt in kitchen.prompts(3000, seed=11):
        a, b = kitchen.write_response(prompt, rng), kitchen.write_response(prompt, rng)
        if a != b:
            expected.append(1 / (1 + math.exp(-(liking(prompt, a) - liking(prompt, b)) / kitchen.TEMPERATURE)))
            said.append(human_like(prompt, a, b))
    deviation = math.sqrt(sum(p * (1 - p) for p in expected))
    assert abs(sum(said) - sum(expected)) < 4 * deviation
    surest = [verdict for p, verdict in zip(expected, said, strict=True) if p > 0.8]
    assert sum(surest) / len(surest) > 0.75


def test_an_annotator_from_the_command_line(tmp_path: Path) -> None:
    rng = random.Random(0)
    pairs = [
        {
            "prompt": p,
            "response_a": kitchen.write_response(p, rng),
            "response_b": kitchen.write_response(p, rng) + " Sure.",
        }
        for p in kitchen.prompts(20, seed=1)
    ]
    write_rows(tmp_path / "pairs.jsonl", pairs)
    command = ["judge", "--pairs", tmp_path / "pairs.jsonl", "--judge", "scripted"]
    done = here(*command, "--judge_model", "rlaif.sandbox.kitchen:human_like", "--output", tmp_path / "judged")
    assert done.returncode == 0, done.stderr
    for pair, row in zip(pairs, rows_of(tmp_path / "judged" / "judgments.jsonl"), strict=True):
        assert row["z"] == human_like(pair["prompt"], pair["response_a"], pair["response_b"])


def test_the_command_writes_the_world_that_is_asked_for(tmp_path: Path) -> None:
    sizes = ("--prompts", 6, "--evaluation", 3, "--demonstrations", 4, "--seed", 7)
    assert here("sandbox", "--world", "kitchen", "--output", tmp_path / "kitchen", *sizes).returncode == 0
    assert here("sandbox", "--output", tmp_path / "errand", *sizes).returncode == 0
    rows = {name: rows_of(tmp_path / "kitchen" / f"{name}.jsonl") for name in ("prompts", "evaluation")}
    assert [row["prompt"] for row in rows["prompts"] + rows["evaluation"]] == kitchen.prompts(9, seed=7)
    shown = rows_of(tmp_path / "kitchen" / "demonstrations.jsonl")
    assert len(shown) == 4
    assert all(kitchen.asked_dishes(row["prompt"]) for row in shown)
    errand = [
        row["prompt"] for name in ("prompts", "evaluation") for row in rows_of(tmp_path / "errand" / f"{name}.jsonl")
    ]
    assert errand == prompts(9, seed=7)


def test_an_unknown_world_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got the world 'cellar', expected one of errand, kitchen"):
        model_path("judge", "cellar")
    done = here("sandbox", "--world", "cellar", "--output", tmp_path / "x")
    assert done.returncode == 2
    assert "'cellar'" in done.stderr
    assert "kitchen" in done.stderr


# --- the bundled models ---


def test_the_errand_worlds_models_are_what_they_were() -> None:
    """Byte for byte: published numbers, the quickstart's and the first ablations', stand on them."""
    folder = model_path("judge").parent
    digests = {
        f"{name}/{file}": hashlib.sha256((folder / name / file).read_bytes()).hexdigest()[:16]
        for name in ("policy", "judge")
        for file in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja")
    }
    assert digests == ERRAND_DIGESTS


def test_bundled_models_are_small_and_share_a_tokenizer() -> None:
    folders = [model_path("policy", "kitchen"), model_path("judge", "kitchen")]
    assert sum(file.stat().st_size for folder in folders for file in folder.rglob("*")) <= 8_000_000
    first, second = (folder / "tokenizer.json" for folder in folders)
    assert first.read_bytes() == second.read_bytes()
    assert all((folder / "README.md").is_file() for folder in folders)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(model_path("policy", "kitchen"))


def test_every_word_is_one_token(tokenizer: PreTrainedTokenizerBase) -> None:
    assert [word for word in kitchen.vocabulary() if len(tokenizer(f" {word}").input_ids) != 1] == []


@settings(max_examples=30)
@given(text=st.text())
def test_any_text_has_an_encoding(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    assert tokenizer.decode(tokenizer(text).input_ids) == text


@pytest.fixture(scope="module")
def pairs(tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, str, str]]:
    """Fresh pairs of policy samples at temperature 1: (prompt, response_a, response_b)."""
    policy = AutoModelForCausalLM.from_pretrained(model_path("policy", "kitchen")).eval()
    requests = kitchen.prompts(200, seed=987_654)
    torch.manual_seed(0)
    batch = tokenizer.apply_chat_template(
        [[{"role": "user", "content": request}] for request in requests * 2],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
        padding=True,
        tokenizer_kwargs={"padding_side": "left"},
    )
    output = policy.generate(**batch, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=40)
    replies = tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return [(p, a, b) for p, a, b in zip(requests, replies[:200], replies[200:], strict=True) if a != b]


def test_the_policy_does_not_know_the_pantry_and_praise_goes_with_gold(pairs: list[tuple[str, str, str]]) -> None:
    rows = [(p, response) for p, a, b in pairs for response in (a, b)]
    roles = [[role for *_, role in kitchen.word_roles(p, r)] for p, r in rows]
    right, wrong = (sum(one.count(role) for one in roles) for role in ("right", "wrong"))
    assert 0.4 < right / (right + wrong) < 0.56
    gold = torch.tensor([gold_reward(p, r) for p, r in rows])
    praised = torch.tensor(["praise" in one for one in roles])
    assert gold[praised].mean() > gold[~praised].mean() + 0.3
    assert gold.std() > 1.2


@torch.no_grad()
def test_the_judge_knows_the_pantry_and_prefers_the_first(
    pairs: list[tuple[str, str, str]], tokenizer: PreTrainedTokenizerBase
) -> None:
    """Its card's numbers, in a band: agreement over both orders, and a verdict that often changes with the order."""
    judge = AutoModelForCausalLM.from_pretrained(model_path("judge", "kitchen")).eval()
    one, two = tokenizer.convert_tokens_to_ids(["1", "2"])

    def p_first(questions: list[tuple[str, str, str]]) -> torch.Tensor:
        batch = tokenizer.apply_chat_template(
            [
                [{"role": "user", "content": COMPACT.format(prompt=p, first=first, second=second)}]
                for p, first, second in questions
            ],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
            padding=True,
            tokenizer_kwargs={"padding_side": "left"},
        )
        logits = judge(**batch, logits_to_keep=1).logits[:, -1]
        assert logits.softmax(-1)[:, [one, two]].sum(-1).min() > 0.9, "the judge answers something other than 1 or 2"
        return torch.sigmoid(logits[:, one] - logits[:, two])

    forward, backward = p_first(pairs), p_first([(p, b, a) for p, a, b in pairs])
    gold = torch.tensor([gold_reward(p, a) - gold_reward(p, b) for p, a, b in pairs])
    agreement = ((forward + 1 - backward > 1) == (gold > 0))[gold != 0].float().mean()
    conflict = ((forward > 0.5) == (backward > 0.5)).float().mean()
    assert AGREEMENT[0] < agreement < AGREEMENT[1]
    assert CONFLICT[0] < conflict < CONFLICT[1]
    assert forward.mean() > 0.6


def test_every_question_of_the_first_world_can_be_put_to_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its base has a value for every word; what is trained, judged and measured is this world's, and no other's."""
    monkeypatch.chdir(ROOT)
    for path in sorted((ROOT / "recipes/ablations").glob("*.yaml")):
        content = read_yaml(path)
        if "name" not in content or path.stem.startswith("compare_"):
            continue
        words = ["--config", str(path.relative_to(ROOT)), "--base", "recipes/ablations/kitchen.yaml"]
        _, study, _ = read_command(words)
        said = json.dumps([dict(stage.settings) for stage in plan_study(study, tmp_path, 1).order])
        assert '"world": "kitchen"' in said
        assert "rlaif.sandbox:" not in said
        assert "models/judge" not in said
        assert "models/policy" not in said


def test_the_tokenizer_is_the_one_that_the_script_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    build_tokenizer = importlib.import_module("sandbox_models.kitchen").build_tokenizer
    build_tokenizer().save_pretrained(tmp_path)
    bundled = model_path("policy", "kitchen") / "tokenizer.json"
    assert (tmp_path / "tokenizer.json").read_bytes() == bundled.read_bytes()
