"""The judge's numbers from a stream: those of a slow reading of their definitions, in a few bytes a pair."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif import metrics
from rlaif.assess import agreement
from rlaif.assess.agreement import OTHER_REASONS, JudgeNumbers, assess_judgments
from rlaif.assess.calibration import against, reliability
from rlaif.records import Judgment, Pair, Prompt

GRID = (0.0, 0.2, 0.5, 0.5, 0.7, 1.0)


def count_x(prompt: Prompt, response: str) -> float:
    return float(response.count("x"))


def random_judgments(seed: int, n: int, labels: tuple[str | None, ...] = ("a", "b", "tie", None)) -> list[Judgment]:
    """Every kind: judged in both orders, in one, in neither; unjudged; ties of z, of the truth and of the lengths."""
    rng = random.Random(seed)

    def text() -> str:
        return "".join(rng.choice("xy") for _ in range(rng.randrange(5)))

    judgments = []
    for _ in range(n):
        pair = Pair("q", text(), text(), label=rng.choice(labels))
        z_ab, z_ba = (rng.choice([None, rng.choice(GRID), rng.random()]) for _ in range(2))
        seen = [z for z in (z_ab, z_ba) if z is not None]
        if rng.random() < 0.15:
            reason = rng.choice(["no verdict", "refused", "cut off"])
            judgments.append(Judgment(pair, z=None, reason=reason, z_ab=z_ab, z_ba=z_ba))
        else:
            judgments.append(Judgment(pair, z=sum(seen) / len(seen) if seen else 0.5, z_ab=z_ab, z_ba=z_ba))
    return judgments


# The definitions, slowly ----------------------------------------------------------------------------------------------


def winner(z: float) -> str:
    return "a" if z > 0.5 else "b" if z < 0.5 else "neither"


def share(values: list[float]) -> float:
    return float(np.mean(values))


def agreeing(rows: list[tuple[float, str]]) -> float:
    """The share of z whose winner is the given one; half where z has none."""
    return share([0.5 if winner(z) == "neither" else float(winner(z) == better) for z, better in rows])


def slow_report(judgments: list[Judgment], gold: Any) -> dict[str, Any]:
    def better(j: Judgment) -> str | None:
        if gold is None:
            return {"a": "a", "b": "b", "tie": "neither", None: None}[j.pair.label]
        a, b = gold(j.pair.prompt, j.pair.response_a), gold(j.pair.prompt, j.pair.response_b)
        return "a" if a > b else "b" if b > a else "neither"

    def longer(j: Judgment) -> str:
        a, b = len(j.pair.response_a), len(j.pair.response_b)
        return "a" if a > b else "b" if b > a else "neither"

    judged = [j for j in judgments if j.z is not None]
    sided = [j for j in judged if better(j) in ("a", "b")]
    expected: dict[str, Any] = {
        "pairs": len(judgments),
        "unjudged": len(judgments) - len(judged),
        "reasons": Counter(j.reason for j in judgments if j.z is None),
        "unlabelled": sum(better(j) is None for j in judged),
        "tied": sum(better(j) == "neither" for j in judged),
        "measured": len(sided),
        "truth": "gold" if gold else "label" if any(j.pair.label for j in judgments) else None,
    }
    both = [j for j in judged if j.z_ab is not None and j.z_ba is not None]
    if both:
        consistency = share([float(winner(j.z_ab) == winner(j.z_ba)) for j in both])
        expected |= {"position_consistency": consistency, "order_consistency": consistency}
    shown_first = [j.z_ab for j in judged if j.z_ab is not None] + [1 - j.z_ba for j in judged if j.z_ba is not None]
    if shown_first:
        expected["first_rate"] = share(shown_first)
    if sided:
        z = np.array([j.z for j in sided])
        y = np.array([1.0 if better(j) == "a" else 0.0 for j in sided])
        expected |= {"agreement": agreeing([(j.z, better(j)) for j in sided]), "ece": metrics.ece(z, y)}
        expected["brier"] = share([(p - t) ** 2 for p, t in zip(z, y, strict=True)])
        expected["brier_of_half"] = 0.25
        single = [
            agreeing([(getattr(j, order), better(j)) for j in sided if getattr(j, order) is not None])
            for order in ("z_ab", "z_ba")
            if any(getattr(j, order) is not None for j in sided)
        ]
        if single:
            expected["agreement_single_order"] = share(single)
        expected["reliability"] = [{**bin_, "low": None, "high": None} for bin_ in reliability(z, y)]
    if judged:
        uneven = [j for j in judged if longer(j) != "neither"]
        wins = {"judge": agreeing([(j.z, longer(j)) for j in uneven]) if uneven else float("nan")}
        if sided:
            uneven = [j for j in sided if longer(j) != "neither"]
            wins["truth"] = share([float(longer(j) == better(j)) for j in uneven]) if uneven else float("nan")
        expected["longer_wins"] = wins
    return expected


def assert_same(got: dict[str, Any], expected: dict[str, Any]) -> None:
    """To the last bit, but for the means whose terms the stream adds up in another order; intervals aside."""
    ends = {f"{name}_{end}" for name in ("agreement", "brier", "ece") for end in ("low", "high")}
    drawn = got.get("drawn", {})
    assert got.keys() - ends - {"drawn"} == expected.keys()
    if drawn:
        assert (drawn["prompts"], ends <= got.keys()) == (1, True)
        within = drawn["over"] is None or got["agreement_low"] <= got["agreement"] <= got["agreement_high"]
        assert within
        if drawn["over"] is None:
            assert {got[end] for end in ends} == {None}
    for name, value in expected.items():
        if name in ("first_rate", "brier"):
            assert got[name] == pytest.approx(value, rel=0, abs=1e-12), name
        elif name == "reliability" and drawn["over"]:  # the ends are of what was drawn
            assert [(b["p"], b["y"], b["n"]) for b in got[name]] == [(b["p"], b["y"], b["n"]) for b in value]
        elif name == "longer_wins":
            assert got[name] == pytest.approx(value, rel=0, abs=0, nan_ok=True)
        else:
            assert got[name] == value, name


@pytest.mark.parametrize("gold", [None, count_x])
@pytest.mark.parametrize("n", [1, 2, 5, 300])
@pytest.mark.parametrize("seed", range(4))
def test_the_numbers_are_those_of_the_definitions(gold: Any, n: int, seed: int) -> None:
    judgments = random_judgments(seed, n)
    assert_same(assess_judgments(judgments, gold, samples=60, seed=seed), slow_report(judgments, gold))


@given(st.integers(0, 10_000), st.integers(0, 6), st.sampled_from([None, count_x]), st.booleans())
def test_the_numbers_of_a_few(seed: int, n: int, gold: Any, labelled: bool) -> None:
    judgments = random_judgments(seed, n, ("a", "b", "tie", None) if labelled else (None,))
    assert_same(assess_judgments(judgments, gold, samples=5), slow_report(judgments, gold))


def test_one_at_a_time_is_all_at_once_and_goes_on_after_a_report() -> None:
    judgments, numbers = random_judgments(7, 200), JudgeNumbers(count_x)
    for end, judgment in enumerate(judgments, start=1):
        numbers.add(judgment)
        if end in (1, 90, 200):
            assert numbers.report(samples=20, seed=3) == assess_judgments(judgments[:end], count_x, samples=20, seed=3)


def test_reasons_come_by_how_often_and_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "_REASONS_KEPT", 2)
    reasons = ["cut off", "refused", "quotes 1", "refused", "quotes 2", "quotes 1", "cut off", "refused"]
    got = assess_judgments([Judgment(Pair("q", "x", "y"), z=None, reason=reason) for reason in reasons])
    assert list(got["reasons"].items()) == [("refused", 3), (OTHER_REASONS, 3), ("cut off", 2)]
    assert got["unjudged"] == 8


def test_a_gold_that_fails_counts_nothing() -> None:
    def broken(prompt: Prompt, response: str) -> float:
        raise ValueError("no")

    numbers = JudgeNumbers(broken)
    with pytest.raises(ValueError, match="no"):
        numbers.add(Judgment(Pair("q", "x", "y"), z=0.7))
    assert numbers.report()["pairs"] == 0


# What it costs --------------------------------------------------------------------------------------------------------


def many(n: int) -> Iterator[Judgment]:
    pairs = [Pair("q", "x" * (i % 7), "y" * (i % 5), label="ab"[i % 2]) for i in range(70)]
    for i in range(n):
        pair = pairs[i % len(pairs)]
        if i % 50 == 0:
            yield Judgment(pair, z=None, reason=f"no verdict in {i}")
        else:
            yield Judgment(pair, z=(i + 0.5) / n, z_ab=i / n, z_ba=(i + 1) / n)


def test_a_pair_leaves_less_than_40_bytes() -> None:
    n, numbers = 40_000, JudgeNumbers()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for judgment in many(n):
            numbers.add(judgment)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 40 * n


def test_a_report_takes_less_than_240_bytes_a_pair_however_many_samples() -> None:
    rng = np.random.default_rng(0)
    z = rng.random(400_000)
    y = (rng.random(z.size) < z).astype(np.int8)
    tracemalloc.start()
    try:
        against(z, y, np.arange(3 * z.size).reshape(-1, 3), samples=8)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 240 * z.size


def test_the_consistency_keeps_its_old_name() -> None:
    assert metrics.order_consistency is metrics.position_consistency
    assert {"order_consistency", "position_consistency"} <= set(metrics.__all__)
