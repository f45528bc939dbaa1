"""An OpenAI-compatible endpoint: bounded tries, one limit of time, and what its refusals mean for what is asked next.

    transport     a body out, a status and a body back
    completion    a body with status 200: an answer, or a fault within it
    faults        any other: whose fault it is
    dialect       which settings are sent
    here          what follows: ask again, ask otherwise, wait, leave the question out, or end the run

A fault is one of six kinds:

    question    this question's own (too long, against a policy): it gets no reply; the others are asked
    setting     a setting that the server does not take: it is left out from then on, said once
    account     no credit, a refused key: nothing more is asked
    address     no such model or path: nothing more is asked, unless something was answered before
    limit       too many calls: waited out, for as long as `patience` allows
    server      a failure on its side: tried again, with growing waits

Where a fault may be one question's as well as the endpoint's, a question as plain as can be is asked: if that gets no
answer either, the run ends in one line.

The key comes from an environment variable only and is written nowhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rlaif.config import redacted, warn
from rlaif.models.access import check_address, check_headers, check_variable, key_in, normal_address
from rlaif.models.base import Usage
from rlaif.models.completion import Answer, read_completion
from rlaif.models.dialect import LISTED, Dialect
from rlaif.models.faults import Fault, fault_of
from rlaif.models.servers import Server, server_of
from rlaif.models.transport import NoAnswerError, Transport
from rlaif.records import Message
from rlaif.secrets import without_secrets

__all__ = ["Endpoint", "EndpointDownError", "NoReplyError", "Outcome"]

_GIVE_UP_AFTER = 20  # questions in a row without a reply: the endpoint may be down, and asking on only mark failures
_PLAIN = ({"role": "user", "content": "Answer with the number 1 and nothing else."},)  # it is, if this gets no reply
_PLAIN_TRIES = 3
_HEAD_START = 0.25  # seconds that the first question has alone, so that most refusals are met by one call
_LONGEST_WAIT = 60.0  # seconds of one wait, whatever the server asks for: its clock may be wrong
_SECONDS, _SECONDS_LONG, _LONG = 120.0, 600.0, 1024  # for a call, and for one of so many tokens or more
_EMPTY = 3  # times that an empty answer is asked for again


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one question and what it took, failed tries included; `seconds` are the last try's."""

    answer: Answer
    tries: int
    usage: Usage
    seconds: float


class NoReplyError(Exception):
    """No usable answer to one question after all tries; the message is the reason.

    `final` is True where it is the question itself that the endpoint refuses (too long, against its policy), so that
    asking again would fail again. `tries` and `usage` say what it took.
    """

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final
        self.tries = 1
        self.usage = Usage()


class _DoubtError(NoReplyError):
    """No reply, and it may be the endpoint's fault as well as the question's: `down` is what to say then."""

    def __init__(self, reason: str, down: str, busy: bool = True) -> None:
        super().__init__(reason)
        self.down = down
        self.busy = busy  # a rate limit shows that the endpoint is there


class EndpointDownError(ValueError):
    """Nothing can be had from this endpoint: a refused key, a wrong address, a server that is gone."""


@dataclass
class _Question:
    """One question on its way."""

    messages: Sequence[Message]
    wanted: Mapping[str, Any]
    timeout: float
    flexible: bool = False
    begun: float = field(default_factory=time.monotonic)
    tries: int = 0
    failed: int = 0
    limited: int = 0
    limited_since: float = 0.0
    empty: int = 0
    without: dict[str, str] = field(default_factory=dict)  # settings that it was refused with, and the words
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    status: int = 0


@dataclass
class _Here:
    """What belongs to one event loop; several threads may ask at once, each in a loop of its own."""

    transport: Transport
    started: asyncio.Event
    first: bool = True
    sure: asyncio.Lock = field(default_factory=asyncio.Lock)


