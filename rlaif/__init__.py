"""Learning from AI feedback: a judge's probability z, carried from annotation to training.

prompts -> candidate pairs -> judgments z -> preference dataset -> reward model -> policy -> report

What stands in `__all__` is loaded when it is first used, so that `import rlaif` and the command line start at once.
"""

from typing import TYPE_CHECKING, Any

from rlaif.moved import watch_imports

if TYPE_CHECKING:
    from rlaif.face import Judgments, build, judge, load_judge, load_rater, rate, sample
    from rlaif.files.preferences import load_preferences
    from rlaif.models.reward_model import RewardModel
    from rlaif.records import Judgment, Pair, Preference, Rating, Response, Vote

__version__ = "0.1.0"

__all__ = [
    "Judgment",
    "Judgments",
    "Pair",
    "Preference",
    "Rating",
    "Response",
    "RewardModel",
    "Vote",
    "__version__",
    "build",
    "judge",
    "load_judge",
    "load_preferences",
    "load_rater",
    "rate",
    "sample",
]

_HOMES = {
    **dict.fromkeys(("Judgments", "build", "judge", "load_judge", "load_rater", "rate", "sample"), "rlaif.face"),
    **dict.fromkeys(("Judgment", "Pair", "Preference", "Rating", "Response", "Vote"), "rlaif.records"),
    "RewardModel": "rlaif.models.reward_model",
    "load_preferences": "rlaif.files.preferences",
}

watch_imports()


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'rlaif' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
