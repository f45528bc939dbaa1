"""Which prompts a model was trained on: found through manifests, never "none" where nobody knows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import rows_of, write_rows
from support.evaluation import PROMPTS, config_of, make_world

from rlaif.commands.evaluate import evaluate
from rlaif.files.manifest import write_manifest
from rlaif.files.trained_on import Stage, prompt_key, training_stages
from rlaif.records import Prompt

ASKED = ["one", "two", "three", "four"]


def trained(folder: Path, program: str, model: str | Path, source: Path, split: str | None = None, **more: Any) -> Path:
    """A folder with the manifest that a training program leaves, of a run on `source` from `model`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = (
        ("prompts", "prompts_split")
        if program in ("recipes/ppo.py", "recipes/best_of_n.py")
        else ("dataset", "train_split")
    )
    config = {names[0]: str(source), names[1]: split, "model": str(model), **more}
    learned = [{"source": str(source), "split": split, "config_name": None}]
    write_manifest(folder, program, config, [source, str(model)], learned_from=learned)
    return folder


def shown(folder: Path, *prompts: Prompt, name: str = "shown.jsonl") -> Path:
    return write_rows(folder / name, [{"prompt": prompt, "completion": "x"} for prompt in prompts])


def preferred(folder: Path, *prompts: Prompt, **more: Any) -> Path:
    rows = [{"prompt": p, "chosen": "x", "rejected": "y", **more} for p in prompts]
    return write_rows(folder / "preferred.jsonl", rows)


def keys(*prompts: Prompt) -> set[str]:
    return {prompt_key(prompt) for prompt in prompts}


def stages(model: Path | str) -> list[Stage]:
    return training_stages(model, keys(*ASKED))


def test_the_chain_is_followed_back_to_what_nobody_knows(tmp_path: Path) -> None:
    sft = trained(tmp_path / "sft", "recipes/sft.py", "org/base", shown(tmp_path, "one", "more", "two"))
    dpo = trained(tmp_path / "dpo", "recipes/dpo.py", sft, preferred(tmp_path, "two", "other"))
    first, second, base = stages(dpo)
    assert (first.stage, first.source, first.rows, first.found) == (
        "recipes/dpo.py", str(tmp_path / "preferred.jsonl"), 2, keys("two"),
    )  # fmt: skip
    assert (second.stage, second.folder, second.rows, second.found) == (
        "recipes/sft.py",
        str(sft),
        3,
        keys("one", "two"),
    )
    assert (base.stage, base.folder, base.found) == (None, "org/base", None)
    assert "no manifest" in str(base.unknown)
    assert first.row(keys(*ASKED)) == {
        "stage": "recipes/dpo.py", "folder": str(dpo), "source": str(tmp_path / "preferred.jsonl"), "split": None,
        "rows": 2, "found": 1,
    }  # fmt: skip
    assert base.row(keys(*ASKED)) == {"stage": None, "folder": "org/base", "found": None, "unknown": base.unknown}


def test_an_earlier_versions_manifest_says_it_by_its_settings(tmp_path: Path) -> None:
    """And what a dataset's split, or best of n's limit, leaves out was not trained on."""
    source = write_rows(
        tmp_path / "split.jsonl",
        [{"prompt": p, "chosen": "x", "rejected": "y", "split": s} for p, s in (("one", "train"), ("two", "test"))],
    )
    dpo = trained(tmp_path / "dpo", "recipes/dpo.py", "org/base", source, "train")
    best = trained(
        tmp_path / "best", "recipes/best_of_n.py", "org/base", shown(tmp_path, "one", "one", "two", "three"), limit=2
    )
    for folder, found in ((dpo, keys("one")), (best, keys("one", "two"))):
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["learned_from"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
        assert stages(folder)[0].found == found


def test_a_conversation_is_learned_turn_by_turn_and_its_system_turn_is_no_difference(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": " one"},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "y"},
    ]
    source = write_rows(tmp_path / "talk.jsonl", [{"messages": turns}])
    assert stages(trained(tmp_path / "sft", "recipes/sft.py", "org/base", source))[0].found == keys("one")
    talk: list[dict[str, str]] = [
        {"role": r, "content": c} for r, c in (("user", "one"), ("assistant", "x"), ("user", "two"))
    ]
    found = training_stages(tmp_path / "sft", keys("one", talk))[0]
    assert found.found == keys("one", talk)
    ppo = trained(tmp_path / "ppo", "recipes/ppo.py", "org/base", source)  # which answers the last turn alone
    assert training_stages(ppo, keys("one", talk))[0].found == keys(talk)


def test_what_is_not_as_it_was_is_unknown_and_never_none(tmp_path: Path) -> None:
    changed, gone, plain = (tmp_path / name for name in ("changed.jsonl", "gone.jsonl", "plain.jsonl"))
    for path in (changed, gone):
        write_rows(path, [{"prompt": "one", "completion": "x"}])
    write_rows(plain, [{"text": "one and two"}])
    base = trained(tmp_path / "base", "recipes/sft.py", "org/base", changed)
    reasons = {}
    for source in (changed, gone, plain):
        folder = trained(tmp_path / source.stem, "recipes/sft.py", base, source)
        reasons[source.stem] = folder
    write_rows(changed, [{"prompt": "five", "completion": "x"}])
    gone.unlink()
    said = {name: str(stages(folder)[0].unknown) for name, folder in reasons.items()}
    assert said["changed"] == "what it was trained on has other content now"
    assert said["gone"] == "what it was trained on is not there any more"
    assert "plain texts were learned" in said["plain"]
    assert all(stages(folder)[0].found is None for folder in reasons.values())
    (base / "other.safetensors").write_text("trained on")
    assert [stage.unknown for stage in stages(reasons["plain"])][
        1
    ] == "its folder has other content now than when training began"


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (None, "no manifest of a training run"),
        ("{", "no manifest of a training run"),
        ({"command": "rlaif sandbox"}, "of rlaif sandbox it is not known what it learns from"),
        ({"command": "recipes/dpo.py", "config": None, "inputs": 3}, "of recipes/dpo.py it is not known"),
        ({"command": "recipes/dpo.py", "learned_from": "x", "config": []}, "of recipes/dpo.py it is not known"),
    ],
)
def test_a_folder_that_tells_nothing_is_unknown(
    tmp_path: Path, manifest: str | Mapping[str, Any] | None, words: str
) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    (found,) = stages(tmp_path)
    assert found.found is None
    assert words in str(found.unknown)
    (found,) = stages(tmp_path / "nowhere")
    assert "no folder here" in str(found.unknown)


