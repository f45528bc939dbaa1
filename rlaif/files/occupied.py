"""One command in a folder at a time: a mark that says who is there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["BOOKKEEPING", "LEFT", "WRITTEN_BY", "occupied"]

WRITTEN_BY = ".written-by"  # whose output a folder is (`rlaif.files.ownership`)
LEFT = re.compile(r"\.\d+\.partial$")  # what a killed process was writing (`whole_file`): NAME.PID.partial

_MARK = ".in-use"
BOOKKEEPING = re.compile(r"\.written-by|\.in-use(-\d+)?")  # names of ours that are no part of what a folder holds
_BEAT = 15.0  # seconds between two signs of life
_DEAD = 120.0  # seconds without one after which a process of another machine counts as gone


@contextmanager
def occupied(folder: str | Path, what: str) -> Iterator[None]:
    """Marks `folder` as in use by this process until the block ends; in a launcher's other processes it does nothing.

    The mark is a file that only one process can create (O_EXCL). One that a killed process left is taken over: on this
    machine as soon as that process is gone, from another machine when it gave no sign of life for two minutes. What it
    had begun to write and not finished is removed.

    Args:
        folder: made where it is missing.
        what: the command, for the error of the second one.

    Raises:
        ValueError: another process is at work there.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    path = Path(folder) / _MARK
    path.parent.mkdir(parents=True, exist_ok=True)
    _take(path, what)
    for left in path.parent.iterdir():
        if LEFT.search(left.name) and left.is_file():
            left.unlink(missing_ok=True)
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, done), daemon=True)
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
        path.unlink(missing_ok=True)


def _take(path: Path, what: str) -> None:
    mark = {"what": what, "host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}
    for _ in range(100):
        try:
            file = path.open("x", encoding="utf-8")
        except FileExistsError:
            holder = _holder(path)
            if holder is not None:
                raise ValueError(
                    f"{path.parent} is in use by another command ({holder}); wait until it has ended, or write to "
                    "another folder."
                ) from None
            _remove_dead(path)
            continue
        try:
            with file:
                file.write(json.dumps(mark))
        except BaseException:  # a full disk: half a mark would count as another command's
            path.unlink(missing_ok=True)
            raise
        return
    raise ValueError(f"{path} comes back however often it is removed; remove it if no other command is at work there.")


def _remove_dead(path: Path) -> None:
    """Removes a dead process's mark; one that another process has put in its place meanwhile is put back."""
    moved = path.with_name(f"{_MARK}-{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, moved)
        if _holder(moved) is not None:
            with contextlib.suppress(FileExistsError):
                os.link(moved, path)
    moved.unlink(missing_ok=True)


def _holder(path: Path) -> str | None:
    """Who holds a mark, in words; None where nobody does any more."""
    try:
        age = time.time() - path.stat().st_mtime
        mark = json.loads(path.read_text(encoding="utf-8"))
        host, pid = str(mark["host"]), int(mark["pid"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # just created and not written yet, or cut off by a full disk
        return f"which began {age:.0f} s ago" if age < _DEAD else None
    words = f"{mark.get('what')}, process {pid} on {host}"
    if host == socket.gethostname():
        return words if mark.get("started") is not None and _started(pid) == mark["started"] else None
    return words if age < _DEAD else None


def _started(pid: int) -> float | None:
    """When a process of this machine began, which tells it from a later one of the same number; None if it is gone."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time(), 1)
    except psutil.Error:
        return None


def _beat(path: Path, done: threading.Event) -> None:
    while not done.wait(_BEAT):
        with contextlib.suppress(OSError):
            os.utime(path)
