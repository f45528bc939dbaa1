"""Functions of yours by name: "package.module:function", or with a dot for the colon; the current folder has them too.

A program that is started by its path, or as `rlaif`, does not look for modules where it is started, as `python -m`
does. Here the current folder is looked through last, so that a file there never stands in for an installed package of
its name; and only for what is a Python file or a package there, so that a folder of logs is none.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from rlaif.errors.lines import UsageError
from rlaif.errors.theirs import what_it_raised
from rlaif.errors.words import guess, kind_of

__all__ = ["function_file", "import_function"]

_MOVED = {"rlaif.judges.scripted": "rlaif.models.function"}  # where a module of an older version stands now


class _Here(MetaPathFinder):
    """Finds modules in the current folder that nothing else finds."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None:
            return None  # a submodule: its package is found, and says where it looks
        spec = PathFinder.find_spec(name, [os.getcwd()])
        return spec if spec is not None and spec.origin else None  # a folder without __init__.py is no package


def _look_here() -> None:
    if not any(isinstance(finder, _Here) for finder in sys.meta_path):
        sys.meta_path.append(_Here())


def split_name(name: str) -> tuple[str, str]:
    """Module and function of "package.module:function" or "package.module.function".

    Raises:
        UsageError: there is no function in it.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        module, _, attribute = name.rpartition(".")
    if not attribute or (not colon and not module):
        raise UsageError(f"{name!r} names no function; expected 'package.module:function'.")
    if module.endswith(".py") or "/" in module or attribute == "py":
        file, function = (name, "function") if attribute == "py" else (module, attribute)
        raise UsageError(
            f"{name!r} names a file; expected a module, '{Path(file).stem}:{function}', and the program started in "
            "that file's folder, or the folder on PYTHONPATH."
        )
    return _MOVED.get(module, module), attribute


def import_function(name: str) -> Callable[..., Any]:
    """The function that "package.module:function" or "package.module.function" names.

    Raises:
        UsageError: it is no function's name, or the module has no such function.
        ValueError: the module cannot be imported.
    """
    module, attribute = split_name(name)
    _look_here()
    if ":" not in name and _is_module(name):
        raise UsageError(f"{name!r} names no function; it is a module: expected 'package.module:function'.")
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{name!r} cannot be imported ({error}); {_where(module, error)}") from None
    except (Exception, SystemExit) as error:
        raise ValueError(f"{name!r} cannot be imported ({what_it_raised(error)}); mend {module}.") from error
    owner = found
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"{name!r}: {_no_such(module, owner, attribute, ':' in name)}") from None
    if not callable(found):
        raise UsageError(f"{name!r} is {kind_of(found)}; expected a function.")
    return found  # type: ignore[no-any-return]


def function_file(name: str) -> Path | None:
    """The source file of the module that "module:function" names, not imported; None where there is none to read."""
    try:
        module, _ = split_name(name)
        _look_here()
        spec = importlib.util.find_spec(module)
    except Exception:  # a package's own code is run on the way to a module in it: importing it says what is wrong
        return None
    origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") and os.path.isfile(origin) else None


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except Exception:  # importing what it names says what is wrong
        return False


def _where(module: str, error: ImportError) -> str:
    """What to do about a module that is not found, or that misses another."""
    missing = getattr(error, "name", None) or module
    if module != missing and not module.startswith(f"{missing}."):
        return f"is {missing} installed? {module} imports it."
    here = sorted(path.stem for path in Path.cwd().glob("*.py"))
    asked = guess(module, here)
    hint = f" ({asked.removesuffix('?')}, which is here?)" if asked else ""
    return f"is {module} installed, on PYTHONPATH, or a file in the current folder ({os.getcwd()})?{hint}"


def _no_such(module: str, found: Any, attribute: str, colon: bool) -> str:
    file = getattr(found, "__file__", None)
    functions = [name for name, value in vars(found).items() if callable(value) and not name.startswith("_")]
    hint = guess(attribute, functions)
    here = Path.cwd() / f"{module.partition('.')[0]}.py"
    if file and here.is_file() and not here.samefile(file):
        hint = f"{here} is another one, which it hides: give that file a name of its own."
    if not hint:
        hint = "expected a function that is there." if colon else "expected 'package.module:function'."
    return f"{module} has no {attribute!r}{f' ({file})' if file else ''}; {hint}"
