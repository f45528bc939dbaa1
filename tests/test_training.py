"""The soft losses, and TRL's trainers with them: equal to TRL's own at z = 1, and to the equations elsewhere."""

import inspect
import math

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import word_tokenizer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    Trainer,
    set_seed,
)
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference as DPOBatches
from trl.trainer.reward_trainer import DataCollatorForPreference as RewardBatches

from rlaif.models.rendering import Rendering
from rlaif.training.baselines import BagOfWords
from rlaif.training.data import check_sides, demonstrations, dpo_pairs, report_too_long, reward_pairs
from rlaif.training.losses import dpo_delta, hard_loss, margin_loss, soft_correction, soft_loss
from rlaif.training.ppo.config import PPOConfig
from rlaif.training.trainers import (
    CompletionConfig,
    CompletionTrainer,
    SoftDPOConfig,
    SoftDPOTrainer,
    SoftRewardConfig,
    SoftRewardTrainer,
)

WORDS = ["<pad>", "<unk>", "<s>", "</s>", *["a", "b", "c", "d", "e", "f", "good", "bad", "which", "one", "?", "."]]
CHAT = (
    "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} </s> {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)


def make_tokenizer(template=None, **special):
    return word_tokenizer(template or False, WORDS, **special)


SHAPE = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}


def preferences(n=8, z=None):
    rng = np.random.default_rng(0)

    def text():
        return " ".join(rng.choice(WORDS[4:], size=rng.integers(1, 7)))

    zs = rng.uniform(0.5, 1.0, n) if z is None else [z] * n
    rows = [
        {
            "id": str(i),
            "prompt": text(),
            "chosen": text(),
            "rejected": text(),
            "z": z,
            "label": "tie",
        }
        for i, z in enumerate(zs)
    ]
    return datasets.Dataset.from_list(rows)


# ------------------------------------------------------------------------------------------------------------- losses


@given(st.floats(-30, 30), st.floats(0, 1))
def test_soft_loss_is_the_cross_entropy(delta, z):
    s = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    expected = -(z * math.log(s(delta)) + (1 - z) * math.log(s(-delta)))
    got = soft_loss(torch.tensor([delta], dtype=torch.float64), torch.tensor([z], dtype=torch.float64))
    # PyTorch's softplus(x) is x above its threshold of 20, which leaves out log(1 + e^-x), 2.1e-9 at the most.
    assert got.item() == pytest.approx(expected, rel=1e-9, abs=2.1e-9)


@given(st.floats(-20, 20), st.floats(0, 1))
def test_swapping_a_pair_changes_nothing(delta, z):
    d, q = torch.tensor([delta], dtype=torch.float64), torch.tensor([z], dtype=torch.float64)
    assert soft_loss(d, q).item() == pytest.approx(soft_loss(-d, 1 - q).item(), abs=1e-9)


@given(st.floats(0.01, 0.99))
def test_the_minimum_is_where_the_model_says_what_the_judge_said(z):
    delta = torch.tensor([math.log(z / (1 - z))], dtype=torch.float64, requires_grad=True)
    soft_loss(delta, torch.tensor([z], dtype=torch.float64)).sum().backward()
    assert abs(delta.grad.item()) < 1e-9


def test_hand_worked_losses():
    zero = torch.zeros(1)
    assert soft_loss(zero, torch.tensor([0.7])).item() == pytest.approx(math.log(2))
    assert hard_loss(torch.tensor([2.0])).item() == pytest.approx(0.126928, abs=1e-6)
    assert margin_loss(torch.tensor([0.5]), torch.tensor([0.75])).item() == pytest.approx(math.log(2))
    assert soft_correction(torch.tensor([3.0]), torch.tensor([0.75])).item() == pytest.approx(0.75)
    # Smoothed by 0.1, at odds of e^2: 0.9 * 0.126928 + 0.1 * 2.126928 nats; least, and finite, at log 9.
    assert soft_loss(torch.tensor([2.0]), 0.9).item() == pytest.approx(0.326928, abs=1e-6)
    odds = torch.tensor([math.log(9.0)], dtype=torch.float64, requires_grad=True)
    soft_loss(odds, 0.9).sum().backward()
    assert abs(odds.grad.item()) < 1e-9
    delta = dpo_delta(*(torch.tensor([x]) for x in (-1.0, -4.0, -2.0, -3.0)), beta=0.1)
    assert delta.item() == pytest.approx(0.2)  # 0.1 * ((-1 + 2) - (-4 + 3))


