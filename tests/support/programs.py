"""The real programs, in this process or in ones of their own: starting, awaiting, killing, and what a refusal is."""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

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


def here(
    *arguments: object, program: str = "rlaif", folder: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """`rlaif` or another program with the same words in this process, seconds quicker, and what it printed.

    Not for what a process has of its own: signals, and libraries that read the environment when they are imported.
    """
    argv = [program, *map(str, arguments)]
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = run_here(argv, folder or Path.cwd(), **{"OPENAI_API_KEY": SECRET, "NO_PROXY": "127.0.0.1", **env})
    return subprocess.CompletedProcess(argv, status, out.getvalue(), err.getvalue())


@cache
def program(path: str) -> Any:
    """The module of a program outside of the package."""
    spec = importlib.util.spec_from_file_location(f"program_{Path(path).stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@contextmanager
def process_kept() -> Iterator[None]:
    """What a program changes in its process is as before afterwards."""
    kept = dict(os.environ), os.getcwd(), sys.argv, sys.excepthook, list(sys.path)
    threshold, levels = gc.get_threshold(), {name: logging.getLogger(name).level for name in _LOGGERS}
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
    main = threading.current_thread() is threading.main_thread()  # no other one sets what a signal does
    signals = {number: signal.getsignal(number) for number in numbers} if main else {}
    verbosity, modules = _verbosity(), set(sys.modules)
    importlib.invalidate_caches()
    try:
        # What a program sets for warnings; pytest's own filters hold in it, as in every test. What it makes is freed.
        with warnings.catch_warnings(), patch.object(gc, "freeze"):
            yield
    finally:
        os.environ.clear()
        os.environ.update(kept[0])
        os.chdir(kept[1])
        sys.argv, sys.excepthook, sys.path[:] = kept[2], kept[3], kept[4]
        for name in sys.modules.keys() - modules:  # of a folder that was only on this program's path
            file = str(getattr(sys.modules[name], "__file__", None))
            if file.startswith(tempfile.gettempdir()) and not file.startswith(f"{ROOT}{os.sep}"):
                del sys.modules[name]
        gc.set_threshold(*threshold)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for number, handler in signals.items():
            signal.signal(number, handler)
        _set_verbosity(verbosity)
        if "accelerate.state" in sys.modules:
            from accelerate.state import AcceleratorState, GradientState

            AcceleratorState._reset_state(True)
            GradientState._reset_state()


_LOGGERS = ("", "accelerate", "datasets", "huggingface_hub", "peft", "torch", "transformers", "trl")


def _verbosity() -> Any:
    import datasets
    import transformers

    bars = not datasets.are_progress_bars_disabled(), transformers.utils.logging.is_progress_bar_enabled()
    return datasets.logging.get_verbosity(), transformers.logging.get_verbosity(), *bars


def _set_verbosity(found: Any) -> None:
    import datasets
    import transformers

    datasets.logging.set_verbosity(found[0])
    transformers.logging.set_verbosity(found[1])
    (datasets.enable_progress_bars if found[2] else datasets.disable_progress_bars)()
    (transformers.logging.enable_progress_bar if found[3] else transformers.logging.disable_progress_bar)()


def run_here(argv: list[str], folder: Path, **env: str) -> int:
    """Runs a program in this process, in `folder`; its exit status (0 where it just ended).

    `argv` begins with "rlaif" or with the path of a program outside of the package.
    """
    from rlaif import cli, config

    with process_kept():
        os.chdir(folder)
        os.environ |= env
        sys.path[:0] = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
        sys.argv = list(argv)
        try:
            if argv[0] == "rlaif":
                cli.main()
            else:
                config.run(program(argv[0]).main)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@contextmanager
def bound_by_modes() -> Iterator[None]:
    """Files may be written and read as their modes say, also where the tests run as root."""
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, data) == 0
    kept = data[0]
    data[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, of this thread
    assert libc.capset(header, data) == 0
    try:
        yield
    finally:
        data[0] = kept
        assert libc.capset(header, data) == 0


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
