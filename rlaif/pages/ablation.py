"""The ablation for people: report.json, report.md, table.csv, values.csv, and a picture for each outcome and curve.

It computes nothing: every number stands in report.json, every value of every seed in values.csv.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlaif.assess.scaling import ScalingFit
from rlaif.files.sources import write_json
from rlaif.pages.markdown import cell, code, label, text
from rlaif.pages.parts import BLUE, GREY, ORANGE, RED, Report, decimal, known, new_figure, table

__all__ = ["alike", "markdown", "write_page"]

COLOURS = (BLUE, ORANGE, "#3a8f5c", "#8457a8", "#b3312f", "#3f9aa8", "#a0763a", "#6b6b6b")


def write_page(folder: str | Path, report: Report) -> None:
    """Writes everything into `folder`; pictures of an earlier run do not stay behind."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in _pictures(folder):
        old.unlink(missing_ok=True)
    write_json(folder / "report.json", report)
    _write_csv(folder / "table.csv", _table_rows(report))
    _write_csv(folder / "values.csv", _value_rows(report))
    for outcome in report["outcomes"]:
        _plot_outcome(report, outcome).savefig(folder / f"{outcome['name']}.png", dpi=130)
    for curve in report["curves"]:
        _plot_curve(curve).savefig(folder / f"{curve['name']}.png", dpi=130)
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")


def _pictures(folder: Path) -> list[Path]:
    """The pictures that an earlier run left in `folder`, by its report: others may be somebody's."""
    try:
        before = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        return [folder / f"{one['name']}.png" for one in (*before["outcomes"], *before["curves"])]
    except (OSError, ValueError, KeyError, TypeError):
        return []


# The page -------------------------------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """The page: what was asked, all outcomes side by side, each with its differences and picture, curves, costs."""
    sections = [f"# {text(report['title'])}", _opening(report)]
    if any(cell_["failed"] for cell_ in report["cells"]):
        sections += ["## Failed", _failures(report)]
    if len(report["outcomes"]) > 1:
        sections += ["## Side by side", "Means over seeds, ± half of the 95 % interval.", _side_by_side(report)]
    for outcome in report["outcomes"]:
        sections += [
            f"## {text(outcome['label'])}",
            _outcome(report, outcome),
            f"![{text(outcome['label'])}]({outcome['name']}.png)",
        ]
    for curve in report["curves"]:
        sections += [
            f"## {text(curve['y_label'])} against {text(curve['x_label'])}",
            f"![{text(curve['name'])}]({curve['name']}.png)",
        ]
        sections += [text for text in (_fits(curve), _points(curve), _left_out(curve)) if text]
    sections += ["## Time and samples", _costs(report)]
    return "\n\n".join(sections) + "\n"


def _opening(report: Report) -> str:
    seeds = report["seeds"]
    lines = []
    if report["finding"]:
        lines.append(f"**Finding looked at:** {text(report['finding'], addresses=True)}")
    if report["source"]:
        lines.append(f"**Source:** {text(report['source'], addresses=True)}")
    named = ", ".join(map(str, seeds))
    how = f"{len(report['cells'])} cells, {len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({named})."
    if len(seeds) < 2:
        how += " **One seed gives no interval: nothing here says what chance does.**"
    else:
        how += " Intervals are Student's t over seeds, 95 %."
        if report["baseline"]:
            how += (
                " Differences are to the baseline with the same seed, averaged then. \\* marks one whose interval "
                "excludes 0 by itself, \\*\\* one whose interval still does when all of an outcome's are to hold at "
                "once (Bonferroni)."
            )
    held = report["held_out"]
    if held["compared"]:
        how += (
            f" The prompts of {held['compared']} stages that measure were compared with those that any stage before "
            "them trained on: "
            + ("none is among both." if not held["shared"] else f"**{held['shared']} have some in common.**")
        )
    if held["not_compared"]:
        why = f" ({text('; '.join(held['unread']))})" if held["unread"] else ""
        how += f" {held['not_compared']} could not be compared{why}: whether they are held out is not known."
    lines.append(how)
    if report["note"]:
        lines.append(text(report["note"], addresses=True))
    lines += [f"**Problem:** {text(problem)}" for problem in report["problems"]]
    return "\n\n".join(lines)


