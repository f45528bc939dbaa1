"""An OpenAI-compatible server that fails in some ninety ways, as a program of its own that outlives those it answers.

    python -m support.faulty CALLS [--share 0.3] [--odd 0.15] [--latency 0.01] [--credit N] [--pin REGEX=KIND]...

It prints its address, and ends when its standard input does. What it does with a question depends on the question's
text alone, so that a run that is killed and started again meets the same faults:

    PASSING   a fault of the first one or two asks; then the question is answered
    LASTING   a fault of every ask
    ODD       an answer of an unusual shape that says the same as a plain one

`kind_of`, `tries_of` and `p_first` say what it does with a text, for tests to compare with. Each call is a line of the
file CALLS: seconds, the question's hash, its seed, its kind, and "ok" where it was sent a verdict.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import json
import logging
import math
import queue
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

from aiohttp import web

DRIP = 0.25  # seconds between two bytes of a dripping answer


# --- what is done with a question ---


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def drawn(text: str, what: str) -> float:
    """A number in [0, 1) that the text decides."""
    return int(hash_of(f"{what} of {text}")[:12], 16) / 16**12


def kind_of(text: str, share: float = 0.0, odd: float = 0.0) -> str:
    """The kind of a question: a fault with probability `share` (three of ten last), or else an oddity with `odd`."""
    u = drawn(text, "kind")
    if u < share:
        kinds = LASTING.keys() - {"429 for ever"} if drawn(text, "lasting") < 0.3 else PASSING.keys()
    elif u < share + odd:
        kinds = ODD.keys()
    else:
        return "plain"
    return sorted(kinds)[int(drawn(text, "which") * len(kinds))]


def tries_of(text: str) -> int:
    """How often a question with a passing fault fails."""
    return 1 + int(drawn(text, "tries") * 2)


def p_first(text: str) -> float:
    """P(first) as the answers say it."""
    return round(0.02 + 0.96 * drawn(text, "p"), 6)


# --- answers ---


def listed(text: str) -> list[dict[str, Any]]:
    p = p_first(text)
    tokens = [("1", 0.97 * p), ("2", 0.97 * (1.0 - p)), ("I", 0.015), ("The", 0.01)]
    return sorted(({"token": t, "logprob": math.log(q)} for t, q in tokens), key=lambda top: -top["logprob"])


def verdict(text: str) -> str:
    return "1" if p_first(text) >= 0.5 else "2"


def wrong(text: str) -> str:
    """What half an answer says, so that it shows where it is taken for a whole one."""
    return "2" if verdict(text) == "1" else "1"


def completion(text: str) -> dict[str, Any]:
    """A plain answer."""
    tops = listed(text)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1750000000,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": verdict(text)},
                "logprobs": {"content": [{**tops[0], "top_logprobs": tops}]},
            }
        ],
        "usage": {"prompt_tokens": 70, "completion_tokens": 1, "total_tokens": 71},
    }


def changed(text: str, *, choice: Any = None, message: Any = None, **top: Any) -> dict[str, Any]:
    """A plain answer with other fields."""
    body = completion(text)
    body["choices"][0] |= choice or {}
    body["choices"][0]["message"] |= message or {}
    return body | top


def silent(text: str, content: str | None, finish: Any = "stop", **message: Any) -> dict[str, Any]:
    """An answer without log-probabilities."""
    return changed(text, choice={"finish_reason": finish, "logprobs": None}, message={"content": content, **message})


class Sent:
    """What is sent: a status, headers, and a body (JSON, text or bytes); or whatever `raw` does with the request."""

    def __init__(
        self,
        status: int,
        body: Any,
        headers: dict[str, str] | None = None,
        content_type: str | None = None,
        raw: Callable[[web.Request], Any] | None = None,
    ) -> None:
        if not isinstance(body, bytes):
            plain = isinstance(body, str)
            content_type = content_type or ("text/html" if plain else "application/json")
            body = body.encode() if plain else json.dumps(body).encode()
        self.status, self.body, self.headers, self.raw = status, body, headers or {}, raw
        self.content_type = content_type or "application/json"


def said(status: int, message: Any, headers: dict[str, str] | None = None, **error: Any) -> Sent:
    return Sent(status, {"error": {"message": message, **error}}, headers)


def page(status: int, title: str) -> Sent:
    return Sent(status, f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body></html>")


def raw(*parts: bytes, reset: bool = False, wait: float = 0.0) -> Sent:
    """Bytes that are no whole HTTP answer, then the connection's end."""

    async def send(request: web.Request) -> None:
        transport = request.transport
        if transport is None:
            return
        for part in parts:
            transport.write(part)
            await asyncio.sleep(wait)
        if reset:
            option = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
            transport.abort()
        else:
            transport.close()

    return Sent(200, b"", raw=send)


