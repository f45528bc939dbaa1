"""Which of the settings that were sent a server refuses, and the largest value that it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from rlaif.models.bodies import Said, names_in, squeezed

__all__ = ["refused_setting", "surely"]

JSON = Any


def refused_setting(said: Said, text: str, sent: Mapping[str, Any]) -> tuple[str, int | None] | None:
    """The setting that is refused and the most that it may be: by what names it, else by words."""
    ours = [name for name in sent if isinstance(name, str) and name not in _NO_SETTINGS and sent[name] is not None]
    if not ours:
        return None
    known = {squeezed(spelling): name for name in reversed(ours) for spelling in _spellings(name)}
    name = next((known[squeezed(param)] for param in said.params if squeezed(param) in known), None)
    if name is None and {"messages", "prompt", "model"} & set(said.params):
        return None
    if name is None:
        matches = [(match, ours_) for ours_ in ours if (match := _refusal(ours_).search(text))]
        matches.sort(key=lambda pair: pair[0].start(pair[0].lastindex or 0))
        # Of two that do not go together the later one: `temperature` comes before `top_p`, and matters more.
        name = matches[-1 if _NOT_BOTH.search(text) else 0][1] if matches else None
    if name is None:
        return None
    most = _most(said.mosts, text, sent.get(name))
    if name == "logprobs" and most is None and sent.get("top_logprobs") is not None:
        most = _most(said.mosts, text, sent["top_logprobs"])
        name = name if most is None else "top_logprobs"
    return name, most


def surely(setting: tuple[str, int | None], said: Said, text: str) -> bool:
    """Whether no words can speak against it: a code says so, or more tokens were asked for than are ever given."""
    name, most = setting
    too_many = most is not None and name in {"max_tokens", "max_completion_tokens"} and "context" not in text.lower()
    return too_many or (bool(said.params) and not _SETTINGS_CODES.isdisjoint(said.codes))


_SETTINGS_CODES = frozenset(
    squeezed(code)
    for code in names_in(
        "unsupported_parameter unsupported_value unknown_parameter extra_forbidden integer_above_max_value "
        "integer_below_min_value decimal_above_max_value decimal_below_min_value invalid_type less_than_equal "
        "greater_than_equal less_than greater_than"
    )
)
_NOT_BOTH = re.compile(r"cannot both|not both|only one of|mutually exclusive", re.IGNORECASE)
_NO_SETTINGS = {"model", "messages", "stream"}
_OWN_WORDS = {"temperature", "seed", "logprobs"}  # words that are rare enough beside one that refuses

# Other names under which servers speak of a setting: Gemini's and xAI's camel case come out by squeezing.
_OTHER = {
    "max_tokens": ("max_completion_tokens", "max_new_tokens", "max_output_tokens"),
    "max_completion_tokens": ("max_tokens", "max_new_tokens", "max_output_tokens"),
    "logprobs": ("log probabilities", "log-probabilities", "log probs", "logits_all", "response_logprobs", "logprob"),
    "top_logprobs": ("top log probabilities", "num_logprobs", "top_n_tokens"),
    "seed": ("random_seed",),
    "reasoning_effort": ("reasoning", "thinking_level"),
}


def _spellings(name: str) -> tuple[str, ...]:
    return (name, *_OTHER.get(name, ()))


@lru_cache(maxsize=1000)
def _refusal(name: str) -> re.Pattern[str]:
    """A clause that refuses the setting; its last group is the setting's name."""
    either = "|".join(re.escape(spelling).replace("_", "[_ -]?") for spelling in _spellings(name))
    named = rf"(?<![\w.-])({either})(?![\w-]| of (?:the|an?|your|his|her|its|our|their) (?!model))"
    if name.isalpha() and name not in _OWN_WORDS:  # "user", "stop": a name where it is quoted or called one
        named = rf"(?:(?<=['\"`])|(?:parameter|argument|field|key|option|property|supplied)s?:? ){named}"
    return re.compile(rf"(?:{_REFUSING}){_SAME}{named}|{named}(?={_SAME}(?:{_REFUSES}))", re.IGNORECASE)


_SAME = r"(?:(?!\.\s)[^;]){0,60}?"  # what may stand between a name and what refuses it: no end of a sentence
_NOT = r"(?:\bnot|n['’]t|\bcannot|\bno longer|\bnever)(?: \w+){0,3}? "
_TAKE = r"(?:support|accept|allow|permit|recogni[sz]|implement|available|enabled|valid|compatible)\w*"
_ALIEN = r"\b(?:unsupported|unknown|unrecogni[sz]ed|unexpected|invalid|illegal|forbidden)\b"
# Before the name ("unknown name `seed`"), and after it ("seed is not supported").
_REFUSING = (
    rf"{_ALIEN}|\b(?:extra|no support for|only supports?|range of)\b"
    rf"|{_NOT}{_TAKE}|{_NOT}(?:have|provide|take|use|specify|set)\b"
)
_REFUSES = (
    rf"{_ALIEN}|\b(?:deprecated|out of range|only)\b|{_NOT}{_TAKE}|{_NOT}(?:exceed|set|be|work|greater|more|both)\b"
    r"|\b(?:must|should|needs? to|exceeds?|above|at most|maximum)\b|\btoo (?:large|high|big|small|low|many)"
    r"|\bextra (?:inputs|fields)|\b(?:greater|larger|higher|more) than|\brange:|> ?\d"
)

_BOUND = (  # what stands before the largest value that is taken
    r"(?:<=?|≤|at most|up to|less than or equal to|between -?[\d.]+ (?:and|to)|\[ ?-?[\d.]+ ?,"
    r"|from -?[\d.]+ to|range:? [\d.]+ ?(?:\.\.+|-|to)|> ?(?=\d+,? which is the max)"
    r"|(?:max\w*|limit)(?: (?:allowed|value|number|supported|is|of|for|this|model|tokens?|completion|output))*:?"
    r"|(?:exceeds?|above|over|(?:greater|larger|more|higher|bigger) than)"
    r"(?: (?:the|a|max\w*|limit|allowed|value|of|is))*:?)"
)
_MOST = re.compile(rf"{_BOUND} ?[`'\"]?(\d{{1,3}}(?:,\d{{3}})+|\d{{1,9}})(?![\d.]*\d)", re.IGNORECASE)


def _most(limits: list[int], text: str, value: JSON) -> int | None:
    """The largest value that is taken: a limit below what was sent, by which alone it can have been refused."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    said = [*limits, *(int(number.replace(",", "")) for number in _MOST.findall(text))]
    return next((limit for limit in said if limit < value), None)
