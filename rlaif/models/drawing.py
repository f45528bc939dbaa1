"""Drawing text with noise that belongs to the call and not to its batch.

Each row of a batch has uniform numbers of its own, u_1, u_2, ..., made from its call's key. Token t is drawn by
inversion: of the tokens in the vocabulary's order, the first whose cumulative probability exceeds u_t. So a response
depends on its prompt, the model and the key alone. Another batch changes the probabilities in their last digits (the
padding differs), and a drawn token only where u_t falls within that rounding of a border between two tokens.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["Drawing", "Numbers", "draw", "nucleus", "own_distribution"]


@contextmanager
def own_distribution(model: Any) -> Iterator[None]:
    """Within it a model writes from its own distribution: of its generation config the tokens' ids alone count.

    What else stands there (suppressed tokens, n-grams that may not repeat, beams, a shortest length) would be obeyed by
    `generate` unasked: sampled from, but not trained on.
    """
    from transformers import GenerationConfig

    # Under an adapter, which passes its own on.
    inner: Any = getattr(getattr(model, "base_model", None), "model", None)
    kept: list[tuple[Any, Any]] = [
        (each, each.generation_config) for each in (model, inner) if hasattr(each, "generation_config")
    ]
    for each, known in kept:
        ids = {name: getattr(known, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        each.generation_config = GenerationConfig(**ids)
    try:
        yield
    finally:
        for each, known in kept:
            each.generation_config = known


def nucleus(probabilities_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """The likeliest tokens whose probabilities first sum to `top_p` or more keep theirs, the others get 0: (B, V).

    Nucleus sampling (Holtzman et al., 1904.09751), not renormalized; at least one token is kept.
    """
    if top_p >= 1.0:
        return probabilities_BV
    sorted_BV, order_BV = probabilities_BV.sort(dim=-1, descending=True, stable=True)
    before_BV = sorted_BV.cumsum(-1) - sorted_BV
    kept_BV = sorted_BV.masked_fill(before_BV >= top_p, 0.0)
    return probabilities_BV.new_zeros(probabilities_BV.shape).scatter(-1, order_BV, kept_BV)


def draw(logits_BV: torch.Tensor, u_B: torch.Tensor, temperature: float, top_p: float = 1.0) -> torch.Tensor:
    """One token a row: (B,), drawn from softmax(logits / temperature), cut to its nucleus, by inversion of `u_B`.

    Args:
        logits_BV: of the next token.
        u_B: uniform numbers in [0, 1).
        temperature: above 0.
        top_p: the mass that is drawn from, in (0, 1].
    """
    probabilities_BV = nucleus((logits_BV.double() / temperature).softmax(-1), top_p)
    cumulative_BV = probabilities_BV.cumsum(-1)
    # Without a nucleus the last sum is 1 but for rounding; with one it is the mass that was kept.
    target_B1 = (u_B.to(cumulative_BV.device).double() * cumulative_BV[:, -1])[:, None]
    index_B = (cumulative_BV <= target_B1).sum(-1)
    # u * total may round up to the total itself: the last token that has any probability is then the one.
    last_B = (probabilities_BV > 0.0).long().cumsum(-1).argmax(-1)
    return index_B.minimum(last_B)


class Drawing:
    """A logits processor for `generate(do_sample=False)`: it draws each row's token and leaves no other.

    Args:
        keys: one a row, the seeds of the rows' noise.
        start: columns before the first new token (prompt and padding).
        temperature, top_p: as in `draw`.
    """

    def __init__(self, keys: Sequence[str], start: int, temperature: float, top_p: float = 1.0) -> None:
        self._noise = [random.Random(int(key, 16)) for key in keys]
        self._start = start
        self._steps = 0
        self._temperature = temperature
        self._top_p = top_p

    def __call__(self, input_ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        import torch

        assert input_ids_BT.shape[1] == self._start + self._steps, "one number a row and step: no step twice"
        self._steps += 1
        u_B = torch.tensor([noise.random() for noise in self._noise], dtype=torch.float64)
        chosen_B1 = draw(logits_BV, u_B, self._temperature, self._top_p)[:, None]
        return torch.full_like(logits_BV, -torch.inf).scatter(-1, chosen_B1, 0.0)


class Numbers:
    """A logits processor that notes where a row's logits are no numbers; of NaN any token would be drawn.

    Attributes:
        broken: by row, the first step (0, 1, ...) at which one of its logits was NaN or +infinity.
    """

    def __init__(self) -> None:
        self.broken: dict[int, int] = {}
        self._steps = 0

    def __call__(self, input_ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        import torch

        wrong_BV = logits_BV.isnan() | logits_BV.isposinf()
        for row in wrong_BV.any(-1).nonzero().flatten().tolist():
            self.broken.setdefault(row, self._steps)
        self._steps += 1
        return torch.where(wrong_BV, 0.0, logits_BV)
