"""A map from content addresses to numbers, of any size, in a fixed amount of memory.

It is a private cache: a temporary SQLite database that goes with the process and is made anew by the next one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

__all__ = ["Index"]

_CACHE_KIB = 8_000  # what it keeps in memory; the rest is in an unnamed temporary file


class Index:
    """16-byte keys and the number each stands for; the first number of a key stays, unless it was put as a weak one."""

    def __init__(self) -> None:
        # Used by one thread at a time, and not always the one that made it (an event loop may have its own).
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in (f"cache_size=-{_CACHE_KIB}", "synchronous=OFF", "journal_mode=OFF"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE n (key BLOB PRIMARY KEY, value INTEGER, weak INTEGER) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def put(self, key: bytes, value: int, weak: bool = False) -> None:
        """`value` for `key`, if it has none or a weak one."""
        self._db.execute(_PUT, (key, value, weak))

    def put_many(self, rows: Iterable[tuple[bytes, int, bool]]) -> None:
        """`put` of many (key, value, weak), in order."""
        self._db.executemany(_PUT, rows)

    def get(self, key: bytes) -> int | None:
        """The number of `key`; None where it has none."""
        row = self._db.execute("SELECT value FROM n WHERE key = ?", (key,)).fetchone()
        return None if row is None else int(row[0])

    def setdefault(self, key: bytes, value: int) -> int | None:
        """Puts `value` for a new key and returns None; returns the number of a key that has one."""
        if self._db.execute("INSERT OR IGNORE INTO n VALUES (?, ?, 0)", (key, value)).rowcount:
            return None
        return self.get(key)

    def remove(self, key: bytes) -> None:
        """Forgets `key`."""
        self._db.execute("DELETE FROM n WHERE key = ?", (key,))

    def __len__(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM n").fetchone()[0])

    def close(self) -> None:
        """Gives the memory and the temporary file back."""
        self._db.close()


_PUT = (
    "INSERT INTO n VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, weak = excluded.weak "
    "WHERE n.weak = 1"
)
