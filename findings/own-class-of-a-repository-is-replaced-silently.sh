#!/usr/bin/env bash
# Guess, written down before: a repository whose auto_map names a class of its own is refused with
# trust_remote_code=False, and asked about without it.
# Seen (transformers 5.24.0, torch 2.13.0): where transformers knows the model_type ("llama"), it loads its own class in
# place of the named one, with no error, no question and no warning. A reward model whose own class doubles the score
# gives half of it. Only trust_remote_code=True gives the score that its authors mean.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 torch==2.13.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" 2>"$folder/said" <<'PYTHON'
import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForSequenceClassification
from transformers.utils import logging

logging.disable_progress_bar()
folder = Path(sys.argv[1]) / "model"
shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
torch.manual_seed(0)
LlamaForSequenceClassification(LlamaConfig(vocab_size=32, num_labels=1, pad_token_id=0, **shape)).save_pretrained(folder)
config = json.loads((folder / "config.json").read_text())
config["architectures"] = ["TwiceTheScore"]
config["auto_map"] = {"AutoModelForSequenceClassification": "twice.TwiceTheScore"}
(folder / "config.json").write_text(json.dumps(config))
(folder / "twice.py").write_text(
    "from transformers import LlamaForSequenceClassification\n"
    "class TwiceTheScore(LlamaForSequenceClassification):\n"
    "    def forward(self, *args, **kwargs):\n"
    "        out = super().forward(*args, **kwargs)\n"
    "        out.logits = out.logits * 2\n"
    "        return out\n"
)


def score(**kwargs):
    model = AutoModelForSequenceClassification.from_pretrained(folder, **kwargs).eval()
    with torch.no_grad():
        return type(model).__name__, float(model(torch.tensor([[3, 4, 5]])).logits)


print(f"transformers {transformers.__version__}, torch {torch.__version__}")
refused, unsaid, trusted = score(trust_remote_code=False), score(), score(trust_remote_code=True)
for name, (kind, value) in (("False", refused), ("not given", unsaid), ("True", trusted)):
    print(f"trust_remote_code {name}: {kind}, score {value:.6f}")
same = refused == unsaid and refused[0] == "LlamaForSequenceClassification"
sys.exit(not (same and trusted[0] == "TwiceTheScore" and abs(trusted[1] - 2 * refused[1]) < 1e-9))
PYTHON
warnings=$(grep -ci "warn\|auto_map\|remote" "$folder/said" || true)
echo "lines of warnings: $warnings"
test "$warnings" = 0
