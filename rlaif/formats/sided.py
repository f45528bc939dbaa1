"""Formats whose rows hold two numbered responses and a verdict. The first is read as `response_a`.

Most verdicts here grow toward the SECOND response: HelpSteer's -3..3 and AlpacaEval's 1..2. z grows toward the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from rlaif.files.conversations import conversation, messages
from rlaif.formats.base import (
    Format,
    LeftOut,
    Row,
    Tally,
    agree,
    beside,
    compared,
    judged,
    number,
    rest,
    said,
    side,
    turned,
)
from rlaif.formats.texts import from_helpsteer2, one_text, to_helpsteer2
from rlaif.records import Judgment, Prompt, check_prompt, label_value

__all__ = ["AlpacaEval", "HelpSteer2", "HelpSteer2Ratings", "HelpSteer3", "JudgeBench", "LLMBar", "Pairs"]


class _Sided(Format):
    """Two columns of responses and one of the verdict.

    Attributes:
        asks: the column of the prompt.
        sides: the columns of the first and the second response.
        says: the column of the verdict.
    """

    asks: ClassVar[str]
    sides: ClassVar[tuple[str, str]]
    says: ClassVar[str]
    lost = "z (only which response is better), unjudged pairs"

    def own(self, judgment: Judgment, prompt: Any, verdict: Any) -> dict[str, Any]:
        pair = judgment.pair
        return {self.asks: prompt, self.sides[0]: pair.response_a, self.sides[1]: pair.response_b, self.says: verdict}

    def prompt(self, row: Row) -> Prompt:
        return check_prompt(row[self.asks])


class _HelpSteer(_Sided):
    """-3 (the first is much better) to 3 (the second is), 0 for about the same: a hard verdict and its strength.

    Attributes:
        speaks: columns that call the responses by their numbers; they are not written of a pair that was swapped.
    """

    speaks: ClassVar[tuple[str, ...]]
    lost = "z (only which response is better), and every pair whose strength is not known from people"

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        value = row[self.says]
        if isinstance(value, bool) or value not in range(-3, 4):
            raise ValueError(f"{self.says} is {value!r}; expected a whole number from -3 (first better) to 3.")
        z = 0.5 if value == 0 else float(value < 0)
        extra = {**beside(row, (self.asks, *self.sides, self.says)), "strength": abs(value)}
        yield judged(self.prompt(row), (row[self.sides[0]], row[self.sides[1]]), z, extra, people=True)

    def strength(self, judgment: Judgment) -> int:
        """The verdict as -3..3, if people gave it: none is made up from z."""
        label, strength = judgment.pair.label, number(judgment.pair.extra.get("strength"))
        if judgment.z is None:
            raise LeftOut("unjudged")
        if strength is None or strength not in range(4) or label != side(judgment.z):
            raise LeftOut("no strength of this verdict is known")
        return -int(strength) if label == "a" else int(strength)

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        own = self.own(judgment, self.written(judgment.pair.prompt), self.strength(judgment))
        yield rest(judgment, own, used=("strength", *(self.speaks if turned(judgment.pair) else ())))

    def written(self, prompt: Prompt) -> Any:
        raise NotImplementedError


class HelpSteer2(_HelpSteer):
    """nvidia/HelpSteer2, folder `preference`: prompt, response_1, response_2, preference_strength -3..3, negative where
    response_1 is better (HelpSteer2-Preference, 2410.01257), and the statements behind it.

    A prompt is the user's turn, or several turns between "<extra_id_1>" marks; it is read as messages. Lossless.
    """

    name = "helpsteer2"
    needs = ("prompt", "response_1", "response_2", "preference_strength")
    asks, sides, says = "prompt", ("response_1", "response_2"), "preference_strength"
    speaks = (
        "preference_statement",
        "preference_elaboration",
        "three_most_similar_preferences",
        "all_preferences_unprocessed",
    )

    def prompt(self, row: Row) -> Prompt:
        return from_helpsteer2(row["prompt"])

    def written(self, prompt: Prompt) -> str:
        return to_helpsteer2(prompt)


class HelpSteer3(_HelpSteer):
    """nvidia/HelpSteer3, config `preference`: context (messages), response1, response2, overall_preference -3..3, "-3:
    Response 1 is much better than Response 2" (dataset card), and the individual preferences behind it. Lossless.
    """

    name = "helpsteer3"
    needs = ("context", "response1", "response2", "overall_preference")
    asks, sides, says = "context", ("response1", "response2"), "overall_preference"
    speaks = ("individual_preference",)

    def prompt(self, row: Row) -> Prompt:
        return messages(row["context"], "context")

    def written(self, prompt: Prompt) -> Any:
        return conversation(prompt)


class HelpSteer2Ratings(Format):
    """nvidia/HelpSteer2's ratings: prompt, response and five attributes from 0 to 4, of which helpfulness decides.

    "Consecutive samples (e.g. sample 1 with 2, 3 with 4 ...) share the same prompt" (dataset card): two rows are a
    pair, so one row is held at a time. Lossless.
    """

    name = "helpsteer2-ratings"
    needs = ("prompt", "response", "helpfulness")
    lost = "z, and every pair whose ratings are not known or say otherwise"
    _ALONE = "no other row of this prompt follows; expected two rows of each prompt in turn."

    def read(self, rows: Iterable[tuple[str, Row]], tally: Tally) -> Iterator[Judgment]:
        held: tuple[str, Row] | None = None
        for where, row in rows:
            first, found = held, None
            with tally.at(where):
                self.check(row)
                if row["helpfulness"] not in range(5):
                    raise ValueError(f"helpfulness is {row['helpfulness']!r}; expected a whole number from 0 to 4.")
                held = where, row
            if first is None or held == first:
                continue
            with tally.at(first[0]):
                if first[1]["prompt"] != row["prompt"]:
                    raise ValueError(self._ALONE)
                found, held = self._pair(first[1], row), None
            if found:
                tally.kind.check(found.pair.prompt, where)
                yield found
        if held:
            with tally.at(held[0]):
                raise ValueError(self._ALONE)

    def _pair(self, first: Row, second: Row) -> Judgment:
        z, _ = compared(first["helpfulness"], second["helpfulness"], "helpfulness")
        used = ("prompt", "response")
        extra = {f"{k}_1": v for k, v in beside(first, used).items()}
        extra |= {f"{k}_2": v for k, v in beside(second, used).items()}
        return judged(self.prompt(first), (first["response"], second["response"]), z, extra, people=True)

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair = judgment.pair
        agree(judgment, said(pair, "helpfulness_1", "helpfulness_2"))
        names = [name.removesuffix("_1") for name in pair.extra if name.endswith("_1")]
        ratings = {name: said(pair, f"{name}_1", f"{name}_2") for name in names}
        prompt = to_helpsteer2(pair.prompt)
        for at, response in enumerate((pair.response_a, pair.response_b)):
            yield {"prompt": prompt, "response": response} | {name: both[at] for name, both in ratings.items()}

    def prompt(self, row: Row) -> Prompt:
        return from_helpsteer2(row["prompt"])


class AlpacaEval(_Sided):
    """AlpacaEval's annotations.json: instruction, output_1, output_2, generator_1, generator_2, annotator, preference.

    `preference` is 1 + P(output_2 is preferred), null where the annotator's answer was not read: alpaca_eval 0.6.6,
    `validate_alpacaeval_preference`. Older annotations say 0 for a draw, and 0.6.6 reads them so (`_preprocess`); a
    file that holds 0 and nothing above 1 may be of another scale and is refused. Lossless, to 9 decimals, but for 0.
    """

    name = "alpacaeval"
    needs = ("instruction", "output_1", "output_2")
    has = ("preference",)
    lost = "why a pair is unjudged"
    asks, sides, says = "instruction", ("output_1", "output_2"), "preference"
    _REST = ("generator_1", "generator_2", "annotator")

    def read(self, rows: Iterable[tuple[str, Row]], tally: Tally) -> Iterator[Judgment]:
        zero, above = "", False

        def watched() -> Iterator[tuple[str, Row]]:
            nonlocal zero, above
            for where, row in rows:
                value = number(row.get("preference"))
                if value == 0.0:
                    zero = zero or where
                above = above or (value is not None and value > 1.0)
                yield where, row

        yield from super().read(watched(), tally)
        if zero and not above:
            raise ValueError(
                f"{zero}: preference is 0, and no row says more than 1; expected AlpacaEval's scale, 1 (output_1) to 2 "
                "(output_2). Add 1 to a scale from 0 to 1."
            )

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        if row.get("input"):
            raise ValueError(
                f"the row has an input ({str(row['input'])[:40]!r}) beside its instruction; expected one prompt. Join "
                "the two in `instruction`, as the responses' models saw them."
            )
        value = number(row["preference"])
        if value is None and isinstance(row["preference"], str | bool):
            raise ValueError(f"preference is {row['preference']!r}; expected a number from 1 to 2, or null.")
        if value is not None and value != 0.0 and not 1.0 <= value <= 2.0:
            raise ValueError(f"preference is {value}; expected a number from 1 (output_1) to 2 (output_2), or null.")
        z = None if value is None else 0.5 if value == 0.0 else round(2.0 - value, 9)
        yield judged(
            row["instruction"],
            (row["output_1"], row["output_2"]),
            z,
            beside(row, (self.asks, *self.sides, self.says, *self._REST)),
            reason=None if value is not None else f"preference is {row['preference']!r}",
            judge=None if row.get("annotator") is None else str(row["annotator"]),
            models=(row.get("generator_1"), row.get("generator_2")),
        )

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        verdict = None if judgment.z is None else round(2.0 - judgment.z, 9)
        values = (judgment.pair.model_a, judgment.pair.model_b, judgment.judge)
        own = self.own(judgment, one_text(judgment.pair.prompt), verdict)
        yield rest(judgment, own | {k: v for k, v in zip(self._REST, values, strict=True) if v is not None})


class _Labelled(_Sided):
    """A verdict in words, one for each z.

    Attributes:
        words: the column's value for z = 1, 0 and, where it has one, 0.5.
    """

    words: ClassVar[dict[float, Any]]

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        value = row[self.says]
        z = next((z for z, word in self.words.items() if word == value and not isinstance(value, bool)), None)
        if z is None:
            raise ValueError(f"{self.says} is {value!r}; expected {' or '.join(map(repr, self.words.values()))}.")
        model = row.get("response_model")  # JudgeBench: both responses are of one model
        extra = beside(row, (self.asks, *self.sides, self.says))
        responses = (row[self.sides[0]], row[self.sides[1]])
        yield judged(self.prompt(row), responses, z, extra, people=True, models=(model, model))

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        if judgment.z is None:
            raise LeftOut("unjudged")
        verdict = label_value(side(judgment.z))
        if verdict not in self.words:
            raise LeftOut("tie")
        yield rest(judgment, self.own(judgment, one_text(judgment.pair.prompt), self.words[verdict]))


class JudgeBench(_Labelled):
    """ScalerLab/JudgeBench: question, response_A, response_B, label "A>B" or "B>A" (utils/metrics.py compares it with a
    judge's decision, which may be "A=B"), pair_id, original_id, source, response_model. Lossless.
    """

    name = "judgebench"
    needs = ("question", "response_A", "response_B", "label")
    asks, sides, says = "question", ("response_A", "response_B"), "label"
    words: ClassVar[dict[float, Any]] = {1.0: "A>B", 0.0: "B>A", 0.5: "A=B"}


class LLMBar(_Labelled):
    """princeton-nlp/LLMBar, Dataset/*/dataset.json: input, output_1, output_2, and as label the better one, 1 or 2.

    Lossless.
    """

    name = "llmbar"
    needs = ("input", "output_1", "output_2", "label")
    lost = "z (only which response is better), ties, unjudged pairs"
    asks, sides, says = "input", ("output_1", "output_2"), "label"
    words: ClassVar[dict[float, Any]] = {1.0: 1, 0.0: 2}


class Pairs(Format):
    """Our own rows: pairs, with the columns of a judgment where there is one. `rlaif judge --pairs` and `rlaif build
    --judgments` take them.

    Without a `z` column a label counts as z = 1, 0 or 0.5, and a pair without either is unjudged. Lossless.
    """

    name = "pairs"
    needs = ("prompt", "response_a", "response_b")
    lost = "nothing"

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        row = {**row, "id": "" if row.get("id") is None else str(row["id"])}
        if "z" not in row:
            z = label_value(row.get("label"))
            row |= {"z": z, "judge": "label"} if z is not None else {"z": None, "reason": "no z and no label"}
        elif row["z"] is None:
            row["reason"] = row.get("reason") or "z is null in the source"
        yield Judgment.from_row(row)

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        row = judgment.row()
        empty = {"votes": 0, "readable": 0, "flags": [], "vote_keys": []}
        yield {k: v for k, v in row.items() if k == "z" or (v is not None and empty.get(k) != v)}
