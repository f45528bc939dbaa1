"""The expected value of a verdict from the probabilities that are listed where it was written.

    E = sum_i value_i P(label_i) / sum_i P(label_i)

A label may be one token or several: tokenizers write 87 as "87" or as "8" and "7". The places of the written label are
walked one by one. A listed token is a whole label, the beginning of some, or of none. The beginning that was written is
settled by what is listed at the next place. Another beginning ("7" of 7 and of 70 to 79) is settled nowhere: it gets
the middle of the values that it may become, and half their range is in doubt.

An endpoint lists the likeliest tokens alone. A label that is not among them is no likelier than the least likely one
that is, and than what the listed ones leave of 1: it gets that probability, an upper bound, where 0 would make the
judge certain.

Where what is not known could move E too far, E is not taken; nor where a list and the written token's own number
contradict each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from rlaif.judging.alignment import text_of
from rlaif.judging.prompts import BaseTemplate
from rlaif.judging.verdicts import spelled
from rlaif.models.base import Place

__all__ = ["Expected", "Listed", "expected_value", "probabilities"]

_SAME = 1e-3  # relative: probabilities that differ by less are one number, rounded twice
_TWICE = 1e-4  # so are two in one list, which nobody rounds twice
_ROUNDING = 1e-3  # by which probabilities may exceed 1
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
            it beside others of its text.
        least: the most that a token has which is not listed: the probability of the least likely one that is, or what
            all of them leave of 1. The written token does not count, which some servers list however unlikely it is.
    """

    tokens: list[tuple[str, float]]
    least: float


def probabilities(place: Place) -> Listed | str:
    """What is listed at a place, or why that is of no use.

    Two tokens may have one text; one token may be listed twice, with one number. A list that holds the written token's
    text is right where the token's own number is another one, unless that number is too small to be listed: it is then
    of a second token with this text.
    """
    numbers: dict[str, list[float]] = {}
    for token, logp in place.listed:
        if -math.inf < logp < math.inf:
            numbers.setdefault(token, []).append(logp)
    listed: list[tuple[str, float]] = []
    for token, logps in numbers.items():
        logps.sort(reverse=True)
        for at, logp in enumerate(logps):
            if at == 0 or logps[at - 1] - logp > _TWICE:
                listed.append((token, math.exp(min(logp, 1.0))))
    total = math.fsum(p for _, p in listed)
    if total > 1.0 + _ROUNDING:
        return "the probabilities listed for one token add up to more than 1"
    own = math.exp(min(place.logp, 1.0)) if place.logp is not None and math.isfinite(place.logp) else None
    known = [own is not None and _near(p, own) and _alike(token, place.token) for token, p in listed]
    if any(known):
        others = [p for is_known, (_, p) in zip(known, listed, strict=True) if not is_known]
    else:
        others = [p for token, p in listed if text_of(token) != text_of(place.token)]
    if not others:
        return "no alternatives are listed"
    if not any(known):
        listed_so = len(others) < len(listed)  # another number is listed for the written text
        if own is None:
            if not listed_so:
                return "the written token has no number"
        elif any(_near(p, own) for p in others):
            return "the written token's number is listed for another token"
        elif own <= min(others) * (1.0 + _SAME) or not (listed_so or any(_alike(t, place.token) for t, _ in listed)):
            if total + own <= 1.0 + _ROUNDING:
                listed.append((place.token, own))
                total += own
            elif not listed_so:
                return "the probabilities listed for one token add up to more than 1"
        elif not listed_so:
            return "the written token's number is not the one that is listed"
    return Listed(listed, min(*others, max(1.0 - total, _ROUNDING)))


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME * other


def _alike(one: str, other: str) -> bool:
    """Whether two texts may be of one token: some servers trim or decode one of them."""
    return one == other or text_of(one).strip() == text_of(other).strip()


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
    tally = _Tally(template.values)
    fault = _walk(places, verdict, _Names.of(labels or template.labels), tally)
    return fault or tally.expected(template.tolerance)


