"""rlaif.assess and rlaif.commands.evaluate: hand-worked numbers, independent implementations, tiny real models."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import forks, here, rows_of, word_tokenizer
from support.models import SCORING, tiny
from transformers import LlamaForCausalLM

from rlaif.assess.agreement import assess_judgments
from rlaif.assess.calibration import against, reliability, wilson
from rlaif.assess.divergence import response_kl, token_budget, token_kl
from rlaif.assess.length import longer, longer_wins
from rlaif.assess.rewards import assess_reward_model
from rlaif.assess.truth import load_gold, truth_of
from rlaif.assess.wins import mean_and_error, win_rate_by_judge, win_rate_by_reward
from rlaif.commands.evaluate import EvaluateConfig, evaluate
from rlaif.files.manifest import elapsed
from rlaif.files.sources import write_jsonl
from rlaif.models.rendering import Encoded, Rendering
from rlaif.models.reward_model import RewardModel, RewardModelCard
from rlaif.records import Judgment, Pair

WORDS = ["please", "bring", "soap", "rope", "bread", "and", "here", "is", "the", "thanks", "you", "no"]
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}{% if m['role'] == 'assistant' %}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
)


# Models and gold rewards of these tests' own -------------------------------------------------------------------------


def tiny_tokenizer(extra: tuple[str, ...] = ()) -> Any:
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    roles = ["<user>", "<assistant>"]
    words = [*special.values(), *roles, *WORDS, *extra]
    return word_tokenizer(TEMPLATE, words, extra_special_tokens=roles, **special)


def tiny_lm(seed: int, vocabulary: int = 17, **config: Any) -> Any:
    known = {"num_hidden_layers": 2, "max_position_embeddings": 64, "eos_token_id": 1, "pad_token_id": 0}
    # Far from uniform, so that a wrong position or token shows.
    return tiny(
        seed=seed, **{**known, "bos_token_id": None, "initializer_range": 0.6, "vocab_size": vocabulary, **config}
    )


def save_lm(folder: Path, seed: int, extra: tuple[str, ...] = ()) -> str:
    tokenizer = tiny_tokenizer(extra)
    tiny_lm(seed, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_reward_model(folder: Path, seed: int) -> str:
    tokenizer = tiny_tokenizer()
    tiny_lm(seed, len(tokenizer), kind=SCORING, num_labels=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    RewardModelCard(rendering=Rendering.of(tokenizer).row(), max_length=64, base_model="tiny", zero=0.25).write(folder)
    return str(folder)


def count_soap(prompt, response):
    """A gold reward: how often the response says soap."""
    return float(response.split().count("soap"))


ASKED: list[tuple[object, str]] = []


def counted_gold(prompt, response):
    ASKED.append((prompt, response))
    return float(len(response))


def nan_gold(prompt, response):
    return math.nan


def prefers_soap(prompt, first, second):
    """A judge with a position bias of 0.1, sure of what it says otherwise."""
    a, b = count_soap(prompt, first), count_soap(prompt, second)
    return 0.5 + 0.3 * ((a > b) - (a < b)) + 0.1


# KL -------------------------------------------------------------------------------------------------------------------


def encoded_rows() -> list[Encoded]:
    return [
        Encoded([3, 5, 6, 7, 4], [8, 9, 1]),
        Encoded([3, 4], [10, 11, 12, 13, 14, 1]),
        Encoded([3, 15, 4], []),  # cut before it said anything
        Encoded([3, 16, 5, 6, 7, 8, 9, 10, 4], [2]),
    ]


def slow_kl(policy, reference, row: Encoded) -> float:
    """One row by itself, position by position, softmax written out, in float64."""
    total = 0.0
    for t in range(len(row.response_ids)):
        prefix = torch.tensor([row.prompt_ids + row.response_ids[:t]])
        with torch.no_grad():
            p, q = (model(prefix).logits[0, -1].double() for model in (policy, reference))
        p, q = p.exp() / p.exp().sum(), q.exp() / q.exp().sum()
        total += sum(float(a * math.log(a / b)) for a, b in zip(p, q, strict=True))
    return total


def test_token_kl_by_hand():
    # KL((1/2, 1/2) || (1/4, 3/4)) = 0.5 log 2 + 0.5 log(2/3); a token of probability 0 adds nothing.
    p = torch.tensor([[0.0, 0.0, -torch.inf], [1.0, 1.0, 1.0]])
    q = torch.tensor([[0.0, math.log(3.0), -torch.inf], [5.0, 5.0, 5.0]])
    want = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    torch.testing.assert_close(token_kl(p, q), torch.tensor([want, 0.0]))


def test_kl_of_a_model_with_itself_is_zero():
    model = tiny_lm(0)
    np.testing.assert_array_equal(response_kl(model, model, encoded_rows(), 0), np.zeros(4))


def test_kl_against_a_slow_implementation():
    policy, reference = tiny_lm(0), tiny_lm(1)
    got = response_kl(policy, reference, encoded_rows(), 0)
    want = [slow_kl(policy, reference, row) for row in encoded_rows()]
    assert want[2] == 0.0
    assert min(want[0], want[1], want[3]) > 0.1
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_kl_does_not_depend_on_the_padding_or_the_neighbours():
    policy, reference = tiny_lm(0), tiny_lm(1)
    together = response_kl(policy, reference, encoded_rows(), 7)
    alone = [response_kl(policy, reference, [row], 0)[0] for row in encoded_rows()]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-6)


def test_the_estimator_is_unbiased():
    """Over every response of at most two tokens: E_y sum_t KL_t(y) = sum_y p(y) log p(y) / q(y)."""
    policy, reference = tiny_lm(2), tiny_lm(3)
    prompt, eos, size = [3, 5, 4], 1, 17
    responses = [[eos]] + [[v, w] for v in range(size) if v != eos for w in range(size)]

    def log_prob(model, response):
        with torch.no_grad():
            logp_TV = model(torch.tensor([prompt + response])).logits[0].double().log_softmax(-1)
        return sum(float(logp_TV[len(prompt) - 1 + t, token]) for t, token in enumerate(response))

    logp = np.array([log_prob(policy, response) for response in responses])
    logq = np.array([log_prob(reference, response) for response in responses])
    assert np.exp(logp).sum() == pytest.approx(1.0, abs=1e-6)
    per_response = response_kl(policy, reference, [Encoded(prompt, response) for response in responses], 0)
    assert np.exp(logp) @ per_response == pytest.approx(np.exp(logp) @ (logp - logq), rel=1e-4)


def test_token_budget_keeps_large_vocabularies_small():
    assert token_budget(151_936) * 151_936 * 4 <= 2**30
    assert token_budget(100) == 2**14
    assert token_budget(2**30) == 1


# Win rates ------------------------------------------------------------------------------------------------------------


def test_win_rate_by_reward_by_hand():
    got = win_rate_by_reward([3, 1, 2, 5], [1, 2, 2, 4])  # win, loss, tie, win
    assert got["win_rate"] == pytest.approx(2.5 / 4)
    assert (got["wins"], got["ties"], got["losses"]) == (2, 1, 1)
    assert 0.0 <= got["win_rate_low"] <= 2.5 / 4 <= got["win_rate_high"] <= 1.0


def test_the_interval_of_constant_data_is_a_point():
    rate = {"win_rate": 1.0, "win_rate_low": 1.0, "win_rate_high": 1.0}
    assert win_rate_by_reward([2] * 9, [1] * 9) == rate | {"wins": 9, "ties": 0, "losses": 0}


def test_win_rate_by_judge_leaves_the_unjudged_out_and_counts_them():
    z = [0.9, 0.2, 0.5, None, None]
    identical = [False, False, False, False, True]
    got = win_rate_by_judge(z, identical)
    assert got["win_rate"] == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert (got["judged"], got["identical"], got["unjudged"]) == (3, 1, 1)
    assert (got["wins"], got["ties"], got["losses"]) == (1, 2, 1)


def test_nothing_judged_gives_no_rate():
    assert win_rate_by_judge([None, None], [False, False]) == {"judged": 0, "identical": 0, "unjudged": 2}


def test_mean_and_error():
    assert mean_and_error([1.0, 3.0]) == (2.0, pytest.approx(1.0))  # s = sqrt(2), over sqrt(2)
    assert math.isnan(mean_and_error([1.0])[1])


# The judge ------------------------------------------------------------------------------------------------------------


def judgment(z_ab, z_ba, label, a="x", b="yy", prompt="q"):
    z = None if z_ab is None else (z_ab + z_ba) / 2
    reason = "no verdict" if z is None else None
    return Judgment(Pair(prompt, a, b, label=label), z=z, reason=reason, z_ab=z_ab, z_ba=z_ba)


def test_agreement_by_hand():
    got = assess_judgments(
        [
            judgment(0.9, 0.7, "a"),  # right
            judgment(0.8, 0.4, "a"),  # right; the orders disagree
            judgment(0.7, 0.5, "b"),  # wrong; a tie in one order
            judgment(0.6, 0.4, "b"),  # z is a tie: half
            judgment(0.9, 0.9, "tie"),
            judgment(0.2, 0.2, None),
            judgment(None, None, "a"),
        ]
    )
    assert got["truth"] == "label"
    assert (got["pairs"], got["unjudged"], got["unlabelled"], got["tied"], got["measured"]) == (7, 1, 1, 1, 4)
    assert got["reasons"] == {"no verdict": 1}
    assert got["agreement"] == pytest.approx(2.5 / 4)
    # order ab alone: right, right, wrong, wrong; order ba alone: right, wrong, half, right
    assert got["agreement_single_order"] == pytest.approx((2 / 4 + 2.5 / 4) / 2)
    assert got["position_consistency"] == pytest.approx(3 / 6)  # the first, the tie and the unlabelled one
    assert got["order_consistency"] == got["position_consistency"]  # its old name
    z_ab, z_ba = [0.9, 0.8, 0.7, 0.6, 0.9, 0.2], [0.7, 0.4, 0.5, 0.4, 0.9, 0.2]
    assert got["first_rate"] == pytest.approx((sum(z_ab) + sum(1 - z for z in z_ba)) / 12)
    assert got["brier"] == pytest.approx((0.2**2 + 0.4**2 + 0.6**2 + 0.5**2) / 4)
    assert sum(point["n"] for point in got["reliability"]) == 4
    # b is the longer: judge z of 0.8, 0.6, 0.6, 0.5, 0.9, 0.2; truth a, a, b, b
    assert got["longer_wins"] == {"judge": pytest.approx(1.5 / 6), "truth": pytest.approx(2 / 4)}


def test_gold_goes_before_labels():
    rows = [judgment(0.9, 0.9, "b", a="soap", b="rope"), judgment(0.9, 0.9, "b", a="rope", b="rope rope")]
    got = assess_judgments(rows, count_soap)
    assert (got["truth"], got["agreement"], got["tied"], got["measured"]) == ("gold", 1.0, 1, 1)
    assert assess_judgments(rows)["agreement"] == 0.0


def test_without_a_truth_only_the_orders_are_assessed():
    got = assess_judgments([judgment(0.9, 0.7, None)])
    assert got["truth"] is None
    assert "agreement" not in got
    assert "ece" not in got
    assert got["position_consistency"] == 1.0


def test_all_unjudged_gives_counts_and_no_number():
    got = assess_judgments([judgment(None, None, "a")] * 3)
    assert (got["pairs"], got["unjudged"], got["measured"]) == (3, 3, 0)
    assert not {"agreement", "first_rate", "position_consistency", "ece", "longer_wins"} & got.keys()


one_judgment = st.builds(
    judgment,
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(["a", "b", "tie", None]),
    a=st.text("x", max_size=4),
    b=st.text("y", max_size=4),
)


@given(st.lists(st.one_of(one_judgment, st.just(judgment(None, None, "b"))), max_size=12))
def test_which_response_is_called_a_changes_nothing(judgments):
    here = assess_judgments(judgments, samples=5)
    there = assess_judgments([j.swap() for j in judgments], samples=5)
    assert here.keys() == there.keys()
    for name, value in here.items():
        if isinstance(value, float):
            assert there[name] == pytest.approx(value, abs=1e-8, nan_ok=True), name
        elif name not in ("reliability", "longer_wins"):
            assert there[name] == value, name


def test_longer_wins_by_hand():
    assert longer_wins([0.9, 0.1, 0.5, 0.9], [5, 5, 5, 3], [2, 2, 2, 3]) == pytest.approx((1 + 0 + 0.5) / 3)
    assert math.isnan(longer_wins([0.9], [3], [3]))
    assert longer([5, 2, 3], [2, 5, 3]).tolist() == [1.0, 0.0, 0.5]


def test_ties_are_counted_and_in_no_number():
    p, y = np.array([0.9, 0.3, 0.6, 0.2]), np.array([1.0, 1.0, 0.5, 0.5])
    got, untied = against(p, y), against(p[:2], y[:2])
    assert (got["tied"], got["measured"]) == (2, 2)
    assert (got["accuracy"], got["brier"]) == (0.5, pytest.approx((0.1**2 + 0.7**2) / 2))
    assert got == untied | {"tied": 2}
    assert against(p[2:], y[2:]) == {"tied": 2, "measured": 0}


def test_wilson_interval():
    # Newcombe (1998), table I: 81 of 263 is 0.2553 to 0.3662.
    assert wilson(81 / 263, 263) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert wilson(1.0, 5)[1] == 1.0
    assert wilson(0.0, 5)[0] == 0.0


def test_reliability_turns_every_pair_to_its_confident_side():
    (point,) = reliability([0.2, 0.8], [0, 0], bins=1)
    assert (point["p"], point["y"], point["n"]) == (pytest.approx(0.8), 0.5, 2)


def test_truth_of():
    pair = Pair("q", "soap", "rope", label="b")
    assert truth_of(pair) == 0.0
    assert truth_of(pair, count_soap) == 1.0
    assert truth_of(Pair("q", "soap", "rope")) is None
    assert truth_of(Pair("q", "soap", "x soap"), count_soap) == 0.5


# The reward model -----------------------------------------------------------------------------------------------------


def reward_numbers(truths, truth, **more):
    return assess_reward_model(
        [2.0, 0.0, 1.0, 3.0, math.nan], [1.0, 1.0, 1.0, 0.0, 0.0], [0.9, 0.8, 0.7, 0.6, 0.9], truths,
        [2, 2, 2, 1, 9], [1, 1, 1, 2, 1], truth=truth, **more,
    )  # fmt: skip


def test_reward_model_by_hand():
    got = reward_numbers([1.0, 0.0, 1.0, 0.5, 1.0], "gold")
    assert (got["pairs"], got["unscored"], got["tied"], got["measured"]) == (5, 1, 1, 3)
    assert got["accuracy_by"] == "gold"
    assert got["accuracy"] == pytest.approx((1 + 1 + 0.5) / 3)  # right, right, equal scores
    assert got["accuracy_judge"] == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    p = 1 / (1 + np.exp(-np.array([1.0, -1.0, 0.0, 3.0])))
    z = np.array([0.9, 0.8, 0.7, 0.6])
    assert got["soft_nll"] == pytest.approx(float(-(z * np.log(p) + (1 - z) * np.log(1 - p)).mean()))
    assert got["soft_nll_floor"] <= got["soft_nll"]
    assert got["brier"] == pytest.approx(((p[0] - 1) ** 2 + p[1] ** 2 + (0.5 - 1) ** 2) / 3)
    assert got["longer_wins"] == {
        "reward_model": pytest.approx(1.5 / 3),
        "judge": 1.0,
        "truth": pytest.approx(2 / 3),
    }


def test_reward_model_temperature_softens_p():
    sharp, soft = (reward_numbers([1.0] * 5, "label", temperature=t) for t in (1.0, 4.0))
    assert soft["accuracy"] == sharp["accuracy"]
    assert soft["brier"] != sharp["brier"]


def test_the_judges_choice_is_the_side_that_z_is_on():
    """Preferences of another source may have z below 0.5, where the judge prefers the rejected response, or at it."""
    got = assess_reward_model(
        [2.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 3.0], [0.9, 0.2, 0.3, 0.5], [None] * 4, [1] * 4, [2] * 4, truth=None
    )
    assert got["accuracy_judge"] == got["accuracy"] == pytest.approx(2 / 3)  # right, right, wrong; the tie has no side
    assert (got["tied"], got["measured"]) == (1, 3)


def test_reward_model_without_truth_is_held_against_the_judge():
    got = reward_numbers([None] * 5, None)
    assert (got["accuracy_by"], got["measured"], got["unlabelled"]) == ("judge", 4, 0)
    assert got["accuracy"] == got["accuracy_judge"]
    assert "truth" not in got["longer_wins"]


# The whole command ----------------------------------------------------------------------------------------------------

PROMPTS = [f"please bring {a} and {b}" for a in ("soap", "rope", "bread") for b in ("soap", "thanks", "you", "no")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two policies, a reward model, preferences, judgments and prompts on disk."""
    folder = tmp_path_factory.mktemp("world")
    save_lm(folder / "sft", 0)
    save_lm(folder / "dpo", 1)
    save_reward_model(folder / "rm", 2)
    write_jsonl(folder / "prompts.jsonl", ({"prompt": prompt} for prompt in PROMPTS))
    rows = [
        {"prompt": prompt, "chosen": "here is soap", "rejected": "no", "z": 0.9, "label": "chosen"}
        for prompt in PROMPTS
    ]
    write_jsonl(folder / "preferences.jsonl", rows)
    judged = [
        judgment(0.9, 0.7, "a", a="soap", b="no"),
        judgment(0.9, 0.3, "b", a="soap soap", b="rope"),
        judgment(None, None, "a"),
    ]
    (folder / "judged").mkdir()
    write_jsonl(folder / "judged" / "judgments.jsonl", (j.row() for j in judged))
    (folder / "stage").mkdir()
    (folder / "stage" / "report.json").write_text('{"seconds": 12.5}')
    return folder


