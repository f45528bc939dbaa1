"""Preferences and demonstrations as token columns, in the one rendering that scoring and generation use.

    reward model      chosen_ids, rejected_ids (whole conversations), z; an encoder adds its segments
    DPO               prompt_ids, chosen_ids, rejected_ids (responses with EOS), z
    SFT               input_ids, labels (-100 on the prompt)
    PPO               prompt, as it is, and the source's other columns

What is longer than `max_length` tokens is left out and counted, never cut: half a response is not what was judged. So
is a conversation that the chat template refuses, and one of which it leaves a turn out without a word: two opposite
preferences under two system prompts would be learned as preferences under none.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from rlaif.config import warn
from rlaif.errors.words import shown
from rlaif.files.bad_rows import BadRows
from rlaif.files.conversations import response_text
from rlaif.files.sources import placed_prompt_rows
from rlaif.models.rendering import Encoded, Rendering, Unrenderable
from rlaif.models.spelling import REFUSED, Spelling, text_ids
from rlaif.models.template_thoughts import forgotten_thoughts
from rlaif.records import Prompt, prompt_hash

__all__ = [
    "Tokenized",
    "check_plain",
    "check_sides",
    "demonstrations",
    "dpo_pairs",
    "ledger",
    "load_splits",
    "on_disk",
    "policy_prompts",
    "report_too_long",
    "reward_pairs",
    "tokenize_splits",
]

IGNORED = -100  # the label that PyTorch's cross-entropy leaves out


class Refused(NamedTuple):
    """A row that is no conversation for the model: where it stands, and why not, in the chat template's own words."""

    place: str
    reason: str


@dataclass(frozen=True)
class Tokenized:
    """Token columns (a `datasets.Dataset`), and what became of the other rows that came in.

    Attributes:
        rows: those that are used.
        too_long: how many were.
        refused: those that the chat template refuses.
        beyond: how many stood beyond a limit.
        repeated: how many were left out because their prompt stood before.
        places: where the prompts of `policy_prompts` stand.
        kept: which rows came in, of those that are used: numbers from 0.
    """

    rows: Any
    too_long: int
    refused: tuple[Refused, ...] = ()
    beyond: int = 0
    repeated: int = 0
    places: tuple[str, ...] = ()
    kept: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)


def encode(rendering: Rendering, tokenizer: Any, prompt: Prompt, response: str, stops: Collection[int] = ()) -> Encoded:
    """`Rendering.encode`, and an `Unrenderable` where the chat template leaves out a turn: it would not be learned."""
    rendering.check_turns(tokenizer, prompt, answered=True)
    return rendering.encode(tokenizer, prompt, response, stops)


def _say_forgotten(prompts: Iterable[Any], tokenizer: Any, rendering: Rendering) -> None:
    """Warns of prompts whose earlier thoughts the chat template leaves out; what is left is what the model reads."""
    if count := sum(prompt is not None and rendering.forgets(tokenizer, prompt) for prompt in prompts):
        warn(forgotten_thoughts("the chat template", f"{count} prompts"))


def reward_pairs(preferences: Any, tokenizer: Any, rendering: Rendering, max_length: int) -> Tokenized:
    """Preferences -> `chosen_ids`, `rejected_ids`, `z`; `chosen_segments`, `rejected_segments` if encoder.

    Args:
        preferences: what `rlaif.files.preferences.load_preferences` gives.
        max_length: of a conversation, in tokens, EOS included.
    """

    def tokenize(row: dict[str, Any]) -> dict[str, Any]:
        chosen = encode(rendering, tokenizer, row["prompt"], row["chosen"])
        rejected = encode(rendering, tokenizer, row["prompt"], row["rejected"])
        tokens: dict[str, Any] = {"chosen_ids": chosen.ids, "rejected_ids": rejected.ids}
        if segments:
            tokens |= {"chosen_segments": chosen.segments, "rejected_segments": rejected.segments}
        return tokens | {"length": max(len(chosen), len(rejected))}

    _say_forgotten(preferences["prompt"], tokenizer, rendering)
    segments = rendering.kind == "pair" and "token_type_ids" in tokenizer.model_input_names
    columns = ["chosen_ids", "rejected_ids", *(["chosen_segments", "rejected_segments"] if segments else [])]
    return _tokenized(preferences, tokenize, max_length, columns, keep=["z"])


