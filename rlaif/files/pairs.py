"""One row as a pair or as a judgment: whose columns are whose.

A pair's own columns are `prompt`, `response_a`, `response_b`, `id`, `model_a`, `model_b` and `label`; a judgment adds
those of `rlaif.records.Judgment`. All others are carried along. A column of pairs that is called like one of a
judgment's (`z`, `judge`, `reason`, ...) says something else, or is what an earlier judge said: it is carried as
`source_z` and so on, so that the new judgment does not take its place. A judgment that is judged again leaves behind
what the earlier judge said of it. Responses called `chosen` and `rejected` beside these two (of prompts that came from
a preference dataset) are others: they, and what is said of them (`score_chosen`), are carried as `source_chosen` and so
on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any

from rlaif.errors.words import shown
from rlaif.files.conversations import other_columns, sides_of
from rlaif.files.scores import twins
from rlaif.records import Judgment, Pair

__all__ = ["SIDES", "carried", "given_back", "identity_of", "is_judged", "joined", "judgment_of", "pair_of", "whole"]

SIDES = ("response_a", "response_b")
_PAIRS = frozenset(f.name for f in dataclasses.fields(Pair) if f.name != "extra")
_JUDGMENTS = frozenset(f.name for f in dataclasses.fields(Judgment) if f.name != "pair")
_STAMPS = ("vote_keys", "method_hash")  # columns that only `rlaif judge` writes

# What a judgment's columns must be, where they are not null; z and the like are checked as probabilities.
_TEXTS = ("reason", "judge", "template", "method_hash")
_COUNTS = ("votes", "readable", "reading_version")
_LISTS = ("flags", "vote_keys")


def carried(columns: Mapping[str, Any], ours: Collection[str] = _PAIRS | _JUDGMENTS) -> dict[str, Any]:
    """Columns of a source by names that are not `ours`: "source_z" for "z", where z is one."""
    found = {name: value for name, value in columns.items() if name not in ours}
    for name, value in columns.items():
        if name in ours:
            free = f"source_{name}"
            while free in columns or free in found or free in ours:
                free = f"source_{free}"
            found[free] = value
    return found


def joined(own: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """`own` columns and those of a source, none in another's place: "source_x" for an x that `own` has too."""
    return {**own, **carried(columns, own)}


def given_back(columns: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Carried columns by the names that their source gave them, where those are among `names` and free.

    Where there are source_id and source_source_id, the second one was the id.
    """
    found = dict(columns)
    for name in names:
        last = f"source_{name}"
        if name in columns or last not in columns:
            continue
        while f"source_{last}" in columns:
            last = f"source_{last}"
        found[name] = found.pop(last)
    return found


def pair_of(row: Mapping[str, Any]) -> Pair:
    """The pair of a row, with its other columns as `extra`; a ValueError where a column is not as expected."""
    other = _of_others(other_columns(row, SIDES))
    if is_judged(row):
        other = {name: value for name, value in other.items() if name not in _JUDGMENTS}
    return _pair(row, carried({name: value for name, value in other.items() if name not in _PAIRS}, _JUDGMENTS))


def _of_others(columns: Mapping[str, Any]) -> dict[str, Any]:
    """A pair's columns, with what is said of two other responses, if they are there, by names that say so."""
    two = ("chosen", "rejected")
    return carried(columns, {*two, *chain(*twins(columns))}) if all(name in columns for name in two) else {**columns}


def is_judged(row: Mapping[str, Any]) -> bool:
    """Whether a row is what `rlaif judge` wrote."""
    return all(name in row for name in _STAMPS)


def judgment_of(row: Mapping[str, Any]) -> Judgment:
    """The judgment of a row that has a `z`: what `rlaif judge` wrote, or a pair with somebody else's z.

    A z of null needs no reason. A reason beside a z is not why there is none: it is carried as `source_reason`.

    Raises:
        ValueError: a value is none that `rlaif judge` writes.
    """
    other = {name: value for name, value in _of_others(other_columns(row, SIDES)).items() if name not in _PAIRS}
    own = {name: other.pop(name) for name in _JUDGMENTS if name in other}
    for name in _COUNTS:
        own |= {name: whole(own[name])} if name in own else {}
    for name, value in own.items():
        if (expected := _expected(name, value)) is not None:
            raise ValueError(
                f"{name} is {shown(value)}; expected {expected} or null, as `rlaif judge` writes it. Rename a column "
                "that means something else."
            )
    if own.get("z") is None:
        own["reason"] = own.get("reason") or "z is null in the source"
    elif own.get("reason") is not None:
        other |= carried({**other, "reason": own.pop("reason")}, {"reason"})
    own["p_tie"] = own.get("p_tie") or 0.0
    own |= {name: own.get(name) or 0 for name in ("votes", "readable")}
    own |= {name: tuple(own.get(name) or ()) for name in _LISTS}
    return Judgment(pair=_pair(row, other), **own)


def _expected(name: str, value: Any) -> str | None:
    """What a judgment's column holds, where this is something else."""
    if value is None:
        return None
    if name in _TEXTS and not isinstance(value, str):
        return "text"
    if name in _COUNTS and (isinstance(value, bool) or not isinstance(value, int)):
        return "a whole number"
    if name in _LISTS and not (isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)):
        return "a list of texts"
    return None


def _pair(row: Mapping[str, Any], extra: Mapping[str, Any]) -> Pair:
    prompt, first, second = sides_of(row, SIDES)
    return Pair(
        prompt=prompt,
        response_a=first,
        response_b=second,
        id=identity_of(row.get("id")),
        model_a=row.get("model_a"),
        model_b=row.get("model_b"),
        label=row.get("label"),
        extra=extra,
    )


def identity_of(value: Any) -> str:
    """The id in a row's column, "" for none; a ValueError where it is no text and no whole number."""
    value = whole(value)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"id is {shown(value)}; expected text, a whole number or null.")
    return str(value)


def whole(value: Any) -> Any:
    """A whole number that is written with a point, as data frames write it where others of the column are missing."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
