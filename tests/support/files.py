"""Rows to judge or train on, and files of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def some_pairs(count: int) -> list[dict[str, Any]]:
    """Pairs of different lengths, their labels known."""
    return [
        {
            "prompt": f"Question {i}: what is {i} plus {i}?",
            "response_a": f"It is {2 * i}." + " Indeed." * (i % 7),
            "response_b": f"No idea about {i}." + " Sorry." * (i % 5),
            "label": "ab"[i % 2],
        }
        for i in range(count)
    ]
