"""Formats whose rows hold the chosen and the rejected response. Chosen is read as `response_a`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from rlaif.files.conversations import other_columns, sides_of, with_answer
from rlaif.files.preferences import preference_row
from rlaif.formats.base import Format, Row, Tally, beside, compared, judged, number, preferred, rest, said
from rlaif.formats.texts import from_transcript, one_text, opening, to_transcript
from rlaif.records import Judgment, Label, Pair, Preference, Prompt, check_probability

__all__ = ["HH", "TRL", "Argilla", "Preferences", "RewardBench", "Skywork", "UltraFeedback"]


def _by_scores(chosen: Any, rejected: Any) -> tuple[float | None, str | None]:
    """The z of a chosen and a rejected response whose scores are known, and the reason where they contradict it."""
    first, second = number(chosen), number(rejected)
    if first is None or second is None or first > second:
        return 1.0, None
    if first == second:
        return 0.5, None
    return None, "chosen has the lower score"


def _scores(better: Judgment, first: str, second: str) -> dict[str, Any]:
    """The source's scores of both responses, or nulls where they say something else than the verdict."""
    scores = said(better.pair, first, second)
    if compared(*scores, what="")[0] in (0.0, 0.5):
        scores = None, None
    return dict(zip((first, second), scores, strict=True))


