"""Reading: the one place where a reply becomes a value, or a reason why there is none. Pure functions.

    E = sum_i value_i P(label_i | question) / sum_i P(label_i | question)

as in RLAIF (Lee et al., 2309.00267, section 2.2): with two labels of the values 1 and 0 it is P(first), with the
numbers of a scale the expected rating of their direct RLAIF. Replies are stored as they came, so a better reading costs
nothing: `rlaif judge --reread` reads them again. `VERSION` is written into every judgment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rlaif.judging.prompts import BaseTemplate
from rlaif.judging.verdicts import spelled
from rlaif.models.base import UNASKED, Place, Reply

__all__ = [
    "VERSION",
    "Reading",
    "cut_before_answer",
    "expected_from_logprobs",
    "read_labels",
    "read_number",
]

VERSION = 1  # of everything in this file and in verdicts.py: raise it when any reply would be read otherwise

_Token = tuple[str, Mapping[str, float]]  # a written token and the log-probabilities listed for its place


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

    Args:
        reply: with the labels' log-probabilities, or with a text and, where the endpoint gave them, its places.
        template: whose labels they are.
        max_tokens: of the call, for the reason of an answer that was cut off.
    """
    if reply.finish == UNASKED or reply.reason is not None:
        return Reading(None, reply.reason or "no reply", unasked=reply.finish == UNASKED)
    if reply.logps is not None:
        logps = [-math.inf if logp is None else logp for logp in reply.logps]
        most = max(logps)
        if not math.isfinite(most):
            return Reading(None, f"the labels' log-probabilities are {' and '.join(map(str, logps))}")
        value = template.expected([math.exp(logp - most) for logp in logps])
        return Reading(round(value, 6), method="logprobs", mass=round(sum(map(math.exp, logps)), 6))
    text = reply.text or ""
    verdict = template.find(text)
    if reply.places:
        found = _from_places(reply.places, text, verdict, template)
        if found is not None:
            return Reading(round(found[0], 6), method="logprobs", mass=round(found[1], 6))
    if verdict is not None:
        return Reading(round(template.values[verdict[0]], 6), method="text")
    cut = f" It was cut off at {max_tokens} tokens; raise --max_tokens." if reply.finish == "length" else ""
    what = "an empty answer." if not text.strip() else f"no verdict in the answer {text[:80]!r}."
    return Reading(None, f"{what}{cut}")


def cut_before_answer(reply: Reply) -> bool:
    """Whether a reply was cut off before its answer began: in a thought, seen or hidden."""
    return reply.finish == "length" and not (reply.text or "").strip()


def read_number(reply: Reply, template: BaseTemplate) -> Reading:
    """The number that a function returned, within the values of `template`."""
    if reply.finish == UNASKED or reply.reason is not None:
        unasked = reply.finish == UNASKED
        return Reading(None, reply.reason or "no reply", None if unasked else "function", unasked=unasked)
    value = float(reply.text or "nan")
    if not min(template.values) <= value <= max(template.values):  # nor is NaN
        return Reading(None, f"the function returned {value}, not {template.meaning}", "function")
    return Reading(round(value, 6), method="function")


def _from_places(
    places: Sequence[Place], text: str, verdict: tuple[int, int] | None, template: BaseTemplate
) -> tuple[float, float] | None:
    """`expected_from_logprobs` of an endpoint's places; of a long answer the last ones alone are kept.

    The verdict is then the one that the whole text decides for, and nothing is read where it stands before them.
    """
    tokens = [(place.token, _listed(place)) for place in places]
    kept = "".join(token for token, _ in tokens)
    before = len(text) - len(kept)
    if before <= 0 or not text.endswith(kept):
        return expected_from_logprobs(tokens, template)
    if verdict is None or verdict[1] < before:
        return None
    return expected_from_logprobs(tokens, template, (verdict[0], verdict[1] - before))


def _listed(place: Place) -> dict[str, float]:
    """The log-probabilities at one place, the written token's own among them where any are listed."""
    own = {place.token: place.logp} if place.listed and place.logp is not None else {}
    return {**dict(place.listed), **own}


