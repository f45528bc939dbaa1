"""One command starts a run and goes on with it: after SIGKILL and SIGTERM to the weights of a run that nothing ended.

Every run here shuffles, accumulates gradients, drops out, and logs at other steps than it saves at.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from support import ROOT, byte_tokenizer, forks, save_model, tiny_llama

from rlaif.config import UsageError
from rlaif.training.start import Start, start_of

KILLED = ROOT / "tests/support/killed.py"
COMMON = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "max_steps": 7,  # into the second epoch
    "learning_rate": 3e-3,
    "logging_steps": 3,
    "save_strategy": "steps",
    "save_steps": 2,
    "report_to": "none",
    "disable_tqdm": "true",
    "use_cpu": "true",
}
PAIRS = {"dataset": "{world}/dataset", "test_split": "none", "disable_dropout": "false"}
PROGRAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "sft": ("recipes/sft.py", {"dataset": "{world}/shown.jsonl", "lora": "true", "lora_r": 4}),
    "dpo": ("recipes/dpo.py", {**PAIRS, "precompute_ref_log_probs": "true"}),
    "reward model": ("reward_models/bradley_terry.py", PAIRS),
    # Two steps a rollout; with dropout the ratio is not 1, which is no matter here.
    "ppo": (
        "recipes/ppo.py",
        {
            "prompts": "{world}/prompts.jsonl",
            "rewards": "function=rlaif.sandbox:gold_reward",
            "max_completion_length": 4,
            "num_iterations": 2,
            "max_steps": 8,
            "kl_target": 0.2,
            "disable_dropout": "false",
        },
    ),
}


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tiny_llama(attention_dropout=0.2)
    return save_model(tmp_path_factory.mktemp("dropping"), model, byte_tokenizer(chat=True))


def words(kind: str, world: Path, model: Path, output: Path) -> list[str]:
    program, settings = PROGRAMS[kind]
    every = {"model": model, **COMMON, **settings, "output_dir": output}
    return [program, *(str(word).format(world=world) for name, value in every.items() for word in (f"--{name}", value))]


def ended(number: int, step: int, command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    forks.imports(*forks.TRAINING)
    program, *rest = command
    return forks.ended(number, step, ROOT / program, *rest, program=KILLED, folder=ROOT, **env)


def weights(folder: Path) -> bytes:
    (file,) = (path for name in ("model", "adapter_model") for path in folder.glob(f"{name}.safetensors"))
    return file.read_bytes()


def log_of(folder: Path) -> list[dict[str, Any]]:
    """What was logged, but for times."""
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    times = ("runtime", "per_second", "step_time", "flos")
    return [{name: value for name, value in row.items() if not name.endswith(times)} for row in history]


@pytest.mark.parametrize("kind", PROGRAMS)
def test_the_same_command_ends_as_if_nothing_had_ended_it(
    kind: str, world: Path, dropping: Path, tmp_path: Path
) -> None:
    """Killed in the fourth step, after checkpoint-2 and the row that is logged after the third; told to stop in the
    fifth; then it goes on to its end."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    command, last = words(kind, world, dropping, out), 8 if kind == "ppo" else 7
    alone = ended(0, 0, words(kind, world, dropping, whole))
    assert alone.returncode == 0, alone.stderr
    killed = ended(signal.SIGKILL, 3, command)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in out.glob("checkpoint-*")] == ["checkpoint-2"]

    told = ended(signal.SIGTERM, 4, command)
    assert told.returncode == 4, told.stderr
    said = [line for line in told.stdout.splitlines() if not line.startswith("{")]  # but for what is logged
    assert said[0] == f"going on from {out}/checkpoint-2, step 2 of {last}"
    saved = 6 if kind == "ppo" else 5  # between two rollouts
    until = [f"told to stop: going on to step {saved}, where the run can be saved exactly"] if kind == "ppo" else []
    assert said[-1 - len(until) :] == [*until, f"told to stop: step {saved} of {last} is saved"]
    lines = [line for line in told.stderr.splitlines() if line and "%|" not in line]
    assert lines == [f"error: interrupted; the same command goes on from {out}/checkpoint-{saved}."]
    assert not [path for path in out.iterdir() if path.name.startswith(".") and path.name != ".written-by"]

    resumed = ended(0, 0, command)
    assert resumed.returncode == 0, resumed.stderr
    assert f"going on from {out}/checkpoint-{saved}, step {saved} of {last}\n" in resumed.stdout
    assert weights(out) == weights(whole)
    assert log_of(out) == log_of(whole)
    reports = [json.loads((folder / "report.json").read_text()) for folder in (whole, out)]
    now, then = (report["train"] for report in reports)
    assert [then["resumed_from"], now["resumed_from"]] == [f"{out}/checkpoint-{saved}", None]
    assert then.get("loss") == now.get("loss")
    assert (then["steps"], then.get("samples")) == (now["steps"], now.get("samples"))
    # Its time is that of all that the weights came from.
    before = json.loads((out / f"checkpoint-{saved}/progress.json").read_text())["seconds"]
    assert reports[1]["seconds"] > before > 0


