"""A preference dataset's folder, made ready: three configs of Parquet shards, checked row by row.

    data/train-00000-of-00001.parquet    default: what TRL's Reward and DPO trainers take (prompt, chosen, rejected),
                                         with z and where it comes from
    pairs/...                            every pair that was judged, with its judgment: also ties and unjudged ones
    votes/...                            every vote: one call of the judge, so that disagreement survives
    report.json                          what the checks found

`pairs` and `votes` need the judgments that the dataset was built from. Nothing but the ids, splits and fingerprints of
the rows is held in memory, whatever their number.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif.config import warn
from rlaif.errors.words import counted, kind_of, one_of, shown
from rlaif.files.preferences import FLIPPED
from rlaif.files.shards import SHARD_BYTES, Shards, parquet_splits, read_tables
from rlaif.files.sources import write_json
from rlaif.files.votes import open_replies
from rlaif.publish import near
from rlaif.publish.checks import Action, Checked, check, stop_line
from rlaif.publish.contamination import Index
from rlaif.publish.judged import Judged, digest
from rlaif.publish.provenance import Origin, bare_names, public_name, read_json
from rlaif.publish.scan import Item, texts_of
from rlaif.publish.staging import MARK
from rlaif.records import Judgment, Vote, check_probability, check_prompt

__all__ = ["CONFIGS", "Cost", "Published", "open_dataset", "stage_dataset"]

CONFIGS = {"default": "data", "pairs": "pairs", "votes": "votes"}  # config -> folder
_NAMED = ("judge", "chosen_model", "rejected_model")  # columns of `default` that hold a model's name
# 2z - 1, which older builds wrote: TRL's RewardTrainer subtracts a column of this name, and would learn something else.
_LEFT_OUT = ("margin",)
# A value that is an absolute path and nothing else, of two parts at least.
_PATH = re.compile(r"(?:/|~/|[A-Za-z]:[\\/])[^\s\\/]+[\\/]\S+")


@dataclass
class Cost:
    """What the votes took: calls, tokens, seconds of answering, each reply counted once.

    `untold` votes came without a count of their tokens, `untimed` ones without their seconds; `missing` and `unused` as
    in `Judged`.
    """

    votes: int = 0
    failed: int = 0
    untold: int = 0
    untimed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    missing: int = 0
    unused: int = 0

    def add(self, vote: Vote, seconds: float | None) -> None:
        """Counts one vote."""
        self.votes += 1
        self.failed += vote.p_first is None
        self.untold += not vote.usage
        self.untimed += seconds is None
        self.prompt_tokens += (vote.usage or {}).get("prompt_tokens", 0)
        self.completion_tokens += (vote.usage or {}).get("completion_tokens", 0)
        self.seconds += seconds or 0.0


@dataclass
class Published:
    """What was staged, for the card.

    Attributes:
        origin: the steps that made it.
        checked: what the checks found.
        judges: judgments (or preferences) by judge and template.
        rows: config -> split -> rows.
        left_out: preferences that the checks left out of `default`, by check.
        labels: how many rows of `default` have which label, seen from `chosen`; None: unlabelled.
        soft: rows of `default` with z below 1.
        example: one row of `default`.
        cost: of the votes; None where they are not known.
        seconds: of each stage.
    """

    origin: Origin
    checked: Checked
    judges: Counter[tuple[str | None, str | None]]
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    labels: Counter[str | None] = field(default_factory=Counter)
    soft: int = 0
    example: dict[str, Any] = field(default_factory=dict)
    cost: Cost | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def stage_dataset(
    preferences: Path,
    output: Path,
    actions: Mapping[str, Action],
    origin: Origin,
    *,
    benchmarks: Index | None = None,
    threshold: float = near.THRESHOLD,
    names: Mapping[str, str] | None = None,
    shard_bytes: int = SHARD_BYTES,
    processes: int = 0,
    stopped: Path | None = None,
) -> Published:
    """Checks a preference dataset and writes its shards and report.json (not its card) to `output`.

    Args:
        preferences: the folder that `rlaif build` wrote.
        output: the folder to write; what an earlier staging left in it is replaced.
        actions: what to do for each check.
        origin: where the dataset comes from. With its judgments there are three configs, without them one.
        benchmarks: prompts that must not be in it.
        threshold: the Jaccard similarity from which texts are alike.
        names: public names of models, by the names that the run knew them by.
        shard_bytes: the size of a shard.
        processes: how many check; 0 for one a core.
        stopped: where the report goes if a check stops; `output`/.rlaif/report.json where nothing is said.

    Raises:
        ValueError: no dataset; shards of different columns; a row that is no preference; preferences that the
            judgments do not give; a name of no model; a check that stops found something. Nothing is written then
            but `stopped`.
    """
    names = names or {}
    clock = _Clock()
    splits = open_dataset(preferences)
    schema = _schema(splits)
    _check_count(preferences, origin, "preferences", _row_count(splits))
    judged = Judged.of(origin) if origin.judgments and origin.build else None
    alone = _Alone(splits)
    clock.lap("open")
    checked = check(
        judged.items() if judged else alone.items(),
        actions,
        benchmarks=benchmarks,
        threshold=threshold,
        votes=judged.texts if judged else None,
        processes=processes,
    )
    clock.lap("check")
    source = judged or alone
    if judged:
        _check_count(preferences, origin, "judgments", len(checked.ids))
    _check_names(names, source.models)
    report = {"rows": len(checked.ids), "checks": checked.report}
    stopped = stopped or output / MARK / "report.json"
    if line := stop_line(checked, str(stopped)):
        write_json(stopped, report)
        raise ValueError(line)
    published = Published(origin, checked, source.judges)
    _write_default(published, output, splits, schema, judged, names, shard_bytes)
    clock.lap("write default")
    if judged:
        with Shards(output / CONFIGS["pairs"], _pairs_schema(schema), shard_bytes=shard_bytes) as shards:
            for at, judgment in enumerate(judged.judgments()):
                if checked.reason_N[at] < 0:
                    shards.add(checked.splits[at], _pair_row(judgment, names))
        published.rows["pairs"] = shards.rows
        clock.lap("write pairs")
    if judged and judged.store:
        _write_votes(published, output, judged, names, shard_bytes)
        clock.lap("write votes")
    published.rows = {config: rows for config, rows in published.rows.items() if rows}
    for config in set(CONFIGS) - set(published.rows):
        shutil.rmtree(output / CONFIGS[config], ignore_errors=True)  # of an earlier staging
    write_json(output / "report.json", {**report, "configs": published.rows, "left_out": published.left_out})
    published.seconds = clock.laps
    return published


def _write_default(
    published: Published,
    output: Path,
    splits: Mapping[str, list[Path]],
    schema: Any,
    judged: Judged | None,
    names: Mapping[str, str],
    shard_bytes: int,
) -> None:
    checked = published.checked
    with Shards(output / CONFIGS["default"], schema, shard_bytes=shard_bytes) as shards:
        for split, table, rows in _preferences(splits):
            reasons = [checked.reason(_place(row, split, checked, judged)) for row in rows]
            published.left_out.update(reason for reason in reasons if reason)
            kept = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
            shards.add_table(split, _public(table.filter([not reason for reason in reasons]), names))
            published.labels.update(row["label"] for row in kept)
            published.soft += sum(row["z"] < 1.0 for row in kept)
            if kept and not published.example:
                shown = {name: value for name, value in kept[0].items() if name not in _LEFT_OUT}
                published.example = shown | {n: public_name(shown[n], names) for n in _NAMED if n in shown}
        if not shards.rows:
            raise ValueError(f"the checks leave no row ({counted(published.left_out)}); nothing to publish.")
    published.rows["default"] = shards.rows


def _write_votes(
    published: Published, output: Path, judged: Judged, names: Mapping[str, str], shard_bytes: int
) -> None:
    checked, cost = published.checked, Cost()
    assert judged.store is not None
    with (
        open_replies(judged.store) as replies,
        Shards(output / CONFIGS["votes"], _votes_schema(), shard_bytes=shard_bytes) as shards,
    ):
        for vote, at, seconds, again in judged.votes(replies):
            if not again:
                cost.add(vote, seconds)
            if checked.reason_N[at] < 0:
                shards.add(checked.splits[at], _vote_row(vote, judged.id_of(at), seconds, names))
    published.rows["votes"] = shards.rows
    cost.missing, cost.unused = judged.missing, judged.unused
    if cost.missing:
        warn(
            f"{cost.missing} votes that the judgments were made of are not in {judged.store} any more; the card "
            "says so."
        )
    published.cost = cost


def _check_count(folder: Path, origin: Origin, what: str, now: int) -> None:
    """A ValueError where there are more or fewer judgments or preferences than `rlaif build` saw."""
    then = origin.build.report.get(what, now) if origin.build else now
    if now != then:
        raise ValueError(
            f"there are {now} {what}, and {folder} was built when there were {then}; expected no change since. Run "
            "`rlaif build` again."
        )


def _row_count(splits: Mapping[str, list[Path]]) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for files in splits.values() for path in files)


def _check_names(names: Mapping[str, str], models: set[str]) -> None:
    """A ValueError for a public name of no model; a word on models that are folders of this machine."""
    if unknown := sorted(set(names) - models):
        raise ValueError(
            f"names has {unknown[0]!r}, which is no model of this dataset; {one_of(unknown[0], sorted(models))}"
        )
    for model in sorted(models - set(names)):
        if Path(model).exists():
            warn(f"{model} is a folder of this machine and nobody else's; --names {model}=PUBLIC/NAME gives it a name.")


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name], self._since = round(now - self._since, 2), now


class _Alone:
    """A dataset whose judgments are not known: its preferences as rows to be checked, and who is named in them."""

    def __init__(self, splits: Mapping[str, list[Path]]) -> None:
        self.splits = splits
        self.judges: Counter[tuple[str | None, str | None]] = Counter()
        self.models: set[str] = set()

    def items(self) -> Iterator[Item]:
        for split, _, rows in _preferences(self.splits):
            for row in rows:
                self.judges[row.get("judge"), row.get("template")] += 1
                self.models.update(row[name] for name in _NAMED if row.get(name))
                texts = texts_of({k: v for k, v in row.items() if k not in ("prompt", "chosen", "rejected")})
                yield Item(
                    row["id"], split, row["prompt"], _text(row["chosen"]), _text(row["rejected"]), row["z"], (), texts
                )


def open_dataset(folder: Path) -> dict[str, list[Path]]:
    """The shards of a dataset by split; a ValueError where it is none, its shards differ in their columns, or verdicts
    in it were turned round."""
    import pyarrow.parquet as pq

    splits = parquet_splits(folder / "data")
    if not splits:
        what = "does not exist" if not folder.exists() else "holds no data/<split>-*.parquet"
        raise ValueError(
            f"{folder} {what}; expected the folder that `rlaif build` wrote. Judgments and files of other formats go "
            "through `rlaif convert` and `rlaif build` first."
        )
    first = next(iter(splits.values()))[0]
    for path in (path for files in splits.values() for path in files):
        try:
            schema = pq.read_schema(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is not Parquet ({str(error).splitlines()[0][:120]}); build it again.") from None
        if path == first:
            expected = schema
        different = sorted(set(_columns(schema)) ^ set(_columns(expected)))
        if different:
            name = different[0][0]
            raise ValueError(
                f"{path} has {name!r} as {dict(_columns(schema)).get(name, 'no column')}, {first} as "
                f"{dict(_columns(expected)).get(name, 'no column')}; expected the same columns in every shard. Build "
                "it again with `rlaif build`."
            )
    missing = [name for name in ("id", "prompt", "chosen", "rejected", "z", "label") if name not in expected.names]
    if missing:
        raise ValueError(
            f"{first} has no {missing[0]!r}; expected the columns that `rlaif build` writes, got "
            f"{', '.join(expected.names)}. Read it with `rlaif convert` and build it."
        )
    _check_verdicts(folder, expected.names)
    return splits


def _check_verdicts(folder: Path, columns: Sequence[str]) -> None:
    """A ValueError where some verdicts were turned round: others would train on them as what a judge said.

    Refused, not explained in the card: programs do not read cards, and the dataset as judged, with the rate and the
    seed, is all that an experiment needs.
    """
    if FLIPPED in columns or read_json(folder / "manifest.json").get("config", {}).get("flip_rate"):
        raise ValueError(
            f"{folder} was built with --flip_rate: verdicts in it are the opposite of what was judged. Build it "
            "without and publish that; with the rate and the seed anyone can turn the same verdicts round."
        )


def _columns(schema: Any) -> list[tuple[str, str]]:
    return [(f.name, str(f.type)) for f in schema]


def _schema(splits: Mapping[str, list[Path]]) -> Any:
    """The columns of `default`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(next(iter(splits.values()))[0]).remove_metadata()
    return pa.schema([column for column in schema if column.name not in _LEFT_OUT])


