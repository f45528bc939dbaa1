"""z has one orientation: it survives swapping, splitting, storing and turning into training data."""

from __future__ import annotations

import dataclasses
import json
import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.files.selection import split_of
from rlaif.records import (
    Judgment,
    Pair,
    Preference,
    Rating,
    Response,
    Vote,
    check_probability,
    check_prompt,
    complement,
    label_value,
    last_user_text,
    prompt_hash,
)

PROBABILITY = st.floats(0.0, 1.0)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1)
PROMPT = st.one_of(
    TEXT.filter(str.strip),
    st.lists(
        st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXT}),
        min_size=1,
        max_size=4,
    ).filter(lambda messages: any(message["content"].strip() for message in messages)),
)
PAIRS = st.builds(
    Pair,
    prompt=PROMPT,
    response_a=TEXT,
    response_b=TEXT,
    model_a=st.none() | TEXT,
    model_b=st.none() | TEXT,
    label=st.sampled_from([None, "a", "b", "tie"]),
    extra=st.dictionaries(st.sampled_from(["subset", "source"]), TEXT),
)


@st.composite
def judgments(draw: st.DrawFn) -> Judgment:
    pair = draw(PAIRS)
    if draw(st.booleans()):
        return Judgment(pair=pair, z=None, reason="order ab: timed out", z_ab=draw(st.none() | PROBABILITY))
    more = {
        "flags": ("marker",),
        "vote_keys": ("k1", "k2"),
        "method_hash": "m" * 16,
        "reading_version": 1,
        "votes": 2,
        "readable": 2,
    }
    return Judgment(pair=pair, z=draw(PROBABILITY), z_ab=draw(PROBABILITY), z_ba=draw(PROBABILITY), **more)


@given(PAIRS)
def test_swapping_a_pair_twice_changes_nothing(pair: Pair) -> None:
    assert pair.swap().swap() == pair
    assert (pair.swap().response_a, pair.swap().model_b) == (pair.response_b, pair.model_a)
    assert pair.swap().label == {"a": "b", "b": "a"}.get(pair.label or "", pair.label)
    assert pair.swap().id == pair.id


@given(judgments())
def test_swapping_a_judgment_twice_changes_nothing(judgment: Judgment) -> None:
    swapped = judgment.swap()
    assert swapped.swap() == judgment
    if judgment.z is not None and swapped.z is not None:
        assert swapped.z == pytest.approx(1.0 - judgment.z, abs=1e-12)
        # In the swapped pair, "shown first" is what was shown second.
        assert swapped.z_ab == complement(judgment.z_ba)


@given(PROBABILITY)
def test_complement_is_exact(z: float) -> None:
    kept = check_probability(z)
    assert kept is not None
    assert complement(complement(kept)) == kept
    assert abs(kept - z) <= 0.5e-9 + 1e-16


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1e-9, 1.000001, 2, True, "0.5", [0.5]])
def test_what_is_no_probability_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"z is .*expected a probability in \[0, 1\]"):
        Judgment(pair=Pair("p", "a", "b"), z=value)  # type: ignore[arg-type]


