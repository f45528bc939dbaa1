"""Prompts whose responses a reward model cannot score, said before anything is sampled or learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlaif.config import warn
from rlaif.errors.words import shown
from rlaif.models.rendering import Rendering, Unrenderable
from rlaif.models.reward_model import RewardModelCard
from rlaif.records import Prompt, last_user_text

__all__ = ["say_refused", "say_unscorable", "say_unscorable_by"]


def say_refused(
    refused: Mapping[int, str], total: int, what: str, place: Callable[[int], str], then: str, change: str = "rows"
) -> None:
    """Warns of what a reward model refuses to score.

    Args:
        refused: why, by number.
        total: how many there are in all.
        what: "rows cannot be scored".
        place: the words for the number of one of them.
        then: what becomes of them.
        change: what a user could change.

    Raises:
        ValueError: it refuses all of them.
    """
    if not refused:
        return
    first = min(refused)
    said = f"{len(refused)} of {total} {what}; the first, {place(first)}: {refused[first]}"
    if len(refused) == total:
        raise ValueError(f"{said}. Change the {change}, or use another reward model.")
    warn(f"{said}; {then}")


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
    say_refused(
        refused,
        len(prompts),
        f"prompts cannot be scored by {name}",
        lambda at: f"prompt {at + 1}, {shown(last_user_text(prompts[at]))}",
        f"their responses {then}",
        change="prompts",
    )
    return set(refused)


def say_unscorable_by(models: Mapping[str, str], prompts: Sequence[Prompt], trust_remote_code: bool = False) -> None:
    """`say_unscorable` of reward models by name, of which the tokenizers alone are loaded."""
    for name, path in models.items():
        card = RewardModelCard.read(path, trust_remote_code)
        say_unscorable(name, *card.reader(path, trust_remote_code), prompts)