def test_two_processes_stop_in_the_same_step_and_go_on_together(world: Path, dropping: Path, tmp_path: Path) -> None:
    """The second one alone is told, and the first has the word. The newest checkpoint lacks what one of them needs."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    program, *rest = words("sft", world, dropping, out)
    forks.imports(*forks.TRAINING)

    def both(number: int, step: int, *words: str) -> list[subprocess.CompletedProcess[str]]:
        of_all = (number, step, ROOT / program, *words)
        return forks.side_by_side(*of_all, program=KILLED, folder=ROOT, KILLED_RANK="1")

    alone = both(0, 0, *rest[:-1], str(whole))
    assert [one.returncode for one in alone] == [0, 0], alone[0].stderr
    told = both(signal.SIGTERM, 4, *rest)
    assert [one.returncode for one in told] == [4, 4], told[0].stderr
    assert [one.stdout.count("told to stop: step 5 of 7 is saved") for one in told] == [1, 0]
    assert {path.name for path in out.glob("checkpoint-*")} == {f"checkpoint-{step}" for step in (2, 4, 5)}
    (out / "checkpoint-5/rng_state_1.pth").unlink()
    resumed = both(0, 0, *rest)
    assert [one.returncode for one in resumed] == [0, 0], resumed[0].stderr
    passed = "warning: checkpoint-5 is passed over: the checkpoint {}/checkpoint-5 has no rng_state_1.pth any more"
    assert [one.stderr.count(passed.format(out)) for one in resumed] == [1, 0]
    assert resumed[0].stdout.startswith(f"going on from {out}/checkpoint-4, step 4 of 7\n")
    assert weights(out) == weights(whole)
    assert log_of(out) == log_of(whole)
    losses = [json.loads((folder / "report.json").read_text())["train"]["loss"] for folder in (whole, out)]
    assert losses[0] == losses[1]


def test_ctrl_c_stops_at_once_and_so_does_sigterm_where_nothing_is_kept(
    three: Path, world: Path, dropping: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(three, out)
    program, *rest = words("sft", world, dropping, out)
    command = [program, *rest, "--max_steps", "9"]
    for number, more, line in (
        (signal.SIGINT, (), f"interrupted; the same command goes on from {out}/checkpoint-6."),
        (
            signal.SIGTERM,
            ("--save_strategy", "no", "--output_dir", f"{tmp_path}/new"),
            "interrupted before a checkpoint was saved; what was stored is kept, and the same command begins anew.",
        ),
    ):
        told = ended(number, 7 if number == signal.SIGINT else 1, [*command, *more])
        assert told.returncode == 4, told.stderr
        assert [row for row in told.stderr.splitlines() if row and "%|" not in row] == [f"error: {line}"]
    assert {path.name for path in out.glob("checkpoint-*")} == {f"checkpoint-{step}" for step in (2, 4, 6)}
    assert not (tmp_path / "new").exists()


# Which checkpoint ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("written", "read"), [("false", "false"), ("true", "true"), ("a/b", "a/b"), ("null", None)])
def test_a_file_of_settings_need_not_quote_what_is_true_or_false(
    written: str, read: str | None, tmp_path: Path
) -> None:
    from rlaif import config
    from rlaif.training.trainers import CompletionConfig

    (tmp_path / "a.yaml").write_text(f"resume_from_checkpoint: {written}\noutput_dir: out\nuse_cpu: true\n")
    (args,) = config.parse(CompletionConfig, args=["--config", str(tmp_path / "a.yaml")])
    assert args.resume_from_checkpoint == read


@pytest.fixture(scope="module")
def three(world: Path, dropping: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run with checkpoints of its steps 2, 4 and 6."""
    folder = tmp_path_factory.mktemp("three")
    command = words("sft", world, dropping, folder / "out")
    done = ended(0, 0, [*command, "--max_steps", "6"])
    assert done.returncode == 0, done.stderr
    return folder / "out"


