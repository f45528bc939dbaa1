"""An OpenAI-compatible endpoint as judge: z from log-probabilities where it gives them, else from what it writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlaif.endpoint import Endpoint, NoReplyError, Reply, stream
from rlaif.judges.base import Question, vote
from rlaif.judges.prompts import Template, find_verdict, parse_verdict, spelled
from rlaif.records import Vote

__all__ = ["ApiJudge", "p_first_from_logprobs"]


def p_first_from_logprobs(
    places: Sequence[tuple[str, Mapping[str, float]]], labels: tuple[str, str]
) -> tuple[float, float] | None:
    """P(first) = P(label 1) / (P(label 1) + P(label 2)) at the token that is the verdict, and the two's mass.

    The verdict is the one that `find_verdict` reads in the text, so that a judge that goes on talking ("1", and in the
    next line "Response 2 is wrong.") is not read where it happens to name a label again. Spellings of a label (" 1",
    "1") are added up; labels of one letter keep their case, for "a" is an article and no "A". A label that is not among
    the listed tokens is no likelier than the least likely of them: it gets that probability, an upper bound, where
    taking 0 would make the judge certain. None where there is no verdict, where it is not one token, or where nothing
    but the label itself is listed.
    """
    verdict = find_verdict("".join(token for token, _ in places), labels)
    if verdict is None:
        return None
    names = [spelled(label, labels) for label in labels]
    at = 0
    for token, listed in places:
        at += len(token)
        if at <= verdict[1]:
            continue
        if spelled(token, labels) != names[verdict[0]] or len(listed) < 2:
            return None
        floor = min(listed.values())
        sums = []
        for name in names:
            found = [logprob for other, logprob in listed.items() if spelled(other, labels) == name]
            sums.append(sum(map(math.exp, found)) if found else math.exp(floor))
        mass = sum(sums)
        return (sums[0] / mass, min(mass, 1.0)) if mass > 0.0 else None
    return None


class ApiJudge:
    """See the module's docstring.

    Args:
        endpoint: who is asked.
        template: how.
        temperature: 0 for the likeliest verdict.
        max_tokens: longest answer.
        logprobs: read log-probabilities where the endpoint gives them.
    """

    def __init__(
        self, endpoint: Endpoint, template: Template, *, temperature: float, max_tokens: int, logprobs: bool
    ) -> None:
        self.endpoint = endpoint
        self.template = template
        self.name = endpoint.model
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.logprobs = logprobs
        self.parameters: Mapping[str, Any] = {
            "kind": "api",
            "model": endpoint.model,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "logprobs": logprobs,
        }

    def plan(self, questions: Sequence[Question]) -> list[list[Question]]:
        """Every question by itself: calls are independent."""
        return [[question] for question in questions]

    def answer(self, batches: list[list[Question]]) -> Iterator[list[Vote]]:
        """One vote a question, as the endpoint answers."""
        for answered in stream(self.endpoint, self._ask, [question for batch in batches for question in batch]):
            yield [answered]

    async def _ask(self, question: Question) -> Vote:
        try:
            reply = await self.endpoint.chat(
                question.messages,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                logprobs=self.logprobs and self.endpoint.gives_logprobs,
                seed=question.sample,
                accept=lambda reply: self._read(reply) is not None,
            )
        except NoReplyError as error:
            return vote(self, question, None, str(error), bought=error.final)
        fields: dict[str, Any] = {"text": reply.text, "usage": reply.usage, "seconds": reply.seconds}
        if (read := self._read(reply)) is not None:
            p_first, method, mass = read
            return vote(self, question, p_first, method=method, mass=mass, **fields)
        cut = "" if reply.complete else f" It was cut off at {self.max_tokens} tokens; raise --max_tokens."
        what = "an empty answer." if not reply.text.strip() else f"no verdict in the answer {reply.text[:80]!r}."
        return vote(self, question, None, f"{what}{cut}", **fields)

    def _read(self, reply: Reply) -> tuple[float, str, float | None] | None:
        """(P(first), how it was read, mass) or None where there is no verdict."""
        if reply.logprobs:
            found = p_first_from_logprobs(reply.logprobs, self.template.labels)
            if found is not None:
                return found[0], "logprobs", round(found[1], 6)
        index = parse_verdict(reply.text, self.template.labels)
        return None if index is None else (1.0 - index, "text", None)
