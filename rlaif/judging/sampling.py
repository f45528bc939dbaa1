"""Sampling responses: a policy's answers to prompts, by the same driver and store as judgments.

A policy is a model that writes: a local one, whose prompts are rendered as training renders them, or one behind an
endpoint. Each response is drawn with noise of its own, which its prompt, the policy, the seed and the sample decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rlaif.config import warn
from rlaif.errors.words import shown
from rlaif.files.conversations import conversation
from rlaif.files.store import Store
from rlaif.files.votes import refuse_older
from rlaif.judging.ask import answers
from rlaif.judging.method import Ask, Counts
from rlaif.judging.question import method_hash
from rlaif.models.base import UNASKED, Call, Model, Reply, Usage
from rlaif.models.parallel import process_count
from rlaif.models.spelling import UNRENDERED
from rlaif.models.template_thoughts import forgotten_thoughts
from rlaif.records import Prompt, last_user_text

__all__ = ["Completion", "Sampling", "api_policy", "complete", "completions_of", "local_policy"]


@dataclass(frozen=True, slots=True)
class Completion:
    """One response to a prompt.

    Attributes:
        key: the address of its call.
        text: None with a `reason` where there is none.
        tokens: how many were generated, the end of the response included; None where nobody counted.
        complete: it ended by itself, and was not cut off.
        unasked: it is not stored, and nothing was asked.
        failed: there is no text because the call failed, and not because of the prompt; a later run asks again.
        usage, tries: tokens and calls that it took, failed tries included.
    """

    key: str
    text: str | None
    tokens: int | None = None
    complete: bool = True
    reason: str | None = None
    unasked: bool = False
    failed: bool = False
    usage: Usage = field(default_factory=Usage)
    tries: int = 0

    @classmethod
    def of(cls, reply: Reply) -> Completion:
        """The completion that a policy's reply is."""
        spent: dict[str, Any] = {"usage": reply.usage, "tries": reply.tries}
        answered = reply.reason is None and reply.finish in ("stop", "length")
        if not answered:
            unasked, failed = reply.finish == UNASKED, not reply.answered
            return cls(reply.key, None, reason=reply.reason or "no text", unasked=unasked, failed=failed, **spent)
        # An endpoint that has nothing to give, or was cut off in a thought, sends "" or null: the same empty response.
        return cls(reply.key, reply.text or "", reply.usage.completion_tokens, reply.finish == "stop", **spent)

    @property
    def refused(self) -> bool:
        """Whether the prompt cannot be rendered."""
        return (self.reason or "").startswith(UNRENDERED)


@dataclass(frozen=True)
class Sampling:
    """A method over prompts: `samples` completions of each.

    Args:
        policy: who answers.
        samples: how many times.
        max_new_tokens: longest response.
        temperature: 0 is greedy.
        top_p: nucleus sampling; 1 keeps the whole distribution.
        seed: other responses for another seed.
    """

    policy: Model
    samples: int
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0

    name = "sampling"

    @cached_property
    def models(self) -> Mapping[str, Model]:
        """The policy alone."""
        return {self.policy.digest: self.policy}

    @cached_property
    def hash(self) -> str:
        """Of the policy and how it is sampled."""
        sampling = (self.samples, self.max_new_tokens, float(self.temperature), float(self.top_p), self.seed)
        return method_hash(self.name, self.policy.digest, *sampling)

    def call(self, prompt: Prompt, sample: int) -> Call:
        """The call for one completion."""
        settings = (*((("seed", self.seed),) if self.seed else ()), ("top_p", float(self.top_p)))
        return Call(
            self.policy.digest,
            tuple(conversation(prompt)),
            max_tokens=self.max_new_tokens,
            temperature=self.temperature,
            sample=sample,
            settings=settings,
        )

    def ask(self, item: Prompt) -> Ask[list[Completion]]:
        """All completions of a prompt at once."""
        replies = yield [self.call(item, sample) for sample in range(self.samples)]
        return [Completion.of(reply) for reply in replies]


