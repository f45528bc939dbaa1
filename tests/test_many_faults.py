"""Thousands of questions to a server that fails in every way, real kills on the way, and not one wrong judgment."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
from support import faulty, forks, here, refused, rlaif_env, rows_of, some_pairs, wait_until, write_rows

from rlaif.files.store import Store
from rlaif.judging.settings import JudgeConfig, load_judge
from rlaif.models import endpoint
from rlaif.records import ORDERS, Pair

KILLS = 2


class Asked(NamedTuple):
    """One call, as the server saw it."""

    seconds: float
    question: str
    seed: int
    kind: str
    outcome: str


@dataclass
class Server:
    """A server in a thread, or in a process of its own."""

    url: str
    calls: Path
    process: subprocess.Popen[str] | None = None

    def asked(self) -> list[Asked]:
        if not self.calls.exists():
            return []
        rows = [line.split("\t") for line in self.calls.read_text().split("\n")[:-1]]
        return [Asked(float(row[0]), row[1], int(row[2]), *row[3:]) for row in rows]

    def count(self) -> int:
        return self.calls.read_bytes().count(b"\n") if self.calls.exists() else 0


def words(calls: Path, options: dict[str, Any]) -> list[str]:
    """The command line of a server."""
    given = [(name, one) for name, value in options.items() for one in (value if name == "pin" else [value])]
    return [str(calls), *(f"--{name}={one}" for name, one in given)]


@contextmanager
def served(calls: Path, **options: Any) -> Iterator[Server]:
    with faulty.beside(words(calls, options)) as url:
        yield Server(url, calls)


@contextmanager
def served_apart(calls: Path, **options: Any) -> Iterator[Server]:
    """One that can be killed, and does not take its time from the program that asks it."""
    command = [sys.executable, "-m", faulty.__name__, *words(calls, options)]
    ends: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **ends, text=True, env=rlaif_env()) as process:
        assert process.stdout is not None
        try:
            yield Server(process.stdout.readline().strip(), calls, process)
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in this process tries again after a tenth of the seconds."""
    backoff = endpoint._backoff
    monkeypatch.setattr(endpoint, "_backoff", lambda failed: backoff(failed) / 10)


def command(server: Server, pairs: Path, output: Path, **settings: Any) -> list[str]:
    """`rlaif judge`, told the same name of the server wherever that is, so that calls have the same addresses."""
    given = {"template": "compact", "concurrency": 64, "timeout": 2, "max_retries": 3, "patience": 60, **settings}
    model = ["--judge", "api", "--judge_model", "m", "--base_url", server.url, "--served_as", "faulty"]
    options = [str(part) for name, value in given.items() for part in (f"--{name}", value)]
    return ["judge", "--pairs", str(pairs), *model, "--output", str(output), *options]


