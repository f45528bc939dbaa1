"""What a run read, found again by its manifest: where it lies now, and whether it is still the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.files.sources import is_still

__all__ = ["find_input", "rewritten"]


def rewritten(manifest: Mapping[str, Any], named: str, place: Path | None = None) -> Path | None:
    """The file or folder that a run read and that has other content now; None where it has not, or nobody knows.

    Args:
        manifest: the run's.
        named: the input, as the run was told it.
        place: where it is now, if elsewhere.
    """
    place, inputs = place or Path(named), manifest.get("inputs", {})
    if not place.exists():
        return None
    for part in ("judgments.jsonl", "data"):
        then = inputs.get(str(Path(named) / part))
        if then is not None and place.is_dir():
            now = place / part
            return now if not now.exists() or not is_still(now, then) else None
    then = inputs.get(named)
    # Of a folder of judgments an earlier version knew the report's fingerprint too, which is another after every run.
    if then is None or then == named or (place / "judgments.jsonl").is_file():
        return None
    return None if is_still(place, then) else place


def find_input(named: str, folder: Path, inputs: Mapping[str, Any]) -> Path | None:
    """The place that a manifest in `folder` names, which is seen from where its command ran: here, or above it.

    Of several it is the one that holds what was read, by the manifest's `inputs`. A folder without the rows that were
    read is none.
    """
    rows = [part for part in ("judgments.jsonl", "data") if str(Path(named) / part) in inputs]
    places = [Path(named), *(parent / named for parent in folder.resolve().parents)]
    there = [place for place in places if place.exists() and all((place / part).exists() for part in rows)]
    same = (place for place in there if rewritten({"inputs": inputs}, named, place) is None)
    return next(same, there[0] if there else None)
