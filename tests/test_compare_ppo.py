"""scripts/compare_ppo.py: what it reads off two runs, against hand-worked cases, and what it says when it cannot start.

The comparison itself needs TRL 1.12.0 in an environment of its own and is not run here.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif import sandbox
from rlaif.metrics import t_interval
from rlaif.models.loading import load_tokenizer
from rlaif.models.rendering import Rendering
from scripts import compare_ppo
from scripts.compare_ppo import CompareConfig, equal_kl, gold_at, summary, table
from scripts.trl_ppo import prompt_ids

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts/compare_ppo.py"


# ---------------------------------------------------------------------------------------------------------- numbers


def line(kls: Sequence[float], golds: Sequence[float]) -> list[dict[str, float]]:
    return [{"kl": kl, "gold_reward": gold} for kl, gold in zip(kls, golds, strict=True)]


def test_gold_reward_at_a_kl_by_hand() -> None:
    # From SFT (0, 1) to (2, 3) to (5, 3.6): at 1 halfway up the first line, at 3 a third along the second.
    path = line([0.0, 2.0, 5.0], [1.0, 3.0, 3.6])
    assert gold_at(path, 0.0) == pytest.approx(1.0)
    assert gold_at(path, 1.0) == pytest.approx(2.0)
    assert gold_at(path, 2.0) == pytest.approx(3.0)
    assert gold_at(path, 3.0) == pytest.approx(3.2)
    assert gold_at(path, 5.0) == pytest.approx(3.6)
    assert gold_at(path, 50.0) == pytest.approx(3.6)


def test_a_detour_costs_nothing() -> None:
    # (9, 2) lies below the line from (2, 3) to (7, 4): at 5 that line is read, three fifths along.
    path = line([0.0, 2.0, 9.0, 7.0], [1.0, 3.0, 2.0, 4.0])
    assert gold_at(path, 5.0) == pytest.approx(3.6)
    assert gold_at(path, 8.0) == pytest.approx(4.0)


def test_a_checkpoint_that_went_bad_does_not_undo_a_better_one() -> None:
    assert gold_at(line([0.0, 2.0, 4.0], [1.0, 3.0, 0.0]), 4.0) == pytest.approx(3.0)


@given(
    st.lists(st.tuples(st.floats(0.01, 20.0), st.floats(-5.0, 5.0)), min_size=1, max_size=6),
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3),
)
def test_gold_at_a_kl_is_the_upper_concave_envelope(points: list[tuple[float, float]], places: list[float]) -> None:
    path = line([0.0, *(kl for kl, _ in points)], [0.0, *(gold for _, gold in points)])
    end = max(point["kl"] for point in path)
    for point in path:
        assert gold_at(path, point["kl"]) >= point["gold_reward"] - 1e-9
    low, middle, high = sorted(place * end for place in places)
    golds = [gold_at(path, kl) for kl in (low, middle, high)]
    assert golds == sorted(golds)
    assert golds[-1] <= max(point["gold_reward"] for point in path) + 1e-9
    if high - low > 1e-6:
        share = (middle - low) / (high - low)
        assert golds[1] >= (1 - share) * golds[0] + share * golds[2] - 1e-9


def test_equal_kl_is_that_of_the_run_that_ends_nearer() -> None:
    assert equal_kl([line([0.0, 9.0, 5.0], [0.0] * 3), line([0.0, 2.0, 7.0], [0.0] * 3)]) == 5.0


def point(samples: int, kl: float, gold: float) -> dict[str, float]:
    return {"samples": samples, "kl": kl, "gold_reward": gold, "reward": gold, "length": 20.0, "no_eos": 0.0}


def made_up(path: list[tuple[float, float]], rate: float, memory: int) -> dict[str, Any]:
    return {
        "seed": 0,
        "samples": 100,
        "seconds": 100 / rate,
        "samples_per_second": rate,
        "peak_memory": memory,
        "weights": {"policy": 2**20, "reference": 2**20},
        "path": [point(50 * i, kl, gold) for i, (kl, gold) in enumerate([(0.0, 1.0), *path])],
    }


def both() -> dict[str, list[dict[str, Any]]]:
    return {
        # Seed 0 meets at KL 4: 3 against 1 + 2 * 4/8 = 2. Seed 1 meets at KL 2: 1 + 1 * 2/4 = 1.5 against 2.
        "rlaif": [made_up([(4.0, 3.0)], 20.0, 2**29), made_up([(4.0, 2.0)], 40.0, 2**29)],
        "trl": [made_up([(8.0, 3.0)], 10.0, 2**30), made_up([(2.0, 2.0)], 10.0, 2**30)],
    }


def test_two_trainers_are_compared_pair_by_pair() -> None:
    runs = both()
    assert equal_kl([runs["rlaif"][0]["path"], runs["trl"][0]["path"]]) == 4.0
    found = summary(runs)
    assert found["equal_kl"] == [4.0, 2.0]
    assert found["trainers"]["rlaif"]["gold_at_equal_kl"] == pytest.approx(t_interval([3.0, 1.5]))
    assert found["trainers"]["trl"]["gold_at_equal_kl"] == pytest.approx(t_interval([2.0, 2.0]))
    assert found["gold_difference"] == pytest.approx(t_interval([1.0, -0.5]))
    # Twice and four times as fast: 2.83 on the scale where 1/2 and 2 cancel.
    assert found["speed_ratio"][0] == pytest.approx(math.sqrt(8.0))
    assert found["trainers"]["trl"]["final_kl"][0] == pytest.approx(5.0)
    assert found["trainers"]["rlaif"]["samples_per_second"][0] == pytest.approx(30.0)


def test_the_table_holds_what_was_measured() -> None:
    runs = both()
    imports = {"rlaif": 300 * 2**20, "trl": 310 * 2**20}
    text = table({"settings": {"seeds": 2}, "imports": imports, "runs": runs, **summary(runs)})
    rows = [re.split("  +", line.strip()) for line in text.splitlines()]
    assert rows[1][0] == "gold reward at equal KL (3.0 nats)"
    assert ["peak memory (MiB)", "512 [512, 512]", "1024 [1024, 1024]"] in rows
    assert ["of it, imports", "300", "310"] in rows
    assert ["weights of all models (MiB)", "2.0", "2.0"] in rows
    assert "rlaif over TRL: 2.83" in text
    assert "rlaif less TRL: 0.25" in text


# ---------------------------------------------------------------------------------------------------------- commands


def test_both_trainers_are_given_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CompareConfig(trl_python=sys.executable, samples=2400, batch=100, minibatches=4, epochs=3)
    theirs = json.loads(compare_ppo.command("trl", settings, 3, Path("out"))[-1])
    words = compare_ppo.command("rlaif", settings, 3, Path("out"))
    first = words.index("--model")
    ours = dict(zip(words[first::2], words[first + 1 :: 2], strict=True))
    assert int(ours["--per_device_train_batch_size"]) * int(ours["--steps_per_generation"]) == theirs["batch"]
    # One optimizer step for every minibatch of every epoch of every rollout.
    steps = theirs["samples"] / theirs["batch"] * theirs["epochs"] * theirs["minibatches"]
    assert int(ours["--max_steps"]) == steps == 288
    assert int(ours["--save_steps"]) * theirs["checkpoints"] == steps
    for name, other in {
        "learning_rate": "learning_rate",
        "kl_coef": "kl_coef",
        "value_coef": "value_coef",
        "value_clip": "value_clip",
        "epsilon": "cliprange",
        "gamma": "gamma",
        "gae_lambda": "gae_lambda",
        "missing_eos_penalty": "missing_eos_penalty",
        "max_completion_length": "response_length",
        "seed": "seed",
    }.items():
        assert float(ours[f"--{name}"]) == theirs[other], name


def test_the_other_trainer_starts_from_the_same_tokens() -> None:
    tokenizer = load_tokenizer(sandbox.model_path("policy"))
    rendering = Rendering.of(tokenizer)
    for prompt in sandbox.prompts(20, seed=3):
        assert prompt_ids(tokenizer, prompt) == rendering.encode_prompt(tokenizer, prompt)


TRAINS = """
import json, pathlib, sys
asked = json.loads(sys.argv[2])
made = {"samples": asked["samples"], "seconds": 4.0, "weights": {"policy": 8}, "seen": sorted(asked)}
pathlib.Path(asked["output"], "report.json").write_text(json.dumps(made))
"""


def test_a_run_is_used_again_until_something_that_it_read_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "worker.py").write_text(TRAINS)
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -I -c "$(cat "$2")" x "$3"\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(compare_ppo, "WORKER", tmp_path / "worker.py")
    for name in ("sft", "reward_model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "1"}\n')

    def trained(**change: int) -> bool:
        settings = CompareConfig(trl_python=str(tmp_path / "python"), runs=str(tmp_path), **change)  # type: ignore[arg-type]
        run = compare_ppo.train("trl", settings, 0, tmp_path / "out")
        assert (run["samples_per_second"], run["weights"]) == (settings.samples / 4.0, {"policy": 8})
        assert run["peak_memory"] > 2**20
        return "training" in capsys.readouterr().out

    assert trained()
    assert not trained()
    # How many seeds there are, and prompts to evaluate on, says nothing about one run.
    assert not trained(seeds=7, prompts=20)
    assert trained(samples=4000)
    for name in ("reward_model/config.json", "sft/config.json", "prompts.jsonl", "worker.py"):
        (tmp_path / name).write_text((tmp_path / name).read_text() + " ")
        assert trained(samples=4000), name
        assert not trained(samples=4000), name


def run_script(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr.strip()


def test_without_a_python_it_says_how_to_make_one() -> None:
    status, error = run_script()
    assert status == 1
    assert error.splitlines()[-1].startswith("error: trl_python is None, which is no program;")
    assert "pip install trl==1.12.0" in error


def test_another_trl_is_refused(tmp_path: Path) -> None:
    status, error = run_script("--trl_python", sys.executable, "--output", str(tmp_path / "out"))
    assert status == 1
    assert "expected trl 1.12.0" in error
    assert "pip install trl==1.12.0" in error
    assert not (tmp_path / "out").exists()


def stand_in(folder: Path) -> str:
    """A program that says it has TRL 1.12.0."""
    path = folder / "python"
    path.write_text("#!/bin/sh\necho 1.12.0\n")
    path.chmod(0o755)
    return str(path)


def test_a_quickstart_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "sft").mkdir()
    settings = CompareConfig(trl_python=stand_in(tmp_path), runs=str(tmp_path))
    with pytest.raises(ValueError, match=r"has no reward_model; expected what scripts/quickstart\.sh writes"):
        compare_ppo.check(settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"seeds": 1}, "seeds is 1; expected at least 2"),
        ({"batch": 100, "minibatches": 3}, r"batch is 100; expected a multiple of minibatches \(3\)"),
        ({"samples": 1000}, r"samples is 1000; expected a multiple of batch \* checkpoints \(400\)"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(settings: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CompareConfig(**settings)  # type: ignore[arg-type]
