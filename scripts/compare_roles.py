"""One backbone for PPO's four roles against four models: what it costs in gold reward, what it saves in memory.

    bash scripts/quickstart.sh
    python scripts/compare_roles.py

Two arms, run by recipes/ppo.py with the same seeds:

                    four models                                 one backbone
    policy          all weights are trained                     an adapter (LoRA) on the SFT policy is trained
    reference       a second copy of the SFT policy             the SFT policy: the same weights, adapter off
    critic          a third, trained in full, with a head       a linear head on the policy's hidden states
    reward model    an adapter and its head on a fourth copy    the same adapter and head on the policy's weights

Shared: the reward model, which is trained first (LoRA, on the SFT policy and the quickstart's preferences: only an
adapter can share its backbone), prompts, rollouts, PPO epochs, minibatches, KL coefficient, the critic's learning rate,
seeds. An adapter wants another learning rate than full training: each arm has its own, of those that were tried on seed
0 the one with the highest reward less beta KL on the held-out prompts: 1e-4 (of 1e-4 and 2e-4) in full, 5e-4 (of 5e-4
and 1e-3) for the adapter. The arms may end at different KL, which is printed beside the gold reward.

What it prints, for each arm: gold reward and KL on held-out prompts after training, by the run's own last check (means
over the seeds, 95 % intervals by Student's t, and the difference seed by seed), the weights held by role, the process's
peak resident memory and samples a second. Models this small leave most of the memory to PyTorch, so what a process
takes that only imports the trainer is printed beside it; the weights, and with them the savings, grow with the model.
Arms take turns at going first, with `--threads` threads each. Into the output folder go report.json, with every run's
numbers, the reward model and the runs; one that is finished is not run again unless settings, code, models or data
change.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlaif import config
from rlaif.files import runs
from rlaif.files.ownership import begin
from rlaif.files.sources import write_json
from rlaif.metrics import t_interval

ROOT = Path(__file__).resolve().parent.parent
CPU = ROOT / "recipes/accelerate/cpu.yaml"
ARMS = ("four models", "one backbone")
ROLES = ("policy", "reference", "critic", "reward")
GOLD = "rlaif.sandbox:gold_reward"


@dataclass
class RolesConfig:
    """What is compared, on what. Settings go to both arms, but for the learning rate."""

    runs: str = field(default="runs/quickstart", metadata={"help": "The folder that scripts/quickstart.sh wrote."})
    output: str = field(default="runs/compare_roles", metadata={"help": "Folder for report.json and the runs."})
    seeds: int = field(default=5, metadata={"help": "Runs of each arm, seeds 0, 1, ...; at least 2."})
    samples: int = field(default=512, metadata={"help": "Responses sampled in a run."})
    batch: int = field(default=128, metadata={"help": "Responses in a rollout, four optimizer steps an epoch."})
    epochs: int = field(default=4, metadata={"help": "Passes over a rollout."})
    learning_rate_full: float = field(default=1e-4, metadata={"help": "The policy's in the arm of four models."})
    learning_rate_lora: float = field(default=5e-4, metadata={"help": "The adapter's in the arm of one backbone."})
    critic_learning_rate: float = field(default=1e-3, metadata={"help": "The critic's in both."})
    kl_coef: float = field(default=0.05, metadata={"help": "Reward taken off for a nat of KL."})
    prompts: int = field(default=200, metadata={"help": "Held-out prompts to measure on."})
    threads: int = field(default=1, metadata={"help": "OMP_NUM_THREADS of every run."})

    def __post_init__(self) -> None:
        if self.seeds < 2:
            raise ValueError(f"seeds is {self.seeds}; expected at least 2, for an interval.")
        if self.batch < 4 or self.batch % (4 * MICRO_BATCH):
            raise ValueError(f"batch is {self.batch}; expected a multiple of {4 * MICRO_BATCH}, for four minibatches.")
        if self.samples < 1 or self.samples % self.batch:
            raise ValueError(f"samples is {self.samples}; expected a multiple of batch ({self.batch}).")


MICRO_BATCH = 8


def main() -> None:
    (settings,) = config.parse(RolesConfig, description=__doc__)
    check(settings)
    output = Path(settings.output)
    begin(output, "scripts/compare_roles.py")
    words = [sys.executable, "-c", "import rlaif.training.ppo.trainer"]
    imports = runs.measured(words, output / "imports.txt", settings.threads)
    reward_model = train_reward_model(settings)
    trained: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    for seed in range(settings.seeds):
        # Whatever a run leaves behind (a warm file cache, a hot CPU) falls on both alike.
        for arm in ARMS if seed % 2 == 0 else ARMS[::-1]:
            trained[arm].append(train(arm, settings, seed, reward_model))
    report = {"settings": asdict(settings), "imports": imports, "runs": trained, **summary(trained)}
    write_json(output / "report.json", report)
    print(table(report))
    print(f"\nwrote {output / 'report.json'}")


def check(settings: RolesConfig) -> None:
    """A ValueError for what is missing, before anything runs."""
    made = ("sft", "preferences", "prompts.jsonl", "evaluation.jsonl")
    runs.expect_in(settings.runs, made, "scripts/quickstart.sh")


# ---------------------------------------------------------------------------------------------------------- running


def train_reward_model(settings: RolesConfig) -> Path:
    """An adapter and its head on the SFT policy, with the sandbox's settings at an adapter's learning rate."""
    made, folder = Path(settings.runs), Path(settings.output) / "reward_model"
    program, sandbox = ROOT / "reward_models/bradley_terry.py", ROOT / "reward_models/configs/sandbox.yaml"
    options = {
        "config": sandbox,
        "lora": True,
        "model": made / "sft",
        "dataset": made / "preferences",
        "output_dir": folder,
        "learning_rate": 1e-3,
        "disable_tqdm": True,
    }
    inputs = [made / "sft", made / "preferences", sandbox]
    runs.once(folder, runs.launch(program, CPU, options), code(program), inputs, settings.threads)
    return folder


def train(arm: str, settings: RolesConfig, seed: int, reward_model: Path) -> dict[str, Any]:
    """One run: gold reward, reward and KL at its end; bytes of weights by role and of peak memory; samples a second."""
    folder = Path(settings.output) / f"{arm.replace(' ', '_')}_{seed}"
    options = options_of(arm, settings, seed, reward_model, folder)
    program = ROOT / "recipes/ppo.py"
    inputs = [reward_model, *(Path(settings.runs) / made for made in ("sft", "prompts.jsonl", "evaluation.jsonl"))]
    peak = runs.once(folder, runs.launch(program, CPU, options), code(program), inputs, settings.threads)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    if report["train"]["samples"] != settings.samples:
        raise ValueError(f"{folder} has {report['train']['samples']} samples; expected {settings.samples}.")
    return {"seed": seed, **numbers(report), "peak_memory": peak}


def code(program: Path) -> list[Path]:
    """What a program executes."""
    return [ROOT / "rlaif", program, CPU]


def options_of(arm: str, settings: RolesConfig, seed: int, reward_model: Path, folder: Path) -> dict[str, Any]:
    """The options of recipes/ppo.py. All but four are those of both arms."""
    made = Path(settings.runs)
    lora = arm == "one backbone"
    steps = settings.samples // settings.batch * settings.epochs * 4
    return {
        "lora": lora,
        "share_backbone": lora,
        "critic": "head" if lora else "separate",
        "learning_rate": settings.learning_rate_lora if lora else settings.learning_rate_full,
        "critic_learning_rate": settings.critic_learning_rate,
        "model": made / "sft",
        "rewards": f"reward_model={reward_model}",
        "prompts": made / "prompts.jsonl",
        "held_out": made / "evaluation.jsonl",
        "held_out_limit": settings.prompts,
        "watch": f"function={GOLD}",
        "output_dir": folder,
        "seed": seed,
        "max_completion_length": 40,
        "kl_coef": settings.kl_coef,
        "per_device_train_batch_size": MICRO_BATCH,
        "per_device_eval_batch_size": settings.batch,
        "gradient_accumulation_steps": settings.batch // MICRO_BATCH // 4,
        "steps_per_generation": settings.batch // MICRO_BATCH,
        "num_iterations": settings.epochs,
        "score_batch_size": settings.batch // 2,
        "max_steps": steps,
        "logging_steps": steps,
        "lr_scheduler_type": "constant",
        "eval_strategy": "steps",
        "eval_steps": steps,  # after the last, and, as always, before the first
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


# ---------------------------------------------------------------------------------------------------------- numbers


def numbers(report: Mapping[str, Any]) -> dict[str, Any]:
    """What is compared, from the report.json of one run: its first check is SFT's, its last its own."""
    train, (first, *_, last) = report["train"], report["over_optimization"]["checks"]
    (gold,) = last["scores"]
    return {
        "gold_reward_before": first["scores"][gold]["mean"],
        "gold_reward": last["scores"][gold]["mean"],
        "reward": last["reward"],
        "kl": last["kl"],
        "weights": {role: train["weights"][role] for role in ROLES},
        "samples_per_second": train["samples"] / train["seconds"],
    }


