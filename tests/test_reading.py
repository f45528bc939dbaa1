"""What a stored reply says: the answer, its place among the listed tokens, and the expected value there.

Numbers are worked by hand. What cannot be read is unjudged, and what is listed but not used says why.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import Server, completion

from rlaif.judging.labels import Expected, expected_value, probabilities
from rlaif.judging.pairwise import judge_pairs
from rlaif.judging.prompts import TEMPLATES, BaseTemplate, Template, rating_template
from rlaif.judging.reading import Reading, cut_before_answer, read_labels
from rlaif.judging.settings import JudgeConfig, load_judge
from rlaif.models.base import UNASKED, Place, Reply
from rlaif.records import Pair

HELPFUL = TEMPLATES["helpful"]
NINE, TEN, HUNDRED = (rating_template("compact", scale) for scale in ((0, 9), (1, 10), (0, 100)))
LETTERS, WORDS, RESPONSES, BRACKETS = (
    Template("t", TEMPLATES["compact"].user, labels=labels)
    for labels in (("A", "B"), ("first", "second"), ("Response 1", "Response 2"), ("[[A]]", "[[B]]"))
)


def place(token: str, listed: Mapping[str, float] | Sequence[tuple[str, float]], own: float | None = None) -> Place:
    """A place from probabilities; the written token's own is that in the list unless it is given."""
    both = list(listed.items()) if isinstance(listed, Mapping) else list(listed)
    own = own if own is not None else dict(reversed(both)).get(token)
    return Place(token, None if own is None else math.log(own), tuple((name, math.log(p)) for name, p in both))


def sure(*tokens: str) -> list[Place]:
    """Tokens that were written and of which nothing is to be read."""
    return [place(token, {token: 0.99, "zz": 0.002}) for token in tokens]


def verdict(token: str, **listed: float) -> Place:
    """A place with `_1`, `_2`, ... for digits."""
    return place(token, {name.strip("_"): p for name, p in listed.items()})


def read(places: Sequence[Place], template: BaseTemplate = HELPFUL, text: str | None = None, **reply: Any) -> Reading:
    """A reply of these places; its text is what they spell unless it is given."""
    said = "".join(one.token for one in places) if text is None else text
    return read_labels(Reply("k", said, places=tuple(places), **reply), template, 16)


def value_and_mass(reading: Reading) -> tuple[float | None, float | None]:
    assert reading.method == "logprobs", reading
    assert reading.unusable is None
    return reading.value, reading.mass


# One token a label ----------------------------------------------------------------------------------------------------


def test_two_labels_by_hand() -> None:
    assert value_and_mass(read([verdict("1", _1=0.6, _2=0.2, x=0.1)])) == (0.75, 0.8)
    # Spellings are added up: " 1" and "1".
    spaced = place(" 1", {" 1": 0.3, "1": 0.3, "2": 0.2})
    assert value_and_mass(read([spaced])) == (0.75, 0.8)


@pytest.mark.parametrize("own", [0.55, 0.05])
def test_two_tokens_of_one_spelling_are_added(own: float) -> None:
    """(.55 + .05) / (.55 + .05 + .35 + .001), whichever of the two was written."""
    listed = [("1", 0.55), ("2", 0.35), ("1", 0.05), ("2", 0.001), ("The", 0.0005)]
    assert value_and_mass(read([place("1", listed, own)])) == (0.630915, 0.951)


def test_a_token_that_is_listed_twice_counts_once() -> None:
    twice = [("1", 0.5), ("1", 0.5), ("2", 0.25)]
    assert value_and_mass(read([place("1", twice)])) == (0.666667, 0.75)
    # The written token's own number is rounded otherwise than in the list.
    assert value_and_mass(read([place("1", [("1", 0.3), ("2", 0.2)], 0.3002)])) == (0.6, 0.5)


def test_the_written_token_is_added_to_a_list_without_it() -> None:
    # .3 beside .2 and .1: .3 / .5
    assert value_and_mass(read([place("1", {"2": 0.2, "x": 0.1}, 0.3)])) == (0.6, 0.5)
    # A second token of its spelling, too unlikely to be listed.
    assert value_and_mass(read([place("1", {"1": 0.6, "2": 0.3, "x": 0.01}, 0.005)])) == (0.668508, 0.905)
    # There is no room for it (drawn at another temperature, say): the list counts.
    assert value_and_mass(read([place("1", {"1": 0.6, "2": 0.3, "x": 0.05}, 0.8)])) == (0.666667, 0.9)


def test_a_label_that_is_not_listed_is_bounded_not_impossible() -> None:
    # 0.01 is the most that an unlisted token can have: .01 / .91
    assert value_and_mass(read([verdict("2", _2=0.9, x=0.06, y=0.01)])) == (0.010989, 0.91)
    # Not .38, of which the others leave .02: .02 / .62; nor 0, for numbers are rounded: .001 / .601
    assert value_and_mass(read([verdict("2", _2=0.6, x=0.38)])) == (0.032258, 0.62)
    assert value_and_mass(read([verdict("2", _2=0.6, x=0.4)])) == (0.001664, 0.601)


@pytest.mark.parametrize("share", [0.002, 0.04])
def test_a_bound_does_not_turn_a_verdict_round(share: float) -> None:
    """A server that lists the written label however unlikely it is: the other one may have up to .05, or nothing."""
    reading = read([place("2", {"The": 0.6, "I": 0.2, "Both": 0.05, "2": share})])
    assert (reading.value, reading.method, reading.unusable) == (0.0, "text", "too few alternatives are listed")
    # .05 / .11, as far as it can go
    assert value_and_mass(read([place("2", {"The": 0.6, "I": 0.2, "Both": 0.05, "2": 0.06})])) == (0.454545, 0.11)


def bare(token: str, logp: float | None, **listed: float) -> Place:
    """A place whose written token has the log-probability `logp`."""
    return Place(token, logp, verdict(token, **listed).listed)


@pytest.mark.parametrize("logp", [None, math.nan, -math.inf, math.inf])
def test_a_written_token_without_a_number(logp: float | None) -> None:
    # The list knows it: .6 / .8
    assert value_and_mass(read([bare("1", logp, _1=0.6, _2=0.2, x=0.01)])) == (0.75, 0.8)
    raw = Place("Ġ1", logp, ((" 1", math.log(0.6)), (" 2", math.log(0.2))))
    assert value_and_mass(read([raw], text="1")) == (0.75, 0.8)
    # It does not: a label that was written is not one that is not listed.
    for listed in ({"_2": 0.15, "The": 0.03, "I": 0.01}, {"_2": 0.6, "x": 0.1}, {"x": 0.6, "y": 0.1}):
        reading = read([bare("1", logp, **listed)])
        assert (reading.value, reading.method, reading.unusable) == (1.0, "text", UNLISTED)
    # Nor is another token of its text, with a blank more, the written one.
    assert read([Place("1", logp, ((" 1", -3.0), ("2", -1.0)))]).unusable == UNLISTED
    # In the middle of a label: "1" is written, and what follows has no number.
    ratings = {"_1": 0.5, "_7": 0.49} | dict.fromkeys((f"_{n}" for n in (2, 3, 4, 5, 6, 8, 9)), 1e-4)
    for last in (bare("0", logp, end=0.9, x=0.05), bare("end", logp, _0=0.9, x=0.05)):
        reading = read([verdict("1", **ratings), last], TEN, "10" if last.token == "0" else "1")
        assert (reading.method, reading.unusable) == (
            "text",
            "a verdict of several tokens is not listed far enough",
        )


