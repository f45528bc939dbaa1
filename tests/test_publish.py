"""`rlaif publish` of a preference dataset: what is staged, what the card says, what a stranger reads back."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from support import SECRET, here, refused, rlaif, rlaif_env, rows_of, some_pairs, wait_until, write_rows
from support.hub import Hub
from support.programs import process_kept

from rlaif.commands.build import build
from rlaif.files import shards
from rlaif.files.preferences import FLIPPED, load_preferences
from rlaif.files.selection import BuildConfig
from rlaif.files.sources import fingerprint, write_jsonl
from rlaif.publish import checks
from rlaif.publish.dataset import stage_dataset
from rlaif.publish.provenance import trace
from rlaif.records import Judgment, Pair, Vote, content_hash

QUIET = dict.fromkeys(checks.CHECKS, "report")


def reasoned(prompt: Any, first: str, second: str) -> float:
    """A judge for the tests: unsure by length, never of the same mind in both orders."""
    return round(1.0 / (1.0 + math.exp(-(len(first) - len(second)) / 20 - 0.1)), 6)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs.jsonl, judged/ and preferences/, as the commands leave them."""
    folder = tmp_path_factory.mktemp("run")
    pairs = [
        {**pair, "subset": f"s{i % 3}", "model_a": "/home/ada/models/one", "model_b": "lab/two"}
        for i, pair in enumerate(some_pairs(60))
    ]
    pairs.append({"prompt": "Nothing to choose?", "response_a": "something", "response_b": ""})
    write_rows(folder / "pairs.jsonl", pairs)
    judge = [
        "judge",
        "--pairs",
        folder / "pairs.jsonl",
        "--judge",
        "scripted",
        "--judge_model",
        "test_publish:reasoned",
    ]
    for words in (
        [*judge, "--output", folder / "judged"],
        ["build", "--judgments", folder / "judged", "--output", folder / "preferences"],
    ):
        done = here(*words)
        assert done.returncode == 0, done.stderr
    return folder


