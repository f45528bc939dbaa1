"""A Python function as judge: a gold reward, a rule ("the longer one"), a stand-in for a model in an experiment."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from rlaif.config import import_function
from rlaif.judging.base import Answer, Question, record
from rlaif.judging.prompts import TEMPLATES, BaseTemplate
from rlaif.records import Prompt, content_hash

__all__ = ["ScriptedJudge", "import_function", "longer"]

T = TypeVar("T", bound=BaseTemplate)


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


class ScriptedJudge(Generic[T]):
    """P(first is better) from `function(prompt, first, second)`, in [0, 1]; or, with a rating template, the rating of a
    response from `function(prompt, response)`, in [1, 10].

    What it returns that is no such number, and any exception, becomes an answer without one, with the reason. The
    content of the function's source file is one of the judge's parameters, so that an edited function is asked again.
    """

    def __init__(self, function: str, template: T = TEMPLATES["compact"]) -> None:  # type: ignore[assignment]
        self.name = function
        self.template = template
        self._function = import_function(function)
        self.parameters: Mapping[str, Any] = {
            "kind": "scripted",
            "function": function,
            "source": _source_hash(self._function),
        }

    def check(self) -> None:
        """Nothing is left to check: the function is there."""

    def plan(self, questions: Sequence[Question]) -> list[list[Question]]:
        """Every question by itself: calls are independent, and each is stored when it is answered."""
        return [[question] for question in questions]

    def answer(self, batches: list[list[Question]]) -> Iterator[list[Answer]]:
        """One answer a question."""
        for batch in batches:
            yield [self._one(question) for question in batch]

    def _one(self, question: Question) -> Answer:
        try:
            value = float(self._function(*question.arguments))
        except Exception as error:  # somebody else's code: whatever it raises is the reason
            return record(self, question, None, f"{type(error).__name__}: {error}", method="function")
        if not min(self.template.values) <= value <= max(self.template.values):  # nor is NaN
            reason = f"the function returned {value}, not {self.template.meaning}"
            return record(self, question, None, reason, method="function")
        return record(self, question, value, method="function")
