"""Which formats there are, which one a row is in, and the prompts of a benchmark, for the contamination check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlaif.files.hub import config_names
from rlaif.formats.arena import Arena, ArenaTexts, MTBench
from rlaif.formats.base import Format
from rlaif.formats.benchmarks import HHHAlignment, JudgeBench, LLMBar, RewardBench, RewardBench2, RMBench
from rlaif.formats.chats import HH, Orca, ShareGPT, Skywork
from rlaif.formats.chosen import TRL, Argilla, Preferences, UltraFeedback
from rlaif.formats.files import read_source
from rlaif.formats.helpsteer import HelpSteer2, HelpSteer2Ratings, HelpSteer3
from rlaif.formats.people import SHP, AutoJ, PandaLM, PKUSafeRLHF
from rlaif.formats.ranked import KTO, Nectar, NeMo
from rlaif.formats.rated import Distilabel, UltraFeedbackRatings
from rlaif.formats.sided import AlpacaEval, Pairs
from rlaif.records import check_prompt, last_user_text

__all__ = ["FORMATS", "detect", "fitting", "read_benchmark"]


_CLASSES: tuple[type[Format], ...] = (
    *(Pairs, Preferences, TRL, UltraFeedback, HelpSteer2, HelpSteer2Ratings, HelpSteer3, Skywork, HH, Nectar),
    *(Argilla, Distilabel, AlpacaEval, JudgeBench, LLMBar, RewardBench, NeMo, KTO),
    *(PKUSafeRLHF, SHP, ArenaTexts, Arena, MTBench, PandaLM, AutoJ),
    *(HHHAlignment, RMBench, RewardBench2, UltraFeedbackRatings, Orca, ShareGPT),
)


FORMATS: dict[str, Format] = {kind.name: kind() for kind in _CLASSES}


# Columns of rows with one response: there is nothing to prefer.
_DEMONSTRATIONS = (
    *(("prompt", "completion"), ("prompt", "response"), ("instruction", "output"), ("question", "answer")),
    *(("messages",), ("conversations",), ("conversation",), ("text",)),
    *(("instruction", "response"), ("question", "response"), ("query", "response"), ("problem", "solution")),
)


def detect(row: Mapping[str, Any], where: str) -> Format:
    """The one format that a row's columns fit; a ValueError where none does, or several do."""
    fits = fitting(row)
    if len(fits) == 1:
        return fits[0]
    columns = ", ".join(map(str, row))
    single = next((names for names in _DEMONSTRATIONS if all(name in row for name in names)), ())
    if single and not fits:
        raise ValueError(
            f"{where} holds one response ({' and '.join(single)}), a demonstration, which recipes/sft.py learns from; "
            f"expected two responses and which is better. Got the columns {columns}."
        )
    found = f"fits {' and '.join(f.name for f in fits)}" if fits else "fits no known format"
    raise ValueError(
        f"{where} {found}; got the columns {columns}. Say with --source_format which one it is, of "
        f"{', '.join(FORMATS)}."
    )


def fitting(row: Mapping[str, Any]) -> list[Format]:
    """The formats that a row's columns fit, without the more general ones."""
    fits = [f for f in FORMATS.values() if f.fits(row)]
    # Whatever else is carried there: pairs that were sampled for a source's prompts carry its chosen and rejected.
    ours = [f for f in fits if f.name == "pairs" or (f.name == "preferences" and "z" in row)]
    least = min((f.general for f in fits), default=0)
    return ours or [f for f in fits if f.general == least]


def read_benchmark(path: str | Path, format: str = "auto") -> Iterator[tuple[str, str]]:
    """The id and the last user's text of each item of a benchmark, for finding it in training data.

    Args:
        path: what `rlaif convert --source` takes: RewardBench, JudgeBench, LLMBar, AlpacaEval, or any rows with a
            prompt; only the prompt is looked at. Every config and split is read.
        format: the rows' format; "auto" finds it by the columns, and takes the first column called `prompt`,
            `instruction`, `question`, `input` or `context` where none fits.

    Yields:
        The item's `id` or `pair_id`, else its place ("file:17"), and the text. An id that an earlier split has too
        comes with its split ("filtered/17").

    Raises:
        ValueError: an item is none, with its place.
    """
    found_in: dict[str, str] = {}
    for split, where, row in _everything(path):
        try:
            text = last_user_text(check_prompt(_prompt_of(row, format)))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        identity = str(next((row[name] for name in ("id", "pair_id") if row.get(name) is not None), where))
        yield identity if found_in.setdefault(identity, split) == split else f"{split}/{identity}", text


def _everything(path: str | Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every row of every config, with its split, behind the config where there are several."""
    names = config_names(path)
    if not names:
        yield from read_source(path)
    for name in names:
        for split, where, row in read_source(path, config_name=name):
            yield "/".join(filter(None, (name, split))), f"{name}: {where}", row


def _prompt_of(row: Mapping[str, Any], format: str) -> Any:
    if format != "auto":
        FORMATS[format].check(row)
        return FORMATS[format].prompt(row)
    fits = fitting(row)
    if fits and not (fits == [FORMATS["trl"]] and row.get("prompt") is not None):
        return fits[0].prompt(row)
    for name in ("prompt", "instruction", "question", "input", "context"):
        if row.get(name) is not None:
            return row[name]
    raise ValueError(f"the row has no prompt; got the columns {', '.join(row)}.")
