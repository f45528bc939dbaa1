"""Whether what is compared was measured on prompts that no stage trained on: the prompts themselves are compared.

A program only knows its own data. What the SFT stage three steps before was shown, or that the reward model's pairs
came from the prompts that the policies are compared on, can be seen here alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from rlaif.ablations.stages import Stage
from rlaif.records import prompt_hash
from rlaif.sources import read_rows

__all__ = ["measures", "trained_on_what_is_measured"]

# Of each program: what it learns from and what it measures on, as its settings for a source and for the split of it.
_Table = dict[str, list[tuple[str, str, str | None]]]
_LEARNS: _Table = {
    "sft.py": [("dataset", "train_split", None)],
    "dpo.py": [("dataset", "train_split", "train")],
    "bradley_terry.py": [("dataset", "train_split", "train")],
    "ppo.py": [("prompts", "prompts_split", None)],
}
_MEASURES: _Table = {
    "rlaif evaluate": [("prompts", "split", None), ("preferences", "preferences_split", "test")],
    "ppo.py": [("held_out", "held_out_split", None)],
    "best_of_n.py": [("prompts", "prompts_split", None)],
}


def measures(stage: Stage) -> bool:
    """Whether a stage is of a program whose prompts to measure on are known by its settings."""
    return any(True for _ in _sources(stage, _MEASURES))


def trained_on_what_is_measured(stage: Stage) -> str | None:
    """The line that says how many of a measuring stage's prompts another stage had trained on; None where none was."""
    measured = dict(_sources(stage, _MEASURES))
    if not measured:
        return None
    for other in stage.ancestors():
        if other is stage:
            continue  # what a program measures on apart from its own data is its own to check, and they do
        for setting, learned in _sources(other, _LEARNS):
            for what, source in measured.items():
                both = _prompts(*source) & _prompts(*learned)
                if both:
                    return (
                        f"{len(both)} of the {len(_prompts(*source))} prompts that {stage.name} measures on ({what}) "
                        f"are among those that {other.name} trained on ({setting}); expected none: give it others."
                    )
    return None


def _sources(stage: Stage, table: _Table) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """The prompt sources of a stage, by the setting that names them: path and split."""
    settings = stage.settings
    entries = next((entries for program, entries in table.items() if stage.program.endswith(program)), [])
    if table is _LEARNS and stage.program.endswith("best_of_n.py") and settings.get("sft"):
        entries = [("prompts", "prompts_split", None)]
    for source, split, default in entries:
        if settings.get(source):
            yield source, (str(settings[source]), settings.get(split, default))


@lru_cache(maxsize=256)
def _prompts(source: str, split: str | None) -> frozenset[str]:
    """The hashes of a source's prompts; a preference dataset's are those of one split."""
    path = Path(source)
    if (path / "data").is_dir():
        from rlaif.preferences import load_preferences

        return frozenset(prompt_hash(prompt) for prompt in load_preferences(source, split or "train")["prompt"])
    return frozenset(prompt_hash(row["prompt"]) for _, row in read_rows(source, split) if "prompt" in row)
