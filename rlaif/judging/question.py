"""One question to one model: the call that it becomes, and the reading of the reply."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rlaif.errors.theirs import check_takes
from rlaif.judging.method import Ask
from rlaif.judging.prompts import BaseTemplate
from rlaif.judging.reading import Reading, cut_before_answer, read_labels, read_number
from rlaif.models.base import UNASKED, Call, Model, Reply
from rlaif.records import Message, content_hash

__all__ = ["OneQuestion", "Question", "method_hash"]

_TRIES = 4  # times that an endpoint is asked for something that can be read
_NEXT = 1_000_000  # between the `sample` of a call and that of its repetition: nobody takes so many votes


def method_hash(name: str, *parts: Any) -> str:
    """16 hex digits of a method: its name, prompts, models and whatever else decides what it says."""
    return content_hash(name, *parts)[:16]


@dataclass(frozen=True)
class Question:
    """How one model is asked for one of a template's labels.

    Args:
        model: who.
        template: which labels, and what each stands for.
        temperature, max_tokens: of what a model writes; one that scores, or a function, has no use for them.
        room: the limit with which a model is asked once more where it was cut off before its answer began, in a
            thought; None where the user chose `max_tokens`.
        logprobs: whether an endpoint is asked for alternatives' log-probabilities.
        settings: what else the model is told.
        retry: ask once more, with the next sample, for what was answered but could not be read.
        salt: goes into the marks of a template that asks for them.
    """

    model: Model
    template: BaseTemplate
    temperature: float = 0.0
    max_tokens: int = 16
    logprobs: bool = True
    settings: tuple[tuple[str, Any], ...] = ()
    retry: bool = False
    room: int | None = None
    salt: str = ""

    @property
    def parts(self) -> tuple[Any, ...]:
        """What of it decides a value, for `method_hash`."""
        own = () if self._scored else (float(self.temperature), self.max_tokens, self.logprobs, self.room)
        mark = (self.salt,) if self.template.has_mark else ()
        return (self.model.digest, self.template.hash, own, self.settings, *mark)

    @property
    def is_function(self) -> bool:
        """Whether the model takes arguments instead of messages."""
        return "arguments" in self.model.can

    @property
    def _scored(self) -> bool:
        return not self.model.can.isdisjoint({"score", "arguments"})

    def call(
        self, messages: Sequence[Message], arguments: tuple[Any, ...], sample: int = 0, limit: int | None = None
    ) -> Call:
        """The call: `arguments` for a function, `messages` for everything else; `limit` instead of `max_tokens`."""
        model = self.model
        if self.is_function:
            return Call(model.digest, arguments=arguments, sample=sample)
        if "score" in model.can:
            labels = self.template.labels
            return Call(model.digest, tuple(messages), labels, sample=sample, settings=self.settings)
        listed = self.logprobs and "logprobs" in model.can and not self.template.has_mark
        return Call(
            model.digest,
            tuple(messages),
            self.template.labels if listed else (),
            max_tokens=limit or self.max_tokens,
            temperature=self.temperature,
            sample=sample,
            settings=self.settings,
            flexible=self.room is not None,
        )

    def read(self, reply: Reply, mark: str | None = None, limit: int | None = None) -> Reading:
        """The value of a reply to `call`."""
        if self.is_function:
            return read_number(reply, self.template)
        return read_labels(reply, self.template, limit or self.max_tokens, mark)

    def ask(
        self, messages: Sequence[Message], arguments: tuple[Any, ...], sample: int = 0, mark: str | None = None
    ) -> Ask[tuple[Reply, Reading]]:
        """The reply that can be read, or the last of those that cannot; its usage is that of all of them.

        A model that was cut off before its answer began is asked once more with `room`; where so much room is refused,
        as a server with a small context does, with a quarter of it. An endpoint is asked up to
        four times in all for an answer that can be read, but for one that was cut off: it may well answer otherwise
        the next time. What an earlier run asked beyond that, with `retry`, is read too.
        """
        tries = _TRIES if "samples" in self.model.can and "write" in self.model.can and not self._scored else 1
        retry, limit = self.retry, self.max_tokens
        (reply,) = yield [self.call(messages, arguments, sample)]
        reading = self.read(reply, mark)
        if self.room is not None and self.room > limit and cut_before_answer(reply):
            (found,) = yield [self.call(messages, arguments, sample, self.room)]
            if found.finish == UNASKED:
                return reply, reading._replace(unasked=True)
            limit = self.room
            reply, reading = _later(reply, found), self.read(found, mark, limit)
        if self.room is not None and limit >= self.room and reply.reason is not None and reply.answered:
            (found,) = yield [self.call(messages, arguments, sample, self.room // 4)]
            if found.finish == UNASKED:
                return reply, reading._replace(unasked=True)
            if found.reason is None:
                limit = self.room // 4
                reply, reading = _later(reply, found), self.read(found, mark, limit)
        attempt = 0
        while reading.value is None and reply.answered:
            attempt += 1
            last = attempt >= tries or reply.finish == "length" or reply.text is None or not reply.text.strip()
            again = self.call(messages, arguments, sample + attempt * _NEXT, limit)
            if last:
                (found,) = yield [_stored(again)]
                if found.finish == UNASKED:
                    if not retry:
                        break
                    retry = False
                    (found,) = yield [again]
            else:
                (found,) = yield [again]
                if found.finish == UNASKED:  # nothing is asked in this run
                    reading = reading._replace(unasked=True)
                    break
            if not found.answered:
                break  # what was read before stands
            reply, reading = _later(reply, found), self.read(found, mark, limit)
        return reply, reading


class OneQuestion:
    """What the methods that ask one model one question have in common.

    Attributes:
        question: how the model is asked.
    """

    question: Question

    # What a function that stands for a model is called with.
    takes: ClassVar[tuple[str, ...]] = ("prompt", "response")

    @property
    def judge(self) -> str:
        """Who judges, as it is written into votes and cards."""
        return self.question.model.name

    @property
    def models(self) -> Mapping[str, Model]:
        """The one model."""
        return {self.question.model.digest: self.question.model}

    def check(self) -> None:
        """A ValueError for what can be known, before anything is asked, to make every answer fail."""
        model, template = self.question.model, self.question.template
        if template.has_mark and not model.can.isdisjoint({"score", "arguments"}):
            raise ValueError(
                f"template {template.name!r} asks for a written answer that ends in a marked line, and {model.name} "
                "judges without writing; expected a template without a mark, or a judge at an endpoint."
            )
        self.check_function()
        model.check(template.labels)

    def check_function(self) -> None:
        """A ValueError where the model is a function that cannot be called with what it will be called with."""
        if function := getattr(self.question.model, "function", None):
            check_takes(function, f"the function {self.judge!r}", self.takes, may_be_async=True)


def _later(reply: Reply, found: Reply) -> Reply:
    """A later reply to the same question, with the usage of both."""
    return dataclasses.replace(found, usage=reply.usage + found.usage)


def _stored(call: Call) -> Call:
    return dataclasses.replace(call, stored_only=True)
