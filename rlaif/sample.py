"""`rlaif sample`: prompts -> candidate pairs, from one policy or two, local or behind an endpoint.

Each prompt is answered n times by each policy; exact duplicates are dropped and pairs are formed of what is left, so
both responses of a pair always differ. With two policies a pair has one response of each, on a side drawn at random by
the prompt, so that "a" does not mean "the first policy". Completions are stored as they arrive (`rlaif.store`), so a
killed run goes on where it was.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rlaif.batching import plan_batches, split_on_oom
from rlaif.parallel import is_main, process_count, run_batches, wait_for_everyone
from rlaif.records import Pair, Prompt, content_hash
from rlaif.sources import read_prompts, write_jsonl
from rlaif.store import Store, write_manifest

__all__ = ["Completion", "LocalPolicy", "SampleConfig", "SampleCounts", "complete", "form_pairs", "sample"]


@dataclass
class SampleConfig:
    """Prompts in, candidate pairs out."""

    prompts: str | None = field(
        default=None, metadata={"help": "Prompts: a source with a `prompt` column (.jsonl, .parquet, folder, Hub id)."}
    )
    policy: str | None = field(
        default=None,
        metadata={"help": "Folder or Hub id of a causal LM, or, with --base_url, the endpoint's model name."},
    )
    policy_b: str | None = field(default=None, metadata={"help": "A second policy to compare with the first."})
    output: str | None = field(
        default=None, metadata={"help": "Folder for completions/, pairs.jsonl and manifest.json."}
    )
    split: str | None = field(default=None, metadata={"help": "Split of the source, where it has several."})
    limit: int | None = field(default=None, metadata={"help": "Use only the first so many prompts."})
    samples: int = field(default=2, metadata={"help": "Responses to each prompt from each policy."})
    pairs_per_prompt: int = field(default=1, metadata={"help": "At most so many pairs of a prompt's responses."})
    temperature: float = field(default=1.0, metadata={"help": "0 is greedy."})
    top_p: float = field(default=1.0, metadata={"help": "Sample from the likeliest tokens with this total mass."})
    max_new_tokens: int = field(default=512, metadata={"help": "Longest response, in tokens."})
    seed: int = field(default=0, metadata={"help": "Seed of the sampling."})
    dtype: str = field(default="auto", metadata={"help": "local: auto (as stored), float32, bfloat16 or float16."})
    load_in_4bit: bool = field(default=False, metadata={"help": "local: quantize with bitsandbytes (NF4)."})
    batch_tokens: int = field(
        default=32768, metadata={"help": "local: tokens generated at once, prompts and responses."}
    )
    base_url: str | None = field(
        default=None,
        metadata={"help": "An OpenAI-compatible endpoint (vLLM, say) that serves the policies, ending in /v1."},
    )
    api_key_env: str = field(
        default="OPENAI_API_KEY", metadata={"help": "The environment variable that holds the endpoint's key."}
    )
    concurrency: int = field(default=32, metadata={"help": "Calls to the endpoint in flight, in each process."})


@dataclass(frozen=True, slots=True)
class Completion:
    """One response to be sampled: the `sample`-th of `policy` to `prompt`; `key` is its content address."""

    key: str
    prompt: Prompt
    policy: str
    sample: int


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """What became of the prompts and responses; nothing is left out uncounted."""

    prompts: int
    responses: int
    empty: int
    failed: int
    cut: int
    duplicates: int
    prompts_without_pair: int
    pairs: int


class LocalPolicy:
    """A transformers causal LM that answers prompts in batches planned by token budget.

    Args:
        model: folder or Hub id.
        max_new_tokens, temperature, top_p: sampling; temperature 0 is greedy.
        seed: with a batch's content, the seed of its random numbers, so that neither the number of processes nor a
            resume changes a response.
        batch_tokens: tokens in one batch, prompts and responses together.
        dtype, load_in_4bit: as in `load_causal_lm`.
    """

    def __init__(
        self,
        model: str,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
        batch_tokens: int = 32768,
        dtype: str = "auto",
        load_in_4bit: bool = False,
    ) -> None:
        from rlaif.language_models import load_causal_lm, load_tokenizer, model_fingerprint
        from rlaif.rendering import Rendering

        self.name = model
        self.parameters: dict[str, Any] = {
            "model": model_fingerprint(model),
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
            "dtype": dtype,
            "load_in_4bit": load_in_4bit,
        }
        self.tokenizer = load_tokenizer(model)
        self.rendering = Rendering.of(self.tokenizer)
        self._load = partial(load_causal_lm, model, dtype=dtype, load_in_4bit=load_in_4bit)
        self._model: Any = None
        self._tokens = batch_tokens
        self._ids: dict[str, list[int]] = {}

    @property
    def model(self) -> Any:
        """The model, loaded when first used."""
        if self._model is None:
            self._model = self._load()
        return self._model

    def plan(self, work: Sequence[Completion]) -> list[list[Completion]]:
        """All completions in batches by token budget, longest prompt first."""
        for item in work:
            if item.key not in self._ids:
                self._ids[item.key] = self.rendering.encode_prompt(self.tokenizer, item.prompt)
        new = int(self.parameters["max_new_tokens"])
        batches = plan_batches([len(self._ids[item.key]) + new for item in work], self._tokens)
        return [[work[index] for index in batch] for batch in batches]

    def answer(self, batches: list[list[Completion]]) -> Iterator[list[dict[str, Any]]]:
        """Rows to store, batch by batch: key, text, tokens, complete (ended with EOS), or the reason for no text."""
        for batch in batches:
            yield split_on_oom(self._generate, batch)

    def _generate(self, batch: Sequence[Completion]) -> list[dict[str, Any]]:
        import torch

        fits: list[Completion] = []
        rows: list[dict[str, Any]] = []
        room = int(getattr(self.model.config.get_text_config(), "max_position_embeddings", 0) or 1 << 30)
        for item in batch:
            if len(self._ids[item.key]) + int(self.parameters["max_new_tokens"]) > room:
                reason = f"the prompt has {len(self._ids[item.key])} tokens; with the response it exceeds {room}"
                rows.append({"key": item.key, "policy": item.policy, "text": None, "reason": reason})
            else:
                fits.append(item)
        if not fits:
            return rows
        longest = max(len(self._ids[item.key]) for item in fits)
        pad, eos = self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        prompts = [self._ids[item.key] for item in fits]
        ids_BP = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=self.model.device)
        mask_BP = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=self.model.device)
        greedy = self.parameters["temperature"] == 0.0
        choice = {} if greedy else {"temperature": self.parameters["temperature"], "top_p": self.parameters["top_p"]}
        torch.manual_seed(int(content_hash([item.key for item in fits])[:12], 16))
        with torch.inference_mode():
            out_BT = self.model.generate(
                input_ids=ids_BP,
                attention_mask=mask_BP,
                max_new_tokens=self.parameters["max_new_tokens"],
                do_sample=not greedy,
                # The policy's own distribution: what a model's generation_config adds (top-k 50, a repetition
                # penalty) would be sampled from but not trained on.
                top_k=0,
                repetition_penalty=1.0,
                pad_token_id=pad,
                eos_token_id=eos,
                **choice,
            )
        for item, new in zip(fits, out_BT[:, longest:].tolist(), strict=True):
            complete = eos in new
            tokens = new[: new.index(eos)] if complete else new
            # As it was generated, white space and all: what is trained on and scored must become the same tokens again.
            text = self.tokenizer.decode(tokens, skip_special_tokens=True)
            rows.append(
                {
                    "key": item.key,
                    "policy": item.policy,
                    "text": text,
                    "tokens": len(tokens) + complete,
                    "complete": complete,
                }
            )
        return rows


class ApiPolicy:
    """A policy behind an OpenAI-compatible endpoint; arguments as in `LocalPolicy` and `Endpoint`."""

    def __init__(self, config: SampleConfig, model: str) -> None:
        from rlaif.endpoint import Endpoint

        self.name = model
        self.endpoint = Endpoint(model, config.base_url, config.api_key_env, config.concurrency)
        self.config = config
        self.parameters: dict[str, Any] = {
            "model": model,
            "max_new_tokens": config.max_new_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "seed": config.seed,
        }

    def plan(self, work: Sequence[Completion]) -> list[list[Completion]]:
        """Every completion by itself."""
        return [[item] for item in work]

    def answer(self, batches: list[list[Completion]]) -> Iterator[list[dict[str, Any]]]:
        """Rows to store as the endpoint answers."""
        from rlaif.endpoint import stream

        for row in stream(self.endpoint, self._ask, [item for batch in batches for item in batch]):
            yield [row]

    async def _ask(self, item: Completion) -> dict[str, Any]:
        from rlaif.endpoint import NoReplyError
        from rlaif.rendering import as_messages

        common = {"key": item.key, "policy": item.policy}
        try:
            reply = await self.endpoint.chat(
                as_messages(item.prompt),
                temperature=self.config.temperature,
                max_tokens=self.config.max_new_tokens,
                top_p=self.config.top_p,
                # Another seed for each sample: an endpoint that honours it would repeat itself otherwise.
                seed=self.config.seed * 100_003 + item.sample,
            )
        except NoReplyError as error:
            return {**common, "text": None, "reason": str(error), "final": error.final}
        return {
            **common,
            "text": reply.text,
            "tokens": reply.usage["completion_tokens"],
            "complete": reply.complete,
            "usage": reply.usage,
        }


def complete(
    policy: LocalPolicy | ApiPolicy, prompts: Sequence[Prompt], samples: int, folder: str | Path, label: str
) -> list[list[dict[str, Any]]]:
    """`samples` completions of each prompt, in the prompts' order; stored in `folder`/completions as they arrive.

    Each is a row with `text` (None with a `reason` where there is none), `tokens` and `complete` (it ended by itself).
    """
    work = [
        [
            Completion(content_hash(policy.parameters, prompt, sample), prompt, policy.name, sample)
            for sample in range(samples)
        ]
        for prompt in prompts
    ]
    with Store(folder, "completions") as store:
        flat = list({item.key: item for items in work for item in items}.values())
        wait_for_everyone()  # nobody writes before everybody has read

        def again(row: Mapping[str, Any]) -> bool:
            return row["text"] is None and not row.get("final")

        if any(item.key not in store or again(store.rows[item.key]) for item in flat):
            run_batches(policy.plan(flat), store, policy.answer, again, label, "response")
        wait_for_everyone()
        if process_count() > 1:
            store.refresh()
        return [[store.rows[item.key] for item in items] for items in work]


def form_pairs(
    prompts: Sequence[Prompt],
    completions: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]],
    pairs_per_prompt: int,
    seed: int,
) -> tuple[list[Pair], SampleCounts]:
    """Pairs of different responses to one prompt, and what was left out on the way.

    Args:
        prompts: N of them.
        completions: by policy (one or two), N lists of completion rows.
        pairs_per_prompt: at most so many pairs a prompt, drawn at random from all that can be formed.
        seed: with the prompt, decides which pairs and which response is called a.
    """
    counts = dict.fromkeys((f.name for f in dataclasses.fields(SampleCounts)), 0) | {"prompts": len(prompts)}
    pairs = []
    for index, prompt in enumerate(prompts):
        by_policy: list[list[tuple[str, str]]] = []
        seen: set[str] = set()
        for name, rows in completions.items():
            kept = []
            for row in rows[index]:
                counts["responses"] += 1
                text = row["text"]
                if text is None:
                    counts["failed"] += 1
                elif not text.strip():
                    counts["empty"] += 1
                elif text in seen:
                    counts["duplicates"] += 1
                else:
                    seen.add(text)
                    kept.append((name, text))
                    counts["cut"] += not row["complete"]
            by_policy.append(kept)
        first_kept, last_kept = by_policy[0], by_policy[-1]
        two = len(by_policy) == 2
        candidates = list(itertools.product(first_kept, last_kept) if two else itertools.combinations(first_kept, 2))
        rng = random.Random(content_hash(seed, prompt))
        chosen = rng.sample(candidates, min(pairs_per_prompt, len(candidates)))
        counts["prompts_without_pair"] += not chosen
        for first, second in chosen:
            if two and rng.random() < 0.5:
                first, second = second, first
            pairs.append(
                Pair(prompt=prompt, response_a=first[1], response_b=second[1], model_a=first[0], model_b=second[0])
            )
    counts["pairs"] = len(pairs)
    return pairs, SampleCounts(**counts)


def sample(config: SampleConfig) -> SampleCounts:
    """Runs `rlaif sample`: writes pairs.jsonl and manifest.json (main process only) and returns what was counted."""
    if not config.prompts or not config.policy or not config.output:
        raise ValueError(
            "prompts, policy and output must be set; expected --prompts SOURCE --policy MODEL --output FOLDER."
        )
    needed = 1 if config.policy_b else 2
    if config.samples < needed:
        raise ValueError(f"samples is {config.samples}; a pair needs {needed} responses of each policy at least.")
    if config.temperature == 0.0 and config.samples > 1:
        raise ValueError("samples > 1 at temperature 0 gives the same response again; set --temperature above 0.")
    names = [config.policy] + ([config.policy_b] if config.policy_b else [])
    if len(set(names)) < len(names):
        raise ValueError(f"policy and policy_b are both {config.policy!r}; for one policy leave policy_b out.")
    if config.limit is not None and config.limit < 1:
        raise ValueError(f"limit is {config.limit}; expected at least one prompt, or no limit.")
    if config.pairs_per_prompt < 1:
        raise ValueError(f"pairs_per_prompt is {config.pairs_per_prompt}; expected at least 1.")
    prompts = read_prompts(config.prompts, config.split)[: config.limit]
    completions = {}
    for name in names:
        policy: LocalPolicy | ApiPolicy
        if config.base_url:
            policy = ApiPolicy(config, name)
        else:
            policy = LocalPolicy(
                name,
                max_new_tokens=config.max_new_tokens,
                temperature=config.temperature,
                top_p=config.top_p,
                seed=config.seed,
                batch_tokens=config.batch_tokens,
                dtype=config.dtype,
                load_in_4bit=config.load_in_4bit,
            )
        completions[name] = complete(policy, prompts, config.samples, config.output, f"sampling {Path(name).name}")
    pairs, counts = form_pairs(prompts, completions, config.pairs_per_prompt, config.seed)
    if is_main():
        if not pairs:
            raise ValueError(
                f"no pair could be formed of {counts.responses} responses ({counts}); nothing was written."
            )
        write_jsonl(Path(config.output) / "pairs.jsonl", (pair.row() for pair in pairs))
        write_manifest(config.output, "rlaif sample", dataclasses.asdict(config), [config.prompts, *names])
    return counts
