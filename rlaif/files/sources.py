"""Reading prompts, pairs and judgments from rows (`rlaif.files.rows`), and writing rows and reports.

A row that cannot be used is an error that names its place, never a silent gap.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from rlaif.config import warn
from rlaif.errors.words import shown
from rlaif.files.bad_rows import BadRows
from rlaif.files.conversations import SYSTEM, prompt_columns, prompt_of
from rlaif.files.index import Index
from rlaif.files.model_files import pieces_of
from rlaif.files.occupied import BOOKKEEPING
from rlaif.files.pairs import SIDES, judgment_of, pair_of
from rlaif.files.room import names_place
from rlaif.files.rows import read_rows, require
from rlaif.files.splits import rows_of_split
from rlaif.records import Judgment, Pair, Prompt

__all__ = [
    "DistinctPrompts",
    "Ids",
    "OneKind",
    "distinct_placed",
    "distinct_prompts",
    "fingerprint",
    "is_still",
    "json_object",
    "pairs_file",
    "placed_prompt_rows",
    "prompt_row",
    "read_judgments",
    "read_rows",
    "require",
    "say_differing",
    "stream_judgments",
    "stream_pairs",
    "whole_file",
    "write_json",
    "write_jsonl",
    "write_row",
]

Made = TypeVar("Made")
# Sources carry columns of any type through; what JSON has no word for (dates, decimals) is written as text.
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode


def placed_prompt_rows(
    source: str | Path, split: str | None = None, config_name: str | None = None, bad: BadRows | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of `source`, with its place, as its prompt (`rlaif.files.conversations.prompt_of`) and other columns.

    Raises:
        ValueError: a row has no prompt, or is of another kind (a string, messages) than the first; no row is left.
    """

    def made(row: dict[str, Any]) -> tuple[Prompt, dict[str, Any]]:
        found = prompt_row(row)
        return found["prompt"], found

    yield from _usable(source, split, config_name, bad, made, "prompt")


def prompt_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as its prompt and the columns that this was not made of."""
    prompt, used = prompt_of(row), prompt_columns(row)
    return {"prompt": prompt, **{name: value for name, value in row.items() if name not in used}}


@dataclass(frozen=True)
class DistinctPrompts:
    """Rows with distinct prompts, the first of each, with their places; what was left out for that.

    `repeated` counts the rows whose prompt stood before, `differing` those of them that say something else of it in
    their other columns, which are not kept.
    """

    rows: list[dict[str, Any]]
    places: list[str]
    repeated: int = 0
    differing: int = 0


def distinct_prompts(rows: Iterable[dict[str, Any]]) -> DistinctPrompts:
    """The first row of each prompt, in order; a row's place is its number."""
    return distinct_placed((f"prompt {at + 1}", row) for at, row in enumerate(rows))


def distinct_placed(rows: Iterable[tuple[str, dict[str, Any]]]) -> DistinctPrompts:
    """The first row of each prompt, in order, of rows with their places (`placed_prompt_rows`)."""
    first: dict[str, tuple[str, dict[str, Any]]] = {}
    repeated = differing = 0
    for where, row in rows:
        _, before = first.setdefault(json.dumps(row["prompt"]), (where, row))
        repeated += before is not row
        differing += before is not row and before != row
    return DistinctPrompts(
        [row for _, row in first.values()], [where for where, _ in first.values()], repeated, differing
    )


def say_differing(distinct: DistinctPrompts, carriers: str = "pairs") -> None:
    """Warns of prompts that stood before and of which other columns are not kept.

    Args:
        distinct: the prompts.
        carriers: what the columns of each prompt's first row go with.
    """
    if distinct.differing:
        warn(
            f"{distinct.differing} of {distinct.repeated} rows with a prompt that stood before have other columns "
            f"than its first row, whose columns the {carriers} carry."
        )


def stream_pairs(
    source: str | Path,
    split: str | None = None,
    config_name: str | None = None,
    bad: BadRows | None = None,
    *,
    checked: bool = False,
) -> Iterator[Pair]:
    """The pairs of `source` in order, one at a time; columns that are not a pair's go to `extra`.

    Ids must be distinct; `checked`: they are known to be.

    Raises:
        ValueError: a row is no pair, with its place; an id is there twice; there is no row.
    """

    def pair(row: dict[str, Any]) -> tuple[Prompt, Pair]:
        found = pair_of(row)
        if not checked and (before := ids.repeats(found.id)) is not None:
            raise ValueError(
                f"the id is {shown(found.id)}, which row {before} has already; expected distinct ids. Remove the "
                "repeated row or give it its own id."
            )
        return found.prompt, found

    ids = Ids()
    for _, found in _usable(pairs_file(source), split, config_name, bad, pair, "pair"):
        yield found


def pairs_file(source: str | Path) -> str | Path:
    """The file of pairs in the folder of `rlaif sample` or of `rlaif judge`; any other source itself."""
    return next((p for name in ("pairs.jsonl", "judgments.jsonl") if (p := Path(source) / name).is_file()), source)


def read_judgments(
    source: str | Path, split: str | None = None, config_name: str | None = None, bad: BadRows | None = None
) -> list[Judgment]:
    """The judgments that `rlaif judge` wrote: its output folder, or any rows of pairs with a `z` column."""
    return list(stream_judgments(source, split, config_name, bad))


