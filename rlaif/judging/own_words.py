"""What in a judge's answer are its own words: quotations are hidden, so that nobody reads them as its verdict.

A response may hold a forged verdict ("Verdict: 2"), and a careful judge quotes it while it warns of it. What stands in
quotation marks of any kind, in code, in a blockquote, in an element or a comment of XML, or in a thought is therefore
hidden: each of its characters becomes `HIDDEN`, so that everything else keeps its place.

A quotation that never ends reaches to the end of the text: what cannot be told apart is not read.
"""

from __future__ import annotations

import ast
import json
import re
from bisect import bisect_left
from typing import Any

__all__ = ["HIDDEN", "VERDICT_TAGS", "object_of", "own_words", "unwrapped", "window"]

HIDDEN = "\ue000"  # of Unicode's private use: it means nothing in a text

# Elements that hold a verdict, and those that only shape a text: their content is the judge's own.
VERDICT_TAGS = "verdict|decision|answer|final_answer|final_verdict|winner|choice|preference|preferred|better|best"
VERDICT_TAGS += "|better_(?:response|answer|output|one)|preferred_(?:response|answer)"
VERDICT_TAGS += "|best_(?:response|answer)|judgment|judgement|result|final|conclusion|rating|score"
_SHAPES = "evaluation|assessment|judging|comparison|ranking|"
_SHAPES += "b|i|u|em|strong|mark|p|br|hr|div|span|center|h[1-6]|ul|ol|li|small|big|font|output|root|body|html|sub|sup"
_TAG = re.compile(r"<(?P<name>[A-Za-z][\w:.-]{0,40})(?:\s[^<>]{0,200})?(?P<alone>/?)>")
_OWN_TAG = re.compile(rf"(?:{VERDICT_TAGS}|{_SHAPES})", re.IGNORECASE)
_QUOTING_TAG = re.compile(
    (r"response|quot|text|input|user|assistant|document|message|prompt|think|reason"), re.IGNORECASE
)
_THOUGHT_ENDS = re.compile(r"</(?:think|thinking|thought|thoughts|reasoning)>", re.IGNORECASE)
_OPENS = re.compile(r"[\"“”„‟«»‹›「『《〈`‘‚]|(?<![^\s(\[{:;,=>—–*_\"“-])'(?=\S)")
_CLOSED_BY = {
    '"': '"',
    "“": "”",
    "”": "”",
    "„": "“”",
    "‟": "”",
    "«": "»",
    "»": "«",
    "‹": "›",
    "›": "‹",
    "「": "」",
    "『": "』",
    "《": "》",
    "〈": "〉",
    "‘": "’",
    "‚": "‘’",
    "'": "'",
}
_FENCE = re.compile(r"[ \t]*(?:[-*+][ \t]+)?(`{3,}|~{3,})")
_WHOLE_FENCE = re.compile(r"\s*(?P<fence>`{3,}|~{3,})[\w+-]*[ \t]*\n(?P<inside>[^`~]*?)\n?[ \t]*(?P=fence)\s*")
# "Response 2 contains **Verdict: 2.**": behind such a word emphasis is another way to quote.
_EMPHASIS = re.compile(
    r"\b(?i:says|said|reads|writes|wrote|states|claims|adds|demands|shouts|screams|yells|proclaims|declares|announces|"
    r"asserts|insists|boasts|pleads|begs|orders|commands|urges|contains|includes|(?:ends?|ending|begins|starts|closes|"
    r"concludes) with|the (?:line|words|text|sentence|phrase|message|instruction|note)|me to (?:write|say|answer|"
    r"output))[ :]{1,3}(\*{1,3}|__?)(?=\S)([^\n]{1,400}?)\1"
)
_QUOTED_LINE = re.compile(r"[ \t*-]*+(?<!-)(?:>|＞|&gt;)")
_GOES_ON = re.compile(r"[ \t]+[*_]{0,3}[A-Z]")
_STRUCK = re.compile(r"~~(?=\S)[^~\n]{1,400}~~")
_INDENTED = re.compile(r"(?: {4}|\t)[ \t]*(?![-*+•][ \t]|\d+[.)][ \t])\S")


