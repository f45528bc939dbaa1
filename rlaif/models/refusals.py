"""Which of the settings that were sent a server refuses, and the largest value that it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from rlaif.models.bodies import Said, names_in, squeezed
from rlaif.models.phrases import STOPPED
from rlaif.models.quotes import Heard

__all__ = ["named_setting", "refused_setting", "surely"]

JSON = Any


def refused_setting(said: Said, heard: Heard, sent: Mapping[str, Any]) -> tuple[str, int | None] | None:
    """The setting that is refused and the most that it may be: by a field that names it, else by words of refusal."""
    ours = _settings(sent)
    known = {squeezed(spelling): name for name in reversed(ours) for spelling in _spellings(name)}
    for param in said.params:
        if squeezed(param) in known:
            return _limited(known[squeezed(param)], said, heard, sent)
    if _about_another(said):
        return None
    matches = [(match, name) for name in ours for match in heard.own(_refusal(name))]
    if not matches:
        return None
    matches.sort(key=lambda pair: max(pair[0].start(group) for group in (1, 2)))
    # Of two that do not go together the later one: `temperature` comes before `top_p`, and matters more.
    return _limited(matches[-1 if _NOT_BOTH.search(heard.text) else 0][1], said, heard, sent)


def named_setting(said: Said, heard: Heard, sent: Mapping[str, Any]) -> tuple[str, int | None] | None:
    """The setting that a refusal names, in whatever words and language, and the most that it may be.

    What quotes the question may repeat the whole body: the names of all settings stand there.
    """
    if heard.quoted or _about_another(said):
        return None
    named = [(match.start(), name) for name in _settings(sent) for match in heard.own(_name(name))]
    return _limited(min(named)[1], said, heard, sent) if named else None


def _settings(sent: Mapping[str, Any]) -> list[str]:
    return [name for name in sent if isinstance(name, str) and name not in _NO_SETTINGS and sent[name] is not None]


def _about_another(said: Said) -> bool:
    return not {"messages", "prompt", "model"}.isdisjoint(said.params)


def _limited(name: str, said: Said, heard: Heard, sent: Mapping[str, Any]) -> tuple[str, int | None]:
    most = _most(said.mosts, heard.text, sent.get(name))
    if name == "logprobs" and most is None and sent.get("top_logprobs") is not None:
        most = _most(said.mosts, heard.text, sent["top_logprobs"])
        name = name if most is None else "top_logprobs"
    return name, most


def surely(setting: tuple[str, int | None], said: Said, heard: Heard) -> bool:
    """Whether no words can speak against it: a code says so, or more tokens were asked for than are ever given."""
    name, most = setting
    too_many = most is not None and name in {"max_tokens", "max_completion_tokens"}
    return (too_many and not _OF_A_QUESTION.search(heard.text)) or (
        bool(said.params) and not _SETTINGS_CODES.isdisjoint(said.codes)
    )


_OF_A_QUESTION = re.compile(rf"context|{STOPPED}", re.IGNORECASE)
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
    "logprobs": ("log_probabilities", "log_probs", "logits_all", "response_logprobs", "logprob"),
    "top_logprobs": ("top_log_probabilities", "num_logprobs", "top_n_tokens"),
    "seed": ("random_seed",),
    "reasoning_effort": ("reasoning", "thinking_level"),
}


def _spellings(name: str) -> tuple[str, ...]:
    return (name, *_OTHER.get(name, ()))


@lru_cache(maxsize=1000)
def _name(name: str) -> re.Pattern[str]:
    """The setting's name where it is no word of a language: with a _, in camel case, quoted or given a value."""
    rare = [
        re.escape(spelling).replace("_", "[_ -]?" if "log" in spelling else "_?")
        for spelling in _spellings(name)
        if "_" in spelling or "logprob" in spelling
    ]
    word = re.escape(name)
    marked = [rf"(?<=['\"`]){word}(?=['\"`=])", rf"{word}(?= ?=)"]
    marked += [rf"(?<={_FOREIGN}){word}", rf"(?<={_FOREIGN} ){word}", rf"{word}(?= ?{_FOREIGN})"]
    called = r"(?:par[aá]m[eè]t\w+|argument|field|option|setting)s?:? "
    return re.compile(
        rf"(?<![a-z0-9_.-])(?:{'|'.join(rare + marked)})(?![a-z0-9_-])|{called}{word}(?!\w)", re.IGNORECASE
    )


_FOREIGN = r"[\u0400-\u1fff\u3040-\u9fff\uac00-\ud7af]"  # beside these letters a Latin word is a name


@lru_cache(maxsize=1000)
def _refusal(name: str) -> re.Pattern[str]:
    """A clause that refuses the setting; one of its two groups is the setting's name."""
    either = "|".join(re.escape(spelling).replace("_", "[_ -]?") for spelling in _spellings(name))
    named = rf"(?<![\w.-])({either})(?![\w-]| of (?:the|an?|your|his|her|its|our|their) (?!model))"
    if name.isalpha() and name not in _OWN_WORDS:  # "user", "stop": a name where it is quoted or called one
        named = rf"(?:(?<=['\"`])|(?:parameter|argument|field|key|option|property|supplied)s?:? ){named}"
    return re.compile(rf"(?:{_REFUSING}){_SAME}{named}|{named}{_SAME}(?:{_REFUSES})", re.IGNORECASE)


