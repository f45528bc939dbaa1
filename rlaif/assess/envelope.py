"""What a run can show of one number at a budget of another: gold reward at so many nats of KL."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

__all__ = ["best_within"]


def best_within(points: Sequence[tuple[float, float]], budget: float) -> float | None:
    """The best y of a point (x, y), or of a mixture of two, with an x of at most `budget`; None where there is none.

    Of KL and reward: a policy that answers with one checkpoint with probability p and else with another has the mean
    of their rewards and, KL being convex, at most the mean of their KLs. So the best mixture is read off the upper
    concave envelope of the points: a run whose KL shoots up and comes back is not charged for the detour.
    """
    within = [(x, y) for x, y in points if x <= budget]
    best = max((y for _, y in within), default=None)
    for (near, y), (far, z) in itertools.product(within, [point for point in points if point[0] > budget]):
        share = (budget - near) / (far - near)
        best = max(y if best is None else best, (1.0 - share) * y + share * z)
    return best
