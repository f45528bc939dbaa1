"""What `rlaif` gives to Python: the commands as functions. `import rlaif` loads none of it until it is used.

    import rlaif

    judge = rlaif.load_judge("Qwen/Qwen3-8B")                    # or a YAML, an endpoint, a function
    judgments = rlaif.judge(pairs, judge, store="runs/mine")     # pairs may be dicts
    rlaif.build(judgments, "runs/mine/preferences")

Everything works in a script and in a notebook cell, whose event loop is left alone.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import time
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, overload

from rlaif.commands.build import build as build_dataset
from rlaif.commands.judge import JudgeReport, column_of, write_judgments
from rlaif.commands.sample import SampleConfig, sample_pairs, split_rows
from rlaif.errors.words import did_you_mean, kind_of, nearest, shown
from rlaif.files.bad_rows import BadRows
from rlaif.files.conversations import responses_of
from rlaif.files.ownership import claim_store
from rlaif.files.pairs import pair_of
from rlaif.files.rows import check_values
from rlaif.files.selection import BuildConfig
from rlaif.files.sources import OneKind, distinct_placed, placed_prompt_rows, prompt_row, say_differing, stream_pairs
from rlaif.files.store import Store
from rlaif.files.tables import rows_of_frame, without_nan, without_numpy
from rlaif.files.votes import refuse_older
from rlaif.judging.ask import answers
from rlaif.judging.method import Counts
from rlaif.judging.pairwise import Pairwise
from rlaif.judging.rating import RatingMethod
from rlaif.judging.settings import AnyJudge, JudgeSettings, ModelSettings
from rlaif.judging.settings import load_judge as judge_of
from rlaif.judging.settings import load_rater as rater_of
from rlaif.models.parallel import is_main, wait_for_everyone
from rlaif.records import Judgment, Pair, Prompt, Rating, Response
from rlaif.settings_checks import settings_of

__all__ = ["Judgments", "build", "judge", "load_judge", "load_rater", "rate", "sample"]

Made = TypeVar("Made")
P = ParamSpec("P")
R = TypeVar("R")


def _named(function: Callable[P, R]) -> Callable[P, R]:
    """Refuses a name that the function does not take, as every program does, with the closest one that it does."""
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                raise ValueError(_unknown(function.__name__, name, known))
        return function(*args, **kwargs)

    return checked


def _unknown(function: str, name: str, known: Sequence[str]) -> str:
    of_judge = [f.name for kind in (JudgeSettings, ModelSettings) for f in dataclasses.fields(kind)]
    if not nearest(name, known) and (near := nearest(name, of_judge)):
        return (
            f"{name!r} is not a setting of rlaif.{function}; the judge has {near[0]!r}: load_judge(..., {near[0]}=...)."
        )
    return f"{name!r} is not a setting of rlaif.{function}; {did_you_mean(name, known, known_as='known are')}"


def load_judge(judge: AnyJudge, **settings: Any) -> Pairwise:
    """A judge of pairs.

    Args:
        judge: a model (folder or Hub id), a judge's YAML file or the mapping in one, "package.module:function", a
            function that takes (prompt, first, second) and returns P(first is better), or, with `base_url`, an
            endpoint's model name.
        settings: what would stand in the YAML: `template`, `orders`, `samples`, `combine`, `temperature`,
            `max_tokens`, and of the model `base_url`, `api_key_env`, `dtype`, `extra_body`, ... (`ModelSettings`).

    Raises:
        ValueError: there is no such judge or setting.
    """
    return judge_of(judge, **settings)


def load_rater(judge: AnyJudge, **settings: Any) -> RatingMethod:
    """A judge of single responses, as `load_judge`; a function takes (prompt, response). `scale` may be "1-10", say.

    Raises:
        ValueError: there is no such judge, setting or scale.
    """
    return rater_of(judge, **settings)


class Judgments(Sequence[Judgment]):
    """The judgments on some pairs, in their order: in memory, or read from their file when they are looked at.

    They stay what they are when the folder is judged into again.

    Attributes:
        folder: where they are kept, as `rlaif judge` writes it; None for judgments in memory.
        report: every number about the judge that they give (agreement with the pairs' labels, position consistency,
            label mass, what was left out and why), as in report.json.
    """

    def __init__(
        self, report: Mapping[str, Any], judgments: Sequence[Judgment] = (), folder: Path | None = None
    ) -> None:
        self.folder = folder
        self.report = report
        self._judgments = judgments
        self._offsets = array("Q")
        self._file: IO[bytes] | None = None
        if folder is not None:
            offset = 0
            self._file = (folder / "judgments.jsonl").open("rb")  # a later run puts another file in its place
            weakref.finalize(self, self._file.close)
            for line in self._file:
                self._offsets.append(offset)
                offset += len(line)

    def __len__(self) -> int:
        return len(self._judgments) if self._file is None else len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Judgment: ...

    @overload
    def __getitem__(self, index: slice) -> list[Judgment]: ...

    def __getitem__(self, index: int | slice) -> Judgment | list[Judgment]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if self._file is None:
            return self._judgments[index]
        self._file.seek(self._offsets[index])
        return Judgment.from_row(json.loads(self._file.readline()))

    def __iter__(self) -> Iterator[Judgment]:
        return (self[at] for at in range(len(self)))

    def __repr__(self) -> str:
        where = "in memory" if self.folder is None else f"in {self.folder}"
        return f"<{len(self)} judgments {where}, {self.report.get('unjudged', 0)} unjudged>"


@_named
def judge(
    pairs: str | Path | Iterable[Pair | Mapping[str, Any]],
    judge: Pairwise | AnyJudge,
    *,
    store: str | Path | None = None,
    by: str | None = None,
    retry_unjudged: bool = False,
    on_bad_row: str = "stop",
) -> Judgments:
    """Judges pairs, each in both orders: z = P(response_a is preferred).

    Args:
        pairs: a source as `rlaif judge --pairs` takes it, or pairs: `Pair`s or dicts with `prompt`, `response_a`,
            `response_b` and, if they have them, `id`, `label`, `model_a`, `model_b`; other keys are carried along. A
            data frame of them is taken too; what is missing there (NaN) is null.
        judge: from `load_judge`, or what that takes.
        store: folder that keeps everything, as `rlaif judge` writes it: what it holds is not asked for again, and a
            run that was interrupted goes on. None keeps nothing.
        by: a column; the report then has numbers for each of its values.
        retry_unjudged: ask once more, with the next sample, for what was answered but could not be read.
        on_bad_row: "skip" leaves out pairs that are none, and counts them in the report's ledger.

    Raises:
        ValueError: a pair is not as expected (all are looked at before the first is asked about), or nothing can be had
            from the judge. A pair that could not be judged is a judgment without z, with the reason.
    """
    if isinstance(judge, RatingMethod):
        raise ValueError("judge is a judge of single responses, from load_rater; expected one of pairs (load_judge).")
    if not isinstance(retry_unjudged, bool):
        raise ValueError(f"retry_unjudged is {retry_unjudged!r}; expected True or False.")
    _check_folder("store", store)
    method = judge if isinstance(judge, Pairwise) else load_judge(judge)
    if retry_unjudged:
        method = dataclasses.replace(method, question=dataclasses.replace(method.question, retry=True))
    source: list[str | Path] = []
    bad = BadRows(on_bad_row)
    items: Callable[[], Iterable[Pair]]
    if isinstance(pairs, str | Path):
        source, path = [pairs], pairs
        total = sum(1 for _ in stream_pairs(path, bad=bad))  # every row is looked at here, and not again
        items = lambda: stream_pairs(path, bad=bad, checked=True)  # noqa: E731
    else:
        rows = _pairs(pairs, bad)
        items, total = lambda: rows, len(rows)
    if by is not None and not any(column_of(pair, by) is not None for pair in items()):
        raise ValueError(f"by is {by!r}, which no pair has; expected a column of the pairs.")
    if store is not None:
        start = time.perf_counter()
        clock = lambda: time.perf_counter() - start  # noqa: E731
        read = {"pairs": str(source[0]) if source else None, "output": str(store), "by": by}
        report = write_judgments(store, method, items, total, by=by, clock=clock, settings=read, inputs=source, bad=bad)
        wait_for_everyone()  # the main process writes, and all read
        return Judgments(report, folder=Path(store).absolute())
    bad.say(None)
    numbers, judgments, counts = JudgeReport(by), [], Counts()
    with Store(None) as kept:
        for comparison in answers(method, items, kept, total=total, label="judging", counts=counts):
            numbers.add(comparison)
            judgments.append(comparison.judgment)
    numbers.warn(method, total)
    return Judgments({**numbers.report(bad), "votes_asked": counts.asked, "votes_reused": counts.reused}, judgments)


def _pairs(rows: Iterable[Pair | Mapping[str, Any]], bad: BadRows) -> list[Pair]:
    """Rows as pairs with distinct ids."""
    ids: set[str] = set()

    def made(row: Any, where: str) -> tuple[Prompt, Pair]:
        if not isinstance(row, Pair | Mapping):
            raise ValueError(f"it is {kind_of(row)} ({shown(row, 40)}); expected a Pair or a dict.")
        pair = row if isinstance(row, Pair) else pair_of(_checked(row, where, bad))
        check_values(pair.row())
        if pair.id in ids:
            raise ValueError(f"the id is {shown(pair.id)}, which an earlier one has already; expected distinct ids.")
        ids.add(pair.id)
        return pair.prompt, pair

    return _usable(rows, bad, made, "pair")


def _usable(
    rows: Iterable[Any], bad: BadRows, made: Callable[[Any, str], tuple[Prompt, Made]], what: str
) -> list[Made]:
    """What is `made` of each row in memory; their prompts are of one kind. A row's place is its number, from 0."""
    given = rows_of_frame(rows)
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise ValueError(f"got {kind_of(given)} ({shown(given, 40)}); expected a list of {what}s.")
    kind, found = OneKind(), []
    for at, row in enumerate(given):
        where = f"{what} {at}"
        with bad.at(where):
            try:
                prompt, one = made(row, where)
            except RecursionError:
                raise ValueError("it is nested too deep, or holds itself; expected what JSON can hold.") from None
            kind.check(prompt, where)
            found.append(one)
    if bad.rows and not found:
        raise ValueError(f"no {what} is left; the first bad one: {bad.first}")
    return found


