"""A write that a kill cut in the middle of a batch: the resumed run gives the bytes of one that was never killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.commands.sample import form_pairs
from rlaif.judging.pairwise import Pairwise, judge_pairs
from rlaif.judging.prompts import TEMPLATES
from rlaif.judging.question import Question
from rlaif.judging.sampling import Sampling, complete, local_policy
from rlaif.models.local import LocalModel
from rlaif.records import Pair
from rlaif.sandbox import model_path, prompts


def tear(folder: Path, keep: float) -> int:
    """Cuts the one file in `folder` in the middle of a row after about `keep` of its rows; how many rows are whole."""
    (path,) = (folder / "replies").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    rows = [at for at, line in enumerate(lines) if not line.startswith(b'{"batch"')]
    whole = int(keep * len(rows))
    torn = rows[whole]
    path.write_bytes(b"".join(lines[:torn]) + lines[torn][:-20])
    return whole


def rows_in(path: Path) -> int:
    """How many lines are rows, the torn one included: one that names a batch is none."""
    return sum(not line.startswith('{"batch"') for line in path.read_text().splitlines())


@pytest.mark.parametrize("keep", [0.35, 0.75])
def test_sampled_responses(tmp_path: Path, keep: float, capsys: pytest.CaptureFixture[str]) -> None:
    def sampled(folder: Path) -> list[Pair]:
        policy = local_policy(str(model_path("policy")), batch_tokens=600)
        asked = prompts(20, seed=3)
        completions = complete(Sampling(policy, samples=2, max_new_tokens=24), asked, folder, "sampling")
        return form_pairs(asked, {"policy": completions}, 1, 0)[0]

    whole = sampled(tmp_path / "whole")
    assert len(whole) >= 18
    sampled(tmp_path / "torn")
    left = tear(tmp_path / "torn", keep)
    assert 0 < left < 40
    assert sampled(tmp_path / "torn") == whole
    # What was stored stayed, and only what was missing was added.
    second = sorted((tmp_path / "torn" / "replies").glob("*.jsonl"))[1]
    assert rows_in(second) == 40 - left
    assert "warning: 1 line(s) in the store are cut off" in capsys.readouterr().err


@pytest.mark.parametrize("keep", [0.35, 0.75])
def test_local_judgments(tmp_path: Path, keep: float) -> None:
    pairs = [
        Pair(
            prompt=prompt, response_a="Here are rope and milk. " * (i % 3 + 1), response_b="I bring oil." * (i % 4 + 1)
        )
        for i, prompt in enumerate(prompts(24, seed=4))
    ]

    def judged(folder: Path) -> list[dict[str, object]]:
        judge = Pairwise(Question(LocalModel(str(model_path("judge")), tokens=700), TEMPLATES["compact"]))
        return [judgment.row() for judgment in judge_pairs(pairs, judge, folder).judgments]

    whole = judged(tmp_path / "whole")
    judged(tmp_path / "torn")
    left = tear(tmp_path / "torn", keep)
    assert 0 < left < 48
    assert judged(tmp_path / "torn") == whole
    second = sorted((tmp_path / "torn" / "replies").glob("*.jsonl"))[1]
    assert rows_in(second) == 48 - left


def test_a_batch_cut_off_is_computed_in_the_batch_that_it_was_begun_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after any of its rows, and then asked for more prompts: the batches stay those of the first plan."""
    seen: list[tuple[str, ...]] = []
    answer = LocalModel.answer
    monkeypatch.setattr(
        LocalModel, "answer", lambda self, batch: seen.append(tuple(c.key for c in batch)) or answer(self, batch)
    )
    policy = local_policy(str(model_path("policy")), batch_tokens=200)
    sampling, asked = Sampling(policy, samples=2, max_new_tokens=8), prompts(12, seed=6)
    whole = complete(sampling, asked, tmp_path / "whole", "sampling")
    planned, seen[:] = list(seen), []
    assert len(planned) > 3
    (path,) = (tmp_path / "whole" / "replies").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    batches = sum(line.startswith(b'{"batch"') for line in lines)
    for kept in range(batches, len(lines)):
        folder = tmp_path / str(kept) / "replies"
        folder.mkdir(parents=True)
        (folder / path.name).write_bytes(b"".join(lines[:kept]))
        assert complete(sampling, asked, folder.parent, "sampling") == whole
        # Nothing that is whole is computed again, and the others as they were.
        assert sorted(seen) == sorted(planned[-len(seen) :])
        assert complete(sampling, [*prompts(3, seed=7), *asked], folder.parent, "sampling")[3:] == whole
        seen.clear()