def _failures(report: Report) -> str:
    rows = []
    for c in report["cells"]:
        for (stage, line), seeds in alike(c["failed"]).items():
            folder = c["failed"][seeds[0]]["folder"]
            where = [code(line, in_cell=True), code(folder, in_cell=True)]
            rows.append([cell(c["label"]), ", ".join(seeds), cell(stage), *where])
    return (
        "No mean is given for a cell with a failed seed: runs that fail are rarely like those that do not.\n\n"
        + table(["cell", "seeds", "stage", "last line of its log", "(first) folder"], rows)
    )


def alike(failed: Mapping[str, Report]) -> dict[tuple[str, str], list[str]]:
    """The seeds of a cell that failed, by stage and last line: a mistake fails alike with each of them."""
    found: dict[tuple[str, str], list[str]] = {}
    for seed, failure in failed.items():
        found.setdefault((failure["stage"], failure["line"]), []).append(seed)
    return found


def _factors(report: Report) -> list[str]:
    return list(dict.fromkeys(factor for c in report["cells"] for factor in c["coordinates"]))


def _coordinates(report: Report, c: Report) -> list[str]:
    levels = [str(c["coordinates"].get(factor, "")) for factor in _factors(report)]
    return [cell(level) if level else " " for level in levels]


def _digits(values: Iterable[float]) -> int:
    """Decimals that show three figures of the largest value, 3 at most."""
    largest = 0.999 * max((abs(value) for value in values), default=1.0)  # shares up to 1 get three decimals
    return int(min(3, max(0, 2 - np.floor(np.log10(largest)) if largest > 0 else 3)))


def _digits_of(report: Report, name: str) -> int:
    rows = [c["outcomes"][name] for c in report["cells"] if name in c["outcomes"]]
    return max(2, _digits(v for row in rows for v in row["values"].values() if known(v)))


def _missing(row: Report, digits: int) -> str:
    """What stands in the place of a mean that is not given."""
    all_ = len(row["values"])
    kinds = Counter(missing["kind"] for missing in row["missing"].values())
    what = " and ".join(f"{count} of {all_} seeds {kind}" for kind, count in kinds.items())
    others = row["of_the_others"]
    return f"**{what}**" + (f"; the other {others['n']}: {decimal(others['mean'], digits)}" if others else "")


def _side_by_side(report: Report) -> str:
    names = [outcome["name"] for outcome in report["outcomes"]]
    rows = []
    for c in report["cells"]:
        row = _coordinates(report, c)
        for name in names:
            if name not in c["outcomes"]:
                row.append(" ")
                continue
            o, digits = c["outcomes"][name], _digits_of(report, name)
            e = o["estimate"]
            if e is None:
                row.append(_missing(o, digits))
            else:
                half = "" if e["low"] is None else f" ± {decimal((e['high'] - e['low']) / 2, digits)}"
                row.append(decimal(e["mean"], digits) + half)
        rows.append(row)
    return table([*map(cell, _factors(report)), *(cell(outcome["label"]) for outcome in report["outcomes"])], rows)


def _estimate(e: Report | None, digits: int, signed: bool = False) -> str:
    if e is None:
        return "–"
    sign = "+" if signed else ""
    text = f"{e['mean']:{sign}.{digits}f}"
    return text + (f" [{e['low']:{sign}.{digits}f}, {e['high']:{sign}.{digits}f}]" if e["low"] is not None else "")