class Endpoint:
    """A model behind an OpenAI-compatible chat-completions endpoint.

    Args:
        model: the name that the endpoint knows it by.
        base_url: its address, ending in /v1; None for OPENAI_BASE_URL or else OpenAI's own.
        api_key_env: the environment variable that holds the key. An endpoint of your own may need none.
        concurrency: calls in flight.
        max_retries: tries after a failed call. Rate limits are waited out instead and do not count.
        timeout: seconds for one call as a whole, however its answer drips; None for 120, and 600 where it may write
            1,024 tokens or more.
        extra_headers: sent with every call.
        patience: seconds for which one question waits out rate limits.

    Attributes:
        asked: whether it was opened yet.
        server: which kind of server it is, once asked; None where that is not known.
        dialect: what it takes of what it is told.
        on_wait: is called whenever `waiting` changes.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 32,
        max_retries: int = 8,
        timeout: float | None = None,
        extra_headers: Mapping[str, str] | None = None,
        patience: float = 900.0,
    ) -> None:
        if concurrency < 1 or max_retries < 0:
            raise ValueError(
                f"concurrency is {concurrency} and max_retries {max_retries}; expected at least 1 and at least 0."
            )
        self.model = model
        own = os.environ.get("OPENAI_BASE_URL")
        called = "base_url" if base_url or not own else "OPENAI_BASE_URL"
        self.base_url = check_address(base_url or own or "https://api.openai.com/v1", api_key_env, called=called)
        check_variable(api_key_env)
        check_headers(extra_headers or {}, api_key_env)
        self.concurrency = concurrency
        self.max_retries = max_retries
        self.timeout = timeout
        self.extra_headers = dict(extra_headers or {})
        self.patience = patience
        self.asked = False
        self.server: Server | None = None
        self.dialect = Dialect(self._warn_once, self.address)
        self.on_wait: Callable[[], object] = lambda: None
        self._key_env = api_key_env
        self._here: dict[asyncio.AbstractEventLoop, _Here] = {}
        self._heard = 0.0  # when it last answered or refused a question, on the monotonic clock; 0 for never
        self._silent = 0  # questions in a row that got neither
        self._refused = 0  # questions in a row that it refused for a reason that is not known
        self._limits: dict[int, float] = {}  # until when each waiting question waits
        self._said: set[str] = set()

    @property
    def address(self) -> str:
        """The address as lines and files show it: without a query."""
        return normal_address(self.base_url)

    @property
    def waiting(self) -> str:
        """What calls wait for now, in a few words; empty where none waits."""
        if not self._limits:
            return ""
        seconds = max(0.0, min(self._limits.values()) - time.monotonic())
        return f"{len(self._limits)} wait {seconds:.0f} s for a rate limit"

    def check(self) -> str | None:
        """The key, or None where an endpoint of one's own needs none; a ValueError where it must be there."""
        key = key_in(self._key_env)
        if not key and urlsplit(self.base_url).hostname == "api.openai.com":
            raise ValueError(
                f"the environment variable {self._key_env} is not set; expected the key for {self.address}. Export "
                "it, or name another variable with --api_key_env."
            )
        return key

    async def open(self) -> None:
        """Makes the connections of the running event loop, and finds out which kind of server this is."""
        key = self.check()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        transport = Transport(self.base_url, headers | self.extra_headers)
        self._here[asyncio.get_running_loop()] = _Here(transport, asyncio.Event())
        if not self.asked:
            self.asked = True
            self.server = await server_of(transport.get, self.address, self.model)

    async def close(self) -> None:
        """Closes the connections."""
        here = self._here.pop(asyncio.get_running_loop(), None)
        if here is not None:
            await here.transport.close()

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        temperature: float,
        max_tokens: int,
        logprobs: bool = False,
        seed: int | None = None,
        top_p: float | None = None,
        reasoning_effort: str | None = None,
        extra_body: Mapping[str, Any] | None = None,
        flexible: bool = False,
    ) -> Outcome:
        """The model's answer to `messages`.

        Args:
            messages: the conversation.
            temperature, max_tokens, seed, top_p: sampling.
            logprobs: ask for the likeliest tokens at each place, 20 of them or as many as the endpoint lists.
            reasoning_effort, extra_body: passed on as they are; `extra_body` wins over what is set here.
            flexible: `max_tokens` is nobody's choice: where the endpoint gives fewer, this question alone is refused.

        Raises:
            NoReplyError: no answer after all tries.
            EndpointDownError: there is no point in asking this endpoint anything.
        """
        wanted: dict[str, Any] = {
            **(self.server.neutral if self.server else {}),
            "temperature": temperature,
            "seed": seed,
            "max_tokens": max_tokens,
            "top_p": top_p,
            "reasoning_effort": reasoning_effort,
            **({"logprobs": True, "top_logprobs": LISTED} if logprobs else {}),
            **(extra_body or {}),
        }
        wanted = {name: value for name, value in wanted.items() if value is not None}
        here = self._here[asyncio.get_running_loop()]
        if here.first:
            here.first = False
        elif not here.started.is_set() and not self._heard:
            # The first question may never be answered: nobody waits for it longer than a moment.
            try:
                await asyncio.wait_for(here.started.wait(), _HEAD_START)
            except TimeoutError:
                here.started.set()
        timeout = self.timeout or (_SECONDS if max_tokens < _LONG else _SECONDS_LONG)
        question = _Question(messages, wanted, timeout, flexible)
        try:
            answer = await self._persist(question, here)
        except NoReplyError as error:
            error.tries, error.usage = max(question.tries, 1), question.usage
            if isinstance(error, _DoubtError):
                await self._be_sure(error, question, here)
            here.started.set()
            raise
        here.started.set()
        return Outcome(answer, question.tries, question.usage, question.seconds)

    async def _persist(self, question: _Question, here: _Here) -> Answer:
        """One question until it is answered, refused, or tried often enough."""
        while True:
            sent = self.dialect.sent(question.wanted, question.without)
            found = await self._once(question, sent, here)
            if isinstance(found, Answer):
                self._hear()
                self._refused = 0
                self.dialect.took(sent, question.without)
                question.usage += found.usage
                # Nothing was written, and nothing says why: another try may well give something.
                empty = found.reason is None and found.finish == "stop" and not (found.text or "").strip()
                if not empty or question.empty >= min(_EMPTY, self.max_retries):
                    return found
                question.empty += 1
                wait = _backoff(question.empty)
            else:
                wait = self._meet(found, question, sent)
                if wait:  # else it has learned what to leave out, and may learn more
                    here.started.set()
            if isinstance(found, Fault) and found.kind == "limit":
                await self._wait_out(wait, question)
            else:
                await asyncio.sleep(wait)

    async def _wait_out(self, seconds: float, question: _Question) -> None:
        """Waits where whoever looks on can see it."""
        until = time.monotonic() + seconds
        self._limits[id(question)] = until
        try:
            while (left := until - time.monotonic()) > 0.0:
                self.on_wait()
                await asyncio.sleep(min(left, 1.0))
        finally:
            del self._limits[id(question)]
            self.on_wait()

    async def _once(self, question: _Question, sent: Mapping[str, Any], here: _Here) -> Answer | Fault | NoAnswerError:
        """One call."""
        body = json.dumps({"model": self.model, "messages": list(question.messages), **sent}).encode()
        question.tries += 1
        start = time.perf_counter()
        try:
            answered = await here.transport.post("chat/completions", body, question.timeout)
        except NoAnswerError as error:
            return error
        finally:
            question.seconds = round(time.perf_counter() - start, 3)
        question.status = answered.status
        asked = {"messages": question.messages, **sent}  # what a server quotes of a question says nothing about it
        if 200 <= answered.status < 300:
            answer = read_completion(answered.body, asked)
            return self._without_keys(answer) if isinstance(answer, Answer) else answer
        return fault_of(answered.status, answered.headers, answered.body, asked, time.time())

    def _meet(self, fault: Fault | NoAnswerError, question: _Question, sent: Mapping[str, Any]) -> float:
        """What a fault means for its question and for all others: seconds until the next try, or one of the errors."""
        if isinstance(fault, NoAnswerError):
            return self._failed(_clean(str(fault)), question, connected=fault.connected)
        words = _clean(fault.words)
        if fault.kind == "limit":
            return self._limited(fault, words, question)
        if fault.kind == "server":
            return self._failed(words, question, wait=fault.wait)
        refused = "refused" if question.status < 300 else f"refused with status {question.status}"
        if fault.kind == "account":
            down = (
                f"{self.address} refused the key in {self._key_env}, or its account: {words}. Set the right one, or "
                "see to the account, and run the same command again; what was answered is stored."
            )
            if question.status == 407:
                down = f"a proxy before {self.address} refused the call: {words}. Check HTTPS_PROXY in the environment."
            if question.status == 403:  # a firewall may forbid what a text holds
                raise _DoubtError(f"{refused}: {words}", down)
            raise EndpointDownError(down)
        if fault.kind == "address":
            self._silent += 1
            down = (
                f"{self.address} does not answer as an endpoint with the model {self.model!r}: {words}. Check the "
                "model's name, and that the address is right; it usually ends in /v1."
            )
            if not self._heard or self._silent >= _GIVE_UP_AFTER:
                raise _DoubtError(f"{refused}: {words}", down)
            raise NoReplyError(f"{refused}: {words}")
        self._hear()
        if fault.kind == "setting":
            if fault.setting in ("max_tokens", "max_completion_tokens") and fault.most is not None:
                if question.flexible:
                    raise NoReplyError(f"{refused}: {words}", final=True)
                raise EndpointDownError(
                    f"{self.address} gives at most {fault.most} tokens and max_tokens is {sent[fault.setting]}; "
                    "expected no more than that: lower --max_tokens (of rlaif sample, --max_new_tokens)."
                )
            # A server that fails may name anything: what it says counts for this question alone.
            if self.dialect.learn(fault, words if question.status < 500 else "", sent, question.without):
                return 0.0
        self._refused += 0 if fault.final else 1
        if self._refused == _GIVE_UP_AFTER:
            self._warn_once(
                "refused",
                f"{self.address} refused {self._refused} questions in a row, the last with: {words}. They are left "
                "out and the others are asked; if all are refused, check the settings.",
            )
        raise NoReplyError(f"{refused}: {words}", final=fault.final)

    def _limited(self, fault: Fault, words: str, question: _Question) -> float:
        """Seconds to wait out a rate limit, for which the user's patience is there."""
        now = time.monotonic()
        if not question.limited:
            question.limited_since = now
        question.limited += 1
        wait = min(30.0, 0.5 * 2.0 ** min(question.limited, 6))
        if fault.wait is not None:
            wait = max(fault.wait, wait / 16)  # a wait of 0 s would be a storm
        if wait > _LONGEST_WAIT:
            self._warn_once(
                "wait",
                f"{self.address} asks for a wait of {wait:.0f} s ({words}); it is asked again every "
                f"{_LONGEST_WAIT:.0f} s, for {self.patience:g} s in all (--patience).",
            )
            wait = _LONGEST_WAIT
        # Everybody was told to come back after the same time: spread the crowd.
        wait *= random.uniform(1.0, 1.5)
        left = question.limited_since + self.patience - now
        if left <= 0.0:
            reason = f"rate limited for longer than --patience {self.patience:g} s: {words}"
            if self._heard <= question.limited_since:
                raise _DoubtError(
                    reason,
                    f"{self.address} answered nothing and was {reason}. What it answered before is stored; run the "
                    "same command again later, or with more patience.",
                    busy=False,
                )
            raise NoReplyError(reason)
        return min(wait, left)

    def _failed(self, words: str, question: _Question, *, connected: bool = True, wait: float | None = None) -> float:
        """Seconds until a failed call is tried again."""
        question.failed += 1
        most = self.max_retries if connected or self._heard else min(3, self.max_retries)
        if question.failed <= most:
            if wait is None:
                return _backoff(question.failed)
            # What it asks for is waited out as a rate limit is, within the user's patience; then tried as usual.
            left = question.begun + self.patience - time.monotonic()
            return max(_backoff(question.failed), min(wait, _LONGEST_WAIT, left))
        reason = f"no answer after {question.failed} tries: {words}"
        if not connected and self._heard <= question.begun:
            if not self._heard:
                raise EndpointDownError(
                    f"no connection to {self.address} ({words}); is the server running, and is the address right? It "
                    "usually ends in /v1."
                )
            raise EndpointDownError(
                f"{self.address} takes no connections any more ({words}). What it answered before is stored; run the "
                "same command again when it is back."
            )
        self._silent += 1
        if self._silent >= _GIVE_UP_AFTER:
            raise _DoubtError(
                reason,
                f"{self.address} left {self._silent} questions in a row unanswered, the last with: {reason}. What it "
                "answered before is stored; run the same command again when it is back.",
            )
        raise NoReplyError(reason)

    async def _be_sure(self, doubt: _DoubtError, question: _Question, here: _Here) -> None:
        """Ends the run with `doubt.down`, unless a question as plain as can be is answered.

        A run that goes on has asked all others before, so that those on which the server itself fails come in a row.
        """
        heard = self._heard
        async with here.sure:
            plain = _Question(_PLAIN, question.wanted, question.timeout)
            while self._heard == heard:
                found = await self._once(plain, self.dialect.sent(plain.wanted, plain.without), here)
                kind = None if isinstance(found, Answer) else found.kind if isinstance(found, Fault) else "server"
                if kind in {None, "question", "setting"} or (kind == "limit" and doubt.busy):
                    self._hear()
                elif kind != "server" or plain.tries == _PLAIN_TRIES:
                    raise EndpointDownError(doubt.down)
                else:
                    await asyncio.sleep(_backoff(plain.tries))
        self._warn_once(
            "left out",
            f"{self.address} left some questions without a reply (the last: {doubt}) and answers others: these are "
            "left out, and the next run asks them again.",
        )

    def _hear(self) -> None:
        self._heard, self._silent = time.monotonic(), 0

    def _warn_once(self, kind: str, message: str) -> None:
        """Warns of one kind of thing once."""
        if kind not in self._said:
            self._said.add(kind)
            warn(message)

    def _without_keys(self, answer: Answer) -> Answer:
        """An answer in which a server repeats what it was sent; what only looks like a key is the judge's own text."""
        text, reasoning = (part and without_secrets(part) for part in (answer.text, answer.reasoning))
        reason, served_by = (part and _clean(part) for part in (answer.reason, answer.served_by))
        tokens = "\0".join(token for place in answer.places or () for token in (place.token, *dict(place.listed)))
        if text != answer.text or tokens != without_secrets(tokens):  # its tokens still spell the key
            answer = answer._replace(places=(), unusable="the answer repeats a key")
        return answer._replace(text=text, reasoning=reasoning, reason=reason, served_by=served_by)


def _clean(words: str) -> str:
    """A server's words without keys: it may well repeat what it was sent. They end without a full stop."""
    return " ".join(redacted(words).split()).rstrip(".")


def _backoff(failed: int) -> float:
    """Seconds before the next try after `failed` of them: half a second, doubled each time, at most 8."""
    return min(8.0, 0.25 * 2.0**failed) * random.uniform(0.5, 1.0)
