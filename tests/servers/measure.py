"""What a server makes of our questions: its log-probabilities, its settings, and its samples, beside a local model's.

    PYTHONPATH=tests python tests/servers/measure.py [NAME ...]     the table, one row a server; all take 20 minutes

Each server is started twice: with the sandbox's judge behind it, for 100 pairs in both orders (`rlaif judge`), and with
the sandbox's policy, for two answers to each of 150 prompts (`rlaif sample`). A row of numbers stands in `Row`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from real_servers import KINDS, Server, running, version
from support import rlaif

from rlaif.judging.sampling import Sampling, api_policy, complete, local_policy
from rlaif.sandbox.world import gold_reward, prompts

MODELS = Path(__file__).resolve().parents[2] / "rlaif" / "sandbox" / "models"
PAIRS = 100
PROMPTS = 150
TOKENS = 40
LONG = "bring beans " * 2000  # four times the judge's context
# A value that is felt, and the temperature at which it is: the likeliest token alone, or another greedy answer.
FELT = {
    "top_k": (1, 1.0),
    "top_p": (1e-6, 1.0),
    "min_p": (1.0, 1.0),
    "typical_p": (1e-6, 1.0),
    "repeat_penalty": (8.0, 0.0),
    "repetition_penalty": (8.0, 0.0),
    "presence_penalty": (2.0, 0.0),
}


@dataclass
class Row:
    """One server.

    Attributes:
        owned_by, server_header, fingerprint: what it says that it is.
        listed: the alternatives that it lists where 20 are asked for; 0 where it lists none.
        end_listed: how the end of the answer stands among them.
        methods: how the judge's votes were read.
        unjudged: pairs without a z.
        z, p: the largest difference from the local judge: of a pair's z, and of a vote.
        agreed: votes on the local judge's side, whatever their size.
        served: what the manifest says of the server.
        settings: "felt", "no notice taken" or the words of its refusal, by name.
        too_long: why a pair whose question is longer than the context is unjudged; empty where it was judged.
        others_judged: pairs judged beside it, of 2.
        samples: whether two answers to a question at temperature 1 differ.
        greedy: answers at temperature 0 that are the local policy's, of 50.
        gold_local, gold_plain, gold_sampled: mean gold reward of the local policy's answers, of the server's where
            nothing but the temperature is said, and of `rlaif sample`'s; None where it formed no pairs.
        gold_error: standard error of the difference of two of them.
        said: the lines that `rlaif judge` and `rlaif sample` wrote.
    """

    name: str
    title: str
    version: str
    owned_by: str = ""
    server_header: str = ""
    fingerprint: str = ""
    listed: int = 0
    end_listed: str = ""
    methods: dict[str, int] = field(default_factory=dict)
    unjudged: int = 0
    z: float = math.nan
    p: float = math.nan
    agreed: int = 0
    served: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    too_long: str = ""
    others_judged: int = 0
    samples: bool = False
    greedy: int = 0
    gold_local: float = math.nan
    gold_plain: float = math.nan
    gold_sampled: float | None = None
    gold_error: float = math.nan
    said: list[str] = field(default_factory=list)


def measure(name: str, folder: Path) -> Row:
    """Starts the server `name` and fills its row; files stand in `folder`."""
    kind = KINDS[name]
    row = Row(name, kind.title, version(kind))
    with running(kind, MODELS / "judge", folder / "judge") as server:
        _introduce(server, row)
        _list(server, row)
        _judge(server, row, folder)
        _judge_long(server, row, folder)
    with running(kind, MODELS / "policy", folder / "policy") as server:
        _settings(server, row)
        _sample(server, row, folder)
    return row


def shared(folder: Path) -> Path:
    """The folder with what all servers are compared with: pairs, prompts, and the local judge's judgments."""
    ours = folder / "local"
    if not (ours / "judged" / "judgments.jsonl").exists():
        _write(ours / "prompts.jsonl", [{"prompt": prompt} for prompt in prompts(PROMPTS, 7)])
        _run(
            *("sample", "--prompts", ours / "prompts.jsonl", "--policy", MODELS / "policy"),
            *("--max_new_tokens", TOKENS, "--output", ours / "sampled"),
        )
        pairs = _rows(ours / "sampled" / "pairs.jsonl")[:PAIRS]
        _write(ours / "pairs.jsonl", pairs)
        _run(
            *("judge", "--pairs", ours / "pairs.jsonl", "--judge_model", MODELS / "judge"),
            *("--template", "compact", "--output", ours / "judged"),
        )
    return ours


