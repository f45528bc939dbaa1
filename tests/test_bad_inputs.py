"""Bad inputs: every command and program refuses them in one line, and changes nothing."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import psutil
import pytest
from support.bad import PYTHON, Bad, check_folder, check_line, lay_out, run_here, snapshot
from support.bad.folders import FOLDERS
from support.bad.python import CALLS
from support.bad.settings import RIGHT
from support.bad.table import BAD
from support.programs import bound_by_modes


def refused_here(bad: Bad, folder: Path, world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = snapshot(folder)
    status = run_here(bad.argv(world), folder)
    check_line(capfd.readouterr().err, status, bad)
    check_folder(before, folder, bad.leaves)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_input_is_one_line(
    name: str, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "RLAIF_TRACEBACK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)  # there is one; what it may is asked for later
    bad = BAD[name]
    lay_out(bad, tmp_path, world)
    refused_here(bad, tmp_path, world, capfd)


@pytest.mark.parametrize("name", CALLS)
def test_a_bad_call_is_a_value_error_of_one_line(
    name: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=CALLS[name].names) as error:  # a TypeError or KeyError is none
        CALLS[name].call(world)
    line = str(error.value)
    assert line.isprintable(), line
    assert len(line) < 600, line
    assert not (python := PYTHON.search(line)), (python, line)
    made = {path.name for path in tmp_path.iterdir()} - {"f", "in.jsonl"}  # what the call itself is given
    assert not made


@pytest.mark.parametrize("command", ["sandbox", "judge", "build"])
def test_a_hidden_file_in_the_output_is_let_be(command: str, world: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.notes").write_text("mine")
    assert run_here(Bad(command, RIGHT[command], "").argv(world), tmp_path) == 0
    assert (tmp_path / "out/.notes").read_text() == "mine"


@pytest.mark.parametrize("command", FOLDERS)
def test_a_folder_in_use_is_let_be(
    command: str, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    other = psutil.Process().parent()
    assert other is not None
    mark = {"what": "rlaif judge", "host": socket.gethostname(), "pid": other.pid}
    mark["started"] = round(other.create_time(), 1)
    (tmp_path / "out/.in-use").write_text(json.dumps(mark))
    refused_here(Bad(command, RIGHT[command], rf"\bout\b.*( in use .*{other.pid}|\.in-use)"), tmp_path, world, capfd)


@pytest.mark.skipif(sys.platform != "linux", reason="root is bound by modes on Linux alone")
@pytest.mark.parametrize("command", [*FOLDERS, "convert", "reward_models/score.py"])
def test_a_folder_that_may_not_be_written_is_named(
    command: str, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    words = tuple({"out": "locked/out", "out.jsonl": "locked/out.jsonl"}.get(word, word) for word in RIGHT[command])
    with bound_by_modes():
        refused_here(Bad(command, words, "locked"), tmp_path, world, capfd)


@pytest.mark.parametrize("command", ["sandbox", "build", "convert", "publish", "reward_models/score.py"])
def test_of_a_launchers_processes_the_first_does_what_is_not_split(
    command: str, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where each did it all, the second wrote into the folder that the first had refused."""
    assert run_here(Bad(command, RIGHT[command], "").argv(world), tmp_path, RANK="1", WORLD_SIZE="2") == 0
    assert capfd.readouterr() == ("", "")
    assert not snapshot(tmp_path)
