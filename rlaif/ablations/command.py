"""Runs an ablation: plans it, says what is shared and what is there, runs the rest, writes the table."""

from __future__ import annotations

import datetime
import os
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rlaif.ablations.collect import collect, missing_metric, missing_points
from rlaif.ablations.held_out import compare_prompts
from rlaif.ablations.parts import Study
from rlaif.ablations.schedule import Cluster, Launcher, ThisMachine, missing, run_stages
from rlaif.ablations.stages import Plan, Stage, plan_study, record_of
from rlaif.ablations.study import load_study, read_yaml
from rlaif.config import UsageError, named_values, parse, warn
from rlaif.files.manifest import write_manifest
from rlaif.files.ownership import check_output, claim
from rlaif.files.runs import aligned
from rlaif.pages.ablation import alike, write_page

__all__ = ["AblateConfig", "ablate", "read_command"]


@dataclass
class AblateConfig:
    """How an ablation is run; what it is stands beside these in the YAML file."""

    output: str | None = field(
        default=None, metadata={"help": "Folder of the table and pictures. Default: runs/ablations/NAME."}
    )
    store: str = field(
        default="runs/ablations/stages", metadata={"help": "Folder of the stages, which all ablations share."}
    )
    base: str | None = field(
        default=None,
        metadata={"help": "Instead of the file's: the same question in another world. Default output: NAME_BASE."},
    )
    seeds: list[int] | None = field(default=None, metadata={"help": "Instead of the file's."})
    jobs: int | None = field(
        default=None,
        metadata={
            "help": "Stages side by side. Default: one for each of gpus; else cores / threads where threads is set, "
            "else 1; a cluster: 64."
        },
    )
    threads: int | None = field(
        default=None,
        metadata={
            "help": "OMP_NUM_THREADS of each. Default: the cores divided by jobs; a cluster: 1. Sums round differently "
            "with another number, so a stage is used again only for the same."
        },
    )
    gpus: list[str] = field(
        default_factory=list,
        metadata={"help": "Ids of this machine's GPUs, as many for each job (--gpus 0 1 2 3). Default: each sees all."},
    )
    cluster: str | None = field(
        default=None,
        metadata={
            "help": "'slurm': every stage is a job, through submitit; 'local': submitit's stand-in on this machine.",
            "choices": ["slurm", "local"],
        },
    )
    cluster_options: list[str] = field(
        default_factory=list,
        metadata={"help": "name=value for submitit: timeout_min=240 gpus_per_node=1 slurm_partition=gpu."},
    )
    report_to: str = field(
        default="none",
        metadata={"help": "Where training stages log to, by TRL's own report_to: tensorboard, trackio, wandb."},
    )
    dry_run: bool = field(
        default=False, metadata={"help": "Print the cells, what they share and what would run; run nothing."}
    )

    def __post_init__(self) -> None:
        if self.cluster_options and not self.cluster:
            raise ValueError(f"cluster_options are {self.cluster_options} without a cluster; expected --cluster slurm.")
        if self.cluster and self.gpus:
            raise ValueError("gpus are this machine's; on a cluster set --cluster_options gpus_per_node=1.")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if self.jobs is None:
            here = max(1, cores // self.threads) if self.threads else 1
            self.jobs = 64 if self.cluster else len(self.gpus) or here
        if self.gpus and len(self.gpus) % self.jobs:
            raise ValueError(
                f"{len(self.gpus)} GPUs cannot be dealt out evenly to {self.jobs} jobs; expected a number of jobs that "
                f"divides {len(self.gpus)}."
            )
        if self.threads is None:
            self.threads = 1 if self.cluster else max(1, cores // self.jobs)


def read_command(arguments: Sequence[str], description: str | None = None) -> tuple[AblateConfig, Study, str]:
    """The settings, the study and its file, from `--config FILE` and what stands beside it on the command line.

    Raises:
        UsageError: the file cannot be read, or something in it or on the command line does not fit.
    """
    try:
        return _read_command(arguments, description)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _read_command(arguments: Sequence[str], description: str | None) -> tuple[AblateConfig, Study, str]:
    arguments = [
        part for word in arguments for part in (word.split("=", 1) if word.startswith("--config=") else [word])
    ]
    if "--help" in arguments or "-h" in arguments:
        parse(AblateConfig, args=arguments, description=description)
    if "--config" not in arguments[:-1]:
        raise ValueError("--config is missing; expected the YAML file of an ablation, as in recipes/ablations/.")
    at = arguments.index("--config")
    path = arguments[at + 1]
    content = read_yaml(path)
    known = [f.name for f in fields(AblateConfig) if f.name not in ("base", "seeds")]  # these belong to the study
    own = {key: content.pop(key) for key in known if key in content}
    # Written as if before the command line's own words, of which the last counts.
    words = [word for key, value in own.items() if value is not None for word in _as_words(key, value)]
    (config,) = parse(AblateConfig, args=[*words, *arguments[:at], *arguments[at + 2 :]], description=description)
    return config, load_study(content, path, config.seeds, known, config.base), path


def _as_words(key: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        value = [f"{name}={item}" for name, item in value.items()]
    return [f"--{key}", *map(str, value if isinstance(value, list) else [value])]


def ablate(config: AblateConfig, study: Study, path: str) -> int:
    """Runs what is missing of a study and writes its table: how many of its runs (a cell with a seed) have failed.

    Raises:
        ValueError: something in the study is not as expected; as much as can be known is known before anything runs.
    """
    assert config.jobs is not None
    assert config.threads is not None
    store = Path(config.store)
    output = config.output or f"runs/ablations/{study.name}"
    reads: list[str | Path] = [path, store]
    check_output(output, "scripts/ablate.py", reads)
    gpus = len(config.gpus) // config.jobs if config.gpus else None
    plan = plan_study(study, store, config.threads, config.report_to, gpus)
    for program in dict.fromkeys(stage.program for stage in plan.order if stage.program.names is None):
        warn(f"{program.name} declares no SETTINGS: what its stages set is not checked before they run.")
    for line in describe(plan):
        print(line)
    if len(study.seeds) < 2:
        warn(f"seeds are {', '.join(map(str, study.seeds))}: one seed gives no interval, and the table will say so.")
    if config.dry_run:
        for line in _would_run(plan):
            print(line)
        return 0
    launcher: Launcher = ThisMachine(config.jobs, config.gpus)
    if config.cluster:
        import yaml

        named = named_values(config.cluster_options, "cluster_options", "submitit's")
        options = {name: yaml.safe_load(value) for name, value in named.items()}
        launcher = Cluster(config.cluster, store / "jobs", config.jobs, {"cpus_per_task": config.threads, **options})
    started = time.time()
    failures = run_stages(plan, launcher, study.name, _Progress(plan), 1.0 if config.cluster else 0.1)
    report = {
        **collect(plan, failures),
        "threads": config.threads,
        "jobs": config.jobs,
        "wall_seconds": round(time.time() - started, 1),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    file = read_yaml(path)
    settings = {
        **vars(config),
        "name": study.name,
        "file": file,
        "stages": {stage.folder.name: {"program": stage.program.name, **stage.settings} for stage in plan.order},
    }
    with claim(output, "scripts/ablate.py", reads):
        write_page(output, report)
        write_manifest(output, "scripts/ablate.py", settings, [path, *study.bases])
    failed = sum(len(c["failed"]) for c in report["cells"])
    for cell in report["cells"]:
        for (stage, line), seeds in alike(cell["failed"]).items():
            print(f"failed: {cell['label']}, seed {', '.join(seeds)}: {stage}: {line}")
    print(f"wrote {output}/report.md, table.csv, values.csv and {len(list(Path(output).glob('*.png')))} pictures")
    if report["problems"]:
        raise ValueError(
            f"{' '.join(report['problems'])} The table is written without that, and nothing is lost: mend the file and "
            "run it again."
        )
    return failed


# Before anything runs -------------------------------------------------------------------------------------------------


def describe(plan: Plan) -> list[str]:
    """What a plan consists of, in lines: the cells, and of each stage how many there are, shared, done, to run."""
    study, order = plan.study, plan.order
    users = {stage: {index for index, _ in plan.users(stage)} for stage in order}
    shared = [stage for stage in order if len(users[stage]) > 1]
    done = [stage for stage in order if stage.done]
    todo = missing(plan)
    makers = Counter(_maker(stage) for stage in done)
    lines = [
        f"{study.name}: {len(study.cells)} cells x {len(study.seeds)} seeds = {len(order)} stages, {len(shared)} of "
        "them shared by several cells",
        f"{len(done)} are there already" + (f" ({_made_by(makers)})" if makers else "")
        + f", {len(todo)} to run{_estimate(todo)}",
    ]  # fmt: skip
    names = list(dict.fromkeys(stage.name for stage in order))
    rows = [["stage", "program", "stages", "for cells", "there", "to run"]]
    for name in names:
        mine = [stage for stage in order if stage.name == name]
        for_cells = sorted({len(users[stage]) for stage in mine})
        count = "-".join(map(str, dict.fromkeys((for_cells[0], for_cells[-1]))))
        there, run = (str(sum(stage in some for stage in mine)) for some in (done, todo))
        programs = ", ".join(dict.fromkeys(stage.program.name for stage in mine))
        rows.append([name, programs, str(len(mine)), f"{count} each", there, run])
    return [*lines, *aligned(rows), "cells:", *(f"  {_cell_line(plan, index)}" for index in range(len(study.cells)))]


def _made_by(makers: Mapping[str, int]) -> str:
    return ", ".join(f"{count} made by {name}" for name, count in makers.items())


def _estimate(todo: Sequence[Stage]) -> str:
    """How long stages may take: by the median of those of the same name that the store has."""
    seconds = 0.0
    for name, count in Counter(stage.name for stage in todo).items():
        found = [record_of(path.parent) for path in todo[0].folder.parent.glob(f"{name}-*/stage.json")]
        took = [record["seconds"] for record in found if record is not None]
        if not took:
            return ""
        seconds += count * statistics.median(took)
    return f", about {seconds / 60:.0f} minutes of one job, going by those of the same names" if todo else ""


def _maker(stage: Stage) -> str:
    record = record_of(stage.folder)
    return str(record["made_by"]) if record is not None else "nobody"


def _cell_line(plan: Plan, index: int) -> str:
    cell = plan.study.cells[index]
    twin = plan.study.baseline_of(cell)
    against = f" (against {twin.label})" if twin is not None else " (baseline)" if plan.study.baseline else ""
    return cell.label + against


def _would_run(plan: Plan) -> list[str]:
    lines = ["would run:"]
    for stage in missing(plan):
        users = plan.users(stage)
        cells = list(dict.fromkeys(plan.study.cells[index].label for index, _ in users))
        seeds = ", ".join(map(str, dict.fromkeys(seed for _, seed in users)))
        who = cells[0] if len(cells) == 1 else f"{len(cells)} cells"
        lines.append(f"  {stage.folder.name}  {stage.program.name}, for {who}, seed {seeds}")
    return lines if len(lines) > 1 else ["nothing would run: the table would be written"]


# While it runs --------------------------------------------------------------------------------------------------------


class _Progress:
    """Says what becomes of each stage, and what a finished report lets be known: a number that is not in it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.total = len(missing(plan))
        self.ended = 0
        self.started = time.time()
        self._since: dict[Stage, float] = {}
        self._warned: set[str] = set()

    def __call__(self, stage: Stage, what: str) -> None:
        if what == "started":
            self._since[stage] = time.time()
            return
        self.ended += 1
        so_far = datetime.timedelta(seconds=round(time.time() - self.started))
        took = time.time() - self._since[stage]
        print(f"[{self.ended:>4}/{self.total}  {so_far}] {stage.folder.name} {what}, {took:.1f} s", flush=True)
        if what == "failed":
            print(f"    see {stage.folder / 'log.txt'}", flush=True)
            return
        study = self.plan.study
        lines = [line for curve in study.curves for line in curve.lines if line.stage == stage.name]
        found = [missing_metric(stage, outcome) for outcome in study.outcomes if outcome.stage == stage.name]
        found += [missing_points(stage, line) for line in lines]
        if found:
            shared = compare_prompts(stage)
            found += [shared.shared, shared.unread and f"prompts that could not be compared: {shared.unread}"]
        for said in found:
            if said and said not in self._warned:
                self._warned.add(said)
                warn(said)
