"""What every format is made of: rows to judgments, judgments to rows, and a count of what could not be carried."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rlaif.config import UsageError
from rlaif.errors.words import one_of, shown
from rlaif.files.bad_rows import BadRows
from rlaif.files.conversations import (
    SYSTEM,
    TURNS,
    check_held,
    check_meaning,
    prompt_of,
    with_system,
)
from rlaif.files.pairs import SIDES, carried, joined
from rlaif.files.scores import finite_number, number
from rlaif.files.sources import OneKind, require
from rlaif.records import Judgment, Label, Pair, Prompt, check_prompt, check_text, says_nothing

__all__ = [
    "APART",
    "NULL_RESPONSE",
    "Format",
    "LeftOut",
    "Row",
    "Tally",
    "agree",
    "asked_in",
    "beside",
    "compared",
    "every_two",
    "fields_of",
    "judged",
    "no_response_is_null",
    "number",
    "of_each",
    "preferred",
    "present",
    "said",
    "side",
    "text_in",
    "texts_of",
    "turned",
]

Row = Mapping[str, Any]


NULL_RESPONSE = "a response is null"
APART = "the conversations differ before the last response"


class LeftOut(Exception):  # noqa: N818 - not an error: it is counted
    """What a format has no words for, or what is no pair; its text is the reason that is counted."""


@dataclass
class Tally:
    """What did not get through, and why.

    Attributes:
        bad: rows that cannot be read: the first one ends the run, or they are counted.
        unread: rows of the source, or responses in them, that make no pair.
        left_out: judgments that the format which is written cannot carry.
    """

    bad: BadRows = field(default_factory=BadRows)
    unread: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    kind: OneKind = field(default_factory=OneKind)  # strings or messages: one of them in a source


class Format:
    """One format. Subclasses say which columns a row must have, and turn a row to judgments and a judgment to rows.

    Attributes:
        name: what `--format` and `--source_format` call it.
        needs: columns that every row has and that are not null.
        has: columns that every row has and that may be null.
        responses: the columns of the responses, where each has one of its own; a row in which one is null is counted.
        called: its columns of what a pair calls model_a, model_b and so on, by those names, for the words of an error.
        lost: what its rows cannot say, for the report of an export.
        general: above 0 where other formats have the same columns and more: of those that fit, the least general one
            is meant.
        people: whether its verdicts are read as those of people or of a benchmark's makers, whoever gave them.
        names_judge: whether its rows say who judged.
        writes: False for a format that is only read: what its rows say beside the verdict is not known of another's.
        verdicts: what a row is judged by, where that is several things; the first one is z unless another is chosen.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    has: ClassVar[tuple[str, ...]] = ()
    responses: ClassVar[tuple[str, ...]] = ()
    called: ClassVar[Mapping[str, str]] = {}
    lost: ClassVar[str] = "z (only which response is better), ties, unjudged pairs"
    general: ClassVar[int] = 0
    people: ClassVar[bool] = False
    names_judge: ClassVar[bool] = False
    writes: ClassVar[bool] = True
    verdicts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, verdict: str | None = None) -> None:
        self.verdict = verdict or next(iter(self.verdicts), "")

    def by(self, verdict: str | None) -> Format:
        """The format with another verdict as z; a UsageError where its rows have none of that name."""
        if verdict is not None and verdict not in self.verdicts:
            choices = one_of(verdict, self.verdicts) if self.verdicts else "its rows have only one."
            raise UsageError(f"verdict is {verdict}, which {self.name} has not; {choices}")
        return type(self)(verdict)

    @property
    def not_carried(self) -> str:
        """What its rows cannot say."""
        if self.people:
            return f"{self.lost}, who judged (its rows are read as people's verdicts)"
        return self.lost if self.names_judge else f"{self.lost}, who judged"

    def fits(self, row: Row) -> bool:
        """Whether a row with these columns is of this format."""
        return all(column in row for column in (*self.needs, *self.has))

    def check(self, row: Row) -> None:
        """A ValueError where a column is missing or null, or says what text cannot carry."""
        require(row, self.needs, "the row")
        if missing := [column for column in self.has if column not in row]:
            require(row, missing, "the row")
        check_meaning(row, self.needs)

    def check_responses(self, row: Row) -> None:
        """A LeftOut where a response is null: what is there makes no pair."""
        no_response_is_null(row, self.responses)

    def read(self, rows: Iterable[tuple[str, Row]], tally: Tally) -> Iterator[Judgment]:
        """The judgments of rows with their places, one row in memory at a time.

        Raises:
            ValueError: a row is none of this format, with its place; `tally.bad` may take such rows instead.
        """
        for where, row in rows:
            found: list[Judgment] = []
            with tally.bad.at(where):
                here = dataclasses.replace(tally, unread=Counter())  # a row that is bad is counted as that alone
                try:
                    self.check_responses(row)
                    self.check(row)
                    made = list(self.judgments(row, here))
                except LeftOut as reason:
                    made, here.unread = [], Counter({str(reason): 1})
                except ValueError as error:
                    raise ValueError(self._in_own_words(str(error))) from None
                if made:
                    tally.kind.check(made[0].pair.prompt, where, row)
                tally.unread += here.unread
                found = made
            yield from found

    def _in_own_words(self, error: str) -> str:
        """What is wrong with a row, its column called as the source calls it."""
        name, space, rest = error.partition(" ")
        called = {**dict(zip(SIDES, self.responses if len(self.responses) == 2 else (), strict=False)), **self.called}
        return f"{called.get(name, name)}{space}{rest}"

    def write(self, judgments: Iterable[Judgment], tally: Tally) -> Iterator[dict[str, Any]]:
        """The judgments as rows; those that the format cannot carry are counted in the tally."""
        for judgment in judgments:
            try:
                yield from self.rows(judgment)
            except LeftOut as reason:
                tally.left_out[str(reason)] += 1

    def judgments(self, row: Row, tally: Tally) -> Iterable[Judgment]:
        """The judgments of one row."""
        raise NotImplementedError

    def rows(self, judgment: Judgment) -> Iterable[dict[str, Any]]:
        """The rows of one judgment."""
        raise NotImplementedError

    def prompt(self, row: Row) -> Prompt:
        """The prompt of a row, whatever else the row says or lacks, without the system turn of another column."""
        return prompt_of(row)

    def asked(self, row: Row) -> Prompt:
        """The prompt of a row behind the system turn of its own column."""
        return check_held(with_system(self.prompt(row), row), row)


