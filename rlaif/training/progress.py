"""What a run has counted so far goes with its checkpoints: loss, time, and what TRL averages until it logs next.

The Trainer counts from the checkpoint on alone: the loss of a resumed run would be that of its last steps, and the
first row that it logs would leave out the steps between the last logged one and the checkpoint.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from rlaif.config import warn
from rlaif.files.manifest import elapsed
from rlaif.files.sources import write_json

__all__ = ["PROGRESS_FILE", "Counted", "progress_of", "seconds"]

PROGRESS_FILE = "progress.json"  # in every checkpoint


def progress_of(checkpoint: str | Path | None) -> dict[str, Any] | None:
    """What a checkpoint says of its run until then; None where an earlier version saved it."""
    if checkpoint is None or not (path := Path(checkpoint) / PROGRESS_FILE).exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def seconds(args: Any) -> float:
    """Seconds that a run has taken, imports included: of this process, and of those before it until its checkpoint.

    Args:
        args: the Trainer's settings.
    """
    return float(elapsed() + getattr(args, "seconds_before", 0.0))


class Counted:
    """The loss and the time of a resumed run are those of the whole run. Stands before one of TRL's trainers."""

    args: Any
    state: Any
    accelerator: Any
    callback_handler: Any
    add_callback: Any
    _tr_loss: Any
    _total_loss_scalar: float
    _globalstep_last_logged: int
    _initial_global_step: int
    _metrics: dict[str, dict[str, list[float]]]
    _total_train_tokens: int
    _earlier: dict[str, Any] | None = None  # what the checkpoint says
    _started: float = 0.0

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trains; `training_loss` and the times that the outcome tells are of the whole run."""
        self._earlier = progress_of(resume_from_checkpoint)
        if self._earlier is not None:
            self.args.seconds_before = self._earlier["seconds"]
        elif resume_from_checkpoint is not None:
            warn(
                f"{resume_from_checkpoint} was saved by an earlier version; the loss and the seconds of the report are "
                "of the steps since"
            )
        self.add_callback(_Restores(self))
        return super().train(resume_from_checkpoint, *args, **kwargs)  # type: ignore[misc]

    def restore_counts(self) -> None:
        """Goes on counting where the checkpoint's run was. Called when the Trainer has begun to count."""
        self._started, self._from_step = time.time(), self._initial_global_step
        if self._earlier is None:
            return
        loss = self._earlier["loss"]
        self._from_step = loss["from_step"]
        self._tr_loss += loss["since_logged"][self.accelerator.process_index]
        self._total_loss_scalar = loss["until_logged"]
        self._globalstep_last_logged = loss["logged_step"]
        self._total_train_tokens = self._earlier["tokens"]
        logged = {name: [float("nan") if x is None else x for x in xs] for name, xs in self._earlier["logs"].items()}
        self._metrics["train"] = defaultdict(list, logged)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        every = self.accelerator.gather(self._tr_loss.detach().reshape(1)).tolist()  # float32, exactly
        before = 0.0 if self._earlier is None else self._earlier["train_seconds"]
        self._progress = {
            "step": self.state.global_step,
            # Sums over steps: until the row that was logged last, of all processes; and since then, of each.
            "loss": {
                "until_logged": self._total_loss_scalar,
                "since_logged": every,
                "logged_step": self._globalstep_last_logged,
                "from_step": self._from_step,  # 0, but after a checkpoint that says nothing
            },
            "tokens": self._total_train_tokens,
            "logs": self._metrics["train"],
            "seconds": seconds(self.args),
            "train_seconds": before + time.time() - self._started,
        }
        super()._save_checkpoint(model, trial)  # type: ignore[misc]

    def _save_beside(self, folder: Path) -> None:
        super()._save_beside(folder)  # type: ignore[misc]
        write_json(folder / PROGRESS_FILE, self._progress)

    def _finalize_training(self, trial: Any, num_train_samples: Any, start_time: float) -> Any:
        self._tr_loss = self.accelerator.reduce(self._tr_loss.detach(), reduction="mean")  # as where it is logged
        if self._earlier is not None:
            self._initial_global_step = self._from_step
            start_time -= self._earlier["train_seconds"]
        return super()._finalize_training(trial, num_train_samples, start_time)  # type: ignore[misc]


class _Restores(TrainerCallback):  # type: ignore[misc]
    """The Trainer sets its counts to 0 just before this."""

    def __init__(self, trainer: Counted) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called before the first step."""
        self.trainer.restore_counts()
