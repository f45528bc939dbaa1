"""`rlaif convert`: one preference format to another; and the prompts of a benchmark, for the contamination check.

The output is one file. Its manifest, with the counts, is called after it (`judgments.jsonl.manifest.json`): the folder
that it is put in may be another command's.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rlaif.config import UsageError, warn
from rlaif.files.manifest import write_manifest
from rlaif.formats.base import Tally
from rlaif.formats.files import read_source, write_output
from rlaif.formats.known import FORMATS, detect
from rlaif.records import Judgment

__all__ = ["FORMATS", "ConvertConfig", "convert", "detect"]


@dataclass
class ConvertConfig:
    """Rows of one preference format in, rows of another out."""

    source: str | None = field(
        default=None,
        metadata={
            "help": "A .jsonl, .json, .jsonl.gz or .parquet file, a datasets folder or Hub id, or the folder of `rlaif "
            "judge` or `rlaif build`."
        },
    )
    output: str | None = field(default=None, metadata={"help": "The file to write: .jsonl or .parquet."})
    source_format: str = field(
        default="auto",
        metadata={"help": "The source's format; 'auto' finds it by the columns.", "choices": ["auto", *FORMATS]},
    )
    format: str = field(
        default="pairs",
        metadata={
            "help": "The format to write; 'pairs' is what `rlaif judge --pairs` and `rlaif build --judgments` take.",
            "choices": [*FORMATS],
        },
    )
    split: str | None = field(default=None, metadata={"help": "Split of the source; all of them by default."})
    skip_malformed: bool = field(
        default=False, metadata={"help": "Leave out and count rows that cannot be read, instead of stopping at one."}
    )


def convert(config: ConvertConfig) -> dict[str, Any]:
    """Runs `rlaif convert`; writes the file and its manifest and returns the counts."""
    if not config.source or not config.output:
        raise UsageError("source and output must be set; expected --source SOURCE --output FILE.")
    output = Path(config.output)
    if output.suffix not in {".jsonl", ".parquet"}:
        raise ValueError(f"output is {config.output}; expected a file that ends in .jsonl or .parquet.")
    if output.exists() and output.resolve() == Path(config.source).resolve():
        raise ValueError(f"output is the source, {config.source}; expected another file.")
    for name in (config.format, config.source_format):
        if name not in FORMATS and name != "auto":
            raise ValueError(f"{name!r} is no known format; expected one of {', '.join(FORMATS)}.")
    counts = {"rows": 0, "judgments": 0, "ties": 0, "unjudged": 0, "soft": 0, "repeated": 0}
    splits: Counter[str] = Counter()
    tally = Tally(skip=config.skip_malformed)
    rows = _counted(read_source(config.source, config.split), counts, splits)
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{config.source} has no rows; expected at least one.")
    source = detect(first[1], first[0]) if config.source_format == "auto" else FORMATS[config.source_format]
    target = FORMATS[config.format]
    judgments = _checked(source.read(itertools.chain([first], rows), tally), counts)
    written = target.write(judgments, tally)
    start = next(written, None)
    if start is None:
        why = dict(tally.left_out) | ({"malformed": tally.malformed} if tally.malformed else {})
        raise ValueError(f"no row of {config.source} can be written as {target.name} ({why}); nothing written.")
    lines = write_output(output, itertools.chain([start], written))
    if tally.malformed:
        warn(f"{tally.malformed} rows could not be read and are left out; the first: {tally.first_malformed}")
    left_out = dict(tally.left_out) | ({"malformed": tally.malformed} if tally.malformed else {})
    report = {
        "source_format": source.name,
        "format": target.name,
        "splits": dict(splits),
        **counts,
        "malformed": tally.malformed,
        "left_out": dict(tally.left_out),
        "ledger": {
            "read": counts["judgments"] + tally.malformed,
            "used": counts["judgments"] - tally.left_out.total(),
            "left_out": left_out,
        },
        "written": lines,
        "not_carried": target.lost,
        "output": str(output),
    }
    name = f"{output.name}.manifest.json"
    write_manifest(output.parent, "rlaif convert", asdict(config), [config.source], name=name, report=report)
    return report


def _counted(
    rows: Iterator[tuple[str, str, Any]], counts: dict[str, int], splits: Counter[str]
) -> Iterator[tuple[str, Any]]:
    for split, where, row in rows:
        counts["rows"] += 1
        if split:
            splits[split] += 1
        yield where, row


def _checked(judgments: Iterator[Judgment], counts: dict[str, int]) -> Iterator[Judgment]:
    """The judgments, counted, with distinct ids: a repeated pair's is "...-2" the second time."""
    seen, times = set[str](), dict[str, int]()
    for judgment in judgments:
        counts["judgments"] += 1
        counts["ties"] += judgment.z == 0.5
        counts["unjudged"] += judgment.z is None
        counts["soft"] += judgment.z not in (None, 0.0, 0.5, 1.0)
        identity = judgment.pair.id
        counts["repeated"] += identity in seen
        while judgment.pair.id in seen:
            times[identity] = times.get(identity, 1) + 1
            judgment = replace(judgment, pair=replace(judgment.pair, id=f"{identity}-{times[identity]}"))
        seen.add(judgment.pair.id)
        yield judgment
