"""PPO's trainer on tiny models: problems whose optimum is known, and an independent PPO written as plain loops."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import re
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from support import WORDS, RecordingReward, ppo_config, word_llama, word_tokenizer
from trl import GRPOConfig, GRPOTrainer
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer.utils import RepeatSampler

from rlaif.judging.rewards import FunctionReward
from rlaif.models.rendering import Rendering
from rlaif.training.ppo.config import PPOConfig
from rlaif.training.ppo.critic import load_critic
from rlaif.training.ppo.trainer import PPOTrainer

EOS = WORDS.index("</s>")
PROMPTS = ["a", "b c", "c d a", "d d b a c", "a a", "b", "c c c c", "d a"]  # of one to five tokens


def rows_of_prompts(prompts, count):
    return datasets.Dataset.from_list([{"prompt": p} for p in itertools.islice(itertools.cycle(prompts), count)])


def make(folder, score, policy=None, reference=None, prompts=PROMPTS, held_out=None, watched=(), **settings):
    """A trainer on as many rows as a rollout has, and its recording reward."""
    policy = policy or word_llama()
    rewards = score if isinstance(score, list) else [score if callable_reward(score) else RecordingReward(score)]
    args = ppo_config(folder, **settings)
    trainer = PPOTrainer(
        policy,
        args,
        rewards=rewards,
        train_dataset=rows_of_prompts(prompts, args.generation_batch_size),
        reference=(reference or copy.deepcopy(policy).requires_grad_(False)) if args.kl_coef > 0 else None,
        critic=load_critic(args.critic, policy),
        processing_class=word_tokenizer(),
        held_out=held_out,
        watched=watched,
    )
    return trainer, rewards[0]


def callable_reward(score):
    return isinstance(score, RecordingReward | FunctionReward)


def number(prompt, ids):
    """A number between -1 and 1 that no other prompt and response share."""
    return math.sin(len(prompt) + sum((i + 1) * (token + 0.3) for i, token in enumerate(ids)))


# ---------------------------------------------------------------------------------------- problems with a known optimum


def log_tree(model, prompt, depth):
    """log p of each response of `depth` tokens to `prompt`: {ids: log p}; an EOS ends a response before that."""
    tree = {(): 0.0}
    for _ in range(depth):
        grown = {}
        for ids, logp in tree.items():
            if ids and ids[-1] == EOS:
                grown[ids] = logp
                continue
            with torch.no_grad():
                tokens = word_tokenizer()(prompt)["input_ids"] + list(ids)
                nexts = model(torch.tensor([tokens])).logits[0, -1].double().log_softmax(0).tolist()
            grown |= {(*ids, token): logp + nexts[token] for token in range(len(WORDS))}
        tree = grown
    return tree


def distances(policy, reference, prompt, depth, score, beta):
    """Total variation and KL(policy || optimum), the optimum pi* ~ reference exp(score / beta), by enumeration."""
    got, ref = log_tree(policy, prompt, depth), log_tree(reference, prompt, depth)
    weights = {ids: logp + score(prompt, ids) / beta for ids, logp in ref.items()}
    norm = torch.tensor(list(weights.values())).logsumexp(0).item()
    variation = 0.5 * sum(abs(math.exp(got[ids]) - math.exp(weights[ids] - norm)) for ids in got)
    return variation, sum(math.exp(got[ids]) * (got[ids] - weights[ids] + norm) for ids in got)


def bandit_reward(prompt, ids):
    """Another best word for each prompt; between -1 and 1."""
    return math.cos(2.0 * ids[0] + len(prompt))


LEARNER = {"kl_estimator": "k1", "gae_lambda": 1.0, "critic": "head", "value_coef": 1.0, "value_clip": None}


def test_a_bandit_is_solved(tmp_path):
    """One token a response. The optimum of E[r] - beta KL is the reference tilted by exp(r / beta), at each prompt."""
    policy, prompts = word_llama(), ["a b", "c"]
    reference = copy.deepcopy(policy)
    settings = {"max_completion_length": 1, "kl_coef": 0.5, "learning_rate": 2e-2, "lr_scheduler_type": "linear"}
    settings |= {"per_device_train_batch_size": 64, "max_steps": 80, "num_iterations": 2, **LEARNER}
    trainer, _ = make(tmp_path, bandit_reward, policy, prompts=prompts, **settings)
    before = [distances(policy, reference, p, 1, bandit_reward, 0.5) for p in prompts]
    trainer.train()
    for prompt, (variation, kl) in zip(prompts, before, strict=True):
        assert variation > 0.3
        assert kl > 0.2
        variation, kl = distances(policy, reference, prompt, 1, bandit_reward, 0.5)
        assert variation < 0.02
        assert kl < 0.002


def test_without_kl_a_bandit_goes_to_the_best_word(tmp_path):
    policy = word_llama(spread=0.1)
    settings = {"max_completion_length": 1, "kl_coef": 0.0, "learning_rate": 1e-2, "per_device_train_batch_size": 64}
    trainer, _ = make(tmp_path, bandit_reward, policy, prompts=["a b"], max_steps=50, num_iterations=2, **settings)
    trainer.train()
    best = max(range(len(WORDS)), key=lambda token: bandit_reward("a b", [token]))
    assert math.exp(log_tree(policy, "a b", 1)[best,]) > 0.97


def chain_reward(prompt, ids):
    """Of both tokens together, so that the first one's worth is what can follow it."""
    return math.cos(1.7 * ids[0] + 2.9 * (ids[1] if len(ids) > 1 else 0))


