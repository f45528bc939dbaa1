"""A write that a kill cut in the middle of a batch: the resumed run gives the bytes of one that was never killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.commands.sample import form_pairs
from rlaif.judging.annotate import judge_pairs
from rlaif.judging.local import LocalJudge
from rlaif.judging.prompts import TEMPLATES
from rlaif.judging.sampling import LocalPolicy, complete
from rlaif.records import Pair
from rlaif.sandbox import model_path, prompts


def tear(folder: Path, keep: float) -> int:
    """Cuts the one file in `folder` in the middle of a line after about `keep` of it; how many lines are whole."""
    (path,) = folder.glob("*.jsonl")
    content = path.read_bytes()
    at = content.index(b"\n", int(keep * len(content))) - 20
    path.write_bytes(content[:at])
    return content[:at].count(b"\n")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("keep", [0.2, 0.75])
def test_sampled_responses(tmp_path: Path, keep: float, capsys: pytest.CaptureFixture[str]) -> None:
    def sampled(folder: Path) -> list[Pair]:
        policy = LocalPolicy(str(model_path("policy")), max_new_tokens=24, batch_tokens=600)
        asked = prompts(20, seed=3)
        return form_pairs(asked, {"policy": complete(policy, asked, 2, folder, "sampling")}, 1, 0)[0]

    whole = sampled(tmp_path / "whole")
    assert len(whole) >= 18
    sampled(tmp_path / "torn")
    left = tear(tmp_path / "torn" / "completions", keep)
    assert 0 < left < 40
    assert sampled(tmp_path / "torn") == whole
    # What was stored stayed, and only what was missing was added.
    second = sorted((tmp_path / "torn" / "completions").glob("*.jsonl"))[1]
    assert len(second.read_text().splitlines()) == 40 - left
    assert "warning: 1 line(s) in the store are cut off" in capsys.readouterr().err


@pytest.mark.parametrize("keep", [0.2, 0.75])
def test_local_judgments(tmp_path: Path, keep: float) -> None:
    pairs = [
        Pair(
            prompt=prompt, response_a="Here are rope and milk. " * (i % 3 + 1), response_b="I bring oil." * (i % 4 + 1)
        )
        for i, prompt in enumerate(prompts(24, seed=4))
    ]

    def judged(folder: Path) -> list[dict[str, object]]:
        judge = LocalJudge(str(model_path("judge")), TEMPLATES["compact"], tokens=700)
        return [judgment.row() for judgment in judge_pairs(pairs, judge, folder).judgments]

    whole = judged(tmp_path / "whole")
    judged(tmp_path / "torn")
    assert 0 < tear(tmp_path / "torn" / "votes", keep) < 48
    assert judged(tmp_path / "torn") == whole
