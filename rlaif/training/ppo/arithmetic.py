"""The arithmetic of proximal policy optimization on text. Pure functions of tensors; B rows, T tokens of a response.

Token t of a response is the action a_t, taken in the state s_t = prompt and the tokens before t. The score of a whole
response comes at its last token, the price of leaving the reference at every token (InstructGPT, 2203.02155, eq. 2):

    r_t = -beta KL_t + [t is the last token] score                                                  (1)
    delta_t = r_t + gamma V(s_t+1) - V(s_t),   V after the last token = 0                           (2)
    A_t = delta_t + gamma lambda A_t+1         GAE, 1506.02438, eq. 16                              (3)
    R_t = A_t + V(s_t)                         the value's target                                   (4)
    L_policy = -min(w_t A_t, clip(w_t, 1 - e, 1 + e) A_t),  w_t = pi(a_t | s_t) / pi_old(a_t | s_t) (5)
    L_value = 1/2 max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2)                             (6)

(5) is eq. 7 of PPO (1707.06347); (6) is its implementation in OpenAI's baselines. `mask_BT` is 1 on the tokens that
count and 0 on padding, which always comes after them. What is summed over tokens of several processes takes `reduce`,
a function that adds a tensor up over the processes, so that their number does not change the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

__all__ = [
    "KLController",
    "RewardNormalizer",
    "advantages",
    "approximate_kl",
    "kl_estimate",
    "last_token",
    "masked_mean",
    "moments",
    "policy_loss",
    "shape_scores",
    "token_rewards",
    "unexplained_variance",
    "value_loss",
    "whiten",
]

Reduce = Callable[[torch.Tensor], torch.Tensor]


def _alone(x: torch.Tensor) -> torch.Tensor:
    return x


# ------------------------------------------------------------------------------------------------- rewards of tokens


def kl_estimate(logps_BT: torch.Tensor, ref_logps_BT: torch.Tensor, estimator: str) -> torch.Tensor:
    """An estimate of KL(pi || reference) at each token from the sampled one alone, in nats: (B, T).

    With u = log pi(a) - log ref(a), a sampled from pi (Schulman, "Approximating KL divergence", 2020):

        k1 = u                   unbiased; negative for half of the tokens
        k2 = u^2 / 2             biased, never negative
        k3 = exp(-u) - 1 + u     unbiased, never negative; its exponential grows fast where pi left the reference

    That is said of the value. In a reward, where no gradient goes through it, only k1 leads to the optimum of reward
    less KL: the policy gradient of k2 or k3 is that of another penalty.

    Raises:
        ValueError: there is no such estimator.
    """
    u_BT = logps_BT - ref_logps_BT
    if estimator == "k1":
        return u_BT
    if estimator == "k2":
        return 0.5 * u_BT.square()
    if estimator == "k3":
        return torch.expm1(-u_BT) + u_BT
    raise ValueError(f"the KL estimator is {estimator!r}; expected k1, k2 or k3.")


def shape_scores(
    scores_B: torch.Tensor, ended_B: torch.Tensor, clip: float | None, missing_eos_penalty: float
) -> torch.Tensor:
    """Scores clipped to [-clip, clip], less the penalty where a response was cut before its EOS: (B,).

    The penalty comes after the clipping, so that a response that was cut always pays it.
    """
    if clip is not None:
        scores_B = scores_B.clamp(-clip, clip)
    return scores_B - missing_eos_penalty * (~ended_B)


def last_token(mask_BT: torch.Tensor) -> torch.Tensor:
    """1 at each row's last token that counts, 0 elsewhere, also in a row where none does: (B, T)."""
    following_BT = torch.nn.functional.pad(mask_BT[:, 1:], (0, 1))
    last_BT: torch.Tensor = mask_BT * (1 - following_BT)
    return last_BT


