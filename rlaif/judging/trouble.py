"""What a user should hear of how a judge's replies were read, where it makes their values hard to trust."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rlaif.judging.prompts import BaseTemplate

__all__ = ["trouble"]

_LOW_MASS = 0.5  # with less on all labels together, the judge would rather have said something else
_READ = {"logprobs": "log-probabilities", "text": "text", "function": "function"}


class _Read(Protocol):
    """What is known of how many replies were read."""

    @property
    def mass(self) -> float | None: ...
    @property
    def methods(self) -> Mapping[str, int]: ...
    @property
    def unusable(self) -> Mapping[str, int]: ...
    @property
    def ties(self) -> int: ...


def trouble(read: _Read, template: BaseTemplate) -> dict[str, str]:
    """One line for each kind of thing that is wrong with how replies were read, by kind; none where all is well.

    Args:
        read: the mean probability of all labels together (`mass`), how many values were read in each way (`methods`),
            how many of these are written ties (`ties`, which have no other way), and why log-probabilities that came
            were not used, and how often (`unusable`).
        template: whose labels they are.
    """
    said: dict[str, str] = {}
    if read.mass is not None and read.mass < _LOW_MASS:
        said["mass"] = _low_mass(read.mass, template)
    if count := sum(read.unusable.values()):
        why = max(read.unusable, key=lambda reason: read.unusable[reason])
        said["unusable"] = (
            f"{count} answers came with log-probabilities that were not used, most of them because {why}; what they "
            "say in words was read instead, on a scale of its own. With --logprobs never all are read from their text."
        )
    methods = {name: count - (read.ties if name == "text" else 0) for name, count in sorted(read.methods.items())}
    if sum(count > 0 for count in methods.values()) > 1 and not count:
        counts = " and ".join(f"{count} from their {_READ[name]}" for name, count in methods.items())
        said["mixed"] = (
            f"answers were read in different ways, {counts}, so that their values are on two scales. With --logprobs "
            "never all are read from their text."
        )
    return said


def _low_mass(mass: float, template: BaseTemplate) -> str:
    count = len(template.labels)
    labels, means = ("two labels", "z means") if count == 2 else (f"{count} numbers", "ratings mean")
    return (
        f"the judge gives the {labels} {mass:.2g} of its probability (mean label mass): it would rather say "
        f"something else, and its {means} little. Try another --template (`helpful` tells a chat model how to "
        "answer, `compact` is for a base model) or a stronger judge."
    )
