"""What the training programs share: losses, tokenized data, model builders, TRL's trainers with the soft loss."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from rlaif.config import UsageError
from rlaif.secrets import without_keys

if TYPE_CHECKING:
    from rlaif.training.start import Start

__all__ = ["leave_process_group", "output_folder", "quiet_libraries"]


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
        ValueError: the folder is not this program's to write into; what `rlaif.training.start.start_of` refuses.
        KeyboardInterrupt: of the block, with words on what the same command will do.
    """
    from rlaif.files.ownership import claim
    from rlaif.models.parallel import is_main, process_count, wait_for_everyone
    from rlaif.training.models import base_model
    from rlaif.training.same_run import run_settings
    from rlaif.training.saving import check_checkpoints, mend
    from rlaif.training.start import asked_for

    if args.eval_strategy != "no" and getattr(data_config, "test_split", "") is None:
        raise UsageError(
            f"eval_strategy is {str(args.eval_strategy.value)!r} and test_split none, so that nothing is held out to "
            "evaluate on; expected a --test_split, or --eval_strategy no."
        )
    if args.report_to:
        sys.argv[1:] = without_keys(sys.argv[1:])  # wandb sends the command line too
    args.trust_remote_code = model_config.trust_remote_code
    sources = [source for source in (*reads, model_config.model, base_model(model_config.model)) if source]
    sources = list(dict.fromkeys(sources))
    resuming = asked_for(args.resume_from_checkpoint) in {"true", "path"}
    saves = args.save_strategy != "no"

    @cache
    def settings() -> dict[str, Any]:
        every = {**asdict(data_config), **asdict(model_config), **args.to_dict(), "processes": process_count()}
        return run_settings(command, every, sources)

    if saves or resuming:
        check_checkpoints(args.output_dir)
    with claim(args.output_dir, command, sources, setting="output_dir", resuming=resuming):
        if is_main():
            mend(args.output_dir)
        wait_for_everyone()
        start = _agreed(args, settings)
        if start.said and is_main():
            print(start.said, flush=True)
        if saves and args.should_save:  # the others need not read the data for it
            args.run_settings = settings()
        args.replaced_checkpoints = start.replaced
        args.eval_on_start = args.eval_on_start and start.checkpoint is None  # it has been
        before = _checkpoints(args.output_dir)
        try:
            yield start.checkpoint
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(args, command, start.checkpoint, before)) from None
        finally:
            if is_main():
                mend(args.output_dir)


def _agreed(args: Any, settings: Callable[[], dict[str, Any]]) -> Start:
    """Where the run begins, as the main process finds it: others may see a shared folder later, or otherwise."""
    from rlaif.models.parallel import is_main, process_count
    from rlaif.training.start import start_of

    count = process_count()
    each = int(os.environ.get("LOCAL_WORLD_SIZE", count)) if args.save_on_each_node else count
    if count == 1:
        return start_of(args, settings)
    from accelerate.utils import broadcast_object_list

    found: list[Any] = [None, None]
    if is_main():
        try:
            found[0] = start_of(args, settings, each)
        except (ValueError, OSError) as error:
            found[1] = error
    broadcast_object_list(found)
    if found[1] is not None:
        raise found[1]
    return found[0]  # type: ignore[no-any-return]


def _interrupted(args: Any, command: str, start: str | None, before: set[tuple[str, int]]) -> str:
    """What to expect of the same command, once it was interrupted; "" where that is what every command says.

    Args:
        args: the Trainer's settings.
        command: the program.
        start: the checkpoint that it went on from.
        before: the checkpoints that were there.
    """
    from rlaif.training.start import asked_for, step_of

    if args.save_only_model:
        return ""
    saved = [path for path, _ in _checkpoints(args.output_dir) - before] + ([start] if start else [])
    if not saved:
        if command == "recipes/best_of_n.py":
            return ""  # it goes on from its replies
        return "interrupted before a checkpoint was saved; what was stored is kept, and the same command begins anew."
    wanted = args.resume_from_checkpoint
    without = "" if asked_for(wanted) in {"unset", "true"} else f" without --resume_from_checkpoint {wanted}"
    return f"interrupted; the same command{without} goes on from {max(saved, key=step_of)}."


def _checkpoints(folder: str) -> set[tuple[str, int]]:
    """The checkpoints in a folder that were saved to their end, and when."""
    from rlaif.training.saving import checkpoints_in

    whole = (path / "trainer_state.json" for path in checkpoints_in(folder))
    return {(str(path.parent), path.stat().st_mtime_ns) for path in whole if path.exists()}


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
