"""`rlaif convert`: one preference format to another; and the prompts of a benchmark, for the contamination check.

    rlaif convert --source openbmb/UltraFeedback --format pairs --output pairs.jsonl

The output is one file. Its manifest, with the counts, is called after it (`judgments.jsonl.manifest.json`): the folder
that it is put in may be another command's.

Of the counts, `rows` is what was read; the ledger is of pairs, which one row may hold several of (each ranking of four
answers holds six), and of rows and responses that make no pair.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rlaif.config import UsageError
from rlaif.errors.words import counted, one_of
from rlaif.files.bad_rows import BadRows, on_bad_row
from rlaif.files.manifest import write_manifest
from rlaif.files.ownership import claim_file
from rlaif.files.pairs import joined
from rlaif.formats.base import Format, Tally
from rlaif.formats.files import check_splits, read_source, write_output
from rlaif.formats.known import FORMATS, detect, fitting
from rlaif.records import Judgment
from rlaif.settings.declared import described

__all__ = ["FORMATS", "SETTINGS", "ConvertConfig", "convert", "detect"]

READS = {"source": "rows"}

_VERDICTS = "; ".join(f"{f.name}: {', '.join(f.verdicts)}" for f in FORMATS.values() if f.verdicts)


@described(
    headings={"source": "conversion"},
    also={
        "source": ("input", "dataset", "dataset_name"),
        "output": ("output_dir",),
        "config_name": ("dataset_config",),
    },
)
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
            "choices": [name for name, known in FORMATS.items() if known.writes],
        },
    )
    split: str | None = field(
        default=None,
        metadata={
            "help": "Split of the source, where it has several; of a file, what its column `split` says. 'all' takes "
            "every one, with the column `source_split`; it is the default for what `rlaif build` wrote."
        },
    )
    config_name: str | None = field(default=None, metadata={"help": "Config of the source, where it has several."})
    verdict: str | None = field(
        default=None,
        metadata={
            "help": f"Which verdict of a row is z, where the source's format has several ({_VERDICTS}); by default the "
            "first."
        },
    )
    on_bad_row: str = on_bad_row()


SETTINGS = (ConvertConfig,)


def convert(config: ConvertConfig) -> dict[str, Any]:
    """Runs `rlaif convert`; writes the file and its manifest and returns the counts.

    Raises:
        ValueError: a setting, a row, or an output that `rlaif convert` did not write; no row is left.
    """
    if not config.source or not config.output:
        raise UsageError("source and output must be set; expected --source SOURCE --output FILE.")
    output = Path(config.output)
    if output.suffix not in {".jsonl", ".parquet"}:
        raise UsageError(f"output is {config.output}; expected a file that ends in .jsonl or .parquet.")
    for name in (config.format, config.source_format):
        if name not in FORMATS and name != "auto":
            raise UsageError(f"{name} is no known format; {one_of(name, FORMATS)}")
    target = FORMATS[config.format]
    if not target.writes:
        written = [known.name for known in FORMATS.values() if known.writes]
        raise UsageError(f"format is {target.name}, which is only read; expected one of {', '.join(written)}.")
    tally = Tally(bad=BadRows(config.on_bad_row))
    with claim_file(output, "rlaif convert", [config.source]):
        report = _convert(config, output, target, tally)
        tally.bad.write(output)
        name = f"{output.name}.manifest.json"
        write_manifest(output.parent, "rlaif convert", asdict(config), [config.source], name=name, report=report)
    return report


def _convert(config: ConvertConfig, output: Path, target: Format, tally: Tally) -> dict[str, Any]:
    """Writes the output and returns the counts."""
    assert config.source is not None
    counts = {"rows": 0, "judgments": 0, "ties": 0, "unjudged": 0, "soft": 0, "repeated": 0}
    splits: Counter[str] = Counter()
    split = check_splits(config.source, config.split, config.config_name)
    rows = _counted(read_source(config.source, split, config.config_name, tally.bad), counts, splits)
    auto = config.source_format == "auto"
    held = _first(_known(rows, tally.bad) if auto else rows)
    if not held:
        why = f" that can be read ({tally.bad.first})" if tally.bad.rows else ""
        raise ValueError(f"{config.source} has no rows{why}; expected at least one.")
    source = detect(held[-1][2], held[-1][1]) if auto else FORMATS[config.source_format]
    source = source.by(config.verdict)
    judgments = _checked(_read(source, itertools.chain(held, rows), split, tally), counts)
    written = target.write(judgments, tally)
    start = next(written, None)
    if start is None:
        why = counted(_left_out(tally))
        first_bad = f"; the first bad row: {tally.bad.first}" if tally.bad.rows else ""
        raise ValueError(
            f"no row of {config.source} can be written as {target.name} ({why}{first_bad}); nothing written."
        )
    lines = write_output(output, itertools.chain([start], written))
    used = counts["judgments"] - tally.left_out.total()
    return {
        "source_format": source.name,
        **({"verdict": source.verdict} if source.verdict else {}),
        "format": target.name,
        "splits": dict(splits),
        **counts,
        "bad_rows": len(tally.bad.rows),
        "left_out": _left_out(tally),
        "ledger": tally.bad.ledger(
            used + tally.left_out.total() + tally.unread.total(), used, tally.unread + tally.left_out
        ),
        "written": lines,
        "not_carried": target.not_carried,
        "output": str(output),
    }


def _left_out(tally: Tally) -> dict[str, int]:
    """Everything that is not in the output, by its reason."""
    return dict(tally.unread + tally.left_out + tally.bad.left_out)


_Placed = tuple[str, str, dict[str, Any]]  # a row behind its split and its place


def _known(rows: Iterator[_Placed], bad: BadRows) -> Iterator[_Placed]:
    """The rows from the first one that fits a format, where others may be left out."""
    for split, where, row in rows:
        if not bad.skip or fitting(row):
            yield split, where, row
        else:
            with bad.at(where):
                detect(row, "the row")


def _first(rows: Iterator[_Placed]) -> list[_Placed]:
    """The first rows, up to one that says by its responses which format it is: a null one is of any."""
    held: list[_Placed] = []
    for placed in itertools.islice(rows, 1_000):
        held.append(placed)
        if all(placed[2].get(side, "") is not None for side in ("chosen", "rejected")):
            break
    return held


def _read(source: Format, rows: Iterator[_Placed], split: str | None, tally: Tally) -> Iterator[Judgment]:
    """The judgments of each split by itself, with its name as `source_split` where several may be read."""
    for name, part in itertools.groupby(rows, key=lambda row: row[0]):
        for judgment in source.read(((where, row) for _, where, row in part), tally):
            if name and split is None:
                extra = joined({"source_split": name}, judgment.pair.extra)
                judgment = replace(judgment, pair=replace(judgment.pair, extra=extra))
            yield judgment


def _counted(rows: Iterator[_Placed], counts: dict[str, int], splits: Counter[str]) -> Iterator[_Placed]:
    for split, where, row in rows:
        counts["rows"] += 1
        if split:
            splits[split] += 1
        yield split, where, row


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
