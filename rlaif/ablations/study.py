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

`words` are what questions call alike in all worlds: `words: {gold: rlaif.sandbox:gold_reward, sizes: [50, 900]}` in a
base, and `${gold}`, `${sizes}` in the question. A base may build on a base. On the command line `--base` takes the
place of the file's, so that a question is written once and asked in several worlds.

`variants` are for what is no grid: named settings, each with values of its own to run over.

    variants:
      DPO: {set: {evaluate.policies: ["sft=${sft}", "policy=${dpo}"]}, over: {beta: {dpo.beta: [0.03, 0.1]}}}
      PPO: {set: {evaluate.policies: ["sft=${sft}", "policy=${ppo}"]}, over: {kl_coef: {ppo.kl_coef: [0.1, 0.3]}}}
      best of n: {reads: [best_of_n]}       of this one's stages only best_of_n's report is read: nothing is evaluated

A level may give a stage another program, also of another environment: `ppo.program: scripts/trl_ppo.py, ppo.python:
runs/trl112/bin/python`. The stage has then the settings alone that the level sets.

An outcome's `metric` is a path in the report. What was measured from outside stands at `measured.seconds`,
`measured.cpu_seconds` and `measured.peak_memory` (bytes; the kernel's count of the largest process). `unit: 1048576`
shows a number in MiB. `{stage: evaluate, points: policies, x: kl, y: gold_reward, at: 2}` is the y that a run can show
at an x of at most 2: of one of its points, or a mixture of two.

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

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaif.ablations.parts import VARIANT, Cell, Curve, Line, Outcome, StageSpec, Study
from rlaif.ablations.programs import laid_over
from rlaif.ablations.words import with_words, words_in, words_over
from rlaif.assess.scaling import FORMS
from rlaif.config import read_mapping
from rlaif.errors.words import did_you_mean, kind_of, shown

__all__ = ["load_study", "read_yaml"]


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds a mapping, in which no key stands twice and everything can be written as JSON."""
    content = read_mapping(path, str(path))
    _check_plain(str(path), content)
    return content


def _check_plain(path: str, value: Any) -> None:
    """A ValueError for what YAML reads as a date or a set where a text was meant: no report could hold it."""
    if isinstance(value, Mapping | list):
        for part in [*value, *value.values()] if isinstance(value, Mapping) else value:
            _check_plain(path, part)
    elif value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"{path} has {shown(value)}, which YAML reads as {kind_of(value)}; put it in quotes.")


# The file -------------------------------------------------------------------------------------------------------------

_SHARED = ("base", "launch", "seeds", "stages", "outcomes", "words")
_KEYS = ("name", "title", "finding", "source", "note", *_SHARED, "factors", "variants", "baseline", "curves")


def load_study(
    content: Mapping[str, Any],
    path: str | Path,
    seeds: Sequence[int] | None = None,
    others: Sequence[str] = (),
    base: str | None = None,
) -> Study:
    """The study that the YAML mapping `content`, read from `path`, describes.

    Args:
        content: without what says how it is run.
        path: for messages, and for the name where the file gives none.
        seeds: instead of its own.
        others: keys that such a file may have and that were taken out: known words for a hint.
        base: instead of its own; the study is then called after both.

    Raises:
        ValueError: something in it is unknown, of another kind than expected, or has no effect.
    """
    try:
        for key in content:
            if key not in _KEYS:
                raise ValueError(f"{shown(key)} is not a key of an ablation; {did_you_mean(key, [*_KEYS, *others])}")
        return _study({**content, **({"base": base} if base else {})}, path, seeds, base)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _study(content: Mapping[str, Any], path: str | Path, seeds: Sequence[int] | None, base: str | None) -> Study:
    name = str(content.get("name") or Path(path).stem) + (f"_{Path(base).stem}" if base else "")
    _check_name("name", name, "folders are called like it")
    content, bases = _built_upon(content)
    for word in (words := _mapping(content, "words")):
        if word == "seed" or word in _mapping(content, "stages"):
            raise ValueError(f"a word is called {shown(word)}, as a stage or the seed is; expected another name.")
    content = with_words(content, words)
    _check_texts("", content, ("title", "finding", "source", "note"))
    stages = _stages(_mapping(content, "stages"))
    cells = _cells(_mapping(content, "factors"), _mapping(content, "variants"), stages)
    outcomes = _outcomes(_mapping(content, "outcomes"), stages)
    curves = _curves(_mapping(content, "curves"), stages, outcomes, cells)
    if not outcomes and not any(line.stage for curve in curves for line in curve.lines):
        raise ValueError("outcomes is empty; expected at least one number of a report, {stage: ..., metric: ...}.")
    said = [content.get("note"), f"Asked of {base}." if base else None]
    return Study(
        name=name,
        title=str(content.get("title") or name.replace("_", " ")),
        finding=content.get("finding"),
        source=content.get("source"),
        note=" ".join(map(str, filter(None, said))) or None,
        seeds=_seeds(content.get("seeds") if seeds is None else seeds),
        launch=content.get("launch"),
        stages=stages,
        cells=cells,
        baseline=_baseline(_mapping(content, "baseline"), cells),
        outcomes=outcomes,
        curves=curves,
        bases=bases,
    )


def _check_keys(where: str, spec: Any, known: Collection[str], needed: Sequence[str], expected: str) -> None:
    """A ValueError for what is no mapping, for a key of it that is unknown, and for one that is missing."""
    if not isinstance(spec, Mapping) or not all(spec.get(key) for key in needed):
        raise ValueError(f"{where} is {shown(spec)}; expected {expected}.")
    for key in spec:
        if key not in known:
            raise ValueError(f"{where} has the key {shown(key)}; {did_you_mean(str(key), known)}")


def _check_texts(where: str, spec: Mapping[str, Any], keys: Iterable[str]) -> None:
    """A ValueError for a number, a list and so on where a text is expected: 2305.14380 would lose its last digit."""
    for key in keys:
        if not isinstance(value := spec.get(key), str | None):
            raise ValueError(f"{where}{key} is {shown(value)}; expected a text: put it in quotes.")


def _check_known(where: str, word: Any, known: Iterable[Any]) -> None:
    if word not in (known := list(known)):
        raise ValueError(f"{where} {shown(word)}; {did_you_mean(str(word), [str(each) for each in known])}")


def _check_name(what: str, name: Any, why: str) -> None:
    if not str(name).replace("_", "").replace("-", "").isalnum():
        raise ValueError(f"{what} is {shown(name)}; expected letters, digits, '-' and '_': {why}.")


def _mapping(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} is {kind_of(value)}, {shown(value)}; expected a mapping, `name: ...`.")
    return dict(value)


def _built_upon(content: Mapping[str, Any], above: tuple[str, ...] = ()) -> tuple[dict[str, Any], list[str]]:
    """A file's content over that of its base, and over that one's; and the files that it is built upon."""
    base: dict[str, Any] = {}
    bases: list[str] = []
    if (path := content.get("base")) is not None:
        if str(path) in above:
            raise ValueError(f"base {path} builds upon itself; expected another.")
        base = read_yaml(str(path))
        _check_keys(f"base {path}", base, _SHARED, (), "")
        base, bases = _built_upon(base, (*above, str(path)))
        bases = [str(path), *bases]
    stages = _mapping(base, "stages")
    for name, spec in _mapping(content, "stages").items():
        if isinstance(spec, Mapping) and isinstance(there := stages.get(name), Mapping):
            program = str(spec.get("program") or there.get("program"))
            sets = laid_over(f"stage {name}: ", program, _mapping(there, "set"), _mapping(spec, "set"))
            spec = {**there, **spec, "set": sets}
        stages[name] = spec
    known, own = _mapping(base, "outcomes"), _mapping(content, "outcomes")
    for name, spec in own.items():
        if spec is None and name not in known:
            hint = did_you_mean(str(name), known)
            raise ValueError(f"outcome {name} is null, but the base has no such outcome; {hint}")
    outcomes = {name: spec for name, spec in {**known, **own}.items() if spec is not None}
    words = words_over(_mapping(base, "words"), _mapping(content, "words"), content)
    return {**base, **content, "stages": stages, "outcomes": outcomes, "words": words}, bases


def _seeds(value: Any) -> list[int]:
    if not isinstance(value, list) or not value or not all(type(seed) is int for seed in value):
        raise ValueError(f"seeds is {shown(value)}; expected a list of whole numbers, [0, 1, 2, 3, 4].")
    if len(set(value)) < len(value):
        raise ValueError(f"seeds is {value}; expected distinct ones: a seed twice is one run counted twice.")
    return list(value)


# Stages ---------------------------------------------------------------------------------------------------------------

_STAGE_KEYS = ("program", "config", "set", "launch", "python", "writes")


def _stages(specs: Mapping[str, Any]) -> dict[str, StageSpec]:
    if not specs:
        raise ValueError("stages is empty; expected a program for each, or a `base` that has them.")
    stages = {}
    for name, spec in specs.items():
        if not str(name).isidentifier() or name == "seed":
            raise ValueError(f"a stage is called {shown(name)}; expected letters, digits and '_', and not 'seed'.")
        if not isinstance(spec, Mapping) or not spec.get("program"):
            raise ValueError(f"stage {name} has no program; expected program: recipes/dpo.py, or rlaif judge, say.")
        _check_keys(f"stage {name}", spec, _STAGE_KEYS, (), "")
        settings = read_yaml(spec["config"]) if spec.get("config") else {}
        _check_free(f"stage {name}", _mapping(spec, "set"), spec.get("writes"))
        others = {key: spec.get(key) for key in ("launch", "python", "writes")}
        settings = laid_over(f"stage {name}: ", str(spec["program"]), settings, _mapping(spec, "set"))
        stages[name] = StageSpec(name, str(spec["program"]), settings, **others)
    for stage in stages.values():
        _check_words(f"stage {stage.name}", stage.settings, stages)
    return stages


def _check_free(where: str, settings: Iterable[str], writes: str | None) -> None:
    """A ValueError for a setting that says where a stage writes: each has a folder of its own."""
    if taken := [name for name in settings if name in ("output", "output_dir", "output-dir", writes)]:
        raise ValueError(f"{where} sets {taken[0]}; every stage writes to a folder of its own: leave it out.")


def _check_words(where: str, value: Any, stages: Iterable[str]) -> None:
    for word in words_in(value):
        if word not in ("seed", *stages):
            raise ValueError(f"{where} names ${{{word}}}; {did_you_mean(word, ['seed', *stages])}")


# Cells ----------------------------------------------------------------------------------------------------------------


def _levels(factor: str, value: Any, stages: Mapping[str, StageSpec]) -> dict[Any, dict[str, Any]]:
    """The levels of a factor, each with what it sets."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError(
            f"factor {factor} is {shown(value)}; expected its levels, `hard: {{dpo.preference_loss: hard}}`, or the "
            "values of a setting, `dpo.beta: [0.1, 0.3]`."
        )
    levels = {level: {} if sets is None else sets for level, sets in value.items()}
    if lists := [key for key, of_it in value.items() if isinstance(of_it, list)]:
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
        _check_known(f"{where} sets {key}, but there is no stage", stage, stages)
        _check_free(where, [setting], stages[stage].writes)
        _check_words(where, value, stages)


