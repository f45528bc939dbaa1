"""PPO here and the last PPO of TRL (1.12.0, `trl.experimental.ppo`) on the same task, measured alike.

    python3 -m venv runs/trl112 && runs/trl112/bin/pip install trl==1.12.0
    bash scripts/quickstart.sh
    python scripts/compare_ppo.py --trl_python runs/trl112/bin/python

What it prints, for each trainer over the seeds: gold reward at equal KL to the SFT policy, samples a second and peak
memory. One evaluator (`rlaif evaluate`) answers the held-out prompts with the checkpoints of both, saved after equal
numbers of samples. Two runs with one seed are compared at the KL of the one that ends nearer to the SFT policy, by the
best gold reward that checkpoints of each have at this KL (`gold_at`). Into the output folder go report.json, with every
run's numbers, and the runs themselves; one that is finished is not run again unless settings, code or models change.

Shared: SFT policy, reward model (both score response and EOS in its own format), prompts and their number, tokens,
temperature, rollout size, PPO epochs, minibatches, policy learning rate (constant), Adam, float32, k1 KL in the reward
with a fixed coefficient, gamma, lambda, clipping of ratio and value, value coefficient, penalty without EOS, whitened
advantages. The default settings were chosen for TRL's trainer. What differs:

                        here                                        TRL 1.12
    critic              linear head on the policy's trunk,          a second model, first a copy of the reward model,
                        10 times the policy's learning rate         at the policy's learning rate
    score               at the last real token (EOS), less the      one position after it, where a further state has a
                        reward model's zero point                   value of its own; the zero point stays in
    GAE                 stops at EOS                                runs on, over padding that is worth 0
    cut responses       score at the last token, V beyond it is 0   the same
    gradient norm       clipped at 1                                not clipped
    loss of a step      mean over the rollout's tokens              mean over the minibatch's tokens
    minibatches         a TRL permutation for each PPO epoch        a NumPy permutation for each
    prompts, samples    each in an order and with random numbers of its own; no prompt twice in an epoch
    forward passes      one model, padding cut off minibatch by     two models and all their hidden states, padded to
                        minibatch                                   the rollout's longest
    old log-probs       a forward pass                              from generation's logits, kept for all positions

Seconds are those of train(): generation, scoring, learning and checkpoints; imports and evaluation are not in them.
Trainers take turns at going first, alone on the machine, with `--threads` threads each. Peak memory is the process's
peak resident set as the kernel counts it; with models this small it is mostly PyTorch, so what importing the trainer
takes and the bytes of the weights held are printed beside it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlaif import config
from rlaif.sources import write_json

ROOT = Path(__file__).resolve().parent.parent
WORKER = ROOT / "scripts/trl_ppo.py"
VERSION = "1.12.0"
TRAINERS = ("rlaif", "trl")


@dataclass
class CompareConfig:
    """What is compared, on what. The learning settings go to both trainers."""

    trl_python: str | None = field(default=None, metadata={"help": f"Python of an environment with trl=={VERSION}."})
    runs: str = field(default="runs/quickstart", metadata={"help": "The folder that scripts/quickstart.sh wrote."})
    output: str = field(default="runs/compare_ppo", metadata={"help": "Folder for report.json and the runs."})
    seeds: int = field(default=5, metadata={"help": "Runs of each trainer, seeds 0, 1, ...; at least 2."})
    samples: int = field(default=2000, metadata={"help": "Responses sampled in a run."})
    batch: int = field(default=100, metadata={"help": "Responses in a rollout."})
    minibatches: int = field(default=4, metadata={"help": "Optimizer steps in one pass over a rollout."})
    epochs: int = field(default=4, metadata={"help": "Passes over a rollout."})
    learning_rate: float = field(default=5e-5, metadata={"help": "The policy's, constant."})
    kl_coef: float = field(default=0.05, metadata={"help": "Reward taken off for a nat of KL."})
    value_coef: float = field(default=0.1, metadata={"help": "Weight of the value loss."})
    gamma: float = field(default=1.0, metadata={"help": "Discount of a token's reward."})
    gae_lambda: float = field(default=0.95, metadata={"help": "lambda of GAE."})
    cliprange: float = field(default=0.2, metadata={"help": "The ratio is held in [1 - cliprange, 1 + cliprange]."})
    value_clip: float = field(default=0.2, metadata={"help": "How far a value may move from its old one."})
    missing_eos_penalty: float = field(default=1.0, metadata={"help": "Taken off the score of a response without EOS."})
    response_length: int = field(default=40, metadata={"help": "Longest response, in tokens."})
    checkpoints: int = field(default=4, metadata={"help": "Points on each run's path at which it is evaluated."})
    prompts: int = field(default=300, metadata={"help": "Held-out prompts of an evaluation."})
    threads: int = field(default=1, metadata={"help": "OMP_NUM_THREADS of both trainers."})

    def __post_init__(self) -> None:
        if not 2 <= self.seeds <= len(T_95) + 1:
            raise ValueError(f"seeds is {self.seeds}; expected 2 to {len(T_95) + 1}, for an interval.")
        if self.batch < 1 or self.minibatches < 1 or self.batch % self.minibatches:
            raise ValueError(f"batch is {self.batch}; expected a multiple of minibatches ({self.minibatches}).")
        if self.checkpoints < 1 or self.samples < 1 or self.samples % (self.batch * self.checkpoints):
            raise ValueError(
                f"samples is {self.samples}; expected a multiple of batch * checkpoints "
                f"({self.batch * self.checkpoints}), so that both trainers save after the same samples."
            )


def main() -> None:
    (settings,) = config.parse(CompareConfig, description=__doc__)
    check(settings)
    output = Path(settings.output)
    imports = {name: import_memory(name, settings) for name in TRAINERS}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in TRAINERS}
    for seed in range(settings.seeds):
        # Whatever a run leaves behind (a warm file cache, a hot CPU) falls on both alike.
        for name in TRAINERS if seed % 2 == 0 else TRAINERS[::-1]:
            runs[name].append(train(name, settings, seed, output / f"{name}_{seed}"))
    for seed in range(settings.seeds):
        for name in TRAINERS:
            runs[name][seed]["path"] = evaluate(settings, seed, output / f"{name}_{seed}")
    report = {"settings": asdict(settings), "imports": imports, "runs": runs, **summary(runs)}
    write_json(output / "report.json", report)
    print(table(report))
    print(f"\nwrote {output / 'report.json'}")


# ------------------------------------------------------------------------------------------------------------ checks


def check(settings: CompareConfig) -> None:
    """A ValueError for what is missing, before anything runs."""
    make = f"python3 -m venv runs/trl112 && runs/trl112/bin/pip install trl=={VERSION}"
    python = settings.trl_python and shutil.which(settings.trl_python)
    if not python:
        raise ValueError(
            f"trl_python is {settings.trl_python!r}, which is no program; expected the Python of an environment with "
            f"trl=={VERSION}: {make}"
        )
    # Its metadata alone: importing TRL takes seconds.
    asked = "from importlib.metadata import version; print(version('trl'))"
    found = subprocess.run([python, "-I", "-c", asked], capture_output=True, text=True, env=environment(settings))
    if found.stdout.strip() != VERSION:
        got = f"trl {found.stdout.strip()}" if found.returncode == 0 else "no trl"
        raise ValueError(f"{settings.trl_python} has {got}; expected trl {VERSION}: {make}")
    for name in ("sft", "reward_model", "prompts.jsonl", "evaluation.jsonl"):
        if not (Path(settings.runs) / name).exists():
            raise ValueError(f"{settings.runs} has no {name}; expected what scripts/quickstart.sh writes; run it.")


# ---------------------------------------------------------------------------------------------------------- running


def environment(settings: CompareConfig) -> dict[str, str]:
    """What both trainers are started with."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(settings.threads),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def train(name: str, settings: CompareConfig, seed: int, folder: Path) -> dict[str, Any]:
    """One run of a trainer: its samples, seconds, peak memory and weights, in bytes."""
    asked = {**asdict(settings), "trl_python": None, "output": str(folder), "seed": seed}
    asked = {key: value for key, value in asked.items() if key not in {"seeds", "prompts"}} | fingerprints(
        name, settings
    )
    done = folder / "run.json"
    if done.exists():
        saved = json.loads(done.read_text(encoding="utf-8"))
        if saved["settings"] == asked:
            print(f"{folder} is there")
            return saved["run"]  # type: ignore[no-any-return]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"{folder}: training", flush=True)
    peak = run_measured(command(name, settings, seed, folder), settings, folder / "log.txt")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    numbers = report["train"] if name == "rlaif" else report
    if numbers["samples"] != settings.samples:
        raise ValueError(f"{folder} was trained on {numbers['samples']} samples; expected {settings.samples}.")
    run = {
        "seed": seed,
        "samples": numbers["samples"],
        "seconds": numbers["seconds"],
        "samples_per_second": numbers["samples"] / numbers["seconds"],
        "peak_memory": peak,
        "weights": numbers["weights"],
    }
    write_json(done, {"settings": asked, "run": run})
    return run


