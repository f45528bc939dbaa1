"""The responses of `rlaif evaluate` on its page: every prompt with what each policy said, to be searched and filtered.

The rows stand in the page as JSON, in blocks, and a script lays out a few at a time, so that 5,000 prompts open as fast
as ten. Rows are read and written one prompt at a time: memory does not grow with their number.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rlaif.pages.html import embedded
from rlaif.pages.markdown import plain
from rlaif.pages.parts import Report, count, known
from rlaif.secrets import without_secrets

__all__ = ["MOST", "SCRIPT", "examples_of", "responses_section"]

MOST = 64 << 20  # bytes of responses in one page; a browser opens that in about a second
SCRIPT = "responses.js"
_BLOCK = 1 << 20  # bytes of rows in one element

Row = Mapping[str, Any]


def responses_section(report: Report, file: str | Path, without_script: str = "", most: int = MOST) -> Iterator[str]:
    """The section of the page, piece by piece.

    Args:
        report: whose policies they are.
        file: responses.jsonl: the rows of a prompt stand together.
        without_script: the HTML that stands here for a reader whose browser runs no scripts.
        most: bytes of rows in the page. What is beyond them is not in it, and the page says so.
    """
    names = list(report["policies"])
    yield '<h2 id="responses">Responses side by side</h2>\n'
    yield _form(report, names)
    yield f"<noscript><p>To search and filter them, let this page run its script.</p>\n{without_script}</noscript>\n"
    yield _pager("above") + '<div id="rows"></div>\n' + _pager("below")
    held, block, size, written = 0, [], 0, 0
    rows = _by_prompt(file, names)
    for row in rows:
        taken = len(json.dumps(row, ensure_ascii=False))
        if written + size + taken > most:
            break
        block.append(row)
        held, size = held + 1, size + taken
        if size > _BLOCK:
            yield embedded(block, 'class="rows"')
            block, written, size = [], written + size, 0
    if block:
        yield embedded(block, 'class="rows"')
    total = report["prompts"]["count"]
    if held < total:
        yield (
            f'<p class="note">This page holds the responses to the first {count(held)} of {count(total)} prompts; all '
            "of them are in <code>responses.jsonl</code>.</p>\n"
        )
    judged = any("judge" in row for row in report["policies"].values())
    about = {"policies": names, "baseline": names.index(report["baseline"]), "judged": judged}
    yield embedded(about, 'id="about"')


def examples_of(file: str | Path, policies: Sequence[str], n: int) -> list[tuple[Any, dict[str, str], dict[str, Any]]]:
    """The first `n` prompts with each policy's response and its gold reward, as `rlaif.pages.evaluation` shows them."""
    found: list[tuple[Any, dict[str, str], dict[str, Any]]] = []
    for _, rows in _grouped(file):
        if len(found) == n:
            break
        by_name = {row["policy"]: row for row in rows}
        said = {name: by_name[name].get("response") or "" for name in policies if name in by_name}
        found.append((next(iter(by_name.values()))["prompt"], said, {name: by_name[name].get("gold") for name in said}))
    return found


# Rows -----------------------------------------------------------------------------------------------------------------


def _grouped(file: str | Path) -> Iterator[tuple[int, list[Row]]]:
    with open(file, encoding="utf-8") as lines:
        rows: Iterable[Row] = (json.loads(line) for line in lines if line.strip())
        for index, together in groupby(rows, key=lambda row: row["index"]):
            yield index, list(together)


def _by_prompt(file: str | Path, names: Sequence[str]) -> Iterator[list[Any]]:
    """[number, prompt, place, answers, stages that trained on it] for each prompt; responses.js says what an answer is.

    What is read of a source stays as it is, but for keys that this process knows.
    """
    places = {name: at for at, name in enumerate(names)}
    for index, rows in _grouped(file):
        answers = [[None] * 10 for _ in names]
        for row in rows:
            if row["policy"] in places:
                answers[places[row["policy"]]] = _answer(row, places)
        trained = next((row["trained_on"] for row in rows if row.get("trained_on")), None)
        yield [index, _without_keys(rows[0]["prompt"]), rows[0].get("place"), answers, trained]


