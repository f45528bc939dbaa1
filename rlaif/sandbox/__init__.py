"""Small worlds with a known gold reward and two bundled tiny language models each: offline default and test bed.

errand      rlaif/sandbox/world.py      the default: every reward's part is easy to see, 50 pairs teach a reward model
kitchen     rlaif/sandbox/kitchen.py    facts that only preferences tell, a judge with the faults of small judges, and
                                        room to over-optimize: the world for experiments
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlaif.sandbox import kitchen, world
from rlaif.sandbox.annotators import gold_judge, human_like
from rlaif.sandbox.world import demonstrations, gold_reward, max_gold_reward, prompts

__all__ = [
    "WORLDS",
    "World",
    "demonstrations",
    "gold_judge",
    "gold_reward",
    "human_like",
    "max_gold_reward",
    "model_path",
    "prompts",
]


@dataclass(frozen=True)
class World:
    """What `rlaif sandbox` writes of a world, and where its models are; gold and annotators go by dotted name.

    Attributes:
        prompts: n, seed -> n distinct prompts; the same seed gives the same list, longer lists extend it.
        demonstrations: n, seed -> n rows {"prompt", "completion"} of mixed quality.
        models: the folder of policy/ and judge/ in rlaif/sandbox.
    """

    prompts: Callable[[int, int], list[str]]
    demonstrations: Callable[[int, int], list[dict[str, str]]]
    models: str


WORLDS = {
    "errand": World(world.prompts, world.demonstrations, "models"),
    "kitchen": World(kitchen.prompts, kitchen.demonstrations, "models/kitchen"),
}


def model_path(name: Literal["policy", "judge"], world: str = "errand") -> Path:
    """The folder of a bundled checkpoint: what `from_pretrained` takes.

    Raises:
        ValueError: the name is none of the two, or there is no such world.
        FileNotFoundError: the checkpoint is not there.
    """
    if name not in ("policy", "judge"):
        raise ValueError(f"model_path: got {name!r}, expected 'policy' or 'judge'; pass one of these")
    if world not in WORLDS:
        raise ValueError(f"model_path: got the world {world!r}, expected one of {', '.join(WORLDS)}")
    path = Path(__file__).parent / WORLDS[world].models / name
    if not (path / "config.json").is_file():
        raise FileNotFoundError(
            f"no checkpoint in {path}; run `python scripts/build_sandbox.py --world {world}` to build it"
        )
    return path
