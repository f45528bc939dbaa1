"""One validation of whatever an endpoint answers with a status of 200."""

# ruff: noqa: E501 (a row of a table is a line)

from __future__ import annotations

import copy
import json
import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.models.base import Place, Reply, Usage
from rlaif.models.completion import Answer, read_completion
from rlaif.models.faults import Fault

SENT = {"temperature": 0.0, "max_tokens": 16, "logprobs": True, "top_logprobs": 20}
UNSET = object()


def token(text: str, logp: Any = -0.5, raw: Any = UNSET) -> dict[str, Any]:
    return {"token": text, "logprob": logp, "bytes": list(text.encode()) if raw is UNSET else raw}


def place(text: str, logp: Any = -0.5, tops: Any = (), raw: Any = UNSET) -> dict[str, Any]:
    return {**token(text, logp, raw), "top_logprobs": list(tops) if isinstance(tops, tuple) else tops}


def body(
    content: Any = "1", finish: Any = "stop", *, message: Any = (), choice: Any = (), **more: Any
) -> dict[str, Any]:
    return {
        "id": "x",
        "object": "chat.completion",
        "model": "m-large",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": content, **dict(message)}, "finish_reason": finish}
            | dict(choice)
        ],
        "usage": {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42},
        **more,
    }


def read(value: Any) -> Answer | Fault:
    return read_completion(value if isinstance(value, bytes) else json.dumps(value).encode(), SENT)


def answer(value: Any) -> Answer:
    found = read(value)
    assert isinstance(found, Answer), found
    return found


def fault(value: Any) -> Fault:
    found = read(value)
    assert isinstance(found, Fault), found
    return found


def test_a_plain_answer() -> None:
    tops = (token("1", -0.25), token(" 2", -1.5))
    found = answer(body("1", choice={"logprobs": {"content": [place("1", -0.25, tops)]}}, system_fingerprint="fp_7"))
    assert found == Answer(
        "1",
        places=(Place("1", -0.25, (("1", -0.25), (" 2", -1.5))),),
        usage=Usage(40, 2),
        served_by="fp_7",
    )
    assert answer(body("1")) == Answer("1", usage=Usage(40, 2), served_by="m-large")


# --- choices ---


