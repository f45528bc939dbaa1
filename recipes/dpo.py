"""Direct preference optimization (2305.18290): a policy learns from preferences z without a reward model.

    accelerate launch --config_file recipes/accelerate/cpu.yaml recipes/dpo.py --config recipes/configs/dpo/sandbox.yaml

The loss of a pair is -[z log s(d) + (1 - z) log s(-d)], d = beta times the difference of log-ratios to the reference,
with each pair's own z; at z = 1 it is DPO's. The reference is the policy that training starts from.

Supports: full training, LoRA, QLoRA; reference log-probabilities precomputed (--precompute_ref_log_probs true) or
computed at each step; one process or many (DDP, FSDP2, ZeRO-3).
Assumes: a preference dataset (`rlaif build`, or any with prompt/chosen/rejected, then z = 1); a causal LM, usually one
that recipes/sft.py wrote, with its tokenizer beside it.
Writes: the policy (or adapter) with its tokenizer, report.json, manifest.json.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict
from typing import Any

from rlaif import config, training
from rlaif.files.bad_rows import BadRows
from rlaif.files.preferences import PreferenceData as DataConfig
from rlaif.files.preferences import load_preferences
from rlaif.files.reads import Rows, learned_from, sources
from rlaif.training.models import ModelConfig
from rlaif.training.settings import DPO

READS = {"dataset": "rows", "model": "model"}
LEARNS = (Rows("dataset", "train_split", "config_name"),)
MEASURES = (Rows("dataset", "test_split", "config_name", needs_split=True),)
SETTINGS = (DataConfig, ModelConfig, DPO)


def main() -> None:
    training.quiet_libraries()

    # ---- parse
    data_config, model_config, args = config.parse(*SETTINGS, description=__doc__)
    reads = sources(READS, data_config, model_config)
    with training.output_folder("recipes/dpo.py", data_config, model_config, args, reads) as start:
        fit(data_config, model_config, args, start)


def fit(data_config: Any, model_config: Any, args: Any, start: str | None) -> None:
    """Trains from the beginning, or on from the checkpoint `start`, and writes `args.output_dir`."""
    from transformers import set_seed

    from rlaif.assess.drawn import PairKeys
    from rlaif.files.manifest import write_manifest
    from rlaif.files.sources import write_json
    from rlaif.models.loading import load_tokenizer
    from rlaif.models.parallel import is_main, process_count
    from rlaif.models.rendering import Rendering
    from rlaif.models.stops import stops_of
    from rlaif.pages.parts import decimal, interval, over
    from rlaif.training.data import check_sides, dpo_pairs, ledger, load_splits, on_disk, tokenize_splits
    from rlaif.training.measure import implicit_reward_report
    from rlaif.training.models import is_adapter, load_policy, lora
    from rlaif.training.progress import seconds
    from rlaif.training.saving import replace_model, save
    from rlaif.training.trainers import SoftDPOTrainer

    say = print if is_main() else lambda *_: None

    # ---- load
    tokenizer = load_tokenizer(model_config.model, model_config.model_revision, model_config.trust_remote_code)
    rendering = Rendering.of(tokenizer)
    stops = stops_of(model_config.model, tokenizer, model_config.model_revision, model_config.trust_remote_code)
    bad, left_out = BadRows(data_config.on_bad_row), Counter[str]()
    train, test = load_splits(load_preferences, data_config, bad, left_out)
    check_sides(train, args.preference_loss)
    pairs, test_pairs = tokenize_splits(
        dpo_pairs, data_config, train, test, tokenizer, rendering, args.max_length, stops
    )
    if args.precompute_ref_log_probs:
        # TRL shares the log-probabilities between processes through the dataset's folder.
        pairs = on_disk(pairs, f"{args.output_dir}/tokenized/train")
        test_pairs = on_disk(test_pairs, f"{args.output_dir}/tokenized/test") if test_pairs else None
    set_seed(args.seed)
    trainer = SoftDPOTrainer(
        load_policy(model_config, tokenizer),
        load_reference(model_config, args, tokenizer),
        args=args,
        train_dataset=pairs.rows,
        eval_dataset=test_pairs.rows if test_pairs else None,
        processing_class=tokenizer,
        peft_config=None if is_adapter(model_config.model) else lora(model_config),
    )

    # ---- train
    outcome = trainer.train(resume_from_checkpoint=start)
    if test_pairs:
        trainer.evaluate()

    # ---- save
    folder = save(trainer)
    training.leave_process_group()
    if not is_main():
        return

    # ---- report
    if test_pairs:
        used = test.select(test_pairs.kept)
        keys = PairKeys.of(used["prompt"], used["chosen"], used["rejected"]).array
    report = {
        "train": {
            "pairs": len(pairs),
            "too_long": pairs.too_long,
            "steps": outcome.global_step,
            "resumed_from": start,
            "loss": outcome.training_loss,
            "preference_loss": args.preference_loss,
            "beta": args.beta,
            "processes": process_count(),
        },
        "held_out": None
        if not test_pairs
        else {
            "too_long": test_pairs.too_long,
            **implicit_reward_report(trainer.held_out_rows, keys, trainer.loss_is_of_rows),
        },
        "ledger": ledger((pairs, test_pairs), bad, left_out),
        "seconds": round(seconds(args), 1),
    }
    write_json(folder / "report.json", report)
    bad.write(folder, args.output_dir)
    write_manifest(
        folder,
        "recipes/dpo.py",
        {**asdict(data_config), **asdict(model_config), **args.to_dict()},
        sources(READS, data_config, model_config),
        learned_from=learned_from(LEARNS, vars(data_config)),
    )
    replace_model(folder, args.output_dir)
    say(f"trained on {len(pairs)} pairs, {outcome.global_step} steps; mean loss {outcome.training_loss:.3f}")
    if test_pairs:
        held_out = report["held_out"]
        named = (("loss", "loss"), ("accuracy", "implicit reward accuracy"), ("margin", "margin"))
        say(
            f"held out: {len(test_pairs)} pairs, "
            + ", ".join(f"{words} {interval(held_out, name, decimal)}" for name, words in named)
            + f"; {over(held_out['drawn'])}"
        )
    say(f"wrote {args.output_dir} in {report['seconds']:.0f} s")


def load_reference(model_config: Any, args: Any, tokenizer: Any) -> Any:
    """The policy before training, or None where the trainer has it: under the adapter, or precomputed."""
    from rlaif.training.models import load_policy

    # Under FSDP the policy is not whole before training, so TRL precomputes with a reference of its own.
    fsdp = os.environ.get("ACCELERATE_USE_FSDP", "").lower() in {"1", "true", "yes"}
    if model_config.lora or (args.precompute_ref_log_probs and not fsdp):
        return None
    return load_policy(model_config, tokenizer, trainable=False)


if __name__ == "__main__":
    config.run(main)
