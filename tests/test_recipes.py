"""The training programs, run as a user runs them: on tiny models, in full and as adapters, with good and bad input."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import yaml
from support import byte_tokenizer, here, save_model, word_tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from rlaif import config
from rlaif.models.reward_model import RewardModel
from rlaif.training.models import ModelConfig
from rlaif.training.ppo.config import PPOConfig
from rlaif.training.trainers import CompletionConfig, SoftDPOConfig, SoftRewardConfig

ROOT = Path(__file__).parent.parent
REWARD, SFT, DPO, PPO, BEST_OF_N = (
    ROOT / name
    for name in (
        *("reward_models/bradley_terry.py", "recipes/sft.py", "recipes/dpo.py", "recipes/ppo.py"),
        "recipes/best_of_n.py",
    )
)
SCORE = ROOT / "reward_models/score.py"
PROGRAMS = {
    "reward_models/configs": (REWARD, SoftRewardConfig),
    "recipes/configs/sft": (SFT, CompletionConfig),
    "recipes/configs/dpo": (DPO, SoftDPOConfig),
    "recipes/configs/ppo": (PPO, PPOConfig),
    "recipes/configs/best_of_n": (BEST_OF_N, CompletionConfig),
}
SETTINGS = {
    "max_steps": 3,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 8,
    "learning_rate": 0.01,
    "max_length": 400,
    "save_strategy": "no",
    "logging_steps": 1,
    "use_cpu": True,
}
SECONDS = 1234.56  # since the process began, as the clock of a test says: imports are a good part of a short stage


@pytest.fixture
def preferences(tmp_path):
    """A folder as `rlaif build` writes it: 16 pairs to train on, 8 held out, one pair of each too long to train on."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "preferences"
    (folder / "data").mkdir(parents=True)
    for split, n in (("train", 16), ("test", 8)):
        rows = []
        for i in range(n + 1):
            z = float(rng.uniform(0.5, 1))
            good, bad = rng.choice(["yes", "surely", "gladly"]), rng.choice(["no", "never", "go away"])
            prompt = f"Question {rng.integers(100)}?" if i < n else "word " * 400
            rows.append(
                {"id": f"{split}{i}", "prompt": prompt, "chosen": str(good), "rejected": str(bad), "z": z}
                | {"label": ["chosen", "rejected", "tie"][i % 3]}
            )
        datasets.Dataset.from_list(rows).to_parquet(folder / f"data/{split}-00000-of-00001.parquet")
    return folder


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory):
    """A random Llama whose layers are no narrower than the 64 weights that bitsandbytes quantizes together."""
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"vocab_size": 259, "pad_token_id": 256, "bos_token_id": 257, "eos_token_id": 258}
    model = LlamaForCausalLM(LlamaConfig(**shape, **tokens, initializer_range=0.1))
    return save_model(tmp_path_factory.mktemp("models") / "chat", model, byte_tokenizer(chat=True))


def launch(program, settings, monkeypatch, capsys, *, warnings=False):
    """Runs a program in this process; returns what it printed, or what it warned of."""
    words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    monkeypatch.setattr(sys, "argv", [str(program), *words])
    runpy.run_path(str(program), run_name="program")["main"]()
    printed = capsys.readouterr()
    return printed.err if warnings else printed.out


def fails(program, settings, monkeypatch, capsys):
    """The one line with which a program ends."""
    with pytest.raises(SystemExit) as end:
        config.run(lambda: launch(program, settings, monkeypatch, capsys))
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert end.value.code in (1, 2)
    assert error.startswith("error: ")
    return error


# ------------------------------------------------------------------------------------------------------------- configs

