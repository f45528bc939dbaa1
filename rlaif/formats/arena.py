"""Two whole conversations side by side and the winner, as arenas and MT-bench publish them.

Two conversations are a pair where they are the same up to the last response, of which the verdict is then. Where the
models answered an earlier turn differently they have no common prompt, and the row is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rlaif.errors.words import shown
from rlaif.files.conversations import conversation, turns_of, with_answer
from rlaif.files.pairs import carried, given_back, whole
from rlaif.formats.base import APART, Format, LeftOut, Row, Tally, beside, judged, of_each, said, side
from rlaif.formats.carrying import rest
from rlaif.formats.texts import from_json_list
from rlaif.records import Judgment, Message, Prompt

__all__ = ["Arena", "ArenaTexts", "MTBench"]

_NULL = "a turn is null"
_LATER = ("later_1", "later_2")  # what came after the judged response in each conversation


class _Battle(Format):
    """Two responses of `model_a` and `model_b`, and who won.

    Attributes:
        words: what `winner` may say, and the z of it.
    """

    lost = "z (only which response is better), unjudged pairs"
    words: ClassVar[Mapping[str, float]] = dict(
        zip(("model_a", "model_b", "tie", "tie (bothbad)", "both_bad"), (1.0, 0.0, 0.5, 0.5, 0.5), strict=True)
    )

    def verdict_of(self, row: Row) -> float:
        word = row["winner"]
        if not isinstance(word, str) or word not in self.words:
            raise ValueError(f"winner is {shown(word)}; expected {', '.join(self.words)}.")
        return self.words[word]

    def battle(
        self, row: Row, prompt: Prompt, sides: tuple[str, str], used: tuple[str, ...], later: Row | None = None
    ) -> Judgment:
        """The judgment of a row; of a winner's word that says more than z, the word is kept."""
        kept = () if row.get("winner") in ("model_a", "model_b", "tie") else ("winner",)
        extra = carried(beside(row, {"model_a", "model_b", "winner", *used} - {*kept}), _LATER) | {**(later or {})}
        models = (row.get("model_a"), row.get("model_b"))
        people = self.is_people(row)
        judge = None if people else row["judge"]
        if isinstance(judge, list) and all(isinstance(name, str) for name in judge):
            judge = ", ".join(judge)  # MT-bench writes the judge and its template
        return judged(prompt, sides, self.verdict_of(row), extra, people=people, judge=judge, models=models)

    def is_people(self, row: Row) -> bool:
        """Whether a person said who won."""
        return True

    def won(self, judgment: Judgment) -> str:
        """The word for the winner; the source's own where it says which kind of tie it was."""
        if judgment.z is None:
            raise LeftOut("unjudged")
        word = judgment.pair.extra.get("winner")
        z = {"a": 1.0, "b": 0.0, "tie": 0.5}[side(judgment.z)]
        if z == 0.5 and isinstance(word, str) and self.words.get(word) == z:
            return word
        return next(word for word, says in self.words.items() if says == z)


