"""Formats whose rows hold several rated responses, every two of which are a pair. The higher one is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rlaif.errors.words import shown
from rlaif.files.conversations import prompt_columns
from rlaif.formats.base import (
    NULL_RESPONSE,
    Format,
    Row,
    Tally,
    agree,
    asked_in,
    beside,
    every_two,
    fields_of,
    number,
    present,
    said,
    text_in,
)
from rlaif.formats.carrying import rest
from rlaif.formats.texts import one_text
from rlaif.records import Judgment, Prompt

__all__ = ["Distilabel", "UltraFeedbackRatings"]


class Distilabel(Format):
    """What distilabel 1.5's `UltraFeedback` and other rating tasks leave: instruction (or messages), generations,
    generation_models, ratings, rationales; also `responses` for generations.

    A rating that is no number leaves its pairs unjudged. Each pair is written as a row of two generations. Lossless for
    two, but for unjudged ones.
    """

    name = "distilabel"
    needs = ()
    has = ("ratings",)
    lost = "z, and every pair whose ratings are not known or say otherwise"
    _EACH = ("ratings", "rationales", "generation_models")

    def fits(self, row: Row) -> bool:
        return super().fits(row) and self._many(row) in row and not {"chosen", "response_a"} & {*row}

    def _many(self, row: Row) -> str:
        return "responses" if "responses" in row else "generations"

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        many = self._many(row)
        texts = row.get(many)
        if not isinstance(texts, list) or len(texts) < 2:
            raise ValueError(f"{many} is {shown(texts)}; expected a list of at least two responses.")
        columns = {name: row.get(name) or [None] * len(texts) for name in self._EACH}
        for name, values in columns.items():
            if not isinstance(values, list) or len(values) != len(texts):
                raise ValueError(f"{name} is {shown(values)}; expected a list of {len(texts)}, as {many} has.")
        there = [at for at, text in enumerate(texts) if text is not None]
        for at in there:
            text_in(texts[at], f"{many}[{at}]")
            number(columns["ratings"][at], f"ratings[{at}]")
            if (model := columns["generation_models"][at]) is not None:
                text_in(model, f"generation_models[{at}]", "text or null")
        if len(there) < len(texts):
            tally.unread[NULL_RESPONSE] += len(texts) - len(there)
        names = {"ratings": "rating"} | ({"rationales": "rationale"} if "rationales" in row else {})
        return every_two(
            self.asked(row),
            [texts[at] for at in there],
            [columns["ratings"][at] for at in there],
            "rating",
            beside(row, (*prompt_columns(row), many, *self._EACH)),
            [{name: columns[column][at] for column, name in names.items()} for at in there],
            models=[columns["generation_models"][at] for at in there],
        )

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair = judgment.pair
        ratings = said(pair, "rating_1", "rating_2")
        agree(judgment, ratings)
        own: dict[str, Any] = {"instruction": one_text(pair.prompt), "generations": [pair.response_a, pair.response_b]}
        if pair.model_a or pair.model_b:
            own["generation_models"] = [pair.model_a, pair.model_b]
        own["ratings"] = list(ratings)
        if "rationale_1" in pair.extra:
            own["rationales"] = list(said(pair, "rationale_1", "rationale_2"))
        yield rest(judgment, own, used=("rating_1", "rating_2", "rationale_1", "rationale_2"))


class UltraFeedbackRatings(Format):
    """openbmb/UltraFeedback: source, instruction, models, and completions, each with model, response, overall_score,
    fine-grained_score and GPT-4's annotations of four aspects; principle, custom_system_prompt, critique.

    Four completions are six pairs. What decides is `overall_score`, or what is chosen: `fine-grained_score`, or the
    Rating of one aspect. A score that is not known ("N/A") leaves its pairs unjudged. GPT-4 saw the instruction without
    a completion's own system prompt: it is carried as custom_system_prompt_1 and _2, as all else of each completion is.
    Only read.
    """

    name = "ultrafeedback-ratings"
    needs = ("instruction", "completions")
    writes = False
    verdicts = (
        *("overall_score", "fine-grained_score"),
        *("helpfulness", "honesty", "instruction_following", "truthfulness"),
    )

    def fits(self, row: Row) -> bool:
        return super().fits(row) and isinstance(row["completions"], list)

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        completions = row["completions"]
        if not isinstance(completions, list):
            raise ValueError(f"completions is {shown(completions)}; expected a list of completions.")
        there = present(completions, "completions", "response", tally)
        found = [fields_of(one, place, ("response",)) for place, one in there.items()]
        if len(found) < 2:
            tally.unread["a completion without another one"] += 1
        return every_two(
            self.asked(row),
            [text_in(one["response"], f"{place}.response") for place, one in there.items()],
            [self._score(one) for one in found],
            self.verdict,
            beside(row, ("instruction", "completions")),
            [{k: v for k, v in one.items() if k not in ("response", "model")} for one in found],
            models=[one.get("model") for one in found],
            judge="gpt-4" if all("annotations" in one for one in found) else None,
        )

    def prompt(self, row: Row) -> Prompt:
        return asked_in(row, "instruction")

    def _score(self, completion: Row) -> Any:
        if self.verdict in ("overall_score", "fine-grained_score"):
            return completion.get(self.verdict)
        annotations = completion.get("annotations")
        aspect = annotations.get(self.verdict) if isinstance(annotations, Mapping) else None
        return aspect.get("Rating") if isinstance(aspect, Mapping) else None