ABLATIONS = sorted(p for p in (ROOT / "recipes/ablations").glob("*.yaml") if p.stem != "base")
CONFIGS = sorted(p for folder in PROGRAMS for p in (ROOT / folder).glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_config_parses_and_opens_with_its_command(path, tmp_path):
    program, arguments = PROGRAMS[str(path.parent.relative_to(ROOT))]
    data_config = runpy.run_path(str(program), run_name="program")["DataConfig"]
    config.parse(data_config, ModelConfig, arguments, args=["--config", str(path), "--use_cpu", "true"])
    first, second = path.read_text().splitlines()[:2]
    assert first.startswith("# accelerate launch ")
    assert f"{program.relative_to(ROOT)} --config {path.relative_to(ROOT)}" in first
    assert second.startswith("# Needs: ")
    for named in re.findall(r"--config_file (\S+)", first):
        assert (ROOT / named).is_file()


def test_no_yaml_is_left_out_of_the_tests():
    all_files = {p for folder in ("recipes", "reward_models") for p in (ROOT / folder).rglob("*.y*ml")}
    others = {*(ROOT / "recipes/accelerate").glob("*.yaml"), *ABLATIONS, ROOT / "recipes/ablations/base.yaml"}
    assert all_files == {*CONFIGS, *others}


@pytest.mark.parametrize("path", sorted((ROOT / "recipes/accelerate").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_accelerate_config_is_one(path):
    from accelerate.commands.config.config_args import load_config_from_file

    loaded = load_config_from_file(str(path))
    raw = yaml.safe_load(path.read_text())
    assert loaded.num_processes == raw["num_processes"]
    assert path.read_text().startswith("# accelerate launch --config_file recipes/accelerate/")


@pytest.mark.parametrize("name", ["recipes/configs/sft", "reward_models/configs", "recipes/configs/dpo"])
def test_the_sandbox_configs_run_as_they_open(name, chat_model, preferences, tmp_path):
    """For two steps, with the words of the YAML's first line; the model, the data and the output are this test's own.

    A reward model's is launched by accelerate and prints results and nothing else: what libraries say on the way is not
    the user's concern. The others take the same words in this process.
    """
    path, program = ROOT / name / "sandbox.yaml", PROGRAMS[name][0]
    out = tmp_path / "out"
    settings = {"model": chat_model, "dataset": preferences, "output_dir": out, "max_steps": 2}
    words = path.read_text().splitlines()[0].removeprefix("# ").split()
    assert words[:4] == ["accelerate", "launch", "--config_file", "recipes/accelerate/cpu.yaml"]
    given = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    if name == "reward_models/configs":
        done = subprocess.run(
            [sys.executable, "-m", "accelerate.commands.launch", *words[2:], *given, "--disable_tqdm", "true"],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            cwd=ROOT,
            timeout=120,
        )
        said = [line for line in re.split(r"[\r\n]", done.stderr) if line.strip() and not line.startswith("scoring:")]
        assert said == []
        assert done.stdout.splitlines()[-1].startswith(f"wrote {out} in ")
    else:
        assert words[4] == str(program.relative_to(ROOT))
        done = here(*words[5:], *given, program=str(program), folder=ROOT)
    assert done.returncode == 0, done.stderr
    assert f"wrote {out} in " in done.stdout
    state = json.loads((out / "trainer_state.json").read_text())
    assert state["global_step"] == 2
    report = json.loads((out / "report.json").read_text())
    assert report["train"]["steps"] == 2
    assert np.isfinite(report["train"]["loss"])
    config_of_run = json.loads((out / "manifest.json").read_text())["config"]
    written = yaml.safe_load(path.read_text())
    assert all(config_of_run[key] == value for key, value in written.items() if key not in settings)
    assert program.name in json.loads((out / "manifest.json").read_text())["command"]


NAMED = re.compile(r"(?<![\w/.])(?:recipes|reward_models|scripts)/[\w./{},*-]*")
NAMING = [
    ROOT / "README.md",
    *(path for folder in ("recipes", "reward_models", "rlaif") for path in (ROOT / folder).rglob("README.md")),
    *(ROOT / "scripts").glob("*.sh"),
    *(path for folder in ("recipes", "reward_models") for path in (ROOT / folder).rglob("*.yaml")),
]


def missing_paths(text):
    """The paths of this repository that a text names and that do not exist."""
    named = {match.rstrip(".,") for match in NAMED.findall(text)}
    return sorted(path for path in named if not (ROOT / path).exists())


@pytest.mark.parametrize("file", NAMING, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_path_that_is_named_exists(file):
    assert missing_paths(file.read_text(encoding="utf-8")) == []


def test_a_path_that_does_not_exist_is_found():
    text = "bash scripts/quickstart.sh, then `recipes/configs/sft/qwen3_0.6b.yaml` and reward_models/train.py."
    assert missing_paths(text) == ["recipes/configs/sft/qwen3_0.6b.yaml", "reward_models/train.py"]


# ------------------------------------------------------------------------------------------------------- reward model


@pytest.mark.parametrize(
    ("kind", "extra"),
    [("full", {}), ("lora", {"lora": True}), ("qlora", {"lora": True, "load_in_4bit": True})],
)
def test_a_reward_model_reloads_bit_for_bit(kind, extra, chat_model, preferences, tmp_path, monkeypatch, capsys):
    out = tmp_path / "reward_model"
    monkeypatch.setattr("rlaif.training.progress.elapsed", lambda: SECONDS)
    settings = {**SETTINGS, "model": chat_model, "dataset": preferences, "output_dir": out, **extra}
    printed = launch(REWARD, settings, monkeypatch, capsys)
    assert f"wrote {out} in 1235 s" in printed
    assert "it reloads bit for bit" in printed
    assert "train: left out 1 of 17 rows" in printed
    report = json.loads((out / "report.json").read_text())
    assert report["reload"]["bit_identical"] is True
    assert report["train"]["pairs"] == 16
    assert report["train"]["too_long"] == 1
    held_out = report["held_out"]
    assert (held_out["pairs"], held_out["unscored"]) == (9, 1)
    assert held_out["against_label"]["pairs"] == 8
    assert report["seconds"] == round(SECONDS, 1)
    for section in (held_out["against_z"], held_out["against_label"]):
        assert set(section["baselines"]) == {"longer_wins", "bag_of_words"}
        longer = section["baselines"]["longer_wins"]
        assert longer["difference"] == pytest.approx(section["accuracy"] - longer["accuracy"])
        assert f"{longer['difference']:+.3f} over longer wins" in printed
        assert (section["accuracy_low"], section["drawn"]["over"]) == (None, None)  # of eight pairs
    assert "no interval: too few prompts, and responses to them, were drawn" in printed
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["config"]["max_length"] == 400

    # Anyone can load it, without rlaif; the zero point is the mean score over the training pairs.
    model = RewardModel.load(out)
    if kind == "full":
        plain = AutoModelForSequenceClassification.from_pretrained(out).eval()
        ids = model.rendering.encode(model.tokenizer, "Question 1?", "yes").ids
        with torch.no_grad():
            score = plain(torch.tensor([ids])).logits.item()
        assert score == pytest.approx(model.score(["Question 1?"], ["yes"])[0], abs=1e-5)
    train = datasets.Dataset.from_parquet(str(preferences / "data/train-00000-of-00001.parquet"))
    scores = model.score([*train["prompt"]] * 2, [*train["chosen"], *train["rejected"]])
    assert model.zero == pytest.approx(np.nanmean(scores), abs=1e-6)


@pytest.mark.parametrize("lora", [False, True])
def test_an_encoder_without_a_pooler_reloads_bit_for_bit(lora, preferences, tmp_path, monkeypatch, capsys):
    """The pooler is new, like the head: an adapter that left it out would meet another random one on reload."""
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789? ")
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = word_tokenizer(False, [*special.values(), *letters], letters=True, **special)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    encoder = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **shape))
    save_model(tmp_path / "encoder", encoder, tokenizer)
    out = tmp_path / "reward_model"
    settings = SETTINGS | {"model": tmp_path / "encoder", "dataset": preferences, "output_dir": out, "lora": lora}
    assert "it reloads bit for bit" in launch(REWARD, settings, monkeypatch, capsys)
    assert json.loads((out / "rlaif.json").read_text())["rendering"]["kind"] == "pair"


def test_a_reward_model_that_does_not_reload_fails(chat_model, preferences, tmp_path, monkeypatch, capsys):
    """The check is real: a head that is changed between training and reload ends the run."""
    load = RewardModel.load.__func__

    def spoiled(cls, path, **kwargs):
        model = load(cls, path, **kwargs)
        model.model.score.weight.data[0, 0] += 1e-3
        return model

    monkeypatch.setattr(RewardModel, "load", classmethod(spoiled))
    settings = {**SETTINGS, "model": chat_model, "dataset": preferences, "output_dir": tmp_path / "out"}
    assert "does not score as it did" in fails(REWARD, settings, monkeypatch, capsys)


def test_score_writes_rewards_beside_the_rows(chat_model, preferences, tmp_path, monkeypatch, capsys):
    out = tmp_path / "reward_model"
    launch(REWARD, {**SETTINGS, "model": chat_model, "dataset": preferences, "output_dir": out}, monkeypatch, capsys)
    model = RewardModel.load(out)
    pairs = [
        {"id": "1", "prompt": "Really?", "response_a": "yes", "response_b": "no"},
        {"id": "2", "prompt": "word " * 400, "response_a": "yes", "response_b": "no"},
    ]
    source, target = tmp_path / "pairs.jsonl", tmp_path / "scored.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    printed = launch(SCORE, {"reward_model": out, "input": source, "output": target}, monkeypatch, capsys)
    assert "scored 2 of 4 responses in 2 rows, 2 too long" in printed
    first, second = [json.loads(line) for line in target.read_text().splitlines()]
    a, b = model.score(["Really?"] * 2, ["yes", "no"])
    assert first["reward_a"] == pytest.approx(a - model.zero, abs=1e-5)
    assert first["reward_z"] == pytest.approx(1 / (1 + np.exp(b - a)), abs=1e-5)
    assert second == {**pairs[1], "reward_a": None, "reward_b": None, "reward_z": None}
    # A conversation is one, however it is written; a column called like a new one is kept.
    talk = [{"role": "user", "content": text} for text in ("Really?", "And now?")]
    talk.insert(1, {"role": "assistant", "content": "no"})
    system = {"role": "system", "content": "Be kind."}
    sides = {side: [{"role": "assistant", "content": text}] for side, text in (("chosen", "yes"), ("rejected", "no"))}
    whole = {side: [system, *talk, *turns] for side, turns in sides.items()}
    rows = [
        {"prompt": "Really?", **whole},
        {"prompt": [system, *talk], **sides, "reward_z": "high", "source_reward_z": 1},
        {"prompt": talk, "system": "Be kind.", **sides},
        {"prompt": talk, "tools": ["search"], **sides},
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"reward_model": out, "input": source, "output": target}
    assert f"{source}:4: the row has tools" in fails(SCORE, settings, monkeypatch, capsys)
    launch(SCORE, settings | {"on_bad_row": "skip"}, monkeypatch, capsys)
    scored = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["reward_chosen"] for row in scored] == [scored[0]["reward_chosen"]] * 3
    a, b = model.score([[system, *talk]] * 2, ["yes", "no"])
    assert scored[0]["reward_chosen"] - scored[0]["reward_rejected"] == pytest.approx(a - b, abs=1e-5)
    assert (scored[1]["source_reward_z"], scored[1]["source_source_reward_z"]) == (1, "high")
    (listed,) = (tmp_path / "scored.jsonl.bad_rows.jsonl").read_text().splitlines()
    assert json.loads(listed)["place"] == f"{source}:4"
    # One response is where recipes/sft.py finds it.
    turns = [{"from": "human", "value": "Really?"}, {"from": "gpt", "value": "yes"}]
    for row in ({"conversations": turns}, {"instruction": "Really?", "input": "", "output": "yes"}):
        source.write_text(json.dumps(row) + "\n")
        launch(SCORE, settings, monkeypatch, capsys)
        assert json.loads(target.read_text()) == {**row, "reward": pytest.approx(first["reward_a"], abs=1e-5)}
    # The first kind of answer alone is scored: what stands beside it is said.
    both = {"prompt": "Really?", "response": "yes", "response_a": "no", "response_b": "yes"}
    source.write_text(json.dumps(both) + "\n")
    said = launch(SCORE, settings, monkeypatch, capsys, warnings=True)
    assert "has rows with response and response_a, which is not scored" in said
    assert json.loads(target.read_text()) == {**both, "reward": pytest.approx(first["reward_a"], abs=1e-5)}
    source.write_text(json.dumps({"prompt": "Really?", "text": "yes"}) + "\n")
    assert f"{source}:1: the row has the columns prompt, text; expected" in fails(SCORE, settings, monkeypatch, capsys)
    source.write_text("".join(json.dumps({"prompt": prompt, "response": "yes"}) + "\n" for prompt in MIXED))
    error = fails(SCORE, settings, monkeypatch, capsys)
    assert f"{source}:2: the prompt is messages, but the one at {source}:1 is a string; expected one kind" in error


# ------------------------------------------------------------------------------------------------------------ policies


@pytest.mark.parametrize("extra", [{}, {"lora": True}, {"lora": True, "load_in_4bit": True}])
def test_sft_then_dpo(extra, chat_model, preferences, tmp_path, monkeypatch, capsys):
    """An adapter from SFT is trained on by DPO, and what DPO writes loads on the same base model."""
    monkeypatch.setattr("rlaif.training.progress.elapsed", lambda: SECONDS)
    common = {**SETTINGS, "dataset": preferences, "test_split": "test", **extra}
    printed = launch(SFT, common | {"model": chat_model, "output_dir": tmp_path / "sft"}, monkeypatch, capsys)
    assert "held out: 8 rows" in printed
    printed = launch(DPO, common | {"model": tmp_path / "sft", "output_dir": tmp_path / "dpo"}, monkeypatch, capsys)
    assert "trained on 16 pairs, 3 steps" in printed
    for name in ("sft", "dpo"):
        assert json.loads((tmp_path / name / "report.json").read_text())["seconds"] == round(SECONDS, 1)
    assert f"wrote {tmp_path / 'dpo'} in 1235 s" in printed
    log = json.loads((tmp_path / "dpo/trainer_state.json").read_text())["log_history"]
    # Before the first step policy and reference are one: the loss is log 2 for every pair, whatever z.
    assert log[0]["loss"] == pytest.approx(np.log(2), abs=1e-5)
    report = json.loads((tmp_path / "dpo/report.json").read_text())
    assert report["held_out"]["pairs"] == 8
    assert report["held_out"]["too_long"] == 1
    assert report["train"]["preference_loss"] == "soft"
    before, after = (AutoModelForCausalLM.from_pretrained(p).eval() for p in (tmp_path / "sft", tmp_path / "dpo"))
    ids = AutoTokenizer.from_pretrained(tmp_path / "dpo")("Question 1?", return_tensors="pt").input_ids
    with torch.no_grad():
        assert not torch.allclose(before(ids).logits, after(ids).logits, atol=1e-4)


def test_precomputed_reference_gives_the_same_losses(chat_model, preferences, tmp_path, monkeypatch, capsys):
    logs = []
    for precompute in (False, True):
        out = tmp_path / f"dpo{precompute}"
        settings = {**SETTINGS, "model": chat_model, "dataset": preferences, "output_dir": out}
        launch(DPO, settings | {"precompute_ref_log_probs": precompute}, monkeypatch, capsys)
        logs.append(
            [r["loss"] for r in json.loads((out / "trainer_state.json").read_text())["log_history"] if "loss" in r]
        )
    assert logs[0] == pytest.approx(logs[1], abs=1e-5)


def test_sft_on_demonstrations(chat_model, tmp_path, monkeypatch, capsys):
    source = tmp_path / "demonstrations.jsonl"
    rows = [{"prompt": f"Say {i}.", "completion": f"{i}"} for i in range(12)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {**SETTINGS, "model": chat_model, "dataset": source, "output_dir": tmp_path / "sft", "max_steps": 30}
    launch(SFT, settings, monkeypatch, capsys)
    log = json.loads((tmp_path / "sft/trainer_state.json").read_text())["log_history"]
    assert log[-2]["loss"] < 0.8 * log[0]["loss"]


# ----------------------------------------------------------------------------------------------------------- bad input


def rewrite(preferences, change, split="train"):
    path = preferences / f"data/{split}-00000-of-00001.parquet"
    rows = datasets.Dataset.from_parquet(str(path)).to_list()
    datasets.Dataset.from_list([change(dict(row)) for row in rows]).to_parquet(path)


MIXED = ["Really?", [{"role": "user", "content": "Really?"}]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"prompt": prompt, "completion": "yes"} for prompt in MIXED],
            "{source}:2: the prompt is messages, but the one at {source}:1 is a string; expected one kind",
        ),
        ([{"text": "Once </s>"}], "{source}:1: text holds '</s>', a control token of the model's tokenizer"),
    ],
    ids=["mixed", "marked up"],
)
def test_bad_demonstrations(rows, message, chat_model, tmp_path, monkeypatch, capsys):
    source = tmp_path / "demonstrations.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {**SETTINGS, "model": chat_model, "dataset": source, "output_dir": tmp_path / "sft"}
    assert message.format(source=source) in fails(SFT, settings, monkeypatch, capsys)


