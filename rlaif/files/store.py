"""What was paid for stays: an append-only store of answers, and the manifest of a run.

A store is a folder. Each process that writes to it appends to a file of its own (`<name>/<time>-<host>-<pid>.jsonl`),
so any number of processes, on any file system, can write at once without locks and without touching one another's
lines. Reading merges all the files. Every row has a `key`, the content address of the question that it answers
(template hash + rendered prompt + model + parameters + order + sample index), so a question that was answered once is
never asked again, whatever the run that asked it.

A process killed at any moment leaves at most one torn line, the last one of its own file; it is counted, reported and
asked again. Nothing in a store is ever rewritten or deleted.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Store", "stored_rows"]


class Store:
    """Rows by content address, in `folder/name/`. Use it as a context manager; see the module's docstring.

    Args:
        folder: the run's folder; made where it is missing.
        name: what the rows are ("votes", "completions").

    Attributes:
        rows: every row that can be read, by key. Of two rows for one key the first written stays, unless it holds a
            `reason` (it failed) and was asked again.
        torn: the places of lines that could not be read.
    """

    def __init__(self, folder: str | Path, name: str) -> None:
        self.folder = Path(folder) / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rows: dict[str, dict[str, Any]] = {}
        self.torn: list[str] = []
        self._file: Any = None
        self._synced = time.monotonic()
        self.refresh()

    def refresh(self) -> None:
        """Reads everything again, also what other processes have written since."""
        self.rows, self.torn = {}, []
        for where, row in _read(self.folder):
            if row is None:
                self.torn.append(where)
            else:
                self._keep(row)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds rows with one write, so that a kill leaves all of them or none."""
        rows = list(rows)
        if not rows:
            return
        if self._file is None:
            stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%f")
            path = self.folder / f"{stamp}-{socket.gethostname()}-{os.getpid()}.jsonl"
            self._file = path.open("xb", buffering=0)
        block = memoryview(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
        while block:  # a nearly full disk takes a part, and raises only on the next write
            block = block[self._file.write(block) :]
        for row in rows:
            self._keep(row)
        # A kill loses nothing that was written; a power cut may lose what was not synced, at most a second of it.
        if time.monotonic() - self._synced > 1.0:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def _keep(self, row: Mapping[str, Any]) -> None:
        if row["key"] not in self.rows or self.rows[row["key"]].get("reason"):
            self.rows[row["key"]] = dict(row)

    def close(self) -> None:
        """Flushes to the disk and closes this process's file."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _read(folder: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Every line of a store's files with its place, None for one that cannot be read."""
    for path in sorted(folder.glob("*.jsonl")):
        # Split at newlines only: a line that another process is still writing has none yet and reads as torn.
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line == b"\n":
                    continue
                try:
                    row = json.loads(line)
                    row["key"]
                except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
                    row = None
                yield f"{path}:{number}", row


def stored_rows(folder: str | Path, name: str) -> Iterator[dict[str, Any]]:
    """The rows that `Store(folder, name)` would hold, one at a time, those that failed last; in memory are the keys."""
    done: set[str] = set()
    failed: dict[str, dict[str, Any]] = {}
    for _, row in _read(Path(folder) / name):
        if row is None or row["key"] in done:
            continue
        if row.get("reason"):
            failed[row["key"]] = row  # the question may have been asked again
        else:
            failed.pop(row["key"], None)
            done.add(row["key"])
            yield row
    yield from failed.values()
