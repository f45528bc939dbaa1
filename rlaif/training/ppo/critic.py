"""The critic V(s) of PPO: what the state before each token of a response is worth.

    head            a linear map on the policy's last hidden state: one pass through the trunk gives log-probabilities
                    and values, and no second model is held
    separate        a value model of its own, which starts as a copy of the policy
    reward_model    a value model of its own, which starts as the reward model, its head less the zero point: where that
                    is the only reward, neither weighted nor normalized, a whole response's value is its score already

The critic hangs on the policy as its submodule `critic`, so that what wraps the policy (DDP, FSDP, ZeRO, the optimizer)
holds the critic too, and it is computed by a hook inside of the policy's own forward pass, where sharded weights are
whole. It never leaves with the policy: checkpoints keep it in a file of its own, and vLLM does not see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file

from rlaif.models.weights import check_safetensors
from rlaif.training.common import is_peft
from rlaif.training.ppo.settings import CRITICS

__all__ = [
    "CRITICS",
    "CRITIC_FILE",
    "Critic",
    "ValueRecorder",
    "attach_critic",
    "critic_parameters",
    "is_critic",
    "load_critic",
    "restore_critic",
    "save_critic",
    "split_critic",
]

CRITIC_FILE = "critic.safetensors"


class Critic(torch.nn.Module):
    """V(s_t) of every position: a linear head on the policy's hidden states, or on those of its own backbone.

    Args:
        hidden_size: H.
        backbone: a model without a head, None to read the policy's trunk.
        weight, bias: of the head, (1, H) and (1,). By default 0: V = 0 until trained, so that a random head does not
            pull at the trunk, and the first advantages are those of no critic.
    """

    def __init__(
        self,
        hidden_size: int,
        backbone: torch.nn.Module | None = None,
        weight: torch.Tensor | None = None,
        bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = torch.nn.Linear(hidden_size, 1)
        with torch.no_grad():
            self.head.weight.copy_(torch.zeros(1, hidden_size) if weight is None else weight.float())
            self.head.bias.fill_(bias)

    def forward(self, hidden_BTH: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """The value of the state that ends at each position: (B, T), in units of reward, float32.

        Args:
            hidden_BTH: the policy's last hidden states; a backbone of its own reads `input_ids` instead.
            input_ids: (B, T), padded on the right, where no token attends to padding.
        """
        if self.backbone is not None:
            hidden_BTH = self.backbone(input_ids=input_ids, use_cache=False).last_hidden_state
        # In float32: bfloat16 has three digits, and advantages are differences of values. FSDP and DeepSpeed may hand
        # the head over in bfloat16.
        with torch.autocast(hidden_BTH.device.type, enabled=False):
            values_BT1 = F.linear(hidden_BTH.float(), self.head.weight.float(), self.head.bias.float())
        return values_BT1.squeeze(-1)


class ValueRecorder:
    """Catches hidden states and values on their way through the policy's forward pass.

    Attributes:
        detached: whether the value loss stops at the head and leaves the policy's trunk alone.
    """

    def __init__(self, policy: Any, critic: Critic) -> None:
        self.detached = False
        self._critic = critic
        self._values: list[torch.Tensor] | None = None
        self._hidden: torch.Tensor | None = None
        policy.base_model.register_forward_hook(self._keep_hidden)
        policy.register_forward_hook(self._value, with_kwargs=True)

    @contextmanager
    def recording(self) -> Iterator[list[torch.Tensor]]:
        """The values (B, T) of each forward pass inside: position t has the value of the state that ends there."""
        self._values = []
        try:
            yield self._values
        finally:
            self._values = self._hidden = None

    def _keep_hidden(self, module: Any, args: Any, output: Any) -> None:
        if self._values is not None:
            self._hidden = output.last_hidden_state

    def _value(self, module: Any, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        if self._values is None:
            return
        assert self._hidden is not None
        hidden_BTH = self._hidden.detach() if self.detached else self._hidden
        self._values.append(self._critic(hidden_BTH, kwargs["input_ids"]))


def attach_critic(model: Any, critic: Critic) -> ValueRecorder:
    """Hangs `critic` on the policy `model` (under its adapter, where it has one) and returns its recorder."""
    policy = model.get_base_model() if is_peft(model) else model
    policy.critic = critic.to(next(policy.parameters()).device)
    return ValueRecorder(policy, critic)


def load_critic(kind: str, policy: Any, *, value_model: Any = None, reward_model: Any = None) -> Critic | None:
    """The critic that `kind` names, for a policy; None for "none".

    Args:
        kind: one of CRITICS.
        policy: the causal LM whose values are wanted.
        value_model: "separate": another copy of the policy; its head for tokens is dropped.
        reward_model: "reward_model": a `RewardModel`, loaded for this alone, on the policy's tokenizer.

    Raises:
        ValueError: the reward model is no decoder, and sees what comes after a token.
    """
    if kind == "none":
        return None
    if kind == "head":
        return Critic(policy.config.get_text_config().hidden_size)
    if kind == "separate":
        backbone, weight, bias = value_model.base_model, None, 0.0
    else:
        if reward_model.rendering.kind == "pair":
            raise ValueError(
                "the reward model is an encoder, which reads the whole response at every token; a critic has to value "
                "its beginnings. Use critic head or separate."
            )
        model = reward_model.model.merge_and_unload() if is_peft(reward_model.model) else reward_model.model
        backbone, weight, bias = model.base_model, model.score.weight.detach(), -reward_model.zero
    critic = Critic(backbone.config.get_text_config().hidden_size, backbone, weight, bias)
    return critic.requires_grad_(True)


def is_critic(name: str) -> bool:
    """Whether a parameter of the policy belongs to its critic."""
    return "critic" in name.split(".")


def split_critic(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The policy's own weights, and the critic's under their names within it."""
    policy = {name: weight for name, weight in state.items() if not is_critic(name)}
    critic = {name.partition("critic.")[2]: weight for name, weight in state.items() if is_critic(name)}
    return policy, critic


def save_critic(folder: str | Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Writes the critic's weights beside the policy's."""
    save_file(
        {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}, Path(folder) / CRITIC_FILE
    )


def restore_critic(folder: str | Path, critic: Critic) -> None:
    """Reads what `save_critic` wrote; a ValueError where it is missing or not whole."""
    file = Path(folder) / CRITIC_FILE
    if not file.is_file():
        raise ValueError(
            f"{file} is not there, and without it the critic would begin anew; go on from another checkpoint, or start "
            "without one."
        )
    check_safetensors(file)
    critic.load_state_dict(load_file(file))


def critic_parameters(parameters: Iterable[tuple[str, torch.Tensor]]) -> list[torch.Tensor]:
    """Those that belong to the critic and are trained."""
    return [weight for name, weight in parameters if is_critic(name) and weight.requires_grad]
