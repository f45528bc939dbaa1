"""TRL's trainers, learning from z instead of from "chosen is better". As little as possible is overridden.

    SoftRewardTrainer   RewardTrainer   compute_loss: pops z, calls TRL's, adds what makes its loss soft
    SoftDPOTrainer      DPOTrainer      compute_loss: TRL inlines its losses, so the soft one is computed here
    CompletionTrainer   SFTTrainer      compute_loss, in evaluations: each row's loss

What they log of held-out rows is over rows (rlaif.training.by_row), not TRL's mean of batch means.

All take token columns from `rlaif.training.data` as they are. With `preference_loss` = "hard" (and at z = 1) each
gives TRL's own loss, unless labels are smoothed; tests hold that, and the signatures of every method overridden here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference as DPOBatches
from trl.trainer.reward_trainer import DataCollatorForPreference as RewardBatches

from rlaif.errors.words import shown
from rlaif.training.by_row import ByRow
from rlaif.training.common import Shared
from rlaif.training.losses import dpo_delta, hard_loss, margin_loss, soft_correction, soft_loss
from rlaif.training.settings import DPOSettings, RewardSettings, SFTSettings

__all__ = [
    "CompletionConfig",
    "CompletionTrainer",
    "SoftDPOConfig",
    "SoftDPOTrainer",
    "SoftRewardConfig",
    "SoftRewardTrainer",
]


Array = NDArray[np.float64]

# ---------------------------------------------------------------------------------------------------------- settings


@dataclass
class SoftRewardConfig(RewardSettings, RewardConfig):  # type: ignore[misc]
    """TRL's RewardConfig and the loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.label_smoothing < 0.5:
            raise ValueError(
                f"label_smoothing is {self.label_smoothing}; expected a share of wrong labels in [0, 0.5)."
            )
        if self.label_smoothing and self.preference_loss != "hard":
            raise ValueError(
                f"label_smoothing is {self.label_smoothing}, which the {self.preference_loss} loss does not have; "
                "expected 0.0, or --preference_loss hard."
            )


_SOFT_DPO_HONOURS: dict[str, Any] = {
    "loss_type": ["sigmoid"],
    "loss_weights": None,
    "ld_alpha": None,
    "f_divergence_type": "reverse_kl",
    "label_smoothing": 0.0,
    "use_weighting": False,
}
_SMOOTHED = {"robust", "exo_pair", "aot", "aot_unpaired"}  # of TRL's losses, those that know label smoothing


@dataclass
class SoftDPOConfig(DPOSettings, DPOConfig):  # type: ignore[misc]
    """TRL's DPOConfig and whose probability is learned from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preference_loss == "soft":
            for name, only in _SOFT_DPO_HONOURS.items():
                if getattr(self, name) != only:
                    raise ValueError(
                        f"{name} is {shown(getattr(self, name))}, which the soft loss does not have; expected "
                        f"{shown(only)}. Use --preference_loss hard for TRL's own losses."
                    )
        elif self.label_smoothing and not set(self.loss_type) & _SMOOTHED:
            raise ValueError(
                f"label_smoothing is {self.label_smoothing}, and in TRL 1.16 the losses {', '.join(self.loss_type)} "
                f"take no notice of it; expected 0.0, or one of {', '.join(sorted(_SMOOTHED))} in loss_type."
            )


@dataclass
class CompletionConfig(SFTSettings, SFTConfig):  # type: ignore[misc]
    """TRL's SFTConfig; the loss is on the completion alone."""


# ---------------------------------------------------------------------------------------------------------- trainers


