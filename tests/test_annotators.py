"""The sandbox's two scripted annotators: what they say, that order does not matter, and how often they err."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import here, rows_of, write_rows

from rlaif.sandbox import gold_judge, gold_reward, human_like, prompts, world
from rlaif.sandbox.annotators import TEMPERATURE

PROMPT = "Please bring bread and rope to the camp."
TEXT = st.one_of(st.text(), st.lists(st.sampled_from(world.vocabulary()), max_size=8).map(" ".join))


def world_pairs(count: int) -> list[tuple[str, str, str]]:
    """Pairs as the sandbox's policy learned to write them: two replies of any skill to one prompt."""
    rng = random.Random(0)
    return [
        (prompt, *(world.write_response(prompt, rng, rng.random()) for _ in range(2))) for prompt in prompts(count, 11)
    ]  # type: ignore[misc]


def test_gold_judge_by_hand() -> None:
    assert gold_judge(PROMPT, "Here are bread and rope.", "Here are bread.") == 1.0
    assert gold_judge(PROMPT, "Here are bread.", "Here are bread and rope.") == 0.0
    assert gold_judge(PROMPT, "Here are bread.", "Here are rope.") == 0.5


@given(TEXT, TEXT, TEXT)
def test_both_orders_and_both_kinds_of_prompt_name_the_same_response(prompt: str, one: str, other: str) -> None:
    for judge in (gold_judge, human_like):
        said = judge(prompt, one, other)
        assert said == 1.0 - judge(prompt, other, one)
        assert said == judge([{"role": "user", "content": prompt}], one, other)
        assert said == judge(prompt, one, other)
    assert (human_like(prompt, one, other) == 0.5) == (one == other)


def test_a_person_errs_as_the_bradley_terry_model_says() -> None:
    """Verdict by verdict a draw of probability sigmoid(difference / T): three of four right, the close ones worst."""
    right: dict[int, list[bool]] = {}
    toss: list[bool] = []
    for prompt, a, b in world_pairs(6000):
        difference = int(gold_reward(prompt, a) - gold_reward(prompt, b))
        verdict = human_like(prompt, a, b)
        if difference:
            right.setdefault(abs(difference), []).append(verdict == gold_judge(prompt, a, b))
        elif a != b:
            toss.append(verdict == 1.0)
    for size, verdicts in right.items():
        p = 1.0 / (1.0 + math.exp(-size / TEMPERATURE))
        assert abs(sum(verdicts) / len(verdicts) - p) < 4 * math.sqrt(p * (1 - p) / len(verdicts)) + 1e-9
    assert abs(sum(toss) / len(toss) - 0.5) < 4 * math.sqrt(0.25 / len(toss))
    every = [verdict for verdicts in right.values() for verdict in verdicts]
    assert sum(every) / len(every) == pytest.approx(0.75, abs=0.025)


def test_differences_beyond_any_float_are_no_error() -> None:
    assert human_like(PROMPT, "bread", "lazy " * 10_000) == 1.0


@pytest.mark.parametrize("messages", [False, True], ids=["strings", "messages"])
@pytest.mark.parametrize("name", ["gold_judge", "human_like"])
def test_from_the_command_line(name: str, messages: bool, tmp_path: Path) -> None:
    def prompt(text: str) -> Any:
        return [{"role": "user", "content": text}] if messages else text

    pairs = [{"prompt": prompt(p), "response_a": a, "response_b": b} for p, a, b in world_pairs(40) if a != b]
    write_rows(tmp_path / "pairs.jsonl", pairs)
    command = ["judge", "--pairs", tmp_path / "pairs.jsonl", "--judge", "scripted"]
    done = here(*command, "--judge_model", f"rlaif.sandbox:{name}", "--output", tmp_path / "judged")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "judged" / "report.json").read_text())
    assert (report["unjudged"], report["order_consistency"], report["first_rate"]) == (0, 1.0, 0.5)
    judge = {"gold_judge": gold_judge, "human_like": human_like}[name]
    for pair, row in zip(pairs, rows_of(tmp_path / "judged" / "judgments.jsonl"), strict=True):
        assert row["z"] == row["z_ab"] == row["z_ba"] == judge(pair["prompt"], pair["response_a"], pair["response_b"])
