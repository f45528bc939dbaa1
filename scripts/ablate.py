"""Runs an ablation: vary one thing, get one table.

    python scripts/ablate.py --config recipes/ablations/soft_labels.yaml --dry-run
    python scripts/ablate.py --config recipes/ablations/soft_labels.yaml --jobs 2 --threads 1

The file holds stages (the project's own programs with their own YAML files), factors, seeds, and which numbers of which
report.json to compare; rlaif/ablations/study.py describes it, recipes/ablations/README.md has the shipped ones. Cells
share the stages that they have in common, other ablations' too; a run that was killed goes on with the same command.
Into runs/ablations/NAME go report.md with its pictures, report.json, table.csv, values.csv and manifest.json.

It ends with status 1 if a run failed: the table is there, and names it.
"""

from __future__ import annotations

import signal
import sys

from rlaif import config
from rlaif.ablations.command import ablate, read_command


def main() -> None:
    # As Ctrl-C does: what runs is ended with it, and what has finished is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failed = ablate(*read_command(sys.argv[1:], __doc__))
    if failed:
        config.fail(f"{failed} of the runs failed; the table names them. The same command runs them again.")


if __name__ == "__main__":
    config.run(main)
