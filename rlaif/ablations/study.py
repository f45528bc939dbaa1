"""What an ablation is: the YAML file read and checked. Nothing runs here.

    name: soft_labels
    base: recipes/ablations/base.yaml       stages (and other keys) of another file, to build upon
    seeds: [0, 1, 2, 3, 4]
    stages:                                 a program each, its own YAML file, and what is set beside it
      dpo:
        program: recipes/dpo.py
        config: recipes/configs/dpo/sandbox.yaml
        set: {dataset: "${build}", model: "${sft}", seed: "${seed}"}
    factors:                                every combination is a cell
      loss:
        soft: {}
        hard: {dpo.preference_loss: hard}
      beta: {dpo.beta: [0.05, 0.1]}         short for one level for each value of one setting
    baseline: {loss: soft}                  each cell is compared with the one that differs from it in this alone
    outcomes:                               numbers of a stage's report.json
      gold_reward: {stage: evaluate, metric: policies.policy.gold_reward}

`${build}` is the folder of the stage `build`, in this cell and with this seed; `${seed}` is the seed. Stages that no
outcome is read from, directly or on the way, do not run. Levels may set a setting to null: it is then left out.

`variants` are for what is no grid: named settings, each with values of its own to run over.

    variants:
      DPO: {set: {evaluate.policies: ["sft=${sft}", "policy=${dpo}"]}, over: {beta: {dpo.beta: [0.03, 0.1]}}}
      PPO: {set: {evaluate.policies: ["sft=${sft}", "policy=${ppo}"]}, over: {kl_coef: {ppo.kl_coef: [0.1, 0.3]}}}
      best of n: {reads: [best_of_n]}       of this one's stages only best_of_n's report is read: nothing is evaluated

`curves` are pictures, each of `lines` over one x axis (`x_label`, `y_label`, `scale`: linear, sqrt or log). A line's
points are its `cells`, `x` and `y` outcomes or factors of numbers; or entries of a list in one cell's report (`stage`,
`points`, then `x` and `y` within an entry), averaged over seeds, one line for each level of the factor `by`, with a
form of Gao et al. fitted (`fit`: best_of_n or rl).

    curves:
      frontier:
        lines:
          DPO over beta: {cells: {variant: DPO}, x: kl, y: gold_reward}
          best of n: {cells: {variant: best of n}, stage: best_of_n, points: by_n, x: kl_bound, y: reward}

For the page: `title`, `finding` (the published one that is looked at), `source`, `note`; an outcome's `label`, and
`compare: false` for one that is not to be set against the baseline. `launch` is accelerate's configuration file, for
what trains. How the ablation is run (`jobs`, `threads`, `store`, ...: rlaif.ablations.command) may stand there too.

Of a stage that the base has, only what differs is written: `stages: {dpo: {set: {beta: 0.2}}}`; an outcome of the base
that is set to null is left out.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from rlaif.assess.scaling import FORMS
from rlaif.config import read_mapping
from rlaif.errors.words import kind_of, shown

__all__ = ["Cell", "Curve", "Line", "Outcome", "StageSpec", "Study", "closest", "load_study", "read_yaml"]

VARIANT = "variant"  # the coordinate that says which of `variants` a cell is


@dataclass(frozen=True)
class StageSpec:
    """A program and its settings as the file has them, `${...}` not yet filled in.

    Attributes:
        name: the study's word for it.
        program: "rlaif judge", or the path of a Python program.
        settings: those of its YAML file with those of `set` over them.
        launch: accelerate's configuration file. `rlaif` commands are launched with it where the stage itself names
            one (several processes), programs that train always.
    """

    name: str
    program: str
    settings: Mapping[str, Any]
    launch: str | None


@dataclass(frozen=True)
class Outcome:
    """A number of a stage's report.json: `metric` is the path to it, names joined by dots.

    Without `compare` its cells are not set against the baseline: a reward of each cell's own reward model has a scale
    of its own in each.
    """

    name: str
    stage: str
    metric: str
    label: str
    compare: bool = True


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
    """An ablation, checked: see the module's docstring for what the file holds."""

    name: str
    title: str
    finding: str | None
    source: str | None
    note: str | None
    seeds: Sequence[int]
    stages: Mapping[str, StageSpec]
    cells: Sequence[Cell]
    baseline: Mapping[str, Any]
    outcomes: Sequence[Outcome]
    curves: Sequence[Curve]

    def baseline_of(self, cell: Cell) -> Cell | None:
        """The cell that `cell` is compared with: equal to it but for the baseline's coordinates. None for itself."""
        if not self.baseline:
            return None
        twin = [c for c in self.cells if dict(c.coordinates) == {**cell.coordinates, **self.baseline}]
        # Variants have coordinates of their own, so that no cell may be equal in all others: then there must be one.
        named = twin or [c for c in self.cells if self.baseline.items() <= c.coordinates.items()]
        return named[0] if named[0] is not cell else None


