"""Measurements on held-out rows between steps leave the training as it is (findings/evaluating-in-between-*.sh)."""

from __future__ import annotations

from pathlib import Path

import datasets
import torch
from support.models import tiny_llama
from support.tokenizers import byte_tokenizer
from transformers import set_seed

from rlaif.models.rendering import Rendering
from rlaif.training.data import demonstrations
from rlaif.training.trainers import CompletionConfig, CompletionTrainer


def trained(folder: Path, evaluate: str) -> tuple[torch.Tensor, list[float]]:
    """All weights after three steps of a model with dropout, and the held-out losses on the way."""
    tokenizer = byte_tokenizer(chat=False)
    rows = datasets.Dataset.from_list([{"prompt": f"count to {n}", "completion": "1 2 3"[: n + 1]} for n in range(6)])
    columns = demonstrations(rows, tokenizer, Rendering.of(tokenizer), 32).rows
    set_seed(0)
    args = CompletionConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to="none",
        disable_tqdm=True,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        max_steps=3,
        save_strategy="no",
        eval_strategy=evaluate,
        eval_steps=1,
    )
    model = tiny_llama(attention_dropout=0.5)
    trainer = CompletionTrainer(model, args, train_dataset=columns, eval_dataset=columns, processing_class=tokenizer)
    trainer.train()
    losses = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    return torch.cat([weight.detach().flatten() for weight in model.parameters()]), losses


def test_evaluating_between_steps_leaves_the_training_as_it_is(tmp_path: Path) -> None:
    without, none = trained(tmp_path / "without", "no")
    between, losses = trained(tmp_path / "between", "steps")
    assert (len(none), len(losses)) == (0, 3)
    assert torch.equal(without, between)
