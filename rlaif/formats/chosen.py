"""Formats whose rows hold the chosen and the rejected response. Chosen is read as `response_a`.

Equal scores of both are a tie, whatever the columns of the scores are called; where the chosen one has the lower score
the pair is unjudged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from rlaif.errors.words import shown
from rlaif.files.conversations import check_held, other_columns, sides_of, turns_of, with_answer
from rlaif.files.pairs import carried, identity_of, joined
from rlaif.files.preferences import preference_row
from rlaif.files.scores import finite_number, z_of_scores
from rlaif.formats.base import APART, Format, LeftOut, Row, Tally, judged, preferred, said, text_in
from rlaif.formats.carrying import rest, source_order
from rlaif.formats.texts import opening
from rlaif.records import Judgment, Label, Pair, Preference, Prompt, check_probability, says_nothing

__all__ = ["TRL", "Argilla", "Chosen", "Preferences", "UltraFeedback", "conversations_of"]


class Chosen(Format):
    """A chosen and a rejected response under any names: texts, single messages or whole conversations.

    Attributes:
        used: columns that say nothing beside the prompt, the responses and the verdict.
    """

    needs: ClassVar[tuple[str, ...]] = ("chosen", "rejected")
    responses: ClassVar[tuple[str, ...]] = ("chosen", "rejected")
    used: ClassVar[tuple[str, ...]] = ()

    def plain(self, row: Row) -> Row:
        """The row as `prompt`, `chosen` and `rejected`, where the format has names or a markup of its own."""
        return row

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        plain = self.plain(row)
        prompt, *sides = _sides(plain)
        check_held(prompt, row)  # what a format has other names for is no other prompt
        z, reason = self.verdict_of(row)
        yield judged(
            prompt,
            (sides[0], sides[1]),
            z,
            self.extra(row, _beside(plain, self.used)),
            reason=reason,
            people=self.people,
            judge=self.judge(row),
            models=self.models(row),
        )

    def verdict_of(self, row: Row) -> tuple[float | None, str | None]:
        """P(chosen is preferred), and the reason where there is none."""
        return z_of_scores(row)

    def extra(self, row: Row, found: dict[str, Any]) -> dict[str, Any]:
        """What the pair carries: the columns `found` beside those that are used."""
        return found

    def judge(self, row: Row) -> str | None:
        """Whose verdict it is, where that is known and it is not that of people."""
        return None

    def models(self, row: Row) -> tuple[Any, Any]:
        """The models of the chosen and of the rejected response."""
        return None, None

    def prompt(self, row: Row) -> Prompt:
        return sides_of(self.plain(row))[0]


def _sides(row: Row) -> tuple[Prompt, str, str]:
    """The prompt and both responses; a LeftOut where whole conversations part before the last turn."""
    both = [row.get(name) for name in Chosen.responses]
    if all(isinstance(value, list) and len(value) > 1 for value in both):
        first, second = (turns_of(row[name], name)[:-1] for name in Chosen.responses)
        if first != second:
            raise LeftOut(APART)
    return sides_of(row)


def _beside(row: Row, used: Collection[str]) -> dict[str, Any]:
    """The columns that are not `used` and not the prompt's, by names that are not ours; messages agree with it."""
    found = carried({name: value for name, value in other_columns(row).items() if name not in used})
    return carried(found, {name for name in ("input", "context") if not says_nothing(found.get(name))})


def conversations_of(better: Judgment) -> dict[str, Any]:
    """Chosen and rejected as whole conversations."""
    pair = better.pair
    return {
        "chosen": with_answer(pair.prompt, pair.response_a),
        "rejected": with_answer(pair.prompt, pair.response_b),
    }


def _scores(judgment: Judgment, first: str, second: str) -> dict[str, Any]:
    """The source's scores of both responses, or nulls where they say something else than the verdict."""
    scores = said(judgment.pair, first, second)
    if judgment.z is not None and judgment.z < 0.5:
        scores = scores[1], scores[0]
    one, other = map(finite_number, scores)
    if one is not None and other is not None and one <= other:
        scores = None, None
    return dict(zip((first, second), scores, strict=True))