def closest(word: str, known: Iterable[str]) -> str:
    """A hint: the known word that `word` may have meant, or all of them."""
    known = list(map(str, known))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known) or 'nothing'}."


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds a mapping, in which no key stands twice."""
    return read_mapping(path, str(path))


# The file -------------------------------------------------------------------------------------------------------------

_KEYS = (
    "name",
    "title",
    "finding",
    "source",
    "note",
    "base",
    "launch",
    "seeds",
    "stages",
    "factors",
    "variants",
    "baseline",
    "outcomes",
    "curves",
)


def load_study(
    content: Mapping[str, Any], path: str | Path, seeds: Sequence[int] | None = None, others: Sequence[str] = ()
) -> Study:
    """The study that the YAML mapping `content`, read from `path`, describes.

    Args:
        content: without what says how it is run.
        path: for messages, and for the name where the file gives none.
        seeds: instead of its own.
        others: keys that such a file may have and that were taken out: known words for a hint.

    Raises:
        ValueError: something in it is unknown, of another kind than expected, or has no effect.
    """
    try:
        for key in content:
            if key not in _KEYS:
                raise ValueError(f"{shown(key)} is not a key of an ablation; {closest(str(key), [*_KEYS, *others])}")
        return _study(content, path, seeds)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _study(content: Mapping[str, Any], path: str | Path, seeds: Sequence[int] | None) -> Study:
    name = str(content.get("name") or Path(path).stem)
    if not name.replace("_", "").replace("-", "").isalnum():
        raise ValueError(f"name is {shown(name)}; expected letters, digits, '-' and '_': folders are called like it.")
    base = _base(content.get("base"))
    stages = _stages(_merged(base.get("stages", {}), _mapping(content, "stages")), content, base)
    outcomes = _outcomes(base.get("outcomes", {}), _mapping(content, "outcomes"), stages)
    cells = _cells(_mapping(content, "factors"), _mapping(content, "variants"), stages)
    curves = _curves(_mapping(content, "curves"), stages, outcomes, cells)
    if not outcomes and not any(line.stage for curve in curves for line in curve.lines):
        raise ValueError("outcomes is empty; expected at least one number of a report, {stage: ..., metric: ...}.")
    return Study(
        name=name,
        title=str(content.get("title") or name.replace("_", " ")),
        finding=content.get("finding"),
        source=content.get("source"),
        note=content.get("note"),
        seeds=_seeds(seeds if seeds is not None else content.get("seeds", base.get("seeds"))),
        stages=stages,
        cells=cells,
        baseline=_baseline(_mapping(content, "baseline"), cells),
        outcomes=outcomes,
        curves=curves,
    )


def _mapping(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} is {kind_of(value)}, {shown(value)}; expected a mapping, `name: ...`.")
    return dict(value)


def _base(path: Any) -> dict[str, Any]:
    if path is None:
        return {}
    base = read_yaml(str(path))
    shared = ("stages", "outcomes", "launch", "seeds")
    for key in base:
        if key not in shared:
            raise ValueError(f"base {path} has the key {shown(key)}; {closest(str(key), shared)}")
    return {**base, "stages": _mapping(base, "stages"), "outcomes": _mapping(base, "outcomes")}


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The base's stages, and what a file says of them or adds to them."""
    merged = dict(base)
    for name, spec in own.items():
        if isinstance(spec, Mapping) and isinstance(base.get(name), Mapping):
            spec = {**base[name], **spec, "set": {**_mapping(base[name], "set"), **_mapping(spec, "set")}}
        merged[name] = spec
    return merged


def _seeds(value: Any) -> list[int]:
    if not isinstance(value, list) or not value or not all(type(seed) is int for seed in value):
        raise ValueError(f"seeds is {shown(value)}; expected a list of whole numbers, [0, 1, 2, 3, 4].")
    if len(set(value)) < len(value):
        raise ValueError(f"seeds is {value}; expected distinct ones: a seed twice is one run counted twice.")
    return list(value)


# Stages ---------------------------------------------------------------------------------------------------------------

_STAGE_KEYS = ("program", "config", "set", "launch")


