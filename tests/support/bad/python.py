"""What a user may give Python's functions and must not: a ValueError of one line, and nothing written.

Settings, single rows for lists of them, and prompts of two kinds stand in test_face.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import rlaif

__all__ = ["CALLS", "Call"]

PAIR = {"prompt": "Why?", "response_a": "Because.", "response_b": "No idea."}
JUDGE = "rlaif.models.function:longer"


class Call(NamedTuple):
    """A call in a folder of its own, given the folder of what is right, and what its line must say."""

    call: Callable[[Path], Any]
    names: str


def rater(prompt: Any, response: str) -> float:
    return float(len(response) % 9)


def written(name: str, text: str) -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def scored(prompts: Any, responses: Any, **more: Any) -> Callable[[Path], Any]:
    return lambda world: rlaif.RewardModel.load(world / "reward").score(prompts, responses, **more)


def given(row: Any) -> Callable[[Path], Any]:
    return lambda world: rlaif.judge([row], JUDGE, store="out")


def rated(row: Any) -> Callable[[Path], Any]:
    return lambda world: rlaif.rate([row], rater, store="out")


def sampled(row: Any) -> Callable[[Path], Any]:
    return lambda world: rlaif.sample([row], str(world / "model"), store="out", max_new_tokens=4)


def preferred(row: dict[str, Any]) -> Callable[[Path], Any]:
    right = {"prompt": "Why?", "chosen": "Because.", "rejected": "No idea."}
    return lambda world: rlaif.load_preferences(written("in.jsonl", json.dumps({**right, **row}) + "\n"), "train")


SELF: dict[str, Any] = {}
SELF["self"] = SELF

CALLS: dict[str, Call] = {
    **{
        f"load_{kind}: {said}": Call(lambda world, load=load, judge=judge: load(judge), names)  # type: ignore[misc]
        for kind, load in (("judge", rlaif.load_judge), ("rater", rlaif.load_rater))
        for said, judge, names in (
            ("a number", 5, r"judge is 5; expected a model"),
            ("nothing", None, r"judge is .*; expected a model"),
            ("a list", [], r"judge is \[\]; expected a model"),
            ("bytes", b"m", r"judge is .*; expected a model"),
            ("an empty text", "", "model is ''; expected a model's name"),
            ("a function that is nowhere", "nowhere:at_all", "nowhere"),
            ("a file that is nowhere", "nowhere.yaml", r"nowhere\.yaml"),
        )
    },
    "load_judge: an order": Call(lambda world: rlaif.load_judge(JUDGE, orders=5), "orders is 5; expected one of both"),
    "load_judge: samples": Call(
        lambda world: rlaif.load_judge("m", base_url="http://127.0.0.1:9/v1", samples="two"), "samples is .*two"
    ),
    "load_judge: an unknown setting": Call(lambda world: rlaif.load_judge(JUDGE, order="ab"), "'order'.*'orders'"),
    "load_rater: a scale": Call(lambda world: rlaif.load_rater(rater, scale=5), "scale"),
    "load_rater: a scale of nothing": Call(lambda world: rlaif.load_rater(rater, scale="9-1"), "scale"),
    "judge: a list for a pair": Call(given(["p", "a", "b"]), r"pair 0: it is a list .*; expected a Pair or a dict"),
    "judge: a response that is a number": Call(given({**PAIR, "response_b": 5}), "pair 0: response_b is .*5"),
    "judge: a prompt that is a set": Call(
        given({**PAIR, "prompt": {"a"}}), "pair 0: prompt holds something that is no JSON"
    ),
    "judge: an id that is a mapping": Call(given({**PAIR, "id": {}}), "pair 0: id is"),
    "judge: a key that is a number": Call(given({**PAIR, 5: "x"}), "pair 0: .*5.*expected"),
    "judge: a column that no file can hold": Call(given({**PAIR, "more": {1, 2}}), "pair 0: more .*expected"),
    "judge: a column that holds itself": Call(given({**PAIR, "more": SELF}), "pair 0: .*holds itself"),
    "judge: a Pair of nothing": Call(lambda world: rlaif.Pair(None, "a", "b"), "prompt is null; expected"),  # type: ignore[arg-type]
    "judge: a Pair of numbers": Call(lambda world: rlaif.Pair("p", 1, 2), "response_a is"),  # type: ignore[arg-type]
    "judge: by a number": Call(lambda world: rlaif.judge([PAIR], JUDGE, by=5), "by is 5"),  # type: ignore[arg-type]
    "judge: on_bad_row": Call(
        lambda world: rlaif.judge([PAIR], JUDGE, on_bad_row=None),  # type: ignore[arg-type]
        "on_bad_row is null; expected stop or skip",
    ),
    "judge: a store that is a number": Call(
        lambda world: rlaif.judge([PAIR], JUDGE, store=5),  # type: ignore[arg-type]
        "store is 5; expected a folder",
    ),
    "judge: a store that is a file": Call(
        lambda world: rlaif.judge([PAIR], JUDGE, store=written("f", "x")), "is a file"
    ),
    "judge: a rater": Call(
        lambda world: rlaif.judge([PAIR], rlaif.load_rater(rater)),  # type: ignore[arg-type]
        r"expected one of pairs \(load_judge\)",
    ),
    "judge: a source that is nowhere": Call(lambda world: rlaif.judge("nowhere.jsonl", JUDGE), "nowhere.jsonl"),
    "rate: a judge of pairs": Call(
        lambda world: rlaif.rate([("p", "r")], rlaif.load_judge(JUDGE)),  # type: ignore[arg-type]
        r"expected one of single responses \(load_rater\)",
    ),
    "rate: no response": Call(rated({"prompt": "p"}), "response 0: the row has no 'response'"),
    "rate: three of two": Call(rated(("p", "r", "x")), r"response 0: it is .*; expected \(prompt, text\)"),
    "rate: a response that is nothing": Call(rated(("p", None)), "response 0: the response is null"),
    "rate: a prompt that is a number": Call(rated((5, "r")), "response 0: prompt is"),
    "rate: a half character": Call(rated(("p", "r\ud800")), "response 0: the response holds half of a character"),
    "rate: a store that is a number": Call(
        lambda world: rlaif.rate([("p", "r")], rater, store=5),  # type: ignore[arg-type]
        "store is 5; expected a folder",
    ),
    "sample: a number": Call(sampled(5), "prompt 0: .*5"),
    "sample: an empty text": Call(sampled(""), "prompt 0: prompt is"),
    "sample: a half character": Call(sampled("\ud800"), "prompt 0: prompt"),
    "sample: a message without content": Call(sampled([{"role": "user"}]), r"prompt 0: .*content"),
    "sample: no policy": Call(
        lambda world: rlaif.sample(["p"], None),  # type: ignore[arg-type]
        "policy is .*; expected a folder, a Hub id",
    ),
    "sample: an empty policy": Call(lambda world: rlaif.sample(["p"], ""), "policy is ''; expected"),
    "sample: a store that is a number": Call(
        lambda world: rlaif.sample(["p"], str(world / "model"), store=5),  # type: ignore[arg-type]
        "store is 5; expected a folder",
    ),
    "build: no judgments": Call(lambda world: rlaif.build([], "out"), "got no judgments; expected at least one"),
    "build: no output": Call(
        lambda world: rlaif.build(world / "judged", None),  # type: ignore[arg-type]
        "output is null; expected a folder",
    ),
    "build: an output that is a file": Call(
        lambda world: rlaif.build(world / "judged", written("f", "x")), "output is f, which is a file"
    ),
    "build: the working directory": Call(lambda world: rlaif.build(world / "judged", "."), "the working directory"),
    "build: a list of numbers": Call(lambda world: rlaif.build([1, 2], "out"), "judgment 0 is a number"),  # type: ignore[list-item]
    "load_preferences: a number": Call(
        lambda world: rlaif.load_preferences(5, "train"),  # type: ignore[arg-type]
        "source is 5; expected",
    ),
    "load_preferences: a split that is nothing": Call(
        lambda world: rlaif.load_preferences(world / "dataset", None),  # type: ignore[arg-type]
        "split is null; expected train",
    ),
    "load_preferences: a split that is nowhere": Call(
        lambda world: rlaif.load_preferences(world / "dataset", "nowhere"), "train, test, not 'nowhere'"
    ),
    "load_preferences: nowhere": Call(lambda world: rlaif.load_preferences("nowhere.jsonl", "train"), "nowhere.jsonl"),
    "load_preferences: chosen is a number": Call(preferred({"chosen": 5}), r"in\.jsonl:1: chosen is"),
    "load_preferences: z is text": Call(preferred({"z": "0.8"}), r"in\.jsonl:1: z is"),
    "RewardModel.load: a number": Call(
        lambda world: rlaif.RewardModel.load(5),  # type: ignore[arg-type]
        "reward model is 5; expected a folder or a Hub id",
    ),
    "RewardModel.load: a model that gives no score": Call(
        lambda world: rlaif.RewardModel.load(world / "model"), "which gives no score; expected"
    ),
    "RewardModel.load: a dtype": Call(
        lambda world: rlaif.RewardModel.load(world / "reward", dtype="float99"), "dtype is .*float99.*; expected"
    ),
    "RewardModel.load: an empty text": Call(lambda world: rlaif.RewardModel.load(""), "reward model is"),
    "score: one more prompt": Call(scored(["p", "q"], ["r"]), "got 2 prompts and 1 responses; expected"),
    "score: texts for lists": Call(scored("ab", "cd"), "prompts is 'ab'; expected a list"),
    "score: nothing": Call(scored(None, None), "prompts is null; expected a list"),
    "score: a response that is nothing": Call(scored(["p"], [None]), "row 0: response is null; expected text"),
    "score: a half character": Call(
        scored(["p"], ["r\ud800"]), "row 0: the response holds half|row 0: response holds half"
    ),
    "score: a number for a prompt": Call(scored([5], ["r"]), "row 0: prompt is 5; expected"),
    "score: a turn of a critic": Call(scored([[{"role": "critic", "content": "x"}]], ["r"]), "critic.*expected"),
    "score: no tokens": Call(scored(["p"], ["r"], tokens=0), "tokens is 0; expected"),
}
