"""One backbone, four roles: policy, reference, reward model and critic on a single set of base weights.

    policy      the adapter "default", the only one that trains
    reference   the base weights with all adapters off; or, where training goes on from an adapter (recipes/sft.py with
                --lora true), that adapter's frozen copy "reference"
    reward      the frozen adapter "reward", from a reward model that was trained with LoRA on the same base model
    critic      a linear head on the policy's hidden states (rlaif.training.ppo.critic)

The base weights are held once, in 4 bits by choice; each role adds no more than an adapter or a head. PEFT freezes an
adapter that is switched off and, switched on again, makes it trainable whatever it was before: `using_adapter` puts
both back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rlaif.models.reward_model import RewardModel, RewardModelCard
from rlaif.training.common import is_peft
from rlaif.training.ppo.critic import is_critic

__all__ = ["add_reference", "as_reference", "check_trainable", "shared_reward_model", "using_adapter"]

POLICY, REFERENCE, REWARD = "default", "reference", "reward"


@contextmanager
def using_adapter(model: Any, name: str) -> Iterator[None]:
    """`model` with the adapter `name` active and frozen, in evaluation mode; afterwards all is as it was before."""
    before, training = model.active_adapter, model.training
    trainable = {weight: weight.requires_grad for weight in model.parameters()}
    model.set_adapter(name, inference_mode=True)
    model.eval()
    try:
        yield
    finally:
        model.set_adapter(before)
        model.train(training)
        for weight, wanted in trainable.items():
            weight.requires_grad_(wanted)


def add_reference(model: Any) -> None:
    """Gives a PeftModel a frozen copy of its adapter, which stays where the policy starts."""
    model.add_adapter(REFERENCE, model.peft_config[POLICY])
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            if f".{POLICY}." in name:
                copy = weights[name.replace(f".{POLICY}.", f".{REFERENCE}.")]
                copy.data = weight.detach().clone()
                copy.requires_grad_(False)


def as_reference(model: Any) -> Any:
    """A context in which the PeftModel `model` is the reference."""
    if REFERENCE in model.peft_config:
        return using_adapter(model, REFERENCE)
    return model.disable_adapter()


def check_trainable(model: Any) -> None:
    """Asserts what trains: the policy's adapter (or all of its weights, without one) and the critic; nothing else."""
    for name, weight in model.named_parameters():
        trained = is_critic(name) or not is_peft(model) or f".{POLICY}." in name
        assert weight.requires_grad == trained, f"{name} {'is frozen' if trained else 'would be trained'}"


def shared_reward_model(policy: Any, base: str, load_in_4bit: bool, dtype: str, path: str | Path) -> RewardModel:
    """A LoRA reward model on the policy's own base weights: its adapter and head are all that is added.

    It scores what `RewardModel.load(path)` would, without that model's base weights.

    Args:
        policy: a PeftModel of a causal LM.
        base: the folder or Hub id of its base model.
        load_in_4bit, dtype: how that was loaded.
        path: the reward model's folder.

    Raises:
        ValueError: the reward model is no adapter, or one of other weights.
    """
    from rlaif.models.loading import quiet

    card = RewardModelCard.read(path)
    file = Path(path) / "adapter_config.json"
    if not file.is_file():
        raise ValueError(
            f"{path} is a whole model, which cannot share the policy's weights; train the reward model with --lora "
            "true on the policy's base model, or set --share_backbone false."
        )
    row = json.loads(file.read_text(encoding="utf-8"))
    got = (row["base_model_name_or_path"], card.load_in_4bit, card.dtype)
    if (_place(got[0]), *got[1:]) != (_place(base), load_in_4bit, dtype):
        raise ValueError(
            f"{path} is an adapter of {got[0]} (load_in_4bit {got[1]}, {got[2]}), but the policy's weights are {base} "
            f"(load_in_4bit {load_in_4bit}, {dtype}), on which it would score differently. Train both on the same base "
            "model in the same precision, or set --share_backbone false."
        )
    tokenizer, rendering = card.reader(path)
    with quiet():
        scorer = _AdapterScorer(policy, path)
    return RewardModel(scorer, tokenizer, rendering, card)


def _place(model: str) -> str:
    """A folder by its whole path, a Hub id as it is."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model


class _AdapterScorer(torch.nn.Module):
    """The policy's backbone under the reward adapter, with the reward model's own head: called like a one-label model.

    The policy is kept out of its submodules: it is the trainer's, and is scored with, not held.
    """

    def __init__(self, policy: Any, path: str | Path) -> None:
        from peft import PeftConfig
        from peft.utils import load_peft_weights, set_peft_model_state_dict

        super().__init__()
        config: Any = PeftConfig.from_pretrained(str(path))
        weights = load_peft_weights(str(path), device="cpu")
        heads = {name: weight for name, weight in weights.items() if "lora_" not in name}
        name = next((name for name in heads if name.endswith("score.weight")), None)
        if name is None or len(heads) > 1:
            raise ValueError(
                f"{path} holds the trained modules {', '.join(sorted(heads)) or 'none'} beside its adapter; a "
                "decoder's `score.weight` alone can be put on the policy's weights. Set --share_backbone false."
            )
        config.modules_to_save = config.exclude_modules = None
        config.task_type = "CAUSAL_LM"
        config.inference_mode = True
        if config.target_modules and "lm_head" in config.target_modules:
            raise ValueError(f"{path} adapts the language model's head, which a reward model does not have.")
        policy.add_adapter(REWARD, config)
        outcome = set_peft_model_state_dict(
            policy, {n: w for n, w in weights.items() if "lora_" in n}, adapter_name=REWARD
        )
        missing = [n for n in outcome.missing_keys if f".{REWARD}." in n]
        if missing or outcome.unexpected_keys:
            raise ValueError(
                f"{path}'s adapter does not fit the policy: {', '.join([*missing, *outcome.unexpected_keys][:3])}. Set "
                "--share_backbone false."
            )
        for name_, weight in policy.named_parameters():
            if f".{REWARD}." in name_:
                weight.requires_grad_(False)
        self._policy = [policy]
        self.score = torch.nn.Parameter(heads[name], requires_grad=False)

    @property
    def config(self) -> Any:
        """The policy's."""
        return self._policy[0].config

    @property
    def device(self) -> Any:
        """The policy's: where the trainer has put it."""
        return next(self._policy[0].parameters()).device

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool = False) -> Any:
        """Scores at each row's last token that is not padding: `.logits` of shape (B, 1)."""
        policy = self._policy[0]
        with using_adapter(policy, REWARD):
            hidden_BTH = (
                policy.get_base_model()
                .base_model(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)
                .last_hidden_state
            )
        last_B = attention_mask.sum(-1) - 1
        hidden_BH = hidden_BTH[torch.arange(len(last_B), device=last_B.device), last_B]
        logits = torch.nn.functional.linear(hidden_BH.to(self.score.dtype), self.score.to(hidden_BH.device))
        return _Scores(logits)


class _Scores:
    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits
