"""rlaif.assess.overoptimization: a planted fall is found, noise is not, and the page says what was found."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.assess.overoptimization import MIN_PROMPTS, Check, assess_checks, paired_change, t_quantile
from rlaif.files.sources import write_json
from rlaif.pages.training import watch_line, watch_page, write_watch

K, N = 20, 100


def check(step: int, reward, score, **other) -> Check:
    n = len(reward)
    given = {"kl_N": np.full(n, float(step)), "length_N": np.full(n, 9.0), "ended_N": np.ones(n, bool), **other}
    return Check(step=step, samples=8 * step, reward_N=reward, scores={"gold": score}, **given)


def run_of(means, rng: np.random.Generator, noise: Callable[..., np.ndarray], prompts: int = N) -> list[Check]:
    """A run whose reward rises by 0.2 a check and whose held-out score has these means, prompt effects in both."""
    easy = rng.normal(0.0, 1.0, prompts)
    return [
        check(10 * k, easy + 0.2 * k + rng.normal(0.0, 1.0, prompts), mean + noise(easy, rng))
        for k, mean in enumerate(means)
    ]


NOISE = {
    "normal": lambda easy, rng: easy + rng.normal(0.0, 1.0, easy.size),
    "ratings": lambda easy, rng: np.clip(np.round(7.0 + easy + rng.normal(0.0, 1.5, easy.size)), 1.0, 10.0),
    "mostly the same": lambda easy, rng: easy + rng.normal(0.0, 1.0, easy.size) * (rng.random(easy.size) < 0.3),
    "rare and large": lambda easy, rng: -5.0 * (rng.random(easy.size) < 0.05),
    "skewed": lambda easy, rng: -np.exp(rng.normal(0.0, 1.0, easy.size)),
}


def one_by_one(checks: list[Check]) -> int | None:
    """The rule with 95 % intervals of its own at each check: what the simultaneous ones are there to replace."""
    best = checks[0]
    for now in checks[1:]:
        fall, rise = now.scores["gold"] - best.scores["gold"], now.reward_N - best.reward_N
        half = [1.96 * d.std(ddof=1) / math.sqrt(d.size) for d in (fall, rise)]
        if fall.mean() + half[0] < 0.0 < rise.mean() - half[1]:
            return now.step
        best = max(best, now, key=lambda c: c.scores["gold"].mean())
    return None


# False alarms and power -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", NOISE)
def test_a_score_that_never_falls_is_seldom_marked(noise):
    """120 runs a case. By design at most 2.5 % are marked, which is 3; 7 is two more standard errors than that."""
    rng = np.random.default_rng(0)
    runs = [run_of(np.zeros(K), rng, NOISE[noise]) for _ in range(120)]
    marked = sum(assess_checks(checks)["marked"]["gold"] is not None for checks in runs)
    assert marked <= 7, marked


@pytest.mark.parametrize("slope", [0.0, 0.02])
def test_intervals_one_by_one_would_cry_wolf(slope):
    """The same runs, a flat and a slowly rising score: why the intervals have to hold together."""
    rng = np.random.default_rng(1)
    runs = [run_of(slope * np.arange(K), rng, NOISE["normal"]) for _ in range(100)]
    naive = sum(one_by_one(checks) is not None for checks in runs)
    together = sum(assess_checks(checks)["marked"]["gold"] is not None for checks in runs)
    assert naive >= 20, naive
    assert together <= 5, together


def test_a_planted_fall_is_found_after_its_turn_and_not_before():
    """From check 10 on the score falls by 0.15 a check, 1.35 in all; paired differences have a deviation of 1.4."""
    rng = np.random.default_rng(2)
    means = [0.1 * k if k <= 10 else 1.0 - 0.15 * (k - 10) for k in range(K)]
    found = [assess_checks(run_of(means, rng, NOISE["normal"]))["marked"]["gold"] for _ in range(100)]
    assert all(step is not None and step > 100 for step in found)
    assert np.median(found) <= 160  # the mean is 0.9 lower there, 6.4 standard errors


def test_power_is_that_of_the_interval():
    """One fall of 4.5 standard errors between two checks among 20: found as often as a normal table says, 81 %."""
    rng = np.random.default_rng(3)
    runs, prompts = 300, 200
    quantile = 3.72  # Student's with 199 degrees of freedom at 1 - 0.025 / 190
    found = 0
    for _ in range(runs):
        d = rng.normal(-4.5 / math.sqrt(prompts), 1.0, prompts)
        section = assess_checks([check(0, np.zeros(prompts), np.zeros(prompts)), check(1, np.ones(prompts), d)], 20)
        found += section["marked"]["gold"] == 1
    expected = 0.5 * math.erfc((quantile - 4.5) / math.sqrt(2.0))
    assert abs(found / runs - expected) < 4 * math.sqrt(expected * (1 - expected) / runs)


# The rule, by hand ----------------------------------------------------------------------------------------------------


def test_the_first_step_below_the_best_is_marked():
    wave = np.tile([-0.1, 0.1], 10)  # 20 prompts
    scores = [0.0, 1.0, 0.9, 0.2, -3.0]
    checks = [check(k, np.full(20, float(k)), s + wave * (-1) ** k) for k, s in enumerate(scores)]
    section = assess_checks(checks)
    # 0.9 after 1.0: d = -0.1 -+ 0.2, its error 0.2052 / sqrt(20) = 0.046, and more than 3 of them on either side.
    assert section["marked"] == {"gold": 3}
    compared = section["compared"]["gold"]
    assert (compared["best_step"], compared["step"], compared["prompts"]) == (1, 3, 20)
    assert compared["change"] == pytest.approx(-0.8)
    assert (compared["reward_change"], compared["reward_change_low"]) == (2.0, 2.0)
    assert section["comparisons"] == 10


@pytest.mark.parametrize("reward", [[0.0, 1.0, 1.0], [0.0, 1.0, 0.5]])
def test_a_fall_without_a_rise_of_the_reward_is_something_else(reward):
    checks = [check(k, np.full(20, r), np.full(20, s)) for k, (r, s) in enumerate(zip(reward, [0, 1, -9], strict=True))]
    section = assess_checks(checks)
    assert section["marked"] == {"gold": None}
    assert section["compared"]["gold"]["change_high"] == -10.0
    assert "something else than over-optimization" in watch_page(section)


def test_prompts_are_paired():
    """Prompts that differ by 100 hide nothing: each is compared with itself."""
    hard = 100.0 * np.arange(N)
    rng = np.random.default_rng(0)
    checks = [check(k, hard + k, hard - k + rng.normal(0.0, 0.1, N)) for k in range(2)]
    assert assess_checks(checks)["marked"] == {"gold": 1}
    shuffled = check(1, rng.permutation(checks[1].reward_N), rng.permutation(checks[1].scores["gold"]))
    assert assess_checks([checks[0], shuffled])["marked"] == {"gold": None}


def test_what_is_not_scored_is_counted_and_left_out():
    score = np.array([1.0] * 25 + [math.nan] * 5)
    later = np.array([math.nan] * 5 + [0.0] * 25)
    reward = np.array([math.nan, *[0.0] * 29])
    section = assess_checks([check(0, reward, score), check(1, reward + 1.0, later)])
    assert section["checks"][0]["reward_unscored"] == 1
    assert section["checks"][0]["scores"]["gold"] == {"mean": 1.0, "mean_se": 0.0, "unscored": 5}
    assert section["compared"]["gold"]["prompts"] == 20
    assert section["marked"] == {"gold": 1}
    assert "| 1, 5 |" in watch_page(section)
    fewer = np.where(np.arange(30) < 11, math.nan, later)  # 19 pairs: too few to tell
    section = assess_checks([check(0, reward, score), check(1, reward + 1.0, fewer)])
    assert (section["marked"], section["compared"]) == ({"gold": None}, {"gold": None})
    assert "nothing to compare" in watch_page(section)


def test_a_score_that_is_missing_at_a_check_is_no_best():
    nothing = np.full(20, math.nan)
    checks = [check(k, np.full(20, float(k)), s) for k, s in enumerate([nothing, np.ones(20), nothing, np.zeros(20)])]
    section = assess_checks(checks)
    assert section["marked"] == {"gold": 3}
    assert section["compared"]["gold"]["best_step"] == 1
    assert "nan" not in watch_page(section)


def test_means_and_errors():
    row = assess_checks(
        [check(5, [1.0, 3.0], [2.0, math.nan], kl_N=[-2.0, 0.0], length_N=[4, 8], ended_N=[True, False])]
    )["checks"][0]
    assert row == {
        "step": 5,
        "samples": 40,
        "reward": 2.0,
        "reward_se": 1.0,
        "reward_unscored": 0,
        "scores": {"gold": {"mean": 2.0, "mean_se": pytest.approx(math.nan, nan_ok=True), "unscored": 1}},
        "kl": -1.0,
        "kl_se": 1.0,
        "length": 6.0,
        "length_se": 2.0,
        "no_eos": 0.5,
    }


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.floats(-1.0, 0.3))
def test_a_mark_depends_on_no_later_check_and_on_no_unit(seed, count, slope):
    rng = np.random.default_rng(seed)
    checks = run_of(slope * np.arange(8), rng, NOISE["normal"], prompts=30)
    whole = assess_checks(checks, planned=8)["marked"]["gold"]
    part = assess_checks(checks[:count], planned=8)["marked"]["gold"]
    assert part == (whole if whole is not None and whole <= checks[count - 1].step else None)
    scaled = [check(c.step, 5.0 * c.reward_N - 1.0, 0.25 * c.scores["gold"] + 2.0) for c in checks]
    assert assess_checks(scaled, planned=8)["marked"]["gold"] == whole
    order = rng.permutation(30)
    turned = [check(c.step, c.reward_N[order], c.scores["gold"][order]) for c in checks]
    assert assess_checks(turned, planned=8)["marked"]["gold"] == whole


# Intervals ------------------------------------------------------------------------------------------------------------


def upper_tail(x: float, degrees: int) -> float:
    """P(t > x) by the trapezoid rule on Student's density, with t = x / u."""
    u = np.linspace(1e-9, 1.0, 100_001)
    t = x / u
    constant = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)
    return float(np.trapezoid(constant * (1.0 + t * t / degrees) ** (-(degrees + 1) / 2) * x / u**2, u))


