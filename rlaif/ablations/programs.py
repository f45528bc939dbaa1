"""The programs that stages run: what each says of itself, how it is started, and the code and libraries it ran with."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from rlaif.ablations import recorded
from rlaif.config import UsageError
from rlaif.files.reads import Rows
from rlaif.settings.programs import program_module, program_settings
from rlaif.settings.spelled import Names

__all__ = ["Program", "changed_in", "command_of", "hashes", "laid_over", "program_of", "versions"]


@dataclass(frozen=True, eq=False)
class Program:
    """What a program says of itself at its top.

    Attributes:
        name: "rlaif judge", or the path of a .py file.
        names: of its settings; None of one that declares no SETTINGS, which nothing is known of.
        learns, measures: what it learns from, what it measures on (`rlaif.files.reads`); None: it does not say.
        needs: versions of libraries, {"trl": "1.12.0"}.
    """

    name: str
    names: Names | None
    learns: Sequence[Rows] | None = None
    measures: Sequence[Rows] | None = None
    needs: Mapping[str, str] | None = None

    @property
    def trains(self) -> bool:
        """Whether it writes to `output_dir`, as those around TRL's trainers do, and is launched by accelerate."""
        return self.names is not None and "output_dir" in self.names.settings

    @property
    def goes_on(self) -> bool:
        """Whether the same command goes on where a killed one was: `rlaif` commands do, and what has checkpoints."""
        names = self.names.settings if self.names is not None else ()
        return self.name.startswith("rlaif ") or "resume_from_checkpoint" in names

    def complete(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """`settings` with the defaults of the others."""
        known = self.names.settings if self.names is not None else {}
        return {**{name: setting.default for name, setting in known.items()}, **settings}


@cache
def program_of(name: str) -> Program:
    """The program of a name.

    One that declares SETTINGS is imported, and does nothing by that; of another one nothing is known beforehand.

    Raises:
        UsageError: there is none, or importing it fails.
    """
    if not name.startswith("rlaif "):
        if not name.endswith(".py") or not Path(name).is_file():
            raise UsageError(f"program is {name!r}, which is no file; expected a .py file, or `rlaif judge`, say.")
        if not re.search(r"^SETTINGS\b", Path(name).read_text(encoding="utf-8"), re.MULTILINE):
            return Program(name, None)
    module = program_module(name)
    names = Names(program_settings(name), name)
    learns = getattr(module, "LEARNS", () if name.startswith("rlaif ") else None)
    if learns is not None:  # a program that cannot import `Rows` gives its arguments
        learns = [Rows(**rows) if isinstance(rows, Mapping) else rows for rows in learns]
    return Program(name, names, learns, getattr(module, "MEASURES", ()), getattr(module, "NEEDS", None))


def laid_over(where: str, program: str, *layers: Mapping[str, Any]) -> dict[str, Any]:
    """A program's settings, each layer over those before it: `max_new_tokens` over `max_completion_length` too.

    What the program does not know, and settings of one that is not there, stay as they are written: of a stage that is
    needed that is said when it is planned.

    Args:
        where: "stage dpo: ", for messages.
        program: its name.
        layers: settings by any of their names.

    Raises:
        UsageError: two names in a layer mean one setting, and have different values.
    """
    try:
        names = program_of(program).names
    except UsageError:
        names = None
    found: dict[str, Any] = {}
    for layer in layers:
        known = {key: value for key, value in layer.items() if names is not None and names.field_of(str(key))}
        found |= {key: value for key, value in layer.items() if key not in known}
        found |= {} if names is None else names.of_mapping(known, where)
    return found


def command_of(program: Program, launch: str | None, python: str | None, files: Path) -> list[str]:
    """The command that starts a program, with accelerate where there is a launch file.

    Args:
        program: what is started.
        launch: accelerate's configuration file.
        python: another Python than this one.
        files: where the names of the files that it imported are written to.

    Raises:
        UsageError: no such launch file or Python; a program that trains without the one, or in other versions of
            libraries than it needs.
    """
    if launch is not None and not Path(launch).is_file():
        raise UsageError(f"launch is {launch!r}, which is no file; expected one of accelerate's configuration files.")
    if program.trains and launch is None:
        raise UsageError(
            f"{program.name} trains, and there is no launch file; expected one of accelerate's configuration files, "
            "launch: recipes/accelerate/cpu.yaml, say."
        )
    there = versions(python)
    for library, version in (program.needs or {}).items():
        if there.get(library) != version:
            raise UsageError(
                f"{python or sys.executable} has {library} {there.get(library, '(none)')}; {program.name} needs "
                f"{version}: give its stage the `python` of an environment with it (pip install {library}=={version})."
            )
    words = [python or sys.executable]
    if launch is not None:  # quiet: else the launcher's own traceback stands after the program's last line
        words += ["-m", "accelerate.commands.launch", "--quiet", "--config_file", launch]
    return [*words, recorded.__file__, str(files), *program.name.split()]


@cache
def versions(python: str | None = None) -> dict[str, str]:
    """The versions of the libraries that programs compute with, under another Python where one is named.

    Raises:
        UsageError: it is none.
    """
    if python is None:
        return recorded.versions()
    try:
        words = [shutil.which(python) or python, "-I", recorded.__file__]
        found: dict[str, str] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        raise UsageError(
            f"python is {python!r}, which does not run; expected the Python of an environment: python3 -m venv FOLDER, "
            "then FOLDER/bin/python."
        ) from None
    return found


# Code -----------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _hash(file: str, changed: int, size: int) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def hashes(files: Iterable[str]) -> dict[str, str]:
    """The hash of each file, by its path as seen from the current folder; "" of one that is not there."""
    found = {}
    for file in files:
        name = os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else file
        try:
            status = os.stat(file)
            found[name] = _hash(os.path.abspath(file), status.st_ctime_ns, status.st_size)
        except OSError:
            found[name] = ""
    return found


def changed_in(code: Mapping[str, str]) -> str | None:
    """The first file of `code`, made by `hashes`, that is not as it was then."""
    now = hashes(code)
    return next((file for file, was in code.items() if now[file] != was), None)