def _checked(row: Mapping[str, Any], where: str, bad: BadRows) -> dict[str, Any]:
    """A row's columns as plain values that can be written."""
    found = without_nan(without_numpy(row), where, bad)
    check_values(found)
    return found


@_named
def rate(
    responses: Iterable[Response | Mapping[str, Any] | tuple[Prompt, str]],
    judge: RatingMethod | AnyJudge,
    *,
    store: str | Path | None = None,
) -> list[Rating]:
    """Rates single responses: the expected number of the judge's scale, 0 to 9 by default.

    Args:
        responses: `Response`s, (prompt, response) tuples, or dicts with `prompt` and `response`.
        judge: from `load_rater`, or what that takes.
        store: folder that keeps the replies; None keeps nothing.

    Raises:
        ValueError: a response is not as expected (all are looked at before the first is asked about), nothing can be
            had from the judge, or the store is none. A response that could not be rated has no rating, with the reason.
    """
    if isinstance(judge, Pairwise):
        raise ValueError("judge is a judge of pairs, from load_judge; expected one of single responses (load_rater).")
    _check_folder("store", store)
    method = judge if isinstance(judge, RatingMethod) else load_rater(judge)
    bad = BadRows()
    rows = _usable(responses, bad, lambda row, where: _response(row, where, bad), "response")
    bad.say()
    with _in_use(store, "rlaif.rate"), Store(store) as kept:
        return list(answers(method, lambda: rows, kept, total=len(rows), label="rating"))


