"""`rlaif build`: judgments -> a preference dataset, and `load_preferences`, which the trainers read it with.

The dataset is a folder of Parquet files that `datasets.load_dataset` and TRL take as they are. Splits are decided by a
hash of the prompt (or of a column), so that no prompt is ever in two of them, whatever is added or left out later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.config import warn
from rlaif.files.shards import SPLITS, parquet_splits, read_tables
from rlaif.files.sources import read_rows
from rlaif.records import (
    Message,
    Preference,
    check_probability,
    check_prompt,
)

__all__ = ["FLIPPED", "SPLITS", "check_held_out", "load_preferences", "preference_row", "preference_schema"]


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


def load_preferences(source: str | Path, split: str, config_name: str | None = None) -> Any:
    """A split of a preference dataset, checked and in one shape, as a `datasets.Dataset`.

    Args:
        source: a folder that `rlaif build` or `save_to_disk` wrote, a .jsonl or .parquet file (which is one split), or
            a Hub id. `chosen` and `rejected` may be texts, assistant turns, or whole conversations.
        split: "train", "validation" or "test".
        config_name: of a datasets folder or Hub id that has several configs.

    Returns:
        Columns `id`, `prompt` (all strings or all messages), `chosen` and `rejected` (the responses' texts), `z`
        (1.0 where the source has none), `margin` (2z - 1 where it has none) and `label`. Rows with an empty response
        are left out, and the warning says how many.

    Raises:
        ValueError: a column is missing, z is not a probability, or no row is left.
    """
    import datasets

    rows = _load(source, split, config_name)
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


def _load(source: str | Path, split: str, config_name: str | None) -> list[dict[str, Any]]:
    path = Path(source)
    if path.is_file():
        return [row for _, row in read_rows(path, config_name=config_name)]
    if config_name is None and (there := parquet_splits(path / "data")):
        if split not in there:
            raise ValueError(f"{source} has the splits {', '.join(there)}, not {split!r}; give it a larger share.")
        # Read as it is: `load_dataset` would copy it into a cache first.
        return [row for table in read_tables(there[split]) for row in table.to_pylist()]
    return [row for _, row in read_rows(source, split, config_name)]


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
