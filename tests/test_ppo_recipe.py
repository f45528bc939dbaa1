"""recipes/ppo.py as its users start it: what it writes, a kill and a resume, one process and two, bad input."""

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support import (
    ROOT,
    byte_tokenizer,
    fixed_rollouts,
    forks,
    here,
    rlaif_env,
    rows_of,
    save_model,
    tiny_llama,
    write_rows,
)
from support.tokenizer_kinds import TEMPLATES
from transformers import AutoModelForCausalLM, LlamaForSequenceClassification

from rlaif import config
from rlaif.models.loading import load_tokenizer, quiet
from rlaif.models.rendering import Rendering
from rlaif.models.reward_model import RewardModelCard

PPO = ROOT / "recipes/ppo.py"
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
ME = "test_ppo_recipe"

# A rollout is 4 responses, learned from in 2 epochs of 2 optimizer steps: 4 steps. 12 prompts are 3 rollouts an epoch.
SETTINGS = {
    "max_completion_length": 6,
    "per_device_train_batch_size": 2,
    "per_device_eval_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 2,
    "num_iterations": 2,
    "max_steps": 4,
    "learning_rate": 0.003,
    "lr_scheduler_type": "linear",
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
}


# ------------------------------------------------------------------------------------------- rewards that are asked for


def letters(prompt, response):
    """How many of the characters are letters."""
    return float(sum(character.isalpha() for character in response))


def rates(prompt, response):
    """A judge that knows only 0 and 9."""
    return 9.0 if letters(prompt, response) > 2 else 0.0


ASKED = []


def equal(prompts, completions, **columns):
    """The same for all, and whose response each was is kept."""
    ASKED.extend(prompts)
    return [0.0] * len(completions)


def nan(prompt, response):
    return float("nan")


def too_few(prompts, completions, **columns):
    return [1.0] * (len(completions) - 1)


def dies(prompts, completions, **columns):
    """`letters`, until there is a checkpoint at the path in DIES_AFTER: then its process is killed as by `kill -9`."""
    if (Path(os.environ["DIES_AFTER"]) / "trainer_state.json").is_file():
        os.kill(os.getpid(), signal.SIGKILL)
    return [letters(*row) for row in zip(prompts, completions, strict=True)]


# --------------------------------------------------------------------------------------------------------------- inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A policy that reads 256 tokens, a reward model in full and one that is an adapter on the policy, prompts."""
    from peft import get_peft_model

    from rlaif.training.models import ModelConfig, lora

    folder = tmp_path_factory.mktemp("inputs")
    save_model(folder / "policy", tiny_llama(context=256), byte_tokenizer(chat=True))
    shape = tiny_llama(context=256).config
    shape.num_labels = 1
    with quiet():
        torch.manual_seed(1)
        save_model(folder / "reward_model", LlamaForSequenceClassification(shape), byte_tokenizer(chat=True))
        base = LlamaForSequenceClassification.from_pretrained(folder / "policy", num_labels=1)
        adapter = lora(ModelConfig(model="x", lora=True), ["score"])
        adapter.init_lora_weights = False  # else B = 0, and the adapter changes nothing
        model = get_peft_model(base, adapter)
        model.peft_config["default"].base_model_name_or_path = str(folder / "policy")
        save_model(folder / "reward_adapter", model, byte_tokenizer(chat=True))
    rendering = Rendering.of(load_tokenizer(folder / "policy")).row()
    for name in ("reward_model", "reward_adapter"):
        RewardModelCard(rendering=rendering, max_length=256, base_model="policy", zero=0.25).write(folder / name)
    write_rows(folder / "prompts.jsonl", [{"prompt": f"Question {i}: why?"} for i in range(12)])
    asked = [[{"role": "user", "content": f"Question {i}: why?"}] for i in range(12)]
    write_rows(folder / "as_messages.jsonl", [{"prompt": prompt} for prompt in asked])
    write_rows(folder / "held_out.jsonl", [{"prompt": f"Riddle {i}: who?"} for i in range(5)])
    (folder / "judge.yaml").write_text(f"judge: scripted\njudge_model: {ME}:rates\n")
    return folder


def words_of(settings):
    """The command line that says `settings`; a list becomes several words."""
    return [
        word
        for name, value in settings.items()
        for word in (f"--{name}", *map(str, value if isinstance(value, list) else [value]))
    ]


