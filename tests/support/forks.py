"""Programs in processes of their own that start at once: forked from a process that has imported what they import.

A forked program has its own memory, environment, folder, signals, output and exit status, and can be killed like any
other. Not for what happens while libraries are imported, nor for what they read from the environment just then.

    python -m support.forks FD    forks programs as they are asked for over a socket, until that is closed
"""

from __future__ import annotations

import atexit
import gc
import importlib
import itertools
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import psutil

from support.programs import ROOT, rlaif_env

IMPORTED = (
    *("accelerate", "aiohttp.web", "datasets", "hypothesis", "matplotlib.pyplot", "psutil", "pytest", "torch"),
    *("tqdm.auto", "transformers", "transformers.models.llama.modeling_llama", "yaml", "support", "support.toys"),
    *("rlaif.cli", "rlaif.commands.evaluate", "rlaif.commands.judge", "rlaif.commands.sample", "rlaif.judging.rewards"),
    *("rlaif.models.api", "rlaif.models.local", "rlaif.models.reward_model", "rlaif.training"),
)


# What programs that train import beside: for `imports`.
TRAINING = ("rlaif.training.ppo.models", "rlaif.training.ppo.trainer", "rlaif.training.trainers")


def imports(*names: str) -> None:
    """Has the process that forks import more, for the programs of tests that follow."""
    failed = _forker().ask({"import": names})
    assert failed is None, failed


class Started:
    """A program that was started; of `subprocess.Popen` what tests use. Its output is in files until it is asked for.

    Attributes:
        pid: its process.
        returncode: its exit status, minus the signal that ended it, or None before `poll` or `wait` found its end.
    """

    def __init__(self, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._printed = out, err

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _forker().ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float = 120.0) -> int:
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.005)
        return status

    def communicate(self, timeout: float = 120.0) -> tuple[str, str]:
        """What it printed, once it has ended."""
        self.wait(timeout)
        return self.printed(), self._printed[1].read_text(encoding="utf-8")

    def printed(self) -> str:
        """What it has printed until now."""
        return self._printed[0].read_text(encoding="utf-8")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(*arguments: object, program: str | Path = "rlaif", folder: Path | None = None, **env: str) -> Started:
    """Starts a module, or the program of a path, with words of its command line."""
    out, err = _forker().files()
    words = [str(program), *map(str, arguments)]
    wanted = {"argv": words, "folder": str(folder or Path.cwd()), "env": rlaif_env(**env)}
    return Started(_forker().ask({**wanted, "files": [str(out), str(err)]}), out, err)


def ended(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Starts a program as `start` does, and waits for its end."""
    started = start(*arguments, **options)
    try:
        out, err = started.communicate()
    finally:
        started.kill()  # where it went on too long
    return subprocess.CompletedProcess(list(arguments), started.wait(), out, err)


def side_by_side(*arguments: object, count: int = 2, **options: Any) -> list[subprocess.CompletedProcess[str]]:
    """A program in `count` processes that are tied together, as `accelerate launch` starts them on the CPU."""
    from torch.distributed import TCPStore

    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    tied = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(meeting.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    tied |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "ACCELERATE_USE_CPU": "true"}
    started = [
        start(*arguments, **options, **tied, RANK=str(rank), LOCAL_RANK=str(rank), TORCHELASTIC_RUN_ID=str(os.getpid()))
        for rank in range(count)
    ]
    try:
        for one in started:
            _wait_beside(one, started)
    finally:
        for one in started:
            one.kill()
    printed = [one.communicate() for one in started]
    return [
        subprocess.CompletedProcess(list(arguments), one.wait(), *texts)
        for one, texts in zip(started, printed, strict=True)
    ]


def _wait_beside(process: Started, all_: list[Started], timeout: float = 600.0) -> None:
    """Waits for the end of one of several processes, or, where another has failed, for five more seconds."""
    deadline = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < deadline:
        if any(one.poll() for one in all_):
            all_, deadline = [], min(deadline, time.monotonic() + 5.0)
        time.sleep(0.005)


# The process that forks -----------------------------------------------------------------------------------------------


# As it is before a test changes it: what is imported once must not depend on which test comes first.
_ENV = rlaif_env(JE_ARROW_MALLOC_CONF="background_thread:false")  # it would be a thread


class _Forker:
    """The other end of the socket, in the tests' process."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        self.lock = threading.Lock()
        self.folder = tempfile.TemporaryDirectory(prefix="printed-")
        self.numbers = itertools.count()
        with theirs:
            command = [sys.executable, "-m", "support.forks", str(theirs.fileno())]
            quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            self.process = subprocess.Popen(command, **quiet, cwd=ROOT, env=_ENV, pass_fds=[theirs.fileno()])
        atexit.register(self.end)

    def files(self) -> tuple[Path, Path]:
        """For what a program prints."""
        number = next(self.numbers)
        out, err = (Path(self.folder.name, f"{number}.{name}") for name in ("out", "err"))
        out.touch()
        err.touch()
        return out, err

    def ask(self, wanted: dict[str, Any]) -> Any:
        with self.lock:
            _send(self.socket, wanted)
            return _received(self.socket)

    def end(self) -> None:
        self.socket.close()
        self.process.wait()
        self.folder.cleanup()


@cache
def _forker() -> _Forker:
    return _Forker()


def _send(end: socket.socket, value: Any) -> None:
    content = json.dumps(value).encode()
    end.sendall(len(content).to_bytes(4, "big") + content)


def _received(end: socket.socket) -> Any:
    return json.loads(_read(end, int.from_bytes(_read(end, 4), "big")))


def _read(end: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        content += (part := end.recv(count - len(content)))
        if not part:
            raise EOFError("the other end of the socket is closed")
    return content


def _status(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _become(wanted: dict[str, Any]) -> NoReturn:
    """Makes a forked process that of a program, and runs it."""
    for number, path in enumerate(wanted["files"], 1):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(wanted["env"])
    os.chdir(wanted["folder"])
    random.seed()
    program, *_ = sys.argv = wanted["argv"]
    is_file = program.endswith(".py")
    paths = [str(Path(program).parent) if is_file else wanted["folder"], *os.environ["PYTHONPATH"].split(os.pathsep)]
    sys.path[:0] = [path for path in paths if path not in sys.path]
    status = 0
    try:
        if is_file:
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    # As the interpreter ends, but for the modules' own ends, which take longest.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _import(names: tuple[str, ...] | list[str]) -> None:
    for name in names:
        importlib.import_module(name)
    assert psutil.Process().num_threads() == 1, "a process with threads cannot be forked safely"
    gc.collect()
    gc.freeze()


def _failure(names: list[str]) -> str | None:
    """Imports; what went wrong. That is the test's that asked for it: others go on."""
    try:
        _import(names)
    except Exception:
        return traceback.format_exc()
    return None


def main(end: socket.socket) -> None:
    _import(IMPORTED)
    running: set[int] = set()
    while True:
        try:
            wanted = _received(end)
        except EOFError:
            for pid in running:  # of a test that failed: nobody waits for them any more
                os.kill(pid, signal.SIGKILL)
            return
        if "poll" in wanted:
            status = _status(wanted["poll"])
            running -= set() if status is None else {wanted["poll"]}
            _send(end, status)
        elif "import" in wanted:
            _send(end, _failure(wanted["import"]))
        elif pid := os.fork():
            running.add(pid)
            _send(end, pid)
        else:
            end.close()
            _become(wanted)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
