"""The page for people: `report.json` turned into Markdown tables and plots. It computes nothing.

    report.json               every number, written by `rlaif evaluate`
    report.md                 the same numbers with their intervals, each with a clause that says what it is
    win_rates.png             who wins against the baseline
    reward_kl.png             what the reward cost in KL
    judge_calibration.png     of pairs judged 0.8, are 80 % so?
    reward_calibration.png    the same of the reward model

A plot is drawn where its data is there, and left out where not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaif.files.sources import write_json
from rlaif.models.spelling import REFUSED
from rlaif.pages.markdown import cell, code, label, text
from rlaif.pages.parts import (
    BLUE,
    GREY,
    ORANGE,
    Report,
    count,
    decimal,
    half_width,
    interval,
    known,
    new_figure,
    over,
    percent,
    table,
)
from rlaif.records import Prompt

__all__ = ["PLOTS", "Example", "draw_plots", "markdown", "write_report"]

PLOTS = ("win_rates.png", "reward_kl.png", "judge_calibration.png", "reward_calibration.png")

Example = tuple[Prompt, Mapping[str, str], Mapping[str, float | None]]  # prompt, response and gold by policy


def write_report(folder: str | Path, report: Report, examples: Sequence[Example] = ()) -> None:
    """Writes report.json, the plots and report.md into `folder`. A plot of an earlier run does not stay behind."""
    folder = Path(folder)
    write_json(folder / "report.json", report)
    plots = draw_plots(folder, report)
    (folder / "report.md").write_text(markdown(report, examples, plots), encoding="utf-8")


# The page -------------------------------------------------------------------------------------------------------------


def markdown(report: Report, examples: Sequence[Example] = (), plots: Sequence[str] = ()) -> str:
    """The page: a table for each section that the report has, its plots, and responses side by side."""
    sections = ["# Evaluation", _opening(report)]
    if report.get("policies"):
        sections += ["## Policies", _policies(report), *_images(plots, "win_rates", "reward_kl")]
    if report.get("comparisons"):
        sections += ["### Against each other", _comparisons(report["comparisons"])]
    if report.get("judge"):
        sections += ["## Judge", _judge(report["judge"]), *_images(plots, "judge_calibration")]
    if report.get("reward_model"):
        sections += ["## Reward model", _reward_model(report["reward_model"]), *_images(plots, "reward_calibration")]
    if report.get("seconds"):
        rows = [[name, decimal(seconds, 1)] for name, seconds in report["seconds"].items()]
        sections += ["## Time", table(["stage", "seconds"], rows)]
    if examples:
        sections += ["## Responses side by side", _side_by_side(examples)]
    return "\n\n".join(sections) + "\n"


def _images(plots: Sequence[str], *names: str) -> list[str]:
    alt = {
        "win_rates": "win rate of each policy against the baseline",
        "reward_kl": "reward of each policy against its KL to the reference",
        "judge_calibration": "reliability of the judge's z",
        "reward_calibration": "reliability of the reward model's probability",
    }
    return [f"![{alt[name]}]({name}.png)" for name in names if f"{name}.png" in plots]


def _opening(report: Report) -> str:
    prompts, sampling = report["prompts"], report["sampling"]
    temperature = sampling["temperature"]
    how = "greedy" if temperature == 0 else f"temperature {temperature:g}, top-p {sampling['top_p']:g}"
    left_out = prompts["too_long"]
    lines = [
        f"{prompts['count']:,} prompts from {code(prompts['source'])}"
        + (f", split {code(prompts['split'])}" if prompts["split"] else "")
        + f"; one response a prompt from every policy ({how}, at most {sampling['max_new_tokens']} tokens, seed "
        f"{sampling['seed']}).",
        f"Baseline: {code(report['baseline'])}. Reference of the KL: {code(report['reference'] or 'none')}."
        + (f" Gold reward: {code(report['gold'])}." if report["gold"] else ""),
        "Brackets hold 95 % intervals: bootstrap over prompts (so two policies are compared in pairs) or over what "
        "a section says, ± 1.96 standard errors for means. Every response is in `responses.jsonl`.",
    ]
    if assumed := report.get("reward_rendering_assumed"):
        lines.append(f"The reward model's rendering is assumed to be {assumed}.")
    if left_out:
        what = "1 prompt was left out: it is" if left_out == 1 else f"{left_out:,} prompts were left out: they are"
        lines.append(f"{what} too long for one of the policies.")
    if refused := prompts.get("refused", 0):
        what = "1 prompt was left out" if refused == 1 else f"{refused:,} prompts were left out"
        lines.append(f"{what}: the chat template of one of the policies refuses {'it' if refused == 1 else 'them'}.")
    for name, ledger in report.get("ledgers", {}).items():
        said = ("too long", REFUSED) if name == "prompts" else ()
        others = [f"{text(why)} {n:,}" for why, n in ledger["left_out"].items() if why not in said]
        if others:
            lines.append(f"Of {ledger['read']:,} {name} that were read, others were left out ({'; '.join(others)}).")
    return "\n".join(lines)


def _policies(report: Report) -> str:
    policies: Mapping[str, Report] = report["policies"]
    baseline = code(report["baseline"], in_cell=True)

    def judge(show: Callable[[Report], str]) -> Callable[[Report], str]:
        return lambda row: show(row["judge"]) if "judge" in row else "–"

    def wins(row: Report) -> str:
        counts = [row.get(name) for name in ("wins", "ties", "losses")]
        shown = interval(row, "win_rate", percent)
        return shown if None in counts else f"{shown}; {' / '.join(map(count, counts))}"

    gold_first = {row.get("win_rate_by") for row in policies.values()} == {"gold", None}
    measures: list[tuple[str, Callable[[Report], str], str]] = [
        ("gold reward", lambda r: interval(r, "gold_reward", decimal), "mean of the gold reward"),
        (
            "reward",
            lambda r: interval(r, "reward", decimal),
            "mean of the reward model's score, less its zero point",
        ),
        (
            f"win rate over {baseline} by gold",
            lambda r: wins(r) if r.get("win_rate_by") == "gold" else "–",
            "share of prompts with the higher gold reward, ties half; wins / ties / losses",
        ),
        (
            f"win rate over {baseline} by judge",
            judge(wins),
            "share of prompts that the judge prefers, both orders averaged, z = 0.5 half; wins / ties / losses",
        ),
        ("… identical responses", judge(lambda r: count(r["identical"])), "counted as ties without asking"),
        ("… unjudged", judge(lambda r: count(r["unjudged"])), "no verdict could be read: in no rate"),
        (
            "… judge agrees with gold",
            judge(lambda r: interval(r, "agreement", percent)),
            "on those prompts that are no tie by gold",
        ),
        (
            "KL (nats)",
            lambda r: interval(r, "kl", decimal),
            "KL to the reference a response: exact over the vocabulary at every position, then summed",
        ),
        (
            "… retokenized",
            lambda r: count(r.get("kl_retokenized")),
            "responses whose text has another number of tokens than was sampled: their KL is along other prefixes",
        ),
        ("length (tokens)", lambda r: interval(r, "length", lambda v: decimal(v, 1)), "mean, with the EOS"),
        ("without EOS", lambda r: percent(r.get("no_eos")), "share that was cut at the limit of new tokens"),
    ]
    rows = []
    for name, show, meaning in measures:
        cells = [show(row) for row in policies.values()]
        if any(cell != "–" for cell in cells):
            rows.append([name, *cells, meaning])
    notes = [f"{code(name)}: {text(row['kl_missing'])}" for name, row in policies.items() if row.get("kl_missing")]
    if report["sampling"]["temperature"] != 1.0 or report["sampling"]["top_p"] != 1.0:
        notes.append(
            "The responses were not sampled at temperature 1 and top-p 1, so the KL is summed along other prefixes "
            "than the policy's own: an index of distance, not an unbiased estimate."
        )
    if gold_first and any("judge" in row for row in policies.values()):
        notes.append("`win_rate` in report.json is the one by gold; the judge's is under `judge`.")
    head = ["", *(code(name, in_cell=True) for name in policies), "what it is"]
    return "\n\n".join([table(head, rows), *notes])


def _comparisons(rows: Sequence[Report]) -> str:
    shown = [
        [
            f"{code(row['policy'], in_cell=True)} − {code(row['other'], in_cell=True)}",
            interval(row, "gold_reward", decimal),
            interval(row, "win_rate", percent),
            interval(row, "reward", decimal),
            interval(row, "kl", decimal),
            interval(row, "length", lambda value: decimal(value, 1)),
        ]
        for row in rows
    ]
    head = ["", "gold reward", "win rate by gold (of the first)", "reward", "KL (nats)", "length (tokens)"]
    kept = [i for i in range(len(head)) if i == 0 or any(line[i] != "–" for line in shown)]
    words = "Mean differences, prompt by prompt. More reward at more KL does not make the better method by itself."
    return f"{words}\n\n" + table([head[i] for i in kept], [[line[i] for i in kept] for line in shown])


def _judge(judge: Report) -> str:
    truth = {"gold": "the gold reward", "label": "the labels"}.get(judge.get("truth") or "", "the truth")
    longer = judge.get("longer_wins", {})
    consistency = judge.get("position_consistency", judge.get("order_consistency"))  # the older reports' name
    rows = [
        ["pairs", count(judge["pairs"]), "all of them, judged or not"],
        ["unjudged", count(judge["unjudged"]), _reasons(judge["reasons"]) or "every pair has a z"],
        ["tied", count(judge["tied"]), f"ties by {truth}, left out of agreement and calibration"],
    ]
    if judge["unlabelled"]:
        rows.append(["unlabelled", count(judge["unlabelled"]), "nobody knows the better one; left out likewise"])
    rows += [
        ["agreement", interval(judge, "agreement", percent), f"the same winner as by {truth}, both orders averaged"],
        ["agreement, single order", percent(judge.get("agreement_single_order")), "the same, asked in one order only"],
        ["position consistency", percent(consistency), "the same winner in both orders"],
        ["P(first)", decimal(judge.get("first_rate")), "mean probability of the one shown first; 0.5 is unbiased"],
        ["ECE", interval(judge, "ece", decimal), "mean gap between z and the share that comes out so"],
        ["Brier score", interval(judge, "brier", decimal), f"mean (z − truth)²; {_half(judge)}"],
        [
            "longer wins",
            f"{percent(longer.get('judge'))} / {percent(longer.get('truth'))}",
            f"share of pairs won by the longer response: judge / {truth}",
        ],
    ]
    drawn = [f"{over(judge['drawn']).capitalize()}."] if judge.get("drawn") else []
    return "\n\n".join([table(["", "value", "what it is"], rows), *drawn])


def _reasons(reasons: Mapping[str, int]) -> str:
    return cell("; ".join(f"{n} × {reason}" for reason, n in list(reasons.items())[:3])) if reasons else ""


def _half(section: Report) -> str:
    """What a Brier score is beside: 0.25 only where no pair's reference is soft."""
    return f"always saying 0.5 gets {decimal(section.get('brier_of_half'))}"


