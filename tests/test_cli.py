"""The program as people meet it: its help, its printed report, and the small world as files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import here, refused, rows_of

from rlaif import __version__
from rlaif.cli import COMMANDS, _print
from rlaif.commands.sandbox import SandboxConfig, write_sandbox
from rlaif.config import run


def test_help_and_version() -> None:
    done = here("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == here().stdout
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout
    assert here("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_lists_its_settings_with_help(command: str) -> None:
    done = here(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: rlaif {command}" in done.stdout
    assert ("--output" if command != "view" else "--folder") in done.stdout


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "sandbox"])
def test_a_command_without_its_input_says_what_it_needs(command: str) -> None:
    assert "must be set; expected --" in refused(here(command))


def test_the_exit_status_tells_usage_from_other_errors(tmp_path: Path) -> None:
    output = ("--output", tmp_path / "out")
    assert "did you mean 'judgments'?" in refused(here("build", "--judgements", "x", *output), 2)
    assert "seed is 'x'; expected a whole number" in refused(here("sandbox", "--seed", "x", *output), 2)
    assert "does not exist" in refused(here("build", "--judgments", tmp_path / "nowhere", *output), 1)
    assert "'jugde' is not a command; did you mean 'judge'?" in refused(here("jugde"), 2)
    pairs = ("--pairs", tmp_path / "nowhere.jsonl", "--judge", "rlaif.models.function:longer")
    assert "nowhere.jsonl does not exist" in refused(here("judge", *pairs, *output), 1)
    assert not (tmp_path / "out").exists()


def test_an_interrupt_is_one_line_and_a_status_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        run(interrupted)
    assert end.value.code == 4
    said = "error: interrupted; what was stored is kept, and the same command goes on from there.\n"
    assert capsys.readouterr().err == said


def test_a_report_is_printed_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    _print({"pairs": 3, "agreement": 2 / 3, "reasons": {"too long": 1}, "reliability": [{"p": 1}], "truth": None})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["pairs", "3"],
        ["agreement", "0.6667"],
        ["reasons"],
        ["too", "long", "1"],
        ["truth", "null"],
    ]


def test_the_small_world_as_files(tmp_path: Path) -> None:
    config = SandboxConfig(output=str(tmp_path), prompts=40, evaluation=20, demonstrations=30)
    counts = write_sandbox(config)
    assert {path.name: rows for path, rows in counts.items()} == {
        "prompts.jsonl": 40,
        "evaluation.jsonl": 20,
        "demonstrations.jsonl": 30,
    }
    files = {path.stem: [row["prompt"] for row in rows_of(path)] for path in counts}
    for name in ("prompts", "evaluation"):
        assert len(set(files[name])) == len(files[name])
    assert set(files["prompts"]).isdisjoint(files["evaluation"])
    assert set(files["demonstrations"]).isdisjoint([*files["prompts"], *files["evaluation"]])
    before = (tmp_path / "demonstrations.jsonl").read_bytes()
    write_sandbox(config)
    assert (tmp_path / "demonstrations.jsonl").read_bytes() == before
    write_sandbox(SandboxConfig(output=str(tmp_path), prompts=40, evaluation=20, demonstrations=30, seed=7))
    assert (tmp_path / "demonstrations.jsonl").read_bytes() != before
    with pytest.raises(ValueError, match="evaluation is -1"):
        write_sandbox(SandboxConfig(output=str(tmp_path), evaluation=-1))


def test_from_the_small_world_to_preferences(tmp_path: Path) -> None:
    """`sandbox` to `build` through the real program, judged by the world's own truth."""
    (tmp_path / "gold.py").write_text(
        "from rlaif.sandbox import gold_reward\n"
        "def judge(prompt, first, second):\n"
        "    a, b = gold_reward(prompt, first), gold_reward(prompt, second)\n"
        "    return 0.5 if a == b else float(a > b)\n"
    )
    path = f"{tmp_path}:{Path(__file__).parent}"
    world = tmp_path / "world"
    assert here("sandbox", "--output", world, "--prompts", 3, "--evaluation", 2, "--demonstrations", 60).returncode == 0
    shown = rows_of(world / "demonstrations.jsonl")
    pairs = [
        {"prompt": row["prompt"], "response_a": row["completion"], "response_b": other["completion"]}
        for row, other in zip(shown, shown[1:] + shown[:1], strict=True)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    judge = ["--judge", "scripted", "--judge_model", "gold:judge"]
    done = here("judge", "--pairs", tmp_path / "pairs.jsonl", *judge, "--output", tmp_path / "judged", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    done = here("build", "--judgments", tmp_path / "judged", "--output", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "data" / "report.json").read_text())
    assert report["judgments"] == 60
    assert report["preferences"] + sum(report["left_out"].values()) == 60
    assert report["preferences"] > 40
