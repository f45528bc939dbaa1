"""A checkpoint that lacks a weight is not gone on from."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from support import byte_tokenizer, save_model, tiny_llama
from support.bad import run_here
from support.programs import ROOT

from rlaif.files.sources import write_json
from rlaif.training.same_run import check_same_run, run_settings

QUICK = ["--output_dir", "out", "--per_device_train_batch_size", "2", "--report_to", "none", "--use_cpu", "true"]
QUICK += ["--save_strategy", "steps", "--save_steps", "1", "--max_steps", "2", "--disable_tqdm", "true"]
SFT = ["recipes/sft.py", "--dataset", "@dataset", "--train_split", "train"]
PPO = ["recipes/ppo.py", "--prompts", "@prompts.jsonl", "--rewards", "function=rlaif.sandbox:gold_reward"]
PPO += ["--num_iterations", "1", "--max_completion_length", "4"]
MLP = "model.layers.1.mlp.up_proj.weight"
UP = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"


def run(folder: Path, world: Path, words: list[str], *more: str) -> int | str | None:
    program, *rest = (word.replace("@", f"{world}/") for word in words)
    return run_here([str(ROOT / program), "--model", f"{world}/model", *rest, *QUICK, *more], folder)


def weights(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / name)
        change(tensors)
        save_file(tensors, folder / name, {"format": "pt"})

    return spoil


CASES = {
    "a matrix is gone": (SFT, weights("model.safetensors", lambda t: t.pop(MLP)), rf"checkpoint \S+ has no {MLP}"),
    "a matrix too many": (
        SFT,
        weights("model.safetensors", lambda t: t.update({f"{MLP}s": t[MLP].clone()})),
        rf"checkpoint \S+ holds, beyond the model's weights, {MLP}s",
    ),
    "NaN": (SFT, weights("model.safetensors", lambda t: t[MLP].fill_(float("nan"))), rf"{MLP} in \S+ has weights"),
    "cut short": (
        SFT,
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]),
        r"checkpoint-1/model\.safetensors is cut short",
    ),
    "a matrix of an adapter is gone": (
        [*SFT, "--lora", "true"],
        weights("adapter_model.safetensors", lambda t: t.pop(UP)),
        r"the adapter \S+checkpoint-1 has no \S+up_proj\S+",
    ),
    "the critic is gone": (PPO, lambda f: (f / "critic.safetensors").unlink(), r"critic\.safetensors is not there"),
    "the critic is cut short": (
        PPO,
        lambda f: (f / "critic.safetensors").write_bytes(b"\0" * 9),
        r"critic\.safetensors",
    ),
}


@pytest.fixture(scope="module")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str], Path], None]:
    """Puts what a program left in a folder of its own, checkpoints and all, into the folder of a test."""

    @cache
    def once(words: tuple[str, ...]) -> Path:
        folder = tmp_path_factory.mktemp("trained")
        assert run(folder, world, [*words]) in (0, None)
        return folder

    def put(words: list[str], folder: Path) -> None:
        shutil.copytree(once(tuple(words)), folder, dirs_exist_ok=True)

    return put


@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_that_is_not_whole_is_one_line(
    name: str,
    trained: Callable[[list[str], Path], None],
    world: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words, spoil, line = CASES[name]
    trained(words, tmp_path)
    spoil(tmp_path / "out" / "checkpoint-1")
    (tmp_path / "out/checkpoint-1/files.json").unlink()  # as an earlier version left it
    capfd.readouterr()
    resume = ["--resume_from_checkpoint", "out/checkpoint-1"]
    assert run(tmp_path, world, words, *resume) == 1
    (error,) = [row for row in capfd.readouterr().err.splitlines() if row.startswith("error: ")]
    assert re.search(line, error), error


@pytest.mark.parametrize("words", [SFT, [*SFT, "--lora", "true"], PPO], ids=["full", "lora", "ppo"])
def test_one_that_is_whole_is(
    words: list[str], trained: Callable[[list[str], Path], None], world: Path, tmp_path: Path
) -> None:
    trained(words, tmp_path)
    assert run(tmp_path, world, words, "--resume_from_checkpoint", "out/checkpoint-1") in (0, None)


def test_the_model_of_a_judge_that_rewards_is_part_of_the_data(tmp_path: Path) -> None:
    judge, settings = tmp_path / "judge.yaml", {"rewards": [f"rating={tmp_path / 'judge.yaml'}"]}
    model = save_model(tmp_path / "judge", tiny_llama(), byte_tokenizer(chat=True))
    for text in (f"model: {model}", f"model: {{name: {model}, dtype: float32}}"):
        judge.write_text(text)
        write_json(tmp_path / "run.json", run_settings("recipes/ppo.py", settings, []))
        check_same_run(tmp_path, run_settings("recipes/ppo.py", settings, []))
        tiny_llama(seed=len(text)).save_pretrained(model)
        with pytest.raises(ValueError, match=rf"{model} was written anew since"):
            check_same_run(tmp_path, run_settings("recipes/ppo.py", settings, []))


def test_a_reward_function_that_was_changed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no more: mending it is what a run that it ended was told."""
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "own_reward_of_a_test.py"
    settings = {"rewards": ["function=own_reward_of_a_test:reward"]}
    module.write_text("def reward(prompt, response):\n    return 1.0\n")
    write_json(tmp_path / "run.json", run_settings("recipes/ppo.py", settings, []))
    check_same_run(tmp_path, run_settings("recipes/ppo.py", settings, []))
    assert capsys.readouterr().err == ""
    module.write_text("def reward(prompt, response):\n    return -1.0\n")
    check_same_run(tmp_path, run_settings("recipes/ppo.py", settings, []))
    said = capsys.readouterr().err
    assert said.startswith("warning: the module of own_reward_of_a_test:reward was changed since")


def test_a_package_that_fails_on_the_way_to_a_function_is_told_where_that_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "failing_package_of_a_test").mkdir()
    (tmp_path / "failing_package_of_a_test" / "__init__.py").write_text("raise RuntimeError('no licence')\n")
    settings = {"rewards": ["function=failing_package_of_a_test.rewards:reward"]}
    assert run_settings("recipes/ppo.py", settings, [])["code"] == {}


def test_a_checkpoint_of_an_earlier_version_knows_large_rows_by_their_ends(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    with rows.open("wb") as file:
        file.truncate(65 << 20)
    ends = hashlib.sha256(str(65 << 20).encode() + bytes(2 << 20)).hexdigest()[:16]
    now = run_settings("recipes/sft.py", {}, [str(rows)])
    write_json(tmp_path / "run.json", {**now, "read": {str(rows): f"sha256:{ends}"}})
    check_same_run(tmp_path, now)
    with rows.open("r+b") as file:
        file.write(b"{")
    with pytest.raises(ValueError, match=r"rows.jsonl was written anew since"):
        check_same_run(tmp_path, run_settings("recipes/sft.py", {}, [str(rows)]))
