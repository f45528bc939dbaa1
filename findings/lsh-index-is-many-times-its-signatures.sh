#!/usr/bin/env bash
# Guess, written down before: a MinHashLSH of 100,000 keys takes about twice its signatures, 100 to 250 MB: it holds their
# places once, in bands, and the keys. (The signatures are 128 numbers of 4 bytes, 512 bytes a key, 51 MB in all.)
# Seen (datasketch 2.0.0, numpy 2.4.6, CPython 3.11): 530 MB at threshold 0.7, 900 MB at 0.5, which are 10 and 18 times
# the signatures (and these are not kept). Nearly every key is alone in its bucket, and a bucket is a Python set of 216
# bytes with a bytes object and a place in a dictionary, in each band: about 370 bytes a key and band, whatever it
# holds. So the lower the threshold the more bands and the more memory. Shorter signatures fare no better: of 64 places
# the index at 0.5 is 20 times as large.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datasketch==2.0.0 numpy==2.4.6 psutil==7.2.2
cat >"$folder/measure.py" <<'PYTHON'
"""Prints how many bytes an index of `keys` random signatures took, and its bands, for a threshold and a size."""

import sys

import numpy as np
import psutil
from datasketch import MinHash, MinHashLSH

threshold, places, keys = float(sys.argv[1]), int(sys.argv[2]), 100_000
random, signature = np.random.default_rng(0), MinHash(num_perm=places)
assert signature.hashvalues.nbytes == 4 * places
index = MinHashLSH(threshold=threshold, num_perm=places)
before = psutil.Process().memory_info().rss
for key in range(keys):
    signature.hashvalues = random.integers(0, 2**32, places, dtype=np.uint32)
    index.insert(key, signature)
print(psutil.Process().memory_info().rss - before, index.b)
PYTHON
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import subprocess
import sys
from importlib.metadata import version

print(f"datasketch {version('datasketch')}, numpy {version('numpy')}; 100,000 keys")
times, a_band = {}, {}
for case in ((0.9, 128), (0.7, 128), (0.5, 128), (0.5, 64)):
    threshold, places = case
    command = [sys.executable, f"{sys.argv[1]}/measure.py", str(threshold), str(places)]
    taken, bands = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    times[case], a_band[case] = taken / (400_000 * places), taken / (100_000 * bands)
    print(
        f"threshold {threshold}, {places} places: {taken / 1e6:.0f} MB in {bands} bands, {times[case]:.1f} times "
        f"the signatures, {a_band[case]:.0f} bytes a key and band"
    )
many = 8 < times[0.7, 128] < 13 and 14 < times[0.5, 128] < 22 and times[0.5, 64] > 14
sys.exit(not (many and all(300 < size < 600 for size in a_band.values())))
PYTHON
