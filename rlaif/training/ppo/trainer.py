"""Proximal policy optimization on TRL's GRPOTrainer: its generation, buffering and launching, PPO's learning.

GRPOTrainer 1.16 brings what is not particular to an algorithm: generation (transformers, continuous batching, vLLM in
its own process or in this one, with the correction for its other probabilities), the buffer from which one rollout is
learned from several times, DDP, FSDP and DeepSpeed. Overridden is what makes it GRPO:

    _tokenize_prompts                     prompts in the rendering that SFT, DPO and scoring use
    _get_per_token_logps_and_entropies    log-probabilities and values from one pass, without the padding
    _generate_single_turn                 from the policy's own distribution, whatever its generation config adds
    _calculate_rewards                    keeps each response's own scores
    _generate_and_score_completions       TRL's, then values, KL, rewards of tokens, GAE (rlaif.training.ppo.arithmetic)
    _prepare_inputs                       the rollout in another order in each PPO epoch, and with less padding
    _compute_loss                         clipped policy loss and clipped value loss
    evaluate                              the held-out prompts (rlaif.assess.overoptimization)
    create_optimizer                      the critic's own learning rate
    _get_train_sampler                    an order of the prompts that follows from the epoch, also after a resume
    _save, _save_beside, _load_...        the critic beside the policy; KL coefficient, normalizer, held-out checks

The loss of an optimizer step is a sum over its tokens, in all processes and micro-batches, over the number of tokens
that a step of this rollout has on average ("dapo" in TRL's words): neither the number of processes nor the size of a
micro-batch changes it, and every token of a rollout weighs the same.
"""

from __future__ import annotations

import copy
import json
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOTrainer
from trl.models import prepare_deepspeed, prepare_fsdp
from trl.trainer.utils import (
    RepeatSampler,
    add_fused_lm_head,
    disable_dropout_in_model,
    shuffle_sequence_dict,
    split_tensor_dict,
)

from rlaif.assess.drawn import prompt_key
from rlaif.assess.overoptimization import Check
from rlaif.files.sources import write_json
from rlaif.models.drawing import own_distribution
from rlaif.models.loading import quiet
from rlaif.models.rendering import Rendering
from rlaif.models.spelling import Spelling
from rlaif.training.common import Shared, is_peft
from rlaif.training.ppo import arithmetic
from rlaif.training.ppo.config import PPOConfig
from rlaif.training.ppo.critic import (
    Critic,
    attach_critic,
    critic_parameters,
    is_critic,
    restore_critic,
    save_critic,
    split_critic,
)
from rlaif.training.ppo.roles import as_reference, check_trainable

__all__ = ["STATE_FILE", "PPOTrainer"]

STATE_FILE = "ppo_state.json"