# --------------------------------------------------------------------------------------------------------------- data


@pytest.mark.parametrize("template", [None, CHAT])
def test_columns_are_the_rendering(template):
    tokenizer, rows = make_tokenizer(template), preferences()
    rendering = Rendering.of(tokenizer)
    reward, dpo = reward_pairs(rows, tokenizer, rendering, 64), dpo_pairs(rows, tokenizer, rendering, 64)
    for row, r, d in zip(rows, reward.rows, dpo.rows, strict=True):
        for side in ("chosen", "rejected"):
            encoded = rendering.encode(tokenizer, row["prompt"], row[side])
            assert r[f"{side}_ids"] == encoded.ids == d["prompt_ids"] + d[f"{side}_ids"]
            assert r[f"{side}_ids"][-1] == tokenizer.eos_token_id
        assert r["z"] == d["z"] == row["z"]
    assert set(reward.rows.column_names) == {"chosen_ids", "rejected_ids", "z"}
    assert set(dpo.rows.column_names) == {"prompt_ids", "chosen_ids", "rejected_ids", "z"}


def test_plain_columns_equal_those_of_trl(tmp_path):
    """Where TRL adds its EOS to plain text and the words are the tokens, both tokenize alike."""
    tokenizer, rows = make_tokenizer(), preferences()
    spaced = rows.map(lambda r: {"chosen": f" {r['chosen']} ", "rejected": f" {r['rejected']} "})
    trl = RewardTrainer(
        LlamaForSequenceClassification(LlamaConfig(**SHAPE, num_labels=1)),
        args=RewardConfig(str(tmp_path), bf16=False, report_to="none", dataloader_pin_memory=False),
        train_dataset=spaced.select_columns(["prompt", "chosen", "rejected"]),
        processing_class=tokenizer,
    ).train_dataset
    ours = reward_pairs(rows, tokenizer, Rendering.of(tokenizer), 64).rows
    assert trl["chosen_ids"] == ours["chosen_ids"]
    assert trl["rejected_ids"] == ours["rejected_ids"]


def test_long_pairs_are_left_out_and_counted():
    tokenizer = make_tokenizer()
    rows = datasets.concatenate_datasets([preferences(3), preferences(2).map(lambda r: {"prompt": "a " * 100_000})])
    pairs = reward_pairs(rows, tokenizer, Rendering.of(tokenizer), 32)
    assert (len(pairs), pairs.too_long) == (3, 2)
    assert "left out 2 of 5" in report_too_long("train", pairs, 32)
    with pytest.raises(ValueError, match="all 5 rows of the train split are longer"):
        report_too_long("train", dpo_pairs(rows, tokenizer, Rendering.of(tokenizer), 1), 1)


def test_demonstrations_learn_the_completion_alone():
    tokenizer = make_tokenizer()
    rows = datasets.Dataset.from_list([{"prompt": "a b", "completion": "c d"}])
    (row,) = demonstrations(rows, tokenizer, Rendering.of(tokenizer), 32).rows
    assert row["input_ids"] == [4, 5, 6, 7, 3]
    assert row["labels"] == [-100, -100, 6, 7, 3]


def test_hard_losses_refuse_pairs_whose_rejected_side_is_preferred():
    check_sides(preferences(z=0.3), "soft")
    with pytest.raises(ValueError, match=r"8 of 8 pairs have z < 0\.5"):
        check_sides(preferences(z=0.3), "hard")


# ----------------------------------------------------------------------------------------------------------- settings


def test_precision_and_checkpointing_defaults(tmp_path):
    args = SoftRewardConfig(output_dir=str(tmp_path))
    assert args.gradient_checkpointing is False
    assert args.bf16 == (torch.cuda.is_available() and torch.cuda.is_bf16_supported())
    assert SoftRewardConfig(output_dir=str(tmp_path), use_cpu=True).bf16 is False
    assert SoftRewardConfig(output_dir=str(tmp_path), use_cpu=True, bf16=True).bf16 is True


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("loss_type", ["ipo"]),
        ("loss_weights", [1.0]),
        ("ld_alpha", 0.5),
        ("f_divergence_type", "js_divergence"),
        ("label_smoothing", 0.1),
        ("use_weighting", True),
        ("label_smoothing_factor", 0.1),
        ("padding_free", True),
        ("dataset_num_proc", 4),
        ("enable_jit_checkpoint", True),
        ("model_init_kwargs", {"dtype": "float32"}),
        ("max_length", None),
        ("output_dir", None),
    ],
)
def test_settings_that_would_do_nothing_are_refused(tmp_path, setting, value):
    with pytest.raises(ValueError, match=setting):
        SoftDPOConfig(**{"output_dir": str(tmp_path), setting: value})


