"""What judging takes: peak memory and seconds of `rlaif judge` by the number of pairs, first and over a full store.

    python scripts/benchmark.py --pairs 10000 100000 1000000 --output runs/benchmark
    python scripts/benchmark.py --pairs 1000000 --beside ../older     # another checkout in the same run, for a ratio

The judge is a Python function that costs nothing ("the longer one"), so what is measured is the house itself: reading,
addresses, the store, reading of replies, the report with its intervals, writing. Each size is judged into an empty
folder, and then once more over the replies that it holds, with the same bytes in `judgments.jsonl`. Memory is the
kernel's count of the largest resident set (`rlaif.files.runs.measured`).
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif import config
from rlaif.files.ownership import begin
from rlaif.files.runs import aligned, measured
from rlaif.files.sources import write_json, write_jsonl

JUDGE = ["--judge", "scripted", "--judge_model", "rlaif.judges.scripted:longer"]  # a name that every version knows


@dataclass
class BenchmarkConfig:
    """How many pairs, and where."""

    pairs: list[int] = field(default_factory=lambda: [10_000, 100_000], metadata={"help": "Numbers of pairs."})
    output: str = field(default="runs/benchmark", metadata={"help": "Folder; emptied first."})
    beside: str | None = field(
        default=None, metadata={"help": "Another checkout of rlaif, measured in turn with this."}
    )


def pair(number: int) -> dict[str, Any]:
    """A made-up pair: about 200 bytes, with a label."""
    return {
        "id": str(number),
        "prompt": f"Question {number}: what is {number} plus {number}?",
        "response_a": f"It is {2 * number}." + " Indeed." * (number % 7),
        "response_b": f"No idea about {number}." + " Sorry." * (number % 5),
        "label": "ab"[number % 2],
    }


def judged(code: Path, pairs: Path, folder: Path, log: Path) -> dict[str, Any]:
    """One run of `rlaif judge` with the code of a checkout: MiB at most, seconds, and a hash of what it wrote."""
    program = f"import sys; sys.path.insert(0, {str(code.resolve())!r}); from rlaif.cli import main; main()"
    words = [sys.executable, "-c", program, "judge", "--pairs", str(pairs.resolve()), *JUDGE]
    start = time.perf_counter()
    peak = measured([*words, "--output", str(folder.resolve())], log, 1)
    seconds = time.perf_counter() - start
    digest = hashlib.sha256((folder / "judgments.jsonl").read_bytes()).hexdigest()[:16]
    return {"mib": round(peak / 2**20, 1), "seconds": round(seconds, 1), "judgments": digest}


def measure(settings: BenchmarkConfig) -> dict[str, Any]:
    """All runs, the checkouts in turn; the report."""
    output = Path(settings.output)
    begin(output, "scripts/benchmark.py", empty=True)
    checkouts = {"here": Path(__file__).resolve().parent.parent}
    if settings.beside:
        checkouts["beside"] = Path(settings.beside)
    rows = []
    for count in settings.pairs:
        source = output / f"pairs-{count}.jsonl"
        write_jsonl(source, map(pair, range(count)))
        for run in ("first", "again"):
            for name, code in checkouts.items():
                folder = output / f"{name}-{count}"
                row = judged(code, source, folder, output / f"{name}-{count}-{run}.log")
                rows.append({"pairs": count, "run": run, "code": name, **row})
                print(json.dumps(rows[-1]), flush=True)
    return {"rows": rows}


def main() -> None:
    """Measures, writes report.json and prints a table."""
    (settings,) = config.parse(BenchmarkConfig, description=__doc__)
    if any(count < 1 for count in settings.pairs):
        raise config.UsageError(f"pairs is {settings.pairs}; expected numbers of at least 1.")
    report = measure(settings)
    write_json(Path(settings.output) / "report.json", report)
    head = ["pairs", "run", "code", "peak MiB", "seconds"]
    cells = [[str(row[key]) for key in ("pairs", "run", "code", "mib", "seconds")] for row in report["rows"]]
    print("\n".join(aligned([head, *cells])))


if __name__ == "__main__":
    config.run(main)