def test_soft_values_are_the_tilted_distribution():
    """Backward induction on the chain gives the same optimum as tilting whole responses: what is compared with."""
    reference, beta = word_llama(), 0.5
    ref1, ref2 = log_tree(reference, "a b", 1), log_tree(reference, "a b", 2)
    values = {}  # V(a1) = beta log sum_a2 ref(a2 | a1) exp(r / beta)
    for (a1,), logp in ref1.items():
        after = {ids: ref2[ids] - logp for ids in ref2 if ids[0] == a1}
        values[a1] = beta * math.log(sum(math.exp(p + chain_reward("", ids) / beta) for ids, p in after.items()))
    norm = math.log(sum(math.exp(ref1[a,] + values[a] / beta) for a in values))
    tilted = {ids: logp + chain_reward("", ids) / beta for ids, logp in ref2.items()}
    total = math.log(sum(map(math.exp, tilted.values())))
    for ids, logp in ref2.items():
        first = ref1[ids[0],] + values[ids[0]] / beta - norm
        second = logp - ref1[ids[0],] + (chain_reward("", ids) - values[ids[0]]) / beta
        assert first + second == pytest.approx(tilted[ids] - total, abs=1e-9)


def test_a_chain_of_two_tokens_is_solved(tmp_path):
    policy = word_llama(spread=0.15)
    reference = copy.deepcopy(policy)
    settings = {"max_completion_length": 2, "kl_coef": 0.5, "learning_rate": 2e-2, "lr_scheduler_type": "linear"}
    settings |= {"per_device_train_batch_size": 96, "max_steps": 210, "num_iterations": 3, **LEARNER}
    trainer, _ = make(tmp_path, chain_reward, policy, prompts=["a b"], **settings)
    assert distances(policy, reference, "a b", 2, chain_reward, 0.5)[0] > 0.4
    trainer.train()
    variation, kl = distances(policy, reference, "a b", 2, chain_reward, 0.5)
    assert variation < 0.06
    assert kl < 0.03
    # The critic has found what the first word is worth: nothing else in a return can be known before the second.
    explained = [row["explained_variance"] for row in trainer.state.log_history if "explained_variance" in row]
    assert max(explained[-10:]) > 0.4


# ----------------------------------------------------------------------------------------- an independent PPO, in loops


def look(model, prompt, ids, temperature=1.0):
    """One row alone and unpadded, from the logits: log-probabilities (T,), entropies (T,), hidden states (T, H)."""
    before = word_tokenizer()(prompt)["input_ids"]
    out = model(input_ids=torch.tensor([before + ids]), output_hidden_states=True, use_cache=False)
    places = slice(len(before) - 1, len(before) + len(ids) - 1)
    logps_TV = (out.logits[0, places] / temperature).log_softmax(-1)
    taken_T = logps_TV[torch.arange(len(ids)), torch.tensor(ids)]
    return taken_T, -(logps_TV.exp() * logps_TV).sum(-1), out.hidden_states[-1][0, places]


def plain_ppo(policy, reference, rollout, *, iterations, rate, critic_rate=None, **s):
    """PPO on one rollout in `iterations` steps of gradient descent. Changes `policy`; returns head and first metrics.

    Advantages are the direct sum over l of (gamma lambda)^l delta_{t+l}; nothing is padded or batched.
    """
    head = torch.nn.Linear(16, 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    critic = critic_rate is not None
    mean = lambda xs: sum(xs) / len(xs)  # noqa: E731

    old, ended = [], []
    with torch.no_grad():
        for prompt, ids, score in rollout:
            if score is None:
                continue
            logps, _, hidden = look(policy, prompt, ids, s["temperature"])
            ref = look(reference, prompt, ids, s["temperature"])[0] if reference is not None else logps
            values = [head(h).item() if critic else 0.0 for h in hidden]
            ended.append(ids[-1] == EOS)
            if s.get("clip"):
                score = min(max(score, -s["clip"]), s["clip"])
            score -= 0.0 if ended[-1] else s.get("penalty", 0.0)
            kl = [a - b for a, b in zip(logps.tolist(), ref.tolist(), strict=True)]
            rewards = [-s.get("beta", 0.0) * k for k in kl]
            rewards[-1] += score
            delta = [
                rewards[t] + s["gamma"] * (values[t + 1] if t + 1 < len(ids) else 0.0) - values[t]
                for t in range(len(ids))
            ]
            advantages = [
                sum((s["gamma"] * s["lam"]) ** (u - t) * delta[u] for u in range(t, len(ids))) for t in range(len(ids))
            ]
            returns = [a + v for a, v in zip(advantages, values, strict=True)]
            old.append((prompt, ids, logps, values, advantages, returns, sum(kl)))
    every = [a for row in old for a in row[4]]
    middle, scale = 0.0, 1.0
    if s["whiten"]:
        middle = mean(every)
        scale = 1.0 / math.sqrt(mean([(a - middle) ** 2 for a in every]) + 1e-8)

    weights = [*policy.parameters()]
    measured = {}
    for step in range(iterations):
        loss, sums = 0.0, dict.fromkeys(("policy_loss", "value_loss", "entropy", "clip_fraction", "approx_kl"), 0.0)
        for prompt, ids, old_logps, old_values, advantages, returns, _ in old:
            logps, entropies, hidden = look(policy, prompt, ids, s["temperature"])
            for t in range(len(ids)):
                a = (advantages[t] - middle) * scale
                w = (logps[t] - old_logps[t]).exp()
                low, high = 1 - s["epsilon"], 1 + s["epsilon"]
                policy_loss = -torch.minimum(w * a, w.clamp(low, high) * a)
                value_loss = torch.zeros(())
                if critic:
                    v = head(hidden[t]).squeeze()
                    value_loss = (v - returns[t]) ** 2
                    if s["value_clip"] is not None:
                        held = v.clamp(old_values[t] - s["value_clip"], old_values[t] + s["value_clip"])
                        value_loss = torch.maximum(value_loss, (held - returns[t]) ** 2)
                    value_loss = value_loss / 2
                loss = loss + policy_loss + s["value_coef"] * value_loss - s["entropy_coef"] * entropies[t]
                sums["policy_loss"] += policy_loss.item()
                sums["value_loss"] += value_loss.item()
                sums["entropy"] += entropies[t].item()
                sums["clip_fraction"] += float((a > 0 and w > high) or (a < 0 and w < low))
                sums["approx_kl"] += (w - 1 - w.log()).item()
        loss = loss / len(every)
        gradients = torch.autograd.grad(loss, weights + ([head.weight, head.bias] if critic else []))
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=False):
                weight -= rate * gradient
            for weight, gradient in zip((head.weight, head.bias), gradients[len(weights) :], strict=False):
                weight -= critic_rate * gradient
        measured[step] = {name: total / len(every) for name, total in sums.items()}
    scores = [score for _, _, score in rollout if score is not None]
    measured[0] |= {
        "reward": mean(scores),
        "reward_std": math.sqrt(mean([(x - mean(scores)) ** 2 for x in scores])),
        "kl": mean([row[6] for row in old]),
        "length": mean([len(ids) for _, ids, _ in rollout]),
        "no_eos": 1 - mean([float(ids[-1] == EOS) for _, ids, _ in rollout]),
        "unscored": 1 - len(scores) / len(rollout),
    }
    return head, measured