def config_of(world: Path, folder: Path, /, **changes) -> EvaluateConfig:
    settings = {
        "output": str(folder),
        "policies": [f"sft={world}/sft", f"dpo={world}/dpo"],
        "prompts": f"{world}/prompts.jsonl",
        "gold": f"{__name__}:count_soap",
        "max_new_tokens": 12,
        "bootstrap_samples": 50,
    }
    return EvaluateConfig(**(settings | changes))


@pytest.fixture(scope="module")
def everything(world, tmp_path_factory):
    """The report of a run with every input, and its folder."""
    output = tmp_path_factory.mktemp("everything")
    report = evaluate(
        config_of(
            world,
            output,
            judge="scripted",
            judge_model=f"{__name__}:prefers_soap",
            reward_model=f"{world}/rm",
            preferences=f"{world}/preferences.jsonl",
            judgments=f"{world}/judged",
            stages=[f"judge={world}/stage"],
        )
    )
    return report, output


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Plots are drawn in `everything`, which comes before; of the others only the files are there."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda self, path, **_: Path(path).write_bytes(b"undrawn"))


def test_report_numbers_follow_from_the_responses(everything):
    report, output = everything
    rows = [json.loads(line) for line in (output / "responses.jsonl").read_text().splitlines()]
    by = {name: [row for row in rows if row["policy"] == name] for name in ("sft", "dpo")}
    assert [row["prompt"] for row in by["dpo"]] == PROMPTS
    for name, mine in by.items():
        numbers = report["policies"][name]
        assert all(row["gold"] == count_soap(row["prompt"], row["response"]) for row in mine)
        for column, number in (("gold", "gold_reward"), ("reward", "reward"), ("kl", "kl"), ("tokens", "length")):
            assert numbers[number] == pytest.approx(np.mean([row[column] for row in mine])), number
        assert numbers["no_eos"] == np.mean([not row["ended"] for row in mine])
    wins = [0.5 * (1 + np.sign(d["gold"] - s["gold"])) for d, s in zip(by["dpo"], by["sft"], strict=True)]
    dpo = report["policies"]["dpo"]
    assert (dpo["win_rate"], dpo["win_rate_by"]) == (pytest.approx(np.mean(wins)), "gold")
    assert dpo["win_rate_low"] <= dpo["win_rate"] <= dpo["win_rate_high"]
    judged = [row["z"] for row in by["dpo"] if row.get("z") is not None]
    assert dpo["judge"]["judged"] == len(judged)
    assert dpo["judge"]["agreement"] == 1.0  # the judge looks at what gold counts, and the orders cancel its bias
    assert dpo["judge"]["first_rate"] == pytest.approx(0.6)
    both = [row for row in by["dpo"] if row.get("z") is not None]
    same = [np.sign(row["z_ab"] - 0.5) == np.sign(row["z_ba"] - 0.5) for row in both]
    assert dpo["judge"]["position_consistency"] == dpo["judge"]["order_consistency"] == np.mean(same)
    assert [dpo[name] for name in ("wins", "ties", "losses")] == [wins.count(value) for value in (1.0, 0.5, 0.0)]
    assert sum(dpo["judge"][name] for name in ("wins", "ties", "losses")) == len(PROMPTS) - dpo["judge"]["unjudged"]


