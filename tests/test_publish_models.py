"""Models made ready for others: what goes out, that it is the model, and a card that is true and whose code runs."""

import contextlib
import dataclasses
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support import (
    ROOT,
    byte_tokenizer,
    rlaif,
    rlaif_env,
    save_model,
    some_pairs,
    tiny_llama,
    word_tokenizer,
    write_rows,
)
from support.hub import Hub, card_trouble
from support.models import ENCODER, SCORING, tiny

from rlaif.commands.build import build
from rlaif.commands.evaluate import EvaluateConfig, evaluate
from rlaif.commands.judge import JudgingConfig, judge
from rlaif.files.manifest import write_manifest
from rlaif.files.selection import BuildConfig
from rlaif.files.sources import fingerprint
from rlaif.models.loading import load_tokenizer, quiet
from rlaif.models.rendering import Rendering
from rlaif.models.reward_model import METADATA, RewardModel, RewardModelCard
from rlaif.publish import lineage, model_card, models
from rlaif.publish.card import CardFields
from rlaif.publish.lineage import Source, no_paths
from rlaif.publish.models import publish_model

ME = "test_publish_models"
HOME = "home-of-jane"  # every run stands in such a folder, so that each path of it in what goes out is found
MIT = CardFields("mit", language=["en"])

SHORT = {
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "learning_rate": 0.01,
    "save_strategy": "no",
    "logging_steps": 1,
    "use_cpu": True,
    "report_to": "none",
    "disable_tqdm": True,
}


def letters(prompt, response):
    """A gold reward: how many of the characters are letters."""
    return float(sum(character.isalpha() for character in response))


# ------------------------------------------------------------------------------------------------------------ the runs


