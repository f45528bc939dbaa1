"""Supervised fine-tuning: a policy learns to write the completions of demonstrations, or the chosen side of pairs.

    accelerate launch --config_file recipes/accelerate/cpu.yaml recipes/sft.py --config recipes/configs/sft/sandbox.yaml

Supports: full training, LoRA, QLoRA; one process or many (DDP, FSDP2, ZeRO-3).
Assumes: rows of `prompt` and `completion`, or a preference dataset; a causal LM with its tokenizer beside it.
Writes: the policy (or adapter) with its tokenizer, report.json, manifest.json.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rlaif import config, training
from rlaif.files.preferences import check_held_out, load_preferences


@dataclass
class DataConfig:
    """The demonstrations to learn from."""

    dataset: str | None = field(
        default=None, metadata={"help": "Rows of prompt and completion, or preferences: a file, folder or Hub id."}
    )
    config_name: str | None = field(default=None, metadata={"help": "Config of the dataset, where it has several."})
    train_split: str | None = field(default="train", metadata={"help": "Split to train on; a file has only one."})
    test_split: str | None = field(
        default="none", metadata={"help": "Split that the report measures on; 'none' for no measurement."}
    )

    def __post_init__(self) -> None:
        if not self.dataset:
            raise ValueError("dataset is missing; expected demonstrations or preferences (--dataset).")
        if (self.test_split or "none").lower() == "none":
            self.test_split = None
        check_held_out(self.dataset, self.train_split, self.test_split)


def main() -> None:
    training.quiet_libraries()
    from rlaif.training.models import ModelConfig, base_model
    from rlaif.training.trainers import CompletionConfig

    # ---- parse
    data_config, model_config, args = config.parse(DataConfig, ModelConfig, CompletionConfig, description=__doc__)
    args.trust_remote_code = model_config.trust_remote_code
    settings = {**asdict(data_config), **asdict(model_config)}
    reads = [data_config.dataset, model_config.model, base_model(model_config.model)]
    with training.output_folder("recipes/sft.py", args, settings, reads) as start:
        fit(data_config, model_config, args, start)


def fit(data_config: Any, model_config: Any, args: Any, start: str | None) -> None:
    """Trains from the beginning, or on from the checkpoint `start`, and writes `args.output_dir`."""
    from transformers import set_seed

    from rlaif.files.manifest import elapsed, write_manifest
    from rlaif.files.sources import write_json
    from rlaif.models.loading import load_tokenizer
    from rlaif.models.parallel import is_main, process_count
    from rlaif.models.rendering import Rendering
    from rlaif.training.data import demonstrations, report_too_long
    from rlaif.training.models import is_adapter, load_policy, lora
    from rlaif.training.saving import put_in_place, save
    from rlaif.training.trainers import CompletionTrainer

    say = print if is_main() else lambda *_: None

    # ---- load
    tokenizer = load_tokenizer(model_config.model, model_config.model_revision, model_config.trust_remote_code)
    rendering = Rendering.of(tokenizer)
    dataset, config_name = data_config.dataset, data_config.config_name
    train = load_demonstrations(dataset, data_config.train_split, config_name)
    test = load_demonstrations(dataset, data_config.test_split, config_name) if data_config.test_split else None
    rows = demonstrations(train, tokenizer, rendering, args.max_length)
    test_rows = demonstrations(test, tokenizer, rendering, args.max_length) if test else None
    for split, data in ((data_config.train_split, rows), (data_config.test_split, test_rows)):
        if data is not None and (line := report_too_long(split, data, args.max_length)):
            say(line)
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
    held_out = trainer.evaluate() if test_rows else {}

    # ---- save
    folder = save(trainer)
    training.leave_process_group()
    if not is_main():
        return

    # ---- report
    report = {
        "train": {
            "rows": len(rows),
            "too_long": rows.too_long,
            "steps": outcome.global_step,
            "loss": outcome.training_loss,
            "processes": process_count(),
        },
        "held_out": None
        if not test_rows
        else {
            "rows": len(test_rows),
            "too_long": test_rows.too_long,
            "loss": held_out["eval_loss"],
            "token_accuracy": held_out["eval_mean_token_accuracy"],
        },
        "seconds": round(elapsed(), 1),
    }
    write_json(folder / "report.json", report)
    write_manifest(
        folder,
        "recipes/sft.py",
        {**asdict(data_config), **asdict(model_config), **args.to_dict()},
        [data_config.dataset, model_config.model],
    )
    put_in_place(folder, args.output_dir)
    say(f"trained on {len(rows)} rows, {outcome.global_step} steps; mean loss {outcome.training_loss:.3f}")
    if test_rows:
        say(
            f"held out: {len(test_rows)} rows, loss {held_out['eval_loss']:.3f}, token accuracy "
            f"{held_out['eval_mean_token_accuracy']:.3f}"
        )
    say(f"wrote {args.output_dir} in {report['seconds']:.0f} s")


def load_demonstrations(source: str, split: str | None, config_name: str | None = None) -> Any:
    """Rows of `prompt` and `completion`; a preference dataset gives its chosen responses."""
    import datasets

    from rlaif.files.sources import OneKind, read_rows, require
    from rlaif.records import check_prompt

    _, first = next(iter(read_rows(source, split, config_name)), (None, None))
    if first is None:
        raise ValueError(f"{source} has no rows; expected at least one.")
    if "chosen" in first and "completion" not in first:
        return load_preferences(source, split or "train", config_name).rename_column("chosen", "completion")
    rows = []
    kind = OneKind()
    for where, row in read_rows(source, split, config_name):
        require(row, ["prompt", "completion"], where)
        try:
            prompt, completion = check_prompt(row["prompt"]), completion_text(row["completion"])
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        kind.check(prompt, where)
        rows.append({"prompt": prompt, "completion": completion})
    return datasets.Dataset.from_list(rows)


def completion_text(value: Any) -> str:
    """A completion's text, from the text itself or from a list of one message that holds it."""
    text = value
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        text = value[0].get("content")
    if not isinstance(text, str):
        raise ValueError(
            f"completion is {type(value).__name__} {value!r:.60}; expected text, or a list of one "
            '{"role": "assistant", "content": ...} message. Write the completion as text.'
        )
    if not text.strip():
        raise ValueError("completion is empty; expected text. Fill it in or remove the row.")
    return text


if __name__ == "__main__":
    config.run(main)
