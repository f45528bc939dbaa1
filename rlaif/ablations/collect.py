"""What a plan's stages wrote, gathered: values by cell and seed, what is missing and why, time and samples.

What cannot be read (a number that no report holds, a list of points that is not there) stops nothing: it is one of the
report's `problems`, and the rest of the table stands.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from rlaif.ablations.curves import curve_points, entries_at, number_at
from rlaif.ablations.held_out import compare_prompts
from rlaif.ablations.parts import Line, Outcome
from rlaif.ablations.schedule import Failure
from rlaif.ablations.stages import Plan, Stage, needed
from rlaif.ablations.table import Missing, Row, row_of
from rlaif.assess.envelope import best_within
from rlaif.errors.words import did_you_mean, shown

__all__ = ["collect", "missing_metric", "missing_points", "samples_of"]


def collect(plan: Plan, failures: Mapping[Stage, Failure]) -> dict[str, Any]:
    """The ablation's report: see `rlaif.pages.ablation` for what becomes of it."""
    study = plan.study
    found = {
        (index, outcome.name): _values(plan, index, outcome, failures)
        for index, cell in enumerate(study.cells)
        for outcome in study.outcomes
        if cell.has(outcome.stage)
    }
    twins = {index: study.baseline_of(cell) for index, cell in enumerate(study.cells)}
    place = {id(cell): index for index, cell in enumerate(study.cells)}
    rows: dict[tuple[int, str], Row] = {}
    comparisons = {}
    for outcome in study.outcomes:
        others = {
            index: found[place[id(twin)], outcome.name][0]
            for index, twin in twins.items()
            if twin is not None
            and outcome.compare
            and {(index, outcome.name), (place[id(twin)], outcome.name)} <= set(found)
        }
        comparisons[outcome.name] = len(others)
        for index in (index for index, name in found if name == outcome.name):
            values, missing, errors = found[index, outcome.name]
            error = float(np.mean(errors)) if len(errors) == len(values) else None
            rows[index, outcome.name] = row_of(values, missing, others.get(index), max(1, len(others)), error)

    def report_of(index: int, seed: int, name: str) -> Mapping[str, Any] | None:
        stage = plan.stages[index, seed].get(name)
        return None if stage is None or stage in failures or compare_prompts(stage).shared else _report(stage)

    curves = [curve_points(study, curve, rows, report_of) for curve in study.curves]
    cells = []
    for index, cell in enumerate(study.cells):
        twin = twins[index]
        cells.append(
            {
                "label": cell.label,
                "coordinates": dict(cell.coordinates),
                "baseline": None if twin is None else twin.label,
                "outcomes": {o.name: rows[index, o.name].row() for o in study.outcomes if (index, o.name) in rows},
                "failed": _failed(plan, index, failures),
                **_costs(plan, index),
            }
        )
    return {
        "name": study.name,
        "title": study.title,
        "finding": study.finding,
        "source": study.source,
        "note": study.note,
        "seeds": list(study.seeds),
        "baseline": dict(study.baseline),
        "held_out": _held_out(plan),
        "outcomes": [{**vars(outcome), "comparisons": comparisons[outcome.name]} for outcome in study.outcomes],
        "cells": cells,
        "curves": curves,
        "problems": [*_unknown(plan), *(p for curve in curves for p in curve["problems"]), *_alike(plan, rows)],
    }


# Values ---------------------------------------------------------------------------------------------------------------


class _NoNumberError(Exception):
    """What stands in a number's place is not one."""


def _values(
    plan: Plan, index: int, outcome: Outcome, failures: Mapping[Stage, Failure]
) -> tuple[dict[int, float | None], dict[int, Missing], list[float]]:
    """An outcome of a cell by seed, why it is missing where it is, and the standard errors that reports give it."""
    values: dict[int, float | None] = {}
    missing: dict[int, Missing] = {}
    errors = []
    for seed in plan.study.seeds:
        stage = plan.stages[index, seed][outcome.stage]
        values[seed] = None
        if stage in failures:
            failure = failures[stage]
            missing[seed] = Missing("failed", f"{failure.stage.name} failed: {failure.line}")
        elif shared := compare_prompts(stage).shared:
            missing[seed] = Missing("measured on prompts that were trained on", shared)
        elif why := missing_metric(stage, outcome):
            missing[seed] = Missing("not measured", why)
        else:
            values[seed] = _value(_report(stage), outcome)
            if values[seed] is None:
                missing[seed] = Missing("not measured", f"{stage.name} has no value for {outcome.metric}")
            if (error := _error(stage, outcome)) is not None:
                errors.append(error)
    return values, missing, errors


