"""Lines on stderr: `error:`, which ends a program, and `warning:`, which does not. Both begin on a fresh line."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import NoReturn

from rlaif.errors.launcher import left_to_a_watcher
from rlaif.errors.words import plain
from rlaif.secrets import redacted

__all__ = ["GateError", "UsageError", "fail", "one_line", "prefixed", "warn"]


class GateError(ValueError):
    """What was asked for is done and written, and it is not good enough to go on with."""


class UsageError(ValueError):
    """What was asked for does not fit the program: an unknown command or setting, or a value that it cannot have."""


def prefixed(words: str, error: ValueError) -> ValueError:
    """An error with `words` before those of another, and as much of usage as that was."""
    return (UsageError if isinstance(error, UsageError) else ValueError)(f"{words}: {error}")


# A full stop of ours behind one of what is quoted; not that of "../folder".
_TWICE = re.compile(r"(?<=[\w'\")\]`])\.\.(?= |$)")


def fail(message: str, status: int = 1) -> NoReturn:
    """Ends the program with one line on stderr and the exit status that `rlaif.errors.program.run` lists.

    Under a launcher that speaks after its programs (`accelerate launch`), the line comes after the launcher's own.
    """
    line = one_line(message)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    below = _end_bars(for_good=True)
    said = f"error: {line}"
    later = left_to_a_watcher(said)
    if later == "yes":
        said = f"stopped: {line}"  # should the watcher be killed with the launcher, the words are not lost
    if later != "another":
        print(f"{below}{said}", file=sys.stderr, flush=True)
    raise SystemExit(status)


def warn(message: str) -> None:
    """One line on stderr about something that a user should know and that ends nothing; main process only."""
    if os.environ.get("RANK", "0") != "0":
        return
    print(f"{_end_bars()}warning: {one_line(message)}", file=sys.stderr, flush=True)


def one_line(message: str) -> str:
    """A message on one line that any terminal can be sent, without keys."""
    printed = "".join(sign if sign.isprintable() else " " for sign in message.encode("utf-8", "replace").decode())
    return redacted(_TWICE.sub(".", plain(" ".join(printed.split()))))


def _end_bars(for_good: bool = False) -> str:
    """A line break where a progress bar has not ended its line; `for_good`: no bar writes after it."""
    bars = getattr(getattr(sys.modules.get("tqdm"), "tqdm", None), "_instances", ())
    drawn = [bar for bar in [*bars] if not bar.disable]
    if for_good:
        for bar in drawn:
            bar.disable = True
    return "\n" if drawn else ""
