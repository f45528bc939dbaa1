"""The programs that stages run: how each is started, where it writes, which settings it has."""

from __future__ import annotations

import ast
import concurrent.futures
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from rlaif.ablations.code import code_fingerprint, command_names, versions
from rlaif.config import UsageError
from rlaif.records import content_hash

__all__ = ["known_settings", "program_words", "trains"]


@cache
def trains(program: str) -> bool:
    """Whether a program writes to `output_dir`, as those around TRL's trainers do, and is launched by accelerate."""
    if program.split()[0] == "rlaif":
        return False
    tree = ast.parse(Path(program).read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return "output_dir" in names


def program_words(program: str, launch: str | None) -> list[str]:
    """The command that starts a program: with accelerate where it trains, or is an `rlaif` command with a launch file.

    Raises:
        ValueError: there is no such program or launch file.
    """
    words = program.split()
    if launch is not None and not Path(launch).is_file():
        raise UsageError(f"launch is {launch!r}, which is no file; expected one of accelerate's configuration files.")
    # Quiet: else the launcher's own traceback stands after the program's last line.
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file", str(launch)]
    if words[0] == "rlaif":
        if len(words) != 2 or words[1] not in command_names():
            raise UsageError(f"program is {program!r}; expected rlaif and one of {', '.join(command_names())}.")
        return [*(accelerate if launch else [sys.executable]), "-m", *words]
    if not program.endswith(".py") or not Path(program).is_file():
        raise UsageError(f"program is {program!r}, which is no file; expected a .py file, or `rlaif judge`, say.")
    if not trains(program):
        return [sys.executable, program]
    if launch is None:
        raise UsageError(
            f"{program} trains, and there is no launch file; expected one of accelerate's configuration files, "
            "launch: recipes/accelerate/cpu.yaml, say."
        )
    return [*accelerate, program]


def known_settings(programs: Iterable[str], cache_folder: Path, at_once: int) -> Mapping[str, frozenset[str]]:
    """The settings of each program, as its --help lists them; kept in `cache_folder` for this code and these versions.

    Asking takes as long as the program's imports, once. A misspelt setting would else be found when its stage runs,
    after everything before it.

    Raises:
        ValueError: a program does not answer.
    """

    def ask(program: str) -> frozenset[str]:
        kept = cache_folder / f"{content_hash(program, code_fingerprint(program), versions())[:16]}.txt"
        if kept.is_file():
            return frozenset(kept.read_text(encoding="utf-8").split())
        words = program_words(program, None) if not trains(program) else [sys.executable, program]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        done = subprocess.run([*words, "--help"], capture_output=True, text=True, env=environment)
        names = frozenset(re.findall(r"^ {2}--([A-Za-z]\w*)\b(?!-)", done.stdout, re.MULTILINE))
        if done.returncode != 0 or not names:
            last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
            raise ValueError(f"`{program} --help` lists no settings ({last}); expected a program that can be run.")
        cache_folder.mkdir(parents=True, exist_ok=True)
        kept.write_text("\n".join(sorted(names)), encoding="utf-8")
        return names

    programs = list(dict.fromkeys(programs))
    with concurrent.futures.ThreadPoolExecutor(max(1, at_once)) as pool:
        return dict(zip(programs, pool.map(ask, programs), strict=True))