def _stages(specs: Mapping[str, Any], *defaults: Mapping[str, Any]) -> dict[str, StageSpec]:
    if not specs:
        raise ValueError("stages is empty; expected a program for each, or a `base` that has them.")
    launch = next((str(d["launch"]) for d in defaults if d.get("launch")), None)
    stages = {}
    for name, spec in specs.items():
        if not str(name).isidentifier() or name == "seed":
            raise ValueError(f"a stage is called {shown(name)}; expected letters, digits and '_', and not 'seed'.")
        if not isinstance(spec, Mapping) or not spec.get("program"):
            raise ValueError(f"stage {name} has no program; expected program: recipes/dpo.py, or rlaif judge, say.")
        for key in spec:
            if key not in _STAGE_KEYS:
                raise ValueError(f"stage {name} has the key {shown(key)}; {closest(str(key), _STAGE_KEYS)}")
        settings = read_yaml(spec["config"]) if spec.get("config") else {}
        _check_free(f"stage {name}", _mapping(spec, "set"))
        settings |= _mapping(spec, "set")
        program = str(spec["program"])
        launched = spec.get("launch", None if program.startswith("rlaif ") else launch)
        stages[name] = StageSpec(name, program, settings, launched)
    for stage in stages.values():
        for word in words_in(stage.settings):
            if word != "seed" and word not in stages:
                raise ValueError(f"stage {stage.name} names ${{{word}}}; {closest(word, ['seed', *stages])}")
    return stages


def _check_free(where: str, settings: Iterable[str]) -> None:
    """A ValueError for a setting that says where a stage writes: each has a folder of its own."""
    if taken := sorted({"output", "output_dir"} & set(settings)):
        raise ValueError(f"{where} sets {taken[0]}; every stage writes to a folder of its own: leave it out.")


def words_in(value: Any) -> list[str]:
    """The words within `${...}` in a setting, or in a mapping or list of them.

    Raises:
        ValueError: a `$` names nothing.
    """
    if isinstance(value, Mapping):
        return [word for item in value.values() for word in words_in(item)]
    if isinstance(value, list):
        return [word for item in value for word in words_in(item)]
    if not isinstance(value, str):
        return []
    template = Template(value)
    if not template.is_valid():
        raise ValueError(
            f"{shown(value)} holds a `$` that names nothing; expected ${{stage}} or ${{seed}}, or $$ for `$`."
        )
    return template.get_identifiers()


# Cells ----------------------------------------------------------------------------------------------------------------


def _levels(factor: str, value: Any, stages: Mapping[str, StageSpec]) -> dict[Any, dict[str, Any]]:
    """The levels of a factor, each with what it sets."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError(
            f"factor {factor} is {shown(value)}; expected its levels, `hard: {{dpo.preference_loss: hard}}`, or the "
            "values of a setting, `dpo.beta: [0.1, 0.3]`."
        )
    lists = [key for key, levels in value.items() if isinstance(levels, list)]
    if lists:
        if len(value) > 1:
            raise ValueError(f"factor {factor} mixes values of {lists[0]} with levels; expected one or the other.")
        setting, values = lists[0], value[lists[0]]
        if not values or any(isinstance(item, list | dict) for item in values):
            raise ValueError(
                f"factor {factor} has {setting}: {shown(values)}; expected plain values, or levels with a name each: "
                f"`both: {{{setting}: [a, b]}}`."
            )
        if len(set(values)) < len(values):
            raise ValueError(f"factor {factor} has a value of {setting} twice: {values}; expected distinct ones.")
        levels = {level: {setting: level} for level in values}
    else:
        levels = {level: dict(sets or {}) if sets is None or isinstance(sets, Mapping) else sets
                  for level, sets in value.items()}  # fmt: skip
    for level, sets in levels.items():
        _check_overrides(f"factor {factor}, level {level}", sets, stages)
    return levels


def _check_overrides(where: str, sets: Any, stages: Mapping[str, StageSpec]) -> None:
    if not isinstance(sets, Mapping):
        raise ValueError(f"{where} is {shown(sets)}; expected what it sets, {{stage.setting: value}}.")
    for key, value in sets.items():
        stage, dot, setting = str(key).partition(".")
        if not dot or not setting:
            raise ValueError(f"{where} sets {shown(key)}; expected stage.setting, dpo.beta, say.")
        if stage not in stages:
            raise ValueError(f"{where} sets {key}, but there is no stage {shown(stage)}; {closest(stage, stages)}")
        _check_free(where, [setting])
        for word in words_in(value):
            if word != "seed" and word not in stages:
                raise ValueError(f"{where} names ${{{word}}}; {closest(word, ['seed', *stages])}")


def _grid(factors: Mapping[str, Any], stages: Mapping[str, StageSpec]) -> list[Cell]:
    """Every combination of the factors' levels."""
    levels = [_levels(str(factor), value, stages) for factor, value in factors.items()]
    cells = []
    for combination in itertools.product(*(each.items() for each in levels)):
        overrides: dict[str, Any] = {}
        for factor, (level, sets) in zip(factors, combination, strict=True):
            if both := sorted(set(overrides) & set(sets)):
                raise ValueError(f"{both[0]} is set by factor {factor}, level {level}, and by another; expected one.")
            overrides |= sets
        cells.append(Cell({f: level for f, (level, _) in zip(factors, combination, strict=True)}, overrides))
    return cells


