"""SIGTERM ends a program as Ctrl-C does, once, and nothing that it forked; training notes it and ends its step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support import rlaif_env, wait_until
from support.programs import process_kept

from rlaif.errors import stopping
from rlaif.errors.stopping import listen, noted

LINE = "error: interrupted; what was stored is kept, and the same command goes on from there.\n"


@pytest.fixture
def listening() -> Iterator[None]:
    with process_kept():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        listen()
        yield


def told() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_it_interrupts_once(listening: None) -> None:
    """A scheduler tells the launcher and its processes, and the launcher tells them again."""
    ended = []

    def program() -> None:
        try:
            told()
        finally:
            told()
            ended.append("in peace")

    with pytest.raises(KeyboardInterrupt):
        program()
    assert ended == ["in peace"]
    with pytest.raises(KeyboardInterrupt):
        told()
    stopping.over = True
    told()


def test_it_is_noted_once_a_program_says_so(listening: None) -> None:
    done = []

    def at_work(number: int = signal.SIGTERM, obeys: bool = False, fails: bool = False) -> None:
        with noted() as wish:
            wish.hold()
            for _ in range(2):
                os.kill(os.getpid(), number)
            assert wish.asked
            done.append("to its end")
            wish.asked = not obeys
            if fails:
                raise ValueError("another end")

    at_work(obeys=True)
    with pytest.raises(KeyboardInterrupt):
        at_work()
    with pytest.raises(ValueError, match="another end"):
        at_work(fails=True)
    assert len(done) == 3
    with pytest.raises(KeyboardInterrupt):  # Ctrl-C does not wait
        at_work(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), noted():
        told()
    with pytest.raises(KeyboardInterrupt):
        told()
    assert len(done) == 3


def test_it_ends_where_ctrl_c_is_ignored_and_is_ignored_where_it_was(listening: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a shell's job in the background
    with pytest.raises(KeyboardInterrupt):
        told()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listen()
    told()


def test_a_process_that_was_forked_ends_as_ever(listening: None) -> None:
    child = os.fork()
    if not child:
        with suppress(BaseException):
            told()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


PROGRAM = """
import sys, time
from pathlib import Path
from rlaif.config import run
def main():
    try:
        Path(sys.argv[1]).touch()
        time.sleep(600)
    finally:
        Path(sys.argv[1]).unlink()
run(main)
"""
# What `accelerate launch` is for one process.
LAUNCHER = "import subprocess, sys\nsubprocess.Popen([sys.executable, *sys.argv[2:]]).wait()\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux tells of a parent's end")
def test_a_program_hears_of_the_end_of_its_launcher(tmp_path: Path) -> None:
    for name, text in (("program.py", PROGRAM), ("accelerate", LAUNCHER)):
        (tmp_path / name).write_text(text)
    mark = tmp_path / "at work"
    words = [sys.executable, str(tmp_path / "accelerate"), "launch", str(tmp_path / "program.py"), str(mark)]
    environment = rlaif_env(ACCELERATE_MIXED_PRECISION="no")
    with (tmp_path / "said").open("w") as said:
        launcher = subprocess.Popen(words, stdout=said, stderr=said, env=environment)
    try:
        wait_until(mark.exists)
        launcher.terminate()
        assert launcher.wait() == -signal.SIGTERM
        wait_until(lambda: (tmp_path / "said").read_text().endswith("\n"))
    finally:
        launcher.kill()
    assert not mark.exists()
    assert (tmp_path / "said").read_text() == LINE


def test_a_program_ends_with_status_4(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    mark = tmp_path / "at work"
    words = [sys.executable, str(tmp_path / "program.py"), str(mark)]
    program = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=rlaif_env())
    wait_until(mark.exists)
    program.terminate()
    assert program.communicate(timeout=60)[1] == LINE
    assert program.returncode == 4
    assert not mark.exists()


# The signal comes while the error is put into words; within C code that fails before it has heard of it; at the exit.
FAILING = """
import atexit, ctypes, operator, os, signal, sys
from functools import partial
from rlaif.config import run
class Slow(ValueError):
    def __str__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return "the row has no prompt"
def in_words():
    raise Slow
def at_work():
    told = partial(ctypes.pythonapi.PyErr_SetInterruptEx, int(signal.SIGTERM))
    list(map(operator.call, [told, partial(().index, 1)]))
def done():
    atexit.register(os.kill, os.getpid(), signal.SIGTERM)
run({"in words": in_words, "at work": at_work, "done": done}[sys.argv[1]])
"""


@pytest.mark.parametrize(
    ("name", "line", "status"),
    [("in words", "error: the row has no prompt\n", 1), ("at work", "x not in tuple", 1), ("done", "", 0)],
)
def test_a_program_that_ends_already_says_why(name: str, line: str, status: int, tmp_path: Path) -> None:
    """Under a launcher the first process that fails ends the others, which often fail at the same moment."""
    (tmp_path / "program.py").write_text(FAILING)
    words = [sys.executable, str(tmp_path / "program.py"), name]
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, env=rlaif_env(), timeout=60)
    assert "KeyboardInterrupt" not in done.stderr
    assert (done.returncode, line in done.stderr, bool(done.stderr)) == (status, True, bool(line)), done.stderr
