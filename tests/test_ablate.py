"""scripts/ablate.py as a user runs it: real processes, real kills, real programs of the project."""

from __future__ import annotations

import csv
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT, here, kill_with_children, refused, rlaif_env, some_pairs, wait_until, write_rows
from support.toy_programs import toy_study, write_study

from rlaif.ablations import collect, programs
from rlaif.ablations.execute import _attempts, _goes_on, _start_over, last_line
from rlaif.ablations.held_out import Comparison, compare_prompts
from rlaif.ablations.stages import plan_study
from rlaif.ablations.study import load_study, read_yaml
from rlaif.settings.programs import program_module


def command(folder: Path, study: Path, *words: object) -> list[str]:
    options = ["--store", folder / "store", "--output", folder / "table"]
    return [sys.executable, str(ROOT / "scripts/ablate.py"), "--config", str(study), *map(str, [*options, *words])]


def environment(folder: Path, **extra: str) -> dict[str, str]:
    (folder / "log").mkdir(exist_ok=True)
    return rlaif_env(TOY_LOG=str(folder / "log"), **extra)


def ablate(folder: Path, content: dict[str, Any], *words: object) -> subprocess.CompletedProcess[str]:
    """The program in this process, as if begun anew; its stages are processes."""
    for kept in (collect._read_report, programs.program_of, program_module):
        kept.cache_clear()
    _, program, *given = command(folder, write_study(folder, content), *words)
    return here(*given, program=program, folder=ROOT, **environment(folder))


def report_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "table/report.json").read_text())
    return found


def starts(folder: Path) -> list[str]:
    path = folder / "log/starts"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def build_study(folder: Path, **changes: Any) -> dict[str, Any]:
    """Judging and building with the project's own commands: no model, seconds."""
    write_rows(folder / "pairs.jsonl", some_pairs(200))
    content = {
        "name": "noise",
        "seeds": [0, 1, 2],
        "stages": {
            "judge": {
                "program": "rlaif judge",
                "set": {
                    "pairs": str(folder / "pairs.jsonl"),
                    "judge": "scripted",
                    "judge_model": "rlaif.models.function:longer",
                },
            },
            "build": {
                "program": "rlaif build",
                "set": {"judgments": "${judge}", "validation": 0, "test": 0, "seed": "${seed}"},
            },
        },
        "factors": {"flipped": {"build.flip_rate": [0.1, 0.25]}},
        "baseline": {"flipped": 0.1},
        "outcomes": {"flipped": {"stage": "build", "metric": "flipped", "label": "verdicts turned round"}},
    }
    return {**content, **changes}


def test_the_table_is_what_the_reports_say(tmp_path: Path) -> None:
    done = ablate(tmp_path, build_study(tmp_path), "--jobs", 1)
    assert done.returncode == 0, done.stderr
    assert "2 cells x 3 seeds = 7 stages, 1 of them shared by several cells" in done.stdout
    table = report_of(tmp_path)
    direct: dict[float, list[float]] = {0.1: [], 0.25: []}
    for seed in (0, 1, 2):
        for cell, rate in zip(table["cells"], direct, strict=True):
            stage = tmp_path / "store" / f"build-{cell['stages'][str(seed)]['build']}"
            settings = yaml.safe_load((stage / "settings.yaml").read_text())
            assert (settings["flip_rate"], settings["seed"]) == (rate, seed)
            value = json.loads((stage / "output/report.json").read_text())["flipped"]
            assert cell["outcomes"]["flipped"]["values"][str(seed)] == value
            direct[rate].append(value)
    row = table["cells"][1]["outcomes"]["flipped"]
    t = 4.3026527 / 3**0.5  # Student's t, 97.5 %, 2 degrees of freedom
    mean = statistics.mean(direct[0.25])
    half = t * statistics.stdev(direct[0.25])
    assert [row["estimate"][name] for name in ("mean", "low", "high")] == pytest.approx(
        [mean, mean - half, mean + half], abs=1e-5
    )
    d = [x - y for x, y in zip(direct[0.25], direct[0.1], strict=True)]
    half = t * statistics.stdev(d)
    assert [row["difference"][name] for name in ("mean", "low", "high")] == pytest.approx(
        [statistics.mean(d), statistics.mean(d) - half, statistics.mean(d) + half], abs=1e-5
    )
    assert table["cells"][1]["baseline"] == "flipped=0.1"
    # What people read says the same.
    with (tmp_path / "table/values.csv").open() as file:
        values = [float(line["value"]) for line in csv.DictReader(file) if line["flipped"] == "0.25"]
    assert values == direct[0.25]
    page = (tmp_path / "table/report.md").read_text()
    assert f"| 0.25 | {mean:.2f} [" in page
    assert "![verdicts turned round](flipped.png)" in page
    assert (tmp_path / "table/flipped.png").stat().st_size > 10_000
    manifest = json.loads((tmp_path / "table/manifest.json").read_text())
    assert manifest["command"] == "scripts/ablate.py"
    assert manifest["config"]["file"]["factors"] == build_study(tmp_path)["factors"]
    cell = table["cells"][1]
    assert cell["samples"]["judge: votes"] == 400
    assert "judge: votes 400" in page
    assert set(manifest["config"]["stages"]) == {path.parent.name for path in (tmp_path / "store").glob("*/stage.json")}
    assert 0.0 < cell["own_seconds"] < cell["seconds"]
    # A command is the code that it ran, its inputs' included: nothing of trainers or of other commands.
    ran = {path.parent.name.partition("-")[0]: json.loads(path.read_text())["code"]
           for path in (tmp_path / "store").glob("*/stage.json")}  # fmt: skip
    assert {"rlaif/commands/judge.py", "rlaif/judging/ask.py", "rlaif/records.py", "rlaif/cli.py"} <= set(ran["judge"])
    assert set(ran["build"]) > set(ran["judge"])
    assert "rlaif/commands/build.py" not in ran["judge"]
    assert not any(name.startswith(("rlaif/training", "rlaif/ablations")) for name in ran["build"])

    # Another ablation takes what it has in common with this one, and says so.
    other = build_study(tmp_path, name="more", factors={"flipped": {"build.flip_rate": [0.25, 0.4]}}, baseline={})
    again = ablate(tmp_path, {**other, "seeds": [2]}, "--jobs", 1)
    assert again.returncode == 0, again.stderr
    assert "2 are there already (2 made by noise), 1 to run, about" in again.stdout
    assert "[   1/1" in again.stdout
    assert report_of(tmp_path)["cells"][0]["outcomes"]["flipped"]["values"] == {"2": row["values"]["2"]}


