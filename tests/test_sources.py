"""Rows come in from any source with their place, and a bad one is named; what is written can be read again."""

from __future__ import annotations

import datetime
import decimal
import gzip
import hashlib
import json
import math
import string
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import here, refused, rows_of, write_rows
from support.files import read_pairs, read_prompts

from rlaif.files.index import Index
from rlaif.files.sources import (
    Ids,
    fingerprint,
    is_still,
    read_judgments,
    read_rows,
    stream_judgments,
    stream_pairs,
    whole_file,
    write_json,
    write_jsonl,
)
from rlaif.formats.files import check_splits
from rlaif.records import Pair

ROW = {"prompt": "p", "response_a": "a", "response_b": "b"}
ROWS = [{**ROW, "prompt": f"p{i}", "subset": "s", "score": i / 2} for i in range(3)]


def as_source(kind: str, folder: Path) -> tuple[Path, str | None]:
    """ROWS as one kind of source, and the split they are in."""
    folder.mkdir(exist_ok=True)
    if kind == "jsonl":
        return write_rows(folder / "rows.jsonl", ROWS), None
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), folder / "rows.parquet")
        return folder / "rows.parquet", None
    data = datasets.Dataset.from_list(ROWS)
    if kind == "saved":
        data.save_to_disk(str(folder / "d"))
        return folder / "d", None
    if kind == "saved splits":
        datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(str(folder / "d"))
        return folder / "d", "train"
    (folder / "d" / "data").mkdir(parents=True)  # as a clone of a Hub repository
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "d" / "data" / "train-00000-of-00001.parquet")
    return folder / "d", None


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "saved", "saved splits", "clone"])
def test_every_source_gives_the_same_rows(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    source, split = as_source(kind, tmp_path)
    assert [row for _, row in read_rows(source, split)] == ROWS
    assert [where for where, _ in read_rows(source, split)] == [f"{source}:{i}" for i in (1, 2, 3)]
    pairs = read_pairs(source, split)
    assert [pair.prompt for pair in pairs] == ["p0", "p1", "p2"]
    assert pairs[1].extra == {"subset": "s", "score": 0.5}
    assert len({pair.id for pair in pairs}) == 3
    assert read_prompts(source, split) == ["p0", "p1", "p2"]


def test_splits_have_to_be_chosen(tmp_path: Path) -> None:
    source, _ = as_source("saved splits", tmp_path)
    with pytest.raises(ValueError, match="has the splits train, test; say which one with --split"):
        read_pairs(source)


def test_a_split_of_a_file_is_what_its_rows_say(tmp_path: Path) -> None:
    """It was not looked at, and the training rows were judged with the others."""
    source = write_rows(
        tmp_path / "rows.jsonl", [{**row, "split": "val" if at else "train"} for at, row in enumerate(ROWS)]
    )
    assert [pair.prompt for pair in read_pairs(source, "val")] == read_prompts(source, "val") == ["p1", "p2"]
    assert len(read_pairs(source)) == 3
    with pytest.raises(ValueError, match=r"no row of the split test; expected --split with one of .*: 'train', 'val'"):
        read_pairs(source, "test")
    with pytest.raises(ValueError, match=r"rows.jsonl:1: the row has no column split, so a file is one split"):
        read_prompts(write_rows(source, ROWS), "train")
    saved, _ = as_source("saved", tmp_path)  # by `Dataset.save_to_disk`
    with pytest.raises(ValueError, match=r":1: the row has no column split"):
        read_prompts(saved, "test")
    assert check_splits(saved, "all") is None


BAD = [
    ('{"prompt": "p", "response_a": "a"}', "rows.jsonl:2: the row has no 'response_b'; expected a prompt"),
    ('{"prompt": "p", "response_a": "a", "response_b": null}', "rows.jsonl:2: response_b is null"),
    ('{"prompt": "p", "response_a": "a", "response_b": 3}', "rows.jsonl:2: response_b is 3; expected text"),
    ('{"prompt": "", "response_a": "a", "response_b": "b"}', "rows.jsonl:2: prompt is empty"),
    ('{"prompt": "p", "response_a": "a", "response_b": "\\ud83d"}', "rows.jsonl:2: response_b holds half of a char"),
    ('{"prompt": "p", "response_a": "a", "response_b": "b", "label": 1}', "rows.jsonl:2: label is 1"),
    (
        '{"prompt": [{"role": "user", "content": "p"}], "response_a": "a", "response_b": "b"}',
        "rows.jsonl:2: the prompt is messages, but the one",
    ),
    ('{"prompt": "p", "response_a": "a", "response_b": "b"', "rows.jsonl:2: the line is not JSON (Expecting ',' delim"),
    ("[1, 2]", "rows.jsonl:2: the line holds [1, 2]; expected one JSON object a line"),
    ('{"prompt": "first", "response_a": "a", "response_b": "b"}', "which row 1 has already; expected distinct ids"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_a_bad_row_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**ROW, "prompt": "first"}) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=r".") as error:
        read_pairs(path)
    assert message.format(path=path) in str(error.value)


