"""The page of a training run that was watched for over-optimization: what `assess_checks` found, as text and a plot.

    report.md                 every check with its errors, and the verdict on each held-out score
    over_optimization.png     the training reward and the held-out scores against the KL, the marked step drawn

It computes nothing; the numbers are in the run's report.json.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from rlaif.pages.markdown import cell, label, text
from rlaif.pages.parts import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    Report,
    count,
    decimal,
    half_width,
    interval,
    known,
    new_figure,
    percent,
    table,
)

__all__ = ["watch_line", "watch_page", "write_watch"]

PLOT = "over_optimization.png"

_CAVEAT = """\
This audits and does not prevent: nothing here changed the training. A held-out score shows only errors that it does not
share with the reward model. A judge whose verdicts the reward model was trained on is fooled by much of what fools the
reward model, so that no mark by it is no proof of health."""


def write_watch(folder: str | Path, section: Report) -> None:
    """Writes report.md and over_optimization.png into `folder`, from what `assess_checks` returned."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _plot(section).savefig(folder / PLOT, dpi=130)
    (folder / "report.md").write_text(watch_page(section), encoding="utf-8")


def watch_line(section: Report) -> str:
    """One line for the end of a run: "over-optimization: judge marked at step 60; gold not marked"."""
    words = [f"{name} " + ("not marked" if at is None else f"marked at step {at}") for name, at in _marks(section)]
    return "over-optimization: " + ("; ".join(words) or "no held-out score was watched")


def watch_page(section: Report) -> str:
    """The page in Markdown."""
    opening = (
        f"{_number(len(section['checks']), 'check')} of {count(section['planned'])} planned, each on the same "
        f"{_number(section['prompts'], 'held-out prompt')}, answered with the same random numbers."
    )
    rule = (
        "A score is marked at the first check at which it is lower than at the check where its mean was best so far, "
        "while the training reward is higher than there: means of differences prompt by prompt, both intervals without "
        f"0. The intervals hold together, over all pairs of checks ({count(section['comparisons'])}), in "
        f"{100 * section['level']:.0f} % of runs (Bonferroni), because the best of many noisy means lies too high and "
        "every check is another look."
    )
    verdicts = "\n".join(f"- {_verdict(name, section)}" for name, _ in _marks(section))
    return "\n\n".join(
        [
            "# Watching for over-optimization",
            opening,
            verdicts or "No held-out score was watched: a reward that rises says nothing about over-optimization.",
            *([rule, _CAVEAT] if verdicts else []),
            f"![training reward and held-out scores against the KL]({PLOT})",
            "## Checks",
            "Brackets hold 95 % intervals of single means (± 1.96 standard errors). Two of them may overlap where the "
            "difference prompt by prompt is clear: what makes prompts easy or hard is in both.",
            _table_of_checks(section),
        ]
    ) + "\n"  # fmt: skip


def _marks(section: Report) -> list[tuple[str, int | None]]:
    return list(section["marked"].items())


