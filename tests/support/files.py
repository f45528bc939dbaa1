"""Rows to judge or train on, and files of them."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_pairs(*source: Any, **more: Any) -> list[Any]:
    """All pairs of a source, as `stream_pairs` gives them one by one."""
    from rlaif.files.sources import stream_pairs

    return list(stream_pairs(*source, **more))


def read_prompts(*source: Any, **more: Any) -> list[Any]:
    """The distinct prompts of a source, in order."""
    from rlaif.files.sources import distinct_placed, placed_prompt_rows

    return [row["prompt"] for row in distinct_placed(placed_prompt_rows(*source, **more)).rows]


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


@contextmanager
def room_for_files_of(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes: writes fail as on a full disk, everywhere, for any user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wrote, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # what is compiled meanwhile would be cut, and stay
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores the signal that goes with it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = wrote


def content(folder: Path) -> dict[str, str]:
    """Fingerprints of all files under a folder."""
    from rlaif.files.sources import fingerprint

    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): fingerprint(path) for path in files}
