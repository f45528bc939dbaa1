"""The API judge over real HTTP, against a server that misbehaves in every way endpoints do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import SECRET, Server, completion, here, refused, rlaif_env, rows_of, some_pairs, write_rows

from rlaif.files.store import Store
from rlaif.judging.ask import answers
from rlaif.judging.method import Ask, Counts
from rlaif.judging.pairwise import Annotation, Pairwise, judge_pairs
from rlaif.judging.settings import JudgeConfig, load_judge
from rlaif.models.api import normal_address
from rlaif.models.base import Call, Model, Reply, StreamModel
from rlaif.models.endpoint import Endpoint, EndpointDownError
from rlaif.records import Pair, Vote

PAIRS = [Pair(row["prompt"], row["response_a"], row["response_b"]) for row in some_pairs(12)]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(autouse=True)
def head_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, the first question is answered before the others are asked."""
    monkeypatch.setattr("rlaif.models.endpoint._HEAD_START", 20.0)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries are a hundredth of what they are."""
    monkeypatch.setattr("rlaif.models.endpoint.random", SimpleNamespace(uniform=lambda low, high: 0.01 * high))


def api_judge(server: Server, **settings: Any) -> Pairwise:
    given = {"base_url": server.url, "template": "compact", "orders": "ab", **settings}
    return load_judge(JudgeConfig(judge="api", judge_model="m", **given))


def judged(server: Server, folder: Path, pairs: list[Pair] = PAIRS, **settings: Any) -> Annotation:
    return judge_pairs(pairs, api_judge(server, **settings), folder)


def votes(server: Server, folder: Path, pairs: list[Pair] = PAIRS, **settings: Any) -> list[Vote]:
    """What is stored, read again; nothing is asked."""
    method = api_judge(server, **settings)
    with Store(folder) as store:
        return [vote for done in answers(method, lambda: pairs, store, ask=False) for vote in done.votes]


def replies(folder: Path) -> list[dict[str, Any]]:
    with Store(folder) as store:
        return list(store.rows())


def test_log_probabilities_are_read(server: Server, tmp_path: Path) -> None:
    listed = {"1": math.log(0.6), " 1": math.log(0.1), "2": math.log(0.2), "x": math.log(0.05)}
    server.answer = lambda body, number: completion("1", logprobs=[("1", listed)])
    done = judged(server, tmp_path, orders="both")
    assert [j.z_ab for j in done.judgments] == [round(0.7 / 0.9, 6)] * 12
    assert [j.z for j in done.judgments] == [0.5] * 12  # it says "1" in both orders
    assert done.mass == pytest.approx(0.9)
    (vote, *_) = votes(server, tmp_path)
    assert (vote.method, vote.text, vote.mass) == ("logprobs", "1", pytest.approx(0.9))
    assert vote.usage == {"prompt_tokens": 7, "completion_tokens": 1}
    (reply, *_) = replies(tmp_path)
    assert next(iter(reply)) == "key"
    assert reply["places"] == [["1", math.log(0.6), [[token, logp] for token, logp in listed.items()]]]
    assert (reply["served_by"], reply["finish"]) == ("m", "stop")
    assert {(body["logprobs"], body["top_logprobs"]) for body in server.bodies} == {(True, 20)}


def test_a_label_that_is_not_listed_is_not_impossible(server: Server, tmp_path: Path) -> None:
    listed = {"1": math.log(0.9), "a": math.log(0.05), "b": math.log(0.02)}
    server.answer = lambda body, number: completion("1", logprobs=[("1", listed)])
    assert judged(server, tmp_path).judgments[0].z == round(0.9 / 0.92, 6)


@pytest.mark.parametrize("value", [None, "-Infinity"])
def test_log_probabilities_that_are_no_numbers_are_left_out(value: Any, server: Server, tmp_path: Path) -> None:
    answer = completion("1", logprobs=[("1", {"1": math.log(0.6), "2": math.log(0.2), "x": 0.0})])
    answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"][2]["logprob"] = value
    server.answer = lambda body, number: answer
    assert judged(server, tmp_path).judgments[0].z == 0.75


def test_an_endpoint_without_log_probabilities_is_asked_for_them_once(server: Server, tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Any:
        return (400, "this model does not support logprobs", {}) if body.get("logprobs") else "2"

    server.answer = answer
    done = judged(server, tmp_path)
    assert [j.z for j in done.judgments] == [0.0] * 12
    assert [bool(body.get("logprobs")) for body in server.bodies] == [True] + [False] * 12
    assert {vote.method for vote in votes(server, tmp_path)} == {"text"}


def test_log_probabilities_that_are_taken_but_not_given_are_asked_for_all_the_same(
    server: Server, tmp_path: Path
) -> None:
    judged(server, tmp_path)
    assert [bool(body.get("logprobs")) for body in server.bodies] == [True] * 12
    judged(server, tmp_path / "never", logprobs="never")
    assert not any("logprobs" in body for body in server.bodies[12:])


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ("max_tokens", "Unsupported parameter: 'max_tokens' is not supported; use 'max_completion_tokens' instead."),
        ("temperature", "Unsupported value: 'temperature' does not support 0 with this model."),
        ("seed", "Unrecognized request argument supplied: seed"),
        ("top_logprobs", "logprobs are not available"),
    ],
)
def test_a_dialect_is_learned_once(refused: str, message: str, server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: (400, message, {}) if refused in body else "1"
    done = judged(server, tmp_path)
    assert [j.z for j in done.judgments] == [1.0] * 12
    assert [refused in body for body in server.bodies] == [True] + [False] * 12
    if refused == "max_tokens":
        assert {body["max_completion_tokens"] for body in server.bodies[1:]} == {16}
        assert "max_completion_tokens" not in server.bodies[0]


def test_all_of_a_dialect_at_once(server: Server, tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Any:
        for name in ("logprobs", "temperature", "max_tokens", "seed"):
            if name in body:
                return 400, f"Unsupported parameter: {name}", {}
        return "1"

    server.answer = answer
    assert [j.z for j in judged(server, tmp_path).judgments] == [1.0] * 12
    assert len(server.bodies) == 4 + 12


TOO_LONG = (
    "'max_tokens' or 'max_completion_tokens' is too large: 16. This model's maximum context length is 2048 tokens and "
    "your request has 2100 input tokens (seed, temperature and logprobs are not supported here)."
)


@pytest.mark.parametrize(
    "message", [TOO_LONG, "Rejected by the content filter; unsupported at temperature 0, lower the severity."]
)
def test_what_is_said_about_one_question_changes_no_other_call(
    message: str, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = {"1": math.log(0.6), "2": math.log(0.2)}

    def answer(body: dict[str, Any], number: int) -> Any:
        if "Question 3:" in body["messages"][0]["content"]:
            return 400, message, {}
        return completion("1", logprobs=[("1", listed)])

    server.answer = answer
    done = judged(server, tmp_path, concurrency=1)
    assert [j.z for j in done.judgments] == [0.75] * 3 + [None] + [0.75] * 8
    assert len(server.bodies) == 12
    assert all({"max_tokens", "temperature", "seed", "logprobs"} <= body.keys() for body in server.bodies)
    assert "warning" not in capsys.readouterr().err


def test_a_setting_that_is_left_out_is_warned_about_once(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(body: dict[str, Any], number: int) -> Any:
        refused = next((name for name in ("temperature", "max_tokens") if name in body), None)
        return (400, f"Unsupported parameter: {refused}", {}) if refused else "1"

    server.answer = answer
    judged(server, tmp_path)
    warnings = capsys.readouterr().err.split("warning: ")[1:]
    assert [warning.split(f"{server.url} refuses ")[1].split(" ")[0] for warning in warnings] == ["temperature"]
    assert "it samples at a temperature of its own" in warnings[0]


LISTED = {"1": math.log(0.6), "2": math.log(0.2)}


def test_what_one_answer_lacks_is_asked_of_all_others(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first answer has no log-probabilities: it is read from its text, and that there are two ways is said."""
    server.answer = lambda body, number: "1" if number == 0 else completion("1", logprobs=[("1", LISTED)])
    done = judged(server, tmp_path, concurrency=1)
    assert [j.z for j in done.judgments] == [1.0] + [0.75] * 11
    assert done.methods == {"logprobs": 11, "text": 1}
    assert len(server.bodies) == 12
    assert all(body["logprobs"] for body in server.bodies)
    warning = capsys.readouterr().err
    assert "read in different ways, 11 from their log-probabilities and 1 from their text" in warning
    assert judged(server, tmp_path).asked == 0


