"""Rating one response: the expected number of a scale, as in direct RLAIF (Lee et al., 2309.00267)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from rlaif.files.store import Store
from rlaif.judging.ask import ask_here
from rlaif.judging.method import Ask, Counts
from rlaif.judging.prompts import RatingTemplate, prompt_text
from rlaif.judging.question import OneQuestion, Question, method_hash
from rlaif.records import Rating, Response

__all__ = ["RatingMethod", "Ratings", "rate_here"]


@dataclass(frozen=True)
class RatingMethod(OneQuestion):
    """One question a response.

    Args:
        question: how the judge is asked, with a `RatingTemplate`.
    """

    question: Question

    name = "rating"

    @property
    def template(self) -> RatingTemplate:
        """How the judge is asked."""
        template = self.question.template
        assert isinstance(template, RatingTemplate)
        return template

    @cached_property
    def hash(self) -> str:
        """Of the model and the question."""
        return method_hash(self.name, *self.question.parts)

    def ask(self, item: Response) -> Ask[Rating]:
        """Every response is asked about, an empty one too: that it is empty is what there is to rate."""
        mark = self.template.mark(self.question.salt, prompt_text(item.prompt), item.text)
        messages = self.template.messages(item.prompt, item.text, mark)
        reply, reading = yield from self.question.ask(messages, (item.prompt, item.text), mark=mark)
        return Rating(
            reply.key,
            item.id,
            self.judge,
            self.template.hash,
            0,
            reading.value,
            reading.reason,
            reading.method,
            reading.mass,
            reply.text,
            reply.usage.row() or None,
            reply.answered,
            reading.unusable,
        )


@dataclass(frozen=True, slots=True)
class Ratings:
    """What rating some responses gave: `ratings` in their order; the rest as in `rlaif.judging.pairwise.Annotation`."""

    ratings: list[Rating]
    asked: int
    reused: int
    mass: float | None = None
    methods: Mapping[str, int] = field(default_factory=dict)
    unusable: Mapping[str, int] = field(default_factory=dict)
    ties: int = 0  # a rating is none


def rate_here(responses: Sequence[Response], method: RatingMethod, store: Store) -> Ratings:
    """The rating of each response, asked for by this process alone. Equal responses to one prompt are one question."""
    counts = Counts()
    ratings = ask_here(method, responses, store, counts)
    masses = [rating.mass for rating in ratings if rating.mass is not None]
    methods = Counter(str(rating.method) for rating in ratings if rating.rating is not None)
    unusable = Counter(rating.unusable for rating in ratings if rating.rating is not None and rating.unusable)
    return Ratings(ratings, counts.asked, counts.reused, float(np.mean(masses)) if masses else None, methods, unusable)
