"""How much memory a training takes: the most that its process held, and the bytes of weights in it by role."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from rlaif.models.reward_model import RewardModel
from rlaif.training.ppo.critic import is_critic

__all__ = ["peak_memory", "weights_held"]


def peak_memory() -> int:
    """The most memory that this process held so far, in bytes: of its GPU, or resident where there is none."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss starts, on Linux, at the peak of the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def weights_held(trainer: Any, rewards: Iterable[Any]) -> dict[str, int]:
    """Bytes of weights in this process by role, each counted once; what is shared is the policy's.

    `policy` is base weights and the adapter that trains; `reference` and `reward` are what they add.
    """
    held = dict.fromkeys(("policy", "reference", "critic", "reward"), 0)
    for name, weight in trainer.model.named_parameters():
        role = "critic" if is_critic(name) else next((r for r in ("reference", "reward") if f".{r}." in name), "policy")
        held[role] += weight.nbytes
    if trainer.ref_model is not None:
        held["reference"] += sum(weight.nbytes for weight in trainer.ref_model.parameters())
    for reward in rewards:
        model = getattr(reward, "model", None)
        if isinstance(model, RewardModel):
            held["reward"] += sum(weight.nbytes for weight in model.model.parameters())
    return held
