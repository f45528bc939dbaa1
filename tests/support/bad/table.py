"""All bad inputs by name: "command: what is wrong"."""

from __future__ import annotations

from pathlib import Path

from support.bad import Bad, files, folders, models, settings

__all__ = ["BAD", "PENDING"]

BAD: dict[str, Bad] = {}
for part in (files, settings, models, folders):
    for case, bad in part.table().items():
        assert case not in BAD, case
        BAD[case] = bad

PENDING = set((Path(__file__).parent / "pending.txt").read_text(encoding="utf-8").splitlines())