def run(program, **settings):
    """A training program, in this process."""
    words = [
        str(word)
        for name, value in (SHORT | settings).items()
        for word in (f"--{name}", *(value if isinstance(value, list) else [value]))
    ]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(sys, "argv", [program, *words])
        runpy.run_path(str(ROOT / program), run_name="program")["main"]()
    return Path(settings["output_dir"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A whole path at its smallest: base, judged pairs, preferences, reward models, policies, evaluation."""
    folder = tmp_path_factory.mktemp("runs") / HOME
    # Layers no narrower than the 64 weights that bitsandbytes quantizes together; padding that is the EOS, as in many
    # base models: a score that is read as its config says would be read one token too early.
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"vocab_size": 259, "pad_token_id": 258, "bos_token_id": 257, "eos_token_id": 258}
    llama = tiny(**shape, **tokens, initializer_range=0.1, max_position_embeddings=1024)
    with quiet():
        base = save_model(folder / "base", llama, byte_tokenizer(chat=True))
    (base / "README.md").write_text("---\nlicense: odc-by\n---\n# base\n")
    pairs = write_rows(folder / "pairs.jsonl", some_pairs(60))
    judge(
        JudgingConfig(
            judge="scripted",
            judge_model="rlaif.models.function:longer",
            pairs=str(pairs),
            output=str(folder / "judged"),
        )
    )
    build(BuildConfig(judgments=str(folder / "judged"), output=str(folder / "preferences"), test=0.3))
    data = {"dataset": folder / "preferences", "max_length": 300}
    reward = "reward_models/bradley_terry.py"
    run(reward, model=base, output_dir=folder / "reward", **data, save_strategy="steps", save_steps=2)
    run(reward, model=base, output_dir=folder / "reward_adapter", lora=True, **data)
    run(reward, model=base, output_dir=folder / "reward_4bit", lora=True, load_in_4bit=True, **data)
    run("recipes/dpo.py", model=base, output_dir=folder / "dpo", **data)
    run(
        "recipes/ppo.py",
        model=folder / "dpo",
        lora=True,
        prompts=write_rows(folder / "prompts.jsonl", [{"prompt": f"Question {i}?"} for i in range(8)]),
        held_out=write_rows(folder / "held_out.jsonl", [{"prompt": f"Riddle {i}?"} for i in range(4)]),
        rewards=[f"reward_model={folder / 'reward'}"],
        watch=[f"function={ME}:letters"],
        output_dir=folder / "ppo",
        max_completion_length=6,
        per_device_eval_batch_size=4,
        steps_per_generation=1,
        num_iterations=2,
        eval_strategy="steps",
        eval_steps=2,
    )
    with contextlib.redirect_stderr(io.StringIO()):
        evaluate(
            EvaluateConfig(
                policies=[f"base={base}", f"dpo={folder / 'dpo'}", f"ppo={folder / 'ppo'}"],
                prompts=str(folder / "held_out.jsonl"),
                max_new_tokens=6,
                gold=f"{ME}:letters",
                judge="scripted",
                judge_model="rlaif.models.function:longer",
                reward_model=str(folder / "reward"),
                preferences=str(folder / "preferences"),
                output=str(folder / "evaluation"),
            )
        )
    return folder


def publish(folder, output, kind="reward_model", fields=MIT, **settings):
    """`publish_model`, and the card that it wrote: (report, YAML, body)."""
    report = publish_model(folder, output, kind, fields, **settings)
    card = (output / "README.md").read_text(encoding="utf-8")
    assert card_trouble(card, "model")[0] == []  # what the Hub would refuse
    _, head, body = card.split("---\n", 2)
    return report, yaml.safe_load(head), body


def copy_of(folder, target, **changes):
    """A copy of a model's folder; `changes` name JSON files (without .json) and what in them is another value."""
    shutil.copytree(folder, target)
    for name, values in changes.items():
        path = target / f"{name}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return target


def handmade_reward_model(folder, model, tokenizer, **card):
    """A reward model's folder without a run behind it."""
    torch.nn.init.normal_(getattr(model, "score", getattr(model, "classifier", None)).weight)
    with quiet():
        save_model(folder, model.eval(), tokenizer)
    rendering = Rendering.of(load_tokenizer(folder)).row()
    RewardModelCard(**{"rendering": rendering, "max_length": 64, "base_model": "org/base", **card}).write(folder)
    return folder


def tiny_reward_model(folder, template=None):
    """A decoder's, with this chat template or without one."""
    tokenizer = byte_tokenizer(chat=False)
    tokenizer.chat_template = template
    return handmade_reward_model(folder, tiny_llama(kind=SCORING, num_labels=1), tokenizer)


@pytest.fixture(scope="module")
def plain_reward(tmp_path_factory):
    """A decoder without a chat template."""
    return tiny_reward_model(tmp_path_factory.mktemp("made") / "plain")


@pytest.fixture(scope="module")
def encoder_reward(tmp_path_factory):
    """An encoder: prompt and response are two segments."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "What", "is", "the", "capital", "of", "France?", "Paris.", "The"]
    special = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), words, strict=False))
    tokenizer = word_tokenizer(False, words, **special)
    model = tiny(ENCODER, vocab_size=len(words), num_labels=1, num_hidden_layers=2)
    return handmade_reward_model(tmp_path_factory.mktemp("made") / "encoder", model, tokenizer)


def files_of(folder):
    """What a push would send: every file that is not hidden, with its bytes."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {name.as_posix(): (folder / name).read_bytes() for name in names if not name.as_posix().startswith(".")}


# ----------------------------------------------------------------------------------------------------- what goes out


def test_of_a_reward_model_what_loads_it_goes_out_and_nothing_else(runs, tmp_path):
    report, _, _ = publish(runs / "reward", tmp_path / "out", evaluation=runs / "evaluation/report.json")
    sent = files_of(tmp_path / "out")
    assert sorted(sent) == [
        *("README.md", "chat_template.jinja", "config.json", "model.safetensors", "report.json", "rlaif.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    ]
    assert report["files"] == {name: len(data) for name, data in sorted(sent.items())}
    whole = {name: len(data) for name, data in files_of(runs / "reward").items()}
    behind = report["left_behind"]
    assert {why: row["files"] for why, row in behind.items()} == {
        "checkpoints": 13,
        "records of the run": 3,
        "trainer and optimizer state": 2,
    }
    assert sum(row["files"] for row in behind.values()) + len(sent) - 2 == len(whole)
    stays = sum(size for name, size in whole.items() if name not in sent or name in ("README.md", "report.json"))
    assert sum(row["bytes"] for row in behind.values()) == stays
    assert (tmp_path / "out/model.safetensors").samefile(runs / "reward/model.safetensors")  # no room for a second one


def test_what_goes_out_scores_bit_for_bit_as_what_was_trained(runs, tmp_path):
    report, _, _ = publish(runs / "reward", tmp_path / "out")
    assert report["checks"] == {"bit_identical": True, "compared": len(models.EXAMPLES), "paths_replaced": [METADATA]}
    prompts, responses = [row["prompt"] for row in some_pairs(20)], [row["response_a"] for row in some_pairs(20)]
    scores = [RewardModel.load(folder).score(prompts, responses) for folder in (runs / "reward", tmp_path / "out")]
    np.testing.assert_array_equal(*scores)
    one = (report["example"]["prompt"], report["example"]["response"])
    assert report["example"]["score"] == RewardModel.load(runs / "reward").score(*[[text] for text in one])[0]
    ours, theirs = (RewardModelCard.read(folder) for folder in (tmp_path / "out", runs / "reward"))
    assert ours.base_model == "base"
    assert ours.training_data == theirs.training_data | {"source": "preferences"}
    assert dataclasses.replace(ours, base_model=theirs.base_model, training_data=theirs.training_data) == theirs


def test_of_a_policy_and_of_an_adapter(runs, tmp_path):
    report, _, _ = publish(runs / "dpo", tmp_path / "dpo", "policy")
    assert sorted(report["files"]) == [
        *("README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors"),
        *("report.json", "tokenizer.json", "tokenizer_config.json"),
    ]
    report, _, _ = publish(runs / "ppo", tmp_path / "ppo", "policy", base_model="jane/dpo")
    assert sorted(report["files"]) == [
        *("README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja"),
        *("over_optimization.png", "report.json", "tokenizer.json", "tokenizer_config.json"),
    ]
    assert report["left_behind"]["records of the run"]["files"] == 5
    adapter = json.loads((tmp_path / "ppo/adapter_config.json").read_text())
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == ("jane/dpo", None)
    publish(runs / "reward_adapter", tmp_path / "reward", base_model="jane/base@v1")
    adapter = json.loads((tmp_path / "reward/adapter_config.json").read_text())
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == ("jane/base", "v1")
    assert RewardModelCard.read(tmp_path / "reward").base_model == "jane/base"
    assert 'revision="v1",' in code_of(tmp_path / "reward")[0]


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("reward", "reward_model", {}),
        ("reward_adapter", "reward_model", {"base_model": "jane/base@v1"}),
        ("dpo", "policy", {}),
        ("ppo", "policy", {"base_model": "jane/dpo", "repo_id": "jane/ppo"}),
    ],
)
def test_no_path_of_this_machine_goes_out(name, kind, settings, runs, tmp_path):
    """In a run of absolute paths, and with every place where transformers was seen to leave one."""
    folder = copy_of(
        runs / name,
        tmp_path / HOME / name,
        tokenizer_config={
            "name_or_path": str(runs / "base"),
            "special_tokens_map_file": f"C:\\Users\\{HOME}\\map.json",
        },
        report={"note": f"reading {runs / 'base' / 'x.json'} failed: see ~/{HOME}/log, https://example.org/a/b and/or"},
    )
    if (folder / "config.json").is_file():
        copy_of(folder, tmp_path / "again", config={"_name_or_path": str(runs / "base")})
        folder = tmp_path / "again"
    evaluation = copy_of(runs / "evaluation", tmp_path / HOME / "evaluation") if name != "reward_adapter" else None
    for file in ("report.json", "manifest.json") if evaluation else ():
        text = (evaluation / file).read_text().replace(str(runs / name), str(folder))
        (evaluation / file).write_text(text.replace(fingerprint(runs / name), fingerprint(folder)))
    publish(folder, tmp_path / "out", kind, evaluation=evaluation, **settings)
    for file, data in files_of(tmp_path / "out").items():
        assert HOME.encode() not in data, file
        assert str(tmp_path).encode() not in data, file
        assert os.fsencode(Path.home() / "x")[:-1] not in data, file
    staged = json.loads((tmp_path / "out/tokenizer_config.json").read_text())
    assert (staged["name_or_path"], staged["special_tokens_map_file"]) == ("base", "map.json")
    note = json.loads((tmp_path / "out/report.json").read_text())["run"]["note"]
    assert note == "reading x.json failed: see log, https://example.org/a/b and/or"


words = st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True)


@given(st.lists(words, min_size=2, max_size=5), st.sampled_from(["/", "~/", "C:\\", "D:/"]), words, words)
def test_a_path_in_a_text_becomes_its_last_part(parts, root, before, after):
    path = root + ("\\" if "\\" in root else "/").join(parts)
    assert no_paths({"a": [f"{before} {path} {after}", 1, None]}) == {"a": [f"{before} {parts[-1]} {after}", 1, None]}


@pytest.mark.parametrize(
    "text", ["and/or", "</s>", "https://a.org/b/c", "a/b/c", "[/INST]", "1/2", "/", "x = a / b / c"]
)
def test_what_is_no_path_stays(text):
    assert no_paths(text) == text


def test_shards_go_out_with_their_index_and_no_others(runs, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = copy_of(runs / "dpo", tmp_path / "dpo")
    (folder / "model.safetensors").unlink()
    with quiet():
        AutoModelForCausalLM.from_pretrained(runs / "dpo").save_pretrained(folder, max_shard_size="200KB")
    shards = sorted(path.name for path in folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    (folder / "model-00001-of-00009.safetensors").write_bytes(b"of another save")
    report, _, body = publish(folder, tmp_path / "out", "policy")
    assert sorted(name for name in report["files"] if name.startswith("model")) == [
        *shards,
        "model.safetensors.index.json",
    ]
    assert report["left_behind"]["other"]["names"] == ["model-00001-of-00009.safetensors"]
    numbers = sum(weight.numel() for weight in AutoModelForCausalLM.from_pretrained(runs / "dpo").parameters())
    assert f"These are whole weights, {numbers / 1000:.3g} thousand parameters in float32." in body
    (folder / shards[0]).unlink()
    with pytest.raises(ValueError, match=f"names {shards[0]}, which is not beside it"):
        publish(folder, tmp_path / "out", "policy")


def test_terms_go_out_and_what_nobody_knows_stays(runs, tmp_path):
    folder = copy_of(runs / "dpo", tmp_path / "dpo")
    for name in (
        "LICENSE.txt",
        "NOTICE",
        "diary.md",
        "weights.pt",
        "events.out.tfevents.1.vm",
        "rlaif.json.77.partial",
    ):
        (folder / name).write_text("text")
    kept = (
        "replies/1.jsonl",
        "votes.jsonl",
        "judgments.jsonl",
        "votes/1.jsonl",
        "ratings/1.jsonl",
        "completions/1.jsonl",
    )
    for name in kept:
        write_rows(folder / name, [{}])
    own = CardFields("other", license_name="jane-1.0", license_link="LICENSE.txt", pretty_name="Jane's policy")
    report, head, body = publish(folder, tmp_path / "out", "policy", own)
    assert {"LICENSE.txt", "NOTICE"} < set(report["files"])
    assert (head["license"], head["license_name"], head["license_link"]) == ("other", "jane-1.0", "LICENSE.txt")
    assert "| this model | [jane-1.0](LICENSE.txt) (stated by its publisher) |" in body
    assert "\n# Jane's policy\n" in body
    behind = {why: row["files"] for why, row in report["left_behind"].items()}
    assert behind["other"] == behind["pickles"] == behind["logs"] == behind["unfinished writes"] == 1
    assert behind["replies and votes"] == len(kept)
    assert report["left_behind"]["other"]["names"] == ["diary.md"]


# ------------------------------------------------------------------------------------------------------- where it goes


def test_staging_again_leaves_nothing_of_the_first(runs, tmp_path):
    publish(runs / "ppo", tmp_path / "out", "policy", base_model="jane/dpo")
    (tmp_path / "out/.push.json").write_text("the push's own")
    publish(runs / "dpo", tmp_path / "out", "policy")
    publish(runs / "dpo", tmp_path / "fresh", "policy")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh")
    assert (tmp_path / "out/.push.json").is_file()
    assert list(tmp_path.rglob("*staged*")) == []


def test_a_folder_with_something_else_in_it_is_left_alone(runs, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years")
    with pytest.raises(ValueError, match=r"thesis\.tex"):
        publish(runs / "dpo", tmp_path / "out", "policy")
    assert (tmp_path / "out/thesis.tex").read_text() == "years"
    before = fingerprint(runs / "dpo")
    for output in (runs / "dpo", runs / "dpo/public"):
        with pytest.raises(ValueError, match=f"output is {output}"):
            publish(runs / "dpo", output, "policy")
    assert fingerprint(runs / "dpo") == before


def test_another_file_system_gets_a_copy(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(models.os, "link", lambda *_: (_ for _ in ()).throw(OSError(18, "Invalid cross-device link")))
    publish(runs / "dpo", tmp_path / "out", "policy")
    ours, theirs = tmp_path / "out/model.safetensors", runs / "dpo/model.safetensors"
    assert ours.read_bytes() == theirs.read_bytes()
    assert not ours.samefile(theirs)


@pytest.mark.parametrize(("name", "kind"), [("reward", "reward_model"), ("dpo", "policy")])
def test_what_is_not_the_model_does_not_go_out(name, kind, runs, tmp_path, monkeypatch):
    """One number of the staged weights moved by one bit: nothing is put in place."""
    from safetensors.torch import load_file, save_file

    publish(runs / name, tmp_path / "out", kind)
    before = files_of(tmp_path / "out")
    stage = models._stage

    def stage_badly(model, target, *rest):
        staged = stage(model, target, *rest)
        weights = load_file(target / "model.safetensors")
        (target / "model.safetensors").unlink()
        weights["model.norm.weight"][3] = torch.nextafter(weights["model.norm.weight"][3], torch.tensor(9.0))
        save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
        return staged

    monkeypatch.setattr(models, "_stage", stage_badly)
    with pytest.raises(ValueError, match=r"what was staged is not the model in .*: [1-5] of 5 outputs differ"):
        publish(runs / name, tmp_path / "out", kind)
    assert files_of(tmp_path / "out") == before


# --------------------------------------------------------------------------------------------------------- what is told


def test_the_card_of_a_reward_model_says_what_the_run_says(runs, tmp_path):
    report, head, body = publish(runs / "reward", tmp_path / "out", evaluation=runs / "evaluation")
    assert head == {
        "license": "mit",
        "language": ["en"],
        "tags": ["reward-model", "trl", "rlaif"],
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
    }
    run = json.loads((runs / "reward/report.json").read_text())
    card = RewardModelCard.read(runs / "reward")
    z, label = run["held_out"]["against_z"], run["held_out"]["against_label"]
    longer = z["baselines"]["longer_wins"]
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in body.splitlines()
        if "|" in line
    }
    assert rows["accuracy"][0].startswith(f"{100 * z['accuracy']:.1f} % [{100 * z['accuracy_low']:.1f} %, ")
    assert rows["accuracy"][1].startswith(f"{100 * label['accuracy']:.1f} % [")
    assert rows["… above “the longer one wins”"][0].startswith(f"{100 * longer['difference']:+.1f} [")
    assert rows["ECE"][0].startswith(f"{z['ece']:.3f} [{z['ece_low']:.3f}, ")
    assert rows["NLL (nats)"][0] == (
        f"{z['soft_nll']:.3f} [{z['soft_nll_low']:.3f}, {z['soft_nll_high']:.3f}] (no model gets below "
        f"{z['soft_nll_floor']:.3f})"
    )
    assert rows["Brier score"][0].endswith(f"(always saying 0.5: {z['brier_of_half']:.3f})")
    assert rows["pairs"] == ["17", "17", "16 (1 tied, left out)"]
    assert rows["training data"] == ["`preferences`, split `train` (not on the Hub, as far as is known)"]
    assert rows["… fingerprint"] == [f"`{card.training_data['fingerprint']}`"]
    assert rows["… fingerprint"] == [f"`{fingerprint(runs / 'preferences')}`"]
    assert rows["… used"] == [f"{run['train']['pairs']} pairs; 0 too long, left out"]
    assert rows["… whose preferences"][0].startswith("an LLM judge's: rlaif.models.function:longer, template ")
    assert rows["started from"] == ["`base`"]
    assert rows["optimizer steps"] == ["2"]
    assert rows["batch"] == ["4 (device 4, accumulation 1, processes 1)"]
    assert rows["learning rate"] == ["0.01, linear, warm-up 0"]
    assert rows["trained weights"] == ["all"]
    assert rows["base model `base`"] == ["odc-by"]
    assert rows["training data `preferences`"] == ["unknown"]
    assert f"**Zero point** {card.zero!r}:" in body
    assert "not calibrated after training" in body
    assert f"against `{ME}:letters`" in body
    assert "split `test` of `preferences`; there the longer response wins" in body
    staged = json.loads((tmp_path / "out/report.json").read_text())
    assert staged["run"] == run
    assert staged["example"] == report["example"]
    assert (
        staged["evaluation"]["against_gold"]["accuracy"]
        == json.loads((runs / "evaluation/report.json").read_text())["reward_model"]["against_gold"]["accuracy"]
    )


def test_the_card_of_a_policy_says_what_the_evaluation_says(runs, tmp_path):
    _, head, body = publish(
        runs / "ppo",
        tmp_path / "out",
        "policy",
        base_model="jane/dpo",
        evaluation=runs / "evaluation/report.json",
        names={str(runs / "reward"): "jane/reward", str(runs / "preferences"): "jane/prefs"},
    )
    assert head == {
        "license": "mit",
        "language": ["en"],
        "tags": ["ppo", "trl", "lora", "rlaif"],
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "base_model": "jane/dpo",
        "base_model_relation": "adapter",
    }
    report = json.loads((runs / "evaluation/report.json").read_text())
    policy, base = report["policies"]["ppo"], report["policies"]["base"]
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in body.splitlines()
        if "|" in line
    }
    assert rows["win rate over `base` by gold reward"][0] == "–"
    wins = f"{policy['wins']} / {policy['ties']} / {policy['losses']}"
    assert rows["win rate over `base` by gold reward"][1].startswith(
        f"{100 * policy['win_rate']:.1f} %; "
    )  # four prompts: no interval
    assert rows["win rate over `base` by gold reward"][1].endswith(f"; {wins}")
    assert rows["win rate over `base` by judge"][1].startswith(f"{100 * policy['judge']['win_rate']:.1f} %")
    assert [cell.split(" ")[0] for cell in rows["gold reward"]] == [f"{r['gold_reward']:.3f}" for r in (base, policy)]
    assert rows["KL to `base` (nats a response)"][1].startswith(f"{policy['kl']:.3f}")
    assert "`dpo`" not in body.split("## How it was trained")[0].split("## What was measured")[1]  # another policy
    assert "Judge: `rlaif.models.function:longer`" in body
    assert "The reward model is the one that this policy was trained on" in body
    assert "Reward model: `jane/reward`, less its zero point." in body
    assert rows["started from"] == ["[jane/dpo](https://huggingface.co/jane/dpo) (recipes/dpo.py) ← `base`"]
    mark = RewardModelCard.read(runs / "reward").training_data["fingerprint"]
    assert rows["rewarded"] == [
        f"reward model jane/reward ({fingerprint(runs / 'reward')}), trained on jane/prefs ({mark})"
    ]
    assert rows["trained weights"] == ["LoRA, r = 16, α = 32, every linear layer"]
    assert rows["… used"] == ["8 prompts; 0 too long, left out"]
    assert rows["rollouts"][0].startswith(
        "4 responses in all, 4 a rollout, each learned from 2 times; at most 6 tokens"
    )
    assert "- `letters`: not marked" in body
    assert "![training reward and watched scores against the KL](over_optimization.png)" in body
    assert "nobody has compared the weights" in body


def test_a_reward_model_has_the_same_report_wherever_it_is_reported(runs):
    """Key for key; a bag of words is fitted where the training pairs are, a gold reward is given to the other."""
    here = json.loads((runs / "reward/report.json").read_text())["held_out"]
    there = json.loads((runs / "evaluation/report.json").read_text())["reward_model"]
    about = {"path", "preferences", "split"}
    assert here.keys() == there.keys() - about
    assert there["against_gold"]["measured"] > 0
    assert [here[name] for name in ("pairs", "unscored", "refused")] == [
        there[name] for name in ("pairs", "unscored", "refused")
    ]
    for name in ("against_z", "against_label"):
        assert here[name]["baselines"].pop("bag_of_words")["accuracy"] > 0
        assert_close(here[name], there[name])
    assert here["against_z"]["drawn"]["over"] == "prompts"
    assert here["against_gold"] is None


def assert_close(here, there):
    """Equal, but for what other batches do to a score's last digits."""
    assert type(here) is type(there)
    if isinstance(here, dict):
        assert here.keys() == there.keys()
        here, there = list(here.values()), list(there.values())
    if isinstance(here, list):
        for one, other in zip(here, there, strict=True):
            assert_close(one, other)
    else:
        assert here == (pytest.approx(there, abs=1e-5) if isinstance(there, float) else there)


def test_dpo_and_what_it_did_not_measure(runs, tmp_path):
    _, head, body = publish(runs / "dpo", tmp_path / "out", "policy", base_model="jane/base@v2")
    assert (head["base_model"], head["base_model_relation"]) == ("jane/base", "finetune")
    held_out = json.loads((runs / "dpo/report.json").read_text())["held_out"]
    assert "Win rate, reward, KL and length beside other policies: not measured" in body
    assert f"held-out pairs (split `test` of its data): accuracy {100 * held_out['accuracy']:.1f} %" in body
    assert "| started from | [jane/base](https://huggingface.co/jane/base) at revision `v2` |" in body
    assert "β times the difference of log-ratios to the policy it started from, β = 0.1" in body
    assert "| base model [jane/base](https://huggingface.co/jane/base) at revision `v2` | odc-by |" in body
    assert "rafailov2023direct" in body
    assert "Over-optimization" not in body


def test_a_model_without_a_run_behind_it(plain_reward, tmp_path):
    _, head, body = publish(plain_reward, tmp_path / "out", fields=CardFields("unknown"))
    assert head["tags"] == ["reward-model", "rlaif"]
    for words in (
        "How it was trained is unknown",
        "Accuracy and calibration on held-out pairs: not measured.",
        "**Zero point**: not measured.",
        "| training data | unknown |",
        "| versions | unknown |",
        "| base model | unknown |",
        "Language: unknown.",
    ):
        assert words in body


def test_calibration_is_told(plain_reward, tmp_path):
    folder = copy_of(plain_reward, tmp_path / "calibrated", rlaif={"temperature": 1.5, "zero": -0.25})
    _, _, body = publish(folder, tmp_path / "out")
    assert "temperature 1.5, P(a is preferred to b) = σ((score of a − score of b) / 1.5)." in body
    assert "**Zero point** -0.25:" in body


def test_a_card_tells_of_label_noise_and_of_smoothing(runs, tmp_path):
    """A model that was trained on verdicts turned round is nobody's opinion, and the card of it says so."""
    labels = "labels that came with the pairs; "
    for z_from, source, whose in (("judge", "judged", "an LLM judge's: "), ("label", "pairs.jsonl", labels)):
        data = tmp_path / z_from
        report = build(BuildConfig(judgments=str(runs / source), output=str(data), flip_rate=0.5, z_from=z_from))
        manifest = {"config": {"dataset": str(data)}, "inputs": {str(data): fingerprint(data)}}
        note = lineage.training_data(manifest, {}, {}).note
        assert note.startswith(whose)
        assert note.endswith(f"; for an experiment, {report['flipped']} of them turned round")
    config = {"preference_loss": "hard", "learning_rate": 0.01, "lr_scheduler_type": "linear", "warmup_steps": 0}
    for smoothing, row in ((0.1, "0.1: the share of labels taken to be wrong"), (0.0, None)):
        manifest = {"command": "reward_models/bradley_terry.py", "config": {**config, "label_smoothing": smoothing}}
        assert model_card.settings(manifest, {}).get("label smoothing") == row


def test_a_split_of_a_file_is_not_called_held_out(runs, tmp_path):
    config = json.loads((runs / "reward/manifest.json").read_text())["config"]
    folder = copy_of(runs / "reward", tmp_path / "reward", manifest={"config": config | {"dataset": "prefs.jsonl"}})
    _, _, body = publish(folder, tmp_path / "out")
    assert "on 17 pairs that it was trained on: its data is a file, which has no splits." in body
    assert "held-out pairs" not in body


def test_what_has_no_labels_was_not_measured_against_any(runs, tmp_path):
    _, _, body = publish(runs / "reward", tmp_path / "out")
    assert "Against labels from elsewhere" not in body
    held_out = json.loads((runs / "reward/report.json").read_text())["held_out"] | {"against_label": None}
    folder = copy_of(runs / "reward", tmp_path / "reward", report={"held_out": held_out})
    _, _, body = publish(folder, tmp_path / "out")
    assert "|  | against z |" in body
    assert "Against labels from elsewhere: not measured." in body


def test_an_example_of_ones_own(runs, tmp_path):
    report, _, body = publish(runs / "reward", tmp_path / "out", example=('Wie "spät" ist es?', "Halb acht.\n"))
    assert 'prompt, response = "Wie \\"spät\\" ist es?", "Halb acht.\\n"' in body
    assert report["checks"]["compared"] == len(models.EXAMPLES) + 1


# ---------------------------------------------------------------------------------------------- where it comes from


def test_the_models_before_it_are_told_as_long_as_they_are_what_they_were(runs, tmp_path):
    for name, licence in (("first", "gemma"), ("second", None)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(name)
        if licence:
            (tmp_path / name / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    sft = {"model": str(tmp_path / "first"), "model_revision": None}
    write_manifest(tmp_path / "second", "recipes/sft.py", sft, [tmp_path / "first"])
    inputs = {str(tmp_path / "second"): fingerprint(tmp_path / "second")}
    manifest = {"config": {"model": str(tmp_path / "second")}, "inputs": inputs}

    def chain(given=None):
        return lineage.base_models(tmp_path, manifest, None, given, {}, online=False)[1]

    second = Source("second", fingerprint=inputs[str(tmp_path / "second")], note="recipes/sft.py")
    first = Source("first", fingerprint=fingerprint(tmp_path / "first"), license="gemma")
    assert chain() == [second, first]
    hub = Source("org/first", "org/first")
    assert chain(hub) == [second, dataclasses.replace(hub, license="gemma")]
    (tmp_path / "first/weights").write_text("others")
    assert [source.name for source in chain()] == ["second", "first"]  # it was called so, whatever lies there now
    (tmp_path / "second/weights").write_text("others")
    assert chain() == [dataclasses.replace(second, note="")]  # what lies there now is another run's


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("license: mit", "mit"),
        ("license: other\nlicense_name: jane-1.0", "jane-1.0"),
        ("license: other", None),
        ("license: [mit, gpl]", None),
        ("license: {", None),
        ("tags: [x]", None),
    ],
)
def test_a_licence_is_read_from_a_card_or_unknown(card, licence, tmp_path):
    (tmp_path / "README.md").write_text(f"---\n{card}\n---\n")
    assert lineage._license(str(tmp_path)) == licence
    assert lineage._license(str(tmp_path / "nowhere")) is None


def test_an_adapter_that_was_trained_further(tmp_path):
    """Its base is what it is put on, not what its run started from, which was an adapter too."""
    first = {"config": {"model": "org/base", "model_revision": None}, "inputs": {"org/base": "org/base"}}
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/manifest.json").write_text(json.dumps(first | {"command": "recipes/sft.py"}))
    name = str(tmp_path / "adapter")
    manifest = {"config": {"model": name}, "inputs": {name: fingerprint(tmp_path / "adapter")}}
    adapter = {"base_model_name_or_path": "org/base"}
    base, start, check = lineage.base_models(tmp_path / "x", manifest, adapter, None, {}, online=False)
    assert base == Source("org/base", "org/base")
    assert [(source.name, source.note) for source in start] == [("adapter", "recipes/sft.py"), ("org/base", "")]
    assert check == ""
    assert lineage.base_models(tmp_path / "x", {}, adapter, None, {}, online=False) == (base, [base], "")


def test_what_came_from_the_hub_is_known_by_its_id(runs, tmp_path):
    config = json.loads((runs / "dpo/manifest.json").read_text())["config"]
    manifest = {
        "config": config | {"model": "org/base", "model_revision": "v1", "dataset": "org/prefs"},
        "inputs": {"org/base": "org/base", "org/prefs": "org/prefs"},
    }
    folder = copy_of(runs / "dpo", tmp_path / "dpo", manifest=manifest)
    _, head, body = publish(folder, tmp_path / "out", "policy", base_model="org/base")
    assert (head["base_model"], head["datasets"]) == ("org/base", ["org/prefs"])
    assert "[org/base](https://huggingface.co/org/base) at revision `v1`" in body
    assert "[org/prefs](https://huggingface.co/datasets/org/prefs), split `train` |" in body
    for other in ("org/other", "org/base@v2"):
        with pytest.raises(ValueError, match=f"base_model is {other}, but .*dpo was trained from org/base@v1"):
            publish(folder, tmp_path / "out", "policy", base_model=other)


@pytest.mark.parametrize(
    ("hashes", "words"),
    [
        (lambda files: files, "It was trained on a copy of jane/base: the weights have the same SHA-256."),
        (lambda files: dict.fromkeys(files, "0"), "as its publisher states; the files of weights differ."),
        (lambda files: {"model-00001-of-00002.safetensors": "0"}, "nobody has compared the weights."),
        (lambda files: None, "nobody has compared the weights."),
    ],
)
def test_whether_an_adapters_base_is_what_it_was_trained_on_is_told(hashes, words, runs, tmp_path, monkeypatch, capsys):
    name = "model.safetensors"
    known = hashes({name: lineage._sha256(runs / "base" / name)})
    monkeypatch.setattr(lineage, "_hub_hashes", lambda base: known)
    _, _, body = publish(runs / "reward_adapter", tmp_path / "out", base_model="jane/base", repo_id="jane/rm")
    assert words in body
    assert ("model.safetensors of jane/base is not the file" in capsys.readouterr().err) == ("differ" in words)


# --------------------------------------------------------------------------------------------------------- evaluations


def test_a_model_is_found_by_its_content_wherever_it_was_moved(runs, tmp_path):
    folder = copy_of(runs / "dpo", tmp_path / "moved")
    found = lineage.evaluation(runs / "evaluation", folder, False, {}, {})
    assert (found["policy"], list(found["policies"])) == ("dpo", ["base", "dpo"])
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(ValueError, match=r"does not know .*moved; it knows base \(.*\), dpo \(.*\), ppo \("):
        lineage.evaluation(runs / "evaluation", folder, False, {}, {})


def test_numbers_of_other_weights_never_get_into_the_card(runs, tmp_path):
    folder = copy_of(runs / "dpo", tmp_path / "dpo")
    evaluation = copy_of(runs / "evaluation", tmp_path / "evaluation")
    for file in ("report.json", "manifest.json"):
        (evaluation / file).write_text((evaluation / file).read_text().replace(str(runs / "dpo"), str(folder)))
    assert lineage.evaluation(evaluation, folder, False, {}, {})["policy"] == "dpo"
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"has changed since .* was written .*Run `rlaif evaluate` again"):
        lineage.evaluation(evaluation, folder, False, {}, {})
    (evaluation / "manifest.json").unlink()  # nobody knows which weights: only the path is left to go by
    found = lineage.evaluation(evaluation / "report.json", folder, False, {}, {})
    assert (found["policy"], found["judge"], found["reward_model"]) == ("dpo", None, None)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"policies": {}}, "is no report of `rlaif evaluate`"),
        ({"policies": {}, "prompts": {}, "sampling": {}}, "it knows none of its kind"),
        ([], "holds a list; expected a JSON object"),
    ],
)
def test_what_is_no_evaluation_of_it_is_refused(report, words, runs, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(report))
    for kind, name in (("reward_model", "reward"), ("policy", "dpo")):
        with pytest.raises(ValueError, match=words):
            publish(runs / name, tmp_path / "out", kind, evaluation=tmp_path / "report.json")
    assert not (tmp_path / "out").exists()


