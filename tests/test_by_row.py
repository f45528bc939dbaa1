"""Held-out numbers are those of a direct count over rows, whatever the batches (two processes: test_parallel_training).

The count is done here row by row, by the model alone: no trainer, no batch, no padding.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from support.models import tiny_llama
from support.tokenizers import byte_tokenizer
from transformers import AutoModelForSequenceClassification, set_seed

from rlaif.assess.drawn import PairKeys
from rlaif.models.rendering import Rendering
from rlaif.training.data import demonstrations, dpo_pairs, reward_pairs
from rlaif.training.measure import completion_report, implicit_reward_report, prompt_keys
from rlaif.training.trainers import (
    CompletionConfig,
    CompletionTrainer,
    SoftDPOConfig,
    SoftDPOTrainer,
    SoftRewardConfig,
    SoftRewardTrainer,
    right_side,
)

N = 17  # of batches of 7 the last has 3 rows
SIZES = (1, 7, 64)
TOKENIZER = byte_tokenizer(chat=False)
RENDERING = Rendering.of(TOKENIZER)
SETTINGS: dict[str, Any] = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True}


@pytest.fixture(scope="module")
def pairs() -> datasets.Dataset:
    """Responses of very different length; z on both sides, and one tie."""
    rng = np.random.default_rng(3)
    rows = []
    for i in range(N):
        chosen, rejected = ("".join(rng.choice(list("abc d"), rng.integers(1, 30))) for _ in range(2))
        z = 0.5 if i == 4 else float(rng.choice([0.2, 0.7, 0.9]))
        rows.append({"prompt": f"say {i // 2}", "chosen": f"x{chosen}", "rejected": f"y{rejected}", "z": z})
    return datasets.Dataset.from_list(rows)


def evaluations(trainer: Any) -> list[dict[str, float]]:
    """What is logged in batches of each of `SIZES`; the rows' own numbers are the same each time."""
    logged, rows = [], []
    for size in SIZES:
        trainer.args.per_device_eval_batch_size = size
        returned = trainer.evaluate()
        logged.append({k: v for k, v in trainer.state.log_history[-1].items() if k in returned and "per_s" not in k})
        rows.append(trainer.held_out_rows)
    for other in rows[1:]:
        assert other.keys() == rows[0].keys()
        for name, values in rows[0].items():
            if name == "loss" and not getattr(trainer, "loss_is_of_rows", True):
                continue  # each row has its batch's
            assert other[name] == pytest.approx(values, abs=2e-5), name
    return [{k: v for k, v in row.items() if k != "eval_runtime"} for row in logged]


def logps(model: Any, prompt: list[int], response: list[int]) -> torch.Tensor:
    """log p of each token of the response, (T,), and whether it is the likeliest."""
    ids = torch.tensor([prompt + response])
    with torch.no_grad():
        logp = model(input_ids=ids).logits[0].log_softmax(-1)[len(prompt) - 1 : -1]
    label = torch.tensor(response)
    return torch.stack([logp.gather(1, label[:, None])[:, 0], (logp.argmax(-1) == label).float()])


@pytest.mark.parametrize(
    "settings", [{}, {"preference_loss": "hard"}, {"preference_loss": "hard", "loss_type": ["ipo"]}]
)
def test_dpo(tmp_path: Path, pairs: datasets.Dataset, settings: dict[str, Any]) -> None:
    set_seed(1)
    policy, reference = tiny_llama(), tiny_llama()
    torch.nn.init.normal_(policy.lm_head.weight, std=0.1)
    columns = dpo_pairs(pairs, TOKENIZER, RENDERING, 400).rows
    args = SoftDPOConfig(output_dir=str(tmp_path), beta=0.3, **SETTINGS, **settings)
    trainer = SoftDPOTrainer(
        policy, reference, args=args, train_dataset=columns, eval_dataset=columns, processing_class=TOKENIZER
    )
    logged = evaluations(trainer)

    margins, lengths = [], []
    for row in columns:
        one = [
            logps(m, row["prompt_ids"], row[s])[0].sum()
            for m in (policy, reference)
            for s in ("chosen_ids", "rejected_ids")
        ]
        margins.append(float(0.3 * ((one[0] - one[2]) - (one[1] - one[3]))))
        lengths.append((len(row["chosen_ids"]), len(row["rejected_ids"])))
    margin, z = np.array(margins), np.array(pairs["z"])
    p = 1 / (1 + np.exp(-margin))
    right = sum(bool((m > 0) == (t > 0.5)) for m, t in zip(margin, z, strict=True) if t != 0.5)
    loss = -(z * np.log(p) + (1 - z) * np.log(1 - p)) if not settings else -np.log(p)
    assert 0 < right < N - 1
    for row in logged:
        assert row["eval_rewards/accuracies"] == pytest.approx(right / (N - 1), abs=1e-12)
        assert row["eval_rewards/margins"] == pytest.approx(margin.mean(), abs=1e-4)
        if "loss_type" not in settings:
            assert row["eval_loss"] == pytest.approx(loss.mean(), abs=1e-4)
        assert row["eval_loss"] == pytest.approx(logged[0]["eval_loss"], abs=1e-4)  # of TRL's loss too

    keys = PairKeys.of(pairs["prompt"], pairs["chosen"], pairs["rejected"]).array
    report = implicit_reward_report(trainer.held_out_rows, keys, trainer.loss_is_of_rows)
    assert (report["pairs"], report["tied"], report["measured"], report["drawn"]["over"]) == (N, 1, N - 1, "responses")
    assert report["accuracy"] == pytest.approx(right / (N - 1), abs=1e-12)
    assert report["accuracy_low"] <= report["accuracy"] <= report["accuracy_high"]
    assert report["margin_low"] < report["margin"] < report["margin_high"]
    assert (report["loss_low"] is None) == ("loss_type" in settings)


