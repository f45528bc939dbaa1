"""A study's cells as stages: each a program with all of its settings, and an address that says what is asked of it.

    address = hash(name, program, library versions, settings, launch file, threads, GPUs dealt out, inputs)

Inputs are other stages, by their addresses, and files, by their fingerprints. So the whole plan is known before
anything runs, and two cells, or two ablations, that ask for the same thing have one stage. Which code a stage executed,
its inputs' included, stands in its record: it is used again as long as these files are as they were, and else computed
again in the same place. A folder of the store belongs to one address:

    NAME-ADDRESS/
      request.json      what is asked for
      settings.yaml     the program's settings
      lock              held while it runs
      log.txt           what it printed
      output/           what it wrote
      imported.json     the files of code that it imported
      stage.json        seconds, peak memory, the code's hashes: written last, so a stage that has it is done
      started.json      when, and the seconds of attempts before
      failed.json       or: status and the last line of the log
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Any

from rlaif.ablations.parts import Cell, StageSpec, Study
from rlaif.ablations.programs import Program, changed_in, command_of, laid_over, program_of, versions
from rlaif.ablations.study import read_yaml
from rlaif.ablations.words import words_in
from rlaif.config import UsageError
from rlaif.files.sources import fingerprint, json_object
from rlaif.settings_checks import check_values

__all__ = ["Plan", "Stage", "needed", "plan_study", "record_of"]

# Where things are shown or written to; not what is computed.
UNADDRESSED = ("report_to", "run_name", "project", "trackio_space_id", "disable_tqdm", "output", "output_dir")


@dataclass(frozen=True, eq=False)
class Stage:
    """One program with its settings. Stages of one address are one object.

    Attributes:
        name: the study's word for it.
        address: 12 hex digits, see the module's docstring.
        program: what it runs.
        settings: as the program gets them.
        words: the command.
        inputs: the stages whose folders it reads.
        folder: where it runs.
        threads: its OMP_NUM_THREADS.
        here: whether it runs under this Python, and not under one of another environment.
        files: the files and folders that it reads, other stages' apart, with their fingerprints.
    """

    name: str
    address: str
    program: Program
    settings: Mapping[str, Any]
    words: Sequence[str]
    inputs: Sequence[Stage]
    folder: Path
    threads: int
    here: bool
    files: Mapping[str, str]

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def done(self) -> bool:
        """Whether it has run, with the code as it is now."""
        record = record_of(self.folder)
        return record is not None and self.output.exists() and changed_in(record["code"]) is None

    def ancestors(self) -> list[Stage]:
        """Every stage that it needs, itself the last, each once and after its own inputs."""
        found: dict[Stage, None] = {}
        for stage in self.inputs:
            found |= dict.fromkeys(stage.ancestors())
        return [*found, self]


def record_of(folder: Path) -> dict[str, Any] | None:
    """stage.json of a stage that has run; None of another, and of one that an earlier version ran."""
    record = json_object(folder / "stage.json")
    return record if "code" in record else None


@dataclass
class Plan:
    """What a study would run.

    Attributes:
        stages: by cell (its place in the study) and seed, the stage of each name that is needed.
        order: all of them, each once and after its inputs.
        made: when it was made, in seconds since 1970.
    """

    study: Study
    stages: dict[tuple[int, int], dict[str, Stage]] = field(default_factory=dict)
    order: list[Stage] = field(default_factory=list)
    made: float = field(default_factory=time.time)

    def read(self) -> list[Stage]:
        """The stages that numbers are read from."""
        names = needed(self.study)
        cells = self.study.cells
        return list(dict.fromkeys(
            stages[name] for (index, _), stages in self.stages.items() for name in names
            if name in stages and _wanted(self.study, cells[index], name)
        ))  # fmt: skip

    def users(self, stage: Stage) -> list[tuple[int, int]]:
        """The cells and seeds that need a stage."""
        return [place for place, stages in self.stages.items() if stages.get(stage.name) is stage]


def needed(study: Study) -> list[str]:
    """The stages that a number is read from."""
    read = [outcome.stage for outcome in study.outcomes]
    read += [line.stage for curve in study.curves for line in curve.lines if line.stage]
    return list(dict.fromkeys(read))


def plan_study(study: Study, store: Path, threads: int, report_to: str = "none", gpus: int | None = None) -> Plan:
    """The stages of every cell and seed.

    Args:
        study: what is asked for.
        store: the folder of all stages.
        threads: OMP_NUM_THREADS of each.
        report_to: where training stages log to.
        gpus: how many GPUs each is dealt; None where nothing is dealt out.

    Raises:
        ValueError: stages that need one another, a program that is not there, or two cells that are one.
    """
    plan = Plan(study)
    made: dict[str, Stage] = {}
    for index, cell in enumerate(study.cells):
        specs = _overridden(study.stages, cell)
        for seed in study.seeds:
            maker = _Maker(study, specs, seed, store, threads, report_to, gpus, made)
            wanted = [name for name in needed(study) if _wanted(study, cell, name)]
            found = {s.name: s for name in wanted for s in maker.stage(name).ancestors()}
            plan.stages[index, seed] = found
    # Seed by seed, cells taking turns at going first: what a run leaves behind (a warm cache, a hot CPU) falls on all.
    cells = range(len(study.cells))
    turns = [(cell, seed) for at, seed in enumerate(study.seeds) for cell in (cells[::-1] if at % 2 else cells)]
    plan.order = list(dict.fromkeys(stage for turn in turns for stage in plan.stages[turn].values()))
    _check_distinct(plan)
    _check_seeds(plan)
    _check_overrides_used(plan)
    return plan


def _wanted(study: Study, cell: Cell, name: str) -> bool:
    """Whether anything is read from a stage in this cell: outcomes always, points only where their line's cells are."""
    if not cell.has(name):
        return False
    if any(outcome.stage == name for outcome in study.outcomes):
        return True
    lines = [line for curve in study.curves for line in curve.lines if line.stage == name]
    return any(line.cells.items() <= cell.coordinates.items() for line in lines)


