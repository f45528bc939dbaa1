"""Values as a line for people shows them: as they are written in JSON or YAML, never as Python writes them."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["counted", "kind_of", "plain", "shown"]


def shown(value: Any, most: int = 60) -> str:
    """A value: text in quotes, a number, null, true, lists and mappings as JSON; of anything else its type."""
    if isinstance(value, str):
        return repr(value if len(value) <= most else value[:most] + "...")
    if hasattr(value, "tolist"):  # of NumPy or PyTorch
        value = value.tolist()
    if isinstance(value, float):
        return str(value)  # NaN and infinity too
    try:
        text = json.dumps(value, ensure_ascii=False, default=_date)
    except (TypeError, ValueError, RecursionError):
        return kind_of(value)
    return text if len(text) <= most else text[:most] + "..."


def _date(value: Any) -> str:
    """A date, as YAML reads one that is not quoted."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    raise TypeError


def counted(counts: Mapping[str, int]) -> str:
    """Counts by reason, "3 tied, 2 unjudged"."""
    return ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"


def kind_of(value: Any) -> str:
    """What kind of value this is, in the words of a file: "a list", "nothing", "a mapping"."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (type(None), "nothing"),
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "a text"),
        (bytes, "bytes"),
        ((list, tuple, set, frozenset), "a list"),
        (Mapping, "a mapping"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), f"a {type(value).__name__}")


# What libraries put into their messages, and what it means.
_PYTHON: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"\b[A-Z]\w*(?:Strategy|Type|Names|Mode)\.([A-Z][A-Z_]*)\b"), lambda found: found[1].lower()),
    (re.compile(r"\bnp\.(?:float|int|uint|bool|str)\w*\(([^()]*)\)"), r"\1"),
    (re.compile(r"\b(?:Pure)?(?:Posix|Windows)?Path\('([^']*)'\)"), r"\1"),
    (re.compile(r"<class '(?:[\w.]*\.)?(\w+)'>"), r"\1"),
    (re.compile(r"<\w+\.\w+: '?([\w.-]+)'?>"), r"\1"),
    (re.compile(r"\b(?:Counter|defaultdict|OrderedDict)\((\{[^{}]*\})\)"), r"\1"),
]


def plain(text: str) -> str:
    """A library's message without the forms in which Python writes numbers of NumPy, paths, classes and choices."""
    for pattern, instead in _PYTHON:
        text = pattern.sub(instead, text)
    return text
