"""A policy's responses to prompts: local, or behind an endpoint; stored as they arrive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rlaif.files.store import Store
from rlaif.models.batching import plan_batches, split_on_oom
from rlaif.models.parallel import process_count, run_batches, wait_for_everyone
from rlaif.records import Prompt, content_hash

__all__ = ["ApiPolicy", "Completion", "LocalPolicy", "complete"]


@dataclass(frozen=True, slots=True)
class Completion:
    """One response to be sampled: the `sample`-th of `policy` to `prompt`; `key` is its content address."""

    key: str
    prompt: Prompt
    policy: str
    sample: int


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
        from rlaif.models.loading import load_causal_lm, load_tokenizer, model_fingerprint
        from rlaif.models.rendering import Rendering

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

    def __init__(self, config: Any, model: str) -> None:
        from rlaif.models.endpoint import Endpoint

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
        from rlaif.models.endpoint import stream

        for row in stream(self.endpoint, self._ask, [item for batch in batches for item in batch]):
            yield [row]

    async def _ask(self, item: Completion) -> dict[str, Any]:
        from rlaif.models.endpoint import NoReplyError
        from rlaif.models.rendering import as_messages

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
