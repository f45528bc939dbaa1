"""What the sandbox's worlds share in building their language models: shape, question, sampling, cards."""

from __future__ import annotations

import math
import platform
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from rlaif.config import UsageError
from rlaif.files.ownership import check_output

SPECIAL_TOKENS = ("<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "<|assistant|>{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{%- else -%}"
    "<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)
COMPACT = "{prompt}\n\nResponse 1: {first}\n\nResponse 2: {second}\n\nBetter response:"  # judging/prompts: compact
MAX_NEW_TOKENS = 40
HELD_OUT_SEED = 20_000  # prompts for measuring; no training prompt list is drawn from it
IGNORE = -100

Pair = tuple[str, str, str]  # prompt, response_a, response_b


# --- tokenizer ----------------------------------------------------------------------------------------------


def text_pieces() -> pre_tokenizers.PreTokenizer:
    """Splits like GPT-2's, but "\\n\\n" stays whole, and spells the pieces in bytes."""
    words = Regex(r"\n+| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def finished(tokenizer: Tokenizer, words: Sequence[str]) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers has it, with the chat template; each of `words`, after a space, is one token."""
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=[AddedToken(t, special=True) for t in SPECIAL_TOKENS[2:]],
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    broken = [word for word in words if len(fast(f" {word}")["input_ids"]) != 1]
    assert not broken, f"words of several tokens: {broken}"
    return fast


def chat(prompt: str) -> str:
    return f"<|user|>{prompt}<|end|><|assistant|>"


# --- examples ---------------------------------------------------------------------------------------------


@dataclass
class Example:
    """A rendered text; `replies` are (start, end) character spans in it, `verdict` P("1"), NaN where none is asked."""

    text: str
    prompt: str
    replies: tuple[tuple[int, int], ...]
    verdict: float = math.nan


def single(prompt: str, response: str) -> Example:
    start = len(chat(prompt))
    return Example(f"{chat(prompt)}{response}<|end|>", prompt, ((start, start + len(response)),))


def question(prompt: str, first: str, second: str, p_first: float, rng: random.Random) -> Example:
    """The compact question, answered by a verdict drawn from `p_first`, so that the judge also learns to stop."""
    head = f"<|user|>{prompt}\n\nResponse 1: "
    middle = f"{head}{first}\n\nResponse 2: "
    spans = ((len(head), len(head) + len(first)), (len(middle), len(middle) + len(second)))
    text = chat(COMPACT.format(prompt=prompt, first=first, second=second))
    return Example(f"{text}{'1' if rng.random() < p_first else '2'}", prompt, spans, p_first)


# --- models and their losses --------------------------------------------------------------------------------


def build_model(tokenizer: PreTrainedTokenizerBase, layers: int, hidden: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=round(hidden * 8 / 3 / 8) * 8,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=1024,
        initializer_range=0.05,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model


def language_loss(model: LlamaForCausalLM, hidden: Tensor, input_ids: Tensor, spoken: Tensor) -> Tensor:
    """Next-token cross-entropy of the tokens that are `spoken`, (B, T): the reply and its <|end|>."""
    return functional.cross_entropy(model.lm_head(hidden[:, :-1][spoken[:, 1:]]), input_ids[:, 1:][spoken[:, 1:]])


def verdict_loss(
    model: LlamaForCausalLM, hidden: Tensor, verdict: Tensor, last: Tensor, one: int, two: int, end: int
) -> Tensor:
    """Soft cross-entropy over the whole vocabulary where the verdict is due, and `end` after it.

    Args:
        verdict: P("1"), (B,); NaN where an example is no question.
        last: index of the last token, (B,): the verdict's.
    """
    asked = ~verdict.isnan()
    if not asked.any():
        return hidden.new_zeros(())
    rows, last, p_first = asked.nonzero()[:, 0], last[asked], verdict[asked]
    log_probs = functional.log_softmax(model.lm_head(hidden[rows, last - 1]), dim=-1)
    loss = -(p_first * log_probs[:, one] + (1 - p_first) * log_probs[:, two]).mean()
    stop = functional.cross_entropy(model.lm_head(hidden[rows, last]), torch.full_like(last, end))
    return loss + 0.1 * stop


def schedule(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine to a twentieth."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


Losses = Callable[[list[Example]], tuple[Tensor, dict[str, Tensor]]]
LabelledBatch = TypeVar("LabelledBatch")


def moved(batch: LabelledBatch, device: torch.device) -> LabelledBatch:
    """A dataclass of tensors on `device`."""
    return type(batch)(**{field: tensor.to(device) for field, tensor in vars(batch).items()})


def fit(
    name: str,
    model: LlamaForCausalLM,
    heads: nn.Module | None,
    batches: Iterator[list[Example]],
    losses: Losses,
    steps: int,
    learning_rate: float,
    warmup: int,
    probe: Callable[[], str] | None,
    probed: Callable[[int], bool],
) -> None:
    """Train model and heads in place on `steps` batches, printing losses every 50 steps.

    Args:
        losses: of a batch, what is minimized, and by name what is printed.
        probe: what else is printed, after the steps that `probed` says.
    """
    model.train()
    parameters = [*model.parameters(), *(heads.parameters() if heads else ())]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, steps, warmup))
    started, sums = time.perf_counter(), Counter[str]()
    for step in range(1, steps + 1):
        loss, shown = losses(next(batches))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        shown["|grad|"] = nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        scheduler.step()
        for key, value in shown.items():
            sums[key] += float(value.detach())
        if step % 50 == 0:
            seconds = time.perf_counter() - started
            means = "  ".join(f"{key} {value / 50:.4f}" for key, value in sums.items())
            sums.clear()
            left = seconds / step * (steps - step)
            print(f"{name} {step:5d}/{steps}  {means}  {seconds:.0f} s, {left:.0f} s to go", flush=True)
        if probe and probed(step):
            model.eval()
            print(f"{name} {step:5d}/{steps}  {probe()}", flush=True)
            model.train()
    model.eval()


# --- sampling and measuring ---------------------------------------------------------------------------------


@torch.no_grad()
def sample(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[str],
    seed: int,
    temperature: float = 1.0,
    batch_size: int = 512,
) -> list[str]:
    """One reply a request, sampled until <|end|> or MAX_NEW_TOKENS."""
    torch.manual_seed(seed)
    tokenizer.padding_side = "left"
    replies: list[str] = []
    for at in range(0, len(requests), batch_size):
        batch = tokenizer([chat(r) for r in requests[at : at + batch_size]], return_tensors="pt", padding=True)
        output = model.generate(
            input_ids=batch["input_ids"].to(model.device),
            attention_mask=batch["attention_mask"].to(model.device),
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=MAX_NEW_TOKENS,
        )
        texts = tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        replies += [text.strip() for text in texts]
    tokenizer.padding_side = "right"
    return replies


def policy_pairs(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[str],
    seed: int,
    temperature: float = 1.0,
) -> list[Pair]:
    """Two samples for each prompt; pairs of equal or empty samples are dropped."""
    replies = sample(model, tokenizer, [*requests, *requests], seed, temperature)
    triples = zip(requests, replies[: len(requests)], replies[len(requests) :], strict=True)
    return [(p, a, b) for p, a, b in triples if a != b and a and b]


@torch.no_grad()
def first_probabilities(
    judge: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Pair], batch_size: int = 256
) -> Tensor:
    """P("1") / (P("1") + P("2")) for each (prompt, first, second); shape (N,)."""
    one, two = (tokenizer.convert_tokens_to_ids(label) for label in "12")
    chunks = []
    for at in range(0, len(questions), batch_size):
        texts = [chat(COMPACT.format(prompt=p, first=f, second=s)) for p, f, s in questions[at : at + batch_size]]
        batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left").to(judge.device)
        logits = judge(**{k: batch[k] for k in ("input_ids", "attention_mask")}, logits_to_keep=1).logits[:, -1]
        chunks.append(torch.sigmoid(logits[:, one] - logits[:, two]).cpu())
    return torch.cat(chunks)


def expected_calibration_error(probabilities: Tensor, outcomes: Tensor, bins: int = 10) -> float:
    """Sum over equal-width bins of (share of the bin) * |mean outcome - mean probability|."""
    index = (probabilities * bins).long().clamp(max=bins - 1)
    gap_sum = 0.0
    for chosen in (index == b for b in range(bins)):
        if chosen.any():
            gap_sum += float((outcomes[chosen].mean() - probabilities[chosen].mean()).abs() * chosen.sum())
    return gap_sum / len(probabilities)


# --- cards --------------------------------------------------------------------------------------------------

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# rlaif sandbox: the {name} LM

A LlamaForCausalLM of {parameters:,} parameters for the {world} world of `{module}`, written in full by
`scripts/build_sandbox.py`. {purpose}
It knows nothing outside that world.

## Measured in the run that built it
| what | value |
|---|---|
{measured}

{notes}

## How it was built
| what | value |
|---|---|
{built}
"""
PURPOSES = {
    "policy": "It replies to one user message; sample it at temperature 1 until `<|end|>`, at most 40 tokens.",
    "judge": "Asked the `compact` question in one user message, its next token is its verdict, `1` or `2`.",
}


def table(values: dict[str, object]) -> str:
    rows = ((key, f"{value:.4g}" if isinstance(value, float) else value) for key, value in values.items())
    return "\n".join(f"| {key} | {value} |" for key, value in rows)


def save(
    name: str,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    measured: dict[str, float],
    built: dict[str, object],
    notes: str,
    world: tuple[str, str] = ("errand", "rlaif/sandbox/world.py"),
) -> None:
    """Write checkpoint, tokenizer and card; `world` is its name and its file."""
    model.to("cpu").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for key, value in measured.items():
        print(f"{name:6s} {key:28s} {value:.4g}")
    card = CARD.format(
        name=name,
        world=world[0],
        module=world[1],
        parameters=model.num_parameters(),
        purpose=PURPOSES[name],
        measured=table(dict(measured)),
        notes=notes,
        built=table(built),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "model.safetensors").chmod(0o644)  # written as 0600: a package's data is for everyone


def load(folder: Path, device: torch.device) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    for key in ("is_local", "local_files_only"):  # facts of this loading, which saving would write down
        tokenizer.init_kwargs.pop(key, None)
    return model.to(device).eval(), tokenizer


class Clock:
    """What a build took, and where it ran: the last rows of a card."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def rows(self, device: torch.device) -> dict[str, object]:
        versions = f"{torch.__version__}, {transformers.__version__}, {platform.python_version()}"
        return {
            "device": device.type,
            "torch, transformers, python": versions,
            "wall time (s)": round(time.perf_counter() - self.wall),
            "CPU time (s)": round(time.process_time() - self.cpu),
        }


def how_built(
    model: LlamaForCausalLM,
    command: str,
    seed: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    clock: Clock,
    device: torch.device,
) -> dict[str, object]:
    """The rows of a card that say how a model was built."""
    return {
        "command": command,
        "seed": seed,
        "parameters": model.num_parameters(),
        "layers, hidden size": f"{model.config.num_hidden_layers}, {model.config.hidden_size}",
        "training steps, batch size": f"{steps}, {batch_size}",
        "learning rate": learning_rate,
        **clock.rows(device),
    }


def check_own(folder: Path, command: str) -> None:
    """A UsageError for a folder that holds anything but an earlier build, which is known by its card: no manifest."""
    card = folder / "README.md"
    if card.is_file() and command in card.read_text(encoding="utf-8"):
        return
    try:
        check_output(folder, command)
    except ValueError as error:
        raise UsageError(str(error)) from None
