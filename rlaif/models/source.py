"""What a Python function is: a hash that changes with what it says, so that an edited judge is asked again."""

from __future__ import annotations

import hashlib
import inspect
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rlaif.records import content_hash

__all__ = ["file_hash", "name_of", "source_hash"]


def name_of(function: Callable[..., Any]) -> str:
    """A function as 'module:name'."""
    return f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', type(function).__qualname__)}"


def file_hash(function: Callable[..., Any]) -> str | None:
    """16 hex digits that change with the file that a function (or a callable object's class) is written in."""
    function = inspect.unwrap(function)
    try:
        file = inspect.getsourcefile(function if inspect.isroutine(function) else type(function))
    except TypeError:
        return None  # built in, or compiled: there is no source
    if file is None or not Path(file).is_file():
        return None
    return content_hash(Path(file).read_text(encoding="utf-8", errors="replace"))[:16]


def source_hash(function: Callable[..., Any]) -> tuple[str, str | None]:
    """16 hex digits that change with what a function that was handed over says, as far as that can be seen.

    They are of its source (its byte code where there is none), of the values that it has captured and of the globals
    that it uses, functions among them. Returns also what of these has no value that a later run could know again (an
    open client, say), None where there is nothing of that kind: then the hash is of this process alone.
    """
    parts: list[Any] = []
    unknown: list[str] = []
    _describe(function, "itself", parts, unknown, set())
    return content_hash(*parts, *([_THIS_PROCESS] if unknown else []))[:16], unknown[0] if unknown else None


_THIS_PROCESS = uuid.uuid4().hex


def _describe(value: Any, where: str, parts: list[Any], unknown: list[str], seen: set[int]) -> None:
    """Adds to `parts` what tells `value` from another, or its place to `unknown`."""
    if id(value) in seen:
        return
    if value is None or isinstance(value, bool | int | float | str):
        parts.append([where, repr(value)])
        return
    seen.add(id(value))
    if isinstance(value, bytes):
        parts.append([where, value.hex()])
    elif isinstance(value, Mapping):
        for key, item in value.items():
            parts.append([where, repr(key) if isinstance(key, str | int | float | bool | None) else None])
            _describe(item, f"{where}[{key!r:.40}]", parts, unknown, seen)
    elif isinstance(value, list | tuple):
        parts.append([where, type(value).__name__, len(value)])
        for at, item in enumerate(value):
            _describe(item, f"{where}[{at}]", parts, unknown, seen)
    elif isinstance(value, set | frozenset):
        parts.append([where, sorted(map(repr, value))])
    elif inspect.ismodule(value):
        parts.append([where, value.__name__, str(getattr(value, "__version__", ""))])
    elif inspect.isfunction(value) or inspect.ismethod(value):
        _describe_function(value, where, parts, unknown, seen)
    elif inspect.isbuiltin(value) or inspect.isclass(value):
        parts.append([where, name_of(value), _text_of(value)])
    elif hasattr(value, "tobytes") and hasattr(value, "dtype"):  # an array
        parts.append([where, str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()])
    elif callable(value):
        parts.append([where, name_of(type(value)), _text_of(type(value))])
        _describe(getattr(value, "__dict__", {}), f"{where}.__dict__", parts, unknown, seen)
    else:
        unknown.append(f"{where} ({type(value).__name__})")


def _describe_function(
    function: Callable[..., Any], where: str, parts: list[Any], unknown: list[str], seen: set[int]
) -> None:
    inner: Any = inspect.unwrap(function)
    parts.append([where, name_of(inner), _text_of(inner)])
    if inspect.ismethod(inner):
        _describe(inner.__self__, f"{where}.__self__", parts, unknown, seen)
        inner = inner.__func__
    _describe(inner.__defaults__, f"the defaults of {where}", parts, unknown, seen)
    _describe(inner.__kwdefaults__, f"the defaults of {where}", parts, unknown, seen)
    used = inspect.getclosurevars(inner)
    for name, value in sorted({**used.globals, **used.nonlocals}.items()):
        package = (getattr(value, "__module__", None) or "").partition(".")[0]
        if package in sys.modules and package not in ("__main__", "builtins") and _is_installed(package):
            parts.append([name, name_of(value)])  # a library's: its version is in the manifest
        else:
            _describe(value, f"`{name}`", parts, unknown, seen)


def _is_installed(package: str) -> bool:
    file = getattr(sys.modules[package], "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file or package in sys.stdlib_module_names


def _text_of(value: Any) -> str:
    """The source of a function or class, or its byte code where there is none."""
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        code = getattr(value, "__code__", None)
        return repr((code.co_code.hex(), code.co_consts, code.co_names)) if code else repr(type(value))
