"""What an ablation is made of, read and checked (`rlaif.ablations.study`): stages, cells, outcomes, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["VARIANT", "Cell", "Curve", "Line", "Outcome", "StageSpec", "Study"]

VARIANT = "variant"  # the coordinate that says which of `variants` a cell is


@dataclass(frozen=True)
class StageSpec:
    """A program and its settings as the file has them, `${...}` not yet filled in.

    Attributes:
        name: the study's word for it.
        program: "rlaif judge", or the path of a Python program.
        settings: those of its YAML file with those of `set` over them.
        launch: accelerate's configuration file, where the stage itself names one (an `rlaif` command in several
            processes, say); what trains has the study's else.
        python: another Python that it runs under.
        writes: the setting that names its output, where it is neither `output` nor, of what trains, `output_dir`.
    """

    name: str
    program: str
    settings: Mapping[str, Any]
    launch: str | None = None
    python: str | None = None
    writes: str | None = None


@dataclass(frozen=True)
class Outcome:
    """A number of a stage's report.json, see the module's docstring; `metric` says in the table where it stands.

    Without `compare` its cells are not set against the baseline: a reward of each cell's own reward model has a scale
    of its own in each.
    """

    name: str
    stage: str
    metric: str
    label: str
    compare: bool = True
    unit: float = 1.0
    points: str | None = None
    x: str = ""
    y: str = ""
    at: float = 0.0

    @property
    def axes(self) -> tuple[str, str]:
        return self.x, self.y


@dataclass(frozen=True)
class Line:
    """A line of a picture: the means over seeds of points that stand in several cells, or in one cell's report.

    Attributes:
        name: in the legend; `{factor}` in it is filled in where `by` splits the line.
        cells: the coordinates that a cell must have to be on it.
        x, y: outcomes or numeric factors, a point for each cell; or, with `points`, paths within one point.
        stage, points: a list in this stage's report.json, its entries the points; None for points that are cells.
        by: a factor; one line for each of its levels.
        fit: the form that is fitted to y - y(first point) over the square root of x: "best_of_n" or "rl" (2210.10760).
    """

    name: str
    x: str
    y: str
    cells: Mapping[str, Any] = field(default_factory=dict)
    stage: str | None = None
    points: str | None = None
    by: str | None = None
    fit: str | None = None


@dataclass(frozen=True)
class Curve:
    """A picture of several lines over one x axis, which may be drawn as its square root or logarithm."""

    name: str
    lines: Sequence[Line]
    x_label: str
    y_label: str
    scale: str = "linear"


@dataclass(frozen=True)
class Cell:
    """One combination of levels: its coordinates, and what they set: "stage.setting" -> value.

    `reads` are the stages whose reports belong to it, where not all of the study's do.
    """

    coordinates: Mapping[str, Any]
    overrides: Mapping[str, Any]
    reads: Sequence[str] | None = None

    def has(self, stage: str) -> bool:
        """Whether numbers of this stage's report belong to the cell."""
        return self.reads is None or stage in self.reads

    @property
    def label(self) -> str:
        return ", ".join(
            str(level) if factor == VARIANT else f"{factor}={level}" for factor, level in self.coordinates.items()
        ) or "the base"  # fmt: skip


@dataclass(frozen=True)
class Study:
    """An ablation, checked: see the module's docstring for what the file holds; `bases` are files it is built upon."""

    name: str
    title: str
    finding: str | None
    source: str | None
    note: str | None
    seeds: Sequence[int]
    launch: str | None
    stages: Mapping[str, StageSpec]
    cells: Sequence[Cell]
    baseline: Mapping[str, Any]
    outcomes: Sequence[Outcome]
    curves: Sequence[Curve]
    bases: Sequence[str] = ()

    def baseline_of(self, cell: Cell) -> Cell | None:
        """The cell that `cell` is compared with: equal to it but for the baseline's coordinates. None for itself."""
        if not self.baseline:
            return None
        twin = [c for c in self.cells if dict(c.coordinates) == {**cell.coordinates, **self.baseline}]
        # Variants have coordinates of their own, so that no cell may be equal in all others: then there must be one.
        named = twin or [c for c in self.cells if self.baseline.items() <= c.coordinates.items()]
        return named[0] if named[0] is not cell else None
