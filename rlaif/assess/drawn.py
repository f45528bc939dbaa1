"""Intervals over what was drawn: prompts, and responses that stand in many pairs. Pure numpy.

Pairs are seldom drawn one by one. Several of a prompt share what makes it easy or hard; 118 arguments compared in 1,421
pairs are 118 draws and not 1,421, for what a model makes of an argument is in all of its pairs. Intervals that draw
rows are then too narrow. Here

1.  prompts are drawn whole, with all of their pairs, where there are enough of them. Whatever pairs of a prompt share
    is kept together (the cluster bootstrap); where each prompt has one pair, this draws rows.
2.  Where prompts are too few, they are taken as given, and responses are drawn. A response is the same if prompt and
    text are. A pair is drawn as often as the product of its responses' numbers (the pigeonhole bootstrap, Owen 2007,
    Annals of Applied Statistics 1); a response of this pair alone has no number of its own, and a pair of two such is
    drawn by itself. The interval then says nothing of other prompts.
3.  Where these are too few as well, there is no interval, and a reason.

Products of numbers count a pair's own noise three times: Var(m_a m_b) = 3 for numbers of mean and variance 1, where
pairs that share one response have covariance 1 as they should. So the spread of the draws is scaled to the dyadic
variance of a mean (Aronow, Samii and Assenova 2015, Political Analysis 23, equation 5, in which V = sum over pairs i, j
that share a response of e_i e_j). With s_a = the sum of e over the pairs of response a, n_a of the N, it is

    V = sum_a (s_a N / (N - n_a))^2 - sum_i e_i^2        (1)

the last term for pairs of two drawn responses, which are in two sums. N / (N - n_a), as in a jackknife, makes good that
e are residuals: without it, V of the 45 pairs of 10 responses is 0.6 of what it should be. V is no less than the rows'.

What counts as enough is the effective number of units (Kish): N^2 / sum_u n_u^2, the number of equal shares that would
be as uneven. One response that stands in every pair is one unit, however many others it meets. Few units make heavy
tails: the ends are the percentiles that Student's t with so many units takes (Hesterberg 2015, "What teachers should
know about the bootstrap", section 4, the expanded percentiles).

Coverage on planted designs is in tests/test_drawn.py; nominal 95 % intervals cover 92 to 97 % in all of them, and those
of independent pairs are as wide as if rows had been drawn.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaif import metrics
from rlaif.records import Prompt, prompt_hash

__all__ = [
    *("LEVEL", "MIN_UNITS", "Drawn", "Ece", "Mean", "PairKeys", "Statistic", "interval_row", "intervals", "keys_of"),
    *("errors_to_end", "prompt_key", "wilson"),
]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

LEVEL = 0.95
MIN_UNITS = 10  # with fewer, intervals of planted shares cover less than 90 %


# What was drawn -------------------------------------------------------------------------------------------------------


def keys_of(prompt: Prompt, response_a: str, response_b: str) -> tuple[int, int, int]:
    """Numbers of 63 bits for the prompt, and for both responses to it: equal where the texts are."""
    root = prompt_hash(prompt).encode()
    return _number(root), _number(root, response_a), _number(root, response_b)


def prompt_key(prompt: Prompt) -> int:
    """The first of `keys_of`."""
    return _number(prompt_hash(prompt).encode())


def _number(root: bytes, text: str | None = None) -> int:
    content = root if text is None else root + b":" + text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True, eq=False)
class Drawn:
    """Which of N rows were drawn together.

    A row is drawn as often as `first` and, where `second` is not -1, times as often as `second`.

    Attributes:
        first, second: units, numbered from 0: (N,).
        units: how many there are.
        over: "prompts" or "responses": what the units are; None where too few were drawn for an interval.
        prompts, responses: how many different ones there are; no responses where rows are no pairs.
        effective: the effective number of units.
    """

    first: Codes
    second: Codes
    units: int
    over: str | None
    prompts: int
    responses: int | None
    effective: float

    @classmethod
    def rows(cls, n: int) -> Drawn:
        """Rows that were drawn one by one, each of a prompt of its own."""
        return cls(np.arange(n), np.full(n, -1), n, "prompts" if n >= MIN_UNITS else None, n, None, float(n))

    @classmethod
    def clusters(cls, prompt_N: ArrayLike) -> Drawn:
        """Rows that are no pairs, of prompts that may have several: any number that tells prompts apart, (N,)."""
        prompt_N = _codes(np.asarray(prompt_N, dtype=np.int64))
        sizes = np.bincount(prompt_N) if prompt_N.size else np.zeros(0)
        effective = _effective(sizes)
        over = "prompts" if effective >= MIN_UNITS else None
        return cls(prompt_N, np.full(prompt_N.size, -1), sizes.size, over, sizes.size, None, effective)

    @classmethod
    def pairs(cls, keys_N3: ArrayLike) -> Drawn:
        """Pairs, from their `keys_of`: (N, 3)."""
        keys = np.asarray(keys_N3, dtype=np.int64).reshape(-1, 3)
        prompts = cls.clusters(keys[:, 0])
        n = len(keys)
        response_2N = _codes(np.concatenate((keys[:, 1], keys[:, 2])))
        pairs_of = np.bincount(response_2N, minlength=1)
        responses = pairs_of.size if n else 0
        if prompts.over:
            return cls(prompts.first, prompts.second, prompts.units, "prompts", prompts.prompts, responses,
                       prompts.effective)  # fmt: skip
        a, b = response_2N[:n], response_2N[n:]
        again_a, again_b = pairs_of[a] > 1, pairs_of[b] > 1
        first = np.where(again_a, a, np.where(again_b, b, pairs_of.size + np.arange(n)))
        second = np.where(again_a & again_b & (a != b), b, -1)
        both = second >= 0
        unit = _codes(np.concatenate((first, second[both])))
        first = unit[:n]
        second[both] = unit[n:]
        units = int(unit.max()) + 1 if n else 0
        half = np.where(both, 0.5, 1.0)
        effective = _effective(_sums(first, second, half, units))
        over = "responses" if effective >= MIN_UNITS else None
        return cls(first, second, units, over, prompts.prompts, responses, effective)

    def __len__(self) -> int:
        return self.first.size

    def row(self) -> dict[str, Any]:
        """What a report says: `over`, the numbers of `prompts` and `responses`, `effective`; `why` there is no more."""
        counts = {"prompts": self.prompts, **({} if self.responses is None else {"responses": self.responses})}
        said = {"over": self.over, **counts, "effective": round(self.effective, 1)}
        return said if self.over else said | {"why": self.why}

    @property
    def why(self) -> str:
        """Why there is no interval."""
        units = "prompts" if self.responses is None else "prompts, and responses to them,"
        return (
            f"too few {units} were drawn to say how others would come out: the effective number is "
            f"{self.effective:.1f}, and an interval needs {MIN_UNITS}"
        )

    @cached_property
    def twice(self) -> NDArray[np.bool_]:
        """The rows that depend on two units: (N,)."""
        return self.second >= 0

    def weights(self, samples: int, seed: int) -> Iterator[Array]:
        """For each of so many draws how often each row is drawn: (N,)."""
        rng = np.random.default_rng(seed)
        twice = bool(self.twice.any())
        second = self.second[self.twice]
        for _ in range(samples):
            times = np.bincount(rng.integers(0, self.units, self.units), minlength=self.units).astype(np.float64)
            weight = times[self.first]
            if twice:
                weight[self.twice] *= times[second]
            yield weight

    def units_in(self, part: NDArray[np.bool_]) -> float:
        """The effective number of units of some of the rows."""
        half = np.where(self.twice, 0.5, 1.0)[part]
        return _effective(_sums(self.first[part], self.second[part], half, self.units))

    def variance(self, e_N: Array) -> float:
        """Of the sum of residuals e, which add up to 0: equation (1), for clusters its first term."""
        own = float(e_N @ e_N)
        if not own:
            return 0.0
        shares = _sums(self.first, self.second, np.ones(len(self)), self.units) / len(self)
        sums = _sums(self.first, self.second, e_N, self.units) / np.maximum(1.0 - shares, 1.0 / len(self))
        total = float(sums @ sums)
        if not self.twice.any():
            return total
        return max(own, total - float(e_N[self.twice] @ e_N[self.twice]))

    def scale(self, e_N: Array) -> float:
        """What a mean's draws, less the mean, are multiplied by: the root of `variance` over the draws' own."""
        if not self.twice.any():
            return 1.0
        sums = _sums(self.first, self.second, e_N, self.units)
        drawn = float(sums @ sums) + float(e_N[self.twice] @ e_N[self.twice])
        return math.sqrt(self.variance(e_N) / drawn) if drawn > 0.0 else 1.0


def _codes(keys: Codes) -> Codes:
    """Keys as numbers from 0, in the keys' order."""
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def _sums(first: Codes, second: Codes, values: Array, units: int) -> Array:
    twice = second >= 0
    sums: Array = np.bincount(first, weights=values, minlength=units).astype(np.float64)
    return sums + np.bincount(second[twice], weights=values[twice], minlength=units) if twice.any() else sums


