"""Intervals over what was drawn: their definitions, done slowly, and how often they cover on planted designs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from rlaif import metrics
from rlaif.assess import drawn
from rlaif.assess.drawn import MIN_UNITS, Drawn, Ece, Mean, PairKeys, intervals, keys_of, wilson

SHARE = (0.0, 1.0)


def robin(responses: int, prompt: int = 0) -> list[tuple[int, int, int]]:
    """Every response to a prompt against every other."""
    return [(prompt, 1000 * prompt + a, 1000 * prompt + b) for a, b in itertools.combinations(range(responses), 2)]


def apart(n: int, prompts: int) -> np.ndarray:
    """Pairs of responses that are in no other pair, of so many prompts in turn."""
    i = np.arange(n)
    return np.stack([i % prompts, 2 * i, 2 * i + 1], axis=1)


# ------------------------------------------------------------------------------------------------- what is drawn


def test_keys_are_equal_where_prompt_and_text_are():
    one = keys_of("q", "x", "y")
    assert keys_of([{"role": "user", "content": "q"}], "y", "x") == (one[0], one[2], one[1])
    assert len({*one, *keys_of("p", "x", "y")}) == 6  # the same text to another prompt is another response
    assert PairKeys.of(["q"], ["x"], ["y"]).array.tolist() == [list(one)]
    assert PairKeys().array.shape == (0, 3)


def test_prompts_are_drawn_where_there_are_enough_then_responses_then_nothing():
    many = Drawn.pairs(apart(60, 20))
    assert many.row() == {"over": "prompts", "prompts": 20, "responses": 120, "effective": 20.0}
    few = Drawn.pairs([*robin(12), *robin(12, 1)])
    assert few.row() == {"over": "responses", "prompts": 2, "responses": 24, "effective": 24.0}
    lone = Drawn.pairs(apart(60, 2))  # no response recurs: every pair was drawn by itself
    assert lone.row() == {"over": "responses", "prompts": 2, "responses": 120, "effective": 60.0}
    none = Drawn.pairs(robin(MIN_UNITS - 1))
    assert (none.over, none.effective) == (None, MIN_UNITS - 1)
    assert none.row()["why"].startswith("too few prompts, and responses to them, were drawn")
    assert intervals([Mean(np.ones(len(none)))], none) == [(None, None)]


def test_one_response_in_every_pair_is_one_unit():
    """How another than it would do, no number of pairs with it can say."""
    star = Drawn.pairs([(0, 7, 100 + i) for i in range(500)])
    assert (star.over, star.effective) == (None, 1.0)
    # Prompts of very unequal weight are few too.
    uneven = Drawn.clusters([0] * 1000 + list(range(1, 20)))
    assert uneven.over is None
    assert uneven.effective == pytest.approx(1019**2 / (1000**2 + 19))


def test_nothing_measured_has_no_interval():
    assert Drawn.pairs(np.zeros((0, 3))).over is None
    assert intervals([Mean([])], Drawn.rows(0)) == [(None, None)]


@pytest.mark.parametrize("keys", [robin(11), apart(40, 2), [*robin(12), *apart(9, 1)[:, [0, 1, 2]] + [0, 5000, 5000]]])
def test_neither_the_order_of_rows_nor_of_responses_matters(keys):
    keys = np.array(keys)
    rng = np.random.default_rng(0)
    values, moved = rng.normal(size=len(keys)), rng.permutation(len(keys))
    (here,) = intervals([Mean(values)], Drawn.pairs(keys), samples=50)
    (swapped,) = intervals([Mean(values)], Drawn.pairs(keys[:, [0, 2, 1]]), samples=50)
    assert here == pytest.approx(swapped)
    there = Drawn.pairs(keys[moved])
    assert there.variance(values[moved] - values.mean()) == pytest.approx(
        Drawn.pairs(keys).variance(values - values.mean())
    )


# --------------------------------------------------------------------------------------------------- definitions


def test_a_pair_is_drawn_as_often_as_the_product_of_its_responses():
    keys = np.array(robin(12))
    for weight in Drawn.pairs(keys).weights(20, seed=3):
        times = {}  # of the pairs that hold 0, 1 and 2, say, the products give each number up to a common sign
        for (_, a, b), w in zip(keys.tolist(), weight, strict=True):
            times[a, b] = w
        assert times[0, 1] * times[2, 3] == times[0, 2] * times[1, 3] == times[0, 3] * times[1, 2]


def test_the_variance_is_the_dyadic_one():
    """Equation 5 of Aronow, Samii and Assenova by a double loop, the residuals' factor aside."""
    rng = np.random.default_rng(1)
    keys = np.array([(0, a, b) for _, a, b in robin(14) if rng.random() < 0.7] + [(0, 500, 501), (0, 1, 502)])
    e = rng.normal(size=len(keys)) + 0.5 * np.array([math.sin(a) + math.sin(b) for _, a, b in keys])
    e -= e.mean()
    units = Drawn.pairs(keys)
    expected = sum(
        e[i] * e[j] for i, j in itertools.product(range(len(e)), repeat=2) if {*keys[i, 1:]} & {*keys[j, 1:]}
    )
    # With each response's sum divided by 1 - its share of the pairs, as without its pairs the mean would be.
    shares = {
        node: np.mean([node in pair for pair in keys[:, 1:].tolist()]) for node in set(keys[:, 1:].ravel().tolist())
    }
    sums = {node: sum(e[i] for i in range(len(e)) if node in keys[i, 1:]) for node in shares}
    lone = [node for node in shares if sum(node in pair for pair in keys[:, 1:].tolist()) == 1]
    raised = sum((sums[n] / (1 - shares[n])) ** 2 - sums[n] ** 2 for n in shares if n not in lone)
    raised += (e[-2] / (1 - 1 / len(e))) ** 2 - e[-2] ** 2  # the pair of two responses that are nowhere else
    assert units.over == "responses"
    assert units.variance(e) == pytest.approx(expected + raised)
    assert units.variance(e) > 1.5 * float(e @ e)
    # Of pairs that share nothing it is that of rows.
    rows = rng.normal(size=50)
    rows -= rows.mean()
    assert Drawn.rows(50).variance(rows) == pytest.approx(float(rows @ rows) * (50 / 49) ** 2)


