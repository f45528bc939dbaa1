"""The arithmetic of PPO against hand-worked numbers, direct sums and independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.training.ppo import arithmetic

T = torch.tensor


def mask_of(*lengths: int) -> torch.Tensor:
    """(B, max length): 1 on the first so many tokens of each row."""
    return torch.stack([(torch.arange(max(lengths)) < length).long() for length in lengths])


# ------------------------------------------------------------------------------------------------- rewards of tokens


@pytest.mark.parametrize(("estimator", "expected"), [("k1", 0.5), ("k2", 0.125), ("k3", math.exp(-0.5) - 1 + 0.5)])
def test_kl_estimators_by_hand(estimator: str, expected: float) -> None:
    assert arithmetic.kl_estimate(T([[-1.0]]), T([[-1.5]]), estimator).item() == pytest.approx(expected)


def test_k1_and_k3_are_unbiased_and_k2_is_not() -> None:
    p, q = (T(x, dtype=torch.float64) for x in ([0.7, 0.2, 0.1], [0.3, 0.3, 0.4]))
    truth = (p * (p / q).log()).sum()
    expectation = {kind: (p * arithmetic.kl_estimate(p.log(), q.log(), kind)).sum() for kind in ("k1", "k2", "k3")}
    assert expectation["k1"] == pytest.approx(truth.item(), abs=1e-12)
    assert expectation["k3"] == pytest.approx(truth.item(), abs=1e-12)
    assert abs(expectation["k2"] - truth) > 0.005


def test_an_unknown_estimator_is_refused() -> None:
    with pytest.raises(ValueError, match="expected k1, k2 or k3"):
        arithmetic.kl_estimate(T([[0.0]]), T([[0.0]]), "k4")


def test_scores_are_clipped_before_the_penalty() -> None:
    shaped = arithmetic.shape_scores(T([9.0, 9.0, -9.0, 0.5]), T([True, False, False, True]), 2.0, 1.0)
    assert shaped.tolist() == [2.0, 1.0, -3.0, 0.5]
    assert arithmetic.shape_scores(T([9.0]), T([True]), None, 1.0).tolist() == [9.0]


def test_the_score_stands_on_the_last_real_token() -> None:
    # Rows of 3, 1 and 0 tokens: the penalty is on real tokens only, the score on the last of them, nothing on padding.
    mask = T([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
    kl = torch.full((3, 3), 2.0)
    rewards = arithmetic.token_rewards(T([10.0, 20.0, 30.0]), kl, mask, kl_coef=0.5)
    assert rewards.tolist() == [[-1.0, -1.0, 9.0], [19.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_there_is_one_last_token_a_row(lengths: list[int]) -> None:
    last = arithmetic.last_token(mask_of(*lengths))
    assert last.sum(1).tolist() == [1] * len(lengths)
    assert last.argmax(1).tolist() == [length - 1 for length in lengths]


# ------------------------------------------------------------------------------------------------------- advantages


def test_gae_by_hand() -> None:
    # gamma 0.5, lambda 0.5; rewards 1, 2, 4; values 1, 1, 2.
    # delta_2 = 4 - 2 = 2; delta_1 = 2 + 0.5 * 2 - 1 = 2; delta_0 = 1 + 0.5 * 1 - 1 = 0.5.
    # A_2 = 2; A_1 = 2 + 0.25 * 2 = 2.5; A_0 = 0.5 + 0.25 * 2.5 = 1.125.
    advantages, returns = arithmetic.advantages(T([[1.0, 2.0, 4.0]]), T([[1.0, 1.0, 2.0]]), T([[1, 1, 1]]), 0.5, 0.5)
    assert advantages.tolist() == [[1.125, 2.5, 2.0]]
    assert returns.tolist() == [[2.125, 3.5, 4.0]]


def direct_gae(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """A_t = sum over l of (gamma lambda)^l delta_t+l (1506.02438, eq. 16), written out."""
    values = [*values, 0.0]
    deltas = [r + gamma * values[t + 1] - values[t] for t, r in enumerate(rewards)]
    return [sum((gamma * lam) ** k * delta for k, delta in enumerate(deltas[t:])) for t in range(len(deltas))]


numbers = st.floats(-5, 5, allow_nan=False, width=32)


@settings(deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8),
    st.integers(0, 4),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_gae_is_the_direct_sum_whatever_the_padding_holds(
    steps: list[tuple[float, float]], padding: int, gamma: float, lam: float
) -> None:
    rewards, values = zip(*steps, strict=True)
    mask = T([[1] * len(steps) + [0] * padding])
    padded = [torch.tensor([[*x, *[77.0] * padding]], dtype=torch.float64) for x in (rewards, values)]
    advantages, returns = arithmetic.advantages(padded[0] * mask, padded[1], mask, gamma, lam)
    expected = direct_gae(list(rewards), list(values), gamma, lam)
    np.testing.assert_allclose(advantages[0, : len(steps)], expected, atol=1e-9)
    np.testing.assert_allclose(returns[0, : len(steps)], np.add(expected, values), atol=1e-9)
    assert advantages[0, len(steps) :].tolist() == returns[0, len(steps) :].tolist() == [0.0] * padding


def test_lambda_one_gives_the_return_and_lambda_zero_the_one_step_error() -> None:
    rewards, values, mask = T([[1.0, -2.0, 3.0]]), T([[0.5, 0.25, -1.0]]), T([[1, 1, 1]])
    _, returns = arithmetic.advantages(rewards, values, mask, 1.0, 1.0)
    assert returns.tolist() == [[2.0, 1.0, 3.0]]
    advantages, _ = arithmetic.advantages(rewards, values, mask, 1.0, 0.0)
    assert advantages.tolist() == [[1 + 0.25 - 0.5, -2 - 1 - 0.25, 3 + 1.0]]


def split(x: torch.Tensor) -> list[torch.Tensor]:
    return [x[:1], x[1:]]


def test_whitening_over_two_processes_is_whitening_over_one() -> None:
    torch.manual_seed(0)
    x, mask = 100.0 + torch.randn(3, 5, dtype=torch.float64), mask_of(5, 2, 3)
    whole = arithmetic.whiten(x, mask)
    values = whole[mask.bool()]
    assert values.mean().item() == pytest.approx(0.0, abs=1e-9)
    assert values.var(unbiased=False).item() == pytest.approx(1.0, rel=1e-6)
    assert (whole[~mask.bool()] == 0).all()

    # Each process's share of every sum, in the order in which `whiten` asks for them, then again with the totals.
    shares: list[list[torch.Tensor]] = []
    for part, part_mask in zip(split(x), split(mask), strict=True):
        mean = arithmetic.masked_mean(x, mask)
        asked = [
            torch.stack([(part * part_mask).sum(), part_mask.sum().double()]),
            torch.stack([((part - mean).square() * part_mask).sum(), part_mask.sum().double()]),
            part_mask.sum().double(),
        ]
        shares.append(asked)
    totals = [a + b for a, b in zip(*shares, strict=True)]
    for index, (part, part_mask) in enumerate(zip(split(x), split(mask), strict=True)):
        answers = iter(totals)
        got = arithmetic.whiten(part, part_mask, lambda _, answers=answers: next(answers))
        torch.testing.assert_close(got, split(whole)[index], rtol=1e-12, atol=1e-12)


def test_moments_keep_their_digits_beside_a_large_mean() -> None:
    x = T([[1e4, 1e4 + 1.0, 1e4 - 1.0]])
    _, mean, variance = arithmetic.moments(x, T([[1, 1, 1]]))
    assert mean.item() == 1e4
    assert variance.item() == pytest.approx(2 / 3, rel=1e-3)


def test_a_mask_of_nothing_gives_zeros_and_no_nan() -> None:
    assert arithmetic.masked_mean(T([[5.0]]), T([[0]])).item() == 0.0
    assert arithmetic.whiten(T([[5.0]]), T([[0]])).tolist() == [[0.0]]


# ----------------------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.5, 2.0, -1.2 * 2.0, True),  # no more gain from above 1.2
        (0.5, 2.0, -0.5 * 2.0, False),  # an action that became too rare is still pulled back
        (0.5, -2.0, 0.8 * 2.0, True),
        (1.5, -2.0, 1.5 * 2.0, False),
    ],
)
def test_the_clipped_loss_by_hand(ratio: float, advantage: float, loss: float, clipped: bool) -> None:
    logps = T([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    got, flag = arithmetic.policy_loss(logps, torch.zeros(1, 1, dtype=torch.float64), T([[advantage]]), 0.2, 0.2)
    got.sum().backward()
    assert got.item() == pytest.approx(loss)
    assert flag.item() == clipped == (logps.grad is not None and logps.grad.item() == 0.0)


def test_the_value_loss_by_hand() -> None:
    # V = 2, old 1, target 0, clip 0.5: the held value is 1.5; the larger error is V's own, 4, halved.
    assert arithmetic.value_loss(T([[2.0]]), T([[1.0]]), T([[0.0]]), 0.5).item() == 2.0
    # V = 2, old 1, target 3: held at 1.5 the error is 2.25, larger than 1: going further earns nothing.
    assert arithmetic.value_loss(T([[2.0]]), T([[1.0]]), T([[3.0]]), 0.5).item() == 1.125
    assert arithmetic.value_loss(T([[2.0]]), T([[1.0]]), T([[3.0]]), None).item() == 0.5


def test_the_approximate_kl_is_that_of_the_old_policy_to_the_new() -> None:
    old, new = (T(x, dtype=torch.float64) for x in ([0.5, 0.5], [0.8, 0.2]))
    expected = (old * (old / new).log()).sum().item()
    assert (old * arithmetic.approximate_kl(new.log(), old.log())).sum().item() == pytest.approx(expected, abs=1e-12)


def test_unexplained_variance_by_hand() -> None:
    returns, mask = T([[1.0, 3.0, 99.0]]), T([[1, 1, 0]])
    assert arithmetic.unexplained_variance(returns, returns, mask).item() == 0.0
    assert arithmetic.unexplained_variance(torch.zeros(1, 3), returns, mask).item() == 1.0
    # errors 1 - 0.5 and 3 - 1.5: variance 0.25, of 1.
    assert arithmetic.unexplained_variance(T([[0.5, 1.5, 0.0]]), returns, mask).item() == pytest.approx(0.25)
    assert math.isnan(arithmetic.unexplained_variance(returns, torch.ones(1, 3), mask).item())


# ------------------------------------------------------------------------- what is carried from one rollout to the next


def test_the_kl_controller_by_hand() -> None:
    controller = arithmetic.KLController(coef=0.1, target=4.0, gain=0.1)
    controller.update(8.0)  # twice the target: the error is held at 0.2
    assert controller.coef == pytest.approx(0.1 * 1.02)
    controller.update(4.0)
    assert controller.coef == pytest.approx(0.1 * 1.02)
    controller.update(3.6)  # 10 % below
    assert controller.coef == pytest.approx(0.1 * 1.02 * 0.99)
    fixed = arithmetic.KLController(coef=0.1)
    fixed.update(100.0)
    assert fixed.coef == 0.1


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=5), min_size=1, max_size=6))
def test_the_normalizer_equals_the_moments_of_all_scores(batches: list[list[float]]) -> None:
    normalizer = arithmetic.RewardNormalizer()
    for batch in batches:
        # A response without a score holds any number under a mask of 0.
        scores, mask = T([*batch, 1e6]), T([1] * len(batch) + [0])
        normalizer.update(scores, mask)
    every = np.concatenate([np.float32(batch) for batch in batches]).astype(np.float64)
    assert normalizer.count == len(every)
    assert normalizer.mean == pytest.approx(every.mean(), abs=1e-6)
    assert normalizer.square / len(every) == pytest.approx(every.var(), abs=1e-5)


def test_what_is_carried_survives_a_checkpoint() -> None:
    normalizer = arithmetic.RewardNormalizer()
    normalizer.update(T([1.0, 2.0, 4.0]), T([1, 1, 1]))
    controller = arithmetic.KLController(0.3, 1.0)
    controller.update(0.5)
    again, controller_again = arithmetic.RewardNormalizer(), arithmetic.KLController(9.0, 1.0)
    again.load(normalizer.state())
    controller_again.load(controller.state())
    assert (again, controller_again) == (normalizer, controller)
    assert again(T([4.0])).item() == pytest.approx((4 - 7 / 3) / math.sqrt(14 / 9))


def test_normalized_scores_of_one_value_are_zero() -> None:
    normalizer = arithmetic.RewardNormalizer()
    normalizer.update(T([3.0, 3.0]), T([1, 1]))
    assert normalizer(T([3.0])).tolist() == [0.0]
