"""SIGTERM, with which schedulers end a program before they kill it (Slurm, Kubernetes, `kill`), ends it like Ctrl-C.

Where a program must not be left at any place, it notes the signal and stops where it can (`noted`): training, at the
end of a step, once that is saved. Ctrl-C still stops there at once.

`accelerate launch` with one process ends at once on SIGTERM and leaves its program running. So the system is asked to
pass on the end of a launcher (Linux alone).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rlaif.errors.launcher import is_launched

__all__ = ["Wish", "listen", "noted", "over"]


class Wish:
    """Whether SIGTERM has come since `hold`; before that it interrupts.

    Attributes:
        asked: it has.
    """

    def __init__(self) -> None:
        self.asked = False
        self.held = False

    def hold(self) -> None:
        """From now on SIGTERM is noted, and interrupts no more."""
        self.held = True


_wish: Wish | None = None
_listener: int | None = None  # the process that listens: what it forks ends on SIGTERM as ever
over = False  # the program has come to its end, good or bad, and says so: from then on SIGTERM changes nothing


def listen() -> None:
    """From now on SIGTERM ends this program as Ctrl-C does, unless it was told to ignore it."""
    global _listener, over
    over = False
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    _listener = os.getpid()
    signal.signal(signal.SIGTERM, _stop)
    _hear_of_the_launcher()


@contextmanager
def noted() -> Iterator[Wish]:
    """SIGTERM is noted in the block, once it calls `hold`; a wish that is left at the block's end interrupts there."""
    global _wish
    outer, _wish = _wish, Wish()
    wish = _wish
    try:
        yield wish
    finally:
        _wish = outer
    if wish.asked:
        raise KeyboardInterrupt


def _stop(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _listener:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    elif _wish is not None and _wish.held:
        _wish.asked = True
    elif over or isinstance(sys.exc_info()[1], KeyboardInterrupt):
        pass  # a scheduler tells the launcher and its processes, and the launcher tells them again
    else:
        interrupt = signal.getsignal(signal.SIGINT)  # asyncio has one that cancels what runs
        if not callable(interrupt):  # a shell's job in the background ignores Ctrl-C
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)


_PR_SET_PDEATHSIG = 1


def _hear_of_the_launcher() -> None:
    launcher = os.getppid()
    if not sys.platform.startswith("linux") or not is_launched():
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != launcher:  # it ended meanwhile
        os.kill(os.getpid(), signal.SIGTERM)
