"""Best of n: the weights of all subsets, and recipes/best_of_n.py as its users start it."""

import itertools
import json
import math
import re
import runpy
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from support import ROOT, forks, rows_of, save_model, word_llama, word_tokenizer, write_rows
from support.files import content, room_for_files_of
from transformers import LlamaForSequenceClassification

from rlaif import config
from rlaif.assess.best_of_n import assess_best_of_n, best_of_n_values, choice_weights, kl_bound, sizes, subset_weights
from rlaif.commands.sample import SampleConfig, sample
from rlaif.files.store import Store
from rlaif.judging.rewards import FunctionReward, RewardModelReward
from rlaif.judging.sampling import Completion, Sampling, completions_of, local_policy
from rlaif.models.loading import load_tokenizer, quiet
from rlaif.models.local import LocalModel
from rlaif.models.rendering import Rendering
from rlaif.models.reward_model import RewardModel, RewardModelCard
from rlaif.publish.card import CardFields
from rlaif.publish.models import publish_model

PROGRAM = ROOT / "recipes/best_of_n.py"
SFT = ROOT / "recipes/sft.py"
ME = "test_best_of_n"
NAN = float("nan")


# ------------------------------------------------------------------------------------------------------------ the maths


def test_weights_by_hand():
    """Of the 6 pairs among 4, the highest is the best of 3, the next of 2, the next of 1, the lowest of none."""
    np.testing.assert_allclose(subset_weights(4, 2), [0, 1 / 6, 2 / 6, 3 / 6], rtol=1e-15)
    np.testing.assert_array_equal(subset_weights(3, 3), [0, 0, 1])
    np.testing.assert_allclose(subset_weights(3, 1), [1 / 3] * 3, rtol=1e-15)
    assert sizes(1) == [1]
    assert sizes(2) == [1, 2]
    assert sizes(16) == [1, 2, 4, 8, 16]
    assert sizes(20) == [1, 2, 4, 8, 16, 20]


def test_ties_and_unscored_by_hand():
    """Rewards 1, 0, 1 and one unscored. Pairs: the 0 is the best of {0, unscored} alone; the 1s share the other 5."""
    np.testing.assert_allclose(choice_weights([1, 0, 1, NAN], 2), [5 / 12, 1 / 6, 5 / 12, 0], rtol=1e-15)
    # Of single draws one of four has no best: the other three are equally likely.
    np.testing.assert_allclose(choice_weights([1, 0, 1, NAN], 1), [1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-15)
    np.testing.assert_allclose(choice_weights([1, 0, 1, NAN], 4), [1 / 2, 0, 1 / 2, 0], rtol=1e-15)
    np.testing.assert_array_equal(choice_weights([NAN, 7.0], 1), [0, 1])
    np.testing.assert_allclose(choice_weights([2, 2, 2], 2), [1 / 3] * 3, rtol=1e-15)


@pytest.mark.parametrize(("candidates", "n"), [(1024, 1), (1024, 2), (1024, 512), (1024, 1000), (1024, 1024), (37, 16)])
def test_weights_of_many_candidates(candidates, n):
    weights = subset_weights(candidates, n)
    exact = [Fraction(math.comb(i - 1, n - 1), math.comb(candidates, n)) for i in range(1, candidates + 1)]
    np.testing.assert_allclose(weights, [float(w) for w in exact], rtol=1e-11, atol=1e-300)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)


def by_all_subsets(rewards, values, n):
    """The mean over subsets of a score of the best, ties shared, and the share of choices without the score; slowly."""
    total = known = whole = 0.0
    for subset in itertools.combinations(range(len(rewards)), n):
        scored = [i for i in subset if rewards[i] is not None]
        if not scored:
            continue
        top = max(rewards[i] for i in scored)
        best = [i for i in scored if rewards[i] == top]
        whole += 1
        for i in best:
            if values[i] is not None:
                known += 1 / len(best)
                total += values[i] / len(best)
    return total / known if known else NAN, 1 - known / whole


