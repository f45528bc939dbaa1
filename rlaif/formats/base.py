"""What every format is made of: rows to judgments, judgments to rows, and a count of what could not be carried."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rlaif.files.sources import OneKind, require
from rlaif.records import Judgment, Label, Pair, Prompt

__all__ = [
    "Format",
    "LeftOut",
    "Row",
    "Tally",
    "agree",
    "beside",
    "compared",
    "fields_of",
    "judged",
    "number",
    "preferred",
    "rest",
    "said",
    "side",
    "turned",
]

Row = Mapping[str, Any]
# Columns of a source that are called like these would be taken for a judgment's own.
_OURS = {f.name for f in (*dataclasses.fields(Pair), *dataclasses.fields(Judgment))}


class LeftOut(Exception):  # noqa: N818 - not an error: it is counted
    """A judgment that a format has no words for; its text is the reason that is counted."""


@dataclass
class Tally:
    """What did not get through, and why. With `skip`, a malformed row is counted instead of ending the run."""

    skip: bool = False
    left_out: Counter[str] = field(default_factory=Counter)
    malformed: int = 0
    first_malformed: str | None = None
    kind: OneKind = field(default_factory=OneKind)  # strings or messages: one of them in a source

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """Puts the row's place before a ValueError, or counts the row."""
        try:
            yield
        except ValueError as error:
            if not self.skip:
                raise ValueError(f"{where}: {error}") from None
            self.malformed += 1
            self.first_malformed = self.first_malformed or f"{where}: {error}"


class Format:
    """One format. Subclasses say which columns a row must have, and turn a row to judgments and a judgment to rows.

    Attributes:
        name: what `--format` and `--source_format` call it.
        needs: columns that every row has and that are not null.
        has: columns that every row has and that may be null.
        lost: what its rows cannot say, for the report of an export.
        general: True where other formats have the same columns and more; such a one is detected only if no other fits.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    has: ClassVar[tuple[str, ...]] = ()
    lost: ClassVar[str] = "z (only which response is better), ties, unjudged pairs"
    general: ClassVar[bool] = False

    def fits(self, row: Row) -> bool:
        """Whether a row with these columns is of this format."""
        return all(column in row for column in (*self.needs, *self.has))

    def check(self, row: Row) -> None:
        """A ValueError where a column is missing or null."""
        require(row, self.needs, "the row")
        if missing := [column for column in self.has if column not in row]:
            require(row, missing, "the row")

    def read(self, rows: Iterable[tuple[str, Row]], tally: Tally) -> Iterator[Judgment]:
        """The judgments of rows with their places, one row in memory at a time."""
        for where, row in rows:
            found: list[Judgment] = []
            with tally.at(where):
                self.check(row)
                found = list(self.judgments(row, tally))
            for judgment in found:
                tally.kind.check(judgment.pair.prompt, where)
                yield judgment

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
        """The prompt of a row, whatever else the row says or lacks."""
        found: Prompt = row["prompt"]
        return found


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
    """The columns of a source that are not `used`, by names that are not ours."""
    return {f"source_{k}" if k in _OURS else k: v for k, v in row.items() if k not in {*used}}


def rest(judgment: Judgment, own: dict[str, Any], used: Iterable[str] = ()) -> dict[str, Any]:
    """A format's `own` columns, then what else the judgment's source said, by the source's names."""
    names = {k: k.removeprefix("source_") if k.removeprefix("source_") in _OURS else k for k in judgment.pair.extra}
    kept = {names[k]: v for k, v in judgment.pair.extra.items() if k not in {*used}}
    return {**own, **{k: v for k, v in kept.items() if k not in own}}


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
    z, _ = compared(*goods, what="rating")
    if z is None or side(z) != side(judgment.z):
        raise LeftOut("no ratings of this verdict are known")


def turned(pair: Pair) -> bool:
    """Whether the pair was swapped since it was read: ids are made from the responses in the source's order."""
    swapped = dataclasses.replace(pair.swap(), id="").id
    return pair.id.split("-")[0] == swapped and pair.response_a != pair.response_b


def side(z: float) -> Label:
    """Which response a z prefers."""
    return "tie" if z == 0.5 else "a" if z > 0.5 else "b"


def number(value: Any) -> float | None:
    """A rating as a number, also where it was written as text; None where it is none."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def compared(first: Any, second: Any, what: str) -> tuple[float | None, str | None]:
    """z by two ratings, of which the higher is the better; None and the reason where one is no number."""
    scores = number(first), number(second)
    if scores[0] is None or scores[1] is None:
        return None, f"{what} is {(first if scores[0] is None else second)!r}"
    return (scores[0] > scores[1]) + 0.5 * (scores[0] == scores[1]), None


def fields_of(value: Any, name: str, columns: Iterable[str]) -> Row:
    """`value` itself if it is a mapping with these columns, else a ValueError that says what `name` lacks."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} is {type(value).__name__}; expected an object with {', '.join(columns)}.")
    require(value, columns, name)
    return value
