"""A number that a setting cannot have is refused by name, wherever it is given and whichever library has named it."""

from __future__ import annotations

import ast
import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import pytest
from support import ROOT

from rlaif.commands.evaluate import EvaluateConfig
from rlaif.commands.sample import SampleConfig
from rlaif.config import UsageError, parse
from rlaif.settings_checks import _RANGES, check_number, check_settings
from rlaif.training.models import ModelConfig
from rlaif.training.ppo.config import PPOConfig
from rlaif.training.trainers import CompletionConfig, SoftDPOConfig, SoftRewardConfig

TRAINING = {"sft": CompletionConfig, "dpo": SoftDPOConfig, "reward": SoftRewardConfig, "ppo": PPOConfig}
FOLDERS = ("rlaif", "recipes", "reward_models", "scripts")
START = ["--model", "m", "--output_dir", "out"]
ROBUST = ["--preference_loss", "hard", "--loss_type", "robust", "--label_smoothing"]


def floats(*kinds: Any) -> list[str]:
    """The settings that are numbers with a point."""
    return [
        field.name
        for kind in kinds
        for field in dataclasses.fields(kind)
        if field.init and (field.type is float or "float" in str(field.type))
    ]


@pytest.mark.parametrize("program", TRAINING)
def test_no_number_of_a_training_program_is_nan(program: str, tmp_path: Path) -> None:
    """All of TRL's and transformers' own are among them: in a YAML file, where `.nan` is a number."""
    names = floats(ModelConfig, TRAINING[program])
    assert {"learning_rate", "weight_decay", "adam_epsilon", "num_train_epochs", "max_grad_norm"} <= set(names)
    path = tmp_path / "bad.yaml"
    for name in names[:: 1 if program == "ppo" else 6]:
        path.write_text(f"{name}: [.nan]\n" if "weights" in name else f"{name}: .nan\n")
        with pytest.raises(UsageError, match=rf"^{name} is nan; expected"):
            parse(ModelConfig, TRAINING[program], args=[*START, "--config", str(path)])