def test_the_choice_with_index_0_is_read() -> None:
    texts = [{"index": "1", "message": {"content": "b"}}, {"index": "0", "message": {"content": "a"}}]
    assert answer({"choices": texts}).text == "a"
    two = [{"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}]
    assert answer({"choices": two}).text == "a"
    assert answer({"choices": [{"message": {"content": "c"}}, {"index": 3, "message": {"content": "d"}}]}).text == "c"
    assert answer({"choices": [None, {"message": {"content": "e"}}]}).text == "e"
    assert answer({"choices": [{"text": "legacy"}]}).text == "legacy"


@pytest.mark.parametrize("choices", [[], None, {}, "1", 7, [None], [[]], {"0": {"message": {"content": "1"}}}])
def test_a_body_without_choices_is_the_servers_fault(choices: Any) -> None:
    assert fault({"id": "x", "choices": choices}) == Fault("server", "a body without choices")


def test_what_is_no_completion_is_the_servers_fault() -> None:
    assert fault({}).words == "a body without choices"
    assert (
        fault({"model": "m", "message": {"role": "assistant", "content": "1"}, "done": True}).words
        == "a body without choices"
    )
    for message in (None, [], "1", 7):
        assert fault({"choices": [{"message": message, "delta": {"content": "1"}}]}).words == "a body without a message"
    for value, words in (
        (b"", "an empty body"),
        (b"  \n\n ", "an empty body"),
        (b"null", "a body that is null"),
        (b"[]", "a body that is a list"),
        (b"7", "a body that is a number"),
        (b"NaN", "a body that is a number"),
        (b'"1"', "a body that is a text"),
        (b"true", "a body that is true or false"),
        (b'{"choices": [{"mess', "a body that is no JSON, or is cut off"),
        (b"\x1f\x8b\x08\x00\x00", "a body that is no JSON, or is cut off"),
        (b"[" * 100_000, "a body that is no JSON, or is cut off"),
        (b'{"usage": ' + b"9" * 5000 + b"}", "a body that is no JSON, or is cut off"),
        (
            b'data: {"choices": []}\n\ndata: [DONE]\n\n',
            "a stream of events instead of an answer, which was not asked for",
        ),
        (b": PROCESSING\n\ndata: {}", "a stream of events instead of an answer, which was not asked for"),
        (b"event: message\ndata: {}", "a stream of events instead of an answer, which was not asked for"),
    ):
        assert fault(value) == Fault("server", words), value


def test_a_web_page_is_the_addresss_fault_unless_it_says_that_it_is_for_now() -> None:
    page = fault(b"\n<!DOCTYPE html><html><head><title>My models</title></head></html>")
    assert page.kind == "address"
    assert "/v1" in page.words
    for title in ("502 Bad Gateway", "Service Unavailable", "We are under maintenance"):
        page = fault(f"<html><head><title>{title}</title></head></html>".encode())
        assert (page.kind, title in page.words) == ("server", True)
    assert fault(b"<html>bad gateway</html>").kind == "server"


def test_blanks_and_a_mark_of_order_before_a_body_are_nothing() -> None:
    raw = json.dumps(body("1")).encode()
    assert answer(b"\n \n\n " + raw) == answer(b"\xef\xbb\xbf" + raw) == answer(raw)


# --- errors within ---


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ({"error": {"message": "Upstream is down", "code": 502}}, "server", "Upstream is down"),
        ({"error": {"message": "Slow", "code": 429}}, "limit", "Slow"),
        ({"error": {"message": "Add more", "code": "402"}}, "account", "Add more"),
        ({"error": {"message": "What?", "code": 400}}, "question", "What?"),
        ({"error": "something"}, "server", "something"),
        ({"error": True}, "server", "an error without words"),
        ({"error": {"message": "No.", "code": "insufficient_quota"}}, "account", "No."),
        ({"error": "Unexpected endpoint or method. (POST /chat/completions)"}, "address", "Unexpected endpoint"),
        ({"error": {"message": "logprobs is not supported"}}, "setting", "logprobs"),
        ([{"error": {"code": 429, "message": "Too fast", "status": "RESOURCE_EXHAUSTED"}}], "limit", "Too fast"),
        ({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "account", "insuff"),
        ({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "no"}}, "account", "no"),
        ({"choices": None, "base_resp": {"status_code": 1002, "status_msg": "no"}}, "limit", "no"),
        ({"choices": None, "base_resp": {"status_code": 1026, "status_msg": "no"}}, "question", "no"),
        ({"choices": None, "base_resp": {"status_code": 1013, "status_msg": "broken"}}, "server", "broken"),
        ({"detail": "went wrong"}, "server", "went wrong"),
        ({"object": "error", "message": "gone", "code": 404}, "address", "gone"),
        ({"choices": [], "message": "later"}, "server", "later"),
        (body("1 is", "error", choice={"error": {"message": "died", "code": 502}}), "server", "died"),
        (body("1", choice={"error": {"message": "Slow", "code": 429}}), "limit", "Slow"),
    ],
)  # fmt: skip
def test_an_error_within_a_200(value: Any, kind: str, words: str) -> None:
    found = fault(value)
    assert found.kind == kind
    assert words in found.words


def test_a_question_too_long_is_final_within_a_200_too() -> None:
    found = fault({"error": "Trying to keep the first 9000 tokens, but the context length is only 4096 tokens."})
    assert (found.kind, found.final) == ("question", True)


def test_what_stands_beside_an_answer_is_no_error() -> None:
    for more in ({"error": None}, {"error": ""}, {"error": {}}, {"detail": "fine"}, {"base_resp": {"status_code": 0}}):
        assert answer(body("1", **more)).text == "1"


# --- content, reasoning, refusals ---


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("1", "1", None),
        ("", "", None),
        (None, None, None),
        ([], "", None),
        ("<think>\nhm</think>\n\n1", "<think>\nhm</think>\n\n1", None),
        ([{"type": "text", "text": "1"}], "1", None),
        ([{"type": "text", "text": "1"}, {"type": "output_text", "text": "\n2"}], "1\n2", None),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "1"}],
            "1",
            "hm",
        ),
        ([{"type": "thinking", "thinking": "hm"}, {"type": "reasoning", "text": "..."}, "1"], "1", "hm..."),
        ([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "so"}]}, {"text": "1"}], "1", "so"),
        ([[{"type": "text", "text": "1"}], [[{"type": "text", "text": "2"}]]], "12", None),
        ([{"type": "thinking", "thinking": "hm"}], None, "hm"),
        (
            [{"type": "image_url", "image_url": "x"}, {"type": "text", "text": "1"}, {"type": {}, "text": "no"}],
            "1",
            None,
        ),
        ({"text": "1"}, "1", None),
        ({"type": "text", "text": "1"}, "1", None),
        ("1\ud83d", "1\ufffd", None),
        ("1 \U0001f600 é", "1 \U0001f600 é", None),
    ],
)
def test_content_of_any_shape(content: Any, text: str | None, reasoning: str | None) -> None:
    found = answer(body(content))
    assert (found.text, found.reasoning) == (text, reasoning)


