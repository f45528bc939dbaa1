"""Where the truth about a pair comes from: a gold reward (a Python function) or the label that the pair carries.

Truth is written as y: 1 where the first response is better, 0 where the second is, 0.5 for a tie, None where nobody
knows.
"""

from __future__ import annotations

from collections.abc import Callable

from rlaif.config import import_function
from rlaif.errors.lines import prefixed
from rlaif.errors.theirs import check_takes, is_number, naming
from rlaif.errors.words import shown
from rlaif.records import Pair, Prompt, content_hash, label_value, last_user_text

__all__ = ["GoldReward", "load_gold", "truth_of"]

GoldReward = Callable[[Prompt, str], float]


def load_gold(name: str) -> GoldReward:
    """The gold reward `module:function`, asked once for each response and checked: it must return a finite number.

    Raises:
        ValueError: the name has another form, cannot be imported, or takes something else than two texts; later, from
            the function itself, that it failed or returned something other than a finite number.
    """
    try:
        function = import_function(name)
    except ValueError as error:
        raise prefixed("gold", error) from None

    check_takes(function, f"gold {name!r}", ("prompt", "response"))

    known: dict[tuple[str, str], float] = {}  # a response is there once for each pair that it is part of

    def gold(prompt: Prompt, response: str) -> float:
        place = content_hash(prompt), response
        if place not in known:
            known[place] = asked(prompt, response)
        return known[place]

    def asked(prompt: Prompt, response: str) -> float:
        with naming(f"gold {name!r}, asked of the prompt {last_user_text(prompt)[:60]!r},"):
            value = function(prompt, response)
        value = value.tolist() if hasattr(value, "tolist") else value  # of NumPy or PyTorch
        if not is_number(value):
            raise ValueError(
                f"gold {name!r} returned {shown(value)} for the prompt {last_user_text(prompt)[:60]!r}; expected a "
                "finite float. Mend the function, or leave such prompts out."
            )
        return float(value)

    return gold


def truth_of(pair: Pair, gold: GoldReward | None = None) -> float | None:
    """y of a pair: by `gold` where it is given, else by the pair's label; None without either."""
    if gold is None:
        return label_value(pair.label)
    a, b = gold(pair.prompt, pair.response_a), gold(pair.prompt, pair.response_b)
    return 0.5 if a == b else float(a > b)
