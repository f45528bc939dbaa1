"""Votes become z: by hand, in every orientation, and the same however the work is split over processes."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import (
    ROOT,
    Server,
    completion,
    forks,
    here,
    refused,
    rlaif_env,
    rows_of,
    some_pairs,
    wait_until,
    write_rows,
)

from rlaif.commands.judge import JudgingConfig, judge
from rlaif.config import import_function
from rlaif.files.store import Store
from rlaif.judging.pairwise import Pairwise, combine_votes, judge_here, judge_pairs
from rlaif.judging.reading import VERSION
from rlaif.judging.settings import JudgeConfig, load_judge
from rlaif.models.base import Call
from rlaif.models.function import function_model, longer
from rlaif.records import Judgment, Pair, Vote, complement

PAIR = Pair("p", "short", "a longer one")
ID = Pair(*(some_pairs(1)[0][name] for name in ("prompt", "response_a", "response_b"))).id
LONGER = "rlaif.models.function:longer"


def function_judge(function: Any, **settings: Any) -> Pairwise:
    """The judge that a function is, or the one of its name in this file."""
    name = f"{__name__}:{function}" if isinstance(function, str) and ":" not in function else function
    return load_judge({"model": {"name": name, "kind": "function"}, **settings})


def vote(order: str, p_first: float | None, sample: int = 0) -> Vote:
    return Vote(
        key=f"{order}{sample}",
        pair_id=PAIR.id,
        judge="j",
        template="t",
        order=order,  # type: ignore[arg-type]
        sample=sample,
        p_first=p_first,
        reason=None if p_first is not None else "timed out",
    )


def test_by_hand() -> None:
    # P(a) is 0.8 when a is shown first; shown second, the other one gets 0.6, so a has 0.4.
    done = combine_votes(PAIR, [vote("ab", 0.8), vote("ba", 0.6)])
    assert (done.z, done.z_ab, done.z_ba, done.votes) == (0.6, 0.8, 0.4, 2)
    # Orders weigh the same however many votes each has.
    done = combine_votes(PAIR, [vote("ab", 1.0), vote("ab", 0.5, 1), vote("ba", 0.25)])
    assert (done.z, done.z_ab, done.z_ba) == (0.75, 0.75, 0.75)
    odds = combine_votes(PAIR, [vote("ab", 0.9), vote("ba", 0.5)], combine="log_odds")
    assert odds.z == pytest.approx(1 / (1 + math.exp(-math.log(9) / 2)))
    assert (odds.z_ab, odds.z_ba) == (pytest.approx(0.9), 0.5)
    certain = combine_votes(PAIR, [vote("ab", 1.0), vote("ba", 0.4)], combine="log_odds")
    assert 0.99 < (certain.z or 0.0) < 1.0
    assert combine_votes(PAIR, [vote("ba", 0.3)], orders=("ba",)).z == 0.7


def test_an_order_without_a_readable_vote_leaves_the_pair_unjudged() -> None:
    done = combine_votes(PAIR, [vote("ab", 0.8), vote("ba", None)])
    assert (done.z, done.reason, done.votes, done.readable) == (None, "order ba: timed out", 2, 1)
    for combine in ("mean", "log_odds"):  # what is known of the other order is kept
        done = combine_votes(PAIR, [vote("ab", None), vote("ba", 0.2)], combine=combine)
        assert (done.z, done.z_ab, done.z_ba) == (None, None, pytest.approx(0.8))
    assert combine_votes(PAIR, [vote("ab", 0.8)]).reason == "order ba: never asked"
    assert combine_votes(PAIR, []).reason == "order ab: never asked"
    # One of two samples is enough.
    done = combine_votes(PAIR, [vote("ab", None), vote("ab", 0.8, 1), vote("ba", 0.2)])
    assert (done.z, done.votes, done.readable) == (0.8, 3, 2)
    assert Judgment.from_row(done.row()) == done


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["mean", "log_odds"]))
def test_the_swapped_pair_gets_the_complement(p: float, q: float, combine: str) -> None:
    done = combine_votes(PAIR, [vote("ab", p), vote("ba", q)], combine=combine)
    # The same two questions, asked about the swapped pair: what was "ab" is "ba" now, and the same one stands first.
    swapped = combine_votes(PAIR.swap(), [vote("ba", p), vote("ab", q)], combine=combine)
    assert swapped.z == pytest.approx(complement(done.z), abs=2e-9)
    assert swapped.z_ab == pytest.approx(complement(done.z_ba), abs=2e-9)
    assert min(done.z_ab or 0, done.z_ba or 0) - 1e-9 <= (done.z or 0) <= max(done.z_ab or 0, done.z_ba or 0) + 1e-9


def prefers_first(prompt: Any, first: str, second: str) -> float:
    return 0.9


def prefers_longer(prompt: Any, first: str, second: str) -> float:
    return 0.9 if len(first) > len(second) else 0.1


def test_a_judge_of_places_is_undecided_and_one_of_content_is_not(tmp_path: Path) -> None:
    places = judge_pairs([PAIR], function_judge("prefers_first"), tmp_path).judgments[0]
    assert (places.z, places.z_ab, places.z_ba) == (0.5, 0.9, 0.1)
    content = judge_pairs([PAIR], function_judge("prefers_longer"), tmp_path).judgments[0]
    assert (content.z, content.z_ab, content.z_ba) == (0.1, 0.1, 0.1)
    one = judge_pairs([PAIR], function_judge("prefers_first", orders="ba"), tmp_path)
    assert (one.judgments[0].z, one.judgments[0].z_ab, one.judgments[0].z_ba) == (0.1, None, 0.1)
    assert (one.asked, one.reused) == (0, 1)  # the same call as when both orders were asked for


def test_judgments_say_where_they_are_from(tmp_path: Path) -> None:
    method = function_judge("prefers_first")
    (judgment,) = judge_pairs([PAIR], method, tmp_path).judgments
    assert (judgment.judge, judgment.template) == (f"{__name__}:prefers_first", method.template.hash)
    assert (judgment.method_hash, judgment.reading_version) == (method.hash, VERSION)
    assert judgment.vote_keys == tuple(call.key for call in first_calls(method, PAIR))
    others = [{"orders": "ab"}, {"combine": "log_odds"}]
    hashes = {method.hash, *(function_judge("prefers_first", **other).hash for other in others)}
    assert len({*hashes, function_judge("prefers_longer").hash}) == 4
    assert function_judge("prefers_first").hash == method.hash


def faulty(prompt: Any, first: str, second: str) -> Any:
    return {"raises": 1 / (len(prompt) - 6), "nan": math.nan, "two": 2.0, "text": "x"}.get(prompt, 0.7)


def test_what_a_function_cannot_say_is_unjudged(tmp_path: Path) -> None:
    pairs = [Pair(prompt, "a", "b") for prompt in ("raises", "nan", "two", "text", "fine")]
    done = judge_pairs(pairs, function_judge("faulty"), tmp_path)
    reasons = [j.reason for j in done.judgments]
    assert reasons[0] == "order ab: ZeroDivisionError: division by zero"
    assert reasons[1:3] == [f"order ab: the function returned {p}, not a probability" for p in ("nan", "2.0")]
    assert (reasons[3] or "").startswith("order ab: ValueError: could not convert string to float")
    assert reasons[4] is None
    assert done.methods == {"function": 2}
    # What it said is stored; it is not asked again, for it would say the same.
    assert judge_pairs(pairs, function_judge("faulty"), tmp_path).asked == 0


async def slowly(prompt: Any, first: str, second: str) -> float:
    return faulty(prompt, first, second)


def test_an_async_function_is_a_judge(tmp_path: Path) -> None:
    pairs = [Pair(prompt, "a", "b") for prompt in ("raises", "nan", "fine")]
    one = judge_pairs(pairs, function_judge("faulty"), tmp_path)
    other = judge_pairs(pairs, function_judge("slowly"), tmp_path)
    assert [j.z for j in other.judgments] == [j.z for j in one.judgments] == [None, None, 0.5]
    assert [j.reason for j in other.judgments] == [j.reason for j in one.judgments]
    assert other.asked == 6


def test_pairs_that_cannot_be_judged_are_not_asked_and_equal_ones_share_votes(tmp_path: Path) -> None:
    pairs = [
        Pair("p", "", "b"),
        Pair("p", "a", "b", id="1"),
        Pair("p", "a", "b", id="2"),
        Pair("p", "same", "same"),
    ]
    done = judge_pairs(pairs, function_judge(LONGER), tmp_path)
    assert (done.asked, done.reused) == (2, 0)
    assert [j.reason for j in done.judgments] == ["response_a is empty", None, None, "both responses are equal"]
    assert [j.pair.id for j in done.judgments[1:3]] == ["1", "2"]
    assert [j.votes for j in done.judgments] == [0, 2, 2, 0]
    again = judge_pairs(pairs, function_judge(LONGER), tmp_path)
    assert (again.asked, again.reused, again.judgments) == (0, 2, done.judgments)


def test_judging_here_is_judging(tmp_path: Path) -> None:
    """What training does, batch by batch: asked is what was asked now, reused what was stored before."""
    pairs = [Pair(f"p{i}", "a" * i, "b") for i in range(1, 6)]
    whole = judge_pairs(pairs, function_judge("prefers_longer"), None)
    assert whole.asked == 10
    with Store(tmp_path) as store:
        first = judge_here(pairs[:3], function_judge("prefers_longer"), store)
        second = judge_here(pairs[2:], function_judge("prefers_longer"), store)
    assert [*first.judgments, *second.judgments[1:]] == whole.judgments
    assert second.judgments[0] == whole.judgments[2]
    assert [(first.asked, first.reused), (second.asked, second.reused)] == [(6, 0), (4, 2)]


def first_calls(method: Pairwise, pair: Pair) -> list[Call]:
    """What is asked about a pair at first: one call an order and sample."""
    asking = method.ask(pair)
    calls = next(asking)
    asking.close()
    return calls


def test_a_questions_address_is_everything_its_answer_depends_on() -> None:
    judge = function_judge(LONGER)
    changed = [
        *first_calls(judge, PAIR),
        *first_calls(dataclasses.replace(judge, samples=2), PAIR)[1::2],
        *first_calls(function_judge("prefers_first"), PAIR),
        *first_calls(judge, Pair("q", "short", "a longer one")),
    ]
    assert len({call.key for call in changed}) == len(changed) == 8
    # A function is shown two responses; which of them is called response_a decides nothing that it could know.
    assert [call.key for call in first_calls(judge, PAIR.swap())] == [changed[1].key, changed[0].key]
    same = first_calls(judge, Pair("p", "short", "a longer one", id="x", label="a"))
    assert [call.key for call in same] == [call.key for call in changed[:2]]
    assert all(len(bytes.fromhex(call.key)) == 16 for call in changed)


def test_an_older_name_of_the_bundled_judge_still_works(tmp_path: Path) -> None:
    """`rlaif.judges.scripted:longer`, as it stands in configs of older versions."""
    assert import_function("rlaif.judges.scripted:longer") is longer
    assert [longer("p", first, "bb") for first in ("a", "aa", "aaa")] == [0.0, 0.5, 1.0]
    old = load_judge(JudgeConfig(judge="scripted", judge_model="rlaif.judges.scripted:longer"))
    assert [j.z for j in judge_pairs([PAIR], old, tmp_path).judgments] == [0.0]
    done = judge_pairs([PAIR], function_judge(LONGER), tmp_path)
    assert done.judgments[0].z == 0.0


def test_an_edited_function_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "edited_judge.py"

    def annotation(source: str) -> tuple[int, float | None]:
        module.write_text(source)
        sys.modules.pop("edited_judge", None)
        importlib.invalidate_caches()
        done = judge_pairs([PAIR], function_judge("edited_judge:judge", orders="ab"), tmp_path / "out")
        return done.asked, done.judgments[0].z

    source = "def judge(prompt, first, second):\n    return {}\n"
    assert annotation(source.format("0.25")) == (1, 0.25)
    assert annotation(source.format("0.25")) == (0, 0.25)
    assert annotation(source.format("0.125")) == (1, 0.125)
    assert annotation(source.format("0.25")) == (0, 0.25)  # as it was: its vote is still there
    assert function_model("math:hypot").identity["source"] is None  # there is no file to read


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.7}, "temperature is 0.7, which judge 'local' does not use; leave it out, or set --judge to"),
        ({"concurrency": 4}, "concurrency is 4, which judge 'local' does not use"),
        ({"base_url": "http://x/v1"}, "base_url is 'http://x/v1', which judge 'local' does not use"),
        ({"judge": "api", "judge_load_in_4bit": True}, "judge_load_in_4bit is true, which judge 'api' does not use"),
        ({"judge": "scripted", "template": "compact"}, "which judge 'scripted' does not use.* local or api"),
        ({"judge": "scripted", "judge_tokens": 1}, "judge_tokens is 1, which judge 'scripted' does not use"),
    ],
)
def test_a_setting_of_another_kind_of_judge_is_refused(settings: dict[str, Any], message: str) -> None:
    for config in (JudgeConfig, JudgingConfig):
        with pytest.raises(ValueError, match=message):
            load_judge(config(**{"judge_model": LONGER, **settings}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_colon", "names no function; expected 'package.module:function'"),
        ("nowhere.to.be:found", "cannot be imported"),
        ("rlaif.records:nothing", "has no 'nothing'"),
        ("rlaif.records:ORDERS", "is a list; expected a function"),
    ],
)
def test_a_function_that_is_none_is_named(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        import_function(name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pairs": None}, "pairs and output must be set"),
        ({"samples": 0}, "samples is 0"),
        ({"samples": 2}, "a scripted judge gives the same vote every time"),
        ({"samples": 2, "judge": "api"}, "samples > 1 at temperature 0"),
        ({"limit": 0}, "limit is 0"),
        ({"limit": -1}, "limit is -1"),
        ({"by": "nothing"}, "by is 'nothing', which no pair has; expected one of label2, subset"),
        ({"reread": True}, "out holds no replies to read again; expected the folder of an earlier run"),
        ({"reread": True, "retry_unjudged": True}, "reread asks nothing and retry_unjudged asks again"),
        ({"explain": "x"}, "explain is 'x', which is no pair of .*; expected a pair's id"),
        ({"explain": ID}, "out holds no replies; expected the folder that `rlaif judge` wrote"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", [{**row, "subset": 1, "label2": 2} for row in some_pairs(2)])
    model = {"judge": "scripted", "judge_model": LONGER}
    config = JudgingConfig(**{"pairs": str(pairs), "output": str(tmp_path / "out"), **model, **settings})
    with pytest.raises(ValueError, match=message):
        judge(config)
    assert not (tmp_path / "out").exists()


def test_the_real_program_writes_judgments_a_report_and_a_manifest(tmp_path: Path) -> None:
    rows = [{**row, "subset": ["even", "odd"][i % 2], "id": str(i)} for i, row in enumerate(some_pairs(20))]
    pairs = write_rows(tmp_path / "pairs.jsonl", rows)
    model = ["--judge", "scripted", "--judge_model", LONGER]
    done = here("judge", "--pairs", pairs, *model, "--output", tmp_path / "out", "--by", "subset")
    assert done.returncode == 0, done.stderr
    judgments = rows_of(tmp_path / "out" / "judgments.jsonl")
    assert [row["id"] for row in judgments] == [row["id"] for row in rows]
    assert [row["subset"] for row in judgments] == [row["subset"] for row in rows]
    gaps = [(len(row["response_a"]) - len(row["response_b"])) * (1 if row["label"] == "a" else -1) for row in rows]
    longer = [0.5 if gap == 0 else float(gap > 0) for gap in gaps]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["agreement"] == pytest.approx(sum(longer) / 20)
    assert report["by"]["odd"]["agreement"] == pytest.approx(sum(longer[1::2]) / 10)
    assert (report["position_consistency"], report["votes_asked"], report["flags"]) == (1.0, 40, {})
    assert report["ledger"] == {"read": 20, "used": 20, "left_out": {}}
    assert report["methods"] == {"function": 40}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["command"] == "rlaif judge"
    assert manifest["config"]["judge_model"] == LONGER
    assert set(manifest["inputs"]) == {str(pairs)}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *["judgments.jsonl", "manifest.json", "replies", "report.json", "votes.jsonl"]
    ]
    votes = [Vote.from_row(row) for row in rows_of(tmp_path / "out" / "votes.jsonl")]
    assert [vote.pair_id for vote in votes] == [row["id"] for row in rows for _ in "ab"]
    assert [vote.key for vote in votes] == [key for row in judgments for key in row["vote_keys"]]
    for number, row in enumerate(judgments):
        again = combine_votes(Judgment.from_row(row).pair, votes[2 * number : 2 * number + 2])
        assert (again.z, again.z_ab, again.z_ba) == (row["z"], row["z_ab"], row["z_ba"])


def launch(*arguments: object) -> None:
    """Runs `rlaif` under `accelerate launch` on the CPU, as two processes that talk over gloo."""
    launcher = ["-m", "accelerate.commands.launch", "--config_file", ROOT / "recipes" / "accelerate" / "cpu_2.yaml"]
    done = subprocess.run(
        [sys.executable, *map(str, [*launcher, "--main_process_port", 0, "-m", "rlaif", *arguments])],
        capture_output=True,
        text=True,
        timeout=180,
        env=rlaif_env(),
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_write_the_bytes_of_one(chat_model: Path, tmp_path: Path) -> None:
    """`rlaif judge` as one process and as two; of `rlaif sample` see test_sample."""
    rows = [{**row, "id": str(i)} for i, row in enumerate(some_pairs(24))]
    rows[3]["response_a"] = ""
    # Of another chunk's content: the same pair again, and one turned round.
    rows.insert(20, {**rows[1], "id": "again"})
    rows.append({**rows[2], "response_a": rows[2]["response_b"], "response_b": rows[2]["response_a"], "id": "turned"})
    pairs = write_rows(tmp_path / "pairs.jsonl", rows)
    judge = ["judge", "--pairs", pairs, "--judge_model", chat_model, "--template", "compact", "--judge_tokens", 800]
    one, two = tmp_path / "one", tmp_path / "two"
    assert here(*judge, "--output", one).returncode == 0
    launch(*judge, "--output", two)
    for name in ("judgments.jsonl", "votes.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
        assert (one / name).read_bytes().count(b"\n") > 4
    report = [json.loads((run / "report.json").read_text()) for run in (one, two)]
    assert {**report[0], "seconds": 0} == {**report[1], "seconds": 0}
    # Both took part, each with a file of its own, and nothing was asked twice.
    files = [[row["key"] for row in rows_of(path) if "key" in row] for path in (two / "replies").iterdir()]
    assert len(files) == 2
    assert min(map(len, files)) > 4
    with Store(one) as store:
        assert sorted(key for keys in files for key in keys) == sorted(row["key"] for row in store.rows())
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())


def test_a_misspelt_judge_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(2))
    (tmp_path / "c.yaml").write_text("judge: lokal\norders: both\n")
    line = refused(here("judge", "--config", tmp_path / "c.yaml", "--pairs", pairs, "--output", tmp_path / "out"))
    assert "judge is 'lokal'; expected one of local, api, scripted" in line
    with pytest.raises(ValueError, match="template 'hlpful' is neither built in"):
        load_judge(JudgeConfig(judge_model="m", template="hlpful"))


# Reading again, and looking closer.


def api_judging(server: Server, folder: Path, pairs: Sequence[dict[str, Any]]) -> list[object]:
    source = write_rows(folder / "pairs.jsonl", pairs)
    model = ["--judge", "api", "--judge_model", "m", "--base_url", server.url, "--template", "compact"]
    return ["judge", "--pairs", source, *model, "--output", folder / "out"]


def test_stored_replies_are_read_again_without_a_call(server: Server, tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Any:
        # What stands first is the better one, now more so and now less.
        p = 0.55 + 0.04 * (number % 11)
        return completion("1", logprobs=[("1", {"1": math.log(p), "2": math.log(1.0 - p), "x": -20.0})])

    server.answer = answer
    rows = [{**row, "id": str(i)} for i, row in enumerate(some_pairs(6))]
    command = api_judging(server, tmp_path, rows)
    assert here(*command, "--retry_unjudged").returncode == 0
    files = {name: (tmp_path / "out" / name).read_bytes() for name in ("judgments.jsonl", "votes.jsonl")}
    replies = [path.read_bytes() for path in (tmp_path / "out" / "replies").iterdir()]
    calls = len(server.bodies)
    assert calls == 12
    server.answer = lambda body, number: (500, "not a call more", {})
    done = here(*command, "--reread")
    assert (done.returncode, [line for line in done.stderr.splitlines() if "warning" in line]) == (0, [])
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["votes_asked"], report["votes_reused"]) == (0, 12)
    assert "votes_unasked" not in report

    # Another way to combine them: other z, of the same votes.
    assert here(*command, "--reread", "--combine", "log_odds").returncode == 0
    assert (tmp_path / "out" / "votes.jsonl").read_bytes() == files["votes.jsonl"]
    for number, row in enumerate(rows_of(tmp_path / "out" / "judgments.jsonl")):
        votes = [Vote.from_row(vote) for vote in rows_of(tmp_path / "out" / "votes.jsonl")[2 * number :][:2]]
        pair = Judgment.from_row(row).pair
        assert row["z"] == combine_votes(pair, votes, combine="log_odds").z
    before = [json.loads(line) for line in files["judgments.jsonl"].splitlines()]
    now = rows_of(tmp_path / "out" / "judgments.jsonl")
    assert [a["z"] for a in before] != [a["z"] for a in now]
    assert {a["method_hash"] for a in before}.isdisjoint(a["method_hash"] for a in now)

    # A pair that was added since has no votes: it is unjudged, and counted.
    command = api_judging(server, tmp_path, [{**some_pairs(7)[6], "id": "new"}, *rows])
    done = here(*command, "--reread")
    assert done.returncode == 0, done.stderr
    assert "warning: 2 votes want calls that no run has paid for, so their pairs may be unjudged." in done.stderr
    new, *old = rows_of(tmp_path / "out" / "judgments.jsonl")
    assert (new["z"], new["reason"]) == (None, "order ab: not asked: no reply to this call is stored")
    assert old == before
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["votes_unasked"], report["unjudged"], report["votes_asked"]) == (2, 1, 0)
    assert len(server.bodies) == calls
    assert [path.read_bytes() for path in (tmp_path / "out" / "replies").iterdir()] == replies

    # A plain run then asks for what is missing, and for nothing else.
    server.answer = answer
    assert here(*command).returncode == 0
    assert len(server.bodies) == calls + 2
    assert rows_of(tmp_path / "out" / "judgments.jsonl")[1:] == before


def test_what_failed_is_read_again_as_failed(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: (404, "no", {}) if "Question 1:" in body["messages"][0]["content"] else "1"
    command = api_judging(server, tmp_path, some_pairs(3))
    assert here(*command).returncode == 0
    files = {name: (tmp_path / "out" / name).read_bytes() for name in ("judgments.jsonl", "votes.jsonl")}
    calls = len(server.bodies)
    assert here(*command, "--reread").returncode == 0
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files
    assert len(server.bodies) == calls
    (failed,) = {vote["reason"] for vote in rows_of(tmp_path / "out" / "votes.jsonl") if vote["p_first"] is None}
    assert failed.startswith("refused with status 404")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["unjudged"], report.get("votes_unasked")) == (1, None)


def contents(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def explained(*command: object, **env: str) -> str:
    done = here(*command, **env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_function_is_explained(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", [{**row, "id": str(i)} for i, row in enumerate(some_pairs(3))])
    command = ["judge", "--pairs", pairs, "--judge", LONGER, "--output", tmp_path / "out"]
    assert here(*command).returncode == 0
    before = contents(tmp_path)
    text = explained(*command, "--explain", "1")
    row = some_pairs(2)[1]
    (judgment,) = [row for row in rows_of(tmp_path / "out" / "judgments.jsonl") if row["id"] == "1"]
    assert [line.split(" ")[4] for line in text.splitlines() if line.startswith("round")] == judgment["vote_keys"]
    for shown in (row["prompt"], row["response_a"], row["response_b"]):
        assert text.count(f"    {shown}\n") == 2
    z = 0.0 if len(row["response_a"]) < len(row["response_b"]) else 1.0
    assert f"vote ab 0: P(first is better) = {z:g}, by function\n" in text
    assert f"vote ba 0: P(first is better) = {1 - z:g}, by function\n" in text
    assert text.endswith(f"z = P(response_a is preferred) = {z:g}\n  z_ab {z:g}, z_ba {z:g}\n")
    line = refused(here(*command, "--explain", "7"), 1)
    assert f"explain is '7', which is no pair of {pairs}; expected a pair's id" in line
    assert contents(tmp_path) == before


def test_a_local_judge_is_explained(chat_model: Path, tmp_path: Path) -> None:
    rows = [{**row, "id": str(i)} for i, row in enumerate(some_pairs(2))]
    rows.append({"prompt": "p", "response_a": "", "response_b": "x", "id": "empty"})
    pairs = write_rows(tmp_path / "pairs.jsonl", rows)
    command = ["judge", "--pairs", pairs, "--judge", chat_model, "--template", "helpful", "--output", tmp_path / "out"]
    assert here(*command).returncode == 0
    before = contents(tmp_path)
    text = explained(*command, "--explain", "0")
    votes = rows_of(tmp_path / "out" / "votes.jsonl")[:2]
    assert text.count("  [system]\n") == text.count("  [user]\n") == 2
    assert f"    Response 1:\n    {rows[0]['response_a']}\n" in text
    assert f"    Response 1:\n    {rows[0]['response_b']}\n" in text
    listed = [float(line.split(" = ")[1]) for line in text.splitlines() if line.startswith("  P('")]
    assert len(listed) == 4
    for vote, first, second in zip(votes, listed[::2], listed[1::2], strict=True):
        assert vote["mass"] == pytest.approx(first + second, abs=2e-6)
        assert f"call {vote['key']}" in text
        said = f"vote {vote['order']} 0: P(first is better) = {vote['p_first']:g}, by logprobs, label mass"
        assert f"{said} {vote['mass']:g}\n" in text
    nothing = explained(*command, "--explain", "empty")
    assert nothing == "unjudged: response_a is empty\n"
    assert contents(tmp_path) == before


def test_an_endpoints_answers_are_explained(server: Server, tmp_path: Path) -> None:
    def answer(body: dict[str, Any], number: int) -> Any:
        if "Response 1: It is" in body["messages"][0]["content"]:
            said = f" {number + 50}."
            return completion(f"Hmm{said}", "stop", [("Hmm", {"Hmm": -0.1, "1": -4.0}), (said, {})])
        done = completion("1", logprobs=[("1", {"1": math.log(0.75), "2": math.log(0.25)})])
        done["choices"][0]["message"]["reasoning_content"] = "Let me think.\nYes."
        return done

    server.answer = answer
    rows = [{**row, "id": str(i)} for i, row in enumerate(some_pairs(2))]
    command = [*api_judging(server, tmp_path, rows), "--max_tokens", 33]
    assert here(*command).returncode == 3  # neither pair is judged
    before, calls = contents(tmp_path), len(server.bodies)
    assert calls == 2 * (4 + 1)
    text = explained(*command, "--explain", "0")
    assert (contents(tmp_path), len(server.bodies)) == (before, calls)
    assert text.count("    Hmm ") == 4  # the unreadable answer and its repetitions
    assert [line.split(":")[0] for line in text.splitlines() if line.startswith("round ")] == [
        *["round 1", "round 1", "round 2", "round 3", "round 4"]
    ]
    assert "(max_tokens 33, sample 1000000)" in text
    assert "  [reasoning]\n    Let me think.\n    Yes.\n  [reply]\n    1\n" in text
    assert "  token '1': '1' 0.7500, '2' 0.2500\n" in text
    assert "finish stop, prompt_tokens 7, completion_tokens 1" in text
    assert "served by m\n" in text
    assert "vote ab 0: unjudged (no verdict in the answer 'Hmm " in text
    assert "vote ba 0: P(first is better) = 0.75, by logprobs, label mass 1\n" in text
    assert "unjudged: order ab: no verdict in the answer" in text
    assert text.endswith("  z_ba 0.25\n")
    unasked = explained(*command, "--temperature", 0.5, "--explain", "0")
    assert unasked.count("  -> not stored: nobody has asked this\n") == 2
    assert "vote ab 0: unjudged (no reply)\n" in unasked


def test_explaining_while_a_run_goes_on(server: Server, tmp_path: Path) -> None:
    server.latency = 0.05
    rows = [{**row, "id": str(i)} for i, row in enumerate(some_pairs(600))]  # a minute's work, whatever else is done
    command = [*api_judging(server, tmp_path, rows), "--concurrency", 1]
    run = forks.start(*command)
    wait_until(lambda: len(server.bodies) > 4)
    text = explained(*command, "--explain", "0")
    late = explained(*command, "--explain", "599")
    assert run.poll() is None
    assert "vote ab 0: P(first is better) = 1, by text\n" in text
    assert late.count("  -> not stored: nobody has asked this\n") == 2
    assert len(list((tmp_path / "out" / "replies").iterdir())) == 1
    run.send_signal(signal.SIGINT)
    assert run.wait(30) == 4
    assert sorted(os.listdir(tmp_path / "out")) == [".written-by", "replies"]


def test_a_judge_that_left_most_pairs_unjudged_ends_with_status_3(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(
        "def judge(prompt, first, second):\n    if 'Question 0' not in prompt:\n        raise KeyError('x')\n"
        "    return 0.7\n"
    )
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(4))
    command = ["judge", "--pairs", pairs, "--judge", "fails:judge", "--output", tmp_path / "out"]
    done = here(*command, PYTHONPATH=os.pathsep.join([str(tmp_path), rlaif_env()["PYTHONPATH"]]))
    assert done.returncode == 3, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "error: the judge left 3 of 4 pairs unjudged, most of them because: order ab: KeyError: 'x'"
    assert len(rows_of(tmp_path / "out" / "judgments.jsonl")) == 4  # everything is written all the same


def test_memory_does_not_grow_with_the_pairs(tmp_path: Path) -> None:
    """Of 13,000 pairs more: at most 64 bytes each, and what SQLite's caches and the allocator may still take."""
    from rlaif.files.runs import measured

    peaks = []
    for count in (2_000, 15_000):
        pairs = write_rows(tmp_path / f"{count}.jsonl", [{**some_pairs(1)[0], "id": str(i)} for i in range(count)])
        words = [sys.executable, "-m", "rlaif", "judge", "--pairs", pairs, "--judge", "rlaif.models.function:longer"]
        peaks.append(measured([*map(str, [*words, "--output", tmp_path / f"{count}"])], tmp_path / f"{count}.log", 1))
    assert peaks[1] - peaks[0] < 13_000 * 64 + 8 * 2**20