_SAME = r"(?:(?!\.\s)[^;}]){0,60}?"  # what may stand between a name and what refuses it: no end of a sentence
_NOT = r"(?:\bnot|n['’]t|\bcannot|\bno longer|\bnever)(?: \w+){0,3}? "
_TAKE = r"(?:support|accept|allow|permit|recogni[sz]|implement|available|enabled|valid|compatible|offer)\w*"
_ALIEN = r"\b(?:unsupported|unknown|unrecogni[sz]ed|unexpected|invalid|illegal|forbidden|bad|wrong)\b"
# Before the name ("unknown name `seed`"), and after it ("seed is not supported").
_REFUSING = (
    rf"{_ALIEN}|\b(?:extra|no support for|only supports?|range of|remove|omit|unset)\b|\bonly (?=\S+ ?=)"
    rf"|{_NOT}{_TAKE}|{_NOT}(?:have|provide|take|use|specify|set)\b"
)
_REFUSES = (
    rf"{_ALIEN}|\b(?:deprecated|out of range|only|disabled|restricted|turned off|supported range|fixed)\b|{_NOT}{_TAKE}"
    rf"|{_NOT}(?:exceed|set|be|work|greater|more|both|one of)\b"
    r"|\b(?:must|should|needs? to|ha(?:s|ve) to|requires?|exceeds?|above|at most|maximum|limited)\b"
    r"|\btoo (?:large|high|big|small|low|many)"
    r"|\bextra (?:inputs|fields)|\b(?:greater|larger|higher|more|less|lower) than|\brange:|> ?\d"
)


# --- the largest value that is taken ---

_NUMBER = r"[`'\"(]?(\d{1,3}(?:,\d{3})+|\d{1,9})(?![\d.]*\d)"
_MOST = re.compile(  # "at most 5"
    r"(?:<=|≤|at most|up to|less (?:than )?or equal to|between -?[\d.]+ (?:and|to)|limited to|no more than"
    r"|from -?[\d.]+(?: \(?(?:in|ex)clusive\)?)? to|range:? [\d.]+ ?(?:\.\.+|-|to)|> ?(?=\d+,? which is the max)"
    r"|(?<![\d.-])[01] ?(?:\.\.+|-|–|~)|max(?!_\w*tokens)\w*=|最大值?[为是:]?|最多|不[能得可]?(?:超过|大于)|小于等于"
    r"|(?:max\w*|limit)(?: (?:allowed|value|number|supported|is|of|for|this|model|tokens?|completion|output"
    r"|[`'\"]?(?:top_?|num_)?logprobs[`'\"]?))*:?"
    r"|(?:exceeds?|above|over|(?:greater|larger|more|higher|bigger) than)"
    rf"(?: (?:the|a|max\w*|limit|allowed|value|number|of|is))*:?) ?{_NUMBER}(?P<open> ?\(?exclusive)?",
    re.IGNORECASE,
)
_INTERVAL = re.compile(rf"(?P<range>range)?(?:\(|\[) ?-?[\d.]+ ?, ?{_NUMBER} ?(?P<end>[\])])")  # [0, 5], [0, 6)
_LESS = re.compile(rf"(?:(?:less|lower|smaller|fewer) than|below|under|<|小于) ?{_NUMBER}", re.IGNORECASE)
_AT_MOST = re.compile(r"(?<![\d.,])(\d{1,9}) (?:at (?:the )?most|or (?:less|fewer))\b", re.IGNORECASE)
_ONE_OF = re.compile(r"(?:one of:? [\[(]?|\[)((?:\d{1,9}, ?){2,50}(?:or |and )?\d{1,9})", re.IGNORECASE)


def _most(limits: list[int], text: str, value: JSON) -> int | None:
    """The largest value that is taken: a limit below what was sent, by which alone it can have been refused."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return next((limit for limit in (*limits, *_said_limits(text)) if 0 <= limit < value), None)


def _said_limits(text: str) -> Iterator[int]:
    """The limits that `text` names, in all the ways in which servers put them."""
    for match in _ONE_OF.finditer(text):
        yield max(int(number) for number in re.findall(r"\d+", match[1]))
    for match in _INTERVAL.finditer(text):
        if match["range"] or match.group()[0] == "[" or match["end"] == "]":
            yield int(match[2].replace(",", "")) - (match["end"] == ")")
    for match in _MOST.finditer(text):
        yield int(match[1].replace(",", "")) - bool(match["open"])
    for match in _LESS.finditer(text):
        yield int(match[1].replace(",", "")) - 1
    for match in _AT_MOST.finditer(text):
        yield int(match[1])