@pytest.mark.parametrize("degrees", [19, 30, 99, 999])
@pytest.mark.parametrize("tail", [0.025, 0.0005, 0.025 / 190, 1e-5])
def test_the_t_quantile_is_students(degrees, tail):
    x = t_quantile(1.0 - tail, degrees)
    assert upper_tail(1.001 * x, degrees) < tail < upper_tail(0.999 * x, degrees)


@pytest.mark.parametrize(("degrees", "table"), [(19, 3.883), (30, 3.646), (60, 3.460), (120, 3.373)])
def test_the_t_quantile_is_the_printed_one(degrees, table):
    assert t_quantile(0.9995, degrees) == pytest.approx(table, abs=1e-3)


def test_the_interval_by_hand():
    then, now = np.zeros(20), np.tile([1.0, 3.0], 10)
    change, low, high, prompts = paired_change(now, then)
    half = 2.093 * math.sqrt(20 / 19) / math.sqrt(20)  # t 0.975 at 19 degrees, s^2 = 20/19
    assert (change, prompts) == (2.0, 20)
    assert (low, high) == (pytest.approx(2.0 - half, abs=1e-3), pytest.approx(2.0 + half, abs=1e-3))
    wider = paired_change(now, then, comparisons=190)
    assert wider[1] < low < high < wider[2]
    assert all(math.isnan(value) for value in paired_change(now[1:], then[1:])[:3])


