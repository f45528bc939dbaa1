"""Stages are one where what they compute is one, and another wherever anything that matters differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.toy_programs import toy_study

from rlaif.ablations import programs
from rlaif.ablations.held_out import compare_prompts
from rlaif.ablations.schedule import missing
from rlaif.ablations.stages import Plan, Stage, plan_study
from rlaif.ablations.study import load_study
from rlaif.settings.programs import program_module


@pytest.fixture(autouse=True)
def forget() -> None:
    """A program is looked at once in a process; a test writes several by one name."""
    for cached in (programs.program_of, program_module):
        cached.cache_clear()


CPU = "recipes/accelerate/cpu.yaml"


def plan(folder: Path, content: dict[str, Any], threads: int = 1, report_to: str = "none") -> Plan:
    return plan_study(load_study(content, "toy.yaml"), folder / "store", threads, report_to)


def addresses(plan: Plan, name: str) -> list[str]:
    return [stage.address for stage in plan.order if stage.name == name]


def test_cells_share_what_they_have_in_common(tmp_path: Path) -> None:
    made = plan(tmp_path, toy_study(tmp_path))
    # Seed by seed, and the cells take turns at going first.
    assert [(stage.name, stage.settings.get("scale")) for stage in made.order if stage.name == "second"] == [
        ("second", scale) for scale in (1.0, 2.0, 2.0, 1.0, 1.0, 2.0)
    ]
    assert [stage.name for stage in made.order] == ["first", "second", "second"] * 3
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


@pytest.mark.parametrize(
    ("change", "first", "second"), [("toy.py", False, False), ("data.txt", True, True), ("model/weights", False, True)]
)
def test_an_address_changes_with_what_is_read(tmp_path: Path, change: str, first: bool, second: bool) -> None:
    """Also with what a judge's YAML names. Code is no part of it: a stage's record has what it ran."""
    content = toy_study(tmp_path)
    (tmp_path / "model").mkdir()
    for name in ("data.txt", "model/weights"):
        (tmp_path / name).write_text("one")
    (tmp_path / "judge.yaml").write_text(f"judge_model: {tmp_path / 'model'}\n")
    content["stages"]["first"]["set"]["text"] = str(tmp_path / "data.txt")
    content["stages"]["second"]["set"]["text"] = f"rating={tmp_path / 'judge.yaml'}"
    before = plan(tmp_path, content)
    with (tmp_path / change).open("a") as file:
        file.write("\n")
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
    monkeypatch.setattr("rlaif.ablations.stages.versions", lambda python: {"torch": "99"})
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
        (stage.folder / "stage.json").write_text('{"code": {}}')
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
        (stage.folder / "stage.json").write_text('{"code": {}}')
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
        ("rlaif jugde", "'rlaif jugde' is no program"),
        ("nowhere.py", "program is 'nowhere.py', which is no file"),
        ("reward_models/bradley_terry.py", "trains, and there is no launch file"),
    ]:
        content = toy_study(tmp_path)
        content["stages"]["first"] = {"program": program}
        with pytest.raises(ValueError, match=message):
            plan(tmp_path, content)


def test_a_program_that_says_nothing_of_itself_is_a_stage_too(tmp_path: Path) -> None:
    """It is not imported to ask it: it may begin to work at once."""
    (tmp_path / "mine.py").write_text("raise SystemExit('it ran')")
    content = toy_study(tmp_path)
    content["stages"]["second"] |= {"program": str(tmp_path / "mine.py"), "writes": "folder", "launch": CPU}
    made = plan(tmp_path, content).stages[0, 0]["second"]
    assert made.program.names is None
    assert made.settings["folder"] == str(made.output)
    assert "measures on is not known" in str(compare_prompts(made).unread)
    assert made.words[1:4] == ["-m", "accelerate.commands.launch", "--quiet"]
    assert made.words[-3:] == [str(tmp_path / "mine.py"), "--config", str(made.folder / "settings.yaml")]


def test_another_name_of_a_setting_is_the_same_setting(tmp_path: Path) -> None:
    content = toy_study(tmp_path, factors={"seed": {"second.seed": [0, 1]}}, baseline={}, launch=CPU)
    found = []
    for name in ("max_completion_length", "max_new_tokens"):
        content["stages"]["second"] = {"program": "recipes/ppo.py", "set": {"prompts": "${first}", name: 5}}
        found.append(addresses(plan(tmp_path, content), "second"))
    assert found[0] == found[1]


def test_a_level_sets_what_the_stage_sets_under_another_name(tmp_path: Path) -> None:
    """It takes its place, as a number and as null; so do a file's settings those of its base."""
    content = toy_study(tmp_path, seeds=[0], baseline={}, launch=CPU, outcomes={"v": {"stage": "ppo", "metric": "v"}})
    content["factors"] = {"n": {"5": {}, "6": {"ppo.max-new-tokens": 6}, "none": {"ppo.response_length": None}}}
    content["stages"]["ppo"] = {
        "program": "recipes/ppo.py",
        "config": "recipes/configs/ppo/kitchen.yaml",
        "set": {"prompts": "${first}", "max_new_tokens": 5},
    }
    made = plan(tmp_path, content)
    found = [made.stages[index, 0]["ppo"].settings.get("max_completion_length") for index in range(3)]
    assert found == [5, 6, None]
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({"stages": content["stages"], "launch": CPU}))
    built = {key: content[key] for key in ("seeds", "factors", "outcomes")} | {"base": str(tmp_path / "base.yaml")}
    built["stages"] = {"ppo": {"set": {"response_length": 7}}}
    made = plan(tmp_path, built)
    assert made.stages[0, 0]["ppo"].settings["max_completion_length"] == 7


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"preference_loss": "hrad"}, "stage dpo: preference_loss is 'hrad'; .*did you mean 'hard'"),
        ({"eval_strategy": False}, "stage dpo: eval_strategy is false; .*quote it"),
        ({"max_steps": "many"}, "stage dpo: max_steps is 'many'; expected a whole number"),
        ({"beta": -0.1}, "stage dpo: beta is -0.1; expected a number above 0"),
        ({"learning_rate": "-1e-4"}, "stage dpo: learning_rate is -0.0001; expected a number above 0"),
    ],
)
def test_a_value_that_a_program_refuses_is_found_before_anything_runs(
    tmp_path: Path, sets: dict[str, Any], message: str
) -> None:
    content = toy_study(tmp_path, baseline={}, launch=CPU, outcomes={"v": {"stage": "dpo", "metric": "v"}})
    dpo = {"dataset": "${first}", "model": "m", "beta": "1e-1", "max_steps": -1, "seed": "${seed}"}
    content["stages"]["dpo"] = {"program": "recipes/dpo.py", "set": dpo}
    content["factors"] = {"a": {"x": {}, "y": {f"dpo.{name}": value for name, value in sets.items()}}}
    with pytest.raises(ValueError, match=message):
        plan(tmp_path, content)


def test_a_stage_that_is_done_has_its_mark_and_its_output(tmp_path: Path) -> None:
    stage: Stage = plan(tmp_path, toy_study(tmp_path)).order[0]
    assert not stage.done
    stage.output.mkdir(parents=True)
    assert not stage.done
    (stage.folder / "stage.json").write_text('{"code": {}}')
    assert stage.done
    stage.output.rmdir()
    assert not stage.done
