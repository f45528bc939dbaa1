"""What the pages for people are made of: numbers as text, Markdown tables, empty figures. It computes nothing.

A number that is not there, or not finite, is shown as "–", never as 0 or nan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = [
    *(
        "Report",
        "count",
        "decimal",
        "half_width",
        "interval",
        "known",
        "new_figure",
        "over",
        "p_value",
        "percent",
        "size",
    ),
    "table",
]

Report = Mapping[str, Any]

_Z95 = 1.96  # of a 95 % interval, in standard errors
BLUE, ORANGE, GREY, RED = "#2f6db3", "#d9822b", "#8a8a8a", "#b3312f"


def known(value: Any) -> bool:
    """Whether `value` is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def percent(value: Any) -> str:
    """0.812 as "81.2 %"."""
    return f"{100 * value:.1f} %" if known(value) else "–"


def decimal(value: Any, digits: int = 3) -> str:
    """0.8125 as "0.812"; -0.0001 as "0.000", which has no sign."""
    if not known(value):
        return "–"
    shown = f"{value:.{digits}f}"
    return shown if float(shown) else shown.removeprefix("-")


def count(value: Any) -> str:
    """1234 as "1,234"."""
    return f"{value:,}" if known(value) else "–"


def p_value(value: Any) -> str:
    """0.0312 as "0.031", and what is smaller than 0.0001 as "< 0.0001"."""
    if not known(value):
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 1e-3 else f"{value:.3f}"


def size(n: int) -> str:
    """Bytes as "640 kB" or "1.2 MB"."""
    return f"{n / 1e6:,.1f} MB" if n >= 1e6 else f"{max(n / 1e3, 1):.0f} kB"


def interval(row: Report, name: str, show: Callable[[Any], str]) -> str:
    """ "81.2 % [77.0 %, 85.1 %]", from `name`, `name`_low and `name`_high (or `name`_se); "–" where it is missing."""
    value = row.get(name)
    low, high, error = row.get(f"{name}_low"), row.get(f"{name}_high"), row.get(f"{name}_se")
    if f"{name}_low" not in row and value is not None and error is not None and known(error):
        low, high = value - _Z95 * error, value + _Z95 * error
    return show(value) + (f" [{show(low)}, {show(high)}]" if known(value) and known(low) and known(high) else "")


def over(drawn: Report) -> str:
    """What intervals are over, in words, from what `rlaif.assess.drawn.Drawn.row` gives."""
    prompts, responses = (_number(drawn.get(name), name[:-1]) for name in ("prompts", "responses"))
    if drawn["over"] is None:
        return f"no interval: {drawn['why']}"
    if drawn["over"] == "prompts":
        return f"intervals over {prompts}" + (
            f", with all pairs of {responses}" if known(drawn.get("responses")) else ""
        )
    return f"intervals over {responses} to {prompts} that are taken as given: they say nothing of other prompts"


def _number(n: Any, noun: str) -> str:
    return f"{count(n)} {noun}" + ("" if n == 1 else "s")


def half_width(row: Report, name: str) -> float:
    """Half of the 95 % interval of a mean: of `name`_low and `name`_high, else 1.96 of its standard errors; 0, a bar
    without length, where unknown."""
    if f"{name}_low" in row:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return float(high - low) / 2 if known(low) and known(high) else 0.0
    error = row.get(f"{name}_se")
    return _Z95 * float(error) if error is not None and known(error) else 0.0


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def new_figure(
    width: float = 6.4, height: float = 4.2, rows: int = 1, heights: Sequence[float] | None = None, columns: int = 1
) -> tuple[Any, Any]:
    """A figure with its panels, row by row. No pyplot: no global state, no display.

    Panels above one another (`rows`, `heights` in proportion) share their x axis, those side by side their y axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, sharex="col", sharey="row", squeeze=False, height_ratios=heights).ravel()
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, panels
