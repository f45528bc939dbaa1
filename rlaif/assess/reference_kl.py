"""KL of a policy's responses to the reference: as tokens, in batches that fit, split over the processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif.assess.divergence import response_kl, token_budget
from rlaif.models.batching import plan_batches, split_on_oom
from rlaif.models.parallel import is_main, process_count, process_index
from rlaif.models.rendering import Encoded, Rendering, Unrenderable
from rlaif.models.spelling import text_ids
from rlaif.records import Prompt

__all__ = ["encode_responses", "kl_to_reference"]


def encode_responses(
    tokenizer: Any, stops: Collection[int], prompts: Sequence[Prompt], texts: Sequence[str], ended: Sequence[bool]
) -> list[Encoded]:
    """Responses as tokens, to where their generation stopped. One that was cut gets no end: it was never said.

    Args:
        tokenizer: the policy's.
        stops: where its generation stops (`rlaif.models.stops`).
        prompts, texts, ended: a prompt and its response each, and whether the response was not cut.
    """
    rendering = Rendering.of(tokenizer)

    def encode(prompt: Prompt, text: str) -> Encoded:
        try:
            return rendering.encode(tokenizer, prompt, text, stops)
        except Unrenderable:  # a template that took the prompt and refuses it with its answer
            ids = [*text_ids(tokenizer, text), tokenizer.eos_token_id]
            return Encoded(rendering.encode_prompt(tokenizer, prompt), ids)

    whole = [encode(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    return [e if end else Encoded(e.prompt_ids, e.response_ids[:-1]) for e, end in zip(whole, ended, strict=True)]


def kl_to_reference(
    policy: Any, reference: Any, tokenizers: tuple[Any, Any], encoded: Sequence[Encoded], names: tuple[str, str]
) -> tuple[NDArray[np.float64] | None, str | None]:
    """KL(policy || reference) of each response, in nats: (N,); or None, and why it is not defined.

    Args:
        policy, reference: causal LMs.
        tokenizers, names: theirs, the policy's first.
        encoded: what the policy sampled: N responses with their prompts.
    """
    ours, theirs = map(Rendering.of, tokenizers)
    sizes = [model.get_output_embeddings().weight.shape[0] for model in (policy, reference)]
    if ours.tokenizer_hash != theirs.tokenizer_hash or sizes[0] != sizes[1]:
        return None, (
            f"no KL: its tokens are not those of the reference `{names[1]}` (vocabularies of {sizes[0]} and "
            f"{sizes[1]})."
        )

    def measure(batch: Sequence[int]) -> list[float]:
        rows = [encoded[i] for i in batch]
        return [float(kl) for kl in response_kl(policy, reference, rows, tokenizers[0].pad_token_id)]

    batches = plan_batches([len(row) for row in encoded], token_budget(sizes[0]))
    return _in_all(batches, measure, f"KL of {names[0]}"), None


def _in_all(
    batches: Sequence[list[int]], measure: Callable[[Sequence[int]], list[float]], label: str
) -> NDArray[np.float64]:
    """What `measure` says of batches of the indices 0 .. N - 1, split over the processes and in all of them: (N,)."""
    from tqdm.auto import tqdm

    mine: list[tuple[int, float]] = []
    share = batches[process_index() :: process_count()]
    with tqdm(total=sum(map(len, share)), desc=label, unit="response", disable=not is_main(), mininterval=1.0) as bar:
        for batch in share:
            mine += zip(batch, split_on_oom(measure, batch), strict=True)
            bar.update(len(batch))
    if process_count() > 1:
        from accelerate.utils import gather_object

        mine = gather_object(mine)
    return np.array([value for _, value in sorted(mine)])
