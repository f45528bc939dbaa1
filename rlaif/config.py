"""Settings: dataclasses filled from `--config file.yaml` and the command line, which wins.

TRL's `TrlParser` does the parsing. What is added here and in rlaif/settings: help that is read, other spellings of a
name, an unknown name that names the closest known one, a file that is missing or is no mapping in one clear line, and
numbers that YAML reads as text ("1e-5") without surprise.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from rlaif.errors.lines import GateError, UsageError, fail, warn
from rlaif.errors.program import run
from rlaif.errors.words import bare_word, kind_of, one_of, shown
from rlaif.secrets import CREDENTIAL, keep_secret, looks_like_key, redacted
from rlaif.settings.declared import Around, declared
from rlaif.settings.files import read_mapping
from rlaif.settings.functions import import_function
from rlaif.settings.helping import asked, help_text
from rlaif.settings.spelled import Names
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


def named_values(words: Sequence[str], setting: str, what: str) -> dict[str, str]:
    """["sft=runs/sft", ...] as a dictionary; names must be distinct.

    Raises:
        ValueError: a word has no name or no value, or a name is there twice.
    """
    named: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if not name.strip() or not value.strip():
            raise UsageError(f"{setting} has {word!r}; expected name=value, where the value is {what}.")
        if name in named:
            raise UsageError(
                f"{setting} has the name {name!r} twice ({named[name]}, {value}); expected distinct names."
            )
        named[name] = value
    return named


def parse(
    *kinds: Any,
    args: Sequence[str] | None = None,
    program: str | None = None,
    description: str | None = None,
    before: Callable[[], object] = lambda: None,
) -> tuple[Any, ...]:
    """The settings `kinds` from the command line and `--config`; `--help` prints them and ends the program.

    Names are looked up before anything heavy is imported.

    Args:
        kinds: dataclasses, or an `Around` for ours with TRL's.
        args: the command line; None for this program's.
        program: its name in usage; None for the path of this program.
        description: its docstring, for --help.
        before: called when names are known to be right, before values are looked at.

    Raises:
        UsageError: anything that does not fit.
    """
    try:
        return _parse(kinds, list(sys.argv[1:] if args is None else args), program, description, before)
    except ValueError as error:  # most are of the dataclasses' own checks
        raise UsageError(str(error)) from error


def _parse(
    kinds: tuple[Any, ...], args: list[str], program: str | None, description: str | None, before: Callable[[], object]
) -> tuple[Any, ...]:
    settings = declared(kinds)
    if (word := asked(args)) is not None:
        if os.environ.get("RANK", "0") == "0":  # of a launcher's processes one says it
            print(help_text(settings, word, program or f"python {sys.argv[0]}", description), end="")
        raise SystemExit(0)
    names = Names(settings)
    config, words = _config_of(args, names)
    words = names.of_words(words)
    before()

    from trl import TrlParser

    types = [kind.make() if isinstance(kind, Around) else kind for kind in kinds]
    parser = TrlParser(types, prog=program, allow_abbrev=False, add_help=False)
    for action in parser._actions:
        if getattr(action.type, "__name__", "") == "string_to_bool" and action.nargs is None:
            action.nargs, action.const = "?", True  # `--name` alone is true, also where nothing is the default
    called = {setting.name: setting.spellings[0] for setting in settings.values()}
    parser.error = _complain(called)
    _check_numbers(parser, types, called)
    if config is not None:
        path, values = config
        actions, annotations = {action.dest: action for action in parser._actions}, _annotations(types)
        for key, value in values.items():
            if key in _TRUE_OR_TEXT and isinstance(value, bool):
                values[key] = value = str(value).lower()
            if settings[key].several and value is not None and not isinstance(value, list | dict):
                values[key] = value = [value]
            _check_value(path, called[key], value, actions[key], annotations.get(key, ""))
        parser.set_defaults_with_config(**values)
    *parsed, rest = parser.parse_args_into_dataclasses(words, return_remaining_strings=True, look_for_args_file=False)
    if rest:
        if rest[0].startswith("-"):
            name = rest[0].lstrip("-").partition("=")[0]
            if known := names.field_of(name):
                raise ValueError(f"got {rest[0]!r}; expected two dashes, --{called[known]}.")
            raise ValueError(names.unknown(name))
        raise ValueError(f"got {rest[0]!r} without an option before it; expected --name value.")
    for made, kind in zip(parsed, types, strict=True):  # what a dataclass has read from a text: a mapping as JSON
        own = {field.name: field.default for field in dataclasses.fields(kind)}
        check_settings({name: value for name, value in vars(made).items() if name in own}, own)
    return tuple(parsed)


def _config_of(args: Sequence[str], names: Names) -> tuple[tuple[str, dict[str, Any]] | None, list[str]]:
    """The YAML file of `--config` with its values by field, and the rest of the command line. Sets what `env:` says."""
    words = [part for word in args for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    if "--config" not in words:
        return None, words
    at = words.index("--config")
    path, rest = (words[at + 1] if at + 1 < len(words) else ""), words[:at] + words[at + 2 :]
    if not path or path.startswith("--"):
        raise ValueError("--config has no value; expected the path of a YAML file.")
    if "--config" in rest:
        raise ValueError("--config is there twice; expected one YAML file.")
    content = read_mapping(path, f"--config {path}")
    environment = content.pop("env", {})
    if not isinstance(environment, dict):
        raise ValueError(f"{path}: env is {kind_of(environment)}; expected a mapping, `NAME: value`.")
    values = names.of_mapping(content, f"{path}: ")
    for name, value in environment.items():
        os.environ[str(name)] = str(value)
    return (path, values), rest


def _check_numbers(parser: Any, types: Sequence[Any], called: Mapping[str, str]) -> None:
    """Has `parser` refuse numbers that settings cannot have, before a dataclass computes with them."""
    defaults = {called.get(f.name, f.name): f.default for kind in types for f in dataclasses.fields(kind)}
    inner = parser.parse_known_args

    def parse_known_args(*args: Any, **kwargs: Any) -> Any:
        namespace, rest = inner(*args, **kwargs)
        check_settings({called.get(name, name): value for name, value in vars(namespace).items()}, defaults)
        return namespace, rest

    parser.parse_known_args = parse_known_args


def _annotations(types: Sequence[Any]) -> dict[str, str]:
    """What each setting is declared as, as text: the parser has made plain types of `dict | str`."""
    return {
        name: str(declared_as)
        for kind in types
        for owner in reversed(kind.__mro__)
        for name, declared_as in inspect.get_annotations(owner).items()
    }


_TRUE_OR_TEXT = {"resume_from_checkpoint"}  # true, false or a path: a text for the parser, which YAML need not quote


def _check_value(path: str, key: str, value: Any, action: Any, declared: str) -> None:
    """Refuses what argparse would on the command line: of a YAML file's values it checks those alone that are text."""
    if value is None:
        number = {int: "a whole number", float: "a number"}.get(action.type)
        if number and declared and "None" not in declared and "Optional" not in declared:
            raise ValueError(f"{path}: {key} has no value; expected {number}, or no such line for the default.")
        return
    if isinstance(value, list | dict):
        several = action.nargs in ("+", "*") or "list" in declared
        if not ("dict" in declared if isinstance(value, dict) else several):
            got = "a mapping" if isinstance(value, dict) else "a list"
            one = {int: "a whole number", float: "a number"}.get(action.type, "one value")
            expected = f"a list, `[..., ...]`, of what may follow --{key}" if several else one
            raise ValueError(f"{path}: {key} is {got}; expected {expected}.")
        return
    if action.choices and value not in action.choices:
        hint = one_of(value, action.choices) + bare_word(value)
        raise ValueError(f"{path}: {key} is {shown(value)}; {hint}")
    truth = getattr(action.type, "__name__", "") == "string_to_bool"
    if truth and not isinstance(value, str) and value not in (0, 1):  # which are words for true and false too
        raise ValueError(f"{path}: {key} is {shown(value)}; expected true or false.")
    wanted = {int: "a whole number", float: "a number", str: "text in quotes"}.get(action.type)
    right = {int: int, float: int | float, str: str}.get(action.type, object)
    if wanted and not isinstance(value, str) and (isinstance(value, bool) or not isinstance(value, right)):
        raise ValueError(f"{path}: {key} is {shown(value)}; expected {wanted}.")


def _complain(called: Mapping[str, str]) -> Callable[[str], NoReturn]:
    """What the parser does with a mistake: a line in our words, with the name that help shows."""

    def error(message: str) -> NoReturn:
        given = re.match(r"argument --(\w+)\S*: (.*)", message, re.DOTALL)
        if given is None:
            raise ValueError(f"{message}; run with --help for every setting.")
        name, said = called.get(given[1], given[1]), given[2]
        if choice := re.match(r"invalid choice: '(.*?)' \(choose from (.*)\)$", said, re.DOTALL):
            known = re.findall(r"[^', ]+", choice[2])
            raise ValueError(f"{name} is {choice[1]!r}; {one_of(choice[1], known)}")
        if number := re.match(r"invalid (int|float) value: ('.*')$", said, re.DOTALL):
            wanted = {"int": "a whole number", "float": "a number"}[number[1]]
            raise ValueError(f"{name} is {number[2]}; expected {wanted}.")
        if truth := re.match(r"Truthy value expected: got (.*?) but", said):
            raise ValueError(f"{name} is {truth[1]!r}; expected true or false.")
        raise ValueError(f"--{name}: {said}; `--help {name}` says what it takes.")

    return error
