"""Comparing two responses: both orders, every vote kept, and z their mean.

Each pair is shown to the judge in both orders, because judges favour a place (RLAIF, 2309.00267, section 2.2.1: a large
one gives the same place twice on 18 % of pairs, a small one on 56 %), and z is the mean of P(response_a is preferred)
over the votes of both orders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rlaif.config import warn
from rlaif.files.store import Store
from rlaif.judging.ask import answers, ask_here
from rlaif.judging.method import Ask, Counts, gather
from rlaif.judging.prompts import Template, prompt_text
from rlaif.judging.question import OneQuestion, Question, method_hash
from rlaif.judging.reading import VERSION
from rlaif.judging.trouble import trouble
from rlaif.metrics import log_odds, sigmoid
from rlaif.models.parallel import is_main
from rlaif.records import ORDERS, Judgment, Order, Pair, Vote

__all__ = [
    "Annotation",
    "Comparison",
    "Pairwise",
    "VoteCounts",
    "combine_votes",
    "judge_here",
    "judge_pairs",
]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a method says of a pair: its judgment, and the votes that it was made of.

    `unasked` votes want a call that is not stored, in a run that asks nothing.
    """

    judgment: Judgment
    votes: tuple[Vote, ...] = ()
    unasked: int = 0


def combine_votes(
    pair: Pair, votes: Sequence[Vote], orders: Sequence[Order] = ORDERS, combine: str = "mean", **fields: Any
) -> Judgment:
    """The judgment on `pair` from its votes: z = mean over orders of the mean over samples of P(a is preferred).

    Every order must have a readable vote: with only one, z would carry the position bias that the other was to cancel,
    so the judgment is then None, for the reason of the vote that failed, with the z of the other order kept beside.
    With ties, P(a is preferred) holds half of P(tie), and the mean of P(tie) is `p_tie`.

    Args:
        pair: what was judged.
        votes: on it.
        orders: those that were asked for.
        combine: "mean" of the probabilities, or the sigmoid of the mean "log_odds".
        fields: what else the judgment says (judge, template, ...); a `reason` stands before that of a failed vote.
    """
    seen: dict[str, list[float]] = {order: [] for order in orders}
    ties: dict[str, list[float]] = {order: [] for order in orders}
    readable = 0
    for vote in votes:
        p_a = vote.p_a
        if p_a is not None:
            readable += 1
            seen[vote.order].append(p_a)
            ties[vote.order].append(vote.p_tie)
    missing = next((order for order in orders if not seen[order]), None)
    if combine == "mean":
        by_order = {order: sum(values) / len(values) for order, values in seen.items() if values}
        z = sum(by_order.values()) / len(by_order) if missing is None else None
    else:
        odds = {order: float(np.mean(log_odds(values))) for order, values in seen.items() if values}
        by_order = {order: sigmoid(value) for order, value in odds.items()}
        z = sigmoid(sum(odds.values()) / len(odds)) if missing is None else None
    if missing is not None and fields.get("reason") is None:
        reasons = [vote.reason for vote in votes if vote.order == missing]
        fields["reason"] = f"order {missing}: {reasons[0] if reasons else 'never asked'}"
    if votes:
        fields = {"judge": votes[0].judge, "template": votes[0].template, **fields}
    return Judgment(
        pair,
        z,
        z_ab=by_order.get("ab"),
        z_ba=by_order.get("ba"),
        votes=len(votes),
        readable=readable,
        vote_keys=tuple(vote.key for vote in votes),
        p_tie=0.0 if z is None else sum(sum(p) / len(p) for p in ties.values()) / len(ties),
        **fields,
    )


