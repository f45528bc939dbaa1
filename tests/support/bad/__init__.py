"""What a user may get wrong, and what must come of it: one line that names it, and every file as it was.

A `Bad` is a command line and the files it meets, in a folder of its own. `run_here` runs it in this process, by the
same `main` that a user starts; `check_line` and `check_folder` judge what it said and left, as of one that was started.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from support.programs import ROOT, run_here

__all__ = ["Bad", "Content", "check_folder", "check_line", "lay_out", "run_here", "short", "snapshot"]

Content = bytes | str | list[Any] | Callable[[Path, Path], object]

# Words of Python's own that say nothing to a user.
PYTHON = re.compile(
    r"<class |<[\w.]+ object|object at 0x|\w\(\{|Counter\(|PosixPath\(|NoneType|\bNone\b|\{'|\{\d+:|dtype=|tensor\("
    r"|array\(|defaultdict|namespace\(|\[Errno|\b\w+Error\b|Traceback|' object (?:is|has)|\\n|\\x1b"
)


@dataclass(frozen=True)
class Bad:
    """A command line that must be refused.

    `command`: a command of `rlaif` or the path of a program. `arguments`: "@x" stands for the file or folder x of the
    inputs that are right. `names`: what the line must match. `files`: what is there before, by path: rows, text, bytes,
    or a function that is given the path and the folder of what is right. `status`: how the command must end: 2 for a
    setting that does not fit, 1 for data or a model; None where either will do. `leaves`: what may be new afterwards,
    as patterns of paths, each with the reason.
    """

    command: str
    arguments: tuple[str, ...]
    names: str
    files: Mapping[str, Content] = field(default_factory=dict)
    status: int | None = None
    leaves: Mapping[str, str] = field(default_factory=dict)

    def argv(self, world: Path) -> list[str]:
        given = [re.sub(r"(^|=)@", lambda m: f"{m[1]}{world}/", word) for word in self.arguments]
        return [str(ROOT / self.command), *given] if "/" in self.command else ["rlaif", self.command, *given]


def short(command: str) -> str:
    """The name of a command or program in the name of a case."""
    return command.rsplit("/", 1)[-1].removesuffix(".py")


def lay_out(bad: Bad, folder: Path, world: Path) -> None:
    """Writes the files that a command line meets."""
    for name, content in bad.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path, world)
        elif isinstance(content, list):
            path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def snapshot(folder: Path) -> dict[str, str]:
    """Every file and folder below `folder`, with what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def check_line(error: str, status: object, bad: Bad, launched: bool = False) -> str:
    """The line with which a program refused its input; fails where it is not as it must be.

    Where it was `launched`, "stopped: ", and the launcher's own words about the end of its processes, stand before it.
    """
    lines = [line for line in error.splitlines() if line.strip() and "%|" not in line]
    assert status in ((1, 2, 3) if bad.status is None or launched else (bad.status,)), (status, error)
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], error
    if launched:
        assert str(ROOT / "rlaif") not in "".join(lines[:-1]), error
        assert sum(line.startswith("stopped: ") for line in lines) == 1, error  # where it stood before the launcher's
    else:
        assert all(line.startswith(("warning: ", "error: ")) for line in lines), error
    line = lines[-1]
    assert len(line) < 600, line
    assert not (python := PYTHON.search(line)), (python, line)
    assert re.search(bad.names, line), (bad.names, line)
    return line


def check_folder(before: Mapping[str, str], folder: Path, leaves: Mapping[str, str] | None = None) -> None:
    """Fails where something that was there is not as it was, or something is new that is not named in `leaves`.

    What is new must be whole, and every pattern of `leaves` must be met: a reason that holds no more is none.
    """
    after, leaves = snapshot(folder), leaves or {}
    changed = {name for name, content in before.items() if after.get(name) != content}
    assert not changed, sorted(changed)
    new = sorted(after.keys() - before.keys())
    left = [name for name in new if not any(fnmatchcase(name, pattern) for pattern in leaves)]
    assert not left, f"{left} {'is' if len(left) == 1 else 'are'} left behind"
    unmet = [pattern for pattern in leaves if not any(fnmatchcase(name, pattern) for name in new)]
    assert not unmet, f"nothing is left of {unmet}"
    for name in new:
        path = folder / name
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".jsonl":
            assert path.read_bytes().endswith(b"\n"), name
            [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
