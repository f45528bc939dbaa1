"""The arithmetic of learning from a probability. Pure functions of tensors; B is the batch axis.

A Bradley-Terry model (1952) says P(chosen preferred) = s(delta), with s the logistic function. Where a judge gives that
probability itself, z, the loss of one pair is the cross-entropy of s(delta) against it:

    CE(z, delta) = -[z log s(delta) + (1 - z) log s(-delta)] = softplus(-delta) + (1 - z) delta        (1)

because log s(-delta) = log s(delta) - delta. Its gradient in delta is s(delta) - z: it vanishes where the model says
what the judge said, so a pair that the judge was unsure of does not push the scores apart for ever. At z = 1 it is the
usual loss of InstructGPT (2203.02155, eq. 1) and of DPO (2305.18290, eq. 7); RLAIF (2309.00267, sec. 2.2.1) trains its
reward model on it.

    reward model    delta = r(x, chosen) - r(x, rejected)
    DPO             delta = beta [log pi(chosen | x) - log pi(rejected | x) - (the same of the reference)]

One z = 1 - eps for all pairs is label smoothing: a share eps of the labels is taken to be wrong, and the optimum is a
finite delta = log((1 - eps) / eps). DPO on it is "conservative DPO" (Mitchell, "A note on DPO with noisy preferences &
relationship to IPO", 2023). Szegedy et al. (1512.00567, sec. 7) mix in a uniform distribution with weight eps', which
over two outcomes is eps = eps' / 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

__all__ = ["dpo_delta", "hard_loss", "margin_loss", "soft_correction", "soft_loss"]


def soft_loss(delta_B: torch.Tensor, z_B: torch.Tensor | float) -> torch.Tensor:
    """Equation (1), pair by pair: (B,), in nats.

    Args:
        delta_B: log-odds that the model gives to chosen, (B,).
        z_B: P(chosen is preferred) in [0, 1], (B,); or one number for all pairs.
    """
    return F.softplus(-delta_B) + soft_correction(delta_B, z_B)


def soft_correction(delta_B: torch.Tensor, z_B: torch.Tensor | float) -> torch.Tensor:
    """(1 - z) delta, what (1) adds to the loss at z = 1: (B,). Added to a trainer's own loss, it makes that soft."""
    return (1.0 - z_B) * delta_B


def hard_loss(delta_B: torch.Tensor) -> torch.Tensor:
    """-log s(delta): the chosen response is preferred, whatever z says: (B,)."""
    return F.softplus(-delta_B)


def margin_loss(delta_B: torch.Tensor, z_B: torch.Tensor) -> torch.Tensor:
    """-log s(delta - margin), Llama 2 (2307.09288, eq. 2): surer pairs must be further apart: (B,).

    The margin is 2z - 1 = P(chosen) - P(rejected), on the scale of Llama 2's small margins (its table 27), and no
    column: TRL's RewardTrainer would subtract one of that name whatever its loss. A margin is no soft label: its
    optimum is delta = infinity for every pair.
    """
    return F.softplus(2.0 * z_B - 1.0 - delta_B)


def dpo_delta(
    chosen_logps_B: torch.Tensor,
    rejected_logps_B: torch.Tensor,
    ref_chosen_logps_B: torch.Tensor,
    ref_rejected_logps_B: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """The difference of DPO's implicit rewards beta log(pi / pi_ref) (2305.18290, eq. 7): (B,).

    Args:
        chosen_logps_B, rejected_logps_B: log-probability of a whole response under the policy, (B,), in nats.
        ref_chosen_logps_B, ref_rejected_logps_B: the same under the reference, (B,).
        beta: strength of the KL penalty; > 0.
    """
    return beta * ((chosen_logps_B - ref_chosen_logps_B) - (rejected_logps_B - ref_rejected_logps_B))