def token_rewards(scores_B: torch.Tensor, kl_BT: torch.Tensor, mask_BT: torch.Tensor, kl_coef: float) -> torch.Tensor:
    """Equation (1): (B, T). The score stands at the last real token, the EOS where there is one, never on padding."""
    return (scores_B[:, None] * last_token(mask_BT) - kl_coef * kl_BT) * mask_BT


# ------------------------------------------------------------------------------------------------------- advantages


def advantages(
    rewards_BT: torch.Tensor, values_BT: torch.Tensor, mask_BT: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalized advantage estimates, equations (2) and (3), and returns (4): two of (B, T), 0 on padding.

    A response that was cut at the length limit ends there like any other: what it would have earned is unknown, and
    `missing_eos_penalty` is what says that it should have ended.

    Args:
        rewards_BT: equation (1).
        values_BT: V(s_t) of the policy that sampled.
        gamma: discount in [0, 1].
        lam: lambda in [0, 1]; 1 gives the whole return less V, 0 the one-step error delta.
    """
    values_BT = values_BT * mask_BT
    advantages_BT = torch.zeros_like(rewards_BT)
    next_value_B = next_advantage_B = torch.zeros_like(rewards_BT[:, 0])
    for t in reversed(range(rewards_BT.shape[1])):
        delta_B = rewards_BT[:, t] + gamma * next_value_B - values_BT[:, t]
        next_advantage_B = (delta_B + gamma * lam * next_advantage_B) * mask_BT[:, t]
        next_value_B = values_BT[:, t]
        advantages_BT[:, t] = next_advantage_B
    return advantages_BT, advantages_BT + values_BT


def masked_mean(x_BT: torch.Tensor, mask_BT: torch.Tensor, reduce: Reduce = _alone) -> torch.Tensor:
    """The mean over the tokens that count, of all processes: a scalar; 0 where none counts."""
    total, count = reduce(torch.stack([(x_BT * mask_BT).sum(), mask_BT.sum().to(x_BT.dtype)]))
    mean: torch.Tensor = total / count.clamp(min=1.0)
    return mean


def moments(
    x_BT: torch.Tensor, mask_BT: torch.Tensor, reduce: Reduce = _alone
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Count, mean and (population) variance over the tokens that count, of all processes: three scalars.

    Two passes, because the difference of the mean square and the squared mean loses its digits to a large mean.
    """
    mean = masked_mean(x_BT, mask_BT, reduce)
    variance = masked_mean((x_BT - mean).square(), mask_BT, reduce)
    return reduce(mask_BT.sum().to(x_BT.dtype)), mean, variance


def whiten(x_BT: torch.Tensor, mask_BT: torch.Tensor, reduce: Reduce = _alone) -> torch.Tensor:
    """Mean 0 and variance 1 over the tokens that count, of all processes: (B, T), 0 on padding.

    The mean is a baseline, and the scale makes the learning rate independent of the reward's unit. As a token is part
    of the mean that is taken off it, the expected gradient shrinks by one part in their number.
    """
    _, mean, variance = moments(x_BT, mask_BT, reduce)
    return (x_BT - mean) * torch.rsqrt(variance + 1e-8) * mask_BT


# ----------------------------------------------------------------------------------------------------------- losses


def policy_loss(
    logps_BT: torch.Tensor,
    old_logps_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    epsilon_low: float,
    epsilon_high: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Equation (5) token by token, and where the clipping cuts the gradient off: (B, T) and (B, T) of bool.

    Args:
        logps_BT: log pi(a_t | s_t), with gradient.
        old_logps_BT: of the policy that sampled.
        epsilon_low, epsilon_high: w is held within [1 - epsilon_low, 1 + epsilon_high]; the same in PPO.
    """
    w_BT = torch.exp(logps_BT - old_logps_BT)
    clipped_BT = w_BT.clamp(1.0 - epsilon_low, 1.0 + epsilon_high)
    low_BT = (w_BT < 1.0 - epsilon_low) & (advantages_BT < 0)
    high_BT = (w_BT > 1.0 + epsilon_high) & (advantages_BT > 0)
    return -torch.minimum(w_BT * advantages_BT, clipped_BT * advantages_BT), low_BT | high_BT


def value_loss(
    values_BT: torch.Tensor, old_values_BT: torch.Tensor, returns_BT: torch.Tensor, clip: float | None
) -> torch.Tensor:
    """Equation (6) token by token: (B, T). `clip` is in units of reward; None: the squared error alone."""
    loss_BT = (values_BT - returns_BT).square()
    if clip is not None:
        held_BT = old_values_BT + (values_BT - old_values_BT).clamp(-clip, clip)
        loss_BT = torch.maximum(loss_BT, (held_BT - returns_BT).square())
    return 0.5 * loss_BT


def approximate_kl(logps_BT: torch.Tensor, old_logps_BT: torch.Tensor) -> torch.Tensor:
    """KL(pi_old || pi) at each token by k3, the tokens being pi_old's: how far the updates have come: (B, T), nats."""
    return kl_estimate(old_logps_BT, logps_BT, "k3")


def unexplained_variance(
    values_BT: torch.Tensor, returns_BT: torch.Tensor, mask_BT: torch.Tensor, reduce: Reduce = _alone
) -> torch.Tensor:
    """Var(R - V) / Var(R), a scalar: 0 for a perfect critic, 1 for a constant one; NaN where all returns are equal.

    Explained variance is 1 less this.
    """
    _, _, error = moments(returns_BT - values_BT, mask_BT, reduce)
    _, _, total = moments(returns_BT, mask_BT, reduce)
    return torch.where(total > 0, error / total, torch.full_like(total, torch.nan))


# ------------------------------------------------------------------------- what is carried from one rollout to the next


@dataclass
class KLController:
    """The coefficient beta of the KL penalty: fixed, or led towards a target (1909.08593, section 2.2).

        e = clip(KL / target - 1, -0.2, 0.2),   beta <- beta (1 + gain e)

    Attributes:
        coef: beta.
        target: nats a response; None keeps beta as it is.
        gain: K_beta of the paper, whose value is 0.1.
    """

    coef: float
    target: float | None = None
    gain: float = 0.1

    def update(self, kl: float) -> None:
        """Takes the mean KL of one rollout, in nats a response."""
        if self.target is not None:
            error = min(max(kl / self.target - 1.0, -0.2), 0.2)
            self.coef *= 1.0 + self.gain * error

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"coef": self.coef}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.coef = state["coef"]


@dataclass
class RewardNormalizer:
    """Mean and variance of all scores seen so far, merged batch by batch (Chan, Golub and LeVeque, 1979, eq. 2.1).

    Scores are shifted by the mean and divided by the standard deviation, so that one KL coefficient and one clipping
    range fit reward models of any unit. The unit grows ever steadier, but it is not fixed: rewards of different steps
    compare only roughly, and what is logged as `reward` is therefore never normalized.
    """

    count: float = 0.0
    mean: float = 0.0
    square: float = 0.0  # sum of squared deviations from the mean

    def update(self, scores_B: torch.Tensor, mask_B: torch.Tensor, reduce: Reduce = _alone) -> None:
        """Takes in the scores of one rollout, of all processes; those whose mask is 0 are left out."""
        count, mean, variance = (float(x) for x in moments(scores_B.double(), mask_B.double(), reduce))
        if count == 0:
            return
        total = self.count + count
        self.square += variance * count + (mean - self.mean) ** 2 * self.count * count / total
        self.mean += (mean - self.mean) * count / total
        self.count = total

    def __call__(self, scores_B: torch.Tensor) -> torch.Tensor:
        """(score - mean) / standard deviation: (B,)."""
        deviation = math.sqrt(self.square / max(self.count, 1.0))
        return (scores_B - self.mean) / max(deviation, 1e-8)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return asdict(self)

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.count, self.mean, self.square = state["count"], state["mean"], state["square"]
