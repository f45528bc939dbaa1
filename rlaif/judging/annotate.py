"""`rlaif judge`: pairs -> votes -> judgments z. Also: responses -> ratings, for a reward.

Each pair is shown to the judge in both orders, because judges favour a place (RLAIF, 2309.00267, section 2.2.1: a large
one gives the same place twice on 18 % of pairs, a small one on 56 %), and z is the mean of P(response_a is preferred)
over the votes of both orders.

Every vote is stored as it arrives; a run killed at any moment goes on where it was, asks nothing twice, and writes the
same `judgments.jsonl` as one that was never killed, as does a run split over many processes.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rlaif.config import warn
from rlaif.files.store import Store
from rlaif.judging.base import Judge, PairQuestion, Rater, answer_missing, ask, ask_rating
from rlaif.judging.prompts import BaseTemplate
from rlaif.metrics import log_odds
from rlaif.models.parallel import is_main, process_count, run_batches, wait_for_everyone
from rlaif.records import ORDERS, Judgment, Order, Pair, Prompt, Rating, Vote

__all__ = ["LOW_MASS", "Annotation", "Ratings", "combine_votes", "judge_here", "judge_pairs", "low_mass", "rate_here"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """What judging some pairs gave.

    `judgments` stand in the pairs' order; `asked` votes were asked for now (by all processes), `reused` were stored
    before. `mass` is the mean probability of the two verdict labels together, where the judge tells it: far below 1,
    the judge would rather have said something else, and its z means little. `methods` counts the readable votes by how
    they were read (see `Vote.method`): a mixture means that z is on two scales.
    """

    judgments: list[Judgment]
    asked: int
    reused: int
    mass: float | None = None
    methods: Mapping[str, int] = field(default_factory=dict)


def combine_votes(
    pair: Pair, votes: Sequence[Vote], orders: Sequence[Order] = ORDERS, combine: str = "mean"
) -> Judgment:
    """The judgment on `pair` from its votes: z = mean over orders of the mean over samples of P(a is preferred).

    Every order must have a readable vote: with only one, z would carry the position bias that the other was to cancel,
    so the judgment is then None, for the reason of the vote that failed, with the z of the other order kept beside.
    """
    readable = sum(vote.p_first is not None for vote in votes)
    keys = tuple(vote.key for vote in votes)
    judgment = Judgment(pair, None, "never asked", votes=len(votes), readable=readable, vote_keys=keys)
    if votes:
        judgment = dataclasses.replace(judgment, judge=votes[0].judge, template=votes[0].template)
    seen = {order: [vote.p_a for vote in votes if vote.order == order and vote.p_a is not None] for order in orders}
    missing = next((order for order in orders if not seen[order]), None)
    if combine == "mean":
        by_order = {order: float(np.mean(values)) for order, values in seen.items() if values}
        z = float(np.mean(list(by_order.values()))) if missing is None else None
    else:
        odds = {order: float(np.mean(log_odds(values))) for order, values in seen.items() if values}
        by_order = {order: _sigmoid(value) for order, value in odds.items()}
        z = _sigmoid(float(np.mean(list(odds.values())))) if missing is None else None
    reason = None
    if missing is not None:
        reasons = [vote.reason for vote in votes if vote.order == missing]
        reason = f"order {missing}: {reasons[0] if reasons else 'never asked'}"
    return dataclasses.replace(judgment, z=z, reason=reason, z_ab=by_order.get("ab"), z_ba=by_order.get("ba"))


def _sigmoid(x: float) -> float:
    return float(0.5 * (1.0 + np.tanh(0.5 * x)))


def judge_pairs(
    pairs: Sequence[Pair],
    judge: Judge,
    folder: str | Path,
    *,
    orders: Sequence[Order] = ORDERS,
    samples: int = 1,
    combine: str = "mean",
    retry_unjudged: bool = False,
    label: str = "judging",
) -> Annotation:
    """Judgments on `pairs`, in their order, each vote stored under `folder`/votes as it arrives.

    Args:
        pairs: what to judge. A pair that cannot be judged (an empty response, two equal ones) is not asked about: its
            judgment says why.
        judge: who.
        folder: where the votes are kept; votes found there are not asked for again.
        orders: which orders to show.
        samples: votes for each order.
        combine: "mean" or "log_odds".
        retry_unjudged: ask again what was answered but could not be read.
        label: the progress bar's title.
    """
    keys, questions = _questions(pairs, judge, orders, samples)

    def again(row: Mapping[str, Any]) -> bool:
        return row["p_first"] is None and (retry_unjudged or not row["bought"])

    with Store(folder, "votes") as store:
        wait_for_everyone()  # nobody writes before everybody has read
        missing = sum(key not in store or again(store.rows[key]) for key in questions)
        if missing:
            run_batches(
                judge.plan(list(questions.values())),
                store,
                lambda batches: ([vote.row() for vote in votes] for votes in judge.answer(batches)),
                again,
                label,
                "vote",
            )
        wait_for_everyone()
        if process_count() > 1:
            store.refresh()
        judgments = _judgments(pairs, keys, judge, store, orders, combine)
        done = _annotation(judgments, keys, store, missing)
    if is_main() and done.mass is not None and done.mass < LOW_MASS:
        warn(low_mass(done.mass, judge.template))
    return done


def judge_here(pairs: Sequence[Pair], judge: Judge, store: Store) -> Annotation:
    """Judgments on `pairs` in both orders, asked for by this process alone; `store` holds votes.

    What `judge_pairs` does where each process has pairs of its own, as in training: no process waits for another.
    """
    keys, questions = _questions(pairs, judge, ORDERS, 1)
    asked = answer_missing(judge, list(questions.values()), store)
    judgments = _judgments(pairs, keys, judge, store, ORDERS, "mean")
    return _annotation(judgments, keys, store, asked)


@dataclass(frozen=True, slots=True)
class Ratings:
    """What rating some responses gave: `ratings` in their order; the rest as in `Annotation`."""

    ratings: list[Rating]
    asked: int
    reused: int
    mass: float | None = None


def rate_here(prompts: Sequence[Prompt], responses: Sequence[str], judge: Rater, store: Store) -> Ratings:
    """The rating of each response, asked for by this process alone; `store` holds ratings.

    Equal responses to one prompt are one question. Every response is asked about, an empty one too: that it is empty
    is what there is to rate.
    """
    asked = [ask_rating(judge, prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
    questions = {question.key: question for question in asked}
    missing = answer_missing(judge, list(questions.values()), store)
    rows = [store.rows[key] for key in questions]
    ratings = [Rating.from_row(store.rows[question.key]) for question in asked]
    return Ratings(ratings, missing, len(questions) - missing, _mean_mass(rows))


LOW_MASS = 0.5  # with less on all labels together, the judge would rather have said something else


def low_mass(mass: float, template: BaseTemplate) -> str:
    """The warning that a judge gives a template's labels only `mass` of its probability."""
    labels, means = ("two labels", "z means") if len(template.labels) == 2 else ("ten numbers", "ratings mean")
    return (
        f"the judge gives the {labels} {mass:.2g} of its probability (mean label mass): it would rather say "
        f"something else, and its {means} little. Try another --template (`helpful` tells a chat model how to "
        "answer, `compact` is for a base model) or a stronger judge."
    )