def test_trl_losses_stay_available_with_hard_preferences(tmp_path):
    hard = {"output_dir": str(tmp_path), "preference_loss": "hard"}
    assert SoftDPOConfig(**hard, loss_type=["ipo"]).loss_type == ["ipo"]
    assert SoftDPOConfig(**hard, loss_type=["robust"], label_smoothing=0.1).label_smoothing == 0.1
    with pytest.raises(
        ValueError, match=r"label_smoothing is 0\.1, and in TRL 1\.16 the losses sigmoid take no notice"
    ):
        SoftDPOConfig(**hard, label_smoothing=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": 0.1}, r"label_smoothing is 0\.1, which the soft loss does not have; expected 0\.0, or"),
        ({"preference_loss": "margin", "label_smoothing": 0.1}, "which the margin loss does not have"),
        (
            {"preference_loss": "hard", "label_smoothing": 0.5},
            r"is 0\.5; expected a share of wrong labels in \[0, 0\.5\)",
        ),
        ({"preference_loss": "hard", "label_smoothing": -0.1}, "expected a share of wrong labels"),
        ({"preference_loss": "hard", "label_smoothing": math.nan}, "expected a share of wrong labels"),
        ({"preference_loss": "hard", "label_smoothing_factor": 0.1}, "use --preference_loss hard --label_smoothing"),
    ],
)
def test_label_smoothing_that_would_do_nothing_is_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        SoftRewardConfig(output_dir=str(tmp_path), **settings)


def test_label_smoothing_is_a_name_that_trl_leaves_free():
    """In TRL's reward trainer and in GRPO's; its DPO has its own, which the name is taken from."""
    assert "label_smoothing" not in RewardConfig.__dataclass_fields__
    # The one of TrainingArguments acts on `labels`, of which these losses have none, and is refused for it.
    for config in (SoftRewardConfig, SoftDPOConfig, PPOConfig):
        assert (
            config.refused["label_smoothing_factor"][0] == config.__dataclass_fields__["label_smoothing_factor"].default
        )
    assert "label_smoothing_factor" not in CompletionConfig.refused  # SFT has labels, and TRL heeds it there


# ----------------------------------------------------------------------------------------------------------- trainers


def reward_trainer(tmp_path, rows, ours=True, model=None, **settings):
    set_seed(0)
    tokenizer = make_tokenizer()
    model = model or LlamaForSequenceClassification(LlamaConfig(**SHAPE, num_labels=1))
    torch.nn.init.normal_(model.score.weight)
    pairs = reward_pairs(rows, tokenizer, Rendering.of(tokenizer), 64).rows
    common = {"output_dir": str(tmp_path), "per_device_train_batch_size": 4, "use_cpu": True, "report_to": "none"}
    common |= {"bf16": False, "disable_tqdm": True, "dataloader_pin_memory": False, "learning_rate": 1e-2}
    if ours:
        args = SoftRewardConfig(**common, **settings)
        return SoftRewardTrainer(model, args, train_dataset=pairs, processing_class=tokenizer)
    args = RewardConfig(**common, gradient_checkpointing=False)
    pairs = pairs.select_columns(["chosen_ids", "rejected_ids"])
    return RewardTrainer(model, args=args, train_dataset=pairs, processing_class=tokenizer)


def first_loss(trainer, evaluate=False):
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trainer.model.train(not evaluate)
    return trainer.compute_loss(trainer.model, batch)


@pytest.mark.parametrize("settings", [{}, {"center_rewards_coefficient": 0.1}])
def test_reward_loss_at_z_1_is_that_of_trl(tmp_path, settings):
    ours = reward_trainer(tmp_path, preferences(z=1.0), **settings)
    theirs = reward_trainer(tmp_path, preferences(z=1.0), ours=False)
    theirs.args.center_rewards_coefficient = settings.get("center_rewards_coefficient")
    a, b = first_loss(ours), first_loss(theirs)
    assert a.item() == pytest.approx(b.item(), abs=1e-6)
    a.backward()
    b.backward()
    for p, q in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-6, rtol=0)


