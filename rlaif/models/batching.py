"""Batches by token budget, longest first, and what to do when one does not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

__all__ = ["plan_batches", "split_on_oom"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def plan_batches(lengths: Sequence[int], tokens: int, rows: int = 1024) -> list[list[int]]:
    """Indices of `lengths` in batches of at most `tokens` tokens, padding included, and at most `rows` rows.

    Longest first: memory peaks in the first batch, so a run that does not fit fails at once and not hours later. A row
    longer than the budget is a batch of its own. Equal lengths keep their order, so the plan depends on nothing else.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[batches[-1][0]] if batches else 0
        if not batches or (len(batches[-1]) + 1) * longest > tokens or len(batches[-1]) == rows:
            batches.append([])
        batches[-1].append(index)
    return batches


def split_on_oom(run: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
    """`run(items)`, in halves as often as memory runs out; raises only if one item alone does not fit."""
    try:
        return run(items)
    except (RuntimeError, MemoryError) as error:
        if len(items) == 1 or not _is_oom(error):
            raise
    # Outside of the handler: the traceback held there would keep the tensors of the failed pass alive.
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = (len(items) + 1) // 2
    return split_on_oom(run, items[:half]) + split_on_oom(run, items[half:])


def _is_oom(error: Any) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text
