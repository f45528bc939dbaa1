"""The rows of one split: of a dataset that has splits, or of a file with a column `split`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlaif.errors.words import meant, shown
from rlaif.files.bad_rows import BadRows
from rlaif.files.rows import read_rows
from rlaif.files.shards import parquet_splits

__all__ = ["is_undivided", "names_splits", "rows_of_dataset", "rows_of_split", "rows_of_usual_split"]

_USUAL = ("train", "training", "validation", "valid", "val", "dev", "test")


def rows_of_split(
    source: str | Path, split: str | None = None, config_name: str | None = None, bad: BadRows | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`read_rows`, but of a file the rows whose column `split` says so; a ValueError where it has no such column.

    What `Dataset.save_to_disk` left of one dataset is one split as a file is.
    """
    if split is None or not is_undivided(source):
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
            f"{', '.join([*others][:9])}.{meant(split, others)}"
        )


def rows_of_usual_split(
    source: str | Path, split: str | None, config_name: str | None = None, bad: BadRows | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`rows_of_split` for a program that always names a split: a file whose rows name none is that split.

    Raises:
        ValueError: as `rows_of_split`; or some rows name a split, and earlier ones have no column `split`.
    """
    if split is None or not is_undivided(source) or names_splits(source, split):
        yield from rows_of_split(source, split, config_name, bad)
        return
    for where, row in read_rows(source, None, config_name, bad):
        if _names_split(row, split):
            raise ValueError(
                f"{where}: the row is of the split {row['split']}, and rows before it have no column split; expected "
                "one in every row, or in none."
            )
        yield where, row


def rows_of_dataset(
    source: str | Path, split: str | None, config_name: str | None = None, bad: BadRows | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`rows_of_usual_split`, but a folder that `rlaif build` wrote is read as it is, "train" where no split is said.

    `load_dataset` would copy its shards into a cache first.

    Raises:
        ValueError: as `rows_of_usual_split`; or the folder has no such split.
    """
    there = {} if is_undivided(source) or config_name is not None else parquet_splits(Path(source) / "data")
    if not there:
        yield from rows_of_usual_split(source, split, config_name, bad)
        return
    split = split or "train"
    if split not in there:
        raise ValueError(
            f"{source} has the splits {', '.join(there)}, not {split!r}; give it a larger share.{meant(split, there)}"
        )
    for file in there[split]:
        yield from read_rows(file, bad=bad)


def is_undivided(source: str | Path) -> bool:
    """Whether a source is one set of rows, of whose splits nothing but a column can say."""
    return Path(source).is_file() or (Path(source) / "state.json").is_file()


def names_splits(path: str | Path, split: str) -> bool:
    """Whether the column `split` of a file says which split a row is of: `split` itself, or one of the usual names.

    A column of that name that says something else (a subset, say) is a column as any other.
    """
    for _, row in read_rows(path, bad=BadRows("skip")):
        if "split" not in row:
            return False
        if _names_split(row, split):
            return True
    return False


def _names_split(row: Mapping[str, Any], split: str) -> bool:
    return isinstance(row.get("split"), str) and row["split"] in (split, *_USUAL)