def _value(report: Mapping[str, Any], outcome: Outcome) -> float | None:
    """An outcome's number in a report, in its unit; a KeyError or _NoNumberError where there is none."""
    if outcome.points is None:
        value = _as_number(number_at(report, outcome.metric))
    else:
        axes = [[_as_number(number_at(e, axis)) for e in entries_at(report, outcome.points)] for axis in outcome.axes]
        whole = [(x, y) for x, y in zip(*axes, strict=True) if x is not None and y is not None]
        value = best_within(whole, outcome.at) if len(whole) == len(axes[0]) else None
    return None if value is None else value / outcome.unit


def _error(stage: Stage, outcome: Outcome) -> float | None:
    """The standard error that a report gives an outcome's number."""
    try:
        error = _as_number(number_at(_report(stage), f"{outcome.metric}_se"))
    except (KeyError, _NoNumberError):
        return None
    return None if error is None else error / outcome.unit


def _as_number(value: Any) -> float | None:
    """A finite number, or None for null and NaN, which reports write for what could not be measured."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NoNumberError(f"{shown(value, 40)} is no number")
    return float(value) if math.isfinite(value) else None


def missing_metric(stage: Stage, outcome: Outcome) -> str | None:
    """Where a finished stage's report lacks an outcome's number: the line that says so and what is there instead."""
    report = _report(stage)
    try:
        _value(report, outcome)
    except KeyError as error:
        why = f"the report of {stage.name} has no {error.args[0]!r} on the way to {outcome.metric!r}"
    except _NoNumberError as error:
        why = f"in the report of {stage.name}, {outcome.metric!r} is {error}"
    else:
        return None
    return f"outcome {outcome.name}: {why}; {did_you_mean(outcome.metric, _numbers(report))}"


def missing_points(stage: Stage, line: Line) -> str | None:
    """Where a finished stage's report lacks a line's points: the line that says so."""
    assert line.points is not None
    try:
        for axis in (line.x, line.y):
            _as_number(number_at(entries_at(_report(stage), line.points)[0], axis))
    except TypeError as error:
        return f"line {line.name}, of {stage.name}: {error}"
    except (KeyError, _NoNumberError) as error:
        return f"line {line.name}: the report of {stage.name} has no {error.args[0]!r} on the way to its points."
    return None


def _unknown(plan: Plan) -> list[str]:
    """The outcomes whose number no finished report holds."""
    lines = []
    for outcome in plan.study.outcomes:
        stages = dict.fromkeys(s[outcome.stage] for s in plan.stages.values() if outcome.stage in s)
        why = [missing_metric(stage, outcome) for stage in stages if stage.done]
        if why and all(why):
            lines.append(str(why[0]))
    return lines


def _alike(plan: Plan, rows: Mapping[tuple[int, str], Row]) -> list[str]:
    """Cells that compute the same: they set things that make no difference, such as a default by name.

    Their values are equal with every seed, and so is every other number of these reports but for times: a win rate of 1
    in both is no such thing.
    """
    seen: dict[str, str] = {}
    lines = []
    for index, cell in enumerate(plan.study.cells):
        read = [outcome for outcome in plan.study.outcomes if (index, outcome.name) in rows]
        mine = [rows[index, outcome.name].values for outcome in read]
        if not mine or any(value is None for values in mine for value in values.values()):
            continue
        reports = [
            [(path, number_at(report, path)) for path in _numbers(report) if not _is_time(path)]
            for seed in plan.study.seeds
            for name in dict.fromkeys(outcome.stage for outcome in read)
            if (report := _read_report(str(plan.stages[index, seed][name].output / "report.json")))
        ]
        other = seen.setdefault(json.dumps([mine, reports]), cell.label)
        if other != cell.label:
            lines.append(
                f"the cells {other} and {cell.label} have the same values with every seed: they compute the same."
            )
    return lines


def _is_time(path: str) -> bool:
    return any(word in path for word in ("second", "memory"))


def _numbers(report: Any, path: str = "") -> list[str]:
    """The paths of all numbers in a report, lists left out."""
    if isinstance(report, Mapping):
        return [name for key, value in report.items() for name in _numbers(value, f"{path}.{key}" if path else key)]
    return [path] if isinstance(report, int | float) and not isinstance(report, bool) else []


@lru_cache(maxsize=4096)
def _read_report(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return None


def _report(stage: Stage) -> Mapping[str, Any]:
    """A finished stage's report ({} where it wrote none), and in `measured` what was measured of it from outside."""
    found = _read_report(str(stage.output / "report.json"))
    return {**(found if isinstance(found, Mapping) else {}), "measured": _read_report(str(stage.folder / "stage.json"))}