def _cells(factors: Mapping[str, Any], variants: Mapping[str, Any], stages: Mapping[str, StageSpec]) -> list[Cell]:
    grid = _grid(factors, stages)
    if VARIANT in factors:
        raise ValueError(f"a factor is called {VARIANT!r}, which names the variants; expected another name.")
    if not variants:
        if not factors:
            raise ValueError("there are no factors and no variants; expected what is varied.")
        return grid
    cells = []
    for name, spec in variants.items():
        spec = {} if spec is None else spec
        keys = ("set", "over", "reads")
        unknown = [key for key in spec if key not in keys] if isinstance(spec, Mapping) else [repr(spec)]
        if unknown:
            raise ValueError(f"variant {name} has {unknown[0]}; {closest(str(unknown[0]), keys)}")
        reads = spec.get("reads")
        for stage in reads or ():
            if stage not in stages:
                raise ValueError(f"variant {name} reads {shown(stage)}; {closest(str(stage), stages)}")
        own, sets = _mapping(spec, "over"), _mapping(spec, "set")
        _check_overrides(f"variant {name}", sets, stages)
        if both := sorted(set(own) & set(factors)):
            raise ValueError(f"variant {name} runs over {both[0]}, which is a factor too; expected another name.")
        for cell, inner in itertools.product(grid, _grid(own, stages)):
            overrides = {**sets, **inner.overrides}
            if both := sorted(set(cell.overrides) & set(overrides)):
                raise ValueError(f"{both[0]} is set by variant {name} and by a factor; expected one of them.")
            coordinates = {**cell.coordinates, VARIANT: name, **inner.coordinates}
            cells.append(Cell(coordinates, {**cell.overrides, **overrides}, reads))
    return cells


def _check_coordinates(where: str, asked: Mapping[str, Any], cells: Sequence[Cell]) -> None:
    """A ValueError where `asked` names a factor, or a level, that no cell has."""
    factors = list(dict.fromkeys(factor for cell in cells for factor in cell.coordinates))
    for factor, level in asked.items():
        if factor not in factors:
            raise ValueError(f"{where} names the factor {shown(factor)}; {closest(str(factor), factors)}")
        levels = dict.fromkeys(cell.coordinates[factor] for cell in cells if factor in cell.coordinates)
        if level not in levels:
            raise ValueError(f"{where} has {factor}: {shown(level)}; expected one of {', '.join(map(shown, levels))}.")


def _baseline(asked: dict[str, Any], cells: Sequence[Cell]) -> dict[str, Any]:
    if not asked:
        return {}
    _check_coordinates("baseline", asked, cells)
    every = [dict(cell.coordinates) for cell in cells]
    matching = [c for c in every if asked.items() <= c.items()]
    alone = [c for c in every if {**c, **asked} not in every]
    if alone and len(matching) != 1:
        raise ValueError(
            f"baseline {asked} is {len(matching)} cells, and {Cell(alone[0], {}).label} has no twin among them; "
            "expected one cell, or one for each combination of the other factors."
        )
    return asked


# Outcomes and curves --------------------------------------------------------------------------------------------------


def _outcomes(base: Mapping[str, Any], own: Mapping[str, Any], stages: Mapping[str, StageSpec]) -> list[Outcome]:
    """The base's outcomes, and a file's own, which come after them or stand for them."""
    outcomes = []
    for name, spec in {**base, **own}.items():
        if spec is None:
            if name not in base:
                raise ValueError(f"outcome {name} is null, but the base has no such outcome; {closest(name, base)}")
            continue  # the base's, left out here
        if not str(name).replace("_", "").replace("-", "").isalnum():
            raise ValueError(
                f"an outcome is called {shown(name)}; expected letters, digits, '-' and '_': its picture is too."
            )
        keys = ("stage", "metric", "label", "compare")
        if not isinstance(spec, Mapping) or not spec.get("stage") or not spec.get("metric"):
            raise ValueError(f"outcome {name} is {shown(spec)}; expected {{stage: evaluate, metric: path.to.number}}.")
        for key in spec:
            if key not in keys:
                raise ValueError(f"outcome {name} has the key {shown(key)}; {closest(str(key), keys)}")
        if spec["stage"] not in stages:
            raise ValueError(f"outcome {name} is of the stage {shown(spec['stage'])}; {closest(spec['stage'], stages)}")
        label = str(spec.get("label") or str(name).replace("_", " "))
        outcomes.append(Outcome(str(name), spec["stage"], str(spec["metric"]), label, bool(spec.get("compare", True))))
    return outcomes


