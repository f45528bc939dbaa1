"""Rows that cannot be used: a run stops at the first one, or leaves them out and says which.

    bad = BadRows("skip")
    for where, row in read_rows(source, bad=bad):
        with bad.at(where):
            use(row)                      # a ValueError in here is of this row
    bad.say()                             # what was not taken as it stands, before anything is paid or trained
    bad.write("runs/mine")                # bad_rows.jsonl

Every program that reads rows has `--on_bad_row stop|skip`; "stop" is the default. With "skip" the ledger of the report,
or of the manifest, counts them as "bad rows", and `bad_rows.jsonl` in the output (beside it, where that is a file) has
the place and the reason of each.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Any

from rlaif.config import warn
from rlaif.errors.words import shown

__all__ = ["BAD_ROWS", "BAD_ROWS_FILE", "POLICIES", "BadRows", "bad_rows_beside", "lists_bad_rows", "on_bad_row"]

POLICIES = ("stop", "skip")
BAD_ROWS = "bad rows"  # what a ledger calls them
BAD_ROWS_FILE = "bad_rows.jsonl"  # what lists them, in a folder


def on_bad_row() -> Any:
    """The setting, as a field of a program's dataclass: `on_bad_row: str = on_bad_row()`."""
    return field(
        default="stop",
        metadata={
            "help": "'stop' ends the run at a row that cannot be used; 'skip' leaves such rows out, counts them, and "
            "lists each with its place and reason in bad_rows.jsonl in the output (beside it, where that is a file).",
            "choices": list(POLICIES),
        },
    )


def bad_rows_beside(output: Path) -> Path:
    """Where the bad rows of an output that is one file are listed."""
    return output.with_name(f"{output.name}.{BAD_ROWS_FILE}")


def lists_bad_rows(path: Path) -> bool:
    """Whether a file is a list of bad rows as `BadRows.write` leaves it, or not there."""
    try:
        with path.open(encoding="utf-8") as lines:
            return all(_is_listed(json.loads(line)) for line in lines)
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RecursionError):
        return False


def _is_listed(row: Any) -> bool:
    return isinstance(row, dict) and row.keys() == {"place", "reason"} and all(isinstance(v, str) for v in row.values())


class BadRows:
    """The rows of a source, or of several, that could not be used.

    Attributes:
        skip: whether they are left out; else the first one ends the run.
        rows: their places and reasons, in the order of reading: each is a line of `bad_rows.jsonl`.
        unused: fields of messages in usable rows that nothing is made of.
        unread: what to say of files in a source's folder, and of answers in rows, that are not read.
        missing: columns of tables with NaN for a missing number, which is null: how many, and the first place.
    """

    def __init__(self, policy: str = "stop") -> None:
        if policy not in POLICIES:
            raise ValueError(f"on_bad_row is {shown(policy)}; expected {' or '.join(POLICIES)}.")
        self.skip = policy == "skip"
        self.rows: list[dict[str, str]] = []
        self.unused: set[str] = set()
        self.unread: set[str] = set()
        self.missing: dict[str, tuple[int, str]] = {}
        self._places: set[str] = set()
        self._said: set[str] = set()

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """Puts the row's place before a ValueError, or counts the row: once, however often it is read."""
        try:
            yield
        except ValueError as error:
            if not self.skip:
                raise ValueError(f"{where}: {error}") from None
            if where not in self._places:
                self._places.add(where)
                reason = str(error).encode("utf-8", "replace").decode()
                self.rows.append({"place": where, "reason": reason})

    def counts_nan(self, column: str, where: str) -> None:
        """Counts a NaN that became null; a source that is read again is counted anew."""
        count, first = self.missing.get(column, (0, where))
        self.missing[column] = (1 if where == first else count + 1, first)

    @classmethod
    def joined(cls, parts: Iterable[BadRows]) -> BadRows:
        """Those of several sources, for one list of them; a row of a file that is two of the sources once."""
        whole, listed = cls(), dict[tuple[str, str], dict[str, str]]()
        for part in parts:
            listed |= {(row["place"], row["reason"]): row for row in part.rows}
            whole.rows = list(listed.values())
            whole.unused |= part.unused
            whole.unread |= part.unread
            for column, (count, first) in part.missing.items():
                before, earlier = whole.missing.get(column, (0, first))
                whole.missing[column] = (before + count, earlier)
        return whole

    def __contains__(self, where: str) -> bool:
        """Whether the row at this place was left out: a source that is read again leaves out the same ones."""
        return where in self._places

    @property
    def left_out(self) -> Counter[str]:
        """For a ledger's `left_out`: how many there were, under "bad rows"; empty where there were none."""
        return Counter({BAD_ROWS: len(self.rows)} if self.rows else {})

    @property
    def first(self) -> str:
        """The first one, as a message says it; "" where there was none."""
        return f"{self.rows[0]['place']}: {self.rows[0]['reason']}" if self.rows else ""

    def ledger(self, read: int, used: int, left_out: Mapping[str, int]) -> dict[str, Any]:
        """A report's ledger of `read` usable rows: what is said of them, and the bad rows beside them."""
        return {"read": read + len(self.rows), "used": used, "left_out": {**left_out, **self.left_out}}

    def say(self, listed: str | Path | None = f"{BAD_ROWS_FILE} of the output") -> None:
        """Warns of what was not taken as it stands: each thing once, however often this is called.

        A program that pays or trains says it when reading ends. `write` says what is left to say.

        Args:
            listed: where the rows are listed, or will be; None for nowhere.
        """

        def once(message: str, key: str = "") -> None:
            if (key or message) not in self._said:
                self._said.add(key or message)
                warn(message)

        for message in sorted(self.unread):
            once(message)
        if self.unused:
            once(f"messages have {', '.join(sorted(self.unused))} beside role and content, which are not used.")
        for column, (count, first) in self.missing.items():
            once(f"{column} holds NaN in {_rows(count)}, which is carried as null; the first: {first}")
        if self.rows:
            many, place = _rows(len(self.rows)), f", listed in {listed}" if listed else ""
            once(f"left out {many} that cannot be used{place}; the first: {self.first}", key=many)

    def write(self, output: str | Path, place: str | Path | None = None) -> None:
        """Writes the rows beside an output, a folder or a file, and warns of them; removes what an earlier run left.

        A folder has `bad_rows.jsonl`; a file `scored.jsonl` has `scored.jsonl.bad_rows.jsonl`.

        Args:
            output: the folder or file.
            place: the folder that `output` will be, where that is written aside first.
        """
        from rlaif.files.sources import write_jsonl

        output = Path(output)
        path = output / BAD_ROWS_FILE if output.is_dir() else bad_rows_beside(output)
        self.say(Path(place) / path.name if place else path)
        if self.rows:
            write_jsonl(path, self.rows)
        else:
            path.unlink(missing_ok=True)


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count > 1)}"