def dpo_pairs(
    preferences: Any, tokenizer: Any, rendering: Rendering, max_length: int, stops: Collection[int] = ()
) -> Tokenized:
    """Preferences -> `prompt_ids`, `chosen_ids`, `rejected_ids`, `z`.

    Args:
        preferences, max_length: as in `reward_pairs`.
        stops: where the policy's generation stops (`rlaif.models.stops`): the responses end in one of them.
    """

    def tokenize(row: dict[str, Any]) -> dict[str, Any]:
        chosen = encode(rendering, tokenizer, row["prompt"], row["chosen"], stops)
        rejected = encode(rendering, tokenizer, row["prompt"], row["rejected"], stops)
        return {
            "prompt_ids": chosen.prompt_ids,
            "chosen_ids": chosen.response_ids,
            "rejected_ids": rejected.response_ids,
            "length": max(len(chosen), len(rejected)),
        }

    _say_forgotten(preferences["prompt"], tokenizer, rendering)
    return _tokenized(preferences, tokenize, max_length, ["prompt_ids", "chosen_ids", "rejected_ids"], keep=["z"])


def demonstrations(
    rows: Any, tokenizer: Any, rendering: Rendering, max_length: int, stops: Collection[int] = ()
) -> Tokenized:
    """Rows of `prompt` and `completion` -> `input_ids`, `labels`: the loss is on the completion alone.

    A row whose prompt is null is a plain text: all of it is learned, EOS included, in no chat template. `stops` as in
    `dpo_pairs`.
    """

    def tokenize(row: dict[str, Any]) -> dict[str, Any]:
        if row["prompt"] is None:
            ids = [*text_ids(tokenizer, row["completion"], begins=True), tokenizer.eos_token_id]
            return {"input_ids": ids, "labels": ids, "length": len(ids)}
        encoded = encode(rendering, tokenizer, row["prompt"], row["completion"], stops)
        labels = [IGNORED] * len(encoded.prompt_ids) + encoded.response_ids
        return {"input_ids": encoded.ids, "labels": labels, "length": len(encoded)}

    _say_forgotten(rows["prompt"], tokenizer, rendering)
    return _tokenized(rows, tokenize, max_length, ["input_ids", "labels"], keep=[])


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
    rewards: Iterable[str] = (),
    once: bool = False,
) -> Tokenized:
    """Rows of `source` that a policy is to answer: `prompt` and whatever other columns rewards may want.

    Args:
        max_length: of a prompt, in tokens: what the model's context leaves beside the longest response.
        limit: take only the first so many of the rows that are not too long; the others are counted as `beyond`.
        split, config_name: needed where the source has several.
        bad: takes the rows that are none; without it the first one is a ValueError.
        rewards: as settings name them; a `pairwise` one compares with the row's `reference`, which must be a response.
        once: take each prompt once, its first row: what is measured on prompts counts none of them twice.
    """
    import datasets

    bad = BadRows() if bad is None else bad
    compares = any(reward.startswith("pairwise=") for reward in rewards)
    too_long = beyond = repeated = 0
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    refused: list[Refused] = []
    for where, row in placed_prompt_rows(source, split, config_name, bad):
        if compares and row.get("reference") is not None:
            with bad.at(where):
                response_text(row["reference"], "reference")
            if where in bad:
                continue
        try:
            rendering.check_turns(tokenizer, row["prompt"])
            length = len(rendering.encode_prompt(tokenizer, row["prompt"]))
        except Unrenderable as error:
            refused.append(Refused(where, str(error)))
            continue
        identity = prompt_hash(row["prompt"]) if once else ""
        if length > max_length:
            too_long += 1
        elif once and identity in seen:
            repeated += 1
        elif limit is None or len(rows) < limit:
            rows.append(row)
            places.append(where)
            seen.add(identity)
        else:
            beyond += 1
    _say_forgotten((row["prompt"] for row in rows), tokenizer, rendering)
    # Of a column that a row lacks it has None: the first row's columns alone would be kept otherwise.
    columns = dict.fromkeys(name for row in rows for name in row)
    for name in columns:
        _check_column(name, [row.get(name) for row in rows], places)
    rows = [{name: row.get(name) for name in columns} for row in rows]
    found = datasets.Dataset.from_list(rows) if rows else []
    return Tokenized(found, too_long, tuple(refused), beyond, repeated, tuple(places))


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

    Of rows that the chat template refuses it warns besides.

    Args:
        name: of the limit, as a user can change it.
    """
    total = len(data) + data.too_long + len(data.refused) + data.beyond
    if data.refused:
        place, reason = data.refused[0]
        many = f"{len(data.refused)} of {total} rows" if len(data) else f"all {len(data.refused)} rows not too long"
        said = f"{split}: left out {many}: the chat template does not write them as they are; {place}: {reason}"
        if not len(data):
            raise ValueError(f"{said}. Change the rows, or give the tokenizer a template that takes them.")
        warn(said)
    if not data.too_long:
        return None
    if not len(data):
        raise ValueError(
            f"all {total} rows of the {split} split are longer than {name} = {max_length} tokens; expected at least "
            f"one that is not. Change {name}, or check that the rows are what you think they are."
        )
    return f"{split}: left out {data.too_long} of {total} rows, longer than {name} = {max_length} tokens"


def load_splits(load: Callable[..., Any], data_config: Any, bad: BadRows, left_out: Counter[str]) -> tuple[Any, Any]:
    """The rows that a program trains on, and those that it measures on, or None.

    Args:
        load: `load_preferences`, or another that takes what it takes.
        data_config: has `dataset`, `config_name`, `train_split` and `test_split`, None where nothing is measured.
        bad, left_out: take the rows of both splits that are not used. What is to be said of bad ones is said here:
            before anything is trained.

    Returns:
        What `load` gives, with a column `place`: where each row stands.
    """

    def of(split: str | None) -> Any:
        places: list[str] = []
        rows = load(
            data_config.dataset,
            split=split,
            config_name=data_config.config_name,
            bad=bad,
            left_out=left_out,
            places=places,
        )
        return rows.add_column("place", places)

    splits = of(data_config.train_split), of(data_config.test_split) if data_config.test_split else None
    bad.say()
    return splits


def tokenize_splits(
    tokenize: Callable[..., Tokenized],
    data_config: Any,
    train: Any,
    test: Any,
    tokenizer: Any,
    rendering: Rendering,
    max_length: int,
    *stops: Collection[int],
) -> tuple[Tokenized, Tokenized | None]:
    """What `load_splits` gave, as tokens; the main process says what was left out (`report_too_long`).

    Args:
        tokenize: `dpo_pairs` or the like; called with the rows of a split and everything from `tokenizer` on.
        data_config: as in `load_splits`.
        train, test: the rows; no test where there is none.
    """
    from rlaif.models.parallel import is_main

    def of(rows: Any) -> Tokenized:
        return tokenize(rows, tokenizer, rendering, max_length, *stops)

    tokens = of(train), of(test) if test else None
    for split, rows in zip((data_config.train_split, data_config.test_split), tokens, strict=True):
        if rows is not None and (line := report_too_long(split, rows, max_length)) and is_main():
            print(line)
    return tokens


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
    if refused := sum(len(split.refused) for split in splits):
        counts[REFUSED] = refused
    if beyond := sum(split.beyond for split in splits):
        counts["beyond limit"] = beyond
    if repeated := sum(split.repeated for split in splits):
        counts["prompt stood before"] = repeated
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
        return replace(data, rows=datasets.load_from_disk(folder))


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
    dataset: Any,
    tokenize: Callable[[dict[str, Any]], dict[str, Any]],
    max_length: int,
    columns: list[str],
    keep: list[str],
) -> Tokenized:
    """The rows of `dataset` as `columns` of tokens, with the columns `keep` as they are."""

    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    from rlaif.models.loading import quiet

    if max_length < 1:
        raise ValueError(f"max_length is {max_length}; expected a positive number of tokens.")

    def careful(row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {**tokenize(row), "refused": ""}
        except Unrenderable as error:  # tokens all the same, so that the columns have a type
            return {**{name: [0] for name in columns}, "length": 0, "refused": str(error)}

    drop = [name for name in dataset.column_names if name not in keep]
    if not len(dataset):
        raise ValueError("the split has no rows; expected at least one.")
    bars = not are_progress_bars_disabled()
    if len(dataset) < 5000:  # a second or two: not worth a bar
        disable_progress_bars()
    try:
        # quiet(): a tokenizer warns of a sequence longer than its model's; such rows are counted below.
        with _main_process_first(), quiet():
            tokens = dataset.map(careful, remove_columns=drop, desc="tokenizing")
            # Token ids are small integers in a table: filtering by these columns reads nothing else.
            refused = {i: reason for i, reason in enumerate(tokens["refused"]) if reason}
            fits = [i for i, length in enumerate(tokens["length"]) if length <= max_length and i not in refused]
    finally:
        if bars:
            enable_progress_bars()
    places = dataset["place"] if "place" in dataset.column_names else [f"row {i + 1}" for i in range(len(dataset))]
    return Tokenized(
        tokens.select(fits).remove_columns(["length", "refused"]),
        too_long=len(tokens) - len(fits) - len(refused),
        refused=tuple(Refused(places[i], why) for i, why in refused.items()),
        kept=tuple(fits),
    )


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
