"""Pairs that people judged in one turn: their verdict is the label. The first response is read as `response_a`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from rlaif.errors.words import shown
from rlaif.files.conversations import prompt_of
from rlaif.files.scores import finite_number
from rlaif.formats.base import Format, Row, Tally, asked_in, beside, judged
from rlaif.formats.sided import Labelled
from rlaif.records import Judgment, Prompt

__all__ = ["SHP", "AutoJ", "PKUSafeRLHF", "PandaLM"]


class PKUSafeRLHF(Format):
    """PKU-Alignment/PKU-SafeRLHF: prompt, response_0, response_1, and two verdicts, each the number of a response:
    better_response_id (the more helpful one) and safer_response_id; is_response_0_safe, harm categories and severity.

    z is better_response_id's, as the dataset's own preference model of helpfulness has it, or safer_response_id's where
    that is chosen. The other verdict stays a column: the response it names is the source's, whatever `swap()` does.
    Only read.
    """

    name = "pku-safe-rlhf"
    needs = ("prompt", "response_0", "response_1")
    responses = ("response_0", "response_1")
    writes = False
    verdicts = ("better_response_id", "safer_response_id")

    def fits(self, row: Row) -> bool:
        return super().fits(row) and any(name in row for name in self.verdicts)

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        ids: dict[str, Any] = {name: row.get(name) for name in self.verdicts}
        for name, value in ids.items():
            if (name == self.verdict or value is not None) and not _is_one_of(value, (0, 1)):
                raise ValueError(f"{name} is {shown(value)}; expected 0 or 1, the better response.")
        extra = beside(row, (*self.needs, self.verdict))
        yield judged(
            self.asked(row), (row["response_0"], row["response_1"]), 1.0 - ids[self.verdict], extra, people=True
        )


class SHP(Format):
    """stanfordnlp/SHP and SHP-2: history (the post), human_ref_A, human_ref_B, labels (1 where A is preferred, else
    0), score_A, score_B, score_ratio, seconds_difference, domain, ... One config or folder for each domain.

    The labels are collective votes, not one person's. Where the scores of both are there and say otherwise than the
    label, the row is refused; equal ones are a tie. Only read.
    """

    name = "shp"
    needs = ("history", "human_ref_A", "human_ref_B", "labels")
    responses = ("human_ref_A", "human_ref_B")
    writes = False

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        if not _is_one_of(row["labels"], (0, 1)):
            raise ValueError(f"labels is {shown(row['labels'])}; expected 1 (A is preferred) or 0 (B is).")
        z, (first, second) = float(row["labels"]), (row.get(name) for name in ("score_A", "score_B"))
        if first is not None and second is not None:
            scores = finite_number(first), finite_number(second)
            if scores[0] is None or scores[1] is None:
                raise ValueError(f"score_A and score_B are {shown(first)} and {shown(second)}; expected numbers.")
            if (scores[0] > scores[1] and z == 0.0) or (scores[0] < scores[1] and z == 1.0):
                raise ValueError(
                    f"labels is {shown(row['labels'])}, but score_A is {first} and score_B {second}; expected the "
                    "label of the higher score: 1 for A, 0 for B."
                )
            z = 0.5 if scores[0] == scores[1] else z
        extra = beside(row, self.needs)
        yield judged(self.asked(row), (row["human_ref_A"], row["human_ref_B"]), z, extra, people=True)

    def prompt(self, row: Row) -> Prompt:
        return asked_in(row, "history")


class PandaLM(Format):
    """WeOpenML/PandaLM, data/testset-v1.json: instruction, input (which may be empty), response1, response2, and
    annotator1 to annotator3, each 1 or 2 for the better response and 0 for a tie; idx, motivation_app, cmp_key.

    z is the verdict that two of three annotators share, as its authors count; without one the pair is unjudged. The
    three stay as columns, by the source's numbers. The input stands after the instruction and an empty line. Only read.
    """

    name = "pandalm"
    needs = ("instruction", "response1", "response2")
    responses = ("response1", "response2")
    writes = False
    _ANNOTATORS = ("annotator1", "annotator2", "annotator3")
    has = _ANNOTATORS

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        votes = [row[name] for name in self._ANNOTATORS if row[name] is not None]
        for name in self._ANNOTATORS:
            if row[name] is not None and not _is_one_of(row[name], (0, 1, 2)):
                raise ValueError(f"{name} is {shown(row[name])}; expected 1 or 2, the better one, or 0 for a tie.")
        counts = Counter(votes).most_common(1)
        z = {0: 0.5, 1: 1.0, 2: 0.0}[counts[0][0]] if counts and counts[0][1] * 2 > len(votes) else None
        extra = beside(row, ("instruction", "input", "response1", "response2"))
        sides = (row["response1"], row["response2"])
        reason = "the annotators do not agree" if z is None else None
        yield judged(self.asked(row), sides, z, extra, reason=reason, people=True)

    def prompt(self, row: Row) -> Prompt:
        return prompt_of({name: row[name] for name in ("instruction", "input") if name in row})


class AutoJ(Labelled):
    """GAIR-NLP/auto-j, data/test/testdata_pairwise.jsonl: scenario, prompt, response 1, response 2 (the names hold a
    space), label: 0 where people prefer the first, 1 where the second, 2 for a tie. Lossless.
    """

    name = "auto-j"
    needs = ("prompt", "response 1", "response 2", "label")
    asks, responses, says = "prompt", ("response 1", "response 2"), "label"
    words: ClassVar[dict[float, Any]] = {1.0: 0, 0.0: 1, 0.5: 2}


def _is_one_of(value: Any, choices: tuple[int, ...]) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value in choices