def _check_folder(name: str, folder: Any, needed: bool = False) -> None:
    """A ValueError for what is no path; `needed`: None is none either."""
    if (folder is None and not needed) or (isinstance(folder, str | Path) and str(folder).strip()):
        return
    raise ValueError(f"{name} is {shown(folder, 40)}; expected a folder.")


@contextmanager
def _in_use(store: str | Path | None, what: str) -> Iterator[None]:
    """Makes a folder the store of what is asked, where there is one."""
    if store is None:
        yield
        return
    refuse_older(store)
    with claim_store(store, what):
        yield


def _response(row: Any, where: str, bad: BadRows) -> tuple[Prompt, Response]:
    if isinstance(row, Mapping):
        prompt, (text,) = responses_of(_checked(row, where, bad), ("response",))
        return prompt, Response(prompt, text)
    if isinstance(row, tuple) and len(row) == 2:
        row = Response(*row)
    if not isinstance(row, Response):
        raise ValueError(f"it is {shown(row)}; expected (prompt, text), or a dict of them.")
    return row.prompt, row


def build(
    judgments: Judgments | Iterable[Judgment] | str | Path, output: str | Path, **settings: Any
) -> dict[str, Any]:
    """A preference dataset from judgments: `rlaif build`, whose report it returns.

    Args:
        judgments: from `judge`, or a folder or file of judgments. Those in memory are written to
            `output`/judgments.jsonl first.
        output: the dataset's folder.
        settings: `tie_band`, `min_confidence`, `test`, `validation`, ... (`rlaif build --help`).

    Raises:
        ValueError: a setting or a judgment is not as expected, no preference is left, or the output holds what
            `rlaif build` did not write. An older dataset there is as it was then.
    """
    _check_folder("output", output, needed=True)
    source: str | None
    given: Iterable[Judgment] | None = None
    if isinstance(judgments, str | Path):
        source = str(judgments)
    elif isinstance(judgments, Judgments) and judgments.folder is not None:
        source = str(judgments.folder)
    else:
        source, given = None, _judgments(judgments)
    own = {"judgments": source, "output": str(output)}
    config = settings_of(BuildConfig, without_numpy(settings), "rlaif.build", own)
    report = build_dataset(config, given) if is_main() else {}
    wait_for_everyone()
    return report