@pytest.mark.parametrize("content", [b"\xff\xfe{\x00}\x00", b'{"prompt": "caf\xe9"}\n'])
def test_another_encoding_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=r"rows.jsonl:1: the line is not UTF-8 \(byte 0x.. at .*Convert the file"):
        read_prompts(tmp_path / "rows.jsonl")


def test_a_byte_order_mark_and_other_line_ends_do_no_harm(tmp_path: Path) -> None:
    row = {**ROW, "prompt": "one\u2028two\x85three"}  # separators that are no newlines
    content = "\ufeff" + json.dumps(row, ensure_ascii=False) + "\r\n\r\n"
    (tmp_path / "rows.jsonl").write_bytes(content.encode())
    assert [row for _, row in read_rows(tmp_path / "rows.jsonl")] == [row]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.jsonl", "nowhere.jsonl does not exist; expected a .jsonl or .parquet file"),
        ("rows.csv", "rows.csv ends in .csv; expected .jsonl, .jsonl.gz, .json, .parquet"),
        ("empty.jsonl", "empty.jsonl has no rows"),
        ("folder", "could not be read"),
    ],
)
def test_a_source_that_is_none_is_named(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "folder").mkdir()
    for read in (read_pairs, read_prompts, read_judgments):
        with pytest.raises(ValueError, match=r".") as error:
            read(tmp_path / name)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_a_hub_id_that_cannot_be_reached_is_one_line() -> None:
    with pytest.raises(ValueError, match="some/dataset could not be read"):
        read_pairs("some/dataset")


@pytest.mark.parametrize(
    ("z", "message"),
    [
        ("1.5", r"z is 1.5; expected a probability in \[0, 1\]"),
        ("-0.1", "z is -0.1"),
        ("NaN", "z holds nan; expected finite numbers"),
        ('"0.5"', "z is '0.5'"),
        ("true", "z is true"),
    ],
)
def test_a_z_that_is_no_probability_is_named(z: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW)[:-1] + f', "z": {z}}}\n')
    with pytest.raises(ValueError, match=rf"rows.jsonl:1: {message}"):
        read_judgments(path)


