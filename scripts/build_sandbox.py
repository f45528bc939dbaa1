"""Rebuild the sandbox's tokenizer, policy LM and judge LM from seeds, measure them, and write their model cards.

    python scripts/build_sandbox.py                  # both, on a GPU where there is one, else on the CPU
    python scripts/build_sandbox.py --only judge     # keep the tokenizer and the policy in --output, rebuild the judge
    OMP_NUM_THREADS=1 python scripts/build_sandbox.py    # faster where other work keeps the cores busy

The policy LM learns p(reply | prompt) from demonstrations of mixed quality. The judge LM learns to answer "1" or "2"
to the `compact` question below. Verdicts alone teach a model of this size nothing for a thousand steps, so both learn,
with linear heads that are thrown away afterwards, three things at every token of a reply: the points of the word that
ends there (+1, 0, -1, -2), the gold reward so far, and which asked items are still open. The judge's target is soft,
likes words a little, and leans to the first response near ties, as real judges do (verbosity and position bias):

    P("1") = sigmoid((d + b / max(1, |d|)) / T),    T = 0.6, b = 0.6
    d = gold(first) - gold(second) + 0.1 * (words(first) - words(second))
"""

import argparse
import math
import platform
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
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

from rlaif.files.ownership import check_output
from rlaif.sandbox import world

DEFAULT_OUTPUT = Path(world.__file__).parent / "models"
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
POINTS = (-2, -1, 0, 1)  # classes of the points head
TEMPERATURE, PRIMACY, VERBOSITY = 0.6, 0.6, 0.1  # the judge's target: T, b, and what a word is worth
MAX_NEW_TOKENS = 40
HELD_OUT_SEED = 20_000  # prompts for measuring; no training prompt list is drawn from it
IGNORE = -100
ITEM_INDEX = {item: index for index, item in enumerate(world.ITEMS)}

Pair = tuple[str, str, str]  # prompt, response_a, response_b


# --- tokenizer ----------------------------------------------------------------------------------------------


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE: every world word, after a space, is one token, and any other text still has an encoding."""
    tokenizer = Tokenizer(models.BPE())
    words = Regex(r"\n+| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")  # like GPT-2's, but "\n\n" stays whole
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    rows = world.demonstrations(20_000, seed=0)
    corpus = [COMPACT.format(prompt=r["prompt"], first=r["completion"], second=r["completion"]) for r in rows]
    corpus += [row["completion"] for row in rows]
    corpus += [f" {word}" for word in world.vocabulary() for _ in range(100)]
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=4096,  # never reached: merging stops when every word is one token
            min_frequency=50,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=[AddedToken(t, special=True) for t in SPECIAL_TOKENS[2:]],
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    broken = [word for word in world.vocabulary() if len(fast(f" {word}")["input_ids"]) != 1]
    assert not broken, f"words of several tokens: {broken}"
    return fast


def chat(prompt: str) -> str:
    return f"<|user|>{prompt}<|end|><|assistant|>"


# --- examples: text, and what each token of a reply should know ---------------------------------------------


@dataclass
class Example:
    """A rendered text; `replies` are (start, end) character spans in it, `verdict` P("1") where it is a question."""

    text: str
    prompt: str
    replies: tuple[tuple[int, int], ...]
    verdict: float | None = None


def single(prompt: str, response: str) -> Example:
    start = len(chat(prompt))
    return Example(f"{chat(prompt)}{response}<|end|>", prompt, ((start, start + len(response)),))


def target_probability(prompt: str, first: str, second: str) -> float:
    """P("1"), the judge's target: see the module docstring."""
    scored_first, scored_second = world.word_points(prompt, first), world.word_points(prompt, second)
    d = sum(gain for *_, gain in scored_first) - sum(gain for *_, gain in scored_second)
    d += VERBOSITY * (len(scored_first) - len(scored_second))
    return 1.0 / (1.0 + math.exp(-(d + PRIMACY / max(1.0, abs(d))) / TEMPERATURE))


def question(prompt: str, first: str, second: str, rng: random.Random) -> Example:
    """The compact question, answered by a verdict drawn from the target, so that the judge also learns to stop."""
    head = f"<|user|>{prompt}\n\nResponse 1: "
    middle = f"{head}{first}\n\nResponse 2: "
    p_first = target_probability(prompt, first, second)
    spans = ((len(head), len(head) + len(first)), (len(middle), len(middle) + len(second)))
    text = chat(COMPACT.format(prompt=prompt, first=first, second=second))
    return Example(f"{text}{'1' if rng.random() < p_first else '2'}", prompt, spans, p_first)


