"""Standard output and error that may be closed, from the start or by whoever stops reading (`rlaif ... | head`)."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

__all__ = ["keep_writing"]


def keep_writing() -> None:
    """From now on, text that nobody reads any more is dropped: the program goes on with its work.

    A test's or a notebook's own streams, and a terminal, stay as they are.
    """
    for descriptor, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell (`>&-`): the next file that is opened would take its number
            _fill(descriptor)
            if name != "stdin":
                setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", closefd=False))
        elif name != "stdin":
            _guard(stream, name)


def _fill(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        empty = os.open(os.devnull, os.O_RDWR)
        if empty != descriptor:
            os.dup2(empty, descriptor)
            os.close(empty)


class _Open(io.FileIO):
    """Standard output or error, whose reader may go away and whose disk may be full."""

    def write(self, data: Any) -> int:
        """The number of bytes written, or dropped where nobody reads them any more."""
        try:
            return super().write(data)
        except OSError as error:
            empty = os.open(os.devnull, os.O_WRONLY)
            os.dup2(empty, self.fileno())  # for what libraries write past Python too, and for what is said from now on
            os.close(empty)
            if not isinstance(error, BrokenPipeError) and self.fileno() != 2:  # nowhere is left to say that of stderr
                raise OSError(error.errno, error.strerror, "standard output") from None
            return memoryview(data).nbytes


def _guard(stream: Any, name: str) -> None:
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # python -u has no buffer in between
    if type(raw) is not io.FileIO or stream is not getattr(sys, f"__{name}__") or stream.isatty():
        return
    stream.flush()
    pipe = _Open(raw.fileno(), "wb", closefd=False)
    guarded = io.TextIOWrapper(
        pipe if buffer is raw else io.BufferedWriter(pipe),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    setattr(sys, name, guarded)