def _reward_model(model: Report) -> str:
    sections = {name: model[f"against_{name}"] for name in _REFERENCES if model.get(f"against_{name}")}
    left_out = [
        f"{count(model['pairs'])} held-out preferences",
        *([f"{count(model['unscored'])} of them could not be scored"] if model["unscored"] else []),
    ]
    opening = f"{', '.join(left_out)}. p = σ(difference of scores) is held against {_references(sections)}."
    if not sections:
        return f"{', '.join(left_out)}: nothing was measured."

    def cells(show: Callable[[Report], str]) -> list[str]:
        return [show(section) for section in sections.values()]

    def above(section: Report) -> str:
        longer = section.get("baselines", {}).get("longer_wins")
        return interval(longer, "difference", lambda v: f"{100 * v:+.1f} %") if longer else "–"

    def longer_wins(section: Report) -> str:
        longer = section.get("longer_wins", {})
        return f"{percent(longer.get('model'))} / {percent(longer.get('reference'))}"

    rows = [
        ["pairs", *cells(lambda s: count(s["pairs"])), "scored, and with this reference"],
        ["tied", *cells(lambda s: count(s["tied"])), "ties by the reference, left out of all below but NLL"],
        ["accuracy", *cells(lambda s: interval(s, "accuracy", percent)), "the reference's choice has the higher score"],
        ["… above “the longer one wins”", *cells(above), "difference on the same pairs"],
        [
            "NLL (nats)",
            *cells(lambda s: f"{interval(s, 'soft_nll', decimal)}; floor {decimal(s.get('soft_nll_floor'))}"),
            "no p gets below the floor, the reference's own entropy; always saying 0.5 gets 0.693",
        ],
        ["ECE", *cells(lambda s: interval(s, "ece", decimal)), "mean gap between p and the reference, in bins of p"],
        [
            "Brier score",
            *cells(lambda s: f"{interval(s, 'brier', decimal)}; {_half(s)}"),
            "mean (p − reference)²",
        ],
        ["longer wins", *cells(longer_wins), "share of pairs won by the longer response: reward model / reference"],
    ]
    notes = [
        f"Against {_REFERENCES[name]}: {over(section['drawn'])}."
        for name, section in sections.items()
        if "drawn" in section
    ]
    return "\n\n".join(
        [opening, table(["", *(f"against {_REFERENCES[n]}" for n in sections), "what it is"], rows), *notes]
    )