@pytest.mark.parametrize("content", [7, 1.5, True, {}, {"parts": []}, [7], [None], [True], "deep"])
def test_content_of_no_shape_is_the_servers_fault(content: Any) -> None:
    if content == "deep":
        content = "1"
        for _ in range(50):
            content = [content]
    assert fault(body(content)).kind == "server"


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning": "hm"},
        {"reasoning_content": "hm"},
        {"reasoning_content": [{"type": "text", "text": "h"}, "m"]},
        {"reasoning_content": None, "reasoning": "hm"},
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "h"},
                {"text": "m"},
                {"type": "reasoning.encrypted"},
            ]
        },
        {"reasoning": {"content": "hm"}},
        {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}]},
    ],
)
def test_reasoning_that_comes_apart(message: Any) -> None:
    assert answer(body("1", message=message))[:2] == ("1", "hm")
    found = answer(body(None, "length", message=message))
    assert (found.text, found.reasoning, found.finish) == (None, "hm", "length")


@pytest.mark.parametrize("value", [None, "", [], {}, 7, True, [7, None], {"x": "y"}])
def test_reasoning_that_is_none(value: Any) -> None:
    assert answer(body("1", message={"reasoning_content": value, "reasoning": value})).reasoning is None


def test_a_refusal_gives_no_text_and_says_why() -> None:
    for value in (
        body(None, message={"refusal": "I can't judge\nthis."}),
        body("", "content_filter", message={"refusal": "I can't judge this."}),
        body([{"type": "refusal", "refusal": "I can't judge this."}]),
        body("I can't judge this.", "refusal"),
    ):
        found = answer(value)
        assert (found.text, found.places, found.finish) == (None, None, "error")
        assert found.reason == "the model refused: I can't judge this."
        assert found.usage == Usage(40, 2)
    assert answer(body(None, "refusal")).reason == "the model refused: without words"
    assert len(answer(body(None, message={"refusal": "no " * 5000})).reason or "") < 350
    assert answer(body("1", message={"refusal": None})).reason is None
    assert answer(body("1", message={"refusal": ""})).text == "1"
    assert answer(body("1", message={"refusal": {"x": 1}})).text == "1"


# --- finish reasons ---


@pytest.mark.parametrize(
    "word",
    [
        "stop",
        "STOP",
        "FinishReason.STOP",
        "eos",
        "eos_token",
        "end_turn",
        "stop_sequence",
        "COMPLETE",
        "null",
        "",
        None,
    ],
)
def test_a_whole_answer(word: Any) -> None:
    assert answer(body("1", word))[:1] + answer(body("1", word))[3:5] == ("1", "stop", None)


def test_an_answer_without_a_finish_reason_is_whole() -> None:
    assert answer({"choices": [{"message": {"content": "1"}}]}) == Answer("1")


@pytest.mark.parametrize("word", ["length", "LENGTH", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens"])
def test_an_answer_that_is_cut_off(word: str) -> None:
    found = answer(body("1 is", word, choice={"logprobs": {"content": [place("1"), place(" is")]}}))
    assert (found.text, found.finish, found.reason, len(found.places or ())) == ("1 is", "length", None, 2)


@pytest.mark.parametrize(
    "word", ["content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII", "BLOCKLIST", "sensitive"]
)
def test_an_answer_that_a_filter_stops_has_no_text(word: str) -> None:
    for content in ("1 is", "", None):
        found = answer(body(content, word, choice={"logprobs": {"content": [place("1")]}}))
        assert found[:1] + found[2:5] == (None, None, "error", "stopped by the server's content filter")


@pytest.mark.parametrize("word", ["tool_calls", "function_call", "tool_use", "stop", None])
def test_a_tool_is_no_answer_but_a_text_beside_it_is(word: Any) -> None:
    calls = {"tool_calls": [{"function": {"name": "judge"}}]}
    assert answer(body(None, word, message=calls)).reason == "asked for a tool instead of answering"
    assert answer(body("1", word, message=calls)).text == "1"
    assert answer(body("1", "tool_calls")).reason is None


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("error", "'error'"),
        ("abort", "'abort'"),
        ("insufficient_system_resource", "'insufficient_system_resource'"),
        ("network_error", "'network_error'"),
        ("OTHER", "'OTHER'"),
        ("cancelled\n", "'cancelled'"),
        (7, "a number"),
        (True, "true or false"),
        ({}, "an object"),
        (["stop"], "a list"),
    ],
)
def test_half_an_answer_is_the_servers_fault(word: Any, shown: str) -> None:
    for content in ("1", "", None):
        assert fault(body(content, word)) == Fault("server", f"half an answer: finish_reason is {shown}")


