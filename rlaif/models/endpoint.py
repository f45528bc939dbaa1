"""An OpenAI-compatible endpoint: bounded concurrency, retries that respect Retry-After, and errors as values.

What endpoints differ in is found out once and remembered: whether they give log-probabilities (by the first question
that is answered), whether they want `max_tokens` or `max_completion_tokens`, whether they take `temperature` and
`seed`. A setting that is left out from then on is warned about.

The key comes from an environment variable only and is written nowhere.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rlaif.config import warn
from rlaif.models.base import Place, Usage
from rlaif.records import Message

__all__ = ["Answer", "Endpoint", "EndpointDownError", "NoReplyError"]

_PATIENCE = 900.0  # seconds that a question may spend waiting out rate limits
_GIVE_UP_AFTER = 20  # questions in a row without a reply: the endpoint is down, and asking on would only mark failures


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered. `places` holds each generated token with its alternatives' log-probabilities.

    `usage` and `tries` are summed over all tries; `complete` is False where the model was cut off at `max_tokens`.
    """

    text: str
    places: list[Place] | None
    usage: Usage
    seconds: float
    complete: bool
    tries: int = 1
    reasoning: str | None = None
    served_by: str | None = None


class NoReplyError(Exception):
    """No usable answer to one question after all retries; the message is the reason.

    `final` is True where it is the question itself that the endpoint refuses (too long, against its policy), so that
    asking again would fail again. `tries` and `usage` say what it took.
    """

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final
        self.tries = 1
        self.usage = Usage()


class EndpointDownError(ValueError):
    """Nothing can be had from this endpoint: a refused key, a wrong address, a server that is gone."""


