"""Every format keeps its orientation in both directions, says what it cannot carry, and names a row that is wrong.

In the hand-written rows the better response is called "right" and the worse one "wrong".
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import refused, rlaif, rows_of, write_rows

from rlaif.commands.convert import ConvertConfig, convert
from rlaif.files.conversations import conversation
from rlaif.files.sources import fingerprint
from rlaif.formats.base import Tally
from rlaif.formats.files import read_source, write_output
from rlaif.formats.known import FORMATS, detect, read_benchmark
from rlaif.records import Judgment, Message, Pair

Row = dict[str, Any]


def user(text: str = "Which?") -> list[Message]:
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


TALK = [*user("Hi."), *assistant("Hello."), *user()]
HH = "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: Which?\n\nAssistant: "
UF = {
    "prompt": "Which?",
    "prompt_id": hashlib.sha256(b"Which?").hexdigest(),
    "chosen": [*user(), *assistant("right")],
    "rejected": [*user(), *assistant("wrong")],
    "messages": [*user(), *assistant("right")],
    "score_chosen": 8.5,
    "score_rejected": 4.0,
}
ALPACA = {
    "instruction": "Which?",
    "output_1": "right",
    "generator_1": "gpt4_1106_preview",
    "dataset": "helpful_base",
    "output_2": "wrong",
    "generator_2": "vicuna-7b",
    "annotator": "weighted_alpaca_eval_gpt4_turbo",
    "preference": 1.125,
    "price_per_example": 0.00939,
    "raw_completion": {"text": "M", "total_tokens": 939.0},
}
JUDGEBENCH = {
    "pair_id": "81ec57f2",
    "original_id": "10646",
    "source": "mmlu-pro-computer science",
    "question": "Which?",
    "response_model": "gpt-4o-2024-05-13",
    "response_A": "right",
    "response_B": "wrong",
    "label": "A>B",
}
HS2 = {"split": "train", "prompt": "Which?", "preference_statement": "@Response 1 is better", "preference_strength": -2}
HS3 = {
    "domain": "general",
    "language": "english",
    "context": TALK,
    "response1": "wrong",
    "response2": "right",
    "overall_preference": 3,
    "individual_preference": [{"score": 3, "reasoning": "@Response 2 is better"}],
}
ATTRIBUTES = {"correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 1}
DISTILABEL = {
    "prompt_id": hashlib.sha256(b"Which?").hexdigest(),
    "prompt": "Which?",
    "chosen": [*user(), *assistant("right")],
    "chosen_model": "one",
    "chosen_rating": 5.0,
    "rejected": [*user(), *assistant("wrong")],
    "rejected_model": "two",
    "rejected_rating": 2.0,
}
RATED = {
    "instruction": "Which?",
    "generations": ["wrong", "right"],
    "generation_models": ["one", "two"],
    "ratings": [1, 4],
    "rationales": ["worse", "better"],
}
NEMO = {
    "context": TALK,
    "completions": [{"rank": 1, "completion": assistant("wrong")}, {"rank": 0, "completion": assistant("right")}],
}
NECTAR = {
    "prompt": "\n\nHuman: Which? \n\nAssistant: ",
    "answers": [
        {"answer": "wrong", "model": "one", "rank": 2},
        {"answer": "right", "model": "two", "rank": 1},
    ],
    "turns": 1,
    "num_responses": 2,
    "source": ["sharegpt"],
    "good_natured": True,
}
REWARDBENCH = {
    "prompt": "Which?",
    "chosen": "right",
    "chosen_model": "one",
    "rejected": "wrong",
    "rejected_model": "two",
    "subset": "alpacaeval-easy",
    "id": 17,
}
PREFERENCE = {
    "id": "7",
    "prompt": TALK,
    "chosen": assistant("right"),
    "rejected": assistant("wrong"),
    "z": 0.8,
    "margin": 0.6,
    "z_first": 0.9,
    "z_second": 0.7,
    "judge": "j",
    "template": "t",
    "chosen_model": "one",
    "rejected_model": None,
    "label": "rejected",
}
PAIR = {"id": "7", "prompt": "Which?", "response_a": "wrong", "response_b": "right", "z": 0.2, "judge": "j", "x": 1}
# Rows of each format's true shape, which come back as they were.
ROWS: dict[str, list[Row]] = {
    "pairs": [PAIR, {**PAIR, "id": "8", "z_ab": 0.0, "z_ba": 0.4, "votes": 2, "readable": 2, "label": "a"}],
    "preferences": [PREFERENCE],
    "trl": [
        {"prompt": "Which?", "chosen": "right", "rejected": "wrong", "id": 3},
        {"prompt": "Why?", "chosen": " right", "rejected": "wrong", "reason": "x"},
    ],
    "ultrafeedback": [UF, {**UF, "score_rejected": None, "prompt": "Which? "}],
    "helpsteer2": [
        {**HS2, "response_1": "right", "response_2": "wrong"},
        {
            **HS2,
            "prompt": "Hi.\n<extra_id_1>Assistant\nHello.\n<extra_id_1>User\nWhich?\n",
            "response_1": "wrong",
            "response_2": "right",
            "preference_strength": 1,
        },
    ],
    "helpsteer2-ratings": [
        {"prompt": "Which?", "response": "wrong", "helpfulness": 1, **ATTRIBUTES},
        {"prompt": "Which?", "response": "right", "helpfulness": 4, **ATTRIBUTES},
    ],
    "helpsteer3": [HS3, {**HS3, "response1": "right", "response2": "wrong", "overall_preference": -1}],
    "skywork": [{"chosen": [*TALK, *assistant("right")], "rejected": [*TALK, *assistant("wrong")], "source": "s"}],
    "hh": [{"chosen": HH + "right", "rejected": HH + "wrong"}],
    "nectar": [NECTAR],
    "argilla": [DISTILABEL],
    "distilabel": [RATED, {**RATED, "generations": ["right", "wrong"], "ratings": [4.5, 3]}],
    "alpacaeval": [ALPACA, {**ALPACA, "output_1": "wrong", "output_2": "right", "preference": 2.0}],
    "judgebench": [JUDGEBENCH, {**JUDGEBENCH, "response_A": "wrong", "response_B": "right", "label": "B>A"}],
    "llmbar": [
        {"input": "Which?", "output_1": "right", "output_2": "wrong", "label": 1},
        {"input": "Which?", "output_1": "wrong", "output_2": "right", "label": 2},
    ],
    "rewardbench": [REWARDBENCH],
    "nemo": [NEMO],
    "kto": [
        {"prompt": "Which?", "completion": "right", "label": True, "source": "s"},
        {"prompt": "Which?", "completion": "wrong", "label": False, "source": "s"},
    ],
}
PEOPLE = {"helpsteer2", "helpsteer2-ratings", "helpsteer3", "hh", "judgebench", "llmbar", "rewardbench"}


def placed(rows: list[Row]) -> Iterator[tuple[str, Row]]:
    return ((f"rows.jsonl:{at}", row) for at, row in enumerate(rows, 1))


def read(name: str, rows: list[Row], tally: Tally | None = None) -> list[Judgment]:
    return list(FORMATS[name].read(placed(rows), tally or Tally()))


def written(name: str, judgments: list[Judgment], tally: Tally | None = None) -> list[Row]:
    return list(FORMATS[name].write(judgments, tally or Tally()))


def winner(judgment: Judgment) -> str:
    assert judgment.z not in (None, 0.5)
    return judgment.pair.response_a if judgment.z > 0.5 else judgment.pair.response_b  # type: ignore[operator]


def test_every_format_has_a_row_here() -> None:
    assert set(ROWS) == set(FORMATS)


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


@pytest.mark.parametrize("name", FORMATS)
def test_rows_come_back_as_they_were(name: str) -> None:
    assert written(name, read(name, ROWS[name])) == ROWS[name]


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_known_by_its_columns(name: str) -> None:
    assert [detect(row, "here").name for row in ROWS[name]] == [name] * len(ROWS[name])


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
        for taken, found in enumerate(placed(ROWS[name] * 9), 1):  # noqa: B007
            yield found

    next(iter(FORMATS[name].read(rows(), Tally())))
    assert taken == (2 if name == "helpsteer2-ratings" else 1)


def test_what_else_a_row_says_is_kept() -> None:
    (judgment,) = read("helpsteer3", [HS3])
    assert judgment.pair.prompt == TALK
    assert judgment.pair.extra["strength"] == 3
    assert judgment.pair.extra["domain"] == "general"
    (judgment,) = read("rewardbench", [REWARDBENCH])
    assert (judgment.pair.model_a, judgment.pair.model_b) == ("one", "two")
    assert dict(judgment.pair.extra) == {"subset": "alpacaeval-easy", "source_id": 17}
    (judgment,) = read("helpsteer2-ratings", ROWS["helpsteer2-ratings"])
    assert {k: judgment.pair.extra[k] for k in ("helpfulness_1", "helpfulness_2")} == {
        "helpfulness_1": 1,
        "helpfulness_2": 4,
    }
    judgment = read("alpacaeval", [ALPACA])[0]
    assert (judgment.z, judgment.judge, judgment.pair.model_b) == (0.875, ALPACA["annotator"], "vicuna-7b")
    assert read("ultrafeedback", [UF])[0].judge == read("nectar", [NECTAR])[0].judge == "gpt-4"


def test_every_two_of_several_responses_are_a_pair() -> None:
    ranks = [{"answer": text, "model": text, "rank": rank} for text, rank in zip("abcd", [3, 1, 1, 4], strict=True)]
    found = read("nectar", [{**NECTAR, "answers": ranks}])
    shown = [(j.pair.response_a, j.pair.response_b, j.z) for j in found]
    assert shown == [("a", "b", 0), ("a", "c", 0), ("a", "d", 1), ("b", "c", 0.5), ("b", "d", 1), ("c", "d", 1)]
    assert [j.pair.model_b for j in found] == [j.pair.response_b for j in found]
    ranks = [{"rank": rank, "completion": assistant(text)} for text, rank in zip("abc", [2, 0, 1], strict=True)]
    found = read("nemo", [{**NEMO, "completions": ranks}])
    assert [(j.pair.response_a, j.pair.response_b, j.z) for j in found] == [("a", "b", 0), ("a", "c", 0), ("b", "c", 1)]


def test_a_rating_that_is_none_is_no_number() -> None:
    tally = Tally()
    generations = ["a", "b", None, "d"]
    row = {"instruction": "Which?", "generations": generations, "ratings": [3, "N/A", 5, "4.5"]}
    found = read("distilabel", [row], tally)
    shown = [(j.pair.response_a, j.pair.response_b, j.z, j.reason) for j in found]
    assert shown == [("a", "b", None, "rating is 'N/A'"), ("a", "d", 0, None), ("b", "d", None, "rating is 'N/A'")]
    assert tally.left_out == {"a response is null": 1}
    strange = read("distilabel", [{**RATED, "ratings": [float("nan"), True]}])
    assert [(j.z, j.reason) for j in strange] == [(None, "rating is nan")]
    assert read("distilabel", [{**RATED, "ratings": [0, True]}])[0].reason == "rating is True"
    unrated = read("distilabel", [{**RATED, "ratings": None}])
    assert [(j.z, j.reason) for j in unrated] == [(None, "rating is None")]


@pytest.mark.parametrize(
    "row",
    [
        {"dataset": "d", "chosen": DISTILABEL["chosen"], "rejected": DISTILABEL["rejected"]}
        | {"chosen_rating": 5.0, "rejected_rating": 1.0},
        {"source": "s", "prompt": "Which?", "chosen": DISTILABEL["chosen"], "rejected": DISTILABEL["rejected"]}
        | {"chosen-rating": 5.0, "chosen-model": "one", "rejected-rating": 1.0, "rejected-model": "two"},
        {**DISTILABEL, **RATED, "distilabel_metadata": {}},
        {"system": "Be brief.", "input": "Which?", "chosen": "right", "rejected": "wrong", "status": "unchanged"}
        | {"generations": ["wrong", "right"], "labelling_model": "gpt-4-1106-preview", "rating": [3.0, 9.0]},
    ],
)
def test_the_spellings_of_argilla(row: Row) -> None:
    assert detect(row, "here").name == "argilla"
    (judgment,) = read("argilla", [row])
    assert winner(judgment) == "right"
    assert conversation(judgment.pair.prompt)[-1] == user()[0]
    assert judgment.judge == row.get("labelling_model")
    if "input" in row:
        assert conversation(judgment.pair.prompt)[0]["role"] == "system"
        assert read("argilla", [{**row, "status": "tie"}])[0].z == 0.5
        assert read("argilla", [{**row, "system": ""}])[0].pair.prompt == user()  # messages all the same
    else:
        same = {"chosen_rating": 2.0, "rejected_rating": 2.0}
        assert read("argilla", [{**row, **same, "chosen-rating": 2.0, "rejected-rating": 2.0}])[0].z == 0.5


def test_equal_scores_are_a_tie_and_contradicting_ones_no_verdict() -> None:
    tie, contradiction = read("ultrafeedback", [{**UF, "score_rejected": 8.5}, {**UF, "score_rejected": 9.0}])
    assert (tie.z, contradiction.z, contradiction.reason) == (0.5, None, "chosen has the lower score")


def test_scores_are_not_written_beside_a_verdict_that_they_contradict() -> None:
    (judgment,) = read("ultrafeedback", [UF])
    ours = {"votes": 2, "readable": 2, "judge": "ours", "template": "t"}
    agreed, turned = (dataclasses.replace(judgment, z=z, **ours) for z in (0.7, 0.3))
    assert written("ultrafeedback", [agreed]) == [UF]
    (row,) = written("ultrafeedback", [turned])
    assert (row["chosen"][-1]["content"], row["score_chosen"], row["score_rejected"]) == ("wrong", None, None)
    assert read("ultrafeedback", [row])[0].z == 1.0


def test_no_strength_is_made_up() -> None:
    strong, weak = read("helpsteer3", ROWS["helpsteer3"])
    ours = dataclasses.replace(strong, z=0.9, votes=2, readable=2, judge="ours")  # people preferred the second
    plain = dataclasses.replace(strong, pair=dataclasses.replace(strong.pair, label=None, extra={}), judge="ours")
    tally = Tally()
    assert written("helpsteer2", [ours, plain, weak], tally)[0]["preference_strength"] == -1
    assert tally.left_out == {"no strength of this verdict is known": 2}
    assert "individual_preference" not in written("helpsteer3", [strong.swap()])[0]


def test_an_old_draw_of_alpacaeval_and_another_scale() -> None:
    draw = {**ALPACA, "preference": 0}
    assert [j.z for j in read("alpacaeval", [draw, {**ALPACA, "preference": None}, ALPACA])] == [0.5, None, 0.875]
    with pytest.raises(ValueError, match=r"rows.jsonl:2: preference is 0, and no row says more than 1"):
        read("alpacaeval", [{**ALPACA, "preference": 1}, draw, {**ALPACA, "preference": 1.0}])


def test_kto_joins_what_is_apart_and_counts_what_is_alone() -> None:
    def row(prompt: str, completion: str, label: bool) -> Row:
        return {"prompt": prompt, "completion": completion, "label": label, "score": len(completion)}

    tally = Tally()
    rows = [row("p", "right", True), row("q", "x", True), row("p", "wrong", False), row("r", "y", False)]
    rows += [row("q", "z1", False), row("p", "wrong again", False), row("r", "y2", False)]
    found = read("kto", rows, tally)
    assert [(j.pair.prompt, j.pair.response_a, j.pair.response_b) for j in found] == [
        ("p", "right", "wrong"),
        ("p", "right", "wrong again"),
        ("q", "x", "z1"),
    ]
    assert {j.z for j in found} == {1.0}
    assert tally.left_out == {"a completion without a counterpart": 2}
    assert [dict(j.pair.extra) for j in found] == [
        {"score": 5},
        {"score_1": 5, "score_2": 11},
        {"score_1": 1, "score_2": 2},
    ]


def test_kto_is_what_trl_makes_of_pairs() -> None:
    from datasets import Dataset
    from trl import unpair_preference_dataset

    rows = [{"prompt": f"{i}?", "chosen": f"right {i}", "rejected": f"wrong {i}", "n": i} for i in range(3)]
    found = read("kto", list(unpair_preference_dataset(Dataset.from_list(rows))))
    assert written("trl", found) == rows


# What each format can carry of a judgment: a verdict, how it is known, and a prompt.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MARKED = st.builds(
    "{}{}{}".format, TEXT, st.sampled_from(["", "", " ", "\n", "\n\nHuman:", "\n<extra_id_1>User\n"]), TEXT
)
ONE_TEXT = {"rewardbench", "alpacaeval", "judgebench", "llmbar", "distilabel"}
SOFT = {"pairs", "preferences", "alpacaeval"}
TIES = {"pairs", "helpsteer2", "helpsteer2-ratings", "helpsteer3", "alpacaeval", "judgebench", "nectar", "distilabel"}


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
    judge = {"ultrafeedback": "gpt-4", "nectar": "gpt-4"}.get(name, "label" if label else None)
    pair = Pair(turns, first, second, model_a="m", model_b="n", label=label, extra={**extra, "other": "kept"})  # type: ignore[arg-type]
    return Judgment(pair, z=z, judge=judge)


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


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "helpsteer2-ratings"])
@settings(max_examples=30)
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
}


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=30)
@given(data=st.data())
def test_a_swapped_judgment_is_the_mirrored_row(name: str, data: st.DataObject) -> None:
    judgment = data.draw(judgments(name))
    rows = written(name, [judgment])
    assume(rows)
    # Where chosen and rejected are named, the row is the same, whichever of them was response_a.
    assert written(name, [judgment.swap()]) == MIRRORS.get(name, lambda same: same)(rows)


@pytest.mark.parametrize("name", FORMATS)
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


@pytest.mark.parametrize("name", FORMATS)
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
    for name in ONE_TEXT - {"distilabel"}:
        tally = Tally()
        assert written(name, [judgment], tally) == []
        assert tally.left_out == {"the prompt is a conversation, and this format holds one text": 1}
    system = dataclasses.replace(judgment.pair, prompt=[{"role": "system", "content": "s"}, *user()])
    tally = Tally()
    assert written("hh", [dataclasses.replace(judgment, pair=system)], tally) == []
    assert tally.left_out == {"a transcript has no turn for the role 'system'": 1}


MALFORMED: list[tuple[str, Row, str]] = [
    *[
        (name, {k: v for k, v in ROWS[name][0].items() if k != "prompt"}, "has no 'prompt'")
        for name in ("pairs", "kto")
    ],
    ("alpacaeval", {k: v for k, v in ALPACA.items() if k != "preference"}, "the row has no 'preference'; expected"),
    ("alpacaeval", {**ALPACA, "preference": 2.5}, r"preference is 2.5; expected a number from 1 \(output_1\) to 2"),
    ("alpacaeval", {**ALPACA, "preference": 0.5}, "preference is 0.5; expected a number from 1"),
    ("alpacaeval", {**ALPACA, "preference": "output_1"}, "preference is 'output_1'; expected a number"),
    ("helpsteer2", {**ROWS["helpsteer2"][0], "preference_strength": 4}, "preference_strength is 4; expected a whole"),
    (
        "helpsteer2",
        {**ROWS["helpsteer2"][0], "prompt": "q\n<extra_id_1>Assistant\na"},
        "prompt ends with '<extra_id_1>A",
    ),
    ("helpsteer3", {**HS3, "overall_preference": 1.5}, "overall_preference is 1.5; expected a whole number"),
    ("helpsteer3", {**HS3, "context": "Which?"}, 'context is "Which'),
    ("helpsteer2-ratings", {**ROWS["helpsteer2-ratings"][0], "helpfulness": 5}, "helpfulness is 5; expected a whole"),
    ("helpsteer2-ratings", {**ROWS["helpsteer2-ratings"][0], "prompt": "Why?"}, "no other row of this prompt follows"),
    ("judgebench", {**JUDGEBENCH, "label": "A"}, "label is 'A'; expected 'A>B' or 'B>A' or 'A=B'"),
    ("llmbar", {**ROWS["llmbar"][0], "label": 3}, "label is 3; expected 1 or 2"),
    ("llmbar", {**ROWS["llmbar"][0], "label": True}, "label is True; expected 1 or 2"),
    ("ultrafeedback", {**UF, "rejected": [*user("Why?"), *assistant("x")]}, "chosen and rejected begin with different"),
    ("ultrafeedback", {**UF, "chosen": user()}, "chosen ends with the role .user"),
    ("ultrafeedback", {**UF, "rejected": None}, "rejected is null"),
    ("trl", {"chosen": "right", "rejected": "wrong"}, "the row has no 'prompt'"),
    (
        "trl",
        {"prompt": user("x"), **{k: UF[k] for k in ("chosen", "rejected")}},
        "prompt is a list, .* which chosen, a whole conversation, does not begin with",
    ),
    (
        "trl",
        {"prompt": "Which?", "chosen": ["right"], "rejected": ["wrong"]},
        "chosen holds .right.; expected messages like",
    ),
    ("skywork", {"chosen": assistant("a"), "rejected": assistant("b"), "source": "s"}, "the row has no 'prompt'"),
    (
        "hh",
        {"chosen": HH + "right", "rejected": "\n\nHuman: Why?\n\nAssistant: x"},
        "begin with different conversations",
    ),
    ("hh", {"chosen": "\n\nHuman: Which?", "rejected": HH}, r"chosen ends with no '\\n\\nAssistant:' turn"),
    ("hh", {"chosen": HH, "rejected": "Human: Which?\n\nAssistant: x"}, "rejected begins with 'Human: Which"),
    ("hh", {"chosen": HH + "x\n\nHuman: And?", "rejected": HH}, r"chosen ends with no '\\n\\nAssistant:' turn"),
    ("nectar", {**NECTAR, "answers": [{"answer": "a", "rank": 1}]}, "expected a list of at least two ranked responses"),
    ("nectar", {**NECTAR, "answers": [*NECTAR["answers"], {"answer": "a"}]}, r"answers\[2\] has no 'rank'"),
    ("nectar", {**NECTAR, "answers": [*NECTAR["answers"], "a"]}, r"answers\[2\] is str; expected an object"),
    ("nectar", {**NECTAR, "prompt": HH + "An answer."}, "prompt ends with an answer"),
    ("nemo", {**NEMO, "completions": [{"rank": "x", "completion": []}] * 2}, r"completions\[0\] has the rank 'x'"),
    (
        "nemo",
        {**NEMO, "completions": [{"rank": 0, "completion": TALK}] * 2},
        r"completions\[0\] ends with the role .user",
    ),
    ("kto", {**ROWS["kto"][0], "label": 1}, "label is 1; expected true or false"),
    (
        "kto",
        {**ROWS["kto"][0], "completion": user()},
        "completion ends with the role .user",
    ),
    ("distilabel", {**RATED, "ratings": [1]}, r"ratings is '\[1\]'; expected a list of 2, as generations has"),
    ("distilabel", {"generations": ["a", "b"], "ratings": [1, 2]}, "the row has no 'prompt'"),
    ("argilla", {"prompt": "q", "chosen": "a", "rejected": "b"}, "the row has no 'chosen_rating'"),
    ("rewardbench", {**REWARDBENCH, "chosen": ["right"]}, "response_a is list"),
    ("preferences", {**PREFERENCE, "z": 0.3}, r"z is 0.3; expected P\(chosen is preferred\) in \(0.5, 1\]"),
    ("preferences", {**PREFERENCE, "label": "a"}, "label is 'a'; expected 'chosen', 'rejected', 'tie' or null"),
    ("pairs", {**PAIR, "z": 1.5}, "z is 1.5; expected a probability"),
]


@pytest.mark.parametrize(("name", "row", "message"), MALFORMED)
def test_a_malformed_row_is_named(name: str, row: Row, message: str) -> None:
    good = ROWS[name][: 2 if name == "helpsteer2-ratings" else 1]
    where = f"^rows.jsonl:{len(good) + 1}: .*{message}"
    with pytest.raises(ValueError, match=where):
        read(name, [*good, row])
    tally = Tally(skip=True)
    kept = read(name, [*good, row, *ROWS[name]], tally)
    assert tally.malformed == 1
    assert len(kept) == len(read(name, [*good, *ROWS[name]]))
    assert str(tally.first_malformed).startswith(f"rows.jsonl:{len(good) + 1}: ")


def test_prompts_of_two_kinds_are_refused() -> None:
    for name, odd in (("pairs", {**PAIR, "prompt": TALK}), ("kto", {**ROWS["kto"][0], "prompt": TALK})):
        with pytest.raises(
            ValueError, match=r"the prompt at rows.jsonl:2 is messages, but the one at rows.jsonl:1 is a"
        ):
            read(name, [ROWS[name][0], odd])


def test_pairs_without_z_take_their_label() -> None:
    plain = {k: v for k, v in PAIR.items() if k not in ("z", "judge")}
    found = read("pairs", [{**plain, "label": "b"}, plain, {**PAIR, "z": None}])
    assert [(j.z, j.judge, j.reason) for j in found] == [
        (0.0, "label", None),
        (None, None, "no z and no label"),
        (None, "j", "z is null in the source"),
    ]
    assert [row["z"] for row in written("pairs", found)] == [0.0, None, None]


# ---------------------------------------------------------------------------------------------------------- the command


def test_one_format_becomes_another(tmp_path: Path) -> None:
    """HelpSteer3 -> our pairs -> a dataset -> HH, and the better response is still the chosen one."""
    rows = [{**row, "context": user(f"Which, {i}?")} for i, row in enumerate(ROWS["helpsteer3"] * 4)]
    rows.append({**HS3, "overall_preference": 0})
    source = write_rows(tmp_path / "hs3.jsonl", rows)
    done = rlaif("convert", "--source", source, "--output", tmp_path / "judged/judgments.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["source_format", "helpsteer3"]
    assert "ties                         1\n" in done.stdout
    manifest = json.loads((tmp_path / "judged/judgments.jsonl.manifest.json").read_text())
    assert (manifest["command"], manifest["inputs"]) == ("rlaif convert", {str(source): fingerprint(source)})
    assert manifest["config"]["source"] == str(source)
    assert {"rows": 9, "ties": 1, "written": 9, "source_format": "helpsteer3"}.items() <= manifest["report"].items()
    assert sorted(path.name for path in (tmp_path / "judged").iterdir()) == [
        "judgments.jsonl",
        "judgments.jsonl.manifest.json",
    ]
    build = (
        "build",
        "--judgments",
        tmp_path / "judged",
        "--output",
        tmp_path / "set",
        "--validation",
        0.5,
        "--test",
        0,
    )
    assert rlaif(*build).returncode == 0
    sizes = {}
    for folder, split in (("judged", None), ("set", None), ("set", "train"), ("set", "validation")):
        out = tmp_path / "hh.parquet"
        report = convert(ConvertConfig(source=str(tmp_path / folder), format="hh", output=str(out), split=split))
        kept = pq.read_table(out).to_pylist()
        sizes[folder, split] = len(kept)
        assert {(row["chosen"].split()[-1], row["rejected"].split()[-1]) for row in kept} == {("right", "wrong")}
        names = {"judged": []}.get(folder, ["train", "validation"] if split is None else [split])
        assert report["splits"] == {name: sizes.get(("set", name), report["splits"][name]) for name in names}
        assert list(report["splits"]) == names
        assert sum(report["splits"].values()) == (len(kept) if folder == "set" else 0)
    assert min(sizes.values()) > 0
    assert sizes["judged", None] == sizes["set", None] == sizes["set", "train"] + sizes["set", "validation"] == 8
    with pytest.raises(
        ValueError, match=r"set has the splits train, validation; say which one with --split \(got test"
    ):
        convert(ConvertConfig(source=str(tmp_path / "set"), output=str(tmp_path / "x.jsonl"), split="test"))
    report = convert(
        ConvertConfig(source=str(tmp_path / "judged"), output=str(tmp_path / "hs3.parquet"), format="helpsteer3")
    )
    assert (report["rows"], report["written"], report["ties"], report["left_out"]) == (9, 9, 1, {})
    back = [row for _, _, row in read_source(tmp_path / "hs3.parquet")]
    assert back == rows


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        ([{"a": 1}], [], "rows.jsonl:1 fits no known format; got the columns a. Say with --source_format"),
        ([{**UF, **DISTILABEL}], [], "rows.jsonl:1 fits ultrafeedback and argilla; got the columns"),
        ([], [], "has no rows; expected at least one"),
        ([PAIR, {"z": 1}], [], "rows.jsonl:2: the row has no 'prompt'"),
        ([{**PAIR, "z": 0.5}], ["--format", "trl"], r"can be written as trl ({'tie': 1}); nothing written"),
        ([PAIR], ["--format", "hhh"], "hhh"),
        ([PAIR], ["--output", "x.csv"], "output is x.csv; expected a file that ends in .jsonl or .parquet"),
        ([PAIR], ["--source_format", "llmbar"], "rows.jsonl:1: the row has no 'input'"),
    ],
)
def test_what_cannot_be_converted_is_one_line(
    rows: list[Row], arguments: list[str], message: str, tmp_path: Path
) -> None:
    source, output = write_rows(tmp_path / "rows.jsonl", rows), tmp_path / "out.jsonl"
    output.write_text("old")
    assert message in refused(rlaif("convert", "--source", source, "--output", output, *arguments))
    assert output.read_text() == "old"  # nothing is half written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]


def test_malformed_rows_are_left_out_on_demand(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [*ROWS["hh"], {"chosen": "\n\nHuman: x", "rejected": HH}])
    done = rlaif(*("convert", "--source", source, "--output", tmp_path / "out.jsonl"), *("--skip_malformed", "true"))
    assert done.returncode == 0
    assert done.stderr.startswith("warning: 1 rows could not be read and are left out; the first: ")
    assert "rows.jsonl:2: chosen ends with no" in done.stderr
    assert len(rows_of(tmp_path / "out.jsonl")) == 1


def test_a_repeated_pair_gets_an_id_of_its_own(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", ROWS["hh"] * 3)
    config = ConvertConfig(source=str(source), output=str(tmp_path / "out.jsonl"))
    assert convert(config)["repeated"] == 2
    ids = [row["id"] for row in rows_of(tmp_path / "out.jsonl")]
    assert ids == [ids[0], f"{ids[0]}-2", f"{ids[0]}-3"]
    with pytest.raises(ValueError, match="output is the source"):
        convert(ConvertConfig(source=str(source), output=str(source)))


def test_sources_that_people_have_on_disk(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text(json.dumps(ROWS["alpacaeval"], indent=2))
    with gzip.open(tmp_path / "train.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(row) + "\n" for row in ROWS["hh"]))
    write_output(tmp_path / "pref.parquet", ROWS["helpsteer2"])
    for name, kind in (("annotations.json", "alpacaeval"), ("train.jsonl.gz", "hh"), ("pref.parquet", "helpsteer2")):
        found = list(read_source(tmp_path / name))
        assert [row for _, _, row in found] == ROWS[kind]
        assert found[0][:2] == ("", f"{tmp_path / name}:1")
    (tmp_path / "cut.jsonl.gz").write_bytes((tmp_path / "train.jsonl.gz").read_bytes()[:-12])
    (tmp_path / "torn.json").write_text("[{")
    (tmp_path / "texts.json").write_text('["a"]')
    for name, message in (
        ("cut.jsonl.gz", "cannot be unpacked .*; expected gzipped lines of JSON"),
        ("torn.json", "torn.json is not JSON"),
        ("texts.json", "texts.json:1 holds a str; expected one JSON object"),
    ):
        with pytest.raises(ValueError, match=message):
            list(read_source(tmp_path / name))


def test_parquet_takes_columns_that_come_late_and_refuses_mixed_ones(tmp_path: Path) -> None:
    rows: list[Row] = [{"a": 1}, *[{"a": None}] * 5_000, {"a": 0.5, "b": [{"c": "x"}]}]
    assert write_output(tmp_path / "rows.parquet", rows) == 5_002
    back = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert (back[0], back[-1]) == ({"a": 1.0, "b": None}, {"a": 0.5, "b": [{"c": "x"}]})
    with pytest.raises(ValueError, match=r"mixed.parquet: these rows do not fit one Parquet schema .* Write .jsonl"):
        write_output(tmp_path / "mixed.parquet", [{"a": "x"}, *[{"a": "y"}] * 5_000, {"a": 1}])
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


BENCHMARKS = ["rewardbench", "judgebench", "llmbar", "alpacaeval", "hh", "skywork", "nectar", "helpsteer2", "argilla"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_gives_its_prompts(name: str, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", ROWS[name][:1])
    identity = {"rewardbench": "17", "judgebench": "81ec57f2"}.get(name, f"{source}:1")
    for kind in ("auto", name):
        assert [(i, text.strip()) for i, text in read_benchmark(source, kind)] == [(identity, "Which?")]


def test_a_benchmark_needs_no_verdict(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Which?", "chosen": ["right"], "rejected": ["a", "b", "c"], "id": "v2"},
        {"instruction": "Which?", "output": "x"},
        {"id": "llmbar/1", "prompt": "Which?", "response_a": "x", "response_b": "y", "label": "a"},
        {"turns": ["x"], "context": TALK},
        {"chosen": [*TALK, *assistant("right")], "rejected": [*TALK, *assistant("wrong")]},
    ]
    source = write_rows(tmp_path / "rows.jsonl", rows)
    assert [text for _, text in read_benchmark(source)] == ["Which?"] * 5
    write_rows(source, [{"text": "x"}])
    with pytest.raises(ValueError, match=r"rows.jsonl:1: the row has no prompt; got the columns text"):
        list(read_benchmark(source))
    write_rows(source, [{"chosen": "x", "rejected": "y"}])
    with pytest.raises(ValueError, match=r"rows.jsonl:1: the row has no 'prompt'"):
        list(read_benchmark(source))


def test_every_split_of_a_source_is_read(tmp_path: Path) -> None:
    """A folder of `save_to_disk`, one as the Hub keeps it, and one with a single split."""
    prompts = {"raw": ["Which, 17?", "Which, 18?"], "filtered": ["Which, 17?"]}
    rows = {
        name: [{**REWARDBENCH, "id": int(prompt[-3:-1]), "prompt": prompt} for prompt in prompts[name]]
        for name in prompts
    }
    both = datasets.DatasetDict({name: datasets.Dataset.from_list(rows[name]) for name in rows})
    both.save_to_disk(tmp_path / "saved")
    both["raw"].save_to_disk(tmp_path / "one")
    (tmp_path / "hub").mkdir()
    files = "".join(f"  - split: {name}\n    path: {name}.parquet\n" for name in rows)
    (tmp_path / "hub/README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n")
    for name, part in both.items():
        part.to_parquet(tmp_path / f"hub/{name}.parquet")
    for folder in ("saved", "hub"):
        items = [("17", "Which, 17?"), ("18", "Which, 18?"), ("filtered/17", "Which, 17?")]
        assert list(read_benchmark(tmp_path / folder)) == items
        config = ConvertConfig(source=str(tmp_path / folder), output=str(tmp_path / "out.jsonl"))
        report = convert(config)
        assert (report["splits"], report["written"]) == ({"raw": 2, "filtered": 1}, 3)
        assert convert(dataclasses.replace(config, split="filtered"))["splits"] == {"filtered": 1}
        places = [where for _, where, _ in read_source(tmp_path / folder)]
        assert places == [f"{tmp_path / folder}[{at}" for at in ("raw]:1", "raw]:2", "filtered]:1")]
    assert [split for split, _, _ in read_source(tmp_path / "one")] == ["", ""]
    with pytest.raises(ValueError, match=r"nowhere/here/there does not exist; expected a .jsonl or .parquet file"):
        list(read_source("nowhere/here/there"))
    with pytest.raises(ValueError, match=r"ada/nowhere could not be read"):
        list(read_source("ada/nowhere"))


def test_an_id_that_repeats_within_a_split_stays(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", ROWS["rewardbench"][:1] * 2)
    assert [identity for identity, _ in read_benchmark(source)] == ["17", "17"]


def test_a_plain_z_beside_chosen_is_read() -> None:
    row = {"prompt": "Which?", "chosen": "right", "rejected": "wrong", "z": 0.75}
    assert detect(row, "here").name == "preferences"
    assert [j.z for j in read("preferences", [row])] == [0.75]


def test_an_instruction_with_an_input_is_not_half_a_prompt() -> None:
    """AlpacaFarm's older rows have both: without the input, different questions would be one."""
    row = {"instruction": "Sum up.", "output_1": "a", "output_2": "b", "preference": 1.2}
    assert len([*FORMATS["alpacaeval"].read([("x:1", {**row, "input": ""})], Tally())]) == 1
    with pytest.raises(ValueError, match=r"x:1: the row has an input .* beside its instruction; expected one prompt"):
        [*FORMATS["alpacaeval"].read([("x:1", {**row, "input": "A story."})], Tally())]
