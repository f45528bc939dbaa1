"""What a source said beside its pairs, in the rows that are written: by its own names, and of the right response.

A verdict may be another one than the source's: chosen and rejected change places, and what was said of the one must not
stand with the other; and an earlier verdict must not stand where the new one's would.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from rlaif.files.pairs import carried, given_back, joined
from rlaif.files.scores import TIES, by_scores, finite_number, is_tie, same_in_both, score_columns, twins
from rlaif.files.shapes import ASKS, TURNS
from rlaif.formats.base import turned
from rlaif.records import Judgment, Pair, says_nothing

__all__ = ["of_one", "rest", "source_order"]

# What is written by its source's name again. What an earlier judge said (z, judge, label, reason, ...) stays source_z.
_BACK = ("id", "model_a", "model_b")
_PROMPTS = ("prompt", *TURNS, *ASKS, "input", "context")


def rest(
    judgment: Judgment, own: Mapping[str, Any], used: Iterable[str] = (), back: Collection[str] = ()
) -> dict[str, Any]:
    """A format's `own` columns, then what else the judgment's source said.

    Where the format names chosen and rejected, what was said of each (score_chosen; rating_1, rating_2) is turned with
    the verdict; scores that contradict it are null. Where it does not, score_chosen is written as score_1 or score_2.

    Args:
        judgment: whose columns they are.
        own: the format's columns.
        used: columns of the source that `own` is made of.
        back: names of ours that the format gives its own meaning, and that are written as the source had them.
    """
    left = {name: value for name, value in judgment.pair.extra.items() if name not in {*used}}
    said = given_back(left, (*_BACK, *back))
    said = _by_chosen(judgment, own, said) if "chosen" in own else _by_number(judgment, said)
    said = {k: v for k, v in said.items() if k not in own or v not in (None, own[k])}
    if "prompt" not in own:  # then it is found in another column, which must not be one of these
        said = carried(said, {name for name in _PROMPTS if name not in own and not says_nothing(said.get(name))})
    return joined(own, said)


def _by_chosen(judgment: Judgment, own: Mapping[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    keeps_id = own.get("id") == judgment.pair.id  # by which the source's first and second are known
    swapped = judgment.z is not None and judgment.z < 0.5
    for names, values in [*_of_both(judgment, said)]:
        if names in [*twins(said)] or not keeps_id:
            said |= zip(names, values[::-1] if swapped else values, strict=True)
    if turned(judgment.pair) != swapped and "margin" in said:
        said["source_margin"] = said.pop("margin")  # of the other one over this one
    if "z" in own:
        return said
    stale = [name for name in TIES if name in said and is_tie({name: said[name]})]
    said = {name: value for name, value in said.items() if name not in stale} | carried(
        {name: said[name] for name in stale}, stale
    )
    if by_scores(said)[0] != 1.0:
        for names in score_columns(said):
            first, second = (finite_number(said[name]) for name in names)
            if first is not None and second is not None and first <= second:
                said |= dict.fromkeys(names)
    return said


def _by_number(judgment: Judgment, said: dict[str, Any]) -> dict[str, Any]:
    numbered: dict[str, Any] = {}
    of_chosen = {*twins(said)}
    for names, values in [*_of_both(judgment, said)]:
        if names in of_chosen:
            stem = same_in_both(names[0])
            numbered = joined(numbered, {f"{stem}_{at}": value for at, value in enumerate(values, 1)})
            for name in names:
                said.pop(name, None)
        else:
            said |= zip(names, values, strict=True)
    return joined(numbered, said)


def of_one(judgment: Judgment, first: bool) -> dict[str, Any]:
    """What a row of one response carries of a judgment's columns: what is said of it, by the name without a number, and
    what is said of the pair. `first`: response_a's row."""
    said = dict(given_back(judgment.pair.extra, _BACK))
    of_chosen = {*twins(said)}
    alone: dict[str, Any] = {}
    for names, values in [*_of_both(judgment, said)]:
        name = same_in_both(names[0]) if names in of_chosen else names[0].removesuffix("_1")
        alone = joined(alone, {name: values[0 if first else 1]})
        for read in names:
            said.pop(read, None)
    return joined(alone, said)


def _of_both(judgment: Judgment, said: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], tuple[Any, Any]]]:
    """The columns that say the same of each response, and what they say of response_a and of response_b."""
    numbered = [(name, f"{name.removesuffix('_1')}_2") for name in said if name.endswith("_1")]
    both = [names for names in numbered if names[1] in said and f"{names[0].removesuffix('_1')}_3" not in said]
    for names in [*twins(said), *both]:
        values = said[names[0]], said[names[1]]
        yield names, values[::-1] if turned(judgment.pair) else values


def source_order(pair: Pair) -> dict[str, Any]:
    """What is said of chosen and rejected in a row whose `id` tells the source's order, in that order again."""
    said = dict(pair.extra)
    for names in twins(said) if turned(pair) else ():
        said |= {names[0]: said[names[1]], names[1]: said[names[0]]}
    return said
