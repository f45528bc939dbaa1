"""Benchmark items in training prompts: word 8-grams that both have, as for Tulu 3 (Lambert et al., 2411.15124).

A word of the item counts as covered if it stands in a run of 8 words that the row has too, and the row is contaminated
if at least half of the item's words are covered (`COVERAGE`; open-instruct's `decontamination/search.py`, which Tulu 3
used, asks for more than half). Words are those of `rlaif.publish.ngrams`: case, punctuation and white space make no
difference. Two things differ from it:

- A run that more than `COMMON` different items have is their template ("Answer with a single letter ..."), and says
  nothing about which of them a row has: coverage is of the words that stand in at least one other run.
- An item with no such run (it is shorter than 8 words, or nothing but template) is found where all its words stand in
  the row, in order and together, and are at least half of the row: "Please answer: what is love?" has "What is love?",
  a page in which the words happen to stand does not.

A paraphrase or a translation is not found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif.publish.ngrams import shingles, words

__all__ = ["COMMON", "COVERAGE", "NGRAM", "Index"]

NGRAM = 8
COVERAGE = 0.5
COMMON = 10

Source = tuple[str, str]  # a benchmark's name and the item's id in it


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The items of some benchmarks, made to be looked up by every row. It can be pickled.

    Attributes:
        coverage: the share of an item's words that makes a row contaminated.
        sources: for each item, that is, for each different text, where it stands.
        hashes_H: the hashes of all runs that are no template, in ascending order.
        starts_H: the entries of run h are `starts_H[h]` up to `starts_H[h + 1]`: (H + 1,).
        items_E: the item of each entry.
        places_E: the place of its run in that item, in words.
        words_I: how many words of each item stand in at least one such run.
        whole: the items without such a run, by their length in words and the hash of all their words.
    """

    coverage: float
    sources: list[list[Source]]
    hashes_H: NDArray[np.uint64]
    starts_H: NDArray[np.int64]
    items_E: NDArray[np.int32]
    places_E: NDArray[np.int32]
    words_I: NDArray[np.int64]
    whole: dict[int, dict[int, int]]

    @classmethod
    def build(cls, items: Iterable[tuple[str, str, str]], coverage: float = COVERAGE) -> Index:
        """The index of (benchmark, id, text of the prompt).

        Raises:
            ValueError: an item without text, no item, or no such coverage.
        """
        if not 0.0 < coverage <= 1.0:
            raise ValueError(f"coverage is {coverage}; expected a share of an item's words in (0, 1].")
        sources: dict[bytes, list[Source]] = {}
        texts: list[NDArray[np.uint64]] = []
        for benchmark, identity, text in items:
            words_W = words(text)
            if not len(words_W):
                raise ValueError(
                    f"item {identity!r} of the benchmark {benchmark} has no text; expected its prompt. Remove it, or "
                    "name the column that the prompts are in."
                )
            found = sources.setdefault(words_W.tobytes(), [])
            if not found:
                texts.append(words_W)
            found.append((benchmark, identity))
        if not texts:
            raise ValueError("the benchmarks have no item; expected at least one prompt to look for.")
        runs = [shingles(words_W, NGRAM) if len(words_W) >= NGRAM else words_W[:0] for words_W in texts]
        hashes_E = np.concatenate(runs)
        items_E = np.repeat(np.arange(len(runs), dtype=np.int32), [len(run) for run in runs])
        places_E = np.concatenate([np.arange(len(run), dtype=np.int32) for run in runs])
        order = np.argsort(hashes_E, kind="stable")
        own = order[~_common(hashes_E[order], items_E[order])]
        hashes_H, counts_H = np.unique(hashes_E[own], return_counts=True)
        words_I = _covered(items_E[own], places_E[own], len(texts))
        whole: dict[int, dict[int, int]] = {}
        for item in np.flatnonzero(words_I == 0).tolist():
            length = len(texts[item])
            whole.setdefault(length, {})[int(shingles(texts[item], length)[0])] = item
        starts_H = np.concatenate([[0], np.cumsum(counts_H)])
        return cls(coverage, list(sources.values()), hashes_H, starts_H, items_E[own], places_E[own], words_I, whole)

    def match(self, text: str) -> list[tuple[str, str, float]]:
        """The items that stand in `text`, the most covered first: (benchmark, id, share of its words covered)."""
        words_W = words(text)
        found = [*self._by_runs(words_W), *((item, 1.0) for item in self._by_whole(words_W))]
        found.sort(key=lambda one: (-one[1], one[0]))
        return [(*source, share) for item, share in found for source in self.sources[item]]

    def _by_runs(self, words_W: NDArray[np.uint64]) -> list[tuple[int, float]]:
        if not len(self.hashes_H):
            return []
        hashes = shingles(words_W, NGRAM)
        at = np.minimum(np.searchsorted(self.hashes_H, hashes), len(self.hashes_H) - 1)
        runs = at[self.hashes_H[at] == hashes]
        if not len(runs):
            return []
        entries = np.concatenate([np.arange(self.starts_H[run], self.starts_H[run + 1]) for run in runs])
        items, item_E = np.unique(self.items_E[entries], return_inverse=True)
        share = _covered(item_E, self.places_E[entries], len(items)) / self.words_I[items]
        return [(int(items[i]), float(share[i])) for i in np.flatnonzero(share >= self.coverage)]

    def _by_whole(self, words_W: NDArray[np.uint64]) -> set[int]:
        lengths = [n for n in self.whole if self.coverage * len(words_W) <= n <= len(words_W)]
        return {self.whole[n][h] for n in lengths for h in shingles(words_W, n).tolist() if h in self.whole[n]}


def _common(hashes_E: NDArray[np.uint64], items_E: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which entries, sorted by hash and then by item, have a hash that more than COMMON different items have."""
    first_E = np.ones(len(hashes_E), dtype=bool)
    first_E[1:] = (hashes_E[1:] != hashes_E[:-1]) | (items_E[1:] != items_E[:-1])
    _, hash_E = np.unique(hashes_E, return_inverse=True)
    return np.asarray(np.bincount(hash_E, weights=first_E) > COMMON)[hash_E]


def _covered(item_E: NDArray[np.integer[Any]], place_E: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """How many words of each of `count` items the runs cover that begin at `place_E` in `item_E`: (count,)."""
    order = np.lexsort((place_E, item_E))
    item_E, place_E = item_E[order], place_E[order]
    # A run covers its words up to where the item's next one begins.
    gain_E = np.full(len(order), NGRAM, dtype=np.int64)
    last_E = item_E[1:] != item_E[:-1]
    gain_E[:-1] = np.where(last_E, NGRAM, np.minimum(place_E[1:] - place_E[:-1], NGRAM))
    return np.bincount(item_E, weights=gain_E, minlength=count).astype(np.int64)
