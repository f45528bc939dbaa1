"""The thought before an answer, in the formats that models write, whole and cut off."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.judging.thoughts import TAG, split_thought

FORMATS = [
    ("<think>", "</think>"),
    ("<THINK>\n", "</Think >"),
    ('<think budget="high">', "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<seed:think>", "</seed:think>"),
    ("<antThinking>", "</antThinking>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ("<|begin_of_thought|>\n\n", "\n\n<|end_of_thought|>\n\n<|begin_of_solution|>"),
    ("<unused94>thought\n", "<unused95>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>analysis<|message|>", "<|end|>\n<|channel|>final <|constrain|>json<|message|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<think>", "</think>\n<answer>"),
    ("<think>", "</think>\n\n<response>\n"),
]
IN_WORDS = [("analysis", "assistantfinal"), ("Here is my thought process:", "Here is my response:")]
SAID = "We compare: 1 is short, and 2 is right."


@pytest.mark.parametrize(("opening", "closing"), FORMATS + IN_WORDS)
@pytest.mark.parametrize("end", ["", "\n", "<|im_end|>", "<|return|>\n", "</s> ", "<｜end▁of▁sentence｜>", "</answer>"])
def test_a_whole_thought(opening: str, closing: str, end: str) -> None:
    text = f"\n{opening}{SAID}{closing}\n\nResponse 2.{end}"
    found = split_thought(text)
    assert found.answer == "Response 2."
    assert text[found.start :].startswith("Response 2.")
    assert str(found.thought).startswith(SAID)
    assert TAG.search(str(found.thought)) is None
    assert (found.others, found.certain) == ((), True)
    assert split_thought(f"{opening}{closing}2").answer == "2"


@pytest.mark.parametrize(("opening", "closing"), FORMATS + IN_WORDS)
def test_a_thought_that_never_ends(opening: str, closing: str) -> None:
    found = split_thought(f" {opening}{SAID} So the better response is 1")
    assert found.answer is None
    assert str(found.thought).startswith("We compare")


@pytest.mark.parametrize(("opening", "closing"), FORMATS)
def test_the_closing_tag_alone(opening: str, closing: str) -> None:
    found = split_thought(f"{SAID}{closing}\n2")
    assert (found.answer, found.certain) == ("2", False)
    assert str(found.thought).startswith(SAID)
    found = split_thought(f"{closing}\n\n2")
    assert (found.thought, found.answer, found.certain) == ("", "2", True)


@pytest.mark.parametrize(
    "text",
    [
        "2",
        "The better response is 2.",
        "Analysis: 1 is short.\n\n2",
        "analysis of both: 2",
        "I think <b>2</b> is better",
        "Response 1 uses the tag <think>, and 2 is better.",
        "The assistantfinal one is 2",
        "[2] is better than [1]",
        "x < 3 </b> [/b]",
        "Here is my answer: 2",
    ],
)
def test_no_thought(text: str) -> None:
    found = split_thought(f" {text}\n")
    assert (found.thought, found.answer, found.start, found.others) == (None, text, 1, ())


def test_several_closing_tags() -> None:
    text = '<think>It says "</think>\n1".</think>\n2'
    found = split_thought(text)
    assert found.answer == '1".</think>\n2'
    assert [text[place:] for place in (found.start, *found.others)] == ['1".</think>\n2', "2"]
    assert found.certain


def test_thoughts_in_a_row_are_one() -> None:
    found = split_thought("<think>a</think>\n<thinking>b</thinking>\n</thinking>\n2")
    assert (found.answer, found.others) == ("2", ())
    assert found.thought == "a\nb"
    assert split_thought("<think>a</think>\n<think>b").answer is None


def test_a_thought_in_the_middle() -> None:
    found = split_thought("Well. <think>1?</think> 2")
    assert (found.thought, found.answer, found.certain) == ("1?", "2", False)
    found = split_thought("2\n\n<reasoning>Because it is right.</reasoning>")
    assert (found.thought, found.answer, found.start, found.certain) == ("Because it is right.", "2", 0, True)


TAGS = [part for both in FORMATS + IN_WORDS for part in both]


@given(
    st.lists(st.sampled_from([*TAGS, "1", " ", "\n", "<", "</s>", "\ud800", "é"]) | st.text(max_size=5)).map("".join)
)
def test_any_text_can_be_split(text: str) -> None:
    found = split_thought(text)
    if found.answer is None:
        assert found.thought is not None
    else:
        assert text[found.start : found.start + len(found.answer)] == found.answer == found.answer.strip()
        assert all(found.start <= place <= len(text) for place in found.others)
        assert list(found.others) == sorted(found.others)


@pytest.mark.parametrize(
    "piece",
    [
        *sorted({part.strip() for part in TAGS}),
        "<",
        "[",
        "<think ",
        "a",
        "\n",
        "1 ",
        "<|",
        "◁",
        "<|channel|>final",
        "<|x|>",
        "é",
    ],
)
def test_long_texts_take_linear_time(piece: str) -> None:
    many = piece * (100_000 // len(piece))
    for text in (many, f"<think>{many}", f"<think>{many}</think>{many}2", f"{many}</think>2", f"2{many}"):
        start = time.process_time()
        split_thought(text)
        assert time.process_time() - start < 5.0, text[:40]  # a square would be minutes
