#!/usr/bin/env bash
# Guess, written down before: Dataset.to_json writes a float so that reading it gives the same float, as Python's json
# does and as to_parquet does.
# Seen (datasets 5.2.0, pandas 3.1.1): it writes ten places after the point, as pandas does unless told otherwise, and
# takes no notice of how small a number is: a probability of 3e-12 is written as 0.0, one of 3e-16 as 3e-16, and
# 1 - 3e-12 as 1.0. Log-odds taken from the file are infinite; of 10,000 log-probabilities of likely tokens one in seven
# is 0 afterwards. double_precision=15, pandas' largest, still changes numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pandas==3.1.1
HF_HUB_OFFLINE=1 HF_HOME="$folder" "$folder/venv/bin/python" - "$folder" 2>/dev/null <<'PYTHON'
import json
import math
import random
import sys

import datasets
import pandas
from datasets import Dataset, load_dataset

folder = sys.argv[1]
numbers = random.Random(0)
logprobs = [math.log1p(-(10 ** -numbers.uniform(1, 12))) for _ in range(10_000)]  # of tokens of 0.9 to 1 - 1e-12
given = [0.7310585786300049, 3e-12, 3e-16, 1 - 3e-12, *logprobs]
rows = Dataset.from_dict({"p": given})


def back(name, write, kind):
    write(f"{folder}/{name}")
    return load_dataset(kind, data_files=f"{folder}/{name}", split="train")["p"][:]


def by_hand(path):
    with open(path, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


read = {
    "to_json": back("a.jsonl", rows.to_json, "json"),
    "to_json, double_precision=15": back("b.jsonl", lambda path: rows.to_json(path, double_precision=15), "json"),
    "Python's json": back("c.jsonl", by_hand, "json"),
    "to_parquet": back("d.parquet", rows.to_parquet, "parquet"),
}
print(f"datasets {datasets.__version__}, pandas {pandas.__version__}; written {given[:4]}")
changed, lost = {}, {}
for name, numbers in read.items():
    changed[name] = sum(a != b for a, b in zip(given, numbers, strict=True))
    lost[name] = sum(b == 0 for b in numbers[4:])
    print(f"{name:<30} {numbers[:4]}; changed {changed[name]} of {len(given)}, log-probabilities now 0: {lost[name]}")
exact = changed["Python's json"] == changed["to_parquet"] == 0 and 0.0 not in given
shown = read["to_json"][1:4] == [0.0, 3e-16, 1.0] and changed["to_json"] > 9_000 and lost["to_json"] > 1_000
sys.exit(not (exact and shown and changed["to_json, double_precision=15"] > 1_000))
PYTHON
