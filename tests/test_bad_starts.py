"""Bad inputs as a user meets them: programs that are started, alone and under `accelerate launch`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, rlaif_env
from support.bad import Bad, check_folder, check_line, lay_out, snapshot
from support.bad.table import BAD

ALONE = (
    "sandbox: prompts -1",
    "sandbox: a file for the output",
    "sample: missing",
    "sample: the prompt is null",
    "sample: top_p nan",
    "sample: settings with tabs",
    "convert: another ending",
    "sample: a model with weights that are cut",
    "sample: an address without a scheme",
    "judge: UTF-16",
    "judge: response_a is a surrogate",
    "judge: nested too deep",
    "judge: a user's files in the output",
    "judge: no key",
    "judge: a port that is closed",
    "build: z is NaN",
    "build: the output is the source",
    "build: a misspelt setting",
    "convert: gzip that is cut",
    "convert: Parquet that is cut",
    "convert: a folder for the output",
    "evaluate: gold nowhere",
    "evaluate: missing",
    "publish: license nowhere",
    "publish: a user's files in the output",
    "sample: a model with code of its own",
    "dpo: beta nan",
    "score: a model with two labels",
    "ablate: a settings file that is missing",
    "ablate: jobs 0",
)
# With the number of processes.
LAUNCHED = {
    "judge: a line that is cut": 2,
    "judge: a file for the output": 2,
    "sample: the prompt is null": 2,
    "score: UTF-16": 1,
    "build: the output is the source": 2,
    "ppo: a model with weights that are cut": 1,
}
LAUNCH = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--main_process_port", "0"]


def refused(command: list[str], bad: Bad, folder: Path, world: Path) -> None:
    """Starts a bad input's program in its folder, and fails unless it ends in one line with every file as it was."""
    lay_out(bad, folder, world)
    before = snapshot(folder)
    env = {name: value for name, value in rlaif_env().items() if name != "OPENAI_API_KEY"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=env)
    check_line(done.stderr, done.returncode, bad, launched=LAUNCH[2] in command)
    check_folder(before, folder)


@pytest.mark.parametrize("name", ALONE)
def test_a_started_program_ends_in_one_line(name: str, world: Path, tmp_path: Path) -> None:
    program, *words = BAD[name].argv(world)
    refused(
        [sys.executable, *(["-m", "rlaif"] if program == "rlaif" else [program]), *words], BAD[name], tmp_path, world
    )


@pytest.mark.parametrize("name", LAUNCHED)
def test_under_accelerate_launch_the_line_comes_last_and_once(name: str, world: Path, tmp_path: Path) -> None:
    program, *words = BAD[name].argv(world)
    settings = ROOT / "recipes/accelerate" / {1: "cpu.yaml", 2: "cpu_2.yaml"}[LAUNCHED[name]]
    launched = ["-m", "rlaif"] if program == "rlaif" else [program]
    refused([*LAUNCH, "--config_file", str(settings), *launched, *words], BAD[name], tmp_path, world)