def _overridden(stages: Mapping[str, StageSpec], cell: Cell) -> dict[str, StageSpec]:
    """The stages with what the cell's levels set; a setting of null is left out.

    A stage that a level gives another program has the settings alone that the level sets.
    """
    specs = {}
    for name, spec in stages.items():
        own = {key.partition(".")[2]: v for key, v in cell.overrides.items() if key.partition(".")[0] == name}
        if "program" in own:
            spec = StageSpec(name, str(own.pop("program")), {}, own.pop("launch", None), own.pop("python", None))
        settings = laid_over(f"the cell {cell.label}, stage {name}: ", spec.program, spec.settings, own)
        settings = {key: value for key, value in settings.items() if value is not None}
        specs[name] = replace(spec, settings=settings)
    return specs


class _Maker:
    """Makes the stages of one cell and seed; `made` holds those of all, by address."""

    def __init__(
        self,
        study: Study,
        specs: Mapping[str, StageSpec],
        seed: int,
        store: Path,
        threads: int,
        report_to: str,
        gpus: int | None,
        made: dict[str, Stage],
    ) -> None:
        self.study, self.specs, self.seed, self.store, self.threads = study, specs, seed, store, threads
        self.report_to, self.gpus, self.made = report_to, gpus, made
        self._open: list[str] = []
        self._here: dict[str, Stage] = {}

    def stage(self, name: str) -> Stage:
        if name in self._here:
            return self._here[name]
        if name in self._open:
            circle = " -> ".join([*self._open[self._open.index(name) :], name])
            raise UsageError(f"stages need one another: {circle}; expected each to need earlier ones only.")
        self._open.append(name)
        spec = self.specs[name]
        program = program_of(spec.program)
        inputs = [self.stage(word) for word in dict.fromkeys(words_in(spec.settings)) if word != "seed"]
        self._open.pop()
        launch = spec.launch or (self.study.launch if program.trains else None)
        settings = dict(spec.settings)
        if program.names is not None:  # a misspelt one would else be found when its stage runs, after all before it
            settings = program.names.of_mapping(settings, f"stage {name}: ")
        filled = _filled(settings, {s.name: str(s.output) for s in inputs}, self.seed)
        _check_values(program, filled, name)
        addressed = {key: value for key, value in settings.items() if key not in UNADDRESSED}
        files = {path: _fingerprint(path) for path in _files(addressed)}
        address = _address(
            {
                "name": name,
                "program": spec.program,
                "versions": versions(spec.python),
                "settings": _filled(addressed, {s.name: f"@{s.address}" for s in inputs}, self.seed),
                "files": files,
                "launch": launch and _fingerprint(launch),
                "threads": self.threads,
                **({} if self.gpus is None else {"gpus": self.gpus}),
            }
        )
        folder = self.store / f"{name}-{address}"
        words = command_of(program, launch, spec.python, folder / "imported.json")
        if address not in self.made:
            settings = filled
            if program.trains and self.report_to != "none":
                settings |= {"report_to": self.report_to, "run_name": folder.name}
            settings[spec.writes or ("output_dir" if program.trains else "output")] = str(folder / "output")
            words += ["--config", str(folder / "settings.yaml")]
            files |= {launch: _fingerprint(launch)} if launch else {}
            here = spec.python is None
            self.made[address] = Stage(
                name, address, program, settings, words, inputs, folder, self.threads, here, files
            )
        self._here[name] = self.made[address]
        return self._here[name]


