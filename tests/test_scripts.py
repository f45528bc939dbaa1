"""The set-up commands say what to do when they cannot go on; run for real, with stand-ins for what is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BASICS = ("bash", "cat", "awk", "cksum", "dirname", "mktemp", "tail", "grep", "rm", "df")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the set-up reads, and a bin/ that is all of PATH."""
    (tmp_path / "bin").mkdir()
    for name in BASICS:
        found = shutil.which(name)
        assert found is not None
        (tmp_path / "bin" / name).symlink_to(found)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def stand_in(checkout: Path, name: str, script: str) -> None:
    path = checkout / "bin" / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!{shutil.which('bash')}\n{script}\n")
    path.chmod(0o755)


def set_up(checkout: Path, script: str = "quickstart.sh", **variables: str) -> tuple[int, str, str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "CONDA_PREFIX", "PYTHON"}}
    done = subprocess.run(
        ["bash", f"scripts/{script}"],
        cwd=checkout,
        env={**environment, "PATH": str(checkout / "bin"), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


PYTHON = """
case "$*" in
  *version_info*) exit {old} ;;
  --version) echo "Python 3.{minor}" ;;
  *"-m venv"*) {mkdir} -p .venv/bin; {cp} "$0" .venv/bin/python; : > .venv/bin/activate ;;
  *sys.prefix*) echo .venv ;;
  *"pip install"*) echo "{says}" >&2; exit {pip} ;;
esac
"""


def python(checkout: Path, *, old: int = 0, minor: int = 12, says: str = "", pip: int = 0) -> None:
    script = PYTHON.format(old=old, minor=minor, says=says, pip=pip, mkdir=shutil.which("mkdir"), cp=shutil.which("cp"))
    for name in ("python3", "python"):
        stand_in(checkout, name, script)


@pytest.mark.parametrize("script", ["quickstart.sh", "test.sh"])
def test_an_old_python_is_named_and_what_to_do_is_said(checkout: Path, script: str) -> None:
    python(checkout, old=1, minor=9)
    code, _, error = set_up(checkout, script)
    assert code == 1
    assert error.startswith("error: no Python 3.11 or newer found (python3 is Python 3.9); install one, or name it")
    assert error.count("\n") == 1


def test_an_active_environment_is_used_and_no_other(checkout: Path) -> None:
    python(checkout, old=1, minor=9)  # the active one is too old ...
    newer = PYTHON.format(
        old=0, minor=12, says="must not run", pip=9, mkdir=shutil.which("mkdir"), cp=shutil.which("cp")
    )
    stand_in(checkout, "python3.12", newer)  # ... and the system has one that is not
    code, _, error = set_up(checkout, VIRTUAL_ENV=str(checkout))
    assert code == 1
    assert error == (
        "error: the active environment has Python 3.9, and rlaif needs 3.11 or newer; deactivate it, or activate "
        "another\n"
    )


def test_a_full_disk_is_seen_before_anything_is_installed(checkout: Path) -> None:
    python(checkout, says="must not run", pip=9)
    stand_in(
        checkout, "df", 'echo "Filesystem 1024-blocks Used Available"; echo "/dev/x 9000000 8000000 1000000 90% /"'
    )
    code, _, error = set_up(checkout)
    assert code == 1
    assert "error: only 976 MB are free here; the packages need about 4000 MB" in error
    assert "must not run" not in error


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "the disk is full"),
        ("WARNING: Retrying after connection broken: NewConnectionError", "the package index could not be reached"),
        ("ERROR: No matching distribution found for trl", "the installation failed; the lines above say why"),
    ],
)
def test_a_failed_installation_says_why(checkout: Path, says: str, expected: str) -> None:
    python(checkout, says=says, pip=1)
    code, _, error = set_up(checkout)
    assert code == 1
    assert expected in error
    assert says in error
    # It failed, so nothing may remember it as done.
    assert not list(checkout.glob(".venv/rlaif-installed*"))


def test_scripts_are_valid_bash() -> None:
    for path in [*(ROOT / "scripts").glob("*.sh"), ROOT / ".ci" / "run"]:
        subprocess.run(["bash", "-n", str(path)], check=True)
