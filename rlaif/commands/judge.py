"""`rlaif judge`: pairs -> votes -> judgments z."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from rlaif.config import warn
from rlaif.files.manifest import write_manifest
from rlaif.files.sources import read_pairs, write_jsonl
from rlaif.judging.annotate import Annotation, judge_pairs
from rlaif.judging.settings import JudgeConfig, load_judge
from rlaif.models.parallel import is_main
from rlaif.records import ORDERS, Order

__all__ = ["AnnotateConfig", "annotate"]


@dataclass
class AnnotateConfig(JudgeConfig):
    """Pairs in, judgments out."""

    pairs: str | None = field(
        default=None, metadata={"help": "Pairs: .jsonl, .parquet, a datasets folder or a Hub id."}
    )
    output: str | None = field(
        default=None, metadata={"help": "Folder for votes/, judgments.jsonl, report.json and manifest.json."}
    )
    split: str | None = field(default=None, metadata={"help": "Split of the source, where it has several."})
    limit: int | None = field(default=None, metadata={"help": "Judge only the first so many pairs."})
    orders: str = field(
        default="both",
        metadata={
            "help": "'both' shows each pair in both orders; 'ab' and 'ba' in one only, at half the cost and with the "
            "judge's position bias in every z.",
            "choices": ["both", "ab", "ba"],
        },
    )
    samples: int = field(
        default=1, metadata={"help": "Votes for each order. More than one needs a temperature above 0."}
    )
    combine: str = field(
        default="mean",
        metadata={
            "help": "How votes become z: 'mean' of the probabilities (as RLAIF does), or the sigmoid of the mean "
            "'log_odds', in which a certain vote outweighs hesitant ones.",
            "choices": ["mean", "log_odds"],
        },
    )
    by: str | None = field(
        default=None, metadata={"help": "A column of the source; the report then has numbers for each of its values."}
    )
    retry_unjudged: bool = field(
        default=False,
        metadata={"help": "Ask again also what was answered but could not be read. What got no answer always is."},
    )


def annotate(config: AnnotateConfig) -> Annotation:
    """Runs `rlaif judge`: reads the pairs, asks, and writes judgments.jsonl and manifest.json (main process only)."""
    if not config.pairs or not config.output:
        raise ValueError("pairs and output must be set; expected --pairs SOURCE --output FOLDER.")
    if config.samples < 1 or (config.samples > 1 and config.judge != "api"):
        raise ValueError(f"samples is {config.samples}; a {config.judge} judge gives the same vote every time, use 1.")
    if config.samples > 1 and config.temperature == 0.0:
        raise ValueError("samples > 1 at temperature 0 asks the same thing again; set --temperature above 0.")
    if config.limit is not None and config.limit < 1:
        raise ValueError(f"limit is {config.limit}; expected at least one pair, or no limit.")
    pairs = read_pairs(config.pairs, config.split)[: config.limit]
    if config.by and not any(config.by in pair.extra for pair in pairs):
        columns = sorted({name for pair in pairs for name in pair.extra})
        raise ValueError(
            f"by is {config.by!r}, which no pair has; expected one of {', '.join(columns) or 'no column'}."
        )
    orders: tuple[Order, ...] = {"both": ORDERS, "ab": ("ab",), "ba": ("ba",)}[config.orders]
    done = judge_pairs(
        pairs,
        load_judge(config),
        config.output,
        orders=orders,
        samples=config.samples,
        combine=config.combine,
        retry_unjudged=config.retry_unjudged,
    )
    if is_main():
        if marked := sum("marker" in judgment.flags for judgment in done.judgments):
            warn(
                f"{marked} of {len(pairs)} pairs hold words of the judge's own template or of a chat format, as a "
                'forged verdict would; they are judged and have the flag "marker" in judgments.jsonl.'
            )
        write_jsonl(Path(config.output) / "judgments.jsonl", (judgment.row() for judgment in done.judgments))
        write_manifest(config.output, "rlaif judge", dataclasses.asdict(config), [config.pairs])
    return done
