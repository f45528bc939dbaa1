"""Which judgments become preferences, and in which split each stands."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rlaif.errors.words import meant
from rlaif.files.bad_rows import BadRows, on_bad_row
from rlaif.files.sources import stream_judgments, stream_pairs
from rlaif.records import (
    Judgment,
    Pair,
    Preference,
    complement,
    label_value,
    prompt_hash,
    uniform_hash,
)
from rlaif.settings.declared import described

__all__ = ["BuildConfig", "flip", "is_flipped", "judgments_of", "select", "split_for", "split_of"]


@described(
    headings={
        "judgments": "judgments",
        "z_from": "which become preferences",
        "split_by": "splits",
        "flip_rate": "experiments",
    },
    also={"output": ("output_dir",), "config_name": ("dataset_config",)},
)
@dataclass
class BuildConfig:
    """Judgments in, a preference dataset out."""

    judgments: str | None = field(
        default=None,
        metadata={"help": "What `rlaif judge` wrote (its folder), or any source of pairs with a `z` column."},
    )
    output: str | None = field(default=None, metadata={"help": "Folder of the dataset."})
    split: str | None = field(
        default=None,
        metadata={"help": "Split of the source, where it has several; of a file, what its column `split` says."},
    )
    config_name: str | None = field(default=None, metadata={"help": "Config of the source, where it has several."})
    on_bad_row: str = on_bad_row()
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


def judgments_of(config: BuildConfig, bad: BadRows | None = None) -> Iterator[Judgment]:
    """The judgments that a dataset is built from, one at a time: the judge's, or the pairs' own labels as such.

    `bad` takes the rows that are none; without it the first one is a ValueError.
    """
    assert config.judgments is not None
    if config.z_from == "judge":
        yield from stream_judgments(config.judgments, config.split, config.config_name, bad)
        return
    for pair in stream_pairs(config.judgments, config.split, config.config_name, bad):
        if pair.label:
            yield Judgment(pair=pair, z=label_value(pair.label), judge="label")
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
            f"{', '.join(row.extra) or 'none'}.{meant(split_by, ['prompt', *row.extra])}"
        )
    return str(row.extra[split_by])
