"""The statistics of an ablation's table: means over seeds, their intervals, differences to the baseline seed by seed.

Runs with one seed share prompts, SFT policy and order of the data, so that what makes a seed easy is in the cell and in
its baseline alike. The difference is therefore taken seed by seed before anything is averaged; its interval is that of
Student's t with (number of seeds - 1) degrees of freedom, as is a mean's. Both assume that runs of different seeds are
independent draws and means of them nearly normal; of five seeds nobody can tell, so every value is in values.csv.

A seed without a value is a state and has a reason: it failed, or the number was not measured. A cell with one is given
no mean and no difference, because runs that fail are rarely like those that do not; what the others say is kept apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlaif.metrics import t_interval

__all__ = ["LEVEL", "Estimate", "Missing", "Row", "compared", "estimate", "row_of"]

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds; `low` and `high` are None with fewer than 2 seeds, where there is no interval."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Missing:
    """Why a seed has no value, in a word ("failed", "not measured", ...) and in a line."""

    kind: str
    why: str


@dataclass(frozen=True)
class Row:
    """One outcome of one cell.

    Attributes:
        values: by seed; None where there is none.
        missing: why, for those seeds.
        error: the mean of the standard errors that the seeds' own reports give the number: what one run's held-out
            prompts leave uncertain; None where they give none.
        estimate: over all seeds; None where one is missing.
        of_the_others: over the seeds that have a value, where others have not: not a result.
        difference: value - baseline's, seed by seed; None where there is no baseline or either is missing.
        clear: whether the difference's interval excludes 0 at this level by itself.
        clear_of_all: whether it does at the level at which all of the outcome's hold together (Bonferroni).
    """

    values: Mapping[int, float | None]
    missing: Mapping[int, Missing]
    error: float | None
    estimate: Estimate | None
    of_the_others: Estimate | None
    difference: Estimate | None
    clear: bool | None
    clear_of_all: bool | None

    def row(self) -> dict[str, Any]:
        """As JSON holds it."""
        named = asdict(self)
        return named | {part: {str(seed): item for seed, item in named[part].items()} for part in ("values", "missing")}


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean and interval (Student's t) of one value a seed; no interval for fewer than 2."""
    if len(values) < 2:
        return Estimate(float(values[0]), None, None, len(values))
    mean, low, high = t_interval(values, level)
    return Estimate(mean, low, high, len(values))


def row_of(
    values: Mapping[int, float | None],
    missing: Mapping[int, Missing],
    baseline: Mapping[int, float | None] | None = None,
    comparisons: int = 1,
    error: float | None = None,
) -> Row:
    """The row of a cell.

    Args:
        values: by seed, None where there is none.
        missing: the reasons, by seed.
        baseline: the baseline's values by seed; None for the baseline itself.
        comparisons: how many differences the table holds for this outcome.
        error: the mean of the seeds' own standard errors.
    """
    there = [value for value in values.values() if value is not None]
    whole = bool(values) and len(there) == len(values)
    difference = None
    clear = clear_of_all = None
    if baseline is not None and whole and all(baseline.get(seed) is not None for seed in values):
        d = differences(values, baseline)
        difference = estimate(d)
        if len(d) > 1:
            clear = compared(d, 1)
            clear_of_all = compared(d, comparisons)
    return Row(
        dict(values),
        dict(missing),
        error,
        estimate(there) if whole else None,
        estimate(there) if there and not whole else None,
        difference,
        clear,
        clear_of_all,
    )


def differences(values: Mapping[int, float | None], baseline: Mapping[int, float | None]) -> list[float]:
    """Value - baseline's value, seed by seed."""
    pairs = [(values[seed], baseline[seed]) for seed in values]
    return [float(x) - float(b) for x, b in pairs if x is not None and b is not None]


def compared(differences: Sequence[float], comparisons: int) -> bool:
    """Whether the interval of the mean difference excludes 0, at level 1 - 0.05 / `comparisons`."""
    _, low, high = t_interval(differences, 1.0 - (1.0 - LEVEL) / comparisons)
    return low > 0.0 or high < 0.0
