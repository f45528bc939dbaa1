"""Files of settings: YAML that holds a mapping, of a size that settings have, no key twice in it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from rlaif.errors.words import kind_of

__all__ = ["read_mapping"]


def read_mapping(path: str | Path, called: str) -> dict[str, Any]:
    """A YAML file that holds a mapping, `called` so in errors: a ValueError where it does not, or has a key twice."""
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