async def _hang(request: web.Request) -> None:
    await asyncio.sleep(3600)


async def _drip(request: web.Request) -> None:
    """A whole answer, but a byte at a time, begun with blanks as some gateways send them."""
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    await answer.prepare(request)
    for byte in b" " * 600 + b"{}":
        await answer.write(bytes([byte]))
        await asyncio.sleep(DRIP)


def head(status: int = 200, *more: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d OK" % status, b"Content-Type: application/json", *more]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _bytes(text: str) -> bytes:
    return json.dumps(completion(text)).encode()


NO_CREDIT = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "read the docs."
)
GEMINI = [
    {
        "error": {
            "code": 429,
            "message": NO_CREDIT,
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}],
                },
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.4s"},
            ],
        }
    }
]
LIMIT = {"type": "requests", "code": "rate_limit_exceeded"}
Kind = Callable[[str], Sent | dict[str, Any]]

# Faults that pass: the same question is answered on the second or third ask.
PASSING: dict[str, Kind] = {
    "429 seconds": lambda text: said(429, "Too many requests.", {"Retry-After": "1"}),
    "429 date": lambda text: said(429, "Slow down.", {"Retry-After": formatdate(time.time() + 1, usegmt=True)}),
    "429 ms": lambda text: said(429, "Slow down.", {"retry-after-ms": "300"}, **LIMIT),
    "429 bare": lambda text: Sent(429, b""),
    "429 gemini": lambda text: Sent(429, GEMINI),
    "429 words": lambda text: said(429, "Rate limit reached for m on tokens. Please try again in 350ms.", **LIMIT),
    "429 reset": lambda text: said(
        429, "Rate limit reached.", {"x-ratelimit-reset-requests": "0.3s", "x-ratelimit-remaining-requests": "0"}
    ),
    "429 page": lambda text: page(429, "429 Too Many Requests"),
    "500": lambda text: said(500, "The server had an error while processing your request.", type="server_error"),
    "500 detail": lambda text: Sent(500, {"detail": "Internal Server Error"}),
    "500 text": lambda text: Sent(500, "Internal Server Error", content_type="text/plain"),
    "500 memory": lambda text: said(500, "CUDA out of memory. Tried to allocate 2.00 GiB.", type="InternalServerError"),
    "502 page": lambda text: page(502, "502 Bad Gateway"),
    "503 overloaded": lambda text: said(503, "The engine is overloaded.", {"Retry-After": "1"}),
    "503 page": lambda text: page(503, "503 Service Temporarily Unavailable"),
    "503 loading": lambda text: said(503, "Loading model", type="unavailable_error", code=503),
    "504": lambda text: page(504, "504 Gateway Time-out"),
    "520": lambda text: Sent(520, "error code: 520", content_type="text/plain"),
    "524": lambda text: page(524, "a timeout occurred"),
    "529": lambda text: Sent(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    "408": lambda text: said(408, "Request timed out."),
    "409": lambda text: said(409, "Conflict."),
    "425": lambda text: Sent(425, "Too Early", content_type="text/plain"),
    "dropped": lambda text: raw(),
    "dropped in the headers": lambda text: raw(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "dropped in the body": lambda text: raw(head(200, b"Content-Length: 5000"), _bytes(text)[:90]),
    "dropped in a chunk": lambda text: raw(
        head(200, b"Transfer-Encoding: chunked"), b"%x\r\n" % len(_bytes(text)), _bytes(text)[:-2]
    ),
    "dropped between chunks": lambda text: raw(
        head(200, b"Transfer-Encoding: chunked"), b"%x\r\n" % len(_bytes(text)), _bytes(text), b"\r\n"
    ),
    "reset": lambda text: raw(reset=True),
    "reset in the body": lambda text: raw(head(200, b"Content-Length: 5000"), _bytes(text)[:90], reset=True, wait=0.01),
    "no http": lambda text: raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "endless header": lambda text: raw(head(200, b"X-Long: " + b"x" * 100_000)),
    "drip": lambda text: Sent(200, b"", raw=_drip),
    "hang": lambda text: Sent(200, b"", raw=_hang),
    "json cut in a string": lambda text: Sent(200, _bytes(text)[:140]),
    "json cut at its end": lambda text: Sent(200, _bytes(text)[:-1]),
    "json twice": lambda text: Sent(200, _bytes(text) * 2),
    "json nested": lambda text: Sent(200, b"[" * 100_000),
    "empty body": lambda text: Sent(200, b""),
    "blank body": lambda text: Sent(200, b" \n\n"),
    "204": lambda text: Sent(204, b""),
    "null": lambda text: Sent(200, b"null"),
    "a number": lambda text: Sent(200, b"NaN"),
    "infinities": lambda text: Sent(200, b'{"choices": [Infinity, -Infinity, NaN], "usage": NaN}'),
    "a text": lambda text: Sent(200, '"OK"', content_type="application/json"),
    "a list": lambda text: Sent(200, []),
    "not utf-8": lambda text: Sent(200, b"\xff\xfe\x00" + json.dumps(completion(text)).encode("utf-16-le")),
    "gzip garbage": lambda text: Sent(200, b"\x00" * 40, {"Content-Encoding": "gzip"}),
    "gzip cut": lambda text: Sent(200, gzip.compress(_bytes(text), mtime=0)[:60], {"Content-Encoding": "gzip"}),
    "events": lambda text: Sent(
        200,
        'data: {"choices": [{"delta": {"content": "1"}, "index": 0}]}\n\ndata: [DONE]\n\n',
        content_type="text/event-stream",
    ),
    "200 page": lambda text: page(200, "503 Backend fetch failed: service unavailable"),
    "no choices": lambda text: {k: v for k, v in completion(text).items() if k != "choices"},
    "choices empty": lambda text: changed(text, choices=[]),
    "choices null": lambda text: changed(text, choices=None),
    "choices of null": lambda text: changed(text, choices=[None]),
    "no message": lambda text: changed(text, choices=[{"index": 0, "finish_reason": "stop"}]),
    "content a number": lambda text: silent(text, 1),  # type: ignore[arg-type]
    "empty message": lambda text: silent(text, ""),
    "blank message": lambda text: silent(text, "\n"),
    "null message": lambda text: silent(text, None),
    "empty, then cut": lambda text: silent(text, " ", None),
    "200 error 429": lambda text: Sent(200, {"error": {"code": 429, "message": "Rate limit exceeded: per minute"}}),
    "200 error 502": lambda text: Sent(200, {"error": {"code": 502, "message": "Provider returned error"}}),
    "200 error text": lambda text: Sent(200, {"error": "upstream connect error"}),
    "200 error list": lambda text: Sent(200, [{"error": {"code": 503, "status": "UNAVAILABLE", "message": "Busy."}}]),
    "200 detail": lambda text: Sent(200, {"detail": "Internal error"}),
    "choice error": lambda text: changed(
        text,
        choice={"logprobs": None, "error": {"code": 502, "message": "Upstream idle timeout"}},
        message={"content": wrong(text)},
    ),
    "error beside a choice": lambda text: silent(text, wrong(text)) | {"error": {"code": 500, "message": "Stopped."}},
    "half: error": lambda text: silent(text, "Response", "error"),
    "half: error with a verdict": lambda text: silent(text, wrong(text), "error"),
    "half: abort": lambda text: silent(text, "The bet", "abort"),
    "half: network_error": lambda text: silent(text, f"{wrong(text)} or", "network_error"),
    "half: no resources": lambda text: silent(text, wrong(text), "insufficient_system_resource"),
    "half: a number": lambda text: silent(text, wrong(text), 7),
}

# Faults that last: the question is left unjudged. Beside each, what its reason must say.
LASTING: dict[str, tuple[Kind, str]] = {
    "too long: openai": (
        lambda text: said(
            400,
            "This model's maximum context length is 4096 tokens. However, your messages resulted in 5012 tokens.",
            type="invalid_request_error",
            param="messages",
            code="context_length_exceeded",
        ),
        "maximum context length",
    ),
    "too long: vllm": (
        lambda text: Sent(
            400,
            {
                "object": "error",
                "message": "This model's maximum context length is 4096 tokens. However, you requested 4112 tokens "
                "(4096 in the messages, 16 in the completion). Please reduce the length of the messages.",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
        "maximum context length",
    ),
    "too long: llama-server": (
        lambda text: said(
            400,
            "the request exceeds the available context size, try increasing it",
            code=400,
            type="exceed_context_size_error",
            n_prompt_tokens=5012,
            n_ctx=4096,
        ),
        "available context size",
    ),
    "too long: tgi": (
        lambda text: Sent(
            422,
            {
                "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2100 "
                "`inputs` tokens and 16 `max_new_tokens`",
                "error_type": "validation",
            },
        ),
        "must be <= 2048",
    ),
    "too long: anthropic": (
        lambda text: Sent(
            400,
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "prompt is too long: 210000 tokens > 200000 maximum",
                },
            },
        ),
        "prompt is too long",
    ),
    "too long: 413": (lambda text: page(413, "413 Request Entity Too Large"), "413 Request Entity Too Large"),
    "too long: detail": (
        lambda text: Sent(
            422,
            {
                "detail": [
                    {
                        "type": "string_too_long",
                        "loc": ["body", "messages", 0, "content"],
                        "msg": "String should have at most 2000 characters",
                    }
                ]
            },
        ),
        "at most 2000 characters",
    ),
    "filtered: azure": (
        lambda text: said(
            400,
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please "
            "modify your prompt and retry.",
            type=None,
            param="prompt",
            code="content_filter",
            innererror={"code": "ResponsibleAIPolicyViolation"},
        ),
        "content management policy",
    ),
    "filtered: invalid_prompt": (
        lambda text: said(
            400,
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            type="invalid_request_error",
            code="invalid_prompt",
        ),
        "flagged",
    ),
    "filtered: dashscope": (
        lambda text: said(
            400,
            "Input data may contain inappropriate content.",
            type="data_inspection_failed",
            code="data_inspection_failed",
        ),
        "inappropriate content",
    ),
    "filtered: moderation": (
        lambda text: said(
            403,
            "Your chosen model requires moderation and your input was flagged for violence.",
            code=403,
            metadata={"reasons": ["violence"], "flagged_input": "…", "provider_name": "x"},
        ),
        "requires moderation",
    ),
    "filtered: 451": (lambda text: said(451, "Unavailable here."), "Unavailable here"),
    "filtered: finish": (lambda text: changed(text, choice={"finish_reason": "content_filter"}), "content filter"),
    "filtered: SAFETY": (lambda text: silent(text, None, "SAFETY"), "content filter"),
    "refusal": (
        lambda text: silent(text, None, refusal="I can't compare such texts."),
        "the model refused: I can't compare such texts",
    ),
    "refusal part": (
        lambda text: silent(text, [{"type": "refusal", "refusal": "I must not."}]),  # type: ignore[arg-type]
        "the model refused: I must not",
    ),
    "a tool": (
        lambda text: silent(
            text, None, "tool_calls", tool_calls=[{"id": "1", "function": {"name": "judge", "arguments": "{}"}}]
        ),
        "tool",
    ),
    "a cut thought": (lambda text: silent(text, "<think>Both are good, so", "length"), "cut off"),
    "a thought apart, cut": (lambda text: silent(text, None, "length", reasoning_content="Both are"), "cut off"),
    "unreadable": (lambda text: silent(text, "I would rather not say which."), "no verdict"),
    "empty for ever": (lambda text: silent(text, ""), "an empty answer"),
    "400": (lambda text: said(400, "Bad request: 17."), "Bad request: 17"),
    "400 text": (lambda text: Sent(400, "no such luck", content_type="text/plain"), "no such luck"),
    "a firewall's page": (lambda text: page(403, "Attention Required! | Firewall"), "Attention Required! | Firewall"),
    "a firewall's 200": (lambda text: page(200, "Request blocked"), "a web page instead of an answer"),
    "404": (lambda text: said(404, "No endpoints found that support this input."), "No endpoints found"),
    "422": (lambda text: Sent(422, {"detail": "Unprocessable: emoji."}), "Unprocessable: emoji"),
    "500 for ever": (lambda text: said(500, "EngineCore encountered an issue."), "EngineCore encountered an issue"),
    "dropped for ever": (lambda text: raw(), "closed the connection"),
    "cut for ever": (lambda text: Sent(200, _bytes(text)[:100]), "no JSON"),
    "aborted for ever": (lambda text: silent(text, wrong(text), "abort"), "finish_reason is 'abort'"),
    "429 for ever": (lambda text: said(429, "Slow down.", {"Retry-After": "0.3"}), "rate limited for longer"),
    "hang for ever": (lambda text: Sent(200, b"", raw=_hang), "no whole answer within"),
}


def _places(text: str, tops: list[Any]) -> dict[str, Any]:
    return changed(text, choice={"logprobs": {"content": [{**listed(text)[0], "top_logprobs": tops}]}})


def _usage(usage: Any) -> Kind:
    return lambda text: changed(text, usage=usage)


# Answers of unusual shapes that say what a plain one says.
ODD: dict[str, Kind] = {
    "parts": lambda text: changed(text, message={"content": [{"type": "text", "text": verdict(text)}]}),
    "reasoning": lambda text: changed(text, message={"reasoning": "Response 2 is better, no: both.", "audio": None}),
    "reasoning_content": lambda text: changed(text, message={"reasoning_content": "Hm. \ud83d"}),
    "thought as a part": lambda text: changed(
        text,
        message={
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Response 2?"}]},
                {"type": "text", "text": verdict(text)},
            ]
        },
    ),
    "unknown alternatives": lambda text: _places(
        text,
        [
            *listed(text),
            {"token": "x", "logprob": None},
            {"token": "y", "logprob": "-Infinity"},
            {"token": "z", "logprob": -9999.0},
            {"token": 7, "logprob": -3.0},
            {"logprob": -3.0},
            None,
            "1",
        ],
    ),
    "alternatives with bytes": lambda text: _places(
        text, [{**top, "bytes": [*top["token"].encode()]} for top in listed(text)]
    ),
    "half a character": lambda text: _places(text, [*listed(text), {"token": "\ud83d", "logprob": -9.0}]),
    "infinite": lambda text: _places(text, [*listed(text), {"token": "q", "logprob": -math.inf}]),
    "legacy": lambda text: changed(
        text,
        choice={
            "logprobs": {
                "tokens": [verdict(text)],
                "token_logprobs": [listed(text)[0]["logprob"]],
                "top_logprobs": [{top["token"]: top["logprob"] for top in listed(text)}],
                "text_offset": [0],
            }
        },
    ),
    "usage texts": _usage({"prompt_tokens": "70", "completion_tokens": "one"}),
    "usage list": _usage([70, 1]),
    "usage null": _usage(None),
    "usage negative": _usage({"prompt_tokens": -1, "completion_tokens": 1e400, "total_tokens": True}),
    "usage half": _usage({"prompt_tokens": 70.5}),
    "extra": lambda text: changed(
        text,
        message={"annotations": [], "error": "none"},
        warnings=["x"],
        prompt_filter_results=[{"x": {}}],
        error=None,
    ),
    "surrogates": lambda text: changed(text, id="\udc00", model="m\ud800", provider="\ud83d"),
    "huge integers": lambda text: changed(text, created=10**400, choice={"seed": 2**200, "index": 0}),
    "finish null": lambda text: changed(text, choice={"finish_reason": None}),
    "finish STOP": lambda text: changed(text, choice={"finish_reason": "STOP", "stop_reason": 2}),
    "no index": lambda text: changed(text, choice={"index": None}),
    "two choices": lambda text: changed(
        text, choices=[{**silent(text, wrong(text))["choices"][0], "index": 1}, *completion(text)["choices"]]
    ),
    "null beside": lambda text: changed(text, choices=[None, *completion(text)["choices"]]),
    "byte order mark": lambda text: Sent(200, b"\xef\xbb\xbf" + _bytes(text)),
    "blanks before": lambda text: Sent(200, b"\n" * 200 + _bytes(text)),
    "plain type": lambda text: Sent(200, _bytes(text), content_type="text/plain"),
    "gzip": lambda text: Sent(200, gzip.compress(_bytes(text), mtime=0), {"Content-Encoding": "gzip"}),
    "201": lambda text: Sent(201, completion(text)),
    "no model": lambda text: {k: v for k, v in completion(text).items() if k not in ("model", "id", "usage")},
    "refusal null": lambda text: changed(text, message={"refusal": None, "tool_calls": [], "function_call": None}),
    "slow": lambda text: Sent(200, b"", raw=lambda request: _chunks(request, _bytes(text))),
    "no keep-alive": lambda text: Sent(200, _bytes(text), {"Connection": "close"}),
}


async def _chunks(request: web.Request, body: bytes) -> None:
    """A plain answer in twenty parts, within the time."""
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    await answer.prepare(request)
    for start in range(0, len(body), -(-len(body) // 20)):
        await answer.write(body[start : start + -(-len(body) // 20)])
        await asyncio.sleep(0.005)
    await answer.write_eof()


# --- the server ---


class Faulty:
    """Questions, each with its kind and how often it was asked."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.pins = [(re.compile(regex), kind) for regex, _, kind in (pin.rpartition("=") for pin in options.pin)]
        self.asks: Counter[str] = Counter()
        self.answered = 0
        self.calls = Path(options.calls).open("a", buffering=1)  # noqa: SIM115 (for as long as the server is there)

    def kind(self, text: str) -> str:
        for regex, kind in self.pins:
            if regex.search(text):
                return kind
        return kind_of(text, self.options.share, self.options.odd)

    def decide(self, text: str) -> tuple[Sent | dict[str, Any], str]:
        """What is sent, and the kind of it; "ok" where it is a verdict."""
        kind = self.kind(text)
        self.asks[text] += 1
        if self.options.credit is not None and self.answered >= self.options.credit:
            return said(429, NO_CREDIT, type="insufficient_quota", code="insufficient_quota"), "no credit"
        if kind in LASTING:
            return LASTING[kind][0](text), kind
        if kind in PASSING and self.asks[text] <= tries_of(text):
            return PASSING[kind](text), kind
        self.answered += 1
        return (ODD[kind](text) if kind in ODD else completion(text)), "ok"

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        text = body["messages"][-1]["content"]
        if self.options.latency:
            await asyncio.sleep(self.options.latency)
        sent, outcome = self.decide(text)
        self.calls.write(f"{time.time():.4f}\t{hash_of(text)}\t{body.get('seed')}\t{self.kind(text)}\t{outcome}\n")
        if isinstance(sent, dict):
            sent = Sent(200, sent)
        if sent.raw is not None:
            await sent.raw(request)
            return web.Response()
        headers = {"Content-Type": sent.content_type, **sent.headers}
        return web.Response(status=sent.status, body=sent.body, headers=headers)


async def serve(options: argparse.Namespace, ready: Callable[[str], object], ended: Callable[[], object]) -> None:
    """Serves until `ended`, which waits, returns; `ready` is told the address."""
    app, server = web.Application(client_max_size=1 << 26), Faulty(options)
    app.add_routes([web.post("/v1/chat/completions", server.chat)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", options.port, backlog=1024)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    ready(f"http://127.0.0.1:{port}/v1")
    await asyncio.to_thread(ended)
    await runner.cleanup()
    server.calls.close()


@contextmanager
def beside(arguments: Sequence[str]) -> Iterator[str]:
    """The server in a thread of this process; its address."""
    ready: queue.Queue[str] = queue.Queue()
    end = threading.Event()
    served = serve(parser().parse_args(arguments), ready.put, end.wait)
    thread = threading.Thread(target=asyncio.run, args=(served,), daemon=True)
    thread.start()
    try:
        yield ready.get(timeout=60)
    finally:
        end.set()
        thread.join(60)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("calls")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.0)
    parser.add_argument("--odd", type=float, default=0.0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--credit", type=int)
    parser.add_argument("--pin", action="append", default=[])
    return parser


def main() -> None:
    logging.disable()
    asyncio.run(serve(parser().parse_args(), lambda url: print(url, flush=True), sys.stdin.read))


if __name__ == "__main__":
    main()
