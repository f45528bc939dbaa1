#!/usr/bin/env bash
# Guess, written down before: the eval_loss of an evaluation in which a batch's loss is NaN is NaN.
# Seen (transformers 5.24.0, torch 2.13.0): it is the mean over the other rows, without a word. The switch is
# logging_nan_inf_filter, true by default and described as one of what is logged while training. A model whose weights
# give NaN on three rows of four has the eval_loss of the fourth.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 torch==2.13.0 accelerate==1.15.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import math
import sys

import torch
import transformers
from transformers import Trainer, TrainingArguments


class Model(torch.nn.Module):
    """Its loss is its input."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x=None, labels=None):
        return {"loss": (self.weight * x).mean(), "logits": x}


def eval_loss(**kwargs):
    args = TrainingArguments(
        sys.argv[1], use_cpu=True, per_device_eval_batch_size=1, report_to=[], disable_tqdm=True, **kwargs
    )
    values = (2.0, math.nan, math.nan, math.nan)
    rows = [{"x": torch.tensor([value]), "labels": torch.tensor([0.0])} for value in values]
    return Trainer(Model(), args, eval_dataset=rows).evaluate()["eval_loss"]


print(f"transformers {transformers.__version__}, torch {torch.__version__}")
default, unfiltered = eval_loss(), eval_loss(logging_nan_inf_filter=False)
print("rows with the losses 2, NaN, NaN, NaN; eval_loss by default:", default)
print("with logging_nan_inf_filter=False:", unfiltered)
sys.exit(not (default == 2.0 and math.isnan(unfiltered)))
PYTHON
