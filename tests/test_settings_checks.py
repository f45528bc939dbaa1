"""A number that a setting cannot have is refused by name, wherever it is given and whichever library has named it."""

from __future__ import annotations

import ast
import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from support import ROOT

from rlaif.commands.evaluate import EvaluateConfig
from rlaif.commands.sample import SampleConfig
from rlaif.config import UsageError, parse
from rlaif.judging.values import _NUMBERS, _WHOLE
from rlaif.settings_checks import _RANGES, check_number, check_settings
from rlaif.training.models import ModelConfig
from rlaif.training.ppo.config import PPOConfig
from rlaif.training.trainers import CompletionConfig, SoftDPOConfig, SoftRewardConfig

TRAINING = {"sft": CompletionConfig, "dpo": SoftDPOConfig, "reward": SoftRewardConfig, "ppo": PPOConfig}
FOLDERS = ("rlaif", "recipes", "reward_models", "scripts")
JUDGES = {*_WHOLE, *_NUMBERS}  # held to what they can be where a model is asked, in a judge's YAML file too
OF_MODELS = ("JudgeConfig", "JudgeSettings", "ModelSettings", "SampleConfig")
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
        ("sft", ["--ddp_bucket_cap_mb", "-5"], "ddp_bucket_cap_mb is -5; expected at least 1."),
        ("reward", ["--local_rank", "-5"], "local_rank is -5; expected 0 or more."),
        ("dpo", ["--ref_model_sync_steps", "-5"], "ref_model_sync_steps is -5; expected at least 1."),
        ("ppo", ["--vllm_max_model_length", "-5"], "vllm_max_model_length is -5; expected at least 1."),
        ("ppo", ["--num_completions_to_print", "-5"], "num_completions_to_print is -5; expected 0 or more."),
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


# Numbers that have no range of their own, and why.
FREE = {
    "max_steps": "at least 1, or -1: a rule of its own",
    "reward_weights": "a reward may be what is to be avoided",
}


def numbers_of_programs() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Every setting of every command and program that is a number: its class, its name, and what the class refuses."""
    for kind in (ModelConfig, *TRAINING.values()):
        hints = get_type_hints(kind)  # a field's own type is another once a command line was read
        for field in dataclasses.fields(kind):
            if field.init and re.search(r"\b(int|float)\b", str(hints[field.name])):
                yield kind.__name__, field.name, frozenset(getattr(kind, "refused", {}))
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name.endswith(("Config", "Settings")):
                for line in node.body:
                    if isinstance(line, ast.AnnAssign) and re.search(r"\b(int|float)\b", ast.unparse(line.annotation)):
                        yield node.name, ast.unparse(line.target), frozenset()


def test_every_number_has_a_range_and_every_range_a_setting() -> None:
    """A bucket of -5 MB, a local rank of -5 and a reference model that is synced every -5 steps were taken."""
    found = set()
    for kind, name, refused in numbers_of_programs():
        found.add(name)
        ranged = name in _RANGES or (kind in OF_MODELS and name in JUDGES)
        assert ranged or name in refused or name in FREE, (kind, name)
    assert sorted(set(_RANGES) - found) == []
    assert sorted(set(FREE) - found) == []


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
