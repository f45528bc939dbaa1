"""A label at the very start of a text, with its reason on the same line: "2. The first response never ...".

Asked only where nothing else in the text decides. "1. Accuracy: ..." and "1. Response 1 is ... 2. Response 2 is ..."
are lists, and "1 - wrong" is no choice of 1: what follows has to be a reason, and nothing may count on.
"""

from __future__ import annotations

import re

from rlaif.judging.clauses import Names, read_lines
from rlaif.judging.own_words import HIDDEN
from rlaif.judging.statements import blames, disowns, forges, gives_up, is_name, retracts

__all__ = ["opening_label", "whole_label"]

_BEFORE = (
    r"\s*(?:(?:honestly|easy|hmm|ok|okay|well|sure|ugh|fine|right|frankly|oh|haha|lol|tough one|tough call|easy one)"
    r"[,.!?:… ]+){0,2}"
)
_OPENS = re.compile(
    rf"{_BEFORE}[*_`\"\[(]*"
    rf"\b(?P<label>[^\s.,:;!*_`\])\"–—-][^\n.,:;!*_`\])\"–—-]{{0,20}}?)"
    r"[*_`\])\"]*(?P<sign>[.!,;:…]+|\s+[-–—]+|[–—]|(?<=\]\])|(?<=\w\)))[*_]*\s+(?P<reason>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_REASON = re.compile(
    r"(?:it|its|it's|this|that|the|while|although|though|because|since|as|clear(?:ly)?|easy|easily|both|neither|only|"
    r"more|much|better|shorter|here|i|my|unlike|even|for|despite|whereas|by|no|not even|response|assistant|answer|"
    r"reply|output|option|they|he|she|there|when|given)\b|[ab12]\b|[a-z]+(?:er|ly)\b",
    re.IGNORECASE,
)
_NOT_A_REASON = re.compile(
    r"^(?:or|no|not|actually|wait|hmm|update|correction|edit|rather|sorry)\b|\b(?:told|instructed|ordered|demands|wants)\b",
    re.IGNORECASE,
)
_CRITERION = re.compile(r"(?:[*_]*[\w'’]+[*_]*[ /&-]+){0,5}[*_]*[\w'’]+[*_]*(?::|\s[–—-]\s)")
_BLAME = re.compile(
    r"\b(?:worse|worst|wrong|fail(?:s|ed)?|los(?:es|er|ing)|weak(?:er|est)?|reject\w*|incorrect|miss(?:es|ed)|ignores?|"
    r"never|bad|poor(?:er)?|not|no|\w+n['’]t|off|unhelpful|useless|lacks?|misread\w*|invents?|mixes|cannot|breaks?|"
    r"errors?|mistakes?|inferior)\b",
    re.IGNORECASE,
)


def opening_label(text: str, names: Names) -> tuple[int, int] | None:
    """The response whose label `text` (the judge's own words) begins with, and its place, if a reason follows."""
    match = _OPENS.match(text)
    named = match and names.marked(text, *match.span("label"))
    if not match or not named or named[0] < 0 or (" " in match["label"] and names.first is not None):
        return None
    reason = match["reason"]
    label = re.escape(match["label"].strip())
    others = r"[A-Ca-c]" if label.isalpha() else r"\d{1,2}"
    if re.search(rf"(?:^|[\n.!?;]\s*|\s)[*_(\[]*(?!{label}\b){others}[*_]*(?:[)]|[.:]\s)", reason):
        return None  # a list
    first = re.split(r"[.!?\n](?:\s|$)", reason, maxsplit=1)[0]
    formal = match["sign"] == ""
    if (formal or match["sign"][0] in ".!:…") and not _REASON.match(first):
        return None
    words = " ".join(re.findall(r"[\w'’-]+|[,;:]", first.casefold())) + " "
    if _CRITERION.match(first) or HIDDEN in first or reason[len(first) : len(first) + 1] == "?" or blames(words):
        return None
    sentences = [sentence.words for line in read_lines(reason[:2_000], names) for sentence in line.sentences]
    if not sentences or is_name(sentences[0]):
        return None
    if _NOT_A_REASON.search(first):
        return None
    if any(gives_up(said) or retracts(said) or disowns(said) or forges(said) for said in sentences):
        return None
    about = {int(group[-1]) for found in names.words.finditer(first[:600]) for group in _named(found)}
    subject = re.match(r"(?:the )?(?:first|second|response|assistant|answer|output|[ab12]\b)", first, re.IGNORECASE)
    if subject and about == {named[0]} and _BLAME.search(first):
        return None
    return named


def _named(match: re.Match[str]) -> list[str]:
    return [group for group, said in match.groupdict().items() if said and group[-1] in "01" and len(group) == 3]


_RANK = re.compile(
    r"[\s*_`>\"'“”]*(?:(?:no|nr)\. ?|number |the )?(?P<rank>(?P<first>one|first|1st)|(?P<second>two|second|2nd)|"
    r"(?P<label>\S{1,20}?))"
    r"(?: one)?[\s*_`\"'“”.!]*",
    re.IGNORECASE,
)


def whole_label(text: str, names: Names) -> tuple[int, int] | None:
    """The response that a whole text names as "One", "1st", "No. 1" or "> 1", and its place."""
    match = _RANK.fullmatch(text) if len(text) < 60 else None
    if match is None:
        return None
    if match["label"] is not None:
        named = names.marked(text, *match.span("label"))
        return named if named and named[0] >= 0 else None
    if names.first is None:
        return None
    return (names.first if match["first"] else 1 - names.first), match.start("rank")