def launched(settings):
    """The program as accelerate launches it."""
    return subprocess.run(
        [*LAUNCH, "recipes/accelerate/cpu.yaml", str(PPO), *words_of(settings)],
        capture_output=True,
        text=True,
        env=rlaif_env(),
        cwd=ROOT,
        timeout=240,
    )


def ran(settings, monkeypatch, capsys):
    """The program in this process; what it printed."""
    monkeypatch.setattr(sys, "argv", [str(PPO), *words_of(settings)])
    runpy.run_path(str(PPO), run_name="program")["main"]()
    return capsys.readouterr().out


def log_of(folder):
    """What a run logged at its steps and checks, without how long it took."""
    log = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [
        {name: value for name, value in row.items() if name != "step_time"} for row in log if "train_runtime" not in row
    ]


# --------------------------------------------------------------------------------------------------------------- writes


def test_it_writes_a_policy_that_answers_and_what_it_did(inputs, tmp_path):
    """A judge and a function summed, messages as prompts, watched on held-out prompts, through `accelerate launch`."""
    asked = [[{"role": "user", "content": f"Question {i}?"}] for i in range(8)]
    prompts = write_rows(
        tmp_path / "prompts.jsonl",
        [{"prompt": p} for p in [*asked, [{"role": "user", "content": "word " * 60}]]],
    )
    other = [[{"role": "user", "content": f"Riddle {i}?"}] for i in range(5)]
    held_out = write_rows(tmp_path / "held_out.jsonl", [{"prompt": p} for p in other])
    out = tmp_path / "out"
    settings = SETTINGS | {
        "model": inputs / "policy",
        "prompts": prompts,
        "rewards": [f"rating={inputs / 'judge.yaml'}", f"function={ME}:letters"],
        "reward_weights": [0.5, -2.0],
        "held_out": held_out,
        "held_out_limit": 4,
        "watch": [f"function={ME}:letters"],
        "output_dir": out,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "max_steps": 8,
    }
    done = launched(settings)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.strip()] == []  # no library speaks to the user
    assert "prompts: left out 1 of 9 rows, longer than" in done.stdout
    assert "8 responses, 8 steps; " in done.stdout
    assert f"wrote {out} in " in done.stdout

    report = json.loads((out / "report.json").read_text())
    train = report["train"]
    assert report["ledger"] == {"read": 14, "used": 12, "left_out": {"too long": 1, "beyond limit": 1}}
    assert {k: train[k] for k in ("prompts", "too_long", "samples", "steps", "processes")} == {
        "prompts": 8, "too_long": 1, "samples": 8, "steps": 8, "processes": 1
    }  # fmt: skip
    assert train["unscored"] == {"rating": {}, "letters": {}}
    assert list(train["read"]) == ["rating"]
    assert list(train["read"]["rating"]["methods"]) == ["function"]
    assert train["seconds"] > 0
    assert report["seconds"] > train["seconds"]
    assert train["peak_memory"] > 50 * 2**20
    parameters = sum(weight.numel() for weight in tiny_llama().parameters())
    assert train["weights"] == {"policy": 4 * parameters, "reference": 4 * parameters, "critic": 4 * 33, "reward": 0}

    rewards = [row for row in log_of(out) if "reward/rating" in row]
    assert len(rewards) == 2  # rollouts
    for row in rewards:
        assert row["reward"] == pytest.approx(0.5 * row["reward/rating"] - 2.0 * row["reward/letters"], abs=1e-5)
        assert row["unscored"] == 0.0
    last = train["last_rollout"]
    assert (last["responses"], last["unscored"], last["drawn"]["over"]) == (4, 0, None)
    assert last["reward"] == pytest.approx(rewards[-1]["reward"], abs=1e-5)  # one rollout a row of the log
    assert all(np.isfinite(last[name]) for name in ("reward", "kl", "length", "no_eos"))
    assert last["reward_low"] is None  # of four prompts
    assert len([row for file in (out / "replies").iterdir() for row in rows_of(file)]) > 0

    checks = rows_of(out / "checks.jsonl")
    assert [(check["step"], check["samples"]) for check in checks] == [(0, 0), (4, 4), (8, 8)]
    summary = report["over_optimization"]
    assert (summary["prompts"], len(summary["checks"])) == (4, 3)
    assert summary["checks"][0]["kl"] == pytest.approx(0.0, abs=1e-5)
    assert list(summary["marked"]) == ["letters"]
    assert (out / "over_optimization.png").read_bytes().startswith(b"\x89PNG")
    assert "# Watching for over-optimization" in (out / "report.md").read_text()

    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["config"]["reward_weights"] == [0.5, -2.0]
    assert manifest["config"]["kl_coef"] == 0.05

    before, after = (AutoModelForCausalLM.from_pretrained(p) for p in (inputs / "policy", out))
    assert set(before.state_dict()) == set(after.state_dict())  # no critic
    assert not torch.equal(before.model.embed_tokens.weight, after.model.embed_tokens.weight)
    tokenizer = load_tokenizer(out)
    ids = torch.tensor([Rendering.of(tokenizer).encode_prompt(tokenizer, asked[0])])
    assert after.generate(ids, max_new_tokens=3, do_sample=False).shape[1] > ids.shape[1]


