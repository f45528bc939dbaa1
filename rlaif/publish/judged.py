"""The judgments behind a preference dataset, read again and again, and the votes that they were made of."""

from __future__ import annotations

import dataclasses
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rlaif.files.selection import BuildConfig, judgments_of, split_for
from rlaif.files.store import stored_rows
from rlaif.publish.provenance import Origin
from rlaif.publish.scan import Item, texts_of
from rlaif.records import Judgment, Prompt, Vote, content_hash

__all__ = ["Judged", "digest"]


class Judged:
    """What `rlaif build` read, as it read it.

    Attributes:
        config: its settings: where the judgments are and how prompts are split.
        store: the folder of the votes; None where there is none.
        digests: of the preference that each judgment gives; 0 where it gives none.
        judges: how many judgments are by which judge, under which template.
        models: the names of models in the rows.
        missing: votes of these judgments that the store has not got (known once `votes` has been read to its end).
        unused: votes in the store that no judgment here was made of (likewise).
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
        self._rows_of: dict[str, int | list[int]] = {}  # the question's key -> the rows that its vote is part of

    @classmethod
    def of(cls, origin: Origin) -> Judged:
        """The judgments of a known origin."""
        assert origin.build is not None
        known = {f.name for f in dataclasses.fields(BuildConfig)}
        settings = {name: value for name, value in origin.build.config.items() if name in known}
        votes = origin.judge.folder if origin.judge and any((origin.judge.folder / "votes").glob("*.jsonl")) else None
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

    def votes(self) -> Iterator[tuple[Vote, list[int]]]:
        """The votes that the judgments were made of, each with its rows: pairs of equal content share it."""
        if self.store is None:
            return
        found, self.unused = 0, 0
        for row in stored_rows(self.store, "votes"):
            rows = self._rows_of.get(row["key"])
            if rows is None:
                self.unused += 1
                continue
            found += 1
            yield Vote.from_row(row), rows if isinstance(rows, list) else [rows]
        self.missing = len(self._rows_of) - found

    def texts(self) -> Iterator[tuple[int, str]]:
        """What the judge wrote, each text with the row that it is about; after `items`."""
        yield from ((row, vote.text) for vote, rows in self.votes() if vote.text for row in rows)

    def id_of(self, row: int) -> str:
        """The id of a row."""
        return self._ids[row]


def digest(split: str, prompt: Prompt, chosen: str, rejected: str, z: float) -> int:
    """64 bits that tell one preference from another."""
    return int(content_hash(split, prompt, chosen, rejected, round(z, 9))[:16], 16)
