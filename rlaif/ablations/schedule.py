"""Runs stages when their inputs are there, several side by side: on this machine, or as jobs of a cluster."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rlaif.ablations.execute import GRACE, run_stage
from rlaif.ablations.stages import Plan, Stage
from rlaif.config import UsageError
from rlaif.errors.words import shown
from rlaif.files.sources import write_json

__all__ = ["Cluster", "Failure", "Launcher", "ThisMachine", "missing", "prepare", "run_stages"]


@dataclass(frozen=True)
class Failure:
    """Why a stage has no result: the stage that failed (itself, or one that it needs) and the last line of its log."""

    stage: Stage
    line: str


class Job(Protocol):
    """A stage that was started."""

    def poll(self) -> int | None:
        """None while it runs, then its exit status."""

    def stop(self) -> None:
        """Ends it now."""


class Launcher(Protocol):
    """Starts stages; at most `jobs` at once."""

    jobs: int

    def start(self, stage: Stage) -> Job: ...


def prepare(stage: Stage, made_by: str, planned: float) -> None:
    """Writes what `run_stage` reads: request.json, and the program's settings. `planned`: seconds since 1970."""
    import yaml

    stage.folder.mkdir(parents=True, exist_ok=True)
    # At once: another ablation may be running the stage, and its program reading them.
    written = stage.folder / f"settings.{os.getpid()}.yaml"
    written.write_text(yaml.safe_dump(dict(stage.settings), sort_keys=False), encoding="utf-8")
    written.replace(stage.folder / "settings.yaml")
    environment: dict[str, str | None] = {
        "OMP_NUM_THREADS": str(stage.threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **({} if stage.here else {"PYTHONPATH": None}),  # that is set for this environment, not for that one
    }
    write_json(
        stage.folder / "request.json",
        {
            "stage": stage.name,
            "address": stage.address,
            "program": stage.program.name,
            "words": list(stage.words),
            "environment": environment,
            "directory": os.getcwd(),  # settings name paths as seen from here
            "inputs": [str(s.folder) for s in stage.inputs],
            "files": dict(stage.files),
            "goes_on": stage.program.goes_on,
            "planned": planned,
            "made_by": made_by,
        },
    )


def run_stages(
    plan: Plan,
    launcher: Launcher,
    made_by: str,
    told: Callable[[Stage, str], None] = lambda stage, what: None,
    poll_seconds: float = 0.1,
) -> dict[Stage, Failure]:
    """Runs what a plan lacks; the stages that have no result, and why.

    Args:
        plan: its stages are started in its order.
        launcher: where they run.
        made_by: who is written down as having made them.
        told: called with a stage and what became of it: "started", "done", "failed".
    """
    failures: dict[Stage, Failure] = {}
    done = {stage for stage in plan.order if stage.done}
    waiting = missing(plan)
    running: dict[Stage, Job] = {}
    try:
        while waiting or running:
            for stage, job in list(running.items()):
                status = job.poll()
                if status is None:
                    continue
                del running[stage]
                if status == 0:
                    _wait_for_files(stage)
                if status == 0 and stage.done:
                    done.add(stage)
                    told(stage, "done")
                else:
                    failures[stage] = Failure(stage, _why(stage, status))
                    told(stage, "failed")
            for stage in list(waiting):
                blocked = next((failures[s] for s in stage.inputs if s in failures), None)
                if blocked is not None:
                    failures[stage] = blocked
                    waiting.remove(stage)
                elif len(running) < launcher.jobs and done.issuperset(stage.inputs):
                    waiting.remove(stage)
                    prepare(stage, made_by, plan.made)
                    running[stage] = launcher.start(stage)
                    told(stage, "started")
            if running:
                time.sleep(poll_seconds)
    except BaseException:
        with concurrent.futures.ThreadPoolExecutor(max(1, len(running))) as pool:
            list(pool.map(lambda job: job.stop(), running.values()))
        raise
    return failures


def missing(plan: Plan) -> list[Stage]:
    """The stages that have to run: those that numbers are read from and that are not done, and what they need.

    One that only finished stages have read (its folder was deleted to save space, say) is not run again.
    """
    needed: dict[Stage, None] = {}
    todo = plan.read()
    while todo:
        stage = todo.pop()
        if not stage.done and stage not in needed:
            needed[stage] = None
            todo += stage.inputs
    return [stage for stage in plan.order if stage in needed]


def _wait_for_files(stage: Stage, seconds: float = 30.0) -> None:
    """A network file system may show what another machine wrote a while later."""
    end = time.monotonic() + seconds
    while not stage.done and not (stage.folder / "failed.json").exists() and time.monotonic() < end:
        time.sleep(0.5)


def _why(stage: Stage, status: int) -> str:
    try:
        return str(json.loads((stage.folder / "failed.json").read_text(encoding="utf-8"))["line"])
    except (OSError, ValueError, KeyError):
        return f"its process ended with status {status} before it could say why; see {stage.folder / 'log.txt'}"


# This machine ---------------------------------------------------------------------------------------------------------


class ThisMachine:
    """Processes of this machine.

    Args:
        jobs: how many at once.
        gpus: ids of GPUs, dealt out to the jobs; none given, every job sees all. As many for each: a program that sees
            two computes with both, so the number is part of what it computes.
    """

    def __init__(self, jobs: int, gpus: Sequence[str] = ()) -> None:
        assert not gpus or len(gpus) % jobs == 0, "checked by AblateConfig"
        self.jobs = jobs
        self._gpus = gpus
        self._free = list(range(jobs))

    def start(self, stage: Stage) -> Job:
        slot = self._free.pop(0)
        environment = dict(os.environ)
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus[slot :: self.jobs])
        # A session of its own: Ctrl-C reaches the ablation alone, which then ends what it started, children included.
        process = subprocess.Popen(
            [sys.executable, "-m", "rlaif.ablations.execute", str(stage.folder)],
            env=environment,
            start_new_session=True,
        )
        return _Process(process, lambda: self._free.append(slot))


