"""The card of a reward model or a policy: what a stranger needs to load it, and to know what it is worth.

Everything in it was read from the run (rlaif/publish/models.py does that) or asked of the publisher. What is not known
is called "unknown", what was not measured "not measured". Its Python blocks run as they stand, and print what the
comment behind `print` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.pages.markdown import cell, code, link, text
from rlaif.pages.parts import Report, count, decimal, interval, known, over, percent, table
from rlaif.publish.card import NOT_MEASURED, UNKNOWN, CardFields, front_matter, known_or, render
from rlaif.publish.lineage import Source
from rlaif.publish.model_facts import ModelFacts
from rlaif.publish.model_snippets import policy_snippets, reward_snippets

__all__ = ["model_card", "settings"]

_LAST = "*Written by `rlaif publish` from the run's own files; its numbers stand in `report.json`.*"


def model_card(facts: ModelFacts, fields: CardFields) -> str:
    """The whole README.md."""
    reward = facts.kind == "reward_model"
    sections = [
        f"# {text(facts.title)}",
        _opening(facts),
        "## How to use it",
        *(reward_snippets(facts) if reward else policy_snippets(facts)),
        *(["## What a score means", _meaning(facts)] if reward else []),
        "## What was measured",
        *(_reward_numbers(facts) if reward else _policy_numbers(facts)),
        "## How it was trained",
        *_training(facts),
        "## Intended use and limits",
        _limits(facts),
        "## Licences",
        _licences(facts, fields),
        "## Citation",
        _citation(facts.command, known_or(facts.manifest.get("versions", {}).get("rlaif"))),
        _LAST,
    ]
    return render(front_matter(fields, "model", _metadata(facts)), "\n\n".join(sections), "model")


def _metadata(facts: ModelFacts) -> dict[str, Any]:
    """What the run knows of the YAML. No model-index: it has no place for intervals, baselines and unpublished data."""
    reward = facts.kind == "reward_model"
    tags = ["reward-model"] if reward else [_METHODS[facts.command].tag] if facts.command in _METHODS else []
    tags += ["trl"] if facts.command in _METHODS else []
    extra: dict[str, Any] = {
        "library_name": "peft" if facts.adapter else "transformers",
        "pipeline_tag": "text-classification" if reward else "text-generation",
        "tags": [*tags, *(["lora"] if facts.adapter else [])],
    }
    if facts.base and facts.base.hub_id:
        extra |= {"base_model": facts.base.hub_id, "base_model_relation": "adapter" if facts.adapter else "finetune"}
    if facts.data and facts.data.hub_id:
        extra["datasets"] = [facts.data.hub_id]
    return extra


# What it is -----------------------------------------------------------------------------------------------------------


def _opening(facts: ModelFacts) -> str:
    size = f"{_short(facts.parameters)} parameters in {facts.dtype}"
    what = [
        "A reward model: it scores responses to a prompt. It prefers the one with the higher score, and the difference "
        "says how surely."
        if facts.kind == "reward_model"
        else "A language model that answers prompts."
    ]
    if facts.command in _METHODS:
        rows = _rows_used(facts)
        what.append(
            f"Trained {_METHODS[facts.command].how} with rlaif and TRL"
            + (f" on {rows} of {_link(facts.data, 'datasets/')}" if facts.data and rows else "")
            + (f", starting from {_link(facts.start[0])}." if facts.start and not facts.adapter else ".")
        )
    else:
        what.append("How it was trained is unknown.")
    if facts.adapter:
        bits = ", whose weights were quantized to 4 bits in training" if facts.load_in_4bit else ""
        assert facts.base is not None
        what.append(f"It is a LoRA adapter ({size}) on {_link(facts.base)}{bits}. {facts.base_check}")
    else:
        what.append(f"These are whole weights, {size}.")
    return " ".join(what).strip()


def _link(source: Source, kind: str = "") -> str:
    if not source.hub_id:
        return code(source.name, in_cell=True)
    revision = f" at revision {code(source.revision, in_cell=True)}" if source.revision else ""
    return f"{link(source.hub_id, f'https://huggingface.co/{kind}{source.hub_id}')}{revision}"


def _short(number: int) -> str:
    for unit, word in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if number >= unit:
            return f"{number / unit:.3g} {word}"
    return str(number)


def _rows_used(facts: ModelFacts) -> str | None:
    train = facts.run.get("train", {})
    for name in ("pairs", "rows", "prompts"):
        if known(train.get(name)):
            return f"{count(train[name])} {name}"
    pairs = facts.reward.training_data.get("pairs") if facts.reward else None
    return f"{count(pairs)} pairs" if known(pairs) else None


# What its numbers mean ------------------------------------------------------------------------------------------------


def _meaning(facts: ModelFacts) -> str:
    reward = facts.reward
    assert reward is not None
    zero = (
        f"**Zero point** {reward.zero!r}: the mean score of its training data's responses. Less this number, 0 is an "
        "average one of them. Only differences were trained; the number fixes the rest."
        if reward.zero is not None
        else f"**Zero point**: {NOT_MEASURED}. Only differences of scores mean something."
    )
    calibration = (
        f"**Calibration**: temperature {reward.temperature!r}, P(a is preferred to b) = σ((score of a − score of b) / "
        f"{reward.temperature!r})."
        if reward.temperature is not None
        else "**Calibration**: not calibrated after training, P(a is preferred to b) = σ(score of a − score of b). The "
        "ECE below says how far that is from the truth."
    )
    how = {
        "chat": f"the tokenizer's chat template (hash {code(facts.rendering['template_hash'])}), a text being one user "
        "message, up to and with the EOS of the response",
        "plain": "prompt, response and EOS, without a chat template",
        "pair": "prompt and response as an encoder's two segments",
    }[facts.rendering["kind"]]
    eos = f"; EOS {code(facts.rendering['eos_token'])}" if facts.rendering["eos_token"] else ""
    rendering = (
        f"**Rendering**: {how}{eos}; at most {count(reward.max_length)} tokens. Another format gives other numbers; "
        "`rlaif.json` records this one."
    )
    return "\n".join(f"- {line}" for line in (zero, calibration, rendering))


# What was measured ----------------------------------------------------------------------------------------------------


def _reward_numbers(facts: ModelFacts) -> list[str]:
    held_out, measured = facts.run.get("held_out") or {}, facts.evaluation or {}
    words = {"z": "z", "label": "labels", "gold": code(measured.get("gold"), in_cell=True)}
    sections: dict[str, Report] = {}  # the training program's, and what it did not measure from `rlaif evaluate`
    for report in (held_out, measured):
        for name in words:
            section = report.get(f"against_{name}") or {}
            if section.get("measured"):
                sections.setdefault(name, section)
    if not sections:
        return [f"Accuracy and calibration on held-out pairs: {NOT_MEASURED}."]
    rivals = {"longer_wins": "“the longer one wins”", "bag_of_words": "a bag of words"}
    rows = [
        ["pairs", *map(_pairs, sections.values())],
        ["accuracy", *(interval(row, "accuracy", percent) for row in sections.values())],
        *(
            [f"… above {words}", *(_above(row.get("baselines", {}).get(name, {})) for row in sections.values())]
            for name, words in rivals.items()
            if any(name in row.get("baselines", {}) for row in sections.values())
        ),
        ["NLL (nats)", *map(_nll, sections.values())],
        [
            "Brier score",
            *(
                f"{interval(row, 'brier', decimal)} (always saying 0.5: {decimal(row.get('brier_of_half'))})"
                for row in sections.values()
            ),
        ],
        ["ECE", *(interval(row, "ece", decimal) for row in sections.values())],
    ]
    lines = [
        "z = P(chosen is preferred) as the data says it. Accuracy: how often the preferred response has the higher "
        "score. NLL, Brier score and ECE are of P = σ(difference of scores); lower is better. Brackets hold 95 % "
        "intervals.",
        table(["", *(f"against {words[name]}" for name in sections)], rows),
        " ".join(f"Against {words[name]}: {over(row['drawn'])}." for name, row in sections.items() if "drawn" in row),
        _held_out_where(facts, held_out),
    ]
    if measured:
        there = [name for name in words if sections.get(name) is measured.get(f"against_{name}") is not None]
        where = f"Against {' and '.join(words[name] for name in there)} measured" if held_out and there else "Measured"
        shown = _longer_wins({words[name]: measured.get(f"against_{name}") or {} for name in words})
        lines.append(
            f"{where} by `rlaif evaluate` on {count(measured['pairs'])} pairs, split {code(measured['split'])} of "
            f"{code(measured['preferences'])}" + (f"; there the longer response wins {shown}." if shown else ".")
        )
    if "label" not in sections:
        lines.append(f"Against labels from elsewhere: {NOT_MEASURED}.")
    return [line for line in lines if line]


def _longer_wins(sections: Mapping[str, Report]) -> str:
    """How often the longer response wins, "56.0 % by this model and 52.0 % by z": on the pairs of each reference."""
    return "; ".join(
        f"{percent(longer['model'])} by this model and {percent(longer['reference'])} by {word}"
        for word, section in sections.items()
        if (longer := section.get("longer_wins"))
    )


def _held_out_where(facts: ModelFacts, held_out: Report) -> str:
    """Which pairs the training program measured on; empty where it did not."""
    if not held_out:
        return ""
    refused = held_out.get("refused") or 0
    too_long = (held_out.get("unscored") or 0) - refused
    unscored = f" {count(too_long)} of them were too long to be scored." if too_long else ""
    unscored += f" {count(refused)} were refused by its chat template." if refused else ""
    return f"Measured by the training program on {count(held_out['pairs'])} {_held_out_name(facts, 'pairs')}.{unscored}"


def _held_out_name(facts: ModelFacts, rows: str) -> str:
    """What the rows of `held_out` are. All splits of a file are the same rows, so there nothing was held out."""
    if _is_file(facts):
        return f"{rows} that it was trained on: its data is a file, which has no splits"
    split = facts.manifest.get("config", {}).get("test_split")
    return f"held-out {rows}" + (f" (split {code(split)} of its data)" if split else "")


def _is_file(facts: ModelFacts) -> bool:
    """Whether it was trained on the rows of one file."""
    return Path(str(facts.manifest.get("config", {}).get("dataset"))).suffix in (".json", ".jsonl", ".parquet")


def _pairs(row: Report) -> str:
    tied = f" ({count(row['tied'])} tied, left out)" if row.get("tied") else ""
    return f"{count(row['measured'])}{tied}"


def _above(baseline: Report) -> str:
    if not known(baseline.get("difference")):
        return "–"
    points = interval(baseline, "difference", lambda value: f"{100 * value:+.1f}")
    return f"{points} points (it has {percent(baseline['accuracy'])})"


def _nll(row: Report) -> str:
    return f"{interval(row, 'soft_nll', decimal)} (no model gets below {decimal(row.get('soft_nll_floor'))})"


def _policy_numbers(facts: ModelFacts) -> list[str]:
    lines = [*(_evaluated(facts.evaluation) if facts.evaluation else [])]
    if not lines:
        lines.append(f"Win rate, reward, KL and length beside other policies: {NOT_MEASURED} (`rlaif evaluate` does).")
    held_out = facts.run.get("held_out") or {}
    train = facts.run.get("train", {})
    last = train.get("last_rollout") or {}
    if "margin" in held_out:
        lines.append(
            f"Implicit reward, β times the log-ratio to the reference, on {count(held_out['pairs'])} "
            f"{_held_out_name(facts, 'pairs')}: accuracy {interval(held_out, 'accuracy', percent)}, mean margin "
            f"{interval(held_out, 'margin', decimal)}, loss {interval(held_out, 'loss', decimal)}."
        )
    elif "token_accuracy" in held_out:
        lines.append(
            f"On {count(held_out['rows'])} {_held_out_name(facts, 'demonstrations')}: loss "
            f"{interval(held_out, 'loss', decimal)} nats a token, {interval(held_out, 'token_accuracy', percent)} of "
            "tokens right."
        )
    if known(last.get("reward")):
        lines.append(
            f"The {count(last['responses'])} responses of the last rollout in training: reward "
            f"{interval(last, 'reward', decimal)}, KL to the reference {interval(last, 'kl', decimal)} nats a "
            f"response, length {interval(last, 'length', lambda tokens: decimal(tokens, 1))} tokens, "
            f"{percent(last.get('no_eos'))} cut off."
        )
    if facts.command == "recipes/ppo.py":
        lines += _overoptimization(facts)
    if facts.command == "recipes/best_of_n.py" and facts.run.get("by_n"):
        lines.append(_chosen(facts.run))
    return lines


def _evaluated(report: Report) -> list[str]:
    """A policy beside the baseline that it was compared with, from what `rlaif.publish.lineage.evaluation` gives."""
    name, baseline = report["policy"], report["baseline"]
    policies: Mapping[str, Report] = report["policies"]

    def wins(row: Report, by: str) -> str:
        if row is policies[baseline]:
            return "–"
        row = row.get("judge", {}) if by == "judge" else row if row.get("win_rate_by") == "gold" else {}
        counts = [row.get(key) for key in ("wins", "ties", "losses")]
        return interval(row, "win_rate", percent) + ("" if None in counts else f"; {' / '.join(map(count, counts))}")

    measures: list[tuple[str, Callable[[Report], str]]] = [
        (f"win rate over {code(baseline, in_cell=True)} by judge", lambda row: wins(row, "judge")),
        (f"win rate over {code(baseline, in_cell=True)} by gold reward", lambda row: wins(row, "gold")),
        ("gold reward", lambda row: interval(row, "gold_reward", decimal)),
        ("reward model's score", lambda row: interval(row, "reward", decimal)),
        (
            f"KL to {code(report['reference'], in_cell=True)} (nats a response)",
            lambda row: interval(row, "kl", decimal),
        ),
        ("length (tokens)", lambda row: interval(row, "length", lambda value: decimal(value, 1))),
        ("cut off without EOS", lambda row: percent(row.get("no_eos"))),
    ]
    rows = [[title, *map(show, policies.values())] for title, show in measures]
    head = ["", *(code(other, in_cell=True) + (" (this model)" if other == name else "") for other in policies)]
    return [
        _conditions(report),
        table(head, [row for row in rows if set(row[1:]) != {"–"}]),
        *map(text, report["notes"]),
    ]


def _conditions(report: Report) -> str:
    """On what, how and by whom policies were compared."""
    sampling, prompts, judge = report["sampling"], report["prompts"], report["judge"]
    drawn = f"sampled at temperature {sampling['temperature']:g}, top-p {sampling['top_p']:g}"
    words = [
        f"`rlaif evaluate` on {count(prompts['count'])} prompts of {code(prompts['source'])}; one response a prompt, "
        f"{'greedy' if sampling['temperature'] == 0 else drawn}, at most {count(sampling['max_new_tokens'])} tokens. "
        "Brackets: 95 % intervals over prompts. Win rates: ties count half; wins / ties / losses.",
        f"Judge: {code(judge['model'])}, template {code(judge['template'])}, both orders averaged."
        if judge
        else f"By a judge: {NOT_MEASURED}.",
    ]
    words += [f"Gold reward: {code(report['gold'])}."] if report["gold"] else []
    words += [f"Reward model: {code(report['reward_model'])}, less its zero point."] if report["reward_model"] else []
    return " ".join(words)


def _overoptimization(facts: ModelFacts) -> list[str]:
    section = facts.run.get("over_optimization")
    if not section or not section["marked"]:
        return [f"Over-optimization: {NOT_MEASURED}; no score was watched that was not trained on."]
    verdicts = []
    for name, at in section["marked"].items():
        compared = section["compared"][name]
        line = f"- {code(name)}: " + ("not marked" if at is None else f"**marked at step {at}**")
        if compared:
            line += (
                f"; from step {compared['best_step']}, its best before, to step {compared['step']} it changed by "
                f"{interval(compared, 'change', decimal)} and the training reward by "
                f"{interval(compared, 'reward_change', decimal)}"
            )
        verdicts.append(f"{line}.")
    first = (
        f"**Over-optimization** was watched for on {count(section['prompts'])} held-out prompts, "
        f"{count(len(section['checks']))} times. A score is marked where it fell below its best while the training "
        "reward rose, both shown at 95 % over all pairs of checks. A score sees only errors that it does not share "
        "with the reward, so that no mark is no proof of health."
    )
    plot = [f"![training reward and watched scores against the KL]({facts.plot})"] if facts.plot else []
    return [first, "\n".join(verdicts), *plot]


def _chosen(run: Report) -> str:
    """What the responses that it learned have, beside single ones of the model that answered."""
    one, best = run["by_n"][0], run["by_n"][-1]
    means = [("reward", best["reward"], one["reward"])]
    means += [(code(name), best["scores"][name]["mean"], one["scores"][name]["mean"]) for name in best["scores"]]
    words = ", ".join(f"{name} {decimal(value)} ({decimal(single)})" for name, value, single in means)
    return (
        f"It learned the best of {count(best['n'])} responses of the model that it started from to each of "
        f"{count(run['prompts'])} prompts. On average these have (in brackets: a single response) {words}, length "
        f"{decimal(best['length'], 1)} ({decimal(one['length'], 1)}) tokens; its own responses are not among them."
    )


# How it was trained ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Method:
    how: str
    tag: str
    paper: str


_METHODS = {
    "reward_models/bradley_terry.py": _Method(
        "as a Bradley-Terry model",
        "reward-model",
        "@article{bradley1952rank,\n"
        "  title   = {Rank Analysis of Incomplete Block Designs: {I}. The Method of Paired Comparisons},\n"
        "  author  = {Bradley, Ralph Allan and Terry, Milton E.},\n"
        "  journal = {Biometrika},\n"
        "  volume  = {39},\n"
        "  number  = {3/4},\n"
        "  pages   = {324--345},\n"
        "  year    = {1952}\n"
        "}",
    ),
    "recipes/sft.py": _Method("by supervised fine-tuning (SFT)", "sft", ""),
    "recipes/best_of_n.py": _Method(
        "by one round of rejection sampling and fine-tuning (best of n, RAFT)",
        "rejection-sampling",
        "@article{dong2023raft,\n"
        "  title   = {{RAFT}: Reward rAnked FineTuning for Generative Foundation Model Alignment},\n"
        "  author  = {Dong, Hanze and Xiong, Wei and Goyal, Deepanshu and Zhang, Yihan and Chow, Winnie and Pan, Rui\n"
        "             and Diao, Shizhe and Zhang, Jipeng and Shum, Kashun and Zhang, Tong},\n"
        "  journal = {Transactions on Machine Learning Research},\n"
        "  year    = {2023},\n"
        "  eprint  = {2304.06767}\n"
        "}",
    ),
    "recipes/dpo.py": _Method(
        "by direct preference optimization (DPO)",
        "dpo",
        "@inproceedings{rafailov2023direct,\n"
        "  title     = {Direct Preference Optimization: Your Language Model is Secretly a Reward Model},\n"
        "  author    = {Rafailov, Rafael and Sharma, Archit and Mitchell, Eric and Ermon, Stefano and Manning,\n"
        "               Christopher D. and Finn, Chelsea},\n"
        "  booktitle = {Advances in Neural Information Processing Systems},\n"
        "  year      = {2023},\n"
        "  eprint    = {2305.18290}\n"
        "}",
    ),
    "recipes/ppo.py": _Method(
        "by proximal policy optimization (PPO)",
        "ppo",
        "@misc{schulman2017proximal,\n"
        "  title  = {Proximal Policy Optimization Algorithms},\n"
        "  author = {Schulman, John and Wolski, Filip and Dhariwal, Prafulla and Radford, Alec and Klimov, Oleg},\n"
        "  year   = {2017},\n"
        "  eprint = {1707.06347}\n"
        "}",
    ),
}
_LOSSES = {
    "soft": "soft: −[z log σ(d) + (1 − z) log σ(−d)], each pair with its own z",
    "hard": "hard: −log σ(d), whatever z says",
    "margin": "margin: −log σ(d − (2z − 1))",
}


def _training(facts: ModelFacts) -> list[str]:
    rows = [*_data_rows(facts)]
    if facts.start:
        chain = " ← ".join(_link(source) + (f" ({cell(source.note)})" if source.note else "") for source in facts.start)
        rows.append(["started from", chain])
    reward = "chosen by" if facts.command == "recipes/best_of_n.py" else "rewarded"
    rows += [[reward, cell("; ".join(facts.rewards))]] if facts.rewards else []
    rows += [[name, cell(value)] for name, value in settings(facts.manifest, facts.run).items()]
    versions = ", ".join(f"{name} {value}" for name, value in facts.manifest.get("versions", {}).items() if value)
    commit = facts.manifest.get("git_commit")
    rows += [
        ["versions", cell(versions or UNKNOWN)],
        ["code of rlaif", f"commit {code(commit, in_cell=True)}" if commit else UNKNOWN],
        ["finished", cell(known_or(facts.manifest.get("finished")))],
    ]
    return [table(["", ""], rows)]


def _data_rows(facts: ModelFacts) -> list[list[str]]:
    data = facts.data
    if data is None:
        return [["training data", UNKNOWN]]
    split = None if _is_file(facts) else facts.manifest.get("config", {}).get("train_split")
    train = facts.run.get("train", {})
    left_out = f"; {count(train['too_long'])} too long, left out" if known(train.get("too_long")) else ""
    where = "" if data.hub_id else " (not on the Hub, as far as is known)"
    rows = [
        ["training data", _link(data, "datasets/") + (f", split {code(split, in_cell=True)}" if split else "") + where],
        ["… fingerprint", code(data.fingerprint, in_cell=True) if data.fingerprint else UNKNOWN],
        ["… used", known_or(_rows_used(facts)) + left_out],
    ]
    return [*rows, *([["… whose preferences", cell(data.note)]] if data.note else [])]


def settings(manifest: Mapping[str, Any], run: Report) -> dict[str, str]:
    """The settings that matter, in words, from a run's manifest and report; empty without a manifest."""
    config, train = manifest.get("config", {}), run.get("train", {})
    if not config:
        return {}
    return {
        **_method_settings(str(manifest.get("command")), config, train),
        "optimizer steps": f"{count(train.get('steps'))}"
        + ("" if config.get("max_steps", -1) > 0 else f" (epochs: {config.get('num_train_epochs', 0):g})"),
        "batch": _batch(config, train),
        "learning rate": f"{config.get('learning_rate'):g}, {config.get('lr_scheduler_type')}, warm-up "
        f"{config.get('warmup_steps'):g}",
        "trained weights": _trained(config),
        "precision": _precision(config),
        **({"longest conversation": f"{config['max_length']} tokens"} if known(config.get("max_length")) else {}),
        "seed": str(config.get("seed")),
    }


