"""What was paid for stays, whatever happens to the process that paid for it: real kills, torn lines, company."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Server, forks, here, refused, rlaif_env, rows_of, some_pairs, wait_until, write_rows

from rlaif.files.manifest import elapsed, write_manifest
from rlaif.files.occupied import occupied
from rlaif.files.store import Store
from rlaif.records import content_hash

KEYS = {name: content_hash(name) for name in "abcdefgh"}
A, B, C = (KEYS[name] for name in "abc")
ROW = st.fixed_dictionaries(
    {"key": st.sampled_from(sorted(KEYS.values())), "text": st.text(st.characters(codec="utf-8"))},
    optional={"answered": st.just(False), "p": st.floats(0, 1), "reason": st.sampled_from(["failed", None])},
)


def by_key(store: Store) -> dict[str, dict[str, Any]]:
    rows = list(store.rows())
    found = {row["key"]: row for row in rows}
    assert len(found) == len(rows) == len(store)
    assert all(store.get(key) == row for key, row in found.items())
    return found


@given(st.lists(st.lists(ROW, max_size=4), max_size=6), st.booleans())
def test_what_is_stored_is_read_again(appends: list[list[dict[str, Any]]], on_disk: bool) -> None:
    """Several processes append; a reader sees what they saw. The first answer to a key stays, unless it had failed."""
    wanted: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        memory = Store(None)
        for rows in appends:
            store = Store(folder) if on_disk else memory
            assert by_key(store) == wanted
            store.append(rows)
            for row in rows:
                if row["key"] not in wanted or wanted[row["key"]].get("answered") is False:
                    wanted[row["key"]] = row
            assert by_key(store) == wanted
            if on_disk:
                store.close()
        again = Store(folder) if on_disk else memory
        assert by_key(again) == wanted
        assert again.torn == []
        assert all(key in again for key in wanted)
        assert [again.find(key) for key in KEYS.values() if key not in wanted] == [None] * (8 - len(wanted))
        again.close()


@given(st.lists(ROW, min_size=1, max_size=5), st.data())
def test_a_kill_in_the_middle_of_a_write_costs_one_line(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    """Cut anywhere, within a character too: every whole line is kept, and at most one is torn."""
    rows = [{**row, "key": content_hash(number), "text": row["text"] + "é東"} for number, row in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        with Store(folder) as store:
            store.append(rows)
        (path,) = (Path(folder) / "replies").iterdir()
        content = path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        whole = path.read_bytes().count(b"\n")
        cut = Store(folder)
        kept = by_key(cut)
        assert list(kept.values())[:whole] == rows[:whole]
        # The last line may lack nothing but its newline: then it is whole as well.
        assert len(kept) + len(cut.torn) in (whole, whole + 1)
        assert cut.torn in ([], [f"{path}:{whole + 1}"])
        # The next process leaves the torn line alone and writes to a file of its own.
        before = path.read_bytes()
        with cut:
            cut.append(rows[whole:])
            wanted = {row["key"]: row for row in rows}
            assert by_key(cut) == wanted
        assert path.read_bytes() == before
        with Store(folder) as again:
            assert by_key(again) == wanted


@pytest.mark.parametrize(
    "line",
    [
        *[b"17", b"[1]", b'"key"', b"{}", b"null", b"\xff\xfe", b'{"key": "x"', b"\x00" * 64, b'{"key": "short"}'],
        *[b'{"key": 7}', b'{"batch": 7}', b'{"key": "' + b"z" * 32 + b'"}', b'{"key": "' + A.encode() + b'"'],
    ],
)
def test_a_line_that_is_no_row_is_counted(line: bytes, tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append([{"key": A}])
    rows = [json.dumps({"key": key}).encode() + b"\n" for key in (B, C)]
    (tmp_path / "replies" / "z.jsonl").write_bytes(rows[0] + line + b"\n\n" + rows[1])
    with Store(tmp_path) as store:
        assert sorted(by_key(store)) == sorted([A, B, C])
        assert store.torn == [f"{tmp_path}/replies/z.jsonl:2"]


@pytest.mark.parametrize("broken", [b"\x00" * 16, b'": nonsense, "', b"\xff\xfe\xff"])
def test_a_row_broken_in_its_middle_is_found_when_it_is_read(broken: bytes, tmp_path: Path) -> None:
    """Whole at both ends, so that opening the store tells nothing; what is written for it then takes its place."""
    rows = [{"key": key, "text": f"the text of {key}" * 9} for key in (A, B, C)]
    with Store(tmp_path) as store:
        store.append(rows)
    (path,) = (tmp_path / "replies").iterdir()
    content = path.read_bytes()
    at = content.index(B.encode()) + 80
    path.write_bytes(content[:at] + broken + content[at + len(broken) :])
    for read_all in (False, True):
        with Store(tmp_path) as store:
            assert store.torn == []
            assert [row["key"] for row in store.rows()] == [A, C] if read_all else store.find(B) is None
            assert store.torn == [f"{path} at byte {content.index(B.encode()) - 9}"]
            assert B not in store
            assert by_key(store) == {A: rows[0], C: rows[2]}
    with Store(tmp_path) as store:
        assert store.get(B) is None
        store.append([rows[1]])
        assert store.find(B) == (rows[1], False)
    for read_all in (False, True):  # a later process: the broken row comes first, the whole one counts
        with Store(tmp_path) as store:
            if read_all:
                assert [row["key"] for row in store.rows()] == [A, C, B]
            assert store.find(B) == (rows[1], True)
            assert len(store.torn) == 1


def test_rows_from_before_are_told_from_new_ones(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append([{"key": A}])
        assert store.find(A) == ({"key": A}, False)
        store.mark()
        assert store.find(A) == ({"key": A}, True)
        assert store.added == 1
    with Store(tmp_path) as store, Store(tmp_path) as other:
        assert (store.added, store.find(A)) == (0, ({"key": A}, True))
        other.append([{"key": B}])
        store.append([{"key": C}])
        assert B not in store
        store.refresh()  # another process's rows
        assert store.find(B) == ({"key": B}, False)
        assert (store.added, other.added) == (2, 1)
        store.mark()
        assert [store.find(key) for key in (A, B, C)] == [({"key": key}, True) for key in (A, B, C)]
        other.append([{"key": KEYS["d"]}, {"key": B, "late": True}])
        store.refresh()
        store.refresh()
        assert store.find(KEYS["d"]) == ({"key": KEYS["d"]}, False)
        assert (store.find(B), store.added, len(store)) == (({"key": B}, True), 4, 4)
    memory = Store(None)
    memory.append([{"key": A}])
    memory.mark()
    memory.append([{"key": B}])
    assert [memory.find(key) for key in (A, B, C)] == [({"key": A}, True), ({"key": B}, False), None]
    assert (memory.folder, memory.torn, memory.added, len(memory)) == (None, [], 2, 2)
    memory.begin([[A, B]])
    memory.refresh()
    assert [row["key"] for row in memory.rows()] == [A, B]
    assert list(tmp_path.iterdir()) == [tmp_path / "replies"]


def test_a_failed_row_alone_is_replaced(tmp_path: Path) -> None:
    """Only one that says `answered: false` is weak: a reason, as of a refused question, is an answer."""
    failed = {"key": A, "answered": False, "reason": "no connection"}
    rows = [failed, {"key": B, "reason": "too long"}, {"key": A, "text": "1"}, {"key": B, "text": "2"}]
    for one_process in (True, False):
        folder = tmp_path / str(one_process)
        for part in [rows] if one_process else [[row] for row in rows]:
            with Store(folder) as store:
                store.append(part)
        with Store(folder) as store:
            assert by_key(store) == {A: {"key": A, "text": "1"}, B: {"key": B, "reason": "too long"}}
            store.append([failed])  # nor does a later failure replace an answer
            assert store.get(A) == {"key": A, "text": "1"}
    with Store(tmp_path / "failed") as store:
        store.append([failed, {**failed, "reason": "again"}])
        assert store.get(A) == {**failed, "reason": "again"}


def test_more_files_than_can_be_open(tmp_path: Path) -> None:
    """Every process of every run leaves a file: 150 of them, read in any order."""
    keys = [content_hash(number) for number in range(150)]
    for number, key in enumerate(keys):
        write_rows(tmp_path / "replies" / f"{number:03}-host-1.jsonl", [{"key": key, "text": "é" * number}])
    before = psutil.Process().num_fds()
    with Store(tmp_path) as store:
        for turn in range(2):
            order = random.Random(turn).sample(range(150), 150)
            assert [store.find(keys[number]) for number in order] == [
                ({"key": keys[number], "text": "é" * number}, True) for number in order
            ]
            assert psutil.Process().num_fds() - before < 80
            store.append([{"key": content_hash(f"new {turn}")}])
        assert [row["key"] for row in store.rows()][:150] == keys
        assert len(store) == 152
    assert psutil.Process().num_fds() == before


def test_a_batch_that_was_begun_is_remembered_until_it_is_whole(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.begin([[A, B, C], [KEYS["d"]], [KEYS["e"], KEYS["f"]]])  # a batch of one needs no note
        store.append([{"key": A}, {"key": KEYS["e"]}, {"key": KEYS["f"]}])
    (path,) = (tmp_path / "replies").iterdir()
    assert [list(row) for row in rows_of(path)] == [["batch"], ["batch"], ["key"], ["key"], ["key"]]
    with Store(tmp_path) as store:
        assert store.planned == dict.fromkeys((A, B, C), (A, B, C))
        assert (sorted(by_key(store)), store.torn) == (sorted([A, KEYS["e"], KEYS["f"]]), [])
        store.append([{"key": B}, {"key": C}])
    with Store(tmp_path) as store:
        assert store.planned == {}
    content = path.read_bytes()
    path.write_bytes(content[:60])  # a kill while the note was being written
    with Store(tmp_path) as store:
        assert (store.planned, store.torn, sorted(by_key(store))) == ({}, [f"{path}:1"], sorted([B, C]))


def test_a_process_that_answered_nothing_takes_its_notes_from_one_that_has_read_them(tmp_path: Path) -> None:
    begun, keys = Store(tmp_path), ["0" * 32, "1" * 32]
    begun.begin([keys])
    with Store(tmp_path) as store:
        store._readers.popitem()[1].close()  # as many other files have it closed
        begun.close()
        store.refresh()
        store.append([{"key": keys[0], "value": 1}])
        assert [row["value"] for row in store.rows()] == [1]
        store._forget(keys[1])


def test_a_disk_that_takes_a_part_gets_the_rest(tmp_path: Path) -> None:
    class Stingy:
        """Takes three bytes at a time, as a raw file may."""

        taken = b""

        def write(self, data: Any) -> int:
            self.taken += bytes(data[:3])
            return min(3, len(data))

        def fileno(self) -> int:
            return 1

    store, file = Store(tmp_path), Stingy()
    store._writer, store._own = file, store._add_file(tmp_path / "replies" / "x.jsonl")
    store.append([{"key": A, "text": "é" * 20}, {"key": B}])
    assert [json.loads(line)["key"] for line in file.taken.decode().splitlines()] == [A, B]


WRITER = """
import sys
from rlaif.files.store import Store
from rlaif.records import content_hash
with Store(sys.argv[1]) as store:
    for number in range(400):
        store.append([{"key": content_hash(sys.argv[2], number, part), "text": "x" * 3000} for part in range(3)])
