"""The errand world's policy LM and judge LM: see scripts/build_sandbox.py.

The policy LM learns p(reply | prompt) from demonstrations of mixed quality. The judge LM learns to answer "1" or "2"
to the `compact` question below. Verdicts alone teach a model of this size nothing for a thousand steps, so both learn,
with linear heads that are thrown away afterwards, three things at every token of a reply: the points of the word that
ends there (+1, 0, -1, -2), the gold reward so far, and which asked items are still open. The judge's target is soft,
likes words a little, and leans to the first response near ties, as real judges do (verbosity and position bias):

    P("1") = sigmoid((d + b / max(1, |d|)) / T),    T = 0.6, b = 0.6
    d = gold(first) - gold(second) + 0.1 * (words(first) - words(second))
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from sandbox_models.common import (
    COMPACT,
    HELD_OUT_SEED,
    IGNORE,
    SPECIAL_TOKENS,
    Clock,
    Example,
    Pair,
    build_model,
    expected_calibration_error,
    finished,
    first_probabilities,
    fit,
    how_built,
    language_loss,
    load,
    moved,
    policy_pairs,
    question,
    sample,
    save,
    single,
    text_pieces,
    verdict_loss,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rlaif.sandbox import world

FOLDER = Path(world.__file__).parent / "models"
POINTS = (-2, -1, 0, 1)  # classes of the points head
TEMPERATURE, PRIMACY, VERBOSITY = 0.6, 0.6, 0.1  # the judge's target: T, b, and what a word is worth
ITEM_INDEX = {item: index for index, item in enumerate(world.ITEMS)}
LAYERS, HIDDEN, BATCH_SIZE, LEARNING_RATE = 4, 128, 64, 2e-3
STEPS = {"policy": 1500, "judge": 600}
POOL = 2000  # prompts a round of policy samples for the judge


# --- tokenizer ----------------------------------------------------------------------------------------------


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE: every world word, after a space, is one token, and any other text still has an encoding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = text_pieces()
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
    return finished(tokenizer, world.vocabulary())


# --- examples: text, and what each token of a reply should know ---------------------------------------------


def target_probability(prompt: str, first: str, second: str) -> float:
    """P("1"), the judge's target: see the module docstring."""
    scored_first, scored_second = world.word_points(prompt, first), world.word_points(prompt, second)
    d = sum(gain for *_, gain in scored_first) - sum(gain for *_, gain in scored_second)
    d += VERBOSITY * (len(scored_first) - len(scored_second))
    return 1.0 / (1.0 + math.exp(-(d + PRIMACY / max(1.0, abs(d))) / TEMPERATURE))


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
    return Batch(ids, points, so_far, open_items, last, torch.tensor([e.verdict for e in examples]))


# --- losses and training ------------------------------------------------------------------------------------


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


def train(
    name: str,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    batches: Iterator[list[Example]],
    steps: int,
    device: torch.device,
    probe: Callable[[], str] | None = None,
) -> None:
    """Train in place on `steps` batches, with `probe` every 500."""
    labels = [tokenizer.convert_tokens_to_ids(label) for label in "12"]
    model.to(device)
    heads = AuxiliaryHeads(model.config.hidden_size).to(device)

    def losses(examples: list[Example]) -> tuple[Tensor, dict[str, Tensor]]:
        batch = moved(collate(examples, tokenizer), device)
        # Padding stands on the right and attention is causal, so no real token can see it: no mask is needed.
        hidden_states = model.model(batch.input_ids, output_hidden_states=True, use_cache=False).hidden_states
        points, so_far, open_items = heads(hidden_states, batch)
        hidden = hidden_states[-1]
        if name == "policy":
            main = language_loss(model, hidden, batch.input_ids, batch.points != IGNORE)
        else:
            main = verdict_loss(model, hidden, batch.verdict, batch.last, *labels, tokenizer.eos_token_id)
        shown = {"loss": main, "points": points, "gold so far": so_far, "open items": open_items}
        return main + points + 0.5 * so_far + 5.0 * open_items, shown

    fit(name, model, heads, batches, losses, steps, LEARNING_RATE, 100, probe, lambda step: step % 500 == 0)


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
            examples = []
            for prompt, a, b in pairs[: size * 7 // 8]:
                pair = prompt, *((a, b) if rng.random() < 0.5 else (b, a))
                examples.append(question(*pair, target_probability(*pair), rng))
            yield examples + [single(p, a) for p, a, _ in pairs[size * 7 // 8 :]]
        step += 1


# --- measuring ----------------------------------------------------------------------------------------------


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


def build(name: str, folder: Path, seed: int, steps: int | None, device: torch.device) -> None:
    """Train, measure and save one of the two LMs; the judge takes tokenizer and samples from the saved policy."""
    clock, command = Clock(), f"`python scripts/build_sandbox.py --only {name} --seed {seed}`"
    seed += 0 if name == "policy" else 1
    steps = steps or STEPS[name]
    torch.manual_seed(seed)
    if name == "policy":
        tokenizer: PreTrainedTokenizerBase = build_tokenizer()
        model = build_model(tokenizer, LAYERS, HIDDEN)
        train(name, model, tokenizer, policy_batches(seed, BATCH_SIZE), steps, device)
        measured = measure_policy(model, tokenizer, 500, seed=HELD_OUT_SEED)
    else:
        policy, tokenizer = load(folder / "policy", device)
        # Samples at a lower temperature stand in for policies that have been tuned.
        pool = [
            pair
            for number, temperature in enumerate((1.0, 1.0, 0.7), seed + 10)
            for pair in policy_pairs(policy, tokenizer, world.prompts(POOL, seed=number), number, temperature)
        ]
        held_out = policy_pairs(policy, tokenizer, world.prompts(2000, seed=HELD_OUT_SEED), HELD_OUT_SEED)
        asked = {prompt for prompt, _, _ in held_out}
        pool = [pair for pair in pool if pair[0] not in asked]
        print(f"judge  {len(pool)} training pairs of policy samples, {len(held_out)} held out", flush=True)
        model = build_model(tokenizer, LAYERS, HIDDEN)
        batches = judge_batches(pool, seed, BATCH_SIZE, warm_steps=steps // 3)

        def probe() -> str:
            measured = measure_judge(model, tokenizer, held_out[:400])
            return "  ".join(f"{key} {measured[key]:.3f}" for key in ("agreement", "agreement_single_order", "ece"))

        train(name, model, tokenizer, batches, steps, device, probe)
        measured = measure_judge(model, tokenizer, held_out)
    built = how_built(model, command, seed, steps, BATCH_SIZE, LEARNING_RATE, clock, device)
    save(name, model, tokenizer, folder / name, measured, built, NOTES[name])
