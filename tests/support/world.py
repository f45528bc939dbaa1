"""A folder of inputs that are right, small as they can be, as the programs themselves leave them."""

from __future__ import annotations

from pathlib import Path

from support.files import some_pairs, write_rows
from support.models import save_model, tiny_llama, tiny_reward_model
from support.programs import run_here
from support.tokenizers import byte_tokenizer


def make_world(folder: Path) -> Path:
    """Rows (prompts, demonstrations, pairs), judged/, dataset/, model/ (a policy) and reward/ in `folder`."""
    pairs = some_pairs(24)
    write_rows(folder / "pairs.jsonl", pairs)
    write_rows(folder / "prompts.jsonl", [{"prompt": pair["prompt"]} for pair in pairs])
    write_rows(folder / "shown.jsonl", [{"prompt": pair["prompt"], "completion": pair["response_a"]} for pair in pairs])
    (folder / "judge.yaml").write_text("model: rlaif.models.function:longer\n", encoding="utf-8")
    save_model(folder / "model", tiny_llama(), byte_tokenizer(chat=True))
    save_model(folder / "other", tiny_llama(seed=1), byte_tokenizer(chat=True))
    tiny_reward_model(folder / "reward")
    for words in (
        ["judge", "--pairs", "pairs.jsonl", "--judge", "judge.yaml", "--output", "judged"],
        ["build", "--judgments", "judged", "--output", "dataset", "--validation", "0", "--test", "0.2"],
    ):
        assert run_here(["rlaif", *words], folder) == 0
    return folder
