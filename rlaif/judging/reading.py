"""Reading: the one place where a reply becomes a value, or a reason why there is none. Pure functions.

    E = sum_i value_i P(label_i | question) / sum_i P(label_i | question)

as in RLAIF (Lee et al., 2309.00267, section 2.2): with two labels of the values 1 and 0 it is P(first), with the
numbers of a scale the expected rating of their direct RLAIF. Replies are stored as they came, so a better reading costs
nothing: `rlaif judge --reread` reads them again. `VERSION` is written into every judgment.

A written reply is read in four steps, each in a file of its own: the answer is what comes after the thought
(thoughts.py), the verdict is what the answer decides for (verdicts.py), its place is found among the tokens whose
log-probabilities were given (alignment.py), and E is taken from what is listed there (labels.py). Where the last two
cannot be done the verdict's own number is taken, and the reading says why.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from rlaif.judging.alignment import align
from rlaif.judging.labels import Expected, expected_value
from rlaif.judging.prompts import BaseTemplate
from rlaif.judging.thoughts import Thought, split_thought
from rlaif.judging.verdicts import TIE, spelled
from rlaif.models.base import UNASKED, Reply

__all__ = ["VERSION", "Reading", "cut_before_answer", "read_labels", "read_number"]

# Of this file, thoughts.py, alignment.py, labels.py and verdicts.py: raise it when any reply would be read otherwise.
VERSION = 2


class Reading(NamedTuple):
    """What a reply says.

    Attributes:
        value: a number, or None with a `reason`.
        method: how it was read: "logprobs", "text" or "function".
        mass: the probability of all labels together, where it is known.
        unasked: a call that this reading wants is not stored, and nothing is asked in this run.
        p_tie: P(neither is better); half of it is in the value.
        unusable: why log-probabilities that came with the reply were not used, where they were not.
    """

    value: float | None
    reason: str | None = None
    method: str | None = None
    mass: float | None = None
    unasked: bool = False
    p_tie: float = 0.0
    unusable: str | None = None


def read_labels(reply: Reply, template: BaseTemplate, max_tokens: int = 0, mark: str | None = None) -> Reading:
    """The expected value of a reply to a question with labels. Values are kept to 1e-6: float32 carries no more.

    Of an answer that was cut off only a label that stands alone counts, in its first line or as the whole of it.

    Args:
        reply: with the labels' log-probabilities, or with a text and, where the endpoint gave them, its places.
        template: whose labels they are.
        max_tokens: of the call, for the reason of an answer that was cut off.
        mark: with which the line of the verdict begins, where the question asked for one: only such a line is read.
    """
    if reply.finish == UNASKED or reply.reason is not None:
        return Reading(None, reply.reason or "no reply", unasked=reply.finish == UNASKED)
    if reply.logps is not None:
        return _scored(reply.logps, template)
    text = reply.text or ""
    thought = split_thought(text)
    if not thought.answer:
        return Reading(None, _unanswered(reply, thought, max_tokens))
    found = _verdict(text, thought, template, mark)
    if isinstance(found, str):
        return Reading(None, found)
    cut = f" It was cut off at {_limit(max_tokens)}; raise --max_tokens." if reply.finish == "length" else ""
    if found is None or (cut and not _stands_alone(text, thought, found, template, mark)):
        whole = "whole " if found is not None and mark is not None else ""
        what = f"{whole}line with the mark" if mark is not None else "verdict"
        return Reading(None, f"no {what} in the answer {_shown(thought.answer)}.{cut}")
    label, position = found
    if label == TIE:
        return Reading(round((max(template.values) + min(template.values)) / 2, 6), method="text", p_tie=1.0)
    unusable = None
    if reply.places is not None and mark is None:
        expected = _from_places(reply, text, thought, found, template) if reply.places else _UNKNOWN
        if isinstance(expected, Expected):
            return Reading(round(expected.value, 6), method="logprobs", mass=round(expected.mass, 6))
        unusable = expected
    if cut and _may_go_on(text, label, position, template):
        return Reading(None, f"perhaps a part of the verdict in the answer {_shown(thought.answer)}.{cut}")
    return Reading(round(template.values[label], 6), method="text", unusable=unusable)


_UNKNOWN = "they came in a form that cannot be used"


def cut_before_answer(reply: Reply) -> bool:
    """Whether a reply was cut off before its answer began: in a thought, seen or hidden."""
    return reply.finish == "length" and not split_thought(reply.text or "").answer


def read_number(reply: Reply, template: BaseTemplate) -> Reading:
    """The number that a function returned, within the values of `template`."""
    if reply.finish == UNASKED or reply.reason is not None:
        unasked = reply.finish == UNASKED
        return Reading(None, reply.reason or "no reply", None if unasked else "function", unasked=unasked)
    value = float(reply.text or "nan")
    if not min(template.values) <= value <= max(template.values):  # nor is NaN
        return Reading(None, f"the function returned {value}, not {template.meaning}", "function")
    return Reading(round(value, 6), method="function")


def _scored(given: tuple[float | None, ...], template: BaseTemplate) -> Reading:
    """The value of log P(label), one a label, of a model that scores."""
    logps = [-math.inf if logp is None else logp for logp in given]
    most = max(logps, default=-math.inf)
    if not math.isfinite(most) or len(logps) != len(template.labels):
        return Reading(None, f"the labels' log-probabilities are {' and '.join(map(str, logps))}")
    value = template.expected([math.exp(logp - most) for logp in logps])
    return Reading(round(value, 6), method="logprobs", mass=round(sum(map(math.exp, logps)), 6))


_Found = tuple[int, int | None]  # a label or `TIE`, and its place in the text; None where it may stand in several
_MOST_ENDS = 8  # of a thought


def _verdict(text: str, thought: Thought, template: BaseTemplate, mark: str | None) -> _Found | str | None:
    """The verdict of an answer, which must be the same wherever the answer may begin; or why it is not read."""
    assert thought.answer is not None
    end = thought.start + len(thought.answer)
    starts = [thought.start, *thought.others]
    if len(starts) > _MOST_ENDS:
        return f"a thought that ends in {len(starts)} places, so that the answer may be any part of it."
    found = [template.find(text[start:end], mark) for start in starts]
    if not thought.certain:
        whole = template.find(text[:end], mark)
        if whole is not None:
            found.append(whole)
            starts.append(0)
    labels = {None if one is None else one[0] for one in found}
    if len(labels) > 1:
        return f"a thought that ends in {len(starts)} places, after which the answers differ: {_shown(thought.answer)}."
    if None in labels:
        return None
    places = {start + one[1] for start, one in zip(starts, found, strict=True) if one is not None}
    return labels.pop() or 0, places.pop() if len(places) == 1 else None


def _from_places(reply: Reply, text: str, thought: Thought, found: _Found, template: BaseTemplate) -> Expected | str:
    """E where the verdict stands among the reply's tokens, or why it cannot be known."""
    assert thought.answer is not None
    assert reply.places is not None
    label, position = found
    if position is None:
        return "the answer may begin in several places"
    start = max(place for place in (thought.start, *thought.others) if place <= position)
    end = thought.start + len(thought.answer)
    thoughts = reply.reasoning or thought.thought
    aligned = align(reply.places, text[start:end], text[end:], thoughts, text[:start])
    if isinstance(aligned, str):
        return aligned
    begin, labels = _written(text[start:end], label, position - start, template.labels)
    at = aligned.at(begin)
    return aligned.why_not(begin) if at is None else expected_value(reply.places[at:], label, template, labels)


