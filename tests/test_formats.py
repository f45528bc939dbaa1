"""Every format keeps its orientation in both directions, and says what it cannot carry.

In the rows of `support.formats` the better response is called "right" and the worse one "wrong".
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.formats import (
    DISTILABEL,
    PEOPLE,
    RATED,
    ROWS,
    WRITTEN,
    Row,
    assistant,
    placed,
    read,
    user,
    winner,
    written,
)

import rlaif.formats
from rlaif.files.conversations import conversation
from rlaif.formats.base import Tally
from rlaif.formats.known import FORMATS, detect
from rlaif.records import Judgment, Pair


def test_every_format_has_a_row_here() -> None:
    assert set(ROWS) == set(FORMATS)


def test_the_table_of_formats_names_each() -> None:
    named = dict(re.findall(r"^    ([a-z0-9-]+)(\*?) ", rlaif.formats.__doc__.split("datasets  ")[1], re.MULTILINE))
    assert {name for name, mark in named.items() if mark} == {*FORMATS} - {*WRITTEN}
    assert {*named} == {*FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_the_better_response_wins(name: str) -> None:
    judgments = read(name, ROWS[name])
    assert [winner(j).strip() for j in judgments] == ["right"] * len(judgments)
    assert judgments
    for judgment in judgments:
        better = "a" if winner(judgment) == judgment.pair.response_a else "b"
        if name in PEOPLE:
            assert (judgment.pair.label, judgment.judge, judgment.z) == (better, "label", float(better == "a"))
        elif name not in ("pairs", "preferences"):
            assert judgment.pair.label is None


@pytest.mark.parametrize("name", WRITTEN)
def test_rows_come_back_as_they_were(name: str) -> None:
    assert written(name, read(name, ROWS[name])) == ROWS[name]


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_known_by_its_columns(name: str) -> None:
    assert [detect(row, "here").name for row in ROWS[name]] == [name] * len(ROWS[name])


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "skywork"])
def test_what_is_written_is_known_by_its_columns(name: str) -> None:
    """Also with the columns of another format beside it; Skywork's are those of any pair then, which is read alike."""
    (judgment,) = read("rewardbench", ROWS["rewardbench"])
    known = {"strength": 2, "rating_1": 4, "rating_2": 1, "helpfulness_1": 4, "helpfulness_2": 1}
    judgment = dataclasses.replace(
        judgment, pair=dataclasses.replace(judgment.pair, extra={**judgment.pair.extra, **known})
    )
    assert {detect(row, "here").name for row in written(name, [judgment])} == {name}


@pytest.mark.parametrize("name", FORMATS)
def test_what_comes_in_is_ours(name: str) -> None:
    rows = written("pairs", read(name, ROWS[name] if name != "argilla" else [{**DISTILABEL, **RATED}]))
    assert {detect(row, "here").name for row in rows} == {"pairs"}
    assert [written("pairs", [Judgment.from_row(row)])[0] for row in rows] == rows


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "kto"])
def test_rows_are_read_one_at_a_time(name: str) -> None:
    taken = 0

    def rows() -> Iterator[tuple[str, Row]]:
        nonlocal taken
        for at in range(9):
            for found in placed(
                [{**row, "prompt": f"{at}?"} if name == "helpsteer2-ratings" else row for row in ROWS[name]]
            ):
                taken += 1
                yield found

    next(iter(FORMATS[name].read(rows(), Tally())))
    assert taken == (3 if name == "helpsteer2-ratings" else 1)  # the first one of another prompt ends a group


# What each format can carry of a judgment: a verdict, how it is known, and a prompt.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MARKED = st.builds(
    "{}{}{}".format, TEXT, st.sampled_from(["", "", " ", "\n", "\n\nHuman:", "\n<extra_id_1>User\n"]), TEXT
)
ONE_TEXT = {"rewardbench", "alpacaeval", "judgebench", "llmbar", "distilabel", "auto-j", "hhh", "orca"}
SOFT = {"pairs", "preferences", "alpacaeval"}
TIES = {
    *("pairs", "helpsteer2", "helpsteer2-ratings", "helpsteer3", "alpacaeval", "judgebench", "nectar", "distilabel"),
    *("arena-55k", "arena", "mt-bench", "auto-j", "hhh"),
}
MODELS = {
    *("pairs", "preferences", "rewardbench", "alpacaeval", "nectar", "argilla", "distilabel"),
    *("arena-55k", "arena", "mt-bench"),
}