@pytest.mark.parametrize(
    ("own", "listed", "value", "mass"),
    [
        # A second token with this number would stand in the list.
        (0.4, {"_1": 0.3, "_2": 0.2, "x": 0.01}, 0.6, 0.5),
        (0.2, {"_1": 0.3, "_2": 0.45, "x": 0.01}, 0.4, 0.75),
        # One that is as unlikely as the least likely one, or less, would not: (.3 + .01) / .51
        (0.00999, {"_1": 0.3, "_2": 0.2, "x": 0.01}, 0.607831, 0.50999),
    ],
)
def test_the_list_is_right_where_the_written_token_has_another_number(
    own: float, listed: dict[str, float], value: float, mass: float
) -> None:
    assert value_and_mass(read([bare("1", math.log(own), **listed)])) == pytest.approx((value, mass), abs=2e-5)


@pytest.mark.parametrize(
    ("own", "listed", "why"),
    [
        # Its number is that of another text: the texts have slipped, or are numbers of tokens.
        (0.8, [("1", 0.15), ("2", 0.8), ("x", 0.03)], "the written token's number is listed for another token"),
        (0.3, [("16", 0.3), ("2", 0.2)], "the written token's number is listed for another token"),
        # It is not listed, and there is no room for it.
        (0.8, [("2", 0.6), ("x", 0.3)], "the probabilities listed for one token add up to more than 1"),
        # Perhaps it is the one that is listed, perhaps another one.
        (0.2, [(" 1", 0.3), ("2", 0.4), ("x", 0.05)], "the written token's number is not the one that is listed"),
        (0.1, [("1", 0.5)], "no alternatives are listed"),
    ],
)
def test_a_list_that_contradicts_the_written_token(own: float, listed: list[tuple[str, float]], why: str) -> None:
    reading = read([place("1", listed, own)])
    assert (reading.value, reading.method, reading.unusable) == (1.0, "text", why)


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ([("1", 0.6), ("2", 0.5)], "the probabilities listed for one token add up to more than 1"),
        ([("1", 1.0)], "no alternatives are listed"),
        ([("1", 0.5), ("1", 0.5)], "no alternatives are listed"),
        ([], "no alternatives are listed"),
    ],
)
def test_a_list_of_no_use(listed: list[tuple[str, float]], why: str) -> None:
    reading = read([place("1", listed)])
    assert (reading.value, reading.method, reading.unusable) == (1.0, "text", why)
    assert probabilities(place("1", listed)) == why


def test_probabilities_may_be_rounded() -> None:
    assert value_and_mass(read([place("1", {"1": 0.7005, "2": 0.3})])) == (0.70015, 1.0)


def test_an_article_is_no_label() -> None:
    """A label of one letter is written as it stands: "a" is the beginning of a sentence, not a vote for "A"."""
    listed = {"A": 0.3, " A": 0.1, "a": 0.3, "B": 0.1}
    assert value_and_mass(read([place("A", listed)], LETTERS)) == (0.8, 0.5)
    assert value_and_mass(read([place("First", {"First": 0.3, " first": 0.1, "second": 0.1})], WORDS)) == (0.8, 0.5)


def test_the_verdicts_own_place_is_read() -> None:
    """A chatty judge names labels again: what counts is the place that the text is read at."""
    talk = [verdict("1", _1=0.8, _2=0.2), *sure("\n", "Response"), verdict(" 2", _2=0.9), *sure(" is", " wrong", ".")]
    assert value_and_mass(read(talk)) == (0.8, 1.0)
    reasoned = [*sure("The", " answer", " is "), verdict("2", _1=0.3, _2=0.6), *sure(".")]
    assert value_and_mass(read(reasoned)) == (0.333333, 0.9)


def test_of_the_worse_ones_name_no_log_probability_is_read() -> None:
    """ "2 is worse" is a verdict for 1, and what is listed at "2" is not P(1 is written)."""
    worse = read([verdict("2", _2=0.9, _1=0.1), *sure(" is", " worse", ".")])
    assert (worse.value, worse.method) == (1.0, "text")
    assert worse.unusable


@pytest.mark.parametrize(
    "places",
    [
        sure("Neither", " of", " them"),
        [verdict("1", _1=0.5, _2=0.5), *sure(" or "), verdict("2", _1=0.5, _2=0.5)],
        [*sure("Response "), verdict("2", _2=0.9, _1=0.1), *sure(" is wrong.")],  # a fault, no verdict
    ],
)
def test_no_verdict_in_the_answer(places: list[Place]) -> None:
    reading = read(places)
    assert (reading.value, reading.unusable) == (None, None)
    assert str(reading.reason).startswith("no verdict in the answer ")


def test_a_label_within_a_longer_token_is_not_read_there() -> None:
    reading = read([place("Response 1", {"Response 1": 0.9, "1": 0.1})])
    assert (reading.value, reading.method) == (1.0, "text")
    assert reading.unusable == "the verdict is not made of whole tokens"


# Where the answer stands ----------------------------------------------------------------------------------------------

ONE = verdict("1", _1=0.8, _2=0.2)
OTHER = verdict("2", _2=0.7, _1=0.3)
THOUGHT = [*sure("<think>", "\n", "At", " first", " sight", " Response", " "), OTHER, *sure(" wins", ".", " No", ".")]
CLOSED = [*THOUGHT, *sure("\n", "</think>", "\n\n")]
SAID = "At first sight Response 2 wins. No."
UNLISTED = "the written token has no number"
UNTOLD = "what they hold before the answer is not known to be its thought"

STOPS = [
    "</s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|endoftext|>",
    "<|return|>",
    "<end_of_turn>",
    "<turn|>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
    "<|END_OF_TURN_TOKEN|>",
    "<｜hy_place▁holder▁no▁2｜>",
    "<_end>",
    "[EOS]",
    "[|endofturn|]",
    "[e~[",
    "[UNUSED_TOKEN_145]",
    "<|assistant_end|>",
    "<reserved_3>",
    "",
    "\n",
    "Ċ",
    "\x00",
]


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("before", [[], CLOSED, CLOSED[1:], CLOSED[1:-2] + sure("[/THINK]")])
def test_thoughts_and_stop_tokens_around_the_answer(before: list[Place], stop: str) -> None:
    places = [*before, ONE, *sure(stop)]
    assert value_and_mass(read(places, text="1")) == (0.8, 1.0)
    assert value_and_mass(read(places, text="1", reasoning=SAID)) == (0.8, 1.0)
    assert value_and_mass(read([*places, *sure("\n", "</s>")], text=" 1\n")) == (0.8, 1.0)
    assert value_and_mass(read(places, text=f"<think>{SAID}</think>\n\n1")) == (0.8, 1.0)
    assert value_and_mass(read(places, text=f"{SAID}\n</think>\n\n1")) == (0.8, 1.0)


