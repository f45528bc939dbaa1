"""What a run can show within a budget: against hand-worked cases, and as the upper concave envelope that it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.assess.envelope import best_within


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        # From SFT (0, 1) to (2, 3) to (5, 3.6): at 1 halfway up the first line, at 3 a third along the second.
        ([(0, 1), (2, 3), (5, 3.6)], {0: 1.0, 1: 2.0, 2: 3.0, 3: 3.2, 5: 3.6, 50: 3.6}),
        # A detour costs nothing: (9, 2) lies below the line from (2, 3) to (7, 4).
        ([(0, 1), (2, 3), (9, 2), (7, 4)], {5: 3.6, 8: 4.0}),
        # A checkpoint that went bad does not undo a better one.
        ([(0, 1), (2, 3), (4, 0)], {4: 3.0}),
        ([(1, 2)], {0.5: None, 1: 2.0}),
    ],
)
def test_by_hand(points: list[tuple[float, float]], expected: dict[float, float | None]) -> None:
    for budget, best in expected.items():
        assert best_within(points, budget) == (best if best is None else pytest.approx(best))


@given(
    st.lists(st.tuples(st.floats(0.01, 20.0), st.floats(-5.0, 5.0)), min_size=1, max_size=6),
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3),
)
def test_it_is_the_upper_concave_envelope(points: list[tuple[float, float]], places: list[float]) -> None:
    path = [(0.0, 0.0), *points]
    end = max(x for x, _ in path)

    def at(budget: float) -> float:
        found = best_within(path, budget)
        assert found is not None
        return found

    assert all(at(x) >= y - 1e-9 for x, y in path)
    low, middle, high = sorted(place * end for place in places)
    best = [at(budget) for budget in (low, middle, high)]
    assert best == sorted(best)
    assert best[-1] <= max(y for _, y in path) + 1e-9
    if high - low > 1e-6:
        share = (middle - low) / (high - low)
        assert best[1] >= (1 - share) * best[0] + share * best[2] - 1e-9
