"""Datasets of several configs: which one is said with --config_name, in every program that reads rows."""

from __future__ import annotations

import dataclasses
import importlib
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import ROOT, write_rows
from support.files import read_pairs, read_prompts
from support.formats import HS3, REWARDBENCH, Row

from rlaif.ablations.held_out import compare_prompts
from rlaif.ablations.stages import plan_study
from rlaif.ablations.study import load_study
from rlaif.commands.convert import ConvertConfig, convert
from rlaif.files.bad_rows import BadRows
from rlaif.files.hub import config_names
from rlaif.files.preferences import load_preferences
from rlaif.files.sources import read_judgments, read_rows
from rlaif.formats.files import read_source
from rlaif.formats.known import read_benchmark

PAIRS = [{"prompt": f"p{i}", "response_a": "a", "response_b": "b", "z": 1.0} for i in range(2)]
CHOSEN = [{"prompt": f"q{i}", "chosen": "a", "rejected": "b"} for i in range(3)]


def clone(folder: Path, configs: dict[str, list[Row]], *, declared: bool = True) -> Path:
    """A clone of a Hub dataset with a folder for each config, of which its card tells or does not."""
    lines = ""
    for name, rows in configs.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        lines += f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/train.jsonl\n"
    if declared:
        (folder / "README.md").write_text(f"---\nconfigs:\n{lines}---\n")
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("clones") / "two", {"pairs": PAIRS, "chosen": CHOSEN})


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("clones") / "bare", {"pairs": PAIRS, "chosen": CHOSEN}, declared=False)


READERS: list[Callable[[Path, str | None], Any]] = [
    lambda source, name: list(read_rows(source, None, name)),
    lambda source, name: read_prompts(source, None, name),
    lambda source, name: read_pairs(source, None, name),
    lambda source, name: read_judgments(source, None, name),
    lambda source, name: load_preferences(source, "train", name),
]


@pytest.mark.parametrize("read", READERS)
def test_the_message_names_the_configs_and_the_option(two: Path, read: Callable[[Path, str | None], Any]) -> None:
    with pytest.raises(ValueError, match=r"two has the configs pairs, chosen and no default; say .* --config_name"):
        read(two, None)
    with pytest.raises(ValueError, match=r"expected one of them as --config_name \(got other\)"):
        read(two, "other")


def test_a_config_is_read(two: Path, tmp_path: Path) -> None:
    assert len(read_pairs(two, None, "pairs")) == len(read_judgments(two, None, "pairs")) == 2
    assert read_prompts(two, "train", "chosen") == ["q0", "q1", "q2"]
    assert len(load_preferences(two, "train", "chosen")) == 3
    config = ConvertConfig(source=str(two), output=str(tmp_path / "out.jsonl"))
    with pytest.raises(ValueError, match="the configs pairs, chosen and no default"):
        convert(config)
    report = convert(dataclasses.replace(config, config_name="chosen"))
    assert (report["source_format"], report["written"]) == ("trl", 3)


def test_a_folder_stands_for_a_config_that_no_card_declares(bare: Path) -> None:
    with pytest.raises(ValueError, match=r"bare cannot be read as one table .*Say with --config_name which folder"):
        list(read_rows(bare))
    assert len(read_pairs(bare, None, "pairs")) == 2
    with pytest.raises(ValueError, match="bare has the config default"):
        read_pairs(bare, None, "other")


@pytest.mark.parametrize(
    ("files", "left"),
    [
        (["train.jsonl", "extra.jsonl"], "extra.jsonl"),  # `datasets` takes what is called as a split is
        (["a.parquet", "b.jsonl", "c.parquet"], "b.jsonl"),  # and one kind of file
        (["a.jsonl", "b.jsonl"], None),
    ],
)
def test_a_file_of_a_folder_that_is_not_read_is_said(
    files: list[str], left: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in files:
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(PAIRS), tmp_path / name)
        else:
            write_rows(tmp_path / name, PAIRS)
    bad = BadRows()
    for _ in range(2):  # it is said once, however often it is read
        assert len(list(read_rows(tmp_path, bad=bad))) == 2 * sum(name != left for name in files)
        bad.say()
    said = capsys.readouterr().err
    assert said.count("\n") == (left is not None)
    assert said.startswith(f"warning: {tmp_path}: 1 of its files is not read ({left}). " if left else "")


def test_shards_that_are_missing_are_named(tmp_path: Path) -> None:
    for at in (0, 2):
        write_rows(tmp_path / f"train-0000{at}-of-00003.jsonl", PAIRS)
    with pytest.raises(ValueError, match=r"holds 2 of the 3 files train-\*-of-00003; expected all"):
        list(read_rows(tmp_path))


