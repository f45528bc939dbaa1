"""How long a server asks to wait: in headers, in a body, in words; seconds, durations and dates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["asked_wait", "seconds_of"]

JSON = Any


def asked_wait(
    headers: Mapping[str, str], body: Sequence[float], words: str, *, limited: bool, now: float
) -> float | None:
    """Seconds that a server asks to wait: by its headers, its body, its words; None where it does not say.

    Args:
        headers: of the answer, names in any case.
        body: seconds that the body names.
        words: of the body.
        limited: whether it is a rate limit, so that the headers about those count.
        now: seconds since 1970, to read dates against.
    """
    given = {str(name).lower(): str(value).strip()[:200] for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("x-ms-retry-after-ms", 0.001), ("retry-after", 1.0)):
        if name in given and (seconds := _until(given[name], now)) is not None:
            return seconds * unit
    if body:
        return max(body)
    if match := _AGAIN.search(words):
        return seconds_of(match.group(1))
    if not limited:
        return None
    resets = {
        name: seconds for name in given if _RESET.match(name) and (seconds := _until(given[name], now)) is not None
    }
    empty = [seconds for name, seconds in resets.items() if given.get(name.replace("reset", "remaining")) == "0"]
    return max(empty) if empty else min(resets.values(), default=None)


_DURATION = r"\d[\d.]{0,18} ?(?:ms|milliseconds?|hours?|minutes?|seconds?|mins?|secs?|[hms])(?![a-z])"
_AGAIN = re.compile(
    rf"(?:try again|retry(?:ing)?|please wait|wait|available again|reset)\b[^.\d]{{0,40}}((?:{_DURATION} ?){{1,4}})",
    re.IGNORECASE,
)
_RESET = re.compile(r"(?:x-|anthropic-)?rate-?limit-(?:.{1,30}-)?reset(?:-.{1,30})?$")


def seconds_of(value: JSON) -> float | None:
    """20, "20", "20s", "1m30.5s", "6ms", "2 minutes" in seconds; None for what is none of them."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if not isinstance(value, str):
        return float(value) if 0 <= value < 1e12 else None
    text = value.strip().lower()[:100]
    if re.fullmatch(r"\d{1,15}(?:\.\d{0,12})?", text):
        return float(text)
    parts = re.findall(r"(\d{1,15}(?:\.\d{0,12})?) ?([a-z]+)", text)
    if not parts or not re.fullmatch(rf"(?:{_DURATION}[ ,]*){{1,4}}", text):
        return None
    return sum(float(number) * _unit(unit) for number, unit in parts)


def _unit(unit: str) -> float:
    if unit.startswith(("ms", "milli")):
        return 0.001
    return {"h": 3600.0, "m": 60.0, "s": 1.0}[unit[0]]


def _until(text: str, now: float) -> float | None:
    """Seconds from `now`: a number of them, a duration, an HTTP or ISO date, or seconds or milliseconds since 1970."""
    seconds = seconds_of(text)
    if seconds is not None:
        if seconds > 1e11:
            seconds /= 1000
        return max(0.0, seconds - now) if seconds > 1e9 else seconds
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
            return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None
