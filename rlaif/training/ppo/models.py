"""The models of PPO from its settings: policy, reference, critic, and a reward model on the policy's own weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rlaif.config import UsageError
from rlaif.models.reward_model import RewardModel
from rlaif.training.common import is_peft
from rlaif.training.models import ModelConfig, base_model, load_policy, lora
from rlaif.training.ppo.config import PPOConfig
from rlaif.training.ppo.critic import Critic, load_critic
from rlaif.training.ppo.roles import add_reference, shared_reward_model

__all__ = ["PPOModels", "check_models", "load_models"]


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
    """A UsageError for settings that do not fit each other; nothing is loaded."""
    if args.share_backbone:
        if not config.lora:
            raise UsageError(
                "share_backbone is set without lora: a policy that is trained in full leaves no weights to share. Add "
                "--lora true."
            )
        if len(reward_models) != 1:
            raise UsageError(
                f"share_backbone is set, and rewards name {len(reward_models)} reward models; expected exactly one."
            )
        if args.fsdp or args.deepspeed or args.distributed_state.distributed_type in ("FSDP", "DEEPSPEED"):
            raise UsageError(
                "share_backbone does not work on sharded weights; use DDP (recipes/accelerate/ddp.yaml) or one process."
            )
    if args.critic == "reward_model" and len(reward_models) != 1:
        raise UsageError(
            f"critic is reward_model, but rewards name {len(reward_models)}; expected one that it can start from, or "
            "critic head or separate."
        )
    if args.critic_warmup_steps and (args.deepspeed or args.distributed_state.distributed_type == "DEEPSPEED"):
        raise UsageError(
            "critic_warmup_steps does not work under DeepSpeed, which steps all weights alike; set it to 0."
        )


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
        from rlaif.models.rendering import Rendering

        reward_model = RewardModel.load(
            reward_models[0], dtype=config.dtype, load_in_4bit=False, trust_remote_code=config.trust_remote_code
        )
        if reward_model.rendering != Rendering.of(tokenizer):
            raise ValueError(
                f"{reward_models[0]} has another tokenizer or rendering than {config.model}, so it cannot value the "
                "policy's tokens (as a reward it can score their text); use critic head or separate."
            )
        return load_critic("reward_model", policy, reward_model=reward_model)
    return load_critic(args.critic, policy)
