# Sourced by quickstart.sh and test.sh: a Python environment with rlaif in it. Silent where there is nothing to do.
#
#   prepare_environment EXTRAS    ("" or "[dev]")
#
# Uses the active environment (venv or conda); where none is, makes .venv in the checkout. Installs what
# pyproject.toml asks for at the versions of scripts/constraints.txt, once: a stamp in the environment remembers it.

stop() {
    echo "error: $*" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 && is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    stop "no Python 3.11 or newer found (python3 is $(python3 --version 2>&1)); install one, or name it: PYTHON=/path/to/python3.12 bash $0"
}

prepare_environment() {
    local extras=$1 python stamp wanted log free
    if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
        python=python # the active environment's own, and no other: the later commands come from there
        is_new_enough python ||
            stop "the active environment has $(python --version 2>&1), and rlaif needs 3.11 or newer; deactivate it, or activate another"
    else
        if [ ! -x .venv/bin/python ]; then
            python=$(find_python) || exit 1
            echo "making .venv with $("$python" --version)"
            "$python" -m venv .venv || stop "could not make .venv; on Debian and Ubuntu: apt install python3-venv"
        fi
        # shellcheck disable=SC1091
        . .venv/bin/activate
        python=python
    fi
    stamp="$("$python" -c 'import sys; print(sys.prefix)')/rlaif-installed${extras//[^a-z]/-}"
    wanted="$PWD $(cat pyproject.toml scripts/constraints.txt | cksum)"
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1024)}')
    if [ "$free" -lt 4000 ]; then
        stop "only $free MB are free here; the packages need about 4000 MB. Free some, or make the environment elsewhere and activate it first."
    fi
    echo "installing (a few minutes the first time)"
    log=$(mktemp)
    if ! "$python" -m pip install --quiet --disable-pip-version-check -c scripts/constraints.txt -e ".$extras" >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        if grep -qi "no space left" "$log"; then
            stop "the disk is full; free about 4000 MB and run the same command again. Log: $log"
        elif grep -qiE "connection|timed out|name resolution|network|proxy|max retries" "$log"; then
            stop "the package index could not be reached; check the network (or PIP_INDEX_URL and proxy) and run the same command again. Log: $log"
        fi
        stop "the installation failed; the lines above say why. Log: $log"
    fi
    rm -f "$log"
    echo "$wanted" >"$stamp"
}
