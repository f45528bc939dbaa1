"""What was given to the chosen and to the rejected response of a row, and which of them that prefers.

Two columns are scores of both where their names differ only by "chosen" and "rejected" and say score, rating or reward
besides, in any capitals: score_chosen, chosenScore, rejected-rating. Where a row has none of these, longer names count
that end in one of the three words: rm_score_chosen, chosen_avg_rating. Of several such pairs (one an aspect, say) one
that has chosen higher is enough for it. What is called source_... was said of other responses, or by an earlier judge.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rlaif.errors.words import shown

__all__ = [
    "TIES",
    "by_scores",
    "finite_number",
    "is_tie",
    "number",
    "plain_scores",
    "same_in_both",
    "score_columns",
    "twins",
    "z_of_scores",
]

_CHOSEN = re.compile(r"(?<![^\W_])chosen(?![^\W_])")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN = re.compile(r"[\W_]+")
_SCORES = ("score", "rating", "reward")


def twins(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of columns that say the same of the chosen and of the rejected response, but for the responses."""
    there: dict[str, str] = {}
    for name in names:
        if not name.startswith("source_"):
            there.setdefault(_plainly(name), name)
    for key, name in there.items():
        other = _CHOSEN.sub("rejected", key, count=1)
        if other != key and other in there and key != "chosen":
            yield name, there[other]


def _plainly(name: str) -> str:
    """A name without capitals: "chosen_score" for "chosenScore"."""
    return _CAMEL.sub("_", name).lower()


def same_in_both(chosen: str) -> str:
    """What is left of a twin's name without "chosen": "score" for "score_chosen"."""
    return "_".join(_words(chosen))


def _words(chosen: str) -> list[str]:
    return [word for word in _BETWEEN.split(_CHOSEN.sub("", _plainly(chosen), count=1)) if word]


def plain_scores(names: Iterable[str]) -> list[tuple[str, str]]:
    """The columns of scores of both that are called so and nothing more."""
    return [two for two in score_columns(names) if len(_words(two[0])) == 1]


def score_columns(names: Iterable[str]) -> list[tuple[str, str]]:
    """All columns of scores of both, those with longer names too."""
    return [two for two in twins(names) if {*_words(two[0])[-1:]} & {*_SCORES}]


# Columns in which a row says that neither response is better.
_SAY_TIE = ("status", "label", "winner", "verdict", "preference")
_ARE_TIE = ("is_tie", "tie")
TIES = (*_SAY_TIE, *_ARE_TIE, "preference_strength")


def is_tie(row: Mapping[str, Any]) -> bool:
    """Whether a row says in a column of its own that neither response is better."""
    said = [row[name].strip().lower() for name in _SAY_TIE if isinstance(row.get(name), str)]
    marked = [row[name] for name in _ARE_TIE if row.get(name) is not None]
    return (
        any(word in ("tie", "tied", "both_bad") or word.startswith("tie (") for word in said)
        or any(str(mark).strip().lower() in ("true", "1", "1.0", "yes") for mark in marked)
        or finite_number(row.get("preference_strength")) == 0.0
    )


def z_of_scores(row: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """`by_scores`; a ValueError that names the column of a plain score that is no number."""
    for name in itertools.chain(*plain_scores(row)):
        number(row[name], name)
    return by_scores(row)


def by_scores(row: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """P(chosen is preferred) by the row's scores of both, and the reason where there is none.

    1 where it has no scores, one is not known, or the chosen one's is higher; 0.5 where they are equal or the row says
    that it is a tie (`is_tie`); None where the scores, or a label "rejected", contradict the row.
    """
    if is_tie(row):
        return 0.5, None
    if row.get("label") == "rejected":
        return None, "its label says rejected"
    found = _known(row, plain_scores(row))
    if any(first <= second for first, second in found):
        first, second = next(two for two in found if two[0] <= two[1])
        return (0.5, None) if first == second else (None, _LOWER)
    if found or not (found := _known(row, score_columns(row))) or any(first > second for first, second in found):
        return 1.0, None
    return (0.5, None) if all(first == second for first, second in found) else (None, _LOWER)


_LOWER = "chosen has the lower score"


def _known(row: Mapping[str, Any], columns: Iterable[tuple[str, str]]) -> list[tuple[float, float]]:
    both = [(finite_number(row[first]), finite_number(row[second])) for first, second in columns]
    return [(first, second) for first, second in both if first is not None and second is not None]


_NO_RATING = {"", "-", "n/a", "na", "nan", "none", "null"}


def number(value: Any, name: str = "rating") -> float | None:
    """A rating as a number, also where it was written as text; None where there is none (null, "N/A").

    A ValueError, in which it is called `name`, for NaN, true, a word or a list: those are of another column.
    """
    found = finite_number(value)
    if found is None and value is not None and not (isinstance(value, str) and value.strip().lower() in _NO_RATING):
        raise ValueError(f"{name} is {shown(value)}; expected a number, or null where there is none.")
    return found


def finite_number(value: Any) -> float | None:
    """A score as a number, also where it was written as text; None where it is none."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