def test_judgments_from_elsewhere(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "r.jsonl", [{**ROW, "id": 7, "z": 0.25, "subset": "s"}, {**ROW, "id": None, "z": None}]
    )
    first, second = read_judgments(path)
    assert (first.pair.id, first.z, first.pair.extra) == ("7", 0.25, {"subset": "s"})
    assert (second.pair.id, second.z, second.reason) == (Pair("p", "a", "b").id, None, "z is null in the source")
    write_rows(path, [{**ROW, "z": 0.5}, {**ROW, "prompt": [{"role": "user", "content": "p"}], "z": 0.5}])
    with pytest.raises(ValueError, match=r"r.jsonl:2: the prompt is messages, but the one at"):
        read_judgments(path)
    write_rows(path, [ROW])
    with pytest.raises(ValueError, match=r"r.jsonl:1: the row has no 'z'.*Run `rlaif judge`"):
        read_judgments(path)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(string.printable, max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(rows=st.lists(st.dictionaries(st.text(string.printable, max_size=8), VALUES, max_size=5), max_size=6))
def test_what_is_written_is_read_again(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("rows") / "sub" / "rows.jsonl"
    assert write_jsonl(path, rows) == len(rows)
    assert [row for _, row in read_rows(path)] == rows
    assert [p.name for p in path.parent.iterdir()] == ["rows.jsonl"]


def test_what_json_has_no_word_for(tmp_path: Path) -> None:
    """A Parquet source may hold columns of any type: they must not stop a run at its last step."""
    row = {"a": math.nan, "b": [math.inf], "c": datetime.date(2026, 1, 2), "d": decimal.Decimal("1.50")}
    write_jsonl(tmp_path / "rows.jsonl", [row])
    assert rows_of(tmp_path / "rows.jsonl") == [{"a": None, "b": [None], "c": "2026-01-02", "d": "1.50"}]
    write_json(tmp_path / "report.json", {"ece": math.nan, "n": {1: 2}})
    assert json.loads((tmp_path / "report.json").read_text()) == {"ece": None, "n": {"1": 2}}


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", ROWS)

    def failing() -> Any:
        yield {"fine": 1}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_jsonl(path, failing())
    assert rows_of(path) == ROWS


def test_a_fingerprint_follows_the_content(tmp_path: Path) -> None:
    first, second = write_rows(tmp_path / "a.jsonl", ROWS), write_rows(tmp_path / "b.jsonl", ROWS)
    assert fingerprint(first) == fingerprint(second)
    write_rows(second, ROWS[:2])
    assert fingerprint(first) != fingerprint(second)
    folder = fingerprint(tmp_path)
    second.rename(tmp_path / "c.jsonl")
    assert fingerprint(tmp_path) != folder
    assert fingerprint("some/dataset") == "some/dataset"


def test_a_fingerprint_of_a_large_file_follows_its_middle(tmp_path: Path) -> None:
    """Also where its first and its last MiB stay as they were: labels may change between them."""
    for name, changed in (("rows.jsonl", 1), ("model.safetensors", 1 << 21)):  # one byte; one matrix of 2 MiB
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(80 << 20)
        before = fingerprint(path)
        assert is_still(path, before)
        with path.open("r+b") as file:
            file.seek(40 << 20)
            file.write(b"\1" * changed)
        assert fingerprint(path) != before
        assert not is_still(path, before)
        assert is_still(path, _by_ends(path))  # what an earlier version wrote
        path.unlink()


def _by_ends(path: Path) -> str:
    content = path.read_bytes()
    digest = hashlib.sha256(str(len(content)).encode() + content[: 1 << 20] + content[-(1 << 20) :])
    return f"sha256:{digest.hexdigest()[:16]}"


@pytest.mark.parametrize(("line", "message"), [BAD[0], BAD[6], BAD[7]])
def test_the_real_program_refuses_a_bad_row_in_one_line(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**ROW, "prompt": "first"}) + "\n" + line + "\n")
    judge = ["--judge", "scripted", "--judge_model", "rlaif.models.function:longer", "--output", tmp_path / "out"]
    assert message in refused(here("judge", "--pairs", path, *judge))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("z", ["1.5", "-1"])
def test_the_real_program_refuses_a_bad_z_in_one_line(z: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW)[:-1] + f', "z": {z}}}\n')
    line = refused(here("build", "--judgments", path, "--output", tmp_path / "out"))
    assert f"{path}:1: z is {z.lower()}; expected a probability in [0, 1]" in line
    assert not (tmp_path / "out").exists()
    nowhere = tmp_path / "nowhere"
    assert "does not exist" in refused(here("build", "--judgments", nowhere, "--output", tmp_path / "out"))


