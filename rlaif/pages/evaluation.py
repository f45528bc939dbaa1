"""The page of `rlaif evaluate` for people: `report.json` as tables and plots, in two forms. It computes nothing.

    report.json               every number, written by `rlaif evaluate`
    report.md                 the same numbers with their intervals, each with a clause that says what it is
    win_rates.png             who wins against the baseline
    reward_kl.png             what the reward cost in KL
    judge_calibration.png     of pairs judged 0.8, are 80 % so?
    reward_calibration.png    the same of the reward model
    report.html               what report.md says, its plots inside, and every response side by side

What the page says is written once, as Markdown; report.html is that Markdown read, and `responses.jsonl` searched. A
plot is drawn where its data is there, and left out where not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaif.files.sources import whole_file, write_json
from rlaif.models.spelling import REFUSED
from rlaif.pages import html, responses
from rlaif.pages.evaluation_plots import PLOTS, draw_plots
from rlaif.pages.markdown import cell, code, text
from rlaif.pages.parts import Report, count, decimal, interval, known, over, p_value, percent, size, table
from rlaif.records import Prompt
from rlaif.secrets import redacted_json

__all__ = ["PAGE", "PLOTS", "Example", "draw_plots", "html_page", "markdown", "write_report"]

PAGE = "report.html"
RESPONSES = "responses.jsonl"
LONGEST = 8000  # characters of a text that is shown in a table

Example = tuple[Prompt, Mapping[str, str], Mapping[str, float | None]]  # prompt, response and gold by policy


def write_report(folder: str | Path, report: Report, examples: Sequence[Example] = ()) -> None:
    """Writes report.json, the plots, report.md and report.html into `folder`.

    The responses are read from `folder`'s responses.jsonl; without it report.html has none. A plot of an earlier run
    does not stay behind.
    """
    folder = Path(folder)
    write_json(folder / "report.json", report)
    plots = draw_plots(folder, report)
    (folder / "report.md").write_text(markdown(report, examples, list(plots)), encoding="utf-8")
    with whole_file(folder / PAGE) as file:
        file.writelines(html_page(report, plots, folder / RESPONSES, examples))


# The page -------------------------------------------------------------------------------------------------------------


def markdown(report: Report, examples: Sequence[Example] = (), plots: Sequence[str] = ()) -> str:
    """The page: a table for each section that the report has, its plots, and responses side by side."""
    sections = _sections(report, plots)
    if examples:
        sections += ["## Responses side by side", _side_by_side(examples)]
    return "\n\n".join(sections) + "\n"


def html_page(
    report: Report, plots: Mapping[str, Any], responses_file: str | Path | None, examples: Sequence[Example] = ()
) -> Iterator[str]:
    """The page as one HTML document, piece by piece: what `markdown` says, then every response, searched by a script.

    Args:
        report: as in report.json; no key that it might hold is shown.
        plots: figures by the name of their file, as `draw_plots` returns them.
        responses_file: responses.jsonl, or what is not there: then the page has no responses.
        examples: the responses that a reader without scripts sees.
    """
    report = redacted_json(report)
    sections = _sections(report, list(plots))
    contents = {html.slug(words, {}): words for line in sections if (words := line.removeprefix("## ")) != line}
    there = responses_file is not None and Path(responses_file).is_file()
    scripts = (responses.SCRIPT,) if there else ()
    pictures = {name: html.picture(figure) for name, figure in plots.items()}
    title = f"Evaluation: {', '.join(report['policies'])}"
    pieces = [html.opening(title, {**contents, **({"responses": "Responses"} if there else {})}, scripts)]
    pieces.append(html.from_markdown("\n\n".join(sections), pictures))
    written = 0
    for piece in pieces:
        written += len(piece.encode("utf-8", "replace"))
        yield piece
    if there:
        assert responses_file is not None
        static = html.from_markdown(_side_by_side(examples)) if examples else ""
        for piece in responses.responses_section(report, responses_file, static):
            written += len(piece.encode("utf-8", "replace"))
            yield piece
    yield html.closing(f"Written by rlaif. This file needs nothing beside it ({size(written)}).", scripts)


def _sections(report: Report, plots: Sequence[str]) -> list[str]:
    """The page but for the responses: headings and what stands under them."""
    sections = ["# Evaluation", _opening(report)]
    if report.get("policies"):
        sections += ["## Policies", _policies(report), *_images(plots, "win_rates", "reward_kl")]
    if report.get("comparisons"):
        sections += ["## Against each other", _comparisons(report)]
    if report.get("judge"):
        sections += ["## Judge", _judge(report["judge"]), *_images(plots, "judge_calibration")]
    if report.get("reward_model"):
        sections += ["## Reward model", _reward_model(report["reward_model"]), *_images(plots, "reward_calibration")]
    if report.get("trained_on"):
        sections += ["## Trained on", _trained_on(report)]
    if report.get("seconds"):
        rows = [[cell(name), decimal(seconds, 1)] for name, seconds in report["seconds"].items()]
        sections += ["## Time", table(["stage", "seconds"], rows)]
    return sections


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
    kinds = {row.get("kind", "local") for row in report["policies"].values()}
    asked = f"{how}, at most {sampling['max_new_tokens']} tokens, seed {sampling['seed']}"
    own = f"one response a prompt from every policy ({asked})"
    if "responses" in kinds:
        own = f"one response a prompt from every policy that is asked ({asked}); ready responses are as they came"
    if kinds == {"responses"}:
        own = "ready responses, as they came"
    reference = f" Reference of the KL: {code(report['reference'])}." if report["reference"] else ""
    opening = [
        f"{prompts['count']:,} {'prompt' if prompts['count'] == 1 else 'prompts'} from {code(prompts['source'])}"
        + (f", split {code(prompts['split'])}" if prompts["split"] else "")
        + f"; {own}.",
        f"Baseline: {code(report['baseline'])}.{reference}"
        + (f" Gold reward: {code(report['gold'])}." if report["gold"] else ""),
        "Brackets hold 95 % intervals: bootstrap over prompts (so two policies are compared in pairs) or over what "
        f"a section says, {_of_means(report)} for means. Every response is in `{RESPONSES}`.",
    ]
    facts = _seen_before(report)
    if any(row.get("characters_low", 0) is None for row in report["policies"].values()):
        facts.append("Means and win rates have no interval: so few prompts do not say how others would come out.")
    if assumed := report.get("reward_rendering_assumed"):
        facts.append(f"The reward model's rendering is assumed to be {assumed}.")
    facts += [_left_out(prompts.get(name, 0), *why) for name, why in _LEFT_OUT.items() if prompts.get(name, 0)]
    for name, ledger in report.get("ledgers", {}).items():
        said = ("too long", REFUSED, "call failed", "no response in a file") if name == "prompts" else ()
        others = {why: n for why, n in ledger["left_out"].items() if why not in said}
        if others:
            why = "; ".join(f"{text(reason)} {n:,}" for reason, n in others.items())
            facts.append(f"{sum(others.values()):,} of {ledger['read']:,} {text(name)} were left out ({why}).")
    return "\n".join(opening) + ("\n\n" + "\n".join(f"- {fact}" for fact in facts) if facts else "")


def _of_means(report: Report) -> str:
    """How means come to their intervals: an older report has standard errors alone."""
    rows = report["policies"].values()
    if not any("characters_low" in row for row in rows):
        return "± 1.96 standard errors"
    return "Student's t"


# Prompts that were left out for all, by their name in the report: why, of one and of several.
_LEFT_OUT = {
    "too_long": (": it is too long for one of the policies", ": they are too long for one of the policies"),
    "refused": (
        ": the chat template of one of the policies refuses it",
        ": the chat template of one of the policies refuses them",
    ),
    "failed": (": an endpoint gave no answer to it", ": an endpoint gave no answer to them"),
    "no_response": (": a file of responses has none to it", ": a file of responses has none to them"),
}


def _left_out(n: int, one: str, several: str) -> str:
    return f"1 prompt was left out{one}." if n == 1 else f"{n:,} prompts were left out{several}."


def _policies(report: Report) -> str:
    policies: Mapping[str, Report] = report["policies"]
    baseline = code(report["baseline"], in_cell=True)

    def judge(show: Callable[[Report], str]) -> Callable[[Report], str]:
        return lambda row: show(row["judge"]) if "judge" in row else "–"

    def by_gold(show: Callable[[Report], str]) -> Callable[[Report], str]:
        return lambda row: show(row) if row.get("win_rate_by") == "gold" else "–"

    mixed = {row.get("kind", "local") for row in policies.values()} != {"local"}
    gold_first = {row.get("win_rate_by") for row in policies.values()} == {"gold", None}
    measures: list[tuple[str, Callable[[Report], str], str]] = [
        (
            "comes from",
            lambda r: _source(r) if mixed else "–",
            "a model's weights, an endpoint, or a file of ready responses",
        ),
        ("gold reward", lambda r: interval(r, "gold_reward", decimal), "mean of the gold reward"),
        (
            "reward",
            lambda r: interval(r, "reward", decimal),
            "mean of the reward model's score, less its zero point",
        ),
        (
            f"win rate over {baseline} by gold",
            by_gold(_wins),
            "share of prompts with the higher gold reward, ties half; wins / ties / losses",
        ),
        (
            "… at equal length",
            by_gold(lambda r: interval(r, "lc_win_rate", percent)),
            "length-controlled after AlpacaEval 2, without its term for the instruction",
        ),
        (
            f"win rate over {baseline} by judge",
            judge(_wins),
            "share of prompts that the judge prefers, both orders averaged, z = 0.5 half; wins / ties / losses",
        ),
        (
            "… mean z",
            judge(lambda r: interval(r, "mean_z", decimal)),
            "identical responses 0.5 (AlpacaEval's win rate)",
        ),
        (
            "… mean z at equal length",
            judge(lambda r: interval(r, "lc_mean_z", decimal)),
            "AlpacaEval 2's length-controlled win rate, without its term for the instruction",
        ),
        ("… identical responses", judge(lambda r: count(r["identical"])), "counted as ties without asking"),
        ("… unjudged", judge(lambda r: count(r["unjudged"])), "no verdict, or an empty response: in no rate"),
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
        (
            "length (tokens)",
            lambda r: interval(r, "length", lambda v: decimal(v, 1)),
            "mean, with the EOS, by the policy's own tokenizer",
        ),
        ("length (characters)", lambda r: interval(r, "characters", lambda v: decimal(v, 1)), "mean"),
        (
            "with a thought",
            lambda r: count(r.get("thoughts") or None),
            "responses that hold one (&lt;think> or the like): it is measured and judged as a part of them",
        ),
        ("without EOS", lambda r: percent(r.get("no_eos")), "share that was cut at the limit of new tokens"),
    ]
    rows = []
    for name, show, meaning in measures:
        cells = [show(row) for row in policies.values()]
        if any(cell != "–" for cell in cells):
            rows.append([name, *cells, meaning])
    notes = _missing(policies)
    if report["sampling"]["temperature"] != 1.0 or report["sampling"]["top_p"] != 1.0:
        notes.append(
            "The responses were not sampled at temperature 1 and top-p 1, so the KL is summed along other prefixes "
            "than the policy's own: an index of distance, not an unbiased estimate."
        )
    if gold_first and any("judge" in row for row in policies.values()):
        notes.append("`win_rate` in report.json is the one by gold; the judge's is under `judge`.")
    head = ["", *(code(name, in_cell=True) for name in policies), "what it is"]
    return "\n\n".join([table(head, rows), *notes])


def _wins(row: Report) -> str:
    """A win rate with what it counts: "74.5 % [71.0 %, 77.7 %]; 345 / 55 / 100"."""
    counts = [row.get(name) for name in ("wins", "ties", "losses")]
    shown = interval(row, "win_rate", percent)
    return shown if None in counts else f"{shown}; {' / '.join(map(count, counts))}"


def _source(row: Report) -> str:
    """Where a policy's responses come from."""
    model = f" {code(row['model'], in_cell=True)}" if row.get("model") else ""
    return cell(row.get("kind", "local")) + model


