"""A Python function as a model: a gold reward, a rule ("the longer one"), a stand-in for a model in an experiment.

It is called with a call's `arguments` and returns a number. What it returns that is no number, and any exception,
becomes a reply without one, with the reason.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaif.config import import_function
from rlaif.models.base import JSON, Call, Reply, RoundModel, StreamModel
from rlaif.records import Prompt, content_hash

__all__ = ["AsyncFunctionModel", "FunctionModel", "function_model", "longer"]


def longer(prompt: Prompt, first: str, second: str) -> float:
    """P(first is better) of a judge that prefers the longer response: 1, 0, or 0.5 at equal length."""
    return 0.5 + 0.5 * ((len(first) > len(second)) - (len(first) < len(second)))


def function_model(function: str | Callable[..., Any], concurrency: int = 32) -> FunctionModel | AsyncFunctionModel:
    """The model of a function, or of "package.module:function".

    Args:
        function: what takes a call's arguments and returns a number; it may be async.
        concurrency: of an async one, its calls in flight.
    """
    name = function if isinstance(function, str) else _name_of(function)
    found = import_function(function) if isinstance(function, str) else function
    identity = {"kind": "function", "function": name, "source": _source(found, imported=isinstance(function, str))}
    if inspect.iscoroutinefunction(inspect.unwrap(found)):
        return AsyncFunctionModel(found, name, identity, concurrency)
    return FunctionModel(found, name, identity)


def _name_of(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', type(function).__qualname__)}"


def _source(function: Callable[..., Any], imported: bool) -> str | None:
    """16 hex digits that change with what a function does, as far as that can be seen.

    Of an imported one (or of a callable object's class) the file that it is written in. Of one that was handed over, as
    in a notebook, its own source, or its byte code where there is none, with the values that it has captured.
    """
    function = inspect.unwrap(function)
    where = function if inspect.isroutine(function) else type(function)
    if imported:
        try:
            file = inspect.getsourcefile(where)
        except TypeError:
            return None  # built in, or compiled: there is no source
        if file is None or not Path(file).is_file():
            return None
        return content_hash(Path(file).read_text(encoding="utf-8", errors="replace"))[:16]
    try:
        text = inspect.getsource(where)
    except (OSError, TypeError):
        code = getattr(where, "__code__", None)
        text = repr((code.co_code.hex(), code.co_consts, code.co_names)) if code else repr(where)
    captured = [repr(cell.cell_contents) for cell in getattr(function, "__closure__", None) or () if _filled(cell)]
    state = None if inspect.isroutine(function) else repr(getattr(function, "__dict__", None))
    defaults = repr((getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None)))
    return content_hash(text, captured, state, defaults)[:16]


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (reading it is the test)
    except ValueError:
        return False
    return True


def _reply(call: Call, value: Any) -> Reply:
    try:
        number = float(value)
    except Exception as error:
        return _failed(call, error)
    return Reply(call.key, text=repr(number))


def _failed(call: Call, error: Exception) -> Reply:
    """Somebody else's code: whatever it raises is the reason."""
    text = str(error).encode("utf-8", "replace").decode()  # half of a character could not be stored
    return Reply(call.key, finish="error", reason=f"{type(error).__name__}: {text}")


class FunctionModel(RoundModel):
    """A function, called one call at a time, each stored when it is answered. Made by `function_model`."""

    can = frozenset({"arguments"})

    def __init__(self, function: Callable[..., Any], name: str, identity: Mapping[str, JSON]) -> None:
        self.name = name
        self.function = function
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
            value = self.function(*call.arguments)
        except Exception as error:
            return _failed(call, error)
        return _reply(call, value)


class AsyncFunctionModel(StreamModel):
    """An async function, several calls of which are in flight. Made by `function_model`."""

    can = frozenset({"arguments"})

    def __init__(
        self, function: Callable[..., Any], name: str, identity: Mapping[str, JSON], concurrency: int = 32
    ) -> None:
        self.name = name
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
            value = await self.function(*call.arguments)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            return _failed(call, error)
        return _reply(call, value)
