"""Splitting work over the processes of `accelerate launch` so that their number cannot change the result.

The work is planned once, in whole batches, the same way in every process; process r of n takes batches r, r + n, ...
A batch is computed alike wherever it runs, and stored with one write, so one process, eight, or a run that was killed
and resumed give the same numbers. If a kill tears that write, the whole batch is computed again and what the store
lacks of it is kept: a local model's answer depends on its batch, in its random numbers or in its seventh digit.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from rlaif.config import warn
from rlaif.files.store import Store

__all__ = [
    "HasKey",
    "is_main",
    "on_cpu",
    "process_count",
    "process_index",
    "process_state",
    "run_batches",
    "wait_for_everyone",
]


class HasKey(Protocol):
    """Anything that a store can hold the answer to."""

    @property
    def key(self) -> str: ...


Work = TypeVar("Work", bound=HasKey)


def process_index() -> int:
    """This process's rank, 0 without a launcher."""
    return int(os.environ.get("RANK", "0"))


def process_count() -> int:
    """How many processes the launcher started, 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process prints and writes the results."""
    return process_index() == 0


def on_cpu() -> bool:
    """Whether this process computes on the CPU: the launcher says so, or there is nothing else.

    accelerate and TRL have to be told. Without a GPU and without the word they take each of several processes for the
    only one: no barrier holds, and each trains a model of its own.
    """
    import torch

    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() in {"1", "true", "yes"}
    return asked or not torch.accelerator.is_available()


def process_state() -> Any:
    """accelerate's `PartialState`: this process's device, and its tie to the other processes."""
    from accelerate import PartialState

    if process_count() == 1:
        return PartialState(cpu=on_cpu())
    # Judging one share may take hours longer than another: the default of ten minutes would kill the run.
    return PartialState(cpu=on_cpu(), timeout=datetime.timedelta(days=30))


def wait_for_everyone() -> None:
    """Returns when every process got here. Without a launcher at once, and without importing torch."""
    if process_count() > 1:
        state = process_state()
        assert state.num_processes == process_count(), "the launcher's processes are not tied together"
        state.wait_for_everyone()


def run_batches(
    batches: Sequence[Sequence[Work]],
    store: Store,
    answer: Callable[[list[list[Work]]], Iterable[Sequence[Mapping[str, Any]]]],
    again: Callable[[Mapping[str, Any]], bool],
    label: str,
    unit: str,
) -> None:
    """Answers what `store` does not hold yet, this process's share of `batches`, storing rows as they arrive.

    Args:
        batches: all the work, planned identically in every process.
        store: receives the rows; what it holds is not asked for.
        answer: takes batches and yields, in any order, rows to store.
        again: whether a stored row has to be asked for once more (no answer came the last time).
        label: the progress bar's title.
        unit: what it counts.
    """
    from tqdm.auto import tqdm

    if store.torn:
        warn(
            f"{len(store.torn)} line(s) in the store are cut off or unreadable (first: {store.torn[0]}), as a killed "
            "run leaves them; they stay as they are, and what they answered is asked again."
        )
    todo = []
    missing: set[str] = set()
    for batch in batches[process_index() :: process_count()]:
        left = [work for work in batch if work.key not in store or again(store.rows[work.key])]
        missing.update(work.key for work in left)
        if left:
            # A batch cut in its middle is computed whole again: in a smaller one, padding and random numbers differ.
            todo.append(list(batch) if store.torn else left)
    total = len(missing)
    with tqdm(total=total, desc=label, unit=unit, disable=not is_main() or not total, mininterval=1.0) as bar:
        for answered in answer(todo) if todo else ():
            rows = [row for row in answered if row["key"] in missing]
            store.append(rows)
            bar.update(len(rows))