def _effective(sizes: NDArray[Any]) -> float:
    sizes = np.asarray(sizes, dtype=np.float64)
    return float(sizes.sum() ** 2 / (sizes @ sizes)) if sizes.size else 0.0


# What is measured of them ---------------------------------------------------------------------------------------------


class Statistic(Protocol):
    """A number of N rows and of every draw of them.

    Attributes:
        value: of the rows as they are.
        residuals: e, what each row adds to it in first order, less the mean: (N,).
        limits: between which it can lie.
        reflected: whether draws shift it as the rows do beside the truth, so that the interval is reflected at `value`.
    """

    value: float
    residuals: Array
    limits: tuple[float, float]
    reflected: bool

    def of(self, weight_N: Array) -> float:
        """Of a draw, in which row i stands weight_i times."""


class Mean:
    """The mean of N values; of rows with a `size` (tokens of a text) the sum of values over the sum of sizes.

    `limits` are (0, 1) of a share, which then has an interval also where all rows are alike (Wilson's).
    """

    reflected = False

    def __init__(
        self, values: ArrayLike, size: ArrayLike | None = None, limits: tuple[float, float] = (-math.inf, math.inf)
    ) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        self.size = None if size is None else np.asarray(size, dtype=np.float64)
        self.limits = limits
        n = self.values.size
        mean_size = 1.0 if self.size is None else float(self.size.mean())
        self.value = float(self.values.mean()) / mean_size if n else math.nan
        self.residuals = (self.values - self.value * (1.0 if self.size is None else self.size)) / mean_size

    def of(self, weight_N: Array) -> float:
        total = weight_N.sum() if self.size is None else weight_N @ self.size
        return float(weight_N @ self.values) / float(total)


