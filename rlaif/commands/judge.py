"""`rlaif judge`: pairs -> votes -> judgments z.

    rlaif judge --pairs runs/mine/sampled/pairs.jsonl --judge Qwen/Qwen3-8B --output runs/mine/judged

Every reply is stored as it arrives; a run killed at any moment goes on where it was, asks nothing twice, and writes the
same `judgments.jsonl` as one that was never killed, as does a run split over many processes. Pairs are read, asked
about and written chunk by chunk: in memory is what the report's numbers need, about ten bytes a pair.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rlaif.assess.agreement import JudgeNumbers
from rlaif.config import GateError, UsageError, warn
from rlaif.errors.words import one_of
from rlaif.files.bad_rows import BAD_ROWS_FILE, BadRows, on_bad_row
from rlaif.files.manifest import elapsed, write_manifest
from rlaif.files.ownership import claim
from rlaif.files.pairs import is_judged
from rlaif.files.reads import sources
from rlaif.files.rows import read_rows
from rlaif.files.sources import pairs_file, stream_pairs, whole_file, write_json, write_row
from rlaif.files.splits import rows_of_split
from rlaif.files.store import Store
from rlaif.files.swap import move_into, staging
from rlaif.files.votes import refuse_older
from rlaif.judging.ask import answers
from rlaif.judging.explain import explain
from rlaif.judging.method import Counts
from rlaif.judging.pairwise import Comparison, Pairwise, VoteCounts
from rlaif.judging.settings import JudgeConfig, judge_settings, load_judge
from rlaif.models.base import served_by
from rlaif.models.parallel import is_main
from rlaif.records import Pair
from rlaif.settings.declared import described

__all__ = ["SETTINGS", "JudgeReport", "JudgingConfig", "check_judged", "column_of", "judge", "write_judgments"]

READS = {"pairs": "rows", "judge": "judge", "judge_model": "judge", "template": "judge"}


@described(
    headings={"pairs": "pairs", "by": "report", "retry_unjudged": "running again"},
    also={
        "pairs": ("dataset", "dataset_name"),
        "output": ("output_dir",),
        "config_name": ("dataset_config",),
        "judge_model": ("model", "model_name_or_path"),
        "max_tokens": ("max_completion_tokens", "max_new_tokens", "max_completion_length"),
        "judge_revision": ("model_revision",),
        "judge_dtype": ("dtype", "torch_dtype"),
        "judge_load_in_4bit": ("load_in_4bit",),
    },
)
@dataclass
class JudgingConfig(JudgeConfig):
    """Pairs in, judgments out."""

    pairs: str | None = field(
        default=None, metadata={"help": "Pairs: .jsonl, .parquet, a datasets folder or a Hub id."}
    )
    output: str | None = field(
        default=None,
        metadata={"help": "Folder for replies/, judgments.jsonl, votes.jsonl, report.json and manifest.json."},
    )
    split: str | None = field(
        default=None,
        metadata={"help": "Split of the source, where it has several; of a file, what its column `split` says."},
    )
    config_name: str | None = field(default=None, metadata={"help": "Config of the source, where it has several."})
    limit: int | None = field(default=None, metadata={"help": "Judge only the first so many pairs."})
    on_bad_row: str = on_bad_row()
    by: str | None = field(
        default=None, metadata={"help": "A column of the source; the report then has numbers for each of its values."}
    )
    retry_unjudged: bool = field(
        default=False,
        metadata={
            "help": "Ask once more what was answered but could not be read. What got no answer is always asked again."
        },
    )
    reread: bool = field(
        default=False,
        metadata={"help": "Read the stored replies again and ask nothing: for another --combine, or newer code."},
    )
    explain: str | None = field(
        default=None, metadata={"help": "The id of a pair: print every call about it, the replies and their reading."}
    )


SETTINGS = (JudgingConfig,)


def judge(config: JudgingConfig) -> dict[str, Any]:
    """Runs `rlaif judge`: asks, and writes judgments.jsonl, votes.jsonl, report.json and manifest.json.

    Returns:
        The report ({} but in the main process, or after `explain`, which prints).

    Raises:
        ValueError: a setting or a row is not as expected. All rows are read once before the first one is asked about.
    """
    if not config.pairs or not config.output:
        raise UsageError("pairs and output must be set; expected --pairs SOURCE --output FOLDER.")
    if config.limit is not None and config.limit < 1:
        raise UsageError(f"limit is {config.limit}; expected at least one pair, or no limit.")
    if config.reread and config.retry_unjudged:
        raise UsageError("reread asks nothing and retry_unjudged asks again; expected one of them.")
    settings = judge_settings(config)
    method = load_judge(settings, retry=config.retry_unjudged)
    method.check_function()
    if config.explain is not None:
        _explain(config, method)
        return {}
    bad = BadRows(config.on_bad_row)
    total = _check_source(config, bad)
    beyond = 0 if config.limit is None or not is_main() else _rows_in(config) - total - len(bad.rows)
    folder = Path(config.output)
    refuse_older(folder)
    if config.reread and not any((folder / "replies").glob("*.jsonl")):
        raise ValueError(f"{folder} holds no replies to read again; expected the folder of an earlier run.")
    return write_judgments(
        folder,
        method,
        lambda: _pairs(config, bad),
        total,
        by=config.by,
        ask=not config.reread,
        settings=dataclasses.asdict(config),
        inputs=list(dict.fromkeys((*sources(READS, config), *settings.reads))),
        bad=bad,
        beyond=beyond,
    )


def write_judgments(
    folder: str | Path,
    method: Pairwise,
    pairs: Callable[[], Iterable[Pair]],
    total: int,
    *,
    by: str | None = None,
    ask: bool = True,
    clock: Callable[[], float] = elapsed,
    settings: Mapping[str, Any] | None = None,
    inputs: Sequence[str | Path] = (),
    bad: BadRows | None = None,
    beyond: int = 0,
) -> dict[str, Any]:
    """Judges `pairs` into `folder`: replies/, judgments.jsonl, votes.jsonl, report.json and manifest.json.

    Args:
        folder: replies that it holds are not asked for again.
        method: how each pair is judged.
        pairs: gives them anew each time it is called, always the same.
        total: how many there are.
        by: a column; the report then has numbers for each of its values.
        ask: False reads what is stored and asks nothing.
        clock: the seconds that the report says.
        settings: what the manifest says beside those of the judge.
        inputs: what was read, for the manifest.
        bad: the rows of the source that are no pairs; they are said of before anything is asked.
        beyond: rows of the source that a limit leaves out.

    Returns:
        The report ({} but in the main process).
    """
    folder, counts, numbers = Path(folder), Counts(), JudgeReport(by)
    refuse_older(folder)
    bad = BadRows() if bad is None else bad
    with claim(folder, "rlaif judge", inputs), Store(folder) as store:
        bad.say(folder / BAD_ROWS_FILE)
        comparisons = answers(
            method, pairs, store, total=total, label="judging", ask=ask, counts=counts, everyone=False
        )
        if not is_main():
            for _ in comparisons:
                pass
            return {}
        with staging(folder, ".judging") as staged:
            with whole_file(staged / "judgments.jsonl") as judgments, whole_file(staged / "votes.jsonl") as votes:
                for comparison in comparisons:
                    numbers.add(comparison)
                    write_row(judgments, comparison.judgment.row())
                    for vote in comparison.votes:
                        write_row(votes, vote.row())
            asked = {"votes_asked": counts.asked, "votes_reused": counts.reused, "seconds": clock()}
            report = {**numbers.report(bad, beyond), **asked}
            write_json(staged / "report.json", report)
            about = {**(settings or {}), **method.about}
            served = served_by(method.models.values())
            write_manifest(staged, "rlaif judge", about, inputs, earlier=folder, **served)
            bad.write(staged, folder)
            move_into(staged, folder, also_gone=(BAD_ROWS_FILE,))
    numbers.warn(method, total)
    return report


def check_judged(report: Mapping[str, Any]) -> None:
    """A GateError where a report of `judge` says that more than half of the pairs were left unjudged."""
    unjudged, pairs = report["unjudged"], report["pairs"]
    if 2 * unjudged > pairs:
        most = next(iter(report["reasons"]))
        raise GateError(f"the judge left {unjudged} of {pairs} pairs unjudged, most of them because: {most}")


class JudgeReport:
    """What the report says, from the comparisons as they come."""

    def __init__(self, by: str | None = None) -> None:
        self.by = by
        self.all = JudgeNumbers()
        self.groups: dict[str, JudgeNumbers] = {}
        self.flags: Counter[str] = Counter()
        self.votes = VoteCounts()

    def add(self, comparison: Comparison) -> None:
        """Counts one pair's."""
        judgment = comparison.judgment
        self.all.add(judgment)
        if self.by:
            self.groups.setdefault(str(column_of(judgment.pair, self.by)), JudgeNumbers()).add(judgment)
        self.flags.update(judgment.flags)
        self.votes.add(comparison)

    def report(self, bad: BadRows, beyond: int = 0) -> dict[str, Any]:
        """All numbers so far; `bad` are the rows that are no pairs, `beyond` counts those that a limit leaves out."""
        report = self.all.report()
        used = report["pairs"] - report["unjudged"]
        left_out = {**report["reasons"], **({"beyond limit": beyond} if beyond else {})}
        report["ledger"] = bad.ledger(report["pairs"] + beyond, used, left_out)
        report["flags"] = dict(self.flags)
        if self.by:
            report["by"] = {name: numbers.report() for name, numbers in sorted(self.groups.items())}
        report["methods"] = dict(sorted(self.votes.methods.items()))
        if self.votes.unusable:
            report["logprobs_not_used"] = dict(self.votes.unusable.most_common())
        if self.votes.ties:
            report["written_ties"] = self.votes.ties
        if self.votes.mass is not None:
            report["label_mass"] = self.votes.mass
        if self.votes.unasked:
            report["votes_unasked"] = self.votes.unasked
        return report

    def warn(self, method: Pairwise, total: int) -> None:
        """Says what a user should know of them."""
        self.votes.warn_of(method.template)
        if marked := self.flags["marker"]:
            warn(
                f"{marked} of {total} pairs hold words of the judge's own template or of a chat format, as a "
                'forged verdict would; they are judged and have the flag "marker" in judgments.jsonl.'
            )
        if self.votes.unasked:
            warn(
                f"{self.votes.unasked} votes want calls that no run has paid for, so their pairs may be unjudged. Run "
                "the same command without --reread to ask."
            )


