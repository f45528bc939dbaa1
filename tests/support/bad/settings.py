"""Settings that no command or program can have: unknown ones, wrong types and numbers, contradictions, broken YAML."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from support.bad import Bad, Content, short
from support.bad.files import GOLD, LITTLE, MODEL, PPO, SMALL
from support.toy_programs import toy_study

# Command lines that are right but for what is added to them.
RIGHT: dict[str, tuple[str, ...]] = {
    "sandbox": ("--output", "out", "--prompts", "4", "--evaluation", "4", "--demonstrations", "4"),
    "sample": ("--prompts", "@prompts.jsonl", "--policy", "@model", "--output", "out", *LITTLE),
    "judge": ("--pairs", "@pairs.jsonl", "--judge", "@judge.yaml", "--output", "out"),
    "build": ("--judgments", "@judged", "--output", "out"),
    "convert": ("--source", "@pairs.jsonl", "--output", "out.jsonl"),
    "evaluate": ("--prompts", "@prompts.jsonl", "--policies", "a=@model", "--gold", GOLD, "--output", "out", *LITTLE),
    "publish": ("--preferences", "@dataset", "--output", "out", "--license", "cc-by-4.0"),
    "recipes/sft.py": (*MODEL, "--dataset", "@shown.jsonl", *SMALL),
    "recipes/dpo.py": (*MODEL, "--dataset", "@dataset", *SMALL),
    "recipes/ppo.py": (*MODEL, "--prompts", "@prompts.jsonl", "--rewards", f"function={GOLD}", *PPO),
    "recipes/best_of_n.py": (
        *(*MODEL, "--prompts", "@prompts.jsonl", "--rewards", f"function={GOLD}", "--n", "2", *LITTLE),
        *("--limit", "2"),
    ),
    "reward_models/bradley_terry.py": (*MODEL, "--dataset", "@dataset", *SMALL),
    "reward_models/score.py": ("--input", "@pairs.jsonl", "--reward_model", "@reward", "--output", "out.jsonl"),
    "scripts/ablate.py": ("--config", "study.yaml", "--store", "stages", "--output", "out"),
}
# What a refused run may leave: the policies answer first.
ANSWERED = dict.fromkeys(
    ("out", "out/.written-by", "out/replies", "out/replies/*.jsonl"),
    "the policies' answers, which were paid for: the same command goes on from them",
)
CLOSED = "http://127.0.0.1:9/v1"  # nobody listens there
TRAINERS = ("recipes/sft.py", "recipes/dpo.py", "recipes/ppo.py", "reward_models/bradley_terry.py")

# One setting and values that it cannot have.
NUMBERS: dict[str, dict[str, str]] = {
    "sandbox": {"prompts": "-1 x 1.5 nan", "evaluation": "-1 x", "demonstrations": "-2 inf", "seed": "x"},
    "sample": {
        "samples": "0 -1 x 1.5",
        "pairs_per_prompt": "0 -1",
        "temperature": "-1 nan inf",
        "top_p": "0 1.5 -0.1 nan",
        "max_new_tokens": "0 -4 x",
        "limit": "0 -3",
        "batch_tokens": "0 -1",
        "dtype": "float99 fp32",
        "seed": "x",
        "load_in_4bit": "perhaps",
    },
    "judge": {
        "limit": "0 -3 x",
        "orders": "AB",
        "samples": "0 -1",
        "combine": "median",
        "by": "nowhere",
        "explain": "nowhere",
        "judge_tokens": "0",
        "temperature": "nan inf -1",
    },
    "build": {
        "tie_band": "-0.1 0.6 nan inf x",
        "min_confidence": "0.4 1.5 nan",
        "validation": "-0.1 1.5 nan",
        "test": "-0.1 1.5 nan",
        "flip_rate": "-0.1 0.7 nan",
        "z_from": "oracle",
        "split_by": "nowhere",
        "consistent": "perhaps",
    },
    "convert": {"format": "nowhere", "source_format": "nowhere", "output": "out.csv out"},
    "evaluate": {
        "policy_temperature": "-1 nan inf",
        "policy_top_p": "0 1.5 nan",
        "max_new_tokens": "0 -1",
        "batch_tokens": "0",
        "limit": "0 -1",
        "bootstrap_samples": "0 -1",
        "examples": "-1",
        "gold": "nowhere rlaif.sandbox:nowhere nowhere.at:all rlaif.sandbox:__name__",
        "policies": "model =x a=",
        "judge_pairs": "every",
        "stages": "nowhere",
        "reference": "nowhere",
        "dtype": "float99",
        "judgments": "nowhere",
    },
    "publish": {
        "repo_id": "a/b/c me/my--set me/.x",
        "license": "nowhere",
        "coverage": "-0.1 1.5 nan",
        "similarity": "-0.1 1.5 nan",
        "price_input": "-1 nan inf",
        "processes": "-1",
        "secrets": "perhaps",
        "benchmarks": "nowhere",
        "names": "nowhere",
        "evaluation": "nowhere",
        "language": "klingonish",
    },
    "recipes/sft.py": {
        "learning_rate": "nan inf -0.1 x",
        "weight_decay": "nan -1",
        "max_grad_norm": "nan -1",
        "per_device_train_batch_size": "0 -1 x",
        "gradient_accumulation_steps": "0 -1",
        "num_train_epochs": "nan -1",
        "max_length": "0 -1",
        "warmup_steps": "-1 nan",
        "seed": "x -1",
        "optim": "nowhere",
        "lr_scheduler_type": "nowhere",
        "report_to": "nowhere",
        "dtype": "float99",
        "attn_implementation": "nowhere",
        "resume_from_checkpoint": "true nowhere",
        "logging_steps": "0 nan",
        "save_steps": "nan",
        "lora_r": "0 -1",
        "lora_alpha": "0 -1",
        "lora_target_modules": "nowhere",
        "deepspeed": "nowhere.json",
        "use_liger_kernel": "true",
        "neftune_noise_alpha": "nan -1",
    },
    "recipes/dpo.py": {
        "beta": "nan inf -0.1 x",
        "label_smoothing": "nan 0.7 -1",
        "preference_loss": "nowhere",
        "loss_type": "nowhere",
        "learning_rate": "nan",
        "max_length": "0",
        "test_split": "nowhere",
    },
    "recipes/ppo.py": {
        "kl_coef": "nan inf -0.1",
        "kl_target": "nan 0 -1",
        "kl_gain": "nan",
        "gamma": "nan 1.5 -1",
        "gae_lambda": "nan 1.5",
        "temperature": "nan inf 0 -1",
        "epsilon": "nan -1",
        "value_clip": "nan 0",
        "value_coef": "nan -1",
        "reward_clip": "nan 0",
        "entropy_coef": "nan",
        "missing_eos_penalty": "nan -1",
        "critic_learning_rate": "nan -1",
        "critic": "nowhere",
        "rewards": "nowhere function=nowhere function=rlaif.sandbox:nowhere rating=nowhere.yaml reward_model=nowhere",
        "reward_weights": "nan inf",
        "num_generations": "0",
        "max_new_tokens": "0 -1",
        "num_iterations": "0",
        "steps_per_generation": "0 -1",
        "use_vllm": "true",
        "learning_rate": "nan",
        "critic_warmup_steps": "-1",
    },
    "recipes/best_of_n.py": {
        "n": "0 -1 x",
        "temperature": "nan inf -1 0",
        "top_p": "nan 0 1.5",
        "max_new_tokens": "0",
        "limit": "0",
        "batch_tokens": "0",
        "rewards": "nowhere function=nowhere",
        "reward_weights": "nan",
        "watch": "nowhere",
        "candidates": "nowhere",
        "policy_dtype": "float99",
    },
    "reward_models/bradley_terry.py": {
        "label_smoothing": "nan 0.7",
        "center_rewards_coefficient": "nan -1",
        "preference_loss": "nowhere",
        "learning_rate": "nan",
        "lora_r": "0",
        "test_split": "nowhere",
    },
    "reward_models/score.py": {"batch_tokens": "0 -1 x", "output": "out.csv out.parquet"},
    "scripts/ablate.py": {"jobs": "0 -1 x", "threads": "0", "seeds": "x", "cluster": "nowhere"},
}
ALSO = {"lora_r": ("--lora", "true"), "lora_alpha": ("--lora", "true"), "lora_target_modules": ("--lora", "true")}

# What does not go together: the words, and what the line must name.
# One setting under two names with two values.
_TRAINED = ("--model-name-or-path", "x", "--model", "y")
TWICE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sandbox", "build", "convert", "evaluate", "publish"), ("--output-dir", "x", "--output", "y")),
    "sample": ("--max_completion_length", "3", "--max_new_tokens", "4"),
    "judge": ("--max_new_tokens", "3", "--max_tokens", "4"),
    **dict.fromkeys(("recipes/sft.py", "recipes/dpo.py", "recipes/best_of_n.py"), _TRAINED),
    "recipes/ppo.py": ("--max_completion_length", "3", "--max_new_tokens", "4"),
    "reward_models/bradley_terry.py": _TRAINED,
    "reward_models/score.py": ("--model", "x", "--reward_model", "y"),
}
TOGETHER: dict[str, dict[str, tuple[tuple[str, ...], str]]] = {
    "sample": {"4 bits of an endpoint's model": (("--base_url", CLOSED, "--load_in_4bit"), "4bit|url")},
    "convert": {"a split that is nowhere": (("--source", "@dataset", "--split", "nowhere"), r"train.*nowhere")},
    "reward_models/score.py": {
        "a split that is nowhere": (("--input", "@dataset", "--split", "nowhere"), r"train.*nowhere"),
        "no split of two": (("--input", "@dataset"), "split.*train"),
    },
    "judge": {"many samples at temperature 0": (("--judge", "x/y", "--samples", "3"), "samples")},
    "build": {"shares above 1": (("--validation", "0.6", "--test", "0.6"), "validation|test")},
    "evaluate": {
        "preferences alone": (("--preferences", "@dataset"), "reward_model"),
        "a name twice": (("--policies", "a=@model", "a=@reward"), "'a'"),
        "a stage that is nowhere": (("--stages", "a=nowhere"), "nowhere"),
        "all pairs without a judge": (("--judge_pairs", "all"), "judge_pairs"),
        "a reference of responses": (("--reference", "@prompts.jsonl"), "reference.*a file of responses"),
        "responses that are nowhere": (("--policies", "a=nowhere.jsonl"), r"nowhere\.jsonl does not exist"),
        "responses of nobody": (("--policies", "a=nowhere.jsonl#b"), r" nowhere\.jsonl does not exist"),
        "an endpoint that is nowhere": (("--policies", "a=nowhere.yaml"), r"nowhere\.yaml cannot be read"),
    },
    "publish": {
        "a dataset and a policy": (("--policy", "@model"), r"\bpolicy\b"),
        "a benchmark that is nowhere": (("--benchmarks", "RewardBench=nowhere"), "nowhere"),
        "other without a name": (("--license", "other"), "license_name"),
        "a name of a known licence": (("--license_name", "x"), "license_name"),
    },
    "recipes/sft.py": {
        "4 bits in full": (("--load_in_4bit", "true"), "load_in_4bit"),
        "a split that is nowhere": (("--dataset", "@dataset", "--train_split", "nowhere"), r"train.*nowhere"),
        "packing": (("--packing", "true"), "packing"),
        "processes of the data": (("--dataset_num_proc", "2"), "dataset_num_proc"),
        "both precisions": (("--bf16", "true", "--fp16", "true"), "fp16|bf16"),
        "held out is trained on": (("--train_split", "train", "--test_split", "train"), "test_split|train"),
        "evaluation of nothing": (("--eval_strategy", "steps"), "eval_strategy"),
    },
    "recipes/dpo.py": {
        "smoothing of z": (("--label_smoothing", "0.1"), "label_smoothing"),
        "another loss of z": (("--loss_type", "ipo"), "loss_type"),
        "4 bits in full": (("--load_in_4bit", "true"), "load_in_4bit"),
    },
    "recipes/ppo.py": {
        "watched without prompts": (("--watch", f"function={GOLD}"), "held_out"),
        "beta": (("--beta", "0.1"), "beta.*kl_coef"),
        "top_p": (("--top_p", "0.9"), "top_p"),
        "two weights": (("--reward_weights", "1", "2"), "reward_weights"),
        "steps within a rollout": (("--max_steps", "3"), "max_steps"),
        "a target without a penalty": (("--kl_target", "3", "--kl_coef", "0"), "kl_target"),
        "warmup without a critic": (("--critic", "none", "--critic_warmup_steps", "2"), "critic_warmup_steps"),
        "a rollout of more prompts than there are": (("--per_device_train_batch_size", "64"), "prompts"),
        "a shared backbone in full": (("--share_backbone", "true"), "share_backbone"),
    },
    "recipes/best_of_n.py": {
        "two weights": (("--reward_weights", "1", "2"), "reward_weights"),
        "many at temperature 0": (("--temperature", "0"), "temperature"),
    },
    "reward_models/bradley_terry.py": {
        "smoothing of z": (("--label_smoothing", "0.1"), "label_smoothing"),
        "4 bits in full": (("--load_in_4bit", "true"), "load_in_4bit"),
    },
    "scripts/ablate.py": {
        "GPUs of a cluster": (("--cluster", "slurm", "--gpus", "0"), "gpus|cluster"),
        "a base that is not there": (("--base", "nowhere.yaml"), r"nowhere\.yaml"),
    },
}

# What is wrong with these is known when something is read: a file, a column, a split, a module. They end with 1.
ELSEWHERE = {
    *("by nowhere", "explain nowhere", "split_by nowhere", "a split that is nowhere", "no split of two"),
    *("judgments nowhere", "reference nowhere", "evaluation nowhere", "a stage that is nowhere"),
    *("a benchmark that is nowhere", "gold nowhere.at:all", "test_split nowhere", "candidates nowhere"),
    *("resume_from_checkpoint true", "lora_target_modules nowhere"),
    *("responses that are nowhere", "responses of nobody"),
    *("a rollout of more prompts than there are", "rewards reward_model=nowhere"),
}

# Files of settings, OUTPUT and NUMBER standing for the names of two settings, and what the line must name.
YAML: dict[str, tuple[str | bytes, str]] = {
    "tabs": ("a:\n\tb: 1\n", r"line 2.*tab"),
    "a colon too many": ("OUTPUT: a: b\n", r"line 1.*colon"),
    "a list": ("- OUTPUT\n", r"holds? a list|is a list"),
    "nothing": ("", "nothing"),
    "a key twice": ("NUMBER: 1\nNUMBER: 2\n", "NUMBER.*twice"),
    "an unknown setting": ("outptu: x\n", "outptu"),
    "Latin-1": ("NUMBER: caf\xe9\n".encode("latin-1"), "UTF-8"),
    "brackets without end": ("NUMBER: " + "[" * 1500, "deep"),
    "an object of Python": ("NUMBER: !!python/object/apply:os.getcwd []\n", r"line 1.*a tag that begins with '!'"),
    "a text for a number": ("NUMBER: many\n", "NUMBER"),
    "a list for a number": ("NUMBER: [1, 2]\n", "NUMBER"),
    "a mapping for a text": ("OUTPUT: {a: b}\n", "OUTPUT"),
    "a number for a text": ("OUTPUT: 5\n", "OUTPUT"),
    "not a number": ("NUMBER: .nan\n", "NUMBER"),
    "an infinite number": ("NUMBER: .inf\n", "NUMBER"),
}
# Files of a policy's endpoint, and what the line must name.
ADDRESS = "base_url: http://127.0.0.1:9/v1\n"
ENDPOINTS: dict[str, tuple[str, str]] = {
    "no address": ("name: m\n", r"local model 'm'.*base_url"),
    "no name": (ADDRESS, "name"),
    "a judge's settings": (f"model:\n  name: m\n  {ADDRESS}template: helpful\n", r"'template'.*judge"),
    "a temperature": (f"name: m\ntemperature: 1\n{ADDRESS}", r"'temperature'.*--policy_temperature"),
    "a misspelt setting": (f"name: m\nextra_bdy: {{}}\n{ADDRESS}", r"extra_bdy.*extra_body"),
    "an address that is none": ("name: m\nbase_url: nowhere\n", "base_url.*nowhere"),
    "a number for a body": (f"name: m\nextra_body: 5\n{ADDRESS}", "extra_body"),
    "a list": ("- m\n", "a list"),
    "nothing": ("", "nothing"),
    "a function": ("name: rlaif.models.function:longer\n", "function.*base_url"),
}
BY_FILE = {
    "sample": ("output", "temperature"),
    "judge": ("output", "temperature"),
    "recipes/sft.py": ("output_dir", "learning_rate"),
    "recipes/ppo.py": ("output_dir", "kl_coef"),
}


def study(path: Path, world: Path) -> None:
    """The file of an ablation that is right."""
    path.write_text(yaml.safe_dump(toy_study(path.parent)), encoding="utf-8")


def of_values(command: str) -> dict[str, tuple[tuple[str, ...], str]]:
    """Values that a setting cannot have: what is added to the words that are right, and what the line must name."""
    found = {}
    for setting, values in NUMBERS[command].items():
        for value in values.split(" "):
            names = rf"\b{setting}\b|{re.escape(value)}" if len(value) > 4 else rf"\b{setting}\b"
            found[f"{setting} {value}"] = (*ALSO.get(setting, ()), f"--{setting}", value), names
    return found


def of_files(command: str) -> dict[str, Bad]:
    """Files of settings that cannot be read, or hold what cannot be set."""
    output, number = BY_FILE[command]
    right, found = RIGHT[command], {}
    at = right.index(f"--{output}")
    for kind, (content, names) in YAML.items():
        if isinstance(content, str):
            content = content.replace("OUTPUT", output).replace("NUMBER", number)
        names = names.replace("OUTPUT", output).replace("NUMBER", number)
        words = (*right[:at], *right[at + 2 :]) if output in names else right  # the command line would win
        found[f"settings with {kind}"] = Bad(
            command, (*words, "--config", "x.yaml"), names, {"x.yaml": content}, status=2
        )
    return found


def table() -> dict[str, Bad]:
    found: dict[str, Bad] = {}
    for command, right in RIGHT.items():
        files: dict[str, Content] = {"study.yaml": study} if command == "scripts/ablate.py" else {}
        seed = "--split" if command in ("convert", "judge", "reward_models/score.py") else "--seed"
        seed = {"scripts/ablate.py": "--jobs", "publish": "--processes"}.get(command, seed)
        words: dict[str, tuple[tuple[str, ...], str]] = {
            **of_values(command),
            **TOGETHER.get(command, {}),
            "a misspelt setting": (("--outptu", "x"), "'outptu' is not a setting of .*did you mean 'output(_dir)?'"),
            "two names of a setting": (TWICE.get(command, ()), "which are two names of one setting"),
            "a word too many": ((seed, "1", "stray"), "stray"),
            "a setting without its value": ((seed,), seed[2:]),
            "a settings file that is missing": (("--config", "nowhere.yaml"), r"nowhere\.yaml"),
            "a settings file that is a folder": (("--config", "x.yaml"), r"x\.yaml"),
        }
        for kind, (more, names) in words.items():
            if not more:
                continue
            there = {**files, "x.yaml/y": "z"} if "x.yaml" in more else files
            status = 1 if kind in ELSEWHERE else 2
            found[f"{short(command)}: {kind}"] = Bad(command, (*right, *more), names, there, status)
        found[f"{short(command)}: nothing set"] = Bad(command, (), r"missing|must be set|expected", status=2)
    for command in BY_FILE:
        found |= {f"{short(command)}: {kind}": bad for kind, bad in of_files(command).items()}
    for kind, (content, names) in ENDPOINTS.items():
        words = (*RIGHT["evaluate"], "--policies", "a=x.yaml")
        found[f"evaluate: an endpoint with {kind}"] = Bad(
            "evaluate", words, rf"x\.yaml.*{names}", {"x.yaml": content}, 2
        )
    found.pop("sandbox: nothing set")  # all of its settings have defaults
    return found
