"""Raw rows: JSONL, Parquet, a `datasets` folder or a Hub id, one row at a time, each with its place.

Every value of every column is looked at here, before anything is asked or trained: what cannot be written again (half
of a character, NaN, a number beyond 64 bits, nesting without end, bytes) is a bad row, with its place and column.

A table (Parquet, a data frame) writes NaN where a number is missing. There it is null in columns that are only carried,
and a run says so; in one that is read (a z, a score) it is refused as in JSON, which has no NaN.
"""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import math
import uuid
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rlaif.errors.words import shown
from rlaif.files.bad_rows import BadRows
from rlaif.files.conversations import fields_beside
from rlaif.files.hub import load_split
from rlaif.files.tables import without_nan
from rlaif.records import check_text, is_text

__all__ = ["check_values", "read_rows", "require"]

Row = dict[str, Any]
_KINDS = ".jsonl, .jsonl.gz, .json, .parquet, a datasets folder or a Hub id"
_DEEPEST = 100  # lists and objects in one another
_LARGEST = 1 << 64  # what no column of whole numbers can hold
_AS_TEXT = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)  # JSON has no words for these


def read_rows(
    source: str | Path, split: str | None = None, config_name: str | None = None, bad: BadRows | None = None
) -> Iterator[tuple[str, Row]]:
    """Every row of `source` with the place it stands at ("pairs.jsonl:17"), in order.

    Args:
        source: a .jsonl, .jsonl.gz or .parquet file, a .json file of one array, a folder that `Dataset.save_to_disk` or
            a Hub clone left, or a Hub id.
        split: needed where the source has several.
        config_name: needed where it has several configs and no default.
        bad: takes the rows that are none; without it the first one is a ValueError.
    """
    bad, path = BadRows() if bad is None else bad, Path(source)
    check_text(str(source), "the name of a source")
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError(
            f"{path} is a pipe, which can be read only once, and a run reads its rows again; expected a file. Write "
            "it to one first."
        )
    if path.is_file() and config_name is not None:
        raise ValueError(f"{path} is a file, which has no configs; expected no --config_name (got {config_name}).")
    if path.is_file() and path.suffix == ".json" and _begins_array(path):
        yield from _read_array(path, bad)
    elif path.is_file() and path.name.endswith((".jsonl", ".json", ".jsonl.gz", ".json.gz")):
        yield from _read_jsonl(path, bad)
    elif path.is_file() and path.suffix == ".parquet":
        yield from _read_parquet(path, bad)
    elif path.is_file():
        raise ValueError(f"{path} ends in {path.suffix or 'nothing'}; expected {_KINDS}.")
    else:
        loaded = load_split(str(source), split, config_name, bad.unread)
        yield from _checked(_of_datasets(str(source), loaded), bad, table=True)


def _checked(rows: Iterable[tuple[str, Any]], bad: BadRows, table: bool = False) -> Iterator[tuple[str, Row]]:
    """Rows that hold what can be written; those of a `table` with null for a missing number."""
    for where, row in rows:
        usable = False
        with bad.at(where):
            _check_object(row)
            if table:
                row = without_nan(row, where, bad)
            check_values(row)
            usable = True
        if usable:
            bad.unused |= fields_beside(row)
            yield where, row


def _check_object(row: Any) -> None:
    if isinstance(row, _Unreadable):
        raise ValueError(f"the row cannot be read ({row.why:.120}); expected text and numbers.")
    if not isinstance(row, dict):
        raise ValueError(f"the line holds {shown(row)}; expected one JSON object a line.")


def check_values(row: Mapping[str, Any]) -> None:
    """A ValueError that names the column of a value that could be read and not be written."""
    for column, content in row.items():
        if not isinstance(column, str):
            raise ValueError(f"a column is called {shown(column)}; expected text.")
        check_text(column, "the name of a column")
        if content is None or (isinstance(content, str) and content.isascii()):
            continue  # most of what there is
        left = [(content, 1)]
        while left:
            value, depth = left.pop()
            if isinstance(value, str):
                if not value.isascii() and not is_text(value):
                    check_text(value, _path(content, value, column))
            elif isinstance(value, float):
                if not math.isfinite(value):
                    where = _path(content, value, column)
                    raise ValueError(f"{where} holds {value}; expected finite numbers, and null for none.")
            elif isinstance(value, int):
                if not -_LARGEST < value < _LARGEST:
                    where = _path(content, value, column)
                    raise ValueError(f"{where} holds a number of more than 64 bits; expected a smaller one, or text.")
            elif isinstance(value, Mapping | list | tuple):
                if depth > _DEEPEST:
                    raise ValueError(f"{column} is nested more than {_DEEPEST} deep; expected less, or text.")
                if isinstance(value, Mapping):
                    left += [(name, depth) for name in value]
                    left += [(one, depth + 1) for one in value.values()]
                else:
                    left += [(one, depth + 1) for one in value]
            elif value is not None and not isinstance(value, _AS_TEXT):
                what = "bytes" if isinstance(value, bytes) else "something that is no JSON"
                where = _path(content, value, column)
                raise ValueError(f"{where} holds {what}; expected text, numbers, lists or objects.")


