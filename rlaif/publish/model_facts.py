"""What the card of a model is made of, as it was read from the run or asked of the publisher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rlaif.models.reward_model import RewardModelCard
from rlaif.pages.parts import Report
from rlaif.publish.lineage import Source

__all__ = ["Example", "Kind", "ModelFacts"]

Kind = Literal["reward_model", "policy"]


@dataclass(frozen=True)
class Example:
    """What the model makes of one fixed prompt: the score of `response`, or, of a policy, its greedy `response`.

    `computed` says on what: another device rounds otherwise. `stops` are the tokens that end a response, where several
    do; `letters` are special ones that a response may hold all the same (GPT-2 pads with "!").
    """

    prompt: str
    response: str
    computed: str
    score: float | None = None
    max_new_tokens: int = 0
    stops: list[int] | None = None
    letters: list[int] | None = None


@dataclass(frozen=True)
class ModelFacts:
    """What the card is made of.

    Attributes:
        kind: "reward_model" or "policy".
        title: the model's name.
        repo_id: where it will be on the Hub; None: its snippets load the folder that they are run in.
        parameters, dtype: how many numbers the published weights hold, and in which precision.
        rendering: how a conversation becomes tokens, as `Rendering.row` gives it.
        adapter: adapter_config.json as it is published; None for whole weights.
        load_in_4bit: whether the weights under the adapter were quantized in training.
        reward: rlaif.json as it is published; None for a policy.
        manifest: the run's: `command`, `config`, `versions`, `git_commit`, `finished`. Empty where there is none.
        run: the run's report. Empty where there is none.
        base: what the Hub calls the base model; None where it is not known.
        start: the models that it was trained from, the nearest first, back to the first that is known.
        base_check: of an adapter's base on the Hub, whether its weights are those it was trained on, in words.
        data: what was trained on (preferences, demonstrations, prompts); None where that is not known.
        rewards: what PPO was rewarded with, or the best of n responses were chosen by, in words.
        evaluation: what `rlaif evaluate` measured of this model; None where nothing was.
        example: what the snippets print.
        plot: an image beside the card that shows whether PPO over-optimized.
    """

    kind: Kind
    title: str
    repo_id: str | None
    parameters: int
    dtype: str
    rendering: Mapping[str, Any]
    adapter: Mapping[str, Any] | None
    load_in_4bit: bool
    reward: RewardModelCard | None
    manifest: Mapping[str, Any]
    run: Report
    base: Source | None
    start: Sequence[Source]
    base_check: str
    data: Source | None
    rewards: Sequence[str]
    evaluation: Report | None
    example: Example
    plot: str | None

    @property
    def command(self) -> str:
        """The program that trained it; empty where no manifest says so."""
        return str(self.manifest.get("command", ""))
