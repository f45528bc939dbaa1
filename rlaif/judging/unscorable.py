"""What a reward model cannot score, and what is assumed of it: said before anything is sampled or learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlaif.config import warn
from rlaif.errors.words import shown
from rlaif.models.rendering import Rendering, Unrenderable
from rlaif.models.reward_model import RewardModelCard
from rlaif.records import Prompt, last_user_text

__all__ = ["say_of_models", "say_refused"]


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


def say_of_models(
    models: Mapping[str, str],
    prompts: Sequence[Prompt],
    places: Sequence[str] | None = None,
    *,
    response_tokens: int,
    then: str = "have no score",
    said: Sequence[str] = (),
    trust_remote_code: bool = False,
) -> list[str]:
    """Warns of what reward models cannot do, before anything is sampled or learned: their tokenizers alone are loaded.

    Of each: prompts whose responses it cannot score, whatever they are, as its chat template refuses them or leaves out
    one of their turns; prompts with which a response may be too long for it; a rendering that is assumed.

    Args:
        models: folders or Hub ids, by the names that messages call them.
        prompts: N of them, that are to be answered.
        places: where they stand, N; else they are numbered.
        response_tokens: of the longest response.
        then: what becomes of responses that are not scored.
        said: what was returned for other prompts, and is not said again.
        trust_remote_code: whether code of the models' repositories may run.

    Returns:
        The lines that say which rendering is assumed of models without `rlaif.json`, but for those in `said`.

    Raises:
        ValueError: none of the prompts can be scored by one of the models.
    """
    assumed = []
    for name, path in models.items():
        card = RewardModelCard.read(path, trust_remote_code)
        tokenizer, rendering = card.reader(path, trust_remote_code)
        lengths, refused = _lengths(tokenizer, rendering, prompts)
        say_refused(
            refused,
            len(prompts),
            f"prompts cannot be scored by {name}",
            lambda at: places[at] if places else f"prompt {at + 1}, {shown(last_user_text(prompts[at]))}",
            f"their responses {then}",
            change="prompts",
        )
        if count := sum(length > card.max_length - response_tokens for length in lengths):
            warn(
                f"{name} reads {card.max_length} tokens: with {count} of {len(prompts)} prompts responses of "
                f"{response_tokens} tokens are too long for it; such responses {then}"
            )
        line = f"{name}: the rendering is assumed to be {card.assumed}"
        if card.assumed and line not in said:
            assumed.append(line)
            warn(line)
    return assumed


def _lengths(tokenizer: Any, rendering: Rendering, prompts: Sequence[Prompt]) -> tuple[list[int], dict[int, str]]:
    """The lengths of those prompts that can be rendered with an answer, in tokens; why not, of the others by number."""
    lengths: list[int] = []
    refused: dict[int, str] = {}
    for at, prompt in enumerate(prompts):
        try:
            rendering.check_turns(tokenizer, prompt, answered=True)
            lengths.append(len(rendering.encode_prompt(tokenizer, prompt)))
        except Unrenderable as error:
            refused[at] = str(error)
    return lengths, refused
