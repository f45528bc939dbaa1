"""A run goes on from a checkpoint that holds all of its weights, or not at all.

The Trainer loads what fits and leaves the rest as the model began, with a warning at most.
"""

from __future__ import annotations

from typing import Any

from rlaif.models.adapters import check_adapter
from rlaif.models.weights import check_files, check_finite, some

__all__ = ["Resumed"]


class Resumed:
    """Checks a checkpoint's weights as it is loaded. Stands before one of TRL's trainers."""

    model: Any
    is_fsdp_enabled: bool

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
