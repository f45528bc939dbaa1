"""Every policy's responses to the same prompts, with their KL to the reference; in every process alike."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlaif.assess.responses import Responses
from rlaif.config import warn
from rlaif.evaluating.plan import FAILED, TOO_LONG, Plan, Prompts
from rlaif.evaluating.policies import ENDPOINT, LOCAL, Policy
from rlaif.judging.sampling import Completion, Sampling, complete, local_policy
from rlaif.models.base import Model, Usage
from rlaif.models.rendering import Rendering
from rlaif.models.spelling import REFUSED

__all__ = ["respond"]


def respond(plan: Plan) -> tuple[Prompts, dict[str, Responses]]:
    """The prompts that every policy has answered, and their responses.

    A prompt that is too long for one policy, that its chat template refuses, or whose call failed is left out for all,
    and counted: they are compared on the same prompts. Local policies are asked first, so that no endpoint is paid for
    what one of them cannot answer.

    Raises:
        ValueError: no prompt was answered by every policy.
    """
    prompts = plan.prompts
    texts: dict[str, list[str | None]] = {name: ready.texts for name, ready in plan.ready.items()}
    sampled: dict[str, list[Completion]] = {}
    usage: dict[str, dict[str, int]] = {}
    asked = [policy for kind in (LOCAL, ENDPOINT) for policy in plan.policies.values() if policy.kind == kind]
    for policy in asked:
        found = _complete(plan, policy, prompts)
        if policy.kind == ENDPOINT:
            usage[policy.name] = _usage(found)
        keep = [completion.text is not None for completion in found]
        if not any(keep):
            reason = next(completion.reason for completion in found)
            raise ValueError(
                f"no prompt of {plan.config.prompts} could be answered by every policy ({policy.name}): {reason}; "
                "change them."
            )
        why = _reasons(found, policy, prompts.places)
        prompts = prompts.kept(keep, why)
        texts = {name: list(itertools.compress(row, keep)) for name, row in texts.items()}
        sampled = {name: list(itertools.compress(row, keep)) for name, row in sampled.items()}
        sampled[policy.name] = list(itertools.compress(found, keep))
    responses = {
        name: _of_file(texts[name])
        if name in texts
        else _of_endpoint(sampled[name], usage[name])
        if name in usage
        else _of_local(sampled[name])
        for name in plan.policies
    }
    _say_thoughts(responses)
    _measure_kl(plan, prompts, responses)
    return prompts, responses


def _say_thoughts(responses: Mapping[str, Responses]) -> None:
    """Says whose texts hold a thought: others may have had theirs taken out, by a server or by who wrote the file."""
    said = {name: row.thoughts for name, row in responses.items() if row.thoughts}
    if said:
        counts = ", ".join(f"{many} of {name}" for name, many in said.items())
        warn(
            f"responses hold a thought, as in <think>...</think> ({counts}): it is measured and judged as a part of "
            "them. Where only the answer is meant, let the server send thoughts apart (vLLM: --reasoning-parser), or "
            "take them out of the file."
        )


def _complete(plan: Plan, policy: Policy, prompts: Prompts) -> list[Completion]:
    config = plan.config
    model: Model = plan.endpoints.get(policy.name) or local_policy(
        policy.path, batch_tokens=config.batch_tokens, **plan.loading
    )
    sampling = Sampling(
        model,
        samples=1,
        max_new_tokens=config.max_new_tokens,
        temperature=config.policy_temperature,
        top_p=config.policy_top_p,
        seed=config.seed,
    )
    label = f"sampling {policy.name}"
    sets = complete(sampling, prompts.texts, plan.output, label, places=prompts.places)
    return [completion for (completion,) in sets]  # a local policy's weights go with it: two models at most are held


def _reasons(found: Sequence[Completion], policy: Policy, places: Sequence[str]) -> Counter[str]:
    """Why prompts have no response of a policy; calls that failed are said, and the next run makes them again."""

    def reason(completion: Completion) -> str:
        if completion.refused:
            return REFUSED
        return FAILED if completion.failed or policy.kind == ENDPOINT else TOO_LONG

    missing = [(place, one, reason(one)) for place, one in zip(places, found, strict=True) if one.text is None]
    failed = [(place, one) for place, one, why in missing if why == FAILED]
    if failed:
        place, first = failed[0]
        warn(
            f"{len(failed)} of {len(found)} prompts have no response of {policy.name} and are left out for all; the "
            f"first, {place}: {first.reason}"
        )
    return Counter(why for _, _, why in missing)


def _usage(found: Sequence[Completion]) -> dict[str, int]:
    """Calls and tokens of all of an endpoint's answers, those that came to nothing among them."""
    spent = sum((completion.usage for completion in found), Usage())
    return {"calls": sum(completion.tries for completion in found), **spent.row()}


def _of_local(found: Sequence[Completion]) -> Responses:
    return Responses(
        [one.text or "" for one in found], [one.tokens or 0 for one in found], [one.complete for one in found]
    )


def _of_endpoint(found: Sequence[Completion], usage: dict[str, int]) -> Responses:
    return Responses(
        [one.text or "" for one in found],
        ended=[one.complete for one in found],
        usage=usage,
        kl_missing="no KL: an endpoint does not tell the probability of every token.",
        length_missing="no length in tokens: an endpoint counts its own, with thoughts and failed tries among them.",
    )


def _of_file(texts: Sequence[str | None]) -> Responses:
    return Responses(
        [text or "" for text in texts],
        kl_missing="no KL: of responses in a file no probabilities are known.",
        length_missing="no length in tokens: a file holds the text alone.",
        no_eos_missing="no share without EOS: a file does not say whether a response was cut.",
    )


def _measure_kl(plan: Plan, prompts: Prompts, responses: Mapping[str, Responses]) -> None:
    """Fills in the KL of the local policies' responses to the reference, or why there is none."""
    if plan.reference is None:
        return  # nobody is local
    from rlaif.assess.reference_kl import encode_responses, kl_to_reference
    from rlaif.models.loading import load_causal_lm
    from rlaif.models.stops import stops_of

    reference: Any = None
    for policy in plan.policies.values():
        if policy.kind != LOCAL:
            continue
        mine = responses[policy.name]
        tokenizers = plan.tokenizers[policy.path], plan.tokenizers[plan.reference.path]
        mine.tokenizer = Rendering.of(tokenizers[0]).tokenizer_hash
        if policy.path == plan.reference.path:
            mine.kl = np.zeros(len(prompts))  # by definition; two forward passes would say the same
            continue
        if reference is None:
            reference = load_causal_lm(plan.reference.path, **plan.loading)
        assert mine.tokens is not None
        assert mine.ended is not None
        stops = stops_of(policy.path, tokenizers[0], trust_remote_code=bool(plan.config.trust_remote_code))
        encoded = encode_responses(tokenizers[0], stops, prompts.texts, mine.texts, mine.ended)
        mine.retokenized = sum(len(e.response_ids) != n for e, n in zip(encoded, mine.tokens, strict=True))
        model = load_causal_lm(policy.path, **plan.loading)
        names = policy.name, plan.reference.name
        mine.kl, mine.kl_missing = kl_to_reference(model, reference, tokenizers, encoded, names)
        del model
