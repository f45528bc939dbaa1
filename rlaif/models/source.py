"""What a Python function is: a hash that changes with what it says, so that an edited judge is asked again."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import types
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rlaif.records import content_hash

__all__ = ["file_hash", "is_plain", "name_of", "source_hash"]

_THIS_PROCESS = uuid.uuid4().hex


def name_of(function: Callable[..., Any]) -> str:
    """A function as 'module:name'."""
    return f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', type(function).__qualname__)}"


def is_plain(function: Callable[..., Any]) -> bool:
    """Whether a function is its source file and nothing else: no object, no closure, nothing wrapped around it."""
    return inspect.isbuiltin(function) or (
        inspect.isfunction(function) and not function.__closure__ and not hasattr(function, "__wrapped__")
    )


def file_hash(function: Callable[..., Any]) -> str | None:
    """16 hex digits that change with the file that a function (or a callable object's class) is written in."""
    try:
        file = inspect.getsourcefile(function if inspect.isroutine(function) else type(function))
    except TypeError:
        return None  # built in, or compiled: there is no source
    if file is None or not Path(file).is_file():
        return None
    return content_hash(Path(file).read_text(encoding="utf-8", errors="replace"))[:16]


def source_hash(function: Callable[..., Any]) -> tuple[str, str | None]:
    """16 hex digits that change with what a callable says, as far as that can be seen.

    They are of its code, the values that it has captured, its attributes, and the globals that it uses, functions among
    them. Returns also what of these has no value that a later run could know again (an open client, say), None where
    there is nothing of that kind; otherwise the hash is of this process alone.
    """
    seen = _Seen()
    seen.describe(function, "itself")
    return content_hash(*seen.parts, *([_THIS_PROCESS] if seen.unknown else []))[:16], seen.unknown


class _Seen:
    """Everything that a callable reaches, as JSON values.

    Attributes:
        parts: what tells one value from another.
        unknown: the first that nothing tells, None where there is none.
    """

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.unknown: str | None = None
        self._ids: dict[int, Any] = {}

    def describe(self, value: Any, where: str) -> None:
        """Adds a value; `where` is what people call it."""
        if value is None or isinstance(value, bool | int | float | complex | str):
            self.parts.append([where, repr(value)])
            return
        if id(value) in self._ids:
            return
        self._ids[id(value)] = value  # kept, so that no other value gets its number
        if isinstance(value, bytes | bytearray):
            self.parts.append([where, value.hex()])
        elif isinstance(value, Mapping):
            for key, item in value.items():
                self.describe(key, f"a key of {where}")
                self.describe(item, f"{where}[{key!r:.40}]")
        elif isinstance(value, list | tuple):
            self.parts.append([where, len(value)])
            for at, item in enumerate(value):
                self.describe(item, f"{where}[{at}]")
        elif isinstance(value, set | frozenset):
            self.parts.append([where, sorted(map(repr, value))])
        elif isinstance(value, types.ModuleType):
            self.parts.append([where, value.__name__, str(getattr(value, "__version__", ""))])
        elif isinstance(value, functools.partial):
            self.describe((value.func, value.args, value.keywords), where)
        elif inspect.ismethod(value):
            self.describe((value.__func__, value.__self__), where)
        elif inspect.isfunction(value):
            self._function(value, where)
        elif inspect.isbuiltin(value) or _is_installed(value):
            self.parts.append([where, name_of(value)])
        elif inspect.isclass(value):
            self.parts.append([where, name_of(value), _class_text(value)])
        elif hasattr(value, "tobytes") and hasattr(value, "dtype"):  # an array
            digest = hashlib.sha256(value.tobytes()).hexdigest()
            self.parts.append([where, str(value.dtype), list(value.shape), digest])
        elif callable(value):
            self.describe(type(value), f"the class of {where}")
            self.describe(_attributes(value), where)
        else:
            self.unknown = self.unknown or f"{where} ({type(value).__name__})"

    def _function(self, function: types.FunctionType, where: str) -> None:
        self.parts.append([where, function.__qualname__, _code(function.__code__)])
        self.describe(function.__defaults__, f"the defaults of {where}")
        self.describe(function.__kwdefaults__, f"the defaults of {where}")
        used = inspect.getclosurevars(function)
        for name, value in sorted({**used.globals, **used.nonlocals}.items()):
            self.describe(value, f"`{name}`")


def _code(code: types.CodeType) -> list[Any]:
    """What a code object does: its source, where there is one, its operations and constants, those within it too."""
    try:
        text = inspect.getsource(code)
    except (OSError, TypeError):
        text = ""
    constants = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts if c is not None]
    return [text, code.co_code.hex(), constants, list(code.co_names)]


def _class_text(kind: type) -> str:
    """The source of a class, or the code of its functions where there is none."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        functions = {name: value for name, value in vars(kind).items() if inspect.isfunction(value)}
        return repr([(name, _code(value.__code__)) for name, value in sorted(functions.items())])


def _attributes(value: Any) -> dict[str, Any]:
    """An object's attributes, those in slots too."""
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return {**{name: getattr(value, name) for name in slots if hasattr(value, name)}, **getattr(value, "__dict__", {})}


def _is_installed(value: Any) -> bool:
    """Whether a class or function belongs to an installed package: its version is in the manifest."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return False
    package = (getattr(value, "__module__", None) or "").partition(".")[0]
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    return package in sys.stdlib_module_names or "site-packages" in file or "dist-packages" in file
