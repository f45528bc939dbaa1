"""Reading the rating that a judge wrote, or None where there is none that can be trusted.

As with verdicts, quotations are hidden first and only the judge's own words are read. Unlike them, the numbers that are
read have all to be the same one: a judge that rates several aspects gave no rating of the whole.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from rlaif.judging.clauses import LONGEST, plain_letters
from rlaif.judging.own_words import HIDDEN, object_of, own_words, unwrapped, window
from rlaif.judging.statements import disowns, introduces, reports

__all__ = ["Scale", "find_marked_rating", "find_rating"]

Scale = tuple[int, int]  # the worst and the best rating, whole numbers


def find_rating(text: str, scale: Scale) -> tuple[int, int] | None:
    """The rating in `text` as its place on `scale` (0 is the worst) and the place of its number in the text, or None.

    Read in this order, with a scale from 1 to 10:
      1. the first or the last line is a whole number from 1 to 10 and nothing more ("**7**", "Rating: 7", "7/10.");
      2. the statements that give one: "rating/score ... (is, of, or a colon) 7", "I (would) rate it (at) 7", "I give
         it a 7", each at the end of its clause, and "7/10" or "7 out of 10" anywhere.

    Where those that are read do not all say the same number (of several aspects), nothing is; nor is a number with
    decimals, on another scale, in a range, denied, quoted, or said to be what the response says. Of a text longer than
    10,000 characters its end is read.
    """
    patterns = _patterns(scale)
    begin = window(text)
    inner, offset = unwrapped(text[begin:])
    if (rating := _from_object(inner)) is not None:
        return (rating - scale[0], text.rfind(str(rating))) if scale[0] <= rating <= scale[1] else None
    own = own_words(plain_letters(inner), patterns.quoted)
    # "Rating (1-10):" and "on a scale from 1 to 10" name the scale, and rate nothing.
    own = _TAG_ENDS.sub(lambda match: " " * len(match[0]), own)
    own = patterns.names_scale.sub(lambda match: " " * len(match[0]), own)
    spans = _spans(own)
    found: list[re.Match[str]] = []
    for start, end in [] if begin else spans[:1]:
        found += _bare(patterns, own, start, end, alone=len(spans) == 1)
    for start, end in spans[-1:]:
        before = own[slice(*spans[-2])].rstrip(" *_") if len(spans) > 1 else ""
        if not before.endswith(":") or _ASKS.search(before):
            found += _bare(patterns, own, start, end, alone=True)
    if not found:
        found = _stated(patterns, own, spans)
    numbers = {int(match["number"]) for match in found}
    if len(numbers) != 1 or not numbers <= set(range(scale[0], scale[1] + 1)):
        return None
    first = min(found, key=lambda match: match.start("number"))
    return numbers.pop() - scale[0], first.start("number") + offset + begin


def find_marked_rating(text: str, mark: str, scale: Scale) -> tuple[int, int] | None:
    """The rating in the lines that are `mark` and a number and nothing more; None where two disagree.

    It is returned as `find_rating` returns one.
    """
    low, high = scale
    line = re.compile(
        rf"[ \t*_`#\"']*{re.escape(mark)}[ \t*_`:=\"'\[(-]*(?P<number>\d{{1,3}})(?:[ \t]*/[ \t]*{high})?"
        r"[ \t*_`\"'\])]*\.?[ \t*_`\r]*",
        re.IGNORECASE,
    )
    found = [
        (int(match["number"]) - low, match.start("number"))
        for piece in re.finditer(r"[^\n]+", text)
        if piece.end() - piece.start() <= LONGEST and (match := line.fullmatch(plain_letters(text), *piece.span()))
    ]
    return found[-1] if len({rating for rating, _ in found}) == 1 and 0 <= found[0][0] <= high - low else None


class _Patterns(NamedTuple):
    """For a scale: what names it, a line that is a rating and nothing more, the statements that give one, and a number
    that may be quoted in one.
    """

    names_scale: re.Pattern[str]
    bare: re.Pattern[str]
    rates: tuple[re.Pattern[str], ...]
    quoted: re.Pattern[str]


def _from_object(text: str) -> int | None:
    """The rating of a JSON object that is the whole of an answer; keys of other names hold none."""
    values = [value for key, value in object_of(text) if _KEYS.fullmatch(key.strip())]
    numbers = {str(value).strip() for value in values if isinstance(value, (int, str)) and not isinstance(value, bool)}
    return (
        int(numbers.pop())
        if len(values) == 1 and len(numbers) == 1 and re.fullmatch((r"\d{1,3}"), min(numbers))
        else None
    )


_KEYS = re.compile(
    (r"(?:(?:final|overall|my)[ _-]?)?(?:rating|score|grade|answer|verdict|result)(?:[ _-]?overall)?"), re.IGNORECASE
)
_OF = r"(?:rating|score|grade|answer|verdict|overall)"
_ASKS = re.compile(rf"\b{_OF}\b|\boverall\b", re.IGNORECASE)
_TAG_ENDS = re.compile(r"</\w{1,20}>")
_IN_WORDS = {5: "five", 7: "seven", 9: "nine", 10: "ten"}


@lru_cache
def _patterns(scale: Scale) -> _Patterns:
    low, high = scale
    names_scale = rf"(?<![\w.]){low}\s{{0,3}}(?:[-–—]|to|and)\s{{0,3}}{high}(?![\w.]{{0,20}}\d)"
    best = f"(?:{high}|{_IN_WORDS[high]})" if high in _IN_WORDS else str(high)
    out_of = rf"(?:\s{{0,3}}/\s{{0,3}}{high}|\s{{1,3}}out\s+of\s+{best})"
    # A whole number that is no part of a longer one, of a range, or of a scale that ends elsewhere.
    end = r"(?!\w|[.,:]\d|\s{0,3}%|\s{0,3}[-–—/]\s{0,3}\w|\s+(?:to|or|out\s+of)\b)"
    number = rf"(?<![\w.,:/–—-])(?P<number>\d{{1,{len(str(high)) if high > 9 else 2}}})"
    bare = (
        rf"[\W_]{{0,20}}?(?:boxed[{{])?(?:(?:[^\W_]+\s+){{0,2}}{_OF}[^\w\n]{{0,20}}(?:(?:is|of)\b[^\w\n]{{0,9}})?)?"
        rf"{number}{out_of}?{end}[\W_]*"
    )
    # The number ends its clause: "a rating of 10 would need sources" gives none.
    clause_ends = r"(?=[\W_]*(?:$|\n|[.;:,!?()]|(?:because|since|for|as|due|overall)\b))"
    rates = (
        rf"\b{_OF}\b[^\n.\d]{{0,40}}?(?:\b(?:is|of|at|as)\b|[:=→])[^\n.\d]{{0,16}}?{number}{out_of}?{end}{clause_ends}",
        (
            rf"(?:\bI(?:['’]d|\s+would)\s+say|^\W{{0,9}}so(?:,|\s+(?:it\s+is|it['’]s))?|\b(?:deserves|gets|earns|"
            rf"merits|receives))\s+(?:an?\s+)?{number}{out_of}?{end}{clause_ends}"
        ),
        (
            r"\b(?:lower|raise|change|adjust|correct|revise)\s+(?:it|this|that|"
            rf"my\s+\w+)\s+to\s+(?:an?\s+)?{number}{out_of}?{end}{clause_ends}"
        ),
        (
            rf"\bI\b[^\n.\d]{{0,24}}?\b(?:rate|score|grade|give|"
            rf"assign)\b[^\n.\d]{{0,40}}?{number}{out_of}?{end}{clause_ends}"
        ),
        rf"{number}{out_of}(?![\w/])(?!\.\d|\s+of\b)",
    )
    flags = re.IGNORECASE
    return _Patterns(
        re.compile(names_scale, flags),
        re.compile(bare, flags),
        tuple(re.compile(pattern, flags) for pattern in rates),
        re.compile(rf"[\s*_\[(]*{number}{out_of}?[\s*_\])]*\.?", flags),
    )


def _spans(text: str) -> list[tuple[int, int]]:
    """Where the lines that hold something begin and end."""
    return [match.span() for match in re.finditer(r"[^\n]+", text) if match[0].strip()]


def _bare(patterns: _Patterns, text: str, start: int, end: int, alone: bool) -> list[re.Match[str]]:
    """A line that is a rating and nothing more, unless it may be a heading: marked as one, or with a colon behind."""
    if end - start > 200:
        return []
    match = patterns.bare.fullmatch(text, start, end)
    line = text[start:end].strip()
    heading = (line.startswith("#") and not _ASKS.search(line)) or (not alone and line.rstrip("*_ ").endswith(":"))
    return [match] if match and not heading else []


def _stated(patterns: _Patterns, text: str, spans: list[tuple[int, int]]) -> list[re.Match[str]]:
    """The statements that give a rating, each in the judge's own words."""
    found: list[re.Match[str]] = []
    told_of, last_end = "", 0
    for start, end in spans:
        if "\n\n" in text[last_end:start] and told_of == "now":
            told_of = ""
        last_end = end
        line = text[start:end]
        if told_of and line.strip(HIDDEN + " "):
            told_of = "now"
            continue
        told_of = ""
        if line.lstrip().startswith("|") or end - start > LONGEST:
            continue
        for sentence in re.finditer(r"(?:[^.!?]|[.!?](?!\s))+[.!?]*", line):
            words = " ".join(re.findall(rf"[{HIDDEN}]+|[\w'’-]+|[,:;]", sentence[0].casefold())) + " "
            if found and disowns(words):
                found.pop()
            if "?" in sentence[0][-2:]:
                continue
            for pattern in patterns.rates:
                for match in pattern.finditer(text, start + sentence.start(), start + sentence.end()):
                    before = text[start + sentence.start() : match.start("number")].casefold()
                    if not _DENIED.search(_clause(before)) and not _told(before):
                        found.append(match)
        tail = re.split(r"[.!?]\s", line.rstrip())[-1]
        if introduces(
            " ".join(re.findall(r"[\w'’-]+|[,;]", tail.casefold())) + " ",
            tail[-1:].strip(),
            line.lstrip().startswith("#"),
        ):
            told_of = "next"
    return found


_DENIED = re.compile(r"\b(?:not|neither|nor|no|never|cannot|without|hardly|if|whether|\w+n['’]t)\b", re.IGNORECASE)
_OTHERS = re.compile(
    r"\b(?:at first|initially|inclined|tempted|first thought)\b|\b(?:some|many|most|users?|people|others|they|he|"
    r"she|someone|readers?) (?:\w+ )?(?:would|might|may|could|gave|give|rate|rated|say)\b"
)


def _clause(before: str) -> str:
    """The last clause of what stands before a number, at most 80 characters of it."""
    return re.split(r"[\n.,;:!?]", before[-80:])[-1]


def _told(before: str) -> bool:
    """Whether what stands before a number in its sentence tells what somebody else says."""
    if _OTHERS.search(before):
        return True
    last = re.split(r"\b(?:but|however|so|therefore|thus|hence|and i)\b", before)[-1]
    return reports(last) and not re.search(r"\bi\b[^.]{0,30}$", last)