DESCENT = {"optim": "sgd", "max_grad_norm": 0.0, "weight_decay": 0.0}
NOTHING = {"temperature": 1.0, "entropy_coef": 0.0, "epsilon": 0.2, "value_coef": 0.0, "gamma": 1.0, "lam": 1.0}


def same_weights(trained, plain, atol):
    theirs = dict(plain.named_parameters())
    compared = 0
    for name, weight in trained.named_parameters():
        if name in theirs:
            torch.testing.assert_close(weight, theirs[name], atol=atol, rtol=0, msg=lambda m, n=name: f"{n}: {m}")
            compared += 1
    assert compared == len(theirs)


@pytest.mark.parametrize("whiten", [False, True])
def test_at_lambda_1_without_kl_and_critic_it_is_reinforce(tmp_path, whiten):
    """The gradient of one step is - sum over tokens of (r - b) grad log pi, over their number: b the mean over tokens.

    Whitened advantages have that baseline, and the deviation over tokens as their unit; others have neither.
    """
    policy, size = word_llama(), 16
    plain = copy.deepcopy(policy)
    settings = {"kl_coef": 0.0, "gamma": 1.0, "gae_lambda": 1.0, "whiten_advantages": whiten, "max_steps": 1}
    settings |= {"learning_rate": 1.0, "per_device_train_batch_size": size, "max_completion_length": 6, **DESCENT}
    trainer, reward = make(tmp_path, number, policy, **settings)
    trainer.train()
    (rollout,) = reward.rollouts
    lengths = {len(ids) for _, ids, _ in rollout}
    assert len(lengths) > 2, "rows of one length would not tell tokens from rows"
    tokens = sum(len(ids) for _, ids, _ in rollout)
    b, unit = 0.0, 1.0
    if whiten:
        b = sum(len(ids) * r for _, ids, r in rollout) / tokens
        unit = math.sqrt(sum(len(ids) * (r - b) ** 2 for _, ids, r in rollout) / tokens)
    objective = sum((r - b) / unit * look(plain, prompt, ids)[0].sum() for prompt, ids, r in rollout) / tokens
    gradients = torch.autograd.grad(objective, list(plain.parameters()))
    assert max(g.abs().max() for g in gradients) > 1e-2
    with torch.no_grad():
        for weight, gradient in zip(plain.parameters(), gradients, strict=True):
            weight += gradient
    same_weights(trainer.model, plain, atol=1e-6)