def without(name):
    return lambda row: {k: v for k, v in row.items() if k != name}


@pytest.mark.parametrize("program", [REWARD, DPO], ids=["reward_model", "dpo"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("rejected"), "no 'rejected'; expected"),
        (lambda row: row | {"z": 1.5}, "z is 1.5; expected a probability"),
        (lambda row: row | {"z": float("nan")}, "z holds nan; expected finite numbers"),
        (lambda row: row | {"prompt": "x" * 100_000}, "rows of the train split are longer than max_length = 400"),
    ],
    ids=["column", "range", "nan", "long"],
)
def test_bad_preferences(program, change, message, chat_model, preferences, tmp_path, monkeypatch, capsys):
    rewrite(preferences, change)
    settings = {**SETTINGS, "model": chat_model, "dataset": preferences, "output_dir": tmp_path / "out"}
    assert message in fails(program, settings, monkeypatch, capsys)


@pytest.mark.parametrize("program", [REWARD, SFT, DPO], ids=["reward_model", "sft", "dpo"])
def test_bad_settings(program, chat_model, preferences, tmp_path, monkeypatch, capsys):
    settings = {**SETTINGS, "model": chat_model, "dataset": preferences, "output_dir": tmp_path / "out"}
    misspelt = tmp_path / "config.yaml"
    misspelt.write_text("learning_rat: 1.0e-4\n")
    assert "did you mean 'learning_rate'?" in fails(program, {"config": misspelt} | settings, monkeypatch, capsys)
    (tmp_path / "bare").mkdir()
    error = fails(program, settings | {"model": tmp_path / "bare"}, monkeypatch, capsys)
    assert "holds no tokenizer" in error
    missing = {name: value for name, value in settings.items() if name != "dataset"}
    assert "dataset is missing" in fails(program, missing, monkeypatch, capsys)
    assert "4-bit weights cannot be trained" in fails(program, settings | {"load_in_4bit": True}, monkeypatch, capsys)


