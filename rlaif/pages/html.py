"""One page, one file: a page's Markdown as HTML with its pictures inside, and data that a script of ours lays out.

    from_markdown(page, pictures)     the HTML of what stands in a report.md: one description, read in two ways
    opening(...), closing(...)        the document around it, which loads nothing from anywhere
    embedded(name, value)             a JSON value within the document, whatever text it holds
    picture(figure)                   a figure as an address that an image can have

What a page says is written once, as Markdown whose foreign text went through `rlaif.pages.markdown`. No HTML of a
source's is let through here, and the document's own policy (CSP) lets no script run but the one it was made with: a
text that slipped past every escape would still be text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from rlaif.files.ownership import PAGE_MARK
from rlaif.pages.markdown import plain

__all__ = ["closing", "embedded", "from_markdown", "opening", "picture", "png", "script", "slug"]

# "81.2 % [77.0 %, 85.1 %]; 345 / 55 / 100": a number, its interval, and what else is said of it.
_NUMBER = re.compile(r"(?P<value>[-+−]?\d[\d,.]*(?: %)?)(?: (?P<interval>\[[^\[\]]+\]))?(?P<rest>(?:; | \().*)?")


# What stands in a page ------------------------------------------------------------------------------------------------


def from_markdown(page: str, pictures: Mapping[str, str] | None = None) -> str:
    """A page's Markdown as HTML: headings with addresses, tables in boxes of their own that scroll, pictures inside.

    Args:
        page: as the functions of `rlaif.pages` write it; of HTML it may have `<br>`, and all else is shown as text.
        pictures: by the name that the page calls them, the data addresses to put there; one that is not among them is
            replaced by its description.
    """
    markdown = _reader()
    tokens = markdown.parse(page)
    _head_rows(tokens)
    return str(markdown.renderer.render(tokens, markdown.options, {"pictures": pictures or {}, "slugs": {}}))


@cache
def _reader() -> Any:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark").enable("table")
    for name, rule in {
        "html_block": _as_text,
        "html_inline": _as_text,
        "image": _image,
        "heading_open": _heading,
        "table_open": _table,
        "table_close": lambda *_: "</table></div>\n",
        "link_open": _link,
    }.items():
        reader.add_render_rule(name, rule)
    return reader


def _as_text(renderer: Any, tokens: Any, at: int, options: Any, env: Any) -> str:
    written = tokens[at].content
    return "<br>" if written == "<br>" else html.escape(written)


def _image(renderer: Any, tokens: Any, at: int, options: Any, env: Any) -> str:
    described = html.escape(renderer.renderInlineAsText(tokens[at].children, options, env))
    address = env["pictures"].get(tokens[at].attrs["src"])
    return f'<img src="{html.escape(address)}" alt="{described}">' if address else f"<em>{described}</em>"


def _heading(renderer: Any, tokens: Any, at: int, options: Any, env: Any) -> str:
    return f'<{tokens[at].tag} id="{slug(_words(tokens[at + 1]), env["slugs"])}">'


def _table(renderer: Any, tokens: Any, at: int, options: Any, env: Any) -> str:
    before = next((tokens[i + 1] for i in range(at, -1, -1) if tokens[i].type == "heading_open"), None)
    called = f"table: {_words(before)}" if before else "table"
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(called)}"><table>\n'


def _link(renderer: Any, tokens: Any, at: int, options: Any, env: Any) -> str:
    return f'<a href="{html.escape(str(tokens[at].attrs["href"]))}" rel="noreferrer">'


def slug(words: str, taken: dict[str, int]) -> str:
    """A heading's address; the second of the same name gets a number."""
    name = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "part"
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}-{taken[name]}"


def _words(inline: Any) -> str:
    return "".join(token.content for token in inline.children if token.type in {"text", "code_inline"})


def _head_rows(tokens: list[Any]) -> None:
    """Makes the first cell of each row its header, and shows numbers above their intervals."""
    first, body = False, False
    for at, token in enumerate(tokens):
        if token.type in {"tbody_open", "thead_open"}:
            body = token.type == "tbody_open"
        elif token.type == "tr_open":
            first = True
        elif token.type in {"td_open", "th_open"}:
            inline, close = tokens[at + 1], tokens[at + 2]
            if first or not body:
                empty = not inline.content.strip()
                token.tag = close.tag = "td" if empty else "th"
                token.attrs = {} if empty else {"scope": "row" if body else "col"}
            if body and not first:
                _set_number(token, inline)
            first = False


def _set_number(cell: Any, inline: Any) -> None:
    from markdown_it.token import Token

    found = _NUMBER.fullmatch(inline.content)
    if inline.content == "–" or (found and not found["rest"]):
        cell.attrs = {"class": "number"}
    if not found or not (found["interval"] or found["rest"]):
        return
    cell.attrs = {"class": "number"}
    parts = [Token("text", "", 0, content=found["value"])]
    for name in ("interval", "rest"):
        if found[name]:
            words = found[name].removeprefix("; ").strip()
            opened = Token("span_open", "span", 1, attrs={"class": name})
            parts += [Token("text", "", 0, content=" "), opened, Token("text", "", 0, content=words)]
            parts.append(Token("span_close", "span", -1))
    inline.children = parts


def picture(figure: Any) -> str:
    """A Matplotlib figure as the address of an image: SVG on no ground of its own, with its letters as shapes."""
    import matplotlib as mpl

    written = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "rlaif"}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(written.getvalue()).decode()


def png(content: bytes) -> str:
    """A picture's bytes as the address of an image."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


# The document ---------------------------------------------------------------------------------------------------------


def opening(title: str, contents: Mapping[str, str], scripts: tuple[str, ...] = ()) -> str:
    """The document to the beginning of its main part.

    Args:
        title: of the window.
        contents: what the page links to at its top: words by address.
        scripts: the names of the scripts that `script` puts into it; no other runs.
    """
    style = _asset("page.css")
    allowed = " ".join(f"'{_hash(_asset(name))}'" for name in scripts) or "'none'"
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src '{_hash(style)}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    links = "".join(
        f'<li><a href="#{address}">{html.escape(plain(words))}</a></li>' for address, words in contents.items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n{PAGE_MARK}\n<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(plain(title))}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + (f'<nav aria-label="On this page"><ul>{links}</ul></nav>\n' if links else "")
        + "<main>\n"
    )


def script(name: str) -> str:
    """The element of a script of ours, which stands after what it works on."""
    return f"<script>{_asset(name)}</script>\n"


def closing(said: str = "", scripts: tuple[str, ...] = ()) -> str:
    """The document from the end of its main part; `said` stands at its foot."""
    foot = f"<footer>{said}</footer>\n" if said else ""
    return f"</main>\n{foot}{''.join(map(script, scripts))}</body>\n</html>\n"


def embedded(value: Any, attributes: str) -> str:
    """A JSON value in an element that shows nothing and runs nothing, for a script to read.

    Nothing in it can end the element: "<" is written as JSON may write it. Half characters, which no file can hold, are
    written so too, and come out as they went in.
    """
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f'<script type="application/json" {attributes}>{_WRITTEN_OUT.sub(_written_out, written)}</script>\n'


_WRITTEN_OUT = re.compile("[<\u007f-\u009f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def _written_out(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


@cache
def _asset(name: str) -> str:
    return resources.files("rlaif.pages").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
