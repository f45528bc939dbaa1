"""How gold reward bends as a proxy is optimised: the forms of Gao, Schulman and Hilton (2210.10760), fitted.

With d = sqrt(KL(policy || initial policy)) in sqrt(nats), and the gold reward R measured from where it stood at d = 0,

    best of n                R(d) = d (alpha - beta d)            (their equation 1)
    reinforcement learning   R(d) = d (alpha - beta log d)        (their equation 2)

Both are linear in alpha and beta, so least squares has one solution. alpha is how fast gold rises at first, beta how
soon it is lost again; the gold reward is best at d = alpha / (2 beta) and exp(alpha / beta - 1), where beta > 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FORMS", "ScalingFit", "fit_scaling"]

Array = NDArray[np.float64]

FORMS = ("best_of_n", "rl")


@dataclass(frozen=True)
class ScalingFit:
    """alpha in reward / sqrt(nat); beta in reward / nat (best_of_n) or reward / sqrt(nat) (rl).

    `r2` is the share of the gold reward's variance (about its own mean) that the form accounts for; a straight line
    through a cloud also has coefficients.
    """

    form: str
    alpha: float
    beta: float
    r2: float
    points: int

    def __call__(self, d: ArrayLike) -> Array:
        """R at d >= 0: the same shape."""
        first, second = _columns(self.form, np.asarray(d, dtype=np.float64))
        return np.asarray(self.alpha * first - self.beta * second)

    @property
    def peak(self) -> float | None:
        """The d at which R is largest; None where it never turns down (beta <= 0)."""
        if self.beta <= 0.0:
            return None
        ratio = self.alpha / self.beta
        if self.form == "best_of_n":
            return max(0.0, ratio / 2.0)
        return math.exp(ratio - 1.0) if ratio < 700.0 else None


def fit_scaling(form: str, d: ArrayLike, gain: ArrayLike) -> ScalingFit:
    """Least squares of R(d) on (N,) points.

    Args:
        form: "best_of_n" or "rl".
        d: sqrt of the KL, >= 0: (N,). Points at 0 carry no information: both forms are 0 there.
        gain: the gold reward less what it was at d = 0: (N,).

    Raises:
        ValueError: another form, or fewer than 3 points with distinct d > 0.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; expected one of {', '.join(FORMS)}.")
    x, y = np.asarray(d, dtype=np.float64), np.asarray(gain, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or (x < 0.0).any() or not np.isfinite(np.concatenate([x, y])).all():
        raise ValueError(f"got d of shape {x.shape} and gain of {y.shape}; expected finite (N,) of both, d >= 0.")
    y, x = y[x > 0.0], x[x > 0.0]
    if np.unique(x).size < 3:
        raise ValueError(f"got {np.unique(x).size} points with distinct KL above 0; expected 3 for two coefficients.")
    first, second = _columns(form, x)
    (alpha, minus_beta), *_ = np.linalg.lstsq(np.stack([first, second], axis=1), y, rcond=None)
    residual = y - (alpha * first + minus_beta * second)
    spread = float(((y - y.mean()) ** 2).sum())
    r2 = 1.0 - float((residual**2).sum()) / spread if spread > 0.0 else float("nan")
    return ScalingFit(form, float(alpha), float(-minus_beta), r2, int(x.size))


def _columns(form: str, d: Array) -> tuple[Array, Array]:
    """What alpha and -beta are multiplied by: d, and d^2 or d log d (0 at 0): (N,) each."""
    if form == "best_of_n":
        return d, d**2
    return d, d * np.log(np.where(d > 0.0, d, 1.0))
