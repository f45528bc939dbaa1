"""What a method is: something that asks models about items, a round of calls at a time.

Ask        a generator of lists of calls that is sent the list of their replies and returns a value
gather     several asks side by side, one list of calls a round
Method     makes an ask of an item (a pair, a response, a prompt, a group of responses)
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rlaif.models.base import Call, Model, Reply

__all__ = ["Ask", "Counts", "Method", "gather"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
X_contra = TypeVar("X_contra", contravariant=True)

Ask = Generator[list[Call], list[Reply], T]


class Method(Protocol[X_contra, T_co]):
    """A way of asking about an item.

    Attributes:
        name: what people call it.
        hash: 16 hex digits of the method, its prompts and its models. It goes into what is written, never into a call's
            address: a call that two methods make alike is one call.
        models: every model that it may ask, by digest.
    """

    @property
    def name(self) -> str: ...

    @property
    def hash(self) -> str: ...

    @property
    def models(self) -> Mapping[str, Model]: ...

    def ask(self, item: X_contra) -> Ask[T_co]:
        """Yields lists of calls, is sent the list of their replies, returns the value."""
        ...


def gather(asks: Sequence[Ask[T]]) -> Ask[list[T]]:
    """Several asks side by side: each round yields the calls of all that are not done; their values, in order."""
    values: dict[int, T] = {}
    waiting: dict[int, list[Call]] = {}

    def advance(index: int, replies: list[Reply] | None) -> None:
        try:
            waiting[index] = next(asks[index]) if replies is None else asks[index].send(replies)
        except StopIteration as stop:
            waiting.pop(index, None)
            values[index] = stop.value

    for index in range(len(asks)):
        advance(index, None)
    while waiting:
        turn = list(waiting.items())
        replies = yield [call for _, calls in turn for call in calls]
        at = 0
        for index, calls in turn:
            advance(index, replies[at : at + len(calls)])
            at += len(calls)
    return [values[index] for index in range(len(asks))]


@dataclass
class Counts:
    """What asking took: `asked` calls were put to a model now, by all processes; `reused` replies were there before."""

    asked: int = 0
    reused: int = 0