def window(text: str, whole: int = 10_000, tail: int = 6_000, lines: int = 400) -> int:
    """Where the part of `text` begins that is read: a decision stands at its end, and reading it takes bounded time.

    Args:
        text: an answer.
        whole: a text of so many characters is read from its beginning, unless it has more than `lines` lines.
        tail: of a longer one so many are read, from the next line on.
        lines: and at most so many lines.
    """
    start = 0
    if len(text) > whole:
        line = text.find("\n", len(text) - tail)
        start = len(text) - tail if line < 0 else line + 1
    if text.count("\n", start) > lines:
        end = len(text)
        for _ in range(lines):
            end = text.rfind("\n", start, end)
        start = end + 1
    return start


def unwrapped(text: str) -> tuple[str, int]:
    """The inside of an answer that is one code block or one quotation as a whole, and where it begins."""
    if match := _WHOLE_FENCE.fullmatch(text):
        return match["inside"], match.start("inside")
    inner = text.strip()
    if (
        len(inner) > 2
        and inner[-1] in _CLOSED_BY.get(inner[0], "")
        and not set(inner[1:-1]) & set(inner[0] + inner[-1])
    ):
        return inner[1:-1], text.index(inner) + 1
    return text, 0


def object_of(text: str) -> list[tuple[str, Any]]:
    """The keys and values of a text that is a JSON object, those of inner objects too; none where it is no object."""
    pairs: list[tuple[str, Any]] = []
    if not (text.lstrip().startswith("{") and text.rstrip().endswith("}")):
        return pairs

    def note(found: list[tuple[str, Any]]) -> None:
        pairs.extend(found)

    try:
        json.loads(text, object_pairs_hook=note)
    except (ValueError, RecursionError):
        return _python_object(text)
    return pairs


def _python_object(text: str) -> list[tuple[str, Any]]:
    """The same of a short object in single quotation marks, as Python prints one."""
    if len(text) > 2_000:
        return []
    try:
        found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    return [(key, value) for key, value in found.items() if isinstance(key, str)] if isinstance(found, dict) else []


def own_words(text: str, name: re.Pattern[str]) -> str:
    """`text`, as long as it was, with all that is not the judge's own words hidden.

    Args:
        text: an answer.
        name: what may be quoted and is still the judge's own when something else stands in its line, as in
            'the better one is "2"'.
    """
    text = _hide_lines(text)
    text = _hide_elements(text)
    text = _hide_spans(text, [match.span(2) for match in _EMPHASIS.finditer(text) if not name.fullmatch(match[2])])
    text = _STRUCK.sub(lambda match: " " * len(match[0]), text)  # struck out, and so taken back
    return _hide_quotations(text, name)


def _hide(text: str, start: int, end: int) -> str:
    return text[:start] + HIDDEN * (end - start) + text[end:]


def _hide_lines(text: str) -> str:
    """Without code blocks, fenced or indented, and blockquotes."""
    lines = text.split("\n")
    all_indented = all(line[:1] in " \t" for line in lines if line.strip())
    fence = ""
    for i, line in enumerate(lines):
        opens = _FENCE.match(line)
        if fence:
            hidden = True
            if opens and opens[1].startswith(fence) and not line[opens.end() :].strip("`~ \t\r"):
                fence = ""
        elif opens and "`" not in line[opens.end() :]:
            hidden, fence = True, opens[1]
        else:
            hidden = _QUOTED_LINE.match(line) is not None
            hidden = hidden or (not all_indented and _INDENTED.match(line) is not None)
        if hidden:
            lines[i] = HIDDEN * len(line)
    return "\n".join(lines)


def _hide_elements(text: str) -> str:
    """Without comments, and without elements of XML that hold no verdict."""
    if "</" not in text and "<!" not in text and "<" not in text and "[quote" not in text.lower():
        return text
    for end in list(_THOUGHT_ENDS.finditer(text))[-1:]:
        text = _hide(text, 0, end.end())
    spans: list[tuple[int, int]] = []
    folded = text.lower() if len(text.lower()) == len(text) else text
    for opens, closes in (("<!--", "-->"), ("[quote", "[/quote]")):
        at = folded.find(opens)
        while at >= 0:
            end_at = folded.find(closes, at)
            spans.append((at, len(text) if end_at < 0 else end_at + len(closes)))
            at = folded.find(opens, spans[-1][1])
    covered = 0
    unclosed: set[str] = set()
    for tag in _TAG.finditer(text):
        tag_name = tag["name"].lower()
        if tag.start() < covered or tag["alone"] or _OWN_TAG.fullmatch(tag_name):
            continue
        end_at = -1 if tag_name in unclosed else folded.find(f"</{tag_name}", tag.end())
        if end_at >= 0:
            covered = folded.find(">", end_at) + 1 or len(text)
            spans.append((tag.start(), covered))
        else:
            unclosed.add(tag_name)
            if _QUOTING_TAG.search(tag_name):
                spans.append((tag.start(), len(text)))
                break
    return _hide_spans(text, spans)


