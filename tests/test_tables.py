"""Tables and data frames: what they write where a number is missing, and their own kinds of values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import rows_of, some_pairs, write_rows
from support.formats import ARENA_TEXTS, ROWS

import rlaif
from rlaif.commands.convert import ConvertConfig, convert
from rlaif.commands.judge import JudgingConfig, judge
from rlaif.files.bad_rows import BadRows
from rlaif.files.preferences import load_preferences
from rlaif.files.rows import read_rows

NAN = float("nan")


def longer(prompt: Any, first: str, second: str) -> float:
    return 0.9 if len(first) > len(second) else 0.1


def test_a_missing_number_that_is_only_carried_costs_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A judge's run reads its pairs twice, and says once how many there were and where the first one is."""
    source = tmp_path / "pairs.parquet"
    rows = [
        {**row, "toxicity": NAN if at % 2 else 0.5, "by": {"of": [NAN, 1.0]}} for at, row in enumerate(some_pairs(6))
    ]
    pq.write_table(pa.Table.from_pylist(rows), source)
    judge(JudgingConfig(pairs=str(source), judge="rlaif.models.function:longer", output=str(tmp_path / "judged")))
    judged = rows_of(tmp_path / "judged" / "judgments.jsonl")
    assert [row["toxicity"] for row in judged] == [0.5, None] * 3
    assert judged[0]["by"] == {"of": [None, 1.0]}
    said = capsys.readouterr().err
    assert f"warning: toxicity holds NaN in 3 rows, which is carried as null; the first: {source}:2\n" in said
    assert f"warning: by holds NaN in 6 rows, which is carried as null; the first: {source}:1\n" in said
    # A datasets folder is a table too.
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "folder"))
    assert [row["toxicity"] for _, row in read_rows(tmp_path / "folder")] == [0.5, None] * 3


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("z", NAN),
        ("score_chosen", NAN),
        ("rm_score_rejected", NAN),
        ("margin", NAN),
        ("id", NAN),
        ("prompt", NAN),
        ("messages", [{"role": "user", "content": "Hi", "weight": NAN}]),
        ("note", float("inf")),
        ("note", [float("-inf")]),
    ],
)
def test_a_missing_number_that_is_read_is_refused(column: str, value: Any, tmp_path: Path) -> None:
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen": 1.0, "score_rejected": 0.0}
    row |= {"rm_score_chosen": 1.0, "rm_score_rejected": 0.5}
    source = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([{**row, column: value}]), source)
    with pytest.raises(ValueError, match=rf"rows.parquet:1: {column}[^ ]* holds (nan|-?inf); expected finite numbers"):
        load_preferences(source, "train")


def test_json_has_no_nan_in_any_column(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "p", "note": NaN}\n')
    with pytest.raises(ValueError, match=r"rows.jsonl:1: note holds nan"):
        list(read_rows(tmp_path / "rows.jsonl"))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    names = ["prompt", "chosen", "rejected", "chosen"]
    pq.write_table(pa.table([pa.array(["x"])] * 4, names=names), tmp_path / "rows.parquet")
    for policy in ("stop", "skip"):
        with pytest.raises(ValueError, match=r"rows.parquet has 'chosen' twice among its columns; expected each once"):
            list(read_rows(tmp_path / "rows.parquet", bad=BadRows(policy)))


def test_a_data_frame_is_judged_and_rated(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [{**row, "label": "a", "year": at, "w": 0.5} for at, row in enumerate(some_pairs(3))]
    rows[1] |= {"label": None, "id": None, "w": None}
    frame = pd.DataFrame(rows)
    frame["tags"] = [pd.array([1, None], dtype="Int64").to_numpy(), frame["year"].to_numpy(), None]
    frame["when"] = pd.to_datetime(["2026-01-01", None, None])
    for given in (frame, frame.to_dict("records")):
        judged = rlaif.judge(given, longer)
        assert [judgment.pair.label for judgment in judged] == ["a", None, "a"]
        extra = judged[1].pair.extra
        assert (extra["year"], extra["w"], extra["tags"], extra["when"]) == (1, None, [0, 1, 2], None)
        assert type(extra["year"]) is int
        assert "warning: w holds NaN in 1 row, which is carried as null; the first: pair 1\n" in capsys.readouterr().err
    responses = frame.rename(columns={"response_a": "response"})[["prompt", "response"]]
    assert [rating.rating for rating in rlaif.rate(responses, lambda prompt, response: 0.5)] == [0.5] * 3
    assert [pair.label for pair in (j.pair for j in rlaif.judge(pa.Table.from_pylist(rows), longer))] == [
        "a",
        None,
        "a",
    ]
    with pytest.raises(ValueError, match="pair 0: prompt is null"):
        rlaif.judge(pd.DataFrame([{**rows[0], "prompt": None}]), longer)


def test_what_tables_make_of_published_rows_is_read(tmp_path: Path) -> None:
    """A turn that is a float, a judge with its template, an arena's lists as Python prints them."""
    source, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    bench = ROWS["mt-bench"][0]
    write_rows(source, [{**bench, "turn": float(bench["turn"]), "judge": ["gpt-4", "pair-v2"]}])
    convert(ConvertConfig(source=str(source), output=str(output)))
    assert rows_of(output)[0]["judge"] == "gpt-4, pair-v2"
    printed = {name: str(json.loads(str(ARENA_TEXTS[name]))) for name in ("prompt", "response_a", "response_b")}
    found = []
    for row in (ARENA_TEXTS, {**ARENA_TEXTS, **printed}):
        write_rows(source, [row])
        convert(ConvertConfig(source=str(source), output=str(output)))
        found.append(rows_of(output))
    assert found[0] == found[1]
    assert isinstance(found[0][0]["prompt"], list)