def _judgments(judgments: Iterable[Judgment]) -> Iterable[Judgment]:
    """Judgments in memory, each looked at; a ValueError for what is none."""
    if isinstance(judgments, Mapping) or not isinstance(judgments, Iterable):
        raise ValueError(f"got {kind_of(judgments)} ({shown(judgments, 40)}); expected judgments, or their folder.")
    at = -1
    for at, judgment in enumerate(judgments):
        if not isinstance(judgment, Judgment):
            raise ValueError(
                f"judgment {at} is {kind_of(judgment)} ({shown(judgment, 40)}); expected a Judgment. Rows of judgments "
                "are read from a file."
            )
        yield judgment
    if at < 0:
        raise ValueError("got no judgments; expected at least one.")


def sample(
    prompts: str | Path | Sequence[Prompt | Mapping[str, Any]],
    policy: str,
    *,
    store: str | Path | None = None,
    **settings: Any,
) -> list[Pair]:
    """Candidate pairs: each prompt answered by a policy, and pairs formed of different answers.

    Args:
        prompts: a source as `rlaif sample --prompts` takes it, or prompts: texts, messages, or dicts that have a
            `prompt`; their other keys are carried along.
        policy: folder or Hub id of a causal LM or, with `base_url`, an endpoint's model name.
        store: folder that keeps the replies; None keeps nothing.
        settings: `policy_b`, `samples`, `temperature`, `top_p`, `max_new_tokens`, ... (`rlaif sample --help`);
            `on_bad_row="skip"` leaves out prompts that are none, and says how many.

    Raises:
        ValueError: a setting, a prompt, or a store that is not as expected.
    """
    _check_folder("store", store)
    if not isinstance(policy, str | Path) or not str(policy).strip():
        raise ValueError(f"policy is {shown(policy, 40)}; expected a folder, a Hub id or an endpoint's model name.")
    own = {"prompts": "in memory", "policy": str(policy), "output": None if store is None else str(store)}
    config = settings_of(SampleConfig, without_numpy(settings), "rlaif.sample", own)
    bad = BadRows(config.on_bad_row)
    if isinstance(prompts, str | Path):
        found = distinct_placed(placed_prompt_rows(prompts, config.split, config.config_name, bad))
    else:
        if config.split is not None or config.config_name is not None:
            raise ValueError(
                f"split is {config.split!r} and config_name {config.config_name!r}, and the prompts are in memory; "
                "expected both for a source alone: a file, a folder or a Hub id."
            )
        rows = _usable(prompts, bad, lambda row, where: _prompt_row(row, where, bad), "prompt")
        found = distinct_placed((f"prompt {at}", row) for at, row in enumerate(rows))
    bad.say(None)
    say_differing(found)
    asked, columns = split_rows(found.rows[: config.limit])  # each once
    with _in_use(store, "rlaif.sample"):
        return sample_pairs(config, asked, columns=columns, places=found.places[: config.limit])[0]


def _prompt_row(prompt: Any, where: str, bad: BadRows) -> tuple[Prompt, dict[str, Any]]:
    """A prompt, or a dict that has one, as a row of it and the other columns."""
    row = prompt_row(_checked(prompt if isinstance(prompt, Mapping) else {"prompt": prompt}, where, bad))
    return row["prompt"], row
