"""What was whole stays whole: a model over one of another shape, a full disk at every place, a kill at any step."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import fields
from io import StringIO
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest
from support import ROOT, forks, here, refused, rlaif_env, some_pairs, write_rows
from support.bad import Bad
from support.bad.settings import RIGHT
from support.files import content, room_for_files_of
from support.models import tiny_reward_model
from support.programs import program, run_here

from rlaif.files.ownership import claim
from rlaif.files.room import names_place
from rlaif.files.shards import parquet_splits, read_tables
from rlaif.files.sources import write_json
from rlaif.files.swap import exchange, move_into, staging
from rlaif.publish.staging import replace_staged
from rlaif.training.resumed import check_state
from rlaif.training.same_run import MAY_DIFFER, check_same_run, decides, run_settings
from rlaif.training.saving import mend, replace_model

SFT = {
    "max_length": 64,
    "per_device_train_batch_size": 4,
    "max_steps": 2,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": "true",
    "train_split": "train",
}
JUDGE = ("--judge", "scripted", "--judge_model", "rlaif.models.function:longer")


def trained(program: str, folder: Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    """A program in this process, as its users start it."""
    words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        status = run_here([str(ROOT / program), *words], folder)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def sft(folder: Path, chat_model: Path, output: Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    """recipes/sft.py on eight demonstrations."""
    rows = [{"prompt": f"Question {at}?", "completion": f"Answer {at}."} for at in range(8)]
    if not (folder / "shown.jsonl").exists():
        write_rows(folder / "shown.jsonl", rows)
    common = {**SFT, "model": chat_model, "dataset": folder / "shown.jsonl", "output_dir": output}
    return trained("recipes/sft.py", folder, **(common | settings))


def loads(folder: Path) -> Any:
    """Logits of what anybody loads from a folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("Question 1?", return_tensors="pt").input_ids
    with torch.inference_mode():
        return AutoModelForCausalLM.from_pretrained(folder).eval()(ids).logits, tokenizer.get_vocab()


# Another shape --------------------------------------------------------------------------------------------------------


def test_a_run_of_another_shape_leaves_nothing_that_changes_what_is_loaded(chat_model: Path, tmp_path: Path) -> None:
    """LoRA, then full over all that a folder of a model may hold, then LoRA: each as if the folder were new."""
    import torch

    shapes: dict[str, dict[str, Any]] = {"full": {}, "lora": {"lora": "true", "lora_r": 4}}
    for name, settings in shapes.items():
        done = sft(tmp_path, chat_model, tmp_path / name, **settings)
        assert done.returncode == 0, done.stderr
    used = tmp_path / "used"
    shutil.copytree(tmp_path / "lora", used)
    left = {
        "model.safetensors.index.json": json.dumps({"metadata": {}, "weight_map": {}}),
        "model-00001-of-00002.safetensors": "x",
        "pytorch_model.bin": "x",
        "added_tokens.json": json.dumps({"<left>": 259}),
        "chat_template.jinja": "{{ 'left' }}",
        "special_tokens_map.json": json.dumps({"eos_token": "<left>"}),
        "rlaif.json": "{}",
        "checkpoint-7/trainer_state.json": "{}",
        "checkpoint-7/optimizer.pt": "x",
        "latest": "global_step7",
    }
    # Names close to those that a loader reads, and those of another program's reports.
    own = ["notes.txt", "README.md", "data.bin", "notes.model", "tokenizer_notes.txt", "vocab.mine", "latest.txt"]
    own += ["report.md", "checks.jsonl", "runs/mine.txt", "tokenizer-experiments/a.txt", "checkpoint-8/mine.txt"]
    left |= dict.fromkeys(own, "mine")
    for path, text in left.items():
        (used / path).parent.mkdir(exist_ok=True)
        (used / path).write_text(text)
    for name in ("full", "lora"):
        done = sft(tmp_path, chat_model, used, **shapes[name], resume_from_checkpoint="false")
        assert done.returncode == 0, done.stderr
        assert content(used).keys() - {*own} == content(tmp_path / name).keys()
        assert {(used / path).read_text() for path in own} == {"mine"}
        (logits, vocabulary), (alone, of_alone) = loads(used), loads(tmp_path / name)
        assert torch.equal(logits, alone)
        assert vocabulary == of_alone
    saving = {"save_strategy": "steps", "save_steps": 8}
    line = refused(sft(tmp_path, chat_model, used, **saving), 1)
    assert "which holds checkpoint-8 with mine.txt in it, no checkpoint of a run" in line


