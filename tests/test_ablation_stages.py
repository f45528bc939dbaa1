"""Stages are one where what they compute is one, and another wherever anything that matters differs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support.toy_programs import toy_study

from rlaif.ablations import code, programs
from rlaif.ablations.code import code_files
from rlaif.ablations.schedule import missing
from rlaif.ablations.stages import Plan, Stage, plan_study
from rlaif.ablations.study import load_study


@pytest.fixture(autouse=True)
def forget() -> Callable[[], None]:
    """Files are read once in a process; a test changes them."""

    def clear() -> None:
        for cached in (code._reached, code._tree, code._tree_hash, code._module_file, programs.trains):
            cached.cache_clear()

    clear()
    return clear


def plan(folder: Path, content: dict[str, Any], threads: int = 1, report_to: str = "none") -> Plan:
    return plan_study(load_study(content, "toy.yaml"), folder / "store", threads, report_to)


def addresses(plan: Plan, name: str) -> list[str]:
    return [stage.address for stage in plan.order if stage.name == name]


def test_cells_share_what_they_have_in_common(tmp_path: Path) -> None:
    made = plan(tmp_path, toy_study(tmp_path))
    assert [stage.name for stage in made.order] == [
        "first",
        "second",
        "first",
        "second",
        "first",
        "second",
        *["second"] * 3,
    ]
    first = made.order[0]
    assert made.users(first) == [(0, 0), (1, 0)]
    assert len({stage.address for stage in made.order}) == 9
    second = made.stages[1, 2]["second"]
    assert second.inputs == [made.stages[0, 2]["first"]]
    assert second.settings["source"] == str(made.stages[0, 2]["first"].output)
    assert second.settings["scale"] == 2.0
    assert made.stages[0, 2]["first"].settings["seed"] == 2  # a number, not "2"
    assert [stage.name for stage in second.ancestors()] == ["first", "second"]
    again = plan(tmp_path, toy_study(tmp_path))
    assert [stage.address for stage in again.order] == [stage.address for stage in made.order]


def test_only_what_is_read_is_needed(tmp_path: Path) -> None:
    content = toy_study(tmp_path)
    content["stages"]["third"] = {"program": str(tmp_path / "toy.py"), "set": {"source": "${second}"}}
    assert {stage.name for stage in plan(tmp_path, content).order} == {"first", "second"}


def _comment(folder: Path) -> None:
    toy = folder / "toy.py"
    toy.write_text(f'"""What a toy."""  # nothing else\n\n\n{toy.read_text()}')


def _code(folder: Path) -> None:
    toy = folder / "toy.py"
    toy.write_text(toy.read_text().replace("- 0.5", "- 0.25"))


def _helper(folder: Path) -> None:
    (folder / "helper.py").write_text("X = 2\n")


def _data(folder: Path) -> None:
    (folder / "data.txt").write_text("other")


def _judge_model(folder: Path) -> None:
    (folder / "model" / "weights").write_text("other")


def _function(folder: Path) -> None:
    (folder / "graders.py").write_text("import lexicon\ndef grade(): return 2\n")


def _what_a_function_imports(folder: Path) -> None:
    (folder / "lexicon.py").write_text("WORDS = 2\n")


def _function_of_a_judge(folder: Path) -> None:
    (folder / "package" / "inner.py").write_text("X = 2\n")


@pytest.mark.parametrize(
    ("change", "first", "second"),
    [
        (_comment, False, False),
        (_code, True, True),
        (_helper, True, True),
        (_data, True, True),
        (_judge_model, False, True),
        (_function, False, True),
        (_what_a_function_imports, False, True),
        (_function_of_a_judge, False, True),
    ],
)
def test_an_address_changes_with_what_is_computed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forget: Callable[[], None],
    change: Callable[[Path], None],
    first: bool,
    second: bool,
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "package", raising=False)  # of the case before
    toy_study(tmp_path)
    toy = tmp_path / "toy.py"
    (tmp_path / "helper.py").write_text("X = 1\n")
    toy.write_text(f"import helper\n{toy.read_text()}")
    (tmp_path / "data.txt").write_text("one")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("one")
    (tmp_path / "judge.yaml").write_text(f"judge_model: {tmp_path / 'model'}\nwords: package.outer:judge\n")
    (tmp_path / "graders.py").write_text("import lexicon\ndef grade(): return 1\n")
    (tmp_path / "lexicon.py").write_text("WORDS = 1\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").write_text("")
    (tmp_path / "package/outer.py").write_text("from .inner import X\ndef judge(): return X\n")
    (tmp_path / "package/inner.py").write_text("X = 1\n")
    content = toy_study(tmp_path)
    content["stages"]["first"]["set"]["text"] = str(tmp_path / "data.txt")
    content["stages"]["second"]["set"]["text"] = [f"rating={tmp_path / 'judge.yaml'}", "function=graders:grade"]
    before = plan(tmp_path, content)
    change(tmp_path)
    forget()
    after = plan(tmp_path, content)
    assert (addresses(before, "first") != addresses(after, "first")) is first
    assert (addresses(before, "second") != addresses(after, "second")) is second


def test_settings_threads_and_versions_count_and_where_it_logs_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = toy_study(tmp_path)
    made = addresses(plan(tmp_path, content), "first")
    assert addresses(plan(tmp_path, content, report_to="tensorboard"), "first") == made
    assert addresses(plan(tmp_path, content, threads=2), "first") != made
    content["stages"]["first"]["set"]["noise"] = 2.0
    assert addresses(plan(tmp_path, content), "first") != made
    content["stages"]["first"]["set"]["noise"] = 1.0
    monkeypatch.setattr("rlaif.ablations.stages.versions", lambda: "torch 99")
    assert addresses(plan(tmp_path, content), "first") != made


def test_gpus_that_are_dealt_out_count(tmp_path: Path) -> None:
    study = load_study(toy_study(tmp_path), "toy.yaml")
    one, two, none = (plan_study(study, tmp_path, 1, gpus=gpus).order[0].address for gpus in (1, 2, None))
    assert len({one, two, none}) == 3


def test_seeds_that_are_one_run_are_refused(tmp_path: Path) -> None:
    content = toy_study(tmp_path)
    content["stages"]["first"]["set"].pop("seed")
    with pytest.raises(
        ValueError, match=r"the same run with several of the seeds .*: nothing on the way to it depends"
    ):
        plan(tmp_path, content)
    content["seeds"] = [3]
    assert len(plan(tmp_path, content).order) == 3  # with one seed there is nothing to mistake


def test_cells_that_are_one_with_one_seed_only_are_two(tmp_path: Path) -> None:
    """Which randomness matters: the first stage's seed fixed, against varied."""
    content = toy_study(tmp_path, factors={"first": {"varied": {}, "fixed": {"first.seed": 0}}}, baseline={})
    content["stages"]["second"]["set"]["seed"] = "${seed}"
    made = plan(tmp_path, content)
    assert [made.stages[0, s]["second"] is made.stages[1, s]["second"] for s in (0, 1, 2)] == [True, False, False]


