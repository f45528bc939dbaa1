"""The checks before anything leaves the machine (CHECKS): what each found, and what is done about it.

"stop" ends the command before anything is written; "drop" leaves the flagged rows out, counted in the card; "report"
publishes them, counted in the card; "off" does not look, and the card says so. Of duplicates the first row stays, one
in the test split before one in validation before one in train; of contradictions neither does.

Whatever is found, `report.json` has the number of rows, the kinds and a sample, in which a secret is masked.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from rlaif.publish import near
from rlaif.publish.contamination import Index
from rlaif.publish.scan import Flag, Item, Wanted, in_processes, scan, scan_texts

__all__ = ["ACTIONS", "CHECKS", "Action", "Checked", "check", "stop_line"]

Action = Literal["stop", "drop", "report", "off"]
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True)
class Check:
    """A check: what it flags a row for, and what is done by default."""

    what: str
    action: Action


CHECKS = {
    "secrets": Check("a key, token or password", "stop"),
    "personal": Check("an e-mail address, phone or card number", "stop"),
    "contamination": Check("a benchmark's prompt", "stop"),
    "split_prompts": Check("a prompt that stands in another split too", "stop"),
    "equal_responses": Check("two responses that are the same", "drop"),
    "duplicates": Check("the content of an earlier row", "drop"),
    "near_duplicates": Check("prompt and responses much like an earlier row's", "report"),
    "near_prompts": Check("a prompt much like one in another split", "report"),
    "contradictions": Check("a pair that another row prefers the other way round", "report"),
    "markers": Check("what a template or a chat format left behind", "report"),
}
_NAMES = tuple(CHECKS)
SAMPLES = 5  # of each check, in the report
_KEPT_FIRST = ("test", "validation")  # of rows that are alike in several splits; then the others


@dataclass
class Checked:
    """What the checks found in N rows.

    Attributes:
        ids: the place of each row, by its id.
        splits: the split of each row.
        reason_N: for which check a row is left out, by its place in CHECKS (of several the first); -1: it stays.
        report: for each check its action, `rows` flagged, `share` of all, `dropped`, rows by `kinds` and a `sample`.
    """

    ids: dict[str, int]
    splits: list[str]
    reason_N: NDArray[np.int8]
    report: dict[str, Any]

    def reason(self, row: int) -> str | None:
        """The check for which a row is left out; None where it stays."""
        at = int(self.reason_N[row])
        return None if at < 0 else _NAMES[at]


@dataclass
class _Found:
    """What one check found."""

    rows: set[int] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)
    sample: list[Flag] = field(default_factory=list)

    def add(self, flag: Flag) -> None:
        self.rows.add(flag.row)
        self.kinds[flag.kind] += 1
        if len(self.sample) < SAMPLES:
            self.sample.append(flag)


class _Columns:
    """Arrays by name, added batch by batch and kept in temporary files: those of a million rows need no memory."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._files: dict[str, IO[bytes]] = {}
        self._shapes: dict[str, tuple[Any, tuple[int, ...]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, name: str, values: NDArray[Any]) -> None:
        if name not in self._files:
            self._files[name] = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (the stack closes it)
            self._shapes[name] = values.dtype, values.shape[1:]
        self._files[name].write(np.ascontiguousarray(values).tobytes())

    def __getitem__(self, name: str) -> NDArray[Any]:
        self._files[name].flush()
        dtype, shape = self._shapes[name]
        return np.memmap(self._files[name], dtype, "r").reshape(-1, *shape)


def check(
    items: Iterable[Item],
    actions: Mapping[str, Action],
    *,
    benchmarks: Index | None = None,
    threshold: float = near.THRESHOLD,
    votes: Callable[[], Iterable[tuple[int, str]]] | None = None,
    processes: int = 0,
) -> Checked:
    """Runs the checks that are not off.

    Args:
        items: the rows, with distinct ids.
        actions: what is to be done for each of CHECKS.
        benchmarks: what `contamination` looks for.
        threshold: the Jaccard similarity from which two texts are alike.
        votes: once all rows are read, the texts that judges wrote, each with its row.
        processes: how many scan; 0 for one a core.

    Raises:
        ValueError: two rows have one id.
    """
    wanted = Wanted(frozenset(name for name, action in actions.items() if action != "off"), benchmarks)
    found = {name: _Found() for name in CHECKS}
    ids: dict[str, int] = {}
    splits: list[str] = []
    with _Columns() as columns:
        for batch, scanned in in_processes(partial(scan, wanted), items, processes):
            for item in batch:
                if item.id in ids:
                    raise ValueError(
                        f"row {len(splits)} has the id {item.id!r}, which row {ids[item.id]} has already; expected "
                        "distinct ids. Remove the repeated row or give it its own id."
                    )
                ids[item.id] = len(splits)
                splits.append(item.split)
            for name in ("prompt_N", "pair_N", "preferred_N", "prompts_NK", "chosen_NK", "rejected_NK"):
                if (values := getattr(scanned, name)) is not None:
                    columns.add(name, values)
            for flag in scanned.flags:
                found[flag.check].add(flag)
        if votes is not None:
            for _, flags in in_processes(partial(scan_texts, wanted), votes(), processes):
                for flag in flags:
                    found[flag.check].add(flag)
        if splits:
            _compare(columns, splits, list(ids), wanted, threshold, found)
    return _decide(ids, splits, actions, found)


def _compare(
    columns: _Columns,
    splits: Sequence[str],
    names: Sequence[str],
    wanted: Wanted,
    threshold: float,
    found: Mapping[str, _Found],
) -> None:
    """The checks that hold rows against one another."""
    first_N = _first_kept(splits)
    preferred_N = np.array(columns["preferred_N"])
    prompt_N = _groups(columns["prompt_N"])
    pair_N = _groups(columns["prompt_N"], columns["pair_N"])
    oriented_N = _groups(pair_N, preferred_N)

    def flag(check: str, kind: str, rows: NDArray[np.int64], like_N: NDArray[np.int64]) -> None:
        if check in wanted.checks:
            for row in rows.tolist():
                found[check].add(
                    Flag(row, check, kind, splits[row], f"like {names[like_N[row]]} of {splits[like_N[row]]}")
                )

    split_N = _groups(np.array(splits))
    keeper_N = first_N(oriented_N)
    flag("duplicates", "exact", _others(keeper_N), keeper_N)
    keeper_N = first_N(prompt_N)
    flag("split_prompts", "exact", np.flatnonzero(split_N != split_N[keeper_N]), keeper_N)
    flag("contradictions", "exact", *_opposed(pair_N, preferred_N))
    if not wanted.signatures:
        return
    # A prompt that stands in many rows is compared once.
    _, where, back_N = np.unique(prompt_N, return_index=True, return_inverse=True)
    cluster_N = near.clusters(columns["prompts_NK"][where], threshold)[back_N]
    keeper_N = first_N(cluster_N)
    apart = (split_N != split_N[keeper_N]) & (prompt_N != prompt_N[keeper_N])
    flag("near_prompts", "alike", np.flatnonzero(apart), keeper_N)
    if not wanted.checks & {"near_duplicates", "contradictions"}:
        return
    chosen_N, rejected_N = near.response_clusters(cluster_N, columns["chosen_NK"], columns["rejected_NK"], threshold)
    # As before, with clusters of responses in the place of responses.
    like_N = _groups(np.minimum(chosen_N, rejected_N), np.maximum(chosen_N, rejected_N))
    side_N = np.where(preferred_N == 0, 0, np.sign(chosen_N - rejected_N))
    keeper_N = first_N(_groups(like_N, side_N))
    flag("near_duplicates", "alike", np.flatnonzero(oriented_N != oriented_N[keeper_N]), keeper_N)
    rows, other_N = _opposed(like_N, side_N)
    exact = np.isin(rows, np.fromiter(found["contradictions"].rows, dtype=np.int64))
    flag("contradictions", "alike", rows[~exact], other_N)


def _groups(*keys_N: NDArray[Any]) -> NDArray[np.int64]:
    """Equal numbers, from 0, where all the keys are equal."""
    group_N = np.unique(keys_N[0], return_inverse=True)[1].astype(np.int64)
    for key_N in keys_N[1:]:
        next_N = np.unique(key_N, return_inverse=True)[1].astype(np.int64)
        group_N = np.unique(group_N * (next_N.max(initial=0) + 1) + next_N, return_inverse=True)[1].astype(np.int64)
    return group_N


def _first_kept(splits: Sequence[str]) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """The function from groups to each row's group's keeper: its first row, those in the test split before others."""
    rank = {name: at for at, name in enumerate(_KEPT_FIRST)}
    order_N = np.argsort([rank.get(split, len(rank)) for split in splits], kind="stable")

    def keepers(group_N: NDArray[np.int64]) -> NDArray[np.int64]:
        _, first, back_N = np.unique(group_N[order_N], return_index=True, return_inverse=True)
        keeper_N = np.empty_like(order_N)
        keeper_N[order_N] = order_N[first[back_N]]
        return keeper_N

    return keepers


def _others(keeper_N: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.flatnonzero(keeper_N != np.arange(len(keeper_N)))


def _opposed(
    pair_N: NDArray[np.int64], preferred_N: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows whose pair another row prefers the other way round, and for each row such another."""
    place = {side: np.full(pair_N.max(initial=-1) + 1, -1) for side in (1, -1)}
    for side, rows in place.items():
        at = np.flatnonzero(preferred_N == side)
        rows[pair_N[at]] = at
    other_N = np.where(preferred_N == 1, place[-1][pair_N], place[1][pair_N])
    return np.flatnonzero((preferred_N != 0) & (other_N >= 0)), other_N


def _decide(
    ids: dict[str, int], splits: list[str], actions: Mapping[str, Action], found: Mapping[str, _Found]
) -> Checked:
    names = list(ids)
    reason_N = np.full(len(splits), -1, dtype=np.int8)
    report: dict[str, Any] = {}
    for at, name in enumerate(CHECKS):
        action, one = actions[name], found[name]
        report[name] = {"action": action}
        if action == "off":
            continue
        rows = np.fromiter(one.rows, dtype=np.int64, count=len(one.rows))
        left_out = rows[reason_N[rows] < 0] if action == "drop" else rows[:0]
        reason_N[left_out] = at
        report[name] |= {
            "rows": len(rows),
            "share": len(rows) / max(len(splits), 1),
            "dropped": len(left_out),
            "kinds": dict(one.kinds.most_common()),
            "sample": [
                {"id": names[f.row], "split": splits[f.row], "kind": f.kind, "where": f.where, "text": f.excerpt}
                for f in one.sample
            ],
        }
    return Checked(ids, splits, reason_N, report)


def stop_line(checked: Checked, where: str) -> str | None:
    """Why nothing may be published, in one line; None where no check that stops found anything."""
    stopping = {
        name: row["kinds"] for name, row in checked.report.items() if row["action"] == "stop" and row.get("rows")
    }
    if not stopping:
        return None
    counts = "; ".join(
        f"{name} in {checked.report[name]['rows']} rows ({', '.join(f'{n} {kind}' for kind, n in kinds.items())})"
        for name, kinds in stopping.items()
    )
    name = next(iter(stopping))
    return (
        f"nothing was published: the checks found {counts}. Samples are in {where}. --{name} drop leaves such "
        f"rows out, --{name} report publishes them."
    )
