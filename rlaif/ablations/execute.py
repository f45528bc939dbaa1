"""Runs one stage in its folder, once, whoever asks: `python -m rlaif.ablations.execute FOLDER`.

This small process stands between an ablation and the program. The folder is locked as long as either of them lives, so
two ablations that need a stage at the same time run it once, and the later one finds it done. When the ablation itself
is killed, the stages that were running end by themselves, and the next run takes them up: nothing is paid for twice.

An address is of the code and the files as they were when the ablation was planned. They are compared again before the
program starts and after it has ended, so that what was edited in between is never kept under an address that it does
not have.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rlaif.ablations.code import code_fingerprint, forget
from rlaif.files.sources import fingerprint, write_json
from rlaif.training import resume_point

__all__ = ["GRACE", "last_line", "run_stage"]

# They keep what they paid for in their output folder, and go on from it to the same result.
RESUMING = {"rlaif sample", "rlaif judge", "rlaif evaluate", "best_of_n.py"}
GRACE = 10.0  # seconds that a program has to end when it is told to


def run_stage(folder: str | Path) -> int:
    """Runs what `folder`/request.json asks for, unless it is done; the exit status of the program.

    Where the program failed, failed.json says how; what it printed is in log.txt.
    """
    folder = Path(folder)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    os.chdir(request["directory"])  # settings name paths as seen from there
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for another process that runs this stage
        if (folder / "stage.json").exists() and (folder / "output").exists():
            return 0
        for mark in ("failed.json", "stage.json"):  # of an output that is no longer there
            (folder / mark).unlink(missing_ok=True)
        if changed := _changed(request):
            return _failed(folder, 1, changed)
        more, before = _go_on(folder, request)
        words = [*request["words"], *more]
        started = time.time()
        write_json(folder / "started.json", {"started": started, "before": before})
        code, cpu, peak = _run(words, folder / "log.txt", request["environment"], lock.fileno())
        if code != 0:
            return _failed(folder, code, last_line(folder / "log.txt", code))
        if not (folder / "output").exists():
            return _failed(folder, 1, f"it ended well but wrote nothing to {folder / 'output'}")
        if changed := _changed(request):
            _start_over(folder)
            return _failed(folder, 1, changed)
        write_json(
            folder / "stage.json",
            {
                "seconds": round(before + time.time() - started, 2),
                "cpu_seconds": round(cpu, 2),  # of the last attempt
                "peak_memory": peak,
                "attempts_before": round(before, 2),
                "made_by": request["made_by"],
                "host": socket.gethostname(),
                "words": words,
            },
        )
    return 0


def _run(words: list[str], log: Path, environment: Mapping[str, str], lock: int) -> tuple[int, float, int]:
    """Runs a command to its end: exit status, CPU seconds, peak resident set of its largest process in bytes.

    Told to end (SIGTERM), it tells the program, which gets `GRACE` seconds: torchrun's workers are in sessions of
    their own, and only torchrun can end them.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            words,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environment},
            pass_fds=[lock],  # the folder stays locked while the program lives, should this process be killed
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return process.returncode, usage.ru_utime + usage.ru_stime, peak


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _failed(folder: Path, status: int, line: str) -> int:
    write_json(folder / "failed.json", {"status": status, "line": line})
    return status


def _changed(request: Mapping[str, Any]) -> str | None:
    """What is no longer as it was when the stage's address was made."""
    forget()
    code, *functions = request["code"]
    what = f"the code of {request['program']}"
    try:
        if code_fingerprint(request["program"], tuple(functions)) != code:
            return f"{what} was changed after this was planned; run the ablation again"
        for what, was in request["files"].items():
            if fingerprint(what) != was:
                return f"{what} was changed after this was planned; run the ablation again"
    except (OSError, SyntaxError, ValueError) as error:
        return f"{what} cannot be read any more ({error}); mend it and run the ablation again"
    return None


def _start_over(folder: Path) -> None:
    shutil.rmtree(folder / "output", ignore_errors=True)
    (folder / "started.json").unlink(missing_ok=True)


def _go_on(folder: Path, request: Mapping[str, Any]) -> tuple[list[str], float]:
    """What to add to the command so that it goes on from what a killed run left, and the seconds that this one took.

    What the program cannot go on from is deleted, and its seconds do not count.
    """
    output = folder / "output"
    added: list[str] | None = None
    if not output.exists():
        pass
    elif request["program"] in RESUMING or Path(request["program"]).name in RESUMING:
        added = []
    elif any(output.glob("checkpoint-*")):
        try:
            if checkpoint := resume_point("true", str(output)):
                added = ["--resume_from_checkpoint", checkpoint]
        except ValueError:
            pass  # none of them is whole
    if added is None:
        _start_over(folder)
        return [], 0.0
    try:
        attempt = json.loads((folder / "started.json").read_text(encoding="utf-8"))
        ended = (folder / "log.txt").stat().st_mtime  # when it last said something
    except (OSError, ValueError):
        return added, 0.0
    return added, float(attempt["before"]) + max(0.0, ended - float(attempt["started"]))


def last_line(log: Path, status: int) -> str:
    """Why a program failed, in one line: its `error:` line, else that of its exception, else the last that it printed.

    What accelerate's and torchrun's reports say after it, that a process failed, is known.
    """
    text = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # Under a launcher the line stands below what that says of it; this may come before it is written.
    errors = [line for line in lines if line.startswith(("error: ", "stopped: "))]
    if errors:
        return re.sub("^stopped: ", "error: ", errors[-1])
    # The launcher's own: from the `ChildFailedError` on, and what torchrun logs before it.
    theirs = re.compile(r"CalledProcessError|ChildFailedError|torch[./]distributed[./]elastic")
    last = next((i for i, line in enumerate(lines) if "ChildFailedError" in line), len(lines))
    ours = [line for line in lines[:last] if not theirs.search(line) and not line.startswith("Traceback (most rec")]
    raised = [line for line in ours if re.match(r"(\[rank\d+\]: *)?[\w.]*(Error|Exception|Interrupt)\b(:|$)", line)]
    said = raised[-1] if raised else ours[-1] if ours else None
    if status < 0:
        return f"killed by signal {-status}" + (f"; before that: {said}" if said else "")
    return said or f"it ended with status {status} and printed nothing"


if __name__ == "__main__":
    try:
        sys.exit(run_stage(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)
