"""`rlaif sandbox`: a bundled world's prompts and demonstrations as files, the input of every other command.

    rlaif sandbox --output runs/quickstart

Which of them must be said of any but the first: `--world kitchen`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rlaif.config import UsageError
from rlaif.errors.words import one_of
from rlaif.files.ownership import claim
from rlaif.files.sources import write_jsonl
from rlaif.sandbox import WORLDS
from rlaif.settings.declared import described

__all__ = ["SETTINGS", "SandboxConfig", "write_sandbox"]

READS: dict[str, str] = {}


@described(headings={"world": "the small world"}, also={"output": ("output_dir",)})
@dataclass
class SandboxConfig:
    """How much of which small world to write."""

    world: str = field(
        default="errand",
        metadata={"help": "errand, or kitchen: the harder one, for experiments.", "choices": list(WORLDS)},
    )
    output: str = field(default="runs/quickstart", metadata={"help": "Folder for the files."})
    prompts: int = field(default=1500, metadata={"help": "Prompts to sample responses to: prompts.jsonl."})
    evaluation: int = field(default=500, metadata={"help": "Other prompts to evaluate on: evaluation.jsonl."})
    demonstrations: int = field(
        default=1000, metadata={"help": "Responses to other prompts, of mixed quality: demonstrations.jsonl."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of all three."})


SETTINGS = (SandboxConfig,)


def write_sandbox(config: SandboxConfig) -> dict[Path, int]:
    """Writes prompts.jsonl, evaluation.jsonl and demonstrations.jsonl (no prompt in two of them); rows by file.

    Raises:
        ValueError: a negative number of rows, or an output that is not `rlaif sandbox`'s own.
    """
    for name in ("prompts", "evaluation", "demonstrations"):
        if getattr(config, name) < 0:
            raise UsageError(f"{name} is {getattr(config, name)}; expected a number of rows.")
    if config.world not in WORLDS:
        raise UsageError(f"world is {config.world!r}; {one_of(config.world, WORLDS)}")
    folder, world = Path(config.output), WORLDS[config.world]
    asked = world.prompts(config.prompts + config.evaluation, config.seed)
    taken = set(asked)
    # Demonstrations are drawn apart; a prompt that is also to be sampled or evaluated is left to that.
    shown: list[dict[str, str]] = []
    drawn = config.demonstrations
    while len(shown) < config.demonstrations:
        drawn = 2 * drawn + 10
        shown = [row for row in world.demonstrations(drawn, config.seed + 1) if row["prompt"] not in taken]
    files = {
        folder / "prompts.jsonl": [{"prompt": prompt} for prompt in asked[: config.prompts]],
        folder / "evaluation.jsonl": [{"prompt": prompt} for prompt in asked[config.prompts :]],
        folder / "demonstrations.jsonl": shown[: config.demonstrations],
    }
    with claim(folder, "rlaif sandbox"):
        return {path: write_jsonl(path, rows) for path, rows in files.items()}
