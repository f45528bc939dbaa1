"""Whether the prompts of an evaluation are among those that its models were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.config import warn
from rlaif.evaluating.plan import Plan
from rlaif.evaluating.policies import ENDPOINT, LOCAL, RESPONSES
from rlaif.files.trained_on import Readings, Stage, prompt_key, training_stages
from rlaif.records import Prompt

__all__ = ["TrainedOn", "look_up"]

_ENDPOINT = "an endpoint does not tell what it was trained on"
_UNKNOWN = {
    ENDPOINT: _ENDPOINT,
    "api": _ENDPOINT,  # as a judge's settings call one
    RESPONSES: "a file of responses does not tell what their policy was trained on",
    "function": "a function was trained on nothing that anybody knows",
}


@dataclass(frozen=True)
class TrainedOn:
    """The stages of training of each policy, and of the reward model and the judge as far as there are any."""

    policies: Mapping[str, Sequence[Stage]]
    others: Mapping[str, Sequence[Stage]]

    def of(self, prompt: Prompt) -> list[str]:
        """The stages that knew a prompt, as "sft: recipes/sft.py"."""
        return self._that_knew(prompt_key(prompt))

    def _that_knew(self, key: str) -> list[str]:
        every = (*self.policies.items(), *self.others.items())
        return [f"{name}: {stage.stage}" for name, stages in every for stage in stages if stage.knew(key)]

    def report(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """The report's section: how many of `prompts` each stage knew, or why that is not known.

        `found` of a model counts the prompts that any of its known stages knew; None where none is known. Where not all
        are, it is not `complete`: what a base model was trained on is hardly ever known.
        """
        keys = list(map(prompt_key, prompts))

        def section(stages: Sequence[Stage]) -> dict[str, Any]:
            known = [stage for stage in stages if stage.found is not None]
            found = sum(any(stage.knew(key) for stage in known) for key in keys) if known else None
            complete = len(known) == len(stages)
            return {"found": found, "complete": complete, "stages": [stage.row(keys) for stage in stages]}

        return {
            "prompts": len(prompts),
            "policies": {name: section(stages) for name, stages in self.policies.items()},
            **{name: section(stages) for name, stages in self.others.items()},
        }

    def warn_of(self, keys: Sequence[str]) -> None:
        """Says how many of the prompts with these keys were trained on, and by what, where any was."""
        seen = dict.fromkeys(
            f"{stage.stage} ({stage.folder}) on {stage.source} saw {sum(map(stage.knew, keys))}"
            for stages in (*self.policies.values(), *self.others.values())
            for stage in stages
            if stage.found
        )
        if seen:
            found, said = sum(bool(self._that_knew(key)) for key in keys), "; ".join(list(seen)[:4])
            warn(
                f"{found} of {len(keys)} prompts were trained on: {said}. Numbers on them are none on new prompts; "
                "`trained_on` in responses.jsonl says which they are."
            )


def look_up(plan: Plan) -> TrainedOn:
    """Looks the prompts up in the training data of every policy, the reward model and a local judge; warns of them."""
    readings = Readings()
    keys = list(map(prompt_key, plan.prompts.texts))
    wanted = frozenset(keys)

    def stages_of(kind: str, path: str) -> Sequence[Stage]:
        if kind in _UNKNOWN:
            return [Stage(None, path, unknown=_UNKNOWN[kind])]
        return training_stages(path, wanted, readings)

    policies = {name: stages_of(policy.kind, policy.path) for name, policy in plan.policies.items()}
    others = {}
    if plan.config.reward_model:
        others["reward_model"] = stages_of(LOCAL, plan.config.reward_model)
    if plan.judge_settings is not None:
        model = plan.judge_settings.model
        others["judge"] = stages_of(model.kind, model.name if isinstance(model.name, str) else repr(model.name))
    found = TrainedOn(policies, others)
    found.warn_of(keys)
    return found