def _method_settings(command: str, config: Mapping[str, Any], train: Report) -> dict[str, str]:
    rows: dict[str, str] = {}
    if "preference_loss" in config:
        rows["loss"] = _LOSSES[config["preference_loss"]]
        if config["preference_loss"] == "hard" and config.get("loss_type"):
            rows["loss"] = f"TRL's {', '.join(config['loss_type'])}, whatever z says"
        if config.get("label_smoothing"):
            rows["label smoothing"] = f"{config['label_smoothing']:g}: the share of labels taken to be wrong"
    if command == "recipes/dpo.py":
        rows["d"] = f"β times the difference of log-ratios to the policy it started from, β = {config['beta']:g}"
    if command == "reward_models/bradley_terry.py":
        rows["d"] = "score of chosen − score of rejected"
        if config.get("center_rewards_coefficient"):
            rows["centring"] = f"{config['center_rewards_coefficient']:g} times the squared sum of scores"
    if command == "recipes/ppo.py":
        adaptive = f", led towards {config['kl_target']:g} nats" if config.get("kl_target") else ", fixed"
        clip = "" if config.get("value_clip") is None else f", values clipped at {config['value_clip']:g}"
        rows |= {
            "KL to the reference": f"coefficient {config['kl_coef']:g}{adaptive}; estimator {config['kl_estimator']}",
            "critic": f"{config['critic']}, learning rate {config['critic_learning_rate']:g}, weight "
            f"{config['value_coef']:g}{clip}"
            if config["critic"] != "none"
            else "none",
            "clipping; γ; λ": f"{config['epsilon']:g}; {config['gamma']:g}; {config['gae_lambda']:g}",
            "rollouts": f"{count(train.get('samples'))} responses in all, "
            f"{count(config.get('generation_batch_size'))} a rollout, each learned from {config['num_iterations']} "
            f"times; at most {count(config['max_completion_length'])} tokens, temperature {config['temperature']:g}",
            "penalty without EOS": f"{config['missing_eos_penalty']:g}",
        }
    if command == "recipes/best_of_n.py":
        rows["responses"] = (
            f"the best of {count(config['n'])} to each prompt; at most {count(config['max_new_tokens'])} tokens, "
            f"temperature {config['temperature']:g}, top-p {config['top_p']:g}"
        )
    if config.get("reward_weights"):
        rows["weights of the rewards"] = ", ".join(f"{weight:g}" for weight in config["reward_weights"])
    return rows