class Endpoint:
    """A model behind an OpenAI-compatible chat-completions endpoint.

    Args:
        model: the name that the endpoint knows it by.
        base_url: its address, ending in /v1; None for OPENAI_BASE_URL or else OpenAI's own.
        api_key_env: the environment variable that holds the key. An endpoint of your own may need none.
        concurrency: calls in flight.
        max_retries: tries after a failed call. Rate limits are waited out instead and do not count.
        timeout: seconds for one call.
        extra_headers: sent with every call.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 32,
        max_retries: int = 8,
        timeout: float = 120.0,
        extra_headers: Mapping[str, str] | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; expected at least 1 call in flight.")
        self.model = model
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        if "@" in urlsplit(self.base_url).netloc:
            raise ValueError(
                "base_url holds a user name or password, which would be written to the manifest; expected an address "
                f"without. Put the key into {api_key_env}."
            )
        self.concurrency = concurrency
        self.max_retries = max_retries
        self.timeout = timeout
        self.extra_headers = dict(extra_headers or {})
        self._key_env = api_key_env
        self._clients: dict[asyncio.AbstractEventLoop, tuple[Any, asyncio.Lock]] = {}
        self._unsupported: set[str] = set()
        self._gave_logprobs = False
        self._probed = False
        self._answered = 0
        self._silent = 0

    @property
    def gives_logprobs(self) -> bool:
        """Whether log-probabilities may still be asked for (True until the probe says otherwise)."""
        return "logprobs" not in self._unsupported

    def check(self) -> str:
        """The key, or "none" where an endpoint of one's own needs none; a ValueError where it must be there."""
        key = os.environ.get(self._key_env)
        if not key and "api.openai.com" in self.base_url:
            raise ValueError(
                f"the environment variable {self._key_env} is not set; expected the key for {self.base_url}. Export "
                "it, or name another variable with --api_key_env."
            )
        return key or "none"

    def open(self) -> None:
        """Makes the client of the running event loop: several threads may ask at once, each in a loop of its own."""
        import openai

        client = openai.AsyncOpenAI(api_key=self.check(), base_url=self.base_url, max_retries=0, timeout=self.timeout)
        self._clients[asyncio.get_running_loop()] = client, asyncio.Lock()

    async def close(self) -> None:
        """Closes the connections."""
        client, _ = self._clients.pop(asyncio.get_running_loop(), (None, None))
        if client is not None:
            await client.close()

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
    ) -> Answer:
        """The model's answer to `messages`.

        Args:
            messages: the conversation.
            temperature, max_tokens, seed, top_p: sampling; what the endpoint refuses is left out from then on.
            logprobs: ask for the 20 likeliest tokens at each place, if the endpoint has them. From one that gave them
                with the first answer, an answer without them is asked for again, up to three times.
            reasoning_effort, extra_body: passed on as they are.

        Raises:
            NoReplyError: no answer after all retries.
            EndpointDownError: there is no point in asking this endpoint anything.
        """
        wanted: dict[str, Any] = {"temperature": temperature, "seed": seed, "max_tokens": max_tokens}
        if top_p is not None:
            wanted["top_p"] = top_p
        if logprobs:
            wanted |= {"logprobs": True, "top_logprobs": 20}
        if reasoning_effort is not None:
            wanted["reasoning_effort"] = reasoning_effort
        if extra_body:
            wanted["extra_body"] = dict(extra_body)
        if not self._probed:
            # The first question goes alone, so that what the endpoint refuses is found out once and not by all.
            async with self._clients[asyncio.get_running_loop()][1]:
                if not self._probed:
                    return await self._persist(messages, wanted)
        return await self._persist(messages, wanted)

    async def _persist(self, messages: Sequence[Message], wanted: dict[str, Any]) -> Answer:
        """One question with its retries."""
        spent = _Spent()
        try:
            answer = await self._tries(messages, wanted, spent)
        except NoReplyError as error:
            error.tries, error.usage = max(spent.tries, 1), spent.usage
            raise
        return dataclasses.replace(answer, tries=spent.tries, usage=spent.usage)

    async def _tries(self, messages: Sequence[Message], wanted: dict[str, Any], spent: _Spent) -> Answer:
        import openai

        failed = limited = bare = 0
        deadline = time.monotonic() + _PATIENCE
        while True:
            wait = min(8.0, 0.5 * 2**failed) * random.uniform(0.5, 1.0)
            try:
                spent.tries += 1
                answer = await self._once(messages, wanted)
            except openai.RateLimitError as error:
                if "insufficient_quota" in str(error):
                    raise EndpointDownError(f"{self.base_url} has no quota left for this key: {_line(error)}") from None
                limited += 1
                wait = _retry_after(error) or min(30.0, 0.5 * 2 ** min(limited, 6))
                # Everybody was told to come back after the same time: spread the crowd.
                wait *= random.uniform(1.0, 1.5)
                if time.monotonic() + wait > deadline:
                    raise self._no_reply(f"rate limited for {_PATIENCE:.0f} s: {_line(error)}") from None
            except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
                raise EndpointDownError(
                    f"{self.base_url} refused the key in {self._key_env} ({_line(error)}); set the right one and run "
                    "the same command again."
                ) from None
            except (
                openai.APIConnectionError,
                openai.InternalServerError,
                openai.ConflictError,
                _BadBodyError,
                _RequestTimeoutError,
            ) as error:
                failed += 1
                if not self._answered and failed > 3 and isinstance(error, openai.APIConnectionError):
                    raise EndpointDownError(
                        f"no connection to {self.base_url} ({_line(error)}); is the server running, and is the address "
                        "right? It usually ends in /v1."
                    ) from None
                if failed > self.max_retries:
                    raise self._no_reply(f"no answer after {failed} tries: {_line(error)}") from None
                wait = _retry_after(error) or wait
            except openai.APIStatusError as error:
                # 400, 404, 413, 422: asking again the same way would fail the same way.
                if _about_the_question(error):
                    raise NoReplyError(f"refused with status {error.status_code}: {_line(error)}", final=True) from None
                if not self._answered and self._silent >= 4:
                    raise EndpointDownError(
                        f"{self.base_url} refused every question so far, the last with: {_line(error)}; check the "
                        f"model name ({self.model!r}) and the settings."
                    ) from None
                raise self._no_reply(f"refused with status {error.status_code}: {_line(error)}") from None
            else:
                self._answered += 1
                self._silent = 0
                spent.usage += answer.usage
                if answer.text.strip():
                    if not (self._gave_logprobs and wanted.get("logprobs") and not answer.places and bare < 3):
                        return answer
                    bare += 1
                else:
                    failed += 1
                    if failed > self.max_retries or not answer.complete:
                        return answer
            await asyncio.sleep(wait)

    def _no_reply(self, reason: str) -> Exception:
        self._silent += 1
        if self._silent >= _GIVE_UP_AFTER:
            return EndpointDownError(
                f"{self.base_url} left {self._silent} questions in a row unanswered, the last with: {reason}. What it "
                "answered before is stored; run the same command again when it is back."
            )
        return NoReplyError(reason)

    async def _once(self, messages: Sequence[Message], wanted: Mapping[str, Any]) -> Answer:
        """One call, in the endpoint's dialect; learns the dialect from what is refused."""
        import openai

        left_out: set[str] = set()  # from this call alone
        while True:
            unsupported = self._unsupported | left_out
            settings = {k: v for k, v in wanted.items() if k not in unsupported and v is not None}
            if "max_tokens" in unsupported:
                settings["max_completion_tokens"] = wanted["max_tokens"]
            if "logprobs" in unsupported:
                settings.pop("top_logprobs", None)
            start = time.perf_counter()
            try:
                answer = await self._clients[asyncio.get_running_loop()][0].chat.completions.create(
                    model=self.model, messages=list(messages), extra_headers=self.extra_headers, **settings
                )
            except openai.APIStatusError as error:
                if error.status_code == 408:
                    raise _RequestTimeoutError(_line(error)) from None
                # OpenAI says 403 where a model may not be asked for log-probabilities.
                if error.status_code not in {400, 403, 422} or _about_the_question(error):
                    raise
                refused = _refused_setting(error, settings)
                if refused is None:
                    raise
                if refused == "logprobs" and self._gave_logprobs:
                    left_out.add(refused)  # decided with the first answer, and not again
                else:
                    self._leave_out(refused)
                continue
            except ValueError as error:  # a body that is not JSON, or not a completion
                raise _BadBodyError(f"an unreadable body: {_line(error)}") from None
            break
        self._probed = True
        try:
            choice = answer.choices[0]
            text = _text(choice.message.content or "") or ""
        except (AttributeError, IndexError, TypeError):
            raise _BadBodyError("a body without choices") from None
        places = None
        if settings.get("logprobs"):
            content = getattr(choice.logprobs, "content", None)
            if content:
                self._gave_logprobs = self.gives_logprobs  # not where an earlier answer decided otherwise
                places = [_place(p) for p in content]
            elif text and not self._gave_logprobs:
                self._leave_out("logprobs")  # taken, but not given
        usage = answer.usage
        reasoning = getattr(choice.message, "reasoning_content", None) or getattr(choice.message, "reasoning", None)
        return Answer(
            text=text,
            places=places,
            usage=Usage(_count(getattr(usage, "prompt_tokens", 0)), _count(getattr(usage, "completion_tokens", 0))),
            seconds=round(time.perf_counter() - start, 3),
            complete=choice.finish_reason != "length",
            reasoning=_text(reasoning),
            served_by=_text(getattr(answer, "system_fingerprint", None) or getattr(answer, "model", None)),
        )

    def _leave_out(self, setting: str) -> None:
        if setting in self._unsupported:
            return  # calls in flight learn the same thing
        self._unsupported.add(setting)
        if setting in _WITHOUT:
            warn(f"{self.base_url} does not take or give {setting} and is asked without it: {_WITHOUT[setting]}.")


