"""Toy methods through the one engine: killed anywhere, by one process and two, streamed, deferred and in batches."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import forks, rlaif_env
from support.toys import (
    ByRating,
    Cascade,
    Deferred,
    Direct,
    Local,
    Panel,
    Rated,
    Reference,
    Spec,
    Streamed,
    TwoRounds,
    logged,
    p_first,
    plain,
    raw_keys,
    said,
    shown,
    some_pairs,
)

from rlaif.files.store import Store
from rlaif.judging import drive as engine
from rlaif.judging.ask import answers, ask_here
from rlaif.judging.method import Ask, Counts, gather
from rlaif.judging.pairwise import Comparison, Pairwise
from rlaif.judging.prompts import TEMPLATES
from rlaif.judging.question import Question
from rlaif.models.base import UNASKED, Call, Reply
from rlaif.models.function import function_model
from rlaif.records import Order, Pair, Vote


def toys(folder: Path, specs: Sequence[Spec], count: int = 1) -> list[list[dict[str, Any]]]:
    """Runs the specs in processes of their own; what became of each (`toys.swept`)."""
    written, out = folder / "specs.json", folder / "runs.json"
    written.write_text(json.dumps([dataclasses.asdict(spec) for spec in specs]))
    if any(spec.sweep for spec in specs):  # by a small process: what forks a hundred times is quicker the smaller it is
        command = [sys.executable, "-m", "support.toys", str(written), str(out)]
        started = [subprocess.run(command, capture_output=True, text=True, env=rlaif_env())]
    else:
        started = forks.side_by_side(written, out, program="support.toys", count=count)
    for done in started:
        assert done.returncode == 0, done.stderr
    return json.loads(out.read_text()) if out.exists() else []


def values_of(spec: Spec, rank: int = 0) -> dict[str, Any]:
    return json.loads((Path(spec.folder) / f"values-{rank}.json").read_text())


def flat(batches: Sequence[Sequence[str]]) -> list[str]:
    return [key for batch in batches for key in batch]


def answered(method: Any, items: Sequence[Any], folder: Path | None, **options: Any) -> tuple[list[Any], Counts]:
    """The values as JSON, and the counts."""
    counts = Counts()
    with Store(folder) as store:
        return [plain(value) for value in answers(method, lambda: items, store, counts=counts, **options)], counts


# Killed anywhere ------------------------------------------------------------------------------------------------------

Way = tuple[str, str, str, str, int]
WAYS: list[Way] = [
    ("samples", "local", "local", "some_pairs", 4),
    ("samples", "streamed", "streamed", "some_pairs", 3),
    ("two_rounds", "local", "local", "some_pairs", 6),
    ("two_rounds", "streamed", "streamed", "pairs_again", 3),
    ("two_rounds", "deferred", "deferred", "some_pairs", 6),
    ("reference", "streamed", "streamed", "some_pairs", 4),
    ("two_rounds", "mixing", "mixing", "some_pairs", 6),
    ("panel", "local", "local", "pairs_again", 3),
    ("panel", "streamed", "streamed", "some_pairs", 3),
    ("panel", "local", "streamed", "some_pairs", 3),
    ("panel", "streamed", "deferred", "some_pairs", 4),
    ("cascade", "local", "local", "some_pairs", 6),
    ("cascade", "streamed", "streamed", "some_pairs", 4),
    ("cascade", "local", "streamed", "some_pairs", 4),
    ("all_pairs", "local", "local", "some_groups", 3),
    ("all_pairs", "streamed", "streamed", "some_groups", 2),
    ("all_pairs", "local", "streamed", "some_groups", 2),
    ("ranking", "local", "local", "some_groups", 7),
    ("ranking", "streamed", "streamed", "some_groups", 6),
    ("rating", "local", "local", "some_responses", 10),
    ("rating", "streamed", "streamed", "some_responses", 6),
]
IN_FLIGHT = 3  # a batch of the local toy, the calls at once of the streamed one


@pytest.fixture(scope="module")
def sweeps(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Way, tuple[Spec, Any]]:
    """Of each way that is to be tested: what is run, and what became of it. One process runs them all."""
    folder = tmp_path_factory.mktemp("sweeps")
    wanted = [item for item in request.session.items if "sweeps" in getattr(item, "fixturenames", ())]
    ways: list[Way] = [item.callspec.params["way"] for item in wanted]  # type: ignore[attr-defined]
    specs = [
        Spec(str(folder / f"whole-{number}"), method, (first, second), items, count, sweep=True)
        for number, (method, first, second, items, count) in enumerate(ways)
    ]
    return dict(zip(ways, zip(specs, toys(folder, specs), strict=True), strict=True))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way[:3]))
def test_killed_anywhere_it_ends_with_the_same_values_and_asks_only_the_rest(
    way: Way, sweeps: dict[Way, tuple[Spec, Any]]
) -> None:
    kinds = way[1:3]
    whole, (_, *killed) = sweeps[way]
    keys = flat(logged(whole.log))
    assert len(keys) == len(set(keys))
    assert sorted(raw_keys(whole.folder)) == sorted(keys)
    assert values_of(whole)["asked"] == len(keys)
    names = {line.split()[1] for line in whole.log.read_text().splitlines()}
    in_flight = IN_FLIGHT * (len(names) if set(kinds) == {"streamed"} else 1)  # a sweep asks one model at a time

    kills, extra = Counter[str](), 0
    for one in killed:
        spec, runs, (n, when) = dataclasses.replace(whole, folder=one["folder"]), one["runs"], one["deaths"]
        died = sum(run["killed"] for run in runs)
        kills[when] += died
        assert values_of(spec)["values"] == values_of(whole)["values"], (n, when)
        # Nothing is stored twice.
        assert sorted(raw_keys(spec.folder)) == sorted(keys)
        # Nothing is asked but what the undisturbed run asks, and again only what was in flight.
        began = flat(flat([run["asked"] for run in runs]))  # type: ignore[arg-type]
        assert set(began) == set(keys)
        extra += len(began) - len(keys)
        assert len(began) <= len(keys) + died * in_flight
        for run in runs:
            for batch in run["asked"]:
                assert not set(batch) <= set(run["stored"])
        last = values_of(spec)
        assert last["asked"] == len(keys) - len(runs[-1]["stored"])
        assert (last["reused"] > 0) == (len(runs[-1]["stored"]) > 0)
        if kinds[1] == "deferred":  # a ticket that was handed out is waited for
            handed = [key for run in runs for batch in run["asked"] if len(batch) > 1 for key in batch]
            assert len(handed) == len(set(handed))
    assert all(kills[when] > 3 for when in ("asked", "stored", "torn")), kills
    assert {"local", "mixing"}.isdisjoint(kinds) or kills["noted"]
    assert "deferred" not in kinds or kills["polled"] > 2
    print(f"\n{way[:3]}: {len(keys)} calls; {sum(kills.values())} kills in {len(killed)} runs, {extra} asked again")


def tear(folder: Path, rows: int) -> None:
    """Cuts the store's one file in the middle of a row, after so many whole ones."""
    (path,) = (folder / "replies").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    at = [number for number, line in enumerate(lines) if line.startswith(b'{"key"')][rows]
    path.write_bytes(b"".join(lines[:at]) + lines[at][:40])


