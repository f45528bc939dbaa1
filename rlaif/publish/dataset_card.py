"""The card of a preference dataset, made from the run itself. What the run did not measure is "not measured"; what
nobody said is "unknown"."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.files.sources import is_still
from rlaif.judging.prompts import load_template
from rlaif.pages.markdown import cell, code, fenced, link, text
from rlaif.pages.parts import count, decimal, interval, percent, table
from rlaif.publish.card import NOT_MEASURED, UNKNOWN, CardFields, front_matter, known_or, render, size_category
from rlaif.publish.checks import CHECKS
from rlaif.publish.dataset import CONFIGS, Published
from rlaif.publish.provenance import Origin, public_name, read_json

__all__ = ["UNKNOWN", "Searched", "Terms", "dataset_card", "judge_report"]

_SHOWN = 600  # characters of each text of the example


@dataclass(frozen=True)
class Terms:
    """What only the publisher can say about others' rights, and what the judge costs (USD per million tokens)."""

    prompts: str = UNKNOWN
    responses: str = UNKNOWN
    judge: str = UNKNOWN
    price_input: float | None = None
    price_output: float | None = None


@dataclass(frozen=True)
class Searched:
    """With what the checks searched: their thresholds, and of each benchmark its items and its file's fingerprint."""

    similarity: float
    coverage: float
    benchmarks: Mapping[str, tuple[int, str]]


def dataset_card(
    published: Published,
    fields: CardFields,
    terms: Terms,
    repo_id: str | None,
    names: Mapping[str, str],
    quality: Mapping[str, Any],
    searched: Searched,
) -> str:
    """The README.md of a staged dataset.

    Args:
        published: what was staged.
        fields: the publisher's own.
        terms: others' licences and terms.
        repo_id: where it will be on the Hub; None: the card loads the folder that it is in.
        names: public names of models.
        quality: what is known of the judge, from `judge_report`.
        searched: with what the checks searched.
    """
    total = sum(published.rows["default"].values())
    metadata = front_matter(
        fields,
        "dataset",
        {
            "task_categories": ["text-generation"],
            "size_categories": [size_category(total)],
            "tags": ["preference", "dpo", "reward-model", *(["synthetic"] if published.origin.judge else [])],
            "configs": [
                {
                    "config_name": config,
                    **({"default": True} if config == "default" else {}),
                    "data_files": [
                        {"split": split, "path": f"{CONFIGS[config]}/{split}-*.parquet"} for split in splits
                    ],
                }
                for config, splits in published.rows.items()
            ],
        },
    )
    title = fields.pretty_name or (repo_id.split("/")[-1] if repo_id else "Preferences")
    body = "\n\n".join(
        [
            f"# {text(title)}",
            _opening(published, total),
            _loading(published, repo_id or "."),
            _example(published),
            _columns(published),
            _making(published, names),
            _quality(published, quality),
            _checks(published, searched),
            _cost(published, terms),
            _rights(fields, terms),
            _use(published),
            _citation(title, repo_id, published.origin),
        ]
    )
    return render(metadata, body, "dataset")


def _opening(published: Published, total: int) -> str:
    if published.origin.judge:
        what = "an LLM judge's probability z that `chosen` is the better one"
    elif published.soft:
        what = "a probability z that `chosen` is the better one, as its source gives it"
    else:
        what = "a verdict which one is better (`chosen`; z is 1 everywhere)"
    return (
        f"{count(total)} preferences: two responses to one prompt, and {what}. Made with rlaif, which wrote this card "
        "from the run's own records."
    )


def _loading(published: Published, name: str) -> str:
    lines = ["from datasets import load_dataset", "", f'preferences = load_dataset("{name}")']
    lines += [f'{config} = load_dataset("{name}", "{config}")' for config in published.rows if config != "default"]
    sizes = [
        [f"`{config}`", *(count(splits.get(split, 0)) for split in _splits(published))]
        for config, splits in published.rows.items()
    ]
    return (
        "## Load it\n\n```python\n"
        + "\n".join(lines)
        + "\n```\n\n`default` is what TRL's `RewardTrainer` and `DPOTrainer` take; they read `prompt`, `chosen` and "
        "`rejected`, and not z.\n\n" + table(["config", *_splits(published)], sizes)
    )


