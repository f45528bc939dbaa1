"""A run goes on from a checkpoint that holds all of its weights and of the trainer's state, or not at all.

The Trainer loads what fits and leaves the rest as the model began, with a warning at most. It trains one step more
where no step is left.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from torch.optim.lr_scheduler import LambdaLR

from rlaif.errors.words import shown
from rlaif.files.model_files import NUMBERED
from rlaif.models.adapters import check_adapter
from rlaif.models.weights import check_files, check_finite, check_safetensors, not_finite_in, some
from rlaif.training.progress import progress_of

__all__ = ["FILES", "Resumed", "check_state", "check_whole", "checksum"]

FILES = "files.json"  # in every checkpoint, written last: its files, their sizes and checksums

# What a checkpoint holds beside its weights: one of each, by what it is called here.
_STATE = {
    "optimizer.pt": ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*"),
    "scheduler.pt": ("scheduler.pt", "global_step*"),  # DeepSpeed may have one of its own
    "rng_state.pth": ("rng_state.pth", "rng_state_*.pth"),
}
# Its weights: of a model or an adapter, of FSDP's or DeepSpeed's parts.
_WEIGHTS = ("model*.safetensors", "adapter_model.*", "pytorch_model*", "global_step*")


def check_whole(checkpoint: str | Path, processes: int = 1) -> None:
    """Refuses a checkpoint that is not as it was saved, before anything is loaded.

    What was saved is listed in the checkpoint; of one of an earlier version, which has no list, each file must be whole
    by its own format, and what every run needs must be there.

    Args:
        checkpoint: its folder.
        processes: how many will go on from it; each has its random numbers.

    Raises:
        ValueError: names the first file that is missing, cut short or no such file.
    """
    folder = Path(checkpoint)
    says = "expected a whole checkpoint. Go on from another one, or start without one."
    state = _read(folder / "trainer_state.json", says)
    step = folder.name.rpartition("-")[2]
    if not isinstance(state.get("global_step"), int) or (
        NUMBERED.fullmatch(folder.name) and int(step) != state["global_step"]
    ):
        raise ValueError(
            f"{folder}/trainer_state.json says step {shown(state.get('global_step'))}, the folder's name {step}; {says}"
        )
    for name, listed in (_read(folder / FILES, says) if (folder / FILES).exists() else {}).items():
        path = folder / name
        size, *sums = listed if isinstance(listed, list) else [listed]
        if not path.is_file():
            raise ValueError(f"the checkpoint {folder} has no {name} any more; {says}")
        if path.stat().st_size != size:
            raise ValueError(
                f"{path} is cut short or was changed: it has {path.stat().st_size} bytes, not {size}; {says}"
            )
        if sums and checksum(path) != sums[0]:
            raise ValueError(f"{path} was changed, or the disk has lost a part of it (its checksum is another); {says}")
    check_state(folder, processes)
    if not any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        raise ValueError(f"the checkpoint {folder} has no weights; {says}")
    check_files(folder)
    for path in sorted(folder.glob("*.safetensors")):
        check_safetensors(path)
    for path in sorted(folder.glob("*.json")):
        _read(path, says)
    for path in sorted(folder.glob("*.safetensors")):
        if wrong := not_finite_in(path):
            raise ValueError(f"{some(wrong)} in {path} has weights that are NaN or infinite; {says}")


def _read(path: Path, says: str) -> dict[str, Any]:
    """What a JSON file of a checkpoint holds."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"the checkpoint {path.parent} has no {path.name}; {says}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is cut short, or is no JSON; {says}") from None
    return found if isinstance(found, dict) else {}


def check_state(checkpoint: str | Path, processes: int = 1) -> None:
    """Refuses a checkpoint without the optimizer's state, the schedule's or the random numbers', or with half of it.

    Raises:
        ValueError: names the file that is missing, or that is cut short.
    """
    folder = Path(checkpoint)
    state = dict(_STATE)
    if processes > 1:
        del state["rng_state.pth"]
        state |= {name: (name,) for name in (f"rng_state_{at}.pth" for at in range(processes))}
    for name, patterns in state.items():
        found = [path for pattern in patterns for path in folder.glob(pattern)]
        if not found:
            raise ValueError(
                f"the checkpoint {checkpoint} has no {name} (save_only_model leaves it out), so that the run would not "
                "go on as it was; expected a whole checkpoint. Go on from another one, or start without one."
            )
    for path in sorted(path for ending in ("pt", "pth", "bin") for path in folder.glob(f"*.{ending}")):
        whole, wrong = True, None
        try:
            if whole := zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as parts:
                    wrong = parts.testzip()  # PyTorch writes the checksum of each part
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError):  # its list of parts is spoilt
            wrong = "a part"
        if not whole:
            raise ValueError(
                f"{path} is cut short, or is no file of a checkpoint; expected a whole one. Go on from another "
                "checkpoint, or start without one."
            )
        if wrong is not None:
            raise ValueError(
                f"{path} was changed, or the disk has lost a part of it (the checksum of {wrong} is another); expected "
                "it as it was saved. Go on from another checkpoint, or start without one."
            )


def checksum(path: str | Path) -> int:
    """The CRC-32 of a file, a few MiB in memory at a time."""
    found = 0
    with open(path, "rb") as file:
        while part := file.read(1 << 22):
            found = zlib.crc32(part, found)
    return found


class Resumed:
    """Checks a checkpoint's weights as it is loaded. Stands before one of TRL's trainers."""

    model: Any
    state: Any
    is_fsdp_enabled: bool
    lr_scheduler: Any
    _load_rng_state: Any

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trains. Where no step was left, and the checkpoint has no count, the loss is the mean of those it logged."""
        outcome = super().train(*args, **kwargs)  # type: ignore[misc]
        if self.state.global_step > self._begun:
            return outcome
        self._load_rng_state(self._checkpoint)  # for what is measured afterwards
        if progress_of(self._checkpoint) is not None:
            return outcome
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
                "num_train_epochs); expected a longer run, an earlier checkpoint (--resume_from_checkpoint PATH), or a "
                "new start (--resume_from_checkpoint false)."
            )
        return (num_train_epochs, 0) if self._begun == max_steps else (epochs, batches)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if checkpoint is None or not isinstance(self.lr_scheduler, LambdaLR):
            return
        # The optimizer's state has the rate of the checkpoint's run, which a longer run has not at this step.
        plan = self.lr_scheduler
        for group, base, factor in zip(plan.optimizer.param_groups, plan.base_lrs, plan.lr_lambdas, strict=True):
            group["lr"] = base * factor(plan.last_epoch)

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