def test_reward_losses_are_the_equations(tmp_path):
    for name in ("soft", "hard", "margin"):
        trainer = reward_trainer(tmp_path, preferences(), preference_loss=name)
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])
        with torch.no_grad():
            scores = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
        delta = scores[:8] - scores[8:]
        expected = {
            "soft": -(batch["z"] * delta.sigmoid().log() + (1 - batch["z"]) * (-delta).sigmoid().log()),
            "hard": -delta.sigmoid().log(),
            "margin": -(delta - (2 * batch["z"] - 1)).sigmoid().log(),
        }[name].mean()
        assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("settings", [{}, {"center_rewards_coefficient": 0.1}])
def test_label_smoothing_is_the_soft_loss_with_one_z_for_all(tmp_path, settings):
    """Whatever the rows' own z is: in value and in every gradient."""
    smoothed = reward_trainer(tmp_path, preferences(), preference_loss="hard", label_smoothing=0.2, **settings)
    soft = reward_trainer(tmp_path, preferences().map(lambda row: {"z": 0.8}), **settings)
    a, b = first_loss(smoothed), first_loss(soft)
    assert a.item() == pytest.approx(b.item(), abs=1e-6)
    a.backward()
    b.backward()
    for p, q in zip(smoothed.model.parameters(), soft.model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-5, rtol=1e-5)
    hard = reward_trainer(tmp_path, preferences(), preference_loss="hard", **settings)
    assert first_loss(hard).item() != pytest.approx(a.item(), abs=1e-3)


def test_nothing_but_tokens_reaches_the_reward_model(tmp_path):
    trainer = reward_trainer(tmp_path, preferences(), preference_loss="margin")
    forward, seen = trainer.model.forward, set()

    def spy(**kwargs):
        seen.update(kwargs)
        return forward(**kwargs)

    trainer.model.forward = spy
    first_loss(trainer)
    assert seen == {"input_ids", "attention_mask", "use_cache"}


def test_an_encoder_gets_its_segments(tmp_path):
    tokenizer = make_tokenizer(unk_token="<unk>", pad_token="<pad>", cls_token="<s>", sep_token="</s>")
    rendering = Rendering.of(tokenizer)
    assert rendering.kind == "pair"
    pairs = reward_pairs(preferences(), tokenizer, rendering, 64).rows
    shape = {k: v for k, v in SHAPE.items() if not k.endswith("token_id")}
    args = SoftRewardConfig(output_dir=str(tmp_path), use_cpu=True, disable_tqdm=True)
    trainer = SoftRewardTrainer(
        BertForSequenceClassification(BertConfig(**shape, num_labels=1)),
        args,
        train_dataset=pairs,
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    for ids, segments in zip(batch["input_ids"], batch["token_type_ids"], strict=True):
        border = ids.tolist().index(3) + 1
        end = int((ids != 0).sum())
        assert segments.tolist() == [0] * border + [1] * (end - border) + [0] * (len(ids) - end)
    assert torch.isfinite(trainer.compute_loss(trainer.model, batch))


def dpo_trainer(tmp_path, rows, ours=True, **settings):
    set_seed(0)
    tokenizer = make_tokenizer()
    policy, reference = (LlamaForCausalLM(LlamaConfig(**SHAPE)) for _ in range(2))
    common = {"output_dir": str(tmp_path), "per_device_train_batch_size": 4, "use_cpu": True, "report_to": "none"}
    common |= {"bf16": False, "disable_tqdm": True, "dataloader_pin_memory": False, "beta": 0.3}
    if ours:
        pairs = dpo_pairs(rows, tokenizer, Rendering.of(tokenizer), 64).rows
        args = SoftDPOConfig(**common, **settings)
        return SoftDPOTrainer(policy, reference, args=args, train_dataset=pairs, processing_class=tokenizer)
    # TRL's plain format joins prompt and response; a space keeps the words apart as ours does.
    text = rows.map(lambda r: {s: f" {r[s]} " for s in ("chosen", "rejected")})
    return DPOTrainer(
        policy,
        reference,
        args=DPOConfig(**common, gradient_checkpointing=False),
        train_dataset=text.select_columns(["prompt", "chosen", "rejected"]),
        processing_class=tokenizer,
    )


@pytest.mark.parametrize("settings", [{}, {"preference_loss": "hard"}, {"precompute_ref_log_probs": True}])
def test_dpo_loss_at_z_1_is_that_of_trl(tmp_path, settings):
    ours, theirs = (
        dpo_trainer(tmp_path, preferences(z=1.0), **settings),
        dpo_trainer(tmp_path, preferences(z=1.0), False),
    )
    for column in ("prompt_ids", "chosen_ids", "rejected_ids"):
        assert ours.train_dataset[column] == theirs.train_dataset[column]
    a, b = first_loss(ours), first_loss(theirs)
    assert a.item() == pytest.approx(b.item(), abs=1e-6)
    a.backward()
    b.backward()
    for p, q in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-6, rtol=0)
    for name in ("rewards/chosen", "rewards/margins", "rewards/accuracies", "logps/rejected"):
        assert ours._metrics["train"][name] == pytest.approx(theirs._metrics["train"][name], abs=1e-5)