def test_the_baseline_ties_with_itself(everything):
    """So that a reader of report.json finds the same keys under every policy."""
    report, _ = everything
    sft, dpo = report["policies"]["sft"], report["policies"]["dpo"]
    for row in (sft, sft["judge"]):
        assert [row[name] for name in ("win_rate", "win_rate_low", "win_rate_high")] == [0.5, 0.5, 0.5]
        assert (row["wins"], row["ties"], row["losses"]) == (0, len(PROMPTS), 0)
    assert (sft["judge"]["judged"], sft["judge"]["identical"], sft["judge"]["unjudged"]) == (0, len(PROMPTS), 0)
    assert sft["win_rate_by"] == "gold"
    assert set(dpo) == set(sft)


def test_kl_of_the_report_is_that_of_the_responses(everything, world):
    report, output = everything
    assert report["policies"]["sft"]["kl"] == 0.0
    tokenizer, rendering = tiny_tokenizer(), Rendering.of(tiny_tokenizer())
    policy, reference = (LlamaForCausalLM.from_pretrained(world / name).eval() for name in ("dpo", "sft"))
    retokenized = 0
    for line in (output / "responses.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["policy"] == "dpo":
            encoded = rendering.encode(tokenizer, row["prompt"], row["response"])
            if not row["ended"]:
                encoded = Encoded(encoded.prompt_ids, encoded.response_ids[:-1])
            assert row["kl"] == pytest.approx(slow_kl(policy, reference, encoded), rel=1e-3, abs=1e-5)
            retokenized += len(encoded.response_ids) != row["tokens"]
    assert report["policies"]["dpo"]["kl_retokenized"] == retokenized


def test_sections_of_judge_reward_model_and_seconds(everything):
    report, _ = everything
    assert (report["judge"]["truth"], report["judge"]["agreement"]) == ("gold", 1.0)
    assert (report["judge"]["pairs"], report["judge"]["unjudged"]) == (3, 1)
    assert report["reward_model"]["accuracy_by"] == "gold"
    assert report["reward_model"]["pairs"] == len(PROMPTS)
    assert 0.0 <= report["reward_model"]["accuracy"] <= 1.0
    assert report["seconds"]["judge"] == 12.5
    # Since this process started: more than the call alone has taken.
    assert 0 < report["seconds"]["evaluate"] <= round(elapsed(), 1)


def test_files_are_complete_and_hold_no_nan(everything):
    report, output = everything
    text = (output / "report.json").read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"report.json holds {word}"))
    assert json.loads(text)["policies"]["dpo"]["kl"] == report["policies"]["dpo"]["kl"]
    page = (output / "report.md").read_text()
    for word in ("`sft`", "`dpo`", "## Judge", "## Reward model", "## Time", "## Responses side by side"):
        assert word in page
    for name in ("win_rates", "reward_kl", "judge_calibration", "reward_calibration"):
        assert (output / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"({name}.png)" in page
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["command"] == "rlaif evaluate"
    assert manifest["config"]["max_new_tokens"] == 12


def test_a_second_run_asks_and_samples_nothing_again(world, tmp_path):
    config = config_of(world, tmp_path, judge="scripted", judge_model=f"{__name__}:prefers_soap")
    first = evaluate(config)
    replies = sorted(path.read_bytes() for path in tmp_path.glob("replies/*.jsonl"))
    second = evaluate(config)
    assert replies == sorted(path.read_bytes() for path in tmp_path.glob("replies/*.jsonl"))
    assert len(replies) == 3  # of each policy, and of the judge
    assert first["policies"] == second["policies"]
    assert not (tmp_path / ".in-use").exists()


def test_the_manifest_says_how_the_judge_was_asked(world, tmp_path):
    """A judge's YAML file: what is in it and what it leaves out are both in the manifest, where `publish` looks."""
    (tmp_path / "judge.yaml").write_text(f"model: {__name__}:prefers_soap\norders: ab\n")
    report = evaluate(config_of(world, tmp_path / "out", judge=str(tmp_path / "judge.yaml")))
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())["config"]
    said = {name: written[name] for name in ("judge", "judge_model", "template", "orders", "samples", "combine")}
    assert said == {
        "judge": "scripted",
        "judge_model": f"{__name__}:prefers_soap",
        "template": "compact",
        "orders": "ab",
        "samples": 1,
        "combine": "mean",
    }
    judge = report["policies"]["dpo"]["judge"]
    assert "position_consistency" not in judge  # one order says nothing of it
    assert judge["first_rate"] > 0.3
    rows = [json.loads(line) for line in (tmp_path / "out" / "responses.jsonl").read_text().splitlines()]
    assert all(row["z_ba"] is None for row in rows if row.get("z") is not None)

    alone = evaluate(config_of(world, tmp_path / "alone"))
    assert json.loads((tmp_path / "alone" / "manifest.json").read_text())["config"]["judge_model"] is None
    assert "judge" not in alone["policies"]["dpo"]


