"""The processes of `accelerate launch`: which one this is, how many there are, and waiting for all of them."""

from __future__ import annotations

import datetime
import os
from typing import Any

__all__ = [
    "is_main",
    "on_cpu",
    "process_count",
    "process_index",
    "process_state",
    "wait_for_everyone",
]


def process_index() -> int:
    """This process's rank, 0 without a launcher."""
    return int(os.environ.get("RANK", "0"))


def process_count() -> int:
    """How many processes the launcher started, 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process prints and writes the results."""
    return process_index() == 0


def on_cpu() -> bool:
    """Whether this process computes on the CPU: the launcher says so, or there is nothing else.

    accelerate and TRL have to be told. Without a GPU and without the word they take each of several processes for the
    only one: no barrier holds, and each trains a model of its own.
    """
    import torch

    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() in {"1", "true", "yes"}
    return asked or not torch.accelerator.is_available()


def process_state() -> Any:
    """accelerate's `PartialState`: this process's device, and its tie to the other processes."""
    from accelerate import PartialState

    if process_count() == 1:
        return PartialState(cpu=on_cpu())
    # Judging one share may take hours longer than another: the default of ten minutes would kill the run.
    return PartialState(cpu=on_cpu(), timeout=datetime.timedelta(days=30))


def wait_for_everyone() -> None:
    """Returns when every process got here. Without a launcher at once, and without importing torch."""
    if process_count() > 1:
        state = process_state()
        assert state.num_processes == process_count(), "the launcher's processes are not tied together"
        state.wait_for_everyone()