@pytest.mark.parametrize("stop", ["###", "User", "\n\nQ:", "EOS"])
def test_a_stop_sequence_after_an_answer_whose_begin_is_known(stop: str) -> None:
    assert value_and_mass(read([ONE, *sure(stop)], text="1")) == (0.8, 1.0)
    assert value_and_mass(read([*CLOSED, ONE, *sure(stop)], text="1")) == (0.8, 1.0)
    # In a thought it might as well be the answer.
    for places in ([*THOUGHT[1:], ONE, *sure(stop)], [ONE, *sure("2")], [*CLOSED, ONE, *sure(stop, stop)]):
        reading = read(places, text="1")
        assert (reading.value, reading.method) == (1.0, "text")
        assert reading.unusable == "their tokens are not those of the answer"


@pytest.mark.parametrize(
    ("places", "text", "reasoning", "why"),
    [
        (THOUGHT, "1", SAID, "they are of the thought alone"),
        (THOUGHT[1:8], "2", SAID, "they are of the thought alone"),
        (THOUGHT[:8], "2", None, "they end within the thought"),
        ([*THOUGHT[:8], *sure("</s>")], "2", None, "they end within the thought"),
        (CLOSED, "2", None, "their tokens are not those of the answer"),
        ([place("token_id:16", {"token_id:16": 0.8, "token_id:17": 0.2})], "1", None, "their tokens are not those of"),
        ([place("11", {"11": 0.8, "2": 0.2})], "1", None, "their tokens are not those of the answer"),
        ([ONE, *sure("token_id:16", "token_id:2")], "1", None, "their tokens are not those of the answer"),
    ],
)
def test_what_does_not_align(places: list[Place], text: str, reasoning: str | None, why: str) -> None:
    reading = read(places, text=text, reasoning=reasoning)
    assert (reading.value, reading.method) == (float(text == "1"), "text")
    assert str(reading.unusable).startswith(why)


@pytest.mark.parametrize(
    ("one", "two"), [("Ġ1", "Ġ2"), ("▁1", "▁2"), ("<0x31>", "<0x32>"), ("bytes:\\x31", "\\x32"), ("Ċ1", "Ċ2")]
)
def test_pieces_of_a_vocabulary(one: str, two: str) -> None:
    said = place(one, {one: 0.6, two: 0.2})
    assert value_and_mass(read([said], text="1")) == (0.75, 0.8)
    assert value_and_mass(read([said, *sure("</s>")], text="1")) == (0.75, 0.8)
    # The plain "1" just before it is not the answer's, but the thought's; where nothing tells, neither is read.
    thought = [*CLOSED[1:-3], OTHER, verdict("1", _1=0.9, _2=0.1)]
    assert value_and_mass(read([*thought, *CLOSED[-3:], said], text="1")) == (0.75, 0.8)
    assert value_and_mass(read([*thought, said], text="1", reasoning=SAID + "21")) == (0.75, 0.8)
    assert read([*CLOSED, verdict("1", _1=0.9, _2=0.1), said], text="1").unusable == UNTOLD
    assert read([verdict("1", _1=0.9, _2=0.1), said], text="1").unusable == UNTOLD
    if one[0] in "ĠĊ":
        sentence = sure("ĠA", "ĠâĢ", "ĵ", "ĠcafÃ©", ".", "Ċ", "The", "Ġbetter", "Ġresponse", "Ġis")
    else:
        sentence = sure("▁A", "▁–", "▁caf", "<0xC3>", "<0xA9>", ".", "<0x0A>", "The▁better", "▁response", "▁is")
    text = "A – café.\nThe better response is 1"
    assert value_and_mass(read([*sentence, said, *sure("Ċ")], text=text)) == (0.75, 0.8)


def test_alternatives_in_pieces_beside_a_token_in_text() -> None:
    said = Place("1", math.log(0.6), (("▁1", math.log(0.6)), ("▁2", math.log(0.2)), ("Ċ", math.log(0.01))))
    assert value_and_mass(read([said], text="1")) == (0.75, 0.8)


WORDS_OF = st.sampled_from(["1", " 1", "2", " 2", " is", " better", ".", "\n", " é", " Response", "</s>", "11"])
TAG_WORDS = st.sampled_from(
    [["</think>"], ["</", "think", ">"], ["[/THINK]"], ["<|end|>", "<|start|>", "assistant"], []]
)
SCHEMES = {
    "text": lambda token: token,
    "byte-level": lambda token: token.replace(" ", "Ġ").replace("\n", "Ċ").replace("é", "Ã©"),
    "sentencepiece": lambda token: token.replace(" ", "▁").replace("\n", "<0x0A>"),
}


@settings(max_examples=500, deadline=None)
@given(
    st.lists(WORDS_OF, max_size=20),
    TAG_WORDS,
    st.sampled_from([["1"], [" 1"], ["2"], ["The", " answer", " is", " ", "1", "."], ["2", "\n\n", "Why", "?"]]),
    st.lists(st.sampled_from(STOPS), max_size=2),
    st.sampled_from(list(SCHEMES)),
    st.booleans(),
    st.sampled_from(["all", "thought", "answer"]),
)
def test_nothing_but_the_answer_is_read(
    thought: list[str], tag: list[str], answer: list[str], stops: list[str], scheme: str, told: bool, covers: str
) -> None:
    """Each place has a probability of its own, so that the value tells the place that it was read at."""
    tokens = {"all": [*thought, *tag, *answer, *stops], "thought": [*thought, *tag], "answer": [*answer, *stops]}[
        covers
    ]
    shares = [(number + 1) / (len(tokens) + 1) for number in range(len(tokens))]
    spell = SCHEMES[scheme]
    places = [
        place(spell(token), [(spell(token), share), (spell(swapped(token)), 1.0 - share)], share)
        for token, share in zip(tokens, shares, strict=True)
    ]
    said = "".join(thought).strip()
    reading = read(places[-32:], text="".join(answer).strip(), reasoning=said if told and said else None)
    value = HELPFUL.find("".join(answer))
    assert value is not None
    if reading.method == "logprobs":
        # Where nothing is known of a thought, or it is the answer word for word, one cannot be told from the other.
        if covers == "thought" and (not told or said.replace("</s>", "").strip() in ("", "".join(answer).strip())):
            return
        label = next(number for number, token in enumerate(answer) if token.strip() in ("1", "2"))
        share = shares[label if covers == "answer" else len(thought) + len(tag) + label]
        assert reading.value == pytest.approx(share if value[0] == 0 else 1.0 - share, abs=1e-6)
    else:
        assert reading.value == 1.0 - value[0]
        assert reading.unusable is not None or not places
        untold = covers == "all" and bool(said) and not tag and not told
        assert covers == "thought" or scheme != "text" or (untold and reading.unusable == UNTOLD)


