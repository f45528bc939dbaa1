"""What the small worlds share: how a text is read, how prompts are drawn, how an annotator gives a verdict."""

import random
import re
from collections.abc import Callable, Mapping, Sequence

from rlaif.metrics import sigmoid
from rlaif.records import Prompt, prompt_hash, uniform_hash

__all__ = [
    "Message",
    "distinct_prompts",
    "drawn_verdict",
    "enumerated",
    "sure_verdict",
    "text_of",
    "words_of",
]

Message = Mapping[str, object]


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, in order."""
    return [word.lower() for word in re.findall(r"\w+", text)]


def text_of(conversation: str | Sequence[Message], role: str) -> str:
    """The text itself, or the content of the last message of `role`; "" where there is none."""
    if isinstance(conversation, str):
        return conversation
    return next((str(m.get("content") or "") for m in reversed(conversation) if m.get("role") == role), "")


def enumerated(names: Sequence[str]) -> str:
    """ "bread", "bread and rope", "bread, soap and rope"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def distinct_prompts(draw: Callable[[random.Random], str], n: int, seed: str) -> list[str]:
    """n distinct prompts that `draw` gives; the same seed gives the same list, longer lists extend it."""
    rng = random.Random(seed)
    distinct: dict[str, None] = {}
    while len(distinct) < n:
        distinct[draw(rng)] = None
    return list(distinct)


def sure_verdict(difference: float) -> float:
    """P(first is better) of a judge that knows by how much: 1 above 0, 0 below, 0.5 at 0."""
    return 0.5 + 0.5 * ((difference > 0) - (difference < 0))


def drawn_verdict(
    worth: Callable[[Prompt, str], float], temperature: float, salt: str, prompt: Prompt, first: str, second: str
) -> float:
    """A verdict drawn from a Bradley-Terry model: 1 where it is the first, else 0; 0.5 of two equal responses.

        P(x is preferred to y) = sigmoid((worth(x) - worth(y)) / T),    T = `temperature`

    The draw is a hash of `salt`, the prompt and the two responses in alphabetical order: one person, who does not
    change their mind with the order shown. Two responses of equal worth get a toss.
    """
    if first == second:
        return 0.5
    x, y = sorted((first, second))
    p_x = sigmoid((worth(prompt, x) - worth(prompt, y)) / temperature)
    preferred = x if uniform_hash(salt, prompt_hash(prompt), x, y) < p_x else y
    return 1.0 if first == preferred else 0.0
