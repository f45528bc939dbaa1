"""SIGTERM while training: the step is ended and saved before the program ends (`rlaif.errors.stopping`).

Schedulers send it before they take a machine away. Where checkpoints are kept, what was trained since the last one is
not lost; where none are, or none that a run can go on from, the program ends at once, as with Ctrl-C.
"""

from __future__ import annotations

from typing import Any

from rlaif.errors.stopping import Wish, noted
from rlaif.models.parallel import is_main

__all__ = ["Stoppable"]


class Stoppable:
    """Stops and saves in the same step in all processes, whichever was told. Stands before one of TRL's trainers."""

    args: Any
    state: Any
    control: Any
    callback_handler: Any
    _anywhere: Any
    _wish: Wish | None = None
    _saved_step: int | None = None
    _said = False

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains.

        Raises:
            KeyboardInterrupt: SIGTERM has come; the last step is saved.
        """
        if self.args.save_strategy == "no" or self.args.save_only_model:
            return super().train(*args, **kwargs)  # type: ignore[misc]
        with noted() as self._wish:
            return super().train(*args, **kwargs)  # type: ignore[misc]

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of one micro-batch. From the first one on SIGTERM waits for the end of a step."""
        if self._wish is not None:
            self._wish.hold()
        return super().training_step(*args, **kwargs)  # type: ignore[misc]

    def _maybe_log_save_evaluate(
        self, tr_loss: Any, grad_norm: Any, model: Any, trial: Any, *args: Any, **kwargs: Any
    ) -> None:
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, model, trial, *args, **kwargs)  # type: ignore[misc]
        if self._wish is None or not self._anywhere(self._wish.asked):
            return
        step = self.state.global_step
        if (wait := self._steps_until_exact()) and step < self.state.max_steps:
            if not self._said and is_main():
                print(f"told to stop: going on to step {step + wait}, where the run can be saved exactly", flush=True)
            self._said = True
            return
        if self._saved_step != step:
            self._save_checkpoint(model, trial)
        if is_main():
            print(f"told to stop: step {step} of {self.state.max_steps} is saved", flush=True)
        self._wish.asked = False  # this is what comes of it
        raise KeyboardInterrupt

    def _steps_until_exact(self) -> int:
        """Optimizer steps from here to where a checkpoint can be resumed exactly."""
        return 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        self._saved_step = self.state.global_step