def test_a_watched_reward_model_is_said_as_one_that_is_learned_from(good, inputs, tmp_path, monkeypatch, capsys):
    """One without rlaif.json, whose template knows no system turn: before training, in the report, in the manifest."""
    foreign = shutil.copytree(inputs / "reward_model", tmp_path / "foreign")
    (foreign / "rlaif.json").unlink()
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = TEMPLATES["no_system"].replace("<|end|>", "</s>")
    tokenizer.save_pretrained(foreign)
    turns = [{"role": "user", "content": "Who?"}]
    rows = [{"prompt": turns}, {"prompt": [{"role": "system", "content": "Be kind."}, *turns]}]
    held_out = write_rows(tmp_path / "held_out.jsonl", rows)
    watch = f"reward_model={foreign}"
    watched = {"held_out": held_out, "watch": watch, "eval_strategy": "steps", "eval_steps": 4}
    watched["rewards"] = [good["rewards"], watch]  # one that is learned from scores what is held out too
    monkeypatch.setattr(sys, "argv", [str(PPO), *words_of(good | watched)])
    runpy.run_path(str(PPO), run_name="program")["main"]()
    said = capsys.readouterr().err
    assert f"1 of 2 prompts cannot be scored by {watch}; the first, {held_out}:2: the chat template leaves out" in said
    assumed = [f"{watch}: the rendering is assumed to be {RewardModelCard.read(foreign).assumed}"]
    assert said.count(f"warning: {assumed[0]}\n") == said.count("cannot be scored by") == 1
    assert json.loads((good["output_dir"] / "report.json").read_text())["train"]["rendering_assumed"] == assumed
    inputs = json.loads((good["output_dir"] / "manifest.json").read_text())["inputs"]
    assert {str(foreign), str(held_out)} < inputs.keys()


# --------------------------------------------------------------------------------------------------------------- resume

RESUMED = {
    # Killed within the first epoch of three rollouts: the resumed run goes on into the second and the third.
    "full": {
        "critic": "separate",
        "rewards": ["reward_model={inputs}/reward_model", "function=test_ppo_recipe:dies"],
        "kl_target": 0.2,
        "normalize_reward": True,
        "save_steps": 8,
        "max_steps": 28,
    },
    # Killed within the second epoch; the reward model is an adapter on the policy's weights.
    "lora": {
        "lora": True,
        "share_backbone": True,
        "rewards": ["reward_model={inputs}/reward_adapter", "function=test_ppo_recipe:dies"],
        "kl_target": 0.2,
        "normalize_reward": True,
        "save_steps": 16,
        "max_steps": 24,
    },
}