@dataclass(frozen=True)
class Pairwise(OneQuestion):
    """The direct way: one question a vote, in each order.

    Args:
        question: how the judge is asked, with a `Template`.
        orders: which orders it is shown.
        samples: votes in each order.
        combine: as in `combine_votes`.
        about: the settings that it was made from, for manifests.
    """

    takes: ClassVar[tuple[str, ...]] = ("prompt", "first", "second")

    question: Question
    orders: tuple[Order, ...] = ORDERS
    samples: int = 1
    combine: str = "mean"
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)

    name = "pairwise"

    @property
    def template(self) -> Template:
        """How the judge is asked."""
        template = self.question.template
        assert isinstance(template, Template)
        return template

    @cached_property
    def hash(self) -> str:
        """Of the model, the question, the orders, the samples and how they are combined."""
        return method_hash(self.name, *self.question.parts, list(self.orders), self.samples, self.combine)

    def ask(self, item: Pair) -> Ask[Comparison]:
        """Both orders at once; a pair that cannot be judged (an empty response, two equal ones) is not asked about."""
        problem = item.problem()
        voted: list[tuple[Vote, bool]] = []
        if problem is None:
            each = [self._vote(item, order, sample) for order in self.orders for sample in range(self.samples)]
            voted = yield from gather(each)
        votes = tuple(vote for vote, _ in voted)
        judgment = combine_votes(
            item,
            votes,
            self.orders,
            self.combine,
            reason=problem,
            judge=self.judge,
            template=self.template.hash,
            flags=("marker",) if self.template.markers_in(item) else (),
            method_hash=self.hash,
            reading_version=VERSION,
        )
        return Comparison(judgment, votes, sum(unasked for _, unasked in voted))

    def _vote(self, pair: Pair, order: Order, sample: int) -> Ask[tuple[Vote, bool]]:
        shown = (pair.response_a, pair.response_b) if order == "ab" else (pair.response_b, pair.response_a)
        question = self.question
        mark = self.template.mark(question.salt, prompt_text(pair.prompt), *shown)
        messages = () if question.is_function else self.template.messages(pair, order, mark)
        reply, reading = yield from question.ask(messages, (pair.prompt, *shown), sample, mark)
        vote = Vote(
            reply.key,
            pair.id,
            self.judge,
            self.template.hash,
            order,
            sample,
            reading.value,
            reading.reason,
            reading.method,
            reading.mass,
            reply.text,
            reply.usage.row() or None,
            reply.answered,
            reading.p_tie,
            reading.unusable,
        )
        return vote, reading.unasked


@dataclass
class VoteCounts:
    """What the votes of many pairs say about the judge.

    Attributes:
        votes: how many.
        methods: the readable ones, by how they were read: a mixture means that z is on two scales.
        unusable: those whose log-probabilities came and were not used, by why.
        ties: written ones.
        unasked: those that a reading wants and that no run has asked for.
    """

    votes: int = 0
    methods: Counter[str] = field(default_factory=Counter)
    unusable: Counter[str] = field(default_factory=Counter)
    ties: int = 0
    unasked: int = 0
    _mass: float = 0.0
    _masses: int = 0

    def add(self, comparison: Comparison) -> None:
        """Counts the votes of one pair."""
        self.unasked += comparison.unasked
        for vote in comparison.votes:
            self.votes += 1
            if vote.p_first is not None:
                self.methods[str(vote.method)] += 1
                self.ties += vote.p_tie == 1.0
                if vote.unusable is not None:
                    self.unusable[vote.unusable] += 1
            if vote.mass is not None:
                self._mass += vote.mass
                self._masses += 1

    @property
    def mass(self) -> float | None:
        """Mean probability of the two verdict labels together; None where the judge does not tell it.

        Far below 1, the judge would rather have said something else, and its z means little.
        """
        return self._mass / self._masses if self._masses else None

    def warn_of(self, template: Template) -> None:
        """A line for each thing that is wrong with how replies were read; main process only."""
        if is_main():
            for said in trouble(self, template).values():
                warn(said)


@dataclass(frozen=True, slots=True)
class Annotation:
    """What judging some pairs gave: `judgments` in the pairs' order, what it took, and what the votes say.

    `asked` replies were asked for now (by all processes), `reused` were stored before. `mass`, `methods`, `unusable`
    and `ties` are as in `VoteCounts`.
    """

    judgments: list[Judgment]
    asked: int
    reused: int
    mass: float | None = None
    methods: Mapping[str, int] = field(default_factory=dict)
    unusable: Mapping[str, int] = field(default_factory=dict)
    ties: int = 0

    @classmethod
    def of(cls, comparisons: Iterable[Comparison], counts: Counts) -> Annotation:
        """The comparisons as they come, counted."""
        votes, judgments = VoteCounts(), []
        for comparison in comparisons:
            votes.add(comparison)
            judgments.append(comparison.judgment)
        methods = dict(sorted(votes.methods.items()))
        return cls(judgments, counts.asked, counts.reused, votes.mass, methods, votes.unusable, votes.ties)


def judge_pairs(
    pairs: Sequence[Pair], method: Pairwise, folder: str | Path | None, *, label: str = "judging"
) -> Annotation:
    """Judgments on `pairs`, in their order and in every process alike, each reply stored in `folder`/replies at once.

    Args:
        pairs: what to judge.
        method: how.
        folder: replies found there are not asked for again; None keeps nothing.
        label: the progress bar's title.
    """
    counts = Counts()
    with Store(folder) as store:
        values = list(answers(method, lambda: pairs, store, total=len(pairs), label=label, counts=counts))
    done = Annotation.of(values, counts)
    if is_main():
        for said in trouble(done, method.template).values():
            warn(said)
    return done


def judge_here(pairs: Sequence[Pair], method: Pairwise, store: Store) -> Annotation:
    """Judgments on `pairs`, asked for by this process alone, as in training, where each has pairs of its own."""
    counts = Counts()
    return Annotation.of(ask_here(method, pairs, store, counts), counts)
