"""scripts/compare_roles.py: what it asks of both arms, what it makes of their reports, and how it says no.

The comparison itself, ten runs of PPO, is not run here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, refused, rlaif_env

from rlaif import config
from rlaif.training.models import ModelConfig
from rlaif.training.ppo_config import PPOConfig
from scripts.compare_roles import (
    ARMS,
    RolesConfig,
    check,
    environment,
    interval,
    launch,
    numbers,
    once,
    options_of,
    summary,
    table,
)

MIB = 2**20

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def report(gold: float, kl: float, seconds: float, weights: list[int]) -> dict[str, Any]:
    """What recipes/ppo.py writes, as far as it is read."""

    def at(gold: float, kl: float) -> dict[str, Any]:
        return {"reward": gold / 2, "kl": kl, "scores": {"gold_reward": {"mean": gold}}}

    return {
        "train": {
            "samples": 100,
            "seconds": seconds,
            "peak_memory": 500 * MIB,
            "weights": dict(zip(("policy", "reference", "critic", "reward"), weights, strict=True)),
        },
        "over_optimization": {"checks": [at(0.5, 0.0), at(9.0, 9.0), at(gold, kl)]},
    }


def test_a_run_is_its_last_check() -> None:
    run = numbers(report(2.0, 3.0, 20.0, [4, 3, 2, 1]))
    assert (run["gold_reward_before"], run["gold_reward"], run["reward"], run["kl"]) == (0.5, 2.0, 1.0, 3.0)
    assert run["samples_per_second"] == 5.0
    assert run["weights"] == {"policy": 4, "reference": 3, "critic": 2, "reward": 1}


def test_differences_are_taken_seed_by_seed() -> None:
    # Gold rewards 1, 3 and 2, 4: apart by exactly 1 on each seed, however far apart the seeds are.
    runs = {
        arm: [{"seed": i, **numbers(report(gold, 2.0, 10.0, weights))} for i, gold in enumerate(golds)]
        for arm, golds, weights in zip(
            ARMS, [[1.0, 3.0], [2.0, 4.0]], [[MIB, MIB, MIB, MIB], [MIB, 0, 0, MIB // 2]], strict=True
        )
    }
    found = summary(runs)
    assert found["difference"]["gold_reward"] == pytest.approx((1.0, 1.0, 1.0))
    # Mean 2, standard deviation sqrt(2), of two values: 12.706 sqrt(2) / sqrt(2) to either side.
    assert found["arms"]["four models"]["gold_reward"] == pytest.approx((2.0, 2.0 - 12.706, 2.0 + 12.706))
    printed = table({"settings": {"seeds": 2}, "imports": 400 * MIB, "runs": runs, **found}).splitlines()
    assert printed[0].split() == ["four", "models", "one", "backbone", "difference"]
    rows = {line[: line.index("  ", 2)].strip(): line.split() for line in printed[1:12]}
    assert rows["gold reward"][2:] == [
        "2.00",
        "[-10.71,",
        "14.71]",
        "3.00",
        "[-9.71,",
        "15.71]",
        "1.00",
        "[1.00,",
        "1.00]",
    ]
    assert rows["weights (MiB)"][2:] == ["4.00", "1.50", "-2.50"]
    assert rows["reward"][1:] == ["1.00", "0.50", "-0.50"]
    assert rows["peak memory (MiB)"][3] == "500"
    assert rows["of it, imports"][3:] == ["400", "400", "0"]
    assert "gold reward 0.50" in printed[-2]


def test_an_interval_by_hand() -> None:
    # Mean 2, standard deviation 1, of three: 4.303 / sqrt(3) to either side.
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2.0 - 2.4843, 2.0 + 2.4843), abs=1e-4)


def test_both_arms_are_asked_for_the_same_but_what_is_compared() -> None:
    settings = RolesConfig(samples=256)
    four, one = (options_of(arm, settings, 3, Path("rm"), Path("out")) for arm in ARMS)
    differ = {name for name in four if four[name] != one[name]}
    assert differ == {"lora", "share_backbone", "critic", "learning_rate"}
    for arm, options in zip(ARMS, (four, one), strict=True):
        words = launch("recipes/ppo.py", options)
        at = words.index("--lora")
        keep = [word for name in options if name in OURS for word in (f"--{name}", str(options[name]))]
        model, args = config.parse(ModelConfig, PPOConfig, args=[*keep, "--use_cpu", "true"])
        assert words[at + 1] == str(arm == "one backbone")
        assert (model.lora, args.share_backbone) == (arm == "one backbone",) * 2
        # 256 responses are two rollouts of 128, each learned from in four epochs of four steps.
        assert (args.generation_batch_size, args.steps_per_rollout, args.max_steps) == (128, 16, 32)


OURS = {f.name for c in (ModelConfig, PPOConfig) for f in c.__dataclass_fields__.values()}


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    count = "import pathlib; p = pathlib.Path({!r}); p.write_text(p.read_text() + 'x' if p.exists() else 'x')"
    words = [sys.executable, "-c", count.format(str(tmp_path / "count"))]
    settings = RolesConfig()
    for asked in ({"seed": "0"}, {"seed": "0"}, {"seed": "1"}):
        once(tmp_path / "run", asked, words, settings)
    assert (tmp_path / "count").read_text() == "xx"
    with pytest.raises(ValueError, match=r"ended with status 3; see .*log\.txt"):
        once(tmp_path / "bad", {}, [sys.executable, "-c", "raise SystemExit(3)"], settings)
    assert not (tmp_path / "bad/run.json").exists()
    assert json.loads((tmp_path / "run/run.json").read_text()) == {"seed": "1"}
    assert environment(RolesConfig(threads=3))["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 1}, "seeds is 1; expected 2 to 15"),
        ({"batch": 40}, "batch is 40; expected a multiple of 32"),
        ({"samples": 100}, r"samples is 100; expected a multiple of batch \(128\)"),
    ],
)
def test_bad_settings(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RolesConfig(**change)  # type: ignore[arg-type]


def test_without_a_quickstart_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no sft; expected what scripts/quickstart\.sh writes; run it\."):
        check(RolesConfig(runs=str(tmp_path)))
    words = [sys.executable, str(ROOT / "scripts/compare_roles.py"), "--runs", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=rlaif_env())
    assert "has no sft" in refused(done)
