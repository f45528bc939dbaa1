"""The models of PPO from its settings: policy, reference, critic, and a reward model on the policy's own weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from rlaif.reward_model import RewardModel
from rlaif.training.common import is_peft
from rlaif.training.critic import Critic, load_critic
from rlaif.training.models import ModelConfig, base_model, load_policy, lora
from rlaif.training.ppo_config import PPOConfig
from rlaif.training.roles import add_reference, shared_reward_model

__all__ = ["PPOModels", "check_models", "load_models", "weights_held"]


@dataclass
class PPOModels:
    """What PPO computes with.

    Attributes:
        policy: a causal LM, or a PeftModel of one with the adapters of its roles.
        reference: None where it is under the policy's adapter, or there is no KL to take.
        critic: None where there is none.
        reward_model: the one on the policy's weights, None where every reward model has its own.
    """

    policy: Any
    reference: Any
    critic: Critic | None
    reward_model: RewardModel | None


def check_models(config: ModelConfig, args: PPOConfig, reward_models: list[str]) -> None:
    """A ValueError for settings that do not fit each other; nothing is loaded."""
    if args.share_backbone:
        if not config.lora:
            raise ValueError(
                "share_backbone is set without lora: a policy that is trained in full leaves no weights to share. Add "
                "--lora true."
            )
        if len(reward_models) != 1:
            raise ValueError(
                f"share_backbone is set, and rewards name {len(reward_models)} reward models; expected exactly one."
            )
        if args.fsdp or args.deepspeed or args.distributed_state.distributed_type in ("FSDP", "DEEPSPEED"):
            raise ValueError(
                "share_backbone does not work on sharded weights; use DDP (recipes/accelerate/ddp.yaml) or one process."
            )
    if args.critic == "reward_model" and not reward_models:
        raise ValueError("critic is reward_model, but rewards name none; add one, or use critic head or separate.")


def load_models(config: ModelConfig, args: PPOConfig, tokenizer: Any, reward_models: list[str]) -> PPOModels:
    """Loads the models of a PPO run.

    Args:
        config: the policy's.
        args: PPO's.
        tokenizer: the policy's.
        reward_models: folders of the rewards that are reward models.

    Raises:
        ValueError: a model cannot be loaded, or does not fit the others.
    """
    check_models(config, args, reward_models)
    assert config.model is not None
    policy = load_policy(config, tokenizer)
    critic = _load_critic(config, args, tokenizer, policy, reward_models)
    reference = shared = None
    if config.lora:
        if is_peft(policy):
            if args.kl_coef > 0.0:
                add_reference(policy)
        else:
            from peft import get_peft_model

            policy = get_peft_model(policy, lora(config))
        if args.share_backbone:
            shared = shared_reward_model(
                policy, base_model(config.model), config.load_in_4bit, config.dtype, reward_models[0]
            )
    elif args.kl_coef > 0.0:
        reference = load_policy(config, tokenizer, trainable=False).requires_grad_(False).eval()
    return PPOModels(policy, reference, critic, shared)


def _load_critic(
    config: ModelConfig, args: PPOConfig, tokenizer: Any, policy: Any, reward_models: list[str]
) -> Critic | None:
    policy = policy.get_base_model() if is_peft(policy) else policy
    if args.critic == "separate":
        # Trained in full, so that it is whole and not quantized, whatever the policy is.
        value_model = load_policy(replace(config, lora=False, load_in_4bit=False), tokenizer)
        return load_critic("separate", policy, value_model=value_model)
    if args.critic == "reward_model":
        from rlaif.rendering import Rendering

        reward_model = RewardModel.load(reward_models[0], dtype=config.dtype, load_in_4bit=False)
        if reward_model.rendering != Rendering.of(tokenizer):
            raise ValueError(
                f"{reward_models[0]} has another tokenizer or rendering than {config.model}, so it cannot value the "
                "policy's tokens (as a reward it can score their text); use critic head or separate."
            )
        return load_critic("reward_model", policy, reward_model=reward_model)
    return load_critic(args.critic, policy)


def weights_held(trainer: Any, rewards: Iterable[Any]) -> dict[str, int]:
    """Bytes of weights in this process by role, each counted once; what is shared is the policy's.

    `policy` is base weights and the adapter that trains; `reference` and `reward` are what they add.
    """
    from rlaif.training.critic import is_critic

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