def no_response_is_null(row: Row, columns: Iterable[str]) -> None:
    """A LeftOut where one of these columns is there and null."""
    if any(name in row and row[name] is None for name in columns):
        raise LeftOut(NULL_RESPONSE)


def present(entries: list[Any], name: str, column: str, tally: Tally) -> dict[str, Any]:
    """The entries of the list `name` of responses, by their places in it ("answers[2]"), without those that hold null
    in `column`, which are counted."""
    found = {
        f"{name}[{at}]": one
        for at, one in enumerate(entries)
        if not (isinstance(one, Mapping) and column in one and one[column] is None)
    }
    if len(found) < len(entries):
        tally.unread[NULL_RESPONSE] += len(entries) - len(found)
    return found


def text_in(value: Any, name: str, expected: str = "the response's text") -> str:
    """`value` itself if it is text, else a ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(value)}; expected {expected}.")
    return check_text(value, name)


def judged(
    prompt: Prompt,
    responses: tuple[Any, Any],
    z: float | None,
    extra: Row,
    *,
    reason: str | None = None,
    people: bool = False,
    judge: str | None = None,
    models: tuple[Any, Any] = (None, None),
) -> Judgment:
    """A judgment that a source holds. `people` marks a verdict of people or of a benchmark's makers: a label."""
    label = side(z) if people and z is not None else None
    pair = Pair(
        prompt=prompt,
        response_a=responses[0],
        response_b=responses[1],
        model_a=models[0],
        model_b=models[1],
        label=label,
        extra=extra,
    )
    return Judgment(pair=pair, z=z, reason=reason, judge="label" if label else judge)