def swapped(token: str) -> str:
    return token.translate(str.maketrans("12", "21")) if token.strip() in ("1", "2") else f"{token}~"


def test_tokens_that_split_a_character() -> None:
    halves = [*sure("�", "�", ".\n", "The answer", " is "), verdict("1", _1=0.6, _2=0.2), *sure(".\n", "�", "�")]
    assert value_and_mass(read(halves, text="é.\nThe answer is 1.\né")) == (0.75, 0.8)
    bytes_of = [*sure("\\xf0\\x9f", "\\x98\\x80", " Answer", ":"), verdict("1", _1=0.6, _2=0.2)]
    assert value_and_mass(read(bytes_of, text="😀 Answer: 1")) == (0.75, 0.8)


def test_an_answer_that_stands_twice() -> None:
    last = [*sure("Answer", ":"), verdict("2", _2=0.75, _1=0.25)]
    places = [*sure("Answer", ":"), OTHER, *sure("\n\n"), *last]
    assert value_and_mass(read(places, text="Answer: 2\n\nAnswer: 2")) == (0.25, 1.0)
    assert value_and_mass(read([*places[:-3], *sure("</think>"), *last], text="Answer: 2")) == (0.25, 1.0)
    assert read(places, text="Answer: 2").unusable == UNTOLD


@pytest.mark.parametrize(
    "header",
    [
        ["<|start|>", "assistant"],
        ["<|end|>", "<|start|>", "assistant", "<|channel|>", "final", "<|message|>"],
        ["<|im_end|>", "\n", "<|im_start|>", "assistant", "\n"],
        ["<|start_header_id|>", "assistant", "<|end_header_id|>", "\n\n"],
        ["<start_of_turn>", "model", "\n"],
        ["<|begin_of_text|>"],
    ],
)
def test_words_before_the_answer_that_nothing_tells_of(header: list[str]) -> None:
    """A thought that comes apart as a summary: its last word is no answer, though it is the answer's own."""
    musing = sure("Perhaps", " it", " is", " ")
    for reasoning in (None, "Both were compared.", "Perhaps it is 2."):
        for stop in ([], sure("<|im_end|>")):
            reading = read([*musing, OTHER, *stop], text="2", reasoning=reasoning)
            unused = "they are of the thought alone" if reasoning == "Perhaps it is 2." else UNTOLD
            assert (reading.value, reading.method, reading.unusable) == (0.0, "text", unused)
    # Of a thought that is known word for word, and after a tag or a turn's header, it is: .7 / (.7 + .3).
    assert value_and_mass(read([*musing, *sure("1", "?"), OTHER], text="2", reasoning="Perhaps it is 1?")) == (0.3, 1.0)
    ended = [*sure("[BOS]"), *musing, *sure("1", "?", "<|eom|>"), OTHER]
    assert value_and_mass(read(ended, text="2", reasoning="Perhaps it is 1?")) == (0.3, 1.0)
    for before in (sure("</think>"), sure("\n", "[/THINK]", "\n"), sure(*header)):
        reading = read([*musing, *before, OTHER, *sure("<|im_end|>")], text="2", reasoning="Both were compared.")
        assert value_and_mass(reading) == (0.3, 1.0)
        assert value_and_mass(read([*before, OTHER], text="2")) == (0.3, 1.0)
    # Words after these are none of the answer's either.
    for before in (sure("</think>"), sure(*header)):
        assert read([*before, *musing, OTHER], text="2").unusable == UNTOLD
    # A thought that has only begun, however the list goes on.
    for after in ([], sure("###")):
        reading = read([*sure("<think>"), OTHER, *after], text="2", reasoning="Both were compared.")
        assert (reading.method, reading.unusable) == ("text", "they end within the thought")


@pytest.mark.parametrize(
    "closing", [["", "assistant", "", "final", ""], ["\n", "Here", " is", " my", " response", ":", "\n\n"]]
)
def test_a_long_thought_that_ends_in_words(closing: list[str]) -> None:
    """Servers that show special tokens as nothing: of a long thought the last 32 places have its end alone."""
    words = sure(*[f" w{number}" for number in range(40)], " so", " 1", ".")
    for reasoning in (None, "A summary.", "".join(one.token for one in words).strip()):
        reading = read([*words, *sure(*closing), OTHER][-32:], text="2", reasoning=reasoning)
        assert value_and_mass(reading) == (0.3, 1.0)
    assert read([*words, *sure(*closing[:-3]), OTHER][-32:], text="2").unusable == UNTOLD


def test_of_a_long_answer_the_last_places_are_kept() -> None:
    words = [f" word{number}" for number in range(60)]
    text = f"{''.join(words).strip()}. The better response is 1"
    places = [*sure(*words, ".", " The", " better", " response", " is", " "), ONE]
    assert value_and_mass(read(places[-32:], text=text)) == (0.8, 1.0)
    assert value_and_mass(read([*places, *sure("<|eot_id|>")][-32:], text=text)) == (0.8, 1.0)
    # The verdict stands before them.
    first = f"1\n\n{''.join(words).strip()}"
    reading = read([ONE, *sure("\n\n", *words)][-32:], text=first)
    assert (reading.value, reading.method) == (1.0, "text")
    assert reading.unusable == "the verdict stands before the last 32 tokens, which are those that are kept"
    # Fewer places than are kept cover an answer whole or not at all.
    reading = read([*sure(" is", " "), ONE], text=text)
    assert reading.unusable == "their tokens are not those of the answer"


# Labels of several tokens ---------------------------------------------------------------------------------------------

DIGITS = dict.fromkeys((f"_{number}" for number in (2, 3, 4, 5, 6, 8, 9)), 1e-6)


def test_the_expected_rating_by_hand() -> None:
    # From 0 to 9: 0*.2 + 5*.3 + 9*.4 + (1+2+3+4+6+7+8 = 31)*.01, over .2 + .3 + .4 + 7*.01
    digits = {str(n): {0: 0.2, 5: 0.3, 9: 0.4}.get(n, 0.01) for n in range(10)}
    expected = pytest.approx(((1.5 + 3.6 + 0.31) / 0.97, 0.97), abs=1e-6)
    assert value_and_mass(read([place("9", digits)], NINE)) == expected
    # "10" is no answer there, however likely: neither "1" nor anything else gets its probability.
    assert value_and_mass(read([place("9", {**digits, "10": 0.03})], NINE)) == expected
    # Every label listed: (1*.1 + 2*.1 + 7*.4 + 10*.2 + 6 labels of .02, which sum to 3+4+5+6+8+9 = 35) / .92
    listed = verdict("7", _1=0.1, _2=0.1, _7=0.4, _10=0.2, _3=0.02, _4=0.02, _5=0.02, _6=0.02, _8=0.02, _9=0.02, x=0.05)
    assert value_and_mass(read([listed], TEN)) == pytest.approx(((0.3 + 2.8 + 2.0 + 0.7) / 0.92, 0.92), abs=1e-6)


