"""Formats whose rows hold two numbered responses and a verdict. The first is read as `response_a`.

AlpacaEval's 1..2 grows toward the SECOND response. z grows toward the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from rlaif.errors.words import shown
from rlaif.files.conversations import prompt_of, sides_of
from rlaif.files.pairs import SIDES, is_judged, judgment_of, pair_of
from rlaif.files.scores import finite_number
from rlaif.formats.base import Format, LeftOut, Row, Tally, asked_in, beside, judged, number, side
from rlaif.formats.carrying import rest
from rlaif.formats.texts import one_text
from rlaif.records import Judgment, Prompt, label_value

__all__ = ["AlpacaEval", "Labelled", "Pairs", "Sided"]


class Sided(Format):
    """Two columns of responses and one of the verdict.

    Attributes:
        asks: the column of the prompt.
        says: the column of the verdict.
    """

    asks: ClassVar[str]
    says: ClassVar[str]
    lost = "z (only which response is better), unjudged pairs"

    def own(self, judgment: Judgment, prompt: Any, verdict: Any) -> dict[str, Any]:
        pair = judgment.pair
        return {
            self.asks: prompt,
            self.responses[0]: pair.response_a,
            self.responses[1]: pair.response_b,
            self.says: verdict,
        }

    def prompt(self, row: Row) -> Prompt:
        return asked_in(row, self.asks)


class Labelled(Sided):
    """A verdict in words, one for each z.

    Attributes:
        words: the column's value for z = 1, 0 and, where it has one, 0.5.
    """

    words: ClassVar[dict[float, Any]]
    people = True

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        value = row[self.says]
        z = next((z for z, word in self.words.items() if word == value and not isinstance(value, bool)), None)
        if z is None:
            raise ValueError(f"{self.says} is {shown(value)}; expected {' or '.join(map(str, self.words.values()))}.")
        extra = beside(row, (self.asks, *self.responses, self.says))
        responses = (row[self.responses[0]], row[self.responses[1]])
        yield judged(self.asked(row), responses, z, extra, people=True, models=self.models(row))

    def models(self, row: Row) -> tuple[Any, Any]:
        """The models of the first and of the second response."""
        return None, None

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        if judgment.z is None:
            raise LeftOut("unjudged")
        verdict = label_value(side(judgment.z))
        if verdict not in self.words:
            raise LeftOut("tie")
        yield rest(judgment, self.own(judgment, one_text(judgment.pair.prompt), self.words[verdict]))


class AlpacaEval(Sided):
    """AlpacaEval's annotations.json: instruction, output_1, output_2, generator_1, generator_2, annotator, preference.

    `preference` is 1 + P(output_2 is preferred), null where the annotator's answer was not read: alpaca_eval 0.6.6,
    `validate_alpacaeval_preference`. Older annotations say 0 for a draw, and 0.6.6 reads them so (`_preprocess`); a
    file that holds 0 and nothing above 1 may be of another scale and is refused. AlpacaFarm's `input` stands after the
    instruction and an empty line. Lossless, to 9 decimals, but for these.
    """

    name = "alpacaeval"
    needs = ("instruction", "output_1", "output_2")
    has = ("preference",)
    lost = "why a pair is unjudged"
    names_judge = True
    asks, responses, says = "instruction", ("output_1", "output_2"), "preference"
    called: ClassVar[Mapping[str, str]] = {"model_a": "generator_1", "model_b": "generator_2"}
    _REST = ("generator_1", "generator_2", "annotator")

    def read(self, rows: Iterable[tuple[str, Row]], tally: Tally) -> Iterator[Judgment]:
        zero, above = "", False

        def watched() -> Iterator[tuple[str, Row]]:
            nonlocal zero, above
            for where, row in rows:
                value = finite_number(row.get("preference"))
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
        value = number(row["preference"], "preference")
        if value is not None and value != 0.0 and not 1.0 <= value <= 2.0:
            raise ValueError(f"preference is {value}; expected a number from 1 (output_1) to 2 (output_2), or null.")
        z = None if value is None else 0.5 if value == 0.0 else round(2.0 - value, 9)
        yield judged(
            self.asked(row),
            (row["output_1"], row["output_2"]),
            z,
            beside(row, (self.asks, "input", *self.responses, self.says, *self._REST)),
            reason=None if value is not None else f"preference is {shown(row['preference'])}",
            judge=None if row.get("annotator") is None else str(row["annotator"]),
            models=(row.get("generator_1"), row.get("generator_2")),
        )

    def prompt(self, row: Row) -> Prompt:
        if not row.get("input"):
            return super().prompt(row)
        return prompt_of({name: row[name] for name in ("instruction", "input")})

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        verdict = None if judgment.z is None else round(2.0 - judgment.z, 9)
        values = (judgment.pair.model_a, judgment.pair.model_b, judgment.judge)
        own = self.own(judgment, one_text(judgment.pair.prompt), verdict)
        yield rest(judgment, own | {k: v for k, v in zip(self._REST, values, strict=True) if v is not None})


_WINNERS = {"winner", "winner_model_a", "winner_model_b", "winner_tie"}  # an arena's verdict


class Pairs(Format):
    """Our own rows: pairs, with the columns of a judgment where there is one. `rlaif judge --pairs` and `rlaif build
    --judgments` take them.

    Without a z (no column of that name, or null with no judge and no reason) a label counts as z = 1, 0 or 0.5, and a
    pair without either is unjudged. Lossless.
    """

    name = "pairs"
    needs = ("prompt", "response_a", "response_b")
    lost = "nothing"
    names_judge = True

    def fits(self, row: Row) -> bool:
        return super().fits(row) and ("z" in row or not _WINNERS & {*row})

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        tried = is_judged(row) or any(row.get(name) is not None for name in ("judge", "reason"))
        if row.get("z") is not None or ("z" in row and (tried or row.get("label") is None)):
            yield judgment_of(row)
            return
        pair = pair_of(row)
        z = label_value(pair.label)
        if z is None:
            yield Judgment(pair=pair, z=None, reason="no z and no label")
        else:
            yield Judgment(pair=pair, z=z, judge="label")

    def prompt(self, row: Row) -> Prompt:
        return sides_of(row, SIDES)[0]

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        row = judgment.row()
        empty = {"votes": 0, "readable": 0, "flags": [], "vote_keys": []}
        yield {k: v for k, v in row.items() if k == "z" or (v is not None and empty.get(k) != v)}