@dataclass
class Batch:
    """Token-level targets hold IGNORE / NaN outside replies. V is the number of items in the world."""

    input_ids: Tensor  # (B, T)
    points: Tensor  # (B, T), index into POINTS
    so_far: Tensor  # (B, T), gold reward of the reply up to this token
    open_items: Tensor  # (B, T, V), 1 for the asked items that this reply has not named yet
    last: Tensor  # (B,), index of the last token
    verdict: Tensor  # (B,), NaN where the example is no question


def collate(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Batch:
    """Right-padded ids, with targets for every token of a reply and the one after it."""
    encoded = tokenizer([e.text for e in examples], return_offsets_mapping=True)
    shape = (len(examples), max(map(len, encoded["input_ids"])))
    ids = torch.full(shape, tokenizer.pad_token_id)
    points, so_far = torch.full(shape, IGNORE), torch.full(shape, math.nan)
    open_items = torch.zeros(*shape, len(world.ITEMS))
    for row, (example, tokens, offsets) in enumerate(
        zip(examples, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        column = 0
        for start, end in example.replies:
            scored = world.word_points(example.prompt, example.text[start:end])
            words = {start + word_end: (word, gain) for word, word_end, gain in scored}
            while offsets[column][1] <= start:
                column += 1
            first, total, named_at = column, 0, {}
            while True:
                stop = offsets[column][1]
                word, gain = words.get(stop, ("", 0))
                if gain > 0:
                    named_at[word] = column
                total += gain
                points[row, column] = POINTS.index(gain)
                so_far[row, column] = total
                column += 1
                if stop > end:  # the token after the reply: it carries the reply's whole gold reward
                    break
            for item in world.asked_items(example.prompt):
                open_items[row, first : named_at.get(item, column), ITEM_INDEX[item]] = 1
    last = torch.tensor([len(tokens) - 1 for tokens in encoded["input_ids"]])
    verdict = torch.tensor([math.nan if e.verdict is None else e.verdict for e in examples])
    return Batch(ids, points, so_far, open_items, last, verdict)


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


class AuxiliaryHeads(nn.Module):
    """Linear read-outs used in training only; forward returns the losses of points, gold so far and open items.

    Points are read after layer 2, open items after layer 3, the gold so far after layer 3 and at the end: each a layer
    later than what it is computed from.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.points = nn.Linear(hidden, len(POINTS))
        self.open_items = nn.Linear(hidden, len(world.ITEMS))
        self.so_far = nn.ModuleList([nn.Linear(hidden, 1), nn.Linear(hidden, 1)])
        self.norms = nn.ModuleList([nn.RMSNorm(hidden), nn.RMSNorm(hidden)])

    def forward(self, hidden_states: Sequence[Tensor], batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        known = ~batch.so_far.isnan()
        second, third = (norm(h[known]) for norm, h in zip(self.norms, hidden_states[2:4], strict=True))
        points_loss = functional.cross_entropy(self.points(second), batch.points[known])
        open_loss = functional.binary_cross_entropy_with_logits(self.open_items(third), batch.open_items[known])
        so_far = torch.stack([self.so_far[0](third)[:, 0], self.so_far[1](hidden_states[-1][known])[:, 0]])
        so_far_loss = functional.smooth_l1_loss(so_far, batch.so_far[known].expand_as(so_far))
        return points_loss, so_far_loss, open_loss


def language_loss(model: LlamaForCausalLM, hidden: Tensor, batch: Batch) -> Tensor:
    """Next-token cross-entropy of the reply and its <|end|>; the prompt's items are random and teach nothing."""
    spoken = (batch.points != IGNORE)[:, 1:]
    return functional.cross_entropy(model.lm_head(hidden[:, :-1][spoken]), batch.input_ids[:, 1:][spoken])


def verdict_loss(model: LlamaForCausalLM, hidden: Tensor, batch: Batch, one: int, two: int, end: int) -> Tensor:
    """Soft cross-entropy over the whole vocabulary where the verdict is due, and `end` after it."""
    asked = ~batch.verdict.isnan()
    if not asked.any():
        return hidden.new_zeros(())
    rows, last, p_first = asked.nonzero()[:, 0], batch.last[asked], batch.verdict[asked]
    log_probs = functional.log_softmax(model.lm_head(hidden[rows, last - 1]), dim=-1)
    verdict = -(p_first * log_probs[:, one] + (1 - p_first) * log_probs[:, two]).mean()
    stop = functional.cross_entropy(model.lm_head(hidden[rows, last]), torch.full_like(last, end))
    return verdict + 0.1 * stop


def schedule(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine to a twentieth."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def train(
    name: str,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    batches: Iterator[list[Example]],
    steps: int,
    learning_rate: float,
    device: torch.device,
    probe: Callable[[], str] | None = None,
) -> None:
    """Train in place on `steps` batches, printing the losses every 50 steps and `probe` every 500."""
    one, two = (tokenizer.convert_tokens_to_ids(label) for label in "12")
    model.to(device).train()
    heads = AuxiliaryHeads(model.config.hidden_size).to(device)
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, steps, warmup=100))
    started, sums = time.perf_counter(), torch.zeros(5)
    for step in range(1, steps + 1):
        batch = collate(next(batches), tokenizer)
        batch = Batch(**{field: tensor.to(device) for field, tensor in vars(batch).items()})
        # Padding stands on the right and attention is causal, so no real token can see it: no mask is needed.
        hidden_states = model.model(batch.input_ids, output_hidden_states=True, use_cache=False).hidden_states
        points_loss, so_far_loss, open_loss = heads(hidden_states, batch)
        hidden = hidden_states[-1]
        if name == "policy":
            main_loss = language_loss(model, hidden, batch)
        else:
            main_loss = verdict_loss(model, hidden, batch, one, two, tokenizer.eos_token_id)
        loss = main_loss + points_loss + 0.5 * so_far_loss + 5.0 * open_loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        scheduler.step()
        sums += torch.stack([main_loss, points_loss, so_far_loss, open_loss, norm]).detach().cpu()
        if step % 50 == 0:
            seconds = time.perf_counter() - started
            main, points, so_far, open_items, norms = (sums / 50).tolist()
            sums.zero_()
            print(
                f"{name} {step:5d}/{steps}  loss {main:.4f}  points {points:.4f}  gold so far {so_far:.4f}  open items "
                f"{open_items:.4f}  |grad| {norms:.2f}  {seconds:.0f} s, {seconds / step * (steps - step):.0f} s to go",
                flush=True,
            )
        if probe and step % 500 == 0:
            model.eval()
            print(f"{name} {step:5d}/{steps}  {probe()}", flush=True)
            model.train()
    model.eval()


# --- what they learn from -----------------------------------------------------------------------------------


def policy_batches(seed: int, size: int) -> Iterator[list[Example]]:
    rng = random.Random(seed)
    while True:
        rows = world.demonstrations(size, seed=rng.randrange(2**62))
        yield [single(row["prompt"], row["completion"]) for row in rows]


def written_pair(prompt: str, rng: random.Random) -> Pair:
    """Two replies by the world's own writer: of unrelated skills, or both of the same, as a tuned policy's are."""
    skills = (rng.random(), rng.random())
    if rng.random() < 0.4:
        skills = (skills[0] ** 0.5,) * 2
    return prompt, world.write_response(prompt, rng, skills[0]), world.write_response(prompt, rng, skills[1])


def judge_batches(pool: Sequence[Pair], seed: int, size: int, warm_steps: int) -> Iterator[list[Example]]:
    """First single replies only (short, and the gold so far is learned there), then questions with a few singles.

    Half of the questions are about samples of the policy (`pool`), half about written replies.
    """
    rng = random.Random(seed)
    step = 0
    while True:
        requests = world.prompts(size, seed=rng.randrange(2**62))
        written = [written_pair(prompt, rng) for prompt in requests]
        pairs = [rng.choice(pool) if pool and rng.random() < 0.5 else pair for pair in written]
        if step < warm_steps:
            yield [single(prompt, response) for prompt, *both in pairs for response in both]
        else:
            examples = [
                question(p, *((a, b) if rng.random() < 0.5 else (b, a)), rng) for p, a, b in pairs[: size * 7 // 8]
            ]
            yield examples + [single(p, a) for p, a, _ in pairs[size * 7 // 8 :]]
        step += 1


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
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, n: int, seed: int, temperature: float = 1.0
) -> list[Pair]:
    """n prompts with two samples each; pairs of equal samples are dropped."""
    requests = world.prompts(n, seed=seed)
    replies = sample(model, tokenizer, requests * 2, seed, temperature)
    triples = zip(requests, replies[:n], replies[n:], strict=True)
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


def measure_judge(
    judge: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair]
) -> dict[str, float]:
    """Agreement with gold on the untied pairs, in one order and over both; position bias; calibration of z."""
    forward = first_probabilities(judge, tokenizer, pairs)
    backward = first_probabilities(judge, tokenizer, [(p, b, a) for p, a, b in pairs])
    z = (forward + 1 - backward) / 2
    p_first = torch.cat([forward, backward])
    gold = torch.tensor([world.gold_reward(p, a) - world.gold_reward(p, b) for p, a, b in pairs])
    longer = torch.tensor([float(len(tokenizer(a).input_ids) - len(tokenizer(b).input_ids)) for _, a, b in pairs])
    untied, a_wins = gold != 0, gold > 0
    right = (z > 0.5) == a_wins
    both = torch.cat([(forward > 0.5) == a_wins, (backward < 0.5) == a_wins])
    uneven = untied & (longer != 0)
    near = untied & (gold.abs() == 1)
    return {
        "pairs": len(pairs),
        "gold_ties": float((~untied).float().mean()),
        "agreement": float(right[untied].float().mean()),
        "agreement_single_order": float(both[torch.cat([untied, untied])].float().mean()),
        "agreement_gold_difference_1": float(right[near].float().mean()),
        "order_consistency": float(((forward > 0.5) != (backward > 0.5)).float().mean()),
        "p_first_mean": float(p_first.mean()),
        "first_chosen": float((p_first > 0.5).float().mean()),
        "first_chosen_gold_ties": float((p_first > 0.5)[torch.cat([~untied, ~untied])].float().mean()),
        "ece": expected_calibration_error(z[untied], a_wins[untied].float()),
        "z_std": float(z.std()),
        "longer_wins_gold": float(((longer > 0) == a_wins)[uneven].float().mean()),
        "longer_wins_judge": float(((longer > 0) == (z > 0.5))[uneven].float().mean()),
    }


def measure_policy(policy: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> dict[str, float]:
    """Gold reward of n prompts' samples, 8 each, and its correlation with length in tokens."""
    requests = world.prompts(n, seed=seed)
    replies = sample(policy, tokenizer, requests * 8, seed)
    gold = torch.tensor([world.gold_reward(p, r) for p, r in zip(requests * 8, replies, strict=True)]).view(8, n)
    length = torch.tensor([float(len(tokenizer(r).input_ids)) for r in replies])
    return {
        "prompts": n,
        "gold_mean": float(gold.mean()),
        "gold_std": float(gold.std()),
        "gold_std_within_prompt": float(gold.std(dim=0).mean()),
        "gold_best_of_8": float(gold.max(dim=0).values.mean()),
        "gold_maximum": float(torch.tensor([world.max_gold_reward(p) for p in requests]).mean()),
        "gold_length_correlation": float(torch.corrcoef(torch.stack([gold.flatten(), length]))[0, 1]),
        "length_mean": float(length.mean()),
        "length_max": float(length.max()),
        "distinct_share": len(set(zip(requests * 8, replies, strict=True))) / len(replies),
    }


# --- cards and the program ----------------------------------------------------------------------------------

CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# rlaif sandbox: the {name} LM

A LlamaForCausalLM of {parameters:,} parameters for the errand world of `rlaif/sandbox/world.py`, written in full by
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
NOTES = {
    "policy": """`gold_*` is the gold reward of samples at temperature 1; `gold_best_of_8` is the mean over prompts of
the best of 8 samples, `gold_maximum` of the best that any reply could get. Auxiliary heads (see the script)
helped in training and are not in the checkpoint.""",
    "judge": """Measured on pairs of fresh policy samples. z is the mean over both orders of P(response_a is better);
`agreement` is the share of pairs with unequal gold where z > 0.5 names the better one, `agreement_single_order` the
same for one question alone, `order_consistency` the share of pairs whose two verdicts name the same response. By
design the judge leans to the first response near ties and likes words a little: its target is
sigmoid((d + 0.6 / max(1, |d|)) / 0.6), d = gold(first) - gold(second) + 0.1 (words(first) - words(second)). `ece` is
the expected calibration error of z on pairs with unequal gold (10 bins); `longer_wins_*` is how often the longer
response wins where lengths and gold differ. Auxiliary heads (see the script) helped in training and are not in the
checkpoint.""",
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
) -> None:
    """Write checkpoint, tokenizer and card."""
    model.to("cpu").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for key, value in measured.items():
        print(f"{name:6s} {key:28s} {value:.4g}")
    card = CARD.format(
        name=name,
        parameters=model.num_parameters(),
        purpose=PURPOSES[name],
        measured=table(dict(measured)),
        notes=NOTES[name],
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


def build(name: str, arguments: argparse.Namespace, device: torch.device) -> None:
    """Train, measure and save one of the two LMs; the judge takes tokenizer and samples from the saved policy."""
    started, cpu_started = time.perf_counter(), time.process_time()
    seed = arguments.seed + (0 if name == "policy" else 1)
    torch.manual_seed(seed)
    if name == "policy":
        steps = arguments.policy_steps
        tokenizer: PreTrainedTokenizerBase = build_tokenizer()
        model = build_model(tokenizer, arguments.layers, arguments.hidden)
        batches = policy_batches(seed, arguments.batch_size)
        train(name, model, tokenizer, batches, steps, arguments.learning_rate, device)
        measured = measure_policy(model, tokenizer, 500, seed=HELD_OUT_SEED)
    else:
        steps = arguments.judge_steps
        policy, tokenizer = load(arguments.output / "policy", device)
        # Samples at a lower temperature stand in for policies that have been tuned.
        pool = [
            pair
            for number, temperature in enumerate((1.0, 1.0, 0.7))
            for pair in policy_pairs(policy, tokenizer, arguments.pool, seed + 10 + number, temperature)
        ]
        held_out = policy_pairs(policy, tokenizer, 2000, seed=HELD_OUT_SEED)
        asked = {prompt for prompt, _, _ in held_out}
        pool = [pair for pair in pool if pair[0] not in asked]
        print(f"judge  {len(pool)} training pairs of policy samples, {len(held_out)} held out", flush=True)
        model = build_model(tokenizer, arguments.layers, arguments.hidden)
        batches = judge_batches(pool, seed, arguments.batch_size, warm_steps=steps // 3)

        def probe() -> str:
            measured = measure_judge(model, tokenizer, held_out[:400])
            return "  ".join(f"{key} {measured[key]:.3f}" for key in ("agreement", "agreement_single_order", "ece"))

        train(name, model, tokenizer, batches, steps, arguments.learning_rate, device, probe)
        measured = measure_judge(model, tokenizer, held_out)
    built: dict[str, object] = {
        "command": f"`python scripts/build_sandbox.py --only {name} --seed {arguments.seed}`",
        "seed": seed,
        "parameters": model.num_parameters(),
        "layers, hidden size": f"{arguments.layers}, {arguments.hidden}",
        "training steps, batch size": f"{steps}, {arguments.batch_size}",
        "learning rate": arguments.learning_rate,
        "device": device.type,
        "torch, transformers, python": f"{torch.__version__}, {transformers.__version__}, {platform.python_version()}",
        "wall time (s)": round(time.perf_counter() - started),
        "CPU time (s)": round(time.process_time() - cpu_started),
    }
    save(name, model, tokenizer, arguments.output / name, measured, built)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder for policy/ and judge/")
    parser.add_argument("--only", choices=("policy", "judge"), help="build one; the judge needs --output/policy")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--policy-steps", type=int, default=1500)
    parser.add_argument("--judge-steps", type=int, default=600)
    parser.add_argument("--pool", type=int, default=2000, help="prompts a round of policy samples for the judge")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()  # no bars for files written and read in no time
    if arguments.only == "judge" and not (arguments.output / "policy" / "config.json").is_file():
        parser.error(f"--only judge: no policy in {arguments.output / 'policy'}; build it first with --only policy")
    name = arguments.device
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    names = [arguments.only] if arguments.only else ["policy", "judge"]
    for model in names:
        check_own(arguments.output / model, model, parser)
    for model in names:
        build(model, arguments, device)


def check_own(folder: Path, name: str, parser: argparse.ArgumentParser) -> None:
    """Refuses a folder that holds something else than an earlier build, which is known by its card: no manifest."""
    card, command = folder / "README.md", f"build_sandbox.py --only {name}"
    if card.is_file() and command in card.read_text(encoding="utf-8"):
        return
    try:
        check_output(folder, command)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
