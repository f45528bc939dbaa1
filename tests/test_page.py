"""report.html: what report.md says, every response as it is, nothing that a text could make it do; in a browser."""

import base64
import copy
import hashlib
import json
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support import SECRET, write_rows
from support.browser import Browser, chromium
from test_report import REPORT

from rlaif.config import keep_secret
from rlaif.pages import responses
from rlaif.pages.evaluation import html_page, markdown, write_report
from rlaif.pages.html import from_markdown

NASTY = [
    "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)>",
    "שלום עולם 🎉 \u202eturned \x00\x07\x1b[31m\u2028 end",
    "half a sign: \ud800, and another: \udfff",
    "",
    "a | b\r\nc\td `e` $f$ {{ g }} &amp; \\",
    "long " * 20_000,
]
CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "</script> And now?"},
]


def rows(prompts: int) -> Iterator[dict]:
    """Both policies' responses: prompt 2 is a chat, the first six responses of sft are nasty, prompt 4 is unjudged."""
    for i in range(prompts):
        for policy in ("sft", "dpo"):
            said = NASTY[i] if policy == "sft" and i < len(NASTY) else f"Answer {i} of {policy}: words."
            row = {"index": i, "policy": policy, "prompt": CHAT if i == 2 else f"Question {i}?", "response": said}
            row |= {"tokens": 5 + i, "ended": i != 3, "gold": float(i % 3 if policy == "dpo" else 1), "reward": 0.25}
            row |= {"kl": None if policy == "sft" else 1.5, "place": f"prompts.jsonl:{i + 1}"}
            if policy == "dpo":
                row |= {"z": None, "reason": "no verdict"} if i == 4 else {"z": 0.9 if i != 7 else 0.05, "reason": None}
            yield row


def written(folder: Path, prompts: int = 30, report: dict = REPORT) -> Path:
    write_rows(folder / "responses.jsonl", rows(prompts))
    write_report(folder, {**report, "prompts": {**report["prompts"], "count": prompts}})
    return folder / "report.html"


