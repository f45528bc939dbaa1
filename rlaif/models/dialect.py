"""Which settings one endpoint takes, known from what it refused, and never from what an answer lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rlaif.models.faults import Fault

__all__ = ["LISTED", "Dialect"]

LISTED = 20  # alternatives asked for at each place; OpenAI's limit

# What it means to go on without a setting.
_WITHOUT = {
    "logprobs": "answers are read from the text",
    "temperature": "it samples at a temperature of its own, whatever the settings and the manifest say",
    "seed": "sampled answers cannot be had again",
    "top_p": "it samples with a top_p of its own, whatever the settings and the manifest say",
    "reasoning_effort": "it reasons as much as it does by itself",
}


class Dialect:
    """What is sent to one endpoint of what is wanted.

    Args:
        warn: is told, by kind, what a user should know; each kind once.
        address: of the endpoint, for what it is told.

    Attributes:
        left_out: the settings that it refused, by name, with its words.
    """

    def __init__(self, warn: Callable[[str, str], None], address: str) -> None:
        self.left_out: dict[str, str] = {}
        self._taken: set[str] = set()  # settings that came with a question that was answered
        self._listed = LISTED
        self._warn = warn
        self._address = address

    def sent(self, wanted: Mapping[str, Any], without: Mapping[str, str]) -> dict[str, Any]:
        """What is sent of the settings `wanted`, for a question that goes `without` some of them."""
        left_out = without.keys() | self.left_out.keys()
        sent = {name: value for name, value in wanted.items() if name not in left_out}
        if "max_tokens" in wanted and "max_tokens" in left_out and "max_completion_tokens" not in left_out:
            sent["max_completion_tokens"] = wanted["max_tokens"]
        if "logprobs" not in sent:
            sent.pop("top_logprobs", None)
        elif "top_logprobs" in sent:
            sent["top_logprobs"] = min(sent["top_logprobs"], self._listed)
        return sent

    def took(self, sent: Mapping[str, Any], without: Mapping[str, str]) -> None:
        """Notes that a question with the settings `sent` was answered.

        What it went `without`, after a refusal, is left out for all from now on, and said; but for what was taken
        before: behind one address several servers may answer, and what one of them refuses the others may give.
        """
        for name, words in without.items():
            if name in self._taken and name not in self.left_out:
                self._warn(
                    f"sometimes {name}",
                    f"{self._address} refuses {name}, which it took before ({words or 'no reason given'}): such a "
                    "question is asked without.",
                )
            elif words and name not in self.left_out:
                self.left_out[name] = words
                if name != "max_tokens":  # which only changes its name
                    means = _WITHOUT.get(name, "what it does instead is its own choice")
                    self._warn(name, f"{self._address} refuses {name} ({words}) and is asked without it: {means}.")
        self._taken.update(sent)

    def learn(self, fault: Fault, words: str, sent: Mapping[str, Any], without: dict[str, str]) -> bool:
        """Whether what a refusal says about a setting changes what is sent next of this question.

        Only if it is then answered is the setting known to be at fault: the words may be about something else.

        Args:
            fault: of the kind "setting".
            words: the server's, as they may be shown; empty where they are not to count for other questions.
            sent: with the question.
            without: what this question goes without, and why; is added to.
        """
        name = str(fault.setting)
        if name in ("logprobs", "top_logprobs") and 2 <= (fault.most or 0) < sent.get("top_logprobs", 0):
            self._listed = min(self._listed, fault.most or LISTED)
            return True
        if name == "top_logprobs" and "logprobs" in sent:
            name = "logprobs"  # one is nothing without the other
        if name not in sent or name == "max_completion_tokens":
            return False  # it is about nothing that was sent; and without any limit an answer might never end
        without[name] = words
        return True