def test_two_commands_in_one_folder_are_kept_apart(world, tmp_path):
    from rlaif.files.occupied import occupied

    with occupied(tmp_path, "rlaif sample"), pytest.raises(ValueError, match="in use by another command"):
        evaluate(config_of(world, tmp_path))
    assert not (tmp_path / "replies").exists()


def test_without_gold_the_win_rate_is_the_judges(world, tmp_path):
    report = evaluate(
        config_of(world, tmp_path, gold=None, judge="scripted", judge_model="rlaif.models.function:longer")
    )
    dpo = report["policies"]["dpo"]
    assert dpo["win_rate_by"] == "judge"
    assert all(dpo[name] == dpo["judge"][name] for name in ("win_rate", "wins", "ties", "losses"))
    sft = report["policies"]["sft"]
    assert (sft["win_rate"], sft["win_rate_by"], sft["ties"]) == (0.5, "judge", len(PROMPTS))
    assert "gold_reward" not in dpo
    assert not (tmp_path / "judge_calibration.png").exists()


def test_greedy_is_deterministic_and_the_same_policy_twice_ties(world, tmp_path):
    policies = [f"one={world}/sft", f"two={world}/sft"]
    report = evaluate(
        config_of(
            world,
            tmp_path,
            policies=policies,
            policy_temperature=0.0,
            judge="scripted",
            judge_model=f"{__name__}:prefers_soap",
        )
    )
    two = report["policies"]["two"]
    assert (two["win_rate"], two["win_rate_low"], two["win_rate_high"], two["kl"]) == (0.5, 0.5, 0.5, 0.0)
    assert two["judge"]["identical"] == len(PROMPTS)
    assert two["judge"]["win_rate"] == 0.5


