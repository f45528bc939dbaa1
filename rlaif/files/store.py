"""What was paid for stays: an append-only store of replies by content address.

A store is a folder. Each process that writes to it appends to a file of its own (`<name>/<time>-<host>-<pid>.jsonl`),
so any number of processes, on any file system, can write at once without locks and without touching one another's
lines. Every line is one JSON object that begins with its `key`, the address of the call that it answers, so a call that
was answered once is never paid for again, whatever the run that asked it.

A process killed at any moment leaves at most one torn line, the last one of its own file; it is counted, reported and
asked again. No row in a store is ever rewritten or deleted. In memory is an index of places alone, of a fixed size
(`rlaif.files.index`); rows are read from the disk when they are asked for.

A line may also be a batch: the keys of calls that one forward pass answers. It is written before the batch is computed,
so that a batch cut in its middle can be computed again as it was, to the same bits. A process that ends without an
answer takes its notes with it.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from rlaif.files.index import Index
from rlaif.files.room import names_place

__all__ = ["Store"]

_KEY = b'{"key": "'
_WEAK = b'", "answered": false'
_OPEN = 64  # files open for reading at once
_SHIFT = 44  # a place is (file number << 44) + offset: files of up to 16 TiB


class Store:
    """Rows by content address, in `folder`/`name`/; see the module's docstring. Use it as a context manager.

    A row is a JSON object whose `key` is 32 hex digits. Of two rows for one key the first written stays, unless it is
    one that says `answered: false` (the call failed) and another came later.

    Args:
        folder: the run's folder, made where it is missing; None keeps everything in memory.
        name: what the rows are.

    Attributes:
        added: how many rows came since this store was opened, by this process and, after `refresh`, by others.
        planned: for each key of a batch that was begun and not finished, the batch.
    """

    def __init__(self, folder: str | Path | None, name: str = "replies") -> None:
        self.folder = (
            None if folder is None else Path(folder).absolute() / name
        )  # whatever becomes of the working folder
        self.added = 0
        self.planned: dict[str, tuple[str, ...]] = {}
        self._index = Index()
        self._lines: list[bytes] = []  # where there is no folder
        self._paths: list[Path] = []
        self._taken: list[int] = []  # up to which byte each file is in the index
        self._numbers: list[int] = []  # and how many lines that is
        self._tails: dict[int, str] = {}  # the place of a file's last line, where that is cut off
        self._broken: list[str] = []
        self._readers: OrderedDict[int, IO[bytes]] = OrderedDict()
        self._writer: Any = None
        self._own: int | None = None
        self._answered = False  # whether a row of this process is in its file, and not only what was about to be asked
        self._synced = time.monotonic()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.refresh()
        self.added = 0
        self.mark()

    def mark(self) -> None:
        """Of everything that is in the store now, `find` says from now on that it was there before."""
        self._before, self._known = list(self._taken), len(self._lines)

    @property
    def torn(self) -> list[str]:
        """The places of lines that could not be read."""
        return [*self._broken, *self._tails.values()]

    # Reading ------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Takes in what other processes have written since."""
        if self.folder is None:
            return
        for path in sorted(self.folder.glob("*.jsonl")):
            if path not in self._paths:
                self._add_file(path)
        begun: dict[bytes, tuple[str, ...]] = {}
        for number in range(len(self._paths)):
            if number != self._own:
                with suppress(FileNotFoundError):  # of a process that answered nothing: see `close`
                    self._take_in(number, begun)
        for key, batch in begun.items():
            if self._index.get(key) is None:
                self.planned.update(dict.fromkeys(batch, batch))

    def _add_file(self, path: Path) -> int:
        self._paths.append(path)
        self._taken.append(0)
        self._numbers.append(0)
        return len(self._paths) - 1

    def _reader(self, number: int) -> IO[bytes]:
        """A file to read from; few are open at once, since every process of every run leaves one."""
        if number in self._readers:
            self._readers.move_to_end(number)
        else:
            self._readers[number] = self._paths[number].open("rb")
            if len(self._readers) > _OPEN:
                self._readers.popitem(last=False)[1].close()
        return self._readers[number]

    def _take_in(self, number: int, begun: dict[bytes, tuple[str, ...]]) -> None:
        """Indexes the lines of a file that were not there the last time.

        `begun` holds the batches that were noted, each under those of its keys that no row has followed: a few, since
        rows follow their note.
        """
        file, offset = self._reader(number), self._taken[number]
        file.seek(offset)
        rows: list[tuple[bytes, int, bool]] = []
        self._tails.pop(number, None)
        for line in file:
            entry = _entry(line)
            if entry is None and not line.endswith(b"\n"):  # cut off, or still being written
                self._tails[number] = f"{self._paths[number]}:{self._numbers[number] + 1}"
                break
            self._numbers[number] += 1
            if entry is None:
                self._broken.append(f"{self._paths[number]}:{self._numbers[number]}")
            elif isinstance(entry, list):
                batch = tuple(entry)
                begun.update((bytes.fromhex(key), batch) for key in batch)
            elif entry[0]:
                begun.pop(entry[0], None)
                rows.append((entry[0], (number << _SHIFT) + offset, entry[1]))
                if len(rows) >= 50_000:
                    self._put(rows)
            offset += len(line)
        self._put(rows)
        self._taken[number] = offset

    def _put(self, rows: list[tuple[bytes, int, bool]]) -> None:
        self.added += len(rows)
        rows.sort(key=lambda row: row[0])  # neighbours in the index: a page is touched once. Stable: first stays first
        self._index.put_many(rows)
        rows.clear()

    def find(self, key: str) -> tuple[dict[str, Any], bool] | None:
        """The row of `key`, and whether it was there before this store was opened (or before the last `mark`).

        None where there is no whole one.
        """
        place = self._index.get(bytes.fromhex(key))
        if place is None:
            return None
        if self.folder is None:
            return json.loads(self._lines[place]), place < self._known
        number, offset = place >> _SHIFT, place & ((1 << _SHIFT) - 1)
        file = self._reader(number)
        file.seek(offset)
        try:
            row = json.loads(file.readline())
        except ValueError:  # whole at both ends and broken between them, as a power cut may leave it
            self._broken.append(f"{self._paths[number]} at byte {offset}")
            self._forget(key)
            return self.find(key)
        return row, number < len(self._before) and offset < self._before[number]

    def _forget(self, key: str) -> None:
        """Drops a row that is broken; of the key's other rows, as a later run wrote one, the first whole one counts."""
        self._index.remove(bytes.fromhex(key))
        head = _KEY + key.encode()
        for number, path in enumerate(self._paths):
            offset = 0
            with _opened(path) as file:
                for line in file:
                    if offset >= self._taken[number]:
                        break
                    if line.startswith(head) and _whole(line):
                        self._index.put(bytes.fromhex(key), (number << _SHIFT) + offset, line.startswith(_WEAK, 41))
                    offset += len(line)

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of `key`, None where there is none."""
        found = self.find(key)
        return None if found is None else found[0]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row, in the order of the files and of their lines."""
        if self.folder is None:
            for place, row in enumerate(map(json.loads, self._lines)):
                if self._index.get(bytes.fromhex(row["key"])) == place:
                    yield row
            return
        for number, path in sorted(enumerate(self._paths), key=lambda both: both[1]):
            offset = 0
            with _opened(path) as file:
                for line in file:
                    entry = _entry(line)
                    place = (number << _SHIFT) + offset
                    if isinstance(entry, tuple) and entry[0] and self._index.get(entry[0]) == place:
                        if _whole(line):
                            yield json.loads(line)
                        else:
                            self.find(entry[0].hex())  # notes that it is broken; a whole one stands further on
                    offset += len(line)

    def __contains__(self, key: str) -> bool:
        return self._index.get(bytes.fromhex(key)) is not None

    def __len__(self) -> int:
        return len(self._index)

    def __bool__(self) -> bool:
        return True  # an empty store is a store, and to count a large one takes a while

    # Writing ------------------------------------------------------------------------------------------------------

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds rows with one write: a kill may cut it, and what stands whole before the cut is kept."""
        lines, keys = [], []
        for row in rows:
            key, weak = row["key"], row.get("answered") is False
            rest = {name: value for name, value in row.items() if name not in ("key", "answered")}
            head = {"key": key, "answered": False} if weak else {"key": key}
            lines.append(json.dumps(head | rest, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            keys.append((bytes.fromhex(key), weak))
        if lines:
            self._answered = True
            for (key, weak), place in zip(keys, self._write(lines), strict=True):
                self._index.put(key, place, weak)
            self.added += len(lines)

    def begin(self, batches: Iterable[Sequence[str]]) -> None:
        """Notes the keys of each batch that is about to be computed; a batch of one needs no note."""
        lines = [json.dumps({"batch": list(keys)}).encode() + b"\n" for keys in batches if len(keys) > 1]
        if lines and self.folder is not None:
            self._write(lines)

    def _write(self, lines: list[bytes]) -> list[int]:
        """Appends the lines; their places."""
        if self.folder is None:
            self._lines += lines
            return list(range(len(self._lines) - len(lines), len(self._lines)))
        if self._own is None:
            stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%f")
            path = self.folder / f"{stamp}-{socket.gethostname()}-{os.getpid()}.jsonl"
            self._writer = path.open("xb", buffering=0)
            self._own = self._add_file(path)
        block = memoryview(b"".join(lines))
        with names_place(self._paths[self._own]):
            while block:  # a nearly full disk takes a part, and raises only on the next write
                block = block[self._writer.write(block) :]
        places = []
        for line in lines:
            places.append((self._own << _SHIFT) + self._taken[self._own])
            self._taken[self._own] += len(line)
        # A kill loses nothing that was written; a power cut may lose what was not synced, at most a second of it.
        if time.monotonic() - self._synced > 1.0:
            os.fsync(self._writer.fileno())
            self._synced = time.monotonic()
        return places

    def close(self) -> None:
        """Flushes to the disk and closes every file. Nothing can be asked of it afterwards.

        Where nothing was answered (no model could be loaded, say), what was noted of it goes too.
        """
        if self._writer is not None:
            os.fsync(self._writer.fileno())
            self._writer.close()
            self._writer = None
            if self._own is not None and not self._answered:
                self._paths[self._own].unlink(missing_ok=True)
        for file in self._readers.values():
            file.close()
        self._readers.clear()
        self._index.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _opened(path: Path) -> IO[bytes]:
    """A file of a store; as an empty one, what a process that answered nothing has removed since."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        return io.BytesIO()


def _entry(line: bytes) -> tuple[bytes, bool] | list[str] | None:
    """What a line is: (key, whether the call failed); the keys of a batch; an empty key for nothing; None if torn."""
    try:
        if line.startswith(_KEY) and line.endswith(b"}\n") and line[41:42] == b'"':
            return bytes.fromhex(line[9:41].decode()), line.startswith(_WEAK, 41)
        if line == b"\n":
            return b"", False
        row = json.loads(line)
        return list(row["batch"]) if "batch" in row else (bytes.fromhex(row["key"]), row.get("answered") is False)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
