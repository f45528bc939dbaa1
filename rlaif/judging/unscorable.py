"""Prompts whose responses a reward model cannot score, said before anything is sampled or learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlaif.config import warn
from rlaif.errors.words import shown
from rlaif.models.rendering import Rendering, Unrenderable
from rlaif.models.reward_model import RewardModelCard
from rlaif.records import Prompt, last_user_text

__all__ = ["say_unscorable", "say_unscorable_by"]


def say_unscorable(
    name: str, tokenizer: Any, rendering: Rendering, prompts: Sequence[Prompt], then: str = "have no score"
) -> set[int]:
    """Warns of the prompts whose responses a reward model cannot score, whatever they are; returns their places.

    Its chat template refuses them, or leaves out one of their turns.

    Args:
        name: the reward's or the reward model's.
        tokenizer, rendering: the reward model's.
        prompts: that are to be answered.
        then: what becomes of the responses.

    Raises:
        ValueError: none of the prompts can be scored.
    """
    refused: dict[int, str] = {}
    for at, prompt in enumerate(prompts):
        try:
            rendering.check_turns(tokenizer, prompt, answered=True)
            rendering.encode_prompt(tokenizer, prompt)
        except Unrenderable as error:
            refused[at] = str(error)
    if refused:
        first = min(refused)
        what = (
            f"{len(refused)} of {len(prompts)} prompts cannot be scored by {name}; the first, prompt {first + 1}, "
            f"{shown(last_user_text(prompts[first]))}: {refused[first]}"
        )
        if len(refused) == len(prompts):
            raise ValueError(f"{what}. Change the prompts, or use another reward model.")
        warn(f"{what}; their responses {then}")
    return set(refused)


def say_unscorable_by(models: Mapping[str, str], prompts: Sequence[Prompt], trust_remote_code: bool = False) -> None:
    """`say_unscorable` of reward models by name, of which the tokenizers alone are loaded."""
    for name, path in models.items():
        card = RewardModelCard.read(path, trust_remote_code)
        say_unscorable(name, *card.reader(path, trust_remote_code), prompts)
