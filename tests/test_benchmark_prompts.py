"""The prompts of a benchmark, which the contamination check looks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import write_rows
from support.formats import ROWS, TALK, assistant

from rlaif.formats.known import read_benchmark

BENCHMARKS = ["rewardbench", "judgebench", "llmbar", "alpacaeval", "hh", "skywork", "nectar", "helpsteer2", "argilla"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_gives_its_prompts(name: str, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", ROWS[name][:1])
    identity = {"rewardbench": "17", "judgebench": "81ec57f2"}.get(name, f"{source}:1")
    for kind in ("auto", name):
        assert [(i, text.strip()) for i, text in read_benchmark(source, kind)] == [(identity, "Which?")]


def test_a_benchmark_needs_no_verdict(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Which?", "chosen": ["right"], "rejected": ["a", "b", "c"], "id": "v2"},
        {"instruction": "Which?", "output": "x"},
        {"id": "llmbar/1", "prompt": "Which?", "response_a": "x", "response_b": "y", "label": "a"},
        {"turns": ["x"], "context": TALK},
        {"chosen": [*TALK, *assistant("right")], "rejected": [*TALK, *assistant("wrong")]},
    ]
    source = write_rows(tmp_path / "rows.jsonl", rows)
    assert [text for _, text in read_benchmark(source)] == ["Which?"] * 5
    write_rows(source, [{"text": "x"}])
    with pytest.raises(ValueError, match=r"rows.jsonl:1: the row has no prompt; got the columns text"):
        list(read_benchmark(source))
    write_rows(source, [{"chosen": "x", "rejected": "y"}])
    with pytest.raises(ValueError, match=r"rows.jsonl:1: the row has no 'prompt'"):
        list(read_benchmark(source))


def test_an_id_that_repeats_within_a_split_stays(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", ROWS["rewardbench"][:1] * 2)
    assert [identity for identity, _ in read_benchmark(source)] == ["17", "17"]
