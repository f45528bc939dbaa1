"""`rlaif build`: judgments -> a preference dataset, and `load_preferences`, which the trainers read it with.

The dataset is a folder of Parquet files that `datasets.load_dataset` and TRL take as they are. Splits are decided by a
hash of the prompt (or of a column), so that no prompt is ever in two of them, whatever is added or left out later.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif.config import warn
from rlaif.records import (
    Judgment,
    Message,
    Pair,
    Preference,
    check_probability,
    check_prompt,
    complement,
    prompt_hash,
    uniform_hash,
)
from rlaif.shards import SPLITS, Shards, parquet_splits, read_tables
from rlaif.sources import read_rows, stream_judgments, stream_pairs, write_json
from rlaif.store import write_manifest

__all__ = [
    "FLIPPED",
    "SPLITS",
    "BuildConfig",
    "build",
    "check_held_out",
    "flip",
    "is_flipped",
    "judgments_of",
    "load_preferences",
    "preference_row",
    "preference_schema",
    "select",
    "split_for",
    "split_of",
]

FLIPPED = "verdict_flipped"  # the column of a dataset with flipped verdicts that says which rows they are


@dataclass
class BuildConfig:
    """Judgments in, a preference dataset out."""

    judgments: str | None = field(
        default=None,
        metadata={"help": "What `rlaif judge` wrote (its folder), or any source of pairs with a `z` column."},
    )
    output: str | None = field(default=None, metadata={"help": "Folder of the dataset."})
    split: str | None = field(default=None, metadata={"help": "Split of the source, where it has several."})
    z_from: str = field(
        default="judge",
        metadata={
            "help": "'judge' takes the judgments' z; 'label' takes the pairs' own labels as z = 1 or 0 (people's "
            "preferences instead of a judge's).",
            "choices": ["judge", "label"],
        },
    )
    tie_band: float = field(
        default=0.0,
        metadata={"help": "Leave out pairs with |z - 0.5| up to this as ties. z = 0.5 prefers nothing and always is."},
    )
    min_confidence: float = field(
        default=0.5, metadata={"help": "Leave out pairs with max(z, 1 - z) below this as unsure."}
    )
    consistent: bool = field(
        default=False, metadata={"help": "Leave out pairs on which the two orders prefer different responses."}
    )
    split_by: str = field(
        default="prompt", metadata={"help": "What must not be in two splits: 'prompt', or a column of the source."}
    )
    validation: float = field(default=0.05, metadata={"help": "Share of prompts in the validation split."})
    test: float = field(default=0.1, metadata={"help": "Share of prompts in the test split."})
    seed: int = field(default=0, metadata={"help": "Another seed draws other splits, and flips other verdicts."})
    flip_rate: float = field(
        default=0.0,
        metadata={
            "help": "Label noise for experiments: this share of the train split's verdicts is turned round (z to 1 - "
            "z), in [0, 0.5]. The other splits stay as judged. `rlaif publish` refuses such a dataset."
        },
    )


def split_of(key: str, validation: float, test: float, seed: int = 0) -> str:
    """The split of everything that shares `key`: its hash as a number u in [0, 1); test below `test`, and so on."""
    u = uniform_hash("split", seed, key)
    if u < test:
        return "test"
    return "validation" if u < test + validation else "train"


def flip(judgment: Judgment) -> Judgment:
    """The verdict of a judge that meant the opposite: z becomes 1 - z, in each order too. `flip(flip(j)) == j`.

    `Judgment.swap()` is something else: it exchanges the responses as well, and so says the same. A tie stays one, and
    what is unjudged stays so.
    """
    return dataclasses.replace(
        judgment, z=complement(judgment.z), z_ab=complement(judgment.z_ab), z_ba=complement(judgment.z_ba)
    )


def is_flipped(row: Pair | Preference, config: BuildConfig) -> bool:
    """Whether `config` turns the verdict on this pair round: where it is in train, and a draw u is below `flip_rate`.

    u is a hash of the seed, the prompt and the two responses, whichever comes first: each pair is drawn by itself,
    whatever else is left out, and what is flipped at one rate is flipped at every higher one.
    """
    if not config.flip_rate or split_for(row, config) != "train":
        return False
    responses = (row.response_a, row.response_b) if isinstance(row, Pair) else (row.chosen, row.rejected)
    return uniform_hash("flip", config.seed, prompt_hash(row.prompt), *sorted(responses)) < config.flip_rate


def select(
    judgments: Iterable[Judgment],
    left_out: Counter[str],
    *,
    tie_band: float = 0.0,
    min_confidence: float = 0.5,
    consistent: bool = False,
) -> Iterator[Preference]:
    """The preferences that the judgments express; `left_out` counts the others by their reason."""
    for judgment in judgments:
        z = judgment.z
        if z is None:
            left_out["unjudged"] += 1
        elif judgment.pair.problem():
            left_out["empty or equal responses"] += 1
        elif round(abs(z - 0.5), 9) <= tie_band:
            left_out["tie"] += 1
        elif max(z, round(1.0 - z, 9)) < min_confidence:
            left_out["unsure"] += 1
        elif consistent and _orders_disagree(judgment):
            left_out["the orders disagree"] += 1
        else:
            yield Preference.from_judgment(judgment)


def _orders_disagree(judgment: Judgment) -> bool:
    if judgment.z_ab is None or judgment.z_ba is None:
        raise ValueError(f"pair {judgment.pair.id} was judged in one order only; `consistent` needs both.")
    return (judgment.z_ab - 0.5) * (judgment.z_ba - 0.5) <= 0.0


def build(config: BuildConfig) -> dict[str, Any]:
    """Runs `rlaif build`; writes the dataset, report.json and manifest.json and returns the report."""
    if not config.judgments or not config.output:
        raise ValueError("judgments and output must be set; expected --judgments SOURCE --output FOLDER.")
    if not (config.validation >= 0.0 and config.test >= 0.0 and config.validation + config.test < 1.0):
        raise ValueError(
            f"validation and test are {config.validation} and {config.test}; expected shares that leave room for train."
        )
    if not 0.0 <= config.tie_band < 0.5 or not 0.5 <= config.min_confidence <= 1.0:
        raise ValueError(
            f"tie_band is {config.tie_band} and min_confidence {config.min_confidence}; expected them in [0, 0.5) and "
            "[0.5, 1]."
        )
    if not 0.0 <= config.flip_rate <= 0.5:
        raise ValueError(
            f"flip_rate is {config.flip_rate}; expected a share in [0, 0.5]: at 0.5 a verdict says nothing, above it "
            "the opposite."
        )
    left_out: Counter[str] = Counter()
    judgments = judgments_of(config)
    selected = select(
        (flip(judgment) if is_flipped(judgment.pair, config) else judgment for judgment in judgments),
        left_out,
        tie_band=config.tie_band,
        min_confidence=config.min_confidence,
        consistent=config.consistent,
    )
    first = next(selected, None)
    if first is None:
        raise ValueError(f"no preference is left of {left_out.total()} judgments ({dict(left_out)}); nothing written.")
    folder = Path(config.output)
    confidence, flipped = 0.0, 0
    # A dataset with noise that was converted and is built again brings the column: turned round twice is as judged.
    carried = config.z_from == "judge" and FLIPPED in first.extra
    noisy = carried or config.flip_rate > 0.0
    schema = preference_schema(conversational=isinstance(first.prompt, list), flipped=noisy)
    with Shards(folder / "data", schema) as shards:
        for preference in itertools.chain([first], selected):
            turned = is_flipped(preference, config) != (carried and bool(preference.extra.get(FLIPPED)))
            row = preference_row(preference) | ({FLIPPED: turned} if noisy else {})
            shards.add(split_for(preference, config), row)
            confidence += preference.z
            flipped += turned
    kept = sum(shards.rows.values())
    report = {
        "judgments": kept + left_out.total(),
        "preferences": kept,
        **({"flipped": flipped} if noisy else {}),
        "left_out": dict(left_out),
        "splits": {name: shards.rows.get(name, 0) for name in SPLITS},
        "split_by": config.split_by,
        "mean_confidence": confidence / kept,
    }
    (folder / "README.md").write_text(_card(first, report), encoding="utf-8")
    write_json(folder / "report.json", report)
    write_manifest(folder, "rlaif build", dataclasses.asdict(config), [config.judgments])
    return report


def judgments_of(config: BuildConfig) -> Iterator[Judgment]:
    """The judgments that a dataset is built from, one at a time: the judge's, or the pairs' own labels as such."""
    assert config.judgments is not None
    if config.z_from == "judge":
        yield from stream_judgments(config.judgments, config.split)
        return
    value = {"a": 1.0, "b": 0.0, "tie": 0.5}
    for pair in stream_pairs(config.judgments, config.split):
        if pair.label:
            yield Judgment(pair=pair, z=value[pair.label], judge="label")
        else:
            yield Judgment(pair=pair, z=None, reason="no label")


def split_for(row: Pair | Preference, config: BuildConfig) -> str:
    """The split that `config` puts a pair or preference in."""
    return split_of(_split_key(row, config.split_by), config.validation, config.test, config.seed)


def _split_key(row: Pair | Preference, split_by: str) -> str:
    """What decides the split of a pair or preference: the hash of its prompt, or the value of a column."""
    if split_by == "prompt":
        return prompt_hash(row.prompt)
    if split_by not in row.extra:
        raise ValueError(
            f"split_by is {split_by!r}, but pair {row.id} has no such column; expected 'prompt' or one of "
            f"{', '.join(row.extra) or 'none'}."
        )
    return str(row.extra[split_by])


def preference_schema(*, conversational: bool, flipped: bool = False) -> Any:
    """The pyarrow schema of a preference dataset, whose texts are strings or lists of messages.

    `flipped`: some verdicts are turned round, and a column says which.
    """
    import pyarrow as pa

    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    text = turns if conversational else pa.string()
    return pa.schema(
        [("id", pa.string()), ("prompt", text), ("chosen", text), ("rejected", text)]
        + [(name, pa.float64()) for name in ("z", "margin", "z_first", "z_second")]
        + [(name, pa.string()) for name in ("judge", "template", "chosen_model", "rejected_model", "label")]
        + ([(FLIPPED, pa.bool_())] if flipped else [])
    )


def preference_row(preference: Preference) -> dict[str, Any]:
    """A preference as one row of the dataset: where the prompt is messages, so are the responses, as TRL wants it."""
    row = {f.name: getattr(preference, f.name) for f in dataclasses.fields(preference) if f.name != "extra"}
    if isinstance(preference.prompt, list):
        row |= {side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}
    return row


def _card(first: Preference, report: Mapping[str, Any]) -> str:
    splits = report["splits"]
    files = "".join(f"  - split: {name}\n    path: data/{name}-*.parquet\n" for name, rows in splits.items() if rows)
    left_out = "".join(f"| left out: {reason} | {count} |\n" for reason, count in report["left_out"].items())
    sizes = "".join(f"| {name} | {count} |\n" for name, count in report["splits"].items())
    noise, turned = "", ""
    if "flipped" in report:
        turned = f"| verdicts turned round | {report['flipped']} |\n"
        noise = (
            f"**Label noise**: for an experiment, {report['flipped']} verdicts were turned round (`--flip_rate`). "
            f"Where `{FLIPPED}` is true, what was judged is the opposite of the row.\n\n"
        )
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}tags:\n- preference\n- rlaif\n---\n"
        "# Preferences\n\n"
        "`chosen` and `rejected` are two responses to `prompt`; `z` = P(`chosen` is preferred), in (0.5, 1], and "
        "`margin` = 2z - 1. `z_first` and `z_second` are the same probability with `chosen` shown to the judge first "
        "and second; their difference is the judge's position bias on the pair. `label` is what was known from "
        "elsewhere about which one is better (`chosen`, `rejected`, `tie`), empty where nothing was.\n\n"
        f"Judge: `{first.judge}`, prompt template `{first.template}`. Splits by hash of `{report['split_by']}`.\n\n"
        f"{noise}| rows | |\n|---|---|\n| judgments read | {report['judgments']} |\n{left_out}{sizes}{turned}"
    )


def load_preferences(source: str | Path, split: str) -> Any:
    """A split of a preference dataset, checked and in one shape, as a `datasets.Dataset`.

    Args:
        source: a folder that `rlaif build` or `save_to_disk` wrote, a .jsonl or .parquet file (which is one split), or
            a Hub id. `chosen` and `rejected` may be texts, assistant turns, or whole conversations.
        split: "train", "validation" or "test".

    Returns:
        Columns `id`, `prompt` (all strings or all messages), `chosen` and `rejected` (the responses' texts), `z`
        (1.0 where the source has none), `margin` (2z - 1 where it has none) and `label`. Rows with an empty response
        are left out, and the warning says how many.

    Raises:
        ValueError: a column is missing, z is not a probability, or no row is left.
    """
    import datasets

    rows = _load(source, split)
    shaped, empty = [], 0
    for at, row in enumerate(rows):
        for column in ("chosen", "rejected"):
            if column not in row:
                raise ValueError(
                    f"{source}, row {at}, has no {column!r}; expected prompt, chosen, rejected (and z), got "
                    f"{', '.join(row)}. Run `rlaif build` on judgments, or rename the columns."
                )
        try:
            one = _one_shape(row, at)
        except ValueError as error:
            raise ValueError(f"{source}, split {split}, row {at}: {error}") from None
        if not one["chosen"].strip() or not one["rejected"].strip():
            empty += 1
        else:
            shaped.append(one)
    if empty:
        warn(f"{source}, split {split}: {empty} of {len(rows)} rows have an empty response and are left out.")
    if not shaped:
        raise ValueError(f"{source}, split {split}, has no usable row; expected at least one preference.")
    kinds = {isinstance(row["prompt"], str) for row in shaped}
    if len(kinds) > 1:
        raise ValueError(f"{source} mixes prompts that are strings with prompts that are messages; use one kind.")
    return datasets.Dataset.from_list(shaped)


def _load(source: str | Path, split: str) -> list[dict[str, Any]]:
    path = Path(source)
    if path.is_file():
        return [row for _, row in read_rows(path)]
    if there := parquet_splits(path / "data"):
        if split not in there:
            raise ValueError(f"{source} has the splits {', '.join(there)}, not {split!r}; give it a larger share.")
        # Read as it is: `load_dataset` would copy it into a cache first.
        return [row for table in read_tables(there[split]) for row in table.to_pylist()]
    return [row for _, row in read_rows(source, split)]


def _one_shape(row: Mapping[str, Any], at: int) -> dict[str, Any]:
    sides = {}
    turns: list[Message] | None = None
    for side in ("chosen", "rejected"):
        value = row[side]
        if isinstance(value, list):
            if not value:
                raise ValueError(f"{side} is an empty list; expected text or a list of messages.")
            value = check_prompt(value)
            assert isinstance(value, list)
            if value[-1]["role"] != "assistant":
                raise ValueError(f"{side} ends with the role {value[-1]['role']!r}; expected an assistant turn.")
            if turns and value[:-1] and value[:-1] != turns:
                raise ValueError(
                    "chosen and rejected begin with different conversations; expected two responses to one prompt. "
                    "Remove the row."
                )
            turns = value[:-1] or turns
            value = value[-1]["content"]
        if not isinstance(value, str):
            raise ValueError(f"{side} is {type(value).__name__}; expected text or a list of messages.")
        sides[side] = value
    # Where chosen holds a whole conversation, its first turns are the prompt, with what a `prompt` column leaves out.
    prompt = turns or row.get("prompt")
    if prompt is None:
        raise ValueError("there is no 'prompt', and chosen is not a conversation; add the column.")
    z = row.get("z", 1.0)
    if z is None:
        raise ValueError("z is empty; expected a probability. `rlaif build` leaves unjudged pairs out.")
    z = check_probability(z)
    assert z is not None
    return {
        "id": str(row.get("id") or at),
        "prompt": check_prompt(prompt),
        **sides,
        "z": z,
        "margin": float(row["margin"]) if row.get("margin") is not None else round(2.0 * z - 1.0, 9),
        "label": row.get("label"),
    }


def check_held_out(dataset: str | Path, train_split: str | None, test_split: str | None) -> None:
    """A ValueError where a report on `test_split` would be of the rows that were trained on.

    Args:
        dataset: as `load_preferences` takes it. A file, or what `Dataset.save_to_disk` wrote, is one split whatever
            split is asked of it.
        train_split, test_split: the splits; no `test_split` is no measurement.
    """
    path = Path(dataset)
    if test_split is None:
        return
    if path.is_file() or (path / "state.json").is_file():
        raise ValueError(
            f"dataset is {dataset}, which is one split, so nothing of it is held out as {test_split!r}; expected "
            "--test_split none, or a dataset that `rlaif build` split."
        )
    if test_split == train_split:
        raise ValueError(
            f"test_split and train_split are both {test_split!r}; expected a split that is held out, or --test_split "
            "none."
        )
