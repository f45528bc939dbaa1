"""Critics, and one backbone in four roles: what each is at the start, what trains, what is bit-identical after."""

from __future__ import annotations

import itertools
import json
import math

import datasets
import numpy as np
import pytest
import torch
from support import RecordingReward, forks, ppo_config, save_model, word_llama, word_tokenizer
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from rlaif.judging.rewards import RewardModelReward
from rlaif.models.loading import load_tokenizer, quiet
from rlaif.models.rendering import Rendering
from rlaif.models.reward_model import RewardModel, RewardModelCard
from rlaif.training.footprint import weights_held
from rlaif.training.models import ModelConfig, load_policy, lora
from rlaif.training.ppo.critic import CRITIC_FILE, Critic, attach_critic, is_critic, load_critic
from rlaif.training.ppo.models import check_models, load_models
from rlaif.training.ppo.roles import add_reference, as_reference, check_trainable, using_adapter
from rlaif.training.ppo.trainer import PPOTrainer

PROMPTS = ["a", "b c", "c d a", "d d b a c", "a a", "b", "c c c c", "d a"]
RESPONSES = ["a", "b c d", "d", "a b", "c c c c c", "d a", "", "b"]
ZERO = 0.4


# --------------------------------------------------------------------------------------------------------- small worlds


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder of a tiny policy."""
    return save_model(tmp_path_factory.mktemp("base") / "policy", word_llama(), word_tokenizer())


def write_card(folder, base, **changes):
    rendering = Rendering.of(load_tokenizer(folder)).row()
    card = RewardModelCard(rendering=rendering, max_length=64, base_model=str(base), zero=ZERO)
    RewardModelCard(**{**card.__dict__, **changes}).write(folder)


def shake(model, names=("lora_B",), seed=3):
    """Random numbers for adapters, which start as no change at all."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if any(part in name for part in names):
                weight.copy_(0.3 * torch.randn(weight.shape, generator=generator).to(weight))
    return model


