"""The real programs in processes of their own: starting, awaiting, killing, and what a refusal looks like."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECRET = "sk-very-secret-0123456789"


def rlaif_env(**extra: str) -> dict[str, str]:
    """The environment of a program under test: one thread, offline, with a key to be kept secret."""
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OPENAI_API_KEY": SECRET, "NO_PROXY": "127.0.0.1", **extra}


def rlaif(*arguments: object, timeout: float = 120.0, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs `rlaif` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "rlaif", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=rlaif_env(**env),
    )


def refused(done: subprocess.CompletedProcess[str], status: int | None = None) -> str:
    """The one line (progress bars aside) with which a program refused its input; fails if it did not.

    `status` is 1 (an error) or 2 (usage); without it, either will do.
    """
    lines = [line for line in done.stderr.splitlines() if line and "%|" not in line]
    assert done.returncode in ((1, 2) if status is None else (status,)), (done.returncode, done.stdout, done.stderr)
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: "), done.stderr
    return lines[0]


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def kill_with_children(process: subprocess.Popen[Any]) -> None:
    """Kills a process and all that it started: it is held first, so that it starts no more meanwhile."""
    import psutil

    if process.poll() is not None:
        return
    process.send_signal(signal.SIGSTOP)
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended by itself
            child.kill()
    process.kill()
