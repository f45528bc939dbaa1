"""recipes/ablations/compare_*.yaml: arms differ in what is compared, and in nothing else.

The comparisons themselves, of which one needs TRL 1.12.0 in an environment of its own, are not run here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import ROOT

from rlaif import config, sandbox
from rlaif.ablations.stages import _overridden
from rlaif.ablations.study import load_study, read_yaml
from rlaif.models.loading import load_tokenizer
from rlaif.models.rendering import Rendering
from rlaif.training.models import ModelConfig
from rlaif.training.ppo.config import PPOConfig
from scripts.trl_ppo import Settings, parse, prompt_ids


def arms(name: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The settings of the stage `ppo` in each cell."""
    monkeypatch.chdir(ROOT)
    path = Path(f"recipes/ablations/{name}.yaml")
    content = {key: value for key, value in read_yaml(path).items() if key not in ("threads", "jobs")}
    study = load_study(content, path)
    return [dict(_overridden(study.stages, cell)["ppo"].settings) for cell in study.cells]


def parsed(settings: dict[str, Any], folder: Path) -> Any:
    known = {f.name for kind in (ModelConfig, PPOConfig) for f in kind.__dataclass_fields__.values()}
    own = {name: value for name, value in settings.items() if name in known} | {"model": "m", "seed": 0}
    words = [word for name, value in own.items() for word in (f"--{name}", str(value))]
    return config.parse(ModelConfig, PPOConfig, args=[*words, "--use_cpu", "true", "--output_dir", str(folder)])


def test_both_trainers_are_given_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head, full, there = arms("compare_ppo", monkeypatch)
    assert {name for name in head if head[name] != full[name]} == {"critic", "critic_learning_rate"}
    theirs = Settings(**there, output="out")
    _, ours = parsed(full, tmp_path)
    assert ours.per_device_train_batch_size * ours.steps_per_generation == ours.generation_batch_size == theirs.batch
    # One optimizer step for every minibatch of every epoch of every rollout.
    steps = theirs.samples // theirs.batch * theirs.epochs * theirs.minibatches
    assert (ours.steps_per_rollout, ours.max_steps) == (theirs.epochs * theirs.minibatches, steps) == (16, 320)
    assert ours.save_steps * theirs.checkpoints == steps
    same = ("learning_rate", "kl_coef", "value_coef", "value_clip", "gamma", "gae_lambda", "missing_eos_penalty")
    for name in same:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert (ours.epsilon, ours.max_completion_length) == (theirs.cliprange, theirs.response_length)
    assert (head["critic_learning_rate"], full["critic_learning_rate"]) == (10 * ours.learning_rate, ours.learning_rate)


def test_the_other_trainer_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--config", "settings.yaml"]) == "settings.yaml"
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    assert "  reward_model: str\n" in (said := capsys.readouterr().out)
    assert "  samples: int = 2000\n" in said


def test_the_other_trainer_starts_from_the_same_tokens() -> None:
    tokenizer = load_tokenizer(sandbox.model_path("policy"))
    rendering = Rendering.of(tokenizer)
    for prompt in sandbox.prompts(20, seed=3):
        assert prompt_ids(tokenizer, prompt) == rendering.encode_prompt(tokenizer, prompt)


def test_four_models_and_one_backbone_are_asked_for_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    four, one = arms("compare_roles", monkeypatch)
    assert {name for name in four if four[name] != one[name]} == {"lora", "share_backbone", "critic", "learning_rate"}
    for settings, lora in ((four, False), (one, True)):
        model, args = parsed(settings, tmp_path)
        assert (model.lora, args.share_backbone) == (lora, lora)
        # 512 responses are four rollouts of 128, each learned from in four epochs of four steps.
        assert (args.generation_batch_size, args.steps_per_rollout, args.max_steps) == (128, 16, 64)