@pytest.mark.parametrize("rows", [1, 2, 4, 11, 13])
def test_a_torn_batch_is_computed_again_as_it_was(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy's replies depend on the composition of their batch, as a real model's do in the last digit."""
    items = some_pairs(6)  # 12 calls a round, 3 a batch

    def judged(name: str) -> list[Any]:
        return answered(TwoRounds(Local("a", tmp_path / f"asked-{name}", mixes=True)), items, tmp_path / name)[0]

    whole = judged("whole")
    assert judged("noted") == whole
    tear(tmp_path / "noted", rows)
    (tmp_path / "asked-noted").unlink()
    assert judged("noted") == whole
    again = flat(logged(tmp_path / "asked-noted"))
    assert len(again) == 24 - rows // 3 * 3
    assert len(raw_keys(tmp_path / "noted")) == 24  # what was there is not stored once more
    # The test can fail: without the notes it does.
    monkeypatch.setattr(Store, "begin", lambda self, batches: None)
    assert judged("bare") == whole
    tear(tmp_path / "bare", rows)
    assert judged("bare") != whole


def test_a_call_of_two_batches_that_were_begun_is_stored_and_read_once(tmp_path: Path) -> None:
    """As two killed runs leave them, the second of which asked about other items."""
    method = Direct(Local("a", mixes=True))
    items = some_pairs(2)
    a, b, c, _ = [call.key for item in items for call in next(method.ask(item))]
    with Store(tmp_path) as store:
        store.begin([[a, b]])
        store.begin([[b, c]])
        store._answered = True  # a run that is killed takes no notes with it
    values, counts = answered(method, items, tmp_path)
    assert counts.asked == len(raw_keys(tmp_path)) == 4
    assert answered(method, items, tmp_path, ask=False)[0] == values


# What was paid for stays ----------------------------------------------------------------------------------------------

MODELS: dict[str, Callable[..., Any]] = {"local": Local, "streamed": Streamed}
both_kinds = pytest.mark.parametrize("kind", ["local", "streamed"])


@both_kinds
def test_a_panel_over_its_members_store_asks_nothing(kind: str, tmp_path: Path) -> None:
    a, b = MODELS[kind]("a", tmp_path / "asked"), MODELS["local"]("b", tmp_path / "asked")
    members, items = (Direct(a), TwoRounds(b), Direct(b)), some_pairs(5)
    alone = [answered(member, items, tmp_path) for member in members]
    assert [counts.asked for _, counts in alone] == [10, 20, 10]
    (tmp_path / "asked").unlink()
    values, counts = answered(Panel(members), items, tmp_path)
    assert (counts.asked, counts.reused, logged(tmp_path / "asked")) == (0, 40, [])
    for number, (_, votes) in enumerate(values):
        assert votes == [vote for comparisons, _ in alone for vote in comparisons[number][1]]


@both_kinds
def test_more_samples_cost_the_difference(kind: str, tmp_path: Path) -> None:
    model, items = MODELS[kind]("a", tmp_path / "asked"), some_pairs(4)
    three, counts = answered(Direct(model, samples=3), items, tmp_path)
    assert counts.asked == 4 * 2 * 3
    five, counts = answered(Direct(model, samples=5), items, tmp_path)
    assert (counts.asked, counts.reused) == (4 * 2 * 2, 4 * 2 * 3)
    assert len(flat(logged(tmp_path / "asked"))) == 4 * 2 * 5
    for (_, old), (_, new) in zip(three, five, strict=True):
        assert len({vote["key"] for vote in new}) == 10
        assert [vote for vote in new if vote["sample"] < 3] == old


@both_kinds
def test_a_grown_list_asks_only_for_the_new_items(kind: str, tmp_path: Path) -> None:
    method, items = TwoRounds(MODELS[kind]("a")), some_pairs(9)
    few, counts = answered(method, items[2:6], tmp_path)
    assert (counts.asked, counts.reused) == (16, 0)
    many, counts = answered(method, items, tmp_path)
    assert (counts.asked, counts.reused) == (20, 16)
    assert many[2:6] == few
    assert many == answered(method, items, None)[0]


def test_two_methods_on_one_open_store_count_what_each_takes() -> None:
    model, items, counts = Local("a"), some_pairs(3), [Counts(), Counts(), Counts()]
    with Store(None) as store:
        list(answers(Direct(model), lambda: items, store, counts=counts[0]))
        list(answers(Direct(model, samples=2), lambda: items, store, counts=counts[1]))
        list(answers(Direct(model), lambda: items, store, counts=counts[2]))
    assert counts == [Counts(6, 0), Counts(6, 6), Counts(0, 6)]


class Certain(Direct):
    """Another parser: what is likelier is certain."""

    def read(self, reply: Reply) -> tuple[float | None, str | None]:
        p, reason = p_first(reply)
        return (None if p is None else float(p > 0.5)), reason


class AsksAgain(Direct):
    """A method that also wants a second opinion where the first is near 0.5."""

    def vote(self, pair: Pair, order: Order, sample: int) -> Ask[Vote]:
        (reply,) = yield [self.verdict(shown(pair, order), sample=sample)]
        p, _ = p_first(reply)
        if p is not None and abs(p - 0.5) < 0.05:
            (reply,) = yield [self.verdict(shown(pair, order), sample=sample + 1000)]
        return self.voted(pair, order, sample, reply)


@both_kinds
def test_another_parser_reads_4_000_replies_without_a_call(kind: str, tmp_path: Path) -> None:
    items = some_pairs(2000)
    model = MODELS[kind]("a", tmp_path / "asked")
    with Store(tmp_path) as store:  # what asking leaves, without the asking
        keys = [call.key for item in items for call in next(Direct(model).ask(item))]
        store.append(said(key, ("1", "2")).row() for key in keys)
    begin = time.perf_counter()
    certain, counts = answered(Certain(model), items, tmp_path, ask=False)
    print(f"\n{kind}: {counts.reused} replies read in {time.perf_counter() - begin:.2f} s")
    assert (counts.asked, counts.reused) == (0, 4_000)
    p = [p_first(said(key, ("1", "2")))[0] or 0.0 for key in keys]
    assert [vote["p_first"] for _, votes in certain for vote in votes] == [float(value > 0.5) for value in p]

    # A method that wants a call which nobody paid for says so, and where it does not it has its value.
    again, counts = answered(AsksAgain(model), items[:500], tmp_path, ask=False)
    near = [abs(value - 0.5) < 0.05 for value in p[:1000]]
    assert 10 < sum(near) < 200
    votes = [vote for _, votes in again for vote in votes]
    assert [vote["p_first"] is None for vote in votes] == near
    reasons = {vote["reason"] for vote in votes if vote["p_first"] is None}
    assert reasons == {"not asked: no reply to this call is stored"}
    for judgment, votes in again:
        assert (judgment["z"] is None) == any(vote["p_first"] is None for vote in votes)
        assert judgment["z"] is not None or "not asked" in judgment["reason"]
    assert logged(tmp_path / "asked") == []
    assert len(raw_keys(tmp_path)) == 4_000  # and nothing is stored that nobody said


def test_a_call_for_the_store_alone_is_never_put_to_a_model() -> None:
    class OnlyStored(Direct):
        def vote(self, pair: Pair, order: Order, sample: int) -> Ask[Vote]:
            call = dataclasses.replace(self.verdict(shown(pair, order)), stored_only=True)
            (reply,) = yield [call]
            assert (reply.finish == UNASKED) != asked
            return self.voted(pair, order, sample, reply)

    for model in (Local("a"), Streamed("a")):
        with Store(None) as store:
            for asked in (False, True):
                values = ask_here(OnlyStored(model), some_pairs(2), store)
                assert [value.judgment.z is not None for value in values] == [asked] * 2
                ask_here(Direct(model), some_pairs(2), store)


class Batch(Deferred):
    """Ends the run at its first look, if it is told to; brings all replies but `loses`."""

    ends = False
    loses = ""

    def poll(self, ticket: str) -> list[Reply] | None:
        if self.ends:
            raise KeyboardInterrupt
        replies = super().poll(ticket)
        return replies and [reply for reply in replies if reply.key != self.loses]


def test_a_ticket_is_waited_for_whatever_else_is_asked_by_then(tmp_path: Path) -> None:
    items = some_pairs(5)
    model = Batch("a", tmp_path / "asked")
    model.ends = True
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            answered(Direct(model), items[1:4], tmp_path)
    model.ends = False
    (tmp_path / "replies" / "ticket-gone.json").symlink_to("nowhere")  # as another process takes its own away
    values, counts = answered(Direct(model), items, tmp_path)
    assert values == answered(Direct(Batch("a", tmp_path / "once")), items, None)[0]
    assert counts.asked == 10
    assert [len(batch) for batch in logged(model.log)] == [6, 4]
    assert [path.name for path in (tmp_path / "replies").glob("ticket*")] == ["ticket-gone.json"]


def test_what_a_deferred_batch_comes_back_without_is_handed_over_anew(tmp_path: Path) -> None:
    items = some_pairs(2)
    model = Batch("a", tmp_path / "asked")
    model.loses = next(Direct(model).ask(items[1]))[0].key
    ((first, _), (second, _)), counts = answered(Direct(model), items, tmp_path)
    assert (first["reason"], second["reason"]) == (None, "order ab: the batch came back without it")
    assert counts.asked == 4
    model.loses = ""
    (_, (second, _)), counts = answered(Direct(model), items, tmp_path)
    assert (second["reason"], counts.asked, counts.reused) == (None, 1, 3)


# Two processes --------------------------------------------------------------------------------------------------------


def test_two_processes_give_the_values_of_one_and_ask_each_call_once(tmp_path: Path) -> None:
    ways = [
        ("two_rounds", "local", "local", "some_pairs", 9, 2),
        ("two_rounds", "streamed", "streamed", "some_pairs", 9, 2),
        ("two_rounds", "local", "local", "pairs_again", 8, 1),
        ("two_rounds", "streamed", "streamed", "pairs_again", 8, 2),
        ("by_rating", "local", "local", "chain", 11, 3),
        ("by_rating", "local", "local", "chain", 12, 1),
        ("by_rating", "streamed", "streamed", "chain", 12, 1),
        ("reference", "local", "local", "some_pairs", 9, 1),
        ("reference", "streamed", "streamed", "some_pairs", 9, 3),
        ("panel", "local", "streamed", "pairs_again", 6, 2),
        ("cascade", "deferred", "local", "pairs_again", 6, 3),
    ]

    def specs(name: str) -> list[Spec]:
        return [
            Spec(str(tmp_path / name / "-".join(map(str, way))), way[0], (way[1], way[2]), way[3], way[4], way[5])
            for way in ways
        ]

    toys(tmp_path, specs("one"))
    toys(tmp_path, specs("two"), 2)
    for one, two in zip(specs("one"), specs("two"), strict=True):
        # The values and the counts, byte for byte, of both processes.
        assert len({(Path(s.folder) / f"values-{r}.json").read_bytes() for s, r in ((one, 0), (two, 0), (two, 1))}) == 1
        assert sorted(flat(logged(two.log))) == sorted(flat(logged(one.log))), two
        assert sorted(raw_keys(two.folder)) == sorted(raw_keys(one.folder))
        ranks = {line.split()[0] for line in two.log.read_text().splitlines()}
        assert ranks == {"0", "1"} or (one.items, one.chunk) == ("chain", 1)  # where every item shares with the last


# Streams --------------------------------------------------------------------------------------------------------------


def no_thread_is_left() -> bool:
    return not any(thread.name == "rlaif-ask" for thread in threading.enumerate())


class Hanging(Streamed):
    """The call `hangs` comes back when `enough` says so, or after 20 seconds; `in_time` says which."""

    hangs = ""
    enough: Callable[[], bool]
    in_time: bool | None = None

    async def take(self, call: Call) -> None:
        if call.key != self.hangs:
            await super().take(call)
            return
        end = time.monotonic() + 20.0
        while not self.enough() and time.monotonic() < end:
            await asyncio.sleep(0.002)
        self.in_time = self.enough()


@pytest.mark.parametrize("stored", [0, 700])
def test_a_hanging_first_call_holds_nothing_up(stored: int, tmp_path: Path) -> None:
    """Neither where everything is new nor where much of what follows is stored already."""
    model = Hanging("a", slow=0.0)
    method, items = TwoRounds(model), some_pairs(stored + 40)
    whole = answered(TwoRounds(Hanging("a", slow=0.0)), items, None)[0]
    if stored:
        answered(method, items[1 : stored + 1], tmp_path)
    with Store(tmp_path) as store:
        (call, _) = next(method.ask(items[0]))
        model.hangs = call.key
        model.enough = lambda: len(store) == 4 * len(items) - 3  # its own reply and the next round's two are lacking
        assert [plain(value) for value in answers(method, lambda: items, store)] == whole
    assert model.in_time


def test_few_missing_calls_among_stored_ones_are_asked_side_by_side(tmp_path: Path) -> None:
    class Meeting(Streamed):
        """A call comes back when four are in flight."""

        async def take(self, call: Call) -> None:
            end = time.monotonic() + 20.0
            while self.peak < 4:
                assert time.monotonic() < end, f"no more than {self.peak} calls in flight"
                await asyncio.sleep(0.001)

    items = some_pairs(2000)
    model = Meeting("a", concurrency=4)
    with Store(tmp_path) as store:
        calls = [call for number, item in enumerate(items) if number % 300 for call in next(Direct(model).ask(item))]
        store.append(said(call.key, call.choices).row() for call in calls)
    _, counts = answered(Direct(model), items, tmp_path)
    assert counts.asked == 2 * 7
    assert model.peak == 4


def test_values_that_wait_for_an_earlier_one_are_not_without_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_WAITING", 20)
    begun = 0

    class Counting(Direct):
        def ask(self, item: Pair) -> Ask[Comparison]:
            nonlocal begun
            begun += 1
            return super().ask(item)

    model = Hanging("a", slow=0.0)
    method, items = Counting(model), some_pairs(400)
    model.hangs = next(method.ask(items[0]))[0].key
    end = time.monotonic() + 0.3
    model.enough = lambda: time.monotonic() > end and begun <= 1 + 20 + 3
    assert len(answered(method, items, tmp_path)[0]) == 400
    assert model.in_time


@pytest.mark.parametrize("mixed", [False, True])
def test_as_many_calls_as_allowed_are_in_flight_and_no_more(mixed: bool) -> None:
    model = Streamed("a", concurrency=5)
    method = Panel((TwoRounds(model), Direct(Local("b")))) if mixed else TwoRounds(model)
    answered(method, some_pairs(30), None)
    assert model.peak == 5
    assert model.opened == model.closed == (2 if mixed else 1)
    assert no_thread_is_left()


class Ending(Streamed):
    """Ends the run, in one way or another, with its 20th call; `came` are the replies that were given."""

    def __init__(self, name: str, end: Callable[[], None], **options: Any) -> None:
        super().__init__(name, **options)
        self.end = end
        self.begun = 0
        self.came: list[str] = []

    async def reply(self, call: Call) -> Reply:
        self.begun += 1
        if self.begun == 20:
            self.end()
        reply = await super().reply(call)
        self.came.append(call.key)
        return reply


def refuse() -> None:
    raise ValueError("no credit is left")


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def leave() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(("end", "error"), [(refuse, ValueError), (interrupt, KeyboardInterrupt), (leave, SystemExit)])
def test_whatever_ends_a_run_every_reply_that_came_is_stored_and_nothing_runs_on(
    end: Callable[[], None], error: type[BaseException], mixed: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Ending("a", end, concurrency=4)
    items = some_pairs(30)
    method = Panel((TwoRounds(model), Direct(Local("b")))) if mixed else TwoRounds(model)
    with caplog.at_level(logging.WARNING, "asyncio"):
        with pytest.raises(error) as caught:
            answered(method, items, tmp_path)
        assert error is not ValueError or str(caught.value) == "no credit is left"
        del caught
        gc.collect()
    assert caplog.records == []
    assert no_thread_is_left()
    assert (model.flying, model.opened) == (0, model.closed)
    kept = [key for key in raw_keys(tmp_path) if key in model.came]
    assert 15 <= len(model.came) == len(kept)
    # The next run asks for the rest.
    whole = answered(method, items, None)[0]
    begun = len(model.came)
    assert answered(method, items, tmp_path)[0] == whole
    assert len(model.came) - begun == 120 - len(kept)


class Oops(Exception):  # noqa: N818
    """A fault in somebody's method."""


@both_kinds
@pytest.mark.parametrize("round_", [0, 1])
@pytest.mark.parametrize("error", [Oops, SystemExit, KeyboardInterrupt])
def test_an_exception_in_a_method_is_raised_as_it_is(
    kind: str, round_: int, error: type[BaseException], tmp_path: Path
) -> None:
    class Faulty(Direct):
        def ask(self, item: Pair) -> Ask[Comparison]:
            if item == items[5] and round_ == 0:
                raise error("here")
            value = yield from super().ask(item)
            if item == items[5]:
                raise error("here")
            return value

    items = some_pairs(12)
    model = MODELS[kind]("a")
    with pytest.raises(error, match="here"):
        answered(Faulty(model), items, tmp_path)
    assert no_thread_is_left()
    assert round_ == 0 or len(raw_keys(tmp_path)) >= 12


def test_an_exception_in_the_source_of_items_is_raised_as_it_is() -> None:
    def items() -> Iterator[Pair]:
        yield from some_pairs(3)
        raise Oops("row 3")

    for model in (Local("a"), Streamed("a")):
        with Store(None) as store, pytest.raises(Oops, match="row 3"):
            list(answers(Direct(model), items, store))
    assert no_thread_is_left()


@pytest.mark.parametrize("mixed", [False, True])
def test_asking_works_within_a_running_event_loop(mixed: bool) -> None:
    method = Panel((TwoRounds(Streamed("a")), Direct(Local("b")))) if mixed else TwoRounds(Streamed("a"))
    items = some_pairs(6)

    async def notebook() -> list[Any]:
        return answered(method, items, None)[0]

    assert asyncio.run(notebook()) == answered(method, items, None)[0]


def test_values_come_while_others_are_asked_and_may_be_left_alone() -> None:
    model = Streamed("a", concurrency=2)
    with Store(None) as store:
        values = answers(Direct(model), lambda: some_pairs(200), store)
        first = next(values)
        assert first.judgment.pair == some_pairs(1)[0]
        assert len(store) < 100
        values.close()
        assert no_thread_is_left()
        assert (model.flying, model.opened, model.closed) == (0, 1, 1)


# The swap law ---------------------------------------------------------------------------------------------------------

TEXT = st.text("ab \n1é", min_size=1, max_size=4).filter(str.strip)
PAIRS = st.builds(Pair, st.sampled_from(["p", "q"]), TEXT, TEXT).filter(lambda pair: pair.problem() is None)
FUNCTIONS = st.functions(like=lambda prompt, first, second: None, returns=st.floats(0, 1), pure=True)


class Functional(Local):
    """Says P(first) = f(the conversation), and writes f of it as a reason."""

    def __init__(self, name: str, f: Callable[..., float]) -> None:
        super().__init__(name)
        self.f = f

    def answer(self, batch: Sequence[Call]) -> list[Reply]:
        return [self.one(call) for call in batch]

    def one(self, call: Call) -> Reply:
        p = self.f(self.name, json.dumps(call.messages), call.sample)
        if not call.choices:
            return Reply(call.key, text=str(p))
        return Reply(call.key, logps=tuple(math.log(q) if q else -math.inf for q in (p, 1.0 - p)))


def swapped_sum(method: Any, pair: Pair) -> float:
    with Store(None) as store:
        both = [comparison.judgment.z for comparison in ask_here(method, [pair, pair.swap()], store)]
    assert None not in both
    return both[0] + both[1]


@given(FUNCTIONS, PAIRS, st.sampled_from(["mean", "log_odds"]), st.sampled_from([1, 3]))
def test_pairwise_obeys_the_swap_law(f: Callable[..., float], pair: Pair, combine: str, samples: int) -> None:
    question = Question(function_model(f), TEMPLATES["helpful"])
    method = Pairwise(question, samples=samples, combine=combine)
    assert swapped_sum(method, pair) == pytest.approx(1.0, abs=1.001e-9)


@given(FUNCTIONS, PAIRS, st.sampled_from(["mean", "log_odds"]))
def test_toy_methods_obey_the_swap_law(f: Callable[..., float], pair: Pair, combine: str) -> None:
    a, b = Functional("a", f), Functional("b", f)
    direct, two = Direct(a, samples=2, combine=combine), TwoRounds(b, combine=combine)
    panel = Panel((direct, two))
    for method in (direct, two, Cascade((direct, two)), ByRating(Rated(Local("r")))):
        assert swapped_sum(method, pair) == pytest.approx(1.0, abs=5e-9), method
    # A panel averages log-odds of members' z, which have nine places: half of the last one, over z (1 - z) >= 1e-6.
    for method in (panel, Cascade((panel, Reference(b, combine=combine)))):
        assert swapped_sum(method, pair) == pytest.approx(1.0, abs=2e-4), method


# gather ---------------------------------------------------------------------------------------------------------------


def toy_ask(name: str, rounds: Sequence[int]) -> Ask[list[str]]:
    """Yields rounds of so many calls; its value is every reply that it was sent."""
    got = []
    for number, size in enumerate(rounds):
        replies = yield [Call(name, arguments=(number, place, *got[-1:])) for place in range(size)]
        assert len(replies) == size
        got += [str(reply.text) for reply in replies]
    return got


def driven(ask: Ask[Any]) -> tuple[Any, list[int]]:
    """The value of an ask whose model says the call's key, and the sizes of its rounds."""
    sizes = []
    try:
        calls = next(ask)
        while True:
            sizes.append(len(calls))
            calls = ask.send([Reply(call.key, text=call.key) for call in calls])
    except StopIteration as stop:
        return stop.value, sizes


def test_gather_by_hand() -> None:
    assert driven(gather([])) == ([], [])
    assert driven(gather([toy_ask("a", []), toy_ask("b", [])])) == ([[], []], [])
    asks = {"a": [1], "b": [2, 1, 3], "c": [], "d": [1, 1]}
    values, sizes = driven(gather([toy_ask(name, rounds) for name, rounds in asks.items()]))
    assert sizes == [4, 2, 3]
    assert values == [driven(toy_ask(name, rounds))[0] for name, rounds in asks.items()]
    assert [len(value) for value in values] == [1, 6, 0, 2]


ROUNDS = st.lists(st.integers(0, 3), max_size=4)


@given(st.lists(ROUNDS, max_size=5), st.lists(ROUNDS, max_size=3))
def test_gather_gives_each_what_it_gets_alone(outer: list[list[int]], inner: list[list[int]]) -> None:
    def asks() -> list[Ask[Any]]:
        nested = gather([toy_ask(f"inner {i}", rounds) for i, rounds in enumerate(inner)])
        return [*(toy_ask(str(i), rounds) for i, rounds in enumerate(outer)), nested]

    values, sizes = driven(gather(asks()))
    alone = [driven(ask) for ask in asks()]
    assert values == [value for value, _ in alone]
    # A round is as long as those of all that are not done together.
    longest = max(len(rounds) for _, rounds in alone)
    assert sizes == [sum(rounds[k] for _, rounds in alone if k < len(rounds)) for k in range(longest)]


@both_kinds
def test_rounds_without_a_call_and_items_without_a_round(kind: str) -> None:
    class Odd(Direct):
        def ask(self, item: Pair) -> Ask[Any]:
            if item.prompt == "Question 0":
                return "nothing to ask"
            assert (yield []) == []
            value = yield from super().ask(item)
            assert (yield []) == []
            return value.judgment.z

    values, counts = answered(Odd(MODELS[kind]("a")), some_pairs(4), None)
    assert values[:2] == ["nothing to ask"] * 2
    assert all(0 < value < 1 for value in values[2:])
    assert counts.asked == 4
    assert answered(Odd(MODELS[kind]("a")), [], None)[0] == []


def test_a_call_that_is_only_looked_up_waits_for_the_one_that_is_asked() -> None:
    """Two items of one round have the same call, one of them only if it is stored: both get the reply."""

    class Looks:
        name, hash = "looks", "0" * 16

        def __init__(self, model: Any) -> None:
            self.models = {model.digest: model}
            self.model = model

        def ask(self, item: str) -> Ask[str | None]:
            call = Call(self.model.digest, arguments=("same", "a", "b"), stored_only=item == "stored")
            (reply,) = yield [call]
            return reply.text

    from rlaif.models.function import function_model

    async def slowly(prompt: str, first: str, second: str) -> float:
        await asyncio.sleep(0.01)
        return 0.5

    for function in (lambda prompt, first, second: 0.5, slowly):
        for items in (["stored", "real"], ["real", "stored"]):
            method: Any = Looks(function_model(function))
            values = list(answers(method, lambda items=items: items, Store(None), total=2))
            wanted = ["0.5", "0.5"] if not (function is slowly and items[0] == "stored") else [None, "0.5"]
            assert values == wanted
