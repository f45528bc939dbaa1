"""Formats whose rows hold several ranked responses, every two of which are a pair, or a single one."""

from __future__ import annotations

import itertools
import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from rlaif.errors.words import shown
from rlaif.files.conversations import conversation, messages, response_text
from rlaif.files.pairs import joined
from rlaif.files.scores import finite_number
from rlaif.formats.base import (
    NULL_RESPONSE,
    Format,
    LeftOut,
    Row,
    Tally,
    beside,
    every_two,
    fields_of,
    judged,
    of_each,
    preferred,
    present,
    side,
    text_in,
)
from rlaif.formats.carrying import of_one, rest
from rlaif.formats.texts import from_transcript, to_transcript
from rlaif.records import Judgment, Prompt, check_prompt, prompt_hash

__all__ = ["KTO", "NeMo", "Nectar"]

_RANKS = {"a": (0, 1), "b": (1, 0), "tie": (0, 0)}  # of response_a and response_b, the best being 0


def _ranked(value: Any, name: str, columns: tuple[str, str], tally: Tally) -> dict[str, Row]:
    """The entries of a list by their places, each with these columns, the response's and `rank`, without null ones."""
    if not isinstance(value, list) or len(value) < 2:
        raise ValueError(f"{name} is {shown(value)}; expected a list of at least two ranked responses.")
    there = present(value, name, columns[0], tally)
    for place, entry in there.items():
        if finite_number(fields_of(entry, place, columns)["rank"]) is None:
            raise ValueError(f"{place}.rank is {shown(entry['rank'])}; expected a number, the lowest the best.")
    return there


def _verdict(judgment: Judgment) -> str:
    if judgment.z is None:
        raise LeftOut("unjudged")
    return side(judgment.z)


_NECTAR = 7  # answers in each row of the data set


class Nectar(Format):
    r"""berkeley-nest/Nectar: prompt "\n\nHuman: ... \n\nAssistant: ", answers [{answer, model, rank}], turns,
    num_responses, source, good_natured (dataset card). GPT-4 ranked its seven answers, 1 is the best; equal
    ranks are a tie.

    Seven answers are 21 pairs; each is written as a row of two. Lossless for two answers ranked 1 and 2, or alike at 1.
    """

    name = "nectar"
    needs = ("prompt", "answers")
    lost = "z (only which response is better), unjudged pairs, which pairs were one row"

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        there = _ranked(row["answers"], "answers", ("answer", "rank"), tally)
        answers = [*there.values()]
        return every_two(
            self.asked(row),
            [text_in(a["answer"], f"{place}.answer") for place, a in there.items()],
            [-float(a["rank"]) for a in answers],
            "rank",
            beside(row, ("prompt", "answers", "num_responses", "turns")),
            [{k: v for k, v in a.items() if k not in ("answer", "model")} for a in answers],
            models=[a.get("model") for a in answers],
            judge="gpt-4" if len(row["answers"]) == _NECTAR and "good_natured" in row else None,
        )

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair, ranks = judgment.pair, _RANKS[_verdict(judgment)]
        turns = conversation(pair.prompt)
        answers = [
            {"answer": text, "model": model, "rank": rank + 1}
            for text, model, rank in zip(
                (pair.response_a, pair.response_b), (pair.model_a, pair.model_b), ranks, strict=True
            )
        ]
        own = {
            "prompt": to_transcript(turns) + "\n\nAssistant: ",
            "answers": answers,
            "turns": sum(turn["role"] == "user" for turn in turns),
            "num_responses": 2,
        }
        yield rest(judgment, own, used=("rank_1", "rank_2"))

    def prompt(self, row: Row) -> Prompt:
        *turns, last = from_transcript(row["prompt"], "prompt")
        if last["content"].strip():
            raise ValueError("prompt ends with an answer; expected an empty turn of the Assistant.")
        return check_prompt(turns)


