"""A column that carries meaning is used, refused or counted in every format; a published schema is one format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import write_rows
from support.files import read_pairs, read_prompts
from support.formats import ARENA, ARENA_TEXTS, HH, MT_BENCH, PAIR, RATED, ROWS, UF, Row, assistant, read, user, written

from rlaif.files.conversations import conversation
from rlaif.files.sources import read_judgments
from rlaif.formats.base import Tally
from rlaif.formats.known import FORMATS, detect

OWN_SYSTEM = ("orca", "sharegpt")  # their rows have a system turn already


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in OWN_SYSTEM])
def test_a_system_column_is_a_turn_in_every_format(name: str) -> None:
    ids = set()
    for system in ("You are Ada.", "You are Bob.", ""):
        found = read(name, [{**row, "system": system} for row in ROWS[name]])
        assert found
        ids.add(found[0].pair.id)
        for judgment in found:
            turns = conversation(judgment.pair.prompt)
            assert isinstance(judgment.pair.prompt, list)
            assert [turn["content"] for turn in turns if turn["role"] == "system"] == [system] * bool(system)
            assert "system" not in judgment.pair.extra
        rows = written("pairs", found)
        assert [written("pairs", read("pairs", [row])) for row in rows] == [[row] for row in rows]
    assert len(ids) == (1 if name in ("pairs", "preferences") else 3)  # these two have ids of their own


@pytest.mark.parametrize("name", FORMATS)
def test_what_text_cannot_carry_is_refused_in_every_format(name: str) -> None:
    for column, value in (("tools", '[{"name": "search"}]'), ("images", [{"path": "a.png"}])):
        with pytest.raises(ValueError, match=rf"^rows.jsonl:1: the row has {column} \(.*which text cannot carry"):
            read(name, [{**row, column: value} for row in ROWS[name]])
    assert read(name, [{**row, "tools": "[]", "images": None} for row in ROWS[name]])  # empty ones say nothing


@pytest.mark.parametrize("name", FORMATS)
def test_what_else_a_row_has_is_carried_in_every_format(name: str) -> None:
    rows = [{**row, "meta": {"of": "this row"}, "judge_comment": "kept", "split": "s"} for row in ROWS[name]]
    for row in written("pairs", read(name, rows)):
        text = json.dumps(row)
        assert all(word in text for word in ('"this row"', '"kept"', '"s"'))


# Of a row: what is its verdict, and is said in z and label.
VERDICTS = {
    "preferences": ("z", "margin", "label", "z_first", "z_second"),
    "pairs": ("z", "z_ab", "z_ba", "votes", "readable"),
    "helpsteer2": ("preference_strength",),
    "helpsteer3": ("overall_preference",),
    "alpacaeval": ("preference",),
    "kto": ("label",),
    "pku-safe-rlhf": ("better_response_id",),
    "shp": ("labels",),
    "arena-55k": ("winner_model_a", "winner_model_b", "winner_tie"),
    "arena": ("winner",),
    "mt-bench": ("winner", "turn"),
    **dict.fromkeys(("judgebench", "llmbar", "auto-j"), ("label",)),
    "hhh": ("targets",),
    "nectar": ("turns", "num_responses"),
}


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("hh", "nectar", "helpsteer2", "arena-55k")])
def test_every_value_of_a_row_is_somewhere(name: str) -> None:
    """But for the verdict; the formats that are left out write turns into one text."""

    def leaves(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [leaf for one in value.values() for leaf in leaves(one)]
        if isinstance(value, list):
            return [leaf for one in value for leaf in leaves(one)]
        return [] if value in (None, "") else [json.dumps(value)]

    rows = [{**row, "z": 0.8} if name == "preferences" else row for row in ROWS[name]]
    text = json.dumps(written("pairs", read(name, rows)))
    said = [leaves(v) for row in ROWS[name] for k, v in row.items() if k not in VERDICTS.get(name, ())]
    missing = {leaf for one in said for leaf in one if leaf not in text} - {'"human"', '"gpt"', '"assistant"'}
    assert not missing


@pytest.mark.parametrize("names", [("score_chosen", "score_rejected"), ("chosen_score", "rejected_score")])
@pytest.mark.parametrize(
    "name", ["trl", "skywork", "hh", "rewardbench", "orca", "sharegpt", "ultrafeedback", "argilla"]
)
def test_equal_scores_are_a_tie_in_every_format(name: str, names: tuple[str, str]) -> None:
    plain = {k: v for k, v in ROWS[name][0].items() if "rating" not in k and "score" not in k}
    if name == "argilla":
        plain |= {"generations": [], "status": ""}
    if name == "ultrafeedback":
        plain |= {"score_chosen": None, "score_rejected": None}
    for scores, z in (((8.0, 8.0), 0.5), ((8.0, 2.0), 1.0), ((2.0, 8.0), None), (("7", 7), 0.5), ((None, 7), 1.0)):
        (judgment,) = read(name, [{**plain, **dict(zip(names, scores, strict=True))}])
        assert judgment.z == z
        assert judgment.reason == (None if z is not None else "chosen has the lower score")


def test_a_score_is_gpt_4s_only_where_that_is_known() -> None:
    assert read("ultrafeedback", [UF])[0].judge == "gpt-4"
    bare = {name: UF[name] for name in ("chosen", "rejected", "score_chosen", "score_rejected")}
    others: list[Row] = [bare, {**UF, "reward_model": "mine"}, {**UF, "score_chosen": 1.5, "score_rejected": -2.5}]
    assert [judgment.judge for judgment in read("ultrafeedback", others)] == [None] * 3
    (nectar,) = ROWS["nectar"]
    assert read("nectar", [nectar])[0].judge is None  # two answers, as `rlaif convert` writes a later judge's too
    seven = [{**nectar["answers"][0], "rank": at} for at in range(7)]
    assert read("nectar", [{**nectar, "answers": seven, "good_natured": True}])[0].judge == "gpt-4"


def test_the_arenas_lists_are_turns() -> None:
    (judgment,) = read("arena-55k", [ARENA_TEXTS])
    assert judgment.pair.prompt == [*user("Hi."), *assistant("Hello."), *user()]
    assert (judgment.pair.response_a, judgment.pair.model_b, judgment.pair.extra) == (
        "right",
        "two",
        {"source_id": 30192},
    )
    plain = {"prompt": "Which?", "response_a": "[x] right", "response_b": "wrong", "model_a": "one", "model_b": "two"}
    for winner, z in (("model_a", 1.0), ("model_b", 0.0), ("tie", 0.5), ("tie (bothbad)", 0.5)):
        row = {**plain, "winner": winner}
        assert detect(row, "here").name == "arena-55k"
        (judgment,) = read("arena-55k", [row])
        assert (judgment.z, judgment.pair.prompt, judgment.pair.response_a) == (z, "Which?", "[x] right")
        assert judgment.pair.extra == ({"winner": winner} if "both" in winner else {})
    assert detect({**PAIR, "winner": "model_a"}, "here").name == "pairs"  # z is what counts there


def test_turns_in_a_text_are_no_text_anywhere(tmp_path: Path) -> None:
    """They would be judged, answered and scored as one."""
    source = tmp_path / "rows.jsonl"
    arena, talk = {**ARENA_TEXTS, "z": 1.0}, json.dumps(user())
    plain = {"prompt": "q", "response_a": "x", "response_b": "y", "z": 1.0}
    whole = {"response_a": json.dumps([*user(), *assistant("x")]), "response_b": json.dumps([*user(), *assistant("y")])}
    sharegpt = json.dumps([{"from": "human", "value": "q"}])
    for row, message in (
        (arena, "prompt, response_a, response_b are lists written as texts .* `rlaif convert` reads"),
        ({**plain, "prompt": talk}, "prompt holds messages written as one text .*expected a list of messages"),
        ({**plain, "prompt": sharegpt}, "prompt holds messages written as one text"),
        ({**plain, **whole}, "response_a and response_b hold messages written as one text"),
    ):
        write_rows(source, [row])
        for reading in (read_pairs, read_judgments) if row.get("prompt") == "q" else READING:
            with pytest.raises(ValueError, match=f"rows.jsonl:1: {message}"):
                reading(source)
    trl = {"prompt": "q", "chosen": whole["response_a"], "rejected": whole["response_b"]}
    with pytest.raises(ValueError, match="chosen and rejected hold messages written as one text"):
        read("trl", [trl])
    answers: list[Row] = [
        {**ARENA_TEXTS, "prompt": "List them."},
        {**plain, **whole, "response_b": "no JSON", "id": "2"},
    ]
    assert len(read_pairs(write_rows(source, answers))) == 2  # an answer may be JSON


READING: tuple[Callable[[Path], Any], ...] = (read_pairs, read_judgments, read_prompts)


def test_a_turn_that_is_null_or_apart_is_counted() -> None:
    tally = Tally()
    rows = [
        {**ARENA_TEXTS, "response_b": '["Hello.", null]'},
        {**ARENA_TEXTS, "prompt": '[null, "Which?"]'},
        {**ARENA_TEXTS, "response_b": '["Hi!", "wrong"]'},
        ARENA_TEXTS,
    ]
    assert len(read("arena-55k", rows, tally)) == 1
    assert tally.unread == {"a turn is null": 2, "the conversations differ before the last response": 1}


def test_a_null_response_and_parted_conversations_are_counted_in_every_format() -> None:
    null: list[tuple[str, str]] = [
        *(("trl", "chosen"), ("ultrafeedback", "rejected"), ("hh", "chosen"), ("argilla", "rejected")),
        *(("alpacaeval", "output_2"), ("kto", "completion")),
        *(("pku-safe-rlhf", "response_1"), ("shp", "human_ref_A"), ("pandalm", "response2"), ("llmbar", "output_1")),
        *(("helpsteer2", "response_1"), ("helpsteer2-ratings", "response"), ("arena-55k", "response_b")),
        *(("arena", "conversation_a"), ("judgebench", "response_A"), ("rewardbench2", "chosen"), ("orca", "chosen")),
    ]
    for name, column in null:
        tally, row = Tally(), ROWS[name][0]
        assert len(read(name, [{**row, column: None}, *ROWS[name]], tally)) >= 1
        assert tally.unread == {"a response is null": 1}, name
    for name, column, entry in (
        ("ultrafeedback-ratings", "completions", "response"),
        ("nectar", "answers", "answer"),
        ("nemo", "completions", "completion"),
    ):
        tally, row = Tally(), ROWS[name][0]
        read(name, [{**row, column: [*row[column], {**row[column][0], entry: None}]}], tally)
        assert tally.unread == {"a response is null": 1}, name
    other = [*user("Why?"), *assistant("x")]
    for name, row in (
        ("hh", {"chosen": HH + "right", "rejected": "\n\nHuman: Why?\n\nAssistant: x"}),
        ("skywork", {**TALKS, "rejected": other, "source": "s"}),
        ("ultrafeedback", {**UF, "rejected": other}),
    ):
        tally = Tally()
        assert read(name, [row], tally) == []
        assert tally.unread == {"the conversations differ before the last response": 1}


def test_an_arenas_ties_and_parts_of_content() -> None:
    parts = [{**turn, "content": [{"type": "text", "text": turn["content"], "image": None}]} for turn in user()]
    sides = {"conversation_a": [*parts, *assistant("x")], "conversation_b": [*user(), *assistant("y")]}
    for winner in ("tie", "tie (bothbad)", "both_bad"):
        (judgment,) = read("arena", [{**ARENA, **sides, "winner": winner}])
        assert (judgment.z, judgment.pair.label, judgment.pair.prompt) == (0.5, "tie", user())
        assert written("arena", [judgment.swap()])[0]["winner"] == winner
    with pytest.raises(ValueError, match="a part that is no text"):
        read(
            "arena", [{**ARENA, "conversation_a": [{"role": "user", "content": [{"type": "image"}]}, *assistant("x")]}]
        )


def test_mt_bench_judges_one_turn() -> None:
    (first,) = read("mt-bench", [MT_BENCH])
    assert (first.pair.prompt, first.pair.response_a, first.judge) == (user(), "right", "label")
    tally = Tally()
    assert read("mt-bench", [{**MT_BENCH, "turn": 2}], tally) == []
    assert tally.unread == {"the conversations differ before the last response": 1}
    same = {**MT_BENCH, "conversation_b": [*ROWS["mt-bench"][0]["conversation_a"][:-1], *assistant("No.")]}
    (second,) = read("mt-bench", [{**same, "turn": 2, "judge": "gpt4_pair", "winner": "tie (inconsistent)"}])
    assert (second.z, second.judge, second.pair.label) == (0.5, "gpt4_pair", None)
    assert (len(conversation(second.pair.prompt)), second.pair.response_b) == (3, "No.")
    assert written("mt-bench", [second])[0]["winner"] == "tie (inconsistent)"


def test_what_came_after_the_judged_response_is_no_arenas() -> None:
    """There the last response is the judged one."""
    (first,) = read("mt-bench", [MT_BENCH])
    (back,) = read("arena", written("arena", [first]))
    assert (back.pair.prompt, back.pair.response_a, back.z) == (first.pair.prompt, first.pair.response_a, first.z)


def test_annotators_are_counted_as_their_authors_do() -> None:
    rows = ROWS["pandalm"][0]
    cases = (((2, 0, 2), 0.0), ((1, 1, 2), 1.0), ((0, 0, 1), 0.5), ((0, 1, 2), None), ((1, None, 1), 1.0))
    for votes, z in cases:
        row = rows | {f"annotator{at}": vote for at, vote in enumerate(votes, 1)}
        (judgment,) = read("pandalm", [row])
        assert (judgment.z, judgment.pair.extra["annotator1"]) == (z, votes[0])
    (judgment,) = read("pandalm", [{**rows, "input": "A story."}])
    assert judgment.pair.prompt == "Which?\n\nA story."


def test_styles_and_ties_of_lists() -> None:
    found = read("rm-bench", ROWS["rm-bench"])
    assert len(found) == 9
    assert {(j.pair.extra["style_1"], j.pair.extra["style_2"]) for j in found} == {
        (i, j) for i in range(3) for j in range(3)
    }
    row = {**ROWS["rewardbench2"][0], "chosen": ["a", "b", "c"], "subset": "Ties"}
    found = read("rewardbench2", [row])
    assert [j.z for j in found] == [1.0] * 9 + [0.5] * 3
    assert {j.pair.label for j in found} == {"a", "tie"}


def test_which_score_decides_is_chosen() -> None:
    verdicts = {"overall_score": 0.0, "fine-grained_score": 1.0, "honesty": 1.0, "helpfulness": None}
    for verdict, z in verdicts.items():
        (judgment,) = (
            FORMATS["ultrafeedback-ratings"].by(verdict).read([("x:1", ROWS["ultrafeedback-ratings"][0])], Tally())
        )
        assert judgment.z == z
        assert judgment.pair.extra["custom_system_prompt_1"] == "Be honest."
    assert judgment.reason == "helpfulness is 'N/A'"
    (safer,) = FORMATS["pku-safe-rlhf"].by("safer_response_id").read([("x:1", ROWS["pku-safe-rlhf"][0])], Tally())
    assert (safer.z, safer.pair.label, safer.pair.extra["better_response_id"]) == (0.0, "b", 0)


TALKS = {"chosen": [*user(), *assistant("right")], "rejected": [*user(), *assistant("wrong")]}
TEXTS = {"prompt": "Which?", "chosen": "right", "rejected": "wrong"}
# Hub ids, their columns beside those of a row above, and the format.
SCHEMAS: list[tuple[str, Row, str]] = [
    ("trl-lib/ultrafeedback_binarized", {**TALKS, "score_chosen": 8.0, "score_rejected": 7.0}, "ultrafeedback"),
    ("trl-lib/hh-rlhf-helpful-base", {"prompt": user(), "chosen": assistant("x"), "rejected": assistant("y")}, "trl"),
    ("Dahoas/full-hh-rlhf", {**TEXTS, "response": "right"}, "trl"),
    ("RLHFlow/UltraFeedback-preference-standard", {**TALKS, "rejected_score": 6.0, "chosen_score": 6.5}, "trl"),
    ("mlabonne/orpo-dpo-mix-40k", {**TALKS, "source": "s", "prompt": "Which?", "question": "Which?"}, "trl"),
    ("jondurbin/truthy-dpo-v0.1", {**TEXTS, "id": "1", "source": "s", "system": "You are Ada."}, "trl"),
    (
        "princeton-nlp/llama3-ultrafeedback",
        {**TALKS, "prompt": "Which?", "prompt_id": "i", "all_generated_responses": ["x"], "all_rm_scores": [0.1]},
        "trl",
    ),
    (
        "allenai/llama-3.1-tulu-3-8b-preference-mixture",
        {**TALKS, "id": "i", "source": "s", "prompt": "Which?", "chosen_rating": 5.0, "rejected_rating": 2.0}
        | {"chosen_model": "one", "rejected_model": "two"},
        "argilla",
    ),
    ("argilla/dpo-mix-7k", {**TALKS, "dataset": "d", "chosen_rating": 5.0, "rejected_rating": 2.0}, "argilla"),
    (
        "a pair of LLaMA-Factory's",
        {"instruction": "Which?", "input": "", "chosen": "right", "rejected": "wrong"},
        "trl",
    ),
    ("Skywork/Skywork-Reward-Preference-80K-v0.2", {**TALKS, "source": "s"}, "skywork"),
    ("Anthropic/hh-rlhf", {"chosen": HH + "right", "rejected": HH + "wrong"}, "hh"),
    ("argilla/ultrafeedback-curated", {**RATED, "models": ["one", "two"]}, "distilabel"),
    ("Intel/orca_dpo_pairs", {"system": "", "question": "Which?", "chosen": "right", "rejected": "wrong"}, "orca"),
    (
        "lmarena-ai/arena-human-preference-140k",
        {k: ARENA[k] for k in ("model_a", "model_b", "winner", "conversation_a", "conversation_b", "language")}
        | {"id": "i", "evaluation_session_id": "e", "evaluation_order": 1, "is_code": False, "conv_metadata": {}},
        "arena",
    ),
    (
        "lmarena-ai/arena-human-preference-100k",
        {
            k: ARENA[k]
            for k in ("question_id", "model_a", "model_b", "winner", "conversation_a", "conversation_b", "turn")
        }
        | {"anony": True, "tstamp": 1.0, "conv_metadata": {}, "category_tag": {}, "is_code": False},
        "arena",
    ),
]


@pytest.mark.parametrize(("hub_id", "row", "name"), SCHEMAS, ids=[schema[0] for schema in SCHEMAS])
def test_a_published_schema_is_one_format_and_reads(hub_id: str, row: Row, name: str) -> None:
    assert detect(row, hub_id).name == name
    (judgment,) = read(name, [row])
    assert conversation(judgment.pair.prompt)[-1]["content"] == "Which?"


def test_scores_beside_a_format_do_not_hide_it() -> None:
    scores = {"score_chosen": 3, "score_rejected": 1}
    ratings = {"chosen_rating": 3, "rejected_rating": 1}
    for name in ("orca", "hh", "sharegpt", "rewardbench"):
        assert {detect({**ROWS[name][0], **more}, "here").name for more in (scores, ratings)} == {name}
    assert detect({**UF, **ratings}, "here").name == "argilla"


def test_labels_may_be_written_as_text() -> None:
    (judgment,) = read("hhh", [{"input": "Which?", "targets": {"choices": ["wrong", "right"], "labels": ["0", "1"]}}])
    assert (judgment.z, judgment.pair.label) == (0.0, "b")


def test_choices_of_other_rows_are_none_of_this_ones() -> None:
    """Parquet gives every row the choices of all."""
    (judgment,) = read("hhh", [{"input": "Which?", "target_scores": {"right": 1, "wrong": 0, "x": None, "y": None}}])
    assert (judgment.pair.response_a, judgment.z) == ("right", 1.0)