"""


def test_processes_write_to_one_store_at_once(tmp_path: Path) -> None:
    names = [str(number) for number in range(3)]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, name], env=rlaif_env()) for name in names]
    with Store(tmp_path) as store:
        while any(writer.poll() is None for writer in writers):
            store.refresh()  # reading while others write sees whole rows, and at most one torn line of each
            assert len(store.torn) <= 3
            assert all(len(row["text"]) == 3000 for row in store.rows())
            time.sleep(0.01)
        assert [writer.returncode for writer in writers] == [0, 0, 0]
        store.refresh()
        assert (len(store), store.added, store.torn) == (3 * 400 * 3, 3 * 400 * 3, [])
        assert store.find(content_hash("2", 399, 2)) is not None


# A judge that is slow, notes what it was asked, and favours the longer response and the one shown first. After three
# answers it waits until the file GATE is there, if that is set.
SLOW_JUDGE = """
import os, time
answered = []
def judge(prompt, first, second):
    with open(os.environ["ASKED"], "ab", buffering=0) as asked:
        asked.write(repr((prompt, first, second)).encode() + b"\\n")
    time.sleep(float(os.environ.get("SLEEP", "0.004")))
    answered.append(prompt)
    while len(answered) > 3 and not os.path.exists(os.environ.get("GATE", __file__)):
        time.sleep(0.01)
    return round(min(0.95, max(0.05, 0.55 + 0.01 * (len(first) - len(second)))), 3)