class Ece:
    """`rlaif.metrics.ece` of N pairs. Of a draw it is that of the rows drawn, each as often as it was.

    A mean of absolute gaps is not 0 even for a calibrated p: of n pairs in b bins chance alone makes about
    0.8 sqrt(b p (1 - p) / n) of it, 0.09 at n = 150. Drawing adds that bias once more, so the percentiles lie too high;
    reflecting them at the estimate (the basic bootstrap) takes it out again, and the interval may lie below the
    estimate. Where the true ECE is 0, the edge of what it can be, the interval still lies above it about half of the
    time.
    """

    limits = (0.0, 1.0)
    reflected = True

    def __init__(self, p: ArrayLike, y: ArrayLike, bins: int = 10) -> None:
        confidence, right, bin_of = metrics.confidence_bins(p, y, bins)
        gap = right - confidence
        sums = np.bincount(bin_of, weights=gap, minlength=bins)
        self.value = float(np.abs(sums).sum() / gap.size)
        self.residuals = np.sign(sums)[bin_of] * gap - self.value
        self._order = np.argsort(confidence, kind="stable")
        self._confidence, self._gap = confidence[self._order], gap[self._order]
        self._quantiles = np.arange(1, bins) / bins

    def of(self, weight_N: Array) -> float:
        weight = weight_N[self._order]
        up_to = np.cumsum(weight)  # rows drawn of each confidence or a lower one
        total = up_to[-1]
        # The quantiles of np.quantile: `between` of the way from one drawn confidence, in rising order, to the next;
        # from the nearer end, which decides on which side of an edge an equal confidence falls.
        position = (total - 1.0) * self._quantiles
        below = np.floor(position)
        above, between = np.minimum(below + 1.0, total - 1.0), position - below
        low, high = (self._confidence[np.searchsorted(up_to, at, side="right")] for at in (below, above))
        edges = np.where(between < 0.5, low + (high - low) * between, high - (high - low) * (1.0 - between))
        ends = np.searchsorted(self._confidence, edges, side="right")
        weight *= self._gap
        sums = np.diff(np.cumsum(np.concatenate(([0.0], weight)))[[0, *ends, weight.size]])
        return float(np.abs(sums).sum() / total)