def _outcome(report: Report, outcome: Report) -> str:
    digits = _digits_of(report, outcome["name"])
    rows = []
    cells = _with(report, outcome)
    compared = bool(outcome["comparisons"])
    for c in cells:
        o = c["outcomes"][outcome["name"]]
        mark = " \\*\\*" if o["clear_of_all"] else " \\*" if o["clear"] else ""
        baseline = c["baseline"] is None
        difference = "baseline" if baseline else _estimate(o["difference"], digits, signed=True) + mark
        n = sum(known(v) for v in o["values"].values())
        mean = _missing(o, digits) if o["estimate"] is None else _estimate(o["estimate"], digits)
        rows.append([*_coordinates(report, c), mean, *([difference] if compared else []), str(n)])
    head = ["mean [95 %]", *(["difference to the baseline [95 %]"] if compared else []), "seeds"]
    reasons = dict.fromkeys(m["why"] for c in cells for m in c["outcomes"][outcome["name"]]["missing"].values()
                            if m["kind"] != "failed")  # fmt: skip
    notes = "".join(f"\n\nNo value: {text(why)}" for why in reasons)
    if report["baseline"] and not outcome["compare"]:
        notes += "\n\nNot compared: the file says that this has another scale in every cell."
    where = f"{code(outcome['metric'])} of the stage {code(outcome['stage'])}."
    return f"{where}\n\n{table([*map(cell, _factors(report)), *head], rows)}{notes}"


def _with(report: Report, outcome: Report) -> list[Report]:
    """The cells that an outcome is read of."""
    return [c for c in report["cells"] if outcome["name"] in c["outcomes"]]


def _fits(curve: Report) -> str:
    rows = []
    for line in curve["lines"]:
        fit = line.get("fit")
        if not fit or not fit["seeds"]:
            if fit:
                rows.append([cell(line["name"]), fit["form"], "–", "–", "–", "–", "0"])
            continue
        form = "d (α − β d)" if fit["form"] == "best_of_n" else "d (α − β log d)"
        peak = _mean_fit(fit).peak
        rows.append(
            [cell(line["name"]), form]
            + [_estimate(fit[name], 3) for name in ("alpha", "beta", "r2")]
            + ["–" if peak is None else decimal(peak**2, 1)]
            + [str(fit["seeds"]) + (f" ({fit['not_fitted']} not fitted)" if fit["not_fitted"] else "")]
        )
    if not rows:
        return ""
    return (
        "Fitted to y − y(start), with d = √KL in √nats (Gao et al., 2210.10760), seed by seed; means over seeds "
        "[95 %].\n\n" + table(["line", "form", "α", "β", "R²", "KL of the peak, by the means", "seeds"], rows)
    )


def _mean_fit(fit: Report) -> ScalingFit:
    """The form with the coefficients averaged over seeds: what is drawn."""
    return ScalingFit(fit["form"], fit["alpha"]["mean"], fit["beta"]["mean"], fit["r2"]["mean"], points=0)


def _points(curve: Report) -> str:
    """Every point as numbers, with the standard error that one run's report gives it."""
    rows = []
    for line in curve["lines"]:
        for p in line["points"]:
            axes = []
            for axis in ("x", "y"):
                error = p.get(f"{axis}_se")
                axes += [_estimate(p[axis], 3), "–" if error is None else decimal(error)]
            rows.append([cell(line["name"]), cell(p["label"]) if p["label"] else " ", *axes])
    if not rows:
        return ""
    head = ["line", "point", f"x: {curve['x_label']}", "error in one run", f"y: {curve['y_label']}", "error in one run"]
    return table(list(map(cell, head)), rows)


def _left_out(curve: Report) -> str:
    left = [f"{text(line['name'])}: {line['left_out']}" for line in curve["lines"] if line["left_out"]]
    return f"Points or runs without a value, left out: {'; '.join(left)}." if left else ""


