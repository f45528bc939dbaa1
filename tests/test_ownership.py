"""What a command may write into: a new folder, its own earlier output, or nothing; a refusal changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT, here, refused, some_pairs, write_rows

import rlaif
from rlaif.files.ownership import begin, check_output, claim, claim_file, commands_of
from rlaif.files.sources import fingerprint

JUDGE = ("--judge", "scripted", "--judge_model", "rlaif.models.function:longer")


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything under a folder: the bytes of a file, None for a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of the real commands: pairs.jsonl, judged, preferences, converted.jsonl, world."""
    folder = tmp_path_factory.mktemp("made")
    write_rows(folder / "pairs.jsonl", some_pairs(20))
    for words in (
        ("judge", "--pairs", folder / "pairs.jsonl", *JUDGE, "--output", folder / "judged"),
        ("build", "--judgments", folder / "judged", "--output", folder / "preferences"),
        ("convert", "--source", folder / "judged", "--output", folder / "converted.jsonl"),
        ("sandbox", "--prompts", 5, "--evaluation", 5, "--demonstrations", 5, "--output", folder / "world"),
    ):
        done = here(*words)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `made`, which is the working directory's neighbour."""
    shutil.copytree(made, tmp_path / "work")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_rows(tmp_path / "home/notes.jsonl", [{"a": 1}])
    write_rows(tmp_path / "here/notes.jsonl", [{"a": 1}])
    return tmp_path / "work"


def command(name: str, work: Path) -> tuple[str, ...]:
    """A command that works, without its output."""
    return {
        "judge": ("judge", "--pairs", str(work / "pairs.jsonl"), *JUDGE),
        "build": ("build", "--judgments", str(work / "judged")),
        "sandbox": ("sandbox", "--prompts", "5", "--evaluation", "5", "--demonstrations", "5"),
        "convert": ("convert", "--source", str(work / "judged")),
    }[name]


# Folders --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["judge", "build", "sandbox"])
def test_its_own_earlier_output_is_written_anew(name: str, work: Path) -> None:
    folder = work / {"judge": "judged", "build": "preferences", "sandbox": "world"}[name]
    (folder / "mine.txt").write_text("beside")
    done = here(*command(name, work), "--output", folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "mine.txt").read_text() == "beside"


PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "somebody's files": (lambda work: (work / "x/data").mkdir(parents=True) or (work / "x/data/own.txt").write_text(""),
                         "holds data"),
    "another command's output": (lambda work: (work / "world").rename(work / "x"), r"is what `rlaif sandbox` wrote"),
    "a file": (lambda work: (work / "x").write_text("mine"), "is a file; expected a folder"),
    "below a file": (lambda work: (work / "y").write_text("mine") and (work / "x").symlink_to(work / "y"), "is a file"),
    "a link to nothing": (lambda work: (work / "x").symlink_to(work / "nothing"), "a link to .*nothing"),
    "a link to the working directory": (lambda work: (work / "x").symlink_to(Path.cwd()), "the working directory"),
    "a link to home": (lambda work: (work / "x").symlink_to(Path.home()), "your home folder"),
    "a link to the root": (lambda work: (work / "x").symlink_to("/"), "the root of the file system"),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["judge", "build", "sandbox"])
