"""Models that cannot be used, wherever a command or program takes one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.bad import Bad, Content
from support.bad.settings import ANSWERED, RIGHT

Change = Callable[[Path], object]


def edited(name: str, change: Callable[[dict[str, Any]], object]) -> Change:
    def edit(folder: Path) -> None:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        change(content)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")

    return edit


def weights(change: Callable[[dict[str, Any]], object]) -> Change:
    def edit(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return edit


def removed(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def written(name: str, content: str) -> Change:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def cut(name: str) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-5000])


def copied(source: str, change: Change) -> Content:
    """A model that is right, with a change."""

    def make(path: Path, world: Path) -> None:
        shutil.copytree(world / source, path)
        change(path)

    return make


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no model", encoding="utf-8")


MLP = "model.layers.1.mlp.up_proj.weight"
CODE = "print('this must not run')\nopen('ran', 'w').close()\n"


def own_code(folder: Path) -> None:
    auto = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
    auto["AutoModelForSequenceClassification"] = "own.Own"
    edited("config.json", lambda c: c.update(model_type="own", auto_map=auto))(folder)
    written("own.py", CODE)(folder)


def poisoned(value: float) -> Change:
    return weights(lambda tensors: tensors[MLP].view(-1)[:3].fill_(value))


# What is done to a model that is right, and what the line must name beside or instead of its folder.
ANY: dict[str, tuple[Change, str]] = {
    "empty": (nothing, ""),
    "a file": (a_file, ""),
    "without a tokenizer": (removed("tokenizer.json", "tokenizer_config.json"), "tokenizer"),
    "without weights": (removed("model.safetensors"), ""),
    "without a configuration": (removed("config.json"), ""),
    "with weights that are cut": (cut("model.safetensors"), ""),
    "with weights that are no safetensors": (written("model.safetensors", "no weights at all"), ""),
    "without a matrix": (weights(lambda tensors: tensors.pop(MLP)), r"up_proj"),
    "with a matrix of another shape": (
        edited("config.json", lambda c: c.update(intermediate_size=48)),
        r"shape|size|mlp",
    ),
    "with NaN in its weights": (poisoned(float("nan")), r"NaN|finite"),
    "with infinity in its weights": (poisoned(float("inf")), r"inf|finite"),
    "with a broken configuration": (written("config.json", '{"model_type": "llama",'), r"config\.json|JSON"),
    "of an unknown type": (edited("config.json", lambda c: c.update(model_type="nowhere")), r"nowhere"),
    "with code of its own": (own_code, r"trust_remote_code|code"),
    "with a broken tokenizer": (written("tokenizer.json", '{"version": "1.0"'), r"tokenizer"),
    "with fewer embeddings than tokens": (
        lambda folder: [
            edited("config.json", lambda c: c.update(vocab_size=250))(folder),
            weights(
                lambda t: t.update(
                    {name: value[:250].contiguous() for name, value in t.items() if value.shape[0] == 259}
                )
            )(folder),
        ],
        r"25\d",
    ),
    "with a broken chat template": (
        lambda folder: [
            (folder / "chat_template.jinja").unlink(missing_ok=True),
            written("chat_template.jinja", "{% for m in messages %}{{ m['content'] }")(folder),
        ],
        r"template",
    ),
}
POLICY: dict[str, tuple[Change, str]] = {
    **ANY,
    "that is an adapter without its base": (
        lambda folder: [
            nothing(folder),
            written("adapter_config.json", '{"peft_type": "LORA", "base_model_name_or_path": "no/where"}')(folder),
        ],
        r"",
    ),
}
REWARD: dict[str, tuple[Change, str]] = {
    **{kind: ANY[kind] for kind in ANY if kind != "with a broken chat template"},
    "with two labels": (
        lambda folder: [
            edited(
                "config.json",
                lambda c: c.update(id2label={"0": "A", "1": "B"}, label2id={"A": 0, "B": 1}),
            )(folder),
            weights(lambda t: t.update({"score.weight": t["score.weight"].repeat(2, 1)}))(folder),
        ],
        r"label|head|2",
    ),
    "without its head": (weights(lambda tensors: tensors.pop("score.weight")), r"score\.weight"),
    "with a broken card": (written("rlaif.json", '{"version": 1,'), r"rlaif\.json"),
    "with a card of nothing": (written("rlaif.json", "[]"), r"rlaif\.json"),
    "with a card without its rendering": (edited("rlaif.json", lambda c: c.pop("rendering")), r"rlaif\.json|rendering"),
    "with NaN for its zero": (edited("rlaif.json", lambda c: c.update(zero=float("nan"))), r"zero|NaN"),
}

# Command, the option that takes the model, what stands for it, and which kinds.
PLACES: dict[str, tuple[str, str, str, dict[str, tuple[Change, str]]]] = {
    "sample": ("sample", "--policy", "", POLICY),
    "judge": ("judge", "--judge", "", {k: ANY[k] for k in ANY if k not in ("a file",)}),
    "evaluate": ("evaluate", "--policies", "a=", POLICY),
    "evaluate's reward model": ("evaluate", "--reward_model", "", REWARD),
    "sft": ("recipes/sft.py", "--model", "", POLICY),
    "dpo": ("recipes/dpo.py", "--model", "", POLICY),
    "ppo": ("recipes/ppo.py", "--model", "", POLICY),
    "ppo's reward model": ("recipes/ppo.py", "--rewards", "reward_model=", REWARD),
    "best_of_n": ("recipes/best_of_n.py", "--model", "", POLICY),
    "bradley_terry": ("reward_models/bradley_terry.py", "--model", "", POLICY),
    "score": ("reward_models/score.py", "--reward_model", "", REWARD),
}


# What is seen of a reward model only when its weights are read: after the policies have answered, beside which no other
# model takes up memory.
SEEN_LATE = {
    *("without weights", "without a configuration", "without a matrix", "with a matrix of another shape"),
    *("with NaN in its weights", "with infinity in its weights", "with two labels", "without its head"),
}


def table() -> dict[str, Bad]:
    found: dict[str, Bad] = {}
    for place, (command, option, before, kinds) in PLACES.items():
        right = RIGHT[command]
        rest = [word for i, word in enumerate(right) if option not in (word, right[i - 1])]
        found[f"{place}: a model that is nowhere"] = Bad(command, (*rest, option, f"{before}nowhere"), "nowhere")
        source = "reward" if kinds is REWARD else "model"
        for kind, (change, names) in kinds.items():
            files = {"bad": copied(source, change)}
            words = (*rest, option, f"{before}bad")
            leaves = ANSWERED if place == "evaluate's reward model" and kind in SEEN_LATE else {}
            found[f"{place}: a model {kind}"] = Bad(command, words, names or r"\bbad\b", files, leaves=leaves)
    return found