@pytest.mark.parametrize(
    ("program", "words", "line"),
    [
        ("sft", ["--learning_rate", "0"], "learning_rate is 0.0; expected a number above 0."),
        ("sft", ["--learning_rate=-1e-5"], "learning_rate is -1e-05; expected a number above 0."),
        ("sft", ["--learning_rate", "inf"], "learning_rate is inf; expected a number above 0."),
        ("sft", ["--num_train_epochs", "0"], "num_train_epochs is 0.0; expected a number above 0."),
        ("sft", ["--max_steps", "0"], "max_steps is 0; expected at least 1, or -1 for all of num_train_epochs."),
        ("sft", ["--seed", "-1"], "seed is -1; expected a whole number from 0 to 4,294,967,295."),
        ("sft", ["--seed", "4294967296"], "seed is 4294967296; expected a whole number from 0 to 4,294,967,295."),
        ("sft", ["--seed", "9" * 40], "seed is a whole number of more than 18 digits"),
        ("sft", ["--lora_r", "0"], "lora_r is 0; expected at least 1."),
        ("sft", ["--lora_alpha", "-4"], "lora_alpha is -4; expected a number above 0."),
        ("sft", ["--per_device_train_batch_size", "0"], "per_device_train_batch_size is 0; expected at least 1."),
        ("sft", ["--max_length", "99999999999"], "max_length is 99,999,999,999; expected at most 2,147,483,647."),
        ("sft", ["--warmup_steps", "-3"], "warmup_steps is -3.0; expected 0 or more."),
        ("sft", ["--adam_beta2", "1"], "adam_beta2 is 1.0; expected a number in [0, 1)."),
        ("sft", ["--lr_scheduler_kwargs", '{"a": NaN}'], "lr_scheduler_kwargs: a is nan; expected a number."),
        ("sft", ["--logging_nan_inf_filter", "true"], "logging_nan_inf_filter is"),
        ("dpo", ["--beta", "-0.1"], "beta is -0.1; expected a number above 0."),
        ("dpo", ["--beta", "0"], "beta is 0.0; expected a number above 0."),
        ("dpo", ["--loss_weights", "nan"], "loss_weights is nan; expected numbers."),
        ("dpo", ["--loss_weights", "1", "-1"], "loss_weights is -1.0; expected 0 or more."),
        ("dpo", [*ROBUST, "0.5"], "label_smoothing is 0.5; expected a share of wrong labels in [0, 0.5)."),
        ("dpo", [*ROBUST, "-0.3"], "label_smoothing is -0.3; expected a share of wrong labels in [0, 0.5)."),
        ("dpo", ["--f_alpha_divergence_coef", "-1"], "f_alpha_divergence_coef is -1.0; expected 0 or more."),
        ("reward", ["--center_rewards_coefficient", "-1"], "center_rewards_coefficient is -1.0; expected 0 or more."),
        ("ppo", ["--kl_coef", "-1"], "kl_coef is -1.0; expected 0 or more."),
        ("ppo", ["--entropy_coef", "-1"], "entropy_coef is -1.0; expected 0 or more."),
        ("ppo", ["--top_p", "0"], "top_p is 0.0; expected a number in (0, 1]."),
        ("ppo", ["--temperature", "nan"], "temperature is nan; expected at least 0."),
        ("ppo", ["--gamma", "1.5"], "gamma is 1.5; expected a number in [0, 1]."),
        ("ppo", ["--reward_weights", "1", "inf"], "reward_weights is inf; expected numbers."),
        ("ppo", ["--generation_kwargs", '{"x": Infinity}'], "generation_kwargs: x is inf; expected a number."),
    ],
)
def test_what_is_out_of_range_is_said(program: str, words: list[str], line: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(ModelConfig, TRAINING[program], args=[*START, *words])
    assert str(error.value).startswith(line), str(error.value)


def test_every_coefficient_and_rate_has_a_range_and_every_range_a_setting() -> None:
    for kind in (ModelConfig, *TRAINING.values()):
        for name in floats(kind):
            if re.search(
                r"coef|smoothing|_rate|temperature|beta|alpha|gamma|lambda|_lam|decay|epsilon|clip(_m..)?$", name
            ):
                assert name in _RANGES or name in getattr(kind, "refused", {}), name
    ours = {field.name for kind in (ModelConfig, *TRAINING.values()) for field in dataclasses.fields(kind)}
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for kind in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(kind, ast.ClassDef) and kind.name.endswith(("Config", "Settings")):
                ours |= {node.target.id for node in kind.body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
    assert not _RANGES.keys() - ours


@pytest.mark.parametrize("kind", [SampleConfig, EvaluateConfig])
def test_nor_of_a_command(kind: Any) -> None:
    for name in floats(kind):
        for value in ("nan", "inf", "-inf"):
            with pytest.raises(UsageError, match=rf"^{name} is -?(nan|inf); expected"):
                parse(kind, args=[f"--{name}={value}"])


def test_defaults_are_right_and_so_is_everything_that_configs_of_ours_hold() -> None:
    for kind in TRAINING.values():
        parse(ModelConfig, kind, args=START)
    _, args = parse(ModelConfig, PPOConfig, args=[*START, "--beta", "0.0"])  # PPO's own default, out of DPO's range
    assert args.beta == 0.0


def test_what_is_no_number_is_let_through() -> None:
    check_settings({"learning_rate": None, "beta": True, "top_p": "a text", "seed": [1, 2], "lora_r": {"a": "b"}})
    check_number("anything", -1e300)
    check_number("anything", 2**31 - 1)
    for value in (math.nan, math.inf, 2**31, -(2**31), 10**5000, [1.0, [math.nan]], {"a": {"b": math.inf}}):
        with pytest.raises(ValueError, match=r"^anything.* is .*; expected"):
            check_number("anything", value)