def _costs(report: Report) -> str:
    counted = list(dict.fromkeys(name for c in report["cells"] for name in c["samples"]))
    finished = [c for c in report["cells"] if c["seconds"] is not None]
    varied = [n for n in counted if len({c["samples"].get(n) for c in finished}) > 1]
    rows = []
    for c in report["cells"]:
        samples = [f"{c['samples'][name]:,.0f}" if name in c["samples"] else "–" for name in varied]
        rows.append([*_coordinates(report, c), decimal(c["seconds"], 0), decimal(c["own_seconds"], 0), *samples])
    alike = [f"{text(name)} {finished[0]['samples'][name]:,.0f}" for name in counted if name not in varied]
    return (
        "Of one seed, in the mean: seconds of all of a cell's stages, seconds of those that no other cell shares, and "
        "what they sampled, asked and learned from, as far as cells differ in it."
        + (f" In all cells: {'; '.join(alike)}." if alike else "")
        + "\n\n"
        + table([*map(cell, _factors(report)), "seconds", "of its own", *map(cell, varied)], rows)
    )


# CSV ------------------------------------------------------------------------------------------------------------------


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)


def _table_rows(report: Report) -> list[dict[str, Any]]:
    """A row for each cell and outcome."""
    rows = []
    for outcome in report["outcomes"]:
        for c in _with(report, outcome):
            o = c["outcomes"][outcome["name"]]
            row = {**_prefixed(report, c), "outcome": outcome["name"], "seeds": len(o["values"])}
            for name, e in ((name, o[key]) for name, key in _ESTIMATES.items()):
                row |= {f"{name}{part}": e[part] if e else None for part in _PARTS}
            row |= {"baseline": c["baseline"], "clear": o["clear"], "clear_of_all": o["clear_of_all"]}
            rows.append({**row, "missing": "; ".join(f"seed {s}: {m['why']}" for s, m in o["missing"].items())})
    return rows


def _value_rows(report: Report) -> list[dict[str, Any]]:
    """A row for each cell, outcome and seed: what the table is made of."""
    return [
        {**_prefixed(report, c), "outcome": outcome["name"], "seed": seed, "value": value,
         "missing": c["outcomes"][outcome["name"]]["missing"].get(seed, {}).get("why")}
        for outcome in report["outcomes"]
        for c in _with(report, outcome)
        for seed, value in c["outcomes"][outcome["name"]]["values"].items()
    ]  # fmt: skip


def _prefixed(report: Report, c: Report) -> dict[str, Any]:
    """A cell's label and coordinates. A factor with the name of a column, `n` say, stands as "n (factor)"."""
    names = {f: f"{f} (factor)" if str(f) in _COLUMNS else str(f) for f in _factors(report)}
    return {"cell": c["label"], **{name: c["coordinates"].get(factor) for factor, name in names.items()}}


_ESTIMATES = {"": "estimate", "difference_": "difference", "others_": "of_the_others"}
_PARTS = ("mean", "low", "high", "n")
_COLUMNS = {"cell", "outcome", "seed", "seeds", "value", "baseline", "clear", "clear_of_all", "missing"}
_COLUMNS |= {f"{name}{part}" for name in _ESTIMATES for part in _PARTS}


# Pictures -------------------------------------------------------------------------------------------------------------


