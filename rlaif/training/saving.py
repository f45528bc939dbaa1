"""A trained model takes the place of an earlier one whole; a checkpoint is whole or not there.

What a run writes stands in a hidden folder of its output until all of it is there: weights, tokenizer, report and
manifest. Then it is moved into place, and of an earlier run's model goes what the new one does not have: an adapter's
config beside full weights, shards beside one file, another tokenizer's added tokens would all change what is loaded.
What neither the earlier run wrote nor a loader reads is somebody's own, and stays.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rlaif.files.model_files import NUMBERED, is_checkpoint, is_read_by_a_loader
from rlaif.files.room import names_place
from rlaif.files.sources import json_object, write_json
from rlaif.pages.curves import draw_curves
from rlaif.training.resumed import FILES, checksum
from rlaif.training.same_run import RUN_FILE

__all__ = [
    "WholeCheckpoints",
    "check_checkpoints",
    "checkpoints_in",
    "mend",
    "replace_model",
    "save",
]

STAGED = ".saving"
# Without these nothing is loaded: gone first, and put in place last.
_ENTRIES = ("manifest.json", "adapter_config.json", "config.json")
_EARLIER = ".{}.earlier"
_STALE = ".stale.json"  # in STAGED: the checkpoints of an earlier run, which go with its model
# What a run of an earlier version wrote beside its model: its manifest has no list.
_REPORTS = {
    "recipes/ppo.py": ("report.json", "report.md", "checks.jsonl", "over_optimization.png", "bad_rows.jsonl"),
    "recipes/best_of_n.py": ("report.json", "best.jsonl", "bad_rows.jsonl"),
    **dict.fromkeys(("recipes/sft.py", "recipes/dpo.py", "reward_models/bradley_terry.py"), ("report.json",)),
}
_WROTE = "files"  # in a manifest: the names that a run put into its folder


def save(trainer: Any) -> Path:
    """Writes the model, its tokenizer, the trainer's state and its curves to a hidden folder of the output, and returns
    that.

    Called in all processes. `replace_model` moves it, with what else was written there, to where it is loaded from.

    Raises:
        OSError: no room; names the output folder, where nothing was changed.
        ValueError: the launcher's settings leave no weights to save.
    """
    from rlaif.models.loading import quiet

    staged = Path(trainer.args.output_dir) / STAGED
    main = trainer.args.should_save
    if main:
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
    trainer.accelerator.wait_for_everyone()
    with quiet(), names_place(trainer.args.output_dir):
        trainer.save_model(str(staged), _internal_call=True)
        if main:
            (staged / "README.md").unlink(missing_ok=True)  # PEFT's draft of a card, in the place of a user's own
            trainer.state.save_to_json(str(staged / "trainer_state.json"))
            draw_curves(staged, trainer.state.log_history)
            write_json(staged / _STALE, {"checkpoints": [path.name for path in trainer.earlier]})
    if main and not any(_weights(staged)):
        raise ValueError(
            "no weights were saved: this launcher keeps them spread over its processes; expected whole ones "
            "(fsdp_state_dict_type FULL_STATE_DICT, zero3_save_16bit_model true). The checkpoints hold the parts."
        )
    return staged


def _weights(folder: Path) -> Iterator[Path]:
    for pattern in ("*.safetensors", "*.bin", "global_step*"):
        yield from (path for path in folder.glob(pattern) if path.name != "training_args.bin")


def replace_model(staged: Path, folder: str | Path) -> None:
    """Moves what `save` and a program wrote into the output, for the whole model that an earlier run left there.

    A kill in between leaves a folder that nothing is loaded from, not one of two models; called again (`mend`), this
    goes on from there.
    """
    folder = Path(folder)
    aside = staged.with_name(f"{STAGED}-earlier")
    plan = json_object(staged / _STALE)
    if "new" not in plan:
        new = sorted(path.name for path in staged.iterdir() if path.name != _STALE)
        earlier = json_object(folder / "manifest.json")
        wrote = {*new, *(earlier.get(_WROTE) or _REPORTS.get(str(earlier.get("command")), ()))}
        old = sorted(path.name for path in folder.iterdir() if path.name in wrote or is_read_by_a_loader(path))
        if manifest := json_object(staged / "manifest.json"):
            write_json(staged / "manifest.json", {**manifest, _WROTE: new})
        plan = {"checkpoints": [], **plan, "new": new, "old": old}
        write_json(staged / _STALE, plan)
        shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(exist_ok=True)
    for name in sorted(plan["old"], key=lambda name: (name not in _ENTRIES, name)):
        put = name in plan["new"] and not (staged / name).exists()
        if not put and os.path.lexists(folder / name):
            os.rename(folder / name, aside / name)
    for name in sorted(plan["new"], key=lambda name: (name in _ENTRIES, name == "manifest.json", name)):
        if (staged / name).exists():
            os.replace(staged / name, folder / name)
    for path in (aside, *(folder / name for name in plan["checkpoints"]), staged):
        shutil.rmtree(path, ignore_errors=True)


# Checkpoints ----------------------------------------------------------------------------------------------------------


class WholeCheckpoints:
    """Checkpoints that are whole or not there, and of this run alone. Stands before one of TRL's trainers."""

    args: Any
    state: Any
    accelerator: Any
    _get_output_dir: Any
    earlier: tuple[Path, ...] = ()  # the checkpoints that another run left in the output

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trains; the first whole checkpoint of a run replaces those of another one."""
        self.earlier = tuple(getattr(self.args, "replaced_checkpoints", ()))
        if not resume_from_checkpoint:
            self.earlier = tuple(checkpoints_in(self.args.output_dir))
        with names_place(self.args.output_dir):
            return super().train(resume_from_checkpoint, *args, **kwargs)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        main = self.args.should_save
        with _whole(folder) if main else nullcontext():
            self.accelerator.wait_for_everyone()  # others write into the folder too
            with names_place(folder):
                if main:
                    folder.mkdir(parents=True, exist_ok=True)
                    self._save_beside(folder)
                super()._save_checkpoint(model, trial)  # type: ignore[misc]
            self.accelerator.wait_for_everyone()
            if main:
                _list_files(folder)
        for stale in self.earlier if main else ():
            if stale != folder:
                shutil.rmtree(stale, ignore_errors=True)
        self.earlier = ()

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL's, which goes to the Hub; not into an output that still holds an earlier run's model."""
        if self.args.push_to_hub:
            super().create_model_card(*args, **kwargs)  # type: ignore[misc]

    def _save_beside(self, folder: Path) -> None:
        """Writes what a checkpoint holds besides the library's files, before those."""
        if settings := getattr(self.args, "run_settings", None):
            write_json(folder / RUN_FILE, settings)


