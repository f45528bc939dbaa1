#!/usr/bin/env bash
# Guess, written down before: HfArgumentParser treats `flag: bool | None = None` on the command line as it treats
# `flag: bool = False`: the bare --flag means true.
# Seen (transformers 5.24.0): it does not. A bool that defaults to False may stand alone or with a value; an optional
# bool that defaults to None must have a value, and the bare flag ends the program with argparse's "expected one
# argument". A setting that becomes optional, so as to tell "unset" from "false", breaks command lines that worked.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.24.0
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import io
import sys
from dataclasses import dataclass

import transformers
from transformers import HfArgumentParser


@dataclass
class Plain:
    flag: bool = False


@dataclass
class Optional:
    flag: bool | None = None


def outcome(kind, *words):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            (settings,) = HfArgumentParser(kind).parse_args_into_dataclasses(list(words))
        return str(settings.flag)
    except SystemExit as stop:
        return f"exit {stop.code}: {said.getvalue().strip().splitlines()[-1].partition('error: ')[2]}"


seen = {
    "bool, --flag": outcome(Plain, "--flag"),
    "bool, --flag true": outcome(Plain, "--flag", "true"),
    "bool | None, --flag": outcome(Optional, "--flag"),
    "bool | None, --flag true": outcome(Optional, "--flag", "true"),
}
print(f"transformers {transformers.__version__}")
for case, result in seen.items():
    print(f"{case:<26} {result}")
wanted = ["True", "True", "exit 2: argument --flag: expected one argument", "True"]
sys.exit(list(seen.values()) != wanted)
PYTHON
