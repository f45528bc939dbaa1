"""Whose a checkpoint is: a run goes on from one with the settings and the data that it was saved with.

Everything decides what is trained but for the settings of `MAY_DIFFER`. A setting that a later version adds decides
too, and a checkpoint that was saved before there was one is not asked about it. Of a reward function's code a change
is said and no more: a run that a bug in it ended goes on when that is mended.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from rlaif.config import warn
from rlaif.errors.words import shown
from rlaif.files.manifest import rows_of
from rlaif.files.sources import fingerprint, is_still
from rlaif.models.adapters import adapter_config
from rlaif.settings.functions import function_file

__all__ = ["MAY_DIFFER", "RUN_FILE", "check_same_run", "decides", "difference", "run_settings", "say_of_code"]

RUN_FILE = "run.json"  # in every checkpoint

# Patterns of the settings that may be others when a run goes on.
MAY_DIFFER = {
    "output": ("output_dir", "push_to_hub", "hub_*"),
    "resuming": ("resume_from_checkpoint", "ignore_data_skip", "restore_callback_states_from_checkpoint"),
    "saving": ("save_*", "enable_jit_checkpoint"),
    "logging": (
        *("logging_*", "log_*", "report_to", "run_name", "project", "trackio_*", "disable_tqdm"),
        *("num_completions_to_print", "include_num_input_tokens_seen", "skip_memory_metrics"),
    ),
    "evaluation cadence": ("eval_*", "do_eval", "do_train", "do_predict", "per_device_eval_batch_size"),
    "length of the run": ("max_steps", "num_train_epochs"),
    # Rows that were read when the checkpoint was saved are read the same way in either case.
    "bad rows": ("on_bad_row",),
    "the machine": (
        *("local_rank", "ddp_timeout", "dataloader_num_workers", "dataloader_pin_memory", "torch_empty_cache_steps"),
        *("dataloader_persistent_workers", "dataloader_prefetch_factor"),
        *("vllm_server_*", "vllm_group_port", "vllm_gpu_memory_utilization"),
    ),
}


def decides(setting: str) -> bool:
    """Whether a run with another value of a setting is another run."""
    return not any(fnmatchcase(setting, pattern) for patterns in MAY_DIFFER.values() for pattern in patterns)


def run_settings(program: str, settings: Mapping[str, Any], reads: Iterable[str | None]) -> dict[str, Any]:
    """What makes a run that run, as its checkpoints keep it: the program, settings, fingerprints of what was read.

    Args:
        program: as its manifest says it.
        settings: all of them.
        reads: datasets and models; the judges' files that `rewards` names are added, and the models of those.
    """
    deciding = {name: value for name, value in sorted(settings.items()) if decides(name)}
    named = [word.partition("=")[2] for word in settings.get("rewards") or ()]
    judges = [path for path in named if os.path.isfile(path)]
    sources = [*reads, *judges, *(place for judge in judges for place in _models_of(judge))]
    read = {str(source): _content(Path(str(source))) for source in sources if source}
    functions = [word.partition("=")[2] for word in settings.get("rewards") or () if word.startswith("function=")]
    code = {name: fingerprint(file) for name in functions if (file := function_file(name))}
    length = {name: settings.get(name) for name in MAY_DIFFER["length of the run"]}
    plain = json.loads(json.dumps({"settings": deciding, "length": length, "read": read, "code": code}, default=str))
    return {"program": program, **plain}


def _models_of(judge: str) -> list[str]:
    """The folders of the local model that a judge's file names, an adapter's base model among them."""
    try:
        row = yaml.safe_load(Path(judge).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return []  # reading it as a judge says what is wrong
    model = row.get("model") if isinstance(row, dict) else None
    name = model.get("name") if isinstance(model, dict) else model
    if not isinstance(name, str) or not os.path.isdir(name):
        return []
    base = (adapter_config(name) or {}).get("base_model_name_or_path", name)
    return [name, *([base] if base != name and os.path.isdir(base) else [])]


def _content(source: Path) -> str:
    """The fingerprint of a source's rows or weights: a dataset that was built again from the same is the same."""
    return fingerprint(_rows_or_weights(source))


def _rows_or_weights(source: Path) -> Path:
    return next(iter(rows_of(source)), source)


def check_same_run(checkpoint: str | Path, now: Mapping[str, Any]) -> None:
    """Refuses to go on from a checkpoint of another program, with other settings or with other data.

    Args:
        checkpoint: its folder; of one without run.json (an earlier version's) nothing is known.
        now: `run_settings` of this run.

    Raises:
        ValueError: says what differs. Of a reward function's code a warning does.
    """
    if differs := difference(checkpoint, now):
        raise ValueError(
            f"{differs}; expected the same run: go on with those settings and data, or begin one of its own without "
            "this checkpoint (another --output_dir, or --resume_from_checkpoint false)."
        )
    say_of_code(checkpoint, now)


def say_of_code(checkpoint: str | Path, now: Mapping[str, Any]) -> None:
    """Warns of each reward function whose module was changed since a checkpoint of this run was saved."""
    code = (_then(checkpoint) or {}).get("code")
    for function, content in now["code"].items():
        if isinstance(code, dict) and code.get(function, content) != content:
            warn(f"the module of {function} was changed since {checkpoint} was saved; the run goes on with it as it is")


def difference(checkpoint: str | Path, now: Mapping[str, Any], most: int = 3) -> str:
    """What makes the run of a checkpoint another run, in words; "" where it is the same, or nothing is known of it.

    Args:
        checkpoint, now: as in `check_same_run`.
        most: how many settings are named.

    Raises:
        ValueError: run.json cannot be read.
    """
    then = _then(checkpoint)
    if then is None:
        return ""
    settings, read = then["settings"], then["read"]
    if (program := then.get("program", now["program"])) != now["program"]:
        return f"{checkpoint} was saved by {program}, not by {now['program']}"
    differing = [name for name, value in now["settings"].items() if name in settings and settings[name] != value]
    if differing:
        named = [
            f"{name} {shown(settings[name])}; here it is {shown(now['settings'][name])}" for name in differing[:most]
        ]
        more = f", and {len(differing) - most} settings more differ" if len(differing) > most else ""
        return f"{checkpoint} is of a run with {', '.join(named)}{more}"
    for source, content in now["read"].items():
        known = source not in read or read[source] == content
        if not known and not is_still(_rows_or_weights(Path(source)), read[source]):  # as an earlier version wrote it
            return f"{source} was written anew since {checkpoint} was saved"
    return ""


def _then(checkpoint: str | Path) -> dict[str, Any] | None:
    """What a checkpoint keeps of its run; None where an earlier version saved it."""
    path = Path(checkpoint) / RUN_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {**found, "settings": dict(found["settings"]), "read": dict(found["read"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is cut short, or says nothing of a run; expected it as it was saved.") from None
