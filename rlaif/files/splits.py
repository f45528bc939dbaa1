"""The rows of one split: of a dataset that has splits, or of a file with a column `split`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlaif.errors.words import shown
from rlaif.files.bad_rows import BadRows
from rlaif.files.rows import read_rows

__all__ = ["names_splits", "rows_of_split", "rows_of_usual_split"]

_USUAL = ("train", "training", "validation", "valid", "val", "dev", "test")


def rows_of_split(
    source: str | Path, split: str | None = None, config_name: str | None = None, bad: BadRows | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`read_rows`, but of a file the rows whose column `split` says so; a ValueError where it has no such column.

    What `Dataset.save_to_disk` left of one dataset is one split as a file is.
    """
    if split is None or not _is_one(source):
        yield from read_rows(source, split, config_name, bad)
        return
    others: dict[str, None] = {}
    found = False
    for where, row in read_rows(source, None, config_name, bad):
        if "split" not in row:
            raise ValueError(f"{where}: the row has no column split, so a file is one split; got --split {split}.")
        if row["split"] == split:
            found = True
            yield where, row
        else:
            others[shown(row["split"])] = None
    if not found:
        raise ValueError(
            f"{source} has no row of the split {split}; expected --split with one of those in its column split: "
            f"{', '.join([*others][:9])}."
        )


def rows_of_usual_split(
    source: str | Path, split: str | None, config_name: str | None = None, bad: BadRows | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`rows_of_split` for a program that always names a split: a file whose rows name none is that split."""
    whole = split is None or (_is_one(source) and not names_splits(source, split))
    yield from rows_of_split(source, None if whole else split, config_name, bad)


def _is_one(source: str | Path) -> bool:
    return Path(source).is_file() or (Path(source) / "state.json").is_file()


def names_splits(path: str | Path, split: str) -> bool:
    """Whether the column `split` of a file says which split a row is of: `split` itself, or one of the usual names.

    A column of that name that says something else (a subset, say) is a column as any other.
    """
    for _, row in read_rows(path, bad=BadRows("skip")):
        if "split" not in row:
            return False
        if isinstance(row["split"], str) and row["split"] in (split, *_USUAL):
            return True
    return False