# --- usage, who served ---


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 0}, Usage(3, 0)),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 2)),
        ({"prompt_tokens": 3.0, "completion_tokens": 1.5}, Usage(3, None)),
        ({"prompt_tokens": "3", "completion_tokens": -1}, Usage()),
        ({"prompt_tokens": True, "completion_tokens": None}, Usage()),
        ({"prompt_tokens": float("nan"), "completion_tokens": float("inf")}, Usage()),
        ({"prompt_tokens": 10**400, "completion_tokens": 10**13}, Usage()),
        ({"prompt_tokens": None, "input_tokens": 5}, Usage(5, None)),
        ({"prompt_tokens": [1], "completion_tokens": {}}, Usage()),
        ({}, Usage()),
        (None, Usage()),
        ([3], Usage()),
        ("3", Usage()),
    ],
)
def test_what_nobody_counted_is_unknown(usage: Any, expected: Usage) -> None:
    assert answer(body("1", usage=usage)).usage == expected


def test_who_served() -> None:
    assert answer(body("1", model=None)).served_by is None
    assert answer(body("1", system_fingerprint="", model="m")).served_by == "m"
    assert answer(body("1", system_fingerprint={"a": 1}, model=["m"])).served_by is None
    assert answer(body("1", model="m\ud800")).served_by == "m\ufffd"


# --- log-probabilities ---


def places(logprobs: Any, content: str = "1", **more: Any) -> tuple[Place, ...] | None:
    found = answer(body(content, choice={"logprobs": logprobs}, **more))
    assert (found.unusable is not None) == (found.places == ())
    return found.places


def test_alternatives_keep_the_servers_order_and_those_listed_twice() -> None:
    tops = (token("1", -0.5), token("2", -1.0), token("1", -3.0), token("1", -3.0))
    assert places({"content": [place("1", -0.5, tops)]}) == (
        Place("1", -0.5, (("1", -0.5), ("2", -1.0), ("1", -3.0), ("1", -3.0))),
    )


@pytest.mark.parametrize(
    "bad",
    [None, "-0.1", float("nan"), float("inf"), float("-inf"), -9999, -9999.0, -1e30, 0.5, 7, True, [], {}, -(10**400)],
)
def test_what_is_no_log_probability_is_left_out(bad: Any) -> None:
    tops = (token("1", -0.5), token("2", bad), token("3", 0.0))
    assert places({"content": [place("1", bad, tops)]}) == (Place("1", None, (("1", -0.5), ("3", 0.0))),)


def test_rounding_above_zero_is_zero() -> None:
    assert places({"content": [place("1", 1e-7, (token("1", 0.01), token("2", -699)))]}) == (
        Place("1", 0.0, (("1", 0.0), ("2", -699.0))),
    )


@pytest.mark.parametrize(
    ("written", "raw", "text"),
    [
        ("Ġ1", [32, 49], " 1"),
        ("token_id:16", [49], "1"),
        ("1", None, "1"),
        ("1", [], "1"),
        ("1", "49", "1"),
        ("1", [256], "1"),
        ("1", [-1], "1"),
        ("1", ["49"], "1"),
        ("1", [49.0], "1"),
        ("1", [10**400], "1"),
        ("bytes:\\xf0\\x9f", [0xF0, 0x9F], "bytes:\\xf0\\x9f"),
        ("\ufffd", [0xF0, 0x9F, 0x98, 0x80], "\U0001f600"),
        ("▁1", [32, 49], " 1"),
        ("1", [32, 49, 10], " 1\n"),
        ("<0x31>", [49], "1"),
        ("\\x31", [49], "1"),
        ("Ã©t", [0xC3, 0xA9, 0x74], "ét"),
        ("ĊĠ", [10, 32], "\n "),
        ("", [49], "1"),
        (None, [49], "1"),
        # Whole texts, and not the same: the bytes are another token's.
        ("1", [50], "1"),
        ("2", [49], "2"),
        ("1", [0], "1"),
        ("Ġ1", [32, 50], "Ġ1"),
        ("Ã©t", [0xC3, 0xA9, 0x73], "Ã©t"),
        ("甲", [0xE4, 0xB9, 0x99], "甲"),
        ("甲", [0xE7, 0x94, 0xB2], "甲"),
        ("\ud83d", None, "\ufffd"),
        (7, [49], "1"),
    ],
)
def test_a_tokens_text_is_that_of_its_bytes_where_they_are_its_own(written: Any, raw: Any, text: str) -> None:
    assert places({"content": [place("x", -0.5, ({"token": written, "bytes": raw, "logprob": -1.0},))]}) == (
        Place("x", -0.5, ((text, -1.0),)),
    )