def publish(run: Path, output: Path, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """In this process, which is offline; in one of its own where `env` names a Hub."""
    command = ["publish", "--preferences", run / "preferences", "--output", output, "--license", "cc-by-4.0"]
    return (rlaif if "HF_ENDPOINT" in env else here)(*command, *words, **env)


@pytest.fixture(scope="module")
def published(run: Path) -> Path:
    done = publish(run, run / "published", "--language", "en", "--names", "/home/ada/models/one=lab/one")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^sent +nothing$", done.stdout, re.MULTILINE)
    return run / "published"


READ = """
import json, sys
import datasets
name, out = sys.argv[1:]
rows = {c: {s: [*d] for s, d in datasets.load_dataset(name, c).items()} for c in ("default", "pairs", "votes")}
json.dump(rows, open(out, "w"))
"""


def read_afresh(name: object, folder: Path, **env: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The three configs as a program that knows nothing but `datasets` reads them."""
    out = folder / "read.json"
    done = subprocess.run(
        [sys.executable, "-c", READ, str(name), str(out)],
        capture_output=True,
        text=True,
        env={**rlaif_env(), "PYTHONPATH": "", "HF_DATASETS_CACHE": str(folder / "cache"), **env},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def read(published: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return read_afresh(published, tmp_path_factory.mktemp("read"))


def test_every_row_comes_back(run: Path, read: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    rows = read
    for split in ("train", "validation", "test"):
        built = pq.read_table(run / "preferences" / "data" / f"{split}-00000-of-00001.parquet").to_pylist()
        names = {"/home/ada/models/one": "lab/one"}
        for row in built:
            row |= {key: names.get(row[key], row[key]) for key in ("chosen_model", "rejected_model")}
        assert rows["default"][split] == built
    judged = {row["id"]: row for row in rows_of(run / "judged" / "judgments.jsonl")}
    pairs = {row["id"]: row for split in rows["pairs"].values() for row in split}
    assert pairs.keys() == judged.keys()
    for key, row in pairs.items():
        kept = {
            name: judged[key][name] for name in ("prompt", "response_a", "response_b", "z", "z_ab", "reason", "flags")
        }
        assert kept == {name: row[name] for name in kept}
        assert (
            json.loads(row["extra"]) == {"subset": judged[key]["subset"]}
            if "subset" in judged[key]
            else row["extra"] is None
        )
    unjudged = [row for row in pairs.values() if row["z"] is None]
    assert [row["reason"] for row in unjudged] == ["response_b is empty"]
    # A pair's preference, its judgment and its votes are in the split of its prompt, and say the same.
    place = {row["id"]: split for split, some in rows["pairs"].items() for row in some}
    votes = [(split, vote) for split, some in rows["votes"].items() for vote in some]
    assert len(votes) == 2 * 60
    for split, vote in votes:
        assert place[vote["pair_id"]] == split
        assert vote["p_a"] == pairs[vote["pair_id"]][f"z_{vote['order']}"]
        assert vote["p_first"] == pytest.approx(vote["p_a"] if vote["order"] == "ab" else 1 - vote["p_a"])
    for split, some in rows["default"].items():
        for row in some:
            pair = pairs[row["id"]]
            assert place[row["id"]] == split
            assert row["z"] == max(pair["z"], round(1 - pair["z"], 9))
            assert row["chosen"] == (pair["response_a"] if pair["z"] > 0.5 else pair["response_b"])


def test_what_was_published_is_read_by_our_own_programs(run: Path, published: Path) -> None:
    again, before = load_preferences(published, "train"), load_preferences(run / "preferences", "train")
    assert again.to_list() == before.to_list()


def test_the_card(run: Path, published: Path) -> None:
    text = (published / "README.md").read_text(encoding="utf-8")
    card = DatasetCard(text)
    assert card.data.license == "cc-by-4.0"
    assert card.data.language == ["en"]
    assert card.data.task_categories == ["text-generation"]
    assert card.data.size_categories == ["n<1K"]
    assert {"preference", "rlaif", "dpo", "synthetic"} <= set(card.data.tags)
    assert [config["config_name"] for config in card.data.to_dict()["configs"]] == ["default", "pairs", "votes"]
    report = json.loads((run / "judged" / "report.json").read_text())
    shown = dict(re.findall(r"^\| ([^|]+) \| ([^|]*) \|$", text, re.MULTILINE))
    assert re.fullmatch(r"`test_publish:reasoned`, template `[0-9a-f]{16}`: 61 rows", shown["judge"])
    assert shown["z is"].startswith("the mean of")
    assert shown["same winner in both orders"] == f"{100 * report['position_consistency']:.1f} %"
    assert shown["agreement with label"].startswith(f"{100 * report['agreement']:.1f} % [")
    assert shown["unjudged"] == "1 (1.6 %): response_b is empty 1"
    assert shown["the longer response wins, by the judge"] == f"{100 * report['longer_wins']['judge']:.1f} %"
    assert shown["the prompts"] == shown["the judge's output"] == "unknown"
    assert shown["probability on the two labels"] == "not measured"
    assert "120 votes (0 without a verdict)" in text
    assert "the seconds that 120 of these votes took not known" in text  # a function's are not measured
    assert "unjudged (by `rlaif build`) 1" in text
    assert "/home/" not in text
    row = json.loads(re.search(r"```json\n(.*?)\n```", text, re.DOTALL)[1])  # type: ignore[index]
    assert row in pq.read_table(published / "data").to_pylist()
    assert text.count("lab/one") >= 1


def test_no_path_of_this_machine_goes_out(run: Path, tmp_path: Path) -> None:
    done = publish(run, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and ".rlaif" not in path.parts:
            text = pq.read_table(path).to_pylist().__repr__() if path.suffix == ".parquet" else path.read_text()
            assert "/home/ada" not in text, path
            assert str(run) not in text, path
    models = pq.read_table(tmp_path / "out" / "pairs", columns=["model_a", "model_b"]).to_pylist()
    assert Counter((row["model_a"], row["model_b"]) for row in models) == {("one", "lab/two"): 60, (None, None): 1}


def test_round_trip_over_the_hub(run: Path, read: dict[str, Any], hub: Hub, tmp_path: Path) -> None:
    names = ["--names", "/home/ada/models/one=lab/one"]
    done = publish(run, tmp_path / "out", *names, "--repo_id", "ada/prefs", **hub.env)
    assert done.returncode == 0, done.stderr
    repo = hub.repos["datasets/ada/prefs"]
    assert repo.private
    assert len(repo.commits) == 2  # the Hub's own first one, and the push
    assert not any(name.startswith(".rlaif") for name in repo.files)
    assert read_afresh("ada/prefs", tmp_path, **hub.env) == read
    for text in (done.stdout, done.stderr, *(data.decode("utf-8", "replace") for data in repo.files.values())):
        assert hub.token not in text
    assert set(hub.uploads.values()) == {1}
    # The same once more makes the same bytes, of which a push sends nothing (test_push.py).
    again = publish(run, tmp_path / "out", *names, "--repo_id", "ada/prefs", "--dry_run", "true")
    assert again.returncode == 0, again.stderr
    assert {name: data for name, data in repo.files.items() if name != ".gitattributes"} == sent_of(tmp_path / "out")


def sent_of(folder: Path) -> dict[str, bytes]:
    """What a push sends of a folder: each file that is not hidden, by its name there."""
    paths = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        name.as_posix(): path.read_bytes()
        for name, path in paths.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def test_a_push_that_was_killed_goes_on_with_the_same_command(run: Path, hub: Hub, tmp_path: Path) -> None:
    hub.latency = 0.5
    words = ["publish", "--preferences", run / "preferences", "--output", tmp_path / "out", "--license", "mit"]
    command = [sys.executable, "-m", "rlaif", *map(str, words), "--repo_id", "ada/prefs"]
    with subprocess.Popen(command, env=rlaif_env(**hub.env), stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: len(hub.uploads) >= 2, 60)
        process.kill()
    repo = hub.repos["datasets/ada/prefs"]
    assert len(repo.commits) == 1  # nobody sees half a dataset
    hub.latency = 0.0
    done = rlaif(*words, "--repo_id", "ada/prefs", **hub.env)
    assert done.returncode == 0, done.stderr
    assert len(repo.commits) == 2
    assert {name: data for name, data in repo.files.items() if name != ".gitattributes"} == sent_of(tmp_path / "out")
    # What had arrived was not sent again; what was on its way at the kill may have arrived twice.
    assert sum(times == 1 for times in hub.uploads.values()) >= 2
    assert max(hub.uploads.values()) <= 2


def test_dry_run_sends_nothing_and_lists_every_file(run: Path, tmp_path: Path) -> None:
    words = ["--repo_id", "ada/prefs", "--dry_run", "true"]
    sends = publish(run, tmp_path / "out", *words[:2], HF_TOKEN="hf_a_token")
    assert "HF_HUB_OFFLINE is set" in refused(sends)  # whatever asks the Hub from here
    done = publish(run, tmp_path / "out", *words, HF_TOKEN="hf_a_token")
    assert done.returncode == 0, done.stderr
    for name, data in sent_of(tmp_path / "out").items():
        assert re.search(rf"^ +{re.escape(name)} +{len(data)}$", done.stdout, re.MULTILINE), name


def trained_by_trl(model: Path, folder: Path, output: Path) -> list[tuple[int, int]]:
    """Two steps of TRL's own trainers on a folder, as TRL's users write them: the rows used, and those there are."""
    import datasets
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

    common: dict[str, Any] = {"max_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True, "bf16": False}
    common |= {"logging_steps": 1, "save_strategy": "no", "eval_strategy": "steps", "eval_steps": 2}
    common |= {"max_length": 256, "report_to": "none", "output_dir": str(output)}
    data = datasets.load_dataset(str(folder), cache_dir=str(output / "cache"))
    counts = []
    for trainer, config in ((RewardTrainer, RewardConfig), (DPOTrainer, DPOConfig)):
        run = trainer(
            model=str(model),
            args=config(**common),
            train_dataset=data["train"],
            eval_dataset=data["test"],
            processing_class=AutoTokenizer.from_pretrained(model),
        )
        run.train()
        losses = [row["loss"] for row in run.state.log_history if "loss" in row]
        assert len(losses) == 2
        assert all(0 < loss < 100 for loss in losses), losses
        counts.append((len(run.train_dataset), len(data["train"])))
    return counts


def test_trls_own_trainers_take_it_unchanged(tmp_path: Path, chat_model: Path) -> None:
    """Prompts that are texts, and prompts that are messages."""
    for kind in ("texts", "messages"):
        rows = []
        for i in range(60):
            asked = f"What is {i}?"
            prompt = asked if kind == "texts" else [{"role": "user", "content": asked}]
            pair = Pair(prompt, f"It is {i}." * (1 + i % 3), f"No idea {i}")
            rows.append(Judgment(pair, 0.9, judge="j", template="t").row())
        folder = tmp_path / kind
        write_rows(folder / "judgments.jsonl", rows)
        build(BuildConfig(judgments=str(folder / "judgments.jsonl"), output=str(folder / "preferences")))
        words = ["publish", "--preferences", folder / "preferences", "--output", folder / "out", "--license", "mit"]
        done = here(*words)
        assert done.returncode == 0, done.stderr
        with process_kept():
            counts = trained_by_trl(chat_model, folder / "out", tmp_path / "trained")
        assert [used == there for used, there in counts] == [True, True]  # TRL dropped no row


def preferences_of(folder: Path, judgments: list[Judgment], **settings: Any) -> Path:
    write_jsonl(folder / "judgments.jsonl", [judgment.row() for judgment in judgments])
    build(BuildConfig(judgments=str(folder / "judgments.jsonl"), output=str(folder / "preferences"), **settings))
    return folder / "preferences"


def test_drop_leaves_a_row_out_of_every_config(server: Any, tmp_path: Path) -> None:
    """A key in a response, and another one in what a judge wrote, take their pairs out everywhere."""
    key = "ghp_" + content_hash("a key")[:30] + "AbCdEf"
    pairs = some_pairs(12)
    pairs[3]["response_b"] += f" Use {key} for it."
    write_rows(tmp_path / "pairs.jsonl", pairs)
    server.answer = lambda body, number: f"1, and {key}" if "Question 7" in json.dumps(body["messages"]) else "1"
    judge = [
        "judge",
        "--pairs",
        tmp_path / "pairs.jsonl",
        "--judge",
        "api",
        "--judge_model",
        "m",
        "--base_url",
        server.url,
    ]
    assert here(*judge, "--output", tmp_path / "judged", "--retry_unjudged", "false").returncode == 0
    rows = rows_of(tmp_path / "judged" / "judgments.jsonl")
    write_rows(tmp_path / "judged" / "judgments.jsonl", [{**row, "z": 0.8, "reason": None} for row in rows])
    assert here("build", "--judgments", tmp_path / "judged", "--output", tmp_path / "preferences").returncode == 0
    line = refused(publish(tmp_path, tmp_path / "out"))
    assert "secrets in 2 rows (" in line
    assert "--secrets drop" in line
    assert key not in line
    assert not (tmp_path / "out" / "data").exists()
    report = json.loads((tmp_path / "out" / ".rlaif" / "report.json").read_text())
    assert not (tmp_path / "out" / "report.json").exists()
    assert {row["where"] for row in report["checks"]["secrets"]["sample"]} == {"response_b", "vote"}
    assert key not in json.dumps(report)
    done = publish(tmp_path, tmp_path / "out", "--secrets", "drop")
    assert done.returncode == 0, done.stderr
    ids = {rows[3]["id"], rows[7]["id"]}
    for config, column in (("data", "id"), ("pairs", "id"), ("votes", "pair_id")):
        table = pq.read_table(tmp_path / "out" / config).to_pylist()
        assert not ids & {row[column] for row in table}
        assert {row[column] for row in table} == {row["id"] for row in rows} - ids
    for path in (tmp_path / "out").rglob("*.parquet"):
        assert key not in repr(pq.read_table(path).to_pylist())
    assert "a key, token or password 2" in (tmp_path / "out" / "README.md").read_text()


def test_shards_and_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_GROUP_ROWS", 100)  # a new shard is begun between two groups of rows
    judgments = [Judgment(Pair(f"p{i} {'x' * 500}", f"a{i}", f"b{i}"), 0.9) for i in range(240)]
    folder = preferences_of(tmp_path, judgments, validation=0.0, test=0.0)
    stage_dataset(folder, tmp_path / "out", QUIET, trace(folder), shard_bytes=1 << 10, processes=1)  # type: ignore[arg-type]
    names = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    assert names == [f"train-{i:05d}-of-{len(names):05d}.parquet" for i in range(len(names))]
    assert len(names) == 3
    assert pq.read_table(tmp_path / "out" / "data").num_rows == 240


def test_a_split_that_is_gone_leaves_no_shard(tmp_path: Path) -> None:
    judgments = [Judgment(Pair(f"p{i}", f"a{i}", f"b{i}"), 0.9) for i in range(50)]
    for test in (0.3, 0.0):
        folder = preferences_of(tmp_path, judgments, validation=0.0, test=test)
        stage_dataset(folder, tmp_path / "out", QUIET, trace(folder))  # type: ignore[arg-type]
    for config in ("data", "pairs"):
        assert [path.name for path in (tmp_path / "out" / config).iterdir()] == ["train-00000-of-00001.parquet"]


def copied(run: Path, folder: Path, **config: Any) -> Path:
    """A copy of a run's preferences, whose manifest says something else."""
    shutil.copytree(run / "preferences", folder / "preferences")
    manifest = json.loads((folder / "preferences" / "manifest.json").read_text())
    manifest["config"] |= config
    (folder / "preferences" / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_without_its_judgments_a_dataset_has_one_config(run: Path, tmp_path: Path) -> None:
    copied(run, tmp_path, judgments=str(tmp_path / "gone"))
    line = refused(publish(tmp_path, tmp_path / "out"))
    assert "gone, which is not there; expected the judgments" in line
    done = publish(tmp_path, tmp_path / "out", "--judgments", "none")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "README.md").read_text()
    assert text.count("config_name") == 1
    assert "the share unjudged): not measured" in text
    assert "LLM judge" not in text
    named = publish(tmp_path, tmp_path / "out", "--judgments", run / "judged")
    assert named.returncode == 0, named.stderr
    assert (tmp_path / "out" / "README.md").read_text().count("config_name") == 3


def test_a_run_is_found_from_any_folder(run: Path, tmp_path: Path) -> None:
    """Manifests name places as seen from where the commands ran."""
    shutil.copytree(run, tmp_path / "work" / "runs" / "mine")
    copy = tmp_path / "work" / "runs" / "mine"
    for step, name in (("preferences", "judgments"), ("judged", "pairs")):
        manifest = json.loads((copy / step / "manifest.json").read_text())
        old = manifest["config"][name]
        new = "runs/mine/" + Path(old).name
        manifest["config"][name] = new
        manifest["inputs"] = {new: manifest["inputs"][old]}
        (copy / step / "manifest.json").write_text(json.dumps(manifest))
    origin = trace(copy / "preferences")
    assert origin.judgments == copy / "judged"
    assert origin.judge is not None
    assert origin.judge.folder == copy / "judged"


def test_judgments_are_found_by_what_they_hold(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from elsewhere a relative name is another folder's, or no judgments at all: neither was written anew."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "judged").rename(copy / "mine")
    path = copy / "preferences" / "manifest.json"
    rows = fingerprint(copy / "mine" / "judgments.jsonl")

    def built_from(name: str) -> None:
        manifest = json.loads(path.read_text())
        manifest["config"]["judgments"] = name
        manifest["inputs"] = {name: "another", str(Path(name) / "judgments.jsonl"): rows}
        path.write_text(json.dumps(manifest))

    other = tmp_path / "elsewhere"
    shutil.copytree(copy / "mine", other / "mine")
    (other / "mine" / "judgments.jsonl").write_text("{}\n")
    monkeypatch.chdir(other)
    built_from("mine")
    assert trace(copy / "preferences").judgments == copy / "mine"
    (copy / "mine").rename(copy / "away")
    assert trace(copy / "preferences").rewritten == Path("mine/judgments.jsonl")
    built_from(".")
    monkeypatch.chdir(copy / "preferences")
    found = trace(Path("."))
    assert (found.judgments, found.rewritten) == (None, None)


def test_pairs_in_the_working_folder_are_followed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their folder is ".", which has no name."""
    shutil.copytree(run, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    manifest = json.loads(Path("judged/manifest.json").read_text())
    manifest["config"]["pairs"] = "pairs.jsonl"
    manifest["inputs"] = {"pairs.jsonl": fingerprint("pairs.jsonl")}
    Path("judged/manifest.json").write_text(json.dumps(manifest))
    found = trace(Path("preferences"), "judged")
    assert found.judge is not None
    assert found.sample is None


def test_a_step_that_was_run_anew_is_not_told_of(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pairs file is another one than was judged: whatever its folder says is of another run."""
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "sampled").mkdir()
    pairs = tmp_path / "run" / "sampled" / "pairs.jsonl"
    shutil.move(tmp_path / "run" / "pairs.jsonl", pairs)
    (pairs.parent / "manifest.json").write_text('{"command": "rlaif sample", "config": {"policy": "me"}}')
    judged = tmp_path / "run" / "judged" / "manifest.json"
    manifest = json.loads(judged.read_text())
    manifest["inputs"] = {str(pairs): fingerprint(pairs)}
    manifest["config"]["pairs"] = str(pairs)
    judged.write_text(json.dumps(manifest))
    found = trace(tmp_path / "run" / "preferences", str(tmp_path / "run" / "judged"))
    assert found.sample is not None
    assert found.sample.config["policy"] == "me"
    pairs.write_text(pairs.read_text() + "\n")
    assert trace(tmp_path / "run" / "preferences", str(tmp_path / "run" / "judged")).sample is None
    assert "is not what" in capsys.readouterr().err


def test_shared_and_foreign_votes(tmp_path: Path) -> None:
    """Pairs of equal content share a reply, under whatever ids; replies to other pairs in the store stay there."""
    pairs = some_pairs(8)
    twins = [{**pair, "id": f"twin-{i}"} for i, pair in enumerate(pairs[:2])]
    judge = ["judge", "--judge", "scripted", "--judge_model", "test_publish:reasoned", "--output", tmp_path / "judged"]
    write_rows(tmp_path / "first.jsonl", [*pairs, {"prompt": "only here", "response_a": "a", "response_b": "bb"}])
    write_rows(tmp_path / "second.jsonl", [*pairs, *twins])
    for name in ("first", "second"):
        done = here(*judge, "--pairs", tmp_path / f"{name}.jsonl")
        assert done.returncode == 0, done.stderr
    assert here("build", "--judgments", tmp_path / "judged", "--output", tmp_path / "preferences").returncode == 0
    done = publish(tmp_path, tmp_path / "out", "--duplicates", "report")
    assert done.returncode == 0, done.stderr
    votes = pq.read_table(tmp_path / "out" / "votes").to_pylist()
    rows = pq.read_table(tmp_path / "out" / "pairs").to_pylist()
    assert Counter(vote["pair_id"] for vote in votes) == dict.fromkeys((row["id"] for row in rows), 2)
    assert {"twin-0", "twin-1"} < {row["id"] for row in rows}
    text = (tmp_path / "out" / "README.md").read_text()
    assert "16 votes (0 without a verdict)" in text
    assert "2 other replies, of which z was not made, are not published" in text


def test_a_pair_and_its_mirror_image_keep_their_own_votes(tmp_path: Path) -> None:
    """(a, b) in order ab and (b, a) in order ba are one call of the judge, which counts once."""
    pairs = [{**pair, "id": f"pair-{i}"} for i, pair in enumerate(some_pairs(30))]
    mirrored = [
        {**pair, "id": f"mirror-{i}", "response_a": pair["response_b"], "response_b": pair["response_a"]}
        for i, pair in enumerate(pairs)
    ]
    for pair in mirrored:
        del pair["label"]
    write_rows(tmp_path / "pairs.jsonl", [*pairs, *mirrored])
    judge = ["judge", "--judge", "scripted", "--judge_model", "test_publish:reasoned", "--output", tmp_path / "judged"]
    for words in (
        [*judge, "--pairs", tmp_path / "pairs.jsonl"],
        ["build", "--judgments", tmp_path / "judged", "--output", tmp_path / "preferences"],
    ):
        done = here(*words)
        assert done.returncode == 0, done.stderr
    done = publish(tmp_path, tmp_path / "out", "--duplicates", "report")
    assert done.returncode == 0, done.stderr
    judged = {row["id"]: row for row in rows_of(tmp_path / "judged" / "judgments.jsonl")}
    votes = pq.read_table(tmp_path / "out" / "votes").to_pylist()
    assert len(votes) == 120
    assert len({vote["key"] for vote in votes}) == 60
    for vote in votes:
        assert vote["p_a"] == judged[vote["pair_id"]][f"z_{vote['order']}"]
    assert "60 votes (0 without a verdict)" in (tmp_path / "out" / "README.md").read_text()


def older_run(folder: Path, *, of_today: bool = False) -> Path:
    """judged/ and preferences/ as earlier versions left them: votes/ with `bought` and `seconds`, failures in it.

    With `of_today` the same votes in the layout of today.
    """
    pairs = [Pair(f"What is {i}?", f"It is {i}.", f"No idea about {i}.", id=f"pair-{i}") for i in range(3)]
    pairs.append(Pair("What is 0?", "It is 0.", "No idea about 0.", id="twin"))
    p_first = {"0ab": 0.9, "0ba": 0.3, "1ab": 0.8, "1ba": 0.4, "2ab": 0.7}  # of order ba of the third pair: nothing
    keys = {f"{i}{order}": content_hash(i, order) for i in range(3) for order in ("ab", "ba")}
    judgments, rows = [], []
    for at, pair in enumerate(pairs):
        i = at % 3
        own = {"judge": "lab/judge", "template": "f" * 16, "votes": 2, "vote_keys": (keys[f"{i}ab"], keys[f"{i}ba"])}
        z_ab, first = p_first[f"{i}ab"], p_first.get(f"{i}ba")
        z_ba = None if first is None else round(1 - first, 6)
        if z_ba is None:
            judgments.append(Judgment(pair, None, "order ba: timed out", z_ab, None, readable=1, **own))  # type: ignore[arg-type]
        else:
            judgments.append(Judgment(pair, (z_ab + z_ba) / 2, None, z_ab, z_ba, readable=2, **own))  # type: ignore[arg-type]
        for order in ("ab", "ba"):
            value = p_first.get(f"{i}{order}")
            row = {"key": keys[f"{i}{order}"], "pair_id": pair.id, "judge": "lab/judge", "template": "f" * 16}
            row |= {"order": order, "sample": 0, "p_first": value, "reason": None if value else "timed out"}
            row |= {"method": "logprobs" if value else None, "mass": 0.99 if value else None}
            row |= {"text": "1" if value else None, "usage": {"prompt_tokens": 50, "completion_tokens": 1}}
            rows.append({**row, "seconds": 1.5, "bought": value is not None})
    judged = folder / "judged"
    new = () if of_today else ("method", "reading")
    told = [{name: value for name, value in j.row().items() if name not in new} for j in judgments]
    write_jsonl(judged / "judgments.jsonl", told)
    manifest = {"command": "rlaif judge", "config": {"judge": "api", "judge_model": "lab/judge", "orders": "both"}}
    (judged / "manifest.json").write_text(json.dumps(manifest))
    consistency = "position_consistency" if of_today else "order_consistency"
    (judged / "report.json").write_text(json.dumps({"pairs": 4, "unjudged": 1, consistency: 0.75}))
    stored = rows[:6]
    # A question of another run, and one that failed at first, in an earlier file.
    other = {**rows[0], "key": content_hash("another template")}
    failed = {**rows[0], "p_first": None, "reason": "connection lost", "method": None, "mass": None, "bought": False}
    if of_today:
        took = ("key", "usage", "seconds")
        write_jsonl(judged / "replies" / "1.jsonl", [{name: row[name] for name in took} for row in [*stored, other]])
        write_jsonl(judged / "votes.jsonl", [Vote.from_row(row).row() for row in rows])
    else:
        write_jsonl(judged / "votes" / "1.jsonl", [failed, *stored[4:], other])
        write_jsonl(judged / "votes" / "2.jsonl", [*stored[:4], {**stored[1], "p_first": 0.5}])
        with (judged / "votes" / "2.jsonl").open("a") as file:
            file.write('{"key": "torn')
    build(BuildConfig(judgments=str(judged), output=str(folder / "preferences"), test=0.0, validation=0.0))
    return folder


@pytest.mark.parametrize("of_today", [False, True])
def test_a_folder_of_an_earlier_version_publishes_the_same_rows(of_today: bool, tmp_path: Path) -> None:
    older_run(tmp_path, of_today=of_today)
    built = pq.read_table(tmp_path / "preferences" / "data").to_pylist()
    assert [(row["id"], row["z"]) for row in built] == [("pair-0", 0.8), ("pair-1", 0.7), ("twin", 0.8)]
    done = publish(tmp_path, tmp_path / "out", "--duplicates", "report", "--price_input", "2", "--price_output", "4")
    assert done.returncode == 0, done.stderr
    assert "more votes were lost" not in (tmp_path / "out" / "README.md").read_text()
    votes = pq.read_table(tmp_path / "out" / "votes").to_pylist()
    shown = ("pair_id", "order", "p_first", "p_a", "reason", "text", "prompt_tokens", "completion_tokens", "seconds")
    rows = [tuple(vote[name] for name in shown) for vote in votes]
    good = [
        [(pair, "ab", 0.9, 0.9, None, "1", 50, 1, 1.5), (pair, "ba", 0.3, 0.7, None, "1", 50, 1, 1.5)]
        for pair in ("pair-0", "twin")
    ]
    expected = [
        ("pair-2", "ab", 0.7, 0.7, None, "1", 50, 1, 1.5),
        *(good[0][0], good[1][0], good[0][1], good[1][1]),
        ("pair-1", "ab", 0.8, 0.8, None, "1", 50, 1, 1.5),
        ("pair-1", "ba", 0.4, 0.6, None, "1", 50, 1, 1.5),
        ("pair-2", "ba", None, None, "timed out", None, 50, 1, 1.5),  # what failed for good comes last
    ]
    assert sorted(map(str, rows)) == sorted(map(str, expected))
    assert of_today or rows == expected
    text = (tmp_path / "out" / "README.md").read_text()
    tokens = "300 tokens read and 6 written by the judge, 9 seconds of answering in sum over calls"
    assert f"6 votes (1 without a verdict), {tokens}; USD 0.00 at 2.0 and 4.0" in text
    assert "1 other replies, of which z was not made, are not published" in text
    assert "| same winner in both orders | 75.0 % |" in text


def test_what_a_vote_took_is_unknown_without_its_reply(tmp_path: Path) -> None:
    """Not 0: neither in the rows nor in the card. The tokens stand in the vote too."""
    older_run(tmp_path, of_today=True)
    replies = tmp_path / "judged" / "replies" / "1.jsonl"
    write_rows(replies, rows_of(replies)[1:])
    done = publish(tmp_path, tmp_path / "out", "--duplicates", "report")
    assert done.returncode == 0, done.stderr
    votes = pq.read_table(tmp_path / "out" / "votes").to_pylist()
    unknown = [vote for vote in votes if vote["seconds"] is None]
    assert [(vote["pair_id"], vote["order"]) for vote in unknown] == [("pair-0", "ab"), ("twin", "ab")]
    assert {vote["prompt_tokens"] for vote in votes} == {50}
    text = (tmp_path / "out" / "README.md").read_text()
    assert "300 tokens read and 6 written by the judge, the seconds that 1 of these votes took not known" in text
    shutil.rmtree(replies.parent)
    assert publish(tmp_path, tmp_path / "out", "--duplicates", "report").returncode == 0
    assert {vote["seconds"] for vote in pq.read_table(tmp_path / "out" / "votes").to_pylist()} == {None}
    assert not replies.parent.exists()  # what is published is only read


def test_votes_of_another_run_are_not_published(tmp_path: Path) -> None:
    """votes.jsonl is not the one that was written with these judgments."""
    older_run(tmp_path, of_today=True)
    votes = tmp_path / "judged" / "votes.jsonl"
    rows = rows_of(votes)
    write_rows(votes, [{**rows[0], "key": content_hash("else")}, *rows[1:6], {**rows[6], "pair_id": "who"}, rows[7]])
    done = publish(tmp_path, tmp_path / "out", "--duplicates", "report")
    assert done.returncode == 0, done.stderr
    assert "1 votes that the judgments were made of are not in" in done.stderr
    assert "1 more votes were lost" in (tmp_path / "out" / "README.md").read_text()
    assert pq.read_table(tmp_path / "out" / "votes").num_rows == 6
    votes.write_text(votes.read_text() + '{"key": "0", "order": "ab"}\n')
    assert "votes.jsonl:9 is no vote (" in refused(publish(tmp_path, tmp_path / "out", "--duplicates", "report"))


@pytest.mark.parametrize("settings", [{"z_from": "label"}, {"z_from": "label", "split_by": "subset"}, {"test": 0.0}])
def test_the_card_says_nothing_that_is_not_so(run: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    rows = [row for row in rows_of(run / "judged" / "judgments.jsonl") if row.get("label")]
    judged = write_rows(tmp_path / "judgments.jsonl", rows)
    build(BuildConfig(judgments=str(judged), output=str(tmp_path / "preferences"), **settings))
    done = publish(tmp_path, tmp_path / "out", "--split_prompts", "report")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "README.md").read_text()
    # These judgments have no folder of `rlaif judge`: nothing is known of how they were asked.
    for line in ("LLM judge", "synthetic", "not the truth about quality", "both orders"):
        assert line not in text, line
    assert "| calibration | none: z is " in text
    hard = settings.get("z_from") == "label"
    assert ("z is 1 everywhere" in text) == hard
    assert f"by hash of {settings.get('split_by', 'prompt')}: test {settings.get('test', 0.1)}" in text
    assert "votes: " not in str(DatasetCard(text).data)


def test_verdicts_that_were_turned_round_do_not_go_out(run: Path, tmp_path: Path) -> None:
    """However the dataset lost its manifest, its judgments or, by a detour over a file, its origin."""
    noisy = tmp_path / "preferences"
    build(BuildConfig(judgments=str(run / "judged"), output=str(noisy), flip_rate=0.3))
    line = "was built with --flip_rate: verdicts in it are the opposite of what was judged"
    assert line in refused(publish(tmp_path, tmp_path / "out"))
    (noisy / "manifest.json").unlink()
    assert line in refused(publish(tmp_path, tmp_path / "out", "--judgments", "none"))
    detour = ["convert", "--source", noisy, "--split", "train", "--output", tmp_path / "again.jsonl"]
    assert here(*detour).returncode == 0
    shutil.rmtree(noisy)
    build(BuildConfig(judgments=str(tmp_path / "again.jsonl"), output=str(noisy)))
    assert line in refused(publish(tmp_path, tmp_path / "out"))
    # Or its column: then the manifest tells.
    build(BuildConfig(judgments=str(run / "judged"), output=str(noisy), flip_rate=0.3))
    for path in (noisy / "data").iterdir():
        table = pq.read_table(path)
        pq.write_table(table.drop_columns([name for name in table.column_names if name == FLIPPED]), path)
    assert line in refused(publish(tmp_path, tmp_path / "out", "--judgments", run / "judged"))
    assert not (tmp_path / "out").exists()


def test_columns_of_the_source_are_checked_and_lose_their_paths(tmp_path: Path) -> None:
    rows = []
    for i, pair in enumerate(some_pairs(6)):
        extra = {
            "file": "/home/ada/secret/data.jsonl",
            "url": "https://example.org/x",
            "deep": [{"p": "~/a/b"}],
            "n": i,
        }
        rows.append({**pair, **extra, "z": 0.9})
    rows[2]["note"] = "written by ada.lovelace@mailbox.org"
    write_rows(tmp_path / "judgments.jsonl", rows)
    build(BuildConfig(judgments=str(tmp_path / "judgments.jsonl"), output=str(tmp_path / "preferences")))
    assert "personal in 1 rows (1 e-mail address)" in refused(publish(tmp_path, tmp_path / "out"))
    assert publish(tmp_path, tmp_path / "out", "--personal", "drop").returncode == 0
    kept = [json.loads(row["extra"]) for row in pq.read_table(tmp_path / "out" / "pairs").to_pylist()]
    assert len(kept) == 5
    for extra in kept:
        assert (extra["file"], extra["url"], extra["deep"]) == ("data.jsonl", "https://example.org/x", [{"p": "b"}])


def test_what_was_measured_of_other_judgments_is_refused(run: Path, tmp_path: Path) -> None:
    report = {"judge": {"pairs": 61, "truth": "gold", "agreement": 0.123}}
    (tmp_path / "report.json").write_text(json.dumps(report))
    named = str(run / "judged")
    for mark, good in (("sha256:0", False), (fingerprint(named), True)):
        manifest = {"config": {"judgments": named}, "inputs": {named: mark}}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        done = publish(run, tmp_path / "out", "--evaluation", tmp_path)
        if good:
            assert done.returncode == 0, done.stderr
            assert "| agreement with gold | 12.3 % [" in (tmp_path / "out" / "README.md").read_text()
        else:
            assert "as they were then, and these are others" in refused(done)


def test_the_card_names_its_benchmarks(run: Path, tmp_path: Path) -> None:
    items = [{"id": "q", "prompt": "How many angels can dance on the head of a pin, and for how long?"}]
    (tmp_path / "b.jsonl").write_text(json.dumps(items[0]))
    done = publish(run, tmp_path / "out", "--benchmarks", f"angels={tmp_path / 'b.jsonl'}")
    assert done.returncode == 0, done.stderr
    assert "Benchmarks: angels (1 prompts, `sha256:" in (tmp_path / "out" / "README.md").read_text()


def broken(run: Path, folder: Path) -> dict[str, tuple[list[object], str]]:
    """Command lines that are refused, and a part of the line that says so."""
    other = folder / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    ok: list[object] = ["--preferences", run / "preferences", "--output", folder / "out"]
    mixed = folder / "mixed" / "data"
    mixed.mkdir(parents=True)
    row = {"id": "1", "prompt": "p", "chosen": "a", "rejected": "b", "z": 0.9, "label": None}
    pq.write_table(pa.Table.from_pylist([row]), mixed / "train-00000-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist([{**row, "z": "0.9"}]), mixed / "train-00001-of-00002.parquet")
    torn = folder / "torn" / "data"
    torn.mkdir(parents=True)
    (torn / "train-00000-of-00001.parquet").write_bytes(b"PAR1 no more")
    model = folder / "model"
    (model / ".rlaif").mkdir(parents=True)
    (model / ".rlaif" / "kind").write_text("reward_model")
    stray = folder / "stray"
    (stray / ".rlaif").mkdir(parents=True)
    (stray / "private.txt").write_text("mine")
    null = folder / "null"
    (null / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([{**row, "z": None}]), null / "data" / "train-00000-of-00001.parquet")
    fewer = copied(run, folder / "fewer", judgments=str(run / "judged"))
    train = fewer / "preferences" / "data" / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(train).slice(1), train)
    stale = folder / "stale"
    judgments = [Judgment(Pair(f"p{i}", f"a{i}", f"b{i}"), 0.9) for i in range(9)]
    preferences_of(stale, judgments)
    write_jsonl(stale / "judgments.jsonl", [Judgment(j.pair, 0.8).row() for j in judgments])
    return {
        "nothing": (
            ["--output", folder / "out", "--license", "mit"],
            "one of preferences, reward_model and policy must be set; expected --",
        ),
        "two things": ([*ok, "--policy", "x", "--license", "mit"], "got preferences and policy; expected one of them"),
        "no licence": (ok, "license must be set: nobody but you knows it"),
        "licence": (
            [*ok, "--license", "apache"],
            "license is 'apache'; expected an identifier of the Hub's list, did you mean",
        ),
        "other": ([*ok, "--license", "other"], "'other' without its name and text"),
        "language": ([*ok, "--license", "mit", "--language", "english"], "language holds 'english'; expected ISO 639"),
        "tag": ([*ok, "--license", "mit", "--tags", "a,b"], "tags holds 'a,b'; expected one short word"),
        "a model's setting": (
            [*ok, "--license", "mit", "--base_model", "m"],
            "base_model says nothing about preferences",
        ),
        "no output": (["--preferences", run, "--license", "mit"], "output must be set"),
        "no dataset": (
            [*ok[2:], "--preferences", run / "judged", "--license", "mit"],
            "holds no data/<split>-*.parquet; expected the folder that `rlaif build` wrote",
        ),
        "no folder": (
            [*ok[2:], "--preferences", folder / "no", "--license", "mit"],
            "does not exist; expected the folder",
        ),
        "mixed schema": (
            [*ok[2:], "--preferences", folder / "mixed", "--license", "mit", "--judgments", "none"],
            "train-00001-of-00002.parquet has 'z' as string, ",
        ),
        "torn": (
            [*ok[2:], "--preferences", folder / "torn", "--license", "mit", "--judgments", "none"],
            "is not Parquet",
        ),
        "other judgments": (
            [*ok[2:], "--preferences", stale / "preferences", "--license", "mit"],
            "was written anew since",
        ),
        "into itself": (
            ["--preferences", run / "preferences", "--output", run / "preferences", "--license", "mit"],
            "which is in what is published",
        ),
        "another kind": ([*ok[:2], "--output", model, "--license", "mit"], "where a reward model was staged"),
        "a folder of mine": ([*ok[:2], "--output", other, "--license", "mit"], "holds notes.txt"),
        "action": ([*ok, "--license", "mit", "--secrets", "ignore"], "secrets is 'ignore'; expected one of "),
        "similarity": ([*ok, "--license", "mit", "--similarity", "70"], "similarity is 70.0; expected"),
        "processes": ([*ok, "--license", "mit", "--processes", "-3"], "processes is -3; expected"),
        "one price": (
            [*ok, "--license", "mit", "--price_input", "1"],
            "one of price_input and price_output is missing",
        ),
        "no benchmark": ([*ok, "--license", "mit", "--contamination", "drop"], "there is nothing to look for"),
        "names": ([*ok, "--license", "mit", "--names", "/home/ada/models/on=x/y"], "which is no model of this dataset"),
        "a stray file": ([*ok[:2], "--output", stray, "--license", "mit"], "private.txt was not written by"),
        "null z": (
            [*ok[2:], "--preferences", null, "--license", "mit", "--judgments", "none"],
            ".parquet:1: z is None",
        ),
        "fewer rows": (
            [*ok[2:], "--preferences", fewer / "preferences", "--license", "mit"],
            "expected no change since",
        ),
        "evaluation": ([*ok, "--license", "mit", "--evaluation", folder / "no.json"], "which does not exist"),
        "no token": ([*ok, "--license", "mit", "--repo_id", "ada/prefs"], "HF_"),
    }


def test_bad_input_ends_in_one_line(run: Path, tmp_path: Path) -> None:
    for name, (words, line) in broken(run, tmp_path).items():
        said = refused(here("publish", *words))
        assert line in said, (name, said)
    assert not (tmp_path / "out" / "data").exists()


def test_a_card_that_the_hub_refuses_is_known_before_anything_is_read(run: Path, hub: Hub, tmp_path: Path) -> None:
    hub.fail("POST /api/validate-yaml", status=400, message="license must be one of ...", times=9)
    said = refused(publish(run, tmp_path / "out", "--repo_id", "ada/prefs", **hub.env))
    assert "license must be one of" in said
    assert not (tmp_path / "out").exists()


def test_the_key_of_the_judge_is_nowhere(published: Path) -> None:
    for path in published.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()
