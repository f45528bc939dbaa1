"""Scores a file with a reward model: one JSON line in, the same line with its rewards out.

    python reward_models/score.py --reward_model runs/quickstart/reward_model --input pairs.jsonl --output scored.jsonl

    a row with                              gets
    prompt, response                        reward
    prompt, response_a, response_b          reward_a, reward_b, reward_z = P(response_a is preferred)
    prompt, chosen, rejected                reward_chosen, reward_rejected, reward_z = P(chosen is preferred)
    prompt, completion; instruction,        reward
    output; question, answer; messages;
    conversations

It is the first of these that the first row has; an answer beside it that says something else is not scored, and a run
says so. A response may be a text, an assistant's message or a whole conversation, whose last turn is scored after all
that comes before it; a `system` column is its system turn (reward_models/README.md). A row's own columns of these names
are kept as `source_reward` and so on, and where that is there too as `source_source_reward`: no column is lost.

Rewards are raw scores minus the model's zero point, so 0 is an average response of its training data. A conversation
that is longer than the model was trained for, or that its chat template refuses, gets null, and is counted. Input may
be JSONL, Parquet, a `datasets` folder or a Hub id. Beside the output stands its manifest (scored.jsonl.manifest.json);
only a file that has this program's is written anew.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rlaif import config, metrics, training
from rlaif.files.bad_rows import BadRows, bad_rows_beside, on_bad_row
from rlaif.files.reads import Rows, sources
from rlaif.settings.declared import described

READS = {"input": "rows", "reward_model": "model"}
LEARNS: tuple[Rows, ...] = ()

SHAPES = (("response",), ("response_a", "response_b"), ("chosen", "rejected"))


@described(
    headings={"reward_model": "scoring"},
    also={
        "reward_model": ("model", "model_name_or_path"),
        "input": ("source", "dataset", "dataset_name"),
        "output": ("output_dir",),
        "config_name": ("dataset_config",),
    },
)
@dataclass
class ScoreConfig:
    """Rows in, rows with rewards out."""

    reward_model: str | None = field(default=None, metadata={"help": "Folder or Hub id of the reward model."})
    input: str | None = field(default=None, metadata={"help": "Rows to score."})
    output: str | None = field(default=None, metadata={"help": "JSONL file to write."})
    split: str | None = field(
        default=None,
        metadata={"help": "Split of the input, where it has several; of a file, what its column `split` says."},
    )
    config_name: str | None = field(default=None, metadata={"help": "Config of the input, where it has several."})
    trust_remote_code: bool = field(
        default=False,
        metadata={"help": "Run the code that models' repositories hold; without it a model that needs it fails."},
    )
    batch_tokens: int = field(default=16384, metadata={"help": "Tokens in a batch, padding included."})
    on_bad_row: str = on_bad_row()

    def __post_init__(self) -> None:
        for name in ("reward_model", "input", "output"):
            if not getattr(self, name):
                raise ValueError(f"{name} is missing; expected --{name} and a path.")
        if Path(str(self.output)).suffix in {".arrow", ".csv", ".parquet", ".tsv"}:
            raise ValueError(
                f"output is {self.output}; what is written is JSON lines: expected a name ending in .jsonl."
            )


SETTINGS = (ScoreConfig,)


def main() -> None:
    training.quiet_libraries()
    from rlaif.files.manifest import write_manifest
    from rlaif.files.ownership import claim_file
    from rlaif.models.parallel import is_main

    # ---- parse
    (settings,) = config.parse(*SETTINGS, description=__doc__)
    if not is_main():
        return  # of a launcher's processes one does it all
    reads, output = sources(READS, settings), Path(settings.output)
    with claim_file(output, "reward_models/score.py", reads):
        report = score(settings)
        name = f"{output.name}.manifest.json"
        write_manifest(output.parent, "reward_models/score.py", asdict(settings), reads, name=name, report=report)

    # ---- report
    print(
        f"scored {report['scored']} of {report['responses']} responses in {report['rows']} rows, "
        f"{report['too_long']} too long and {report['refused']} refused (null); wrote {settings.output}"
    )
    if report["assumed"]:
        print(f"the rendering is assumed to be {report['assumed']}")


def score(settings: Any) -> dict[str, Any]:
    """Writes the scored rows to `settings.output`; the counts, and the rendering where it is assumed.

    Raises:
        ValueError: a row is not as expected, there is none, or all are too long.
    """
    from rlaif.files.conversations import responses_of
    from rlaif.files.demonstrations import answers_beside
    from rlaif.files.pairs import carried
    from rlaif.files.sources import OneKind, write_jsonl
    from rlaif.files.splits import rows_of_split
    from rlaif.judging.unscorable import say_refused
    from rlaif.models.reward_model import RewardModel
    from rlaif.models.spelling import REFUSED

    # ---- load
    rows, prompts, responses, places = [], [], [], []
    columns: tuple[str, ...] | None = None
    kind, bad = OneKind(), BadRows(settings.on_bad_row)
    for where, row in rows_of_split(settings.input, settings.split, settings.config_name, bad):
        with bad.at(where):
            columns = columns or shape(row)
            prompt, texts = responses_of(row, columns)
            kind.check(prompt, where, row)
            if others := answers_beside(row, texts, columns):
                bad.unread.add(
                    f"{settings.input} has rows with {' and '.join(columns)} and {others}, which is not scored."
                )
            prompts.append(prompt)
            responses.append(texts)
            rows.append(row)
            places.append(where)
    bad.say(bad_rows_beside(Path(settings.output)))
    if columns is None or not rows:
        why = f" Left out: {len(bad.rows)}, the first {bad.first}" if bad.rows else ""
        raise ValueError(f"{settings.input} has no {'usable ' if why else ''}rows; expected at least one.{why}")
    reward_model = RewardModel.load(settings.reward_model, trust_remote_code=settings.trust_remote_code)

    # ---- score
    scores = reward_model.score(
        [prompt for prompt, sides in zip(prompts, responses, strict=True) for _ in sides],
        [side for sides in responses for side in sides],
        tokens=settings.batch_tokens,
        progress=True,
    ).reshape(len(rows), len(columns))
    refused = {at // len(columns): why for at, why in reversed(reward_model.refused.items())}
    say_refused(refused, len(rows), "rows cannot be scored", places.__getitem__, "their rewards are null")
    if reward_model.unscored == scores.size:
        raise ValueError(
            f"all {scores.size} responses are longer with their prompts than the {reward_model.card.max_length} tokens "
            f"that {settings.reward_model} reads; expected one that is not."
        )
    rewards = scores - reward_model.zero
    temperature = reward_model.card.temperature or 1.0

    # ---- save
    write_jsonl(
        settings.output,
        (
            {**carried(row, rewarded), **rewarded}
            for row, rewards_of_row in zip(rows, rewards, strict=True)
            for rewarded in [named(columns, rewards_of_row, temperature)]
        ),
    )
    bad.write(settings.output)

    too_long = int(np.isnan(rewards).any(axis=1).sum()) - len(refused)
    left_out = +Counter({"too long": too_long, REFUSED: len(refused)})
    return {
        "rows": len(rows),
        "ledger": bad.ledger(len(rows), len(rows) - left_out.total(), left_out),
        "responses": scores.size,
        "scored": scores.size - reward_model.unscored,
        "too_long": reward_model.unscored - len(reward_model.refused),
        "refused": len(reward_model.refused),
        "assumed": reward_model.assumed,
    }


def shape(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The response columns of a file, told by its first row: two responses, or the one that recipes/sft.py learns.

    Raises:
        ValueError: the row has no response.
    """
    from rlaif.files.demonstrations import answer_column

    for columns in SHAPES:
        if all(column in row for column in columns):
            return columns
    if answer := answer_column(row):
        return (answer,)
    raise ValueError(
        f"the row has the columns {', '.join(row)}; expected a prompt with response, completion, output or answer, or "
        "with response_a and response_b, or chosen and rejected; or messages or conversations."
    )


def named(columns: tuple[str, ...], rewards: Any, temperature: float) -> dict[str, float | None]:
    """The new columns of one row; None where a reward is NaN."""
    finite = [None if math.isnan(reward) else float(reward) for reward in rewards]
    if len(columns) == 1:
        return {"reward": finite[0]}
    z = metrics.sigmoid((rewards[0] - rewards[1]) / temperature) if None not in finite else None
    names = [f"reward_{column.removeprefix('response_')}" for column in columns]
    return {**dict(zip(names, finite, strict=True)), "reward_z": z}


if __name__ == "__main__":
    config.run(main)
