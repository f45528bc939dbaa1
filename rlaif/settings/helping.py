"""What --help prints: what a program does, then its settings under headings, ours before TRL's.

--help          ours and those of TRL's that people set; of TRL's help the first sentence
--help all      all of them, in full
--help WORD     those whose name, other name or heading holds the word, in full
"""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from rlaif.errors.words import did_you_mean, nearest, shown
from rlaif.settings.declared import REFUSED, Setting

__all__ = ["asked", "help_text"]

_COLUMN = 30  # where help begins
_WIDEST = 120
_METAVARS = {"int": "N", "float": "NUMBER", "str": "TEXT", "dict": "JSON", "bool": "[true|false]"}
# What a text is, where its name says it.
_TEXTS = {
    **dict.fromkeys(("output", "output_dir", "candidates"), "PATH"),
    **dict.fromkeys(
        ("dataset", "prompts", "pairs", "judgments", "preferences", "held_out", "source", "input"), "SOURCE"
    ),
    **dict.fromkeys(("model", "policy", "policy_b", "reward_model", "reference", "judge_model", "judge"), "MODEL"),
    **dict.fromkeys(("policies", "stages", "names", "benchmarks", "cluster_options"), "NAME=VALUE"),
    **dict.fromkeys(("rewards", "watch"), "KIND=VALUE"),
    **dict.fromkeys(("gold",), "MODULE:FUNCTION"),
    **dict.fromkeys(("base_url",), "URL"),
    **dict.fromkeys(("extra_body",), "JSON"),
}


def asked(args: Sequence[str]) -> str | None:
    """Which help a command line asks for: "" for the short one, "all", or a word; None for none."""
    for at, arg in enumerate(args):
        if arg in ("--help_all", "--help-all"):
            return "all"
        if arg in ("-h", "--help"):
            after = args[at + 1] if at + 1 < len(args) else ""
            return after if after and not after.startswith("-") else ""
        if arg.startswith("--help="):
            return arg.removeprefix("--help=")
    return None


def help_text(
    settings: Mapping[str, Setting], word: str, program: str, description: str | None, width: int | None = None
) -> str:
    """The help of a program.

    Args:
        settings: in order.
        word: what `asked` gives.
        program: the command, as usage shows it.
        description: its docstring.
        width: of the terminal; None looks.
    """
    width = max(40, min(width or shutil.get_terminal_size().columns, _WIDEST))
    usage = textwrap.fill(
        f"usage: {program} [--config FILE.yaml] [--name value ...]", width, subsequent_indent="       "
    )
    wanted = _wanted(settings, word)
    if word not in ("", "all"):
        if not wanted:
            near = nearest(word, [name for s in settings.values() for name in s.spellings])
            hint = did_you_mean(word, [s.spellings[0] for s in settings.values()], likely=near, known_as="settings are")
            return f"{usage}\n\n{textwrap.fill(f'No setting or heading holds {word!r}; {hint}', width)}\n"
        return "\n".join(_listed(wanted, width, whole=True)) + "\n"
    parts = [usage, ""]
    if description:
        about = _prose(description, width)
        parts += [*(about if word == "all" else _opening(about)), ""]
    parts += _listed(wanted, width, whole=word == "all")
    refused = [s.name for s in settings.values() if s.heading == REFUSED]
    if word == "all" and refused:
        parts += ["", "of TRL's, with one possible value here"]
        parts += textwrap.wrap(", ".join(refused), width, initial_indent="  ", subsequent_indent="  ")
    left = sum(1 for s in settings.values() if s.heading != REFUSED) - len(wanted)
    parts += ["", *_footer(left, width)]
    return "\n".join(parts) + "\n"


def _opening(about: list[str]) -> list[str]:
    """A long description's first paragraphs: what is past them, --help all shows."""
    if len(about) <= _LONGEST:
        return about
    ends = [at for at, line in enumerate(about) if not line and at <= _LONGEST]
    return [*about[: ends[-1] if ends else _LONGEST], "", "(--help all says more.)"]


_LONGEST = 32  # lines of a description in the short help


def _footer(left: int, width: int) -> list[str]:
    lines = [
        "Settings may stand in a YAML file (--config), as `name: value`; the command line wins over it.",
        f"--help all lists {left} more of TRL's settings, --help WORD those that hold a word."
        if left
        else "--help WORD lists the settings that hold a word.",
    ]
    return [part for line in lines for part in textwrap.wrap(line, width)]


