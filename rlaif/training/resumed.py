"""A run goes on from a checkpoint that holds all of its weights and of the trainer's state, or not at all.

The Trainer loads what fits and leaves the rest as the model began, with a warning at most. It trains one step more
where no step is left.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from rlaif.models.adapters import check_adapter
from rlaif.models.weights import check_files, check_finite, some

__all__ = ["Resumed", "check_state"]

# What a checkpoint holds beside its weights: one of each, by what it is called here.
_STATE = {
    "optimizer.pt": ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*"),
    "scheduler.pt": ("scheduler.pt", "global_step*"),  # DeepSpeed may have one of its own
    "rng_state.pth": ("rng_state.pth", "rng_state_*.pth"),
}


def check_state(checkpoint: str | Path) -> None:
    """Refuses a checkpoint without the optimizer's state, the schedule's or the random numbers', or with half of it.

    Raises:
        ValueError: names the file that is missing, or that is cut short.
    """
    for name, patterns in _STATE.items():
        found = [path for pattern in patterns for path in Path(checkpoint).glob(pattern)]
        if not found:
            raise ValueError(
                f"the checkpoint {checkpoint} has no {name} (save_only_model leaves it out), so that the run would not "
                "go on as it was; expected a whole checkpoint. Go on from another one, or start without one."
            )
        for path in found:
            if path.is_file() and not zipfile.is_zipfile(path):
                raise ValueError(
                    f"{path} is cut short, or is no file of a checkpoint; expected a whole one. Go on from another "
                    "checkpoint, or start without one."
                )


class Resumed:
    """Checks a checkpoint's weights as it is loaded. Stands before one of TRL's trainers."""

    model: Any
    state: Any
    is_fsdp_enabled: bool
    _load_rng_state: Any

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains. Where no step was left the loss is the mean of those that the checkpoint's run logged."""
        outcome = super().train(*args, **kwargs)  # type: ignore[misc]
        if self.state.global_step > self._begun:
            return outcome
        self._load_rng_state(self._checkpoint)  # for what is measured afterwards
        losses = [row["loss"] for row in self.state.log_history if "loss" in row]
        return outcome._replace(training_loss=sum(losses) / len(losses) if losses else float("nan"))

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        epochs, batches = super()._init_training_state(  # type: ignore[misc]
            max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
        )
        self._begun, self._checkpoint = self.state.global_step, resume_from_checkpoint
        if self._begun > max_steps:
            raise ValueError(
                f"the checkpoint is of step {self._begun}, and this run ends at step {max_steps} (max_steps, "
                "num_train_epochs); expected a longer run, or an earlier checkpoint."
            )
        return (num_train_epochs, 0) if self._begun == max_steps else (epochs, batches)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        from peft import PeftModel

        check_files(resume_from_checkpoint)
        if isinstance(self.model, PeftModel) and not self.is_fsdp_enabled:
            check_adapter(self.model, resume_from_checkpoint)
        self._from = resume_from_checkpoint
        super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        check_finite(self.model, resume_from_checkpoint)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        # PPO's critic is a submodule of the policy, with a file of its own.
        tied = set(getattr(self.model, "all_tied_weights_keys", None) or {})
        ignored = tied | set(getattr(self.model, "_keys_to_ignore_on_save", None) or ())
        missing = [key for key in load_result.missing_keys if key not in ignored and "critic" not in key.split(".")]
        for keys, what in ((missing, "has no"), (load_result.unexpected_keys, "holds, beyond the model's weights,")):
            if keys:
                raise ValueError(
                    f"the checkpoint {self._from} {what} {some(keys)}; expected all weights of this model and no "
                    "others. Go on from another checkpoint, or start without one."
                )
        if missing != load_result.missing_keys and tied:
            self.model.tie_weights()
