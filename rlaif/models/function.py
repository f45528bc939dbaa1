"""A Python function as a model: a gold reward, a rule ("the longer one"), a stand-in for a model in an experiment.

It is called with a call's `arguments` and returns a number. What it returns that is no number, and any exception,
becomes a reply without one, with the reason.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlaif.config import import_function
from rlaif.models.base import JSON, Call, Reply, RoundModel, StreamModel
from rlaif.models.source import file_hash, is_plain, name_of, source_hash
from rlaif.records import Prompt

__all__ = ["AsyncFunctionModel", "FunctionModel", "function_model", "longer"]


def longer(prompt: Prompt, first: str, second: str) -> float:
    """P(first is better) of a judge that prefers the longer response: 1, 0, or 0.5 at equal length."""
    return 0.5 + 0.5 * ((len(first) > len(second)) - (len(first) < len(second)))


def function_model(
    function: str | Callable[..., Any], concurrency: int | None = None, served_as: str | None = None
) -> FunctionModel | AsyncFunctionModel:
    """The model of a function, or of "package.module:function".

    Args:
        function: what takes a call's arguments and returns a number; it may be async.
        concurrency: of an async one, its calls in flight; 32 by default.
        served_as: names what the function says, instead of its source: replies are kept under it.

    Raises:
        ValueError: there is no such function, or a `concurrency` for one that is not async.
    """
    name = function if isinstance(function, str) else name_of(function)
    found = import_function(function) if isinstance(function, str) else function
    identity: dict[str, JSON] = {"kind": "function", "function": name}
    unknown = None
    if served_as is not None:
        identity = {"kind": "function", "served_as": served_as}
    elif isinstance(function, str):
        identity["source"] = file_hash(found)
        if not is_plain(found):
            identity["state"], unknown = source_hash(found)
    else:
        identity["source"], unknown = source_hash(found)
    transient = unknown and (
        f"the function {name} uses {unknown}, whose value cannot be known again, so that a later run will not find its "
        "replies; name what it says with served_as, and they are kept under that."
    )
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(type(found).__call__):
        return AsyncFunctionModel(found, name, identity, concurrency or 32, transient)
    if concurrency is not None:
        raise ValueError(
            f"concurrency is {concurrency}, but {name} is not async and is called once at a time; leave it out."
        )
    return FunctionModel(found, name, identity, transient)


def _reply(call: Call, value: Any) -> Reply:
    try:
        number = float(value)
    except Exception as error:
        return _failed(call, error)
    return Reply(call.key, text=repr(number))


def _failed(call: Call, error: BaseException) -> Reply:
    """Somebody else's code: whatever it raises is the reason, also where it would end the program."""
    try:
        text = str(error).encode("utf-8", "replace").decode()  # half of a character could not be stored
    except Exception:
        text = "its message cannot be read"
    return Reply(call.key, finish="error", reason=f"{type(error).__name__}: {text}")


def _arguments(call: Call) -> tuple[Any, ...]:
    """The call's arguments, the function's own to change: a prompt of messages is a copy."""
    return tuple(value if isinstance(value, str) else copy.deepcopy(value) for value in call.arguments)


# What a function may raise that is no Exception and no wish of the user's.
_ENDS = (Exception, SystemExit, GeneratorExit)


class FunctionModel(RoundModel):
    """A function, called one call at a time, each stored when it is answered. Made by `function_model`."""

    can = frozenset({"arguments"})

    def __init__(
        self, function: Callable[..., Any], name: str, identity: Mapping[str, JSON], transient: str | None = None
    ) -> None:
        self.name = name
        self.function = function
        self.transient = transient
        self._identity = identity

    @property
    def identity(self) -> Mapping[str, JSON]:
        """Its name and a hash of its source, so that an edited function is asked again."""
        return self._identity

    def plan(self, calls: Sequence[Call]) -> list[list[Call]]:
        """Every call by itself."""
        return [[call] for call in calls]

    def answer(self, batch: Sequence[Call]) -> list[Reply]:
        """One reply a call."""
        return [self._one(call) for call in batch]

    def _one(self, call: Call) -> Reply:
        try:
            value = self.function(*_arguments(call))
        except (*_ENDS, asyncio.CancelledError) as error:
            return _failed(call, error)
        return _reply(call, value)


class AsyncFunctionModel(StreamModel):
    """An async function, several calls of which are in flight. Made by `function_model`."""

    can = frozenset({"arguments"})

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        identity: Mapping[str, JSON],
        concurrency: int = 32,
        transient: str | None = None,
    ) -> None:
        self.name = name
        self.transient = transient
        self.function = function
        self.concurrency = concurrency
        self._identity = identity

    @property
    def identity(self) -> Mapping[str, JSON]:
        """Its name and a hash of its source."""
        return self._identity

    async def reply(self, call: Call) -> Reply:
        """What it returns, when it does."""
        try:
            value = await self.function(*_arguments(call))
        except _ENDS as error:
            return _failed(call, error)
        return _reply(call, value)