class _Process:
    def __init__(self, process: subprocess.Popen[bytes], free: Callable[[], None]) -> None:
        self._process, self._free = process, free

    def poll(self) -> int | None:
        status = self._process.poll()
        if status is not None:
            self._free()
        return status

    def stop(self) -> None:
        # All of the group: accelerate's launcher does not pass a signal on. The first of it waits for the program.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE + 5.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


# A cluster ------------------------------------------------------------------------------------------------------------


class Cluster:
    """Jobs of a cluster, through submitit. Its folder of logs and the store must be on a file system that all share.

    Args:
        cluster: "slurm", or "local": submitit's stand-in, processes of this machine.
        folder: where submitit keeps its files.
        jobs: how many in the queue at once.
        options: for submitit's `update_parameters`: timeout_min, gpus_per_node, slurm_partition, ...
    """

    def __init__(self, cluster: str, folder: Path, jobs: int, options: Mapping[str, Any]) -> None:
        try:
            import submitit
        except ImportError:
            raise ValueError(
                "cluster needs submitit, which is not installed; pip install submitit, or rlaif[cluster]."
            ) from None
        self.jobs = jobs
        self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        try:
            self._executor.update_parameters(**{"timeout_min": 24 * 60, **options})
        except (NameError, TypeError, ValueError) as error:
            raise UsageError(f"cluster_options are {shown(dict(options))}; {error}") from None

    def start(self, stage: Stage) -> Job:
        self._executor.update_parameters(name=stage.name)
        return _Submitted(self._executor.submit(run_stage, str(stage.folder.resolve())))


class _Submitted:
    def __init__(self, job: Any) -> None:
        self._job = job

    def poll(self) -> int | None:
        if not self._job.done():
            return None
        return 1 if self._job.exception() is not None else int(self._job.result())

    def stop(self) -> None:
        self._job.cancel()
