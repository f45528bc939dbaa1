"""Parquet shards, written as the rows come: a dataset of any size in the memory of one row group.

A split is `train-00000-of-00003.parquet` and so on, the names that `datasets` and the Hub know. A folder of shards is
written beside its place and changes places with what is there, so that a kill at any moment leaves the old one or the
new one, never half and never none.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from rlaif.files.room import names_place
from rlaif.files.swap import replace_folder

__all__ = ["SHARD_BYTES", "SPLITS", "Shards", "in_order", "parquet_splits", "read_tables"]

Value = TypeVar("Value")
SPLITS = ("train", "validation", "test")
SHARD_BYTES = 256 << 20  # on disk; a reader that wants a few rows downloads one shard
_GROUP_ROWS = 5_000  # the Hub's viewer reads a row group at a time


class Shards:
    """The Parquet files of one config of a dataset, split by split; use it as a context manager.

    Args:
        folder: what is replaced by the new shards, once they are whole. An exception leaves it as it was.
        schema: the pyarrow schema of every row.
        shard_bytes: a new shard is begun when one has reached this size.
    """

    def __init__(self, folder: str | Path, schema: Any, *, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder = Path(folder)
        self.schema = schema
        self.shard_bytes = shard_bytes
        self.rows: dict[str, int] = {}
        self._waiting: dict[str, list[Mapping[str, Any]]] = {}
        self._writers: dict[str, Any] = {}
        self._files: dict[str, list[Path]] = {}
        self._partial = self.folder.with_name(f".{self.folder.name}.partial")
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)

    def add(self, split: str, row: Mapping[str, Any]) -> None:
        """Adds a row: values by column name; columns that are missing are null."""
        waiting = self._waiting.setdefault(split, [])
        waiting.append(row)
        if len(waiting) >= _GROUP_ROWS:
            self._flush(split)

    def add_table(self, split: str, table: Any) -> None:
        """Adds the rows of a pyarrow table, which are written as they are."""
        import pyarrow.parquet as pq

        if not table.num_rows:
            return
        if split not in self._writers:
            files = self._files.setdefault(split, [])
            files.append(self._partial / f"{split}-{len(files):05d}.parquet")
            # Chunks cut by content: rows added or left out later do not move the rest, so that the Hub's
            # deduplicating storage takes only what is new.
            self._writers[split] = pq.ParquetWriter(files[-1], self.schema, use_content_defined_chunking=True)
        with names_place(self.folder):
            self._writers[split].write_table(table.cast(self.schema), row_group_size=_GROUP_ROWS)
        self.rows[split] = self.rows.get(split, 0) + table.num_rows
        if self._files[split][-1].stat().st_size >= self.shard_bytes:
            self._writers.pop(split).close()

    def _flush(self, split: str) -> None:
        import pyarrow as pa

        waiting = self._waiting.pop(split, [])
        self.add_table(split, pa.Table.from_pylist(waiting, schema=self.schema))

    def close(self) -> None:
        """Writes what is left and puts the folder in its place."""
        for split in [*self._waiting]:
            self._flush(split)
        with names_place(self.folder):
            for writer in self._writers.values():
                writer.close()
        for split, files in self._files.items():
            for at, file in enumerate(files):
                file.rename(file.with_name(f"{split}-{at:05d}-of-{len(files):05d}.parquet"))
        replace_folder(self._partial, self.folder)
        shutil.rmtree(self._partial, ignore_errors=True)  # now the shards that were there before
        self.rows = in_order(self.rows)

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            for writer in self._writers.values():
                writer.close()
            shutil.rmtree(self._partial, ignore_errors=True)


def parquet_splits(folder: str | Path) -> dict[str, list[Path]]:
    """The splits of a folder of shards and their files in order; empty where it holds none."""
    splits: dict[str, list[Path]] = {}
    for path in sorted(Path(folder).glob("*-*.parquet")):
        splits.setdefault(path.name.split("-")[0], []).append(path)
    return in_order(splits)


def in_order(splits: Mapping[str, Value]) -> dict[str, Value]:
    """Values by split: train, validation, test, then the others by name."""
    names = [*(name for name in SPLITS if name in splits), *sorted(set(splits) - set(SPLITS))]
    return {name: splits[name] for name in names}


def read_tables(files: list[Path], columns: list[str] | None = None) -> Iterator[Any]:
    """The rows of some Parquet files in order, as pyarrow tables of a row group or less.

    Raises:
        ValueError: a file is no whole Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_GROUP_ROWS, columns=columns):
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0][:120]
            raise ValueError(f"{path} cannot be read ({reason}); expected whole Parquet. Write it again.") from None
