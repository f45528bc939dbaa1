"""Settings of PPO beside TRL's GRPOConfig. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from rlaif.settings.declared import Around, described
from rlaif.training.settings import UNUSED, Defaults

__all__ = ["CRITICS", "PPO", "PPOSettings"]

CRITICS = ("head", "separate", "reward_model", "none")


@described(
    headings={
        "kl_coef": "KL",
        "gamma": "advantages and critic",
        "normalize_reward": "reward",
    },
    also={
        # as TRL's PPOConfig had them
        "num_iterations": ("num_ppo_epochs",),
        "gae_lambda": ("lam",),
        "value_coef": ("vf_coef",),
        "value_clip": ("cliprange_value",),
        "epsilon": ("cliprange",),
        "max_completion_length": ("response_length",),
    },
    spelled={"max_completion_length": "max_new_tokens"},
)
@dataclass
class PPOSettings(Defaults):
    """What PPO needs beside TRL's GRPOConfig, and what it refuses of it."""

    num_generations: int | None = field(default=1, metadata={"help": "Responses to each prompt in a rollout."})
    num_iterations: int = field(default=4, metadata={"help": "PPO epochs: how often a rollout is learned from."})
    disable_dropout: bool = field(
        default=True, metadata={"help": "With dropout the ratio of new to old probability is not 1 at the start."}
    )
    kl_coef: float = field(
        default=0.05, metadata={"help": "beta: reward taken off for each nat of KL to the reference; 0: no reference."}
    )
    kl_estimator: str = field(
        default="k1",
        metadata={"help": "Of the KL in the reward, see rlaif.training.ppo.arithmetic.", "choices": ["k1", "k2", "k3"]},
    )
    kl_target: float | None = field(
        default=None,
        metadata={"help": "Adapt kl_coef towards this KL, in nats a response (1909.08593); null: kl_coef is fixed."},
    )
    kl_gain: float = field(default=0.1, metadata={"help": "With kl_target: K_beta, how fast kl_coef moves."})
    gamma: float = field(default=1.0, metadata={"help": "Discount of a token's reward, in [0, 1]."})
    gae_lambda: float = field(default=0.95, metadata={"help": "lambda of GAE (1506.02438), in [0, 1]."})
    whiten_advantages: bool = field(
        default=True, metadata={"help": "Mean 0 and variance 1 over the tokens of a rollout, of all processes."}
    )
    critic: str = field(
        default="head",
        metadata={
            "help": "'head' on the policy's trunk; 'separate': a value model of its own, first a copy of the policy; "
            "'reward_model': one that is first the reward model; 'none'.",
            "choices": list(CRITICS),
        },
    )
    critic_learning_rate: float | None = field(default=None, metadata={"help": "Default: 10 times learning_rate."})
    critic_warmup_steps: int = field(
        default=0, metadata={"help": "Optimizer steps at the start that train the critic alone, and no trunk."}
    )
    value_coef: float = field(default=0.1, metadata={"help": "Weight of the value loss beside the policy loss."})
    # In the reward's own unit, so that no default fits all; and a study of 250,000 agents found that it does not help
    # (2006.05990, section 3.2).
    value_clip: float | None = field(
        default=None, metadata={"help": "How far a value may move from its old one, in units of reward; null: freely."}
    )
    normalize_reward: bool = field(
        default=False, metadata={"help": "Scores less their running mean, over their running standard deviation."}
    )
    reward_clip: float | None = field(
        default=None, metadata={"help": "Scores (normalized, where they are) are held in [-reward_clip, reward_clip]."}
    )
    missing_eos_penalty: float = field(
        default=1.0,
        metadata={"help": "Taken off the score of a response that was cut at max_new_tokens."},
    )
    score_batch_size: int | None = field(
        default=None,
        metadata={"help": "Responses in a forward pass without gradient. Default: 4 per_device_train_batch_size."},
    )
    share_backbone: bool = field(
        default=False,
        metadata={"help": "With lora: the reward model is a second adapter on the policy's own weights."},
    )

    refused: ClassVar[dict[str, tuple[Any, str]]] = {
        **Defaults.refused,
        "beta": (0.0, "The KL is in the reward: use --kl_coef."),
        "loss_type": ("dapo", "PPO's clipped loss, as a mean over tokens, is the one there is."),
        "scale_rewards": ("group", "Advantages are PPO's: use --whiten_advantages."),
        "multi_objective_aggregation": ("sum_then_normalize", "Scores are added up with --reward_weights."),
        "importance_sampling_level": ("token", "PPO's ratio is a token's."),
        "delta": (None, "Use --epsilon and --epsilon_high."),
        "top_entropy_quantile": (1.0, "All tokens are learned from."),
        "mask_truncated_completions": (False, "Use --missing_eos_penalty."),
        "off_policy_mask_threshold": (None, "The clipping bounds what is off the policy."),
        "use_bias_correction_kl": (True, "The KL is in the reward."),
        "use_adaptive_entropy": (False, "Use --entropy_coef."),
        "sync_ref_model": (False, "The reference stays where it is."),
        "label_smoothing_factor": (0.0, "It acts on token labels, which PPO's loss has not."),
        "cast_lm_head_to_fp32": (False, "Log-probabilities are computed in float32 already."),
        "use_liger_kernel": (False, "TRL fuses the head itself."),
        "chat_template_kwargs": (None, "Prompts are rendered as SFT, DPO and scoring render them."),
        "top_p": (1.0, "PPO's ratio is that of the whole distribution, which must be sampled from."),
        "top_k": (0, "PPO's ratio is that of the whole distribution, which must be sampled from."),
        "min_p": (None, "PPO's ratio is that of the whole distribution, which must be sampled from."),
        "repetition_penalty": (1.0, "PPO's ratio is that of the whole distribution, which must be sampled from."),
        "shuffle_dataset": (True, "The order of the prompts follows from seed and epoch."),
        **dict.fromkeys(
            (
                *("sapo_temperature_neg", "sapo_temperature_pos", "ref_model_mixup_alpha", "ref_model_sync_steps"),
                *("entropy_coef_delta", "entropy_coef_max", "entropy_coef_min", "entropy_target"),
                *("vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg", "max_tool_calling_iterations"),
            ),
            (UNUSED, "It belongs to something that PPO does not do."),
        ),
        "vllm_importance_sampling_cap": (None, "Use --vllm_importance_sampling_clip_max."),
    }


PPO = Around(
    PPOSettings,
    "trl.GRPOConfig",
    "rlaif.training.ppo.config.PPOConfig",
    "PPO",
    (
        *("max_completion_length", "temperature", "reward_weights", "steps_per_generation", "epsilon", "epsilon_high"),
        *("log_completions", "use_vllm"),
    ),
    (("model", "policy"),),
)
