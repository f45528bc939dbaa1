"""Functions that a user wrote and a setting names: a gold reward, a reward of PPO, a judge."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlaif.errors.words import plain

__all__ = ["check_takes", "is_number", "naming", "what_it_raised"]

# What a function may raise that is no Exception and no wish of the user's.
_ENDS = (Exception, SystemExit, GeneratorExit)

_LARGEST = 3.4e38


def check_takes(function: Callable[..., Any], what: str, names: Sequence[str], may_be_async: bool = False) -> None:
    """A ValueError unless `function` can be called with what `names` name, one after the other."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin may have none to show
        return
    expected = f"({', '.join(names)})"
    try:
        signature.bind(*names)
    except TypeError as error:
        raise ValueError(f"{what} takes {signature} ({error}); expected {expected}.") from None
    if inspect.iscoroutinefunction(function) and not may_be_async:
        raise ValueError(f"{what} is async; expected a plain function of {expected}.")


def is_number(value: Any) -> bool:
    """Whether a value is a number that a reward can be: finite, and no larger than a float32, in which they are summed.

    Python's whole numbers have no end: of 10 ** 400 no float can be made.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Whatever is raised within becomes a ValueError that names `what` ("the reward function 'my:f'") and the line."""
    try:
        yield
    except _ENDS as error:
        raise ValueError(f"{what} failed ({what_it_raised(error)}); mend it.") from error


def what_it_raised(error: BaseException) -> str:
    """ "KeyError: 'x', rewards.py line 12": what was raised, on one line, and where, innermost."""
    try:
        text = " ".join(str(error).encode("utf-8", "replace").decode().split())
    except Exception:
        text = "its message cannot be read"
    steps = traceback.extract_tb(error.__traceback__)
    where = f", {Path(steps[-1].filename).name} line {steps[-1].lineno}" if steps else ""
    if isinstance(error, SyntaxError) and error.filename:  # found while importing it
        where = ""
    return f"{type(error).__name__}: {plain(text):.200}{where}" if text else f"{type(error).__name__}{where}"
