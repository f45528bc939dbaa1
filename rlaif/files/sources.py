"""Reading and writing rows: JSONL, Parquet, a `datasets` folder or a Hub id, all through `read_rows`.

A row that cannot be used is an error that names its place, never a silent gap.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rlaif.files.hub import load_split
from rlaif.files.index import Index
from rlaif.files.occupied import BOOKKEEPING
from rlaif.records import Judgment, Pair, Prompt, check_prompt

__all__ = [
    "Ids",
    "OneKind",
    "fingerprint",
    "read_judgments",
    "read_pairs",
    "read_prompt_rows",
    "read_prompts",
    "read_rows",
    "require",
    "stream_judgments",
    "stream_pairs",
    "whole_file",
    "write_json",
    "write_jsonl",
    "write_row",
]

# Sources carry columns of any type through; what JSON has no word for (dates, decimals) is written as text.
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode


def read_rows(
    source: str | Path, split: str | None = None, config_name: str | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of `source` with the place it stands at ("pairs.jsonl:17"), in order.

    `source` is a .jsonl, .jsonl.gz or .parquet file, a .json file of one array, a folder that `Dataset.save_to_disk` or
    a Hub clone left, or a Hub id. A `split` is needed where the source has several, and a `config_name` where it has
    several configs and no default.
    """
    path = Path(source)
    if path.is_file() and config_name is not None:
        raise ValueError(f"{path} is a file, which has no configs; expected no --config_name (got {config_name}).")
    if path.is_file() and path.suffix == ".json" and _begins_array(path):
        yield from _read_array(path)
    elif path.is_file() and path.name.endswith((".jsonl", ".json", ".jsonl.gz", ".json.gz")):
        yield from _read_jsonl(path)
    elif path.is_file() and path.suffix == ".parquet":
        import pyarrow.parquet as pq

        at = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    at += 1
                    yield f"{path}:{at}", row
    elif path.is_file():
        raise ValueError(
            f"{path} ends in {path.suffix!r}; expected .jsonl, .jsonl.gz, .json, .parquet, a datasets folder or a Hub "
            "id."
        )
    else:
        for at, row in enumerate(load_split(str(source), split, config_name), 1):
            yield f"{source}:{at}", row


def _read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(_whole_lines(lines, path), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}:{number} is not UTF-8 (byte {line[error.start]:#x} at column {error.start + 1}); expected "
                    "UTF-8 text. Convert the file, with iconv for example."
                ) from None
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path}:{number} is not JSON ({error.msg} at column {error.colno}); expected one JSON object a "
                    "line. Mend or remove that line."
                ) from None
            yield f"{path}:{number}", _an_object(row, f"{path}:{number}")


def _whole_lines(lines: Iterable[bytes], path: Path) -> Iterator[bytes]:
    try:
        yield from lines
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked ({error}); expected gzipped lines of JSON, whole.") from None