def test_a_default_config_needs_no_name_and_a_file_has_none(two: Path, tmp_path: Path) -> None:
    source = clone(tmp_path / "c", {"default": PAIRS, "more": CHOSEN})
    assert config_names(source) == []
    assert len(read_pairs(source)) == 2
    assert len(read_prompts(source, None, "more")) == 3
    with pytest.raises(ValueError, match=r"train.jsonl is a file, which has no configs"):
        read_pairs(two / "pairs/train.jsonl", None, "pairs")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "contain any data files"),
        ({"README.md": "---\nconfigs:\n- config_name: [\n---\n", "a.jsonl": "{}"}, "could not be read"),
        ({"d.py": "raise SystemExit"}, "scripts are no longer supported"),
        ({"dataset_dict.json": "{"}, "could not be read"),
        ({"a.parquet": "PAR1"}, "could not be read|cannot be read"),
        ({"a.jsonl": '{"prompt":\n{{\n'}, "cannot be read as one table"),
    ],
)
def test_a_folder_that_is_no_dataset_is_one_line(files: dict[str, str], reason: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name, text in files.items():
        (tmp_path / "d" / name).write_text(text)
    for read in (read_rows, read_source, read_benchmark):
        with pytest.raises(ValueError, match=f"^{tmp_path / 'd'} .*({reason})") as refused:
            list(read(tmp_path / "d"))
        assert "\n" not in str(refused.value)


def test_a_benchmark_is_every_config(tmp_path: Path) -> None:
    rows = [{**REWARDBENCH, "id": at, "prompt": f"Which, {at}?"} for at in range(3)]
    source = clone(tmp_path / "bench", {"one": rows[:2], "two": rows[1:], "three": [HS3]})
    found = list(read_benchmark(source))
    assert [text for _, text in found] == ["Which, 0?", "Which, 1?", "Which, 1?", "Which, 2?", "Which?"]
    assert [identity for identity, _ in found][:4] == ["0", "1", "two/1", "2"]


def test_a_study_compares_the_prompts_of_the_configs_that_are_read(two: Path, tmp_path: Path) -> None:
    def shared(learned: str, measured: str) -> str | None:
        learns = {"model": "m", "dataset": str(two), "config_name": learned}
        measures = {"policies": ["dpo=${dpo}"], "prompts": str(two), "config_name": measured}
        stages = {
            "dpo": {"program": "recipes/dpo.py", "set": learns},
            "evaluate": {"program": "rlaif evaluate", "set": measures},
        }
        content = {"launch": "recipes/accelerate/cpu.yaml", "seeds": [0], "stages": stages}
        content["factors"] = {"dtype": {"evaluate.dtype": ["float32", "auto"]}}
        content["outcomes"] = {"kl": {"stage": "evaluate", "metric": "kl"}}
        study = plan_study(load_study(content, "x.yaml"), tmp_path, 1)
        found = compare_prompts(study.stages[0, 0]["evaluate"])
        assert found.compared, found.unread
        return found.shared

    assert shared("chosen", "pairs") is None
    assert str(shared("chosen", "chosen")).startswith("3 of the 3 prompts that evaluate measures on")


@pytest.mark.parametrize(
    ("module", "config"),
    [
        *[("rlaif.commands.judge", "JudgingConfig"), ("rlaif.commands.sample", "SampleConfig")],
        *[("rlaif.commands.evaluate", "EvaluateConfig"), ("rlaif.files.selection", "BuildConfig")],
        ("rlaif.commands.convert", "ConvertConfig"),
    ],
)
def test_every_command_that_reads_a_dataset_has_the_option(module: str, config: str) -> None:
    helps = {f.name: f.metadata["help"] for f in dataclasses.fields(getattr(importlib.import_module(module), config))}
    splits = {name for name in helps if name.endswith("split")}
    assert splits == {name.replace("config_name", "split") for name in helps if name.endswith("config_name")}
    assert all("of a file, what its column `split` says" in helps[name] for name in splits)


@pytest.mark.parametrize(
    ("program", "options"),
    [
        *[("recipes/sft.py", {"config_name"}), ("recipes/dpo.py", {"config_name"})],
        ("recipes/ppo.py", {"prompts_config_name", "held_out_config_name"}),
        ("recipes/best_of_n.py", {"prompts_config_name"}),
        *[("reward_models/bradley_terry.py", {"config_name"}), ("reward_models/score.py", {"config_name"})],
    ],
)
def test_every_program_that_reads_a_dataset_has_the_option(
    program: str, options: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ROOT / program
    monkeypatch.setattr("sys.argv", [str(path), "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(path), run_name="__main__")
    said = capsys.readouterr().out
    assert all(f"--{option} " in said for option in options)
    assert " ".join(said.split()).count("of a file, what its column `split` says") == len(options)
