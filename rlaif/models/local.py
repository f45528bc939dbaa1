"""A transformers causal LM as a model: the log-probabilities of choices, or text.

A choice is scored whole: log P(choice | question) is the sum over its tokens. One forward pass a call where the choices
are single tokens, with `logits_to_keep` so that the vocabulary is only multiplied out where a choice is read.

Text is drawn with noise that belongs to the call (`rlaif.models.drawing`), so that it does not depend on the batch.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

from rlaif.models.base import JSON, Call, Reply, RoundModel, Usage
from rlaif.models.batching import plan_batches, split_on_oom
from rlaif.models.drawing import Drawing, Numbers, own_distribution
from rlaif.models.loading import load_causal_lm, load_tokenizer, model_fingerprint
from rlaif.models.rendering import Rendering, Unrenderable, stop_ids
from rlaif.models.spelling import UNRENDERED, Spelling, text_ids
from rlaif.models.stops import saved_stops
from rlaif.models.templates import start_ids, written
from rlaif.records import Message

__all__ = ["LocalModel", "exclusive"]

_SETTINGS = {"top_p", "chat_template_kwargs", "seed"}


def exclusive(logps: Sequence[float], choices: Sequence[Sequence[int]]) -> list[float]:
    """log P(choice i, and no longer choice that begins with it), from log P(tokens of choice i) for each of `choices`.

    Where a tokenizer writes numbers digit by digit, the tokens of "1" begin those of "10", and the probability of
    writing "1" holds that of writing "10":

        P("1") = P(tokens of "1") - P(tokens of "10")

    Without it a judge that is certain of 10 would be read as halfway between 1 and 10. Where "10" is one token, no
    choice begins another and nothing changes. -inf where nothing is left of a choice.
    """
    alone = []
    for logp, choice in zip(logps, choices, strict=True):
        longer = [
            math.exp(min(other - logp, 0.0))  # in exact arithmetic never more than 1
            for other, ids in zip(logps, choices, strict=True)
            if len(ids) > len(choice) and list(ids[: len(choice)]) == list(choice)
        ]
        left = 1.0 - sum(longer)
        alone.append(logp + math.log(left) if left > 0.0 else -math.inf)
    return alone


class LocalModel(RoundModel):
    """See the module's docstring.

    Args:
        model: folder or Hub id of a causal LM.
        rendering: how messages become text. "policy" renders a prompt as training does (`rlaif.models.rendering`).
            "judge" is for questions: the chat template where there is one, else the messages' texts; a system message
            that the chat template does not take opens the user's instead, and a template that knows `enable_thinking`
            (Qwen3's) is told False unless `chat_template_kwargs` say otherwise: the next token is then the verdict.
        revision, dtype, load_in_4bit, device_map, trust_remote_code: as in `load_causal_lm`.
        tokens: tokens in one batch, padding and what is written included.
    """

    can = frozenset({"score", "write", "prefill", "samples"})

    def __init__(
        self,
        model: str,
        *,
        rendering: Literal["judge", "policy"] = "judge",
        revision: str | None = None,
        dtype: str = "auto",
        load_in_4bit: bool = False,
        device_map: str | None = None,
        tokens: int = 16384,
        trust_remote_code: bool = False,
    ) -> None:
        self.name = model
        self.rendering = rendering
        self.tokens = tokens
        self._revision = revision
        self._trusted = trust_remote_code
        self._identity: dict[str, JSON] = {
            "kind": "local",
            "model": model_fingerprint(model, revision),
            "dtype": dtype,
            "load_in_4bit": load_in_4bit,
            "rendering": rendering,
        }
        if Path(model).is_dir() and len(stops := saved_stops(model, trust_remote_code=trust_remote_code)) > 1:
            self._identity["stops"] = list(stops)  # texts written before all of them counted run on
        self._load = partial(
            load_causal_lm,
            model,
            revision=revision,
            dtype=dtype,
            load_in_4bit=load_in_4bit,
            device_map=device_map,
            trust_remote_code=trust_remote_code,
        )
        self._ids: dict[str, list[int]] = {}
        self._texts: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._choice_ids: dict[tuple[str, tuple[str, ...]], list[list[int]]] = {}

    @property
    def identity(self) -> Mapping[str, JSON]:
        """The weights' fingerprint, how they are loaded, and how messages are rendered."""
        return self._identity

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return load_tokenizer(self.name, self._revision, self._trusted)

    @cached_property
    def model(self) -> Any:
        """The model, loaded when first asked."""
        return self._load()

    @cached_property
    def context(self) -> int:
        """The longest text that the model can read, in tokens."""
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", None) or self.tokenizer.model_max_length)

    # Text and tokens ----------------------------------------------------------------------------------------------

    def render(self, messages: Sequence[Message], chat_template_kwargs: Mapping[str, JSON] | None = None) -> str:
        """A question as the text that the model is given; an `Unrenderable` where its chat template refuses it."""
        if not self.tokenizer.chat_template:
            return "\n\n".join(m["content"] for m in messages)
        kwargs = self._kwargs(chat_template_kwargs)
        return written(self.tokenizer, self._taken(messages), add_generation_prompt=True, **kwargs)

    def _taken(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages as the chat template takes them: a system message that it does not opens the user's."""
        if messages[0]["role"] == "system" and len(messages) > 1 and not self._takes_system:
            system, user, *rest = messages
            return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]
        return messages

    def _kwargs(self, given: Mapping[str, JSON] | None) -> dict[str, JSON]:
        knows_thinking = "enable_thinking" in str(self.tokenizer.chat_template)
        thinking = {"enable_thinking": False} if knows_thinking and self.rendering == "judge" else {}
        return {**thinking, **(given or {})}

    @cached_property
    def _takes_system(self) -> bool:
        """Whether the chat template writes a system message: Gemma's raises an error, others leave it out."""
        probe = [{"role": "system", "content": "probe-of-the-system-role"}, {"role": "user", "content": "?"}]
        try:
            text = written(self.tokenizer, probe, add_generation_prompt=True, **self._kwargs(None))
        except Unrenderable:
            return False
        return "probe-of-the-system-role" in text

    def encode(self, text: str) -> list[int]:
        """Tokens of a rendered question; a chat template writes its own special tokens, plain text gets them here.

        It is gone on from: what the tokenizer would append to it (an EOS, say) is left off.
        """
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return ids if self.tokenizer.chat_template else [*Spelling.of(self.tokenizer).around[0], *ids]

    def _question_ids(self, call: Call) -> list[int]:
        """The tokens of a question and of the answer's beginning: of people's text no control token comes."""
        if not self.tokenizer.chat_template:
            return text_ids(self.tokenizer, self.render(call.messages) + call.prefill, begins=True)
        kwargs = self._kwargs(call.setting("chat_template_kwargs"))
        return start_ids(self.tokenizer, self._taken(call.messages), call.prefill, **kwargs)

    def left_out(self, messages: Sequence[Message]) -> list[str]:
        """The roles of the turns that the chat template leaves out; a judge's system turn opens the user's then."""
        return self._training.left_out(self.tokenizer, list(messages)) if self.rendering == "policy" else []

    def forgets(self, messages: Sequence[Message]) -> bool:
        """Whether the chat template leaves out the thoughts of a prompt's earlier turns."""
        return self.rendering == "policy" and self._training.forgets(self.tokenizer, list(messages))

    @cached_property
    def _training(self) -> Rendering:
        return Rendering.of(self.tokenizer)

    def _prepare(self, call: Call) -> list[int]:
        """The tokens of a call's question, kept until it is answered; none where it cannot be rendered."""
        if call.key not in self._ids:
            if unknown := {name for name, _ in call.settings} - _SETTINGS:
                raise ValueError(
                    f"{self.name} is a local model and takes no {', '.join(sorted(unknown))}; leave it out, or ask an "
                    "endpoint."
                )
            try:
                if self.rendering == "policy":
                    ids = self._training.encode_prompt(self.tokenizer, list(call.messages))
                    ids += text_ids(self.tokenizer, call.prefill) if call.prefill else []
                else:
                    ids = self._question_ids(call)
                    self._texts[call.key] = (
                        self.render(call.messages, call.setting("chat_template_kwargs")) + call.prefill
                    )
            except Unrenderable as error:
                self._refused[call.key], ids = f"{UNRENDERED}{error}", []
            self._ids[call.key] = ids
        return self._ids[call.key]

    def choice_ids(self, text: str, choices: tuple[str, ...]) -> list[list[int]]:
        """The tokens of each choice as they would follow `text`, of which the end alone matters.

        Raises:
            ValueError: one choice's tokens begin another's, so that they do not exclude each other. (Those of "1" may
                begin those of "10": `exclusive` sets them apart.)
        """
        end = text[-64:]
        if (end, choices) in self._choice_ids:
            return self._choice_ids[end, choices]
        space = "" if self.tokenizer.chat_template or end.endswith((" ", "\n")) else " "
        before = self.encode(end)
        ids = []
        for choice in choices:
            after = self.encode(end + space + choice)
            # A tokenizer may merge the choice's first character into the text's last token; then it is taken alone.
            kept = after[: len(before)] == before and len(after) > len(before)
            alone = self.tokenizer(space + choice, add_special_tokens=False)["input_ids"]
            ids.append(after[len(before) :] if kept else list(alone))
        for (short, first), (long, second) in permutations(list(zip(choices, ids, strict=True)), 2):
            begins = second[: len(first)] == first
            if begins and not (long.isdigit() and long.startswith(short) and second != first):
                raise ValueError(
                    f"the labels {short!r} and {long!r} become the tokens {first} and {second} in {self.name}, one the "
                    "beginning of the other; choose labels that differ in their first token, or another judge."
                )
        if len(self._choice_ids) > 1000:  # ends of texts of all kinds: one after written reasons, say
            self._choice_ids.clear()
        self._choice_ids[end, choices] = ids
        return ids

    def check(self, choices: Sequence[str] = ()) -> None:
        """The tokenizer is there, and tells the choices apart."""
        text = self.render([{"role": "user", "content": "?"}])
        if choices:
            self.choice_ids(text, tuple(choices))

    # Batches ------------------------------------------------------------------------------------------------------

    def plan(self, calls: Sequence[Call]) -> list[list[Call]]:
        """Batches by token budget, longest first; calls with the same choices, or the same sampling, share one."""
        self._ids, self._texts, self._refused = {}, {}, {}  # of this plan alone: training asks for as long as it lasts
        groups: dict[Any, list[Call]] = {}
        for call in calls:
            self._prepare(call)
            groups.setdefault(self._kind(call), []).append(call)
        planned = []
        for group in groups.values():
            lengths = [len(self._ids[call.key]) + call.max_tokens for call in group]
            planned += [[group[index] for index in batch] for batch in plan_batches(lengths, self.tokens)]
        return planned

    def _kind(self, call: Call) -> Any:
        if call.key in self._refused:
            return None
        if not _writes(call):
            text = self._texts.get(call.key) or self.tokenizer.decode(self._ids[call.key])
            return tuple(map(tuple, self.choice_ids(text, call.choices)))
        return call.max_tokens, call.temperature, call.setting("top_p", 1.0)

    def answer(self, batch: Sequence[Call]) -> list[Reply]:
        """One reply a call; one longer than the model's context, or too large for memory, has a reason instead."""
        for call in batch:
            self._prepare(call)
        refused = [
            Reply(call.key, finish="error", reason=self._refused[call.key])
            for call in batch
            if call.key in self._refused
        ]
        batch = [call for call in batch if call.key not in self._refused]
        if not batch:
            return refused
        if _writes(batch[0]):
            room = self.context - batch[0].max_tokens
            what = "the prompt has {} tokens; with the response it exceeds " + str(self.context)
        else:
            choices = [list(ids) for ids in self._kind(batch[0])]
            room = self.context - max(map(len, choices)) + 1
            what = "the question has {} tokens, but the judge reads " + f"{room} at most"
        fits = [call for call in batch if len(self._ids[call.key]) <= room]
        replies = refused + [
            Reply(call.key, finish="error", reason=what.format(len(self._ids[call.key])))
            for call in batch
            if len(self._ids[call.key]) > room
        ]
        start = time.perf_counter()
        try:
            if not fits:
                done = []
            elif _writes(batch[0]):
                done = split_on_oom(self._write, fits)
            else:
                done = split_on_oom(lambda part: self._score(part, choices), fits)
        except (RuntimeError, MemoryError) as error:
            reason = f"the model failed on it: {' '.join(str(error).split())[:200]}"
            done = [Reply(call.key, finish="error", reason=reason, answered=False) for call in fits]
        seconds = round((time.perf_counter() - start) / max(len(fits), 1), 6)
        return replies + [dataclasses.replace(reply, seconds=seconds) for reply in done]

    # Scores -------------------------------------------------------------------------------------------------------

    def _score(self, calls: Sequence[Call], choices: list[list[int]]) -> list[Reply]:
        replies = []
        for call, logps in zip(calls, self._choice_logps(calls, choices), strict=True):
            usage = Usage(prompt_tokens=len(self._ids[call.key]))
            if not all(map(math.isfinite, logps)):
                reason = f"the labels' log-probabilities are {' and '.join(map(str, logps))}"
                replies.append(Reply(call.key, finish="error", reason=reason, usage=usage))
                continue
            alone = [logp if logp > -math.inf else None for logp in exclusive(logps, choices)]
            replies.append(Reply(call.key, logps=tuple(alone), usage=usage))
        return replies

    def _choice_logps(self, calls: Sequence[Call], choices: list[list[int]]) -> list[list[float]]:
        """log P(tokens of the choice) of each choice after each question.

        A choice l_1..l_n is read from the row question + l_1..l_{n-1}: its last n positions predict l_1..l_n. Choices
        of one token share one row, the question itself.
        """
        import torch

        tails = sorted({tuple(choice[:-1]) for choice in choices})
        rows = [self._ids[call.key] + list(tail) for call in calls for tail in tails]
        longest = max(map(len, rows))
        pad = self.tokenizer.pad_token_id
        # Left padding, so that every row ends at the same place and only its last positions need logits.
        ids_BT = torch.tensor([[pad] * (longest - len(row)) + row for row in rows], device=self.model.device)
        mask_BT = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self.model.device)
        keep = max(map(len, choices))
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
        for at in range(len(calls)):
            logps = []
            for choice in choices:
                row = logps_BKV[at * len(tails) + tails.index(tuple(choice[:-1]))]
                steps = row[keep - len(choice) :]
                logps.append(float(steps.gather(-1, torch.tensor(choice, device=row.device)[:, None]).double().sum()))
            scored.append(logps)
        return scored

    # Text ---------------------------------------------------------------------------------------------------------

    def _write(self, calls: Sequence[Call]) -> list[Reply]:
        import torch
        from transformers import LogitsProcessorList

        prompts = [self._ids[call.key] for call in calls]
        longest = max(map(len, prompts))
        pad, stops = self.tokenizer.pad_token_id, stop_ids(self.model, self.tokenizer)
        hidden = Spelling.of(self.tokenizer).hidden
        ids_BP = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=self.model.device)
        mask_BP = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=self.model.device)
        first = calls[0]
        numbers = Numbers()
        drawn = LogitsProcessorList([numbers])
        if first.temperature > 0.0:
            keys = [call.key for call in calls]
            drawn.append(Drawing(keys, longest, first.temperature, first.setting("top_p", 1.0)))
        with torch.inference_mode(), own_distribution(self.model):
            out_BT = self.model.generate(
                input_ids=ids_BP,
                attention_mask=mask_BP,
                max_new_tokens=first.max_tokens,
                do_sample=False,  # `Drawing` draws
                pad_token_id=pad,
                eos_token_id=stops,
                logits_processor=drawn,
            )
        replies = []
        for row, (call, prompt, new) in enumerate(zip(calls, prompts, out_BT[:, longest:].tolist(), strict=True)):
            end = next((at for at, token in enumerate(new) if token in stops), None)
            complete = end is not None
            tokens = new[:end]
            if numbers.broken.get(row, len(new)) < len(tokens) + complete:
                replies.append(Reply(call.key, finish="error", reason=_NO_NUMBERS, answered=False))
                continue
            replies.append(
                Reply(
                    call.key,
                    # As it was generated, white space and all: what is trained on and scored must become the same
                    # tokens again. A letter that also pads is one.
                    text=self.tokenizer.decode([token for token in tokens if token not in hidden]),
                    finish="stop" if complete else "length",
                    usage=Usage(len(prompt), len(tokens) + complete),
                )
            )
        return replies


_NO_NUMBERS = "the model's logits are NaN or infinite: it has diverged, or its numbers are too large for its dtype"


def _writes(call: Call) -> bool:
    return call.max_tokens > 0 and not call.choices
