"""A transformers causal LM as judge: z, or a rating, from the log-probabilities of the labels.

    E = sum_i value_i P(label_i | question) / sum_i P(label_i | question)

as in RLAIF (Lee et al., 2309.00267, section 2.2): with two labels of the values 1 and 0 it is P(first), with the
numbers from 1 to 10 the expected rating of their direct RLAIF. Each label is scored whole: the sum over its tokens. One
forward pass a question where the labels are single tokens, with `logits_to_keep` so that the vocabulary is only
multiplied out where a verdict is read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import permutations
from typing import Any, Generic, TypeVar

from rlaif.judging.base import Answer, Question, record
from rlaif.judging.prompts import BaseTemplate
from rlaif.models.batching import plan_batches, split_on_oom
from rlaif.models.loading import load_causal_lm, load_tokenizer, model_fingerprint
from rlaif.records import Message

__all__ = ["LocalJudge", "exclusive"]

T = TypeVar("T", bound=BaseTemplate)


def exclusive(logps: Sequence[float], labels: Sequence[Sequence[int]]) -> list[float]:
    """log P(label i, and no longer label that begins with it), from log P(tokens of label i) for each of `labels`.

    Where a tokenizer writes numbers digit by digit, the tokens of "1" begin those of "10", and the probability of
    writing "1" holds that of writing "10":

        P("1") = P(tokens of "1") - P(tokens of "10")

    Without it a judge that is certain of 10 would be read as halfway between 1 and 10. Where "10" is one token, no
    label begins another and nothing changes. -inf where nothing is left of a label.
    """
    alone = []
    for logp, label in zip(logps, labels, strict=True):
        longer = [
            math.exp(min(other - logp, 0.0))  # in exact arithmetic never more than 1
            for other, ids in zip(logps, labels, strict=True)
            if len(ids) > len(label) and list(ids[: len(label)]) == list(label)
        ]
        left = 1.0 - sum(longer)
        alone.append(logp + math.log(left) if left > 0.0 else -math.inf)
    return alone


class LocalJudge(Generic[T]):
    """See the module's docstring.

    Args:
        model: folder or Hub id of a causal LM; its chat template is used where there is one, else the messages' text.
            A system message that the chat template does not take opens the user's instead. A template that knows
            `enable_thinking` (Qwen3's) is told False: the next token is then the verdict, and not a chain of thought.
        template: how it is asked.
        revision, dtype, load_in_4bit, device_map: as in `load_causal_lm`.
        tokens: tokens in one forward pass, padding included.
    """

    def __init__(
        self,
        model: str,
        template: T,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        load_in_4bit: bool = False,
        device_map: str | None = None,
        tokens: int = 16384,
    ) -> None:
        self.name = model
        self.template = template
        self.parameters: Mapping[str, Any] = {
            "kind": "local",
            "model": model_fingerprint(model, revision),
            "dtype": dtype,
            "load_in_4bit": load_in_4bit,
        }
        self._load = partial(
            load_causal_lm,
            model,
            revision=revision,
            dtype=dtype,
            load_in_4bit=load_in_4bit,
            device_map=device_map,
        )
        self._revision = revision
        self._tokens = tokens
        self._ids: dict[str, list[int]] = {}

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return load_tokenizer(self.name, self._revision)

    @cached_property
    def model(self) -> Any:
        """The model, loaded when first asked."""
        return self._load()

    @cached_property
    def context(self) -> int:
        """The longest question that the model can read, in tokens."""
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", None) or self.tokenizer.model_max_length)

    def render(self, messages: list[Message]) -> str:
        """A question as the text that the model is given."""
        if not self.tokenizer.chat_template:
            return "\n\n".join(m["content"] for m in messages)
        if messages[0]["role"] == "system" and not self._takes_system:
            system, user, *rest = messages
            messages = [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]
        return self._chat(messages)

    def _chat(self, messages: list[Message]) -> str:
        thinking = {"enable_thinking": False} if "enable_thinking" in str(self.tokenizer.chat_template) else {}
        return str(self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **thinking))

    @cached_property
    def _takes_system(self) -> bool:
        """Whether the chat template writes a system message: Gemma's raises an error, others leave it out."""
        from jinja2 import TemplateError

        probe = [{"role": "system", "content": "probe-of-the-system-role"}, {"role": "user", "content": "?"}]
        try:
            return "probe-of-the-system-role" in self._chat(probe)
        except TemplateError:
            return False

    def encode(self, text: str) -> list[int]:
        """Tokens of a rendered question; a chat template writes its own special tokens, plain text gets them here."""
        return list(self.tokenizer(text, add_special_tokens=not self.tokenizer.chat_template)["input_ids"])

    def label_ids(self, text: str) -> list[list[int]]:
        """The tokens of each label as they would follow `text`. Every question ends alike, so one is enough.

        Raises:
            ValueError: one label's tokens begin another's, so that they do not exclude each other. (Those of "1" may
                begin those of "10": `exclusive` sets them apart.)
        """
        space = "" if self.tokenizer.chat_template or text.endswith((" ", "\n")) else " "
        before = self.encode(text)
        ids = []
        for label in self.template.labels:
            after = self.encode(text + space + label)
            # A tokenizer may merge the label's first character into the text's last token; then it is taken alone.
            kept = after[: len(before)] == before and len(after) > len(before)
            alone = self.tokenizer(space + label, add_special_tokens=False)["input_ids"]
            ids.append(after[len(before) :] if kept else list(alone))
        named = list(zip(self.template.labels, ids, strict=True))
        for (short, first), (long, second) in permutations(named, 2):
            if second[: len(first)] == first and not (
                self.template.nested and long.startswith(short) and second != first
            ):
                raise ValueError(
                    f"the labels {short!r} and {long!r} become the tokens {first} and {second} in {self.name}, one the "
                    "beginning of the other; choose labels that differ in their first token, or another judge."
                )
        return ids

    def check(self) -> None:
        """The tokenizer is there, and tells the labels apart."""
        self.label_ids(self.render([{"role": "user", "content": "?"}]))

    def plan(self, questions: Sequence[Question]) -> list[list[Question]]:
        """Batches by token budget, longest first."""
        # Of this plan alone: training asks for as long as it lasts.
        self._ids = {question.key: self.encode(self.render(question.messages)) for question in questions}
        batches = plan_batches([len(self._ids[q.key]) for q in questions], self._tokens)
        return [[questions[index] for index in batch] for batch in batches]

    def answer(self, batches: list[list[Question]]) -> Iterator[list[Answer]]:
        """One answer a question; one longer than the model's context, or too large for memory, has a reason instead."""
        labels = self.label_ids(self.render(batches[0][0].messages))
        room = self.context - max(map(len, labels)) + 1
        for batch in batches:
            fits = [q for q in batch if len(self._ids[q.key]) <= room]
            answers = [
                record(
                    self,
                    q,
                    None,
                    f"the question has {len(self._ids[q.key])} tokens, but the judge reads {room} at most",
                )
                for q in batch
                if len(self._ids[q.key]) > room
            ]
            start = time.perf_counter()
            try:
                scored = split_on_oom(lambda part: self._label_logps(part, labels), fits) if fits else []
            except (RuntimeError, MemoryError) as error:
                reason = f"the model failed on it: {' '.join(str(error).split())[:200]}"
                answers += [record(self, q, None, reason, bought=False) for q in fits]
            else:
                seconds = round((time.perf_counter() - start) / max(len(fits), 1), 6)
                answers += [self._read(q, logps, labels, seconds) for q, logps in zip(fits, scored, strict=True)]
            yield answers

    def _read(self, question: Question, logps: list[float], labels: list[list[int]], seconds: float) -> Answer:
        if not all(map(math.isfinite, logps)):
            reason = f"the labels' log-probabilities are {' and '.join(map(str, logps))}"
            return record(self, question, None, reason)
        logps = exclusive(logps, labels)
        most = max(logps)
        return record(
            self,
            question,
            self.template.expected([math.exp(logp - most) for logp in logps]),
            method="logprobs",
            mass=round(sum(map(math.exp, logps)), 6),
            usage={"prompt_tokens": len(self._ids[question.key])},
            seconds=seconds,
        )

    def _label_logps(self, questions: Sequence[Question], labels: list[list[int]]) -> list[list[float]]:
        """log P(tokens of the label) of each label after each question.

        A label l_1..l_n is read from the row question + l_1..l_{n-1}: its last n positions predict l_1..l_n. Labels
        of one token share one row, the question itself.
        """
        import torch

        tails = sorted({tuple(label[:-1]) for label in labels})
        rows = [self._ids[q.key] + list(tail) for q in questions for tail in tails]
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        # Left padding, so that every row ends at the same place and only its last positions need logits.
        ids_BT = torch.tensor([[pad] * (longest - len(row)) + row for row in rows], device=self.model.device)
        mask_BT = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self.model.device)
        keep = max(map(len, labels))
        with torch.inference_mode():
            logits_BKV = self.model(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                # Without these, padding would shift absolute positions.
                position_ids=(mask_BT.cumsum(-1) - 1).clamp(min=0),
                logits_to_keep=keep,
                use_cache=False,
            ).logits
        logps_BKV = logits_BKV[:, -keep:].float().log_softmax(-1)
        scored = []
        for at in range(len(questions)):
            logps = []
            for label in labels:
                row = logps_BKV[at * len(tails) + tails.index(tuple(label[:-1]))]
                steps = row[keep - len(label) :]
                logps.append(float(steps.gather(-1, torch.tensor(label, device=row.device)[:, None]).double().sum()))
            scored.append(logps)
        return scored