def _answer(row: Row, places: Mapping[str, int]) -> list[Any]:
    over = {
        str(places[name]): _number(judged["z"])
        for name, judged in (row.get("z_over") or {}).items()
        if name in places and known(judged.get("z"))
    }
    response = row.get("response")
    return [
        _without_keys(response),
        _number(row.get("gold")),
        _number(row.get("reward")),
        _number(row.get("z")),
        _number(row.get("kl")),
        _number(row.get("tokens")),
        None if response is None else len(response),
        row.get("ended"),
        row.get("reason"),
        over or None,
    ]


def _number(value: Any) -> Any:
    return value if known(value) else None


def _without_keys(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, list):
        return [_without_keys(inner) for inner in value]
    return {name: _without_keys(inner) for name, inner in value.items()} if isinstance(value, dict) else value


# What they are found by -----------------------------------------------------------------------------------------------


def _form(report: Report, names: Sequence[str]) -> str:
    """The form, hidden until the script is there. It offers what the report has numbers for."""
    fields = [
        '<div class="wide"><label for="words">Search prompts and responses</label>'
        '<input type="search" id="words" name="words" autocomplete="off" spellcheck="false"></div>'
    ]
    if len(names) > 1:
        by, which, order = _offered(report)
        policies = {at: plain(name) for at, name in enumerate(names)}
        fields += [
            _select("one", "Compare", policies, len(names) - 1),
            _select("other", "with", policies, names.index(report["baseline"])),
            _select("by", "by", by, next(iter(by))) if by else "",
            _select("which", "Show", which, "all"),
            _select("order", "Order", order, "source"),
            _RESET,
        ]
        boxes = "".join(
            f'<label><input type="checkbox" name="shown" value="{at}" checked> {html.escape(name)}</label>'
            for at, name in policies.items()
        )
        fields.append(f'<fieldset class="wide"><legend>Policies shown</legend>{boxes}</fieldset>')
    else:
        fields += [f'<input type="hidden" name="{name}" value="{value}">' for name, value in _ONE_POLICY.items()]
        fields.append(_RESET)
    return f'<form id="find" data-needs-script hidden aria-label="Find responses">{"".join(fields)}</form>\n'


_RESET = '<div><button type="reset">Start over</button></div>'
_ONE_POLICY = {"which": "all", "order": "source"}


def _offered(report: Report) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """By what two policies are compared, which prompts are shown, in which order: names in responses.js and words."""
    rows = list(report["policies"].values())
    gold, judged = bool(report.get("gold")), any("judge" in row for row in rows)
    reward, kl = (any(known(row.get(name)) for row in rows) for name in ("reward", "kl"))
    some, trained = gold or judged or reward, bool(report.get("trained_on"))
    by = {"gold": ("gold reward", gold), "judge": ("judge", judged), "reward": ("reward model", reward)}
    which = {
        "all": ("all prompts", True),
        "one": ("the first wins", some),
        "other": ("the second wins", some),
        "tie": ("ties", some),
        "unknown": ("not known which wins", some),
        "differ": ("judge and gold disagree", gold and judged),
        "reward_differs": ("reward model and gold disagree", gold and reward),
        "same": ("both say the same", True),
        "cut": ("one is cut off", True),
        "trained": ("trained on", trained),
    }
    order = {
        "source": ("as in the source", True),
        "differ": ("largest disagreement of judge and gold", gold and judged),
        "gold": ("largest difference in gold", gold),
        "reward": ("largest difference in reward", reward),
        "length": ("largest difference in length", True),
        "kl": ("largest KL of the first", kl),
        "worst": ("lowest gold of the first", gold),
    }
    kept = [{name: words for name, (words, there) in those.items() if there} for those in (by, which, order)]
    return kept[0], kept[1], kept[2]


def _select(name: str, words: str, options: Mapping[Any, str], chosen: Any) -> str:
    inner = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{html.escape(said)}</option>'
        for value, said in options.items()
    )
    return f'<div><label for="{name}">{words}</label><select id="{name}" name="{name}">{inner}</select></div>'


def _pager(where: str) -> str:
    live = ' aria-live="polite"' if where == "above" else ""
    return (
        f'<div class="pager" data-needs-script hidden><output{live}></output>'
        '<button type="button" data-step="-1">Previous</button> <button type="button" data-step="1">Next</button>'
        "</div>\n"
    )
