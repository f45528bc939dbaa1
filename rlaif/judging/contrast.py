"""Plain praise of one response against plain blame of the other: "The first one nails it. The second misses the point".

Asked only where no decision is found. Both have to be the subjects of what is said, nothing may be said the other way
round, and nothing that takes back, tells of others' words or asks may stand beside it.
"""

from __future__ import annotations

import re

from rlaif.judging.clauses import Line
from rlaif.judging.statements import disowns, forges, gives_up, retracts

__all__ = ["praise_against_blame"]

_SURE = r"(?:(?:simply|just|plainly|completely|totally|clearly|actually|really|also|absolutely|entirely|even|flat) )*"
_WHO = rf"(?:(?:and|but|while|whereas|meanwhile|only|the|ok|so|overall) )*[§¤](?P<name>[01]) {_SURE}"
_GOOD = (
    r"(?:right|correct|accurate|perfect|great|excellent|spot on|on point|complete|spot-on|flawless|exactly (?:right|"
    r"what \w+ "
    r"\w+ (?:asked|wanted)))"
)
_BAD = (
    r"(?:wrong|incorrect|useless|off|nonsense|irrelevant|false|broken|off-topic|off topic|garbage|inaccurate|terrible|"
    r"awful|"
    r"made up|a mess|rubbish|unhelpful)"
)
_WORKS = (
    r"(?:nails it|nailed it|gets it right|got it right|answers (?:the|it|what)|does what|did what|follows (?:the|all|"
    r"every)|"
    r"followed (?:the|all|every)|succeeds|works|delivers|solves (?:it|the)|addresses (?:the|it))"
)
_BREAKS = (
    r"(?:misses the|missed the|fails|failed|(?:doesn't|does not|didn't|did not|never) (?:even )?(?:answer|read|follow|"
    r"address|"
    r"work|try|do|mention|understand|run|compile|touch|get)\w*|ignores|ignored|makes (?:it|things|stuff) up|made "
    r"(?:it|things|"
    r"stuff) up|gets it wrong|got it wrong)"
)
_PRAISE = re.compile(rf"{_WHO}(?:(?:is|was) {_SURE}{_GOOD} (?=$|because|and|about)|{_WORKS} )")
_BLAME = re.compile(rf"{_WHO}(?:(?:is|was) {_SURE}{_BAD} (?=$|because|and|about|in )|{_BREAKS} )")
_DOUBT = re.compile(r"\b(?:if|unless|would|could|might|may|both|neither|tie|equal\w*|however|although|though|except) ")


def praise_against_blame(lines: list[Line]) -> tuple[int, int] | None:
    """The response that is praised where the other is blamed, and the place of its name."""
    sentences = [sentence for line in lines for sentence in line.sentences]
    if len(sentences) > 6 or any(line.hidden or line.table or line.listed or line.title for line in lines):
        return None
    praised: dict[int, int] = {}
    blamed: set[int] = set()
    for sentence in sentences:
        words = sentence.words
        if "¶" in words or "?" in sentence.end or _DOUBT.search(words):
            return None
        if gives_up(words) or retracts(words) or disowns(words) or forges(words):
            return None
        for clause in sentence.clauses:
            if match := _PRAISE.match(clause.words):
                praised[int(match["name"])] = clause.places[0]
            if match := _BLAME.match(clause.words):
                blamed.add(int(match["name"]))
    if len(praised) != 1 or len(blamed) != 1 or blamed & set(praised):
        return None
    return praised.popitem()