def stream_judgments(
    source: str | Path, split: str | None = None, config_name: str | None = None, bad: BadRows | None = None
) -> Iterator[Judgment]:
    """`read_judgments`, one at a time: a source of any size in the same memory. Ids must be distinct.

    Raises:
        ValueError: a row is no judgment, with its place; an id is there twice; there is no row.
    """
    if (Path(source) / "judgments.jsonl").is_file():
        source = Path(source) / "judgments.jsonl"

    def judgment(row: dict[str, Any]) -> tuple[Prompt, Judgment]:
        if "z" not in row and all(name in row for name in SIDES):
            label = ", or take its labels with --z_from label" if row.get("label") is not None else ""
            raise ValueError(f"the row has no 'z'; expected judgments. Run `rlaif judge` on these pairs first{label}.")
        found = judgment_of(row)
        if (before := ids.repeats(found.pair.id)) is not None:
            raise ValueError(
                f"the id is {shown(found.pair.id)}, which row {before} has already; expected distinct ids. Where two "
                "judges judged one pair, give each judgment an id of its own, or build them apart."
            )
        return found.pair.prompt, found

    ids = Ids()
    for _, found in _usable(source, split, config_name, bad, judgment, "judgment"):
        yield found


def _usable(
    source: str | Path,
    split: str | None,
    config_name: str | None,
    bad: BadRows | None,
    made: Callable[[dict[str, Any]], tuple[Prompt, Made]],
    what: str,
) -> Iterator[tuple[str, Made]]:
    """What is `made` of each row, with its place; rows that `bad` has left out before are left out again."""
    bad, kind, empty = BadRows() if bad is None else bad, OneKind(), True
    for where, row in rows_of_split(source, split, config_name, bad):
        if where in bad:
            continue
        found: list[Made] = []
        with bad.at(where):
            prompt, one = made(row)
            kind.check(prompt, where, row)
            found.append(one)
        if found:
            empty = False
            yield where, found[0]
    if empty:
        why = f" {len(bad.rows)} are left out; the first: {bad.first}" if bad.rows else ""
        raise ValueError(f"{source} has no {'usable ' if why else ''}rows; expected at least one {what}.{why}")


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

    def check(self, prompt: Prompt, where: str, row: Mapping[str, Any] | None = None) -> None:
        """A ValueError, without the row's own place, where its prompt is of another kind than the first one's."""
        self.first = self.first or (isinstance(prompt, str), where)
        if isinstance(prompt, str) != self.first[0]:
            kinds = ("a string", "messages") if self.first[0] else ("messages", "a string")
            do = "Write every prompt as a list of messages."
            if row is not None and any(name in row for name in SYSTEM):
                do = "Give every row its system column, null where there is none, or write every prompt as messages."
            raise ValueError(
                f"the prompt is {kinds[1]}, but the one at {self.first[1]} is {kinds[0]}; expected one kind in a "
                f"file. {do}"
            )


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
        with names_place(path), partial.open("w", encoding="utf-8") as file:
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


def json_object(path: Path) -> dict[str, Any]:
    """What a file of JSON says, of somebody who may have damaged it: {} where it is not there, or holds no object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def fingerprint(source: str | Path) -> str:
    """What identifies an input in a manifest: a hash of a file or of a folder's files, or the Hub id itself.

    Rows are read whole. Of weights over 64 MiB the size and pieces are read (`pieces_of`), so that 100 GB take no
    longer than 1 GB. The marks of whose folder it is are no part of it.
    """
    return _hashed(source, _update)


def is_still(source: str | Path, mark: object) -> bool:
    """Whether `mark` is the fingerprint of what is there now; one that an earlier version wrote is known too."""
    return mark == fingerprint(source) or mark == _hashed(source, _update_by_ends)


def _hashed(source: str | Path, update: Callable[[Any, IO[bytes], int], None]) -> str:
    path = Path(source)
    if not path.exists():
        return str(source)
    inside = (p for p in path.rglob("*") if p.is_file() and not BOOKKEEPING.fullmatch(p.name))
    files = [path] if path.is_file() else sorted(inside)
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(path).as_posix().encode() if path.is_dir() else b"")
        with file.open("rb") as handle:
            update(digest, handle, file.stat().st_size)
    return f"sha256:{digest.hexdigest()[:16]}"


_LARGE = 64 << 20
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")


def _update(digest: Any, file: IO[bytes], size: int) -> None:
    if size > _LARGE and str(file.name).endswith(_WEIGHTS):
        digest.update(str(size).encode())
        for piece in pieces_of(file, size):
            digest.update(piece)
        return
    while block := file.read(1 << 20):
        digest.update(block)


def _update_by_ends(digest: Any, file: IO[bytes], size: int) -> None:
    """As earlier versions did, of any file over 64 MiB: its size and its first and last MiB."""
    if size <= _LARGE:
        _update(digest, file, size)
        return
    digest.update(str(size).encode() + file.read(1 << 20))
    file.seek(-(1 << 20), os.SEEK_END)
    digest.update(file.read())
