"""Runs a program to its end: a user's mistake in one line, a bug with its traceback, Ctrl-C, SIGTERM, closed pipes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from rlaif.errors import stopping
from rlaif.errors.libraries import in_words
from rlaif.errors.lines import GateError, UsageError, fail
from rlaif.errors.streams import keep_writing
from rlaif.secrets import redacted

__all__ = ["run"]


def run(main: Callable[[], None]) -> None:
    """Runs a program: what is a user's to mend (data, a file, a library) ends it in one line, a bug in a traceback.

    Exit status:
        0: it did what it was asked, also where nobody reads any more what it prints.
        1: an error, in the data, a model, a file, a folder or a library; also a bug, with its traceback.
        2: usage (UsageError): a command, a setting or a --config that does not fit; no work was begun.
        3: a gate failed (GateError): everything is written, and is not good enough to go on with.
        4: stopped on purpose (Ctrl-C or SIGTERM): what was stored is kept, and the same command goes on from there.

    RLAIF_TRACEBACK=1 in the environment shows the traceback of each. No key is shown in either.
    """
    keep_writing()
    stopping.listen()
    sys.excepthook = _show_traceback
    try:
        _to_its_end(main)
    except BaseException as error:
        stopping.over = True  # before any call: a signal that has come already is heard as the next one begins
        said = _last_words(error)
        if said is None:
            raise
        fail(*said)
    else:
        stopping.over = True


def _to_its_end(main: Callable[[], None]) -> None:
    try:
        main()
    except SystemExit as end:
        if end.code in (None, 0):  # --help
            sys.stdout.flush()
        raise
    sys.stdout.flush()


def _last_words(error: BaseException) -> tuple[str, int] | None:
    """The line that ends a program, and its exit status; None for a bug, and for an end that is said already."""
    if isinstance(error, KeyboardInterrupt):  # its own words, where it has some
        return str(error) or "interrupted; what was stored is kept, and the same command goes on from there.", 4
    if not isinstance(error, Exception) or os.environ.get("RLAIF_TRACEBACK"):
        return None
    if (line := in_words(error)) is None:
        return None
    return line, 2 if isinstance(error, UsageError) else 3 if isinstance(error, GateError) else 1


def _show_traceback(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """A bug's traceback, without keys."""
    print(redacted("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr, flush=True)