_REFERENCES = {"gold": "the gold reward", "label": "the labels", "z": "the judge's z"}


def _references(names: Iterable[str]) -> str:
    said = [_REFERENCES[name] for name in names]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def _side_by_side(examples: Sequence[Example]) -> str:
    names = list(examples[0][1])
    rows = []
    for prompt, responses, gold in examples:
        words = prompt if isinstance(prompt, str) else "\n".join(f"{m['role']}: {m['content']}" for m in prompt)
        cells = []
        for name in names:
            value = gold.get(name)
            cells.append(cell(responses[name]) + (f"<br>*gold {value:g}*" if value is not None else ""))
        rows.append([cell(words), *cells])
    head = ["prompt", *(code(name, in_cell=True) for name in names)]
    return "The first prompts in the order of the source, not chosen ones.\n\n" + table(head, rows)


# Plots ----------------------------------------------------------------------------------------------------------------


def draw_plots(folder: str | Path, report: Report) -> list[str]:
    """Draws what the report has data for; returns the names of the files. Earlier plots are removed."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    plots: list[Callable[[Report], Any]] = [
        *(_plot_win_rates, _plot_reward_kl, _plot_judge_calibration, _plot_reward_calibration),
    ]
    for name, draw in zip(PLOTS, plots, strict=True):
        (folder / name).unlink(missing_ok=True)
        figure = draw(report)
        if figure is not None:
            figure.savefig(folder / name, dpi=130)
            drawn.append(name)
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
    figure, (axes,) = new_figure(height=1.5 + 0.75 * len(names))
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
    styles = dict(zip(policies, itertools.cycle(_STYLES), strict=False))
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


# Colours that stay apart to the colour-blind (Okabe and Ito 2008), the house's two among them.
_STYLES = [(GREY, "o"), (BLUE, "s"), (ORANGE, "D"), ("#009e73", "^"), ("#cc79a7", "v"), ("#000000", "P")]


def _plot_judge_calibration(report: Report) -> Any:
    judge = report.get("judge") or {}
    truth = {"gold": "gold reward", "label": "label"}.get(judge.get("truth") or "", "truth")
    return _plot_reliability(judge, "judge's confidence max(z, 1 − z)", f"share where the {truth} agrees")


def _plot_reward_calibration(report: Report) -> Any:
    model = report.get("reward_model") or {}
    name = next((name for name in _REFERENCES if (model.get(f"against_{name}") or {}).get("reliability")), None)
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
