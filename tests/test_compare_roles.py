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
from rlaif.files import runs
from rlaif.training.models import ModelConfig
from rlaif.training.ppo.config import PPOConfig
from scripts import compare_roles
from scripts.compare_roles import (
    ARMS,
    RolesConfig,
    check,
    numbers,
    options_of,
    summary,
    table,
)

MIB = 2**20


def report(gold: float, kl: float, seconds: float, weights: list[int]) -> dict[str, Any]:
    """What recipes/ppo.py writes, as far as it is read."""

    def at(gold: float, kl: float) -> dict[str, Any]:
        return {"reward": gold / 2, "kl": kl, "scores": {"gold_reward": {"mean": gold}}}

    return {
        "train": {
            "samples": 100,
            "seconds": seconds,
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
    trained = {
        arm: [
            {"seed": i, "peak_memory": 500 * MIB, **numbers(report(gold, 2.0, 10.0, weights))}
            for i, gold in enumerate(golds)
        ]
        for arm, golds, weights in zip(
            ARMS, [[1.0, 3.0], [2.0, 4.0]], [[MIB, MIB, MIB, MIB], [MIB, 0, 0, MIB // 2]], strict=True
        )
    }
    found = summary(trained)
    assert found["difference"]["gold_reward"] == pytest.approx((1.0, 1.0, 1.0))
    # Mean 2, standard deviation sqrt(2), of two values: 12.7062 sqrt(2) / sqrt(2) to either side.
    assert found["arms"]["four models"]["gold_reward"] == pytest.approx((2.0, 2.0 - 12.7062, 2.0 + 12.7062), abs=1e-4)
    printed = table({"settings": {"seeds": 2}, "imports": 400 * MIB, "runs": trained, **found}).splitlines()
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


def test_both_arms_are_asked_for_the_same_but_what_is_compared() -> None:
    settings = RolesConfig(samples=256)
    four, one = (options_of(arm, settings, 3, Path("rm"), Path("out")) for arm in ARMS)
    differ = {name for name in four if four[name] != one[name]}
    assert differ == {"lora", "share_backbone", "critic", "learning_rate"}
    for arm, options in zip(ARMS, (four, one), strict=True):
        words = runs.launch(ROOT / "recipes/ppo.py", compare_roles.CPU, options)
        at = words.index("--lora")
        keep = [word for name in options if name in OURS for word in (f"--{name}", str(options[name]))]
        model, args = config.parse(ModelConfig, PPOConfig, args=[*keep, "--use_cpu", "true"])
        assert words[at + 1] == str(arm == "one backbone")
        assert (model.lora, args.share_backbone) == (arm == "one backbone",) * 2
        # 256 responses are two rollouts of 128, each learned from in four epochs of four steps.
        assert (args.generation_batch_size, args.steps_per_rollout, args.max_steps) == (128, 16, 32)


OURS = {f.name for c in (ModelConfig, PPOConfig) for f in c.__dataclass_fields__.values()}


def test_a_run_is_made_again_for_another_sft_model_or_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in the place of recipes/ppo.py, which counts its starts."""
    (tmp_path / "recipes").mkdir()
    program = tmp_path / "recipes/ppo.py"
    done = report(1.0, 2.0, 3.0, [4, 3, 2, 1])
    done["train"]["samples"] = 128
    program.write_text(
        "import pathlib, sys\n"
        f"open({str(tmp_path / 'count')!r}, 'a').write('x')\n"
        "folder = sys.argv[sys.argv.index('--output_dir') + 1]\n"
        f"pathlib.Path(folder, 'report.json').write_text({json.dumps(done)!r})\n"
    )

    def launch(program: Path, config_file: Path, options: dict[str, Any]) -> list[str]:
        return [sys.executable, str(program), *(word for k, v in options.items() for word in (f"--{k}", str(v)))]

    monkeypatch.setattr(compare_roles, "ROOT", tmp_path)
    monkeypatch.setattr(runs, "launch", launch)
    made = tmp_path / "made"
    for name in ("made/sft", "made/reward_model", "rlaif"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file.py").write_text("pass")
    for name in ("prompts.jsonl", "evaluation.jsonl"):
        (made / name).write_text("{}")
    settings = RolesConfig(runs=str(made), output=str(tmp_path / "out"), samples=128)

    def starts() -> int:
        run = compare_roles.train("one backbone", settings, 0, made / "reward_model")
        assert run["gold_reward"] == 1.0
        assert run["peak_memory"] > MIB
        return len((tmp_path / "count").read_text())

    assert [starts(), starts()] == [1, 1]
    changes = ["made/sft/file.py", "made/reward_model/file.py", "made/prompts.jsonl", "made/evaluation.jsonl"]
    for number, name in enumerate([*changes, "rlaif/file.py", "recipes/ppo.py"], 2):
        with (tmp_path / name).open("a") as file:
            file.write("\n")
        assert [starts(), starts()] == [number, number], name
    settings.learning_rate_full *= 2  # of the other arm
    assert starts() == number
    settings.learning_rate_lora *= 2
    assert starts() == number + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 1}, "seeds is 1; expected at least 2"),
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
