"""Reading what a judge wrote: a verdict between two responses, a rating of one, or None where there is neither.

Nothing is guessed. What can be read in two ways is not read, and a statement that a response may have smuggled in does
not count over what the judge says itself.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["Scale", "find_rating", "find_verdict", "parse_rating", "parse_verdict", "spelled"]

Scale = tuple[int, int]  # the worst and the best rating, whole numbers


def parse_verdict(text: str, labels: tuple[str, ...]) -> int | None:
    """0 or 1 for the label that `text` decides for, None where it decides for neither or cannot be read."""
    found = find_verdict(text, labels)
    return None if found is None else found[0]


def spelled(text: str, labels: tuple[str, ...]) -> str:
    """`text` as it is compared with a label: without white space and, unless labels are single letters, without case.

    A single letter is an article or a pronoun more often than a verdict, unless it is written as the label is.
    """
    exact = any(len(label.strip()) == 1 and label.strip().isalpha() for label in labels)
    return text.strip() if exact else text.strip().casefold()


def find_verdict(text: str, labels: tuple[str, ...]) -> tuple[int, int] | None:
    """The verdict in `text` (0 or 1) and the place of its label, or None where there is none that can be trusted.

    Read in this order:
      1. the first line, or else the last one, is a label and nothing more ("**2**", "Response 1.", "Response 1 is.");
      2. the LAST statement that decides: "the better one/answer/verdict ... is (or a colon) label", "I prefer/choose
         label", "label is (the) better/best", "label wins".

    The last statement counts because a response quoted on the way may contain a forged one, while the judge's own comes
    after everything it quotes. A statement that compares, denies or finds fault does not decide for the label it names
    ("1 is better than 2", "the answer is not 1", "the better one is 1 or 2", "answer 1 is wrong"). Everything else is
    None, also a text that names one label alone: it may as well find fault with it ("Response 2 is worse.") or count
    ("There is 1 error.").
    """
    names = [spelled(label, labels) for label in labels]
    case = "" if spelled("A", labels) == "A" else "i"
    label = "|".join(f"(?:{re.escape(name.strip())})" for name in sorted(labels, key=len, reverse=True))
    label = rf"(?<!\w)(?{case}:{label})(?!\w)"

    def verdict(match: re.Match[str]) -> tuple[int, int]:
        return names.index(spelled(match["label"], labels)), match.start("label")

    lines = list(re.finditer(r"[^\n]*\S[^\n]*", text))
    bare = re.compile(rf"[\W_]*(?i:(?:response|answer|option)[\W_]+)?(?P<label>{label})(?i:[\W_]+is)?[\W_]*")
    for line in lines[:1] + lines[-1:]:
        if match := bare.fullmatch(text, line.start(), line.end()):
            return verdict(match)

    other = re.compile(rf"[\W_]*(?i:or|and|/|,|nor)[\W_]*(?i:response|answer|option)?[\W_]*{label}")
    decided = []
    for start in (rf"{_NOUN}(?=(?P<gap>{_LINK}){_NAMED}", rf"{_VERB}(?=(?P<gap>){_NAMED}"):
        # The label is looked ahead for, since a statement may begin within another that does not decide.
        for match in re.finditer(rf"{start}(?P<label>{label}))", text):
            fault = other.match(text, match.end("label")) or _GOES_ON.match(text, match.end("label"))
            if not (fault or _CONTRASTS.search(match["gap"]) or _DENIED.search(_clause(text, match.start()))):
                decided.append(match)
    for match in re.finditer(rf"(?P<label>{label})(?=[\W_]*?\s+(?:(?P<gap>{_IS}){_BETTER}|(?i:wins)\b))", text):
        clause = _clause(text, match.start())
        if not (_CONTRASTS.search(match["gap"] or "") or _DENIED.search(clause) or _ALONGSIDE.search(clause)):
            decided.append(match)
    return verdict(max(decided, key=lambda match: match.start("label"))) if decided else None


def _clause(text: str, end: int, reach: int = 48) -> str:
    """What stands before `end` in its clause, at most `reach` characters of it."""
    return re.split(r"[\n.,;:!?]", text[max(0, end - reach) : end])[-1]


_NOUN = r"(?i:\b(?:better|best|answer|verdict|preferred|preferable|preference|choice|pick|winner)\b)"
_LINK = r"[^\n.]{0,40}?(?:(?i:\b(?:is|are|was|be)\b)|[:=?>→])"
_VERB = r"(?i:\b(?:prefer|choose|pick|select|favou?r|go with)\b)"
_NAMED = (
    r"(?:[^\w\n.]|_)*(?i:\w+ly\s+)?(?i:the\s+)?(?i:(?:response|answer|option|choice|number|boxed)\b)?(?:[^\w\n.]|_)*"
)
_IS = r"(?i:\w+ly\s+)?(?i:is|was|seems|looks|appears|remains|does|performs)\b(?:[^\w\n.]+\w+){0,3}?[^\w\n.]+"
_BETTER = r"(?i:(?:better|best|preferred|preferable|superior|stronger|winner)\b)"
_DENIES = r"not|neither|nor|no|never|cannot|without|hardly|if|whether|\w+n['’]t"
_DENIED = re.compile(rf"\b(?:{_DENIES})\b|\b(?:less|least|second|next)\W+$", re.IGNORECASE)
_CONTRASTS = re.compile(
    rf"\b(?:{_DENIES}|than|over|or|and|because|since|while|whereas|but|although|though|less|least|from|worse|worst)\b",
    re.IGNORECASE,
)
_ALONGSIDE = re.compile(r"\b(?:or|both)\W+(?:response\W+)?$", re.IGNORECASE)
# The label is no verdict but the subject of what follows, a number, or what is called the worse one.
_GOES_ON = re.compile(
    r"['’]s\b|\s*[/.,]\s*\d|\s*%|\s+out of\b|[^\w\n.]*\s(?:is|was|are|has|had|does|did|fails?|contains?|"
    r"(?:as|to be) (?:the |a )?(?:worse|worst|weaker|weakest|last|loser))\b",
    re.IGNORECASE,
)


def parse_rating(text: str, scale: Scale) -> int | None:
    """The rating that `text` gives on `scale`, None where it gives none or cannot be read."""
    found = find_rating(text, scale)
    return None if found is None else found[0] + scale[0]


def find_rating(text: str, scale: Scale) -> tuple[int, int] | None:
    """The rating in `text` as its place on `scale` (0 is the worst) and the place of its number in the text, or None.

    Read in this order, with a scale from 1 to 10:
      1. the first or the last line is a whole number from 1 to 10 and nothing more ("**7**", "Rating: 7", "7/10.");
      2. the statements that give one: "rating/score ... (is, of, or a colon) 7", "I (would) rate it (at) 7", "I give
         it a 7", each at the end of its clause, and "7/10" or "7 out of 10" anywhere.

    Where those that are read do not all say the same number (of several aspects, or in a response quoted on the way),
    nothing is; nor is a number with decimals, on another scale, in a range, or denied.
    """
    names_scale, bare, rates = _rating_patterns(scale)
    # "Rating (1-10):" and "on a scale from 1 to 10" name the scale, and rate nothing.
    text = names_scale.sub(lambda match: " " * len(match[0]), text)
    lines = list(re.finditer(r"[^\n]*\S[^\n]*", text))
    found = [match for line in lines[:1] + lines[-1:] if (match := bare.fullmatch(text, line.start(), line.end()))]
    if not found:
        stated = [match for pattern in rates for match in pattern.finditer(text)]
        found = [match for match in stated if not _DENIED.search(_clause(text, match.end("number"), 80))]
    numbers = {int(match["number"]) for match in found}
    if len(numbers) != 1 or not numbers <= set(range(scale[0], scale[1] + 1)):
        return None
    first = min(found, key=lambda match: match.start("number"))
    return numbers.pop() - scale[0], first.start("number")


@lru_cache
def _rating_patterns(scale: Scale) -> tuple[re.Pattern[str], re.Pattern[str], list[re.Pattern[str]]]:
    """What names the scale, a line that is a rating and nothing more, and the statements that give one."""
    low, high = scale
    names_scale = rf"(?<![\w.]){low}\s*(?:[-–—]|to|and)\s*{high}(?![\w.]*\d)"
    best = f"(?:{high}|{_IN_WORDS[high]})" if high in _IN_WORDS else str(high)
    out_of = rf"(?:\s*/\s*{high}|\s+out\s+of\s+{best})"
    # A whole number that is no part of a longer one, of a range, or of a scale that ends elsewhere.
    end = r"(?!\w|[.,:]\d|\s*%|\s*[-–—/]\s*\w|\s+(?:to|or|out\s+of)\b)"
    number = rf"(?<![\w.,:/–—-])(?P<number>\d{{1,{len(str(high)) if high > 9 else 2}}})"
    of = r"(?:rating|score|grade|answer|verdict)"
    bare = rf"[\W_]*?(?:(?:\w+\s+){{0,2}}{of}[^\w\n]*(?:(?:is|of)\b[^\w\n]*)?)?{number}{out_of}?{end}[\W_]*"
    # The number ends its clause: "a rating of 10 would need sources" gives none.
    clause_ends = r"(?=[\W_]*(?:$|\n|[.;,!?)]|(?:because|since|for|as|due|overall)\b))"
    rates = (
        rf"\b{of}\b[^\n.\d]{{0,40}}?(?:\b(?:is|of|at|as)\b|[:=→])[^\n.\d]{{0,16}}?{number}{out_of}?{end}{clause_ends}",
        rf"\b(?:I\b[^\n.\d]{{0,24}}?\b)(?:rate|score|grade|give|assign)\b[^\n.\d]{{0,40}}?{number}{out_of}?{end}{clause_ends}",
        rf"{number}{out_of}(?![\w/])(?!\.\d|\s+of\b)",
    )
    flags = re.IGNORECASE
    return re.compile(names_scale, flags), re.compile(bare, flags), [re.compile(pattern, flags) for pattern in rates]


_IN_WORDS = {5: "five", 7: "seven", 9: "nine", 10: "ten"}