@pytest.mark.parametrize("kind", RESUMED)
def test_a_run_that_was_killed_ends_as_one_that_was_not(kind, inputs, tmp_path, monkeypatch, capsys):
    extra = RESUMED[kind]
    first = extra["save_steps"]
    settings = SETTINGS | extra | {
        "model": inputs / "policy",
        "prompts": inputs / "prompts.jsonl",
        "rewards": [reward.format(inputs=inputs) for reward in extra["rewards"]],
        "held_out": inputs / "held_out.jsonl",
        "watch": [f"function={ME}:letters"],
        "eval_strategy": "steps",
        "eval_steps": 8,
        "save_strategy": "steps",
        "output_dir": tmp_path / "killed",
    }  # fmt: skip
    whole = tmp_path / "whole"
    monkeypatch.setenv("DIES_AFTER", str(tmp_path / "never"))
    ran(settings | {"output_dir": whole}, monkeypatch, capsys)

    checkpoint = tmp_path / f"killed/checkpoint-{first}"
    forks.imports(*forks.TRAINING)
    killed = forks.ended(*words_of(settings), program=str(PPO), folder=ROOT, DIES_AFTER=str(checkpoint))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert sorted(path.name for path in checkpoint.parent.glob("checkpoint-*")) == [checkpoint.name]
    # What a kill in the middle of the next save leaves: all but what is written last, one file of it cut.
    torn = tmp_path / f"killed/checkpoint-{first + 4}"
    shutil.copytree(checkpoint, torn)
    (torn / "trainer_state.json").unlink()
    with (torn / "optimizer.pt").open("r+b") as file:
        file.truncate(100)

    ran(settings | {"resume_from_checkpoint": "true"}, monkeypatch, capsys)
    resumed = tmp_path / "killed"

    def same_tensors(name):
        one, two = (load_file(folder / name) for folder in (whole, resumed))
        assert list(one) == list(two)
        for key in one:
            assert torch.equal(one[key], two[key]), f"{name}: {key}"

    same_tensors("adapter_model.safetensors" if extra.get("lora") else "model.safetensors")
    last = max((path.name for path in whole.glob("checkpoint-*")), key=lambda name: int(name.split("-")[1]))
    assert last != checkpoint.name
    same_tensors(f"{last}/critic.safetensors")
    states = [json.loads((folder / last / "ppo_state.json").read_text()) for folder in (whole, resumed)]
    assert states[0] == states[1]
    assert states[0]["kl_controller"]["coef"] != 0.05  # it has moved, so that equality says something
    assert states[0]["normalizer"]["count"] == int(last.split("-")[1])  # as many responses as steps
    assert (whole / "checks.jsonl").read_bytes() == (resumed / "checks.jsonl").read_bytes()
    assert log_of(whole) == log_of(resumed)
    reports = [json.loads((folder / "report.json").read_text()) for folder in (whole, resumed)]
    assert reports[0]["over_optimization"] == reports[1]["over_optimization"]
    assert [report["train"]["samples"] for report in reports] == [settings["max_steps"]] * 2
    assert reports[0]["train"]["last_rollout"] == reports[1]["train"]["last_rollout"] is not None


# ------------------------------------------------------------------------------------------------------------ processes


