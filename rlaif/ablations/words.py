"""`${...}` in an ablation's file: words that a base or the file gives a value, and names that a plan fills in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from string import Template
from typing import Any

from rlaif.errors.words import guess, shown

__all__ = ["with_words", "words_in", "words_over"]


def words_in(value: Any) -> list[str]:
    """The words within `${...}` in a setting, or in a mapping or list of them.

    Raises:
        ValueError: a `$` names nothing.
    """
    if isinstance(value, Mapping | list):
        items = value.values() if isinstance(value, Mapping) else value
        return [word for item in items for word in words_in(item)]
    if not isinstance(value, str):
        return []
    template = Template(value)
    if not template.is_valid():
        raise ValueError(
            f"{shown(value)} holds a `$` that names nothing; expected ${{stage}} or ${{seed}}, or $$ for `$`."
        )
    return template.get_identifiers()


def words_over(base: Mapping[str, Any], own: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """A base's words with a file's `own` over them.

    Raises:
        ValueError: one is like a word of the base's, and nothing in the file's `content` uses it: it is misspelt.
    """
    used = set(re.findall(r"\$\{(\w+)\}", json.dumps({**content, "words": None})))
    for word in own:
        if word not in base and word not in used and (asked := guess(word, set(base) - set(own))):
            raise ValueError(f"words has {shown(word)}, which nothing uses and no base has; {asked}")
    return {**base, **own}


def with_words(value: Any, words: Mapping[str, Any]) -> Any:
    """`value` with the `${word}`s that `words` has; one that is all of a text may stand for anything, a list say."""
    if isinstance(value, Mapping):
        return {key: with_words(item, words) for key, item in value.items()}
    if isinstance(value, list):
        return [with_words(item, words) for item in value]
    if not isinstance(value, str):
        return value
    whole = re.fullmatch(r"\$\{(\w+)\}", value)
    if whole and whole[1] in words:
        return words[whole[1]]
    return re.sub(r"\$\{(\w+)\}", lambda found: str(words.get(found[1], found[0])), value)