@st.composite
def judgments(draw: st.DrawFn, name: str) -> Judgment:
    """A judgment as the format `name` could have said it."""
    texts = st.one_of(TEXT, MARKED).filter(str.strip)
    turns = user(draw(texts))
    if name not in ONE_TEXT and name != "ultrafeedback" and draw(st.booleans()):
        turns = [*turns, *assistant(draw(texts)), *user(draw(texts))]
    first, second = draw(st.tuples(texts, texts).filter(lambda two: two[0] != two[1]))
    z = draw(st.sampled_from([0.0, 1.0] + [0.5] * (name in TIES)))
    if name in SOFT and draw(st.booleans()):
        z = draw(st.integers(0, 10**9).map(lambda n: n / 10**9).filter(lambda z: name in TIES or z != 0.5))
    label = None if name not in PEOPLE else {1.0: "a", 0.0: "b", 0.5: "tie"}[z]
    better, worse = (4, 1) if z != 0.5 else (2, 2)
    goods = (better, worse) if z >= 0.5 else (worse, better)
    extra = {
        "helpsteer2": {"strength": 0 if z == 0.5 else draw(st.integers(1, 3))},
        "helpsteer3": {"strength": 0 if z == 0.5 else draw(st.integers(1, 3))},
        "helpsteer2-ratings": {
            "helpfulness_1": goods[0],
            "verbosity_1": 1,
            "helpfulness_2": goods[1],
            "verbosity_2": 3,
        },
        "distilabel": {"rating_1": goods[0], "rating_2": goods[1]},
    }.get(name, {})
    pair = Pair(turns, first, second, model_a="m", model_b="n", label=label, extra={**extra, "other": "kept"})  # type: ignore[arg-type]
    return Judgment(pair, z=z, judge="label" if label else None)


def outcome(judgment: Judgment) -> tuple[Any, ...]:
    """What must survive: the prompt, both responses and how they were judged, the better one first."""
    j = judgment if judgment.z is not None and judgment.z >= 0.5 else judgment.swap()
    sides = (j.pair.response_a, j.pair.response_b)
    if j.z == 0.5:
        sides = tuple(sorted(sides))  # type: ignore[assignment]
    strength = j.pair.extra.get("strength")
    return conversation(j.pair.prompt), *sides, j.z, j.pair.label, j.judge, strength, j.pair.extra.get("other")


def marked(judgment: Judgment) -> bool:
    texts = [m["content"] for m in conversation(judgment.pair.prompt)]
    texts += [judgment.pair.response_a, judgment.pair.response_b]
    return any("Human:" in text or "<extra_id_1>" in text for text in texts)


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "helpsteer2-ratings"])
@settings(max_examples=20)
@given(data=st.data())
def test_what_is_written_reads_back(name: str, data: st.DataObject) -> None:
    judgment, tally = data.draw(judgments(name)), Tally()
    rows = written(name, [judgment], tally)
    if tally.left_out:
        assert marked(judgment), tally.left_out  # nothing else may be left out
        return
    (back,) = read(name, json.loads(json.dumps(rows)))
    assert outcome(back) == outcome(judgment)
    if name in TIES:  # these keep the sides where they were
        assert (back.pair.response_a, back.z) == (judgment.pair.response_a, judgment.z)
        if back.pair.prompt == judgment.pair.prompt:  # else it was messages, and the format holds one text
            assert back.pair.id == judgment.pair.id
    if name in MODELS:
        models = {j.pair.response_a: j.pair.model_a for j in (judgment, judgment.swap())}
        assert (models[back.pair.response_a], models[back.pair.response_b]) == (back.pair.model_a, back.pair.model_b)


def exchanged(*columns: tuple[str, str], **says: Callable[[Any], Any]) -> Callable[[list[Row]], list[Row]]:
    """What a mirrored row looks like: pairs of columns exchanged, and the verdict turned round."""

    def mirror(rows: list[Row]) -> list[Row]:
        (row,) = rows
        turned = dict(row)
        for one, other in columns:
            if one in row:
                turned |= {one: row[other], other: row[one]}
        return [turned | {name: turn(row[name]) for name, turn in says.items()}]

    return mirror