COMPARED = ("gold_reward", "reward", "kl", "peak_memory", "samples_per_second")


def summary(trained: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Arm by arm, and one backbone less four models seed by seed: every entry is (mean, low, high)."""
    four, one = (trained[arm] for arm in ARMS)
    return {
        "arms": {arm: {name: t_interval([run[name] for run in trained[arm]]) for name in COMPARED} for arm in ARMS},
        "difference": {
            name: t_interval([b[name] - a[name] for a, b in zip(four, one, strict=True)]) for name in COMPARED
        },
        "weights": {arm: dict(trained[arm][0]["weights"]) for arm in ARMS},
    }


def table(report: Mapping[str, Any]) -> str:
    """The comparison as text."""
    unit = 2**20

    def measured(title: str, name: str, digits: int = 2, scale: float = 1.0) -> tuple[str, ...]:
        values = [*(report["arms"][arm][name] for arm in ARMS), report["difference"][name]]
        return (title, *(runs.bracketed(value, digits, scale) for value in values))

    def held(title: str, four: int, one: int) -> tuple[str, ...]:
        return (title, *(f"{x / unit:.2f}" for x in (four, one, one - four)))

    four, one = (report["weights"][arm] for arm in ARMS)
    rows = [
        ("", *ARMS, "difference"),
        measured("gold reward", "gold_reward"),
        measured("KL (nats)", "kl"),
        measured("reward model's score", "reward"),
        held("weights (MiB)", sum(four.values()), sum(one.values())),
        *(held(f"  {role}", four[role], one[role]) for role in ROLES),
        measured("peak memory (MiB)", "peak_memory", 0, unit),
        ("  of it, imports", *[f"{report['imports'] / unit:.0f}"] * 2, "0"),
        measured("samples a second", "samples_per_second", 1),
    ]
    before = statistics.fmean(run["gold_reward_before"] for arm in ARMS for run in report["runs"][arm])
    return "\n".join(
        [
            *runs.aligned(rows),
            "",
            f"SFT, from which both start: gold reward {before:.2f}",
            f"means of {report['settings']['seeds']} seeds, differences seed by seed; brackets: 95 % intervals by "
            "Student's t",
        ]
    )


if __name__ == "__main__":
    config.run(main)
