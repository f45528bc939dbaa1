"""A preference dataset of a given size built, checked and written: seconds of each stage and the peak memory.

    python scripts/measure_publish.py --rows 1000000 --output runs/measure_publish

The rows are made up (words drawn with Zipf's frequencies; prompts of about 50 words, responses of about 100, votes in
both orders), with known numbers of rows planted that each check must find; the script fails where one does not. Memory
is the resident memory of a command and its worker processes together, looked at ten times a second, so that a page that
two of them share is counted twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from rlaif import config
from rlaif.files.index import Index
from rlaif.files.ownership import begin
from rlaif.files.sources import write_json, write_jsonl
from rlaif.records import content_hash

PLANTED = {"secrets": 40, "personal": 40, "near_duplicates": 200, "duplicates": 100, "contradictions": 50}
EVERY = 0.1  # seconds between two looks at the memory


@dataclass
class MeasureConfig:
    """How many rows, and where."""

    rows: int = field(default=1_000_000, metadata={"help": "Judged pairs; two votes each."})
    output: str = field(default="runs/measure_publish", metadata={"help": "Folder; emptied first."})
    seed: int = field(default=0, metadata={"help": "Of the texts."})
    processes: int = field(default=0, metadata={"help": "Processes that check; 0 for one a core."})


class Words:
    """Made-up texts: 30,000 words, the r-th drawn with a frequency of 1 / (r + 10)."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        syllables = np.array([a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "is")])
        words = {"".join(self.rng.choice(syllables, self.rng.integers(1, 4))) for _ in range(60_000)}
        self.words = np.array(sorted(words))[:30_000]
        self.rng.shuffle(self.words)
        weight = 1.0 / (np.arange(len(self.words)) + 10.0)
        self.cumulative = np.cumsum(weight / weight.sum())

    def texts(self, count: int, mean: int) -> list[str]:
        """`count` texts, their numbers of words spread around `mean`."""
        lengths = np.maximum(self.rng.gamma(6.0, mean / 6.0, count).astype(int), 5)
        drawn = self.words[np.searchsorted(self.cumulative, self.rng.random(lengths.sum()))]
        return [" ".join(part) + "." for part in np.split(drawn, np.cumsum(lengths)[:-1])]


def rows(settings: MeasureConfig) -> Iterator[dict[str, Any]]:
    """The judgments; the planted rows stand after the first thousand."""
    words = Words(settings.seed)
    first: list[dict[str, Any]] = []
    planted = sum(PLANTED.values())
    for start in range(0, settings.rows - planted, 1_000):
        size = min(1_000, settings.rows - planted - start)
        prompts, a, b = words.texts(size, 50), words.texts(size, 100), words.texts(size, 100)
        block = [row(p, x, y, round(z, 6)) for p, x, y, z in zip(prompts, a, b, words.rng.random(size), strict=True)]
        yield from block
        if not first:
            first = block
            yield from plant(first)


def row(prompt: str, a: str, b: str, z: float) -> dict[str, Any]:
    """A judgment as `rlaif judge` writes it."""
    identity = content_hash(prompt, a, b)[:16]
    own = {"id": identity, "prompt": prompt, "response_a": a, "response_b": b, "model_a": "first", "model_b": "second"}
    orders = {"z": z, "reason": None, "z_ab": z, "z_ba": z, "votes": 2, "readable": 2}
    keys = [content_hash(identity, order) for order in ("ab", "ba")]
    return {**own, **orders, "judge": "made-up", "template": "made-up", "flags": [], "vote_keys": keys}