@pytest.fixture(scope="module")
def whole_reward_model(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward") / "whole"
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    shake(model, ["score"])
    save_model(folder, model, word_tokenizer())
    write_card(folder, base)
    return folder


def write_reward_adapter(folder, base):
    """A LoRA reward model as reward_models/bradley_terry.py saves it."""
    from peft import get_peft_model

    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    model = get_peft_model(model, lora(ModelConfig(model=str(base), lora=True), ["score"]))
    save_model(folder, shake(model, ["lora_B", "score"]), word_tokenizer())
    write_card(folder, base)
    return folder


@pytest.fixture(scope="module")
def adapter_reward_model(base, tmp_path_factory):
    """A LoRA reward model on the policy's base."""
    return write_reward_adapter(tmp_path_factory.mktemp("reward") / "adapter", base)


@pytest.fixture(scope="module")
def sft_adapter(base, tmp_path_factory):
    """A policy's adapter as recipes/sft.py --lora true saves it."""
    from peft import get_peft_model

    folder = tmp_path_factory.mktemp("sft") / "adapter"
    model = AutoModelForCausalLM.from_pretrained(base)
    model = shake(get_peft_model(model, lora(ModelConfig(model=str(base), lora=True))), seed=5)
    save_model(folder, model, word_tokenizer())
    return folder


def number(prompt, ids):
    return math.sin(len(prompt) + sum((i + 1) * (token + 0.3) for i, token in enumerate(ids)))


def make(folder, config, reward_models=(), reward=None, **settings):
    """A trainer with the models that its settings ask for."""
    settings = {"per_device_train_batch_size": 8, "max_completion_length": 5, "learning_rate": 1e-2, **settings}
    args = ppo_config(folder, **settings)
    tokenizer = load_tokenizer(config.model)
    models = load_models(config, args, tokenizer, [str(m) for m in reward_models])
    rewards = [RewardModelReward(models.reward_model)] if models.reward_model else [reward or RecordingReward(number)]
    prompts = itertools.islice(itertools.cycle(PROMPTS), args.generation_batch_size)
    trainer = PPOTrainer(
        models.policy,
        args,
        rewards=rewards,
        train_dataset=datasets.Dataset.from_list([{"prompt": p} for p in prompts]),
        reference=models.reference,
        critic=models.critic,
        processing_class=tokenizer,
    )
    return trainer, models


def weights_of(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def moved(before, model):
    """The names of the weights that are not what they were, to the bit."""
    return {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}


def logps(model, prompt="c d a", response="b a d"):
    ids = torch.tensor([word_tokenizer()(f"{prompt} {response}")["input_ids"]])
    with torch.no_grad():
        return model(input_ids=ids).logits.log_softmax(-1)


# -------------------------------------------------------------------------------------------------------------- critics


@pytest.mark.parametrize("kind", ["head", "separate", "reward_model", "none"])
def test_every_critic_trains_beside_the_policy(tmp_path, base, whole_reward_model, kind):
    settings = {"critic": kind, "max_steps": 2, "num_iterations": 2, "value_coef": 1.0}
    trainer, models = make(tmp_path, ModelConfig(model=str(base)), [whole_reward_model], **settings)
    critics = {name for name, _ in trainer.model.named_parameters() if is_critic(name)}
    assert bool(critics) == (kind != "none")
    assert any("backbone.layers" in name for name in critics) == (kind in ("separate", "reward_model"))
    assert not any("lm_head" in name for name in critics)
    before = weights_of(trainer.model)
    reference = weights_of(models.reference)
    trainer.train()
    assert moved(before, trainer.model) >= {n for n in before if "embed_tokens" not in n}
    assert not moved(reference, models.reference)
    # Each in a group of its own, with its own learning rate.
    rates = {}
    for group in trainer.optimizer.param_groups:
        rates |= {id(weight): group["lr"] for weight in group["params"]}
    for name, weight in trainer.model.named_parameters():
        assert rates.pop(id(weight)) == pytest.approx(0.1 if is_critic(name) else 0.01), name
    assert not rates


def warm_up(folder, base, reward_model, kind, **settings):
    """The names of the weights that four steps move, the first `critic_warmup_steps` of them being warm-up."""
    settings = {"num_iterations": 2, "entropy_coef": 0.1, "kl_coef": 0.1, "max_steps": 4, **settings}
    trainer, _ = make(folder, ModelConfig(model=str(base)), [reward_model], critic=kind, **settings)
    before = weights_of(trainer.model)
    trainer.train()
    return moved(before, trainer.model)


@pytest.mark.parametrize("kind", ["head", "separate", "reward_model"])
def test_warm_up_moves_the_critic_alone(tmp_path, base, whole_reward_model, kind):
    """While it lasts, the policy stays bit-identical; then both move."""
    changed = warm_up(tmp_path, base, whole_reward_model, kind, critic_warmup_steps=4)
    assert changed
    assert all(map(is_critic, changed)), sorted(changed)
    assert not all(map(is_critic, warm_up(tmp_path, base, whole_reward_model, kind, critic_warmup_steps=2)))


def test_warm_up_leaves_the_optimizer_nothing_of_the_policy(tmp_path, base):
    """No decay of weights whose gradient is 0, and no moments of zeros, after which Adam's first step is too long."""
    settings = {"critic_warmup_steps": 4, "num_iterations": 2, "max_steps": 4, "weight_decay": 0.1}
    trainer, _ = make(tmp_path, ModelConfig(model=str(base)), critic="head", **settings)
    before = weights_of(trainer.model)
    trainer.train()
    assert all(map(is_critic, moved(before, trainer.model)))
    with_state = {id(weight) for weight in trainer.optimizer.state}
    assert with_state == {id(weight) for name, weight in trainer.model.named_parameters() if is_critic(name)}


def test_the_head_computes_in_float32_on_weights_that_fsdp_hands_over_in_bfloat16(tmp_path):
    """FSDP2 in one process, its parameters cast to bfloat16 as the launch file's mixed precision does."""
    program = tmp_path / "sharded.py"
    program.write_text(
        """
import sys
import torch
import torch.distributed as dist
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import LlamaConfig, LlamaForCausalLM
from rlaif.training.ppo.critic import Critic, attach_critic

dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
config = LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
policy = LlamaForCausalLM(config)
recorder = attach_critic(policy, Critic(8, weight=torch.ones(1, 8)))
mesh = dist.init_device_mesh("cpu", (1,))
fully_shard(policy, mesh=mesh, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
with recorder.recording() as values:
    policy(input_ids=torch.tensor([[1, 2, 3]]), use_cache=False).logits
assert values[0].shape == (1, 3) and values[0].dtype == torch.float32, values
values[0].sum().backward()
assert policy.critic.head.weight.grad is not None
dist.destroy_process_group()
print("done")
"""
    )
    done = forks.ended(tmp_path / "meeting", program=str(program))
    assert done.stdout == "done\n", done.stderr[-2000:]


def test_a_separate_critic_has_no_dropout_either(tmp_path, base):
    critic = Critic(8, torch.nn.Sequential(torch.nn.Dropout(0.5)))
    trainer, _ = make(tmp_path, ModelConfig(model=str(base)), critic="head")
    again = PPOTrainer(
        trainer.model,
        trainer.args,
        rewards=trainer.reward_funcs,
        train_dataset=trainer.train_dataset,
        reference=trainer.ref_model,
        critic=critic,
        processing_class=trainer.processing_class,
    )
    assert again.critic.backbone[0].p == 0.0


def test_a_head_starts_as_no_critic_at_all(tmp_path, base):
    trainer, _ = make(tmp_path, ModelConfig(model=str(base)), critic="head", max_steps=1)
    trainer.train()
    assert trainer.state.log_history[0]["value"] == 0.0


def final_values(critic, policy, model, prompts, responses):
    """The critic's value after each whole response, padded to one width, through the hooks in the policy's pass."""
    recorder = attach_critic(policy, critic)
    encoded = [model.rendering.encode(model.tokenizer, p, r).ids for p, r in zip(prompts, responses, strict=True)]
    width = max(map(len, encoded))
    with torch.no_grad(), recorder.recording() as recorded:
        policy(input_ids=torch.tensor([row + [0] * (width - len(row)) for row in encoded]))
    (values_BT,) = recorded
    return values_BT[torch.arange(len(encoded)), torch.tensor([len(row) - 1 for row in encoded])]


@pytest.mark.parametrize("form", ["whole", "adapter"])
def test_a_critic_from_the_reward_model_knows_a_finished_response(base, whole_reward_model, adapter_reward_model, form):
    folder = {"whole": whole_reward_model, "adapter": adapter_reward_model}[form]
    model = RewardModel.load(folder)
    expected = model.score(PROMPTS, RESPONSES) - ZERO
    assert expected.std() > 0.1
    policy = AutoModelForCausalLM.from_pretrained(base)
    critic = load_critic("reward_model", policy, reward_model=RewardModel.load(folder))
    assert all(weight.requires_grad for weight in critic.parameters())
    got = final_values(critic, policy, model, PROMPTS, RESPONSES)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)


def test_values_are_those_of_the_state_before_a_token(tmp_path, base):
    """A head with random weights, by hand: the hidden state of the token before, at each response token."""
    trainer, _ = make(tmp_path, ModelConfig(model=str(base)), critic="head", max_steps=1, learning_rate=0.0)
    shake(trainer.critic, ["head"])
    trainer.train()
    (batch,) = trainer._buffered_inputs
    head, trunk = trainer.critic.head, trainer.model.model
    for i in range(8):
        prompt = batch["prompt_ids"][i][batch["prompt_mask"][i] == 1]
        response = batch["completion_ids"][i][batch["completion_mask"][i] == 1]
        with torch.no_grad():
            hidden = trunk(input_ids=torch.cat([prompt, response])[None]).last_hidden_state[0]
            expected = head(hidden)[len(prompt) - 1 : -1, 0]
        torch.testing.assert_close(batch["old_values"][i][: len(response)], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["head", "separate"])
@pytest.mark.parametrize("adapter", [False, True])
def test_the_critic_is_in_the_checkpoint_and_not_in_the_policy(tmp_path, base, kind, adapter):
    settings = {"critic": kind, "max_steps": 2, "save_strategy": "steps", "save_steps": 2}
    trainer, _ = make(tmp_path / "run", ModelConfig(model=str(base), lora=adapter), **settings)
    trainer.train()
    trainer.save_model(tmp_path / "policy")
    saved = tmp_path / "policy"
    assert not (saved / CRITIC_FILE).exists()
    assert load_tokenizer(saved).get_vocab() == word_tokenizer().get_vocab()
    if adapter:
        from peft.utils import load_peft_weights

        names = load_peft_weights(str(saved), device="cpu")
        assert names
        assert all("lora_" in name for name in names)
        loaded = load_policy(ModelConfig(model=str(saved), lora=True), word_tokenizer())
    else:
        with quiet():
            loaded, info = AutoModelForCausalLM.from_pretrained(saved, output_loading_info=True)
        assert not any(info[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    torch.testing.assert_close(logps(loaded), logps(trainer.model), atol=1e-6, rtol=0)

    checkpoint = tmp_path / "run" / "checkpoint-2"
    assert (checkpoint / CRITIC_FILE).is_file()
    fresh, _ = make(tmp_path / "run", ModelConfig(model=str(base), lora=adapter), **settings)
    assert moved(weights_of(trainer.model), fresh.model)
    fresh._load_from_checkpoint(str(checkpoint))
    assert not moved(weights_of(trainer.model), fresh.model)


def test_an_encoder_is_no_critic(base):
    model = type("Encoder", (), {"rendering": type("R", (), {"kind": "pair"})})
    with pytest.raises(ValueError, match="the reward model is an encoder") as caught:
        load_critic("reward_model", word_llama(), reward_model=model)
    assert "\n" not in str(caught.value)


def test_a_critic_on_another_tokenizer_is_refused(tmp_path, base, chat_model):
    folder = tmp_path / "other"
    model = AutoModelForSequenceClassification.from_pretrained(chat_model, num_labels=1)
    save_model(folder, model, load_tokenizer(chat_model))
    write_card(folder, chat_model)
    with pytest.raises(ValueError, match="has another tokenizer or rendering than") as caught:
        make(tmp_path, ModelConfig(model=str(base)), [folder], critic="reward_model", max_steps=1)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------- one backbone, four roles


def test_the_reference_is_the_adapter_switched_off(tmp_path, base):
    """Also after steps of training; and `kl` is 0 on the first rollout, when policy and reference are the same."""
    trainer, models = make(
        tmp_path, ModelConfig(model=str(base), lora=True), critic="head", kl_coef=0.1, max_steps=2, num_iterations=2
    )
    assert models.reference is None
    before = weights_of(trainer.model)
    trainer.train()
    expected = logps(AutoModelForCausalLM.from_pretrained(base))
    assert (logps(trainer.model) - expected).abs().max() > 1e-3
    with trainer._reference() as model:
        assert torch.equal(logps(model), expected)
    changed = moved(before, trainer.model)
    assert {n for n in before if ".default." in n or is_critic(n)} == changed
    check_trainable(trainer.model)
    assert trainer.state.log_history[0]["kl"] == pytest.approx(0, abs=1e-5)


def test_going_on_from_an_adapter_keeps_a_copy_as_reference(tmp_path, base, sft_adapter):
    trainer, models = make(
        tmp_path,
        ModelConfig(model=str(sft_adapter), lora=True),
        kl_coef=0.1,
        critic="head",
        max_steps=2,
        num_iterations=2,
    )
    assert models.reference is None
    start = load_policy(ModelConfig(model=str(sft_adapter), lora=True), word_tokenizer())
    plain = logps(AutoModelForCausalLM.from_pretrained(base))
    assert (logps(start) - plain).abs().max() > 1e-2
    torch.testing.assert_close(logps(trainer.model), logps(start), atol=1e-6, rtol=0)
    before = weights_of(trainer.model)
    trainer.train()
    assert (logps(trainer.model) - logps(start)).abs().max() > 1e-3
    with trainer._reference() as model:
        torch.testing.assert_close(logps(model), logps(start), atol=1e-6, rtol=0)
    assert {n for n in before if ".default." in n or is_critic(n)} == moved(before, trainer.model)
    trainer.save_model(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "adapter_config.json").read_text())
    assert saved["base_model_name_or_path"] == str(base)
    assert not (tmp_path / "saved" / "reference").exists()
    loaded = load_policy(ModelConfig(model=str(tmp_path / "saved"), lora=True), word_tokenizer())
    torch.testing.assert_close(logps(loaded), logps(trainer.model), atol=1e-6, rtol=0)


def test_a_shared_reward_adapter_scores_as_the_model_does(tmp_path, base, adapter_reward_model):
    """Before training, and after steps that have moved the policy far."""
    alone = RewardModel.load(adapter_reward_model)
    expected = alone.score(PROMPTS, RESPONSES)
    assert expected.std() > 0.1
    settings = {"share_backbone": True, "critic": "head", "kl_coef": 0.1, "max_steps": 4, "num_iterations": 2}
    trainer, models = make(tmp_path, ModelConfig(model=str(base), lora=True), [adapter_reward_model], **settings)
    np.testing.assert_allclose(models.reward_model.score(PROMPTS, RESPONSES), expected, atol=1e-6)
    assert models.reward_model.zero == ZERO
    before, start = weights_of(trainer.model), logps(trainer.model)
    head = models.reward_model.model.score.clone()
    trainer.train()
    assert (logps(trainer.model) - start).abs().max() > 1e-3
    assert {n for n in before if ".default." in n or is_critic(n)} == moved(before, trainer.model)
    assert torch.equal(models.reward_model.model.score, head)
    np.testing.assert_allclose(models.reward_model.score(PROMPTS, RESPONSES), expected, atol=1e-6)
    assert trainer.model.training
    # What was trained on were those scores, less the zero.
    (batch,) = trainer._buffered_inputs
    assert batch["returns"].abs().max() > 0
    names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
    texts = [
        (
            trainer.processing_class.decode(p[m == 1]),
            trainer.processing_class.decode(c[n == 1], skip_special_tokens=True),
        )
        for p, m, c, n in zip(*(batch[name] for name in names), strict=True)
    ]
    rows = [row for row in trainer.state.log_history if "reward" in row]
    mean = (alone.score(*zip(*texts, strict=True)) - ZERO).mean()
    assert rows[-1]["reward"] == pytest.approx(mean, abs=1e-5)


def test_all_four_roles_at_once(tmp_path, base, sft_adapter, adapter_reward_model):
    """Policy, its reference copy, reward and critic on one set of base weights; nothing is held twice."""
    settings = {"share_backbone": True, "critic": "head", "kl_coef": 0.1, "max_steps": 2, "num_iterations": 2}
    config = ModelConfig(model=str(sft_adapter), lora=True)
    trainer, models = make(tmp_path, config, [adapter_reward_model], **settings)
    before = weights_of(trainer.model)
    roles = {name: [n for n in before if f".{name}." in n] for name in ("default", "reference", "reward")}
    assert all(roles.values())
    assert len(roles["default"]) == len(roles["reference"])
    trainer.train()
    assert moved(before, trainer.model) == {*roles["default"], *(n for n in before if is_critic(n))}
    expected = RewardModel.load(adapter_reward_model).score(PROMPTS, RESPONSES)
    np.testing.assert_allclose(models.reward_model.score(PROMPTS, RESPONSES), expected, atol=1e-6)
    held = weights_held(trainer, [RewardModelReward(models.reward_model)])
    whole = sum(w.nbytes for w in AutoModelForCausalLM.from_pretrained(base).parameters())
    adapter = sum(before[n].nbytes for n in roles["default"])
    scoring = sum(before[n].nbytes for n in roles["reward"]) + 16 * 4
    assert held == {"policy": whole + adapter, "reference": adapter, "critic": 17 * 4, "reward": scoring}


def test_an_adapter_that_is_used_stays_frozen_and_the_policy_trainable(base, sft_adapter):
    policy = load_policy(ModelConfig(model=str(sft_adapter), lora=True), word_tokenizer()).train()
    add_reference(policy)
    wanted = {name: weight.requires_grad for name, weight in policy.named_parameters()}
    assert {n for n, trains in wanted.items() if trains} == {n for n in wanted if ".default." in n}
    check_trainable(policy)
    for context in (using_adapter(policy, "reference"), as_reference(policy)):
        with context:
            assert policy.active_adapter == "reference"
            assert not policy.training
            assert not any(weight.requires_grad for n, weight in policy.named_parameters() if ".reference." in n)
        assert {name: weight.requires_grad for name, weight in policy.named_parameters()} == wanted
        assert (policy.active_adapter, policy.training) == ("default", True)

    for weight in policy.parameters():
        weight.requires_grad_(False)
    with as_reference(policy):
        pass
    assert not any(weight.requires_grad for weight in policy.parameters()), "switched on again, it trains"
    for name, weight in policy.named_parameters():
        weight.requires_grad_(wanted[name])

    def fail():
        with using_adapter(policy, "reference"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert {name: weight.requires_grad for name, weight in policy.named_parameters()} == wanted
    next(w for n, w in policy.named_parameters() if ".reference." in n).requires_grad_(True)
    with pytest.raises(AssertionError, match="would be trained"):
        check_trainable(policy)
    next(w for n, w in policy.named_parameters() if ".reference." in n).requires_grad_(False)
    next(w for n, w in policy.named_parameters() if ".default." in n).requires_grad_(False)
    with pytest.raises(AssertionError, match="is frozen"):
        check_trainable(policy)


def test_a_reward_model_that_cannot_share_is_refused_in_one_line(
    tmp_path, base, whole_reward_model, adapter_reward_model
):
    def refused(config, reward_model, message, **settings):
        with pytest.raises(ValueError, match=message) as caught:
            make(tmp_path, config, reward_model, share_backbone=True, max_steps=1, **settings)
        assert "\n" not in str(caught.value)

    config = ModelConfig(model=str(base), lora=True)
    refused(config, [whole_reward_model], "is a whole model, which cannot share")
    other = save_model(tmp_path / "other", word_llama(seed=4), word_tokenizer())
    refused(ModelConfig(model=str(other), lora=True), [adapter_reward_model], "but the policy's weights are .*other")
    refused(ModelConfig(model=str(base), lora=True, load_in_4bit=True), [adapter_reward_model], "load_in_4bit False")
    refused(ModelConfig(model=str(base), lora=True, dtype="bfloat16"), [adapter_reward_model], "bfloat16")
    refused(ModelConfig(model=str(base)), [adapter_reward_model], "share_backbone is set without lora")
    refused(config, [], "rewards name 0 reward models; expected exactly one")
    refused(config, [adapter_reward_model, whole_reward_model], "rewards name 2 reward models")
    with pytest.raises(ValueError, match="critic is reward_model, but rewards name 0"):
        check_models(config, ppo_config(tmp_path, critic="reward_model"), [])


def test_a_policy_in_4_bits_takes_a_step(tmp_path, base):
    pytest.importorskip("bitsandbytes")
    config = ModelConfig(model=str(base), lora=True, load_in_4bit=True)
    settings = {"critic": "head", "kl_coef": 0.1, "max_steps": 2, "num_iterations": 2}
    trainer, models = make(tmp_path, config, **settings)
    assert models.reference is None
    before = weights_of(trainer.model)
    assert any(weight.dtype == torch.uint8 for weight in before.values())
    trainer.train()
    assert {n for n in before if ".default." in n or is_critic(n)} == moved(before, trainer.model)
    assert all(w.dtype == torch.float32 for w in trainer.model.parameters() if w.requires_grad)
    assert trainer.state.log_history[0]["kl"] == pytest.approx(0, abs=1e-5)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A tiny policy of layers in blocks of 32, which bitsandbytes has its fastest CPU kernels for."""
    folder = tmp_path_factory.mktemp("wide") / "policy"
    return save_model(folder, word_llama(hidden_size=64, intermediate_size=64), word_tokenizer())


def test_evaluation_leaves_the_gradient_of_4_bits_alone(wide):
    """bitsandbytes repacks weights for inference on a CPU, in a form that has no backward pass."""
    pytest.importorskip("bitsandbytes")
    from peft import get_peft_model

    config = ModelConfig(model=str(wide), lora=True, load_in_4bit=True)
    policy = shake(get_peft_model(load_policy(config, word_tokenizer()), lora(config)))

    def gradients():
        policy.zero_grad()
        policy.train()
        ids = torch.tensor([[4, 5, 6, 7, 3]])
        policy(input_ids=ids, labels=ids).loss.backward()
        return {name: w.grad.clone() for name, w in policy.named_parameters() if w.requires_grad}

    before = gradients()
    policy.eval()
    logps(policy)
    after = gradients()
    assert all(gradient.abs().max() > 0 for gradient in before.values())
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient, atol=1e-6, rtol=0)


def test_a_reward_adapter_shares_weights_in_4_bits(tmp_path, wide):
    """Trained and loaded on the same quantized weights, it scores what it does alone on them."""
    pytest.importorskip("bitsandbytes")
    folder = write_reward_adapter(tmp_path / "adapter", wide)
    whole = RewardModel.load(folder).score(PROMPTS, RESPONSES)
    write_card(folder, wide, load_in_4bit=True)
    expected = RewardModel.load(folder).score(PROMPTS, RESPONSES)
    assert np.abs(expected - whole).max() > 1e-3, "nothing was quantized"
    config = ModelConfig(model=str(wide), lora=True, load_in_4bit=True)
    trainer, models = make(tmp_path, config, [folder], share_backbone=True, max_steps=2, num_iterations=2)
    trainer.train()
    np.testing.assert_allclose(models.reward_model.score(PROMPTS, RESPONSES), expected, atol=1e-5)


def test_the_head_is_computed_in_float32():
    critic = Critic(4, weight=torch.ones(1, 4), bias=1e-4)
    hidden = torch.full((1, 2, 4), 0.25, dtype=torch.bfloat16)
    values = critic(hidden, torch.zeros(1, 2))
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, torch.full((1, 2), 1.0001), atol=1e-6, rtol=0)
