"""Batches cover everything once, within the budget, and get smaller where memory runs out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.models.batching import plan_batches, split_on_oom


@given(st.lists(st.integers(0, 300), max_size=80), st.integers(1, 1000), st.integers(1, 20))
def test_a_plan_covers_each_index_once_within_the_budget(lengths: list[int], tokens: int, rows: int) -> None:
    batches = plan_batches(lengths, tokens, rows)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[i] for i in batch)
        assert padded <= tokens or len(batch) == 1
        assert 1 <= len(batch) <= rows
    flat = [lengths[index] for batch in batches for index in batch]
    assert flat == sorted(lengths, reverse=True)
    # No batch is split without need: the next one's first row would not have fitted.
    for batch, after in itertools.pairwise(batches):
        assert len(batch) == rows or (len(batch) + 1) * max(lengths[i] for i in [*batch, after[0]]) > tokens


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError()])
@pytest.mark.parametrize("room", [1, 3, 100])
def test_what_does_not_fit_is_halved(room: int, error: Exception) -> None:
    sizes = []

    def run(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        if len(items) > room:
            raise error
        return [item * 10 for item in items]

    assert split_on_oom(run, range(13)) == [item * 10 for item in range(13)]
    assert sizes[0] == 13
    assert sum(size for size in sizes if size <= room) == 13


def test_what_does_not_fit_alone_and_other_errors_are_raised() -> None:
    calls = []

    def run(items: Sequence[int]) -> list[int]:
        calls.append(len(items))
        raise RuntimeError("out of memory" if 7 in items else "shapes do not match")

    with pytest.raises(RuntimeError, match="out of memory"):
        split_on_oom(run, [7])
    with pytest.raises(RuntimeError, match="shapes"):
        split_on_oom(run, [1, 2])
    assert calls == [1, 2]