def test_a_rating_that_is_not_listed_is_bounded_not_impossible() -> None:
    unlisted = [1, 2, 3, 4, 5, 6, 9, 10]
    expected = (6.3 + 0.72 + 0.001 * sum(unlisted)) / (0.99 + 8 * 0.001)
    assert value_and_mass(read([verdict("7", _7=0.9, _8=0.09, x=0.001)], TEN)) == (round(expected, 6), 0.998)
    # Where few tokens are listed the bound is loose, and the written number is taken instead.
    reading = read([verdict("7", _7=0.8, _8=0.1, x=0.02)], TEN)
    assert (reading.value, reading.method, reading.unusable) == (7.0, "text", "too few alternatives are listed")


@pytest.mark.parametrize("written", ["10", "1"])
def test_ten_in_two_tokens(written: str) -> None:
    """ "1" is listed with 0.8, a quarter of it for "10", whichever of the two is written."""
    first = verdict("1", _1=0.8, _7=0.2, **DIGITS)
    after = {"0": 0.25, "5": 0.001, "end": 0.7}
    places = [first, place("0" if written == "10" else "\n", after, 0.25 if written == "10" else 0.01)]
    assert read(places, TEN, written).value == pytest.approx(0.6 * 1 + 0.2 * 10 + 0.2 * 7, abs=1e-3)


def test_a_share_of_ten_that_nothing_tells() -> None:
    # "7" is written: 0.004 are for "1" or for "10", half each; wrong by at most 9 * 0.002.
    seven = verdict("7", _7=0.996, _1=0.004 - 7e-6, **DIGITS)
    assert read([seven], TEN).value == pytest.approx(0.996 * 7 + 0.002 * 11, abs=1e-4)
    # Too much of it: the written number counts.
    reading = read([verdict("7", _7=0.8, _1=0.19, **DIGITS)], TEN)
    assert (reading.value, reading.method) == (7.0, "text")
    assert reading.unusable == "a verdict of several tokens is not listed far enough"
    # "1" is written and nothing follows.
    assert read([verdict("1", _7=0.2, _1=0.79, **DIGITS)], TEN).method == "text"
    # "10" is a token of its own here.
    whole = verdict("1", _7=0.2, _1=0.7, _10=0.09, **DIGITS)
    assert read([whole], TEN).value == pytest.approx((1.4 + 0.7 + 0.9) / 0.99, abs=1e-4)


def digit_places(written: str, *lists: dict[str, float]) -> list[Place]:
    return [place(token, listed) for token, listed in zip([*written, "</s>"], lists, strict=False)]


def test_a_scale_to_100_digit_by_digit() -> None:
    """ "85": P(8) .9 and P(7) .02 first; after "8" the digits have .9 in all and the end .1.

    8 itself: .9 * .1 = .09. 80 to 89: .9 * p. 7 or 70 to 79 has .02, whose middle is 43.
    """
    first = {"8": 0.9, "7": 0.02} | dict.fromkeys("01234569", 1e-5)
    second = {"5": 0.5, "7": 0.3, "</s>": 0.1} | dict.fromkeys("01234689", 0.0125)
    third = {"</s>": 0.99, ".": 0.001}
    reading = read(digit_places("85", first, second, third), HUNDRED, "85")
    rest = sum(80 + n for n in (0, 1, 2, 3, 4, 6, 8, 9)) * 0.0125
    assert reading.value == pytest.approx((0.9 * (8 * 0.1 + 85 * 0.5 + 87 * 0.3 + rest) + 0.02 * 43) / 0.92, abs=0.01)
    assert reading.mass == pytest.approx(0.92, abs=1e-3)
    # With .15 on 7 or 70 to 79 nothing can be said: .15 * 36 is more than 100 / 36.
    first = {"8": 0.77, "7": 0.15} | dict.fromkeys("01234569", 1e-5)
    reading = read(digit_places("85", first, second, third), HUNDRED, "85")
    assert (reading.value, reading.method) == (85.0, "text")
    # In one token each, everything is listed at one place.
    listed = {"85": 0.5, "80": 0.3, "90": 0.15, "75": 0.04} | {str(n): 1e-6 for n in range(10, 26)}
    assert read([place("85", listed)], HUNDRED).value == pytest.approx((42.5 + 24 + 13.5 + 3) / 0.99, abs=0.01)


@pytest.mark.parametrize("written", ["1", "2"])
def test_labels_of_several_words(written: str) -> None:
    """The first token is the same, and the second decides; a third one belongs to the label no more."""
    decides = place(f" {written}", {" 1": 0.6, " 2": 0.3})
    places = [place("Response", {"Response": 0.9, "The": 0.05}), decides, *sure(".")]
    # .9 * .6 and .9 * .3
    assert value_and_mass(read(places, RESPONSES)) == (0.666667, 0.81)
    # Another word before it: .6 / .9
    alone = [*sure("Answer"), place(f" {written}", {" 1": 0.6, " 2": 0.3}), *sure(" is", " better", ".")]
    assert value_and_mass(read(alone, RESPONSES)) == (0.666667, 0.9)
    apart = [place("Response", {"Response": 0.9, "The": 0.05}), *sure(" ")]
    apart += [place(written, {"1": 0.6, "2": 0.3}), *sure(".")]
    assert read(apart, RESPONSES).value == 0.666667


def test_labels_in_brackets() -> None:
    opened, decides = place("[[", {"[[": 0.9, "A": 0.05}), place("A", {"A": 0.8, "B": 0.1})
    assert value_and_mass(read([opened, decides, *sure("]]")], BRACKETS)) == (0.888889, 0.81)
    merged = place("[[A", {"[[A": 0.8, "[[B": 0.1})
    assert value_and_mass(read([*sure("My", " verdict", ":", " "), merged, *sure("]]")], BRACKETS)) == (0.888889, 0.9)
    # The one that is written is listed with a blank, which is no label here, and no label that is not listed either.
    spaced = [place("[[", {"[[": 0.9, "A": 0.05}), place("A", {" A": 0.6, "B": 0.3, "x": 0.01}, 0.6), *sure("]]")]
    reading = read(spaced, BRACKETS)
    assert (reading.value, reading.unusable) == (1.0, "a verdict of several tokens is not listed far enough")
    # "[" may become either: the middle of .04, and .02 in doubt.
    opened = place("[[", {"[[": 0.9, "[": 0.04})
    value = (0.9 * 0.8 + 0.02) / (0.9 * 0.9 + 0.04)
    assert value_and_mass(read([opened, decides, *sure("]]")], BRACKETS)) == (round(value, 6), 0.85)
    opened = place("[[", {"[[": 0.5, "[": 0.4})
    assert read([opened, decides, *sure("]]")], BRACKETS).method == "text"