def _splits(published: Published) -> list[str]:
    return list(dict.fromkeys(split for splits in published.rows.values() for split in splits))


def _example(published: Published) -> str:
    def short(value: Any) -> Any:
        if isinstance(value, str):
            return value if len(value) <= _SHOWN else value[:_SHOWN] + " …"
        if isinstance(value, list):
            return [short(part) for part in value]
        if isinstance(value, dict):
            return {key: short(part) for key, part in value.items()}
        return value

    return "## A row\n\n" + fenced(json.dumps(short(published.example), indent=2, ensure_ascii=False), "json")


_MEANING = {
    "id": "of the pair, in all configs (`pair_id` in `votes`)",
    "prompt": "a string, or a list of messages",
    "chosen": "the response with the higher z",
    "rejected": "the other one",
    "z": "P(`chosen` is preferred), in (0.5, 1]",
    "z_first": "P(`chosen` is preferred) with `chosen` shown to the judge first; empty where that was not asked",
    "z_second": "the same with `chosen` shown second; where both are there, the difference is position bias",
    "judge": "who judged",
    "template": "hash of the judge's prompt (below)",
    "chosen_model": "who wrote `chosen`",
    "rejected_model": "who wrote `rejected`",
    "label": "what was known from elsewhere: `chosen`, `rejected` or `tie` is better; empty where nothing was",
}
_OTHERS = {
    "pairs": (
        "`pairs`: every judged pair, `response_a` and `response_b` in the order of the source; **z = P(`response_a` is "
        "preferred)**, in [0, 1], or empty with a `reason`. `z_ab` and `z_ba` are the same probability with "
        "`response_a` and with `response_b` shown first; a judge that says it is a tie has z = 0.5 and `p_tie` = 1. "
        "`votes` were asked for, `readable` of them read; `label` is "
        '"a", "b" or "tie"; `flags` holds "marker" where a response has the judge\'s template in it; `extra` has the '
        "source's other columns as JSON."
    ),
    "votes": (
        "`votes`: one call of the judge each. `order` says which response was shown first (`ab`, `ba`), `p_first` = "
        "P(the response shown first is preferred), **`p_a` = P(`response_a` is preferred)**, or empty with a `reason`; "
        "`method` how it was read (the labels' log-probabilities, the written verdict as 0 or 1, or the number that a "
        "function gave), `mass` the probability of the two labels together, `p_tie` P(neither is preferred), half of "
        "which is in `p_first`, `unusable` why log-probabilities that came were not used, `text` what the judge wrote, "
        "then its tokens and seconds."
    ),
}


def _columns(published: Published) -> str:
    meaning = _MEANING | ({} if "votes" in published.rows else {"id": "of the pair"})
    if not published.origin.judge:
        meaning |= {"judge": "who judged; `label`: the verdict came with the pair", "template": "of the judge's prompt"}
    rows = [[code(name, in_cell=True), meaning.get(name, "")] for name in published.example]
    others = [_OTHERS[config] for config in published.rows if config in _OTHERS]
    return "\n\n".join(["## Columns", table(["`default`", "meaning"], rows), *others])


def _making(published: Published, names: Mapping[str, str]) -> str:
    origin = published.origin
    rows = [*_sources(origin, names), *_judging(published, names)]
    if origin.build:
        c = origin.build.config
        kept = f"\\|z - 0.5\\| > {c.get('tie_band')}, max(z, 1 - z) >= {c.get('min_confidence')}"
        shares = f"test {c.get('test')}, validation {c.get('validation')}, the rest train; seed {c.get('seed')}"
        rows.append(["kept", kept + ("; both orders agree" if c.get("consistent") else "")])
        rows.append(["splits", f"by hash of {cell(c.get('split_by'))}: {cell(shares)}"])
        manifest = origin.build.manifest
        versions = manifest.get("versions", {})
        rows.append(["versions", cell(", ".join(f"{n} {v}" for n, v in versions.items() if v and n in _VERSIONS))])
        rows.append(["finished", cell(known_or(manifest.get("finished")))])
        rows.append(["code of rlaif", f"commit {cell(known_or(manifest.get('git_commit')))}"])
    return "\n\n".join(["## How it was made", table(["step", ""], rows), *_template(published)])


