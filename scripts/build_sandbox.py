"""Rebuild a sandbox world's tokenizer, policy LM and judge LM from seeds, measure them, and write their model cards.

    python scripts/build_sandbox.py                      # the errand world's, on a GPU where there is one, else the CPU
    python scripts/build_sandbox.py --world kitchen      # the kitchen world's: a few minutes on one core
    python scripts/build_sandbox.py --only judge         # keep the tokenizer and the policy in --output
    OMP_NUM_THREADS=1 python scripts/build_sandbox.py    # faster where other work keeps the cores busy

What they learn is said in scripts/sandbox_models/errand.py and kitchen.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rlaif import config


@dataclass
class BuildConfig:
    """Which world's models are built, and where."""

    world: str = field(default="errand", metadata={"help": "Whose models.", "choices": ["errand", "kitchen"]})
    output: str | None = field(
        default=None, metadata={"help": "Folder for policy/ and judge/. Default: the package's own."}
    )
    only: str | None = field(
        default=None, metadata={"help": "Build one; the judge needs OUTPUT/policy.", "choices": ["policy", "judge"]}
    )
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda, ..."})
    seed: int = field(default=0, metadata={"help": "Seed of all that is drawn."})
    steps: int | None = field(default=None, metadata={"help": "Training steps of each model, for a quick try."})


def main() -> None:
    (settings,) = config.parse(BuildConfig, description=__doc__)

    import torch
    import transformers
    from sandbox_models import errand, kitchen
    from sandbox_models.common import check_own

    transformers.utils.logging.disable_progress_bar()  # no bars for files written and read in no time
    world = {"errand": errand, "kitchen": kitchen}[settings.world]
    folder = Path(settings.output) if settings.output else world.FOLDER
    if settings.only == "judge" and not (folder / "policy" / "config.json").is_file():
        raise config.UsageError(
            f"only is judge, and there is no policy in {folder / 'policy'}; build it first with --only policy."
        )
    name = settings.device
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    chosen = "" if settings.world == "errand" else f"--world {settings.world} "
    names = [settings.only] if settings.only else ["policy", "judge"]
    for model in names:
        check_own(folder / model, f"build_sandbox.py {chosen}--only {model}")
    for model in names:
        world.build(model, folder, settings.seed, settings.steps, device)


if __name__ == "__main__":
    config.run(main)
