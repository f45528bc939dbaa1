"""A run that diverges ends in one line, and leaves no model."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support import save_model, tiny_llama
from support.bad import run_here
from support.programs import ROOT, rlaif_env
from support.tokenizers import byte_tokenizer

from rlaif.models.weights import not_finite

PREFERENCES = ["--dataset", "@dataset", "--train_split", "train"]
PROGRAMS: dict[str, list[str]] = {
    "recipes/sft.py": PREFERENCES,
    "recipes/dpo.py": [*PREFERENCES, "--test_split", "none", "--beta", "0.1"],
    "reward_models/bradley_terry.py": [*PREFERENCES, "--test_split", "none"],
    "recipes/ppo.py": [
        *("--prompts", "@prompts.jsonl", "--rewards", "function=rlaif.sandbox:gold_reward", "--num_iterations", "1"),
        *("--max_completion_length", "4", "--critic", "none"),
    ],
}
QUICK = ["--output_dir", "out", "--per_device_train_batch_size", "2", "--report_to", "none", "--use_cpu", "true"]
QUICK += ["--lr_scheduler_type", "constant", "--warmup_steps", "0", "--save_strategy", "no"]


def run(program: str, world: Path, folder: Path, *more: str) -> int:
    words = [word.replace("@", f"{world}/") for word in PROGRAMS[program]]
    return run_here([str(ROOT / program), "--model", f"{world}/model", *words, *QUICK, *more], folder)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("rate", "steps", "line"),
    [
        (
            "1e30",
            "3",
            r"(the loss is|the policy's probabilities are) .* in step [23] of 3; expected (a )?finite number",
        ),
        ("3e39", "1", r"after step 1 of 1 NaN or infinity is in .*(weight|model).*; expected finite numbers"),
    ],
)
def test_a_run_that_diverges_fails_and_leaves_no_model(
    program: str, rate: str, steps: str, line: str, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status = run(program, world, tmp_path, "--learning_rate", rate, "--max_steps", steps)
    said = capfd.readouterr().err
    (error,) = [row for row in said.splitlines() if row.startswith("error: ")]
    assert status == 1
    assert re.search(line, error), error
    assert f"lower learning_rate ({float(rate):g})" in error
    assert not list((tmp_path / "out").glob("*.safetensors"))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_checkpoint_of_weights_that_are_nan_is_not_saved(
    world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--learning_rate", "3e39", "--max_steps", "2", "--save_strategy", "steps", "--save_steps", "1"]
    assert run("recipes/sft.py", world, tmp_path, *words) == 1
    assert "after step 1 of 2 NaN or infinity is in" in capfd.readouterr().err
    assert not list(tmp_path.glob("out/checkpoint-*"))


def test_processes_that_share_the_weights_fail_together(world: Path, tmp_path: Path) -> None:
    """FSDP2: each holds a shard, and looks at that alone."""
    launch = (ROOT / "recipes/accelerate/fsdp2.yaml").read_text(encoding="utf-8")
    for old, new in (("processes: 8", "processes: 2"), ("use_cpu: false", "use_cpu: true"), ("bf16", '"no"')):
        assert old in launch
        launch = launch.replace(old, new)
    (tmp_path / "launch.yaml").write_text(launch, encoding="utf-8")
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "launch.yaml"]
    words = [word.replace("@", f"{world}/") for word in PROGRAMS["recipes/sft.py"]]
    words += ["--model", f"{world}/model", *QUICK, "--learning_rate", "3e39", "--max_steps", "1"]
    done = subprocess.run(
        [*launcher, "--main_process_port", "0", str(ROOT / "recipes/sft.py"), *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=rlaif_env(),
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "after step 1 of 1 NaN or infinity is in" in errors[0]
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_what_is_not_finite_is_found_and_large_numbers_are_not(value: float, dtype: Any) -> None:
    model = tiny_llama().to(dtype)
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.finfo(dtype).max)  # whose sum is infinite
    assert not_finite(model) == []
    with torch.no_grad():
        model.model.norm.weight[3] = value
        model.lm_head.weight[0, 0] = value
    assert not_finite(model) == ["model.norm.weight", "lm_head.weight"]


def test_a_model_that_is_not_finite_is_not_published(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.lm_head.weight[0, 0] = float("nan")
    save_model(tmp_path / "policy", model, byte_tokenizer(chat=True))
    words = ["--policy", "policy", "--output", "public", "--license", "apache-2.0"]
    assert run_here(["rlaif", "publish", *words], tmp_path) == 1
    assert "lm_head.weight in policy has weights that are NaN or infinite" in capfd.readouterr().err
    assert not [path for path in (tmp_path / "public").glob("*") if not path.name.startswith(".")]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_response_is_not_drawn_of_nan(temperature: float, chat_model: Path) -> None:
    """What overflows has no answer, and its neighbours have their own."""
    from rlaif.judging.sampling import Sampling, complete, local_policy
    from rlaif.models.local import LocalModel

    policy = local_policy(str(chat_model))
    assert isinstance(policy, LocalModel)
    sampling = Sampling(policy, 1, 8, temperature=temperature)
    prompts = ["What is two?", "The longest stands first in a batch, what is three?", "And three?"]
    ((first,), _, (last,)) = complete(sampling, prompts, None, "sampling")
    broken_row = policy.model.lm_head.register_forward_hook(
        lambda module, inputs, logits: logits.index_fill(0, torch.tensor([0]), float("nan"))
    )
    ((again,), (broken,), (other,)) = complete(sampling, prompts, None, "sampling")
    broken_row.remove()
    assert (first.text, last.text) == (again.text, other.text)
    assert broken.text is None
    assert "the model's logits are NaN or infinite" in str(broken.reason)


def test_a_policy_that_gives_nan_alone_forms_no_pair(
    world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.lm_head.weight.fill_(3e38)  # a number, whose products are none
    save_model(tmp_path / "policy", model, byte_tokenizer(chat=True))
    words = ["--prompts", f"{world}/prompts.jsonl", "--policy", "policy", "--output", "out", "--max_new_tokens", "8"]
    assert run_here(["rlaif", "sample", *words, "--limit", "4"], tmp_path) == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "the model's logits are NaN or infinite" in error
