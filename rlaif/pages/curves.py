"""The curves of a training run, loss.png: what its trainer logged, step by step, as in trainer_state.json.

The log of a resumed run holds what was logged before, so that the picture is of the whole run. Of many steps a number
is the trainer's mean since the line before; a held-out one is of all held-out rows at its step. What the trainer says
at the end, of the whole run, is no step's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaif.errors.lines import warn
from rlaif.pages.parts import BLUE, GREY, ORANGE, known, new_figure

__all__ = ["LOSS", "draw_curves", "plot_curves"]

LOSS = "loss.png"

Line = Mapping[str, Any]

# A panel: its words, and the names that its number has in a line of the log. One that nothing was logged of is left
# out; the held-out number has the same name after "eval_".
_PANELS = (
    ("loss", ("loss",)),
    ("policy loss", ("policy_loss",)),
    ("value loss", ("value_loss",)),
    ("accuracy", ("accuracy", "rewards/accuracies", "mean_token_accuracy")),
    ("reward", ("reward",)),
    ("KL, nats a response", ("kl",)),
)
_TITLES = {
    "rewards/accuracies": "accuracy of the\nimplicit reward",
    "mean_token_accuracy": "token accuracy",
}
_MANY = 60  # points, from which on a line has no markers


def draw_curves(folder: str | Path, log: Sequence[Line]) -> bool:
    """Writes loss.png into `folder`, from `log_history`; False, and no file, where no number was logged.

    A picture is worth no trained model: what goes wrong in drawing is a warning.
    """
    try:
        figure = plot_curves(log)
        if figure is not None:
            figure.savefig(Path(folder) / LOSS, dpi=130)
    except Exception as error:
        warn(f"{LOSS} was not drawn ({type(error).__name__}: {error}); trainer_state.json has what it shows.")
        return False
    return figure is not None


def plot_curves(log: Sequence[Line]) -> Any:
    """A panel for each number that was logged in training or on held-out rows, over the steps; None where none was."""
    log = [line for line in log if "train_runtime" not in line]
    panels = []
    for words, names in _PANELS:
        name = next((name for name in names if _points(log, name) or _points(log, f"eval_{name}")), None)
        if name is not None:
            panels.append((_TITLES.get(name, words), name))
    if not panels:
        return None
    rate = _points(log, "learning_rate")
    heights = [2.0] * len(panels) + ([0.9] if rate else [])
    figure, axes = new_figure(6.8, height=0.9 + sum(heights), rows=len(heights), heights=heights)
    for axis, (title, name) in zip(axes, panels, strict=False):
        _draw(axis, _points(log, name), BLUE, "training")
        _draw(axis, _points(log, f"eval_{name}"), ORANGE, "held out", markers=True)
        axis.set_ylabel(title)
        axis.margins(x=0.03, y=0.12)
    if both := next((axis for axis in axes if len(axis.lines) > 1), None):
        both.legend(frameon=False, fontsize=9)
    if rate:
        _draw(axes[-1], rate, GREY, "")
        axes[-1].set_ylabel("learning\nrate")
        axes[-1].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    figure.align_ylabels(axes)
    axes[-1].set_xlabel("step")
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    if broken := sum(_is_broken(line) for line in log):
        axes[0].set_title(f"not finite, and left out: {broken} of {len(log)} lines of the log", fontsize=9)
    return figure


def _points(log: Sequence[Line], name: str) -> list[tuple[float, float]]:
    """Step and number of each line that has it."""
    return [(line["step"], line[name]) for line in log if known(line.get(name)) and known(line.get("step"))]


def _is_broken(line: Line) -> bool:
    """Whether a line's loss, or another number that is drawn, is NaN or infinite."""
    names = [name for _, names in _PANELS for name in names]
    values = [line.get(f"{before}{name}") for name in names for before in ("", "eval_")]
    return any(isinstance(value, int | float) and not known(value) for value in values)


def _draw(axis: Any, points: Sequence[tuple[float, float]], colour: str, label: str, markers: bool = False) -> None:
    if not points:
        return
    x, y = zip(*points, strict=True)
    marker = "o" if markers or len(points) <= _MANY else None
    axis.plot(x, y, color=colour, linewidth=1.3, marker=marker, markersize=4, label=label or None)
