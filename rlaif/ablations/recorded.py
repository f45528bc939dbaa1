"""Runs a program and writes down which files of code it imported: `python recorded.py FILES.json PROGRAM ...`.

PROGRAM is a path, or "rlaif". What a program executed its interpreter knows, down to an import within a function: it
writes that down as it ends, and what it computed is kept as long as none of these files is changed. Any Python runs
this, one without rlaif too: it needs nothing but the standard library. Without arguments it prints `versions()`.
"""

import sys

if __name__ == "__main__":
    del sys.path[0]  # what stands beside this file is not what a program means

import atexit
import json
import os
import platform
import runpy
import sysconfig
from importlib import metadata
from pathlib import Path

__all__ = ["imported", "versions"]

_LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "tokenizers", "datasets", "numpy")


def versions() -> "dict[str, str]":
    """The versions of what programs compute with, under this Python: another one gives other numbers."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def imported() -> "list[str]":
    """The Python files that this process imported: all but the libraries', and rlaif's wherever it is installed."""
    libraries = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    files = set()
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__dict__", {}).get("__file__")
        if not isinstance(path, str) or not path.endswith(".py") or name == "__main__":
            continue
        theirs = {"site-packages", "dist-packages"} & set(Path(path).parts)
        if name.partition(".")[0] == "rlaif" or not (theirs or any(map(Path(path).is_relative_to, libraries))):
            files.add(os.path.abspath(path))
    return sorted(files)


def _write(files: str, program: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # of a launcher's processes one says it for all
        own = [] if program == "rlaif" else [os.path.abspath(program)]
        Path(files).write_text(json.dumps([*own, *imported()]), encoding="utf-8")


def main(files: str, program: str, *arguments: str) -> None:
    """Runs `program` as if it had been started itself."""
    atexit.register(_write, os.path.abspath(files), program)
    sys.argv = [program, *arguments]
    if program == "rlaif":
        sys.path.insert(0, os.getcwd())  # as python -m does
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(program)))
        runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(*sys.argv[1:])
    else:
        print(json.dumps(versions()))
