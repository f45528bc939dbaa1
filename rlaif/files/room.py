"""A disk that has no room left, as one kind of error that names its place, whoever met it.

Python's own OSError knows no path where a file was already open; safetensors and pyarrow say it in words, and torch
says nothing of the kind. A limit on the size of a file (RLIMIT_FSIZE, a file system's own) counts as no room. What is
full may be another disk than the output's: that of temporary files, or of a library's cache.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["names_place", "names_place_of_run", "no_room"]

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SAID = re.compile(r"os error (\d+)|\[[Ee]rrno (\d+)\]|(No space left)|(File too large)|(Disk quota exceeded)")
_WORDS = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_TORCH = re.compile(r"inline_container|PytorchStreamWriter|\bwrite\(\): fd \d+ failed|basic_ios|iostream")


def no_room(error: BaseException, place: str | Path) -> OSError | None:
    """The error that a full disk means, with the place; None where `error` is another one.

    Args:
        error: as it was raised.
        place: what was being written, or the folder that it is in.
    """
    if type(error).__module__ == "sqlite3" and "disk is full" in str(error):  # its files are temporary ones here
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), tempfile.gettempdir())
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        number = _number_in(str(error)) if _is_of_a_write(error) else None
    if number is None and isinstance(error, RuntimeError) and _TORCH.search(str(error)):
        number = _probe(place)
    if number not in NO_ROOM:
        return None
    where = str(getattr(error, "filename", None) or place)
    if number == errno.EFBIG:
        return OSError(errno.ENOSPC, "No space left for a file of this size", where)
    return OSError(number, "No space left on device" if number == errno.ENOSPC else os.strerror(number), where)


@contextmanager
def names_place(place: str | Path) -> Iterator[None]:
    """Within the block, an error that means a full disk is an OSError that names a place."""
    try:
        yield
    except Exception as error:
        found = no_room(error, place)
        if found is None or (isinstance(error, OSError) and error.filename and error.errno != errno.EFBIG):
            raise
        raise found from error


@contextmanager
def names_place_of_run(output: str | Path) -> Iterator[None]:
    """`names_place` around all that a command does, which writes temporary files and caches too.

    Where the error names no file, the output is named if its disk is full, and else those.
    """
    try:
        with names_place(output):
            yield
    except OSError as error:
        unnamed = error.errno in NO_ROOM and error.filename == str(output) and error.__cause__ is not None
        if not unnamed or getattr(error.__cause__, "errno", None) == errno.EFBIG or _probe(output) in NO_ROOM:
            raise
        elsewhere = f"{tempfile.gettempdir()} or a library's cache (TMPDIR, HF_HOME), since {output} has room"
        raise OSError(error.errno, error.strerror, elsewhere) from error


def _is_of_a_write(error: BaseException) -> bool:
    """Whether a library that writes files raised this; a server's or a model's words may have the same in them."""
    module = type(error).__module__
    return isinstance(error, OSError | RuntimeError) or module.startswith(("safetensors", "pyarrow", "zipfile"))


def _number_in(text: str) -> int | None:
    found = _SAID.search(text)
    if found is None:
        return None
    for number in found.groups()[:2]:
        if number:
            return int(number)
    return next(number for number, said in zip(_WORDS, found.groups()[2:], strict=True) if said)


def _probe(place: str | Path) -> int | None:
    """What writing a little more meets; None where there is room."""
    folder = Path(place)
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".room-") as file, contextlib.closing(file):
            file.write(bytes(1 << 20))
            file.flush()
    except OSError as error:
        return error.errno
    return None