def _missing(policies: Mapping[str, Report]) -> list[str]:
    """Why a policy lacks a number, once for all that lack it alike."""
    return _why(
        (code(name), said)
        for name, row in policies.items()
        for said in (*(row.get(f"{number}_missing") for number in ("kl", "length", "no_eos")), *_unequal(row))
        if said
    )


def _unequal(row: Report) -> list[str]:
    """Why a policy, or two of them, have no win rate at equal length."""
    lacks = {
        "no win rate by gold at equal length": row.get("lc_missing"),
        "no mean z at equal length": row.get("judge", {}).get("lc_missing"),
    }
    return [f"{what}: {why}." for what, why in lacks.items() if why]


def _why(lacks: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each reason: who lacks something by it (Markdown), and the reason."""
    names: dict[str, dict[str, None]] = {}
    for name, why in lacks:
        names.setdefault(why, {})[name] = None
    return [f"{', '.join(of)}: {text(why)}" for why, of in names.items()]


def _comparisons(report: Report) -> str:
    def tested(row: Report, name: str, show: Callable[[Any], str], p: str = "") -> str:
        shown = interval(row, name, show)
        if known(row.get(f"{p or name}_p")):
            shown += f"; p = {p_value(row[f'{p or name}_p'])} (Holm {p_value(row.get(f'{p or name}_p_holm'))})"
        return shown.replace("p = <", "p <")

    def of_judge(row: Report) -> str:
        if "judge" in row:
            return tested(row["judge"], "win_rate", percent, "wins")
        return "–"

    columns: list[tuple[str, Callable[[Report], str]]] = [
        ("gold reward", lambda r: tested(r, "gold_reward", decimal)),
        ("win rate by gold (of the first)", lambda r: tested(r, "win_rate", percent, "wins")),
        ("… at equal length", lambda r: interval(r, "lc_win_rate", percent)),
        ("win rate by judge (of the first)", of_judge),
        ("… mean z", lambda r: tested(r["judge"], "mean_z", decimal) if "judge" in r else "–"),
        ("… mean z at equal length", lambda r: interval(r.get("judge", {}), "lc_mean_z", decimal)),
        (
            f"z over {code(report['baseline'], in_cell=True)}",
            lambda r: tested(r.get("judge_over_baseline", {}), "z", decimal),
        ),
        ("reward", lambda r: tested(r, "reward", decimal)),
        ("KL (nats)", lambda r: interval(r, "kl", decimal)),
        ("length (tokens)", lambda r: interval(r, "length", lambda value: decimal(value, 1))),
        ("length (characters)", lambda r: tested(r, "characters", lambda value: decimal(value, 1))),
    ]
    rows = report["comparisons"]
    names = [f"{code(row['policy'], in_cell=True)} − {code(row['other'], in_cell=True)}" for row in rows]
    shown = [(title, [show(row) for row in rows]) for title, show in columns]
    shown = [(title, cells) for title, cells in shown if set(cells) != {"–"}]
    reasons = _why((name, why) for name, row in zip(names, rows, strict=True) for why in _unequal(row))
    return "\n\n".join(
        [
            "Mean differences, prompt by prompt; win rates and mean z are the first one's over the second. More reward "
            "at more KL does not make the better method by itself.",
            *_tests(report.get("tests")),
            table(
                ["", *(title for title, _ in shown)],
                [list(row) for row in zip(names, *(c for _, c in shown), strict=True)],
            ),
            *(["\n".join(f"- {reason}" for reason in reasons)] if reasons else []),
        ]
    )


def _tests(tests: Report | None) -> list[str]:
    """What the p-values are, where there are some."""
    if not tests:
        return []
    signs = f"{count(tests['flips'])} random flips of the differences' signs"
    if most := tests.get("all_flips_up_to"):
        signs += f" (all of them, where at most {most} are not 0)"
    return [
        f"p is of no difference at all between the two on such prompts: for a mean by {signs}, for wins and losses "
        f"exactly (sign test, ties left out). In brackets it is adjusted for several looks: {text(tests['adjusted'])}."
    ]


def _stages(report: Report) -> dict[str, Report]:
    """What was looked at for prompts that it was trained on, by the name that it has on the page."""
    seen = report.get("trained_on") or {}
    others = {
        words: seen[key]
        for key, words in (("reward_model", "the reward model"), ("judge", "the judge"))
        if seen.get(key)
    }
    return {**{code(name, in_cell=True): row for name, row in seen.get("policies", {}).items()}, **others}


def _seen_before(report: Report) -> list[str]:
    """A sentence for each model that was trained on some of the prompts."""
    of = count((report.get("trained_on") or {}).get("prompts"))
    return [
        f"**{count(row['found'])} of the {of} prompts are among those that {name} was trained on:** its numbers "
        "on them say little about new prompts."
        for name, row in _stages(report).items()
        if row.get("found")
    ]


def _trained_on(report: Report) -> str:
    rows = []
    for name, row in _stages(report).items():
        known_ones = [one for one in row["stages"] if one.get("found") is not None]
        unknown = [one for one in row["stages"] if one.get("found") is None]
        where = [
            f"{cell(one['stage'])}: {cell(one['source'])}"
            + (f", split {cell(one['split'])}" if one.get("split") else "")
            + f", {count(one['found'])} found in its {count(one.get('rows'))} rows"
            + (f", {count(one['unread'])} more could not be read" if one.get("unread") else "")
            for one in known_ones
        ]
        why = [
            f"{cell(one['stage'])}: {cell(one['unknown'])}" if one.get("stage") else cell(one["unknown"])
            for one in unknown
        ]
        found = "not known" if row.get("found") is None else count(row["found"])
        rows.append([name, found, "<br>".join(where) or "–", "<br>".join(why) or "–"])
    words = (
        f"How many of the {count(report['trained_on']['prompts'])} prompts each was trained on, by the records of its "
        "stages. What a stage without records was trained on, a published base model for one, nobody can say here."
    )
    return f"{words}\n\n" + table(["", "prompts found", "stages that are known", "stages that are not"], rows)


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
    if not sections and "accuracy" in model:
        return _earlier_reward_model(model)
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


def _earlier_reward_model(model: Report) -> str:
    """The section of a report that an earlier version wrote, which had one reference for most numbers."""
    by = {"gold": "the gold reward", "label": "the labels", "judge": "the judge's z"}[model["accuracy_by"]]
    rows = [
        ["pairs", count(model["pairs"]), "held-out preferences"],
        ["accuracy", interval(model, "accuracy", percent), f"scores the better response higher, by {by}"],
        ["NLL (nats)", f"{decimal(model.get('soft_nll'))}; floor {decimal(model.get('soft_nll_floor'))}", "by z"],
        ["ECE", interval(model, "ece", decimal), f"mean gap between p and {by}"],
        ["Brier score", decimal(model.get("brier")), f"mean (p − reference)², by {by}"],
    ]
    return "Of an earlier version, whose intervals are over pairs.\n\n" + table(["", "value", "what it is"], rows)


_REFERENCES = {"gold": "the gold reward", "label": "the labels", "z": "the judge's z"}


def _references(names: Iterable[str]) -> str:
    said = [_REFERENCES[name] for name in names]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def _side_by_side(examples: Sequence[Example]) -> str:
    names = list(examples[0][1])
    rows = []
    for prompt, said, gold in examples:
        words = prompt if isinstance(prompt, str) else "\n".join(f"{m['role']}: {m['content']}" for m in prompt)
        cells = []
        for name in names:
            value = gold.get(name)
            cells.append(_begun(said[name]) + (f"<br>*gold {value:g}*" if value is not None else ""))
        rows.append([_begun(words), *cells])
    head = ["prompt", *(code(name, in_cell=True) for name in names)]
    return "The first prompts in the order of the source, not chosen ones.\n\n" + table(head, rows)


def _begun(words: str) -> str:
    """A text in a cell; of a long one its beginning: twenty of a megabyte each would make a page that nothing opens."""
    if len(words) <= LONGEST:
        return cell(words)
    return f"{cell(words[:LONGEST])} …<br>*the first {count(LONGEST)} of {count(len(words))} characters*"
