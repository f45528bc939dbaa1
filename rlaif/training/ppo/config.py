"""Settings of PPO: TRL's GRPOConfig, what PPO needs besides, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from trl import GRPOConfig

from rlaif.config import UsageError
from rlaif.errors.words import shown
from rlaif.training.common import Defaults
from rlaif.training.ppo.critic import CRITICS

__all__ = ["PPOConfig"]


@dataclass
class PPOConfig(Defaults, GRPOConfig):  # type: ignore[misc]
    """TRL's GRPOConfig and what PPO needs besides. A *rollout* is TRL's generation batch:

    responses of a rollout    per_device_train_batch_size * processes * steps_per_generation
    optimizer steps on it     num_iterations * steps_per_generation / gradient_accumulation_steps
    """

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
        metadata={"help": "Taken off the score of a response that was cut at max_completion_length."},
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
        **{
            name: (GRPOConfig.__dataclass_fields__[name].default, "It belongs to something that PPO does not do.")
            for name in (
                *("sapo_temperature_neg", "sapo_temperature_pos", "ref_model_mixup_alpha", "ref_model_sync_steps"),
                *("entropy_coef_delta", "entropy_coef_max", "entropy_coef_min", "entropy_target"),
                *("vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg", "max_tool_calling_iterations"),
            )
        },
        "vllm_importance_sampling_cap": (None, "Use --vllm_importance_sampling_clip_max."),
    }

    def __post_init__(self) -> None:
        held_out: int | None = self.num_generations_eval  # type: ignore[has-type]
        if held_out not in (None, 1):
            raise ValueError(f"num_generations_eval is {held_out}; held-out prompts are answered once.")
        self.num_generations_eval = 1
        try:
            super().__post_init__()
        except ValueError as error:
            # GRPO's baseline needs two responses to a prompt; PPO's is the critic.
            if self.num_generations != 1 or "at least 2 generations" not in str(error):
                raise
            self._check_vllm_clips()
        if self.score_batch_size is None:
            self.score_batch_size = 4 * self.per_device_train_batch_size
        if self.critic_learning_rate is None:
            self.critic_learning_rate = 10.0 * self.learning_rate
        self._check_ranges()
        self._check_cycle()

    def _check_vllm_clips(self) -> None:
        """What TRL checks after the number of generations, and did not come to."""
        low, high = self.vllm_importance_sampling_clip_min, self.vllm_importance_sampling_clip_max
        if low is not None and high is not None and low >= high:
            raise ValueError(
                f"vllm_importance_sampling_clip_min is {low} and vllm_importance_sampling_clip_max {high}; expected "
                "the first to be less."
            )
        truncates = self.vllm_importance_sampling_mode.endswith("truncate")
        if self.vllm_importance_sampling_correction and truncates and low is None and high is None:
            raise ValueError(
                f"vllm_importance_sampling_mode is {self.vllm_importance_sampling_mode}, with neither "
                "vllm_importance_sampling_clip_min nor vllm_importance_sampling_clip_max; expected one of them."
            )

    def _check_ranges(self) -> None:
        for name in ("kl_estimator", "critic"):
            choices = self.__dataclass_fields__[name].metadata["choices"]
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {shown(getattr(self, name))}; expected one of {', '.join(choices)}.")
        for name in set(self.generation_kwargs or {}) & set(self.refused):
            raise ValueError(f"generation_kwargs has {name!r}. {self.refused[name][1]}")
        for name in ("gamma", "gae_lambda"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number in [0, 1].")
        for name in ("kl_coef", "value_coef", "missing_eos_penalty", "critic_warmup_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0 or more.")
        for name in ("kl_target", "reward_clip", "value_clip", "temperature", "score_batch_size", "num_iterations"):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0.")
        if self.kl_target is not None and self.kl_coef == 0.0:
            raise ValueError("kl_target is set, but kl_coef is 0, and 0 times anything stays 0; start from 0.05, say.")
        if self.critic == "none" and self.critic_warmup_steps:
            raise ValueError("critic_warmup_steps is set, but critic is none; expected a critic, or no steps.")

    def _check_cycle(self) -> None:
        """A rollout has to be learned from in whole optimizer steps, and a run to stop and save between rollouts."""
        if self.steps_per_generation % self.gradient_accumulation_steps:
            raise ValueError(
                f"a rollout has {self.steps_per_generation} micro-batches (steps_per_generation), which optimizer "
                f"steps of {self.gradient_accumulation_steps} (gradient_accumulation_steps) do not divide; expected a "
                "multiple."
            )
        cycle = self.steps_per_rollout
        for name, in_use in (("save_steps", str(self.save_strategy.value) == "steps"), ("max_steps", True)):
            steps = getattr(self, name)
            if in_use and steps > 0 and steps % cycle:
                below = int(steps // cycle * cycle)
                raise ValueError(
                    f"{name} is {steps:g}, but a rollout is learned from in {cycle} optimizer steps, and only "
                    f"a checkpoint between two rollouts can be resumed exactly; expected a multiple of {cycle}, "
                    f"such as {below + cycle}."
                )

    def check_data(self, prompts: int, rewards: int) -> None:
        """A ValueError unless there are prompts enough for one rollout, and a weight for each reward."""
        wanted = self.generation_batch_size // self.num_generations
        if prompts < wanted:
            raise ValueError(
                f"there are {prompts} prompts, but one rollout takes {wanted} (generation_batch_size / "
                "num_generations); give more prompts, or lower per_device_train_batch_size or steps_per_generation."
            )
        if self.reward_weights is not None and len(self.reward_weights) != rewards:
            raise UsageError(
                f"reward_weights has {len(self.reward_weights)} numbers for {rewards} rewards; expected one each."
            )

    @property
    def steps_per_rollout(self) -> int:
        """Optimizer steps from one rollout to the next."""
        return int(self.num_iterations * self.steps_per_generation // self.gradient_accumulation_steps)
