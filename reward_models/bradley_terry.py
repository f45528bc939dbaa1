"""Trains a Bradley-Terry reward model r on preferences z: P(chosen preferred) = sigmoid(r(chosen) - r(rejected)).

    accelerate launch reward_models/bradley_terry.py --config reward_models/configs/sandbox.yaml

Supports: decoder and encoder backbones; full training, LoRA, QLoRA; one process or many (DDP, FSDP2, ZeRO-3).
Assumes: a preference dataset (`rlaif build`, or any with prompt/chosen/rejected, then z = 1); a tokenizer beside the
model.
Writes: a one-label AutoModelForSequenceClassification checkpoint or adapter with its tokenizer, rlaif.json (what a
score depends on), report.json (held-out quality), manifest.json.
Fails: where the model on disk does not score bit for bit as the model that was trained.
"""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np

from rlaif import config, training
from rlaif.files.bad_rows import BadRows
from rlaif.files.preferences import PreferenceData as DataConfig
from rlaif.files.preferences import load_preferences
from rlaif.files.reads import Rows, learned_from, sources
from rlaif.training.models import ModelConfig
from rlaif.training.settings import REWARD

READS = {"dataset": "rows", "model": "model"}
LEARNS = (Rows("dataset", "train_split", "config_name"),)
MEASURES = (Rows("dataset", "test_split", "config_name", needs_split=True),)

CHECKED = 64  # pairs that the reloaded model must score bit for bit
ZEROED = 512  # training pairs whose mean score is the zero point


SETTINGS = (DataConfig, ModelConfig, REWARD)


def main() -> None:
    training.quiet_libraries()

    # ---- parse
    data_config, model_config, args = config.parse(*SETTINGS, description=__doc__)
    reads = sources(READS, data_config, model_config)
    with training.output_folder("reward_models/bradley_terry.py", data_config, model_config, args, reads) as start:
        fit(data_config, model_config, args, start)


