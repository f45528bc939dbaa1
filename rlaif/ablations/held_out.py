"""Whether what is compared was measured on prompts that no stage trained on: the prompts themselves are compared.

A program only knows its own data. What the SFT stage three steps before was shown, or that the reward model's pairs
came from the prompts that the policies are compared on, can be seen here alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from rlaif.ablations.stages import Stage
from rlaif.files.conversations import prompt_of, sides_of
from rlaif.files.reads import Rows, Source
from rlaif.files.splits import rows_of_usual_split
from rlaif.records import prompt_hash

__all__ = ["Comparison", "compare_prompts"]


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
    if stage.program.measures is None:
        why = f"what {stage.name} ({stage.program.name}) measures on is not known"
        return Comparison(measures=True, compared=False, unread=why)
    measured = _sources(stage, stage.program.measures)
    if not measured:
        return Comparison(measures=False, compared=False)
    try:
        for other in stage.ancestors()[:-1]:
            if other.program.learns is None:
                why = f"{stage.name}: what {other.name} ({other.program.name}) trains on is not known"
                return Comparison(measures=True, compared=False, unread=why)
            for setting, learned in _sources(other, other.program.learns):
                for what, source in measured:
                    if both := _prompts(source) & _prompts(learned):
                        return Comparison(
                            measures=True,
                            compared=True,
                            shared=f"{len(both)} of the {len(_prompts(source))} prompts that {stage.name} measures on "
                            f"({what}) are among those that {other.name} trained on ({setting}); expected none: give "
                            "it others.",
                        )
    except (OSError, ValueError) as error:  # a Hub's or a user's data, in whatever state
        return Comparison(measures=True, compared=False, unread=f"{stage.name}: {error}")
    return Comparison(measures=True, compared=True)


def _sources(stage: Stage, declared: Sequence[Rows]) -> list[tuple[str, Source]]:
    """The prompts of a stage that its program says it learns from or measures on, by the setting that names them."""
    settings = stage.program.complete(stage.settings)
    return [(rows.source, found) for rows in declared if (found := rows.named_in(settings)) is not None]


@lru_cache(maxsize=256)
def _prompts(rows: Source) -> frozenset[str]:
    """The hashes of a source's prompts; a ValueError where it has none that can be read."""
    if (Path(rows.source) / "data").is_dir():
        from rlaif.files.preferences import load_preferences

        found = load_preferences(rows.source, rows.split or "train", rows.config_name)
        return frozenset(prompt_hash(prompt) for prompt in found["prompt"])
    hashes = set()
    for where, row in rows_of_usual_split(rows.source, rows.split, rows.config_name):
        try:
            hashes.add(prompt_hash(sides_of(row)[0] if "chosen" in row else prompt_of(row)))
        except ValueError as error:
            raise ValueError(f"{where} has no prompt of its own to compare ({error})") from None
    return frozenset(hashes)
