"""A Python function as judge: a gold reward, a rule ("the longer one"), a stand-in for a model in an experiment."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaif.judges.base import Question, vote
from rlaif.judges.prompts import TEMPLATES, Template
from rlaif.records import Prompt, Vote, content_hash

__all__ = ["ScriptedJudge", "import_function", "longer"]


def import_function(name: str) -> Callable[..., Any]:
    """The function that "package.module:function" names; a ValueError that says which part is wrong."""
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(f"{name!r} names no function; expected 'package.module:function'.")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise ValueError(f"{name!r} cannot be imported ({error}); is {module} installed or on PYTHONPATH?") from None
    except AttributeError:
        raise ValueError(f"{name!r}: {module} has no {attribute!r}.") from None
    if not callable(found):
        raise ValueError(f"{name!r} is a {type(found).__name__}; expected a function.")
    return found  # type: ignore[no-any-return]


def longer(prompt: Prompt, first: str, second: str) -> float:
    """P(first is better) of a judge that prefers the longer response: 1, 0, or 0.5 at equal length."""
    return 0.5 + 0.5 * ((len(first) > len(second)) - (len(first) < len(second)))


def _source_hash(function: Callable[..., Any]) -> str | None:
    """16 hex digits that change with the file that a function (or a callable object's class) is written in."""
    function = inspect.unwrap(function)
    try:
        file = inspect.getsourcefile(function if inspect.isroutine(function) else type(function))
    except TypeError:
        return None  # built in, or compiled: there is no source
    if file is None or not Path(file).is_file():
        return None
    return content_hash(Path(file).read_text(encoding="utf-8", errors="replace"))[:16]


class ScriptedJudge:
    """P(first is better) from `function(prompt, first, second) -> float in [0, 1]`.

    What it returns that is not a probability, and any exception, becomes an unjudged vote with its reason. The content
    of the function's source file is one of the judge's parameters, so that an edited function is asked again.
    """

    template: Template = TEMPLATES["compact"]

    def __init__(self, function: str) -> None:
        self.name = function
        self._function = import_function(function)
        self.parameters: Mapping[str, Any] = {
            "kind": "scripted",
            "function": function,
            "source": _source_hash(self._function),
        }

    def plan(self, questions: Sequence[Question]) -> list[list[Question]]:
        """Every question by itself: calls are independent, and each is stored when it is answered."""
        return [[question] for question in questions]

    def answer(self, batches: list[list[Question]]) -> Iterator[list[Vote]]:
        """One vote a question."""
        for batch in batches:
            yield [self._one(question) for question in batch]

    def _one(self, question: Question) -> Vote:
        pair = question.pair if question.order == "ab" else question.pair.swap()
        try:
            p = float(self._function(pair.prompt, pair.response_a, pair.response_b))
        except Exception as error:  # somebody else's code: whatever it raises is the reason
            return vote(self, question, None, f"{type(error).__name__}: {error}", method="function")
        if math.isnan(p) or not 0.0 <= p <= 1.0:
            return vote(self, question, None, f"the function returned {p}, not a probability", method="function")
        return vote(self, question, p, method="function")
