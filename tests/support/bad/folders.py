"""Folders that a command must leave alone, and endpoints that do not answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from support.bad import Bad, Content, short
from support.bad.settings import ANSWERED, CLOSED, RIGHT, TRAINERS

USERS: dict[str, Content] = {"out/thesis.txt": "Do not delete.", "out/data/rows.csv": "a,b\n1,2\n"}
FOLDERS = {
    command: "--output_dir" if command in (*TRAINERS, "recipes/best_of_n.py") else "--output"
    for command in RIGHT
    if command not in ("convert", "reward_models/score.py", "scripts/ablate.py")
}
SOURCES = {
    "sample": "--prompts",
    "judge": "--pairs",
    "build": "--judgments",
    "evaluate": "--prompts",
    "publish": "--preferences",
    "recipes/sft.py": "--dataset",
    "recipes/dpo.py": "--dataset",
    "reward_models/bradley_terry.py": "--dataset",
    "recipes/ppo.py": "--prompts",
    "recipes/best_of_n.py": "--prompts",
}
MODELS = {
    "sample": ("--policy", ""),
    "evaluate": ("--policies", "a="),
    **dict.fromkeys((*TRAINERS, "recipes/best_of_n.py"), ("--model", "")),
}


def copy_of(name: str) -> Any:
    """A copy of what is right, as a file or folder of the case."""

    def make(path: Path, world: Path) -> None:
        source = world / name
        if source.is_dir():
            shutil.copytree(source, path)
        else:
            shutil.copy(source, path)

    return make


def changed(words: tuple[str, ...], **options: str) -> tuple[str, ...]:
    """A command line with other values for some options."""
    found = list(words)
    for option, value in options.items():
        found[found.index(f"--{option}") + 1] = value
    return tuple(found)


def of_outputs(command: str) -> dict[str, Bad]:
    """Outputs that belong to somebody else, or cannot be."""
    option, right = FOLDERS[command], RIGHT[command]
    output = option.removeprefix("--")

    def case(names: str, files: dict[str, Content], **options: str) -> Bad:
        return Bad(command, changed(right, **options), names, files)

    found = {
        "a user's files in the output": case(r"\bout\b.*(thesis\.txt|data)", USERS),
        "a file for the output": case(r"\bout\b", {"out": "x"}),
        "a file above the output": case(r"\bfile\b", {"file": "x"}, **{output: "file/out"}),
        "an output that cannot be made": case("/proc/out", {}, **{output: "/proc/out"}),
    }
    if command in SOURCES:
        source = SOURCES[command].removeprefix("--")
        name = right[right.index(SOURCES[command]) + 1].removeprefix("@")
        inside = {source: f"mine/{name}", output: "mine"}
        found["the output is the source's folder"] = case(r"\bmine\b", {f"mine/{name}": copy_of(name)}, **inside)
        if "." not in name:
            same = {source: "mine", output: "mine"}
            found["the output is the source"] = case(r"\bmine\b", {"mine": copy_of(name)}, **same)
        if "." not in name and command != "build":  # the README builds a dataset beside what was judged
            within = {source: "mine", output: "mine/train"}
            found["the output is within the source"] = case(r"\bmine\b", {"mine": copy_of(name)}, **within)
    if command in MODELS:
        option, before = MODELS[command]
        same = {option.removeprefix("--"): f"{before}mine", output: "mine"}
        found["the output is the model"] = case(r"\bmine\b", {"mine": copy_of("model")}, **same)
    return found


def of_files(command: str, source: str) -> dict[str, Bad]:
    """Files to write that are the source's own, or cannot be."""
    right = RIGHT[command]

    def case(names: str, files: dict[str, Content], **options: str) -> Bad:
        return Bad(command, changed(right, **options), names, files)

    same = {source: "rows.jsonl", "output": "rows.jsonl"}
    linked = {source: "rows.jsonl", "output": "linked.jsonl"}
    rows = copy_of("pairs.jsonl")
    return {
        "the output is the source": case(r"output is rows\.jsonl, which is read", {"rows.jsonl": rows}, **same),
        "the output is a link to the source": case(
            r"output is linked\.jsonl, which is read",
            {"rows.jsonl": rows, "linked.jsonl": lambda path, world: path.symlink_to("rows.jsonl")},
            **linked,
        ),
        "a folder for the output": case(r"output is out\.jsonl, which is a folder", {"out.jsonl/x": "y"}),
        "an output that cannot be made": case("/proc/out", {}, output="/proc/out/x.jsonl"),
        "a file above the output": case(
            r"output is file/x\.jsonl, and file is a file", {"file": "x"}, output="file/x.jsonl"
        ),
    }


ADDRESSES = {
    "without a scheme": "127.0.0.1:9/v1",
    "of another scheme": "ftp://127.0.0.1/v1",
    "without a host": "http:///v1",
    "with a port of words": "http://127.0.0.1:many/v1",
    "with a password": "http://me:hunter2@127.0.0.1/v1",
    "with the call's path": f"{CLOSED}/chat/completions",
}


def of_endpoints() -> dict[str, Bad]:
    """Endpoints that are no address, that nobody serves, or that want a key."""
    asking = {
        "sample": changed(RIGHT["sample"], policy="m"),
        "judge": (*changed(RIGHT["judge"], judge="api"), "--judge_model", "m"),
        "evaluate": (*RIGHT["evaluate"], "--policies", "a=@model", "b=@other", "--judge", "api", "--judge_model", "m"),
    }
    found = {}
    for command, words in asking.items():
        for kind, address in ADDRESSES.items():
            found[f"{command}: an address {kind}"] = Bad(command, (*words, "--base_url", address), "base_url")
        closed = ("--base_url", CLOSED, "--max_retries", "0")
        leaves = ANSWERED if command == "evaluate" else {}
        found[f"{command}: a port that is closed"] = Bad(command, (*words, *closed), r"127\.0\.0\.1:9", leaves=leaves)
        if command != "sample":
            found[f"{command}: no key"] = Bad(command, words, "OPENAI_API_KEY")
    return found


def table() -> dict[str, Bad]:
    found = of_endpoints()
    for command in FOLDERS:
        found |= {f"{short(command)}: {kind}": bad for kind, bad in of_outputs(command).items()}
    for command, source in {"convert": "source", "reward_models/score.py": "input"}.items():
        found |= {f"{short(command)}: {kind}": bad for kind, bad in of_files(command, source).items()}
    return found