@dataclass
class RewardCollator(RewardBatches):  # type: ignore[misc]
    """TRL's collator (chosen rows first, then rejected: (2B, T)) with `z` (B,) and an encoder's segments (2B, T)."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        batch["z"] = torch.tensor([example["z"] for example in examples], dtype=torch.float32)
        if "chosen_segments" in examples[0]:
            rows = [e["chosen_segments"] for e in examples] + [e["rejected_segments"] for e in examples]
            width = batch["input_ids"].shape[1]
            batch["token_type_ids"] = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        return batch


class SoftRewardTrainer(Shared, ByRow, RewardTrainer):  # type: ignore[misc]
    """RewardTrainer with the loss of `args.preference_loss`; a hard one may have `args.label_smoothing`.

    Args:
        model: one-label sequence-classification model.
        args: a SoftRewardConfig.
        train_dataset, eval_dataset: `rlaif.training.data.reward_pairs(...).rows`.
        processing_class: tokenizer, padding token set.
    """

    columns = ("z", "chosen_segments", "rejected_segments")

    def __init__(self, model: Any, args: SoftRewardConfig, *, processing_class: Any, **kwargs: Any) -> None:
        kwargs.setdefault(
            "data_collator",
            RewardCollator(pad_token_id=processing_class.pad_token_id, pad_to_multiple_of=args.pad_to_multiple_of),
        )
        super().__init__(model, args=args, processing_class=processing_class, **kwargs)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        return dataset  # tokenized already, by the rendering that scoring uses

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        z_B = inputs.pop("z")  # what stays in the batch is forwarded into the model
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch)
        chosen_B, rejected_B = outputs.logits.squeeze(-1).chunk(2)
        delta_B = chosen_B - rejected_B
        if self.args.preference_loss == "soft":
            loss = loss + soft_correction(delta_B, z_B).mean()
        elif self.args.preference_loss == "margin":
            loss = loss + (margin_loss(delta_B, z_B) - hard_loss(delta_B)).mean()
        elif self.args.label_smoothing:
            loss = loss + soft_correction(delta_B, 1.0 - self.args.label_smoothing).mean()
        if not self.model.training:
            self.keep_rows(loss=self._losses(chosen_B, rejected_B, z_B), chosen=chosen_B, rejected=rejected_B, z=z_B)
        return (loss, outputs) if return_outputs else loss

    def _losses(self, chosen_B: torch.Tensor, rejected_B: torch.Tensor, z_B: torch.Tensor) -> torch.Tensor:
        """What `compute_loss` takes the mean of: (B,)."""
        delta_B = chosen_B - rejected_B
        if self.args.preference_loss == "soft":
            loss_B = soft_loss(delta_B, z_B)
        elif self.args.preference_loss == "margin":
            loss_B = margin_loss(delta_B, z_B)
        else:
            loss_B = soft_loss(delta_B, 1.0 - self.args.label_smoothing)
        if self.args.center_rewards_coefficient is not None:
            loss_B = loss_B + self.args.center_rewards_coefficient * (chosen_B + rejected_B) ** 2
        return loss_B

    def row_metrics(self, rows: dict[str, Array]) -> dict[str, float]:
        rewards = np.concatenate((rows["chosen"], rows["rejected"]))
        delta = rows["chosen"] - rows["rejected"]
        return {
            "loss": float(rows["loss"].mean()),
            "accuracy": right_side(delta, rows["z"]),
            "margin": float(delta.mean()),
            "mean_reward": float(rewards.mean()),
            "min_reward": float(rewards.min()),
            "max_reward": float(rewards.max()),
        }


@dataclass
class DPOCollator(DPOBatches):  # type: ignore[misc]
    """TRL's collator (chosen rows first, then rejected ones: (2B, T)) with `z` (B,)."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        batch["z"] = torch.tensor([example["z"] for example in examples], dtype=torch.float32)
        return batch