def test_legacy_shapes() -> None:
    expected = (Place("a", None, ()), Place("1", -0.5, (("1", -0.5), ("2", -1.5))))
    tops = [None, {"1": -0.5, "2": -1.5, "3": None, "4": "x"}]
    legacy = {"tokens": ["a", "1"], "token_logprobs": [None, -0.5], "top_logprobs": tops, "text_offset": [0, 1]}
    assert places(legacy, "a1") == expected
    assert places({**legacy, "content": None}, "a1") == expected
    assert places({"tokens": ["a", "1"], "token_logprobs": [-0.5]}) == (Place("a", -0.5, ()), Place("1", None, ()))
    assert places({"content": [place("1", -0.5, {"1": -0.5, "2": -1.5})]}) == expected[1:]
    assert places({"content": [place("1", -0.5, [{"1": -0.5}, {"2": -1.5}])]}) == expected[1:]
    assert places({"content": [place("1", -0.5, [["1", -0.5], ["2", -1.5], ["3"], 7, None])]}) == expected[1:]
    assert places([place("1", -0.5, {"1": -0.5, "2": -1.5})]) == expected[1:]


def test_probabilities_of_an_older_llama_server() -> None:
    given = [
        {
            "content": "1",
            "probs": [{"tok_str": "1", "prob": 0.5}, {"tok_str": "2", "prob": 0}, {"tok_str": "3", "prob": 0.25}],
        }
    ]
    assert answer(body("1", completion_probabilities=given)).places == (
        Place("1", None, (("1", math.log(0.5)), ("3", math.log(0.25)))),
    )
    assert answer(body("1", completion_probabilities=[])).places is None


def test_probabilities_after_sampling_are_made_log_probabilities() -> None:
    tops = [{"token": "1", "bytes": [49], "prob": 0.5}, {"token": "2", "prob": 0.0}, {"token": "3", "prob": 2.0}]
    entry = {"id": 16, "token": "1", "bytes": [49], "prob": 0.5, "top_probs": tops}
    assert places({"content": [entry]}) == (Place("1", math.log(0.5), (("1", math.log(0.5)),)),)


def test_a_loop_is_no_answer_and_would_come_again() -> None:
    found = answer(body("1 1 1 1", "repetition"))
    assert (found.text, found.finish, found.reason) == (
        None,
        "error",
        "stopped by the server because it repeated itself",
    )


@pytest.mark.parametrize(
    "none", [None, {}, [], {"content": None}, {"content": []}, {"content": None, "refusal": []}, False, 0, ""]
)
def test_what_was_not_given_is_none(none: Any) -> None:
    assert places(none) is None


@pytest.mark.parametrize(
    "bad",
    [
        True,
        7,
        "-0.5",
        {"content": "1"},
        {"content": {"1": -0.5}},
        {"content": [None, 7, []]},
        {"content": [{"logprob": -0.5}]},
        {"content": [{"token": 16}]},
        {"tokens": [16, 17], "token_logprobs": [-0.5, -0.1]},
        {"chosen": [{"token": "1"}]},
        [7],
    ],
)
def test_what_was_given_and_is_of_no_use_is_said(bad: Any) -> None:
    found = answer(body("1", choice={"logprobs": bad}))
    assert (found.text, found.places) == ("1", ())
    assert found.unusable


def test_bad_places_are_left_out_and_the_others_kept() -> None:
    found = places({"content": [None, place("a"), {"token": None}, place("1", -0.5, None), place("b", tops="x")]})
    assert found == (Place("a", -0.5, ()), Place("1", -0.5, ()), Place("b", -0.5, ()))