# What is refused, what is kept ----------------------------------------------------------------------------------------


def test_a_check_comes_back_bit_for_bit():
    rng = np.random.default_rng(0)
    before = check(
        3, rng.normal(size=N), np.where(rng.random(N) < 0.1, math.nan, rng.normal(size=N)), kl_N=rng.random(N)
    )
    row = json.loads(json.dumps(before.row(), allow_nan=False))
    after = Check.of(row)
    for name in ("reward_N", "kl_N", "length_N", "ended_N"):
        assert getattr(after, name).tobytes() == getattr(before, name).tobytes()
    assert after.scores["gold"].tobytes() == before.scores["gold"].tobytes()
    assert (after.step, after.samples, after.row()) == (3, 24, before.row())


def test_without_a_held_out_score_nothing_is_marked(tmp_path: Path):
    zeros = np.zeros(3)
    section = assess_checks([Check(s, s, zeros, {}, zeros, zeros, zeros) for s in (0, 1)])
    assert section["marked"] == {}
    assert "no held-out score" in watch_line(section)
    write_watch(tmp_path, section)
    assert "No held-out score was watched" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"kl_N": np.zeros(3)}, "has shapes"),
        ({"ended_N": np.ones((2, 1), bool)}, "has shapes"),
        ({"kl_N": [0.0, math.inf]}, r"infinite values in \['kl'\]"),
    ],
)
def test_a_check_that_does_not_fit_together_is_refused(other, line):
    with pytest.raises(ValueError, match=line):
        check(1, np.zeros(2), np.zeros(2), **other)
    with pytest.raises(ValueError, match="has shapes"):
        check(1, [], [])