class Parsed(HTMLParser):
    """A document as an HTML parser reads it: the scripts that it has, its text, its tags."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict, str]] = []
        self.text, self.tags, self._in = "", [], None
        self.feed(document)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._in = tag
        if tag == "script":
            self.scripts.append((dict(attributes), ""))

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._in != "style":
            self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("page"))


def test_the_page_says_every_number_that_report_md_says(page: Path) -> None:
    parsed = Parsed(page.read_text())
    said = " ".join(parsed.text.split())
    figures = re.findall(r"\d[\d,.]*\d(?: %)?", markdown(REPORT).split("Brackets")[1])
    assert len(figures) > 40
    assert [figure for figure in figures if figure not in said] == []
    assert [attributes["alt"] for tag, attributes in parsed.tags if tag == "img"] == [
        "win rate of each policy against the baseline",
        "reward of each policy against its KL to the reference",
        "reliability of the judge's z",
    ]


def test_nothing_is_asked_of_the_network_and_one_script_alone_may_run(page: Path) -> None:
    parsed = Parsed(page.read_text())
    addresses = [v for _, attributes in parsed.tags for n, v in attributes.items() if n in {"src", "href", "action"}]
    assert {address.split(":")[0] if address[0] != "#" else "#" for address in addresses} == {"data", "#"}
    policy = next(a["content"] for tag, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    (script,) = [inner for attributes, inner in parsed.scripts if attributes.get("type") != "application/json"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}';" in policy
    assert not [a for _, attributes in parsed.tags for a in attributes if a.startswith("on") or a == "style"]


def test_responses_are_in_the_page_as_they_are(page: Path) -> None:
    parsed = Parsed(page.read_text())
    held = [
        row for attributes, inner in parsed.scripts if attributes.get("class") == "rows" for row in json.loads(inner)
    ]
    assert [row[0] for row in held] == list(range(30))
    assert [row[3][0][0] for row in held[: len(NASTY)]] == NASTY
    assert held[2][1] == CHAT
    assert held[4][3][1] == ["Answer 4 of dpo: words.", 1.0, 0.25, None, 1.5, 9, 23, True, "no verdict", None]


def test_a_page_that_cannot_hold_all_says_how_many_it_holds(tmp_path: Path) -> None:
    write_rows(tmp_path / "responses.jsonl", (row for row in rows(40) if row["index"] >= 10))
    report = {**REPORT, "prompts": {**REPORT["prompts"], "count": 30}}
    made = "".join(responses.responses_section(report, tmp_path / "responses.jsonl", most=2000))
    held = [row for a, inner in Parsed(made).scripts if a.get("class") == "rows" for row in json.loads(inner)]
    assert 0 < len(held) < 30
    assert f"the first {len(held)} of 30 prompts" in made
    assert "This page holds" not in "".join(responses.responses_section(report, tmp_path / "responses.jsonl"))


def test_a_report_without_responses_is_a_page_without_a_script() -> None:
    page = Parsed("".join(html_page(REPORT, {}, None)))
    assert page.scripts == []
    assert "81.2 %" in page.text


def test_no_key_is_on_the_page(tmp_path: Path) -> None:
    keep_secret(SECRET)
    report = copy.deepcopy(REPORT)
    report["judge"]["reasons"] = {f"the server said: {SECRET}": 3}
    write_rows(tmp_path / "responses.jsonl", [{**row, "response": f"my key is {SECRET}"} for row in rows(2)])
    write_report(tmp_path, report)
    page = (tmp_path / "report.html").read_text()
    assert SECRET not in page
    assert page.count("(key)") >= 5


def test_markdown_becomes_html_with_headers_and_no_html_of_its_own() -> None:
    page = "## A & B\n\n| | `x` |\n| --- | --- |\n| n<br>m | 2 [1, 3]; of 4 |\n\n<b>bold</b> ![p](p.png) ![q](q.png)"
    made = from_markdown(page, {"p.png": "data:,"})
    assert '<h2 id="a-b">A &amp; B</h2>' in made
    assert '<th scope="col"><code>x</code></th>' in made
    assert '<th scope="row">n<br>m</th>' in made
    assert '<td class="number">2 <span class="interval">[1, 3]</span> <span class="rest">of 4</span></td>' in made
    assert '<img src="data:," alt="p"> <em>q</em>' in made
    assert "&lt;b&gt;bold" in made
    assert 'tabindex="0" aria-label="table: A &amp; B"' in made


# In a browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if chromium() is None:
        if os.environ.get("RLAIF_BROWSER") == "required":
            pytest.fail("RLAIF_BROWSER is required, and there is no Chromium; expected one on the PATH.")
        pytest.skip("needs a Chromium on the PATH, or RLAIF_CHROMIUM (apt-get install chromium)")
    with Browser() as made:
        yield made


def choose(browser: Browser, **values: str) -> None:
    for name, value in values.items():
        browser.run(
            f"(() => {{ const field = document.getElementById({name!r}); field.value = {value!r};"
            " field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )


def status(browser: Browser) -> str:
    return browser.run("document.querySelector('.pager output').textContent")


def shown(browser: Browser) -> list[int]:
    return browser.run("[...document.querySelectorAll('article')].map((row) => Number(row.id.slice(7)))")


def test_a_browser_opens_it_without_a_complaint_and_asks_for_nothing(browser: Browser, page: Path) -> None:
    browser.resize(1280)
    browser.open(page.as_uri())
    assert browser.complaints == []
    assert [address for address in browser.asked_for if not address.startswith("data:")] == [page.as_uri()]
    assert browser.run("document.title") == "Evaluation: sft, dpo"
    assert status(browser) == "30 prompts, 1 to 10 shown"
    assert shown(browser) == list(range(10))
    texts = browser.run("[...document.querySelectorAll('.answer:first-child .text')].map((text) => text.textContent)")
    assert texts[0] == NASTY[0]
    assert texts[1] == "שלום עולם 🎉 �turned ␀␇␛[31m\u2028 end"
    assert texts[3] == "(empty)"
    assert browser.run("[...document.querySelectorAll('#prompt-2 .role')].map((role) => role.textContent)") == [
        *("system", "user", "assistant", "user")
    ]


def test_long_responses_are_folded_and_unfold(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    length = "document.querySelector('#prompt-5 .answer .text').textContent.length"
    more = "document.querySelector('#prompt-5 .more')"
    assert browser.run(f"{more}.textContent") == "Show all 100,000 characters"
    assert browser.run(length) < 1000
    browser.run(f"{more}.click()")
    assert browser.run(length) == 100_000
    assert browser.run(f"{more}.getAttribute('aria-expanded')") == "true"


def test_prompts_are_searched_filtered_ordered_and_turned(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    choose(browser, words="ANSWER 17 OF DPO")
    browser.until("document.querySelectorAll('article').length === 1")
    assert (shown(browser), status(browser)) == ([17], "1 of 30 prompts, 1 to 1 shown")
    assert browser.run("document.querySelector('article mark').textContent") == "Answer 17 of dpo"
    browser.run("document.querySelector('button[type=reset]').click()")
    browser.until("document.querySelectorAll('article').length === 10")
    for which, expected in {
        "one": [i for i in range(30) if i % 3 == 2],  # dpo has gold 2, sft 1
        "tie": [i for i in range(30) if i % 3 == 1],
        "differ": [i for i in range(30) if i % 3 == 0],  # z is 0.9 for dpo, and gold is lower; none at 7, a tie by gold
        "cut": [3],
        "all": list(range(30)),
    }.items():
        choose(browser, which=which)
        browser.until(f"document.querySelector('.pager output').textContent.startsWith('{len(expected)} ')")
        assert shown(browser) == expected[:10]
    choose(browser, by="judge", which="other")
    browser.until("document.querySelectorAll('article').length === 1")
    assert shown(browser) == [7]
    choose(browser, which="unknown")
    browser.until("document.getElementById('prompt-4') !== null")
    assert shown(browser) == [4]  # unjudged
    choose(browser, which="all", order="length")
    browser.until("document.querySelector('article').id === 'prompt-5'")
    browser.run("document.querySelector('[data-step=\"1\"]').click()")
    assert status(browser) == "30 prompts, 11 to 20 shown"
    browser.run("document.querySelector('[name=shown]').click()")
    assert browser.run("document.querySelectorAll('.answer').length") == 10
    assert browser.complaints == []


def test_an_address_leads_to_a_prompt(browser: Browser, page: Path) -> None:
    browser.open("about:blank")
    browser.open(page.as_uri() + "#prompt-23")
    assert shown(browser) == list(range(20, 30))


@pytest.mark.parametrize("width", [1280, 360])
def test_it_is_never_wider_than_the_window(browser: Browser, page: Path, width: int) -> None:
    browser.resize(width, dark=width == 360)
    browser.open(page.as_uri())
    assert browser.run("document.documentElement.scrollWidth") == width
    assert browser.run("getComputedStyle(document.documentElement).backgroundColor") == (
        "rgb(23, 25, 28)" if width == 360 else "rgb(251, 250, 246)"
    )
    browser.resize(1280)


def test_on_paper_nothing_lies_beyond_the_edge(browser: Browser, tmp_path: Path) -> None:
    names = [f"policy-with-a-long-name-{i}" for i in range(12)]
    policies = dict.fromkeys(names, REPORT["policies"]["dpo"])
    said = [{"index": i, "policy": n, "prompt": f"q {i}", "response": "so it is"} for i in range(12) for n in names]
    write_rows(tmp_path / "responses.jsonl", said)
    report = {**REPORT, "policies": policies, "baseline": names[0], "prompts": {**REPORT["prompts"], "count": 12}}
    (tmp_path / "report.html").write_text("".join(html_page(report, {}, tmp_path / "responses.jsonl")))
    browser.resize(700)
    browser.open((tmp_path / "report.html").as_uri())
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    wide = "[...document.querySelectorAll('html, .scroll, .answers')].filter((e) => e.scrollWidth > 700).length"
    assert browser.run(wide) == 0
    # How many of the prompts stand there is said once.
    count = "[...document.querySelectorAll('.pager output')].filter((e) => e.offsetParent).map((e) => e.textContent)"
    assert browser.run(count) == ["12 prompts, 1 to 10 shown"]
    browser.resize(1280)


def test_without_scripts_the_numbers_are_there_and_no_dead_form(browser: Browser, page: Path) -> None:
    browser.with_scripts(False)
    browser.open(page.as_uri())
    browser.with_scripts(True)
    assert browser.run("document.body.innerText.includes('81.2 %')")
    assert browser.run("document.body.innerText.includes('let this page run its script')")
    assert browser.run("getComputedStyle(document.getElementById('find')).display") == "none"