def test_a_refusal_of_what_was_given_before_concerns_one_question(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As behind an address with several servers."""

    def answer(body: dict[str, Any], number: int) -> Any:
        if "Question 3:" in body["messages"][0]["content"]:
            return (400, "logprobs are not supported", {}) if body.get("logprobs") else "1"
        return completion("1", logprobs=[("1", LISTED)])

    server.answer = answer
    done = judged(server, tmp_path, concurrency=1)
    assert done.methods == {"logprobs": 11, "text": 1}
    assert len(server.bodies) == 13
    assert "refuses logprobs, which it took before" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["between 0 and 5", "less than or equal to 5"])
def test_a_limit_of_alternatives_is_kept_to(words: str, server: Server, tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Any:
        if body.get("top_logprobs", 0) > 5:
            return 400, f"Invalid value: 'top_logprobs' must be {words}.", {}
        return completion("1", logprobs=[("1", LISTED)])

    server.answer = answer
    assert judged(server, tmp_path).methods == {"logprobs": 12}
    assert [body["top_logprobs"] for body in server.bodies] == [20] + [5] * 12


def test_a_rate_limit_is_waited_out(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlaif.models.endpoint._HEAD_START", 0.1)
    start = time.monotonic()
    times: list[float] = []

    def answer(body: dict[str, Any], number: int) -> Any:
        times.append(time.monotonic() - start)
        return (429, "slow down", {"Retry-After": "1"}) if number == 0 else "1"

    server.answer = answer
    done = judged(server, tmp_path)
    assert [j.z for j in done.judgments] == [1.0] * 12
    assert len(times) == 13
    assert max(times) - times[0] >= 1.0
    assert sum(body == server.bodies[0] for body in server.bodies) == 2  # it alone is asked again


def test_progress_says_what_it_waits_for(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: (429, "slow down", {"Retry-After": "2"}) if number == 3 else "1"
    done = here(*arguments(server, tmp_path))
    assert done.returncode == 0
    assert "1 wait 2 s for a rate limit" in done.stderr
    assert done.stderr.rstrip().endswith("12 answered]")


def test_a_wait_that_is_too_long_is_capped_and_said(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rlaif.models.endpoint._LONGEST_WAIT", 0.1)
    server.answer = lambda body, number: (429, "slow down", {"Retry-After": "86400"}) if number < 2 else "1"
    assert [j.z for j in judged(server, tmp_path).judgments] == [1.0] * 12
    said = capsys.readouterr().err
    assert "asks for a wait of 86400 s (slow down)" in said
    assert said.count("warning: ") == 1


def test_patience_ends_in_one_line_where_nothing_is_answered(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: (429, "slow down", {"Retry-After": "1"})
    start = time.monotonic()
    line = refused(here(*arguments(server, tmp_path, patience=3)))
    assert "answered nothing and was rate limited for longer than --patience 3 s: slow down" in line
    assert time.monotonic() - start < 60


def test_a_body_that_drips_is_given_up_in_time(server: Server, tmp_path: Path) -> None:
    """A byte every tenth of a second, for ever: the limit is on the whole call."""

    async def handler(request: Any) -> Any:
        from aiohttp import web

        body = await request.json()
        server.bodies.append(body)
        if "Question 3:" not in str(body["messages"]) or len(server.bodies) > 12:
            return web.json_response(completion("1"))
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b" ")
                await asyncio.sleep(0.1)
        return answer

    server.handler = handler
    start = time.monotonic()
    assert [j.z for j in judged(server, tmp_path, timeout=1.0).judgments] == [1.0] * 12
    assert time.monotonic() - start < 60
    assert len(server.bodies) == 13


def test_a_rate_limit_is_no_failure(server: Server, tmp_path: Path) -> None:
    """Three rate limits and a failure are one failure, and one is allowed."""
    limit = (429, "slow down", {"Retry-After": "0.01"})
    answers = [limit, limit, limit, (500, "oops", {})]
    server.answer = lambda body, number: answers[number] if number < 4 else "1"
    assert judged(server, tmp_path, PAIRS[:1], max_retries=1).judgments[0].z == 1.0
    assert len(server.bodies) == 5


FAULTS: list[Callable[[], Any]] = [
    lambda: (500, "internal error", {}),
    lambda: (503, "overloaded", {}),
    lambda: (408, "timed out", {}),
    lambda: (409, "conflict", {}),
    lambda: None,
    lambda: b'{"id": "x", "choices": [{"mess',
    lambda: b"",
    lambda: {"id": "x", "choices": []},
    lambda: {"error": "something"},
    lambda: b"<html>bad gateway</html>",
    lambda: "",
    lambda: completion(None),
    lambda: "I would rather not say.",
]


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_outlived(fault: Callable[[], Any], server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: fault() if number % 3 == 1 else "1"
    done = judged(server, tmp_path)
    assert [j.z for j in done.judgments] == [1.0] * 12
    assert len(server.bodies) > 12
    assert [vote.p_first for vote in votes(server, tmp_path)] == [1.0] * 12


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize(
    ("fault", "reason", "text", "answered", "tries"),
    [
        (lambda: (500, "internal error", {}), "no answer after 3 tries: internal error", None, False, 3),
        (lambda: None, "no answer after 3 tries: it closed the connection", None, False, 3),
        (lambda: b'{"choices": [', "no answer after 3 tries: a body that is no JSON", None, False, 3),
        (lambda: {"id": "x", "choices": []}, "no answer after 3 tries: a body without choices", None, False, 3),
        (lambda: "", "an empty answer.", "", True, 3),
        (lambda: completion("", "length"), "an empty answer. It was cut off at 16 tokens", "", True, 1),
        (lambda: "Neither.", "no verdict in the answer 'Neither.'", "Neither.", True, 4),
        (lambda: completion("1 or", "length"), "no verdict in the answer '1 or'. It was cut off at", "1 or", True, 1),
        (lambda: "1 or 2", "no verdict in the answer '1 or 2'", "1 or 2", True, 4),
        (lambda: (400, "maximum context length is 8192 tokens", {}), "refused with status 400: maximum", None, True, 1),
        (lambda: (400, "flagged by our content policy", {}), "refused with status 400: flagged", None, True, 1),
        (lambda: (404, "no such pair", {}), "refused with status 404: no such pair", None, False, 1),
    ],
)
def test_what_stays_faulty_is_unjudged_with_its_reason(
    fault: Any, reason: str, text: str | None, answered: bool, tries: int, server: Server, tmp_path: Path
) -> None:
    """Never a crash, never a number; the others are judged."""

    def answer(body: dict[str, Any], number: int) -> Any:
        return fault() if "Question 3:" in body["messages"][0]["content"] else "1"

    server.answer = answer
    done = judged(server, tmp_path, max_retries=2, max_tokens=16)
    assert len([q for q in server.questions() if "Question 3:" in q]) == tries
    assert [j.z for j in done.judgments] == [1.0] * 3 + [None] + [1.0] * 8
    assert (done.judgments[3].reason or "").startswith(f"order ab: {reason}")
    (vote,) = [vote for vote in votes(server, tmp_path, max_tokens=16) if vote.p_first is None]
    assert (vote.text, vote.answered) == (text, answered)
    # What the last reply took, failed tries included; each repetition of an unreadable answer is one by itself.
    stored = {row["key"]: row for row in replies(tmp_path)}
    assert len(stored) == 11 + (4 if tries == 4 else 1)
    assert stored[vote.key].get("tries", 1) == (1 if tries == 4 else tries)
    assert stored[vote.key].get("answered", True) is answered
    # What got no answer is asked for again by the next run; what was answered is not.
    calls = len(server.bodies)
    server.answer = lambda body, number: "1"
    again = judged(server, tmp_path, max_retries=2, max_tokens=16)
    assert len(server.bodies) - calls == (0 if answered else 1)
    assert (again.judgments[3].z is None) is answered


@pytest.mark.parametrize("seen", ["hidden", "beside the text", "in the text"])
def test_a_thought_gets_the_room_that_it_needs(seen: str, server: Server, tmp_path: Path) -> None:
    """A judge whose name tells nothing thinks: it is cut off at 16 tokens, once a question, and asked with room."""

    def answer(body: dict[str, Any], number: int) -> Any:
        if body["max_tokens"] > 16:
            return "2"
        found = completion("<think>Both look" if seen == "in the text" else "", "length")
        if seen == "beside the text":
            found["choices"][0]["message"]["reasoning_content"] = "Both look"
        return found

    server.answer = answer
    done = judged(server, tmp_path)
    assert [j.z for j in done.judgments] == [0.0] * 12
    assert sorted(body["max_tokens"] for body in server.bodies) == [16] * 12 + [8192] * 12
    assert judged(server, tmp_path).asked == 0
    own = judged(server, tmp_path, max_tokens=16)  # a limit that the user sets is kept to; what is stored is read
    assert (own.asked, {j.z for j in own.judgments}) == (0, {None})
    assert "cut off at 16 tokens" in str(own.judgments[0].reason)


@pytest.mark.parametrize("context", [4096, 512])
@pytest.mark.parametrize("name", ["m", "qwen3-8b"])
def test_a_small_context_gets_a_smaller_room(name: str, context: int, server: Server, tmp_path: Path) -> None:
    """8192 tokens are our default and nobody's choice: a server that has fewer refuses them, and is asked for 2048."""

    def answer(body: dict[str, Any], number: int) -> Any:
        most = body["max_tokens"]
        if most > context:
            words = f"max_tokens={most} cannot be greater than max_model_len={context}."
            return 400, {"error": {"message": words, "type": "BadRequestError", "param": "max_tokens", "code": 400}}, {}
        return completion("<think>Both look", "length") if most < 2048 else "2"

    server.answer = answer
    settings = {"base_url": server.url, "template": "compact", "orders": "ab"}
    done = judge_pairs(PAIRS, load_judge(JudgeConfig(judge="api", judge_model=name, **settings)), tmp_path)
    assert {j.z for j in done.judgments} == {0.0 if context == 4096 else None}
    if context == 512:
        assert all("max_tokens=8192 cannot be" in str(j.reason) for j in done.judgments)
    again = judge_pairs(PAIRS, load_judge(JudgeConfig(judge="api", judge_model=name, **settings)), tmp_path)
    assert again.asked == 0
    with pytest.raises(EndpointDownError, match=f"gives at most {context} tokens and max_tokens is 8192"):
        judge_pairs(PAIRS, load_judge(JudgeConfig(judge="api", judge_model=name, max_tokens=8192, **settings)), None)


def test_a_late_plain_question_that_is_rate_limited_ends_no_run(server: Server, tmp_path: Path) -> None:
    """A firewall forbids one text, and the plain question that tells whose fault it is meets a rate limit."""

    def answer(body: dict[str, Any], number: int) -> Any:
        text = body["messages"][-1]["content"]
        if "Question 3:" in text:
            return 403, "<html><title>403 Forbidden</title></html>", {}
        return (429, "slow down", {"Retry-After": "1"}) if text.startswith("Answer with") else "1"

    server.answer = answer
    done = judged(server, tmp_path, concurrency=1)
    assert [j.z for j in done.judgments] == [1.0] * 3 + [None] + [1.0] * 8


@pytest.mark.usefixtures("hurry")
def test_many_refused_questions_do_not_end_a_run(server: Server, tmp_path: Path) -> None:
    """Forty questions in a row that are too long: the endpoint is not down, and a resume does not begin with them."""
    pairs = [Pair(f"Question {i}", "a", "b") for i in range(50)]

    def answer(body: dict[str, Any], number: int) -> Any:
        number = int(body["messages"][0]["content"].split()[1])
        return (400, "This model's maximum context length is 8 tokens", {}) if number < 40 else "1"

    server.answer = answer
    assert [j.z is None for j in judged(server, tmp_path, pairs).judgments] == [True] * 40 + [False] * 10
    calls = len(server.bodies)
    judged(server, tmp_path, pairs)
    assert len(server.bodies) == calls


def test_half_a_character_in_an_answer_can_be_stored(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: json.dumps(completion("2 \ud83d")).encode()
    assert judged(server, tmp_path).judgments[0].z == 0.0
    assert votes(server, tmp_path)[0].text == "2 \ufffd"


def test_calls_in_flight_are_bounded_and_the_bound_is_reached(server: Server, tmp_path: Path) -> None:
    server.latency = 0.05
    pairs = [Pair(f"Question {i}", "a", "b") for i in range(60)]
    judged(server, tmp_path, pairs, concurrency=7)
    assert server.peak == 7


def test_votes_are_stored_as_they_arrive(server: Server, tmp_path: Path) -> None:
    """The slowest answer holds up nobody's: all others are on the disk before it comes."""
    seen: list[int] = []

    def until_the_others_are_stored() -> None:
        deadline = time.monotonic() + 20
        while len(replies(tmp_path)) < 11 and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.append(len(replies(tmp_path)))

    async def handler(request: Any) -> Any:
        from aiohttp import web

        server.bodies.append(await request.json())
        if len(server.bodies) == 2:
            await asyncio.to_thread(until_the_others_are_stored)
        return web.json_response(completion("1"))

    server.handler = handler
    judged(server, tmp_path)
    assert seen == [11]


class Numbers(StreamModel):
    """Answers a number with itself, until one is too many."""

    can = frozenset({"arguments"})
    identity: Mapping[str, Any] = {"kind": "numbers"}  # type: ignore[assignment]

    def __init__(self, name: str, concurrency: int = 4, bad: int | None = None) -> None:
        self.name, self.concurrency, self.bad = name, concurrency, bad
        self.asked: list[int] = []
        self.opened = self.closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def reply(self, call: Call) -> Reply:
        number = call.arguments[0]
        self.asked.append(number)
        if number == self.bad:
            raise EndpointDownError("down")
        await asyncio.sleep(0)
        return Reply(call.key, text=str(number))


class Doubling:
    """Asks for a number, then for its double."""

    name, hash = "doubling", "0" * 16

    def __init__(self, model: Numbers, rounds: int = 1) -> None:
        self.model, self.rounds = model, rounds
        self.models: Mapping[str, Model] = {model.digest: model}

    def ask(self, item: int) -> Ask[list[int]]:
        found = []
        for round_ in range(self.rounds):
            (reply,) = yield [Call(self.model.digest, arguments=(item * 2**round_,))]
            found.append(int(reply.text or "-1"))
        return found


def test_an_error_loses_none_of_the_results_that_came_with_it(tmp_path: Path) -> None:
    model = Numbers("m", bad=2)
    with Store(tmp_path) as store, pytest.raises(EndpointDownError):
        list(answers(Doubling(model), lambda: range(8), store))
    assert {"0", "1", "3"} <= {row["text"] for row in replies(tmp_path)}
    assert len(model.asked) < 8
    assert (model.opened, model.closed) == (1, 1)
    mended, counts = Numbers("m"), Counts()
    with Store(tmp_path) as store:
        assert list(answers(Doubling(mended), lambda: range(8), store, counts=counts)) == [[i] for i in range(8)]
    assert {0, 1, 3}.isdisjoint(mended.asked)
    assert (counts.asked, counts.reused) == (len(mended.asked), 8 - len(mended.asked))


def test_after_an_error_no_call_is_begun(tmp_path: Path) -> None:
    """Calls wait for one another, as an endpoint's do for its first answer: a refused key is not tried by all."""

    class Refusing(Numbers):
        async def open(self) -> None:
            self.first = asyncio.Lock()

        async def reply(self, call: Call) -> Reply:
            async with self.first:
                self.asked.append(call.arguments[0])
                await asyncio.sleep(0)
                raise EndpointDownError("refused")

    model = Refusing("m", 32)
    with Store(tmp_path) as store, pytest.raises(EndpointDownError, match="refused"):
        list(answers(Doubling(model), lambda: range(100), store))
    assert len(model.asked) <= 2


@pytest.mark.parametrize("concurrency", [1, 3, 100])
def test_values_come_in_the_items_order_and_equal_calls_are_one(concurrency: int, tmp_path: Path) -> None:
    """Each item moves on when its own replies are there; what another one waits for, or had, is not asked again."""
    model = Numbers("m", concurrency)
    items = [3, 1, 2, 6, 3, 8, 4, 5]
    with Store(tmp_path) as store:
        done = list(answers(Doubling(model, 3), lambda: items, store))
    assert done == [[item, 2 * item, 4 * item] for item in items]
    assert sorted(model.asked) == sorted({item * factor for item in items for factor in (1, 2, 4)})


def test_an_answer_waits_for_nobody_in_a_later_round(tmp_path: Path) -> None:
    """One item's first reply never comes until all others have had all of theirs."""

    class Waiting(Numbers):
        async def reply(self, call: Call) -> Reply:
            if call.arguments == (1,):
                while len(self.asked) < 3 * 5:
                    await asyncio.sleep(0.001)
            return await super().reply(call)

    model = Waiting("m", 4)
    with Store(tmp_path) as store:
        done = list(answers(Doubling(model, 3), lambda: [1, 10, 11, 13, 15, 17], store))
    assert done[0] == [1, 2, 4]
    assert model.asked[-3:] == [1, 2, 4]


def test_seeds_are_the_calls_own_and_the_same_again(server: Server, tmp_path: Path) -> None:
    """Two samples, two orders and two prompts share no noise; a run in a fresh folder has the same."""
    runs = []
    for folder in ("a", "b"):
        server.bodies.clear()
        judged(server, tmp_path / folder, PAIRS[:2], orders="both", samples=3, temperature=0.7)
        assert len({body["seed"] for body in server.bodies}) == len(server.bodies) == 12
        assert all(0 <= body["seed"] < 2**31 for body in server.bodies)
        assert {body["temperature"] for body in server.bodies} == {0.7}
        runs.append(sorted((body["seed"], json.dumps(body["messages"])) for body in server.bodies))
    assert runs[0] == runs[1]
    # With another address the calls are others; under a name of its own it is the same wherever it is.
    server.bodies.clear()
    judged(server, tmp_path / "c", PAIRS[:2], orders="both", samples=3, temperature=0.6)
    assert {body["seed"] for body in server.bodies}.isdisjoint(seed for seed, _ in runs[0])


def test_an_endpoint_that_comes_back_elsewhere(server: Server, tmp_path: Path) -> None:
    """Its address is a part of every call's; `served_as` takes its place."""
    again = Server()
    try:
        judged(server, tmp_path / "plain")
        assert judged(server, tmp_path / "plain", concurrency=3, timeout=50.0).asked == 0
        assert judged(again, tmp_path / "plain").asked == len(again.bodies) == 12
        assert judged(server, tmp_path / "named", served_as="ours").asked == 12
        again.bodies.clear()
        moved = judged(again, tmp_path / "named", served_as="ours")
        assert (moved.asked, moved.reused, len(again.bodies)) == (0, 12, 0)
        assert [j.z for j in moved.judgments] == [1.0] * 12
        assert judged(again, tmp_path / "named", served_as="theirs").asked == 12
    finally:
        again.close()


def test_an_address_is_known_again() -> None:
    for url in ("http://Host:8000/v1", "HTTP://host:8000/v1/", "http://host:8000/v1?x=1"):
        assert normal_address(url) == "http://host:8000/v1"
    assert len({normal_address(f"{url}/v1") for url in ("http://h", "https://h", "http://h:1", "http://g")}) == 4


# The real program.


def arguments(server: Server, folder: Path, count: int = 6, **settings: Any) -> list[object]:
    pairs = write_rows(folder / "pairs.jsonl", some_pairs(count))
    options = [part for name, value in settings.items() for part in (f"--{name}", value)]
    model = ["--judge", "api", "--judge_model", "m", "--base_url", server.url]
    return ["judge", "--pairs", pairs, *model, "--output", folder / "out", *options]


def test_a_refused_key_is_one_line(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: (401, f"Incorrect API key provided: {SECRET[:8]}", {})
    line = refused(here(*arguments(server, tmp_path)))
    assert f"{server.url} refused the key in OPENAI_API_KEY" in line
    assert len(server.bodies) <= 2


def test_a_missing_key_is_one_line(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(2))
    line = refused(
        here(
            "judge",
            "--pairs",
            pairs,
            "--judge",
            "api",
            "--judge_model",
            "m",
            "--output",
            tmp_path / "o",
            OPENAI_API_KEY="",
        )
    )
    assert "the environment variable OPENAI_API_KEY is not set; expected the key for https://api.openai.com/v1" in line


def test_an_address_with_a_password_is_refused():
    with pytest.raises(ValueError, match="holds a user name or password") as refusal:
        Endpoint("model", "http://me:secret@localhost:8000/v1")
    assert "secret" not in str(refusal.value)


def test_nothing_listening_is_one_line_within_seconds(server: Server, tmp_path: Path) -> None:
    command = arguments(server, tmp_path)
    server.close()
    start = time.monotonic()
    line = refused(here(*command))
    assert f"no connection to {server.url} (connection refused); is the server running" in line
    assert time.monotonic() - start < 60


def test_a_wrong_model_name_is_one_line(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: (404, "The model `m` does not exist", {})
    line = refused(here(*arguments(server, tmp_path, concurrency=2)))
    assert f"{server.url} does not answer as an endpoint with the model 'm': The model `m` does not exist" in line
    assert len(server.bodies) <= 2


def test_an_exhausted_quota_is_one_line(server: Server, tmp_path: Path) -> None:
    broke = {"error": {"message": "You have no credit left.", "type": "insufficient_quota", "code": None}}
    server.answer = lambda body, number: "1" if number < 3 else (429, broke, {})
    line = refused(here(*arguments(server, tmp_path, concurrency=1)))
    assert "refused the key in OPENAI_API_KEY, or its account: You have no credit left. Set" in line
    assert (len(replies(tmp_path / "out")), len(server.bodies)) == (3, 4)


def test_a_server_that_dies_in_the_middle_loses_nothing(server: Server, tmp_path: Path) -> None:
    """All that was answered is stored, the program ends in one line, and the same command goes on."""
    server.answer = lambda body, number: "1" if number < 30 else None
    command = arguments(server, tmp_path, 40, concurrency=8, max_retries=1)
    line = refused(here(*command))
    assert f"{server.url} left 20 questions in a row unanswered" in line
    assert "run the same command again" in line
    assert sum(row.get("answered", True) for row in replies(tmp_path / "out")) == 30
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".written-by", "replies"]

    server.answer = lambda body, number: "1"
    server.bodies.clear()
    assert here(*command).returncode == 0
    assert len(server.bodies) == 50
    assert [row["z"] for row in rows_of(tmp_path / "out" / "judgments.jsonl")] == [0.5] * 40


def test_the_key_is_sent_and_written_nowhere(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: (500, "oops", {}) if number == 1 else "1"
    done = here(*arguments(server, tmp_path))
    assert done.returncode == 0
    assert server.keys == {f"Bearer {SECRET}"}
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {"judgments.jsonl", "votes.jsonl", "manifest.json", "report.json"} < {path.name for path in written}
    for text in (done.stdout, done.stderr, *(path.read_text() for path in written)):
        assert SECRET not in text
        assert SECRET[3:] not in text


def test_no_torch_is_imported_for_an_endpoint(server: Server, tmp_path: Path) -> None:
    """`rlaif judge` with an endpoint starts fast: nothing that is about tensors is imported."""
    watch = (
        "import sys, rlaif.cli; sys.argv[0] = 'rlaif'; rlaif.cli.main(); "
        "print([name for name in ('torch', 'transformers', 'datasets', 'accelerate', 'peft') if name in sys.modules])"
    )
    command = [sys.executable, "-c", watch, *map(str, arguments(server, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, env=rlaif_env(), timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="concurrency is 0"):
        Endpoint("m", concurrency=0)
    assert os.environ.get("OPENAI_API_KEY") is None
    with pytest.raises(ValueError, match="judge_model is not set"):
        load_judge(JudgeConfig(judge="api"))
    with pytest.raises(ValueError, match="judge is 'lokal'"):
        load_judge(JudgeConfig(judge="lokal", judge_model="m"))


WORDS = [(f" word{i}", {}) for i in range(40)]
FIRST = [("1", {"1": math.log(0.9), "2": math.log(0.1)}), ("\n", {})]
LAST = [("\n", {}), ("2", {"2": math.log(0.9), "1": math.log(0.1)})]
LONG: dict[str, tuple[list[Any], float | None, str | None]] = {
    "the verdict is kept": ([*WORDS, *LAST], 0.1, "logprobs"),
    "the verdict came first": ([*FIRST, *WORDS], 1.0, "text"),
    "and something else last": ([*FIRST, *WORDS, *LAST], None, None),
    "and an opinion after it": ([*FIRST, *WORDS, (" Response 2 is better in style.", {})], 1.0, "text"),
}


@pytest.mark.parametrize("answer", LONG)
def test_a_long_answer_is_read_as_a_whole(answer: str, server: Server, tmp_path: Path) -> None:
    """Only its last tokens are kept with their alternatives; the verdict is the one that the whole text decides for."""
    places, z, method = LONG[answer]
    text = "".join(token for token, _ in places)
    server.answer = lambda body, number: completion(text, logprobs=places)
    done = judged(server, tmp_path, PAIRS[:1], max_tokens=100)
    assert (done.judgments[0].z, done.methods) == (z, {method: 1} if method else {})


def test_half_a_character_in_a_token_loses_no_reply(server: Server, tmp_path: Path) -> None:
    body = completion("1 \ud83d", logprobs=[("1", {"1": -0.1, "2": -3.0, "\ud83d": -5.0}), (" \ud83d", {})])
    server.answer = lambda body_, number: json.dumps(body).encode()
    done = judged(server, tmp_path, PAIRS[:2])
    assert [j.z is None for j in done.judgments] == [False, False]
    assert judged(server, tmp_path, PAIRS[:2]).asked == 0
