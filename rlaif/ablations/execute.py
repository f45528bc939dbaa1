"""Runs one stage in its folder, once, whoever asks: `python -m rlaif.ablations.execute FOLDER`.

This small process stands between an ablation and the program: it holds the folder's lock as long as it lives, so two
ablations that need a stage at the same time run it once, and the later one finds it done. When the ablation itself is
killed, the stages that were running end by themselves, and the next run takes them up: nothing is paid for twice.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rlaif.sources import write_json
from rlaif.training import resume_point

__all__ = ["last_line", "run_stage"]

# They keep what they paid for in their output folder, and go on from it to the same result.
RESUMING = ("rlaif sample", "rlaif judge", "rlaif evaluate", "best_of_n.py")


def run_stage(folder: str | Path) -> int:
    """Runs what `folder`/request.json asks for, unless it is done; the exit status of the program.

    Where the program failed, failed.json says how; what it printed is in log.txt.
    """
    folder = Path(folder)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for another process that runs this stage
        if (folder / "stage.json").exists() and (folder / "output").exists():
            return 0
        (folder / "failed.json").unlink(missing_ok=True)
        resumed = (folder / "log.txt").exists()
        words = [*request["words"], *_go_on(folder / "output", request)]
        started = time.time()
        with (folder / "log.txt").open("w", encoding="utf-8") as log:
            environment = {**os.environ, **request["environment"]}
            process = subprocess.Popen(
                words,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=request["directory"],
            )
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                process.terminate()
                raise
        code = process.returncode = os.waitstatus_to_exitcode(status)
        line = last_line(folder / "log.txt", code)
        if code == 0 and not (folder / "output").exists():
            code, line = 1, f"it ended well but wrote nothing to {folder / 'output'}"
        if code != 0:
            write_json(folder / "failed.json", {"status": code, "line": line})
            return code
        write_json(
            folder / "stage.json",
            {
                "seconds": round(time.time() - started, 2),
                "resumed": resumed,  # then seconds are of the last attempt alone
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
                "peak_memory": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
                "made_by": request["made_by"],
                "host": socket.gethostname(),
                "words": words,
            },
        )
    return 0


def _go_on(output: Path, request: dict[str, Any]) -> list[str]:
    """What to add to the command so that it goes on from what a killed run left; what it cannot use is deleted."""
    if request["program"].endswith(RESUMING):
        return []
    if any(output.glob("checkpoint-*")):
        try:
            checkpoint = resume_point("true", str(output))
        except ValueError:
            checkpoint = None  # none of them is whole
        if checkpoint is not None:
            return ["--resume_from_checkpoint", checkpoint]
    shutil.rmtree(output, ignore_errors=True)
    return []


def last_line(log: Path, status: int) -> str:
    """Why a program failed, in one line: its `error:` line, else the last that it printed before the launcher's own."""
    text = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    if errors:
        return errors[-1]
    # torchrun's and accelerate's reports say that a process failed, which is known.
    ours = [line for line in lines if "CalledProcessError" not in line and "ChildFailedError" not in line]
    if status < 0:
        return f"killed by signal {-status}" + (f"; before that: {ours[-1]}" if ours else "")
    return ours[-1] if ours else f"it ended with status {status} and printed nothing"


if __name__ == "__main__":
    sys.exit(run_stage(sys.argv[1]))