def _prompt_id(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()


class TRL(Chosen):
    """TRL's preference format: prompt, chosen, rejected, as texts or as messages; `prompt` may be missing where chosen
    and rejected are whole conversations (https://huggingface.co/docs/trl/dataset_formats).

    Also what others write with a chosen and a rejected response: `instruction` with `input`, `question`, a `system`
    column. Lossless but for these: they come back as a `prompt` of texts or messages.
    """

    name = "trl"
    general = 3

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair = preferred(judgment).pair
        sides: dict[str, Any] = {"chosen": pair.response_a, "rejected": pair.response_b}
        if isinstance(pair.prompt, list):
            sides = {name: [{"role": "assistant", "content": text}] for name, text in sides.items()}
        yield rest(judgment, {"prompt": pair.prompt, **sides})


class Preferences(Chosen):
    """What `rlaif build` writes: prompt, chosen, rejected, z = P(chosen is preferred) in (0.5, 1], and whose z it is.

    Only the first four are needed. Lossless.
    """

    name = "preferences"
    needs = ("prompt", "chosen", "rejected", "z")
    responses = ()  # ours: a null there is an error, as it is for the trainers
    called: ClassVar[Mapping[str, str]] = {
        "model_a": "chosen_model",
        "model_b": "rejected_model",
        "z_ab": "z_first",
        "z_ba": "z_second",
    }
    lost = "ties, unjudged pairs"
    names_judge = True

    def fits(self, row: Row) -> bool:
        return super().fits(row) and not {"response_a", "response_b"} <= {*row}

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        prompt, *sides = _sides(row)
        z = check_probability(row["z"])
        if z is None or z <= 0.5:
            raise ValueError(f"z is {z}; expected P(chosen is preferred) in (0.5, 1].")
        labels: dict[Any, Label | None] = {"chosen": "a", "rejected": "b", "tie": "tie", None: None}
        label = row.get("label")
        if not isinstance(label, str | None) or label not in labels:
            raise ValueError(f"label is {shown(label)}; expected chosen, rejected, tie or null.")
        extra = _beside(row, Preference.__dataclass_fields__.keys() - {"extra"})
        if (margin := row.get("margin")) is not None and margin != round(2.0 * z - 1.0, 9):
            extra["margin"] = margin  # the one that follows from z says nothing more
        pair = Pair(
            prompt=prompt,
            response_a=sides[0],
            response_b=sides[1],
            id=identity_of(row.get("id")),
            model_a=row.get("chosen_model"),
            model_b=row.get("rejected_model"),
            label=labels[label],
            extra=extra,
        )
        pair = replace(pair, extra=source_order(pair))
        yield Judgment(
            pair=pair,
            z=z,
            z_ab=row.get("z_first"),
            z_ba=row.get("z_second"),
            judge=row.get("judge"),
            template=row.get("template"),
        )

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        yield rest(judgment, preference_row(Preference.from_judgment(preferred(judgment))))


# The columns of HuggingFaceH4/ultrafeedback_binarized, whose scores are GPT-4's from 1 to 10.
_H4 = {"prompt", "prompt_id", "chosen", "rejected", "messages", "score_chosen", "score_rejected"}


class UltraFeedback(Chosen):
    """HuggingFaceH4/ultrafeedback_binarized: prompt, prompt_id, chosen and rejected as whole conversations, messages
    (chosen again), and GPT-4's score of each (dataset card: "the highest overall_score as the chosen completion").

    Also trl-lib/ultrafeedback_binarized, which has the conversations and the scores alone, as anybody's data may: GPT-4
    is named as the judge only where the columns are the first one's and nothing else. Lossless, with the columns of the
    first, but for ties and unjudged pairs. Scores that contradict a later verdict are not written.
    """

    name = "ultrafeedback"
    general = 2
    has = ("score_chosen", "score_rejected")

    def fits(self, row: Row) -> bool:
        return super().fits(row) and "conversations" not in row

    def extra(self, row: Row, found: dict[str, Any]) -> dict[str, Any]:
        if found.get("messages") == row["chosen"]:
            del found["messages"]
        if row.get("prompt") is not None and row["prompt"] != opening(self.prompt(row)):
            return joined({"source_prompt": row["prompt"]}, found)
        return found

    def judge(self, row: Row) -> str | None:
        scores = [finite_number(row[name]) for name in self.has]
        known = {*row} == _H4 and all(score is not None and 1.0 <= score <= 10.0 for score in scores)
        return "gpt-4" if known else None  # anybody's scores may be called so

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        better, extra = preferred(judgment), judgment.pair.extra
        sides = conversations_of(better)
        prompt, used = extra.get("source_prompt"), {"source_prompt"}
        if prompt is None or not _reads_back({"prompt": prompt, **sides}):
            prompt, used = opening(better.pair.prompt), set()
        own = {"prompt": prompt, "prompt_id": extra.get("prompt_id") or _prompt_id(str(prompt))}
        scores = _scores(judgment, "score_chosen", "score_rejected")
        yield rest(judgment, {**own, **sides, "messages": sides["chosen"], **scores}, used | {*scores})


def _reads_back(row: Row) -> bool:
    try:
        return bool(sides_of(row))
    except ValueError:
        return False


class Argilla(Chosen):
    """Chosen and rejected with their ratings, as distilabel 1.5's `FormatTextGenerationDPO` writes them: prompt,
    prompt_id, chosen and rejected as whole conversations, chosen_model, chosen_rating, rejected_model, rejected_rating.

    Also read: the spellings `chosen-rating` (argilla/ultrafeedback-binarized-preferences-cleaned) and `rating_chosen`
    (argilla/distilabel-capybara-dpo-7k-binarized), rows without models (argilla/dpo-mix-7k), and rows of texts with
    `input` and `status` (argilla/distilabel-intel-orca-dpo-pairs). The status "tie" is a tie as equal ratings are:
    distilabel takes the same response for both. Lossless in distilabel's own spelling, but for ties.
    """

    name = "argilla"
    general = 1
    _RATINGS = (
        ("chosen_rating", "rejected_rating"),
        ("chosen-rating", "rejected-rating"),
        ("rating_chosen", "rating_rejected"),
    )
    _MODELS = (("chosen_model", "rejected_model"), ("chosen-model", "rejected-model"))

    def fits(self, row: Row) -> bool:
        return super().fits(row) and (bool(_found(self._RATINGS, row)) or {"generations", "status"} <= {*row})

    def check(self, row: Row) -> None:
        super().check(row)
        if not self.fits(row):
            raise ValueError(f"the row has no 'chosen_rating' and 'rejected_rating'; got {', '.join(row)}.")

    def extra(self, row: Row, found: dict[str, Any]) -> dict[str, Any]:
        ratings, models = _found(self._RATINGS, row), _found(self._MODELS, row)
        kept = {k: v for k, v in found.items() if k not in (*ratings, *models)}
        return kept | dict(zip(self._RATINGS[0], (row[name] for name in ratings), strict=False))

    def judge(self, row: Row) -> str | None:
        return row.get("labelling_model")

    def models(self, row: Row) -> tuple[Any, Any]:
        found = _found(self._MODELS, row)
        for name in found:
            if row[name] is not None:
                text_in(row[name], name, "text or null")
        return (row[found[0]], row[found[1]]) if found else (None, None)

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        better, extra = preferred(judgment), judgment.pair.extra
        prompt, sides = opening(better.pair.prompt), conversations_of(better)
        own: dict[str, Any] = {"prompt": prompt, "prompt_id": extra.get("prompt_id") or _prompt_id(prompt)}
        for side, model in (("chosen", better.pair.model_a), ("rejected", better.pair.model_b)):
            own |= {side: sides[side], f"{side}_model": model}
        yield rest(judgment, own | _scores(judgment, *self._RATINGS[0]), self._RATINGS[0])


def _found(spellings: Iterable[tuple[str, str]], row: Row) -> tuple[str, ...]:
    """The first pair of column names that the row has both of, or none."""
    return next((pair for pair in spellings if all(name in row for name in pair)), ())