_CURVE_KEYS = ("x_label", "y_label", "scale", "lines")
_LINE_KEYS = ("cells", "x", "y", "stage", "points", "by", "fit")
_SCALES = ("linear", "sqrt", "log")


def _curves(
    specs: Mapping[str, Any], stages: Mapping[str, StageSpec], outcomes: Sequence[Outcome], cells: Sequence[Cell]
) -> list[Curve]:
    curves = []
    for name, spec in specs.items():
        if not str(name).replace("_", "").replace("-", "").isalnum() or name in {outcome.name for outcome in outcomes}:
            raise ValueError(
                f"a curve is called {shown(name)}; expected letters, digits, '-', '_', and no outcome's name."
            )
        if not isinstance(spec, Mapping) or not isinstance(spec.get("lines"), Mapping) or not spec["lines"]:
            raise ValueError(f"curve {name} has no lines; expected lines: {{name: {{x: ..., y: ...}}}}.")
        for key in spec:
            if key not in _CURVE_KEYS:
                raise ValueError(f"curve {name} has the key {shown(key)}; {closest(str(key), _CURVE_KEYS)}")
        scale = spec.get("scale", "linear")
        if scale not in _SCALES:
            raise ValueError(f"curve {name} has the scale {shown(scale)}; {closest(str(scale), _SCALES)}")
        lines = [
            _line(f"curve {name}, line {line}", line, s, stages, outcomes, cells) for line, s in spec["lines"].items()
        ]
        curves.append(
            Curve(str(name), lines, str(spec.get("x_label", lines[0].x)), str(spec.get("y_label", lines[0].y)), scale)
        )
    return curves


def _line(
    where: str,
    name: Any,
    spec: Any,
    stages: Mapping[str, StageSpec],
    outcomes: Sequence[Outcome],
    cells: Sequence[Cell],
) -> Line:
    if not isinstance(spec, Mapping) or not spec.get("x") or not spec.get("y"):
        raise ValueError(f"{where} is {shown(spec)}; expected {{x: ..., y: ...}}.")
    for key in spec:
        if key not in _LINE_KEYS:
            raise ValueError(f"{where} has the key {shown(key)}; {closest(str(key), _LINE_KEYS)}")
    line = Line(str(name), **{key: spec[key] for key in _LINE_KEYS if spec.get(key) is not None})
    _check_coordinates(where, line.cells, cells)
    mine = [cell for cell in cells if line.cells.items() <= cell.coordinates.items()]
    if not mine:
        raise ValueError(f"{where} has the cells {shown(dict(line.cells))}, which no cell is; expected one at least.")
    if line.by is not None and not all(line.by in cell.coordinates for cell in mine):
        raise ValueError(f"{where} is split by {shown(line.by)}; {closest(line.by, mine[0].coordinates)}")
    if line.fit is not None and (line.fit not in FORMS or line.points is None):
        raise ValueError(
            f"{where} has the fit {shown(line.fit)}; expected {' or '.join(FORMS)}, of `points` of a report."
        )
    if (line.stage is None) != (line.points is None):
        raise ValueError(f"{where} has one of `stage` and `points`; expected both, a list in a report, or neither.")
    if line.stage is not None:
        if line.stage not in stages:
            raise ValueError(f"{where} is of the stage {shown(line.stage)}; {closest(line.stage, stages)}")
        levels = [cell.coordinates.get(line.by) if line.by else None for cell in mine]
        if len(set(map(str, levels))) < len(levels):
            raise ValueError(
                f"{where} has {len(mine)} cells: {', '.join(cell.label for cell in mine)}; expected one list of points "
                "for each line: name its `cells`, or split it `by` a factor."
            )
        return line
    # Numbers that a cell does not have cannot be its place on an axis.
    names = [outcome.name for outcome in outcomes if all(cell.has(outcome.stage) for cell in mine)]
    for axis in (line.x, line.y):
        numeric = all(isinstance(cell.coordinates.get(axis), int | float) for cell in mine)
        if axis not in names and not numeric:
            raise ValueError(f"{where} has the axis {shown(axis)}, neither an outcome nor a factor of numbers; "
                             f"{closest(axis, [*names, *mine[0].coordinates])}")  # fmt: skip
    return line