def test_a_checkpoint_of_another_run_is_not_gone_on_from(chat_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    saving = {"save_strategy": "steps", "save_steps": 1}
    assert sft(tmp_path, chat_model, out, **saving, max_steps=3).returncode == 0
    assert len([*out.glob("checkpoint-*")]) == 3
    before = content(out)
    for asked in ({}, {"resume_from_checkpoint": "true"}, {"resume_from_checkpoint": f"{out}/checkpoint-3"}):
        other = {**saving, **asked}
        line = refused(sft(tmp_path, chat_model, out, **other, lora="true"), 1)
        assert "checkpoint-3 is of a run with lora false; here it is true" in line
        assert "another --output_dir" in line
        assert "--resume_from_checkpoint false" in line
    # A folder of several configs is the same folder, whichever is read; nothing is read before the refusal.
    line = refused(sft(tmp_path, chat_model, out, **saving, config_name="b", learning_rate=0.5), 1)
    assert "is of a run with config_name null; here it is 'b', learning_rate 0.001; here it is 0.5" in line
    with (tmp_path / "shown.jsonl").open("a") as file:
        file.write('{"prompt": "One more?", "completion": "Yes."}\n')
    assert "shown.jsonl was written anew since" in refused(sft(tmp_path, chat_model, out, **saving), 1)
    assert content(out) == before
    # A run that starts anew replaces them: the newest of all would be the other run's.
    done = sft(tmp_path, chat_model, out, **saving, max_steps=1, resume_from_checkpoint="false")
    assert done.returncode == 0
    anew = f"beginning anew; 3 checkpoints (checkpoint-1 to checkpoint-3) in {out} will go once this run has saved a"
    assert done.stdout.startswith(f"{anew} checkpoint\n")
    assert [path.name for path in out.glob("checkpoint-*")] == ["checkpoint-1"]
    check_same_run(tmp_path / "of an earlier version", run_settings("recipes/sft.py", {"lora": True}, []))


def test_a_run_with_no_step_left_trains_none(chat_model: Path, tmp_path: Path) -> None:
    """As after a kill at the final save: the resumed run is the run. Its loss is of two steps that none logged."""
    out = tmp_path / "out"
    settings: dict[str, Any] = {"save_strategy": "steps", "save_steps": 1, "logging_steps": 5}
    assert sft(tmp_path, chat_model, out, **settings).returncode == 0
    whole, report = content(out), json.loads((out / "report.json").read_text())
    for name in ("manifest.json", "model.safetensors", "config.json", "report.json"):
        (out / name).unlink()
    assert sft(tmp_path, chat_model, out, **settings, resume_from_checkpoint="true").returncode == 0
    again, resumed = content(out), json.loads((out / "report.json").read_text())
    assert again.keys() == whole.keys()
    assert again["model.safetensors"] == whole["model.safetensors"]
    assert resumed["train"] == report["train"] | {"resumed_from": f"{out}/checkpoint-2"}
    line = refused(sft(tmp_path, chat_model, out, **settings | {"max_steps": 1}, resume_from_checkpoint="true"), 1)
    assert "is of step 2, and this run ends at step 1" in line
    # What the trainer needs beside the weights: each file is there, and whole.
    check_state(out / "checkpoint-2")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        path = out / "checkpoint-2" / name
        kept = path.read_bytes()
        path.write_bytes(kept[: len(kept) // 2])
        with pytest.raises(ValueError, match=f"checkpoint-2/{name} is cut short"):
            check_state(out / "checkpoint-2")
        path.unlink()
        line = refused(sft(tmp_path, chat_model, out, **settings, resume_from_checkpoint=out / "checkpoint-2"), 1)
        assert f"checkpoint-2 has no {name}" in line
        path.write_bytes(kept)


def test_every_setting_decides_but_for_a_short_list(tmp_path: Path) -> None:
    """A run with another value of any field of its program is another run, or the field is one that may differ."""
    from rlaif.training.models import ModelConfig
    from rlaif.training.ppo.config import PPOConfig
    from rlaif.training.trainers import CompletionConfig, SoftDPOConfig, SoftRewardConfig

    programs = {
        "recipes/sft.py": CompletionConfig,
        "recipes/dpo.py": SoftDPOConfig,
        "recipes/ppo.py": PPOConfig,
        "recipes/best_of_n.py": CompletionConfig,
        "reward_models/bradley_terry.py": SoftRewardConfig,
    }
    may_differ = set()
    for name, kind in programs.items():
        kinds = (program(str(ROOT / name)).DataConfig, ModelConfig, kind)
        settings = {field.name: str(field.default) for one in kinds for field in fields(one)}
        then = run_settings(name, settings, [])
        write_json(tmp_path / "run.json", then)
        check_same_run(tmp_path, then)
        for setting, value in settings.items():
            now = run_settings(name, settings | {setting: f"{value}!"}, [])
            if decides(setting):
                with pytest.raises(ValueError, match=f"is of a run with {setting} '.*; here it is '.*!'; expected the"):
                    check_same_run(tmp_path, now)
            else:
                check_same_run(tmp_path, now)
                may_differ.add(setting)
        with pytest.raises(ValueError, match=f"was saved by {name}, not by recipes/other.py"):
            check_same_run(tmp_path, run_settings("recipes/other.py", settings, []))
    patterns = {pattern for group in MAY_DIFFER.values() for pattern in group}
    assert {
        pattern for pattern in patterns if not fnmatch.filter(may_differ, pattern)
    } == set()  # none is of no program
    ours = {"config_name", "prompts_config_name", "train_split", "n", "candidates", "gae_lambda", "value_clip"}
    ours |= {"epsilon", "reward_clip", "critic", "share_backbone", "max_new_tokens", "policy_dtype", "label_smoothing"}
    assert not ours & may_differ


def test_a_judge_that_rewards_is_part_of_the_data(tmp_path: Path) -> None:
    """A pairwise or rating reward is a file of settings: another one is another reward."""
    judge = tmp_path / "judge.yaml"
    judge.write_text("judge: scripted")
    settings = {"rewards": [f"rating={judge}", "function=module:name"]}
    write_json(tmp_path / "run.json", run_settings("recipes/ppo.py", settings, []))
    check_same_run(tmp_path, run_settings("recipes/ppo.py", settings, []))
    judge.write_text("judge: local")
    with pytest.raises(ValueError, match=r"judge.yaml was written anew since"):
        check_same_run(tmp_path, run_settings("recipes/ppo.py", settings, []))


# A full disk ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_while_training_leaves_what_was_whole(chat_model: Path, tmp_path: Path) -> None:
    """At a checkpoint's optimizer (torch), at the final weights (safetensors), at the first run of a folder."""
    out = tmp_path / "out"
    saving = {"save_strategy": "steps", "save_steps": 1}
    assert sft(tmp_path, chat_model, out, **saving).returncode == 0
    before = content(out)
    weights = (out / "model.safetensors").stat().st_size
    for size, settings, where in (
        (weights + 4096, saving, "out/checkpoint-1"),
        (weights // 2, saving, "out/checkpoint-1"),
        (weights // 2, {}, "out"),
    ):
        with room_for_files_of(size):
            done = sft(tmp_path, chat_model, out, **settings, learning_rate=0.01, resume_from_checkpoint="false")
        line = refused(done, 1)
        assert "No space left" in line
        assert f"{tmp_path / where}" in line
        assert content(out) == before
        assert not [*out.glob(".*")]
    with room_for_files_of(weights // 2):
        assert "No space left" in refused(sft(tmp_path, chat_model, tmp_path / "new/out"), 1)
    assert not (tmp_path / "new").exists()
    # And what is whole is what a resumed run takes.
    assert sft(tmp_path, chat_model, out, **saving, max_steps=3, resume_from_checkpoint="true").returncode == 0


@pytest.mark.parametrize("name", ["recipes/dpo.py", "recipes/ppo.py", "reward_models/bradley_terry.py"])
def test_a_full_disk_leaves_what_another_program_trained(name: str, world: Path, tmp_path: Path) -> None:
    """At a checkpoint, at the final save; and while what was trained is staged to be published."""
    steps = RIGHT[name][RIGHT[name].index("--max_steps") + 1]
    words = Bad(name, RIGHT[name], "").argv(world)[1:]
    saving = ("--save_strategy", "steps", "--save_steps", steps)
    anew = ("--learning_rate", "0.5", "--resume_from_checkpoint", "false")
    out, program = tmp_path / "out", str(ROOT / name)
    done = here(*words, *saving, program=program, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    before, room = content(out), (out / "model.safetensors").stat().st_size // 2
    assert f"checkpoint-{steps}/model.safetensors" in before
    for more, where in ((saving, f"out/checkpoint-{steps}"), ((), "out")):
        with room_for_files_of(room):
            done = here(*words, *anew, *more, program=program, folder=tmp_path)
        line = refused(done, 1)
        assert "No space left" in line
        assert where in line
        assert content(out) == before
        assert not [*out.glob(".*")]
    if name != "recipes/ppo.py":  # a policy like another
        kind, size = ("policy", 4_000) if name == "recipes/dpo.py" else ("reward_model", 6_000)
        check_full_while_staging((f"--{kind}", out), tmp_path / "staged", (200, size))


def test_a_full_disk_while_a_dataset_is_staged_leaves_the_earlier_one(world: Path, tmp_path: Path) -> None:
    check_full_while_staging(("--preferences", world / "dataset"), tmp_path / "staged", (20, 500, 1_500))


def check_full_while_staging(what: tuple[object, ...], output: Path, sizes: tuple[int, ...]) -> None:
    """Files of these sizes have room: the first staging leaves nothing, a later one what an earlier one staged."""
    words = ("publish", *what, "--output", output, "--license", "cc-by-4.0", "--tags")
    for size in sizes:
        with room_for_files_of(size):
            assert "No space left" in refused(here(*words, "one"), 1)
        assert not output.exists()
    assert here(*words, "one").returncode == 0
    before = content(output)
    for size in sizes:
        with room_for_files_of(size):
            line = refused(here(*words, "other"), 1)
        assert "No space left" in line
        assert f"{output}" in line
        assert content(output) == before


def test_a_full_disk_while_a_dataset_is_built_leaves_the_earlier_one(tmp_path: Path) -> None:
    judgments = write_rows(tmp_path / "judgments.jsonl", [{**pair, "z": 0.9} for pair in some_pairs(200)])
    words = ("build", "--judgments", judgments, "--output", tmp_path / "built")
    assert here(*words).returncode == 0
    before = content(tmp_path / "built")
    write_rows(judgments, [{**pair, "z": 0.2} for pair in some_pairs(300)])
    smallest = min(path.stat().st_size for path in (tmp_path / "built").glob("data/*"))
    for size in (500, smallest // 2, 3 * smallest):  # at the mark, at the shards, at the report
        with room_for_files_of(min(size, (tmp_path / "built/report.json").stat().st_size - 1)):
            line = refused(here(*words), 1)
        assert "No space left" in line
        assert str(tmp_path / "built") in line
        assert content(tmp_path / "built") == before
    assert here(*words).returncode == 0
    assert content(tmp_path / "built") != before


def test_a_full_disk_while_judging_keeps_every_reply_that_was_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("judge", "--pairs", write_rows(tmp_path / "pairs.jsonl", some_pairs(40)), *JUDGE, "--output", out)
    with room_for_files_of(8_000):
        line = refused(here(*words), 1)
    assert "No space left" in line
    assert f"{out}/" in line
    assert {path.name for path in out.iterdir()} == {".written-by", "replies"}
    stored = sum(path.read_bytes().count(b"\n") for path in (out / "replies").iterdir())
    assert stored > 5
    assert here(*words).returncode == 0
    report = json.loads((out / "report.json").read_text())
    assert (report["votes_reused"], report["votes_asked"]) == (stored, 80 - stored)
    # Everything is stored: then only the judgments, the votes and the report are written, or the earlier ones stay.
    before = content(out)
    for size in (8_000, 600):
        with room_for_files_of(size):
            assert "No space left" in refused(here(*words), 1)
        assert content(out) == before


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        (("convert", "--source", "{}/pairs.jsonl", "--output", "{}/out/a.jsonl"), (600, 8)),
        (("convert", "--source", "{}/pairs.jsonl", "--output", "{}/out/a.parquet"), (600, 8)),
        (("score", "--reward_model", "{}/rm", "--input", "{}/pairs.jsonl", "--output", "{}/out/a.jsonl"), (600, 8)),
        (("sample", "--policy", "{model}", "--prompts", "{}/prompts.jsonl", "--samples", 2, "--max_new_tokens", 4,
          "--output", "{}/out"), (1_000, 20)),
        (("evaluate", "--policies", "a={model}", "b={plain}", "--prompts", "{}/prompts.jsonl", *JUDGE,
          "--max_new_tokens", 4, "--output", "{}/out"), (1_000, 20)),
    ],
    ids=["convert", "convert to parquet", "score", "sample", "evaluate"],
)  # fmt: skip
def test_a_full_disk_leaves_what_a_command_wrote_before(
    words: tuple[str, ...], sizes: tuple[int, ...], chat_model: Path, plain_model: Path, tmp_path: Path
) -> None:
    """At the output or report, and at the mark; the first run of a folder leaves none of its own but replies."""
    write_rows(tmp_path / "pairs.jsonl", some_pairs(40))
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": pair["prompt"]} for pair in some_pairs(4)])
    name, *rest = (str(word).format(tmp_path, model=chat_model, plain=plain_model) for word in words)
    if name == "score":
        tiny_reward_model(tmp_path / "rm")
    how = str(ROOT / "reward_models/score.py") if name == "score" else "rlaif"
    start = () if name == "score" else (name,)

    def fails(size: int) -> None:
        with room_for_files_of(size):
            done = here(*start, *rest, program=how)
        line = done.stderr.splitlines()[-1]
        assert done.returncode == 1
        assert line.startswith("error: No space left")
        assert str(tmp_path / "out") in line

    fails(sizes[0])
    left = {path.split("/")[0] for path in content(tmp_path / "out")} if (tmp_path / "out").exists() else set()
    assert left <= {"replies", ".written-by"}
    assert here(*start, *rest, program=how).returncode == 0
    before = content(tmp_path / "out")
    for size in sizes:
        fails(size)
        assert content(tmp_path / "out") == before


def test_a_disk_that_is_full_in_earnest(tmp_path: Path) -> None:
    """A file system of 200 KiB; errors of a limit and of such a disk read the same."""
    mount = 'mount -t tmpfs -o size=200k none "$0" && cp "$1" "$0"/ && shift && exec "$@"'
    disk, pairs = tmp_path / "disk", write_rows(tmp_path / "pairs.jsonl", some_pairs(400))
    disk.mkdir()
    isolated = ["unshare", "-rm", "sh", "-c", mount, str(disk), str(pairs)]
    if not shutil.which("unshare") or subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    words = [sys.executable, "-m", "rlaif", "judge", "--pairs", str(pairs), *JUDGE, "--output", str(disk / "out")]
    done = subprocess.run([*isolated, *words], capture_output=True, text=True, env=rlaif_env())
    lines = [line for line in done.stderr.splitlines() if line and "%|" not in line]
    assert done.returncode == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: No space left")
    assert str(disk / "out/") in lines[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_device_that_is_full_is_named() -> None:
    with pytest.raises(OSError, match="No space left") as full, names_place("/dev/full"):
        Path("/dev/full").write_text("x")
    assert full.value.filename


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(27, "File too large"), "No space left for a file of this size"),
        (RuntimeError("write(): fd 3 failed with No space left on device"), "No space left on device"),
        (RuntimeError("the server says: out of space"), None),
        (ValueError("No space left on device"), None),
        (OSError(2, "No such file"), None),
    ],
)
def test_no_room_is_one_kind_of_error_with_its_place(error: Exception, says: str | None, tmp_path: Path) -> None:
    with pytest.raises(type(error) if says is None else OSError) as found, names_place(tmp_path / "x"):
        raise error
    if says is None:
        assert found.value is error
    else:
        assert (found.value.strerror, found.value.filename) == (says, str(tmp_path / "x"))  # type: ignore[attr-defined]


def test_another_disk_that_is_full_is_not_said_to_be_the_outputs(tmp_path: Path) -> None:
    """Temporary files and caches stand elsewhere: the output is named where it is full itself, or not known."""
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(OSError, match="No space left") as full, claim(out, "rlaif judge"):
        raise OSError(28, "No space left on device")
    assert full.value.filename == f"{gettempdir()} or a library's cache (TMPDIR, HF_HOME), since {out} has room"
    with pytest.raises(OSError, match="No space left") as full, claim(out, "rlaif judge"):
        raise sqlite3.OperationalError("database or disk is full")
    assert full.value.filename == gettempdir()
    with pytest.raises(OSError, match="No space left") as full, claim(out, "rlaif judge"):
        raise OSError(28, "No space left on device", "mine.txt")
    assert full.value.filename == "mine.txt"
    with pytest.raises(OSError, match="No space left") as full, room_for_files_of(1000), claim(out, "rlaif judge"):
        raise OSError(28, "No space left on device")  # and a file of a MiB finds no room there
    assert full.value.filename == str(out)


def test_a_folder_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    """Root may write anywhere but below a file and on a file system without room for folders: /proc."""
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(2))
    (tmp_path / "file").write_text("mine")
    assert "is a file" in refused(here("judge", "--pairs", pairs, *JUDGE, "--output", tmp_path / "file/out"), 1)
    if Path("/proc/self").exists():
        line = refused(here("judge", "--pairs", pairs, *JUDGE, "--output", "/proc/rlaif/out"), 1)
        assert "/proc/rlaif" in line
    if os.getuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        line = refused(here("judge", "--pairs", pairs, *JUDGE, "--output", tmp_path / "closed/out"), 1)
        assert f"{tmp_path / 'closed/out'}" in line


# A kill ---------------------------------------------------------------------------------------------------------------

_KILLED_SWAP = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from rlaif.files import swap
from rlaif.files.shards import Shards
at, folder = int(sys.argv[1]), Path(sys.argv[2])
count = 0
def counted(real):
    def call(*words, **more):
        global count
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*words, **more)
    return call
if len(sys.argv) > 3:
    swap._system_call = lambda: None  # a file system that cannot exchange two names
for name in ("rename", "replace", "rmdir", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
call = swap._system_call()
if call:
    swap._system_call = lambda: counted(call)
with Shards(folder / "data", pa.schema([("n", pa.int64())])) as shards:
    for n in range(100):
        shards.add("train", {"n": n + 1000})
print("whole", count)
"""


def test_a_kill_at_any_moment_of_a_swap_leaves_the_old_shards_or_the_new(tmp_path: Path) -> None:
    """Every call that changes a name in a folder, one after the other, is the last one of a process."""
    import pyarrow as pa

    from rlaif.files.shards import Shards

    data = tmp_path / "data"
    schema = pa.schema([("n", pa.int64())])

    def rows() -> list[int]:
        return [n for table in read_tables(parquet_splits(data)["train"]) for n in table["n"].to_pylist()]

    seen = set()
    for at in range(1, 12):
        with Shards(data, schema) as shards:
            for n in range(100):
                shards.add("train", {"n": n})
        words = [sys.executable, "-c", _KILLED_SWAP, str(at), str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, env=rlaif_env())
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        assert rows() in ([*range(100)], [*range(1000, 1100)])
        seen.add(rows()[0])
        if done.returncode == 0:
            break
    else:
        pytest.fail("the process was killed every time")
    assert seen == {0, 1000}
    assert {path.name for path in tmp_path.iterdir()} <= {"data", ".data.partial"}


_KILLED_RLAIF = """
import os, runpy, signal, sys
left = int(sys.argv.pop(1))
def counted(real):
    def call(*given, **more):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **more)
    return call
for name in ("mkdir", "rename", "replace", "rmdir", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
runpy.run_module("rlaif", run_name="__main__")
"""


def test_a_kill_at_any_moment_of_a_file_leaves_the_old_one_or_the_new(tmp_path: Path) -> None:
    """And the next run of the command knows what it finds there as its own, also after two kills."""
    name = "a.jsonl"
    outputs, manifest = (name, f"{name}.bad_rows.jsonl"), f"{name}.manifest.json"
    old = write_rows(tmp_path / "old.jsonl", some_pairs(3))
    new = write_rows(tmp_path / "new.jsonl", [*some_pairs(5), {**some_pairs(1)[0], "prompt": 5}])
    common = ("--output", tmp_path / "out" / name, "--on_bad_row", "skip")
    words = ("convert", "--source", new, *common)
    killed = tmp_path / "killed.py"  # before its call number N that changes a name in a folder
    killed.write_text(_KILLED_RLAIF)
    assert here(*words).returncode == 0
    whole = content(tmp_path / "out")
    assert here("convert", "--source", old, *common).returncode == 0
    before = content(tmp_path / "out")
    assert outputs[1] not in before  # a run without bad rows removes it
    found = set()
    for at in range(1, 30):
        done = forks.ended(at, *words, program=killed)
        now = content(tmp_path / "out")
        assert all(now.get(file) in (before.get(file), whole[file]) for file in outputs)
        found.add(now[name])
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    else:
        pytest.fail("the process was killed every time")
    assert found == {before[name], whole[name]}
    assert {file: now[file] for file in outputs} == {file: whole[file] for file in outputs}
    assert manifest in now


def test_a_kill_while_what_is_published_is_put_in_place_leaves_no_card_beside_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes a name is the last one; without its card (README.md) a staging folder is not whole."""
    names = {0: ("README.md", "config.json", "of-old.txt"), 1: ("README.md", "config.json", "of-new.txt")}
    found = set()
    for at in range(1, 30):
        folder, left = tmp_path / str(at), at

        def counted(real: Any) -> Any:
            def call(*words: Any, **more: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
                return real(*words, **more)

            return call

        staged = folder / ".rlaif/staged"
        for place, which in ((folder, 0), (staged, 1)):
            for name in names[which]:
                write_rows(place / name, [{"run": which}])
        write_rows(staged / ".notes/manifest.json", [{"run": 1}])
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            for name in ("rename", "replace"):
                patch.setattr(os, name, counted(getattr(os, name)))
            replace_staged(staged, folder, "policy", ["config.json", "of-old.txt"])
        now = {path.name: json.loads(path.read_text())["run"] for path in folder.iterdir() if path.is_file()}
        if "README.md" in now:
            assert now == dict.fromkeys(names[now["README.md"]], now["README.md"])
        found.add(now.get("README.md"))
        if left > 0:
            break
    assert found == {0, None, 1}


def test_two_folders_change_places_also_where_the_system_has_no_call_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        write_rows(tmp_path / name / "rows.jsonl", [{"name": name}])
    exchange(tmp_path / "one", tmp_path / "two")
    assert "one" in (tmp_path / "two/rows.jsonl").read_text()
    monkeypatch.setattr("rlaif.files.swap._system_call", lambda: None)
    exchange(tmp_path / "one", tmp_path / "two")
    assert "two" in (tmp_path / "two/rows.jsonl").read_text()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "nothing", tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    with staging(tmp_path, ".new") as staged:
        write_rows(staged / "two/rows.jsonl", [{"name": "new"}])
        write_rows(staged / "manifest.json", [{}])
        move_into(staged, tmp_path, also_gone=("one",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "two"]


def test_a_kill_while_a_model_is_put_in_place_leaves_one_model_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes a name is the last one of a run; the next one finds the old model, or ends what it began.

    An adapter of two checkpoints goes, a full model comes; notes.txt is nobody's.
    """
    old = {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "report.json"}
    old |= {"checkpoint-1/trainer_state.json"}
    new = {"config.json", "model.safetensors", "tokenizer.json", "report.json"}
    model = {"adapter_config.json", "config.json"}
    real = {name: getattr(os, name) for name in ("rename", "replace")}
    outcomes = set()
    for at in range(1, 20):
        folder, left = tmp_path / str(at), at

        def counted(name: str) -> Any:
            def call(*words: Any) -> None:
                nonlocal left
                if not str(words[0]).endswith(".partial"):
                    left -= 1
                    if left == 0:
                        raise KeyboardInterrupt
                real[name](*words)

            return call

        written = {**dict.fromkeys(old, "old"), **{f".saving/{name}": "new" for name in new}, "notes.txt": "mine"}
        written[".saving/manifest.json"] = json.dumps({"command": "recipes/sft.py"})
        written["manifest.json"] = json.dumps({"command": "recipes/sft.py"})
        written[".saving/.stale.json"] = json.dumps({"checkpoints": ["checkpoint-1"]})
        for path, text in written.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            for name in real:
                patch.setattr(os, name, counted(name))
            replace_model(folder / ".saving", folder)
        now = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
        assert len(model & now.keys()) < 2
        if model & now.keys():  # something is loaded: then it is whole, and of one run
            whole = new if "config.json" in now else old
            assert {now[name] for name in whole if "/" not in name} == {"new" if whole is new else "old"}
        mend(folder)
        assert content(folder).keys() == {*new, "manifest.json", "notes.txt"}
        assert {(folder / name).read_text() for name in new} == {"new"}
        outcomes.add((*sorted(model & now.keys()), left > 0))
        if left > 0:
            break
    assert outcomes >= {("adapter_config.json", False), (False,), ("config.json", True)}


def test_what_a_kill_left_of_a_save_is_mended(tmp_path: Path) -> None:
    """A model that was being written goes; a checkpoint that was set aside for one that is not whole comes back."""
    for path, text in {
        ".saving/model.safetensors": "half",
        "checkpoint-1/trainer_state.json": "{",
        ".checkpoint-1.earlier/trainer_state.json": "{}",
        "checkpoint-2/trainer_state.json": "{}",
        ".checkpoint-2.earlier/trainer_state.json": "{ }",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    mend(tmp_path)
    assert {path: (tmp_path / path).read_text() for path in content(tmp_path)} == {
        "checkpoint-1/trainer_state.json": "{}",
        "checkpoint-2/trainer_state.json": "{}",
    }
