"""Rows of every format's true shape, and how tests read and write them. The better response is "right"."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from rlaif.formats.base import Tally
from rlaif.formats.known import FORMATS
from rlaif.records import Judgment, Message

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
PKU = {
    "prompt": "Which?",
    "response_0": "right",
    "response_1": "wrong",
    "prompt_source": "x",
    "response_0_source": "one",
    "response_1_source": "two",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "response_0_severity_level": 2,
    "better_response_id": 0,
    "safer_response_id": 1,
}
SHP = {
    "post_id": "p",
    "domain": "askculinary_train",
    "history": "Which?",
    "human_ref_A": "wrong",
    "human_ref_B": "right",
    "labels": 0,
    "score_A": 4,
    "score_B": 12,
    "score_ratio": 3.0,
}
ARENA_TEXTS = {
    "id": 30192,
    "model_a": "one",
    "model_b": "two",
    "prompt": json.dumps(["Hi.", "Which?"]),
    "response_a": json.dumps(["Hello.", "right"]),
    "response_b": json.dumps(["Hello.", "wrong"]),
    "winner_model_a": 1,
    "winner_model_b": 0,
    "winner_tie": 0,
}
ARENA = {
    "question_id": "q",
    "model_a": "one",
    "model_b": "two",
    "winner": "model_b",
    "judge": "arena_user_1",
    "conversation_a": [*TALK, *assistant("wrong")],
    "conversation_b": [*TALK, *assistant("right")],
    "turn": 2,
    "anony": True,
    "language": "English",
    "tstamp": 1682351591.1322,
}
LATER = [*user("And?"), *assistant("So.")]
MT_BENCH = {
    "question_id": 81,
    "model_a": "one",
    "model_b": "two",
    "winner": "model_a",
    "judge": "expert_3",
    "conversation_a": [*user(), *assistant("right"), *LATER],
    "conversation_b": [*user(), *assistant("wrong"), *user("And?"), *assistant("No.")],
    "turn": 1,
}
PANDALM = {
    "idx": 0,
    "motivation_app": "x",
    "instruction": "Which?",
    "input": "",
    "response1": "wrong",
    "response2": "right",
    "annotator1": 2,
    "annotator2": 0,
    "annotator3": 2,
}
AUTO_J = {"scenario": "s", "label": 1, "prompt": "Which?", "response 1": "wrong", "response 2": "right"}
HHH_ALIGNMENT = {"input": "Which?", "targets": {"choices": ["right", "wrong"], "labels": [1, 0]}}
RM_BENCH = {
    "id": 1,
    "prompt": "Which?",
    "chosen": ["right", " right", "right "],
    "rejected": ["wrong", " wrong", "wrong "],
    "domain": "chat",
}
REWARDBENCH2 = {
    "id": "1",
    "prompt": "Which?",
    "chosen": ["right"],
    "rejected": ["wrong", " wrong", "wrong "],
    "num_correct": 1,
    "num_incorrect": 3,
    "total_completions": 4,
    "models": ["one", "two", "three", "four"],
    "subset": "Focus",
}
COMPLETION = {"principle": "honesty", "custom_system_prompt": "Be honest.", "critique": "c"}
ULTRAFEEDBACK = {
    "source": "s",
    "instruction": "Which?",
    "models": ["one", "two"],
    "completions": [
        {**COMPLETION, "model": "one", "response": "wrong", "overall_score": 3.0, "fine-grained_score": 4.5}
        | {"annotations": {"honesty": {"Rating": "5"}, "helpfulness": {"Rating": "N/A"}}},
        {**COMPLETION, "model": "two", "response": "right", "overall_score": 8.5, "fine-grained_score": 4.0}
        | {"annotations": {"honesty": {"Rating": "4"}, "helpfulness": {"Rating": "2"}}},
    ],
    "correct_answers": ["None"],
}
ORCA = {"system": "Be brief.", "question": "Which?", "chosen": "right", "rejected": "wrong"}
SHAREGPT = {
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Hi."},
        {"from": "gpt", "value": "Hello."},
        {"from": "human", "value": "Which?"},
    ],
    "chosen": {"from": "gpt", "value": "right"},
    "rejected": {"from": "gpt", "value": "wrong"},
}
# Rows of each format's true shape, which come back as they were.
ROWS: dict[str, list[Row]] = {
    "pairs": [PAIR, {**PAIR, "id": "8", "z_ab": 0.0, "z_ba": 0.4, "votes": 2, "readable": 2, "label": "a"}],
    "preferences": [PREFERENCE],
    "trl": [
        {"prompt": "Which?", "chosen": "right", "rejected": "wrong", "id": 3},
        {"prompt": "Why?", "chosen": " right", "rejected": "wrong", "model_a": "x"},
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
    "pku-safe-rlhf": [PKU, {**PKU, "response_0": "wrong", "response_1": "right", "better_response_id": 1}],
    "shp": [SHP, {**SHP, "human_ref_A": "right", "human_ref_B": "wrong", "labels": 1, "score_A": 20}],
    "arena-55k": [ARENA_TEXTS],
    "arena": [ARENA, {**ARENA, "question_id": "r", "turn": 2}],
    "mt-bench": [MT_BENCH],
    "pandalm": [PANDALM],
    "auto-j": [AUTO_J, {**AUTO_J, "response 1": "right", "response 2": "wrong", "label": 0}],
    "hhh": [HHH_ALIGNMENT],
    "rm-bench": [RM_BENCH],
    "rewardbench2": [REWARDBENCH2],
    "ultrafeedback-ratings": [ULTRAFEEDBACK],
    "orca": [ORCA, {**ORCA, "system": ""}],
    "sharegpt": [SHAREGPT],
}
PEOPLE = {
    *("helpsteer2", "helpsteer2-ratings", "helpsteer3", "hh", "judgebench", "llmbar", "rewardbench", "rewardbench2"),
    *("pku-safe-rlhf", "shp", "arena-55k", "arena", "mt-bench", "pandalm", "auto-j", "hhh", "rm-bench"),
}
WRITTEN = [name for name, known in FORMATS.items() if known.writes]


def placed(rows: list[Row]) -> Iterator[tuple[str, Row]]:
    return ((f"rows.jsonl:{at}", row) for at, row in enumerate(rows, 1))


def read(name: str, rows: list[Row], tally: Tally | None = None) -> list[Judgment]:
    return list(FORMATS[name].read(placed(rows), tally or Tally()))


def written(name: str, judgments: list[Judgment], tally: Tally | None = None) -> list[Row]:
    return list(FORMATS[name].write(judgments, tally or Tally()))


def winner(judgment: Judgment) -> str:
    assert judgment.z not in (None, 0.5)
    return judgment.pair.response_a if judgment.z > 0.5 else judgment.pair.response_b
