"""Rows as published data sets have them are read by every program, with what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import write_rows

from rlaif.files.conversations import prompt_of, responses_of
from rlaif.files.demonstrations import answers_beside, demonstrations_of, load_demonstrations
from rlaif.files.preferences import load_preferences
from rlaif.files.shapes import usual
from rlaif.files.sources import placed_prompt_rows
from rlaif.formats.known import detect


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


ASKED, FIRST, MORE = said("user", "Which cheese?"), said("assistant", "Comté."), said("user", "And wine?")
GOOD, BAD, PARROT = said("assistant", "Arbois."), said("assistant", "None."), said("system", "Speak as a parrot.")
TALK = [ASKED, FIRST, MORE]
ALPACA = "Below is an instruction.\n\n### Instruction:\nAdd them.\n\n### Input:\n[1, 2]\n\n### Output:\nsum([1, 2])"
HH = "\n\nHuman: Which cheese?\n\nAssistant: Comté.\n\nHuman: And wine?\n\nAssistant: "


@pytest.mark.parametrize(
    ("row", "learned"),
    [
        ({"conversations": ["Which cheese?", "Comté."], "source": "s"}, ([ASKED], "Comté.")),
        ({"conversation": [{"input": "Which cheese?", "output": "Comté."}]}, ([ASKED], "Comté.")),
        ({"type": "t", "query": "1 + 1?", "original_question": "One and one?", "response": "2"}, ("1 + 1?", "2")),
        ({"problem": "1 + 1?", "solution": "It is $2$.", "answer": "2"}, ("1 + 1?", "It is $2$.")),
        ({"problem": "1 + 1?", "answer": "2"}, ("1 + 1?", "2")),
        # The prompt is a rendering, answer and all.
        (
            {"instruction": "Add them.", "input": "[1, 2]", "output": "sum([1, 2])", "prompt": ALPACA},
            ("Add them.\n\n[1, 2]", "sum([1, 2])"),
        ),
        ({"input": [ASKED], "output": "Comté.", "reasoning": "off", "system_prompt": ""}, ([ASKED], "Comté.")),
        ({"messages": [ASKED, FIRST], "reasoning": "on", "tools": None}, ([ASKED], "Comté.")),
        # Where a conversation has a system turn, the prompt may be that.
        (
            {"prompt": PARROT["content"], "messages": [PARROT, ASKED, FIRST], "category": "Chat"},
            ([PARROT, ASKED], "Comté."),
        ),
    ],
)
def test_published_demonstrations_are_learned(row: dict[str, Any], learned: tuple[Any, str]) -> None:
    assert list(demonstrations_of(row)) == [learned]
    assert prompt_of(row) == learned[0]


def test_a_rendering_without_the_answer_is_a_prompt_as_any_other() -> None:
    bare = ALPACA.removesuffix("sum([1, 2])")
    row = {"instruction": "Add them.", "input": "[1, 2]", "output": "sum([1, 2])", "prompt": bare}
    assert usual(row) is row
    assert list(demonstrations_of(row)) == [(bare, "sum([1, 2])")]


def test_what_is_no_prompts_rendering_stays() -> None:
    row = {"instruction": "Repeat it.", "prompt": "Repeat it. Cheese", "completion": "Cheese"}
    assert list(demonstrations_of(row)) == [("Repeat it. Cheese", "Cheese")]


def test_thoughts_are_still_refused() -> None:
    with pytest.raises(ValueError, match="reasoning"):
        list(demonstrations_of({"messages": [ASKED, FIRST], "reasoning": "The user likes cheese."}))


@pytest.mark.parametrize("label", [0, 1, "good"])
def test_the_class_of_a_plain_text_says_nothing_about_learning_it(tmp_path: Path, label: Any) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"text": "A good film.", "label": label}])
    assert load_demonstrations(str(rows), "train")["completion"] == ["A good film."]


def test_two_transcripts_are_preferences_demonstrations_and_a_prompt(tmp_path: Path) -> None:
    row = {"chosen": HH + "Arbois.", "rejected": HH + "None."}
    rows = str(write_rows(tmp_path / "rows.jsonl", [row]))
    (found,) = load_preferences(rows, "train")
    assert (found["prompt"], found["chosen"], found["rejected"]) == (TALK, "Arbois.", "None.")
    assert load_demonstrations(rows, "train")[0] == {"prompt": TALK, "completion": "Arbois."}
    assert [one["prompt"] for _, one in placed_prompt_rows(rows)] == [TALK]
    assert responses_of(row, ("chosen", "rejected")) == (TALK, ["Arbois.", "None."])


def test_the_prompt_of_two_whole_conversations_is_what_both_begin_with(tmp_path: Path) -> None:
    """Also beside a `prompt` that holds the first question alone: the rest would not be answered."""
    whole = {"chosen": [PARROT, *TALK, GOOD], "rejected": [PARROT, *TALK, BAD]}
    assert prompt_of(whole) == prompt_of({"prompt": "Which cheese?", **whole}) == [PARROT, *TALK]
    rows = write_rows(tmp_path / "rows.jsonl", [{"prompt": "Which cheese?", **whole, "source": "s"}])
    ((_, found),) = placed_prompt_rows(rows)
    assert found == {"prompt": [PARROT, *TALK], **whole, "source": "s"}
    apart = {"chosen": [ASKED, FIRST], "rejected": [MORE, BAD]}
    written = {"prompt": "Which cheese?", **apart}  # messages too, as of the file's other rows
    assert prompt_of(written) == [{"role": "user", "content": "Which cheese?"}]
    both = write_rows(tmp_path / "both.jsonl", [whole, written])
    assert [row["prompt"] for _, row in placed_prompt_rows(both)] == [[PARROT, *TALK], prompt_of(written)]
    with pytest.raises(ValueError, match="begin with different conversations"):
        prompt_of(apart)


def test_a_context_of_messages_alone_is_a_prompt() -> None:
    row = {"domain": "general", "context": TALK, "response1": "Arbois.", "response2": "None."}
    assert prompt_of(row) == TALK
    with pytest.raises(ValueError, match="no 'prompt'"):
        prompt_of({"context": "Some page."})
    with pytest.raises(ValueError, match="context ends with the assistant's turn"):
        prompt_of({"context": [ASKED, FIRST]})


def test_chosen_conversations_beside_a_scored_response_are_said() -> None:
    row = {"instruction": "Which cheese?", "response": "Brie.", "chosen": [ASKED, FIRST], "rejected": [ASKED, BAD]}
    assert answers_beside(row, ["Brie."], ("response",)) == "chosen and rejected"
    assert answers_beside(row, ["Comté."], ("response",)) == "rejected"


@pytest.mark.parametrize("columns", ["instruction response", "question response", "query response", "problem solution"])
def test_one_response_is_called_a_demonstration(columns: str) -> None:
    with pytest.raises(ValueError, match=r"recipes/sft\.py"):
        detect(dict.fromkeys([*columns.split(), "context"], "x"), "rows.jsonl:1")


@pytest.mark.parametrize("of_both", [{}, {"chosen_model": "m", "rejected_model": "n", "subset": "easy"}])
def test_pairs_that_carry_their_sources_preference_are_pairs(of_both: dict[str, str]) -> None:
    """As `rlaif sample` leaves them for the prompts of hh-rlhf and RewardBench, before they are judged."""
    row = {"prompt": TALK, "response_a": "Arbois.", "response_b": "Port.", "chosen": HH + "Arbois.", "rejected": HH}
    assert detect({**row, **of_both}, "rows.jsonl:1").name == "pairs"
