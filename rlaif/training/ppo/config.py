"""Settings of PPO: TRL's GRPOConfig, what PPO needs besides, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from trl import GRPOConfig

from rlaif.config import UsageError
from rlaif.errors.words import one_of, shown
from rlaif.training.ppo.settings import PPOSettings

__all__ = ["PPOConfig"]


@dataclass
class PPOConfig(PPOSettings, GRPOConfig):  # type: ignore[misc]
    """TRL's GRPOConfig and what PPO needs besides. A *rollout* is TRL's generation batch:

    responses of a rollout    per_device_train_batch_size * processes * steps_per_generation
    optimizer steps on it     num_iterations * steps_per_generation / gradient_accumulation_steps
    """

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
                raise ValueError(f"{name} is {shown(getattr(self, name))}; {one_of(getattr(self, name), choices)}")
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