def test_labels_that_are_written_otherwise() -> None:
    said = [*sure("The"), place(" first", {" first": 0.6, " second": 0.2}), *sure(" response", " is", " better", ".")]
    assert value_and_mass(read(said)) == (0.75, 0.8)


def test_words_in_pieces() -> None:
    pieces = [place("sec", {"sec": 0.6, "fir": 0.3}), *sure("ond")]
    assert value_and_mass(read(pieces, WORDS)) == (0.333333, 0.9)
    assert read([*sure("The", " answer", " is "), *pieces, *sure(".")], WORDS).value == 0.333333


def test_a_label_that_begins_another() -> None:
    template = Template("t", TEMPLATES["compact"].user, labels=("A", "AB"))
    ends = place("</s>", {"</s>": 0.75, "B": 0.25})
    assert value_and_mass(read([place("A", {"A": 0.8, "x": 0.1}), ends], template, "A")) == (0.75, 0.8)
    goes_on = place("B", {"</s>": 0.75, "B": 0.25})
    assert value_and_mass(read([place("A", {"A": 0.8, "x": 0.1}), goes_on], template, "AB")) == (0.75, 0.8)
    # "B" is not listed after "A": it has at most .05 of .8, and half of that is taken.
    ends = place("</s>", {"</s>": 0.9, "x": 0.05})
    assert read([place("A", {"A": 0.8, "x": 0.1}), ends], template, "A").value == pytest.approx(0.975)


@st.composite
def tries(draw: st.DrawFn) -> tuple[tuple[int, int], dict[str, dict[str, float]], str]:
    """A scale, the next token's probabilities after each beginning of its numbers, and the number that is written."""
    low = draw(st.sampled_from([0, 1, 5, 10]))
    scale = (low, draw(st.integers(low + 1, 100)))
    numbers = [str(n) for n in range(scale[0], scale[1] + 1)]
    rng = random.Random(draw(st.integers(0, 10**6)))
    sharp = draw(st.sampled_from([1.0, 3.0, 6.0, 10.0]))
    chunks = draw(st.booleans())  # whether two digits may be one token
    after: dict[str, dict[str, float]] = {}
    for text in ["", *numbers, *{n[:1] for n in numbers}, *{n[:2] for n in numbers}]:
        goes_on = {n[len(text) :] for n in numbers if n.startswith(text) and n != text}
        size = 2 if chunks else 1  # "100" is "10" and "0": a tokenizer takes as much as it can
        tokens = {rest[:size] for rest in goes_on if not (chunks and len(text) == 1)}
        tokens |= {"</s>"} if text in numbers else set()
        weights = {token: math.exp(sharp * rng.gauss(0, 1)) for token in sorted(tokens)}
        total = sum(weights.values())
        after.setdefault(text, {token: max(weight / total, 1e-9) for token, weight in weights.items()})
    return scale, after, draw(st.sampled_from(numbers))


def chances(after: dict[str, dict[str, float]], text: str = "", p: float = 1.0) -> dict[str, float]:
    """The probability of each number, by walking every path."""
    found: dict[str, float] = {}
    for token, share in after[text].items():
        paths = {text: p * share} if token == "</s>" else chances(after, text + token, p * share)
        for number, value in paths.items():
            found[number] = found.get(number, 0.0) + value
    return found


@settings(max_examples=300, deadline=None)
@given(tries(), st.integers(2, 20))
def test_the_truth_is_within_the_doubt(drawn: Any, count: int) -> None:
    scale, after, written = drawn
    template = rating_template("compact", scale)
    truth = chances(after)
    # The path of the written number: as a tokenizer would, the longest token first.
    places, text = list[Place](), ""
    while True:
        nexts = after[text]
        token = max((t for t in nexts if (written + "</s>")[len(text) :].startswith(t)), key=len, default=None)
        if token is None:
            return  # another tokenization
        top = sorted(nexts.items(), key=lambda one: -one[1])[:count]
        places.append(place(token, dict(top), nexts[token]))
        if token == "</s>":
            break
        text += token
    found = expected_value(places, template.labels.index(written), template)
    if isinstance(found, Expected):
        exact = sum(int(number) * p for number, p in truth.items()) / sum(truth.values())
        assert abs(found.value - exact) <= found.doubt + 1e-6
        assert found.doubt <= template.tolerance
        assert scale[0] <= found.value <= scale[1]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.sampled_from(["as it comes", "with it", "without it"]))
def test_the_truth_of_two_labels_is_within_the_doubt(seed: int, count: int, lists: str) -> None:
    """Of lists of the likeliest tokens, in which servers may or may not show the written one whatever it has."""
    rng = random.Random(seed)
    sharp, names = rng.choice([1.0, 3.0, 6.0]), ["1", "2", *(f"w{n}" for n in range(rng.randint(1, 20)))]
    weights = [math.exp(sharp * rng.gauss(0, 1)) for _ in names]
    shares = {name: weight / sum(weights) for name, weight in zip(names, weights, strict=True)}
    written = rng.choice("12")
    top = dict(sorted(shares.items(), key=lambda one: -one[1])[:count])
    if lists == "with it":
        top.setdefault(written, shares[written])
    elif lists == "without it":
        top.pop(written, None)
    truth = shares["1"] / (shares["1"] + shares["2"])
    found = expected_value([place(written, top, shares[written])], int(written) - 1, HELPFUL)
    if isinstance(found, Expected):
        assert abs(found.value - truth) <= found.doubt + 1e-6
        assert found.doubt <= 0.5 + 1e-6
        if not {"1", "2"} <= set(top) | {written}:  # a bound alone speaks for the other one
            assert found.value >= 0.5 - 1e-6 if written == "1" else found.value <= 0.5 + 1e-6
    else:
        assert not {"1", "2"} <= set(top) or len(top) < 3
    # Without its number the written token is read where it is listed, and nowhere else.
    unknown = expected_value([Place(written, None, place(written, top).listed)], int(written) - 1, HELPFUL)
    assert isinstance(unknown, str) or written in top


def test_the_oracle_can_fail() -> None:
    after = {"": {"1": 0.5, "7": 0.5}, "1": {"0": 0.25, "</s>": 0.75}, "7": {"</s>": 1.0}, "10": {"</s>": 1.0}}
    assert chances(after) == {"1": 0.375, "10": 0.125, "7": 0.5}


