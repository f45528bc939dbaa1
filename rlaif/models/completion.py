"""The one validation of what an endpoint answered: a body becomes an Answer, or the Fault that it is instead.

    Answer           what a chat completion says, of any shape, in shapes of ours
    read_completion  of a body with a status of 2xx

Nothing is interpreted here: the text stays as it came, thoughts in it too, and reading it is the judge's (judging/).
Pure functions of bytes: any input has an answer, and none raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from rlaif.models.base import Place, Usage
from rlaif.models.bodies import one_line, parsed, tells
from rlaif.models.faults import Fault, fault_in

__all__ = ["Answer", "read_completion"]

JSON = Any
_LAST = 32  # places of an answer that are kept: the verdict stands at its end
_LOOK = 4096  # places at the end of an answer that are looked at for where its text ends
_TRAILING = 4  # of them, places after the answer's end: stop tokens
_DEPTH = 6  # levels of lists within a content
_LEAST = -700.0  # log-probabilities below it stand for "unknown": -9999, -inf, -1e30; exp() of them is 0


class Answer(NamedTuple):
    """What an endpoint answered.

    Attributes:
        text: what was written, as it came; None where nothing was.
        reasoning: what was thought before, where that comes apart from the text.
        places: the tokens at the answer's end with what is listed at each, at most 32; None where none were given,
            and () where what was given cannot be used.
        finish: "stop" (whole), "length" (cut off at `max_tokens`), "error" (`reason` says why).
        reason: why there is no text although the server answered: a refusal, a filter.
        usage: tokens; None where the server does not count.
        served_by: what the server says that it is.
        unusable: why given log-probabilities cannot be used.
    """

    text: str | None
    reasoning: str | None = None
    places: tuple[Place, ...] | None = None
    finish: str = "stop"
    reason: str | None = None
    usage: Usage = Usage()
    served_by: str | None = None
    unusable: str | None = None


# Who ends an answer with which word (finish_reason), in lower case and without what stands before a dot.
_WHOLE = {
    "stop", "",  # OpenAI and nearly all others; Gemini "STOP"
    "null", "none",  # DashScope, as a text
    "eos", "eos_token",  # Together, TGI
    "stop_sequence", "end_turn",  # TGI, Anthropic
    "complete", "completed", "finish", "finished", "done", "end",  # Cohere; small servers
    "finish_reason_stop", "stop_token", "end_of_text", "eot",
}  # fmt: skip
_CUT = {
    "length",  # OpenAI and nearly all others
    "max_tokens", "max_output_tokens", "max_length",  # Anthropic, Gemini, Cohere
    "model_length", "model_context_window_exceeded", "context_length", "context_window_exceeded",  # Mistral, Anthropic
    "max_new_tokens", "token_limit",
}  # fmt: skip
_FILTERED = {
    "content_filter", "content_filtered",  # OpenAI, Azure, DeepSeek; Bedrock
    "safety", "recitation", "blocklist", "prohibited_content", "spii",  # Gemini
    "sensitive",  # Zhipu
    "guardrail_intervened", "guardrails", "moderation", "error_toxic", "flagged",  # Bedrock, gateways, Cohere
}  # fmt: skip
_TOOL = {"tool_calls", "tool_call", "tool_use", "function_call", "malformed_function_call"}
_REFUSED = {"refusal", "refused"}
_LOOPED = {"repetition"}  # vLLM, where it is told to look for loops
# All others are half an answer: "error" (OpenRouter, Mistral), "insufficient_system_resource" (DeepSeek),
# "network_error" (Zhipu), "abort" (vLLM, SGLang), "other" (Gemini), "cancelled", no text at all.


def read_completion(body: bytes, sent: Mapping[str, Any]) -> Answer | Fault:
    """What a body with a status of 2xx says.

    Args:
        body: as it came.
        sent: the settings that were sent, by name.
    """
    value = parsed(body)
    if value is None:
        return _no_json(body)
    if not isinstance(value, dict):
        return fault_in(value, sent) if _has_error(value) else _half(f"a body that is {_kind(value)}")
    if error := _error(value):
        return fault_in(error, sent)
    choice = _choice(value.get("choices"))
    if choice is None:
        return _half("a body without choices")
    if choice.get("error"):
        return fault_in({"error": choice["error"]}, sent)
    return _answer(value, choice)


def _answer(value: dict[str, JSON], choice: dict[str, JSON]) -> Answer | Fault:
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice["text"]} if isinstance(choice.get("text"), str) else None
    if message is None:
        return _half("a body without a message")
    written = _Written([], [], [])
    if not _collect(message.get("content"), written, 0):
        return _half(f"content that is {_kind(message.get('content'))}")
    text = None if message.get("content") is None else "".join(written.text)
    if not written.text and (written.reasoning or written.refusal):
        text = None
    reasoning = "".join(written.reasoning) or _reasoning(message)
    refusal = "".join(written.refusal) or _joined(message.get("refusal"))
    tools = bool(message.get("tool_calls") or message.get("function_call"))

    word = choice.get("finish_reason")
    finish = word.rpartition(".")[2].strip().lower() if isinstance(word, str) else "" if word is None else None
    bare = not (text or "").strip()
    cut, reason = finish in _CUT, None
    if finish in _REFUSED or (refusal.strip() and (bare or finish in _FILTERED)):
        reason = f"the model refused: {one_line(refusal or text or '') or 'without words'}"
    elif finish in _FILTERED:
        reason = "stopped by the server's content filter"
    elif finish in _LOOPED:
        reason = "stopped by the server because it repeated itself"
    elif bare and (finish in _TOOL or (tools and finish in _WHOLE)):
        reason = "asked for a tool instead of answering"
    elif not (cut or finish in _WHOLE or finish in _TOOL):
        shown = repr(one_line(word, 40)) if isinstance(word, str) else _kind(word)
        return _half(f"half an answer: finish_reason is {shown}")

    served_by = next(
        (s for s in (value.get("system_fingerprint"), value.get("model")) if s and isinstance(s, str)), None
    )
    common = (_usage(value.get("usage")), _clean(served_by) if served_by else None)
    if reason is not None:
        return Answer(None, _clean(reasoning) or None, None, "error", reason, *common)
    if text is not None:
        text = _clean(text)
    given = choice.get("logprobs")
    places, unusable = (
        _places(given, text or "") if given else _old_llama(value.get("completion_probabilities"), text or "")
    )
    return Answer(text, _clean(reasoning) or None, places, "length" if cut else "stop", None, *common, unusable)


# --- bodies that are no completion ---


def _half(words: str) -> Fault:
    return Fault("server", words)


def _no_json(body: bytes) -> Fault:
    text = body[:4000].decode("utf-8", "replace").strip()
    if not text:
        return _half("an empty body")
    if text == "null":
        return _half("a body that is null")
    if text.startswith("<"):
        page = fault_in(text, {}).words
        if _FOR_NOW.search(page):
            return _half(f"a web page instead of an answer: {page}")
        return Fault("address", "a web page instead of an answer: is the address right (it usually ends in /v1)?")
    if text.startswith(("data:", "event:", "id:", ": ")):
        return _half("a stream of events instead of an answer, which was not asked for")
    return _half("a body that is no JSON, or is cut off")


_FOR_NOW = re.compile(r"gateway|timed? ?out|unavailable|maintenance|overload|try again|\b5\d\d\b", re.IGNORECASE)


def _kind(value: JSON) -> str:
    return _KINDS.get(type(value), "null")


_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}


def _has_error(value: JSON) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "error" in value[0]


def _error(value: dict[str, JSON]) -> JSON:
    """What of `value` tells of an error although the status is 200; None where nothing does."""
    if value.get("error"):
        return {"error": value["error"]}
    if value.get("choices"):
        return None
    state = value.get("base_resp")  # MiniMax
    if isinstance(state, dict) and state.get("status_code"):
        return {"base_resp": state}
    told = {k: v for k, v in value.items() if k in {"detail", "errors", "message", "code", "msg", "type", "status"}}
    return told if tells(told) else None


def _choice(choices: JSON) -> dict[str, JSON] | None:
    """The choice with index 0, else the first."""
    if not isinstance(choices, list):
        return None
    those = [choice for choice in choices if isinstance(choice, dict)]
    return next((choice for choice in those if choice.get("index") in (0, "0")), those[0] if those else None)


# --- what was written ---


class _Written(NamedTuple):
    text: list[str]
    reasoning: list[str]
    refusal: list[str]


_THOUGHTS = {"thinking", "reasoning", "reasoning_content", "reasoning_text", "summary_text", "thought"}


def _collect(content: JSON, into: _Written, depth: int) -> bool:
    """Sorts a content into text, reasoning and refusal; False where it is nothing that a content can be."""
    if content is None:
        return True
    if isinstance(content, str):
        into.text.append(content)
        return True
    if isinstance(content, list):
        return all(isinstance(part, str | dict | list) and _part(part, into, depth) for part in content)
    return isinstance(content, dict) and "text" in content and _part(content, into, depth)


def _part(part: JSON, into: _Written, depth: int) -> bool:
    if isinstance(part, str):
        into.text.append(part)
        return True
    if isinstance(part, list):
        return depth < _DEPTH and _collect(part, into, depth + 1)
    kind = part.get("type")
    if not isinstance(kind, str | None):
        return True
    if kind in _THOUGHTS:
        into.reasoning.append(_joined(part.get("thinking") or part.get("reasoning") or part.get("text") or part))
    elif kind == "refusal":
        into.refusal.append(_joined(part.get("refusal") or part.get("text")))
    elif kind in {"text", "output_text"} or (kind is None and "text" in part):
        into.text.append(_joined(part.get("text")))
    return True  # a kind of part that is not known (an image, a tool) is not the answer's text


def _joined(value: JSON, depth: int = 0) -> str:
    """The texts within a text, a part or lists of them."""
    if isinstance(value, str):
        return value
    if depth > _DEPTH:
        return ""
    if isinstance(value, list):
        return "".join(_joined(item, depth + 1) for item in value)
    if isinstance(value, dict):
        names = ("text", "thinking", "reasoning", "content", "summary", "value", "refusal")
        return next((found for name in names if (found := _joined(value.get(name), depth + 1))), "")
    return ""


def _reasoning(message: dict[str, JSON]) -> str:
    names = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks")
    return next((found for name in names if (found := _joined(message.get(name)))), "")


def _clean(text: str) -> str:
    """A text that can be stored: half of a surrogate pair, as a cut JSON escape leaves it, becomes U+FFFD."""
    return text if text.isascii() else _HALF.sub("\ufffd", text)


_HALF = re.compile("[\ud800-\udfff]")


def _usage(usage: JSON) -> Usage:
    if not isinstance(usage, dict):
        return Usage()
    counts = {name: count for name, value in usage.items() if (count := _count(value)) is not None}
    return Usage(
        counts.get("prompt_tokens", counts.get("input_tokens")),
        counts.get("completion_tokens", counts.get("output_tokens")),
    )


def _count(value: JSON) -> int | None:
    """A number of tokens; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return int(value) if value == int(value) else None