def test_two_trained_policies_are_held_against_each_other(world, tmp_path):
    """The third policy is another one: its differences to the second follow from the responses, prompt by prompt."""
    save_lm(tmp_path / "ppo", 5)
    names = ("sft", "dpo", "ppo")
    policies = [f"sft={world}/sft", f"dpo={world}/dpo", f"ppo={tmp_path}/ppo"]
    report = evaluate(config_of(world, tmp_path / "out", policies=policies, reward_model=f"{world}/rm"))
    rows = [json.loads(line) for line in (tmp_path / "out" / "responses.jsonl").read_text().splitlines()]
    by = {name: [row for row in rows if row["policy"] == name] for name in names}
    (row,) = report["comparisons"]
    assert (row["policy"], row["other"]) == ("ppo", "dpo")
    for column, number in (("gold", "gold_reward"), ("reward", "reward"), ("kl", "kl"), ("tokens", "length")):
        d = np.array([p[column] - q[column] for p, q in zip(by["ppo"], by["dpo"], strict=True)])
        assert row[number] == pytest.approx(d.mean()), number
        assert row[f"{number}_se"] == pytest.approx(math.sqrt(np.sum((d - d.mean()) ** 2) / (len(d) - 1) / len(d)))
        assert row[number] == pytest.approx(report["policies"]["ppo"][number] - report["policies"]["dpo"][number])
    wins = sum(p["gold"] > q["gold"] for p, q in zip(by["ppo"], by["dpo"], strict=True))
    assert row["wins"] == wins
    page = (tmp_path / "out" / "report.md").read_text()
    assert "| `ppo` − `dpo` |" in page
    assert "| prompt | `sft` | `dpo` | `ppo` |" in page