# -------------------------------------------------------------------------------------------------------------- refused


def without(*names):
    def remove(folder):
        for name in names:
            (folder / name).unlink()

    return remove


def holds(**files):
    def write(folder):
        for name, value in files.items():
            path = folder / name.replace("__", ".")
            if isinstance(value, dict):
                value = json.dumps((json.loads(path.read_text()) if path.is_file() else {}) | value)
            path.write_text(value)

    return write


@pytest.mark.parametrize(
    ("name", "kind", "change", "words"),
    [
        ("dpo", "reward_model", None, "holds a language model, not a reward model; give it as --policy"),
        ("ppo", "reward_model", None, "holds a language model, not a reward model; give it as --policy"),
        ("reward", "policy", None, "not a policy; give it as --reward_model"),
        ("reward_adapter", "policy", None, "not a policy; give it as --reward_model"),
        ("dpo", "policy", holds(rlaif__json={}), "not a policy; give it as --reward_model"),
        ("reward", "reward_model", without("rlaif.json"), r"has no rlaif\.json"),
        ("dpo", "policy", without("model.safetensors"), r"is no model: it holds no model\.safetensors"),
        ("ppo", "policy", without("adapter_model.safetensors"), r"is no model: it holds no adapter_model\.safetensors"),
        ("dpo", "policy", without("config.json"), r"is no model: it holds no config\.json"),
        ("dpo", "policy", without("tokenizer.json", "tokenizer_config.json"), "holds no tokenizer"),
        (
            "dpo",
            "policy",
            holds(adapter_config__json={"task_type": "CAUSAL_LM"}),
            "both an adapter .* and whole weights",
        ),
        (
            "dpo",
            "policy",
            holds(config__json={"quantization_config": {"quant_method": "gptq"}}),
            r"saved quantized \(gptq\)",
        ),
        ("dpo", "policy", holds(config__json="{"), r"config\.json is not JSON"),
        (
            "dpo",
            "policy",
            holds(model__safetensors="version https://git-lfs"),
            r"is no safetensors file.*Git LFS",
        ),
        ("reward", "reward_model", holds(rlaif__json={"max_length": 5}), "takes 5 tokens at most"),
        ("reward", "reward_model", holds(chat_template__jinja="{{ 1 }}"), "was trained with rendering"),
        ("reward_adapter", "reward_model", None, r"adapter on the folder .*base, which nobody else has.*--base_model"),
    ],
)
def test_what_is_no_model_of_its_kind_is_refused_in_one_line(name, kind, change, words, runs, tmp_path):
    folder = copy_of(runs / name, tmp_path / name)
    if change:
        change(folder)
    with pytest.raises(ValueError, match=words) as refused:
        publish(folder, tmp_path / "out", kind)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists() or files_of(tmp_path / "out") == {}