def test_a_place_of_somebody_else_is_refused_and_nothing_changed(name: str, place: str, work: Path) -> None:
    make, message = PLACES[place]
    make(work)
    if (name, place) == ("sandbox", "another command's output"):
        (work / "x").rename(work / "world")
        (work / "judged").rename(work / "x")
        message = "is what `rlaif judge` wrote"
    before = tree(work.parent)
    words = command(name, work)
    line = refused(here(*words, "--output", work / "x"), 1)
    assert re.search(message, line), line
    assert tree(work.parent) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("build", "--judgments", "{work}/judged/judgments.jsonl", "--output", "{work}/judged"), "which is read"),
        (("build", "--judgments", "{work}/judged", "--output", "{work}/judged/"), "which is read"),
        (("build", "--judgments", "{work}/preferences/data/x.jsonl", "--output", "{work}/preferences"), "is read"),
        (("judge", "--pairs", "{work}/x/pairs.jsonl", *JUDGE, "--output", "{work}/x"), "holds .*pairs.jsonl, which is"),
        (("judge", "--pairs", "{work}/x", *JUDGE, "--output", "{work}/x/judged"), "is within .*x, which is read"),
        (("judge", "--pairs", "{work}/x", *JUDGE, "--output", "{work}/link"), "is read too"),
        (("judge", "--pairs", "{work}/pairs.jsonl", *JUDGE, "--output", "."), "the working directory"),
        (("convert", "--source", "{work}/pairs.jsonl", "--output", "{work}/pairs.jsonl"), "which is read too"),
        (("convert", "--source", "{work}/judged", "--output", "{work}/judged/x.jsonl"), "within .*judged, which"),
        (("convert", "--source", "{work}/judged", "--output", "{work}/pairs.jsonl"), "was not written by `rlaif conv"),
        (("convert", "--source", "{work}/judged", "--output", "{work}/judged"), "ends in .jsonl or .parquet"),
    ],
)  # fmt: skip
def test_what_is_read_is_never_written_over(words: tuple[str, ...], message: str, work: Path) -> None:
    (work / "x/data").mkdir(parents=True)
    (work / "link").symlink_to(work / "x")
    shutil.copy(work / "pairs.jsonl", work / "x/pairs.jsonl")
    shutil.copy(work / "judged/judgments.jsonl", work / "preferences/data/x.jsonl")
    before = tree(work.parent)
    status = 2 if message.startswith("ends in") else 1  # no folder can be such an output, whatever it holds
    line = refused(here(*(word.format(work=work) for word in words)), status)
    assert re.search(message, line), line
    assert tree(work.parent) == before


def test_no_folder_is_left_by_a_command_that_fails_before_it_writes(work: Path) -> None:
    before = tree(work.parent)
    refused(here("judge", "--pairs", work / "pairs.jsonl", "--judge", "scripted", "--judge_model",
                 "rlaif.sandbox:nothing", "--output", work / "new/judged"))  # fmt: skip
    for folder in (work / "new/deep", work / "judged"):
        with pytest.raises(FileNotFoundError), claim(folder, "rlaif judge"):
            (work / f"nothing beside {commands_of(folder)}").read_bytes()
    assert tree(work.parent) == before