def _sources(origin: Origin, names: Mapping[str, str]) -> list[list[str]]:
    """Where prompts and responses come from."""
    if origin.sample:
        c, report = origin.sample.config, origin.sample.report
        policies = " and ".join(_name(public_name(c[key], names)) for key in ("policy", "policy_b") if c.get(key))
        sampling = f"temperature {c.get('temperature')}, top-p {c.get('top_p')}, seed {c.get('seed')}"
        return [
            ["prompts", f"{_name(public_name(c.get('prompts'), names))}, {count(report.get('prompts'))} of them"],
            ["responses", f"{cell(c.get('samples'))} a prompt from {policies}"],
            ["sampling", cell(f"{sampling}, at most {c.get('max_new_tokens')} tokens")],
        ]
    if origin.convert:
        c, report = origin.convert.config, origin.convert.report
        source = str(c.get("source"))
        mark = origin.convert.manifest.get("inputs", {}).get(source, source)
        where = _name(public_name(source, names)) + (f" ({_name(mark)})" if mark != source else "")
        where += f", {count(report.get('rows'))} rows in the format {cell(known_or(report.get('source_format')))}"
        return [["prompts and responses", where], ["sampling", UNKNOWN]]
    step, name = (origin.judge, "pairs") if origin.judge else (origin.build, "judgments")
    source = str(step.config.get(name)) if step else ""
    mark = step.manifest.get("inputs", {}).get(source, source) if step else ""
    if not source:
        return [["prompts and responses", UNKNOWN], ["sampling", UNKNOWN]]
    where = _name(public_name(source, names)) + (f" ({_name(mark)})" if mark != source else "")
    return [["prompts and responses", f"{where}; where these come from is {UNKNOWN}"], ["sampling", UNKNOWN]]


def _judging(published: Published, names: Mapping[str, str]) -> list[list[str]]:
    """Who says which response is better, and how they were asked."""
    rows = [
        ["judge", f"{_judge_name(judge, template, names)}: {count(n)} rows"]
        for (judge, template), n in published.judges.most_common()
    ]
    judge = published.origin.judge
    if judge is None:
        hard = "none: z is the source's own" if published.soft else "none: z is a label, 1 for the better response"
        return [*rows, ["calibration", hard]]
    c = judge.config
    orders = {"both": "both", "ab": "`response_a` first only", "ba": "`response_b` first only"}
    combined = {
        "mean": "the mean of P(`response_a` is preferred) over its votes and orders",
        "log_odds": "the sigmoid of the mean log-odds over its votes and orders",
    }
    revision = f", revision {cell(c['judge_revision'])}" if c.get("judge_revision") else ""
    return [
        *rows,
        ["asked as", f"{cell(c.get('judge'))}{revision}, template {_name(public_name(c.get('template'), names))}"],
        ["orders", f"{orders.get(str(c.get('orders')), UNKNOWN)}; votes in each: {cell(c.get('samples'))}"],
        ["z is", combined.get(str(c.get("combine")), UNKNOWN)],
        ["read from", _counts(judge.report.get("methods")) or UNKNOWN],
        ["judge's temperature", cell(known_or(c.get("temperature")))],
        ["calibration", "none: z is the judge's own probability"],
    ]


def _name(value: Any) -> str:
    return code(value, in_cell=True)


def _judge_name(judge: str | None, template: str | None, names: Mapping[str, str]) -> str:
    if judge == "label":
        return "labels that came with the pairs"
    return f"{_name(known_or(public_name(judge, names)))}, template {_name(known_or(template))}"


_VERSIONS = ("rlaif", "python", "torch", "transformers", "aiohttp", "datasets")


def _counts(values: Mapping[str, int] | None) -> str:
    return ", ".join(f"{cell(name)} {count(value)}" for name, value in (values or {}).items())


def _template(published: Published) -> list[str]:
    """The judge's prompt, where the template by that name still has the hash of the votes."""
    judge = published.origin.judge
    if judge is None:
        return []
    try:
        template = load_template(str(judge.config.get("template")))
    except ValueError:
        return []
    if template.hash not in {used for _, used in published.judges}:
        return []
    system = f"[system]\n{template.system}\n\n[user]\n" if template.system else ""
    labels = " or ".join(code(label) for label in template.labels)
    return [f"What the judge was asked, and answered with {labels}:\n\n{fenced(system + template.user, 'text')}"]


