"""A source's text on pages and cards: a real parser finds in it no element that a plain word would not have."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from support import here, some_pairs, write_rows
from test_report import REPORT

from rlaif.models.reward_model import RewardModelCard
from rlaif.pages import ablation, evaluation
from rlaif.pages.markdown import cell, code, fenced, label, link, text
from rlaif.pages.training import watch_page, write_watch
from rlaif.publish.card import CardFields
from rlaif.publish.lineage import Source
from rlaif.publish.model_card import model_card
from rlaif.publish.model_facts import Example, ModelFacts

NASTY = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- hidden",
    "a | b | c",
    "`code` and ``more``",
    "`",
    "```\nend",
    "[x](javascript:alert(1))",
    "![i](http://x.org/i.png)",
    "<http://x.org>",
    "[x]: http://x.org",
    "# heading",
    "one\n---\ntwo",
    "one\n===\ntwo",
    "- list",
    "1. list",
    "> quote",
    "***bold*** __bold__ ~~gone~~",
    "{{ template }} {% raw %}",
    "$x^2$ $$y$$",
    "back\\slash \\`x\\` \\| y\\",
    "&lt;b&gt; &#60;i&#62;",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "\ttab    \n\n    four",
    "| --- | --- |\n| a | b |",
    "---\nlicense: mit\n---",
    "nul\x00 esc\x1b[31m half \ud800",
    "'\"",
    "é 漢 🙂",
]
ALL = " ".join(NASTY)


class _Elements(HTMLParser):
    """What elements there are, and the text in them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "br":
            self.found.append(" ".join([tag, *(f"{name}={value}" for name, value in attrs if name != "alt")]))

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def elements(page: str) -> _Elements:
    parser = _Elements()
    parser.feed(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(page))
    parser.close()
    return parser


def shown(value: str) -> str:
    """What a reader sees of a text: nothing that turns or cannot be printed, white space as one space."""
    return " ".join("".join(map(_shown, value)).split())


def _shown(sign: str) -> str:
    if "\ud800" <= sign <= "\udfff":
        return "?"
    return "\ufffd" if sign in "\x00\x1b\u202e\u202c\u2066\u2069" else sign


PLACES: dict[str, Callable[[str], str]] = {
    "paragraph": text,
    "heading": lambda value: f"# {text(value)}",
    "emphasis": lambda value: f"**{text(value)}**: on",
    "list": lambda value: f"- {text(value)}",
    "cell": lambda value: f"| a | b |\n| --- | --- |\n| {cell(value)} | {cell(value)} |",
    "code": lambda value: f"of {code(value)} it",
    "code in a cell": lambda value: f"| a | b |\n| --- | --- |\n| {code(value, True)} | {code(value, in_cell=True)} |",
    "block": lambda value: fenced(value, "text"),
    "link": lambda value: link(value, "https://x.org/a?b=(c)"),
}


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
@pytest.mark.parametrize("place", PLACES)
def test_text_reads_as_it_is_and_makes_no_element(place: str, value: str) -> None:
    plain, page = elements(PLACES[place]("word")), PLACES[place](value)
    nasty = elements(page)
    assert nasty.found == plain.found
    read = " ".join(" ".join(nasty.words).split())
    assert shown(value).replace(" ", "") in read.replace(" ", "").replace("<br>", "")
    if "code" not in place and "block" not in place:
        for raw in ("://", "{{", "{%", "www.", "@") if place != "link" else ("{{", "{%"):
            assert raw not in page


def test_what_is_no_address_is_no_link() -> None:
    for target in ("javascript:alert(1)", "../LICENSE", ".env", "MY LICENSE", "https://x.org/ onclick", "data:x"):
        assert elements(link("licence", target)).found == ["p"]
    for target in ("https://x.org/a", "LICENSE", "LICENSE-1.0.txt"):  # the last two: of files beside the page
        assert elements(link("licence", target)).found == ["p", f"a href={target}"]
    assert [text(""), cell(" \n"), code("")] == ["*(empty)*"] * 3


@pytest.mark.parametrize("value", ["0.01", "1e-05", "-0.5", "rlaif-1.0", "a_b.c", "1-10", "2) the", "3. of", "12."])
def test_numbers_and_names_are_escaped_no_more_than_they_need(value: str) -> None:
    begun = value[0] == "-" or value[-1] == "." or " " in value
    assert len(text(value)) == len(value) + begun
    assert "".join(elements(text(value)).words).strip() == value


