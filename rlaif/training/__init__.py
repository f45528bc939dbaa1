"""What the training programs share: losses, tokenized data, model builders, TRL's trainers with the soft loss."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

__all__ = ["leave_process_group", "quiet_libraries", "resume_point"]


def quiet_libraries() -> None:
    """Silences what libraries say that a user of these programs cannot act on. Called first thing by a program."""
    # Deprecations inside of libraries, for their authors.
    for library in ("accelerate", "bitsandbytes", "datasets", "peft", "torch", "transformers", "trl"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=rf"{library}(\.|$)")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=rf"{library}(\.|$)")
    # bitsandbytes looks for a CPU kernel on the network and says so when it does without.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # Training must not be slowed by, or fail for, a usage report.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # datasets' workers and tokenizers' threads after a fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def resume_point(value: str | None) -> Any:
    """What `Trainer.train` takes for `--resume_from_checkpoint`: True for "true" (the newest), a folder, or None."""
    if value is None or value.lower() in {"", "false", "none"}:
        return None
    return True if value.lower() in {"true", "last"} else value


def leave_process_group() -> None:
    """Ends what is collective: from here on the main process works alone and the others may finish."""
    from accelerate import PartialState

    state = PartialState()
    state.wait_for_everyone()
    if state.num_processes > 1:
        state.destroy_process_group()