def beside(row: Row, used: Iterable[str]) -> dict[str, Any]:
    """The columns of a source that are not `used`, by names that are not ours and that no prompt is read from; a system
    turn is in the prompt."""
    left = {*used, *SYSTEM}
    found = carried({k: v for k, v in row.items() if k not in left})
    return carried(found, {name for name in (*TURNS, "input", "context") if not says_nothing(found.get(name))})


def preferred(judgment: Judgment) -> Judgment:
    """The judgment turned so that response_a is the better one; ties and unjudged pairs have none."""
    if judgment.z is None:
        raise LeftOut("unjudged")
    if judgment.z == 0.5:
        raise LeftOut("tie")
    return judgment if judgment.z > 0.5 else judgment.swap()


def said(pair: Pair, first: str, second: str) -> tuple[Any, Any]:
    """What the source said of `response_a` and of `response_b`, in its columns for its first and second response."""
    found = pair.extra.get(first), pair.extra.get(second)
    return (found[1], found[0]) if turned(pair) else found


def agree(judgment: Judgment, goods: tuple[Any, Any]) -> None:
    """Leaves out a judgment whose side is not the one that the ratings of its responses take."""
    if judgment.z is None:
        raise LeftOut("unjudged")
    first, second = map(finite_number, goods)
    if first is None or second is None or side(0.5 + (first > second) / 2 - (first < second) / 2) != side(judgment.z):
        raise LeftOut("no ratings of this verdict are known")


def turned(pair: Pair) -> bool:
    """Whether the pair was swapped since it was read: ids are made from the responses in the source's order."""
    swapped = dataclasses.replace(pair.swap(), id="").id
    return pair.id.split("-")[0] == swapped and pair.response_a != pair.response_b


def side(z: float) -> Label:
    """Which response a z prefers."""
    return "tie" if z == 0.5 else "a" if z > 0.5 else "b"


def compared(first: Any, second: Any, what: str) -> tuple[float | None, str | None]:
    """z by two ratings, of which the higher is the better; None and the reason where one is not known."""
    scores = number(first, what), number(second, what)
    if scores[0] is None or scores[1] is None:
        return None, f"{what} is {shown(first if scores[0] is None else second)}"
    return (scores[0] > scores[1]) + 0.5 * (scores[0] == scores[1]), None


def every_two(
    prompt: Prompt, texts: list[Any], goods: list[Any], what: str, shared: Row, each: Sequence[Row], **of: Any
) -> Iterator[Judgment]:
    """Every two of some responses, in order. `goods` are higher where better; `each` is what is said of each one."""
    models = of.pop("models", [None] * len(texts))
    for i, j in itertools.combinations(range(len(texts)), 2):
        z, reason = compared(goods[i], goods[j], what)
        extra = joined(of_each(each[i], each[j]), shared)
        yield judged(prompt, (texts[i], texts[j]), z, extra, reason=reason, models=(models[i], models[j]), **of)


def of_each(first: Row, second: Row) -> dict[str, Any]:
    """What is said of each of two responses, as `<column>_1` and `<column>_2`."""
    return {f"{k}_1": v for k, v in first.items()} | {f"{k}_2": v for k, v in second.items()}


def fields_of(value: Any, name: str, columns: Iterable[str]) -> Row:
    """`value` itself if it is a mapping with these columns, else a ValueError that says what `name` lacks."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is {shown(value)}; expected an object with {', '.join(columns)}.")
    require(value, columns, name)
    return value


def asked_in(row: Row, column: str) -> Prompt:
    """The prompt that a column holds, a text or messages; the ValueError calls it by its name."""
    try:
        return check_prompt(row[column])
    except ValueError as error:
        raise ValueError(f"{column}{str(error).removeprefix('prompt')}") from None


def texts_of(value: Any, name: str, least: int = 1) -> list[str]:
    """`value` itself if it is a list of at least so many texts, else a ValueError."""
    if not isinstance(value, list) or len(value) < least or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{name} is {shown(value)}; expected a list of {least} or more texts.")
    return [check_text(text, f"{name}[{at}]") for at, text in enumerate(value)]
