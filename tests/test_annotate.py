"""Votes become z: by hand, in every orientation, and the same however the work is split over processes."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT, refused, rlaif, rlaif_env, rows_of, some_pairs, write_rows

from rlaif.commands.judge import AnnotateConfig, annotate
from rlaif.config import import_function
from rlaif.judging.annotate import combine_votes, judge_pairs
from rlaif.judging.base import ask
from rlaif.judging.scripted import ScriptedJudge
from rlaif.judging.settings import JudgeConfig, load_judge
from rlaif.records import Judgment, Pair, Vote, complement

PAIR = Pair("p", "short", "a longer one")


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
    places = judge_pairs([PAIR], ScriptedJudge(f"{__name__}:prefers_first"), tmp_path).judgments[0]
    assert (places.z, places.z_ab, places.z_ba) == (0.5, 0.9, 0.1)
    content = judge_pairs([PAIR], ScriptedJudge(f"{__name__}:prefers_longer"), tmp_path).judgments[0]
    assert (content.z, content.z_ab, content.z_ba) == (0.1, 0.1, 0.1)
    one = judge_pairs([PAIR], ScriptedJudge(f"{__name__}:prefers_first"), tmp_path, orders=("ba",)).judgments[0]
    assert (one.z, one.z_ab, one.z_ba) == (0.1, None, 0.1)


def faulty(prompt: Any, first: str, second: str) -> Any:
    return {"raises": 1 / (len(prompt) - 6), "nan": math.nan, "two": 2.0, "text": "x"}.get(prompt, 0.7)


def test_what_a_function_cannot_say_is_unjudged(tmp_path: Path) -> None:
    pairs = [Pair(prompt, "a", "b") for prompt in ("raises", "nan", "two", "text", "fine")]
    reasons = [j.reason for j in judge_pairs(pairs, ScriptedJudge(f"{__name__}:faulty"), tmp_path).judgments]
    assert reasons[0] == "order ab: ZeroDivisionError: division by zero"
    assert reasons[1:3] == [f"order ab: the function returned {p}, not a probability" for p in ("nan", "2.0")]
    assert (reasons[3] or "").startswith("order ab: ValueError: could not convert string to float")
    assert reasons[4] is None


def test_pairs_that_cannot_be_judged_are_not_asked_and_equal_ones_share_votes(tmp_path: Path) -> None:
    pairs = [
        Pair("p", "", "b"),
        Pair("p", "a", "b", id="1"),
        Pair("p", "a", "b", id="2"),
        Pair("p", "same", "same"),
    ]
    done = judge_pairs(pairs, ScriptedJudge("rlaif.judging.scripted:longer"), tmp_path)
    assert (done.asked, done.reused) == (2, 0)
    assert [j.reason for j in done.judgments] == ["response_a is empty", None, None, "both responses are equal"]
    assert [j.pair.id for j in done.judgments[1:3]] == ["1", "2"]
    assert [j.votes for j in done.judgments] == [0, 2, 2, 0]


def test_a_questions_address_is_everything_its_answer_depends_on() -> None:
    judge = ScriptedJudge("rlaif.judging.scripted:longer")
    other = ScriptedJudge(f"{__name__}:prefers_first")
    changed = [
        ask(judge, PAIR, "ab", 0),
        ask(judge, PAIR, "ba", 0),
        ask(judge, PAIR, "ab", 1),
        ask(other, PAIR, "ab", 0),
        ask(judge, Pair("q", "short", "a longer one"), "ab", 0),
        ask(judge, PAIR.swap(), "ab", 0),
    ]
    assert len({question.key for question in changed}) == len(changed)
    assert ask(judge, Pair("p", "short", "a longer one", id="x", label="a"), "ab", 0).key == changed[0].key


def test_an_edited_function_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "edited_judge.py"

    def annotation(source: str) -> tuple[int, float | None]:
        module.write_text(source)
        sys.modules.pop("edited_judge", None)
        importlib.invalidate_caches()
        done = judge_pairs([PAIR], ScriptedJudge("edited_judge:judge"), tmp_path / "out", orders=("ab",))
        return done.asked, done.judgments[0].z

    source = "def judge(prompt, first, second):\n    return {}\n"
    assert annotation(source.format("0.25")) == (1, 0.25)
    assert annotation(source.format("0.25")) == (0, 0.25)
    assert annotation(source.format("0.125")) == (1, 0.125)
    assert annotation(source.format("0.25")) == (0, 0.25)  # as it was: its vote is still there
    assert ScriptedJudge("math:hypot").parameters["source"] is None  # there is no file to read


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.7}, "temperature is 0.7, which judge 'local' does not use; leave it out, or set --judge to"),
        ({"concurrency": 4}, "concurrency is 4, which judge 'local' does not use"),
        ({"base_url": "http://x/v1"}, "base_url is 'http://x/v1', which judge 'local' does not use"),
        ({"judge": "api", "judge_load_in_4bit": True}, "judge_load_in_4bit is True, which judge 'api' does not use"),
        ({"judge": "scripted", "template": "compact"}, "which judge 'scripted' does not use.* local or api"),
        ({"judge": "scripted", "judge_tokens": 1}, "judge_tokens is 1, which judge 'scripted' does not use"),
    ],
)
def test_a_setting_of_another_kind_of_judge_is_refused(settings: dict[str, Any], message: str) -> None:
    for config in (JudgeConfig, AnnotateConfig):
        with pytest.raises(ValueError, match=message):
            load_judge(config(**{"judge_model": "rlaif.judging.scripted:longer", **settings}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_colon", "names no function; expected 'package.module:function'"),
        ("nowhere.to.be:found", "cannot be imported"),
        ("rlaif.records:nothing", "has no 'nothing'"),
        ("rlaif.records:ORDERS", "is a tuple; expected a function"),
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
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", [{**row, "subset": 1, "label2": 2} for row in some_pairs(2)])
    model = {"judge": "scripted", "judge_model": "rlaif.judging.scripted:longer"}
    config = AnnotateConfig(**{"pairs": str(pairs), "output": str(tmp_path / "out"), **model, **settings})
    with pytest.raises(ValueError, match=message):
        annotate(config)
    assert not (tmp_path / "out").exists()


def test_the_real_program_writes_judgments_a_report_and_a_manifest(tmp_path: Path) -> None:
    rows = [{**row, "subset": ["even", "odd"][i % 2], "id": str(i)} for i, row in enumerate(some_pairs(20))]
    pairs = write_rows(tmp_path / "pairs.jsonl", rows)
    model = ["--judge", "scripted", "--judge_model", "rlaif.judging.scripted:longer"]
    done = rlaif("judge", "--pairs", pairs, *model, "--output", tmp_path / "out", "--by", "subset")
    assert done.returncode == 0, done.stderr
    judgments = rows_of(tmp_path / "out" / "judgments.jsonl")
    assert [row["id"] for row in judgments] == [row["id"] for row in rows]
    assert [row["subset"] for row in judgments] == [row["subset"] for row in rows]
    gaps = [(len(row["response_a"]) - len(row["response_b"])) * (1 if row["label"] == "a" else -1) for row in rows]
    longer = [0.5 if gap == 0 else float(gap > 0) for gap in gaps]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["agreement"] == pytest.approx(sum(longer) / 20)
    assert report["by"]["odd"]["agreement"] == pytest.approx(sum(longer[1::2]) / 10)
    assert (report["order_consistency"], report["votes_asked"], report["flags"]) == (1.0, 40, {})
    assert report["methods"] == {"function": 40}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["command"] == "rlaif judge"
    assert manifest["config"]["judge_model"] == "rlaif.judging.scripted:longer"
    assert set(manifest["inputs"]) == {str(pairs)}


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
    """`rlaif judge`, then `rlaif sample`, each as one process and as two."""
    rows = some_pairs(24)
    rows[3]["response_a"] = ""
    pairs = write_rows(tmp_path / "pairs.jsonl", rows)
    judge = ["judge", "--pairs", pairs, "--judge_model", chat_model, "--template", "compact", "--judge_tokens", 800]
    prompts = write_rows(tmp_path / "prompts.jsonl", [{"prompt": f"Say {i}." + " Please." * (i % 3)} for i in range(6)])
    sample = ["sample", "--prompts", prompts, "--policy", chat_model, "--max_new_tokens", 6, "--batch_tokens", 120]
    for command, name in ((judge, "judgments.jsonl"), (sample, "pairs.jsonl")):
        assert rlaif(*command, "--output", tmp_path / "one").returncode == 0
        launch(*command, "--output", tmp_path / "two")
        written = (tmp_path / "one" / name).read_bytes()
        assert written == (tmp_path / "two" / name).read_bytes()
        assert written.count(b"\n") > 4
        report = [json.loads((tmp_path / run / "report.json").read_text()) for run in ("one", "two")]
        assert {**report[0], "seconds": 0} == {**report[1], "seconds": 0}
    # Both took part: each process has a file of its own in each store.
    for store in ("votes", "completions"):
        files = list((tmp_path / "two" / store).iterdir())
        assert len(files) == 2
        assert all(len(rows_of(path)) > 2 for path in files)


def test_a_misspelt_judge_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(2))
    (tmp_path / "c.yaml").write_text("judge: lokal\norders: both\n")
    line = refused(rlaif("judge", "--config", tmp_path / "c.yaml", "--pairs", pairs, "--output", tmp_path / "out"))
    assert "judge is 'lokal'; expected one of local, api, scripted" in line
    with pytest.raises(ValueError, match="template 'hlpful' is neither built in"):
        load_judge(JudgeConfig(judge_model="m", template="hlpful"))