def questions(pairs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What is asked about each pair, in both orders."""
    method = load_judge(JudgeConfig(judge="api", judge_model="m", base_url="http://x/v1", template="compact"))
    pairs_ = [Pair(row["prompt"], row["response_a"], row["response_b"]) for row in pairs]
    ab, ba = ([method.template.messages(pair, order)[-1]["content"] for pair in pairs_] for order in ORDERS)
    return list(zip(ab, ba, strict=True))


def answered(folder: Path) -> set[int]:
    """The seeds of all calls whose replies are stored for good. A seed is the beginning of a call's address."""
    with Store(folder) as store:
        return {int(row["key"][:8], 16) >> 1 for row in store.rows() if row.get("answered", True)}


def without_usage(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "usage"}


def z_of(folder: Path) -> list[float | None]:
    return [row["z"] for row in rows_of(folder / "judgments.jsonl")]


def prove(folder: Path, count: int, seed: int, **settings: Any) -> dict[str, Any]:
    """`count` pairs in both orders, with 3 of 10 questions faulty and without: figures, once all is as it must be."""
    rows = some_pairs(count)
    source = write_rows(folder / "pairs.jsonl", rows)
    asked_about = questions(rows)
    figures: dict[str, Any] = {"questions": 2 * count}

    begun = time.monotonic()
    with served_apart(folder / "plain.calls") as server:
        done = here(*command(server, source, folder / "plain", **settings))
        assert done.returncode == 0, done.stderr
        assert server.count() == 2 * count
    figures["seconds without faults"] = round(time.monotonic() - begun, 1)

    output, draw = folder / "faulty", random.Random(seed)
    share, odd = 0.3, 0.15
    begun = time.monotonic()
    with served_apart(folder / "faulty.calls", share=share, odd=odd) as server:
        arguments = command(server, source, output, **settings)
        for part in ((0.1, 0.5), (0.6, 1.1))[:KILLS]:
            running = forks.start(*arguments)
            moment = draw.uniform(*part) * 2 * count
            wait_until(lambda moment=moment: server.count() > moment, 300)
            running.send_signal(signal.SIGKILL)
            running.communicate()
            assert running.returncode == -signal.SIGKILL
            check_not_asked_again(server, output)
        done = here(*arguments)
        assert done.returncode == 0, done.stderr
        figures["seconds with faults"] = round(time.monotonic() - begun, 1)
        check_not_asked_again(server, output)
        judgments, votes = (output / "judgments.jsonl").read_bytes(), (output / "votes.jsonl").read_bytes()

        calls, before = server.asked(), answered(output)
        # Once more, without patience: nothing is asked but what had no answer.
        again = here(*command(server, source, output, **{**settings, "max_retries": 0}))
        assert again.returncode == 0, again.stderr
        assert before.isdisjoint(call.seed for call in server.asked()[len(calls) :])
        assert z_of(output) == [json.loads(line)["z"] for line in judgments.splitlines()]
    for program in (done, again):
        lines = [line for line in program.stderr.splitlines() if line and "%|" not in line]
        assert all(line.startswith("warning: ") for line in lines), program.stderr
    figures["warnings"] = lines

    # Every question was asked about, and hardly anything else.
    text_of = {faulty.hash_of(text): text for both in asked_about for text in both}
    kind_of = {text: faulty.kind_of(text, share, odd) for text in text_of.values()}
    others = [call for call in calls if call.question not in text_of]
    assert {call.question for call in calls} >= text_of.keys()
    assert all(call.kind == kind_of[text_of[call.question]] for call in calls if call.question in text_of)
    # Answered twice: only what was in flight when the program was killed.
    given = Counter(call.seed for call in calls if call.outcome == "ok" and call.question in text_of)
    twice = sum(given.values()) - len(given)
    assert twice <= KILLS * settings.get("concurrency", 64)
    assert given.keys() <= before  # nothing is lost
    # Plain questions, asked to see whether it is the server that fails, or its key that is refused.
    assert len(others) <= 10 + 3 * sum(kind == "a firewall's page" for kind in kind_of.values())

    # The same bytes as without faults, but for exactly the pairs of which a fault lasted.
    lost = {i for i, both in enumerate(asked_about) if any(kind_of[text] in faulty.LASTING for text in both)}
    plain = (folder / "plain" / "judgments.jsonl").read_bytes().splitlines()
    found = judgments.splitlines()
    assert len(plain) == len(found) == count
    assert {i for i in range(count) if plain[i] != found[i]} == lost
    for i in range(count):
        judgment = json.loads(found[i])
        first, second = (faulty.p_first(text) for text in asked_about[i])
        if i not in lost:
            assert judgment["z"] == pytest.approx((first + 1.0 - second) / 2, abs=1e-5)
            assert judgment.get("reason") is None
            continue
        assert judgment["z"] is None
        order, kind = next(
            (order, kind_of[text])
            for order, text in zip(ORDERS, asked_about[i], strict=True)
            if kind_of[text] in faulty.LASTING
        )
        assert judgment["reason"].startswith(f"order {order}: "), judgment["reason"]
        assert faulty.LASTING[kind][1] in judgment["reason"], (kind, judgment["reason"])
    plain_votes = rows_of(folder / "plain" / "votes.jsonl")
    found_votes = [json.loads(line) for line in votes.splitlines()]
    texts = [text for both in asked_about for text in both]
    for text, one, other in zip(texts, plain_votes, found_votes, strict=True):
        if kind_of[text] in faulty.LASTING:
            assert other["p_first"] is None
            assert faulty.LASTING[kind_of[text]][1] in other["reason"]
        else:
            assert without_usage(one) == without_usage(other)

    report = json.loads((output / "report.json").read_text())
    assert (report["pairs"], report["unjudged"]) == (count, len(lost))
    assert sum(report["reasons"].values()) == len(lost)
    ledger = report["ledger"]
    assert (ledger["read"], ledger["used"]) == (count, count - len(lost))

    outcomes = Counter(call.outcome for call in calls)
    kinds = {call.kind for call in calls} - {"plain"}
    figures |= {
        "calls": len(calls),
        "calls of no question": len(others),
        "answered with a verdict twice": twice,
        "faulty questions": sum(kind in faulty.PASSING or kind in faulty.LASTING for kind in kind_of.values()),
        "kinds that pass": len(kinds & faulty.PASSING.keys()),
        "kinds that last": len(kinds & faulty.LASTING.keys()),
        "odd kinds": len(kinds & faulty.ODD.keys()),
        "calls that failed": sum(outcomes.values()) - outcomes["ok"],
        "pairs unjudged": len(lost),
    }
    return figures


_checked: dict[Path, tuple[int, set[int]]] = {}


def check_not_asked_again(server: Server, output: Path) -> None:
    """What was stored at the time of the last check was not asked since."""
    time.sleep(0.2)  # what was on its way to the server arrives
    position, stored = _checked.get(output, (0, set()))
    asked = server.asked()
    assert stored.isdisjoint(call.seed for call in asked[position:])
    now = answered(output)
    assert stored <= now
    # What the server answered is stored, but for what was in flight.
    good = {call.seed for call in asked if call.outcome == "ok"}
    assert len(good - now) <= 64, len(good - now)
    _checked[output] = len(asked), now


def test_five_hundred_questions_and_a_hundred_and_fifty_faults(tmp_path: Path) -> None:
    figures = prove(tmp_path, 250, seed=12)
    print(figures)
    assert figures["kinds that pass"] >= 40
    assert figures["kinds that last"] >= 10
    assert figures["kinds that pass"] + figures["kinds that last"] >= 60
    assert 125 <= figures["faulty questions"] <= 175


@pytest.mark.slow
def test_ten_thousand_questions_and_three_thousand_faults(tmp_path: Path) -> None:
    figures = prove(tmp_path, 5000, seed=random.randrange(1 << 30), concurrency=64)
    print(figures)
    assert figures["kinds that pass"] == len(faulty.PASSING)
    assert figures["kinds that last"] == len(faulty.LASTING) - 1  # but for the one that would take all the patience
    assert figures["odd kinds"] == len(faulty.ODD)


def lines_of(folder: Path) -> int:
    """How many answers are stored."""
    files = [path.read_bytes() for path in folder.glob("replies/*.jsonl")]
    return sum(content.count(b'"key"') - content.count(b'"answered": false') for content in files)


def seconds_until_stored(
    folder: Path, pairs: list[dict[str, Any]], latency: float = 0.0, timeout: int = 5, pin: Sequence[str] = ()
) -> float:
    """Seconds from the first question until all are stored but those pinned; the program is then killed."""
    source = write_rows(folder / "pairs.jsonl", pairs)
    wanted = len(pairs) - max(1, len(pin))
    settings = {"orders": "ab", "concurrency": 32, "timeout": timeout}
    with served(folder / "calls", latency=latency, pin=pin) as server:
        running = forks.start(*command(server, source, folder / "out", **settings))
        try:
            wait_until(lambda: lines_of(folder / "out") >= wanted or running.poll() is not None, 300)
            stored = time.time()
            assert running.poll() is None or not pin  # it still waits for those
        finally:
            running.kill()
            running.communicate()
        asked = server.asked()
    good = {call.question for call in asked if call.outcome == "ok"}
    assert len(good) >= wanted
    return stored - asked[0].seconds


def test_first_questions_that_are_never_answered_hold_up_nobody(tmp_path: Path) -> None:
    """All others are asked and stored while one hangs and one is dropped time and again: more than a chunk holds."""
    pins = ["Question 0:=hang for ever", "Question 1:=dropped for ever"]
    seconds_until_stored(tmp_path, some_pairs(300), timeout=600, pin=pins)
    kinds = [call.split("\t")[4] for call in (tmp_path / "calls").read_text().splitlines()]
    assert {"hang for ever", "dropped for ever"} <= {*kinds}
    assert kinds.count("hang for ever") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dropped for ever", "hang for ever"])
def test_a_first_question_costs_less_than_a_fifth(kind: str, tmp_path: Path) -> None:
    """The better of two runs each, for the machine may be busy."""
    pairs, seconds = some_pairs(1500), dict[str, float]()
    for name, options in (("without", {}), ("with", {"pin": [f"Question 0:={kind}"]})):
        runs = [seconds_until_stored(tmp_path / f"{name}{run}", pairs, 0.2, **options) for run in range(2)]
        seconds[name] = min(runs)
    print(f"{kind}: {seconds}, ratio {seconds['with'] / seconds['without']:.2f}")
    assert seconds["with"] < 1.2 * seconds["without"]


def stored_and_answered(server: Server, folder: Path) -> tuple[set[int], set[int]]:
    """The seeds of the calls that are stored, and of those that the server answered."""
    return answered(folder), {call.seed for call in server.asked() if call.outcome == "ok"}


def kill_after(server: Server, calls: int) -> None:
    assert server.process is not None
    wait_until(lambda: server.count() > calls)
    server.process.kill()
    server.process.wait()


def test_a_server_that_dies_is_one_line_and_what_it_answered_is_stored(tmp_path: Path) -> None:
    pairs, output = some_pairs(200), tmp_path / "out"
    source, texts = write_rows(tmp_path / "pairs.jsonl", pairs), questions(pairs)
    with served_apart(tmp_path / "calls", latency=0.02) as server:
        death = Thread(target=kill_after, args=(server, 200))
        death.start()
        line = refused(here(*command(server, source, output, max_retries=1)), 1)
        death.join()
        port = server.url.rpartition(":")[2].removesuffix("/v1")
        assert line.startswith(f"error: {server.url} takes no connections any more")
        assert "run the same command again" in line
        stored, good = stored_and_answered(server, output)
        assert len(good - stored) <= 64  # on their way when it died
        assert len(good) > 100
    with served(tmp_path / "calls", port=port) as server:
        before = server.count()
        done = here(*command(server, source, output))
        assert done.returncode == 0, done.stderr
        assert stored.isdisjoint(call.seed for call in server.asked()[before:])
    assert z_of(output) == pytest.approx(
        [(faulty.p_first(ab) + 1.0 - faulty.p_first(ba)) / 2 for ab, ba in texts], abs=1e-5
    )


def test_a_server_that_leaves_everything_unanswered_is_one_line(tmp_path: Path) -> None:
    """It lives and fails: after twenty questions a plain one is asked, and fails as well."""
    source, output = write_rows(tmp_path / "pairs.jsonl", some_pairs(250)), tmp_path / "out"
    for number, kind in enumerate(("500 for ever", "dropped for ever")):
        pins = [r"Question \d\d:=plain", f"={kind}"]
        with served(tmp_path / f"calls{number}", pin=pins) as server:
            arguments = command(server, source, output / kind.split()[0], max_retries=1, concurrency=8)
            line = refused(here(*arguments), 1)
            assert f"{server.url} left 20 questions in a row unanswered, the last with: no answer after 2 tries" in line
            stored, good = stored_and_answered(server, output / kind.split()[0])
            assert stored == good
            assert server.count() < 450


def test_questions_on_which_the_server_fails_do_not_end_a_run(tmp_path: Path) -> None:
    """A hundred of them, at the end of a run or alone in the next one: the server answers a plain question."""
    source, output = write_rows(tmp_path / "pairs.jsonl", some_pairs(200)), tmp_path / "out"
    with served(tmp_path / "calls", pin=[r"Question 1\d\d:=500 for ever"]) as server:
        arguments = command(server, source, output, max_retries=1, orders="ab", concurrency=16)
        for run in (0, 1):
            before = server.count()
            done = here(*arguments)
            assert done.returncode == 0, done.stderr
            asked = [call for call in server.asked()[before:] if call.kind != "plain"]
            assert len(asked) == 200  # each twice
            assert server.count() - before - 200 <= (100, 0)[run] + 10
            warnings = [line for line in done.stderr.splitlines() if "warning: " in line]
            assert len(warnings) == 1, done.stderr
            assert "left some questions without a reply (the last: no answer after 2 tries: EngineCore" in warnings[0]
            rows = rows_of(output / "judgments.jsonl")
            assert [row["z"] is None for row in rows] == [False] * 100 + [True] * 100
            assert all("after 2 tries: EngineCore encountered an issue" in row["reason"] for row in rows[100:])


@pytest.mark.parametrize("kind", ["a firewall's page", "a firewall's 200", "404", "429 for ever"])
def test_a_question_that_looks_like_a_refused_key_or_a_wrong_address_ends_nothing(kind: str, tmp_path: Path) -> None:
    """The first question of a run, or the only one of the next: a plain question is answered, so it is its own fault.

    Where that gets the same, it is the key, the address or the limit of all: one line, after two questions, or on
    a slow machine after those that were sent before the first was answered.
    """
    source, output = write_rows(tmp_path / "pairs.jsonl", some_pairs(60)), tmp_path / "out"
    settings = {"orders": "ab", "concurrency": 16, "patience": 1}
    with served(tmp_path / "calls", pin=[f"Question 0:={kind}"]) as server:
        for run in (0, 1):
            before = server.count()
            done = here(*command(server, source, output, **settings))
            assert done.returncode == 0, done.stderr
            rows = rows_of(output / "judgments.jsonl")
            assert [row["z"] is None for row in rows] == [True] + [False] * 59
            assert faulty.LASTING[kind][1] in rows[0]["reason"]
            assert server.count() - before <= (60, 1)[run] + (8 if kind[0] == "4" else 1)
    with served(tmp_path / "all", pin=[f"={kind}"]) as server:
        refused(here(*command(server, source, tmp_path / "none", **settings)), 1)
        assert server.count() <= (100 if kind == "429 for ever" else 16 + 2)


def test_a_run_of_refused_questions_ends_nothing(tmp_path: Path) -> None:
    """Sixty in a row, first of all, refused for a reason that nobody knows."""
    source, output = write_rows(tmp_path / "pairs.jsonl", some_pairs(200)), tmp_path / "out"
    for kind in ("400", "too long: vllm"):
        with served(tmp_path / "calls", pin=[rf"Question [0-5]?\d:={kind}"]) as server:
            done = here(*command(server, source, output / kind[:3], orders="ab", concurrency=16))
            assert done.returncode == 0, done.stderr
            rows = rows_of(output / kind[:3] / "judgments.jsonl")
            assert [row["z"] is None for row in rows] == [True] * 60 + [False] * 140
            assert all(faulty.LASTING[kind][1] in row["reason"] for row in rows[:60])
            warnings = [line for line in done.stderr.splitlines() if "warning: " in line]
            assert len(warnings) == (1 if kind == "400" else 0), done.stderr
            before = server.count()
            assert here(*command(server, source, output / kind[:3], orders="ab")).returncode == 0
            assert server.count() - before == (60 if kind == "400" else 0)


def test_no_credit_is_one_line_at_once(tmp_path: Path) -> None:
    source, output = write_rows(tmp_path / "pairs.jsonl", some_pairs(250)), tmp_path / "out"
    with served(tmp_path / "calls", credit=300, latency=0.02) as server:
        arguments = command(server, source, output, concurrency=32)
        line = refused(here(*arguments), 1)
        assert "You exceeded your current quota" in line
        stored, good = stored_and_answered(server, output)
        outcomes = Counter(call.outcome for call in server.asked())
        assert (outcomes["ok"], len(good - stored) <= 32) == (300, True)
        assert 1 <= outcomes["no credit"] <= 32
        assert len(stored) >= 300 - 32
