"""The folder that holds exactly what goes out, and how it is known to be one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rlaif.files import swap
from rlaif.files.ownership import check_place
from rlaif.files.sources import whole_file

__all__ = ["MARK", "NOTES", "Note", "check", "replace_staged", "staged_for"]

MARK = ".rlaif"  # a hidden folder, which no push sends: the manifest of the command that staged
NOTES = ".notes"  # within what is being staged: what MARK will hold
Note = Callable[[Path, dict[str, Any]], None]  # writes a run's manifest and its report to a folder


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


@contextmanager
def staged_for(output: Path) -> Iterator[Path]:
    """An empty hidden folder of `output` to stage in; after an error `output` is as it was, or not there."""
    new = [place for place in (output / MARK, output, *output.parents) if not place.exists()]
    try:
        with swap.staging(output / MARK, "staged") as staged:
            yield staged
    except BaseException:
        for place in new:
            with contextlib.suppress(OSError):
                place.rmdir()  # where nothing was written
        raise


def replace_staged(staged: Path, output: Path, kind: str, gone: Sequence[str]) -> None:
    """Makes `output` a staging folder of this kind that holds what was staged, with what was noted of it (NOTES).

    The card goes first and comes last: without it a folder is not whole.

    Args:
        staged: from `staged_for`; all that needs room on the disk is written there already.
        output: the staging folder.
        kind: "dataset", "reward_model" or "policy".
        gone: names of an earlier staging that are set aside before anything new is put there.
    """
    with whole_file(_kind_of(output)) as file:
        file.write(kind)
    swap.move_into(staged, output, ["README.md"], gone)
    for path in sorted((staged / NOTES).iterdir()):
        os.replace(path, output / MARK / path.name)


def _kind_of(output: Path) -> Path:
    return output / MARK / "kind"
