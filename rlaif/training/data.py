"""Preferences and demonstrations as token columns, in the one rendering that scoring and generation use.

    reward model      chosen_ids, rejected_ids (whole conversations), z; an encoder adds its segments
    DPO               prompt_ids, chosen_ids, rejected_ids (responses with EOS), z
    SFT               input_ids, labels (-100 on the prompt)
    PPO               prompt, as it is, and the source's other columns

What is longer than `max_length` tokens is left out and counted, never cut: half a response is not what was judged.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rlaif.errors.words import shown
from rlaif.files.bad_rows import BadRows
from rlaif.files.sources import placed_prompt_rows
from rlaif.models.rendering import Rendering
from rlaif.models.spelling import Spelling, text_ids

__all__ = [
    "Tokenized",
    "check_plain",
    "check_sides",
    "demonstrations",
    "dpo_pairs",
    "ledger",
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
    """Rows of `prompt` and `completion` -> `input_ids`, `labels`: the loss is on the completion alone.

    A row whose prompt is null is a plain text: all of it is learned, EOS included, in no chat template.
    """

    def tokenize(row: dict[str, Any]) -> dict[str, Any]:
        if row["prompt"] is None:
            ids = [*text_ids(tokenizer, row["completion"], begins=True), tokenizer.eos_token_id]
            return {"input_ids": ids, "labels": ids, "length": len(ids)}
        encoded = rendering.encode(tokenizer, row["prompt"], row["completion"])
        labels = [IGNORED] * len(encoded.prompt_ids) + encoded.response_ids
        return {"input_ids": encoded.ids, "labels": labels, "length": len(encoded)}

    return _tokenized(rows, tokenize, max_length, keep=[])


def check_plain(tokenizer: Any, text: str) -> None:
    """A ValueError for a plain text that spells a control token: it is a conversation in somebody's markup."""
    spelled = next((token for token in Spelling.of(tokenizer).ids if token in text), None)
    if spelled is not None:
        raise ValueError(
            f"text holds {shown(spelled)}, a control token of the model's tokenizer; expected plain text. Give a "
            "conversation as `messages`, and the chat template writes such tokens."
        )


def policy_prompts(
    source: str,
    split: str | None,
    tokenizer: Any,
    rendering: Rendering,
    max_length: int,
    limit: int | None = None,
    config_name: str | None = None,
    bad: BadRows | None = None,
) -> Tokenized:
    """Rows of `source` that a policy is to answer: `prompt` and whatever other columns rewards may want.

    Args:
        max_length: of a prompt, in tokens: what the model's context leaves beside the longest response.
        limit: take only the first so many of the rows that are not too long.
        split, config_name: needed where the source has several.
        bad: takes the rows that are none; without it the first one is a ValueError.
    """
    import datasets

    too_long = 0
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    for where, row in placed_prompt_rows(source, split, config_name, bad):
        if len(rendering.encode_prompt(tokenizer, row["prompt"])) > max_length:
            too_long += 1
        elif limit is None or len(rows) < limit:
            rows.append(row)
            places.append(where)
    # Of a column that a row lacks it has None: the first row's columns alone would be kept otherwise.
    columns = dict.fromkeys(name for row in rows for name in row)
    for name in columns:
        _check_column(name, [row.get(name) for row in rows], places)
    rows = [{name: row.get(name) for name in columns} for row in rows]
    return Tokenized(datasets.Dataset.from_list(rows) if rows else [], too_long)


def _check_column(name: str, values: list[Any], places: list[str]) -> None:
    """A ValueError where the values of a column have no type in common, with the place of the first that differs."""
    import pyarrow as pa

    try:
        pa.array(values)
        return
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        low, high = 1, len(values)  # the first so many fit, the first so many do not
    while high - low > 1:
        middle = (low + high) // 2
        try:
            pa.array(values[:middle])
            low = middle
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            high = middle
    raise ValueError(
        f"{places[high - 1]}: {name} is {shown(values[high - 1])}, of another type than before; expected one type in "
        "a column. Write all of its values as text, or leave the column out."
    )


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


def ledger(data: Iterable[Tokenized | None], bad: BadRows, left_out: Mapping[str, int]) -> dict[str, Any]:
    """A report's ledger of all splits: rows read, rows used, and the others by their reason.

    Args:
        data: the splits; None for one that there is not.
        bad: the rows that were none.
        left_out: what reading left out for other reasons.
    """
    splits = [split for split in data if split is not None]
    counts = Counter(left_out)
    if too_long := sum(split.too_long for split in splits):
        counts["too long"] = too_long
    used = sum(len(split) for split in splits)
    return bad.ledger(used + counts.total(), used, counts)


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
