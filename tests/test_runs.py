"""Programs run and measured: whose memory is counted, what a failure says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rlaif.files import runs


def test_memory_is_that_of_the_program_started_and_of_no_other(tmp_path: Path) -> None:
    def peak(code: str) -> float:
        return runs.measured([sys.executable, "-c", code], tmp_path / "log.txt", threads=1) / 2**20

    ours = b"x" * (300 * 2**20)  # what a program inherits, unless it is kept from it
    small = peak("pass")
    assert len(ours) / 2**20 > 2 * small
    assert peak("x = b'x' * 400 * 2**20") - small == pytest.approx(400, abs=20)
    # Of the largest of several processes.
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = b\"x\" * 200 * 2**20'])"
    assert peak(nested) - small == pytest.approx(200, abs=20)


def test_a_program_that_fails_is_one_line_with_its_log(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "print('why'); raise SystemExit(3)"]
    with pytest.raises(ValueError, match=r"ended with status 3; see .*log\.txt"):
        runs.measured(words, tmp_path / "log.txt", threads=1)
    assert (tmp_path / "log.txt").read_text() == "why\n"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert runs.aligned([("", "ab", "c"), ("def", "g", "")]) == ["     ab  c", "def  g"]