MIRRORS: dict[str, Callable[[list[Row]], list[Row]]] = {
    "pairs": exchanged(
        ("response_a", "response_b"),
        ("model_a", "model_b"),
        z=lambda z: round(1 - z, 9),
    ),
    "helpsteer2": exchanged(("response_1", "response_2"), preference_strength=lambda n: -n),
    "helpsteer3": exchanged(("response1", "response2"), overall_preference=lambda n: -n),
    "helpsteer2-ratings": lambda rows: rows[::-1],
    "nectar": lambda rows: [{**rows[0], "answers": rows[0]["answers"][::-1]}],
    "nemo": lambda rows: [{**rows[0], "completions": rows[0]["completions"][::-1]}],
    "distilabel": exchanged(
        generations=lambda two: two[::-1],
        generation_models=lambda two: two[::-1],
        ratings=lambda two: two[::-1],
    ),
    "alpacaeval": exchanged(
        ("output_1", "output_2"), ("generator_1", "generator_2"), preference=lambda p: round(3 - p, 9)
    ),
    "judgebench": exchanged(
        ("response_A", "response_B"), label=lambda word: {"A>B": "B>A", "B>A": "A>B"}.get(word, word)
    ),
    "llmbar": exchanged(("output_1", "output_2"), label=lambda n: 3 - n),
    "arena-55k": exchanged(("response_a", "response_b"), ("model_a", "model_b"), ("winner_model_a", "winner_model_b")),
    "arena": exchanged(
        ("conversation_a", "conversation_b"),
        ("model_a", "model_b"),
        winner=lambda word: {"model_a": "model_b", "model_b": "model_a"}.get(word, word),
    ),
    "mt-bench": exchanged(
        ("conversation_a", "conversation_b"),
        ("model_a", "model_b"),
        winner=lambda word: {"model_a": "model_b", "model_b": "model_a"}.get(word, word),
    ),
    "auto-j": exchanged(("response 1", "response 2"), label=lambda n: (1, 0, 2)[n]),
    "hhh": exchanged(targets=lambda both: {name: values[::-1] for name, values in both.items()}),
}


@pytest.mark.parametrize("name", WRITTEN)
@settings(max_examples=20)
@given(data=st.data())
def test_a_swapped_judgment_is_the_mirrored_row(name: str, data: st.DataObject) -> None:
    judgment = data.draw(judgments(name))
    rows = written(name, [judgment])
    assume(rows)
    # Where chosen and rejected are named, the row is the same, whichever of them was response_a.
    mirror: Callable[[list[Row]], list[Row]] = MIRRORS.get(name) or list
    assert written(name, [judgment.swap()]) == mirror(rows)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_cannot_be_carried_is_counted(name: str) -> None:
    first = read(name, ROWS[name])[0]
    unjudged = dataclasses.replace(first, z=None, reason="no answer", z_ab=None, z_ba=None)
    tie = dataclasses.replace(first, z=0.5, pair=dataclasses.replace(first.pair, label="tie"))
    tally = Tally()
    rows = written(name, [unjudged, tie, first], tally)
    counted = dict(tally.left_out)
    assert counted.pop("unjudged", 0) == (name not in ("pairs", "alpacaeval"))
    if name in ("helpsteer2-ratings", "distilabel"):
        assert counted.pop("no ratings of this verdict are known") == 1
    else:
        assert counted.pop("tie", 0) == (name not in TIES)
    assert counted == {}
    assert len(rows) == (3 - tally.left_out.total()) * (2 if name in ("helpsteer2-ratings", "kto") else 1)
    if name == "alpacaeval":
        assert [row["preference"] for row in rows] == [None, 1.5, 1.125]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_soft_verdict_keeps_its_side(name: str) -> None:
    first = read(name, ROWS[name])[0]
    soft = dataclasses.replace(first, z=0.51 if first.z and first.z > 0.5 else 0.49)
    assert winner(soft).strip() == "right"
    for judgment in (soft, soft.swap()):
        (back,) = read(name, written(name, [judgment]))
        assert winner(back).strip() == "right"
        assert (min(back.z or 0.0, 1.0 - (back.z or 0.0)) > 0.4) == (name in SOFT)


def test_a_conversation_is_not_squeezed_into_one_text() -> None:
    (judgment,) = read("skywork", ROWS["skywork"])
    for name in ONE_TEXT - {"distilabel", "orca"}:
        tally = Tally()
        assert written(name, [judgment], tally) == []
        assert tally.left_out == {"the prompt is a conversation, and this format holds one text": 1}
    system = dataclasses.replace(judgment.pair, prompt=[{"role": "system", "content": "s"}, *user()])
    tally = Tally()
    assert written("hh", [dataclasses.replace(judgment, pair=system)], tally) == []
    assert tally.left_out == {"a transcript has no turn for the role system": 1}