def _preferences(splits: Mapping[str, list[Path]]) -> Iterator[tuple[str, Any, list[dict[str, Any]]]]:
    """The dataset table by table, with its rows, each of which is checked to be a preference."""
    for split, files in splits.items():
        for path in files:
            before = 0
            for table in read_tables([path]):
                rows = table.to_pylist()
                for at, row in enumerate(rows, before + 1):
                    try:
                        _check_row(row)
                    except ValueError as error:
                        raise ValueError(f"{path}:{at}: {error}") from None
                before += len(rows)
                yield split, table, rows


def _check_row(row: Mapping[str, Any]) -> None:
    if not isinstance(row["id"], str):
        raise ValueError(f"id is {shown(row['id'])}; expected text. Build the dataset with `rlaif build`.")
    check_prompt(row["prompt"])
    for side in ("chosen", "rejected"):
        turns = row[side]
        if isinstance(turns, list) and (len(turns) != 1 or not isinstance(turns[0].get("content"), str)):
            raise ValueError(f"{side} holds {len(turns)} messages; expected one assistant turn, the prompt apart.")
        if not isinstance(turns, str | list):
            raise ValueError(f"{side} is {kind_of(turns)}; expected a response.")
    z = check_probability(row["z"])
    if z is None or z <= 0.5:
        raise ValueError(f"z is {z}; expected P(chosen is preferred), in (0.5, 1]. Build it with `rlaif build`.")


