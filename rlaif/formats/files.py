"""Rows in from what people have on disk, and out as JSONL or Parquet; both one row at a time."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rlaif.errors.words import meant
from rlaif.files.bad_rows import BadRows
from rlaif.files.hub import split_names
from rlaif.files.room import names_place
from rlaif.files.shards import parquet_splits
from rlaif.files.sources import read_rows, write_jsonl
from rlaif.files.splits import rows_of_split

__all__ = ["check_splits", "read_source", "write_output"]


def check_splits(source: str | Path, split: str | None, config_name: str | None = None) -> str | None:
    """The split that `read_source` takes for `--split`: None for "all".

    Splits of a dataset may hold the same rows (train_prefs and train_sft), or what is kept for a test: where there are
    several, a ValueError unless one or all are asked for. Those of `rlaif build` have no prompt in common: all of them
    are the default.
    """
    path = Path(source)
    if path.is_file() or any((path / one).is_file() for one in ("judgments.jsonl", "state.json")):
        return None if split == "all" else split
    if split is not None and split != "all":
        return split
    ours = (path / "report.json").is_file() and config_name is None and parquet_splits(path / "data")
    names = [*ours] if ours else split_names(source, config_name)
    if split in names or (split is not None and not names):
        return split
    if ours and len(names) == 1:
        return names[0]
    if split is None and len(names) > 1 and not ours:
        raise ValueError(
            f"{source} has the splits {', '.join(names)}; say which one with --split, or --split all for every one."
        )
    return None


def read_source(
    source: str | Path, split: str | None = None, config_name: str | None = None, bad: BadRows | None = None
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every row of `source` with its split ("" where it has none) and its place.

    Args:
        source: what `read_rows` takes, or a folder of `rlaif judge` or `rlaif build`.
        split: the one to read, of a file by its column `split`; None: all of them, one after the other.
        config_name: needed where the source has several configs and no default.
        bad: takes the rows that are none; without it the first one is a ValueError.
    """
    path = Path(source)
    splits = parquet_splits(path / "data") if (path / "report.json").is_file() and config_name is None else {}
    if (path / "judgments.jsonl").is_file():
        yield from ((split or "", *row) for row in rows_of_split(path / "judgments.jsonl", split, bad=bad))
    elif splits:
        if split is not None and split not in splits:
            raise ValueError(
                f"{source} has the splits {', '.join(splits)}; say which one with --split (got {split})."
                f"{meant(split, splits)}"
            )
        for name in splits if split is None else [split]:
            yield from ((name, *row) for file in splits[name] for row in read_rows(file, bad=bad))
    elif split is not None or path.is_file() or len(names := split_names(source, config_name)) < 2:
        yield from ((split or "", *row) for row in rows_of_split(source, split, config_name, bad))
    else:
        for name in names:
            for where, row in read_rows(source, name, config_name, bad):
                yield name, f"{source}[{name}]:{where.rpartition(':')[2]}", row


def write_output(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes rows as .jsonl or .parquet, the file whole or not at all; returns their number."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        lines = Path(folder) / "rows.jsonl"
        count = write_jsonl(lines, rows)
        with names_place(path):
            whole = lines if path.suffix == ".jsonl" else _to_parquet(lines, path)
        os.replace(whole, path)
    return count


def _to_parquet(lines: Path, path: Path) -> Path:
    """JSONL as Parquet. The columns are known after a first pass: a later row may have more of them than the first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = lines.with_suffix(".parquet")
    schema = pa.schema([])
    try:
        for rows in _batches(lines):
            names = dict.fromkeys(name for row in rows for name in row)
            here = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names}).schema
            schema = pa.unify_schemas([schema, here], promote_options="permissive")
        with pq.ParquetWriter(whole, schema) as file:
            for rows in _batches(lines):
                file.write_table(pa.Table.from_pylist(rows, schema=schema))
    except (pa.ArrowException, TypeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ValueError(
            f"{path}: these rows do not fit one Parquet schema ({reason}); expected one type in a column. Write .jsonl."
        ) from None
    return whole


def _batches(lines: Path, size: int = 5_000) -> Iterator[list[dict[str, Any]]]:
    rows = (row for _, row in read_rows(lines))
    while batch := list(itertools.islice(rows, size)):
        yield batch
