"""No column takes another's place: a source's own, one that a format makes, and one that the written format has."""

from __future__ import annotations

import dataclasses
import json

import pytest
from support.formats import ROWS, WRITTEN, Row, assistant, read, user, written

from rlaif.files.conversations import SYSTEM
from rlaif.files.pairs import carried, given_back, joined
from rlaif.formats.known import FORMATS
from rlaif.records import BEYOND_TEXT, Judgment

# What formats make of a row beside the pair, and what a column is renamed to that is called like one of ours.
_OF_EACH = ("rating", "rationale", "rank", "style", "later", "helpfulness", "honesty", "custom_system_prompt", "source")
MADE = [f"{name}_{at}" for name in _OF_EACH for at in (1, 2)]
MADE += ["strength", "source_prompt", "reason", "source_reason", "z", "source_z", "judge", "source_judge"]
MADE += ["id", "source_id", "source_source_id", "extra", "pair"]
# Every column that some format has.
ALL = [name for rows in ROWS.values() for row in rows for name in row]


def of_their_own(names: list[str]) -> Row:
    return {name: f"own {name}" for name in dict.fromkeys(names) if name not in (*SYSTEM, *BEYOND_TEXT)}


def missing(columns: Row, rows: list[Row]) -> list[str]:
    text = json.dumps(rows)
    return [name for name, value in columns.items() if json.dumps(value) not in text]


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_made_of_a_row_takes_no_column_s_place(name: str) -> None:
    # These have a judgment's columns themselves, and where there is a z the rows are ours.
    judged = {"pairs": ("z", "reason", "judge", "id"), "preferences": ("judge", "id"), "arena-55k": ("z",)}
    there = {*ROWS[name][0], *judged.get(name, ()), *(["judge"] if name == "mt-bench" else [])}
    own = {k: v for k, v in of_their_own(MADE).items() if k not in there}
    found = read(name, [{**row, **own} for row in ROWS[name]])
    assert found
    assert not missing(own, written("pairs", found))


def with_columns(judgments: list[Judgment], columns: Row) -> list[Judgment]:
    pairs = (dataclasses.replace(j.pair, extra={**columns, **j.pair.extra}) for j in judgments)
    return [dataclasses.replace(j, pair=pair) for j, pair in zip(judgments, pairs, strict=True)]


@pytest.mark.parametrize("name", [name for name in WRITTEN if "what is said of the pair" not in FORMATS[name].lost])
def test_what_is_written_takes_no_column_s_place(name: str) -> None:
    """A column that is called like one of the format's is written by another name, and is not taken for it."""
    found = read(name, ROWS[name])
    own = of_their_own([*MADE, *ALL, "rating_chosen", "rating_rejected"])
    columns = {k: v for k, v in carried(own).items() if k not in found[0].pair.extra}
    rows = written(name, with_columns(found, columns))
    assert len(rows) == len(ROWS[name])
    assert not missing(columns, rows)


# Columns that a format makes its prompt of, where they are there.
JOINS = {"alpacaeval": ("input",), "pandalm": ("input",), "ultrafeedback-ratings": ("input", "context")}
PARTS = ("instruction", "question", "input", "context")
WHOLE = ("skywork", "hh")


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "distilabel"])  # its prompt is any column's
def test_a_column_that_may_be_of_the_prompt_is_in_it_or_refused(name: str) -> None:
    rows = ROWS[name][:1]
    for column in (*PARTS, "messages", "conversation", "chat_history"):
        if column in rows[0] or column in JOINS.get(name, ()):
            continue
        with pytest.raises(ValueError, match=r"beside its prompt|does not begin with"):
            read(name, [{**row, column: "own" if column in PARTS else user("own")} for row in rows])
        if column == "chat_history":
            held = read(name, [{**row, column: user()} for row in rows])
            assert [told(j)[:-1] for j in held] == [told(j)[:-1] for j in read(name, rows)]


@pytest.mark.parametrize("name", [name for name in WRITTEN if name not in ("ultrafeedback", "distilabel")])
def test_no_column_becomes_a_prompt_in_what_is_written(name: str) -> None:
    talk = [*user("own"), *assistant("own")]
    own = dict.fromkeys(PARTS, "own") | ({} if name in WHOLE else {"messages": talk, "conversation": talk})
    found = read(name, ROWS[name])
    columns = {"source_prompt": "own"} | ({} if "prompt" in written(name, found)[0] else own)
    again = read(name, written(name, with_columns(found, columns)))
    assert [told(j) for j in again] == [told(j) for j in found]


def told(judgment: Judgment) -> tuple[object, ...]:
    pair = judgment.pair
    return (pair.prompt, pair.response_a, pair.response_b, pair.label, pair.model_a, judgment.z, judgment.judge)


def test_one_helper_renames() -> None:
    assert carried({"z": 1, "source_z": 2, "x": 3}) == {"x": 3, "source_z": 2, "source_source_z": 1}
    assert carried({"a": 1}, {"a", "source_a"}) == {"source_source_a": 1}
    assert joined({"a": 1}, {"a": 2, "source_a": 3, "b": 4}) == {"a": 1, "b": 4, "source_a": 3, "source_source_a": 2}
    columns: Row = {"id": 1, "source_id": 2, "z": 0.5, "x": 3}
    assert given_back(carried(columns), {"id"}) == {"id": 1, "source_id": 2, "source_z": 0.5, "x": 3}
