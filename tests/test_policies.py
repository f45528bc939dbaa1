"""Policies with a generation config of their own: what is sampled, trained and saved is the model's all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import ROOT, byte_tokenizer, here, ppo_config, save_model, tiny_llama, word_llama, write_rows

from rlaif.judging.sampling import Sampling, complete, local_policy
from rlaif.models.drawing import own_distribution
from rlaif.models.loading import load_tokenizer, quiet
from rlaif.models.rendering import stop_ids
from rlaif.training.models import ModelConfig, load_policy


@pytest.fixture(autouse=True)
def quiet_loading() -> Iterator[None]:
    with quiet():
        yield


def policy(folder: Path, **generation: Any) -> Path:
    save_model(folder, tiny_llama(), byte_tokenizer(chat=True))
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | generation))
    return folder


# ---------------------------------------------------------------------------------------------------------------- saved


@pytest.mark.parametrize(
    ("values", "saved", "said"),
    [
        (
            {"temperature": 0.6, "top_p": 0.9, "do_sample": False},
            {"temperature": 0.6, "top_p": 0.9, "do_sample": True},
            "has temperature 0.6 and top_p 0.9 and do_sample false, which is not saved so",
        ),
        ({"temperature": 0.0, "do_sample": False}, {"do_sample": False}, ""),
        ({"temperature": 0.7, "top_k": 20, "do_sample": True}, {"temperature": 0.7, "top_k": 20}, ""),
        ({"early_stopping": True, "num_beams": 1}, {"num_beams": 1}, ""),
        ({"output_attentions": True, "use_cache": False, "cache_implementation": "static"}, {"use_cache": False}, ""),
    ],
)
def test_what_is_trained_can_be_saved(
    values: dict[str, Any], saved: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = policy(tmp_path / "m", **values)
    model = load_policy(ModelConfig(model=str(folder)), load_tokenizer(folder))
    model.save_pretrained(tmp_path / "out")
    row = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert {name: row[name] for name in saved} == saved
    err = capsys.readouterr().err
    assert said in err
    assert bool(said) == ("warning" in err)


def test_what_cannot_be_saved_is_named_before_the_training(tmp_path: Path) -> None:
    folder = policy(tmp_path / "m", num_beams=2, num_return_sequences=2)
    model = load_policy(ModelConfig(model=str(folder)), load_tokenizer(folder))
    model.generation_config.num_return_sequences = 3
    from rlaif.training.models import make_savable

    with pytest.raises(ValueError, match=r"the generation_config\.json of m cannot be saved with a trained model"):
        make_savable(model, "m")


def test_an_end_that_is_no_number_is_one_line(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"prompt": "Hi", "completion": "Yes"}])
    folder = policy(tmp_path / "m", eos_token_id="x")
    done = here("sample", "--prompts", rows, "--policy", folder, "--output", tmp_path / "s")
    words = ["--dataset", rows, "--model", folder, "--output_dir", tmp_path / "o", "--max_steps", 1]
    for ended in (done, here(*words, program=str(ROOT / "recipes/sft.py"))):
        assert ended.returncode == 1
        assert "Traceback" not in ended.stderr
        last = ended.stderr.strip().splitlines()[-1]
        assert last.startswith(
            "error: the model's generation_config.json has the eos_token_id 'x'; expected the number"
        )


@pytest.mark.parametrize("trainable", [True, False])
def test_a_merged_adapter_is_trained_whole(trainable: bool, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = policy(tmp_path / "base")
    model = get_peft_model(tiny_llama(), LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(tmp_path / "lora")
    load_tokenizer(base).save_pretrained(tmp_path / "lora")
    config = ModelConfig(model=str(tmp_path / "lora"))
    merged = load_policy(config, load_tokenizer(base), trainable=trainable)
    assert {weight.requires_grad for weight in merged.parameters()} == {trainable}


# -------------------------------------------------------------------------------------------------------------- sampled

BENT = {"suppress_tokens": list(range(32, 127)), "no_repeat_ngram_size": 1, "num_beams": 3, "min_new_tokens": 12}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_response_is_of_the_models_own_distribution(temperature: float, tmp_path: Path) -> None:
    texts = []
    for name, generation in (("own", {}), ("bent", BENT)):
        folder = policy(tmp_path / name, **generation)
        sampling = Sampling(local_policy(str(folder)), 2 if temperature else 1, 12, temperature=temperature)
        rows = complete(sampling, ["Hi", "Ho"], None, "sampling")
        texts.append([(row.text, row.complete) for of_prompt in rows for row in of_prompt])
    if temperature == 0.0:
        assert texts[0] == texts[1]
    bent = "".join(text or "" for text, _ in texts[1])
    assert any(32 <= ord(character) < 127 for character in bent)


@pytest.mark.parametrize("adapter", [False, True])
def test_the_generation_config_is_put_back(adapter: bool) -> None:
    model = tiny_llama()
    model.generation_config.suppress_tokens, model.generation_config.eos_token_id = [5], [7, 258]
    kept = model.generation_config
    given: Any = model
    if adapter:
        from peft import LoraConfig, get_peft_model

        given = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))
    with own_distribution(given):
        given.generate(input_ids=torch.tensor([[1, 2]]), max_new_tokens=1, do_sample=False, pad_token_id=0)
        assert model.generation_config.suppress_tokens is None
        assert stop_ids(model, byte_tokenizer(chat=True)) == [258, 7]
    assert model.generation_config is kept


# -------------------------------------------------------------------------------------------------- a letter that pads


def letters() -> Any:
    """A tokenizer that pads with a word of its vocabulary, as GPT-2's does with "!"."""
    from support import word_tokenizer

    it = word_tokenizer()
    it.pad_token = "a"
    return it


def test_rewards_read_the_letter_that_also_pads(tmp_path: Path) -> None:
    import datasets

    from rlaif.training.ppo.trainer import PPOTrainer

    tokenizer = letters()
    seen: list[tuple[str, list[int]]] = []

    def count(prompts: list[Any], completions: list[Any], completion_ids: list[Any], **columns: Any) -> list[float]:
        seen.extend(zip(completions, completion_ids, strict=True))
        return [0.1 * len(ids) for ids in completion_ids]

    policy = word_llama()
    policy.generation_config.suppress_tokens = [tokenizer.pad_token_id]  # not of the distribution that is trained
    args = ppo_config(tmp_path, kl_coef=0.0, max_steps=1, max_completion_length=8)
    rows = datasets.Dataset.from_list([{"prompt": "a b"}] * args.generation_batch_size)
    PPOTrainer(policy, args, rewards=[count], train_dataset=rows, processing_class=tokenizer).train()
    assert policy.generation_config.suppress_tokens == [tokenizer.pad_token_id]
    assert any(tokenizer.pad_token_id in ids for _, ids in seen)
    for text, ids in seen:
        assert text.split().count("a") == ids.count(tokenizer.pad_token_id)