def _batch(config: Mapping[str, Any], train: Report) -> str:
    device, steps = (config.get(name, 0) for name in ("per_device_train_batch_size", "gradient_accumulation_steps"))
    processes = train.get("processes", 0)
    size = device * steps * processes
    return f"{count(size)} (device {device}, accumulation {steps}, processes {processes})" if size else UNKNOWN


def _trained(config: Mapping[str, Any]) -> str:
    if not config.get("lora"):
        return "all"
    layers = config.get("lora_target_modules") or ["every linear layer"]
    four = " on 4-bit weights (NF4)" if config.get("load_in_4bit") else ""
    return f"LoRA, r = {config.get('lora_r')}, α = {config.get('lora_alpha')}, {', '.join(layers)}{four}"


def _precision(config: Mapping[str, Any]) -> str:
    computed = next((name for name in ("bf16", "fp16") if config.get(name)), None)
    return f"{config.get('dtype')} weights" + (f", computed in {computed}" if computed else "")


# What it is for, under which terms, whom to cite ----------------------------------------------------------------------


def _limits(facts: ModelFacts) -> str:
    if facts.reward:
        longest = f"Longer conversations than {count(facts.reward.max_length)} tokens: it was trained on none."
        lines = [*_REWARD_LIMITS, longest]
    else:
        lines = [_POLICY_USE, *([_POLICY_NUMBERS] if facts.evaluation or facts.run else [])]
    return "\n".join(f"- {line}" for line in lines)


