"""Real verdicts: GPT-4's recorded ones on LLMBar, served over HTTP, with faults and kills; six judges' own texts.

Needs RLAIF_DATA, the folder of llmbar.jsonl, and `tools/recorded_judge.py` beside it. Zeng et al. (2310.07641) report
95.5 % accuracy and 95.0 % agreement between the orders for GPT-4 with the Vanilla prompt on Natural.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import forks, here, rows_of, wait_until, write_rows
from support.readings import parse_verdict

from rlaif.files.store import Store
from rlaif.judging.verdicts import TIE

DATA = os.environ.get("RLAIF_DATA")
TOOL = Path(DATA or ".").resolve().parent / "tools" / "recorded_judge.py"
pytestmark = [
    pytest.mark.skipif(DATA is None, reason="RLAIF_DATA is not set: it names the folder of llmbar.jsonl"),
    pytest.mark.skipif(DATA is not None and not TOOL.is_file(), reason=f"there is no {TOOL}"),
]


@contextmanager
def recorded_judge(*arguments: object) -> Iterator[str]:
    """The address of a server of the recorded verdicts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(TOOL), "--port", str(port), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "recorded judge on" in process.stdout.readline()
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.communicate(timeout=10)


def command(url: str, pairs: Path, output: Path, *more: object) -> list[object]:
    # The server comes back at another port: under this name its replies are still its own.
    judge = ["--judge", "api", "--judge_model", "GPT-4/Vanilla/1,2", "--base_url", url, "--served_as", "gpt-4"]
    return ["judge", "--pairs", pairs, *judge, "--output", output, *more]


def stored(folder: Path) -> int:
    """How many replies a run's store holds so far."""
    with Store(folder) as store:
        return len(store)


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats") as answer:
        return dict(json.loads(answer.read()))


def test_gpt_4_on_llmbar_with_faults_and_kills(tmp_path: Path) -> None:
    natural = [row for row in rows_of(Path(DATA or "") / "llmbar.jsonl") if row["subset"] == "Natural"]
    assert len(natural) == 100
    pairs = write_rows(tmp_path / "natural.jsonl", natural)

    with recorded_judge() as url:
        done = here(*command(url, pairs, tmp_path / "calm"))
        assert done.returncode == 0, done.stderr
        assert stats(url)["answered"] == 200
    report = json.loads((tmp_path / "calm" / "report.json").read_text())
    assert report["unjudged"] == 0
    assert report["agreement"] == pytest.approx(0.955)
    assert report["agreement_single_order"] == pytest.approx(0.955)
    assert report["order_consistency"] == pytest.approx(0.95)

    rng = random.Random(0)
    with recorded_judge("--fault-rate", 0.3, "--max-in-flight", 16, "--latency-ms", 20) as url:
        faulty = command(url, pairs, tmp_path / "faulty", "--concurrency", 24)
        in_flight = 0
        for goal in (40, 110):
            process = forks.start(*faulty)
            wait_until(lambda goal=goal: stored(tmp_path / "faulty") >= goal, 60)
            time.sleep(rng.uniform(0, 0.05))
            assert process.poll() is None, "it finished before it could be killed"
            process.kill()
            process.wait()
            in_flight += 24
        done = here(*faulty)
        assert done.returncode == 0, done.stderr
        served = stats(url)

    # A fault may be an answer without a verdict. It is asked for again, under an address of its own: the vote names it.
    calm, judged = (rows_of(tmp_path / name / "judgments.jsonl") for name in ("calm", "faulty"))
    for row in [*calm, *judged]:
        assert len(row.pop("vote_keys")) == 2
    assert judged == calm
    rows = [row for path in (tmp_path / "faulty" / "replies").iterdir() for row in rows_of(path)]
    assert len(rows) == len({row["key"] for row in rows})  # none paid for twice
    replies = {row["key"]: row for row in rows}
    votes = rows_of(tmp_path / "faulty" / "votes.jsonl")
    assert len(votes) == 200  # none lost
    assert [replies.pop(vote["key"])["text"] for vote in votes] == [vote["text"] for vote in votes]
    assert {row["text"] for row in replies.values()} == {"I would rather not say."}
    assert served["faults"] > 30
    assert 200 <= served["answered"] <= 200 + in_flight


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_the_raw_texts_of_six_judges(every: int) -> None:
    """What is read of them, and what otherwise than by their authors, whose expression tries "(a)" first; -s: a table.

    The 158 distinct differences were looked at one by one: in 142 the authors are wrong, and 16 are left unread here (3
    decide nothing, 2 say of both outputs that they are better, 11 hold a verdict that caution leaves).
    """
    path = Path(DATA or "") / "judge_texts_llmbar.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in itertools.islice(file, None, None, every)]
    read = {text: parse_verdict(text, ("Output (a)", "Output (b)")) for text in {row["text"] for row in rows}}
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in rows:
        verdict, authors = read[row["text"]], {"(a)": 0, "(b)": 1}.get(row["authors_verdict"])
        for key in ((row["strategy"], row["judge"]), (row["strategy"], "all"), ("all", "all")):
            counts[key][0] += 1
            counts[key][1] += not row["text"].strip()
            counts[key][2] += verdict is not None
            counts[key][3] += verdict is not None and verdict != authors
    print("\n| strategy | judge | texts | empty | read | read otherwise than the authors |\n|---|---|---|---|---|---|")
    for (strategy, judge), (texts, empty, known, other) in sorted(counts.items()):
        print(f"| {strategy} | {judge} | {texts} | {empty} | {known} ({known / texts:.2%}) | {other} |")

    reasoned = {"CoT", "Swap", "Swap_CoT"}
    short = [
        count for (strategy, judge), count in counts.items() if judge == "all" and strategy not in {*reasoned, "all"}
    ]
    asked, answered = sum(texts - empty for texts, empty, _, _ in short), sum(count[2] for count in short)
    assert answered / asked > 0.999
    texts, empty, known, _ = counts["all", "all"]
    assert known / (texts - empty) > 0.998

    # Where a text says once, or always, "Output (x) is better", nothing else is read.
    for text, verdict in read.items():
        said = set(re.findall(r"Output \(([ab])\) is (?:the )?better", text))
        denied = re.search(r"\b(?:nor|not|or|that|if|whether)\b[^.]{0,20}Output \([ab]\) is better", text)
        if len(said) == 1 and not denied:
            assert verdict in ("ab".index(said.pop()), None), text
    assert sum(verdict == TIE for verdict in read.values()) <= 3  # "neither output is better", and the like