"""
FINISHED = ["judgments.jsonl", "manifest.json", "replies", "report.json", "votes.jsonl"]


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def asked(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def stored(output: Path) -> dict[str, dict[str, Any]]:
    with Store(output) as store:
        return {row["key"]: row for row in store.rows()}


def slow_judge(folder: Path, name: str = "asked", sleep: str = "0.004") -> tuple[list[str], dict[str, str]]:
    """The options that name the slow judge, and the environment in which it is found."""
    (folder / "slow_judge.py").write_text(SLOW_JUDGE)
    path = os.pathsep.join([str(folder), rlaif_env()["PYTHONPATH"]])
    return ["--judge", "slow_judge:judge"], {"ASKED": str(folder / name), "SLEEP": sleep, "PYTHONPATH": path}


def judged_and_killed(
    arguments: list[object], output: Path, seed: int, kills: int, total: int, **env: str
) -> list[set[str]]:
    """Runs `rlaif judge`, kills it at random moments, and lets it finish; the keys stored at each kill."""
    rng, kept = random.Random(seed), []
    for kill in range(kills):
        process = forks.start(*arguments, **env)
        goal = rng.randint(total * kill // kills, total * (kill + 1) // kills - total // 8)
        wait_until(lambda goal=goal: len(stored(output)) >= goal)
        time.sleep(rng.uniform(0, 0.02))
        assert process.poll() is None, "it finished before it could be killed"
        process.kill()
        process.wait()
        assert not (output / "judgments.jsonl").exists()
        kept.append(set(stored(output)))
    done = here(*arguments, **env)
    assert done.returncode == 0, done.stderr
    kept.append(set(stored(output)))
    return kept


@pytest.mark.parametrize("seed", [0, 1])
def test_a_killed_run_asks_nothing_twice_and_ends_with_the_same_bytes(seed: int, tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(60))
    model, whole = slow_judge(tmp_path, "whole", "0")
    _, killed = slow_judge(tmp_path, "killed", "0.02")

    def arguments(output: Path) -> list[object]:
        return ["judge", "--pairs", pairs, *model, "--output", output]

    assert here(*arguments(tmp_path / "one"), **whole).returncode == 0
    kept = judged_and_killed(arguments(tmp_path / "two"), tmp_path / "two", seed, 3, 120, **killed)

    assert len(asked(tmp_path / "whole")) == len(set(asked(tmp_path / "whole"))) == 120
    assert set(asked(tmp_path / "killed")) == set(asked(tmp_path / "whole"))
    # A kill loses at most the one question that was being answered.
    assert 120 <= len(asked(tmp_path / "killed")) <= 123
    assert [len(keys) for keys in kept] == sorted(len(keys) for keys in kept)
    for name in ("judgments.jsonl", "votes.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    votes = rows_of(tmp_path / "two" / "votes.jsonl")
    assert {vote["key"] for vote in votes} == kept[-1]
    assert [vote["order"] for vote in votes] == ["ab", "ba"] * 60
    report = json.loads((tmp_path / "two" / "report.json").read_text())
    assert report["votes_reused"] == len(kept[-2])
    assert report["votes_asked"] == 120 - len(kept[-2])
    # Of the killed runs no mark is left, no half-written file and nothing else.
    assert listed(tmp_path / "two") == listed(tmp_path / "one") == FINISHED

    # Once more: everything is there, nothing is asked.
    before = asked(tmp_path / "killed")
    assert here(*arguments(tmp_path / "two"), **killed).returncode == 0
    assert asked(tmp_path / "killed") == before


def test_a_killed_api_run_buys_nothing_twice(server: Server, tmp_path: Path) -> None:
    server.latency = 0.05
    server.answer = lambda body, number: "12"[len(body["messages"][-1]["content"]) % 2]
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(60))

    def arguments(output: Path) -> list[object]:
        model = ["--judge", "api", "--judge_model", "m", "--base_url", server.url, "--concurrency", 4]
        return ["judge", "--pairs", pairs, *model, "--output", output]

    assert here(*arguments(tmp_path / "one")).returncode == 0
    assert len(server.bodies) == len(set(server.questions())) == 120
    server.bodies.clear()
    kept = judged_and_killed(arguments(tmp_path / "two"), tmp_path / "two", 5, 2, 120)
    assert len(kept[-1]) == len(set(server.questions())) == 120
    assert len(server.bodies) <= 120 + 2 * 5  # what was in flight when it was killed
    rows = [row for path in (tmp_path / "two" / "replies").iterdir() for row in rows_of(path)]
    assert len(rows) == len({row["key"] for row in rows}) == 120
    for name in ("judgments.jsonl", "votes.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_torn_last_line_is_reported_asked_again_and_nothing_else(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", [{**row, "id": f"{i}-東京"} for i, row in enumerate(some_pairs(10))])
    model, env = slow_judge(tmp_path, sleep="0")
    arguments = ["judge", "--pairs", pairs, *model, "--output", tmp_path / "out"]
    assert here(*arguments, **env).returncode == 0
    judgments = (tmp_path / "out" / "judgments.jsonl").read_bytes()
    (path,) = (tmp_path / "out" / "replies").iterdir()
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b'"text"') + 9])  # within the last row
    (tmp_path / "asked").unlink()
    done = here(*arguments, **env)
    assert done.returncode == 0
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert f"1 line(s) in the store are cut off or unreadable (first: {path}:20)" in warnings[0]
    assert len(asked(tmp_path / "asked")) == 1
    assert (tmp_path / "out" / "judgments.jsonl").read_bytes() == judgments


def test_a_row_broken_in_its_middle_is_asked_again_once(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(10))
    model, env = slow_judge(tmp_path, sleep="0")
    arguments = ["judge", "--pairs", pairs, *model, "--output", tmp_path / "out"]
    assert here(*arguments, **env).returncode == 0
    votes = (tmp_path / "out" / "votes.jsonl").read_bytes()
    (path,) = (tmp_path / "out" / "replies").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[7] = lines[7][:44] + b"\x00" * 8 + lines[7][52:]
    path.write_bytes(b"".join(lines))
    for calls in (1, 0):
        (tmp_path / "asked").write_text("")
        assert here(*arguments, **env).returncode == 0
        assert len(asked(tmp_path / "asked")) == calls
        assert (tmp_path / "out" / "votes.jsonl").read_bytes() == votes


# One command in a folder at a time.


def test_a_second_run_in_a_folder_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(40))
    model, env = slow_judge(tmp_path)
    arguments = ["judge", "--pairs", pairs, *model, "--output", tmp_path / "out"]
    gate = tmp_path / "gate"
    first = forks.start(*arguments, **env, GATE=str(gate))
    wait_until(lambda: len(asked(tmp_path / "asked")) == 4)
    files = listed(tmp_path / "out")
    for again in ([], ["--reread"]):
        line = refused(here(*arguments, *again, **env), 1)
        assert f"{tmp_path / 'out'} is in use by another command (rlaif judge, process {first.pid} on " in line
    assert first.poll() is None
    assert listed(tmp_path / "out") == files
    gate.touch()
    out, errors = first.communicate(timeout=60)
    assert first.returncode == 0, errors
    assert f"in {tmp_path / 'out'}" in out
    assert len(asked(tmp_path / "asked")) == len(stored(tmp_path / "out")) == 80
    assert len(rows_of(tmp_path / "out" / "judgments.jsonl")) == 40
    assert listed(tmp_path / "out") == FINISHED
    assert len(list((tmp_path / "out" / "replies").iterdir())) == 1
    assert here(*arguments, **env).returncode == 0  # now the folder is free


def test_the_mark_of_a_killed_run_stops_nobody(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(10))
    model, env = slow_judge(tmp_path, sleep="0.1")
    arguments = ["judge", "--pairs", pairs, *model, "--output", tmp_path / "out"]
    first = forks.start(*arguments, **env)
    wait_until(lambda: len(asked(tmp_path / "asked")) > 2)
    first.kill()
    first.communicate()
    assert (tmp_path / "out" / ".in-use").exists()
    done = here(*arguments, **{**env, "SLEEP": "0"})
    assert done.returncode == 0, done.stderr
    assert listed(tmp_path / "out") == FINISHED


def mark(folder: Path, **changed: Any) -> Path:
    """The mark of this process, but for what is changed."""
    own = {"what": "rlaif judge", "host": socket.gethostname(), "pid": os.getpid()}
    own["started"] = round(psutil.Process().create_time(), 1)
    (folder / ".in-use").write_text(json.dumps({**own, **changed}))
    return folder / ".in-use"


def a_dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def aged(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_folder_is_occupied_until_the_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a" / "new"
    with occupied(folder, "first"):
        assert json.loads((folder / ".in-use").read_text())["pid"] == os.getpid()
        in_use = r"new is in use by another command \(first, process \d+ on .*\); wait"
        with pytest.raises(ValueError, match=in_use), occupied(folder, "second"):
            raise AssertionError
        assert listed(folder) == [".in-use"]
        monkeypatch.setenv("RANK", "1")
        with occupied(folder, "the launcher's other process"):
            assert listed(folder) == [".in-use"]
        assert listed(folder) == [".in-use"]
        monkeypatch.delenv("RANK")
    assert listed(folder) == []
    (folder / "rows.jsonl.7.partial").write_text("half a r")  # of a process that was killed
    with occupied(folder, "third"):
        assert listed(folder) == [".in-use"]
    with pytest.raises(ZeroDivisionError), occupied(folder, "fourth"):
        raise ZeroDivisionError
    assert listed(folder) == []


def test_a_mark_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlaif.files.occupied._BEAT", 0.01)
    with occupied(tmp_path, "first"):
        aged(tmp_path / ".in-use", 1000)
        wait_until(lambda: time.time() - (tmp_path / ".in-use").stat().st_mtime < 100)


HOLDERS: list[tuple[dict[str, Any], float, bool]] = [
    ({}, 0, True),  # this process
    ({}, 1000, True),  # on this machine its age says nothing
    ({"started": 1.0}, 0, False),  # its number is another process's now
    ({"started": None}, 0, False),
    ({"host": "elsewhere"}, 0, True),
    ({"host": "elsewhere"}, 100, True),
    ({"host": "elsewhere"}, 130, False),
    ({"host": "elsewhere", "pid": 1 << 30}, 0, True),
]


@pytest.mark.parametrize(("changed", "age", "held"), HOLDERS)
def test_who_holds_a_mark(changed: dict[str, Any], age: float, held: bool, tmp_path: Path) -> None:
    aged(mark(tmp_path, **changed), age)
    before = (tmp_path / ".in-use").read_bytes()
    if held:
        with pytest.raises(ValueError, match="is in use by another command"), occupied(tmp_path, "x"):
            raise AssertionError
        assert (tmp_path / ".in-use").read_bytes() == before
    else:
        with occupied(tmp_path, "x"):
            assert json.loads((tmp_path / ".in-use").read_text())["what"] == "x"
        before = b""
    assert listed(tmp_path) == ([".in-use"] if held else [])


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    mark(tmp_path, pid=a_dead_process())
    with occupied(tmp_path, "x"):
        pass
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_ZOMBIE)
    mark(tmp_path, pid=zombie.pid, started=round(psutil.Process(zombie.pid).create_time(), 1))
    with occupied(tmp_path, "x"):  # it has ended, though nobody has asked how
        pass
    zombie.wait()
    assert listed(tmp_path) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"host": "x"}', '{"host": "x", "pid": "y"}', "\x00" * 9])
def test_garbage_in_a_mark(content: str, tmp_path: Path) -> None:
    """It may be one that is just being written; two minutes later it is not."""
    (tmp_path / ".in-use").write_text(content)
    with (
        pytest.raises(ValueError, match=r"in use by another command \(which began \d s ago\)"),
        occupied(tmp_path, "x"),
    ):
        raise AssertionError
    aged(tmp_path / ".in-use", 130)
    with occupied(tmp_path, "x"):
        pass
    assert listed(tmp_path) == []


TAKER = """
import sys, time
from pathlib import Path
from rlaif.files.occupied import occupied
folder, go, end = map(Path, sys.argv[1:])
print("ready", flush=True)
while not go.exists():
    pass