def test_a_dry_run_says_everything_and_runs_nothing(tmp_path: Path) -> None:
    done = ablate(tmp_path, toy_study(tmp_path), "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "toy: 2 cells x 3 seeds = 9 stages, 3 of them shared by several cells" in lines
    assert "0 are there already, 9 to run" in lines
    assert "  scale=2.0 (against scale=1.0)" in lines
    assert sum(", for 2 cells, seed" in line for line in lines) == 3
    assert sum(", for scale=" in line for line in lines) == 6
    assert starts(tmp_path) == []
    assert not (tmp_path / "table").exists()


def killed(folder: Path, study: Path, after: int, whom: str) -> None:
    """Starts an ablation and kills it after so many starts of programs: it alone, or everything that it started too."""
    before = len(starts(folder))
    process = subprocess.Popen(
        command(folder, study, "--jobs", 2),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(folder),
        cwd=ROOT,
    )
    # On a busy machine it may be through before this looks again.
    wait_until(lambda: len(starts(folder)) >= before + after or process.poll() is not None, 60)
    if whom == "everything":
        kill_with_children(process)
    else:
        process.send_signal(signal.SIGTERM if whom == "politely" else signal.SIGKILL)
    process.wait(30)


def test_killed_on_the_way_it_ends_with_the_same_table(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    content = toy_study(tmp_path, stages=toy_study(tmp_path)["stages"])
    content["stages"]["second"]["set"] |= {"sleep": 0.3, "noise": 1.0, "seed": "${seed}"}
    undisturbed = ablate(tmp_path / "a", content, "--jobs", 2)
    assert undisturbed.returncode == 0, undisturbed.stderr
    study = write_study(tmp_path / "b", content)
    killed(tmp_path / "b", study, 4, "alone")  # what it started goes on, and is taken up
    killed(tmp_path / "b", study, 2, "everything")
    killed(tmp_path / "b", study, 1, "politely")
    last = ablate(tmp_path / "b", content, "--jobs", 2)
    assert last.returncode == 0, last.stderr
    for name in ("table.csv", "values.csv"):
        assert (tmp_path / "a/table" / name).read_bytes() == (tmp_path / "b/table" / name).read_bytes()
    assert len(starts(tmp_path / "a")) == 9
    # Only what was killed with everything, or politely, was started again: at most the two that ran each time.
    assert 9 <= len(starts(tmp_path / "b")) <= 9 + 2 + 2
    assert len(set(starts(tmp_path / "b"))) == 9


def test_stopping_ends_what_a_launcher_started(tmp_path: Path) -> None:
    """accelerate's launcher is a process that waits for another and passes no signal on."""
    content = toy_study(tmp_path, seeds=[0])
    content["stages"]["first"]["set"]["sleep"] = 60
    toy = tmp_path / "toy.py"
    noisy = toy.read_text().replace("time.sleep(", 'print("pid", os.getpid(), flush=True); time.sleep(')
    (tmp_path / "trainer.py").write_text(noisy)
    started = "[sys.executable, __file__.replace('toy', 'trainer'), *sys.argv[1:]]"
    begins = f"import subprocess\n    sys.exit(subprocess.call({started}))\n"
    toy.write_text(toy.read_text().replace("def main():\n", f"def main():\n    {begins}"))
    study = write_study(tmp_path, content)
    process = subprocess.Popen(command(tmp_path, study), stdout=subprocess.DEVNULL, env=environment(tmp_path), cwd=ROOT)
    wait_until(lambda: len(starts(tmp_path)) == 1, 60)
    (log,) = (tmp_path / "store").glob("first-*/log.txt")
    wait_until(lambda: "pid" in log.read_text())
    pid = int(log.read_text().split("pid ")[1].split()[0])
    process.terminate()
    assert process.wait(60) == 4
    wait_until(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_an_old_mark_does_not_make_a_failed_run_done(tmp_path: Path) -> None:
    """Outputs were deleted to save space, and what makes them again fails."""
    import shutil

    content = toy_study(tmp_path, seeds=[0])
    assert ablate(tmp_path, content).returncode == 0
    for output in (tmp_path / "store").glob("second-*/output"):
        shutil.rmtree(output)
    blocked = (tmp_path / "store").glob("second-*/log.txt")
    for log in blocked:
        log.unlink()
        log.mkdir()  # the program cannot be started: there is nowhere to print to
    done = ablate(tmp_path, content)
    assert done.returncode == 1
    assert not list((tmp_path / "store").glob("second-*/stage.json"))


def test_reports_in_any_state_stop_nothing(tmp_path: Path) -> None:
    content = toy_study(tmp_path, seeds=[0, 1])
    toy = tmp_path / "toy.py"
    toy.write_text(toy.read_text().replace('"null": None', '"null": None, "train": 0.3, "votes_asked": None'))
    assert ablate(tmp_path, content).returncode == 0
    for path in (tmp_path / "store").glob("second-*/output/report.json"):
        path.write_text("{not json")
    done = ablate(tmp_path, content)
    assert "outcome value: the report of second has no 'value' on the way to 'value'; " in refused(done)


def test_two_at_once_run_a_shared_stage_once(tmp_path: Path) -> None:
    content = toy_study(tmp_path, seeds=[0])
    content["stages"]["first"]["set"]["sleep"] = 1.0
    study = write_study(tmp_path, content)
    both = [
        subprocess.Popen(
            [*command(tmp_path, study), "--output", str(tmp_path / name)],
            stdout=subprocess.PIPE,
            env=environment(tmp_path),
            cwd=ROOT,
        )
        for name in ("one", "two")
    ]
    assert [process.wait(120) for process in both] == [0, 0]
    for process in both:
        assert process.stdout is not None
        process.stdout.close()
    assert len(starts(tmp_path)) == len(set(starts(tmp_path))) == 3
    assert (tmp_path / "one/values.csv").read_bytes() == (tmp_path / "two/values.csv").read_bytes()


def test_a_failed_run_is_named_and_in_no_mean(tmp_path: Path) -> None:
    content = toy_study(tmp_path)
    content["stages"]["second"]["set"] |= {"seed": "${seed}", "noise": 1.0}
    # One seed of three fails in one of the cells.
    content["factors"] = {"scale": {"1": {}, "2": {"second.scale": 2.0, "second.text": "fail with seed 1"}}}
    content["baseline"] = {"scale": "1"}
    toy = tmp_path / "toy.py"
    when = 'if settings.get("text") and settings["seed"] == 1:\n        settings["fail"] = "out of memory"\n    '
    toy.write_text(toy.read_text().replace('if settings.get("fail"):', f'{when}if settings.get("fail"):'))
    done = ablate(tmp_path, content, "--jobs", 2)
    assert refused(done) == "error: 1 of the runs failed; the table names them. The same command runs them again."
    assert "failed: scale=2, seed 1: second: error: out of memory" in done.stdout
    report = report_of(tmp_path)
    good, bad = (cell["outcomes"]["value"] for cell in report["cells"])
    assert report["cells"][1]["failed"]["1"]["line"] == "error: out of memory"
    assert good["estimate"]["n"] == 3
    assert bad["values"]["1"] is None
    assert (bad["estimate"], bad["difference"], bad["clear"]) == (None, None, None)
    others = [bad["values"]["0"], bad["values"]["2"]]
    assert bad["of_the_others"]["mean"] == pytest.approx(statistics.mean(others))
    page = (tmp_path / "table/report.md").read_text()
    assert "| scale=2 | 1 | second | `error: out of memory` |" in page
    assert f"**1 of 3 seeds failed**; the other 2: {statistics.mean(others):.2f}" in page
    with (tmp_path / "table/table.csv").open() as file:
        line = list(csv.DictReader(file))[1]
    assert (line["mean"], line["difference_mean"], line["others_n"]) == ("", "", "2")
    assert "second failed: error: out of memory" in line["missing"]

    # Mended (here by another program), the same command runs what failed, and what is new, again.
    toy.write_text(toy.read_text().replace("out of memory", ""))
    mended = ablate(tmp_path, content, "--jobs", 2)
    assert mended.returncode == 0, mended.stderr
    assert report_of(tmp_path)["cells"][1]["outcomes"]["value"]["estimate"]["n"] == 3


def test_what_comes_after_a_failed_stage_does_not_run(tmp_path: Path) -> None:
    content = toy_study(tmp_path)
    content["stages"]["first"]["set"]["fail"] = "the disk is full"
    done = ablate(tmp_path, content)
    assert done.returncode == 1
    assert {name.split("-")[0] for name in starts(tmp_path)} == {"first"}
    assert "failed: scale=2.0, seed 0, 1, 2: first: error: the disk is full" in done.stdout
    assert done.stderr.endswith(
        "error: 6 of the runs failed; the table names them. The same command runs them again.\n"
    )
    assert "**3 of 3 seeds failed**" in (tmp_path / "table/report.md").read_text()


def shared_prompts(folder: Path, programs: dict[str, dict[str, Any]], read: str) -> Comparison:
    """What comparing prompts says of the stage `read`, of stages that are not run."""
    content = {
        "launch": "recipes/accelerate/cpu.yaml",
        "seeds": [0],
        "stages": {
            name: {"program": spec["program"], "set": {k: v for k, v in spec.items() if k != "program"}}
            for name, spec in programs.items()
        },
        "factors": {"bad rows": {f"{read}.on_bad_row": ["stop", "skip"]}},
        "outcomes": {"kl": {"stage": read, "metric": "kl"}},
    }
    return compare_prompts(plan_study(load_study(content, "x.yaml"), folder, 1).stages[0, 0][read])


def test_prompts_that_were_trained_on_are_found(tmp_path: Path) -> None:
    shown = str(write_rows(tmp_path / "shown.jsonl", [{"prompt": f"p{i}", "completion": "c"} for i in range(20)]))
    asked = str(write_rows(tmp_path / "asked.jsonl", [{"prompt": f"p{i}"} for i in range(15, 40)]))
    others = str(write_rows(tmp_path / "others.jsonl", [{"prompt": f"q{i}"} for i in range(9)]))
    sft = {"program": "recipes/sft.py", "model": "m", "dataset": shown}
    evaluate = {"program": "rlaif evaluate", "policies": ["sft=${sft}"], "prompts": asked}
    found = shared_prompts(tmp_path, {"sft": sft, "evaluate": evaluate}, "evaluate")
    assert found.shared == (
        "5 of the 25 prompts that evaluate measures on (prompts) are among those that sft trained on (dataset); "
        "expected none: give it others."
    )
    assert shared_prompts(
        tmp_path, {"sft": sft, "evaluate": {**evaluate, "prompts": others}}, "evaluate"
    ) == Comparison(True, True)
    # A file with a column `split` is read as the programs read it.
    rows = [{"prompt": f"p{i}", "completion": "c", "split": "test" if i < 5 else "train"} for i in range(20)]
    divided = str(write_rows(tmp_path / "divided.jsonl", rows))
    of_train = {**sft, "dataset": divided, "train_split": "train"}
    of_test = {**evaluate, "prompts": divided, "split": "test"}
    assert shared_prompts(tmp_path, {"sft": of_train, "evaluate": of_test}, "evaluate") == Comparison(True, True)
    of_test["split"] = "train"
    assert "15 of the 15" in str(shared_prompts(tmp_path, {"sft": of_train, "evaluate": of_test}, "evaluate").shared)
    # PPO's held-out prompts, seen by the SFT stage before it; best of n, which trains only with `sft`.
    ppo = {"program": "recipes/ppo.py", "model": "${sft}", "prompts": others, "held_out": asked}
    assert "5 of the 25 prompts that ppo measures on (held_out)" in str(
        shared_prompts(tmp_path, {"sft": sft, "ppo": ppo}, "ppo").shared
    )
    best = {"program": "recipes/best_of_n.py", "model": "m", "prompts": asked}
    after = {"program": "rlaif evaluate", "policies": ["best=${best}"], "prompts": asked}
    assert shared_prompts(tmp_path, {"best": best, "evaluate": after}, "evaluate").shared is None
    raft = {**best, "sft": True}
    assert "25 of the 25" in str(shared_prompts(tmp_path, {"best": raft, "evaluate": after}, "evaluate").shared)
    # What cannot be read is a state: neither a leak nor its absence, and nothing stops for it.
    broken = str(write_rows(tmp_path / "broken.jsonl", [{"chosen": "a", "rejected": "b"}]))
    unread = shared_prompts(tmp_path, {"sft": {**sft, "dataset": broken}, "evaluate": evaluate}, "evaluate")
    assert (unread.compared, unread.shared) == (False, None)
    assert "has no prompt of its own to compare" in str(unread.unread)
    (tmp_path / "mine.py").write_text("")  # it says nothing of itself
    mine = {"program": str(tmp_path / "mine.py"), "dataset": asked}
    unknown = shared_prompts(tmp_path, {"sft": mine, "evaluate": evaluate}, "evaluate")
    assert (unknown.compared, unknown.shared) == (False, None)
    assert "trains on is not known" in str(unknown.unread)
    judge = {"program": "rlaif judge", "pairs": asked, "judge_model": "m"}
    assert not shared_prompts(tmp_path, {"judge": judge}, "judge").measures


def test_a_number_measured_on_what_was_trained_on_is_not_given(tmp_path: Path) -> None:
    """A stand-in for sft.py and one for evaluate, over the same prompts in one cell: it has no mean, and says why."""
    content = toy_study(tmp_path, baseline={})
    toy = f"from rlaif.files.reads import Rows\n{(tmp_path / 'toy.py').read_text()}"
    (tmp_path / "sft.py").write_text(toy.replace("LEARNS = ()", 'LEARNS = (Rows("dataset"),)'))
    (tmp_path / "ppo.py").write_text(toy.replace("MEASURES = ()", 'MEASURES = (Rows("held_out"),)'))
    shown = write_rows(tmp_path / "shown.jsonl", [{"prompt": "a"}, {"prompt": "b"}])
    asked = write_rows(tmp_path / "asked.jsonl", [{"prompt": "b"}, {"prompt": "c"}])
    content["stages"]["first"] = {
        "program": str(tmp_path / "sft.py"),
        "set": {"seed": "${seed}", "dataset": str(shown)},
    }
    content["stages"]["second"] = {"program": str(tmp_path / "ppo.py"), "set": {"source": "${first}"}}
    content["factors"] = {"asked": {"others": {}, "the same": {"second.held_out": str(asked)}}}
    done = ablate(tmp_path, content)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: 1 of the 2 prompts that second measures on (held_out)") == 1
    report = report_of(tmp_path)
    good, bad = (cell["outcomes"]["value"] for cell in report["cells"])
    assert good["estimate"]["n"] == 3
    assert (bad["estimate"], bad["of_the_others"]) == (None, None)
    assert {m["kind"] for m in bad["missing"].values()} == {"measured on prompts that were trained on"}
    assert report["held_out"] == {"compared": 3, "shared": 3, "not_compared": 0, "unread": []}
    page = (tmp_path / "table/report.md").read_text()
    assert "**3 have some in common.**" in page
    assert "**3 of 3 seeds measured on prompts that were trained on**" in page


def intervals(folder: Path) -> list[tuple[float, float]]:
    """When each program ran: its start and its end."""
    began = {line.split()[0]: float(line.split()[1]) for line in (folder / "log/starts").read_text().splitlines()}
    ended = {line.split()[0]: float(line.split()[1]) for line in (folder / "log/ends").read_text().splitlines()}
    return [(began[name], ended[name]) for name in began]


def most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)


@pytest.mark.parametrize("jobs", [1, 3])
def test_so_many_run_side_by_side(tmp_path: Path, jobs: int) -> None:
    content = toy_study(tmp_path)
    for stage in content["stages"].values():
        stage["set"]["sleep"] = 0.4
    done = ablate(tmp_path, content, "--jobs", jobs, "--gpus", 4, 5, 6, 7, 8, 9)
    assert done.returncode == 0, done.stderr
    assert most_at_once(intervals(tmp_path)) == jobs
    cores = len(os.sched_getaffinity(0))
    logs = [path.read_text().splitlines()[0] for path in (tmp_path / "store").glob("*/log.txt")]
    assert {line.split()[1] for line in logs} == {str(max(1, cores // jobs))}
    dealt = {line.split()[3] for line in logs}
    assert dealt == ({"4,5,6,7,8,9"} if jobs == 1 else {"4,7", "5,8", "6,9"})


def test_jobs_of_a_cluster(tmp_path: Path) -> None:
    """Through submitit, whose local executor stands in for Slurm."""
    pytest.importorskip("submitit")
    content = toy_study(tmp_path, cluster="local", cluster_options={"timeout_min": 5}, seeds=[0])
    done = ablate(tmp_path, content)
    assert done.returncode == 0, done.stderr
    assert len(starts(tmp_path)) == 3
    assert list((tmp_path / "store/jobs").glob("*_log.out"))
    here = ablate(tmp_path, toy_study(tmp_path, seeds=[0], threads=1))
    assert "3 are there already (3 made by toy), 0 to run" in here.stdout
    content["factors"]["scale"] = {"1": {}, "2": {"second.scale": 2.0, "second.fail": "no"}}
    content["baseline"] = {"scale": "1"}
    failed = ablate(tmp_path, content)
    assert failed.returncode == 1
    assert "failed: scale=2, seed 0: second: error: no" in failed.stdout


def test_one_seed_has_no_interval_and_it_says_so(tmp_path: Path) -> None:
    done = ablate(tmp_path, toy_study(tmp_path), "--seeds", 3)
    assert done.returncode == 0
    assert "one seed gives no interval, and the table will say so" in done.stderr
    assert "One seed gives no interval" in (tmp_path / "table/report.md").read_text()
    assert report_of(tmp_path)["cells"][1]["outcomes"]["value"]["difference"]["low"] is None


def test_a_number_that_no_report_holds(tmp_path: Path) -> None:
    content = toy_study(tmp_path)
    content["outcomes"]["other"] = {"stage": "second", "metric": "nested.a.b.valeu"}
    content["curves"] = {
        "c": {"lines": {"l {scale}": {"by": "scale", "stage": "second", "points": "serie", "x": "x", "y": "y"}}}
    }
    done = ablate(tmp_path, content, "--jobs", 2)
    assert done.returncode == 1
    *first, last = done.stderr.strip().splitlines()
    assert len(first) == 2  # said once each, when the first report is there
    assert first[0].startswith("warning: outcome other: the report of second has no 'valeu' on the way to")
    assert first[1].startswith("warning: line l {scale}: the report of second has no 'serie'")
    assert "did you mean 'nested.a.b.value'" in last
    assert last.startswith("error: ")
    assert len(starts(tmp_path)) == 9
    # The rest of the table is there.
    assert report_of(tmp_path)["cells"][1]["outcomes"]["value"]["estimate"]["n"] == 3
    assert "**3 of 3 seeds not measured**" in (tmp_path / "table/report.md").read_text()
    content["outcomes"]["other"]["metric"] = "nested.a.b.value"
    content["curves"]["c"]["lines"]["l {scale}"]["points"] = "series"
    assert ablate(tmp_path, content, "--jobs", 2).returncode == 0
    assert len(starts(tmp_path)) == 9  # nothing was run again
    content["outcomes"]["other"]["metric"] = "null"
    nothing = ablate(tmp_path, content, "--jobs", 2)
    assert nothing.returncode == 0
    assert "No value: second has no value for null" in (tmp_path / "table/report.md").read_text()
    content["outcomes"]["other"]["metric"] = "name"
    text = ablate(tmp_path, content, "--jobs", 2)
    assert "in the report of second, 'name' is 'toy' is no number; expected one of" in text.stderr.splitlines()[-1]


def test_cells_that_differ_in_name_only_are_found_by_their_numbers(tmp_path: Path) -> None:
    """scale 1 is what the program takes where none is set: another address, and the same numbers."""
    content = toy_study(
        tmp_path, seeds=[0, 1], factors={"scale": {"default": {}, "one": {"second.scale": 1}}}, baseline={}
    )
    done = ablate(tmp_path, content)
    assert "the cells scale=default and scale=one have the same values with every seed" in refused(done)
    assert "**Problem:** the cells scale=default" in (tmp_path / "table/report.md").read_text()


def test_a_number_that_is_equal_in_two_cells_is_no_sign_that_they_are_one(tmp_path: Path) -> None:
    """A win rate of 1 in both, say. And a factor that is called as a column of the tables keeps its own."""
    content = toy_study(
        tmp_path,
        seeds=[0, 1],
        factors={"n": {"second.scale": [1, 2]}},
        baseline={},
        outcomes={"first": {"stage": "second", "metric": "series.0.n"}},
    )
    done = ablate(tmp_path, content)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "table/table.csv").open() as file:
        assert [(row["n (factor)"], row["n"], row["mean"]) for row in csv.DictReader(file)] == [
            ("1", "2", "1.0"),
            ("2", "2", "1.0"),
        ]
    # A record that lost its end with the machine's power is none, also where times are estimated from it.
    next((tmp_path / "store").glob("second-*")).joinpath("stage.json").write_text("")
    again = ablate(tmp_path, content)
    assert again.returncode == 0, again.stderr
    assert "1 to run, about 0 minutes" in again.stdout


def test_an_outcome_that_is_not_to_be_compared(tmp_path: Path) -> None:
    content = toy_study(tmp_path, seeds=[0, 1], note="A word on it.")
    content["outcomes"]["value"]["compare"] = False
    assert ablate(tmp_path, content).returncode == 0
    row = report_of(tmp_path)["cells"][1]["outcomes"]["value"]
    assert (row["estimate"]["n"], row["difference"]) == (2, None)
    page = (tmp_path / "table/report.md").read_text()
    assert "Not compared: the file says that this has another scale in every cell." in page
    assert "A word on it." in page


def test_code_that_changes_while_it_runs_is_not_kept_under_its_old_address(tmp_path: Path) -> None:
    content = toy_study(tmp_path, seeds=[0])
    content["stages"]["first"]["set"]["sleep"] = 1.0
    study = write_study(tmp_path, content)
    process = subprocess.Popen(
        command(tmp_path, study), stdout=subprocess.PIPE, text=True, env=environment(tmp_path), cwd=ROOT
    )
    wait_until(lambda: len(starts(tmp_path)) == 1, 60)
    toy = tmp_path / "toy.py"
    toy.write_text(toy.read_text().replace("- 0.5", "- 0.25"))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"{toy} was changed after this was planned; run the ablation again" in said
    assert not list((tmp_path / "store").glob("*/stage.json"))
    assert ablate(tmp_path, content).returncode == 0


def test_what_a_killed_run_left_is_gone_on_from_or_deleted(tmp_path: Path) -> None:
    def left(planned: float, **files: str) -> tuple[Path, dict[str, Any]]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in files.items():
            path = folder / "output" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (folder / "log.txt").write_text("so far")
        started = {"started": time.time() - 50.0, "before": 7.0, "planned": planned}
        (folder / "started.json").write_text(json.dumps(started))
        return folder, {"program": "rlaif judge", "goes_on": True, "planned": time.time()}

    now = time.time()
    folder, request = left(now, model="{}")
    assert _goes_on(folder, request)
    seconds, planned = _attempts(folder, request)
    assert (round(seconds), planned) == (57, now)
    assert not _goes_on(folder, {**request, "goes_on": False})  # a program that does not
    folder, request = left(0.0, model="{}")  # its code was written since
    assert not _goes_on(folder, request)
    _start_over(folder)
    assert not (folder / "output").exists()
    assert _attempts(folder, request) == (0.0, request["planned"])
    # What a server was paid for is kept, whatever became of the code.
    folder, request = left(0.0, replies__1=".jsonl", report="{}")
    (folder / "output/replies/1.jsonl").write_text('{"text": "1", "served_by": "vllm"}\n')
    _start_over(folder)
    assert [path.name for path in (folder / "output").iterdir()] == ["replies"]


def test_a_stage_is_used_again_as_long_as_the_code_that_it_ran_is_as_it_was(tmp_path: Path) -> None:
    """Its own file, what that imports, and what a setting has it import; an input's is a stage's own too."""
    (tmp_path / "helper.py").write_text("X = 1\n")
    (tmp_path / "graders.py").write_text("import lexicon\n")
    (tmp_path / "lexicon.py").write_text("WORDS = 1\n")
    (tmp_path / "apart.py").write_text("X = 1\n")
    content = toy_study(tmp_path, seeds=[0], factors={"scale": {"second.scale": [1.0]}}, baseline={})
    toy = tmp_path / "toy.py"
    imports = 'import helper\n    __import__(settings.get("text", "helper"))\n'
    toy.write_text(toy.read_text().replace("    folder = Path(os", f"    {imports}    folder = Path(os"))
    content["stages"]["second"]["set"]["text"] = "graders"
    assert ablate(tmp_path, content).returncode == 0
    plan = plan_study(load_study(content, "toy.yaml"), tmp_path / "store", max(1, len(os.sched_getaffinity(0))))

    def stale() -> list[str]:
        return [stage.name for stage in plan.order if not stage.done]

    assert stale() == []
    both, alone = ["first", "second"], ["second"]
    changes = {"toy": both, "helper": both, "graders": alone, "lexicon": alone, "apart": []}
    for name, expected in changes.items():
        file = tmp_path / f"{name}.py"
        was = file.read_text()
        file.write_text(f"# a word on it\n{was}")
        assert stale() == expected, name
        file.write_text(was)
        assert stale() == []
    (tmp_path / "lexicon.py").unlink()
    assert stale() == alone
    (tmp_path / "lexicon.py").write_text("WORDS = 2\n")
    before = starts(tmp_path)
    assert "1 are there already (1 made by toy), 1 to run" in ablate(tmp_path, content).stdout
    assert [name.partition("-")[0] for name in starts(tmp_path)[len(before) :]] == alone
    assert stale() == []


def test_a_stage_of_another_python(tmp_path: Path) -> None:
    """Which sees nothing of this environment's PYTHONPATH; what a program needs there is known before anything runs."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/astray.py").write_text("raise SystemExit('found by PYTHONPATH')")
    content = toy_study(tmp_path, seeds=[0])
    other = tmp_path / "other.py"
    other.write_text((tmp_path / "toy.py").read_text().replace("def main():", "NEEDS = {}\n\n\ndef main():"))
    other.write_text(other.read_text().replace("import yaml", "import yaml, importlib.util\n    assert not "
                                               'importlib.util.find_spec("astray")'))  # fmt: skip
    python = {"second.program": str(other), "second.python": sys.executable}
    content["factors"] = {"how": {"here": {}, "there": {**python, "second.source": "${first}", "second.scale": 3.0}}}
    content["baseline"] = {"how": "here"}
    (tmp_path / "log").mkdir()
    done = ablate(tmp_path, content)
    assert done.returncode == 0, done.stderr
    here_, there = (cell["outcomes"]["value"]["values"]["0"] for cell in report_of(tmp_path)["cells"])
    assert there == pytest.approx(3.0 * here_)
    other.write_text(other.read_text().replace("NEEDS = {}", 'NEEDS = {"trl": "1.12.0"}'))
    assert f"{other} needs 1.12.0: give its stage the `python` of an environment" in refused(ablate(tmp_path, content))
    content["factors"]["how"]["there"]["second.python"] = str(tmp_path / "nowhere")
    assert "nowhere', which does not run; expected the Python of an environment" in refused(ablate(tmp_path, content))


def test_numbers_of_the_process_and_numbers_at_a_budget(tmp_path: Path) -> None:
    content = toy_study(tmp_path, seeds=[0, 1])
    of_series = {"stage": "second", "points": "series", "x": "x", "y": "y"}
    toy = tmp_path / "toy.py"
    named = 'report["named"] = {f"at {n}": {"x": n, "y": n * value} for n in (1, 2)}'
    toy.write_text(toy.read_text().replace('(out / "report.json")', f'{named}\n    (out / "report.json")'))
    content["curves"] = {"c": {"lines": {"of names": {**of_series, "points": "named", "cells": {"scale": 2.0}}}}}
    content["outcomes"] |= {
        "memory": {"stage": "second", "metric": "measured.peak_memory", "unit": 2**20},
        "at_3": {**of_series, "at": 3, "label": "y within 3"},
        "below": {**of_series, "at": 0.5},
        "halved": {"stage": "second", "metric": "value", "unit": 2},
    }
    done = ablate(tmp_path, content)
    assert done.returncode == 0, done.stderr
    cell = report_of(tmp_path)["cells"][1]["outcomes"]
    value = cell["value"]["values"]["0"]
    assert 1.0 < cell["memory"]["values"]["0"] < 1000.0  # MiB
    # Between the points (2, 2 value) and (4, 4 value), halfway; no point lies within a half.
    assert cell["at_3"]["values"]["0"] == pytest.approx(3.0 * value)
    assert cell["below"]["values"]["0"] is None
    assert cell["halved"]["values"]["0"] == pytest.approx(value / 2)
    points = report_of(tmp_path)["curves"][0]["lines"][0]["points"]
    assert [(point["label"], point["x"]["mean"]) for point in points] == [("at 1", 1.0), ("at 2", 2.0)]
    page = (tmp_path / "table/report.md").read_text()
    assert "`y at x of at most 3 (series)` of the stage `second`." in page
    assert "second has no value for y at x of at most 0.5" in page


@pytest.mark.parametrize(
    ("text", "status", "line"),
    [
        ("a\nerror: the disk is full; free some.\nb\n", 1, "error: the disk is full; free some."),
        ("Traceback (most recent call last):\n  File x\nValueError: no\n[progress 3]\n", 1, "ValueError: no"),
        (
            "[rank1]: Traceback (most recent call last):\n[rank1]: torch.OutOfMemoryError: CUDA out of memory\n"
            "W1126 18:00:00 1 torch/distributed/elastic/multiprocessing/api.py:900] Sending process\n"
            "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:\n" + "=" * 60 + "\nx FAILED\n",
            1,
            "[rank1]: torch.OutOfMemoryError: CUDA out of memory",
        ),
        ("stopped: no rows.\nsubprocess.CalledProcessError: Command\n", 1, "error: no rows."),
        ("step 3\rstep 4", -9, "killed by signal 9; before that: step 4"),
        ("starting\n" + "=" * 40 + "\nTraceback (most recent call last):\nValueError: why\n", 1, "ValueError: why"),
        ("", 2, "it ended with status 2 and printed nothing"),
    ],
)  # fmt: skip
def test_the_last_line_is_the_one_that_says_why(tmp_path: Path, text: str, status: int, line: str) -> None:
    (tmp_path / "log.txt").write_text(text)
    assert last_line(tmp_path / "log.txt", status) == line


def test_pictures_of_others_stay(tmp_path: Path) -> None:
    assert ablate(tmp_path, toy_study(tmp_path, seeds=[0])).returncode == 0
    (tmp_path / "table/mine.png").write_bytes(b"x")
    renamed = toy_study(tmp_path, seeds=[0], outcomes={"number": {"stage": "second", "metric": "value"}})
    assert ablate(tmp_path, renamed).returncode == 0
    assert {path.name for path in (tmp_path / "table").glob("*.png")} == {"mine.png", "number.png"}


def test_a_series_is_averaged_point_by_point(tmp_path: Path) -> None:
    points = {"stage": "second", "points": "series", "x": "x", "y": "y"}
    line = {**points, "by": "scale", "fit": "best_of_n"}
    content = toy_study(
        tmp_path,
        curves={
            "series": {"scale": "sqrt", "lines": {"scale {scale}": line}},
            "cells": {"lines": {"all": {"x": "scale", "y": "value"}}},
        },
    )
    done = ablate(tmp_path, content, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    report = report_of(tmp_path)
    series, cells = report["curves"]
    assert [one["name"] for one in series["lines"]] == ["scale 1.0", "scale 2.0"]
    values = report["cells"][1]["outcomes"]["value"]
    (low, middle, high) = series["lines"][1]["points"]
    assert [p["label"] for p in (low, middle, high)] == ["n=1", "n=2", "n=4"]
    assert high["y"]["mean"] == pytest.approx(4 * values["estimate"]["mean"])
    assert high["y"]["low"] == pytest.approx(4 * values["estimate"]["low"])
    assert (high["x"]["mean"], high["x_se"], "y_se" in high) == (4.0, 0.5, False)
    # y - y(1) = value (x - 1) with d = sqrt(x): the coefficients are proportional to value.
    fits = [one["fit"] for one in series["lines"]]
    assert fits[1]["alpha"]["mean"] / fits[0]["alpha"]["mean"] == pytest.approx(2.0)
    assert [p["x"]["mean"] for p in cells["lines"][0]["points"]] == [1.0, 2.0]
    page = (tmp_path / "table/report.md").read_text()
    assert "| scale 2.0 | d (α − β d) |" in page
    assert f"| scale 2.0 | n=4 | 4.000 [4.000, 4.000] | 0.500 | {high['y']['mean']:.3f} [" in page
    assert {path.name for path in (tmp_path / "table").glob("*.png")} == {"value.png", "series.png", "cells.png"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"factors": {"scale": {"second.scael": [1.0, 2.0]}}},
            "stage second: 'scael' is not a setting of .*toy.py; did you mean 'scale'",
        ),
        ({"baseline": {"size": 1}}, "baseline names the factor 'size'"),
        ({"factors": {"a": {"x": {}, "y": {}}}, "baseline": {}}, "the cells a=x and a=y are one"),
        ({"gpus": [0, 1, 2], "jobs": 2}, "3 GPUs cannot be dealt out evenly to 2 jobs"),
        ({"job": 2}, "'job' is not a key of an ablation; did you mean 'jobs'"),
        ({"jobs": 0}, "jobs is 0; expected at least 1"),
        ({"cluster_options": {"timeout_min": 5}}, "without a cluster"),
        ({"cluster": "local", "cluster_options": {"timeout": 5}}, "cluster_options"),
    ],
)
def test_a_mistake_costs_seconds(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    import re

    done = ablate(tmp_path, toy_study(tmp_path, **change))
    assert re.search(message, refused(done))
    assert starts(tmp_path) == []


def test_without_a_file() -> None:
    assert "--config is missing" in refused(here("--jobs", 2, program=str(ROOT / "scripts/ablate.py")))


SHIPPED = sorted(path for path in (ROOT / "recipes/ablations").glob("*.yaml") if "name" in read_yaml(path))


def test_every_shipped_ablation_can_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its head says how, what it looks at and what was seen; its stages' settings are ones that the programs have."""
    from rlaif.ablations.command import read_command

    monkeypatch.chdir(ROOT)
    for module in ("programs", "stages"):  # there is no environment with that
        monkeypatch.setattr(f"rlaif.ablations.{module}.versions", lambda python=None: {"trl": "1.12.0"})
    questions = [path for path in SHIPPED if not path.stem.startswith("compare_")]
    assert (len(questions), len(SHIPPED)) == (7, 9)
    plans = []
    for path in SHIPPED:
        relative = path.relative_to(ROOT)
        head = [line.removeprefix("#").strip() for line in path.read_text().splitlines() if line.startswith("#")]
        assert head[0] == f"python scripts/ablate.py --config {relative}"
        config, study, _ = read_command(["--config", str(relative)])
        assert study.name == path.stem
        assert len(study.seeds) == 5
        assert config.threads == 1
        if path in questions:
            assert study.finding
            assert study.source
            seen = next(line for line in head if line.startswith("Seen "))
            assert any(word in seen for word in ("confirmed", "not confirmed", "in part"))
        plans.append(plan_study(study, tmp_path, 1))
    # What they have in common is one stage for all of them.
    assert len({stage.address for plan in plans for stage in plan.order if stage.name == "sft"}) == 5


def test_what_trains_is_launched_by_accelerate_and_logs_where_it_is_told(tmp_path: Path, world: Path) -> None:
    """A reward model with the loss that its cell sets: TensorBoard has it under the stage's name."""
    pytest.importorskip("tensorboard")
    content = {
        "name": "losses", "seeds": [0], "report_to": "tensorboard", "launch": "recipes/accelerate/cpu.yaml",
        "stages": {"reward_model": {"program": "reward_models/bradley_terry.py", "set": {
            "model": str(world / "model"), "dataset": str(world / "dataset"), "seed": "${seed}", "max_steps": 2,
            "max_length": 256, "save_strategy": "no", "logging_steps": 1, "per_device_train_batch_size": 4,
        }}},
        "factors": {"loss": {"reward_model.preference_loss": ["margin"]}},
        "outcomes": {"loss": {"stage": "reward_model", "metric": "train.loss"}},
    }  # fmt: skip
    done = ablate(tmp_path, content, "--jobs", 1)
    assert done.returncode == 0, done.stderr
    (cell,) = report_of(tmp_path)["cells"]
    (stage,) = (tmp_path / "store").glob("reward_model-*")
    made = json.loads((stage / "output/report.json").read_text())
    assert cell["outcomes"]["loss"]["values"]["0"] == made["train"]["loss"]
    assert made["train"]["preference_loss"] == "margin"
    assert cell["samples"]["reward_model: pairs"] == made["train"]["pairs"] > 10
    assert list(stage.rglob("events.out.tfevents.*"))
    assert "accelerate.commands.launch" in (stage / "stage.json").read_text()
    assert json.loads((stage / "output/manifest.json").read_text())["config"]["run_name"] == stage.name
