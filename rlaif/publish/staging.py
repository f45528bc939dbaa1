"""The folder that holds exactly what goes out, and how it is known to be one."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rlaif.files.ownership import check_place

__all__ = ["MARK", "check", "mark"]

MARK = ".rlaif"  # a hidden folder, which no push sends: the manifest of the command that staged


def check(output: Path, source: Path, kind: str, own: Sequence[str] = ("*",)) -> None:
    """Refuses what can be no staging folder; changes nothing.

    Everything in it will be sent, so a folder that was not staged by `rlaif publish` is refused, as is one that has got
    a file since that `own` (patterns of paths) does not know, one of another `kind`, and one that is within the folder
    that is published, or holds it.
    """
    check_place(output)
    if source.resolve().is_relative_to(output.resolve()) and source.resolve() != output.resolve():
        raise ValueError(f"output is {output}, which holds what is published; expected a folder of its own.")
    if output.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"output is {output}, which is in what is published; expected a folder of its own.")
    mine = sorted(path.name for path in output.iterdir()) if output.exists() else []
    if mine and not (output / MARK).is_dir():
        raise ValueError(
            f"output is {output}, which holds {mine[0]} and was not staged by `rlaif publish`; expected a new folder, "
            "since everything in it is sent."
        )
    known = _kind_of(output)
    if known.is_file() and known.read_text(encoding="utf-8") != kind:
        staged = known.read_text(encoding="utf-8").replace("_", " ")
        raise ValueError(f"output is {output}, where a {staged} was staged; expected a folder of its own for each.")
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output).as_posix()
        if path.is_file() and not name.startswith(".") and not any(fnmatchcase(name, pattern) for pattern in own):
            raise ValueError(f"{path} was not written by `rlaif publish` and would be sent; move it elsewhere.")


def mark(output: Path, kind: str) -> None:
    """Makes `output` a staging folder, right before something is written to it."""
    _kind_of(output).parent.mkdir(parents=True, exist_ok=True)
    _kind_of(output).write_text(kind, encoding="utf-8")


def _kind_of(output: Path) -> Path:
    return output / MARK / "kind"
