"""What a reward model has to beat, beside "the longer response wins" (`rlaif.assess.length`): bags of words.

Neither reads the prompt. A reward model that does no better has learned length, or the words that judges like.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rlaif.metrics import sigmoid
from rlaif.training.losses import soft_loss

__all__ = ["BagOfWords", "words"]

_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """Lower-cased words and single punctuation marks."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class BagOfWords:
    """A linear Bradley-Terry model: a response's score is the sum of its words' weights.

    `weights` holds one float for each word of the training responses that occurs in at least two pairs.
    """

    weights: dict[str, float]

    @classmethod
    def fit(cls, chosen: Sequence[str], rejected: Sequence[str], z: Sequence[float], l2: float = 1.0) -> BagOfWords:
        """Minimises sum CE(z, w . (counts(chosen) - counts(rejected))) + l2/2 |w|^2 by L-BFGS.

        Convex, so the result depends on nothing but the data. `l2` = 1 is a unit normal prior on every weight.
        """
        differences = [_difference(c, r) for c, r in zip(chosen, rejected, strict=True)]
        pairs_with = Counter(word for difference in differences for word in difference)
        vocabulary = {word: i for i, word in enumerate(sorted(w for w, n in pairs_with.items() if n >= 2))}
        if not vocabulary:
            return cls({})
        cells = [(n, vocabulary[w], c) for n, d in enumerate(differences) for w, c in d.items() if w in vocabulary]
        rows, columns, counts = zip(*cells, strict=True)
        x_NV = torch.sparse_coo_tensor(
            torch.tensor([rows, columns]),
            torch.tensor(counts, dtype=torch.float64),
            (len(differences), len(vocabulary)),
            check_invariants=False,
        ).coalesce()
        z_N = torch.tensor(z, dtype=torch.float64)
        w_V = torch.zeros(len(vocabulary), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([w_V], max_iter=500, tolerance_change=1e-10, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            delta_N = torch.sparse.mm(x_NV, w_V[:, None]).squeeze(1)
            loss = soft_loss(delta_N, z_N).sum() + 0.5 * l2 * w_V.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        return cls(dict(zip(vocabulary, w_V.detach().tolist(), strict=True)))

    def probabilities(self, chosen: Sequence[str], rejected: Sequence[str]) -> NDArray[np.float64]:
        """P(chosen preferred), (N,); a word without a weight counts 0."""
        delta = [
            sum(self.weights.get(word, 0.0) * count for word, count in _difference(c, r).items())
            for c, r in zip(chosen, rejected, strict=True)
        ]
        return sigmoid(np.array(delta, dtype=np.float64))


def _difference(chosen: str, rejected: str) -> dict[str, int]:
    """Word counts of chosen minus those of rejected, zeros left out."""
    counts = Counter(words(chosen))
    counts.subtract(words(rejected))
    return {word: count for word, count in counts.items() if count}