class SoftDPOTrainer(Shared, ByRow, DPOTrainer):  # type: ignore[misc]
    """DPOTrainer with a probability z for every pair.

    Args:
        model: the policy, a causal LM or a PeftModel.
        ref_model: the reference; None where an adapter's base model is it, or where its log-probabilities are
            precomputed.
        args: a SoftDPOConfig.
        train_dataset, eval_dataset: `rlaif.training.data.dpo_pairs(...).rows`.
        processing_class: tokenizer, padding token set.
    """

    columns = ("z",)

    def __init__(
        self, model: Any, ref_model: Any = None, *, args: SoftDPOConfig, processing_class: Any, **kwargs: Any
    ) -> None:
        kwargs.setdefault(
            "data_collator",
            DPOCollator(
                pad_token_id=processing_class.pad_token_id,
                max_length=args.max_length,
                pad_to_multiple_of=args.pad_to_multiple_of,
            ),
        )
        super().__init__(model, ref_model, args=args, processing_class=processing_class, **kwargs)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        return dataset  # tokenized already, by the rendering that generation uses

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Sequence[torch.Tensor]:
        # Precomputing uses the training collator, so z is in the batch here too.
        rest = {name: value for name, value in inputs.items() if name != "z"}
        logps: Sequence[torch.Tensor] = super().compute_ref_log_probs(model, rest)
        return logps

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        z_B, evaluating = inputs.pop("z"), not self.model.training
        hard = self.args.preference_loss == "hard"
        if hard and not evaluating:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # The steps and their order are those of DPOTrainer._compute_loss.
        labels_BT = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        model_kwargs = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        if self.aux_loss_enabled:
            model_kwargs["output_router_logits"] = True
        outputs = model(**model_kwargs, use_cache=False, labels=labels_BT, fused_lm_head=True)
        chosen_logps_B, rejected_logps_B = outputs.log_probs.sum(dim=1).chunk(2)
        if self.precompute_ref_logps:
            ref_chosen_logps_B, ref_rejected_logps_B = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        else:
            ref_chosen_logps_B, ref_rejected_logps_B = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
        delta_B = dpo_delta(chosen_logps_B, rejected_logps_B, ref_chosen_logps_B, ref_rejected_logps_B, beta=self.beta)
        loss_B = hard_loss(delta_B) if hard else soft_loss(delta_B, z_B)
        loss = loss_B.mean()
        if hard and not self.loss_is_of_rows:  # TRL's own loss of the batch; in its mean every row counts as much
            loss, outputs = super().compute_loss(model, inputs, False, num_items_in_batch), outputs
            loss_B = loss.detach().expand_as(delta_B)
        elif self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss

        metrics_B = {
            "rewards/chosen": self.beta * (chosen_logps_B - ref_chosen_logps_B),
            "rewards/rejected": self.beta * (rejected_logps_B - ref_rejected_logps_B),
            "rewards/accuracies": (delta_B > 0).float(),
            "rewards/margins": delta_B,
            "logps/chosen": chosen_logps_B,
            "logps/rejected": rejected_logps_B,
        }
        if evaluating:
            self.keep_rows(loss=loss_B, z=z_B, **metrics_B)
            return (loss, outputs) if return_outputs else loss
        for name, value_B in metrics_B.items():
            self._metrics["train"][name].append(self.accelerator.gather(value_B.detach()).mean().item())
        tokens = self.accelerator.gather(inputs["attention_mask"].sum()).sum().item()
        self._total_train_tokens += tokens // self._tp_size
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return (loss, outputs) if return_outputs else loss

    @property
    def loss_is_of_rows(self) -> bool:
        """Whether a held-out row has a loss of its own here; some of TRL's losses are of a batch (`aot`, say)."""
        plain = all(getattr(self.args, name) == only for name, only in _SOFT_DPO_HONOURS.items())
        return self.args.preference_loss == "soft" or plain

    def row_metrics(self, rows: dict[str, Array]) -> dict[str, float]:
        numbers = {name: float(values.mean()) for name, values in rows.items() if name != "z"}
        return numbers | {"rewards/accuracies": right_side(rows["rewards/margins"], rows["z"])}


class CompletionTrainer(Shared, ByRow, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer on `rlaif.training.data.demonstrations(...).rows`.

    In evaluations the loss is -log p of the completions' tokens, whatever is trained with (label smoothing, `dft`): the
    sum over all rows by the number of all tokens, in nats.
    """

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset  # tokenized already, by the rendering that generation uses

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if self.model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        loss_B, tokens_B = -outputs.log_probs.sum(1), outputs.label_mask.sum(1)  # log_probs: 0 outside of labels
        right_B, entropy_B = outputs.is_top1.sum(1), outputs.entropy.sum(1)
        self.keep_rows(loss=loss_B, tokens=tokens_B, right=right_B, entropy=entropy_B)
        loss = loss_B.sum() / tokens_B.sum().clamp(min=1)
        return (loss, outputs) if return_outputs else loss

    def row_metrics(self, rows: dict[str, Array]) -> dict[str, float]:
        tokens = rows["tokens"].sum()
        names = {"loss": "loss", "right": "mean_token_accuracy", "entropy": "entropy"}
        return {to: float(rows[name].sum() / tokens) for name, to in names.items()}


def right_side(delta_N: Array, z_N: Array) -> float:
    """Share of rows whose difference of rewards is on the side of z; 0 counts one half, rows with z = 0.5 not at all.

    NaN where there is no row with a side, or a difference that is NaN.
    """
    sided = z_N != 0.5
    delta, side = delta_N[sided], np.sign(z_N[sided] - 0.5)
    if not delta.size or np.isnan(delta).any():
        return float("nan")
    return float(np.mean(0.5 * (1.0 + np.sign(delta) * side)))
