"""Tiny models with random weights, and what PPO needs around them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.tokenizers import WORDS, byte_tokenizer

CAUSAL, SCORING, ENCODER = "LlamaForCausalLM", "LlamaForSequenceClassification", "BertForSequenceClassification"
_SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
# Of models over the tokenizers of bytes; which token pads is said beside it.
OF_BYTES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 259,
    "bos_token_id": 257,
    "eos_token_id": 258,
}


def tiny(kind: str = CAUSAL, seed: int = 0, **config: Any) -> Any:
    """A random model of the class `kind` of transformers; of one layer, 16 wide, where `config` says nothing else."""
    import torch
    import transformers

    torch.manual_seed(seed)
    model = getattr(transformers, kind)
    return model(model.config_class(**{**_SHAPE, **config})).eval()


def tiny_llama(seed: int = 0, context: int = 2048, kind: str = CAUSAL, **config: Any) -> Any:
    """A random Llama of 30,000 parameters, its logits spread enough for clear preferences."""
    known = {**OF_BYTES, "pad_token_id": 256, "max_position_embeddings": context, "initializer_range": 0.2}
    return tiny(kind, seed, **{**known, **config})


def word_llama(seed: int = 0, spread: float = 0.3, kind: str = CAUSAL, **config: Any) -> Any:
    """A random Llama over WORDS with 3,000 parameters. `spread` 0 would make all words equally likely."""
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    return tiny(kind, seed, vocab_size=len(WORDS), initializer_range=spread, **{**special, **config})


def save_model(folder: Path, model: Any, tokenizer: Any) -> Path:
    from rlaif.models.loading import quiet

    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_reward_model(folder: Path, seed: int = 3, **card: Any) -> Path:
    """The folder of a random reward model, as reward_models/bradley_terry.py leaves one."""
    from rlaif.models.rendering import Rendering
    from rlaif.models.reward_model import RewardModelCard

    tokenizer = byte_tokenizer(chat=True)
    save_model(folder, tiny_llama(seed, kind=SCORING, num_labels=1), tokenizer)
    known: dict[str, Any] = {"max_length": 512, "base_model": "model", "zero": 0.0}
    RewardModelCard(rendering=Rendering.of(tokenizer).row(), **{**known, **card}).write(folder)
    return folder


class RecordingReward:
    """A reward for PPO's trainer: `score(prompt, response_ids)`, and what was scored, rollout by rollout.

    `rollouts` holds lists of (prompt, response_ids, score).
    """

    def __init__(self, score: Callable[[Any, list[int]], float | None], name: str = "score") -> None:
        self.__name__ = name
        self.score = score
        self.rollouts: list[list[tuple[Any, list[int], float | None]]] = []

    def __call__(self, prompts: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        rows = [(p, list(ids), self.score(p, list(ids))) for p, ids in zip(prompts, completion_ids, strict=True)]
        self.rollouts.append(rows)
        return [score for _, _, score in rows]


def ppo_config(folder: Path, **settings: Any) -> Any:
    """PPOConfig for a test: one line of log a step, on the CPU, nothing saved, no penalty, no critic."""
    from rlaif.training.ppo.config import PPOConfig

    quiet = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1}
    plain = {"critic": "none", "missing_eos_penalty": 0.0, "lr_scheduler_type": "constant", "num_iterations": 1}
    return PPOConfig(**{"output_dir": str(folder), **quiet, **plain, **settings})