def test_other_files_of_json(tmp_path: Path) -> None:
    """One array, as AlpacaEval publishes, and gzipped lines, as Anthropic and NVIDIA do."""
    rows = [{"prompt": "é"}, {"prompt": "b"}]
    (tmp_path / "array.json").write_text("\n " + json.dumps(rows), encoding="utf-8-sig")
    (tmp_path / "lines.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    for name in ("array.json", "lines.jsonl.gz"):
        assert [*read_rows(tmp_path / name)] == [(f"{tmp_path / name}:{at}", row) for at, row in enumerate(rows, 1)]
    (tmp_path / "array.json").write_text('[{"prompt": "a"}, 7]')
    with pytest.raises(ValueError, match=r"array.json:2: the line holds 7; expected one JSON object"):
        [*read_rows(tmp_path / "array.json")]
    (tmp_path / "array.json").write_text('[{"prompt": "a"}')
    with pytest.raises(ValueError, match=r"array.json is not JSON .*; expected one array"):
        [*read_rows(tmp_path / "array.json")]
    whole = (tmp_path / "lines.jsonl.gz").read_bytes()
    for broken in (whole[:-9], b"no gzip"):
        (tmp_path / "lines.jsonl.gz").write_bytes(broken)
        with pytest.raises(ValueError, match=r"lines.jsonl.gz cannot be unpacked .*; expected gzipped lines"):
            [*read_rows(tmp_path / "lines.jsonl.gz")]


@pytest.mark.parametrize("stream", [stream_pairs, stream_judgments])
def test_rows_come_one_at_a_time(stream: Any, tmp_path: Path) -> None:
    """What stands before a bad row is given before it is met: a source of any size takes no more memory than a row."""
    rows = [{**ROW, "prompt": f"p{i}", "z": 0.5} for i in range(3)]
    path = write_rows(tmp_path / "rows.jsonl", [*rows, {**ROW, "id": "x", "z": 0.5}, {**rows[1], "response_b": None}])
    found = stream(path)
    assert [(getattr(one, "pair", one)).prompt for one in (next(found) for _ in range(4))] == ["p0", "p1", "p2", "p"]
    with pytest.raises(ValueError, match=r"rows.jsonl:5: response_b is null"):
        next(found)
    write_rows(path, [*rows, rows[1]])
    with pytest.raises(ValueError, match=r"rows.jsonl:4: the id is .\w{16}., which row 2 has already"):
        list(stream(path))


def test_an_id_is_known_again_among_many() -> None:
    ids = Ids()
    assert [ids.repeats(f"{number % 70}") for number in range(140)] == [None] * 70 + list(range(1, 71))
    assert ids.repeats("") is None
    assert ids.repeats("") == 141


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "default", "remove"]), st.sampled_from("abc"), st.integers(0, 2**62), st.booleans()
        ),
        max_size=30,
    ),
    st.booleans(),
)
def test_an_index_keeps_the_first_number_unless_it_was_weak(
    steps: list[tuple[str, str, int, bool]], many: bool
) -> None:
    index = Index()
    wanted: dict[bytes, tuple[int, bool]] = {}
    for what, name, number, weak in steps:
        key = name.encode() * 16
        if what == "put":
            if many:
                index.put_many([(key, number, weak)])
            else:
                index.put(key, number, weak)
            if key not in wanted or wanted[key][1]:
                wanted[key] = (number, weak)
        elif what == "default":
            assert index.setdefault(key, number) == wanted.get(key, (None,))[0]
            wanted.setdefault(key, (number, False))
        else:
            index.remove(key)
            wanted.pop(key, None)
        assert [index.get(n.encode() * 16) for n in "abc"] == [wanted.get(n.encode() * 16, (None,))[0] for n in "abc"]
    assert len(index) == len(wanted)
    index.close()


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    with whole_file(path) as file:
        file.write("é\n")
        assert not path.exists()
        (other,) = path.parent.iterdir()
        assert other.name.endswith(".partial")  # which `occupied` removes where its writer was killed
    assert path.read_text(encoding="utf-8") == "é\n"
    with pytest.raises(ZeroDivisionError), whole_file(path):
        raise ZeroDivisionError
    assert [p.name for p in path.parent.iterdir()] == ["rows.jsonl"]
    assert path.read_text(encoding="utf-8") == "é\n"
