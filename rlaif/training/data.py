"""Preferences and demonstrations as token columns, in the one rendering that scoring and generation use.

    reward model      chosen_ids, rejected_ids (whole conversations), z; an encoder adds its segments
    DPO               prompt_ids, chosen_ids, rejected_ids (responses with EOS), z
    SFT               input_ids, labels (-100 on the prompt)
    PPO               prompt, as it is, and the source's other columns

What is longer than `max_length` tokens is left out and counted, never cut: half a response is not what was judged.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rlaif.files.sources import read_prompt_rows
from rlaif.models.rendering import Rendering

__all__ = [
    "Tokenized",
    "check_sides",
    "demonstrations",
    "dpo_pairs",
    "on_disk",
    "policy_prompts",
    "report_too_long",
    "reward_pairs",
]

IGNORED = -100  # the label that PyTorch's cross-entropy leaves out


@dataclass(frozen=True)
class Tokenized:
    """Token columns (a `datasets.Dataset`), and how many of the rows that came in were too long."""

    rows: Any
    too_long: int

    def __len__(self) -> int:
        return len(self.rows)


def reward_pairs(preferences: Any, tokenizer: Any, rendering: Rendering, max_length: int) -> Tokenized:
    """Preferences -> `chosen_ids`, `rejected_ids`, `z`; `chosen_segments`, `rejected_segments` if encoder.

    Args:
        preferences: what `rlaif.files.preferences.load_preferences` gives.
        max_length: of a conversation, in tokens, EOS included.
    """

    def tokenize(row: dict[str, Any]) -> dict[str, Any]:
        chosen = rendering.encode(tokenizer, row["prompt"], row["chosen"])
        rejected = rendering.encode(tokenizer, row["prompt"], row["rejected"])
        tokens: dict[str, Any] = {"chosen_ids": chosen.ids, "rejected_ids": rejected.ids}
        if rendering.kind == "pair" and "token_type_ids" in tokenizer.model_input_names:
            tokens |= {"chosen_segments": chosen.segments, "rejected_segments": rejected.segments}
        return tokens | {"length": max(len(chosen), len(rejected))}

    return _tokenized(preferences, tokenize, max_length, keep=["z"])


def dpo_pairs(preferences: Any, tokenizer: Any, rendering: Rendering, max_length: int) -> Tokenized:
    """Preferences -> `prompt_ids`, `chosen_ids`, `rejected_ids`, `z`. Arguments as in `reward_pairs`."""

    def tokenize(row: dict[str, Any]) -> dict[str, Any]:
        chosen = rendering.encode(tokenizer, row["prompt"], row["chosen"])
        rejected = rendering.encode(tokenizer, row["prompt"], row["rejected"])
        return {
            "prompt_ids": chosen.prompt_ids,
            "chosen_ids": chosen.response_ids,
            "rejected_ids": rejected.response_ids,
            "length": max(len(chosen), len(rejected)),
        }

    return _tokenized(preferences, tokenize, max_length, keep=["z"])


def demonstrations(rows: Any, tokenizer: Any, rendering: Rendering, max_length: int) -> Tokenized:
    """Rows of `prompt` and `completion` -> `input_ids`, `labels`: the loss is on the completion alone."""

    def tokenize(row: dict[str, Any]) -> dict[str, Any]:
        encoded = rendering.encode(tokenizer, row["prompt"], row["completion"])
        labels = [IGNORED] * len(encoded.prompt_ids) + encoded.response_ids
        return {"input_ids": encoded.ids, "labels": labels, "length": len(encoded)}

    return _tokenized(rows, tokenize, max_length, keep=[])


def policy_prompts(
    source: str,
    split: str | None,
    tokenizer: Any,
    rendering: Rendering,
    max_length: int,
    limit: int | None = None,
    config_name: str | None = None,
) -> Tokenized:
    """Rows of `source` that a policy is to answer: `prompt` and whatever other columns rewards may want.

    Args:
        max_length: of a prompt, in tokens: what the model's context leaves beside the longest response.
        limit: take only the first so many of the rows that are not too long.
        split, config_name: needed where the source has several.
    """
    import datasets

    too_long = 0
    rows: list[dict[str, Any]] = []
    for row in read_prompt_rows(source, split, config_name):
        if len(rendering.encode_prompt(tokenizer, row["prompt"])) > max_length:
            too_long += 1
        elif limit is None or len(rows) < limit:
            rows.append(row)
    # Of a column that a row lacks it has None: the first row's columns alone would be kept otherwise.
    columns = dict.fromkeys(name for row in rows for name in row)
    rows = [{name: row.get(name) for name in columns} for row in rows]
    return Tokenized(datasets.Dataset.from_list(rows) if rows else [], too_long)


def report_too_long(split: str, data: Tokenized, max_length: int, name: str = "max_length") -> str | None:
    """The line that says what was left out, None where nothing was; a ValueError where nothing is left.

    Args:
        name: of the limit, as a user can change it.
    """
    if not data.too_long:
        return None
    total = len(data) + data.too_long
    if not len(data):
        raise ValueError(
            f"all {total} rows of the {split} split are longer than {name} = {max_length} tokens; expected at least "
            f"one that is not. Change {name}, or check that the rows are what you think they are."
        )
    return f"{split}: left out {data.too_long} of {total} rows, longer than {name} = {max_length} tokens"


def on_disk(data: Tokenized, folder: str) -> Tokenized:
    """The same rows, read back from `folder`, where every process finds what `datasets` caches beside them."""
    import datasets

    with _main_process_first():
        from rlaif.models.parallel import is_main

        if is_main():
            shutil.rmtree(folder, ignore_errors=True)
            data.rows.save_to_disk(folder)
        return Tokenized(datasets.load_from_disk(folder), data.too_long)


def check_sides(preferences: Any, preference_loss: str) -> None:
    """A ValueError where a loss that takes "chosen is better" for granted meets pairs whose z says otherwise."""
    if preference_loss == "soft":
        return
    below = sum(z < 0.5 for z in preferences["z"])
    if below:
        raise ValueError(
            f"{below} of {len(preferences)} pairs have z < 0.5, so their rejected response is the preferred one; "
            f"preference_loss {preference_loss!r} would learn the opposite. Swap them, or use the soft loss."
        )


def _tokenized(
    dataset: Any, tokenize: Callable[[dict[str, Any]], dict[str, Any]], max_length: int, keep: list[str]
) -> Tokenized:
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    from rlaif.models.loading import quiet

    if max_length < 1:
        raise ValueError(f"max_length is {max_length}; expected a positive number of tokens.")
    drop = [name for name in dataset.column_names if name not in keep]
    if not len(dataset):
        raise ValueError("the split has no rows; expected at least one.")
    bars = not are_progress_bars_disabled()
    if len(dataset) < 5000:  # a second or two: not worth a bar
        disable_progress_bars()
    try:
        # quiet(): a tokenizer warns of a sequence longer than its model's; such rows are counted below.
        with _main_process_first(), quiet():
            tokens = dataset.map(tokenize, remove_columns=drop, desc="tokenizing")
            # Token ids are small integers in a table: filtering by the length column reads nothing else.
            fits = [i for i, length in enumerate(tokens["length"]) if length <= max_length]
    finally:
        if bars:
            enable_progress_bars()
    return Tokenized(tokens.select(fits).remove_columns("length"), too_long=len(tokens) - len(fits))


@contextmanager
def _main_process_first() -> Iterator[None]:
    """Lets the other processes find in `datasets`' cache what the main one has tokenized."""
    from rlaif.models.parallel import process_count

    if process_count() == 1:
        yield
        return
    from accelerate import PartialState

    with PartialState().main_process_first():
        yield
