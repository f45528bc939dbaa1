"""rlaif.assess: hand-worked numbers and independent implementations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.evaluation import (
    count_soap,
    judgment,
    slow_kl,
    tiny_lm,
)

from rlaif import metrics
from rlaif.assess.agreement import assess_judgments
from rlaif.assess.calibration import against, reliability
from rlaif.assess.divergence import response_kl, token_budget, token_kl
from rlaif.assess.drawn import wilson
from rlaif.assess.length import longer, longer_wins
from rlaif.assess.rewards import assess_reward_model
from rlaif.assess.truth import truth_of
from rlaif.assess.wins import mean_and_error, mean_row, win_rate_by_judge, win_rate_by_reward
from rlaif.models.rendering import Encoded
from rlaif.records import Pair

# KL -------------------------------------------------------------------------------------------------------------------


def encoded_rows() -> list[Encoded]:
    return [
        Encoded([3, 5, 6, 7, 4], [8, 9, 1]),
        Encoded([3, 4], [10, 11, 12, 13, 14, 1]),
        Encoded([3, 15, 4], []),  # cut before it said anything
        Encoded([3, 16, 5, 6, 7, 8, 9, 10, 4], [2]),
    ]


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
    assert (got["win_rate_low"], got["win_rate_high"]) == (None, None)  # four prompts say nothing of others
    got = win_rate_by_reward([3, 1, 2, 5] * 5, [1, 2, 2, 4] * 5)
    assert 0.3 < got["win_rate_low"] < 2.5 / 4 < got["win_rate_high"] < 0.9


def test_the_interval_of_constant_data_is_none_of_no_width():
    """Ten of ten: the other prompts may hold a loss or two. Where both policies are the same one, nothing can."""
    low, high = wilson(1.0, 10)
    rate = {"win_rate": 1.0, "win_rate_low": low, "win_rate_high": high}
    assert win_rate_by_reward([2] * 10, [1] * 10) == rate | {"wins": 10, "ties": 0, "losses": 0}
    assert 0.69 < low < 0.75
    same = win_rate_by_reward([2] * 10, [2] * 10)
    assert (same["win_rate_low"], same["win_rate_high"]) == (0.5, 0.5)


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


def scored_p(scores_chosen, scores_rejected):
    return metrics.sigmoid(np.array(scores_chosen) - np.array(scores_rejected))


def test_reward_model_by_hand():
    p = scored_p([2.0, 0.0, 1.0, 3.0, math.nan], [1.0, 1.0, 1.0, 0.0, 0.0])
    z, lengths = [0.9, 0.8, 0.7, 0.5, 0.9], ([2, 2, 2, 1, 9], [1, 1, 1, 2, 1])
    labels = ["chosen", "rejected", "tie", None, "chosen"]
    got = assess_reward_model(p, z, labels, None, *lengths, gold=[1.0, 0.0, 1.0, 0.5, 1.0], refused=1)
    assert (got["pairs"], got["unscored"], got["refused"]) == (5, 1, 1)
    by_z, by_label, by_gold = (got[f"against_{name}"] for name in ("z", "label", "gold"))
    counts = [(s["pairs"], s["tied"], s["measured"]) for s in (by_z, by_label, by_gold)]
    assert counts == [(4, 1, 3), (3, 1, 2), (4, 1, 3)]
    assert by_z["accuracy"] == pytest.approx((1 + 0 + 0.5) / 3)  # right, wrong, equal scores
    assert by_label["accuracy"] == 1.0
    assert by_gold["accuracy"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert by_z["brier"] == pytest.approx(((p[0] - 0.9) ** 2 + (p[1] - 0.8) ** 2 + (0.5 - 0.7) ** 2) / 3)
    assert by_gold["brier"] == pytest.approx(((p[0] - 1) ** 2 + p[1] ** 2 + (0.5 - 1) ** 2) / 3)
    # What always saying 0.5 gets depends on the reference: 0.25 against sides, less against a soft z.
    assert by_gold["brier_of_half"] == 0.25
    assert by_z["brier_of_half"] == pytest.approx((0.4**2 + 0.3**2 + 0.2**2) / 3)
    # A tie is in the NLL, where 0.5 is as good a target as any, and in nothing else.
    assert by_label["soft_nll"] == pytest.approx(-(np.log(p[0]) + np.log(1 - p[1]) + np.log(0.5)) / 3)
    assert by_label["soft_nll_floor"] == pytest.approx(np.log(2) / 3)
    assert by_z["soft_nll_floor"] <= by_z["soft_nll"]
    assert by_gold["longer_wins"] == {"model": pytest.approx(1.5 / 3), "reference": pytest.approx(2 / 3)}
    assert by_z["longer_wins"]["reference"] == 1.0
    longer = by_gold["baselines"]["longer_wins"]  # says chosen, chosen, chosen
    assert (longer["accuracy"], longer["difference"]) == (pytest.approx(2 / 3), pytest.approx(2.5 / 3 - 2 / 3))
    assert (longer["difference_low"], by_gold["drawn"]["over"]) == (None, None)  # too few to say


def test_a_reference_that_is_not_there_is_none():
    one = ([0.9, 0.2], [0.8, 0.7])
    got = assess_reward_model(*one, [None, None], None, [1, 1], [2, 2])
    assert got["against_label"] is got["against_gold"] is None
    assert got["against_z"]["measured"] == 2
    tied = assess_reward_model(*one, ["tie", "tie"], None, [1, 1], [2, 2])["against_label"]
    assert (tied["tied"], tied["measured"]) == (2, 0)
    assert "accuracy" not in tied
    nothing = assess_reward_model([math.nan] * 2, [0.9, 0.2], ["chosen"] * 2, None, [1, 1], [2, 2])
    assert (nothing["unscored"], nothing["against_z"], nothing["against_label"]) == (2, None, None)


def test_the_judges_choice_is_the_side_that_z_is_on():
    """Preferences of another source may have z below 0.5, where the judge prefers the rejected response, or at it."""
    p = scored_p([2.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 3.0])
    got = assess_reward_model(p, [0.9, 0.2, 0.3, 0.5], [None] * 4, None, [1] * 4, [2] * 4)["against_z"]
    assert got["accuracy"] == pytest.approx(2 / 3)  # right, right, wrong; the tie has no side
    assert (got["tied"], got["measured"]) == (1, 3)


def test_a_difference_draws_both_answers_to_a_pair_together():
    """Right on the same pairs but for twenty: apart, the two intervals overlap; in pairs there is no doubt."""
    y = np.ones(200)
    p = np.where(np.arange(200) < 140, 0.9, 0.1)
    q = np.where(np.arange(200) < 120, 0.6, 0.4)  # 20 fewer, all of them pairs that p has right

    def difference(p, q):
        row = against(p, y, baselines={"other": q})["baselines"]["other"]
        return [row[f"difference{end}"] for end in ("", "_low", "_high")]

    # A share of 20 in 200: 0.1 +- 1.96 sqrt(0.1 * 0.9 / 200). Unpaired it would be +- 0.093.
    half = 1.96 * math.sqrt(0.1 * 0.9 / 200)
    assert difference(p, q) == pytest.approx([0.1, 0.1 - half, 0.1 + half], abs=0.01)
    assert difference(p, p) == [0.0, 0.0, 0.0]


def test_a_mean_has_students_interval_and_none_of_few_values():
    values = np.arange(10.0)
    row = mean_row("kl", values)
    half = 2.2621572 * values.std(ddof=1) / math.sqrt(10)  # t of 9 degrees of freedom, 97.5 %
    assert (row["kl"], row["kl_se"]) == pytest.approx((4.5, values.std(ddof=1) / math.sqrt(10)))
    assert (row["kl_low"], row["kl_high"]) == pytest.approx((4.5 - half, 4.5 + half))
    assert mean_row("kl", np.ones(9)) == {"kl": 1.0, "kl_se": 0.0, "kl_low": None, "kl_high": None}
    many = mean_row("kl", np.tile([0.0, 1.0], 1000))
    assert many["kl_high"] - 0.5 == pytest.approx(1.96 * many["kl_se"], rel=1e-4)