@cache
def question() -> str:
    """A question that the judge is sure of, in the words of the template `compact`."""
    return (
        "Send knife and cheese before noon.\n\nResponse 1: Here are knife and cheese.\n\n"
        "Response 2: I bring beans.\n\nBetter response:"
    )


def _introduce(server: Server, row: Row) -> None:
    _, headers, models = server.call("GET", "/v1/models")
    row.server_header = headers.get("server", "")
    row.owned_by = models["data"][0].get("owned_by", "")
    _, _, answered = server.ask(question(), max_tokens=4, temperature=0)
    row.fingerprint = answered.get("system_fingerprint") or ""


def _list(server: Server, row: Row) -> None:
    _, _, answered = server.ask(question(), max_tokens=4, temperature=0, logprobs=True, top_logprobs=20)
    places = ((answered["choices"][0].get("logprobs") or {}).get("content")) or []
    row.listed = len(places[0]["top_logprobs"]) if places else 0
    ends = [entry["token"] for place in places for entry in place["top_logprobs"] if entry["token"] in ("", "<|end|>")]
    last = bool(places) and places[-1]["token"] in ("", "<|end|>")
    row.end_listed = (repr(ends[0]) if ends else "") + (", a place of its own" if last else "")


def _judge(server: Server, row: Row, folder: Path) -> None:
    local, ours = shared(folder.parent), folder / "judged"
    done = _run(
        *("judge", "--pairs", local / "pairs.jsonl", "--judge", "api", "--judge_model", server.model),
        *("--base_url", server.url, "--template", "compact", "--output", ours),
    )
    row.said += done
    row.served = json.loads((ours / "manifest.json").read_text("utf-8")).get("served", {}).get(server.model, {})
    judged, expected = ({r["id"]: r["z"] for r in _rows(f / "judgments.jsonl")} for f in (ours, local / "judged"))
    row.unjudged = sum(z is None for z in judged.values())
    row.z = max((abs(z - expected[key]) for key, z in judged.items() if z is not None), default=math.nan)
    votes, wanted = (
        {(vote["pair_id"], vote["order"]): vote for vote in _rows(f / "votes.jsonl")} for f in (ours, local / "judged")
    )
    row.methods = dict(Counter(str(vote.get("method")) for vote in votes.values()))
    both = [(vote["p_first"], wanted[key]["p_first"]) for key, vote in votes.items() if vote["p_first"] is not None]
    row.p = max((abs(p - q) for p, q in both), default=math.nan)
    row.agreed = sum((p > 0.5) == (q > 0.5) for p, q in both)


def _judge_long(server: Server, row: Row, folder: Path) -> None:
    pairs = _rows(shared(folder.parent) / "pairs.jsonl")[:2]
    long = {"id": "long", "prompt": LONG, "response_a": "I bring beans.", "response_b": "I bring none."}
    _write(folder / "long.jsonl", [pairs[0], long, pairs[1]])
    done = rlaif(
        *("judge", "--pairs", folder / "long.jsonl", "--judge", "api", "--judge_model", server.model),
        *("--base_url", server.url, "--template", "compact", "--output", folder / "long"),
    )
    if done.returncode:
        raise RuntimeError(f"a question that is too long ended the run: {done.stderr[-800:]}")
    judged = {judgment["id"]: judgment for judgment in _rows(folder / "long" / "judgments.jsonl")}
    row.too_long = judged.pop("long")["reason"] or ""
    row.others_judged = sum(judgment["z"] is not None for judgment in judged.values())


def _settings(server: Server, row: Row) -> None:
    asked = prompts(8, 11)
    plain = {temperature: [_text(server.ask(p, **_said(temperature))) for p in asked] for temperature in (0.0, 1.0)}
    again = [_text(server.ask(p, **_said(1.0))) for p in asked]
    row.samples = plain[1.0] != again
    for name, (value, temperature) in FELT.items():
        answers = [server.ask(p, **_said(temperature), **{name: value}) for p in asked]
        refused = next((answered for status, _, answered in answers if status != 200), None)
        if refused is not None:
            row.settings[name] = f"refused: {_words(refused)}"
            continue
        texts = list(map(_text, answers))
        if temperature:
            repeated = [_text(server.ask(p, **_said(temperature), **{name: value})) for p in asked]
            felt = texts == repeated
        else:
            felt = texts != plain[0.0]
        row.settings[name] = ("felt" if felt else "no notice taken") if row.samples or not temperature else "not known"