class _Tokens(NamedTuple):
    """Prompts (B, P), padded on the left, and their responses (B, T), padded on the right; masks are 1 on tokens."""

    prompt_ids: torch.Tensor
    prompt_mask: torch.Tensor
    completion_ids: torch.Tensor
    completion_mask: torch.Tensor

    @classmethod
    def of(cls, batch: Mapping[str, torch.Tensor]) -> _Tokens:
        """Those of TRL's batch."""
        return cls(*(batch[name] for name in cls._fields))

    def rows(self, rows_R: torch.Tensor) -> _Tokens:
        """The rows `rows_R`, without the columns that are padding in all responses of them."""
        part = _Tokens(*(tensor[rows_R] for tensor in self))
        width = int(part.completion_mask.sum(1).max())
        return part._replace(
            completion_ids=part.completion_ids[:, :width], completion_mask=part.completion_mask[:, :width]
        )

    def joined(self, padding: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Each prompt and its response in one piece, padded on the right: ids (B, W), mask (B, W), prompt lengths (B,).

        As in generation, in SFT and in DPO every prompt begins at position 0, and no token attends to padding.
        """
        prompt_B, response_B = self.prompt_mask.sum(1), self.completion_mask.sum(1)
        ids = torch.cat([self.prompt_ids, self.completion_ids], dim=1)
        column_W = torch.arange(int((prompt_B + response_B).max()), device=ids.device)
        mask_BW = column_W < (prompt_B + response_B)[:, None]
        shift_B = self.prompt_ids.shape[1] - prompt_B
        ids_BW = ids.gather(1, (column_W + shift_B[:, None]).clamp(max=ids.shape[1] - 1))
        return ids_BW.masked_fill(~mask_BW, padding), mask_BW.long(), prompt_B


class _Outputs(NamedTuple):
    """Of each response token: log-probability and entropy of its distribution in nats, value before it; (B, T), and an
    MoE's balancing loss. 0 on padding, and where values were not asked for."""

    logps_BT: torch.Tensor
    entropies_BT: torch.Tensor
    values_BT: torch.Tensor
    aux_loss: torch.Tensor | None


class PPOTrainer(Shared, GRPOTrainer):  # type: ignore[misc]
    """PPO. See the module's docstring, and rlaif.training.ppo.arithmetic for the arithmetic.

    Args:
        model: the policy, a causal LM, or a PeftModel whose adapter "default" is trained.
        args: a PPOConfig.
        rewards: functions from prompts and completions to one score each (rlaif.judging.rewards), None where there is
            no score; summed with `args.reward_weights`. A response without a score is left out of the learning and
            counted (`unscored`).
        train_dataset: rows with `prompt`, a string or messages; other columns are passed to the rewards.
        held_out: rows to watch over-optimization on, every `args.eval_steps`; None for no watching.
        watched: rewards that judge `held_out` besides, and are not trained on.
        reference: the frozen reference, None where it is under the policy's adapter or `args.kl_coef` is 0.
        critic: from `rlaif.training.ppo.critic.load_critic`, None for no critic.
        processing_class: tokenizer, padding token set.

    Attributes:
        checks: one `Check` for each time that the held-out prompts were answered.
        last_rollout: of all responses of the newest rollout, of all processes: `prompt` (a number that tells prompts
            apart), `reward` (None where unscored), `kl` (None without a reference), `length`, `ended`.
        samples: responses sampled for training so far, of all processes.
    """

    _tag_names: ClassVar[list[str]] = ["trl", "ppo"]
    _name = "PPO"
    _paper: ClassVar[dict[str, str]] = {
        "title": "Proximal Policy Optimization Algorithms",
        "id": "1707.06347",
        "citation": "@article{schulman2017proximal, title={Proximal Policy Optimization Algorithms}, author={John "
        "Schulman and Filip Wolski and Prafulla Dhariwal and Alec Radford and Oleg Klimov}, year={2017}, "
        "eprint={arXiv:1707.06347}}",
    }

    def __init__(
        self,
        model: Any,
        args: PPOConfig,
        *,
        rewards: Sequence[Callable[..., Any]],
        train_dataset: Any,
        processing_class: Any,
        held_out: Any = None,
        watched: Sequence[Callable[..., Any]] = (),
        reference: Any = None,
        critic: Critic | None = None,
        **kwargs: Any,
    ) -> None:
        args.check_data(len(train_dataset), len(rewards))
        super().__init__(
            model,
            reward_funcs=list(rewards),
            args=args,
            train_dataset=train_dataset,
            eval_dataset=held_out,
            processing_class=processing_class,
            **kwargs,
        )
        self.rendering = Rendering.of(processing_class)
        self._hidden = Spelling.of(processing_class).hidden
        # Where TRL's text of a response is another: it leaves out what is special, which an end of a turn need not be
        # and a letter that also pads is.
        self._mistaken = (set(self.eos_token_ids) - self._hidden) | (
            set(processing_class.all_special_ids) - self._hidden
        )
        self.watched = list(watched)
        self.checks: list[Check] = []
        self.last_rollout: dict[str, list[Any]] | None = None
        self.samples = 0
        self.kl_controller = arithmetic.KLController(args.kl_coef, args.kl_target, args.kl_gain)
        self.normalizer = arithmetic.RewardNormalizer()
        self.critic = critic
        if critic is not None and args.disable_dropout:
            disable_dropout_in_model(critic)
        if args.critic_warmup_steps:
            self.add_callback(_CriticAlone(self))
        self._logged_by_rewards: set[str] = set()
        self._recorder = attach_critic(self.model, critic) if critic is not None else None
        # TRL's fused head goes through the vocabulary in tiles, so that the logits are never whole. On a CPU it takes
        # the prompts' tokens too, and computes everything again in the backward pass: the model's own is faster there.
        self._tiled_head = self.accelerator.device.type != "cpu"
        self._raw_scores: torch.Tensor | None = None
        self._old: tuple[torch.Tensor, torch.Tensor] | None = None
        self._sums = torch.zeros(())  # of the metrics of one optimizer step, over its micro-batches so far
        if args.kl_coef > 0.0 and reference is not None:
            add_fused_lm_head(reference, temperature=self.temperature)
            if self.is_deepspeed_enabled:
                reference = prepare_deepspeed(reference, self.accelerator)
            elif self.is_fsdp_enabled:
                reference = prepare_fsdp(reference, self.accelerator)
            else:
                reference = self.accelerator.prepare_model(reference, evaluation_mode=True)
        self.ref_model = reference
        if self.use_vllm:
            # vLLM's copy of the policy has no critic to load it into.
            every = self.vllm_generation._iter_named_params
            self.vllm_generation._iter_named_params = lambda: (item for item in every() if not is_critic(item[0]))
        check_trainable(self.model)

    # ---- rollout

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self.rendering.encode_prompt(self.processing_class, prompt) for prompt in prompts], None, {}

    def _generate_single_turn(
        self, prompt_ids: Any, images: Any, multimodal_fields: Any, num_generations: Any, has_tool_images: Any = False
    ) -> Any:
        with own_distribution(self.accelerator.unwrap_model(self.model)):
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        if self._mistaken:
            completions = [self._text(c, ids) for c, ids in zip(completions, completion_ids_list, strict=True)]
        with _speechless("trl.trainer.grpo_trainer"):  # it warns of each response without a score: they are counted
            gathered: torch.Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        at = self.accelerator.process_index * len(prompts)
        self._raw_scores = gathered[at : at + len(prompts)]  # (B, number of rewards)
        if not self.model.training:
            columns: dict[str, Any] = {name: [row[name] for row in inputs] for name in inputs[0] if name != "prompt"}
            # As TRL calls a reward; what it would log is of training.
            columns |= {"trainer_state": self.state, "log_extra": _ignore, "log_metric": _ignore}
            self._watched_scores = {
                name: [
                    math.nan if score is None else float(score)
                    for score in watched(
                        prompts=prompts, completions=completions, completion_ids=completion_ids_list, **columns
                    )
                ]
                for name, watched in zip(self._watched_names(), self.watched, strict=True)
            }
        return gathered

    def _text(self, completion: Any, ids: list[int]) -> Any:
        """A completion, a text or a list of one message, as it was generated, without the end of its turn."""
        if self._mistaken.isdisjoint(ids):
            return completion
        ids = ids[:-1] if ids[-1] in self.eos_token_ids else ids
        text = self.processing_class.decode([token for token in ids if token not in self._hidden])
        return text if isinstance(completion, str) else [{**completion[0], "content": text}]

    def _log_metric(self, name: str, value: float) -> None:
        self._logged_by_rewards.add(name)
        super()._log_metric(name, value)

    def _watched_names(self) -> list[str]:
        return [watched.__name__ for watched in self.watched]

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, **kwargs: Any
    ) -> tuple[torch.Tensor, None, None]:
        # TRL asks once a rollout, for the log-probabilities of the policy that sampled; the values come with them.
        images = {name for name, value in kwargs.items() if value is not None} - {"batch_size"}
        assert not images, f"a policy on text alone, got {images}"
        border = input_ids.shape[1] - logits_to_keep
        tokens = _Tokens(
            input_ids[:, :border], attention_mask[:, :border], input_ids[:, border:], attention_mask[:, border:]
        )
        self._old = self._score_policy(model, tokens)
        return self._old[0], None, None

    def _score_policy(self, model: Any, tokens: _Tokens) -> tuple[torch.Tensor, torch.Tensor]:
        """As `_score_tokens`, with values where they are learned from: held-out answers need none."""
        return self._score_tokens(model, tokens, values=self.critic is not None and self.model.training)

    def _score_tokens(self, model: Any, tokens: _Tokens, values: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and values (0 where not asked for) of all response tokens, without gradient: (B, T) twice.

        Passes are formed of responses of like length, so that fewer of their tokens are padding.
        """
        logps_BT = torch.zeros(tokens.completion_mask.shape, device=tokens.completion_mask.device)
        values_BT = torch.zeros_like(logps_BT)
        order_B = tokens.completion_mask.sum(1).argsort(stable=True)
        size = self.args.score_batch_size
        with torch.no_grad():
            for at in range(0, len(order_B), size):
                rows_R = order_B[at : at + size]
                outputs = self._forward(model, tokens.rows(rows_R), values)
                width = outputs.logps_BT.shape[1]
                logps_BT[rows_R, :width] = outputs.logps_BT
                values_BT[rows_R, :width] = outputs.values_BT
        return logps_BT, values_BT

    def _forward(self, model: Any, tokens: _Tokens, values: bool) -> _Outputs:
        """One pass through `model`, and through the critic where `values` are asked for."""
        ids_BW, mask_BW, prompt_B = tokens.joined(self.processing_class.pad_token_id)
        mask_BT = tokens.completion_mask
        # The state before response token t ends at the token before it.
        state_BT = prompt_B[:, None] - 1 + torch.arange(mask_BT.shape[1], device=ids_BW.device)
        state_BT = state_BT.clamp(max=ids_BW.shape[1] - 2)
        kwargs: dict[str, Any] = {"input_ids": ids_BW, "use_cache": False}
        if self.aux_loss_enabled and torch.is_grad_enabled():
            kwargs |= {"output_router_logits": True, "attention_mask": mask_BW}  # padding is not to be balanced
        recording: Any = self._recorder.recording() if self._recorder is not None and values else nullcontext([])
        with recording as recorded, self.accelerator.autocast():
            if not self._tiled_head:
                first = int(prompt_B.min()) - 1
                outputs = model(**kwargs, logits_to_keep=ids_BW.shape[1] - first)
                logps_BT, entropies_BT = self._logps(outputs.logits, tokens, state_BT - first)
            else:
                labels_BW = ids_BW.masked_fill(mask_BW == 0, -100)
                outputs = model(**kwargs, labels=labels_BW, fused_lm_head=True)
                logps_BT = outputs.log_probs.gather(1, state_BT).float() * mask_BT
                # The reference's head gives none.
                entropies_BT = torch.zeros_like(logps_BT)
                if outputs.entropy is not None:
                    entropies_BT = outputs.entropy.gather(1, state_BT).float() * mask_BT
        values_BT = recorded[0].gather(1, state_BT) * mask_BT if values else torch.zeros_like(logps_BT)
        return _Outputs(logps_BT, entropies_BT, values_BT, getattr(outputs, "aux_loss", None))

    def _logps(
        self, logits_BKV: torch.Tensor, tokens: _Tokens, at_BT: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and entropies of the response tokens, whose logits stand at `at_BT` of K: (B, T) twice."""
        row_N, token_N = tokens.completion_mask.nonzero(as_tuple=True)
        logps_NV = (logits_BKV[row_N, at_BT[row_N, token_N]].float() / self.temperature).log_softmax(-1)
        label_N = tokens.completion_ids[row_N, token_N]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.args.entropy_coef != 0.0):
            entropy_N = -(logps_NV.exp() * logps_NV).sum(-1)
        empty_BT = torch.zeros(at_BT.shape, device=at_BT.device)
        return (
            empty_BT.index_put((row_N, token_N), logps_NV.gather(1, label_N[:, None]).squeeze(1)),
            empty_BT.index_put((row_N, token_N), entropy_N),
        )

    def _rollout(self, rows: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """TRL's batch for `rows`, and what PPO knows of it, all on this process's B responses.

        Returns:
            raw_BF of each of F rewards; scores_B, their weighted sum, NaN where one is missing; ended_B, if with EOS;
            old_logps_BT, values_BT; kl_BT by kl_estimator; kl_B by k1, nats a response, NaN without a reference;
            length_B in tokens.
        """
        mode = "train" if self.model.training else "eval"
        # TRL counts and averages as GRPO does, partly under the names that are used here.
        ours, self._metrics[mode] = self._metrics[mode], defaultdict(list)
        self._old = None
        with torch.no_grad():
            batch = super()._generate_and_score_completions(rows)
        theirs, self._metrics[mode] = self._metrics[mode], ours
        for name, values in theirs.items():
            if name.startswith("sampling/") or name in self._logged_by_rewards:
                ours[name] += values
        ours["num_tokens"] = theirs["num_tokens"]

        tokens, mask_BT = _Tokens.of(batch), batch["completion_mask"]
        if self._old is None:  # TRL has not asked: it takes the first step on a rollout for its whole use
            self._old = self._score_policy(self.model, tokens)
        old_logps_BT, values_BT = self._old
        kl_BT, kl_B = torch.zeros_like(old_logps_BT), torch.full_like(old_logps_BT[:, 0], torch.nan)
        if self.args.kl_coef > 0.0:
            with self._reference() as model:
                ref_logps_BT, _ = self._score_tokens(model, tokens, values=False)
            kl_BT = arithmetic.kl_estimate(old_logps_BT, ref_logps_BT, self.args.kl_estimator) * mask_BT
            kl_B = ((old_logps_BT - ref_logps_BT) * mask_BT).sum(1)
        last_B = (mask_BT * batch["completion_ids"]).gather(1, mask_BT.sum(1, keepdim=True) - 1).squeeze(1)
        assert self._raw_scores is not None
        return batch, {
            "raw_BF": self._raw_scores,
            "scores_B": (self._raw_scores * self.reward_weights.to(self._raw_scores.device)).sum(1),
            "ended_B": torch.isin(last_B, torch.tensor(self.eos_token_ids, device=last_B.device)),
            "old_logps_BT": old_logps_BT,
            "values_BT": values_BT,
            "kl_BT": kl_BT,
            "kl_B": kl_B,
            "length_B": mask_BT.sum(1),
        }

    @contextmanager
    def _reference(self) -> Iterator[Any]:
        """The model that is the reference."""
        if self.ref_model is not None:
            yield self.ref_model
        else:
            with as_reference(self.accelerator.unwrap_model(self.model)):
                yield self.model

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """One rollout: TRL's batch with advantages (B, T), returns, old log-probabilities and values."""
        args = self.args
        batch, more = self._rollout(inputs)
        scores_B, kl_BT, values_BT = more["scores_B"], more["kl_BT"], more["values_BT"]
        scored_B = ~scores_B.isnan()
        # A response without a score is attended to like any other and learned from not at all.
        mask_BT = batch["completion_mask"] * scored_B[:, None]
        if self._sum(scored_B.sum().float()) == 0:
            raise ValueError(f"none of the {len(scores_B)} responses of a rollout got a score{self._why_unscored()}")
        learned_B = scores_B.nan_to_num(0.0)
        if args.normalize_reward:
            self.normalizer.update(learned_B, scored_B, self._sum)
            learned_B = self.normalizer(learned_B)
        shaped_B = arithmetic.shape_scores(learned_B, more["ended_B"], args.reward_clip, args.missing_eos_penalty)
        rewards_BT = arithmetic.token_rewards(shaped_B, kl_BT, mask_BT, self.kl_controller.coef)
        advantages_BT, returns_BT = arithmetic.advantages(rewards_BT, values_BT, mask_BT, args.gamma, args.gae_lambda)
        self._log_rollout(more, scored_B, values_BT, returns_BT, mask_BT)
        self._keep_rollout(inputs, more)
        if self.state.global_step >= args.critic_warmup_steps:  # before, the policy has not moved
            self.kl_controller.update(float(self._mean(more["kl_B"])))
        if args.whiten_advantages:
            advantages_BT = arithmetic.whiten(advantages_BT, mask_BT, self._sum)
        # In its table of completions TRL has GRPO's; these are a response's own, averaged over its tokens.
        each_B = advantages_BT.sum(1) / mask_BT.sum(1).clamp(min=1)
        self._logs["advantages"].clear()  # holds one rollout
        self._logs["advantages"].extend(self.accelerator.gather(each_B).tolist())
        self.samples += int(self._sum(torch.tensor(float(len(scores_B)), device=scores_B.device)))
        batch |= {
            "advantages": advantages_BT,
            "returns": returns_BT,
            "old_values": values_BT,
            "old_per_token_logps": more["old_logps_BT"],
            "loss_mask": mask_BT,
            # Of one optimizer step on average: a scalar, the same in every process.
            "tokens": self._sum(mask_BT.sum().float()) * args.gradient_accumulation_steps / args.steps_per_generation,
        }
        return {name: batch[name] for name in _LEARNED_FROM if name in batch}

    def _why_unscored(self) -> str:
        reasons: dict[str, int] = {}
        for reward in self.reward_funcs:
            for reason, count in getattr(reward, "unscored_reasons", {}).items():
                reasons[reason] = reasons.get(reason, 0) + count
        if not reasons:
            return "; expected a number from every reward function. Look at what it returns for them."
        reason, count = max(reasons.items(), key=lambda item: item[1])
        return f" (in {count} cases: {reason}). What was scored is kept; resume when that is mended."

    def _sum(self, x: torch.Tensor) -> torch.Tensor:
        """`x` added up over the processes."""
        total: torch.Tensor = self.accelerator.reduce(x, reduction="sum")
        return total

    def _mean(self, x_B: torch.Tensor, keep_B: torch.Tensor | None = None) -> torch.Tensor:
        """The mean over the rows of all processes."""
        keep_B = torch.ones_like(x_B) if keep_B is None else keep_B
        return arithmetic.masked_mean(x_B.nan_to_num(0.0).float(), keep_B.float(), self._sum)

    def _log_rollout(
        self,
        more: Mapping[str, torch.Tensor],
        scored_B: torch.Tensor,
        values_BT: torch.Tensor,
        returns_BT: torch.Tensor,
        mask_BT: torch.Tensor,
    ) -> None:
        row = self._metrics["train"]
        _, mean, variance = arithmetic.moments(more["scores_B"].nan_to_num(0.0), scored_B.float(), self._sum)
        row["reward"].append(mean.item())
        row["reward_std"].append(variance.sqrt().item())
        for name, scores_B in zip(self.reward_func_names, more["raw_BF"].unbind(1), strict=True):
            if len(self.reward_func_names) > 1:
                row[f"reward/{name}"].append(self._mean(scores_B, ~scores_B.isnan()).item())
        if self.args.kl_coef > 0.0:
            row["kl"].append(self._mean(more["kl_B"]).item())
            row["kl_coef"].append(self.kl_controller.coef)
        row["length"].append(self._mean(more["length_B"]).item())
        row["no_eos"].append(1.0 - self._mean(more["ended_B"].float()).item())
        row["unscored"].append(1.0 - self._mean(scored_B.float()).item())
        if self.critic is not None:
            row["value"].append(arithmetic.masked_mean(values_BT, mask_BT, self._sum).item())
            unexplained = arithmetic.unexplained_variance(values_BT, returns_BT, mask_BT, self._sum)
            row["explained_variance"].append(1.0 - unexplained.item())

    def _keep_rollout(self, rows: list[dict[str, Any]], more: Mapping[str, torch.Tensor]) -> None:
        """For the report: the newest rollout's numbers, response by response."""
        device = more["scores_B"].device
        prompts_B = torch.tensor([prompt_key(row["prompt"]) for row in rows], device=device)
        numbers_B4 = torch.stack([more[f"{name}_B"].double() for name in ("scores", "kl", "length", "ended")], dim=1)
        table = self.accelerator.gather(numbers_B4).cpu().numpy().T
        columns = [[None if math.isnan(x) else x for x in column] for column in table.tolist()]
        self.last_rollout = {
            "prompt": self.accelerator.gather(prompts_B).tolist(),
            **dict(zip(("reward", "kl", "length", "ended"), columns, strict=True)),
        }

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        inputs = super()._prepare_inputs(generation_batch)
        pieces = self.args.steps_per_generation
        if not self.model.training or self._step % pieces:
            return inputs
        buffered: list[dict[str, torch.Tensor]] = self._buffered_inputs  # type: ignore[has-type]
        whole = {
            name: torch.cat([piece[name] for piece in buffered]) if tensor.ndim else tensor
            for name, tensor in buffered[0].items()
        }
        if self._step % (pieces * self.num_iterations):  # TRL has shuffled for the first epoch
            whole = shuffle_sequence_dict(whole)
        self._buffered_inputs = split_tensor_dict(self._side_by_side(whole), pieces)
        return self._buffered_inputs[0]

    def _side_by_side(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Within each optimizer step, rows of like length in one micro-batch: the same sum, with less padding."""
        lengths_B = batch["prompt_mask"].sum(1) + batch["completion_mask"].sum(1)
        steps = self.args.steps_per_generation // self.args.gradient_accumulation_steps
        order_SW = lengths_B.view(steps, -1).argsort(dim=1, stable=True)
        order_B = (order_SW + torch.arange(steps, device=order_SW.device)[:, None] * order_SW.shape[1]).flatten()
        return {name: tensor[order_B] if tensor.ndim else tensor for name, tensor in batch.items()}

    # ---- learning

    def _compute_loss(self, model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        args = self.args
        tokens = _Tokens.of(inputs)
        tokens = tokens.rows(torch.arange(len(tokens.prompt_ids), device=tokens.prompt_ids.device))
        width = tokens.completion_ids.shape[1]
        advantages_BT, returns_BT, old_values_BT, old_logps_BT, mask_BT = (
            inputs[name][:, :width]
            for name in ("advantages", "returns", "old_values", "old_per_token_logps", "loss_mask")
        )
        warming_up = self.state.global_step < args.critic_warmup_steps
        if self._recorder is not None:
            self._recorder.detached = warming_up
        logps_BT, entropies_BT, values_BT, aux_loss = self._forward(model, tokens, values=self.critic is not None)

        policy_BT, clipped_BT = arithmetic.policy_loss(
            logps_BT, old_logps_BT, advantages_BT, self.epsilon_low, self.epsilon_high
        )
        if "importance_sampling_ratio" in inputs:  # (B, T) or (B, 1): what vLLM sampled from is not quite the policy
            policy_BT = policy_BT * inputs["importance_sampling_ratio"][:, :width]
        loss_BT = policy_BT - args.entropy_coef * entropies_BT
        if warming_up:
            loss_BT = 0.0 * loss_BT  # every weight keeps a gradient, which DDP waits for
        value_BT = torch.zeros_like(loss_BT)
        if self.critic is not None:
            value_BT = arithmetic.value_loss(values_BT, old_values_BT, returns_BT, args.value_clip)
            loss_BT = loss_BT + args.value_coef * value_BT
        # DDP averages the gradients of the processes, whose losses are to be added up.
        loss = (loss_BT * mask_BT).sum() / inputs["tokens"].clamp(min=1.0) * self.accelerator.num_processes
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * aux_loss / self.current_gradient_accumulation_steps

        with torch.no_grad():
            named = {
                "policy_loss": policy_BT,
                "value_loss": value_BT,
                "entropy": entropies_BT,
                "clip_fraction": clipped_BT.float(),
                "approx_kl": arithmetic.approximate_kl(logps_BT, old_logps_BT),
            }
            self._sums = self._sums.to(loss_BT.device) + torch.stack(
                [(x_BT * mask_BT).sum() for x_BT in [*named.values(), torch.ones_like(loss_BT)]]
            )
            if self.accelerator.sync_gradients:  # the last micro-batch of the optimizer step
                *totals, count = self._sum(self._sums).tolist()
                self._sums = torch.zeros(())
                for name, total in zip(named, totals, strict=True):
                    if self.critic is not None or name != "value_loss":
                        self._metrics["train"][name].append(total / max(count, 1.0))
        return loss  # type: ignore[no-any-return]

    def create_optimizer(self, model: Any = None) -> Any:
        """The Trainer's optimizer, with the critic's weights in a group of their own."""
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(*([] if model is None else [model]))
        critic = critic_parameters((self.model if model is None else model).named_parameters())
        if fresh and critic and hasattr(optimizer, "add_param_group"):
            chosen = set(map(id, critic))
            for group in optimizer.param_groups:
                group["params"] = [weight for weight in group["params"] if id(weight) not in chosen]
            optimizer.add_param_group(
                {"params": critic, "lr": self.args.critic_learning_rate, "weight_decay": self.args.weight_decay}
            )
        return optimizer

    def _get_train_sampler(self, dataset: Any = None) -> RepeatSampler:
        return _EpochSampler(super()._get_train_sampler(dataset))

    # ---- watching

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Answers the held-out prompts and adds a `Check`. Training's random numbers are left as they were."""
        step = self.state.global_step
        if self.checks and self.checks[-1].step == step:
            return {}  # resumed from a checkpoint that holds it
        rows, processes = list(self.eval_dataset), self.accelerator.num_processes
        share = rows[self.accelerator.process_index :: processes]
        longest = math.ceil(len(rows) / processes)
        share += rows[:1] * (longest - len(share))  # every process takes part in as many passes
        training, size = self.model.training, self.args.per_device_eval_batch_size
        self.model.eval()
        logs, parts = copy.deepcopy(self._logs), []  # type: ignore[has-type]
        with self._own_random_numbers():
            for at in range(0, longest, size):
                _, more = self._rollout(share[at : at + size])
                names = ("scores_B", "kl_B", "length_B", "ended_B")
                columns = [more[name].double() for name in names]
                columns += [torch.tensor(self._watched_scores[name]).to(columns[0]) for name in self._watched_names()]
                parts.append(torch.stack(columns, dim=1))
        self._logs = logs  # TRL's table of completions is of training
        self._metrics["eval"].clear()
        # Gathered process by process; row i was answered by process i % processes as its (i // processes)-th.
        every = self.accelerator.gather(torch.cat(parts)).view(processes, longest, -1).transpose(0, 1)
        table = every.reshape(processes * longest, -1)[: len(rows)].cpu().numpy()
        reward_N, kl_N, length_N, ended_N, *watched = table.T
        check = Check(
            step=step,
            samples=self.samples,
            reward_N=reward_N,
            scores=dict(zip(self._watched_names(), watched, strict=True)),
            kl_N=kl_N,
            length_N=length_N,
            ended_N=ended_N > 0.5,
        )
        self.checks.append(check)
        metrics = {"eval_reward": _mean(reward_N), "eval_length": _mean(length_N)}
        if self.args.kl_coef > 0.0:
            metrics["eval_kl"] = _mean(kl_N)
        metrics |= {f"eval_{name}": _mean(scores_N) for name, scores_N in check.scores.items()}
        self.log(metrics)  # before training goes on: TRL would add what training has counted so far
        self.model.train(training)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        """The same random numbers each time, and training's afterwards."""
        device = self.accelerator.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.args.seed + 7919 * (1 + self.accelerator.process_index))
            yield

    # ---- checkpoints

    def _steps_until_exact(self) -> int:
        return int(-self.state.global_step % self.args.steps_per_rollout)

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, Any] | None = None) -> None:
        """The policy, and into checkpoints the critic beside it. The reference and the reward's adapter stay out."""
        folder = Path(output_dir or self.args.output_dir)
        if not self.args.should_save:
            return
        folder.mkdir(parents=True, exist_ok=True)
        policy, critic = split_critic(self.model.state_dict() if state_dict is None else state_dict)
        adapter = {"selected_adapters": ["default"]} if is_peft(self.model) else {}
        self.accelerator.unwrap_model(self.model).save_pretrained(folder, state_dict=policy, **adapter)
        self.processing_class.save_pretrained(folder)
        torch.save(self.args, folder / "training_args.bin")
        if critic and PREFIX_CHECKPOINT_DIR in folder.name:
            save_critic(folder, critic)

    def _save_beside(self, folder: Path) -> None:
        super()._save_beside(folder)
        write_json(
            folder / STATE_FILE,
            {
                "kl_controller": self.kl_controller.state(),
                "normalizer": self.normalizer.state(),
                "samples": self.samples,
                "checks": [check.row() for check in self.checks],
                "last_rollout": self.last_rollout,
            },
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with quiet():  # says that the critic is missing from the policy's file
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        # FSDP's own checkpoint has the critic, sharded like the policy.
        if self.critic is not None and not self.is_fsdp_enabled:
            restore_critic(resume_from_checkpoint, self.critic)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        state = json.loads((Path(checkpoint) / STATE_FILE).read_text(encoding="utf-8"))
        self.kl_controller.load(state["kl_controller"])
        self.normalizer.load(state["normalizer"])
        self.samples = state["samples"]
        self.checks = [Check.of(row) for row in state["checks"]]
        self.last_rollout = state.get("last_rollout")  # checkpoints of earlier versions have none


# What a rollout is learned from; the rest of TRL's batch would only be carried along.
_LEARNED_FROM = (
    *("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "loss_mask", "advantages", "returns"),
    *("old_values", "old_per_token_logps", "importance_sampling_ratio", "tokens"),
)


@contextmanager
def _speechless(name: str) -> Iterator[None]:
    """The logger `name` says nothing below an error."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _ignore(*args: Any) -> None:
    """In place of TRL's loggers, where nothing is logged."""


class _CriticAlone(TrainerCallback):  # type: ignore[misc]
    """During critic_warmup_steps the optimizer sees no gradient of the policy: no decay, and no moments of zeros, after
    which Adam's first steps would be too long."""

    def __init__(self, trainer: PPOTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after clipping, before the step."""
        if state.global_step < args.critic_warmup_steps:
            for name, weight in self.trainer.model.named_parameters():
                if not is_critic(name):
                    weight.grad = None


class _EpochSampler(RepeatSampler):  # type: ignore[misc]
    """TRL's sampler in an order that follows from seed and epoch: a resumed run finds the order that it left."""

    def __init__(self, sampler: RepeatSampler) -> None:
        self.__dict__.update(sampler.__dict__)

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer at the start of each epoch."""
        self.generator.manual_seed(self.seed + epoch)


def _mean(x_N: np.ndarray[Any, Any]) -> float:
    return float(np.nanmean(x_N)) if not np.isnan(x_N).all() else math.nan
