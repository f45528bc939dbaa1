"""What the tests of `rlaif evaluate` share: tiny policies, a reward model, gold rewards, a judge, a world on disk."""

import math
from pathlib import Path
from typing import Any

import torch

from rlaif.commands.evaluate import EvaluateConfig
from rlaif.files.sources import write_jsonl
from rlaif.models.rendering import Encoded, Rendering
from rlaif.models.reward_model import RewardModelCard
from rlaif.records import Judgment, Pair
from support.models import SCORING, tiny
from support.tokenizers import word_tokenizer

WORDS = ["please", "bring", "soap", "rope", "bread", "and", "here", "is", "the", "thanks", "you", "no"]
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}{% if m['role'] == 'assistant' %}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
)


def tiny_tokenizer(extra: tuple[str, ...] = ()) -> Any:
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    roles = ["<user>", "<assistant>"]
    words = [*special.values(), *roles, *WORDS, *extra]
    return word_tokenizer(TEMPLATE, words, extra_special_tokens=roles, **special)


def tiny_lm(seed: int, vocabulary: int = 17, **config: Any) -> Any:
    known = {"num_hidden_layers": 2, "max_position_embeddings": 64, "eos_token_id": 1, "pad_token_id": 0}
    # Far from uniform, so that a wrong position or token shows.
    return tiny(
        seed=seed, **{**known, "bos_token_id": None, "initializer_range": 0.6, "vocab_size": vocabulary, **config}
    )


def save_lm(folder: Path, seed: int, extra: tuple[str, ...] = ()) -> str:
    tokenizer = tiny_tokenizer(extra)
    tiny_lm(seed, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_reward_model(folder: Path, seed: int) -> str:
    tokenizer = tiny_tokenizer()
    tiny_lm(seed, len(tokenizer), kind=SCORING, num_labels=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    RewardModelCard(rendering=Rendering.of(tokenizer).row(), max_length=64, base_model="tiny", zero=0.25).write(folder)
    return str(folder)


def count_soap(prompt, response):
    """A gold reward: how often the response says soap."""
    return float(response.split().count("soap"))


ASKED: list[tuple[object, str]] = []


def counted_gold(prompt, response):
    ASKED.append((prompt, response))
    return float(len(response))


def nan_gold(prompt, response):
    return math.nan


def prefers_soap(prompt, first, second):
    """A judge with a position bias of 0.1, sure of what it says otherwise."""
    a, b = count_soap(prompt, first), count_soap(prompt, second)
    return 0.5 + 0.3 * ((a > b) - (a < b)) + 0.1


def slow_kl(policy, reference, row: Encoded) -> float:
    """One row by itself, position by position, softmax written out, in float64."""
    total = 0.0
    for t in range(len(row.response_ids)):
        prefix = torch.tensor([row.prompt_ids + row.response_ids[:t]])
        with torch.no_grad():
            p, q = (model(prefix).logits[0, -1].double() for model in (policy, reference))
        p, q = p.exp() / p.exp().sum(), q.exp() / q.exp().sum()
        total += sum(float(a * math.log(a / b)) for a, b in zip(p, q, strict=True))
    return total


def judgment(z_ab, z_ba, label, a="x", b="yy", prompt="q"):
    z = None if z_ab is None else (z_ab + z_ba) / 2
    reason = "no verdict" if z is None else None
    return Judgment(Pair(prompt, a, b, label=label), z=z, reason=reason, z_ab=z_ab, z_ba=z_ba)


PROMPTS = [f"please bring {a} and {b}" for a in ("soap", "rope", "bread") for b in WORDS[:8]]


def make_world(folder: Path) -> Path:
    """Two policies, a reward model, preferences, judgments and prompts on disk."""
    save_lm(folder / "sft", 0)
    save_lm(folder / "dpo", 1)
    save_reward_model(folder / "rm", 2)
    write_jsonl(folder / "prompts.jsonl", ({"prompt": prompt} for prompt in PROMPTS))
    rows = [
        {"prompt": prompt, "chosen": "here is soap", "rejected": "no", "z": 0.9, "label": "chosen"}
        for prompt in PROMPTS
    ]
    write_jsonl(folder / "preferences.jsonl", rows)
    judged = [
        judgment(0.9, 0.7, "a", a="soap", b="no"),
        judgment(0.9, 0.3, "b", a="soap soap", b="rope"),
        judgment(None, None, "a"),
    ]
    (folder / "judged").mkdir()
    write_jsonl(folder / "judged" / "judgments.jsonl", (j.row() for j in judged))
    (folder / "stage").mkdir()
    (folder / "stage" / "report.json").write_text('{"seconds": 12.5}')
    return folder


def config_of(world: Path, folder: Path, /, **changes) -> EvaluateConfig:
    settings = {
        "output": str(folder),
        "policies": [f"sft={world}/sft", f"dpo={world}/dpo"],
        "prompts": f"{world}/prompts.jsonl",
        "gold": f"{__name__}:count_soap",
        "max_new_tokens": 12,
        "bootstrap_samples": 50,
    }
    return EvaluateConfig(**(settings | changes))


def not_drawn(figure: Any, place: Any, **_: Any) -> None:
    """In the place of a figure's `savefig`, which takes half a second: something stands where the picture would."""
    if isinstance(place, str | Path):
        Path(place).write_bytes(b"undrawn")
    else:
        place.write(b"undrawn")
