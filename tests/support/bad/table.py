"""All bad inputs by name: "command: what is wrong"."""

from __future__ import annotations

from support.bad import Bad, files, folders, models, settings

__all__ = ["BAD"]

BAD: dict[str, Bad] = {}
for part in (files, settings, models, folders):
    for case, bad in part.table().items():
        assert case not in BAD, case
        BAD[case] = bad