def _check_values(program: Program, settings: Mapping[str, Any], stage: str) -> None:
    """A UsageError for a value that the program would refuse: else it is found when all stages before it have run."""
    if program.names is not None:
        try:
            check_values(program.names.settings, settings)
        except ValueError as error:
            raise UsageError(f"stage {stage}: {error}") from None


def _address(asked: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _filled(value: Any, names: Mapping[str, str], seed: int) -> Any:
    """A setting with `${...}` filled in; "${seed}" alone becomes the number."""
    if isinstance(value, Mapping):
        return {key: _filled(item, names, seed) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, names, seed) for item in value]
    if not isinstance(value, str):
        return value
    return seed if value == "${seed}" else Template(value).substitute(names, seed=seed)


# Inputs ---------------------------------------------------------------------------------------------------------------


def _texts(value: Any) -> Iterator[str]:
    """Every text in a setting, and what stands after its `=` (`reward_model=FOLDER`)."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str) and value:
        yield value
        if value.partition("=")[2]:
            yield value.partition("=")[2]


def _files(settings: Any, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The files and folders that settings name, and those that YAML files among them name (a judge's model)."""
    here = Path.cwd()
    for text in _texts(settings):
        path = Path(text)
        # A folder that holds this one is no input but a word like "." or "/", and takes ages to read.
        if text in seen or len(text) > 1000 or not path.exists() or here.is_relative_to(path.resolve()):
            continue
        yield text
        if path.suffix in {".yaml", ".yml"} and path.is_file():
            yield from _files(read_yaml(path), seen | {text})


_fingerprints: dict[tuple[str, int], str] = {}


def _fingerprint(path: str) -> str:
    """`fingerprint`, once for each path and time of change: a model is an input of many stages."""
    file = Path(path)
    newest = max((p.stat().st_mtime_ns for p in [file, *(file.rglob("*") if file.is_dir() else ())]), default=0)
    key = (path, newest)
    if key not in _fingerprints:
        _fingerprints[key] = fingerprint(path)
    return _fingerprints[key]


# Checks ---------------------------------------------------------------------------------------------------------------


def _check_distinct(plan: Plan) -> None:
    """A ValueError for two cells that would compute the same: the table would show one number as two findings."""
    seen: dict[tuple[str, ...], Cell] = {}
    for index, cell in enumerate(plan.study.cells):
        print_ = tuple(s.address for seed in plan.study.seeds for s in plan.stages[index, seed].values())
        if print_ in seen:
            other = seen[print_]
            differ = [f for f in cell.coordinates if cell.coordinates[f] != other.coordinates.get(f)]
            raise UsageError(
                f"the cells {other.label} and {cell.label} are one: {' and '.join(differ)} changes no stage that an "
                "outcome is read from. Set something that does, or leave the level out."
            )
        seen[print_] = cell


def _check_seeds(plan: Plan) -> None:
    """A ValueError where several seeds are one run: the mean over them would have an interval without a width."""
    study = plan.study
    for index, cell in enumerate(study.cells):
        for name in (name for name in needed(study) if name in plan.stages[index, study.seeds[0]]):
            if len({plan.stages[index, seed][name].address for seed in study.seeds}) < len(study.seeds):
                raise UsageError(
                    f"the stage {name} of the cell {cell.label} is the same run with several of the seeds "
                    f"{', '.join(map(str, study.seeds))}: nothing on the way to it depends on them. Set seed: "
                    f"${{seed}} in one of {', '.join(plan.stages[index, study.seeds[0]])}."
                )


def _check_overrides_used(plan: Plan) -> None:
    """A ValueError where a cell sets something of a stage that it does not need."""
    for index, cell in enumerate(plan.study.cells):
        names = {name for seed in plan.study.seeds for name in plan.stages[index, seed]}
        for key in cell.overrides:
            stage = key.partition(".")[0]
            if stage not in names:
                raise UsageError(
                    f"the cell {cell.label} sets {key}, but no outcome is read from the stage {stage} or from one that "
                    f"needs it; the cell's stages are {', '.join(sorted(names))}."
                )
