"""`rlaif build`: judgments -> a preference dataset, and `load_preferences`, which the trainers read it with.

The dataset is a folder of Parquet files that `datasets.load_dataset` and TRL take as they are. Splits are decided by a
hash of the prompt (or of a column), so that no prompt is ever in two of them, whatever is added or left out later.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlaif.config import warn
from rlaif.errors.words import counted, shown
from rlaif.files.bad_rows import BadRows, on_bad_row
from rlaif.files.conversations import sides_of
from rlaif.files.pairs import identity_of
from rlaif.files.scores import z_of_scores
from rlaif.files.shards import SPLITS
from rlaif.files.sources import OneKind
from rlaif.files.splits import is_undivided, names_splits, rows_of_dataset
from rlaif.records import Preference, check_probability
from rlaif.settings.declared import described

__all__ = [
    "FLIPPED",
    "SPLITS",
    "PreferenceData",
    "check_held_out",
    "load_preferences",
    "preference_row",
    "preference_schema",
]

FLIPPED = "verdict_flipped"  # the column of a dataset with flipped verdicts that says which rows they are


def preference_schema(*, conversational: bool, flipped: bool = False) -> Any:
    """The pyarrow schema of a preference dataset, whose texts are strings or lists of messages.

    `flipped`: some verdicts are turned round, and a column says which.
    """
    import pyarrow as pa

    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    text = turns if conversational else pa.string()
    return pa.schema(
        [("id", pa.string()), ("prompt", text), ("chosen", text), ("rejected", text)]
        + [(name, pa.float64()) for name in ("z", "z_first", "z_second")]
        + [(name, pa.string()) for name in ("judge", "template", "chosen_model", "rejected_model", "label")]
        + ([(FLIPPED, pa.bool_())] if flipped else [])
    )


def preference_row(preference: Preference) -> dict[str, Any]:
    """A preference as one row of the dataset: where the prompt is messages, so are the responses, as TRL wants it."""
    row = {f.name: getattr(preference, f.name) for f in dataclasses.fields(preference) if f.name != "extra"}
    if isinstance(preference.prompt, list):
        row |= {side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}
    return row


_EXPECTED = {"source": "a folder, a file or a Hub id", "split": "train, validation or test"}


def load_preferences(
    source: str | Path,
    split: str,
    config_name: str | None = None,
    bad: BadRows | None = None,
    left_out: Counter[str] | None = None,
    places: list[str] | None = None,
) -> Any:
    """A split of a preference dataset, checked and in one shape, as a `datasets.Dataset`.

    Args:
        source: a folder that `rlaif build` or `save_to_disk` wrote, a .jsonl or .parquet file, or a Hub id. A file, or
            one dataset that was saved, is one split, unless its column `split` says which of them a row is of. `chosen`
            and `rejected` may be texts, assistant turns, or whole conversations; where the prompt comes from says
            `rlaif.files.conversations`.
        split: "train", "validation" or "test".
        config_name: of a datasets folder or Hub id that has several configs.
        bad: takes the rows that are none; without it the first one is a ValueError, and what is said of the others is
            said here.
        left_out: is filled with the rows that are not given, by their reason.
        places: is filled with where each of the rows that are given stands.

    Returns:
        Columns `id`, `prompt` (all strings or all messages), `chosen` and `rejected` (the responses' texts), `z` (1.0
        where the source has none) and `label`. Left out, and counted in one warning, are rows with an empty response
        or two equal ones and, of a source without z, those that its own scores of the two responses call a tie, or
        better the other way.

    Raises:
        ValueError: there is no such source or split, a column is missing, z is not a probability, or no row is left.
    """
    import datasets

    for name, given in (("source", source), ("split", split)):
        if not isinstance(given, str | Path) or not str(given).strip():
            raise ValueError(f"{name} is {shown(given, 40)}; expected {_EXPECTED[name]}.")
    own = bad is None
    bad, counts = BadRows() if bad is None else bad, Counter[str]()
    shaped: list[dict[str, Any]] = []
    found: list[str] = []
    kind, read, own_margin = OneKind(), 0, False
    with_z: tuple[bool, str] | None = None
    for at, (where, row) in enumerate(rows_of_dataset(source, split, config_name, bad)):
        if where in bad:
            continue
        with bad.at(where):
            one, reason = _one_shape(row, at)
            if with_z is not None and with_z[0] != ("z" in row):
                raise ValueError(
                    f"the row has {'a' if 'z' in row else 'no'} z, and the one at {with_z[1]} has "
                    f"{'none' if 'z' in row else 'one'}; expected z in all rows or in none."
                )
            with_z = with_z or ("z" in row, where)
            kind.check(one["prompt"], where, row)
            read += 1
            own_margin = own_margin or _has_own_margin(row, one["z"])
            if reason is None:
                shaped.append(one)
                found.append(where)
            else:
                counts[reason] += 1
    if left_out is not None:
        left_out.update(counts)
    if places is not None:
        places += found
    if not shaped:
        reasons = [counted(counts)] if counts else []
        reasons += [f"{len(bad.rows)} bad, the first {bad.first}"] if bad.rows else []
        why = f" ({', '.join(reasons)})" if reasons else ""
        raise ValueError(f"{source}, split {split}, has no usable row{why}; expected at least one preference.")
    if own:
        bad.say()
    if counts:
        warn(f"{source}, split {split}: left out {counts.total()} of {read} rows ({counted(counts)}).")
    if own_margin:
        warn(f"{source}, split {split}: its column margin is not used; the margin of a pair here is 2z - 1.")
    return datasets.Dataset.from_list(shaped)


def _one_shape(row: Mapping[str, Any], at: int) -> tuple[dict[str, Any], str | None]:
    """A row as `load_preferences` gives it, and why it does not; `at` is its id where it has none."""
    for side in ("chosen", "rejected"):
        if side not in row:
            raise ValueError(
                f"the row has no {side!r}; expected prompt, chosen, rejected (and z), got {', '.join(row)}. Run `rlaif "
                "build` on judgments, `rlaif convert` on other formats, or rename the columns."
            )
    prompt, chosen, rejected = sides_of(row)
    unusable = not chosen.strip() or not rejected.strip() or chosen == rejected
    reason = "empty or equal responses" if unusable else None
    label = row.get("label")
    if "z" not in row:
        z, why = z_of_scores(row)
        reason = reason or why or ("a tie" if z == 0.5 else None)
        label = label if isinstance(label, str) and label in _LABELS else None  # a column of the source's own
    elif row["z"] is None:
        raise ValueError("z is null; expected a probability. `rlaif build` leaves unjudged pairs out.")
    else:
        z = check_probability(row["z"])
        if label is not None and label not in _LABELS:
            raise ValueError(f"label is {shown(label)}; expected {', '.join(_LABELS)} or null.")
    one = {"id": identity_of(row.get("id")) or str(at), "prompt": prompt, "chosen": chosen, "rejected": rejected}
    return {**one, "z": 1.0 if z is None else z, "label": label}, reason


_LABELS = ("chosen", "rejected", "tie")


def _has_own_margin(row: Mapping[str, Any], z: float) -> bool:
    """Whether a source's margin says something else than z does; an older `rlaif build` wrote 2z - 1 itself."""
    margin = row.get("margin")
    return margin is not None and ("z" not in row or margin != round(2.0 * z - 1.0, 9))