# Answers, thoughts, ties ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "finish", "value", "reason"),
    [
        ("2", "stop", 0.0, None),
        ("<think>\nResponse 1 is better. But no.\n</think>\n\n2", "stop", 0.0, None),
        ("Response 1 is better. But no.\n</think>\n\n2", "stop", 0.0, None),
        ("<think>\nThe better response is 1, is it not", "length", None, "cut off at 16 tokens in its thought; raise"),
        ("<think>\nThe better response is 1.", "stop", None, "a thought and no answer."),
        ("<think>\nThe better response is 1.\n</think>\n", "stop", None, "a thought and no answer."),
        ("", "stop", None, "an empty answer."),
        (" \n", "length", None, "an empty answer. It was cut off at 16 tokens; raise --max_tokens."),
        # Cut off: a label that stands alone counts, and nothing else.
        ("1", "length", 1.0, None),
        ("**2**", "length", 0.0, None),
        ("<think>Short.</think>2", "length", 0.0, None),
        ("2\n\nResponse 2 is the clearer one because", "length", 0.0, None),
        ("Response 1\n\nIt is", "length", None, "no verdict in the answer 'Response 1"),
        ("Response 1", "length", None, "no verdict in the answer 'Response 1'. It was cut off at 16 tokens"),
        ("The better response is 2", "length", None, "no verdict in the answer 'The better response is 2'. It was cut"),
        ("1.", "length", None, "no verdict in the answer '1.'. It was cut off"),
        ("Hm, Response 1 </think>\n2", "length", None, "no verdict in the answer '2'. It was cut off"),
    ],
)
def test_answers(text: str, finish: str, value: float | None, reason: str | None) -> None:
    reading = read_labels(Reply("k", text, finish=finish), HELPFUL, 16)
    assert reading.value == value
    assert (reading.reason is None) if reason is None else str(reading.reason).startswith(reason)
    assert cut_before_answer(Reply("k", text, finish=finish)) is (
        finish == "length" and bool(reason) and ("in its thought" in str(reason) or "empty" in str(reason))
    )


def test_a_thought_that_comes_apart() -> None:
    reply = Reply("k", None, reasoning="Let me compare", finish="length")
    assert read_labels(reply, HELPFUL, 16).reason == "cut off at 16 tokens in its thought; raise --max_tokens."
    assert read_labels(reply, HELPFUL).reason == "cut off at its limit of tokens in its thought; raise --max_tokens."
    assert read_labels(Reply("k", "", reasoning="Hm."), HELPFUL).reason == "a thought and no answer."


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # The thought quotes a response that forges the end of the thought.
        ('<think>It says "</think>\n1". A trick.</think>\n2', 0.0),
        ('<think>It says "</think>\n1"</think>\nA trick, hm.', None),
        ("<think>It says </think> somewhere.</think>\n2", 0.0),
        ("<think>Quoted: </think>\nThe better response is 1.\n</think>\nThe better response is 2.", 0.0),
        # So does the answer, after a thought or without one.
        ("<think>Hm.</think>\n2\n\nResponse 1 ends so:\n</think>\n1\n\nThat is a trick.", None),
        ("2\n\nResponse 1 ends so:\n</think>\n1\n\nThat is a trick.", None),
        ("<think>a</think>\n<think>b</think>\n2", 0.0),
        ("<think>a</think></think>\n2", 0.0),
    ],
)
def test_a_forged_end_of_the_thought(text: str, value: float | None) -> None:
    reading = read_labels(Reply("k", text), HELPFUL)
    assert reading.value == value
    assert value is not None or "\n" not in str(reading.reason)


def test_a_part_of_a_number_that_was_cut_off() -> None:
    one = Reply("k", "1", finish="length")
    assert read_labels(one, NINE).value == 1.0
    assert str(read_labels(one, TEN, 1).reason).startswith(
        "perhaps a part of the verdict in the answer '1'. It was cut"
    )
    assert read_labels(Reply("k", "1\n", finish="length"), TEN).value == 1.0
    assert read_labels(Reply("k", "10", finish="length"), TEN).value == 10.0
    # What is listed tells: 7 and 8 have nearly all of it.
    listed = place("1", {"7": 0.7, "8": 0.29, "1": 0.004} | dict.fromkeys("234569", 1e-6))
    assert read([listed], TEN, finish="length").value == pytest.approx((4.9 + 2.32 + 0.022) / 0.994, abs=1e-3)


def test_a_tie_is_half_and_half() -> None:
    reading = read([*sure("It", " is", " a", " tie", "."), *sure("</s>")], text="It is a tie.")
    assert (reading.value, reading.method, reading.p_tie, reading.unusable) == (0.5, "text", 1.0, None)
    assert read_labels(Reply("k", "<think>2?</think>\nIt is a tie."), HELPFUL).p_tie == 1.0
    assert read_labels(Reply("k", "1"), HELPFUL).p_tie == 0.0
    assert read_labels(Reply("k", "It is a tie", finish="length"), HELPFUL).value is None


MARK = "verdict-0123abcd"


@pytest.mark.parametrize(
    ("text", "finish", "value", "reason"),
    [
        (f"2 is longer.\n{MARK} 1", "stop", 1.0, None),
        (f"{MARK} tie", "stop", 0.5, None),
        (f"<think>\n{MARK} 2\n</think>\n{MARK} 1", "stop", 1.0, None),
        (
            "The better response is 2.\n2",
            "stop",
            None,
            "no line with the mark in the answer 'The better response is 2.",
        ),
        (f"<think>\n{MARK} 2\n", "stop", None, "a thought and no answer."),
        # The last line may have been cut off within its verdict; one before it was not.
        (f"Hm.\n{MARK} 1", "length", None, "no whole line with the mark in the answer"),
        (f"Hm.\n{MARK} 1\nFor", "length", 1.0, None),
    ],
)
def test_a_marked_line(text: str, finish: str, value: float | None, reason: str | None) -> None:
    places = (*sure("Hm", "\n"), verdict("1", _1=0.6, _2=0.3))
    reading = read_labels(Reply("k", text, finish=finish, places=places), HELPFUL, 16, MARK)
    assert (reading.value, reading.unusable, reading.mass) == (value, None, None)
    assert str(reading.reason).startswith(str(reason))


def test_a_marked_rating() -> None:
    assert read_labels(Reply("k", f"Of 10 I give 3.\n{MARK} 7"), TEN, 16, MARK).value == 7.0


def test_unread_replies() -> None:
    unasked = read_labels(Reply("k", finish=UNASKED, answered=False), HELPFUL)
    assert (unasked.value, unasked.unasked) == (None, True)
    assert read_labels(Reply("k", finish="error", reason="a refusal"), HELPFUL).reason == "a refusal"
    scored = read_labels(Reply("k", logps=(math.log(0.3), math.log(0.1))), HELPFUL)
    assert (scored.value, scored.mass, scored.method) == (0.75, 0.4, "logprobs")
    assert "None" not in str(read_labels(Reply("k", logps=(None, None)), HELPFUL).reason)


def test_reasons_are_one_short_line() -> None:
    reading = read_labels(Reply("k", "Hm\n" * 200), HELPFUL)
    assert reading.value is None
    assert len(str(reading.reason)) < 160
    assert "\n" not in str(reading.reason)


# Anything at all ------------------------------------------------------------------------------------------------------