def test_two_processes_compute_what_one_does(inputs, tmp_path, monkeypatch):
    """On the same completions; the unscored row and the rows of different length fall on the processes as they come."""
    forks.imports(*forks.TRAINING)
    two = forks.side_by_side(inputs / "policy", tmp_path / "2", program=fixed_rollouts.__name__, folder=ROOT)
    assert [process.returncode for process in two] == [0, 0], two[0].stderr
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    fixed_rollouts.train(str(inputs / "policy"), str(tmp_path / "1"))
    one, two = (log_of(tmp_path / n) for n in "12")
    assert len(one) == len(two) == 12
    names = {name for row in one for name in row}
    assert names >= {
        *("loss", "grad_norm", "reward", "reward_std", "kl", "kl_coef", "entropy", "clip_fraction", "approx_kl"),
        *("explained_variance", "value", "value_loss", "policy_loss", "length", "no_eos", "unscored"),
    }
    for ours, theirs in zip(one, two, strict=True):
        assert ours.keys() == theirs.keys()
        for metric in ours:
            assert ours[metric] == pytest.approx(theirs[metric], abs=1e-5, rel=1e-5), (ours["step"], metric)
    rollouts = [row for row in one if "reward" in row]
    assert len(rollouts) == 4
    assert {row["unscored"] for row in rollouts} == {1 / 8}
    assert {row["no_eos"] for row in rollouts} == {3 / 8}
    assert max(row["approx_kl"] for row in one) > 1e-4  # something was learned, so equality says something
    assert len({row["kl_coef"] for row in rollouts}) == 4
    for file in ("model.safetensors", "critic.safetensors"):
        weights = [load_file(tmp_path / n / file) for n in "12"]
        for key in weights[0]:
            torch.testing.assert_close(weights[0][key], weights[1][key], atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.fixture
def good(inputs, tmp_path):
    """Settings with which the program would run."""
    return SETTINGS | {
        "model": inputs / "policy",
        "prompts": inputs / "prompts.jsonl",
        "rewards": f"reward_model={inputs / 'reward_model'}",
        "output_dir": tmp_path / "out",
    }


def fails(settings, monkeypatch, capsys):
    """The one line on stderr with which the program ends, in this process."""
    with pytest.raises(SystemExit) as end:
        config.run(lambda: ran(settings, monkeypatch, capsys))
    assert end.value.code in (1, 2)
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    return error


BAD_SETTINGS = [
    ({"save_strategy": "steps", "save_steps": 6}, r"save_steps is 6, .* in 4 optimizer steps, .* such as 8\."),
    ({"max_steps": 7}, r"max_steps is 7, .* in 4 optimizer steps, .* such as 8\."),
    (
        {"gradient_accumulation_steps": 2, "steps_per_generation": 3},
        r"a rollout has 3 micro-batches .* of 2 .*multiple",
    ),
    ({"num_generations": 3}, r"generation_batch_size \(4\) must be divisible by num_generations \(3\)"),
    ({"kl_coef": 0, "kl_target": 3}, r"kl_target is set, but kl_coef is 0"),
    ({"share_backbone": True}, r"share_backbone is set without lora"),
    ({"rewards": f"function={ME}:letters", "critic": "reward_model"}, r"critic is reward_model, but rewards name 0; "),
    ({"rewards": "rewad_model=x"}, r"of an unknown kind, 'rewad_model'; did you mean 'reward_model'\?"),
    ({"rewards": "function=no_such_module:f"}, r"'no_such_module:f' cannot be imported .*is no_such_module installed"),
    ({"rewards": f"function={ME}:no_such"}, rf"'{ME}:no_such': {ME} has no 'no_such'"),
    ({"rewards": "pairwise={inputs}/judge.yaml"}, r"no column 'reference' to compare completions with; it has prompt"),
    ({"rewards": "reward_model={inputs}/policy"}, r"policy has no rlaif\.json and is a LlamaForCausalLM, which"),
    ({"reward_weights": [1.0, 2.0]}, r"reward_weights has 2 numbers for 1 rewards?; expected one each"),
    ({"held_out": "{inputs}/held_out.jsonl"}, r"held_out is '.*' and watch \[\]; expected both or neither"),
    ({"watch": f"function={ME}:letters"}, r"held_out is null and watch \[.*\]; expected both or neither"),
    (
        {"held_out": "{inputs}/held_out.jsonl", "watch": f"function={ME}:letters"},
        r"held_out is '.*' and eval_strategy 'no'; expected both or neither: .*--eval_strategy steps",
    ),
    ({"eval_strategy": "steps"}, r"held_out is null and eval_strategy 'steps'; expected both or neither"),
    (
        {"held_out": "{inputs}/prompts.jsonl", "watch": f"function={ME}:letters", "eval_strategy": "epoch"},
        r"12 of the 12 held-out prompts are in .*prompts\.jsonl too",
    ),
    (
        {"held_out": "{inputs}/as_messages.jsonl", "watch": f"function={ME}:letters", "eval_strategy": "epoch"},
        r"12 of the 12 held-out prompts are in .*prompts\.jsonl too",
    ),
    ({"max_completion_length": 256}, r"max_new_tokens is 256, but the model reads 256 tokens in all"),
    ({"max_completion_length": 250}, r"all 12 rows of the prompts split are longer than .* 6 tokens"),
    ({"steps_per_generation": 16, "max_steps": 32}, r"there are 12 prompts, but one rollout takes 32"),
    ({"beta": 0.1}, r"beta is 0\.1; this program takes only 0\.0\. .*--kl_coef"),
    ({"top_p": 0.9}, r"top_p is 0\.9; this program takes only 1\.0\."),
    ({"loss_type": "grpo"}, r"loss_type is 'grpo'; this program takes only 'dapo'\."),
    ({"critic": "separat"}, r"critic is 'separat'; expected one of .*did you mean 'separate'"),
    ({"kl_coeff": 0.1}, r"kl_coeff.*did you mean .*kl_coef"),
]


@pytest.mark.parametrize(("change", "message"), BAD_SETTINGS, ids=lambda x: "-".join(x) if isinstance(x, dict) else "")
def test_bad_settings_before_a_model_is_loaded(change, message, good, inputs, monkeypatch, capsys):
    def loaded(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("rlaif.training.ppo.models.load_policy", loaded)
    change = {k: v.format(inputs=inputs) if isinstance(v, str) else v for k, v in change.items()}
    assert re.search(message, fails(good | change, monkeypatch, capsys))
    assert not Path(good["output_dir"]).exists()


def test_a_reward_model_whose_rendering_is_another(good, inputs, tmp_path, monkeypatch, capsys):
    other = shutil.copytree(inputs / "reward_model", tmp_path / "other")
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = tokenizer.chat_template.replace("<|", "[").replace("|>", "]")
    tokenizer.save_pretrained(other)
    error = fails(good | {"rewards": f"reward_model={other}"}, monkeypatch, capsys)
    assert "other" in error
    assert "template" in error


def test_an_adapter_of_other_weights_does_not_share_them(good, inputs, tmp_path, monkeypatch, capsys):
    lora = good | {"lora": True, "share_backbone": True}
    assert "is a whole model, which cannot share" in fails(lora, monkeypatch, capsys)
    other = shutil.copytree(inputs / "policy", tmp_path / "other")
    lora |= {"rewards": f"reward_model={inputs / 'reward_adapter'}", "model": other}
    assert f"is an adapter of {inputs / 'policy'}" in fails(lora, monkeypatch, capsys)


def test_bad_prompts(good, tmp_path, monkeypatch, capsys):
    rows = [[{"prompt": "a"}, {"prompt": [{"role": "user", "content": "b"}]}], [{"answer": "a"}], [{"prompt": 7}]]
    rows += [[{"prompt": "a", "note": 1}, {"prompt": "b"}, {"prompt": "c", "note": ["x"]}]]
    messages = [
        "expected one kind",
        "no 'prompt'",
        "prompts.jsonl:1: ",
        'prompts.jsonl:3: note is ["x"], of another type',
    ]
    for bad, message in zip(rows, messages, strict=True):
        source = write_rows(tmp_path / "prompts.jsonl", bad)
        assert message in fails(good | {"prompts": source}, monkeypatch, capsys)
    source = write_rows(
        tmp_path / "prompts.jsonl", [{"prompt": "a", "reference": "b"}, {"prompt": "c", "reference": 5}]
    )
    compared = good | {"prompts": source, "rewards": "pairwise=judge.yaml"}
    assert "prompts.jsonl:2: reference is 5; expected text" in fails(compared, monkeypatch, capsys)
    (tmp_path / "prompts.jsonl").write_text("")
    assert "rows" in fails(good | {"prompts": tmp_path / "prompts.jsonl"}, monkeypatch, capsys)


def test_resuming_from_nothing(good, tmp_path, monkeypatch, capsys):
    error = fails(good | {"resume_from_checkpoint": "true"}, monkeypatch, capsys)
    assert f"{good['output_dir']} holds no whole checkpoint" in error
    torn = tmp_path / "checkpoint-4"
    torn.mkdir()
    assert "has no trainer_state.json" in fails(good | {"resume_from_checkpoint": torn}, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("function", "message"),
    [("nan", r"'test_ppo_recipe:nan' returned nan for"), ("too_few", r"too_few' returned 3 rewards for 4 completions")],
)
def test_a_function_that_misbehaves_at_the_first_rollout(function, message, good, monkeypatch, capsys):
    assert re.search(message, fails(good | {"rewards": f"function={ME}:{function}"}, monkeypatch, capsys))


def test_a_prompt_is_learned_from_as_often_as_it_stands_there_and_measured_once(inputs, tmp_path):
    """One that stands there three times is learned from three times, and counted; what is measured counts it once."""
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": text} for text in ("Why?", "How?", "Why?", "Why?")])
    settings = {**SETTINGS, "model": inputs / "policy", "prompts": prompts, "output_dir": tmp_path / "out"}
    held_out = [{"prompt": text} for text in ("Who?", "Where?", "Who?", "When?", "Where?", "Whose?")]
    settings |= {"held_out": write_rows(tmp_path / "held_out.jsonl", held_out), "held_out_limit": 3}
    settings |= {"watch": f"function={ME}:letters", "eval_strategy": "epoch"}
    words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    ASKED.clear()
    done = here(*words, "--rewards", f"function={ME}:equal", program=str(PPO))
    assert done.returncode == 0, done.stderr
    assert "prompts: 2 of 4 stood before; each is answered as often as it stands there" in done.stdout
    assert "held_out: 2 more stood before, and are left out: each prompt is measured once" in done.stdout
    whole = json.loads((tmp_path / "out/report.json").read_text())
    report = whole["train"]
    assert (report["prompts"], report["repeated"], report["samples"]) == (4, 2, 4)
    checks = len(whole["over_optimization"]["checks"])
    assert checks >= 2
    assert Counter(ASKED) == {"Why?": 3, "How?": 1} | dict.fromkeys(("Who?", "Where?", "When?"), checks)
    assert whole["over_optimization"]["prompts"] == 3
    assert whole["ledger"] == {"read": 10, "used": 7, "left_out": {"beyond limit": 1, "prompt stood before": 2}}