def test_one_trained_policy_has_no_other_to_be_held_against(everything):
    report, output = everything
    assert "comparisons" not in report
    assert "Against each other" not in (output / "report.md").read_text()


def test_reference_may_be_no_policy_of_the_comparison(world, tmp_path):
    report = evaluate(config_of(world, tmp_path, policies=[f"dpo={world}/dpo"], reference=f"{world}/sft"))
    assert report["policies"]["dpo"]["kl"] > 0
    assert report["reference"] == f"{world}/sft"


def test_another_tokenizer_has_no_kl_and_the_page_says_why(world, tmp_path):
    other = save_lm(tmp_path / "other", 3, extra=("more", "words"))
    report = evaluate(config_of(world, tmp_path / "out", policies=[f"sft={world}/sft", f"other={other}"]))
    assert "kl" not in report["policies"]["other"]
    assert "vocabularies of 19 and 17" in (tmp_path / "out" / "report.md").read_text()


def test_a_prompt_that_is_too_long_is_left_out_for_all_and_counted(world, tmp_path):
    write_jsonl(tmp_path / "p.jsonl", ({"prompt": p} for p in [PROMPTS[0], "soap " * 100, PROMPTS[1]]))
    report = evaluate(config_of(world, tmp_path / "out", prompts=str(tmp_path / "p.jsonl")))
    assert (report["prompts"]["count"], report["prompts"]["too_long"]) == (2, 1)
    assert "1 prompt was left out" in (tmp_path / "out" / "report.md").read_text()


