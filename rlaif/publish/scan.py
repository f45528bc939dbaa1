"""What one row says about itself: secrets, personal data, markers, and the fingerprints that rows are compared by.

Rows go through worker processes in batches; what comes back of a row is a few hundred bytes, whatever its length, so
that a million rows are compared in one process's memory (see `rlaif.publish.checks`).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rlaif.judging.prompts import CHAT_MARKER
from rlaif.publish import near, sensitive
from rlaif.publish.contamination import Index
from rlaif.records import Prompt, content_hash, prompt_hash

__all__ = ["Flag", "Item", "Scanned", "Wanted", "in_processes", "scan", "scan_texts", "texts_of"]

Row = TypeVar("Row")
Result = TypeVar("Result")
BATCH = 500  # rows
IN_ONE_PROCESS = 10 * BATCH  # rows that are scanned sooner than a second process starts

# What a template leaves behind where it was filled wrongly or a response ran on: a turn of a transcript, an
# instruction heading, a placeholder. (The special tokens of chat formats are in CHAT_MARKER.)
_LEFTOVER = re.compile(
    r"^(?:Human|Assistant|USER|ASSISTANT|### (?:Instruction|Response|Input|Human|Assistant)):"
    r"|\{\{? ?(?:prompt|instruction|input|question|response|completion|output|context|messages)(?:_[ab12])? ?\}?\}"
    r"|</?(?:think|answer|response)>",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Item:
    """A row to be checked: two responses to a prompt, and which one is preferred.

    `z` = P(`response_a` is preferred), None where that is not known; `flags` are the judgment's. `texts` are whatever
    else goes out with the row, by the name of its column.
    """

    id: str
    split: str
    prompt: Prompt
    response_a: str
    response_b: str
    z: float | None
    flags: tuple[str, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()

    def sides(self) -> tuple[str, str]:
        """The preferred response first; in alphabetical order where none is preferred."""
        if self.z is None or self.z == 0.5:
            first, second = sorted((self.response_a, self.response_b))
            return first, second
        a, b = self.response_a, self.response_b
        return (a, b) if self.z > 0.5 else (b, a)

    def prompt_text(self) -> str:
        """The prompt's text, turn after turn."""
        return self.prompt if isinstance(self.prompt, str) else "\n".join(turn["content"] for turn in self.prompt)


