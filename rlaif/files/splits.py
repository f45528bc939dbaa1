"""The rows of one split: of a dataset that has splits, or of a file with a column `split`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlaif.errors.words import shown
from rlaif.files.bad_rows import BadRows
from rlaif.files.rows import read_rows

__all__ = ["rows_of_split"]


def rows_of_split(
    source: str | Path, split: str | None = None, config_name: str | None = None, bad: BadRows | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`read_rows`, but of a file the rows whose column `split` says so; a ValueError where it has no such column."""
    path = Path(source)
    if split is None or not path.is_file():
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
