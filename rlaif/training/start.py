"""Where a run begins: at its own newest whole checkpoint, where the output has one, or anew.

One command starts a run and goes on with it. What it finds in its output is one of these:

    its own      a checkpoint of the same program, settings and data (`rlaif.training.same_run`): the newest is taken
    torn         a kill cut its saving short: passed over, said
    damaged      it was whole once: passed over, said; where no other is left, an error and no new start
    another's    of other settings or data: an error, unless this run has some of its own
    unknown      an earlier version saved it and did not say of which run: an error that asks
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rlaif.config import UsageError, warn
from rlaif.errors.words import meant, shown
from rlaif.training.resumed import check_whole
from rlaif.training.same_run import RUN_FILE, check_same_run, difference, say_of_code
from rlaif.training.saving import checkpoints_in

__all__ = ["Start", "asked_for", "start_of", "step_of"]


class Start(NamedTuple):
    """A run's beginning.

    Attributes:
        checkpoint: the one to go on from, or None to begin anew.
        replaced: those of other runs, which go once this run has saved one.
        said: one line of it for the user, or none.
    """

    checkpoint: str | None = None
    replaced: tuple[str, ...] = ()
    said: str = ""


def asked_for(wanted: str | bool | None) -> Literal["unset", "true", "false", "path"]:
    """What a value of `--resume_from_checkpoint` asks for: "true" for a checkpoint, "path" for the one it names."""
    word = "" if wanted is None else str(wanted).lower()
    if not word:
        return "unset"
    if word in {"false", "none", "null"}:
        return "false"
    return "true" if word in {"true", "last"} else "path"


def start_of(args: Any, settings: Callable[[], Mapping[str, Any]], processes: int = 1) -> Start:
    """Where the run of `args` begins.

    Args:
        args: a Trainer's settings.
        settings: gives the run's `run_settings`; called where there is a checkpoint to compare them with.
        processes: how many train.

    Raises:
        ValueError: a checkpoint is asked for, and there is none that is whole; checkpoints are there, and whether to go
            on from them or to begin anew is the user's to say.
    """
    wanted, output = args.resume_from_checkpoint, args.output_dir
    asked = asked_for(wanted)
    if asked == "path":
        if not os.path.isdir(wanted):
            raise UsageError(
                f"resume_from_checkpoint is {shown(wanted, 200)}, which is no folder; expected true, false or a "
                f"checkpoint's path.{meant(wanted, ('true', 'false'))}"
            )
        check_whole(wanted, processes)
        check_same_run(wanted, settings())
        return Start(str(wanted), said=_going_on(wanted, args, settings()))
    found = sorted(checkpoints_in(output), key=step_of, reverse=True)
    if not found:
        if asked == "true":
            raise ValueError(
                f"resume_from_checkpoint is {wanted}, but {output} holds no whole checkpoint; expected one that a run "
                "with --save_strategy steps wrote. Start without it."
            )
        return Start()
    if asked == "false":
        what = "model" if args.save_strategy == "no" else "checkpoint"
        return Start(said=f"beginning anew; {_named(found)} in {output} will go once this run has saved a {what}")
    return _newest(found, args, settings(), processes)


def _newest(found: list[Path], args: Any, now: Mapping[str, Any], processes: int) -> Start:
    """The newest of `found` that is whole and of this run."""
    explicit = asked_for(args.resume_from_checkpoint) == "true"
    others: dict[Path, str] = {}
    damaged: list[tuple[Path, str]] = []
    unknown, torn = [], []
    for path in found:
        if not (path / "trainer_state.json").exists():
            torn.append(path)
            continue
        try:
            if not (path / RUN_FILE).exists() and not explicit:
                unknown.append(path)
                continue
            if differs := difference(path, now):
                others[path] = differs
                continue
            if args.save_only_model and not explicit and not any(path.glob("optimizer*")):
                return Start(said=f"beginning anew: {path} keeps weights alone (save_only_model)")
            check_whole(path, processes)
        except ValueError as error:
            damaged.append((path, str(error)))
            continue
        except OSError as error:  # a file that may not be read, a disk that cannot read it
            damaged.append((path, f"{error.filename or path} cannot be read ({error.strerror})"))
            continue
        for torn_one in torn:
            warn(f"{torn_one} is passed over: a kill cut it short while it was saved")
        for unknown_one in unknown:
            warn(f"{unknown_one} is passed over: it has no {RUN_FILE}, which says of which run it is")
        for damaged_one, fault in damaged:
            warn(f"{damaged_one.name} is passed over: {fault}")
        say_of_code(path, now)
        return Start(str(path), tuple(map(str, others)), _going_on(path, args, now))
    output = args.output_dir
    ways = "give another --output_dir, or begin anew in this one with --resume_from_checkpoint false, which replaces it"
    if damaged:
        path, fault = damaged[0]
        more = f" Of {len(damaged)} damaged ones this is the newest." if len(damaged) > 1 else ""
        raise ValueError(
            f"no checkpoint in {output} can be gone on from: {fault}{more} To lose what they hold, begin anew with "
            "--resume_from_checkpoint false."
        )
    if others:
        path, differs = next(iter(others.items()))
        raise ValueError(f"{differs}; expected the same run: go on with those settings and data, {ways}.")
    if unknown:
        raise ValueError(
            f"{output} holds {unknown[0].name}, which an earlier version saved and did not say of which run; expected "
            "--resume_from_checkpoint true to go on from it, or false to begin anew, which replaces it."
        )
    if explicit:
        raise ValueError(
            f"resume_from_checkpoint is {args.resume_from_checkpoint}, but {output} holds no whole checkpoint: a kill "
            f"cut {_named(torn)} short. Start without it."
        )
    return Start(said=f"beginning anew: a kill cut {_named(torn)} in {output} short while it was saved")


def step_of(checkpoint: str | Path) -> int:
    """The optimizer steps that a checkpoint has behind it, by its name; -1 of another name."""
    last = Path(checkpoint).name.rpartition("-")[2]
    return int(last) if last.isdecimal() else -1


def _going_on(checkpoint: str | Path, args: Any, now: Mapping[str, Any]) -> str:
    state = json.loads((Path(checkpoint) / "trainer_state.json").read_bytes())
    steps = args.max_steps if args.max_steps > 0 else None
    if steps is None:
        try:
            if json.loads((Path(checkpoint) / RUN_FILE).read_bytes())["length"] == now["length"]:
                steps = state["max_steps"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # how many steps it will be is known when the rows are
    return f"going on from {checkpoint}, step {state['global_step']}" + (f" of {steps}" if steps else "")


def _named(found: list[Path]) -> str:
    names = [os.path.basename(path) for path in found]
    return names[0] if len(names) == 1 else f"{len(names)} checkpoints ({names[-1]} to {names[0]})"
