"""What a judge's text says, without the place where it says it."""

from __future__ import annotations

from rlaif.judging.verdicts import Scale, find_rating, find_verdict


def parse_verdict(text: str, labels: tuple[str, ...]) -> int | None:
    """0 or 1 for the label that `text` decides for, TIE for neither, None where it decides nothing or is unclear."""
    found = find_verdict(text, labels)
    return None if found is None else found[0]


def parse_rating(text: str, scale: Scale) -> int | None:
    """The rating that `text` gives on `scale`, None where it gives none or cannot be read."""
    found = find_rating(text, scale)
    return None if found is None else found[0] + scale[0]
