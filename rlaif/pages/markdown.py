"""A source's text on a page: as it reads, and never as Markdown, HTML or mathematics of its own.

    text(value)     within a line or a paragraph
    cell(value)     within a cell of a table
    code(value)     a name, as code; code(value, in_cell=True) within a cell
    fenced(value)   a block of code
    label(value)    in a picture
    plain(value)    on one line, for what escapes by itself

Everything that a page says of its own is Markdown; everything that comes from a file, a model or a setting goes through
one of these. The pages are read on the Hub, on GitHub and in editors, so that what any of them takes for an element is
escaped: CommonMark's, tables, strike-through, bare addresses, mentions, `$mathematics$` and `{{ templates }}`.
Characters that turn the direction of what follows, or that cannot be printed, become "�".
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

__all__ = ["cell", "code", "fenced", "label", "link", "plain", "text"]

EMPTY = "*(empty)*"
_LONGEST_LABEL = 60

# What turns the direction of the text after it.
_TURNS = {*map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))}
_SIGNS = re.compile(r"[\\`*\[\]|~$]")
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # within a word it is no emphasis
_TEMPLATE = re.compile(r"\{(?=[{%#])")
_START = re.compile(r"^(?:[#+=>-]|\d{1,9}[.)](?=\s|$))")  # of a heading, a list, a quote or a rule
_ADDRESS = re.compile(r"(?i)\b(?:[a-z][a-z0-9+.-]*(:)//|www(\.)|(?:mailto|xmpp|javascript)(:)(?=\S))")
_ENTITIES = {":": "&#58;", ".": "&#46;"}


def text(value: Any, addresses: bool = False) -> str:
    """On one line; `addresses`: those that begin with https:// may become links, as they read."""
    return _START.sub(_begun, _inline(plain(value), addresses)) or EMPTY


def cell(value: Any) -> str:
    """Text that stays within its table cell, line breaks kept."""
    return "<br>".join(_inline(line.strip(), False) for line in _clean(value).splitlines()).strip() or EMPTY


def code(value: Any, in_cell: bool = False) -> str:
    """A name as code, on one line, whatever backticks it has."""
    line = plain(value)
    if not line:
        return EMPTY
    ticks = "`" * (_longest_run(line) + 1)
    space = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{ticks}{space}{line.replace('|', chr(92) + '|') if in_cell else line}{space}{ticks}"


def fenced(value: Any, language: str = "") -> str:
    """A block of code that nothing in it can end."""
    content = _clean(value, keep="\t")
    fence = "`" * max(3, _longest_run(content) + 1)
    return f"{fence}{language}\n{content}\n{fence}"


def link(value: Any, target: str) -> str:
    """A link to an address of the web or a file beside the page; the text alone where `target` is neither."""
    if re.fullmatch(r"[\w.-]+", target, re.ASCII) and not target.startswith("."):
        return f"[{text(value)}]({target})"
    if not re.fullmatch(r"https?://[^\s<>\\\x00-\x1f\x7f]+", target):
        return f"{text(value)} ({text(target)})"
    target = target.replace("|", "%7C")
    return f"[{text(value)}](<{target}>)" if re.search(r"[()]", target) else f"[{text(value)}]({target})"


def plain(value: Any) -> str:
    """Text on one line, with nothing in it that cannot be shown, and nothing escaped."""
    return " ".join(_clean(value).split())


def label(value: Any) -> str:
    """Text in a picture: on one line, no mathematics, not hidden by Matplotlib, not longer than the picture is wide."""
    line = plain(value)
    line = line if len(line) <= _LONGEST_LABEL else f"{line[: _LONGEST_LABEL - 1]}…"
    return f" {line}".replace("$", r"\$") if line.startswith("_") else line.replace("$", r"\$")


def _clean(value: Any, keep: str = "") -> str:
    """Any text as one that can be shown: no half characters, nothing that cannot be printed or turns the direction."""
    whole = str(value).encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    return "".join(_shown(sign, keep) for sign in whole)


def _shown(sign: str, keep: str) -> str:
    if sign == "\n" or sign in keep:
        return sign
    if sign in "\t\v\f\u2028\u2029":
        return " "
    return "�" if sign in _TURNS or unicodedata.category(sign) == "Cc" else sign


def _inline(line: str, addresses: bool) -> str:
    """One line of text as Markdown that reads the same."""
    line = _SIGNS.sub(r"\\\g<0>", line)
    line = _UNDERSCORE.sub(r"\\_", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    line = _TEMPLATE.sub("&#123;", line)
    if not addresses:
        line = _ADDRESS.sub(_inert, line)
    return line.replace("@", "&#64;")


def _inert(found: re.Match[str]) -> str:
    """An address that is not made a link."""
    at = next(group for group in (1, 2, 3) if found[group])
    start, end = found.start(at) - found.start(), found.end(at) - found.start()
    return found[0][:start] + _ENTITIES[found[at]] + found[0][end:]


def _begun(found: re.Match[str]) -> str:
    return f"{found[0][:-1]}\\{found[0][-1]}"


def _longest_run(content: str) -> int:
    """The longest run of backticks."""
    return max((len(run) for run in re.findall("`+", content)), default=0)