@pytest.mark.parametrize("tiled", [False, True], ids=["the model's own head", "TRL's tiled head, as on a GPU"])
def test_whole_ppo_is_that_of_plain_loops(tmp_path, tiled):
    """Four steps on one rollout: KL to another reference, critic head, both clippings, entropy, a temperature."""
    policy, reference = word_llama(), word_llama(seed=0, spread=0.28)
    plain = copy.deepcopy(policy)
    settings = {"kl_coef": 0.3, "gamma": 0.97, "gae_lambda": 0.9, "critic": "head", "value_coef": 0.7}
    settings |= {"value_clip": 0.1, "entropy_coef": 0.05, "epsilon": 0.1, "temperature": 0.8, "reward_clip": 0.6}
    settings |= {"missing_eos_penalty": 0.4, "learning_rate": 0.3, "critic_learning_rate": 0.02, "num_iterations": 4}
    settings |= {"per_device_train_batch_size": 16, "max_steps": 4, "max_completion_length": 6, **DESCENT}
    trainer, reward = make(tmp_path, number, policy, reference, **settings)
    trainer._tiled_head = tiled
    trainer.train()
    s = {"beta": 0.3, "gamma": 0.97, "lam": 0.9, "value_coef": 0.7, "value_clip": 0.1, "entropy_coef": 0.05}
    s |= {"epsilon": 0.1, "temperature": 0.8, "clip": 0.6, "penalty": 0.4, "whiten": True}
    (rollout,) = reward.rollouts
    head, measured = plain_ppo(plain, reference, rollout, iterations=4, rate=0.3, critic_rate=0.02, **s)
    assert 0 < measured[3]["clip_fraction"] < 1, "nothing was clipped"
    assert max(abs(r) for _, _, r in rollout) > 0.6, "no score was clipped"
    same_weights(trainer.model, plain, atol=2e-5)
    torch.testing.assert_close(trainer.critic.head.weight, head.weight, atol=1e-5, rtol=0)
    torch.testing.assert_close(trainer.critic.head.bias, head.bias, atol=1e-5, rtol=0)
    for step in range(4):
        logged = trainer.state.log_history[step]
        assert {name: logged[name] for name in measured[step]} == pytest.approx(measured[step], abs=2e-5)
    assert measured[0]["policy_loss"] == pytest.approx(0, abs=1e-6)  # at ratio 1 it is minus the mean advantage


def test_responses_without_a_score_are_not_learned_from(tmp_path):
    """The step is that of a rollout without them, and their share is logged."""

    def some(prompt, ids):
        return None if number(prompt, ids) > 0.3 else number(prompt, ids)

    policy, reference = word_llama(), word_llama(seed=0, spread=0.28)
    plain = copy.deepcopy(policy)
    settings = {"kl_coef": 0.3, "gamma": 0.97, "gae_lambda": 0.9, "critic": "head", "value_coef": 0.7}
    settings |= {"value_clip": 0.2}
    settings |= {"critic_learning_rate": 0.1, "learning_rate": 0.5, "max_steps": 2, "num_iterations": 2, **DESCENT}
    trainer, reward = make(
        tmp_path, some, policy, reference, per_device_train_batch_size=16, max_completion_length=6, **settings
    )
    trainer.train()
    (rollout,) = reward.rollouts
    missing = [score for _, _, score in rollout].count(None)
    assert 2 < missing < 14
    s = NOTHING | {"beta": 0.3, "gamma": 0.97, "lam": 0.9, "value_coef": 0.7, "value_clip": 0.2, "whiten": True}
    head, measured = plain_ppo(plain, reference, rollout, iterations=2, rate=0.5, critic_rate=0.1, **s)
    same_weights(trainer.model, plain, atol=1e-5)
    torch.testing.assert_close(trainer.critic.head.weight, head.weight, atol=1e-5, rtol=0)
    logged = trainer.state.log_history[0]
    assert logged["unscored"] == pytest.approx(missing / 16)
    for name in ("reward", "reward_std", "length", "no_eos", "entropy"):
        assert logged[name] == pytest.approx(measured[0][name], abs=1e-5)


