"""What was paid for stays, whatever happens to the process that paid for it: real kills, torn lines, company."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Server, refused, rlaif, rlaif_env, rows_of, some_pairs, wait_until, write_rows

from rlaif.files.manifest import elapsed, write_manifest
from rlaif.files.store import Store, stored_rows

ROW = st.fixed_dictionaries(
    {"key": st.sampled_from("abcdefgh"), "text": st.text(st.characters(codec="utf-8"))},
    optional={"reason": st.sampled_from(["failed", None]), "p": st.floats(0, 1)},
)


@given(st.lists(st.lists(ROW, max_size=4), max_size=6))
def test_what_is_stored_is_read_again(appends: list[list[dict[str, Any]]]) -> None:
    """Several processes append; a reader sees what they saw. The first answer to a key stays, unless it had failed."""
    wanted: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in appends:
            with Store(folder, "votes") as store:
                assert store.rows == wanted
                store.append(rows)
            for row in rows:
                if row["key"] not in wanted or wanted[row["key"]].get("reason"):
                    wanted[row["key"]] = row
        again = Store(folder, "votes")
        assert again.rows == wanted
        assert again.torn == []
        assert all(key in again for key in wanted)
        streamed = list(stored_rows(folder, "votes"))
        assert len(streamed) == len(wanted)
        assert {row["key"]: row for row in streamed} == wanted


@given(st.lists(ROW, min_size=1, max_size=5), st.data())
def test_a_kill_in_the_middle_of_a_write_costs_one_line(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    """Cut anywhere, within a character too: every whole line is kept, and at most one is torn."""
    rows = [{**row, "key": str(number), "text": row["text"] + "é東"} for number, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        with Store(folder, "votes") as store:
            store.append(rows)
        (path,) = (Path(folder) / "votes").iterdir()
        content = path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        whole = path.read_bytes().count(b"\n")
        cut = Store(folder, "votes")
        assert list(cut.rows.values())[:whole] == rows[:whole]
        assert {row["key"]: row for row in stored_rows(folder, "votes")} == cut.rows
        # The last line may lack nothing but its newline: then it is whole as well.
        assert len(cut.rows) + len(cut.torn) in (whole, whole + 1)
        # The next process leaves the torn line alone and writes to a file of its own.
        before = path.read_bytes()
        with cut:
            cut.append(rows[whole:])
        assert path.read_bytes() == before
        assert Store(folder, "votes").rows == {row["key"]: row for row in rows}


@pytest.mark.parametrize("line", [b"17", b"[1]", b'"key"', b"{}", b"null", b"\xff\xfe", b'{"key": "x"', b"\x00" * 64])
def test_a_line_that_is_no_row_is_counted(line: bytes, tmp_path: Path) -> None:
    with Store(tmp_path, "votes") as store:
        store.append([{"key": "a"}])
    (tmp_path / "votes" / "z.jsonl").write_bytes(b'{"key": "b"}\n' + line + b'\n{"key": "c"}\n')
    store = Store(tmp_path, "votes")
    assert sorted(store.rows) == ["a", "b", "c"]
    assert store.torn == [f"{tmp_path}/votes/z.jsonl:2"]


def test_a_disk_that_takes_a_part_gets_the_rest(tmp_path: Path) -> None:
    class Stingy:
        """Takes three bytes at a time, as a raw file may."""

        taken = b""

        def write(self, data: Any) -> int:
            self.taken += bytes(data[:3])
            return min(3, len(data))

        def fileno(self) -> int:
            return 1

    store, file = Store(tmp_path, "votes"), Stingy()
    store._file = file
    store.append([{"key": "a", "text": "é" * 20}, {"key": "b"}])
    assert [json.loads(line)["key"] for line in file.taken.decode().splitlines()] == ["a", "b"]


WRITER = """
import sys
from rlaif.files.store import Store
with Store(sys.argv[1], "votes") as store:
    for number in range(400):
        store.append([{"key": f"{sys.argv[2]}-{number}-{part}", "text": "x" * 3000} for part in range(3)])
