"""PPO here and the last PPO of TRL (1.12.0, `trl.experimental.ppo`) on the same task, measured alike.

    python3 -m venv runs/trl112 && runs/trl112/bin/pip install trl==1.12.0
    bash scripts/quickstart.sh
    python scripts/compare_ppo.py --trl_python runs/trl112/bin/python

What it prints, for each trainer over the seeds: gold reward at equal KL to the SFT policy, samples a second and peak
memory. One evaluator (`rlaif evaluate`) answers the held-out prompts with the checkpoints of both, saved after equal
numbers of samples. Two runs with one seed are compared at the KL of the one that ends nearer to the SFT policy, by the
best gold reward that checkpoints of each have at this KL (`gold_at`). Into the output folder go report.json, with every
run's numbers, and the runs themselves; one that is finished is not run again unless settings, code, models or data
change.

Shared: SFT policy, reward model (both score response and EOS in its own format), prompts and their number, tokens,
temperature, rollout size, PPO epochs, minibatches, policy learning rate (constant), Adam, float32, k1 KL in the reward
with a fixed coefficient, gamma, lambda, clipping of ratio and value, value coefficient, penalty without EOS, whitened
advantages. The default settings were chosen for TRL's trainer. What differs:

                        here                                        TRL 1.12
    critic              head: linear, on the policy's trunk,        a second model, first a copy of the reward model,
                        10 times the policy's learning rate; or,    at the policy's learning rate
                        with --critic reward_model, TRL's
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

import itertools
import json
import math
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlaif import config
from rlaif.files import runs
from rlaif.files.ownership import begin
from rlaif.files.sources import write_json
from rlaif.metrics import t_interval

ROOT = Path(__file__).resolve().parent.parent
WORKER = ROOT / "scripts/trl_ppo.py"
CPU = ROOT / "recipes/accelerate/cpu.yaml"
VERSION = "1.12.0"
TRAINERS = ("rlaif", "trl")
INPUTS = ("sft", "reward_model", "prompts.jsonl")  # of the quickstart's, what a training reads


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
    critic: str = field(
        default="head",
        metadata={
            "help": "rlaif's critic: 'head', or 'reward_model', which is TRL's: a second model, at the policy's rate.",
            "choices": ["head", "reward_model"],
        },
    )
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
        if self.seeds < 2:
            raise ValueError(f"seeds is {self.seeds}; expected at least 2, for an interval.")
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
    begin(output, "scripts/compare_ppo.py")
    imports = {name: import_memory(name, settings) for name in TRAINERS}
    trained: dict[str, list[dict[str, Any]]] = {name: [] for name in TRAINERS}
    for seed in range(settings.seeds):
        # Whatever a run leaves behind (a warm file cache, a hot CPU) falls on both alike.
        for name in TRAINERS if seed % 2 == 0 else TRAINERS[::-1]:
            trained[name].append(train(name, settings, seed, output / f"{name}_{seed}"))
    for seed in range(settings.seeds):
        for name in TRAINERS:
            trained[name][seed]["path"] = evaluate(settings, seed, output / f"{name}_{seed}")
    report = {"settings": asdict(settings), "imports": imports, "runs": trained, **summary(trained)}
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
    found = subprocess.run([python, "-I", "-c", asked], capture_output=True, text=True)
    if found.stdout.strip() != VERSION:
        got = f"trl {found.stdout.strip()}" if found.returncode == 0 else "no trl"
        raise ValueError(f"{settings.trl_python} has {got}; expected trl {VERSION}: {make}")
    runs.expect_in(settings.runs, (*INPUTS, "evaluation.jsonl"), "scripts/quickstart.sh")


# ---------------------------------------------------------------------------------------------------------- running


def train(name: str, settings: CompareConfig, seed: int, folder: Path) -> dict[str, Any]:
    """One run of a trainer: its samples, seconds, peak memory and weights, in bytes."""
    inputs = [Path(settings.runs) / made for made in INPUTS]
    peak = runs.once(folder, command(name, settings, seed, folder), code(name), inputs, settings.threads)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    numbers = report["train"] if name == "rlaif" else report
    if numbers["samples"] != settings.samples:
        raise ValueError(f"{folder} was trained on {numbers['samples']} samples; expected {settings.samples}.")
    return {
        "seed": seed,
        "samples": numbers["samples"],
        "seconds": numbers["seconds"],
        "samples_per_second": numbers["samples"] / numbers["seconds"],
        "peak_memory": peak,
        "weights": numbers["weights"],
    }


def code(name: str) -> list[Path]:
    """What a trainer executes."""
    return {"rlaif": [ROOT / "rlaif", ROOT / "recipes/ppo.py", CPU], "trl": [WORKER]}[name]


def command(name: str, settings: CompareConfig, seed: int, folder: Path) -> list[str]:
    """The command that trains: the same settings in each trainer's words."""
    made = Path(settings.runs)
    steps = settings.samples // settings.batch * settings.epochs * settings.minibatches
    if name == "trl":
        others = {
            "trl_python",
            "runs",
            "seeds",
            "threads",
            "critic",
        }  # nothing that a run reads: it need not be run again
        asked = {
            **{name: value for name, value in asdict(settings).items() if name not in others},
            "policy": str(made / "sft"),
            "reward_model": str(made / "reward_model"),
            "prompts": str(made / "prompts.jsonl"),
            "output": str(folder),
            "seed": seed,
        }
        # Isolated (-I): a PYTHONPATH that is set for this environment is not for that one.
        return [str(shutil.which(settings.trl_python or "")), "-I", str(WORKER), json.dumps(asked)]
    options = {
        "model": made / "sft",
        "rewards": f"reward_model={made / 'reward_model'}",
        "prompts": made / "prompts.jsonl",
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
        "critic": settings.critic,
        "critic_learning_rate": settings.learning_rate * (10 if settings.critic == "head" else 1),
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
    return runs.launch(ROOT / "recipes/ppo.py", CPU, options)


def import_memory(name: str, settings: CompareConfig) -> int:
    """The peak resident set of a process that imports a trainer and ends, in bytes."""
    words = {
        "rlaif": [sys.executable, "-c", "import rlaif.training.ppo.trainer"],
        "trl": [
            str(shutil.which(settings.trl_python or "")),
            "-I",
            "-c",
            "from trl.experimental.ppo import PPOTrainer",
        ],
    }
    Path(settings.output).mkdir(parents=True, exist_ok=True)
    return runs.measured(words[name], Path(settings.output) / f"{name}_imports.txt", settings.threads)


def evaluate(settings: CompareConfig, seed: int, folder: Path) -> list[dict[str, float]]:
    """SFT and a run's checkpoints in order: samples seen, KL to SFT, gold reward, reward, length, share without EOS."""
    made = Path(settings.runs)
    steps = sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))
    if len(steps) != settings.checkpoints:
        raise ValueError(f"{folder} has {len(steps)} checkpoints; expected {settings.checkpoints}.")
    names = {"sft": made / "sft", **{f"step_{step}": folder / f"checkpoint-{step}" for step in steps}}
    words = [sys.executable, "-m", "rlaif", "evaluate", "--policies", *(f"{k}={v}" for k, v in names.items())]
    words += ["--prompts", str(made / "evaluation.jsonl"), "--limit", str(settings.prompts), "--seed", str(seed)]
    words += ["--max_new_tokens", str(settings.response_length), "--gold", "rlaif.sandbox:gold_reward"]
    words += ["--reward_model", str(made / "reward_model"), "--output", str(folder / "evaluation")]
    print(f"{folder}: evaluating", flush=True)
    runs.measured(words, folder / "evaluation.txt", settings.threads)
    report = json.loads((folder / "evaluation/report.json").read_text(encoding="utf-8"))
    keep = ("kl", "gold_reward", "reward", "length", "no_eos")
    return [
        {"samples": index * settings.samples // settings.checkpoints, **{key: policy[key] for key in keep}}
        for index, policy in enumerate(report["policies"].values())
    ]


# ---------------------------------------------------------------------------------------------------------- numbers


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


def summary(trained: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Trainer by trainer and trainer against trainer, over the seeds; every entry is (mean, low, high)."""
    ours, theirs = (trained[name] for name in TRAINERS)
    kls = [equal_kl([run["path"] for run in pair]) for pair in zip(ours, theirs, strict=True)]
    golds = {name: [gold_at(run["path"], kl) for run, kl in zip(trained[name], kls, strict=True)] for name in TRAINERS}
    halves = {
        name: [gold_at(run["path"], kl / 2) for run, kl in zip(trained[name], kls, strict=True)] for name in TRAINERS
    }
    trainers = {}
    for name in TRAINERS:
        last = [run["path"][-1] for run in trained[name]]
        trainers[name] = {
            "gold_at_equal_kl": t_interval(golds[name]),
            "gold_at_half_of_it": t_interval(halves[name]),
            **{f"final_{key}": t_interval([point[key] for point in last]) for key in last[0] if key != "samples"},
            **{key: t_interval([run[key] for run in trained[name]]) for key in ("samples_per_second", "peak_memory")},
        }
    ratios = [math.log(a["samples_per_second"] / b["samples_per_second"]) for a, b in zip(ours, theirs, strict=True)]
    return {
        "equal_kl": kls,
        "trainers": trainers,
        "gold_difference": t_interval([a - b for a, b in zip(golds["rlaif"], golds["trl"], strict=True)]),
        # A ratio is averaged on the log scale, so that which trainer is the unit does not matter.
        "speed_ratio": tuple(math.exp(x) for x in t_interval(ratios)),
    }


def table(report: dict[str, Any]) -> str:
    """The comparison as text."""
    unit = 2**20

    def measured(title: str, number: str, digits: int = 2, scale: float = 1.0) -> tuple[str, ...]:
        return (title, *(runs.bracketed(report["trainers"][name][number], digits, scale) for name in TRAINERS))

    def held(name: str) -> str:
        return f"{sum(report['runs'][name][0]['weights'].values()) / unit:.1f}"

    equal = statistics.fmean(report["equal_kl"])
    rows = [
        ("", "rlaif", f"TRL {VERSION}"),
        measured(f"gold reward at equal KL ({equal:.1f} nats)", "gold_at_equal_kl"),
        measured("  at half of this KL", "gold_at_half_of_it"),
        measured("  final gold reward", "final_gold_reward"),
        measured("  final KL (nats)", "final_kl"),
        measured("  final reward model's score", "final_reward"),
        measured("samples a second", "samples_per_second", 1),
        measured("peak memory (MiB)", "peak_memory", 0, unit),
        ("  of it, imports", *(f"{report['imports'][name] / unit:.0f}" for name in TRAINERS)),
        ("  weights of all models (MiB)", held("rlaif"), held("trl")),
    ]
    seeds = report["settings"]["seeds"]
    return "\n".join(
        [
            *runs.aligned(rows),
            "",
            f"gold reward at equal KL, rlaif less TRL: {runs.bracketed(report['gold_difference'])}",
            f"samples a second, rlaif over TRL: {runs.bracketed(report['speed_ratio'])}",
            f"means of {seeds} seeds, paired; brackets: 95 % intervals by Student's t",
        ]
    )


if __name__ == "__main__":
    config.run(main)
