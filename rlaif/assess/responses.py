"""A policy's responses to the prompts of an evaluation, and what was measured on each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlaif.judging.thoughts import split_thought

__all__ = ["Responses"]

Array = NDArray[np.float64]


@dataclass
class Responses:
    """N responses of one policy, one a prompt.

    Attributes:
        texts: the responses: N.
        tokens: how many were generated, the end included: N; None where nobody counted, and `length_missing` why.
        ended: False where a response was cut at the limit of new tokens: N; None where nobody knows, and
            `no_eos_missing` why.
        kl: to the reference, in nats: (N,); None where there is none, and `kl_missing` why.
        retokenized: how many texts are encoded to another number of tokens than was generated, so that their KL is
            summed over other prefixes than the policy's own.
        tokenizer: what tells whose tokens they are; lengths in other tokens are no differences.
        usage: calls and tokens of an endpoint, failed tries included; None of another policy.
        gold, reward: of each response, the reward NaN where it could not be scored: (N,); None without them.
    """

    texts: list[str]
    tokens: list[int] | None = None
    ended: list[bool] | None = None
    kl: Array | None = None
    kl_missing: str | None = None
    retokenized: int = 0
    length_missing: str | None = None
    no_eos_missing: str | None = None
    tokenizer: str | None = None
    usage: dict[str, int] | None = None
    gold: Array | None = None
    reward: Array | None = None

    @property
    def characters(self) -> Array:
        """The length of each response in characters, which every policy has: (N,)."""
        return np.array([len(text) for text in self.texts], dtype=np.float64)

    @property
    def thoughts(self) -> int:
        """How many texts hold a thought: with its tags, cut off in it, or with the closing tag alone (the chat template
        wrote the opening one)."""
        return sum(split_thought(text).thought is not None for text in self.texts)
