"""Keys kept out of every line, file and page that a program writes.

`redacted(text)` puts "(key)" in the place of the secrets of this process (`keep_secret`), and of what looks like a key
whosever it is: a server may echo one in its error, whole or in part, and people write one where its name belongs. What
is read of a source is data, and no business of this module: see `rlaif.publish.sensitive`.

The time is linear in the text: every pattern takes a whole word at once and never goes back into it.
"""

from __future__ import annotations

import base64
import json
import re
import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

__all__ = [
    "CREDENTIAL",
    "REDACTED",
    "keep_if_key",
    "keep_secret",
    "looks_like_key",
    "redacted",
    "redacted_json",
    "without_keys",
    "without_secrets",
]

REDACTED = "(key)"

# Names under which a key or a password stands: of headers, within a call's body, or of an address's query.
# Not `max_tokens`, a tokenizer, or an author.
CREDENTIAL = re.compile(r"auth(?!ors?(?![a-z]))|key|token(?!s(?![a-z])|iz)|secret|password|cookie", re.IGNORECASE)

_SHORTEST = 6  # of a secret; a shorter one would be found in every second line
_PIECE = 10  # characters of a secret, anywhere in it, that are a part of it and no chance
# What servers of one's own are given where they want a key and have none.
_NO_SECRET = {
    *("anything", "api-key", "api_key", "apikey", "dummy", "dummy-key", "lm-studio", "lmstudio", "local", "no-key"),
    *("no-key-required", "no_key", "nokey", "not-needed", "not-used", "ollama", "placeholder", "secret", "sk-no-key"),
    *("sk-no-key-required", "unused", "default", "openai", "localhost", "bearer", "token-abc"),
}

_kept: set[str] = set()


def keep_secret(*secrets: str | None) -> None:
    """Makes every line and file that this process writes from now on hide `secrets`."""
    _kept.update(secret for secret in secrets if secret and _is_secret(secret))


def keep_if_key(*values: str) -> None:
    """`keep_secret` for what stands where a key may stand ("X-Api-Key") and may be another word ("standard")."""
    keep_secret(*(part for value in values for part in value.split() if len(part) >= 8 and _may_be_key(part)))


def _may_be_key(word: str) -> bool:
    return re.fullmatch(r"[\x21-\x7e]+", word) is not None and word[0] not in "<[{" and _is_drawn(word)


def redacted(text: str, *secrets: str | None) -> str:
    """`text` with "(key)" in the place of every secret, and of what looks like one.

    Args:
        text: a line, or a whole file's text.
        secrets: hidden beside those of `keep_secret`, also as JSON, in a URL and in base64, and in pieces of ten
            characters. Of fewer than six characters they are not looked for.
    """
    text = without_secrets(text, *secrets)
    if "://" in text:
        text = _USER.sub(r"\1" + REDACTED + "@", text)
    text = _NAMED.sub(_hide_named, text)
    text = _SCHEME.sub(_hide_value, text)
    return _WORD.sub(_hide_word, text)


def without_secrets(text: str, *secrets: str | None) -> str:
    """`text` without the secrets that are known, in any form; what only looks like a key stays. See `redacted`."""
    for secret in sorted({*_kept, *(s for s in secrets if s and _is_secret(s))}, key=len, reverse=True):
        text = _without(text, secret)
    return text


def redacted_json(value: Any, *secrets: str | None) -> Any:
    """A JSON value with `redacted` texts, names included; what stands under a key's name is hidden whole."""
    if isinstance(value, str):
        return redacted(value, *secrets)
    if isinstance(value, Mapping):
        return {
            redacted(str(name), *secrets): REDACTED
            if isinstance(inner, str) and inner and _is_keys_name(str(name))
            else redacted_json(inner, *secrets)
            for name, inner in value.items()
        }
    return [redacted_json(inner, *secrets) for inner in value] if isinstance(value, list | tuple) else value


def without_keys(words: Sequence[str]) -> list[str]:
    """A command line, with "(key)" in the place of what stands after a key's name ("--hub_token X", "--hub_token=X")
    and of what looks like a key."""
    shown = [redacted(word) for word in words]
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not name.startswith("-") or not _is_keys_name(name.lstrip("-")):
            continue
        if equals:
            shown[at] = f"{name}={REDACTED if value else ''}"
        elif at + 1 < len(words) and not words[at + 1].startswith("-"):
            shown[at + 1] = REDACTED
    return shown


def looks_like_key(text: str) -> bool:
    """Whether a text that should be a name or an address is, or holds, a key."""
    return redacted(text) != text


def _is_secret(secret: str) -> bool:
    return len(secret) >= _SHORTEST and secret.strip().lower() not in _NO_SECRET


def _is_keys_name(name: str) -> bool:
    """Whether a setting's name says that a key stands there; special tokens and their numbers have names like it."""
    return bool(_VALUE_NAME.search(name)) and not re.search(
        r"(?:eos|bos|pad|unk|sep|cls|mask|stop)_?token|(?:max|new|prompt|completion|input|output)_?tokens$", name
    )


# A secret that is known -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _forms(secret: str) -> tuple[str, ...]:
    """How a secret may be written: as it is, escaped in JSON or a URL, within the base64 of "user:secret"; the longest
    first, since it may hold the others."""
    forms = {secret, secret.strip(), json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}
    raw = secret.encode("utf-8", "surrogatepass")
    for shift in range(3):  # base64 takes three bytes at a time: what stands before decides how the secret is cut
        whole = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        inner = whole[(0, 2, 3)[shift] : len(whole) - 1]
        if len(inner) >= _SHORTEST:
            forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return tuple(sorted(forms, key=len, reverse=True))