def test_dpo_loss_is_the_equation(tmp_path):
    trainer = dpo_trainer(tmp_path, preferences())
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])

    def logps(model):
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
        tokens = logits.log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
        return (tokens * batch["completion_mask"][:, 1:]).sum(1)

    ratio = logps(trainer.model) - logps(trainer.ref_model)
    delta, z = 0.3 * (ratio[:8] - ratio[8:]), batch["z"]
    expected = -(z * delta.sigmoid().log() + (1 - z) * (-delta).sigmoid().log()).mean()
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(expected.item(), abs=1e-5)


def test_what_is_overridden_still_has_the_signatures_it_was_written_for():
    def names(method):
        return list(inspect.signature(method).parameters)

    loss = ["self", "model", "inputs", "return_outputs", "num_items_in_batch"]
    assert names(RewardTrainer.compute_loss) == names(SoftRewardTrainer.compute_loss) == loss
    assert names(DPOTrainer.compute_loss) == names(SoftDPOTrainer.compute_loss) == loss
    assert names(DPOTrainer.compute_ref_log_probs) == names(SoftDPOTrainer.compute_ref_log_probs)
    prepare = ["self", "dataset", "processing_class", "args", "dataset_name"]
    assert names(RewardTrainer._prepare_dataset) == names(SoftRewardTrainer._prepare_dataset) == prepare
    assert names(DPOTrainer._prepare_dataset) == names(SoftDPOTrainer._prepare_dataset) == prepare
    assert names(SFTTrainer._prepare_dataset)[:2] == ["self", "dataset"]
    for upstream in (RewardTrainer, DPOTrainer):
        assert names(upstream._set_signature_columns_if_needed) == ["self"]
    steps = ["self", "max_steps", "num_update_steps_per_epoch", "num_train_epochs", "resume_from_checkpoint", "trial"]
    assert names(SFTTrainer._init_training_state) == names(CompletionTrainer._init_training_state) == steps
    assert names(SFTTrainer._load_rng_state) == ["self", "checkpoint"]
    assert names(SFTTrainer._load_optimizer_and_scheduler) == ["self", "checkpoint"]
    assert names(SFTTrainer._save_checkpoint) == ["self", "model", "trial"]
    counted = ["self", "trial", "num_train_samples", "start_time"]
    assert names(Trainer._finalize_training) == names(CompletionTrainer._finalize_training) == counted
    assert names(Trainer._maybe_log_save_evaluate)[:5] == ["self", "tr_loss", "grad_norm", "model", "trial"]
    for upstream in (RewardBatches, DPOBatches):
        assert names(upstream.torch_call) == ["self", "examples"]


# ---------------------------------------------------------------------------------------------- baselines and measures


def test_bag_of_words_finds_the_words_that_decide():
    rng = np.random.default_rng(0)
    chosen = ["good " + " ".join(rng.choice(list("abcdef"), 4)) for _ in range(60)]
    rejected = ["bad " + " ".join(rng.choice(list("abcdef"), 4)) for _ in range(60)]
    model = BagOfWords.fit(chosen, rejected, [1.0] * 60)
    assert model.weights["good"] > 0.5 > -0.5 > model.weights["bad"]
    p = model.probabilities(["good a"], ["bad a"])[0]
    assert p > 0.9
    assert model.probabilities(["bad a"], ["good a"])[0] == pytest.approx(1 - p)
    assert model.probabilities(["unseen"], ["words"])[0] == 0.5


def test_bag_of_words_is_at_the_minimum_of_its_loss():
    """One word in both pairs: l2 w = sum_n x_n (z_n - s(w x_n)), solved by bisection."""
    model = BagOfWords.fit(["yes", "yes yes"], ["no no", "no no"], [0.9, 0.6])
    w = np.array([model.weights["no"], model.weights["yes"]])
    x = np.array([[-2.0, 1.0], [-2.0, 2.0]])
    gradient = w - x.T @ (np.array([0.9, 0.6]) - 1 / (1 + np.exp(-x @ w)))
    np.testing.assert_allclose(gradient, 0, atol=1e-5)
