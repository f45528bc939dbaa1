"""KL of a policy to its reference, in nats per response, with less noise than log-ratios of samples have.

By the chain rule over the tokens y_1 ... y_T of a response to x (EOS the last of them),

    KL(pi || ref) = E_{y ~ pi} sum_t KL(pi(. | x, y_<t) || ref(. | x, y_<t)),

and each inner KL is a sum over the vocabulary that the two models' logits give exactly. Only the prefixes y_<t are
sampled: the Rao-Blackwellised estimator of Amini et al., "Better Estimation of the KL Divergence Between Language
Models" (2504.10637). It is unbiased, never negative, and its variance is at most that of sum_t log pi(y_t)/ref(y_t).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlaif.models.rendering import Encoded

__all__ = ["response_kl", "token_budget", "token_kl"]

_CHUNK = 2**24  # logits turned to float32 at a time: 64 MiB for each of the few tensors in flight


def token_budget(vocabulary: int) -> int:
    """Tokens that may go through the models together, so that one model's logits stay within 1 GiB of float32."""
    return min(2**14, max(1, 2**28 // vocabulary))


def token_kl(policy_logits_NV: torch.Tensor, reference_logits_NV: torch.Tensor) -> torch.Tensor:
    """KL(policy || reference) of N next-token distributions, in nats: (N,), float32.

    Args:
        policy_logits_NV, reference_logits_NV: unnormalised log-probabilities over V tokens: (N, V).
    """
    rows = max(1, _CHUNK // policy_logits_NV.shape[-1])
    kl = []
    for p_NV, q_NV in zip(torch.split(policy_logits_NV, rows), torch.split(reference_logits_NV, rows), strict=True):
        logp_NV, logq_NV = p_NV.float().log_softmax(-1), q_NV.float().log_softmax(-1)
        # A token of probability 0 adds nothing, also where both log-probabilities are -inf.
        kl.append(torch.where(logp_NV > -torch.inf, logp_NV.exp() * (logp_NV - logq_NV), 0.0).sum(-1))
    return torch.cat(kl)


@torch.inference_mode()
def response_kl(policy: Any, reference: Any, batch: Sequence[Encoded], pad_id: int) -> NDArray[np.float64]:
    """KL(policy || reference) summed over each response's positions, in nats: (B,).

    Args:
        policy, reference: causal LMs over the same V tokens.
        batch: B prompts with responses that the policy sampled, ending in EOS where it did.
        pad_id: any token: padding stands to the right, where no real token attends to it.
    """
    lengths = [len(row) for row in batch]
    start = min(len(row.prompt_ids) for row in batch)
    keep = max(lengths) - start + 1  # from the position that predicts the first response token of any row
    ids_BT = torch.full((len(batch), max(lengths)), pad_id)
    mask_BT = torch.zeros_like(ids_BT)
    response_BT = torch.zeros(ids_BT.shape, dtype=torch.bool)  # positions that predict a response token
    for i, row in enumerate(batch):
        ids_BT[i, : len(row)] = torch.tensor(row.ids)
        mask_BT[i, : len(row)] = 1
        response_BT[i, len(row.prompt_ids) - 1 : len(row) - 1] = True
    response_BK = response_BT[:, -keep:]
    policy_NV = _kept_logits(policy, ids_BT, mask_BT, response_BK)
    reference_NV = _kept_logits(reference, ids_BT, mask_BT, response_BK)
    kl_BK = torch.zeros(response_BK.shape, dtype=torch.float64)
    kl_BK[response_BK] = token_kl(policy_NV, reference_NV.to(policy_NV.device)).double().cpu()
    return np.asarray(kl_BK.sum(-1).numpy())


def _kept_logits(model: Any, ids_BT: torch.Tensor, mask_BT: torch.Tensor, keep_BK: torch.Tensor) -> torch.Tensor:
    """The logits at the positions of `keep_BK`, which are among the last K of each row: (N, V)."""
    size = keep_BK.shape[1]
    # The head is the larger part of a small model with a large vocabulary: it is not run on the prompt.
    some = {"logits_to_keep": size} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    logits_BKV = model(
        input_ids=ids_BT.to(model.device), attention_mask=mask_BT.to(model.device), use_cache=False, **some
    ).logits
    kept: torch.Tensor = logits_BKV[:, -size:][keep_BK.to(logits_BKV.device)]
    return kept
