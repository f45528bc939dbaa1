"""Tests of two policies on the same prompts, and what many of them together are allowed to claim.

sign_flip_test      the mean of differences, prompt by prompt: are they symmetric about 0?
sign_test           wins against losses, ties left out: McNemar's exact test
holm                p-values of several tests, adjusted so that any false claim among them has the chance alpha
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["EXACT", "FLIPS", "holm", "sign_flip_test", "sign_test"]

FLIPS = 9_999  # random ones, where all of them are too many; the smallest p is then 1 / 10,000
EXACT = 14  # differences of which all sign flips are tried: 2^14
_CELLS = 1 << 22  # of flips times differences at once


def sign_flip_test(differences: ArrayLike, *, seed: int = 0) -> float | None:
    """Two-sided p of the mean of paired differences: how often random signs give one as far from 0 (Fisher, 1935).

    Args:
        differences: (N,), NaN where a prompt has none. A difference of 0 has no sign to flip.
        seed: of the random flips.

    Returns:
        The share of all 2^n sign flips of the n differences that are not 0 whose mean is at least as far from 0, where
        n <= 14; else (1 + k) / (1 + 9,999) with k of 9,999 random ones (Phipson and Smyth, 2010). 1 where all
        differences are 0, None where there are none.
    """
    d = np.asarray(differences, dtype=np.float64)
    d = d[~np.isnan(d)]
    if not d.size:
        return None
    d = d[d != 0.0]
    if not d.size:
        return 1.0
    # Sums that are equal but for their rounding count as equal.
    far = abs(float(d.sum())) - 1e-12 * float(np.abs(d).sum())
    if d.size <= EXACT:
        every = np.arange(1 << d.size)[:, None] >> np.arange(d.size) & 1
        return float(np.mean(np.abs(_sums(every, d)) >= far))
    rng, found, left = np.random.default_rng(seed), 0, FLIPS
    most = max(1, _CELLS // d.size)
    while left:
        count = min(left, most)
        bits = np.unpackbits(np.frombuffer(rng.bytes(-(-count * d.size // 8)), dtype=np.uint8))
        flips = bits[: count * d.size].reshape(count, d.size)
        found += int(np.sum(np.abs(_sums(flips, d)) >= far))
        left -= count
    return (1 + found) / (1 + FLIPS)


def _sums(flips: NDArray[Any], d: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the differences with each row's signs: + for a bit of 0, - for 1."""
    return np.asarray(d.sum() - 2.0 * (flips.astype(np.float64) @ d))


def sign_test(wins: int, losses: int) -> float | None:
    """Two-sided exact p of `wins` against `losses`: twice the smaller tail of Binomial(wins + losses, 1/2), at most 1.

    Ties belong to neither side. On win or loss by two paired verdicts this is McNemar's exact test. None without any.
    """
    n, fewer = wins + losses, min(wins, losses)
    if not n:
        return None
    k = np.arange(1, fewer + 1)
    logs = np.concatenate(([0.0], np.cumsum(np.log(n - k + 1.0) - np.log(k))))  # log C(n, 0 .. fewer)
    top = float(logs.max())
    tail = math.exp(top + math.log(float(np.exp(logs - top).sum())) - n * math.log(2.0))
    return min(1.0, 2.0 * tail)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for their number, as Holm (1979): in rising order the i-th of m times m - i + 1, never falling.

    A test that gave none is None and counts for nothing.
    """
    order = sorted((p, at) for at, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, at) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        adjusted[at] = highest
    return adjusted
