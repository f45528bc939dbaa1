"""A run whose loss or weights are no numbers any more ends in one line, and what it has is not saved.

Gradients that overflow make weights NaN, and NaN weights make every loss NaN: the Trainer leaves such losses out of its
logs and goes on to the end.
"""

from __future__ import annotations

from typing import Any

import torch

from rlaif.models.weights import not_finite, some

__all__ = ["Finite"]


class Finite:
    """A loss after each micro-batch, the weights before they are saved. Stands before one of TRL's trainers.

    All processes end together: what one of them has seen, the others learn, so that none is left waiting.
    """

    args: Any
    model: Any
    state: Any
    accelerator: Any

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains; a ValueError where the loss, or in the end a weight, is NaN or infinite."""
        outcome = super().train(*args, **kwargs)  # type: ignore[misc]
        self._check_weights()
        return outcome

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of one micro-batch, its gradients added up.

        Raises:
            ValueError: the loss or a probability is NaN or infinite.
        """
        try:
            loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):
                raise
            raise ValueError(
                f"the policy's probabilities are NaN or infinite in step {self.state.global_step + 1} of "
                f"{self.state.max_steps}; expected finite numbers. {self._advice}"
            ) from None
        if self._anywhere(not bool(loss.isfinite().all())):
            raise ValueError(
                f"the loss is {float(loss.mean()):g} (of this process) in step {self.state.global_step + 1} of "
                f"{self.state.max_steps}; expected a finite number. {self._advice}"
            )
        return loss

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """The Trainer's measurements; a ValueError where the loss on held-out rows is NaN or infinite."""
        metrics = super().evaluate(*args, **kwargs)  # type: ignore[misc]
        loss = (metrics or {}).get("eval_loss")
        if loss is not None and not torch.tensor(loss).isfinite():
            raise ValueError(f"the held-out loss is {loss:g}; expected a finite number. {self._advice}")
        return metrics

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._check_weights()
        super()._save_checkpoint(model, trial)  # type: ignore[misc]

    def _check_weights(self) -> None:
        wrong = not_finite(self.model)
        if self._anywhere(bool(wrong)):
            what = some(wrong) if wrong else "weights that another process holds"
            raise ValueError(
                f"after step {self.state.global_step} of {self.state.max_steps} NaN or infinity is in {what}; expected "
                f"finite numbers. {self._advice}"
            )

    def _anywhere(self, here: bool) -> bool:
        """Whether `here` is true in any process."""
        if self.accelerator.num_processes == 1:
            return here
        flag = torch.tensor(float(here), device=self.accelerator.device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag > 0)

    @property
    def _advice(self) -> str:
        half = ", train in bf16 and not fp16" if getattr(self.args, "fp16", False) else ""
        return (
            f"This run has diverged, and its model is not saved: lower learning_rate ({self.args.learning_rate:g})"
            f"{half}, or go on from an earlier checkpoint."
        )
