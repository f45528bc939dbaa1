#!/usr/bin/env bash
# Guess, written down before: a tokenizer without a padding token, given an ordinary letter as one (pad_token = "!", the
# first entry of GPT-2's vocabulary, since padding is masked anyway), pads with it and decodes texts as before.
# Seen (transformers 5.24.0, tokenizers 0.23.3): so it does, until it is saved and loaded again. Then "!" is an added
# special token, with the same id, and decode(..., skip_special_tokens=True), which turns a policy's tokens into the text
# that a reward sees, deletes every exclamation mark.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.3
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

folder, text = f"{sys.argv[1]}/tokenizer", "No! Stop!"
vocabulary = {letter: at for at, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
vocabulary["</s>"] = len(vocabulary)
raw = Tokenizer(models.BPE(vocabulary, []))
raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
raw.decoder = decoders.ByteLevel()
before = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>")
before.pad_token = "!"
before.save_pretrained(folder)
after = AutoTokenizer.from_pretrained(folder)
ids = {name: one(text)["input_ids"] for name, one in (("before", before), ("after", after))}
print(f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}")
print("the same ids:", ids["before"] == ids["after"])
written = [one.decode(ids["before"], skip_special_tokens=True) for one in (before, after)]
print(f"written before saving: {written[0]!r}; after loading: {written[1]!r}")
sys.exit(not (ids["before"] == ids["after"] and written == ["No! Stop!", "No Stop"]))
PYTHON