def _prompt_id(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()


def _conversations(better: Judgment) -> dict[str, Any]:
    pair = better.pair
    return {
        "chosen": with_answer(pair.prompt, pair.response_a),
        "rejected": with_answer(pair.prompt, pair.response_b),
    }


class TRL(Format):
    """TRL's preference format: prompt, chosen, rejected, as texts or as messages; `prompt` may be missing where chosen
    and rejected are whole conversations (https://huggingface.co/docs/trl/dataset_formats).

    Lossless but for a prompt that was implicit, which comes back as a column.
    """

    name = "trl"
    needs = ("chosen", "rejected")
    general = True

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        prompt, *sides = sides_of(row)
        yield judged(prompt, (sides[0], sides[1]), 1.0, beside(other_columns(row), ()))

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair = preferred(judgment).pair
        sides: dict[str, Any] = {"chosen": pair.response_a, "rejected": pair.response_b}
        if isinstance(pair.prompt, list):
            sides = {name: [{"role": "assistant", "content": text}] for name, text in sides.items()}
        yield rest(judgment, {"prompt": pair.prompt, **sides})

    def prompt(self, row: Row) -> Prompt:
        return sides_of(row)[0]


class Preferences(Format):
    """What `rlaif build` writes: prompt, chosen, rejected, z = P(chosen is preferred) in (0.5, 1], and whose z it is.

    Only the first four are needed. Lossless.
    """

    name = "preferences"
    needs = ("prompt", "chosen", "rejected", "z")
    lost = "ties, unjudged pairs"

    def fits(self, row: Row) -> bool:
        return super().fits(row) and "response_a" not in row

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        prompt, *sides = sides_of(row)
        z = check_probability(row["z"])
        if z is None or z <= 0.5:
            raise ValueError(f"z is {z}; expected P(chosen is preferred) in (0.5, 1].")
        labels: dict[Any, Label | None] = {"chosen": "a", "rejected": "b", "tie": "tie", None: None}
        label = row.get("label")
        if label not in labels:
            raise ValueError(f"label is {label!r}; expected 'chosen', 'rejected', 'tie' or null.")
        used = (*Preference.__dataclass_fields__, "extra")
        pair = Pair(
            prompt=prompt,
            response_a=sides[0],
            response_b=sides[1],
            id=str(row.get("id") or ""),
            model_a=row.get("chosen_model"),
            model_b=row.get("rejected_model"),
            label=labels[label],
            extra=beside(row, used),
        )
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


class UltraFeedback(Format):
    """HuggingFaceH4/ultrafeedback_binarized: prompt, prompt_id, chosen and rejected as whole conversations, messages
    (chosen again), and GPT-4's score of each (dataset card: "the highest overall_score as the chosen completion").

    Equal scores are a tie; a chosen response with the lower score is unjudged. Lossless but for both. Scores that
    contradict a later verdict are not written.
    """

    name = "ultrafeedback"
    needs = ("prompt", "chosen", "rejected")
    has = ("score_chosen", "score_rejected")

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        prompt, *sides = sides_of(row)
        z, reason = _by_scores(row["score_chosen"], row["score_rejected"])
        extra = beside(other_columns(row), ("messages",))
        if row["prompt"] != opening(prompt):
            extra["source_prompt"] = row["prompt"]
        yield judged(prompt, (sides[0], sides[1]), z, extra, reason=reason, judge="gpt-4")

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        better, extra = preferred(judgment), judgment.pair.extra
        sides = _conversations(better)
        prompt = extra.get("source_prompt", opening(better.pair.prompt))
        own = {"prompt": prompt, "prompt_id": extra.get("prompt_id") or _prompt_id(str(prompt))}
        scores = _scores(better, "score_chosen", "score_rejected")
        yield rest(judgment, {**own, **sides, "messages": sides["chosen"], **scores})


class Skywork(Format):
    """Skywork/Skywork-Reward-Preference-80K: chosen and rejected as whole conversations, and the `source` of the pair.

    Lossless.
    """

    name = "skywork"
    needs = ("chosen", "rejected")

    def fits(self, row: Row) -> bool:
        return set(row) == {"chosen", "rejected", "source"}

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        prompt, *sides = sides_of({side: row[side] for side in self.needs})
        yield judged(prompt, (sides[0], sides[1]), 1.0, beside(row, ("chosen", "rejected")))

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        yield rest(judgment, _conversations(preferred(judgment)))

    def prompt(self, row: Row) -> Prompt:
        return sides_of({side: row[side] for side in self.needs})[0]


class HH(Format):
    r"""Anthropic/hh-rlhf: chosen and rejected, each one transcript "\n\nHuman: ...\n\nAssistant: ..." (2204.05862).

    Both are split at the last assistant's turn; what comes before is the prompt, and must be the same. Lossless where
    a colon is followed by one space.
    """

    name = "hh"
    needs = ("chosen", "rejected")

    def fits(self, row: Row) -> bool:
        return super().fits(row) and all(str(row[side]).startswith("\n\nHuman:") for side in self.needs)

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        prompt, *sides = sides_of({side: from_transcript(row[side], side) for side in self.needs})
        yield judged(prompt, (sides[0], sides[1]), 1.0, beside(row, self.needs), people=True)

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        sides = _conversations(preferred(judgment))
        yield rest(judgment, {name: to_transcript(turns) for name, turns in sides.items()})

    def prompt(self, row: Row) -> Prompt:
        return from_transcript(row["chosen"], "chosen")[:-1]


class RewardBench(Format):
    """allenai/reward-bench: prompt, chosen, chosen_model, rejected, rejected_model, subset, id; all of them texts.

    Which response is better is known by construction, so it is the label. Lossless.
    """

    name = "rewardbench"
    needs = ("prompt", "chosen", "rejected")
    has = ("chosen_model", "rejected_model")
    _USED = ("prompt", "chosen", "chosen_model", "rejected", "rejected_model")

    def fits(self, row: Row) -> bool:
        return super().fits(row) and "subset" in row

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        models = (row["chosen_model"], row["rejected_model"])
        sides = (row["chosen"], row["rejected"])
        yield judged(row["prompt"], sides, 1.0, beside(row, self._USED), people=True, models=models)

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair = preferred(judgment).pair
        values = (one_text(pair.prompt), pair.response_a, pair.model_a, pair.response_b, pair.model_b)
        yield rest(judgment, dict(zip(self._USED, values, strict=True)))


class Argilla(Format):
    """Chosen and rejected with their ratings, as distilabel 1.5's `FormatTextGenerationDPO` writes them: prompt,
    prompt_id, chosen and rejected as whole conversations, chosen_model, chosen_rating, rejected_model, rejected_rating.

    Also read: the spellings `chosen-rating` (argilla/ultrafeedback-binarized-preferences-cleaned) and `rating_chosen`
    (argilla/distilabel-capybara-dpo-7k-binarized), rows without models (argilla/dpo-mix-7k), and rows of texts with
    `input` and `status` (argilla/distilabel-intel-orca-dpo-pairs). Equal ratings, or the status "tie", are a tie:
    distilabel takes the same response for both. Lossless in distilabel's own spelling, but for ties.
    """

    name = "argilla"
    needs = ("chosen", "rejected")
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

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        ratings, models = _found(self._RATINGS, row), _found(self._MODELS, row)
        prompt, *sides = sides_of(row)
        z, reason = _by_scores(*(row[name] for name in ratings)) if ratings else (1.0, None)
        if row.get("status") == "tie":
            z, reason = 0.5, None
        extra = beside(other_columns(row), (*ratings, *models))
        extra |= dict(zip(self._RATINGS[0], (row[name] for name in ratings), strict=False))
        yield judged(
            prompt,
            (sides[0], sides[1]),
            z,
            extra,
            reason=reason,
            judge=row.get("labelling_model"),
            models=tuple(row[name] for name in models) or (None, None),
        )

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        better, extra = preferred(judgment), judgment.pair.extra
        prompt, sides = opening(better.pair.prompt), _conversations(better)
        own: dict[str, Any] = {"prompt": prompt, "prompt_id": extra.get("prompt_id") or _prompt_id(prompt)}
        for side, model in (("chosen", better.pair.model_a), ("rejected", better.pair.model_b)):
            own |= {side: sides[side], f"{side}_model": model}
        yield rest(judgment, own | _scores(better, *self._RATINGS[0]))

    def prompt(self, row: Row) -> Prompt:
        return sides_of(row)[0]


def _found(spellings: Iterable[tuple[str, str]], row: Row) -> tuple[str, ...]:
    """The first pair of column names that the row has both of, or none."""
    return next((pair for pair in spellings if all(name in row for name in pair)), ())