# Pages ----------------------------------------------------------------------------------------------------------------


def evaluated(name: str) -> tuple[dict[str, Any], list[Any]]:
    """The report and the examples of an evaluation in which everything that has a name is called so."""
    report: dict[str, Any] = copy.deepcopy(REPORT)
    report |= {"gold": name, "baseline": name, "reference": name}
    report["prompts"] |= {"source": name, "split": name}
    report["policies"] = {name: report["policies"]["sft"], f"{name} 2": report["policies"]["dpo"]}
    report["policies"][name] |= {"kl_missing": name, "kl": None}
    report["judge"]["reasons"] = {name: 3}
    report["comparisons"] = [{"policy": name, "other": name, "kl": 1.0, "kl_se": 0.1}]
    example = ([{"role": "user", "content": name}], {name: name, f"{name} 2": name}, {name: 0.5, f"{name} 2": None})
    return report, [example, (name, example[1], example[2])]


@pytest.mark.parametrize("value", [*NASTY, ALL], ids=range(len(NASTY) + 1))
def test_the_page_of_an_evaluation(value: str) -> None:
    assert (
        elements(evaluation.markdown(*evaluated(value))).found == elements(evaluation.markdown(*evaluated("w"))).found
    )


def watched(name: str) -> dict[str, Any]:
    row = {"unscored": 0, "mean": 1.0, "mean_se": 0.1}
    base = {"samples": 8, "reward": 1.0, "reward_se": 0.1, "reward_unscored": 1, "kl": 1.0, "kl_se": 0.1}
    checks = [{**base, "step": step, "length": 3.0, "no_eos": 0.0, "scores": {name: row}} for step in (1, 5)]
    compared = {
        "best_step": 1,
        "step": 5,
        "prompts": 8,
        "change": -1.0,
        "change_low": -2.0,
        "change_high": -0.5,
        "reward_change": 1.0,
        "reward_change_low": 0.5,
        "reward_change_high": 2.0,
    }
    section = {"planned": 2, "prompts": 8, "comparisons": 1, "level": 0.95, "checks": checks}
    return {**section, "marked": {name: 5}, "compared": {name: compared}}


@pytest.mark.parametrize("value", [*NASTY, ALL], ids=range(len(NASTY) + 1))
def test_the_page_of_a_watched_run(value: str) -> None:
    assert elements(watch_page(watched(value))).found == elements(watch_page(watched("word"))).found


def study(name: str) -> dict[str, Any]:
    estimate = {"mean": 1.0, "low": 0.5, "high": 1.5, "n": 2}
    missing = {"1": {"kind": "without a value", "why": name}}
    outcome = {
        "values": {"0": 1.0, "1": None},
        "estimate": estimate,
        "difference": estimate,
        "of_the_others": None,
        "missing": missing,
        "clear": True,
        "clear_of_all": False,
    }
    here_ = {
        "label": name,
        "coordinates": {name: name},
        "baseline": None,
        "outcomes": {"o": outcome},
        "failed": {"1": {"stage": name, "line": name, "folder": name}},
        "samples": {name: 3},
        "seconds": 1.0,
        "own_seconds": 1.0,
    }
    point = {"x": estimate, "y": estimate, "label": name}
    line = {"name": name, "points": [point], "left_out": 1, "by_cell": False, "fit": None}
    curve = {"name": "c", "x_label": name, "y_label": name, "lines": [line], "scale": "linear"}
    first = {"name": "o", "label": name, "metric": name, "stage": name, "compare": True, "comparisons": 1}
    return {
        "title": name,
        "finding": name,
        "source": name,
        "note": name,
        "problems": [name],
        "seeds": [0, 1],
        "baseline": True,
        "cells": [here_],
        "outcomes": [first],
        "curves": [curve],
        "held_out": {"compared": 1, "shared": 0, "not_compared": 1, "unread": [name]},
    }


@pytest.mark.parametrize("value", [*NASTY, ALL], ids=range(len(NASTY) + 1))
def test_the_page_of_an_ablation(value: str) -> None:
    assert elements(ablation.markdown(study(value))).found == elements(ablation.markdown(study("word"))).found