@given(st.floats().filter(lambda z: not 0.0 <= z <= 1.0))
def test_every_float_outside_of_the_interval_is_refused(z: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        check_probability(z)


def test_a_judgment_has_z_or_a_reason() -> None:
    pair = Pair("p", "a", "b")
    for z, reason in ((0.5, "why"), (None, None)):
        with pytest.raises(ValueError, match="either z or a reason"):
            Judgment(pair=pair, z=z, reason=reason)


@given(judgments())
def test_a_judgment_survives_the_file(judgment: Judgment) -> None:
    assert Judgment.from_row(json.loads(json.dumps(judgment.row()))) == judgment
    # One of an older version says nothing of its method, nor of who read the replies.
    older = {name: value for name, value in judgment.row().items() if name not in ("method_hash", "reading_version")}
    assert Judgment.from_row(older) == dataclasses.replace(judgment, method_hash=None, reading_version=None)


def vote(order: str, p_first: float | None, reason: str | None = None) -> Vote:
    return Vote(key="k", pair_id="p", judge="j", template="t", order=order, sample=0, p_first=p_first, reason=reason)  # type: ignore[arg-type]


@given(PROBABILITY)
def test_a_vote_turns_p_first_to_response_a(p: float) -> None:
    assert vote("ab", p).p_a == check_probability(p)
    assert vote("ba", p).p_a == complement(check_probability(p))
    assert Vote.from_row(json.loads(json.dumps(vote("ba", p).row()))) == vote("ba", p)


def test_a_vote_is_checked() -> None:
    assert vote("ba", None, "no answer").p_a is None
    with pytest.raises(ValueError, match="order is 'aa'"):
        vote("aa", 0.5)
    with pytest.raises(ValueError, match="both or neither"):
        vote("ab", None)


def test_a_votes_row_says_what_there_is_to_say() -> None:
    plain = vote("ab", 0.25)
    assert plain.row() == {
        "key": "k",
        "pair_id": "p",
        "judge": "j",
        "template": "t",
        "order": "ab",
        "sample": 0,
        "p_first": 0.25,
    }
    failed = dataclasses.replace(vote("ba", None, "no connection"), answered=False)
    assert failed.row()["answered"] is False
    assert failed.row()["p_first"] is None
    whole = dataclasses.replace(plain, method="text", mass=0.5, text="1", usage={"prompt_tokens": 7})
    for each in (plain, failed, whole):
        assert Vote.from_row(json.loads(json.dumps(each.row()))) == each


@pytest.mark.parametrize("bought", [True, False])
def test_a_vote_of_an_older_version_is_read(bought: bool) -> None:
    """It said `bought` for what is `answered` now, and how many seconds it took."""
    row = {**vote("ba", None, "no answer").row(), "bought": bought, "seconds": 0.5, "mass": None, "text": None}
    assert Vote.from_row(row) == dataclasses.replace(vote("ba", None, "no answer"), answered=bought)


def test_a_response_is_known_by_its_content() -> None:
    one = Response("p", "a")
    assert one.id == Response("p", "a").id
    assert len({one.id, Response("p", "b").id, Response("q", "a").id, Response("p", "").id}) == 4
    assert len(bytes.fromhex(one.id)) == 8


def test_a_rating_is_a_number_or_a_reason() -> None:
    def rating(value: float | None, reason: str | None = None) -> Rating:
        return Rating("k", "r", "j", "t", 0, value, reason)

    assert rating(7.5).rating == 7.5
    assert (rating(None, "no answer").reason, rating(0.0).answered) == ("no answer", True)
    for value, reason in ((1.0, "why"), (None, None)):
        with pytest.raises(ValueError, match="got both or neither"):
            rating(value, reason)
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="expected a finite number"):
            rating(value)


def test_a_preference_prefers_chosen() -> None:
    pair = Pair("p", "short", "long", model_a="m1", model_b="m2", label="a", extra={"subset": "s"})
    # The judge prefers b: 0.1 when a is shown first, 0.3 when b is.
    made = Preference.from_judgment(Judgment(pair=pair, z=0.2, z_ab=0.1, z_ba=0.3, judge="j", template="t"))
    assert (made.chosen, made.rejected, made.z) == ("long", "short", 0.8)
    assert (made.chosen_model, made.rejected_model, made.label) == ("m2", "m1", "rejected")
    # chosen (b) stood first in order "ba", where P(b) was 0.7.
    assert (made.z_first, made.z_second) == (0.7, 0.9)
    assert made.extra == {"subset": "s"}