# --- log-probabilities ---


def _places(given: JSON, text: str) -> tuple[tuple[Place, ...] | None, str | None]:
    """The tokens at the end of `text`, from any shape of `logprobs`; beside them why there are none, if any were given.

    {"content": [{token, logprob, bytes, top_logprobs: [{token, logprob, bytes}]}]}   OpenAI and nearly all others
    {"tokens": [...], "token_logprobs": [...], "top_logprobs": [{token: logprob}]}    Together, llama-cpp-python
    [{token, logprob, ...}]
    {"content": [{token, prob, bytes, top_probs: [{token, prob, bytes}]}]}            llama-server, post_sampling_probs
    """
    entries = given.get("content") if isinstance(given, dict) else given
    if isinstance(given, dict) and isinstance(given.get("tokens"), list):
        entries = _legacy(given)
    if not entries and isinstance(given, dict):
        # {"content": null, "refusal": [...]} is what none looks like.
        return (None, None) if not {k for k, v in given.items() if v} - {"refusal", "object"} else ((), _UNKNOWN)
    if not isinstance(entries, list):
        return (), _UNKNOWN
    tokens = [
        (entry, token) for entry in entries[-_LOOK:] if isinstance(entry, dict) and (token := _token(entry)) is not None
    ]
    if not tokens:
        return (), "they name no tokens"
    last = _end(text, [token for _, token in tokens])
    return tuple(_place(entry, token) for entry, token in tokens[max(0, last - _LAST) : last]), None


