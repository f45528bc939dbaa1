"""The arithmetic of every number that is reported: agreement, order bias, calibration. Pure numpy.

Intervals of pairs and prompts are in `rlaif.assess.drawn`.

Shapes: one axis, N pairs. z is P(a is preferred); y is 1 where a is better, 0 where b is, 0.5 for a tie. Rows with NaN
in z (unjudged) are the caller's to leave out and to count.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "accuracy",
    "agreement",
    "brier",
    "confidence_bins",
    "ece",
    "log_odds",
    "order_consistency",
    "position_consistency",
    "sigmoid",
    "soft_nll",
    "soft_nll_each",
    "t_interval",
    "t_quantile",
    "win_rate",
]

Array = NDArray[np.float64]


def _array(*values: ArrayLike) -> tuple[Array, ...]:
    arrays = tuple(np.asarray(v, dtype=np.float64) for v in values)
    for array in arrays:
        if array.ndim != 1 or array.shape != arrays[0].shape:
            shapes = " and ".join("x".join(map(str, a.shape)) for a in arrays)
            raise ValueError(f"expected arrays of one axis and equal length, got {shapes}.")
        if np.isnan(array).any():
            raise ValueError("got NaN; leave unjudged pairs out (and count them) before measuring.")
    return arrays


@overload
def sigmoid(x: float) -> float: ...
@overload
def sigmoid(x: NDArray[np.floating[Any]]) -> Array: ...
def sigmoid(x: float | NDArray[np.floating[Any]]) -> float | Array:
    """1 / (1 + exp(-x)), the logistic function: a float of a number, an array of an array. NaN stays NaN.

    Below 0 it is computed as exp(x) / (1 + exp(x)), so that exp never overflows and a small p keeps all its digits.
    """
    x = np.asarray(x, dtype=np.float64)
    e = np.exp(-np.abs(x))
    p = np.where(x >= 0.0, 1.0, e) / (1.0 + e)
    return float(p) if p.ndim == 0 else p


def log_odds(p: ArrayLike, epsilon: float = 1e-6) -> Array:
    """log(p / (1 - p)), with p kept within [epsilon, 1 - epsilon] so that a certain judge stays finite."""
    (q,) = _array(np.atleast_1d(p))
    q = np.clip(q, epsilon, 1.0 - epsilon)
    return np.asarray(np.log(q) - np.log1p(-q))


def accuracy(z: ArrayLike, y: ArrayLike) -> Array:
    """Per pair: 1 where z and y prefer the same side, 0 where not, 0.5 where z is a tie. y must not hold ties: (N,).

    Raises:
        ValueError: y has ties.
    """
    p, t = _array(z, y)
    if (t == 0.5).any():
        raise ValueError("got ties in y; leave them out (and count them) before measuring agreement.")
    return np.where(p == 0.5, 0.5, (p > 0.5) == (t > 0.5)).astype(np.float64)


def agreement(z: ArrayLike, y: ArrayLike) -> float:
    """Share of pairs on which z and y prefer the same side; a tied z counts one half (a coin would)."""
    return float(accuracy(z, y).mean()) if np.size(z) else float("nan")


def position_consistency(z_ab: ArrayLike, z_ba: ArrayLike) -> float:
    """Share of pairs whose preferred response is the same in both orders. Both are P(a preferred), (N,)."""
    p, q = _array(z_ab, z_ba)
    return float(np.mean(np.sign(p - 0.5) == np.sign(q - 0.5))) if p.size else float("nan")


order_consistency = position_consistency  # the old name, for one more version


def soft_nll_each(z: ArrayLike, p: ArrayLike) -> Array:
    """Of each pair -[z log p + (1 - z) log(1 - p)], a model's p against the judge's (or a label's) z: (N,), in nats."""
    t, q = _array(z, p)
    q = np.clip(q, 1e-12, 1.0 - 1e-12)
    return np.asarray(-(t * np.log(q) + (1.0 - t) * np.log1p(-q)))


def soft_nll(z: ArrayLike, p: ArrayLike) -> float:
    """The mean of `soft_nll_each`."""
    return float(np.mean(soft_nll_each(z, p)))


def brier(p: ArrayLike, y: ArrayLike) -> float:
    """Mean of (p - y)^2, in [0, 1]; Brier (1950) for two classes, one of them written."""
    q, t = _array(p, y)
    return float(np.mean((q - t) ** 2))


def confidence_bins(p: ArrayLike, y: ArrayLike, bins: int = 10) -> tuple[Array, Array, NDArray[np.intp]]:
    """Per pair the confidence max(p, 1 - p), whether it was right (y, turned alike), and its bin in 0..bins-1: (N,).

    Bins are cut at the quantiles of the confidence, so that none is decided by three pairs; equal confidences share a
    bin, so a judge that only says 0 or 1 has one. Of each pair the side with p >= 0.5 is scored, so that nothing
    depends on which response was called a.
    """
    confidence, right = _confidence(p, y)
    edges = np.quantile(confidence, np.arange(1, bins) / bins)
    return confidence, right, np.searchsorted(edges, confidence, side="left")


def _confidence(p: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Per pair the confidence max(p, 1 - p), and whether it was right: (N,)."""
    q, t = _array(p, y)
    return np.maximum(q, 1.0 - q), np.where(q < 0.5, 1.0 - t, t)


def ece(p: ArrayLike, y: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error: the mean over pairs of |mean right - mean confidence| in the pair's bin.

    Naeini et al. (2015), with the bins of `confidence_bins`.
    """
    if not np.size(p):
        return float("nan")
    confidence, right, bin_of = confidence_bins(p, y, bins)
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / confidence.size)


def win_rate(first: ArrayLike, second: ArrayLike) -> Array:
    """Per prompt: 1 where first > second, 0 where less, 0.5 where equal: (N,)."""
    a, b = _array(first, second)
    return np.asarray(0.5 * (np.sign(a - b) + 1.0))


@lru_cache(maxsize=1024)
def t_quantile(p: float, degrees: int) -> float:
    """Student's t quantile at 0.5 <= p < 1, for n = `degrees` of freedom, n = 1, 2, ...

    With t = sqrt(n) tan(a), P(|T| <= t) is a finite sum (Abramowitz and Stegun 26.7.3 and 26.7.4), and rises with a:

        n odd   2 / pi (a + sin a cos a (1 + 2/3 cos^2 a + (2 4)/(3 5) cos^4 a + ... to cos^(n - 3) a))
        n even  sin a (1 + 1/2 cos^2 a + (1 3)/(2 4) cos^4 a + ... to cos^(n - 2) a)

    Halving the range of a finds where it is 2 p - 1.

    Raises:
        ValueError: p or `degrees` is out of its range.
    """
    if not 0.5 <= p < 1.0 or degrees < 1:
        raise ValueError(f"got p = {p}, {degrees} degrees of freedom; expected 0.5 <= p < 1 and at least 1.")
    odd, k = degrees % 2, np.arange(1, degrees // 2)
    factors = np.cumprod(np.concatenate(([1.0], (2 * k - 1 + odd) / (2 * k + odd))))[: degrees // 2]
    powers = np.arange(degrees // 2)

    def within(a: float) -> float:
        total = math.sin(a) * float(factors @ math.cos(a) ** (2 * powers))
        return 2.0 / math.pi * (a + math.cos(a) * total) if odd else total

    low, high = 0.0, math.pi / 2
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < 2.0 * p - 1.0 else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of (N,) values, N >= 2, and its interval by Student's t: mean, low, high.

    Raises:
        ValueError: there are fewer than two values.
    """
    (x,) = _array(values)
    if x.size < 2:
        raise ValueError(f"got {x.size} values; expected at least 2, for an interval.")
    half = t_quantile((1.0 + level) / 2.0, x.size - 1) * float(x.std(ddof=1)) / math.sqrt(x.size)
    mean = float(x.mean())
    return mean, mean - half, mean + half
