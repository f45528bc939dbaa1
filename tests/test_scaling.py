"""The forms of reward over-optimization: planted coefficients come back, the peak is where the curve is highest."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.assess.scaling import FORMS, ScalingFit, fit_scaling

D = np.linspace(0.0, 4.0, 13)


@pytest.mark.parametrize("form", FORMS)
@given(alpha=st.floats(-3, 3), beta=st.floats(-2, 2))
def test_planted_coefficients_come_back(form: str, alpha: float, beta: float) -> None:
    # The equations as the paper has them, written again.
    gain = [
        d * (alpha - beta * d) if form == "best_of_n" else d * (alpha - beta * math.log(d)) if d else 0.0 for d in D
    ]
    fit = fit_scaling(form, D, gain)
    assert (fit.alpha, fit.beta) == pytest.approx((alpha, beta), abs=1e-6)
    assert fit(D) == pytest.approx(gain, abs=1e-6)
    assert fit.points == 12


@pytest.mark.parametrize("form", FORMS)
def test_least_squares_is_what_the_normal_equations_give(form: str) -> None:
    rng = random.Random(0)
    gain = np.array([1.5 * d - 0.2 * d**2 + rng.gauss(0, 0.3) for d in D])
    a, b = D[1:], D[1:] ** 2 if form == "best_of_n" else D[1:] * np.log(D[1:])
    y = gain[1:]
    determinant = (a @ a) * (b @ b) - (a @ b) ** 2
    alpha = ((a @ y) * (b @ b) - (b @ y) * (a @ b)) / determinant
    minus_beta = ((b @ y) * (a @ a) - (a @ y) * (a @ b)) / determinant
    fit = fit_scaling(form, D, gain)
    assert (fit.alpha, fit.beta) == pytest.approx((alpha, -minus_beta))
    residual = y - alpha * a - minus_beta * b
    assert fit.r2 == pytest.approx(1.0 - residual @ residual / ((y - y.mean()) @ (y - y.mean())))


@pytest.mark.parametrize(("form", "alpha", "beta"), [("best_of_n", 2.0, 0.5), ("rl", 1.0, 0.7), ("rl", 0.2, 0.9)])
def test_the_peak_is_where_the_curve_is_highest(form: str, alpha: float, beta: float) -> None:
    fit = ScalingFit(form, alpha, beta, 1.0, 9)
    grid = np.linspace(0.0, 10.0, 100_001)
    assert fit.peak == pytest.approx(grid[np.argmax(fit(grid))], abs=1e-3)
    assert ScalingFit(form, alpha, 0.0, 1.0, 9).peak is None


def test_what_cannot_be_fitted_says_so() -> None:
    with pytest.raises(ValueError, match="form is 'line'; expected one of best_of_n, rl"):
        fit_scaling("line", D, D)
    with pytest.raises(ValueError, match="got 2 points with distinct KL above 0; expected 3"):
        fit_scaling("rl", [0.0, 1.0, 2.0, 2.0], [0.0, 1.0, 2.0, 2.0])
    with pytest.raises(ValueError, match="d >= 0"):
        fit_scaling("rl", [-1.0, 1.0, 2.0], [0.0, 1.0, 2.0])
