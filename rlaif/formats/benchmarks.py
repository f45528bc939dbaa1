"""Benchmarks of judges and reward models. Which response is better is known from their makers: it is the label."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rlaif.errors.words import shown
from rlaif.files.pairs import joined
from rlaif.formats.base import (
    Format,
    LeftOut,
    Row,
    Tally,
    asked_in,
    beside,
    fields_of,
    judged,
    number,
    preferred,
    texts_of,
)
from rlaif.formats.carrying import rest
from rlaif.formats.chosen import Chosen
from rlaif.formats.sided import Labelled
from rlaif.formats.texts import one_text
from rlaif.records import Judgment, Prompt

__all__ = ["HHHAlignment", "JudgeBench", "LLMBar", "RMBench", "RewardBench", "RewardBench2"]


class RewardBench(Chosen):
    """allenai/reward-bench: prompt, chosen, chosen_model, rejected, rejected_model, subset, id; all of them texts.

    Lossless.
    """

    name = "rewardbench"
    needs = ("prompt", "chosen", "rejected")
    has = ("chosen_model", "rejected_model")
    people = True
    used = ("chosen_model", "rejected_model")
    called: ClassVar[Mapping[str, str]] = {"model_a": "chosen_model", "model_b": "rejected_model"}

    def fits(self, row: Row) -> bool:
        return super().fits(row) and "subset" in row and isinstance(row["chosen"], str)

    def models(self, row: Row) -> tuple[Any, Any]:
        return row["chosen_model"], row["rejected_model"]

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair = preferred(judgment).pair
        own = {"prompt": one_text(pair.prompt), "chosen": pair.response_a, "chosen_model": pair.model_a}
        yield rest(judgment, own | {"rejected": pair.response_b, "rejected_model": pair.model_b})


class _Lists(Format):
    """Lists of good and of bad responses, each good one better than each bad one."""

    needs = ("prompt", "chosen", "rejected")
    responses = ("chosen", "rejected")
    writes = False

    def fits(self, row: Row) -> bool:
        return super().fits(row) and all(_is_texts(row[side]) for side in ("chosen", "rejected"))

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        goods, bads = (texts_of(row[side], side) for side in ("chosen", "rejected"))
        for i, j in itertools.product(range(len(goods)), range(len(bads))):
            yield judged(self.asked(row), (goods[i], bads[j]), 1.0, self.extra(row, i, j), people=True)

    def extra(self, row: Row, i: int, j: int) -> dict[str, Any]:
        """What the pair of chosen response `i` and rejected response `j` carries."""
        return beside(row, self.needs)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


class RewardBench2(_Lists):
    """allenai/reward-bench-2: prompt, chosen and rejected as lists of texts, num_correct, num_incorrect,
    total_completions, models, subset, additional_metadata, id. Each chosen one is better than each rejected one.

    In the subset "Ties" the chosen ones are equally right (dataset card), so every two of them are a tie as well.
    Only read.
    """

    name = "rewardbench2"
    has = ("subset",)

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        yield from super().judgments(row, tally)
        if str(row["subset"]).lower() == "ties":
            for two in itertools.combinations(row["chosen"], 2):
                yield judged(self.asked(row), two, 0.5, beside(row, self.needs), people=True)


class RMBench(_Lists):
    """THU-KEG/RM-Bench: id, prompt, chosen and rejected as lists of three texts, domain. The three are the same answer
    in three styles: concise, detailed in plain text, detailed in Markdown (2410.16184).

    Nine pairs a row, each with the styles of both as `style_1` and `style_2` (0, 1, 2): accuracy is easy where the
    chosen one's is the higher, hard where it is the lower. Only read.
    """

    name = "rm-bench"
    has = ("domain",)

    def fits(self, row: Row) -> bool:
        return super().fits(row) and "subset" not in row

    def check(self, row: Row) -> None:
        super().check(row)
        sizes = [len(texts_of(row[side], side)) for side in ("chosen", "rejected")]
        if sizes != [3, 3]:
            raise ValueError(f"chosen and rejected hold {sizes[0]} and {sizes[1]} texts; expected three of both.")

    def extra(self, row: Row, i: int, j: int) -> dict[str, Any]:
        return joined({"style_1": i, "style_2": j}, super().extra(row, i, j))


class HHHAlignment(Format):
    """HuggingFaceH4/hhh_alignment (BIG-bench's task of that name): input, and targets with two choices and their
    labels, 1 for the better one and 0 for the other.

    Also BIG-bench's own `target_scores` {choice: label}. Equal labels are a tie. The input is text as it stands, also
    where it is a dialogue. Lossless with `targets`.
    """

    name = "hhh"
    needs = ("input",)
    people = True
    lost = "z (only which response is better), unjudged pairs"

    def fits(self, row: Row) -> bool:
        return super().fits(row) and any(isinstance(row.get(name), Mapping) for name in ("targets", "target_scores"))

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        if isinstance(row.get("target_scores"), Mapping):
            said = {k: v for k, v in row["target_scores"].items() if v is not None}  # Parquet has all rows' choices
            choices, labels, name = [*said], [*said.values()], "target_scores"
        else:
            targets = fields_of(row.get("targets"), "targets", ("choices", "labels"))
            choices, labels = texts_of(targets["choices"], "targets.choices"), targets["labels"]
            name = "targets.labels"
        if len(choices) != 2 or not isinstance(labels, list) or len(labels) != 2:
            raise ValueError(
                f"{name.split('.')[0]} has the choices {shown(choices)} and the labels {shown(labels)}; expected two "
                "of both."
            )
        scores = [-1.0 if (found := number(label, name)) is None else found for label in labels]
        if not {*scores} <= {0.0, 1.0}:
            raise ValueError(f"{name} is {shown(labels)}; expected 1 for the better choice and 0 for the other.")
        z = 0.5 + (scores[0] - scores[1]) / 2
        extra = beside(row, ("input", "targets", "target_scores"))
        yield judged(self.asked(row), (choices[0], choices[1]), z, extra, people=True)

    def prompt(self, row: Row) -> Prompt:
        return asked_in(row, "input")

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        if judgment.z is None:
            raise LeftOut("unjudged")
        labels = [1, 1] if judgment.z == 0.5 else [int(judgment.z > 0.5), int(judgment.z < 0.5)]
        pair = judgment.pair
        targets = {"choices": [pair.response_a, pair.response_b], "labels": labels}
        yield rest(judgment, {"input": one_text(pair.prompt), "targets": targets})


class JudgeBench(Labelled):
    """ScalerLab/JudgeBench: question, response_A, response_B, label "A>B" or "B>A" (utils/metrics.py compares it with a
    judge's decision, which may be "A=B"), pair_id, original_id, source, response_model. Lossless.
    """

    name = "judgebench"
    needs = ("question", "response_A", "response_B", "label")
    asks, responses, says = "question", ("response_A", "response_B"), "label"
    words: ClassVar[dict[float, Any]] = {1.0: "A>B", 0.0: "B>A", 0.5: "A=B"}
    called: ClassVar[Mapping[str, str]] = {"model_a": "response_model"}

    def models(self, row: Row) -> tuple[Any, Any]:
        return row.get("response_model"), row.get("response_model")  # both responses are of one model


class LLMBar(Labelled):
    """princeton-nlp/LLMBar, Dataset/*/dataset.json: input, output_1, output_2, and as label the better one, 1 or 2.

    Lossless.
    """

    name = "llmbar"
    needs = ("input", "output_1", "output_2", "label")
    lost = "z (only which response is better), ties, unjudged pairs"
    asks, responses, says = "input", ("output_1", "output_2"), "label"
    words: ClassVar[dict[float, Any]] = {1.0: 1, 0.0: 2}
