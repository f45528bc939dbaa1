"""Which models think before they answer, by name and by what they are told; they need room for it.

`max_tokens` counts the thought too: a judge that thinks and is given 16 tokens never comes to its verdict. Room that is
not used costs nothing, so a series of which some models think by default and some do not counts as one that thinks.
The table is what was known in November 2026 (vLLM's "Reasoning Outputs", the hosts' lists of models); a model that it
does not know is asked once more with room where its answer is cut off in a thought.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["ANSWER", "MARKED", "ROOM", "answer_tokens", "reasons"]

ANSWER = 16  # tokens for a verdict alone
MARKED = 1024  # for reasons in the answer, with a marked line at their end
ROOM = 8192  # for a thought and the answer behind it

# A name's words are divided by anything that is no letter, digit or dot: "openai/gpt-5-mini" has gpt, 5 and mini.
# What says so itself, in whatever name.
_SAYS = r"think|thinking|thinker|reason|reasoner|reasoning|r1"
_THINKS = re.compile(
    rf"""(?<![a-z0-9])(?:
      {_SAYS}
    | o[134](?:-mini|-pro|-preview|-deep-research)?      # OpenAI; not gpt-4o
    | gpt-?[5-9](?:\.\d+)?                      # from 5.1 on it answers at once unless told otherwise
    | gpt-?oss | codex
    | deepseek-(?:r\d|v[4-9](?:\.\d+)?)                  # V3.1 and V3.2 think where they are told to
    | qwq | qvq
    | qwen-?(?:3(?:\.\d+)?|[4-9](?:\.\d+)?)              # hybrid: by default they think
    | magistral
    | grok-?(?:3-mini|[4-9](?:\.\d+)?|code)
    | gemini-?(?:2\.5|[3-9](?:\.\d+)?|(?:flash|pro)-latest)
    | glm-?(?:4\.[5-9]|[5-9](?:\.\d+)?|z\d)
    | kimi-k(?:2\.[5-9]|[3-9](?:\.\d+)?|1\.5)
    | minimax-m\d+(?:\.\d+)?
    | exaone-?(?:deep|4\.[05]|[5-9])
    | seed-(?:oss|1\.[6-9]|[2-9](?:\.\d+)?) | doubao-seed
    | ernie-x\d
    | nemotron-(?:nano|super|ultra|3|4|h)                # not the reward models, nor Llama-3.1-Nemotron-70B-Instruct
    | hunyuan-(?:a13b|t\d) | hy3
    | step-?(?:3(?:\.\d+)?|r\d) | step3
    | mimo | intern-?s\d | ring-(?:mini|flash|lite|\d) | skywork-o\d | skywork-or\d
    | deepscaler | open-?thinker\d? | marco-o\d | smollm3 | granite-4\.[2-9]
    | apriel-(?:nemotron|1\.[5-9]) | cogito-v[2-9] | holo[2-9] | command-a-plus
    )(?![a-z0-9])""",
    re.VERBOSE,
)
# Of those, the ones that answer at once.
_ANSWERS = re.compile(
    r"(?<![a-z0-9])(?:instruct-2507|non-?reasoning|non-?thinking|no-?think(?:ing)?|chat-latest|gpt-5(?:\.\d+)?-chat"
    r"|qwen-?3-(?:coder|embedding|reranker|max)|qwen-?3-(?:vl-)?(?:next-)?[a-z0-9.-]*instruct|reward|embed(?:ding)?)"
    r"(?![a-z0-9])"
)
_OFF = {"none", "minimal", "off", "disabled", "disable", "false", "no", "0"}
# Settings that say it themselves, wherever among `extra_body` or `chat_template_kwargs` they stand.
_SWITCHES = {"enable_thinking", "thinking", "think", "reasoning", "enable_reasoning"}
_EFFORTS = {"reasoning_effort", "effort", "thinking_level", "thinkinglevel"}
_BUDGETS = {"thinking_budget", "thinkingbudget", "budget_tokens", "reasoning_budget"}


def reasons(name: str, settings: Mapping[str, Any] | None = None) -> bool:
    """Whether a model thinks before it answers.

    Args:
        name: of the model, as its endpoint or the Hub knows it.
        settings: what it is told: `reasoning_effort`, `chat_template_kwargs`, `extra_body`. They win over the name.
    """
    said = list(_said(settings or {}))
    if said:
        return all(said)  # one that says no is about the whole: {"type": "enabled", "budget_tokens": 0}
    plain = re.sub(r"[^a-z0-9.]+", "-", name.lower())
    return bool(_THINKS.search(plain)) and not _ANSWERS.search(plain)


def answer_tokens(name: str, settings: Mapping[str, Any] | None = None, *, marked: bool = False) -> int:
    """The `max_tokens` of a judge that has none in its settings.

    Args:
        name, settings: as in `reasons`.
        marked: its template asks for reasons and a marked last line.
    """
    return ROOM if reasons(name, settings) else MARKED if marked else ANSWER


def _said(settings: Mapping[str, Any], depth: int = 0) -> Iterator[bool]:
    """What each of the settings that say something about thinking says."""
    for key, value in settings.items():
        word = str(key).lower()
        if isinstance(value, Mapping):
            if depth < 4:
                yield from _said(value, depth + 1)
            if word in {"thinking", "reasoning"}:  # {"thinking": {"type": "enabled"}}, {"reasoning": {"enabled": true}}
                if isinstance(kind := value.get("type"), str):
                    yield kind.lower() not in _OFF
                if isinstance(enabled := value.get("enabled"), bool):
                    yield enabled
        elif word in _SWITCHES and isinstance(value, bool):
            yield value
        elif word in _SWITCHES | _EFFORTS and isinstance(value, str):
            yield value.lower() not in _OFF
        elif word in _BUDGETS and isinstance(value, int):
            yield value != 0
