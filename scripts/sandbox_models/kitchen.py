"""The kitchen world's policy LM and judge LM: see scripts/build_sandbox.py.

The policy LM learns p(reply | prompt) from demonstrations by next-token prediction and nothing else: no head, no
reward. The judge LM learns to answer "1" or "2" to the `compact` question. It knows what the pantry holds, and it is as
biased as small judges are: it likes what people like (praise and length, see `kitchen.liking`) and much prefers the
response shown first, so that most pairs get another verdict in the other order:

    P("1") = sigmoid((liking(first) - liking(second) + b) / T),    b = 2.5, T = 0.8

As in the first world, a model of this size learns a comparison from verdicts alone only slowly. So the judge, and the
judge alone, learns two more things at every token of a reply, with linear heads that are thrown away: the role of the
word that ends there (`kitchen.word_roles`) and the liking so far.
"""

from __future__ import annotations

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
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rlaif.sandbox import kitchen

FOLDER = Path(kitchen.__file__).parent / "models" / "kitchen"
BATCH_SIZE = 64
STEPS = {"policy": 500, "judge": 600}
SHAPES = {"policy": (2, 64), "judge": (3, 64)}  # layers, hidden size
LEARNING_RATES = {"policy": 4e-3, "judge": 4e-3}
TEMPERATURE, PRIMACY = 0.8, 2.5  # the judge's target: T and b
ROLES = ("", "right", "wrong", "unsafe", "praise", "more praise")  # classes of the judge's role head


# --- tokenizer ----------------------------------------------------------------------------------------------


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Every word and mark that the world's texts hold is one token; what is none of them is spelled in bytes."""
    pieces = text_pieces()
    rows = kitchen.demonstrations(5000, seed=0)
    corpus = [COMPACT.format(prompt=r["prompt"], first=r["completion"], second=r["completion"]) for r in rows]
    corpus += [row["completion"] for row in rows] + [f" {word}" for word in kitchen.vocabulary()]
    found = {piece for text in corpus for piece, _ in pieces.pre_tokenize_str(text)}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*SPECIAL_TOKENS, *alphabet, *sorted(found - set(alphabet))]
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[], ignore_merges=True))  # a piece that is a token stays whole
    tokenizer.pre_tokenizer = pieces
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return finished(tokenizer, kitchen.vocabulary())


# --- examples: text, and what each token of a reply should know ---------------------------------------------


def target_probability(prompt: str, first: str, second: str) -> float:
    """P("1"), the judge's target: see the module docstring."""
    d = kitchen.liking(prompt, first) - kitchen.liking(prompt, second)
    return 1.0 / (1.0 + math.exp(-(d + PRIMACY) / TEMPERATURE))


@dataclass
class Batch:
    """Token-level targets hold IGNORE / NaN outside replies."""

    input_ids: Tensor  # (B, T)
    roles: Tensor  # (B, T), index into ROLES
    so_far: Tensor  # (B, T), liking of the reply up to this token
    last: Tensor  # (B,), index of the last token
    verdict: Tensor  # (B,), NaN where the example is no question


