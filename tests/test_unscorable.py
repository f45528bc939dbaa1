"""A reward model whose chat template leaves out a turn: the row has no score, is counted, and is said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, byte_tokenizer, here, rows_of, save_model, tiny_llama, write_rows
from support.models import tiny_reward_model
from support.tokenizer_kinds import TEMPLATES

from rlaif.judging.rewards import load_rewards
from rlaif.judging.unscorable import say_of_models
from rlaif.models.reward_model import RewardModel

SYSTEM = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
HI = [{"role": "user", "content": "Hi"}]
EMPTY = [{"role": "system", "content": " "}, {"role": "user", "content": "Hi"}]
SAID = "the chat template leaves out the system turn"
LATE = (  # Mistral's: the system turn stands in the last user's, which a finished conversation does not end with
    "{% for m in messages if m['role'] != 'system' %}{% if m['role'] == 'user' %}[INST] "
    "{% if loop.last and messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}\n\n{% endif %}"
    "{{ m['content'] }}[/INST]{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
)
SHAPES = {"no_system": TEMPLATES["no_system"].replace("<|end|>", "</s>"), "late": LATE}


def reward_model(folder: Path, shape: str, foreign: bool) -> Path:
    """A reward model that knows no system turn; `foreign` without rlaif.json."""
    from rlaif.models.loading import load_tokenizer
    from rlaif.models.rendering import Rendering

    tiny_reward_model(folder)
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = SHAPES[shape]
    tokenizer.save_pretrained(folder)
    card = json.loads((folder / "rlaif.json").read_text())
    card["rendering"] = Rendering.of(load_tokenizer(folder)).row()
    (folder / "rlaif.json").write_text(json.dumps(card))
    if foreign:
        (folder / "rlaif.json").unlink()
    return folder


@pytest.fixture(scope="module")
def dropping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reward_model(tmp_path_factory.mktemp("models") / "rm", "no_system", foreign=False)


@pytest.mark.parametrize(("shape", "foreign"), [("no_system", False), ("no_system", True), ("late", True)])
def test_a_row_whose_turn_is_left_out_has_no_score(shape: str, foreign: bool, tmp_path: Path) -> None:
    model = RewardModel.load(reward_model(tmp_path / "rm", shape, foreign))
    scores = model.score(["Hi", SYSTEM, EMPTY], ["Yes", "Yes", "Yes"])
    assert math.isnan(scores[1])
    assert not math.isnan(scores[0] + scores[2])  # nothing of an empty turn is missed
    assert (model.unscored, model.refused) == (1, {1: SAID})


def test_one_that_is_read_in_the_generation_prompt_has_one(tmp_path: Path) -> None:
    """An own reward model reads the prompt as the policy does: there the turn stands."""
    model = RewardModel.load(reward_model(tmp_path / "rm", "late", foreign=False))
    kind, rude = (model.score([[{"role": "system", "content": c}, SYSTEM[1]]], ["Yes"])[0] for c in ("Kind", "Rude"))
    assert not math.isnan(kind + rude)
    assert kind != rude


def test_a_response_that_the_template_leaves_out_is_refused(tmp_path: Path) -> None:
    model = RewardModel.load(reward_model(tmp_path / "rm", "no_system", foreign=True))
    model.tokenizer.chat_template = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}</s>{% endfor %}"
    assert math.isnan(model.score(["Hi"], ["Yes"])[0])
    assert model.refused == {0: "the chat template leaves out the assistant turn"}


def test_the_score_program_leaves_it_out(dropping: Path, tmp_path: Path) -> None:
    given = [{"prompt": p, "response": r} for p, r in ((HI, "Yes"), (SYSTEM, "Yes"), (HI, "Yes " * 200))]
    rows = write_rows(tmp_path / "in.jsonl", given)
    words = ["--reward_model", dropping, "--input", rows, "--output", tmp_path / "out.jsonl"]
    done = here(*words, program=str(ROOT / "reward_models/score.py"))
    assert done.returncode == 0, done.stderr
    assert "scored 1 of 3 responses in 3 rows, 1 too long and 1 refused (null); wrote" in done.stdout
    report = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())["report"]
    assert report["ledger"] == {"read": 3, "used": 1, "left_out": {"too long": 1, "refused by the chat template": 1}}
    first, second, _ = rows_of(tmp_path / "out.jsonl")
    assert first["reward"] is not None
    assert second["reward"] is None
    assert "1 of 3 rows cannot be scored; the first, " in done.stderr
    assert f"in.jsonl:2: {SAID}" in done.stderr
    write_rows(tmp_path / "in.jsonl", [{"prompt": SYSTEM, "response": "Yes"}])
    done = here(*words, program=str(ROOT / "reward_models/score.py"))
    assert done.returncode == 1
    assert SAID in done.stderr.strip().splitlines()[-1]


def test_a_file_of_which_nothing_fits_is_one_line(dropping: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "in.jsonl", [{"prompt": "Hi", "response": "Yes " * 200}] * 2)
    words = ["--reward_model", dropping, "--input", rows, "--output", tmp_path / "out.jsonl"]
    done = here(*words, program=str(ROOT / "reward_models/score.py"))
    assert done.returncode == 1
    assert "error: all 2 responses are longer with their prompts than the 512 tokens that" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_rewards_say_it_before_and_count_it(dropping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (reward,) = load_rewards([f"reward_model={dropping}"], tmp_path / "run")
    completions: list[Any] = ["Yes", [{"role": "assistant", "content": "Yes"}]]
    assert [value is None for value in reward(["Hi", SYSTEM], completions)] == [False, True]
    assert list(reward.unscored_reasons.values()) == [1]
    line = "1 of 2 prompts cannot be scored by rm; the first,"
    rm, prompts = {"rm": str(dropping)}, ["Hi", SYSTEM]
    assert say_of_models(rm, prompts, response_tokens=10) == []
    assert f"{line} prompt 2, 'Hi': {SAID}; their responses have no score" in capsys.readouterr().err
    assert say_of_models(rm, prompts, ["p.jsonl:1", "p.jsonl:4"], response_tokens=510, then="are left out") == []
    said = capsys.readouterr().err
    assert f"{line} p.jsonl:4: {SAID}; their responses are left out" in said
    assert "rm reads 512 tokens: with 1 of 2 prompts responses of 510 tokens are too long for it; such" in said
    with pytest.raises(ValueError, match=r"1 of 1 prompts cannot be scored .*Change the prompts, or use another"):
        say_of_models(rm, [SYSTEM], response_tokens=1)


def test_evaluation_counts_it(dropping: Path, tmp_path: Path) -> None:
    policy = save_model(tmp_path / "policy", tiny_llama(), byte_tokenizer(chat=True))
    prompts = write_rows(tmp_path / "p.jsonl", [{"prompt": HI}, {"prompt": SYSTEM}])
    pairs = [{"prompt": p, "chosen": "Yes", "rejected": "No"} for p in (HI, SYSTEM)]
    preferences = write_rows(tmp_path / "q.jsonl", pairs)
    words = ["--policies", f"a={policy}", "--prompts", prompts, "--reward_model", dropping, "--max_new_tokens", 4]
    words += ["--output", tmp_path / "e"]
    done = here("evaluate", *words, "--preferences", preferences, "--preferences_split", "train")
    assert done.returncode == 0, done.stderr
    assert f"cannot be scored by the reward model {dropping}; the first, {prompts}:2: {SAID}" in done.stderr
    assert f"1 of 2 rows of {preferences} cannot be scored; the first, {preferences}:2: {SAID}" in done.stderr
    report = json.loads((tmp_path / "e/report.json").read_text())
    assert report["policies"]["a"]["reward_unscored"] == 1
    assert report["reward_model"]["unscored"] == 1
    write_rows(tmp_path / "p.jsonl", [{"prompt": SYSTEM}])
    done = here("evaluate", *words, "--output", tmp_path / "none")
    assert done.returncode == 1
    assert SAID in done.stderr.strip().splitlines()[-1]
    assert not list((tmp_path / "none").glob("replies*"))  # nothing was sampled for it


def test_training_says_where_a_row_stands_and_does_not_call_it_too_long(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = SHAPES["no_system"]
    save_model(tmp_path / "base", tiny_llama(), tokenizer)
    rows = [{"prompt": HI, "chosen": f"Yes {at}", "rejected": "No", "split": "train"} for at in range(4)]
    rows += [{**rows[0], "split": "test"}, {**rows[1], "prompt": SYSTEM, "split": "test"}]
    source = write_rows(tmp_path / "pairs.jsonl", rows)
    words = ["--model", tmp_path / "base", "--dataset", source, "--output_dir", tmp_path / "out", "--max_steps", 1]
    words += ["--per_device_train_batch_size", 2, "--save_strategy", "no", "--report_to", "none"]
    done = here(*words, program=str(ROOT / "reward_models/bradley_terry.py"))
    assert done.returncode == 0, done.stderr
    assert f"test: left out 1 of 2 rows: the chat template does not write them as they are; {source}:6: {SAID}" in (
        done.stderr
    )
    assert "held out: 2 pairs, 0 too long to score, 1 refused by the chat template" in done.stdout
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert (report["held_out"]["unscored"], report["held_out"]["refused"]) == (1, 1)
    assert report["ledger"] == {"read": 6, "used": 5, "left_out": {"refused by the chat template": 1}}