def _written(answer: str, label: int, position: int, labels: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Where the label begins that is written around `position`, and the labels as they are written there.

    For "Response 1" and "Response 2" judges write "answer 1" too, and "the first response" for "1".
    """
    name = labels[label]
    for start in range(position, max(position - len(name), -1), -1):
        if spelled(answer[start : start + len(name)], labels) == spelled(name, labels):
            return start, labels
    words = [name.split() for name in labels]
    while all(len(name) > 1 for name in words) and len({name[0] for name in words}) == 1:
        words = [name[1:] for name in words]
    ways = [tuple(" ".join(name) for name in words), *(_OTHER_WAYS if len(labels) == 2 else ())]
    for way in ways:
        word = re.compile(rf"{re.escape(way[label])}(?!\w)", re.IGNORECASE)
        if word.match(answer, position):
            return position, way
    return position, labels


_OTHER_WAYS = (("first", "second"), ("1", "2"), ("A", "B"), ("one", "two"))


# Answers that were cut off -------------------------------------------------------------------------------------------

_DECORATION = " \t*_`\"'()[]{}$"


def _stands_alone(text: str, thought: Thought, found: _Found, template: BaseTemplate, mark: str | None) -> bool:
    """Whether a verdict of an answer that was cut off is a whole line: with a mark that line, else the first one."""
    label, position = found
    assert thought.answer is not None
    if position is None or not thought.certain:
        return False
    if mark is not None:
        return "\n" in text[position:]
    line, _, rest = thought.answer.partition("\n")
    if label == TIE or not thought.start <= position < thought.start + len(line):
        return False
    name = template.labels[label]
    bare = line.strip(_DECORATION + ".") if rest else line.strip(_DECORATION)
    labels = template.labels
    return spelled(name, labels) in {spelled(line, labels), spelled(bare, labels)} or (
        spelled(name.strip(_DECORATION), labels) == spelled(bare, labels)
    )


def _may_go_on(text: str, label: int, position: int | None, template: BaseTemplate) -> bool:
    """Whether a label that ends a text that was cut off may be the beginning of another: "1" of "10"."""
    name = template.labels[label]
    ends = position is not None and len(text) - position == len(name)
    return ends and any(other != name and other.startswith(name) for other in template.labels)


# Reasons -------------------------------------------------------------------------------------------------------------


def _unanswered(reply: Reply, thought: Thought, max_tokens: int) -> str:
    thinks = thought.thought is not None or bool((reply.reasoning or "").strip())
    if reply.finish == "length":
        if thinks:
            return f"cut off at {_limit(max_tokens)} in its thought; raise --max_tokens."
        return f"an empty answer. It was cut off at {_limit(max_tokens)}; raise --max_tokens."
    return "a thought and no answer." if thinks else "an empty answer."


def _limit(max_tokens: int) -> str:
    return f"{max_tokens} tokens" if max_tokens else "its limit of tokens"


def _shown(text: str) -> str:
    return repr(text[:80])