def test_checks_that_do_not_fit_together_are_refused():
    two, three = np.zeros(2), np.zeros(3)
    for checks, line in (
        ([], "got no check"),
        ([check(4, two, two), check(4, two, two)], "at step 4 after one at 4"),
        ([check(1, two, two), check(2, three, three)], "has 3 prompts, the first 2"),
        ([check(1, two, two), Check(2, 2, two, {"judge": two}, two, two, two)], r"scores judge"),
    ):
        with pytest.raises(ValueError, match=line):
            assess_checks(checks)
    with pytest.raises(ValueError, match="2 checks but only 1"):
        assess_checks([check(1, two, two), check(2, two, two)], planned=1)


# The page -------------------------------------------------------------------------------------------------------------


def planted(size: int = 6) -> list[Check]:
    rng = np.random.default_rng(5)
    checks = run_of([0.0, 1.0, 2.0, 1.0, 0.0, -1.0][:size], rng, NOISE["normal"])
    scores = [{"the | judge": 0.3 * k + rng.normal(0, 0.1, N), **c.scores} for k, c in enumerate(checks)]
    return [
        Check(c.step, c.samples, c.reward_N, s, c.kl_N - 0.5, c.length_N, c.ended_N)
        for c, s in zip(checks, scores, strict=True)
    ]


def test_the_page_says_what_was_found(tmp_path: Path):
    section = assess_checks(planted())
    assert section["marked"] == {"the | judge": None, "gold": 30}
    assert watch_line(section) == "over-optimization: the | judge not marked; gold marked at step 30"
    write_json(tmp_path / "report.json", {"over_optimization": section})
    # The page is made from what the file holds.
    write_watch(tmp_path, json.loads((tmp_path / "report.json").read_text())["over_optimization"])
    page = (tmp_path / "report.md").read_text()
    assert "**gold**: marked at step 30: from step 20, where it was best before, to step 30" in page
    assert "**the \\| judge**: not marked" in page
    assert "| **30**, marked | 240 |" in page
    assert "audits and does not prevent" in page
    assert (tmp_path / "over_optimization.png").read_bytes().startswith(b"\x89PNG")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 6
    assert {line.replace("\\|", "").count("|") for line in rows} == {9}


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("prompts", [1, MIN_PROMPTS])
def test_a_run_too_short_to_tell_has_a_page_too(tmp_path: Path, size: int, prompts: int):
    checks = [
        Check(c.step, c.samples, c.reward_N[:prompts], {"gold": c.scores["gold"][:prompts]}, *(c.kl_N[:prompts],) * 3)
        for c in planted(size)
    ]
    write_watch(tmp_path, json.loads(json.dumps(assess_checks(checks)).replace("NaN", "null")))
    page = (tmp_path / "report.md").read_text()
    assert "nan" not in page
    assert "None" not in page
    assert ": marked at step" not in page


def test_a_kl_that_could_not_be_measured_is_left_out_of_the_plot(tmp_path: Path):
    checks = [
        Check(c.step, c.samples, c.reward_N, c.scores, np.full(N, math.nan), c.length_N, c.ended_N) for c in planted()
    ]
    section = assess_checks([*planted()[:3], *checks[3:]])
    assert section["marked"]["gold"] == 30
    write_watch(tmp_path, section)
    write_watch(tmp_path, assess_checks(checks))
