"""rlaif.assess.length_controlled: planted values come out, exchanging the policies turns the rate, edges are said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from rlaif.assess.length_controlled import FEWEST, length_controlled


def planted(seed, theta, phi, n=4000, soft=False):
    """Preferences of a judge that has the model's own form."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(50, 900, size=n), rng.integers(50, 500, size=n)
    d = (a - b).astype(float)
    p = 1 / (1 + np.exp(-(theta + phi * np.tanh(d / d.std(ddof=1)))))
    return (p if soft else (rng.random(n) < p).astype(float)), a, b


@pytest.mark.parametrize(("theta", "phi"), [(0.0, 2.0), (0.8, 1.0), (-0.5, -1.5), (0.3, 0.0)])
def test_planted_values_come_out(theta, phi):
    want = 1 / (1 + np.exp(-theta))
    assert length_controlled(*planted(1, theta, phi), samples=1)[0] == pytest.approx(want, abs=0.03)
    exact, _, _ = length_controlled(*planted(1, theta, phi, soft=True), samples=1)
    assert exact == pytest.approx(want, abs=1e-4)  # the prior's part is all that is left


def test_the_interval_holds_the_planted_value_as_often_as_it_says():
    want, drawn = (
        1 / (1 + np.exp(-0.8)),
        [length_controlled(*planted(s, 0.8, 1.0, 300), samples=200) for s in range(40)],
    )
    assert sum(low < want < high for _, low, high in drawn) in range(34, 41)  # 38 expected; the chance of fewer is 1 %
    assert max(high - low for _, low, high in drawn) < 0.2


def test_a_longer_policy_that_is_no_better_wins_only_by_its_length():
    z, a, b = planted(2, 0.0, 2.0)
    assert z.mean() > 0.6
    assert length_controlled(z, a, b, samples=50)[0] == pytest.approx(0.5, abs=0.03)


def test_the_coefficients_are_those_of_a_general_optimizer():
    z, a, b = planted(3, 0.4, 1.2, n=80)
    z = np.clip(z, 0.1, 0.9)
    d = (a - b).astype(float)
    x = np.tanh(d / d.std(ddof=1))

    def loss(w):
        eta = w[0] + w[1] * x
        return np.sum(np.logaddexp(0, eta) - z * eta) + 0.005 * w[1] ** 2

    found = minimize(loss, [0.0, 0.0], tol=1e-12).x
    assert length_controlled(z, a, b, samples=1)[0] == pytest.approx(1 / (1 + np.exp(-found[0])), abs=1e-6)


def test_it_is_the_mean_where_length_has_no_effect():
    """Each z stands at a difference and at its negative: z and length are exactly uncorrelated."""
    z = np.tile(np.linspace(0.1, 0.8, 15), 2)
    d = np.concatenate([np.arange(1, 16), -np.arange(1, 16)])
    assert length_controlled(z, 100 + d, np.full(30, 100), samples=1)[0] == pytest.approx(z.mean(), abs=0.01)
    flat = np.full(30, 0.7)
    assert length_controlled(flat, 100 + d, np.full(30, 100), samples=1)[0] == pytest.approx(0.7, abs=1e-9)


rows = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 50), st.integers(0, 50)), min_size=FEWEST, max_size=FEWEST + 10
)


@settings(deadline=None, max_examples=30)
@given(rows)
def test_exchanging_the_policies_turns_the_rate(drawn):
    z, a, b = map(np.array, zip(*drawn, strict=True))
    here, there = length_controlled(z, a, b, samples=20), length_controlled(1 - z, b, a, samples=20)
    if isinstance(here, str):
        assert isinstance(there, str)
        return
    rate, low, high = here
    assert there == (
        pytest.approx(1 - rate, abs=1e-7),
        pytest.approx(1 - high, abs=1e-7),
        pytest.approx(1 - low, abs=1e-7),
    )
    assert 0 <= low <= high <= 1


def test_separation_by_length_and_draws_without_a_loss_stay_finite():
    d = np.concatenate([np.full(15, 30), np.full(15, -30)])
    rate, low, high = length_controlled((d > 0).astype(float), 100 + d, np.full(30, 100), samples=200)
    assert rate == pytest.approx(0.5)
    assert 0 <= low <= rate <= high <= 1
    z = np.ones(30)
    z[0] = 0.0
    assert length_controlled(z, 100 + np.arange(30), np.full(30, 100), samples=200)[2] == 1.0


@pytest.mark.parametrize(
    ("z", "lengths", "words"),
    [
        ([1.0, 0.0] * 9, range(18), "18 prompts are too few"),
        ([1.0] * 30, range(30), "it wins every prompt"),
        ([0.0] * 30, range(30), "it loses every prompt"),
        ([1e-130] + [0.0] * 29, range(30), "it loses every prompt"),
        ([1.0, 0.0] * 15, [7] * 30, "the same on every prompt"),
    ],
)
def test_what_cannot_be_told_is_said(z, lengths, words):
    assert words in length_controlled(z, list(lengths), [0] * len(z))


def test_what_is_no_number_is_an_error():
    with pytest.raises(ValueError, match="without NaN"):
        length_controlled([np.nan] * 30, range(30), range(30))
    with pytest.raises(ValueError, match="expected"):
        length_controlled([0.5] * 30, range(29), range(30))
