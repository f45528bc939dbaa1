"""Bad inputs: every command and program refuses them in one line, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bad import Bad, check_folder, check_line, lay_out, run_here, snapshot
from support.bad.settings import RIGHT
from support.bad.table import BAD


@pytest.mark.parametrize("name", BAD)
def test_a_bad_input_is_one_line(
    name: str, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "RLAIF_TRACEBACK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)  # there is one; what it may is asked for later
    bad = BAD[name]
    lay_out(bad, tmp_path, world)
    before = snapshot(tmp_path)
    status = run_here(bad.argv(world), tmp_path)
    check_line(capfd.readouterr().err, status, bad)
    check_folder(before, tmp_path)


@pytest.mark.parametrize("command", ["sandbox", "judge", "build"])
def test_a_hidden_file_in_the_output_is_let_be(command: str, world: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.notes").write_text("mine")
    assert run_here(Bad(command, RIGHT[command], "").argv(world), tmp_path) == 0
    assert (tmp_path / "out/.notes").read_text() == "mine"
