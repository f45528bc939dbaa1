"""An OpenAI-compatible endpoint as judge: from log-probabilities where it gives them, else from what it writes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from rlaif.judging.base import Answer, Question, record
from rlaif.judging.prompts import BaseTemplate
from rlaif.judging.verdicts import spelled
from rlaif.models.endpoint import Endpoint, NoReplyError, Reply, stream

__all__ = ["ApiJudge", "expected_from_logprobs"]

T = TypeVar("T", bound=BaseTemplate)
Place = tuple[str, Mapping[str, float]]  # a generated token and the log-probabilities listed for its place


def expected_from_logprobs(places: Sequence[Place], template: BaseTemplate) -> tuple[float, float] | None:
    """E = sum_i value_i P(label_i) / sum_i P(label_i) at the token that is the verdict, and the labels' mass.

    The verdict is the one that `template.find` reads in the text, so that a judge that goes on talking ("1", and in the
    next line "Response 2 is wrong.") is not read where it happens to name a label again. Spellings of a label (" 1",
    "1") are added up; labels of one letter keep their case, for "a" is an article and no "A". A label that is not among
    the listed tokens is no likelier than the least likely of them: it gets that probability, an upper bound, where
    taking 0 would make the judge certain.

    None where there is no verdict, where it is not one token (or the two of "10"), where nothing but the label itself
    is listed, or where what is not known could move E by more than `template.tolerance`.
    """
    verdict = template.find("".join(token for token, _ in places))
    if verdict is None:
        return None
    index = 0
    while sum(len(token) for token, _ in places[: index + 1]) <= verdict[1]:
        index += 1
    (token, listed), after = places[index], places[index + 1] if index + 1 < len(places) else None
    names = [spelled(label, template.labels) for label in template.labels]
    if not _is_label(names, verdict[0], spelled(token, template.labels), after, template) or len(listed) < 2:
        return None
    floor = math.exp(min(listed.values()))
    found = [_probability(listed, name, template.labels) for name in names]
    weights = [floor if probability is None else probability for probability in found]
    doubt = [floor if probability is None else 0.0 for probability in found]
    moved = 0.0
    for short, long in _beginnings(names, template):
        shared = found[short]
        if shared is not None and found[long] is None:
            rest = names[long][len(names[short]) :]
            share, error = _share(rest, after if verdict[0] in (short, long) else None, template)
            weights[short], weights[long], doubt[long] = (1.0 - share) * shared, share * shared, 0.0
            moved += error * shared * abs(template.values[long] - template.values[short])
    mass = sum(weights)
    if mass <= 0.0:
        return None
    expected = template.expected(weights)
    # dE = (value_i - E) dp_i / mass for a label, (value_j - value_i) dp / mass for what moves from label i to j.
    moved += sum(d * abs(value - expected) for d, value in zip(doubt, template.values, strict=True))
    return (expected, min(mass, 1.0)) if moved / mass <= template.tolerance else None


def _is_label(names: list[str], verdict: int, token: str, after: Place | None, template: BaseTemplate) -> bool:
    """Whether the written token is the verdict's label, or the beginning of it that another label is ("1" of "10")."""
    if token == names[verdict]:
        return True
    whole = token + spelled(after[0], template.labels) if after else token
    return whole == names[verdict] and any(
        token == names[short] and verdict == long for short, long in _beginnings(names, template)
    )


def _beginnings(names: list[str], template: BaseTemplate) -> list[tuple[int, int]]:
    """The indices of (short, long) for each label that begins another."""
    if not template.nested:
        return []
    return [
        (i, j) for i, short in enumerate(names) for j, long in enumerate(names) if i != j and long.startswith(short)
    ]


def _share(rest: str, after: Place | None, template: BaseTemplate) -> tuple[float, float]:
    """Of the probability listed for "1", the share that belongs to "10", and how wrong that may be.

    Some tokenizers write numbers digit by digit: where "10" is not listed, what is listed for "1" is for both. If a "1"
    was written, the next place (`after`) lists how much goes on with `rest`, "0". If another number was, or nothing
    follows, nothing tells, and each gets half.
    """
    if after is None or len(after[1]) < 2:
        return 0.5, 0.5
    goes_on = _probability(after[1], rest, template.labels)
    least = math.exp(min(after[1].values()))
    return (least / 2, least / 2) if goes_on is None else (min(goes_on, 1.0), 0.0)


def _probability(listed: Mapping[str, float], name: str, labels: tuple[str, ...]) -> float | None:
    """The probability of all spellings of `name` together; None where none of them is listed."""
    found = [logprob for token, logprob in listed.items() if spelled(token, labels) == name]
    return sum(map(math.exp, found)) if found else None


class ApiJudge(Generic[T]):
    """See the module's docstring.

    Args:
        endpoint: who is asked.
        template: how.
        temperature: 0 for the likeliest verdict.
        max_tokens: longest answer.
        logprobs: read log-probabilities where the endpoint gives them.
    """

    def __init__(self, endpoint: Endpoint, template: T, *, temperature: float, max_tokens: int, logprobs: bool) -> None:
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

    def check(self) -> None:
        """The endpoint's key is there; nothing is asked yet."""

        async def once() -> None:
            self.endpoint.open()
            await self.endpoint.close()

        asyncio.run(once())

    def plan(self, questions: Sequence[Question]) -> list[list[Question]]:
        """Every question by itself: calls are independent."""
        return [[question] for question in questions]

    def answer(self, batches: list[list[Question]]) -> Iterator[list[Answer]]:
        """One answer a question, as the endpoint answers."""
        for answered in stream(self.endpoint, self._ask, [question for batch in batches for question in batch]):
            yield [answered]

    async def _ask(self, question: Question) -> Answer:
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
            return record(self, question, None, str(error), bought=error.final)
        fields: dict[str, Any] = {"text": reply.text, "usage": reply.usage, "seconds": reply.seconds}
        if (read := self._read(reply)) is not None:
            value, method, mass = read
            return record(self, question, value, method=method, mass=mass, **fields)
        cut = "" if reply.complete else f" It was cut off at {self.max_tokens} tokens; raise --max_tokens."
        what = "an empty answer." if not reply.text.strip() else f"no verdict in the answer {reply.text[:80]!r}."
        return record(self, question, None, f"{what}{cut}", **fields)

    def _read(self, reply: Reply) -> tuple[float, str, float | None] | None:
        """(the value, how it was read, the labels' mass) or None where there is no verdict."""
        if reply.logprobs:
            found = expected_from_logprobs(reply.logprobs, self.template)
            if found is not None:
                return found[0], "logprobs", round(found[1], 6)
        verdict = self.template.find(reply.text)
        return None if verdict is None else (self.template.values[verdict[0]], "text", None)
