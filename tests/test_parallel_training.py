"""Two processes on the CPU learn what one does: the same global batches, the same losses.

Of `accelerate launch` itself see test_finite.py.
"""

import json
import runpy
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from support import byte_tokenizer, forks, save_model, tiny_llama

ROOT = Path(__file__).parent.parent
PROGRAMS = ["reward_models/bradley_terry.py", "recipes/dpo.py", "recipes/sft.py"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    save_model(folder / "model", tiny_llama(), byte_tokenizer(chat=True))
    rng = np.random.default_rng(0)
    texts = ["yes", "surely, and gladly", "no", "never in my life", "perhaps"]
    (folder / "preferences/data").mkdir(parents=True)
    for split, n in (("train", 16), ("test", 7)):
        rows = [
            {"prompt": f"Question {i}?", "chosen": str(a), "rejected": str(b), "z": float(rng.uniform(0.5, 1))}
            for i, (a, b) in enumerate(rng.choice(texts, 2, replace=False) for _ in range(n))
        ]
        datasets.Dataset.from_list(rows).to_parquet(folder / f"preferences/data/{split}-00000-of-00001.parquet")
    return folder


@pytest.mark.parametrize("program", PROGRAMS)
def test_two_processes_log_the_losses_of_one(program, inputs, tmp_path, monkeypatch):
    def words(processes):
        settings = {
            "model": inputs / "model",
            "dataset": inputs / "preferences",
            "output_dir": tmp_path / str(processes),
            "per_device_train_batch_size": 8 // processes,  # the global batch stays 8
            "max_steps": 4,
            "learning_rate": 0.003,
            "logging_steps": 1,
            "save_strategy": "no",
            "disable_tqdm": True,
            "eval_strategy": "steps",
            "eval_steps": 2,
            # Seven rows in batches of two in two processes: one row is there twice, to fill up the last batch.
            "per_device_eval_batch_size": 2 if processes == 2 else 64,
        }
        if program.endswith("sft.py"):
            settings |= {"test_split": "test"}
        if program.endswith("dpo.py"):
            settings |= {"precompute_ref_log_probs": True}
        return [str(word) for name, value in settings.items() for word in (f"--{name}", value)]

    forks.imports(*forks.TRAINING)
    two = forks.side_by_side(*words(2), program=str(ROOT / program), folder=ROOT)
    assert [process.returncode for process in two] == [0, 0], two[0].stderr
    assert sum(process.stdout.count("trained on 16 ") for process in two) == 1  # one process reports
    monkeypatch.setattr(sys, "argv", [program, *words(1)])
    runpy.run_path(str(ROOT / program), run_name="program")["main"]()

    reports = [json.loads((tmp_path / str(n) / "report.json").read_text()) for n in (1, 2)]
    assert [report["train"]["processes"] for report in reports] == [1, 2]
    logs = [json.loads((tmp_path / str(n) / "trainer_state.json").read_text())["log_history"] for n in (1, 2)]
    losses = [[row["loss"] for row in log if "loss" in row] for log in logs]
    assert len(losses[0]) == 4
    assert max(losses[0]) - min(losses[0]) > 1e-3  # something was learned, so equality says something
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5, rtol=0)
    # What is measured is over rows: no row counts twice, and no batch more than its rows.
    evaluations = [[row for row in log if "eval_loss" in row] for log in logs]
    assert [len(rows) for rows in evaluations] == [len(evaluations[0])] * 2
    timing = {"eval_runtime", "eval_samples_per_second", "eval_steps_per_second"}
    for one, other in zip(*evaluations, strict=True):
        assert {name for name in one if name.startswith("eval_")} >= timing | {"eval_loss"}
        assert one.keys() == other.keys()
        assert [one[name] for name in one if name not in timing] == pytest.approx(
            [other[name] for name in one if name not in timing], abs=1e-5
        )
    held_out = [report["held_out"] for report in reports]
    assert numbers(held_out[0]) == pytest.approx(numbers(held_out[1]), rel=1e-5, abs=1e-5)
    assert len(numbers(held_out[0])) > 5


def numbers(report):
    """All numbers of a report, by the way to them."""
    if isinstance(report, dict):
        report = [(name, value) for name, value in report.items()]
        return {f"{name}.{way}": n for name, value in report for way, n in numbers(value).items()}
    if isinstance(report, list):
        return {f"{i}.{way}": n for i, value in enumerate(report) for way, n in numbers(value).items()}
    return {"": report} if isinstance(report, int | float) else {}