def _mean_mass(rows: Sequence[Mapping[str, Any]]) -> float | None:
    masses = [row["mass"] for row in rows if row["mass"] is not None]
    return float(np.mean(masses)) if masses else None


def _annotation(judgments: list[Judgment], keys: list[list[str]], store: Store, asked: int) -> Annotation:
    rows = [store.rows[key] for pair_keys in keys for key in pair_keys]
    answers = {row["key"]: row for row in rows}.values()  # pairs with the same content share theirs
    methods = Counter(str(row["method"]) for row in answers if row["p_first"] is not None)
    return Annotation(judgments, asked, len(answers) - asked, _mean_mass(rows), dict(sorted(methods.items())))


def _questions(
    pairs: Sequence[Pair], judge: Judge, orders: Sequence[Order], samples: int
) -> tuple[list[list[str]], dict[str, PairQuestion]]:
    """For each pair the keys of its questions, and the questions by key: pairs of the same content share them."""
    questions: dict[str, PairQuestion] = {}
    keys: list[list[str]] = []
    for pair in pairs:
        asked = [] if pair.problem() else [ask(judge, pair, order, s) for order in orders for s in range(samples)]
        keys.append([question.key for question in asked])
        questions.update((question.key, question) for question in asked)
    return keys, questions


def _judgments(
    pairs: Sequence[Pair], keys: list[list[str]], judge: Judge, store: Store, orders: Sequence[Order], combine: str
) -> list[Judgment]:
    """The judgment on each pair from its votes in `store`."""
    judgments = []
    for pair, pair_keys in zip(pairs, keys, strict=True):
        judgment = combine_votes(pair, [Vote.from_row(store.rows[key]) for key in pair_keys], orders, combine)
        if problem := pair.problem():
            judgment = dataclasses.replace(judgment, reason=problem)
        flags = ("marker",) if judge.template.markers_in(pair) else ()
        judgments.append(dataclasses.replace(judgment, judge=judge.name, template=judge.template.hash, flags=flags))
    return judgments