@pytest.mark.parametrize("n", [10, 11, 64, 65, 301])
@pytest.mark.parametrize("kind", ["any", "grid", "certain", "two"])
def test_a_number_of_a_draw_is_that_of_its_rows(n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    choices = {"grid": np.arange(11) / 10, "certain": [0.0, 1.0], "two": [0.3, 0.7000000000000001]}
    z = rng.choice(choices[kind], size=n) if kind in choices else rng.random(n)
    y = rng.choice([0.0, 1.0, 0.8], size=n)
    size = rng.integers(1, 9, size=n)
    calibration, mean, ratio = Ece(z, y), Mean(z), Mean(z, size)
    assert calibration.value == metrics.ece(z, y)
    assert calibration.residuals.mean() == pytest.approx(0.0, abs=1e-12)
    assert ratio.value == pytest.approx(z.sum() / size.sum())
    for weight in Drawn.clusters(np.arange(n) // 3).weights(20, seed=5):
        rows = np.repeat(np.arange(n), weight.astype(int))
        assert calibration.of(weight) == pytest.approx(metrics.ece(z[rows], y[rows]), abs=1e-12)
        assert mean.of(weight) == pytest.approx(z[rows].mean(), abs=1e-12)
        assert ratio.of(weight) == pytest.approx(z[rows].sum() / size[rows].sum(), abs=1e-12)


def test_independent_pairs_are_rows():
    """As narrow as drawing rows: the percentiles of a plain bootstrap, but for Student's t with 149 degrees."""
    rng = np.random.default_rng(2)
    right = (rng.random(150) < 0.8).astype(float)
    (ends,) = intervals([Mean(right, limits=SHARE)], Drawn.pairs(apart(150, 150)), samples=2000)
    rows = rng.integers(0, 150, size=(2000, 150))
    plain = np.quantile(right[rows].mean(axis=1), [0.025, 0.975])
    assert ends == pytest.approx(tuple(plain), abs=0.0101)  # a pair is 0.0067
    assert intervals([Mean(right, limits=SHARE)], Drawn.rows(150)) == intervals(
        [Mean(right, limits=SHARE)], Drawn.rows(150)
    )


def test_a_constant_difference_has_no_spread():
    """Two systems that differ by a constant on every prompt differ by exactly that, however much prompts vary."""
    first = np.random.default_rng(2).normal(size=50) * 100
    (ends,) = intervals([Mean(first - (first - 1.0))], Drawn.rows(50))
    assert ends == pytest.approx((1.0, 1.0))


def test_a_share_of_all_or_none_has_wilsons_interval():
    assert intervals([Mean(np.ones(30), limits=SHARE)], Drawn.rows(30)) == [wilson(1.0, 30)]
    clustered = Drawn.clusters(np.arange(120) // 4)
    assert intervals([Mean(np.zeros(120), limits=SHARE)], clustered) == [wilson(0.0, 30)]


# ------------------------------------------------------------------------------------------------------ coverage


class Design(NamedTuple):
    """Pairs that are right with probability s(1.4 + what their prompt or responses add), and which share units."""

    keys: np.ndarray
    effect: Callable[[np.random.Generator], np.ndarray]  # of each pair, drawn anew
    spread: float  # standard deviation of `effect`
    over: str


def of_prompts(prompts: int, pairs: int, sd: float) -> Design:
    prompt = np.repeat(np.arange(prompts), pairs)
    keys = apart(prompts * pairs, prompts)
    keys[:, 0] = prompt
    return Design(keys, lambda rng: rng.normal(0, sd, prompts)[prompt], sd, "prompts")


def of_responses(responses: int, sd: float, prompts: int = 1) -> Design:
    keys = np.array([pair for prompt in range(prompts) for pair in robin(responses, prompt)])
    a, b = (np.unique(keys[:, 1:], return_inverse=True)[1].reshape(-1, 2)).T
    over = "prompts" if prompts >= MIN_UNITS else "responses"

    def effect(rng: np.random.Generator) -> np.ndarray:
        u = rng.normal(0, sd, prompts * responses)
        return u[a] + u[b]

    return Design(keys, effect, sd * math.sqrt(2), over)


def of_hubs(hubs: int, pairs: int, sd: float) -> Design:
    """One response of each of `hubs` in all of its pairs; all of one prompt."""
    hub = np.repeat(np.arange(hubs), pairs)
    keys = np.stack([np.zeros(hub.size, int), hub, 1000 + np.arange(hub.size)], axis=1)
    return Design(keys, lambda rng: rng.normal(0, sd, hubs)[hub], sd, "responses")


DESIGNS = {
    "independent pairs": of_prompts(150, 1, 0.0),
    "several pairs a prompt": of_prompts(40, 5, 1.0),
    "few prompts": of_prompts(12, 15, 1.0),
    "a round robin of 12 responses": of_responses(12, 1.0),
    "three round robins": of_responses(14, 0.7, prompts=3),
    "a round robin without effects": of_responses(16, 0.0),
    "round robins of many prompts": of_responses(4, 0.8, prompts=30),
    "12 responses, each in 10 pairs": of_hubs(12, 10, 1.0),
}
RUNS = 300


@pytest.mark.parametrize("name", DESIGNS)
def test_intervals_cover(name: str) -> None:
    """95 % nominal. With 1,000 runs a design 92.5 to 97.5 % were covered, the most where nothing is shared."""
    design, rng = DESIGNS[name], np.random.default_rng(9)
    units = Drawn.pairs(design.keys)
    assert units.over == design.over
    at, weight = np.polynomial.hermite_e.hermegauss(60)
    truth = float(weight @ metrics.sigmoid(1.4 + design.spread * at) / weight.sum())
    hit, rows_hit, widths, means = 0, 0, [], []
    for seed in range(RUNS):
        right = (rng.random(len(units)) < metrics.sigmoid(1.4 + design.effect(rng))).astype(float)
        ((low, high),) = intervals([Mean(right, limits=SHARE)], units, samples=120, seed=seed)
        assert low is not None
        assert high is not None
        hit += low <= truth <= high
        half = 1.96 * right.std() / math.sqrt(right.size)  # of rows
        rows_hit += abs(right.mean() - truth) <= half
        widths.append(high - low)
        means.append(right.mean())
    assert 0.90 <= hit / RUNS <= 0.99
    # No wider than the estimate's own spread asks for: 2 t standard deviations.
    t = metrics.t_quantile(0.975, math.floor(units.effective) - 1)
    assert 0.85 <= np.mean(widths) / (2 * t * np.std(means)) <= 1.35
    if design.spread >= 1.0 and name != "round robins of many prompts":
        assert rows_hit / RUNS < 0.90  # of intervals over rows


def test_the_interval_of_ece_covers_it() -> None:
    """Overconfident probabilities, small samples, two pairs a prompt that are right or wrong together."""
    rng = np.random.default_rng(0)
    truth = rng.beta(2, 2, size=20_000)
    said = 1 / (1 + ((1 - truth) / truth) ** 2)  # log-odds doubled
    outcome = (rng.random(truth.size) < truth).astype(float)
    whole = metrics.ece(said, outcome)
    hit = {"basic": 0, "percentile": 0, "rows": 0}
    for _ in range(60):
        rows = np.repeat(rng.integers(0, truth.size, 150), 2)
        calibration, units = Ece(said[rows], outcome[rows]), Drawn.clusters(np.arange(300) // 2)
        ((low, high),) = intervals([calibration], units, samples=120)
        hit["basic"] += low <= whole <= high
        low, high = np.quantile([calibration.of(weight) for weight in units.weights(120, 0)], [0.025, 0.975])
        hit["percentile"] += low <= whole <= high
        ((low, high),) = intervals([calibration], Drawn.rows(300), samples=120)
        hit["rows"] += low <= whole <= high
    assert hit["basic"] >= 52
    assert hit["basic"] > max(hit["percentile"], hit["rows"])


def test_a_thousand_draws_need_the_memory_of_one() -> None:
    import tracemalloc

    n = 200_000
    rng = np.random.default_rng(0)
    p = rng.random(n)
    y = (rng.random(n) < p).astype(float)
    keys = np.stack([np.arange(n) // 2, 2 * np.arange(n), 2 * np.arange(n) + 1], axis=1)
    tracemalloc.start()
    try:
        intervals([Mean((p > 0.5) == y), Ece(p, y)], Drawn.pairs(keys), samples=6)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 220 * n
    assert drawn.LEVEL == 0.95
