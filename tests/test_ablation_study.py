"""An ablation's file: what it means, and every mistake in it named before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.toy_programs import toy_study

from rlaif.ablations.parts import Study
from rlaif.ablations.study import load_study, read_yaml


def study(folder: Path, **changes: Any) -> Study:
    return load_study(toy_study(folder, **changes), "toy.yaml")


def coordinates(study: Study) -> list[dict[str, Any]]:
    return [dict(cell.coordinates) for cell in study.cells]


def test_factors_make_a_grid(tmp_path: Path) -> None:
    levels = {"plain": None, "loud": {"second.noise": 3, "first.noise": 2}}
    made = study(tmp_path, factors={"scale": {"second.scale": [1.0, 2.0]}, "kind": levels})
    assert coordinates(made) == [
        {"scale": 1.0, "kind": "plain"},
        {"scale": 1.0, "kind": "loud"},
        {"scale": 2.0, "kind": "plain"},
        {"scale": 2.0, "kind": "loud"},
    ]
    assert made.cells[3].overrides == {"second.scale": 2.0, "second.noise": 3, "first.noise": 2}
    assert made.cells[3].label == "scale=2.0, kind=loud"


def test_the_baseline_is_a_twin_in_every_other_factor_or_one_cell(tmp_path: Path) -> None:
    factors = {"scale": {"second.scale": [1.0, 2.0]}, "noise": {"second.noise": [0, 1]}}
    twins = study(tmp_path, factors=factors)
    assert [c and c.label for c in map(twins.baseline_of, twins.cells)] == [
        *[None, None, "scale=1.0, noise=0", "scale=1.0, noise=1"],
    ]
    one = study(tmp_path, factors=factors, baseline={"scale": 1.0, "noise": 0})
    assert [c and c.label for c in map(one.baseline_of, one.cells)] == [None, *["scale=1.0, noise=0"] * 3]
    none = study(tmp_path, factors=factors, baseline={})
    assert [none.baseline_of(cell) for cell in none.cells] == [None] * 4


def test_variants_have_grids_of_their_own(tmp_path: Path) -> None:
    made = study(
        tmp_path,
        factors=None,
        baseline={"variant": "plain"},
        variants={
            "plain": None,
            "scaled": {"set": {"second.noise": 2}, "over": {"scale": {"second.scale": [2, 3]}}},
            "first alone": {"reads": ["first"]},
        },
    )
    assert coordinates(made) == [
        {"variant": "plain"},
        {"variant": "scaled", "scale": 2},
        {"variant": "scaled", "scale": 3},
        {"variant": "first alone"},
    ]
    assert made.cells[2].overrides == {"second.noise": 2, "second.scale": 3}
    assert made.cells[2].label == "scaled, scale=3"
    assert {c.label for c in map(made.baseline_of, made.cells[1:]) if c} == {"plain"}
    assert [cell.has("second") for cell in made.cells] == [True, True, True, False]


def test_a_base_is_built_upon(tmp_path: Path) -> None:
    import yaml

    content = toy_study(tmp_path)
    base = {key: content.pop(key) for key in ("seeds", "stages", "outcomes")}
    base["outcomes"]["other"] = {"stage": "first", "metric": "value"}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    content |= {
        "base": str(tmp_path / "base.yaml"),
        "stages": {"second": {"set": {"sleep": 1}}},
        "outcomes": {"other": None, "more": {"stage": "second", "metric": "value", "label": "more of it"}},
    }
    made = load_study(content, "toy.yaml")
    assert made.stages["second"].settings == {"source": "${first}", "seed": 7, "sleep": 1}
    assert [(o.name, o.label) for o in made.outcomes] == [("value", "value"), ("more", "more of it")]
    assert made.seeds == [0, 1, 2]
    assert load_study(content, "toy.yaml", seeds=[5]).seeds == [5]


def test_a_stage_takes_its_programs_yaml_and_what_is_set_wins(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("noise: 3\nscale: 4\n")
    content = toy_study(tmp_path)
    content["stages"]["first"] |= {"config": str(tmp_path / "own.yaml")}
    made = load_study(content, "toy.yaml")
    assert made.stages["first"].settings == {"noise": 1.0, "scale": 4, "seed": "${seed}"}


def test_a_question_is_asked_in_another_world(tmp_path: Path) -> None:
    """A base on a base, and what the worlds call by the same words."""
    import yaml

    content = toy_study(tmp_path)
    base = {key: content.pop(key) for key in ("seeds", "stages", "outcomes")}
    base["words"] = {"noise": 1.0, "sizes": [1, 2], "most": 2}
    base["stages"]["first"]["set"]["noise"] = "${noise}"
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    other = {"base": str(tmp_path / "base.yaml"), "words": {"noise": 3.0, "sizes": [4, 8], "most": 8}, "seeds": [7]}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    content |= {"base": str(tmp_path / "base.yaml"), "factors": {"size": {"second.scale": "${sizes}"}}}
    content["baseline"] = {"size": "${most}"}
    content["stages"] = {"second": {"set": {"text": "of ${noise} and ${first}"}}}
    here = load_study(content, "toy.yaml")
    there = load_study(content, "toy.yaml", base=str(tmp_path / "other.yaml"))
    assert [coordinates(each) for each in (here, there)] == [[{"size": 1}, {"size": 2}], [{"size": 4}, {"size": 8}]]
    assert [each.stages["first"].settings["noise"] for each in (here, there)] == [1.0, 3.0]
    assert there.stages["second"].settings["text"] == "of 3.0 and ${first}"
    assert (here.name, there.name, there.seeds) == ("toy", "toy_other", [7])
    assert (here.note, there.note) == (None, f"Asked of {tmp_path / 'other.yaml'}.")
    assert there.bases == [str(tmp_path / "other.yaml"), str(tmp_path / "base.yaml")]
    with pytest.raises(ValueError, match="words has 'sizs', which nothing uses and no base has; did you mean 'sizes'"):
        load_study({**content, "words": {"sizs": [3]}}, "toy.yaml")
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({**base, "base": str(tmp_path / "other.yaml")}))
    with pytest.raises(ValueError, match="builds upon itself"):
        load_study(content, "toy.yaml")


def test_a_level_gives_a_stage_another_program(tmp_path: Path) -> None:
    from rlaif.ablations.stages import _overridden

    sets = {"second.program": "mine.py", "second.python": "python3", "second.size": 2}
    made = study(tmp_path, factors={"how": {"as it is": {}, "mine": sets}}, baseline={})
    spec = _overridden(made.stages, made.cells[1])["second"]
    assert (spec.program, spec.python, spec.settings) == ("mine.py", "python3", {"size": 2})


LINE = {"x": "value", "y": "value"}
BOTH = {"x": "scale", "y": "scale"}
VALUE = {"stage": "second", "metric": "value"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factor": {}}, "'factor' is not a key of an ablation; did you mean 'factors'"),
        ({"factors": {"scale": {"secnd.scale": [1, 2]}}}, "no stage 'secnd'; did you mean 'second'"),
        ({"factors": {"scale": {"scale": [1, 2]}}}, "sets 'scale'; expected stage.setting"),
        ({"factors": {"scale": {"second.scale": [1, 1]}}}, "a value of second.scale twice"),
        ({"factors": {"scale": {"second.scale": [1, 1.0]}}}, "a value of second.scale twice"),
        ({"factors": {"scale": {"second.scale": []}}}, "factor scale has second.scale: .*expected plain values"),
        ({"factors": {"text": {"second.text": [["a"], ["b"]]}}}, "expected plain values, or levels with a name each"),
        ({"outcomes": {"valeu": None}}, "outcome valeu is null, but the base has no such outcome"),
        ({"outcomes": {"a/b": {"stage": "second", "metric": "value"}}}, "outcome a/b: its name is 'a/b'"),
        ({"curves": {"value": {"lines": {"l": {"x": "scale", "y": "value"}}}}}, "as an outcome is"),
        ({"factors": {"scale": [1, 2]}}, "factor scale is .1, 2.; expected its levels"),
        ({"factors": {"scale": {"second.scale": [1], "loud": {}}}}, "mixes values of second.scale with levels"),
        ({"factors": {"a": {"x": {"second.scale": 1}}, "b": {"y": {"second.scale": 2}}}}, "and by another"),
        ({"factors": {}, "variants": {}}, "there are no factors and no variants"),
        ({"baseline": {"scal": 1.0}}, "baseline names the factor 'scal'; did you mean 'scale'"),
        ({"baseline": {"scale": 3.0}}, "baseline has scale: 3.0; .*1.0"),
        ({"seeds": 5}, "seeds is 5; expected a list"),
        ({"seeds": [1, 1]}, "a seed twice is one run counted twice"),
        ({"outcomes": {}}, "outcomes is empty"),
        ({"outcomes": {"v": {"stage": "thrid", "metric": "v"}}}, "is of the stage 'thrid'"),
        ({"outcomes": {"v": {"stage": "second"}}}, "expected {stage: evaluate, metric"),
        ({"outcomes": {"v": {"stage": "second", "metric": "v", "lable": "x"}}}, "did you mean 'label'"),
        ({"stages": {"second": {"set": {}}}}, "stage second has no program"),
        ({"stages": {"seed": {"program": "rlaif judge"}}}, "a stage is called 'seed'"),
        ({"stages": {"second": {"program": "rlaif judge", "settings": {}}}}, "has the key 'settings'"),
        ({"variants": {"v": {"sets": {}}}}, "variant v has the key 'sets'; did you mean 'set'"),
        ({"variants": {"v": {"over": {"scale": {"second.noise": [1]}}}}}, "runs over scale, which is a factor too"),
        ({"variants": {"v": {"set": {"second.scale": 1}}}}, "second.scale is set by variant v and by another"),
        ({"variants": {"v": {"reads": ["third"]}}}, "variant v reads 'third'"),
        ({"factors": {"a": {"x": {"second.output": "x"}}}}, "sets output; every stage writes to a folder of its own"),
        ({"name": "a/b"}, "name is 'a/b'"),
        ({"curves": {"c": {}}}, "curve c is {}; expected lines"),
        ({"curves": {"c": {"lines": {"l": {**LINE, "fit": "straight"}}}}}, "has the fit 'straight'"),
        ({"curves": {"c": {"lines": {"l": {**LINE, "cells": {"kind": 1}}}}}}, "names the factor 'kind'"),
        ({"curves": {"c": {"lines": {"l": {"x": "valeu", "y": "value"}}}}}, "has the axis 'valeu'.*'value'"),
        ({"curves": {"c": {"lines": {"l": {**LINE, "points": "series"}}}}}, "one of `stage` and `points`"),
        ({"curves": {"c": {"scale": "lin", "lines": {"l": LINE}}}}, "has the scale 'lin'"),
        ({"curves": {"c": {"lines": {"l": {**LINE, "by": "kind"}}}}}, "split by 'kind'"),
        (
            {"curves": {"c": {"lines": {"l": {**LINE, "stage": "second", "points": "series"}}}}},
            "l has 2 cells: scale=1",
        ),
        ({"curves": {"c": {"lines": {"l": {**LINE, "fit": "rl"}}}}}, "has the fit 'rl'; expected .* of `points`"),
        ({"source": 2305.14380}, "source is 2305.1438; expected a text: put it in quotes"),
        ({"outcomes": {"v": {**VALUE, "compare": "false"}}}, "compare: 'false'; expected true or false"),
        ({"outcomes": {"v": {**VALUE, "metric": 5}}}, "its metric is 5; expected a text"),
        ({"outcomes": {"v": {**VALUE, "label": ["a"]}}}, "its label is .*; expected a text"),
        ({"curves": {"c": {"x_label": 1, "lines": {"l": LINE}}}}, "its x_label is 1; expected a text"),
        ({"words": {"first": "x"}}, "a word is called 'first', as a stage or the seed is"),
        (
            {"outcomes": {"scale": VALUE}, "curves": {"c": {"lines": {"l": {"x": "scale", "y": "scale"}}}}},
            "'scale', a factor and an outcome",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        study(tmp_path, **change)
    assert str(raised.value).startswith("toy.yaml: ")
    assert "\n" not in str(raised.value)


def test_a_reference_to_nothing(tmp_path: Path) -> None:
    content = toy_study(tmp_path)
    content["stages"]["second"]["set"]["source"] = "${frist}/x"
    with pytest.raises(ValueError, match=r"stage second names \$\{frist\}; did you mean 'first'"):
        load_study(content, "toy.yaml")
    content["stages"]["second"]["set"]["source"] = "costs 5$"
    with pytest.raises(ValueError, match=r"holds a `\$` that names nothing"):
        load_study(content, "toy.yaml")


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("factors:\n  loss:\n    soft: {}\n    soft: {a.b: 1}\n")
    with pytest.raises(ValueError, match="'soft' stands twice"):
        read_yaml(path)


def test_what_no_report_can_hold_is_refused(tmp_path: Path) -> None:
    """A day as a level's name would end the run when its table is written."""
    path = tmp_path / "days.yaml"
    path.write_text("factors:\n  day:\n    2024-01-01: {}\n")
    with pytest.raises(ValueError, match='has "2024-01-01", which YAML reads as a date; put it in quotes'):
        read_yaml(path)