def _wanted(settings: Mapping[str, Setting], word: str) -> list[Setting]:
    given = [s for s in settings.values() if s.heading != REFUSED]
    if word == "":
        return [s for s in given if s.common]
    if word == "all":
        return given
    plain = re.sub("[- ]", "_", word.lstrip("-").lower())
    exact = [s for s in settings.values() if plain in s.spellings]
    return exact or [
        s
        for s in settings.values()
        if any(plain in name for name in s.spellings) or plain in s.heading.lower().replace(" ", "_")
    ]


def _listed(settings: Iterable[Setting], width: int, whole: bool) -> list[str]:
    """Settings under their headings, each once."""
    headings: dict[str, list[Setting]] = {}
    for setting in settings:
        headings.setdefault(setting.heading, []).append(setting)
    lines: list[str] = []
    for heading, of_it in headings.items():
        lines += [""] if lines else []
        lines.append(heading)
        for setting in of_it:
            lines += _entry(setting, width, whole)
    return lines


def _entry(setting: Setting, width: int, whole: bool) -> list[str]:
    left = f"  --{setting.spellings[0]} {_takes(setting)}"
    indent = " " * _COLUMN
    body = textwrap.wrap(
        _help(setting, whole), width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    if len(left) + 2 <= _COLUMN and body:
        return [left.ljust(_COLUMN) + body[0].lstrip(), *body[1:]]
    if len(left) > width and setting.choices:
        name = f"  --{setting.spellings[0]}"
        given = textwrap.wrap(_takes(setting).replace("|", " | "), width, initial_indent="      ")
        return [name, *given, *body]
    return [left, *body]


def _takes(setting: Setting) -> str:
    if setting.choices:
        names = "|".join(map(str, setting.choices))
        value = f"{{{names}}}" if len(setting.choices) <= _FEW else "NAME"
    else:
        value = _TEXTS.get(setting.name, "TEXT") if setting.kind == "str" else _METAVARS[setting.kind]
    return f"{value} ..." if setting.several else value


_FEW = 5  # choices that stand beside the name; more stand in the help


def _help(setting: Setting, whole: bool) -> str:
    text = " ".join(setting.help.split())
    if setting.theirs:
        text = text if whole else _first_sentence(text)
    parts = [text if not text or text.endswith((".", ")", "?")) else f"{text}."]
    if len(setting.choices) > _FEW:
        names = list(map(str, setting.choices))
        parts.append(
            f"One of {', '.join(names)}." if whole or len(names) <= 8 else f"One of {', '.join(names[:8])}, ..."
        )
    if others := setting.spellings[1:]:
        parts.append(f"Also --{', --'.join(others)}.")
    if setting.default is not None and setting.default not in ([], "", {}):
        parts.append(f"(default: {_value(setting.default)})")
    return " ".join(part for part in parts if part)


def _value(value: object) -> str:
    """A default as one would type it."""
    if isinstance(value, list):
        return " ".join(map(_value, value))
    return value if isinstance(value, str) else shown(value, 200)


def _first_sentence(text: str) -> str:
    """What stands before the first full stop that ends a sentence; links in brackets by their words alone."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    found = re.match(r"(.+?(?<!e\.g)(?<!i\.e)(?<!etc)(?<!vs)[.?!])(?= [A-Z`'\"(\[]|$)", plain)
    return found[1] if found else plain


def _prose(text: str, width: int) -> list[str]:
    """A docstring at this width: paragraphs filled anew, what is indented left as it stands."""
    lines: list[str] = []
    paragraph: list[str] = []

    def flush() -> None:
        if paragraph:
            lines.extend(textwrap.wrap(" ".join(paragraph), width, break_long_words=False, break_on_hyphens=False))
            paragraph.clear()

    for line in inspect.cleandoc(text).splitlines():
        if not line.strip():
            flush()
            lines.append("")
        elif line[0] == " ":
            flush()
            lines.append(line.rstrip())
        elif re.match(r"[A-Z][a-z]+: ", line):  # Supports: Assumes: Writes:
            flush()
            paragraph.append(line.strip())
        else:
            paragraph.append(line.strip())
    flush()
    return lines
