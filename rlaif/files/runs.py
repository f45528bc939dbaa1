"""Programs run once and measured, for scripts that compare whole trainings: what is started, what it read, its peak.

A finished run is used again for the same command on the same inputs and code, and for nothing else: a number that is
printed belongs to what is on the disk now.

Peak memory is the kernel's count of a process's largest resident set, asked for from outside (`wait4`). So programs
that share no code are measured alike, to their last line, and on every Unix; VmHWM is Linux's alone and has to be read
by the program itself, while it still runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaif.files.ownership import begin, commands_of
from rlaif.files.sources import fingerprint, write_json

__all__ = ["aligned", "bracketed", "code_fingerprint", "expect_in", "launch", "measured", "once"]


def launch(program: Path, config_file: Path, options: Mapping[str, Any]) -> list[str]:
    """The command that starts `program` under `accelerate launch` with this Python."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config_file)]
    return [*launcher, str(program), *(word for name, value in options.items() for word in (f"--{name}", str(value)))]


_WRITER = "rlaif.files.runs"  # whose output a measured run's folder is


# On Linux a program starts out with the peak of the process that started it: hence one in between that is small.
_MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss, file=open(sys.argv[1], "w"))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measured(words: Sequence[str], log: Path, threads: int) -> int:
    """Runs a command to its end: the peak resident set of the largest of its processes, in bytes.

    Args:
        words: the command.
        log: takes its output; beside it stands the peak, as the kernel counts it.
        threads: its OMP_NUM_THREADS.

    Raises:
        ValueError: it failed; names the log.
    """
    peak = log.with_suffix(".peak")
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _MEASURE, str(peak), *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(threads),
                "HF_HUB_OFFLINE": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "TOKENIZERS_PARALLELISM": "false",
            },
        )
    if done.returncode != 0:
        raise ValueError(f"`{' '.join(words)[:60]} ...` ended with status {done.returncode}; see {log}.")
    return int(peak.read_text()) * (1 if sys.platform == "darwin" else 1024)


def once(folder: Path, words: Sequence[str], code: Iterable[Path], inputs: Iterable[Path], threads: int) -> int:
    """`measured`, its log in `folder`, unless it has been run there just so: the peak of that run, in bytes.

    A run that is not the one asked for is deleted, with its folder; a folder that no such run left is refused.

    Args:
        folder: where the command writes; emptied before.
        words: the command.
        code: what it executes, for `code_fingerprint`.
        inputs: the files and folders that it reads: models, data, settings.
        threads: its OMP_NUM_THREADS.

    Raises:
        ValueError: it failed, or `folder` holds what is no run.
    """
    asked = {
        "command": list(words),
        "threads": threads,
        "code": code_fingerprint(code),
        "inputs": {str(path): fingerprint(path) for path in inputs},
    }
    done = folder / "run.json"
    if _asked_in(done) == asked:
        print(f"{folder} is there", flush=True)
        return int(json.loads(done.read_text(encoding="utf-8"))["peak_memory"])
    if _asked_in(done) is not None and not commands_of(folder):  # a run of an earlier version, which left no mark
        shutil.rmtree(folder)
    begin(folder, _WRITER, empty=True)
    print(f"{folder}: training", flush=True)
    peak = measured(words, folder / "log.txt", threads)
    write_json(done, {"asked": asked, "peak_memory": peak})
    return peak


def _asked_in(done: Path) -> Any:
    """What a finished run was asked for; None of a file that no run of `once` wrote."""
    try:
        saved = json.loads(done.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return saved["asked"] if isinstance(saved, dict) and {"asked", "peak_memory"} <= saved.keys() else None


def code_fingerprint(paths: Iterable[Path]) -> str:
    """A hash of Python files, and of those in folders, subfolders included."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            content = file.read_bytes()
            digest.update(f"{file.relative_to(path.parent).as_posix()}:{len(content)}:".encode() + content)
    return digest.hexdigest()[:16]


def expect_in(folder: str | Path, names: Iterable[str], writer: str) -> None:
    """A ValueError for the first file that `writer` writes into `folder` and that is not there."""
    for name in names:
        if not (Path(folder) / name).exists():
            raise ValueError(f"{folder} has no {name}; expected what {writer} writes; run it.")


def bracketed(triple: Sequence[float], digits: int = 2, unit: float = 1.0) -> str:
    """A mean and its interval as text, "1.00 [0.50, 1.50]", in `unit`s."""
    mean, low, high = (f"{x / unit:.{digits}f}" for x in triple)
    return f"{mean} [{low}, {high}]"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, every column as wide as its widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