class ArenaTexts(_Battle):
    """lmarena-ai/arena-human-preference-55k (once lmsys's): id, model_a, model_b, prompt, response_a, response_b, and
    winner_model_a, winner_model_b, winner_tie, of which one is 1.

    Prompt and responses are JSON lists written as texts, one entry a turn, and null where a turn is missing: such rows
    are counted. Also read: the same columns with a `winner` (model_a, model_b, tie), and plain texts, each one turn.
    Lossless for lists.
    """

    name = "arena-55k"
    needs = ("prompt", "response_a", "response_b")
    responses = ("response_a", "response_b")
    people = True
    _ONE_HOT = ("winner_model_a", "winner_model_b", "winner_tie")

    def fits(self, row: Row) -> bool:
        return super().fits(row) and "z" not in row and any(name in row for name in (*self._ONE_HOT, "winner"))

    def check(self, row: Row) -> None:
        super().check(row)
        if not self.fits(row):
            raise ValueError(f"the row has no winner_model_a, winner_model_b, winner_tie; got {', '.join(row)}.")

    def verdict_of(self, row: Row) -> float:
        if not any(name in row for name in self._ONE_HOT):
            return super().verdict_of(row)
        marks = [row.get(name) for name in self._ONE_HOT]
        if not all(isinstance(mark, int | float) and mark in (0, 1) for mark in marks) or marks.count(1) != 1:
            raise ValueError(
                f"{', '.join(self._ONE_HOT)} are {', '.join(map(shown, marks))}; expected 1 for one of them and 0 for "
                "the others."
            )
        return (1.0, 0.0, 0.5)[marks.index(1)]

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        if row.get("label") in ("a", "b", "tie") and row["label"] != side(self.verdict_of(row)):
            raise ValueError(f"label is {row['label']}, and the winner's columns say otherwise; expected one verdict.")
        self.verdict_of(row)
        lists = {name: self._turns(row, name) for name in self.needs}
        used = (*self.needs, *self._ONE_HOT)
        if all(turns is None for turns in lists.values()):
            yield self.battle(row, self.asked(row), (row["response_a"], row["response_b"]), used)
            return
        asked, first, second = (turns or [] for turns in lists.values())
        if not len(asked) == len(first) == len(second):
            raise ValueError(
                f"prompt, response_a and response_b hold {len(asked)}, {len(first)} and {len(second)} turns; expected "
                "as many in each (a plain text holds none)."
            )
        if None in asked or None in first or None in second:
            raise LeftOut(_NULL)
        if first[:-1] != second[:-1]:
            raise LeftOut(APART)
        yield self.battle(row, self.asked(row), (str(first[-1]), str(second[-1])), used)

    def _turns(self, row: Row, name: str) -> list[str | None] | None:
        """The turns of a column; None for a plain text, which is no list."""
        if isinstance(row[name], str) and not row[name].lstrip().startswith("["):
            return None
        try:
            return from_json_list(row[name], name)
        except ValueError:
            if isinstance(row[name], str):
                return None
            raise

    def prompt(self, row: Row) -> Prompt:
        asked = self._turns(row, "prompt")
        if asked is None:
            return super().prompt(row)
        said = from_json_list(row.get("response_a"), "response_a") if len(asked) > 1 else []
        turns: list[Message] = []
        for at, text in enumerate(asked):
            turns.append({"role": "user", "content": text or ""})
            if at + 1 < len(asked):
                turns.append({"role": "assistant", "content": said[at] or ""})
        return turns

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair, word = judgment.pair, self.won(judgment)
        turns = conversation(pair.prompt)
        roles = [turn["role"] for turn in turns]
        if len(roles) % 2 == 0 or roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
            raise LeftOut("the prompt is not turns of user and assistant by turns, the user's first and last")
        texts = [[turn["content"] for turn in turns[at::2]] for at in (0, 1)]
        columns = (texts[0], [*texts[1], pair.response_a], [*texts[1], pair.response_b])
        own: dict[str, Any] = {"model_a": pair.model_a, "model_b": pair.model_b}
        own |= {name: json.dumps(column) for name, column in zip(self.needs, columns, strict=True)}
        z = self.words[word]
        marks = (z == 1.0, z == 0.0, z == 0.5)
        yield rest(judgment, own | {name: int(mark) for name, mark in zip(self._ONE_HOT, marks, strict=True)})


def _are_turns(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) and {"role", "content"} <= {*one} for one in value)


