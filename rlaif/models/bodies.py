"""What a body says, whatever its shape: JSON, a text, a web page.

parsed     bytes as JSON
read_body  codes, parameters, words, limits and waits from all levels of an error, as a Said
one_line   words for a person: one line, no control characters, no half of a key
"""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, NamedTuple

from rlaif.models.waits import seconds_of

__all__ = ["Said", "names_in", "one_line", "parsed", "read_body", "spoken", "squeezed", "tells"]

JSON = Any
_WORDS = 300  # characters of a server's words that are kept
_DEPTH = 8  # levels of a body that are looked at


def parsed(body: bytes) -> JSON:
    """`body` as JSON; None where it is none, or null."""
    try:
        return json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):  # ValueError: also a number of more than 4,300 digits
        return None


def tells(value: JSON) -> bool:
    """Whether `value` has words about an error."""
    return bool(read_body(value).words)


def one_line(text: str, most: int = _WORDS) -> str:
    """`text` on one line of at most `most` printable characters, with "..." where it is cut.

    It is never cut within a word: half of a key would not be known as one and would be shown.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in _cut(text, 8 * most)).split())
    return line if len(line) <= most else _cut(line, most - 3).rstrip() + "..."


def _cut(text: str, most: int) -> str:
    """The beginning of `text`, without the word that it would end in the middle of."""
    end = most
    if len(text) > most and text[most] in _OF_KEYS:
        while end and text[end - 1] in _OF_KEYS:
            end -= 1
    return text[:end]


_OF_KEYS = frozenset(string.ascii_letters + string.digits + "-._~+/=")


class Said(NamedTuple):
    """What a body says, gathered from all its levels."""

    words: list[str]
    codes: list[str]  # squeezed: "InvalidApiKey", "invalid_api_key" and "API_KEY_INVALID" differ in order alone
    written: list[str]  # the codes as they came, for who reads them: a key among them is known again
    params: list[str]
    mosts: list[int]
    waits: list[float]
    statuses: list[int]


def names_in(words: str) -> frozenset[str]:
    """The names in a text that has white space between them."""
    return frozenset(words.split())


# Which keys hold what, in lower case; all others are not looked into: they may quote the question ("input").
_HOLDS_WORDS = names_in(
    "message msg error error_message errormessage error_msg err_msg detail details title description faultstring "
    "status_msg error_description raw errors reason cause exception"
)
_HOLDS_CODES = names_in(
    "code type status error_type error_code errorcode reason statuscode status_code http_code quotaid __type errortype"
)
_HOLDS_PARAMS = names_in("param parameter field loc location pointer")
_MAY_HOLD_PARAMS = names_in("path instancepath property name")  # or an address, or the error's own name
_HOLDS_MORE = _HOLDS_WORDS | names_in(
    "innererror fieldviolations violations metadata base_resp response fault source issues invalid_params"
)
_HOLDS_WAITS = {
    "retrydelay": 1,
    "retry_after": 1,
    "retry_after_seconds": 1,
    "estimated_time": 1,
    "retry_after_ms": 1e-3,
}
_TELLING = names_in("flagged_input content_filter_result content_filter_results contentfilter")  # by being there


def read_body(value: JSON) -> Said:
    """What an error's body says, wherever in it that stands; of a body that says nothing, empty lists."""
    said = Said([], [], [], [], [], [], [])
    _gather(value, said, 0)
    return said


def _gather(value: JSON, said: Said, depth: int) -> None:
    if depth > _DEPTH or len(said.words) > 20:
        return
    if isinstance(value, str):
        _gather_text(value, said, depth)
    elif isinstance(value, list):
        for item in value[:20]:
            _gather(item, said, depth + 1)
    elif isinstance(value, dict):
        _gather_object(value, said, depth)


def _gather_text(text: str, said: Said, depth: int) -> None:
    """Words; of a web page its title; a body that stands inside a text (a gateway quotes its provider) is read too."""
    if (start := text.find("{")) >= 0:
        try:
            inner = json.JSONDecoder(strict=False).raw_decode(text[start : start + 20_000])[0]
        except (ValueError, RecursionError):
            inner = None
        if isinstance(inner, dict) and inner and "messages" not in inner:  # which would be our own body
            before = text[:start].strip(" \n:-[b'\"")
            if before:
                said.words.append(before)
            _gather(inner, said, depth + 1)
            return
    if _PAGE.match(text):
        title = _TITLE.search(text)
        text = title.group(1) if title else _TAG.sub(" ", _cut(text, 4000))
    if text.strip():
        said.words.append(_cut(text, 4000))