REWARD, VALUE = st.sampled_from([None, -1.0, 0.0, 0.5, 2.0]), st.sampled_from([None, -3.0, 1.0, 4.0])
CANDIDATES = st.lists(st.tuples(REWARD, VALUE), min_size=1, max_size=7).filter(
    lambda rows: any(reward is not None for reward, _ in rows)
)


@given(CANDIDATES, st.data())
def test_against_all_subsets(rows, data):
    n = data.draw(st.integers(1, len(rows)))
    rewards, values = ([NAN if x is None else x for x in column] for column in zip(*rows, strict=True))
    weights = choice_weights(rewards, n)
    assert weights.sum() == pytest.approx(1.0)
    (value,), (unscored,) = best_of_n_values([weights], [values])
    expected, without = by_all_subsets(*zip(*rows, strict=True), n)
    assert unscored == pytest.approx(without, abs=1e-12)
    assert value == pytest.approx(expected, nan_ok=True)
    # The order of the candidates says nothing.
    order = data.draw(st.permutations(range(len(rows))))
    np.testing.assert_allclose(choice_weights([rewards[i] for i in order], n), weights[order], atol=1e-15)


def test_against_a_simulation():
    """Uniform rewards: the best of n is n / (n + 1) on average. A score that falls in the reward falls with n."""
    rewards = np.random.default_rng(0).uniform(size=(2000, 16))
    rows = assess_best_of_n(rewards, {"falls": -(rewards**2)}, 9 + 0 * rewards, rewards > 0.25)
    assert [row["n"] for row in rows] == [1, 2, 4, 8, 16]
    for row in rows:
        n = row["n"]
        assert row["reward"] == pytest.approx(n / (n + 1), abs=4 * row["reward_se"])
        assert row["scores"]["falls"]["mean"] == pytest.approx(-n / (n + 2), abs=4 * row["scores"]["falls"]["mean_se"])
        assert row["no_eos"] == pytest.approx(0.25**n, abs=0.01)
        assert (row["length"], row["length_se"]) == (9, pytest.approx(0.0, abs=1e-12))
    assert rows[0]["reward"] == pytest.approx(rewards.mean())
    assert rows[-1]["reward"] == pytest.approx(rewards.max(axis=1).mean())
    # All subsets say more than one of them.
    assert rows[1]["reward_se"] < 0.5 * rewards[:, :2].max(axis=1).std() / math.sqrt(2000)


def test_a_score_that_some_choices_lack():
    """Of two prompts, the second's best has no score: it is in no mean, and counted."""
    rewards, gold = [[0.0, 1.0], [5.0, 2.0]], [[3.0, 4.0], [NAN, 6.0]]
    one, two = assess_best_of_n(rewards, {"gold": gold}, np.ones((2, 2)), np.ones((2, 2)))
    assert two["scores"]["gold"] == {"mean": 4.0, "mean_se": pytest.approx(NAN, nan_ok=True), "unscored": 0.5}
    assert (one["scores"]["gold"]["mean"], one["scores"]["gold"]["unscored"]) == ((3.5 + 6.0) / 2, 0.25)
    assert (one["reward"], two["reward"]) == (2.0, 3.0)


def test_the_kl_and_its_bound():
    """With u = F(reward) uniform, the best of n has density n u^(n-1): the KL is the bound. Ties only lower it."""
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    for n in (1, 2, 8):
        density = n * u ** (n - 1)
        assert kl_bound(n) == pytest.approx(float((density * np.log(density)).mean()), abs=1e-5)
        levels = np.array([0.5, 0.3, 0.2])
        best = np.diff(np.cumsum([0.0, *levels]) ** n)
        assert float((best * np.log(best / levels)).sum()) <= kl_bound(n) + 1e-12


# --------------------------------------------------------------------------------------------------- what it chooses by


def count_a(prompt, response):
    """How many of the words are "a"; a response that says "d" cannot be scored."""
    return None if "d" in response.split() else float(response.split().count("a"))


def words(prompt, response):
    return float(len(response.split()))


