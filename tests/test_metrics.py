"""Every reported number against a case worked by hand or a second, slow implementation."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif import metrics

PROBABILITIES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40)


def test_by_hand() -> None:
    z, y = [0.9, 0.4, 0.5, 0.2], [1.0, 1.0, 0.0, 0.0]
    assert metrics.accuracy(z, y).tolist() == [1.0, 0.0, 0.5, 1.0]
    assert metrics.agreement(z, y) == 0.625
    assert metrics.brier(z, y) == pytest.approx((0.01 + 0.36 + 0.25 + 0.04) / 4)
    assert metrics.soft_nll([1.0, 0.25], [0.5, 0.25]) == pytest.approx(
        (math.log(2) - 0.25 * math.log(0.25) - 0.75 * math.log(0.75)) / 2
    )
    assert metrics.order_consistency([0.9, 0.2, 0.5, 0.5], [0.6, 0.7, 0.5, 0.6]) == 0.5
    assert metrics.win_rate([3, 1, 2], [2, 2, 2]).tolist() == [1.0, 0.0, 0.5]
    assert metrics.log_odds([0.5, 0.75]).tolist() == pytest.approx([0.0, math.log(3)])
    # Confidences 0.6, 0.7 | 0.8, 0.9 in two bins; right, wrong | right, right.
    assert metrics.ece([0.6, 0.3, 0.8, 0.9], [1, 1, 1, 1], bins=2) == pytest.approx((0.15 * 2 + 0.15 * 2) / 4)


def test_the_logistic_function() -> None:
    x = np.array([[-3.0, -0.5], [0.0, 2.0]])
    np.testing.assert_allclose(metrics.sigmoid(x), 1.0 / (1.0 + np.exp(-x)), rtol=1e-15)
    np.testing.assert_allclose(metrics.log_odds(metrics.sigmoid(x).ravel()), x.ravel(), rtol=1e-12)
    np.testing.assert_allclose(metrics.sigmoid(x) + metrics.sigmoid(-x), 1.0, rtol=1e-15)
    # Far out it neither overflows (a warning, here an error) nor loses its digits; what is not known stays so.
    ends = metrics.sigmoid(np.array([-np.inf, -1e6, 1e6, np.inf, np.nan]))
    assert ends.tolist()[:4] == [0.0, 0.0, 1.0, 1.0]
    assert np.isnan(ends[4])
    assert metrics.sigmoid(-100.0) == pytest.approx(math.exp(-100.0), rel=1e-15)
    assert isinstance(metrics.sigmoid(0), float)
    assert isinstance(metrics.sigmoid(np.float64(2.0)), float)
    assert metrics.sigmoid(np.zeros(0)).shape == (0,)


def test_a_certain_judge_stays_finite() -> None:
    assert np.isfinite(metrics.log_odds([0.0, 1.0])).all()
    assert math.isfinite(metrics.soft_nll([1.0], [0.0]))


def test_calibration_of_the_calibrated_and_of_the_overconfident() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=20_000)
    y = (rng.uniform(size=p.size) < p).astype(float)
    assert metrics.ece(p, y) < 0.015
    assert metrics.ece(np.full(1000, 0.99), (np.arange(1000) < 600).astype(float)) == pytest.approx(0.39)


@given(st.lists(st.tuples(st.floats(0.0, 1.0).map(lambda z: round(z, 9)), st.sampled_from([0.0, 1.0])), min_size=1))
def test_numbers_do_not_depend_on_which_response_is_called_a(rows: list[tuple[float, float]]) -> None:
    z, y = np.array(rows).T
    assert metrics.agreement(z, y) == pytest.approx(metrics.agreement(1 - z, 1 - y))
    assert metrics.brier(z, y) == pytest.approx(metrics.brier(1 - z, 1 - y))
    assert metrics.soft_nll(y, z) == pytest.approx(metrics.soft_nll(1 - y, 1 - z))
    z, y = z[z != 0.5], y[z != 0.5]  # of a tie no side is called better
    assert metrics.ece(z, y) == pytest.approx(metrics.ece(1 - z, 1 - y), nan_ok=True)


@given(PROBABILITIES, st.integers(1, 12), st.randoms())
def test_ece_against_a_slow_one(p: list[float], bins: int, rng: random.Random) -> None:
    y = [float(rng.random() < 0.5) for _ in p]
    rows = [(q, t) if q >= 0.5 else (1 - q, 1 - t) for q, t in zip(p, y, strict=True)]
    edges = [float(np.quantile([q for q, _ in rows], k / bins)) for k in range(1, bins)] + [1.0]
    total, below = 0.0, -1.0
    for edge in edges:
        total += abs(sum(t - q for q, t in rows if below < q <= edge))
        below = max(below, edge)
    assert metrics.ece(p, y, bins) == pytest.approx(total / len(p), abs=1e-12)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1))
def test_ece_does_not_depend_on_the_order_of_the_rows(rows: list[tuple[float, float]]) -> None:
    p, y = np.array(rows).T
    order = np.argsort(y, kind="stable")
    assert metrics.ece(p, y) == pytest.approx(metrics.ece(p[order], y[order]))


def test_nan_ties_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN; leave unjudged pairs out"):
        metrics.agreement([math.nan], [1.0])
    with pytest.raises(ValueError, match="ties in y"):
        metrics.agreement([0.7], [0.5])
    with pytest.raises(ValueError, match="equal length"):
        metrics.brier([0.5], [0.5, 1.0])


def test_nothing_measured_is_nan_not_a_number() -> None:
    assert math.isnan(metrics.agreement([], []))
    assert math.isnan(metrics.order_consistency([], []))


# Two-sided 95 % quantiles as tables print them, by degrees of freedom.
T_95 = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    9: 2.262,
    14: 2.145,
    19: 2.093,
    30: 2.042,
    120: 1.980,
}


@pytest.mark.parametrize(("degrees", "printed"), T_95.items())
def test_the_t_quantile_is_the_printed_one(degrees: int, printed: float) -> None:
    assert metrics.t_quantile(0.975, degrees) == pytest.approx(printed, abs=5.1e-4)


@given(st.floats(0.5, 1.0 - 1e-6))
def test_the_t_quantile_where_it_has_a_closed_form(p: float) -> None:
    assert metrics.t_quantile(p, 1) == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-9, abs=1e-12)
    assert metrics.t_quantile(p, 2) == pytest.approx((2 * p - 1) / math.sqrt(2 * p * (1 - p)), rel=1e-9, abs=1e-12)


@given(st.floats(0.5, 1.0 - 1e-6), st.integers(3, 60))
def test_the_t_quantile_is_where_the_density_has_its_mass(p: float, degrees: int) -> None:
    """By Simpson's rule in the angle a, t = sqrt(n) tan(a), in which the density is that of cos^(n - 1)."""
    a = np.linspace(0.0, math.atan(metrics.t_quantile(p, degrees) / math.sqrt(degrees)), 2001)
    constant = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    weights = np.array([1.0, *[4.0, 2.0] * 999, 4.0, 1.0]) / 3.0
    mass = constant * float(weights @ np.cos(a) ** (degrees - 1)) * float(a[1] - a[0])
    assert 0.5 + mass == pytest.approx(p, abs=1e-9)


