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
    "evaluate: policies model",
    "publish: license nowhere",
    "publish: a user's files in the output",
    "sample: a user's files in the output",
    "dpo: beta nan",
    "score: a folder for the output",
    "ablate: a settings file that is missing",
    "ablate: jobs 0",
)
# With the number of processes, and what `accelerate launch` is as a module: all of its commands, or this one alone.
CLI, LAUNCH = ("accelerate.commands.accelerate_cli", "launch"), ("accelerate.commands.launch",)
LAUNCHED = {
    "judge: a line that is cut": (2, CLI),
    "judge: a file for the output": (1, LAUNCH),
    "sample: the prompt is null": (2, LAUNCH),
    "score: UTF-16": (1, LAUNCH),
    "build: the output is the source": (2, LAUNCH),
    "ppo: a model with weights that are cut": (1, LAUNCH),
}


def refused(command: list[str], bad: Bad, folder: Path, world: Path, launched: bool = False) -> None:
    """Starts a bad input's program in its folder, and fails unless it ends in one line with every file as it was."""
    lay_out(bad, folder, world)
    before = snapshot(folder)
    env = {name: value for name, value in rlaif_env().items() if name != "OPENAI_API_KEY"}
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=300, env=env)
    check_line(done.stderr, done.returncode, bad, launched)
    check_folder(before, folder, bad.leaves)


@pytest.mark.parametrize("name", ALONE)
def test_a_started_program_ends_in_one_line(name: str, world: Path, tmp_path: Path) -> None:
    program, *words = BAD[name].argv(world)
    refused([*(["-m", "rlaif"] if program == "rlaif" else [program]), *words], BAD[name], tmp_path, world)


@pytest.mark.parametrize("name", LAUNCHED)
def test_under_accelerate_launch_the_line_comes_last_and_once(name: str, world: Path, tmp_path: Path) -> None:
    program, *words = BAD[name].argv(world)
    processes, launcher = LAUNCHED[name]
    settings = ROOT / "recipes/accelerate" / {1: "cpu.yaml", 2: "cpu_2.yaml"}[processes]
    start = ["-m", *launcher, "--main_process_port", "0", "--config_file", str(settings)]
    start += ["-m", "rlaif"] if program == "rlaif" else [program]
    refused([*start, *words], BAD[name], tmp_path, world, launched=True)