def test_what_became_of_the_rows_of_each_source_is_in_the_report(world, tmp_path):
    """Ties of preferences without z, bad rows, repeated prompts, unjudged pairs: by source, and none of them twice."""
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[0], 5, PROMPTS[2], "soap " * 100]
    write_jsonl(tmp_path / "p.jsonl", ({"prompt": p} for p in prompts))
    pair = {"prompt": PROMPTS[0], "chosen": "here is soap", "rejected": "no"}
    scored = [{**pair, "score_chosen": 2, "score_rejected": low} for low in (1, 2, 1)]
    write_jsonl(tmp_path / "preferences.jsonl", [*scored, {**pair, "chosen": 5}])
    files = {"prompts": f"{tmp_path}/p.jsonl", "preferences": f"{tmp_path}/preferences.jsonl"}
    more = {"reward_model": f"{world}/rm", "judgments": f"{world}/judged", "limit": 3, "on_bad_row": "skip"}
    report = evaluate(config_of(world, tmp_path / "out", policies=[f"sft={world}/sft"], **files, **more))
    assert report["ledgers"] == {
        "prompts": {"read": 6, "used": 3, "left_out": {"prompt stood before": 1, "beyond limit": 1, "bad rows": 1}},
        "judgments": {"read": 3, "used": 2, "left_out": {"no verdict": 1}},
        "preferences": {"read": 4, "used": 2, "left_out": {"a tie": 1, "bad rows": 1}},
    }
    places = [row["place"].rpartition("/")[2] for row in rows_of(tmp_path / "out/bad_rows.jsonl")]
    assert places == ["p.jsonl:4", "preferences.jsonl:4"]
    page = (tmp_path / "out/report.md").read_text()
    assert "Of 4 preferences that were read, others were left out (a tie 1; bad rows 1)." in page


def test_responses_carry_what_their_prompts_say_and_equal_ones_are_scored_once(world, tmp_path, monkeypatch, capsys):
    """Two policies of the same weights; a prompt that is too long in front, and one that stands twice."""
    rows = [{"prompt": p, "id": f"q{at}", "reward": 7} for at, p in enumerate(["soap " * 100, *PROMPTS[:3]])]
    source = tmp_path / "p.jsonl"
    write_jsonl(source, [*rows, {**rows[1], "id": "again"}])
    pair = {"prompt": PROMPTS[0], "chosen": "here is soap", "rejected": "no"}
    write_jsonl(tmp_path / "preferences.jsonl", [pair, {**pair, "rejected": "no thanks"}])
    scored, score = [], RewardModel.score

    def counted(self, *args, **more):
        found = score(self, *args, **more)
        scored.append(self.distinct)
        return found

    monkeypatch.setattr(RewardModel, "score", counted)
    files = {"prompts": str(source), "preferences": f"{tmp_path}/preferences.jsonl", "reward_model": f"{world}/rm"}
    twins = [f"sft={world}/sft", f"twin={world}/sft"]
    report = evaluate(config_of(world, tmp_path / "out", policies=twins, policy_temperature=0.0, **files))
    found = rows_of(tmp_path / "out/responses.jsonl")
    assert [(row["policy"], row["id"], row["source_reward"], row["place"]) for row in found] == [
        (name, f"q{at}", 7, f"{source}:{at + 1}") for at in (1, 2, 3) for name in ("sft", "twin")
    ]
    said = capsys.readouterr().err
    assert "1 of 1 rows with a prompt that stood before have other columns than its first row" in said
    conversations = {(row["prompt"], row["response"]) for row in found}
    conversations |= {(PROMPTS[0], text) for text in ("here is soap", "no", "no thanks")}
    assert scored == [len(conversations)]
    model = RewardModel.load(world / "rm")
    rewards = model.score([row["prompt"] for row in found], [row["response"] for row in found]) - model.zero
    assert [row["reward"] for row in found] == pytest.approx(rewards, abs=1e-5)
    assert report["reward_model"]["pairs"] == 2