"""


def test_processes_write_to_one_store_at_once(tmp_path: Path) -> None:
    names = [str(number) for number in range(3)]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, name], env=rlaif_env()) for name in names]
    store = Store(tmp_path, "votes")
    while any(writer.poll() is None for writer in writers):
        store.refresh()  # reading while others write sees whole rows, and at most one torn line of each
        assert all(len(row["text"]) == 3000 for row in store.rows.values())
        assert len(store.torn) <= 3
        time.sleep(0.01)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    store.refresh()
    assert (len(store.rows), store.torn) == (3 * 400 * 3, [])


# A judge that is slow, notes what it was asked, and favours the longer response and the one shown first.
SLOW_JUDGE = """
import os, time
def judge(prompt, first, second):
    with open(os.environ["ASKED"], "ab", buffering=0) as asked:
        asked.write(repr((prompt, first, second)).encode() + b"\\n")
    time.sleep(float(os.environ.get("SLEEP", "0.004")))
    return round(min(0.95, max(0.05, 0.55 + 0.01 * (len(first) - len(second)))), 3)
"""


def asked(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def stored(output: Path) -> dict[str, dict[str, Any]]:
    return Store(output, "votes").rows


def judged_and_killed(
    arguments: list[object], output: Path, seed: int, kills: int, total: int, **env: str
) -> list[set[str]]:
    """Runs `rlaif judge`, kills it at random moments, and lets it finish; the keys stored at each kill."""
    rng, kept = random.Random(seed), []
    for kill in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-m", "rlaif", *map(str, arguments)], env=rlaif_env(**env), stderr=subprocess.DEVNULL
        )
        goal = rng.randint(total * kill // kills, total * (kill + 1) // kills - total // 8)
        wait_until(lambda goal=goal: len(stored(output)) >= goal)
        time.sleep(rng.uniform(0, 0.02))
        assert process.poll() is None, "it finished before it could be killed"
        process.kill()
        process.wait()
        assert not (output / "judgments.jsonl").exists()
        kept.append(set(stored(output)))
    done = rlaif(*arguments, **env)
    assert done.returncode == 0, done.stderr
    kept.append(set(stored(output)))
    return kept


@pytest.mark.parametrize("seed", [0, 1])
def test_a_killed_run_asks_nothing_twice_and_ends_with_the_same_bytes(seed: int, tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(60))
    (tmp_path / "slow_judge.py").write_text(SLOW_JUDGE)
    path = os.pathsep.join([str(tmp_path), rlaif_env()["PYTHONPATH"]])

    def arguments(output: Path) -> list[object]:
        model = ["--judge", "scripted", "--judge_model", "slow_judge:judge"]
        return ["judge", "--pairs", pairs, *model, "--output", output]

    whole = {"ASKED": str(tmp_path / "whole"), "PYTHONPATH": path, "SLEEP": "0"}
    assert rlaif(*arguments(tmp_path / "one"), **whole).returncode == 0
    killed = {"ASKED": str(tmp_path / "killed"), "PYTHONPATH": path}
    kept = judged_and_killed(arguments(tmp_path / "two"), tmp_path / "two", seed, 3, 120, **killed)

    assert len(asked(tmp_path / "whole")) == len(set(asked(tmp_path / "whole"))) == 120
    assert set(asked(tmp_path / "killed")) == set(asked(tmp_path / "whole"))
    # A kill loses at most the one question that was being answered.
    assert 120 <= len(asked(tmp_path / "killed")) <= 123
    assert [len(keys) for keys in kept] == sorted(len(keys) for keys in kept)
    assert (tmp_path / "one" / "judgments.jsonl").read_bytes() == (tmp_path / "two" / "judgments.jsonl").read_bytes()
    report = json.loads((tmp_path / "two" / "report.json").read_text())
    assert report["votes_reused"] == len(kept[-2])
    assert report["votes_asked"] == 120 - len(kept[-2])

    # Once more: everything is there, nothing is asked.
    before = asked(tmp_path / "killed")
    assert rlaif(*arguments(tmp_path / "two"), **killed).returncode == 0
    assert asked(tmp_path / "killed") == before


def test_a_killed_api_run_buys_nothing_twice(server: Server, tmp_path: Path) -> None:
    server.latency = 0.02
    server.answer = lambda body, number: "12"[len(body["messages"][-1]["content"]) % 2]
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(60))

    def arguments(output: Path) -> list[object]:
        model = ["--judge", "api", "--judge_model", "m", "--base_url", server.url, "--concurrency", 4]
        return ["judge", "--pairs", pairs, *model, "--output", output]

    assert rlaif(*arguments(tmp_path / "one")).returncode == 0
    assert len(server.bodies) == len(set(server.questions())) == 120
    server.bodies.clear()
    kept = judged_and_killed(arguments(tmp_path / "two"), tmp_path / "two", 5, 2, 120)
    assert len(kept[-1]) == len(set(server.questions())) == 120
    assert len(server.bodies) <= 120 + 2 * 5  # what was in flight when it was killed
    rows = [row for path in (tmp_path / "two" / "votes").iterdir() for row in rows_of(path)]
    assert len(rows) == len({row["key"] for row in rows}) == 120
    assert (tmp_path / "one" / "judgments.jsonl").read_bytes() == (tmp_path / "two" / "judgments.jsonl").read_bytes()


def test_a_torn_last_line_is_reported_asked_again_and_nothing_else(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", [{**row, "id": f"{i}-東京"} for i, row in enumerate(some_pairs(10))])
    (tmp_path / "slow_judge.py").write_text(SLOW_JUDGE)
    env = {"ASKED": str(tmp_path / "asked"), "SLEEP": "0"}
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), rlaif_env()["PYTHONPATH"]])
    model = ["--judge", "scripted", "--judge_model", "slow_judge:judge"]
    arguments = ["judge", "--pairs", pairs, *model, "--output", tmp_path / "out"]
    assert rlaif(*arguments, **env).returncode == 0
    judgments = (tmp_path / "out" / "judgments.jsonl").read_bytes()
    (path,) = (tmp_path / "out" / "votes").iterdir()
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex("東".encode()) + 1])  # within a character of the last row
    (tmp_path / "asked").unlink()
    done = rlaif(*arguments, **env)
    assert done.returncode == 0
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert f"1 line(s) in the store are cut off or unreadable (first: {path}:20)" in warnings[0]
    assert len(asked(tmp_path / "asked")) == 1
    assert (tmp_path / "out" / "judgments.jsonl").read_bytes() == judgments


def test_two_runs_on_one_folder_at_once(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(40))
    model = ["--judge", "scripted", "--judge_model", "rlaif.judging.scripted:longer"]
    arguments = [sys.executable, "-m", "rlaif", "judge", "--pairs", pairs, *model, "--output", tmp_path / "out"]
    runs = [subprocess.Popen(arguments, env=rlaif_env(), stderr=subprocess.PIPE, stdout=subprocess.PIPE) for _ in "123"]
    for run in runs:
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 0, errors
    assert len(rows_of(tmp_path / "out" / "judgments.jsonl")) == 40
    assert (len(stored(tmp_path / "out")), Store(tmp_path / "out", "votes").torn) == (80, [])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *["judgments.jsonl", "manifest.json", "report.json", "votes"]
    ]


def test_unreadable_answers_are_kept_until_they_are_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: "Neither." if "Question 1:" in body["messages"][-1]["content"] else "1"
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(3))
    model = ["--judge", "api", "--judge_model", "m", "--base_url", server.url]
    arguments = ["judge", "--pairs", pairs, *model, "--output", tmp_path / "out"]
    assert rlaif(*arguments).returncode == 0
    assert [row["z"] for row in rows_of(tmp_path / "out" / "judgments.jsonl")] == [0.5, None, 0.5]
    calls = len(server.bodies)
    assert calls == 4 + 2 * 4  # each unreadable answer was asked for three times more
    assert rlaif(*arguments).returncode == 0
    assert len(server.bodies) == calls
    server.answer = lambda body, number: "1"
    assert rlaif(*arguments, "--retry_unjudged").returncode == 0
    assert len(server.bodies) == calls + 2
    assert [row["z"] for row in rows_of(tmp_path / "out" / "judgments.jsonl")] == [0.5, 0.5, 0.5]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(2))
    (tmp_path / "out").write_text("a file")
    model = ["--judge", "scripted", "--judge_model", "rlaif.judging.scripted:longer"]
    line = refused(rlaif("judge", "--pairs", pairs, *model, "--output", tmp_path / "out"))
    assert str(tmp_path / "out") in line


def test_a_manifest_says_what_ran(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(2))
    write_manifest(tmp_path, "rlaif judge", {"limit": None, "pairs": pairs, "timeout": 1.5}, [pairs, "some/dataset"])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["config"] == {"limit": None, "pairs": str(pairs), "timeout": 1.5}
    assert manifest["inputs"]["some/dataset"] == "some/dataset"
    assert manifest["inputs"][str(pairs)].startswith("sha256:")
    assert manifest["versions"]["torch"].startswith("2.")
    assert 0.0 < elapsed() < 86_400
