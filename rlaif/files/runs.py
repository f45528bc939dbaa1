"""A program run and measured from outside, for scripts; rows of text as a table.

Peak memory is the kernel's count of a process's largest resident set, asked for from outside (`wait4`). So programs
that share no code are measured alike, to their last line, and on every Unix; VmHWM is Linux's alone and has to be read
by the program itself, while it still runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["aligned", "measured"]

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


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, every column as wide as its widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
