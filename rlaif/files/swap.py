"""New files and folders take the place of old ones: a reader finds the old or the new, at any moment and after a kill.

What is new is written whole beside its place, on the same file system, under a hidden name. It changes places with what
is there in one step where the system can do that (Linux, macOS), else by two renames.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

__all__ = ["exchange", "move_into", "replace_folder", "staging"]

_AT_FDCWD = -100
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux's renameat2, RENAME_SWAP of macOS's renamex_np


@contextmanager
def staging(folder: Path, name: str) -> Iterator[Path]:
    """An empty hidden folder within an output folder of ours, gone after the block; one that a kill left is replaced.

    Args:
        folder: the output folder.
        name: begins with a dot.
    """
    staged = folder / name
    _remove(staged)
    staged.mkdir(parents=True)
    try:
        yield staged
    finally:
        _remove(staged)


def move_into(
    staged: Path, folder: Path, first_gone: Sequence[str] = ("manifest.json",), also_gone: Sequence[str] = ()
) -> None:
    """Moves all that `staged` holds into `folder`, for what has the same names there.

    Args:
        staged: within `folder`, on its file system; ends up with what was replaced.
        first_gone: names without which the folder counts as unfinished: set aside first, and put in place last.
        also_gone: names that an earlier run may have left in `folder` and that go, whether they are in `staged` or not.
    """
    for name in (*first_gone, *also_gone):
        if ((staged / name).exists() or name in also_gone) and (folder / name).exists():
            os.rename(folder / name, staged / f".{name}.earlier")
    new_ones = [path for path in staged.iterdir() if not path.name.startswith(".")]
    for new in sorted(new_ones, key=lambda path: (path.name in first_gone, path.name)):
        replace_folder(new, folder / new.name) if new.is_dir() else os.replace(new, folder / new.name)


def replace_folder(new: Path, old: Path) -> None:
    """Puts the folder `new` where `old` is, or was; afterwards `new` is gone or holds what `old` held."""
    if not os.path.lexists(old):
        os.rename(new, old)
    else:
        exchange(new, old)


def exchange(one: Path, other: Path) -> None:
    """Lets two files or folders of one file system change places."""
    if _at_once(one, other):
        return
    aside = other.with_name(f".{other.name.lstrip('.')}.{os.getpid()}.aside")
    os.rename(other, aside)
    try:
        os.rename(one, other)
    except BaseException:
        os.rename(aside, other)
        raise
    os.rename(aside, one)


def _at_once(one: Path, other: Path) -> bool:
    """Whether the system could exchange the two in one step, and did."""
    call = _system_call()
    if call is None:
        return False
    if call(os.fsencode(one), os.fsencode(other)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EPERM):  # a file system without it
        return False
    raise OSError(number, os.strerror(number), str(other))


@cache
def _system_call() -> Callable[[bytes, bytes], int] | None:
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform.startswith("linux"):
            rename = library.renameat2
            return lambda one, other: int(rename(_AT_FDCWD, one, _AT_FDCWD, other, _EXCHANGE))
        if sys.platform == "darwin":
            swap = library.renamex_np
            return lambda one, other: int(swap(one, other, _EXCHANGE))
    return None


def _remove(path: Path) -> None:
    """Removes a hidden folder of ours, of a link the link alone."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