@pytest.mark.parametrize("settings", [{}, {"preference_loss": "hard", "label_smoothing": 0.1}])
def test_reward_model(tmp_path: Path, pairs: datasets.Dataset, settings: dict[str, Any]) -> None:
    set_seed(1)
    tiny_llama().save_pretrained(tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=1)
    torch.nn.init.normal_(model.score.weight)
    columns = reward_pairs(pairs, TOKENIZER, RENDERING, 400).rows
    args = SoftRewardConfig(output_dir=str(tmp_path), center_rewards_coefficient=0.01, **SETTINGS, **settings)
    trainer = SoftRewardTrainer(model, args, train_dataset=columns, eval_dataset=columns, processing_class=TOKENIZER)
    logged = evaluations(trainer)

    def score(ids: list[int]) -> float:
        with torch.no_grad():
            return float(model(input_ids=torch.tensor([ids])).logits)

    scores = np.array([[score(row["chosen_ids"]), score(row["rejected_ids"])] for row in columns])
    delta, z = scores[:, 0] - scores[:, 1], np.array(pairs["z"])
    right = sum(bool((d > 0) == (t > 0.5)) for d, t in zip(delta, z, strict=True) if t != 0.5)
    target = 0.9 if settings else z
    loss = np.log1p(np.exp(-delta)) + (1 - target) * delta + 0.01 * scores.sum(1) ** 2
    for row in logged:
        assert row["eval_accuracy"] == pytest.approx(right / (N - 1), abs=1e-12)
        assert row["eval_margin"] == pytest.approx(delta.mean(), abs=1e-4)
        assert row["eval_loss"] == pytest.approx(loss.mean(), abs=1e-4)
        named = ("eval_min_reward", "eval_mean_reward", "eval_max_reward")
        assert [row[name] for name in named] == pytest.approx([scores.min(), scores.mean(), scores.max()], abs=1e-4)


@pytest.mark.parametrize("settings", [{}, {"loss_type": "dft"}])
def test_sft(tmp_path: Path, pairs: datasets.Dataset, settings: dict[str, Any]) -> None:
    set_seed(1)
    model = tiny_llama()
    rows = pairs.rename_column("chosen", "completion").select_columns(["prompt", "completion"])
    tokens = demonstrations(rows, TOKENIZER, RENDERING, 28)  # three are longer
    args = CompletionConfig(output_dir=str(tmp_path), max_length=400, **SETTINGS, **settings)
    trainer = CompletionTrainer(
        model, args, train_dataset=tokens.rows, eval_dataset=tokens.rows, processing_class=TOKENIZER
    )
    logged = evaluations(trainer)

    counts = []
    for row in tokens.rows:
        begin = row["labels"].count(-100)
        logp, right = logps(model, row["input_ids"][:begin], row["input_ids"][begin:])
        counts.append((float(-logp.sum()), len(logp), float(right.sum())))
    nll, length, right = np.array(counts).T
    assert len(set(length)) > 5  # else a mean of means would do
    for row in logged:
        assert row["eval_loss"] == pytest.approx(nll.sum() / length.sum(), abs=1e-5)
        assert row["eval_mean_token_accuracy"] == pytest.approx(right.sum() / length.sum(), abs=1e-12)
    kept = rows.select(tokens.kept)
    assert 0 < tokens.too_long == N - len(tokens)
    assert [len(text.encode()) + 1 for text in kept["completion"]] == length.tolist()  # with the end
    report = completion_report(trainer.held_out_rows, prompt_keys(kept["prompt"], kept["completion"]))
    assert (report["rows"], report["tokens"]) == (len(kept), length.sum())
    assert report["perplexity"] == pytest.approx(math.exp(nll.sum() / length.sum()), abs=1e-3)
    assert report["drawn"]["prompts"] == len(set(kept["prompt"]))


def test_a_row_that_is_nan_is_not_left_out(tmp_path: Path, pairs: datasets.Dataset) -> None:
    """TRL's mean would be NaN too; the rows that are no numbers must not vanish on the way to the mean of rows."""
    columns = demonstrations(pairs.rename_column("chosen", "completion"), TOKENIZER, RENDERING, 400).rows
    model = tiny_llama()
    with torch.no_grad():
        model.model.embed_tokens.weight[columns[3]["input_ids"][-2]] = math.nan
    args = CompletionConfig(output_dir=str(tmp_path), **SETTINGS)
    trainer = CompletionTrainer(model, args, train_dataset=columns, eval_dataset=columns, processing_class=TOKENIZER)
    with pytest.raises(ValueError, match="the held-out loss is nan; expected a finite number"):
        trainer.evaluate()


def test_the_side_of_z() -> None:
    assert right_side(np.array([1.0, -1.0, 0.0, 5.0]), np.array([0.9, 0.2, 0.7, 0.5])) == pytest.approx(2.5 / 3)
    assert math.isnan(right_side(np.array([1.0]), np.array([0.5])))
    assert math.isnan(right_side(np.array([1.0, math.nan]), np.array([0.9, 0.9])))
