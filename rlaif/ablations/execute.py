"""Runs one stage in its folder, once, whoever asks: `python -m rlaif.ablations.execute FOLDER`.

This small process stands between an ablation and the program. The folder is locked as long as either of them lives, so
two ablations that need a stage at the same time run it once, and the later one finds it done. When the ablation itself
is killed, the stages that were running end by themselves, and the next run takes them up: nothing is paid for twice.

What was edited since the ablation was planned is never kept: inputs are compared before the program starts and after it
has ended, and of the code that it turned out to have imported nothing may be newer than the plan.
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
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import rlaif
from rlaif.ablations.programs import changed_in, hashes
from rlaif.ablations.stages import record_of
from rlaif.files.occupied import WRITTEN_BY
from rlaif.files.sources import fingerprint, write_json

__all__ = ["GRACE", "last_line", "run_stage"]

GRACE = 10.0  # seconds that a program has to end when it is told to
_PACKAGE = Path(rlaif.__file__).parent


def run_stage(folder: str | Path) -> int:
    """Runs what `folder`/request.json asks for, unless it is done; the exit status of the program.

    Where the program failed, failed.json says how; what it printed is in log.txt.
    """
    folder = Path(folder)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    os.chdir(request["directory"])  # settings name paths as seen from there
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for another process that runs this stage
        record = record_of(folder)
        if record and (folder / "output").exists() and changed_in(record["code"]) is None:
            return 0
        if record or not _goes_on(folder, request):
            _start_over(folder)
        for mark in ("failed.json", "stage.json", "imported.json"):  # of what is no longer there, or no longer so
            (folder / mark).unlink(missing_ok=True)
        if changed := _changed_input(request):
            return _failed(folder, 1, changed)
        before, planned = _attempts(folder, request)
        started = time.time()
        write_json(folder / "started.json", {"started": started, "before": before, "planned": planned})
        status, cpu, peak = _run(request["words"], folder / "log.txt", request["environment"], lock.fileno())
        if status != 0:
            return _failed(folder, status, last_line(folder / "log.txt", status))
        if not (folder / "output").exists():
            return _failed(folder, 1, f"it ended well but wrote nothing to {folder / 'output'}")
        files = _imported(folder, request)
        edited = _newer(files, planned)
        if changed := f"{edited} was changed {_SINCE}" if edited else _changed_input(request):
            _start_over(folder)
            return _failed(folder, 1, changed)
        write_json(
            folder / "stage.json",
            {
                "seconds": round(before + time.time() - started, 2),
                "attempts_before": round(before, 2),
                # Of one attempt they would be those of a part.
                "cpu_seconds": None if before else round(cpu, 2),
                "peak_memory": None if before else peak,
                "made_by": request["made_by"],
                "host": socket.gethostname(),
                "words": request["words"],
                "code": {**_code_of_inputs(request), **hashes(files)},
            },
        )
    return 0


def _run(words: list[str], log: Path, environment: Mapping[str, str | None], lock: int) -> tuple[int, float, int]:
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
            env={name: value for name, value in {**os.environ, **environment}.items() if value is not None},
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


_SINCE = "after this was planned; run the ablation again"


def _changed_input(request: Mapping[str, Any]) -> str | None:
    """What the stage reads that is no longer as it was when its address was made, or when its inputs ran."""
    if edited := changed_in(_code_of_inputs(request)) or _newer([request["program"]], request["planned"]):
        return f"{edited} was changed {_SINCE}"
    for what, was in request["files"].items():
        try:
            if fingerprint(what) != was:
                return f"{what} was changed {_SINCE}"
        except (OSError, ValueError) as error:
            return f"{what} cannot be read any more ({error}); mend it and run the ablation again"
    return None


def _code_of_inputs(request: Mapping[str, Any]) -> dict[str, str]:
    """What the stages that this one reads executed, and those that they read; nothing is known of a deleted one."""
    records = [record_of(Path(folder)) for folder in request["inputs"]]
    return {file: was for record in records if record for file, was in record["code"].items()}


def _imported(folder: Path, request: Mapping[str, Any]) -> list[str]:
    """The files of code that a program imported; where it could not say (`os._exit`), all that it may have."""
    try:
        files: list[str] = json.loads((folder / "imported.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _all_code(request)
    return files


def _all_code(request: Mapping[str, Any]) -> list[str]:
    """All of rlaif, and what stands beside a program."""
    program = Path(request["program"])
    beside = program.parent.glob("*.py") if program.is_file() else ()
    return sorted(os.path.abspath(file) for file in (*_PACKAGE.rglob("*.py"), *beside))


def _newer(files: Iterable[str], moment: float) -> str | None:
    """The first file that was written, or put in its place, after a moment; also with an older date of its own."""
    return next((file for file in files if os.path.exists(file) and os.stat(file).st_ctime > moment), None)


def _goes_on(folder: Path, request: Mapping[str, Any]) -> bool:
    """Whether the same command goes on from what a killed one left in the output: our programs do, with their code.

    What its code was is not known of one that was killed, so that nothing at all may have been edited since.
    """
    try:
        planned = json.loads((folder / "started.json").read_text(encoding="utf-8"))["planned"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(request["goes_on"]) and _newer(_all_code(request), planned) is None


def _start_over(folder: Path) -> None:
    """Deletes an output, but for replies of servers: these are paid for, and a call's address says all of it."""
    output = folder / "output"
    replies = [*output.glob("replies/*.jsonl")]
    if any('"served_by"' in file.read_text(encoding="utf-8", errors="replace") for file in replies):
        for entry in output.iterdir():
            if entry.name not in ("replies", WRITTEN_BY):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    else:
        shutil.rmtree(output, ignore_errors=True)
    (folder / "started.json").unlink(missing_ok=True)


def _attempts(folder: Path, request: Mapping[str, Any]) -> tuple[float, float]:
    """The seconds that earlier attempts took, to the last word of the log, and when the first one was planned."""
    try:
        attempt = json.loads((folder / "started.json").read_text(encoding="utf-8"))
        ended = (folder / "log.txt").stat().st_mtime
    except (OSError, ValueError):
        return 0.0, float(request["planned"])
    return float(attempt["before"]) + max(0.0, ended - float(attempt["started"])), float(attempt["planned"])


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