def test_a_folder_that_only_finished_stages_read_is_not_made_again(tmp_path: Path) -> None:
    made = plan(tmp_path, toy_study(tmp_path))
    assert missing(made) == made.order
    for stage in made.order:
        stage.output.mkdir(parents=True)
        (stage.folder / "stage.json").write_text("{}")
    assert missing(made) == []
    first, second = made.stages[0, 0]["first"], made.stages[0, 0]["second"]
    first.output.rmdir()
    assert missing(made) == []
    second.output.rmdir()
    assert missing(made) == [first, second]


def test_a_stage_that_is_read_is_made_again_though_another_has_read_it(tmp_path: Path) -> None:
    outcomes = {"a": {"stage": "first", "metric": "value"}, "b": {"stage": "second", "metric": "value"}}
    made = plan(tmp_path, toy_study(tmp_path, outcomes=outcomes))
    for stage in made.order:
        stage.output.mkdir(parents=True)
        (stage.folder / "stage.json").write_text("{}")
    made.stages[0, 1]["first"].output.rmdir()
    assert missing(made) == [made.stages[0, 1]["first"]]


def test_null_leaves_a_setting_out(tmp_path: Path) -> None:
    content = toy_study(tmp_path, factors={"noise": {"with": {}, "without": {"first.noise": None}}}, baseline={})
    made = plan(tmp_path, content)
    assert [("noise" in made.stages[i, 0]["first"].settings) for i in (0, 1)] == [True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"factors": {"seed": {"second.seed": [7, 8]}, "note": {"a": {}, "b": {"second.run_name": "x"}}}},
            "are one: note changes no stage",
        ),
        ({"factors": {"a": {"x": {}, "y": {}}}, "baseline": {}}, "the cells a=x and a=y are one: a changes no stage"),
        ({"factors": {"scale": {"third.scale": [1, 2]}}, "baseline": {}}, "are one: scale changes no stage"),
        (
            {"factors": {"a": {"x": {"third.scale": 1}, "y": {"first.scale": 2}}}, "baseline": {}},
            "sets third.scale, but no outcome is read from the stage third",
        ),
    ],
)
def test_a_factor_that_changes_nothing_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = toy_study(tmp_path, **{"baseline": {}, **change})
    content["stages"]["third"] = {"program": str(tmp_path / "toy.py"), "set": {"source": "${second}"}}
    with pytest.raises(ValueError, match=message):
        plan(tmp_path, content)