def _held_out(plan: Plan) -> dict[str, Any]:
    """How many finished stages that are read were compared with what was trained on, how many share prompts with it."""
    read = needed(plan.study)
    found = [compare_prompts(stage) for stage in plan.order if stage.name in read and stage.done]
    found = [one for one in found if one.measures]
    return {
        "compared": sum(one.compared for one in found),
        "shared": sum(one.shared is not None for one in found),
        "not_compared": sum(not one.compared for one in found),
        "unread": sorted({one.unread for one in found if one.unread}),
    }


# Failures, time, samples ----------------------------------------------------------------------------------------------


def _failed(plan: Plan, index: int, failures: Mapping[Stage, Failure]) -> dict[str, dict[str, str]]:
    """By seed the stage that failed, its folder and the last line of its log."""
    failed = {}
    for seed in plan.study.seeds:
        causes = dict.fromkeys(failures[stage] for stage in plan.stages[index, seed].values() if stage in failures)
        if causes:
            cause = next(iter(causes))
            failed[str(seed)] = {"stage": cause.stage.name, "folder": str(cause.stage.folder), "line": cause.line}
    return failed


def _costs(plan: Plan, index: int) -> dict[str, Any]:
    """Wall time and samples of a cell, means over the seeds that are whole.

    `seconds` is what its stages took, `own_seconds` those of them that no other cell needs; `samples` counts what each
    stage sampled, judged and learned from.
    """
    whole = [seed for seed in plan.study.seeds if all(s.done for s in plan.stages[index, seed].values())]
    seconds = own = 0.0
    samples: dict[str, float] = {}
    for seed in whole:
        for stage in plan.stages[index, seed].values():
            took = float(_report(stage)["measured"]["seconds"])
            seconds += took
            own += took if len({i for i, _ in plan.users(stage)}) == 1 else 0.0
            for what, count in samples_of(stage).items():
                samples[what] = samples.get(what, 0.0) + count
    n = max(1, len(whole))
    return {
        "seconds": seconds / n if whole else None,
        "own_seconds": own / n if whole else None,
        "samples": {what: count / n for what, count in samples.items()},
        "stages": {
            str(seed): {name: stage.address for name, stage in plan.stages[index, seed].items()}
            for seed in plan.study.seeds
        },
    }


def samples_of(stage: Stage) -> dict[str, int]:
    """What a finished stage made, asked or learned from, in its own unit, as "stage: unit"."""
    report = _report(stage)
    train = report.get("train")
    train = train if isinstance(train, Mapping) else {}
    asked = [report.get(name) for name in ("votes_asked", "votes_reused")]
    counts: dict[str, Any] = {
        "responses": train.get("samples") or (None if stage.settings.get("candidates") else report.get("responses")),
        "votes": sum(count for count in asked if type(count) is int),
        "preferences": report.get("preferences"),
        "pairs": train.get("pairs"),
        "rows": train.get("rows"),
    }
    if stage.program.name == "rlaif evaluate" and "policies" in report:
        counts["responses"] = report["prompts"]["count"] * len(report["policies"])
    return {f"{stage.name}: {unit}": count for unit, count in counts.items() if type(count) is int and count}
