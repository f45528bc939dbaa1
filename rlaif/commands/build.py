"""`rlaif build`: judgments -> a preference dataset, which `datasets.load_dataset` and TRL take as it is.

rlaif build --judgments runs/mine/judged --output runs/mine/preferences
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rlaif.config import UsageError
from rlaif.errors.words import counted
from rlaif.files.bad_rows import BAD_ROWS_FILE, BadRows
from rlaif.files.manifest import elapsed, write_manifest
from rlaif.files.ownership import claim
from rlaif.files.preferences import FLIPPED, preference_row, preference_schema
from rlaif.files.selection import BuildConfig, flip, is_flipped, judgments_of, select, split_for
from rlaif.files.shards import SPLITS, Shards
from rlaif.files.sources import write_json, write_jsonl
from rlaif.files.swap import move_into, staging
from rlaif.pages.markdown import cell, code
from rlaif.records import Judgment, Preference

__all__ = ["SETTINGS", "build"]

READS = {"judgments": "rows"}

SETTINGS = (BuildConfig,)
JUDGMENTS = "judgments.jsonl"  # what those from memory are kept as


def build(config: BuildConfig, judgments: Iterable[Judgment] | None = None) -> dict[str, Any]:
    """Runs `rlaif build`; writes the dataset, report.json and manifest.json and returns the report.

    Args:
        config: its settings.
        judgments: from memory, for `config.judgments`; the output keeps them as judgments.jsonl.

    Raises:
        ValueError: a setting, a row, or an output that is not `rlaif build`'s own.
    """
    if judgments is not None and config.output:
        config = dataclasses.replace(config, judgments=str(Path(config.output) / JUDGMENTS))
    if not config.judgments or not config.output:
        raise UsageError("judgments and output must be set; expected --judgments SOURCE --output FOLDER.")
    if not (config.validation >= 0.0 and config.test >= 0.0 and config.validation + config.test < 1.0):
        raise UsageError(
            f"validation and test are {config.validation} and {config.test}; expected shares that leave room for train."
        )
    if not 0.0 <= config.tie_band < 0.5 or not 0.5 <= config.min_confidence <= 1.0:
        raise UsageError(
            f"tie_band is {config.tie_band} and min_confidence {config.min_confidence}; expected them in [0, 0.5) and "
            "[0.5, 1]."
        )
    if not 0.0 <= config.flip_rate <= 0.5:
        raise UsageError(
            f"flip_rate is {config.flip_rate}; expected a share in [0, 0.5]: at 0.5 a verdict says nothing, above it "
            "the opposite."
        )
    reads = [] if judgments is not None else [_file_of(config)]
    with claim(config.output, "rlaif build", reads):
        return _build(config, judgments)


def _file_of(config: BuildConfig) -> Path:
    """What is read of `config.judgments`: of a folder that `rlaif judge` wrote, one file."""
    source = Path(str(config.judgments))
    judged = source / JUDGMENTS
    return judged if config.z_from == "judge" and judged.is_file() else source


def _build(config: BuildConfig, in_memory: Iterable[Judgment] | None) -> dict[str, Any]:
    left_out, bad = Counter[str](), BadRows(config.on_bad_row)
    folder, read = Path(str(config.output)), config
    # Everything is written before anything is replaced: what fails leaves the earlier dataset as it was.
    with staging(folder, ".building") as staged:
        if in_memory is not None:
            read = dataclasses.replace(config, judgments=str(staged / JUDGMENTS))
            write_jsonl(staged / JUDGMENTS, (judgment.row() for judgment in in_memory))
        selected = select(
            (flip(judgment) if is_flipped(judgment.pair, config) else judgment for judgment in judgments_of(read, bad)),
            left_out,
            tie_band=config.tie_band,
            min_confidence=config.min_confidence,
            consistent=config.consistent,
        )
        first = next(selected, None)
        if first is None:
            raise ValueError(
                f"no preference is left of {left_out.total()} judgments ({counted(left_out)}); nothing written."
            )
        inputs = {str(config.judgments): str(read.judgments)}
        report = _write(config, staged, first, selected, left_out, bad, inputs)
        bad.write(staged, folder)
        move_into(staged, folder, also_gone=(BAD_ROWS_FILE,))
    return report


def _write(
    config: BuildConfig,
    folder: Path,
    first: Preference,
    others: Iterable[Preference],
    left_out: Counter[str],
    bad: BadRows,
    inputs: Mapping[str, str],
) -> dict[str, Any]:
    """Writes the dataset, its card, report and manifest to an empty folder; the report.

    `inputs`: what was read, and where it lies now.
    """
    confidence, flipped = 0.0, 0
    judges, templates, not_carried = Counter[str | None](), Counter[str | None](), set[str]()
    # A dataset with noise that was converted and is built again brings the column: turned round twice is as judged.
    carried = config.z_from == "judge" and FLIPPED in first.extra
    noisy = carried or config.flip_rate > 0.0
    schema = preference_schema(conversational=isinstance(first.prompt, list), flipped=noisy)
    with Shards(folder / "data", schema) as shards:
        for preference in itertools.chain([first], others):
            turned = is_flipped(preference, config) != (carried and bool(preference.extra.get(FLIPPED)))
            row = preference_row(preference) | ({FLIPPED: turned} if noisy else {})
            shards.add(split_for(preference, config), row)
            judges[preference.judge] += 1
            templates[preference.template] += 1
            not_carried |= preference.extra.keys() - row.keys()
            confidence += preference.z
            flipped += turned
    kept = sum(shards.rows.values())
    report = {
        "judgments": kept + left_out.total(),
        "preferences": kept,
        "ledger": bad.ledger(kept + left_out.total(), kept, left_out),
        **({"flipped": flipped} if noisy else {}),
        "left_out": dict(left_out),
        "splits": {name: shards.rows.get(name, 0) for name in SPLITS},
        "not_carried": _some(sorted(not_carried)) or "nothing",  # what else the rows' pairs have
        "split_by": config.split_by,
        "mean_confidence": confidence / kept,
        "seconds": elapsed(),
    }
    (folder / "README.md").write_text(_card(report, judges, templates), encoding="utf-8")
    write_json(folder / "report.json", report)
    write_manifest(folder, "rlaif build", dataclasses.asdict(config), inputs)
    return report


_NAMED = 8  # how many judges, templates or columns are named; of more their number is said


def _some(names: Iterable[str]) -> str:
    """The first few names and how many others there are; "" for none."""
    listed = list(names)
    more = [f"and {len(listed) - _NAMED} others"] if len(listed) > _NAMED else []
    return ", ".join(listed[:_NAMED] + more)


def _who(one: str, several: str, counts: Counter[str | None]) -> str:
    """Who, or what, made the rows: one name, or several with their numbers of rows, the most first."""
    if len(counts) == 1:
        return f"{one} {_named(next(iter(counts)))}"
    named = (f"{_named(name)} ({count} row{'s' * (count > 1)})" for name, count in counts.most_common())
    return f"{several} {_some(named)}"


def _named(name: str | None) -> str:
    return "not known" if name is None else code(name)


def _card(report: Mapping[str, Any], judges: Counter[str | None], templates: Counter[str | None]) -> str:
    splits = report["splits"]
    files = "".join(f"  - split: {name}\n    path: data/{name}-*.parquet\n" for name, rows in splits.items() if rows)
    left_out = "".join(f"| left out: {cell(reason)} | {count} |\n" for reason, count in report["left_out"].items())
    sizes = "".join(f"| {name} | {count} |\n" for name, count in report["splits"].items())
    noise, turned, lost = "", "", ""
    if report["not_carried"] != "nothing":
        lost = f" Columns of the judged pairs that are not here: {cell(report['not_carried'])}."
    if "flipped" in report:
        turned = f"| verdicts turned round | {report['flipped']} |\n"
        noise = (
            f"**Label noise**: for an experiment, {report['flipped']} verdicts were turned round (`--flip_rate`). "
            f"Where `{FLIPPED}` is true, what was judged is the opposite of the row.\n\n"
        )
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}tags:\n- preference\n- rlaif\n---\n"
        "# Preferences\n\n"
        "`chosen` and `rejected` are two responses to `prompt`; `z` = P(`chosen` is preferred), in (0.5, 1]. "
        "`z_first` and `z_second` are the same probability with `chosen` shown to the judge first "
        "and second; their difference is the judge's position bias on the pair. `label` is what was known from "
        "elsewhere about which one is better (`chosen`, `rejected`, `tie`), empty where nothing was.\n\n"
        f"{_who('Judge:', 'Judges:', judges)}; {_who('prompt template', 'prompt templates', templates)}. Splits by "
        f"hash of {code(report['split_by'])}.{lost}\n\n"
        f"{noise}| rows | |\n|---|---|\n| judgments read | {report['judgments']} |\n{left_out}{sizes}{turned}"
    )
