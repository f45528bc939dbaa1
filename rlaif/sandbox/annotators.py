"""Two annotators of the errand world: one that knows the gold reward, and one that errs as people do.

    rlaif judge --judge scripted --judge_model rlaif.sandbox:human_like --pairs pairs.jsonl --output judged

Both are pure functions of (prompt, first, second), so that both orders and every rerun name the same response.
"""

from rlaif.records import Prompt
from rlaif.sandbox.shared import drawn_verdict, sure_verdict
from rlaif.sandbox.world import gold_reward

__all__ = ["TEMPERATURE", "gold_judge", "human_like"]

# Points of gold reward: how far apart two replies must be for P(the better one) = sigmoid(1) = 0.73. Chosen so that a
# verdict agrees with gold on three of four untied pairs of the sandbox's SFT policy (see `human_like`).
TEMPERATURE = 2.6


def gold_judge(prompt: Prompt, first: str, second: str) -> float:
    """P(first is better) of a judge that knows the truth: 1 or 0 by the gold reward, 0.5 where it is equal."""
    return sure_verdict(gold_reward(prompt, first) - gold_reward(prompt, second))


def human_like(prompt: Prompt, first: str, second: str) -> float:
    """A person's verdict, drawn from a Bradley-Terry model on the gold reward: 1 where it is the first, else 0.

        P(x is preferred to y) = sigmoid((gold(x) - gold(y)) / T),    T = TEMPERATURE

    People err most on close pairs, which a noise of equal rate everywhere would not show; this is the stochastic
    teacher of B-Pref (2111.03026). On untied pairs of the SFT policy the verdict agrees with gold on 0.75 in
    expectation: as AlpacaFarm's simulated annotators (2305.14387), of whose verdicts 25 % are flipped, since only then
    do its reward models over-optimize as with people. Two such people, each with a draw of their own, would agree on
    0.65; AlpacaFarm counts 0.66 among its crowd workers, and RLAIF (2309.00267) cites 0.73 to 0.77 for summaries.

    How it is drawn, and what of two replies of equal gold: `shared.drawn_verdict`.
    """
    return drawn_verdict(gold_reward, TEMPERATURE, "human_like", prompt, first, second)