def test_pickles_are_refused_and_left_out(runs, tmp_path):
    folder = copy_of(runs / "dpo", tmp_path / "dpo")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    report, _, _ = publish(folder, tmp_path / "out", "policy")
    assert report["left_behind"]["pickles"]["files"] == 1
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"weights in pytorch_model\.bin, a pickle"):
        publish(folder, tmp_path / "out", "policy")


@pytest.mark.parametrize("name", ["", "a/b/c", "/models/base", "../x", "@main"])
def test_a_base_model_is_an_id(name):
    with pytest.raises(ValueError, match="expected the id of a model on the Hub"):
        lineage.hub_model(name)


def test_a_base_model_that_is_a_folder_here_is_the_hubs_all_the_same(tmp_path, monkeypatch, capsys):
    (tmp_path / "org/base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert lineage.hub_model("org/base").hub_id == "org/base"
    assert "org/base, which is a folder here too" in capsys.readouterr().err


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="is no folder"):
        publish(tmp_path / "nowhere", tmp_path / "out", "policy")


# -------------------------------------------------------------------------------------------------- the card's own code

_RUNNER = """
import contextlib, io, json, os, sys, warnings
warnings.simplefilter("ignore")
for job in json.load(sys.stdin):
    os.chdir(job["cwd"])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(job["code"], "card", "exec"), {})
    print(json.dumps(printed.getvalue()))
"""


