"""What a program reads, learns from and measures on: it says so at its top, for all who ask about it.

    READS = {"dataset": "rows", "model": "model"}
    LEARNS = (Rows("dataset", "train_split", "config_name"),)
    MEASURES = (Rows("dataset", "test_split", "config_name", needs_split=True),)

READS gives, by setting, what it names: "rows", "model", "folder" or "file" (a path, or a Hub id), "judge" (a judge's
YAML, model's folder or template's file), "function" (module:name), "named" (a list of name=path) or "rewards" (a list
of kind=value, as `recipes/ppo.py --rewards`). What an output must not lie in, which fingerprints stand in a
manifest, and whether a number is measured on prompts that were learned from: all of it is told by these three.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["KINDS", "Rows", "Source", "is_there", "learned_from", "sources"]

KINDS = ("rows", "model", "folder", "file", "judge", "function", "named", "rewards")


@dataclass(frozen=True)
class Source:
    """Where rows stand: a file, folder or Hub id, with its split and config where it has several."""

    source: str
    split: str | None
    config_name: str | None


@dataclass(frozen=True)
class Rows:
    """Rows that a program learns from or measures on, by the settings that name them.

    Attributes:
        source, split, config_name: names of settings.
        needs_split: without a split nothing is read; else all of the source is.
        when: a setting, and the value (true or false) with which they are read at all.
    """

    source: str
    split: str | None = None
    config_name: str | None = None
    needs_split: bool = False
    when: tuple[str, bool] | None = None

    def named_in(self, settings: Mapping[str, Any]) -> Source | None:
        """The source that settings, defaults included, name; None where they name none."""
        if self.when is not None and bool(settings.get(self.when[0])) != self.when[1]:
            return None
        split, config_name = (settings.get(name) if name else None for name in (self.split, self.config_name))
        unread = str(split).lower() == "none" if self.needs_split else False
        source = settings.get(self.source)
        return None if not source or unread else Source(str(source), split, config_name)


def sources(reads: Mapping[str, str], *settings: Any) -> list[str]:
    """The files, folders and Hub ids that settings name, each once.

    Args:
        reads: READS of the program.
        settings: its dataclasses, or mappings of their values.
    """
    values: dict[str, Any] = {}
    for given in settings:
        values |= given if isinstance(given, Mapping) else vars(given)
    return list(dict.fromkeys(path for name, kind in reads.items() for path in _paths(kind, values.get(name))))


def _paths(kind: str, value: Any) -> Iterator[str]:
    if kind == "named":
        yield from (word.partition("=")[2] for word in value or ())
    elif kind == "rewards":  # a judge's YAML is read, a function is imported
        for word in value or ():
            what, _, named = word.partition("=")
            if what == "reward_model" or Path(named).is_file():
                yield named
    elif kind == "judge":
        if value and is_there(str(value)):
            yield str(value)
    elif kind != "function" and value:
        yield str(value)


def is_there(named: str) -> bool:
    """Whether a word, which may also be a kind, a built-in template or a Hub id, is a file or a model's folder here."""
    path = Path(named)
    return path.is_file() or any((path / name).is_file() for name in ("config.json", "adapter_config.json"))


def learned_from(learns: Iterable[Rows], settings: Mapping[str, Any]) -> list[dict[str, str | None]]:
    """What a run with these settings learned from, as its manifest holds it."""
    return [asdict(found) for rows in learns if (found := rows.named_in(settings)) is not None]
