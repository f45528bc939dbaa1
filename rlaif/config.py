"""Settings: dataclasses filled from `--config file.yaml` and the command line, which wins.

TRL's `TrlParser` does the parsing. What is added here: an unknown key names the closest known one, a file that is
missing or is no mapping is one clear line, and numbers that YAML reads as text ("1e-5") are not a surprise.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from rlaif.errors.lines import GateError, UsageError, fail, warn
from rlaif.errors.program import run
from rlaif.errors.theirs import what_it_raised
from rlaif.errors.words import kind_of, shown
from rlaif.secrets import CREDENTIAL, keep_secret, looks_like_key, redacted
from rlaif.settings_checks import check_settings

__all__ = [
    "CREDENTIAL",
    "GateError",
    "UsageError",
    "fail",
    "import_function",
    "keep_secret",
    "looks_like_key",
    "named_values",
    "parse",
    "read_mapping",
    "redacted",
    "run",
    "warn",
]


def import_function(name: str) -> Callable[..., Any]:
    """The function that "package.module:function" names; a ValueError that says which part is wrong."""
    module, _, attribute = name.partition(":")
    module = _MOVED.get(module, module)
    if not attribute:
        raise UsageError(f"{name!r} names no function; expected 'package.module:function'.")
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"{name!r} cannot be imported ({error}); is {module} installed or on PYTHONPATH?") from None
    except (Exception, SystemExit) as error:
        raise ValueError(f"{name!r} cannot be imported ({what_it_raised(error)}); mend {module}.") from error
    try:
        found = getattr(found, attribute)
    except AttributeError:
        raise UsageError(f"{name!r}: {module} has no {attribute!r}.") from None
    if not callable(found):
        raise UsageError(f"{name!r} is {kind_of(found)}; expected a function.")
    return found  # type: ignore[no-any-return]


_MOVED = {"rlaif.judges.scripted": "rlaif.models.function"}  # where a module of an older version stands now


def named_values(words: Sequence[str], setting: str, what: str) -> dict[str, str]:
    """["sft=runs/sft", ...] as a dictionary; names must be distinct.

    Raises:
        ValueError: a word has no name or no value, or a name is there twice.
    """
    named: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if not name or not value:
            raise UsageError(f"{setting} has {word!r}; expected name=value, where the value is {what}.")
        if name in named:
            raise UsageError(
                f"{setting} has the name {name!r} twice ({named[name]}, {value}); expected distinct names."
            )
        named[name] = value
    return named


def parse(
    *types: Any, args: Sequence[str] | None = None, program: str | None = None, description: str | None = None
) -> tuple[Any, ...]:
    """The dataclasses `types` from the command line and `--config`; a UsageError for anything that does not fit."""
    try:
        return _parse(types, args, program, description)
    except ValueError as error:  # most are of the dataclasses' own checks
        raise UsageError(str(error)) from error


def _parse(
    types: tuple[Any, ...], args: Sequence[str] | None, program: str | None, description: str | None
) -> tuple[Any, ...]:
    from trl import TrlParser

    args = list(sys.argv[1:] if args is None else args)
    args = [part for word in args for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    parser = TrlParser(types, prog=program, description=description, allow_abbrev=False, formatter_class=_HelpFormatter)
    for action in parser._actions:
        if getattr(action.type, "__name__", "") == "string_to_bool" and action.nargs is None:
            action.nargs, action.const = "?", True  # `--name` alone is true, also where nothing is the default
    known = sorted({action.dest for action in parser._actions if action.dest != "help"} | {"config", "env"})
    if "--config" in args:
        at = args.index("--config") + 1
        if at == len(args):
            raise ValueError("--config has no value; expected the path of a YAML file.")
        _check_config(args[at], known, {action.dest: action for action in parser._actions}, _annotations(types))
    parser.error = _complain(known)
    _check_numbers(parser, types)
    parsed, rest = _split(parser.parse_args_and_config(args=args, return_remaining_strings=True))
    for word in rest:
        if word.startswith("-"):
            raise ValueError(_unknown(word, known))
    if rest:
        raise ValueError(f"got {rest[0]!r} without an option before it; expected --name value.")
    for settings, kind in zip(parsed, types, strict=True):  # what a dataclass has read from a text: a mapping as JSON
        own = {field.name: field.default for field in dataclasses.fields(kind)}
        check_settings({name: value for name, value in vars(settings).items() if name in own}, own)
    return parsed


def _check_numbers(parser: Any, types: tuple[Any, ...]) -> None:
    """Has `parser` refuse numbers that settings cannot have, before a dataclass computes with them."""
    defaults = {field.name: field.default for kind in types for field in dataclasses.fields(kind)}
    inner = parser.parse_known_args

    def parse_known_args(*args: Any, **kwargs: Any) -> Any:
        namespace, rest = inner(*args, **kwargs)
        check_settings(vars(namespace), defaults)
        return namespace, rest

    parser.parse_known_args = parse_known_args


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Names a default where there is one: of a setting that is unset, the help says what happens then."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def _split(output: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[str]]:
    return output[:-1], list(output[-1])


def read_mapping(path: str | Path, called: str) -> dict[str, Any]:
    """A YAML file that holds a mapping, `called` so in errors. No key may stand twice in it."""
    import yaml

    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{called} cannot be read ({error.strerror}); expected a YAML file.") from None
    if len(raw) > _LARGEST:
        raise ValueError(f"{called} has more than {_LARGEST >> 20} MiB; expected a YAML file of settings, not data.")
    try:
        content = yaml.load(raw.decode("utf-8-sig"), Loader=_once_loader())
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{called} is not UTF-8 (byte {error.start} is 0x{raw[error.start]:02x}); save it as UTF-8."
        ) from None
    except yaml.YAMLError as error:
        raise ValueError(f"{called} is not YAML{_place_of(error)}.") from None
    except (ValueError, RecursionError) as error:  # a date like 2024-13-45; brackets in brackets in brackets
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise ValueError(f"{called} cannot be read ({why}); expected `name: value` lines.") from None
    if not isinstance(content, dict):
        raise ValueError(f"{called} holds {kind_of(content)}; expected `name: value` lines.")
    _check_size(content, called)
    return content


_LARGEST = 1 << 20  # bytes of a file of settings
_MOST = 100_000  # values in it, what aliases repeat included


def _check_size(content: Any, called: str) -> None:
    """Refuses what aliases repeat without end, or nearly so."""
    left, count = [content], 0
    while left:
        value = left.pop()
        count += 1
        if count > _MOST:
            raise ValueError(f"{called} has more than {_MOST:,} values, or one that holds itself; expected settings.")
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list | tuple | set):
            left.extend(value)


def _place_of(error: Any) -> str:
    """Where a YAML error is and what it is, on one line, without the text around it."""
    mark = getattr(error, "problem_mark", None)
    place = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
    said = " ".join(str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).split())
    for words, plain in _YAML_SAYS.items():
        if words in said:
            said = plain
    return f"{place}: {said:.160}"


# What PyYAML says, and what it means.
_YAML_SAYS = {
    "'\\t' that cannot start": "found a tab; indent with spaces",
    "mapping values are not allowed": "found a second colon; put text that has a colon into quotes",
    "unconstructable recursive node": "found a value that holds itself",
    "could not determine a constructor": "found a tag that begins with '!'; expected plain values",
    "special characters are not allowed": "found a character that cannot be printed",
    "<stream end>": "it ends within a bracket or a quote",
}


@cache
def _once_loader() -> Any:
    import yaml

    class Once(yaml.SafeLoader):
        """PyYAML lets the second of two equal keys win, silently: what was written first would be gone."""

    def mapping(loader: Any, node: Any) -> Any:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = loader.construct_object(key_node, deep=True)
            try:
                twice = key in seen
            except TypeError:
                raise yaml.constructor.ConstructorError(
                    None, None, "a name is a list or a mapping; expected text", key_node.start_mark
                ) from None
            if twice:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Once.add_constructor("tag:yaml.org,2002:map", mapping)
    return Once


def _annotations(types: tuple[Any, ...]) -> dict[str, str]:
    """What each setting is declared as, as text: the parser has made plain types of `dict | str`."""
    return {
        name: str(declared)
        for kind in types
        for owner in reversed(kind.__mro__)
        for name, declared in inspect.get_annotations(owner).items()
    }


def _check_config(path: str, known: Sequence[str], actions: Mapping[str, Any], declared: Mapping[str, str]) -> None:
    config = read_mapping(path, f"--config {path}")
    for key in config:
        if key not in known:
            raise ValueError(f"{path}: {_unknown(str(key), known)}")
        if key in actions:
            _check_value(path, key, config[key], actions[key], declared.get(key, ""))


def _check_value(path: str, key: str, value: Any, action: Any, declared: str) -> None:
    """Refuses what argparse would on the command line: of a YAML file's values it checks those alone that are text."""
    if value is None:
        return
    if isinstance(value, list | dict):
        several = "dict" in declared if isinstance(value, dict) else action.nargs in ("+", "*") or "list" in declared
        if not several:
            got = "a mapping" if isinstance(value, dict) else "a list"
            one = {int: "a whole number", float: "a number"}.get(action.type, "one value")
            raise ValueError(f"{path}: {key} is {got}; expected {one}.")
        return
    if action.choices and value not in action.choices:
        bare = f" (YAML reads a bare yes, no, on or off as {value}: quote it)" if isinstance(value, bool) else ""
        raise ValueError(
            f"{path}: {key} is {shown(value)}; expected one of {', '.join(map(str, action.choices))}{bare}."
        )
    wanted = {int: "a whole number", float: "a number", str: "text in quotes"}.get(action.type)
    right = {int: int, float: int | float, str: str}.get(action.type, object)
    if wanted and not isinstance(value, str) and (isinstance(value, bool) or not isinstance(value, right)):
        raise ValueError(f"{path}: {key} is {shown(value)}; expected {wanted}.")


_NOW = {"skip_malformed": ("on_bad_row", "skip")}  # a setting of an earlier version, and what says the same


def _unknown(key: str, known: Sequence[str]) -> str:
    name = key.lstrip("-").split("=")[0].replace("-", "_")
    if _NOW.get(name, ("",))[0] in known:
        return f"{name!r} is not a setting any more; expected --{' '.join(_NOW[name])}."
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}."
    return f"{name!r} is not a setting of this program; {hint}"


def _complain(known: Sequence[str]) -> Callable[[str], NoReturn]:
    def error(message: str) -> NoReturn:
        if len(message) > 400 and (given := re.match(r"(.*: invalid choice: '(.*?)') \(choose from (.*)\)$", message)):
            close = difflib.get_close_matches(given[2], re.findall(r"[^', ]+", given[3]), n=3, cutoff=0.0)
            message = f"{given[1]}; close to it are {', '.join(close)}"
        raise ValueError(f"{message}; run with --help for every setting.")

    return error