def test_a_reward_model_without_a_manifest_says_it_in_its_card(tmp_path: Path) -> None:
    from rlaif.files.sources import fingerprint

    source = preferred(tmp_path, "one", "five")
    (tmp_path / "rm").mkdir()
    data = {"source": str(source), "split": "train", "fingerprint": fingerprint(source), "pairs": 2}
    (tmp_path / "rm/rlaif.json").write_text(json.dumps({"training_data": data}))
    assert stages(tmp_path / "rm")[0].found == keys("one")
    preferred(tmp_path, "five")
    assert stages(tmp_path / "rm")[0].unknown == "what it was trained on has other content now"


def test_an_evaluation_says_it_and_each_row_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = make_world(tmp_path / "world")
    sft = trained(world / "sft", "recipes/sft.py", "org/base", shown(tmp_path, *PROMPTS[:3]))
    trained(world / "dpo", "recipes/dpo.py", sft, preferred(tmp_path, PROMPTS[2], PROMPTS[5]))
    trained(world / "rm", "reward_models/bradley_terry.py", sft, preferred(tmp_path, PROMPTS[2], PROMPTS[5]))
    ready = write_rows(tmp_path / "ready.jsonl", [{"prompt": p, "response": "soap"} for p in PROMPTS])
    policies = [f"sft={sft}", f"dpo={world}/dpo", f"ready={ready}"]
    judge = {"judge": "scripted", "judge_model": "support.evaluation:prefers_soap"}
    report = evaluate(config_of(world, tmp_path / "out", policies=policies, reward_model=f"{world}/rm", **judge))
    section = report["trained_on"]
    assert section["prompts"] == len(PROMPTS)
    assert {name: row["found"] for name, row in section["policies"].items()} == {"sft": 3, "dpo": 4, "ready": None}
    assert [(row["stage"], row["found"]) for row in section["policies"]["dpo"]["stages"]] == [
        ("recipes/dpo.py", 2), ("recipes/sft.py", 3), (None, None),
    ]  # fmt: skip
    assert not any(row["complete"] for row in section["policies"].values())  # nobody knows of org/base
    assert section["reward_model"]["found"] == 4
    assert section["judge"]["stages"][0]["unknown"].startswith("a function")
    said = capsys.readouterr().err
    assert "4 of 24 prompts were trained on: recipes/sft.py" in said
    rows = {
        (row["policy"], row["index"]): row.get("trained_on", []) for row in rows_of(tmp_path / "out/responses.jsonl")
    }
    assert sum("dpo: recipes/dpo.py" in seen for (name, _), seen in rows.items() if name == "sft") == 2
    assert rows["ready", 0] == ["sft: recipes/sft.py", "dpo: recipes/sft.py", "reward_model: recipes/sft.py"]
    assert rows["ready", 7] == []
    shutil.rmtree(tmp_path / "out")
    report = evaluate(config_of(world, tmp_path / "out", policies=policies[:1], compare_training=False))
    assert "trained_on" not in report
    assert "were trained on" not in capsys.readouterr().err