def test_micro_batches_change_nothing(tmp_path):
    ends, seen = [], []
    for size, pieces in ((16, 1), (4, 4), (1, 16)):
        settings = {"per_device_train_batch_size": size, "gradient_accumulation_steps": pieces, "critic": "head"}
        settings |= {"max_steps": 2, "num_iterations": 2, "max_completion_length": 6, "learning_rate": 0.3, **DESCENT}
        trainer, reward = make(tmp_path, number, word_llama(), word_llama(seed=0, spread=0.28), **settings)
        trainer.train()
        ends.append(dict(trainer.model.named_parameters()))
        seen.append(reward.rollouts)
    assert seen[0] == seen[1] == seen[2]
    start = dict(word_llama().named_parameters())
    assert max((ends[0][name] - weight).abs().max() for name, weight in start.items()) > 1e-2
    for other in ends[1:]:
        for name, weight in ends[0].items():
            torch.testing.assert_close(other[name], weight, atol=1e-6, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


def test_a_rollout_in_two_steps_weighs_each_token_alike(tmp_path):
    """Two optimizer steps of eight rows sum up to the gradient over all sixteen, twice: the mean of a step's share."""
    rate = 1e-3  # so small that the second step starts where the first did, and so is the sum of two gradients
    policy = word_llama()
    plain = copy.deepcopy(policy)
    settings = {"per_device_train_batch_size": 8, "steps_per_generation": 2, "max_steps": 2, "kl_coef": 0.0}
    settings |= {"whiten_advantages": False, "gae_lambda": 1.0, "max_completion_length": 6, "learning_rate": rate}
    trainer, reward = make(tmp_path, number, policy.double(), **settings, **DESCENT)
    trainer.train()
    (rollout,) = reward.rollouts
    assert len(rollout) == 16
    tokens = sum(len(ids) for _, ids, _ in rollout)
    objective = 2 * sum(r * look(plain, prompt, ids)[0].sum() for prompt, ids, r in rollout) / tokens
    gradients = torch.autograd.grad(objective, list(plain.parameters()))
    moved = [(new - old) / rate for new, old in zip(trainer.model.parameters(), plain.parameters(), strict=True)]
    largest = max(g.abs().max() for g in gradients)
    for got, gradient in zip(moved, gradients, strict=True):
        torch.testing.assert_close(got, gradient.double(), atol=5e-3 * float(largest), rtol=0)


# --------------------------------------------------------------------------------------------------- where scores stand


def learned_rows(trainer):
    """The rollout last learned from, row by row: prompt, response ids, advantages and mask with their padding."""
    tokenizer = trainer.processing_class
    rows = []
    for piece in trainer._buffered_inputs:
        for i in range(len(piece["completion_ids"])):
            length = int(piece["completion_mask"][i].sum())
            prompt = tokenizer.decode(piece["prompt_ids"][i][piece["prompt_mask"][i] == 1])
            ids = piece["completion_ids"][i][:length].tolist()
            rows.append((prompt, ids, piece["advantages"][i].tolist(), piece["loss_mask"][i].tolist()))
    return rows


# With gamma 0 and no critic an advantage is its token's own reward.
BARE = {"gamma": 0.0, "whiten_advantages": False, "kl_coef": 0.0, "learning_rate": 1e-6}
BARE |= {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "max_completion_length": 6}


def test_the_score_stands_at_the_last_token_and_nowhere_else(tmp_path):
    def some(prompt, ids):
        return None if number(prompt, ids) > 0.5 else number(prompt, ids)

    trainer, reward = make(tmp_path, some, max_steps=1, reward_clip=0.4, missing_eos_penalty=0.25, **BARE)
    trainer.train()
    rows = learned_rows(trainer)
    assert sorted((p, ids) for p, ids, *_ in rows) == sorted((p, ids) for p, ids, _ in reward.rollouts[0])
    kinds = set()
    for prompt, ids, advantages, mask in rows:
        score, ended = some(prompt, ids), ids[-1] == EOS
        expected = [0.0] * len(mask)
        if score is not None:
            expected[len(ids) - 1] = min(max(score, -0.4), 0.4) - (0.0 if ended else 0.25)
        assert advantages == pytest.approx(expected, abs=1e-6)
        assert mask == [float(score is not None)] * len(ids) + [0] * (len(mask) - len(ids))
        kinds.add((ended, len(ids) < len(mask), score is None))
    assert {(True, True, False), (False, False, False), (True, True, True)} <= kinds


def test_scores_are_normalized_by_all_so_far(tmp_path):
    trainer, reward = make(tmp_path, lambda p, ids: 50 + 9 * number(p, ids), max_steps=2, normalize_reward=True, **BARE)
    trainer.train()
    assert len(reward.rollouts) == 2
    every = torch.tensor([score for rollout in reward.rollouts for _, _, score in rollout], dtype=torch.float64)
    for prompt, ids, advantages, _ in learned_rows(trainer):  # of the second rollout
        score = 50 + 9 * number(prompt, ids)
        assert advantages[len(ids) - 1] == pytest.approx(
            float((score - every.mean()) / every.std(correction=0)), abs=1e-4
        )
    logged = trainer.state.log_history[1]["reward"]
    assert logged == pytest.approx(float(every[16:].mean()), abs=1e-4), "what is logged is not normalized"


def test_rewards_are_summed_with_their_weights(tmp_path):
    rewards = [
        RecordingReward(number, "first"),
        RecordingReward(lambda p, ids: None if len(ids) == 1 else float(len(ids)), "second"),
    ]
    trainer, _ = make(tmp_path, rewards, max_steps=1, reward_weights=[2.0, -0.5], **BARE)
    trainer.train()
    for prompt, ids, advantages, mask in learned_rows(trainer):
        if len(ids) == 1:  # one of two is missing: so is the sum
            assert sum(mask) == 0
        else:
            assert advantages[len(ids) - 1] == pytest.approx(2 * number(prompt, ids) - 0.5 * len(ids), abs=1e-6)
    lengths = [len(ids) for _, ids, _ in rewards[0].rollouts[0]]
    logged = trainer.state.log_history[0]
    assert logged["unscored"] == pytest.approx(lengths.count(1) / 16) != 0
    assert logged["reward/first"] == pytest.approx(sum(r for *_, r in rewards[0].rollouts[0]) / 16, abs=1e-6)
    longer = [n for n in lengths if n > 1]
    assert logged["reward/second"] == pytest.approx(sum(longer) / len(longer), abs=1e-6)
    with pytest.raises(ValueError, match="reward_weights has 1 numbers for 2 rewards"):
        make(tmp_path, rewards, max_steps=1, reward_weights=[1.0], **BARE)


def test_no_score_at_all_ends_the_run_in_one_line(tmp_path):
    trainer, _ = make(tmp_path, lambda p, ids: None, max_steps=1, **BARE)
    with pytest.raises(ValueError, match="none of the 16 responses of a rollout got a score") as caught:
        trainer.train()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: [0.0] * (n - 1) + [math.nan], "returned nan"),
        (lambda n: [0.0] * (n - 1), "returned 15 rewards for 16"),
    ],
)
def test_a_function_with_a_wrong_answer_ends_the_run_in_one_line(tmp_path, answer, message):
    def function(prompts, completions):
        return answer(len(completions))

    trainer, _ = make(tmp_path, FunctionReward(function, "mine", "mine:function"), max_steps=1, **BARE)
    with pytest.raises(ValueError, match=message) as caught:
        trainer.train()
    assert "'mine:function'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_kl_coefficient_follows_its_target(tmp_path):
    """Each rollout is learned from with the coefficient that the KL of those before it has led to."""
    settings = {"kl_coef": 0.2, "kl_target": 0.3, "kl_gain": 0.5, "max_steps": 3, "gamma": 0.0, "learning_rate": 1e-6}
    settings |= {"whiten_advantages": False, "per_device_train_batch_size": 8, "max_completion_length": 6}
    trainer, _ = make(tmp_path, number, word_llama(), word_llama(spread=0.2), **settings)
    trainer.train()
    logged = [row for row in trainer.state.log_history if "kl" in row]
    coefficient = 0.2
    for row in logged:
        assert row["kl_coef"] == pytest.approx(coefficient)
        coefficient *= 1 + 0.5 * min(max(row["kl"] / 0.3 - 1, -0.2), 0.2)
    assert trainer.kl_controller.coef == pytest.approx(coefficient) != 0.2
    assert any(0.8 < row["kl"] / 0.3 < 1.2 for row in logged), "the error was cut off each time"