@lru_cache(maxsize=64)
def _needles(secret: str) -> tuple[str, ...]:
    """Short texts of which one stands wherever a form of a secret or a piece of it does: they are looked for first."""
    half = _PIECE // 2
    parts = [secret[at : at + half] for at in range(0, len(secret) - half + 1, half)] if len(secret) >= 16 else []
    return tuple(dict.fromkeys([form[:_SHORTEST] for form in _forms(secret)] + parts))


def _without(text: str, secret: str) -> str:
    if not any(needle in text for needle in _needles(secret)):
        return text
    for form in _forms(secret):
        if form in text:
            text = _of_longer(text.replace(form, REDACTED))
    if len(secret) < 16:
        return text
    hidden = bytearray(len(text))
    for start in range(len(secret) - _PIECE + 1):
        piece, at = secret[start : start + _PIECE], -1
        while (at := text.find(piece, at + 1)) >= 0:
            hidden[at : at + _PIECE] = b"\1" * _PIECE
    if not any(hidden):
        return text
    parts, at = [], 0
    for match in re.finditer(rb"\x01+", bytes(hidden)):
        parts += [text[at : match.start()], REDACTED]
        at = match.end()
    return _of_longer("".join([*parts, text[at:]]))


def _of_longer(text: str) -> str:
    """A secret may be the beginning of another one, which is known or not: no end of a longer one stays."""
    return _REST.sub(REDACTED, text)


_REST = re.compile(rf"{re.escape(REDACTED)}[A-Za-z0-9_-]++")


# What looks like a secret ---------------------------------------------------------------------------------------------

# "https://user:password@host": everything before the last "@" of the authority.
_USER = re.compile(r"(://)[^\s/?#\"'<>\\]*@")

# "?key=...", "api_key: ...", '"token": "..."', "API key provided: ...". The value is looked at in `_hide_named`.
_ENDS = "key keys token tokens secret secrets password passwd pwd sig signature authorization auth cookie credential"
_NAMED = re.compile(
    r"(?i)(?P<before>[?&;]?)(?P<name>(?<![a-z0-9_.%-])[a-z0-9_.%-]++)"
    + f"(?:{'|'.join(f'(?<={end})' for end in _ENDS.split())})"
    + r"(?P<link>(?:[ ](?:provided|given|is|was))?[\"']?\s?[=:]\s?[\"']?|[ ][\"'])"
    r"(?P<value>[^\s\"'<>&;,?(){}\[\]]++)"
)
_SCHEME = re.compile(r"(?i)(?P<link>\b(?:bearer|basic)[ ]+)(?P<value>[A-Za-z0-9._~+/=*-]++)")

# A word that a key may be. Stars, dots and an ellipsis stand for what a server left out of it.
_WORD = re.compile(r"(?<![A-Za-z0-9_*•…-])[A-Za-z0-9_*•….-]++")
_PREFIX = re.compile(
    r"(?:sk|pk|rk)[-_](?=.{5})|hf_(?=.{5})|api_org_|AIza(?=.{5})|ya29\.|AQ\.A|gsk_|xai-(?=.{7})|nvapi-|r8_(?=.{7})"
    r"|(?:AKIA|ASIA)(?=[A-Z0-9*]{8})|gh[pousr]_|github_pat_|glpat-|pplx-(?=.{7})|csk-(?=.{7})|fw_(?=.{7})|tgp_v1_"
    r"|xox[abprs]-|eyJ(?=[\w-]{8})|jina_|co_(?=.{20})|dop_v1_|npm_(?=.{20})|pypi-(?=.{20})|ABSK(?=.{20})"
)
_STARS = re.compile(r"[*•]{3,}")


def _hide_word(match: re.Match[str]) -> str:
    word = match[0].rstrip(".…")
    tail = match[0][len(word) :]
    if (found := _PREFIX.match(word)) and _is_drawn(word[found.end() :]):
        return REDACTED + tail
    if (stars := _STARS.search(word)) and (stars.end() - stars.start() > 3 or re.search(r"[\d_-]", word)):
        left = word.replace("*", "").replace("•", "")
        return REDACTED + tail if len(left) >= 2 else match[0]
    return match[0]


def _hide_value(match: re.Match[str]) -> str:
    value = match["value"].rstrip(".")
    drawn = len(value) >= _SHORTEST and (_is_drawn(value) or len(value) >= 24)
    return match["link"] + REDACTED + match["value"][len(value) :] if drawn else match[0]


def _hide_named(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    if not _VALUE_NAME.search(name) or value.startswith(REDACTED):
        return match[0]
    in_query = match["before"] in {"?", "&", ";"} and match["link"] == "="
    plain = value.rstrip(".")
    if in_query or (len(plain) >= 12 and _is_drawn(plain) and not plain.startswith(("/", "./", "~"))):
        return f"{match['before']}{name}{match['link']}{REDACTED}{value[len(plain) :]}"
    return match[0]


_VALUE_NAME = re.compile(
    r"(?:^|[_.-])(?:(?:x|api|access|secret|private|subscription)[_-]?)*(?:key|apikey|token|secret|password|passwd|pwd|sig"
    r"|signature|authorization|auth|cookie|credential)s?$",
    re.IGNORECASE,
)


def _is_drawn(text: str) -> bool:
    """Whether a machine drew this: it has a digit or a star, or capitals among its small letters."""
    if any(c in "*•…" for c in text) or "..." in text:
        return True
    letters = set(text)
    if letters.isdisjoint(string.ascii_letters) or re.fullmatch(r"\d{4}-\d\d-\d\d.*", text):  # a number, a date
        return False
    return not letters.isdisjoint(string.digits) or re.search(r"[a-z][A-Z]|[A-Z]{2}[a-z]", text) is not None