def test_the_places_at_the_answers_end_are_kept() -> None:
    words = [f" w{i}" for i in range(100)]
    text = "".join(words)
    assert [p.token for p in places({"content": [place(w) for w in words]}, text) or ()] == words[-32:]
    for after in (1, 4, 50):  # stop tokens, or what a server lists after them
        found = places({"content": [place(w) for w in [*words, *["<|end|>"] * after]]}, text) or ()
        assert [p.token for p in found][-1 - min(after, 4)] == " w99"
        assert len(found) == 32
    thought = ["<think>", " hm", "</think>", "\n\n"]
    found = places({"content": [place(w) for w in thought * 20 + words[:3] + ["<e>"] * 40]}, " w0 w1 w2") or ()
    assert [p.token for p in found][-7:] == [*words[:3], *["<e>"] * 4]
    raw = [place("Ġw" + str(i), raw=None) for i in range(100)]
    found = places({"content": [*raw, *[place("<e>")] * 40]}, text) or ()
    assert [p.token for p in found][-5:] == ["Ġw99", *["<e>"] * 4]
    found = places({"content": [place(w) for w in words]}, "nothing of it") or ()
    assert [p.token for p in found] == words[-32:]
    assert len(places({"content": [place(w) for w in words]}, "") or ()) == 32


# --- any body ---

FULL = body(
    [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "1"}],
    message={"reasoning_content": "hm", "refusal": None, "tool_calls": [], "reasoning_details": [{"text": "hm"}]},
    choice={"logprobs": {"content": [place("1", -0.5, (token("1"), token("2")))], "refusal": None}, "error": None},
    system_fingerprint="fp",
    error=None,
    base_resp={"status_code": 0, "status_msg": ""},
)
LEGACY = body("1", choice={"logprobs": {"tokens": ["1"], "token_logprobs": [-0.5], "top_logprobs": [{"1": -0.5}]}})


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, item in inner for path in paths(item, (*at, key)))]


def put(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    value = copy.copy(value)
    value[at[0]] = put(value[at[0]], at[1:], new)
    return value


WORDS = [
    "stop",
    "length",
    "1",
    "\ud800",
    "<think>",
    "",
    "x" * 3000,
    "text",
    "refusal",
    "content_filter",
    "error",
    "429",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "text",
                    "content",
                    "token",
                    "logprob",
                    "bytes",
                    "top_logprobs",
                    "error",
                    "code",
                    "message",
                    "tokens",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=16,
)


@settings(max_examples=500, deadline=None)
@given(base=st.sampled_from([FULL, LEGACY]), data=st.data(), new=JSON)
def test_any_value_at_any_place_is_an_answer_or_a_fault(base: Any, data: st.DataObject, new: Any) -> None:
    check(read_completion(json.dumps(put(base, data.draw(st.sampled_from(paths(base))), new)).encode(), SENT))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_answer_or_a_fault(raw: bytes) -> None:
    check(read_completion(raw, SENT))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_body_that_is_cut_or_changed_is_an_answer_or_a_fault(data: st.DataObject) -> None:
    raw = bytearray(json.dumps(FULL).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    check(read_completion(bytes(raw[: data.draw(st.integers(0, len(raw)))]), SENT))


def check(found: Answer | Fault) -> None:
    """Whatever came, it can be stored and read again."""
    if isinstance(found, Fault):
        assert found.kind in {"question", "setting", "account", "address", "limit", "server"}
        assert 0 < len(found.words) <= 300
        found.words.encode()
        return
    text, reasoning, read, finish, reason, usage, served_by, unusable = found
    assert finish in {"stop", "length", "error"}
    assert (reason is not None) == (finish == "error")
    assert reason is None or (text is None and read is None)
    assert read is None or len(read) <= 32
    assert (unusable is None) == (read != ())
    for place in read or ():
        assert place.logp is None or -700 <= place.logp <= 0
        assert all(isinstance(t, str) and -700 <= logp <= 0 for t, logp in place.listed)
    reply = Reply("k", text, reasoning, None, read, finish, reason, usage=usage, served_by=served_by)
    row = json.dumps(reply.row(), ensure_ascii=False, allow_nan=False).encode()
    assert Reply.from_row(json.loads(row)) == reply


def test_a_long_answer_is_read_in_linear_time() -> None:
    count = 100_000  # a square would be minutes
    raw = json.dumps(body("a " * count, choice={"logprobs": {"content": [token("a ")] * count}})).encode()
    start = time.process_time()
    assert len(answer(raw).places or ()) == 32
    assert time.process_time() - start < 10.0