# Bad input ------------------------------------------------------------------------------------------------------------


def bad(world: Path, tmp_path: Path) -> dict[str, tuple[dict[str, object], str]]:
    """Changes to a good configuration, and what the error says."""
    (tmp_path / "bare").mkdir()
    tiny_lm(0).save_pretrained(tmp_path / "bare")
    (tmp_path / "unlabelled").mkdir()
    row = judgment(0.9, 0.7, None).row()
    write_jsonl(tmp_path / "unlabelled" / "judgments.jsonl", [row])
    sft = f"sft={world}/sft"
    return {
        "twice": ({"policies": [sft, f"sft={world}/dpo"]}, "has the name 'sft' twice"),
        "nameless": ({"policies": [f"{world}/sft"]}, "expected name=value"),
        "no tokenizer": ({"policies": [sft, f"bare={tmp_path}/bare"]}, "holds no tokenizer"),
        "gold's form": ({"gold": "rlaif.sandbox"}, "names no function; expected 'package.module:function'"),
        "gold's module": ({"gold": "no_such_module:f"}, "cannot be imported"),
        "gold's name": ({"gold": "rlaif.sandbox:no_such_function"}, "has no 'no_such_function'"),
        "gold is NaN": ({"gold": f"{__name__}:nan_gold"}, "returned nan"),
        "no truth": ({"gold": None, "judgments": f"{tmp_path}/unlabelled"}, "nothing to hold the judge against"),
        "no stage": ({"stages": [f"judge={tmp_path}"]}, "holds a number `seconds`"),
        "no model to measure": ({"preferences": f"{world}/preferences.jsonl"}, "no reward_model"),
        "no reward model": ({"reward_model": f"{world}/sft"}, "has no rlaif.json"),
        "no judge": ({"judge": "api"}, "judge_model is not set"),
        "nothing to judge": ({"policies": [sft], "judge_model": "x"}, "there is only one"),
        "temperature": ({"policy_temperature": -1.0}, "policy_temperature is -1.0"),
        "limit": ({"limit": 0}, "limit is 0"),
        "no output": ({"output": None}, "output, policies and prompts must be set"),
    }


BAD = (
    "twice", "nameless", "no tokenizer", "gold's form", "gold's module", "gold's name", "gold is NaN", "no truth",
    "no stage", "no reward model", "no judge", "nothing to judge", "no model to measure", "temperature", "limit",
    "no output",
)  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line(world, tmp_path, case):
    cases = bad(world, tmp_path)
    assert set(cases) == set(BAD)
    changes, words = cases[case]
    with pytest.raises(ValueError, match=words) as caught:
        evaluate(config_of(world, tmp_path / "out", **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "report.json").exists()


def test_gold_must_be_a_function_of_numbers():
    with pytest.raises(ValueError, match="is a list; expected a function"):
        load_gold("rlaif.sandbox.world:ITEMS")
    gold = load_gold(f"{__name__}:count_soap")
    assert gold("q", "soap soap") == 2.0


def test_gold_is_asked_once_for_each_response():
    ASKED.clear()
    gold = load_gold(f"{__name__}:counted_gold")
    messages = [{"role": "user", "content": "q"}]
    for _ in range(3):
        assert [gold(prompt, text) for prompt in ("q", messages) for text in ("a", "bb")] == [1.0, 2.0, 1.0, 2.0]
    assert len(ASKED) == 4


# The program ----------------------------------------------------------------------------------------------------------


def arguments(world: Path, output: Path) -> list[str]:
    return [
        "evaluate",
        *("--policies", f"sft={world}/sft", f"dpo={world}/dpo"),
        *("--prompts", f"{world}/prompts.jsonl", "--output", str(output)),
        *("--gold", "test_evaluate:count_soap", "--judge", "scripted"),
        *("--judge_model", "test_evaluate:prefers_soap", "--max_new_tokens", "12", "--batch_tokens", "100"),
    ]


def test_two_processes_give_the_report_of_one(world, tmp_path):
    one = here(*arguments(world, tmp_path / "one"))
    assert one.returncode == 0, one.stderr
    for process in forks.side_by_side(*arguments(world, tmp_path / "two")):
        assert process.returncode == 0, process.stderr
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two")]
    assert reports[0]["policies"] == reports[1]["policies"]
    first, second = ((tmp_path / name / "responses.jsonl").read_bytes() for name in ("one", "two"))
    assert first == second
    # What was asked of each of the two policies, and of the judge, is in a file of its own, of each process.
    files = {name: len(list((tmp_path / name).glob("replies/*.jsonl"))) for name in ("one", "two")}
    assert files == {"one": 3, "two": 6}
