"""Rows that cannot be used end a run with their place, or are left out, counted and listed: in every program."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import rows_of, some_pairs, write_rows
from support.bad import Bad, run_here
from support.bad.files import READERS
from support.files import read_pairs

import rlaif
from rlaif.commands.build import build
from rlaif.commands.judge import JudgingConfig, judge
from rlaif.files.bad_rows import BadRows
from rlaif.files.rows import check_values, read_rows
from rlaif.files.selection import BuildConfig
from rlaif.files.sources import placed_prompt_rows, stream_pairs
from rlaif.records import Response

DEEP = "[" * 100_000 + "]" * 100_000
BAD: list[tuple[str, str]] = [
    ('{"note": "half \\ud83d of it"}', "note holds half of a character"),
    ('{"half \\ud83d": 1}', "the name of a column holds half of a character"),
    ('{"note": [{"deep": ["\\udc80"]}]}', "note[0].deep[0] holds half of a character"),
    ('{"note": NaN}', "note holds nan; expected finite numbers"),
    ('{"note": [1, {"a": -Infinity}]}', "note[1].a holds -inf"),
    ('{"note": 1e999}', "note holds inf"),
    ('{"note": 123456789012345678901234567890}', "note holds a number of more than 64 bits"),
    (f'{{"note": {"9" * 5000}}}', "is not JSON (a number in it has too many digits)"),
    (f'{{"note": {DEEP}}}', "is not JSON (it is nested more than 100 deep)"),
    (f'{{"note": {"[" * 200}{"]" * 200}}}', "note is nested more than 100 deep"),
    ('{"prompt": "a", "prompt": "b"}', "'prompt' stands twice in one object"),
    ("[1]", "the line holds [1]; expected one JSON object a line"),
    ('{"a": 1', "the line is not JSON (Expecting"),
    ("\x80\x04pickle", "the line is not UTF-8"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=range(len(BAD)))
def test_what_no_row_may_hold_is_found_when_it_is_read(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "p"}\n' + line.encode("latin-1") + b'\n{"prompt": "q"}\n')
    with pytest.raises(ValueError, match=r".") as error:
        list(read_rows(path))
    assert str(error.value).startswith(f"{path}:2: ")
    assert message in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 250
    bad = BadRows("skip")
    assert [row["prompt"] for _, row in read_rows(path, bad=bad)] == ["p", "q"]
    assert [row["place"] for row in bad.rows] == [f"{path}:2"]
    bad.write(path)
    assert rows_of(tmp_path / "rows.jsonl.bad_rows.jsonl") == bad.rows


def test_an_array_and_parquet_name_their_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('[{"a": 1}, {"a": NaN}, 7]')
    pq.write_table(pa.table({"a": [1.0, float("inf"), None]}), tmp_path / "rows.parquet")
    buffers = [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0"), pa.py_buffer(b"x\xff\xff")]
    invalid = pa.Array.from_buffers(pa.string(), 2, buffers)
    pq.write_table(pa.table({"a": invalid}), tmp_path / "text.parquet")
    pq.write_table(pa.table({"a": [b"\x00"]}), tmp_path / "bytes.parquet")
    for name, places in (("rows.json", [2, 3]), ("rows.parquet", [2]), ("text.parquet", [2]), ("bytes.parquet", [1])):
        bad = BadRows("skip")
        list(read_rows(tmp_path / name, bad=bad))
        assert [row["place"] for row in bad.rows] == [f"{tmp_path / name}:{place}" for place in places]
        with pytest.raises(ValueError, match=f"{name}:{places[0]}: "):
            list(read_rows(tmp_path / name))


def test_a_source_that_is_damaged_as_a_whole_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "cut.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "cut.parquet").read_bytes()[:-9])
    (tmp_path / "none.parquet").write_bytes(b"\x80\x04pickle")
    (tmp_path / "deep.json").write_text(f"[{DEEP}]")
    (tmp_path / "latin.json").write_bytes(b'[{"a": "\xe9"}]')
    os.mkfifo(tmp_path / "pipe.jsonl")
    named = os.fsencode(tmp_path) + b"/caf\xe9.jsonl"
    Path(os.fsdecode(named)).write_text("{}\n")
    folders = {"arrow": "*.arrow", "state": "state.json", "info": "dataset_info.json"}
    for name, pattern in folders.items():
        datasets.Dataset.from_list([{"prompt": "p"}]).save_to_disk(str(tmp_path / name))
        next((tmp_path / name).glob(pattern)).write_bytes(b"[]")
    for source, message in (
        *((tmp_path / name, f"{name} could not be read (.*); expected a datasets folder") for name in folders),
        (tmp_path / "cut.parquet", "cut.parquet cannot be read (.*); expected whole Parquet"),
        (tmp_path / "none.parquet", "none.parquet cannot be read (.*); expected whole Parquet"),
        (tmp_path / "deep.json", r"deep.json is not JSON \(it is nested more than 100 deep\); expected one array"),
        (tmp_path / "latin.json", "latin.json is not UTF-8"),
        (tmp_path / "pipe.jsonl", "pipe.jsonl is a pipe, which can be read only once"),
        (os.fsdecode(named), "the name of a source holds half of a character"),
    ):
        for policy in ("stop", "skip"):  # no row of it can be left out
            with pytest.raises(ValueError, match=message) as error:
                list(read_rows(str(source), bad=BadRows(policy)))
            assert "\n" not in str(error.value)


def test_a_value_that_is_no_json_is_named() -> None:
    for value in (b"x", object(), {1, 2}, 1 + 2j):
        with pytest.raises(ValueError, match=r"note\[0\] holds "):
            check_values({"note": [value]})
    with pytest.raises(ValueError, match="a column is called 7; expected text"):
        check_values({7: "x"})  # type: ignore[dict-item]


def test_a_bad_row_counts_once_however_often_it_is_read() -> None:
    bad = BadRows("skip")
    for _ in range(3):
        with bad.at("rows.jsonl:2"):
            raise ValueError("no \ud83d")
    assert bad.rows == [{"place": "rows.jsonl:2", "reason": "no ?"}]
    assert bad.ledger(5, 4, {"tie": 1}) == {"read": 6, "used": 4, "left_out": {"tie": 1, "bad rows": 1}}
    assert ("rows.jsonl:2" in bad, "rows.jsonl:3" in bad) == (True, False)
    with pytest.raises(ValueError, match="on_bad_row is 'perhaps'; expected stop or skip"):
        BadRows("perhaps")


def test_fields_of_messages_that_nothing_is_made_of_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turn = {"role": "user", "content": "Hi", "name": "Ada", "weight": 1, "tool_calls": None}
    rows = [
        {"prompt": [turn]},
        {"messages": [{"from": "human", "value": "Hi", "time": 7, "markdown": False}]},
        {"prompt": [turn], "response": {"role": "assistant", "content": "Yes?", "score": 5}},  # one turn, in no list
    ]
    bad = BadRows()
    assert len(list(placed_prompt_rows(write_rows(tmp_path / "rows.jsonl", rows), bad=bad))) == 3
    bad.say()
    assert capsys.readouterr().err == (
        "warning: messages have name, score, time beside role and content, which are not used.\n"
    )
    bad.write(tmp_path)
    assert capsys.readouterr().err == ""


def test_pairs_that_are_read_again_leave_out_the_same_rows(tmp_path: Path) -> None:
    rows = [{**row, "id": str(at)} for at, row in enumerate(some_pairs(4))]
    path = write_rows(tmp_path / "pairs.jsonl", [*rows, rows[1], {**rows[0], "id": "x", "response_b": None}])
    bad = BadRows("skip")
    first = list(stream_pairs(path, bad=bad))
    assert first == list(stream_pairs(path, bad=bad, checked=True)) == read_pairs(path, bad=BadRows("skip"))
    assert [row["place"] for row in bad.rows] == [f"{path}:5", f"{path}:6"]


def longer(prompt: Any, first: str, second: str) -> float:
    return 0.9 if len(first) > len(second) else 0.1


def test_judge_and_build_leave_out_bad_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**row, "id": str(at), "system": "Be kind."} for at, row in enumerate(some_pairs(6))]
    rows[2]["images"] = ["x.png"]
    pairs = write_rows(tmp_path / "pairs.jsonl", rows)
    settings: dict[str, Any] = {"pairs": str(pairs), "judge": "rlaif.models.function:longer"}
    with pytest.raises(ValueError, match=r"pairs.jsonl:3: the row has images"):
        judge(JudgingConfig(**settings, output=str(tmp_path / "judged")))
    assert not (tmp_path / "judged").exists()
    report = judge(JudgingConfig(**settings, output=str(tmp_path / "judged"), on_bad_row="skip"))
    assert report["pairs"] == 5
    assert report["ledger"]["read"] == 6
    assert report["ledger"]["left_out"]["bad rows"] == 1
    listed = rows_of(tmp_path / "judged" / "bad_rows.jsonl")
    assert [row["place"] for row in listed] == [f"{pairs}:3"]
    judged = rows_of(tmp_path / "judged" / "judgments.jsonl")
    assert [row["id"] for row in judged] == ["0", "1", "3", "4", "5"]
    assert all(row["prompt"][0] == {"role": "system", "content": "Be kind."} for row in judged)
    assert f"left out 1 row that cannot be used, listed in {tmp_path / 'judged' / 'bad_rows.jsonl'}; the first: " in (
        capsys.readouterr().err
    )
    judge(JudgingConfig(**settings | {"pairs": str(tmp_path / "judged")}, output=str(tmp_path / "again")))
    assert "judged/judgments.jsonl holds judgments: their pairs are judged anew" in capsys.readouterr().err
    assert rows_of(tmp_path / "again" / "judgments.jsonl") == judged
    judged[1]["votes"] = "many"
    write_rows(tmp_path / "judgments.jsonl", judged)
    build_settings: dict[str, Any] = {"judgments": str(tmp_path / "judgments.jsonl"), "output": str(tmp_path / "data")}
    with pytest.raises(ValueError, match=r"judgments.jsonl:2: votes is 'many'; expected a whole number or null"):
        build(BuildConfig(**build_settings))
    report = build(BuildConfig(**build_settings, on_bad_row="skip"))
    assert report["ledger"]["left_out"]["bad rows"] == 1
    assert (tmp_path / "data" / "bad_rows.jsonl").is_file()
    # A later run without bad rows does not keep the list.
    write_rows(pairs, rows[:2])
    judge(JudgingConfig(**settings, output=str(tmp_path / "judged"), on_bad_row="skip"))
    assert not (tmp_path / "judged" / "bad_rows.jsonl").exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rlaif.judge([{**some_pairs(1)[0], "note": "\ud83d"}], longer), "pair 0: note holds half of a char"),
        (lambda: rlaif.judge([{**some_pairs(1)[0], "tools": ["x"]}], longer), "pair 0: the row has tools"),
        (lambda: rlaif.judge([{**some_pairs(1)[0], "model_a": 5}], longer), "pair 0: model_a is 5"),
        (lambda: rlaif.rate([{"prompt": "p", "response": 5}], lambda p, r: 1.0), "response 0: response is 5"),
        (lambda: rlaif.rate([("p", "a \ud83d")], lambda p, r: 1.0), "response 0: the response holds half of a char"),
        (lambda: rlaif.rate([("p \ud83d", "a")], lambda p, r: 1.0), "response 0: prompt holds half of a char"),
        (lambda: rlaif.rate([("p", "a", "b")], lambda p, r: 1.0), "response 0: it is .*; expected .prompt, text"),  # type: ignore[list-item]
        (lambda: rlaif.rate([{"prompt": "p", "response": "a", "w": float("inf")}], lambda p, r: 1.0), "0: w holds inf"),
        (lambda: [Response("p", "\udc00")], "the response holds half of a character"),
        (lambda: rlaif.sample(["p", 5], "no/policy"), "prompt 1: prompt is 5"),  # type: ignore[list-item]
        (lambda: rlaif.sample([{"prompt": "p", "images": ["x"]}], "no/policy"), "prompt 0: the row has images"),
    ],
)
def test_rows_in_python_are_read_alike(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_system_turn_in_python_is_judged(tmp_path: Path) -> None:
    seen = []

    def watched(prompt: Any, first: str, second: str) -> float:
        seen.append(json.dumps(prompt))
        return 0.5

    rlaif.judge([{**some_pairs(1)[0], "system": "Be kind."}], watched)
    assert all('{"role": "system", "content": "Be kind."}' in prompt for prompt in seen)


# What each program pays for, or trains: nothing of it is begun before the rows are said.
BEGINS = {
    "sample": "rlaif.judging.sampling.answers",
    "judge": "rlaif.commands.judge.answers",
    "evaluate": "rlaif.judging.sampling.answers",
    "sft": "rlaif.training.trainers.CompletionTrainer.train",
    "dpo": "rlaif.training.trainers.SoftDPOTrainer.train",
    "bradley_terry": "rlaif.training.trainers.SoftRewardTrainer.train",
    "ppo": "rlaif.training.ppo.trainer.PPOTrainer.train",
    "best_of_n": "rlaif.judging.sampling.answers",
    "score": "rlaif.models.reward_model.RewardModel.score",
}


@pytest.mark.parametrize("reader", BEGINS)
def test_bad_rows_are_said_before_anything_is_paid_or_trained(
    reader: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def begins(*args: Any, **kwargs: Any) -> None:
        raise ValueError("it begins")

    command, words, row = READERS[reader]
    asked = [[{"role": "user", "content": f"Why {i}?", "name": "Ada"}] for i in range(8)]
    write_rows(tmp_path / "rows.jsonl", [*({**row, "prompt": prompt} for prompt in asked), {**row, "prompt": 5}])
    monkeypatch.setattr(BEGINS[reader], begins)
    bad = Bad(command, (*words, "rows.jsonl", "--on_bad_row", "skip"), "")
    assert run_here(bad.argv(world), tmp_path) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith(("warning: ", "error: "))]
    assert lines[-1] == "error: it begins"
    assert lines.count("warning: messages have name beside role and content, which are not used.") == 1
    (said,) = [line for line in lines if "left out 1 row that cannot be used, listed in " in line]
    assert said.endswith("rows.jsonl:9: prompt is 5; expected text or a list of messages.")


def test_rows_beyond_a_limit_are_counted(tmp_path: Path) -> None:
    rows = [{**row, "id": str(at)} for at, row in enumerate(some_pairs(6))]
    rows[1] |= {"images": ["x.png"]}
    rows[4] |= {"response_a": 5}  # beyond the limit: looked at no closer
    pairs = write_rows(tmp_path / "pairs.jsonl", rows)
    settings: dict[str, Any] = {"pairs": str(pairs), "judge": "rlaif.models.function:longer", "on_bad_row": "skip"}
    report = judge(JudgingConfig(**settings, output=str(tmp_path / "judged"), limit=2))
    assert report["ledger"] == {"read": 6, "used": 2, "left_out": {"beyond limit": 3, "bad rows": 1}}