def judge_report(origin: Origin, evaluation: Path | None) -> Mapping[str, Any]:
    """What is known about the judge: from `rlaif judge`, and from `rlaif evaluate` where it measured more.

    Raises:
        ValueError: `evaluation` (a report.json or its folder) did not measure these judgments.
    """
    known = _renamed(origin.judge.report if origin.judge else {})
    if evaluation is None:
        return known
    folder = evaluation if evaluation.is_dir() else evaluation.parent
    judge: dict[str, Any] | None = read_json(folder / "report.json").get("judge")
    manifest = read_json(folder / "manifest.json")
    measured = str(manifest.get("config", {}).get("judgments"))
    if not judge or measured not in manifest.get("inputs", {}):
        raise ValueError(f"{evaluation} says nothing about a judge; expected `rlaif evaluate --judgments` to have run.")
    if origin.judgments is None or not is_still(origin.judgments, manifest["inputs"][measured]):
        raise ValueError(
            f"{evaluation} measured the judgments in {measured} as they were then, and these are others; expected a "
            "report on what the dataset was built from. Run `rlaif evaluate` again."
        )
    return known | _renamed(judge)


def _renamed(report: Mapping[str, Any]) -> dict[str, Any]:
    """A judge's numbers under the names of today; an older report calls position_consistency order_consistency."""
    older = {"position_consistency": report["order_consistency"]} if "order_consistency" in report else {}
    return {**older, **report}


def _quality(published: Published, report: Mapping[str, Any]) -> str:
    labels = {str(name): n for name, n in published.labels.items() if name is not None}
    seen = f"Labels from elsewhere, seen from `chosen`: {_counts(labels) or 'none'}."
    if not report:
        nothing = "agreement with labels, position consistency, how often the longer response wins, the share unjudged"
        return f"## Measured quality\n\n{seen} Of a judge ({nothing}): {NOT_MEASURED}."
    truth, wins = report.get("truth") or "labels", report.get("longer_wins", {})
    rows = [
        ["pairs judged", count(report.get("pairs"))],
        ["unjudged", _unjudged(report)],
        [f"agreement with {truth}", _or_not(interval(report, "agreement", percent))],
        ["agreement of a single order", _or_not(percent(report.get("agreement_single_order")))],
        ["same winner in both orders", _or_not(percent(report.get("position_consistency")))],
        ["mean P(the response shown first)", _or_not(decimal(report.get("first_rate")))],
        ["the longer response wins, by the judge", _or_not(percent(wins.get("judge")))],
        [f"the longer response wins, by {truth}", _or_not(percent(wins.get("truth")))],
        ["Brier score; calibration error (ECE)", f"{_num(report, 'brier')}; {_num(report, 'ece')}"],
        ["probability on the two labels", _or_not(decimal(report.get("label_mass")))],
    ]
    note = f"Measured on all judged pairs, before anything was left out. {seen}"
    return "\n\n".join(["## Measured quality", table(["of the judge", ""], rows), note])


def _or_not(text: str) -> str:
    return NOT_MEASURED if text == "–" else text


def _num(report: Mapping[str, Any], name: str) -> str:
    return _or_not(interval(report, name, decimal))


def _unjudged(report: Mapping[str, Any]) -> str:
    pairs, unjudged = report.get("pairs", 0), report.get("unjudged", 0)
    reasons = _counts(report.get("reasons"))
    return f"{count(unjudged)} ({percent(unjudged / max(pairs, 1))})" + (f": {reasons}" if reasons else "")


