"""rlaif.assess.paired against scipy, and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlaif.assess.paired import FLIPS, holm, sign_flip_test, sign_test


@pytest.mark.parametrize("n", [2, 5, 12])
def test_all_flips_give_scipys_p(n):
    d = np.random.default_rng(n).normal(0.4, 1.0, size=n).round(2)
    want = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_test(d) == pytest.approx(want)


def test_random_flips_come_close_to_the_t_test():
    d = np.random.default_rng(7).normal(0.13, 1.0, size=300)
    assert sign_flip_test(d) == pytest.approx(stats.ttest_1samp(d, 0.0).pvalue, abs=0.01)
    assert sign_flip_test(d, seed=1) == sign_flip_test(d, seed=1) != sign_flip_test(d, seed=2)


def test_the_smallest_p_and_the_edges():
    assert sign_flip_test(np.ones(50)) == 1 / (FLIPS + 1)
    assert sign_flip_test([1.0, 2.0]) == 0.5  # two of the four are as far
    assert sign_flip_test([0.1, 0.2, -0.3]) == 1.0  # the sum is 0 but for its rounding
    assert sign_flip_test([0.0, 0.0, np.nan]) == 1.0
    assert sign_flip_test([np.nan]) is None
    assert sign_flip_test([1.0, 0.0, 2.0, np.nan]) == 0.5


@given(st.lists(st.floats(-5, 5).map(lambda v: round(v, 3)), min_size=1, max_size=20))
def test_which_policy_stands_first_changes_no_p(d):
    assert sign_flip_test(d) == pytest.approx(sign_flip_test([-v for v in d]), abs=1e-9)


@pytest.mark.parametrize(("wins", "losses"), [(0, 1), (3, 3), (8, 2), (0, 30), (61, 40), (5200, 4800)])
def test_the_sign_test_is_the_binomial_one(wins, losses):
    want = stats.binomtest(wins, wins + losses, 0.5).pvalue
    assert sign_test(wins, losses) == pytest.approx(want, rel=1e-9)
    assert sign_test(wins, losses) == sign_test(losses, wins)


def test_the_sign_test_of_nothing_and_of_very_much():
    assert sign_test(0, 0) is None
    assert sign_test(0, 5000) == 0.0 or sign_test(0, 5000) < 1e-300


def test_holm_by_hand():
    # 0.01 x 4, 0.02 x 3, 0.04 x 2, then 0.03 x ... : in rising order 0.01 0.02 0.03 0.04 times 4 3 2 1.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []
