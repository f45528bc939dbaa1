"""What all of TRL's trainers are given here: defaults, refused settings, adapters in float32, a quiet bar."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from transformers.trainer_callback import ProgressCallback

from rlaif.errors.words import shown
from rlaif.models.parallel import on_cpu, process_count
from rlaif.training.finite import Finite
from rlaif.training.libraries import check_training
from rlaif.training.resumed import Resumed
from rlaif.training.saving import WholeCheckpoints

__all__ = ["Defaults", "Shared", "is_peft"]


@dataclass
class Defaults:
    """What differs from TRL's defaults in all programs, and the settings that they refuse."""

    output_dir: str | None = field(default=None, metadata={"help": "Folder for the model, report.json and manifest."})
    # TRL turns it on. It costs a third of the speed of a model that fits, so the configs of large models ask for it.
    gradient_checkpointing: bool = field(
        default=False, metadata={"help": "Recompute activations in the backward pass: less memory, more time."}
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
    }

    def __post_init__(self) -> None:
        if not self.output_dir:
            raise ValueError("output_dir is missing; expected the folder to write to (--output_dir runs/name).")
        for name, (only, instead) in self.refused.items():
            value = getattr(self, name, only)
            if value != only:
                raise ValueError(f"{name} is {shown(value)}; this program takes only {shown(only)}. {instead}")
        check_training(self)
        self.use_cpu = self.use_cpu or on_cpu()  # type: ignore[has-type]
        # TRL's default is bf16 everywhere, which a CPU refuses.
        if self.bf16 is None:  # type: ignore[has-type]
            self.bf16 = not self.fp16 and not self.use_cpu and _cuda_has_bf16()  # type: ignore[attr-defined]
        # Pinned memory speeds up copies to a GPU; without one PyTorch warns of it.
        self.dataloader_pin_memory = bool(self.dataloader_pin_memory) and torch.cuda.is_available()  # type: ignore[has-type]
        super().__post_init__()  # type: ignore[misc]
        if getattr(self, "max_length", 0) is None:
            raise ValueError("max_length is null; expected a number of tokens. Longer rows are left out and counted.")


def _cuda_has_bf16() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


class Shared(Finite, Resumed, WholeCheckpoints):
    """What all trainers do alike: a quiet bar, whole checkpoints, adapters in float32. Before one of TRL's trainers."""

    model: Any
    add_callback: Any
    remove_callback: Any
    _signature_columns: Any

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        adapters = {n: p.data for n, p in model.named_parameters() if p.requires_grad} if is_peft(model) else {}
        super().__init__(model, *args, **kwargs)  # type: ignore[call-arg]
        assert self.args.world_size == process_count(), "the launcher's processes are not tied together"
        # TRL turns QLoRA's adapters (and a reward head) to bfloat16, rounding one that is trained further. In bfloat16
        # a weight does not feel a step below 1/256 of itself, and plain float32 arithmetic cannot multiply the two.
        if is_peft(self.model):
            weights = dict(self.model.named_parameters())
            for name, weight in weights.items():
                if weight.requires_grad and weight.dtype == torch.bfloat16:
                    # A head keeps the precision of the module that it stands for, which it gets on reload too.
                    twin = weights.get(name.replace("modules_to_save.default", "original_module"))
                    dtype = torch.float32 if twin is None or twin is weight else twin.dtype
                    weight.data = adapters.get(name, weight.data).to(dtype)
        if not self.args.disable_tqdm:
            self.remove_callback(ProgressCallback)
            self.add_callback(_Bar())


class _Bar(ProgressCallback):  # type: ignore[misc]
    """A progress bar that carries the newest loss or reward; the whole history goes to trainer_state.json."""

    shown = (
        *("loss", "eval_loss", "accuracy", "eval_accuracy", "rewards/accuracies", "eval_rewards/accuracies"),
        *("reward", "kl"),
    )

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and self.training_bar is not None:
            values = {name.split("/")[-1]: f"{logs[name]:.3f}" for name in self.shown if logs and name in logs}
            if values:
                self.training_bar.set_postfix(values)


def is_peft(model: Any) -> bool:
    """Whether a model has an adapter of PEFT on it."""
    from peft import PeftModel

    return isinstance(model, PeftModel)
