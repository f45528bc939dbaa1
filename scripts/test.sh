#!/usr/bin/env bash
# Installs what is missing, then checks style and types and runs the tests. Arguments go to pytest:
#   bash scripts/test.sh                 the default suite, 8 minutes on two cores, no network
#   bash scripts/test.sh -m slow         what takes minutes
#   bash scripts/test.sh -n 0            in one process
# The page of `rlaif evaluate` is opened in a Chromium, if there is one (apt-get install chromium).
#   RLAIF_DATA=folder bash scripts/test.sh      also the tests on human-labelled data (skipped without it)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh
prepare_environment "[dev]"

export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
ruff check --quiet .
ruff format --quiet --check .
mypy --no-error-summary
python -m pytest -q -n 2 --dist loadfile "$@" # two at once; a file's tests share what they made
