"""What a judge is: something that plans its work in batches and answers them with votes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rlaif.judges.prompts import Template
from rlaif.records import Message, Order, Pair, Vote, content_hash

__all__ = ["Judge", "Question", "ask", "vote"]


@dataclass(frozen=True)
class Question:
    """One thing to ask a judge: one pair in one order, the `sample`-th time. `key` is its content address."""

    key: str
    pair: Pair
    order: Order
    sample: int
    messages: list[Message]


class Judge(Protocol):
    """A judge. `parameters` is everything besides the question that the answer depends on; it is part of the key."""

    @property
    def name(self) -> str:
        """Who judges, as it is written into votes and cards."""
        ...

    @property
    def template(self) -> Template:
        """How it is asked."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Model, revision, temperature, ...: JSON values."""
        ...

    def plan(self, questions: Sequence[Question]) -> list[list[Question]]:
        """All questions in batches, the same in every process and on every run."""
        ...

    def answer(self, batches: list[list[Question]]) -> Iterator[list[Vote]]:
        """Votes as they arrive, one for each question. A question that fails is a vote with a reason."""
        ...


def ask(judge: Judge, pair: Pair, order: Order, sample: int) -> Question:
    """The question, with its content address."""
    messages = judge.template.messages(pair, order)
    key = content_hash(judge.template.hash, messages, dict(judge.parameters), order, sample)
    return Question(key, pair, order, sample, messages)


def vote(judge: Judge, question: Question, p_first: float | None, reason: str | None = None, **fields: Any) -> Vote:
    """The vote that answers `question`. Probabilities are kept to 1e-6: float32 logits carry no more."""
    return Vote(
        key=question.key,
        pair_id=question.pair.id,
        judge=judge.name,
        template=judge.template.hash,
        order=question.order,
        sample=question.sample,
        p_first=None if p_first is None else round(p_first, 6),
        reason=reason,
        **fields,
    )
