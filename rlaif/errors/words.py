"""Values as a line for people shows them: as they are written in JSON or YAML, never as Python writes them."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["bare_word", "counted", "did_you_mean", "guess", "kind_of", "meant", "nearest", "one_of", "plain", "shown"]


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


def did_you_mean(
    word: str,
    known: Iterable[str],
    *,
    likely: Sequence[str] = (),
    known_as: str = "expected one of",
    most: int = 12,
) -> str:
    """The end of a line about a word that is looked up and not found: the known ones that it may have meant, or all.

    Args:
        word: what was given.
        known: what is there; of a long list the first `most` are named.
        likely: what the word is known to mean, whatever it looks like.
        known_as: what is said before the list.
    """
    names = list(dict.fromkeys(map(str, known)))
    close = list(likely) or nearest(word, names)
    if close:
        return _question(close)
    if not names:
        return "there are none."
    return f"{known_as} {_listed(names, most)}."


def one_of(value: object, choices: Iterable[object], most: int = 12) -> str:
    """The end of a line about a value that is none of `choices`: those, and the one that was meant, where one is near.

    Of more than `most` choices those that are near are named alone.
    """
    names = list(map(str, choices))
    asked = guess(value, names)
    if asked and len(names) > most:
        return asked
    listed = f"expected one of {_listed(names, most)}"
    return f"{listed}; {asked}" if asked else f"{listed}."


def bare_word(value: object) -> str:
    """A sentence about a value that is true or false where a word was expected: how YAML may have made it; else ""."""
    return " YAML reads a bare yes, no, on or off as true or false: quote it." if isinstance(value, bool) else ""


def meant(word: object, known: Iterable[object], cutoff: float = 0.5) -> str:
    """A sentence that names the known word that was meant, " Did you mean 'test'?"; "" where none is near."""
    asked = guess(word, known, cutoff)
    return f" D{asked[1:]}" if asked else ""


def guess(word: object, known: Iterable[object], cutoff: float = 0.5) -> str:
    """The question whether a known word was meant, "did you mean 'test'?"; "" where none is near."""
    return _question(nearest(word, known, cutoff))


def _question(close: Sequence[str]) -> str:
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""


def _listed(names: Sequence[str], most: int) -> str:
    """The first `most` names, and how many more there are."""
    left = len(names) - most
    return f"{', '.join(names[:most])}{f' and {left} more' if left > 0 else ''}"


def nearest(word: object, known: Iterable[object], cutoff: float = 0.5) -> list[str]:
    """The known words that `word` is nearly one of: the nearest, and a second one that is as near; none for no text.

    Capitals and dashes don't count. `cutoff` is how alike they must be, from 0 to 1, as difflib counts it.
    """
    if not isinstance(word, str):
        return []
    import difflib

    names = list(map(str, known))
    folded = {name.lower().replace("-", "_"): name for name in reversed(names)}
    plain = word.lower().replace("-", "_")
    close = difflib.get_close_matches(plain, folded, n=3, cutoff=cutoff)
    if not close:
        return []

    def likeness(name: str) -> float:
        return difflib.SequenceMatcher(None, name, plain).ratio()

    best = likeness(close[0])
    return [folded[name] for name in close if likeness(name) > best - 0.02][:2]
