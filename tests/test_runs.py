"""Programs run once and measured: what counts as the same run, whose memory is counted, what a failure says."""

from __future__ import annotations

import json
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
        runs.once(tmp_path / "run", words, [], [], threads=1)
    assert (tmp_path / "run/log.txt").read_text() == "why\n"
    assert not (tmp_path / "run/run.json").exists()


def test_a_finished_run_stands_for_the_same_command_code_inputs_and_threads(tmp_path: Path) -> None:
    count = tmp_path / "count"
    append = f"import os; open({str(count)!r}, 'a').write(os.environ['OMP_NUM_THREADS'])"
    for name in ("code", "model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("1")
    (tmp_path / "data.jsonl").write_text("{}")

    def run(argument: str = "0", threads: int = 1) -> str:
        words = [sys.executable, "-c", append, argument]
        inputs = [tmp_path / "model", tmp_path / "data.jsonl"]
        peak = runs.once(tmp_path / "run", words, [tmp_path / "code"], inputs, threads)
        assert peak == json.loads((tmp_path / "run/run.json").read_text())["peak_memory"] > 2**20
        return count.read_text()

    assert [run(), run()] == ["1", "1"]
    (tmp_path / "run/.written-by").unlink()  # as an earlier version left it
    assert run() == "1"
    (tmp_path / "run/left").write_text("of another run")
    assert [run("1"), run("1")] == ["11", "11"]
    assert not (tmp_path / "run/left").exists()
    assert run("1", threads=2) == "112"
    (tmp_path / "model/a.py").write_text("2")
    assert [run("1"), run("1")] == ["1121", "1121"]
    (tmp_path / "data.jsonl").write_text("{ }")
    assert run("1") == "11211"
    (tmp_path / "code/__pycache__").mkdir()
    (tmp_path / "code/__pycache__/a.pyc").write_text("is no source")
    assert run("1") == "11211"
    (tmp_path / "code/a.py").write_text("2")
    assert run("1") == "112111"


def test_code_is_told_by_its_text_and_its_place(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "a.py").write_text("1")
    seen = [runs.code_fingerprint([package])]
    (package / "inner/b.py").write_text("2")
    seen.append(runs.code_fingerprint([package]))
    (package / "inner/b.py").rename(package / "b.py")
    seen.append(runs.code_fingerprint([package]))
    (package / "b.py").write_text("3")
    seen.append(runs.code_fingerprint([package]))
    seen.append(runs.code_fingerprint([package, package / "a.py"]))
    assert len(set(seen)) == 5
    copy = tmp_path / "elsewhere/package"
    copy.mkdir(parents=True)
    for name in ("a.py", "b.py"):
        (copy / name).write_text((package / name).read_text())
    assert runs.code_fingerprint([copy]) == seen[3]


def test_the_launcher_starts_this_python_with_every_option() -> None:
    words = runs.launch(Path("program.py"), Path("cpu.yaml"), {"lora": True, "rate": 1e-4})
    assert words[0] == sys.executable
    assert words[-7:] == ["--config_file", "cpu.yaml", "program.py", "--lora", "True", "--rate", "0.0001"]


def test_text() -> None:
    assert runs.bracketed((3 * 2**20, 2**20, 5 * 2**20), 1, 2**20) == "3.0 [1.0, 5.0]"
    assert runs.aligned([("", "ab", "c"), ("def", "g", "")]) == ["     ab  c", "def  g"]