def nothing(prompt, response):
    return None


def rates(prompt, response):
    """A judge that knows only 0 and 9."""
    return 9.0 if "b" in response.split() else 0.0


calls_left = math.inf


def ends(prompts, completions, **columns):
    """`words`, so many times; then it is as if the user pressed Ctrl-C."""
    global calls_left
    if not calls_left:
        raise KeyboardInterrupt
    calls_left -= 1
    return [words(*row) for row in zip(prompts, completions, strict=True)]


# ---------------------------------------------------------------------------------------------------------- the program

PROMPTS = [" ".join(combination) for combination in itertools.product("abcd", repeat=2)][:10]
SETTINGS = {"n": 64, "max_new_tokens": 6, "batch_tokens": 2000, "seed": 0}
TRAINING = {
    "sft": True,
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "learning_rate": 0.01,
    "max_length": 64,
    "save_strategy": "no",
    "disable_tqdm": True,
    "report_to": "none",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A policy over eight words, which often says the same; a reward model; prompts, one of them twice; a judge."""
    folder = tmp_path_factory.mktemp("inputs")
    save_model(folder / "policy", word_llama(max_position_embeddings=64), word_tokenizer())
    shape = word_llama(max_position_embeddings=64).config
    shape.num_labels = 1
    with quiet():
        torch.manual_seed(1)
        save_model(folder / "reward_model", LlamaForSequenceClassification(shape), word_tokenizer())
    rendering = Rendering.of(load_tokenizer(folder / "policy")).row()
    RewardModelCard(rendering=rendering, max_length=7, base_model="policy", zero=0.25).write(folder / "reward_model")
    rows = [{"prompt": prompt, "reference": "a b"} for prompt in [*PROMPTS, PROMPTS[3]]]
    write_rows(folder / "prompts.jsonl", [*rows, {"prompt": "a " * 60, "reference": "a"}])
    (folder / "judge.yaml").write_text(f"judge: scripted\njudge_model: {ME}:rates\n")
    return folder


@pytest.fixture
def good(inputs, tmp_path):
    """Settings with which the program runs."""
    return SETTINGS | {
        "model": inputs / "policy",
        "prompts": inputs / "prompts.jsonl",
        "rewards": f"reward_model={inputs / 'reward_model'}",
        "watch": [f"function={ME}:count_a"],
        "output_dir": tmp_path / "out",
    }


def words_of(settings):
    return [
        word
        for name, value in settings.items()
        for word in (f"--{name}", *map(str, value if isinstance(value, list) else [value]))
    ]


def ran(settings, monkeypatch, capsys, program=PROGRAM):
    """The program in this process: what it printed, and its report."""
    monkeypatch.setattr(sys, "argv", [str(program), *words_of(settings)])
    runpy.run_path(str(program), run_name="program")["main"]()
    return capsys.readouterr().out, report_of(settings["output_dir"])


def report_of(folder):
    return json.loads((Path(folder) / "report.json").read_text())


def fails(settings, monkeypatch, capsys):
    """The one line on stderr with which the program ends, in this process."""
    with pytest.raises(SystemExit) as end:
        config.run(lambda: ran(settings, monkeypatch, capsys))
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert end.value.code in ((4,) if "interrupted" in error else (1, 2))
    assert error.startswith("error: ")
    return error


def replies(folder):
    """What is stored in a folder, row by row."""
    with Store(folder) as store:
        return list(store.rows())


def stored_texts(folder):
    return [row.get("text") for row in replies(folder)]


def sampled_by(settings, inputs):
    """The 64 responses to each prompt that a run has stored."""
    sampling = Sampling(local_policy(str(inputs / "policy")), samples=64, max_new_tokens=6)
    return list(completions_of(sampling, PROMPTS, settings["output_dir"]))


def test_the_best_of_what_was_sampled(good, inputs, monkeypatch, capsys):
    """Against the reward model asked by hand; long responses and empty ones are unscored, with the reason."""
    printed, report = ran(good, monkeypatch, capsys)
    best = rows_of(good["output_dir"] / "best.jsonl")
    sampled = sampled_by(good, inputs)
    model = RewardModel.load(inputs / "reward_model")
    empty = [not row.text.strip() for rows in sampled for row in rows]
    scores = model.score([p for p in PROMPTS for _ in range(64)], [row.text for rows in sampled for row in rows])
    rewards = np.where(empty, np.nan, scores - model.zero).reshape(10, 64)
    same = []
    for row, prompt, ours, responses in zip(best, PROMPTS, rewards, sampled, strict=True):
        assert (row["prompt"], row["candidates"]) == (prompt, 64)
        assert row["reward"] == pytest.approx(np.nanmax(ours), abs=1e-5)
        assert row["scored"] == (~np.isnan(ours)).sum()
        assert row["scores"] == {"count_a": count_a(prompt, row["completion"])}
        same.append([response for response in responses if response.text == row["completion"]])
        assert (row["tokens"], row["complete"]) == (same[-1][0].tokens, same[-1][0].complete)

    too_long, scored = int(np.isnan(scores).sum()), int((~np.isnan(rewards)).sum())
    assert {name: report[name] for name in ("n", "prompts", "left_out", "too_long", "repeated", "responses")} == {
        "n": 64, "prompts": 10, "left_out": 0, "too_long": 1, "repeated": 1, "responses": 640
    }  # fmt: skip
    assert report["scored"] == scored == 640 - too_long - sum(empty)
    assert min(too_long, sum(empty)) > 0
    assert report["unscored"] == {
        "responses": {"the response is empty": sum(empty)},
        "rewards": {"reward_model": {"longer than the N tokens that the reward model takes": too_long}},
        "watch": {"count_a": report["unscored"]["watch"]["count_a"]},
    }
    assert report["train"] is None
    assert [row["n"] for row in report["by_n"]] == [1, 2, 4, 8, 16, 32, 64]
    first, last = report["by_n"][0], report["by_n"][-1]
    assert first["reward"] == pytest.approx(np.mean([np.nanmean(r) for r in rewards]), abs=1e-5)
    assert last["reward"] == pytest.approx(np.mean([row["reward"] for row in best]), abs=1e-9)
    # One text may have been sampled with an end and without: those share the choice.
    assert last["length"] == pytest.approx(np.mean([np.mean([r.tokens for r in rows]) for rows in same]))
    assert last["no_eos"] == pytest.approx(np.mean([np.mean([not r.complete for r in rows]) for rows in same]))
    assert last["kl_bound"] == pytest.approx(math.log(64) - 63 / 64)
    assert 0 < first["scores"]["count_a"]["unscored"] < 1
    manifest = json.loads((good["output_dir"] / "manifest.json").read_text())
    assert manifest["config"]["n"] == 64
    assert "learning_rate" not in manifest["config"]  # nothing was trained
    assert manifest["learned_from"] == []
    assert len(manifest["inputs"]) == 3
    assert "prompts: left out 1 of 12 rows, longer than" in printed
    assert f"scored {scored} of 640 responses, 64 to each of 10 prompts" in printed
    assert f"best of 64: reward {last['reward']:.3f} (of 1: {first['reward']:.3f}), count_a " in printed
    assert printed.splitlines()[-1].startswith(f"wrote {good['output_dir']} in ")


def test_padding_does_not_choose_between_equal_responses(good, inputs, monkeypatch, capsys):
    """A reward that differs in the seventh digit from one row of a batch to the next."""
    score = RewardModelReward._score

    def noisy(self, *args):
        return [(None if v is None else 1e-7 * i, why) for i, (v, why) in enumerate(score(self, *args))]

    monkeypatch.setattr(RewardModelReward, "_score", noisy)
    ran(good, monkeypatch, capsys)
    sampled = sampled_by(good, inputs)
    for row, responses in zip(rows_of(good["output_dir"] / "best.jsonl"), sampled, strict=True):
        short = [r.text for r in responses if 0 < len(r.text.split()) <= 4]
        assert row["completion"] == list(dict.fromkeys(short))[-1]  # what appeared last for the first time


def test_no_reward_is_asked_about_nothing():
    """A batch without any text does not reach it."""
    score = runpy.run_path(str(PROGRAM), run_name="program")["score"]
    rows = datasets.Dataset.from_list([{"prompt": "a"}, {"prompt": "b"}])
    reward = FunctionReward(lambda prompts, completions: 1 / 0, "never", "never")
    nothing_said = [[Completion("0" * 32, " ")], [Completion("1" * 32, None, reason="the prompt is too long")]]
    values, reasons = score([reward], rows, nothing_said)
    assert values.shape == (1, 2, 1)
    assert np.isnan(values).all()
    assert reasons == [{}]


def test_rewards_are_summed_and_judges_are_asked(good, inputs, tmp_path, monkeypatch, capsys):
    """Messages as prompts; a prompt none of whose responses can be scored is left out."""
    rows = [{"prompt": [{"role": "user", "content": prompt}], "reference": "b b b"} for prompt in PROMPTS[:4]]
    (tmp_path / "pairs.yaml").write_text("judge: scripted\njudge_model: rlaif.models.function:longer\n")
    good |= {"prompts": write_rows(tmp_path / "prompts.jsonl", rows), "n": 4, "reward_weights": [0.5, -2.0]}
    good |= {
        "rewards": [f"rating={inputs / 'judge.yaml'}", f"function={ME}:count_a"],
        "watch": [f"function={ME}:words", f"pairwise={tmp_path / 'pairs.yaml'}"],
    }
    _, report = ran(good, monkeypatch, capsys)
    best = rows_of(good["output_dir"] / "best.jsonl")
    assert report["prompts"] == len(best) == 4 - report["left_out"]
    for row in best:
        said = (row["prompt"], row["completion"])
        assert row["reward"] == 0.5 * rates(*said) - 2.0 * count_a(*said)
        longer = 0.5 + 0.5 * np.sign(len(row["completion"]) - len("b b b"))
        assert row["scores"] == {"words": words(*said), "pairwise": longer}
    assert report["unscored"]["rewards"]["count_a"]["the function returned None"] > 0
    assert {row["text"] for row in replies(good["output_dir"])} >= {"0.0", "9.0", "0.5"}  # judges' beside responses
    error = fails(good | {"rewards": f"function={ME}:nothing", "reward_weights": 1}, monkeypatch, capsys)
    assert "none of 16 responses could be scored: " in error
    assert '"the function returned None": ' in error


def test_candidates_are_chosen_from_and_nothing_is_sampled(good, inputs, tmp_path, monkeypatch, capsys):
    shared = {"prompts": str(inputs / "prompts.jsonl"), "policy": str(inputs / "policy"), "max_new_tokens": 6}
    sample(SampleConfig(**shared, output=str(tmp_path / "sampled"), samples=8, seed=0))

    def loaded(*args, **kwargs):
        raise AssertionError("a policy was loaded")

    with monkeypatch.context() as patch:
        patch.setattr("rlaif.models.local.load_causal_lm", loaded)
        _, report = ran(good | {"candidates": tmp_path / "sampled", "n": 8}, monkeypatch, capsys)
        assert report["responses"] == 80
        assert not (good["output_dir"] / "replies").exists()
        texts = stored_texts(tmp_path / "sampled")
        assert all(row["completion"] in texts for row in rows_of(good["output_dir"] / "best.jsonl"))
        whole = {row["prompt"]: row["reward"] for row in rows_of(good["output_dir"] / "best.jsonl")}
        some = {"candidates": tmp_path / "sampled", "n": 3, "limit": 6}
        assert ran(good | some, monkeypatch, capsys)[1]["responses"] == 18  # the first three of them
        assert all(row["reward"] <= whole[row["prompt"]] for row in rows_of(good["output_dir"] / "best.jsonl"))

        few = good | {"candidates": tmp_path / "sampled", "n": 10}
        error = fails(few, monkeypatch, capsys)
        assert "lacks 20 of 100 responses, of 10 of 10 prompts; expected 10 to each" in error
        assert "(there samples 8, here 10)" in error
        error = fails(few | {"n": 8, "seed": 3, "policy_dtype": "float32"}, monkeypatch, capsys)
        assert "lacks 80 of 80 responses" in error
        assert "(there seed 0, here 3; there dtype auto, here float32)" in error
        (tmp_path / "sampled/manifest.json").unlink()
        assert "with these settings. Sample them: rlaif sample --samples 10." in fails(few, monkeypatch, capsys)


def test_sft_is_what_sft_does_with_the_best(good, tmp_path, monkeypatch, capsys):
    """The same weights, bit for bit, as recipes/sft.py on those of best.jsonl that end; and a card that says so."""
    good |= TRAINING | {"n": 8}
    printed, report = ran(good, monkeypatch, capsys)
    best = rows_of(good["output_dir"] / "best.jsonl")
    whole = [row for row in best if row["complete"]]
    assert 0 < len(whole) < len(best)
    train = {name: report["train"][name] for name in ("prompts", "cut", "too_long", "steps", "processes")}
    cut = len(best) - len(whole)
    assert train == {"prompts": len(whole), "cut": cut, "too_long": 0, "steps": 2, "processes": 1}
    assert f"best: left out {cut} of 10 rows, cut off at max_new_tokens" in printed
    assert f"trained on {len(whole)} best responses, 2 steps; mean loss {report['train']['loss']:.3f}" in printed
    rows = write_rows(tmp_path / "best.jsonl", whole)
    plain = {name: value for name, value in TRAINING.items() if name != "sft"}
    plain |= {"model": good["model"], "dataset": rows, "output_dir": tmp_path / "sft", "seed": 0}
    ran(plain, monkeypatch, capsys, SFT)
    ours, theirs, before = (
        load_file(Path(folder) / "model.safetensors")
        for folder in (good["output_dir"], tmp_path / "sft", good["model"])
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not all(torch.equal(ours[name], before[name]) for name in before)

    staged = publish_model(good["output_dir"], tmp_path / "staged", "policy", CardFields("mit"))
    assert set(staged["left_behind"]) == {
        "replies and votes", "records of the run", "trainer and optimizer state"
    }  # fmt: skip
    card = (tmp_path / "staged/README.md").read_text()
    assert "- rejection-sampling" in card
    how = "by one round of rejection sampling and fine-tuning (best of n, RAFT) with rlaif and TRL"
    assert f"Trained {how} on {len(whole)} prompts of `prompts.jsonl`, starting from `policy`." in card
    assert "It learned the best of 8 responses of the model that it started from to each of 10 prompts." in card
    assert f"reward {report['by_n'][-1]['reward']:.3f} ({report['by_n'][0]['reward']:.3f}), `count_a` " in card
    assert "| chosen by | reward model reward_model (sha256:" in card
    assert "| responses | the best of 8 to each prompt; at most 6 tokens, temperature 1, top-p 1 |" in card
    assert "dong2023raft" in card


def test_a_run_that_was_broken_off_goes_on(good, inputs, tmp_path, monkeypatch, capsys):
    """Ended while it scores, and two fifths of the sampled responses torn away: only what is missing is made again."""
    good |= {"rewards": f"rating={inputs / 'judge.yaml'}", "watch": f"function={ME}:ends"}
    monkeypatch.setattr(sys.modules[ME], "calls_left", 1)
    assert "interrupted; what was stored is kept" in fails(good, monkeypatch, capsys)
    out = good["output_dir"]
    assert not (out / "best.jsonl").exists()
    (sampled, rated) = sorted((out / "replies").iterdir())  # what was sampled, then what judges said of it
    stored = sampled.read_bytes()
    whole = {row["key"]: row["text"] for row in map(json.loads, stored.splitlines()) if "key" in row}
    assert len(whole) == 640
    sampled.write_bytes(stored[: len(stored) * 3 // 5])  # in the middle of a line
    ratings = len(rows_of(rated))
    assert ratings > 0
    written, asked = [], []
    write, rate = LocalModel._write, rates
    monkeypatch.setattr(LocalModel, "_write", lambda self, batch: written.extend(batch) or write(self, batch))
    monkeypatch.setattr(sys.modules[ME], "rates", lambda *said: asked.append(said) or rate(*said))
    monkeypatch.setattr(sys.modules[ME], "calls_left", math.inf)
    ran(good, monkeypatch, capsys)
    assert 0 < len(written) < 640
    found = {row["key"]: row["text"] for row in replies(out)}
    assert {key: found[key] for key in whole} == whole
    assert asked
    assert len(found) == 640 + ratings + len(asked)  # nobody twice


def test_two_processes_choose_what_one_does_and_train(good, inputs, tmp_path, monkeypatch, capsys):
    """Launched by the sandbox's YAML with this test's own inputs: three batches of scoring fall on two processes."""
    path = ROOT / "recipes/configs/best_of_n/sandbox.yaml"
    command = path.read_text().splitlines()[0].removeprefix("# ").split()
    assert command[:4] == ["accelerate", "launch", "--config_file", "recipes/accelerate/cpu.yaml"]
    own = good | {"max_steps": 2, "per_device_train_batch_size": 2, "max_length": 64}
    assert command[4] == "recipes/best_of_n.py"
    two = forks.side_by_side(*command[5:], *words_of(own), program=PROGRAM, folder=ROOT)
    for process in two:
        assert process.returncode == 0, process.stderr
    assert [process.stdout.count("best of 64: ") for process in two] == [1, 0]  # one process reports
    report = report_of(good["output_dir"])
    written = yaml.safe_load(path.read_text())
    manifest = json.loads((good["output_dir"] / "manifest.json").read_text())
    assert all(manifest["config"][key] == value for key, value in written.items() if key not in own)
    assert (report["train"]["steps"], report["train"]["processes"]) == (2, 2)
    assert load_tokenizer(good["output_dir"])
    texts = stored_texts(good["output_dir"])
    _, alone = ran(good | {"output_dir": tmp_path / "one"}, monkeypatch, capsys)
    assert sorted(texts) == sorted(stored_texts(tmp_path / "one"))
    assert (good["output_dir"] / "best.jsonl").read_bytes() == (tmp_path / "one/best.jsonl").read_bytes()
    for name in ("by_n", "unscored", "scored", "left_out"):
        assert report[name] == alone[name], name


# ------------------------------------------------------------------------------------------------------------ bad input

BAD_SETTINGS = [
    ({"prompts": None}, r"prompts is missing; expected rows with a `prompt` column"),
    ({"rewards": None}, r"rewards is empty; expected --rewards reward_model=FOLDER"),
    ({"reward_weights": [1.0, 2.0]}, r"reward_weights has 2 numbers for 1 rewards?; expected one each"),
    ({"n": 0}, r"n is 0; expected at least 1"),
    ({"limit": 0}, r"limit is 0; expected at least 1"),
    ({"temperature": 0}, r"n is 64 at temperature 0, which gives the same response again"),
    ({"top_p": 0}, r"top_p is 0\.0; expected .* in \(0, 1\]"),
    ({"max_new_tokens": 64}, r"max_new_tokens is 64, but the model reads 64 tokens in all"),
    ({"max_new_tokens": 63}, r"all 12 rows of the prompts split are longer than .* 1 tokens"),
    ({"rewards": "rewad_model=x"}, r"of an unknown kind, 'rewad_model'; did you mean 'reward_model'\?"),
    ({"watch": "reward_model={inputs}/policy"}, r"policy has no rlaif\.json and is a LlamaForCausalLM, which"),
    ({"watch": "function=no_such_module:f"}, r"'no_such_module:f' cannot be imported"),
    ({"candidates": "{inputs}"}, r"lacks 640 of 640 responses, of 10 of 10 prompts; expected 64 to each"),
    ({"learning_rate": 0.1, "lora": True}, r"without --sft true, but lora, learning_rate of training would be set"),
    ({"dtype": "bfloat16"}, r"nothing is trained without --sft true, but dtype of training would be set"),
    ({"dtype": "bfloat16", "trust_remote_code": True}, r"but dtype of training would be set"),  # sampling's too
    ({"policy_dtype": "float"}, r"policy_dtype is 'float'; expected one of auto, float32"),
    ({"resume_from_checkpoint": "true"}, r"without --sft true, but resume_from_checkpoint of training would be set"),
    ({"model_revision": "v2"}, r"model_revision is 'v2', but responses are sampled from the newest; expected none"),
    ({"sft": True, "eval_strategy": "epoch"}, r"eval_strategy is 'epoch', but no prompts are held out here"),
    ({"sft": True, "resume_from_checkpoint": "true"}, r"out holds no whole checkpoint"),
    ({"sft": True, "packing": True}, r"packing is true; this program takes only false\."),
    ({"max_new_token": 4}, r"'max_new_token' is not a setting of this program; did you mean 'max_new_tokens'\?"),
]


@pytest.mark.parametrize(("change", "message"), BAD_SETTINGS, ids=lambda x: "-".join(x) if isinstance(x, dict) else "")
def test_bad_settings_before_a_model_is_loaded(change, message, good, inputs, monkeypatch, capsys):
    def loaded(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("rlaif.models.local.load_causal_lm", loaded)
    monkeypatch.setattr("rlaif.models.loading.load_causal_lm", loaded)
    change = {k: v.format(inputs=inputs) if isinstance(v, str) else v for k, v in change.items()}
    settings = {name: value for name, value in (good | change).items() if value is not None}
    assert re.search(message, fails(settings, monkeypatch, capsys))
    assert not good["output_dir"].exists()
    assert not (inputs / "replies").exists()


def test_what_an_earlier_run_chose_stays_where_this_one_fails(good, monkeypatch, capsys):
    """All that was chosen is cut off, so that nothing can be learned; a full disk while it is written."""
    ran(good | {"n": 2}, monkeypatch, capsys)
    before = content(good["output_dir"])
    error = fails(good | TRAINING | {"n": 2, "max_new_tokens": 1}, monkeypatch, capsys)
    assert "best responses were cut off at max_new_tokens = 1; expected some that end. Raise it." in error
    with room_for_files_of(700):
        assert "No space left" in fails(good | {"n": 2}, monkeypatch, capsys)
    after = content(good["output_dir"])
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"replies"}


def test_every_prompt_is_in_the_ledger(good, inputs, tmp_path, monkeypatch, capsys):
    """One that the chat template refuses, one too long, one that stood before and says something else besides."""
    policy, prompts = tmp_path / "policy", tmp_path / "prompts.jsonl"
    shutil.copytree(inputs / "policy", policy)
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    (policy / "chat_template.jinja").write_text(refuses + "{% for m in messages %}{{ m['content'] + ' ' }}{% endfor %}")
    system, long = {"role": "system", "content": "b"}, [{"role": "user", "content": "a " * 60}]
    a, b = ([{"role": "user", "content": word}] for word in "ab")
    rows = [(a, 1), (a, 2), (a, 1), (b, 1), ([system, *a], 1), (long, 1)]
    write_rows(prompts, [{"prompt": prompt, "note": note} for prompt, note in rows])
    good |= {"model": policy, "prompts": prompts, "rewards": f"function={ME}:words", "n": 16, "limit": 1}
    good.pop("watch")
    _, report = ran(good, monkeypatch, capsys)
    assert report["ledger"] == {
        "read": 6,
        "used": 1,
        "left_out": {
            "too long": 1, "refused by the chat template": 1, "prompt stood before": 2, "beyond limit": 1,
        },
    }  # fmt: skip
    assert (report["repeated"], report["repeated_with_other_columns"]) == (2, 1)
    assert rows_of(good["output_dir"] / "best.jsonl")[0]["note"] == 1
