"""The expected value of a verdict from the probabilities that are listed where it was written.

    E = sum_i value_i P(label_i) / sum_i P(label_i)

A label may be one token or several: tokenizers write 87 as "87" or as "8" and "7". The places of the written label are
walked one by one. A listed token is a whole label, the beginning of some, or of none. The beginning that was written is
settled by what is listed at the next place. Another beginning ("7" of 7 and of 70 to 79) is settled nowhere: it gets
the middle of the values that it may become, and half their range is in doubt.

An endpoint lists the likeliest tokens alone. A label that is not among them is no likelier than the least likely one
that is: it gets that probability, an upper bound, where 0 would make the judge certain.

Where what is not known could move E too far, E is not taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from rlaif.judging.prompts import BaseTemplate
from rlaif.judging.verdicts import spelled
from rlaif.models.base import Place

__all__ = ["Expected", "Listed", "expected_value", "probabilities"]

_SAME = 1e-3  # relative: probabilities that differ by less are one number, rounded twice
_TWICE = 1e-4  # so are two in one list, which nobody rounds twice
_ROUNDING = 1e-3  # by which probabilities may exceed 1
_SEVERAL = "a verdict of several tokens is not listed far enough"
_UNDECIDED = 1 / 36  # of a template's range of values: a quarter of a point of 0 to 9


class Expected(NamedTuple):
    """An expected value.

    Attributes:
        value: E.
        mass: the probability of all labels together, at most 1.
        doubt: how far E may be from the truth.
    """

    value: float
    mass: float
    doubt: float


class Listed(NamedTuple):
    """What is listed at a place.

    Attributes:
        tokens: each token once: (its text, its probability). The written one is among them, unless there is no room for
            it beside the others.
        least: the most that a token has which is not listed: the probability of the least likely one that is. The
            written token does not count, which some servers list however unlikely it is.
    """

    tokens: list[tuple[str, float]]
    least: float


def probabilities(place: Place) -> Listed | str:
    """What is listed at a place, or why that is of no use.

    Two tokens may have one text; one token may be listed twice, with one number.
    """
    numbers: dict[str, list[float]] = {}
    for token, logp in place.listed:
        if -math.inf < logp < math.inf:
            numbers.setdefault(token, []).append(logp)
    listed: list[tuple[str, float]] = []
    for token, logps in numbers.items():
        logps.sort(reverse=True)
        kept = [logp for at, logp in enumerate(logps) if at == 0 or logps[at - 1] - logp > _TWICE]
        listed += [(token, math.exp(min(logp, 1.0))) for logp in kept]
    total = math.fsum(p for _, p in listed)
    if total > 1.0 + _ROUNDING:
        return "the probabilities listed for one token add up to more than 1"
    if place.logp is not None and listed and -math.inf < place.logp < math.inf:
        own = math.exp(min(place.logp, 1.0))
        known = [p for token, p in listed if token == place.token and abs(p - own) <= _SAME * own]
        others = [p for token, p in listed if not (token == place.token and p in known)]
        if not known and total + own <= 1.0 + _ROUNDING:
            listed.append((place.token, own))
    else:
        others = [p for _, p in listed]
    if len(listed) < 2:
        return "no alternatives are listed"
    return Listed(listed, min(others, default=min(p for _, p in listed)))


def expected_value(
    places: Sequence[Place], verdict: int, template: BaseTemplate, labels: tuple[str, ...] | None = None
) -> Expected | str:
    """E of the label that begins with the first of `places`, or why it cannot be known.

    Args:
        places: from the label's first token on, to the end of the answer and beyond.
        verdict: which of the template's labels it is: the number of the one that was written.
        template: whose labels they are.
        labels: as they are written here, where that is otherwise: "1" for "Response 1".
    """
    names = _Names.of(labels or template.labels)
    values = template.values
    found = _walk(places, verdict, names, values)
    if isinstance(found, str):
        return found
    weights, bounds, ranges = found
    mass = math.fsum(weights) + math.fsum(p for p, _, _ in ranges)
    known = mass - math.fsum(bounds)
    if known <= 0.0:
        return "no label is listed"
    total = math.fsum(w * v for w, v in zip(weights, values, strict=True))
    value = (total + math.fsum(p * (low + high) / 2 for p, low, high in ranges)) / mass
    # With x_i in [0, bound_i] for what is not listed and v_r in its range for what is not decided,
    # E' - E = (sum_r p_r (v_r - middle_r) + sum_i (bound_i - x_i) (E - value_i)) / (mass - sum_i (bound_i - x_i)).
    undecided = math.fsum(p * (high - low) / 2 for p, low, high in ranges) / known
    unlisted = math.fsum(b * abs(v - value) for b, v in zip(bounds, values, strict=True)) / known
    doubt = undecided + unlisted
    if undecided > _UNDECIDED * (max(values) - min(values)) or doubt > template.tolerance:
        return (
            "a verdict of several tokens is not listed far enough"
            if undecided > unlisted
            else "too few alternatives are listed"
        )
    return Expected(value, min(mass, 1.0), doubt)


_Range = tuple[float, float, float]  # a probability, and the least and the greatest value that it may be of


def _walk(
    places: Sequence[Place], verdict: int, names: _Names, values: Sequence[float]
) -> tuple[list[float], list[float], list[_Range]] | str:
    """The labels' probabilities, how much of each is an upper bound, and what is not decided.

    `reach` is the probability of what is written so far, `written`.
    """
    weights, bounds, ranges = [0.0] * len(values), [0.0] * len(values), list[_Range]()
    reach, written, open_labels, ended = 1.0, "", frozenset(range(len(values))), None
    for place in places:
        listed = probabilities(place)
        if isinstance(listed, str):
            if not written:
                return listed
            break  # nothing tells how it goes on
        path = names.go_on(written, place.token)
        shares: dict[str, float] = {}
        for token, p in listed.tokens:
            text = names.go_on(written, token)
            if text is not None and text != written:
                shares[text] = shares.get(text, 0.0) + p
        whole = {names.whole(text) for text in shares}
        left = reach
        seen = set[int]()
        goes_on = False
        for text, p in shares.items():
            # "10" that is listed itself is not what "1" becomes.
            options = names.options(text) - (whole - {names.whole(text)}) or names.options(text)
            seen |= options
            left -= reach * p
            if len(options) == 1:
                (only,) = options
                weights[only] += reach * p
            elif text == path:
                goes_on = True
            else:
                ranges.append(_range(reach * p, options, values))
        least = reach * listed.least
        for label in open_labels - seen:
            if ended is None:
                weights[label] += least
                bounds[label] += least
            else:
                ranges.append(_range(least, {label, ended}, values))
                left -= least
        if ended is not None:
            weights[ended] += max(left, 0.0)
        if not goes_on:
            said = ended if path is None or path == written else None
            options = names.options(path) if path is not None and path != written else frozenset()
            if said != verdict and verdict not in options:
                return "the verdict is not made of whole tokens"
            return weights, bounds, ranges
        assert path is not None
        reach, written = reach * shares[path], path
        open_labels, ended = names.longer(path), names.whole(path)
    if not written:
        return "nothing is listed where the verdict stands"
    if verdict not in names.options(written):
        return "the verdict is not made of whole tokens"
    ranges.append(_range(reach, names.options(written), values))
    return weights, bounds, ranges


def _range(p: float, labels: frozenset[int] | set[int], values: Sequence[float]) -> _Range:
    of = [values[label] for label in labels]
    return p, min(of), max(of)


class _Names:
    """A template's labels as they are compared with tokens, and what begins them."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._whole: dict[str, int] = {}
        self._longer: dict[str, frozenset[int]] = {}
        longer: dict[str, set[int]] = {}
        for number, label in enumerate(labels):
            name = " ".join(spelled(label, labels).split())
            self._whole.setdefault(name, number)
            for end in range(1, len(name)):
                longer.setdefault(name[:end], set()).add(number)
        self._longer = {text: frozenset(numbers) for text, numbers in longer.items()}
        self._tokens: dict[str, str] = {}

    @staticmethod
    @lru_cache(maxsize=64)
    def of(labels: tuple[str, ...]) -> _Names:
        """Those of `labels`."""
        return _Names(labels)

    def whole(self, text: str) -> int | None:
        """The label that a text is, white space after it aside."""
        return self._whole.get(text.rstrip())

    def longer(self, text: str) -> frozenset[int]:
        """The labels that a text begins."""
        return self._longer.get(text, frozenset())

    def options(self, text: str) -> frozenset[int]:
        """The labels that a text is or begins."""
        whole = self.whole(text)
        return self.longer(text) if whole is None else self.longer(text) | {whole}

    def go_on(self, written: str, token: str) -> str | None:
        """What is written after `token`: a label or the beginning of some; None where it is neither."""
        text = written + self._spelled(token)
        text = _SPACE.sub(" ", text if written else text.lstrip())
        return text if text in self._longer or text.rstrip() in self._whole else None

    def _spelled(self, token: str) -> str:
        known = self._tokens.get(token)
        if known is None:
            core = token.strip()
            before = token[: len(token) - len(token.lstrip())]
            known = f"{before}{spelled(core, self._labels)}{token[len(before) + len(core) :]}" if core else token
            if len(self._tokens) < _REMEMBERED:
                self._tokens[token] = known
        return known


_SPACE = re.compile(r"\s+")
_REMEMBERED = 10_000