class NeMo(Format):
    """NeMo-RL's ranked completions: context (messages), completions [{rank, completion: messages}], "lower rank is
    preferred" (docs/guides/dpo.md, whose DPO takes two completions, the lowest rank chosen, so that ties are not
    written). Lossless for two completions ranked 0 and 1.
    """

    name = "nemo"
    needs = ("context", "completions")

    def judgments(self, row: Row, tally: Tally) -> Iterator[Judgment]:
        there = _ranked(row["completions"], "completions", ("completion", "rank"), tally)
        completions = [*there.values()]
        return every_two(
            self.asked(row),
            [response_text(c["completion"], f"{place}.completion") for place, c in there.items()],
            [-float(c["rank"]) for c in completions],
            "rank",
            beside(row, self.needs),
            [{k: v for k, v in c.items() if k != "completion"} for c in completions],
        )

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair, verdict = judgment.pair, _verdict(judgment)
        if verdict == "tie":
            raise LeftOut("tie")
        completions = [
            {"rank": rank, "completion": [{"role": "assistant", "content": text}]}
            for rank, text in zip(_RANKS[verdict], (pair.response_a, pair.response_b), strict=True)
        ]
        own = {"context": conversation(pair.prompt), "completions": completions}
        yield rest(judgment, own, used=("rank_1", "rank_2"))

    def prompt(self, row: Row) -> Prompt:
        return messages(row["context"], "context")


class KTO(Format):
    """TRL's unpaired preferences: prompt, completion, label (true for a desirable completion), as
    `trl.unpair_preference_dataset` writes them.

    Every true completion of a prompt is paired with every false one; completions without a counterpart are counted. The
    rows of a prompt may be anywhere in the file, so all go to a database in the folder for temporary files first, and
    the memory is that of one prompt's rows. Lossless, but for their order, where each prompt has one of both.
    """

    name = "kto"
    needs = ("prompt", "completion", "label")
    lost = "z (only which response is better), ties, unjudged pairs, which responses to one prompt were a pair"

    def fits(self, row: Row) -> bool:
        return super().fits(row) and row["label"] in (True, False)  # 1 and 0 are refused by name

    def read(self, rows: Iterable[tuple[str, Row]], tally: Tally) -> Iterator[Judgment]:
        with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(f"{folder}/rows")) as table:
            table.execute("PRAGMA journal_mode = OFF")
            table.execute("CREATE TABLE side (at INTEGER PRIMARY KEY, prompt TEXT, content TEXT)")
            for where, row in rows:
                prompt = None
                with tally.bad.at(where):
                    if "completion" in row and row["completion"] is None:
                        tally.unread[NULL_RESPONSE] += 1
                        continue
                    self.check(row)
                    if not isinstance(row["label"], bool):
                        raise ValueError(f"label is {shown(row['label'])}; expected true or false.")
                    # What no pair can be made of is found here, where its place is known.
                    completion = response_text(row["completion"], "completion")
                    asked = judged(self.asked(row), (completion, ""), 1.0, beside(row, self.needs)).pair.prompt
                    tally.kind.check(asked, where, row)
                    prompt = asked
                if prompt is not None:
                    values = prompt_hash(prompt), json.dumps(row, default=str)
                    table.execute("INSERT INTO side (prompt, content) VALUES (?, ?)", values)
            table.execute("CREATE INDEX prompts ON side (prompt)")
            found = table.execute(
                "SELECT prompt, content FROM side JOIN (SELECT prompt, min(at) AS first FROM side GROUP BY prompt) "
                "USING (prompt) ORDER BY first, at"
            )
            for _, group in itertools.groupby(found, key=lambda side: side[0]):
                yield from self._join([json.loads(content) for _, content in group], tally)

    def _join(self, group: list[Mapping[str, Any]], tally: Tally) -> Iterator[Judgment]:
        good = [row for row in group if row["label"]]
        bad = [row for row in group if not row["label"]]
        if not good or not bad:
            tally.unread["a completion without a counterpart"] += len(group)
        for one, other in itertools.product(good, bad):
            if one["completion"] == other["completion"]:
                tally.unread["a completion that is desirable in one row and not in another"] += 1
                continue
            first, second = beside(one, self.needs), beside(other, self.needs)
            both = {k: v for k, v in first.items() if k in second and second[k] == v}
            apart = ({k: v for k, v in each.items() if k not in both} for each in (first, second))
            extra = joined(of_each(*apart), both)
            sides = (response_text(one["completion"], "completion"), response_text(other["completion"], "completion"))
            yield judged(self.asked(one), sides, 1.0, extra)

    def rows(self, judgment: Judgment) -> Iterator[dict[str, Any]]:
        pair, first = preferred(judgment).pair, judgment.z == preferred(judgment).z
        for text, label in ((pair.response_a, True), (pair.response_b, False)):
            completion = [{"role": "assistant", "content": text}] if isinstance(pair.prompt, list) else text
            own = {"prompt": pair.prompt, "completion": completion, "label": label}
            yield joined(own, of_one(judgment, label == first))