@pytest.mark.parametrize("column", ["note", "model_a"])
def test_what_could_not_be_written_is_known_before_it_is_asked_about(column: str, tmp_path: Path) -> None:
    rows = some_pairs(3)
    rows[1][column] = "half \ud83d of it"
    pairs = write_rows(tmp_path / "pairs.jsonl", rows)
    line = refused(
        here("judge", "--pairs", pairs, "--judge", "rlaif.models.function:longer", "--output", tmp_path / "o")
    )
    assert f"{pairs}:2: {column} holds half of a character" in line
    assert not (tmp_path / "o").exists()


def test_a_folder_of_ours_is_a_source_and_its_own_columns_are_groups(tmp_path: Path) -> None:
    rows = [{**row, "model_a": "xy"[i % 2]} for i, row in enumerate(some_pairs(4))]
    write_rows(tmp_path / "sampled" / "pairs.jsonl", rows)
    judge = ["--judge", "rlaif.models.function:longer", "--by", "model_a"]
    for source, output in (("sampled", "one"), ("one", "two")):
        done = here("judge", "--pairs", tmp_path / source, *judge, "--output", tmp_path / output)
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / output / "report.json").read_text())
        assert {name: group["pairs"] for name, group in report["by"].items()} == {"x": 2, "y": 2}
