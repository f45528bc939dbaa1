"""What each format reads: the verdict of its rows, what else they say, and the spellings they go by."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.formats import (
    ALPACA,
    DISTILABEL,
    HS3,
    NECTAR,
    NEMO,
    PAIR,
    RATED,
    REWARDBENCH,
    ROWS,
    TALK,
    UF,
    Row,
    assistant,
    read,
    user,
    winner,
    written,
)

from rlaif.files.conversations import conversation
from rlaif.formats.base import Tally
from rlaif.formats.known import FORMATS, detect


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
    assert read("ultrafeedback", [UF])[0].judge == "gpt-4"


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
    assert tally.unread == {"a response is null": 1}
    unrated = read("distilabel", [{**RATED, "ratings": None}])
    assert [(j.z, j.reason) for j in unrated] == [(None, "rating is null")]


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
    ours: dict[str, Any] = {"votes": 2, "readable": 2, "judge": "ours", "template": "t"}
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
    assert tally.unread == {"a completion without a counterpart": 2}
    assert [dict(j.pair.extra) for j in found] == [
        {"score": 5},
        {"score_1": 5, "score_2": 11},
        {"score_1": 1, "score_2": 2},
    ]


def test_a_completion_is_no_pair_with_itself() -> None:
    tally = Tally()
    rows = [
        {"prompt": "p", "completion": text, "label": label} for text, label in (("x", True), ("x", False), ("y", False))
    ]
    assert [(j.pair.response_a, j.pair.response_b) for j in read("kto", rows, tally)] == [("x", "y")]
    assert tally.unread == {"a completion that is desirable in one row and not in another": 1}


def test_kto_is_what_trl_makes_of_pairs() -> None:
    from datasets import Dataset
    from trl import unpair_preference_dataset

    rows = [{"prompt": f"{i}?", "chosen": f"right {i}", "rejected": f"wrong {i}", "n": i} for i in range(3)]
    found = read("kto", list(unpair_preference_dataset(Dataset.from_list(rows))))
    assert written("trl", found) == rows


def test_pairs_without_z_take_their_label() -> None:
    plain = {k: v for k, v in PAIR.items() if k not in ("z", "judge")}
    unjudged = {**PAIR, "z": None}  # a table of both kinds fills z with null: whose label there is is the label's
    found = read("pairs", [{**plain, "label": "b"}, {**plain, "label": "b", "z": None}, plain, unjudged])
    assert read("pairs", [{**unjudged, "label": "b"}])[0].z is None  # what a judge left so is no label's
    assert [(j.z, j.judge, j.reason) for j in found] == [
        *[(0.0, "label", None)] * 2,
        (None, None, "no z and no label"),
        (None, "j", "z is null in the source"),
    ]
    assert [row["z"] for row in written("pairs", found)] == [0.0, 0.0, None, None]


def test_a_plain_z_beside_chosen_is_read() -> None:
    row = {"prompt": "Which?", "chosen": "right", "rejected": "wrong", "z": 0.75}
    assert detect(row, "here").name == "preferences"
    assert [j.z for j in read("preferences", [row])] == [0.75]


def test_an_instruction_with_an_input_is_not_half_a_prompt() -> None:
    """AlpacaFarm's older rows have both: without the input, different questions would be one."""
    row = {"instruction": "Sum up.", "output_1": "a", "output_2": "b", "preference": 1.2}
    assert len([*FORMATS["alpacaeval"].read([("x:1", {**row, "input": ""})], Tally())]) == 1
    (judgment,) = FORMATS["alpacaeval"].read([("x:1", {**row, "input": "A story."})], Tally())
    assert (judgment.pair.prompt, judgment.pair.extra) == ("Sum up.\n\nA story.", {})


def test_every_two_rows_of_a_prompt_are_a_pair() -> None:
    """HelpSteer has three or four rows of a prompt, HelpSteer2 two."""
    first = ROWS["helpsteer2-ratings"][0]
    texts = ("a", "b", "c")
    rows = [{**first, "response": text, "helpfulness": at} for at, text in enumerate(texts)]
    alone = [{**first, "prompt": "Alone?"}]
    tally = Tally()
    found = read("helpsteer2-ratings", [*rows, rows[0], *alone, *rows[:2]], tally)
    assert [(j.pair.response_a, j.pair.response_b, j.z) for j in found] == [
        *(("a", "b", 0.0), ("a", "c", 0.0), ("b", "c", 0.0), ("a", "b", 0.0)),
    ]
    assert tally.unread == {
        "a row that stands twice": 1,
        "a response without another one to its prompt in the rows beside it": 1,
    }
    again = read("helpsteer2-ratings", written("helpsteer2-ratings", found[:3]))
    assert [j.pair.id for j in again] == [j.pair.id for j in found[:3]]