def test_a_circle_and_programs_that_are_not_there(tmp_path: Path) -> None:
    content = toy_study(tmp_path)
    content["stages"]["first"]["set"]["source"] = "${second}"
    with pytest.raises(ValueError, match="stages need one another: second -> first -> second"):
        plan(tmp_path, content)
    for program, message in [
        ("rlaif jugde", "program is 'rlaif jugde'; expected rlaif and one of"),
        ("nowhere.py", "program is 'nowhere.py', which is no file"),
        ("reward_models/bradley_terry.py", "trains, and there is no launch file"),
    ]:
        content = toy_study(tmp_path)
        content["stages"]["first"]["program"] = program
        with pytest.raises(ValueError, match=message):
            plan(tmp_path, content)


def test_the_commands_are_those_of_the_program() -> None:
    from rlaif.cli import COMMANDS

    assert code.command_names() == list(COMMANDS)


def test_a_command_is_the_code_that_it_runs() -> None:
    """`rlaif build` has nothing of judges or trainers in it, nor `rlaif judge` of the pages; both have the records."""
    names = {
        program: {path.relative_to(ROOT / "rlaif").as_posix() for path in code_files(program)}
        for program in ("rlaif build", "rlaif judge", "rlaif evaluate")
    }
    assert {"commands/build.py", "files/preferences.py", "records.py", "cli.py"} <= names["rlaif build"]
    assert {"commands/judge.py", "judging/ask.py", "models/local.py", "records.py"} <= names["rlaif judge"]
    assert {"commands/evaluate.py", "pages/evaluation.py", "assess/divergence.py"} <= names["rlaif evaluate"]
    elsewhere = ("training/", "models/", "judging/", "commands/judge", "commands/evaluate", "face")
    assert not {name for name in names["rlaif build"] if name.startswith(elsewhere)}
    elsewhere = ("training/", "pages/", "commands/build", "commands/evaluate", "face")
    assert not {name for name in names["rlaif judge"] if name.startswith(elsewhere)}
    assert {path.name for path in code_files("recipes/dpo.py")} >= {"dpo.py", "trainers.py", "losses.py"}
    assert ROOT / "rlaif/sandbox/world.py" in code_files("rlaif build", ("rlaif.sandbox:gold_reward",))
    assert ROOT / "rlaif/sandbox/world.py" not in code_files("rlaif build")


@pytest.mark.parametrize(
    ("line", "face"),
    [
        ("import rlaif", True),
        ("from rlaif import judge", True),
        ("from rlaif import Pair", False),
        ("import rlaif.records", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import rlaif", False),
    ],
)
def test_what_the_package_loads_at_first_use_is_code_where_it_is_used(line: str, face: bool, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(f"{line}\n")
    files = code_files(str(tmp_path / "program.py"))
    assert (ROOT / "rlaif/face.py" in files) is face
    assert (ROOT / "rlaif/records.py" in files) is ("TYPE_CHECKING" not in line)


def test_a_stage_that_is_done_has_its_mark_and_its_output(tmp_path: Path) -> None:
    stage: Stage = plan(tmp_path, toy_study(tmp_path)).order[0]
    assert not stage.done
    stage.output.mkdir(parents=True)
    assert not stage.done
    (stage.folder / "stage.json").write_text("{}")
    assert stage.done
    stage.output.rmdir()
    assert not stage.done