def test_a_killed_run_is_known_by_its_mark_and_goes_on(work: Path) -> None:
    judged = work / "judged"
    for name in ("manifest.json", "report.json", "judgments.jsonl", "votes.jsonl"):
        (judged / name).unlink()
    (judged / ".written-by").write_text(json.dumps({"commands": ["rlaif judge"]}))
    (judged / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is what `rlaif judge` wrote"):
        check_output(judged, "rlaif sample")
    done = here(*command("judge", work), "--output", judged)
    assert done.returncode == 0, done.stderr
    report = json.loads((judged / "report.json").read_text())
    assert (report["votes_asked"], report["votes_reused"]) == (0, 40)
    assert not (judged / ".written-by").exists()  # its manifest says so now
    assert commands_of(judged) == ["rlaif judge"]


def test_a_run_that_an_earlier_version_left_unfinished_goes_on(work: Path) -> None:
    """It left no mark: replies alone are known by their names."""
    for name in ("manifest.json", "report.json", "judgments.jsonl", "votes.jsonl"):
        (work / "judged" / name).unlink()
    for storing in ("rlaif sample", "rlaif judge", "rlaif evaluate", "recipes/best_of_n.py", "recipes/ppo.py"):
        check_output(work / "judged", storing)
    with pytest.raises(ValueError, match="holds replies"):
        check_output(work / "judged", "rlaif build")
    (work / "judged/replies/mine.jsonl").write_text("{}")
    with pytest.raises(ValueError, match="holds replies"):
        check_output(work / "judged", "rlaif judge")
    checkpoint = work / "run/checkpoint-10"
    write_rows(checkpoint / "trainer_state.json", [{}])
    (work / "run/checkpoint-20").mkdir()  # a kill right after it was made
    card = (
        "---\nlibrary_name: transformers\nmodel_name: run\ntags:\n- generated_from_trainer\n- sft\n- trl\n---\n# Run\n"
    )
    (work / "run/README.md").write_text(card)  # TRL wrote one beside every checkpoint
    for saved in ("config.json", "model.safetensors", "tokenizer.json"):  # and then the run was killed at its save
        (work / "run" / saved).write_text("{}")
    for program in ("recipes/sft.py", "recipes/dpo.py", "recipes/ppo.py", "reward_models/bradley_terry.py"):
        check_output(work / "run", program, resuming=True)
        with pytest.raises(ValueError, match=r"holds README\.md"):
            check_output(work / "run", program)
    (work / "run/README.md").write_text("# My own\n")
    with pytest.raises(ValueError, match=r"holds README\.md"):
        check_output(work / "run", "recipes/sft.py", resuming=True)
    (work / "run/README.md").unlink()
    (checkpoint / "trainer_state.json").unlink()  # no checkpoint to go on from: it may be anybody's model
    with pytest.raises(ValueError, match=r"holds checkpoint-10"):
        check_output(work / "run", "recipes/sft.py", resuming=True)


def test_the_two_that_share_a_folder_leave_each_other_alone(work: Path) -> None:
    """As in the quickstart: the sandbox's prompts, folders of every step and the report of all in one folder."""
    world = work / "world"
    shutil.move(work / "judged", world / "judged")
    check_output(world, "rlaif evaluate", [world / "evaluation.jsonl", world / "judged"])
    with claim(world, "rlaif evaluate", [world / "evaluation.jsonl"]):
        (world / "manifest.json").write_text(json.dumps({"command": "rlaif evaluate", "versions": {}}))
        (world / "report.json").write_text("{}")
    assert sorted(commands_of(world)) == ["rlaif evaluate", "rlaif sandbox"]
    for sharing in ("rlaif evaluate", "rlaif sandbox"):
        check_output(world, sharing)
    with pytest.raises(ValueError, match="is what `rlaif evaluate` wrote"):
        check_output(world, "rlaif judge")
    # Beside whatever is not theirs, and over nothing.
    (work / "run/judged").mkdir(parents=True)
    shutil.copy(world / "judged/manifest.json", work / "run/judged")
    check_output(work / "run", "rlaif evaluate")
    (work / "run/report.json").write_text("mine")
    with pytest.raises(ValueError, match="holds report"):
        check_output(work / "run", "rlaif evaluate")
    with pytest.raises(ValueError, match=r"holds .*report\.json, which is read"):
        check_output(world, "rlaif evaluate", [world / "report.json"])


def test_what_a_shell_prints_into_the_new_folder_is_not_in_the_way(tmp_path: Path) -> None:
    """`mkdir out; rlaif judge --output out > out/log.txt`."""
    (tmp_path / "out").mkdir()
    kept = os.dup(1)
    with (tmp_path / "out/log.txt").open("w") as log:
        os.dup2(log.fileno(), 1)
        try:
            check_output(tmp_path / "out", "rlaif judge")
        finally:
            os.dup2(kept, 1)
            os.close(kept)
    with pytest.raises(ValueError, match=r"holds log\.txt"):
        check_output(tmp_path / "out", "rlaif judge")


def test_a_store_takes_replies_beside_those_of_others_and_nobody_elses_folder(work: Path) -> None:
    rater = rlaif.load_rater(lambda prompt, response: 5.0)
    before = tree(work / "preferences")
    for store in (work / "new", work / "new", work / "judged"):
        assert [rating.rating for rating in rlaif.rate([("p", "r")], rater, store=store)] == [5.0]
    (work / "x").mkdir()
    (work / "x/mine.txt").write_text("mine")
    for store in (work / "x", work / "pairs.jsonl", Path("."), Path.home()):
        with pytest.raises(ValueError, match="Nothing was changed"):
            rlaif.rate([("p", "r")], rater, store=store)
    assert sorted(tree(work / "x")) == ["mine.txt"]
    assert tree(work / "preferences") == before


def test_judgments_in_memory_are_built_into_a_new_folder_or_its_own(work: Path) -> None:
    judgments = [*rlaif.judge(str(work / "pairs.jsonl"), lambda prompt, a, b: 0.9 if a > b else 0.1)]
    for _ in range(2):
        assert rlaif.build(judgments, work / "new")["judgments"] == 20
    assert (work / "new/judgments.jsonl").exists()
    before = tree(work)
    with pytest.raises(ValueError, match="is what `rlaif judge` wrote"):
        rlaif.build(judgments, work / "judged")
    assert tree(work) == before


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_file_is_written_anew_where_it_is_as_the_command_wrote_it(work: Path) -> None:
    words = (*command("convert", work), "--output", work / "converted.jsonl")
    manifest = json.loads((work / "converted.jsonl.manifest.json").read_text())
    assert manifest["wrote"] == fingerprint(work / "converted.jsonl")
    assert here(*words).returncode == 0
    with (work / "converted.jsonl").open("a") as file:
        file.write("\n")
    before = tree(work)
    assert "was changed since `rlaif convert` wrote it" in refused(here(*words), 1)
    assert tree(work) == before


def test_a_list_of_bad_rows_beside_a_file_is_its_own_or_not_touched(work: Path) -> None:
    """A run without bad rows removes the list of an earlier one, and one with some writes it: both if it is its own."""
    bad, out = work / "x.jsonl.bad_rows.jsonl", work / "x.jsonl"
    words = ("convert", "--source", work / "some.jsonl", "--on_bad_row", "skip", "--output", out)
    good = (work / "judged/judgments.jsonl").read_text()
    (work / "some.jsonl").write_text(good)
    bad.write_text("mine")
    for source in (good, good + "{}\n"):
        (work / "some.jsonl").write_text(source)
        before = tree(work)
        assert "x.jsonl.bad_rows.jsonl was not written by `rlaif convert`" in refused(here(*words), 1)
        assert tree(work) == before
    bad.unlink()
    assert here(*words).returncode == 0
    assert "some.jsonl:21" in bad.read_text()
    (work / "some.jsonl").write_text(good)
    assert here(*words).returncode == 0
    assert not bad.exists()
    bad.write_text("mine")
    assert "x.jsonl.bad_rows.jsonl was changed since `rlaif convert` wrote it" in refused(here(*words), 1)
    assert bad.read_text() == "mine"


def test_a_file_whose_run_was_killed_before_its_manifest_is_its_own(tmp_path: Path) -> None:
    out = tmp_path / "new/out.jsonl"
    with pytest.raises(FileNotFoundError), claim_file(out, "rlaif convert"):
        (tmp_path / f"nothing{out.write_text('{}')}").read_bytes()  # the file is there, its manifest never comes
    with claim_file(out, "rlaif convert"):
        out.write_text("{} ")
    (tmp_path / "new/.out.jsonl.written-by").unlink(missing_ok=True)
    with pytest.raises(ValueError, match="was not written by"), claim_file(out, "rlaif convert"):
        pass
    with pytest.raises(FileNotFoundError), claim_file(tmp_path / "other/out.jsonl", "rlaif convert"):
        (tmp_path / "nothing").read_bytes()
    assert not (tmp_path / "other").exists()


# Whatever is deleted --------------------------------------------------------------------------------------------------


def test_scripts_delete_what_is_theirs_alone(tmp_path: Path) -> None:
    mine = write_rows(tmp_path / "mine/rows.jsonl", [{}])
    with pytest.raises(ValueError, match=r"holds rows\.jsonl; expected a new or empty folder"):
        begin(mine.parent, "scripts/benchmark.py", empty=True)
    assert mine.exists()
    for _ in range(2):
        begin(tmp_path / "bench", "scripts/benchmark.py", empty=True)
        assert list(tree(tmp_path / "bench")) == [".written-by"]
        (tmp_path / "bench/left").write_text("")


def test_every_place_that_deletes_a_folder_is_known() -> None:
    """A new one is looked at for what it may delete, and added here."""
    found = {
        (path.relative_to(ROOT).as_posix(), line.count("rmtree("))
        for folder in ("rlaif", "recipes", "reward_models", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "rmtree(" in line
    }
    known = {
        "rlaif/ablations/execute.py",  # the output of a stage, in the store, beside its request.json
        "rlaif/files/ownership.py",  # `begin`: a script's own, by its mark
        "rlaif/files/shards.py",  # hidden, in a claimed folder
        "rlaif/files/swap.py",  # hidden, in a claimed folder
        "rlaif/publish/dataset.py",  # of an earlier staging, in a folder that is marked as one
        "rlaif/training/data.py",  # tokenized/ in a claimed folder
        "rlaif/training/saving.py",  # hidden, and checkpoint-N, in a claimed folder
    }
    assert {path for path, _ in found} == known


# A user's file by one of our names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["rlaif sample", "rlaif judge", "rlaif build", "rlaif evaluate", "recipes/best_of_n.py", "recipes/sft.py"]
)
def test_a_users_list_in_an_output_is_not_taken_for_our_own(name: str, tmp_path: Path) -> None:
    """It was removed by the next run, or another was put in its place."""
    (tmp_path / "manifest.json").write_text(json.dumps({"command": name, "versions": {}}))
    listed = tmp_path / "bad_rows.jsonl"
    check_output(tmp_path, name)
    write_rows(listed, [{"place": "in.jsonl:2", "reason": "prompt is null"}])  # as an earlier run of ours left it
    check_output(tmp_path, name)
    for rows in ([{"prompt": "mine"}], [{"place": "in.jsonl:2", "reason": "x"}, {"place": "here", "reason": 5}], [1]):
        write_rows(listed, rows)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=rf"holds bad_rows\.jsonl, and `{name}` did not write that; the name is"):
            check_output(tmp_path, name)
    listed.write_text("not JSON\n")
    with pytest.raises(ValueError, match=r"Move the file elsewhere\. Nothing was changed\."):
        check_output(tmp_path, name)


def test_a_plot_that_the_report_does_not_show_is_a_users(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"command": "rlaif evaluate", "versions": {}}))
    (tmp_path / "win_rates.png").write_bytes(b"x")
    (tmp_path / "report.md").write_text("![who wins](win_rates.png)\n")
    check_output(tmp_path, "rlaif evaluate")
    (tmp_path / "reward_kl.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"holds reward_kl\.png, and `rlaif evaluate` did not write that"):
        check_output(tmp_path, "rlaif evaluate")
    (tmp_path / ".written-by").write_text(json.dumps({"commands": ["rlaif evaluate"]}))  # killed among its plots
    check_output(tmp_path, "rlaif evaluate")


def test_a_users_list_beside_judgments_stays(work: Path) -> None:
    write_rows(work / "judged/bad_rows.jsonl", [{"mine": 1}])
    before = tree(work)
    words = ("judge", "--pairs", work / "pairs.jsonl", *JUDGE, "--output", work / "judged")
    assert "bad_rows.jsonl" in refused(here(*words), 1)
    assert tree(work) == before
