"""The judgments behind a preference dataset, read again and again, and the votes that they were made of."""

from __future__ import annotations

import dataclasses
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rlaif.files.selection import BuildConfig, judgments_of, split_for
from rlaif.files.store import Store
from rlaif.files.votes import has_votes, in_pairs_order, timed_votes
from rlaif.publish.provenance import Origin
from rlaif.publish.scan import Item, texts_of
from rlaif.records import Judgment, Prompt, Vote, content_hash

__all__ = ["Judged", "JudgedVote", "digest"]


class JudgedVote(NamedTuple):
    """A vote on the judgment that stands at `row`; `seconds` that its reply took, None where nobody knows.

    `again` where the same reply was read for a vote before: what it took is then known already.
    """

    vote: Vote
    row: int
    seconds: float | None
    again: bool


class Judged:
    """What `rlaif build` read, as it read it.

    Attributes:
        config: its settings: where the judgments are and how prompts are split.
        store: the folder of `rlaif judge` that has the votes; None where there is none.
        digests: of the preference that each judgment gives; 0 where it gives none.
        judges: how many judgments are by which judge, under which template.
        models: the names of models in the rows.
        missing: replies that these judgments were made of and of which the folder has no vote (known once `votes` has
            been read to its end).
        unused: replies in the folder that no judgment here was made of (likewise; with `replies` alone in the layout of
            today, where they have no vote).
    """

    def __init__(self, config: BuildConfig, store: Path | None) -> None:
        self.config = config
        self.store = store
        self.digests = array("Q")
        self.judges: Counter[tuple[str | None, str | None]] = Counter()
        self.models: set[str] = set()
        self.missing = 0
        self.unused = 0
        self._ids: list[str] = []
        self._rows_of: dict[str, int | list[int]] = {}  # a reply's key -> the rows that a vote of it is part of

    @classmethod
    def of(cls, origin: Origin) -> Judged:
        """The judgments of a known origin."""
        assert origin.build is not None
        known = {f.name for f in dataclasses.fields(BuildConfig)}
        settings = {name: value for name, value in origin.build.config.items() if name in known}
        votes = origin.judge.folder if origin.judge and has_votes(origin.judge.folder) else None
        return cls(BuildConfig(**{**settings, "judgments": str(origin.judgments)}), votes)

    def judgments(self) -> Iterator[Judgment]:
        """All of them, in their order."""
        return judgments_of(self.config)

    def items(self) -> Iterator[Item]:
        """The judgments as rows to be checked; on the way, what is asked of them later is noted. Once only."""
        for at, judgment in enumerate(self.judgments()):
            pair, z = judgment.pair, judgment.z
            split = split_for(pair, self.config)
            sides = (pair.response_a, pair.response_b)
            if z is None or z == 0.5:
                self.digests.append(0)
            else:
                chosen, rejected = sides if z > 0.5 else sides[::-1]
                self.digests.append(digest(split, pair.prompt, chosen, rejected, max(z, 1.0 - z)))
            self.judges[judgment.judge, judgment.template] += 1
            self.models.update(name for name in (judgment.judge, pair.model_a, pair.model_b) if name)
            self._ids.append(pair.id)
            if self.store:
                self._note_votes(at, judgment.vote_keys)
            texts = texts_of({**pair.extra, "reason": judgment.reason})
            yield Item(pair.id, split, pair.prompt, *sides, z, judgment.flags, texts)

    def _note_votes(self, row: int, keys: tuple[str, ...]) -> None:
        for key in keys:
            known = self._rows_of.setdefault(key, row)
            if isinstance(known, list):
                known.append(row)
            elif known != row:
                self._rows_of[key] = [known, row]

    def votes(self, replies: Store | None = None) -> Iterator[JudgedVote]:
        """The votes that the judgments were made of, each under every row that it is part of; after `items`.

        Args:
            replies: of the same folder (`open_replies`), for what the votes took.
        """
        if self.store is None:
            return
        of_pairs = in_pairs_order(self.store)
        found, foreign = 0, 0
        shared: set[str] = set()  # keys of several rows that had their first vote
        for vote, seconds in timed_votes(self.store, replies):
            known = self._rows_of.get(vote.key)
            rows = known if isinstance(known, list) else [] if known is None else [known]
            if of_pairs:  # a pair's own row: of the same two responses the other way round, the order is another one
                rows = [row for row in rows if self._ids[row] == vote.pair_id]
            if not rows:
                foreign += 1
                continue
            again = vote.key in shared
            found += not again
            if isinstance(known, list):
                shared.add(vote.key)
            for row in rows:
                yield JudgedVote(vote, row, seconds, again)
                again = True
        self.missing = len(self._rows_of) - found
        self.unused = max(0, len(replies) - found) if of_pairs and replies is not None else foreign

    def texts(self) -> Iterator[tuple[int, str]]:
        """What the judge wrote, each text with the row that it is about; after `items`."""
        yield from ((row, vote.text) for vote, row, _, _ in self.votes() if vote.text)

    def id_of(self, row: int) -> str:
        """The id of a row."""
        return self._ids[row]


def digest(split: str, prompt: Prompt, chosen: str, rejected: str, z: float) -> int:
    """64 bits that tell one preference from another."""
    return int(content_hash(split, prompt, chosen, rejected, round(z, 9))[:16], 16)
