"""What a tracker is told of a run: its numbers, as they were logged, and no key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import write_rows
from test_saving import sft

from rlaif.secrets import REDACTED, without_keys

KEY = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345"


def test_tensorboard_has_what_was_logged_and_no_key(
    chat_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    out = tmp_path / "out"
    rows = [
        {"prompt": f"Question {at}?", "completion": f"Answer {at}.", "split": "train" if at else "test"}
        for at in range(9)
    ]
    dataset = write_rows(tmp_path / "rows.jsonl", rows)
    settings = {"dataset": dataset, "test_split": "test", "report_to": "tensorboard", "hub_token": KEY}
    done = sft(tmp_path, chat_model, out, **settings)
    assert done.returncode == 0, done.stderr
    (folder,) = (out / "runs").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    log = json.loads((out / "trainer_state.json").read_text())["log_history"]
    for name, tag in (("loss", "train/loss"), ("learning_rate", "train/learning_rate"), ("eval_loss", "eval/loss")):
        logged = [(line["step"], pytest.approx(line[name])) for line in log if name in line]
        assert logged
        assert [(event.step, event.value) for event in events.Scalars(tag)] == logged
    assert not [path for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert KEY not in (out / "manifest.json").read_text()
    assert (out / "loss.png").is_file()


def test_a_command_line_is_shown_without_its_keys() -> None:
    words = ["--model", "m", "--hub_token", "plain", "--hub_token=plain", f"--run_name={KEY}", "--max_new_tokens", "40"]
    assert without_keys(words) == [
        *("--model", "m", "--hub_token", REDACTED, f"--hub_token={REDACTED}", f"--run_name={REDACTED}"),
        *("--max_new_tokens", "40"),
    ]
    assert without_keys(["--hub_token", "--open"]) == ["--hub_token", "--open"]
    assert without_keys(["--url", "http://me:pass@host/v1"]) == ["--url", f"http://{REDACTED}@host/v1"]
