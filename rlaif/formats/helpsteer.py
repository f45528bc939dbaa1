"""HelpSteer 2 and 3: people's verdicts from -3 to 3, and their ratings. The first response is read as `response_a`.

The verdicts grow toward the SECOND response. z grows toward the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from rlaif.errors.words import shown
from rlaif.files.conversations import conversation, messages
from rlaif.files.pairs import joined
from rlaif.files.scores import finite_number
from rlaif.formats.base import (
    NULL_RESPONSE,
    Format,
    LeftOut,
    Row,
    Tally,
    agree,
    beside,
    compared,
    judged,
    of_each,
    said,
    side,
    turned,
)
from rlaif.formats.carrying import rest
from rlaif.formats.sided import Sided
from rlaif.formats.texts import from_helpsteer2, to_helpsteer2
from rlaif.records import Judgment, Prompt

__all__ = ["HelpSteer2", "HelpSteer2Ratings", "HelpSteer3"]


class _HelpSteer(Sided):
    """-3 (the first is much better) to 3 (the second is), 0 for about the same: a hard verdict and its strength.

    Attributes:
        speaks: columns that call the responses by their numbers; they are not written of a pair that was swapped.
    """

    speaks: ClassVar[tuple[str, ...]]
    lost = "z (only which response is better), and every pair whose strength is not known from people"
    names_judge = True  # people

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        value = row[self.says]
        if isinstance(value, bool) or value not in range(-3, 4):
            raise ValueError(f"{self.says} is {shown(value)}; expected a whole number from -3 (first better) to 3.")
        z = 0.5 if value == 0 else float(value < 0)
        extra = joined({"strength": abs(value)}, beside(row, (self.asks, *self.responses, self.says)))
        yield judged(self.asked(row), (row[self.responses[0]], row[self.responses[1]]), z, extra, people=True)

    def strength(self, judgment: Judgment) -> int:
        """The verdict as -3..3, if people gave it: none is made up from z."""
        label, strength = judgment.pair.label, finite_number(judgment.pair.extra.get("strength"))
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
    asks, responses, says = "prompt", ("response_1", "response_2"), "preference_strength"
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
    asks, responses, says = "context", ("response1", "response2"), "overall_preference"
    speaks = ("individual_preference",)

    def prompt(self, row: Row) -> Prompt:
        return messages(row["context"], "context")

    def written(self, prompt: Prompt) -> Any:
        return conversation(prompt)


class HelpSteer2Ratings(Format):
    """nvidia/HelpSteer2's ratings: prompt, response and five attributes from 0 to 4, of which helpfulness decides.

    "Consecutive samples (e.g. sample 1 with 2, 3 with 4 ...) share the same prompt" (dataset card); in nvidia/HelpSteer
    three or four of them do. Every two of the rows in turn that share a prompt are a pair, so the rows of one prompt
    are held at a time. A row alone and one that stands twice are counted. Lossless for two.
    """

    name = "helpsteer2-ratings"
    needs = ("prompt", "response", "helpfulness")
    responses = ("response",)
    people = True
    lost = (
        "z, what is said of the pair, which responses to one prompt were a pair, and every pair whose ratings are not "
        "known or say otherwise"
    )

    def read(self, rows: Iterable[tuple[str, Row]], tally: Tally) -> Iterator[Judgment]:
        asked: Prompt | None = None
        held: list[Row] = []
        for where, row in rows:
            prompt = None
            with tally.bad.at(where):
                if row.get("response", "") is None:
                    tally.unread[NULL_RESPONSE] += 1
                    continue
                self.check(row)
                if isinstance(row["helpfulness"], bool) or row["helpfulness"] not in range(5):
                    raise ValueError(f"helpfulness is {shown(row['helpfulness'])}; expected a whole number, 0 to 4.")
                # What no pair can be made of is found here, where its place is known.
                prompt = judged(self.asked(row), (row["response"], ""), 1.0, {}).pair.prompt
            if prompt is None:
                continue
            if prompt != asked:
                yield from self._pairs(held, tally)
                asked, held = prompt, []
            if row in held:
                tally.unread["a row that stands twice"] += 1
            else:
                held.append(row)
        yield from self._pairs(held, tally)

    def _pairs(self, held: list[Row], tally: Tally) -> Iterator[Judgment]:
        if len(held) == 1:
            tally.unread["a response without another one to its prompt in the rows beside it"] += 1
        used = ("prompt", "response")
        for first, second in itertools.combinations(held, 2):
            z, _ = compared(first["helpfulness"], second["helpfulness"], "helpfulness")
            extra = of_each(beside(first, used), beside(second, used))
            yield judged(self.asked(first), (first["response"], second["response"]), z, extra, people=True)

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair = judgment.pair
        agree(judgment, said(pair, "helpfulness_1", "helpfulness_2"))
        names = [name.removesuffix("_1") for name in pair.extra if name.endswith("_1")]
        ratings = {name: said(pair, f"{name}_1", f"{name}_2") for name in names}
        prompt = to_helpsteer2(pair.prompt)
        for at, response in enumerate((pair.response_a, pair.response_b)):
            yield joined({"prompt": prompt, "response": response}, {name: both[at] for name, both in ratings.items()})

    def prompt(self, row: Row) -> Prompt:
        return from_helpsteer2(row["prompt"])