class _Tally:
    """The probabilities of a template's labels, as far as they are known.

    Attributes:
        weights: one a label, bounds included.
        bounds: how much of each weight is an upper bound, for a label that is not listed.
        beyond: by how much each weight may be greater.
        ranges: of what is not decided: a probability, and the least and the greatest value that it may be of.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self.values = values
        self.weights, self.bounds, self.beyond = ([0.0] * len(values) for _ in range(3))
        self.ranges: list[tuple[float, float, float]] = []

    def add(self, p: float, options: Iterable[int]) -> None:
        """Adds a probability that is of one of `options`."""
        labels = list(options)
        if len(labels) == 1:
            self.weights[labels[0]] += p
        else:
            values = [self.values[label] for label in labels]
            self.ranges.append((p, min(values), max(values)))

    def bound(self, p: float, labels: Iterable[int]) -> None:
        """Adds to each of `labels` a probability that is at most `p`."""
        for label in labels:
            self.weights[label] += p
            self.bounds[label] += p

    def expected(self, tolerance: float) -> Expected | str:
        """E, or why it is in doubt by more than `tolerance`.

        With x_i in [0, bound_i] and y_i in [0, beyond_i] for what is not listed, and v_r in its range for what is not
        decided, the true E' has

            E' - E = (sum_r p_r (v_r - middle_r) + sum_i (bound_i - x_i) (E - value_i) + sum_i y_i (value_i - E))
                     / (mass - sum_i (bound_i - x_i) + sum_i y_i)
        """
        mass = math.fsum(self.weights) + math.fsum(p for p, _, _ in self.ranges)
        known = mass - math.fsum(self.bounds)
        if known <= 0.0:
            return "no label is listed"
        total = math.fsum(weight * value for weight, value in zip(self.weights, self.values, strict=True))
        value = (total + math.fsum(p * (low + high) / 2 for p, low, high in self.ranges)) / mass
        undecided = math.fsum(p * (high - low) / 2 for p, low, high in self.ranges) / known
        unlisted = math.fsum(
            (bound + beyond) * abs(of - value)
            for bound, beyond, of in zip(self.bounds, self.beyond, self.values, strict=True)
        )
        doubt = undecided + unlisted / known
        if math.fsum(self.bounds) + math.fsum(self.beyond) > known:  # what is not listed may outweigh what is
            return _TOO_FEW
        if undecided > _UNDECIDED * (max(self.values) - min(self.values)) or doubt > tolerance:
            return _SEVERAL if undecided > unlisted / known else _TOO_FEW
        return Expected(value, min(mass, 1.0), doubt)


_SEVERAL = "a verdict of several tokens is not listed far enough"
_TOO_FEW = "too few alternatives are listed"
_SPLIT = "the verdict is not made of whole tokens"


def _walk(places: Sequence[Place], verdict: int, names: _Names, tally: _Tally) -> str | None:
    """Fills the tally, place by place of the label that was written; or says why that cannot be done.

    `reach` is the probability of what is written so far, `written`, which is the label `ended` or begins those of
    `going_on`, or both.
    """
    reach, written, settled = 1.0, "", False
    ended, going_on = None, frozenset(range(len(tally.values)))
    begun, least = frozenset[int](), 0.0  # labels that are listed by their beginnings alone, and what bounds them
    for place in places:
        listed = probabilities(place)
        if isinstance(listed, str):
            if not written:
                return listed
            break  # nothing tells how it goes on
        path = names.go_on(written, place.token)
        path = None if path == written else path
        shares: dict[str, float] = {}
        for token, p in listed.tokens:
            text = names.go_on(written, token)
            if text is not None and text != written:
                shares[text] = shares.get(text, 0.0) + p
        if path is not None and path.rstrip() not in {text.rstrip() for text in shares}:
            if not written:
                return _SPLIT
            break
        whole = {names.whole(text) for text in shares}
        seen, unsettled = set[int](), None
        for text, p in shares.items():
            # "10" that is listed itself is not what "1" becomes.
            options = names.options(text) - (whole - {names.whole(text)}) or names.options(text)
            seen |= options
            if text == path and len(options) > 1:
                unsettled = text
            else:
                tally.add(reach * p, options)
        missing, bound = going_on - seen, reach * listed.least
        left = reach * max(1.0 - math.fsum(shares.values()), 0.0)  # what ends here, if that is a label
        if ended is None:
            tally.bound(bound, missing)
        elif len(missing) * bound <= left:
            for label in missing:
                tally.add(bound, {label, ended})
            tally.weights[ended] += left - len(missing) * bound
        else:
            tally.add(left, missing | {ended})
        if not written:
            begun, least = frozenset(seen - whole), bound
        elif path is not None and names.options(path) != {ended}:
            begun = frozenset()  # a tokenizer that writes one label in pieces does so with all
        if unsettled is None:
            if verdict not in (names.options(path) if path is not None else {ended}):
                return _SPLIT
            settled = True
            break
        reach, written = reach * shares[unsettled], unsettled
        ended, going_on = names.whole(written), names.longer(written)
    if not settled:
        if verdict not in names.options(written):
            return _SPLIT
        tally.add(reach, names.options(written))
    for label in begun:
        tally.beyond[label] += least
    return None


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
        self._texts: dict[tuple[str, str], str | None] = {}

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
        known = self._texts.get((written, token), token)
        if known is not token:
            return known
        text = text_of(token)
        core = text.strip()
        if core:
            before = text[: len(text) - len(text.lstrip())]
            text = f"{before}{spelled(core, self._labels)}{text[len(before) + len(core) :]}"
        text = _SPACE.sub(" ", written + text if written else text.lstrip())
        found = text if text in self._longer or text.rstrip() in self._whole else None
        if len(self._texts) < _REMEMBERED and len(token) < 32:
            self._texts[written, token] = found
        return found


_SPACE = re.compile(r"\s+")
_REMEMBERED = 10_000