def _list_files(folder: Path) -> None:
    """Writes the names and sizes of a checkpoint's files into it: what is cut short or lost later is known by them.

    What has no checksums of its own, as PyTorch's files have, has one there: a disk may lose blocks and keep the size.
    """
    files: dict[str, int | list[int]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        sums = path.suffix == ".safetensors" or size < _SMALL
        files[str(path.relative_to(folder))] = [size, checksum(path)] if sums else size
    write_json(folder / FILES, {name: listed for name, listed in files.items() if name != FILES})


_SMALL = 1 << 20  # bytes of a file that is read whole without a thought


def checkpoints_in(folder: str | Path) -> Iterator[Path]:
    """The checkpoints in an output folder, whole or not; no folder of that name that holds something else."""
    yield from filter(is_checkpoint, Path(folder).glob("checkpoint-*"))


def check_checkpoints(folder: str | Path) -> None:
    """A ValueError for a folder called like a checkpoint that holds something else: saving would replace it."""
    for path in sorted(Path(folder).glob("checkpoint-*")):
        if NUMBERED.fullmatch(path.name) and path.is_dir() and not path.is_symlink() and not is_checkpoint(path):
            raise ValueError(
                f"output_dir is {folder}, which holds {path.name} with {next(path.iterdir()).name} in it, no "
                "checkpoint of a run; expected none of that name, since checkpoints are saved there. Move it "
                "elsewhere. Nothing was changed."
            )


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """What the block writes to `folder` stays if all of it is written; else what was there before."""
    earlier = folder.with_name(_EARLIER.format(folder.name))
    if folder.exists():
        shutil.rmtree(earlier, ignore_errors=True)
        os.rename(folder, earlier)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if earlier.exists():
            os.rename(earlier, folder)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def mend(folder: str | Path) -> None:
    """Removes what a killed run had begun to save in its output, and puts back what it had set aside for that.

    A model that was whole and on its way into place goes on to there.
    """
    folder = Path(folder)
    if "new" in json_object(folder / STAGED / _STALE):
        replace_model(folder / STAGED, folder)
    for name in (STAGED, f"{STAGED}-earlier"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for earlier in folder.glob(_EARLIER.format("checkpoint-*")):
        place = folder / earlier.name.removeprefix(".").removesuffix(".earlier")
        if _is_whole(place):
            shutil.rmtree(earlier, ignore_errors=True)
        else:
            shutil.rmtree(place, ignore_errors=True)
            os.rename(earlier, place)


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: the Trainer writes trainer_state.json last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return True
