"""Whether what is compared was measured on prompts that no stage trained on: the prompts themselves are compared.

A program only knows its own data. What the SFT stage three steps before was shown, or that the reward model's pairs
came from the prompts that the policies are compared on, can be seen here alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from rlaif.ablations.stages import Stage
from rlaif.files.conversations import prompt_of, sides_of
from rlaif.files.rows import read_rows
from rlaif.records import prompt_hash

__all__ = ["Comparison", "compare_prompts"]

# Of each program: what it learns from and what it measures on, as its settings for a source and for the split of it,
# with the split that it takes where nothing is set.
_Table = dict[str, list[tuple[str, str, str | None]]]
_LEARNS: _Table = {
    "sft.py": [("dataset", "train_split", "train")],
    "dpo.py": [("dataset", "train_split", "train")],
    "bradley_terry.py": [("dataset", "train_split", "train")],
    "ppo.py": [("prompts", "prompts_split", None)],
    "best_of_n.py": [("prompts", "prompts_split", None)],  # with `sft`
}
_MEASURES: _Table = {
    "rlaif evaluate": [("prompts", "split", None), ("preferences", "preferences_split", "test")],
    "sft.py": [("dataset", "test_split", None)],
    "dpo.py": [("dataset", "test_split", "test")],
    "bradley_terry.py": [("dataset", "test_split", "test")],
    "ppo.py": [("held_out", "held_out_split", None)],
    "best_of_n.py": [("prompts", "prompts_split", None)],  # without `sft`
}
# The setting for the config of a source, by the one for its split; else it is called after the source.
_CONFIGS = dict.fromkeys(("train_split", "test_split", "split"), "config_name")


@dataclass(frozen=True)
class Comparison:
    """What comparing a measuring stage's prompts with those that stages before it trained on gave.

    Attributes:
        measures: whether the stage measures on prompts that are known by its settings.
        compared: whether what was trained on before is known, and all of it could be read.
        shared: the line that says what both have in common, None where it is nothing.
        unread: why prompts could not be read.
    """

    measures: bool
    compared: bool
    shared: str | None = None
    unread: str | None = None


@cache
def compare_prompts(stage: Stage) -> Comparison:
    """The prompts of a finished measuring stage against those of every stage before it that trains.

    What a program measures on apart from its own training data (DPO's test split, PPO's held-out prompts) is its own to
    check, and they do.
    """
    measured = dict(_sources(stage, _MEASURES))
    if not measured:
        return Comparison(measures=False, compared=False)
    try:
        for other in stage.ancestors()[:-1]:
            if _name(other) not in _LEARNS and not _name(other).startswith("rlaif "):
                why = f"{stage.name}: what {other.name} ({other.program}) trains on is not known"
                return Comparison(measures=True, compared=False, unread=why)
            for setting, learned in _sources(other, _LEARNS):
                for what, source in measured.items():
                    if both := _prompts(*source) & _prompts(*learned):
                        return Comparison(
                            measures=True,
                            compared=True,
                            shared=f"{len(both)} of the {len(_prompts(*source))} prompts that {stage.name} measures on "
                            f"({what}) are among those that {other.name} trained on ({setting}); expected none: give "
                            "it others.",
                        )
    except (OSError, ValueError) as error:  # a Hub's or a user's data, in whatever state
        return Comparison(measures=True, compared=False, unread=f"{stage.name}: {error}")
    return Comparison(measures=True, compared=True)


def _name(stage: Stage) -> str:
    """What the tables call a stage's program: `rlaif judge`, or the name of its file."""
    return stage.program if stage.program.startswith("rlaif ") else Path(stage.program).name


def _sources(stage: Stage, table: _Table) -> Iterator[tuple[str, tuple[str, str | None, str | None]]]:
    """The prompt sources of a stage, by the setting that names them: path, split and config."""
    name = _name(stage)
    settings: Mapping[str, Any] = stage.settings
    if name == "best_of_n.py" and bool(settings.get("sft")) != (table is _LEARNS):
        return
    for source, split, default in table.get(name, []):
        of_split = settings.get(split, default)
        if settings.get(source) and not (split == "test_split" and str(of_split).lower() == "none"):
            yield source, (str(settings[source]), of_split, settings.get(_CONFIGS.get(split, f"{source}_config_name")))


@lru_cache(maxsize=256)
def _prompts(source: str, split: str | None, config_name: str | None = None) -> frozenset[str]:
    """The hashes of a source's prompts; a ValueError where it has none that can be read."""
    path = Path(source)
    if (path / "data").is_dir():
        from rlaif.files.preferences import load_preferences

        rows = load_preferences(source, split or "train", config_name)
        return frozenset(prompt_hash(prompt) for prompt in rows["prompt"])
    hashes = set()
    for where, row in read_rows(source, None if path.is_file() else split, config_name):
        try:
            hashes.add(prompt_hash(sides_of(row)[0] if "chosen" in row else prompt_of(row)))
        except ValueError as error:
            raise ValueError(f"{where} has no prompt of its own to compare ({error})") from None
    return frozenset(hashes)
