"""What the training programs share: losses, tokenized data, model builders, TRL's trainers with the soft loss."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlaif.config import UsageError

__all__ = ["leave_process_group", "output_folder", "quiet_libraries", "resume_point"]


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


@contextmanager
def output_folder(
    command: str, data_config: Any, model_config: Any, args: Any, reads: Iterable[str | None]
) -> Iterator[str | None]:
    """Makes `args.output_dir` the output of a program for the block; gives the checkpoint to go on from, or None.

    Args:
        command: the program, as its manifest says it.
        data_config: its own settings, a dataclass.
        model_config: the model that it starts from; whether code of repositories may run is said there, for all.
        args: its Trainer's settings.
        reads: datasets, and models beside `model_config.model`.

    Raises:
        UsageError: evaluation is asked for, and nothing is held out.
        ValueError: the folder is not this program's to write into; no whole checkpoint; one of another run.
    """
    from rlaif.files.ownership import claim
    from rlaif.models.parallel import is_main, process_count, wait_for_everyone
    from rlaif.training.models import base_model
    from rlaif.training.resumed import check_state
    from rlaif.training.same_run import check_same_run, run_settings
    from rlaif.training.saving import check_checkpoints, mend

    evaluates = str(getattr(args.eval_strategy, "value", args.eval_strategy))
    if evaluates != "no" and getattr(data_config, "test_split", "") is None:
        raise UsageError(
            f"eval_strategy is {evaluates!r} and test_split none, so that nothing is held out to evaluate on; expected "
            "a --test_split, or --eval_strategy no."
        )
    args.trust_remote_code = model_config.trust_remote_code
    sources = [source for source in (*reads, model_config.model, base_model(model_config.model)) if source]
    sources = list(dict.fromkeys(sources))
    wanted = args.resume_from_checkpoint
    resuming = wanted is not None and wanted.lower() not in {"", "false", "none"}
    saves = getattr(args.save_strategy, "value", args.save_strategy) != "no"
    if saves or resuming:
        check_checkpoints(args.output_dir)
    with claim(args.output_dir, command, sources, setting="output_dir", resuming=resuming):
        if is_main():
            mend(args.output_dir)
        wait_for_everyone()
        start = resume_point(wanted, args.output_dir)
        if start or saves:
            settings = {**asdict(data_config), **asdict(model_config), **args.to_dict(), "processes": process_count()}
            args.run_settings = run_settings(command, settings, sources)
        if start:
            check_state(start)
            check_same_run(start, args.run_settings)
        try:
            yield start
        finally:
            if is_main():
                mend(args.output_dir)


def resume_point(value: str | None, output_dir: str) -> str | None:
    """The checkpoint that `--resume_from_checkpoint` means: for "true" the newest one in `output_dir` that is whole.

    The Trainer writes trainer_state.json last, so a checkpoint without it is one that a kill has cut short.

    Raises:
        ValueError: there is no whole checkpoint there.
    """
    from rlaif.training.saving import checkpoints_in, is_whole

    if value is None or value.lower() in {"", "false", "none"}:
        return None
    if value.lower() not in {"true", "last"}:
        if not is_whole(Path(value)):
            raise ValueError(
                f"resume_from_checkpoint is {value}, which holds no trainer_state.json that is whole; expected a whole "
                "checkpoint (OUTPUT_DIR/checkpoint-N), or true for the newest."
            )
        return value
    whole = [path for path in checkpoints_in(output_dir) if is_whole(path)]
    if not whole:
        raise ValueError(
            f"resume_from_checkpoint is {value}, but {output_dir} holds no whole checkpoint; expected one that a run "
            "with --save_strategy steps wrote. Start without it."
        )
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2])))


_groups: list[object] = []


def leave_process_group() -> None:
    """Ends what is collective: from here on the main process works alone and the others may finish."""
    from accelerate import PartialState

    state = PartialState()
    state.wait_for_everyone()
    if state.num_processes > 1:
        import torch.distributed

        # Held to the end of the process. Else DDP's reducer has the last reference, and what ends it joins the group's
        # threads without giving up the interpreter's lock, for which one of them may be waiting: for ever, seen once.
        _groups.append(torch.distributed.group.WORLD)
        state.destroy_process_group()