# What it means to go on without a setting. (`max_tokens` only changes its name.)
_WITHOUT = {
    "logprobs": "answers are read from the text",
    "temperature": "it samples at a temperature of its own, whatever the settings and the manifest say",
    "seed": "sampled answers cannot be had again",
    "top_p": "it samples with a top_p of its own, whatever the settings and the manifest say",
}


class _BadBodyError(Exception):
    """An answer came, but its body could not be read."""


class _RequestTimeoutError(Exception):
    """The endpoint gave up waiting for the question (status 408)."""


@dataclass
class _Spent:
    """What one question has taken so far."""

    tries: int = 0
    usage: Usage = field(default_factory=Usage)


def _text(value: Any) -> str | None:
    """A text that can be stored: half of a surrogate pair, as a cut JSON escape leaves it, is replaced."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _count(value: Any) -> int:
    """A number of tokens; 0 for what is none."""
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else 0


def _logp(value: Any) -> float | None:
    """A log-probability, at most 0 but for rounding; None for what is none."""
    return min(float(value), 0.0) if isinstance(value, int | float) and value <= 0.01 else None


def _place(place: Any) -> Place:
    """A generated token with what is listed at its place, but for log-probabilities that are no numbers."""
    both = [(_text(str(t.token)) or "", _logp(t.logprob)) for t in place.top_logprobs or []]
    listed = tuple((token, logp) for token, logp in both if logp is not None)
    return Place(_text(str(place.token)) or "", _logp(place.logprob), listed)


def _about_the_question(error: Any) -> bool:
    """Whether a 4xx is about this one question (its length, its content) and not about how the endpoint is called."""
    text = str(error).lower()
    return error.status_code == 413 or (
        error.status_code in {400, 422} and any(word in text for word in _ITS_OWN_FAULT)
    )


_ITS_OWN_FAULT = (
    "context length",
    "context_length",
    "context window",
    "too long",
    "too large",
    "content_filter",
    "content filter",
    "content management policy",
    "content policy",
    "safety",
)


def _refused_setting(error: Any, settings: Mapping[str, Any]) -> str | None:
    """Which of our optional settings a 4xx says it does not take: by its `param`, or by its message's words."""
    names = {name: name for name in ("logprobs", "max_tokens", "temperature", "seed", "top_p") if name in settings}
    if "logprobs" in names:
        names |= {"top_logprobs": "logprobs", "log probabilities": "logprobs"}
    if error.status_code != 403 and getattr(error, "param", None) in names:
        return names[error.param]
    text = str(error).lower()
    if not _NOT_TAKEN.search(text):
        return None
    found = {match.start(): names[name] for name in names if (match := re.search(rf"\b{name}\b", text))}
    return found[min(found)] if found else None


_NOT_TAKEN = re.compile(
    r"unsupported|(?:not|n['’]t) (?:currently )?support|unrecogni[sz]ed|unexpected|not (?:permitted|allowed|available)"
)


def _retry_after(error: Any) -> float | None:
    """Seconds that the endpoint asked us to wait, if it said so."""
    response = getattr(error, "response", None)
    value = response.headers.get("retry-after") if response is not None else None
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None  # an HTTP date: rare, and our own back-off does as well


def _line(error: object) -> str:
    return " ".join(str(error).encode("utf-8", "replace").decode().split())[:200]