def _text(side: Any) -> str:
    """A response's text: of a string, or of the one assistant turn that `rlaif build` writes."""
    return side if isinstance(side, str) else str(side[0]["content"])


def _place(row: Mapping[str, Any], split: str, checked: Checked, judged: Judged | None) -> int:
    """A preference's place among the rows that were checked; a ValueError where its judgments do not give it."""
    at = checked.ids.get(row["id"], -1)
    if judged and (
        at < 0
        or judged.digests[at] != digest(split, row["prompt"], _text(row["chosen"]), _text(row["rejected"]), row["z"])
    ):
        raise ValueError(
            f"preference {row['id']} of split {split} is not what {judged.config.judgments} gives; expected the "
            "dataset that was built from these judgments. Run `rlaif build` again."
        )
    return at


def _public(table: Any, names: Mapping[str, str]) -> Any:
    """The table as it goes out: models under their public names, without what TRL would take for something else."""
    import pyarrow as pa

    for column in _NAMED:
        if column in table.column_names:
            values = [public_name(value, names) for value in table[column].to_pylist()]
            table = table.set_column(table.column_names.index(column), column, pa.array(values, pa.string()))
    return table.drop_columns([name for name in _LEFT_OUT if name in table.column_names])


def _pairs_schema(schema: Any) -> Any:
    import pyarrow as pa

    text, number, whole = pa.string(), pa.float64(), pa.int64()
    columns = [("id", text), ("prompt", schema.field("prompt").type), ("response_a", text), ("response_b", text)]
    columns += [(name, text) for name in ("model_a", "model_b", "label")]
    columns += [("z", number), ("reason", text), ("z_ab", number), ("z_ba", number), ("p_tie", number)]
    columns += [("votes", whole), ("readable", whole), ("judge", text), ("template", text)]
    return pa.schema([*columns, ("flags", pa.list_(text)), ("extra", text)])