def fit(data_config: Any, model_config: Any, args: Any, start: str | None) -> None:
    """Trains from the beginning, or on from the checkpoint `start`, and writes `args.output_dir`."""
    from transformers import set_seed

    from rlaif.assess.drawn import PairKeys
    from rlaif.assess.rewards import assess_reward_model
    from rlaif.files.manifest import write_manifest
    from rlaif.files.sources import fingerprint, write_json
    from rlaif.models.loading import load_tokenizer
    from rlaif.models.parallel import is_main, process_count
    from rlaif.models.rendering import Rendering
    from rlaif.models.reward_model import RewardModel, RewardModelCard
    from rlaif.training.baselines import BagOfWords
    from rlaif.training.data import check_sides, ledger, load_splits, reward_pairs, tokenize_splits
    from rlaif.training.models import load_reward_backbone, lora, modules_of
    from rlaif.training.progress import seconds
    from rlaif.training.saving import replace_model, save
    from rlaif.training.trainers import SoftRewardTrainer

    say = print if is_main() else lambda *_: None

    # ---- load
    tokenizer = load_tokenizer(model_config.model, model_config.model_revision, model_config.trust_remote_code)
    rendering = Rendering.of(tokenizer)
    bad, left_out = BadRows(data_config.on_bad_row), Counter[str]()
    train, test = load_splits(load_preferences, data_config, bad, left_out)
    check_sides(train, args.preference_loss)
    pairs, test_pairs = tokenize_splits(reward_pairs, data_config, train, test, tokenizer, rendering, args.max_length)
    set_seed(args.seed)  # the new head is random
    model, new = load_reward_backbone(model_config, tokenizer)
    say(f"new, random until trained: {', '.join(new)}" if new else "no weight is new: training goes on")
    trainer = SoftRewardTrainer(
        model,
        args,
        train_dataset=pairs.rows,
        eval_dataset=test_pairs.rows if test_pairs else None,
        processing_class=tokenizer,
        peft_config=lora(model_config, modules_of(new)),
    )

    # ---- train
    outcome = trainer.train(resume_from_checkpoint=start)

    # ---- save
    folder = save(trainer)
    card = RewardModelCard(
        rendering=rendering.row(),
        max_length=args.max_length,
        base_model=model_config.model,
        dtype=model_config.dtype,
        load_in_4bit=model_config.load_in_4bit,
        training_data={
            "source": data_config.dataset,
            "split": data_config.train_split,
            "fingerprint": fingerprint(data_config.dataset),
            "pairs": len(pairs),
        },
    )
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    trained = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
    training.leave_process_group()
    if not is_main():
        return  # one process measures
    card.write(folder)

    # ---- reload: the model that others will load must be the one that was trained
    sample = (test or train).select(range(min(CHECKED, len(test or train))))
    prompts, responses = [*sample["prompt"]] * 2, [*sample["chosen"], *sample["rejected"]]
    # A sharded model's weights are spread over the processes; there the model on disk is the only whole one.
    before = None if sharded else RewardModel(trained, tokenizer, rendering, card).score(prompts, responses)
    log_history = trainer.state.log_history
    del trainer, model, trained
    gc.collect()
    reward_model = RewardModel.load(folder, trust_remote_code=model_config.trust_remote_code)
    after = reward_model.score(prompts, responses)
    if before is not None and not np.array_equal(before, after, equal_nan=True):
        raise ValueError(
            f"the reward model that was saved does not score as it did when it was trained (largest difference "
            f"{np.nanmax(np.abs(before - after)):.2e} on {len(before)} responses); expected equal bits. "
            f"{args.output_dir} is left as it was."
        )

    # ---- report
    anchor = train.shuffle(seed=args.seed).select(range(min(ZEROED, len(train))))
    zero_2N = reward_model.score([*anchor["prompt"]] * 2, [*anchor["chosen"], *anchor["rejected"]])
    card = RewardModelCard(**{**asdict(card), "zero": float(np.nanmean(zero_2N))})
    card.write(folder)
    report: dict[str, Any] = {
        "train": {
            "pairs": len(pairs),
            "too_long": pairs.too_long,
            "steps": outcome.global_step,
            "resumed_from": start,
            "loss": outcome.training_loss,
            "preference_loss": args.preference_loss,
            "label_smoothing": args.label_smoothing,
            "new_weights": new,
            "processes": process_count(),
        },
        "reload": {"responses": len(after), "bit_identical": None if sharded else True},
        "zero": card.zero,
        "held_out": None,
    }
    if test:
        prompts, chosen, rejected = ([*test[column]] for column in ("prompt", "chosen", "rejected"))
        words = BagOfWords.fit(train["chosen"], train["rejected"], train["z"])
        p_N = reward_model.probabilities(prompts, chosen, rejected, progress=True)
        if np.isnan(p_N).all():
            raise ValueError(
                "no held-out pair could be scored: all are longer than max_length or refused by the chat template. "
                "Raise max_length, or change the rows."
            )
        report["held_out"] = assess_reward_model(
            p_N,
            test["z"],
            test["label"],
            PairKeys.of(prompts, chosen, rejected).array,
            [len(text) for text in chosen],
            [len(text) for text in rejected],
            baselines={"bag_of_words": words.probabilities(chosen, rejected)},
            refused=len({at % len(test) for at in reward_model.refused}),
        )
    report["ledger"] = ledger((pairs, test_pairs), bad, left_out)
    report["seconds"] = round(seconds(args), 1)
    write_json(folder / "report.json", report)
    bad.write(folder, args.output_dir)
    write_manifest(
        folder,
        "reward_models/bradley_terry.py",
        {**asdict(data_config), **asdict(model_config), **args.to_dict()},
        sources(READS, data_config, model_config),
        learned_from=learned_from(LEARNS, vars(data_config)),
    )
    replace_model(folder, args.output_dir)
    losses = [row["loss"] for row in log_history if "loss" in row]
    say(
        f"trained on {len(pairs)} pairs, {outcome.global_step} steps; loss {losses[0]:.3f} -> {losses[-1]:.3f}"
        if losses
        else f"trained on {len(pairs)} pairs, {outcome.global_step} steps"
    )
    if report["held_out"]:
        say(summary(report["held_out"]))
    say(
        f"wrote {args.output_dir} in {report['seconds']:.0f} s; it reloads "
        + ("unchecked: its weights were sharded" if sharded else "bit for bit")
    )


def summary(held_out: dict[str, Any]) -> str:
    """The lines that a person reads: one for each thing that the model is measured against."""
    from rlaif.models.spelling import REFUSED
    from rlaif.pages.parts import decimal, interval, over

    unscored, refused = held_out["unscored"], held_out["refused"]
    lines = [
        f"held out: {held_out['pairs']} pairs, {unscored - refused} too long to score"
        + (f", {refused} {REFUSED}" if refused else "")
    ]
    for name in ("z", "label"):
        row = held_out[f"against_{name}"]
        if not row or not row["measured"]:
            continue
        lines.append(
            f"  against {name:5s} accuracy {interval(row, 'accuracy', decimal)}  NLL {decimal(row['soft_nll'])}  Brier "
            f"{decimal(row['brier'])}  ECE {interval(row, 'ece', decimal)}  ties {row['tied']}, left out"
        )
        for baseline, numbers in row["baselines"].items():
            lines.append(
                f"    {interval(numbers, 'difference', lambda value: f'{value:+.3f}')} over "
                f"{baseline.replace('_', ' ')} ({decimal(numbers['accuracy'])})"
            )
        lines.append(f"    {over(row['drawn'])}")
    return "\n".join(lines)


if __name__ == "__main__":
    config.run(main)
