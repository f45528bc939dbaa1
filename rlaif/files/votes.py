"""The votes that a folder of `rlaif judge` holds, one at a time, in the layout of today or of earlier versions.

votes.jsonl      one row a vote, in the pairs' order, written anew by each run; pairs of equal content repeat the
                 same keys under their own ids. What a vote took stands in replies/, under its key.
votes/*.jsonl    of earlier versions: one row a call as it came, with what it took; each run added its own
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rlaif.files.index import Index
from rlaif.files.sources import read_rows
from rlaif.files.store import Store
from rlaif.records import Vote

__all__ = ["TimedVote", "has_votes", "in_pairs_order", "open_replies", "refuse_older", "timed_votes"]


class TimedVote(NamedTuple):
    """A vote, and the seconds that its reply took; None where nobody knows."""

    vote: Vote
    seconds: float | None


def has_votes(folder: str | Path) -> bool:
    """Whether a folder holds votes, in either layout."""
    return in_pairs_order(folder) or any((Path(folder) / "votes").glob("*.jsonl"))


def in_pairs_order(folder: str | Path) -> bool:
    """Whether a folder's votes are rows of its pairs; in the older layout they are calls, each of which stands once."""
    return (Path(folder) / "votes.jsonl").is_file()


def refuse_older(folder: str | Path) -> None:
    """A ValueError where `folder` holds answers of an earlier version, which would be asked and paid for again."""
    for name in ("votes", "ratings", "completions"):
        if any((Path(folder) / name).glob("*.jsonl")):
            raise ValueError(
                f"{folder} holds {name} of an earlier version, which can be built from and published but not "
                "continued; expected a new folder."
            )


def timed_votes(folder: str | Path, replies: Store | None = None) -> Iterator[TimedVote]:
    """The votes of a folder, each with the seconds that it took and the tokens of its reply; none where it holds none.

    Args:
        folder: where the votes are.
        replies: of the same folder (`open_replies`), for what a vote does not say itself; the older layout has none,
            and has it all in its rows.

    Raises:
        ValueError: a row of votes.jsonl is none; its place is named.
    """
    if not in_pairs_order(folder):
        for row in _older_rows(Path(folder)):
            yield TimedVote(Vote.from_row(row), row.get("seconds"))
        return
    for vote in _of_pairs(Path(folder)):
        reply = (replies.get(vote.key) if replies is not None else None) or {}
        if not vote.usage and reply.get("usage"):
            vote = dataclasses.replace(vote, usage=reply["usage"])
        # A function's reply says nothing of its time: that was not measured, and is not 0.
        yield TimedVote(vote, reply.get("seconds"))


def open_replies(folder: str | Path) -> Store:
    """The replies of a folder, to be read; an empty store where it holds none."""
    return Store(folder if (Path(folder) / "replies").is_dir() else None)


def _of_pairs(folder: Path) -> Iterator[Vote]:
    for where, row in read_rows(folder / "votes.jsonl"):
        try:
            yield Vote.from_row(row)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{where} is no vote ({error}); expected what `rlaif judge` wrote. Run it again: no call that was "
                "answered is asked twice."
            ) from None


def _older_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """One row a call: the first written, unless it holds a `reason` (it failed) and another came later.

    Those that failed for good come last. In memory is an index of a fixed size.
    """
    chosen = Index()
    try:
        failed = False
        for number, (key, row) in enumerate(_older_lines(folder)):
            chosen.put(key, number, weak=bool(row.get("reason")))
            failed = failed or bool(row.get("reason"))
        for wanted in (False, True) if failed else (False,):
            for number, (key, row) in enumerate(_older_lines(folder)):
                if bool(row.get("reason")) is wanted and chosen.get(key) == number:
                    yield row
    finally:
        chosen.close()


def _older_lines(folder: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Every row of votes/ in the order of the files and their lines, with its key; torn lines are passed over."""
    for path in sorted((folder / "votes").glob("*.jsonl")):
        with path.open("rb") as lines:  # split at newlines alone
            for line in lines:
                try:
                    row = json.loads(line)
                    yield bytes.fromhex(row["key"]), row
                except (ValueError, KeyError, TypeError):
                    continue