def _begins_array(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _read_array(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of one JSON array, which is held whole: such files are small."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); expected one array of objects.") from None
    for at, row in enumerate(rows, 1):
        yield f"{path}:{at}", _an_object(row, f"{path}:{at}")


def _an_object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(f"{where} holds a {type(row).__name__}; expected one JSON object a line.")
    return row


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


def read_prompts(source: str | Path, split: str | None = None, config_name: str | None = None) -> list[Prompt]:
    """The distinct prompts of `source` in order of appearance; a ValueError where strings and messages are mixed."""
    prompts: dict[str, Prompt] = {}
    for row in read_prompt_rows(source, split, config_name):
        prompts.setdefault(json.dumps(row["prompt"]), row["prompt"])
    return list(prompts.values())


def read_prompt_rows(
    source: str | Path, split: str | None = None, config_name: str | None = None
) -> Iterator[dict[str, Any]]:
    """Every row of `source` with its prompt checked and its other columns; a ValueError where kinds are mixed."""
    kind, empty = OneKind(), True
    for where, row in read_rows(source, split, config_name):
        require(row, ["prompt"], where)
        prompt = _at(where, check_prompt, row["prompt"])
        kind.check(prompt, where)
        empty = False
        yield {**row, "prompt": prompt}
    if empty:
        raise ValueError(f"{source} has no rows; expected at least one prompt.")


def read_pairs(source: str | Path, split: str | None = None, config_name: str | None = None) -> list[Pair]:
    """The pairs of `source` in order; columns that are not a pair's go to `extra`. Ids must be distinct."""
    return list(stream_pairs(source, split, config_name))


def stream_pairs(
    source: str | Path, split: str | None = None, config_name: str | None = None, *, checked: bool = False
) -> Iterator[Pair]:
    """`read_pairs`, one at a time: a source of any size in the same memory. `checked`: its ids are known to differ."""
    ids, empty = Ids(), True
    kind = OneKind()
    for name in ("pairs.jsonl", "judgments.jsonl"):  # the folder of `rlaif sample` or of `rlaif judge`
        if (Path(source) / name).is_file():
            source = Path(source) / name
    for where, row in read_rows(source, split, config_name):
        require(row, ["prompt", "response_a", "response_b"], where)
        pair = _at(where, Pair.from_row, row)
        kind.check(pair.prompt, where)
        if not checked:
            _check_writable(row, where)
        if not checked and (before := ids.repeats(pair.id)) is not None:
            raise ValueError(
                f"{where} has id {pair.id!r}, which row {before} has already; expected distinct ids. Remove the "
                "repeated row or give it its own id."
            )
        empty = False
        yield pair
    if empty:
        raise ValueError(f"{source} has no rows; expected at least one pair.")


def read_judgments(source: str | Path, split: str | None = None, config_name: str | None = None) -> list[Judgment]:
    """The judgments that `rlaif judge` wrote: its output folder, or any rows of pairs with a `z` column."""
    return list(stream_judgments(source, split, config_name))


def stream_judgments(
    source: str | Path, split: str | None = None, config_name: str | None = None
) -> Iterator[Judgment]:
    """`read_judgments`, one at a time: a source of any size in the same memory. Ids must be distinct."""
    folder = Path(source)
    if (folder / "judgments.jsonl").is_file():
        source = folder / "judgments.jsonl"
    kind, ids, empty = OneKind(), Ids(), True
    for where, row in read_rows(source, split, config_name):
        require(row, ["prompt", "response_a", "response_b"], where)
        if "z" not in row:
            raise ValueError(f"{where} has no 'z'; expected judgments. Run `rlaif judge` on these pairs first.")
        if row["z"] is None:
            row = {**row, "reason": row.get("reason") or "z is null in the source"}
        identity = "" if row.get("id") is None else str(row["id"])
        judgment = _at(where, Judgment.from_row, {**row, "id": identity})
        kind.check(judgment.pair.prompt, where)
        if (before := ids.repeats(judgment.pair.id)) is not None:
            raise ValueError(
                f"{where} has id {judgment.pair.id!r}, which row {before} has already; expected distinct ids. Where "
                "two judges judged one pair, give each judgment an id of its own, or build them apart."
            )
        empty = False
        yield judgment
    if empty:
        raise ValueError(f"{source} has no rows; expected at least one judgment.")


def _check_writable(row: Mapping[str, Any], where: str) -> None:
    """A ValueError for a row that could be judged and not be written: half of a character in any column, say."""
    try:
        try:
            _ENCODE(row).encode()
        except UnicodeEncodeError:
            raise
        except ValueError:
            _ENCODE(_finite(row)).encode()  # a NaN is written as null
    except (UnicodeEncodeError, RecursionError) as error:
        bad = next((name for name, value in row.items() if not _is_writable({name: value})), "a column")
        raise ValueError(
            f"{where}: {bad!a} cannot be written ({type(error).__name__}), as half of a character or very deep nesting "
            "cannot; remove it or the row."
        ) from None


def _is_writable(row: Mapping[str, Any]) -> bool:
    try:
        _ENCODE(_finite(row)).encode()
    except (ValueError, RecursionError):
        return False
    return True


class Ids:
    """Finds an id that stood before, among any number of them in a fixed amount of memory."""

    def __init__(self) -> None:
        self._rows = Index()
        self._count = 0

    def repeats(self, identity: str) -> int | None:
        """The number of the row that has this id already, counting from 1; None for a new one."""
        self._count += 1
        return self._rows.setdefault(hashlib.sha256(identity.encode("utf-8", "replace")).digest()[:16], self._count)


class OneKind:
    """Refuses a source in which some prompts are strings and others messages: they would be rendered differently."""

    def __init__(self) -> None:
        self.first: tuple[bool, str] | None = None

    def check(self, prompt: Prompt, where: str) -> None:
        self.first = self.first or (isinstance(prompt, str), where)
        if isinstance(prompt, str) != self.first[0]:
            kinds = ("a string", "messages") if self.first[0] else ("messages", "a string")
            raise ValueError(
                f"the prompt at {where} is {kinds[1]}, but the one at {self.first[1]} is {kinds[0]}; expected one kind "
                "in a file. Write every prompt as a list of messages."
            )


def _at(where: str, function: Any, *args: Any) -> Any:
    """`function(*args)`, with the row's place put before its ValueError."""
    try:
        return function(*args)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _finite(value: Any) -> Any:
    """`value` with every NaN or infinity in it turned to None: JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


@contextmanager
def whole_file(path: str | Path) -> Iterator[IO[str]]:
    """A file to write that takes its place when it is whole; after an exception nothing of it stays.

    Another process that writes `path` too has a file of its own until then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes one JSON object a line, the file whole or not at all; NaN becomes null. Returns the number of rows."""
    count = 0
    with whole_file(path) as file:
        for row in rows:
            write_row(file, row)
            count += 1
    return count


def write_row(file: IO[str], row: Mapping[str, Any]) -> None:
    """Writes one JSON object and a newline; NaN becomes null."""
    try:
        line = _ENCODE(row)
    except ValueError:  # a NaN or an infinity somewhere in it
        line = _ENCODE(_finite(row))
    file.write(line + "\n")


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON report for people and programs, whole or not at all; NaN becomes null."""
    with whole_file(path) as file:
        file.write(json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n")


def fingerprint(source: str | Path) -> str:
    """What identifies an input in a manifest: a hash of a file or of a folder's files, or the Hub id itself.

    Of a file over 64 MiB its size and its first and last MiB are read, so that 100 GB of weights take no longer than
    100 MB; weights that were trained further differ in both. The marks of whose folder it is are no part of it.
    """
    path = Path(source)
    if not path.exists():
        return str(source)
    inside = (p for p in path.rglob("*") if p.is_file() and not BOOKKEEPING.fullmatch(p.name))
    files = [path] if path.is_file() else sorted(inside)
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(path).as_posix().encode() if path.is_dir() else b"")
        size = file.stat().st_size
        with file.open("rb") as handle:
            if size <= 64 << 20:
                digest.update(handle.read())
            else:
                digest.update(str(size).encode() + handle.read(1 << 20))
                handle.seek(-(1 << 20), os.SEEK_END)
                digest.update(handle.read())
    return f"sha256:{digest.hexdigest()[:16]}"