def cut(name: str, to: float = 0.5) -> Callable[[Path], object]:
    def spoil(checkpoint: Path) -> None:
        content = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(content[: int(len(content) * to)])

    return spoil


def gone(name: str) -> Callable[[Path], object]:
    return lambda checkpoint: (checkpoint / name).unlink()


def lost(name: str, at: float = 0.7) -> Callable[[Path], object]:
    """What a disk does that has kept a file's size, and not all of its content."""

    def spoil(checkpoint: Path) -> None:
        content = bytearray((checkpoint / name).read_bytes())
        start = int(len(content) * at)
        content[start : start + 64] = bytes(byte ^ 1 for byte in content[start : start + 64])
        (checkpoint / name).write_bytes(content)

    return spoil


def turned(name: str, before: bytes, at: int, bit: int) -> Callable[[Path], object]:
    """One bit is another, `at` bytes behind the last place that `before` begins."""

    def spoil(checkpoint: Path) -> None:
        content = bytearray((checkpoint / name).read_bytes())
        content[content.rindex(before) + at] ^= bit
        (checkpoint / name).write_bytes(content)

    return spoil


def diverged(checkpoint: Path) -> None:
    tensors = load_file(checkpoint / "adapter_model.safetensors")
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, checkpoint / "adapter_model.safetensors", {"format": "pt"})


# What happened to a checkpoint, and what is said of it.
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "optimizer": (cut("optimizer.pt"), "optimizer.pt is cut short"),
    "weights": (cut("adapter_model.safetensors", 0.9), "adapter_model.safetensors is cut short"),
    "no weights": (gone("adapter_model.safetensors"), r"has no (adapter_model.safetensors any more|weights)"),
    "no random numbers": (gone("rng_state.pth"), r"has no rng_state.pth (any more|\()"),
    "state": (cut("trainer_state.json"), "trainer_state.json is cut short"),
    "run": (cut("run.json"), "run.json is cut short"),
    "progress": (cut("progress.json"), "progress.json is cut short"),
    "list": (cut("files.json"), "files.json is cut short"),
    "NaN": (diverged, "has weights that are NaN or infinite|its checksum is another"),
    "lost weights": (lost("adapter_model.safetensors"), r"adapter_model.safetensors was changed, .*its checksum"),
    "lost state": (lost("optimizer.pt"), r"optimizer.pt was changed, .*checksum"),
    # In the list of a PyTorch file's parts, each of which Python's zipfile refuses with an error of another kind.
    "a part's compression": (turned("optimizer.pt", b"PK\1\2", 10, 8), r"optimizer.pt was changed, .*checksum"),
    "a part's encryption": (turned("optimizer.pt", b"PK\1\2", 8, 1), r"optimizer.pt was changed, .*checksum"),
    "a part's name": (turned("optimizer.pt", b"PK\1\2", 46, 128), r"optimizer.pt was changed, .*checksum"),
    "the number of disks": (turned("optimizer.pt", b"PK\6\7", 4, 1), r"optimizer.pt was changed, .*checksum"),
}


def start(output: Path, wanted: str | None = None, like: int = 2, **settings: Any) -> Start:
    """Where a run with the settings of `output`/checkpoint-2, or with others, begins."""
    run = json.loads((output / f"checkpoint-{like}/run.json").read_text())
    run["settings"] |= settings
    args = SimpleNamespace(resume_from_checkpoint=wanted, output_dir=str(output), max_steps=6, save_strategy="steps")
    args.save_only_model = False
    return start_of(args, lambda: run)