# A template that goes on after the EOS, one that writes none, and one that begins a turn otherwise than it ends one.
TEMPLATES = {
    "goes-on": "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token if m.role == 'assistant' }}!"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "no-eos": "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}",
    "thinks": "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token if m.role == 'assistant' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant><think></think>{% endif %}",
}


def code_of(folder):
    """The Python blocks of a card."""
    blocks = (folder / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
    return [block.split("```")[0] for block in blocks]


def told(code):
    """The number behind the last `#` of a block: what its card says that it prints."""
    return code.rstrip().rpartition("# ")[2]


def test_the_code_of_the_cards_runs_and_prints_what_they_say(runs, plain_reward, encoder_reward, tmp_path):
    """In a fresh process, from a Hub: all that it knows is the ids, and the base model that the adapters name."""
    with Hub() as hub:
        hub.add("models/ada/base", files_of(runs / "base"))
        hub.add("models/ada/dpo-base", files_of(runs / "dpo"))
        jobs, scores = [], []
        for name, folder, settings in (
            ("reward", runs / "reward", {}),
            ("adapter", runs / "reward_adapter", {"base_model": "ada/base"}),
            ("4bit", runs / "reward_4bit", {"base_model": "ada/base"}),
            ("plain", plain_reward, {}),
            ("encoder", encoder_reward, {}),
            *((name, tiny_reward_model(tmp_path / "made" / name, text), {}) for name, text in TEMPLATES.items()),
        ):
            here = settings | ({} if name == "plain" else {"repo_id": f"ada/{name}"})
            out = tmp_path / name
            report, _, _ = publish(folder, out, **here)
            if name != "plain":
                hub.add(f"models/ada/{name}", files_of(out), private=True)
            jobs += [{"code": code, "cwd": str(out if name == "plain" else tmp_path)} for code in code_of(out)]
            scores.append(
                RewardModel.load(folder).score([report["example"]["prompt"]], [report["example"]["response"]])[0]
            )
        policies = []
        for name, settings in (("dpo", {}), ("ppo", {"base_model": "ada/dpo-base"})):
            report, _, _ = publish(runs / name, tmp_path / name, "policy", repo_id=f"ada/{name}", **settings)
            hub.add(f"models/ada/{name}", files_of(tmp_path / name))
            jobs += [{"code": code, "cwd": str(tmp_path)} for code in code_of(tmp_path / name)]
            policies.append(report["example"]["response"])
        done = subprocess.run(
            [sys.executable, "-c", _RUNNER],
            input=json.dumps(jobs),
            capture_output=True,
            text=True,
            timeout=240,
            env=rlaif_env(**hub.env),
        )
    assert done.returncode == 0, done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(jobs) == len(printed) == 18
    for at, score in enumerate(scores):
        plain, own = printed[2 * at : 2 * at + 2]
        assert float(own) == score  # every bit
        assert own.strip() == told(jobs[2 * at + 1]["code"]) == repr(float(score))
        assert float(plain) == round(score, 4)
        assert plain.strip() == told(jobs[2 * at]["code"])
    assert len(set(scores)) == 8
    assert printed[16:] == [f"{response}\n" for response in policies]


def test_a_pushed_reward_model_scores_as_it_did(plain_reward, tmp_path):
    """By the command: the same bits on what it was never asked before. Over the Hub a card's code reads one above."""
    prompts = [f"Question {i}: what is {i} plus {i}?" for i in range(4)]
    responses = [f"It is {2 * i}." + " Indeed." * i for i in range(4)]
    before = RewardModel.load(plain_reward).score(prompts, responses)
    assert np.isfinite(before).all()
    with Hub() as hub:
        words = ["publish", "--reward_model", plain_reward, "--output", tmp_path / "out", "--license", "apache-2.0"]
        done = rlaif(*words, "--repo_id", "ada/reward", **hub.env)
        assert done.returncode == 0, done.stderr
        repo = hub.repos["models/ada/reward"]
    assert repo.private
    sent = tmp_path / "sent"
    sent.mkdir()
    for name, data in repo.files.items():
        (sent / name).write_bytes(data)
    assert RewardModel.load(sent).score(prompts, responses).tolist() == before.tolist()


def test_a_model_does_not_go_out_whose_data_was_written_anew(runs, tmp_path):
    """Rows as they were in a folder that was built again are the same data; other rows, or a changed file, are not."""
    data = shutil.copytree(runs / "preferences", tmp_path / "preferences")
    known = json.loads((runs / "reward/manifest.json").read_text())
    inputs = {name.replace(str(runs), str(tmp_path)): value for name, value in known["inputs"].items()}
    assert str(data / "data") in inputs
    changes = {"inputs": inputs, "config": known["config"] | {"dataset": str(data)}}
    model = copy_of(runs / "reward", tmp_path / "reward", manifest=changes)
    build(BuildConfig(judgments=str(runs / "judged"), output=str(data), test=0.3))
    publish(model, tmp_path / "out")
    build(BuildConfig(judgments=str(runs / "judged"), output=str(data), test=0.4))
    before = (tmp_path / "out/README.md").read_bytes()
    line = rf"{re.escape(str(data / 'data'))} was written anew since {re.escape(str(model))} was trained on it"
    with pytest.raises(ValueError, match=line):
        publish(model, tmp_path / "out")
    with pytest.raises(ValueError, match=line):
        publish(model, tmp_path / "new")
    assert (tmp_path / "out/README.md").read_bytes() == before
    assert not (tmp_path / "new").exists()
