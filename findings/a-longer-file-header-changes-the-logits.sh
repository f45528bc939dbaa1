#!/usr/bin/env bash
# Guess, written down before: two safetensors files with the same weights, bit for bit, that differ in their metadata
# alone give the same logits, bit for bit, on one machine with one thread.
# Seen (torch 2.13.0 with oneMKL 2024.2, safetensors 0.8.0, transformers 5.24.0): not on oneMKL's path for processors
# without AVX2. Weights stay in the mapped file, at the address that the header's length leaves (any multiple of 8), and
# a product of a matrix and one row, as in writing token by token, adds up in another order unless it is a multiple
# of 16: a note of 8 letters in the metadata moves the next token's logits, which spread by 0.26, by 2e-7. Products with
# several rows do not move. On the paths for AVX2 and AVX-512 nothing did, in 6,000 shapes on one Xeon;
# which path is taken depends on the processor, so the line for this machine's own is printed and not judged.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    transformers==5.24.0 torch==2.13.0 safetensors==0.8.0 numpy==2.4.6
cat >"$folder/score.py" <<'PYTHON'
"""Loads the same weights from files with notes of 0, 8, ... 56 letters; prints how far the logits are from a copy's."""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()
logging.set_verbosity_error()
torch.set_num_threads(1)
torch.manual_seed(0)
shape = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 3, "num_attention_heads": 4}
model = LlamaForCausalLM(LlamaConfig(vocab_size=1000, pad_token_id=0, **shape)).eval()
for weight in model.parameters():
    torch.nn.init.normal_(weight, std=0.2)
folder = Path(sys.argv[1]) / "model"
model.save_pretrained(folder)
weights = {name: weight.clone() for name, weight in load_file(folder / "model.safetensors").items()}
text = torch.arange(1, 33)[None]


def logits(model):
    """Of the next token: read in one pass; and with the last token read alone, after the others' cache."""
    with torch.no_grad():
        whole = model(text).logits[:, -1]
        cache = model(text[:, :-1]).past_key_values
        return whole, model(text[:, -1:], past_key_values=cache).logits[:, -1]


expected = logits(model)
for letters in range(0, 64, 8):
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt", "note": "x" * letters})
    loaded = LlamaForCausalLM.from_pretrained(folder).eval()
    mine, theirs = model.state_dict(), loaded.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    address = {weight.data_ptr() % 64 for weight in loaded.parameters()}
    moved = [float((a - b).abs().max()) for a, b in zip(logits(loaded), expected)]
    print(*address, *moved)
PYTHON
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import subprocess
import sys
from importlib.metadata import version

import torch

names = ("torch", "safetensors", "transformers")
print(", ".join(f"{name} {version(name)}" for name in names) + f", {torch.backends.cpu.get_cpu_capability()}")


def moved(**environment):
    """By address (bytes past a multiple of 64): how far the logits moved, in one pass and token by token."""
    command = [sys.executable, f"{sys.argv[1]}/score.py", sys.argv[1]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    rows = [line.split() for line in done.stdout.splitlines()]
    return {int(row[0]): tuple(map(float, row[1:])) for row in sorted(rows, key=lambda row: int(row[0]))}


own, sse = moved(), moved(MKL_ENABLE_INSTRUCTIONS="SSE4_2")
for name, found in (("this processor's path", own), ("oneMKL's SSE4.2 path", sse)):
    print(f"{name}: one pass", {at: f"{by[0]:.1e}" for at, by in found.items()})
    print(f"{name}: token by token", {at: f"{by[1]:.1e}" for at, by in found.items()})
odd, even = ([sse[at] for at in sse if at % 16 == rest] for rest in (8, 0))
sys.exit(not (len(sse) == 8 and all(by[1] > 0 for by in odd) and not any(by[1] for by in even)))
PYTHON