def _pair_row(judgment: Judgment, names: Mapping[str, str]) -> dict[str, Any]:
    """A judgment as a row of `pairs`; the source's own columns, whose types nobody knows, as JSON in `extra`."""
    row = judgment.row()
    row |= {name: public_name(row.get(name), names) for name in ("judge", "model_a", "model_b")}
    extra = bare_names(dict(judgment.pair.extra), _PATH)
    return row | {
        "p_tie": judgment.p_tie,
        "extra": json.dumps(extra, ensure_ascii=False, default=str) if extra else None,
    }


def _votes_schema() -> Any:
    import pyarrow as pa

    text, number, whole = pa.string(), pa.float64(), pa.int64()
    columns = [("pair_id", text), ("judge", text), ("template", text), ("order", text), ("sample", whole)]
    columns += [("p_first", number), ("p_a", number), ("reason", text), ("method", text), ("mass", number)]
    columns += [("p_tie", number), ("unusable", text)]
    columns += [("text", text), ("prompt_tokens", whole), ("completion_tokens", whole), ("seconds", number)]
    return pa.schema([*columns, ("key", text)])


def _vote_row(vote: Vote, pair_id: str, seconds: float | None, names: Mapping[str, str]) -> dict[str, Any]:
    row = {
        **vote.row(),
        "pair_id": pair_id,
        "p_a": vote.p_a,
        "p_tie": vote.p_tie,
        **(vote.usage or {}),
        "seconds": seconds,
    }
    return {**row, "judge": public_name(vote.judge, names)}
