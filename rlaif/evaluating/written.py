"""The files of an evaluation: responses.jsonl, report.json, the pages and the manifest."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif.assess.responses import Responses
from rlaif.evaluating.judged import Judged
from rlaif.evaluating.plan import Plan, Prompts
from rlaif.evaluating.trained import TrainedOn
from rlaif.files.bad_rows import BAD_ROWS_FILE
from rlaif.files.manifest import write_manifest
from rlaif.files.pairs import carried
from rlaif.files.sources import write_jsonl
from rlaif.files.swap import move_into, staging
from rlaif.models.base import served_by
from rlaif.pages.evaluation import PLOTS, Example, write_report

__all__ = ["write"]

_OF_JUDGMENT = ("z", "z_ab", "z_ba", "reason")
# Columns that not every row has. No row has a prompt's column by such a name: a preference's z is no verdict on these.
_OF_SOME = (*_OF_JUDGMENT, "z_over", "trained_on")


def write(
    plan: Plan,
    report: Mapping[str, Any],
    prompts: Prompts,
    responses: Mapping[str, Responses],
    judged: Judged,
    trained_on: TrainedOn | None,
) -> None:
    """Writes all files at once into the output; what was there stays whole until they are."""
    config, folder = plan.config, Path(plan.output)
    judge = plan.judge.about if plan.judge else {}  # as it was asked, defaults and its file filled in
    told = {name: policy.told for name, policy in plan.policies.items() if policy.told}
    settings = {**dataclasses.asdict(config), **judge, **({"policy_models": told} if told else {})}
    served = served_by([*plan.endpoints.values(), *(plan.judge.models.values() if plan.judge else ())])
    with staging(folder, ".evaluating") as staged:
        write_jsonl(staged / "responses.jsonl", _rows(plan, prompts, responses, judged, trained_on))
        write_report(staged, report, _examples(plan, prompts, responses))
        write_manifest(staged, "rlaif evaluate", settings, plan.reads, earlier=folder, **served)
        plan.all_bad.write(staged, folder)
        move_into(staged, folder, also_gone=(*PLOTS, BAD_ROWS_FILE))


def _rows(
    plan: Plan, prompts: Prompts, responses: Mapping[str, Responses], judged: Judged, trained_on: TrainedOn | None
) -> Iterator[dict[str, Any]]:
    """A row for each prompt and policy, with every number of it that a mean of the report is made of."""
    for index, prompt in enumerate(prompts.texts):
        seen = trained_on.of(prompt) if trained_on else []
        for name, policy in responses.items():
            judgment = judged[name, plan.baseline][index] if judged else None
            over = {
                other: {key: getattr(found[index], key) for key in _OF_JUDGMENT}
                for (first, other), found in judged.items()
                if first == name and other != plan.baseline and found[index] is not None
            }
            numbers = {
                "index": index,
                "policy": name,
                "prompt": prompt,
                "response": policy.texts[index],
                "characters": len(policy.texts[index]),
                "tokens": None if policy.tokens is None else policy.tokens[index],
                "ended": None if policy.ended is None else policy.ended[index],
                "gold": _number(policy.gold, index),
                "reward": _number(policy.reward, index),
                "kl": _number(policy.kl, index),
                **({} if judgment is None else {key: getattr(judgment, key) for key in _OF_JUDGMENT}),
                **({"z_over": over} if over else {}),
                **({"trained_on": seen} if seen else {}),
                "place": prompts.places[index],
            }
            yield {**numbers, **carried(prompts.columns[index], {*numbers, *_OF_SOME})}


def _number(values: NDArray[np.float64] | None, index: int) -> float | None:
    return None if values is None or math.isnan(values[index]) else float(values[index])


def _examples(plan: Plan, prompts: Prompts, responses: Mapping[str, Responses]) -> list[Example]:
    return [
        (
            prompt,
            {name: policy.texts[index] for name, policy in responses.items()},
            {name: _number(policy.gold, index) for name, policy in responses.items()},
        )
        for index, prompt in enumerate(prompts.texts[: plan.config.examples])
    ]