_PAGE = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml|center|h1|title)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,5000})", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,500}>")


def _gather_object(value: dict[Any, JSON], said: Said, depth: int) -> None:
    names: list[str] = []
    for key, item in list(value.items())[:50]:
        key = str(key)[:50].lower().replace("-", "_")
        if key in _HOLDS_PARAMS:
            names += _names(item)
        if key in _MAY_HOLD_PARAMS and not (isinstance(item, str) and item.count("/") > 1):  # a URL's path
            said.params.extend(_names(item))
        if key in _TELLING and item:
            said.codes.append(squeezed(key))
        if key in _HOLDS_WAITS and (seconds := seconds_of(item)) is not None:
            said.waits.append(seconds * _HOLDS_WAITS[key])
        if key == "ctx" and isinstance(item, dict):
            said.mosts.extend(_limits(item))
        if key in _HOLDS_CODES and isinstance(item, str | int) and not isinstance(item, bool):
            _gather_code(item, said)
    said.params.extend(names)
    before = len(said.words)
    for key, item in list(value.items())[:50]:
        key = str(key)[:50].lower().replace("-", "_")
        if key == "reason" and isinstance(item, str) and " " not in item:
            continue  # a code
        if (isinstance(item, dict | list) and key in _HOLDS_MORE) or (isinstance(item, str) and key in _HOLDS_WORDS):
            _gather(item, said, depth + 1)
        elif isinstance(item, list) and all(isinstance(part, str) for part in item):
            _gather_list(key, item, said)
    if names and len(said.words) > before and not any(name in said.words[before] for name in names):
        said.words[before] = f"{names[-1]}: {said.words[before]}"  # FastAPI's message does not name the field


def _gather_list(key: str, texts: list[str], said: Said) -> None:
    """{"keys": ["seed"]} names parameters; {"seed": ["Unknown field."]} names one, and says why."""
    if key == "keys":
        said.params.extend(text[:50] for text in texts[:10])
    elif texts and key not in _HOLDS_PARAMS | _MAY_HOLD_PARAMS:
        said.params.append(key)
        said.words.append(f"{key}: {_cut(texts[0], 1000)}")


def _gather_code(code: str | int, said: Said) -> None:
    text = str(code)[:100] if isinstance(code, str) or abs(code) < 10**9 else ""
    if re.fullmatch(r"[1-9]\d\d", text):
        said.statuses.append(int(text))
    elif text:
        said.codes.append(squeezed(text))
        said.written.append(text)


def squeezed(code: str) -> str:
    """A code in lower case, letters and digits alone: servers write one code in many ways."""
    return re.sub(r"[^a-z0-9]", "", code.lower())


def _names(param: JSON) -> list[str]:
    """["body", "seed"], "generation_config.seed" and "/seed" all name seed; of a list's places only the first does."""
    if isinstance(param, list):
        param = next((part for part in param[:10] if isinstance(part, str) and part != "body"), "")
    names = re.split(r"[^\w-]+", param[:200]) if isinstance(param, str) else []
    return names[:1] if names[0:1] == ["messages"] else [name for name in names if name]


def _limits(ctx: dict[Any, JSON]) -> Iterable[int]:
    """Pydantic's {"le": 5} or {"lt": 6}."""
    for key, less in (("le", 0), ("lt", 1), ("max_value", 0)):
        value = ctx.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10**9:
            yield math.ceil(value) - less if less else int(value)


def spoken(said: Said, status: int | None) -> str:
    """The words, or what the codes or the status say where there are none."""
    words: list[str] = []
    for text in said.words:
        line = one_line(text)
        if line and not any(line in earlier for earlier in words):
            words.append(line)
    if not words and said.written:
        words = [one_line(said.written[0])]
    if not words and status is not None:
        try:
            words = [HTTPStatus(status).phrase]
        except ValueError:
            words = [f"status {status}"]
    return one_line("; ".join(words)) or "an error without words"