try:
    with occupied(folder, "taker"):
        print("won", flush=True)
        while not end.exists():
            time.sleep(0.01)
except ValueError as error:
    print("lost" if "in use by another command" in str(error) else error, flush=True)
"""


@pytest.mark.parametrize("kind", ["dead", "garbage", "none"])
def test_of_two_takers_of_a_dead_mark_one_wins(kind: str, tmp_path: Path) -> None:
    program = tmp_path / "taker.py"
    program.write_text(TAKER)
    for turn in range(4):
        folder, go, end = (tmp_path / f"{name}{turn}" for name in ("out", "go", "end"))
        folder.mkdir()
        if kind == "dead":
            mark(folder, pid=a_dead_process())
        elif kind == "garbage":
            (folder / ".in-use").write_text("{")
            aged(folder / ".in-use", 1000)
        takers = [forks.start(folder, go, end, program=program) for _ in range(2)]
        wait_until(lambda takers=takers: [taker.printed() for taker in takers] == ["ready\n"] * 2)
        go.touch()
        wait_until(lambda takers=takers: all(taker.printed().count("\n") == 2 for taker in takers))
        assert listed(folder) == [".in-use"]
        end.touch()
        printed = [taker.communicate() for taker in takers]
        assert sorted(printed) == [("ready\nlost\n", ""), ("ready\nwon\n", "")]
        assert listed(folder) == []


def test_an_interrupted_run_says_so_and_goes_on_with_the_same_command(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(10))
    model, env = slow_judge(tmp_path, sleep="0.4")
    arguments = ["judge", "--pairs", pairs, *model, "--output", tmp_path / "out"]
    first = forks.start(*arguments, **env)
    wait_until(lambda: len(asked(tmp_path / "asked")) > 3)
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=30)
    assert first.returncode == 4, errors
    lines = [line for line in errors.splitlines() if line and "%|" not in line]
    assert lines == ["error: interrupted; what was stored is kept, and the same command goes on from there."]
    assert listed(tmp_path / "out") == [".written-by", "replies"]
    kept = set(stored(tmp_path / "out"))
    assert 3 <= len(kept) < 20
    done = here(*arguments, **{**env, "SLEEP": "0"})
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["votes_reused"], report["votes_asked"]) == (len(kept), 20 - len(kept))
    assert kept < set(stored(tmp_path / "out"))
    assert listed(tmp_path / "out") == FINISHED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_api_run_keeps_what_was_answered(number: int, server: Server, tmp_path: Path) -> None:
    server.latency = 0.1
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(20))
    model = ["--judge", "api", "--judge_model", "m", "--base_url", server.url, "--concurrency", 3]
    arguments = ["judge", "--pairs", pairs, *model, "--output", tmp_path / "out"]
    first = forks.start(*arguments)
    wait_until(lambda: len(server.bodies) > 8)
    first.send_signal(number)
    _, errors = first.communicate(timeout=30)
    assert first.returncode == 4, errors
    last = [line for line in errors.splitlines() if line][-1]
    assert last == "error: interrupted; what was stored is kept, and the same command goes on from there."
    assert "Traceback" not in errors
    assert "never retrieved" not in errors
    kept, calls = stored(tmp_path / "out"), len(server.bodies)
    assert calls - 4 <= len(kept) < 40
    assert all(row.get("answered", True) for row in kept.values())
    server.latency = 0.0
    assert here(*arguments).returncode == 0
    assert len(server.bodies) - calls == 40 - len(kept)
    assert listed(tmp_path / "out") == FINISHED


def test_a_folder_of_an_older_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(2))
    write_rows(tmp_path / "out" / "votes" / "x.jsonl", [{"key": A}])
    (tmp_path / "out" / "judgments.jsonl").write_text("")
    arguments = ["judge", "--pairs", pairs, "--judge", "rlaif.models.function:longer", "--output", tmp_path / "out"]
    for more in ([], ["--reread"]):
        line = refused(here(*arguments, *more), 1)
        assert f"{tmp_path / 'out'} holds votes of an earlier version, which can be built from and published" in line
        assert "expected a new folder" in line
    assert listed(tmp_path / "out") == ["judgments.jsonl", "votes"]
    assert rows_of(tmp_path / "out" / "votes" / "x.jsonl") == [{"key": A}]


def test_unreadable_answers_are_kept_until_they_are_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.answer = lambda body, number: "Neither." if "Question 1:" in body["messages"][-1]["content"] else "1"
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(3))
    model = ["--judge", "api", "--judge_model", "m", "--base_url", server.url]
    arguments = ["judge", "--pairs", pairs, *model, "--output", tmp_path / "out"]

    def z() -> list[float | None]:
        return [row["z"] for row in rows_of(tmp_path / "out" / "judgments.jsonl")]

    assert here(*arguments).returncode == 0
    assert z() == [0.5, None, 0.5]
    calls = len(server.bodies)
    assert calls == 4 + 2 * 4  # each unreadable answer was asked for three times more
    assert len(stored(tmp_path / "out")) == calls  # and each is kept
    assert len({body["seed"] for body in server.bodies}) == calls
    assert here(*arguments).returncode == 0
    assert len(server.bodies) == calls
    assert here(*arguments, "--retry_unjudged").returncode == 0  # unreadable once more: asked once, and kept
    assert (len(server.bodies), z()) == (calls + 2, [0.5, None, 0.5])
    server.answer = lambda body, number: "1"
    assert here(*arguments, "--retry_unjudged").returncode == 0
    assert (len(server.bodies), z()) == (calls + 4, [0.5, 0.5, 0.5])
    assert len({body["seed"] for body in server.bodies}) == calls + 4
    votes = (tmp_path / "out" / "votes.jsonl").read_bytes()
    for more in ([], ["--retry_unjudged"], ["--reread"]):  # what that brought stays
        assert here(*arguments, *more).returncode == 0
        assert (len(server.bodies), z()) == (calls + 4, [0.5, 0.5, 0.5])
        assert (tmp_path / "out" / "votes.jsonl").read_bytes() == votes


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    pairs = write_rows(tmp_path / "pairs.jsonl", some_pairs(2))
    (tmp_path / "out").write_text("a file")
    model = ["--judge", "scripted", "--judge_model", "rlaif.models.function:longer"]
    line = refused(here("judge", "--pairs", pairs, *model, "--output", tmp_path / "out"))
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