# -------------------------------------------------------------------------------------------------------- prompts, logs


@pytest.mark.parametrize("chat", [False, True])
def test_prompts_are_rendered_as_everywhere(tmp_path, chat):
    """Strings and messages, with and without a chat template: what is sampled from is `Rendering.encode_prompt`."""
    tokenizer = word_tokenizer(chat)
    rendering = Rendering.of(tokenizer)
    texts = ["a b", "c", "d d d", "a"]
    messages = [[{"role": "user", "content": text}] for text in texts]
    policy = word_llama()
    expected = sorted(rendering.encode_prompt(tokenizer, text) for text in texts)
    for prompts in (texts, messages):
        args = ppo_config(tmp_path, max_steps=1, per_device_train_batch_size=4, max_completion_length=2, kl_coef=0.0)
        reward = RecordingReward(lambda p, ids: float(len(ids)))
        trainer = PPOTrainer(
            policy,
            args,
            rewards=[reward],
            train_dataset=datasets.Dataset.from_list([{"prompt": p} for p in prompts]),
            processing_class=tokenizer,
        )
        trainer.train()
        (batch,) = trainer._buffered_inputs
        pairs = zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)
        assert sorted(ids[mask == 1].tolist() for ids, mask in pairs) == expected
        assert (batch["prompt_mask"].diff(dim=1) >= 0).all(), "padding stands on the left"
        assert sorted(map(str, (p for p, _, _ in reward.rollouts[0]))) == sorted(map(str, prompts))


def test_what_is_logged(tmp_path):
    trainers = {"num_tokens", "loss", "grad_norm", "learning_rate", "epoch", "step", "step_time"}
    rollout = {"reward", "reward_std", "length", "no_eos", "unscored"}
    update = {"policy_loss", "entropy", "clip_fraction", "approx_kl"}
    settings = {"max_steps": 2, "num_iterations": 2, "per_device_train_batch_size": 4, "max_completion_length": 3}
    for critic, kl_coef in (("head", 0.1), ("none", 0.0)):
        trainer, _ = make(tmp_path, number, critic=critic, kl_coef=kl_coef, **settings)
        trainer.train()
        new, again = (set(row) for row in trainer.state.log_history[:2])
        critics = ({"value_loss"}, {"value", "explained_variance"}) if critic != "none" else (set(), set())
        kl = {"kl", "kl_coef"} if kl_coef else set()
        assert new == trainers | rollout | update | kl | critics[0] | critics[1]
        assert again == (trainers | update | critics[0]) - {"num_tokens"} or again == trainers | update | critics[0]


def test_explained_variance(tmp_path):
    """1 less Var(R - V) / Var(R) over tokens: 0 for a critic that says 0, near 1 where lengths tell the return."""
    settings = {"critic": "head", "gae_lambda": 1.0, "kl_coef": 0.0, "per_device_train_batch_size": 64}
    settings |= {"max_steps": 80, "num_iterations": 8, "learning_rate": 0.0, "critic_learning_rate": 0.05}
    settings |= {"critic_warmup_steps": 80, "value_clip": None, "max_completion_length": 1}
    trainer, _ = make(tmp_path, lambda p, ids: float(len(p)), value_coef=1.0, **settings)
    trainer.train()
    explained = [row["explained_variance"] for row in trainer.state.log_history if "explained_variance" in row]
    assert explained[0] == pytest.approx(0, abs=1e-6)
    assert explained[-1] > 0.8


# ------------------------------------------------------------------------------------------------------------- watching


