"""What programs say of themselves: which settings name what they read, learn from and measure on."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.programs import program

from rlaif.cli import COMMANDS
from rlaif.files.reads import KINDS, Rows, Source, learned_from, sources
from rlaif.training.models import ModelConfig

PROGRAMS = {
    **{name: lambda name=name: importlib.import_module(f"rlaif.commands.{name}") for name in COMMANDS},
    **{
        path.relative_to(ROOT).as_posix(): lambda path=path: program(str(path))
        for folder in ("recipes", "reward_models")
        for path in (ROOT / folder).glob("*.py")
    },
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_program_says_of_itself_are_settings_of_its_own(name: str) -> None:
    module: Any = PROGRAMS[name]()
    classes = [kind for kind in vars(module).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)]
    known = {field.name for kind in (*classes, ModelConfig) for field in dataclasses.fields(kind)}
    assert set(module.READS) <= known
    assert set(module.READS.values()) <= set(KINDS)
    for rows in (*getattr(module, "LEARNS", ()), *getattr(module, "MEASURES", ())):
        assert {rows.source} <= set(module.READS)
        assert {n for n in (rows.split, rows.config_name, rows.when and rows.when[0]) if n} <= known


def test_sources_are_the_paths_and_ids_that_settings_name(tmp_path: Path) -> None:
    judge = tmp_path / "judge.yaml"
    judge.write_text("model: m\n")
    reads = {"a": "rows", "b": "named", "c": "rewards", "d": "judge", "e": "function", "f": "model", "g": "rows"}
    settings = {
        "a": "rows.jsonl",
        "b": ["sft=runs/sft", "dpo=me/dpo"],
        "c": ["reward_model=me/rm", f"rating={judge}", "function=a.b:c"],
        "d": "local",
        "e": "a:b",
        "f": "runs/sft",
        "g": None,
    }
    assert sources(reads, settings) == ["rows.jsonl", "runs/sft", "me/dpo", "me/rm", str(judge)]
    assert sources(reads, {**settings, "d": str(judge), "c": None}) == [
        *("rows.jsonl", "runs/sft", "me/dpo", str(judge)),
    ]


@pytest.mark.parametrize(
    ("rows", "settings", "found"),
    [
        (Rows("d", "s", "c"), {"d": "x", "s": "train", "c": "en"}, Source("x", "train", "en")),
        (Rows("d", "s"), {"d": "x"}, Source("x", None, None)),
        (Rows("d", "s"), {"s": "train"}, None),
        (Rows("d", "s", needs_split=True), {"d": "x", "s": None}, None),
        (Rows("d", "s", needs_split=True), {"d": "x", "s": "None"}, None),
        (Rows("d", "s", needs_split=True), {"d": "x", "s": "test"}, Source("x", "test", None)),
        (Rows("d", when=("sft", True)), {"d": "x", "sft": False}, None),
        (Rows("d", when=("sft", True)), {"d": "x", "sft": True}, Source("x", None, None)),
        (Rows("d", when=("sft", False)), {"d": "x"}, Source("x", None, None)),
    ],
)
def test_rows_are_named_by_settings(rows: Rows, settings: dict[str, Any], found: Source | None) -> None:
    assert rows.named_in(settings) == found
    assert learned_from([rows], settings) == ([] if found is None else [dataclasses.asdict(found)])
