"""The table's statistics, against direct computations and planted effects."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.ablations.table import Missing, Row, estimate, row_of

T4 = 2.7764451  # Student's t, 97.5 %, 4 degrees of freedom, from a printed table


def test_means_and_differences_are_what_a_direct_computation_gives() -> None:
    values = {0: 2.0, 1: 3.0, 2: 2.5, 3: 4.0, 4: 3.5}
    baseline = {0: 1.5, 1: 2.0, 2: 2.5, 3: 3.0, 4: 2.5}
    row = row_of(values, {}, baseline)
    half = T4 * statistics.stdev(values.values()) / math.sqrt(5)
    assert row.estimate is not None
    assert (row.estimate.mean, row.estimate.n) == (3.0, 5)
    assert (row.estimate.low, row.estimate.high) == pytest.approx((3.0 - half, 3.0 + half), abs=1e-6)
    d = [0.5, 1.0, 0.0, 1.0, 1.0]
    half = T4 * statistics.stdev(d) / math.sqrt(5)
    assert row.difference is not None
    assert (row.difference.mean, row.difference.low, row.difference.high) == pytest.approx(
        (0.7, 0.7 - half, 0.7 + half), abs=1e-6
    )
    assert row.clear is (0.7 - half > 0)


def test_what_seeds_have_in_common_is_not_in_the_difference() -> None:
    baseline = {seed: 10.0 * seed for seed in range(5)}
    row = row_of({seed: value + 1.0 + 0.01 * (seed % 2) for seed, value in baseline.items()}, {}, baseline)
    assert row.estimate is not None
    assert row.difference is not None
    assert row.estimate.high is not None
    assert row.difference.high is not None
    assert row.estimate.high - row.estimate.mean > 19.0  # the seeds differ a lot
    assert row.difference.high - row.difference.mean < 0.01  # and the effect does not
    assert row.clear


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=8), st.floats(-50, 50))
def test_a_shift_moves_the_mean_and_leaves_the_width(values: list[float], shift: float) -> None:
    plain, moved = estimate(values), estimate([value + shift for value in values])
    assert plain.low is not None
    assert moved.low is not None
    assert moved.mean == pytest.approx(plain.mean + shift, abs=1e-9)
    assert moved.mean - moved.low == pytest.approx(plain.mean - plain.low, abs=1e-6)


def test_a_planted_effect_lies_in_its_interval() -> None:
    """200 tables of 5 seeds: seeds differ by more than the effect, and the effect is found in its interval."""
    rng = random.Random(0)
    effect = 0.3

    def table() -> Row:
        seeds = [rng.gauss(0.0, 1.0) for _ in range(5)]
        baseline = {seed: common + rng.gauss(0.0, 0.2) for seed, common in enumerate(seeds)}
        values = {seed: common + effect + rng.gauss(0.0, 0.2) for seed, common in enumerate(seeds)}
        return row_of(values, {}, baseline)

    rows = [table() for _ in range(200)]
    found = [row.difference for row in rows if row.difference is not None]
    inside = sum(d.low is not None and d.high is not None and d.low <= effect <= d.high for d in found)
    assert inside >= 180
    assert inside < 200  # an interval that always holds says nothing
    alone = sum(row.estimate is not None and row.estimate.low is not None and row.estimate.low > 0.0 for row in rows)
    assert sum(bool(row.clear) for row in rows) > 2 * alone  # what pairing by seed is for


def test_bonferroni_holds_all_differences_together() -> None:
    """Tables of 10 cells without any effect: a mark in a tenth of them at most, for two in five by single intervals."""
    rng = random.Random(1)
    single = together = 0
    for _ in range(200):
        baseline = {seed: rng.gauss(0.0, 1.0) for seed in range(5)}
        rows = [row_of({seed: rng.gauss(0.0, 1.0) for seed in range(5)}, {}, baseline, 10) for _ in range(10)]
        single += any(row.clear for row in rows)
        together += any(row.clear_of_all for row in rows)
    assert together <= 20
    assert single >= 40


def test_a_cell_with_a_failed_seed_has_no_mean_and_no_difference() -> None:
    baseline = {0: 1.0, 1: 1.0, 2: 1.0}
    row = row_of({0: 2.0, 1: None, 2: 3.0}, {1: Missing("failed", "dpo failed: error: out of memory")}, baseline)
    assert row.estimate is None
    assert row.difference is None
    assert row.clear is None
    assert row.of_the_others is not None
    assert (row.of_the_others.mean, row.of_the_others.n) == (2.5, 2)
    against_failed = row_of(baseline, {}, {0: 2.0, 1: None, 2: 3.0})
    assert against_failed.estimate is not None
    assert against_failed.difference is None
    assert (
        row_of({0: None, 1: None}, {0: Missing("failed", "x"), 1: Missing("not measured", "y")}).of_the_others is None
    )


def test_one_seed_has_no_interval() -> None:
    row = row_of({0: 2.0}, {}, {0: 1.5})
    assert row.estimate is not None
    assert row.difference is not None
    assert (row.estimate.mean, row.estimate.low, row.estimate.high) == (2.0, None, None)
    assert (row.difference.mean, row.difference.low) == (0.5, None)
    assert row.clear is None
