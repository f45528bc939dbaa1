"""What was given to the chosen and to the rejected response of a row, and which of them that prefers.

Two columns are scores of both where their names differ only by "chosen" and "rejected" and say score, rating or reward
besides: score_chosen, chosen_score, rejected-rating. Where a row has none of these, longer names count that end in one
of the three words: rm_score_chosen, chosen_avg_rating. Of several such pairs (one an aspect, say) one that has chosen
higher is enough for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["by_scores", "finite_number", "is_tie", "plain_scores", "same_in_both", "score_columns", "twins"]

_CHOSEN = re.compile(r"(?<![^\W_])chosen(?![^\W_])")
_BETWEEN = re.compile(r"[\W_]+")
_SCORES = ("score", "rating", "reward")


def twins(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of columns that say the same of the chosen and of the rejected response, but for the responses."""
    there = dict.fromkeys(names)
    for name in there:
        other = _CHOSEN.sub("rejected", name, count=1)
        if other != name and other in there and name != "chosen":
            yield name, other


def same_in_both(chosen: str) -> str:
    """What is left of a twin's name without "chosen": "score" for "score_chosen"."""
    return "_".join(_words(chosen))


def _words(chosen: str) -> list[str]:
    return [word for word in _BETWEEN.split(_CHOSEN.sub("", chosen, count=1)) if word]


def plain_scores(names: Iterable[str]) -> list[tuple[str, str]]:
    """The columns of scores of both that are called so and nothing more."""
    return [two for two in score_columns(names) if len(_words(two[0])) == 1]


def score_columns(names: Iterable[str]) -> list[tuple[str, str]]:
    """All columns of scores of both, those with longer names too."""
    return [two for two in twins(names) if {*_words(two[0])[-1:]} & {*_SCORES}]


def is_tie(row: Mapping[str, Any]) -> bool:
    """Whether a row says in a column of its own that neither response is better."""
    return row.get("status") == "tie" or row.get("is_tie") == 1 or finite_number(row.get("preference_strength")) == 0.0


def by_scores(row: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """P(chosen is preferred) by the row's scores of both, and the reason where there is none.

    1 where it has no scores, one is not known, or the chosen one's is higher; 0.5 where they are equal or the row says
    that it is a tie (`is_tie`); None where the scores contradict the row.
    """
    if is_tie(row):
        return 0.5, None
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


def finite_number(value: Any) -> float | None:
    """A score as a number, also where it was written as text; None where it is none."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