def fingerprints(name: str, settings: CompareConfig) -> dict[str, str]:
    """What tells a finished run of this code on these models from another's."""
    from rlaif.language_models import model_fingerprint

    code = {"rlaif": [*sorted((ROOT / "rlaif").rglob("*.py")), ROOT / "recipes/ppo.py"], "trl": [WORKER]}[name]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()[:16]
    return {"code": digest, **{m: model_fingerprint(Path(settings.runs) / m) for m in ("sft", "reward_model")}}


def command(name: str, settings: CompareConfig, seed: int, folder: Path) -> list[str]:
    """The command that trains: the same settings in each trainer's words."""
    runs = Path(settings.runs)
    steps = settings.samples // settings.batch * settings.epochs * settings.minibatches
    if name == "trl":
        asked = {
            **asdict(settings),
            "policy": str(runs / "sft"),
            "reward_model": str(runs / "reward_model"),
            "prompts": str(runs / "prompts.jsonl"),
            "output": str(folder),
            "seed": seed,
        }
        # Isolated (-I): a PYTHONPATH that is set for this environment is not for that one.
        return [str(shutil.which(settings.trl_python or "")), "-I", str(WORKER), json.dumps(asked)]
    options = {
        "model": runs / "sft",
        "rewards": f"reward_model={runs / 'reward_model'}",
        "prompts": runs / "prompts.jsonl",
        "output_dir": folder,
        "seed": seed,
        "num_generations": 1,
        "per_device_train_batch_size": settings.batch // settings.minibatches,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": settings.minibatches,
        "num_iterations": settings.epochs,
        "max_steps": steps,
        "save_strategy": "steps",
        "save_steps": steps // settings.checkpoints,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "constant",
        "warmup_steps": 0,
        "kl_coef": settings.kl_coef,
        "kl_estimator": "k1",
        "value_coef": settings.value_coef,
        "gamma": settings.gamma,
        "gae_lambda": settings.gae_lambda,
        "epsilon": settings.cliprange,
        "value_clip": settings.value_clip,
        "missing_eos_penalty": settings.missing_eos_penalty,
        "max_completion_length": settings.response_length,
        "temperature": 1.0,
        "report_to": "none",
        "disable_tqdm": True,
    }
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(ROOT / "recipes/accelerate/cpu.yaml")]
    words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
    return [sys.executable, *launch, str(ROOT / "recipes/ppo.py"), *words]