def _sample(server: Server, row: Row, folder: Path) -> None:
    local = shared(folder.parent)
    asked = [r["prompt"] for r in _rows(local / "prompts.jsonl")]
    ours = _gold_of_pairs(local / "sampled" / "pairs.jsonl")
    row.gold_local = _mean(ours)

    few = asked[:50]
    policies = local_policy(str(MODELS / "policy")), api_policy(server.model, server.url)
    greedy = [complete(Sampling(policy, 1, TOKENS, 0.0), few, None, "greedy") for policy in policies]
    row.greedy = sum(a[0].text == b[0].text for a, b in zip(*greedy, strict=True))

    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda p: _text(server.ask(p, **_said(1.0))), [p for p in asked for _ in range(2)]))
    plain = [gold_reward(asked[place // 2], text) for place, text in enumerate(texts)]
    row.gold_plain = _mean(plain)
    row.gold_error = math.sqrt(_variance(ours) / len(ours) + _variance(plain) / len(plain))

    done = rlaif(
        *("sample", "--prompts", local / "prompts.jsonl", "--policy", server.model, "--base_url", server.url),
        *("--max_new_tokens", TOKENS, "--output", folder / "sampled"),
        timeout=600,
    )
    row.said += _lines(done.stderr)
    if done.returncode == 0:
        row.gold_sampled = _mean(_gold_of_pairs(folder / "sampled" / "pairs.jsonl"))


def _said(temperature: float) -> dict[str, Any]:
    return {"temperature": temperature, "max_tokens": TOKENS}


def _gold_of_pairs(path: Path) -> list[float]:
    return [gold_reward(r["prompt"], r[side]) for r in _rows(path) for side in ("response_a", "response_b")]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    return sum((value - _mean(values)) ** 2 for value in values) / (len(values) - 1)


def _text(answered: tuple[int, dict[str, str], dict[str, Any]]) -> str:
    status, _, body = answered
    if status != 200:
        raise RuntimeError(f"status {status}: {_words(body)}")
    return str(body["choices"][0]["message"]["content"])


def _words(body: dict[str, Any]) -> str:
    error = body.get("error", body.get("detail", body.get("text")))
    words = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(words).split())[:160]


def _run(*arguments: object) -> list[str]:
    """The lines that `rlaif` wrote beside its progress."""
    done = rlaif(*arguments, timeout=600)
    if done.returncode:
        raise RuntimeError(f"rlaif {' '.join(map(str, arguments))} ended with {done.returncode}: {done.stderr[-800:]}")
    return _lines(done.stderr)


def _lines(stderr: str) -> list[str]:
    return [line for line in stderr.replace("\r", "\n").splitlines() if line.strip() and "%|" not in line]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("server", lambda row: f"{row.title} {row.version}"),
    ("says that it is", lambda row: ", ".join(filter(None, (row.owned_by, row.server_header, row.fingerprint)))),
    ("listed", lambda row: f"{row.listed}; end {row.end_listed}" if row.listed else "none"),
    ("votes read by", lambda row: ", ".join(f"{name} {count}" for name, count in sorted(row.methods.items()))),
    ("largest difference of z", lambda row: f"{row.z:.1g}"),
    ("left out", lambda row: ", ".join(row.served.get("left_out", {})) or "-"),
    ("sent so that it samples", lambda row: _settings_line(row.served.get("neutral", {}))),
    ("felt", lambda row: ", ".join(name for name, how in row.settings.items() if how == "felt") or "-"),
    ("refused", lambda row: ", ".join(name for name, how in row.settings.items() if how.startswith("ref")) or "-"),
    ("greedy as local, of 50", lambda row: str(row.greedy)),
    ("gold: local, plain, rlaif sample", lambda row: _golds(row)),
)


def _settings_line(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.items()) or "-"


def _golds(row: Row) -> str:
    sampled = "no pairs" if row.gold_sampled is None else f"{row.gold_sampled:.2f}"
    return f"{row.gold_local:.2f}, {row.gold_plain:.2f}, {sampled} (± {row.gold_error:.2f})"


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [[name for name, _ in COLUMNS], ["---"] * len(COLUMNS)]
    lines += [[show(row) for _, show in COLUMNS] for row in rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def main(names: Sequence[str]) -> None:
    """Measures the servers `names`, or all, and prints the table; the rows stand in rows.jsonl beside the files."""
    folder = Path(tempfile.mkdtemp(prefix="rlaif-servers-"))
    rows = []
    for name in names or KINDS:
        rows.append(measure(name, folder / name))
        with (folder / "rows.jsonl").open("a") as output:
            output.write(json.dumps(dataclasses.asdict(rows[-1])) + "\n")
        print(f"{name} done; files in {folder}", file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
