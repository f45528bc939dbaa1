"""`rlaif convert`: files in, files out, and what did not get through."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from support import rows_of, write_rows
from support.formats import ARENA, HH, HS2, HS3, PAIR, PKU, REWARDBENCH, ROWS, Row, assistant, user

from rlaif.cli import main
from rlaif.commands.build import build
from rlaif.commands.convert import ConvertConfig, convert
from rlaif.files.selection import BuildConfig
from rlaif.files.sources import fingerprint
from rlaif.formats.files import read_source, write_output
from rlaif.formats.known import read_benchmark


def test_one_format_becomes_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HelpSteer3 -> our pairs -> a dataset -> HH, and the better response is still the chosen one."""
    rows = [{**row, "context": user(f"Which, {i}?")} for i, row in enumerate(ROWS["helpsteer3"] * 4)]
    rows.append({**HS3, "overall_preference": 0})
    source = write_rows(tmp_path / "hs3.jsonl", rows)
    where = ["--source", str(source), "--output", str(tmp_path / "judged/judgments.jsonl")]
    monkeypatch.setattr("sys.argv", ["rlaif", "convert", *where])
    main()
    said = capsys.readouterr().out
    assert said.split()[:2] == ["source_format", "helpsteer3"]
    assert "ties                         1\n" in said
    manifest = json.loads((tmp_path / "judged/judgments.jsonl.manifest.json").read_text())
    assert (manifest["command"], manifest["inputs"]) == ("rlaif convert", {str(source): fingerprint(source)})
    assert manifest["config"]["source"] == str(source)
    assert {"rows": 9, "ties": 1, "written": 9, "source_format": "helpsteer3"}.items() <= manifest["report"].items()
    assert sorted(path.name for path in (tmp_path / "judged").iterdir()) == [
        "judgments.jsonl",
        "judgments.jsonl.manifest.json",
    ]
    where = [str(tmp_path / "judged"), str(tmp_path / "set")]
    build(BuildConfig(judgments=where[0], output=where[1], validation=0.5, test=0.0))
    sizes = {}
    for folder, split in (("judged", None), ("set", None), ("set", "train"), ("set", "validation")):
        out = tmp_path / "hh.parquet"
        report = convert(ConvertConfig(source=str(tmp_path / folder), format="hh", output=str(out), split=split))
        kept = pq.read_table(out).to_pylist()
        sizes[folder, split] = len(kept)
        assert {(row["chosen"].split()[-1], row["rejected"].split()[-1]) for row in kept} == {("right", "wrong")}
        names = {"judged": []}.get(folder, ["train", "validation"] if split is None else [split])
        assert ("source_split" in kept[0]) == (folder == "set" and split is None)
        assert report["splits"] == {name: sizes.get(("set", name), report["splits"][name]) for name in names}
        assert list(report["splits"]) == names
        assert sum(report["splits"].values()) == (len(kept) if folder == "set" else 0)
    assert min(sizes.values()) > 0
    assert sizes["judged", None] == sizes["set", None] == sizes["set", "train"] + sizes["set", "validation"] == 8
    with pytest.raises(
        ValueError, match=r"set has the splits train, validation; say which one with --split \(got test"
    ):
        convert(ConvertConfig(source=str(tmp_path / "set"), output=str(tmp_path / "x.jsonl"), split="test"))
    report = convert(
        ConvertConfig(source=str(tmp_path / "judged"), output=str(tmp_path / "hs3.parquet"), format="helpsteer3")
    )
    assert (report["rows"], report["written"], report["ties"], report["left_out"]) == (9, 9, 1, {})
    back = [row for _, _, row in read_source(tmp_path / "hs3.parquet")]
    assert back == rows


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        ([{"a": 1}], [], "rows.jsonl:1 fits no known format; got the columns a. Say with --source_format"),
        ([ROWS["judgebench"][0] | ROWS["auto-j"][0]], [], "rows.jsonl:1 fits judgebench and auto-j; got the columns"),
        (
            [PAIR],
            ["--split", "train"],
            "rows.jsonl:1: the row has no column split, so a file is one split; got --split",
        ),
        ([HS2], ["--split", "val"], "rows.jsonl has no row of the split val; expected --split with one of"),
        ([], [], "has no rows; expected at least one"),
        ([PAIR, {"z": 1}], [], "rows.jsonl:2: the row has no 'prompt'"),
        ([{**PAIR, "z": 0.5}], ["--format", "trl"], "can be written as trl (1 tie); nothing written"),
        ([PAIR], ["--format", "hhhh"], "hhhh"),
        ([PAIR], ["--format", "shp"], "shp"),
        ([PAIR], ["--output", "x.csv"], "output is x.csv; expected a file that ends in .jsonl or .parquet"),
        ([PAIR], ["--source_format", "llmbar"], "rows.jsonl:1: the row has no 'input'"),
        (
            [PAIR],
            ["--skip_malformed", "true"],
            "'skip_malformed' is not a setting any more; expected --on_bad_row",
        ),
        ([PAIR], ["--on_bad_row", "drop"], "drop"),
        ([PAIR], ["--verdict", "safer"], "verdict is safer, which pairs has not; its rows have only one"),
        ([PKU], ["--verdict", "safer"], "expected one of better_response_id, safer_response_id"),
        ([PAIR], ["--config_name", "x"], "rows.jsonl is a file, which has no configs; expected no --config_name"),
        *[
            (
                [row],
                [],
                f"rows.jsonl:1 holds one response ({' and '.join(names)}), a demonstration, which recipes/sft.py",
            )
            for row, names in (
                ({"messages": [*user(), *assistant("x")]}, ["messages"]),
                ({"text": "x", "meta": 1}, ["text"]),
                ({"instruction": "q", "input": "", "output": "x"}, ["instruction", "output"]),
                ({"conversations": [{"from": "human", "value": "q"}]}, ["conversations"]),
                ({"prompt": "q", "completion": "x"}, ["prompt", "completion"]),
                ({"question": "q", "answer": "x"}, ["question", "answer"]),
            )
        ],
    ],
)
def test_what_cannot_be_converted_is_one_line(
    rows: list[Row],
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, output = write_rows(tmp_path / "rows.jsonl", rows), tmp_path / "new/out.jsonl"
    monkeypatch.setattr("sys.argv", ["rlaif", "convert", "--source", str(source), "--output", str(output), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (1, 2)
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]  # nothing is half written


def test_an_output_of_somebody_else_stays(tmp_path: Path) -> None:
    source, output = write_rows(tmp_path / "rows.jsonl", [PAIR]), tmp_path / "out.jsonl"
    config = ConvertConfig(source=str(source), output=str(output))
    output.write_text("old")
    with pytest.raises(ValueError, match="expected a new file, or one that `rlaif convert` wrote"):
        convert(config)
    assert output.read_text() == "old"
    output.unlink()
    assert convert(config) == convert(config)  # its own is replaced


def test_bad_rows_are_left_out_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    lines = [*map(json.dumps, ROWS["hh"]), "{", '{"chosen": "x"', json.dumps({"chosen": HH + "x", "rejected": "y"})]
    source.write_text("\n".join([*lines, json.dumps({**ROWS["hh"][0], "n": float("nan")})]) + "\n")
    config = ConvertConfig(source=str(source), output=str(output), on_bad_row="skip")
    report = convert(config)
    assert (report["bad_rows"], report["written"], report["left_out"]) == (4, 1, {"bad rows": 4})
    assert report["ledger"] == {"read": 5, "used": 1, "left_out": {"bad rows": 4}}
    ledger = rows_of(tmp_path / "out.jsonl.bad_rows.jsonl")
    assert [row["place"] for row in ledger] == [f"{source}:{at}" for at in (2, 3, 4, 5)]
    assert [row["reason"].split("; ")[0][:30] for row in ledger][2:] == [
        "rejected is 'y'",
        "n holds nan",
    ]
    assert "left out 4 rows that cannot be used" in capsys.readouterr().err
    assert len(rows_of(output)) == 1
    with pytest.raises(ValueError, match=r"rows.jsonl:2: the line is not JSON"):
        convert(dataclasses.replace(config, on_bad_row="stop"))
    write_rows(source, ROWS["hh"])
    convert(config)
    assert not (tmp_path / "out.jsonl.bad_rows.jsonl").exists()  # that was another run's


def test_what_makes_no_pair_is_counted(tmp_path: Path) -> None:
    other = [*user("Hi."), *assistant("Good day."), *user(), *assistant("x")]
    rows = [ARENA, {**ARENA, "conversation_b": other}, {**ARENA, "conversation_b": [*user("Ho."), *assistant("x")]}]
    source = write_rows(tmp_path / "rows.jsonl", rows)
    report = convert(ConvertConfig(source=str(source), output=str(tmp_path / "out.jsonl")))
    apart = {"the conversations differ before the last response": 2}
    assert report["ledger"] == {"read": 3, "used": 1, "left_out": apart}
    assert (report["rows"], report["judgments"], report["left_out"]) == (3, 1, apart)


def test_a_null_response_does_not_hide_the_format(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [{**ROWS["hh"][0], "chosen": None}, *ROWS["hh"]])
    report = convert(ConvertConfig(source=str(source), output=str(tmp_path / "out.jsonl")))
    assert (report["source_format"], report["written"], report["left_out"]) == ("hh", 1, {"a response is null": 1})


def test_the_verdict_of_a_row_is_chosen(tmp_path: Path) -> None:
    source, output = write_rows(tmp_path / "rows.jsonl", [PKU]), tmp_path / "out.jsonl"
    for verdict, z in ((None, 1.0), ("better_response_id", 1.0), ("safer_response_id", 0.0)):
        report = convert(ConvertConfig(source=str(source), output=str(output), verdict=verdict))
        assert report["verdict"] == (verdict or "better_response_id")
        (row,) = rows_of(output)
        assert (row["z"], row["label"]) == (z, "a" if z else "b")
        other = {"better_response_id": "safer_response_id"}.get(report["verdict"], "better_response_id")
        assert row[other] == PKU[other]
        assert row["is_response_0_safe"] is False


def test_a_file_has_splits_where_its_rows_say_so(tmp_path: Path) -> None:
    rows = [{**row, "prompt": f"{split}?", "split": split} for row in ROWS["helpsteer2"] for split in ("train", "val")]
    source, output = write_rows(tmp_path / "preference.jsonl", rows), tmp_path / "out.jsonl"
    for split, prompts in (("val", {"val?"}), (None, {"train?", "val?"}), ("all", {"train?", "val?"})):
        convert(ConvertConfig(source=str(source), output=str(output), split=split))
        assert {row["prompt"][0]["content"] for row in rows_of(output)} == prompts


def test_a_row_of_another_kind_is_left_out_once(tmp_path: Path) -> None:
    """It is not written as well, and the ledger adds up; so is a first row that is of no format."""
    trl: Row = {"chosen": "x", "rejected": "y"}
    rows: list[Row] = [{"a": 1}, {"prompt": "q", **trl}, {"prompt": user(), **trl}, {"prompt": "r", **trl}]
    source, output = write_rows(tmp_path / "rows.jsonl", rows), tmp_path / "out.jsonl"
    report = convert(ConvertConfig(source=str(source), output=str(output), on_bad_row="skip"))
    assert [row["prompt"] for row in rows_of(output)] == ["q", "r"]
    assert report["ledger"] == {"read": 4, "used": 2, "left_out": {"bad rows": 2}}
    reasons = [row["reason"] for row in rows_of(tmp_path / "out.jsonl.bad_rows.jsonl")]
    assert reasons[0].startswith("the row fits no known format; got the columns a.")
    assert reasons[1].startswith("the prompt is messages, but the one at")
    source = write_rows(tmp_path / "none.jsonl", [{"a": 1}] * 2)
    with pytest.raises(ValueError, match=r"no rows that can be read \(.*none.jsonl:1: the row fits no known format"):
        convert(ConvertConfig(source=str(source), output=str(output), on_bad_row="skip"))


def test_verdicts_that_will_read_as_peoples_are_said_to(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [{**PAIR, "prompt": "Which?", "judge": "a-model"}])
    for name in (
        "judgebench",
        "rewardbench",
        "hh",
        "hhh",
        "llmbar",
        "auto-j",
        "arena",
        "arena-55k",
        "trl",
        "alpacaeval",
    ):
        config = ConvertConfig(source=str(source), output=str(tmp_path / "out.jsonl"), format=name)
        said = convert(config)["not_carried"]
        assert ("its rows are read as people's verdicts" in said) == (name not in ("trl", "alpacaeval"))
        assert ("who judged" in said) == (name != "alpacaeval")


def test_a_repeated_pair_gets_an_id_of_its_own(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", ROWS["hh"] * 3)
    config = ConvertConfig(source=str(source), output=str(tmp_path / "out.jsonl"))
    assert convert(config)["repeated"] == 2
    ids = [row["id"] for row in rows_of(tmp_path / "out.jsonl")]
    assert ids == [ids[0], f"{ids[0]}-2", f"{ids[0]}-3"]
    with pytest.raises(ValueError, match="which is read too; expected another file"):
        convert(ConvertConfig(source=str(source), output=str(source)))


def test_sources_that_people_have_on_disk(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text(json.dumps(ROWS["alpacaeval"], indent=2))
    with gzip.open(tmp_path / "train.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(row) + "\n" for row in ROWS["hh"]))
    write_output(tmp_path / "pref.parquet", ROWS["helpsteer2"])
    for name, kind in (("annotations.json", "alpacaeval"), ("train.jsonl.gz", "hh"), ("pref.parquet", "helpsteer2")):
        found = list(read_source(tmp_path / name))
        assert [row for _, _, row in found] == ROWS[kind]
        assert found[0][:2] == ("", f"{tmp_path / name}:1")
    (tmp_path / "cut.jsonl.gz").write_bytes((tmp_path / "train.jsonl.gz").read_bytes()[:-12])
    (tmp_path / "torn.json").write_text("[{")
    (tmp_path / "texts.json").write_text('["a"]')
    for name, message in (
        ("cut.jsonl.gz", "cannot be unpacked .*; expected gzipped lines of JSON"),
        ("torn.json", "torn.json is not JSON"),
        ("texts.json", "texts.json:1: the line holds .a.; expected one JSON object"),
    ):
        with pytest.raises(ValueError, match=message):
            list(read_source(tmp_path / name))


def test_parquet_takes_columns_that_come_late_and_refuses_mixed_ones(tmp_path: Path) -> None:
    rows: list[Row] = [{"a": 1}, *[{"a": None}] * 5_000, {"a": 0.5, "b": [{"c": "x"}]}]
    assert write_output(tmp_path / "rows.parquet", rows) == 5_002
    back = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert (back[0], back[-1]) == ({"a": 1.0, "b": None}, {"a": 0.5, "b": [{"c": "x"}]})
    with pytest.raises(ValueError, match=r"mixed.parquet: these rows do not fit one Parquet schema .* Write .jsonl"):
        write_output(tmp_path / "mixed.parquet", [{"a": "x"}, *[{"a": "y"}] * 5_000, {"a": 1}])
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_every_split_of_a_source_is_read(tmp_path: Path) -> None:
    """A folder of `save_to_disk`, one as the Hub keeps it, and one with a single split."""
    prompts = {"raw": ["Which, 17?", "Which, 18?"], "filtered": ["Which, 17?"]}
    rows = {
        name: [{**REWARDBENCH, "id": int(prompt[-3:-1]), "prompt": prompt} for prompt in prompts[name]]
        for name in prompts
    }
    both = datasets.DatasetDict({name: datasets.Dataset.from_list(rows[name]) for name in rows})
    both.save_to_disk(tmp_path / "saved")
    both["raw"].save_to_disk(tmp_path / "one")
    (tmp_path / "hub").mkdir()
    files = "".join(f"  - split: {name}\n    path: {name}.parquet\n" for name in rows)
    (tmp_path / "hub/README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n")
    for name, part in both.items():
        part.to_parquet(tmp_path / f"hub/{name}.parquet")
    for folder in ("saved", "hub"):
        items = [("17", "Which, 17?"), ("18", "Which, 18?"), ("filtered/17", "Which, 17?")]
        assert list(read_benchmark(tmp_path / folder)) == items
        config = ConvertConfig(source=str(tmp_path / folder), output=str(tmp_path / "out.jsonl"))
        with pytest.raises(
            ValueError, match="has the splits raw, filtered; say which one with --split, or --split all"
        ):
            convert(config)
        report = convert(dataclasses.replace(config, split="all"))
        assert (report["splits"], report["written"]) == ({"raw": 2, "filtered": 1}, 3)
        assert [row["source_split"] for row in rows_of(tmp_path / "out.jsonl")] == ["raw", "raw", "filtered"]
        assert convert(dataclasses.replace(config, split="filtered"))["splits"] == {"filtered": 1}
        places = [where for _, where, _ in read_source(tmp_path / folder)]
        assert places == [f"{tmp_path / folder}[{at}" for at in ("raw]:1", "raw]:2", "filtered]:1")]
    assert [split for split, _, _ in read_source(tmp_path / "one")] == ["", ""]
    assert convert(ConvertConfig(source=str(tmp_path / "one"), output=str(tmp_path / "1.jsonl")))["written"] == 2
    with pytest.raises(ValueError, match=r"nowhere/here/there does not exist; expected a .jsonl or .parquet file"):
        list(read_source("nowhere/here/there"))
    with pytest.raises(ValueError, match=r"ada/nowhere could not be read"):
        list(read_source("ada/nowhere"))
