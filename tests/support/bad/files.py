"""Files that cannot be read, and rows that cannot be used, for every command and program that reads rows."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

from support.bad import Bad, Content

DEEP = "[" * 200_000 + "]" * 200_000
COMMON = ("--per_device_train_batch_size", "2", "--save_strategy", "no", "--report_to", "none")
SMALL = (*COMMON, "--max_steps", "1")
PPO = (*COMMON, "--max_steps", "4", "--max_completion_length", "4")
LITTLE = ("--max_new_tokens", "4")
MODEL = ("--model", "@model", "--output_dir", "out")
TRAINING = (*MODEL, *SMALL)
GOLD = "rlaif.sandbox:gold_reward"

PROMPT = {"prompt": "Why?"}
PAIR = {"prompt": "Why?", "response_a": "Because.", "response_b": "No idea."}
JUDGED = {**PAIR, "z": 0.8}
PREFERRED = {"prompt": "Why?", "chosen": "Because.", "rejected": "No idea."}
RESPONSE = {"prompt": "Why?", "response": "Because."}
SHOWN = {"prompt": "Why?", "completion": "Because."}

# Command, its words up to the place of the source (or to its beginning, "a="), and a row that is right.
READERS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "sample": ("sample", ("--policy", "@model", "--output", "out", *LITTLE, "--prompts"), PROMPT),
    "judge": ("judge", ("--judge", "rlaif.models.function:longer", "--output", "out", "--pairs"), PAIR),
    "build": ("build", ("--output", "out", "--judgments"), JUDGED),
    "convert": ("convert", ("--output", "out.jsonl", "--source"), PAIR),
    "evaluate": (
        "evaluate",
        ("--policies", "a=@model", "--gold", GOLD, "--output", "out", *LITTLE, "--prompts"),
        PROMPT,
    ),
    "responses": ("evaluate", ("--prompts", "@prompts.jsonl", "--output", "out", "--policies", "a="), RESPONSE),
    "sft": ("recipes/sft.py", (*TRAINING, "--dataset"), SHOWN),
    "dpo": ("recipes/dpo.py", (*TRAINING, "--test_split", "none", "--dataset"), PREFERRED),
    "bradley_terry": ("reward_models/bradley_terry.py", (*TRAINING, "--test_split", "none", "--dataset"), PREFERRED),
    "ppo": (
        "recipes/ppo.py",
        (*MODEL, *PPO, "--rewards", f"function={GOLD}", "--prompts"),
        PROMPT,
    ),
    "best_of_n": (
        "recipes/best_of_n.py",
        (*MODEL, "--rewards", f"function={GOLD}", "--n", "2", *LITTLE, "--prompts"),
        PROMPT,
    ),
    "score": ("reward_models/score.py", ("--reward_model", "@reward", "--output", "out.jsonl", "--input"), PAIR),
}


def folder(path: Path, world: Path) -> None:
    path.mkdir()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def whole_files(row: dict[str, Any]) -> dict[str, tuple[str, Content | None, str]]:
    """Files of `row` that cannot be read: name, content, and what the line must name."""
    good = lines(*({**row, "number": i} for i in range(200)))
    return {
        "missing": ("bad.jsonl", None, r"bad\.jsonl does not exist"),
        "empty": ("bad.jsonl", b"", r"bad\.jsonl"),
        "blank lines": ("bad.jsonl", b"\n\n  \n", r"bad\.jsonl"),
        "an empty folder": ("bad", folder, r"\bbad\b"),
        "binary": ("bad.jsonl", bytes(range(256)) * 4, r"bad\.jsonl:1\b"),
        "gzip that is cut": ("bad.jsonl.gz", gzip.compress(good.encode(), mtime=0)[:-40], r"bad\.jsonl\.gz"),
        "no gzip": ("bad.jsonl.gz", good.encode(), r"bad\.jsonl\.gz"),
        "UTF-16": ("bad.jsonl", lines(row).encode("utf-16"), r"bad\.jsonl:1\b.*UTF-8"),
        "Latin-1": (
            "bad.jsonl",
            lines(row).encode() + b'{"prompt": "caf\xe9"}\n',
            r"bad\.jsonl:2\b.*UTF-8",
        ),
        "a line that is cut": ("bad.jsonl", lines(row, row)[:-9], r"bad\.jsonl:2\b.*JSON"),
        "a list on a line": ("bad.jsonl", lines(row, [row]), r"bad\.jsonl:2\b"),
        "nested too deep": ("bad.jsonl", f'{lines(row)}{{"prompt": {DEEP}}}\n', r"bad\.jsonl:2\b.*(deep|nest)"),
        "a JSON array nested too deep": ("bad.json", DEEP, r"bad\.json\b.*(deep|nest)"),
        "a JSON array of numbers": ("bad.json", "[1, 2]", r"bad\.json:1\b"),
        "no Parquet": ("bad.parquet", good.encode(), r"bad\.parquet"),
        "Parquet that is cut": ("bad.parquet", parquet([row] * 50)[:-30], r"bad\.parquet"),
        "another ending": ("bad.xlsx", good.encode(), r"bad\.xlsx"),
    }


MESSAGE = {"role": "user", "content": "Why?"}
ANSWER = {"role": "assistant", "content": "Because."}

# Prompts that are none: the value, and the path within the column at which it is wrong.
PROMPTS: dict[str, tuple[Any, str]] = {
    "null": (None, ""),
    "a number": (5, ""),
    "empty": ("", ""),
    "an empty list": ([], ""),
    "a list of texts": (["Why?"], "[0]"),
    "a message without content": ([{"role": "user"}], "[0].content"),
    "a message without a role": ([{"content": "Why?"}], "[0]"),
    "a message whose content is a number": ([MESSAGE, ANSWER, {"role": "user", "content": 5}], "[2].content"),
    "a message with an image": ([{"role": "user", "content": [{"type": "image", "url": "x"}]}], "[0].content[0]"),
    "a surrogate": ("Why \ud800?", ""),
    "a surrogate in a message": ([{"role": "user", "content": "Why \udfff?"}], "[0].content"),
    "messages beside text": ([MESSAGE], ""),
    "a message of an unknown role": ([{"role": "critic", "content": "Why?"}], "[0].role"),
    "ShareGPT's with a number": ([{"from": "human", "value": 5}], "[0].value"),
    "NaN": (float("nan"), ""),
}

TOOL_CALLS = [{"function": {"name": "f", "arguments": "{}"}}]
RESPONSES: dict[str, tuple[Any, str]] = {
    "null": (None, ""),
    "a number": (5, ""),
    "a mapping": ({"text": "Because."}, ""),
    "a message whose content is a number": ({"role": "assistant", "content": 5}, ".content"),
    "a surrogate": ("Because \ud83d.", ""),
    "tool calls": ([{"role": "assistant", "content": "", "tool_calls": TOOL_CALLS}], "[0]"),
}

# Columns beside those that a program reads, and those it knows by name; the path at which they are wrong.
BESIDE: dict[str, tuple[dict[str, Any], str]] = {
    "a surrogate beside": ({"source": "a\ud800"}, "source"),
    "NaN beside": ({"weight": float("nan")}, "weight"),
    "infinity deep beside": ({"meta": {"a": [1, float("inf")]}}, "meta.a[1]"),
    "tools beside": ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    "images beside": ({"images": ["x.png"]}, "images"),
    "turns beside": ({"history": [["Who?", "Me."]]}, "history"),
    "a system turn that is a number": ({"system": 5}, "system"),
}

NAMED: dict[str, dict[str, dict[str, Any]]] = {
    "judge": {
        "an unknown label": {"label": "c"},
        "a label that is a number": {"label": 7},
        "model_a is a number": {"model_a": 5},
        "model_b is a list": {"model_b": ["m"]},
        "an id that is a list": {"id": ["x"]},
        "an empty id": {"id": ""},
    },
    "build": {
        "z above 1": {"z": 1.5},
        "z below 0": {"z": -0.1},
        "z is NaN": {"z": float("nan")},
        "z is text": {"z": "0.8"},
        "z is true": {"z": True},
        "an unknown label": {"label": "c"},
        "model_a is a number": {"model_a": 5},
    },
    "convert": {"an unknown label": {"label": "c"}, "model_a is a number": {"model_a": 5}},
    "dpo": {"z above 1": {"z": 1.5}, "z is NaN": {"z": float("nan")}, "z is text": {"z": "0.8"}},
    "bradley_terry": {"z above 1": {"z": 1.5}, "z is NaN": {"z": float("nan")}, "z is text": {"z": "0.8"}},
    "sft": {"a completion that is blank": {"completion": " \n"}, "a completion that is empty": {"completion": ""}},
}


def rows_of_a_kind(reader: str) -> dict[str, tuple[list[dict[str, Any]], str]]:
    """Rows that cannot be used, behind one that can, and the column that is at fault, or the path within it."""
    row = READERS[reader][2]

    def without(column: str) -> dict[str, Any]:
        return {name: value for name, value in row.items() if name != column}

    sides = [name for name in row if name not in ("prompt", "z")]
    found = {"no prompt": ([row, without("prompt")], "prompt")}
    for kind, (prompt, path) in PROMPTS.items():
        found[f"the prompt is {kind}"] = ([row, {**row, "prompt": prompt}], f"prompt{path}")
    for side in sides:
        for kind, (response, path) in RESPONSES.items():
            found[f"{side} is {kind}"] = ([row, {**row, side: response}], f"{side}{path}")
    if sides:
        found[f"no {sides[-1]}"] = ([row, without(sides[-1])], sides[-1])
    for kind, (beside, path) in BESIDE.items():
        found[kind] = ([row, {**row, **beside}], path)
    for kind, named in NAMED.get(reader, {}).items():
        found[kind] = ([row, {**row, **named}], next(iter(named)))
    if reader in ("judge", "build"):
        found["an id twice"] = ([{**row, "id": "x"}, {**row, "id": "x", "prompt": "How?"}], "id")
    return {**found, **(demonstrations() if reader == "sft" else {})}


def demonstrations() -> dict[str, tuple[list[dict[str, Any]], str]]:
    """Rows of other shapes to learn from, with a fault in the second, and its path."""
    talk: dict[str, Any] = {"messages": [MESSAGE, ANSWER]}
    asked: dict[str, Any] = {"instruction": "Why?", "output": "Because."}
    human, gpt = {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}
    return {
        "messages are text": ([talk, {"messages": "Why?"}], "messages"),
        "a turn is text": ([talk, {"messages": [MESSAGE, ANSWER, "Why?"]}], "messages[2]"),
        "a turn is a number": ([talk, {"messages": [MESSAGE, {**ANSWER, "content": 5}]}], "messages[1].content"),
        "a turn of a critic": ([talk, {"messages": [{**MESSAGE, "role": "critic"}, ANSWER]}], "messages[0].role"),
        "a turn of a tool": (
            [{"conversations": [human, gpt]}, {"conversations": [{"from": "tool_call", "value": "f()"}, gpt]}],
            "conversations[0].from",
        ),
        "an instruction is a number": ([asked, {**asked, "instruction": 5}], "instruction"),
        "an input is a list": ([asked, {**asked, "input": ["x"]}], "input"),
        "an output is a mapping": ([asked, {**asked, "output": {"text": "x"}}], "output"),
        "a text is a list": ([{"text": "Because."}, {"text": ["Because."]}], "text"),
    }


def table() -> dict[str, Bad]:
    found: dict[str, Bad] = {}
    for reader, (command, words, row) in READERS.items():
        for kind, (name, content, names) in whole_files(row).items():
            files = {} if content is None else {name: content}
            found[f"{reader}: {kind}"] = Bad(command, reading(words, name), names, files, status=1)
        for kind, (rows, path) in rows_of_a_kind(reader).items():
            # Before what was expected, which may name columns too.
            names = rf"bad\.jsonl:2: ([^;]*[ '])?{re.escape(path)}(?![\w.\[])"
            there: dict[str, Content] = {"bad.jsonl": rows}
            found[f"{reader}: {kind}"] = Bad(command, reading(words, "bad.jsonl"), names, there, status=1)
    for kind in ("response is null", "the prompt is messages beside text"):
        del found[f"responses: {kind}"]  # none for this prompt; found by their turns
    return found


def reading(words: tuple[str, ...], source: str) -> tuple[str, ...]:
    """A command's words with their source."""
    return (*words[:-1], words[-1] + source) if words[-1].endswith("=") else (*words, source)
