"""Rows of a table (Parquet, a data frame) as plain values: what a table has no other way to write.

A table writes NaN where a number is missing, and a data frame its own values (NumPy's numbers and arrays). NaN is null
in columns that are only carried, which is counted and said; in one that is read (a z, a score) it is refused as in
JSON, which has no NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from rlaif.files.bad_rows import BadRows
from rlaif.files.scores import score_columns
from rlaif.records import Judgment, Pair, Preference

__all__ = ["rows_of_frame", "without_nan", "without_numpy"]

_MISSING = ("NAType", "NaTType")  # of pandas


def rows_of_frame(rows: Any) -> Iterable[Any]:
    """The rows of a data frame (pandas, Polars) or of an Arrow table; any other rows as they are."""
    if hasattr(rows, "to_pylist"):
        return rows.to_pylist()  # type: ignore[no-any-return]
    if hasattr(rows, "to_dicts"):
        return rows.to_dicts()  # type: ignore[no-any-return]
    if hasattr(rows, "columns") and hasattr(rows, "to_dict"):
        return rows.to_dict("records")  # type: ignore[no-any-return]
    return rows  # type: ignore[no-any-return]


def without_numpy(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in Python with lists and numbers for NumPy's, and null for what a data frame says is missing: NaN too,
    which it has for a text."""
    found = {name: _plain(value) for name, value in row.items()}
    texts = {name for name, value in found.items() if name in _TEXTS and isinstance(value, float) and value != value}
    return {**found, **dict.fromkeys(texts)}


_TEXTS = ("prompt", "response_a", "response_b", "response", "id", "label", "model_a", "model_b")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if type(value).__name__ in _MISSING:
        return None
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _plain(value.tolist())
    return value


def without_nan(row: dict[str, Any], where: str, bad: BadRows) -> dict[str, Any]:
    """A table's row with null for NaN in the columns that are only carried, which `bad` counts."""
    nan = [name for name, value in row.items() if isinstance(value, float | list | Mapping) and _holds_nan(value)]
    if nan:
        scores = {name for two in score_columns(row) for name in two}
        nan = [name for name in nan if name not in _READ and name not in scores]
    for name in nan:
        bad.counts_nan(name, where)
    return {**row, **{name: _null_for_nan(row[name]) for name in nan}} if nan else row


# Columns in which a number says what is judged, learned or how a row is known.
_READ = frozenset(
    [f.name for kind in (Pair, Judgment, Preference) for f in dataclasses.fields(kind)]
    + ["messages", "conversations", "conversation", "completion", "response", "margin", "turn", "preference_strength"]
)


def _holds_nan(value: Any) -> bool:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, float):
            if one != one:
                return True
        elif isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
    return False


def _null_for_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _null_for_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_null_for_nan(one) for one in value]
    return None if isinstance(value, float) and value != value else value
