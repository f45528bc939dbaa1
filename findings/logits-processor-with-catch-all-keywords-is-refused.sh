#!/usr/bin/env bash
# Guess, written down before: a logits processor whose __call__ also takes **kwargs, so as to be ready for later
# arguments, works in `generate` like one that does not.
# Seen (transformers 5.24.0, torch 2.13.0): it does not run at all. The list of processors takes the name of the
# catch-all parameter for a required argument, finds no argument of that name, and raises a ValueError that asks for it
# to be passed; the same processor without **kwargs generates.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 torch==2.13.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessorList

torch.manual_seed(0)
shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
model = LlamaForCausalLM(LlamaConfig(vocab_size=10, pad_token_id=0, bos_token_id=1, eos_token_id=2, **shape)).eval()


class Plain:
    def __call__(self, input_ids, scores):
        return scores


class CatchAll:
    def __call__(self, input_ids, scores, **kwargs):
        return scores


def outcome(processor):
    try:
        out = model.generate(
            torch.tensor([[1, 5, 6]]),
            attention_mask=torch.ones(1, 3, dtype=torch.long),
            max_new_tokens=2,
            do_sample=False,
            logits_processor=LogitsProcessorList([processor]),
        )
        return f"generates {out.shape[1] - 3} tokens"
    except ValueError as error:
        return f"ValueError: {str(error)[:60]}"


plain, catch_all = outcome(Plain()), outcome(CatchAll())
print(f"transformers {transformers.__version__}, torch {torch.__version__}")
print("without **kwargs:", plain)
print("with **kwargs:   ", catch_all)
sys.exit(not (plain.startswith("generates") and catch_all.startswith("ValueError")))
PYTHON
