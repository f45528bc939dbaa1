"""What a source said beside its pairs stays true where the verdict is another one than the source's."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import rows_of, write_rows
from support.formats import WRITTEN, Row, read, written

from rlaif.cli import main
from rlaif.commands.convert import ConvertConfig, convert
from rlaif.files.pairs import judgment_of, pair_of
from rlaif.files.preferences import load_preferences
from rlaif.formats.known import detect

GOOD, BAD = "Here are knife and cheese.", "I bring beans."
PLAIN = {"prompt": "Send knife and cheese."}
EARLIER = {"z": 0.2, "z_ab": 0.1, "judge": "old-judge", "label": "b", "reason": "old", "votes": 3, "template": "old"}
RATED = ("helpsteer2", "helpsteer3", "helpsteer2-ratings", "distilabel")  # of a model's verdict they have no ratings
CHOSEN = ("trl", "preferences", "ultrafeedback", "argilla", "skywork", "hh", "rewardbench", "orca", "sharegpt")


@pytest.fixture(scope="module")
def judged_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair that an earlier judge got wrong, judged by the sandbox's gold judge."""
    folder = tmp_path_factory.mktemp("again")
    pairs = write_rows(folder / "p.jsonl", [{**PLAIN, "response_a": GOOD, "response_b": BAD, **EARLIER, "label": None}])
    of = ["--judge", "scripted", "--judge_model", "rlaif.sandbox:gold_judge", "--output", str(folder / "j")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["rlaif", "judge", "--pairs", str(pairs), *of])
        main()
    return folder / "j"


