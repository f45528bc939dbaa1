"""What the value of each setting of a judge may be, and what an error says of one that cannot be."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from rlaif.config import CREDENTIAL, UsageError, keep_secret, looks_like_key, redacted
from rlaif.errors import words
from rlaif.errors.words import did_you_mean, kind_of, one_of
from rlaif.judging.prompts import parse_scale
from rlaif.models.access import ADDRESS, check_headers
from rlaif.secrets import keep_if_key

__all__ = [
    "LONGEST",
    "check_text",
    "checked_value",
    "parse_body",
    "safe",
    "secrets_in",
    "unknown_setting",
    "without_keys",
]

_CHOICES = {
    "dtype": ("auto", "float32", "bfloat16", "float16"),
    "orders": ("both", "ab", "ba"),
    "combine": ("mean", "log_odds"),
    "logprobs": ("auto", "never"),
}
_TEXTS = {"revision", "device_map", "base_url", "served_as", "api_key_env", "reasoning_effort", "template", "salt"}
_MAPPINGS = {"extra_body", "extra_headers", "chat_template_kwargs"}
# The least and the most that a number may be, and its unit.
_WHOLE: dict[str, tuple[int, int, str]] = {
    "tokens": (1, 10**9, ""),
    "concurrency": (1, 10_000, ""),
    "max_retries": (0, 1000, ""),
    "samples": (1, 10_000, ""),
    "max_tokens": (1, 10_000_000, ""),
}
_NUMBERS: dict[str, tuple[float, float, str]] = {
    "temperature": (0.0, 100.0, ""),
    "timeout": (0.001, 1e6, " seconds"),
    "patience": (0.001, 1e7, " seconds"),
}
# What other programs call a setting, or have and a judge has not.
_HINTS = {
    **dict.fromkeys(
        ("api_key", "key", "apikey", "openai_api_key", "token", "auth"),
        "a key belongs in an environment variable: export OPENAI_API_KEY, or name another one with `api_key_env`.",
    ),
    **dict.fromkeys(("url", "api_base", "endpoint", "host", "server", "address"), "did you mean 'base_url'?"),
    **dict.fromkeys(("headers", "default_headers"), "did you mean 'extra_headers'?"),
    "max_output_tokens": "did you mean 'max_tokens'?",
    **dict.fromkeys(("model_name", "model_id"), "did you mean 'name', under `model:`?"),
    **dict.fromkeys(("retries", "num_retries"), "did you mean 'max_retries'?"),
    **dict.fromkeys(("n", "votes", "num_samples"), "did you mean 'samples'?"),
    **dict.fromkeys(("order", "swap", "both_orders"), "did you mean 'orders'?"),
    **dict.fromkeys(("thinking", "enable_thinking"), "put it into chat_template_kwargs or extra_body, under `model:`."),
    **dict.fromkeys(
        ("top_p", "top_k", "min_p", "stop", "response_format", "presence_penalty", "frequency_penalty", "provider"),
        "what a server takes beyond our settings goes into `extra_body`, under `model:`.",
    ),
    **dict.fromkeys(
        ("prompt", "system", "user", "labels", "system_prompt", "instructions"),
        "a judge's words are a template's: `template: FILE.yaml` with `user`, `system` and `labels`.",
    ),
    "seed": "each call has a seed of its own, made of what it asks.",
    "stream": "answers are taken whole.",
}
# What calls set themselves and `extra_body` may not; and what to use instead.
_OURS = {
    **dict.fromkeys(("messages", "prompt"), "set `template`"),
    "model": "set the model's `name`",
    **dict.fromkeys(("n", "best_of"), "set `samples`"),
    **dict.fromkeys(("stream", "stream_options"), "leave it out: answers are taken whole"),
    **dict.fromkeys(("logprobs", "top_logprobs"), "set `logprobs` to auto or never"),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_output_tokens"), "set `max_tokens`"),
    "temperature": "set `temperature`",
    "seed": "leave it out: each call has a seed of its own",
    "reasoning_effort": "set `reasoning_effort`, beside it",
    **dict.fromkeys(("extra_headers", "headers"), "set `extra_headers`, beside it"),
}
_RENDERING = {"add_generation_prompt", "conversation", "messages", "tokenize", "continue_final_message"}
_BARE = "; YAML reads a bare yes, no, on or off as true or false: quote it"
LONGEST = 500  # characters of a name, a path or an address


def checked_value(name: str, value: Any, where: str) -> Any:
    """The value of a setting as the rest of the program uses it; a UsageError for what cannot be one."""
    if name in _CHOICES:
        if not isinstance(value, str) or value not in _CHOICES[name]:
            bare = f"{_BARE}." if isinstance(value, bool) else ""
            hint = one_of(value, _CHOICES[name])
            raise UsageError(
                f"{where}: {name} is {safe(name, value)}; {hint.removesuffix('.') if bare else hint}{bare}"
            )
    elif name in _WHOLE or name in _NUMBERS:
        return _number(name, value, where)
    elif name in _MAPPINGS:
        if not isinstance(value, Mapping):
            raise UsageError(f"{where}: {name} is {safe(name, value)}; expected a mapping.")
        _check_mapping(name, value, where)
    elif name in _TEXTS:
        if not isinstance(value, str):
            if name == "template" and isinstance(value, Mapping):
                raise UsageError(
                    f"{where}: template is a mapping; expected the name of a built-in one or of a YAML file that holds "
                    "this mapping."
                )
            if name == "base_url":
                raise UsageError(f"{where}: base_url is {safe(name, value)}; expected {ADDRESS}.")
            quote = _BARE if isinstance(value, bool) else ": quote it" if isinstance(value, int | float) else ""
            raise UsageError(f"{where}: {name} is {safe(name, value)}; expected text{quote}.")
        check_text(name, value, where)
    elif name in ("load_in_4bit", "trust_remote_code"):
        if not isinstance(value, bool):
            raise UsageError(f"{where}: {name} is {safe(name, value)}; expected true or false.")
    elif name == "scale":
        try:
            parse_scale(value, where)
        except ValueError as error:
            raise UsageError(str(error)) from None
    return value


def _number(name: str, value: Any, where: str) -> int | float:
    """A number within its bounds; also one of numpy, and one that YAML reads as text ("1e3")."""
    whole = name in _WHOLE
    least, most, unit = _WHOLE[name] if whole else _NUMBERS[name]
    wanted = "a whole number" if whole else "a number"
    number: Any = value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value
    if isinstance(number, str) and re.fullmatch(r"[+-]?\d{1,9}(?:\.\d{0,9})?[eE][+-]?\d{1,2}", number):
        number = float(number)
        number = int(number) if whole and number.is_integer() else number
    if isinstance(number, bool) or not isinstance(number, int if whole else int | float):
        raise UsageError(f"{where}: {name} is {safe(name, value)}; expected {wanted}{unit and ' of' + unit}.")
    if not least <= number <= most:  # nor is nan
        if name in ("timeout", "patience") and not number >= least:
            raise UsageError(f"{name} is {value}; expected a number of seconds above 0.")
        if not number >= least:
            raise UsageError(f"{name} is {value}; expected at least {least:g}{unit}.")
        raise UsageError(f"{name} is {value!s:.40}; expected at most {most:,.10g}{unit}.")
    return number


def check_text(name: str, value: str, where: str, called: str | None = None) -> None:
    """A name, a path or an address: something on one line, and no key.

    Raises:
        ValueError: it is none.
    """
    called = called or name
    if name in ("api_key_env", "base_url"):
        return  # see `_check_access`, where both are known
    if not value.strip() and name != "salt":
        raise UsageError(f"{where}: {called} is {value!r}; expected text, or leave it out.")
    if name != "salt" and looks_like_key(value):
        keep_secret(value)
        raise UsageError(
            f"{where}: {called} holds a key, which would be written to files; a key belongs in an environment "
            "variable: export OPENAI_API_KEY, or name another one with api_key_env."
        )
    if name == "template" and len(value.splitlines()) > 1:
        raise UsageError(
            f"{where}: template is a text of several lines; expected the name of a built-in one or of a YAML file that "
            "holds the text under `user`."
        )
    if len(value) > LONGEST:
        raise UsageError(f"{where}: {called} has {len(value):,} characters; expected at most {LONGEST}.")
    if not value.isprintable():
        raise UsageError(
            f"{where}: {called} is {value!r:.80}, which has a line break or another character that cannot be printed; "
            "expected text on one line."
        )
    if value != value.strip():
        raise UsageError(f"{where}: {called} is {value!r:.80}; expected it without white space around it.")


def parse_body(given: str | Mapping[str, Any], where: str) -> dict[str, Any]:
    """What is sent with every call, checked, of a mapping or of its text: '{"top_k": 0}'.

    Raises:
        UsageError: it is no mapping, or has what a call sets itself.
    """
    if isinstance(given, str):
        import yaml

        try:
            value = yaml.safe_load(given)
        except yaml.YAMLError:
            value = None
    else:
        value = given
    if not isinstance(value, Mapping):
        raise UsageError(
            f"{where}: extra_body is {redacted(str(given))!r:.60}; expected a mapping: '{{\"top_k\": 0}}'."
        )
    _check_mapping("extra_body", value, where)
    return dict(value)


def _check_mapping(name: str, value: Mapping[Any, Any], where: str) -> None:
    """Headers are text; what goes into a call's body, or into its address, is JSON."""
    if name == "extra_headers":
        check_headers(value)
        return
    keep_if_key(*secrets_in(value))
    if name == "chat_template_kwargs" and (taken := _RENDERING.intersection(map(str, value))):
        raise UsageError(
            f"{where}: {name} has {min(taken)!r}, which is set by how a question is rendered; leave it out."
        )
    if name == "extra_body":
        for key in value:
            if str(key) in _OURS:
                raise UsageError(f"{where}: {name} has {key!r}, which each call sets itself; {_OURS[str(key)]}.")
    if (found := _not_json(value)) is not None:
        raise UsageError(
            f"{where}: {name} is {safe(name, value)}, which is no JSON ({found}); expected text, numbers, true or "
            "false, and lists and mappings of them. Quote dates."
        )