def _plot_outcome(report: Report, outcome: Report) -> Any:
    """Means with intervals and every seed on the left, differences to the baseline on the right; a line a cell."""
    cells = _with(report, outcome)
    compared = bool(outcome["comparisons"])
    width, columns = (10.5, 2) if compared else (6.5, 1)
    figure, panels = new_figure(width, 1.3 + 0.36 * len(cells), columns=columns)
    for axes in panels:
        axes.grid(axis="y", visible=False)
    for y, c in enumerate(cells):
        o = c["outcomes"][outcome["name"]]
        values = [v for v in o["values"].values() if known(v)]
        panels[0].plot(values, [y] * len(values), "|", color=GREY, markersize=9, markeredgewidth=1)
        if o["estimate"] is None:
            panels[0].text(0.02, y, _missing(o, 3).replace("**", ""), color=RED, fontsize=8, va="center",
                           transform=panels[0].get_yaxis_transform())  # fmt: skip
        else:
            _bar(panels[0], o["estimate"], y, BLUE)
        if compared and o["difference"] is not None:
            _bar(panels[1], o["difference"], y, ORANGE if c["outcomes"][outcome["name"]]["clear"] else GREY)
        elif compared:
            panels[1].text(0.0, y, " baseline" if c["baseline"] is None else " –", color=GREY, fontsize=8, va="center")
    panels[0].set_yticks(range(len(cells)), [label(c["label"]) for c in cells], fontsize=9)
    panels[0].set_ylim(len(cells) - 0.5, -0.5)
    interval = (
        "mean and 95 % interval over seeds; ticks are seeds" if len(report["seeds"]) > 1 else "one seed: no interval"
    )
    panels[0].set_xlabel(f"{label(outcome['label'])}\n({interval})", fontsize=9)
    if compared:
        panels[1].axvline(0.0, color="#333333", linewidth=1)
        panels[1].set_xlabel(
            "difference to the baseline, seed by seed\n(orange: the 95 % interval excludes 0)", fontsize=9
        )
    return figure


def _bar(axes: Any, e: Report, y: float, colour: str) -> None:
    error = None if e["low"] is None else [[e["mean"] - e["low"]], [e["high"] - e["mean"]]]
    axes.errorbar([e["mean"]], [y], xerr=error, fmt="o", color=colour, capsize=3, markersize=5)


def _plot_curve(curve: Report) -> Any:
    """Lines through means over seeds, with intervals on both axes; fitted forms dashed."""
    figure, (axes,) = new_figure(7.6, 5.0)
    root = curve["scale"] == "sqrt"

    def place(x: Any) -> Any:
        return np.sqrt(np.maximum(x, 0.0)) if root else x

    for line, colour in zip(curve["lines"], _colours(len(curve["lines"])), strict=True):
        points = line["points"]
        if not points:
            continue
        x, y = (np.array([p[axis]["mean"] for p in points]) for axis in ("x", "y"))
        dashed = bool(line.get("fit")) and bool(line["fit"]["seeds"])
        axes.plot(place(x), y, color=colour, linewidth=0 if dashed else 1.2, alpha=0.7)
        axes.errorbar(
            place(x),
            y,
            xerr=_ends(points, "x", place),
            yerr=_ends(points, "y", lambda v: v),
            fmt="o",
            color=colour,
            markersize=4,
            capsize=2,
            elinewidth=0.8,
            label=label(line["name"]),
        )
        if line["by_cell"] and len(points) > 1:
            for p, at in zip(points, place(x), strict=True):
                where = {"xytext": (4, -10), "textcoords": "offset points", "fontsize": 7, "color": colour}
                axes.annotate(label(p["label"].partition("=")[2]), (at, p["y"]["mean"]), **where)
        if dashed:
            fit = line["fit"]
            d = np.linspace(0.0, float(np.sqrt(np.maximum(x, 0.0)).max()), 200)
            axes.plot(d if root else d**2, fit["start"]["mean"] + _mean_fit(fit)(d), "--", color=colour, linewidth=1.2)
            axes.set_title("dashed: the form fitted, its coefficients averaged over seeds", fontsize=9)
    x_label = label(curve["x_label"])
    axes.set_xlabel(f"√({x_label})" if root else x_label)
    axes.set_ylabel(label(curve["y_label"]))
    if curve["scale"] == "log":
        axes.set_xscale("log")
    if any(line["points"] for line in curve["lines"]):
        axes.legend(frameon=False, fontsize=8)
    return figure


def _colours(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def _ends(points: Sequence[Report], axis: str, place: Any) -> list[list[float]]:
    """Distances to the interval's ends; 0 where there is none."""
    low, high = [], []
    for p in points:
        e = p[axis]
        mean = float(place(e["mean"]))
        low.append(0.0 if e["low"] is None else mean - float(place(e["low"])))
        high.append(0.0 if e["high"] is None else float(place(e["high"])) - mean)
    return [low, high]