@dataclass(frozen=True, slots=True)
class Flag:
    """Something that a check found in a row: which row (its index), which kind, where, and what it looks like."""

    row: int
    check: str
    kind: str
    where: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which checks need what of a row."""

    checks: frozenset[str]
    benchmarks: Index | None = None

    @property
    def signatures(self) -> bool:
        """Whether rows are compared by likeness, which is most of the work."""
        return bool(self.checks & {"near_duplicates", "near_prompts", "contradictions"})


@dataclass(slots=True)
class Scanned:
    """What a batch of N rows says; `preferred_N` is 1 or -1 for the alphabetical order of the sides, 0 without one."""

    prompt_N: NDArray[np.uint64]
    pair_N: NDArray[np.uint64]
    preferred_N: NDArray[np.int8]
    prompts_NK: NDArray[np.uint16] | None = None
    chosen_NK: NDArray[np.uint16] | None = None
    rejected_NK: NDArray[np.uint16] | None = None
    flags: list[Flag] = field(default_factory=list)


def scan(wanted: Wanted, items: Sequence[Item], start: int) -> Scanned:
    """Everything that the rows `start`, `start` + 1, ... say by themselves."""
    sides = [item.sides() for item in items]
    hashes = [
        (_hash(prompt_hash(item.prompt)), _hash(content_hash(*sorted(pair))))
        for item, pair in zip(items, sides, strict=True)
    ]
    preferred = [
        0 if item.z is None or item.z == 0.5 else (1 if first <= second else -1)
        for item, (first, second) in zip(items, sides, strict=True)
    ]
    prompt_N, pair_N = np.array(hashes, dtype=np.uint64).reshape(-1, 2).T
    scanned = Scanned(prompt_N, pair_N, np.array(preferred, dtype=np.int8))
    if wanted.signatures:
        scanned.prompts_NK = near.signatures([item.prompt_text() for item in items])
        scanned.chosen_NK = near.signatures([first for first, _ in sides])
        scanned.rejected_NK = near.signatures([second for _, second in sides])
    for row, item in enumerate(items, start):
        # Of each kind a row has one flag, so that what is counted is rows.
        first = {(flag.check, flag.kind): flag for flag in reversed([*_flags(row, item, wanted)])}
        scanned.flags.extend(reversed(first.values()))
    return scanned


def _hash(digest: str) -> int:
    return int(digest[:16], 16)


def _flags(row: int, item: Item, wanted: Wanted) -> Iterator[Flag]:
    prompt = item.prompt_text()
    for where, text in (("prompt", prompt), ("response_a", item.response_a), ("response_b", item.response_b)):
        yield from _sensitive(row, where, text, wanted)
        if "markers" in wanted.checks and (match := CHAT_MARKER.search(text) or _LEFTOVER.search(text)):
            shown = _excerpt(text, max(match.start() - 30, 0), match.end() + 30)
            yield Flag(row, "markers", match[0].strip(), where, shown)
    for where, text in item.texts:
        yield from _sensitive(row, where, text, wanted)
    if "markers" in wanted.checks and "marker" in item.flags:
        yield Flag(row, "markers", "the judge's own template", "pair", _excerpt(item.response_a))
    # Not more alike than this: in code, white space is a difference.
    if "equal_responses" in wanted.checks and item.response_a.strip() == item.response_b.strip():
        yield Flag(row, "equal_responses", "equal", "pair", _excerpt(item.response_a))
    if wanted.benchmarks is not None:
        for name, identity, coverage in wanted.benchmarks.match(prompt):
            yield Flag(row, "contamination", name, "prompt", f"{identity} ({coverage:.0%}): {_excerpt(prompt)}")


def _sensitive(row: int, where: str, text: str, wanted: Wanted) -> Iterator[Flag]:
    if not wanted.checks & {"secrets", "personal"}:
        return
    for finding in sensitive.scan(text):
        check = "secrets" if finding.group == "secret" else "personal"
        if check in wanted.checks:
            yield Flag(row, check, finding.kind, where, sensitive.masked(text, finding))


def scan_texts(wanted: Wanted, rows: Sequence[tuple[int, str]], start: int) -> list[Flag]:
    """Secrets and personal data in what judges wrote: (index of the row that it belongs to, text)."""
    return [flag for row, text in rows for flag in _sensitive(row, "vote", text, wanted)]


def _excerpt(text: str, low: int = 0, high: int = 80) -> str:
    """`text[low:high]` for a report, with "…" in the place of secrets and personal data."""
    parts = []
    for finding in sensitive.scan(text):
        if finding.start < high and finding.end > low:
            parts += [text[low : max(low, finding.start)], "…"]
            low = max(low, finding.end)
    return "".join([*parts, text[low:high]])


def texts_of(columns: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The texts among a row's columns, nested ones as JSON."""
    texts = []
    for name, value in columns.items():
        if isinstance(value, str):
            texts.append((name, value))
        elif isinstance(value, Mapping | list | tuple):
            texts.append((name, json.dumps(value, ensure_ascii=False, default=str)))
    return tuple(texts)


def in_processes(
    function: Callable[[Sequence[Row], int], Result], rows: Iterable[Row], processes: int = 0
) -> Iterator[tuple[Sequence[Row], Result]]:
    """Batches of the rows in their order, each with `function(batch, index of its first row)`.

    Few rows are worked on in this process, more of them in `processes` (0: one a core), with a few batches in memory
    at once. `function` goes to each process once, with what it holds.
    """
    rows = iter(rows)
    head = list(islice(rows, IN_ONE_PROCESS))
    processes = processes or os.cpu_count() or 1
    batches = _batches(chain(head, rows))
    if processes == 1 or len(head) < IN_ONE_PROCESS:
        for start, batch in batches:
            yield batch, function(batch, start)
        return
    # "spawn": the parent has threads (pyarrow's), of which a forked child would inherit the locks alone.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _start, (function,)) as pool:
        waiting: deque[tuple[Sequence[Row], Future[Result]]] = deque()
        for start, batch in batches:
            waiting.append((batch, pool.submit(_call, batch, start)))
            if len(waiting) > 4 * processes:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()


def _batches(rows: Iterable[Row]) -> Iterator[tuple[int, list[Row]]]:
    rows, start = iter(rows), 0
    while batch := list(islice(rows, BATCH)):
        yield start, batch
        start += len(batch)


_function: Callable[[Any, int], Any]  # of this worker process


def _start(function: Callable[[Any, int], Any]) -> None:
    global _function
    _function = function


def _call(rows: Any, start: int) -> Any:
    return _function(rows, start)