def _not_json(value: Any, depth: int = 0) -> str | None:
    """Why a value cannot be sent as it is; None where it can."""
    if depth > 30:
        return "it is nested more than 30 deep, or holds itself"
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                return f"a name is {redacted(repr(name)):.40}, no text"
            if found := _not_json(inner, depth + 1):
                return found
        return None
    if isinstance(value, list | tuple):
        return next((found for inner in value if (found := _not_json(inner, depth + 1))), None)
    if isinstance(value, float) and not math.isfinite(value):
        return f"it holds {value}"
    if isinstance(value, str):
        return None if value.isascii() or value.encode("utf-8", "ignore").decode() == value else "half a character"
    if value is None or type(value) in (bool, int, float):
        return None
    return f"it holds {kind_of(value)}"


def secrets_in(value: Any) -> list[str]:
    """What stands under a key's name in a call's body."""
    if isinstance(value, Mapping):
        found = [inner for name, inner in value.items() if isinstance(inner, str) and _names_a_key(str(name))]
        return found + [secret for inner in value.values() for secret in secrets_in(inner)]
    return [secret for inner in value for secret in secrets_in(inner)] if isinstance(value, list | tuple) else []


def _names_a_key(name: str) -> bool:
    """Whether a key stands under a name; a text that calls itself a prompt's cache key is none, but who would know."""
    return bool(CREDENTIAL.search(name))


def without_keys(value: Any) -> Any:
    """A JSON value without what stands under a name that is a key's."""
    if isinstance(value, Mapping):
        return {
            name: "(not shown)" if _names_a_key(str(name)) and isinstance(inner, str) else without_keys(inner)
            for name, inner in value.items()
        }
    return [without_keys(inner) for inner in value] if isinstance(value, list | tuple) else value


def safe(name: str, value: Any) -> str:
    """A value as an error shows it: not a header's, which may be a key, and nothing else that looks like one."""
    if name == "extra_headers":
        return kind_of(value)
    try:
        return redacted(words.shown(without_keys(value), 80))
    except RecursionError:
        return f"{kind_of(value)} that holds itself"


def unknown_setting(where: str, name: str, known: list[str]) -> str:
    """What an error says of a setting that a judge has not: the one that was meant, or all that there are."""
    hint = _HINTS.get(name.lower().replace("-", "_")) or did_you_mean(name, known, known_as="known are")
    return f"{where}: {redacted(name)!r:.60} is not a setting of a judge; {hint}"
