"""The last word under a launcher that speaks after its programs have failed.

`accelerate launch` prints a traceback of its own when a program's exit status is not 0; torch's launcher of several
processes, which it uses for those, a summary of every one of them. A program cannot keep either from it. So a small
process of its own outlives the launcher by a moment, and prints the `error:` line where people look for it: last.

The first process of a launcher that fails has the word; the others, which fail alike or because it has gone, have none.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Literal

__all__ = ["is_launched", "left_to_a_watcher"]

_LONGEST = 90  # seconds that a launcher may take to end: torch's gives its other processes 30
# Of the child: `os.pidfd_open` where there is one, else a look 50 times a second.
_WATCH = """
import os, select, signal, sys, time
launcher, longest, line = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: None)
try:
    if hasattr(os, "pidfd_open"):
        handle = os.pidfd_open(launcher)
        os.write(1, b"1")
        os.close(1)
        select.select([handle], [], [], longest)
    else:
        os.kill(launcher, 0)
        os.write(1, b"1")
        os.close(1)
        end = time.monotonic() + longest
        while time.monotonic() < end:
            os.kill(launcher, 0)
            time.sleep(0.02)
except ProcessLookupError:
    pass
try:
    os.write(2, line.encode("utf-8", "replace") + b"\\n")
except OSError:
    pass
"""


def left_to_a_watcher(line: str) -> Literal["no", "yes", "another"]:
    """Whether `line` will be printed after the launcher's own.

    Returns:
        "no" where no launcher speaks, or there is no way; "another" where another of its processes has the last word.
    """
    launcher = os.getppid()
    if not _speaks(launcher):
        return "no"
    if not _first(launcher):
        return "another"
    try:
        read, write = os.pipe()
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCH, str(launcher), str(_LONGEST), line],
            stdin=subprocess.DEVNULL,
            stdout=write,
            start_new_session=True,  # the launcher ends the process groups that it started
            pass_fds=[_held.fileno()] if _held is not None else (),
        )
        os.close(write)
        ready = os.read(read, 1)  # empty where the child could not do it
        os.close(read)
    except OSError:
        return "no"
    return "yes" if ready == b"1" else "no"


def is_launched() -> bool:
    """Whether the parent is `accelerate launch` or torch's launcher."""
    # They say so in the environment, which is quicker to look at than a process.
    named = "TORCHELASTIC_RUN_ID" in os.environ or any(name.startswith("ACCELERATE_") for name in os.environ)
    if os.name != "posix" or not named:
        return False
    return any(_kind(_words(os.getppid())))


def _words(launcher: int) -> list[str]:
    import psutil

    try:
        words: list[str] = psutil.Process(launcher).cmdline()
    except psutil.Error:
        return []
    return words


def _kind(words: list[str]) -> tuple[bool, bool]:
    """Whether a command line is accelerate's launcher, and whether it is torch's."""
    names = {os.path.basename(word) for word in words[:4]}
    by_cli = bool({"accelerate", "accelerate.commands.accelerate_cli"} & names) and "launch" in names
    accelerate = by_cli or bool({"accelerate-launch", "accelerate.commands.launch"} & names)
    return accelerate, bool({"torchrun", "torch.distributed.run"} & names)


def _speaks(launcher: int) -> bool:
    """Whether the parent is a launcher that prints when a program has failed."""
    if os.name != "posix" or launcher <= 1:  # what outlives a container's first process is killed with it
        return False
    words = _words(launcher)
    accelerate, torchs = _kind(words)
    if "TORCHELASTIC_RUN_ID" in os.environ and (accelerate or torchs):
        # A launcher that starts the processes again has not ended with them.
        again = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
        return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) >= again
    return accelerate and not {"-q", "--quiet"} & {*words[: _place(words, sys.argv[0])]}


def _place(words: list[str], program: str) -> int:
    """Where the program's own words begin among the launcher's."""
    name = os.path.basename(program)
    return next((at for at, word in enumerate(words) if at > 1 and os.path.basename(word) == name), len(words))


_held: socket.socket | None = None


def _first(launcher: int) -> bool:
    """Whether no other process of this launcher has claimed the last word: a name that the system forgets by itself."""
    global _held
    if not sys.platform.startswith("linux"):
        return os.environ.get("LOCAL_RANK", "0") == "0"
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0rlaif-last-word-{os.getuid()}-{launcher}")
    except OSError:
        claim.close()
        return False
    os.set_inheritable(claim.fileno(), True)
    _held = claim
    return True
