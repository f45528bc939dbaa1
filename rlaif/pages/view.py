"""The one HTML page of a folder of the house, whoever wrote it: what `rlaif view` shows.

rlaif evaluate             its report.html; of an older run the page made anew from report.json and responses.jsonl
a training program         the numbers of report.json, its loss.png, and what was watched (report.md)
scripts/ablate.py          report.md with its pictures
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.files.ownership import PAGE_MARK
from rlaif.files.sources import json_object
from rlaif.pages import html, responses
from rlaif.pages.curves import LOSS
from rlaif.pages.evaluation import PAGE, RESPONSES, html_page
from rlaif.pages.evaluation_plots import figures
from rlaif.pages.markdown import cell, code, text
from rlaif.pages.parts import interval, known, table
from rlaif.secrets import redacted, redacted_json

__all__ = ["page_of"]

_EXAMPLES = 5
_EXPECTED = (
    "expected a folder that `rlaif evaluate`, a training program (recipes/, reward_models/) or scripts/ablate.py wrote"
)


def page_of(folder: str | Path) -> bytes:
    """The page, whole, with its pictures inside.

    Raises:
        ValueError: there is no such folder, or nothing in it that can be shown; says what was expected.
    """
    folder = Path(folder)
    if not folder.is_dir():
        there = "is a file" if folder.is_file() else "is not there"
        raise ValueError(f"{folder} {there}; {_EXPECTED}.")
    ready = folder / PAGE
    if ready.is_file() and PAGE_MARK.encode() in (content := ready.read_bytes())[:8192]:
        return content
    report = _report(folder)
    if isinstance(report.get("policies"), dict) and "sampling" in report:
        return _evaluation(folder, report)
    if (folder / "report.md").is_file() and ("cells" in report or not report):
        return _document(folder.name, _read(folder / "report.md"), folder)
    if report:
        return _document(folder.name, _numbers_page(folder, report), folder)
    raise ValueError(f"{folder} has no {PAGE}, report.json or report.md; {_EXPECTED}.")


def _report(folder: Path) -> dict[str, Any]:
    path = folder / "report.json"
    if not path.is_file():
        return {}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); run what wrote it again.") from None
    return report if isinstance(report, dict) else {}


def _read(path: Path) -> str:
    return redacted(path.read_text(encoding="utf-8", errors="replace"))


def _evaluation(folder: Path, report: Mapping[str, Any]) -> bytes:
    file = folder / RESPONSES
    try:
        examples = responses.examples_of(file, list(report["policies"]), _EXAMPLES) if file.is_file() else []
        pieces = html_page(report, figures(report), file, examples)
        return "".join(pieces).encode("utf-8", "replace")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"the report in {folder} cannot be shown ({type(error).__name__}: {error}); expected report.json and "
            f"{RESPONSES} of one run of `rlaif evaluate`. Run it again."
        ) from error


def _document(name: str, page: str, folder: Path) -> bytes:
    """A page's Markdown as a document, with the pictures of its folder that it names."""
    named = set(re.findall(r"\]\(([\w.-]+\.png)\)", page, re.ASCII))
    pictures = {
        one: html.png((folder / one).read_bytes())
        for one in named
        if (folder / one).is_file() and not (folder / one).is_symlink()
    }
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    taken: dict[str, int] = {}
    contents = {}
    for words in headings:
        contents[html.slug(words, taken)] = words.replace("\\", "")
    made = [
        html.opening(name, contents if len(contents) > 1 else {}),
        html.from_markdown(page, pictures),
        html.closing(),
    ]
    return "".join(made).encode("utf-8", "replace")


def _numbers_page(folder: Path, report: Mapping[str, Any]) -> str:
    """A training run's report as a page: its curves, its numbers as report.json calls them, what was watched."""
    watched = (folder / "report.md").is_file()
    sections = [f"# {text(folder.name)}"]
    command = json_object(folder / "manifest.json").get("command")
    if command:
        sections.append(
            f"Written by {code(command)}. Numbers are called as in `report.json`; brackets hold 95 % intervals (there "
            "`..._low` and `..._high`, or from `..._se`)."
        )
    loose = []
    if (folder / LOSS).is_file():
        sections += ["## Curves", f"![training loss and held-out loss over the steps]({LOSS})"]
    for name, value in redacted_json(report).items():
        if watched and name == "over_optimization":
            continue  # report.md says it
        if isinstance(value, Mapping) and value:
            sections += [f"## {text(name)}", table(["name", "value"], _rows(value))]
        else:
            loose.append([cell(name), _shown(value)])
    if loose:
        sections += ["## Other numbers", table(["name", "value"], loose)]
    if watched:
        sections.append(_read(folder / "report.md").replace("\n## ", "\n### ").replace("# ", "## ", 1))
    return "\n\n".join(sections)


def _rows(values: Mapping[str, Any], before: str = "") -> list[list[str]]:
    rows = []
    for name, value in values.items():
        called, (of, _, end) = f"{before}{name}", name.rpartition("_")
        if isinstance(value, Mapping) and value:
            rows += _rows(value, f"{called}.")
        elif end not in ("low", "high", "se") or of not in values:
            rows.append([cell(called), interval(values, name, _shown)])
    return rows


def _shown(value: Any) -> str:
    """A value of a report: numbers short, lists of rows counted."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}" if known(value) else "–"
    if isinstance(value, int):
        return f"{value:,}"
    if value is None:
        return "–"
    if isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        return f"{len(value):,} rows, in `report.json`"
    return cell(json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value)