def plant(first: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows that the checks must find, made of the first ones: PLANTED of each kind, no two of one row."""
    sources = iter(first)
    for kind, count in PLANTED.items():
        for at in range(count):
            old = next(sources)
            prompt, a, b, z = old["prompt"], old["response_a"], old["response_b"], old["z"]
            if kind == "secrets":
                yield row(f"{prompt} {at}", f"{a[::-1]} ghp_{content_hash(at)}{content_hash(at)[:4]}", b, z)
            elif kind == "personal":
                yield row(f"{prompt} {at}", a[::-1], f"{b} Write to someone{at}@mailbox.org today.", z)
            elif kind == "near_duplicates":
                yield row(f"{prompt} please", f"{a} Indeed so.", b.capitalize(), z)
            elif kind == "duplicates":
                yield {**old, "id": f"again-{at}"}
            else:
                yield {**old, "id": f"opposite-{at}", "z": round(1.0 - z, 6)}


def write_inputs(settings: MeasureConfig, folder: Path) -> None:
    """judged/judgments.jsonl, judged/votes.jsonl, judged/replies/ and judged/manifest.json."""
    judged = folder / "judged"
    (judged / "replies").mkdir(parents=True)
    seen = Index()
    with (
        (judged / "votes.jsonl").open("w", encoding="utf-8") as votes,
        (judged / "replies" / "made-up.jsonl").open("w", encoding="utf-8") as replies,
    ):

        def all_rows() -> Iterator[dict[str, Any]]:
            usage = {"prompt_tokens": 400, "completion_tokens": 1}
            for judgment in rows(settings):
                for order, key in zip(("ab", "ba"), judgment["vote_keys"], strict=True):
                    z = judgment["z"]
                    vote = {"key": key, "pair_id": judgment["id"]}
                    vote |= {"judge": "made-up", "template": "made-up", "order": order, "sample": 0}
                    vote |= {"p_first": z if order == "ab" else round(1.0 - z, 6), "method": "logprobs", "mass": 0.99}
                    votes.write(json.dumps({**vote, "usage": usage}) + "\n")
                    if seen.setdefault(bytes.fromhex(key), 0) is None:  # pairs of equal content share it
                        reply = {"key": key, "logps": [-0.7, -0.7], "finish": "stop", "usage": usage, "seconds": 0.1}
                        replies.write(json.dumps(reply) + "\n")
                yield judgment

        write_jsonl(judged / "judgments.jsonl", all_rows())
    write_json(judged / "manifest.json", {"command": "rlaif judge", "config": {"judge_model": "made-up"}})


def measured(words: Sequence[str]) -> tuple[float, int]:
    """Runs a command: its seconds, and the largest resident memory of it and its children together, in bytes."""
    start, peak = time.monotonic(), 0
    with psutil.Popen([sys.executable, "-m", "rlaif", *words], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, resident(process))
            time.sleep(EVERY)
    if process.returncode != 0:
        raise ValueError(f"`rlaif {words[0]}` ended with status {process.returncode}; its own line says why.")
    return time.monotonic() - start, peak


def resident(process: psutil.Process) -> int:
    """The resident memory of a process and its children, in bytes; 0 for those that just ended."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> None:
    (settings,) = config.parse(MeasureConfig, description=__doc__)
    if settings.rows < 2_000:
        raise config.UsageError(f"rows is {settings.rows}; expected at least 2000, so that the planted rows fit.")
    folder = Path(settings.output)
    begin(folder, "scripts/measure_publish.py", empty=True)
    start = time.monotonic()
    write_inputs(settings, folder)
    print(f"{settings.rows:,} judged pairs made up in {time.monotonic() - start:.0f} s", flush=True)
    build = ["build", "--judgments", f"{folder}/judged", "--output", f"{folder}/preferences"]
    publish = ["publish", "--preferences", f"{folder}/preferences", "--output", f"{folder}/published"]
    publish += ["--license", "cc0-1.0", "--secrets", "report", "--personal", "report", "--duplicates", "report"]
    publish += ["--split_prompts", "report", "--processes", str(settings.processes)]
    report: dict[str, Any] = {"rows": settings.rows, "stages": {}}
    for name, words in (("build", build), ("publish", publish)):
        seconds, peak = measured(words)
        report["stages"][name] = {"seconds": round(seconds, 1), "peak_bytes": peak}
        print(f"{name:8s} {seconds:7.0f} s   peak {peak / 2**30:.2f} GiB", flush=True)
    checks = json.loads((folder / "published" / "report.json").read_text(encoding="utf-8"))
    own = json.loads((folder / "published" / ".rlaif" / "report.json").read_text(encoding="utf-8"))
    report["publish_seconds"] = own["seconds"]
    for stage, seconds in own["seconds"].items():
        print(f"  {stage:15s} {seconds:7.1f} s", flush=True)
    # Of a contradiction both rows are flagged.
    expected = {name: count * (2 if name == "contradictions" else 1) for name, count in PLANTED.items()}
    report["found"] = {name: checks["checks"][name]["rows"] for name in expected}
    write_json(folder / "report.json", report)
    for name, count in expected.items():
        print(f"  {name:15s} {report['found'][name]:6d} rows found, {count} planted", flush=True)
    if report["found"] != expected:
        raise ValueError(f"found were {report['found']}, planted {expected}.")


if __name__ == "__main__":
    config.run(main)