def watched_run(folder, held_out, steps=6):
    seen = []

    def score(prompt, ids):
        seen.append((prompt, tuple(ids)))
        return number(prompt, ids)

    watch = {"eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 3} if held_out else {}
    settings = {"critic": "head", "max_steps": steps, "num_iterations": 2, "per_device_train_batch_size": 8}
    trainer, reward = make(
        folder,
        number,
        held_out=datasets.Dataset.from_list([{"prompt": p} for p in held_out]) if held_out else None,
        watched=[RecordingReward(score, "gold")] if held_out else (),
        max_completion_length=4,
        learning_rate=1e-2,
        **settings,
        **watch,
    )
    trainer.args.eval_on_start = bool(held_out)
    trainer.train()
    return trainer, reward, seen


def test_watching_leaves_training_alone(tmp_path):
    """The same run with and without held-out prompts samples the same and ends with the same bits."""
    alone, sampled, _ = watched_run(tmp_path / "a", None)
    watched, both, _ = watched_run(tmp_path / "b", PROMPTS[:7])
    assert [check.step for check in watched.checks] == [0, 2, 4, 6]
    for p, q in zip(alone.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(p, q)
    train = [rollout for rollout in both.rollouts if len(rollout) == 8]
    assert train == sampled.rollouts
    logs = [[row for row in t.state.log_history if "loss" in row] for t in (alone, watched)]
    clock = {"step_time"}
    for one, other in zip(*logs, strict=True):
        assert {k: v for k, v in one.items() if k not in clock} == {k: v for k, v in other.items() if k not in clock}


def test_watching_gives_the_same_answers_at_the_same_weights(tmp_path):
    prompts = PROMPTS[:7]
    trainer, _, seen = watched_run(tmp_path, prompts, steps=2)
    last = trainer.checks[-1]
    assert trainer.evaluate() == {}, "this step was checked"
    assert len(trainer.checks) == 2
    torch.rand(5)
    trainer.checks = []
    metrics = trainer.evaluate()
    (again,) = trainer.checks
    for name in ("reward_N", "kl_N", "length_N", "ended_N"):
        assert (getattr(again, name) == getattr(last, name)).all()
    assert (again.scores["gold"] == last.scores["gold"]).all()
    # Row by row in the order of the prompts: by the reward's own formula on what was seen.
    rows = seen[-len(prompts) :]
    assert [prompt for prompt, _ in rows] == prompts
    assert again.scores["gold"] == pytest.approx([number(*row) for row in rows], abs=1e-6)
    assert again.reward_N == pytest.approx([number(*row) for row in rows], abs=1e-6)
    assert again.length_N.tolist() == [len(ids) for _, ids in rows]
    assert again.ended_N.tolist() == [ids[-1] == EOS for _, ids in rows]
    ours, theirs = trainer.model, trainer.ref_model
    with torch.no_grad():
        kl = [float((look(ours, p, [*ids])[0] - look(theirs, p, [*ids])[0]).sum()) for p, ids in rows]
    assert again.kl_N == pytest.approx(kl, abs=1e-5)
    assert metrics["eval_reward"] == pytest.approx(again.reward_N.mean())
    assert metrics.keys() == {"eval_reward", "eval_kl", "eval_length", "eval_gold", "epoch"}
    assert (last.step, last.samples) == (2, 8)


# ----------------------------------------------------------------------------------------------------------------- vLLM


class StandIn(VLLMGeneration):
    """TRL's own weight sync, walking the policy's parameters into a fresh model, which samples in vLLM's place."""

    def __init__(self, model, **kwargs):
        self.model = model
        self._dist = SimpleNamespace(is_fsdp=False, gather_params=lambda params: torch.no_grad())
        self.inside, self.synced = word_llama(seed=9), []

    def sync_weights(self):
        weights = dict(self._iter_named_params())
        self.synced.append(set(weights))
        self.inside.load_state_dict(weights, strict=True)

    def generate(self, prompts, **kwargs):
        ids = [[(len(p) + i) % 5 + 3 for i in range(3)] for p in prompts]
        with torch.no_grad():
            rows = zip(prompts, ids, strict=True)
            places = [
                (self.inside(torch.tensor([p + r])).logits[0, len(p) - 1 : -1].log_softmax(-1), r) for p, r in rows
            ]
        return prompts, ids, [[[float(row[t])] for row, t in zip(logps, r, strict=True)] for logps, r in places], None


def test_vllm_gets_the_policy_without_its_critic(tmp_path, monkeypatch):
    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", StandIn)
    (tmp_path / "vllm.py").touch()  # there is such a package, of which nothing is used
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"max_steps": 2, "per_device_train_batch_size": 8, "max_completion_length": 3, "critic": "head"}
    trainer, _ = make(tmp_path, number, use_vllm=True, vllm_mode="colocate", learning_rate=1e-2, **settings)
    trainer.train()
    own = {name for name, _ in word_llama().named_parameters()}
    assert trainer.vllm_generation.synced
    assert all(names == own for names in trainer.vllm_generation.synced)
    assert {name for name, _ in trainer.model.named_parameters()} > own
    logged = trainer.state.log_history[0]
    # Sampled from the very weights: the correction has nothing to correct.
    assert logged["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-4)


# ------------------------------------------------------------------------------------------------- TRL as it is assumed

UPSTREAM = {
    "_tokenize_prompts": ["prompts"],
    "_generate_single_turn": ["prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
    "_log_metric": ["name", "value"],
    "_calculate_rewards": ["inputs", "prompts", "completions", "completion_ids_list"],
    "_generate_and_score_completions": ["inputs"],
    "_prepare_inputs": ["generation_batch"],
    "_compute_loss": ["model", "inputs"],
    "create_optimizer": ["model"],
    "_get_train_sampler": ["dataset"],
    "evaluate": ["eval_dataset", "ignore_keys", "metric_key_prefix"],
    "_save": ["output_dir", "state_dict"],
    "_load_from_checkpoint": ["resume_from_checkpoint", "model"],
    "_load_optimizer_and_scheduler": ["checkpoint"],
}
SCORING = ["model", "input_ids", "attention_mask", "logits_to_keep"]


def test_what_is_overridden_still_has_the_signatures_it_was_written_for():
    def names(method):
        return [name for name in inspect.signature(method).parameters if name != "self"]

    mine = {
        name for name, value in vars(PPOTrainer).items() if inspect.isfunction(value) and hasattr(GRPOTrainer, name)
    }
    assert mine == UPSTREAM.keys() | {"__init__", "_get_per_token_logps_and_entropies"}
    for name, parameters in UPSTREAM.items():
        assert names(getattr(GRPOTrainer, name)) == parameters, name
        if name != "evaluate":  # takes anything, and answers the held-out prompts
            assert names(getattr(PPOTrainer, name)) == parameters, name
    assert names(GRPOTrainer._save_checkpoint) == names(PPOTrainer._save_checkpoint) == ["model", "trial"]
    upstream = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters
    assert list(upstream)[1:5] == names(PPOTrainer._get_per_token_logps_and_entropies)[:4] == SCORING
    assert {"images", "batch_size"} & set(upstream) == {"batch_size"}
    assert {"seed", "generator"} <= vars(RepeatSampler([1, 2, 3], 1, seed=5)).keys()


def test_grpo_still_refuses_one_generation_as_it_is_expected_to(tmp_path):
    """PPOConfig lets this one error pass."""
    with pytest.raises(ValueError, match="GRPO requires at least 2 generations per prompt"):
        GRPOConfig(str(tmp_path), num_generations=1, use_cpu=True, bf16=False)
    config = ppo_config(tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    assert (config.num_generations, config.generation_batch_size, config.steps_per_generation) == (1, 8, 2)
    assert ppo_config(tmp_path, num_generations=4, per_device_train_batch_size=8).num_generations == 4
    with pytest.raises(ValueError, match="divisible by num_generations"):
        ppo_config(tmp_path, num_generations=3, per_device_train_batch_size=8)


@pytest.mark.parametrize("generations", [1, 2])
def test_what_grpo_checks_after_that_is_checked_too(tmp_path, generations):
    settings = {"vllm_importance_sampling_clip_min": 5.0, "vllm_importance_sampling_clip_max": 2.0}
    with pytest.raises(ValueError, match="vllm_importance_sampling_clip_min"):
        ppo_config(tmp_path, num_generations=generations, per_device_train_batch_size=8, **settings)
    settings = dict.fromkeys(settings) | {"vllm_importance_sampling_mode": "token_truncate"}
    with pytest.raises(ValueError, match="vllm_importance_sampling_mode"):
        ppo_config(tmp_path, num_generations=generations, per_device_train_batch_size=8, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 0.1}, "beta is 0.1.*--kl_coef"),
        ({"top_p": 0.9}, "top_p is 0.9"),
        ({"loss_type": "grpo"}, "loss_type"),
        ({"gamma": 1.1}, r"gamma is 1\.1; expected a number in \[0, 1\]"),
        ({"kl_coef": -1.0}, r"kl_coef is -1\.0; expected 0 or more"),
        ({"value_clip": 0.0}, r"value_clip is 0\.0; expected more than 0"),
        ({"kl_target": 3.0, "kl_coef": 0.0}, "kl_target is set, but kl_coef is 0"),
        ({"critic_warmup_steps": 4}, "critic_warmup_steps is set, but critic is none"),
        ({"steps_per_generation": 3, "gradient_accumulation_steps": 2}, "a rollout has 3 micro-batches"),
        ({"save_strategy": "steps", "save_steps": 5, "num_iterations": 4}, "expected a multiple of 4, such as 8"),
        ({"max_steps": 6, "num_iterations": 4}, "max_steps is 6.*expected a multiple of 4, such as 8"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        ppo_config(tmp_path, **settings)
    assert "\n" not in str(caught.value)


def test_too_few_prompts_for_a_rollout_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there are 3 prompts, but one rollout takes 8"):
        PPOTrainer(
            word_llama(),
            ppo_config(tmp_path, per_device_train_batch_size=8),
            rewards=[RecordingReward(number)],
            train_dataset=rows_of_prompts(PROMPTS, 3),
            processing_class=word_tokenizer(),
        )


def test_several_responses_to_a_prompt(tmp_path):
    """`num_generations` above 1 takes fewer prompts and changes nothing else; watching still takes one each."""
    trainer, reward = make(tmp_path, number, num_generations=4, per_device_train_batch_size=8, max_steps=1)
    trainer.train()
    prompts = [prompt for prompt, _, _ in reward.rollouts[0]]
    assert [prompts.count(p) for p in dict.fromkeys(prompts)] == [4, 4]
    assert isinstance(trainer.args, PPOConfig)


def test_without_a_reference_no_kl_is_reported(tmp_path):
    trainer, _ = make(tmp_path, number, held_out=rows_of_prompts(PROMPTS, 4), kl_coef=0.0, critic="none", max_steps=1)
    metrics = trainer.evaluate()
    assert "eval_kl" not in metrics
    assert np.isnan(trainer.checks[0].kl_N).all()


def test_what_a_reward_logs_is_logged(tmp_path):
    def graded(prompts, completions, log_metric, **kwargs):
        log_metric("long_words", 0.25)
        return [0.0] * len(prompts)

    trainer, _ = make(tmp_path, [graded], critic="none", max_steps=1)
    trainer.train()
    assert trainer.state.log_history[0]["long_words"] == 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_generations_eval": 3}, "num_generations_eval is 3"),
        ({"entropy_target": 0.5}, "entropy_target is 0.5; this program takes only"),
        ({"generation_kwargs": {"top_k": 5}}, "generation_kwargs has 'top_k'"),
        ({"critic": "heads"}, "critic is 'heads'; expected one of head, separate, reward_model, none"),
        ({"kl_estimator": "k9"}, "kl_estimator is 'k9'; expected one of k1, k2, k3"),
    ],
)
def test_settings_without_a_meaning_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ppo_config(tmp_path, **settings)
