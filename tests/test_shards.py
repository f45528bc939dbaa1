"""Shards: every row once, in order, and a folder that is the old one or the new one."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.files import shards
from rlaif.files.shards import Shards, in_order, parquet_splits, read_tables

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])


def rows_in(folder: Path) -> dict[str, list[int]]:
    return {
        split: [row["id"] for table in read_tables(files) for row in table.to_pylist()]
        for split, files in parquet_splits(folder).items()
    }


@given(st.lists(st.sampled_from(["train", "validation", "test", "extra"]), max_size=60), st.integers(1, 7))
def test_every_row_once_and_in_order(tmp_path_factory: pytest.TempPathFactory, splits: list[str], group: int) -> None:
    folder = tmp_path_factory.mktemp("shards") / "data"
    before = shards._GROUP_ROWS
    shards._GROUP_ROWS = group
    try:
        with Shards(folder, SCHEMA, shard_bytes=1) as writer:
            for at, split in enumerate(splits):
                writer.add(split, {"id": at, "text": "é" * at})
    finally:
        shards._GROUP_ROWS = before
    expected = {name: [at for at, split in enumerate(splits) if split == name] for name in set(splits)}
    assert rows_in(folder) == expected
    assert list(rows_in(folder)) == [name for name in ("train", "validation", "test", "extra") if name in expected]
    assert writer.rows == {name: len(ids) for name, ids in expected.items()}
    for name, files in parquet_splits(folder).items():
        assert [path.name for path in files] == [
            f"{name}-{i:05d}-of-{len(files):05d}.parquet" for i in range(len(files))
        ]
        assert len(files) == -(-len(expected[name]) // group)  # each row group is larger than a shard may be


def test_an_exception_leaves_the_old_folder(tmp_path: Path) -> None:
    with Shards(tmp_path / "data", SCHEMA) as writer:
        writer.add("train", {"id": 1, "text": "old"})
    before = (tmp_path / "data" / "train-00000-of-00001.parquet").read_bytes()

    def write(fail: bool) -> None:
        with Shards(tmp_path / "data", SCHEMA) as writer:
            writer.add("test", {"id": 2})
            if fail:
                raise KeyError("a bug")

    with pytest.raises(KeyError):
        write(fail=True)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert (tmp_path / "data" / "train-00000-of-00001.parquet").read_bytes() == before
    write(fail=False)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["test-00000-of-00001.parquet"]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_tables_are_written_as_they_are(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2, 3], "text": ["a", None, "c"]}, schema=SCHEMA)
    with Shards(tmp_path / "data", SCHEMA) as writer:
        writer.add_table("train", table.slice(0, 0))
        writer.add_table("train", table.slice(0, 2))
        writer.add_table("train", table.slice(2, 1))
    assert pq.read_table(tmp_path / "data").equals(table)


def test_a_column_of_another_type_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(pa.ArrowInvalid), Shards(tmp_path / "data", SCHEMA) as writer:
        writer.add("train", {"id": "one"})
    assert not (tmp_path / "data").exists()


def test_order_of_splits() -> None:
    assert list(in_order({"zeta": 1, "test": 2, "alpha": 3, "train": 4})) == ["train", "test", "alpha", "zeta"]