@pytest.mark.parametrize("program", [REWARD, SFT, DPO])
def test_what_was_trained_on_is_not_held_out(program, preferences, tmp_path, monkeypatch, capsys):
    """Refused before anything is loaded: there is no model here."""
    train = datasets.load_dataset("parquet", data_files=str(preferences / "data/train-*.parquet"), split="train")
    train.save_to_disk(tmp_path / "saved")
    (tmp_path / "saved.jsonl").write_text("{}")
    settings = {"model": "nowhere", "output_dir": tmp_path / "out", "use_cpu": True, "test_split": "test"}
    for name in ("saved", "saved.jsonl"):
        error = fails(program, settings | {"dataset": tmp_path / name}, monkeypatch, capsys)
        assert (
            f"{name}, which is one split, so nothing of it is held out as 'test'; expected --test_split none" in error
        )
    error = fails(program, settings | {"dataset": preferences, "test_split": "train"}, monkeypatch, capsys)
    assert "test_split and train_split are both 'train'; expected a split that is held out" in error
    for dataset, split in ((tmp_path / "saved.jsonl", "none"), (tmp_path / "saved", "none"), (preferences, "test")):
        error = fails(program, settings | {"dataset": dataset, "test_split": split}, monkeypatch, capsys)
        assert "no tokenizer could be loaded from nowhere" in error


def test_a_reward_model_does_not_start_from_an_adapter(chat_model, preferences, tmp_path, monkeypatch, capsys):
    settings = {**SETTINGS, "dataset": preferences, "test_split": "none"}
    launch(SFT, settings | {"model": chat_model, "output_dir": tmp_path / "sft", "lora": True}, monkeypatch, capsys)
    settings |= {"model": tmp_path / "sft", "output_dir": tmp_path / "out"}
    assert "is a LoRA adapter" in fails(REWARD, settings, monkeypatch, capsys)