# Cards ----------------------------------------------------------------------------------------------------------------


def described(name: str) -> str:
    """The card of a reward model in whose run everything that has a name is called so."""
    source = Source(name, revision=name, fingerprint=name, license=name, note=name)
    facts = ModelFacts(
        kind="reward_model",
        title=name,
        repo_id=None,
        parameters=1,
        dtype="float32",
        rendering={"kind": "plain", "template_hash": None, "eos_token": name},
        adapter=None,
        load_in_4bit=False,
        reward=RewardModelCard(rendering={}, max_length=8, base_model=name),
        manifest={"command": "reward_models/bradley_terry.py", "git_commit": name, "finished": name,
                  "versions": {name: name},
                  "config": {"train_split": name, "test_split": name, "learning_rate": 1.0, "lr_scheduler_type": name,
                             "warmup_steps": 0, "dtype": name, "lora": True, "lora_target_modules": [name]}},
        run={"train": {"pairs": 3}},
        base=source,
        start=[source],
        base_check="",
        data=source,
        rewards=[name],
        evaluation={"against_gold": {"measured": 3}, "gold": name, "pairs": 3, "split": name, "preferences": name},
        example=Example("a", "b", "a CPU", score=0.5),
        plot=None,
    )  # fmt: skip
    fields = CardFields("other", license_name="own", license_link="LICENSE")
    return model_card(facts, fields).split("---\n", 2)[2]


@pytest.mark.parametrize("value", [*NASTY, ALL], ids=range(len(NASTY) + 1))
def test_the_card_of_a_model(value: str) -> None:
    assert elements(described(value)).found == elements(described("word")).found


def nasty(prompt: Any, first: str, second: str) -> float:
    """A judge for the tests."""
    return 0.5 + 0.4 * ((len(first) > len(second)) - (len(first) < len(second)))


def carded(folder: Path, name: str) -> tuple[str, str]:
    """The README of `rlaif build` and the card of `rlaif publish`, of pairs whose texts and models are all `name`."""
    pairs = [
        {**pair, "prompt": f"{i} {name}", "response_a": f"{name} longer", "response_b": f"{i}", "model_a": name,
         "model_b": f"b {name}"}
        for i, pair in enumerate(some_pairs(12))
    ]  # fmt: skip
    write_rows(folder / "pairs.jsonl", pairs)
    judge = ("--judge", "function", "--judge_model", "test_markdown:nasty")
    whole = ("--validation", "0", "--test", "0")
    for words in (
        ("judge", "--pairs", folder / "pairs.jsonl", *judge, "--output", folder / "judged"),
        ("build", "--judgments", folder / "judged", "--output", folder / "preferences", *whole),
        ("publish", "--preferences", folder / "preferences", "--output", folder / "out", "--license", "mit"),
    ):
        done = here(*words)
        assert done.returncode == 0, done.stderr
    readmes = [(folder / name / "README.md").read_text(encoding="utf-8") for name in ("preferences", "out")]
    return readmes[0].split("---\n", 2)[2], readmes[1].split("---\n", 2)[2]


def test_the_card_of_a_dataset(tmp_path: Path) -> None:
    """All at once, of real commands: surrogates are no text of a file."""
    value = " ".join(text for text in NASTY if "\ud800" not in text)
    for folder in ("nasty", "plain"):
        (tmp_path / folder).mkdir()
    harmful, harmless = carded(tmp_path / "nasty", value), carded(tmp_path / "plain", "word")
    for ours, plain in zip(harmful, harmless, strict=True):
        assert elements(ours).found == elements(plain).found


# Pictures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["$\\frac{$", "_hidden $x$ {y}", "\\$ a\nb" * 200])
def test_names_in_pictures_are_no_mathematics(value: str, tmp_path: Path) -> None:
    from matplotlib.text import Text

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        report, examples = evaluated(value)
        evaluation.write_report(tmp_path, report, examples)
        write_watch(tmp_path, watched(value))
    mathematics: Any = Text(text=label(value))
    assert mathematics._preprocess_math(label(value))[1] is False
    assert len(label(value)) <= 2 * 60
    assert "\n" not in label(value)
    assert not label(value).startswith("_")
