"""Which prompts a model was trained on, as far as manifests tell: its own stage's, and those of the models before it.

A training program's folder holds `manifest.json`: what was learned from, and from which model training began. That is
followed back from folder to folder. What is not there any more, or has other content now, is unknown and says so: never
"none".

Prompts are compared by their turns without the system turn, white space collapsed: a model that was shown a prompt
behind another system turn has seen it. A paraphrase is not found.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif.files.bad_rows import BadRows
from rlaif.files.conversations import conversation, prompt_of, sides_of
from rlaif.files.demonstrations import answer_column, demonstrations_of
from rlaif.files.inputs import find_input, rewritten
from rlaif.files.sources import is_still, json_object
from rlaif.files.splits import rows_of_dataset
from rlaif.records import Prompt, content_hash

__all__ = ["Stage", "prompt_key", "training_stages"]

_LONGEST = 16  # models behind one another

# Where a manifest of an earlier version, which has no `learned_from`, names what its program learned from.
_DATASET = ("dataset", "train_split", "config_name")
_PROMPTS = ("prompts", "prompts_split", "prompts_config_name")
_LEARNS = {
    "recipes/sft.py": _DATASET,
    "recipes/dpo.py": _DATASET,
    "reward_models/bradley_terry.py": _DATASET,
    "recipes/ppo.py": _PROMPTS,
    "recipes/best_of_n.py": _PROMPTS,
}


def prompt_key(prompt: Prompt) -> str:
    """What two prompts that count as one have in common: 32 hex digits."""
    turns = [(turn["role"], " ".join(turn["content"].split())) for turn in conversation(prompt)]
    return content_hash(*(turns[1:] if turns[0][0] == "system" else turns))[:32]


@dataclass(frozen=True)
class Stage:
    """One stage of a model's training, and which of the prompts in question it knew.

    Attributes:
        stage: its program, None where that is not known.
        folder: the model that came out of it: a folder or a Hub id.
        source, split: what it learned from.
        rows: how many rows of prompts were read.
        found: the keys (`prompt_key`) of the prompts in question that are among them; None where nobody knows.
        unknown: why not, in words.
        unread: how many rows could not be read, and were not compared.
    """

    stage: str | None
    folder: str
    source: str | None = None
    split: str | None = None
    rows: int = 0
    found: frozenset[str] | None = None
    unknown: str | None = None
    unread: int = 0

    def knew(self, key: str) -> bool:
        """Whether one of the prompts in question, by its key, is known to be among them."""
        return self.found is not None and key in self.found

    def row(self, keys: Collection[str]) -> dict[str, Any]:
        """The stage in a report, and how many of the prompts with these `keys`, which are in question, it knew."""
        named = {"stage": self.stage, "folder": self.folder}
        if self.source is not None:
            named |= {"source": self.source, "split": self.split}
        if self.found is None:
            return {**named, "found": None, "unknown": self.unknown}
        unread = {"unread": self.unread} if self.unread else {}
        return {**named, "rows": self.rows, **unread, "found": sum(map(self.knew, keys))}


@dataclass
class Readings:
    """Sources that were read already: policies that began with one model share its stages."""

    known: dict[tuple[str, ...], tuple[int, int, frozenset[str]] | str] = field(default_factory=dict)


def training_stages(model: str | Path, wanted: Collection[str], readings: Readings | None = None) -> list[Stage]:
    """The stages of a model's training, the last one first, back to what nobody knows of.

    Args:
        model: a folder or a Hub id, of a policy, a reward model or a judge.
        wanted: the keys of the prompts in question.
        readings: keeps what was read, for the next model.

    Returns:
        At least one stage. The last one is mostly unknown: what a base model was trained on.
    """
    wanted, readings = frozenset(wanted), readings or Readings()
    stages: list[Stage] = []
    place: Path | None = Path(model)
    name = str(model)
    while len(stages) < _LONGEST:
        if place is None or not place.is_dir():
            return [*stages, Stage(None, name, unknown="it is no folder here, and no manifest tells what it was shown")]
        manifest = _manifest(place)
        learned = _learned_from(manifest) or _recorded(place)
        if learned is None:
            why = f"of {manifest['command']!s:.60} it is not known what it learns from" if "command" in manifest else ""
            return [*stages, Stage(None, name, unknown=why or "it has no manifest of a training run")]
        stage = str(manifest.get("command") or "a reward model's training")
        stages += [_looked_up(stage, name, place, manifest, source, wanted, readings) for source in learned]
        began = manifest.get("config", {}).get("model")
        if not isinstance(began, str):
            return [*stages, Stage(None, name, unknown="its manifest does not say with which model training began")]
        name, place = began, find_input(began, place, manifest.get("inputs", {}))
        then = manifest.get("inputs", {}).get(began)
        if place is not None and place.is_dir() and not (isinstance(then, str) and is_still(place, then)):
            return [*stages, Stage(None, name, unknown="its folder has other content now than when training began")]
    return stages


def _learned_from(manifest: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """What a training run learned from: source, split and config_name each. None of a manifest that does not say."""
    config = manifest.get("config", {})
    if "learned_from" in manifest:
        return list(manifest["learned_from"])
    names = _LEARNS.get(str(manifest.get("command")))
    if names is None or not config.get(names[0]):
        return None
    return [dict(zip(("source", "split", "config_name"), map(config.get, names), strict=True))]


def _recorded(place: Path) -> list[dict[str, Any]] | None:
    """What rlaif.json beside a reward model says of its data, where no manifest came with it."""
    data = json_object(place / "rlaif.json").get("training_data") or {}
    return [{**data, "config_name": None}] if isinstance(data, dict) and data.get("source") else None


def _looked_up(
    stage: str,
    folder: str,
    place: Path,
    manifest: Mapping[str, Any],
    learned: Mapping[str, Any],
    wanted: frozenset[str],
    readings: Readings,
) -> Stage:
    source, split, config_name = (learned.get(name) for name in ("source", "split", "config_name"))
    source, split = str(source), None if split is None else str(split)
    inputs: Mapping[str, Any] = manifest.get("inputs") or {source: learned.get("fingerprint") or source}

    def unknown(why: str) -> Stage:
        return Stage(stage, folder, source, split, unknown=why)

    on_hub = inputs.get(source) == source
    where = Path(source) if on_hub else find_input(source, place, inputs)
    if where is None:
        return unknown("what it was trained on is not there any more")
    if not on_hub and rewritten({"inputs": inputs}, source, where) is not None:
        return unknown("what it was trained on has other content now")
    limit = manifest.get("config", {}).get("limit")
    limit = limit if stage == "recipes/best_of_n.py" and isinstance(limit, int) else None
    key = (str(where), str(split), str(config_name), str(limit), str(stage == "recipes/sft.py"))
    if key not in readings.known:
        try:
            readings.known[key] = _found(str(where), split, config_name, limit, stage == "recipes/sft.py", wanted)
        except (OSError, ValueError) as error:  # somebody's data, in whatever state
            readings.known[key] = f"what it was trained on cannot be compared: {' '.join(str(error).split())[:200]}"
    found = readings.known[key]
    if isinstance(found, str):
        return unknown(found)
    rows, unread, keys = found
    return Stage(stage, folder, source, split, rows, keys, unread=unread)


def _found(
    source: str, split: str | None, config_name: str | None, limit: int | None, turns: bool, wanted: frozenset[str]
) -> tuple[int, int, frozenset[str]]:
    """How many rows were read, how many could not be, and which of the prompts in question they have.

    `turns`: of a conversation the prompt of each answer counts, as SFT learns them.
    """
    rows, found, distinct, bad = 0, set[str](), set[str](), BadRows("skip")
    for where, row in rows_of_dataset(source, split, config_name, bad):
        with bad.at(where):
            keys = [prompt_key(prompt) for prompt in _prompts(row, turns)]
            if limit is not None:
                keys = [key for key in keys if key in distinct or len(distinct) < limit]
                distinct.update(keys)
            rows += 1
            found.update(wanted.intersection(keys))
    if not rows:
        raise ValueError(bad.first or f"{source} has no rows")
    return rows, len(bad.rows), frozenset(found)


def _prompts(row: Mapping[str, Any], turns: bool) -> Sequence[Prompt]:
    if "chosen" in row and "completion" not in row:
        return [sides_of(row)[0]]
    if not turns or (answer_column(row) is None and row.get("text") is None):
        return [prompt_of(row)]
    found = [prompt for prompt, _ in demonstrations_of(row)]
    if None in found:
        raise ValueError("plain texts were learned, and whether a prompt stands in one is not looked for")
    return [prompt for prompt in found if prompt is not None]


def _manifest(place: Path) -> dict[str, Any]:
    """A folder's manifest; of one that somebody damaged what is as a program writes it."""
    found = json_object(place / "manifest.json")
    found |= {name: found[name] if isinstance(found.get(name), dict) else {} for name in ("config", "inputs")}
    learned = found.pop("learned_from", None)
    if isinstance(learned, list) and all(isinstance(one, dict) and one.get("source") for one in learned):
        found["learned_from"] = learned
    return found
