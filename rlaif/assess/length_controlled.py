"""The length-controlled win rate: what two policies' win rate would be if their responses were equally long.

AlpacaEval 2 (Dubois et al., 2404.04475, section 3) models the preference for a model m over the baseline b on the
instruction x by a logistic regression with three terms, and predicts it with the length term set to zero:

    logit P(m > b | x) = theta + phi tanh((len_m(x) - len_b(x)) / s) + psi gamma_x

s is the standard deviation of the differences over the instructions, lengths are characters, and P is fitted to soft
preferences z. Here are the first two terms:

- gamma_x, the difficulty of an instruction, is estimated there from the verdicts on many models; two policies give one
  verdict an instruction, which cannot tell difficulty from chance. Leaving it out costs precision and takes the mean
  within the sigmoid instead of outside; it favours no side.
- There phi is held by a penalty chosen by cross-validation and by verdicts on the baseline told to be brief and to be
  verbose. Here it has a prior, N(0, 10^2): so weak that it only keeps phi finite where length alone decides.

Exchanging both policies turns every z to 1 - z and every difference to its negative, so the rate f becomes 1 - f. Where
z does not go with length it is the mean of z. Where one policy is longer on nearly every prompt, equal length is
outside of what was seen: the interval is wide then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlaif.metrics import sigmoid

__all__ = ["FEWEST", "length_controlled"]

Array = NDArray[np.float64]

FEWEST = 20  # prompts below which no rate is given: two coefficients and an interval want more
_PRECISION = 0.01  # of the prior of phi: 1 / 10^2
_CERTAIN = 1e-12  # a z nearer to 0 or 1 is 0 or 1: of 1 - z nothing of it is left
_CELLS = 1 << 20  # of draws times prompts at once
_STEPS, _LONGEST, _TOLERANCE = 100, 2.0, 1e-10


def length_controlled(
    wins: ArrayLike, lengths: ArrayLike, baseline_lengths: ArrayLike, *, samples: int = 1000, seed: int = 0
) -> tuple[float, float, float] | str:
    """The win rate at equal length and its 95 % interval: rate, low, high; or why there is none, in words.

    Args:
        wins: z, or 1, 0.5 and 0 for a win, a tie and a loss: (N,), in [0, 1].
        lengths, baseline_lengths: of the responses, in one unit: (N,).
        samples, seed: of the bootstrap, which draws prompts and fits anew (s too). A draw without a loss is a rate of
            1, one without a win a rate of 0.

    Raises:
        ValueError: the arrays are not of one length, or hold NaN.
    """
    z, a, b = (np.asarray(values, dtype=np.float64) for values in (wins, lengths, baseline_lengths))
    if z.ndim != 1 or z.shape != a.shape or z.shape != b.shape or np.isnan(z).any() or np.isnan(a - b).any():
        raise ValueError(f"got shapes {z.shape}, {a.shape}, {b.shape}; expected (N,) each, without NaN.")
    d = a - b
    if z.size < FEWEST:
        return f"{z.size} prompts are too few to tell length from quality; expected at least {FEWEST}"
    if z.min() > 1.0 - _CERTAIN or z.max() < _CERTAIN:
        return f"it {'wins' if z.min() > 0.5 else 'loses'} every prompt, whatever the length"
    if not np.ptp(d):
        return "the difference in length is the same on every prompt, so its effect cannot be seen"
    (rate,), start = _rates(z, d, np.ones((1, z.size)), (0.0, 0.0))
    rng = np.random.default_rng(seed)
    drawn: list[Array] = []
    most = max(1, _CELLS // z.size)
    for begin in range(0, samples, most):
        rows = rng.integers(0, z.size, size=(min(most, samples - begin), z.size))
        counts = np.stack([np.bincount(row, minlength=z.size) for row in rows]).astype(np.float64)
        drawn.append(_rates(z, d, counts, start)[0])
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    return float(rate), float(low), float(high)


def _rates(z_N: Array, d_N: Array, counts_BN: Array, start: tuple[float, float]) -> tuple[Array, tuple[float, float]]:
    """sigmoid(theta) of B draws, of which `counts_BN` says how often each prompt is in them: (B,).

    The search for theta and phi begins at `start`; those of the first draw are given too.
    """
    n_B = counts_BN.sum(axis=1)
    mean_B = counts_BN @ d_N / n_B
    deviation_BN = d_N - mean_B[:, None]
    s_B = np.sqrt((counts_BN * deviation_BN**2).sum(axis=1) / (n_B - 1))
    x_BN = np.tanh(d_N / np.where(s_B > 0, s_B, np.inf)[:, None])  # one length in all of a draw: no effect of it
    total_B = counts_BN @ z_N
    decided = (total_B > _CERTAIN * n_B) & (total_B < (1.0 - _CERTAIN) * n_B)
    rates_B = (total_B > 0.5 * n_B).astype(np.float64)
    if not decided.any():
        return rates_B, start
    theta_D, phi_D = _fitted(x_BN[decided], z_N, counts_BN[decided], start)
    rates_B[decided] = sigmoid(theta_D)
    return rates_B, (float(theta_D[0]), float(phi_D[0]))


def _fitted(x_BN: Array, z_N: Array, counts_BN: Array, start: tuple[float, float]) -> tuple[Array, Array]:
    """theta and phi of each draw by Newton's method on the penalized likelihood, which is concave: (B,) each."""
    theta_B, phi_B = (np.full(len(x_BN), value) for value in start)
    for _ in range(_STEPS):
        p_BN = sigmoid(theta_B[:, None] + phi_B[:, None] * x_BN)
        rest_BN, weight_BN = counts_BN * (z_N - p_BN), counts_BN * p_BN * (1.0 - p_BN)
        slope_theta, slope_phi = rest_BN.sum(axis=1), (rest_BN * x_BN).sum(axis=1) - _PRECISION * phi_B
        tt, tp = weight_BN.sum(axis=1), (weight_BN * x_BN).sum(axis=1)
        pp = (weight_BN * x_BN**2).sum(axis=1) + _PRECISION
        determinant = tt * pp - tp**2
        step_theta = (pp * slope_theta - tp * slope_phi) / determinant
        step_phi = (tt * slope_phi - tp * slope_theta) / determinant
        longest = np.maximum(np.abs(step_theta), np.abs(step_phi))
        share = np.minimum(1.0, _LONGEST / np.maximum(longest, _LONGEST))  # a step from afar may overshoot
        theta_B, phi_B = theta_B + share * step_theta, phi_B + share * step_phi
        if longest.max() < _TOLERANCE:
            break
    return theta_B, phi_B
