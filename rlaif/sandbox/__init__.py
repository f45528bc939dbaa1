"""A small world with a known gold reward and two bundled tiny language models: the offline default and the test bed."""

from pathlib import Path
from typing import Literal

from rlaif.sandbox.annotators import gold_judge, human_like
from rlaif.sandbox.world import demonstrations, gold_reward, max_gold_reward, prompts

__all__ = [
    "demonstrations",
    "gold_judge",
    "gold_reward",
    "human_like",
    "max_gold_reward",
    "model_path",
    "prompts",
]


def model_path(name: Literal["policy", "judge"]) -> Path:
    """The folder of a bundled checkpoint: what `from_pretrained` takes.

    Raises:
        ValueError: the name is none of the two.
        FileNotFoundError: the checkpoint is not there.
    """
    if name not in ("policy", "judge"):
        raise ValueError(f"model_path: got {name!r}, expected 'policy' or 'judge'; pass one of these")
    path = Path(__file__).parent / "models" / name
    if not (path / "config.json").is_file():
        raise FileNotFoundError(f"no checkpoint in {path}; run `python scripts/build_sandbox.py` to build it")
    return path