def check_held_out(dataset: str | Path, train_split: str | None, test_split: str | None) -> None:
    """A ValueError where a report on `test_split` would be of the rows that were trained on.

    Args:
        dataset: as `load_preferences` takes it. A file, or what `Dataset.save_to_disk` wrote, is one split whatever
            split is asked of it, but where a column `split` says which.
        train_split, test_split: the splits; no `test_split` is no measurement.
    """
    if test_split is None:
        return
    if is_undivided(dataset) and not names_splits(dataset, test_split):
        raise ValueError(
            f"dataset is {dataset}, which is one split, so nothing of it is held out as {test_split!r}; expected "
            "--test_split none, or a dataset that `rlaif build` split."
        )
    if test_split == train_split:
        raise ValueError(
            f"test_split and train_split are both {test_split!r}; expected a split that is held out, or --test_split "
            "none."
        )


@described(
    headings={"dataset": "data"},
    also={
        "dataset": ("dataset_name",),
        "config_name": ("dataset_config",),
        "train_split": ("dataset_train_split",),
        "test_split": ("dataset_test_split",),
    },
)
@dataclass
class PreferenceData:
    """The preferences to learn from: settings of recipes/dpo.py and reward_models/bradley_terry.py."""

    dataset: str | None = field(default=None, metadata={"help": "Preferences: a datasets folder, a file or a Hub id."})
    config_name: str | None = field(default=None, metadata={"help": "Config of the dataset, where it has several."})
    train_split: str = field(
        default="train", metadata={"help": "Split to train on; of a file, what its column `split` says, if it has one."}
    )
    test_split: str | None = field(
        default="test", metadata={"help": "Split that the report measures on; 'none' for no measurement."}
    )

    on_bad_row: str = on_bad_row()

    def __post_init__(self) -> None:
        if not self.dataset:
            raise ValueError("dataset is missing; expected the folder that `rlaif build` wrote (--dataset).")
        if (self.test_split or "none").lower() == "none":
            self.test_split = None
        check_held_out(self.dataset, self.train_split, self.test_split)