_UNKNOWN = "they have a shape that is not known"


def _legacy(given: dict[str, JSON]) -> list[dict[str, JSON]]:
    def at(name: str, i: int) -> JSON:
        column = given.get(name)
        return column[i] if isinstance(column, list) and i < len(column) else None

    return [
        {"token": token, "logprob": at("token_logprobs", i), "top_logprobs": at("top_logprobs", i)}
        for i, token in enumerate(given["tokens"])
    ]


def _old_llama(given: JSON, text: str) -> tuple[tuple[Place, ...] | None, str | None]:
    """`completion_probabilities`, beside `choices`: [{content, probs: [{tok_str, prob}]}]; llama-server up to 2024."""
    if not isinstance(given, list) or not given:
        return None, None
    entries = [
        {"token": entry.get("content", entry.get("token")), "top_probs": entry.get("probs")}
        for entry in given
        if isinstance(entry, dict)
    ]
    return _places({"content": entries}, text)


def _end(text: str, tokens: list[str]) -> int:
    """How many of `tokens` to keep the end of: all, but for what follows the end of `text` by more than a few."""
    if len(tokens) <= _LAST:
        return len(tokens)
    squeezed = ["".join(c for c in token if c not in _BLANK) for token in tokens]
    tail = "".join(c for c in text[-400:] if c not in _BLANK)[-40:]
    whole = "".join(squeezed)
    at = whole.rfind(tail) if tail else -1
    if at < 0:
        return len(tokens)
    reached = 0
    for i, token in enumerate(squeezed):
        reached += len(token)
        if reached >= at + len(tail):
            return min(len(tokens), i + 1 + _TRAILING)
    return len(tokens)


