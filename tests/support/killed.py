"""A program that gets a signal in the middle of an optimizer step: `killed.py SIGNAL STEP PROGRAM WORDS...`.

SIGNAL 0 is none. With KILLED_RANK the process of that rank alone gets it. WORDS are the words of the program, so that
it is the same command every time.
"""

from __future__ import annotations

import os
import runpy
import sys
from typing import Any


def main() -> None:
    number, step, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    sys.argv = sys.argv[3:]
    from transformers import Trainer

    real = Trainer.training_step
    told = os.environ.get("RANK", "0") == os.environ.get("KILLED_RANK", "0")

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if number and told and self.state.global_step == step:
            os.kill(os.getpid(), number)
        return real(self, *args, **kwargs)

    Trainer.training_step = training_step
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
