#!/usr/bin/env bash
# Guess, written down before: a model that takes an attention mask gives one text the same numbers alone and padded in a
# batch, as BERT and Llama do; ConvBERT (classifier, padded at the end) and RWKV (causal model, padded in front) too.
# Seen (transformers 5.24.0, torch 2.13.0): BERT and Llama to 1e-6. In tiny random models ConvBERT's score moves by 0.002
# and RWKV's log-probabilities by 0.003, without a warning: the convolution reads the padding beside the text, and the
# recurrent state has gone through it. What such a model says of a text depends on who shares the batch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 torch==2.13.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import torch
import transformers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ConvBertConfig,
    ConvBertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    RwkvConfig,
    RwkvForCausalLM,
)

encoder = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": 0}
encoder |= {"intermediate_size": 64, "max_position_embeddings": 64, "num_labels": 1}
decoder = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0, "bos_token_id": 1}
decoder |= {"intermediate_size": 64, "eos_token_id": 2}
models = {
    "BERT": lambda: BertForSequenceClassification(BertConfig(**encoder)),
    "ConvBERT": lambda: ConvBertForSequenceClassification(ConvBertConfig(embedding_size=32, **encoder)),
    "Llama": lambda: LlamaForCausalLM(LlamaConfig(num_attention_heads=4, **decoder)),
    "RWKV": lambda: RwkvForCausalLM(RwkvConfig(attention_hidden_size=32, context_length=64, **decoder)),
}


def numbers(model, ids, mask):
    """The score of a classifier; the log-probabilities at the last place of a causal model."""
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits
    return logits.log_softmax(-1)[0, -1] if logits.dim() == 3 else logits[0]


moved, caught = {}, []
text, padding = torch.arange(5, 13)[None], torch.zeros(1, 8, dtype=torch.long)
for name, make in models.items():
    torch.manual_seed(0)
    model = make().eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    in_front = name in ("Llama", "RWKV")
    ids = torch.cat([padding, text] if in_front else [text, padding], 1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        alone = numbers(model, text, torch.ones_like(text))
        moved[name] = float((numbers(model, ids, (ids > 0).long()) - alone).abs().max())
    caught += [str(one.message) for one in said if "mask" in str(one.message)]
print(f"transformers {transformers.__version__}, torch {torch.__version__}")
print({name: float(f"{by:.2g}") for name, by in moved.items()}, "warnings about the mask:", len(caught))
same = moved["BERT"] < 1e-5 and moved["Llama"] < 1e-4
sys.exit(not (same and moved["ConvBERT"] > 1e-3 and moved["RWKV"] > 1e-3 and not caught))
PYTHON