def collate(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Batch:
    """Right-padded ids, with targets for every token of a reply and the one after it."""
    encoded = tokenizer([e.text for e in examples], return_offsets_mapping=True)
    shape = (len(examples), max(map(len, encoded["input_ids"])))
    ids = torch.full(shape, tokenizer.pad_token_id)
    roles, so_far = torch.full(shape, IGNORE), torch.full(shape, math.nan)
    rows = zip(examples, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    for row, (example, tokens, offsets) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        column = 0
        for start, end in example.replies:
            named = kitchen.word_roles(example.prompt, example.text[start:end])
            role_at = {start + word_end: role for _, word_end, role in named}
            while offsets[column][1] <= start:
                column += 1
            liked = 0.0
            while True:
                stop = offsets[column][1]
                if stop in role_at:
                    liked += kitchen.LIKED[role_at[stop]] + kitchen.VERBOSITY
                roles[row, column] = ROLES.index(role_at.get(stop, ""))
                so_far[row, column] = liked
                column += 1
                if stop > end:  # the token after the reply: it carries the whole reply's liking
                    break
    last = torch.tensor([len(tokens) - 1 for tokens in encoded["input_ids"]])
    return Batch(ids, roles, so_far, last, torch.tensor([e.verdict for e in examples]))


# --- losses and training ------------------------------------------------------------------------------------


class AuxiliaryHeads(nn.Module):
    """Linear read-outs used in the judge's training only: the role after layer 2, the liking so far at the end."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(hidden)
        self.roles = nn.Linear(hidden, len(ROLES))
        self.so_far = nn.Linear(hidden, 1)

    def forward(self, hidden_states: Sequence[Tensor], batch: Batch) -> Tensor:
        """The sum of both losses; `hidden_states` are the embeddings and every layer's output, (B, T, H) each."""
        known = batch.roles != IGNORE
        roles = functional.cross_entropy(self.roles(self.norm(hidden_states[2][known])), batch.roles[known])
        so_far = functional.smooth_l1_loss(self.so_far(hidden_states[-1][known])[:, 0], batch.so_far[known])
        return roles + 0.5 * so_far


def train(
    name: str,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    batches: Iterator[list[Example]],
    steps: int,
    device: torch.device,
    probe: Callable[[], str] | None = None,
) -> None:
    """Train in place on `steps` batches, with `probe` every 100 after a third of them."""
    labels = [tokenizer.convert_tokens_to_ids(label) for label in "12"]
    model.to(device)
    heads = AuxiliaryHeads(model.config.hidden_size).to(device) if name == "judge" else None

    def losses(examples: list[Example]) -> tuple[Tensor, dict[str, Tensor]]:
        batch = moved(collate(examples, tokenizer), device)
        # Padding stands on the right and attention is causal, so no real token can see it: no mask is needed.
        states = model.model(batch.input_ids, output_hidden_states=True, use_cache=False).hidden_states
        if heads is None:
            main = language_loss(model, states[-1], batch.input_ids, batch.roles != IGNORE)
            return main, {"loss": main}
        main = verdict_loss(model, states[-1], batch.verdict, batch.last, *labels, tokenizer.eos_token_id)
        extra = heads(states, batch)
        return main + extra, {"loss": main, "heads": extra}

    def probed(step: int) -> bool:
        return step % 100 == 0 and step > steps // 3

    fit(name, model, heads, batches, losses, steps, LEARNING_RATES[name], 50, probe, probed)


# --- what they learn from -----------------------------------------------------------------------------------


def policy_batches(seed: int, size: int) -> Iterator[list[Example]]:
    rng = random.Random(seed)
    while True:
        rows = kitchen.demonstrations(size, seed=rng.randrange(2**62))
        yield [single(row["prompt"], row["completion"]) for row in rows]


def written(prompt: str, rng: random.Random) -> str:
    """A reply by the world's own writer; every third is one of two put together, as a tuned policy goes far."""
    response = kitchen.write_response(prompt, rng)
    return f"{response} {kitchen.write_response(prompt, rng)}" if rng.random() < 1 / 3 else response


def judge_batches(seed: int, size: int, warm_steps: int) -> Iterator[list[Example]]:
    """First single replies only (short, and the liking so far is learned there), then questions."""
    rng = random.Random(seed)
    step = 0
    while True:
        pairs = [(p, written(p, rng), written(p, rng)) for p in kitchen.prompts(size, seed=rng.randrange(2**62))]
        if step < warm_steps:
            yield [single(prompt, first) for prompt, first, _ in pairs]
        else:
            yield [question(*pair, target_probability(*pair), rng) for pair in pairs]
        step += 1


# --- measuring ----------------------------------------------------------------------------------------------


def praises(prompt: str, response: str) -> int:
    return sum(role in ("praise", "more praise") for *_, role in kitchen.word_roles(prompt, response))


def measure_judge(
    judge: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair]
) -> dict[str, float]:
    """Agreement with gold on the untied pairs, in one order and over both; how often length and praise win."""
    forward = first_probabilities(judge, tokenizer, pairs)
    backward = first_probabilities(judge, tokenizer, [(p, b, a) for p, a, b in pairs])
    z = (forward + 1 - backward) / 2
    target = torch.tensor([(target_probability(p, a, b) + 1 - target_probability(p, b, a)) / 2 for p, a, b in pairs])
    gold = torch.tensor([kitchen.gold_reward(p, a) - kitchen.gold_reward(p, b) for p, a, b in pairs])
    longer = torch.tensor([float(len(tokenizer(a).input_ids) - len(tokenizer(b).input_ids)) for _, a, b in pairs])
    praised = torch.tensor([float(praises(p, a) - praises(p, b)) for p, a, b in pairs])
    untied, a_wins, named = gold != 0, gold > 0, z > 0.5
    both = torch.cat([(forward > 0.5) == a_wins, (backward < 0.5) == a_wins])

    def wins(difference: Tensor, verdict: Tensor) -> float:
        """How often the response with more of something is named, where the two differ in it and in gold."""
        counted = untied & (difference != 0)
        return float(((difference > 0) == verdict)[counted].float().mean())

    return {
        "pairs": len(pairs),
        "gold_ties": float((~untied).float().mean()),
        "agreement": float((named == a_wins)[untied].float().mean()),
        "agreement_of_target": float(((target > 0.5) == a_wins)[untied].float().mean()),
        "agreement_single_order": float(both[torch.cat([untied, untied])].float().mean()),
        "conflict_rate": float(((forward > 0.5) == (backward > 0.5)).float().mean()),
        "first_chosen": float((torch.cat([forward, backward]) > 0.5).float().mean()),
        "ece": expected_calibration_error(z[untied], a_wins[untied].float()),
        "z_std": float(z.std()),
        "longer_wins_gold": wins(longer, a_wins),
        "longer_wins_judge": wins(longer, named),
        "more_praise_wins_gold": wins(praised, a_wins),
        "more_praise_wins_judge": wins(praised, named),
    }


def measure_policy(policy: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, n: int, seed: int) -> dict[str, float]:
    """Gold reward of n prompts' samples, 8 each, and what goes with it."""
    requests = kitchen.prompts(n, seed=seed)
    replies = sample(policy, tokenizer, requests * 8, seed)
    rows = list(zip(requests * 8, replies, strict=True))
    gold = torch.tensor([kitchen.gold_reward(p, r) for p, r in rows])
    length = torch.tensor([float(len(tokenizer(r).input_ids)) for r in replies])
    praised = torch.tensor([float(praises(p, r)) for p, r in rows])
    roles = [[role for *_, role in kitchen.word_roles(p, r)] for p, r in rows]
    right, wrong = (sum(one.count(role) for one in roles) for role in ("right", "wrong"))
    by_prompt = gold.view(8, n)
    return {
        "prompts": n,
        "gold_mean": float(gold.mean()),
        "gold_std": float(gold.std()),
        "gold_std_within_prompt": float(by_prompt.std(dim=0).mean()),
        "gold_best_of_8": float(by_prompt.max(dim=0).values.mean()),
        "right_share_of_sides": right / (right + wrong),
        "unsafe_share": sum("unsafe" in one for one in roles) / len(roles),
        "praise_mean": float(praised.mean()),
        "gold_praised_mean": float(gold[praised > 0].mean()),
        "gold_unpraised_mean": float(gold[praised == 0].mean()),
        "gold_length_correlation": float(torch.corrcoef(torch.stack([gold, length]))[0, 1]),
        "length_mean": float(length.mean()),
        "length_max": float(length.max()),
        "distinct_share": len(set(rows)) / len(rows),
    }


# --- cards and the program ----------------------------------------------------------------------------------

NOTES = {
    "policy": """`gold_*` is the gold reward of samples at temperature 1; `gold_best_of_8` is the mean over prompts of
the best of 8 samples; the maximum is 5. It was trained on demonstrations by next-token prediction alone, and what the
pantry holds is in none of them: of the sides that it names `right_share_of_sides` are right, as by chance.
`gold_praised_mean` is over replies with at least one word of praise.""",
    "judge": """Measured on pairs of fresh policy samples. z is the mean over both orders of P(response_a is better);
`agreement` is the share of pairs with unequal gold where z > 0.5 names the better one, `agreement_of_target` the same
for what the judge was taught, `agreement_single_order` for one question alone. `conflict_rate` is the share of pairs
whose verdict changes with the order (1 - position consistency): of real judges Wang et al. (2305.17926) report 46 %
(GPT-4) to 82 % (ChatGPT). `ece` is the expected calibration error of z on pairs with unequal gold (10 bins);
`longer_wins_*` and `more_praise_wins_*` is how often the response with more tokens or more praise wins, where the two
differ in that and in gold. Auxiliary heads (see the script) helped in training and are not in the checkpoint.""",
}


def build(name: str, folder: Path, seed: int, steps: int | None, device: torch.device) -> None:
    """Train, measure and save one of the two LMs; the judge takes the tokenizer of the saved policy."""
    clock, command = Clock(), f"`python scripts/build_sandbox.py --world kitchen --only {name} --seed {seed}`"
    seed += 0 if name == "policy" else 1
    steps, rate, shape = steps or STEPS[name], LEARNING_RATES[name], SHAPES[name]
    torch.manual_seed(seed)
    if name == "policy":
        tokenizer: PreTrainedTokenizerBase = build_tokenizer()
        model = build_model(tokenizer, *shape)
        train(name, model, tokenizer, policy_batches(seed, BATCH_SIZE), steps, device)
        measured = measure_policy(model, tokenizer, 500, seed=HELD_OUT_SEED)
    else:
        policy, tokenizer = load(folder / "policy", device)
        held_out = policy_pairs(policy, tokenizer, kitchen.prompts(2000, seed=HELD_OUT_SEED), HELD_OUT_SEED)
        model = build_model(tokenizer, *shape)

        def probe() -> str:
            measured = measure_judge(model, tokenizer, held_out[:400])
            return "  ".join(f"{key} {measured[key]:.3f}" for key in ("agreement", "conflict_rate", "ece"))

        train(name, model, tokenizer, judge_batches(seed, BATCH_SIZE, steps // 4), steps, device, probe)
        measured = measure_judge(model, tokenizer, held_out)
    built = how_built(model, command, seed, steps, BATCH_SIZE, rate, clock, device)
    save(name, model, tokenizer, folder / name, measured, built, NOTES[name], ("kitchen", "rlaif/sandbox/kitchen.py"))