_BLANK = frozenset(" \t\n\r\u00a0\u2581\u0120\u010a")  # blanks, and what vocabularies write for them


def _place(entry: dict[str, JSON], token: str) -> Place:
    tops = entry.get("top_logprobs")
    return Place(token, _chance(entry), tuple(_listed(entry.get("top_probs") if tops is None else tops)))


def _listed(tops: JSON) -> list[tuple[str, float]]:
    """Alternatives in the server's order, without those that have no number."""
    if isinstance(tops, dict):
        return [(_clean(token), logp) for token, value in tops.items() if (logp := _logp(value)) is not None]
    listed = []
    for top in tops if isinstance(tops, list) else ():
        if isinstance(top, dict):
            token, logp = _token(top), _chance(top)
            if token is None and len(top) == 1 and not top.keys() & {"logprob", "prob"}:  # [{token: logprob}, ...]
                listed += _listed(top)
                continue
        elif isinstance(top, list) and len(top) == 2 and isinstance(top[0], str):
            token, logp = _clean(top[0]), _logp(top[1])
        else:
            continue
        if token is not None and logp is not None:
            listed.append((token, logp))
    return listed


def _token(entry: dict[str, JSON]) -> str | None:
    """A token's text: of its bytes where they are whole characters that may be the written ones, else as written.

    The bytes are the better text: no vocabulary's spelling, no number, no half of a character. But some servers give
    one token the bytes of another.
    """
    token = entry.get("token")
    if token is None:
        token = entry.get("tok_str")
    token = _clean(token) if isinstance(token, str) else None
    raw = entry.get("bytes")
    if raw and isinstance(raw, list):
        try:
            text = bytes(raw).decode()
        except (ValueError, TypeError):  # half of a character; no bytes
            return token
        if text == token or not token or _NO_TEXT.search(token) or _seen(token, token) == _seen(text, token):
            return text
    return token


# A token that is written as a number or as bytes, or of which a part could not be written.
_NO_TEXT = re.compile(r"\ufffd|^token_id:\d+$|^<0x[0-9A-Fa-f]{2}>$|^(?:bytes:)?(?:\\x[0-9A-Fa-f]{2})+$")


def _seen(text: str, token: str) -> str:
    """What of a text shows whether it is that of `token`: all but white space, or ASCII alone.

    Vocabularies of bytes spell others than ASCII with the characters from U+0080 to U+0143: "é" is "Ã©".
    """
    most = 0x7E if any("\x7f" < sign < "\u0144" for sign in token) else 0x10FFFF
    return "".join(sign for sign in text if not sign.isspace() and sign != "\u2581" and ord(sign) <= most)


def _chance(entry: dict[str, JSON]) -> float | None:
    """The log-probability of an entry; llama-server gives `prob` where it is asked for those after sampling."""
    logp = _logp(entry.get("logprob"))
    if logp is None and "prob" in entry:
        value = entry["prob"]
        return min(0.0, math.log(value)) if type(value) in {float, int} and 0.0 < value <= 1.01 else None
    return logp


def _logp(value: JSON) -> float | None:
    """A log-probability, at most 0 but for rounding; None for what is none and for what stands for "unknown"."""
    if (type(value) is float or type(value) is int) and _LEAST <= value <= 0.01:
        return float(value) if value < 0 else 0.0
    return None
