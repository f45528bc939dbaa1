"""What a plan's stages wrote, gathered: values by cell and seed, what is missing and why, time and samples."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from rlaif.ablations.curves import curve_points, number_at
from rlaif.ablations.held_out import measures, trained_on_what_is_measured
from rlaif.ablations.schedule import Failure
from rlaif.ablations.stages import Plan, Stage
from rlaif.ablations.study import Outcome, closest
from rlaif.ablations.table import Row, row_of

__all__ = ["collect", "missing_metric", "samples_of"]


def collect(plan: Plan, failures: Mapping[Stage, Failure]) -> dict[str, Any]:
    """The ablation's report.

    Raises:
        ValueError: an outcome's number is in no report, or a series has another length with another seed.
    """
    study = plan.study
    rows: dict[tuple[int, str], Row] = {}
    found = {
        (index, outcome.name): _values(plan, index, outcome, failures)
        for index, cell in enumerate(study.cells)
        for outcome in study.outcomes
        if cell.has(outcome.stage)
    }
    for outcome in study.outcomes:
        _check_known(plan, outcome, [index for index, name in found if name == outcome.name])
    comparisons = max(1, sum(study.baseline_of(cell) is not None for cell in study.cells))
    place = {id(cell): index for index, cell in enumerate(study.cells)}
    for index, cell in enumerate(study.cells):
        twin = study.baseline_of(cell)
        for outcome in study.outcomes:
            if not cell.has(outcome.stage):
                continue
            values, missing = found[index, outcome.name]
            other = None if twin is None else found.get((place[id(twin)], outcome.name), (None,))[0]
            rows[index, outcome.name] = row_of(values, missing, other, comparisons)

    def report_of(index: int, seed: int, name: str) -> Mapping[str, Any] | None:
        stage = plan.stages[index, seed].get(name)
        return None if stage is None or stage in failures else _report(stage)

    cells = []
    for index, cell in enumerate(study.cells):
        twin = study.baseline_of(cell)
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
        "seeds": list(study.seeds),
        "baseline": dict(study.baseline),
        "comparisons": comparisons,
        "held_out": _held_out(plan),
        "outcomes": [vars(outcome) for outcome in study.outcomes],
        "cells": cells,
        "curves": [curve_points(study, curve, rows, report_of) for curve in study.curves],
    }


# Values ---------------------------------------------------------------------------------------------------------------


def _values(
    plan: Plan, index: int, outcome: Outcome, failures: Mapping[Stage, Failure]
) -> tuple[dict[int, float | None], dict[int, str]]:
    """An outcome of a cell by seed, and why it is missing where it is."""
    values: dict[int, float | None] = {}
    missing: dict[int, str] = {}
    for seed in plan.study.seeds:
        stage = plan.stages[index, seed][outcome.stage]
        value, why = None, None
        if stage in failures:
            why = f"{failures[stage].stage.name} failed: {failures[stage].line}"
        elif (leak := trained_on_what_is_measured(stage)) is not None:
            why = leak
        else:
            try:
                value = _as_number(number_at(_report(stage), outcome.metric))
                if value is None:
                    why = f"{stage.name} did not measure it"
            except KeyError as error:
                why = f"the report of {stage.name} has no {error.args[0]!r} on the way to {outcome.metric}"
        values[seed] = value
        if why is not None:
            missing[seed] = why
    return values, missing


def _as_number(value: Any) -> float | None:
    """A finite number, or None for null and NaN, which reports write for what could not be measured."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KeyError(f"number, but a {type(value).__name__},")
    return float(value) if math.isfinite(value) else None


def missing_metric(stage: Stage, outcome: Outcome) -> str | None:
    """Where a finished stage's report lacks an outcome's number: the line that says so and what is there instead."""
    report = _report(stage)
    try:
        _as_number(number_at(report, outcome.metric))
    except KeyError as error:
        return (
            f"outcome {outcome.name}: the report of {stage.name} has no {error.args[0]!r} on the way to "
            f"{outcome.metric!r}; {closest(outcome.metric, _numbers(report))}"
        )
    return None


def _check_known(plan: Plan, outcome: Outcome, cells: Sequence[int]) -> None:
    """A ValueError where no finished report holds the outcome's number."""
    stages = [plan.stages[index, seed][outcome.stage] for index in cells for seed in plan.study.seeds]
    finished = [stage for stage in stages if stage.done]
    if finished and all(missing_metric(stage, outcome) for stage in finished):
        raise ValueError(f"{missing_metric(finished[0], outcome)} The stages are kept: mend the name and run it again.")


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
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); delete its stage's folder and run this again.") from None


def _report(stage: Stage) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _read_report(str(stage.output / "report.json"))
    return found


def _held_out(plan: Plan) -> dict[str, int]:
    """How many finished stages measure on prompts that can be read, and how many of them on some trained on before."""
    read = {outcome.stage for outcome in plan.study.outcomes}
    read |= {line.stage for curve in plan.study.curves for line in curve.lines if line.stage}
    stages = [stage for stage in plan.order if stage.name in read and stage.done and measures(stage)]
    return {"stages": len(stages), "shared": sum(trained_on_what_is_measured(stage) is not None for stage in stages)}


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

    `seconds` is what its stages took, `own_seconds` those of them that no other cell needs; `samples` counts what its
    stages sampled, judged and learned from.
    """
    whole = [seed for seed in plan.study.seeds if all(s.done for s in plan.stages[index, seed].values())]
    seconds = own = 0.0
    samples: dict[str, float] = {}
    addresses = {}
    for seed in whole:
        for stage in plan.stages[index, seed].values():
            took = float(json.loads((stage.folder / "stage.json").read_text(encoding="utf-8"))["seconds"])
            seconds += took
            own += took if len({i for i, _ in plan.users(stage)}) == 1 else 0.0
            for what, count in samples_of(stage).items():
                samples[what] = samples.get(what, 0.0) + count
    for seed in plan.study.seeds:
        addresses[str(seed)] = {name: stage.address for name, stage in plan.stages[index, seed].items()}
    n = max(1, len(whole))
    return {
        "seconds": seconds / n if whole else None,
        "own_seconds": own / n if whole else None,
        "samples": {what: count / n for what, count in samples.items()},
        "stages": addresses,
    }


def samples_of(stage: Stage) -> dict[str, int]:
    """What a finished stage made or learned from, in its own unit."""
    report = _report(stage)
    train = report.get("train") or {}
    counts = {
        "responses sampled": report.get("responses"),
        "votes": report.get("votes_asked", 0) + report.get("votes_reused", 0) if "votes_asked" in report else None,
        "preferences": report.get("preferences") if isinstance(report.get("preferences"), int) else None,
        f"{stage.name}: pairs": train.get("pairs"),
        f"{stage.name}: rows": train.get("rows"),
        f"{stage.name}: responses": train.get("samples"),
    }
    return {name: count for name, count in counts.items() if isinstance(count, int) and count}
