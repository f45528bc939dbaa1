"""The votes of a folder that `rlaif judge` wrote, in the layout of today and of earlier versions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import write_rows

from rlaif.files.store import Store
from rlaif.files.votes import has_votes, open_replies, timed_votes
from rlaif.records import Vote, content_hash


def row(key: int, number: int, reason: str | None, **more: Any) -> dict[str, Any]:
    own = {"key": content_hash(key), "pair_id": f"p{key}", "judge": "j", "template": "t", "order": "ab"}
    return {**own, "sample": number, "p_first": None if reason else 0.5, "reason": reason, **more}


def by_the_old_rule(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What earlier versions read: the first row of a key stays unless it has a reason and another came later."""
    kept: dict[str, dict[str, Any]] = {}
    for one in rows:
        if one["key"] not in kept or kept[one["key"]]["reason"]:
            kept[one["key"]] = one
    return list(kept.values())


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, "it failed"])), max_size=12),
        min_size=1,
        max_size=3,
    )
)
def test_an_earlier_folder_is_read_as_it_was_then(files: list[list[tuple[int, str | None]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, everything = Path(name), []
        for number, file in enumerate(files):
            more = {"bought": number > 0, "seconds": 0.5}
            rows = [row(key, len(everything) + at, reason, **more) for at, (key, reason) in enumerate(file)]
            everything += rows
            path = write_rows(folder / "votes" / f"{number}.jsonl", rows)
            path.write_text(path.read_text() + '{"key": "' + ("0" * 32 if number else ""))  # torn at its end
        timed = list(timed_votes(folder))
        found = {vote.key: vote for vote, _ in timed}
        assert len(found) == len(timed)
        assert found == {one["key"]: Vote.from_row(one) for one in by_the_old_rule(everything)}
        assert all(seconds == 0.5 for _, seconds in timed)
        reasons = [vote.reason is not None for vote, _ in timed]
        assert reasons == sorted(reasons)  # what failed for good comes last


def test_what_a_vote_took_stands_in_its_reply(tmp_path: Path) -> None:
    assert not has_votes(tmp_path)
    assert list(timed_votes(tmp_path)) == []
    assert len(open_replies(tmp_path)) == 0
    assert not (tmp_path / "replies").exists()
    own = {"usage": {"prompt_tokens": 3}}
    rows = [row(0, 0, None, **own), row(1, 1, None), row(2, 2, None), row(0, 0, None, **own) | {"pair_id": "twin"}]
    write_rows(tmp_path / "votes.jsonl", rows)
    write_rows(tmp_path / "votes" / "old.jsonl", [row(7, 7, None)])  # of an earlier version, and passed over
    with Store(tmp_path) as store:
        took = {"seconds": 2.5, "usage": {"prompt_tokens": 5, "completion_tokens": 1}}
        store.append([{"key": content_hash(0), **took}, {"key": content_hash(1), **took}])
    assert has_votes(tmp_path)
    assert [vote.pair_id for vote, _ in timed_votes(tmp_path)] == ["p0", "p1", "p2", "twin"]
    assert {seconds for _, seconds in timed_votes(tmp_path)} == {None}
    with open_replies(tmp_path) as replies:
        timed = list(timed_votes(tmp_path, replies))
    assert [seconds for _, seconds in timed] == [2.5, 2.5, None, 2.5]
    assert [vote.usage for vote, _ in timed] == [own["usage"], took["usage"], None, own["usage"]]


def test_a_row_that_is_no_vote_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "votes.jsonl", [row(0, 0, None), {**row(1, 1, None), "p_first": None}])
    with pytest.raises(ValueError, match=r"votes.jsonl:2 is no vote \(.* either p_first or a reason"):
        list(timed_votes(tmp_path))