WEIRD = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    ["1", "2", " 1", "Ġ1", "</think>", "<think>", "<|im_end|>", "", "\n", "10", "0", "�", "<0x31>", "\ud800", "tie"]
)
LOGPS = st.floats(-800, 0.01) | st.sampled_from([0.0, -0.1, -1.0, -9999.0, -math.inf, math.nan, math.inf, 1e308])
PLACES = st.lists(
    st.builds(Place, WEIRD, st.none() | LOGPS, st.lists(st.tuples(WEIRD, LOGPS), max_size=6).map(tuple)), max_size=8
)
TEXTS = WEIRD | st.lists(WEIRD, max_size=8).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.none() | PLACES.map(tuple),
    st.sampled_from(["stop", "length"]),
    st.sampled_from([HELPFUL, LETTERS, WORDS, RESPONSES, BRACKETS, NINE, TEN, HUNDRED]),
    st.booleans(),
)
@example("1", None, (Place("1", 1e308, (("1", 1e308), ("2", math.nan))),), "stop", HELPFUL, False)
def test_any_reply_can_be_read(
    text: str | None, reasoning: str | None, places: Any, finish: str, template: BaseTemplate, spell: bool
) -> None:
    if spell and places:
        text = "".join(one.token for one in places)
    reading = read_labels(Reply("k", text, reasoning, places=places, finish=finish), template, 16)
    assert (reading.value is None) != (reading.reason is None)
    if reading.value is None:
        assert "\n" not in str(reading.reason)
    else:
        assert min(template.values) <= reading.value <= max(template.values)
        assert reading.mass is None or 0.0 <= reading.mass <= 1.0
        assert (reading.method == "logprobs") == (reading.mass is not None)


def test_long_replies_take_linear_time() -> None:
    """Twice the text takes about twice the time, and never much of it; the verdict's own parser is measured apart."""
    template = Template("t", TEMPLATES["compact"].user, labels=("zq1", "zq2"))
    for piece in ("</think>", "<think>", "<|a|>", "a ", "\n", "<think></think>", "[THINK]", "</s>", "1 ", "<analysis "):
        for text in (piece * (100_000 // len(piece)), "<think>" + piece * (100_000 // len(piece)) + "</think>zq1"):
            start = time.process_time()
            read_labels(Reply("k", text, places=tuple(sure(*([piece] * 32)))), template)
            assert time.process_time() - start < 5.0, piece  # a square would be minutes


# Over HTTP ------------------------------------------------------------------------------------------------------------


def test_an_endpoint_that_lists_its_whole_output(server: Server, tmp_path: Path) -> None:
    """Thought, answer and end token, two tokens of one spelling in both: by hand (.5 + .1) / (.5 + .1 + .2) = .75."""

    def listed(token: str, *pairs: tuple[str, float]) -> dict[str, Any]:
        all_of_them = [{"token": t, "logprob": math.log(p), "bytes": list(t.encode())} for t, p in pairs]
        return {**all_of_them[0], "top_logprobs": all_of_them, "token": token}

    def answer(body: dict[str, Any], number: int) -> Any:
        done = completion("1")
        words = [
            listed(token, (token, 0.9), ("~", 0.01)) for token in ("<think>", "Hm", ",", " ", "2", "?", "</think>")
        ]
        said = listed("1", ("1", 0.5), ("2", 0.2), ("1", 0.1), ("~", 0.001))
        end = listed("<|im_end|>", ("<|im_end|>", 0.99), ("~", 0.001))
        done["choices"][0]["logprobs"] = {"content": [*words, said, end]}
        done["choices"][0]["message"]["reasoning_content"] = "Hm, 2?"
        return done

    server.answer = answer
    method = load_judge(JudgeConfig(judge="api", judge_model="m", base_url=server.url))
    done = judge_pairs([Pair("Question", "good", "bad")], method, tmp_path)
    assert done.methods == {"logprobs": 2}
    assert (done.judgments[0].z_ab, done.judgments[0].z_ba, done.mass) == (0.75, 0.25, pytest.approx(0.8))


@pytest.mark.parametrize(
    ("logprobs", "why"),
    [
        ("unsupported", "they came in a form that cannot be used"),
        (True, "they came in a form that cannot be used"),
        ({"content": {"tokens": ["1"], "token_logprobs": [-0.5]}}, "they came in a form that cannot be used"),
        ({"content": [{"token": "2", "logprob": None, "top_logprobs": [{"token": "1", "logprob": -0.5}]}]}, UNLISTED),
        ({"content": [{"token": "2", "top_logprobs": [{"token": "1", "logprob": -9.0}]}]}, UNLISTED),
        ({"content": [{"token": "2", "logprob": -9999, "top_logprobs": [{"token": "1", "logprob": -2.0}]}]}, UNLISTED),
    ],
)
def test_an_endpoint_whose_log_probabilities_are_of_no_use(
    server: Server, tmp_path: Path, logprobs: Any, why: str
) -> None:
    """The words count in both orders, "2" for the first response and for the second, and it is said why."""

    def answer(body: dict[str, Any], number: int) -> Any:
        done = completion("2")
        done["choices"][0]["logprobs"] = logprobs
        return done

    server.answer = answer
    method = load_judge(JudgeConfig(judge="api", judge_model="m", base_url=server.url))
    done = judge_pairs([Pair("Question", "good", "bad")], method, tmp_path)
    assert (done.judgments[0].z_ab, done.judgments[0].z_ba) == (0.0, 1.0)
    assert (done.methods, done.unusable) == ({"text": 2}, {why: 2})


@pytest.mark.parametrize("shift", [None, 1, 2])
def test_an_endpoint_that_mixes_up_the_bytes(server: Server, tmp_path: Path, shift: int | None) -> None:
    """Of the written token for all, or of the next ones in the list: by hand .6 / (.6 + .2) = .75."""
    listed = [("1", 0.6), ("2", 0.2), ("The", 0.1)]

    def answer(body: dict[str, Any], number: int) -> Any:
        done = completion("1")
        raw = [list(token.encode()) for token, _ in listed]
        bytes_of = [raw[0]] * 3 if shift is None else raw[shift:] + raw[:shift]
        tops = [
            {"token": token, "logprob": math.log(p), "bytes": given}
            for (token, p), given in zip(listed, bytes_of, strict=True)
        ]
        said = {"token": "1", "logprob": math.log(0.6), "bytes": raw[0], "top_logprobs": tops}
        done["choices"][0]["logprobs"] = {"content": [said]}
        return done

    server.answer = answer
    method = load_judge(JudgeConfig(judge="api", judge_model="m", base_url=server.url))
    done = judge_pairs([Pair("Question", "good", "bad")], method, tmp_path)
    assert (done.judgments[0].z_ab, done.judgments[0].z_ba, done.unusable) == (0.75, 0.25, {})


def test_orders_of_a_list_do_not_matter() -> None:
    listed = [("1", 0.5), ("2", 0.2), (" 1", 0.1), ("x", 0.05)]
    values = {read([place("1", list(order))]).value for order in itertools.permutations(listed)}
    assert values == {0.75}