# A program starts out with the peak of the process that started it: hence one in between that is small.
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss, file=open(sys.argv[1], "w"))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run_measured(words: Sequence[str], settings: CompareConfig, log: Path) -> int:
    """Runs a program to its end and returns the peak resident set of the largest of its processes, in bytes."""
    peak = log.with_suffix(".peak")
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            [sys.executable, "-I", "-c", MEASURE, str(peak), *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(settings),
        )
    if done.returncode != 0:
        raise ValueError(f"`{' '.join(words)[:60]} ...` ended with status {done.returncode}; see {log}.")
    return int(peak.read_text()) * (1 if sys.platform == "darwin" else 1024)


def import_memory(name: str, settings: CompareConfig) -> int:
    """The peak resident set of a process that imports a trainer and ends, in bytes."""
    words = {
        "rlaif": [sys.executable, "-c", "import rlaif.training.ppo_trainer"],
        "trl": [
            str(shutil.which(settings.trl_python or "")),
            "-I",
            "-c",
            "from trl.experimental.ppo import PPOTrainer",
        ],
    }
    Path(settings.output).mkdir(parents=True, exist_ok=True)
    return run_measured(words[name], settings, Path(settings.output) / f"{name}_imports.txt")


def evaluate(settings: CompareConfig, seed: int, folder: Path) -> list[dict[str, float]]:
    """SFT and a run's checkpoints in order: samples seen, KL to SFT, gold reward, reward, length, share without EOS."""
    runs = Path(settings.runs)
    steps = sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))
    if len(steps) != settings.checkpoints:
        raise ValueError(f"{folder} has {len(steps)} checkpoints; expected {settings.checkpoints}.")
    names = {"sft": runs / "sft", **{f"step_{step}": folder / f"checkpoint-{step}" for step in steps}}
    words = [sys.executable, "-m", "rlaif", "evaluate", "--policies", *(f"{k}={v}" for k, v in names.items())]
    words += ["--prompts", str(runs / "evaluation.jsonl"), "--limit", str(settings.prompts), "--seed", str(seed)]
    words += ["--max_new_tokens", str(settings.response_length), "--gold", "rlaif.sandbox:gold_reward"]
    words += ["--reward_model", str(runs / "reward_model"), "--output", str(folder / "evaluation")]
    print(f"{folder}: evaluating", flush=True)
    run_measured(words, settings, folder / "evaluation.txt")
    report = json.loads((folder / "evaluation/report.json").read_text(encoding="utf-8"))
    keep = ("kl", "gold_reward", "reward", "length", "no_eos")
    return [
        {"samples": index * settings.samples // settings.checkpoints, **{key: policy[key] for key in keep}}
        for index, policy in enumerate(report["policies"].values())
    ]


# ---------------------------------------------------------------------------------------------------------- numbers

# Two-sided 95 % quantiles of Student's t with 1, 2, ... degrees of freedom.
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of n >= 2 values and its 95 % interval by Student's t: mean, low, high."""
    mean = statistics.fmean(values)
    error = T_95[len(values) - 2] * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - error, mean + error


def gold_at(path: Sequence[dict[str, float]], kl: float) -> float:
    """The gold reward that a run has to show at a KL of at most `kl` nats: of a checkpoint, or a mixture of two.

    A policy that answers with one checkpoint with probability p and else with another has the mean of their gold
    rewards and, KL being convex, at most the mean of their KLs. So the best such mixture is read off the upper concave
    envelope of the points (KL, gold reward): a run whose KL shoots up and comes back is not charged for the detour.

    Args:
        path: `kl` and `gold_reward` of SFT, whose KL is 0, and of the checkpoints.
        kl: 0 or more.
    """
    within = [point for point in path if point["kl"] <= kl]
    best = max(point["gold_reward"] for point in within)
    for near, far in itertools.product(within, [point for point in path if point["kl"] > kl]):
        share = (kl - near["kl"]) / (far["kl"] - near["kl"])
        best = max(best, (1.0 - share) * near["gold_reward"] + share * far["gold_reward"])
    return best


def equal_kl(paths: Sequence[Sequence[dict[str, float]]]) -> float:
    """The KL at which runs are compared: that of the run that ends nearest to SFT, in nats."""
    return min(path[-1]["kl"] for path in paths)


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Trainer by trainer and trainer against trainer, over the seeds; every entry is (mean, low, high)."""
    ours, theirs = (runs[name] for name in TRAINERS)
    kls = [equal_kl([run["path"] for run in pair]) for pair in zip(ours, theirs, strict=True)]
    golds = {name: [gold_at(run["path"], kl) for run, kl in zip(runs[name], kls, strict=True)] for name in TRAINERS}
    halves = {
        name: [gold_at(run["path"], kl / 2) for run, kl in zip(runs[name], kls, strict=True)] for name in TRAINERS
    }
    trainers = {}
    for name in TRAINERS:
        last = [run["path"][-1] for run in runs[name]]
        trainers[name] = {
            "gold_at_equal_kl": interval(golds[name]),
            "gold_at_half_of_it": interval(halves[name]),
            **{f"final_{key}": interval([point[key] for point in last]) for key in last[0] if key != "samples"},
            **{key: interval([run[key] for run in runs[name]]) for key in ("samples_per_second", "peak_memory")},
        }
    ratios = [math.log(a["samples_per_second"] / b["samples_per_second"]) for a, b in zip(ours, theirs, strict=True)]
    return {
        "equal_kl": kls,
        "trainers": trainers,
        "gold_difference": interval([a - b for a, b in zip(golds["rlaif"], golds["trl"], strict=True)]),
        # A ratio is averaged on the log scale, so that which trainer is the unit does not matter.
        "speed_ratio": tuple(math.exp(x) for x in interval(ratios)),
    }


def table(report: dict[str, Any]) -> str:
    """The comparison as text."""
    ours, theirs = (report["trainers"][name] for name in TRAINERS)
    unit = 2**20

    def cell(triple: Sequence[float], digits: int = 2, scale: float = 1.0) -> str:
        mean, low, high = (f"{x / scale:.{digits}f}" for x in triple)
        return f"{mean} [{low}, {high}]"

    def held(name: str) -> str:
        return f"{sum(report['runs'][name][0]['weights'].values()) / unit:.1f}"

    equal = statistics.fmean(report["equal_kl"])
    rows = [
        ("", "rlaif", f"TRL {VERSION}"),
        (
            f"gold reward at equal KL ({equal:.1f} nats)",
            cell(ours["gold_at_equal_kl"]),
            cell(theirs["gold_at_equal_kl"]),
        ),
        ("  at half of this KL", cell(ours["gold_at_half_of_it"]), cell(theirs["gold_at_half_of_it"])),
        ("  final gold reward", cell(ours["final_gold_reward"]), cell(theirs["final_gold_reward"])),
        ("  final KL (nats)", cell(ours["final_kl"]), cell(theirs["final_kl"])),
        ("  final reward model's score", cell(ours["final_reward"]), cell(theirs["final_reward"])),
        ("samples a second", cell(ours["samples_per_second"], 1), cell(theirs["samples_per_second"], 1)),
        ("peak memory (MiB)", cell(ours["peak_memory"], 0, unit), cell(theirs["peak_memory"], 0, unit)),
        ("  of it, imports", *(f"{report['imports'][name] / unit:.0f}" for name in TRAINERS)),
        ("  weights of all models (MiB)", held("rlaif"), held("trl")),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    seeds = report["settings"]["seeds"]
    return "\n".join(
        [
            *lines,
            "",
            f"gold reward at equal KL, rlaif less TRL: {cell(report['gold_difference'])}",
            f"samples a second, rlaif over TRL: {cell(report['speed_ratio'])}",
            f"means of {seeds} seeds, paired; brackets: 95 % intervals by Student's t",
        ]
    )


if __name__ == "__main__":
    config.run(main)
