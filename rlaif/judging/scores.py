"""Scores and tables that decide where no word does: totals of the two responses, "| Overall | | better |", rankings."""

from __future__ import annotations

import re

from rlaif.judging.clauses import LONGEST, Names

__all__ = ["best_score", "table_verdict"]

_TOTAL = re.compile(
    r"[\s*_]*(?:(?:final|overall|total|weighted|combined|mean|average|sum)[\s*_]*)+(?:score|rating|points|"
    r"result)?[\s*_:]*",
    re.IGNORECASE,
)
_WHOLE = re.compile(
    r"[\s*_]*(?:(?:final|overall|my)\s+)*(?:overall|verdict|winner|better|best|decision|preferred|choice|result)(?: "
    r"(?:response|one|answer|pick|output))?[\s*_:]*",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[\s*_]*(\d{1,3}(?:\.\d{1,2})?)(?:\s*(?:/|out of)\s*(\d{1,3}))?(?:\s*(?:points?|pts))?[\s*_.]*")
_MARKED = re.compile(
    r"[\W_]*(?:better|best|winner|wins|preferred|this one|chosen|✓|✔|🏆|x)[\W_]*|[\s*_]*[✓✔✅🏆]\S?[\s*_]*",
    re.IGNORECASE,
)
_FIRST = re.compile(r"[\W_]*(?:1|1st|first|best|winner|better)[\W_]*", re.IGNORECASE)
_SCORE_LINE = re.compile(
    r"(?P<before>[^\n:=|]{1,60}?)\s*(?:[:=–—-]|\b(?:scores|gets|receives|earns|is|at|rated|"
    r"deserves)\b(?:\s+an?)?)\s*(?P<score>[\d.]{1,6}\s*(?:/|out of)\s*\d{1,3})\W*"
)

# "Response 1 (6/10): too vague"
_SCORE_FIRST = re.compile(r"(?P<before>[^\n:=|(]{1,40}?)\s*\((?P<score>[\d.]{1,6}\s*/\s*\d{1,3})\)\**\s*[:–—-]")
_SCORE = re.compile(
    r"^\W*(?:(?:final |overall )?(?:score|rating|points) (?:for|of)|i (?:give|rate)) |\W*(?:'s )?(?:score|rating|"
    r"total)\W*$",
    re.IGNORECASE,
)
_PIECES = re.compile(r"[,;]\s|\.\s|\s(?:and|while|vs\.?|but)\s")


def table_verdict(text: str, names: Names) -> tuple[int, int] | None:
    """What a table's row of the whole says: the marked cell of one response, or the response that it ranks first."""
    header: list[str] = []
    found: set[tuple[int, int]] = set()
    at = 0
    for line in text.split("\n"):
        begin, at = at, at + len(line) + 1
        if "|" not in line or len(line) > LONGEST:
            header = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        columns = _columns(header, names)
        if not header:
            header = cells
        elif len(columns) == 2 and len(cells) == len(header) and _WHOLE.fullmatch(cells[0]):
            marked = [i for i in (0, 1) if _MARKED.fullmatch(cells[columns[i]])]
            if len(marked) == 1 and not cells[columns[1 - marked[0]]].strip(" *-–—✗✘❌"):
                found.add((marked[0], begin))
        elif (
            re.search(r"\brank\b|\bplace\b", header[0], re.IGNORECASE) and _FIRST.fullmatch(cells[0]) and len(cells) > 1
        ):
            named = names.marked(cells[1], 0, len(cells[1]))
            if named and named[0] >= 0:
                found.add((named[0], begin))
    return found.pop() if len({verdict for verdict, _ in found}) == 1 else None


def best_score(text: str, names: Names) -> tuple[int, int] | None:
    """The response with the higher total, where each has exactly one, on one scale: of a table's row, or of two lines.

    Nothing else may decide, and equal totals are no verdict: a judge that is asked for one gives it in words.
    """
    header: list[str] = []
    scores: dict[int, list[tuple[float, str, int]]] = {0: [], 1: []}
    at = 0
    for line in text.split("\n"):
        begin, at = at, at + len(line) + 1
        if len(line) > LONGEST:
            continue
        if "|" in line:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            columns = _columns(header, names)
            header = header or cells
            if len(columns) == 2 and len(cells) == len(header) and _TOTAL.fullmatch(cells[0]):
                for i in (0, 1):
                    _note(scores[i], cells[columns[i]], begin)
            continue
        header = []
        for piece in _PIECES.split(line):
            piece = piece.strip(" \t*_-•")
            match = _SCORE_LINE.fullmatch(piece) or _SCORE_FIRST.match(piece)
            named = match and names.marked(bare := _SCORE.sub("", match["before"]), 0, len(bare))
            if match and named and named[0] >= 0:
                _note(scores[named[0]], match["score"], begin)
    if any(len(found) != 1 for found in scores.values()):
        return None
    (one, scale, place), (other, other_scale, other_place) = scores[0][0], scores[1][0]
    if scale != other_scale or one == other:
        return None
    return (0, place) if one > other else (1, other_place)


def _columns(header: list[str], names: Names) -> list[int]:
    """The columns of the first and the second response, none where it is not clear."""
    named = {i: found[0] for i, cell in enumerate(header) if i and (found := names.marked(cell, 0, len(cell)))}
    if sorted(named.values()) != [0, 1]:
        return []
    return sorted(named, key=lambda i: named[i])


def _note(scores: list[tuple[float, str, int]], cell: str, place: int) -> None:
    if match := _NUMBER.fullmatch(cell):
        scores.append((float(match[1]), match[2] or "", place))
