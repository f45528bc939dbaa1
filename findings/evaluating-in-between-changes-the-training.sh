#!/usr/bin/env bash
# Guess, written down before: evaluating between steps (eval mode, no gradient, the trainer's own loop) leaves the
# training as it is: the same seed gives the same weights with eval_steps and without.
# Seen (transformers 5.24.0, torch 2.13.0, accelerate 1.15.0): so it is without dropout; the batches are the same ones,
# too. With it each evaluation takes a number from the random numbers that the dropout is drawn from (a DataLoader draws
# a seed for its workers when it is iterated, though it has none), and all later masks are others. Over ten seeds of
# the dropout a run's held-out loss moved by 0.008 for being evaluated, and by 0.011 from one seed to another.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 torch==2.13.0 accelerate==1.15.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import itertools
import sys

import accelerate
import torch
import transformers
from transformers import LlamaConfig, LlamaForSequenceClassification, Trainer, TrainingArguments
from transformers.utils import logging

logging.set_verbosity_error()
torch.set_num_threads(1)
numbers = torch.Generator().manual_seed(1)
ids = torch.randint(3, 64, (96, 8), generator=numbers)
rows = [{"input_ids": row, "labels": (row.float().mean() - 33)[None] / 10} for row in ids]


class Watched(Trainer):
    def training_step(self, model, inputs, *args, **kwargs):
        self.batches = [*getattr(self, "batches", []), inputs["input_ids"].tolist()]
        return super().training_step(model, inputs, *args, **kwargs)

    def log(self, logs, *args, **kwargs):
        pass


def run(dropout, evaluates, noise=0):
    """The weights, the held-out loss and the batches of one run; `noise` seeds the dropout alone."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(
        LlamaConfig(vocab_size=64, pad_token_id=0, num_labels=1, attention_dropout=dropout, **shape)
    )
    args = TrainingArguments(
        sys.argv[1],
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        per_device_train_batch_size=8,
        learning_rate=1e-3,
        max_steps=40,
        seed=noise,
        data_seed=0,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=4,
    )
    trainer = Watched(model, args, train_dataset=rows[:64], eval_dataset=rows[64:])
    trainer.train()
    weights = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    return weights, trainer.evaluate()["eval_loss"], trainer.batches


def apart(first, second):
    return float((first[0] - second[0]).abs().max())


print(f"transformers {transformers.__version__}, torch {torch.__version__}, accelerate {accelerate.__version__}")
still = apart(run(0.0, False), run(0.0, True))
again = apart(run(0.2, False), run(0.2, False))
without, between = ([run(0.2, evaluates, noise) for noise in range(10)] for evaluates in (False, True))
moved = [apart(*pair) for pair in zip(without, between)]
twins = sum(abs(a[1] - b[1]) for a, b in zip(without, between)) / 10
pairs = list(itertools.combinations(without, 2))
seeds = sum(abs(a[1] - b[1]) for a, b in pairs) / len(pairs)
same = all(a[2] == b[2] for a, b in zip(without, between))
print(f"largest change of a weight: no dropout {still}; dropout, the same run again {again}")
print(f"dropout, with evaluations against without: {min(moved):.4f} to {max(moved):.4f}; the same batches: {same}")
print(f"held-out losses {without[0][1]:.4f} and {between[0][1]:.4f}; mean gap {twins:.5f}, between seeds {seeds:.5f}")
sys.exit(not (still == again == 0 and same and min(moved) > 1e-3 and 0.5 < twins / seeds < 2))
PYTHON
