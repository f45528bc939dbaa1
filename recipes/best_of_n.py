r"""Rejection sampling: of n responses to each prompt the best by a reward; with --sft true the policy learns it (RAFT).

    accelerate launch --config_file recipes/accelerate/cpu.yaml recipes/best_of_n.py \
        --config recipes/configs/best_of_n/sandbox.yaml

The policy answers each prompt n times, rewards score every answer, and the best one is kept. Nothing is trained for
that: it is what a trained policy has to beat, and its cost is in sampling. With --sft true the policy is then
fine-tuned on the best answers as recipes/sft.py would do it, but for those that were cut off at max_new_tokens: one
round of RAFT (Dong et al., 2304.06767).

Reported for n = 1, 2, 4, ...: the mean reward of the best of n, and of scores that nothing is chosen by (--watch), with
an upper bound of the KL (rlaif/assess/best_of_n.py, an equation beside each line). A reward that rises with n while a
watched score falls is over-optimized.

Rewards (--rewards, summed with --reward_weights) and watched scores are named as in recipes/ppo.py:
reward_model=FOLDER, rating=JUDGE.yaml, pairwise=JUDGE.yaml, function=module:name. An answer without a reward is never
the best and is counted, with the reason; a prompt without any answer that has one is left out.

Supports: choosing alone; full training, LoRA, QLoRA; one process or many (DDP, FSDP2, ZeRO-3), with the same answers
and choices; the same command again after a kill, which samples and judges only what is missing; answers that `rlaif
sample` stored (--candidates), so that many rewards can choose from the same ones.
Assumes: prompts (`prompt`: a string or messages; a repeated one counts once); a causal LM with its tokenizer beside it.
Writes: best.jsonl (`prompt`, `completion`, what is known of it, and the prompt's other columns; recipes/sft.py reads it
as its dataset), report.json, manifest.json, replies/ (of the policy and of judges); with --sft true the policy (or
adapter) with its tokenizer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields
from itertools import chain
from pathlib import Path
from typing import Any

from rlaif import config, training
from rlaif.files.bad_rows import BAD_ROWS_FILE, BadRows, on_bad_row
from rlaif.files.pairs import carried
from rlaif.files.reads import Rows, learned_from, sources
from rlaif.settings.declared import described
from rlaif.training.models import ModelConfig
from rlaif.training.settings import SFT

READS = {"prompts": "rows", "candidates": "folder", "model": "model", "rewards": "rewards", "watch": "rewards"}
LEARNS = (Rows("prompts", "prompts_split", "prompts_config_name", when=("sft", True)),)
MEASURES = (Rows("prompts", "prompts_split", "prompts_config_name", when=("sft", False)),)

SCORED_AT_ONCE = 256  # responses handed to a reward in one call; a reward model makes batches of its own from them
WEIGHTS = ("config.json", "adapter_config.json")  # a folder with one of them holds a policy


@described(
    headings={
        "prompts": "prompts and rewards",
        "temperature": "sampling",
        "on_bad_row": "prompts and rewards",
    },
    also={
        "prompts": ("dataset", "dataset_name"),
        "prompts_split": ("dataset_train_split",),
        "prompts_config_name": ("dataset_config", "config_name"),
        "n": ("num_generations", "samples"),
        "max_new_tokens": ("max_completion_length",),
    },
)
@dataclass
class DataConfig:
    """The prompts to answer, how to answer them, and which answer is the best."""

    prompts: str | None = field(
        default=None, metadata={"help": "Rows with a prompt: .jsonl, .parquet, a datasets folder or a Hub id."}
    )
    prompts_split: str | None = field(
        default=None,
        metadata={"help": "Their split, where they have several; of a file, what its column `split` says."},
    )
    prompts_config_name: str | None = field(default=None, metadata={"help": "Their config, where they have several."})
    limit: int | None = field(default=None, metadata={"help": "Use only the first so many distinct prompts."})
    n: int = field(default=16, metadata={"help": "Responses to each prompt, of which the best is kept."})
    rewards: list[str] = field(
        default_factory=list,
        metadata={"help": "reward_model=FOLDER, rating=JUDGE.yaml, pairwise=JUDGE.yaml, function=module:name."},
    )
    reward_weights: list[float] | None = field(default=None, metadata={"help": "One for each reward; default: 1 each."})
    watch: list[str] = field(
        default_factory=list, metadata={"help": "Scores that nothing is chosen by, named as in rewards."}
    )
    candidates: str | None = field(
        default=None,
        metadata={"help": "Choose among what `rlaif sample` stored in this folder, and sample nothing."},
    )
    sft: bool = field(default=False, metadata={"help": "Fine-tune the policy on the best responses."})
    temperature: float = field(default=1.0, metadata={"help": "Of sampling; 0 is greedy, 1 is the policy itself."})
    top_p: float = field(default=1.0, metadata={"help": "Sample from the likeliest tokens with this total mass."})
    max_new_tokens: int = field(default=512, metadata={"help": "Longest response, in tokens."})
    batch_tokens: int = field(
        default=32768, metadata={"help": "Tokens generated at once, prompts and responses; halved on out-of-memory."}
    )
    policy_dtype: str = field(
        default="auto",
        metadata={
            "help": "Precision of the policy that answers; auto: as stored. `dtype` is training's.",
            "choices": ["auto", "float32", "bfloat16", "float16"],
        },
    )
    policy_load_in_4bit: bool = field(
        default=False, metadata={"help": "Quantize the policy that answers (NF4). `load_in_4bit` is training's."}
    )

    on_bad_row: str = on_bad_row()

    def __post_init__(self) -> None:
        if not self.prompts:
            raise ValueError("prompts is missing; expected rows with a `prompt` column (--prompts).")
        if not self.rewards:
            raise ValueError("rewards is empty; expected --rewards reward_model=FOLDER, say.")
        if self.reward_weights is not None and len(self.reward_weights) != len(self.rewards):
            raise ValueError(
                f"reward_weights has {len(self.reward_weights)} numbers for {len(self.rewards)} rewards; expected one "
                "each."
            )
        if self.temperature == 0 and self.n > 1:
            raise ValueError(
                f"n is {self.n} at temperature 0, which gives the same response again; set --temperature above 0."
            )


SETTINGS = (DataConfig, ModelConfig, SFT)


def main() -> None:
    training.quiet_libraries()
    from rlaif.judging.rewards import parse_rewards
    from rlaif.models.parallel import wait_for_everyone

    # ---- parse
    # Before TRL's settings are made: the tie between processes that comes with them waits half an hour at most, and
    # where a run is resumed all that is left to sample may be one process's.
    data_config, model_config, args = config.parse(*SETTINGS, description=__doc__, before=wait_for_everyone)
    check_training(data_config.sft, model_config, args)
    parse_rewards([*data_config.rewards, *data_config.watch])
    reads = sources(READS, data_config, model_config)
    if not data_config.sft and any((Path(args.output_dir) / name).exists() for name in WEIGHTS):
        raise ValueError(
            f"output_dir is {args.output_dir}, which holds the policy that an earlier run trained, and this one trains "
            "none; expected --sft true, or a folder of its own. Nothing was changed."
        )
    with training.output_folder("recipes/best_of_n.py", data_config, model_config, args, reads) as start:
        fit(data_config, model_config, args, start)


def fit(data_config: Any, model_config: Any, args: Any, start: str | None) -> None:
    """Samples, chooses and, with `sft`, trains from the beginning or on from the checkpoint `start`."""
    import datasets
    import numpy as np
    from transformers import set_seed

    from rlaif.assess.best_of_n import assess_best_of_n
    from rlaif.files.manifest import write_manifest
    from rlaif.files.sources import distinct_placed, say_differing, write_json, write_jsonl
    from rlaif.files.swap import move_into, staging
    from rlaif.judging.rewards import check_rewards, load_rewards, reward_models_of
    from rlaif.judging.sampling import Sampling, complete, local_policy
    from rlaif.judging.unscorable import say_of_models
    from rlaif.models.loading import load_tokenizer
    from rlaif.models.parallel import is_main, process_count
    from rlaif.models.rendering import Rendering
    from rlaif.models.spelling import REFUSED
    from rlaif.models.stops import stops_of
    from rlaif.training import saving
    from rlaif.training.data import demonstrations, policy_prompts, report_too_long
    from rlaif.training.models import context_length, is_adapter, load_policy, lora
    from rlaif.training.progress import seconds
    from rlaif.training.trainers import CompletionTrainer

    say = print if is_main() else lambda *_: None

    # ---- load
    tokenizer = load_tokenizer(model_config.model, trust_remote_code=model_config.trust_remote_code)
    rendering = Rendering.of(tokenizer)
    context = context_length(model_config, tokenizer)
    room = context - data_config.max_new_tokens
    if room < 1:
        raise config.UsageError(
            f"max_new_tokens is {data_config.max_new_tokens}, but the model reads {context} tokens in all, prompt "
            "included; expected less."
        )
    bad = BadRows(data_config.on_bad_row)
    source = policy_prompts(
        data_config.prompts,
        data_config.prompts_split,
        tokenizer,
        rendering,
        room,
        config_name=data_config.prompts_config_name,
        bad=bad,
        rewards=[*data_config.rewards, *data_config.watch],
    )
    bad.say()
    if line := report_too_long("prompts", source, room, "the model's context less max_new_tokens"):
        say(line)
    distinct = distinct_placed(zip(source.places, source.rows, strict=True))
    say_differing(distinct, "best responses")
    rows = datasets.Dataset.from_list(distinct.rows[: data_config.limit], features=source.rows.features)
    prompts, places, n = list(rows["prompt"]), distinct.places[: data_config.limit], data_config.n
    trusted = model_config.trust_remote_code
    named = check_rewards(data_config.rewards, rows.column_names, trusted)
    watched = check_rewards(data_config.watch, rows.column_names, trusted) if data_config.watch else []
    scored_by = reward_models_of([*data_config.rewards, *data_config.watch])
    assumed = say_of_models(
        scored_by, prompts, places, response_tokens=data_config.max_new_tokens, trust_remote_code=trusted
    )
    policy = local_policy(
        model_config.model,
        batch_tokens=data_config.batch_tokens,
        dtype=data_config.policy_dtype,
        load_in_4bit=data_config.policy_load_in_4bit,
        trust_remote_code=trusted,
    )
    sampling = Sampling(policy, n, data_config.max_new_tokens, data_config.temperature, data_config.top_p, args.seed)

    # ---- sample
    if data_config.candidates:
        responses_PN = stored(data_config.candidates, sampling, prompts)
    else:
        responses_PN = complete(sampling, prompts, args.output_dir, "sampling", places=places)
    del policy, sampling  # and the policy's weights

    # ---- choose
    scorers = load_rewards(data_config.rewards, args.output_dir, trust_remote_code=trusted)
    scorers += load_rewards(data_config.watch, args.output_dir, trust_remote_code=trusted) if watched else []
    values_KPN, reasons_K = score(scorers, rows, responses_PN)
    del scorers  # and theirs
    k = len(named)
    rewards_PN = np.tensordot(data_config.reward_weights or np.ones(k), values_KPN[:k], axes=1)
    scores = {spec.name: values_PN for spec, values_PN in zip(watched, values_KPN[k:], strict=True)}
    scored_PN = ~np.isnan(rewards_PN)
    unscored = {
        "responses": dict(Counter(filter(None, map(without_text, chain.from_iterable(responses_PN))))),
        "rewards": {spec.name: reasons for spec, reasons in zip(named, reasons_K[:k], strict=True)},
        "watch": {spec.name: reasons for spec, reasons in zip(watched, reasons_K[k:], strict=True)},
    }
    kept = np.flatnonzero(scored_PN.any(axis=1))
    if not kept.size:
        raise ValueError(
            f"none of {rewards_PN.size} responses could be scored: {json.dumps(unscored)}; expected a reward that fits "
            "the prompts and what the policy answers."
        )
    best = [
        {
            "prompt": prompts[p],
            "completion": responses_PN[p][i].text,
            "reward": float(rewards_PN[p, i]),
            "scores": {name: float(values_PN[p, i]) for name, values_PN in scores.items()},
            "tokens": responses_PN[p][i].tokens,
            "complete": responses_PN[p][i].complete,
            "candidates": n,
            "scored": int(scored_PN[p].sum()),
        }
        # Of those that tie, the one that was sampled first.
        for p, i in zip(kept.tolist(), np.nanargmax(rewards_PN[kept], axis=1).tolist(), strict=True)
    ]
    by_n = assess_best_of_n(
        rewards_PN[kept],
        {name: values_PN[kept] for name, values_PN in scores.items()},
        [[response.tokens or 0 for response in responses_PN[p]] for p in kept],
        [[response.text is not None and response.complete for response in responses_PN[p]] for p in kept],
    )
    say(f"scored {scored_PN.sum()} of {scored_PN.size} responses, {n} to each of {len(rows)} prompts")
    if len(best) < len(rows):
        say(f"left out {len(rows) - len(best)} of {len(rows)} prompts: none of their responses could be scored")

    # ---- train
    train: dict[str, Any] | None = None
    if data_config.sft:
        # What was cut off has no end, and training would put one there.
        whole = [
            {"prompt": row["prompt"], "completion": row["completion"], "place": places[p]}
            for row, p in zip(best, kept.tolist(), strict=True)
            if row["complete"]
        ]
        if len(whole) < len(best):
            say(f"best: left out {len(best) - len(whole)} of {len(best)} rows, cut off at max_new_tokens")
        if not whole:
            raise ValueError(
                f"all {len(best)} best responses were cut off at max_new_tokens = {data_config.max_new_tokens}; "
                "expected some that end. Raise it."
            )
        stops = stops_of(model_config.model, tokenizer, trust_remote_code=trusted)
        chosen = demonstrations(datasets.Dataset.from_list(whole), tokenizer, rendering, args.max_length, stops)
        if line := report_too_long("best", chosen, args.max_length):
            say(line)
        set_seed(args.seed)
        trainer = CompletionTrainer(
            load_policy(model_config, tokenizer),
            args=args,
            train_dataset=chosen.rows,
            processing_class=tokenizer,
            peft_config=None if is_adapter(model_config.model) else lora(model_config),
        )
        outcome = trainer.train(resume_from_checkpoint=start)
        train = {
            "prompts": len(chosen),
            "cut": len(best) - len(whole),
            "too_long": chosen.too_long,
            "refused": len(chosen.refused),
            "steps": outcome.global_step,
            "resumed_from": start,
            "loss": outcome.training_loss,
            "processes": process_count(),
        }

        # ---- save
        saved = saving.save(trainer)
    training.leave_process_group()
    if not is_main():
        return

    # ---- report
    unused = {
        "too long": source.too_long,
        REFUSED: len(source.refused),
        "prompt stood before": distinct.repeated,
        "beyond limit": len(distinct.rows) - len(rows),
        "no response could be scored": len(rows) - len(best),
    }
    report: dict[str, Any] = {
        "n": n,
        "prompts": len(best),
        "left_out": len(rows) - len(best),
        "too_long": source.too_long,
        "repeated": distinct.repeated,
        "repeated_with_other_columns": distinct.differing,
        "ledger": bad.ledger(
            len(source) + source.too_long + len(source.refused),
            len(best),
            {reason: count for reason, count in unused.items() if count},
        ),
        "responses": rewards_PN.size,
        "scored": int(scored_PN.sum()),
        "unscored": unscored,
        "rendering_assumed": assumed,
        "by_n": by_n,
        "train": train,
        "processes": process_count(),
        "seconds": round(seconds(args), 1),
    }
    trained_with = {**asdict(model_config), **args.to_dict()}
    output = Path(args.output_dir)
    with nullcontext(saved) if train else staging(output, ".choosing") as folder:
        others = rows.remove_columns("prompt")  # what else the source says of each prompt goes with its best answer
        columns = (others[p] if others.column_names else {} for p in kept.tolist())
        written = ({**row, **carried(of_prompt, row)} for row, of_prompt in zip(best, columns, strict=True))
        write_jsonl(folder / "best.jsonl", written)
        write_json(folder / "report.json", report)
        bad.write(folder, args.output_dir)
        write_manifest(
            folder,
            "recipes/best_of_n.py",
            {
                **asdict(data_config),
                **(trained_with if train else {name: trained_with[name] for name in ("model", "output_dir", "seed")}),
            },
            sources(READS, data_config, model_config),
            learned_from=learned_from(LEARNS, vars(data_config)),
        )
        if train:
            saving.replace_model(folder, output)
        else:
            move_into(folder, output, also_gone=(BAD_ROWS_FILE,))
    say(summary(by_n))
    if train:
        say(f"trained on {train['prompts']} best responses, {train['steps']} steps; mean loss {train['loss']:.3f}")
    say(f"wrote {args.output_dir} in {report['seconds']:.0f} s")


def check_training(sft: bool, model_config: Any, args: Any) -> None:
    """A UsageError for a setting that would do nothing."""
    if model_config.model_revision:
        raise config.UsageError(
            f"model_revision is {model_config.model_revision!r}, but responses are sampled from the newest; expected "
            "none. Download that revision and give its folder as model."
        )
    if sft:
        if args.eval_strategy != "no":
            raise config.UsageError(
                f"eval_strategy is {str(args.eval_strategy.value)!r}, but no prompts are held out here; expected 'no'. "
                "`rlaif evaluate` measures the policy."
            )
        return
    plain = (  # what sampling takes too
        type(model_config)(model=model_config.model, trust_remote_code=model_config.trust_remote_code),
        type(args)(output_dir=args.output_dir, seed=args.seed, use_cpu=args.use_cpu),
    )
    given = [
        setting.name
        for ours, default in zip((model_config, args), plain, strict=True)
        for setting in fields(default)
        if getattr(ours, setting.name) != getattr(default, setting.name)
    ]
    if given:
        raise config.UsageError(
            f"nothing is trained without --sft true, but {', '.join(given)} of training would be set; expected none of "
            "its settings. Remove them, or add --sft true."
        )


def stored(folder: str, sampling: Any, prompts: Sequence[Any]) -> list[list[Any]]:
    """The responses to each prompt that `rlaif sample` stored in `folder`, as `complete` gives them."""
    from rlaif.judging.sampling import completions_of

    n = sampling.samples
    missing = [n] * len(prompts)
    if (Path(folder) / "replies").is_dir():
        responses_PN = list(completions_of(sampling, prompts, folder))
        missing = [sum(response.unasked for response in row) for row in responses_PN]
    if any(missing):
        raise ValueError(
            f"candidates: {folder} lacks {sum(missing)} of {len(prompts) * n} responses, of {sum(map(bool, missing))} "
            f"of {len(prompts)} prompts; expected {n} to each, sampled from these weights with these settings"
            f"{different(folder, sampling)}. Sample them: rlaif sample --samples {n}."
        )
    return responses_PN


def different(folder: str, sampling: Any) -> str:
    """Which settings of the `rlaif sample` that wrote `folder` are others than here, in words; empty if not known."""
    try:
        there = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError):
        return ""
    here = {
        "policy": sampling.policy.name,
        "samples": max(sampling.samples, there.get("samples", sampling.samples)),
        **{name: getattr(sampling, name) for name in ("max_new_tokens", "temperature", "top_p", "seed")},
        **{name: sampling.policy.identity[name] for name in ("dtype", "load_in_4bit")},
    }
    words = [f"{name} {there[name]}, here {value}" for name, value in here.items() if there.get(name, value) != value]
    return f" (there {'; there '.join(words)})" if words else ""


def without_text(response: Any) -> str | None:
    """Why there is nothing to score; None where there is."""
    if response.text is None:
        return str(response.reason)
    return None if response.text.strip() else "the response is empty"


def score(scorers: Sequence[Any], rows: Any, responses_PN: Sequence[Any]) -> tuple[Any, list[dict[str, int]]]:
    """What each of K scorers says of N responses to each of P prompts, split over the processes; in all of them alike.

    Args:
        scorers: `rlaif.judging.rewards.load_rewards`.
        rows: the prompts, and the columns that scorers may want.

    Returns:
        (K, P, N), NaN where there is no score; and for each scorer the reasons why, counted by response.
    """
    import numpy as np
    from accelerate.utils import gather_object
    from tqdm.auto import tqdm

    from rlaif.models.parallel import is_main, process_count, process_index

    prompts, n = len(responses_PN), len(responses_PN[0])
    step = max(1, SCORED_AT_ONCE // n)
    # In the same batches whatever the number of processes: by its padding, the answers beside it change an answer's
    # score in the seventh digit.
    shares = range(0, prompts, step)[process_index() :: process_count()]
    mine = []
    for start in tqdm(shares, desc="scoring", unit="batch", disable=not is_main(), mininterval=1.0):
        share = range(start, min(start + step, prompts))
        values_KSN = np.full((len(scorers), len(share), n), np.nan)
        mine.append((start, values_KSN))
        at = [(p, i) for p in share for i in range(n) if without_text(responses_PN[p][i]) is None]
        if not at:
            continue
        columns = rows[[p for p, _ in at]]
        asked = columns.pop("prompt")
        texts = [responses_PN[p][i].text for p, i in at]
        # Messages are answered by a message, as TRL hands them to a reward.
        completions = [
            text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
            for prompt, text in zip(asked, texts, strict=True)
        ]
        for values_SN, scorer in zip(values_KSN, scorers, strict=True):
            said: dict[tuple[int, str], float | None] = {}
            for (p, i), text, value in zip(at, texts, scorer(asked, completions, **columns), strict=True):
                same = said.setdefault((p, text), value)  # equal answers tie: padding must not choose between them
                values_SN[p - start, i] = np.nan if same is None else same
    reasons = [[dict(scorer.unscored_reasons) for scorer in scorers]]
    for scorer in scorers:
        scorer.close()
    if process_count() > 1:
        mine, reasons = gather_object(mine), gather_object(reasons)
    values_KPN = np.concatenate([values_KSN for _, values_KSN in sorted(mine, key=lambda share: share[0])], axis=1)
    return values_KPN, [dict(sum(map(Counter, of_one), Counter())) for of_one in zip(*reasons, strict=True)]


def summary(by_n: Sequence[Mapping[str, Any]]) -> str:
    """One line: what the best of n has, and, in brackets, what a single response has."""
    one, last = by_n[0], by_n[-1]
    means = [("reward", last["reward"], one["reward"])]
    means += [(name, last["scores"][name]["mean"], one["scores"][name]["mean"]) for name in last["scores"]]
    words = [f"{name} {value:.3f} (of 1: {alone:.3f})" for name, value, alone in means]
    words.append(f"length {last['length']:.1f} ({one['length']:.1f})")
    return f"best of {last['n']}: {', '.join(words)}; KL at most {last['kl_bound']:.2f} nats"


if __name__ == "__main__":
    config.run(main)