def column_of(pair: Pair, name: str) -> Any:
    """The value of a pair's column, its own (`model_a`, `label`) or another of the source; None where it has none."""
    return pair.extra[name] if name in pair.extra else pair.row().get(name)


def _pairs(config: JudgingConfig, bad: BadRows, checked: bool = True) -> Iterator[Pair]:
    assert config.pairs is not None
    return islice(stream_pairs(config.pairs, config.split, config.config_name, bad, checked=checked), config.limit)


def _check_source(config: JudgingConfig, bad: BadRows) -> int:
    """Reads every pair once, so that a row that cannot be used is known before anything is paid; how many there are."""
    assert config.pairs is not None
    file = Path(pairs_file(config.pairs))
    if file.is_file() and any(is_judged(row) for _, row in islice(read_rows(file, bad=BadRows("skip")), 1)):
        warn(f"{file} holds judgments: their pairs are judged anew, and what the earlier judge said is not carried.")
    count, found, columns = 0, config.by is None, set[str]()
    for pair in _pairs(config, bad, checked=False):
        count += 1
        if not found:
            found = config.by in pair.row()
            columns.update(pair.extra)
    if not found:
        raise ValueError(
            f"by is {config.by!r}, which no pair has; {one_of(config.by, sorted(columns) or ['no column'])}"
        )
    return count


def _rows_in(config: JudgingConfig) -> int:
    """How many rows the source has, usable or not; those beyond a limit are looked at no closer."""
    assert config.pairs is not None
    source, unread = Path(pairs_file(config.pairs)), BadRows("skip")
    if source.is_file() and source.suffix == ".jsonl" and config.split is None:  # of any size: its lines are counted
        with source.open("rb") as lines:
            return sum(1 for line in lines if line.strip())
    rows = rows_of_split(pairs_file(config.pairs), config.split, config.config_name, unread)
    return sum(1 for _ in rows) + len(unread.rows)


def _explain(config: JudgingConfig, method: Pairwise) -> None:
    """Prints the dialogue about one pair; the folder is only read."""
    assert config.output is not None
    pair = next((pair for pair in _pairs(config, BadRows(config.on_bad_row)) if pair.id == config.explain), None)
    if pair is None:
        raise ValueError(f"explain is {config.explain!r}, which is no pair of {config.pairs}; expected a pair's id.")
    if not (Path(config.output) / "replies").is_dir():
        raise ValueError(f"{config.output} holds no replies; expected the folder that `rlaif judge` wrote.")
    if is_main():
        with Store(config.output) as store:
            print(explain(method, pair, store), end="")
