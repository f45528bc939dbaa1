"""Rebuild a sandbox world's tokenizer, policy LM and judge LM from seeds, measure them, and write their model cards.

    python scripts/build_sandbox.py                      # the errand world's, on a GPU where there is one, else the CPU
    python scripts/build_sandbox.py --world kitchen      # the kitchen world's: a few minutes on one core
    python scripts/build_sandbox.py --only judge         # keep the tokenizer and the policy in --output
    OMP_NUM_THREADS=1 python scripts/build_sandbox.py    # faster where other work keeps the cores busy

What they learn is said in scripts/sandbox_models/errand.py and kitchen.py.
"""

import argparse
from pathlib import Path

import torch
import transformers
from sandbox_models import errand, kitchen
from sandbox_models.common import check_own

WORLDS = {"errand": errand, "kitchen": kitchen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=WORLDS, default="errand")
    parser.add_argument("--output", type=Path, help="folder for policy/ and judge/; the package's own by default")
    parser.add_argument("--only", choices=("policy", "judge"), help="build one; the judge needs --output/policy")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="training steps of each model, for a quick try")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()  # no bars for files written and read in no time
    world = WORLDS[arguments.world]
    folder = arguments.output or world.FOLDER
    if arguments.only == "judge" and not (folder / "policy" / "config.json").is_file():
        parser.error(f"--only judge: no policy in {folder / 'policy'}; build it first with --only policy")
    name = arguments.device
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    names = [arguments.only] if arguments.only else ["policy", "judge"]
    chosen = "" if arguments.world == "errand" else f"--world {arguments.world} "
    for model in names:
        check_own(folder / model, f"build_sandbox.py {chosen}--only {model}", parser)
    for model in names:
        world.build(model, folder, arguments.seed, arguments.steps, device)


if __name__ == "__main__":
    main()
