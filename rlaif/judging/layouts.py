"""Verdicts in forms that hold more than one line or element: XML that is a whole answer, and a ranked list.

A ranked list counts where it ends a text in which nothing else is decided. An element is asked for only where no
decision is found: it counts where it is the only one of its kind, also in what is quoted, and is the whole or ends it.
"""

from __future__ import annotations

import re

from rlaif.judging.clauses import Line, Names
from rlaif.judging.own_words import VERDICT_TAGS
from rlaif.judging.statements import disowns, forges, introduces, speaks

__all__ = ["ranked_list", "verdict_element"]

_ROOTS = rf"(?:{VERDICT_TAGS}|evaluation|assessment|comparison|output|root|xml)"
_KEYS = r"(?:final_)?(?:verdict|decision|winner|choice|preference|preferred|better|best|pick|selected|vote)"
_LAST = re.compile(
    rf"\s*<(?P<root>{_ROOTS})>.*<(?P<key>{_KEYS})>(?P<label>[^<>]{{1,40}})</(?P=key)>\s*</(?P=root)>\s*",
    re.IGNORECASE | re.DOTALL,
)
_ATTRIBUTE = re.compile(
    rf"\s*<(?P<root>{_ROOTS})\s+(?P<key>{_KEYS})\s*=\s*(?P<mark>[\"'])(?P<label>[^<>\"']{{1,40}})(?P=mark)\s*"
    rf"(?:/>|>(?P<inside>.*)</(?P=root)>)\s*",
    re.IGNORECASE | re.DOTALL,
)
_ANY_KEY = re.compile(rf"<{_KEYS}\b|\b{_KEYS}\s*=\s*[\"']", re.IGNORECASE)


def verdict_element(text: str, names: Names) -> tuple[int, int] | None:
    """The verdict of a text that is one element of XML, in its last element or in an attribute, and its place."""
    if len(text) > 20_000 or not text.lstrip().startswith("<"):
        return None
    match = _LAST.fullmatch(text)
    if match is not None:
        own = _ANY_KEY.findall(text, match.end("root"))
        opened = re.findall(rf"<{match['root']}\b", text, re.IGNORECASE)
        return names.marked(text, *match.span("label")) if len(own) == 1 and len(opened) == 1 else None
    if empty := _EMPTY.fullmatch(text):
        return names.marked(text, *empty.span("label"))
    match = _ATTRIBUTE.fullmatch(text)
    if match is None or "<" in (match["inside"] or "") or _ANY_KEY.search(match["inside"] or ""):
        return None
    return names.marked(text, *match.span("label"))


_EMPTY = re.compile(
    rf"\s*<{_KEYS}\s+(?:id|value|label|response|name)\s*=\s*([\"'])(?P<label>[^<>\"']{{1,40}})\1\s*/>\s*", re.IGNORECASE
)


_RANKING = re.compile(
    r"(?:(?:overall|finally|so|my|the|final|here is|here's|i rank them|i would rank them|i'd rank them|ranked|ranking|"
    r"order|responses|answers|in order|from|of preference|of quality|: |, |\( )[ ]?)*best (?:to worst|first|to worse) "
)


def ranked_list(lines: list[Line]) -> tuple[int, int] | None:
    """The response that a list of both puts first, under a line that says "best to worst", and its place."""
    if len(lines) < 3 or any(line.hidden for line in lines):
        return None
    for i, line in enumerate(lines[:-2]):
        if len(line.sentences) != 1 or not _RANKING.fullmatch(line.sentences[0].words):
            continue
        pair = lines[i + 1 : i + 3]
        clauses = [below.sentences[0].clauses[0] for below in pair if below.listed and below.sentences]
        found = [re.fullmatch(r"[§¤¢]([01]) ", clause.words) for clause in clauses]
        before = [sentence for line in lines[:i] for sentence in line.sentences]
        if before and (before[-1].end.endswith(":") or speaks(before[-1].words)):
            return None
        if before and introduces(before[-1].words, before[-1].end, lines[i - 1].title):
            return None
        if any(forges(sentence.words) or disowns(sentence.words) for line in lines for sentence in line.sentences):
            return None
        if i + 3 != len(lines) or len(found) != 2 or found[0] is None or found[1] is None:
            return None
        if found[0][1] != found[1][1]:
            return int(found[0][1]), clauses[0].places[0]
    return None