def intervals(
    statistics: Sequence[Statistic], drawn: Drawn, *, samples: int = 1000, seed: int = 0, level: float = LEVEL
) -> list[tuple[float | None, float | None]]:
    """For each statistic the ends of its interval, from the same draws of the same rows; None where there is none.

    Rows are drawn together for all statistics, so that a comparison of two systems on the same prompts is a paired one
    (give it as a `Mean` of differences).
    """
    if drawn.over is None:
        return [(None, None)] * len(statistics)
    draws: list[list[float]] = [[] for _ in statistics]
    for weight in drawn.weights(samples, seed):
        if weight.any():  # products of numbers may all be 0
            for values, statistic in zip(draws, statistics, strict=True):
                values.append(statistic.of(weight))
    tail = _tail(drawn.effective, level)
    return [_ends(s, drawn, np.array(d), tail, level) for s, d in zip(statistics, draws, strict=True)]


def interval_row(name: str, statistic: Statistic, ends: tuple[float | None, float | None]) -> dict[str, float | None]:
    """`name`, `name`_low and `name`_high, as reports hold them."""
    return {name: statistic.value, f"{name}_low": ends[0], f"{name}_high": ends[1]}


def _ends(s: Statistic, drawn: Drawn, draws: Array, tail: float, level: float) -> tuple[float, float]:
    if s.limits == (0.0, 1.0) and s.value in s.limits:  # all rows alike, and so all draws
        return wilson(s.value, drawn.effective, level)
    off = drawn.scale(s.residuals) * (np.quantile(draws, [tail, 1.0 - tail]) - s.value)
    low, high = s.value + (-off[::-1] if s.reflected else off)
    return float(np.clip(low, *s.limits)), float(np.clip(high, *s.limits))


def _tail(units: float, level: float) -> float:
    """The share of draws beyond an end: (1 - level) / 2 of many units, of few as Student's t has it."""
    n = max(2, math.floor(units))
    return NormalDist().cdf(-math.sqrt(n / (n - 1)) * errors_to_end(n, level))


@cache
def errors_to_end(n: int, level: float = LEVEL) -> float:
    """Standard errors from the mean of n values, n >= 2, to an end of its interval: Student's t, of many the normal."""
    p = (1.0 + level) / 2.0
    return metrics.t_quantile(p, n - 1) if n <= 1000 else NormalDist().inv_cdf(p)


def wilson(share: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a share of n (Wilson 1927): unlike the normal one, right for a share of 0 or 1 too.

    Of n rows that were not drawn one by one, n is their effective number (Korn and Graubard 1998).
    """
    if n <= 0:
        return math.nan, math.nan
    quantile = NormalDist().inv_cdf((1.0 + level) / 2.0)
    q2 = quantile * quantile
    centre = (share + q2 / (2 * n)) / (1 + q2 / n)
    half = quantile / (1 + q2 / n) * math.sqrt(share * (1 - share) / n + q2 / (4 * n * n))
    # Rounding may leave the end of a share of 0 or 1 a hair inside of it.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


class PairKeys:
    """The `keys_of` of pairs that come one at a time, 24 bytes each."""

    def __init__(self) -> None:
        self._keys = array("q")

    def add(self, prompt: Prompt, response_a: str, response_b: str) -> None:
        self._keys.extend(keys_of(prompt, response_a, response_b))

    @classmethod
    def of(cls, prompts: Iterable[Prompt], responses_a: Iterable[str], responses_b: Iterable[str]) -> PairKeys:
        keys = cls()
        for prompt, a, b in zip(prompts, responses_a, responses_b, strict=True):
            keys.add(prompt, a, b)
        return keys

    @property
    def array(self) -> Codes:
        """(N, 3)."""
        return np.frombuffer(self._keys, dtype=np.int64).reshape(-1, 3) if self._keys else np.zeros((0, 3), np.int64)