def _hide_spans(text: str, spans: list[tuple[int, int]]) -> str:
    parts, done = [], 0
    for start, end in sorted(spans):
        if end > done:
            start = max(start, done)
            parts += [text[done:start], HIDDEN * (end - start)]
            done = end
    return "".join(parts) + text[done:]


def _hide_quotations(text: str, name: re.Pattern[str]) -> str:
    """Without what stands in quotation marks; line breaks in it are hidden too."""
    spans: list[tuple[int, int]] = []
    stops: list[int] = []
    marks: dict[str, list[int]] = {}  # where each closing mark stands
    at = 0
    while match := _OPENS.search(text, at):
        start, mark = match.start(), match[0]
        at = start + 1
        if mark == "`":
            ticks = re.compile("`+").match(text, start)
            assert ticks is not None
            at = ticks.end()
            end = text.find(ticks[0], at)
            end = text.find("''", at) if end < 0 and len(ticks[0]) == 2 else end
            if end < 0:
                spans.append((start, _line_end(text, at)))
                at = spans[-1][1]
                continue
            inside, end = (at, end), end + len(ticks[0])
        elif mark in '"”' and not _opening(text, start):
            continue
        else:
            end = _end_of_quotation(text, start, mark, marks)
            inside = (start + 1, end - 1)
        if name.fullmatch(text, *inside) and (mark == "`" or not _alone(text, start, end)):
            at = end
            continue
        # A full stop before the mark ends the sentence around it too.
        ends = text[end - 2 : end - 1] in (".", "!", "?") and _GOES_ON.match(text, end)
        spans.append((start, end - 1 if ends else end))
        if ends:
            stops.append(end - 1)
        at = end
    for stop in stops:
        text = text[:stop] + "." + text[stop + 1 :]
    return _hide_spans(text, spans)


def _opening(text: str, at: int) -> bool:
    before, after = text[at - 1 : at] if at else "", text[at + 1 : at + 2]
    if not after or after.isspace() or before.isalnum():
        return False
    return after.isalnum() or before not in tuple(".,!?;%)]}")


def _closing(text: str, at: int, mark: str) -> bool:
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    return not after.isalnum() and (not before.isspace() or (mark not in "'’" and not after.strip()))


def _end_of_quotation(text: str, start: int, mark: str, marks: dict[str, list[int]]) -> int:
    """Behind the mark that ends what `mark` begins at `start`; quotations may hold others of their kind."""
    closers = _CLOSED_BY[mark]
    single = mark in "'‘‚"
    if mark not in marks:
        kinds = re.escape(mark + closers)
        marks[mark] = [match.start() for match in re.finditer(f"[{kinds}]", text)]
    depth, last = 1, -1
    for i in range(bisect_left(marks[mark], start + 1), len(marks[mark])):
        at = marks[mark][i]
        closes = text[at] in closers and (mark not in "\"'”‘‚" or _closing(text, at, "'" if single else closers))
        if single:
            # An apostrophe looks like an end: the last one before another quotation begins is taken.
            if last >= 0 and "\n" in text[last:at]:
                break
            if closes:
                last = at
            elif last >= 0 and (text[at] in "‘‚" or _OPENS.match(text, at)):
                break
        elif closes:
            depth -= 1
            if depth == 0:
                return at + 1
        elif text[at] == mark and (mark not in '"”' or _opening(text, at)):
            depth += 1
    if single:
        return last + 1 if last >= 0 else _line_end(text, start)
    return len(text)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _alone(text: str, start: int, end: int) -> bool:
    """Whether what stands from `start` to `end` fills its line."""
    line = text[text.rfind("\n", 0, start) + 1 : start] + text[end : _line_end(text, end)]
    return not any(char.isalnum() for char in line)
