"""The promise of scripts/quickstart.sh, kept for real: one command, offline, and the numbers that it must show."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from support import ROOT
from support.hub import Hub

PROGRAM = "#!{python}\nfrom {module} import main\nmain()\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the working tree, so that the user's runs/ stay as they are."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    copy = tmp_path.resolve() / "checkout"
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def environment(checkout: Path) -> Path:
    """A virtual environment with the running one's packages and the copy's rlaif: nothing is installed anywhere."""
    folder = checkout.parent / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    outer = sysconfig.get_paths()["purelib"]
    (packages / "outer.pth").write_text(f"{checkout}\nimport site; site.addsitedir({outer!r})\n")
    for name, module in (("rlaif", "rlaif.cli"), ("accelerate", "accelerate.commands.accelerate_cli")):
        program = folder / "bin" / name
        program.write_text(PROGRAM.format(python=folder / "bin" / "python", module=module))
        program.chmod(0o755)
    # The stamp by which scripts/environment.sh knows that it has installed.
    wanted = 'echo "$PWD $(cat pyproject.toml scripts/constraints.txt | cksum)"'
    stamp = subprocess.run(["bash", "-c", wanted], cwd=checkout, capture_output=True, text=True, check=True).stdout
    (folder / "rlaif-installed").write_text(stamp)
    return folder


@pytest.mark.slow
def test_the_quickstart_shows_what_it_must(checkout: Path, environment: Path) -> None:
    variables = {k: v for k, v in os.environ.items() if k not in {"CONDA_PREFIX", "OMP_NUM_THREADS", "PYTHONPATH"}}
    path = os.pathsep.join([str(environment / "bin"), variables["PATH"]])
    done = subprocess.run(
        ["bash", "scripts/quickstart.sh"],
        cwd=checkout,
        env={**variables, "VIRTUAL_ENV": str(environment), "PATH": path},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "installing" not in done.stdout
    assert re.search(
        r"the page to read: runs/quickstart/report\.html, or rlaif view runs/quickstart \(\d+ seconds in all\)",
        done.stdout,
    )
    run = checkout / "runs" / "quickstart"
    report = json.loads((run / "report.json").read_text())

    judge = report["judge"]
    assert judge["agreement"] >= 0.85
    assert 0.5 < judge["agreement_single_order"] <= 1.0
    assert 0.5 < judge["position_consistency"] <= 1.0
    assert judge["unjudged"] == 0
    judgments = (run / "judged" / "judgments.jsonl").read_text(encoding="utf-8").count("\n")
    assert judge["measured"] + judge["tied"] == judge["pairs"] == judgments

    reward_model = report["reward_model"]["against_gold"]
    assert reward_model["accuracy"] >= 0.80
    assert 0.0 <= reward_model["ece"] <= 0.5
    assert reward_model["measured"] >= 50

    assert list(report["policies"]) == ["sft", "dpo", "ppo"]
    sft, dpo, ppo = report["policies"].values()
    for policy in (sft, dpo, ppo):
        assert 0.0 <= policy["win_rate_low"] <= policy["win_rate"] <= policy["win_rate_high"] <= 1.0
        assert policy["wins"] + policy["ties"] + policy["losses"] == report["prompts"]["count"]
        assert policy["length"] > 1.0
    assert (sft["win_rate"], sft["kl"]) == (0.5, 0.0)
    for policy in (dpo, ppo):
        assert policy["win_rate_by"] == "gold"
        assert policy["win_rate_low"] > 0.6
        assert policy["gold_reward"] > sft["gold_reward"]
        assert policy["kl"] > 0.0
    page = (run / "report.md").read_text(encoding="utf-8")
    kl = next(line for line in page.splitlines() if line.startswith("| KL (nats) |"))
    assert [f"{policy['kl']:.3f}" for policy in (sft, dpo, ppo)] == re.findall(r"\| (-?[\d.]+) \[", kl)
    assert "](reward_kl.png)" in page

    watched = json.loads((run / "ppo" / "report.json").read_text())["over_optimization"]
    assert len(watched["checks"]) == watched["planned"] >= 2
    assert "gold_reward" in watched["marked"]
    assert (run / "ppo" / "over_optimization.png").is_file()
    assert "| KL (nats) |" in (run / "ppo" / "report.md").read_text(encoding="utf-8")

    assert set(report["seconds"]) == {"sft", "sample", "judge", "build", "reward_model", "dpo", "ppo", "evaluate"}
    assert all(seconds > 0 for seconds in report["seconds"].values())

    published = run / "published"
    assert {path.name for path in published.iterdir()} - {".rlaif"} == {
        "README.md",
        "data",
        "pairs",
        "votes",
        "report.json",
    }
    with Hub() as hub:
        send = [
            "publish",
            "--preferences",
            "runs/quickstart/preferences",
            "--license",
            "apache-2.0",
            "--language",
            "en",
        ]
        send += ["--evaluation", "runs/quickstart/report.json", "--output", "runs/quickstart/published"]
        send += ["--names", "runs/quickstart/sft=errands-sft", "rlaif/sandbox/models/judge=errands-judge"]
        sent = subprocess.run(
            [environment / "bin" / "rlaif", *send, "--repo_id", "ada/errands"],
            cwd=checkout,
            env={**variables, "PATH": path, **hub.env},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert sent.returncode == 0, sent.stderr
        card = DatasetCard(hub.repos["datasets/ada/errands"].files["README.md"].decode())
        assert card.data.license == "apache-2.0"
        read = "import datasets, sys\nfor config in ('default', 'pairs', 'votes'):\n    "
        read += "datasets.load_dataset('ada/errands', config).save_to_disk(f'{sys.argv[1]}/{config}')"
        stranger = {**variables, **hub.env, "HF_DATASETS_CACHE": str(checkout / "cache")}
        subprocess.run(
            [sys.executable, "-c", read, str(checkout / "read")], cwd=checkout.parent, env=stranger, check=True
        )
    for config, folder in (("default", "data"), ("pairs", "pairs"), ("votes", "votes")):
        rows = datasets.load_from_disk(str(checkout / "read" / config))
        assert sum(len(split) for split in rows.values()) > 0
        for name, split in rows.items():
            (file,) = (published / folder).glob(f"{name}-*.parquet")
            assert split.to_list() == pq.read_table(file).to_pylist()
