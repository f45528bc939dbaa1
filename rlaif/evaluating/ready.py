"""Responses that are there already: rows with a prompt and a response, found again by the prompt.

The response is in a column `response`, or where `rlaif.files.demonstrations` looks for one (`completion`, the last turn
of `messages`, `output`, ...), the prompt where every program looks for it; so what `rlaif evaluate` wrote is read, and
AlpacaEval's outputs. A text as prompt is the one user message that holds it; a system turn is part of the prompt.

    two rows with a prompt      the same response: once; another response: the later one is a bad row
    a response of null          none: a call that failed; one of another row with the prompt counts
    an empty response           is a response
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlaif.config import warn
from rlaif.errors.words import shown
from rlaif.evaluating.policies import Policy
from rlaif.files.bad_rows import BadRows
from rlaif.files.conversations import TURNS, conversation, prompt_of, responses_of, whole_of
from rlaif.files.demonstrations import answer_column, answers_beside
from rlaif.files.rows import read_rows
from rlaif.files.trained_on import prompt_key
from rlaif.records import Prompt, content_hash, prompt_hash

__all__ = ["ReadyResponses", "read_responses"]

_OWNERS = ("policy", "generator")


@dataclass
class ReadyResponses:
    """A policy's responses to the prompts of an evaluation, as a file has them.

    Attributes:
        texts: one for each prompt, None where there is none: N.
        left_out: the rows that are not used, by reason; the bad ones are not among them.
        turned, spaced: how many of the prompts without a response have one behind another system turn, or in other
            white space.
    """

    texts: list[str | None]
    left_out: Counter[str] = field(default_factory=Counter)
    turned: int = 0
    spaced: int = 0

    @property
    def used(self) -> int:
        """How many rows are."""
        return sum(text is not None for text in self.texts)


def read_responses(policy: Policy, prompts: Sequence[Prompt], bad: BadRows) -> ReadyResponses:
    """The responses of `policy` to each of N prompts, from its file.

    Raises:
        ValueError: a row is none; rows of several policies, and none of them is meant; no prompt has a response.
    """
    hashes = [prompt_hash(prompt) for prompt in prompts]
    wanted = set(hashes)
    found: dict[str | None, dict[str, tuple[str, str]]] = {}  # by owner and prompt: where, and the response
    counts: dict[str | None, Counter[str]] = {}
    alike: dict[str | None, set[str]] = {}  # what else could have been meant
    for where, row in read_rows(policy.path, bad=bad):
        if where in bad:
            continue
        with bad.at(where):
            owner = _owner(row)
            prompt, text = _prompt_and_response(row, bad, policy.path)
            mine, count = found.setdefault(owner, {}), counts.setdefault(owner, Counter())
            key = prompt_hash(prompt)
            if key not in wanted:
                count["prompt not asked"] += 1
                alike.setdefault(owner, set()).update((_bare_hash(prompt), prompt_key(prompt)))
            elif text is None:
                count["no response"] += 1
            elif key not in mine:
                mine[key] = where, text
            elif mine[key][1] == text:
                count["response stood before"] += 1
            else:
                raise ValueError(
                    f"the row has another response to the prompt of {mine[key][0]}; expected one row a prompt. Leave "
                    "one of them out, or name in a column `policy` whose each is."
                )
    if not found:
        why = f" {len(bad.rows)} are left out; the first: {bad.first}" if bad.rows else ""
        raise ValueError(f"{policy.path} has no {'usable ' if why else ''}rows; expected a prompt and a response.{why}")
    owner = _meant(policy, list(found))
    texts = [found[owner].get(key, ("", None))[1] for key in hashes]
    others = sum(counts[name].total() + len(rows) for name, rows in found.items())
    own = counts[owner].total() + len(found[owner])
    left_out = counts[owner] + (Counter({"of other policies": others - own}) if others > own else Counter())
    near = alike.get(owner, set())
    without = [prompt for prompt, text in zip(prompts, texts, strict=True) if text is None]
    turned = [_bare_hash(prompt) in near for prompt in without]
    spaced = [prompt_key(prompt) in near and not other for prompt, other in zip(without, turned, strict=True)]
    ready = ReadyResponses(texts, left_out, sum(turned), sum(spaced))
    if not ready.used:
        raise ValueError(f"{policy.path} has no response to any of the {len(prompts)} prompts{_hint(ready, bad)}")
    if without:
        warn(f"{policy.path} has no response to {len(without)} of the {len(prompts)} prompts{_hint(ready, bad)}")
    return ready


def _hint(ready: ReadyResponses, bad: BadRows) -> str:
    if ready.turned:
        return (
            f"; {ready.turned} of them stand there with another system turn, or without one. Expected the same prompt "
            "in both, its system turn included."
        )
    if ready.spaced:
        return f"; {ready.spaced} of them stand there with other white space. Expected the same text in both."
    if ready.left_out["no response"]:
        return f"; {ready.left_out['no response']} rows hold none. Expected one for each prompt."
    if bad.rows:
        return f"; {len(bad.rows)} rows cannot be used, the first: {bad.first}"
    return "; expected the same prompts in both, word for word."


def _owner(row: Mapping[str, Any]) -> str | None:
    name = next((name for name in _OWNERS if row.get(name) is not None), None)
    if name is None:
        return None
    if not isinstance(row[name], str):
        raise ValueError(f"{name} is {shown(row[name])}; expected the name of the policy, or null.")
    return str(row[name])


def _meant(policy: Policy, owners: Sequence[str | None]) -> str | None:
    """Whose rows are the policy's: those of the owner that was said, the only one's, or those of its own name."""
    named = ", ".join(sorted(str(owner) for owner in owners if owner is not None)) or "nobody's name"
    if policy.owner is not None:
        if policy.owner not in owners:
            raise ValueError(f"{policy.path} has no responses of {policy.owner!r}; expected one of {named:.300}.")
        return policy.owner
    if len(owners) == 1:
        return owners[0]
    if policy.name in owners:
        return policy.name
    raise ValueError(
        f"{policy.path} has the responses of several policies ({named:.300}), and none of them is called "
        f"{policy.name!r}; expected that name, or {policy.name}={policy.path}#NAME."
    )


def _prompt_and_response(row: Mapping[str, Any], bad: BadRows, source: str) -> tuple[Prompt, str | None]:
    """The prompt of a row and its response, None where it is null."""
    name = "response" if "response" in row else answer_column(row)
    if name is None:
        if all(side in row for side in ("response_a", "response_b")):
            raise ValueError("the row has two responses, response_a and response_b; expected one, in `response`.")
        raise ValueError(
            f"the row has no 'response'; expected a prompt with response, completion, output or messages, got "
            f"{', '.join(map(str, row))}."
        )
    if row[name] is None:
        return prompt_of({key: value for key, value in row.items() if key != name}), None
    if name in TURNS:
        *turns, last = whole_of(row, name)
        if not turns:
            raise ValueError(f"{name} holds the assistant's turn alone; expected what it answers before it.")
        prompt, text = turns, last["content"]
    else:
        prompt, (text,) = responses_of(row, (name,))  # type: ignore[assignment]
    if others := answers_beside(row, [text], used=(name,)):
        bad.unread.add(f"{source} has rows with {name} and {others}; {name} is the response.")
    return prompt, text


def _bare_hash(prompt: Prompt) -> str:
    """Of a prompt without its system turn."""
    turns = conversation(prompt)
    return content_hash(turns[1:] if turns[0]["role"] == "system" else turns)
