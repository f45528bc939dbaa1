"""Supervised fine-tuning: a policy learns to write the completions of demonstrations, or the chosen side of pairs.

    accelerate launch --config_file recipes/accelerate/cpu.yaml recipes/sft.py --config recipes/configs/sft/sandbox.yaml

Supports: full training, LoRA, QLoRA; one process or many (DDP, FSDP2, ZeRO-3).
Assumes: rows as recipes/README.md says (`prompt` and `completion`, `messages`, `instruction` and `output`, `text`, or
preferences); a causal LM with its tokenizer beside it.
Writes: the policy (or adapter) with its tokenizer, report.json, manifest.json.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from rlaif import config, training
from rlaif.files.bad_rows import BadRows, on_bad_row
from rlaif.files.demonstrations import load_demonstrations
from rlaif.files.preferences import check_held_out
from rlaif.files.reads import Rows, learned_from, sources
from rlaif.settings.declared import described
from rlaif.training.models import ModelConfig
from rlaif.training.settings import SFT

READS = {"dataset": "rows", "model": "model"}
LEARNS = (Rows("dataset", "train_split", "config_name"),)
MEASURES = (Rows("dataset", "test_split", "config_name", needs_split=True),)


@described(
    headings={"dataset": "data"},
    also={
        "dataset": ("dataset_name",),
        "config_name": ("dataset_config",),
        "train_split": ("dataset_train_split",),
        "test_split": ("dataset_test_split",),
    },
)
@dataclass
class DataConfig:
    """The demonstrations to learn from."""

    dataset: str | None = field(
        default=None,
        metadata={
            "help": "Rows of prompt and completion, messages, instruction and output, text, or preferences: a file, "
            "folder or Hub id."
        },
    )
    config_name: str | None = field(default=None, metadata={"help": "Config of the dataset, where it has several."})
    train_split: str | None = field(
        default="train", metadata={"help": "Split to train on; of a file, what its column `split` says, if it has one."}
    )
    test_split: str | None = field(
        default="none", metadata={"help": "Split that the report measures on; 'none' for no measurement."}
    )

    on_bad_row: str = on_bad_row()

    def __post_init__(self) -> None:
        if not self.dataset:
            raise ValueError("dataset is missing; expected demonstrations or preferences (--dataset).")
        if (self.test_split or "none").lower() == "none":
            self.test_split = None
        check_held_out(self.dataset, self.train_split, self.test_split)


SETTINGS = (DataConfig, ModelConfig, SFT)


def main() -> None:
    training.quiet_libraries()

    # ---- parse
    data_config, model_config, args = config.parse(*SETTINGS, description=__doc__)
    reads = sources(READS, data_config, model_config)
    with training.output_folder("recipes/sft.py", data_config, model_config, args, reads) as start:
        fit(data_config, model_config, args, start)


def fit(data_config: Any, model_config: Any, args: Any, start: str | None) -> None:
    """Trains from the beginning, or on from the checkpoint `start`, and writes `args.output_dir`."""
    from transformers import set_seed

    from rlaif.files.manifest import write_manifest
    from rlaif.files.sources import write_json
    from rlaif.models.loading import load_tokenizer
    from rlaif.models.parallel import is_main, process_count
    from rlaif.models.rendering import Rendering
    from rlaif.models.stops import stops_of
    from rlaif.pages.parts import count, decimal, interval, over
    from rlaif.training.data import check_plain, demonstrations, ledger, load_splits, tokenize_splits
    from rlaif.training.measure import completion_report, prompt_keys
    from rlaif.training.models import is_adapter, load_policy, lora
    from rlaif.training.progress import seconds
    from rlaif.training.saving import replace_model, save
    from rlaif.training.trainers import CompletionTrainer

    say = print if is_main() else lambda *_: None

    # ---- load
    tokenizer = load_tokenizer(model_config.model, model_config.model_revision, model_config.trust_remote_code)
    rendering = Rendering.of(tokenizer)
    stops = stops_of(model_config.model, tokenizer, model_config.model_revision, model_config.trust_remote_code)
    bad, left_out = BadRows(data_config.on_bad_row), Counter[str]()
    load = partial(load_demonstrations, check_plain=partial(check_plain, tokenizer))
    train, test = load_splits(load, data_config, bad, left_out)
    rows, test_rows = tokenize_splits(
        demonstrations, data_config, train, test, tokenizer, rendering, args.max_length, stops
    )
    set_seed(args.seed)
    trainer = CompletionTrainer(
        load_policy(model_config, tokenizer),
        args=args,
        train_dataset=rows.rows,
        eval_dataset=test_rows.rows if test_rows else None,
        processing_class=tokenizer,
        peft_config=None if is_adapter(model_config.model) else lora(model_config),
    )

    # ---- train
    outcome = trainer.train(resume_from_checkpoint=start)
    if test_rows:
        trainer.evaluate()

    # ---- save
    folder = save(trainer)
    training.leave_process_group()
    if not is_main():
        return

    # ---- report
    if test_rows:
        used = test.select(test_rows.kept)
        keys = prompt_keys(used["prompt"], used["completion"])
    report = {
        "train": {
            "rows": len(rows),
            "too_long": rows.too_long,
            "steps": outcome.global_step,
            "resumed_from": start,
            "loss": outcome.training_loss,
            "processes": process_count(),
        },
        "held_out": None
        if not test_rows
        else {"too_long": test_rows.too_long, **completion_report(trainer.held_out_rows, keys)},
        "ledger": ledger((rows, test_rows), bad, left_out),
        "seconds": round(seconds(args), 1),
    }
    write_json(folder / "report.json", report)
    bad.write(folder, args.output_dir)
    write_manifest(
        folder,
        "recipes/sft.py",
        {**asdict(data_config), **asdict(model_config), **args.to_dict()},
        sources(READS, data_config, model_config),
        learned_from=learned_from(LEARNS, vars(data_config)),
    )
    replace_model(folder, args.output_dir)
    say(f"trained on {len(rows)} rows, {outcome.global_step} steps; mean loss {outcome.training_loss:.3f}")
    if test_rows:
        held_out = report["held_out"]
        named = (("loss", "loss"), ("perplexity", "perplexity"), ("token_accuracy", "token accuracy"))
        say(
            f"held out: {len(test_rows)} rows, "
            + ", ".join(f"{words} {interval(held_out, name, decimal)}" for name, words in named)
            + f" (nats a token, over {count(held_out['tokens'])} tokens); {over(held_out['drawn'])}"
        )
    say(f"wrote {args.output_dir} in {report['seconds']:.0f} s")


if __name__ == "__main__":
    config.run(main)
