"""The points of an ablation's pictures: for each line, means over seeds on both axes, and the fitted forms.

A line's points are cells (a mean of an outcome over seeds each), or entries of a list in one cell's report (the checks
of a PPO run, best of 1, 2, 4, ...), where the i-th entries of all seeds are one point. On both axes the bar is the 95 %
interval over seeds; where a report gives a number's standard error (`kl_se` beside `kl`), the mean of the seeds' own
errors stands beside it, which is what one run's held-out prompts leave uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from rlaif.ablations.parts import Cell, Curve, Line, Study
from rlaif.ablations.table import Estimate, Row, estimate
from rlaif.assess.scaling import fit_scaling
from rlaif.errors.words import shown

__all__ = ["curve_points", "entries_at", "number_at"]

ReportOf = Callable[[int, int, str], Mapping[str, Any] | None]  # cell, seed, stage -> its report.json, where it is done


def number_at(report: Any, path: str) -> Any:
    """What stands at `path` ("policies.dpo.gold_reward") in a report; KeyError names the first part that is not there.

    A name that holds dots itself is found too; a number is a place in a list, from 0, or from its end, -1.
    """
    if path == "":
        return report
    if isinstance(report, list):
        first, _, rest = path.partition(".")
        if first.removeprefix("-").isdigit() and -len(report) <= int(first) < len(report):
            return number_at(report[int(first)], rest)
    elif isinstance(report, Mapping):
        if path in report:
            return report[path]
        parts = path.split(".")
        for length in range(len(parts) - 1, 0, -1):
            name = ".".join(parts[:length])
            if name in report:
                return number_at(report[name], ".".join(parts[length:]))
    raise KeyError(path.partition(".")[0])


def entries_at(report: Any, path: str) -> list[Any]:
    """The points that stand at `path` in a report: a list, or a mapping with one by each name; else a TypeError."""
    found = number_at(report, path)
    entries = [{"name": name, **point} for name, point in found.items()] if isinstance(found, Mapping) else found
    if not isinstance(entries, list) or not entries:
        raise TypeError(f"{path!r} is {shown(found, 40)}; expected a list, or names with a point each.")
    return entries


def curve_points(
    study: Study, curve: Curve, rows: Mapping[tuple[int, str], Row], report_of: ReportOf
) -> dict[str, Any]:
    """A picture as data.

    Args:
        study, curve: what is asked for.
        rows: by cell (its place) and outcome.
        report_of: the report of a cell, seed and stage; None where it has none.

    Returns:
        `lines`, each with its `name`, `points` (`label`, `x` and `y` with `mean`, `low`, `high`, `n`, and `x_se`,
        `y_se`), `left_out` (how many points, or runs of a series, had no value) and, where asked for, its `fit`;
        `problems`, a line each for what could not be drawn.
    """
    lines: list[dict[str, Any]] = []
    problems = []
    for line in curve.lines:
        mine = [i for i, cell in enumerate(study.cells) if line.cells.items() <= cell.coordinates.items()]
        levels = list(dict.fromkeys(study.cells[i].coordinates[line.by] for i in mine)) if line.by else [None]
        for level in levels:
            chosen = [i for i in mine if line.by is None or study.cells[i].coordinates[line.by] == level]
            name = line.name.replace(f"{{{line.by}}}", str(level)) if line.by else line.name
            try:
                made = (
                    _from_cells(study.cells, line, chosen, rows)
                    if line.points is None
                    else _from_reports(study, line, chosen[0], report_of)
                )
            except (KeyError, TypeError, ValueError) as error:  # a report that is not as the line says
                problems.append(f"curve {curve.name}, line {name}: {error.args[0] if error.args else error!r}")
                continue
            lines.append({"name": name, "by_cell": line.points is None, **made})
    return {
        "name": curve.name,
        "x_label": curve.x_label,
        "y_label": curve.y_label,
        "scale": curve.scale,
        "lines": lines,
        "problems": problems,
    }


def _from_cells(
    cells: Sequence[Cell], line: Line, chosen: Sequence[int], rows: Mapping[tuple[int, str], Row]
) -> dict[str, Any]:
    points, left_out = [], 0
    for index in chosen:
        axes: dict[str, Any] = {}
        for axis, name in (("x", line.x), ("y", line.y)):
            row = rows.get((index, name))
            if row is None:
                level = float(cells[index].coordinates[name])
                axes[axis] = asdict(Estimate(level, None, None, 1))
            elif row.estimate is not None:
                axes[axis] = asdict(row.estimate)
                axes |= {} if row.error is None else {f"{axis}_se": row.error}
        if not {"x", "y"} <= axes.keys():
            left_out += 1
            continue
        others = {k: v for k, v in cells[index].coordinates.items() if k not in line.cells and k != line.by}
        points.append({"label": ", ".join(f"{k}={v}" for k, v in others.items()), **axes})
    points.sort(key=lambda point: point["x"]["mean"])
    return {"points": points, "left_out": left_out}


def _from_reports(study: Study, line: Line, index: int, report_of: ReportOf) -> dict[str, Any]:
    assert line.stage is not None
    assert line.points is not None
    series = []
    for seed in study.seeds:
        if (report := report_of(index, seed, line.stage)) is not None:
            entries = entries_at(report, line.points)
            series.append(
                [
                    (_number(e, line.x), _number(e, line.y), _error(e, line.x), _error(e, line.y), _place(e))
                    for e in entries
                ]
            )
    # The mean of the seeds that are there would not be that of the seeds that were asked for.
    if len(series) < len(study.seeds):
        return {"points": [], "left_out": len(study.seeds) - len(series)}
    if len({len(one) for one in series}) > 1:
        lengths = ", ".join(str(len(one)) for one in series)
        raise ValueError(
            f"the lists {line.points} of {line.stage} have {lengths} entries; expected as many with each seed, for a "
            "mean over seeds."
        )
    points: list[dict[str, Any]] = []
    left_out = 0
    for at in zip(*series, strict=True):
        x, y = [p[0] for p in at], [p[1] for p in at]
        if any(v is None for v in (*x, *y)):
            left_out += 1
            continue
        errors = {
            name: float(np.mean(found))
            for name, found in (("x_se", [p[2] for p in at]), ("y_se", [p[3] for p in at]))
            if None not in found
        }
        points.append({"label": at[0][4], "x": asdict(estimate(x)), "y": asdict(estimate(y)), **errors})
    made: dict[str, Any] = {"points": points, "left_out": left_out}
    if line.fit:
        made["fit"] = _fitted(line.fit, [_fit(line.fit, one) for one in series])
    return made


def _number(entry: Any, path: str) -> float | None:
    value = number_at(entry, path)
    return None if value is None or not math.isfinite(value) else float(value)


def _error(entry: Any, path: str) -> float | None:
    try:
        return _number(entry, f"{path}_se")
    except KeyError:
        return None


def _place(entry: Mapping[str, Any]) -> str:
    """What an entry of a series is called: best of `n`, the `step` of a check, or by its name."""
    return next((f"{name}={entry[name]}" for name in ("n", "step") if name in entry), str(entry.get("name", "")))


def _fit(form: str, one: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    """The form fitted to one seed's series, whose first point is the policy before it was optimised."""
    x, y = [p[0] for p in one], [p[1] for p in one]
    if None in x or None in y:
        return {}
    try:
        # A KL from samples may come out below 0.
        fit = fit_scaling(form, np.sqrt(np.maximum(x, 0.0)), np.array(y) - y[0])
    except ValueError:
        return {}
    return {"alpha": fit.alpha, "beta": fit.beta, "r2": fit.r2, "start": y[0]}


def _fitted(form: str, fits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The coefficients over seeds: each fitted by itself, so that their spread is that between runs."""
    there = [fit for fit in fits if fit]
    if not there:
        return {"form": form, "seeds": 0}
    over = {name: asdict(estimate([fit[name] for fit in there])) for name in ("alpha", "beta", "r2", "start")}
    return {"form": form, "seeds": len(there), "not_fitted": len(fits) - len(there), **over}
