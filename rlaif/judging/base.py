"""What a judge is: something that plans its work in batches and answers them with votes, or with ratings.

A judge is asked about pairs (`Judge`, with a `Template`) or about single responses (`Rater`, with a `RatingTemplate`).
The kinds of judges are the same, since a question itself knows what its answer is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from rlaif.files.store import Store
from rlaif.judging.prompts import BaseTemplate, RatingTemplate, Template
from rlaif.records import Message, Order, Pair, Prompt, Rating, Vote, content_hash

__all__ = [
    "Answer",
    "AnyJudge",
    "Judge",
    "PairQuestion",
    "Question",
    "Rater",
    "RatingQuestion",
    "answer_missing",
    "ask",
    "ask_rating",
    "record",
]

Answer = Vote | Rating
T = TypeVar("T", bound=BaseTemplate)
T_co = TypeVar("T_co", bound=BaseTemplate, covariant=True)


@dataclass(frozen=True)
class Question(ABC):
    """One thing to ask a judge, the `sample`-th time. `key` is its content address."""

    key: str
    sample: int
    messages: list[Message]

    @property
    @abstractmethod
    def arguments(self) -> tuple[Any, ...]:
        """What a function as judge is called with."""

    @abstractmethod
    def record(self, judge: str, template: str, value: float | None, fields: Mapping[str, Any]) -> Answer:
        """The answer `value` as a judge's record, its other `fields` among them."""


@dataclass(frozen=True)
class PairQuestion(Question):
    """One pair in one order: is the response shown first the better one?"""

    pair: Pair
    order: Order

    @property
    def arguments(self) -> tuple[Prompt, str, str]:
        """(prompt, first, second)."""
        pair = self.pair if self.order == "ab" else self.pair.swap()
        return pair.prompt, pair.response_a, pair.response_b

    def record(self, judge: str, template: str, value: float | None, fields: Mapping[str, Any]) -> Vote:
        """The vote; `value` is P(first)."""
        return Vote(self.key, self.pair.id, judge, template, self.order, self.sample, value, **fields)


@dataclass(frozen=True)
class RatingQuestion(Question):
    """One response: how good is it, from 1 to 10?"""

    prompt: Prompt
    response: str

    @property
    def arguments(self) -> tuple[Prompt, str]:
        """(prompt, response)."""
        return self.prompt, self.response

    def record(self, judge: str, template: str, value: float | None, fields: Mapping[str, Any]) -> Rating:
        """The rating; `value` is the expected one."""
        response_id = content_hash(self.prompt, self.response)[:16]
        return Rating(self.key, response_id, judge, template, self.sample, value, **fields)


class AnyJudge(Protocol[T_co]):
    """A judge. `parameters` is everything besides the question that the answer depends on; it is part of the key."""

    @property
    def name(self) -> str:
        """Who judges, as it is written into votes and cards."""
        ...

    @property
    def template(self) -> T_co:
        """How it is asked."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Model, revision, temperature, ...: JSON values."""
        ...

    def check(self) -> None:
        """A ValueError for what can be known, before anything is asked, to make every answer fail; else cheap."""
        ...

    def plan(self, questions: Sequence[Question]) -> list[list[Question]]:
        """All questions in batches, the same in every process and on every run."""
        ...

    def answer(self, batches: list[list[Question]]) -> Iterator[list[Answer]]:
        """Answers as they arrive, one for each question. A question that fails has a reason in its answer."""
        ...


class Judge(AnyJudge[Template], Protocol):
    """A judge of pairs."""


class Rater(AnyJudge[RatingTemplate], Protocol):
    """A judge of single responses."""


def ask(judge: Judge, pair: Pair, order: Order, sample: int) -> PairQuestion:
    """The question about a pair, with its content address."""
    messages = judge.template.messages(pair, order)
    key = content_hash(judge.template.hash, messages, dict(judge.parameters), order, sample)
    return PairQuestion(key, sample, messages, pair, order)


def ask_rating(judge: Rater, prompt: Prompt, response: str, sample: int = 0) -> RatingQuestion:
    """The question about a response, with its content address."""
    messages = judge.template.messages(prompt, response)
    key = content_hash(judge.template.hash, messages, dict(judge.parameters), sample)
    return RatingQuestion(key, sample, messages, prompt, response)


def record(
    judge: AnyJudge[T], question: Question, value: float | None, reason: str | None = None, **fields: Any
) -> Answer:
    """What answers `question`. Values are kept to 1e-6: float32 logits carry no more."""
    value = None if value is None else round(value, 6)
    return question.record(judge.name, judge.template.hash, value, {"reason": reason, **fields})


def answer_missing(judge: AnyJudge[T], questions: Sequence[Question], store: Store) -> int:
    """Asks what `store` does not hold, or what got no answer, in this process alone; how many questions that were.

    The batches are planned over all `questions`, and one that lacks an answer is computed whole, so that an answer
    depends on the call and not on what happens to be stored: a local model's last digit changes with its batch's
    padding, and a killed run would not resume to the same bits. Only the missing answers are stored. No process waits
    for another: each may ask about responses of its own.
    """
    stored = store.rows
    missing = {q.key for q in questions if q.key not in stored or not stored[q.key].get("bought", True)}
    if missing:
        batches = [batch for batch in judge.plan(questions) if any(question.key in missing for question in batch)]
        for answers in judge.answer(batches):
            store.append(answer.row() for answer in answers if answer.key in missing)
    return len(missing)
