"""The settings of a program by its name, without starting it: "rlaif judge", "recipes/dpo.py"."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from rlaif.errors.lines import UsageError
from rlaif.settings.declared import Setting, declared

__all__ = ["program_module", "program_settings"]


@cache
def program_module(program: str) -> ModuleType:
    """The module of a program, imported and not run: of "rlaif judge" `rlaif.commands.judge`, else the file's.

    Raises:
        UsageError: there is no such program, or importing it fails.
    """
    words = program.split()
    try:
        if words and words[0] == "rlaif":
            return importlib.import_module(f"rlaif.commands.{words[1]}" if len(words) == 2 else "")
        path = Path(program).resolve(strict=True)
        name = f"rlaif_program_{path.stem}_{abs(hash(path)):x}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError("it is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their annotations up there
        beside = str(path.parent)
        sys.path.insert(0, beside)  # as where it is run
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(beside)
    except (ImportError, OSError, ValueError) as error:
        raise UsageError(f"{program!r} is no program ({error}); expected rlaif judge, or a .py file, say.") from None
    return module


def program_settings(program: str) -> dict[str, Setting]:
    """The settings of a program by name, as --help orders them.

    Raises:
        UsageError: there is no such program, or its module has no SETTINGS.
    """
    kinds = getattr(program_module(program), "SETTINGS", None)
    if not kinds:
        raise UsageError(f"{program} declares no settings; expected SETTINGS = (DATACLASS, ...) in its module.")
    return declared(kinds)