@pytest.mark.parametrize("name", [name for name in WRITTEN if name not in RATED])
def test_an_earlier_verdict_does_not_stand_for_the_new_one(name: str, judged_again: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    convert(ConvertConfig(source=str(judged_again), output=str(output), format=name))
    rows = rows_of(output)
    for row in rows:
        assert row.get("z", 1.0) == 1.0
        assert "old" not in (row.get("reason"), row.get("template"), row.get("judge"))
        assert row.get("judge") != "old-judge"
        assert detect(row, name).name in ((name, "trl") if name in ("skywork", "rewardbench") else (name,))
    if name in CHOSEN:
        (loaded,) = load_preferences(output, "train") if name != "hh" else [{"z": 1.0, "chosen": GOOD}]
        assert (loaded["z"], loaded["chosen"]) == (1.0, GOOD)
    back = tmp_path / "back.jsonl"
    convert(ConvertConfig(source=str(output), source_format=name, output=str(back)))
    (row,) = rows_of(back)
    assert (row["z"], row["response_a"]) == (1.0, GOOD)


SCORED: Row = {**PLAIN, "chosen": BAD, "rejected": GOOD, "score_chosen": 9.0, "score_rejected": 2.0}
SCORED |= {"chosen_model": "one", "rejected_model": "two", "note_1": "beans", "note_2": "cheese", "margin": 7.0}


def turned(row: Row) -> Row:
    """A row of chosen and rejected as our pair, with the verdict turned round by a later judge."""
    (pair,) = written("pairs", read("trl", [row]))
    return {**pair, "z": 0.1, "judge": "new", "source_judge": None}


@pytest.mark.parametrize("name", CHOSEN)
def test_what_is_said_of_a_response_turns_with_the_verdict(name: str) -> None:
    for own_id in ({}, {"id": "mine"}):
        (row,) = written(name, read("pairs", [{**turned(SCORED), **own_id}]))
        assert (row["note_1"], row["note_2"]) == (("beans", "cheese") if name == "preferences" else ("cheese", "beans"))
        assert (row.get("chosen_model"), row.get("rejected_model")) in (("two", "one"), (None, None))
        if name == "preferences":
            assert (row["score_chosen"], row["score_rejected"]) == (2.0, 9.0)
        else:
            assert (row["score_chosen"], row["score_rejected"]) == (None, None)
        assert "margin" not in row
        (back,) = read(name, [row])
        assert (back.z, back.pair.response_a) == (0.9 if name == "preferences" else 1.0, GOOD)
    (kept,) = written(name, read("pairs", [{**turned(SCORED), "z": 0.9}]))  # as the source has it
    assert (kept["score_chosen"], kept["score_rejected"], kept["note_1"]) == (9.0, 2.0, "beans")


def test_preferences_keep_what_is_of_whom() -> None:
    pair = turned(SCORED)
    (row,) = written("preferences", read("pairs", [pair]))
    (back,) = written("trl", read("preferences", [row]))
    assert (back["chosen"], back["note_1"], back["score_chosen"]) == (GOOD, "cheese", None)
    (again,) = written("preferences", read("preferences", [row]))
    assert again == row


def test_scores_are_numbered_where_no_response_is_chosen() -> None:
    (row,) = written("alpacaeval", read("pairs", [turned(SCORED)]))
    assert (row["output_1"], row["score_1"], row["score_2"], row["note_1"]) == (BAD, 9.0, 2.0, "beans")
    assert not [column for column in row if "chosen" in column or "rejected" in column]
    good, bad = written("kto", read("pairs", [turned(SCORED)]))
    assert (good["completion"], good["label"], good["score"], good["note"]) == (GOOD, True, 2.0, "cheese")
    assert (bad["completion"], bad["label"], bad["score"], bad["note"]) == (BAD, False, 9.0, "beans")


def test_what_is_said_of_other_responses_does_not_stand_with_these() -> None:
    """Prompts of a preference dataset that were sampled for: its responses and their scores are not the pair's."""
    others: Row = {"chosen": "x", "rejected": "y", "score_chosen": 9, "score_rejected": 3}
    row: Row = {**PLAIN, "response_a": GOOD, "response_b": BAD, **others}
    for pair in (pair_of(row), judgment_of({**row, "z": 1.0}).pair):
        assert pair.extra == {f"source_{name}": value for name, value in others.items()}
        judgments = read("pairs", [{**pair.row(), "z": 1.0}])
        (chosen,) = written("trl", judgments)
        assert (chosen["chosen"], chosen["source_chosen"], chosen["source_score_chosen"]) == (GOOD, "x", 9)
        assert not [name for row in (chosen, *written("kto", judgments)) for name in row if name.startswith("score")]


TIES: list[Row] = [{"status": "tie"}, {"is_tie": True}, {"preference_strength": 0}, {"score": 1}]
TIES += [{"is_tie": "true"}, {"status": "Tie"}, {"tie": True}, {"winner": "tie"}, {"label": "tie"}]


@pytest.mark.parametrize("tie", TIES)
def test_an_earlier_tie_is_none_any_more(tie: Row, tmp_path: Path) -> None:
    says: Row = {"reward_chosen": 1.0, "reward_rejected": 1.0} if "score" in tie else tie
    (judgment,) = read("trl", [{**PLAIN, "chosen": GOOD, "rejected": BAD, **says}])
    assert judgment.z == 0.5
    (pair,) = written("pairs", [judgment])
    (row,) = written("trl", read("pairs", [{**pair, "z": 0.9}]))
    assert load_preferences(write_rows(tmp_path / "rows.jsonl", [row]), "train")["z"] == [1.0]
    assert read("trl", [row])[0].z == 1.0


def test_columns_of_scores_by_any_name() -> None:
    row = {**PLAIN, "chosen": GOOD, "rejected": BAD}
    cases: list[tuple[Row, float | None]] = [
        ({"chosen_reward": 1.0, "rejected_reward": 1.0}, 0.5),
        ({"rm_score_chosen": 1, "rm_score_rejected": 3}, None),
        ({"chosen_avg_rating": 1, "rejected_avg_rating": "1"}, 0.5),
        # An aspect that is alike is no tie, a deviation or a model's name no score.
        ({"chosen_honesty_score": 2, "rejected_honesty_score": 2, "chosen_help_score": 2, "rejected_help_score": 1}, 1),
        ({"chosen_score_std": 1, "rejected_score_std": 3, "chosen_reward_model": "m", "rejected_reward_model": "m"}, 1),
        ({"score_chosen": 3, "score_rejected": 1, "rm_score_chosen": 1, "rm_score_rejected": 3}, 1),
        ({"score_chosen": "N/A", "score_rejected": 3}, 1),
        ({"Score_Chosen": 1, "Score_Rejected": 3}, None),
        ({"chosenScore": 1, "rejectedScore": 1}, 0.5),
        ({"label": "rejected"}, None),
        ({"source_score_chosen": 1, "source_score_rejected": 3}, 1),
        ({"prechosen_score": 1, "prerejected_score": 3, "is_tie": False, "preference_strength": None}, 1),
    ]
    for columns, z in cases:
        assert read("trl", [{**row, **columns}])[0].z == z, columns
