"""Settings of the training programs: ours, around TRL's. Nothing heavy is imported here: help and checks need none.

    Defaults         what differs from TRL's defaults in all programs, and the settings that they refuse
    RewardSettings   reward_models/bradley_terry.py, around RewardConfig
    SFTSettings      recipes/sft.py and best_of_n.py, around SFTConfig
    DPOSettings      recipes/dpo.py, around DPOConfig

`SFT`, `DPO` and `REWARD` are what a program declares. PPO's stand in rlaif.training.ppo.settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from rlaif.errors.words import shown
from rlaif.models.parallel import on_cpu
from rlaif.secrets import redacted_json
from rlaif.settings.declared import Around, described
from rlaif.training.libraries import check_training

__all__ = ["DPO", "REWARD", "SFT", "UNUSED", "DPOSettings", "Defaults", "RewardSettings", "SFTSettings"]

UNUSED = object()  # in `refused`: TRL's default is the only value


@described(also={"output_dir": ("output",)})
@dataclass
class Defaults:
    """What differs from TRL's defaults in all programs, and the settings that they refuse."""

    output_dir: str | None = field(
        default=None, metadata={"help": "Folder for the model, report.json and manifest.json."}
    )
    # TRL turns it on. It costs a third of the speed of a model that fits, so the configs of large models ask for it.
    gradient_checkpointing: bool = field(
        default=False, metadata={"help": "Recompute activations in the backward pass: less memory, more time."}
    )

    resume_from_checkpoint: str | None = field(
        default=None,
        metadata={
            "help": "Unset: go on from this run's newest whole checkpoint in output_dir, where there is one. true: it "
            "must be there; false: begin anew; or a checkpoint's path."
        },
    )

    # Trainer turns it on for plain models: an extra walk of the graph every step, for parameters that are all used.
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Several processes: look for weights without a gradient (experts, say)."}
    )

    # It would leave a loss that is NaN out of the logs: here such a loss ends the run (rlaif.training.finite).
    logging_nan_inf_filter: bool = field(default=False, metadata={"help": "A loss that is NaN ends the run: false."})

    # ModelConfig has it, for everything that is loaded.
    trust_remote_code: bool = field(default=False, init=False)

    # Settings that act on a path which is not taken here: name -> (the only value, what to do instead).
    refused: ClassVar[dict[str, tuple[Any, str]]] = {
        "model_init_kwargs": (None, "Use --model_revision, --dtype, --attn_implementation and --load_in_4bit."),
        "chat_template_path": (None, "Save the tokenizer with the template, so that scoring and generation use it."),
        "eos_token": (None, "Set it in the tokenizer's own config, so that scoring and generation use it."),
        "pad_token": (None, "A padding token that is not the EOS is chosen by rlaif.models.rendering."),
        "logging_nan_inf_filter": (False, "A loss that is NaN or infinite ends the run."),
        "dataset_num_proc": (None, "Tokenization runs in one process."),
        "enable_jit_checkpoint": (False, "With a save_strategy SIGTERM saves a checkpoint; it needs no setting."),
    }

    def to_dict(self) -> dict[str, Any]:
        """What a manifest keeps, and a tracker (wandb, trackio, TensorBoard) is told: no key."""
        return dict(redacted_json(super().to_dict()))  # type: ignore[misc]

    def __post_init__(self) -> None:
        if not self.output_dir:
            raise ValueError("output_dir is missing; expected the folder to write to (--output_dir runs/name).")
        for name, (only, instead) in self.refused.items():
            only = self.__dataclass_fields__[name].default if only is UNUSED else only
            value = getattr(self, name, only)
            if value != only:
                raise ValueError(f"{name} is {shown(value)}; this program takes only {shown(only)}. {instead}")
        check_training(self)
        self.use_cpu = self.use_cpu or on_cpu()  # type: ignore[has-type]
        # TRL's default is bf16 everywhere, which a CPU refuses.
        if self.bf16 is None:  # type: ignore[has-type]
            self.bf16 = not self.fp16 and not self.use_cpu and _cuda_has_bf16()  # type: ignore[attr-defined]
        # Pinned memory speeds up copies to a GPU; without one PyTorch warns of it.
        self.dataloader_pin_memory = bool(self.dataloader_pin_memory) and _has_cuda()  # type: ignore[has-type]
        super().__post_init__()  # type: ignore[misc]
        if getattr(self, "max_length", 0) is None:
            raise ValueError("max_length is null; expected a number of tokens. Longer rows are left out and counted.")


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _cuda_has_bf16() -> bool:
    import torch

    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


@dataclass
class RewardSettings(Defaults):
    """The loss of a reward model."""

    preference_loss: str = field(
        default="soft",
        metadata={
            "help": "'soft': cross-entropy against z; 'hard': chosen wins, whatever z says; 'margin': hard, with the "
            "margin 2z - 1 to be exceeded (Llama 2).",
            "choices": ["soft", "hard", "margin"],
        },
    )
    label_smoothing: float = field(
        default=0.0,
        metadata={
            "help": "With 'hard': the share eps of labels taken to be wrong, in [0, 0.5); the target is 1 - eps for "
            "every pair. 0: none."
        },
    )

    refused: ClassVar[dict[str, tuple[Any, str]]] = {
        **Defaults.refused,
        "label_smoothing_factor": (0.0, "It acts on token labels: use --preference_loss hard --label_smoothing."),
    }


@dataclass
class DPOSettings(Defaults):
    """Whose probability DPO learns from."""

    preference_loss: str = field(
        default="soft",
        metadata={
            "help": "'soft': cross-entropy against each pair's own z; 'hard': exactly TRL's DPOTrainer.",
            "choices": ["soft", "hard"],
        },
    )

    refused: ClassVar[dict[str, tuple[Any, str]]] = {
        **Defaults.refused,
        "label_smoothing_factor": (0.0, "It acts on token labels, which DPO's loss has not."),
        "padding_free": (False, "TRL 1.16 switches it off."),
        "truncation_mode": ("keep_start", "Nothing is truncated: longer pairs are left out and counted."),
    }


@dataclass
class SFTSettings(Defaults):
    """The loss is on the completion alone."""

    refused: ClassVar[dict[str, tuple[Any, str]]] = {
        **Defaults.refused,
        "packing": (False, "Conversations are kept apart."),
        "eval_packing": (None, "Conversations are kept apart."),
        "padding_free": (False, "Batches are padded."),
        "assistant_only_loss": (False, "The loss is on the last response alone."),
        "completion_only_loss": (None, "The loss is on the completion alone."),
        "dataset_text_field": ("text", "Rows hold `prompt` and `completion`."),
        "truncation_mode": ("keep_start", "Nothing is truncated: longer rows are left out and counted."),
    }


SFT = Around(
    SFTSettings,
    "trl.SFTConfig",
    "rlaif.training.trainers.CompletionConfig",
    "SFT",
    ("max_length", "loss_type"),
    (("model", "policy"),),
)
DPO = Around(
    DPOSettings,
    "trl.DPOConfig",
    "rlaif.training.trainers.SoftDPOConfig",
    "DPO",
    ("beta", "max_length", "loss_type", "label_smoothing", "precompute_ref_log_probs", "disable_dropout"),
    (("model", "policy"),),
)
REWARD = Around(
    RewardSettings,
    "trl.RewardConfig",
    "rlaif.training.trainers.SoftRewardConfig",
    "reward model",
    ("max_length", "center_rewards_coefficient", "disable_dropout"),
)