def test_the_t_quantile_of_many_degrees_is_the_normal_one() -> None:
    for p in (0.6, 0.975, 1 - 1e-5):
        z = NormalDist().inv_cdf(p)
        assert metrics.t_quantile(p, 100_000) == pytest.approx(z + (z**3 + z) / 400_000, rel=1e-7)


@pytest.mark.parametrize(("p", "degrees"), [(0.4, 3), (1.0, 3), (math.nan, 3), (0.9, 0)])
def test_a_t_quantile_that_is_none_is_refused(p: float, degrees: int) -> None:
    with pytest.raises(ValueError, match=r"expected 0\.5 <= p < 1 and at least 1"):
        metrics.t_quantile(p, degrees)


def test_the_t_interval_by_hand() -> None:
    # Mean 2, standard deviation 1, of three: 4.303 / sqrt(3) to either side; at 90 %, 2.920 / sqrt(3).
    assert metrics.t_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2.0 - 2.48414, 2.0 + 2.48414), abs=1e-4)
    assert metrics.t_interval([1, 2, 3], level=0.9) == pytest.approx((2.0, 2.0 - 1.68586, 2.0 + 1.68586), abs=1e-4)
    with pytest.raises(ValueError, match="got 1 values; expected at least 2"):
        metrics.t_interval([1.0])
