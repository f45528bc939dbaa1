"""The plots of `rlaif evaluate`: what `report.json` has data for, as figures. They compute nothing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaif.pages.markdown import label
from rlaif.pages.parts import BLUE, GREY, ORANGE, Report, decimal, half_width, interval, known, new_figure

__all__ = ["PLOTS", "draw_plots", "figures"]

PLOTS = ("win_rates.png", "reward_kl.png", "judge_calibration.png", "reward_calibration.png")


def figures(report: Report) -> dict[str, Any]:
    """The figures that the report has data for, by the name of their file."""
    plots = (_plot_win_rates, _plot_reward_kl, _plot_judge_calibration, _plot_reward_calibration)
    drawn = ((name, draw(report)) for name, draw in zip(PLOTS, plots, strict=True))
    return {name: figure for name, figure in drawn if figure is not None}


def draw_plots(folder: str | Path, report: Report) -> dict[str, Any]:
    """Draws the figures into `folder` and returns them. Plots of an earlier run are removed."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in PLOTS:
        (folder / name).unlink(missing_ok=True)
    drawn = figures(report)
    for name, figure in drawn.items():
        figure.savefig(folder / name, dpi=130)
    return drawn


def _plot_win_rates(report: Report) -> Any:
    rows = []  # name, by, rate, low, high
    for name, policy in report["policies"].items():
        if name == report["baseline"]:
            continue  # the dashed line
        for by, row in (
            ("gold", policy if policy.get("win_rate_by") == "gold" else {}),
            ("judge", policy.get("judge")),
        ):
            if row and known(row.get("win_rate")):
                rows.append((name, by, row["win_rate"], row["win_rate_low"], row["win_rate_high"]))
    if not rows:
        return None
    both = len({by for _, by, *_ in rows}) == 2
    names = list(dict.fromkeys(name for name, *_ in rows))
    longest = max(len(label(name)) for name in names)
    figure, (axes,) = new_figure(6.4 + 0.07 * max(0, longest - 12), height=1.5 + 0.75 * len(names))
    for by, colour, shift in (("gold", ORANGE, -0.13), ("judge", BLUE, 0.13)):
        mine = [row for row in rows if row[1] == by]
        if not mine:
            continue
        y = [names.index(row[0]) + (shift if both else 0.0) for row in mine]
        rate = [row[2] for row in mine]
        # A bar without length where prompts were too few for an interval.
        error = [[abs(row[2] - row[i]) if known(row[i]) else 0.0 for row in mine] for i in (3, 4)]
        axes.errorbar(rate, y, xerr=error, fmt="o", color=colour, capsize=4, markersize=7, label=f"by {by}")
        for at, value in zip(y, rate, strict=True):
            axes.annotate(
                f"{100 * value:.0f} %",
                (value, at),
                xytext=(0, 8),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
            )
    axes.axvline(0.5, color=GREY, linestyle="--", linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), list(map(label, names)))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"win rate against {label(report['baseline'])} (95 % interval)")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _plot_reward_kl(report: Report) -> Any:
    policies: Mapping[str, Report] = report["policies"]
    placed = {name: row for name, row in policies.items() if known(row.get("kl"))}
    series = [
        (key, title, shown)
        for key, title in (("gold_reward", "gold reward"), ("reward", "reward model's score"))
        if (shown := {name: row for name, row in placed.items() if known(row.get(key))})
    ]
    if not series:
        return None
    # The two rewards have units of their own: a panel each, over the same KL. Policies may lie close together, so they
    # are told apart by colour and marker in a legend, not by words that would cover each other.
    figure, panels = new_figure(7.2, height=1.4 + 2.6 * len(series), rows=len(series))
    styles = dict(zip(policies, zip(itertools.cycle(_COLOURS), itertools.cycle(_MARKERS), strict=False), strict=False))
    for axes, (key, title, shown) in zip(panels, series, strict=True):
        for name, row in shown.items():
            colour, marker = styles[name]
            axes.errorbar(
                row["kl"],
                row[key],
                xerr=half_width(row, "kl"),
                yerr=half_width(row, key),
                fmt=marker,
                color=colour,
                capsize=3,
                markersize=6,
                label=f"{label(name)} (KL {row['kl']:.1f})",
            )
        axes.set_ylabel(f"{title} (95 % interval)")
        axes.margins(x=0.08, y=0.15)
    panels[-1].set_xlabel(f"KL to {label(report['reference'])} (nats a response, 95 % interval)")
    panels[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


# Colours that stay apart to the colour-blind (Okabe and Ito 2008), the house's two among them; with a marker more than
# colours, 42 policies look each like no other.
_COLOURS = (GREY, BLUE, ORANGE, "#009e73", "#cc79a7", "#000000")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")


def _plot_judge_calibration(report: Report) -> Any:
    judge = report.get("judge") or {}
    truth = {"gold": "gold reward", "label": "label"}.get(judge.get("truth") or "", "truth")
    return _plot_reliability(judge, "judge's confidence max(z, 1 − z)", f"share where the {truth} agrees")


def _plot_reward_calibration(report: Report) -> Any:
    model = report.get("reward_model") or {}
    name = next(
        (name for name in ("gold", "label", "z") if (model.get(f"against_{name}") or {}).get("reliability")), None
    )
    if name is None:
        return None
    truth = {"gold": "gold reward", "label": "label", "z": "judge's z"}[name]
    return _plot_reliability(
        model[f"against_{name}"],
        "reward model's confidence σ(|score difference|)",
        f"mean of the {truth} for that side" if name == "z" else f"share where the {truth} agrees",
    )


def _plot_reliability(section: Report, xlabel: str, ylabel: str) -> Any:
    points: Sequence[Report] = section.get("reliability") or []
    if not points:
        return None
    figure, (axes,) = new_figure(5.6, 4.4)
    axes.plot([0.5, 1], [0.5, 1], color=GREY, linestyle="--", linewidth=1, label="calibrated")
    p, y = [point["p"] for point in points], [point["y"] for point in points]
    drawn = all(known(point["low"]) for point in points)  # else too few prompts and responses for an interval
    error = (
        [[point["y"] - point["low"] for point in points], [point["high"] - point["y"] for point in points]]
        if drawn
        else None
    )
    said = "pairs, 95 % interval" if drawn else "pairs"
    axes.errorbar(p, y, yerr=error, fmt="o", color=BLUE, capsize=3, markersize=6, label=said)
    axes.set_xlim(0.49, 1.01)
    axes.set_ylim(min(0.45, *(point["low" if drawn else "y"] for point in points)) - 0.02, 1.02)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(f"ECE {interval(section, 'ece', decimal)}, {section['measured']:,} pairs", fontsize=10)
    axes.legend(frameon=False, loc="lower right")
    return figure
