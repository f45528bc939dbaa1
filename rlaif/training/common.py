"""What all of TRL's trainers are given here: adapters in float32, whole checkpoints, a quiet bar."""

from __future__ import annotations

from typing import Any

import torch
from transformers.trainer_callback import ProgressCallback

from rlaif.models.parallel import process_count
from rlaif.training.finite import Finite
from rlaif.training.progress import Counted
from rlaif.training.resumed import Resumed
from rlaif.training.saving import WholeCheckpoints
from rlaif.training.stopping import Stoppable

__all__ = ["Shared", "is_peft"]


class Shared(Stoppable, Finite, Resumed, Counted, WholeCheckpoints):
    """What all trainers do alike: checkpoints, a quiet bar, adapters in float32. Before one of TRL's trainers."""

    model: Any
    add_callback: Any
    remove_callback: Any

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

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """The Trainer's measurements. Training goes on with the random numbers that it would have had without them.

        A DataLoader draws a seed each time it is read, so that all later dropout masks would be others: runs that
        differ in how often they are evaluated would be runs of different seeds.
        """
        with torch.random.fork_rng(devices=[]):
            return super().evaluate(*args, **kwargs)


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