def _checks(published: Published, searched: Searched) -> str:
    rows = []
    for name, row in published.checked.report.items():
        if row["action"] == "off":
            rows.append([CHECKS[name].what, "not looked for", ""])
        else:
            rows.append([CHECKS[name].what, count(row["rows"]), _counts(row["kinds"])])
    built = published.origin.build.report.get("left_out", {}) if published.origin.build else {}
    left = [f"{text(reason)} (by `rlaif build`) {count(n)}" for reason, n in built.items()]
    left += [f"{CHECKS[name].what} {count(n)}" for name, n in published.left_out.items()]
    benchmarks = "; ".join(
        f"{text(name)} ({count(items)} prompts, {code(mark)})" for name, (items, mark) in searched.benchmarks.items()
    )
    lines = [
        "## Checked, and left out",
        f"Before publishing, all {count(len(published.checked.ids))} rows were checked, ties and unjudged ones too; "
        "`report.json` has samples.",
        table(["rows with", "found", "kinds"], rows),
        f"Texts are much alike from a Jaccard similarity of {searched.similarity} of their word pairs (MinHash)."
        + (
            f" A prompt is a benchmark's where {searched.coverage:.0%} of the benchmark's words stand in word 8-grams "
            f"that it has too. Benchmarks: {benchmarks}."
            if benchmarks
            else ""
        ),
        f"Left out of `default`: {', '.join(left)}." if left else "Nothing was left out of `default`.",
    ]
    return "\n\n".join(lines)


def _cost(published: Published, terms: Terms) -> str:
    cost = published.cost
    if cost is None:
        return f"## Cost\n\nOf the judging: {NOT_MEASURED}. Of sampling the responses: {NOT_MEASURED}."
    text = f"{count(cost.votes)} votes ({count(cost.failed)} without a verdict)"
    if cost.untold:
        text += f", the tokens of {count(cost.untold)} of them not told by the judge's endpoint"
    else:
        text += f", {count(cost.prompt_tokens)} tokens read and {count(cost.completion_tokens)} written by the judge"
    if cost.untimed:
        text += f", the seconds that {count(cost.untimed)} of these votes took not known"
    else:
        text += f", {cost.seconds:,.0f} seconds of answering in sum over calls"
    if terms.price_input is not None and terms.price_output is not None and not cost.untold:
        dollars = (cost.prompt_tokens * terms.price_input + cost.completion_tokens * terms.price_output) / 1e6
        text += f"; USD {dollars:,.2f} at {terms.price_input} and {terms.price_output} a million tokens"
    else:
        text += "; money: not known"
    if cost.missing:
        text += f"; {count(cost.missing)} more votes were lost"
    if cost.unused:
        text += f". {count(cost.unused)} other replies, of which z was not made, are not published"
    return f"## Cost\n\nOf the judging: {text}. Of sampling the responses: {NOT_MEASURED}."


def _rights(fields: CardFields, terms: Terms) -> str:
    license = fields.license if fields.license != "other" else link(fields.license_name, str(fields.license_link))
    rows = [
        ["this dataset", license],
        ["the prompts", cell(terms.prompts)],
        ["the response models' output", cell(terms.responses)],
        ["the judge's output", cell(terms.judge)],
        ["languages", ", ".join(fields.language) or UNKNOWN],
    ]
    return "## Licence and terms\n\n" + table(["", ""], rows)


def _use(published: Published) -> str:
    judged = published.origin.judge is not None
    limits = [
        "z is what the judge thinks under that prompt, not the truth about quality; its biases (length, style, its own "
        "kind of text) are in the data."
        if judged
        else "Who says which response is better, and how surely, is as far known as this card says.",
        "The responses may be wrong, biased or offensive; nobody read them all.",
        "The checks find known kinds of secrets, personal data and overlap; they do not prove that there is none.",
    ]
    uses = "For training and studying reward models and policies (Bradley-Terry, DPO, PPO)"
    uses += ", for ablations of soft against hard labels" if published.soft else ""
    uses += ", and for studying judges by their votes" if "votes" in published.rows else ""
    return f"## Use and limits\n\n{uses}. Not for judging people, nor as a benchmark of what it was judged by.\n\n" + (
        "\n".join(f"- {line}" for line in limits)
    )


def _citation(title: str, repo_id: str | None, origin: Origin) -> str:
    key = re.sub(r"\W+", "-", title.lower()).strip("-") or "preferences"
    finished = str(origin.build.manifest.get("finished")) if origin.build else ""
    fields = {
        "title": re.sub(r"([_&%$#{}])", r"\\\1", title),
        "url": f"https://huggingface.co/datasets/{repo_id}" if repo_id else None,
        "year": finished[:4] if finished[:4].isdigit() else None,
        "note": "Preference dataset, made with rlaif",
    }
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items() if value)
    return f"## Citation\n\n```bibtex\n@misc{{{key},\n{lines}\n}}\n```"
