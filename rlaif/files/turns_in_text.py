"""Turns that are written into a text as JSON: a program would take them for what somebody said.

Tables (CSV, Parquet from a data frame) and arenas keep conversations so. A response alone may well be JSON that was
asked for; what is refused is a prompt that is a list of messages, two responses that both are lists of messages, and an
arena's prompt and two responses that all are lists of texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rlaif.errors.words import shown

__all__ = ["check_no_turns_in_text"]

_ARENA = ("prompt", "response_a", "response_b")
_SIDES = (("chosen", "rejected"), ("response_a", "response_b"))


def check_no_turns_in_text(row: Mapping[str, Any], used: Iterable[str] = ()) -> None:
    """A ValueError for a row whose columns hold turns in one text, but for those that are `used`."""
    left = [name for name in ("prompt", *_SIDES[0], *_SIDES[1]) if name in row and name not in {*used}]
    lists = {name: found for name in left if (found := _json_list(row[name]))}
    if all(name in lists and all(turn is None or isinstance(turn, str) for turn in lists[name]) for name in _ARENA):
        raise ValueError(
            f"{', '.join(_ARENA)} are JSON lists written as texts ({shown(row['prompt'])}), one entry a turn, as an "
            "arena publishes them; expected texts or messages. `rlaif convert` reads such rows."
        )
    talks = {name for name, turns in lists.items() if all(map(_is_message, turns))}
    for names in (("prompt",), *_SIDES):
        if talks.issuperset(names):
            raise ValueError(
                f"{' and '.join(names)} hold{'s' * (len(names) == 1)} messages written as one text "
                f"({shown(row[names[0]])}); expected a list of messages. Parse the JSON first."
            )


def _json_list(text: Any) -> list[Any]:
    """The list that a text is in JSON; empty for any other text."""
    if not isinstance(text, str) or not text.lstrip().startswith("["):
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _is_message(turn: Any) -> bool:
    return isinstance(turn, Mapping) and ({"role", "content"} <= {*turn} or {"from", "value"} <= {*turn})