class Arena(_Battle):
    """lmsys/chatbot_arena_conversations and lmarena-ai/arena-human-preference-100k and -140k: model_a, model_b, winner
    (model_a, model_b, tie, "tie (bothbad)" or both_bad), conversation_a, conversation_b (messages, also of text parts),
    and question_id, judge, turn, language, tstamp, ...

    Both kinds of tie are z = 0.5; that both were bad is kept in `winner`. Lossless.
    """

    name = "arena"
    needs: ClassVar[tuple[str, ...]] = ("conversation_a", "conversation_b", "winner")
    used: ClassVar[tuple[str, ...]] = ("conversation_a", "conversation_b")
    responses = ("conversation_a", "conversation_b")
    people = True
    _SIDES = ("conversation_a", "conversation_b")
    _OWN = frozenset({"tstamp", "timestamp", "language", "anony", "conv_metadata", "evaluation_session_id"})

    def fits(self, row: Row) -> bool:
        return super().fits(row) and ("turn" not in row or bool(self._OWN & {*row}))

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        self.verdict_of(row)
        (asked, first, *_), (other, second, *_) = talks = [self.talk(row, name) for name in self._SIDES]
        if asked != other:
            raise LeftOut(APART)
        later = of_each(*({"later": talk[2]} for talk in talks)) if any(talk[2] for talk in talks) else {}
        yield self.battle(row, self.asked(row), (first, second), self.used, later)

    def talk(self, row: Row, name: str) -> tuple[list[Message], str, list[Message]]:
        """A conversation as what comes before the response that was judged, the response, and what comes after it.

        Raises:
            ValueError: it is a text, or has no turn that the response answers.
        """
        _check_is_no_text(row, name)
        *asked, last = turns_of(row[name], name)
        if not asked:
            raise ValueError(f"{name} holds no turn but the assistant's; expected what it answers.")
        return asked, last["content"], []

    def prompt(self, row: Row) -> Prompt:
        return self.talk(row, "conversation_a")[0]

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair = judgment.pair
        own: dict[str, Any] = {"model_a": pair.model_a, "model_b": pair.model_b, "winner": self.won(judgment)}
        later = said(pair, *_LATER)
        known = "turn" in self.used and all(map(_are_turns, later))  # else the last response is the judged one
        for name, text, turns in zip(self._SIDES, (pair.response_a, pair.response_b), later, strict=True):
            own[name] = [*with_answer(pair.prompt, text), *(turns if known else [])]
        yield rest(judgment, own | self.beyond(judgment), used=_LATER if known else (), back=self.judges(judgment))

    def judges(self, judgment: Judgment) -> tuple[str, ...]:
        """The column of the person who judged, where the verdict is still that one."""
        return ("judge",) if judgment.judge == "label" else ()

    def beyond(self, judgment: Judgment) -> dict[str, Any]:
        """Further columns of the format."""
        return {}


def _check_is_no_text(row: Row, name: str) -> None:
    if isinstance(row[name], str):
        raise ValueError(
            f"{name} is the text {shown(row[name])}; expected a list of messages. Parse it first where it is JSON."
        )


class MTBench(Arena):
    """lmsys/mt_bench_human_judgments: question_id, model_a, model_b, winner, judge, conversation_a, conversation_b, and
    the turn that was judged, 1 or 2.

    Both conversations hold two turns: what comes after the judged one is no part of the pair, and is carried as later_1
    and later_2. A `judge` like expert_3 or author_0 is a person; another one (split `gpt4_pair`, with "tie
    (inconsistent)" where its two orders differ) is a judge. Lossless.
    """

    name = "mt-bench"
    needs = ("conversation_a", "conversation_b", "winner", "turn")
    people = False
    names_judge = True
    words: ClassVar[Mapping[str, float]] = {**_Battle.words, "tie (inconsistent)": 0.5}
    used = ("conversation_a", "conversation_b", "turn")

    def fits(self, row: Row) -> bool:
        return Format.fits(self, row) and not self._OWN & {*row}

    def is_people(self, row: Row) -> bool:
        judge = row.get("judge")
        return judge is None or re.fullmatch(r"(expert|author|human)(_\d+)?", str(judge)) is not None

    def talk(self, row: Row, name: str) -> tuple[list[Message], str, list[Message]]:
        _check_is_no_text(row, name)
        turns, turn = turns_of(row[name], name), whole(row["turn"])
        answers = [at for at, one in enumerate(turns) if one["role"] == "assistant" and at]
        if isinstance(turn, bool) or not isinstance(turn, int) or not 1 <= turn <= len(answers):
            raise ValueError(
                f"turn is {shown(turn)}, and {name} has {len(answers)} answers; expected the number of one."
            )
        at = answers[turn - 1]
        return turns[:at], turns[at]["content"], turns[at + 1 :]

    def beyond(self, judgment: Judgment) -> dict[str, Any]:
        extra = given_back(judgment.pair.extra, {"judge"})
        judge = extra.get("judge") if judgment.judge == "label" else judgment.judge
        if judgment.judge == "label" and not self.is_people({"judge": judge}):
            judge = None  # an earlier one: the verdict is people's
        turns = conversation(judgment.pair.prompt)
        return {"judge": judge, "turn": 1 + sum(turn["role"] == "assistant" for turn in turns)}