def _number(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def _verdict(name: str, section: Report) -> str:
    marked, compared = section["marked"][name], section["compared"][name]
    title = f"**{text(name)}**:"
    if compared is None:
        return f"{title} nothing to compare: one check only, or too few prompts scored at two checks."
    change, reward = interval(compared, "change", decimal), interval(compared, "reward_change", decimal)
    numbers = (
        f"from step {compared['best_step']}, where it was best before, to step {compared['step']} it changed by "
        f"{change} and the training reward by {reward} ({_number(compared['prompts'], 'prompt')})"
    )
    if marked is not None:
        return f"{title} marked at step {marked}: {numbers}."
    fell, rose = compared["change_high"] < 0.0, compared["reward_change_low"] > 0.0
    if fell and not rose:
        why = " It fell, but the training reward was not shown to rise: something else than over-optimization."
    elif compared["change_low"] < 0.0:
        why = f" A fall of up to {decimal(-compared['change_low'])} is not excluded."
    else:
        why = ""
    return f"{title} not marked: {numbers}.{why}"


def _table_of_checks(section: Report) -> str:
    names = [name for name, _ in _marks(section)]
    left_out = [[row["reward_unscored"], *(row["scores"][n]["unscored"] for n in names)] for row in section["checks"]]
    unscored = any(map(any, left_out))
    head = ["step", "samples", "reward", *map(cell, names), "KL (nats)", "length (tokens)", "without EOS"]
    head += ["unscored: reward, " + ", ".join(map(cell, names))] if unscored else []
    rows = []
    for row, missing in zip(section["checks"], left_out, strict=True):
        marked = any(at == row["step"] for _, at in _marks(section))
        rows.append(
            [
                f"**{row['step']}**, marked" if marked else str(row["step"]),
                count(row["samples"]),
                interval(row, "reward", decimal),
                *(interval(row["scores"][name], "mean", decimal) for name in names),
                interval(row, "kl", decimal),
                interval(row, "length", lambda value: decimal(value, 1)),
                percent(row["no_eos"]),
                *([", ".join(map(count, missing))] if unscored else []),
            ]
        )
    return table(head, rows)


# Plot -----------------------------------------------------------------------------------------------------------------


def _plot(section: Report) -> Any:
    """A panel for the training reward and one for each held-out score, over the square root of the KL.

    The square root is the distance over which Gao et al. (2210.10760) found rewards to be simple curves.
    """
    marks = _marks(section)
    checks = [row for row in section["checks"] if known(row["kl"])]
    figure, panels = new_figure(7.2, height=1.2 + 2.3 * (1 + len(marks)), rows=1 + len(marks))
    panels[0].set_title("numbers at points are steps, bars 95 % intervals", fontsize=9)
    panels[0].set_ylabel("training reward")
    panels[-1].set_xlabel("√KL to the reference (√nats a response)")
    marked = {at for _, at in marks if at is not None}
    best = {section["compared"][name]["best_step"] for name, at in marks if at is not None}
    labelled = _labelled([_root_of_kl(row)[0] for row in checks], [row["step"] in marked | best for row in checks])
    steps = {checks[index]["step"] for index in labelled}
    x_of = {row["step"]: _root_of_kl(row)[0] for row in checks}
    _draw(panels[0], [(row, row, "reward") for row in checks], BLUE, steps)
    for step in marked & set(x_of):
        panels[0].axvline(x_of[step], color=RED, linestyle="--", linewidth=1)
    for axes, (name, at) in zip(panels[1:], marks, strict=True):
        axes.set_ylabel(label(name))
        _draw(axes, [(row, row["scores"][name], "mean") for row in checks], ORANGE, steps)
        value_of = {row["step"]: row["scores"][name]["mean"] for row in checks}
        if at is None or at not in x_of:
            continue
        before = section["compared"][name]["best_step"]
        axes.axvline(x_of[at], color=RED, linestyle="--", linewidth=1)
        axes.plot(x_of[at], value_of[at], "D", color=RED, markersize=7, zorder=5, label=f"marked: step {at}")
        if before in x_of:
            ring = {"markerfacecolor": "none", "markeredgecolor": GREY, "markeredgewidth": 1.5, "linestyle": "none"}
            axes.plot(x_of[before], value_of[before], "o", markersize=11, label=f"best before: step {before}", **ring)
        axes.legend(loc="best", fontsize=9, framealpha=0.9, edgecolor="none")
    return figure


def _draw(axes: Any, points: Sequence[tuple[Report, Report, str]], colour: str, steps: Collection[int]) -> None:
    """The checks joined in the order of their steps, those in `steps` labelled.

    `points`: the check, where its number stands, and the number's name there.
    """
    from matplotlib.patheffects import withStroke

    points = [(check, row, name) for check, row, name in points if known(row[name])]
    roots = [_root_of_kl(check) for check, _, _ in points]
    x, y = [root for root, _, _ in roots], [row[name] for _, row, name in points]
    x_error = [[root - low for root, low, _ in roots], [high - root for root, _, high in roots]]
    y_error = [half_width(row, name) for _, row, name in points]
    axes.plot(x, y, color=colour, linewidth=1, alpha=0.5)
    axes.errorbar(x, y, xerr=x_error, yerr=y_error, fmt="o", color=colour, elinewidth=0.8, capsize=2, markersize=4)
    axes.margins(x=0.06, y=0.15)
    for (check, row, name), at in zip(points, x, strict=True):
        if check["step"] in steps:
            text = {"textcoords": "offset points", "fontsize": 8, "zorder": 6}
            outline = [withStroke(linewidth=2.5, foreground="white")]
            axes.annotate(str(check["step"]), (at, row[name]), xytext=(4, 6), path_effects=outline, **text)


def _root_of_kl(check: Report) -> tuple[float, float, float]:
    """√KL and the ends of its interval. A KL estimated from samples may be below 0: drawn at 0."""
    kl, half = check["kl"], half_width(check, "kl")
    x, low, high = (math.sqrt(max(0.0, value)) for value in (kl, kl - half, kl + half))
    return x, low, high


def _labelled(x: Sequence[float], first: Sequence[bool]) -> list[int]:
    """Which points get their step written beside them, so that no two labels meet: `first` ones, the ends, the rest."""
    if not x:
        return []
    apart = 0.06 * (max(x) - min(x))
    order = sorted(range(len(x)), key=lambda i: (not first[i], i not in (0, len(x) - 1), i))
    chosen: list[int] = []
    for index in order:
        if all(abs(x[index] - x[other]) > apart for other in chosen):
            chosen.append(index)
    return chosen
