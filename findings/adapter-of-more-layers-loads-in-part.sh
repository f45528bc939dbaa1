#!/usr/bin/env bash
# Guess, written down before: an adapter that was trained on four layers, put on a model of two, is refused or warned of,
# as its weights for the other two layers have no place.
# Seen (peft 0.21.2, transformers 5.24.0, torch 2.13.0): it loads without an error or a warning about them, and half of
# the adapter is gone. (Weights that the adapter lacks are warned of; those that the model lacks are not.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check peft==0.21.2 transformers==5.24.0 torch==2.13.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
import warnings

import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM


def base(layers):
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=32, pad_token_id=0, **shape)).eval()


folder = f"{sys.argv[1]}/adapter"
config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
get_peft_model(base(4), config).save_pretrained(folder)
saved = len(load_file(f"{folder}/adapter_model.safetensors"))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model = PeftModel.from_pretrained(base(2), folder)
loaded = sum("lora_" in name for name, _ in model.named_parameters())
said = [str(one.message) for one in caught if "lora" in str(one.message).lower() or "key" in str(one.message).lower()]
print(f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")
print(f"matrices in the file: {saved}; in the model: {loaded}; warnings about them: {len(said)}")
sys.exit(not (saved == 8 and loaded == 4 and not said))
PYTHON
