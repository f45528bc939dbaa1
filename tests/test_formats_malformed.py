"""A row that is wrong is named with its place, what it says and what was expected; or it is counted."""

from __future__ import annotations

import pytest
from support.formats import (
    ALPACA,
    ARENA,
    ARENA_TEXTS,
    AUTO_J,
    HH,
    HS3,
    JUDGEBENCH,
    MT_BENCH,
    NECTAR,
    NEMO,
    ORCA,
    PAIR,
    PANDALM,
    PKU,
    PREFERENCE,
    RATED,
    REWARDBENCH,
    REWARDBENCH2,
    RM_BENCH,
    ROWS,
    SHAREGPT,
    SHP,
    TALK,
    UF,
    ULTRAFEEDBACK,
    Row,
    assistant,
    read,
    user,
)

from rlaif.files.bad_rows import BadRows
from rlaif.formats.base import Tally

TRL = ROWS["trl"][0]
MALFORMED: list[tuple[str, Row, str]] = [
    *[
        (name, {k: v for k, v in ROWS[name][0].items() if k != "prompt"}, "has no 'prompt'")
        for name in ("pairs", "kto")
    ],
    ("alpacaeval", {k: v for k, v in ALPACA.items() if k != "preference"}, "the row has no 'preference'; expected"),
    ("alpacaeval", {**ALPACA, "preference": 2.5}, r"preference is 2.5; expected a number from 1 \(output_1\) to 2"),
    ("alpacaeval", {**ALPACA, "preference": 0.5}, "preference is 0.5; expected a number from 1"),
    ("alpacaeval", {**ALPACA, "preference": "output_1"}, "preference is .output_1.; expected a number"),
    ("helpsteer2", {**ROWS["helpsteer2"][0], "preference_strength": 4}, "preference_strength is 4; expected a whole"),
    (
        "helpsteer2",
        {**ROWS["helpsteer2"][0], "prompt": "q\n<extra_id_1>Assistant\na"},
        "prompt ends with '<extra_id_1>A",
    ),
    ("helpsteer3", {**HS3, "overall_preference": 1.5}, "overall_preference is 1.5; expected a whole number"),
    ("helpsteer3", {**HS3, "context": "Which?"}, "context is .Which"),
    ("helpsteer2-ratings", {**ROWS["helpsteer2-ratings"][0], "helpfulness": 5}, "helpfulness is 5; expected a whole"),
    ("judgebench", {**JUDGEBENCH, "label": "A"}, "label is .A.; expected A>B or B>A or A=B"),
    ("llmbar", {**ROWS["llmbar"][0], "label": 3}, "label is 3; expected 1 or 2"),
    ("llmbar", {**ROWS["llmbar"][0], "label": True}, "label is true; expected 1 or 2"),
    ("ultrafeedback", {**UF, "chosen": user()}, "chosen ends with the role .user"),
    ("trl", {"chosen": "right", "rejected": "wrong"}, "the row has no 'prompt'"),
    (
        "trl",
        {"prompt": user("x"), **{k: UF[k] for k in ("chosen", "rejected")}},
        "prompt is .* which chosen, a whole conversation, does not begin with",
    ),
    (
        "trl",
        {"prompt": "Which?", "chosen": ["right"], "rejected": ["wrong"]},
        r"chosen\[0\] is .right.; expected a message like",
    ),
    ("skywork", {"chosen": assistant("a"), "rejected": assistant("b"), "source": "s"}, "the row has no 'prompt'"),
    ("hh", {"chosen": "\n\nHuman: Which?", "rejected": HH}, "chosen ends with no turn of the Assistant"),
    ("hh", {"chosen": HH, "rejected": "Human: Which?\n\nAssistant: x"}, "rejected is .Human: Which"),
    ("hh", {"chosen": HH + "x\n\nHuman: And?", "rejected": HH}, "chosen ends with no turn of the Assistant"),
    ("nectar", {**NECTAR, "answers": [{"answer": "a", "rank": 1}]}, "expected a list of at least two ranked responses"),
    ("nectar", {**NECTAR, "answers": [*NECTAR["answers"], {"answer": "a"}]}, r"answers\[2\] has no 'rank'"),
    ("nectar", {**NECTAR, "answers": [*NECTAR["answers"], "a"]}, r"answers\[2\] is .a.; expected an object"),
    ("nectar", {**NECTAR, "prompt": HH + "An answer."}, "prompt ends with an answer"),
    ("nemo", {**NEMO, "completions": [{"rank": "x", "completion": []}] * 2}, r"completions\[0\].rank is .x."),
    (
        "nemo",
        {**NEMO, "completions": [{"rank": 0, "completion": TALK}] * 2},
        r"completions\[0\].completion ends with the role .user",
    ),
    ("kto", {**ROWS["kto"][0], "label": 1}, "label is 1; expected true or false"),
    (
        "kto",
        {**ROWS["kto"][0], "completion": user()},
        "completion ends with the role .user",
    ),
    ("distilabel", {**RATED, "ratings": [1]}, r"ratings is \[1\]; expected a list of 2, as generations has"),
    ("distilabel", {"generations": ["a", "b"], "ratings": [1, 2]}, "the row has no 'prompt'"),
    ("argilla", {"prompt": "q", "chosen": "a", "rejected": "b"}, "the row has no 'chosen_rating'"),
    ("rewardbench", {**REWARDBENCH, "chosen": ["right"]}, r"chosen\[0\] is .right"),
    ("preferences", {**PREFERENCE, "z": 0.3}, r"z is 0.3; expected P\(chosen is preferred\) in \(0.5, 1\]"),
    ("preferences", {**PREFERENCE, "label": "a"}, "label is .a.; expected chosen, rejected, tie or null"),
    ("pairs", {**PAIR, "z": 1.5}, "z is 1.5; expected a probability"),
    ("ultrafeedback", {**UF, "score_chosen": "high"}, "score_chosen is .high.; expected a number, or null"),
    ("ultrafeedback", {**UF, "score_rejected": float("nan")}, "score_rejected is nan; expected a number"),
    ("trl", {**TRL, "score_chosen": [1], "score_rejected": 2}, "score_chosen is .1.; expected a number"),
    ("trl", {**TRL, "history": [["Hi.", "Hello."]]}, "history is .*, turns before the prompt"),
    ("trl", {**TRL, "tools": [{"name": "search"}]}, "the row has tools .*, which text cannot carry"),
    ("trl", {**TRL, "system": 5}, "system is 5; expected the text of the system turn"),
    ("distilabel", {**RATED, "ratings": [4, float("nan")]}, r"ratings\[1\] is nan; expected a number, or null"),
    ("distilabel", {**RATED, "ratings": [4, True]}, r"ratings\[1\] is true; expected a number"),
    ("distilabel", {**RATED, "ratings": [4, "good"]}, r"ratings\[1\] is .good.; expected a number"),
    ("pku-safe-rlhf", {**PKU, "better_response_id": 2}, "better_response_id is 2; expected 0 or 1"),
    ("pku-safe-rlhf", {**PKU, "better_response_id": None}, "better_response_id is null; expected 0 or 1"),
    ("pku-safe-rlhf", {**PKU, "safer_response_id": "1"}, "safer_response_id is .1.; expected 0 or 1"),
    ("shp", {**SHP, "labels": 2}, r"labels is 2; expected 1 \(A is preferred\) or 0"),
    ("shp", {**SHP, "labels": True}, "labels is true; expected 1"),
    ("shp", {**SHP, "labels": 1}, "labels is 1, but score_A is 4 and score_B 12; expected the label of the higher"),
    ("shp", {**SHP, "score_A": "four"}, "score_A and score_B are .four. and 12; expected numbers"),
    ("shp", {**SHP, "history": ["Which?"]}, r"history\[0\] is .Which"),
    ("arena-55k", {**ARENA_TEXTS, "winner_tie": 1}, "winner_tie are 1, 0, 1; expected 1 for one of them and 0 for"),
    ("arena-55k", {**ARENA_TEXTS, "winner_model_a": 0.5, "winner_tie": 0.5}, "are 0.5, 0, 0.5; expected 1 for one"),
    ("arena-55k", {**ARENA_TEXTS, "winner_model_a": 0}, "winner_tie are 0, 0, 0; expected 1 for one of them"),
    ("arena-55k", {**ARENA_TEXTS, "winner_tie": None}, "winner_tie are 1, 0, null; expected 1 for one of them"),
    ("arena-55k", {**ARENA_TEXTS, "response_b": '["wrong"]'}, "hold 2, 2 and 1 turns; expected as many in each"),
    ("arena-55k", {**ARENA_TEXTS, "response_b": "wrong"}, "hold 2, 2 and 0 turns; expected as many in each"),
    ("arena-55k", {**ARENA_TEXTS, "prompt": '["Hi.", "half \\ud83d"]'}, "holds half of a character"),
    (
        "arena-55k",
        {"prompt": "q", "response_a": "x", "response_b": "y", "winner": "a"},
        "winner is .a.; expected model_a",
    ),
    ("arena", {**ARENA, "winner": "one"}, "winner is .one.; expected model_a, model_b, tie"),
    ("arena", {**ARENA, "winner": ["model_a"]}, "winner is .*; expected model_a, model_b, tie"),
    ("arena", {**ARENA, "conversation_a": TALK}, "conversation_a ends with the role .user.; expected an assistant"),
    ("arena", {**ARENA, "conversation_a": assistant("x")}, "conversation_a holds no turn but the assistant's"),
    ("arena", {**ARENA, "conversation_a": "[]"}, "conversation_a is the text .*; expected a list of messages. Parse"),
    ("arena", {**ARENA, "model_a": 5}, "model_a is 5; expected text"),
    ("mt-bench", {**MT_BENCH, "turn": 3}, "turn is 3, and conversation_a has 2 answers; expected the number of one"),
    ("mt-bench", {**MT_BENCH, "turn": 0}, "turn is 0, and conversation_a has 2 answers"),
    ("mt-bench", {**MT_BENCH, "turn": True}, "turn is true, and conversation_a has 2 answers"),
    ("pandalm", {**PANDALM, "annotator2": 3}, "annotator2 is 3; expected 1 or 2, the better one, or 0 for a tie"),
    ("pandalm", {**PANDALM, "annotator2": "1"}, "annotator2 is .1.; expected 1 or 2"),
    ("pandalm", {k: v for k, v in PANDALM.items() if k != "annotator3"}, "the row has no 'annotator3'"),
    ("auto-j", {**AUTO_J, "label": 3}, "label is 3; expected 0 or 1 or 2"),
    ("auto-j", {**AUTO_J, "label": False}, "label is false; expected 0 or 1 or 2"),
    (
        "hhh",
        {"input": "q", "targets": {"choices": ["x", "y"], "labels": [1]}},
        "and the labels .*; expected two of both",
    ),
    ("hhh", {"input": "q", "targets": {"choices": ["x", "y"], "labels": [1, 2]}}, "targets.labels is .*; expected 1"),
    ("hhh", {"input": "q", "targets": {"choices": ["x", 5], "labels": [1, 0]}}, "choices is .*; expected a list of"),
    ("arena-55k", {**ARENA_TEXTS, "label": "b"}, "label is b, and the winner's columns say otherwise"),
    ("hhh", {"input": "q", "targets": "x"}, "targets is .x.; expected an object with choices, labels"),
    ("rm-bench", {**RM_BENCH, "chosen": ["right"]}, "chosen and rejected hold 1 and 3 texts; expected three of both"),
    ("rm-bench", {**RM_BENCH, "rejected": ["x", "y", None]}, "rejected is .*; expected a list of 1 or more"),
    ("rewardbench2", {**REWARDBENCH2, "rejected": []}, "rejected is .*; expected a list of 1 or more texts"),
    ("rewardbench2", {**REWARDBENCH2, "chosen": "right"}, "chosen is .right.; expected a list of 1 or more texts"),
    ("ultrafeedback-ratings", {**ULTRAFEEDBACK, "completions": ["x", "y"]}, r"completions\[0\] is .x.; expected an"),
    ("ultrafeedback-ratings", {**ULTRAFEEDBACK, "completions": "x"}, "completions is .x.; expected a list"),
    (
        "ultrafeedback-ratings",
        {**ULTRAFEEDBACK, "completions": [{"response": "x", "overall_score": "fine"}, {"response": "y"}]},
        "overall_score is .fine.; expected a number",
    ),
    (
        "ultrafeedback-ratings",
        {**ULTRAFEEDBACK, "completions": [{"response": 5}, {"response": "y"}]},
        r"completions\[0\].response is 5",
    ),
    ("orca", {**ORCA, "question": ["Which?"]}, "question is .*; expected text"),
    ("orca", {**ORCA, "chosen": 5}, "chosen is 5; expected text"),
    ("sharegpt", {**SHAREGPT, "tools": '[{"name": "search"}]'}, "the row has tools"),
    (
        "sharegpt",
        {**SHAREGPT, "conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "{}"}]},
        r"conversations\[1\].from is .function_call.; expected human, gpt or system",
    ),
    (
        "sharegpt",
        {**SHAREGPT, "conversations": SHAREGPT["conversations"][:-1]},
        "conversations ends with a turn that is",
    ),
    ("sharegpt", {**SHAREGPT, "chosen": {"from": "human", "value": "x"}}, "chosen ends with the role .user."),
    ("sharegpt", {**SHAREGPT, "system": "Be long."}, "the system turn is .Be long.. in its column and .Be brief.. in"),
]


@pytest.mark.parametrize(("name", "row", "message"), MALFORMED)
def test_a_malformed_row_is_named(name: str, row: Row, message: str) -> None:
    good = ROWS[name][: 2 if name == "helpsteer2-ratings" else 1]
    where = f"^rows.jsonl:{len(good) + 1}: .*{message}"
    with pytest.raises(ValueError, match=where):
        read(name, [*good, row])
    tally = Tally(bad=BadRows("skip"))
    kept = read(name, [*good, row, *ROWS[name]], tally)
    assert len(tally.bad.rows) == 1
    assert len(kept) == len(read(name, [*good, *ROWS[name]]))
    assert tally.bad.first.startswith(f"rows.jsonl:{len(good) + 1}: ")


@pytest.mark.parametrize("name", ROWS)
def test_a_column_at_fault_is_called_as_its_source_calls_it(name: str) -> None:
    """A response, a model or a score of another kind, one after the other, whatever a pair calls them."""
    row, odd = ROWS[name][0], ({"a": 5}, ["a", 5], 5)
    for column, value in row.items():
        for other in odd:
            if isinstance(other, type(value)) and not isinstance(other, list):
                continue
            try:
                read(name, [{**row, column: other}])
            except ValueError as error:
                found = str(error).removeprefix("rows.jsonl:1: ").split(";")[0]
                assert column in found, (column, other, found)


def test_prompts_of_two_kinds_are_refused() -> None:
    for name, odd in (("pairs", {**PAIR, "prompt": TALK}), ("kto", {**ROWS["kto"][0], "prompt": TALK})):
        with pytest.raises(ValueError, match=r"rows.jsonl:2: the prompt is messages, but the one at rows.jsonl:1 is a"):
            read(name, [ROWS[name][0], odd])