@given(judgments())
def test_a_preference_is_the_same_from_either_side(judgment: Judgment) -> None:
    if judgment.z is None or judgment.z == 0.5:
        with pytest.raises(ValueError, match="prefers neither"):
            Preference.from_judgment(judgment)
        return
    made = Preference.from_judgment(judgment)
    assert made == Preference.from_judgment(judgment.swap())
    assert 0.5 < made.z <= 1.0


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("  ", "prompt is empty"),
        ([], r"prompt is \[\]; expected"),
        (None, "prompt is null"),
        (["text"], "expected a message like"),
        ([{"role": "user"}], "expected text, or a list of text parts"),
        ([{"role": "user", "content": [{"type": "image", "url": "x.png"}]}], r"a part that is no text \(image\)"),
        ([{"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}], "a message with tool_calls"),
        ([{"role": "user", "content": " "}], "prompt is empty"),
        ("half an emoji: \ud83d", "half of a character"),
        ([{"role": "user", "content": "\udc80"}], "half of a character"),
    ],
)
def test_what_is_no_prompt_is_refused(prompt: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_prompt(prompt)


def test_what_is_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="response_b is 3"):
        Pair("p", "a", 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="response_a holds half of a character"):
        Pair("p", "\ud83d", "b")
    with pytest.raises(ValueError, match=r"label is .A"):
        Pair("p", "a", "b", label="A")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("a", "b", "problem"),
    [
        ("", "x", "response_a is empty"),
        ("x", " \n", "response_b is empty"),
        ("x", "x", "both responses are equal"),
        ("x", "y", None),
    ],
)
def test_a_pair_that_cannot_be_judged_says_why(a: str, b: str, problem: str | None) -> None:
    assert Pair("p", a, b).problem() == problem


def test_ids_come_from_the_content() -> None:
    pair = Pair("p", "a", "b")
    assert pair.id == Pair("p", "a", "b", label="a").id != Pair("p", "b", "a").id
    assert len(pair.id) == 16
    assert set(pair.id) <= set(string.hexdigits)
    assert dataclasses.replace(pair, response_a="c").id == pair.id  # an id, once given, stays


def test_a_string_and_its_message_are_one_prompt() -> None:
    message = [{"role": "user", "content": "Hello"}]
    assert prompt_hash("Hello") == prompt_hash(message) != prompt_hash([{"role": "system", "content": "Hello"}])
    assert last_user_text([*message, {"role": "assistant", "content": "Hi"}]) == last_user_text("Hello") == "Hello"


@given(st.lists(PROMPT, max_size=30), st.floats(0, 0.5), st.floats(0, 0.4), st.integers(0, 5))
def test_no_prompt_is_in_two_splits(prompts: list[object], validation: float, test: float, seed: int) -> None:
    def split(prompt: object) -> str:
        return split_of(prompt_hash(prompt), validation, test, seed)  # type: ignore[arg-type]

    first = [split(prompt) for prompt in prompts]
    assert first == [split(prompt) for prompt in prompts]  # of the prompt alone, not of its place
    for prompt, name in zip(prompts, first, strict=True):
        if isinstance(prompt, str):
            assert split([{"role": "user", "content": prompt}]) == name


def test_splits_have_their_shares() -> None:
    names = [split_of(str(i), 0.1, 0.2) for i in range(5000)]
    assert names.count("test") / 5000 == pytest.approx(0.2, abs=0.02)
    assert names.count("validation") / 5000 == pytest.approx(0.1, abs=0.02)
    # A larger test share takes from the others and gives nothing back.
    wider = [split_of(str(i), 0.1, 0.3) for i in range(5000)]
    assert all(new == "test" for old, new in zip(names, wider, strict=True) if old == "test")
    assert set(names) == {split_of("x", 0, 0, seed=1)} | {"validation", "test"}


def test_a_label_stands_for_a_z_of_the_same_orientation() -> None:
    assert [label_value(label) for label in ("a", "b", "tie", None)] == [1.0, 0.0, 0.5, None]
    assert [label_value(label) for label in ("chosen", "rejected", "", "A")] == [1.0, 0.0, None, None]
    for label in ("a", "b", "tie", None):
        pair = Pair("p", "x", "y", label=label)  # type: ignore[arg-type]
        assert label_value(pair.swap().label) == complement(label_value(label))
        preference = Preference.from_judgment(Judgment(pair=pair, z=0.2))
        assert label_value(preference.label) == complement(label_value(label))