def _path(content: Any, value: Any, name: str) -> str:
    """Where within the column `name` a value stands: "messages[2].content"; the column itself where it is a key."""
    left = [(content, name)]
    while left:
        found, path = left.pop()
        if found is value:
            return path
        if isinstance(found, Mapping):
            left += [(one, f"{path}.{key}") for key, one in found.items()]
        elif isinstance(found, list | tuple):
            left += [(one, f"{path}[{at}]") for at, one in enumerate(found)]
    return name


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names differ: of two equal ones the first would be gone."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _NotJSONError(f"{shown(twice)} stands twice in one object")
    return found


class _NotJSONError(ValueError):
    """Why a text that the decoder would take is no JSON all the same."""


_DECODE = json.JSONDecoder(object_pairs_hook=_once).decode  # NaN and Infinity too: `check_values` names their column


def _decoded(text: str, expected: str) -> Any:
    """The JSON value of a text; a ValueError that says why it has none."""
    try:
        return _DECODE(text)
    except json.JSONDecodeError as error:
        why = f"{error.msg} at column {error.pos + 1}" if error.lineno == 1 else str(error)
    except _NotJSONError as error:
        why = str(error)
    except RecursionError:
        why = f"it is nested more than {_DEEPEST} deep"
    except ValueError:
        why = "a number in it has too many digits"
    raise ValueError(f"is not JSON ({why}); expected {expected}.")


def _read_jsonl(path: Path, bad: BadRows) -> Iterator[tuple[str, Row]]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(_whole_lines(lines, path), 1):
            if not line.strip():
                continue
            row = None
            with bad.at(where := f"{path}:{number}"):
                found = _of_line(line, number)
                _check_object(found)
                check_values(found)
                row = found
            if row is not None:
                bad.unused |= fields_beside(row)
                yield where, row


def _of_line(line: bytes, number: int) -> Any:
    try:
        text = line.rstrip().decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"the line is not UTF-8 (byte {line[error.start]:#x} at column {error.start + 1}); expected UTF-8 text. "
            "Convert the file, with iconv for example."
        ) from None
    try:
        return _decoded(text, "one JSON object a line (or one array in a .json file). Mend or remove that line")
    except ValueError as error:
        raise ValueError(f"the line {error}") from None


def _whole_lines(lines: Iterable[bytes], path: Path) -> Iterator[bytes]:
    try:
        yield from lines
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}); expected gzipped lines of JSON, whole.") from None


def _begins_array(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _read_array(path: Path, bad: BadRows) -> Iterator[tuple[str, Row]]:
    """The objects of one JSON array, which is held whole: such files are small."""
    try:
        rows = _decoded(path.read_text(encoding="utf-8-sig"), "one array of objects")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}); expected UTF-8 text. Convert the file.") from None
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    yield from _checked(((f"{path}:{at}", row) for at, row in enumerate(rows, 1)), bad)


def _read_parquet(path: Path, bad: BadRows) -> Iterator[tuple[str, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def rows() -> Iterator[tuple[str, Any]]:
        at = 0
        try:
            with pq.ParquetFile(path) as file:
                _check_columns(file.schema_arrow.names, path)
                for batch in file.iter_batches():
                    for row in _of_batch(batch):
                        at += 1
                        yield f"{path}:{at}", row
        except (pa.ArrowException, OSError) as error:
            reason = (str(error).splitlines() or ["it is damaged"])[0][:120]
            raise ValueError(f"{path} cannot be read ({reason}); expected whole Parquet. Write it again.") from None

    yield from _checked(rows(), bad, table=True)


def _check_columns(names: list[str], path: Path) -> None:
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(
            f"{path} has {shown(twice[0])} twice among its columns; expected each once. Rename one of them."
        )


def _of_batch(batch: Any) -> Iterator[Any]:
    try:
        rows = batch.to_pylist()
    except ValueError:  # text that is not UTF-8, a date that Python does not have: in one of the rows
        rows = []
        for at in range(batch.num_rows):
            try:
                rows += batch.slice(at, 1).to_pylist()
            except ValueError as error:
                rows.append(_Unreadable(str(error)))
    yield from rows


class _Unreadable:
    """In the place of a row that its file holds and Python cannot have."""

    def __init__(self, why: str) -> None:
        self.why = why


def _of_datasets(source: str, rows: Any) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa

    try:
        for at, row in enumerate(rows, 1):
            yield f"{source}:{at}", row
    except (pa.ArrowException, UnicodeDecodeError, ImportError) as error:
        reason = (str(error).splitlines() or ["it is damaged"])[0][:160]
        raise ValueError(f"{source} cannot be read ({reason}); expected a dataset of texts and numbers.") from None


def require(row: Mapping[str, Any], columns: Iterable[str], where: str) -> None:
    """A ValueError that names the first missing column and the ones that are there."""
    for column in columns:
        if column not in row:
            raise ValueError(
                f"{where} has no {column!r}; expected the columns {', '.join(columns)}, got {', '.join(row)}. "
                "Rename or add the column."
            )
        if row[column] is None:
            raise ValueError(f"{where}: {column} is null; expected a value. Remove the row or fill it in.")