def _joined(where: str, parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What several levels set, together; a ValueError where two set the same."""
    sets: dict[str, Any] = {}
    for part in parts:
        if both := sorted(set(sets) & set(part)):
            raise ValueError(f"{both[0]} is set by {where} and by another; expected one.")
        sets |= part
    return sets


def _grid(factors: Mapping[str, Any], stages: Mapping[str, StageSpec]) -> list[Cell]:
    """Every combination of the factors' levels."""
    levels = [_levels(str(factor), value, stages).items() for factor, value in factors.items()]
    return [
        Cell(
            {factor: level for factor, (level, _) in zip(factors, combination, strict=True)},
            _joined(f"one of the factors {', '.join(map(str, factors))}", (sets for _, sets in combination)),
        )
        for combination in itertools.product(*levels)
    ]


def _cells(factors: Mapping[str, Any], variants: Mapping[str, Any], stages: Mapping[str, StageSpec]) -> list[Cell]:
    grid = _grid(factors, stages)
    if VARIANT in factors:
        raise ValueError(f"a factor is called {VARIANT!r}, which names the variants; expected another name.")
    if not variants and not factors:
        raise ValueError("there are no factors and no variants; expected what is varied.")
    cells = []
    for name, spec in variants.items():
        spec = {} if spec is None else spec
        _check_keys(f"variant {name}", spec, ("set", "over", "reads"), (), "{set: ..., over: ..., reads: ...}")
        for stage in spec.get("reads") or ():
            _check_known(f"variant {name} reads", stage, stages)
        own, sets = _mapping(spec, "over"), _mapping(spec, "set")
        _check_overrides(f"variant {name}", sets, stages)
        if both := sorted(set(own) & set(factors)):
            raise ValueError(f"variant {name} runs over {both[0]}, which is a factor too; expected another name.")
        for cell, inner in itertools.product(grid, _grid(own, stages)):
            coordinates = {**cell.coordinates, VARIANT: name, **inner.coordinates}
            overrides = _joined(f"variant {name}", (cell.overrides, {**sets, **inner.overrides}))
            cells.append(Cell(coordinates, overrides, spec.get("reads")))
    return cells if variants else grid


def _check_coordinates(where: str, asked: Mapping[str, Any], cells: Sequence[Cell]) -> None:
    """A ValueError where `asked` names a factor, or a level, that no cell has."""
    for factor, level in asked.items():
        _check_known(f"{where} names the factor", factor, dict.fromkeys(f for cell in cells for f in cell.coordinates))
        levels = dict.fromkeys(cell.coordinates[factor] for cell in cells if factor in cell.coordinates)
        if level not in levels:
            raise ValueError(f"{where} has {factor}: {shown(level)}; expected one of {', '.join(map(shown, levels))}.")


def _baseline(asked: dict[str, Any], cells: Sequence[Cell]) -> dict[str, Any]:
    _check_coordinates("baseline", asked, cells)
    every = [dict(cell.coordinates) for cell in cells]
    matching = [c for c in every if asked.items() <= c.items()]
    alone = [c for c in every if {**c, **asked} not in every]
    if asked and alone and len(matching) != 1:
        raise ValueError(
            f"baseline {asked} is {len(matching)} cells, and {Cell(alone[0], {}).label} has no twin among them; "
            "expected one cell, or one for each combination of the other factors."
        )
    return asked


# Outcomes and curves --------------------------------------------------------------------------------------------------

_OUTCOME_KEYS = ("stage", "metric", "label", "compare", "unit", "points", "x", "y", "at")


def _outcomes(specs: Mapping[str, Any], stages: Mapping[str, StageSpec]) -> list[Outcome]:
    outcomes = []
    for name, spec in specs.items():
        _check_name(f"outcome {name}: its name", name, "its picture is called like it")
        of_points = isinstance(spec, Mapping) and "points" in spec
        needed = ("stage", *(("points", "x", "y", "at") if of_points else ("metric",)))
        expected = "{stage: evaluate, metric: path.to.number}, or {stage: ..., points: ..., x: ..., y: ..., at: 2}"
        _check_keys(f"outcome {name}", spec, _OUTCOME_KEYS, needed, expected)
        _check_known(f"outcome {name} is of the stage", spec["stage"], stages)
        _check_texts(f"outcome {name}: its ", spec, ("metric", "label", "points", "x", "y"))
        if not isinstance(compare := spec.get("compare", True), bool):
            raise ValueError(f"outcome {name} has compare: {shown(compare)}; expected true or false, without quotes.")
        for key in ("unit", "at"):
            if not isinstance(number := spec.get(key, 1.0), int | float) or isinstance(number, bool) or number <= 0:
                raise ValueError(f"outcome {name} has {key}: {shown(number)}; expected a number above 0.")
        words = {
            "label": str(name).replace("_", " "),
            "metric": f"{spec.get('y')} at {spec.get('x')} of at most {spec.get('at')} ({spec.get('points')})",
        }
        given = {key: value for key, value in spec.items() if value is not None}
        outcomes.append(Outcome(name=str(name), **{**words, **given}))
    return outcomes


_CURVE_KEYS = ("x_label", "y_label", "scale", "lines")
_LINE_KEYS = ("cells", "x", "y", "stage", "points", "by", "fit")


def _curves(
    specs: Mapping[str, Any], stages: Mapping[str, StageSpec], outcomes: Sequence[Outcome], cells: Sequence[Cell]
) -> list[Curve]:
    curves = []
    for name, spec in specs.items():
        _check_name(f"curve {name}: its name", name, "its picture is called like it")
        if name in {outcome.name for outcome in outcomes}:
            raise ValueError(f"a curve is called {shown(name)}, as an outcome is; expected another name.")
        _check_keys(f"curve {name}", spec, _CURVE_KEYS, ("lines",), "lines: {name: {x: ..., y: ...}}")
        _check_texts(f"curve {name}: its ", spec, ("x_label", "y_label"))
        scale = spec.get("scale", "linear")
        _check_known(f"curve {name} has the scale", scale, ("linear", "sqrt", "log"))
        lines = [
            _line(f"curve {name}, line {line}", line, s, stages, outcomes, cells)
            for line, s in _mapping(spec, "lines").items()
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
    _check_keys(where, spec, _LINE_KEYS, ("x", "y"), "{x: ..., y: ...}")
    _check_texts(f"{where}: its ", spec, ("points", *(("x", "y") if spec.get("points") else ())))
    line = Line(str(name), **{key: spec[key] for key in _LINE_KEYS if spec.get(key) is not None})
    _check_coordinates(where, line.cells, cells)
    mine = [cell for cell in cells if line.cells.items() <= cell.coordinates.items()]
    if not mine:
        raise ValueError(f"{where} has the cells {shown(dict(line.cells))}, which no cell is; expected one at least.")
    if line.by is not None and not all(line.by in cell.coordinates for cell in mine):
        raise ValueError(f"{where} is split by {shown(line.by)}; {did_you_mean(line.by, mine[0].coordinates)}")
    if line.fit is not None and (line.fit not in FORMS or line.points is None):
        raise ValueError(
            f"{where} has the fit {shown(line.fit)}; expected {' or '.join(FORMS)}, of `points` of a report."
        )
    if (line.stage is None) != (line.points is None):
        raise ValueError(f"{where} has one of `stage` and `points`; expected both, a list in a report, or neither.")
    if line.stage is not None:
        _check_known(f"{where} is of the stage", line.stage, stages)
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
        if axis in names and any(axis in cell.coordinates for cell in mine):
            raise ValueError(f"{where} has the axis {shown(axis)}, a factor and an outcome; expected distinct names.")
        if not all(isinstance(cell.coordinates.get(axis), int | float) for cell in mine):
            _check_known(f"{where} has the axis", axis, names)
    return line