def local_policy(
    model: str,
    *,
    batch_tokens: int = 32768,
    dtype: str = "auto",
    load_in_4bit: bool = False,
    trust_remote_code: bool = False,
) -> Model:
    """A local policy: folder or Hub id, prompts and responses of at most `batch_tokens` in one batch."""
    from rlaif.models.local import LocalModel

    return LocalModel(
        model,
        rendering="policy",
        dtype=dtype,
        load_in_4bit=load_in_4bit,
        tokens=batch_tokens,
        trust_remote_code=trust_remote_code,
    )


def api_policy(
    model: str,
    base_url: str,
    *,
    api_key_env: str = "OPENAI_API_KEY",
    concurrency: int = 32,
    served_as: str | None = None,
    extra_body: Mapping[str, Any] | None = None,
    max_retries: int = 8,
    timeout: float | None = None,
    patience: float = 900.0,
) -> Model:
    """A policy behind an OpenAI-compatible endpoint; the settings are those of `Endpoint` and `ApiModel`."""
    from rlaif.models.api import ApiModel
    from rlaif.models.endpoint import Endpoint

    endpoint = Endpoint(model, base_url, api_key_env, concurrency, max_retries, timeout, patience=patience)
    return ApiModel(endpoint, served_as=served_as, settings={"extra_body": dict(extra_body)} if extra_body else None)


def complete(
    sampling: Sampling,
    prompts: Sequence[Prompt],
    folder: str | Path | None,
    label: str,
    counts: Counts | None = None,
    places: Sequence[str] | None = None,
) -> list[list[Completion]]:
    """The completions of each prompt, in the prompts' order; stored in `folder`/replies as they come.

    One warning says of how many prompts a local policy's chat template leaves out a turn, before anything is written,
    and one how many it refuses, each with the first of them: its place of `places` (N), else its number.
    """

    def place(at: int) -> str:
        return places[at] if places else f"prompt {at + 1}, {shown(last_user_text(prompts[at]))}"

    # As many prompts at once as this process has: writing wants large batches, and a text does not depend on its batch.
    chunk = max(1, min(2048, -(-len(prompts) // process_count())))
    counts = counts or Counts()
    _warn_left_out(sampling.policy, prompts, place)
    if folder is not None:
        refuse_older(folder)
    with Store(folder) as store:
        values = answers(sampling, lambda: prompts, store, total=len(prompts), label=label, counts=counts, chunk=chunk)
        done = list(values)
    refused = [at for at, of_prompt in enumerate(done) if any(one.refused for one in of_prompt)]
    if refused:
        first = refused[0]
        why = done[first][0].reason
        warn(f"{len(refused)} of {len(done)} prompts have no response; the first, {place(first)}: {why}")
    return done


def _warn_left_out(policy: Model, prompts: Sequence[Prompt], place: Callable[[int], str]) -> None:
    from rlaif.models.local import LocalModel

    if not isinstance(policy, LocalModel):
        return
    left_out = {at: roles for at, prompt in enumerate(prompts) if (roles := policy.left_out(conversation(prompt)))}
    if left_out:
        names = " and the ".join(dict.fromkeys(role for roles in left_out.values() for role in roles))
        warn(
            f"the chat template of {policy.name} leaves out the {names} turn of {len(left_out)} of {len(prompts)} "
            f"prompts, and they are answered without it; the first: {place(min(left_out))}. Put its words into a turn "
            "that is written, or use another template."
        )
    if forgotten := sum(policy.forgets(conversation(prompt)) for prompt in prompts):
        warn(forgotten_thoughts(f"the chat template of {policy.name}", f"{forgotten} of {len(prompts)} prompts"))


def completions_of(sampling: Sampling, prompts: Sequence[Prompt], folder: str | Path) -> Iterator[list[Completion]]:
    """The completions of each prompt that are stored in `folder`; nothing is asked, and what is missing says so."""
    with Store(folder) as store:
        yield from answers(sampling, lambda: prompts, store, total=0, ask=False)