_REWARD_LIMITS = [
    "For comparing responses to one prompt: ranking, filtering, and as a reward in research. Scores of responses to "
    "different prompts were never compared in training.",
    "It repeats the taste of whoever made its training data's z, biases included. On other prompts, languages and "
    "response models than there it was not measured.",
    "A policy trained against it will find what it overrates. Watch a score that it does not share its errors with, "
    "and keep the KL to the reference small.",
    "It does not know facts and is no safety filter: neither was measured.",
]
_POLICY_USE = "For research on learning from feedback. Truthfulness, safety and bias were not measured."
_POLICY_NUMBERS = (
    "The numbers above hold for those prompts, that judge and that reward. A higher reward is what training does; it "
    "is not by itself a better answer."
)


def _licences(facts: ModelFacts, fields: CardFields) -> str:
    ours = fields.license if fields.license != "other" else link(fields.license_name, str(fields.license_link))
    rows = [["this model", f"{ours} (stated by its publisher)"]]
    if facts.base:
        rows.append([f"base model {_link(facts.base)}", cell(known_or(facts.base.license))])
    else:
        rows.append(["base model", UNKNOWN])
    data = _link(facts.data, "datasets/") if facts.data else ""
    rows.append([f"training data {data}".strip(), cell(known_or(facts.data.license if facts.data else None))])
    language = ", ".join(fields.language) or UNKNOWN
    return f"{table(['', 'licence'], rows)}\n\nLanguage: {language}."


def _citation(command: str, version: str) -> str:
    ours = f"@software{{rlaif,\n  title   = {{rlaif: learning from {{AI}} feedback}},\n  version = {{{version}}}\n}}"
    paper = _METHODS[command].paper if command in _METHODS else ""
    return "\n".join(["```bibtex", ours, *([paper] if paper else []), "```"])