def expected_from_logprobs(
    places: Sequence[_Token], template: BaseTemplate, verdict: tuple[int, int] | None = None
) -> tuple[float, float] | None:
    """E = sum_i value_i P(label_i) / sum_i P(label_i) at the token that is the verdict, and the labels' mass.

    The `verdict` (its label and its place in the joined tokens) is the one that `template.find` reads, so that a judge
    that goes on talking ("1", and in the next line "Response 2 is wrong.") is not read where it happens to name a label
    again. Spellings of a label (" 1", "1") are added up; labels of one letter keep their case, for "a" is an article
    and no "A". A label that is not among the listed tokens is no likelier than the least likely of them: it gets that
    probability, an upper bound, where taking 0 would make the judge certain.

    None where there is no verdict, where it is not one token (or the two of "10"), where nothing but the label itself
    is listed, or where what is not known could move E by more than `template.tolerance`.
    """
    verdict = verdict or template.find("".join(token for token, _ in places))
    if verdict is None:
        return None
    index = 0
    while sum(len(token) for token, _ in places[: index + 1]) <= verdict[1]:
        index += 1
    (token, listed), after = places[index], places[index + 1] if index + 1 < len(places) else None
    names = [spelled(label, template.labels) for label in template.labels]
    if not _is_label(names, verdict[0], spelled(token, template.labels), after, template) or len(listed) < 2:
        return None
    floor = math.exp(min(listed.values()))
    found = [_probability(listed, name, template.labels) for name in names]
    weights = [floor if probability is None else probability for probability in found]
    doubt = [floor if probability is None else 0.0 for probability in found]
    moved = 0.0
    for short, long in _beginnings(names, template):
        shared = found[short]
        if shared is not None and found[long] is None:
            rest = names[long][len(names[short]) :]
            share, error = _share(rest, after if verdict[0] in (short, long) else None, template)
            weights[short], weights[long], doubt[long] = (1.0 - share) * shared, share * shared, 0.0
            moved += error * shared * abs(template.values[long] - template.values[short])
    mass = sum(weights)
    if mass <= 0.0:
        return None
    expected = template.expected(weights)
    # dE = (value_i - E) dp_i / mass for a label, (value_j - value_i) dp / mass for what moves from label i to j.
    moved += sum(d * abs(value - expected) for d, value in zip(doubt, template.values, strict=True))
    return (expected, min(mass, 1.0)) if moved / mass <= template.tolerance else None


def _is_label(names: list[str], verdict: int, token: str, after: _Token | None, template: BaseTemplate) -> bool:
    """Whether the written token is the verdict's label, or the beginning of it that another label is ("1" of "10")."""
    if token == names[verdict]:
        return True
    whole = token + spelled(after[0], template.labels) if after else token
    return whole == names[verdict] and any(
        token == names[short] and verdict == long for short, long in _beginnings(names, template)
    )


def _beginnings(names: list[str], template: BaseTemplate) -> list[tuple[int, int]]:
    """The indices of (short, long) for each label that begins another."""
    if not template.nested:
        return []
    return [
        (i, j) for i, short in enumerate(names) for j, long in enumerate(names) if i != j and long.startswith(short)
    ]


def _share(rest: str, after: _Token | None, template: BaseTemplate) -> tuple[float, float]:
    """Of the probability listed for "1", the share that belongs to "10", and how wrong that may be.

    Some tokenizers write numbers digit by digit: where "10" is not listed, what is listed for "1" is for both. If a "1"
    was written, the next place (`after`) lists how much goes on with `rest`, "0". If another number was, or nothing
    follows, nothing tells, and each gets half.
    """
    if after is None or len(after[1]) < 2:
        return 0.5, 0.5
    goes_on = _probability(after[1], rest, template.labels)
    least = math.exp(min(after[1].values()))
    return (least / 2, least / 2) if goes_on is None else (min(goes_on, 1.0), 0.0)


def _probability(listed: Mapping[str, float], name: str, labels: tuple[str, ...]) -> float | None:
    """The probability of all spellings of `name` together; None where none of them is listed."""
    found = [logprob for token, logprob in listed.items() if spelled(token, labels) == name]
    return sum(map(math.exp, found)) if found else None