@pytest.mark.parametrize("listed", [True, False], ids=["now", "by an earlier version"])
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over(
    name: str, listed: bool, three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(three, out)
    spoil, says = DAMAGE[name]
    if not listed:
        if name in ("list", "lost weights"):
            return
        (out / "checkpoint-6/files.json").unlink()
    spoil(out / "checkpoint-6")
    for wanted in (None, "true"):
        assert start(out, wanted) == (f"{out}/checkpoint-4", (), f"going on from {out}/checkpoint-4, step 4 of 6")
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("warning: checkpoint-6 is passed over: ")
        assert re.search(says, line)
    with pytest.raises(ValueError, match=says):
        start(out, f"{out}/checkpoint-6")
    shutil.rmtree(out / "checkpoint-4")
    cut("scheduler.pt")(out / "checkpoint-2")
    with pytest.raises(
        ValueError, match=r"Of 2 damaged ones .*begin anew with --resume_from_checkpoint false"
    ) as error:
        start(out, like=2 if name == "run" else 6)
    assert re.search(says, str(error.value))
    assert start(out, "false").said.startswith("beginning anew; 2 checkpoints (checkpoint-2 to checkpoint-6) in ")


def test_what_cannot_be_read_or_says_nothing_of_its_run_is_passed_over(
    three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(three, out)
    gone("run.json")(out / "checkpoint-6")
    gone("run.json")(out / "checkpoint-4")
    (out / "checkpoint-4/run.json").symlink_to("run.json")  # reading it is an OSError, for root too
    assert start(out).checkpoint == f"{out}/checkpoint-2"
    assert capsys.readouterr().err.count(" is passed over: ") == 2
    for wanted, hint in (("flase", r" Did you mean 'false'\?"), (f"{out}/checkpoint-5", "$")):
        with pytest.raises(UsageError, match=f"is no folder; expected true, false or a checkpoint's path.{hint}"):
            start(out, wanted)


def test_what_a_kill_left_half_saved_is_no_reason_to_stop(
    three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(three, out)
    gone("trainer_state.json")(out / "checkpoint-6")
    assert start(out).checkpoint == f"{out}/checkpoint-4"
    said = f"warning: {out}/checkpoint-6 is passed over: a kill cut it short while it was saved\n"
    assert capsys.readouterr().err == said
    for step in (2, 4):
        gone("trainer_state.json")(out / f"checkpoint-{step}")
    assert start(out) == (
        *(None, ()),
        f"beginning anew: a kill cut 3 checkpoints (checkpoint-2 to checkpoint-6) in {out} short while it was saved",
    )
    with pytest.raises(ValueError, match="holds no whole checkpoint: a kill cut"):
        start(out, "true")
    shutil.rmtree(out)
    assert start_of(SimpleNamespace(resume_from_checkpoint=None, output_dir=str(out)), dict) == (None, (), "")


def test_checkpoints_of_another_run_are_neither_taken_nor_lost(three: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(three, out)
    ways = r"give another --output_dir, or begin anew in this one with --resume_from_checkpoint false"
    for wanted in (None, "true"):
        with pytest.raises(ValueError, match=rf"is of a run with lora_r 4; here it is 8; expected .*{ways}"):
            start(out, wanted, lora_r=8)
    # Begun anew with other settings, and killed after its first save: what it replaces is still there.
    run = json.loads((out / "checkpoint-2/run.json").read_text())
    run["settings"]["lora_r"] = 8
    (out / "checkpoint-2/run.json").write_text(json.dumps(run))
    (out / "checkpoint-2/files.json").unlink()
    others = (f"{out}/checkpoint-6", f"{out}/checkpoint-4")
    assert start(out, lora_r=8) == (f"{out}/checkpoint-2", others, f"going on from {out}/checkpoint-2, step 2 of 6")
    for step in (2, 4, 6):
        gone("run.json")(out / f"checkpoint-{step}")
    (out / "checkpoint-6/files.json").unlink()
    shutil.copytree(three, tmp_path / "of")
    (tmp_path / "of/checkpoint-2").rename(tmp_path / "checkpoint-2")
    shutil.copytree(tmp_path / "checkpoint-2", out / "checkpoint-1")
    gone("run.json")(out / "checkpoint-1")
    args = SimpleNamespace(resume_from_checkpoint=None, output_dir=str(out), max_steps=6, save_only_model=False)
    settings = json.loads((three / "checkpoint-2/run.json").read_text())
    with pytest.raises(
        ValueError, match=r"checkpoint-6, which an earlier version saved .*true to go on.*false to begin"
    ):
        start_of(args, lambda: settings)
    args.resume_from_checkpoint = "true"
    assert start_of(args, lambda: settings).checkpoint == f"{out}/checkpoint-6"


def test_a_run_that_is_longer_goes_on_and_one_that_is_done_trains_nothing(
    three: Path, world: Path, dropping: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(three, out)
    program, *rest = words("sft", world, dropping, out)
    before = weights(out)
    for steps in (6, 7):
        done = ended(0, 0, [program, *rest, "--max_steps", str(steps)])
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"going on from {out}/checkpoint-6, step 6 of {steps}\n")
        assert (weights(out) == before) == (steps == 6)
        reports = [json.loads((folder / "report.json").read_text())["train"] for folder in (three, out)]
        assert (reports[0]["loss"] == reports[1]["loss"]) == (steps == 6)
